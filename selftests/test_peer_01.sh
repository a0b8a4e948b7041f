#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Peer-to-peer DMA between our disk and another device's memory: the CMB of a second controller
# behind the same switch, which the C driver provides to user space.
. "$(dirname "$0")/common.sh"

to_theirs() {
	unbind "$peer"
	echo nvme >"/sys/bus/pci/devices/$peer/driver_override"
	modprobe nvme
	[ "$(driver_of "$peer")" = nvme ] ||
		echo "$peer" >/sys/bus/pci/drivers/nvme/bind
	there() { [ -e "/sys/bus/pci/devices/$peer/p2pmem/allocate" ]; }
	wait_for 20 there
	same published 1 "$(file "/sys/bus/pci/devices/$peer/p2pmem/published")"
}
transfer() {
	"$here/peer.py" "/dev/$disk" "/sys/bus/pci/devices/$peer/p2pmem/allocate" "$1"
}
# QEMU's trace shows the data's addresses, which are in the range of the peer's memory.
direct() {
	local found start end
	read -r start end _ < <(sed -n 3p "/sys/bus/pci/devices/$peer/resource")
	found=$(python3 - "$RUN/trace" "$start" "$end" <<-'END'
		import re, sys
		start, end = (int(word, 16) for word in sys.argv[2:4])
		with open(sys.argv[1], encoding="utf-8", errors="replace") as f:
		    found = [int(x, 16) for x in re.findall(r"pci_nvme_map_addr addr (0x[0-9a-f]+)", f.read())]
		print(sum(start <= x <= end for x in found))
	END
	)
	say "$found pieces of data from or to the peer's memory"
	at_least "pieces" 100 "$found"
}
# No memory of the peer stays in use, so its device can be removed.
released() {
	free() { [ "$(file "/sys/bus/pci/devices/$peer/p2pmem/available")" = "$available" ]; }
	wait_for 20 free
	rmmod nvme
	# Otherwise the C driver would keep it during later tests.
	echo >"/sys/bus/pci/devices/$peer/driver_override"
	unload
}

begin 6
[ "${TOPOLOGY:-}" = peers ] || skip_all "no topology with a device whose memory others can reach"
grep -q ' pci_p2pmem_publish$' /proc/kallsyms || skip_all "a kernel without p2pmem"
load_disks
peer=$(controllers | tail -n 1)
check "the C driver has the peer, and offers its memory" to_theirs
available=$(file "/sys/bus/pci/devices/$peer/p2pmem/available")
check "pieces of every size from and into the peer's memory" transfer sizes
check "requests of the peer's and the machine's memory" transfer mixed
check "from the peer's memory into itself, by way of the disk" transfer itself
if [ -r "${RUN:-}/trace" ]; then
	check "QEMU has seen the data go there directly" direct
else
	skip "QEMU has seen the data go there directly" "no trace of QEMU's"
fi
check "the memory is given back, and both drivers go" released
finish
