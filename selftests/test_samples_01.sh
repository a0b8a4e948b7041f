#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The samples do what their headers say: the lines that one prints, from probe to unload.
. "$(dirname "$0")/common.sh"

samples=$top/samples

# The lines in the header's first block of text, as patterns: numbers, yes and no are this machine's.
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
	[ "$(readlink "/sys/bus/pci/devices/$device/driver")" = "../../../../bus/pci/drivers/$1" ]
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
	# Its three lines are those in the header.
	[[ $(cat version) =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]]
	[[ $(cat cap) =~ ^0x[0-9a-f]+$ ]]
	echo 0 >reads
	cat version
	same "reads after one" 1 "$(cat reads)"
	refused sh -c 'echo nonsense >reads'
	refused sh -c 'echo 1 >version'
	cd /
}

begin 4
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
finish
