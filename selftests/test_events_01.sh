#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# User space may read sysfs as soon as it receives a uevent of a disk or of a state: all files must exist
# before the first uevent.
. "$(dirname "$0")/common.sh"

trace=/sys/kernel/tracing
instance=$trace/instances/events
probes="rnvme_dir rnvme_event"

# Creation of directories, and uevents, in the kernel's order.
start_trace() {
	mkdir $instance
	# shellcheck disable=SC2016 # an argument of the function's
	echo 'p:rnvme_dir sysfs_create_dir_ns name=+0(+0($arg1)):string' >>$trace/kprobe_events
	# The function that fills in any device's uevent.
	# shellcheck disable=SC2016
	echo 'p:rnvme_event dev_uevent name=+0(+0($arg1)):string' >>$trace/kprobe_events
	for probe in $probes; do echo 1 >"$instance/events/kprobes/$probe/enable"; done
}
stop_trace() {
	for probe in $probes; do echo 0 >"$instance/events/kprobes/$probe/enable"; done
	sed -n 's/.*: \(rnvme_[a-z]*\): ([^)]*)/\1/p' $instance/trace >"$tmp/trace"
	rmdir $instance
	for probe in $probes; do echo "-:$probe" >>$trace/kprobe_events; done
}
# line RE: the number of the trace's first line that matches.
line() {
	grep -nE -m 1 "$1" "$tmp/trace" | cut -d: -f1 | grep . || { echo "not in the trace: $1"; return 1; }
}
traced() {
	unbind "$bdf"
	start_trace
	bind "$bdf"
	# A task sends the uevent of the state.
	sleep 1
	stop_trace
}
# before EVENT…: all directories are created before it.
before() {
	local event name
	event=$(line "$1")
	for name in controller queues 0 1; do
		at_most "line of the directory $name, of $1" $((event - 1)) "$(line "rnvme_dir name=\"$name\"")"
	done
}

begin 3
[ -e $trace/instances ] || mount -t tracefs tracefs $trace
[ -e $trace/kprobe_events ] || skip_all "a kernel without CONFIG_KPROBE_EVENTS"
load_disks
check "a bind is traced" traced
check "sysfs is whole before the event of the disk" before "rnvme_event name=\"$disk\""
check "sysfs is whole before the first event of a state" before "rnvme_event name=\"$bdf\""
finish
