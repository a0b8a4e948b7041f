# SPDX-License-Identifier: GPL-2.0
"""For scripts/check: functions and files of driver/ and nvme/ that are too long, and the fields of the controller
that other files can use."""
import pathlib
import re
import sys

LINES_OF_FUNCTION = 60
LINES_OF_FILE = 600
OPEN_FIELDS = 9
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


def main():
    errors = []
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
