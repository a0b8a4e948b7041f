#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The module in $MODULE loads and unloads.
# shellcheck source=/dev/null
. "$(dirname "$0")/../kselftest/ktap_helpers.sh"

ko=$(echo "$MODULE"/*.ko)
name=$(basename "$ko" .ko)

check() { # DESCRIPTION COMMAND…
	local what=$1
	shift
	if "$@"; then
		ktap_test_pass "$what"
	else
		ktap_test_fail "$what"
	fi
}
present() { [ -d "/sys/module/$name" ]; }
absent() { ! present; }

ktap_print_header
ktap_set_plan 4
check "$name loads" insmod "$ko"
check "it is there" present
check "it unloads" rmmod "$name"
check "it is gone" absent
ktap_finished
