#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Our driver reads what the kernel's C driver writes, and vice versa.
. "$(dirname "$0")/common.sh"

# The C driver may be built in, as in Debian's cloud kernel: load() unbinds it again.
c_driver=/sys/bus/pci/drivers/nvme
built_in() { [ -d $c_driver ] && [ ! -e /sys/module/nvme/initstate ]; }
# The C driver's disk of the same namespace.
theirs() { echo "nvme0n${disk##*n}"; }

to_theirs() {
	unload
	if built_in; then
		echo "$bdf" >$c_driver/bind
	else
		modprobe nvme_core multipath=N
		modprobe nvme
	fi
	there() { [ -b "/dev/$(theirs)" ]; }
	wait_for 20 there
}
to_ours() {
	built_in || rmmod nvme nvme_core
	load
	[ -b "/dev/$disk" ]
}

# Data that contain their own offset, all over the disk, and in its last block.
write() { # DISK SEED
	cross_data "$1" "$2" --rw=write
	head -c 4096 /dev/urandom >"$tmp/last-$2"
	dd if="$tmp/last-$2" of="/dev/$1" bs=4k oflag=direct seek=$(($(bytes "$1") / 4096 - 1))
}
read_back() { # DISK SEED
	cross_data "$1" "$2" --rw=read --verify_only
	cmp "$tmp/last-$2" <(dd if="/dev/$1" bs=4k iflag=direct skip=$(($(bytes "$1") / 4096 - 1)))
}
cross_data() { # DISK SEED OPTION…
	local disk=$1 seed=$2
	shift 2
	fio_on "$disk" --bssplit=4k/30:16k/30:256k/40 --randseed="$seed" --size=8m --iodepth=8 \
		--verify=crc32c --verify_pattern="0x$seed%o" "$@"
}

data() { # SEED, ours writes; then SEED + 1, theirs writes
	write "$disk" "$1"
	to_theirs
	read_back "$(theirs)" "$1"
	write "$(theirs)" $(($1 + 1))
	to_ours
	read_back "$disk" $(($1 + 1))
}

tree() {
	mkdir -p "$tmp/mnt"
	wipefs -aq "/dev/$disk"
	mkfs.ext4 -q "/dev/$disk"
	mount "/dev/$disk" "$tmp/mnt"
	cp -rL /usr/include/linux "$tmp/mnt/ours"
	umount "$tmp/mnt"
	to_theirs
	mount "/dev/$(theirs)" "$tmp/mnt"
	diff -r /usr/include/linux "$tmp/mnt/ours"
	cp -rL /usr/include/linux/netfilter "$tmp/mnt/theirs"
	umount "$tmp/mnt"
	to_ours
	mount "/dev/$disk" "$tmp/mnt"
	diff -r /usr/include/linux "$tmp/mnt/ours"
	diff -r /usr/include/linux/netfilter "$tmp/mnt/theirs"
	umount "$tmp/mnt"
}

# Clean up after a failure.
back() {
	umount "$tmp/mnt"
	rmmod nvme nvme_core
	loaded || load
} >/dev/null 2>&1

begin 2
if ! built_in && { [ -e /sys/module/nvme ] || ! modinfo nvme >/dev/null 2>&1; }; then
	skip_all "the C driver can't be loaded and unloaded"
fi
load_disks
check "blocks of all sizes, there and back" data 51
back
check "a tree of files, there and back" tree
back
finish
