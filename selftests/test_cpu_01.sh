#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# CPU hotplug, CYCLES times, while commands are in flight, in queues with interrupts and in polled
# queues: no request fails, and each online CPU has its queue.
. "$(dirname "$0")/common.sh"

cpu() { echo "$2" >"/sys/devices/system/cpu/cpu$1/online"; }
all_cpus() { local n; for ((n = 1; n < cpus; n++)); do cpu "$n" 1; done; }
more() { [ "$(sum completed)" -ge $(($1 + 20)) ]; }

# All CPUs but the first, in turn, and sometimes all at once.
go_and_come() {
	local i n start=$SECONDS
	for ((i = 0; i < cycles; i++)); do
		n=$((1 + i % (cpus - 1)))
		cpu $n 0
		if [ $((i % 5)) = 4 ]; then
			for ((n = 1; n < cpus; n++)); do cpu $n 0 2>/dev/null || true; done
		fi
		wait_for 60 more "$(sum completed)"
		all_cpus
		wait_for 60 more "$(sum completed)"
	done
	say "$cycles times a CPU or all but one went and came, in $((SECONDS - start)) s"
}
queues_of_cpus() {
	local n
	for ((n = 0; n < cpus; n++)); do
		taskset -c $n dd if="/dev/$disk" of=/dev/null bs=4k count=20 iflag=direct
	done
	for qid in $(queues "$bdf"); do
		[ "$(q "$qid" kind)" != default ] || at_least "commands of queue $qid" 20 "$(q "$qid" submitted)"
	done
	same "time-outs" 0 "$(c timeouts)"
}
# A reset and a bind with a CPU offline: its queue exists, and works when the CPU is online
# again.
reset_without() {
	cpu $((cpus - 1)) 0
	reset_controller
	wait_for 30 more "$(sum completed)"
	all_cpus
	wait_for 30 more "$(sum completed)"
}
bind_without() {
	cpu $((cpus - 1)) 0
	unbind "$bdf"
	bind "$bdf"
	same "queues" $((1 + cpus + 1)) "$(queues | wc -l)"
	all_cpus
	queues_of_cpus
}

begin 6
cycles 15
cpus=$(nproc --all)
[ "$cpus" -ge 3 ] || skip_all "fewer than three CPUs"
load_disks poll_queues=1
witness witness --steady "$(c serial)/1"
witness polled --steady --polled --first 4096 "$(c serial)/1"
check "CPUs go and come $cycles times under load" go_and_come
check "the queues of all CPUs work" queues_of_cpus
check "a reset while a CPU is away" reset_without
check "no request of queues with interrupts failed or was lost" testify witness
check "no polled request failed or was lost" testify polled
check "a bind while a CPU is away" bind_without
all_cpus
finish
