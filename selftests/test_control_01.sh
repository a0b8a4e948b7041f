#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# nvme-cli on the control device, beside the kernel's C driver on the same controllers: each command's output
# and exit status must be the same. In the topologies shared and sriov only the commands that fail elsewhere.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/beside.sh"

# @ is the control device. The values of Set Features and the namespaces' content stay the same.
commands=$(cat <<'END'
id-ctrl @
id-ctrl @ -H
id-ctrl @ -o json
id-ctrl @ -b
id-ns @ -n 1
id-ns @ -n 1 -H
id-ns @ -n 2
id-ns @ -n 0
id-ns @ -n 0xffffffff
nvm-id-ctrl @
nvm-id-ns @ -n 1
cmdset-ind-id-ns @ -n 1
ns-descs @ -n 1
id-nvmset @
id-uuid @
id-iocs @
id-domain @
id-ns-granularity @
list-ns @
list-ns @ -a
list-ns @ -n 1
list-ns @ -y 0
list-ns @ -y 0 -a
list-ctrl @
list-ctrl @ -n 1
list-endgrp @
primary-ctrl-caps @
list-secondary @
smart-log @
smart-log @ -n 1
smart-log @ -o json
error-log @
error-log @ -e 4
fw-log @
effects-log @
effects-log @ -H
effects-log @ --csi=0
effects-log @ -H --csi=0
changed-ns-list-log @
self-test-log @
sanitize-log @
endurance-log @ -g 1
supported-log-pages @
fid-support-effects-log @
get-log @ -i 3 -l 512
get-log @ -i 3 -l 512 -b
get-log @ -i 5 -l 4096 -b
get-log @ -i 5 -l 8192 -b
get-log @ -i 0xc0 -l 16
get-feature @ -f 1 -H
get-feature @ -f 2 -H
get-feature @ -f 4 -H
get-feature @ -f 5 -H
get-feature @ -f 6 -H
get-feature @ -f 7 -H
get-feature @ -f 8 -H
get-feature @ -f 9 -H
get-feature @ -f 0xa -H
get-feature @ -f 0xb -H
get-feature @ -f 1 -s 1
get-feature @ -f 1 -s 3
get-feature @ -f 0x7f
show-regs @
set-feature @ -f 6 -V 1
set-feature @ -f 4 -V 0x155
set-feature @ -f 4 -V 0x157
set-feature @ -f 7 -V 0x10001
set-feature @ -f 0xf -V 5
dir-receive @ -n 1 -D 0 -O 1 -l 4096 -H
device-self-test @ -n 1 -s 1
virt-mgmt @ -c 0 -r 0 -n 0 -a 1
security-recv @ -p 0 -s 0 -t 16 -x 16
get-lba-status @ -n 1 -a 0x10 -r 1 -m 16
create-ns @ -s 64 -c 64 -f 0
delete-ns @ -n 9
attach-ns @ -n 9 -c 0
detach-ns @ -n 9 -c 0
fw-commit @ -s 1 -a 2
sanitize @ -a 2
lockdown @ -o 1 -f 0
admin-passthru @ -o 6 --cdw10=1 -l 4096 -r
admin-passthru @ -o 6 --cdw10=1 -l 4096 -r -b
admin-passthru @ -o 6 --cdw10=1 -l 6000 -r -b
admin-passthru @ -o 6 --cdw10=1 -l 100000 -r -b
admin-passthru @ -o 6 --cdw10=1 -l 500 -r -b
admin-passthru @ -o 6 -n 1 -l 4096 -r
admin-passthru @ -o 6 -n 77 -l 4096 -r
admin-passthru @ -o 2 --cdw10=0x7f0003 -n 0xffffffff -l 512 -r
admin-passthru @ -o 2 --cdw10=0x7f0003 -n 0xffffffff -l 512
admin-passthru @ -o 0xa --cdw10=7
admin-passthru @ -o 0xc1
admin-passthru @ -o 0xc2 -l 512 -r
admin-passthru @ -o 0x18
ns-rescan @
reset @
subsystem-reset @
format @ -n 9 -f
format @ -n 1 -l 99 -f
format @ -n 1 -f
id-ns @ -n 1
END
)

# CNTLID is the controller's identifier, OTHER that of the other controller. In the end the namespace is attached again.
shared_commands=$(cat <<'END'
list-ctrl @
list-ctrl @ -n 3
list-ns @
detach-ns @ -n 3 -c CNTLID
list-ns @
list-ns @ -a
list-ctrl @ -n 3
id-ns @ -n 3
id-ns @ -n 3 -f
detach-ns @ -n 3 -c CNTLID
detach-ns @ -n 3 -c OTHER
list-ctrl @ -n 3
attach-ns @ -n 3 -c CNTLID
attach-ns @ -n 3 -c CNTLID
attach-ns @ -n 3 -c OTHER
list-ns @
list-ctrl @ -n 3
id-ns @ -n 3
get-feature @ -f 0xb -H
END
)
# DISK is the disk. In the end the virtual function has no resources again.
sriov_commands=$(cat <<'END'
id-ctrl @ -H
primary-ctrl-caps @
list-secondary @
virt-mgmt @ -c 1 -a 7
virt-mgmt @ -c 1 -r 0 -n 3 -a 8
virt-mgmt @ -c 1 -r 1 -n 3 -a 8
list-secondary @
virt-mgmt @ -c 1 -a 9
list-secondary @
virt-mgmt @ -c 1 -r 0 -n 2 -a 8
virt-mgmt @ -c 1 -a 7
virt-mgmt @ -c 1 -r 0 -n 99 -a 8
virt-mgmt @ -c 1 -r 0 -n 0 -a 8
virt-mgmt @ -c 1 -r 1 -n 0 -a 8
virt-mgmt @ -c 0 -r 0 -n 4 -a 1
virt-mgmt @ -c 9 -a 9
list-secondary @
primary-ctrl-caps @
dir-receive @ -n 1 -D 0 -O 1 -l 4096 -H
dir-receive @ -n 1 -D 2 -O 1 -l 32
dir-send @ -n 1 -D 0 -O 1 -T 2 -e 1
dir-send @ -n 1 -D 0 -O 1 -T 2 -e 0
get-feature @ -f 0x1d --cdw11=1 -H
get-feature @ -f 0x1e -n 1 -H
list-endgrp @
endurance-log @ -g 1
fdp configs @ -e 1
fdp usage @ -e 1
fdp stats @ -e 1
fdp events @ -e 1
fdp status DISK
fdp update DISK -p 0
fdp status DISK
io-mgmt-recv DISK -n 1 -o 1 -l 64
io-mgmt-send DISK -n 1 -o 1 -l 2
write DISK -s 8 -c 7 -z 4096 -d /dev/zero -T 2 -S 1
read DISK -s 8 -c 7 -z 4096
fdp stats @ -e 1
get-feature @ -f 0xb -H
END
)
case ${TOPOLOGY:-} in
shared) commands=$shared_commands ;;
sriov) commands=$sriov_commands ;;
esac
# One suffices.
compared() { nvme_devices | head -n 1; }
cntlid() { cat "/sys/bus/pci/devices/$1"/*nvme/nvme*/cntlid; }
# command_for DEVICE BDF LINE: nvme-cli's arguments.
command_for() {
	local line=$3
	line=${line//@//dev/$1}
	line=${line//CNTLID/$(cntlid "$2")}
	line=${line//DISK//dev/${1}n1}
	[[ $line != *OTHER* ]] || line=${line//OTHER/$(cntlid "$(nvme_devices | sed -n 2p)")}
	echo "$line"
}

# What differs for a reason:
# - the enabled asynchronous events (feature 0Bh): this driver asks for the SMART warnings, too;
# - the registers, which nvme-cli looks for in /sys/class/nvme;
events='get-feature @ -f 0xb -H: '
differing="$events\|show-regs @: "
# - the effects log without --csi, if the kernel lets programs map a driver's registers: nvme-cli does so there, too;
mapped() {
	python3 -c 'import mmap, os, sys; mmap.mmap(os.open(sys.argv[1], os.O_RDWR), 4096)' \
		"/sys/bus/pci/devices/$bdf/resource0" 2>/dev/null
}
# - counters of the controller, which each driver's commands raise.
masked() {
	sed -E 's/^((Data Units|Host Bytes|Media Bytes| *Reclaim Unit Available|host_|controller_busy|power_on|power_cycles|unsafe_)[^:]*:).*/\1/
		s/"(data_units|host_|controller_busy|power_on|power_cycles|unsafe_)([^"]*)":[^,]*/"\1\2":/'
}

# record NAME: the output of each command on each controller is in $tmp/NAME.
record() {
	local bdf device line
	for bdf in $(compared); do
		device=$(control_of "$bdf")
		[ -c "/dev/$device" ] || { echo "no /dev/$device"; return 1; }
		while read -r line; do
			echo "--- $bdf nvme $line"
			# shellcheck disable=SC2046 # words
			outcome "$device" nvme $(command_for "$device" "$bdf" "$line")
		done <<<"$commands"
	done | masked >"$tmp/$1"
}
theirs() { to_theirs; record theirs; counts theirs; }
ours() { to_ours; record ours; counts ours; }
commands_of() { grep -c '^--- .* nvme ' "$tmp/$1"; }
equal() {
	local count
	count=$(($(wc -l <<<"$commands") * $(compared | wc -l)))
	same "commands" "$count $count" "$(commands_of theirs) $(commands_of ours)"
	# Failed commands alone would prove little.
	at_least "commands that succeed" $((count / 2)) "$(grep -c '^--- exit status 0' "$tmp/ours")"
	diff -a <(labelled "$tmp/theirs" | grep -av "$differing") <(labelled "$tmp/ours" | grep -av "$differing")
}
differ() {
	! diff -a <(labelled "$tmp/theirs" | grep -a "$events") <(labelled "$tmp/ours" | grep -a "$events")
}
# Each line with its command.
labelled() { awk '/^--- .* nvme / { command = substr($0, 5) } { print command ": " $0 }' "$1"; }

# The refused commands that the control device has counted.
counts() {
	local bdf
	for bdf in $(compared); do
		echo "$bdf $(cat "/sys/bus/pci/devices/$bdf"/*nvme/nvme*/diag/command_error_count 2>&1)"
	done >"$tmp/$1.counts"
}
equal_counts() {
	cat "$tmp/ours.counts"
	diff "$tmp/theirs.counts" "$tmp/ours.counts"
}

begin 5
type -P nvme >/dev/null || skip_all "no nvme-cli"
need_theirs
take
load_disks
! mapped || differing+='\|effects-log @\( -H\)\?: '
check "nvme-cli on the C driver's devices" theirs
check "nvme-cli on ours" ours
check "the output and the exit status of each command are the same" equal
check "the enabled asynchronous events differ" differ
check "the control device has counted the same errors" equal_counts
finish
