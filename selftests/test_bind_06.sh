#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A machine without a device for the driver: the module loads, like any PCI driver.
. "$(dirname "$0")/common.sh"

waits() {
	loaded
	[ -d "$driver" ]
	same "controllers" "" "$(controllers)"
	same "disks" "" "$(disks)"
}

quiet() {
	same "errors" "" "$(log_since start | grep -E 'rust_nvme_demo.*([Ee]rror|fail|can.t)' || true)"
}

begin 5
[ -z "$(nvme_devices)" ] || skip_all "there is an NVMe controller"
check "the module loads" load
check "the driver is there and has no device" waits
check "the log has no error" quiet
check "the module unloads" unload
check "nothing is left of it" unloaded
finish
