#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# waits.py start | stop LEAST: checks that no reset or time-out handler of a controller makes an allocation
# that may wait. Between start and stop the kernel traces these allocations and all work items. stop prints
# how often each work item ran, and fails if one of them allocated, or if there were fewer than LEAST
# resets.

import os
import re
import sys

TRACE = "/sys/kernel/tracing"
INSTANCE = f"{TRACE}/instances/waits"
DIRECT_RECLAIM = 0x400  # ___GFP_DIRECT_RECLAIM
MEMORY = ("kmem/kmalloc", "kmem/kmem_cache_alloc", "kmem/mm_page_alloc")
WORK = ("workqueue/workqueue_queue_work", "workqueue/workqueue_execute_start",
        "workqueue/workqueue_execute_end")


def put(path, text):
    with open(f"{INSTANCE}/{path}", "w", encoding="ascii") as f:
        f.write(text)


def start():
    if not os.path.exists(f"{TRACE}/instances"):
        os.system(f"mount -t tracefs tracefs {TRACE}")
    if os.path.exists(INSTANCE):
        os.rmdir(INSTANCE)
    os.mkdir(INSTANCE)
    put("buffer_size_kb", "8192")
    for event in MEMORY:
        put(f"events/{event}/filter", f"gfp_flags & {DIRECT_RECLAIM:#x}")
    for event in MEMORY + WORK:
        put(f"events/{event}/enable", "1")


def stop(least):
    put("tracing_on", "0")
    with open(f"{INSTANCE}/trace", encoding="ascii", errors="replace") as f:
        lines = f.readlines()
    os.rmdir(INSTANCE)

    works, inside, ran, asked = {}, {}, {"reset": 0, "time-out": 0}, []
    for line in lines:
        match = re.match(r".*-(\d+) +\[\d+\] \S+ +[\d.]+: (\w+): (.*)", line)
        if not match:
            continue
        pid, event, text = match.groups()
        if event == "workqueue_queue_work":
            work, function, queue = re.match(r"work struct=(\S+) function=(\S+).* workqueue=(\S+)", text).groups()
            if queue.startswith("nvme9") and queue.endswith("-reset"):
                works[work] = "reset"
            elif function.startswith("blk_mq_timeout_work"):
                works[work] = "time-out"
        elif event == "workqueue_execute_start":
            what = works.get(text.split()[2].rstrip(":"))
            if what:
                inside[pid] = what
                ran[what] += 1
        elif event == "workqueue_execute_end":
            inside.pop(pid, None)
        elif pid in inside:
            asked.append(f"{inside[pid]}: {event}: {text}")
    print(", ".join(f"{count} {what}s" for what, count in ran.items()))
    if asked:
        print(f"{len(asked)} requests for memory that wait:", *asked[:20], sep="\n")
    if asked or ran["reset"] < least:
        sys.exit(1)


if sys.argv[1] == "start":
    start()
else:
    stop(int(sys.argv[2]))
