# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# For tests that compare the driver with the kernel's C driver on the same controllers. After common.sh.

# Whether the C driver can be loaded and unloaded. If so, it is unloaded at the end of the test.
have_theirs() {
	[ ! -e /sys/module/nvme ] && modinfo nvme >/dev/null 2>&1 || return
	trap 'rmmod nvme nvme_core >/dev/null 2>&1; clean_up' EXIT
}
need_theirs() { have_theirs || skip_all "the C driver can't be loaded and unloaded"; }
# The controllers that a test looks at, each of which has a disk with the C driver.
compared() { nvme_devices; }
# to_theirs: unloads the module, and has the C driver drive all controllers.
to_theirs() {
	local bdf
	unload
	for bdf in $(nvme_devices); do echo >"/sys/bus/pci/devices/$bdf/driver_override"; done
	modprobe nvme_core multipath=N
	modprobe nvme
	for bdf in $(compared); do wait_for 30 their_disk "$bdf"; done
}
their_disk() { compgen -G "/sys/bus/pci/devices/$1/nvme/nvme*/nvme*n*" >/dev/null; }
# to_ours [PARAMETER=VALUE…]
to_ours() {
	rmmod nvme nvme_core
	take
	load "$@"
}
# control_of BDF: the control device, of either driver.
control_of() {
	local dirs=("/sys/bus/pci/devices/$1"/*nvme/nvme*)
	echo "${dirs[0]##*/}"
}
# outcome DEVICE COMMAND…: what COMMAND prints, with the control device's name as nvmeX, and its exit status.
outcome() {
	local device=$1 rc=0
	shift
	# shellcheck disable=SC2154 # of common.sh
	timeout 60 "$@" </dev/null >"$tmp/out" 2>&1 || rc=$?
	# Binary output as text.
	if grep -qP '[^\x09\x0a\x20-\x7e\xc2\xb0]' "$tmp/out"; then
		xxd "$tmp/out" 2>/dev/null || od -A x -t x1z "$tmp/out"
	else
		sed "s/$device/nvmeX/g" "$tmp/out"
	fi
	echo "--- exit status $rc"
}
