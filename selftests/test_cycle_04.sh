#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Time-outs, forced CYCLES times under load: the interrupts are masked, or the controller can no longer
# do DMA, reports that, and is reset. No request may fail.
. "$(dirname "$0")/common.sh"

counted() { [ "$(c "$1")" -gt "$2" ]; }

lost() {
	local before
	before=$(c lost_interrupts)
	mask "$bdf" 1
	wait_for 30 counted lost_interrupts "$before"
	mask "$bdf" 0
}
fatal() {
	local before
	before=$(c resets)
	no_dma "$bdf"
	wait_for 60 counted resets "$before"
	wait_for 60 live
}
# Between two time-outs I/O continues.
one() {
	local before
	"$1"
	before=$(sum completed)
	wait_for 60 more "$before"
}
more() { [ "$(sum completed)" -ge $(($1 + 30)) ]; }

counts() {
	say "timeouts $(c timeouts), lost interrupts $(c lost_interrupts), aborts $(c aborts), resets $(c resets)"
	same "in flight" 0 "$(sum inflight)"
	same "stray completions" 0 "$(sum stray_completions io)"
}

begin 5
cycles 12
need_qemu
load_disks timeout=1
witness witness --steady rnvme-0/1
check "$((cycles / 2)) time-outs by lost interrupts under load, and nothing grows" many 1 $((cycles / 2)) "time-outs (lost) under load" one lost
check "$((cycles / 2)) time-outs by a fatal error under load, each with a reset, and nothing grows" many 1 $((cycles / 2)) "time-outs (fatal) under load" one fatal
check "no request failed, none was lost, none done twice" testify witness
check "no request is left" counts
check "the module unloads" unload
finish
