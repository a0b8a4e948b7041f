#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The module is loaded and unloaded, CYCLES times.
. "$(dirname "$0")/common.sh"

one() {
	load
	dd if="/dev/$disk" of="$tmp/read" bs=64k count=1 iflag=direct 2>"$tmp/dd"
	cmp "$tmp/data" "$tmp/read"
	unload
}
begin 2
cycles 20
load_disks
head -c 64k /dev/urandom >"$tmp/data"
dd if="$tmp/data" of="/dev/$disk" bs=64k oflag=direct 2>"$tmp/dd"
unload
check "$cycles loads and unloads, and nothing grows" many 3 "$cycles" "loads and unloads" one
check "nothing is left" nothing_left
finish
