#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
#
# uevents.py NAME…: prints the kernel's change uevents of the devices NAME, such as a PCI address, until
# it is killed: a line for each uevent, with the driver's variables. uevents.py --below NAME: all uevents of the device
# NAME and of those below it: a line for each, with its action and its device, too.

import os
import socket
import sys

NETLINK_KOBJECT_UEVENT = 15

events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_KOBJECT_UEVENT)
events.bind((os.getpid(), 1))
print("listening", flush=True)
while True:
    head, *variables = events.recv(65536).decode().split("\0")
    own = [v for v in variables if v.startswith(("RNVME=", "STATE=", "NVME_AEN=", "NVME_EVENT=", "RESIZE="))]
    if sys.argv[1] == "--below":
        action, path = head.split("@", 1)
        if sys.argv[2] in path.split("/"):
            print(action, path.split("/")[-1], *own, flush=True)
    elif head.startswith("change@") and head.endswith(tuple("/" + name for name in sys.argv[1:])):
        print(*own, flush=True)
