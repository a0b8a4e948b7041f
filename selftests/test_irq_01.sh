#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Interrupts: their names, their CPUs and their counts.
. "$(dirname "$0")/common.sh"

# The interrupt number of a queue, by its name; several names may share one.
irq_of() { # BDF QID
	awk -v name="$(c name "$1")q$2" '{ for (i = 2; i <= NF; i++) { n = $i; sub(/,$/, "", n)
		if (n == name) { sub(/:$/, "", $1); print $1 } } }' /proc/interrupts
}
# The number of interrupts, on all CPUs or on one CPU.
count_of() { # IRQ [CPU]
	awk -v irq="$1:" -v cpu="${2:-}" -v cpus="$(nproc --all)" '$1 == irq {
		if (cpu != "") n = $(cpu + 2); else for (i = 2; i < cpus + 2; i++) n += $i
		print n }' /proc/interrupts
}
# The vectors of the device's table.
table() { lspci -vvs "$1" 2>/dev/null | sed -n 's/.*MSI-X: .*Count=\([0-9]*\).*/\1/p'; }

# Expands CPU lists, one CPU a line.
each_cpu() {
	local list part parts
	for list; do
		IFS=, read -ra parts <<<"$list"
		for part in "${parts[@]}"; do
			seq "${part%-*}" "${part#*-}"
		done
	done
}

named() {
	for bdf in $(controllers); do
		for qid in $(queues "$bdf"); do
			same "interrupts named $(c name "$bdf")q$qid" 1 "$(irq_of "$bdf" "$qid" | wc -l)"
		done
	done
	same "handlers" "$(for bdf in $(controllers); do queues "$bdf"; done | wc -l)" \
		"$(grep -o 'nvme9[0-9][0-9]q[0-9]*' /proc/interrupts | sort -u | wc -l)"
}

vectors() {
	for bdf in $(controllers); do
		local count
		count=$(queues "$bdf" | wc -l)
		if ! has_msix "$bdf"; then
			same "I/O queues without MSI-X" 1 "$(c io_queues "$bdf")"
			same "vector of the I/O queue" 0 "$(q 1 vector "$bdf")"
			same "its interrupt" "$(cat "/sys/bus/pci/devices/$bdf/irq")" "$(irq_of "$bdf" 1)"
			continue
		fi
		# The device may have fewer vectors than CPUs plus the admin queue.
		at_most "queues" "$(table "$bdf")" "$count"
		at_most "I/O queues" "$(nproc --all)" $((count - 1))
		same "vectors" "$count" "$(ls "/sys/bus/pci/devices/$bdf/msi_irqs" | wc -l)"
		for qid in $(queues "$bdf"); do
			same "vector of queue $qid" "$qid" "$(q "$qid" vector "$bdf")"
			[ -e "/sys/bus/pci/devices/$bdf/msi_irqs/$(irq_of "$bdf" "$qid")" ]
		done
	done
}

# Each CPU belongs to one queue: by the vector's affinity, by the driver's files, and by blk-mq.
spread() {
	for bdf in $(controllers); do
		local all=()
		for qid in $(queues "$bdf"); do
			[ "$qid" != 0 ] || continue
			local cpus irq
			cpus=$(q "$qid" cpus "$bdf") irq=$(irq_of "$bdf" "$qid")
			all+=("$cpus")
			same "queue $qid: CPUs of its interrupt" "$cpus" "$(cat "/proc/irq/$irq/smp_affinity_list")"
			for cpu in $(each_cpu "$(cat "/proc/irq/$irq/effective_affinity_list")"); do
				each_cpu "$cpus" | grep -qx "$cpu"
			done
			for disk in $(disks "$bdf"); do
				same "queue $qid: CPUs of $disk" "$(each_cpu "$cpus" | xargs)" \
					"$(sed 's/,//g' "/sys/block/$disk/mq/$((qid - 1))/cpu_list" | xargs)"
			done
		done
		same "CPUs" "$(seq 0 $(($(nproc --all) - 1)) | xargs)" "$(each_cpu "${all[@]}" | sort -n | xargs)"
	done
}

# The queue's count grows like the kernel's. If handlers share an interrupt, each of them counts it.
counted() {
	for bdf in $(controllers); do
		local irq=() kernel=() queue=()
		for qid in $(queues "$bdf"); do
			irq[qid]=$(irq_of "$bdf" "$qid")
			kernel[qid]=$(count_of "${irq[qid]}")
			queue[qid]=$(q "$qid" interrupts "$bdf")
		done
		disk=$(disks "$bdf" | head -n 1)
		for cpu in $(seq 0 $(($(nproc) - 1))); do
			taskset -c "$cpu" dd if="/dev/$disk" of=/dev/null bs=4k count=20 iflag=direct
		done
		for qid in $(queues "$bdf"); do
			same "interrupts of queue $qid" $(($(count_of "${irq[qid]}") - kernel[qid])) \
				$(($(q "$qid" interrupts "$bdf") - queue[qid]))
			[ "$qid" = 0 ] || at_least "interrupts of queue $qid" 10 "$(q "$qid" interrupts "$bdf")"
		done
	done
}

# A CPU's command completes on a CPU of its queue.
on_its_cpu() {
	for cpu in $(seq 0 $(($(nproc) - 1))); do
		local start=() qid irq
		for qid in $(queues "$bdf"); do start[qid]=$(q "$qid" completed "$bdf"); done
		taskset -c "$cpu" dd if="/dev/$disk" of=/dev/null bs=4k count=50 iflag=direct
		for qid in $(queues "$bdf"); do
			if [ $(($(q "$qid" completed "$bdf") - start[qid])) -ge 50 ]; then
				each_cpu "$(q "$qid" cpus "$bdf")" | grep -qx "$cpu"
				irq=$(irq_of "$bdf" "$qid")
				for other in $(seq 0 $(($(nproc) - 1))); do
					each_cpu "$(q "$qid" cpus "$bdf")" | grep -qx "$other" ||
						same "interrupts of queue $qid on CPU $other" 0 "$(count_of "$irq" "$other")"
				done
			fi
		done
	done
}

# No interrupt storm: at most a few interrupts per command, and few idle interrupts.
reasonable() {
	for bdf in $(controllers); do
		for qid in $(queues "$bdf"); do
			has_msix "$bdf" || continue
			at_most "interrupts of queue $qid" $(($(q "$qid" completed "$bdf") + 20)) "$(q "$qid" interrupts "$bdf")"
			at_most "idle interrupts of queue $qid" 20 "$(q "$qid" idle_interrupts "$bdf")"
		done
	done
}

begin 6
load_disks
check "each queue's interrupt has its name" named
check "each queue has a vector, as far as there are any" vectors
if has_msix "$bdf"; then
	check "each CPU belongs to one queue" spread
	check "the counts are the kernel's" counted
	check "interrupts come to the CPUs of their queue" on_its_cpu
	check "there are not more interrupts than commands" reasonable
else
	skip "each CPU belongs to one queue" "no MSI-X, so one vector"
	check "the counts are the kernel's" counted
	skip "interrupts come to the CPUs of their queue" "no MSI-X, so one vector"
	at_least_one() { at_least "completed" 20 "$(q 1 completed)"; at_most "interrupts" $((4 * $(q 1 completed) + 100)) "$(q 1 interrupts)"; }
	check "there are not many more interrupts than commands" at_least_one
fi
finish
