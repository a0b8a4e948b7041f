# SPDX-License-Identifier: GPL-2.0
"""The inner half of scripts/decode: decode.py CHECKOUT FILE [MODULE.ko]"""
import os
import re
import subprocess
import sys

# Lines that start a report, or belong to it besides code addresses.
HEAD = re.compile(r"BUG: |kernel BUG at|WARNING: |Oops|panicked|KASAN|KCSAN|UBSAN: |general protection fault|"
                  r"unable to handle|Kernel panic|Call Trace|RIP: 0010:|(Allocated|Freed) by task|"
                  r"(Read|Write) of size|end trace|INFO: |DMA-API: ")
# symbol+0x12/0x34 [module], or with a build id behind the module's name
PLACE = re.compile(r"([\w.$]+)\+0x([0-9a-f]+)/0x([0-9a-f]+) \[(\w+)[^]]*\]")


def run(*args):
    return subprocess.run(args, capture_output=True, text=True, check=True).stdout


class Module:
    """A .ko file: its functions, and where their code comes from."""

    def __init__(self, path):
        self.path, self.functions, self.known = path, {}, {}
        sections = {}
        for line in run("readelf", "-SW", path).splitlines():
            found = re.match(r" +\[ *(\d+)\] (\S+)", line)
            if found:
                sections[found[1]] = found[2]
        if ".debug_info" not in sections.values():
            sys.exit(f"scripts/decode: {path} has no debugging information; build it with CONFIG_DEBUG_INFO, "
                     "as make does, and don't strip it")
        for line in run("readelf", "-sW", path).splitlines():
            words = line.split()
            if len(words) == 8 and words[3] == "FUNC" and words[6] in sections:
                size = int(words[2], 0)
                self.functions.setdefault(words[7], []).append(
                    (int(words[1], 16), size, sections[words[6]]))

    def last(self, section):
        return max(f for all_of in self.functions.values() for f in all_of if f[2] == section)

    def place(self, symbol, offset, size, called):
        """Lines for a place. If the place `called` a function, its address is the instruction after the call."""
        key = (symbol, offset, size, called)
        if key not in self.known:
            self.known[key] = self.look(symbol, offset, size, called)
        return self.known[key]

    def look(self, symbol, offset, size, called):
        if symbol not in self.functions:
            return [f"{symbol} is not in {self.path}: not the module that ran?"]
        # For kallsyms a function ends at the next symbol, or at the end of the section.
        fit = [f for f in self.functions[symbol]
               if f[1] <= size and (size < f[1] + 64 or f == self.last(f[2]))]
        if not fit:
            return [f"{symbol} has another size in {self.path}: not the module that ran"]
        lines = []
        for start, _, section in fit:
            at = start + offset - (1 if called and offset else 0)
            out = run("addr2line", "-e", self.path, "-j", section, "-C", "-f", "-i", hex(at)).splitlines()
            for function, place in zip(out[::2], out[1::2]):
                place = re.sub(r" \(discriminator.*", "", place)
                here = os.path.dirname(self.path) + "/"
                place = place.removeprefix(here)
                # Shorten paths of the compiler and of the kernel.
                place = re.sub(r"^.*/(library|rust/kernel|rust/pin-init)/", r"\1/", os.path.normpath(place))
                function = function.replace("rust_nvme_demo::", "")
                if len(function) > 100:
                    function = function[:99] + "…"
                lines.append(f"{'inlined in ' if lines else ''}{function}  {place}")
        return lines


def modules(checkout, given):
    """The .ko files that there are, by the name that the kernel has for them."""
    found = {}
    for folder in (checkout + "/samples", checkout):
        for name in os.listdir(folder):
            if name.endswith(".ko"):
                found[name[:-3].replace("-", "_")] = os.path.join(folder, name)
    for path in given:
        found[os.path.basename(path)[:-3].replace("-", "_")] = path
    return found


def main():
    checkout, path, *given = sys.argv[1:]
    with open(path, encoding="utf-8", errors="replace") as f:
        text = f.read().replace("\r", "")
    if text.startswith("rust_nvme_demo core dump"):
        # A core dump is already readable.
        print(text, end="")
        return
    files, loaded, places = modules(checkout, given), {}, 0
    for line in text.splitlines():
        found = PLACE.search(line)
        if not found:
            if HEAD.search(line):
                print(line)
            continue
        symbol, offset, size, name = found[1], int(found[2], 16), int(found[3], 16), found[4]
        # Skip stale addresses on the stack.
        if "] ? " in line or "]  ? " in line:
            continue
        print(line)
        if name not in files:
            continue
        if name not in loaded:
            loaded[name] = Module(files[name])
        called = not re.search(r"RIP: | in \S+\+0x", line)
        for decoded in loaded[name].place(symbol, offset, size, called):
            print(f"        {decoded}")
        places += 1
    print(f"places in our modules: {places}")


main()
