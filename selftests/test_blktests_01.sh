#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The tests of blktests that take a device, of its groups nvme and block. Debian has no package of its sources, so
# they must be in the checkout: `git clone https://github.com/linux-blktests/blktests`.
. "$(dirname "$0")/common.sh"

# A few of its programs lack their compiler or library in the guest; the tests that need them aren't run.
compile() {
	cp -r "$top/blktests" "$tmp/blktests"
	make -C "$tmp/blktests/src" -k -s || true
}
run() {
	echo "TEST_DEVS=(/dev/$disk) QUICK_RUN=1 TIMEOUT=5" >"$tmp/blktests/config"
	cd "$tmp/blktests"
	# It also fails for what it couldn't run.
	./check --device-only --output="$tmp/results" nvme block >"$tmp/output" 2>&1 || true
	! grep -A 20 '\[failed\]$' "$tmp/output"
}
# results WORD: the tests with this result.
results() { sed -n "s/^\([a-z]*\/[0-9]*\) => .* \[$1\]$/\1/p" "$tmp/output" | paste -sd ' '; }

[ -x "$top/blktests/check" ] || skip_all "no blktests in the checkout: git clone https://github.com/linux-blktests/blktests"
begin 3
type -P gcc make udevadm >/dev/null || skip_all "no gcc, make or udevadm: EXTRA=udev"
load_disks
check "blktests is compiled" compile
check "none of its tests for NVMe and block devices fails" run
say "passed: $(results passed)"
say "not run: $(results 'not run')"
check "several ran" at_least "tests" 10 "$(results passed | wc -w)"
finish
