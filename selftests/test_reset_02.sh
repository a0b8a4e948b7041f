#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Function-level resets, alone and with resets of the controller: no request is lost under load.
. "$(dirname "$0")/common.sh"

function_reset() {
	[ -e "$(dir_of)/reset" ]
	background fio_on "$disk" --rw=randrw --bs=4k --iodepth=8 --size=16M --verify=crc32c \
		--time_based --runtime=4
	for _ in {1..3}; do
		sleep 0.5
		echo 1 >"/sys/bus/pci/devices/$bdf/reset"
		same "state" live "$(c state)"
	done
	wait_for 60 ended "$job"
	wait "$job" || { cat "$tmp/background"; return 1; }
}

# The requested reset may or may not have begun when the bus resets the function.
both_resets() {
	local i
	background fio_on "$disk" --rw=randrw --bs=4k --iodepth=8 --size=16M --verify=crc32c \
		--time_based --runtime=6
	for ((i = 0; i < 12; i++)); do
		reset_controller
		[ $((i % 3)) != 2 ] || sleep 0.02
		echo 1 >"/sys/bus/pci/devices/$bdf/reset"
		wait_for 10 live
	done
	wait_for 60 ended "$job"
	wait "$job" || { cat "$tmp/background"; return 1; }
	same "time-outs" 0 "$(c timeouts)"
}

begin 2
need_turns
# shellcheck disable=SC2119
load_disks
check "3 resets of the PCI function under load lose nothing" function_reset
check "12 resets of both kinds at once lose nothing" both_resets
finish
