#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Sleep while commands are in flight: the kernel's test levels, suspend to idle, and suspend to RAM,
# from which the RTC wakes the machine. No request is lost.
. "$(dirname "$0")/common.sh"

more() { [ "$(sum completed)" -gt $(($1 + 50)) ]; }
awake() {
	same "state" live "$(c state)"
	wait_for 60 more "$(sum completed)"
}
# level LEVEL STATE: suspends up to that test level, and resumes.
level() {
	log_mark "$1-$2"
	echo "$1" >/sys/power/pm_test
	echo "$2" >/sys/power/state
	echo none >/sys/power/pm_test
	logged "$1-$2" "debug: Waiting for"
	awake
}
sleeps() { # STATE
	local start=$SECONDS
	log_mark "$1"
	rtcwake -m "$1" -s 4
	logged "$1" "PM: suspend exit"
	say "$1: $((SECONDS - start)) s with the way there and back"
	awake
}
idles() {
	idle 6
	awake
}
ends() {
	stop_load
	same "resets by time-outs" 0 "$(c timeouts)"
	same "errors" 0 "$(sum errors)"
	same "iostats, as set before" 0 "$(blk "$disk" iostats)"
	# All blocks are unchanged.
	fio_on "$disk" --rw=randwrite --bs=4k-64k --size=32M --verify=crc32c --verify_only
}

begin 9
[ "${TOPOLOGY:-}" = sleep ] || skip_all "the root can't sleep"
load_disks timeout=10
echo 1 >/sys/module/suspend/parameters/pm_test_delay
echo 0 >"/sys/block/$disk/queue/iostats"
fio_on "$disk" --rw=randwrite --bs=4k-64k --size=32M --verify=crc32c --do_verify=0 >"$tmp/fio"
# In its own process group, so that a check doesn't end it.
(fio_on "$disk" --rw=randrw --bs=4k-64k --iodepth=16 --offset=64M --size=64M --verify=crc32c \
	--time_based --runtime=600 --verify_backlog=256; echo $? >"$tmp/load.rc") >"$tmp/load" 2>&1 7>&- &
stop_load() {
	[ ! -e "$tmp/load.rc" ]
	local pids
	mapfile -t pids < <(pgrep_fio)
	kill -INT "${pids[@]}"
	wait_for 60 test -e "$tmp/load.rc"
	! grep -iE 'verify: bad|err= *[1-9]|io_u error' "$tmp/load"
}
pgrep_fio() { grep -lz '^fio$' /proc/[0-9]*/cmdline | cut -d/ -f3; }
for name in freezer devices platform processors core; do
	check "suspend as far as: $name" level $name mem
done
check "hibernation as far as: devices" level devices disk
check "suspend to memory" sleeps mem
check "suspend to idle" idles
check "no request failed, and all data and settings are there" ends
finish
