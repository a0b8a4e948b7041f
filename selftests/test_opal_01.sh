#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Opal, IOC_OPAL_*: the kernel's messages reach the controller, and its answers the caller. QEMU's controller has no
# security commands: it seems to have them after a reset, and opal.py plays it.
. "$(dirname "$0")/common.sh"

status() { python3 "$here/opal.py" "/dev/$1" status; }
absent() {
	same "disk" ENOTSUP "$(status "$disk")"
	same "generic device" ENOTSUP "$(status "ng${disk#nvme}")"
	same "control device" ENOTTY "$(status "${disk%n*}")"
	same "commands" 0 "$(admin_commands 0x82 | wc -l)"
}
# The first bit of OACS, and the answer to the first message.
appears() {
	local oacs
	oacs=$(nvme id-ctrl "/dev/$disk" | awk '$1 == "oacs" { print $3 }')
	AMENDED_BY=reset amended "1/0:256=$(printf %02x $((oacs % 256 | 1)))" \
		"0x300/0:0=$(python3 "$here/opal.py" discovery)"
	wait_for 60 live
	# Asked again, the controller refuses the message.
	same "flags" 0 "$(status "$disk")"
}
carries() {
	local rc=0
	timeout 500 python3 "$here/opal.py" "/dev/$disk" "$bdf" "$top/qemu/qmp" >"$tmp/calls" 2>&1 || rc=$?
	cat "$tmp/calls"
	same "exit status" 0 $rc
	same "calls" 19 "$(wc -l <"$tmp/calls")"
}
# The controller refuses the message, so the range is still locked. A reset without a sleep unlocks nothing.
unlocks() {
	python3 "$here/opal.py" "/dev/$disk" save
	log_mark slept
	reset_controller
	wait_for 60 live
	same "attempts after a reset" 0 "$(log_since slept | grep -c Opal)"
	echo devices >/sys/power/pm_test
	echo mem >/sys/power/state
	echo none >/sys/power/pm_test
	wait_for 60 live
	logged slept "Opal: a range is still locked after the sleep"
}
afterwards() {
	same "state" live "$(c state)"
	same "resets by time-outs" 0 "$(c timeouts)"
	fio_on "$disk" --rw=randrw --bs=4k --iodepth=16 --size=8M --verify=crc32c
	unbind "$bdf"
	bind "$bdf"
	wait_for 60 test -b "/dev/$disk"
	same "after another start" ENOTSUP "$(status "$disk")"
}

begin 4
need_qemu
load_disks timeout="$patience"
need_poke
type -P setpci >/dev/null || skip_all "no setpci"
[ "$(status "$disk")" != ENOTTY ] || skip_all "the kernel has no Opal"
check "a controller without security commands" absent
check "the controller has them, and speaks Opal" appears
# The root that can sleep hasn't all that the player needs.
if [ "${TOPOLOGY:-}" = sleep ]; then
	check "locked ranges are unlocked after a sleep" unlocks
else
	check "messages and answers" carries
fi
check "afterwards the disk works, and a new start asks again" afterwards
finish
