#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The driver's own allocations fail at random, under load, in resets and in binds.
# shellcheck source=selftests/common.sh
. "$(dirname "$0")/common.sh"

under_load() {
	"$here/fault.py" random 20
	background fio_on "$disk" --rw=randrw --bs=4k-512k --iodepth=16 --size=64M --time_based --runtime=40 \
		--continue_on_error=all
	for _ in {1..10}; do
		sleep 1
		reset_controller || true
		cat "$(dir_of)"/queues/*/* >"$tmp/files" 2>/dev/null || true
	done
	wait_for 300 ended "$job"
	"$here/fault.py" random 0
	echo "states: $(c state), $(c resets) resets"
}

binds() {
	local good=0
	for percent in {1..10}; do
		[ ! -e "$driver/$bdf" ] || unbind "$bdf"
		"$here/fault.py" random "$percent"
		! bind "$bdf" || good=$((good + 1))
		"$here/fault.py" random 0
	done
	echo "$good of 10 binds worked"
}

works() {
	[ ! -e "$driver/$bdf" ] || unbind "$bdf"
	bind "$bdf"
	fio_on "$disk" --rw=randrw --bs=4k-64k --iodepth=8 --size=16M --verify=crc32c
}

begin 3
[ -e /sys/kernel/debug/failslab ] || skip_all "a kernel without fault injection"
load_disks
check "20 % of all allocations fail under load and in 10 resets" under_load
check "1 to 10 % of all allocations fail in 10 binds" binds
check "a bind after that works, and no data are lost" works
finish
