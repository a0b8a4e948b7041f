#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What names and identifies a disk, beside the kernel's C driver on the same devices: the files in sysfs,
# and with systemd-udevd the links in /dev/disk, udev's properties, modes and owners of the devices, and what lsblk and
# blkid print.
. "$(dirname "$0")/common.sh"

files="wwid uuid nguid eui csi nsid metadata_bytes nuse"
# Both drivers trust the second controller's identifiers only if told so.
theirs="quirks=8086:5845:^bogus_nid"

settled() { udevadm settle --timeout=60; }
# udev may still have a disk open.
to_theirs() {
	settled
	unload
	for bdf in "$@"; do echo >"/sys/bus/pci/devices/$bdf/driver_override"; done
	modprobe nvme_core multipath=N
	modprobe nvme "$theirs"
	there() { [ "$(find /sys/block -maxdepth 1 -name 'nvme*n*' | wc -l)" = "$disks" ]; }
	wait_for 20 there
	settled
}
to_ours() {
	settled
	rmmod nvme nvme_core
	take
	load "${trust[@]}"
	same "disks" "$disks" "$(disks | wc -l)"
	settled
}

# The number of a disk's controller, in the order of addresses. The C driver numbers controllers as their
# probes end, which is any order.
controller_of() { nvme_devices | grep -nxF "$(readlink -f "$1" | grep -oE '[0-9a-f:]+\.[0-9a-f]' | tail -n 1)" | cut -d: -f1; }

# above DIR: which device is above a disk or a generic device in sysfs.
above() {
	local disk=${1##*/} above
	disk=${disk/ng/nvme} above=$(dirname "$(readlink -f "$1")")
	[ "${above##*/}" != "${disk%n*}" ] || above="its control device"
	echo "$disk $(basename "$(readlink -f "$1/subsystem")" | sed s/^rnvme/nvme/): $above"
}
# unique DISK: the identifier that the driver tells the pNFS server, or an error.
unique() {
	printf /dev/%s "$1" >/sys/module/unique/parameters/disk
	cat /sys/module/unique/parameters/disk
}
# record NAME: $tmp/NAME.* has what there is to compare.
record() {
	local dir file device
	for dir in /sys/block/nvme*n*; do
		printf 's/%s(p[0-9]+)?([^0-9]|$)/disk%sn%d\\1\\2/g\n' "${dir##*/}" "$(controller_of "$dir")" "$(cat "$dir/nsid")"
	done >"$tmp/sed"
	# Disks' sequence numbers never repeat.
	echo 's|by-diskseq/[0-9]+|by-diskseq/N|' >>"$tmp/sed"
	for dir in /sys/block/nvme*n*; do
		for file in $files; do
			echo "${dir##*/} $file $(cat "$dir/$file" 2>/dev/null || echo none)"
		done
	done | same_names >"$tmp/$1.files"
	if [ -e /sys/module/unique ]; then
		for dir in /sys/block/nvme*n*; do echo "${dir##*/} $(unique "${dir##*/}")"; done | same_names >"$tmp/$1.unique"
		echo >/sys/module/unique/parameters/disk
	fi
	for dir in /sys/block/nvme*n* /sys/class/*nvme-generic/ng*; do above "$dir"; done | same_names >"$tmp/$1.above"
	for device in /sys/class/block/nvme*; do
		udevadm info -q symlink "$device" | tr ' ' '\n' | sed "s/^/${device##*/} /"
	done | same_names >"$tmp/$1.links"
	# udev makes ID_PATH_TAG of the path, which rules can't. Device numbers depend on the order.
	for device in /sys/class/block/nvme*; do
		udevadm info -q property "$device" | grep '^ID_' | grep -Ev '^ID_(PATH_TAG|PART_ENTRY_DISK)=' | sed "s/^/${device##*/} /"
	done | same_names >"$tmp/$1.properties"
	for device in /dev/nvme* /dev/ng*; do
		case $device in
		/dev/ng*) file="generic device of nvme${device#/dev/ng}" ;;
		*n[0-9]*) file=${device#/dev/} ;;
		*) file="control device" ;;
		esac
		echo "$file: $(stat -c '%F %a %U:%G' "$device")"
	done | same_names >"$tmp/$1.modes"
	lsblk -lo NAME,MODEL,SERIAL,WWN,TRAN,FSTYPE,LABEL,UUID | grep ^nvme | tr -s ' ' | same_names >"$tmp/$1.lsblk"
}
# The disks' names by controller and NSID: the C driver numbers namespaces in the order of their detection.
same_names() { sed -E -f "$tmp/sed" | sort; }
equal() { # WHAT LINES
	cat "$tmp/ours.$1"
	at_least "lines" "$2" "$(wc -l <"$tmp/ours.$1")"
	diff "$tmp/theirs.$1" "$tmp/ours.$1"
}

partitioned() {
	local disk dir
	for dir in /sys/block/nvme*n*; do
		[ "$(controller_of "$dir") $(cat "$dir/nsid")" != "1 1" ] || disk=${dir##*/}
	done
	printf '%s\n' 'label: gpt' 'size=32M, name=first' 'size=32M, type=S, name=second' | sfdisk -q "/dev/$disk"
	settled
	mkfs.ext4 -q -L ext4-label "/dev/${disk}p1"
	mkswap -q -L swap-label "/dev/${disk}p2"
	settled
	# udev may not have seen the end of the writing.
	udevadm trigger --settle -c change "/sys/class/block/${disk}p1" "/sys/class/block/${disk}p2"
}
recorded() {
	to_theirs "$@"
	partitioned
	record theirs
	to_ours
	record bare
	settled
	unload
	cp "$top/udev/60-rust-nvme.rules" /run/udev/rules.d
	udevadm control --reload
	load "${trust[@]}"
	settled
	record ours
}
# Without the project's rules only the paths differ.
bare() {
	local what
	for what in links properties; do
		diff <(grep -v 'disk/by-path/\|ID_PATH=' "$tmp/ours.$what") <(grep -v 'disk/by-path/\|ID_PATH=' "$tmp/bare.$what")
		refused cmp "$tmp/ours.$what" "$tmp/bare.$what"
	done
	diff "$tmp/ours.modes" "$tmp/bare.modes"
}
# Kinds of links that the disk and its first partition have.
kinds() {
	local kind
	for kind in by-id by-path by-diskseq by-uuid by-label by-partuuid by-partlabel; do
		grep -q "^disk1n1p1 disk/$kind/" "$tmp/ours.links" || { echo "no $kind"; return 1; }
	done
}
used() {
	local uuid
	uuid=$(blkid -o value -s UUID /dev/disk/by-label/ext4-label)
	mkdir -p "$tmp/mnt"
	mount "UUID=$uuid" "$tmp/mnt"
	grep -q "^/dev/nvme900n1p1 $tmp/mnt ext4 " /proc/mounts
	umount "$tmp/mnt"
	mount "PARTLABEL=first" "$tmp/mnt"
	umount "$tmp/mnt"
	swapon LABEL=swap-label
	grep -q "^/dev/nvme900n1p2 " /proc/swaps
	swapoff LABEL=swap-label
	same "by its label" /dev/nvme900n1p1 "$(findfs LABEL=ext4-label)"
	same "group and mode" "disk 660" "$(stat -c '%G %a' /dev/nvme900n1)"
}
# A disk that was removed while it was open has no identifier.
unique_is_gone() {
	local disk bdf
	disk=$(basename "$(dirname "$(grep -l . /sys/block/nvme*/nguid | tail -n 1)")")
	bdf=$(cat "/sys/class/rnvme/${disk%n*}/address")
	refused grep '^-' <(unique "$disk")
	unbind "$bdf"
	# ENODEV
	grep -x -- -19 /sys/module/unique/parameters/disk
	rmmod unique
	bind "$bdf"
	wait_for 20 test -b "/dev/$disk"
}
gone() {
	settled
	unload
	settled
	same "links" "" "$(find /dev/disk -type l)"
}

begin 13
[ "${TOPOLOGY:-}" = named ] || skip_all "no topology with all kinds of identifiers"
type -P udevadm sfdisk >/dev/null || skip_all "no udev in the guest: EXTRA=udev,fdisk"
if [ -e /sys/module/nvme ] || ! modinfo nvme >/dev/null 2>&1; then
	skip_all "the C driver can't be loaded and unloaded"
fi
mkdir -p /run/udev/rules.d
/usr/lib/systemd/systemd-udevd --daemon
trap '{ udevadm control --exit; rmmod unique; rmmod nvme nvme_core; } >/dev/null 2>&1; clean_up' EXIT
take
load_disks "${trust[@]}"
disks=$(disks | wc -l)
[ ! -r "$here/poke/unique.ko" ] || insmod "$here/poke/unique.ko"
# shellcheck disable=SC2046 # words
check "a GPT, a file system and swap, seen by both drivers" recorded $(nvme_devices)
check "the files in sysfs are the C driver's" equal files $((8 * disks))
check "disks and generic devices are below the same device" equal above $((2 * disks))
check "the links in /dev/disk are of the same kinds and names" equal links $((4 * disks))
check "there is a link of each kind" kinds
check "udev's properties are the same" equal properties $((6 * disks))
check "without the project's rules only paths differ" bare
check "modes and owners of the devices are the same" equal modes $((2 * disks + 2))
check "lsblk prints the same" equal lsblk "$disks"
if [ -e /sys/module/unique ]; then
	check "the pNFS server gets the same identifiers" equal unique "$disks"
	check "it gets none of a disk that was removed" unique_is_gone
else
	skip "the pNFS server gets the same identifiers" "no unique.ko: make M=selftests/poke"
	skip "it gets none of a disk that was removed" "no unique.ko: make M=selftests/poke"
fi
check "mount by UUID and PARTLABEL, swapon by LABEL" used
check "no link is left" gone
udevadm control --exit
finish
