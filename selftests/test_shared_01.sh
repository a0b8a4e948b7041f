#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A namespace that two controllers of a subsystem share has a disk at only one of them; when that disk
# is removed, the other gets a disk. With shared_namespaces=1 both have a disk. Controllers with the
# same NQN that share nothing have all their disks.
. "$(dirname "$0")/common.sh"

names() { disks "$1" | xargs; }
has() { [ "$(names "$1")" = "$2" ] && [ -b "/dev/${2%% *}" ]; }
refusals() { log_since "$1" | grep -c "namespace [0-9]*: no disk: it is shared, and nvme" || true; }
# refused_for MARK NAME: the log has one line per namespace that NAME is its disk.
refused_for() {
	local n
	for n in 1 2 3; do
		same "lines on namespace $n" 1 "$(log_since "$1" | grep -c "namespace $n: no disk: it is shared, and $2n$n is its disk ")"
	done
	same "lines" 3 "$(refusals "$1")"
}
rescanned() { # BDF
	local commands
	commands=$(q 0 submitted "$1")
	echo 1 >"$driver/$1/controller/rescan_controller"
	wait_for 10 more_than "$commands" "$1"
	sleep 1
}
more_than() { [ "$(q 0 submitted "$2")" -gt "$1" ]; }

second_refused() {
	log_mark loaded
	load
	has "$first" "nvme900n1 nvme900n2 nvme900n3"
	same "the second's disks" "" "$(names "$second")"
	same "the second's namespaces" 0 "$(c namespaces "$second")"
	refused_for loaded nvme900
	rescanned "$second"
	same "lines after a rescan" 3 "$(refusals loaded)"
	! log_since loaded | grep "no active namespace"
}
takes_over() {
	mkfs.ext4 -q -F /dev/nvme900n1
	mkdir "$tmp/mnt"
	mount /dev/nvme900n1 "$tmp/mnt"
	head -c 4M /dev/urandom >"$tmp/mnt/file"
	sha256sum <"$tmp/mnt/file" >"$tmp/sum"
	umount "$tmp/mnt"
	unbind "$first"
	wait_for 30 has "$second" "nvme901n1 nvme901n2 nvme901n3"
	mount /dev/nvme901n1 "$tmp/mnt"
	same "the file" "$(cat "$tmp/sum")" "$(sha256sum <"$tmp/mnt/file")"
}
# A mounted disk stays at its controller.
other_way_round() {
	log_mark bound
	bind "$first"
	same "the first's disks" "" "$(names "$first")"
	refused_for bound nvme901
	has "$second" "nvme901n1 nvme901n2 nvme901n3"
	umount "$tmp/mnt"
	echo 1 >"/sys/bus/pci/devices/$second/remove"
	wait_for 30 has "$first" "nvme900n1 nvme900n2 nvme900n3"
	mount /dev/nvme900n1 "$tmp/mnt"
	same "the file" "$(cat "$tmp/sum")" "$(sha256sum <"$tmp/mnt/file")"
	umount "$tmp/mnt"
	echo 1 >/sys/bus/pci/rescan
	wait_for 10 test -e "$driver/$second"
	same "the second's disks" "" "$(names "$second")"
}
# The refused controller is unbound last.
refused_one_goes() {
	unbind "$second"
	unbind "$first"
	bind "$first"
	has "$first" "nvme900n1 nvme900n2 nvme900n3"
	unload
	nothing_left
}
allowed() {
	load shared_namespaces=1
	same "disks of each" "3 3" "$(disks "$first" | wc -l) $(disks "$second" | wc -l)"
	unload
}
# Both have serial rnvme-9, and so one NQN.
equal_names() {
	load
	same "disks of each" "1 1" "$(disks "$third" | wc -l) $(disks "$fourth" | wc -l)"
}

has_two() { [[ $(names "$1") =~ ^nvme[0-9]+n2\ nvme[0-9]+n3$ ]]; }
is_live() { [ "$(c state "$1")" = live ]; }
is_other() { [ "$(file /sys/bus/pci/devices/"$second"/rnvme/nvme*/subsysnqn)" = nqn.2014-08.org.nvmexpress:other ]; }
# An identifier in common suffices to keep a second disk away, also if the second controller says that it belongs to
# another subsystem. Only the first namespace has one.
other_name() {
	local bdf=$second
	load timeout="$patience" quirks_device=0x1b360010 quirks_off=0x40000
	same "the second's disks" "" "$(names "$second")"
	AMENDED_BY=reset amended "1/0:768=$(printf 'nqn.2014-08.org.nvmexpress:other' | od -An -v -t x1 | tr -d ' \n')00"
	wait_for 30 is_other
	wait_for 30 is_live "$second"
	wait_for 30 has_two "$second"
	rescanned "$second"
	has_two "$second"
	unload
}

begin 7
[ "${TOPOLOGY:-}" = shared ] || skip_all "no topology with two controllers that share namespaces"
# shellcheck disable=SC2046 # words
set -- $(nvme_devices)
first=$1 second=$2 third=$3 fourth=$4
need_poke
check "the second controller has no disk, and the log names the first's" second_refused
check "when the first is unbound, the second has the disks" takes_over
check "the first, bound again, has none until the second is removed" other_way_round
check "a controller that was refused goes" refused_one_goes
check "with shared_namespaces=1 both have disks" allowed
check "a second controller with another NQN and the same namespaces has no disk" other_name
check "two controllers of one name that share nothing have their disks" equal_names
finish
