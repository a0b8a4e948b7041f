#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Compares the queues' counts with QEMU's trace, by TRACE=1 of qemu/run.
. "$(dirname "$0")/common.sh"

trace=${RUN:-/nonexistent}/trace

# The events since the module was loaded.
events() { tail -c +$((skipped + 1)) "$trace"; }

# For each queue: identifier, commands, submission and completion doorbells; summed over all
# controllers, because the events don't name the controller.
seen() {
	events | awk '
	function of(name,  i) { for (i = 1; i < NF; i++) if ($i == name) return $(i + 1); return -1 }
	{ event = ""; for (i = 1; i <= NF; i++) if ($i ~ /^pci_nvme_/) event = $i }
	event == "pci_nvme_admin_cmd" || event == "pci_nvme_io_cmd" { cmd[of("sqid")]++ }
	event == "pci_nvme_mmio_doorbell_sq" { sq[of("sqid")]++ }
	event == "pci_nvme_mmio_doorbell_cq" { cq[of("cqid")]++ }
	END { for (id in sq) print id, cmd[id] + 0, sq[id], cq[id] + 0 }' | sort -n
}
counted() {
	local qid name total
	for qid in $(for bdf in $(controllers); do queues "$bdf"; done | sort -nu); do
		printf '%d' "$qid"
		for name in submitted sq_doorbells cq_doorbells; do
			total=0
			for bdf in $(controllers); do
				[ ! -e "$driver/$bdf/queues/$qid" ] || total=$((total + $(q "$qid" $name "$bdf")))
			done
			printf ' %d' $total
		done
		echo
	done | awk '$2 + $3 + $4 > 0'
}
# For each kind of I/O command its name and count.
seen_kinds() {
	events | awk '/pci_nvme_io_cmd/ { for (i = 1; i < NF; i++) if ($i == "opc") n[$(i + 1)]++ }
		END { print n["0x2"] + 0, n["0x1"] + 0, n["0x0"] + 0, n["0x9"] + 0, n["0x8"] + 0 }'
}
counted_kinds() {
	local kind total line=
	for kind in reads writes flushes discards write_zeroes; do
		total=0
		for bdf in $(controllers); do total=$((total + $(sum $kind io "$bdf"))); done
		line+=" $total"
	done
	echo "${line# }"
}

# The trace arrives a moment after the event.
agree() {
	agreed() { [ "$(seen)" = "$(counted)" ]; }
	wait_for 10 agreed || true
	same "queue, commands, doorbells of the submission and of the completion queue" "$(seen)" "$(counted)"
	same "reads, writes, flushes, discards, write zeroes" "$(seen_kinds)" "$(counted_kinds)"
}

some_load() {
	for disk in $(disks); do
		fio_on "$disk" --rw=randrw --bssplit=4k/80:128k/20 --iodepth=16 --numjobs=2 --size=1m \
			--offset_increment=2m --fsync=64
		blkdiscard -o 0 -l 1M "/dev/$disk"
		blkdiscard -z -o 0 -l 1M "/dev/$disk"
	done
	for cpu in $(seq 0 $(($(nproc) - 1))); do
		taskset -c "$cpu" dd if="/dev/$disk" of=/dev/null bs=4k count=16 iflag=direct
	done
	agree
}

begin 3
[ -r "$trace" ] || skip_all "no trace of QEMU's: TRACE=1 qemu/run"
[ -n "$(nvme_devices)" ] || skip_all "no NVMe controller"
# The firmware's I/O comes before.
skipped=$(stat -c %s "$trace")
load_disks
check "loading the module: as QEMU counted" agree
check "a load on all CPUs and disks: as QEMU counted" some_load
check "there were doorbells and commands in every queue" \
	same "queues seen" "$(for bdf in $(controllers); do queues "$bdf"; done | sort -nu)" "$(seen | cut -d' ' -f1)"
finish
