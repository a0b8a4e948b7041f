#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# peer.py DISK ALLOCATE sizes|mixed|itself: moves data between DISK and the memory of another
# PCI device, mapped from ALLOCATE, a file of the kernel's p2pmem. Fails with a line that says
# what differs.

import mmap
import os
import random
import sys

path, allocate, what = sys.argv[1:]
SPACE = 4 << 20
random.seed(1)
disk = os.open(path, os.O_RDWR | os.O_DIRECT)
memory = os.open(allocate, os.O_RDWR)
peer = memoryview(mmap.mmap(memory, SPACE))
own = memoryview(mmap.mmap(-1, SPACE))


def fill(view):
    data = random.randbytes(len(view))
    view[:] = data
    return data


def compare(how, have, want):
    if bytes(have) != want:
        sys.exit(f"{how}: the data differ")


def move(call, pieces, at):
    want = sum(map(len, pieces))
    if (n := call(disk, pieces, at)) != want:
        sys.exit(f"{call.__name__} moved {n} of {want} bytes")


if what == "sizes":
    for size in (512, 4096, 8192, 12288, 64 << 10, 128 << 10, 512 << 10, 1 << 20):
        for offset in (0, 512, 4096 + 512):
            theirs, ours = peer[offset : offset + size], own[: size]
            data = fill(theirs)
            move(os.pwritev, [theirs], 0)
            move(os.preadv, [ours], 0)
            compare(f"{size} bytes from the peer", ours, data)
            data = fill(ours)
            move(os.pwritev, [ours], 1 << 20)
            move(os.preadv, [theirs], 1 << 20)
            compare(f"{size} bytes to the peer", theirs, data)
elif what == "mixed":
    for _ in range(40):
        pieces, data = [], b""
        for i in range(random.randrange(2, 12)):
            view = random.choice((peer, own))[i * 65536 :][: random.choice((512, 4096, 8192, 20480))]
            data += fill(view)
            pieces.append(view)
        move(os.pwritev, pieces, 0)
        for view in pieces:
            view[:] = bytes(len(view))
        random.shuffle(pieces)
        move(os.preadv, pieces, 0)
        compare(f"{len(pieces)} pieces", b"".join(pieces), data)
elif what == "itself":
    for _ in range(20):
        size = random.choice((4096, 32768, 262144))
        data = fill(peer[:size])
        move(os.pwritev, [peer[:size]], 0)
        move(os.preadv, [peer[SPACE // 2 :][:size]], 0)
        compare(f"{size} bytes", peer[SPACE // 2 :][:size], data)
else:
    sys.exit(f"unknown: {what}")
