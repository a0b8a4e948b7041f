#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A controller that returns invalid identify data of namespaces: impossible sizes and formats, random
# limits, changing identifiers, unordered lists. The driver removes the disk and logs the reason, or keeps
# it within valid limits. The disk is back when the data are valid again.
. "$(dirname "$0")/common.sh"

ROUNDS=${ROUNDS:-2}
there() { [ -b "/dev/$disk" ] && [ -n "$(disks "$bdf")" ]; }
missing() { [ -z "$(disks "$bdf")" ]; }
size_is() { [ "$(cat "/sys/block/$disk/size" 2>/dev/null)" = "$1" ]; }
sum_of_data() { dd if="/dev/$disk" bs=64k count=16 iflag=direct status=none | sha256sum; }
# noise SEED BYTES: as hexadecimal digits.
noise() { python3 -c 'import random, sys; print(random.Random(sys.argv[1]).randbytes(int(sys.argv[2])).hex())' "$1" "$2"; }
uuid() { echo "03100000$(noise "$1" 16)"; }

# The disk is as before.
honest() {
	echo 1 >"$(dir_of)/controller/rescan_controller"
	wait_for 30 size_is "$sectors"
	wait_for 30 there
	same "data" "$data" "$(sum_of_data)"
	same "state, resets" "live 0" "$(c state) $(c resets)"
}
# gone REASON CHANGE…: the driver removes the disk, and logs REASON.
gone() {
	local try
	log_mark gone
	# On a busy machine the change may come behind what the driver reads.
	for try in 1 2 3; do
		amended "${@:2}"
		if wait_for 10 missing; then break; fi
		[ "$try" != 3 ] || return 1
	done
	log_since gone | grep -F "namespace 1: no disk: $1" || { log_since gone; return 1; }
	honest
}

sizes() {
	gone "NSZE is 0" "0/1:0=$(le64 0)"
	# The largest file offset is the limit.
	amended "0/1:0=$(le64 -1)"
	wait_for 30 size_is $(((1 << 54) - 1))
	refused dd if="/dev/$disk" of="$tmp/read" bs=4k skip=$((1 << 50)) count=1 iflag=direct
	honest
	amended "0/1:0=$(le64 1)"
	wait_for 30 size_is 1
	honest
}
has_metadata() { [ "$(cat "/sys/block/$disk/metadata_bytes")" = 8 ]; }
formats() {
	local shift change
	gone "FLBAS is format 15, but NLBAF is 7" "0/1:25=070f"
	for shift in 00 08 0d ff; do
		gone "LBADS is $((0x$shift))" "0/1:25=0000" "0/1:128=0000${shift}00"
	done
	for change in "0/1:128=ffff0900" "0/1:26=10 0/1:128=08000900"; do
		log_mark unusable
		# shellcheck disable=SC2086 # words
		amended "0/1:25=0000" $change
		wait_for 30 size_is 0
		logged unusable "namespace 1: a disk of size 0: its blocks have "
		honest
	done
	# Protection information that QEMU neither keeps nor checks: the block layer finds none.
	amended "0/1:25=0000" "0/1:29=01" "0/1:128=08000900"
	wait_for 30 has_metadata
	refused dd if="/dev/$disk" of="$tmp/read" bs=64k count=16 iflag=direct
	honest
	gone "command set 0xff is not NVM" "3/1:0=04010000ff"
}
# anew SEED CHANGE…: the driver replaces the disk, with a line in the log.
anew() {
	log_mark "$1"
	if trusted; then
		amended "3/1:0=$(uuid "$1")" "${@:2}"
		wait_for 30 logged "$1" "namespace 1: its identifiers have changed" >"$tmp/logged"
	else
		amended "0/1:0=$(le64 0)"
		wait_for 30 missing
		[ $# = 1 ] || amended "${@:2}"
		[ $# != 1 ] || echo 1 >"$(dir_of)/controller/rescan_controller"
	fi
	wait_for 30 there
}
# The driver creates a new disk with unusual limits.
limits() {
	local round seed
	for ((round = 0; round < ROUNDS; round++)); do
		seed=$SEED.$round
		# All hints are valid, and the boundary is a power of two.
		anew "$seed" "0/1:24=ff" "0/1:28=$(noise "$seed" 71)" "0/1:46=$(le64 $((1 << (SEED + round) % 16)) | head -c 4)"
		fio_on "$disk" --rw=randrw --bs=4k-256k --iodepth=8 --offset=16M --size=8M --verify=crc32c
		say "round $round: $(cd "/sys/block/$disk/queue" && grep -s . chunk_sectors minimum_io_size optimal_io_size \
			discard_granularity physical_block_size atomic_write_max_bytes | tr : ' ' | paste -sd,)"
		honest
	done
}
# numbers there|missing LIST: whether the disk exists after this list of namespaces.
numbers() {
	amended "2/0:0=$2"
	wait_for 60 "$1"
	honest
}
lists() {
	local round seq
	numbers there 0100000001000000
	numbers missing 020000000100000000000000
	numbers missing ffffffff
	numbers missing "ff$(noise "$SEED" 4095)"
	# This logs a line for each; the rate limit might suppress later lines.
	sleep 6
	# No valid descriptor: an identifier that isn't reported hasn't changed.
	seq=$(cat "/sys/block/$disk/diskseq")
	for ((round = 0; round < ROUNDS; round++)); do
		amended "3/1:0=$(printf '%02x' $((5 + round)))$(noise "$SEED.$round" 3)00000000"
		honest
		same "disk" "$seq" "$(cat "/sys/block/$disk/diskseq")"
	done
	# The driver rejects all but one; the log has some of the lines, and the number of suppressed
	# lines.
	log_mark many
	numbers there "$(python3 -c 'import struct; print(struct.pack("<1024I", *range(1, 1025)).hex())')"
	at_most "lines in the log" 60 "$(log_since many | grep -c 'Identify failed\|no disk')"
	sleep 5
	anew "$SEED"
	honest
	# A slow machine takes more than one interval of the limit.
	at_least "lines left out" 900 "$(log_since many | grep -oE '[0-9]+ lines left out' | awk '{ n += $1 } END { print n + 0 }')"
}

# The kernel has requests of a page, which has 4, 16 or 64 KiB.
small_transfers() {
	log_mark small
	AMENDED_BY=reset amended 1/0:77=01
	wait_for 30 live
	wait_for 30 missing
	logged small "namespace 1: no disk: MDTS allows transfers of 8 KiB, less than a page of this kernel"
	reset_controller
	wait_for 60 there
	same "data" "$data" "$(sum_of_data)"
}

SEED=${SEED:-$RANDOM}
begin 6
need_qemu
take
load_disks timeout="$patience" "${trust[@]}"
[ "$(disks | xargs)" = nvme900n1 ] || skip_all "not one namespace"
need_poke
ktap_print_msg "SEED=$SEED"
sectors=$(cat "/sys/block/$disk/size")
dd if=/dev/urandom of="/dev/$disk" bs=64k count=16 oflag=direct status=none
data=$(sum_of_data)
check "sizes that can't be" sizes
check "formats and command sets that can't be" formats
check "limits at random" limits
check "lists of namespaces and of identifiers without order" lists
if [ "$(getconf PAGESIZE)" -gt 8192 ]; then
	check "transfers of less than a page" small_transfers
else
	skip "transfers of less than a page" "no controller has them: a page of this kernel is a page of the controller"
fi
check "fio with checksums" fio_on "$disk" --rw=randrw --bs=4k --iodepth=16 --size=8M --verify=crc32c
finish
