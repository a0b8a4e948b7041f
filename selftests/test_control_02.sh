#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What the control device returns for good and bad arguments, to root and to a user without rights, beside the
# kernel's C driver: each result and each error must be the same. Also who may open the devices, and what only this
# driver refuses.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/beside.sh"

# Who may open the device is up to its mode; then the capability counts.
user="setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all"

# modes DEVICE: type, mode and owner of the control device, its disks and generic devices, with its number as X.
modes() {
	local number=${1#nvme}
	stat -c '%n: %F %a %U:%G' "/dev/$1" "/dev/$1"n* "/dev/ng$number"n* | sed -E "s,^/dev/(nvme|ng)$number,\1X,"
}
# record NAME
record() {
	local device
	device=$(control_of "$(nvme_devices | head -n 1)")
	# Before anything has changed them.
	modes "$device" >"$tmp/$1.modes"
	device=/dev/$device
	chmod 666 "$device"
	timeout 200 python3 "$here/ioctls.py" "$device" >"$tmp/$1.root" 2>&1
	# shellcheck disable=SC2086
	timeout 200 $user python3 "$here/ioctls.py" "$device" >"$tmp/$1.user" 2>&1
}
theirs() { to_theirs; record theirs; }
ours() { to_ours; log_mark ioctls; record ours; }
# What differs for a reason: if the C driver's copy to user space fails, nobody learns of it.
same_lines() { grep -v ': data beyond their page: ' "$1"; }
equal() { # root|user LINES
	at_least "lines" "$2" "$(wc -l <"$tmp/ours.$1")"
	refused grep Traceback "$tmp/ours.$1"
	diff <(same_lines "$tmp/theirs.$1") <(same_lines "$tmp/ours.$1")
	same "data beyond their page" EFAULT "$(sed -n 's/^admin: data beyond their page: \(\w*\) .*/\1/p' "$tmp/ours.$1" | sort -u)"
}
# The C driver lets root send these, and then the controller uses memory that isn't the command's any more.
own() {
	python3 - "/dev/$(control_of "$bdf")" <<-'END'
		import errno, fcntl, os, struct, sys
		fd = os.open(sys.argv[1], os.O_RDWR)
		for opcode in (0x00, 0x01, 0x04, 0x05, 0x0c, 0x7c):
		    arg = struct.pack("=BBHIIIQQII6III", opcode, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0)
		    try:
		        sys.exit(f"opcode {opcode:#x}: {fcntl.ioctl(fd, 0xC0484E41, arg)}")
		    except PermissionError:
		        pass
	END
	fio --name=after --filename="/dev/$disk" --rw=write --bs=4k --size=1m --verify=crc32c --direct=1 --output=/dev/null
}
equal_modes() {
	cat "$tmp/ours.modes"
	# No rule of udev's changes this mode.
	same "the control device" "nvmeX: character special file 600 root:root" "$(grep '^nvmeX:' "$tmp/ours.modes")"
	at_least "devices" 3 "$(wc -l <"$tmp/ours.modes")"
	diff "$tmp/theirs.modes" "$tmp/ours.modes"
}
quiet() {
	# A reset may end the scan that was asked for before.
	same "lines" "" "$(log_since ioctls | grep -v 'selftests\|resetting the controller\|Identify\|Get Log Page' | grep 'rust_nvme_demo\|nvme9' || true)"
}

begin 7
type -P setpriv >/dev/null || skip_all "no setpriv"
need_theirs
take
load_disks
check "the C driver's results" theirs
check "ours" ours
check "only root may open the control device, and each device has its mode and owner as with the C driver" equal_modes
check "root gets the same" equal root 380
check "a user without rights gets the same" equal user 380
check "nobody may create or delete queues, ask for events or set shadow doorbells" own
check "no line in the log but one for each reset" quiet
finish
