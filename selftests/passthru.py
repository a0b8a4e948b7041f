# SPDX-License-Identifier: GPL-2.0
"""passthru.py DISK all|few|ro: what the ioctls of a disk, partition or generic device return for good and bad I/O
commands; `ro` opens it for reading. Prints a line for each, with the result or the error's name, to be compared
with those of another driver.

passthru.py DISK short: commands with less data than they transfer.
passthru.py DISK once read|write MS FILE: a command with a time limit, and a read as soon as FILE exists.
passthru.py DISK paged in|out FILE: a read whose copy of the user's data in or out waits until FILE exists."""
import ctypes
import errno
import fcntl
import mmap
import os
import platform
import struct
import sys
import threading
import time

import pr

libc = ctypes.CDLL(None, use_errno=True)
libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong]
libc.syscall.restype = ctypes.c_long
libc.mmap.restype = ctypes.c_ulong
libc.mmap.argtypes = [ctypes.c_ulong, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_ulong, ctypes.c_size_t, ctypes.c_int]

ID, ADMIN, SUBMIT, IO, IO64, VEC = 0x4E40, 0xC0484E41, 0x40304E42, 0xC0484E43, 0xC0504E48, 0xC0504E49
PAGE = mmap.PAGESIZE
SIZE = 2 << 20
FLUSH, WRITE, READ, UNCORRECTABLE, COMPARE, ZEROES, DSM, VERIFY, COPY = 0, 1, 2, 4, 5, 8, 9, 0xC, 0x19


RAMP = bytes(range(251)) * 4


def area(size, protection=mmap.PROT_READ | mmap.PROT_WRITE):
    """The address of new memory, with a page after it that can't be accessed."""
    address = libc.mmap(0, size + PAGE, protection, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    libc.mprotect(address + size, PAGE, 0)
    return address


DATA, BACK, ARG = area(SIZE), area(SIZE), area(PAGE)
READ_ONLY, NOTHING = area(PAGE, mmap.PROT_READ), area(PAGE, 0)
KERNEL = 0xFFFF_8880_0000_0000


def call(fd, number, arg):
    result = libc.ioctl(fd, number, arg)
    return errno.errorcode[ctypes.get_errno()] if result < 0 else hex(result)


class Disk:
    def __init__(self, path, mode):
        self.fd = os.open(path, mode)
        name = os.path.basename(os.path.realpath(path)).replace("ng", "nvme")
        queue = f"/sys/class/block/{name}/queue"
        if not os.path.isdir(queue):
            queue = f"/sys/class/block/{name}/../queue"
        self.block = int(open(f"{queue}/logical_block_size").read())
        self.limit = int(open(f"{queue}/max_hw_sectors_kb").read()) * 1024

    def send(self, opcode, number=IO, at=None, flags=0, nsid=1, addr=0, data_len=0, metadata=0, metadata_len=0,
             cdw=(), timeout=0):
        """Sends an I/O command; returns its status or error, and its result."""
        dwords = tuple(cdw) + (0,) * (6 - len(cdw))
        raw = struct.pack("=BBHIIIQQII6II", opcode, flags, 0, nsid, 0, 0, metadata, addr, metadata_len, data_len, *dwords,
                          timeout)
        raw += struct.pack("=I", 0x7777) if number == IO else struct.pack("=IQ", 0, 0x7777)
        if at is None:
            at = ARG + PAGE - len(raw)
        ctypes.memmove(at, raw, len(raw))
        outcome = call(self.fd, number, at)
        size = 4 if number == IO else 8
        return f"{outcome} result {int.from_bytes(ctypes.string_at(at + len(raw) - size, size), 'little'):#x}"

    def rw(self, opcode, addr, length, slba=64, **fields):
        blocks = max(length // self.block, 1)
        return self.send(opcode, addr=addr, data_len=length, cdw=(slba, 0, blocks - 1), **fields)

    def submit(self, opcode, addr, nblocks, flags=0, control=0, metadata=0, slba=64):
        raw = struct.pack("=BBHHHQQQIIHHI", opcode, flags, control, nblocks, 0, metadata, addr, slba, 0, 0, 0, 0, 0)
        at = ARG + PAGE - len(raw)
        ctypes.memmove(at, raw, len(raw))
        return call(self.fd, SUBMIT, at)


def pattern(seed, length):
    """Fills DATA so that each piece of 512 bytes differs from the others near it."""
    data = b"".join(RAMP[(seed * 7 + i * 13) % 251 :][:512] for i in range(length // 512))
    ctypes.memmove(DATA, data, length)
    return data


def transfers(disk, few):
    """Data of all lengths up to the limit, and beyond it, at addresses of all kinds."""
    lengths = {disk.block, 8192} if few else {disk.block, 2 * disk.block, 4096, 8192, 12288, 65536, disk.limit}
    for number, name in ((IO, "io"), (IO64, "io64")):
        for length in sorted(lengths):
            if length > disk.limit or length > 65536 and number == IO64:
                continue
            for offset in (4,) if few else (0, 4, 516):
                expected = pattern(length + offset, length)
                at = DATA + SIZE // 2 + offset if length <= SIZE // 2 - PAGE else DATA
                ctypes.memmove(at, expected, length)
                print(f"{name} {offset}: write: {disk.rw(WRITE, at, length, number=number)}")
                ctypes.memset(BACK, 0x55, length + 8192)
                print(f"{name} {offset}: read: {disk.rw(READ, BACK + offset, length, number=number)}")
                print(f"{name} {offset}: {ctypes.string_at(BACK + offset, length) == expected}, "
                      f"{ctypes.string_at(BACK + offset + length, 16)!r}")
                print(f"{name} {offset}: compare: {disk.rw(COMPARE, at, length, number=number)}")
    for length in (disk.limit + disk.block, disk.limit + 4096, 2 * disk.limit):
        for opcode in (READ, WRITE):
            blocks = disk.limit // disk.block
            print(f"beyond the limit: {disk.send(opcode, addr=DATA, data_len=length, cdw=(64, 0, blocks - 1))}")
    # Pieces of odd lengths.
    data = pattern(3, 4096)
    vector = struct.pack("=6Q", DATA + 8192, 1024, DATA + 16384 + 512, 2048, DATA + 3 * 8192, 1024)
    ctypes.memmove(BACK, vector, len(vector))
    ctypes.memmove(DATA + 8192, data[:1024], 1024)
    ctypes.memmove(DATA + 16384 + 512, data[1024:3072], 2048)
    ctypes.memmove(DATA + 3 * 8192, data[3072:], 1024)
    blocks = 4096 // disk.block
    print(f"pieces: {disk.send(WRITE, VEC, addr=BACK, data_len=3, cdw=(128, 0, blocks - 1))}")
    ctypes.memset(DATA + 8192, 0, 3 * 8192)
    print(f"pieces: {disk.send(READ, VEC, addr=BACK, data_len=3, cdw=(128, 0, blocks - 1))}")
    back = ctypes.string_at(DATA + 8192, 1024) + ctypes.string_at(DATA + 16384 + 512, 2048)
    print(f"pieces: {back + ctypes.string_at(DATA + 3 * 8192, 1024) == data}")
    print(f"too many pieces: {disk.send(READ, VEC, addr=BACK, data_len=1025, cdw=(128, 0, 0))}")
    print(f"pieces that can't be read: {disk.send(READ, VEC, addr=NOTHING, data_len=1, cdw=(128, 0, 0))}")


def commands(disk):
    block = disk.block
    pattern(1, block)
    print(f"flush: {disk.send(FLUSH)}")
    print(f"write zeroes: {disk.send(ZEROES, cdw=(64, 0, 0))}")
    ctypes.memset(BACK, 0x55, block)
    print(f"read: {disk.rw(READ, BACK, block)} {ctypes.string_at(BACK, block) == bytes(block)}")
    print(f"compare: {disk.rw(COMPARE, DATA, block)}")
    print(f"verify: {disk.send(VERIFY, cdw=(64, 0, 3))}")
    print(f"uncorrectable: {disk.send(UNCORRECTABLE, cdw=(80, 0, 0))}")
    print(f"read: {disk.rw(READ, BACK, block, slba=80)}")
    print(f"write: {disk.rw(WRITE, DATA, block, slba=80)}")
    ctypes.memmove(DATA, struct.pack("=IIQ", 0, 1, 96), 16)
    print(f"dsm: {disk.send(DSM, addr=DATA, data_len=16, cdw=(0, 4))}")
    print(f"dsm of a page: {disk.send(DSM, addr=DATA, data_len=4096, cdw=(255, 4))}")
    pattern(9, 4096)
    print(f"write: {disk.rw(WRITE, DATA, 4096)}")
    source = struct.pack("=QQHHIIIHHHH", 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    ctypes.memset(BACK, 0, 4096)
    ctypes.memmove(BACK, source[:32], 32)
    print(f"copy: {disk.send(COPY, addr=BACK, data_len=32, cdw=(200, 0, 0))}")
    print(f"copied: {disk.rw(COMPARE, DATA, block, slba=200)}")
    print(f"beyond the end: {disk.send(READ, addr=BACK, data_len=block, cdw=(0xFFFF_FFF0, 0xF, 0))}")
    for opcode in (0x7F, 0x80, 0x81, 0x82, 0xFF, 0x3, 0x55):
        print(f"opcode {opcode:#x}: {disk.send(opcode)}")
        print(f"opcode {opcode:#x} with data: {disk.send(opcode, addr=DATA, data_len=4096)}")
    for opcode in (READ, WRITE, COMPARE, 0, 4, 8, 0x81):
        print(f"submit {opcode}: {disk.submit(opcode, DATA, 0)}")
    print(f"submit: {disk.submit(WRITE, DATA, 4096 // block - 1)}")
    print(f"submit: {disk.submit(COMPARE, DATA, 4096 // block - 1)}")
    print(f"submit with flags: {disk.submit(READ, BACK, 0, flags=1)}")
    print(f"submit with metadata: {disk.submit(READ, BACK, 0, metadata=BACK)}")
    print(f"submit with protection information: {disk.submit(READ, BACK, 0, control=1 << 13, metadata=BACK)}")
    print(f"submit beyond the limit: {disk.submit(READ, BACK, 65535)}")
    print(f"submit to a bad address: {disk.submit(READ, NOTHING, 0)}")


def bad(disk):
    block = disk.block
    for number, size in ((IO, 72), (IO64, 80), (VEC, 80), (SUBMIT, 48)):
        for what, at in (("no argument", 0), ("argument in the kernel", KERNEL), ("argument that can't be read", NOTHING),
                         ("argument beyond its page", ARG + PAGE - size + 1)):
            print(f"{number:#x}: {what}: {call(disk.fd, number, at)}")
    for nsid in (0, 2, 0xFFFF_FFFF):
        print(f"namespace {nsid:#x}: {disk.rw(READ, BACK, block, nsid=nsid)}")
    print(f"flags: {disk.rw(READ, BACK, block, flags=1)}")
    print(f"flags and a bad address: {disk.rw(READ, NOTHING, block, flags=0x40)}")
    for opcode in (READ, WRITE, COMPARE):
        print(f"data that can't be accessed: {disk.rw(opcode, NOTHING, block)}")
        print(f"data in the kernel: {disk.rw(opcode, KERNEL, block)}")
        print(f"data beyond their page: {disk.rw(opcode, ARG + PAGE - block + 4, block)}")
        print(f"data beyond the address space: {disk.rw(opcode, (1 << 64) - 4096, block)}")
    print(f"data that can't be written: {disk.rw(READ, READ_ONLY, block)}")
    print(f"metadata: {disk.rw(READ, BACK, block, metadata=DATA, metadata_len=8)}")
    print(f"metadata without a length: {disk.rw(READ, BACK, block, metadata=DATA)}")
    print(f"a length of metadata: {disk.rw(READ, BACK, block, metadata_len=8)}")
    # The C driver sends odd lengths of several pages as an SGL, which QEMU takes only for the exact length.
    odd = (block + 1, block + 3) if block < PAGE else ()
    for length in (*odd, 1 << 31, (1 << 32) - 1):
        print(f"{length} bytes: {disk.send(READ, addr=BACK, data_len=length, cdw=(64, 0, 0))}")
    print(f"a time-out: {disk.rw(READ, BACK, block, timeout=5000)}")
    for number in (0x4E44, 0x4E45, 0x4E46, 0x4E4A, 0x4E80, 0xC0484E48, 0xC0504E43):
        print(f"ioctl {number:#x}: {call(disk.fd, number, DATA)}")
    print(f"identify: {disk.send(6, ADMIN, addr=BACK, data_len=4096, cdw=(1,)).split()[0]}")
    print(f"log: {disk.send(2, ADMIN, nsid=0xFFFF_FFFF, addr=BACK, data_len=512, cdw=(0x7F0002,)).split()[0]}")


def reservations(disk):
    """The controller doesn't know the commands."""
    def registration(flags=0, old=0):
        return pr.registration(old, 7, flags)

    def reservation(flags=0, kind=1):
        return pr.reservation(7, kind, flags)

    def preemption(flags=0, kind=1):
        return pr.preemption(7, 8, kind, flags)

    def keys(count):
        return pr.keys(count, BACK)
    kinds = {
        "register": (registration(), registration(old=5), registration(1), registration(2)),
        "reserve": (reservation(), reservation(1), reservation(2), reservation(kind=7)),
        "release": (reservation(), reservation(1), reservation(kind=7)),
        "preempt": (preemption(), preemption(1), preemption(kind=7)),
        "abort": (preemption(), preemption(1), preemption(kind=7)),
        "clear": (pr.clearing(7), pr.clearing(7, 1)),
        "keys": (keys(1), keys(0), keys(65536), keys(65537)),
        "reservation": (bytes(16),),
    }
    for name, arguments in kinds.items():
        number = pr.NUMBERS[name]
        for variant, raw in enumerate(arguments):
            at = ARG + PAGE - len(raw)
            ctypes.memmove(at, raw, len(raw))
            print(f"reservation: {name} {variant}: {call(disk.fd, number, at)}")
        print(f"reservation: {name}: argument that can't be read: {call(disk.fd, number, NOTHING)}")


def short(disk):
    """Commands that transfer more than the data that the user has."""
    block = disk.block
    for opcode in (READ, WRITE, COMPARE):
        print(f"short: {disk.send(opcode, addr=BACK, data_len=block, cdw=(64, 0, 1))}")
        print(f"short: {disk.send(opcode, addr=BACK, data_len=block - 1, cdw=(64, 0, 0))}")
        print(f"short: {disk.send(opcode, cdw=(64, 0, 0))}")
    print(f"short: {disk.send(DSM, addr=BACK, data_len=16, cdw=(1, 4))}")
    print(f"short: {disk.send(COPY, addr=BACK, data_len=32, cdw=(200, 0, 1))}")
    print(f"short: {disk.submit(READ, 0, 0)}")
    print(f"short: {disk.send(0x0E)}")


def once(disk, opcode, timeout, then):
    print(disk.rw(opcode, BACK, disk.limit, timeout=timeout).split()[0], flush=True)
    await_file(then)
    print(disk.rw(READ, BACK, disk.block).split()[0])


def await_file(path):
    while not os.path.exists(path):
        time.sleep(0.05)


class Pages:
    """Memory whose first access, or first write, waits until it is allowed: userfaultfd(2)."""

    NUMBER = {"x86_64": 323, "aarch64": 282, "riscv64": 282}
    API, REGISTER, ZEROPAGE, WRITEPROTECT = 0xC018AA3F, 0xC020AA00, 0xC020AA04, 0xC018AA06

    def __init__(self, writes):
        self.at, self.writes = area(PAGE), writes
        self.fd = libc.syscall(self.NUMBER[platform.machine()], os.O_CLOEXEC)
        if self.fd < 0:
            sys.exit("no userfaultfd")
        fcntl.ioctl(self.fd, self.API, struct.pack("=QQQ", 0xAA, 1, 0))
        if writes:
            ctypes.memset(self.at, 0x55, PAGE)
        fcntl.ioctl(self.fd, self.REGISTER, struct.pack("=QQQQ", self.at, PAGE, 2 if writes else 1, 0))
        if writes:
            self.protect(1)

    def protect(self, on):
        fcntl.ioctl(self.fd, self.WRITEPROTECT, struct.pack("=QQQ", self.at, PAGE, on))

    def wait(self):
        os.read(self.fd, 32)

    def allow(self):
        if self.writes:
            self.protect(0)
        else:
            fcntl.ioctl(self.fd, self.ZEROPAGE, bytearray(struct.pack("=QQQq", self.at, PAGE, 0, 0)))


def paged(disk, writes, then):
    pages, outcome = Pages(writes), []
    reader = threading.Thread(target=lambda: outcome.append(disk.rw(READ, pages.at, disk.block)))
    reader.start()
    pages.wait()
    print("waits", flush=True)
    await_file(then)
    pages.allow()
    reader.join()
    print(outcome[0].split()[0])


def main():
    path, what, *rest = sys.argv[1:]
    disk = Disk(path, os.O_RDONLY if what == "ro" else os.O_RDWR)
    if what == "short":
        short(disk)
    elif what == "once":
        once(disk, WRITE if rest[0] == "write" else READ, int(rest[1]), rest[2])
    elif what == "paged":
        paged(disk, rest[0] == "out", rest[1])
    else:
        print(f"id: {call(disk.fd, ID, 0)}")
        transfers(disk, what != "all")
        commands(disk)
        bad(disk)
        reservations(disk)


if __name__ == "__main__":
    main()
