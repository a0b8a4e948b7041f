#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Fails each call that a bind needs, one after the other. The bind may succeed or fail, but the driver
# must not free memory that the controller may write to before it disables the controller, and all its
# disks must use the same settings.
. "$(dirname "$0")/common.sh"

fail=${FAIL:-$here/poke/fail.ko}
parameter() { cat "/sys/module/fail/parameters/$1"; }
same_limits() {
	local name
	for name in $(disks "$bdf"); do
		blk "$name" max_segments
	done | sort -u | awk 'NR > 1 { exit 1 }' || { grep . /sys/block/nvme9*/queue/max_segments; return 1; }
}
# each FUNCTION VALUE [FREES]: fails each of its calls in a bind. FREES frees are of a ring that the
# controller doesn't know yet.
each() {
	local n calls=0 refused=0
	[ ! -e /sys/module/fail ] || rmmod fail
	for ((n = 1; n <= 60; n++)); do
		[ ! -e "$driver/$bdf" ] || unbind "$bdf"
		insmod "$fail" "device=$bdf" "function=$1" "value=$2" "nth=$n"
		bind "$bdf" 2>/dev/null || refused=$((refused + 1))
		[ ! -e "$driver/$bdf" ] || same_limits || { echo "call $n of $1"; return 1; }
		calls=$(parameter calls)
		at_most "frees of queues of an enabled controller, at call $n of $1" "${3:-0}" "$(parameter lost)"
		rmmod fail
		[ -e "$driver/$bdf" ] || bind "$bdf"
		[ "$calls" -ge "$n" ] || break
	done
	at_least "calls" 1 $((n - 1))
	say "$1: $((n - 1)) calls, $refused binds refused"
}
works() {
	same "state" live "$(c state)"
	fio_on "$disk" --rw=randrw --bs=4k-64k --iodepth=8 --size=4M --verify=crc32c
}

begin 5
[ -r "$fail" ] || skip_all "no $fail: make M=selftests/poke"
# Each bind takes long.
load_disks io_queues=2 queue_depth=256
insmod "$fail" "device=$bdf" || skip_all "fail.ko does not load"
rmmod fail
check "an interrupt that can't be had" each request_threaded_irq -12
check "tags that can't be had" each blk_mq_alloc_tag_set -12
check "DMA memory that can't be had" each dma_alloc_attrs 0 1
# The driver gives up at once, while the controller carries the command out.
check "admin commands that time out" each wait_for_completion_timeout 0
check "the controller works after that" works
[ ! -e /sys/module/fail ] || rmmod fail
finish
