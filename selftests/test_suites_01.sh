#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Test suites of others, from the sources that Debian's packages are made of: nvme-cli's tests, with the kernel's C
# driver and with ours, and liburing's test of passthrough commands.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/beside.sh"

nvme_cli=(/usr/src/nvme-cli-*/tests)
liburing=(/usr/src/liburing-*/test)

# suite NAME: nvme-cli's tests on the first controller; the results are in $tmp/NAME.
suite() {
	local device
	device=$(control_of "$bdf")
	mkdir "$tmp/$1.d"
	(cd "$tmp/$1.d" && timeout 600 python3 "$here/nvme_cli.py" "${nvme_cli[0]}" "/dev/$device" "$tmp/$1") >"$tmp/$1.out" 2>&1 ||
		{ tail -n 30 "$tmp/$1.out"; return 1; }
}
theirs() { to_theirs; suite theirs; }
ours() { to_ours; suite ours; }
equal() { diff "$tmp/theirs" "$tmp/ours"; }
# A suite that skips or fails everywhere would prove nothing.
complete() {
	grep -v '^ok' "$tmp/ours" | while read -r line; do say "$line"; done
	at_least "successes" 13 "$(grep -c '^ok' "$tmp/ours")"
}

compile() {
	cp -r "${liburing[0]%/*}" "$tmp/liburing"
	cd "$tmp/liburing/test"
	build "$tmp/passthrough-1"
	# Linux 7.3: if a command of a hybrid polling ring ends without polling, io_uring may take its task work for
	# the time of its start, and sleep for half the time since boot; with the C driver, too.
	sed -i 's/ | IORING_SETUP_HYBRID_IOPOLL//' io_uring_passthrough.c
	build "$tmp/passthrough-0"
	! cmp -s "$tmp/passthrough-1" "$tmp/passthrough-0"
}
build() { # PROGRAM
	gcc -O1 -w -D_GNU_SOURCE -DCONFIG_HAVE_NVME_URING -o "$1" io_uring_passthrough.c helpers.c -luring
}
# passthrough POLL_QUEUES: also with polling, on which a ring may insist without queues to poll.
passthrough() {
	local before
	unload
	load "poll_queues=$1"
	before=$(sum submitted)
	same "exit status" 0 "$(rc=0; timeout 120 "$tmp/passthrough-$1" "/dev/$generic" >&2 || rc=$?; echo $rc)"
	at_least "commands" 1000 "$(($(sum submitted) - before))"
	same "errors" 0 "$(sum errors)"
}

check_compiled() { # DESCRIPTION COMMAND…
	if type -P gcc >/dev/null; then
		check "$@"
	else
		skip "$1" "no gcc in the guest"
	fi
}

begin 7
[ -d "${nvme_cli[0]}" ] || skip_all "no sources of nvme-cli: EXTRA=src:nvme-cli"
[[ -d ${liburing[0]} && -e /usr/include/liburing.h ]] || skip_all "no sources of liburing: EXTRA='src:liburing liburing-dev'"
need_theirs
take
load_disks
generic=${disk/nvme/ng}
check "nvme-cli's tests with the C driver" theirs
check "nvme-cli's tests with ours" ours
check "the results are the same" equal
check "most of them are successes" complete
check_compiled "liburing's test compiles" compile
check_compiled "liburing's test of passthrough commands" passthrough 1
check_compiled "the same without queues to poll" passthrough 0
finish
