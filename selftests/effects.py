#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# effects.py CONTROL DISK ADDRESS QMP: plays a controller that executes admin commands which QEMU's doesn't know, see
# player.py: whether I/O waits for the command.

import os
import struct
import subprocess
import sys
import time

import player
from rings import Queue

control, disk, bdf, qmp = sys.argv[1:]
ADMIN = 0xC0484E41
SANITIZE, VENDOR = 0x84, 0xC1


def submitted():
    """The commands that the I/O queues have taken."""
    queues = os.listdir(f"/sys/bus/pci/drivers/rust_nvme_demo/{bdf}/queues")
    return sum(Queue(bdf, int(qid)).value("submitted") for qid in queues if qid != "0")


def play(name, opcode, cdw10, waits):
    """Reads from the disk while the controller executes the command."""
    readers = []

    def read():
        before = submitted()
        readers.append(subprocess.Popen(["dd", f"if={disk}", "of=/dev/null", "bs=4k", "count=1", "iflag=direct", "status=none"]))
        if waits:
            time.sleep(3)
            if submitted() != before:
                sys.exit(f"{name}: the disk's I/O doesn't wait")
        else:
            player.wait(f"I/O: {name}", lambda: submitted() != before)
    argument = struct.pack("=BBHIIIQQII6III", opcode, *[0] * 9, cdw10, *[0] * 7)
    plays.call(name, ADMIN, argument, [player.Command(opcode, 0, cdw10, meanwhile=read)], 0)
    if readers[0].wait(20) != 0:
        sys.exit(f"{name}: the disk's I/O fails")


plays = player.Player(control, bdf, 0, qmp)
try:
    play("vendor specific", VENDOR, 0, False)
    # Block Erase, Overwrite, Crypto Erase.
    for action in (2, 3, 4):
        play(f"sanitize {action}", SANITIZE, action, True)
finally:
    plays.mask(False)
