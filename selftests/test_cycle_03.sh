#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A controller is removed and added again, CYCLES times, with commands in flight: by surprise (its power
# is switched off first), by the slot's switch, and by removal from the bus. Another controller continues
# to work.
. "$(dirname "$0")/common.sh"

gone() { [ ! -e "/sys/bus/pci/devices/$bdf" ]; }
back() { [ "$(c state "$bdf" 2>/dev/null)" = live ] && [ "$(disks "$bdf" | wc -l)" = 2 ]; }
plug() {
	qmp device_add '{"driver": "nvme", "id": "nvme0", "bus": "port0", "serial": "rnvme-0", "subsys": "subsys0"}'
}

# As the slot's power controller: QEMU then unplugs without asking the guest.
surprise() {
	setpci -s "$port" CAP_EXP+0x18.w=0x700:0x700
	qmp device_del '{"id": "nvme0"}'
	wait_for 60 gone
	plug
}
switch() {
	echo 0 >"/sys/bus/pci/slots/$slot/power"
	wait_for 60 gone
	plug
}
bus() {
	echo 1 >"/sys/bus/pci/devices/$bdf/remove"
	wait_for 60 gone
	echo 1 >/sys/bus/pci/rescan
}
one() { # KIND
	"$1"
	wait_for 60 back
	wait_for 60 busy "$bdf" 10
}

begin 6
cycles 6
need_qemu
[ "${TOPOLOGY:-}" = hotplug ] || skip_all "no topology with a controller that can be plugged again"
load_disks timeout=5
port=$(basename "$(dirname "$(readlink -f "/sys/bus/pci/devices/$bdf")")")
slot=$(grep -l "^${bdf%.*}$" /sys/bus/pci/slots/*/address | cut -d/ -f6)
witness other --steady --jobs 1 rnvme-1/1
witness witness rnvme-0/1 rnvme-0/2
check "$cycles removals by surprise under load, and nothing grows" many 2 "$cycles" "removals (surprise) under load" one surprise
check "removals by the slot's switch, and nothing grows" many 2 $((cycles / 2)) "removals (switch) under load" one switch
check "removals from the bus, and nothing grows" many 2 $((cycles / 2)) "removals (bus) under load" one bus
check "no acknowledged write is lost, and none comes late" testify witness
check "the other controller doesn't notice" testify other
check "the module unloads" unload
finish
