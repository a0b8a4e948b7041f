# SPDX-License-Identifier: GPL-2.0
"""For scripts/check: functions and files of driver/ and nvme/ that are too long, and the fields of the controller
that other files can use. With --frames FILE..., the stack frames of modules that are too large."""
import pathlib
import re
import subprocess
import sys

LINES_OF_FUNCTION = 60
LINES_OF_FILE = 600
OPEN_FIELDS = 9
# As the kernel's CONFIG_FRAME_WARN, which is for C code only.
BYTES_OF_FRAME = 2048
CONTROLLER = "driver/life/mod.rs"


def functions(lines):
    """Name, first and last line of each function: rustfmt puts the closing brace below the `fn`."""
    for first, line in enumerate(lines):
        match = re.match(r"( *)(?:pub(?:\([^)]*\))? )?(?:(?:const|async|unsafe) )*(?:extern \"C\" )?fn (\w+)", line)
        if not match:
            continue
        for last in range(first, len(lines)):
            # A declaration ends with a semicolon; a function of one line with a brace.
            if lines[last] == match[1] + "}" or last == first and re.search(r"(;|\})$", line):
                yield match[2], first + 1, last + 1
                break


def frames(modules):
    """The functions of built modules whose frame is too large. The stack has 16 KiB, for all callers together."""
    for module in modules:
        code = subprocess.run(["objdump", "-d", "--no-show-raw-insn", module], check=True, capture_output=True, text=True)
        function = ""
        for line in code.stdout.splitlines():
            if line.endswith(">:"):
                function = line.split("<")[1][:-2]
            frame = re.search(r"\bsub +\$0x([0-9a-f]+),%rsp", line)
            if frame and int(frame[1], 16) > BYTES_OF_FRAME:
                yield f"{module}: {function} has a stack frame of {int(frame[1], 16)} bytes, {BYTES_OF_FRAME} allowed"


def main():
    errors = []
    if sys.argv[1:2] == ["--frames"]:
        errors += frames(sys.argv[2:])
        for error in errors:
            print(f"error: {error}")
        sys.exit(bool(errors))
    for path in sorted(path for top in ("driver", "nvme") for path in pathlib.Path(top).rglob("*.rs")):
        if "target" in path.parts or path.match("nvme/tests/*") or path.match("nvme/tests/*/*"):
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > LINES_OF_FILE:
            errors.append(f"{path}: {len(lines)} lines, {LINES_OF_FILE} allowed")
        for name, first, last in functions(lines):
            if last - first + 1 > LINES_OF_FUNCTION:
                errors.append(f"{path}:{first}: {name}() has {last - first + 1} lines, {LINES_OF_FUNCTION} allowed")
    text = pathlib.Path(CONTROLLER).read_text(encoding="utf-8")
    fields = re.search(r"^pub\(?.*struct Controller \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)[1]
    opened = re.findall(r"^    pub(?:\(\w+\))? (\w+):", fields, re.MULTILINE)
    if len(opened) > OPEN_FIELDS:
        errors.append(f"{CONTROLLER}: {len(opened)} fields of Controller are open, {OPEN_FIELDS} allowed: {', '.join(opened)}")
    for error in errors:
        print(f"error: {error}")
    sys.exit(bool(errors))


main()
