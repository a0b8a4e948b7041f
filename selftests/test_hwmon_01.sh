#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The temperature sensors in hwmon: the same files with the same values as the kernel's C driver has
# for the same controller, limits, the alarm, resets, and unbind under readers.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/beside.sh"

hwmon() { echo /sys/bus/pci/devices/"$bdf"/hwmon/hwmon*; }
t() { file "$(hwmon)/temp1_$1"; }
# set_limits MAX MIN, in thousandths of a degree
set_limits() {
	echo "$1" >"$(hwmon)/temp1_max"
	echo "$2" >"$(hwmon)/temp1_min"
}
# record FILE DIRECTORY: modes, names and values of all files of hwmon's.
record() {
	local name
	for name in "$2"/name "$2"/temp*; do
		echo "$(stat -c %a "$name") ${name##*/} $(cat "$name")"
	done >"$1"
}

files() {
	record "$tmp/ours" "$(hwmon)"
	say "$(tr '\n' ',' <"$tmp/ours")"
	grep -qx '444 name nvme' "$tmp/ours"
	grep -qx '444 temp1_label Composite' "$tmp/ours"
	at_least "files" 6 "$(wc -l <"$tmp/ours")"
}
c_sensors() { echo /sys/bus/pci/devices/"$bdf"/nvme/nvme*/hwmon*; }
c_there() { [ -e "$(c_sensors)/temp1_input" ]; }
beside_c() {
	set_limits 71850 -3150
	record "$tmp/ours" "$(hwmon)"
	to_theirs
	wait_for 20 c_there
	record "$tmp/theirs" "$(c_sensors)"
	# Limits of the C driver's, for ours.
	echo 70100 >"$(c_sensors)/temp1_max"
	echo -9999999 >"$(c_sensors)/temp1_min"
	record "$tmp/theirs-2" "$(c_sensors)"
	to_ours
	record "$tmp/ours-2" "$(hwmon)"
	diff "$tmp/theirs" "$tmp/ours"
	diff "$tmp/theirs-2" "$tmp/ours-2"
}
limits() {
	set_limits 60400 10000
	same "max" 60850 "$(t max)"
	same "min" 9850 "$(t min)"
	# Values that no controller has.
	set_limits 9223372036854775807 -9223372036854775808
	same "max" 65261850 "$(t max)"
	same "min" -273150 "$(t min)"
	refused sh -c "echo hot >$(hwmon)/temp1_max"
	refused sh -c "echo 1 >$(hwmon)/temp1_crit"
	set_limits 69850 -273150
}
alarm() {
	same "alarm" 0 "$(t alarm)"
	warn 2
	same "alarm" 1 "$(t alarm)"
	warn 0
	same "alarm" 0 "$(t alarm)"
}
# Reads all the time; an error must be EBUSY or ENODEV, and no read may hang.
reader() {
	python3 - "/sys/bus/pci/devices/$bdf/hwmon" "$1" <<-'END'
		import errno, glob, os, sys, time
		directory, seconds, counts = sys.argv[1], float(sys.argv[2]), {}
		end = time.monotonic() + seconds
		while time.monotonic() < end:
		    for name in "temp1_input", "temp1_max", "temp1_alarm":
		        try:
		            fd = os.open(f"{(glob.glob(directory + '/*') + [directory])[0]}/{name}", os.O_RDONLY)
		            try:
		                value = os.read(fd, 100).decode()
		            finally:
		                os.close(fd)
		            assert value.strip().lstrip("-").isdigit(), value
		            key = "read"
		        except OSError as error:
		            key = errno.errorcode[error.errno]
		        counts[key] = counts.get(key, 0) + 1
		print(counts)
		sys.exit(not set(counts) <= {"read", "EBUSY", "ENODEV", "ENOENT"})
	END
}
resets() {
	local n
	background reader 6
	for n in {1..10}; do
		reset_controller
		wait_for 20 live
	done
	wait_for 60 ended "$job"
	say "$(cat "$tmp/background")"
	wait "$job"
	grep -q read "$tmp/background"
	t input
}
unbinds() {
	local n
	background reader 6
	for n in {1..3}; do
		unbind "$bdf"
		[ ! -e /sys/bus/pci/devices/"$bdf"/hwmon ]
		bind "$bdf"
	done
	wait_for 60 ended "$job"
	say "$(cat "$tmp/background")"
	wait "$job"
	t input
}
# lie HEX VALUE: the controller reports the composite temperature HEX, in kelvins; a read gives VALUE.
lie() {
	local n rc
	for n in {1..10}; do
		rc=0
		mask "$bdf" 1
		background chrt -f 10 "$here/amend.py" "$bdf" "$patience" 60 "0x102/0xffffffff:1=$1"
		wait_for 30 test -s "$tmp/background"
		t input >"$tmp/value" 2>&1 || true
		wait_for 70 ended "$job"
		wait "$job" || rc=$?
		mask "$bdf" 0
		# On a busy machine, the change may have come too late.
		[ $rc != 0 ] || break
	done
	same "amended" 0 $rc
	grep -F -- "$2" "$tmp/value" || { cat "$tmp/value"; return 1; }
}
lies() {
	unload
	load timeout="$patience"
	lie ffff 65261850
	lie 0100 -272150
	lie 0000 "No data available"
	same "time-outs" 0 "$(c timeouts)"
	unload
	load
}
shown() {
	sensors -u nvme-pci-0100 | tee "$tmp/shown"
	grep -q 'temp1_input: [0-9]' "$tmp/shown"
	grep -q 'temp1_crit: [0-9]' "$tmp/shown"
	grep -q '^Composite:' "$tmp/shown"
}

begin 8
need_qemu
load_disks
[ -e /sys/class/hwmon ] || skip_all "this kernel has no hwmon"
check "the controller has sensors" files
check "the limits can be set, and are bounded" limits
check "a temperature warning is an alarm" alarm
if ! have_theirs; then
	skip "files and values are those of the C driver" "the C driver can't be loaded and unloaded"
else
	check "files and values are those of the C driver" beside_c
fi
check "a read during a reset gives a value or an error" resets
check "the driver is unbound under readers" unbinds
if insmod "${POKE:-$here/poke/poke.ko}"; then
	check "temperatures that can't be are bounded" lies
else
	skip "temperatures that can't be are bounded" "poke.ko does not load: make M=selftests/poke"
fi
if ! command -v sensors >/dev/null; then
	skip "lm-sensors shows the disk" "no lm-sensors: make test EXTRA=lm-sensors"
else
	check "lm-sensors shows the disk" shown
fi
warn 0 >/dev/null 2>&1
finish
