#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Settings of the administrator in a disk's queue/ survive scans and resets. Also: the disk's geometry,
# and the controller's version while its registers can't be read.
. "$(dirname "$0")/common.sh"

queue=/sys/block/nvme900n1/queue
# For each file a value other than the initial value; the scheduler first, because it changes others.
settings=(
	"scheduler mq-deadline"
	"iostats 0"
	"iostats_passthrough 1"
	"rotational 1"
	"add_random 1"
	"stable_writes 1"
	"write_cache write through"
	"max_sectors_kb 64"
	"discard_max_bytes 65536"
	"write_zeroes_unmap_max_bytes 0"
	"read_ahead_kb 16"
	"nr_requests 32"
	"async_depth 8"
	"nomerges 2"
	"rq_affinity 2"
	"io_timeout 20000"
)
settled() {
	local commands
	commands=$(q 0 submitted)
	sleep 1
	live && [ "$(q 0 submitted)" = "$commands" ]
}
values() {
	local setting name
	for setting in "${settings[@]}"; do
		name=${setting%% *}
		[ ! -e "$queue/$name" ] || echo "$name $(file "$queue/$name" 2>&1)"
	done
}
set_all() {
	local setting name before changed=0
	for setting in "${settings[@]}"; do
		name=${setting%% *}
		[ -e "$queue/$name" ] || continue
		before=$(file "$queue/$name")
		# Skip files that the disk or this kernel doesn't have.
		echo "${setting#* }" >"$queue/$name" || { echo "$name can't be set"; continue; }
		[ "$(file "$queue/$name")" = "$before" ] || changed=$((changed + 1))
	done
	values | tee "$tmp/values"
	at_least "files that have changed" 12 $changed
}
stay() { # COMMAND…
	"$@"
	wait_for 60 settled
	diff "$tmp/values" <(values)
}
rescan() { echo 1 >"$(dir_of)/controller/rescan_controller"; }
function_reset() { echo 1 >"/sys/bus/pci/devices/$bdf/reset"; }

geometry() {
	python3 - "/dev/$disk" <<-'END'
		import fcntl, struct, sys
		HDIO_GETGEO = 0x0301
		geometry = fcntl.ioctl(open(sys.argv[1], "rb"), HDIO_GETGEO, bytes(16))
		print(*struct.unpack("BBHL", geometry))
	END
}
# 64 heads and 32 sectors, as the C driver reports.
has_geometry() { same "geometry" "64 32 $((($(bytes "$disk") >> 20) & 0xffff)) 0" "$(geometry)"; }

version() { cat "$(dir_of)/controller/version"; }
version_stays() {
	local before
	before=$(version)
	no_registers "$bdf"
	same "version" "$before" "$(version)"
}

begin 7
load_disks
[ "$disk" = nvme900n1 ] || skip_all "no disk nvme900n1"
check "each is set" set_all
check "all stay over a rescan" stay rescan
check "all stay over a reset of the controller" stay reset_controller
check "all stay over a reset of the function" stay function_reset
check "the disk has a geometry" has_geometry
check "version doesn't read the registers" version_stays
setpci -s "$bdf" COMMAND=2:2
check "the module unloads" unload
finish
