#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A controller is unbound and bound 50 times through sysfs.
. "$(dirname "$0")/common.sh"

unbound() {
	same "disks" "" "$(disks "$1")"
	[ ! -e "/sys/bus/pci/devices/$1/queues" ]
	[ ! -e "/sys/bus/pci/devices/$1/driver" ]
}

cycle() {
	local before
	before=$(disks "$bdf")
	for i in $(seq 50); do
		unbind "$bdf"
		unbound "$bdf"
		bind "$bdf"
		same "disks after $i times" "$before" "$(disks "$bdf")"
		same "state" live "$(c state "$bdf")"
	done
	for disk in $before; do
		cmp -n 65536 "$tmp/data" "/dev/$disk"
	done
}

write_data() {
	head -c 65536 /dev/urandom >"$tmp/data"
	for disk in $(disks); do
		dd if="$tmp/data" of="/dev/$disk" bs=64k oflag=direct
	done
}

# A leak appears in every round of ten cycles; memory that the kernel caches doesn't. The smallest queue
# of a controller exceeds the limit per cycle.
no_leak() {
	local before after
	for _ in 1 2 3 4 5 6; do
		before=$(free_memory)
		for _ in $(seq 10); do unbind "$1"; bind "$1"; done
		after=$(free_memory)
		echo "free before $before KiB, after $after KiB"
		[ $((before - after)) -gt 200 ] || return 0
	done
	return 1
}

begin 4
load_disks
check "data are written" write_data
check "unbind and bind 50 times, and the data are still there" cycle "$bdf"
check "no memory is lost" no_leak "$bdf"
check "the module unloads" unload
finish
