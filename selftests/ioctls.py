# SPDX-License-Identifier: GPL-2.0
"""ioctls.py DEVICE CONTROL: what the ioctls of a control device return for good and bad arguments. Prints a
line for each, with the result or the error's name, to be compared with those of another driver."""
import ctypes
import errno
import fcntl
import mmap
import os
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong]
libc.mmap.restype = ctypes.c_ulong
libc.mmap.argtypes = [ctypes.c_ulong, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_ulong, ctypes.c_size_t, ctypes.c_int]

ID, RESET, SUBSYS_RESET, RESCAN = 0x4E40, 0x4E44, 0x4E45, 0x4E46
ADMIN, ADMIN64, IO = 0xC0484E41, 0xC0504E47, 0xC0484E43
PAGE = mmap.PAGESIZE
SIZE = 4 << 20


def area(size, protection=mmap.PROT_READ | mmap.PROT_WRITE):
    """The address of new memory, with a page after it that can't be accessed."""
    address = libc.mmap(0, size + PAGE, protection, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    libc.mprotect(address + size, PAGE, 0)
    return address


DATA, ARG = area(SIZE), area(PAGE)
READ_ONLY = area(PAGE, mmap.PROT_READ)
NOTHING = area(PAGE, 0)
KERNEL = 0xFFFF_8880_0000_0000


def call(fd, number, arg):
    result = libc.ioctl(fd, number, arg)
    return errno.errorcode[ctypes.get_errno()] if result < 0 else hex(result)


def command(opcode=6, flags=0, nsid=0, cdw2=0, cdw3=0, metadata=0, addr=DATA, metadata_len=0, data_len=4096, cdw=(1,),
            timeout=0, rsvd2=0, wide=False):
    dwords = tuple(cdw) + (0,) * (6 - len(cdw))
    head = struct.pack("=BBHIIIQQII6II", opcode, flags, 0, nsid, cdw2, cdw3, metadata, addr, metadata_len, data_len,
                       *dwords, timeout)
    return head + (struct.pack("=IQ", rsvd2, 0x7777) if wide else struct.pack("=I", 0x7777))


def send(fd, at=None, wide=False, number=None, **fields):
    """Sends an admin command, or that of the ioctl NUMBER; returns its status or error, and its result."""
    raw = command(wide=wide, **fields)
    if at is None:
        at = ARG + PAGE - len(raw)
    ctypes.memmove(at, raw, len(raw))
    outcome = call(fd, number or (ADMIN64 if wide else ADMIN), at)
    size = 8 if wide else 4
    return f"{outcome} result {int.from_bytes(ctypes.string_at(at + len(raw) - size, size), 'little'):#x}"


def table(fd, reset):
    for wide in (False, True):
        number, size = (ADMIN64, 80) if wide else (ADMIN, 72)
        name = "admin64" if wide else "admin"

        def case(what, **fields):
            print(f"{name}: {what}: {send(fd, wide=wide, **fields)}")
        for what, at in (("no argument", 0), ("argument 1", 1), ("argument in the kernel", KERNEL),
                         ("argument that can't be read", NOTHING), ("argument beyond its page", ARG + PAGE - size + 1),
                         ("argument past its page", ARG + PAGE)):
            print(f"{name}: {what}: {call(fd, number, at)}")
        case("identify")
        ctypes.memset(DATA, 0x55, 8192)
        case("identify of 8192 bytes", data_len=8192)
        data = ctypes.string_at(DATA, 8192)
        print(f"{name}: data: {data[4:24]!r} {data[4096:] == bytes([0x55]) * 4096}")
        ctypes.memset(DATA, 0x55, 8192)
        case("identify to an odd address", addr=DATA + 4095)
        data = ctypes.string_at(DATA, 8192 + 4)
        print(f"{name}: data: {data[4094]:#x} {data[4099:4119]!r} {data[8191]:#x}")
        case("flags", flags=1)
        case("fused", flags=0x40)
        case("flags and a bad address", flags=1, addr=NOTHING)
        case("no rights for the driver's feature, a bad address", opcode=9, cdw=(7,), addr=NOTHING)
        for feature in (0x07, 0x0C, 0x0D, 0x0F, 0x16, 0x107):
            case(f"set feature {feature:#x}", opcode=9, cdw=(feature, 0x10001), data_len=0, addr=0)
        case("data that can't be read", addr=NOTHING)
        case("data in the kernel", addr=KERNEL)
        case("data beyond their page", addr=ARG + PAGE - 4095)
        case("data that can't be written", addr=READ_ONLY)
        case("the last page", addr=(1 << 47) - 4096)
        case("data beyond the address space", addr=(1 << 64) - 4096)
        for length in (1, 3, 4, 512, 4095, 4096, 4097, 8192, 524288, 524289, 524292, 1 << 20, 2 << 20, (2 << 20) + 1,
                       SIZE, 1 << 31, (1 << 32) - 1):
            case(f"{length} bytes", data_len=length)
        case("metadata", metadata=DATA, metadata_len=64)
        case("metadata that can't be read", metadata=NOTHING, metadata_len=64)
        case("metadata without a length", metadata=DATA)
        case("a length of metadata alone", metadata_len=64)
        case("reserved", rsvd2=0xFFFF_FFFF)
        case("dwords 2 and 3", cdw2=0xFFFF_FFFF, cdw3=0xFFFF_FFFF)
        # Identify: what every user may see, and other structures.
        for cns in (0x00, 0x01, 0x02, 0x03, 0x05, 0x06, 0x07, 0x08, 0x10, 0x11, 0x12, 0x13, 0x14, 0x1C, 0xFF):
            case(f"identify {cns:#x}", nsid=1, cdw=(cns,))
        for nsid in (0, 1, 2, 0xFFFF_FFFE, 0xFFFF_FFFF):
            case(f"namespace {nsid:#x}", nsid=nsid, cdw=(0,))
        case("get a feature", opcode=0xA, cdw=(7,), data_len=0, addr=0)
        case("get a feature, with data", opcode=0xA, cdw=(7,))
        case("get an unknown feature", opcode=0xA, cdw=(0xBE,), data_len=0, addr=0)
        case("a log page", opcode=2, nsid=0xFFFF_FFFF, cdw=(0x3FF0001, 0))
        case("a log page that doesn't exist", opcode=2, nsid=0xFFFF_FFFF, cdw=(0x3FF00EE, 0))
        case("firmware of a bad address", opcode=0x11, addr=NOTHING, cdw=(1023, 0))
        for opcode in (0x03, 0x20, 0x7F, 0xC0, 0xC1, 0xC2, 0xFF):
            case(f"opcode {opcode:#x}", opcode=opcode, data_len=0, addr=0)
            case(f"opcode {opcode:#x} with data", opcode=opcode)
    # I/O commands are for the only namespace.
    for what, fields in (("flush", {"opcode": 0, "data_len": 0}), ("read", {"opcode": 2, "data_len": 512, "cdw": ()}),
                         ("write", {"opcode": 1, "data_len": 512, "cdw": (8,)}),
                         ("unknown opcode", {"opcode": 0xFF, "data_len": 0}),
                         ("data that can't be read", {"opcode": 1, "data_len": 512, "addr": NOTHING}),
                         ("another namespace", {"opcode": 0, "data_len": 0, "nsid": 2}),
                         ("no namespace", {"opcode": 0, "data_len": 0, "nsid": 0})):
        print(f"io: {what}: {send(fd, number=IO, **{'nsid': 1, **fields})}")
    print(f"io: argument that can't be read: {call(fd, IO, NOTHING)}")
    # The result goes to memory that can't be written.
    raw = command()
    at = area(PAGE)
    ctypes.memmove(at, raw, len(raw))
    libc.mprotect(at, PAGE, mmap.PROT_READ)
    print(f"argument that can't be written: {call(fd, ADMIN, at)}")
    for number in (ID, 0x4E41, 0x4E4A, 0x4E80, 0xC0484E42, 0xC0504E41, 0xC0484E47, 0x5401, 0x1261, 0):
        print(f"ioctl {number:#x}: {call(fd, number, DATA)}")
    print(f"subsystem reset: {call(fd, SUBSYS_RESET, 0)}")
    print(f"rescan: {call(fd, RESCAN, 0)}")
    if reset:
        print(f"reset: {call(fd, RESET, 0)}")


def files(path):
    """Other system calls."""
    fd = os.open(path, os.O_RDWR)
    for what, attempt in (("read", lambda: os.read(fd, 16)), ("write", lambda: os.write(fd, b"x" * 16)),
                          ("seek", lambda: os.lseek(fd, 0, os.SEEK_SET)), ("map", lambda: mmap.mmap(fd, 4096)),
                          ("sync", lambda: os.fsync(fd)), ("truncate", lambda: os.ftruncate(fd, 0)),
                          ("flags", lambda: fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK))):
        try:
            print(f"{what}: {attempt()!r}")
        except OSError as error:
            print(f"{what}: {errno.errorcode[error.errno]}")
        except ValueError as error:
            print(f"{what}: {error}")
    os.close(fd)


def main():
    path = sys.argv[1]
    for mode, name in ((os.O_RDONLY, "read-only"), (os.O_RDWR, "read-write"), (os.O_WRONLY, "write-only")):
        print(f"--- {name}")
        fd = os.open(path, mode)
        table(fd, mode == os.O_RDWR)
        os.close(fd)
    files(path)


main()
