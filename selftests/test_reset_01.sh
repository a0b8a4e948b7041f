#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Resets of the controller by sysfs: no request is lost, even under load.
. "$(dirname "$0")/common.sh"

scanned() { [ "$(q 0 inflight)" = 1 ]; }

idle() {
	before=$(c resets)
	reset_controller
	wait_for 10 live
	same "resets" $((before + 1)) "$(c resets)"
	# Only the asynchronous event request.
	wait_for 10 scanned
	dd if="/dev/$disk" of=/dev/null bs=4k count=16 iflag=direct
}

# Verifies data continuously; requests in flight at a reset are requeued.
under_load() {
	before=$(c resets)
	background fio_on "$disk" --rw=randrw --bs=4k-64k --iodepth=16 --size=32M --verify=crc32c \
		--time_based --runtime=8
	# Also in quick succession, so that a request may be in flight during several resets.
	for n in {1..40}; do
		sleep "0.$((n % 4))"
		wait_for 10 live
		reset_controller
	done
	wait_for 60 ended "$job"
	wait "$job" || { cat "$tmp/background"; return 1; }
	wait_for 10 live
	same "resets" $((before + 40)) "$(c resets)"
	same "errors" 0 "$(sum errors)"
	same "stray completions" 0 "$(sum stray_completions all)"
}

# Every queue still works, not only that of this CPU.
all_queues() {
	reset_controller
	wait_for 10 live
	for ((cpu = 0; cpu < $(nproc); cpu++)); do
		taskset -c "$cpu" dd if="/dev/$disk" of=/dev/null bs=4k count=4 iflag=direct
	done
}

# Nothing hangs in either order, and the next bind works.
and_unbind() {
	for _ in {1..10}; do
		wait_for 10 live
		reset_controller
		unbind "$bdf"
		bind "$bdf"
	done
}

# The scan needs at least a command for the list, and a command for each namespace.
rescan() {
	local before commands
	looked() {
		local now
		now=$(q 0 completed)
		sleep 0.5
		[ "$now" -gt $((commands + 1)) ] && [ "$now" = "$(q 0 completed)" ]
	}
	before=$(disks "$bdf")
	commands=$(q 0 completed)
	echo 1 >"$(dir_of)/controller/rescan_controller"
	wait_for 10 looked
	same "disks" "$before" "$(disks "$bdf")"
	same "namespaces" "$(wc -w <<<"$before")" "$(c namespaces)"
}

begin 5
# shellcheck disable=SC2119
load_disks
check "an idle controller is reset, and works" idle
check "40 resets under load lose nothing" under_load
check "every CPU's queue works after a reset" all_queues
check "10 resets with an unbind at once" and_unbind
check "a rescan keeps the disks that there are" rescan
finish
