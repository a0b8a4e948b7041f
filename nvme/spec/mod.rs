// SPDX-License-Identifier: GPL-2.0

//! The specification's data structures: registers, commands, completions, identify data
//! and log pages.
//!
//! This room encodes and decodes values. A value from a device that the specification doesn't
//! allow, or that the driver can't use, is limited or is an error ([`regs::Limits`], [`identify`]).
//! [`status`] has the block layer's error for each status, and whether a retry makes sense;
//! `host/retry` decides what happens to a request. `host` and `driver/` use this room; it uses
//! neither.

pub mod command;
pub mod completion;
pub mod effects;
pub mod features;
pub mod id;
pub mod identify;
pub mod log;
pub mod page;
pub mod protection;
pub mod regs;
pub mod reservation;
pub mod status;

/// The name of a code in a table; codes from `vendor` on are vendor specific. A table, because a
/// `match` would compile to much code; not inlined, because the loop would be unrolled for a table
/// that the compiler knows.
#[inline(never)]
fn name_of(names: &[(u8, &'static str)], code: u8, vendor: u8) -> &'static str {
    match names.iter().find(|(known, _)| *known == code) {
        Some((_, name)) => name,
        None if code >= vendor => "Vendor Specific",
        None => "Unknown",
    }
}
