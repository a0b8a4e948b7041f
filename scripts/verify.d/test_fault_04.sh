#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# All of the driver's allocations fail: requests that need a list of pages or of segments progress one
# at a time, with the driver's reserve memory, because reclaim may depend on these requests.
# shellcheck source=selftests/common.sh
. "$(dirname "$0")/common.sh"

forward() {
	local rc=0
	"$here/fault.py" random 100
	background fio_on "$disk" --rw=randrw --bs=8k-512k --iodepth=8 --size=16M --verify=crc32c
	wait_for 60 ended "$job" || rc=$?
	"$here/fault.py" random 0
	wait_for 60 ended "$job"
	[ $rc = 0 ]
	wait "$job" || { cat "$tmp/background"; return 1; }
	same "state, time-outs" "live 0" "$(c state) $(c timeouts)"
}

begin 1
[ -e /sys/kernel/debug/failslab ] || skip_all "a kernel without fault injection"
load_disks
check "requests go on while every allocation of the driver fails" forward
finish
