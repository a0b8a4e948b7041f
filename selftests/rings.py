# SPDX-License-Identifier: GPL-2.0
"""The rings of a controller, as the driver shows them, and memory that the controller would write: for programs that
play a part of a controller. poke.ko must be loaded, and the IOMMU must be off."""
import sys
from itertools import islice

CREATE_CQ = 0x05


def poke(address, data):
    """Writes DATA at a physical address."""
    with open("/sys/kernel/debug/poke", "w") as file:
        file.write(f"{address:x} {data.hex()}")


class Queue:
    def __init__(self, bdf, qid):
        self.bdf, self.qid = bdf, qid
        self.attributes = f"/sys/bus/pci/drivers/rust_nvme_demo/{bdf}/queues/{qid}"
        self.debugfs = f"/sys/kernel/debug/rust_nvme_demo-{bdf}"

    def value(self, name):
        """The value of an attribute."""
        with open(f"{self.attributes}/{name}") as file:
            return int(file.read())

    def entries(self, ring):
        """The entries of "sq" or "cq", from index 0 on: for each its quadwords, and the marks behind them."""
        words = 8 if ring == "sq" else 2
        with open(f"{self.debugfs}/queue{self.qid}/{ring}") as lines:
            for line in lines:
                _, *rest = line.split()
                yield [int(word, 16) for word in rest[:words]], rest[words:]

    def entry(self, ring, index):
        """The quadwords of an entry."""
        return next(islice(self.entries(ring), index, None))[0]

    def completions(self):
        """The address of the completion queue: for the admin queue in a register, else as it was created."""
        if self.qid == 0:
            with open(f"{self.debugfs}/registers") as lines:
                return int(dict(line.split() for line in lines)["ACQ"], 16)
        for words, _ in Queue(self.bdf, 0).entries("sq"):
            if words[0] & 0xFF == CREATE_CQ and words[5] & 0xFFFF == self.qid:
                return words[3]
        sys.exit(f"no command that created queue {self.qid}")
