#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# rnvme-top in the guest: compares its output under load with the I/O done, the files, and QEMU's
# count.
# shellcheck disable=SC2016 # jq's variables
. "$(dirname "$0")/common.sh"

trace=${RUN:-/nonexistent}/trace
settled() { [ "$(sum inflight)" = 0 ]; }
as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all "$@"; }

# recorded COMMAND…: the counts while COMMAND ran, in $tmp/record, and as JSON in $tmp/json.
recorded() {
	wait_for 10 settled
	# An earlier recording would be taken for the beginning of this one.
	rm -f "$tmp/record"
	background "$rnvme_top" --interval 0.2 record "$tmp/record"
	wait_for 20 grep -qs '^\.$' "$tmp/record"
	"$@"
	wait_for 10 settled
	# One more interval after COMMAND.
	lines=$(grep -c '^\.$' "$tmp/record")
	more() { [ "$(grep -c '^\.$' "$tmp/record")" -gt $((lines + 1)) ]; }
	wait_for 20 more
	stop "$job"
	"$rnvme_top" replay --json "$tmp/record" >"$tmp/json"
}
# summed FIELD: the sum over the I/O queues of the first controller.
summed() { jq -s "[.[].controllers[0].sum.counts.$1] | add" "$tmp/json"; }

exact() {
	recorded dd if="/dev/$disk" of=/dev/null bs=4k count=500 iflag=direct
	same "reads" 500 "$(summed reads)"
	same "bytes read" 2048000 "$(summed bytes_read)"
	same "writes" 0 "$(summed writes)"
	same "times" 500 "$(summed timed)"
	same "times in the distribution" 500 "$(jq -s '[.[].controllers[0].sum.latency[][1]] | add' "$tmp/json")"
	recorded dd if=/dev/zero of="/dev/$disk" bs=8k count=100 oflag=direct
	same "writes" 100 "$(summed writes)"
	same "bytes written" 819200 "$(summed bytes_written)"
}

trace_count() {
	tail -c +$((skipped + 1)) "$trace" | awk '
		/pci_nvme_io_cmd/ { io++ } /pci_nvme_mmio_doorbell_sq/ { for (i = 1; i < NF; i++) if ($i == "sqid" && $(i + 1) > 0) sq++ }
		END { print io + 0, sq + 0 }'
}
as_qemu() {
	local io sq io2 sq2
	wait_for 10 settled
	sleep 1
	read -r io sq < <(trace_count)
	recorded fio_on "$disk" --rw=randrw --bssplit=4k/80:64k/20 --iodepth=16 --numjobs=2 --size=2m --offset_increment=4m
	counted="$(summed submitted) $(summed sq_doorbells)"
	agreed() {
		read -r io2 sq2 < <(trace_count)
		[ "$((io2 - io)) $((sq2 - sq))" = "$counted" ]
	}
	wait_for 10 agreed || true
	same "commands and doorbells" "$((io2 - io)) $((sq2 - sq))" "$counted"
}

# An interval under load: related values are consistent.
plausible() {
	background fio_on "$disk" --rw=randread --bs=4k --iodepth=8 --size=32m --time_based --runtime=100
	busy() { [ "$(sum reads)" -gt 2000 ]; }
	wait_for 30 busy
	as_nobody "$rnvme_top" --once --json --interval 2 >"$tmp/json"
	as_nobody "$rnvme_top" --once >"$tmp/text"
	stop "$job"
	jq -e '.controllers[0].sum | .iops > 10 and .depth > 1 and .depth <= 8.5 and .mean_ns <= .max_ns and
		.p50_ns <= .p99_ns and .p99_ns <= .max_ns and .interrupts_per_io > 0 and .interrupts_per_io <= 1.1 and
		.counts.reads * 4096 - .counts.bytes_read <= 8 * 4096' "$tmp/json" || { cat "$tmp/json"; return 1; }
	grep "^$(c name)q1 " "$tmp/text"
	grep "^$disk: " "$tmp/text"
}

# metric NAME: summed over the queues.
metric() { awk -v name="$1" 'index($0, name "{") == 1 { n += $NF } END { printf "%d\n", n }' "$tmp/metrics"; }
metrics() {
	wait_for 10 settled
	as_nobody "$rnvme_top" --prometheus >"$tmp/metrics"
	compare() {
		same "completed" "$(sum completed all)" "$(metric rnvme_queue_completed_total)"
		same "interrupts" "$(sum interrupts all)" "$(metric rnvme_queue_interrupts_total)"
		same "bytes" $(($(sum bytes_read) + $(sum bytes_written))) "$(metric rnvme_queue_bytes_total)"
		same "times" "$(cut -d' ' -f20 "$(dir_of)/controller/stat")" "$(metric rnvme_queue_latency_seconds_count)"
	}
	compare
	"$rnvme_top" --prometheus --output "$tmp/metrics"
	compare
	background "$rnvme_top" --listen 127.0.0.1:9899
	serves() { grep -q 'http://127.0.0.1:9899/metrics' "$tmp/background"; }
	wait_for 20 serves
	python3 -c 'import urllib.request as u; print(u.urlopen("http://127.0.0.1:9899/metrics").read().decode())' >"$tmp/metrics"
	compare
	stop "$job"
}

# The values of the kernel's files, with two commands to the controller in 10 seconds.
temperature() {
	local hwmon commands begin
	hwmon=$(echo "$(dir_of)"/hwmon/hwmon*)
	wait_for 10 settled
	commands=$(q 0 admin_commands)
	begin=$SECONDS
	as_nobody "$rnvme_top" --json --interval 0.1 --count 20 >"$tmp/json"
	at_most "commands" $((2 + 2 * ((SECONDS - begin + 1) / 10))) $(($(q 0 admin_commands) - commands))
	same "intervals" 20 "$(wc -l <"$tmp/json")"
	values() { jq -s "[.[].controllers[0].$1] | unique[] | numbers * 1000 | round" "$tmp/json"; }
	same "temperature" "$(file "$hwmon/temp1_input")" "$(values temperature_celsius)"
	same "limit" "$(file "$hwmon/temp1_max")" "$(values temperature_limit_celsius)"
	same "SMART warnings" "$(c smart_warnings)" "$(tail -n 1 "$tmp/json" | jq .controllers[0].smart_warnings_total)"
	"$rnvme_top" --prometheus >"$tmp/metrics"
	same "metric" "$(file "$hwmon/temp1_input")" "$(awk '
		index($0, "rnvme_temperature_celsius{controller=\"'"$(c name)"'\"") == 1 { printf "%.0f\n", $NF * 1000 }' "$tmp/metrics")"
}

resets() {
	some_resets() {
		for _ in 1 2; do
			resets=$(c resets)
			reset_controller
			reset_done() { live && [ "$(c resets)" -gt "$resets" ]; }
			wait_for 20 reset_done
		done
	}
	recorded some_resets
	drop_dumps
	same "resets" 2 "$(jq -s '[.[].controllers[0].events.resets] | add' "$tmp/json")"
	"$rnvme_top" plot --output "$tmp/plot.svg" --output "$tmp/plot.png" "$tmp/record"
	grep -q '^reset$' "$tmp/plot.svg"
	"$rnvme_top" replay --screenshot "$tmp/screen.svg" "$tmp/record"
	grep -q 'resets 2' "$tmp/screen.svg"
}

# screen SCRIPT…: runs rnvme-top on a pseudo-terminal, with SCRIPT, in Python, which calls until(PATTERN) and
# keys(TEXT). The view must end on a signal.
screen() {
	python3 - "$rnvme_top" "$@" <<-'END'
		import fcntl, os, pty, re, select, signal, struct, sys, termios, time
		program, script, *arguments = sys.argv[1:]
		pid, fd = pty.fork()
		if pid == 0:
		    os.environ["TERM"] = "xterm-256color"
		    os.execv(program, [program, "--interval", "0.1"])
		fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
		output = b""
		def until(what, seconds=60):
		    global output
		    end = time.monotonic() + seconds
		    while not re.search(what, output, re.S):
		        if time.monotonic() > end:
		            sys.exit(f"no {what} in {output[-2000:]}")
		        if select.select([fd], [], [], 0.1)[0]:
		            try:
		                output += os.read(fd, 65536)
		            except OSError:
		                sys.exit(f"it ended, with {output[-2000:]}")
		    output = b""
		def keys(text):
		    os.write(fd, text)
		until(b"q1")
		exec(script)
		os.kill(pid, signal.SIGTERM)
		until(rb"\x1b\[\?1049l")
		sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
	END
}

# The view survives removal and return of the device.
vanishing() {
	screen '
for _ in range(3):
    for file, what in ("unbind", b"waiting"), ("bind", b"q1"):
        with open(f"{arguments[0]}/{file}", "w") as f:
            f.write(arguments[1])
        until(what)
' "$driver" "$bdf"
}

# A command waits for its interrupt.
waiting() {
	local qid rc=0
	wait_for 10 settled
	mask "$bdf" 1
	background dd if="/dev/$disk" of=/dev/null bs=4k count=1 iflag=direct
	held() { for qid in $(queues); do [ "$qid" = 0 ] || [ "$(q "$qid" inflight)" = 0 ] || return 0; done; return 1; }
	wait_for 20 held
	screen '
keys(b"/" + arguments[0].encode())
keys(b"\r")
time.sleep(2)
keys(b"j\r")
# At least two seconds; a slow guest may show more than ten.
until(rb"ages.{0,60}?(?<![\d.])(?:[2-9]|\d\d+)(?:\.\d+)?s")
' "$(c name)q$qid" || rc=1
	mask "$bdf" 0
	wait_for 20 settled
	return $rc
}

without() {
	unload
	local rc=0
	"$rnvme_top" --once 2>"$tmp/said" || rc=$?
	same "exit status" 3 $rc
	grep 'the module rust_nvme_demo is not loaded' "$tmp/said"
	same "lines" 1 "$(wc -l <"$tmp/said")"
}

begin 9
"$rnvme_top" --version >/dev/null 2>&1 || skip_all "no $rnvme_top for this machine: make top"
# The firmware's I/O comes before.
skipped=$(stat -c %s "$trace" 2>/dev/null || echo 0)
load_disks
check "a recording has exactly what was done" exact
if [ -r "$trace" ]; then
	check "it has what QEMU counted" as_qemu
else
	skip "it has what QEMU counted" "no trace of QEMU's: TRACE=1 qemu/run"
fi
check "an interval under load, seen by an ordinary user" plausible
check "metrics are those of the files" metrics
if [ -e "$(dir_of)/hwmon" ]; then
	check "temperatures are those of hwmon, and read rarely" temperature
else
	skip "temperatures are those of hwmon, and read rarely" "this kernel has no hwmon"
fi
check "resets are in recording, plot and screen" resets
check "the view of a queue has the ages of its commands" waiting
check "the view outlives its device, and ends with a signal" vanishing
check "without the module there is one line" without
finish
