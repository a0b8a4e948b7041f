#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# amend.py ADDRESS LIMIT SECONDS CNS/NSID:OFFSET=HEX…: changes the controller's answers to Identify
# commands in the driver's buffer, before the driver reads it: writes HEX at OFFSET of the page for this
# CNS and NSID. A CNS of 0x100 and more is a log page: 0x102 is page 2. 0x200 and more is a feature that the driver
# sets: 0x20d/0:0=00 makes Host Memory Buffer succeed, which the controller has refused. Ends when each change was made
# once; after SECONDS, prints the changes that weren't made. Ends with status 3 if the driver may have read the buffer
# before, for example on a busy machine.
#
# The controller's interrupts must be masked, so that the driver finds a completion only after its
# time limit of LIMIT seconds; until then the answer stays in the buffer. After that the buffer may
# be freed. See rings.py for what this needs.

import sys
import time

from rings import Queue, poke

bdf, limit, seconds, changes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), {}
for change in sys.argv[4:]:
    where, what = change.split(":")
    changes.setdefault(tuple(int(x, 0) for x in where.split("/")), []).append(what.split("="))

admin = Queue(bdf, 0)
IDENTIFY = 0x06
GET_LOG_PAGE = 0x02
SET_FEATURES = 0x09
# What a change is of, by opcode.
KINDS = {IDENTIFY: 0, GET_LOG_PAGE: 0x100, SET_FEATURES: 0x200}


def answered():
    """Index and phase of the completion that the driver will find next, and the identifier of its command."""
    for index, ((_, high), marks) in enumerate(admin.entries("cq")):
        phase = int(marks[marks.index("head") + 1]) if "head" in marks else None
        if high >> 48 & 1 == phase:
            return index, phase, high >> 32 & 0xFFFF
    return None, None, None


def last_command():
    ring = list(admin.entries("sq"))
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
        # The answer wasn't there at the previous check.
        seen, since = words, last_look
    last_look = look
    opcode, cid = words[0] & 0xFF, words[0] >> 16 & 0xFFFF
    which = (words[5] & 0xFF | KINDS.get(opcode, 0), words[0] >> 32)
    index, phase, completed = answered()
    if opcode in KINDS and which in changes and completed == cid:
        for offset, data in changes.pop(which):
            address = words[3] + int(offset)
            if opcode == SET_FEATURES:
                # Success, in the status of the completion.
                address, data = admin.completions() + 16 * index + 14, f"{phase:02x}00"
            if since is None or time.monotonic() - since > limit / 2:
                print(f"{which}: too late")
                sys.exit(3)
            poke(address, bytes.fromhex(data))
    time.sleep(0.01)
