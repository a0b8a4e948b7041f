#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Which guests a benchmark needs: plan.py HOW WORK RUST_PARAMETERS ONLY COUNTS

Makes a folder in WORK for each guest, in the order to run them, with guest.json
(for guest.py), qemu (more arguments for QEMU), append (kernel parameters) and
seconds (that it may take). RUST_PARAMETERS are the names of those that our module
has: a group that needs another one is left out, with a line that says so. ONLY is
a regular expression for the cells; COUNTS leaves out IOPS.

HOW     counts: boots x rounds   speed: boots x passes x seconds
quick        1 x 12                   none            two depths of 4 KiB
daily        1 x 8                    2 x 4 x 0.5     the basic group
full         2 x 20                   4 x 5 x 0.5     all groups, and C against C
try          1 x 2                    1 x 2 x 0.2     the same: to see that it runs

Rounds are short: what disturbs one driver then disturbs the other one too. First come all
counts, then one boot of each group after the other, so that a run which is cut short
has something of everything.
"""
import json
import os
import re
import sys

HOW = {"quick": (1, 12, 0, 0, 0), "daily": (1, 8, 2, 4, 0.5), "full": (2, 20, 4, 5, 0.5),
       "try": (1, 2, 1, 2, 0.2)}
# The devices' slots must not affect the result: they change from boot to boot.
ORDERS = (["c", "rust"], ["rust", "c"])


def cell(rw, size, depth, *more, ios=3840, suffix=""):
    args = ["-d", str(depth), "-b", str(size), *more]
    if "write" in rw:
        args.append("-w")
    if not rw.startswith("rand"):
        args.append("-s")
    unit = f"{size // 1024}k" if size >= 1024 else str(size)
    return {"cell": f"{rw}-{unit}{suffix}-{depth}", "ios": 1000 if depth == 1 else ios,
            "args": args, "rw": rw, "bs": size, "depth": depth}


def each(rws, size, depths, *more, **named):
    return [cell(rw, size, depth, *more, **named) for rw in rws for depth in depths]


RANDOM, LINEAR = ("randread", "randwrite"), ("read", "write")
SHORT = each(RANDOM, 4096, (1, 32))
LARGE = each(LINEAR, 131072, (32,), ios=1280)
# Similar cells have the same noise.
NOISE = SHORT + LARGE
# The cells, a parameter that our module needs, and parameters of both modules
GROUPS = {
    "irq": (each(RANDOM, 4096, (1, 8, 32, 128)) + each(RANDOM, 512, (32,)) + LARGE +
            each(RANDOM, 4096, (32,), "-j", "2", suffix="-2jobs"), None, {}),
    "poll": (each(RANDOM, 4096, (1, 32), "-p"), "poll_queues", {"poll_queues": "2"}),
    # Passthrough commands by io_uring, without and with registered buffers.
    "passthru": (each(("randread",), 4096, (1, 32), "-u") +
                 each(("randread",), 4096, (1, 32), "-u", "-f", suffix="-fixed"), None, {}),
    "passthru-poll": (each(("randread",), 4096, (1, 32), "-u", "-p") +
                      each(("randread",), 4096, (1, 32), "-u", "-f", "-p", suffix="-fixed"),
                      "poll_queues", {"poll_queues": "2"}),
    "iommu": (SHORT + LARGE, None, {}),
    # IOPS and latency, which are easy to reproduce, without counts.
    "fio": (SHORT, None, {}),
}


class Plan:
    """The guests so far."""

    def __init__(self, work):
        self.work, self.number = work, 0

    def add(self, name, group, drivers, cells, key, rounds):
        _, _, params = GROUPS[group]
        self.number += 1
        folder = f"{self.work}/{self.number:02}-{name}"
        os.makedirs(folder)
        config = {"name": name, "group": group, "drivers": drivers, "params": params,
                  "count": key == "n", "fio": group == "fio", "rounds": rounds,
                  "seconds": key, "seed": self.number, "cells": [],
                  # A counting guest is slow, and two instances of the same driver can't be
                  # distinguished.
                  "loads": 1 if key == "n" or len(set(drivers)) == 1 else 6,
                  # A guest for the memory measurement runs no load.
                  "memory": not cells}
        seconds = 100
        for c in cells:
            amount = c["ios"] if key == "n" else key
            config["cells"].append({**c, "args": [
                *c["args"], "-n" if key == "n" else "-t", str(amount), "-k", str(rounds)]})
            # Other processes may use the machine.
            each_round = 2 if key == "n" else 3 * key + (5 if group == "fio" else 0)
            seconds += len(drivers) * rounds * each_round + 10
        qemu = []
        if group == "iommu":
            # Before the controllers, because otherwise they bypass the IOMMU.
            qemu += ["-device", "intel-iommu,intremap=on"]
        for i in range(len(drivers)):
            qemu += ["-blockdev", f"driver=null-co,node-name=null{i},size={64 << 30},read-zeroes=off",
                     "-device", f"nvme,id=nvme{i},serial=bench-{i},drive=null{i},addr={16 + i:x}.0"]
        # Use the TSC as on real machines, not a port of the chip set. On a busy host the
        # kernel's check of its timer interrupt can fail.
        append = "intel_iommu=on iommu.passthrough=0" if group == "iommu" else ""
        for name_, text in (("guest.json", json.dumps(config)), ("qemu", " ".join(qemu)),
                            ("append", append), ("seconds", str(int(seconds))),
                            ("count", "1" if key == "n" else "")):
            with open(f"{folder}/{name_}", "w", encoding="utf-8") as f:
                f.write(text)


def main():
    how, work, has, only, counts = sys.argv[1:]
    count_boots, count_rounds, boots, passes, seconds = HOW[how]
    if counts:
        boots = 0
    plan = Plan(work)
    wanted = {}
    for group, (cells, needs, _) in GROUPS.items():
        if how == "quick":
            cells = SHORT if group == "irq" else []
        elif how == "daily" and group != "irq":
            cells = []
        cells = [c for c in cells if re.search(only, f"{group}:{c['cell']}")]
        if needs and cells and needs not in has.split(","):
            print(f"left out: group {group}, as rust_nvme_demo has no parameter {needs}")
        elif cells:
            wanted[group] = cells
    # The counts first: they matter most, and depend least on the machine.
    for group, cells in wanted.items():
        for boot in range(count_boots if group != "fio" else 0):
            plan.add(f"{group}-count{boot}", group, ORDERS[boot % 2], cells, "n", count_rounds)
    if boots and "irq" in wanted:
        plan.add("memory", "irq", ["c", "rust"] * 4, [], seconds, passes)
    for boot in range(boots):
        for group, cells in wanted.items():
            plan.add(f"{group}-speed{boot}", group, ORDERS[boot % 2], cells, seconds, passes)
            noise = [c for c in cells if c in NOISE]
            if how in ("full", "try") and group == "irq" and noise:
                plan.add(f"{group}-noise{boot}", group, ["c", "c"], noise, seconds, passes)


main()
