#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Compares the queues' counts with the I/O done, and with the block layer's statistics.
. "$(dirname "$0")/common.sh"

# The queues' counts of a controller, and the block layer's of its disks: reads, bytes read, writes,
# bytes written, discards, flushes. The block layer counts a write of zeroes as a write of as many
# bytes, and a flush without data also as a write of 0 bytes.
queues_count() {
	echo "$(sum reads) $(sum bytes_read) $(($(sum writes) + $(sum write_zeroes))) $(sum bytes_written)" \
		"$(sum discards) $(sum flushes)"
}
block_counts() {
	local dir
	for dir in /sys/bus/pci/devices/"$bdf"/rnvme/nvme*/nvme*; do
		cat "$dir/stat"
	done | awk '{ r += $1; rb += $3 * 512; w += $5; wb += $7 * 512; d += $12; f += $16 }
		END { print r + 0, rb + 0, w + 0, wb + 0, d + 0, f + 0 }'
}

settled() { [ "$(sum inflight)" = 0 ]; }
# Both counts, while no I/O runs, because a file system may read at any time.
look() {
	settled || return
	block=$(block_counts) queues=$(queues_count)
	[ "$block" = "$(block_counts)" ] && settled
}
# Both counts since the start.
start() {
	wait_for 10 look
	read -ra queues0 <<<"$queues"
	read -ra block0 <<<"$block"
}
since() {
	wait_for 10 look
	read -ra queues1 <<<"$queues"
	read -ra block1 <<<"$block"
	for i in 0 1 2 3 4 5; do
		queues1[i]=$((queues1[i] - queues0[i]))
		block1[i]=$((block1[i] - block0[i]))
	done
	echo "reads, bytes read, writes, bytes written, discards, flushes: queues ${queues1[*]}, block layer ${block1[*]}"
}
since_bind() {
	queues0=(0 0 0 0 0 0) block0=(0 0 0 0 0 0)
	since
	# Before there is a disk, the driver tries SGLs with two reads.
	at_most "reads of the driver's own" $((2 * $(controllers | wc -l))) $((queues1[0] - block1[0]))
	queues1[0]=${block1[0]}
	same "counts" "${block1[*]}" "${queues1[*]}"
}

# COMMAND… changes the file NAME by exactly N.
adds() { # NAME N COMMAND…
	local name=$1 n=$2 before
	shift 2
	before=$(sum "$name")
	"$@"
	same "$name" "$n" $(($(sum "$name") - before))
}

exact() {
	adds reads 100 dd if="/dev/$disk" of=/dev/null bs=4k count=100 iflag=direct
	adds bytes_read 409600 dd if="/dev/$disk" of=/dev/null bs=4k count=100 iflag=direct
	adds writes 100 dd if=/dev/zero of="/dev/$disk" bs=4k count=100 oflag=direct
	adds bytes_written 409600 dd if=/dev/zero of="/dev/$disk" bs=4k count=100 oflag=direct
	adds writes 0 dd if="/dev/$disk" of=/dev/null bs=4k count=10 iflag=direct
	adds reads 0 dd if=/dev/zero of="/dev/$disk" bs=4k count=10 oflag=direct
	adds discards 1 blkdiscard -o 0 -l 4096 "/dev/$disk"
	adds write_zeroes 1 blkdiscard -z -o 0 -l 4096 "/dev/$disk"
	adds bytes_written 0 blkdiscard -z -o 0 -l 4096 "/dev/$disk"
	adds flushes 1 python3 -c "import os; os.fsync(os.open('/dev/$disk', os.O_RDWR))"
}

# The block layer splits a request that is larger than a command; a few more if memory is
# fragmented.
split() {
	local max
	max=$(($(blk "$disk" max_sectors_kb) * 1024))
	adds bytes_read 4194304 dd if="/dev/$disk" of=/dev/null bs=4M count=1 iflag=direct
	before=$(sum reads)
	dd if="/dev/$disk" of=/dev/null bs=4M count=1 iflag=direct
	at_least "commands" $((4194304 / max)) $(($(sum reads) - before))
	at_most "commands" $((2 * 4194304 / max)) $(($(sum reads) - before))
}

mixed() {
	start
	fio_on "$disk" --rw=randrw --bssplit=4k/60:32k/30:256k/10 --iodepth=32 --numjobs=2 --size=8m \
		--offset_increment=16m --output-format=json --output=fio.json
	since
	same "counts" "${block1[*]}" "${queues1[*]}"
	same "bytes read" "$(jq '[.jobs[].read.io_bytes] | add' "$tmp/fio.json")" "${queues1[1]}"
	same "bytes written" "$(jq '[.jobs[].write.io_bytes] | add' "$tmp/fio.json")" "${queues1[3]}"
	same "discards and flushes" "0 0" "${queues1[*]:4}"
}

file_system() {
	mkfs.ext4 -q -F "/dev/$disk"
	mkdir "$tmp/mnt"
	# Otherwise it writes zeroes at any time, which only the block layer counts as bytes.
	mount -o noinit_itable "/dev/$disk" "$tmp/mnt"
	start
	zeroes=$(sum write_zeroes)
	cp -r /usr/include/linux "$tmp/mnt"
	sync
	cold "$tmp/mnt"/linux/*.h
	cat "$tmp/mnt"/linux/*.h | wc -c
	umount "$tmp/mnt"
	since
	same "write zeroes" 0 $(($(sum write_zeroes) - zeroes))
	at_least "flushes" 1 "${queues1[5]}"
	for i in 0 1 3 4 5; do
		same "count $i" "${block1[i]}" "${queues1[i]}"
	done
	at_most "writes" "${block1[2]}" "${queues1[2]}"
	at_least "writes" $((block1[2] - block1[5])) "${queues1[2]}"
}

# The rings' positions follow from the counts, because there was no reset.
positions() {
	local submitted completed cq_depth
	submitted=$(q "$qid" submitted "$bdf") completed=$(q "$qid" completed "$bdf")
	cq_depth=$(q "$qid" cq_depth "$bdf")
	same "queue $qid: sq_tail" $((submitted % $(q "$qid" depth "$bdf"))) "$(q "$qid" sq_tail "$bdf")"
	same "queue $qid: cq_head" $((completed % cq_depth)) "$(q "$qid" cq_head "$bdf")"
	same "queue $qid: cq_phase" $(((1 + completed / cq_depth) % 2)) "$(q "$qid" cq_phase "$bdf")"
}

# When nothing is in flight the counts of a queue add up.
add_up() {
	wait_for 5 settled
	for bdf in $(controllers); do
		for qid in $(queues "$bdf"); do
			local kinds=0
			for kind in reads writes flushes discards write_zeroes admin_commands; do
				kinds=$((kinds + $(q "$qid" $kind "$bdf")))
			done
			same "queue $qid: sum of the kinds" "$(q "$qid" submitted "$bdf")" $kinds
			same "queue $qid: inflight" "$(q "$qid" inflight "$bdf")" \
				$(($(q "$qid" submitted "$bdf") - $(q "$qid" completed "$bdf")))
			positions
			if [ "$qid" = 0 ]; then
				# The asynchronous event request is always in flight.
				at_most "admin queue: inflight" 1 "$(q 0 inflight "$bdf")"
			else
				same "queue $qid: inflight" 0 "$(q "$qid" inflight "$bdf")"
				same "queue $qid: sq_head" "$(q "$qid" sq_tail "$bdf")" "$(q "$qid" sq_head "$bdf")"
			fi
			at_most "queue $qid: sq_doorbells" "$(q "$qid" submitted "$bdf")" "$(q "$qid" sq_doorbells "$bdf")"
			at_most "queue $qid: cq_doorbells" "$(q "$qid" completed "$bdf")" "$(q "$qid" cq_doorbells "$bdf")"
		done
		same "errors" 0 "$(sum errors all "$bdf")"
		same "retries" 0 "$(sum retries all "$bdf")"
		same "stray completions" 0 "$(sum stray_completions all "$bdf")"
		same "commands of the admin queue" "$(q 0 submitted "$bdf")" "$(q 0 admin_commands "$bdf")"
		same "admin commands in I/O queues" 0 "$(sum admin_commands io "$bdf")"
	done
}

rebound() {
	for bdf in $(controllers); do
		unbind "$bdf"
		bind "$bdf"
		at_most "submitted after bind" 1000 "$(sum submitted io "$bdf")"
	done
}

begin 7
load_disks
check "since the module was loaded: as the block layer counted" since_bind
check "each kind of command is counted, with its bytes" exact
check "a request that is split is counted as its commands" split
check "a mixed load: as fio and the block layer counted" mixed
check "ext4: as the block layer counted" file_system
check "the counts of each queue add up" add_up
check "bind begins at zero" rebound
finish
