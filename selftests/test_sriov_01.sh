#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A physical function and its virtual function, both driven by the driver: user space enables the virtual
# function by sriov_numvfs, gives it queues by the physical function's control device, and takes it away.
. "$(dirname "$0")/common.sh"

pci=/sys/bus/pci/devices
virtual_functions() { cat "$pci/$bdf/sriov_numvfs"; }
write_number() { echo "$1" >"$pci/$bdf/sriov_numvfs"; }
here_is_io() { dd if="/dev/$1" of=/dev/null bs=64k count=8 iflag=direct; }

enabled() {
	write_number 1
	same "virtual functions" 1 "$(virtual_functions)"
	virtual=$(basename "$(readlink "$pci/$bdf/virtfn0")")
	echo "$virtual" >"$tmp/virtual"
	[ -e "$pci/$virtual" ]
	same "state of the physical function" live "$(c state "$bdf")"
	here_is_io "$disk"
}
refused() {
	if write_number 2 2>"$tmp/said"; then return 1; fi
	grep "Numerical result out of range" "$tmp/said"
	same "virtual functions" 1 "$(virtual_functions)"
}
driven() {
	virtual=$(cat "$tmp/virtual")
	resources 4 4
	# Without a driver of its own choice it has none.
	same "driver" "" "$(driver_of "$virtual")"
	echo rust_nvme_demo >"$pci/$virtual/driver_override"
	echo "$virtual" >"$driver/bind"
	same "state" live "$(c state "$virtual")"
	same "I/O queues" 3 "$(c io_queues "$virtual")"
	other=$(disks "$virtual")
	# The namespace is the physical function's, too.
	head -c 64k /dev/urandom >"$tmp/data"
	dd if="$tmp/data" of="/dev/$other" bs=64k oflag=direct
	dd if="/dev/$disk" bs=64k count=1 iflag=direct | cmp - "$tmp/data"
}
taken_away() {
	virtual=$(cat "$tmp/virtual")
	background fio_on "$(disks "$virtual")" --rw=randread --bs=4k --iodepth=8 --size=32m --time_based \
		--runtime=100 --continue_on_error=all
	wait_for 30 busy "$virtual" 100
	write_number 0
	[ ! -e "$pci/$virtual" ]
	same "controllers" "$bdf" "$(controllers)"
	here_is_io "$disk"
	stop
}
# As with the kernel's nvme, the virtual functions stay.
outlives() {
	write_number 1
	unload
	same "virtual functions" 1 "$(virtual_functions)"
	load shared_namespaces=1
	same "virtual functions" 1 "$(virtual_functions)"
	write_number 0
	same "virtual functions" 0 "$(virtual_functions)"
	here_is_io "$(disks "$bdf")"
}

begin 6
for bdf in $(nvme_devices); do
	[ ! -e "$pci/$bdf/sriov_numvfs" ] || break
done
[ -e "$pci/$bdf/sriov_numvfs" ] || skip_all "no controller with virtual functions"
command -v nvme >/dev/null || skip_all "no nvme-cli"
echo 0 >"$pci/$bdf/sriov_drivers_autoprobe"
load shared_namespaces=1
disk=$(disks "$bdf")
physical=$(c name "$bdf")
check "sriov_numvfs enables the virtual function" enabled
check "a number beyond the controller's is refused" refused
check "the virtual function gets queues, and has a disk" driven
check "it goes away under load, and the physical function works on" taken_away
check "virtual functions outlive the module" outlives
check "the module unloads" unload
finish
