#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# abi.py document|files|modes|access|values DOCUMENT DRIVER: compares the ABI document with the files of all
# controllers below the driver's directory in sysfs. Prints what is wrong, and fails if anything is.

import glob
import os
import re
import stat
import sys

# The files of a disk; it has the second half only if the namespace has an identifier of this kind.
DISK = ("wwid", "csi", "nsid", "metadata_bytes", "nuse", "passthru_err_log_enabled") + (OPTIONAL := ("uuid", "nguid", "eui"))

# The files of a temperature, which only a kernel with hwmon has.
HWMON = [f"<BDF>/hwmon/<hwmon>/temp<n>_{file}" for file in ("label", "input", "max", "min", "crit", "alarm")]

what, document, driver = sys.argv[1:]
wrong = []


def entries():
    """The document's entries, each a dictionary of its fields."""
    entry, field = {}, None
    for line in open(document):
        if match := re.match(r"(What|Date|KernelVersion|Contact|Users|Description):\s*(.*)", line):
            field, text = match.groups()
            if field == "What" and entry:
                yield entry
                entry = {}
            entry[field] = text
        elif line[:1] in "\t\n" and field:
            entry[field] += "\n" + line.strip()
        else:
            wrong.append(f"not of the format: {line.rstrip()}")
    if entry:
        yield entry


documented = {}
for entry in entries():
    name = entry["What"].removeprefix("/sys/bus/pci/drivers/rust_nvme_demo/")
    if name in documented:
        wrong.append(f"{name}: twice")
    documented[name] = entry


def existing():
    """Path of each file, and its name as the document has it."""
    for bdf in sorted(os.listdir(driver)):
        if ":" not in bdf:
            continue
        # The other files there are the block layer's.
        for path in glob.glob(f"{driver}/{bdf}/rnvme/nvme*/nvme*/*"):
            if (file := os.path.basename(path)) in DISK:
                yield path, f"<BDF>/rnvme/<control>/<disk>/{file}"
        for path in glob.glob(f"{driver}/{bdf}/rnvme/nvme*/nvme*/diag/*"):
            yield path, f"<BDF>/rnvme/<control>/<disk>/diag/{os.path.basename(path)}"
        # The driver core's are not the driver's.
        for path in glob.glob(f"{driver}/{bdf}/rnvme/nvme*/*"):
            if os.path.isfile(path) and (file := os.path.basename(path)) not in ("dev", "uevent"):
                yield path, f"<BDF>/rnvme/<control>/{file}"
        for path in glob.glob(f"{driver}/{bdf}/rnvme/nvme*/diag/*"):
            yield path, f"<BDF>/rnvme/<control>/diag/{os.path.basename(path)}"
        # The other files there are the driver core's.
        for path in glob.glob(f"{driver}/{bdf}/hwmon/*/temp*"):
            yield path, re.sub(r"^temp\d+", "<BDF>/hwmon/<hwmon>/temp<n>", os.path.basename(path))
        for part in "controller", "queues":
            for path, dirs, files in os.walk(f"{driver}/{bdf}/{part}"):
                for file in files:
                    path_of = f"{path}/{file}"
                    relative = path_of.removeprefix(f"{driver}/{bdf}/")
                    yield path_of, "<BDF>/" + re.sub(r"^queues/\d+/", "queues/<qid>/", relative)


files = list(existing())
if not files or not documented:
    sys.exit("no file, or nothing documented")

if what == "document":
    for name, entry in documented.items():
        for field in "Date", "KernelVersion", "Contact", "Description":
            if not entry.get(field, "").strip():
                wrong.append(f"{name}: no {field}")
        if not re.match(r"\s*\((RO|WO|RW)\) ", entry.get("Description", "")):
            wrong.append(f"{name}: the description doesn't begin with (RO), (WO) or (RW)")
        if name not in HWMON and not re.fullmatch(r"<BDF>/(controller(/parameters)?|queues/<qid>|rnvme/<control>(/<disk>)?(/diag)?)/\w+", name):
            wrong.append(f"{name}: not a file of the driver's")
elif what == "files":
    names = {name for _, name in files}
    wrong += [f"{name}: not documented" for name in sorted(names - documented.keys())]
    optional = {f"<BDF>/rnvme/<control>/<disk>/{file}" for file in OPTIONAL}
    if not glob.glob(f"{driver}/*/hwmon"):
        optional |= set(HWMON)
    wrong += [f"{name}: documented, not there" for name in sorted(documented.keys() - names - optional)]
    # Every queue has every file.
    for queue in {os.path.dirname(path) for path, name in files if "/queues/" in name}:
        have = {name for path, name in files if os.path.dirname(path) == queue}
        wrong += [f"{queue}: no {name}" for name in documented if "<qid>" in name and name not in have]
elif what == "modes":
    modes = {"RO": 0o444, "WO": 0o200, "RW": 0o644}
    for path, name in files:
        if name in documented:
            kind = re.match(r"\s*\((\w+)\)", documented[name]["Description"])[1]
            mode = stat.S_IMODE(os.stat(path).st_mode)
            if mode != modes[kind]:
                wrong.append(f"{path}: {mode:o}, documented as {kind}")
elif what == "access":
    # Also for root.
    for path, name in files:
        kind = re.match(r"\s*\((\w+)\)", documented[name]["Description"])[1]
        for letter, flag in ("R", os.O_RDONLY), ("W", os.O_WRONLY):
            try:
                os.close(os.open(path, flag))
                possible = True
            except PermissionError:
                possible = False
            if possible != (letter in kind):
                wrong.append(f"{path}: opened for {letter}: {possible}, documented as {kind}")
elif what == "values":
    words = {
        "kind": "admin|default|read|poll",
        "vector": r"\d+|none",
        "cpus": r"(\d+(-\d+)?(,\d+(-\d+)?)*)?",
        "state": "live",
        "name": r"nvme9\d\d",
        "model": r"\S.*\S",
        "serial": r"\S(.*\S)?",
        "firmware": r"\S(.*\S)?",
        "address": r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]",
        "cntrltype": "io|reserved",
        # One name in a line, as the kernel's nvme has them.
        "quirks": r"[0-9a-z_]+(\n[0-9a-z_]+)*",
        "dctype": "none",
        "passthru_err_log_enabled": "on|off",
        "numa_node": r"-1|\d+",
        "subsysnqn": r"nqn\.\S.*",
        "transport": "pcie",
        "firmware_rev": r"\S(.*\S)?",
        "wwid": r"uuid\.[0-9a-f-]{36}|eui\.([0-9a-f]{16}){1,2}|nvme\.[0-9a-f]{4}-[0-9a-f]*-[0-9a-f]*-[0-9a-f]{8}",
        "uuid": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        "nguid": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        "eui": r"[0-9a-f]{2}( [0-9a-f]{2}){7}",
        "temp_label": "Composite|Sensor [1-8]",
        "temp_input": r"-?\d+",
        "temp_max": r"-?\d+",
        "temp_min": r"-?\d+",
        "version": r"\d+\.\d+\.\d+",
        "capabilities": "0x[0-9a-f]{16}",
        "stat": r"\d+( \d+){21}",
        "events": r"\d+( \d+){4}",
        "oldest_us": r"(\d+( \d+){,31})?",
        "latency": r"(\d+:[1-9]\d*( \d+:[1-9]\d*)*)?",
    }
    for path, name in files:
        if os.stat(path).st_mode & 0o400:
            text = open(path, "rb").read().decode("ascii")
            # All other files have a decimal number.
            pattern = words.get(re.sub(r"^temp\d+_", "temp_", os.path.basename(path)), r"0|[1-9]\d*")
            # With the padding, in the control device's directory alone.
            if "<control>" in name and name.endswith(("model", "serial", "firmware_rev")):
                pattern += " *"
            if not re.fullmatch(rf"({pattern})\n", text):
                wrong.append(f"{path}: {text!r}")

print(*wrong, sep="\n")
sys.exit(bool(wrong))
