#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Read queues: all reads use them, and nothing else does.
. "$(dirname "$0")/common.sh"

of_kind_sum() { # KIND FILE
	total=0
	for qid in $(queues "$bdf"); do
		[ "$(q "$qid" kind)" != "$1" ] || total=$((total + $(q "$qid" "$2")))
	done
	echo $total
}
of_kind() {
	for qid in $(queues "$bdf"); do
		[ "$(q "$qid" kind)" != "$1" ] || echo "$qid"
	done
}

exist() {
	at_least "queues for reads" 1 "$(of_kind read | wc -l)"
	at_least "queues for the rest" 1 "$(of_kind default | wc -l)"
}
apart() {
	reads=$(of_kind_sum default reads)
	fio_on "$disk" --rw=randrw --bs=4k-64k --iodepth=8 --size=8M --verify=crc32c
	at_least "reads by their queues" 100 "$(of_kind_sum read reads)"
	same "writes by them" 0 "$(of_kind_sum read writes)"
	# Other programs may send a few other requests meanwhile.
	at_most "reads by the others" $((reads + 8)) "$(of_kind_sum default reads)"
	at_least "writes by the others" 1 "$(of_kind_sum default writes)"
}
after_reset() {
	reset_controller
	wait_for 10 live
	apart
}

begin 3
load_disks read_queues=2
has_msix "$bdf" || skip_all "no vectors for two sets of queues"
check "there are queues of both kinds" exist
check "reads and writes keep apart" apart
check "they do after a reset" after_reset
finish
