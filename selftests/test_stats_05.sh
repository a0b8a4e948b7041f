#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The time from submission to completion.
. "$(dirname "$0")/common.sh"

histogram() { awk '{ n += $3 } END { print n + 0 }' "/sys/kernel/debug/rust_nvme_demo-$bdf/queue$1/latency"; }
values() { for name in mean p50 p99 max; do q "$1" "latency_${name}_ns"; done | xargs; }
reads() { taskset -c 0 dd if="/dev/$disk" of=/dev/null bs=4k count="$1" iflag=direct; }
# The queue that CPU 0 uses.
queue_of_cpu0() {
	local qid before
	before=$(for qid in $(queues); do q "$qid" submitted; done | xargs)
	reads 100
	for qid in $(queues); do
		[ $(($(q "$qid" submitted) - $(echo "$before" | cut -d' ' -f$((qid + 1))))) -lt 100 ] || echo "$qid"
	done
}

in_order() {
	for qid in $(queues); do
		# shellcheck disable=SC2046 # words
		set -- $(values "$qid")
		at_most "queue $qid: p50" "$3" "$2"
		at_most "queue $qid: p99" "$4" "$3"
		at_most "queue $qid: mean" "$4" "$1"
		if [ "$(histogram "$qid")" -gt 0 ]; then
			at_least "queue $qid: p50" 1 "$2"
			at_least "queue $qid: mean" 1 "$1"
		else
			same "queue $qid: without a time" "0 0 0 0" "$*"
		fi
	done
}

counted() {
	before=$(histogram "$qid")
	reads 200
	same "times counted" 200 $(($(histogram "$qid") - before))
}

# Bounds are contiguous, and the values in sysfs lie between the first and the last.
buckets() {
	awk '$1 <= last || $2 < $1 || $3 < 1 { print "line " NR ": " $0; bad = 1 } { last = $2 }
		END { exit bad || NR < 1 }' last=-1 "/sys/kernel/debug/rust_nvme_demo-$bdf/queue$qid/latency"
	local first end
	first=$(head -n 1 "/sys/kernel/debug/rust_nvme_demo-$bdf/queue$qid/latency" | cut -d' ' -f1)
	end=$(tail -n 1 "/sys/kernel/debug/rust_nvme_demo-$bdf/queue$qid/latency" | cut -d' ' -f2)
	at_least "latency_p50_ns" "$first" "$(q "$qid" latency_p50_ns)"
	at_most "latency_max_ns" "$end" "$(q "$qid" latency_max_ns)"
}

unchanged() {
	echo 0 >"/sys/block/$disk/queue/iostats"
	before="$(histogram "$qid") $(values "$qid")"
	submitted=$(q "$qid" submitted)
	reads 200
	same "times without iostats" "$before" "$(histogram "$qid") $(values "$qid")"
	same "commands without iostats" 200 $(($(q "$qid" submitted) - submitted))
	echo 1 >"/sys/block/$disk/queue/iostats"
	before=$(histogram "$qid")
	reads 200
	same "times with iostats again" 200 $(($(histogram "$qid") - before))
}

# The driver's times are a large part of fio's times, so the unit is nanoseconds.
as_fio() {
	local count mean total fio
	count=$(histogram "$qid") mean=$(q "$qid" latency_mean_ns)
	fio_on "$disk" --rw=randread --bs=4k --iodepth=1 --ioengine=psync --size=4m --cpus_allowed=0 \
		--output-format=json --output=fio.json
	total=$(($(q "$qid" latency_mean_ns) * $(histogram "$qid") - mean * count))
	fio=$(jq '.jobs[0].read | .lat_ns.mean * .total_ios | floor' "$tmp/fio.json")
	# The mean is rounded down, by less than 1 ns for each command.
	at_most "ns of all commands" $((fio + count)) $total
	at_least "ns of all commands" $((fio / 20)) $total
	at_least "commands" 1024 $(($(histogram "$qid") - count))
}

oldest() { cat "$(dir_of)/queues/$1/oldest_us"; }
none_is_in_flight() { [ -z "$(cat "$(dir_of)"/queues/*/oldest_us)" ]; }
submitted() { [ "$(q "$qid" inflight)" = "$1" ]; }
settled() { submitted 0; }
now_us() { echo "${EPOCHREALTIME/./}"; }
# Commands stay in flight while their interrupts are masked. Those that the block layer doesn't account have
# no age.
unaccounted() {
	echo 0 >"/sys/block/$disk/queue/iostats"
	mask "$bdf" 1
	background reads 1
	wait_for 20 submitted 1
	same "ages" "" "$(oldest "$qid")"
	mask "$bdf" 0
	wait_for 20 settled
	echo 1 >"/sys/block/$disk/queue/iostats"
}
ages() {
	local first start second late=() others
	wait_for 10 none_is_in_flight
	others=$(queues | tr ' ' '\n' | grep -vx "$qid")
	mask "$bdf" 1
	start=$(now_us)
	background reads 1
	wait_for 20 submitted 1
	first=$(now_us)
	sleep 0.5
	background reads 1
	wait_for 20 submitted 2
	second=$(now_us)
	sleep 0.5
	read -ra late < <(oldest "$qid")
	same "ages of two commands" 2 ${#late[@]}
	at_least "age of the first" 1000000 "${late[0]}"
	at_least "age of the second" 500000 "${late[1]}"
	at_most "age of the first" $(($(now_us) - start)) "${late[0]}"
	at_most "age of the second" $(($(now_us) - first)) "${late[1]}"
	for other in $others; do same "queue $other" "" "$(oldest "$other")"; done

	# Of many commands it has the oldest.
	background taskset -c 0 fio --name=many --filename="/dev/$disk" --direct=1 --ioengine=libaio --rw=randread \
		--bs=4k --iodepth=40 --number_ios=40 --size=4M
	wait_for 30 submitted 42
	read -ra late < <(oldest "$qid")
	same "ages of 42 commands" 32 ${#late[@]}
	at_least "age of the first among them" $(($(now_us) - first - 1000000)) "${late[0]}"
	at_most "age of the last among them" $(($(now_us) - second)) "${late[31]}"
	printf '%s\n' "${late[@]}" | sort -nrc
	mask "$bdf" 0
	wait_for 20 none_is_in_flight
	same "time-outs" 0 "$(c timeouts)"
}

begin 8
load_disks
qid=$(queue_of_cpu0 2>/dev/null)
check "each command is counted once" counted
check "median, 99th percentile and maximum are in order" in_order
check "the histogram is in order and has the maximum" buckets
check "the times are those that fio sees" as_fio
check "without iostats no time is taken" unchanged
check "median, 99th percentile and maximum are still in order" in_order
check "without iostats a command in flight has no age" unaccounted
check "commands in flight have their ages, the oldest first" ages
finish
