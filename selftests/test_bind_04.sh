#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Unload and unbind while a program has the disk open.
. "$(dirname "$0")/common.sh"

# The kernel's own answer to an unload; rmmod checks the use count before it calls the kernel.
delete_module() {
	python3 - <<-END
		import ctypes, errno, os
		libc = ctypes.CDLL(None, use_errno=True)
		libc.delete_module(b"rust_nvme_demo", os.O_NONBLOCK)
		print(errno.errorcode.get(ctypes.get_errno(), "gone"))
	END
}

is_in_use() {
	refused rmmod rust_nvme_demo 2>&1 | tee "$tmp/rmmod"
	grep -q "is in use" "$tmp/rmmod"
	same "delete_module" EAGAIN "$(delete_module)"
	loaded
}

open_disk() {
	exec {fd}<>"/dev/$disk"
	is_in_use
	# It works as before.
	dd of=/dev/null bs=4k count=1 iflag=direct <&$fd
	exec {fd}>&-
}

mounted() {
	mkfs.ext4 -q -F "/dev/$disk"
	mkdir "$tmp/mnt"
	mount "/dev/$disk" "$tmp/mnt"
	is_in_use
	umount "$tmp/mnt"
}

# A read from a removed disk: its size is 0, so the read returns end of file.
no_data() { # FD
	same "bytes read" 0 "$(timeout 10 dd bs=4k count=1 iflag=direct <&"$1" | wc -c)"
}

# The unbind must neither hang nor fail; then I/O on the open file fails.
unbind_open() {
	exec {fd}<>"/dev/$disk"
	dd of=/dev/null bs=4k count=1 iflag=direct <&$fd
	unbind "$bdf"
	[ ! -e "/dev/$disk" ]
	no_data $fd
	refused timeout 10 dd if=/dev/zero bs=4k count=1 oflag=direct <&$fd >&$fd
	refused timeout 10 dd if=/dev/zero bs=4k count=1 conv=fsync <&$fd >&$fd
	# The code of the open file's driver can't go away.
	is_in_use
	exec {fd}>&-
}

bind_again() {
	bind "$bdf"
	[ -b "/dev/$disk" ]
	dd if="/dev/$disk" of=/dev/null bs=64k count=16 iflag=direct
}

# A new disk appears while the old disk is still open.
bind_open() {
	exec {fd}<>"/dev/$disk"
	unbind "$bdf"
	bind "$bdf"
	[ "$(disks "$bdf")" ]
	dd if="/dev/$(disks "$bdf" | head -n 1)" of=/dev/null bs=4k count=1 iflag=direct
	no_data $fd
	refused timeout 10 dd if=/dev/zero bs=4k count=1 oflag=direct <&$fd >&$fd
	exec {fd}>&-
}

unbind_mounted() {
	mount "/dev/$disk" "$tmp/mnt"
	echo before >"$tmp/mnt/file"
	sync "$tmp/mnt/file"
	unbind "$bdf"
	refused timeout 10 dd if=/dev/zero of="$tmp/mnt/other" bs=4k count=1 conv=fsync
	umount "$tmp/mnt"
	bind "$bdf"
	fsck.ext4 -fy "/dev/$disk" || [ $? = 1 ]
	mount "/dev/$disk" "$tmp/mnt"
	same "the file" before "$(cat "$tmp/mnt/file")"
	umount "$tmp/mnt"
}

# Commands are in flight while the controller is unbound. Every waiting process must get an
# answer: a process that hangs would never end.
unbind_busy() {
	for i in 1 2 3; do
		background fio_on "$disk" --rw=randrw --bs=4k --iodepth=32 --numjobs=2 --size=64m \
			--time_based --runtime=60
		before=$(sum submitted)
		more() { [ "$(sum submitted)" -gt $((before + 500)) ]; }
		wait_for 60 more
		unbind "$bdf"
		wait_for 20 ended "$job"
		bind "$bdf"
		dd if="/dev/$disk" of=/dev/null bs=64k count=16 iflag=direct
		same "in flight after $i times" 0 "$(sum inflight)"
	done
}

begin 8
load_disks
check "the module can't be unloaded while a disk is open" open_disk
check "the module can't be unloaded while a file system is mounted" mounted
check "unbind while a disk is open ends, and the open file fails" unbind_open
check "the controller can be bound again" bind_again
check "the controller can be bound again while the old disk is open" bind_open
check "unbind under a mounted file system, which keeps what it had" unbind_mounted
check "unbind while commands are in flight" unbind_busy
check "the module unloads" unload
finish
