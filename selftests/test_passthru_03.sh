#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# An I/O command from user space is in flight when the controller dies.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/passthru.sh"

dies() {
	slow
	# A write: without its registers the controller can't be stopped, and QEMU ignores for a transfer that has
	# begun that the driver has disabled DMA, so a read would overwrite memory that is free by then.
	device=$generic op=write in_flight dies
	no_registers "$bdf"
	reset_controller || true
	wait_for 120 dead
	throttle 0
	ended_with dies EINTR ENODEV
	unbind "$bdf"
	bind "$bdf"
	wait_for 60 both
	works
}
dead() { [ "$(c state)" = dead ]; }

begin 1
need_qemu
need_turns
load_disks timeout=20
generic=${disk/nvme/ng}
check "a dead controller's command ends with EINTR, and its open generic device says ENODEV" dies
throttle 0 >/dev/null
finish
