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

begin 4
cycles 20
load_disks
witness witness rnvme-0/1
check "$cycles unbinds and binds under load, and nothing grows" many 3 "$cycles" "unbinds and binds under load" one
check "no acknowledged write is lost, and none comes late" testify witness
check "no request is left" same "in flight" 0 "$(sum inflight)"
check "the module unloads" unload
finish
