#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# reservations.py DISK ADDRESS QMP: plays a controller with reservations. QEMU's controller refuses the commands. This
# program changes the refusal to another status, and writes the data that the driver then reads. It checks each command,
# its data, and what the caller gets, prints a line for each call, and fails on the first that is wrong.
#
# The caller runs on the CPU of queue 1, whose interrupts are masked until the answer is there. See rings.py for what
# this needs.

import ctypes
import errno
import os
import re
import struct
import subprocess
import sys
import threading
import time

import pr
from rings import Queue, poke

path, bdf, qmp = sys.argv[1:]
queue = Queue(bdf, 1)
value = queue.value
libc = ctypes.CDLL(None, use_errno=True)
libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]

REGISTER, REPORT, ACQUIRE, RELEASE = 0x0D, 0x0E, 0x11, 0x15
CONFLICT, DNR = 0x83, 0x4000
MINE, OTHER, LAST = 0x1122334455667788, 0x99AABBCCDDEEFF00, (1 << 64) - 1


def wait(what, condition):
    end = time.monotonic() + 20
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"no {what}")
        time.sleep(0.005)


def mask(on):
    subprocess.run(["setpci", "-s", bdf, f"CAP_MSIX+2.w={0x4000 if on else 0:x}:4000"], check=True)


def memory(at, count):
    """COUNT bytes at the physical address AT, a multiple of 8."""
    said = subprocess.run([qmp, "human-monitor-command", f'{{"command-line": "xp /{count // 8}gx {at:#x}"}}'],
                          check=True, capture_output=True, text=True).stdout
    return b"".join(struct.pack("<Q", int(word, 16)) for word in re.findall("0x[0-9a-f]{16}", said))


class Caller:
    def __init__(self):
        self.fd = os.open(path, os.O_RDWR)

    def start(self, number, argument):
        self.result = None
        self.thread = threading.Thread(target=self.run, args=(number, argument))
        self.thread.start()

    def run(self, number, argument):
        result = libc.ioctl(self.fd, number, argument)
        self.result = result if result >= 0 else errno.errorcode[ctypes.get_errno()]


class Command:
    """A command that the driver must send, and the answer."""

    def __init__(self, opcode, cdw10, cdw11=0, sends=b"", status=0, answer=b""):
        self.fields = (opcode, 1, cdw10, cdw11)
        self.sends, self.status, self.answer = sends, status, answer

    def play(self, name, at, tail, head, phase):
        wait(f"command: {name}", lambda: value("sq_tail") != tail)
        words = queue.entry("sq", tail)
        fields = (words[0] & 0xFF, words[0] >> 32, words[5] & 0xFFFFFFFF, words[5] >> 32)
        # The data are one segment: a PRP, or an SGL that is a data block.
        pointer = words[0] & 0xFF00 == 0 or words[0] & 0xFF00 == 0x4000 and words[4] >> 60 == 0
        if fields != self.fields or not pointer or words[1:3] + words[6:] != [0, 0, 0, 0]:
            sys.exit(f"{name}: sent {[hex(w) for w in words]}, expected {[hex(f) for f in self.fields]}")
        if self.sends and (sent := memory(words[3], len(self.sends))) != self.sends:
            sys.exit(f"{name}: sent {sent.hex()}, expected {self.sends.hex()}")
        wait(f"completion: {name}", lambda: queue.entry("cq", head)[1] >> 48 & 1 == phase)
        rest = self.answer
        if len(rest) > 4096 - words[3] % 4096:
            sys.exit(f"{name}: an answer of more than the first page")
        if rest:
            poke(words[3], rest)
        poke(at + 16 * head + 14, struct.pack("<H", self.status << 1 | phase))


def call(name, ioctl, argument, commands, result, gets=None):
    """Makes a call, plays the controller for COMMANDS, and compares what the caller gets."""
    buffer = ctypes.create_string_buffer(argument, len(argument))
    at, depth, cq_depth = queue.completions(), value("depth"), value("cq_depth")
    tail, head, phase = value("sq_tail"), value("cq_head"), value("cq_phase")
    mask(True)
    caller.start(pr.NUMBERS[ioctl], buffer)
    for index, command in enumerate(commands):
        command.play(name, at, tail, head, phase)
        tail, head = (tail + 1) % depth, head + 1
        if head == cq_depth:
            head, phase = 0, 1 - phase
        # The driver finds a completion without an interrupt when the command's time is up.
        if index + 1 == len(commands):
            mask(False)
    mask(False)
    caller.thread.join(20)
    if value("sq_tail") != tail:
        sys.exit(f"{name}: {(value('sq_tail') - tail) % depth} more commands than {len(commands)}")
    if caller.result != result:
        sys.exit(f"{name}: {caller.result}, expected {result}")
    if gets is not None and buffer.raw != gets:
        sys.exit(f"{name}: the caller gets {buffer.raw.hex()}, expected {gets.hex()}")
    print(f"{name}: {caller.result}")


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
    call("register", "register", pr.registration(0, MINE), [Command(REGISTER, persist, **both(0, MINE))], 0)
    call("register any", "register", pr.registration(0, MINE, 1), [Command(REGISTER, persist | 10, **both(0, MINE))], 0)
    call("replace", "register", pr.registration(MINE, OTHER), [Command(REGISTER, persist | 2, **both(MINE, OTHER))], 0)
    call("replace any", "register", pr.registration(MINE, OTHER, 1), [Command(REGISTER, persist | 10, **both(MINE, OTHER))], 0)
    call("unregister", "register", pr.registration(MINE, 0), [Command(REGISTER, persist | 1, **both(MINE, 0))], 0)
    for kind in range(1, 7):
        call(f"reserve {kind}", "reserve", pr.reservation(MINE, kind), [Command(ACQUIRE, kind << 8, **both(MINE, 0))], 0)
    call("reserve any", "reserve", pr.reservation(MINE, 1, 1), [Command(ACQUIRE, 0x108, **both(MINE, 0))], 0)
    call("release", "release", pr.reservation(MINE, 3), [Command(RELEASE, 0x300, **both(MINE))], 0)
    call("release any", "release", pr.reservation(0, 3), [Command(RELEASE, 0x308, **both(0))], 0)
    call("preempt", "preempt", pr.preemption(MINE, OTHER, 4), [Command(ACQUIRE, 0x401, **both(MINE, OTHER))], 0)
    call("preempt and abort", "preempt and abort", pr.preemption(MINE, OTHER, 5), [Command(ACQUIRE, 0x502, **both(MINE, OTHER))], 0)
    call("clear", "clear", pr.clearing(MINE), [Command(RELEASE, 1, **both(MINE))], 0)
    call("clear any", "clear", pr.clearing(0), [Command(RELEASE, 9, **both(0))], 0)


def failures():
    for name, status, result in (("conflict", CONFLICT, 0x18), ("conflict, final", CONFLICT | DNR, 0x18),
                                 ("invalid field", DNR | 2, "EINVAL"), ("attributes", 0x180, "EINVAL"),
                                 ("path", 0x302, 0x10000), ("internal error", 6, 2), ("vendor", 0x7FF, 2),
                                 ("host identifier", 0x18, 2)):
        call(name, "reserve", pr.reservation(MINE, 1), [Command(ACQUIRE, 0x100, status=status)], result)
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
    read("keys", [Command(REPORT, room(3), 1, answer=report(True, 1, 3, *three))], 3, generation, 3, all_keys)
    read("room for more", [Command(REPORT, room(9), 1, answer=report(True, 1, 3, *three))], 9, generation, 3, all_keys)
    read("room for two", [Command(REPORT, room(2), 1, answer=report(True, 1, 3, *three[:2]))], 2, generation, 3, all_keys[:2])
    read("no room", [Command(REPORT, room(0), 1, answer=report(True, 1, 3))], 0, generation, 3, ())
    read("no keys", [Command(REPORT, room(2), 1, answer=report(True, 0, 0))], 2, generation, 0, ())
    short = [Command(REPORT, room(3), 1, status=0x18 | DNR), Command(REPORT, room(3, False), 0, answer=report(False, 1, 3, *three))]
    read("host identifiers of 64 bits", short, 3, generation, 3, all_keys)
    read("conflict", [Command(REPORT, room(3), 1, status=CONFLICT)], 3, 0, 0, (), 0x18)
    read("no report", [Command(REPORT, room(3), 1, status=2)], 3, 0, 0, (), "EINVAL")
    # As many as a transfer can have.
    most = int(open(f"/sys/block/{os.path.basename(path)}/queue/max_hw_sectors_kb").read()) * 256 - 1
    cut = [Command(REPORT, most, 1, answer=report(True, 1, 3, *three))]
    read("room for more than a transfer", cut, 65535, generation, 3, all_keys)
    many = [Command(REPORT, most, 1, answer=report(True, 1, 65535, *three))]
    read("more than a transfer", many, 65535, 0, 0, (), "EINVAL")
    # More hosts than it has described.
    read("nonsense", [Command(REPORT, room(2), 1, answer=report(True, 99, 0xFFFF))], 2, generation, 0xFFFF, (0, 0))

    def held(name, commands, key, kind, result=0):
        gets = pr.held(key, generation, kind) if result == 0 else None
        call(name, "reservation", bytes(16), commands, result, gets)
    held("holder", [Command(REPORT, room(16), 1, answer=report(True, 5, 3, *three))], OTHER, 5)
    held("no holder", [Command(REPORT, room(16), 1, answer=report(True, 1, 2, (MINE, 0), (LAST, 0)))], 0, 0)
    held("nobody", [Command(REPORT, room(16), 1, answer=report(True, 0, 0))], 0, 0)
    held("unknown type", [Command(REPORT, room(16), 1, answer=report(True, 7, 1, (MINE, 1)))], 0, 0)
    held("no reservation, many hosts", [Command(REPORT, room(16), 1, answer=report(True, 0, 65535))], 0, 0)
    others = [(number, 0) for number in range(16)]
    held("many hosts", [Command(REPORT, room(16), 1, answer=report(True, 2, 20, *others)),
                        Command(REPORT, room(20), 1, answer=report(True, 2, 20, *others, *others[:3], (OTHER, 1)))], OTHER, 2)
    # As many more as the controller likes.
    grows = [Command(REPORT, room(number), 1, answer=report(True, 2, number + 1)) for number in range(16, 20)]
    held("ever more hosts", grows, 0, 0, "EINVAL")
    most_reports = [Command(REPORT, room(16), 1, answer=report(True, 2, 65535)),
                    Command(REPORT, most, 1, answer=report(True, 2, 65535))]
    held("more hosts than a transfer", most_reports, 0, 0, "EINVAL")


cpus = open(f"{queue}/cpus").read().replace("-", ",").split(",")
os.sched_setaffinity(0, {int(cpus[0])})
caller = Caller()
try:
    changes()
    failures()
    reports()
finally:
    mask(False)
