# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For tests that unplug the first controller of the topology hotplug and plug it again. After common.sh.

has_plug() { [ "${TOPOLOGY:-}" = hotplug ]; }
need_plug() { has_plug || skip_all "no topology with a controller that can be plugged again"; }
gone() { [ ! -e "/sys/bus/pci/devices/$1" ]; }
plug() { qmp device_add '{"driver": "nvme", "id": "nvme0", "bus": "port0", "serial": "rnvme-0", "subsys": "subsys0"}'; }
# Ways to unplug the controller at BDF, after which it is plugged again. With the slot's power switched off, QEMU
# unplugs without asking the guest.
surprise() {
	setpci -s "$(root_port "$1")" CAP_EXP+0x18.w=0x700:0x700
	qmp device_del '{"id": "nvme0"}'
	wait_for 60 gone "$1"
	plug
}
switch() {
	echo 0 >"$(grep -l "^${1%.*}$" /sys/bus/pci/slots/*/address | sed 's/address$/power/')"
	wait_for 60 gone "$1"
	plug
}
