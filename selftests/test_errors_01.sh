#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Medium errors from QEMU's driver blkdebug: user space gets the right error, the counters count it,
# and nothing else is affected.
. "$(dirname "$0")/common.sh"

direct() { dd bs=4k count=1 "$@" 2>&1; }
# fails ERRNO COMMAND…: COMMAND fails with that error.
fails() {
	local expected=$1 said
	shift
	said=$("$@") && { echo "not refused: $*"; return 1; }
	[[ $said = *"$expected"* ]] || { echo "expected '$expected', is '$said'"; return 1; }
}
# The driver retries a command five times, because QEMU doesn't set DNR.
tries=6

bad_read() {
	local errors
	errors=$(sum errors)
	blkdebug "$(rule read "" 80)"
	fails "No data available" direct if="/dev/$disk" of="$tmp/read" skip=10 iflag=direct
	same "errors" $((errors + tries)) "$(sum errors)"
	logged start "critical medium error, dev $disk, sector 80"
	# The neighbouring blocks are unchanged.
	direct if="/dev/$disk" of="$tmp/read" skip=11 iflag=direct
	cmp "$tmp/read" "$tmp/block"
	blkdebug
	direct if="/dev/$disk" of="$tmp/read" skip=10 iflag=direct
	cmp "$tmp/read" "$tmp/block"
}
bad_write() {
	local errors
	errors=$(sum errors)
	blkdebug "$(rule write "" 96)"
	fails "No data available" direct if="$tmp/block" of="/dev/$disk" seek=12 oflag=direct
	direct if="$tmp/block" of="/dev/$disk" seek=13 oflag=direct
	blkdebug
	same "errors" $((errors + tries)) "$(sum errors)"
	direct if="$tmp/block" of="/dev/$disk" seek=12 oflag=direct
}
bad_flush() {
	local errors
	errors=$(sum errors)
	# No more errors, because QEMU itself flushes before it removes the rules.
	blkdebug "$(rule flush "$tries")"
	# QEMU reports a write fault.
	fails "fsync failed" direct if="$tmp/block" of="/dev/$disk" seek=12 conv=fsync
	at_least "errors" $((errors + 1)) "$(sum errors)"
	blkdebug
	direct if="$tmp/block" of="/dev/$disk" seek=12 conv=fsync
}
# A file system handles the error like that of any disk, and is intact afterwards.
file_system() {
	mkfs.ext4 -q -F "/dev/$disk"
	mkdir -p "$tmp/mnt"
	mount "/dev/$disk" "$tmp/mnt"
	head -c 8M /dev/urandom >"$tmp/mnt/file"
	sync "$tmp/mnt/file"
	sum=$(sha256sum <"$tmp/mnt/file")
	cold "$tmp/mnt/file"
	blkdebug "$(rule read)"
	refused cat "$tmp/mnt/file" >"$tmp/read"
	blkdebug
	same "the file" "$sum" "$(sha256sum <"$tmp/mnt/file")"
	umount "$tmp/mnt"
	fsck.ext4 -fn "/dev/$disk"
}
undisturbed() {
	same "state" live "$(c state)"
	same "resets" 0 "$(c resets)"
	same "in flight" 0 "$(sum inflight)"
}

begin 5
need_qemu
load_disks
head -c 4k /dev/urandom >"$tmp/block"
for block in 10 11 12 13; do
	dd if="$tmp/block" of="/dev/$disk" bs=4k seek=$block oflag=direct 2>"$tmp/dd"
done
check "a read error is ENODATA, of its sector only" bad_read
check "a write error is ENODATA, of its sector only" bad_write
check "a flush error is the sync's" bad_flush
check "a file system meets read errors, and is whole afterwards" file_system
check "the controller was never reset for it" undisturbed
# Clean up for later tests.
blkdebug >/dev/null 2>&1
finish
