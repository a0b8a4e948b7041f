#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# I/O commands from user space that don't end by themselves: their task is killed, the controller is reset, they
# time out, the driver is unbound. And one that replaces the device by which it was sent.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/passthru.sh"

killed() {
	local device
	for device in "$disk" "$generic" "$disk"; do
		hold
		in_flight killed
		kill -0 -- "-$job"
		kill -9 -- "-$job"
		# The command is still held back.
		wait_for 60 ended "$job"
		same "in flight" 1 "$(sum inflight)"
		release
		wait_for 60 idle
	done
	works
}
idle() { [ "$(sum inflight)" = 0 ]; }
# A user without rights can't make the controller reset sooner than otherwise.
user() {
	local timeouts
	timeouts=$(c timeouts)
	chmod 666 "/dev/$disk"
	chmod 711 "$tmp"
	hold
	ms=1 in_flight user setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all
	sleep 3
	same "time-outs" "$timeouts" "$(c timeouts)"
	release
	ended_with user 0x0 0x0
}
unbound() {
	local device
	for device in "$disk" "$generic"; do
		slow
		# Unbinding waits for requests until they time out.
		ms=2000 in_flight "unbound.$device"
		unbind "$bdf"
		[ ! -e "/dev/$generic" ]
		throttle 0
		ended_with "unbound.$device" EINTR ENODEV
		bind "$bdf"
		wait_for 60 both
		works
	done
}
# Unbinding doesn't wait for the call, and the controller gets its name again.
waits_for_memory() {
	local device way
	local -A outcomes=([in]=ENODEV [out]=0x0)
	for device in "$disk" "$generic"; do
		for way in in out; do
			background python3 "$here/passthru.py" "/dev/$device" paged "$way" "$tmp/$device.$way"
			wait_for 60 grep -q waits "$tmp/background"
			unbind "$bdf"
			bind "$bdf"
			wait_for 60 both
			ended_with "$device.$way" waits "${outcomes[$way]}"
			works
		done
	done
}
# The format replaces the disk and the generic device, by which it was sent.
format() {
	local size formats=([512]=0 [4096]=4)
	for size in 4096 512; do
		device=$generic read_first "format.$size"
		# Not `nvme format`, which rescans by this device; that isn't possible, as in the C driver.
		timeout 200 nvme admin-passthru "/dev/$generic" --opcode=0x80 --namespace-id=1 --cdw10="${formats[size]}"
		wait_for 60 both
		same "block size" "$size" "$(blk "$disk" logical_block_size)"
		ended_with "format.$size" 0x0 ENODEV
	done
	works
}
# read_first FILE: as in_flight, for a first read that the controller completes.
read_first() {
	background python3 "$here/passthru.py" "/dev/$device" once read 0 "$tmp/$1"
	wait_for 60 test -s "$tmp/background"
}

begin 7
need_qemu
type -P setpriv nvme >/dev/null || skip_all "no setpriv or nvme"
load_disks timeout=20
generic=${disk/nvme/ng}
check "a killed task is gone at once, before its command has ended" killed
check "a reset ends a command with EINTR, and the next one succeeds" reset
check "a time-out does the same" times_out
check "a user without rights has no shorter time limit than others" user
check "an unbound driver's open disk says ENODEV" unbound
what="the driver is unbound and bound while a call waits for the user's memory"
if [ -e /proc/sys/vm/unprivileged_userfaultfd ]; then
	check "$what" waits_for_memory
else
	skip "$what" "this kernel has no userfaultfd"
fi
check "a format by the generic device replaces that device" format
throttle 0 >/dev/null
finish
