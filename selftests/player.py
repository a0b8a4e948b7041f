# SPDX-License-Identifier: GPL-2.0
"""Plays a controller that knows commands which QEMU's refuses: changes each refusal to another status, and writes the
data that the driver then reads. Checks each command, its data, and what the caller of an ioctl gets, prints a line for
each call, and ends the program at the first that is wrong.

The interrupts are masked until the answer is there. The caller runs on a CPU of the queue. See rings.py for what this
needs; QMP is a program that asks QEMU."""
import ctypes
import errno
import os
import re
import struct
import subprocess
import sys
import threading
import time

from rings import Queue, poke

DNR = 0x4000

libc = ctypes.CDLL(None, use_errno=True)
libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]


def wait(what, condition):
    end = time.monotonic() + 20
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"no {what}")
        time.sleep(0.005)


class Command:
    """A command that the driver must send, and the answer; `meanwhile` is called before it."""

    def __init__(self, opcode, nsid, cdw10, cdw11=0, sends=b"", status=0, answer=b"", meanwhile=None):
        self.fields = (opcode, nsid, cdw10, cdw11)
        self.sends, self.status, self.answer, self.meanwhile = sends, status, answer, meanwhile


class Player:
    def __init__(self, path, bdf, qid, qmp):
        self.fd = os.open(path, os.O_RDWR)
        self.bdf, self.queue, self.qmp = bdf, Queue(bdf, qid), qmp
        with open(f"{self.queue.attributes}/cpus") as file:
            os.sched_setaffinity(0, {int(file.read().replace("-", ",").split(",")[0])})

    def mask(self, on):
        subprocess.run(["setpci", "-s", self.bdf, f"CAP_MSIX+2.w={0x4000 if on else 0:x}:4000"], check=True)

    def memory(self, at, count):
        """COUNT bytes at the physical address AT, a multiple of 8."""
        said = subprocess.run([self.qmp, "human-monitor-command", f'{{"command-line": "xp /{count // 8}gx {at:#x}"}}'],
                              check=True, capture_output=True, text=True).stdout
        return b"".join(struct.pack("<Q", int(word, 16)) for word in re.findall("0x[0-9a-f]{16}", said))

    def play(self, name, command, at, tail, head, phase):
        queue = self.queue
        wait(f"command: {name}", lambda: queue.value("sq_tail") != tail)
        words = queue.entry("sq", tail)
        fields = (words[0] & 0xFF, words[0] >> 32, words[5] & 0xFFFFFFFF, words[5] >> 32)
        # The data are one segment: a PRP, or an SGL that is a data block.
        pointer = words[0] & 0xFF00 == 0 or words[0] & 0xFF00 == 0x4000 and words[4] >> 60 == 0
        if fields != command.fields or not pointer or words[1:3] + words[6:] != [0, 0, 0, 0]:
            sys.exit(f"{name}: sent {[hex(w) for w in words]}, expected {[hex(f) for f in command.fields]}")
        if command.sends and (sent := self.memory(words[3], len(command.sends))) != command.sends:
            sys.exit(f"{name}: sent {sent.hex()}, expected {command.sends.hex()}")
        wait(f"completion: {name}", lambda: queue.entry("cq", head)[1] >> 48 & 1 == phase)
        if len(command.answer) > 4096 - words[3] % 4096:
            sys.exit(f"{name}: an answer of more than the first page")
        if command.answer:
            poke(words[3], command.answer)
        if command.meanwhile:
            command.meanwhile()
        poke(at + 16 * head + 14, struct.pack("<H", command.status << 1 | phase))

    def run(self, number, argument):
        result = libc.ioctl(self.fd, number, argument)
        self.result = result if result >= 0 else errno.errorcode[ctypes.get_errno()]

    def call(self, name, number, argument, commands, result, gets=None):
        """Makes a call, plays the controller for COMMANDS, and compares what the caller gets."""
        buffer = ctypes.create_string_buffer(argument, len(argument))
        value = self.queue.value
        at, depth, cq_depth = self.queue.completions(), value("depth"), value("cq_depth")
        tail, head, phase = value("sq_tail"), value("cq_head"), value("cq_phase")
        self.mask(True)
        caller = threading.Thread(target=self.run, args=(number, buffer))
        self.result = None
        caller.start()
        for index, command in enumerate(commands):
            self.play(name, command, at, tail, head, phase)
            tail, head = (tail + 1) % depth, head + 1
            if head == cq_depth:
                head, phase = 0, 1 - phase
            # The driver finds a completion without an interrupt when the command's time is up.
            if index + 1 == len(commands):
                self.mask(False)
        self.mask(False)
        caller.join(20)
        if value("sq_tail") != tail:
            sys.exit(f"{name}: {(value('sq_tail') - tail) % depth} more commands than {len(commands)}")
        if self.result != result:
            sys.exit(f"{name}: {self.result}, expected {result}")
        if gets is not None and buffer.raw != gets:
            sys.exit(f"{name}: the caller gets {buffer.raw.hex()}, expected {gets.hex()}")
        print(f"{name}: {self.result}")
