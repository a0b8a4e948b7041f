#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A namespace shrinks, grows and is write protected while it is mounted, without affecting others. QEMU
# can't do this, so amend.py changes its answers.
. "$(dirname "$0")/common.sh"

SMALL=64
size_is() { [ "$(bytes "$disk")" = $(($1 << 20)) ]; }
protected() { [ "$(cat "/sys/block/$disk/ro")" = "$1" ]; }
# nsze MIB: the bytes of NSZE.
nsze() { le64 $(($1 << 20 >> 9)); }
rescan() { echo 1 >"$(dir_of)/controller/rescan_controller"; }

# mounted DISK [MIB]: with a file of 16 MiB.
mounted() {
	mkfs.ext4 -q -F "/dev/$1" ${2:+"${2}M"}
	mkdir "$tmp/$1"
	mount "/dev/$1" "$tmp/$1"
	head -c 16M /dev/urandom >"$tmp/$1/file"
	sha256sum <"$tmp/$1/file" >"$tmp/sum-$1"
}
whole() { # DISK
	cold "$tmp/$1/file"
	same "the file" "$(cat "$tmp/sum-$1")" "$(sha256sum <"$tmp/$1/file")"
}

shrinks() {
	mounted "$other"
	mounted "$disk" $SMALL
	amended "0/$nsid:0=$(nsze $SMALL)"
	wait_for 30 size_is $SMALL
	whole "$disk"
	cp "$tmp/$disk/file" "$tmp/$disk/copy"
	sync "$tmp/$disk/copy"
	same "bytes from behind the end" 0 "$(dd if="/dev/$disk" bs=1M skip=$SMALL count=1 iflag=direct 2>"$tmp/dd" | wc -c)"
	log_since start | grep "$disk: detected capacity change from $((full << 11)) to $((SMALL << 11))"
}
grows() {
	local i
	rescan
	wait_for 30 size_is "$full"
	log_since start | grep "$disk: detected capacity change from $((SMALL << 11)) to $((full << 11))"
	resize2fs "/dev/$disk"
	for i in {1..6}; do cat "$tmp/$disk/file"; done >"$tmp/$disk/large"
	sha256sum <"$tmp/$disk/large" >"$tmp/sum-large"
	cold "$tmp/$disk/large"
	same "the file" "$(cat "$tmp/sum-large")" "$(sha256sum <"$tmp/$disk/large")"
	whole "$disk"
}
# Preferred writes are 8 blocks, and requests should not cross a MiB.
limits_are() { [ "$(blk "$disk" minimum_io_size) $(blk "$disk" chunk_sectors)" = "$1" ]; }
other_limits() {
	local before
	before="$(blk "$disk" minimum_io_size) $(blk "$disk" chunk_sectors)"
	amended "0/$nsid:24=10" "0/$nsid:64=0700" "0/$nsid:46=0008"
	wait_for 30 limits_are "4096 2048"
	# Back under load.
	background fio --name=work --directory="$tmp/$disk" --rw=randrw --bs=4k --ioengine=libaio --direct=1 --iodepth=8 \
		--size=8M --verify=crc32c --verify_state_save=0 --time_based --runtime=10 --eta=never
	wait_for 30 test -s "$tmp/$disk/work.0.0"
	sleep 1
	rescan
	wait_for 30 limits_are "$before"
	wait_for 90 ended "$job"
	wait "$job" || { cat "$tmp/background"; return 1; }
	whole "$disk"
	umount "$tmp/$disk"
	fsck.ext4 -fn "/dev/$disk"
}
write_protected() {
	amended "0/$nsid:99=01"
	wait_for 30 protected 1
	refused dd if=/dev/zero of="/dev/$disk" bs=4k count=1 oflag=direct
	mount -o ro "/dev/$disk" "$tmp/$disk"
	whole "$disk"
	umount "$tmp/$disk"
	rescan
	wait_for 30 protected 0
	fio_on "$disk" --rw=randwrite --bs=4k --size=1M --verify=crc32c
}
others() {
	whole "$other"
	umount "$tmp/$other"
	fsck.ext4 -fn "/dev/$other"
	same "resets" 0 "$(c resets)"
}

begin 6
[ "${TOPOLOGY:-}" = four-ns ] || skip_all "no topology with several namespaces"
need_qemu
# amend.py has the time limit of a command to change its answer.
load_disks timeout="$patience"
need_poke
nsid=${disk##*n}
other=$(disks | tail -n 1)
full=$(($(bytes "$disk") >> 20))
check "a namespace shrinks while it is mounted, and the file system within it is whole" shrinks
check "it grows while it is mounted, and the file system with it" grows
check "its limits change while it is written to" other_limits
check "it is write protected, and then no more" write_protected
check "another one, mounted all the time, has its files" others
check "the module unloads" unload
finish
