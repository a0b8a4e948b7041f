#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# PCI bus errors, injected into the controller's root port by the kernel's aer_inject: a non-fatal error
# has no effect, after a fatal error the bus resets the controller and the driver restarts it, and a
# controller that the bus gives up is dead.
. "$(dirname "$0")/common.sh"

# said MARK TEXT TIMES: the log has TEXT so often since MARK.
said() { [ "$(log_since "$1" | grep -cF -- "$2")" = "$3" ]; }

load_starts() {
	timeouts=$(c timeouts)
	background fio_on "$disk" --rw=randrw --bs=4k-64k --iodepth=16 --size=32M --verify=crc32c \
		--time_based --runtime="$1"
	sleep 1
}
# load_ends [TIMEOUTS]: no request was lost, and so many commands timed out.
load_ends() {
	wait_for 60 ended "$job"
	wait "$job" || { cat "$tmp/background"; return 1; }
	same "errors" 0 "$(sum errors)"
	same "stray completions" 0 "$(sum stray_completions all)"
	same "time-outs" "${1:-0}" $(($(c timeouts) - timeouts))
}

harmless() {
	local resets
	resets=$(c resets)
	log_mark harmless
	load_starts 3
	bus_error "$bdf" non-fatal
	wait_for 10 said harmless "device recovery successful" 1
	load_ends
	same "state" live "$(c state)"
	same "resets" "$resets" "$(c resets)"
}
dumped() { grep -sqx "why: bus error" /sys/class/devcoredump/*/data; }
recovered() {
	local n
	# The kernel keeps only the first dump until it is removed.
	drop_dumps
	log_mark fatal
	load_starts 8
	for n in {1..5}; do
		bus_error "$bdf" fatal
		wait_for 10 said fatal "device recovery successful" "$n"
		wait_for 10 live
		sleep "0.$n"
	done
	load_ends
	wait_for 10 dumped
}
# Before, during and after a reset by the driver.
both() {
	local n
	log_mark both
	load_starts 8
	for n in {1..5}; do
		reset_controller || true
		sleep "0.0$n"
		bus_error "$bdf" fatal
		wait_for 10 said both "device recovery successful" "$n"
		wait_for 10 live
	done
	load_ends
}
# While a reset by the driver waits for admin commands, the second of which the controller can't
# execute.
asked() { [ "$(q 0 submitted)" -gt "$submitted" ]; }
during() {
	local submitted
	log_mark during
	load_starts 20
	mask "$bdf" 1
	submitted=$(q 0 submitted)
	reset_controller
	wait_for 10 asked
	no_dma "$bdf"
	bus_error "$bdf" fatal
	wait_for 40 said during "device recovery successful" 1
	# The kernel may not have symbolic error names.
	said during "reset failed: ETIMEDOUT" 1 || logged during "reset failed: Error(110)"
	wait_for 10 live
	load_ends 1
}
# A device without a driver below the same port can't report its recovery, so the bus gives up all
# devices. A controller that still works stays live.
spared() {
	unbind "$other"
	log_mark spared
	load_starts 3
	bus_error "$bdf" non-fatal
	wait_for 10 said spared "device recovery failed" 1
	logged spared "this controller works"
	load_ends
	same "state" live "$(c state)"
}
lost() {
	log_mark lost
	background fio_on "$disk" --rw=randread --bs=4k --iodepth=16 --time_based --runtime=60
	sleep 1
	bus_error "$bdf" fatal
	wait_for 10 said lost "device recovery failed" 1
	logged lost "the bus lost the device"
	same "state" dead "$(c state)"
	wait_for 10 ended "$job"
	same "bytes read" 0 "$(dd if="/dev/$disk" bs=4k count=1 iflag=direct | wc -c)"
	unbind "$bdf"
}
# The bus must rescan for this device.
back() {
	local device
	log_mark back
	refused bind "$bdf"
	logged back "remove all below its root port, and rescan"
	for device in "/sys/bus/pci/devices/$port"/*:*:*/remove; do echo 1 >"$device"; done
	echo 1 >/sys/bus/pci/rescan
	wait_for 10 live 2>/dev/null
	fio_on "$disk" --rw=randrw --bs=4k-64k --size=4M --verify=crc32c
	bus_error "$bdf" fatal
	wait_for 10 said back "device recovery successful" 1
	fio_on "$disk" --rw=randrw --bs=4k-64k --size=4M --verify=crc32c
}

begin 8
need_turns
need_bus_errors
load_disks timeout=5
port=$(root_port "$bdf")
[ -e "/sys/bus/pci/devices/$port/aer_rootport_total_err_fatal" ] || skip_all "port $port reports no errors"
other=$(controllers | sed -n 2p)
check "an error that does no harm is left alone" harmless
check "5 fatal errors under load: the bus resets the controller, nothing is lost" recovered
check "5 fatal errors and resets by the driver at once: nothing is lost" both
check "a fatal error that has the driver's reset fail: nothing is lost" during
if [ -n "$other" ] && [ "$(root_port "$other")" = "$port" ]; then
	check "a controller that the bus gives up for another's sake goes on" spared
	check "a controller that the bus gives up is dead, and can be unbound" lost
	check "it is refused until the bus looked for it anew" back
else
	skip "a controller that the bus gives up for another's sake goes on" "no other device below the port"
	skip "a controller that the bus gives up is dead, and can be unbound" "no other device below the port"
	skip "it is refused until the bus looked for it anew" "no other device below the port"
fi
check "the module unloads" unload
finish
