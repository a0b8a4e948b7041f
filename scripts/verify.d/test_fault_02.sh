#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The driver's own allocations fail at random, under load, in resets and in binds.
# shellcheck source=selftests/common.sh
. "$(dirname "$0")/common.sh"

debug=/sys/kernel/debug

# Of all allocations those with this module among their next callers; but for a core dump's device: where
# there is no memory for that, the kernel frees the dump twice.
faults() { # PERCENT
	local size text dump
	mapfile -t dump < <(awk '/ dev_coredumpm_timeout$/ { print $1; getline; print $1 }' /proc/kallsyms)
	size=$(awk '$1 == "rust_nvme_demo" { print $2 }' /proc/modules)
	text=$(cat /sys/module/rust_nvme_demo/sections/.text)
	for part in failslab fail_page_alloc; do
		echo 0 >$debug/$part/verbose
		echo N >$debug/$part/ignore-gfp-wait
		echo 7 >$debug/$part/stacktrace-depth
		echo "0x${dump[0]}" >$debug/$part/reject-start
		echo "0x${dump[1]}" >$debug/$part/reject-end
		printf '0x%x\n' $((text)) >$debug/$part/require-start
		printf '0x%x\n' $((text + size)) >$debug/$part/require-end
		echo -1 >$debug/$part/times
		echo "$1" >$debug/$part/probability
	done
	echo 0 >$debug/fail_page_alloc/min-order
}
no_faults() {
	for part in failslab fail_page_alloc; do
		echo 0 >$debug/$part/probability
	done
}

under_load() {
	faults 20
	background fio_on "$disk" --rw=randrw --bs=4k-512k --iodepth=16 --size=64M --time_based --runtime=40 \
		--continue_on_error=all
	for _ in {1..10}; do
		sleep 1
		reset_controller || true
		cat "$(dir_of)"/queues/*/* >"$tmp/files" 2>/dev/null || true
	done
	wait_for 300 ended "$job"
	no_faults
	echo "states: $(c state), $(c resets) resets"
}

binds() {
	local good=0
	for percent in {1..10}; do
		[ ! -e "$driver/$bdf" ] || unbind "$bdf"
		faults "$percent"
		! bind "$bdf" || good=$((good + 1))
		no_faults
	done
	echo "$good of 10 binds worked"
}

works() {
	[ ! -e "$driver/$bdf" ] || unbind "$bdf"
	bind "$bdf"
	fio_on "$disk" --rw=randrw --bs=4k-64k --iodepth=8 --size=16M --verify=crc32c
}

begin 3
[ -e $debug/failslab ] || skip_all "a kernel without fault injection"
load_disks
check "20 % of all allocations fail under load and in 10 resets" under_load
check "1 to 10 % of all allocations fail in 10 binds" binds
check "a bind after that works, and no data are lost" works
finish
