# SPDX-License-Identifier: GPL-2.0
"""For scripts/check: whether the imports agree with the table of rooms in Documentation/rooms.md, and the table
with the drawing above it; that only abstractions/ depends on the architecture; and that each barrier is where the
table of orderings says."""
import collections
import pathlib
import re
import sys

TABLE = "Documentation/rooms.md"
TOPS = ("driver", "nvme/spec", "nvme/host", "abstractions")
ATOMICS = pathlib.Path("abstractions/atomic/mod.rs")
# Code that makes no room.
OTHERS = [pathlib.Path("rust_nvme_demo.rs"), pathlib.Path("Kbuild"), *pathlib.Path("nvme").glob("*.rs"),
          *(file for top in ("samples", "tools") for file in pathlib.Path(top).rglob("*.rs") if "target" not in file.parts)]
# The barriers outside the lock-free pieces. loom has only models of these places, and on amd64 no test of the whole
# driver fails without one.
BARRIER = re.compile(r"(?<!fn )\b(fence|full_barrier|dma_read_barrier|dma_release_barrier)\(\s*(?:Ordering::\w+\s*)?\)")
BARRIERS = {
    "driver/queue/mod.rs": {"dma_read_barrier": 1, "dma_release_barrier": 1},
    "driver/queue/shadow.rs": {"dma_release_barrier": 1, "full_barrier": 1},
    "abstractions/block/mq/gen_disk.rs": {"fence": 2},
    # full_barrier() itself.
    "abstractions/sync.rs": {"fence": 1},
}
OF_AN_ARCHITECTURE = re.compile(r"\btarget_arch\b|\bCONFIG_(X86|ARM64|RISCV)")
# The column of the drawing from which on a line has the descriptions.
DESCRIPTIONS = 44
DRIVER = ("views", "control", "namespaces", "life", "io", "ctrl", "queue", "trace", "params")


def rules():
    rows = re.findall(r"^\| ([a-z/]+) \| (.*?) ?\|$", pathlib.Path(TABLE).read_text(encoding="utf-8"), re.MULTILINE)
    return {room: set(re.findall(r"[a-z/]+", uses)) for room, uses in rows if room != "room"}


def drawing(table):
    """Errors: the drawing above the table has each room of it once, above the rooms that it uses."""
    block = re.search(r"^```\n(.*?)^```", pathlib.Path(TABLE).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    drawn = [(word.removesuffix("/mod.rs").rstrip("/"), number)
             for number, line in enumerate(block[1].splitlines() if block else [])
             for word in re.findall(r"[a-z][\w/.]*", line[:DESCRIPTIONS])]
    line_of, names = dict(drawn), [name for name, _ in drawn]
    for name in sorted(table.keys() | line_of.keys()):
        if name not in table:
            yield f"{TABLE}: the drawing has {name}, which the table lacks"
        elif names.count(name) != 1:
            yield f"{TABLE}: the drawing has {name} {names.count(name)} times, not once"
    for room, others in table.items():
        for other in sorted(others & line_of.keys()):
            if room in line_of and line_of[room] >= line_of[other]:
                yield f"{TABLE}: the drawing doesn't have {room} above {other}, which it uses"


def room_of(path):
    """The room of a file, or of the module path in a name."""
    match path:
        case ["driver", room, *_] if room in DRIVER:
            return room
        case ["nvme", half, *_] if half in ("spec", "host"):
            return f"nvme/{half}"
        case [("driver" | "abstractions") as top, *_]:
            return top
    return None


def names(code):
    """Each path of each use declaration and of the code, as a list of words."""
    code = re.sub(r"//[^\n]*|\"(?:\\.|[^\"\\])*\"", "", code)
    for tree in re.findall(r"\buse ([^;]*);", code):
        yield from flatten([], re.findall(r"\w+|[{},*]|::", tree))
    code = re.sub(r"\buse [^;]*;", "", code)
    # A path without a known head belongs to a module declared or imported in the file.
    for path in re.findall(r"(?<![\w:])\w+(?:::\w+)+", code):
        words = path.split("::")
        yield words if words[0] in ("crate", "super", "self") else ["crate" if words[0] == "nvme" else "here", *words]


def code(file):
    """A file without its comments."""
    return re.sub(r"//[^\n]*", "", file.read_text(encoding="utf-8"))


def sources(top):
    return sorted(file for file in pathlib.Path(top).rglob("*.rs") if "target" not in file.parts)


def flatten(prefix, tokens):
    path, paths = list(prefix), []
    while tokens:
        token = tokens.pop(0)
        if token == "{":
            paths += flatten(path, tokens)
            path = prefix
        elif token in (",", "}"):
            if path != prefix:
                paths.append(path)
            if token == "}":
                return paths
            path = list(prefix)
        elif token != "::":
            path = path + [token]
    return paths + ([path] if path != prefix else [])


def uses(file):
    """The rooms that a file names."""
    parts = list(file.with_suffix("").parts)
    if parts[-1] == "mod":
        parts.pop()
    top = parts == ["driver"]
    for name in names(file.read_text(encoding="utf-8")):
        here = list(parts)
        if name[0] == "here":
            name = ["self", *name[1:]] if top else []
        while name and name[0] in ("crate", "super", "self"):
            word = name.pop(0)
            if word == "crate":
                here = []
            elif word == "super":
                here = here[:-1]
            if not name or name[0] not in ("super", "self"):
                yield room_of(here + name)
                break


def barriers():
    """Errors: a file has other barriers than BARRIERS says."""
    for file in (file for top in TOPS for file in sources(top) if ATOMICS.parent not in file.parents):
        found, wanted = collections.Counter(BARRIER.findall(code(file))), BARRIERS.get(str(file), {})
        if found != wanted:
            yield (f"{file}: has the barriers {dict(found)}, not {wanted}, which scripts/rooms.py and the table of "
                   f"orderings in {ATOMICS} have")


def main():
    allowed, found = rules(), {}
    for file in (file for top in TOPS for file in sources(top)):
        room = room_of(file.with_suffix("").parts)
        for other in uses(file):
            if other and other != room:
                found.setdefault((room, other), file)
    errors = [f"{file}: {room} uses {other}, which {TABLE} doesn't allow"
              for (room, other), file in found.items() if other not in allowed.get(room, ())]
    errors += [f"{TABLE}: {room} doesn't use {other}"
               for room, others in allowed.items() for other in sorted(others) if (room, other) not in found]
    errors += [f"{file}: names core::sync::atomic, but only {ATOMICS} decides which atomics are used"
               for top in TOPS for file in sources(top)
               if file != ATOMICS and re.search(r"\bcore\b[^;()]*\bsync\s*::\s*atomic\b", code(file))]
    errors += [f"{file}: depends on the architecture, which only abstractions/ may"
               for file in (*(file for top in TOPS if top != "abstractions" for file in sources(top)), *OTHERS)
               if OF_AN_ARCHITECTURE.search(code(file))]
    errors += barriers()
    errors += drawing(allowed)
    for error in errors:
        print(f"error: {error}")
    sys.exit(bool(errors))


main()
