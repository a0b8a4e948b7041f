#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The benchmark's part in the guest: guest.py GUEST.JSON LOAD KO

Binds each controller to its driver, runs the load cell by cell, and writes
results.jsonl, facts.json and, for counts, the symbols to $RUN.
"""
import glob
import json
import os
import random
import subprocess
import sys
import time

RUN = os.environ["RUN"]
# All modules of a driver, dependent modules first.
LOADED = {"c": ("nvme", "nvme_core", "nvme_auth", "nvme_keyring"), "rust": ("rust_nvme_demo",)}
MODULE = {driver: modules[0] for driver, modules in LOADED.items()}


def fail(text):
    print(f"bench: {text}", file=sys.stderr)
    sys.exit(1)


def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def output(*cmd):
    done = subprocess.run(cmd, check=False, capture_output=True, text=True)
    if done.returncode:
        fail(f"{' '.join(cmd)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def controllers():
    return [path for path in sorted(glob.glob("/sys/bus/pci/devices/*"))
            if read(path + "/class").startswith("0x0108")]


def disk_of(pci):
    """The block device of a controller, once it can be used."""
    for block in glob.glob("/sys/class/block/*"):
        if (os.path.realpath(block).startswith(os.path.realpath(pci) + "/")
                and read(block + "/size").strip() != "0"
                and os.path.exists("/dev/" + os.path.basename(block))):
            return block
    return None


def unload(driver):
    for module in LOADED[driver]:
        for _ in range(100):
            if not os.path.exists(f"/sys/module/{module}/initstate"):
                break
            # A program that inspects the new disk holds the module.
            if subprocess.run(["rmmod", module], check=False, capture_output=True).returncode:
                time.sleep(0.05)


def load(driver, ko, pcis, params):
    """Loads a driver's modules; returns the seconds until the controllers' disks can be used."""
    start = time.monotonic()
    output(*(["modprobe", "nvme"] if driver == "c" else ["insmod", ko]),
           *[f"{k}={v}" for k, v in params.items()])
    while not all(disk_of(p) for p in pcis):
        if time.monotonic() - start > 20:
            fail(f"no disk from {MODULE[driver]} after 20 s")
        time.sleep(0.001)
    return time.monotonic() - start


def bind(pcis, drivers, ko, params, loads):
    """Loads the modules, LOADS times; returns the disks, and the seconds from load to disk."""
    for pci, driver in zip(pcis, drivers):
        write(pci + "/driver_override", MODULE[driver])
    took = {driver: [] for driver in sorted(set(drivers))}
    for _ in range(loads):
        for driver in random.sample(sorted(took), len(took)):
            unload(driver)
            took[driver].append(load(driver, ko, [p for p, d in zip(pcis, drivers) if d == driver], params))
    return [disk_of(p) for p in pcis], took


def used():
    """The memory in use, in KiB, without user space's and what the kernel can take back."""
    write("/proc/sys/vm/drop_caches", "3")
    info = {line.split(":")[0]: int(line.split()[1]) for line in read("/proc/meminfo").splitlines()}
    # Pages in the per-CPU lists are free, too.
    kept = sum(4 * int(line.split()[1]) for line in read("/proc/zoneinfo").splitlines()
               if line.split()[:1] == ["count:"])
    return info["MemTotal"] - kept - sum(info[k] for k in (
        "MemFree", "Cached", "Buffers", "SReclaimable", "AnonPages", "PageTables", "KernelStack"))


def memory(pcis, ko, params, loads):
    """What all controllers and their driver need when idle, in KiB."""
    needs = {"c": [], "rust": []}
    for _ in range(loads):
        for driver in random.sample(sorted(needs), len(needs)):
            for pci in pcis:
                write(pci + "/driver_override", MODULE[driver])
            time.sleep(0.5)
            before = used()
            load(driver, ko, pcis, params)
            time.sleep(0.5)
            needs[driver].append(used() - before)
            unload(driver)
    return needs


def text_bytes(ko):
    """The code in a module's file, whatever it is packed with."""
    for end, tool in ((".xz", "xz"), (".zst", "zstd"), (".gz", "gzip")):
        if ko.endswith(end):
            with open("/dev/shm/bench.ko", "wb") as f:
                subprocess.run([tool, "-dc", ko], check=True, stdout=f)
            ko = "/dev/shm/bench.ko"
    return sum(int(line.split()[1]) for line in output("size", "-A", ko).splitlines()
               if line.startswith((".text", ".init.text", ".exit.text")))


def facts(config, pcis, disks, ko, took):
    text = {}
    if "c" in config["drivers"]:
        text["c"] = sum(text_bytes(output("modinfo", "-n", m).strip()) for m in ("nvme", "nvme_core"))
    if "rust" in config["drivers"]:
        text["rust"] = text_bytes(ko)
    return {
        "kernel": read("/proc/sys/kernel/osrelease").strip(),
        # Without the parameters that contain host paths.
        "command line": " ".join(w for w in read("/proc/cmdline").split() if "/" not in w),
        "clock": read("/sys/devices/system/clocksource/clocksource0/current_clocksource").strip(),
        "cpus": os.cpu_count(), "took": took, "text": text,
        "disks": [{
            "driver": driver, "disk": os.path.basename(disk), "pci": os.path.basename(pci),
            "vectors": len(os.listdir(pci + "/msi_irqs")),
            "queues": len(glob.glob(disk + "/mq/*")),
            **{k: read(f"{disk}/{k}").strip() if os.path.exists(f"{disk}/{k}") else "none" for k in (
                "size", "queue/logical_block_size", "queue/scheduler", "queue/iostats",
                "queue/nr_requests", "queue/write_cache", "queue/max_sectors_kb",
                "queue/io_poll", "queue/wbt_lat_usec")},
        } for driver, pci, disk in zip(config["drivers"], pcis, disks)]}


def fio(cell, seconds, device):
    """The same load by fio, and its own figures, as load prints them."""
    job = json.loads(output(
        "fio", "--name=bench", f"--filename={device}", "--ioengine=io_uring", "--direct=1",
        f"--rw={cell['rw']}", f"--bs={cell['bs']}", f"--iodepth={cell['depth']}",
        f"--iodepth_batch_submit={cell['depth']}", f"--iodepth_batch_complete_max={cell['depth']}",
        "--time_based", f"--runtime={int(seconds * 1000)}ms", "--ramp_time=200ms", "--cpus_allowed=1", "--thread",
        "--norandommap", "--random_generator=tausworthe64", "--output-format=json"))["jobs"][0]
    side = job["write" if "write" in cell["rw"] else "read"]
    part = side["clat_ns"]["percentile"]
    return {"ios": side["total_ios"], "ns": side["total_ios"] / side["iops"] * 1e9,
            "p50": part["50.000000"], "p99": part["99.000000"], "p999": part["99.900000"]}


def main():
    config_file, load, ko = sys.argv[1:]
    config = json.loads(read(config_file))
    pcis = controllers()
    if len(pcis) != len(config["drivers"]):
        fail(f"{len(pcis)} controllers for {len(config['drivers'])} drivers")
    if config["memory"]:
        write(RUN + "/memory.json", json.dumps(memory(pcis, ko, config["params"], config["loads"])))
        return
    disks, took = bind(pcis, config["drivers"], ko, config["params"], config["loads"])
    for disk in disks:
        write(disk + "/queue/scheduler", "none")
    write(RUN + "/facts.json", json.dumps(facts(config, pcis, disks, ko, took)))
    if config["count"]:
        write(RUN + "/kallsyms", read("/proc/kallsyms"))
        for driver in set(config["drivers"]):
            write(f"{RUN}/sections.{driver}", "".join(
                f"{os.path.basename(s)} {read(s)}" for s in
                glob.glob(f"/sys/module/{MODULE[driver]}/sections/.*text*")))
    irqs = "/".join(",".join(os.listdir(pci + "/msi_irqs")) for pci in pcis)
    devices = ["/dev/" + os.path.basename(disk) for disk in disks]

    with open(RUN + "/results.jsonl", "w", encoding="utf-8") as out:
        for cell in config["cells"]:
            for _ in range(config["rounds"] if config["fio"] else 0):
                for dev in random.sample(range(len(devices)), len(devices)):
                    out.write(json.dumps({"cell": cell["cell"], "dev": dev,
                                          **fio(cell, config["seconds"], devices[dev])}) + "\n")
            if config["fio"]:
                continue
            for line in output(load, *cell["args"], "-i", irqs, "-r", str(config["seed"]),
                               *devices).splitlines():
                out.write(json.dumps({"cell": cell["cell"], **json.loads(line)}) + "\n")
            out.flush()


main()
