#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# opal.py DISK ADDRESS QMP: plays a controller whose disks encrypt themselves, see player.py: the messages of the ioctls
# for Opal, as far as they are carried, in both directions.
# opal.py discovery: prints the answer to Level 0 Discovery as hexadecimal digits.
# opal.py DISK status: prints the flags of the status, or the error's name.
# opal.py DISK save: has the disk's first range unlocked after a sleep.

import errno
import fcntl
import os
import struct
import sys

SEND, RECEIVE = 0x81, 0x82
DNR = 0x4000
SAVE, STATUS, GEOMETRY, DISCOVERY, STACK_RESET = 0x411870DC, 0x800870EC, 0x802070EE, 0x401070EF, 0x70F6
# The kernel's messages have this length.
LENGTH = 2048
COMID = 0x07FE
SUPPORTED, CAN_LOCK, LOCKING, LOCKED, MBR_DONE = 1, 2, 4, 8, 32


def discovery(*, sync=1, locking=0x27, comid=True, length=None):
    """An answer to Level 0 Discovery: what can be locked, and the geometry."""
    def feature(code, data):
        return struct.pack(">HBB", code, 0x10, len(data)) + data
    features = (feature(1, struct.pack(">B11x", sync)) + feature(2, struct.pack(">B11x", locking)) +
                feature(3, struct.pack(">B7xIQQ", 1, 512, 8, 3)))
    if comid:
        features += feature(0x203, struct.pack(">HH12x", COMID, 1))
    total = 48 + len(features) if length is None else length
    return struct.pack(">II40x", total, 1) + features


def play(path, bdf, qmp):
    # A guest that sleeps hasn't the modules that these need.
    global ctypes, player, plays
    import ctypes
    import player

    plays = player.Player(path, bdf, 0, qmp)
    try:
        discoveries()
        resets()
    finally:
        plays.mask(False)


def command(opcode, protocol, specific, **named):
    return player.Command(opcode, 0, protocol << 24 | specific << 8, LENGTH, **named)


def discovers(**named):
    return command(RECEIVE, 1, 1, **named)


def status(flags):
    return struct.pack("=II", flags, 0)


def discoveries():
    def of(name, result, **named):
        plays.call(f"status: {name}", STATUS, bytes(8), [discovers(**named)], 0, status(result))
    of("all", SUPPORTED | CAN_LOCK | LOCKING | LOCKED | MBR_DONE, answer=discovery())
    of("unlocked", SUPPORTED | CAN_LOCK | LOCKING, answer=discovery(locking=3))
    of("refused", 0, status=DNR | 1)
    of("not synchronous", 0, answer=discovery(sync=0))
    of("no communication", 0, answer=discovery(comid=False))
    of("longer than the message", 0, answer=discovery(length=LENGTH))
    of("endless", 0, answer=discovery(length=0xFFFF_FFFF))
    of("nothing", 0, answer=bytes(LENGTH))
    geometry = struct.pack("@B3xIQQ3x5x", 1, 512, 8, 3)
    plays.call("geometry", GEOMETRY, bytes(32), [discovers(answer=discovery())], 0, geometry)
    data = discovery()
    into = ctypes.create_string_buffer(4096)
    argument = struct.pack("=QQ", ctypes.addressof(into), 4096)
    plays.call("discovery", DISCOVERY, argument, [discovers(answer=data)], len(data))
    if into.raw != data.ljust(4096, b"\0"):
        sys.exit(f"discovery: the caller gets {into.raw.hex()}")
    plays.call("discovery, refused", DISCOVERY, argument, [discovers(status=DNR | 2)], DNR | 2)


def resets():
    """The protocol of resets has a message in each direction."""
    def of(name, result, answer=b"", **named):
        sent = struct.pack(">HHI", COMID, 0, 2).ljust(LENGTH, b"\0")
        second = [command(RECEIVE, 2, COMID, answer=answer)] if answer else []
        # The driver has asked for the number of the protocol.
        plays.call("status", STATUS, bytes(8), [discovers(answer=discovery())], 0)
        plays.call(f"reset: {name}", STACK_RESET, bytes(8), [command(SEND, 2, COMID, sends=sent, **named)] + second, result)
    of("done", 0, struct.pack(">HHI2xHI", COMID, 0, 2, 4, 0))
    of("failed", "EIO", struct.pack(">HHI2xHI", COMID, 0, 2, 4, 1))
    of("pending", "EBUSY", struct.pack(">HHI2xHI", COMID, 0, 2, 0, 0))
    of("refused", DNR | 2, status=DNR | 2)


if sys.argv[1] == "discovery":
    print(discovery().hex())
elif sys.argv[2] == "status":
    buffer = bytearray(8)
    try:
        fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), STATUS, buffer)
        print(struct.unpack("=II", buffer)[0])
    except OSError as error:
        print(errno.errorcode[error.errno])
elif sys.argv[2] == "save":
    # struct opal_lock_unlock: a session of Admin1 with a key, read and write unlocked.
    fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), SAVE,
                struct.pack("=IIBBB5x256sIHH", 0, 0, 0, 1, 0, b"k", 2, 0, 0))
else:
    play(*sys.argv[1:])
