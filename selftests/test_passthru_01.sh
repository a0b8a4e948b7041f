#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# I/O commands from user space, beside the kernel's C driver on the same controller: ioctls with good and bad
# arguments, to root, to a user without rights, by a file opened for reading, on a partition, on the generic device;
# and nvme-cli. Each result and each error must be the same. Also what only this driver refuses.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/beside.sh"

user="setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all"

# The only disk, of either driver.
their_or_our_disk() { find /sys/block -maxdepth 1 -name 'nvme*n*' -printf '%f\n' | head -n 1; }
# partition DISK: makes an MBR with a partition of 2048 blocks.
partition() {
	python3 - "$1" <<-'END'
		import struct, sys
		with open(sys.argv[1], "r+b") as disk:
		    entry = struct.pack("<B3sB3sII", 0, b"", 0x83, b"", 256, 2048)
		    disk.write(bytes(446) + entry + bytes(48) + b"\x55\xaa")
	END
	blockdev --rereadpt "$1"
}
ioctls() { timeout 200 "$@" 2>&1 || true; }
# tool COMMAND…: the output of nvme-cli and its exit status, with the disk's name replaced.
tool() {
	local rc=0
	echo "--- $*"
	timeout 60 nvme "$@" 2>&1 || rc=$?
	echo "rc $rc"
}
tools() { # DEVICE BLOCK SIZE
	local block=$2 n
	n=$((8192 / block))
	head -c 8192 /dev/zero | tr '\0' 'a' >"$tmp/data"
	head -c 8192 /dev/zero | tr '\0' 'b' >"$tmp/other"
	tool get-ns-id "$1"
	tool id-ns "$1" -n 1
	tool write "$1" -s 16 -c $((n - 1)) -z 8192 -d "$tmp/data"
	tool read "$1" -s 16 -c $((n - 1)) -z 8192 -d "$tmp/back"
	cmp "$tmp/data" "$tmp/back"
	tool compare "$1" -s 16 -c $((n - 1)) -z 8192 -d "$tmp/data"
	tool compare "$1" -s 16 -c $((n - 1)) -z 8192 -d "$tmp/other"
	tool verify "$1" -s 16 -c $((n - 1))
	tool write-zeroes "$1" -s 16 -c 0
	tool write-uncor "$1" -s 17 -c 0
	tool flush "$1"
	tool dsm "$1" -d -s 32 -b 4
	tool copy "$1" -d 64 -s 17 -b 0
	tool io-passthru "$1" --opcode=2 -n 1 -l "$block" -r --cdw10=17 --cdw12=0
	tool io-passthru "$1" --opcode=1 -n 1 -l "$block" -w -i "$tmp/other" --cdw10=17 --cdw12=0
	tool io-passthru "$1" --opcode=2 -n 1 -l "$block" -r --cdw10=17 --cdw12=0
	tool io-passthru "$1" --opcode=2 -n 7 -l "$block" -r --cdw10=17 --cdw12=0
	tool resv-report "$1" -n 1
	tool read "$1" -s 0xfffffffff -c 0 -z "$block" -d "$tmp/back"
}
# record NAME: $tmp/NAME.* has what there is to compare.
record() {
	local disk generic block
	disk=$(their_or_our_disk)
	partition "/dev/$disk"
	wait_for 20 test -b "/dev/${disk}p1"
	generic=${disk/nvme/ng}
	chmod 666 "/dev/$disk" "/dev/${disk}p1" "/dev/$generic"
	ioctls python3 "$here/passthru.py" "/dev/$disk" all >"$tmp/$1.root"
	ioctls python3 "$here/passthru.py" "/dev/$generic" all >"$tmp/$1.generic"
	ioctls python3 "$here/passthru.py" "/dev/${disk}p1" few >"$tmp/$1.partition"
	# shellcheck disable=SC2086
	{
		ioctls $user python3 "$here/passthru.py" "/dev/$disk" few >"$tmp/$1.user"
		ioctls $user python3 "$here/passthru.py" "/dev/$disk" ro >"$tmp/$1.readonly"
		ioctls $user python3 "$here/passthru.py" "/dev/$generic" few >"$tmp/$1.generic_user"
		ioctls $user python3 "$here/passthru.py" "/dev/$generic" ro >"$tmp/$1.generic_readonly"
	}
	block=$(blockdev --getss "/dev/$disk")
	{ tools "/dev/$disk" "$block"; tools "/dev/$generic" "$block"; } 2>&1 | sed "s/$disk/DISK/g; s/$generic/GENERIC/g" >"$tmp/$1.tools"
}
theirs() { to_theirs; record theirs; }
ours() { to_ours; record ours; }
equal() { # WHAT LINES
	at_least "lines" "$2" "$(wc -l <"$tmp/ours.$1")"
	refused grep -E 'Traceback|command not found' "$tmp/ours.$1"
	diff "$tmp/theirs.$1" "$tmp/ours.$1"
}
also_generic() {
	equal generic_user 90
	equal generic_readonly 90
	# Reservations are for disks.
	diff <(grep -v ^reservation "$tmp/ours.user") <(grep -v ^reservation "$tmp/ours.generic_user")
}
# Each good call reached the controller, which refused the command.
reservations_sent() {
	same "refused" 8 "$(grep -c '^reservation: [a-z]* 0: EINVAL' "$tmp/ours.root")"
}
tools_equal() {
	equal tools 120
	at_least "commands that succeed" 26 "$(grep -cx 'rc 0' "$tmp/ours.tools")"
}
# The C driver lets the controller access the memory after the data, and a user's command for a partition (by
# NVME_IOCTL_IO_CMD) the rest of the disk.
own() {
	local disk
	disk=$(disks | head -n 1)
	python3 "$here/passthru.py" "/dev/$disk" short >"$tmp/short"
	python3 "$here/passthru.py" "/dev/${disk/nvme/ng}" short >>"$tmp/short"
	at_least "lines" 24 "$(wc -l <"$tmp/short")"
	same "not refused" "" "$(grep -v 'EINVAL' "$tmp/short" || true)"
	# shellcheck disable=SC2086
	$user python3 "$here/passthru.py" "/dev/${disk}p1" few >"$tmp/partition"
	refused grep -E '^(io|io64|pieces|flush|verify|submit).*: 0x' "$tmp/partition"
	fio_on "$disk" --rw=write --bs=4k --size=1m --verify=crc32c
}
quiet() {
	same "lines" "" "$(log_since ioctls | grep -v 'selftests\|I/O queues:\|nvme900n1: p1' | grep 'rust_nvme_demo\|nvme9\|I/O error' || true)"
}

begin 12
type -P setpriv nvme blockdev >/dev/null || skip_all "no setpriv, nvme or blockdev"
need_theirs
take
load_disks
check "the C driver's results" theirs
log_mark ioctls
check "ours" ours
check "root gets the same" equal root 180
check "also on the generic device" equal generic 180
check "also on a partition" equal partition 90
check "a user without rights gets the same" equal user 90
check "also by a file opened for reading" equal readonly 90
check "also on the generic device" also_generic
check "calls about reservations reach the controller" reservations_sent
check "nvme-cli prints the same" tools_equal
check "short data are refused, and partitions to users without rights" own
check "no line in the log" quiet
finish
