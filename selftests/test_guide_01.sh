#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The commands that README.md and the guide show with root's prompt ("# ") in blocks of code: each has to succeed, in
# the order of its page. A page whose first command is insmod begins without the module, any other with a loaded one.
. "$(dirname "$0")/common.sh"

# Commands that aren't run: page, heading or *, command, reason. The command is a pattern.
never=(
	1-run.md 'Other devices' 'qemu/qmp device_del *' "unplugs the controller; test_remove_01 does that"
	2-watch.md Traces 'tools/bpftrace/*' "ends only by Ctrl-C; test_trace_01 runs the scripts"
	3-tools.md 'Names by udev' 'find /dev/disk/*' "needs udevd; test_names_03 has it"
	4-machine.md 'Bind a device' 'modprobe rust_nvme_demo' "the module isn't installed in a guest"
	9-kernel-mode.md 'The price: locking' '*' "needs the kernel of make verify"
	9-kernel-mode.md 'The price: signing' '*' "can't be undone; make verify tests it in a guest of its own"
)
# Commands that need something: page, heading, command, a function that tells whether it is there, what is needed.
needs=(
	4-machine.md 'Go back to the C driver' '*' has_theirs "a C driver that can be loaded and unloaded"
	9-kernel-mode.md 'User mode or kernel mode' '*' has_iommu "an IOMMU: TOPOLOGY=iommu"
	3-tools.md '*' sensors has_hwmon "a kernel with hwmon"
)
# Programs of packages that not every guest has.
declare -A package=([smartctl]=smartmontools [sensors]=lm-sensors [hdparm]=hdparm)

# A driver that is built in has no file.
has_theirs() { [ -f "$(modinfo -n nvme 2>/dev/null)" ]; }
has_iommu() { [ -n "$(ls /sys/kernel/iommu_groups)" ]; }
has_hwmon() { [ -e /sys/class/hwmon ]; }

# commands: prints page, line, heading and command of each, with tabs between them. A backslash continues a command
# in the next line.
commands() {
	local file
	for file in "$top"/README.md "$top"/Documentation/guide/[0-9]*.md; do
		awk -v OFS='\t' -v page="${file##*/}" '
		function print_it() { print page, at, heading, command; command = "" }
		/^ *```/ { fenced = !fenced; next }
		!fenced && /^#+ / { heading = $0; sub(/^#+ /, "", heading) }
		{ indented = sub(/^    /, "") && !fenced }
		command { sub(/^ +/, ""); command = command " " $0 }
		(fenced || indented) && /^# / { at = FNR; command = substr($0, 3) }
		command && !sub(/ *\\$/, "", command) { print_it() }' "$file"
	done
}
# find_entry TABLE COLUMNS PAGE HEADING COMMAND: sets $entry to the first entry of the table that matches.
find_entry() {
	local -n table=$1
	local i
	for ((i = 0; i < ${#table[@]}; i += $2)); do
		# shellcheck disable=SC2053 # patterns
		if [[ $3 = "${table[i]}" && $4 = ${table[i + 1]} && $5 = ${table[i + 2]} ]]; then
			used[$1 $i]=1
			entry=("${table[@]:i:$2}")
			return
		fi
	done
	return 1
}
all_used() {
	local name i rc=0
	for name in "never 4" "needs 5"; do
		local -n table=${name% *}
		for ((i = 0; i < ${#table[@]}; i += ${name#* })); do
			[ -n "${used[${name% *} $i]:-}" ] ||
				{ echo "no command in the documents for this entry of the test: ${table[*]:i:3}"; rc=1; }
		done
	done
	return $rc
}
# why_not COMMAND: prints why a command can't run here, if it can't.
why_not() {
	local program
	for program in "${!package[@]}"; do
		[[ " $1 " != *" $program "* ]] || type -P "$program" >/dev/null ||
			{ echo "no $program: make test EXTRA=${package[$program]}"; return; }
	done
}

# Leaves no module, no binding and no trace of the page before.
fresh() { # COMMAND: the first of the page
	local bdf
	if [ -e /sys/kernel/tracing/events/rust ]; then
		echo 0 >/sys/kernel/tracing/events/rust/enable
		echo >/sys/kernel/tracing/kprobe_events || true
	fi
	! loaded || unload
	[ ! -e /sys/module/vfio_pci ] || rmmod vfio_pci
	[ ! -e /sys/module/nvme ] || rmmod nvme nvme_core || true
	for bdf in $(nvme_devices); do echo >"/sys/bus/pci/devices/$bdf/driver_override"; done
	drop_dumps
	echo "$top" >"$tmp/cwd"
	case $1 in insmod\ *) ;; *) load ;; esac
}
# runs COMMAND: where the command before was, because one of them may be cd. A reader who has seen enough (head) ends
# its writer by a signal.
runs() {
	local rc=0 limit=60
	! has_checkers || limit=360
	# shellcheck disable=SC2016 # for the other shell
	timeout -k 5 "$limit" bash -o pipefail -c '
		cd "$(cat "$1")" || exit
		eval "$2"
		rc=$?
		pwd >"$1"
		exit $rc' bash "$tmp/cwd" "$1" </dev/null 2>&1 || rc=$?
	[ $rc = 0 ] || [ $rc = 141 ] || { echo "status $rc: $1"; return 1; }
}
# The tests after this one find the blocks that the namespace had.
restored() {
	fresh ""
	[ "$(blk "$disk" logical_block_size)" = "$before" ] || nvme format "/dev/${disk%n*}" -n 1 -b "$before" -f
	same "logical block size" "$before" "$(blk "$disk" logical_block_size)"
	same "state" live "$(c state)"
}

# plan_commands: what is run, in $run: page, line and command; and the reasons for the rest, in $skips and $others.
plan_commands() {
	local page line heading command reason
	while IFS=$'\t' read -r page line heading command; do
		if find_entry never 4 "$page" "$heading" "$command"; then
			others["$page, $heading"]=${entry[3]}
		elif find_entry needs 5 "$page" "$heading" "$command" && ! "${entry[3]}"; then
			skips["$page: $heading"]="it needs ${entry[4]}"
		else
			reason=$(why_not "$command")
			if [ -n "$reason" ]; then
				skips["$page:$line: $command"]=$reason
			else
				run+=("$page" "$line" "$command")
			fi
		fi
	done < <(commands)
}

[ "${TOPOLOGY:-one}" = one ] || [ "$TOPOLOGY" = iommu ] || skip_all "the documents are about the topology one"
[ -e "$top/Documentation/guide" ] || skip_all "no documents"
type -P nvme fio setpci >/dev/null || skip_all "no nvme-cli, fio or pciutils"
[ ! -e /sys/module/nvme ] || ! has_theirs || skip_all "the C driver is loaded"
declare -A used=() skips=() others=()
declare -a entry=() run=()
plan_commands
begin $((${#run[@]} / 3 + ${#skips[@]} + 2))
load_disks
before=$(blk "$disk" logical_block_size)
while IFS= read -r what; do say "not run: $what: ${others[$what]}"; done < <(printf '%s\n' "${!others[@]}" | sort)
for what in "${!skips[@]}"; do skip "${what//#/}" "${skips[$what]}"; done
last=
for ((i = 0; i < ${#run[@]}; i += 3)); do
	page=${run[i]} command=${run[i + 2]}
	if [ "$page" != "$last" ]; then
		fresh "$command" >"$tmp/fresh" 2>&1 || { sed 's/^/# /' "$tmp/fresh"; ktap_exit_fail_msg "$page: no fresh state"; }
		last=$page
	fi
	# A number sign would begin a directive of TAP.
	check "$page:${run[i + 1]}: ${command//#/}" runs "$command"
done
check "each command that isn't run is in the documents" all_used
check "the disk is as before" restored
finish
