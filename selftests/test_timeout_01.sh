#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Commands time out, because QEMU holds them back. The driver aborts them, then resets the
# controller, and no request is lost.
. "$(dirname "$0")/common.sh"

counted() { [ "$(c "$1")" -gt 0 ]; }

times_out() {
	fio_on "$disk" --rw=write --bs=4k --size=1M --verify=crc32c --do_verify=0
	throttle 1
	background fio_on "$disk" --rw=read --bs=4k --iodepth=16 --size=1M --number_ios=40 --verify=crc32c
	wait_for 60 counted timeouts
	wait_for 60 counted aborts
	wait_for 60 counted resets
	throttle 0
	wait_for 60 ended "$job"
	wait "$job" || { cat "$tmp/background"; return 1; }
}

lines() {
	log_since start | grep -q "rust_nvme_demo $bdf: queue [0-9]*: command 0x[0-9a-f]*, opcode 0x02 (Read), timed out: abort"
	log_since start | grep -q "rust_nvme_demo $bdf: resetting the controller"
}

works() {
	same "state" live "$(c state)"
	same "stray completions" 0 "$(sum stray_completions io)"
	fio_on "$disk" --rw=randwrite --bs=4k --size=1M --verify=crc32c
}

# A bind's reads aren't completed, neither the SGL trial nor the partition table: the bind waits for the
# reset, but the reset doesn't wait for the bind.
while_bound() {
	resetting() { log_since bind | grep -q "resetting the controller"; }
	unbind "$bdf"
	throttle 0 64
	log_mark bind
	background bind "$bdf"
	wait_for 60 resetting
	throttle 0
	wait_for 60 ended "$job"
	wait "$job" || { cat "$tmp/background"; return 1; }
	wait_for 30 test -b "/dev/$disk"
	fio_on "$disk" --rw=randread --bs=4k --size=1M --verify=crc32c --verify_only
}

begin 4
need_qemu
load_disks timeout=2
check "commands held back are aborted, then the controller reset, and all data come" times_out
check "each step is in the log" lines
check "the controller works after that" works
check "a bind whose reads aren't answered gets its reset, and works" while_bound
throttle 0 >/dev/null
finish
