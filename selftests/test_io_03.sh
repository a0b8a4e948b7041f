#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Many jobs at once, on all CPUs and all disks, with more requests than the queues have tags.
. "$(dirname "$0")/common.sh"

parallel() { # OPTION…
	local disk jobs=() i
	for disk in $(disks); do
		for ((i = 0; i < jobs_each; i++)); do
			jobs+=(--name="$disk-$i" --filename="/dev/$disk"
				--offset=$((i * 12))m --size=4m)
		done
	done
	(cd "$tmp" && fio --rw=randrw --rwmixread=30 --bssplit=4k/50:8k/20:64k/20:256k/10 --iodepth=64 \
		--ioengine=libaio --direct=1 --verify=crc32c --verify_fatal=1 --verify_state_save=0 \
		--eta=never "$@" "${jobs[@]}" --output-format=json --output=fio.json)
	same "jobs with errors" 0 "$(jq '[.jobs[] | select(.error != 0)] | length' "$tmp/fio.json")"
	for bdf in $(controllers); do
		same "in flight" 0 "$(sum inflight io "$bdf")"
		same "errors" 0 "$(sum errors all "$bdf")"
		same "stray completions" 0 "$(sum stray_completions all "$bdf")"
	done
}

# Two tags for all jobs, so that all jobs wait for each other.
shallow() {
	unload
	load queue_depth=3
	parallel
}

# Commands are submitted on each CPU, and all queues are used.
all_queues() {
	for bdf in $(controllers); do
		disk=$(disks "$bdf" | head -n 1)
		# A controller may have no namespace that gets a disk.
		[ -n "$disk" ] || continue
		for cpu in $(seq 0 $(($(nproc) - 1))); do
			taskset -c "$cpu" dd if="/dev/$disk" of=/dev/null bs=4k count=32 iflag=direct
		done
		for qid in $(queues "$bdf"); do
			[ "$qid" = 0 ] || at_least "commands in queue $qid" 32 "$(q "$qid" submitted "$bdf")"
		done
	done
}

begin 4
load_disks
# Each takes 22 MB of memory.
jobs_each=$(($(disks | wc -l) > 4 ? 1 : 4))
check "$jobs_each jobs for each disk, each with 64 requests at once" parallel
check "the same through the page cache" parallel --direct=0 --ioengine=psync --fsync=32
check "every queue is used" all_queues
check "the same with two tags a queue" shallow
finish
