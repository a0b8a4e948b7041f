#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The samples print the lines in their header comments, from probe to unload.
. "$(dirname "$0")/common.sh"

samples=$top/samples

# The lines in the header's first block of text, as patterns: numbers, yes and no depend on the
# machine.
# shellcheck disable=SC2016 # not for the shell
expected() { # NAME
	awk '/^\/\/! ```text/ { in_block = 1; next } /^\/\/! ```/ && in_block { exit }
		in_block { sub(/^\/\/! /, ""); print }' "$samples/$1.rs" |
		sed -E 's/[][\.*^$()+?{}|]/\\&/g
			s/\b(0x)?[0-9]+/\1[0-9a-f]+/g
			s/\b(yes|no)\b/(yes|no)/g
			s/\binterrupts?\b/interrupts?/g'
}

sample() { # NAME
	local line
	log_mark "$1"
	insmod "$samples/$1.ko"
	same "driver" "$1" "$(driver_of "$device")"
	[ "$(type -t "use_$1")" != function ] || "use_$1"
	rmmod "$1"
	at_least "lines in the header" 1 "$(expected "$1" | wc -l)"
	log_since "$1" | sed 's/^\[[^]]*\] //' | grep "^$1 " >"$tmp/log"
	while IFS= read -r line; do
		grep -qxE -- "$line" "$tmp/log" || { echo "not printed: $line"; cat "$tmp/log"; return 1; }
	done < <(expected "$1")
	same "lines" "$(expected "$1" | wc -l)" "$(wc -l <"$tmp/log")"
}

use_rust_nvme_sysfs() {
	cd "/sys/bus/pci/devices/$device/registers"
	same "files" "cap reads version" "$(echo *)"
	# The three lines match the header's.
	[[ $(cat version) =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]]
	[[ $(cat cap) =~ ^0x[0-9a-f]+$ ]]
	echo 0 >reads
	cat version
	same "reads after one" 1 "$(cat reads)"
	refused sh -c 'echo nonsense >reads'
	refused sh -c 'echo 1 >version'
	cd /
}

region() { grep -c ": $1\$" /proc/iomem; }

# Objects that outlive the binding don't access the device, which is bound to another driver.
unbound() {
	log_mark unbound
	insmod "$samples/rust_nvme_unbound.ko"
	same "regions while bound" 1 "$(region rust_nvme_unbound)"
	echo "$device" >/sys/bus/pci/drivers/rust_nvme_unbound/unbind
	refused region rust_nvme_unbound
	insmod "$samples/rust_nvme_bar.ko"
	same "regions of the next" 1 "$(region rust_nvme_bar)"
	# The new driver can access the device.
	setpci -s "$device" COMMAND=6:6
	rmmod rust_nvme_unbound
	same "regions of the next" 1 "$(region rust_nvme_bar)"
	same "bus master" 4 "$((0x$(setpci -s "$device" COMMAND) & 4))"
	rmmod rust_nvme_bar
	log_since unbound | sed 's/^\[[^]]*\] //' | grep '^rust_nvme_unbound: ' >"$tmp/log"
	expected rust_nvme_unbound | while IFS= read -r line; do
		grep -qxE -- "$line" "$tmp/log" || { echo "not printed: $line"; cat "$tmp/log"; return 1; }
	done
	grep -qx 'rust_nvme_unbound: unbound: VS 0xffffffff, present no' "$tmp/log"
}

begin 5
[ -d "$samples" ] || skip_all "no $samples"
device=$(nvme_devices | head -n 1)
[ -n "$device" ] || skip_all "no NVMe controller"
for name in rust_nvme_bar rust_nvme_sysfs rust_nvme_dma rust_nvme_irq; do
	if [ -r "$samples/$name.ko" ]; then
		check "$name prints what its header says" sample $name
	else
		skip "$name prints what its header says" "not built: make M=samples"
	fi
done
if [ -r "$samples/rust_nvme_unbound.ko" ]; then
	check "what is left of an unbound device doesn't reach it" unbound
else
	skip "what is left of an unbound device doesn't reach it" "not built: make M=samples"
fi
finish
