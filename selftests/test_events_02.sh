#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Asynchronous events: each is a uevent with the variable that the kernel's C driver sends, and a line in the log;
# SMART warnings are counted. QEMU's controller gets its warnings by its monitor. Also the uevent of a controller that
# is live again.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/beside.sh"

has_line() { grep -qxF -- "$1" "$tmp/background"; }
has_logged() { log_since "$1" | grep -qF -- "rust_nvme_demo $bdf: $2"; }
listen() {
	background "$here/uevents.py" "$@"
	wait_for 60 has_line listening
}
# one MARK AEN LINE: a uevent of the PCI device and of the control device, and a line.
one() {
	wait_for 20 has_line "RNVME=nvme900 NVME_AEN=$2"
	wait_for 20 has_line "NVME_AEN=$2"
	wait_for 20 has_logged "$1" "$3"
}

warnings() {
	local bit count events
	count=$(c smart_warnings) events=$(c async_events)
	# As QEMU reports them: the spare, temperatures, all others.
	local aens=(0x020201 0x020101 0x020001 0x020001 0x020001)
	local meanings=("the spare is below its threshold" "a temperature is beyond its threshold"
		"media or internal errors degrade the reliability" "the media are read-only"
		"the backup of the volatile memory has failed")
	# QEMU has no warning of the persistent memory region here.
	for bit in 0 1 2 3 4; do
		listen "$bdf" nvme900
		log_mark "warning-$bit"
		warn $((1 << bit))
		one "warning-$bit" "${aens[bit]}" \
			"SMART critical warning $(printf '0x%02x' $((1 << bit))): ${meanings[bit]}"
		same "SMART warnings" $((count + bit + 1)) "$(c smart_warnings)"
		warn 0
		stop "$job"
	done
	same "events" $((events + 5)) "$(c async_events)"
}
several() {
	reset_controller
	wait_for 20 live
	log_mark several
	warn 10
	wait_for 20 has_logged several \
		"SMART critical warning 0x0a: a temperature is beyond its threshold, the media are read-only"
	warn 0
}
threshold() {
	local hwmon count old
	hwmon=$(echo /sys/bus/pci/devices/"$bdf"/hwmon/hwmon*)
	count=$(c smart_warnings)
	more() { [ "$(c smart_warnings)" -gt "$count" ]; }
	old=$(cat "$hwmon/temp1_max")
	echo 20000 >"$hwmon/temp1_max"
	wait_for 20 more
	same "alarm" 1 "$(cat "$hwmon/temp1_alarm")"
	echo "$old" >"$hwmon/temp1_max"
	same "alarm" 0 "$(cat "$hwmon/temp1_alarm")"
}
# Writes the doorbell of a queue that doesn't exist.
bad_doorbell() {
	local start
	read -r start _ <"/sys/bus/pci/devices/$bdf/resource"
	printf '%x 01000000\n' $((start + 0x1ff4)) >/sys/kernel/debug/poke
}
error() {
	listen "$bdf" nvme900
	log_mark error
	bad_doorbell
	one error 0x010000 "the controller reports: Write to Invalid Doorbell Register"
	# The next one is reported, too.
	log_mark error-2
	bad_doorbell
	wait_for 20 has_logged error-2 "the controller reports: Write to Invalid Doorbell Register"
	stop "$job"
	same "state" live "$(c state)"
}
# An event in QEMU's place: QEMU activates no firmware.
firmware() {
	listen "$bdf" nvme900
	log_mark firmware
	"$here/hostile.py" "$bdf" 0 event:030102 1
	# A command, because the driver finds the event behind its completion.
	echo 1 >"$(dir_of)/controller/rescan_controller"
	one firmware 0x030102 "the controller activates a firmware, and pauses commands"
	stop "$job"
	# Until a reset, QEMU and the driver use different entries of the queue.
	reset_controller
	wait_for 60 live
}
connected() {
	listen nvme900
	reset_controller
	wait_for 20 has_line "NVME_EVENT=connected"
	stop "$job"
}
# Its SMART warnings, errors and resets; test_namespace_01 has its changes of namespaces.
beside_c() {
	to_theirs
	listen nvme0
	nvme reset /dev/nvme0
	wait_for 20 has_line "NVME_EVENT=connected"
	stop "$job"
	# The C driver enables no SMART events.
	nvme set-feature /dev/nvme0 -f 0x0b -V 0x13f
	listen nvme0
	warn 2
	wait_for 20 has_line "NVME_AEN=0x020101"
	warn 0
	if [ -e /sys/kernel/debug/poke ]; then
		bad_doorbell
		wait_for 20 has_line "NVME_AEN=0x010000"
	fi
	stop "$job"
	to_ours
}

begin 7
need_qemu
load_disks
warn 0
check "each SMART warning is a uevent, a line and a count" warnings
check "several warnings after a reset are one line" several
check "a controller that is live again is a uevent" connected
if [ -e /sys/bus/pci/devices/"$bdf"/hwmon ]; then
	check "a limit below the temperature is a warning and an alarm" threshold
else
	skip "a limit below the temperature is a warning and an alarm" "this kernel has no hwmon"
fi
if insmod "${POKE:-$here/poke/poke.ko}"; then
	check "an error event is a uevent and a line" error
	check "a firmware activation is a uevent and a line" firmware
else
	skip "an error event is a uevent and a line" "poke.ko does not load: make M=selftests/poke"
	skip "a firmware activation is a uevent and a line" "poke.ko does not load: make M=selftests/poke"
fi
if ! have_theirs; then
	skip "the variables are those of the C driver" "the C driver can't be loaded and unloaded"
else
	check "the variables are those of the C driver" beside_c
fi
warn 0 >/dev/null 2>&1
finish
