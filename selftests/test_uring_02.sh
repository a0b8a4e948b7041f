#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Passthrough commands by io_uring: fio's data, by interrupts and polled, with and without registered buffers, beside
# the I/O of the disk; and commands that don't end by themselves: a task is killed, exits or closes its ring, the controller
# is reset, they time out, the driver is unbound.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/passthru.sh"

# commands OPTION…: fio on the generic device.
commands() {
	fio_on "$generic" --ioengine=io_uring_cmd --cmd_type=nvme --direct=0 --iodepth=16 --size=16M "$@"
}
more_than() { at_least "commands" "$1" "$(($(sum submitted) - before))"; }
data() {
	local before
	before=$(sum submitted)
	commands --rw=randwrite --bs=4k --verify=crc32c
	commands --rw=randwrite --bs=512-64k --bs_unaligned=0 --verify=crc32c --fixedbufs=1
	commands --rw=randwrite --bs=128k --verify=crc32c --nonvectored=0
	commands --rw=randwrite --bs=128k --verify=crc32c --registerfiles=1 --fixedbufs=1 --sqthread_poll=1
	more_than 8000
	same "errors" 0 "$(sum errors)"
}
# What one way has written the other reads.
both_ways() {
	fio_on "$disk" --rw=write --bs=64k --size=8M --verify=crc32c --do_verify=0
	commands --rw=read --size=8M --bs=64k --verify=crc32c --verify_only
	commands --rw=write --size=8M --bs=64k --verify=md5 --do_verify=0
	fio_on "$disk" --rw=read --bs=64k --size=8M --verify=md5 --verify_only
}
poll_queues() {
	for qid in $(queues "$bdf"); do
		[ "$(q "$qid" kind)" != poll ] || echo "$qid"
	done
}
polled_sum() {
	local total=0
	for qid in $(poll_queues); do total=$((total + $(q "$qid" "$1"))); done
	echo $total
}
polled() {
	local before
	before=$(polled_sum submitted)
	commands --hipri=1 --rw=randwrite --bs=4k-128k --verify=crc32c
	commands --hipri=1 --rw=randwrite --bs=4k --verify=crc32c --fixedbufs=1
	at_least "commands of the poll queues" 4000 "$(($(polled_sum submitted) - before))"
	same "their interrupts" 0 "$(polled_sum interrupts)"
}
# Two rings poll the same queues, beside the disk's own I/O, and each reaps the other's commands.
mixed() {
	background fio_on "$disk" --rw=randrw --bs=4k --iodepth=8 --offset=32M --size=16M --time_based --runtime=4
	commands --hipri=1 --rw=randrw --bs=4k --numjobs=2 --time_based --runtime=4
	commands --rw=randrw --bs=4k --numjobs=2 --time_based --runtime=2
	wait_for 30 ended "$job"
	wait "$job" || { cat "$tmp/background"; return 1; }
}
# io_uring lets a killed task go, and its commands end later.
killed() {
	hold
	in_flight killed
	kill -9 -- "-$job"
	wait_for 20 ended "$job"
	sleep 1
	same "in flight" 1 "$(sum inflight)"
	release
	wait_for 60 ended "$job"
	same "in flight" 0 "$(sum inflight)"
	works
}
# left closes|exits KIND: the task closes its ring and lives on, or exits, which doesn't wait for its commands: then they
# end, and the buffers are released.
left() {
	slow
	trap 'throttle 0' EXIT
	background python3 "$here/uring.py" "/dev/$generic" "$1" "$2" "$tmp/left.$2"
	wait_for 60 flying 3
	if [ "$1" = exits ]; then
		wait_for 20 ended "$job"
		wait "$job" || { cat "$tmp/background"; return 1; }
	fi
	sleep 2
	flying 3
	refused none_pinned
	throttle 0
	wait_for 60 flying 0
	gives_back
	if [ "$1" = closes ]; then
		touch "$tmp/left.$2"
		wait_for 60 ended "$job"
		wait "$job" || { cat "$tmp/background"; return 1; }
	fi
	works
}
flying() { [ "$(sum inflight)" = "$1" ]; }
# Commands of many rings while the controller is reset: each ends, with an error or without.
resets_under_load() {
	background commands --rw=randread --bs=4k --numjobs=2 --time_based --runtime=8 --continue_on_error=io --hipri="$1"
	for _ in 1 2 3 4; do
		reset_controller
		wait_for 30 live
		sleep 0.5
	done
	wait_for 60 ended "$job"
	same "in flight" 0 "$(sum inflight)"
	works
}
under_load() { resets_under_load 0; resets_under_load 1; }
unbound() {
	slow
	ms=2000 in_flight unbound
	unbind "$bdf"
	[ ! -e "/dev/$generic" ]
	throttle 0
	ended_with unbound EINTR ENODEV
	bind "$bdf"
	wait_for 60 both
	works
}
# The user's pages that transfers hold.
pinned() {
	echo 1 >/proc/sys/vm/stat_refresh
	awk '$1 == "nr_foll_pin_acquired" { n += $2 } $1 == "nr_foll_pin_released" { n -= $2 } END { print n }' /proc/vmstat
}
none_pinned() { [ "$(pinned)" = "$before" ]; }
gives_back() { wait_for 10 none_pinned; }

begin 14
need_qemu
fio --enghelp 2>/dev/null | grep -qw io_uring_cmd || skip_all "fio has no engine io_uring_cmd"
load_disks timeout=20 poll_queues=2
generic=${disk/nvme/ng} device=$generic script=uring.py
before=$(pinned)
check "fio's data are right, also in registered buffers" data
check "the disk and the generic device have the same data" both_ways
check "polled commands take the poll queues" polled
check "beside others, and the disk's I/O" mixed
check "a killed task is gone at once, before its command has ended" killed
for kind in interrupts polled; do
	check "commands end after their ring was closed ($kind)" left closes "$kind"
	check "commands end after their task has exited ($kind)" left exits "$kind"
done
check "a reset ends a command with EINTR, and the next one succeeds" reset
check "a time-out does the same" times_out
check "commands under load end when the controller is reset" under_load
check "an unbound driver's open device says ENODEV" unbound
check "no page of users' memory stays pinned" gives_back
throttle 0 >/dev/null
finish
