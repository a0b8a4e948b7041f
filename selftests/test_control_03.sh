#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The control device while a command is in flight: its task is killed, its time is up, the controller is reset,
# the driver is unbound. And a file that stays open beyond that.
. "$(dirname "$0")/common.sh"

# A file of the control device, open for writing in this shell, and a Get Features on it.
feature='
import errno, fcntl, struct, sys
arg = struct.pack("=BBHIIIQQII6III", 0xa, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0)
try:
    print(fcntl.ioctl(9, 0xC0484E41, bytearray(arg)))
except OSError as error:
    print(errno.errorcode[error.errno])
'
on_file() { python3 -c "$feature"; }

# A format stays in flight, because QEMU delays the namespace's writes: one write exhausts its budget for
# minutes. The asynchronous event request is always in flight.
in_flight() { [ "$(q 0 inflight)" = "$1" ]; }
start() { # COMMAND…
	wait_for 20 in_flight 1
	throttle 0 1000
	dd if=/dev/zero of="/dev/$disk" bs=256k count=1 oflag=direct status=none
	"$@" >"$tmp/format" 2>&1 &
	format=$!
}
start_format() { # OPTION…
	start nvme format /dev/nvme900 -n 1 -f "$@"
	wait_for 20 in_flight 2
}
is_over() { ! kill -0 "$1" 2>/dev/null; }
# The format's process has ended; sets $rc to its status.
has_ended() {
	wait_for 20 is_over "$format"
	rc=0
	wait "$format" || rc=$?
}
# The disk works: it isn't frozen.
works() {
	throttle 0 0
	wait_for 30 live
	timeout 60 dd if="/dev/$disk" of=/dev/null bs=4k count=16 iflag=direct status=none
	timeout 60 nvme id-ctrl /dev/nvme900 >/dev/null
}

# The task lives until the disk is what the namespace has become: requests with blocks of the old size would
# overrun their data.
killed() {
	local stray
	stray=$(q 0 stray_completions)
	start_format -l 4
	kill -KILL "$format"
	timeout 60 nvme id-ctrl /dev/nvme900 >/dev/null
	sleep 1
	in_flight 2
	refused is_over "$format"
	throttle 0 0
	has_ended
	same "status" 137 "$rc"
	same "stray completions" "$stray" "$(q 0 stray_completions)"
	same "the size of a block" 4096 "$(block_size)"
	works
	nvme format /dev/nvme900 -n 1 -f -l 0
	same "the size of a block" 512 "$(block_size)"
}
block_size() { file "/sys/block/$disk/queue/logical_block_size"; }
# The interrupts are masked, so the command is in flight for the driver.
lets_go() {
	mask "$bdf" 1
	nvme get-log /dev/nvme900 -i 2 -l 512 >/dev/null 2>&1 &
	command=$!
	wait_for 20 in_flight 2
	kill -KILL "$command"
	wait_for 5 is_over "$command"
	mask "$bdf" 0
	wait_for 20 in_flight 1
	works
}
timed_out() {
	local resets timeouts
	resets=$(c resets) timeouts=$(c timeouts)
	start nvme format /dev/nvme900 -n 1 -f -t 1000
	has_ended
	grep -i 'interrupted system call' "$tmp/format"
	at_least "status" 1 "$rc"
	throttle 0 0
	wait_for 60 live
	same "resets and time-outs" "$((resets + 1)) $((timeouts + 1))" "$(c resets) $(c timeouts)"
	works
}
reset() {
	start_format
	reset_controller
	has_ended
	grep -i 'interrupted system call' "$tmp/format"
	works
}
# The write to the control device's file waits for the reset.
by_file() {
	local n state
	for n in 1 2 3; do
		echo 1 >/sys/class/rnvme/nvme900/reset_controller
		# At once, without another process.
		read -r state </sys/class/rnvme/nvme900/state
		same "state after reset $n" live "$state"
	done
}
# The parameter timeout is for the driver's own commands.
unlimited() {
	unload
	load timeout=2
	wait_for 20 test -b "/dev/$disk"
	start nvme admin-passthru /dev/nvme900 --opcode=0x80 -n 1
	wait_for 20 in_flight 2
	sleep 5
	throttle 0 0
	has_ended
	same "status" 0 "$rc"
	same "resets and time-outs" "0 0" "$(c resets) $(c timeouts)"
	works
}
many() {
	local n pids=() pid
	for n in {1..64}; do
		nvme id-ctrl /dev/nvme900 -o binary >"$tmp/id.$n" &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do wait "$pid"; done
	same "kinds of output" 1 "$(sha256sum "$tmp"/id.* | cut -d' ' -f1 | sort -u | wc -l)"
	same "bytes" 4096 "$(stat -c %s "$tmp/id.1")"
}
unbound() {
	exec 9<>/dev/nvme900
	same "before" 0 "$(on_file)"
	start_format
	# If it hangs, the test fails, and its file is closed.
	unbind "$bdf" &
	unbinding=$!
	wait_for 60 is_over "$unbinding"
	has_ended
	at_least "status" 1 "$rc"
	[ ! -e /dev/nvme900 ]
	same "after" ENODEV "$(on_file)"
	refused rmmod rust_nvme_demo
	throttle 0 0
	bind "$bdf"
	wait_for 20 live
	same "on the old file" ENODEV "$(on_file)"
	exec 9>&-
	works
	exec 9<>/dev/nvme900
	same "on a new file" 0 "$(on_file)"
	refused rmmod rust_nvme_demo
	exec 9>&-
	unload
	nothing_left
	load
	works
}
# Tasks open the device and send commands all the time while the driver is bound and unbound.
race() {
	local n pids=()
	for n in 1 2 3; do
		while :; do nvme id-ctrl /dev/nvme900 || true; done >/dev/null 2>&1 7>&- &
		pids+=($!)
	done
	for n in {1..8}; do
		unbind "$bdf"
		bind "$bdf"
		reset_controller || true
	done
	kill "${pids[@]}"
	wait "${pids[@]}" || true
	wait_for 30 live
	works
}

begin 9
type -P nvme >/dev/null || skip_all "no nvme-cli"
need_qemu
load_disks
check "a killed task waits until its format has ended, and the disk has the new blocks" killed
check "a killed task lets go of a command that changes nothing at once" lets_go
check "a command that times out resets the controller" timed_out
check "a reset ends a command" reset
check "a reset by the control device's file has ended when the write has" by_file
check "64 commands at once" many
check "unbinding ends a command, and an open file outlives it" unbound
check "commands during bind, unbind and reset" race
check "a command without a time limit has a minute" unlimited
throttle 0 0
finish
