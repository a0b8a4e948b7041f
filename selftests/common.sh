# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Functions that all tests share. A test sources this file, announces its number of results, and
# reports each result by check or skip:
#
#	. "$(dirname "$0")/common.sh"
#	begin 2
#	check "the module loads" load
#	...
#	finish
#
# A function that check runs stops at the first command that fails; then its output is shown.
#
#	TOP	the checkout, if this isn't in it
#	KO	the module to test, if not the one in the checkout
#	KSFT	tools/testing/selftests of a kernel's source, if this isn't in it

set -u
export LC_ALL=C.UTF-8

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
newline=$'\n'
top=${TOP:-${here%/*}}
test=$(basename -- "$0" .sh)
KO=${KO:-$top/rust_nvme_demo.ko}
driver=/sys/bus/pci/drivers/rust_nvme_demo
# What `make top` has built for a guest of this architecture.
rnvme_top=$top/tools/rnvme-top/target/release/rnvme-top
[ "$(uname -m)" = x86_64 ] || rnvme_top=$top/tools/rnvme-top/target/$(uname -m)-unknown-linux-gnu/release/rnvme-top

ktap=${KSFT:-$here/..}/kselftest/ktap_helpers.sh
if [ ! -r "$ktap" ]; then
	echo "1..0 # SKIP no $ktap: set KSFT to tools/testing/selftests of a kernel's source"
	exit 4
fi
# shellcheck source=/dev/null
. "$ktap"

# --- results ------------------------------------------------------------------

# begin N: the test has N results, and one more for the kernel's log.
begin() {
	planned=$(($1 + 1))
	[ "$(id -u)" = 0 ] || skip_all "not root"
	[ -r "$KO" ] || skip_all "no $KO: run make"
	[ ! -e /sys/module/rust_nvme_demo ] || skip_all "rust_nvme_demo is loaded already"
	tmp=$(mktemp -d)
	trap clean_up EXIT
	# The test's output for say, from within a check.
	exec 7>&1
	log_mark start
}

# Print the plan with the first result, because until then the whole test may be skipped.
plan() {
	[ "$planned" != 0 ] || return 0
	ktap_print_header
	ktap_set_plan "$planned"
	planned=0
}

# say TEXT…: prints a figure even if the check passes.
say() { plan; ktap_print_msg "$test: $*" >&7; }

# check DESCRIPTION COMMAND…: reports whether COMMAND succeeds. COMMAND runs in a subshell.
check() {
	local description=$1 output rc start=$SECONDS
	shift
	plan
	# Not in a condition, because there -e would have no effect.
	output=$(
		set -eE
		trap 'echo "${BASH_SOURCE[0]##*/}:$LINENO: failed: ${BASH_COMMAND%%"$newline"*}" >&2' ERR
		"$@" 2>&1
	)
	rc=$?
	[ $((SECONDS - start)) -lt 5 ] || ktap_print_msg "$((SECONDS - start)) s"
	if [ $rc = 0 ]; then
		ktap_test_pass "$description"
	else
		printf '%s\n' "$output" | tail -n 40 | sed 's/^/# /'
		stop
		ktap_test_fail "$description"
	fi
	return $rc
}

# skip DESCRIPTION REASON: reports a result that doesn't apply here.
skip() {
	plan
	__ktap_test ok "$1" "SKIP $2"
	KTAP_CNT_SKIP=$((KTAP_CNT_SKIP + 1))
}

# skip_all REASON: the whole test doesn't apply here.
skip_all() {
	ktap_print_header
	ktap_skip_all "$1"
	exit "$KSFT_SKIP"
}

finish() {
	clean_up
	check "the kernel's log has no warning" no_complaint
	trap - EXIT
	ktap_finished
}

no_complaint() {
	# qemu/run decides which module a data race belongs to.
	! log_since start | grep -v 'BUG: KCSAN' | grep -E 'BUG:|WARNING:|Oops|INFO: (task|rcu|possible|NMI|trying|suspicious)|DMAR: .*fault|[Ss]tack trace'
}

# same WHAT EXPECTED ACTUAL
same() {
	[ "$2" = "$3" ] || { echo "$1: expected '$2', is '$3'"; return 1; }
}

# at_most WHAT LIMIT ACTUAL, numbers
at_most() {
	[ "$3" -le "$2" ] || { echo "$1: expected at most $2, is $3"; return 1; }
}

# at_least WHAT LIMIT ACTUAL, numbers
at_least() {
	[ "$3" -ge "$2" ] || { echo "$1: expected at least $2, is $3"; return 1; }
}

# refused COMMAND…: succeeds if COMMAND fails, unless it timed out or doesn't exist.
refused() {
	local rc=0
	"$@" || rc=$?
	[ $rc != 0 ] || { echo "not refused: $*"; return 1; }
	[ $rc -lt 124 ] || { echo "rc $rc: $*"; return 1; }
}

# wait_for SECONDS COMMAND…: runs COMMAND until it succeeds; fails after SECONDS, or several times as long
# with a debug kernel.
wait_for() {
	local limit=$1 end
	shift
	! has_checkers || limit=$((6 * limit))
	end=$((SECONDS + limit))
	until "$@"; do
		if [ $SECONDS -gt $end ]; then
			echo "not within $limit s: $*"
			return 1
		fi
		sleep 0.05
	done
}

# --- the kernel's log ---------------------------------------------------------

log_mark() { echo "selftests: $test: $1 $$" >/dev/kmsg; }
# The lines since a mark.
log_since() {
	dmesg | awk -v mark="selftests: $test: $1 $$" '
		index($0, mark) { seen = 1; lines = ""; next }
		seen { lines = lines $0 "\n" }
		END { printf "%s", lines }'
}
# logged MARK LINE: LINE, literally, has been logged since MARK.
logged() { log_since "$1" | grep -qF -- "$2" || { echo "not logged: $2"; log_since "$1"; return 1; }; }

# --- the module and its devices -----------------------------------------------

# load [PARAMETER=VALUE…]: loads the module. The tests overwrite every disk of the module, so
# qemu/topologies must have created each disk.
load() {
	local serial disk
	[ ! -x "$top/qemu/take" ] || "$top/qemu/take"
	insmod "$KO" "$@" || return
	for disk in $(disks); do
		# A regular file, which a program created while there was no disk.
		[ -b "/dev/$disk" ] || { echo "/dev/$disk is no disk"; return 1; }
	done
	for serial in "$driver"/*/controller/serial; do
		[ -e "$serial" ] || continue
		case $(cat "$serial") in
		rnvme-*) ;;
		*)
			rmmod rust_nvme_demo
			echo "$serial is $(cat "$serial"), not rnvme-…: no disk to overwrite"
			return 1 ;;
		esac
	done
}

unload() { rmmod rust_nvme_demo; }
loaded() { [ -e /sys/module/rust_nvme_demo ]; }
unloaded() { ! loaded; }

# The PCI addresses of the controllers that the driver is bound to.
controllers() {
	local link
	for link in "$driver"/*:*; do
		[ ! -e "$link" ] || echo "${link##*/}"
	done
}

# The PCI addresses of all NVMe controllers, bound to any driver or none.
nvme_devices() { grep -lx 0x010802 /sys/bus/pci/devices/*/class | cut -d/ -f6; }

# driver_of BDF: the driver that is bound to a PCI device; nothing if there is none.
driver_of() { basename "$(readlink "/sys/bus/pci/devices/$1/driver")"; }

# take: binds the driver to all controllers, including those that aren't in its table, until the test ends.
take() {
	local device
	for device in $(nvme_devices); do
		echo rust_nvme_demo >"/sys/bus/pci/devices/$device/driver_override"
	done
}
# The parameters by which the driver trusts the identifiers of controllers with QEMU's other PCI ids.
trust=(quirks_device=0x80865845 quirks_off=0x40000)
# Whether the driver, loaded with them, trusts the identifiers of the controller's namespaces.
trusted() { [ "$(cat "/sys/bus/pci/devices/$bdf/device")" != 0x0010 ]; }

# The disks, such as nvme900n1, of all controllers or of the controller at a PCI address.
disks() {
	local dir
	for dir in /sys/bus/pci/devices/${1:-*}/rnvme/nvme*/nvme*; do
		[ ! -e "$dir" ] || echo "${dir##*/}"
	done
}
# load_disks [PARAMETER=VALUE…]: loads the module, and sets $disk to the first disk and $bdf to
# its controller; skips the test if there is no disk.
load_disks() {
	local output
	if ! output=$(load "$@" 2>&1); then
		printf '%s\n' "$output" | sed 's/^/# /'
		ktap_exit_fail_msg "the module does not load"
	fi
	disk=$(disks | head -n 1)
	[ -n "$disk" ] || skip_all "no NVMe disk"
	bdf=$(controllers | head -n 1)
}

# Checks that the unloaded module left nothing behind.
nothing_left() {
	unloaded
	same "devices" "" "$(find /dev /sys/block -maxdepth 1 \( -name 'nvme9[0-9][0-9]*' -o -name 'ng9[0-9][0-9]*' \))"
	same "files" "" "$(find /sys/kernel/debug /sys/module /sys/bus/pci/drivers /sys/kernel/slab -maxdepth 1 \
		\( -name 'nvme9[0-9][0-9]*' -o -name '*rust_nvme_demo*' \))"
	same "files of the devices" "" "$(find /sys/bus/pci/devices/*/ -maxdepth 1 \( -name queues -o -name controller \))"
	same "interrupts" "" "$(grep 'nvme9[0-9][0-9]q' /proc/interrupts || true)"
}

# A debug kernel is slow.
has_checkers() { [ -e /sys/kernel/debug/kmemleak ]; }
# has_msix BDF: whether the controller uses MSI-X.
has_msix() { [ -d "/sys/bus/pci/devices/$1/msi_irqs" ]; }

bind() { echo "$1" >"$driver/bind"; }
unbind() { echo "$1" >"$driver/unbind"; }

# file PATH: the content of a single-line file. Without a process, which would take most of a
# test's time.
file() {
	local line
	IFS= read -r line <"$1" && printf '%s\n' "$line"
}
# c NAME [ADDRESS]: a file of the controller, by default of the first controller.
c() { file "$(dir_of "${2:-}")/controller/$1"; }
# q QID NAME [ADDRESS]: a file of a queue.
q() { file "$(dir_of "${3:-}")/queues/$1/$2"; }
reset_controller() { echo 1 >"$(dir_of)/controller/reset_controller"; }
live() { [ "$(c state)" = live ]; }
dir_of() {
	local dirs=("$driver"/*:*)
	echo "${1:+$driver/}${1:-${dirs[0]}}"
}
# The queues of the controller, the admin queue first: 0 1 2
queues() {
	ls "$(dir_of "${1:-}")/queues" | sort -n
}
# sum NAME [io|all] [ADDRESS]: a file, summed over the controller's queues.
sum() {
	local dir value total=0
	for dir in "$(dir_of "${3:-}")"/queues/*; do
		[ "${2:-io}" = all ] || [ "${dir##*/}" != 0 ] || continue
		read -r value <"$dir/$1" || return
		total=$((total + value))
	done
	echo $total
}

# admin_commands OPCODE: the commands in the admin queue's ring, the oldest first: their 16 dwords, in decimal.
admin_commands() {
	python3 - "/sys/kernel/debug/rust_nvme_demo-$bdf/queue0/sq" "$1" <<-'END'
		import sys
		ring = [line.split() for line in open(sys.argv[1])]
		tail = next(i for i, line in enumerate(ring) if "tail" in line[9:])
		for line in ring[tail:] + ring[:tail]:
		    words = [int(w, 16) for w in line[1:9]]
		    if words[0] & 0xff == int(sys.argv[2], 0):
		        print(*(w >> s & 0xffffffff for w in words for s in (0, 32)))
	END
}

# blk DISK NAME: a file in the disk's queue directory.
blk() { file "/sys/block/$1/queue/$2"; }
# The disk's size in bytes.
bytes() { echo $(($(cat "/sys/block/$1/size") * 512)); }

# cold FILE…: writes the files back and drops them from the page cache, so that later reads come
# from the disk.
cold() {
	python3 - "$@" <<-'END'
		import os, sys
		for path in sys.argv[1:]:
		    fd = os.open(path, os.O_RDONLY)
		    os.fsync(fd)
		    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
		    os.close(fd)
	END
}

# --- QEMU ---------------------------------------------------------------------

# qmp COMMAND [ARGUMENTS]: see qemu/qmp; prints only failures.
qmp() {
	local reply
	reply=$("$top/qemu/qmp" "$@") || { echo "$*: $reply"; return 1; }
}
# warn BITS: QEMU's first controller has these critical warnings; it reports those that are new.
warn() { qmp qom-set "{\"path\": \"/machine/peripheral/nvme0\", \"property\": \"smart_critical_warning\", \"value\": $1}"; }
has_qemu() { "$top/qemu/qmp" query-status >/dev/null 2>&1; }
need_qemu() { has_qemu || skip_all "no QEMU monitor"; }
# See TURNS in qemu/run.
need_turns() { [ -n "${TURNS:-}" ] || skip_all "QEMU may abort: it has a thread for each CPU"; }
# throttle IOPS [BYTES]: limits the first namespace's I/O per second; 0 for no limit.
throttle() {
	qmp block_set_io_throttle \
		"{\"id\": \"ns0\", \"bps\": ${2:-0}, \"bps_rd\": 0, \"bps_wr\": 0, \"iops\": $1, \"iops_rd\": 0, \"iops_wr\": 0}"
}
# blkdebug [RULE]: inserts QEMU's driver blkdebug with RULE into the first namespace; without RULE,
# removes the driver.
blkdebug() {
	if [ $# = 0 ]; then
		# QEMU flushes first, and a remaining rule may fail the flush.
		wait_for 5 disk_on file0
		qmp blockdev-del '{"node-name": "blkdebug0"}'
	else
		# A failed test may have left it.
		blkdebug >/dev/null 2>&1 || true
		qmp blockdev-add "{\"driver\": \"blkdebug\", \"node-name\": \"blkdebug0\", \"image\": \"file0\"${1:+, $1}}"
		disk_on blkdebug0
	fi
}
# rule read|write|flush [TIMES [SECTOR]]: a RULE by which all such commands fail, or the next TIMES,
# anywhere or at SECTOR. The type is given twice, because the first such event would otherwise enable
# the rule for all types.
rule() {
	local event=$1_aio one i rules=''
	[ "$1" != flush ] || event=flush_to_os
	one="{\"event\": \"$event\", \"iotype\": \"$1\", \"errno\": 5${2:+, \"once\": true}${3:+, \"sector\": $3}}"
	for ((i = 0; i < ${2:-1}; i++)); do rules+="${rules:+, }$one"; done
	echo "\"inject-error\": [$rules]"
}
disk_on() {
	qmp blockdev-reopen "{\"options\": [{\"driver\": \"raw\", \"node-name\": \"disk0\", \"file\": \"$1\", \"discard\": \"unmap\", \"cache\": {\"no-flush\": true}}]}"
}
# qemu_io COMMAND: runs a command of QEMU's qemu-io on the first namespace.
qemu_io() { qmp human-monitor-command "{\"command-line\": \"qemu-io -d ns0 \\\"$1\\\"\"}"; }
# hold: QEMU holds back the first namespace's next read, until release or the end of the check. A read
# that is never released would stop QEMU at the next reset.
hold() {
	blkdebug ""
	trap release EXIT
	qemu_io "break read_aio held"
}
release() {
	trap - EXIT
	qemu_io "resume held"
	blkdebug
}

# mask BDF 1|0: masks or unmasks all interrupts of the controller.
mask() { setpci -s "$1" "CAP_MSIX+2.w=$((4000 * $2)):4000"; }
# no_dma BDF: the controller can't do DMA, and reports a fatal error in CSTS, until it is reset.
no_dma() { setpci -s "$1" COMMAND=0:4; }
# no_registers BDF: the controller's registers read as zeroes, until it is bound again.
no_registers() { setpci -s "$1" COMMAND=0:2; }

# resources QUEUES VECTORS: gives the virtual function of the controller $physical queue pairs and vectors, each
# with the admin queue's. The function is offline meanwhile, and forgets its commands.
resources() {
	local args
	for args in "-a 7" "-a 8 -r 0 -n $1" "-a 8 -r 1 -n $2" "-a 9"; do
		# shellcheck disable=SC2086 # words
		nvme virt-mgmt "/dev/$physical" -c 1 $args
	done
}

# idle SECONDS: suspends to idle; wakes after SECONDS, or 40 s if the kernel has checkers. QEMU's RTC doesn't wake from
# idle. Input on the second serial line does: the reply to a slow command.
idle() {
	echo enabled >/sys/class/tty/ttyS1/power/wakeup
	qemu_io "sleep $(has_checkers && echo 40000 || echo "${1}000")" &
	# The command has been sent by then.
	sleep "$(has_checkers && echo 10 || echo 1)"
	log_mark freeze
	echo freeze >/sys/power/state
	logged freeze "PM: suspend exit"
	wait
}

# --- errors of the bus ---------------------------------------------------------

need_bus_errors() { modprobe aer_inject 2>/dev/null || [ -e /dev/aer_inject ] || skip_all "no aer_inject in this kernel"; }
root_port() { readlink -f "/sys/bus/pci/devices/$1" | sed -E 's,.*/pci[0-9a-f]+:[0-9a-f]+/([^/]+).*,\1,'; }
# bus_error BDF fatal|non-fatal: injects an error into the root port above the device. By default (PCIe
# 7.8.4.4) a malformed packet is fatal, and a completion time-out isn't.
bus_error() {
	python3 - "$(root_port "$1")" "$2" <<-'END'
		import struct, sys
		domain, bus, function = sys.argv[1].split(":")
		device, function = function.split(".")
		error = {"fatal": 1 << 18, "non-fatal": 1 << 14}[sys.argv[2]]
		# struct aer_error_inj, drivers/pci/pcie/aer_inject.c
		error = struct.pack("=BBBx7I", int(bus, 16), int(device, 16), int(function), error, 0, 0, 0, 0, 0, int(domain, 16))
		with open("/dev/aer_inject", "wb", buffering=0) as file:
		    file.write(error)
	END
}

# --- a controller that doesn't mean well --------------------------------------

# The module that writes to memory in place of a device.
need_poke() {
	local poke=${POKE:-$here/poke/poke.ko}
	[ -r "$poke" ] || skip_all "no $poke: make M=selftests/poke"
	insmod "$poke" || skip_all "poke.ko does not load"
}
# A kernel that checks memory or data races is slow.
is_slow() { has_checkers || [ -e /sys/kernel/debug/kcsan ]; }
# The driver's time limit for admin commands.
patience=$(is_slow && echo 4 || echo 1)
# amended CHANGE…: rescans the namespaces (with AMENDED_BY=reset, resets the controller; with AMENDED_BY=FUNCTION, calls
# FUNCTION), and changes the controller's answers, see amend.py. Tries again if the change came too late.
amended() {
	local rc=3 n
	for n in {1..10}; do
		amended_once "$@" && return
		rc=$?
		# On a busy machine amend.py may miss the command altogether.
		[ $rc = 3 ] || [ "$n" -lt 3 ] || break
	done
	cat "$tmp/background"
	return $rc
}
amended_once() {
	local rc=0 done=0
	mask "$bdf" 1
	background chrt -f 10 "$here/amend.py" "$bdf" "$patience" "$(has_checkers && echo 400 || echo 60)" "$@"
	wait_for 30 test -s "$tmp/background"
	case ${AMENDED_BY:-rescan} in
	rescan | reset) echo 1 >"$(dir_of "$bdf")/controller/${AMENDED_BY:-rescan}_controller" ;;
	*) $AMENDED_BY || done=$? ;;
	esac
	wait_for 70 ended "$job"
	wait "$job" || rc=$?
	mask "$bdf" 0
	[ $rc != 0 ] || rc=$done
	return $rc
}
# le64 NUMBER: its bytes in little endian, as hexadecimal digits.
le64() {
	local hex i
	hex=$(printf '%016x' "$1")
	for ((i = 14; i >= 0; i -= 2)); do printf '%s' "${hex:i:2}"; done
}

# --- many cycles --------------------------------------------------------------

# cycles N: the number of repetitions: N, or $CYCLES.
cycles() { cycles=${CYCLES:-$1}; }

# many WARMUPS CYCLES WHAT COMMAND…: repeats COMMAND, and checks that nothing grows. The warm-ups don't
# count, because the kernel keeps some memory after the first runs.
many() {
	local i start warmups=$1 cycles=$2 what=$3
	shift 3
	for ((i = 0; i < warmups; i++)); do "$@"; done
	account >"$tmp/before"
	start=$SECONDS
	for ((i = 0; i < cycles; i++)); do "$@"; done
	say "$cycles $what in $((SECONDS - start)) s"
	flat before 2048
}

# A reset leaves a core dump, for five minutes or until it is removed.
drop_dumps() {
	local dump
	for dump in /sys/class/devcoredump/devcd*/data; do
		[ ! -e "$dump" ] || echo 1 >"$dump" || true
	done
}
# account: prints values that grow with a leak, as name and value; free memory shrinks. Memory of user
# space and reclaimable memory count as free.
account() {
	witnesses STOP
	drop_dumps
	# The per-CPU page lists are free, too. The kernel also keeps structures that described parts
	# of its address space: more with each removed PCI device, even without a driver.
	cat /proc/slabinfo /proc/meminfo /proc/zoneinfo | awk '
		$1 == "vmap_area" { kept = int($3 * $4 / 1024); free += kept }
		/^(MemFree|Cached|Buffers|SReclaimable|AnonPages|PageTables|KernelStack):/ { free += $2 }
		/^SUnreclaim:/ { print "SUnreclaim_KiB", $2 - kept }
		/^(Percpu|VmallocUsed):/ { sub(":", ""); print $1 "_KiB", $2 }
		$1 == "count:" { free += 4 * $2 }
		END { print "free_KiB", free }'
	echo "vmalloc_areas $(grep -cv unpurged /proc/vmallocinfo)"
	echo "vectors $(grep 'nvme9[0-9][0-9]q' /proc/interrupts | wc -l)"
	echo "kobjects $(find /sys/devices /sys/bus /sys/module /sys/class -type d | wc -l)"
	echo "debugfs $(find /sys/kernel/debug -maxdepth 1 -name 'rust_nvme_demo*' | wc -l)"
	# Only a debug kernel has these counts.
	if [ -e /sys/kernel/debug/dma-api/num_free_entries ]; then
		echo "dma_mappings $(($(cat /sys/kernel/debug/dma-api/nr_total_entries) - $(cat /sys/kernel/debug/dma-api/num_free_entries)))"
	fi
	witnesses CONT
} 2>/dev/null
witnesses() { cat "$tmp"/*.pid 2>/dev/null | xargs -r kill "-$1" 2>/dev/null || true; }
free_memory() { account | awk '$1 == "free_KiB" { print $2 }'; }
# flat BEFORE LIMIT: compares the accounts now with those in $tmp/BEFORE: memory may grow by LIMIT KiB,
# because the kernel caches some, free memory may shrink by twice that, and nothing else may grow. A
# kernel with kmemleak also keeps memory for its records.
flat() {
	local n rc limit=$2
	! has_checkers || limit=1000000
	for n in 1 2 3; do
		account >"$tmp/after"
		rc=0
		awk -v limit=$limit '
			FNR == NR { before[$1] = $2; next }
			{
				more = $1 == "free_KiB" ? before[$1] - $2 : $2 - before[$1]
				text = text sprintf("%s %d to %d, ", $1, before[$1], $2)
				if (more > ($1 ~ /KiB/ ? limit * (1 + ($1 == "free_KiB")) : $1 == "vmalloc_areas" ? 8 : 0))
					bad = bad " " $1
			}
			END {
				print text "limit " limit " KiB" (bad ? ", too much:" bad : "")
				exit bad != ""
			}' "$tmp/$1" "$tmp/after" >"$tmp/flat" || rc=1
		[ $rc != 0 ] || break
		# The kernel frees some of it late.
		sleep 2
	done
	say "before and after: $(cat "$tmp/flat")"
	[ $rc = 0 ] || cat "$tmp/flat"
	return $rc
}

# witness NAME OPTION… SERIAL/NSID…: starts a witness, see witness.py.
witness() {
	local name=$1
	shift
	(
		"$here/witness.py" "$@" &
		echo $! >"$tmp/$name.pid"
		wait $!
		echo $? >"$tmp/$name.rc"
	) >"$tmp/$name.said" 2>&1 </dev/null 7>&- &
	wait_for 10 [ -s "$tmp/$name.pid" ]
}
# testify NAME: the witness checks all blocks again; fails if anything was wrong.
testify() {
	kill "$(cat "$tmp/$1.pid")" 2>/dev/null || true
	wait_for 200 [ -s "$tmp/$1.rc" ]
	say "$1: $(tail -n 1 "$tmp/$1.said")"
	[ "$(cat "$tmp/$1.rc")" = 0 ] || { cat "$tmp/$1.said"; return 1; }
}
# Waits until the controller's queues have taken N commands more than at the start.
busy() { [ "$(sum submitted io "$1" 2>/dev/null || echo 0)" -ge "$2" ]; }

# --- load ---------------------------------------------------------------------

# fio_on DISK OPTION…: runs fio, without leaving its state files.
fio_on() {
	local disk=$1
	shift
	(cd "$tmp" && fio --name=test --filename="/dev/$disk" --ioengine=libaio --direct=1 \
		--allow_file_create=0 --verify_state_save=0 --verify_fatal=1 --eta=never "$@")
}

# background COMMAND…: starts COMMAND, with its output in $tmp/background, and sets $job. stop,
# or the end of the test, ends COMMAND and its children.
background() {
	# Here, because COMMAND's shell may be slow: nobody may read what an earlier command wrote.
	: >"$tmp/background"
	set -m
	"$@" >"$tmp/background" 2>&1 </dev/null &
	set +m
	job=$!
	echo $job >>"$tmp/jobs"
}
# stop [JOB…]: ends jobs, by default all, and waits for them.
stop() {
	local pid
	[ $# != 0 ] || [ ! -e "$tmp/jobs" ] || mapfile -t <"$tmp/jobs"
	for pid in "${@:-${MAPFILE[@]}}"; do
		kill -- "-$pid" 2>/dev/null || continue
		wait_for 10 ended "$pid"
	done
}
# A job has ended when its whole process group has ended.
ended() { ! kill -0 -- "-$1" 2>/dev/null; }

# Leaves the machine as it was.
clean_up() {
	local dir
	stop
	witnesses KILL
	grep -o " ${tmp}[^ ]*" /proc/mounts | sort -r | while read -r dir; do
		umount "$dir"
	done
	[ ! -e /sys/module/rust_nvme_demo ] || wait_for 10 rmmod rust_nvme_demo
	# Also those that a check has taken, in a shell of its own.
	for dir in $(nvme_devices); do
		! grep -x rust_nvme_demo "/sys/bus/pci/devices/$dir/driver_override" ||
			echo >"/sys/bus/pci/devices/$dir/driver_override"
	done
	[ ! -e /sys/module/rust_ramblk ] || wait_for 10 rmmod rust_ramblk
	[ ! -e /sys/module/rust_edu ] || rmmod rust_edu
	[ ! -e /sys/module/poke ] || rmmod poke
	rm -rf -- "$tmp"
} >/dev/null 2>&1
