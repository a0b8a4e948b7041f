#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# STORM seconds of I/O on every disk with random events (from SEED): unbinds, resets, unplugs, time-outs,
# CPU hotplug, scheduler changes, rescans and reads of every file. Afterwards all data are intact, and
# nothing is leaked. See scripts/storm.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/plug.sh"

seconds=${STORM:-45}
seed=${SEED:-$((RANDOM << 15 | RANDOM))}

end() { [ -e "$tmp/end" ]; }
bad() { echo "$*" >>"$tmp/bad"; }
pause() { sleep "$((RANDOM % 2)).$((RANDOM % 10))"; }
any() { local n=$((1 + RANDOM % $#)); echo "${!n}"; }
# A random line of COMMAND's output; nothing if there is none.
any_of() {
	local lines
	mapfile -t lines < <("$@")
	any "${lines[@]:-none}"
}
# act WHAT ARGUMENT…: runs and counts an event. It may fail, because other events run at the same
# time.
act() {
	echo "$1" >>"$tmp/done"
	echo "$SECONDS s: $*" >>"$tmp/story"
	"$@" >/dev/null 2>&1 || echo "$SECONDS s: $* failed" >>"$tmp/story"
}
is_up() { # BDF DISKS
	[ "$(c state "$1" 2>/dev/null)" = live ] && [ "$(disks "$1" | wc -l)" = "$2" ]
}

# --- what happens to a controller: BDF ---
rebind() { unbind "$1"; bind "$1"; }
reset() { echo 1 >"$driver/$1/controller/reset_controller"; }
reset_often() { local i; for i in 1 2 3 4 5; do reset "$1"; done; }
function_reset() { echo 1 >"/sys/bus/pci/devices/$1/reset"; }
fatal() { no_dma "$1"; }
deaf() { mask "$1" 1; sleep 3; mask "$1" 0; }
reset_and_rebind() { reset "$1"; rebind "$1"; }
fatal_on_bus() { bus_error "$1" fatal; }
# Without a driver the bus gives the device up, and must rescan for it.
fatal_and_rebind() { bus_error "$1" fatal; rebind "$1" || from_bus "$1"; }
from_bus() {
	echo 1 >"/sys/bus/pci/devices/$1/remove"
	wait_for 60 gone "$1"
	echo 1 >/sys/bus/pci/rescan
}

anywhere=(rebind reset reset_often function_reset fatal deaf reset_and_rebind from_bus fatal_on_bus fatal_and_rebind)

# --- who makes them happen ---
lives() { # BDF DISKS WHAT…
	local bdf=$1 disks=$2
	until end; do
		act "$(any "${@:3}")" "$bdf"
		wait_for 100 is_up "$bdf" "$disks" >/dev/null || {
			bad "$bdf is $(c state "$bdf" 2>&1) and has $(disks "$bdf" | wc -l) disks, not $disks: $(tail -n 3 "$tmp/story" | xargs)"
			return
		}
		pause
	done
}
cpu() { echo "$2" >"/sys/devices/system/cpu/cpu$1/online"; }
cpus() {
	until end; do
		act cpu $((1 + RANDOM % ($(nproc --all) - 1))) $((RANDOM % 2))
		pause
	done
}
set_() { echo "$3" >"/sys/block/$1/queue/$2"; }
rescan() { echo 1 >"$driver/$1/controller/rescan_controller"; }
settings() {
	until end; do
		local disk
		disk=$(any_of disks)
		case $((RANDOM % 5)) in
		0) act set_ "$disk" scheduler "$(any none mq-deadline kyber bfq)" ;;
		1) act set_ "$disk" iostats $((RANDOM % 2)) ;;
		2) act set_ "$disk" nr_requests $((2 + RANDOM % 1000)) ;;
		*) act rescan "$(any_of controllers)" ;;
		esac
		pause
	done
}
look() {
	find "$driver"/*:*/{controller,queues,pools} /sys/kernel/debug/rust_nvme_demo-* /sys/block/nvme9*/{queue,mq} /sys/class/devcoredump/*/data \
		-type f -perm /444 -print0 | xargs -0 cat
	cat /proc/interrupts
	drop_dumps
}
looks() { until end; do act look; pause; done; }
# Many requests at once. fio ends when the disk is removed, and is started again.
deep() {
	until end; do
		timeout $((seconds + 60)) fio --name=deep --filename="/dev/$(any_of disks)" --ioengine=libaio --direct=1 \
			--allow_file_create=0 --rw=randread --bs=4k --iodepth=32 --rate_iops=400 --time_based --runtime=5
		sleep 0.2
	done >/dev/null 2>&1
}

storm() {
	local n=0 what
	for what in "lives $bdf 2 ${anywhere[*]} surprise switch" "lives $other 1 ${anywhere[*]}" cpus settings looks deep; do
		n=$((n + 1))
		# shellcheck disable=SC2086
		(RANDOM=$((seed + n)); $what) &
	done 7>&-
	sleep "$seconds"
	: >"$tmp/end"
	wait
	for ((n = 1; n < $(nproc --all); n++)); do cpu $n 1 || true; done
	# Skip the scheduler's own directory.
	for what in $(disks); do set_ "$what" scheduler none; done
	say "seed $seed, $seconds s: $(sort "$tmp/done" | uniq -c | awk '{ sub(/_$/, "", $2); printf "%s%s %d", n++ ? ", " : "", $2, $1 }')"
	[ ! -e "$tmp/bad" ] || { cat "$tmp/bad"; return 1; }
}
is_idle() {
	is_up "$bdf" 2
	is_up "$other" 1
	same "in flight" "0 0" "$(sum inflight io "$bdf") $(sum inflight io "$other")"
}
leaves() {
	unload
	nothing_left
}

begin 6
need_qemu
need_bus_errors
need_plug
modprobe -a kyber-iosched bfq 2>/dev/null
load_disks timeout=2 poll_queues=1
other=$(controllers | sed -n 2p)
say "seed $seed"
witness witness rnvme-0/1 rnvme-0/2 rnvme-1/1
witness polled --polled --first 4096 --jobs 1 rnvme-0/1 rnvme-1/1
# The kernel keeps memory after the first run.
for what in rebind surprise function_reset from_bus; do
	$what "$bdf" >"$tmp/first" 2>&1
	wait_for 60 is_up "$bdf" 2 >>"$tmp/first" || cat "$tmp/first"
done
account >"$tmp/before"
check "$seconds s of everything at once, and the controllers live" storm
check "no acknowledged write is lost, and none comes late" testify witness
check "nor of those that are polled for" testify polled
check "nothing is in flight" is_idle
check "nothing has grown" flat before 4096
check "the module unloads, and leaves nothing" leaves
finish
