#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The module loads, finds its controllers, and leaves nothing when it is unloaded.
. "$(dirname "$0")/common.sh"

has_controllers() {
	same "controllers" "$(nvme_devices)" "$(controllers)"
	for bdf in $(controllers); do
		same "state" live "$(c state "$bdf")"
		at_least "I/O queues" 1 "$(c io_queues "$bdf")"
		same "directories of queues" $(($(c io_queues "$bdf") + 1)) "$(queues "$bdf" | wc -l)"
		same "disks" "$(c namespaces "$bdf")" "$(disks "$bdf" | wc -l)"
	done
}

has_disks() {
	at_least "disks" 1 "$(disks | wc -l)"
	for disk in $(disks); do
		[ -b "/dev/$disk" ]
		same "size of $disk" "$(bytes "$disk")" "$(blockdev --getsize64 "/dev/$disk")"
		dd if="/dev/$disk" of=/dev/null bs=4k count=1 iflag=direct
		dd if="/dev/$disk" of=/dev/null bs=4k count=1 iflag=direct skip=$(($(bytes "$disk") / 4096 - 1))
	done
}

again() {
	for _ in 1 2 3 4 5; do
		load
		has_controllers
		unload
	done
	nothing_left
}

begin 6
[ -n "$(nvme_devices)" ] || skip_all "no NVMe controller"
check "the module loads" load
check "it binds to every NVMe controller of QEMU's" has_controllers
check "every namespace is a disk" has_disks
check "the module unloads" unload
check "nothing is left of it" nothing_left
check "five times more" again
finish
