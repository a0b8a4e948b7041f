#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# terminal.py PROGRAM RECORDING: runs rnvme-top on a pseudo-terminal, and looks at what becomes of the terminal:
# keys, another size, no size, signals, temperatures, and a device that vanishes. Prints what is wrong, and fails then.

import fcntl
import json
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

program, recording = sys.argv[1:]
wrong = []
ENTER, LEAVE, SHOW = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"


class Run:
    def __init__(self, *words, rows=24, columns=80, **variables):
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        environment = {"TERM": "xterm-256color", "PATH": os.environ.get("PATH", ""), **variables}
        self.process = subprocess.Popen([program, *words], stdin=slave, stdout=slave, stderr=subprocess.PIPE,
                                        env=environment, start_new_session=True)
        self.output = b""

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds=0.1):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.master], [], [], left)[0]:
                self.output += os.read(self.master, 65536)

    def until(self, what, seconds=20):
        end = time.monotonic() + seconds
        while what not in self.output and time.monotonic() < end and self.process.poll() is None:
            self.read()
        return what in self.output

    def type(self, keys):
        os.write(self.master, keys)
        self.read(0.3)

    def end(self, name, code):
        end = time.monotonic() + 20
        while self.process.poll() is None and time.monotonic() < end:
            self.read()
        self.read()
        if self.process.poll() is None:
            self.process.kill()
            wrong.append(f"{name}: does not end")
        error = self.process.stderr.read().decode()
        if self.process.wait() != code:
            wrong.append(f"{name}: exit status {self.process.returncode}, not {code}: {error}")
        if "panicked" in error or error.count("\n") > 1:
            wrong.append(f"{name}: {error}")
        if termios.tcgetattr(self.slave) != self.before:
            wrong.append(f"{name}: the terminal is not as it was")
        if ENTER in self.output and not (self.output.rfind(LEAVE) > self.output.rfind(ENTER) and SHOW in self.output):
            wrong.append(f"{name}: the screen or the cursor was not restored")
        os.close(self.master)
        os.close(self.slave)
        return error


def check(name, condition):
    if not condition:
        wrong.append(name)


run = Run("replay", "--speed", "50", recording)
check("the table appears", run.until(b"nvme900q1") and run.until(b"latency over time"))
for keys in (b"h", b"\x1b", b"\x1b[B", b"\r", b"\x1b", b"/rn", b"\r", b"r", b">", b"i", b"a", b"f", b"+", b"\xff\xfe"):
    run.type(keys)
run.resize(3, 10)
run.process.send_signal(signal.SIGWINCH)
check("a small terminal", run.until(b"small"))
run.resize(60, 200)
run.process.send_signal(signal.SIGWINCH)
run.type(b"q")
run.end("q", 0)

run = Run("replay", recording)
check("it starts", run.until(b"rnvme-top"))
run.type(b"\x03")
run.end("Ctrl-C", 0)
for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
    run = Run("replay", recording)
    run.until(b"rnvme-top")
    run.read(0.3)
    run.process.send_signal(number)
    run.end(f"signal {number}", 0)

for words, variables in ((["--no-color"], {}), ([], {"NO_COLOR": "1"})):
    run = Run("replay", "--speed", "50", *words, recording, **variables)
    run.until(b"nvme900q1")
    run.type(b"q")
    run.end("no colours", 0)
    check("no colours", b"\x1b[38;" not in run.output and b"\x1b[48;" not in run.output)

run = Run("replay", recording, rows=0, columns=0)
check("no size", "size" in run.end("no size", 1))

# A device that vanishes while it is watched.
with tempfile.TemporaryDirectory() as root:
    base = f"{root}/bus/pci/drivers/rust_nvme_demo/0000:01:00.0"
    files = {"controller/name": "nvme900", "controller/model": "M", "controller/serial": "S", "controller/firmware": "1",
             "controller/state": "live", "controller/events": "0 0 0 0 0", "controller/io_queues": "1",
             "controller/smart_warnings": "7", "hwmon/hwmon5/temp1_input": "49850", "hwmon/hwmon5/temp1_max": "49850"}
    for qid in 0, 1:
        files |= {f"queues/{qid}/{name}": value for name, value in (
            ("kind", "default"), ("depth", "8"), ("vector", "1"), ("cpus", "0"), ("stat", " ".join(["5"] * 22)), ("latency", "1023:5"))}
    for name, value in files.items():
        os.makedirs(os.path.dirname(f"{base}/{name}"), exist_ok=True)
        with open(f"{base}/{name}", "w") as file:
            file.write(value + "\n")
    def output(*words):
        return subprocess.run([program, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout

    def controller(line):
        return json.loads(line)["controllers"][0]

    check("a temperature in the text", "live 49.9°C! (M, S)" in output("--sysfs", root, "--once"))
    check("a temperature in JSON", controller(output("--sysfs", root, "--once", "--json"))["temperature_celsius"] == 49.85)
    metrics = output("--sysfs", root, "--prometheus")
    check("a temperature in the metrics", 'rnvme_temperature_celsius{controller="nvme900",address="0000:01:00.0"} 49.85\n' in metrics)
    output("--sysfs", root, "--interval", "0.1", "--count", "2", "record", f"{root}/warm")
    replayed = [controller(line) for line in output("replay", "--json", f"{root}/warm").splitlines()]
    check("a recorded temperature", [(c["temperature_celsius"], c["smart_warnings_total"]) for c in replayed] == [(49.85, 7)] * 2)
    run = Run("--sysfs", root, "--interval", "0.1")
    check("a live view", run.until(b"nvme900q1") and run.until("49.9°C!".encode()) and run.until(b"SMART"))
    shutil.rmtree(base)
    check("a device that went", run.until(b"waiting"))
    run.type(b"q")
    run.end("a device that went", 0)

    def code(*words):
        done = subprocess.run([program, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        lines = done.stderr.splitlines()
        if done.returncode and len(lines) != 1 and done.returncode != 2:
            wrong.append(f"{words}: not one line: {done.stderr}")
        return done.returncode

    # What can't be is one line, and an exit status.
    check("no driver", code("--sysfs", f"{root}/nothing", "--once") == 3)
    check("no controller", code("--sysfs", root, "--once") == 3)
    check("no controller to record", code("--sysfs", root, "record", f"{root}/new") == 3 and not os.path.exists(f"{root}/new"))
    check("no terminal", code("replay", recording) == 1)
    check("usage", code("--nonsense") == 2 and code("--interval", "0") == 2)
    check("no file", code("replay", "--once", f"{root}/none") == 1)
    check("no recording", code("replay", "--once", program) == 4)
    with open(recording) as file:
        text = file.read()
    with open(f"{root}/cut", "w") as file:
        file.write(text[:-100])
    done = subprocess.run([program, "replay", "--once", f"{root}/cut"], capture_output=True, text=True)
    check("a recording cut short", done.returncode == 0 and "cut short" in done.stderr and "nvme900q1" in done.stdout)
    with open(f"{root}/next", "w") as file:
        file.write(text.replace("recording 1", "recording 3", 1))
    check("a recording of another version", code("replay", "--once", f"{root}/next") == 4)
    check("standard output that is full", subprocess.run(
        [program, "replay", "--once", recording], stdout=open("/dev/full", "w"), stderr=subprocess.PIPE).returncode == 1)
    head = subprocess.run(f"'{program}' replay --json '{recording}' | head -n 1 | wc -l", shell=True, capture_output=True, text=True)
    check("a reader that has had enough", head.stdout.strip() == "1" and not head.stderr)

print(*wrong, sep="\n", end="\n" if wrong else "")
print(f"terminal.py: {len(wrong)} wrong")
sys.exit(bool(wrong))
