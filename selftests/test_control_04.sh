#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The effects of admin commands: after a format, attachment or detachment by nvme-cli the disk is as the
# namespace is when the command returns, and a format waits for I/O, and I/O for it. I/O commands by the control
# device, which are for its only namespace, as in the kernel's C driver.
. "$(dirname "$0")/common.sh"

block_size() { blk "$disk" logical_block_size; }
formatted() {
	local before
	before=$(blk "$disk" logical_block_size)
	# QEMU's namespaces have a format of 4096 bytes as the fifth.
	nvme format /dev/nvme900 -n 1 -l 4 -f
	same "block size" 4096 "$(block_size)"
	timeout 60 dd if=/dev/zero of="/dev/$disk" bs=4k count=16 oflag=direct status=none
	nvme format /dev/nvme900 -n 1 -l 0 -f
	same "block size" "$before" "$(block_size)"
}
beside_io() {
	local n
	background fio --name=io --filename="/dev/$disk" --rw=randread --bs=4k --iodepth=16 --ioengine=io_uring \
		--direct=1 --time_based --runtime=300 --size=64m
	reads=$(sum reads)
	busy() { [ "$(sum reads)" -gt $((reads + 200)) ]; }
	for n in 1 2 3; do
		wait_for 60 busy
		timeout 100 nvme format /dev/nvme900 -n 1 -f
		reads=$(sum reads)
	done
	wait_for 60 busy
	kill -0 "$job"
	stop "$job"
}
# Reads that wait for a format to end are for blocks of the old size: the controller must not get them, since it would
# transfer eight times their data.
changes_beside_io() {
	local n errors readers=()
	errors=$(sum errors)
	for n in 1 2 3; do
		while [ ! -e "$tmp/stop" ]; do
			dd if="/dev/$disk" of=/dev/null bs=8k count=64 iflag=direct status=none || sleep 0.01
		done 2>/dev/null &
		readers+=($!)
	done
	for n in 4 0 4 0 4 0; do
		sleep 1
		timeout 100 nvme format /dev/nvme900 -n 1 -l $n -f
		same "block size" $((n ? 4096 : 512)) "$(block_size)"
	done
	# Two tasks at once.
	for n in 4 0; do
		timeout 60 nvme format /dev/nvme900 -n 1 -l $n -f &
		job=$!
		timeout 60 nvme format /dev/nvme900 -n 1 -l $n -f
		wait "$job"
		same "block size" $((n ? 4096 : 512)) "$(block_size)"
	done
	touch "$tmp/stop"
	wait "${readers[@]}"
	same "commands that failed" "$errors" "$(sum errors)"
}
# The interrupts are masked, so the driver takes the format to be in flight until its time limit. The removal of the
# disk waits for it, because it writes what is in the page cache.
removed_meanwhile() {
	local tail
	unload
	load timeout=$((2 * patience))
	wait_for 60 there
	mask "$bdf" 1
	tail=$(q 0 sq_tail)
	exec 9<>"/dev/$disk"
	background nvme admin-passthru /dev/nvme900 --opcode=0x80 --namespace-id=1 --timeout=10000
	sent() { [ "$(q 0 sq_tail)" != "$tail" ]; }
	wait_for 30 sent
	head -c 4096 /dev/zero | tr '\0' r >&9
	background unbind "$bdf"
	wait_for 100 ended "$job"
	wait "$job"
	exec 9>&-
	bind "$bdf"
	wait_for 60 live
	wait_for 60 there
	same "bytes that were written" 4096 "$(head -c 4096 "/dev/$disk" | tr -dc r | wc -c)"
}
there() { [ -b "/dev/$disk" ]; }
attached() {
	local n bdf
	# The subsystem's other controller would take over the namespace's disk.
	for bdf in $(nvme_devices); do
		[ "$bdf" = "$(cat /sys/class/rnvme/nvme900/address)" ] || unbind "$bdf"
	done
	for n in 1 2 3; do
		nvme detach-ns /dev/nvme900 -n 1 -c "$cntlid"
		refused there
		nvme attach-ns /dev/nvme900 -n 1 -c "$cntlid"
		there
		timeout 60 dd if="/dev/$disk" of=/dev/null bs=4k count=16 iflag=direct status=none
	done
}
# answers [ERROR]: an I/O command by the control device ends with ERROR.
answers() {
	local output
	output=$(nvme flush /dev/nvme900 -n 1 2>&1 || true)
	[[ ${output,,} = *"${1:-success}"* ]] || { echo "flush: expected '${1:-success}', is '$output'"; return 1; }
}
only_namespace() {
	local n
	log_mark several
	answers "invalid argument"
	log_since several | grep 'I/O command by the control device: refused (EINVAL), because there are several namespaces'
	for n in 2 3; do nvme detach-ns /dev/nvme900 -n $n -c "$cntlid"; done
	answers
	nvme detach-ns /dev/nvme900 -n 1 -c "$cntlid"
	answers "inappropriate ioctl for device"
	for n in 1 2 3; do nvme attach-ns /dev/nvme900 -n $n -c "$cntlid"; done
	answers "invalid argument"
}

begin 6
type -P nvme >/dev/null || skip_all "no nvme-cli"
load_disks
disk=nvme900n1
cntlid=$(cat /sys/class/rnvme/nvme900/cntlid)
if [ -b /dev/nvme900n3 ]; then
	skip "a format changes the disk's block size" "the namespace is shared"
	skip "formats and I/O take turns" "the namespace is shared"
	skip "a format changes the block size beside reads" "the namespace is shared"
	skip "the driver is unbound during a format" "the namespace is shared"
	check "namespaces are detached and attached" attached
	check "an I/O command by the control device is for its only namespace" only_namespace
else
	check "a format changes the disk's block size" formatted
	check "formats and I/O take turns" beside_io
	check "a format changes the block size beside reads" changes_beside_io
	check "the driver is unbound during a format" removed_meanwhile
	skip "namespaces are detached and attached" "the controller has no subsystem of its own"
	skip "an I/O command by the control device is for its only namespace" "there is one namespace"
fi
finish
