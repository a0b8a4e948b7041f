#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Flush and FUA: each request for durability sends its command.
. "$(dirname "$0")/common.sh"

count_flushes() { # COMMAND…
	local before
	before=$(sum flushes)
	"$@"
	echo $(($(sum flushes) - before))
}

fsync_flushes() {
	same "flushes of fsync" 1 \
		"$(count_flushes dd if=/dev/zero of="/dev/$disk" bs=64k count=4 conv=fsync 2>"$tmp/dd")"
}

write_does_not() {
	same "flushes of a write" 0 \
		"$(count_flushes dd if=/dev/zero of="/dev/$disk" bs=64k count=4 oflag=direct 2>"$tmp/dd")"
}

# A durable write is a write with FUA, and the sync's flush. The FUA bit is in dword 12 of the
# command, which is still in its queue.
fua() {
	same "FUA" 1 "$(blk "$disk" fua)"
	before=$(fua_writes)
	same "flushes" 1 "$(count_flushes durable_write)"
	same "writes with FUA" 1 $(($(fua_writes) - before))
}
durable_write() {
	dd if=/dev/zero of="/dev/$disk" bs=4k count=1 oflag=direct,dsync 2>"$tmp/dd"
}
# The number of FUA writes in the submission queues.
fua_writes() {
	local n=0 words
	while read -ra words; do
		if (((16#${words[1]} & 0xff) == 1 && 16#${words[7]} >> 30 & 1)); then
			n=$((n + 1))
		fi
	done < <(cat "/sys/kernel/debug/rust_nvme_demo-$bdf"/queue[1-9]*/sq)
	echo $n
}

sync_of_a_file_system() {
	mkfs.ext4 -q -F "/dev/$disk"
	mkdir "$tmp/mnt"
	mount "/dev/$disk" "$tmp/mnt"
	at_least "flushes or FUA writes" 1 "$(count_flushes sync_file)"
	umount "$tmp/mnt"
}
sync_file() {
	echo data >"$tmp/mnt/file"
	sync "$tmp/mnt/file"
}

# No flushes if the administrator disables the write cache.
write_through() {
	echo "write through" >"/sys/block/$disk/queue/write_cache"
	same "flushes of fsync" 0 \
		"$(count_flushes dd if=/dev/zero of="/dev/$disk" bs=64k count=4 conv=fsync 2>"$tmp/dd")"
	echo "write back" >"/sys/block/$disk/queue/write_cache"
}

begin 6
load_disks
check "a direct write needs no flush" write_does_not
check "fsync is one flush" fsync_flushes
check "a durable write has FUA" fua
check "a file system's sync flushes" sync_of_a_file_system
check "no flush for a cache that is declared safe" write_through
check "no command failed" same errors 0 "$(sum errors)"
finish
