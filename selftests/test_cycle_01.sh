#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A controller is unbound and bound, CYCLES times, with commands in flight each time.
. "$(dirname "$0")/common.sh"

one() {
	unbind "$bdf"
	bind "$bdf"
	same "state" live "$(c state "$bdf")"
	wait_for 30 busy "$bdf" 10
}
many() {
	local i start
	# Once is no leak: what the first time needs is kept.
	for i in 1 2 3; do one; done
	account >"$tmp/before"
	start=$SECONDS
	for ((i = 0; i < cycles; i++)); do one; done
	say "$cycles unbinds and binds under load in $((SECONDS - start)) s"
	flat before 2048
}

begin 4
cycles 20
load_disks
witness witness rnvme-0/1
check "$cycles unbinds and binds under load, and nothing grows" many
check "no acknowledged write is lost, and none comes late" testify witness
check "no request is left" same "in flight" 0 "$(sum inflight)"
check "the module unloads" unload
finish
