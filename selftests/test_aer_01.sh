#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Errors of the PCI bus, made in the controller's root port by the kernel's aer_inject: one that does no
# harm is left alone, after a fatal one the bus resets the controller and it goes on, and one that the
# bus gives up is dead.
. "$(dirname "$0")/common.sh"

# Uncorrectable errors, and what they are by default (PCIe 7.8.4): a completion that didn't come in time
# is non-fatal, a malformed packet is fatal.
nonfatal=0x4000 fatal=0x40000

port=
# inject ERRORS: into the port.
inject() {
	python3 - "$port" "$1" <<-'END'
		import struct, sys
		domain, bus, function = sys.argv[1].split(":")
		device, function = function.split(".")
		# struct aer_error_inj, drivers/pci/pcie/aer_inject.c
		error = struct.pack("=BBBx7I", int(bus, 16), int(device, 16), int(function), int(sys.argv[2], 0),
		                    0, 0, 0, 0, 0, int(domain, 16))
		with open("/dev/aer_inject", "wb", buffering=0) as file:
		    file.write(error)
	END
}
# said MARK TEXT TIMES: so often since MARK.
said() { [ "$(log_since "$1" | grep -cF -- "$2")" = "$3" ]; }

load_starts() {
	background fio_on "$disk" --rw=randrw --bs=4k-64k --iodepth=16 --size=32M --verify=crc32c \
		--time_based --runtime="$1"
	sleep 1
}
load_ends() {
	wait_for 60 ended "$job"
	wait "$job" || { cat "$tmp/background"; return 1; }
	same "errors" 0 "$(sum errors)"
	same "stray completions" 0 "$(sum stray_completions all)"
	same "time-outs" 0 "$(c timeouts)"
}

harmless() {
	local resets
	resets=$(c resets)
	log_mark harmless
	load_starts 3
	inject $nonfatal
	wait_for 10 said harmless "device recovery successful" 1
	load_ends
	same "state" live "$(c state)"
	same "resets" "$resets" "$(c resets)"
}
dumped() { grep -sqx "why: bus error" /sys/class/devcoredump/*/data; }
recovered() {
	local n
	log_mark fatal
	load_starts 8
	for n in {1..5}; do
		inject $fatal
		wait_for 10 said fatal "device recovery successful" "$n"
		wait_for 10 live
		sleep "0.$n"
	done
	load_ends
	wait_for 10 dumped
}
# Right before, while and after the driver's own.
both() {
	local n
	log_mark both
	load_starts 8
	for n in {1..5}; do
		reset_controller || true
		sleep "0.0$n"
		inject $fatal
		wait_for 10 said both "device recovery successful" "$n"
		wait_for 10 live
	done
	load_ends
}
# A device without a driver below the same port can't tell whether it recovered: the bus gives up all.
lost() {
	unbind "$other"
	log_mark lost
	background fio_on "$disk" --rw=randread --bs=4k --iodepth=16 --time_based --runtime=60
	sleep 1
	inject $fatal
	wait_for 10 said lost "device recovery failed" 1
	logged lost "the bus lost the device"
	same "state" dead "$(c state)"
	wait_for 10 ended "$job"
	same "bytes read" 0 "$(dd if="/dev/$disk" bs=4k count=1 iflag=direct | wc -c)"
	unbind "$bdf"
}

begin 5
modprobe aer_inject 2>/dev/null || [ -e /dev/aer_inject ] || skip_all "no aer_inject in this kernel"
load_disks timeout=5
root_port() { readlink -f "/sys/bus/pci/devices/$1" | cut -d/ -f5; }
port=$(root_port "$bdf")
[ -e "/sys/bus/pci/devices/$port/aer_rootport_total_err_fatal" ] || skip_all "port $port reports no errors"
other=$(controllers | sed -n 2p)
check "an error that does no harm is left alone" harmless
check "5 fatal errors under load: the bus resets the controller, nothing is lost" recovered
check "5 fatal errors and resets by the driver at once: nothing is lost" both
if [ -n "$other" ] && [ "$(root_port "$other")" = "$port" ]; then
	check "a controller that the bus gives up is dead, and can be unbound" lost
else
	skip "a controller that the bus gives up is dead, and can be unbound" "no other device below the port"
fi
check "the module unloads" unload
finish
