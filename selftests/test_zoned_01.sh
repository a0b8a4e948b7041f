#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A namespace of another command set gets no disk, with a line in the log; others get their
# disks.
. "$(dirname "$0")/common.sh"

# lines BDF TEXT: how often the log has TEXT for the device.
lines() { log_since start | grep -F " $1: " | grep -cF "$2" || true; }
said() { # BDF NSID
	same "lines on namespace $2 of $1" 1 "$(lines "$1" "namespace $2: no disk: command set 0x2 is not NVM")"
	same "disks of $1" "${3:-}" "$(disks "$1" | xargs)"
}
nothing_at_all() {
	same "lines on $third" 1 "$(lines "$third" "no active namespace")"
	same "such lines on others" "0 0" "$(lines "$first" "no active namespace") $(lines "$second" "no active namespace")"
}
works() {
	reset_controller
	wait_for 30 live
	fio_on "$disk" --rw=randrw --bs=4k-64k --iodepth=16 --size=16M --verify=crc32c
	fio_on "$disk" --rw=trim --bs=1M --size=16M
}

begin 5
[ "${TOPOLOGY:-}" = zoned ] || skip_all "no topology with zoned namespaces"
load_disks
# shellcheck disable=SC2046 # words
set -- $(controllers)
first=$1 second=$2 third=$3
check "a zoned namespace beside another one is reported" said "$first" 2 nvme900n1
check "a zoned namespace alone is reported" said "$second" 1
check "that there is no namespace is said of the controller without" nothing_at_all
check "the other one works, also after a reset" works
check "the module unloads" unload
finish
