#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Fails each allocation in a load, a bind, a read and write, a user's commands, a format, a reset,
# and an unbind, one after the other. SECONDS_ALL is the time for all of these operations: an unbind has the most places,
# so it gets what the others leave.
# shellcheck source=selftests/common.sh
. "$(dirname "$0")/common.sh"

seconds=${SECONDS_ALL:-3000}

fault() { # OPERATION SECONDS
	"$here/fault.py" "$1" "$2" >"$tmp/said" 2>&1
}
faults() { # OPERATION SECONDS TEXT
	check "$3" fault "$1" "$2"
	sed 's/^/# /' "$tmp/said"
}

begin 7
[ -e /sys/kernel/debug/failslab ] || skip_all "a kernel without fault injection"
strip --strip-debug -o "$tmp/stripped.ko" "$KO"
# Few queues and requests, because each allocation costs a bind.
load_disks io_queues=1 queue_depth=16
each=$((seconds / 7))
faults bind $each "a bind works, or fails and leaves nothing"
faults io $each "data are right, or an error is told"
faults command $each "a user's commands work, or return an error"
faults format $each "a format works, or returns an error, and the disk stays"
faults reset $each "a reset works, or the controller is dead and can be unbound"
# The loads come after this.
faults unbind $((seconds - each - SECONDS)) "an unbind works"
unload
export STRIPPED=$tmp/stripped.ko
faults load $each "a load works, or fails and leaves nothing"
finish
