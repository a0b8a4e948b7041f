#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The instance numbers in the controllers' and disks' names: the lowest that is free, from 900 or the
# parameter first_instance on. A name that another driver's disk has is refused.
. "$(dirname "$0")/common.sh"

names() { disks "$1" | xargs; }
# named BDF NAME: the controller and its first disk have this name.
named() {
	same "name of $1" "$2" "$(c name "$1")"
	same "disk of $1" "$2n1" "$(names "$1")"
	[ -b "/dev/$2n1" ]
}

lowest_first() {
	named "$first" nvme900
	named "$second" nvme901
	unbind "$first"
	named "$second" nvme901
	bind "$first"
	named "$first" nvme900
	unbind "$first"
	unbind "$second"
	bind "$second"
	named "$second" nvme900
	bind "$first"
	named "$first" nvme901
}
# The number is free when the controller is unbound, even if its disk is still open.
while_open() {
	exec 8<"/dev/$(names "$first")"
	unbind "$first"
	bind "$first"
	named "$first" nvme901
	refused dd if=/dev/fd/8 of=/dev/null count=1
	exec 8<&-
	unload
}

parameter() {
	load first_instance=950
	named "$first" nvme950
	named "$second" nvme951
	unload
	log_mark range
	refused load first_instance=10000
	logged range "first_instance=10000 is out of range: 0 to 9999"
	modinfo -F parm "$KO" | grep '^first_instance:.* 0 to 9999 '
}

# The second controller is the C driver's, and its disk nvme0n1.
name_taken() {
	modprobe nvme_core multipath=N
	echo nvme >"/sys/bus/pci/devices/$second/driver_override"
	modprobe nvme
	wait_for 20 test -b /dev/nvme0n1
	log_mark taken
	load first_instance=0
	same "name" nvme0 "$(c name "$first")"
	same "disks" "" "$(names "$first")"
	same "state" live "$(c state "$first")"
	same "warnings" 1 "$(log_since taken | grep -c "$first: the name nvme0: a controller of the kernel's nvme may have it, too")"
	same "lines" 1 "$(log_since taken | grep -c 'namespace 1: no disk: another driver has a disk nvme0n1 (EEXIST)')"
	[[ $(realpath /sys/block/nvme0n1) = */"$second"/nvme/nvme0/nvme0n1 ]]
	dd if=/dev/nvme0n1 of=/dev/null bs=64k count=4
	# The name is free after the C driver's removal.
	rmmod nvme nvme_core
	echo 1 >"$driver/$first/controller/rescan_controller"
	wait_for 10 test -b /dev/nvme0n1
	named "$first" nvme0
	unload
}

begin 5
# shellcheck disable=SC2046 # words
set -- $(nvme_devices)
[ $# = 2 ] || skip_all "not two controllers"
first=$1 second=$2
load_disks
check "controllers get the lowest free number" lowest_first
check "a number is free again while a removed disk is open" while_open
check "first_instance moves the numbers" parameter
if [ -e /sys/module/nvme ] || ! modinfo nvme >/dev/null 2>&1; then
	skip "a name that another driver has is refused" "the C driver can't be loaded and unloaded"
else
	# The C driver gets only the second.
	take
	check "a name that another driver has is refused" name_taken
	# After a failure.
	unload >/dev/null 2>&1
	rmmod nvme nvme_core 2>/dev/null
fi
check "nothing is left" nothing_left
finish
