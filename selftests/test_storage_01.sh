#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What is built on disks: LVM, LUKS, md, btrfs and dm-multipath. With systemd-udevd, what was created on the driver's
# disk is assembled after the controller was unbound and bound, and with the kernel's C driver on the same disk.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/beside.sh"

export LVM_SUPPRESS_FD_WARNINGS=1

settled() { udevadm settle --timeout=60; }
# The parts of the disk are known by udev's links only.
part() { echo "/dev/disk/by-partlabel/$1"; }
uuid() { cat "$tmp/uuid.$1"; }
# filled NAME DEVICE [PROGRAM…]: a file system made by PROGRAM, with a file.
filled() {
	"${@:3}" "$2"
	blkid -p -o value -s UUID "$2" >"$tmp/uuid.$1"
	mkdir -p "$tmp/$1"
	mount "$2" "$tmp/$1"
	head -c 1M /dev/urandom >"$tmp/$1/file"
	sha256sum <"$tmp/$1/file" >"$tmp/sum.$1"
	umount "$tmp/$1"
}
# whole NAME: the file is as it was, in the file system that udev's link leads to.
whole() {
	settled
	mount "/dev/disk/by-uuid/$(uuid "$1")" "$tmp/$1"
	same "the file" "$(cat "$tmp/sum.$1")" "$(sha256sum <"$tmp/$1/file")"
	umount "$tmp/$1"
}

created() {
	printf '%s\n' 'label: gpt' 'size=64M, name=lvm' 'size=64M, name=luks' 'size=64M, name=md-a' 'size=64M, name=md-b' \
		'size=200M, name=btrfs-a' 'size=200M, name=btrfs-b' | sfdisk -q "/dev/$disk"
	settled
	lvm lvmdevices -y --adddev "$(part lvm)"
	vgcreate -q rnvme "$(part lvm)"
	lvcreate -q -y -l 100%FREE -n volume rnvme
	filled lvm /dev/rnvme/volume mkfs.ext4 -q

	# Few iterations, because QEMU's CPU is slow.
	printf secret | cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 "$(part luks)" -
	blkid -p -o value -s UUID "$(part luks)" >"$tmp/uuid.container"
	printf secret | cryptsetup open --key-file=- "$(part luks)" rnvme-luks
	filled luks /dev/mapper/rnvme-luks mkfs.ext4 -q

	# Of level 0, because the kernel warns of copies on one disk.
	mdadm --create /dev/md/rnvme --run --level=0 --raid-devices=2 "$(part md-a)" "$(part md-b)"
	settled
	mdadm --detail --export /dev/md/rnvme | sed -n 's/^MD_UUID=//p' >"$tmp/uuid.array"
	filled md /dev/md/rnvme mkfs.ext4 -q

	mkfs.btrfs -q -f -d raid1 -m raid1 "$(part btrfs-a)" "$(part btrfs-b)"
	filled btrfs "$(part btrfs-a)" true
	taken_down
}
array() { echo "/dev/disk/by-id/md-uuid-$(uuid array)"; }
taken_down() {
	settled
	vgchange -q -an rnvme
	[ ! -e /dev/mapper/rnvme-luks ] || cryptsetup close rnvme-luks
	mdadm --stop "$(realpath "$(array)")"
	btrfs device scan --forget
	settled
}

# The lines of LVM's devices file, without the disks' names and identifiers of volumes.
lvm_ids() {
	grep -o 'IDTYPE=[^ ]* IDNAME=[^ ]*\|PART=[0-9]*' "/etc/lvm/devices/$1" | xargs
}
lvm_id() {
	cat /etc/lvm/devices/system.devices
	same "devices" "IDTYPE=sys_wwid IDNAME=$(cat "/sys/block/$disk/wwid") PART=1" "$(lvm_ids system.devices)"
}
# What udev does by itself: it activates the volumes and the array, and tells the kernel about btrfs' devices.
assembled() {
	settled
	same "the volume's device" "$(realpath "$(part lvm)")" "$(pvs --noheadings -o pv_name | xargs realpath)"
	whole lvm
	printf secret | cryptsetup open --key-file=- "UUID=$(uuid container)" rnvme-luks
	whole luks
	same "devices of the array" "$(realpath "$(part md-a)" "$(part md-b)" | xargs)" \
		"$(mdadm --detail --export "$(array)" | sed -n 's/^MD_DEVICE_.*_DEV=//p' | sort | xargs)"
	whole md
	same "both parts are ready" "ID_BTRFS_READY=1 ID_BTRFS_READY=1" \
		"$(for part in a b; do udevadm info -q property "$(part btrfs-$part)" | grep ^ID_BTRFS_READY=; done | xargs)"
	whole btrfs
	taken_down
}
rebound() {
	unbind "$bdf"
	settled
	same "links" "" "$(compgen -G '/dev/disk/*/*' || true)"
	bind "$bdf"
	wait_for 20 test -b "/dev/$disk"
	assembled
}
theirs() {
	to_theirs
	assembled
	lvm lvmdevices -y --devicesfile theirs --adddev "$(part lvm)"
	same "LVM's line" "$(lvm_ids system.devices)" "$(lvm_ids theirs)"
	claims theirs
	settled
}
ours() {
	to_ours
	settled
	claims ours
	taken_down
}

# claims NAME: whether multipath's tools would take the disk, and its identifier, by which they would.
claims() {
	local name
	name=$(basename /sys/bus/pci/devices/"$bdf"/*nvme/nvme*/nvme*n1)
	{
		multipath -u "$name" || true
		udevadm info -q property "/dev/$name" | grep -E '^(ID_WWN|DM_MULTIPATH_DEVICE_PATH)='
	} >"$tmp/$1.claims"
}
same_claims() {
	cat "$tmp/ours.claims"
	grep "^ID_WWN=$(cat "/sys/block/$disk/wwid")\$" "$tmp/ours.claims"
	diff "$tmp/theirs.claims" "$tmp/ours.claims"
}
# While the path is away, the kernel's target keeps the requests, and sends them by the new one.
multipath_target() {
	local size path
	table() { echo "0 $size multipath 1 queue_if_no_path 0 $*"; }
	size=$(cat "/sys/block/$disk/size")
	path="1 1 round-robin 0 1 1 /dev/$disk 1000"
	dmsetup create rnvme-path --uuid "mpath-$(cat "/sys/block/$disk/wwid")" --table "$(table "$path")"
	background fio_on mapper/rnvme-path --rw=randrw --bs=4k --iodepth=16 --offset=700M --size=16M --verify=crc32c \
		--time_based --runtime=30
	wait_for 60 busy "$bdf" 200
	unbind "$bdf"
	wait_for 20 path_failed
	kill -0 "$job" || { echo "no request waited"; return 1; }
	# As multipathd does: without the path, and then with the new one.
	loaded "$(table 0 0)"
	bind "$bdf"
	wait_for 20 test -b "/dev/$disk"
	loaded "$(table "$path")"
	wait_for 60 busy "$bdf" 200
	wait_for 120 ended "$job"
	wait "$job" || { cat "$tmp/background"; return 1; }
	settled
	dmsetup remove rnvme-path
}
loaded() { # TABLE
	dmsetup suspend --noflush --nolockfs rnvme-path
	dmsetup load rnvme-path --table "$1"
	dmsetup resume rnvme-path
}
path_failed() { dmsetup status rnvme-path | grep -qE " [0-9]+:[0-9]+ F "; }

undo() {
	local mount
	dmsetup message rnvme-path 0 fail_if_no_path
	for mount in lvm luks md btrfs; do umount "$tmp/$mount"; done
	dmsetup remove -f rnvme-path rnvme-luks rnvme-volume
	mdadm --stop --scan
	btrfs device scan --forget
	udevadm control --exit
	rmmod nvme nvme_core
	umount -l /etc/lvm
} >/dev/null 2>&1

begin 7
# It replaces the machine's /etc/lvm.
[ -n "${TOPOLOGY:-}" ] || skip_all "not in a guest"
for program in udevadm sfdisk lvm cryptsetup mdadm mkfs.btrfs multipath; do
	type -P $program >/dev/null || skip_all "no $program: EXTRA=udev,fdisk,lvm2,cryptsetup-bin,mdadm,btrfs-progs,multipath-tools"
done
modprobe -a dm-mod dm-crypt dm-multipath raid0 btrfs 2>/dev/null || skip_all "a kernel without these"
need_theirs
mount -t tmpfs tmpfs /etc/lvm
mkdir /etc/lvm/devices
echo 'devices { use_devicesfile = 1 }' >/etc/lvm/lvm.conf
mkdir -p /run/udev/rules.d
cp "$top/udev/60-rust-nvme.rules" /run/udev/rules.d
/usr/lib/systemd/systemd-udevd --daemon
trap 'undo; clean_up' EXIT
take
load_disks
check "LVM, LUKS, md and btrfs on parts of a disk" created
check "LVM's devices file has the disk's wwid" lvm_id
check "udev and the tools assemble them after an unbind and a bind" rebound
check "so they do with the C driver, which gives LVM the same identifier" theirs
check "the disk is this driver's again" ours
# libmultipath makes paths only of disks below a device of the class nvme, which is the C driver's. It names no path
# of this driver's, with any configuration. Its kernel part doesn't ask.
check "multipath's tools leave the disk alone, and know it by the same identifier" same_claims
check "dm-multipath keeps requests while the disk is away" multipath_target
undo
finish
