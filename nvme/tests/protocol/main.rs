// SPDX-License-Identifier: GPL-2.0

//! Tests of the protocol, one file for each of the module's files. All of them use what the driver
//! uses, and check it against something that is written in another way: byte offsets from the
//! specification, a model that counts, or a small controller that reads what was made for it.

use proptest::prelude::*;

mod command;
mod completion;
mod dbbuf;
mod effects;
mod features;
mod histogram;
mod id;
mod identify;
mod identity;
mod layout;
mod life;
mod limits;
mod log;
mod passthrough;
mod prp;
mod queue;
mod quirks;
mod rate_limit;
mod regs;
mod retry;
mod status;
mod uapi;

/// The configuration of a property test of `cases` cases, or of as many as PROPTEST_CASES says if
/// that is more. A failure prints the smallest input that still fails; nothing is written to the
/// source tree.
fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: default.cases.max(cases),
        failure_persistence: None,
        ..default
    }
}
