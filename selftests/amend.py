#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# amend.py ADDRESS SECONDS CNS/NSID:OFFSET=HEX…: changes what the controller answers to Identify
# commands, in the driver's buffer, before the driver looks at it: in the page that Identify with
# this CNS and NSID brings, HEX from OFFSET on. Ends when each was done once, or says which wasn't; with
# status 3 where the driver may have looked before that, as it may on a slow machine.
#
# The controller's interrupts have to be masked: the driver then finds a completion only when its time
# limit is over, and the answer lies there until then. poke.ko has to be loaded, the IOMMU be off.

import sys
import time

bdf, seconds, changes = sys.argv[1], int(sys.argv[2]), {}
for change in sys.argv[3:]:
    where, what = change.split(":")
    changes.setdefault(tuple(int(x, 0) for x in where.split("/")), []).append(what.split("="))

debugfs = f"/sys/kernel/debug/rust_nvme_demo-{bdf}/queue0"
IDENTIFY = 0x06


def entries(name):
    """The entries of a ring, each with its index, its words, and the marks behind it."""
    words = 8 if name == "sq" else 2
    for line in open(f"{debugfs}/{name}"):
        index, *rest = line.split()
        yield int(index), [int(word, 16) for word in rest[:words]], rest[words:]


def answered():
    """The identifier of the command whose completion is the next that the driver will find."""
    for _, (_, high), marks in entries("cq"):
        if "head" in marks and high >> 48 & 1 == int(marks[marks.index("head") + 1]):
            return high >> 32 & 0xFFFF
    return None


def last_command():
    ring = [(words, marks) for _, words, marks in entries("sq")]
    tail = next(i for i, (_, marks) in enumerate(ring) if "tail" in marks)
    return ring[tail - 1][0]


print("looking", flush=True)
end = time.monotonic() + seconds
while changes:
    if time.monotonic() > end:
        sys.exit(f"not asked for within {seconds} s: {', '.join('%#x/%d' % which for which in changes)}")
    words = last_command()
    which = (words[5] & 0xFF, words[0] >> 32)
    cid = words[0] >> 16 & 0xFFFF
    if words[0] & 0xFF == IDENTIFY and which in changes and answered() == cid:
        for offset, data in changes.pop(which):
            with open("/sys/kernel/debug/poke", "w") as poke:
                poke.write(f"{words[3] + int(offset):x} {data}")
        if answered() != cid:
            print(f"{which}: too late")
            sys.exit(3)
    time.sleep(0.01)
