#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# amend.py ADDRESS LIMIT SECONDS CNS/NSID:OFFSET=HEX…: changes what the controller answers to Identify
# commands, in the driver's buffer, before the driver looks at it: in the page that Identify with
# this CNS and NSID brings, HEX from OFFSET on. Ends when each was done once; or, in SECONDS, says which
# wasn't; or with status 3 where the driver might have looked, as on a machine that was busy.
#
# The controller's interrupts have to be masked: the driver then finds a completion only when LIMIT
# seconds, its time limit, are over, and the answer lies there until then. After that the buffer is
# somebody else's memory. poke.ko has to be loaded, the IOMMU be off.

import sys
import time

bdf, limit, seconds, changes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), {}
for change in sys.argv[4:]:
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
seen, since, last_look = None, None, None
while changes:
    look = time.monotonic()
    if look > end:
        sys.exit(f"not asked for within {seconds} s: {', '.join('%#x/%d' % which for which in changes)}")
    words = last_command()
    if words != seen:
        # It wasn't there when it was looked for before.
        seen, since = words, last_look
    last_look = look
    which, cid = (words[5] & 0xFF, words[0] >> 32), words[0] >> 16 & 0xFFFF
    if words[0] & 0xFF == IDENTIFY and which in changes and answered() == cid:
        for offset, data in changes.pop(which):
            with open("/sys/kernel/debug/poke", "w") as poke:
                if since is None or time.monotonic() - since > limit / 2:
                    print(f"{which}: too late")
                    sys.exit(3)
                poke.write(f"{words[3] + int(offset):x} {data}")
                poke.flush()
    time.sleep(0.01)
