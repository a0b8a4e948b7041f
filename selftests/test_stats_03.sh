#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The files are read as fast as they can be while commands run: counts only grow, and nothing is
# completed that wasn't submitted.
. "$(dirname "$0")/common.sh"

watch() {
	background fio_on "$disk" --rw=randrw --bssplit=4k/90:64k/10 --iodepth=32 --numjobs=2 \
		--size=32m --time_based --runtime=60
	busy() { [ "$(sum inflight)" -gt 0 ]; }
	wait_for 20 busy
	"$here/watch.py" 10 "$driver/$bdf"
	stop "$job"
}

begin 2
load_disks
check "10 s of reading under load" watch
idle() { [ "$(sum inflight)" = 0 ]; }
check "nothing is in flight afterwards" wait_for 5 idle
finish
