#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# kexec of another kernel with I/O in flight: the driver shuts the controller down, so that it does no
# DMA when the other kernel has the memory. The test starts in the first kernel. The second kernel
# runs all of the guest's tests again, and checks the state that it found.
. "$(dirname "$0")/common.sh"

written() {
	fio_on "$disk" --rw=write --bs=64k --iodepth=8 --size=16M --verify=crc32c --do_verify="$1" --verify_only="$2"
}
first_kernel() {
	local options
	load_disks
	written 0 0
	# QEMU without KVM doesn't notice that virtiofsd replaces code in memory, unless the guest writes there,
	# too.
	options=$(sed 's/kexec=first/kexec=second init_on_alloc=1/' /proc/cmdline)
	kexec -s -l "$KERNEL/vmlinuz" --command-line="$options"
	background fio_on "$disk" --rw=randrw --bs=4k-64k --iodepth=32 --offset=64M --size=64M --time_based --runtime=60
	wait_for 10 busy
	kexec -e
	sleep 60
}
busy() { [ "$(sum inflight)" -gt 0 ]; }

told() {
	# The previous kernel caused this, because nothing has used the controller since.
	same "what QEMU saw last" "start_success shutdown_set shutdown_cleared stopped" \
		"$(sed 's/^pci_nvme_mmio_//; s/ .*//' "$RUN/trace" | tail -n 4 | paste -sd ' ')"
}
stopped() { same "bus master" 0 $((0x$(setpci -s "$device" COMMAND) & 4)); }
intact() {
	load
	bdf=$(controllers | head -n 1) disk=$(disks | head -n 1)
	written 1 1
	same "state" live "$(c state)"
	unload
}

begin 3
grep -qw kexec=second /proc/cmdline || {
	grep -qw kexec=first /proc/cmdline || skip_all "this kernel is not to be replaced"
	check "another kernel is started" first_kernel
	exit 1
}
device=$(nvme_devices | head -n 1)
check "the controller was told to shut down, and disabled then" told
check "it can't do DMA" stopped
check "its data are there" intact
finish
