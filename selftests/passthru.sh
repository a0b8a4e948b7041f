# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For tests of I/O commands from user space that don't end by themselves, on $disk and $generic. After common.sh.

# in_flight FILE [COMMAND…]: a read, or $op, on $device by passthru.py, or $script, in the background, which the
# controller doesn't complete. After it a read by the same open file follows, when FILE exists.
in_flight() {
	local before file=$1
	shift
	before=$(sum submitted)
	log_mark "$file"
	background "${@:-env}" python3 "$here/${script:-passthru.py}" "/dev/${device:-$disk}" once "${op:-read}" "${ms:-0}" "$tmp/$file"
	wait_for 60 more "$before"
}
more() { [ "$(sum submitted)" -gt "$1" ] && [ "$(sum inflight)" -ge 1 ]; }
ended_with() { # FILE ERROR…: of the first command and the second
	touch "$tmp/$1"
	shift
	wait_for 120 ended "$job"
	same "outcomes" "$*" "$(paste -sd ' ' "$tmp/background")"
}
works() {
	wait_for 60 live
	fio_on "$disk" --rw=randwrite --bs=4k --size=1M --verify=crc32c
	same "stray completions" 0 "$(sum stray_completions)"
}
# Of the two commands that begin at once, QEMU completes the first, and the second after four minutes.
slow() { throttle 0 16; dd if="/dev/$disk" of=/dev/null bs=4k count=1 iflag=direct; }
both() { [ -b "/dev/$disk" ] && [ -c "/dev/$generic" ]; }
# Ways in which a command ends early.
reset() {
	slow
	in_flight reset
	reset_controller
	throttle 0
	ended_with reset EINTR 0x0
	works
}
times_out() {
	local resets
	resets=$(c resets)
	slow
	device=$generic ms=1000 in_flight time_out
	wait_for 60 counted resets "$resets"
	throttle 0
	ended_with time_out EINTR 0x0
	works
}
counted() { [ "$(c "$1")" -gt "$2" ]; }
