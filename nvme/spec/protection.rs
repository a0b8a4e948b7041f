// SPDX-License-Identifier: GPL-2.0

//! Protection information: what a block's metadata have to check the block by, and the fields of a
//! command for it (NVM 5.3).

use super::command::Command;

/// How the guard of protection information is computed (NVM 5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The CRC of T10 DIF in 16 bits: 8 bytes in all.
    Crc16,
    /// The CRC of the NVM command set in 64 bits: 16 bytes in all.
    Crc64,
}

impl Guard {
    /// The bytes of protection information with this guard.
    pub const fn tuple_bytes(self) -> u8 {
        match self {
            Self::Crc16 => 8,
            Self::Crc64 => 16,
        }
    }

    /// The reference tag of logical block `block`: its lowest bits.
    pub const fn reference_tag(self, block: u64) -> u64 {
        match self {
            Self::Crc16 => block & 0xffff_ffff,
            Self::Crc64 => block & 0xffff_ffff_ffff,
        }
    }
}

/// The fields of a Read or Write for metadata (NVM 3.2.4, 3.2.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protection {
    /// The controller inserts protection information into what it writes, and strips it from what it
    /// reads (PRACT).
    pub by_controller: bool,
    /// The controller checks the guard (PRCHK).
    pub check_guard: bool,
    /// The controller checks the application tag, which has to be this (PRCHK, LBAT).
    pub check_application: Option<u16>,
    /// The controller checks the reference tag (PRCHK).
    pub check_reference: bool,
    /// The reference tag of the first block (LBRT): 32 or 48 bits.
    pub reference: u64,
}

impl Command {
    /// The controller inserts or strips protection information: PRACT in dword 12.
    pub const PRACT: u32 = 1 << 29;
    const CHECK_GUARD: u32 = 1 << 28;
    const CHECK_APPLICATION: u32 = 1 << 27;
    const CHECK_REFERENCE: u32 = 1 << 26;

    /// This command, with its metadata at the address `metadata`; 0 for none.
    pub const fn with_metadata(self, metadata: u64) -> Self {
        let [q0, q1, _, q3, q4, q5, q6, q7] = self.0;
        Self([q0, q1, metadata.to_le(), q3, q4, q5, q6, q7])
    }

    /// This Read, Write or Write Zeroes, with the fields of `protection`, and with the metadata at
    /// the address `metadata`; 0 for none.
    pub fn with_protection(self, metadata: u64, protection: Protection) -> Self {
        let mut dword12 = 0;
        for (on, bit) in [
            (protection.by_controller, Self::PRACT),
            (protection.check_guard, Self::CHECK_GUARD),
            (
                protection.check_application.is_some(),
                Self::CHECK_APPLICATION,
            ),
            (protection.check_reference, Self::CHECK_REFERENCE),
        ] {
            if on {
                dword12 |= bit;
            }
        }
        // The tag, and a mask of its bits that count.
        let dword15 = match protection.check_application {
            Some(tag) => 0xffff_0000 | u32::from(tag),
            None => 0,
        };
        let (low, high) = (
            protection.reference & 0xffff_ffff,
            protection.reference >> 32,
        );
        let [q0, q1, q2, q3, q4, q5, q6, q7] = self.with_metadata(metadata).0;
        Self([
            q0,
            q1 | (high << 32).to_le(),
            q2,
            q3,
            q4,
            q5,
            q6 | u64::from(dword12).to_le(),
            q7 | (u64::from(dword15) << 32 | low).to_le(),
        ])
    }
}
