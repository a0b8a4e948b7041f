#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The time limits of a controller's commands, its counts of errors and retries, and the log of users'
# commands, which the administrator sets by files with the names of the kernel's nvme.
. "$(dirname "$0")/common.sh"

set_to() { echo "$2" >"$1" && same "$1" "$2" "$(cat "$1")"; }
refuses() { # FILE VALUE…
	local file=$1 value before
	shift
	before=$(cat "$file")
	for value; do
		# shellcheck disable=SC2016 # for the other shell
		refused bash -c 'echo "$1" >"$2"' - "$value" "$file"
	done
	same "$file" "$before" "$(cat "$file")"
}

# A command that QEMU holds back times out after the new limit, where the module's parameter allows 30 s.
io_limit() {
	local timeouts begin
	same "limit" 30000 "$(cat "$control/io_timeout")"
	set_to "$control/io_timeout" 2000
	same "limit of the disk" 2000 "$(blk "$disk" io_timeout)"
	refuses "$control/io_timeout" 0 -1 2s 4294967296 ""
	# The disk of a namespace that is attached again has it, too.
	nvme detach-ns "/dev/$name" --namespace-id=1 --controllers="$(cat "$control/cntlid")"
	nvme attach-ns "/dev/$name" --namespace-id=1 --controllers="$(cat "$control/cntlid")"
	wait_for 30 test -b "/dev/$disk"
	same "limit of a new disk" 2000 "$(blk "$disk" io_timeout)"
	timeouts=$(c timeouts)
	begin=$SECONDS
	hold
	background dd if="/dev/$disk" of=/dev/null bs=4k count=1 iflag=direct
	late() { [ "$(c timeouts)" -gt "$timeouts" ]; }
	wait_for 20 late
	at_most "seconds" 20 $((SECONDS - begin))
	release
	wait_for 60 ended "$job"
	wait_for 60 live
	same "limit after a reset" 2000 "$(blk "$disk" io_timeout)"
	set_to "$control/io_timeout" 30000
	drop_dumps
}
# Without interrupts, the driver finds a completion when the command's time is up.
admin_limit() {
	local begin
	same "limit" 30000 "$(cat "$control/admin_timeout")"
	set_to "$control/admin_timeout" 1500
	refuses "$control/admin_timeout" 0 -1 2s 4294967296 ""
	sleep 5
	mask "$bdf" 1
	begin=$(date +%s%N)
	cat "/sys/block/$disk/nuse"
	begin=$((($(date +%s%N) - begin) / 1000000))
	mask "$bdf" 0
	at_least "milliseconds" 1400 "$begin"
	at_most "milliseconds" 15000 "$begin"
	set_to "$control/admin_timeout" 30000
}

# beyond DEVICE: a user's read of the block after the last. QEMU refuses it.
beyond() {
	refused nvme io-passthru "/dev/$1" --opcode=2 --namespace-id=1 --data-len="$block" --read \
		--cdw10=$((blocks & 0xffffffff)) --cdw11=$((blocks >> 32)) --cdw12=0
}
users_line="user's Read (0x02): generic/0x80 LBA Out of Range (DNR); CDW10 to 15:"
users() {
	block=$(blk "$disk" logical_block_size)
	blocks=$(($(bytes "$disk") / block))
	same "users' commands are logged" off "$(cat "/sys/block/$disk/passthru_err_log_enabled")"
	same "errors" 0 "$(cat "$diag/command_error_count")"
	log_mark silent
	beyond "$disk"
	beyond "$generic"
	same "errors" 0 "$(cat "$diag/command_error_count")"
	refused grep "user's" <(log_since silent)
	refuses "/sys/block/$disk/passthru_err_log_enabled" perhaps ""
	set_to "/sys/block/$disk/passthru_err_log_enabled" on
	log_mark logs
	beyond "$disk"
	beyond "$generic"
	same "errors" 2 "$(cat "$diag/command_error_count")"
	same "lines" 2 "$(log_since logs | grep -cF "$disk: $users_line $(printf '%#x' "$blocks") 0x0 0x0 0x0 0x0 0x0")"
	# By io_uring, among other commands.
	sleep 5
	log_mark uring
	python3 "$here/uring.py" "/dev/$generic" all >"$tmp/uring"
	at_least "errors" 3 "$(cat "$diag/command_error_count")"
	logged uring "$disk: $users_line"
	set_to "/sys/block/$disk/passthru_err_log_enabled" off
	set_to "$diag/command_error_count" 0
}
admin_users() {
	same "users' commands are logged" off "$(cat "$control/passthru_err_log_enabled")"
	log_mark silent
	refused nvme admin-passthru "/dev/$name" --opcode=6 --cdw10=0xff --data-len=4096 --read
	refused grep "user's" <(log_since silent)
	same "errors" 0 "$(cat "$control/diag/command_error_count")"
	set_to "$control/passthru_err_log_enabled" on
	log_mark logs
	refused nvme admin-passthru "/dev/$name" --opcode=6 --cdw10=0xff --data-len=4096 --read
	same "errors" 1 "$(cat "$control/diag/command_error_count")"
	logged logs "$name: user's Identify (0x06): generic/0x02 Invalid Field in Command (DNR); CDW10 to 15: 0xff 0x0 0x0 0x0 0x0 0x0"
	set_to "$control/passthru_err_log_enabled" off
	set_to "$control/diag/command_error_count" 0
}
# A medium error: five retries, and a failure.
counts() {
	same "retries" 0 "$(cat "$diag/command_retries_count")"
	blkdebug "$(rule read "" 80)"
	refused dd if="/dev/$disk" of=/dev/null bs=4k count=1 skip=10 iflag=direct
	blkdebug
	same "retries" 5 "$(cat "$diag/command_retries_count")"
	same "errors" 1 "$(cat "$diag/command_error_count")"
	set_to "$diag/command_retries_count" 7
	refuses "$diag/command_retries_count" -1 x 18446744073709551616 ""
	set_to "$diag/command_error_count" 0
}
resets() {
	local before
	before=$(c resets)
	set_to "$control/diag/reset_count" 0
	echo 1 >"$control/reset_controller"
	same "resets" 1 "$(cat "$control/diag/reset_count")"
	same "resets since the bind" $((before + 1)) "$(c resets)"
	refuses "$control/diag/reset_count" -1 x ""
}

begin 6
need_qemu
type -P nvme >/dev/null || skip_all "no nvme-cli"
load_disks
name=$(c name)
control=/sys/class/rnvme/$name generic=${disk/nvme/ng} diag=/sys/block/$disk/diag
# Before the I/O commands, which exhaust the log's rate limit.
check "a user's failed admin command is logged and counted, if the administrator wants that" admin_users
check "so is an I/O command" users
check "retries and errors of requests are counted" counts
check "resets are counted" resets
check "the time limit of requests can be changed" io_limit
check "so can that of admin commands" admin_limit
finish
