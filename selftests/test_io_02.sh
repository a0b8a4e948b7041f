#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Memory at odd addresses and odd disk offsets, which are the corner cases of PRP lists.
. "$(dirname "$0")/common.sh"

unaligned() { "$here/unaligned.py" "/dev/$1" "$2"; }

begin $(($(
	load >/dev/null
	disks | wc -l
	unload
) * 3))
load_disks
for disk in $(disks); do
	check "$disk: every offset in the page that DMA allows" unaligned "$disk" offsets
	check "$disk: many pieces of memory for one request" unaligned "$disk" pieces
	check "$disk: requests that end at the disk's end, and not beyond" unaligned "$disk" end
done
finish
