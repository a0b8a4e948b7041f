// SPDX-License-Identifier: GPL-2.0

//! Parses the formats in Identify Namespace of the NVM command set, which say more of protection
//! information than Identify Namespace does (CNS 05h; NVM 4.1.5.3).

use super::super::{
    page::{
        byte,
        le32,
        Page, //
    },
    protection::Guard,
};

/// The extended description of a format (ELBAF).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtendedFormat {
    /// The bits of the reference tag's space that hold a storage tag (STS).
    pub storage_tag_bits: u8,
    /// How the guard is computed; [`None`] for a kind that isn't known here (PIF).
    pub guard: Option<Guard>,
}

impl ExtendedFormat {
    /// The entry of `format` in the identify page.
    pub fn of(page: &Page, format: u8) -> Self {
        let at = usize::from(format).saturating_mul(4).saturating_add(12);
        let elbaf = le32(page, at);
        // PIC bit 3: PIF may be 3, and then QPIF has the kind.
        let qualified = (byte(page, 8) & (1 << 3)) != 0;
        let guard = match (elbaf >> 7) & 3 {
            3 if qualified => (elbaf >> 9) & 0xf,
            kind => kind,
        };
        Self {
            storage_tag_bits: (elbaf & 0x7f) as u8,
            guard: match guard {
                0 => Some(Guard::Crc16),
                2 => Some(Guard::Crc64),
                _ => None,
            },
        }
    }
}
