#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Queues of maximum depth: filled to the last entry, reset while full, without losing data.
. "$(dirname "$0")/common.sh"

deepest=4095

as_asked() {
	for qid in $(queues); do
		[ "$qid" = 0 ] || same "depth of queue $qid" $deepest "$(q "$qid" depth)"
	done
	same "I/O queues" "$(($(nproc --all) < 64 ? $(nproc --all) : 64))" "$(c io_queues)"
}

# One entry of a ring stays empty.
is_full() {
	most=$(cat "$(dir_of)"/queues/*/inflight | sort -n | tail -n 1)
	[ "$most" -ge $((deepest - 1)) ]
}

# A job on one CPU sends more requests than the queue has entries to a slow disk.
fill() {
	echo none >"/sys/block/$disk/queue/scheduler"
	throttle 100
	background fio_on "$disk" --cpus_allowed=0 --rw=randwrite --bs=4k --iodepth=4600 --size=64M \
		--io_size=32M --verify=crc32c --output-format=json --output=fio.json
	wait_for 60 is_full
	say "$most commands in flight"
	same "in flight" $((deepest - 1)) "$most"
}
drained() {
	throttle 0
	wait_for 100 ended "$job"
	wait "$job" || { cat "$tmp/background"; return 1; }
	same "bytes verified" $((32 << 20)) "$(jq '.jobs[0].read.io_bytes' "$tmp/fio.json")"
	same "in flight" 0 "$(sum inflight)"
	same "errors" 0 "$(sum errors)"
	same "stray completions" 0 "$(sum stray_completions)"
}
full() {
	fill
	drained
}
reset_full() {
	fill
	reset_controller
	wait_for 30 live
	drained
	same "resets" 1 "$(c resets)"
}

begin 3
need_qemu
load_disks queue_depth=$deepest timeout=120
[ "$(c max_queue_entries)" -ge $deepest ] || skip_all "queues of $(c max_queue_entries) entries at most"
check "each CPU has a queue of $deepest entries" as_asked
check "a queue filled to the last entry loses nothing" full
check "nor does one that is reset then" reset_full
finish
