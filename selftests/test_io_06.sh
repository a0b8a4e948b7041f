#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A tree of files on ext4 and on xfs: copied, checked with cold caches, and checked once more
# after the module was loaded again.
. "$(dirname "$0")/common.sh"

tree=/usr/include/linux

compare() {
	find "$tmp/mnt" -type f -print0 >"$tmp/names"
	mapfile -d "" -t names <"$tmp/names"
	cold "${names[@]}"
	(cd "$tmp/mnt" && sha256sum --quiet -c "$tmp/sums")
}

copy() { # TYPE
	wipefs -aq "/dev/$disk"
	"mkfs.$1" -q "/dev/$disk"
	mkdir -p "$tmp/mnt"
	mount -t "$1" "/dev/$disk" "$tmp/mnt"
	# The disk's files were checked, so compare with them instead of the source.
	cp -rL "$tree/." "$tmp/mnt"
	cp "$tmp/big" "$tmp/mnt"
	compare
	umount "$tmp/mnt"
}

again() { # TYPE
	unload
	load
	mount -t "$1" "/dev/$disk" "$tmp/mnt"
	compare
	same "files" "$(wc -l <"$tmp/sums")" "$(find "$tmp/mnt" -type f | wc -l)"
	# Delete and write files while reading others.
	mkdir "$tmp/mnt/copy"
	cp -rL "$tree/netfilter" "$tmp/mnt/copy" &
	compare
	wait $!
	diff -r "$tree/netfilter" "$tmp/mnt/copy/netfilter"
	rm -r "$tmp/mnt/copy"
	umount "$tmp/mnt"
	case $1 in
	ext4) fsck.ext4 -fn "/dev/$disk" ;;
	xfs) xfs_repair -n "/dev/$disk" ;;
	esac
}

begin 4
load_disks
head -c 32M /dev/urandom >"$tmp/big"
(cd "$tmp" && sha256sum ./big) >"$tmp/sums"
(cd "$tree" && find -L . -type f -print0 | xargs -0 sha256sum) >>"$tmp/sums"
for type in ext4 xfs; do
	check "$type: a copy of $(wc -l <"$tmp/sums") files" copy $type
	check "$type: the files are still there after the module was loaded again" again $type
done
finish
