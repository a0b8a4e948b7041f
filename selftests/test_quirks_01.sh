#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The quirks of a controller: those in the driver's table, as the kernel's C driver names them, and what the
# parameters quirks_device, quirks_on and quirks_off make of them.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/beside.sh"

# The bits, as in Linux's drivers/nvme/host/nvme.h.
stripe_size=0x1
delay_before_chk_rdy=0x8
qdepth_one=0x40
medium_prio_sq=0x80
ignore_dev_subnqn=0x100
disable_write_zeroes=0x200
single_vector=0x800
sqes_128_bytes=0x1000
shared_tags=0x2000
no_temp_thresh_change=0x4000
no_ns_desc_list=0x8000
dma_address_bits_48=0x10000
skip_cid_gen=0x20000
bogus_nid=0x40000

names() { cat "/sys/bus/pci/devices/$1"/*nvme/nvme*/quirks; }
like_theirs() {
	local theirs
	to_theirs
	theirs=$(names "$bdf")
	to_ours
	same "quirks" "$theirs" "$(names "$bdf")"
}

# with QUIRKS NAMES COMMAND…: with these quirks more, the driver has quirks of these NAMES, the disk works, and
# COMMAND succeeds.
with() {
	local on=$1 expected=$2
	shift 2
	reload "quirks_on=$on"
	same "quirks" "$expected" "$(names "$bdf" | xargs)"
	works
	"$@"
}
reload() {
	unload
	load "$@"
	wait_for 30 test -b "/dev/$disk"
}
works() {
	head -c 1M /dev/urandom >"$tmp/data"
	dd if="$tmp/data" of="/dev/$disk" bs=64k oflag=direct
	cmp -n 1M "$tmp/data" "/dev/$disk"
}
# The values that dword WORD (0 to 15) of the admin queue's commands of OPCODE has.
dwords() { # OPCODE WORD
	admin_commands "$1" | awk -v field="$(($2 + 1))" '{ printf "0x%x\n", $field }' | sort -u | xargs
}
asked() { dwords 0x06 10; }

no_write_zeroes() { same "write_zeroes_max_bytes" 0 "$(blk "$disk" write_zeroes_max_bytes)"; }
stripes() { same "chunk_sectors" $(($(blk "$disk" max_hw_sectors_kb) * 2)) "$(blk "$disk" chunk_sectors)"; }
one_at_a_time() {
	local qid
	for qid in $(queues); do
		[ "$qid" = 0 ] || same "depth of queue $qid" 2 "$(q "$qid" depth)"
	done
	same "nr_requests" 1 "$(blk "$disk" nr_requests)"
}
medium() { same "QPRIO and PC" 0x5 "$(printf '0x%x' $(($(dwords 0x01 11 | cut -d' ' -f1) & 0xffff)))"; }
one_vector() { same "vectors" 1 "$(find "/sys/bus/pci/devices/$bdf/msi_irqs" -type f | wc -l)"; }
without_descriptors() {
	asked
	[[ " $(asked) " != *" 0x3 "* ]]
}
made_up_nqn() { grep -E '^nqn\.2014\.08\.org\.nvmexpress:1b36' "/sys/class/rnvme/nvme900/subsysnqn"; }
reported_nqn() { ! made_up_nqn && grep ^nqn /sys/class/rnvme/nvme900/subsysnqn; }
thresholds() { # MODE
	local file
	for file in /sys/bus/pci/devices/"$bdf"/hwmon/hwmon*/temp1_{min,max}; do
		same "mode of ${file##*/}" "$1" "$(stat -c %a "$file")"
	done
}
addresses() { same "dma_mask_bits" "$1" "$(cat "/sys/bus/pci/devices/$bdf/dma_mask_bits")"; }
slow() {
	local start
	start=$(date +%s%N)
	reset_controller
	wait_for 60 live
	at_least "milliseconds of a reset" 2300 $((($(date +%s%N) - start) / 1000000))
}

plain() {
	same "quirks" bogus_nid "$(names "$bdf")"
	[ "$(blk "$disk" write_zeroes_max_bytes)" != 0 ]
	[[ " $(asked) " = *" 0x3 "* ]]
	same "QPRIO and PC" 0x1 "$(printf '0x%x' $(($(dwords 0x01 11 | cut -d' ' -f1) & 0xffff)))"
	reported_nqn
	thresholds 644
	addresses 64
}
several() {
	with $((disable_write_zeroes | stripe_size | medium_prio_sq | no_temp_thresh_change | dma_address_bits_48 | ignore_dev_subnqn)) \
		"stripe_size medium_prio_sq ignore_dev_subnqn disable_write_zeroes no_temp_thresh_change dma_address_bits_48 bogus_nid" true
	no_write_zeroes
	stripes
	medium
	thresholds 444
	addresses 48
	made_up_nqn
}
off() {
	reload "quirks_off=$bogus_nid"
	same "quirks" none "$(names "$bdf")"
	works
}
another_device() {
	reload quirks_device=0x80865845 "quirks_on=$disable_write_zeroes"
	same "quirks" bogus_nid "$(names "$bdf")"
	reload quirks_device=0x1b360010 "quirks_on=$disable_write_zeroes"
	no_write_zeroes
}
refuses() {
	local quirk
	for quirk in $sqes_128_bytes $shared_tags $skip_cid_gen; do
		log_mark "refuses-$quirk"
		unload
		load "quirks_on=$quirk"
		same "disks" "" "$(disks)"
		logged "refuses-$quirk" "this controller needs what the driver lacks: entries of 128 bytes"
	done
	reload
	works
}

# With Intel's PCI ids. identify_cns has no effect here, because the controller has a version after 1.1.
intels() {
	same "quirks" "identify_cns disable_write_zeroes bogus_nid" "$(names "$bdf" | xargs)"
	[[ " $(asked) " = *" 0x2 "* ]]
	no_write_zeroes
	works
}
# A controller that has a quirk by its vendor and its firmware revision, which another disk has, too.
by_firmware() {
	AMENDED_BY=reset amended 1/0:0=a414 "1/0:64=$(printf 22301111 | od -An -v -t x1 | tr -d ' \n')"
	wait_for 30 live
	same "quirks" "simple_suspend bogus_nid" "$(names "$bdf" | xargs)"
	reset_controller
	wait_for 30 live
	same "quirks" bogus_nid "$(names "$bdf" | xargs)"
}
like_the_c_driver() {
	if have_theirs && modinfo -F parm nvme | grep -q '^quirks:'; then
		check "the C driver says the same" like_theirs
	else
		skip "the C driver says the same" "it can't be loaded, or doesn't say"
	fi
}

# In this topology the controller has Intel's PCI ids.
[ "${TOPOLOGY:-}" = trusted ] && intels=1 || intels=0
begin $((intels ? 3 : 12))
need_qemu
take
load_disks
if [ "$intels" = 1 ]; then
	check "a controller with Intel's PCI ids has the quirks of the table" intels
	like_the_c_driver
	check "the module unloads" unload
	finish
	exit
fi
trusted && skip_all "not QEMU's PCI ids"
need_poke
check "QEMU's controller has the quirks of the table, and no effect of others" plain
like_the_c_driver
check "by vendor and firmware, while the controller has these" by_firmware
check "several quirks at a time have their effects" several
check "a queue depth of one" with $qdepth_one "qdepth_one bogus_nid" one_at_a_time
check "a single vector" with $single_vector "single_vector bogus_nid" one_vector
check "no list of descriptors" with $no_ns_desc_list "no_ns_desc_list bogus_nid" without_descriptors
check "a delay after a disable" with $delay_before_chk_rdy "delay_before_chk_rdy bogus_nid" slow
check "a quirk is switched off" off
check "the parameters are for one PCI id only" another_device
check "a controller with quirks that the driver lacks is refused" refuses
check "the module unloads" unload
finish
