#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# stat.py idle|watch|time DIRECTORY [SECONDS]: the files stat and latency of the controller whose driver
# directory is DIRECTORY. Prints what is wrong, and fails if anything is.
#
#   idle    nothing is in flight: the values equal those of the single files, of debugfs and of the sums
#   watch   while commands run and the controller is reset: counts only grow, and the values of a
#           line are consistent
#   time    prints how long it takes to read all of them

import os
import re
import sys
import time

what, base = sys.argv[1:3]

FIELDS = """submitted completed inflight reads writes flushes discards write_zeroes admin_commands
    bytes_read bytes_written errors retries stray_completions interrupts idle_interrupts polls
    sq_doorbells cq_doorbells timed time_ns latency_max_ns""".split()
EVENTS = "timeouts lost_interrupts aborts resets async_events".split()
KINDS = "reads writes flushes discards write_zeroes admin_commands".split()
AT_MOST = (("completed", "submitted"), ("retries", "errors"), ("idle_interrupts", "interrupts"),
           ("sq_doorbells", "submitted"), ("cq_doorbells", "completed"))

wrong = []
qids = sorted(map(int, os.listdir(f"{base}/queues")))


def text(path):
    with open(f"{base}/{path}") as file:
        return file.read()


def stat(line):
    return dict(zip(FIELDS, map(int, line.split()), strict=True))


def latency(line):
    buckets = [tuple(map(int, word.split(":"))) for word in line.split()]
    if buckets != sorted(dict(buckets).items()) or any(not n for _, n in buckets):
        wrong.append(f"not in order: {line}")
    return dict(buckets)


def same(name, a, b):
    if a != b:
        wrong.append(f"{name}: {a} and {b}")


def possible(name, s):
    """What is true of each line."""
    for small, large in AT_MOST:
        if s[small] > s[large]:
            wrong.append(f"{name}: {small} {s[small]} is more than {large} {s[large]}")
    same(f"{name}: inflight", s["inflight"], s["submitted"] - s["completed"])
    same(f"{name}: kinds", s["submitted"], sum(s[kind] for kind in KINDS))


def idle():
    total, times = dict.fromkeys(FIELDS, 0), {}
    debug = f"/sys/kernel/debug/rust_nvme_demo-{os.path.basename(base)}"
    for qid in qids:
        s, l = stat(text(f"queues/{qid}/stat")), latency(text(f"queues/{qid}/latency"))
        possible(f"queue {qid}", s)
        for name in FIELDS:
            if name not in ("timed", "time_ns"):
                same(f"queue {qid}: {name}", int(text(f"queues/{qid}/{name}")), s[name])
            total[name] = max(total[name], s[name]) if name == "latency_max_ns" else total[name] + s[name]
        same(f"queue {qid}: timed", sum(l.values()), s["timed"])
        mean = s["time_ns"] // s["timed"] if s["timed"] else 0
        same(f"queue {qid}: mean", int(text(f"queues/{qid}/latency_mean_ns")), mean)
        with open(f"{debug}/queue{qid}/latency") as file:
            lines = [tuple(map(int, line.split())) for line in file]
        same(f"queue {qid}: latency", {to: n for _, to, n in lines}, l)
        for bound, n in l.items():
            times[bound] = times.get(bound, 0) + n
    same("controller/stat", total, stat(text("controller/stat")))
    same("controller/latency", times, latency(text("controller/latency")))
    same("controller/events", [int(text(f"controller/{name}")) for name in EVENTS],
         list(map(int, text("controller/events").split())))


def watch(seconds):
    end, rounds, seen, times, resets = time.monotonic() + seconds, 0, {}, {}, 0
    # With many queues a round takes long.
    while (time.monotonic() < end or rounds < 10 and time.monotonic() < end + 60) and not wrong:
        for where in ["controller"] + [f"queues/{qid}" for qid in qids]:
            s, l = stat(text(f"{where}/stat")), latency(text(f"{where}/latency"))
            possible(where, s)
            for name, old in seen.get(where, {}).items():
                if name != "inflight" and s[name] < old:
                    wrong.append(f"{where}: {name} went from {old} to {s[name]}")
            for bound, old in times.get(where, {}).items():
                if l.get(bound, 0) < old:
                    wrong.append(f"{where}: bucket {bound} went from {old} to {l.get(bound, 0)}")
            seen[where], times[where] = s, l
        events = list(map(int, text("controller/events").split()))
        if events[1] > events[0]:
            wrong.append(f"events {events}")
        if events[3] == resets and text("controller/state") == "live\n":
            with open(f"{base}/controller/reset_controller", "w") as file:
                file.write("1")
        resets = events[3]
        rounds += 1
    print(f"{rounds} rounds, {resets} resets, {seen['controller']['completed']} commands")
    if rounds < 10 or resets < 2 or seen["controller"]["completed"] < 100:
        wrong.append("too little to say anything")


def measure():
    files = [f"{base}/queues/{qid}/{name}" for qid in qids for name in ("stat", "latency")]
    fds = [os.open(path, os.O_RDONLY) for path in files]
    took = []
    for _ in range(20):
        start = time.perf_counter()
        for fd in fds:
            os.pread(fd, 4096, 0)
        took.append(time.perf_counter() - start)
    took.sort()
    print(f"{len(qids)} queues: {len(files)} files in {took[0] * 1000:.2f} ms, median {took[10] * 1000:.2f} ms")
    if len(files) > 2 * len(qids):
        wrong.append("too many files")


if what == "idle":
    idle()
elif what == "watch":
    watch(int(sys.argv[3]))
else:
    measure()
print(*wrong[:20], sep="\n", end="\n" if wrong else "")
sys.exit(bool(wrong))
