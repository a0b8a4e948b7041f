#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# reservations.py DISK ADDRESS QMP: plays a controller with reservations, see player.py.

import ctypes
import os
import struct
import sys

import player
import pr
from player import DNR

path, bdf, qmp = sys.argv[1:]
REGISTER, REPORT, ACQUIRE, RELEASE = 0x0D, 0x0E, 0x11, 0x15
CONFLICT = 0x83
MINE, OTHER, LAST = 0x1122334455667788, 0x99AABBCCDDEEFF00, (1 << 64) - 1


def command(opcode, *args, **named):
    return player.Command(opcode, 1, *args, **named)


def call(name, ioctl, *args):
    plays.call(name, pr.NUMBERS[ioctl], *args)


def keys(*numbers):
    return struct.pack(f"<{len(numbers)}Q", *numbers)


def report(extended, kind, count, *hosts, generation=0x01020304):
    """The data of a report on HOSTS, each with its key and whether it holds the reservation."""
    header = struct.pack("<IBH", generation, kind, count)
    data = header.ljust(64 if extended else 24, b"\0")
    for key, holds in hosts:
        status = struct.pack("<HB5x", 0xEEEE, 0xFE | holds)
        host = b"\xdd" * (16 if extended else 8)
        data += (status + keys(key) + host).ljust(64, b"\xcc") if extended else status + host + keys(key)
    return data


def room(count, extended=True):
    """Dword 10 of a report with room for COUNT hosts."""
    return (64 + 64 * count if extended else 24 + 24 * count) // 4 - 1


def changes():
    def both(*numbers):
        return {"sends": keys(*numbers)}
    persist = 3 << 30
    call("register", "register", pr.registration(0, MINE), [command(REGISTER, persist, **both(0, MINE))], 0)
    call("register any", "register", pr.registration(0, MINE, 1), [command(REGISTER, persist | 10, **both(0, MINE))], 0)
    call("replace", "register", pr.registration(MINE, OTHER), [command(REGISTER, persist | 2, **both(MINE, OTHER))], 0)
    call("replace any", "register", pr.registration(MINE, OTHER, 1), [command(REGISTER, persist | 10, **both(MINE, OTHER))], 0)
    call("unregister", "register", pr.registration(MINE, 0), [command(REGISTER, persist | 1, **both(MINE, 0))], 0)
    for kind in range(1, 7):
        call(f"reserve {kind}", "reserve", pr.reservation(MINE, kind), [command(ACQUIRE, kind << 8, **both(MINE, 0))], 0)
    call("reserve any", "reserve", pr.reservation(MINE, 1, 1), [command(ACQUIRE, 0x108, **both(MINE, 0))], 0)
    call("release", "release", pr.reservation(MINE, 3), [command(RELEASE, 0x300, **both(MINE))], 0)
    call("release any", "release", pr.reservation(0, 3), [command(RELEASE, 0x308, **both(0))], 0)
    call("preempt", "preempt", pr.preemption(MINE, OTHER, 4), [command(ACQUIRE, 0x401, **both(MINE, OTHER))], 0)
    call("preempt and abort", "abort", pr.preemption(MINE, OTHER, 5), [command(ACQUIRE, 0x502, **both(MINE, OTHER))], 0)
    call("clear", "clear", pr.clearing(MINE), [command(RELEASE, 1, **both(MINE))], 0)
    call("clear any", "clear", pr.clearing(0), [command(RELEASE, 9, **both(0))], 0)


def failures():
    for name, status, result in (("conflict", CONFLICT, 0x18), ("conflict, final", CONFLICT | DNR, 0x18),
                                 ("invalid field", DNR | 2, "EINVAL"), ("attributes", 0x180, "EINVAL"),
                                 ("path", 0x302, 0x10000), ("internal error", 6, 2), ("vendor", 0x7FF, 2),
                                 ("host identifier", 0x18, 2)):
        call(name, "reserve", pr.reservation(MINE, 1), [command(ACQUIRE, 0x100, status=status)], result)
    call("unknown type", "reserve", pr.reservation(MINE, 7), [], "EINVAL")
    call("no type", "preempt", pr.preemption(MINE, OTHER, 0), [], "EINVAL")


def read(name, commands, asked, generation, count, numbers, result=0):
    """Reads keys into room for ASKED, which has other numbers before."""
    into = ctypes.create_string_buffer(b"\x55" * 8 * (asked + 1), 8 * (asked + 1))
    argument = pr.keys(asked, ctypes.addressof(into))
    gets = pr.keys(count, ctypes.addressof(into), generation) if result == 0 else argument
    call(name, "keys", argument, commands, result, gets)
    if result == 0 and into.raw != keys(*numbers).ljust(8 * (asked + 1), b"\x55"):
        sys.exit(f"{name}: the keys are {into.raw.hex()}")


def reports():
    three = (MINE, 0), (OTHER, 1), (LAST, 0)
    all_keys = MINE, OTHER, LAST
    generation = 0x01020304
    read("keys", [command(REPORT, room(3), 1, answer=report(True, 1, 3, *three))], 3, generation, 3, all_keys)
    read("room for more", [command(REPORT, room(9), 1, answer=report(True, 1, 3, *three))], 9, generation, 3, all_keys)
    read("room for two", [command(REPORT, room(2), 1, answer=report(True, 1, 3, *three[:2]))], 2, generation, 3, all_keys[:2])
    read("no room", [command(REPORT, room(0), 1, answer=report(True, 1, 3))], 0, generation, 3, ())
    read("no keys", [command(REPORT, room(2), 1, answer=report(True, 0, 0))], 2, generation, 0, ())
    short = [command(REPORT, room(3), 1, status=0x18 | DNR), command(REPORT, room(3, False), 0, answer=report(False, 1, 3, *three))]
    read("host identifiers of 64 bits", short, 3, generation, 3, all_keys)
    read("conflict", [command(REPORT, room(3), 1, status=CONFLICT)], 3, 0, 0, (), 0x18)
    read("no report", [command(REPORT, room(3), 1, status=2)], 3, 0, 0, (), "EINVAL")
    # As many as a transfer can have.
    most = int(open(f"/sys/block/{os.path.basename(path)}/queue/max_hw_sectors_kb").read()) * 256 - 1
    cut = [command(REPORT, most, 1, answer=report(True, 1, 3, *three))]
    read("room for more than a transfer", cut, 65535, generation, 3, all_keys)
    many = [command(REPORT, most, 1, answer=report(True, 1, 65535, *three))]
    read("more than a transfer", many, 65535, 0, 0, (), "EINVAL")
    # More hosts than it has described.
    read("nonsense", [command(REPORT, room(2), 1, answer=report(True, 99, 0xFFFF))], 2, generation, 0xFFFF, (0, 0))

    def held(name, commands, key, kind, result=0):
        gets = pr.held(key, generation, kind) if result == 0 else None
        call(name, "reservation", bytes(16), commands, result, gets)
    held("holder", [command(REPORT, room(16), 1, answer=report(True, 5, 3, *three))], OTHER, 5)
    held("no holder", [command(REPORT, room(16), 1, answer=report(True, 1, 2, (MINE, 0), (LAST, 0)))], 0, 0)
    held("nobody", [command(REPORT, room(16), 1, answer=report(True, 0, 0))], 0, 0)
    held("unknown type", [command(REPORT, room(16), 1, answer=report(True, 7, 1, (MINE, 1)))], 0, 0)
    held("no reservation, many hosts", [command(REPORT, room(16), 1, answer=report(True, 0, 65535))], 0, 0)
    others = [(number, 0) for number in range(16)]
    held("many hosts", [command(REPORT, room(16), 1, answer=report(True, 2, 20, *others)),
                        command(REPORT, room(20), 1, answer=report(True, 2, 20, *others, *others[:3], (OTHER, 1)))], OTHER, 2)
    # As many more as the controller likes.
    grows = [command(REPORT, room(number), 1, answer=report(True, 2, number + 1)) for number in range(16, 20)]
    held("ever more hosts", grows, 0, 0, "EINVAL")
    most_reports = [command(REPORT, room(16), 1, answer=report(True, 2, 65535)),
                    command(REPORT, most, 1, answer=report(True, 2, 65535))]
    held("more hosts than a transfer", most_reports, 0, 0, "EINVAL")


plays = player.Player(path, bdf, 1, qmp)
try:
    changes()
    failures()
    reports()
finally:
    plays.mask(False)
