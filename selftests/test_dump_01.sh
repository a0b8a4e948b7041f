#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A reset leaves a device core dump, and sends uevents of the states.
. "$(dirname "$0")/common.sh"

has() { grep -qxE -- "$1" "$tmp/dump" || { echo "not in the dump: $1"; cut -c1-120 "$tmp/dump"; return 1; }; }

# The dump of our device; a write removes it.
dump_of() {
	local dir
	for dir in /sys/class/devcoredump/devcd*; do
		[ "$(basename "$(realpath "$dir/failing_device")")" != "$bdf" ] || echo "$dir"
	done
}
dumped() { [ -n "$(dump_of)" ]; }
no_dump() { [ -z "$(dump_of)" ]; }
take_dump() {
	# The dump appears after the requests were released.
	wait_for 10 dumped
	cat "$(dump_of)/data" >"$tmp/dump"
	echo 1 >"$(dump_of)/data"
	no_dump
}

asked() {
	no_dump
	reset_controller
	wait_for 10 dumped
	wait_for 10 live
	take_dump
	has 'rust_nvme_demo core dump, format 1'
	has 'why: reset was asked for'
	has 'controller: nvme900'
	has "serial: $(c serial)"
	has '[0-9]+\.[0-9]{6} live'
	has 'CSTS 0x00000001'
	for qid in $(queues); do
		has "\[queue $qid\]"
	done
	has '\[in flight\]'
}

timed_out() {
	# So slow that the controller doesn't complete the late command at the last moment.
	throttle 0 64
	background fio_on "$disk" --rw=read --bs=4k --iodepth=16 --size=1M --number_ios=40
	wait_for 60 dumped
	throttle 0
	wait_for 60 ended "$job"
	wait "$job"
	take_dump
	has 'why: command timed out'
	has 'timeouts: [1-9][0-9]*'
	has 'aborts: [1-9][0-9]*'
	# The command that timed out is at least as old as the time limit.
	has 'queue [1-9][0-9]* command 0x[0-9a-f]{4} opcode 0x02 \(Read\) sector [0-9]+ bytes 4096 age_us [1-9][0-9]{6,}'
	wait_for 10 live
}

# The kernel keeps only the first of several dumps until it is removed.
first_only() {
	reset_controller
	wait_for 10 dumped
	wait_for 10 live
	first=$(dump_of)
	reset_controller
	wait_for 10 live
	same "dump" "$first" "$(dump_of)"
	take_dump
}

came() { [ "$(grep -c STATE "$tmp/background")" -ge "$1" ]; }
told() {
	background "$here/uevents.py" "$bdf"
	wait_for 60 grep -q listening "$tmp/background"
	reset_controller
	wait_for 10 came 2
	stop "$job"
	same "events" "RNVME=nvme900 STATE=resetting,RNVME=nvme900 STATE=live" \
		"$(grep STATE "$tmp/background" | paste -sd ,)"
	take_dump
}

begin 4
need_qemu
[ -d /sys/class/devcoredump ] || skip_all "a kernel without device core dumps"
load_disks timeout=2
# A dump of another test.
no_dump || echo 1 >"$(dump_of)/data"
check "a reset that was asked for leaves a core dump" asked
check "the dump after a time-out has the commands in flight and their ages" timed_out
check "a dump stays until it was taken" first_only
check "user space is told of each state" told
throttle 0 >/dev/null
finish
