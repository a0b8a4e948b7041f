# SPDX-License-Identifier: GPL-2.0
"""uring.py DEVICE all|few|ro: what good and bad commands return that are sent to a generic device or a control device by
io_uring; `ro` opens it for reading. Prints a line for each, with the status or the error's name, and the result, to be
compared with those of another driver.

uring.py DEVICE short: commands with less data than they transfer.
uring.py DEVICE once read|write MS FILE: a command with a time limit, and a read as soon as FILE exists.
uring.py DEVICE cancel: ways to cancel a read, or an Identify by a control device, which must not end meanwhile.
uring.py DEVICE closes|exits interrupts|polled FILE: reads whose ring is closed before they end; then waits for FILE to
exist, or exits."""
import ctypes
import errno
import mmap
import os
import struct
import sys
import time

from passthru import (BACK, COMPARE, COPY, DATA, DSM, FLUSH, ID, KERNEL, NOTHING, PAGE, READ, READ_ONLY, SIZE, VERIFY,
                      WRITE, ZEROES, area, await_file, libc, once, pattern)

SETUP, ENTER, REGISTER = 425, 426, 427
IOPOLL, SQE128, CQE32 = 1 << 0, 1 << 10, 1 << 11
ASYNC_CANCEL, URING_CMD = 14, 46
SYNC_CANCEL = 24
GETEVENTS = 1
FIXED = 1
# What is to be cancelled: all that match, those of a file, any, those of an opcode.
ALL, OF_FILE, ANY, OF_OPCODE = 1 << 0, 1 << 1, 1 << 2, 1 << 5
IO, VEC, ADMIN, ADMIN_VEC = 0xC0484E80, 0xC0484E81, 0xC0484E82, 0xC0484E83
VECTOR = area(PAGE)


def syscall(*args):
    result = libc.syscall(*map(ctypes.c_long, args))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"system call {args[0]}")
    return result


def pieces(at, *parts):
    """Writes an array of `struct iovec` at an address; returns its length."""
    raw = struct.pack(f"={2 * len(parts)}Q", *(x for part in parts for x in part))
    ctypes.memmove(at, raw, len(raw))
    return len(parts)


class Ring:
    """A ring for one command at a time; its registered buffers are DATA and BACK, if wanted."""

    def __init__(self, flags=SQE128 | CQE32, buffers=False):
        params = bytearray(120)
        struct.pack_into("=I", params, 8, flags)
        buffer = (ctypes.c_char * 120).from_buffer(params)
        self.fd = syscall(SETUP, 4, ctypes.addressof(buffer))
        values = struct.unpack("=30I", params)
        # Heads and tails, the masks and the arrays.
        sq, cq = values[10:20], values[20:30]
        self.sqe_size, self.cqe_size = 128 if flags & SQE128 else 64, 32 if flags & CQE32 else 16
        self.sq_tail, array, self.cq_head, self.cq_tail, self.cqes = sq[1], sq[6], cq[0], cq[1], cq[5]
        self.sq_mask, self.cq_mask = 3, 7
        self.rings = mmap.mmap(self.fd, max(array + 16, self.cqes + 8 * self.cqe_size), offset=0)
        self.entries = mmap.mmap(self.fd, 4 * self.sqe_size, offset=0x10000000)
        struct.pack_into("=4I", self.rings, array, 0, 1, 2, 3)
        if buffers:
            syscall(REGISTER, self.fd, 0, VECTOR, pieces(VECTOR, (DATA, SIZE), (BACK, SIZE)))

    def begin(self, fd, op, payload, fixed=None, opcode=URING_CMD, addr=0, length=0, flags=0, user=7):
        """Begins a command, or another operation."""
        tail = struct.unpack_from("=I", self.rings, self.sq_tail)[0]
        flags, index = (flags, 0) if fixed is None else (FIXED, fixed)
        # The buffer's index is at byte 40.
        head = struct.pack("=BBHiIIQIIQHHIQQ", opcode, 0, 0, fd, op, 0, addr, length, flags, user, index, 0, 0, 0, 0)
        at = (tail & self.sq_mask) * self.sqe_size
        self.entries[at : at + self.sqe_size] = (head[:48] + payload).ljust(self.sqe_size, b"\0")[: self.sqe_size]
        struct.pack_into("=I", self.rings, self.sq_tail, tail + 1)
        syscall(ENTER, self.fd, 1, 0, 0, 0, 0)

    def end(self, user=7):
        """Waits for the end of a command; returns its status and its result."""
        cq_head = struct.unpack_from("=I", self.rings, self.cq_head)[0]
        # A ring that polls doesn't wait for a command that isn't polled for.
        while struct.unpack_from("=I", self.rings, self.cq_tail)[0] == cq_head:
            syscall(ENTER, self.fd, 0, 1, GETEVENTS, 0, 0)
        at = self.cqes + (cq_head & self.cq_mask) * self.cqe_size
        ended, status, _ = struct.unpack_from("=QiI", self.rings, at)
        result = struct.unpack_from("=Q", self.rings, at + 16)[0] if self.cqe_size == 32 else 0
        struct.pack_into("=I", self.rings, self.cq_head, cq_head + 1)
        assert ended == user
        return status, result

    def close(self):
        self.rings.close()
        self.entries.close()
        os.close(self.fd)


class Device:
    def __init__(self, path, mode, ring):
        self.fd, self.ring = os.open(path, mode), ring
        name = os.path.basename(os.path.realpath(path))
        self.is_control = not name.startswith("ng")
        if not self.is_control:
            queue = f"/sys/class/block/{name.replace('ng', 'nvme')}/queue"
            self.block = int(open(f"{queue}/logical_block_size").read())
            self.limit = int(open(f"{queue}/max_hw_sectors_kb").read()) * 1024

    def send(self, opcode, op=IO, flags=0, nsid=1, addr=0, data_len=0, metadata=0, metadata_len=0, cdw=(), timeout=0,
             fixed=None, waits=True):
        dwords = tuple(cdw) + (0,) * (6 - len(cdw))
        payload = struct.pack("=BBHIIIQQII6III", opcode, flags, 0, nsid, 0, 0, metadata, addr, metadata_len, data_len,
                              *dwords, timeout, 0)
        try:
            self.ring.begin(self.fd, op, payload, fixed)
            if not waits:
                return None
            status, result = self.ring.end()
        except OSError as error:
            return errno.errorcode[error.errno]
        return errno.errorcode[-status] if status < 0 else f"{status:#x} result {result:#x}"

    def rw(self, opcode, addr, length, slba=64, **fields):
        blocks = max(length // self.block, 1)
        return self.send(opcode, addr=addr, data_len=length, cdw=(slba, 0, blocks - 1), **fields)


def transfers(device, few):
    """Data of all lengths up to the limit, and beyond it, at addresses of all kinds, in registered buffers too."""
    block, limit = device.block, device.limit
    lengths = {block, 8192} if few else {block, 2 * block, 4096, 8192, 12288, 65536, limit}
    for fixed in (False, True):
        for length in sorted(lengths):
            for offset in (4,) if few else (0, 4, 516):
                if length + offset > SIZE - PAGE or length > limit:
                    continue
                name = f"{'fixed' if fixed else 'user'} {length} at {offset}"
                expected = pattern(length + offset, length)
                at = DATA + offset
                ctypes.memmove(at, expected, length)
                print(f"{name}: write: {device.rw(WRITE, at, length, fixed=0 if fixed else None)}")
                ctypes.memset(BACK, 0x55, min(length + 8192, SIZE))
                print(f"{name}: read: {device.rw(READ, BACK + offset, length, fixed=1 if fixed else None)}")
                print(f"{name}: {ctypes.string_at(BACK + offset, length) == expected}, "
                      f"{ctypes.string_at(BACK + offset + length, 16)!r}")
                print(f"{name}: compare: {device.rw(COMPARE, at, length, fixed=0 if fixed else None)}")
    for length in (limit + block, limit + 4096, 2 * limit):
        for opcode in (READ, WRITE):
            for fixed in (None, 0):
                cdw = (64, 0, limit // block - 1)
                print(f"beyond the limit: {device.send(opcode, addr=DATA, data_len=length, cdw=cdw, fixed=fixed)}")
    # Pieces of odd lengths.
    for fixed in (None, 0):
        data = pattern(3, 4096)
        count = pieces(VECTOR, (DATA + 8192, 1024), (DATA + 16384 + 512, 2048), (DATA + 3 * 8192, 1024))
        ctypes.memmove(DATA + 8192, data[:1024], 1024)
        ctypes.memmove(DATA + 16384 + 512, data[1024:3072], 2048)
        ctypes.memmove(DATA + 3 * 8192, data[3072:], 1024)
        fields = {"op": VEC, "addr": VECTOR, "data_len": count, "cdw": (128, 0, 4096 // block - 1), "fixed": fixed}
        print(f"pieces: {device.send(WRITE, **fields)}")
        ctypes.memset(DATA + 8192, 0, 3 * 8192)
        print(f"pieces: {device.send(READ, **fields)}")
        back = ctypes.string_at(DATA + 8192, 1024) + ctypes.string_at(DATA + 16384 + 512, 2048)
        print(f"pieces: {back + ctypes.string_at(DATA + 3 * 8192, 1024) == data}")
        fields["data_len"] = 1025
        print(f"too many pieces: {device.send(READ, **fields)}")
        fields.update(addr=NOTHING, data_len=1)
        print(f"pieces that can't be read: {device.send(READ, **fields)}")


def commands(device):
    block = device.block
    pattern(1, block)
    print(f"flush: {device.send(FLUSH)}")
    print(f"write zeroes: {device.send(ZEROES, cdw=(64, 0, 0))}")
    ctypes.memset(BACK, 0x55, block)
    print(f"read: {device.rw(READ, BACK, block)} {ctypes.string_at(BACK, block) == bytes(block)}")
    print(f"compare: {device.rw(COMPARE, DATA, block)}")
    print(f"verify: {device.send(VERIFY, cdw=(64, 0, 3))}")
    ctypes.memmove(DATA, struct.pack("=IIQ", 0, 1, 96), 16)
    print(f"dsm: {device.send(DSM, addr=DATA, data_len=16, cdw=(0, 4))}")
    print(f"beyond the end: {device.send(READ, addr=BACK, data_len=block, cdw=(0xFFFF_FFF0, 0xF, 0))}")
    for opcode in (0x7F, 0x80, 0x81, 0x82, 0xFF, 0x3, 0x55):
        print(f"opcode {opcode:#x}: {device.send(opcode)}")
        print(f"opcode {opcode:#x} with data: {device.send(opcode, addr=DATA, data_len=4096)}")


def bad(device):
    block = device.block
    for nsid in (0, 2, 0xFFFF_FFFF):
        print(f"namespace {nsid:#x}: {device.rw(READ, BACK, block, nsid=nsid)}")
    print(f"flags: {device.rw(READ, BACK, block, flags=1)}")
    for opcode in (READ, WRITE, COMPARE):
        print(f"data that can't be accessed: {device.rw(opcode, NOTHING, block)}")
        print(f"no address: {device.rw(opcode, 0, block)}")
        print(f"data in the kernel: {device.rw(opcode, KERNEL, block)}")
        print(f"data beyond their page: {device.rw(opcode, DATA + SIZE - block + 4, block)}")
        print(f"data beyond the address space: {device.rw(opcode, (1 << 64) - 4096, block)}")
        print(f"data beyond the buffer: {device.rw(opcode, DATA + SIZE - block + 4, block, fixed=0)}")
        print(f"data outside the buffer: {device.rw(opcode, DATA, block, fixed=1)}")
        print(f"no such buffer: {device.rw(opcode, DATA, block, fixed=9)}")
    print(f"data that can't be written: {device.rw(READ, READ_ONLY, block)}")
    print(f"metadata: {device.rw(READ, BACK, block, metadata=DATA, metadata_len=8)}")
    print(f"metadata without a length: {device.rw(READ, BACK, block, metadata=DATA)}")
    print(f"a length of metadata: {device.rw(READ, BACK, block, metadata_len=8)}")
    for length in (1 << 31, (1 << 32) - 1):
        print(f"{length} bytes: {device.send(READ, addr=BACK, data_len=length, cdw=(64, 0, 0))}")
    print(f"a time-out: {device.rw(READ, BACK, block, timeout=5000)}")
    for op in (0, ID, ADMIN, ADMIN_VEC, 0xC0484E84, 0xC0484E43, 0xC0504E80):
        print(f"command {op:#x}: {device.rw(READ, BACK, block, op=op)}")


def small(path, mode):
    """Rings whose entries are too small."""
    for flags in (0, SQE128, CQE32):
        device = Device(path, mode, Ring(flags))
        print(f"flags {flags:#x}: {device.send(READ)}")
        print(f"flags {flags:#x}: admin: {device.send(6, op=ADMIN, nsid=0, addr=BACK, data_len=4096, cdw=(1,))}")


def admin(device):
    for op, data, count in ((ADMIN, BACK, 4096), (ADMIN_VEC, VECTOR, 2)):
        pieces(VECTOR, (BACK + 7, 96), (BACK + 4096, 4000))
        ctypes.memset(BACK, 0x55, 2 * 4096)
        identify = {"op": op, "nsid": 0, "addr": data, "data_len": count, "cdw": (1,)}
        print(f"identify: {device.send(6, **identify)}")
        print(f"identify: {ctypes.string_at(BACK, 8192)[: 4096 + 4000]!r}")
        print(f"identify, flags: {device.send(6, **{**identify, 'flags': 1})}")
        print(f"identify, a bad address: {device.send(6, **{**identify, 'addr': NOTHING})}")
        print(f"identify, metadata: {device.send(6, **{**identify, 'metadata': DATA, 'metadata_len': 8})}")
        print(f"get features: {device.send(0xA, op=op, nsid=0, cdw=(7,))}")
        print(f"get features, unknown: {device.send(0xA, op=op, nsid=0, cdw=(0x55,))}")
        print(f"an unknown command: {device.send(0x7D, op=op, nsid=0)}")
    for op in (0, IO, VEC, 0xC0484E84, 0xC0484E41):
        print(f"command {op:#x}: {device.send(6, op=op, nsid=0, addr=BACK, data_len=4096, cdw=(1,))}")
    polled = Device(sys.argv[1], os.O_RDWR, Ring(SQE128 | CQE32 | IOPOLL))
    print(f"identify, polled: {polled.send(6, op=ADMIN, nsid=0, addr=BACK, data_len=4096, cdw=(1,))}")


def short(device):
    """Commands that transfer more than the data that the user has, and data that no command can transfer."""
    block = device.block
    pieces(VECTOR, (BACK, block))
    for opcode in (READ, WRITE, COMPARE):
        for fixed in (None, 1):
            print(f"short: {device.send(opcode, addr=BACK, data_len=block, cdw=(64, 0, 1), fixed=fixed)}")
            print(f"short: {device.send(opcode, op=VEC, addr=VECTOR, data_len=1, cdw=(64, 0, 1), fixed=fixed)}")
        print(f"short: {device.send(opcode, addr=BACK, data_len=block - 4, cdw=(64, 0, 0))}")
        print(f"short: {device.send(opcode, cdw=(64, 0, 0))}")
    print(f"short: {device.send(DSM, addr=BACK, data_len=16, cdw=(1, 4))}")
    print(f"short: {device.send(COPY, addr=BACK, data_len=32, cdw=(200, 0, 1))}")
    # Data that aren't aligned, which the block layer would copy, and allocate memory for all of it first.
    huge = 0x70000000
    print(f"long: {device.send(READ, addr=BACK + 1, data_len=huge, cdw=(64, 0, 0))}")
    count = pieces(VECTOR, (BACK + 1, huge))
    print(f"long: {device.send(READ, op=VEC, addr=VECTOR, data_len=count, cdw=(64, 0, 0))}")
    count = pieces(VECTOR, *[(BACK + 1, SIZE - 1)] * 250)
    for fixed in (None, 1):
        print(f"long: {device.send(READ, op=VEC, addr=VECTOR, data_len=count, cdw=(64, 0, 0), fixed=fixed)}")


def cancel(device):
    """Ways to cancel a command in flight."""
    ring = device.ring
    if device.is_control:
        device.send(6, op=ADMIN, nsid=0, addr=BACK, data_len=4096, cdw=(1,), waits=False)
        # Until a worker runs it, it can be cancelled.
        time.sleep(3)
    else:
        device.rw(READ, BACK, device.block, waits=False)
    for name, flags, length in (("by its data", 0, 0), ("all by their data", ALL, 0), ("by its file", OF_FILE, 0),
                                ("all of the file", OF_FILE | ALL, 0), ("any", ANY, 0),
                                ("by its opcode", OF_OPCODE, URING_CMD)):
        ring.begin(device.fd, 0, b"", opcode=ASYNC_CANCEL, addr=7, length=length, flags=flags, user=8)
        status, _ = ring.end(8)
        print(f"cancelled {name}: {errno.errorcode[-status] if status < 0 else status}")
    argument = ctypes.create_string_buffer(struct.pack("=QiIqqB31x", 7, -1, 0, 1, 0, 0))
    try:
        status = syscall(REGISTER, ring.fd, SYNC_CANCEL, ctypes.addressof(argument), 1)
    except OSError as error:
        status = errno.errorcode[error.errno]
    print(f"cancelled at once: {status}", flush=True)
    print(f"the command: {ring.end()}")


def leave(device, exits, then):
    """Closes the ring while commands are in flight."""
    for number in range(3):
        device.rw(READ, BACK + 8192 * number, device.block, waits=False)
    if exits:
        return
    device.ring.close()
    await_file(then)


def main():
    path, what, *rest = sys.argv[1:]
    mode = os.O_RDONLY if what == "ro" else os.O_RDWR
    polls = IOPOLL if rest and rest[0] == "polled" else 0
    device = Device(path, mode, Ring(SQE128 | CQE32 | polls, buffers=True))
    if what == "short":
        short(device)
    elif what == "once":
        once(device, WRITE if rest[0] == "write" else READ, int(rest[1]), rest[2])
    elif what == "cancel":
        cancel(device)
    elif what in ("closes", "exits"):
        leave(device, what == "exits", rest[1])
    elif device.is_control:
        admin(device)
        small(path, mode)
    else:
        transfers(device, what != "all")
        commands(device)
        bad(device)
        small(path, mode)


if __name__ == "__main__":
    main()
