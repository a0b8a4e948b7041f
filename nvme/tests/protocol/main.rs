// SPDX-License-Identifier: GPL-2.0

//! Tests of the protocol, one file for each of the module's files. Each test calls the functions
//! that the driver calls, and compares the results with a second implementation: byte offsets from
//! the specification, a model with counters, or a small controller that reads what the functions
//! wrote.

use proptest::prelude::*;

mod command;
mod completion;
mod dbbuf;
mod effects;
mod features;
mod histogram;
mod host_memory;
mod id;
mod identify;
mod identity;
mod layout;
mod life;
mod limits;
mod log;
mod metadata;
mod oldest;
mod passthrough;
mod power;
mod prp;
mod queue;
mod quirks;
mod rate_limit;
mod regs;
mod reservation;
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
