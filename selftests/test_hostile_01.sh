#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A controller that writes invalid entries into its completion queues: entries for unknown commands,
# duplicates, unrequested events, noise. Each puts the queue out of step with the controller, so that
# the driver doesn't see the next completion. The driver recovers by a time-out and a reset, and
# neither loses nor repeats a request.
. "$(dirname "$0")/common.sh"

ROUNDS=${ROUNDS:-2}

sum_of_data() { dd if="/dev/$disk" bs=64k count=16 iflag=direct status=none | sha256sum; }
# Reads a block, by the queue of a CPU.
read_on() { timeout 60 taskset -c "$1" dd if="/dev/$disk" of=/dev/null bs=4k count=1 iflag=direct status=none; }
cpu_of() { q "$1" cpus | sed 's/[-,].*//'; }
strays() { sum stray_completions all; }
none_in_flight() { [ "$(q 1 inflight)" = 0 ]; }

# io WHAT: into an I/O queue, ROUNDS times.
io() {
	local before round cpu
	cpu=$(cpu_of 1)
	for ((round = 0; round < ROUNDS; round++)); do
		# So that there is an entry to repeat, and the next identifier is in the table
		# of commands.
		read_on "$cpu"
		wait_for 10 none_in_flight
		before=$(strays)
		"$here/hostile.py" "$bdf" 1 "$1" "$SEED.$round"
		read_on "$cpu"
		at_least "stray completions" $((before + 1)) "$(strays)"
		same "data" "$data" "$(sum_of_data)"
		wait_for 20 live
	done
}
# stale USES: a read that QEMU holds back is completed with the identifier that its tag had USES uses
# before, without data. If the read times out before that, as on a busy machine: again, with more time.
stale() {
	local seconds late cpu
	cpu=$(cpu_of 1)
	# A reset before the release would hang QEMU, which waits for the read then.
	for seconds in $(is_slow && echo 60 120 || echo 10 60); do
		stale_once "$1" "$seconds"
		same "data" "$data" "$(sum_of_data)"
		wait_for 20 live
		[ -n "$late" ] || return 0
	done
	echo "the read always timed out before its completion"
	return 1
}
stale_once() { # USES SECONDS
	local before aborts
	# The first may time out, because of what the controller did before.
	for _ in {1..17}; do read_on "$cpu"; done
	before=$(strays) aborts=$(c aborts) late=''
	hold
	echo $(($2 * 1000)) >"/sys/block/$disk/queue/io_timeout"
	background taskset -c "$cpu" dd if="/dev/$disk" of="$tmp/read" bs=64k count=1 iflag=direct
	wait_for 60 in_flight_or_aborted
	"$here/hostile.py" "$bdf" 1 "stale:$1" "$SEED" || aborted_or_ended
	[ "$(c aborts)" = "$aborts" ] || late=1
	wait_for $((2 * $2 + 20)) aborted_or_ended
	release
	echo 1000 >"/sys/block/$disk/queue/io_timeout"
	wait_for 60 ended "$job"
	wait "$job" || { cat "$tmp/background"; return 1; }
	cmp "$tmp/read" "$tmp/first"
	[ -n "$late" ] || at_least "stray completions" $((before + 1)) "$(strays)"
}
in_flight_or_aborted() { [ "$(q 1 inflight)" = 1 ] || aborted_or_ended; }
aborted_or_ended() { [ "$(c aborts)" -gt "$aborts" ] || ended "$job"; }
# admin WHAT: into the admin queue. This disturbs the scan. The driver accepts an event as the
# requested event.
admin() {
	local before resets round
	for ((round = 0; round < ROUNDS; round++)); do
		before=$(strays)
		resets=$(c resets)
		"$here/hostile.py" "$bdf" 0 "$1" "$SEED.$round"
		echo 1 >"$(dir_of)/controller/rescan_controller"
		wait_for 20 found_out "$1"
		wait_for 20 live
		same "data" "$data" "$(sum_of_data)"
	done
}
# admin_stale USES: a format that QEMU holds back is completed with the identifier of USES uses before.
admin_stale() {
	local before
	for _ in {1..9}; do nvme id-ctrl "/dev/$control" >/dev/null; done
	before=$(strays)
	# QEMU carries out the first command that comes, and the next one after a minute.
	throttle 0 64
	trap 'throttle 0' EXIT
	timeout 60 dd if="/dev/$disk" of=/dev/null bs=4k count=1 iflag=direct status=none
	background nvme format "/dev/$control" -n 1 -l 0 -f -t 5000
	wait_for 60 formatting
	"$here/hostile.py" "$bdf" 0 "stale:$1" "$SEED"
	# The driver looks for completions when the time of the command is up.
	wait_for 60 ended "$job"
	throttle 0
	trap - EXIT
	cat "$tmp/background"
	refused wait "$job"
	at_least "stray completions" $((before + 1)) "$(strays)"
	wait_for 60 live
}
formatting() { [ "$(q 0 inflight)" = 2 ]; } # and the request of an event
# The log has a limit for a controller that is reset again and again.
errors() {
	local count=40 start=$SECONDS
	log_mark errors
	timeout 500 "$here/hostile.py" "$bdf" 0 errors:$count "$SEED"
	at_most "lines" $((20 + 2 * (SECONDS - start))) \
		"$(log_since errors | grep -c 'resetting the controller\|persistent internal error')"
	log_since errors | grep -q 'lines left out' || [ $((SECONDS - start)) -gt 30 ]
}
found_out() { [ "$(c resets)" -gt "$resets" ] && { [ "$1" = event ] || [ "$(strays)" -gt "$before" ]; }; }

again() {
	unbind "$bdf"
	bind "$bdf"
	same "data" "$data" "$(sum_of_data)"
}

uses_ago() { # WHAT COMMAND
	local uses
	for uses in "four 4" "eight 8"; do
		if has_qemu; then
			check "$1 of ${uses% *} uses ago" "$2" "${uses#* }"
		else
			skip "$1 of ${uses% *} uses ago" "no QEMU monitor"
		fi
	done
}

SEED=${SEED:-$RANDOM}
begin 13
load_disks timeout=1
need_poke
ktap_print_msg "SEED=$SEED"
dd if=/dev/urandom of="/dev/$disk" bs=64k count=16 oflag=direct status=none
data=$(sum_of_data)
control=${disk%n1}
dd if="/dev/$disk" of="$tmp/first" bs=64k count=1 iflag=direct status=none

check "completions of commands that can't be" io beyond
check "completions that come twice" io again
uses_ago "a completion" stale
check "noise in a completion queue" io noise
check "an admin completion for a command that can't be" admin beyond
check "an event that nobody asked for" admin event
check "noise in the admin completion queue" admin noise
check "persistent errors without end don't fill the log" errors
check "unbound and bound again, all is well" again
uses_ago "an admin completion" admin_stale
check "fio with checksums" fio_on "$disk" --rw=randrw --bs=4k --iodepth=16 --size=8M --verify=crc32c
finish
