# SPDX-License-Identifier: GPL-2.0
"""For scripts/figures: figures.py --check|"" GUEST COMMIT DATE BENCHMARK TESTS, in the toolbox.

GUEST has the kernel's own modules, COMMIT and DATE are of now, BENCHMARK and TESTS are the numbers of
commits of the driver since the benchmark and since the last whole `make test`, if they are known.
"""
import glob
import json
import math
import os
import re
import subprocess
import sys
import tempfile

TOLERANCE = 0.02
OLDEST = 75
CELLS = (
    ("irq randread-4k-1", "random read 4 KiB, depth 1"),
    ("irq randwrite-4k-1", "random write 4 KiB, depth 1"),
    ("irq randread-4k-32", "random read 4 KiB, depth 32"),
    ("irq randwrite-4k-32", "random write 4 KiB, depth 32"),
    ("irq read-128k-32", "sequential read 128 KiB, depth 32"),
    ("irq write-128k-32", "sequential write 128 KiB, depth 32"),
    ("poll randread-4k-1", "random read 4 KiB, depth 1, polled"),
    ("passthru randread-4k-1", "random read 4 KiB, depth 1, passthrough"),
    ("passthru randread-4k-32", "random read 4 KiB, depth 32, passthrough"),
    ("iommu randread-4k-1", "random read 4 KiB, depth 1, IOMMU"),
    ("iommu randread-4k-32", "random read 4 KiB, depth 32, IOMMU"),
)


def slurp(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def text_bytes(ko):
    """The code in a module's file, packed or not; as bench.d/guest.py counts it."""
    with tempfile.NamedTemporaryFile() as plain:
        if ko.endswith(".xz"):
            subprocess.run(["xz", "-dc", ko], check=True, stdout=plain)
            ko = plain.name
        said = subprocess.run(["size", "-A", ko], check=True, capture_output=True, text=True).stdout
    return sum(int(line.split()[1]) for line in said.splitlines()
               if line.startswith((".text", ".init.text", ".exit.text")))


def kernels(guest, module):
    return glob.glob(f"{guest}/lib/modules/*/kernel/drivers/nvme/host/{module}.ko*")[0]


def mean(ratios):
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def speed(bench):
    """The table of some cells, and what all of them come to."""
    cells = {f"{c['group']} {c['cell']}": c for c in bench["cells"]}
    meta = bench["meta"]
    yield f"Measured on {meta['date']} at commit {meta['commit']}, on {meta['host']}."
    yield ""
    yield "| | driver's instructions per I/O: C | Rust | ratio | whole kernel's | doorbell writes | IOPS |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for name, title in CELLS:
        c = cells[name]
        doorbells = (c["sq"]["rust"] + c["cq"]["rust"]) / (c["sq"]["c"] + c["cq"]["c"])
        driver, kernel = c["driver_insns"], c["kernel_insns"]
        # With polling these are mostly the wait loop.
        counts = " | | | |" if name.startswith("poll ") else (
            f" {driver['c_median']:.0f} | {driver['rust_median']:.0f} | {driver['ratio']:.2f} | {kernel['ratio']:.2f} |")
        yield f"| {title} |{counts} {doorbells:.2f} | {c['iops']['ratio']:.2f} |"
    yield ""
    kernel = [c["kernel_insns"]["ratio"] for c in bench["cells"] if "poll" not in c["group"] and "kernel_insns" in c]
    timed = [c for c in bench["cells"] if "iops" in c]
    lost = sum(c["iops"]["high"] < 1 or c["p99"]["low"] > 1 for c in timed)
    yield (f"The mean ratio of the kernel's instructions is {mean(kernel):.3f} over {len(kernel)} cells (all but the polled "
           f"ones, which mostly wait), and that of IOPS {mean([c['iops']['ratio'] for c in timed]):.3f} over {len(timed)} cells. "
           f"In {lost or 'none'} of these the 95 % intervals have the C driver ahead in IOPS or latency.")
    disk, memory = bench["seconds to disk"], bench["KiB of memory"]
    if disk and memory:
        yield (f"From `insmod` to a disk this driver takes {disk['rust_median']:.2f} s, and from `modprobe nvme` the C driver "
               f"{disk['c_median']:.2f} s. Eight idle controllers need {memory['rust_median'] / 1024:.1f} MiB of memory, "
               f"with the C driver {memory['c_median'] / 1024:.1f} MiB.")


def size(text):
    yield (f"The module has {text['rust'] / 1000:.1f} KB of code, nvme and nvme_core together {text['c'] / 1000:.1f} KB: a ratio of "
           f"{text['rust'] / text['c']:.2f} ({text['date']}, commit {text['commit']}).")


def tests(sums):
    bad = sums["failed"] or "none"
    took = f" It took {sums['minutes']} minutes, with {sums['jobs']} guests at a time." if "minutes" in sums else ""
    yield (f"Of the last whole run ({sums['date']}, commit {sums['commit']}) {sums['passed']} results passed and {bad} failed; "
           f"{sums['skipped']} were skipped where a topology has nothing to test.{took}")


def matrix(rows):
    yield "| kernel | flavour | built | demo | core of the selftests | run |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def merged(old, new):
    """The rows of a run of all or some kernels, and those that it doesn't replace: a row is of the newest kernel of a
    series, a Debian release and a flavour."""
    def kind(row):
        series, release = re.match(r"(\d+\.\d+|)[^+]*(.*)", row[0]).groups()
        return row[1], series, release
    rows = {kind(row): row for row in old} | {kind(row): row for row in new}
    # As make matrix has them: the newest series first, then later releases, riscv64 last.
    order = sorted(rows, key=lambda key: key[1], reverse=True)
    order.sort(key=lambda key: (key[0] == "riscv64", key[2] > "+deb13"))
    return [rows[key] for key in order]


def render(readme, kept, bench):
    blocks = {"speed": speed(bench), "size": size(kept["text"]), "tests": tests(kept["tests"])}
    if "matrix" in kept:
        blocks["kernels"] = matrix(kept["matrix"])
    for name, lines in blocks.items():
        pattern = rf"(<!-- figures: {name} -->\n).*?(<!-- end -->)"
        if not re.search(pattern, readme, re.DOTALL):
            sys.exit(f"figures: README.md has no lines <!-- figures: {name} --> and <!-- end -->")
        text = "\n".join(lines) + "\n"
        readme = re.sub(pattern, lambda m, text=text: m[1] + text + m[2], readme, flags=re.DOTALL)
    return readme


def main():
    how, guest, commit, date, benchmark, since_tests = sys.argv[1:]
    with open("README.md", encoding="utf-8") as f:
        readme = f.read()
    kept, bench = slurp("results/figures.json"), slurp("results/bench/result.json")
    now = text_bytes("rust_nvme_demo.ko")
    stale = []
    if how == "--check":
        if render(readme, kept, bench) != readme:
            stale.append("README.md has other figures than results/figures.json and results/bench/result.json: run scripts/figures")
        was = kept["text"]["rust"]
        if abs(now / was - 1) > TOLERANCE:
            stale.append(f"the module has {now} bytes of code, README.md says {was}: run scripts/figures")
        if benchmark and int(benchmark) > OLDEST:
            stale.append(f"the benchmark in results/bench is of {benchmark} commits of the driver ago: run make bench, then scripts/figures")
        if since_tests and int(since_tests) > OLDEST:
            stale.append(f"the sum of the tests is of {since_tests} commits of the driver ago: run make test, then scripts/figures")
        for line in stale:
            print(f"error: {line}")
        sys.exit(bool(stale))
    kept["text"] = {"rust": now, "c": sum(text_bytes(kernels(guest, m)) for m in ("nvme", "nvme-core")),
                    "commit": commit, "date": date}
    if os.path.exists("results/test.json"):
        kept["tests"] = slurp("results/test.json")
    if os.path.exists("results/matrix/table.json"):
        kept["matrix"] = merged(kept.get("matrix", []), slurp("results/matrix/table.json"))
    with open("results/figures.json", "w", encoding="utf-8") as f:
        json.dump(kept, f, indent=1)
        f.write("\n")
    with open("README.md", "w", encoding="utf-8") as f:
        f.write(render(readme, kept, bench))


main()
