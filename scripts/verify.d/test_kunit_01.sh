#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Reports the results of the KUnit tests of the module, and of the examples in the doc comments of
# abstractions/, which scripts/verify has made a module of. Needs kunit.enable=1.
# shellcheck source=selftests/common.sh
. "$(dirname "$0")/common.sh"

suites=/sys/kernel/debug/kunit
examples=$here/rust_examples.ko

case_ok() { # SUITE LINE
	[ "${2#ok }" != "$2" ] || { grep -B5 -F "$2" "$tmp/$1"; return 1; }
}

begin 0
load_disks
[ -e $suites/rust_nvme_demo/run ] || skip_all "a kernel without KUnit, or without kunit.enable=1"
insmod "$examples" || ktap_exit_fail_msg "$examples does not load"
lines=()
for suite in rust_nvme_demo rust_examples; do
	echo 1 >$suites/$suite/run
	cat $suites/$suite/results >"$tmp/$suite"
	mapfile -t -O ${#lines[@]} lines < <(sed -nE "s/^ +((not )?ok [0-9]+ )/$suite \1/p" "$tmp/$suite")
	planned=$((planned + 1))
done
planned=$((planned + ${#lines[@]} + 1))
for suite in rust_nvme_demo rust_examples; do
	check "there are tests in $suite" grep -q "^$suite " <<<"$(printf '%s\n' "${lines[@]}")"
done
for line in "${lines[@]}"; do
	check "${line#*ok * }" case_ok "${line%% *}" "${line#* }"
done
check "the examples leave nothing behind" rmmod rust_examples
finish
