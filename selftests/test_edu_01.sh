#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The sample rust_edu: a PCI driver on abstractions/ for QEMU's device edu.
. "$(dirname "$0")/common.sh"

ko=$top/samples/rust_edu.ko
pci=/sys/bus/pci/drivers/rust_edu
# The device takes seconds for this factorial.
long=4294967295

edu_device() {
	local dev
	for dev in /sys/bus/pci/devices/*; do
		[ "$(cat "$dev/vendor" "$dev/device" | xargs)" != "0x1234 0x11e8" ] || echo "${dev##*/}"
	done
}
write() { echo "$2" >"$files/$1"; }
# fails ERROR COMMAND…: COMMAND fails with this error.
fails() {
	local error=$1 rc=0
	shift
	"$@" >"$tmp/error" 2>&1 || rc=$?
	[ $rc != 0 ] || { echo "not refused: $*"; return 1; }
	grep -q ": $error\$" "$tmp/error" || { echo "$*: expected '$error'"; cat "$tmp/error"; return 1; }
}
interrupts() { awk '$NF == "rust_edu" { for (i = 2; $i ~ /^[0-9]+$/; i++) n += $i } END { print n + 0 }' /proc/interrupts; }

loads() {
	log_mark load
	load_edu
	same "driver" rust_edu "$(driver_of "$bdf")"
	log_since load | grep -qE "rust_edu $bdf: edu 1\.0, interrupt [0-9]+, see $files\$"
	grep -q 'MSI.*rust_edu' /proc/interrupts
	same "files" "dma_test dump factorial identification" "$(cd "$files" && echo *)"
	same "identification" 0x10000ed "$(cat "$files/identification")"
	# 28 bits.
	same "DMA mask" 28 "$(cat "/sys/bus/pci/devices/$bdf/dma_mask_bits")"
	fails "No data available" cat "$files/factorial"
}

# factorial N: modulo 2^32.
factorial() {
	local i result=1
	for ((i = 2; i <= $1; i++)); do result=$((result * i & 0xffffffff)); done
	echo $result
}
computes() {
	local n before
	before=$(interrupts)
	for n in 0 1 2 5 12 13 20 31 33 34 1000 0x10; do
		write factorial $n
		same "$n!" "$(factorial $((n)))" "$(cat "$files/factorial")"
	done
	same "interrupts" 12 $(($(interrupts) - before))
}

transfers() {
	local n before
	before=$(interrupts)
	for n in 1 3 512 4095 4096; do write dma_test $n; done
	# To the device and back.
	same "interrupts" 10 $(($(interrupts) - before))
}

refuses() {
	local value
	for value in '' x -1 4294967296 '1 2'; do
		fails "write error: Invalid argument" write factorial "$value"
		fails "write error: Invalid argument" write dma_test "$value"
		fails "write error: Invalid argument" write dump "$value"
	done
	for value in 0 4097 $long; do fails "write error: Invalid argument" write dma_test "$value"; done
	fails "write error: Invalid argument" write dump 0
	fails "Permission denied" write identification 1
	fails "Permission denied" cat "$files/dma_test"
	fails "Permission denied" cat "$files/dump"
}

dumped() { cat /sys/class/devcoredump/devcd*/data >"$tmp/dump" 2>/dev/null; }
# take_dump LINE…: waits for the dump, expects these lines in it, and removes it.
take_dump() {
	local line
	wait_for 20 dumped
	same "device" "$bdf" "$(basename "$(readlink -f /sys/class/devcoredump/devcd*/failing_device)")"
	drop_dumps
	for line; do grep -qxE -- "$line" "$tmp/dump" || { echo "not in the dump: $line"; cat "$tmp/dump"; return 1; }; done
}
dumps() {
	write dump 1
	take_dump requested 'register 0x00: 0x10000ed' 'register 0x98: 0x6'
	same "lines" 9 "$(wc -l <"$tmp/dump")"
}

# Without bus mastering, the device can neither access memory nor send its interrupt.
finds_bad_dma() {
	log_mark dma
	setpci -s "$bdf" COMMAND=0:4
	fails "write error: Input/output error" write dma_test 4096
	setpci -s "$bdf" COMMAND=4:4
	logged dma "rust_edu $bdf: interrupt 0x100 is lost"
	take_dump 'DMA of 4096 bytes: byte 0 is 0x0, not 0x[0-9a-f]+' 'register 0x90: 0x1000'
	write dma_test 4096
}

computes_again() { write factorial 6 2>/dev/null && [ "$(cat "$files/factorial")" = 720 ]; }
bounded() {
	local start try
	for try in {1..4}; do
		start=$SECONDS
		fails "write error: Connection timed out" write factorial $long
		at_most "seconds" 20 $((SECONDS - start))
		# Unless the computation has ended, as on a busy machine.
		if fails "write error: Device or resource busy" write factorial 5; then break; fi
		[ "$try" != 4 ] || return 1
	done
	# DMA doesn't wait for it.
	write dma_test 64
	wait_for 60 computes_again
}

# ends BACK COMMAND…: COMMAND ends a running computation; again if the computation ended before, as on a
# busy machine. BACK undoes COMMAND.
ends() {
	local back=$1 try
	shift
	for try in {1..30}; do
		background bash -c "echo $long >$files/factorial"
		wait_for 20 computing_or_ended
		"$@"
		wait_for 20 ended "$job"
		[ "$try" = 1 ] || say "$*: again, since: $(cat "$tmp/before")"
		mv "$tmp/background" "$tmp/before"
		! grep -q "write error: No such device" "$tmp/before" || return 0
		"$back"
		wait_for 60 computes_again
	done
	cat "$tmp/before"
	return 1
}
computing_or_ended() { grep -qs kernfs_fop_write_iter "/proc/$job/stack" || ended "$job"; }

bind_edu() { echo "$bdf" >"$pci/bind"; }
unbind_edu() { echo "$bdf" >"$pci/unbind"; }
unbinds() {
	local delay
	ends bind_edu unbind_edu
	[ ! -e "$files" ]
	same "interrupts" "" "$(grep rust_edu /proc/interrupts || true)"
	bind_edu
	wait_for 60 computes_again
	# Before, during and between the two transfers, of 100 ms each.
	for delay in 0 0.05 0.1 0.15 0.2 0.25; do
		background bash -c "echo 4096 >$files/dma_test"
		sleep $delay
		unbind_edu
		wait_for 20 ended "$job"
		[ ! -s "$tmp/background" ] || grep -qE "No such (device|file)|Permission denied" "$tmp/background"
		bind_edu
		write dma_test 4096
	done
}

load_edu() { insmod "$ko"; }
unload_edu() { rmmod rust_edu; }
unloads() {
	ends load_edu unload_edu
	left_nothing
	load_edu
	wait_for 60 computes_again
}

remove_edu() { echo 1 >"/sys/bus/pci/devices/$bdf/remove"; }
rescan() {
	echo 1 >/sys/bus/pci/rescan
	wait_for 20 [ -e "$files/factorial" ]
}
leaves() {
	ends rescan remove_edu
	[ ! -e "/sys/bus/pci/devices/$bdf" ]
	rescan
	wait_for 60 computes_again
	unload_edu
	left_nothing
}
left_nothing() {
	same "files" "" "$(ls -d /sys/module/rust_edu "$pci" "$files" 2>/dev/null || true)"
	same "interrupts" "" "$(grep rust_edu /proc/interrupts || true)"
	same "regions" "" "$(grep rust_edu /proc/iomem || true)"
}

one_cycle() {
	load_edu
	write factorial 5
	write dma_test 4096
	unload_edu
}
gives_back() {
	many 2 5 "loads, each with a factorial and DMA" one_cycle
}

begin 11
[ -r "$ko" ] || skip_all "no $ko: make M=samples"
bdf=$(edu_device)
[ -n "$bdf" ] || skip_all "no device edu"
memory=$(sed -n 's/-.* : System RAM$//p' /proc/iomem | head -n 1)
[ $((16#$memory)) -lt $((1 << 28)) ] || skip_all "the device has 28 address bits, and memory begins at 0x$memory"
files=/sys/bus/pci/devices/$bdf/edu
check "it binds to the device" loads
check "the device's factorials are right, and each comes with an interrupt" computes
check "data go to the device and back" transfers
check "it rejects bad input" refuses
check "it dumps the registers on request" dumps
check "it finds and dumps a failed DMA, and a lost interrupt" finds_bad_dma
check "its waits end, and it starts no command before the last has ended" bounded
check "unbind ends running commands" unbinds
check "so does unloading" unloads
check "so does the removal of the device" leaves
check "its memory is given back" gives_back
finish
