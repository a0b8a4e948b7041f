#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A controller that has fewer I/O queues after a reset: a virtual function whose queues the physical
# function takes away, and gives back. The physical function belongs to the C driver.
. "$(dirname "$0")/common.sh"

function_reset() { echo 1 >"/sys/bus/pci/devices/$bdf/reset"; }
# The I/O queues that the controller has, and those that the block layer has.
present() {
	local qid
	for qid in $(queues "$bdf"); do
		[ "$qid" = 0 ] || [ "$(q "$qid" state)" != live ] || echo "$qid"
	done
}
mapped() { [ "$(ls "/sys/block/$disk/mq" | wc -l)" = "$1" ]; }
# Reads from each online CPU, and prints how many I/O commands each queue got.
read_all() {
	local cpu qid before=()
	for qid in $(queues "$bdf"); do before[qid]=$(q "$qid" submitted); done
	for cpu in $(each_online); do
		timeout 20 taskset -c "$cpu" dd if="/dev/$disk" of=/dev/null bs=4k count=10 iflag=direct
	done
	for qid in $(queues "$bdf"); do
		[ "$qid" = 0 ] || echo "$qid $(($(q "$qid" submitted) - before[qid]))"
	done >"$tmp/each"
}
each_online() { sed 's/,/\n/g' /sys/devices/system/cpu/online | while IFS=- read -r a b; do seq "$a" "${b:-$a}"; done; }
has() { # QUEUES
	local qid
	wait_for 10 mapped "$1"
	same "state" live "$(c state)"
	same "I/O queues" "$1" "$(c io_queues)"
	same "queues" "$(seq "$1")" "$(present)"
	same "all queues" "$(seq 0 4)" "$(queues "$bdf")"
	same "CPUs" "$(seq 0 3)" "$(cat "/sys/block/$disk"/mq/*/cpu_list | tr -d ' ' | tr , '\n' | sort -nu)"
	read_all
	for qid in {1..4}; do
		# Its counts stay, and nothing is in it.
		[ "$qid" -le "$1" ] || same "queue $qid" "$qid 0 0" "$(grep "^$qid " "$tmp/each") $(q "$qid" inflight)"
		[ "$qid" -gt "$1" ] || at_least "commands of queue $qid" 10 "$(awk -v q="$qid" '$1 == q { print $2 }' "$tmp/each")"
	done
}
told() { logged "$1" "the controller has $2"; }

start() { # [PARAMETER=VALUE…]: the whole function's queues
	resources 5 5
	echo rust_nvme_demo >"/sys/bus/pci/devices/$bdf/driver_override"
	load "$@"
	disk=$(disks "$bdf")
	[ -n "$disk" ]
}
load_on() {
	background fio_on "$disk" --rw=randrw --bs=4k-64k --iodepth=16 --size=8M --offset_increment=8M --numjobs=4 \
		--cpus_allowed=0-3 --cpus_allowed_policy=split --verify=crc32c --time_based --runtime="$1"
}
# Not one request failed or was done twice.
load_ended() {
	wait_for 120 ended "$job"
	wait "$job" || { cat "$tmp/background"; return 1; }
	# QEMU may still complete a command that it aborts when the function goes offline; it is retried.
	same "errors, retries" "$(sum errors)" "$(sum retries)"
	same "stray completions" 0 "$(sum stray_completions all)"
	same "time-outs" 0 "$(c timeouts)"
	same "state" live "$(c state)"
}

# The function forgets the commands in flight, and the driver waits 5 s for them at the function reset.
fewer() {
	has 4
	log_mark fewer
	load_on 12
	sleep 2
	resources 3 5
	function_reset
	has 2
	told fewer "only 2 of 4 I/O queues now"
	same "parameter" 4 "$(c parameters/io_queues)"
	load_ended
	has 2
}
again() {
	log_mark again
	load_on 12
	sleep 2
	resources 5 5
	reset_controller
	has 4
	told again "all 4 I/O queues again"
	load_ended
	has 4
}
# A queue also serves CPUs other than its vector's, and the kernel shuts the vector down with its last CPU.
without_its_cpu() {
	local cpu qid
	cpu=$(q 2 cpus)
	resources 3 5
	reset_controller
	has 2
	for qid in 1 2; do same "vector of queue $qid" 0 "$(q "$qid" vector)"; done
	echo 0 >"/sys/devices/system/cpu/cpu$cpu/online"
	has 2
	echo 1 >"/sys/devices/system/cpu/cpu$cpu/online"
	same "lost interrupts" 0 "$(c lost_interrupts)"
}
# The controller grants all queues, but refuses those that have no vector.
refused_queues() {
	log_mark refused
	resources 5 4
	reset_controller
	has 3
	told refused "only 3 of 4 I/O queues now"
	# Repeatedly, in both directions, under load, while a reader looks at the commands in flight.
	load_on 20
	load=$job
	: >"$tmp/bad"
	background looks_at_commands
	reader=$job job=$load
	for n in 2 4 1 4 3 1; do
		sleep 1
		resources $((n + 1)) 5
		reset_controller
		wait_for 20 live
	done
	has 1
	load_ended
	stop "$reader"
	same "other errors" "" "$(cat "$tmp/bad")"
	at_least "looks at the commands" 10 "$(wc -l <"$tmp/looks")"
}
# As fast as it can, and a line for each look. While the block layer changes its queues, there is no answer.
looks_at_commands() {
	local ages
	while :; do
		ages=$(cat "$(dir_of)"/queues/*/oldest_us 2>&1) ||
			! grep -v -e '^[0-9 ]*$' -e ': Resource temporarily unavailable$' <<<"$ages" >"$tmp/bad" || break
		echo
	done >"$tmp/looks"
}
none() {
	log_mark none
	resources 5 1
	reset_controller
	dead() { [ "$(c state)" = dead ]; }
	wait_for 20 dead
	logged none "reset failed"
	same "size of the disk" 0 "$(cat "/sys/block/$disk/size")"
}
has_kinds() { for qid in $(present); do q "$qid" kind; done | xargs; }
kinds() {
	unload
	start io_queues=2 read_queues=1 poll_queues=1
	same "kinds" "default default read poll" "$(has_kinds)"
	for n in 3:"default default read" 2:"default default" 1:default 4:"default default read poll"; do
		background fio_on "$disk" --rw=randrw --bs=4k --iodepth=8 --size=8M --offset_increment=8M --numjobs=2 \
			--ioengine=io_uring --hipri=1 --verify=crc32c --time_based --runtime=6
		sleep 1
		resources $((${n%:*} + 1)) 5
		reset_controller
		wait_for 20 live
		wait_for 20 mapped "${n%:*}"
		same "kinds" "${n#*:}" "$(has_kinds)"
		load_ended
	done
}
# rnvme-top shows the queues that there are.
top_copes() {
	resources 3 5
	reset_controller
	wait_for 20 mapped 2
	"$rnvme_top" --once --json >"$tmp/json"
	same "kinds" "admin default default lost lost" "$(jq -r '[.controllers[0].queues[].kind] | join(" ")' "$tmp/json")"
}

# Afterwards the C driver is unloaded.
back() {
	stop
	! loaded || unload
	echo 0 >"/sys/bus/pci/devices/$owner/sriov_numvfs"
	echo >"/sys/bus/pci/devices/$owner/driver_override"
	rmmod nvme nvme_core
} >/dev/null 2>&1

begin 7
owner=''
for device in $(nvme_devices); do
	[ ! -e "/sys/bus/pci/devices/$device/sriov_numvfs" ] || owner=$device
done
[ -n "$owner" ] || skip_all "no controller with virtual functions"
if [ -e /sys/module/nvme ] || ! modinfo nvme >/dev/null 2>&1; then
	skip_all "the C driver can't be loaded and unloaded"
fi
trap 'back; clean_up' EXIT
modprobe nvme_core multipath=N
echo nvme >"/sys/bus/pci/devices/$owner/driver_override"
modprobe nvme
there() { physical=$(cd "/sys/bus/pci/devices/$owner/nvme" 2>/dev/null && echo nvme*) && [ -c "/dev/$physical" ]; }
wait_for 20 there
echo 0 >"/sys/bus/pci/devices/$owner/sriov_drivers_autoprobe"
echo 1 >"/sys/bus/pci/devices/$owner/sriov_numvfs"
bdf=$(basename "$(readlink "/sys/bus/pci/devices/$owner/virtfn0")")
start >/dev/null || ktap_exit_fail_msg "the function can't be driven"
check "fewer queues after a function reset: no request is lost" fewer
check "the queues come back at the next reset" again
check "the rest of the queues works without the CPU of its vector" without_its_cpu
check "queues may be refused, also often and under load" refused_queues
if "$rnvme_top" --version >/dev/null 2>&1; then
	check "rnvme-top shows the lost queues" top_copes
else
	skip "rnvme-top shows the lost queues" "no $rnvme_top for this machine: make top"
fi
check "without any queue the controller is dead" none
check "queues of all kinds, and polled I/O" kinds
back
finish
