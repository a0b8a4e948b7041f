#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Random ioctls and io_uring commands of several processes, some of which are killed, 1000 for each of CYCLES:
# while nothing else happens, while the controller is reset, unbound, removed, unplugged, and given up, and by a user
# without rights.
# See fuzz.c. The seed is the number of cycles, so that `make test` repeats what didn't make QEMU abort before;
# SEED is another.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/plug.sh"

# fuzz PART OPTION…: PART hundredths of all calls.
fuzz() {
	local part=$1 output
	shift
	output=$("$here/fuzz" -n $((cycles * 10 * part)) -s "${SEED:-$cycles}" -l "$(has_checkers && echo 400 || echo 60)" "$@" \
		"/dev/${disk%n*}" "/dev/$disk" "/dev/${disk/nvme/ng}") || { echo "$output"; return 1; }
	say "$output"
}
# during COMMAND…: repeats COMMAND while commands come.
during() {
	local rc=0
	background repeat "$@"
	fuzz 20 || rc=$?
	touch "$tmp/enough"
	wait_for 60 ended "$job"
	rm "$tmp/enough"
	wait "$job" || rc=$?
	cat "$tmp/background"
	return $rc
}
repeat() {
	while [ ! -e "$tmp/enough" ]; do
		"$@" || return
		sleep 0.3
	done
}
resets() { reset_controller; wait_for 60 live; }
binds() { unbind "$bdf"; bind "$bdf"; wait_for 60 live; }
removes() {
	echo 1 >"/sys/bus/pci/devices/$bdf/remove"
	echo 1 >/sys/bus/pci/rescan
	wait_for 60 live
}
surprises() {
	surprise "$bdf"
	wait_for 60 back
}
back() { [ "$(c state "$bdf" 2>/dev/null)" = live ]; }
# A reset finds that the registers have no content.
dies() {
	no_registers "$bdf"
	wait_for 60 dead
	unbind "$bdf"
	bind "$bdf"
	wait_for 60 live
}
dead() {
	reset_controller 2>/dev/null || true
	[ "$(c state)" = dead ]
}
without_rights() {
	local before
	chmod 666 "/dev/${disk%n*}" "/dev/$disk" "/dev/${disk/nvme/ng}"
	before="$(c resets) $(c timeouts)"
	fuzz 20 -u
	same "resets and time-outs" "$before" "$(c resets) $(c timeouts)"
}
works() {
	# A plugged controller has its namespaces attached.
	! has_plug || surprises
	# Commands may have formatted or detached the namespace.
	nvme format "/dev/${disk%n*}" --namespace-id=1 --lbaf=0 --force
	wait_for 60 test -b "/dev/$disk"
	fio_on "$disk" --rw=randwrite --bs=4k --size=4M --verify=crc32c
	same "in flight" 0 "$(sum inflight)"
}

begin "$(has_plug && echo 4 || echo 9)"
cycles 10
need_turns
[ -x "$here/fuzz" ] || skip_all "no $here/fuzz: make -C selftests"
load_disks timeout=5
other=$(controllers | sed -n 2p)
[ -n "$other" ] || skip_all "only one controller"
witness other --steady --jobs 1 rnvme-1/1
if has_plug; then
	check "calls end while the controller is unplugged by surprise and plugged again" during surprises
else
	check "a user without rights gets errors, and causes no reset" without_rights
	check "an administrator's calls end" fuzz 20
	check "while the controller is reset" during resets
	check "while the driver is unbound and bound" during binds
	check "while the controller is removed and found again" during removes
	check "while the controller dies and is bound again" during dies
fi
check "the controller works" works
check "the other controller doesn't notice" testify other
check "the module unloads" unload
finish
