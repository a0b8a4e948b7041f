#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The features that the driver sets at each start: the time, the power states that an idle controller enters, and the
# memory that it borrows. QEMU's controller has no such states and borrows nothing, so its identify data are changed in
# the driver's buffer. The controller then refuses the command, and the driver works without it; some tests turn the
# refusal into a success.
. "$(dirname "$0")/common.sh"

# set_feature FID: dword 11 and the address of the data of the last Set Features of FID in the admin queue, and dwords 12
# to 15.
set_feature() {
	admin_commands 0x09 | awk -v fid="$(($1))" '
		$11 % 256 == fid { found = sprintf("%d 0x%x %d %d %d %d", $12, $8 * 2 ^ 32 + $7, $13, $14, $15, $16) }
		END { if (found) print found }'
}
# The 32 quadwords at the physical address ADDRESS.
memory() { # ADDRESS
	"$top/qemu/qmp" human-monitor-command "{\"command-line\": \"xp /32gx $1\"}" |
		grep -oE '0x[0-9a-f]{16}'
}

time_of() {
	nvme admin-passthru /dev/nvme900 --opcode=0x0a --cdw10=0x0e --data-len=8 --read --raw-binary 2>/dev/null |
		od -A n -t u8 | awk '{ printf "%.0f\n", $1 % 2 ^ 48 / 1000 }'
}
# QEMU counts on from what it was told.
has_time() {
	local now told
	told=$(time_of) now=$(date +%s)
	echo "the controller has $told, the guest $now"
	at_least "seconds since 1970" $((now - 10)) "$told"
	at_least "seconds since 1970, of the guest" "$told" $((now + 10))
}
after_reset() {
	# Another time, which the reset corrects.
	printf '\1\0\0\0\0\0\0\0' >"$tmp/data"
	nvme admin-passthru /dev/nvme900 --opcode=0x09 --cdw10=0x0e --data-len=8 --write --input-file="$tmp/data"
	[ "$(time_of)" -lt 1000 ]
	reset_controller
	wait_for 30 live
	has_time
}
not_asked() { same "Set Features" "" "$(set_feature 0x0c)"; }

# Five states: 3 is light, 4 is deep. Times are in microseconds.
states() {
	AMENDED_BY=reset amended 1/0:263=04 1/0:265=01 \
		"1/0:2144=00000002$(le32 5000)$(le32 6000)" "1/0:2176=00000002$(le32 9000)$(le32 50000)"
	wait_for 60 live
}
le32() { le64 "$1" | cut -c1-8; }
# goes ENABLE ENTRY…: the driver has enabled these transitions.
goes() {
	local enable=$1 got data
	shift
	states
	got=$(set_feature 0x0c)
	read -r got data _ <<<"$got"
	same "enabled" "$enable" "$got"
	same "the first entries" "$*" "$(memory "$data" | head -n 5 | xargs printf '%#x ' | sed 's/ $//')"
	same "other entries" 0x0000000000000000 "$(memory "$data" | tail -n +6 | sort -u)"
	dd if="/dev/$disk" of=/dev/null bs=4k count=64 iflag=direct
}
reload() {
	unload
	load timeout="$patience" "$@"
	wait_for 30 test -b "/dev/$disk"
}
# State 3 after 100 ms, state 4 after 2 s.
light=0x6418 deep=0x7d020
transitions() { goes 1 $light $light $light $deep 0; }
limited() {
	reload ps_max_latency_us=49999
	goes 1 $light $light $light 0 0
}
none() {
	reload ps_max_latency_us=0
	goes 0 0 0 0 0 0
}
without() {
	reload quirks_on=0x10
	goes 0 0 0 0 0 0
	reload quirks_on=0x20
	goes 1 $light $light $light 0 0
}

# asks HMPRE HMMIN HMMAXD [CHANGE…]: after a reset the controller asks for memory, in pages.
asks() {
	AMENDED_BY=reset amended "1/0:272=$(le32 "$1")$(le32 "$2")" "1/0:336=$(le32 "$3" | cut -c1-4)" "${@:4}"
	wait_for 60 live
}
asked() { [ -n "$(set_feature 0x0d)" ]; }
lent() { same "lent bytes" "$1" "$(c host_memory)"; }
# It gets 5 MiB, in chunks of 4 and 1 MiB.
lends() {
	local memory
	log_mark lends
	memory=$(free_memory)
	asks 1280 256 0 0x20d/0:0=00
	wait_for 60 lent $((5 << 20))
	logged lends "lent 5120 KiB of memory"
	dwords 1 1280 2
	[ $((memory - $(free_memory))) -ge 5000 ]
}
dwords() { # DWORD11 PAGES DESCRIPTORS
	local got list
	got=$(set_feature 0x0d)
	echo "$got"
	read -r -a got <<<"$got"
	same "dword 11" "$1" "${got[0]}"
	same "pages" "$2" "${got[2]}"
	same "descriptors" "$3" "${got[5]}"
	list=$((got[3] | got[4] << 32))
	same "the sum of the descriptors" "$2" "$(memory "$(printf '%#x' $list)" | head -n $((2 * $3)) | awk 'NR % 2 == 0 { n += strtonum($1) } END { print n }')"
}
# After a reset it gets the same memory, and says so.
lends_again() {
	AMENDED_BY=reset amended 0x20d/0:0=00
	wait_for 60 live
	lent $((5 << 20))
	dwords 3 1280 2
}
# The administrator takes it back, and lends it again.
asked_for() {
	local hmb=/sys/class/rnvme/nvme900/hmb memory
	same "hmb" 1 "$(cat $hmb)"
	memory=$(free_memory)
	# QEMU refuses to do without.
	refused sh -c "echo 0 >$hmb"
	lent $((5 << 20))
	takes() { echo 0 >"$hmb"; }
	AMENDED_BY=takes amended 0x20d/0:0=00
	same "hmb" 0 "$(cat $hmb)"
	lent 0
	same "dwords 11 to 15" "0 0x0 0 0 0 0" "$(set_feature 0x0d)"
	wait_for 10 gave_back "$memory"
	# Neither a reset nor a scan lends it, which QEMU would refuse.
	log_mark kept
	asks 1280 256 0
	echo 1 >"$(dir_of)/controller/rescan_controller"
	sleep 1
	refused grep "Set Features failed" <(log_since kept)
	refused sh -c "echo 1 >$hmb"
	same "hmb" 0 "$(cat $hmb)"
	refused sh -c "echo 2 >$hmb"
	borrows() { echo 1 >"$hmb"; }
	AMENDED_BY=borrows amended 0x20d/0:0=00
	same "hmb" 1 "$(cat $hmb)"
	lent $((5 << 20))
	dwords 1 1280 2
}
gives_back() {
	local memory
	memory=$(free_memory)
	reload
	lent 0
	wait_for 10 gave_back "$memory"
}
gave_back() { [ $(($(free_memory) - $1)) -ge 4000 ]; }
# QEMU's own answer is a refusal: the memory is freed, and not offered again.
refuses() {
	log_mark refuses
	asks 512 256 0
	wait_for 60 asked
	wait_for 60 logged refuses "Set Features failed"
	lent 0
	echo 1 >"$(dir_of)/controller/rescan_controller"
	dd if="/dev/$disk" of=/dev/null bs=4k count=64 iflag=direct
}
# Less than the controller needs, or nothing by the parameter.
offers_nothing() {
	reload max_host_mem_size_mb="$1"
	asks 1024 512 0
	sleep 1
	same "Set Features" "" "$(set_feature 0x0d)"
	lent 0
}

begin 13
need_qemu
type -P nvme >/dev/null || skip_all "no nvme-cli"
[ ! -e /sys/kernel/iommu_groups/0 ] || skip_all "an IOMMU translates addresses"
load_disks timeout="$patience"
need_poke
check "the controller has the time" has_time
check "a reset sets it again" after_reset
check "a controller without power states isn't asked to enter them" not_asked
check "an idle controller enters a light state, and later a deep one" transitions
check "not those that take longer to leave than the parameter says" limited
check "and none if it is 0" none
check "quirks forbid the deepest state, or all" without
reload
check "a controller that asks borrows memory" lends
check "and has it again after a reset" lends_again
check "the administrator takes it back, and lends it again" asked_for
check "the memory is free when the controller is unbound" gives_back
check "a controller that refuses it does without" refuses
check "one that needs more than the parameter allows gets none" offers_nothing 1
finish
