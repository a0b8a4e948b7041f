#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# scripts/report has what a report needs, with this driver, the kernel's C driver and none, and nothing that
# identifies the machine or a disk.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/beside.sh"

# The words that must not be in the report.
secrets() {
	cat /sys/bus/pci/devices/*/*nvme/nvme*/{serial,subsysnqn} /sys/class/block/nvme*/{wwid,nguid,uuid,eui} 2>/dev/null
	hostname
}
make_report() { # DRIVER
	"$top/scripts/report" >"$tmp/report"
	grep -q "^== $bdf, driver $1\$" "$tmp/report"
	secrets | sed 's/^ *//; s/ *$//' | grep . | sort -u >"$tmp/secrets"
	! grep -niF -f "$tmp/secrets" "$tmp/report"
}
ours() {
	hostname a-secret-host
	echo "rust_nvme_demo: of a-secret-host" >/dev/kmsg
	make_report rust_nvme_demo
	at_least "identifiers" 4 "$(wc -l <"$tmp/secrets")"
	grep -q '^model: QEMU' "$tmp/report"
	grep -q '^queue 1: kind: default ' "$tmp/report"
	grep -q '^queue_depth: 1024' "$tmp/report"
	grep -q '^max_hw_sectors_kb: ' "$tmp/report"
	grep -q "rust_nvme_demo $bdf: nvme900: .*; I/O queues: " "$tmp/report"
	grep -q 'of <host>$' "$tmp/report"
	grep -q '^serial: <serial>' "$tmp/report"
	grep -q '^mdts *: ' "$tmp/report"
}
theirs() {
	to_theirs
	make_report nvme
	grep -q '^rust_nvme_demo is not loaded$' "$tmp/report"
}
none() {
	rmmod nvme nvme_core
	make_report none
}
wrong() {
	same "an unknown device" "report: there is no PCI device 0000:7f:00.0" "$("$top/scripts/report" 0000:7f:00.0 2>&1 || true)"
	refused "$top/scripts/report" 0000:7f:00.0 2>/dev/null
	# The checkout may be out of that user's reach.
	refused setpriv --reuid 65534 bash -s <"$top/scripts/report" 2>"$tmp/user"
	grep -q 'sudo' "$tmp/user"
}

begin 4
need_theirs
take
load_disks
check "with this driver" ours
check "with the C driver" theirs
check "without a driver" none
check "a device that isn't there, and another user than root" wrong
finish
