#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Data with checksums for each setting of the module: with all of fio's I/O engines, in sizes from a
# block to 1 MiB, with memory that isn't page aligned.
. "$(dirname "$0")/common.sh"

# Each job has its own region, and all jobs run at once. Some need polled queues. (Verification with fio
# 3.39's mmap engine fails on every disk, including the C driver's.)
engines() { # POLLED
	local polled=$1 offset=0 block jobs=() name options
	block=$(blk "$disk" logical_block_size)
	while read -r name options; do
		# shellcheck disable=SC2206 # words
		jobs+=("--name=$name" "--offset=${offset}m" $options)
		offset=$((offset + 2))
	done <<-END
		libaio --ioengine=libaio --iodepth=16
		libaio-batch --ioengine=libaio --iodepth=16 --iodepth_batch_submit=8 --iodepth_batch_complete_min=4
		io_uring --ioengine=io_uring --iodepth=16
		io_uring-fixed --ioengine=io_uring --iodepth=8 --fixedbufs=1 --registerfiles=1
		io_uring-polled --ioengine=io_uring --iodepth=8 --hipri=$polled
		pvsync2-polled --ioengine=pvsync2 --hipri=$polled
		psync --ioengine=psync
		posixaio --ioengine=posixaio --iodepth=4
		buffered --ioengine=psync --direct=0 --fsync=16
	END
	(cd "$tmp" && fio --filename="/dev/$disk" --direct=1 --size=2m --rw=randwrite --bsrange="$block-1m" \
		--iomem_align=4 --verify=crc32c --verify_fatal=1 --verify_state_save=0 --allow_file_create=0 \
		--eta=never --output-format=json --output=fio.json "${jobs[@]}")
	same "bytes verified by each job" "$(printf '2097152\n%.0s' {1..9})" \
		"$(jq '.jobs[] | select(.error == 0) | .read.io_bytes' "$tmp/fio.json")"
	same "errors" 0 "$(sum errors)"
	same "stray completions" 0 "$(sum stray_completions all)"
	same "in flight" 0 "$(sum inflight)"
	# The queues were polled.
	[ "$polled" = 0 ] || at_least "polls" 1 "$(sum polls)"
}

with() { # PARAMETER=VALUE…
	unload
	load "$@"
	case "$*" in
	*poll_queues*) engines 1 ;;
	*) engines 0 ;;
	esac
}

settings=(
	""
	"lazy_doorbells=0"
	"lazy_doorbells=1 shadow_doorbells=0"
	"lazy_doorbells=0 shadow_doorbells=0"
	"poll_queues=2"
	"read_queues=2 poll_queues=1"
	"io_queues=1 queue_depth=2"
	"queue_depth=4095"
)
begin ${#settings[@]}
load_disks
for setting in "${settings[@]}"; do
	# shellcheck disable=SC2086 # words
	check "all ways to read and write, with ${setting:-no parameter}" with $setting
done
finish
