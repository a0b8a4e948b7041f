# SPDX-License-Identifier: GPL-2.0
"""For scripts/check-commands: whether what the documents (*.md) name exists: each relative link with its
heading, and in code each target and variable of make, topology, test, sample and file of the checkout. And whether
the manual page and the guide have each parameter of the module, CONTRIBUTING.md each stage of make check, and the
guide's list its pages. selftests/test_guide_01.sh runs the commands for a guest."""
import fnmatch
import pathlib
import re
import sys

SKIPPED = {".git", "target", "results", "output"}
FOLDERS = {path.name for path in pathlib.Path().iterdir() if path.is_dir()} - SKIPPED


def slurp(path):
    return pathlib.Path(path).read_text(encoding="utf-8")


def stems(pattern, prefix=""):
    return {path.name.removesuffix(path.suffix).removeprefix(prefix) for path in pathlib.Path().glob(pattern)}


MAKEFILE = slurp("Makefile")
TARGETS = set(re.findall(r"[a-z][\w-]*", re.search(r"^\.PHONY:((?:.*\\\n)*.*)", MAKEFILE, re.M)[1]))
HELP = re.search(r"^define help\n(.*?)^endef", MAKEFILE, re.M | re.S)[1]
VARIABLES = set(re.findall(r"[A-Z_]{2,}|\bM\b|\bV\b|\bW\b", "".join(
    slurp(path) for path in ("Makefile", "scripts/toolbox", "scripts/test", "scripts/lib.sh", "scripts/storm", "qemu/run",
                             "scripts/sign", "scripts/build", "samples/template/Makefile"))))
KNOWN = {
    "TOPOLOGY": set(re.findall(r"^([\w-]+)\)", slurp("qemu/topologies"), re.M)),
    "NAME": stems("samples/*.rs"),
    "TESTS": stems("selftests/test_*.sh", "test_") | stems("scripts/verify.d/test_*.sh", "test_"),
}


def slug(heading):
    """The anchor of a heading, as GitHub makes it."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)|[`*]", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def split(text):
    """The text without code, and the pieces of code: blocks, fenced or indented, and spans outside of blocks, of which
    the text may wrap the lines."""
    blocks = re.findall(r"^```.*?\n(.*?)^```", text, re.M | re.S)
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    indented = r"(?<=\n\n)(?:    .*\n)+"
    blocks += re.findall(indented, text)
    text = re.sub(indented, "", text)
    return text, blocks, [span.replace("\n", " ") for span in re.findall(r"`((?:[^`\n]|\n(?!\n))+)`", text)]


def links(path, text):
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = path.parent / name if name else path
        if not file.exists():
            yield f"no {target}"
        elif anchor and slug(anchor) not in {slug(h) for h in re.findall(r"^#+ (.*)", split(slurp(file))[0], re.M)}:
            yield f"{target}: no heading of this name"


def commands(line):
    """What is wrong with the calls of make in a line of code."""
    for piece in re.split(r"[;|&`…]|^# |\s#", line):
        yield from command(piece)


def command(line):
    found = re.search(r"(?:^|[\s$(])make(?: (.*)|$)", line)
    if not found:
        return
    before, after = line[:found.start()], re.split(r"\)(?!/)", found[1] or "")[0]
    words = re.findall(r"(?:'[^']*'|\"[^\"]*\"|\S)+", after)
    for word in words:
        if re.fullmatch(r"[a-z][\w-]*", word) and "-C" not in words and word not in TARGETS:
            yield f"make has no target {word}"
    for name, value in re.findall(r"\b([A-Z_]+)=('[^']*'|\S*)", f"{before} {after}"):
        if name not in VARIABLES:
            yield f"make: nothing reads {name}="
        for word in value.strip("'").split():
            if name in KNOWN and not fnmatch.filter(KNOWN[name], word) and re.fullmatch(r"[a-z\d_*-]+", word):
                yield f"{name}={word}: there is none"


def files(line):
    """The files of the checkout that a line of code names, and that don't exist."""
    for word in re.findall(r"(?<![\w/.~-])(?:\w[\w-]*/)[\w./*-]*", line):
        word = word.rstrip(".")
        built = word.endswith(".ko") or SKIPPED & set(word.split("/"))
        if word.split("/")[0] in FOLDERS and not built and not list(pathlib.Path().glob(word.rstrip("/"))):
            yield f"no {word}"


def main():
    errors = []
    for path in sorted(pathlib.Path().rglob("*.md")):
        if SKIPPED & set(path.parts):
            continue
        text, blocks, spans = split(slurp(path))
        code = [line for block in blocks for line in block.splitlines()] + spans
        wrong = [*links(path, text), *(e for line in code for e in (*commands(line), *files(line)))]
        errors += [f"error: {path}: {e}" for e in wrong]
    for word in re.findall(r"^  ([a-z_-]+(?:, [a-z_-]+)*) ", HELP, re.M):
        errors += [f"error: Makefile: help names {w}, which is no target" for w in word.split(", ") if w not in TARGETS]
    guide = pathlib.Path("Documentation/guide")
    pages = [f"{page.name[0]}. [{re.search(r'^# [0-9]+[.] (.*)', slurp(page), re.M)[1]}]({page.name})"
             for page in sorted(guide.glob("[0-9]*.md"))]
    if re.findall(r"^[0-9]+[.] \[.*?\]\(.*?\)", slurp(guide / "README.md"), re.M) != pages:
        errors.append(f"error: {guide}/README.md doesn't list these pages in this order: {', '.join(pages)}")
    for page in guide.glob("*.md"):
        for number, name in re.findall(r"\[page ([0-9]+)\]\((.*?)-", slurp(page), re.I):
            if number != name:
                errors.append(f"error: {page}: page {number} is a link to {name}-…")
    table = "Documentation/guide/8-tests.md"
    rows = re.findall(r"^\| `([\w-]+)` \|", slurp(table), re.M)
    errors += [f"error: {table} has no row for the topology {name}" for name in sorted(KNOWN["TOPOLOGY"].difference(rows))]
    parameters = set(re.findall(r"^        (\w+): u32 \{", slurp("rust_nvme_demo.rs"), re.M))
    for page, entry in (("Documentation/man/rust_nvme_demo.4", r'^\.BR (\w+) " \('),
                        ("Documentation/guide/4-machine.md", r"^\| `(\w+)` \| \d")):
        for name in parameters.symmetric_difference(re.findall(entry, slurp(page), re.M)):
            errors.append(f"error: {page} and rust_nvme_demo.rs don't both have the parameter {name}")
    page, quirks = "Documentation/man/rust_nvme_demo.4", "nvme/host/quirks.rs"
    names = re.findall(r'^    \(Quirks::\w+, "(\w+)"\),$', slurp(quirks), re.M)
    entries = re.findall(r'0x[0-9a-f]+ " (\w+)(?:, )?"', slurp(page))
    errors += [f"error: {page} and {quirks} don't both have the quirk {name}" for name in sorted(set(names) ^ set(entries))]
    guide = "CONTRIBUTING.md"
    rows = re.findall(r"^\| ([A-Z]+(?:, [A-Z]+)*) \|", slurp(guide), re.M)
    for name in sorted(set(re.findall(r"^stage (\w+)", slurp("scripts/check"), re.M)) ^ set(", ".join(rows).split(", "))):
        errors.append(f"error: {guide} and scripts/check don't both have the stage {name}")
    print(*errors, sep="\n", end="\n" if errors else "")
    sys.exit(bool(errors))


main()
