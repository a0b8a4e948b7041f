#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# hostile.py ADDRESS QID WHAT SEED: writes invalid entries into a completion queue. The queue must
# be idle, except for the command that "stale" completes. See rings.py for what it needs.
#
#	beyond	an entry with a command identifier beyond the table, and an impossible queue head
#	again	the last entry once more
#	event	an unrequested asynchronous event, for queue 0; event:HEX is this one
#	becomes:HEX	the asynchronous event that the controller is about to report is this one
#	errors:N	N times an event of a persistent error, each after the reset that the last one led to
#	stale:N	a completion of the last command with its tag's identifier of N uses before
#	noise	random bytes in each entry, with identifiers beyond the table

import random
import struct
import sys
import time

from rings import Queue, poke

bdf, qid, what, seed = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
rng = random.Random(seed)
queue = Queue(bdf, qid)
value = queue.value
controller = f"/sys/bus/pci/drivers/rust_nvme_demo/{bdf}/controller"
# A tag has 12 bits, and no table here is that large.
BEYOND = 0x0C00


def stale(uses):
    """The identifier that the tag of the last command had so many uses before."""
    tail = value("sq_tail")
    cids = [words[0] >> 16 & 0xFFFF for words, _ in queue.entries("sq")]
    # The newest first; unused entries of the ring are zero.
    newest = [cids[(tail - 1 - back) % len(cids)] for back in range(min(len(cids) - 1, value("submitted")))]
    # A tag has 12 bits.
    same = [cid for cid in newest if (cid ^ newest[0]) & 0xFFF == 0]
    if len(same) <= uses:
        sys.exit(f"tag {newest[0] & 0xFFF} was used {len(same)} times: {newest[:20]}")
    return same[uses]


def entry(result, sq_head, cid, status, phase):
    return struct.pack("<QHHHH", result, sq_head, qid, cid, status << 1 | phase)


def of_controller(name):
    return open(f"{controller}/{name}").read().strip()


def wait(seconds, condition):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def errors(count):
    global head, phase
    for _ in range(count):
        resets, tries = of_controller("resets"), 0
        while of_controller("resets") == resets:
            tries += 1
            if tries > 40:
                sys.exit("no reset follows")
            head, phase = value("cq_head"), value("cq_phase")
            put(1, entry(0x010300, 0, 30, 0, phase_at(1)))
            # The driver finds the event behind the completion of a command, unless that was another one.
            with open(f"{controller}/rescan_controller", "w") as rescan:
                rescan.write("1")
            wait(0.5, lambda: of_controller("resets") != resets)
        if not wait(20, lambda: of_controller("state") == "live"):
            sys.exit("the reset doesn't end")


depth, head, phase = value("cq_depth"), value("cq_head"), value("cq_phase")
base = queue.completions()


def put(index, data):
    """`index` counts from the head on, round the ring."""
    poke(base + (head + index) % depth * 16, data)


def phase_at(index):
    return phase ^ (head + index >= depth)


# The controller writes its next completion at the head, so write the entry behind it.
if what == "beyond":
    put(1, entry(rng.getrandbits(64), 0xFFFF, BEYOND | rng.getrandbits(10), 0, phase_at(1)))
elif what == "again":
    low, high = queue.entry("cq", (head - 1) % depth)
    put(1, struct.pack("<QQ", low, high & ~(1 << 48) | phase_at(1) << 48))
elif what == "event":
    put(1, entry(rng.getrandbits(32), 0, 30, 0, phase_at(1)))
elif what.startswith("event:"):
    put(1, entry(int(what[6:], 16), 0, 30, 0, phase_at(1)))
elif what.startswith("becomes:"):
    # The interrupts are masked.
    if not wait(20, lambda: queue.entry("cq", head)[1] >> 48 & 1 == phase):
        sys.exit("no event")
    poke(base + 16 * head, struct.pack("<I", int(what[8:], 16)))
elif what.startswith("errors:"):
    errors(int(what[7:]))
elif what.startswith("stale:"):
    # The controller completes nothing here, so write the entry at the head.
    put(0, entry(0, 0, stale(int(what[6:])), 0, phase_at(0)))
elif what == "noise":
    for index in range(1, depth):
        cid = rng.getrandbits(16) | BEYOND
        # The driver finds the first entry in any case.
        p = rng.getrandbits(1) if index > 1 else phase_at(1)
        put(index, entry(rng.getrandbits(64), rng.getrandbits(16), cid, rng.getrandbits(15), p))
else:
    sys.exit(f"{what}?")
