#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The sample rust_ramblk: a disk without a device, on the blk-mq part of abstractions/.
. "$(dirname "$0")/common.sh"

ko=$top/samples/rust_ramblk.ko
disk=ramblk0
mib=64

loads() {
	log_mark load
	insmod "$ko" "$@"
	logged load "rust_ramblk: $disk is a disk of $mib MiB with $(nproc --all) hardware queues"
	same "bytes" $((mib * 1048576)) "$(bytes $disk)"
	# No DMA limit, because the disk does no DMA.
	same "KiB of a request" 1024 "$(blk $disk max_hw_sectors_kb)"
	[ "$(readlink -f /sys/block/$disk/device)" = /sys/devices/faux/rust_ramblk ]
}

# Parts of a page, pages, and requests that end within one; from several CPUs at once.
keeps() {
	local size
	for size in 512:1M 3584:4M 4k:8M 20k:16M 1M:32M; do
		fio_on $disk --rw=randwrite --bs="${size%:*}" --size="${size#*:}" --iodepth=8 \
			--verify=crc32c --output="$tmp/fio"
	done
	fio_on $disk --rw=randrw --bsrange=512-64k --size=2M --offset_increment=8M --iodepth=16 --numjobs=4 \
		--verify=crc32c --output="$tmp/fio"
}

# Unaligned buffers, and requests of many segments.
buffers() {
	local what
	for what in offsets pieces end; do "$here/unaligned.py" /dev/$disk $what; done
}

content() { dd if=/dev/$disk bs=512 iflag=direct,skip_bytes,count_bytes,fullblock skip="$1" count="$2" status=none; }
# Expect DATA outside the range, and zeroes inside it.
zeroes() { # OFFSET LENGTH OPTION…
	local offset=$1 length=$2 end=$(($1 + $2))
	shift 2
	head -c 4M /dev/urandom >"$tmp/data"
	dd if="$tmp/data" of=/dev/$disk bs=1M oflag=direct status=none
	blkdiscard "$@" -o "$offset" -l "$length" /dev/$disk
	same "bytes that are not zero" 0 "$(content "$offset" "$length" | tr -d '\0' | wc -c)"
	cmp <(content 0 "$offset") <(head -c "$offset" "$tmp/data")
	cmp <(content $end $((4194304 - end))) <(tail -c +$((end + 1)) "$tmp/data")
}
# Whole pages, more than one request, and parts of a page at both ends or within one.
zeroed() {
	zeroes 65536 3145728 "$@"
	zeroes 66048 2099200 "$@"
	zeroes 4608 1024 "$@"
}

file_system() {
	mkfs.ext4 -q -F /dev/$disk
	mkdir -p "$tmp/mnt"
	mount /dev/$disk "$tmp/mnt"
	for i in $(seq 40); do head -c $((i * 20000)) /dev/urandom >"$tmp/mnt/$i"; done
	(cd "$tmp/mnt" && sha256sum [0-9]*[13579]) >"$tmp/sums"
	for i in $(seq 2 2 40); do rm "$tmp/mnt/$i"; done
	sync
	fstrim "$tmp/mnt"
	umount "$tmp/mnt"
	mount /dev/$disk "$tmp/mnt"
	(cd "$tmp/mnt" && sha256sum --quiet -c "$tmp/sums")
	umount "$tmp/mnt"
	fsck.ext4 -fn /dev/$disk
}

stays_while_open() {
	mount /dev/$disk "$tmp/mnt"
	refused rmmod rust_ramblk
	umount "$tmp/mnt"
	exec 8</dev/$disk
	refused rmmod rust_ramblk
	exec 8<&-
}

free() { account | awk '$1 == "free_KiB" { print $2 }'; }
# A page has memory from its first write until it is discarded.
sparse() {
	local none all
	blkdiscard -f /dev/$disk
	none=$(free)
	dd if=/dev/zero of=/dev/$disk bs=1M oflag=direct status=none || true
	all=$(free)
	at_least "KiB that the disk takes" $((mib * 900)) $((none - all))
	blkdiscard -f /dev/$disk
	at_least "KiB that it gives back" $((mib * 900)) $(($(free) - all))
}

unloads() {
	wait_for 10 rmmod rust_ramblk
	left_nothing
}
left_nothing() {
	same "files" "" "$(ls -d /sys/module/rust_ramblk /sys/devices/faux/rust_ramblk /sys/block/$disk /dev/$disk 2>/dev/null || true)"
}

one_cycle() {
	insmod "$ko" size_mib=8
	dd if=/dev/zero of=/dev/$disk bs=1M count=8 oflag=direct status=none
	wait_for 10 rmmod rust_ramblk
}
gives_back() {
	many 2 5 "loads with 8 MiB written" one_cycle
}

begin 10
[ -r "$ko" ] || skip_all "no $ko: make M=samples"
[ ! -e /sys/module/rust_ramblk ] || skip_all "rust_ramblk is loaded already"
check "it loads, and there is a disk" loads
check "data stay as they were written" keeps
check "so they do in buffers that begin anywhere" buffers
check "what is discarded reads as zeroes" zeroed
check "what is zeroed reads as zeroes" zeroed -z
check "a file system works on it" file_system
check "it doesn't unload while the disk is open" stays_while_open
check "it takes memory for what was written only" sparse
check "it unloads, and nothing is left" unloads
check "its memory is given back" gives_back
finish
