#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# perfcount.py SYSTEM:EVENT COMMAND…: runs COMMAND, and prints how often perf counted the trace event
# meanwhile, on all CPUs: `perf stat -a -e SYSTEM:EVENT`, without perf.

import ctypes
import os
import struct
import subprocess
import sys

PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}[os.uname().machine]
PERF_TYPE_TRACEPOINT = 2
SIZE = 64  # PERF_ATTR_SIZE_VER0

event, *command = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
with open(f"/sys/kernel/tracing/events/{event.replace(':', '/')}/id") as file:
    number = int(file.read())
# struct perf_event_attr: type, size, config; the rest is 0.
attr = struct.pack("=IIQ", PERF_TYPE_TRACEPOINT, SIZE, number).ljust(SIZE, b"\0")

counters = []
for cpu in range(os.cpu_count()):
    fd = libc.syscall(PERF_EVENT_OPEN, attr, -1, cpu, -1, 0)
    if fd < 0:
        sys.exit(f"perf_event_open: {os.strerror(ctypes.get_errno())}")
    counters.append(fd)
subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(sum(int.from_bytes(os.read(fd, 8), sys.byteorder) for fd in counters))
