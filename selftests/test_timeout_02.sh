#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Each step of the driver for a command that isn't completed, the time of each step, and the time until
# I/O continues or fails.
. "$(dirname "$0")/common.sh"

# QEMU doesn't survive a reset while it holds a request back; with a debug kernel the abort takes
# longer.
limit=$(has_checkers && echo 15 || echo 2)
now() { echo $((${EPOCHREALTIME/./} / 1000)); }
counted() { [ "$(c "$1")" -gt "$2" ]; }
dead() { [ "$(c state)" = dead ]; }
# lines MARK RE: the number of the driver's lines since MARK that match RE.
lines() { log_since "$1" | grep -cE "rust_nvme_demo $bdf: .*$2" || true; }
# took MARK RE: milliseconds from MARK to the driver's first line that matches RE.
took() {
	dmesg | awk -v mark="selftests: $test: $1 $$" -v re="rust_nvme_demo $bdf: .*$2" '
		{ ms = int(substr($0, 2) * 1000) }
		index($0, mark) { start = ms; next }
		start && $0 ~ re { print ms - start; found = 1; exit }
		END { exit !found }'
}
# CAP.TO in milliseconds.
cap_to() { echo $((($(c capabilities) >> 24 & 255) * 500)); }
read_block() { dd if="/dev/$disk" bs=4k count=1 skip="$1" iflag=direct 2>"$tmp/dd" | cmp - "$tmp/block"; }

# Only this step is taken: no other event is counted.
only() { # NAME COMMAND…
	local name before=() i names=(lost_interrupts aborts resets)
	for name in "${names[@]}"; do before+=("$(c "$name")"); done
	"${@:2}"
	for i in 0 1 2; do
		[ "${names[i]}" != "$1" ] || before[i]=$((before[i] + 1))
		same "${names[i]}" "${before[i]}" "$(c "${names[i]}")"
	done
}

lost() {
	log_mark lost
	mask "$bdf" 1
	read_block 10
	mask "$bdf" 0
	same "lines in the log" 1 "$(lines lost .)"
	say "lost interrupt: found after $(took lost 'without an interrupt') ms"
	at_most "milliseconds" $((limit * 1000 + $(cap_to))) "$(took lost 'without an interrupt')"
}

# The asynchronous event request is always in flight.
settled() { [ "$(q 0 inflight)" -le 1 ]; }
admin_lost() {
	local before start
	before=$(q 0 submitted)
	mask "$bdf" 1
	start=$(now)
	echo 1 >"$(dir_of)/controller/rescan_controller"
	wait_for 60 [ "$(q 0 submitted)" -gt "$before" ]
	wait_for 60 settled
	say "a rescan without interrupts: $(($(now) - start)) ms"
	mask "$bdf" 0
	wait_for 60 live
	same "disks" "$(c namespaces)" "$(disks "$bdf" | wc -l)"
	read_block 10
}

aborted() {
	# After twice this time the driver resets, which QEMU doesn't survive with the read held back.
	local before retries ms limit=10
	before=$(c aborts) retries=$(sum retries) ms=$(blk "$disk" io_timeout)
	echo $((limit * 1000)) >"/sys/block/$disk/queue/io_timeout"
	hold
	log_mark aborted
	background dd if="/dev/$disk" of="$tmp/read" bs=4k count=1 skip=10 iflag=direct
	wait_for 30 counted aborts "$before"
	release
	wait_for 30 ended "$job"
	wait "$job" || { cat "$tmp/background"; return 1; }
	echo "$ms" >"/sys/block/$disk/queue/io_timeout"
	cmp "$tmp/read" "$tmp/block"
	same "retries" $((retries + 1)) "$(sum retries)"
	say "abort: after $(took aborted 'timed out: abort') ms"
	at_most "milliseconds" $((limit * 1000 + $(cap_to))) "$(took aborted 'timed out: abort')"
}

# With 64 bytes per second QEMU doesn't complete the second command, which can't be aborted.
held_back() { [ "$(sum inflight)" -ge 8 ]; }
not_aborted() {
	local resets
	resets=$(c resets)
	throttle 0 64
	background fio_on "$disk" --rw=read --bs=4k --iodepth=16 --size=1M --number_ios=40 --verify=crc32c
	# fio takes a while to start.
	wait_for 60 held_back
	log_mark throttled
	wait_for $((60 + 2 * limit)) counted resets "$resets"
	throttle 0
	wait_for 60 ended "$job"
	wait "$job" || { cat "$tmp/background"; return 1; }
	say "abort: after $(took throttled 'timed out: abort') ms; of no use, reset: after $(took throttled 'resetting') ms"
	at_most "milliseconds" $((limit * 1000 + $(cap_to))) "$(took throttled 'timed out: abort')"
	# After the abort, a command gets another time-out period.
	at_most "milliseconds" $((2 * (limit + 1) * 1000 + $(cap_to))) "$(took throttled 'resetting')"
}

# The time until waiting requests complete after the controller is live. Polls without a new process
# each time, because that takes long.
watch() {
	python3 - "$(dir_of)" <<-'END'
		import glob, sys, time
		def value(path):
		    with open(path) as file:
		        return file.read().strip()
		def completed():
		    return sum(int(value(p)) for p in glob.glob(f"{sys.argv[1]}/queues/[1-9]*/completed"))
		def until(what, since):
		    while not what():
		        if time.monotonic() - since > 90:
		            sys.exit("nothing within 90 s")
		    return time.monotonic()
		start = time.monotonic()
		resets = int(value(f"{sys.argv[1]}/controller/resets"))
		print("ready", flush=True)
		until(lambda: int(value(f"{sys.argv[1]}/controller/resets")) > resets, start)
		live = until(lambda: value(f"{sys.argv[1]}/controller/state") == "live", start)
		before = completed()
		print(int((until(lambda: completed() > before, live) - live) * 1000))
	END
}
fatal() {
	local watch
	watch >"$tmp/watch" &
	watch=$!
	wait_for 60 grep -q ready "$tmp/watch"
	background fio_on "$disk" --rw=randrw --bs=4k --iodepth=8 --size=16M --verify=crc32c \
		--time_based --runtime=$((limit * 4 + 6))
	wait_for 30 busy "$bdf" $(($(sum submitted) + 100))
	log_mark fatal
	no_dma "$bdf"
	wait $watch || { cat "$tmp/watch"; return 1; }
	say "fatal error: reset after $(took fatal resetting) ms; I/O $(tail -n 1 "$tmp/watch") ms after the controller was live"
	at_most "milliseconds" 1000 "$(tail -n 1 "$tmp/watch")"
	at_most "milliseconds" $((limit * 1000 + $(cap_to))) "$(took fatal resetting)"
	wait_for 60 ended "$job"
	wait "$job" || { cat "$tmp/background"; return 1; }
}

gives_up() {
	local fd
	exec {fd}<>"/dev/$disk"
	log_mark dead
	no_registers "$bdf"
	refused timeout 100 dd if="/dev/$disk" of="$tmp/read" bs=4k count=1 iflag=direct
	wait_for 10 dead
	say "registers without effect: reset after $(took dead resetting) ms, dead after $(took dead 'is dead') ms (limit $((limit * 1000)), CAP.TO $(cap_to))"
	at_most "milliseconds to a decision" $((limit * 1000 + $(cap_to))) "$(took dead resetting)"
	# The kernel rounds the request timer up to a second; a debug kernel is slow.
	at_most "milliseconds to the end" $((limit * 1000 + 1000 + $(cap_to) + $(has_checkers && echo 8000 || echo 500))) "$(took dead 'is dead')"
	same "size" 0 "$(cat "/sys/block/$disk/size")"
	fails_fast $fd
}
# In a single process, because a process for each read would exceed the limit.
fails_fast() { # FD
	local rc=0
	python3 - "$1" "/dev/$disk" >"$tmp/fails" 2>&1 <<-'END' || rc=$?
		import mmap, os, sys, time
		page = mmap.mmap(-1, 4096)
		took = {}
		def one(name, call):
		    start = time.monotonic()
		    try:
		        if call() == 4096:
		            sys.exit(f"{name} works")
		    except OSError:
		        pass
		    took.setdefault(name, []).append((time.monotonic() - start) * 1000)
		for _ in range(50):
		    for flag, kind in (0, "buffered"), (os.O_DIRECT, "direct"):
		        fd = os.open(f"/proc/self/fd/{sys.argv[1]}", os.O_RDWR) if not flag else os.open(sys.argv[2], os.O_RDWR | flag)
		        one(f"{kind} read", lambda: os.preadv(fd, [page], 0))
		        one(f"{kind} write", lambda: os.pwritev(fd, [page], 0))
		        one(f"{kind} fsync", lambda: os.fsync(fd))
		        os.close(fd)
		for times in took.values():
		    times.sort()
		print(", ".join(f"{n} {t[25]:.2f} ms (slowest {t[49]:.2f})" for n, t in took.items()))
		# The slowest read may have been preempted, in the guest or on the host.
		sys.exit(any(t[45] > 10 for t in took.values()))
	END
	say "a dead controller fails: $(cat "$tmp/fails")"
	return $rc
}
and_back() {
	unbind "$bdf"
	same "disks" "" "$(disks "$bdf")"
	bind "$bdf"
	same "state" live "$(c state)"
	read_block 10
}

begin 8
need_qemu
load_disks timeout="$limit"
has_msix "$bdf" || skip_all "no MSI-X to mask"
head -c 4k /dev/urandom >"$tmp/block"
dd if="$tmp/block" of="/dev/$disk" bs=4k seek=10 oflag=direct 2>"$tmp/dd"
check "a lost interrupt is found, said once, and the request is good" only lost_interrupts lost
check "admin commands without interrupts end in time" admin_lost
check "an abort is enough where the controller obeys it" only aborts aborted
fio_on "$disk" --rw=write --bs=4k --size=1M --verify=crc32c --do_verify=0 >"$tmp/fio"
check "else the controller is reset, and all data come" not_aborted
dd if="$tmp/block" of="/dev/$disk" bs=4k seek=10 oflag=direct 2>"$tmp/dd"
check "a fatal error is a reset at once, and I/O goes on within a second" fatal
dd if="$tmp/block" of="/dev/$disk" bs=4k seek=10 oflag=direct 2>"$tmp/dd"
check "a controller that doesn't come back is dead, and fails within 10 ms" gives_up
check "it can be unbound, and bound again when it works" and_back
check "the module unloads" unload
finish
