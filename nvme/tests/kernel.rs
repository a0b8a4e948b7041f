// SPDX-License-Identifier: GPL-2.0

//! Compiles the protocol as the kernel module does: as a module of another crate, without `std`,
//! with the kernel's lints, without unwinding. Then searches the code for calls to the panic
//! machinery: no value of a controller may cause a panic.
//!
//! The arithmetic is compiled with overflow checks, which the stock kernel doesn't have, so that
//! unchecked arithmetic counts as a panic too.

use std::{
    collections::{
        BTreeMap,
        BTreeSet, //
    },
    env,
    fs,
    path::Path,
    process::Command, //
};

/// The crate that contains the protocol as a module. The search must find its function `canary`.
const ROOT: &str = "
//! As rust_nvme_demo.rs has it.
#![no_std]
#[path = \"MOD_RS\"]
pub mod nvme;
/// Panics if `index` is out of range.
pub fn canary(bytes: &[u8], index: usize) -> u8 {
    bytes[index]
}
";

/// Flags of the kernel's Makefile that matter here, with its warnings as errors. Dead code is kept,
/// so that functions without a caller are compiled, too.
const FLAGS: [&str; 14] = [
    "--edition=2021",
    "--crate-type=lib",
    "--crate-name=kernel",
    "--emit=asm",
    "-Dwarnings",
    "-Dmissing_docs",
    "-Dnon_ascii_idents",
    "-Drust_2018_idioms",
    "-Dunreachable_pub",
    "-Cpanic=abort",
    "-Copt-level=2",
    "-Coverflow-checks=y",
    "-Clink-dead-code=y",
    "-Csymbol-mangling-version=v0",
];

/// Compiles the crate, and returns for each of its functions the symbols that it refers to.
fn references() -> BTreeMap<String, BTreeSet<String>> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mod_rs = Path::new(env!("CARGO_MANIFEST_DIR")).join("mod.rs");
    let (root, asm) = (dir.join("kernel.rs"), dir.join("kernel.s"));
    fs::write(&root, ROOT.replace("MOD_RS", &mod_rs.display().to_string())).unwrap();
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(&rustc)
        .args(FLAGS)
        .arg("-o")
        .arg(&asm)
        .arg(&root)
        .output()
        .unwrap_or_else(|error| panic!("{rustc:?}: {error}"));
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{messages}");

    let is_symbol = |c: char| c.is_ascii_alphanumeric() || "_$.".contains(c);
    let mut functions = BTreeMap::<String, BTreeSet<String>>::new();
    let mut function = None;
    for line in fs::read_to_string(&asm).unwrap().lines() {
        if let Some(label) = line.strip_suffix(':').filter(|l| l.starts_with("_R")) {
            function = Some(functions.entry(label.into()).or_default());
        } else if let Some(function) = function
            .as_mut()
            .filter(|_| line.starts_with('\t') && !line.starts_with("\t."))
        {
            // An instruction. A line with a dot is a directive; some directives name the next
            // function.
            function.extend(
                line.split(|c| !is_symbol(c))
                    // `core` may have been compiled with the older mangling.
                    .filter(|word| word.starts_with("_R") || word.starts_with("_ZN"))
                    .map(String::from),
            );
        }
    }
    functions
}

/// Whether this crate defines a function, not `core`. In a mangled name the first crate is the
/// crate of the function. A `Y` before the crate marks a function that a trait provides; many
/// functions of [`Iterator`] have no caller.
fn is_ours(symbol: &str) -> bool {
    let Some((kind, path)) = symbol.split_once("Cs") else {
        return false;
    };
    let is_in_crate = path
        .split_once('_')
        .is_some_and(|(_, path)| path.starts_with("6kernel"));
    is_in_crate && !kind.contains('Y')
}

#[test]
fn no_way_to_panic() {
    let functions = references();
    let ours: Vec<_> = functions.keys().filter(|name| is_ours(name)).collect();
    assert!(
        ours.len() > 100,
        "the crate isn't what was compiled: {ours:#?}"
    );

    let mut panics = Vec::new();
    for start in ours {
        let mut seen = BTreeSet::from([start]);
        let mut next = vec![start];
        while let Some(function) = next.pop() {
            for callee in functions.get(function).into_iter().flatten() {
                if callee.contains("panic") {
                    panics.push(format!("{start}: {callee}"));
                } else if seen.insert(callee) {
                    next.push(callee);
                }
            }
        }
    }
    let (canary, others): (Vec<_>, Vec<_>) =
        panics.iter().partition(|path| path.contains("canary"));
    assert!(others.is_empty(), "{others:#?}");
    assert!(!canary.is_empty(), "a panic that is there wasn't found");
}
