#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The module loads and unloads, and logs both. $TOP is the module's folder.
# shellcheck source=/dev/null
. "$(dirname "$0")/../kselftest/ktap_helpers.sh"

module=hello

logged() { dmesg | grep -qF "$module: $1"; }

ktap_print_header
ktap_set_plan 4
ktap_test_result "insmod" insmod "$TOP/$module.ko"
ktap_test_result "init logs a line" logged loaded
ktap_test_result "rmmod" rmmod "$module"
ktap_test_result "drop logs a line" logged unloaded
ktap_finished
