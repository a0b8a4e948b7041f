#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# nvme-cli's lists, in the tree of tools/nvme-tree, are those of the kernel's C driver on the same controllers.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/beside.sh"

lists=("list" "list -o json" "list -v" "list -v -o json" "list-subsys" "list-subsys -o json" "list-subsys -v")

# record NAME COMMAND…: the lists are in $tmp/NAME, with the controllers numbered by their addresses. The C driver
# numbers them as their probes end, so a list's lines are sorted.
record() {
	local list bdf device n=0 names=() name=$1
	shift
	for bdf in $(nvme_devices); do
		device=$(control_of "$bdf")
		# Not a prefix of another number.
		names+=(-e "s/(nvme|ng|nvme-subsys)${device#nvme}([^0-9]|\$)/\1#$n\2/g")
		n=$((n + 1))
	done
	# Without a machine's UUID, as in arm64's guests, nvme-cli makes up a host's identity for each call.
	names+=(-e 's/("HostID": *"|nqn\.2014-08\.org\.nvmexpress:uuid:)[0-9a-f-]{36}/\1#/')
	# A policy for paths is only there if the C driver was built with multipath.
	modinfo -F parm nvme_core | grep -q ^iopolicy: || names+=(-e '/^ *iopolicy=/d')
	for list in "${lists[@]}"; do
		echo "- nvme $list"
		# shellcheck disable=SC2086
		timeout 60 "$@" nvme $list 2>&1 | sed -E "${names[@]}" | tr -s ' -' | sort
		echo "- exit status ${PIPESTATUS[0]}"
	done >"$tmp/$name"
}
theirs() { to_theirs; record theirs; }
ours() { to_ours; record ours "$tree"; }
# A list that is empty with both would prove nothing.
complete() {
	local list n
	same "successes" "${#lists[@]}" "$(grep -c '^- exit status 0' "$tmp/ours")"
	n=$(grep -c '/dev/nvme#[0-9]*n1 ' "$tmp/ours")
	at_least "disks in the lists" "$(nvme_devices | wc -l)" "$n"
}
equal() { diff "$tmp/theirs" "$tmp/ours"; }
# While both drivers have controllers, the tree shows all of them.
both() {
	local bdf last
	last=$(nvme_devices | tail -n 1)
	unbind "$last"
	echo >"/sys/bus/pci/devices/$last/driver_override"
	modprobe nvme
	wait_for 30 their_disk "$last"
	"$tree" nvme list >"$tmp/both"
	for bdf in $(nvme_devices); do
		grep "^/dev/$(control_of "$bdf")n1 " "$tmp/both"
	done
}
none() { # with no driver
	[ ! -e /sys/module/nvme ] || rmmod nvme nvme_core
	unload
	"$tree" nvme list
	same "exit status without a command" 2 "$(rc=0; "$tree" 2>/dev/null || rc=$?; echo $rc)"
	same "its folder is gone" "" "$(compgen -G "${TMPDIR:-/tmp}/tmp.*/sys" || true)"
}

begin 6
type -P nvme >/dev/null || skip_all "no nvme-cli"
need_theirs
take
load_disks
tree=$top/tools/nvme-tree
check "nvme-cli on the C driver's devices" theirs
check "nvme-cli on ours" ours
check "the lists have each disk" complete
check "the lists are the same" equal
if [ "$(nvme_devices | wc -l)" -gt 1 ]; then
	check "controllers of both drivers in one list" both
else
	skip "controllers of both drivers in one list" "there is one controller"
fi
check "no driver, no command" none
finish
