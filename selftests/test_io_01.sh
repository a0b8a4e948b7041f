#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Data with checksums, at all block sizes from a logical block to 2 MiB, each in a region of its
# own, with several commands in flight.
. "$(dirname "$0")/common.sh"

# Sizes for each way to build a command: one page, two pages, a list, the controller's largest
# transfer, and larger requests, which the block layer splits.
sizes() {
	local size
	for size in 512 1024 1536 2048 4096 4608 8192 12288 16384 32768 61440 65536 131072 262144 \
		524288 1048576 1052672 2097152; do
		[ $((size % $(blk "$1" logical_block_size))) != 0 ] || echo $size
	done
}

verify() { # DISK RW OPTION…: one job for each size, in regions that follow each other
	local disk=$1 rw=$2 size offset=0 region jobs=()
	shift 2
	for size in $(sizes "$disk"); do
		region=$((size < 32768 ? size * 32 : (size + 1048575) / size * size))
		[ $((offset + region)) -le "$(bytes "$disk")" ] || break
		jobs+=("--name=$size" "--bs=$size" "--size=$region" "--offset=$offset")
		offset=$(((offset + region + 4095) / 4096 * 4096))
	done
	(cd "$tmp" && fio --filename="/dev/$disk" --ioengine=libaio --direct=1 --iodepth=8 --rw="$rw" \
		--verify=crc32c --verify_fatal=1 --verify_state_save=0 --eta=never "$@" \
		"${jobs[@]}" --output-format=json --output=fio.json)
	same "jobs with errors" 0 "$(jq '[.jobs[] | select(.error != 0)] | length' "$tmp/fio.json")"
	at_least "bytes verified" $((offset * 9 / 10)) \
		"$(jq '[.jobs[].read.io_bytes] | add' "$tmp/fio.json")"
}

# The data are still there after the module was loaded again, by a new fio.
later() { # DISK
	unload
	load
	verify "$1" read --verify_only
}

begin $(($(
	load >/dev/null
	disks | wc -l
	unload
) * 3))
load_disks
for disk in $(disks); do
	check "$disk: $(sizes "$disk" | xargs) bytes, in random order" verify "$disk" randwrite
	check "$disk: the same, one after the other, buffered" verify "$disk" write --direct=0 --ioengine=psync
	check "$disk: the data are still there after the module was loaded again" later "$disk"
done
finish
