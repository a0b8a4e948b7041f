#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Fails each allocation in a load, a bind, an unbind, a read and write, and a reset, one after
# the other. SECONDS_EACH is the time for each of these operations.
# shellcheck source=selftests/common.sh
. "$(dirname "$0")/common.sh"

seconds=${SECONDS_EACH:-600}

fault() { # OPERATION
	"$here/fault.py" "$1" "$seconds" >"$tmp/said" 2>&1
}
faults() { # OPERATION TEXT
	check "$2" fault "$1"
	sed 's/^/# /' "$tmp/said"
}

begin 5
[ -e /sys/kernel/debug/failslab ] || skip_all "a kernel without fault injection"
strip --strip-debug -o "$tmp/stripped.ko" "$KO"
# Few queues and requests, because each allocation costs a bind.
load_disks io_queues=1 queue_depth=16
faults bind "a bind works, or fails and leaves nothing"
faults unbind "an unbind works"
faults io "data are right, or an error is told"
faults reset "a reset works, or the controller is dead and can be unbound"
unload
export STRIPPED=$tmp/stripped.ko
faults load "a load works, or fails and leaves nothing"
finish
