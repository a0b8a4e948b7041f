#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Reclaim that depends on this disk: swap and dirty pages are on it. The controller's recovery must not
# wait for reclaim.
. "$(dirname "$0")/common.sh"

more_resets() { [ "$(c resets)" -gt "$1" ] && live; }
waits() { "$here/waits.py" "$@"; }

reset_waits() {
	local resets i
	waits start
	for i in 1 2 3; do
		resets=$(c resets)
		reset_controller
		wait_for 20 more_resets "$resets"
	done
	waits stop 3
}
timeout_waits() {
	local resets
	resets=$(c resets)
	waits start
	# So slow that an abort doesn't help.
	throttle 0 64
	background fio_on "$disk" --rw=read --bs=4k --iodepth=16 --size=1M --number_ios=40
	wait_for 60 more_resets "$resets"
	throttle 0
	wait_for 60 ended "$job"
	wait "$job" || { cat "$tmp/background"; return 1; }
	waits stop 1
}

# hog LOCKED SWAPPED: locks LOCKED MiB in memory, and repeatedly touches SWAPPED MiB; prints a line for
# each MiB.
hog() {
	exec python3 - "$@" <<-'END'
		import ctypes, mmap, sys
		locked, swapped = (int(x) << 20 for x in sys.argv[1:])
		def memory(size):
		    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
		keep, walk = memory(locked), memory(swapped)
		address = ctypes.addressof(ctypes.c_char.from_buffer(keep))
		if ctypes.CDLL(None).mlock(ctypes.c_void_p(address), ctypes.c_size_t(locked)):
		    sys.exit("mlock failed")
		number = 0
		while True:
		    for at in range(0, swapped, 4096):
		        word = walk[at:at + 4]
		        if word != number.to_bytes(4, "little"):
		            sys.exit(f"page {at >> 12}: {word.hex()} in round {number}")
		        walk[at:at + 4] = (number + 1).to_bytes(4, "little")
		        if at & 0xFFFFF == 0:
		            print("round", number, flush=True)
		    number += 1
	END
}
writer() {
	exec python3 - "$tmp/mnt/dirty" <<-'END'
		import sys
		block = bytes(1 << 20)
		with open(sys.argv[1], "wb", buffering=0) as file:
		    while True:
		        file.seek(0)
		        for _ in range(200):
		            file.write(block)
		            print("written", flush=True)
	END
}
pressure() {
	hog "$@" >"$tmp/hog" 2>&1 &
	writer >"$tmp/writer" 2>&1 &
	wait
}
gone_over() { wc -l <"$tmp/hog"; }
written() { wc -l <"$tmp/writer"; }
more_of() { [ "$("$1")" -ge "$2" ]; }
available() { awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo; }
in_swap() { awk '/^Swap(Total|Free)/ { n = $2 - n } END { print int(-n / 1024) }' /proc/meminfo; }

full() {
	local i resets over written swapped=160
	mkfs.ext4 -q -F "/dev/$disk"
	mkdir -p "$tmp/mnt"
	mount "/dev/$disk" "$tmp/mnt"
	dd if=/dev/zero of="$tmp/mnt/swap" bs=1M count=384 status=none
	chmod 600 "$tmp/mnt/swap"
	mkswap "$tmp/mnt/swap"
	swapon "$tmp/mnt/swap"
	# Nearly all remaining memory may be dirty.
	echo 80 >/proc/sys/vm/dirty_ratio
	echo 60 >/proc/sys/vm/dirty_background_ratio
	echo 100 >/proc/sys/vm/swappiness
	# The OOM killer must not kill this shell and its children.
	echo -1000 >/proc/self/oom_score_adj

	background pressure $(($(available) - 120)) $swapped
	wait_for 120 more_of gone_over $((swapped + 8))
	wait_for 120 more_of written 64
	say "memory is full: $(available) MiB available, $(in_swap) MiB in swap"

	for i in {1..4}; do
		resets=$(c resets)
		reset_controller
		wait_for 60 more_resets "$resets"
		resets=$(c resets)
		# The commands in flight time out, and the driver resets the controller.
		no_dma "$bdf"
		wait_for 60 more_resets "$resets"
		over=$(gone_over) written=$(written)
		wait_for 120 more_of gone_over $((over + 4))
		wait_for 120 more_of written $((written + 4))
	done
	say "$(gone_over) MiB gone over, $(written) MiB written, $(c resets) resets, $(in_swap) MiB in swap"
	stop "$job"
	wait_for 60 live
	swapoff "$tmp/mnt/swap"
	umount "$tmp/mnt"
	fsck.ext4 -fn "/dev/$disk"
}

begin 3
need_qemu
load_disks timeout="$((2 * patience))"
check "a reset asks for no memory that it may wait for" reset_waits
check "nor does a time-out" timeout_waits
if [ "$(available)" -lt 500 ]; then
	check "memory is full of what is to be written to the disk, and resets go on" full
else
	skip "memory is full of what is to be written to the disk, and resets go on" "it takes too long to fill"
fi
stop
swapoff -a
finish
