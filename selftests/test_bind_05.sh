#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The driver binds to QEMU's controller, and to no other device unless the administrator asks
# for it.
. "$(dirname "$0")/common.sh"

only_qemu() {
	# With an alias, udev would load both this module and the kernel's C driver for a
	# device.
	same "aliases" "" "$(modinfo -F alias "$KO")"
	[[ $(modinfo -F description "$KO") = *"modprobe rust_nvme_demo"* ]]
}

no_other() {
	for dev in /sys/bus/pci/devices/*; do
		if [ "$(cat "$dev/vendor" "$dev/device" | xargs)" != "0x1b36 0x0010" ]; then
			[ ! -e "$driver/${dev##*/}" ]
		fi
	done
	same "controllers" "$(qemu_controllers)" "$(controllers)"
}
qemu_controllers() {
	for dev in $(nvme_devices); do
		[ "$(cat "/sys/bus/pci/devices/$dev/device")" != 0x0010 ] || echo "$dev"
	done
}

# driver_override with another driver's name keeps our driver away; with our driver's name it
# binds.
override() { # BDF
	dev=/sys/bus/pci/devices/$1
	[ ! -e "$dev/driver" ] || unbind "$1"
	echo none >"$dev/driver_override"
	refused bind "$1"
	echo rust_nvme_demo >"$dev/driver_override"
	bind "$1"
	same "state" live "$(c state "$1")"
	at_least "disks" 1 "$(disks "$1" | wc -l)"
	unbind "$1"
	echo >"$dev/driver_override"
}

new_id() { # BDF
	dev=/sys/bus/pci/devices/$1
	id=$(cut -c 3- "$dev/vendor" "$dev/device" | xargs)
	refused bind "$1"
	# The kernel probes the device at once.
	echo "$id" >"$driver/new_id"
	same "state" live "$(c state "$1")"
	at_least "disks" 1 "$(disks "$1" | wc -l)"
	dd if="/dev/$(disks "$1" | head -n 1)" of=/dev/null bs=64k count=16 iflag=direct
	echo "$id" >"$driver/remove_id"
	unbind "$1"
	refused bind "$1"
}

# The driver rejects a device that is no NVMe controller with a line in the log, even if the
# administrator asks for it.
no_nvme() { # BDF
	dev=/sys/bus/pci/devices/$1
	log_mark "$1"
	echo rust_nvme_demo >"$dev/driver_override"
	refused bind "$1"
	echo >"$dev/driver_override"
	log_since "$1"
	log_since "$1" | grep -q "rust_nvme_demo $1: "
	[ ! -e "$driver/$1" ]
}

# A device without a driver, with or without a memory BAR.
spare() {
	for dev in /sys/bus/pci/devices/*; do
		if [ ! -e "$dev/driver" ] && [ "$(cat "$dev/class")" != 0x010802 ]; then
			echo "${dev##*/}"
		fi
	done
}

begin 6
check "the module asks for 1b36:0010 and nothing else" only_qemu
load
check "it takes no other device" no_other
first=$(qemu_controllers | head -n 1)
if [ -n "$first" ]; then
	check "driver_override decides about a controller of QEMU's" override "$first"
else
	skip "driver_override decides about a controller of QEMU's" "there is none"
fi
other=$(nvme_devices | grep -vxF "$(qemu_controllers)" | head -n 1)
if [ -n "$other" ]; then
	check "driver_override makes it take a controller with another id" override "$other"
	check "new_id makes it take a controller with another id" new_id "$other"
else
	skip "driver_override makes it take a controller with another id" "there is none"
	skip "new_id makes it take a controller with another id" "there is none"
fi
for dev in $(spare); do spares=$dev; done
if [ -n "${spares:-}" ]; then
	all_refused() { for dev in $(spare); do no_nvme "$dev"; done; }
	check "a device that is no NVMe controller is refused with a reason" all_refused
else
	skip "a device that is no NVMe controller is refused with a reason" "there is no spare device"
fi
finish
