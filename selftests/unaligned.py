#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# unaligned.py DISK offsets|pieces|end: writes DISK from memory at odd addresses and reads it back
# to other addresses, without the page cache. Fails with a line that says what differs.

import mmap
import os
import random
import sys

path, what = sys.argv[1:]
name = os.path.basename(path)


def queue(file):
    with open(f"/sys/block/{name}/queue/{file}") as f:
        return int(f.read())


block = queue("logical_block_size")
# The unit of a buffer's address.
align = queue("dma_alignment") + 1
size = int(open(f"/sys/block/{name}/size").read()) * 512
largest = queue("max_hw_sectors_kb") * 1024
random.seed(1)

fd = os.open(path, os.O_RDWR | os.O_DIRECT)
# Page aligned, so that an index is an offset in the page.
SPACE = 4 << 20
source = memoryview(mmap.mmap(-1, SPACE))
target = memoryview(mmap.mmap(-1, SPACE))
source[:] = random.randbytes(SPACE)


def fail(text):
    sys.exit(f"{name}: {text}")


def write(at, pieces):
    want = sum(map(len, pieces))
    if (n := os.pwritev(fd, pieces, at)) != want:
        fail(f"wrote {n} of {want} bytes at {at}")


def read(at, pieces):
    want = sum(map(len, pieces))
    if (n := os.preadv(fd, pieces, at)) != want:
        fail(f"read {n} of {want} bytes at {at}")


def compare(at, have, want, how):
    if have == want:
        return
    first = next(i for i in range(len(want)) if have[i] != want[i])
    fail(f"{how}: byte {first} of {len(want)} at {at} differs")


def transfer(at, length, out, into):
    """Writes from offset `out` in a page, reads into offset `into`."""
    begin = random.randrange(0, (SPACE - length - 4096) // 4096) * 4096
    data = source[begin + out : begin + out + length]
    # The memory around the target must not change.
    target[: length + 12288] = b"\xa5" * (length + 12288)
    write(at, [data])
    read(at, [target[4096 + into : 4096 + into + length]])
    how = f"{length} bytes from offset {out} to offset {into}"
    compare(at, target[4096 + into : 4096 + into + length], data, how)
    if any(b != 0xA5 for b in bytes(target[4096 + into - 512 if into >= 512 else 4096 : 4096 + into])):
        fail(f"{how}: memory before the buffer was overwritten")
    if bytes(target[4096 + into + length : 4096 + into + length + 512]) != b"\xa5" * 512:
        fail(f"{how}: memory behind the buffer was overwritten")


if what == "offsets":
    offsets = sorted({0, align, 8, 512, 1020 // align * align, 2048, 4096 - 512, 4096 - align})
    lengths = [block, 4096, 8192, 12288, 64 << 10, 128 << 10, largest, largest + 4096, 1 << 20]
    lengths = sorted({n // block * block for n in lengths if block <= n <= 2 << 20})
    count = 0
    for out in offsets:
        for length in lengths:
            into = offsets[count % len(offsets)]
            at = random.randrange(0, (size - length) // block) * block
            transfer(at, length, out, into)
            count += 1
    print(count, "transfers")
elif what == "pieces":
    for round in range(60):
        pieces = random.randrange(2, 64)
        # Each piece is a multiple of the block size, at any address that DMA allows.
        lengths = [block * random.choice([1, 1, 2, 3, 8, 9]) for _ in range(pieces)]
        total = sum(lengths)

        def scatter(memory):
            views, at = [], 0
            for length in lengths:
                at += random.randrange(0, 4096 // align) * align
                views.append(memory[at : at + length])
                at += length
            return views

        if total + pieces * 4096 > SPACE:
            continue
        at = random.randrange(0, (size - total) // block) * block
        out, into = scatter(source), scatter(target)
        write(at, out)
        read(at, into)
        compare(at, b"".join(into), b"".join(out), f"{pieces} pieces of {lengths} bytes")
elif what == "end":
    for length in (block, 4096, 128 << 10, 1 << 20):
        length = length // block * block
        transfer(size - length, length, align, 4096 - align)
    # At the end of the disk, reads return nothing and writes fail.
    if (n := os.preadv(fd, [target[:block]], size)) != 0:
        fail(f"read {n} bytes behind the end")
    try:
        n = os.pwritev(fd, [source[:block]], size)
        fail(f"wrote {n} bytes behind the end")
    except OSError:
        pass
    # Half of the range is beyond the end: only the other half is transferred.
    if (n := os.preadv(fd, [target[: 2 * block]], size - block)) != block:
        fail(f"read {n} of {block} bytes at the end")
else:
    sys.exit(f"unknown: {what}")
