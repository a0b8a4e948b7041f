#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Polled queues: I/O without interrupts, with the same data.
. "$(dirname "$0")/common.sh"

poll_queues() {
	for qid in $(queues "$bdf"); do
		[ "$(q "$qid" kind)" != poll ] || echo "$qid"
	done
}
polled_sum() {
	total=0
	for qid in $(poll_queues); do
		total=$((total + $(q "$qid" "$1")))
	done
	echo $total
}

exist() {
	same "poll queues" 2 "$(poll_queues | wc -l)"
	same "io_poll" 1 "$(blk "$disk" io_poll)"
	for qid in $(poll_queues); do
		same "vector" none "$(q "$qid" vector)"
	done
}
io_uring() {
	fio_on "$disk" --ioengine=io_uring --hipri=1 --rw=randrw --bs=4k-128k --iodepth=16 --size=16M \
		--verify=crc32c
	at_least "commands of the poll queues" 100 "$(polled_sum submitted)"
	at_least "polls" 1 "$(polled_sum polls)"
	same "their interrupts" 0 "$(polled_sum interrupts)"
}
# A default queue besides a polled queue.
mixed() {
	background fio_on "$disk" --rw=randread --bs=4k --iodepth=8 --time_based --runtime=3
	fio_on "$disk" --ioengine=io_uring --hipri=1 --rw=randread --bs=4k --iodepth=8 --time_based --runtime=3
	wait_for 30 ended "$job"
	wait "$job" || { cat "$tmp/background"; return 1; }
}
after_reset() {
	reset_controller
	wait_for 10 live
	io_uring
}

begin 4
load_disks poll_queues=2
check "there are two more queues, without interrupts" exist
check "io_uring polls them" io_uring
check "polled and other I/O at once" mixed
check "they are polled after a reset" after_reset
finish
