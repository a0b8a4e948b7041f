#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Commands from user space by io_uring, beside the kernel's C driver on the same controller: good and bad ones, with
# and without registered buffers, to root, to a user without rights, by a file opened for reading, on the generic
# device and on the control device. Each status, result and error must be the same, and what the kernel says if a command
# in flight is to be cancelled. Also what only this driver refuses.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/beside.sh"

user="setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all"

# The only generic device, of either driver.
generic() { find /dev -maxdepth 1 -name 'ng*n*' -printf '%f\n' | head -n 1; }
commands() { timeout 200 "$@" 2>&1 || true; }
# record NAME: $tmp/NAME.* has what there is to compare.
record() {
	local generic control
	generic=$(generic)
	control=$(control_of "$(nvme_devices | head -n 1)")
	chmod 666 "/dev/$generic" "/dev/$control"
	commands python3 "$here/uring.py" "/dev/$generic" all >"$tmp/$1.root"
	commands python3 "$here/uring.py" "/dev/$control" all >"$tmp/$1.control"
	# shellcheck disable=SC2086
	{
		commands $user python3 "$here/uring.py" "/dev/$generic" few >"$tmp/$1.user"
		commands $user python3 "$here/uring.py" "/dev/$generic" ro >"$tmp/$1.readonly"
		commands $user python3 "$here/uring.py" "/dev/$control" few >"$tmp/$1.control_user"
	}
}
# cancel NAME: of a read that the controller holds back.
cancel() {
	hold
	background python3 "$here/uring.py" "/dev/$(generic)" cancel
	wait_for 60 tried
	release
	wait_for 60 ended "$job"
	cp "$tmp/background" "$tmp/$1.cancel"
}
# cancel_admin NAME: of a command whose completion no driver sees, because the interrupts are masked.
cancel_admin() {
	local bdf
	bdf=$(nvme_devices | head -n 1)
	mask "$bdf" 1
	background python3 "$here/uring.py" "/dev/$(control_of "$bdf")" cancel
	wait_for 60 tried
	mask "$bdf" 0
	wait_for 90 ended "$job"
	cp "$tmp/background" "$tmp/$1.cancel_admin"
}
tried() { grep -q 'at once\|Error' "$tmp/background"; }
theirs() { to_theirs; record theirs; cancel_admin theirs; ! has_qemu || cancel theirs; }
ours() { to_ours; record ours; cancel_admin ours; ! has_qemu || cancel ours; }
equal() { # WHAT LINES
	at_least "lines" "$2" "$(wc -l <"$tmp/ours.$1")"
	refused grep -A 9 Traceback "$tmp/ours.$1"
	diff "$tmp/theirs.$1" "$tmp/ours.$1"
}
# Neither driver has the kernel cancel a command.
uncancelled() {
	equal cancel 8
	same "the command" "the command: (0, 0)" "$(tail -n 1 "$tmp/ours.cancel")"
}
# A worker of io_uring runs the command: the kernel finds it, but can't stop it. With the C driver the kernel finds
# nothing.
admin_uncancelled() {
	at_least "lines" 8 "$(wc -l <"$tmp/ours.cancel_admin")"
	diff <(sed 's/at once: ENOENT/at once: ETIME/; s/ENOENT/EALREADY/' "$tmp/theirs.cancel_admin") "$tmp/ours.cancel_admin"
	same "the command" "the command: (0, 0)" "$(tail -n 1 "$tmp/ours.cancel_admin")"
}
# The C driver lets the controller access the memory after the data.
own() {
	log_mark own
	python3 "$here/uring.py" "/dev/$(generic)" short >"$tmp/short"
	refused grep -i 'out of memory\|oom' <(log_since own)
	at_least "lines" 20 "$(wc -l <"$tmp/short")"
	same "not refused" "" "$(grep -v 'EINVAL' "$tmp/short" || true)"
	fio_on "$(disks | head -n 1)" --rw=write --bs=4k --size=1m --verify=crc32c
}
quiet() {
	same "lines" "" "$(log_since commands | grep -v 'selftests\|I/O queues:\|nvme900n1: p1' | grep 'rust_nvme_demo\|nvme9\|I/O error' || true)"
}

begin 11
type -P setpriv >/dev/null || skip_all "no setpriv"
need_theirs
take
load_disks
check "the C driver's results" theirs
log_mark commands
check "ours" ours
check "root gets the same" equal root 130
check "also on the control device" equal control 28
check "a user without rights gets the same" equal user 80
check "also by a file opened for reading" equal readonly 80
check "also on the control device" equal control_user 28
if has_qemu; then
	check "a command in flight can't be cancelled" uncancelled
else
	skip "a command in flight can't be cancelled" "no QEMU monitor"
fi
check "nor one by the control device" admin_uncancelled
check "short and long data are refused, without memory for them" own
check "no line in the log" quiet
finish
