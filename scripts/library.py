# SPDX-License-Identifier: GPL-2.0
"""Checks abstractions/ as a library, and makes a module of the examples in its doc comments.

library.py              for scripts/check: README.md names the parts that each part needs, and each public
                        item; an example names each public item, an example that runs executes something,
                        and each proof stands by itself.
library.py --module DIR writes to DIR the module rust_examples, in which each example is a function. With
                        KUnit, those that can run without hardware are tests.

An example is a code block of a doc comment: with ``` it runs, with ```no_run it is only compiled. It is the
body of a function that returns a Result. The function gets `dev`, a bound device; if it isn't run, it also
gets `pdev`, a PCI device that is being probed. The prelude and `abstractions` are imported. The hidden lines of
an example can call the macros of abstractions/tests/examples.rs.
"""
import os
import pathlib
import re
import sys

ROOT = pathlib.Path("abstractions")
README = ROOT / "README.md"
MACROS = ROOT / "tests/examples.rs"

ITEM = re.compile(r"\s*pub (?:(?:const|unsafe) )*(fn|struct|enum|union|trait|type|const|static) (?!fn\b)(\w+)")
OWNER = re.compile(r"(?:pub )?(?:unsafe )?(?:impl(?:<[^{]*?>)? (?:[\w:]+(?:<[^{]*?>)? for )?|trait )(\w+)")

# In an example: comments and strings; and items and calls of the macros of MACROS, whose brackets are empty.
NO_CODE = re.compile(r'//[^\n]*|"(?:\\.|[^"\\])*"')
ITEMS = re.compile(r"#\[\]|\bpub(?:\(\))? |(?<!')\b(?:use|static|const|type)\b(?! (?:unsafe )?fn\b)[^;]*;"
                   r"|(?:\bconst )?(?:\bunsafe )?\b(?:fn|struct|enum|trait|impl)\b[^;{]*(?:;|\{\})"
                   r"|(?:\w+::)*(?:macro_rules|pci_device_table|register|trace_event)!(?: \w+)?\s*(?:\(\);|\{\})"
                   r"|(?:\blet \w+(?:: [^=;]*)? = )?\bmy_\w+!\(\);")


def sources():
    """All files but the root and the tests."""
    return sorted(path for path in ROOT.rglob("*.rs")
                  if path not in (ROOT / "mod.rs", ROOT / "tests.rs") and not {"tests", "target"} & set(path.parts))


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


class Example:
    """A code block: its place, the type that it documents, and its lines."""

    def __init__(self, path, line, owner, runs):
        self.path, self.line, self.owner, self.runs, self.lines = path, line, owner, runs, []

    @property
    def name(self):
        place = "_".join(self.path.relative_to(ROOT).with_suffix("").parts).removesuffix("_mod")
        return f"{place}_{self.line}"

    @property
    def code(self):
        return "\n".join(self.lines)

    @property
    def executes(self):
        """Whether there is more than comments, items and calls of the macros of MACROS."""
        depth, outer = 0, ""
        for char in NO_CODE.sub("", self.code):
            depth -= char in ")]}"
            outer += char if depth == 0 else ""
            depth += char in "([{"
        return bool(ITEMS.sub("", outer).strip())


def read(path):
    """The public items (place, kind, name, owner, whether documented) and the examples of a file."""
    items, examples, owner, in_trait = [], [], None, False
    example, waiting, hidden, documented = None, [], False, False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        doc = re.match(r"\s*//[/!](?!/) ?(.*)", line)
        if doc:
            text, documented = doc[1], True
            if not text.startswith("```"):
                if example:
                    example.lines.append(re.sub(r"^#(?: |$)", "", text))
            elif example:
                example = None
            elif text in ("```", "```no_run"):
                example = Example(path, number + 1, None, text == "```")
                examples.append(example)
                waiting.append(example)
            else:
                # Not Rust; collect it apart.
                example = Example(path, number + 1, None, False)
            continue
        if re.match(r"\s*#\[doc\(hidden\)\]", line):
            hidden = True
        if re.match(r"\s*(//|#\[|$)", line):
            if not line.strip():
                waiting, documented = [], False
            continue
        if match := OWNER.match(line):
            owner, in_trait = match[1], line.startswith("pub ")
        elif line.startswith("}"):
            owner, in_trait = None, False
        match = ITEM.match(line) or in_trait and re.match(r"    (?:unsafe )?(fn) (\w+)", line)
        name = match[2] if match else None
        of = owner if line.startswith(" ") else None
        if match and not hidden:
            items.append((f"{path}:{number}", match[1], name, of, documented))
        for one in waiting:
            one.owner = of or name
        waiting, hidden, documented = [], False, False
    return items, examples


def lacking(items, examples):
    """Errors: items without a doc comment, or that no example names."""
    for place, kind, name, owner, documented in items:
        if not documented:
            yield f"{place}: the {kind} {name} has no doc comment"
        if owner:
            # An example names a method only if the example is of the method's type, or names the type as well.
            code = "\n".join(one.code for one in examples if one.owner == owner or re.search(rf"\b{owner}\b", one.code))
            found = re.search(rf"(?:\.|::|\bfn |\bconst ){name}\b", code)
        else:
            found = re.search(rf"\b{name}\b", "\n".join(one.code for one in examples))
        if not found:
            yield f"{place}: no example names the {kind} {f'{owner}::' if owner else ''}{name}"


def idle(examples):
    """Errors: examples that count as run, but execute nothing."""
    for one in examples:
        if one.runs and not one.executes:
            yield f"{one.path}:{one.line}: this example has only items and set-up: call something, or mark it no_run"


def unnamed(items):
    """Errors: items in no row of the README's comparison."""
    rows = README.read_text(encoding="utf-8").partition("\n## Compared")[2]
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`\n]+`", rows))))
    for place, kind, name, owner, _ in items:
        if not owner and name not in words:
            yield f"{place}: no row of {README} names the {kind} {name}"


def proofs():
    """Errors: comments that prove something by pointing to another proof."""
    for path in sorted(path for path in pathlib.Path().rglob("*.rs") if "target" not in path.parts):
        text = path.read_text(encoding="utf-8")
        for proof in re.finditer(PROOF, text, re.MULTILINE):
            if re.search(ELSEWHERE, re.sub(r"\s*//+\s*", " ", proof[0])):
                line = text[:proof.start()].count("\n") + 1
                yield f"{path}:{line}: this proof doesn't stand by itself"


# A comment from its keyword on, or a section `# Safety`.
PROOF = r"^ *// (?:SAFETY|INVARIANT|CAST):.*(?:\n *// (?!SAFETY|INVARIANT|CAST).*)*|^ *///? # Safety\n *///\n *///.*"
ELSEWHERE = (r"(?i)\b(?:as|see|same as|like) (?:above|below|before)\b|\b(?:ditto|likewise)\b"
             r"|\b(?:described|explained|said|stated|shown|proved|argued|given|mentioned|discussed|listed) (?:above|below|before)\b"
             r"|\b(?:above|below|previous|preceding|earlier) (?:comment|proof)\b"
             r"|(?:SAFETY|INVARIANT|CAST|# Safety):? (?:as|same|see|like|those of|by the safety requirements\.)")

HEAD = """\
// SPDX-License-Identifier: GPL-2.0

//! The examples in the doc comments of abstractions/. Made by scripts/library.py; don't edit.

#![allow(dead_code, unreachable_pub, unused_imports, unused_macros, unused_variables)]
"""

TAIL = """\
module! {
    type: Examples,
    name: "rust_examples",
    authors: ["The rust_nvme_demo developers"],
    description: "Examples of abstractions/, as KUnit tests",
    license: "GPL",
}

struct Examples;

impl kernel::Module for Examples {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self)
    }
}

/// Calls an example with a bound device that can have DMA memory.
fn with_device(example: fn(&Device<Bound>) -> Result) -> Result {
    let faux = kernel::faux::Registration::new(c"rust_examples", None)?;
    let faux: &kernel::faux::Device<Bound> = faux.as_ref();
    let dev: &Device<Bound> = faux.as_ref();
    let raw = core::ptr::from_ref(dev).cast::<kernel::bindings::device>().cast_mut();

    // SAFETY: The device is valid, and no other context uses it yet.
    kernel::error::to_result(unsafe { kernel::bindings::dma_set_coherent_mask(raw, u64::MAX) })?;
    example(dev)
}
"""


def module(where, examples):
    out = [*HEAD.splitlines(), "use kernel::{device::{Bound, Core, Device}, pci, prelude::*};", "",
           f'#[path = "{os.path.relpath(ROOT, where)}"]', "mod abstractions {",
           *(f"    pub mod {part};" for part in sorted({part_of(path) for path in sources()})), "}", "",
           "#[macro_use]", f'#[path = "{os.path.relpath(MACROS, where)}"]', "mod examples;", "", *TAIL.splitlines()]
    for one in examples:
        parameters = "dev: &Device<Bound>" + ("" if one.runs else ", pdev: &pci::Device<Core<'_>>")
        out += ["", f"mod {one.name} {{", "    use super::{abstractions, pci, Bound, Core, Device};",
                "    use kernel::prelude::*;"]
        for macro, arguments in (("assert", "$cond:expr"), ("assert_eq", "$left:expr, $right:expr")):
            passed = re.sub(r":expr", "", arguments)
            # Without KUnit too, so that `make check` refuses what KUnit's macros don't take.
            out += [f"    macro_rules! {macro} {{ ({arguments} $(,)?) => {{{{", '        #[cfg(CONFIG_KUNIT = "y")]',
                    f'        ::kernel::kunit_{macro}!("{one.name}", c"{one.path}", OFFSET, {passed});',
                    '        #[cfg(not(CONFIG_KUNIT = "y"))]', f"        ::core::{macro}!({passed});", "    }}}"]
        # From the lines of this file to those of the source; the example begins after three more lines.
        out += [f"    const OFFSET: i32 = {len(out) + 4 - one.line};",
                f"    // {one.path}:{one.line}", f"    pub fn example({parameters}) -> Result {{"]
        out += ["        " + line if line else "" for line in one.lines]
        out += ["        Ok(())", "    }", "}"]
    out += ["", "#[kunit_tests(rust_examples)]", "mod suite {", "    use super::*;"]
    for one in examples:
        if one.runs:
            out += ["", "    #[test]", f"    fn {one.name}() -> Result {{",
                    f"        with_device(super::{one.name}::example)", "    }"]
    out += ["}"]
    where.mkdir(parents=True, exist_ok=True)
    (where / "rust_examples.rs").write_text("\n".join(out) + "\n", encoding="utf-8")
    (where / "Kbuild").write_text("obj-m := rust_examples.o\n", encoding="utf-8")


def main():
    read_files = [read(path) for path in sources()]
    if sys.argv[1:2] == ["--module"]:
        module(pathlib.Path(sys.argv[2]), [one for _, examples in read_files for one in examples])
        return
    errors = [*parts(), *proofs()]
    for path, (items, examples) in zip(sources(), read_files):
        errors += idle(examples)
        errors += lacking(items, [one for _, examples in read_files for one in examples if part_of(one.path) == part_of(path)])
        errors += unnamed(items)
    for error in errors:
        print(f"error: {error}")
    sys.exit(bool(errors))


main()
