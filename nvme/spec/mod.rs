// SPDX-License-Identifier: GPL-2.0

//! What the specification says: the meaning of registers, commands, completions, identify data.
//!
//! It decides nothing, and knows nothing of `host/`.

pub mod command;
pub mod completion;
pub mod features;
pub mod identify;
pub mod regs;
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
