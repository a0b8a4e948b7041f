#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Reads all files continuously while the controller is unbound and bound: each reader gets a
# value or an error, and the unbind doesn't hang.
. "$(dirname "$0")/common.sh"

readers() {
	for _ in 1 2; do
		background python3 - "$driver" <<-'END'
			import glob, os, sys
			while True:
			    paths = glob.glob(sys.argv[1] + "/0*/queues/*/*")
			    paths += glob.glob(sys.argv[1] + "/0*/controller/**/*", recursive=True)
			    paths += glob.glob("/sys/kernel/debug/rust_nvme_demo*/**/*", recursive=True)
			    for path in paths:
			        try:
			            fd = os.open(path, os.O_RDONLY)
			            os.read(fd, 4096)
			            os.close(fd)
			        except OSError:
			            pass
		END
	done
}

cycle() {
	readers
	background fio_on "$disk" --rw=randread --bs=4k --iodepth=4 --size=64m --time_based --runtime=100 \
		--continue_on_error=all
	busy() { [ "$(sum reads)" -gt 1000 ]; }
	wait_for 30 busy
	for i in $(seq 25); do
		unbind "$bdf"
		bind "$bdf"
		same "state after $i times" live "$(c state)"
		at_least "files of a queue" 1 "$(find "$driver/$bdf/queues/1/" -type f | wc -l)"
	done
	stop
}

# A file that was opened before the unbind fails with ENODEV afterwards.
held_open() {
	python3 - "$bdf" "$driver" <<-'END'
		import errno, glob, os, sys
		bdf, driver = sys.argv[1:]
		paths = glob.glob(f"{driver}/{bdf}/queues/*/*") + glob.glob(f"{driver}/{bdf}/controller/**/*", recursive=True)
		paths = [p for p in paths if os.path.isfile(p) and os.stat(p).st_mode & 0o400]
		debug = [p for p in glob.glob("/sys/kernel/debug/rust_nvme_demo*/**/*", recursive=True)
		         if os.path.isfile(p)]
		assert len(paths) > 50 and len(debug) > 4, (paths, debug)
		files = [(p, os.open(p, os.O_RDONLY)) for p in paths + debug]
		for path, fd in files[::2]:
		    os.read(fd, 16)
		for bound in False, True:
		    with open(driver + ("/bind" if bound else "/unbind"), "w") as f:
		        f.write(bdf)
		    # Even after the device was bound again, because the file belongs to the old
		    # binding.
		    for path, fd in files:
		        try:
		            data = os.pread(fd, 4096, 0)
		            # debugfs reads a whole file into a buffer at once, which stays
		            # valid.
		            if path in debug:
		                continue
		            sys.exit(f"{path}: {data} although unbound")
		        except OSError as e:
		            if path not in debug and e.errno != errno.ENODEV:
		                sys.exit(f"{path}: {e}")
	END
}

begin 3
load_disks
check "unbind and bind 25 times under readers and commands" cycle
check "files that are open across an unbind say that there is no device" held_open
check "the module unloads" unload
finish
