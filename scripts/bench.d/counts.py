# SPDX-License-Identifier: GPL-2.0
"""Reads what a counting guest left in its folder: symbols, counts, trace."""
import bisect
import collections
import glob
import json
import os
import re
import subprocess

MODULES = {"c": {"nvme", "nvme_core"}, "rust": {"rust_nvme_demo"}}
KERNEL = "vmlinux"


def shorten(name):
    """A demangled name in a form that fits into a table."""
    name = re.sub(r"\[[0-9a-f]+\]", "", name)
    return re.sub(r"\b(?:rust_nvme_demo|kernel)::", "", name)


def demangle(names):
    mangled = [n for n in names if n.startswith("_R")]
    out = subprocess.run(["c++filt", "--format=rust"], input="\n".join(mangled) + "\n",
                         capture_output=True, text=True, check=True).stdout.splitlines()
    return dict(zip(mangled, map(shorten, out)))


class Symbols:
    """Functions by address, of the kernel and its modules."""

    def __init__(self, folder):
        found = {}
        with open(f"{folder}/kallsyms", encoding="utf-8") as f:
            for line in f:
                word = line.split()
                addr = int(word[0], 16)
                if word[1] not in "tTwW" or addr < 1 << 63 or word[2].startswith("__pfx_"):
                    continue
                module = word[3][1:-1] if len(word) > 3 else KERNEL
                found.setdefault(addr, (module, []))[1].append(word[2])
        self.addrs = sorted(found)
        self.names = [found[a] for a in self.addrs]
        self.cache = {}

    def of(self, addr):
        """Name and module of the function at an address, whether Rust made it; and
        whether the address is its first."""
        i = bisect.bisect_right(self.addrs, addr) - 1
        if i not in self.cache:
            module, names = self.names[i]
            name = re.sub(r"\.cold$", "", demangle(names[:1]).get(names[0], names[0]))
            # The linker merges functions with identical code.
            if len(names) > 2:
                name += f" (or {len(names) - 1} other names of this code)"
            rust = names[0].startswith(("_R", "rust_helper_"))
            self.cache[i] = (name, module, rust)
        return self.cache[i], self.addrs[i] == addr


class Section:
    """What was executed between one pair of marks, per I/O."""

    def __init__(self, folder, number, symbols, driver, result):
        self.cell, self.driver, self.ios = result["cell"], driver, result["ios"]
        self.irqs = result["irqs"] / self.ios
        self.jobs = result["jobs"]
        self.sq = self.cq = self.user = self.others = 0
        self.insns = {}
        # On all CPUs, and on the load's CPUs; with two jobs these are all CPUs.
        self.functions = collections.Counter()
        self.own = collections.Counter()
        self.calls = collections.Counter()
        with open(f"{folder}/counts.{number}", encoding="utf-8") as f:
            for line in f:
                addr, every, own = line.split()
                every, own = int(every) / self.ios, int(own) / self.ios
                if addr == "full":
                    raise ValueError("the plugin ran out of counters")
                if addr == "user":
                    self.user = own
                    continue
                addr = int(addr, 16)
                function, first = symbols.of(addr)
                if first:
                    self.calls[function] += every
                if function[1] in MODULES["rust"]:
                    self.insns[addr] = every
                self.functions[function] += every
                self.own[function] += own if self.jobs == 1 else every
        if not self.in_driver():
            raise ValueError(f"nothing was counted in the {driver} driver")

    def in_driver(self):
        """Instructions in the driver's own modules."""
        return sum(n for (_, m, _), n in self.functions.items() if m in MODULES[self.driver])

    def in_rust_kernel(self):
        """In the kernel's image, but only for Rust: what C has inline in its modules."""
        return sum(n for (_, m, rust), n in self.functions.items() if m == KERNEL and rust)

    def in_kernel(self):
        """In the whole kernel, with the modules, on the load's CPUs."""
        return sum(self.own.values())

    def in_others(self):
        """The same on the other CPUs: mostly what has nothing to do with the load."""
        return sum(self.functions.values()) - sum(self.own.values())


def doorbells(folder):
    """Submission and completion doorbell writes in each section, from QEMU's trace."""
    out, now = [], None
    with open(f"{folder}/trace", encoding="utf-8", errors="replace") as f:
        for line in f:
            if line.startswith("bench: begin"):
                now = [0, 0]
            elif line.startswith("bench: end"):
                out.append(now)
                now = None
            elif now is not None and "pci_nvme_mmio_doorbell_sq" in line:
                now[0] += 1
            elif now is not None and "pci_nvme_mmio_doorbell_cq" in line:
                now[1] += 1
    return out


def load(folder, drivers):
    """The sections of one guest, in their order."""
    symbols = Symbols(folder)
    bells = doorbells(folder)
    with open(f"{folder}/results.jsonl", encoding="utf-8") as f:
        for number, line in enumerate(f):
            result = json.loads(line)
            section = Section(folder, number, symbols, drivers[result["dev"]], result)
            section.sq, section.cq = (n / section.ios for n in bells[number])
            yield section


def inlined(folder, section, ko):
    """Instructions of our module by the function they were inlined from, and its file."""
    bases = {}
    with open(f"{folder}/sections.rust", encoding="utf-8") as f:
        for line in f:
            part, addr = line.split()
            bases[part] = int(addr, 16)
    text = bases[".text"]
    end = min((b for b in bases.values() if b > text), default=text + (1 << 20))
    addrs = sorted(a for a in section.insns if text <= a < end)
    out = subprocess.run(["addr2line", "-j", ".text", "-a", "-i", "-f", "-C", "-e", ko],
                         input="".join(f"{a - text:x}\n" for a in addrs),
                         capture_output=True, text=True, check=True).stdout
    by = collections.Counter()
    lines = iter(out.splitlines())
    addr = None
    for line in lines:
        if re.fullmatch("0x[0-9a-f]+", line):
            addr, innermost = int(line, 16) + text, True
            continue
        place = next(lines)
        if innermost:
            place = re.sub(r"(:\d+|:\?)( .*)?$", "", place)
            place = re.sub(r"^.*/(?=(?:driver|nvme|abstractions|rust/kernel|library)/)", "", place)
            by[f"{shorten(line)}  {place}"] += section.insns[addr]
            innermost = False
    return by


def reduce(folder, drivers, ko):
    """What the reports need of a counting guest, as JSON; removes the rest."""
    out, seen = [], set()
    for s in load(folder, drivers):
        one = {"cell": s.cell, "driver": s.driver, "ios": s.ios, "driver_insns": s.in_driver(),
               "rust_kernel_insns": s.in_rust_kernel(), "kernel_insns": s.in_kernel(),
               "other_cpus_insns": s.in_others(), "user_insns": s.user,
               "sq": s.sq, "cq": s.cq, "irqs": s.irqs,
               "functions": [[*function, n, s.calls[function]] for function, n in
                             s.functions.most_common() if n >= 0.005]}
        if s.driver == "rust" and s.cell not in seen:
            seen.add(s.cell)
            one["inlined"] = inlined(folder, s, ko).most_common()
        out.append(one)
    with open(f"{folder}/summary.json", "w", encoding="utf-8") as f:
        json.dump(out, f)
    for name in glob.glob(f"{folder}/counts.*") + [f"{folder}/kallsyms", f"{folder}/trace"]:
        os.remove(name)
