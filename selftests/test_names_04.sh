#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# One controller goes while another comes: the new one must not get the other's device number until the
# link to the old control device in /sys/dev/char is gone.
. "$(dirname "$0")/common.sh"

is_gone() { (: <"$1") 2>&1 | grep -q 'No such device'; }

# Holds the lock of the directory /dev, for which the removal of a device waits, until it is killed: it
# reads the directory into memory that userfaultfd never fills.
hold_dev='
import ctypes, fcntl, mmap, os, struct
page = mmap.mmap(-1, mmap.PAGESIZE)
buffer = ctypes.c_char.from_buffer(page)
fd = fcntl.ioctl(os.open("/dev/userfaultfd", os.O_RDWR), 0xAA00, os.O_CLOEXEC)
fcntl.ioctl(fd, 0xC018AA3F, struct.pack("3Q", 0xAA, 0, 0))
fcntl.ioctl(fd, 0xC020AA00, struct.pack("4Q", ctypes.addressof(buffer), mmap.PAGESIZE, 1, 0))
dev = os.open("/dev", os.O_RDONLY)
print("held", flush=True)
ctypes.CDLL(None).getdents64(dev, ctypes.byref(buffer), mmap.PAGESIZE)
'

at_once() {
	local name unbinding binding holder
	name=$(c name "$first")
	unbind "$second"
	timeout 60 python3 -c "$hold_dev" >"$tmp/held" 7>&- &
	holder=$!
	wait_for 20 grep -q held "$tmp/held"
	unbind "$first" &
	unbinding=$!
	wait_for 20 is_gone "/dev/$name"
	bind "$second" &
	binding=$!
	sleep 2
	kill $holder
	wait $unbinding
	wait $binding
	name=$(c name "$second")
	same "number in /sys/dev/char" "$name" "$(basename "$(realpath "/sys/dev/char/$(cat "/sys/class/rnvme/$name/dev")")")"
	timeout 20 nvme id-ctrl "/dev/$name" >/dev/null
}

begin 1
load
# shellcheck disable=SC2046 # words
set -- $(for bdf in $(controllers); do [ -n "$(disks "$bdf")" ] || echo "$bdf"; done)
[ $# -ge 2 ] || skip_all "not two controllers without disks"
first=$1 second=$2
check "a device number is free only when the old device is gone" at_once
finish
