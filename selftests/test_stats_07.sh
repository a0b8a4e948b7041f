#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The files stat, latency and events, and the effective parameters.
. "$(dirname "$0")/common.sh"

trace=${RUN:-/nonexistent}/trace
settled() { [ "$(sum inflight)" = 0 ]; }

some_load() {
	for disk in $(disks); do
		fio_on "$disk" --rw=randrw --bssplit=4k/80:128k/20 --iodepth=16 --size=1m --fsync=64
		blkdiscard -o 0 -l 1M "/dev/$disk"
	done
	dd if="/dev/$disk" of=/dev/null bs=4k count=100 iflag=direct
	wait_for 10 settled
	for bdf in $(controllers); do
		"$here/stat.py" idle "$driver/$bdf"
	done
}

# Field 1 of the I/O queues, and of the admin queues, of all controllers.
counted() {
	for dir in "$driver"/*:*/queues/*; do
		echo "$((${dir##*/} > 0)) $(cut -d' ' -f1 "$dir/stat")"
	done | awk '{ n[$1] += $2 } END { print n[1] + 0, n[0] + 0 }'
}
seen() {
	tail -c +$((skipped + 1)) "$trace" | awk '/pci_nvme_io_cmd/ { io++ } /pci_nvme_admin_cmd/ { admin++ }
		END { print io + 0, admin + 0 }'
}
as_qemu() {
	agreed() { [ "$(seen)" = "$(counted)" ]; }
	wait_for 10 agreed || true
	same "commands of I/O queues and of admin queues" "$(seen)" "$(counted)"
}

under_load() {
	background fio_on "$disk" --rw=randrw --bssplit=4k/90:64k/10 --iodepth=32 --numjobs=2 \
		--size=32m --time_based --runtime=60
	busy() { [ "$(sum inflight)" -gt 0 ]; }
	wait_for 20 busy
	"$here/stat.py" watch "$driver/$bdf" $((6 * patience))
	stop "$job"
	drop_dumps
	wait_for 10 live
}

# The user nobody can read them, too.
by_anybody() {
	for dir in "$driver/$bdf/controller" "$driver/$bdf/queues/1"; do
		for name in stat latency; do
			setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all cat "$dir/$name" >"$tmp/out"
			test -s "$tmp/out"
		done
	done
	setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all cat "$driver/$bdf/controller/events"
}

p() { c "parameters/$1"; }
parameters() {
	same "timeout" 30 "$(p timeout)"
	same "queue_depth" "$(q 1 depth)" "$(p queue_depth)"
	same "queues" "$(c io_queues)" $(($(p io_queues) + $(p read_queues) + $(p poll_queues)))
	same "read and poll queues" "0 0" "$(p read_queues) $(p poll_queues)"
	same "what doesn't depend on the controller" "100000 128 0" \
		"$(p ps_max_latency_us) $(p max_host_mem_size_mb) $(p shared_namespaces)"
	unload
	load io_queues=1 read_queues=1 poll_queues=1 queue_depth=77 timeout=7 lazy_doorbells=0 shadow_doorbells=0 \
		ps_max_latency_us=4294967295 max_host_mem_size_mb=4096 shared_namespaces=1
	same "what doesn't depend on the controller" "4294967295 4096 1" \
		"$(p ps_max_latency_us) $(p max_host_mem_size_mb) $(p shared_namespaces)"
	for kind in default read poll; do
		n=$(grep -lx $kind "$driver/$bdf"/queues/*/kind | wc -l)
		same "$kind queues" "$n" "$(p "${kind/default/io}_queues")"
	done
	same "the others" "77 7 0 0" \
		"$(p queue_depth) $(p timeout) $(p lazy_doorbells) $(p shadow_doorbells)"
	unload
	load lazy_doorbells=1 shadow_doorbells=1
	if has_msix "$bdf"; then
		same "doorbells" "1 1" "$(p lazy_doorbells) $(p shadow_doorbells)"
	fi
}

fast() { say "$("$here/stat.py" time "$driver/$bdf")"; }

begin 7
# The firmware's I/O comes before.
skipped=$(stat -c %s "$trace" 2>/dev/null || echo 0)
load_disks
check "after a load they have the values of the single files" some_load
if [ -r "$trace" ]; then
	check "they have the commands that QEMU counted" as_qemu
else
	skip "they have the commands that QEMU counted" "no trace of QEMU's: TRACE=1 qemu/run"
fi
check "anybody can read them" by_anybody
check "reading all of them is a matter of two files for a queue" fast
check "under load and resets counts only grow, and each line is possible" under_load
check "afterwards they have the values of the single files" wait_for 10 "$here/stat.py" idle "$driver/$bdf"
check "the parameters in force" parameters
finish
