#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The disks' place in the device tree, below their control device, and their limits, which must equal those of
# the kernel's C driver for the same namespaces.
. "$(dirname "$0")/common.sh"

# These files are not compared:
#   nr_requests, async_depth	follow from the queue's depth, which is a parameter of both modules
#   max_segments		with scatter gather lists as many as a list of ours can have; the C driver takes
#				no more than a command has pages
#   max_integrity_segments	the C driver has 1 also for blocks without metadata
different="nr_requests async_depth max_segments max_integrity_segments"

parents() {
	for bdf in $(controllers); do
		for disk in $(disks "$bdf"); do
			same "parent of $disk" "$(realpath "/sys/bus/pci/devices/$bdf")/rnvme/$(c name "$bdf")" \
				"$(realpath "/sys/block/$disk/device")"
			# Where tools such as lsblk look.
			same "model of $disk" "$(c model "$bdf")" "$(xargs <"/sys/block/$disk/device/model")"
			same "serial number of $disk" "$(c serial "$bdf")" "$(xargs <"/sys/block/$disk/device/serial")"
			[[ $disk =~ ^$(c name "$bdf")n[0-9]+$ ]]
			same "$disk is a disk" disk "$(lsblk -dno TYPE "/dev/$disk")"
			same "$disk can be written" 0 "$(cat "/sys/block/$disk/ro")"
			same "$disk is removable" 0 "$(cat "/sys/block/$disk/removable")"
		done
	done
}

# Writes a file for each namespace, named by controller and NSID, with all attributes of its
# disk.
record() { # DIRECTORY PREFIX
	local dir disk nsid bdf
	mkdir -p "$1"
	for dir in /sys/block/"$2"*n*; do
		disk=${dir##*/}
		# The C driver numbers its disks; our disks' names have the NSID.
		nsid=${disk##*n}
		[ ! -e "$dir/nsid" ] || nsid=$(cat "$dir/nsid")
		bdf=$(realpath "$dir" | grep -o '[0-9a-f]*:[0-9a-f]*:[0-9a-f]*\.[0-9a-f]' | tail -n 1)
		{
			echo "size $(cat "$dir/size")"
			echo "ro $(cat "$dir/ro")"
			echo "removable $(cat "$dir/removable")"
			echo "hardware queues $(ls "$dir/mq" | wc -l)"
			# Some files can't be read, because they are for other kinds of disks.
			(cd "$dir/queue" && grep -Hsd skip '' -- * | sed 's/:/ /')
		} >"$1/$bdf-$nsid"
	done
}

limits() {
	record "$tmp/ours" nvme9
	unload
	modprobe nvme_core multipath=N
	modprobe nvme
	there() { [ "$(find /sys/block -maxdepth 1 -name 'nvme*n*' | wc -l)" -ge "$(ls "$tmp/ours" | wc -l)" ]; }
	wait_for 20 there
	record "$tmp/theirs" nvme
	rmmod nvme nvme_core
	load
	same "namespaces" "$(ls "$tmp/theirs")" "$(ls "$tmp/ours")"
	local name pattern
	pattern="^($(echo "$different" | tr ' ' '|')) "
	for name in "$tmp/theirs"/*; do
		name=${name##*/}
		at_least "values of $name" 30 "$(wc -l <"$tmp/ours/$name")"
		echo "$name: < of the C driver, > ours"
		diff <(grep -vE "$pattern" "$tmp/theirs/$name") <(grep -vE "$pattern" "$tmp/ours/$name")
	done
}

begin 2
load_disks
check "the disks are at their controller" parents
if [ -e /sys/module/nvme ] || ! modinfo nvme >/dev/null 2>&1; then
	skip "the disks' limits are those of the C driver" "the C driver can't be loaded and unloaded"
else
	check "the disks' limits are those of the C driver" limits
fi
finish
