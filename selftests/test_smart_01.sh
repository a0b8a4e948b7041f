#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# smartctl on the control device and on the disk, beside the kernel's C driver on the same controllers: each option's
# output and exit status must be the same.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/beside.sh"

options=("-a" "-x" "-i" "-H" "-c" "-A" "-l error" "-l error,256" "-l selftest" "-l nvmelog,2,512" "-t short" "-X" "-j -a"
	"-g all" "-s apm,off" "-T permissive -d nvme -a" "-d nvme,1 -a" "-d ata -i")

# record NAME: the output is in $tmp/NAME.
record() {
	local bdf device path option
	for bdf in $(nvme_devices); do
		device=$(control_of "$bdf")
		for path in "$device" "${device}n1"; do
			for option in "${options[@]}"; do
				echo "--- $bdf ${path/"$device"/nvmeX} smartctl $option"
				# shellcheck disable=SC2086
				outcome "$device" smartctl $option "/dev/$path"
			done
		done
	done | masked >"$tmp/$1"
}
# Without the time, and counters of the controller that each driver's commands raise.
masked() {
	sed -E 's/^((Local Time|Data Units|Host |Controller Busy|Power Cycles|Power On|Unsafe)[^:]*:).*/\1/
		s/"(time_t|asctime|data_units_[a-z]*|host_[a-z]*|controller_busy_time|power_[a-z_]*|unsafe_[a-z]*|count|hours)": .*/"\1"/'
}
theirs() { to_theirs; record theirs; }
ours() { to_ours; record ours; }
equal() {
	at_least "successes" 10 "$(grep -c '^--- exit status 0' "$tmp/ours")"
	grep -q '^SMART overall-health self-assessment test result: PASSED' "$tmp/ours"
	diff "$tmp/theirs" "$tmp/ours"
}

begin 3
type -P smartctl >/dev/null || skip_all "no smartctl: make test EXTRA=smartmontools"
need_theirs
take
load_disks
check "smartctl on the C driver's devices" theirs
check "smartctl on ours" ours
check "the output and the exit status are the same" equal
finish
