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

# by_nvme NAME N DATA METADATA PRINFO: four blocks of namespace N by nvme-cli, of which $tmp/NAME has so many bytes,
# and $tmp/NAME.md of metadata. With PRINFO 8 the controller inserts and strips protection information.
by_nvme() {
	local ng files=(--data="$tmp/$1") first=$((8 + 8 * $5))
	ng=$(of "$2")
	[ "$4" = 0 ] || files+=(--metadata-size="$4" --metadata="$tmp/$1.md")
	nvme "$1" "/dev/${ng/nvme/ng}" --namespace-id="$2" --start-block=$first --block-count=3 --data-size="$3" \
		--prinfo="$5" --ref-tag=$first "${files[@]}"
}
# transfer write|read SEED: each kind of blocks gets the bytes of SEED, or has them.
transfer() {
	local one id data metadata prinfo
	for one in 1/2048/32/0 1/2048/0/8 4/2048/64/0 4/2048/64/8 7/2048/64/0 8/2080/0/0 8/2048/0/8 10/2080/0/0; do
		IFS=/ read -r id data metadata prinfo <<<"$one"
		bytes_of "$2$one" "$data" >"$tmp/write"
		bytes_of "$one$2" "$metadata" >"$tmp/write.md"
		# nvme doesn't shorten a file.
		rm -f "$tmp"/read*
		by_nvme "$1" "$id" "$data" "$metadata" "$prinfo" || { echo "$one"; return 1; }
		[ "$1" = write ] || cmp -n "$data" "$tmp/write" "$tmp/read"
		# Protection information that the controller makes isn't the user's.
		[ "$1" = write ] || [ "$metadata" = 0 ] || [ "$prinfo" = 8 ] || cmp "$tmp/write.md" "$tmp/read.md"
	done
}
bytes_of() { python3 -c 'import random, sys; sys.stdout.buffer.write(random.Random(sys.argv[1]).randbytes(int(sys.argv[2])))' "$@"; }
users() {
	same "size of namespace 10" 0 "$(cat "/sys/block/$(of 10)/size")"
	transfer write 1
	transfer read 1
	to_theirs
	transfer read 1
	transfer write 2
	to_ours
	transfer read 2
}
# The controller would access other memory: too little data, too little or no metadata; and metadata that the disk
# has in no buffer of their own.
too_little() {
	local one id data metadata prinfo ng
	for one in 1/1536/32/0 1/2048/24/0 1/2048/0/0 4/2048/0/8 4/2048/32/0 7/2048/0/0 8/2048/0/0 8/2080/32/0 10/2048/0/8; do
		IFS=/ read -r id data metadata prinfo <<<"$one"
		ng=$(of "$id")
		# nvme read would choose the right lengths itself.
		refused nvme io-passthru "/dev/${ng/nvme/ng}" --opcode=2 --namespace-id="$id" --cdw10=8 \
			--cdw12=$((prinfo << 26 | 3)) --read --data-len="$data" --metadata-len="$metadata" 2>"$tmp/said"
		grep -q "Invalid argument" "$tmp/said" || { echo "$one"; cat "$tmp/said"; return 1; }
	done
}
# fio makes and checks protection information itself, in the metadata of its commands; or the controller does.
by_uring() {
	local id ng options
	for options in "1 64 0 4k" "2 8 0 4k" "4 128 0 4k" "6 16 0 4k" "1 0 1 4k" "8 0 1 4k" "8 0 0 4160"; do
		# shellcheck disable=SC2086
		set -- $options
		id=$1 ng=$(of "$1")
		for rw in write read; do
			fio --name=test --filename="/dev/${ng/nvme/ng}" --ioengine=io_uring_cmd --cmd_type=nvme --rw=$rw --bs="$4" \
				--number_ios=100 --iodepth=4 --md_per_io_size="$2" --pi_act="$3" --pi_chk=GUARD,REFTAG \
				--eta=never || { echo "namespace $options"; return 1; }
		done
	done
}

begin 9
[ "${TOPOLOGY:-}" = metadata ] || skip_all "no namespace with metadata"
need_theirs
load_disks
check "the disks' files are those of the C driver" same_files
check "each driver reads what the other has written" each_other
check "zeroed blocks are zeroes" zeroes
check "a changed block is found by its protection information" found
check "the controller inserts and strips protection information" by_controller
check "users' commands transfer what the C driver's do" users
check "a command with too little memory is refused" too_little
check "io_uring commands have metadata" by_uring
check "a namespace gets metadata, and loses them, by a format" formats
finish
