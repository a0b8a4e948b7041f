#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The files in debugfs, and the controller's in sysfs, match the device.
. "$(dirname "$0")/common.sh"

debug() { echo "/sys/kernel/debug/rust_nvme_demo-$1"; }
register() { awk -v name="$2" '$1 == name { print $2 }' "$(debug "$1")/registers"; }
# The device's register, from QEMU: 32 bits at a time, because 64-bit access is optional.
device() { # BDF OFFSET
	local bar reply
	read -r bar _ <"/sys/bus/pci/devices/$1/resource"
	reply=$("$top/qemu/qmp" human-monitor-command \
		"{\"command-line\": \"xp /1wx $(printf '0x%x' $((bar + $2)))\"}")
	echo "$reply" | grep -o ': 0x[0-9a-f]*' | cut -c 3-
}

registers() {
	for bdf in $(controllers); do
		same "names" "ACQ AQA ASQ CAP CC CSTS VS" \
			"$(cut -d' ' -f1 "$(debug "$bdf")/registers" | sort | xargs)"
		same "CAP" $(($(device "$bdf" 4) << 32 | $(device "$bdf" 0))) $(($(register "$bdf" CAP)))
		same "VS" $(($(device "$bdf" 0x08))) $(($(register "$bdf" VS)))
		same "CC" $(($(device "$bdf" 0x14))) $(($(register "$bdf" CC)))
		same "CSTS" $(($(device "$bdf" 0x1c))) $(($(register "$bdf" CSTS)))
		same "AQA" $(($(device "$bdf" 0x24))) $(($(register "$bdf" AQA)))
		same "CC.EN" 1 $(($(register "$bdf" CC) & 1))
		same "CSTS.RDY" 1 $(($(register "$bdf" CSTS) & 1))
		same "AQA.ASQS" $(($(q 0 depth "$bdf") - 1)) $(($(register "$bdf" AQA) & 0xfff))
		same "ASQ, offset in its page" 0 $(($(register "$bdf" ASQ) & 0xfff))
		same "ACQ, offset in its page" 0 $(($(register "$bdf" ACQ) & 0xfff))
	done
}

controller_files() {
	local vs
	for bdf in $(controllers); do
		same "capabilities" "$(register "$bdf" CAP)" "$(c capabilities "$bdf")"
		vs=$(($(register "$bdf" VS)))
		same "version" "$((vs >> 16)).$((vs >> 8 & 255)).$((vs & 255))" "$(c version "$bdf")"
		same "max_queue_entries" $((($(c capabilities "$bdf") & 0xffff) + 1)) "$(c max_queue_entries "$bdf")"
		same "model" "QEMU NVMe Ctrl" "$(c model "$bdf")"
		c serial "$bdf" | grep -x 'rnvme-[0-9]*'
		c firmware "$bdf" | grep -x '[0-9.]*'
		same "state" live "$(c state "$bdf")"
		same "name of the disks" "$(disks "$bdf" | wc -l)" "$(disks "$bdf" | grep -c "^$(c name "$bdf")n")"
		# No request exceeds the largest command.
		for disk in $(disks "$bdf"); do
			[ "$(c max_transfer_bytes "$bdf")" = 0 ] || at_most "max_hw_sectors_kb" \
				$(($(c max_transfer_bytes "$bdf") / 1024)) "$(blk "$disk" max_hw_sectors_kb)"
		done
	done
	same "names" "$(controllers | wc -l)" "$(for bdf in $(controllers); do c name "$bdf"; done | sort -u | wc -l)"
}

# A line for each entry, with its eight words; the marks match tail and head in sysfs.
submission_queues() {
	dd if="/dev/$disk" of=/dev/null bs=4k count=20 iflag=direct
	for bdf in $(controllers); do
		for qid in $(queues "$bdf"); do
			local file
			file=$(debug "$bdf")/queue$qid/sq
			same "queue $qid: entries" "$(q "$qid" depth "$bdf")" "$(wc -l <"$file")"
			same "queue $qid: lines of another form" 0 \
				"$(grep -cvxE ' *[0-9]+( [0-9a-f]{16}){8}( tail)?( head)?' "$file" || true)"
			same "queue $qid: tail" "$(q "$qid" sq_tail "$bdf")" "$(awk '/ tail/ { print $1 }' "$file")"
			same "queue $qid: head" "$(q "$qid" sq_head "$bdf")" "$(awk '/ head/ { print $1 }' "$file")"
		done
	done
}

completion_queues() {
	for bdf in $(controllers); do
		for qid in $(queues "$bdf"); do
			local file
			file=$(debug "$bdf")/queue$qid/cq
			same "queue $qid: entries" "$(q "$qid" cq_depth "$bdf")" "$(wc -l <"$file")"
			same "queue $qid: lines of another form" 0 \
				"$(grep -cvxE ' *[0-9]+( [0-9a-f]{16}){2}( head [01])?' "$file" || true)"
			same "queue $qid: head and phase" "$(q "$qid" cq_head "$bdf") $(q "$qid" cq_phase "$bdf")" \
				"$(awk '/ head/ { print $1, $5 }' "$file")"
		done
	done
}

# The last command in the queue is the one that was sent.
last_command() {
	local qid before tail words
	before=$(for qid in $(queues); do q "$qid" submitted; done | xargs)
	taskset -c 0 dd if="/dev/$disk" of=/dev/null bs=4k count=1 skip=1234 iflag=direct
	for qid in $(queues); do
		[ "$(q "$qid" submitted)" != "$(echo "$before" | cut -d' ' -f$((qid + 1)))" ] || continue
		tail=$(q "$qid" sq_tail)
		tail=$(((tail - 1 + $(q "$qid" depth)) % $(q "$qid" depth)))
		read -ra words < <(awk -v at=$tail '$1 == at' "$(debug "$bdf")/queue$qid/sq")
		same "opcode" 2 $((16#${words[1]} & 0xff))
		same "block" $((1234 * 4096 / $(blk "$disk" logical_block_size))) $((16#${words[6]}))
		same "blocks, less one" $((4096 / $(blk "$disk" logical_block_size) - 1)) $((16#${words[7]} & 0xffff))
		return
	done
	return 1
}

begin 5
load_disks
if has_qemu; then
	check "the registers in debugfs are the device's" registers
else
	skip "the registers in debugfs are the device's" "no monitor of QEMU's"
fi
check "the controller's files in sysfs" controller_files
check "the submission queues in debugfs" submission_queues
check "the completion queues in debugfs" completion_queues
check "the command that was sent last is seen there" last_command
finish
