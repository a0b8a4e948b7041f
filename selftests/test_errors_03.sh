#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The log line of a failed command: one for a command that isn't retried, rate-limited, and none for
# retried commands or for quiet callers. QEMU's driver blkdebug fails the commands.
. "$(dirname "$0")/common.sh"

# lines MARK: the driver's lines of failed commands since MARK, without the time.
lines() { log_since "$1" | sed -n "s/.*rust_nvme_demo $bdf: \($disk: .*\)/\1/p"; }
# only MARK LINE…: these are the lines since MARK, each once.
only() {
	local mark=$1
	shift
	same "lines" "$(printf '%s\n' "$@")" "$(lines "$mark")"
}
# The driver retries a command five times, because QEMU doesn't set DNR.
retries=5
# direct N BLOCK: N direct reads of 4 KiB at BLOCK. Prints how many failed.
direct() {
	python3 - "/dev/$disk" "$1" "$2" <<-'END'
		import mmap, os, sys
		fd = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
		page, failed = mmap.mmap(-1, 4096), 0
		for _ in range(int(sys.argv[2])):
		    try:
		        os.preadv(fd, [page], 4096 * int(sys.argv[3]))
		    except OSError:
		        failed += 1
		print(failed)
	END
}

bad_read() {
	log_mark read
	blkdebug "$(rule read)"
	same "failed reads" 1 "$(direct 1 10)"
	blkdebug
	only read "$disk: Read (0x02) of 8 blocks at LBA 80: media/0x81 Unrecovered Read Error; $retries retries"
}
bad_write() {
	log_mark write
	blkdebug "$(rule write)"
	refused dd if=/dev/zero of="/dev/$disk" bs=4k count=2 seek=12 oflag=direct
	blkdebug
	only write "$disk: Write (0x01) of 8 blocks at LBA 96: media/0x80 Write Fault; $retries retries"
}
bad_flush() {
	log_mark flush
	# No more errors, because QEMU itself flushes before it removes the rules.
	blkdebug "$(rule flush $((retries + 1)))"
	refused dd if=/dev/zero of="/dev/$disk" bs=4k count=1 seek=12 oflag=direct conv=fsync
	blkdebug
	only flush "$disk: Flush (0x00): media/0x80 Write Fault; $retries retries"
}
retried() {
	local before
	before=$(sum errors)
	log_mark retried
	blkdebug "$(rule read $retries)"
	same "failed reads" 0 "$(direct 1 10)"
	blkdebug
	same "errors" $((before + retries)) "$(sum errors)"
	only retried
}
failed_more() { [ "$(sum errors)" -gt "$before" ]; }
# A read-ahead fails without a retry, because a reader who needs the data reads again.
quiet() {
	local before
	before=$(sum errors)
	log_mark quiet
	blkdebug "$(rule read)"
	python3 -c 'import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
os.posix_fadvise(fd, 4096 * 1000, 4096 * 16, os.POSIX_FADV_WILLNEED)' "/dev/$disk"
	wait_for 10 failed_more
	only quiet
	# The same blocks, when a reader needs them.
	refused dd if="/dev/$disk" bs=4k count=1 skip=1000 of="$tmp/read"
	blkdebug
	at_least "lines" 1 "$(lines quiet | grep -cF "at LBA 8000: media/0x81")"
}
# All lines, and all counts of suppressed lines.
accounted() {
	log_since limit | awk -v line="rust_nvme_demo $bdf: $disk: " '
		index($0, line) { n++ }
		/ lines left out$/ { n += $(NF - 3) }
		END { print n + 0 }'
}
limited() {
	local start=$SECONDS
	# The lines before were counted in an older interval.
	sleep 6
	log_mark limit
	blkdebug "$(rule read)"
	same "failed reads" 60 "$(direct 60 10)"
	at_most "lines" $((10 * (1 + (SECONDS - start) / 5))) "$(lines limit | wc -l)"
	sleep 6
	same "failed reads" 1 "$(direct 1 10)"
	blkdebug
	say "$(lines limit | wc -l) lines of 61 failed commands"
	same "lines, and lines left out" 61 "$(accounted)"
}

begin 6
need_qemu
load_disks
check "a failed read is one line" bad_read
check "a failed write is one line" bad_write
check "a failed flush is one line" bad_flush
check "a read that succeeds at last is none" retried
check "a failed read-ahead is none" quiet
check "the lines are limited, and those left out are counted" limited
# Clean up for later tests.
blkdebug >/dev/null 2>&1
finish
