#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Suspend to idle with a controller that has power states: the driver has it enter the deepest, and its queues
# stay. QEMU's controller has one state, so its identify data are changed in the driver's buffer; it then refuses
# to enter another, and the refusal is turned into a success. Also that the controller gives back the memory that it has
# borrowed before it sleeps.
. "$(dirname "$0")/common.sh"

# two_states: the controller has a state 1, since a reset.
two_states() {
	AMENDED_BY=reset amended 1/0:263=01
	wait_for 60 live
}
idles() {
	idle 9
	wait_for 60 live
}
reads() { dd if="/dev/$disk" of=/dev/null bs=4k count=64 iflag=direct; }
# Dword 11 of each Set Features of Power Management.
entered() { admin_commands 0x09 | awk '$11 % 256 == 2 { print $12 }' | xargs; }
# succeeds N[/STATUS]…: the Nth admin command from now on, which the controller refuses with STATUS, succeeds: by
# default Feature Not Changeable, Do Not Retry, in little endian without the phase. The interrupts are masked, so the
# driver finds the completion only after its time limit.
succeeds() {
	local n queue head phase depth base index status
	queue="/sys/kernel/debug/rust_nvme_demo-$bdf"
	base=$(awk '$1 == "ACQ" { print $2 }' "$queue/registers")
	head=$(q 0 cq_head) depth=$(q 0 cq_depth)
	for n in "$@"; do
		status=1c82
		[[ $n != */* ]] || status=${n#*/}
		n=${n%/*}
		index=$(((head + n - 1) % depth)) phase=$(q 0 cq_phase)
		[ $((head + n - 1)) -lt "$depth" ] || phase=$((1 - phase))
		printf '%x %02x00 %04x\n' $((base + 16 * index + 14)) "$phase" $((0x$status + phase * 256)) >/sys/kernel/debug/poke
	done
}
rests() {
	local tail resets
	two_states
	tail=$(q 0 sq_tail) resets=$(c resets)
	mask "$bdf" 1
	# The bus would unmask the interrupts before the driver wakes the controller.
	insmod "$here/poke/fail.ko" device="$bdf" function=pci_restore_msi_state nth=1 value=0
	# Get Features, and Set Features before the sleep and after it.
	succeeds 2 3
	idles
	mask "$bdf" 0
	rmmod fail
	same "power states" "1 0" "$(entered)"
	same "resets" "$resets" "$(c resets)"
	same "commands of the admin queue" 3 $(($(q 0 sq_tail) - tail))
	reads
}
# The controller enters the state, but doesn't leave it as it is told: a reset.
stays_down() {
	local resets
	two_states
	resets=$(c resets)
	mask "$bdf" 1
	succeeds 2
	idles
	mask "$bdf" 0
	resets_once() { [ "$(c resets)" = $((resets + 1)) ] && live; }
	wait_for 30 resets_once
	reads
}
# Suspend to idle, for which the driver shuts the controller down, and starts it anew.
shut_down() {
	local before
	before=$(q 0 admin_commands)
	idles
	reads
	at_least "admin commands" 8 $(($(q 0 admin_commands) - before))
}
refuses() {
	two_states
	shut_down
}
by_quirk() {
	unload
	load timeout="$patience" quirks_on=0x400
	two_states
	shut_down
}
# The platform may then switch the link off.
link_stays_up() {
	two_states
	echo performance >/sys/module/pcie_aspm/parameters/policy
	shut_down
}

# lends [CHANGE…]: the controller has borrowed 5 MiB, since a reset. After a sleep QEMU refuses the memory, and the driver
# doesn't offer it again.
lends() {
	unload
	load timeout="$patience"
	AMENDED_BY=reset amended 1/0:272=0005000000010000 0x20d/0:0=00 "$@"
	wait_for 60 live
	wait_for 60 lent
}
lent() { [ "$(c host_memory)" = $((5 << 20)) ]; }
# It has no memory before the sleep, and gets the same again after it.
given_back() {
	local last
	# The ring begins anew after a shutdown, and overwrites the first.
	last=$(admin_commands 0x09 | awk '$11 % 256 == 13 { print $12 }' | tail -n 2 | xargs)
	same "Set Features of Host Memory Buffer: disabled, returned" "0 3" "$last"
}
gives_back() {
	lends
	shut_down
	given_back
}
gives_back_and_rests() {
	local resets
	lends 1/0:263=01
	resets=$(c resets)
	mask "$bdf" 1
	insmod "$here/poke/fail.ko" device="$bdf" function=pci_restore_msi_state nth=1 value=0
	# The memory is taken back, which QEMU refuses with Invalid Field; Get Features, and Set Features before the sleep and
	# after it.
	succeeds 1/0480 3 4
	idles
	mask "$bdf" 0
	rmmod fail
	same "power states" "1 0" "$(entered)"
	same "resets" "$resets" "$(c resets)"
	given_back
	reads
}

begin 9
[ "${TOPOLOGY:-}" = sleep ] || skip_all "the root can't sleep"
need_qemu
need_poke
# The driver must not find a completion before it was changed.
patience=$((2 * patience))
load_disks timeout="$patience"
echo powersave >/sys/module/pcie_aspm/parameters/policy
check "it has the quirk that the table has for this computer" \
	grep -x no_apst "/sys/bus/pci/devices/$bdf/rnvme/$(c name)/quirks"
check "a controller with one power state is shut down before suspend to idle" shut_down
check "before that it gives back the memory that it has borrowed" gives_back
check "a controller with several rests in the deepest, and its queues stay" rests
check "before that it gives back the memory, too" gives_back_and_rests
check "a controller that doesn't leave that state is reset" stays_down
check "a controller that doesn't enter it is shut down" refuses
check "the quirk simple_suspend has it shut down" by_quirk
check "it is shut down if its link doesn't sleep" link_stays_up
finish
