# SPDX-License-Identifier: GPL-2.0
"""For scripts/check: functions and files of driver/ and nvme/ that are too long, and the fields of the controller
that other files can use. With --code MODULE..., stack frames of built modules that are too large, and functions
that can panic though they must not."""
import pathlib
import re
import subprocess
import sys

LINES_OF_FUNCTION = 60
LINES_OF_FILE = 600
OPEN_FIELDS = 9
# As the kernel's CONFIG_FRAME_WARN, which is for C code only. The stack has 16 KiB, for all callers together.
BYTES_OF_FRAME = 2048
# What parses the controller's values, and an I/O's path: the mangled names of these functions, with all that is inlined
# into them, but not the kernel's vectors of their types. Elsewhere the compiler keeps checks of overflow that can't fail.
CALM = re.compile(r"14rust_nvme_demo4nvme\d(?!.*6driver)|7tag_set.*6TagSet.*7NvmeOpsE(8queue_rq|9queue_rqs|10commit_rqs|8complete|4poll)"
                  r"|12abstractions3irq6handle|7NvmeOps.*10Operations(8queue_rq|4poll)$")
VECTOR = "6kernel5alloc4kvec"
FEWEST_CALM = 50
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


def code(module):
    """What is wrong with the functions of a built module."""
    text = subprocess.run(["objdump", "-dr", "--no-show-raw-insn", module], check=True, capture_output=True, text=True).stdout
    calm = 0
    for function in re.split(r"\n\n(?=[0-9a-f]+ <)", text)[1:]:
        name = re.match(r"[0-9a-f]+ <(.*)>:", function)[1]
        for frame in re.findall(r"\bsub +\$0x([0-9a-f]+),%rsp", function):
            if int(frame, 16) > BYTES_OF_FRAME:
                yield f"{module}: {name} has a stack frame of {int(frame, 16)} bytes, {BYTES_OF_FRAME} allowed"
        if CALM.search(name) and VECTOR not in name:
            calm += 1
            for panic in re.findall(r"R_X86_64_\w+\s+(\S*9panicking\S*?)-0x", function):
                yield f"{module}: {name} can panic: {panic}"
    if module.endswith("/rust_nvme_demo.ko") and calm < FEWEST_CALM:
        yield f"{module}: only {calm} functions have names of functions that must not panic: CALM is out of date"


def main():
    errors = []
    if sys.argv[1:2] == ["--code"]:
        errors = [error for module in sys.argv[2:] for error in code(module)]
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
