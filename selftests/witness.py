#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# witness.py [OPTION…] SERIAL/NSID…: writes to disks, remembers the possible contents of each block,
# and checks what it reads. Each sector of a failed write may or may not have reached the disk. An
# acknowledged write has, and no older data may appear later: so this detects requests that are lost
# or executed again later. If a disk is removed, it waits, and finds the disk again by the
# controller's serial.
#
#   --jobs N      threads for each disk (2)
#   --blocks N    blocks of 4 KiB for each thread (512)
#   --first N     the first block that is written to (0)
#   --steady      no request may fail
#   --hang S      seconds that a request may take (120)
#   --polled      poll for completions
#   --seed N
#
# On SIGTERM it checks every block, prints its counts, and fails with what was wrong.

import argparse
import collections
import errno
import glob
import mmap
import os
import random
import signal
import struct
import sys
import threading
import time
import zlib

BLOCK, SECTOR = 4096, 512

parser = argparse.ArgumentParser()
parser.add_argument("disks", nargs="+")
parser.add_argument("--jobs", type=int, default=2)
parser.add_argument("--blocks", type=int, default=512)
parser.add_argument("--first", type=int, default=0)
parser.add_argument("--steady", action="store_true")
parser.add_argument("--hang", type=int, default=120)
parser.add_argument("--polled", action="store_true")
parser.add_argument("--seed", type=int, default=1)
args = parser.parse_args()

flags = os.RWF_HIPRI if args.polled else 0
stop = threading.Event()
wrong = []
counts = collections.Counter()
counts_lock = threading.Lock()


def count(name):
    with counts_lock:
        counts[name] += 1


def text(path):
    with open(path) as file:
        return file.read().strip()


class Gone(Exception):
    """The disk isn't there now."""


def find(serial, nsid):
    for path in glob.glob("/sys/bus/pci/drivers/rust_nvme_demo/*/controller/serial"):
        try:
            if text(path) == serial:
                device = os.path.realpath(path.removesuffix("/controller/serial"))
                for disk in glob.glob(f"{device}/rnvme/nvme*/nvme*n{nsid}"):
                    return os.path.basename(disk)
        except OSError:
            pass
    raise Gone


def open_disk(serial, nsid):
    name = find(serial, nsid)
    try:
        fd = os.open(f"/dev/{name}", os.O_RDWR | os.O_DIRECT)
    except OSError:
        raise Gone from None
    # The kernel reuses names and numbers of removed disks; while this disk is open, its number isn't
    # reused.
    try:
        rdev = os.fstat(fd).st_rdev
        disk = os.path.realpath(f"/sys/dev/block/{os.major(rdev)}:{os.minor(rdev)}")
        if text(f"{disk}/../../../controller/serial") == serial and disk.endswith(f"n{nsid}"):
            return fd
    except OSError:
        pass
    os.close(fd)
    raise Gone


def content(disk, block, generation, size):
    return struct.pack("<QQQQ", disk, args.seed, block, generation) * (size // 32)


class Job(threading.Thread):
    def __init__(self, disk, number):
        super().__init__(daemon=True)
        self.disk = disk
        self.serial, self.nsid = disk.split("/")
        self.identity = zlib.crc32(disk.encode())
        self.random = random.Random(f"{args.seed} {disk} {number}")
        self.first = args.first + number * args.blocks
        # The possible contents of each block; unknown if it was never written.
        self.maybe = [None] * args.blocks
        self.generation = 0
        self.fd = None
        self.since = None
        self.buffer = mmap.mmap(-1, 16 * BLOCK)

    def run(self):
        try:
            while not stop.is_set():
                self.step(self.random.randrange(3) != 0)
            for block in range(0, args.blocks, 16):
                while not self.step(False, block):
                    pass
        except Exception as error:
            wrong.append(f"{self.disk}: {error!r}")
            stop.set()
        finally:
            if self.fd is not None:
                os.close(self.fd)

    def step(self, write, start=None):
        if self.fd is None:
            try:
                self.fd = open_disk(self.serial, self.nsid)
                count("opens")
            except Gone:
                if args.steady:
                    raise RuntimeError("no such disk") from None
                time.sleep(0.02)
                return False
        if start is None:
            start = self.random.randrange(args.blocks)
            length = min(self.random.choice((1, 1, 1, 2, 4, 16)), args.blocks - start)
        else:
            length = min(16, args.blocks - start)
        offset, size = (self.first + start) * BLOCK, length * BLOCK
        view = memoryview(self.buffer)[:size]
        self.since = time.monotonic()
        if write:
            self.generation += 1
            view[:] = b"".join(content(self.identity, self.first + b, self.generation, BLOCK) for b in range(start, start + length))
        try:
            try:
                if write:
                    done = os.pwritev(self.fd, [view], offset, flags)
                else:
                    done = os.preadv(self.fd, [view], offset, flags)
            except OSError as error:
                if error.errno == errno.EINVAL:
                    raise
                if args.steady:
                    raise
                count(f"{'writes' if write else 'reads'}_{errno.errorcode[error.errno]}")
                done = 0
            if done < size:
                if args.steady:
                    raise RuntimeError(f"{done} of {size} bytes")
                count("interrupted")
                if write:
                    for block in range(start, start + length):
                        if self.maybe[block] is not None:
                            self.maybe[block].append(self.generation)
                os.close(self.fd)
                self.fd = None
                return False
        finally:
            took, self.since = time.monotonic() - self.since, None
            with counts_lock:
                counts["longest_ms"] = max(counts["longest_ms"], int(took * 1000))
        if write:
            for block in range(start, start + length):
                self.maybe[block] = [self.generation]
        else:
            for i in range(length):
                self.check(start + i, bytes(view[i * BLOCK:(i + 1) * BLOCK]))
        count("writes" if write else "reads")
        return True

    def check(self, block, data):
        known = self.maybe[block]
        if known is None:
            return
        for generation in reversed(known):
            if data == content(self.identity, self.first + block, generation, BLOCK):
                # The content can't become older again.
                self.maybe[block] = [generation]
                return
        for s in range(BLOCK // SECTOR):
            part = data[s * SECTOR:(s + 1) * SECTOR]
            if all(part != content(self.identity, self.first + block, g, SECTOR) for g in known):
                raise RuntimeError(
                    f"block {self.first + block}, sector {s}: has {part[:32].hex()}, "
                    f"which is none of the generations {known[-8:]}")


signal.signal(signal.SIGTERM, lambda *_: stop.set())
start = time.monotonic()
jobs = [Job(disk, number) for disk in args.disks for number in range(args.jobs)]
for job in jobs:
    job.start()
ending = None
while any(job.is_alive() for job in jobs):
    time.sleep(0.1)
    now = time.monotonic()
    for job in jobs:
        since = job.since
        if since is not None and now - since > args.hang:
            print(f"{job.disk}: a request takes more than {args.hang} s", flush=True)
            os._exit(1)
    if stop.is_set():
        ending = ending or now
        if now - ending > args.hang:
            print("the disks don't come back for a last look", flush=True)
            os._exit(1)
counts["seconds"] = int(time.monotonic() - start)
print("; ".join(wrong + [" ".join(f"{name} {value}" for name, value in sorted(counts.items()))]), flush=True)
sys.exit(bool(wrong))
