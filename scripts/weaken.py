# SPDX-License-Identifier: GPL-2.0
"""For make weaken: weakens each memory ordering of the lock-free pieces in abstractions/atomic/, one at a time, in
a copy, and demands that a loom test of the piece fails.

weaken.py [PIECE...]    only those of these pieces, such as slot

tests/patterns.rs weakens the orderings that are elsewhere by itself."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

PACKAGE = pathlib.Path("abstractions/atomic")
COPY = PACKAGE / "target/weaken"
WEAKER = {"SeqCst": ["AcqRel"], "AcqRel": ["Acquire", "Release"], "Acquire": ["Relaxed"], "Release": ["Relaxed"]}
# In seconds: the tests of a piece take a few, and the first build some minutes on a busy machine.
TEST, BUILD = 120, 1200


def cargo(limit, *args):
    """Runs `cargo test` in the copy; returns whether it succeeded, and what it printed."""
    ran = subprocess.run(["timeout", str(limit), "cargo", "test", "--quiet", "--locked", "--manifest-path", COPY / "Cargo.toml",
                          "--test", "loom", *args],
                         env={**os.environ, "CARGO_TARGET_DIR": str((PACKAGE / "target").absolute())},
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    return ran.returncode == 0, ran.stdout


def test(*args):
    """Whether the loom tests succeed, and what they print. They must be buildable."""
    built, said = cargo(BUILD, "--no-run")
    if not built:
        sys.exit(f"{said}error: a weakened piece doesn't build")
    return cargo(TEST, *args)


def uses(code):
    """Each ordering: the function that has it, and where it is. Comments have none of these."""
    if re.search(r"^(?!\s*//).*\bfence\(", code, re.MULTILINE):
        sys.exit("error: a piece has a fence, which this can't weaken")
    for use in re.finditer(r"\bOrdering::(\w+)", code):
        before = code[:use.start()]
        if use[1] in WEAKER and "//" not in before[before.rfind("\n"):]:
            yield re.findall(r"\bfn (\w+)", before)[-1], use.start(1), use[1]


def main():
    start, wrong, found = time.monotonic(), [], 0
    shutil.rmtree(COPY, ignore_errors=True)
    shutil.copytree(PACKAGE, COPY, ignore=lambda path, _: ["target"] if pathlib.Path(path) == PACKAGE else [])
    # By another name it is another package for cargo, whose outputs aren't those of the tests of the pieces.
    for file in (COPY / "Cargo.toml", COPY / "Cargo.lock"):
        file.write_text(file.read_text(encoding="utf-8").replace("rust-nvme-atomic", "rust-nvme-weaken"), encoding="utf-8")
    passed, said = test()
    if not passed:
        sys.exit(f"{said}error: the tests fail without a change")
    for file in sorted(COPY.glob("*.rs")):
        if file.name == "mod.rs" or sys.argv[1:] and file.stem not in sys.argv[1:]:
            continue
        code = file.read_text(encoding="utf-8")
        for function, at, ordering in uses(code):
            for weaker in WEAKER[ordering]:
                file.write_text(code[:at] + weaker + code[at + len(ordering):], encoding="utf-8")
                passed, said = test(f"{file.stem}_")
                name = f"{file.name} {function} {ordering} -> {weaker}"
                by = re.findall(r"^---- (\w+) stdout ----$", said, re.MULTILINE)
                if not passed and "panicked at" in said:
                    found += 1
                    print(f"{name}: {' '.join(by) or 'the tests abort'}", flush=True)
                else:
                    wrong.append(f"{name}: no test of the piece finds this")
                    # The tests neither passed nor failed: they crashed, or took too long.
                    print(f"{name}: not found" if passed else said, flush=True)
        file.write_text(code, encoding="utf-8")
    for error in wrong:
        print(f"error: {error}")
    print(f"{found} of {found + len(wrong)} weakened orderings were found, in {time.monotonic() - start:.0f} s")
    sys.exit(bool(wrong))


main()
