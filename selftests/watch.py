#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# watch.py SECONDS DIRECTORY: reads the statistics of the controller whose driver directory is
# DIRECTORY repeatedly, and fails with a line that names an impossible value.

import os
import sys
import time

seconds, base = int(sys.argv[1]), sys.argv[2]

COUNTERS = """submitted completed reads writes flushes discards write_zeroes admin_commands
    bytes_read bytes_written errors retries stray_completions interrupts idle_interrupts
    sq_doorbells cq_doorbells latency_max_ns""".split()


class Queue:
    def __init__(self, qid):
        self.qid, self.seen, self.reads = qid, {}, 0
        path = f"{base}/queues/{qid}"
        self.fds = {name: os.open(f"{path}/{name}", os.O_RDONLY) for name in os.listdir(path)}
        self.entries = {name: self.get(depth) for name, depth in (
            ("sq_tail", "depth"), ("sq_head", "depth"), ("cq_head", "cq_depth"))}

    def get(self, name):
        self.reads += 1
        return int(os.pread(self.fds[name], 4096, 0))

    def fail(self, text):
        sys.exit(f"queue {self.qid}: {text}")

    def grows(self, name):
        value = self.get(name)
        if value < self.seen.get(name, 0):
            self.fail(f"{name} went from {self.seen[name]} to {value}")
        self.seen[name] = value
        return value

    def at_most(self, small, large):
        """`small`, read first, is never more than `large`."""
        a = self.grows(small)
        b = self.grows(large)
        if a > b:
            self.fail(f"{small} was {a}, and then {large} {b}")

    def look(self):
        self.at_most("completed", "submitted")
        self.at_most("sq_doorbells", "submitted")
        self.at_most("cq_doorbells", "completed")
        self.at_most("idle_interrupts", "interrupts")
        for kind in "reads", "writes", "flushes", "discards", "write_zeroes", "admin_commands":
            self.at_most(kind, "submitted")
        inflight = self.get("inflight")
        if not 0 <= inflight < self.entries["sq_tail"]:
            self.fail(f"inflight is {inflight}")
        for name, entries in self.entries.items():
            if not 0 <= (value := self.get(name)) < entries:
                self.fail(f"{name} is {value}, with {entries} entries")
        if self.get("cq_phase") not in (0, 1):
            self.fail("cq_phase is neither 0 nor 1")
        p99 = self.get("latency_p99_ns")
        if p99 > (most := self.get("latency_max_ns")):
            self.fail(f"latency_p99_ns was {p99}, and then latency_max_ns {most}")
        for name in COUNTERS:
            self.grows(name)


queues = [Queue(qid) for qid in sorted(map(int, os.listdir(f"{base}/queues")))]
start = [dict(q.seen) for q in queues if not q.look()]
before = sum(q.seen["completed"] for q in queues)
end = time.monotonic() + seconds
rounds = 0
while time.monotonic() < end:
    for queue in queues:
        queue.look()
    rounds += 1
done = sum(q.seen["completed"] for q in queues) - before
print(f"{rounds} rounds, {sum(q.reads for q in queues)} reads, {done} commands meanwhile")
if rounds < 10 or done < 100:
    sys.exit("too little to say anything")
