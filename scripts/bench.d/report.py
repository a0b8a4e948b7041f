#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What a benchmark found: report.py text|files WORK [OUT]

text prints tables for who optimises; files writes result.json, README.md and plots
to OUT. Where a guest or a cell is not to be trusted it is named, not averaged, and
the exit status is 1.
"""
import collections
import glob
import json
import math
import os
import statistics
import sys

import plot

# Student's t for 95 %, by degrees of freedom.
T = [0, 12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14,
     2.13, 2.12, 2.11, 2.10, 2.09, 2.09, 2.08, 2.07, 2.07, 2.06, 2.06, 2.06, 2.05, 2.05, 2.05, 2.04]

# Above this load of other processes (in per cent), IOPS are meaningless.
OTHERS = 10

COUNTS = ("driver_insns", "rust_kernel_insns", "kernel_insns", "other_cpus_insns", "user_insns",
          "sq", "cq", "irqs")
SPEEDS = ("iops", "p50", "p99", "p999")


class Pairs:
    """Samples of one number in pairs, a baseline's and the one compared with it."""

    def __init__(self):
        self.base, self.ours = [], []

    def add(self, base, ours):
        self.base.append(base)
        self.ours.append(ours)

    def ratio(self):
        """The geometric mean of the ratios, and its 95 % interval."""
        if not self.base or min(self.base) <= 0 or min(self.ours) <= 0:
            base, ours = sum(self.base), sum(self.ours)
            value = ours / base if base > 0 else None
            return value, value, value
        logs = [math.log(o / b) for b, o in zip(self.base, self.ours)]
        mean = statistics.fmean(logs)
        if len(logs) == 1:
            return math.exp(mean), 0.0, math.inf
        df = len(logs) - 1
        half = (T[df] if df < len(T) else 1.96 + 2.5 / df) * statistics.stdev(logs) / math.sqrt(len(logs))
        return math.exp(mean), math.exp(mean - half), math.exp(mean + half)

    def json(self):
        value, low, high = self.ratio()
        return {"c": statistics.fmean(self.base), "rust": statistics.fmean(self.ours),
                "c_median": statistics.median(self.base), "rust_median": statistics.median(self.ours),
                "samples": len(self.base), "ratio": value, "low": low,
                "high": high if high != math.inf else None}


class Cell:
    """All that is known of one cell."""

    def __init__(self):
        self.pairs = collections.defaultdict(Pairs)
        self.functions = {"c": collections.Counter(), "rust": collections.Counter()}
        self.calls = {"c": collections.Counter(), "rust": collections.Counter()}
        self.inlined = []


def slurp(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


class Results:
    """The guests' results, by group and cell."""

    def __init__(self, work):
        self.cells = collections.defaultdict(Cell)
        self.noise = collections.defaultdict(Cell)
        self.invalid = []
        self.notes = []
        self.facts = {}
        self.took = Pairs()
        self.memory, self.controllers = Pairs(), 0
        for folder in sorted(glob.glob(f"{work}/*/guest.json")):
            folder = os.path.dirname(folder)
            config = slurp(f"{folder}/guest.json")
            try:
                self.guest(folder, config)
            except (ValueError, OSError, KeyError) as reason:
                self.invalid.append(f"{config['name']}: {reason}")
        for cell in self.cells.values():
            rounds = len(cell.pairs["kernel_insns"].base) if cell.functions["c"] else 1
            for sums in (*cell.functions.values(), *cell.calls.values()):
                for key in sums:
                    sums[key] /= rounds

    def guest(self, folder, config):
        if not os.path.exists(f"{folder}/ok"):
            try:
                with open(f"{folder}/failed", encoding="utf-8") as f:
                    raise ValueError(f.read().strip().splitlines()[-1])
            except (FileNotFoundError, IndexError):
                raise ValueError("it did not run") from None
        if config["memory"]:
            needs = slurp(f"{folder}/run/memory.json")
            for base, ours in zip(needs["c"], needs["rust"]):
                self.memory.add(base, ours)
            self.controllers = len(config["drivers"])
            return
        facts = slurp(f"{folder}/run/facts.json")
        with open(f"{folder}/others", encoding="utf-8") as f:
            others = int(f.read())
        if others > OTHERS and not config["count"]:
            if os.environ.get("BUSY") != "1":
                raise ValueError(f"other work took {others} % of this machine "
                                 "(BUSY=1 takes the figures nevertheless)")
            self.notes.append(f"{config['name']}: other work took {others} % of this machine")
        for key in ("size", "queue/logical_block_size", "queue/scheduler", "queue/iostats"):
            if len({d[key] for d in facts["disks"]}) > 1:
                raise ValueError(f"the disks differ in {key}: " +
                                 ", ".join(f"{d['disk']} {d[key]}" for d in facts["disks"]))
        self.facts = {**facts, "name": config["name"]} if not self.facts else self.facts
        if config["count"]:
            samples = slurp(f"{folder}/run/summary.json")
        else:
            with open(f"{folder}/run/results.jsonl", encoding="utf-8") as f:
                samples = [json.loads(line) for line in f]
            for s in samples:
                s["iops"] = s["ios"] / s["ns"] * 1e9
                s["driver"] = config["drivers"][s["dev"]]
        same = config["drivers"] == ["c", "c"]
        if not same and not config["count"]:
            for base, ours in zip(facts["took"]["c"], facts["took"]["rust"]):
                self.took.add(base, ours)
        for cell in config["cells"]:
            mine = [s for s in samples if s["cell"] == cell["cell"]]
            if same:
                two = [[s for s in mine if s["dev"] == i] for i in (0, 1)]
            else:
                two = [[s for s in mine if s["driver"] == d] for d in ("c", "rust")]
            if {len(t) for t in two} != {config["rounds"]}:
                self.invalid.append(f"{config['name']} {cell['cell']}: "
                                    f"{len(two[0])} and {len(two[1])} samples of {config['rounds']}")
                continue
            into = (self.noise if same else self.cells)[config["group"], cell["cell"]]
            for base, ours in zip(*two):
                for key in COUNTS if config["count"] else SPEEDS:
                    into.pairs[key].add(base[key], ours[key])
                if config["count"]:
                    for s in (base, ours):
                        for *function, n, calls in s["functions"]:
                            into.functions[s["driver"]][tuple(function)] += n
                            into.calls[s["driver"]][tuple(function)] += calls
                        into.inlined = s.get("inlined", into.inlined)

def table(head, rows, out):
    """A table that is Markdown, and can be read as it is."""
    rows = [[str(x) for x in row] for row in [head, *rows]]
    widths = [max(len(r[i]) for r in rows) for i in range(len(head))]
    for number, row in enumerate(rows):
        print("| " + " | ".join(x.ljust(w) if i == 0 else x.rjust(w)
                                for i, (x, w) in enumerate(zip(row, widths))) + " |", file=out)
        if number == 0:
            print("|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":"
                                 for i, w in enumerate(widths)) + "|", file=out)
    print(file=out)


def interval(pairs, digits=3):
    value, low, high = pairs.ratio()
    if value is None:
        return "-"
    if f"{low:.{digits}f}" == f"{high:.{digits}f}":
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def both(pairs, form):
    return [form.format(statistics.median(pairs.base)), form.format(statistics.median(pairs.ours))]


def count_tables(results, out):
    rows = []
    for (group, name), cell in results.cells.items():
        p = cell.pairs
        if "driver_insns" not in p:
            continue
        rows.append([f"{group} {name}", *both(p["driver_insns"], "{:.1f}"), interval(p["driver_insns"]),
                     both(p["rust_kernel_insns"], "{:.1f}")[1],
                     *both(p["kernel_insns"], "{:.0f}"), interval(p["kernel_insns"])])
    if not rows:
        return
    print("Guest instructions per I/O (medians; ratio with its 95 % interval). Driver: all code of "
          "nvme\nand nvme_core, or of rust_nvme_demo. Out of line: what the driver calls of Rust's "
          "code in the\nkernel's image. Kernel: all of it with the driver, on the load's CPUs. With polling both are "
          "mostly\nthe waiting for the device, and no measure.\n", file=out)
    table(["cell", "driver C", "Rust", "ratio", "out of line", "kernel C", "Rust", "ratio"], rows, out)
    rows = []
    for (group, name), cell in results.cells.items():
        p = cell.pairs
        if "sq" not in p:
            continue
        mmio = Pairs()
        for i in range(len(p["sq"].base)):
            mmio.add(p["sq"].base[i] + p["cq"].base[i], p["sq"].ours[i] + p["cq"].ours[i])
        rows.append([f"{group} {name}", *both(p["sq"], "{:.4f}"), *both(p["cq"], "{:.4f}"),
                     interval(mmio), *both(p["irqs"], "{:.4f}")])
    print("Doorbell writes (SQ: submission, CQ: completion) and interrupts per I/O.\n", file=out)
    table(["cell", "SQ C", "Rust", "CQ C", "Rust", "MMIO ratio", "interrupts C", "Rust"], rows, out)


def speed_tables(results, out):
    rows = []
    for (group, name), cell in results.cells.items():
        p = cell.pairs
        if "iops" not in p:
            continue
        rows.append([f"{group} {name}", *both(p["iops"], "{:.0f}"), interval(p["iops"]),
                     *[f"{statistics.median(x) / 1000:.0f}" for x in (p["p50"].base, p["p50"].ours)],
                     *[f"{statistics.median(x) / 1000:.0f}" for x in (p["p99"].base, p["p99"].ours)],
                     interval(p["p99"]), len(p["iops"].base)])
    if rows:
        print("IOPS and latency in microseconds (medians over the samples).\n", file=out)
        table(["cell", "IOPS C", "Rust", "ratio", "p50 C", "Rust", "p99 C", "Rust", "p99 ratio",
               "samples"], rows, out)
    rows = [[f"{group} {name}", interval(cell.pairs["iops"]), interval(cell.pairs["p99"]),
             len(cell.pairs["iops"].base)] for (group, name), cell in results.noise.items()]
    if rows:
        print("The floor of the noise: C on the second device against C on the first.\n", file=out)
        table(["cell", "IOPS ratio", "p99 ratio", "samples"], rows, out)


def verdicts(results, out):
    """The marks that the driver is held to, and where they are missed."""
    lost = []
    kernel, iops = [], []
    for (group, name), cell in results.cells.items():
        p, at = cell.pairs, f"{group} {name}"
        if "driver_insns" in p:
            if "-4k-" in name and name.endswith(("-1", "-32")) and p["driver_insns"].ratio()[0] > 0.75:
                lost.append(f"{at}: driver instructions {p['driver_insns'].ratio()[0]:.3f}, wanted 0.750")
            # With polling most instructions are the wait loop, whose length varies.
            if "poll" not in group:
                kernel.append(p["kernel_insns"].ratio()[0])
            if p["kernel_insns"].ratio()[1] > 1:
                lost.append(f"{at}: kernel instructions {interval(p['kernel_insns'])}, wanted 1.000")
            mmio = [sum(getattr(p["sq"], w)) + sum(getattr(p["cq"], w)) for w in ("base", "ours")]
            want = 0.55 if name.endswith("-1") else 1.0
            if mmio[1] > mmio[0] * want * 1.001:
                lost.append(f"{at}: MMIO writes {mmio[1] / mmio[0]:.3f}, wanted {want:.2f}")
            if sum(p["irqs"].base) and p["irqs"].ratio()[1] > 1.001:
                lost.append(f"{at}: interrupts {interval(p['irqs'])}, wanted 1.000")
        if "iops" in p:
            iops.append(p["iops"].ratio()[0])
            if p["iops"].ratio()[2] < 1:
                lost.append(f"{at}: IOPS {interval(p['iops'])}, wanted 1.000")
            if p["p99"].ratio()[1] > 1:
                lost.append(f"{at}: 99th percentile of latency {interval(p['p99'])}, wanted 1.000")
    if kernel and statistics.geometric_mean(kernel) > 0.97:
        lost.append(f"all: kernel instructions {statistics.geometric_mean(kernel):.3f}, wanted 0.970 in the mean")
    if iops and statistics.geometric_mean(iops) < 1.02:
        lost.append(f"all: IOPS {statistics.geometric_mean(iops):.3f}, wanted 1.020 in the mean")
    # An event that is off costs one jump. The kernel patches the jump when the event is switched on.
    traces = [sum(n for fn, n in cell.inlined if ">::is_on " in fn and "abstractions/trace" in fn)
              for (group, _), cell in results.cells.items() if "poll" not in group and cell.inlined]
    if traces:
        print(f"Trace events that are off: at most {max(traces):.2f} instructions per I/O.\n", file=out)
        if max(traces) > 2.005:
            lost.append(f"trace events that are off: {max(traces):.2f} instructions, wanted 2.00")
    facts = results.facts
    text = facts.get("text", {})
    if {"c", "rust"} <= text.keys():
        print(f"Code of the modules: C {text['c']} bytes, Rust {text['rust']} "
              f"({text['rust'] / text['c']:.2f}).", file=out)
        if text["rust"] > text["c"]:
            lost.append(f"code of the module: {text['rust'] / text['c']:.2f}, wanted 1.00")
    for pairs, mark, form, text in (
            (results.took, "time to a disk", "{:.2f} s",
             "From modprobe nvme to a usable disk, with none of its modules loaded: {}; from insmod "
             "rust_nvme_demo.ko: {}"),
            (results.memory, "memory", "{:.0f} KiB",
             f"Memory of {results.controllers} idle controllers with their driver: C {{}}, Rust {{}}")):
        if pairs.base:
            print(f"{text.format(*both(pairs, form))} (medians of {len(pairs.base)}; {interval(pairs)}).",
                  file=out)
            if pairs.ratio()[1] > 1:
                lost.append(f"{mark}: {interval(pairs)}, wanted 1.00")
    print(file=out)
    print("Marks that were missed:" if lost else "Every mark is reached.", file=out)
    for line in lost:
        print(f"- {line}", file=out)
    print(file=out)
    return lost


def functions(results, out):
    """By function: what to look at first."""
    for (group, name), cell in results.cells.items():
        c, rust = cell.functions["c"], cell.functions["rust"]
        if not c:
            continue
        for driver, own in (("C", {"nvme", "nvme_core"}), ("Rust", {"rust_nvme_demo"})):
            print(f"=== {group} {name}: {driver}'s driver by function\n{'insns':>10}{'calls':>10}", file=out)
            calls = cell.calls["c" if driver == "C" else "rust"]
            for key, n in (c if driver == "C" else rust).most_common():
                if key[1] in own and n >= 0.05:
                    print(f"{n:10.2f}{calls[key]:10.3f}  {key[0]} [{key[1]}]", file=out)
        print(f"=== {group} {name}: rust_nvme_demo by inlined function and file", file=out)
        for fn, n in cell.inlined:
            if n >= 1:
                print(f"{n:10.2f}  {fn}", file=out)
        diff = sorted(((rust[k] - c[k], c[k], rust[k], k[0]) for k in set(c) | set(rust)
                       if k[1] not in ("nvme", "nvme_core", "rust_nvme_demo")), reverse=True)
        print(f"=== {group} {name}: the rest of the kernel where they differ by 2 or more\n"
              f"{'C':>10}{'Rust':>10}{'more':>10}", file=out)
        for more, a, b, fn in diff:
            if abs(more) >= 2:
                print(f"{a:10.2f}{b:10.2f}{more:10.2f}  {fn}", file=out)
        print(f"=== {group} {name}: the rest of the kernel, only with Rust", file=out)
        for _, a, b, fn in diff:
            if a < 0.02 * b and b >= 0.05:
                print(f"{b:10.2f}  {fn}", file=out)
        print(file=out)


def main():
    form, work = sys.argv[1:3]
    results = Results(work)
    meta = slurp(f"{work}/meta.json")
    if form == "text":
        count_tables(results, sys.stdout)
        speed_tables(results, sys.stdout)
        verdicts(results, sys.stdout)
        functions(results, sys.stdout)
    else:
        folder = sys.argv[3]
        os.makedirs(folder, exist_ok=True)
        with open(f"{folder}/README.md", "w", encoding="utf-8") as out:
            print("# Benchmark of rust_nvme_demo against the kernel's C driver\n", file=out)
            if results.invalid:
                print("**Part of this run is not valid**, and left out below:\n", file=out)
                for line in results.invalid:
                    print(f"- {line}", file=out)
                print(file=out)
            for key, value in meta.items():
                print(f"- {key}: {value}", file=out)
            for line in results.notes:
                print(f"- {line}", file=out)
            print(f"- guest: kernel {results.facts.get('kernel')}, {results.facts.get('cpus')} CPUs, clock {results.facts.get('clock')}; "
                  "null-co behind QEMU's nvme, one device for each driver\n", file=out)
            count_tables(results, out)
            speed_tables(results, out)
            lost = verdicts(results, out)
            for name, key, title in (("driver-instructions", "driver_insns", "Driver instructions per I/O"),
                                     ("kernel-instructions", "kernel_insns", "Kernel instructions per I/O"),
                                     ("iops", "iops", "IOPS")):
                data = [(f"{g} {n}", *c.pairs[key].ratio()) for (g, n), c in results.cells.items()
                        if key in c.pairs]
                if data:
                    plot.ratios(f"{folder}/{name}.svg", f"{title}, Rust to C", data)
                    print(f"![{title}, Rust to C]({name}.svg)\n", file=out)
        with open(f"{folder}/result.json", "w", encoding="utf-8") as out:
            json.dump({
                "meta": meta, "facts": results.facts, "invalid": results.invalid,
                "notes": results.notes, "missed": lost,
                "seconds to disk": results.took.json() if results.took.base else None,
                "KiB of memory": results.memory.json() if results.memory.base else None,
                **{kind: [{"group": g, "cell": n, **{k: p.json() for k, p in c.pairs.items()},
                           **({"functions": {d: [[f, m, round(x, 2)] for (f, m, _), x in fs.most_common() if x >= 1]
                                             for d, fs in c.functions.items()}} if c.functions["c"] else {})}
                          for (g, n), c in where.items()]
                   for kind, where in (("cells", results.cells), ("c against c", results.noise))},
            }, out, indent=1)
            out.write("\n")
    for line in results.notes:
        print(f"bench: note: {line}", file=sys.stderr)
    for line in results.invalid:
        print(f"bench: not valid: {line}", file=sys.stderr)
    sys.exit(1 if results.invalid or not results.cells else 0)


main()
