#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Removal of a controller, by an orderly unplug and by power loss, with a file system on its disk
# and I/O in flight: all I/O ends, and the other controller is unaffected. The last test in a guest,
# because the devices don't come back.
. "$(dirname "$0")/common.sh"

gone() { [ ! -e "/sys/bus/pci/devices/$1" ]; }
dead() { [ "$(c state "$1")" = dead ]; }

# busy BDF: a file system and a reader on the controller's disk.
busy() {
	local disk
	disk=$(disks "$1" | head -n 1)
	mkfs.ext4 -q "/dev/$disk"
	mkdir -p "$tmp/fs"
	mount "/dev/$disk" "$tmp/fs"
	background fio_on "$disk" --rw=randread --bs=4k --iodepth=16 --time_based --runtime=60
	dd if=/dev/zero of="$tmp/fs/file" bs=1M count=16 conv=fsync
}
# quiet: both end. A dead disk has size 0, so readers may get end of file instead of an error.
quiet() {
	stop "$job"
	umount "$tmp/fs"
}

unplug() {
	busy "$second"
	"$top/qemu/qmp" device_del '{"id": "nvme1"}'
	wait_for 30 gone "$second"
	quiet
	same "disks" "" "$(disks "$second")"
}

# The slot loses power: register reads are meaningless, and no completion arrives.
power() {
	local port
	port=$(basename "$(dirname "$(readlink -f "/sys/bus/pci/devices/$bdf")")")
	busy "$bdf"
	setpci -s "$port" CAP_EXP+0x18.w=0x7f0:0x7f0
	wait_for 60 dead "$bdf"
	quiet
}
fails_fast() {
	start=$(date +%s%N)
	same "bytes read" 0 "$(dd if="/dev/$disk" bs=4k count=1 iflag=direct | wc -c)"
	refused dd if=/dev/zero of="/dev/$disk" bs=4k count=1 oflag=direct
	at_most "milliseconds" "$(has_checkers && echo 10000 || echo 1000)" $((($(date +%s%N) - start) / 1000000))
}
other_works() { fio_on "$disk" --rw=randwrite --bs=4k --size=2M --verify=crc32c; }

begin 5
need_qemu
load_disks timeout=2
second=$(controllers | sed -n 2p)
[ -n "$second" ] || skip_all "only one controller"
check "a controller is unplugged under load" unplug
check "the other one works" other_works
check "a controller without power is given up" power
check "its disk fails at once" fails_fast
check "the module unloads" unload
finish
