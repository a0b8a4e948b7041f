#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A controller is removed and added again, CYCLES times, with commands in flight: by surprise (its power
# is switched off first), by the slot's switch, and by removal from the bus. Another controller continues
# to work.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/plug.sh"

back() { [ "$(c state "$bdf" 2>/dev/null)" = live ] && [ "$(disks "$bdf" | wc -l)" = 2 ]; }
bus() {
	echo 1 >"/sys/bus/pci/devices/$1/remove"
	wait_for 60 gone "$1"
	echo 1 >/sys/bus/pci/rescan
}
one() { # KIND
	"$1" "$bdf"
	wait_for 60 back
	wait_for 60 busy "$bdf" 10
}

begin 6
cycles 6
need_qemu
need_plug
load_disks timeout=5
witness other --steady --jobs 1 rnvme-1/1
witness witness rnvme-0/1 rnvme-0/2
check "$cycles removals by surprise under load, and nothing grows" many 2 "$cycles" "removals (surprise) under load" one surprise
check "removals by the slot's switch, and nothing grows" many 2 $((cycles / 2)) "removals (switch) under load" one switch
check "removals from the bus, and nothing grows" many 2 $((cycles / 2)) "removals (bus) under load" one bus
check "no acknowledged write is lost, and none comes late" testify witness
check "the other controller doesn't notice" testify other
check "the module unloads" unload
finish
