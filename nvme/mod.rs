// SPDX-License-Identifier: GPL-2.0

//! The NVMe protocol, and nothing of the kernel.
//!
//! Meaning of the registers, encoding of commands, decoding of completions and identify data, and
//! the arithmetic of queues, PRP lists and shadow doorbells. Pure `core` Rust: no kernel type, no
//! `unsafe`, no allocation, no lock. What does the input and output is in `driver/`.
//!
//! Whatever comes from the controller is taken as hostile: no value of a register, a completion or
//! an identify page makes a function here panic, loop without bound or index out of range. That is
//! more than a rule of style: `tests/kernel.rs` compiles this module as the kernel does, with
//! overflow checks on, and fails if the code has a call to the panic machinery in it.
//!
//! The folder is also a Cargo package (`nvme/Cargo.toml`), which runs the tests on the host.
//!
//! Specifications: "Base" is the NVM Express Base Specification, revision 2.0; "NVM" is the NVM
//! Command Set Specification, revision 1.0; "PCIe" is the NVMe over PCIe Transport Specification,
//! revision 1.0. <https://nvmexpress.org/specifications/>
//!
//! | File        | What it knows                                                    |
//! |-------------|------------------------------------------------------------------|
//! | `regs`      | controller registers, and the limits that follow from CAP        |
//! | `command`   | submission queue entries                                         |
//! | `completion`| completion queue entries                                         |
//! | `status`    | status codes: name, block layer error, whether to retry          |
//! | `identify`  | identify controller, namespace, identifiers, namespace list      |
//! | `features`  | results of Set Features, asynchronous events                     |
//! | `prp`       | physical region pages: data pointers and lists                   |
//! | `queue`     | rings: tail, head, phase                                         |
//! | `dbbuf`     | shadow doorbells                                                 |
//! | `state`     | states of a controller and the ways between them                 |
//! | `histogram` | latency histograms                                               |
//! | `quirks`    | what is known of single controllers, by PCI id                   |

#![deny(unsafe_code, missing_docs)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]
// `pub` is for the tests of the package, whose root this file is. In the kernel module the folder
// is a private module, where the same `pub` reaches no further than the crate.
#![allow(unreachable_pub)]

pub mod command;
pub mod completion;
pub mod dbbuf;
pub mod features;
pub mod histogram;
pub mod identify;
pub mod prp;
pub mod queue;
pub mod quirks;
pub mod regs;
pub mod state;
pub mod status;

/// The name that a table has for a code; codes from `vendor` on are the vendors'. A `match` would be
/// code, and much of it.
fn name_of(names: &[(u8, &'static str)], code: u8, vendor: u8) -> &'static str {
    match names.iter().find(|(known, _)| *known == code) {
        Some((_, name)) => name,
        None if code >= vendor => "Vendor Specific",
        None => "Unknown",
    }
}
