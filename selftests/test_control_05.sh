#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The effects of what QEMU's controller doesn't do, but a program plays: I/O waits until a Sanitize has ended; and after
# the activation of a firmware, for which the controller pauses commands, the driver asks what the controller is now.
. "$(dirname "$0")/common.sh"

sanitized() {
	local rc=0
	timeout 200 python3 "$here/effects.py" "/dev/$(c name)" "/dev/$disk" "$bdf" "$top/qemu/qmp" >"$tmp/calls" 2>&1 || rc=$?
	cat "$tmp/calls"
	same "exit status" 0 $rc
	same "calls" 4 "$(wc -l <"$tmp/calls")"
	works
}
works() {
	same "state" live "$(c state)"
	same "in flight" 0 "$(sum inflight)"
	fio_on "$disk" --rw=randwrite --bs=4k --size=1M --verify=crc32c
}
# reports: the event of an activation is there instead of a warning, of which QEMU reports one after each reset. The
# interrupts are masked then.
reports() {
	mask "$bdf" 1
	warn 2
	"$here/hostile.py" "$bdf" 0 becomes:030102 1
	warn 0
}
# limit MTFA: the activation of a firmware may take so long, in units of 100 ms as little-endian hexadecimal digits, since
# a reset.
limit() {
	AMENDED_BY=reset amended 1/0:270="$1"
	wait_for 60 live
}
# pauses: the controller's status has the bit PP, until fail.ko is unloaded.
pauses() {
	insmod "$fail" device="$bdf" csts=0x20
	trap 'rmmod fail' EXIT
}
ends_pause() {
	trap - EXIT
	rmmod fail
}
# The kernel may have the function inline that reads registers.
can_pause() {
	pauses
	[ $(($(awk '$1 == "CSTS" { print $2 }' "/sys/kernel/debug/rust_nvme_demo-$bdf/registers") & 0x20)) != 0 ]
}
# The Get Log Page commands for the firmware slots.
slots() { admin_commands 0x02 | awk '$11 % 256 == 3' | wc -l; }
has_logged() { log_since "$1" | grep -qF -- "$2"; }
# The new firmware has another revision, and transfers at most 8 KiB.
activates() {
	local n resets rc
	for n in 1 2 3; do
		limit 5802
		reports
		resets=$(c resets)
		pauses
		log_mark "activates.$n"
		mask "$bdf" 0
		wait_for 20 has_logged "activates.$n" "the controller activates a firmware, and pauses commands"
		sleep 2
		same "reads of the firmware slots" 0 "$(slots)"
		rc=0
		becomes_another || rc=$?
		# On a busy machine, the change may come too late.
		[ $rc = 3 ] || break
	done
	cat "$tmp/background"
	wait_for 20 is_changed
	same "reads of the firmware slots" 1 "$(slots)"
	same "resets" "$resets" "$(c resets)"
	works
}
becomes_another() {
	mask "$bdf" 1
	background chrt -f 10 "$here/amend.py" "$bdf" $((4 * patience)) 60 1/0:64=6e65772046572020 1/0:77=01
	wait_for 30 test -s "$tmp/background"
	ends_pause
	wait_for 70 ended "$job"
	mask "$bdf" 0
	wait "$job"
}
is_changed() { [ "$(c firmware) $(blk "$disk" max_hw_sectors_kb)" = "new FW 8" ]; }
# The requests that begin during an activation take longer than their time limit.
outlasts() {
	local aborts resets
	limit 5802
	reports
	pauses
	log_mark outlasts
	mask "$bdf" 0
	wait_for 20 has_logged outlasts "the controller activates a firmware, and pauses commands"
	aborts=$(c aborts) resets=$(c resets)
	throttle 0 16
	# Of two, QEMU completes the first at once.
	dd if="/dev/$disk" of=/dev/null bs=4k count=1 iflag=direct
	background dd if="/dev/$disk" of=/dev/null bs=4k count=1 iflag=direct
	sleep $((10 * patience))
	same "in flight" 1 "$(sum inflight)"
	same "aborts" "$aborts" "$(c aborts)"
	same "resets" "$resets" "$(c resets)"
	throttle 0
	wait_for 20 ended "$job"
	wait "$job" || { cat "$tmp/background"; return 1; }
	ends_pause
	works
}
# A user's command may time out, but not reset the controller, which would end the activation. QEMU delays the format as
# in test_control_03.
is_answered() { [ "$(q 0 inflight)" = 1 ]; }
gives_up() {
	local resets timeouts
	limit 5802
	reports
	pauses
	log_mark gives_up
	mask "$bdf" 0
	wait_for 20 has_logged gives_up "the controller activates a firmware, and pauses commands"
	resets=$(c resets) timeouts=$(c timeouts)
	throttle 0 1000
	dd if=/dev/zero of="/dev/$disk" bs=256k count=1 oflag=direct status=none
	refused nvme format "/dev/$(c name)" -n 1 -f -t 1000
	same "time-outs and resets" "$((timeouts + 1)) $resets" "$(c timeouts) $(c resets)"
	throttle 0
	wait_for 60 is_answered
	ends_pause
	works
}
fails() {
	local resets
	limit 0500
	resets=$(c resets)
	reports
	pauses
	log_mark fails
	mask "$bdf" 0
	wait_for 20 has_logged fails "no firmware was activated within 500 ms"
	resets_once() { [ "$(c resets)" = $((resets + 1)) ] && live; }
	wait_for 60 resets_once
	ends_pause
	works
}

begin 5
need_qemu
type -P setpci >/dev/null || skip_all "no setpci"
type -P nvme >/dev/null || skip_all "no nvme-cli"
load_disks timeout=$((4 * patience))
need_poke
fail=${FAIL:-$here/poke/fail.ko}
warn 0
check "I/O waits for a Sanitize, and not for a command without effects" sanitized
if (can_pause >/dev/null 2>&1); then
	check=check why=
else
	check=skip why="the register can't be changed"
fi
$check "the driver waits while a firmware is activated, and then has its limits" "${why:-activates}"
$check "requests don't time out meanwhile" "${why:-outlasts}"
$check "a user's command that times out meanwhile doesn't reset the controller" "${why:-gives_up}"
$check "a firmware that isn't activated in time has the controller reset" "${why:-fails}"
throttle 0 >/dev/null
warn 0
finish
