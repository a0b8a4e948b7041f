#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The trace events, by ftrace alone: their fields against the ABI document, their counts and arguments
# against the counters in sysfs, filters, perf's counter, and an unload while they are on. With
# EXTRA=bpftrace also the scripts in tools/bpftrace.
. "$(dirname "$0")/common.sh"

document=$top/Documentation/ABI/testing/tracefs-rust_nvme_demo
tracing=/sys/kernel/tracing
events=$tracing/events/rust_nvme_demo

# traced EVENT [TEXT…]: the event's lines in which each TEXT occurs.
traced() {
	local lines text
	lines=$(grep " $1: " "$tracing/trace") || true
	for text in "${@:2}"; do lines=$(grep -F -- "$text" <<<"$lines") || true; done
	[ -z "$lines" ] || printf '%s\n' "$lines"
}
count() { traced "$@" | wc -l; }
# start EVENT…: enables these events only.
start() {
	local event
	echo 0 >"$events/enable"
	echo 16384 >"$tracing/buffer_size_kb"
	echo >"$tracing/trace"
	for event in "$@"; do echo 1 >"$events/$event/enable"; done
}
direct() { dd "$@" bs=4k status=none; }
idle() { [ "$(sum inflight)" = 0 ]; }

documented() {
	local event
	for event in "$events"/*/; do
		event=${event%/}
		sed -n 's/^\tfield:\(.*\) \([a-z_]*\)\(\[[0-9]*\]\)\?;.*/\1\3 \2/p' "$event/format" | grep -v ' common_' |
			sed "s/^/${event##*/} /"
	done | sort >"$tmp/there"
	awk '/^What:/ { n = split($2, part, "/"); event = part[n] }
		/^\t\t  [a-z0-9]+(\[[0-9]+\])? [a-z_]+\t/ { print event, $1, $2 }' "$document" | sort >"$tmp/documented"
	diff "$tmp/documented" "$tmp/there"
}

arguments() {
	wait_for 30 idle
	start nvme_setup_cmd nvme_complete_rq
	direct if="/dev/$disk" of=/dev/null count=1 skip=7 iflag=direct
	direct if=/dev/zero of="/dev/$disk" count=2 seek=9 oflag=direct
	local shift cid ctrl=${disk#nvme}
	shift=$(($(blk "$disk" logical_block_size) / 512))
	same "read" 1 "$(count nvme_setup_cmd "disk=$disk slba=$((56 / shift)) ctrl_id=${ctrl%n*} " " nsid=${ctrl#*n} blocks=$((8 / shift)) " opcode=0x2)"
	same "writes" 2 "$(count nvme_setup_cmd "disk=$disk" " blocks=$((8 / shift)) " opcode=0x1)"
	# Each command completes once, on its queue.
	while read -r queue cid; do
		same "completion of $queue $cid" 1 "$(count nvme_complete_rq "$queue " "$cid " "status=0x0 ")"
	done < <(traced nvme_setup_cmd "disk=$disk" | grep -oE '(qid|cid)=[0-9]+' | paste - -)
}

counts() {
	local qid events_of=() before=()
	wait_for 30 idle
	for qid in $(queues); do before[qid]=$(q "$qid" submitted); done
	start nvme_setup_cmd nvme_complete_rq
	fio_on "$disk" --rw=randrw --bs=4k --iodepth=8 --size=1M --number_ios=300 --numjobs=2
	wait_for 30 idle
	echo 0 >"$events/enable"
	for qid in $(queues | grep -vx 0); do
		same "submissions of queue $qid" $(($(q "$qid" submitted) - before[qid])) "$(count nvme_setup_cmd " qid=$qid ")"
		same "completions of queue $qid" $(($(q "$qid" submitted) - before[qid])) "$(count nvme_complete_rq " qid=$qid ")"
	done
}

filtered() {
	wait_for 30 idle
	start
	echo 'opcode == 1' >"$events/nvme_setup_cmd/filter"
	echo 1 >"$events/nvme_setup_cmd/enable"
	direct if="/dev/$disk" of=/dev/null count=3 iflag=direct
	direct if=/dev/zero of="/dev/$disk" count=2 oflag=direct
	echo 0 >"$events/nvme_setup_cmd/filter"
	same "reads" 0 "$(count nvme_setup_cmd opcode=0x2)"
	same "writes" 2 "$(count nvme_setup_cmd opcode=0x1)"
}

by_perf() {
	start
	wait_for 30 idle
	at_least "counted by perf" 50 "$("$here/perfcount.py" rust_nvme_demo:nvme_setup_cmd dd if="/dev/$disk" of=/dev/null bs=4k count=50 iflag=direct)"
}

life() {
	start reset state
	reset_controller
	wait_for 30 live
	same "resets" 1 "$(count reset 'cause=reset was asked for')"
	same "to resetting" 1 "$(count state 'from=live to=resetting')"
	same "to live" 1 "$(count state 'from=resetting to=live')"
}

# Commands that QEMU holds back time out, and are aborted; then the controller is reset.
late() {
	counted() { [ "$(c "$1")" -gt "$2" ]; }
	start timeout abort reset
	local before
	read -ra before <"$(dir_of)/controller/events"
	throttle 1
	background fio_on "$disk" --rw=read --bs=4k --iodepth=16 --size=1M --number_ios=40
	wait_for 60 counted resets "${before[3]}"
	throttle 0
	wait_for 60 ended "$job"
	wait "$job" || { cat "$tmp/background"; return 1; }
	wait_for 30 live
	echo 0 >"$events/enable"
	same "aborts" $(($(c aborts) - before[2])) "$(count abort)"
	same "resets" $(($(c resets) - before[3])) "$(count reset)"
	same "time-outs of requests" $(($(c timeouts) - before[0])) "$(($(count timeout) - $(count timeout ' qid=0 ')))"
}

unloaded_while_on() {
	start nvme_setup_cmd nvme_complete_rq state
	unload
	[ ! -e "$events" ]
	load_disks
	[ -e "$events/nvme_setup_cmd/format" ]
}

# Two processes on one queue, while QEMU holds back their commands.
scripts_run() {
	local script
	cat >"$tmp/load" <<-END
		dd if=/dev/$disk of=/dev/null bs=4k iflag=direct &
		fio --name=a --filename=/dev/$disk --rw=randrw --bs=4k --iodepth=8 --ioengine=libaio --direct=1 --size=1M \
			--number_ios=100 --output=/dev/null
		kill \$!
		wait
	END
	throttle 200
	for script in "$top"/tools/bpftrace/*.bt; do
		echo "$script:"
		timeout -s INT 120 taskset -c 0 bpftrace -c "bash $tmp/load" "$script" 1 >"$tmp/script" 2>&1 ||
			{ cat "$tmp/script"; return 1; }
		cat "$tmp/script"
		if grep ERROR "$tmp/script"; then return 1; fi
		case $script in
		*-latency.bt) grep -qE '^@us\[.* 2, [18]\]:' "$tmp/script" ;;
		*-slow.bt) grep -qE "fio +$disk +0x[12]" "$tmp/script" ;;
		*-waits.bt) grep -qE '^@commands\[dd, fio\]: [1-9]' "$tmp/script" ;;
		esac
	done
}

# 100 reads, which the block layer's tools count, too.
reads() { fio_on "$disk" --rw=read --bs=4k --size=400k; }
by_blktrace() {
	local said=$tmp/blktrace
	mkdir "$said"
	background blktrace -d "/dev/$disk" -D "$said" -o trace
	wait_for 30 test -e "/sys/kernel/debug/block/$disk/trace0"
	reads
	kill -INT "$job"
	wait_for 30 ended "$job"
	blkparse -q -D "$said" -i trace -f '%a %d %S\n' >"$said/parsed"
	same "reads issued" 100 "$(grep -c '^D RA\? ' "$said/parsed")"
	same "reads completed" 100 "$(grep -c '^C RA\? ' "$said/parsed")"
}
kib_read() { iostat -d -k -o JSON "$disk" | jq '.sysstat.hosts[0].statistics[0].disk[0].kB_read'; }
by_iostat() {
	local before
	before=$(kib_read)
	reads
	same "KiB read" 400 "$(($(kib_read) - before))"
}

# bpftrace's own tools, while dd reads 100 times.
bio_tool() { # NAME
	timeout -s INT 120 bpftrace -c "dd if=/dev/$disk of=/dev/null bs=4k count=100 iflag=direct" "$(type -P "$1.bt")" \
		>"$tmp/$1" 2>&1 || { cat "$tmp/$1"; return 1; }
	cat "$tmp/$1"
}
by_bio_tools() {
	local number
	number=$(tr : ' ' <"/sys/block/$disk/dev")
	bio_tool biosnoop
	# It may lose the last lines when it ends.
	at_least "reads in biosnoop" 95 "$(grep -cE "^[0-9]+ +${number/ / +} +dd " "$tmp/biosnoop")"
	bio_tool bitesize
	grep -A 1 -F '@[dd]:' "$tmp/bitesize" | grep -E '^\[4K, 8K\) +100 '
	bio_tool biolatency
	at_least "reads in biolatency" 100 "$(awk '/^\[/ { n += $3 } END { print n + 0 }' "$tmp/biolatency")"
	bio_tool biostacks
	grep -F blk_mq_submit_bio "$tmp/biostacks"
}
by_perf_block() {
	at_least "counted by perf" 100 "$("$here/perfcount.py" block:block_rq_issue dd if="/dev/$disk" of=/dev/null bs=4k count=100 iflag=direct)"
	at_least "counted by perf" 100 "$("$here/perfcount.py" block:block_rq_complete dd if="/dev/$disk" of=/dev/null bs=4k count=100 iflag=direct)"
}

begin 13
grep -q 'trace_event_reg' /proc/kallsyms || skip_all "this kernel has no trace events"
[ -w "$tracing/trace" ] || skip_all "no tracefs"
load_disks timeout=2
[ -d "$events" ] || ktap_exit_fail_msg "no trace events"
check "the fields are those in the ABI document" documented
check "the arguments are those of the commands" arguments
check "each queue has as many events as it counts commands" counts
check "a filter by a field works" filtered
check "perf counts the events" by_perf
check "perf counts the block layer's events" by_perf_block
what="blktrace shows each request"
if [ -e "/sys/block/$disk/trace" ] && type -P blktrace >/dev/null; then
	check "$what" by_blktrace
else
	skip "$what" "no blktrace, in this kernel or on this machine"
fi
what="bpftrace's tools show what was read"
if type -P bpftrace >/dev/null; then
	check "$what" by_bio_tools
else
	skip "$what" "no bpftrace: make test EXTRA=bpftrace"
fi
what="iostat shows what was read"
if type -P iostat >/dev/null; then
	check "$what" by_iostat
else
	skip "$what" "no iostat: make test EXTRA=sysstat"
fi
check "a reset and its states are traced" life
if has_qemu; then
	check "as many time-outs, aborts and resets as are counted" late
	throttle 0 >/dev/null
else
	skip "as many time-outs, aborts and resets as are counted" "no QEMU monitor"
fi
check "the module unloads while events are on" unloaded_while_on
if has_qemu && type -P bpftrace >/dev/null; then
	check "the scripts of bpftrace run" scripts_run
	throttle 0 >/dev/null
else
	skip "the scripts of bpftrace run" "no QEMU monitor, or no bpftrace: make test EXTRA=bpftrace"
fi
echo 0 >"$events/enable"
finish
