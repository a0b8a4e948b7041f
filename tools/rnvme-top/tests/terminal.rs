// SPDX-License-Identifier: GPL-2.0

//! Runs `terminal.py` with the program that was built.

use std::process::Command;

#[test]
fn on_a_pseudo_terminal() {
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    let output = Command::new("python3")
        .arg(format!("{tests}/terminal.py"))
        .arg(env!("CARGO_BIN_EXE_rnvme-top"))
        .arg(format!("{tests}/two.rec"))
        .output()
        .expect("python3 runs");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
