#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Two namespaces of a controller whose identifiers are trusted report the same identifier, as cloned disks do: both
# have a disk, and only the first has the identifier.
. "$(dirname "$0")/common.sh"

value() { file "/sys/block/$1/$2" 2>&1; }
ids() { for disk in $(disks "$bdf"); do echo "$disk $(value "$disk" wwid)"; done; }
# The descriptor of an NGUID, which the list of QEMU's second namespace begins with.
nguid() { echo "02100000${1//-/}"; }
twins() {
	local first second nguid wwid
	read -r first second _ <<<"$(disks "$bdf" | xargs)"
	nguid=$(value "$first" nguid) wwid=$(value "$first" wwid)
	log_mark twins
	amended "3/2:0=$(nguid "$nguid")"
	wait_for 30 logged twins "namespace 2: its identifiers have changed"
	wait_for 30 logged twins "namespace 2: ${first%n*}n1 has the same identifiers: this disk goes without"
	wait_for 30 test -b "/dev/$second"
	same "the first's nguid" "$nguid" "$(value "$first" nguid)"
	same "the first's wwid" "$wwid" "$(value "$first" wwid)"
	[[ $(value "$second" wwid) = nvme.*-00000002 ]]
	[ ! -e "/sys/block/$second/nguid" ]
	dd if="/dev/$second" of=/dev/null bs=4k count=16 iflag=direct
}
# A later scan changes nothing.
stays() {
	local before
	before=$(ids)
	log_mark stays
	amended "3/2:0=$(nguid "$(value "$(disks "$bdf" | head -n 1)" nguid)")"
	sleep 2
	same "wwids" "$before" "$(ids)"
	same "lines" "" "$(log_since stays | grep "namespace 2:" || true)"
}
# Although the first gets another disk: its format, as reported now, has other blocks.
remade() {
	local first second before
	read -r first second _ <<<"$(disks "$bdf" | xargs)"
	before=$(ids)
	amended 0/1:26=04 "3/2:0=$(nguid "$(value "$first" nguid)")"
	wait_for 30 is_4k "$first"
	same "wwids" "$before" "$(ids)"
	[ ! -e "/sys/block/$second/nguid" ]
}
is_4k() { [ "$(value "$1" queue/logical_block_size)" = 4096 ]; }
# After a reset the controller reports its own again.
alone() {
	echo 1 >"$(dir_of "$bdf")/controller/reset_controller"
	wait_for 30 original
}
original() { [ "$(ids)" = "$before" ]; }

begin 5
need_qemu
take
load_disks timeout="$patience" "${trust[@]}"
bdf=$(for bdf in $(controllers); do ! trusted || echo "$bdf"; done | head -n 1)
if [ -z "$bdf" ] || [ "$(disks "$bdf" | wc -l)" -lt 2 ]; then
	skip_all "no controller with several trusted namespaces"
fi
need_poke
before=$(ids)
check "a second namespace with the same identifier has a disk without it" twins
check "another scan changes nothing" stays
check "the first still has it when its disk is replaced" remade
check "with its own identifiers again, it has them" alone
check "the module unloads" unload
finish
