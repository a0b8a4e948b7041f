#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The kernel's fault injection drops completions: the requests time out, and no data are lost.
# shellcheck source=selftests/common.sh
. "$(dirname "$0")/common.sh"

hook=/sys/kernel/debug/fail_io_timeout

lost() {
	echo 0 >$hook/verbose
	echo 50 >$hook/interval
	echo 8 >$hook/times
	echo 100 >$hook/probability
	echo 1 >"/sys/block/$disk/io-timeout-fail"
	fio_on "$disk" --rw=randrw --bs=4k-32k --iodepth=8 --size=16M --verify=crc32c --verify_backlog=64 \
		--time_based --runtime=60
	echo 0 >"/sys/block/$disk/io-timeout-fail"
	same "left of 8 to lose" 0 "$(cat $hook/times)"
	at_least "timeouts" 1 "$(c timeouts)"
	same "state" live "$(c state)"
}
works() {
	fio_on "$disk" --rw=randrw --bs=4k --iodepth=8 --size=8M --verify=crc32c
	same "state" live "$(c state)"
}

begin 2
[ -e $hook ] || skip_all "a kernel without fault injection"
load_disks timeout=3
check "8 completions that the kernel loses lose no data" lost
ktap_print_msg "$(c timeouts) time-outs, $(c aborts) aborts, $(c resets) resets"
check "the controller works after that" works
echo 0 >$hook/probability
finish
