#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A kernel that enforces signatures accepts only a module that was signed with its key. The host
# has created signed.ko with `make sign`. The kernel can't leave this mode.
# shellcheck source=selftests/common.sh
. "$(dirname "$0")/common.sh"

signed=$here/signed.ko

signed() {
	KO=$signed load
	[ -n "$(disks)" ]
	dd if="/dev/$(disks | head -n 1)" of=/dev/null bs=4k count=16 iflag=direct
	unload
}
rejected() { # MODULE
	refused insmod "$1" 2>"$tmp/said"
	grep -q 'Key was rejected by service' "$tmp/said" || { cat "$tmp/said"; return 1; }
	unloaded
}
# A bit is flipped in the middle.
altered() {
	local at byte
	at=$(($(stat -c %s "$signed") / 2))
	byte=$(od -An -tu1 -j $at -N 1 "$signed")
	cp "$signed" "$tmp/altered.ko"
	printf '%b' "\\x$(printf %x $((byte ^ 1)))" | dd of="$tmp/altered.ko" bs=1 seek=$at conv=notrunc status=none
	refused cmp -s "$signed" "$tmp/altered.ko"
	rejected "$tmp/altered.ko"
}

begin 3
[ -r "$signed" ] || skip_all "no $signed, see scripts/verify"
echo 1 >/sys/module/module/parameters/sig_enforce
check "a signed module loads, and works" signed
check "an unsigned one is refused" rejected "$KO"
check "a signed one that was altered is refused" altered
finish
