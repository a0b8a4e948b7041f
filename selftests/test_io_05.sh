#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Discard and write zeroes, which carry no data.
. "$(dirname "$0")/common.sh"

fill() { # the first 16 MiB, with what is compared later
	[ -e "$tmp/data" ] || head -c 16M /dev/urandom >"$tmp/data"
	dd if="$tmp/data" of="/dev/$1" bs=1M oflag=direct
}
content() { dd if="/dev/$1" bs=4k iflag=direct,skip_bytes,count_bytes,fullblock skip="$2" count="$3"; }
expected() { dd if="$tmp/data" bs=4k iflag=skip_bytes,count_bytes,fullblock skip="$1" count="$2"; }

# The range's start and end are aligned neither to the disk's blocks nor to the largest command.
zeroes() { # DISK OFFSET LENGTH
	local before
	fill "$1"
	before=$(sum write_zeroes)
	blkdiscard -z -o "$2" -l "$3" "/dev/$1"
	at_least "commands" 1 $(($(sum write_zeroes) - before))
	same "bytes that are not zero" 0 "$(content "$1" "$2" "$3" | tr -d '\0' | wc -c)"
	cmp <(content "$1" 0 "$2") <(expected 0 "$2")
	cmp <(content "$1" $(($2 + $3)) 65536) <(expected $(($2 + $3)) 65536)
}

# Afterwards a block is unchanged or, if the controller deallocated it, zero.
discarded() { # DISK OFFSET LENGTH
	local before
	fill "$1"
	before=$(sum discards)
	blkdiscard -o "$2" -l "$3" "/dev/$1"
	at_least "commands" 1 $(($(sum discards) - before))
	cmp <(content "$1" 0 "$2") <(expected 0 "$2")
	cmp <(content "$1" $(($2 + $3)) 65536) <(expected $(($2 + $3)) 65536)
	if ! content "$1" "$2" "$3" | cmp - <(expected "$2" "$3"); then
		same "bytes that are not zero" 0 "$(content "$1" "$2" "$3" | tr -d '\0' | wc -c)"
	fi
}

# mkfs discards the whole disk, and a file system sends many ranges in one command.
trimmed() {
	mkfs.ext4 -q -F "/dev/$disk"
	mkdir "$tmp/mnt"
	mount "/dev/$disk" "$tmp/mnt"
	for i in $(seq 64); do
		head -c 64k /dev/urandom >"$tmp/mnt/$i"
	done
	sync
	(cd "$tmp/mnt" && sha256sum [0-9]*[13579]) >"$tmp/sums"
	for i in $(seq 2 2 64); do rm "$tmp/mnt/$i"; done
	sync
	before=$(sum discards)
	fstrim "$tmp/mnt"
	at_least "commands" 1 $(($(sum discards) - before))
	umount "$tmp/mnt"
	mount "/dev/$disk" "$tmp/mnt"
	(cd "$tmp/mnt" && sha256sum --quiet -c "$tmp/sums")
	umount "$tmp/mnt"
	fsck.ext4 -fn "/dev/$disk"
}

whole_disk() {
	blkdiscard -f "/dev/$disk"
	blkdiscard -f -z "/dev/$disk"
	same "bytes that are not zero" 0 "$(content "$disk" 0 8M | tr -d '\0' | wc -c)"
}

begin 6
load_disks
block=$(blk "$disk" logical_block_size)
check "write zeroes of one block" zeroes "$disk" $((4096 + block)) "$block"
check "write zeroes of an odd range" zeroes "$disk" $((1048576 + block)) $((6291456 + block))
check "discard of one page" discarded "$disk" 8192 4096
check "discard of an odd range" discarded "$disk" $((1048576 + 4096)) $((6291456 + 4096))
check "fstrim leaves the files that are there" trimmed
check "the whole disk" whole_disk
finish
