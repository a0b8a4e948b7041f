#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Namespaces vanish, appear and change while they are mounted, without affecting others. The
# kernel's C driver attaches and formats them, on another controller of the same subsystem. At the end it drives the
# first controller, too: its uevents are compared.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/beside.sh"

admin() { nvme "$1" "/dev/$(control_of "$second")" "${@:2}"; }
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
# disks_are N: either driver has so many disks of the first controller.
disks_are() { [ "$(compgen -G "/sys/bus/pci/devices/$bdf/*nvme/nvme*/nvme*n*" | wc -l)" = "$1" ]; }
# record NAME: $tmp/NAME.uevents has the uevents of the first controller and of what is below it, while a namespace is
# detached and attached again.
record() {
	local device
	device=$(control_of "$bdf")
	background "$here/uevents.py" --below "$bdf"
	wait_for 60 grep -q listening "$tmp/background"
	admin detach-ns -n 2 -c 0
	wait_for 30 disks_are 2
	admin attach-ns -n 2 -c 0
	wait_for 30 disks_are 3
	# The last uevents may come after the disk.
	sleep 2
	stop "$job"
	# Neither the drivers' numbers nor the C driver's numbers of namespaces.
	sed -E "1d; s/\b(nvme|ng)${device#nvme}(n[0-9]+)?\b/\1X\2/g; s/X(n[0-9]+)\b/XnN/g" "$tmp/background" | sort >"$tmp/$1.uevents"
}
# The C driver makes no disks for the topology's other controllers, which have one NQN and share nothing.
theirs() {
	unload
	modprobe nvme_core multipath=N
	modprobe nvme
	wait_for 30 their_disk "$second"
	wait_for 30 disks_are 3
	record theirs
}
# The C driver reports errors and SMART warnings by NVME_AEN, but no notices.
equal_uevents() {
	cat "$tmp/ours.uevents"
	same "NVME_AEN" "change $bdf RNVME=nvmeX NVME_AEN=0x040002 change nvmeX NVME_AEN=0x040002" \
		"$(grep NVME_AEN "$tmp/ours.uevents" | uniq | xargs)"
	at_least "uevents" 4 "$(wc -l <"$tmp/theirs.uevents")"
	diff "$tmp/theirs.uevents" <(grep -v NVME_AEN "$tmp/ours.uevents")
}

begin 7
cycles 4
need_qemu
[ "${TOPOLOGY:-}" = shared ] || skip_all "no topology with two controllers that share namespaces"
load_disks
second=$(controllers | sed -n 2p)
unbind "$second"
echo nvme >"/sys/bus/pci/devices/$second/driver_override"
modprobe nvme
trap 'rmmod nvme nvme_core >/dev/null 2>&1; clean_up' EXIT
wait_for 10 test -e "/sys/bus/pci/drivers/nvme/$second"
witness steady --steady rnvme-0/1
check "a namespace vanishes while it is mounted, and comes back, $cycles times" vanishes
check "a namespace is formatted to other blocks, and is another disk" formatted
check "another one, mounted all the time, has its files" others
check "on a third one no request failed" testify steady
check "our uevents of a change" record ours
echo "$second" >"/sys/bus/pci/drivers/nvme/unbind"
echo >"/sys/bus/pci/devices/$second/driver_override"
rmmod nvme nvme_core
check "the module unloads; those of the C driver" theirs
check "ours are the C driver's, and one that names the event" equal_uevents
rmmod nvme nvme_core
finish
