#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The identifiers of a mounted namespace change, or are missing temporarily, or its controller has another
# identity after a reset. If the driver trusts the identifiers, they decide whether the disk stays;
# otherwise (for QEMU's PCI ids) the controller's vendor, serial and model decide.
. "$(dirname "$0")/common.sh"

seq() { cat "/sys/block/$disk/diskseq" 2>/dev/null; }
another() { [ -b "/dev/$disk" ] && [ "$(seq)" != "$before" ]; }
# No admin command for a while, so the scan has ended.
settled() {
	local commands
	commands=$(q 0 submitted)
	sleep 1
	live && [ "$(q 0 submitted)" = "$commands" ]
}
# A UUID descriptor whose UUID repeats one byte.
uuid() { printf '03100000%032x' "$1"; }

mounted() {
	mkfs.ext4 -q -F "/dev/$disk" 32M
	mkdir -p "$tmp/mnt"
	mount "/dev/$disk" "$tmp/mnt"
	head -c 4M /dev/urandom >"$tmp/mnt/file"
	sync "$tmp/mnt/file"
	sum=$(sha256sum <"$tmp/mnt/file")
}
# kept|lost BY CHANGE…: whether the disk stays when the changes come with a rescan or a reset.
kept() {
	mounted
	before=$(seq)
	log_mark kept
	AMENDED_BY=$1 amended "${@:2}"
	wait_for 60 settled
	same "disk" "$before" "$(seq)"
	cold "$tmp/mnt/file"
	same "the file" "$sum" "$(sha256sum <"$tmp/mnt/file")"
	echo more >"$tmp/mnt/more"
	sync "$tmp/mnt/more"
	umount "$tmp/mnt"
	fsck.ext4 -fn "/dev/$disk"
	same "lines" "" "$(log_since kept | grep "namespace 1:" || true)"
	honest
}
lost() { # REASON BY CHANGE…
	mounted
	before=$(seq)
	log_mark lost
	AMENDED_BY=$2 amended "${@:3}"
	wait_for 60 logged lost "namespace 1: $1" >"$tmp/logged"
	wait_for 60 another
	wait_for 60 settled
	refused timeout 10 dd if=/dev/zero of="$tmp/mnt/other" bs=4k count=1 conv=fsync
	umount "$tmp/mnt"
	fsck.ext4 -fy "/dev/$disk" || [ $? = 1 ]
	honest
}
# Undo the changes.
honest() {
	reset_controller
	wait_for 30 live
	wait_for 60 settled
	wait_for 30 test -b "/dev/$disk"
}
# by_ids|by_device REASON BY CHANGE…: lost if identifiers or device decide, else kept.
by_ids() { if trusted; then lost "$@"; else kept "${@:2}"; fi; }
by_device() { if trusted; then kept "${@:2}"; else lost "$@"; fi; }

# The driver remembers identifiers that the controller once didn't report.
missing_for_once() {
	kept rescan "3/1:0=00000000"
	AMENDED_BY=rescan amended "3/1:0=00000000"
	by_ids "its identifiers have changed" rescan "3/1:0=$(uuid 3)"
}

begin 5
need_qemu
take
load_disks timeout="$patience" "${trust[@]}"
[ "$(disks | xargs)" = nvme900n1 ] || skip_all "not one namespace"
need_poke
what=$(trusted && echo "the disk goes" || echo "the disk stays")
device=$(trusted && echo "the disk stays" || echo "the disk goes")
check "another UUID at a rescan: $what" by_ids "its identifiers have changed" rescan "3/1:0=$(uuid 1)"
check "another UUID after a reset: $what" by_ids "its identifiers have changed" reset "3/1:0=$(uuid 2)"
check "no identifier for once: the disk stays" missing_for_once
check "another serial number after a reset: $device" by_device \
	"its controller has another vendor, serial or model number" reset "1/0:4=41424344"
check "the module unloads" unload
finish
