#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Blocks with metadata: the disks' files are those of the kernel's C driver, each driver reads what the other has
# written, and wrong data are found by their protection information.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/beside.sh"

# The namespaces that have a disk, those whose metadata have protection information, and nothing else.
all="1 2 3 4 5 6 7 8 9" protected="1 2 3 4 5 6 8 9" pure="1 2 3 6 8 9"

# of N: the disk of namespace N, of either driver.
of() { file=$(grep -lx "$1" /sys/block/nvme*n*/nsid) && basename "${file%/nsid}"; }
# What the disks say of their metadata.
said() {
	local id disk name
	for id in $all; do
		disk=$(of "$id")
		for name in metadata_bytes size queue/logical_block_size integrity/{format,tag_size,protection_interval_bytes} \
			integrity/{device_is_integrity_capable,read_verify,write_generate}; do
			echo "$id $name $(cat "/sys/block/$disk/$name")"
		done
	done
}
# fill SEED: writes data to the first 2 MiB of each disk, by commands of several sizes. holds SEED: they are there.
fill() { each "$1" --rw=write --do_verify=0; }
holds() { each "$1" --rw=read --verify_only; }
each() {
	local id seed=$1
	shift
	for id in ${only:-$all}; do
		fio_on "$(of "$id")" --bsrange=4k-128k --size=2M --randseed="$seed$id" --verify=crc32c --iodepth=8 \
			--ioengine=libaio "$@" || { echo "namespace $id"; return 1; }
	done
}
reads() { dd if="/dev/$1" of=/dev/null iflag=direct bs=64k status=none "${@:2}"; }

same_files() {
	said >"$tmp/ours"
	fill 1
	to_theirs
	said >"$tmp/theirs"
	diff "$tmp/theirs" "$tmp/ours"
}
each_other() {
	holds 1
	fill 2
	to_ours
	holds 2
}
# Write Zeroes: the blocks can be read, so their protection information is right.
zeroes() {
	local id disk
	for id in $all; do
		disk=$(of "$id")
		# QEMU can't tell the last blocks from written ones, so that blkdiscard's look at them fails.
		blkdiscard -fz -o 64k -l 1M "/dev/$disk"
		same "namespace $id: blocks" "$(head -c 1M /dev/zero | md5sum)" \
			"$(dd if="/dev/$disk" iflag=direct bs=64k skip=1 count=16 status=none | md5sum)"
	done
}
# QEMU keeps the blocks in a file, and their metadata behind all of them or behind each. Block 16 is changed there.
found() {
	local id disk size
	for id in $protected; do
		disk=$(of "$id") size=$(cat "/sys/block/$disk/queue/logical_block_size")
		[ "$(cat "/sys/block/$disk/integrity/format")" != none ] ||
			size=$((size + $(cat "/sys/block/$disk/metadata_bytes")))
		fio_on "$disk" --rw=write --bs=4k --size=1M
		reads "$disk" count=16
		printf x | dd of="$RUN/disk-$((id - 1))" bs=1 seek=$((size * 16 + 7)) conv=notrunc status=none
		log_mark "changed-$id"
		refused reads "$disk" count=16
		logged "changed-$id" "Guard Check Error"
		# Other blocks can be read, and a write mends this one.
		reads "$disk" skip=2 count=14
		fio_on "$disk" --rw=write --bs=4k --size=1M
		reads "$disk" count=16
	done
}
# The controller inserts, checks and strips protection information, if the block layer doesn't.
by_controller() {
	local id file only=$pure
	block_layer() {
		for id in $only; do
			for file in /sys/block/"$(of "$id")"/integrity/{read_verify,write_generate}; do echo "$1" >"$file"; done
		done
	}
	block_layer 0
	fill 3
	holds 3
	echo 1 >"$(dir_of)/controller/rescan_controller"
	same "read_verify after a rescan" 0 "$(cat "/sys/block/$(of 1)/integrity/read_verify")"
	block_layer 1
	holds 3
}
formats() {
	local name
	name=$(of 1)
	# A format without metadata, and back.
	nvme format "/dev/$(c name)" -n 1 -l 0 --force
	wait_for 20 metadata_of 1 0
	fio_on "$(of 1)" --rw=write --bs=4k --size=1M --verify=crc32c
	nvme format "/dev/$(c name)" -n 1 -l 1 -i 1 --force
	wait_for 20 metadata_of 1 8
	fio_on "$(of 1)" --rw=write --bs=4k --size=1M --verify=crc32c
}
metadata_of() { [ "$(cat "/sys/block/$(of "$1")/metadata_bytes")" = "$2" ]; }

begin 6
[ "${TOPOLOGY:-}" = metadata ] || skip_all "no namespace with metadata"
need_theirs
load_disks
check "the disks' files are those of the C driver" same_files
check "each driver reads what the other has written" each_other
check "zeroed blocks are zeroes" zeroes
check "a changed block is found by its protection information" found
check "the controller inserts and strips protection information" by_controller
check "a namespace gets metadata, and loses them, by a format" formats
finish
