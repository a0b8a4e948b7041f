#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The ABI document against the files that exist, in both directions.
. "$(dirname "$0")/common.sh"

document=$top/Documentation/ABI/testing/sysfs-driver-rust_nvme_demo
abi() { "$here/abi.py" "$1" "$document" "$driver"; }

begin 5
[ -r "$document" ] || skip_all "no $document"
load_disks
check "the document has the kernel's format" abi document
check "each file is documented, and each documented file exists" abi files
check "the files have the documented modes" abi modes
check "each file has one value of its kind, and one newline" abi values
check "no file can be read or written that is not documented so" abi access
finish
