#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Reservations, IOC_PR_*: the commands and what the caller gets for each answer of the controller. QEMU's controller
# has none, so reservations.py plays one.
. "$(dirname "$0")/common.sh"

plays() {
	local rc=0
	timeout 500 python3 "$here/reservations.py" "/dev/$disk" "$bdf" "$top/qemu/qmp" >"$tmp/calls" 2>&1 || rc=$?
	cat "$tmp/calls"
	same "exit status" 0 $rc
	same "calls" 47 "$(wc -l <"$tmp/calls")"
}
# The controller's answer to user space without the player.
refuses_all() {
	python3 - "/dev/$disk" <<-'END'
		import errno, fcntl, os, struct, sys
		fd = os.open(sys.argv[1], os.O_RDWR)
		try:
		    fcntl.ioctl(fd, 0x401070C9, struct.pack("=QII", 7, 1, 0))
		    sys.exit("not refused")
		except OSError as error:
		    print(errno.errorcode[error.errno])
	END
}
refusal() { same "refusal" EINVAL "$(refuses_all)"; }
io() {
	same "state" live "$(c state)"
	same "resets" 0 "$(c resets)"
	same "in flight" 0 "$(sum inflight)"
	fio_on "$disk" --rw=randrw --bs=4k --iodepth=16 --size=8M --verify=crc32c
}

begin 3
need_qemu
load_disks timeout=$((2 * patience))
need_poke
type -P setpci >/dev/null || skip_all "no setpci"
check "commands, data and answers" plays
check "a controller without reservations refuses them" refusal
check "afterwards the disk works" io
finish
