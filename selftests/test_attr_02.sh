#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The files in sysfs, beside the kernel's C driver on the same controllers: each file of the PCI device, the control
# device, the disks and the generic devices is there with this driver, too, with the same type and mode. The files of
# the control device and of the disks have the same content.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/beside.sh"

# What this driver doesn't have, for a reason:
# - pools of the PCI device lists the kernel's DMA pools, which it doesn't use;
# - hwmonN of the control device is in hwmon/ of the PCI device, where tools find it, too;
# - p2pmem of the PCI device, cmb, cmbloc and cmbsz are about the controller's memory buffer, which it doesn't use;
# - the disk's others are about the paths of a disk of several controllers, which it doesn't make.
missing='(pci . [0-7]* (pools|p2pmem)|control . [0-7]* (hwmonN|cmb|cmbloc|cmbsz)|disk[0-9]* . [0-7]* (numa_nodes|queue_depth|diag/multipath_failover_count))'
# What has another content, for a reason: device numbers, counts of I/O, the disks' sequence numbers, which never
# repeat, and the time limit of admin commands, which is the module's parameter here.
other='[^ ]* (admin_timeout|dev|stat|inflight|diskseq|uevent (MAJOR|MINOR|DISKSEQ)=.*)( |$)'

# The devices of $bdf, each with its name in the lists and its directory.
devices() {
	local control disk
	control=/sys/bus/pci/devices/$bdf/$(cd "/sys/bus/pci/devices/$bdf" && echo *nvme)/$device
	echo "pci /sys/bus/pci/devices/$bdf"
	echo "control $control"
	for disk in "$control/$device"n*; do
		echo "disk$(cat "$disk/nsid") $disk"
	done
	for disk in "$control/ng${device#nvme}"n*; do
		# A generic device has its disk's number.
		echo "generic$(cat "$control/nvme${disk##*/ng}/nsid") $disk"
	done
}
# Names without the driver's numbers.
same_names() {
	sed -E "s/\\b(nvme|ng)${device#nvme}(n[0-9]+)?\\b/\\1X\\2/g; s/\\bhwmon[0-9]+\\b/hwmonN/; s/ rnvme\$/ nvme/; s/X(n[0-9]+)\\b/XnN/g"
}
# record NAME: $tmp/NAME.files and $tmp/NAME.values.
record() {
	local bdf device what dir
	for bdf in $(nvme_devices); do
		device=$(control_of "$bdf")
		devices >"$tmp/devices"
		while read -r what dir; do
			# Without the directories of devices below this one, each of which is a line of its own.
			find "$dir/" -mindepth 1 -maxdepth "$([ "$what" = pci ] && echo 1 || echo 2)" \
				-printf "$bdf $what %y %m %P\n" \
				\( -name "${device}n*" -o -name "ng*n*" -o -name 'hwmon*' \) -prune | same_names
		done <"$tmp/devices" | sort >>"$tmp/$1.files"
		grep '^[cd]' "$tmp/devices" | while read -r what dir; do
			(cd "$dir" && find . -maxdepth 2 \
				\( -name "${device}n*" -o -name "ng*n*" -o -name 'hwmon*' -o -name queue -o -name power -o -name trace \) -prune \
				-o -type f -perm -400 -print0 | xargs -0 grep -sH '' | sed "s|^./\([^:]*\):|$bdf $what \1 |") | same_names
		done | grep -vE "^[^ ]* $other" | sort >>"$tmp/$1.values"
	done
}
theirs() { to_theirs; record theirs; }
ours() { to_ours; record ours; }
same_files() {
	at_least "files" "$((100 * $(nvme_devices | wc -l)))" "$(wc -l <"$tmp/theirs.files")"
	# The C driver's files without ours.
	same "missing" "" "$(comm -23 "$tmp/theirs.files" "$tmp/ours.files" | grep -vE "^[^ ]* $missing\$" || true)"
}
# common NAME OTHER: the lines of NAME whose files OTHER has, too.
common() {
	awk '{ key = $1 " " $2 " " $3 } NR == FNR { there[key] = 1; next } there[key]' "$tmp/$2.values" "$tmp/$1.values"
}
same_values() {
	common ours theirs
	at_least "values" "$((40 * $(nvme_devices | wc -l)))" "$(common ours theirs | wc -l)"
	diff <(common theirs ours) <(common ours theirs)
}

begin 4
need_theirs
take
load_disks
check "the C driver's files" theirs
check "ours" ours
check "each file of the C driver's is there, with its mode" same_files
check "the content of the files is the same" same_values
finish
