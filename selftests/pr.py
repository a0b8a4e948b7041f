# SPDX-License-Identifier: GPL-2.0
"""The arguments of the ioctls for persistent reservations (linux/pr.h)."""
import struct

# The numbers, by the name that the programs here print.
NUMBERS = {"register": 0x401870C8, "reserve": 0x401070C9, "release": 0x401070CA, "preempt": 0x401870CB,
           "abort": 0x401870CC, "clear": 0x401070CD, "keys": 0xC01070CE, "reservation": 0x801070CF}


def registration(old, new, flags=0):
    return struct.pack("=QQII", old, new, flags, 0)


def reservation(key, kind, flags=0):
    return struct.pack("=QII", key, kind, flags)


def preemption(old, new, kind, flags=0):
    return struct.pack("=QQII", old, new, kind, flags)


def clearing(key, flags=0):
    return struct.pack("=QII", key, flags, 0)


def held(key, generation, kind):
    return struct.pack("=QII", key, generation, kind)


def keys(count, address, generation=0):
    return struct.pack("=IIQ", generation, count, address)
