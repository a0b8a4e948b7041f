# SPDX-License-Identifier: GPL-2.0
"""For scripts/check: whether abstractions/README.md names the parts that each part needs."""
import pathlib
import re
import sys

ROOT = pathlib.Path("abstractions")
README = ROOT / "README.md"


def sources():
    return sorted(path for path in ROOT.rglob("*.rs") if path.name not in ("mod.rs", "tests.rs"))


def part_of(path):
    return path.relative_to(ROOT).with_suffix("").parts[0]


def parts():
    """Errors: the README's table of parts against the imports."""
    rows = re.findall(r"^\| (\w+) \| ([\w, ]*?) ?\| [^|]*\|$", README.read_text(encoding="utf-8"), re.MULTILINE)
    listed = {part: set(re.findall(r"\w+", needs)) for part, needs in rows if part != "part"}
    names = {part_of(path) for path in sources()}
    direct = {name: set() for name in names}
    for path in sources():
        code = re.sub(r"//[^\n]*", "", path.read_text(encoding="utf-8"))
        above = "super::" * len(path.relative_to(ROOT).parts)
        for name in names - {part_of(path)}:
            if re.search(rf"(?<![\w:])(?:{above}|crate::abstractions::)(?:\{{[^;]*?\b)?{name}\b", code):
                direct[part_of(path)].add(name)
    for part in sorted(names):
        needs, more = set(), direct[part]
        while more - needs:
            needs |= more
            more = set().union(*(direct[name] for name in needs))
        if listed.get(part) != needs - {part}:
            yield f"{README}: {part} needs {', '.join(sorted(needs - {part})) or 'no other part'}"
    for part in sorted(set(listed) - names):
        yield f"{README}: there is no part {part}"


def main():
    errors = [*parts()]
    for error in errors:
        print(f"error: {error}")
    sys.exit(bool(errors))


main()
