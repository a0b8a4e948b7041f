#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Module parameters: the module accepts a value in range, and rejects a value out of range with
# a line that names the range.
. "$(dirname "$0")/common.sh"

out_of_range() { # NAME VALUE RANGE
	log_mark "$1=$2"
	refused load "$1=$2"
	logged "$1=$2" "$1=$2 is out of range: $3"
	unloaded
	[ ! -e "$driver" ]
}

no_number() { # NAME=VALUE
	refused load "$1"
	unloaded
}

works() {
	at_least "disks" 1 "$(disks | wc -l)"
	for disk in $(disks); do
		dd if="/dev/$disk" of=/dev/null bs=64k count=16 iflag=direct
	done
}

io_queues() { # VALUE
	load "io_queues=$1"
	# The CPUs and vectors of this machine may allow fewer queues, and 0 means one per CPU.
	for bdf in $(controllers); do
		at_least "I/O queues" 1 "$(c io_queues "$bdf")"
		at_most "I/O queues" $(($1 ? $1 : $(nproc --all))) "$(c io_queues "$bdf")"
	done
	works
	unload
}

queue_depth() { # VALUE
	load "queue_depth=$1"
	for bdf in $(controllers); do
		local max depth
		max=$(c max_queue_entries "$bdf")
		depth=$(($1 < max ? $1 : max))
		for qid in $(queues "$bdf"); do
			[ "$qid" = 0 ] || same "depth of queue $qid" $depth "$(q "$qid" depth "$bdf")"
		done
		# One entry of a ring stays empty.
		for disk in $(disks "$bdf"); do
			at_most "requests of $disk" $((depth - 1)) "$(blk "$disk" nr_requests)"
		done
	done
	works
	unload
}

timeout_s() { # VALUE
	load "timeout=$1"
	for disk in $(disks); do
		same "time-out in ms" "$(($1 * 1000))" "$(blk "$disk" io_timeout)"
	done
	works
	unload
}

described() {
	modinfo -p "$KO" >"$tmp/parameters"
	same "parameters" 14 "$(wc -l <"$tmp/parameters")"
	for name in io_queues read_queues poll_queues queue_depth timeout first_instance max_host_mem_size_mb; do
		grep -E "^$name:.* [0-9]+ to [0-9]+" "$tmp/parameters"
	done
	grep "^lazy_doorbells:.* 0 never, 1 always, 2 " "$tmp/parameters"
	grep "^shadow_doorbells:.* 0 no, 1 yes " "$tmp/parameters"
	grep "^shared_namespaces:.* 0 no (default), 1 yes" "$tmp/parameters"
	# Any number is one.
	for name in ps_max_latency_us quirks_device quirks_on quirks_off; do
		grep "^$name:.*(default" "$tmp/parameters"
	done
}

begin 25
[ -n "$(nvme_devices)" ] || skip_all "no NVMe controller"
check "modinfo names each parameter's range" described
check "io_queues=65 is refused" out_of_range io_queues 65 "0 to 64"
check "io_queues=4294967295 is refused" out_of_range io_queues 4294967295 "0 to 64"
check "read_queues=65 is refused" out_of_range read_queues 65 "0 to 64"
check "poll_queues=65 is refused" out_of_range poll_queues 65 "0 to 64"
check "lazy_doorbells=3 is refused" out_of_range lazy_doorbells 3 "0 to 2"
check "shadow_doorbells=2 is refused" out_of_range shadow_doorbells 2 "0 to 1"
check "shared_namespaces=2 is refused" out_of_range shared_namespaces 2 "0 to 1"
check "queue_depth=0 is refused" out_of_range queue_depth 0 "2 to 4095"
check "queue_depth=1 is refused" out_of_range queue_depth 1 "2 to 4095"
check "queue_depth=4096 is refused" out_of_range queue_depth 4096 "2 to 4095"
check "max_host_mem_size_mb=4097 is refused" out_of_range max_host_mem_size_mb 4097 "0 to 4096"
check "timeout=0 is refused" out_of_range timeout 0 "1 to 3600"
check "timeout=3601 is refused" out_of_range timeout 3601 "1 to 3600"
check "io_queues=-1 is refused" no_number io_queues=-1
check "queue_depth=4294967296 is refused" no_number queue_depth=4294967296
check "timeout=soon is refused" no_number timeout=soon
check "io_queues=0 is one queue for each CPU, at most" io_queues 0
check "io_queues=1 is one queue" io_queues 1
check "io_queues=64 is taken" io_queues 64
check "queue_depth=2 works" queue_depth 2
check "queue_depth=3 works" queue_depth 3
check "queue_depth=4095 is lowered to what the controller has" queue_depth 4095
check "timeout=1 is one second" timeout_s 1
check "timeout=3600 is an hour" timeout_s 3600
finish
