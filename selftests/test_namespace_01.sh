#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Namespaces vanish, appear and change while they are mounted, without affecting others. The
# kernel's C driver attaches and formats them, on another controller of the same subsystem.
. "$(dirname "$0")/common.sh"

admin() { nvme "$1" "$(echo /dev/nvme[0-9])" "${@:2}"; }
has() { disks "$bdf" | grep -qx "$1"; }
lacks() { ! has "$1"; }
here_again() { has nvme900n2 && [ -b /dev/nvme900n2 ]; }
block_size() { [ "$(blk nvme900n2 logical_block_size 2>/dev/null)" = "$1" ]; }

mounted() { # DISK
	mkfs.ext4 -q -F "/dev/$1"
	mkdir -p "$tmp/$1"
	mount "/dev/$1" "$tmp/$1"
	head -c 4M /dev/urandom >"$tmp/$1/file"
	sync "$tmp/$1/file"
	sha256sum <"$tmp/$1/file" >"$tmp/sum-$1"
}
whole() { # DISK
	cold "$tmp/$1/file"
	same "the file" "$(cat "$tmp/sum-$1")" "$(sha256sum <"$tmp/$1/file")"
}

# The controller reports the change by an asynchronous event.
vanishes() {
	local i
	mounted nvme900n3
	background "$here/uevents.py" "$bdf"
	wait_for 60 grep -q listening "$tmp/background"
	for ((i = 0; i < cycles; i++)); do
		[ $i != 0 ] || mounted nvme900n2
		[ $i = 0 ] || mount /dev/nvme900n2 "$tmp/nvme900n2"
		whole nvme900n2
		admin detach-ns -n 2 -c 0
		wait_for 30 lacks nvme900n2
		refused timeout 10 dd if=/dev/zero of="$tmp/nvme900n2/other" bs=4k count=1 conv=fsync
		umount "$tmp/nvme900n2"
		admin attach-ns -n 2 -c 0
		wait_for 30 here_again
		fsck.ext4 -fy /dev/nvme900n2 || [ $? = 1 ]
	done
	stop "$job"
	at_least "uevents" "$cycles" "$(grep -cxF "RNVME=nvme900 NVME_AEN=0x040002" "$tmp/background")"
	say "$cycles times a mounted namespace vanished and came back; asynchronous events $(c async_events)"
	at_least "asynchronous events" "$cycles" "$(c async_events)"
}
# With another block size the driver replaces the disk. QEMU formats only a namespace that no
# other controller uses.
formatted() {
	admin format -n 2 --lbaf=4 --force
	echo 1 >"$(dir_of)/controller/rescan_controller"
	wait_for 30 block_size 4096
	same "size" $((256 << 20)) "$(bytes nvme900n2)"
	fio_on nvme900n2 --rw=randwrite --bs=4k --size=1M --verify=crc32c
	admin format -n 2 --lbaf=0 --force
	echo 1 >"$(dir_of)/controller/rescan_controller"
	wait_for 30 block_size 512
	fio_on nvme900n2 --rw=randwrite --bs=512 --size=256k --verify=crc32c
}
others() {
	whole nvme900n3
	umount "$tmp/nvme900n3"
	fsck.ext4 -fn /dev/nvme900n3
	same "resets" 0 "$(c resets)"
}

begin 5
cycles 4
need_qemu
[ "${TOPOLOGY:-}" = shared ] || skip_all "no topology with two controllers that share namespaces"
load_disks
second=$(controllers | sed -n 2p)
unbind "$second"
echo nvme >"/sys/bus/pci/devices/$second/driver_override"
modprobe nvme
wait_for 10 test -e "/sys/bus/pci/drivers/nvme/$second"
witness steady --steady rnvme-0/1
check "a namespace vanishes while it is mounted, and comes back, $cycles times" vanishes
check "a namespace is formatted to other blocks, and is another disk" formatted
check "another one, mounted all the time, has its files" others
check "on a third one no request failed" testify steady
echo "$second" >"/sys/bus/pci/drivers/nvme/unbind"
echo >"/sys/bus/pci/devices/$second/driver_override"
modprobe -r nvme
check "the module unloads" unload
finish
