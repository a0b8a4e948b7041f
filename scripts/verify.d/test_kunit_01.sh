#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Reports the results of the module's KUnit tests. Needs kunit.enable=1.
# shellcheck source=selftests/common.sh
. "$(dirname "$0")/common.sh"

suite=/sys/kernel/debug/kunit/rust_nvme_demo

case_ok() { # LINE
	[ "${1#ok }" != "$1" ] || { grep -B5 -F "$1" "$tmp/results"; return 1; }
}

begin 0
load_disks
[ -e $suite/run ] || skip_all "a kernel without KUnit, or without kunit.enable=1"
echo 1 >$suite/run
cat $suite/results >"$tmp/results"
mapfile -t lines < <(sed -nE 's/^ +((not )?ok [0-9]+ )/\1/p' "$tmp/results")
planned=$((planned + ${#lines[@]} + 1))
check "there are tests in the module" test ${#lines[@]} -gt 0
for line in "${lines[@]}"; do
	check "${line#*ok * }" case_ok "$line"
done
finish
