// SPDX-License-Identifier: GPL-2.0

//! Parses Identify Namespace of the NVM command set (CNS 00h; NVM 4.1.5.1).

use super::super::page::{
    byte,
    bytes,
    le16,
    le32,
    le64,
    Page, //
};
use core::fmt;

/// A namespace's identify data (Identify Namespace, CNS 00h; NVM 4.1.5.1).
///
/// 0's based values of the specification are 1's based here. Values that the controller reports as
/// not defined are set to a neutral default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Size in logical blocks (NSZE).
    pub nsze: u64,
    /// Capacity in logical blocks: the blocks that may be allocated at a time (NCAP).
    pub ncap: u64,
    /// Number of allocated blocks (NUSE).
    pub nuse: u64,
    /// Size of a logical block, as a power of two: 9 to 12 (LBADS of the format in use).
    pub lba_shift: u32,
    /// Atomic write unit in normal operation, in blocks (NAWUN). [`None`]: the controller's AWUN
    /// holds.
    pub nawun: Option<u32>,
    /// Atomic write unit at power fail, in blocks (NAWUPF). [`None`]: the controller's AWUPF holds.
    pub nawupf: Option<u32>,
    /// Atomic compare and write unit, in blocks (NACWU). [`None`]: the controller's ACWU holds.
    pub nacwu: Option<u32>,
    /// Distance of the boundaries that an atomic write must not cross, in blocks; 0 for none
    /// (NABSN).
    pub nabsn: u32,
    /// Offset of the first of these boundaries, in blocks (NABO).
    pub nabo: u32,
    /// As `nabsn`, for a power fail (NABSPF).
    pub nabspf: u32,
    /// Distance of the boundaries that reads and writes should not cross, in blocks; 0 for none
    /// (NOIOB).
    pub noiob: u32,
    /// Preferred granularity of writes, in blocks (NPWG); 1 if not defined.
    pub npwg: u32,
    /// Preferred alignment of writes, in blocks (NPWA); 1 if not defined.
    pub npwa: u32,
    /// Preferred granularity of deallocation, in blocks (NPDG); 1 if not defined.
    pub npdg: u32,
    /// Preferred alignment of deallocation, in blocks (NPDA); 1 if not defined.
    pub npda: u32,
    /// Optimal size of writes, in blocks (NOWS); 0 if not defined.
    pub nows: u32,
    /// Deallocate features (DLFEAT).
    dlfeat: u8,
    /// The number of the format in use (FLBAS).
    pub format: u8,
    /// The bytes of each block's metadata; 0 for none (MS of the format in use).
    pub metadata: u16,
    /// The metadata are at the end of a block's data, not in a buffer of their own (FLBAS bit 4).
    pub extended: bool,
    /// The type of protection information, 1 to 3; 0 for none (DPS bits 2 to 0).
    pub protection: u8,
    /// Protection information is at the beginning of the metadata, not at their end (DPS bit 3).
    pub protection_first: bool,
    /// Whether several controllers may attach the namespace (NMIC bit 0).
    pub shared: bool,
    /// Whether the namespace is write protected now (NSATTR bit 0).
    pub read_only: bool,
    /// IEEE extended unique identifier, in the order of printing (EUI64); 0 for none.
    pub eui64: [u8; 8],
    /// Namespace globally unique identifier, in the order of printing (NGUID); 0 for none.
    pub nguid: [u8; 16],
}

/// A 0's based value, made 1's based; [`None`] unless `defined`.
fn defined(defined: bool, value: u16) -> Option<u32> {
    defined.then_some(u32::from(value).saturating_add(1))
}

/// A boundary: 0 for none, else 0's based.
fn boundary(defined: bool, value: u16) -> u32 {
    match value {
        value if defined && value != 0 => u32::from(value).saturating_add(1),
        _ => 0,
    }
}

/// The number and the description of the format in use.
fn lbaf(page: &Page) -> Result<(u8, u32), NamespaceError> {
    // The format index has 4 bits, and 2 more if there are more than 16 formats.
    let (nlbaf, flbas) = (byte(page, 25), byte(page, 26));
    let low = flbas & 0xf;
    let format = if nlbaf > 15 {
        (((flbas >> 5) & 3) << 4) | low
    } else {
        low
    };
    if format > nlbaf {
        return Err(NamespaceError::Format { format, nlbaf });
    }
    let at = usize::from(format).saturating_mul(4).saturating_add(128);
    Ok((format, le32(page, at)))
}

impl Namespace {
    /// Whether the page is of an active namespace: those that aren't have zeroes (NSZE).
    pub fn is_active(page: &Page) -> bool {
        le64(page, 0) != 0
    }

    /// Parses an identify page, and checks that the driver supports the namespace.
    pub fn parse(page: &Page) -> Result<Self, NamespaceError> {
        if !Self::is_active(page) {
            return Err(NamespaceError::Inactive);
        }
        let nsze = le64(page, 0);

        let (format, lbaf) = lbaf(page)?;
        let metadata = lbaf as u16;
        let lba_shift = (lbaf >> 16) & 0xff;
        if !matches!(lba_shift, 9..=12) {
            return Err(NamespaceError::BlockSize(lba_shift));
        }

        let nsfeat = byte(page, 24);
        // NSABP: the namespace has atomicity parameters of its own.
        let atomic = (nsfeat & (1 << 1)) != 0;
        // OPTPERF: the namespace reports performance hints. Later revisions define bit 5, for a
        // choice among the hints for deallocation.
        let writes = (nsfeat & (3 << 4)) != 0;
        let deallocation = (nsfeat & (1 << 4)) != 0;
        Ok(Self {
            nsze,
            ncap: le64(page, 8),
            nuse: le64(page, 16),
            lba_shift,
            nawun: defined(atomic, le16(page, 34)),
            nawupf: defined(atomic, le16(page, 36)),
            nacwu: defined(atomic, le16(page, 38)),
            nabsn: boundary(atomic, le16(page, 40)),
            nabo: if atomic { u32::from(le16(page, 42)) } else { 0 },
            nabspf: boundary(atomic, le16(page, 44)),
            noiob: u32::from(le16(page, 46)),
            npwg: defined(writes, le16(page, 64)).unwrap_or(1),
            npwa: defined(writes, le16(page, 66)).unwrap_or(1),
            npdg: defined(deallocation, le16(page, 68)).unwrap_or(1),
            npda: defined(deallocation, le16(page, 70)).unwrap_or(1),
            nows: defined(writes, le16(page, 72)).unwrap_or(0),
            dlfeat: byte(page, 33),
            format,
            metadata,
            // The bit says nothing without metadata.
            extended: metadata != 0 && (byte(page, 26) & (1 << 4)) != 0,
            protection: byte(page, 29) & 7,
            protection_first: (byte(page, 29) & (1 << 3)) != 0,
            shared: (byte(page, 30) & 1) != 0,
            read_only: (byte(page, 99) & 1) != 0,
            eui64: bytes(page, 120),
            nguid: bytes(page, 104),
        })
    }

    /// Size of a logical block in bytes: 512 to 4096.
    pub fn block_size(&self) -> u32 {
        // `parse` checks the shift; limited here too, because the field is public.
        1u32.wrapping_shl(self.lba_shift.clamp(9, 12))
    }

    /// Size in sectors of 512 bytes. Limited to the largest file offset, rounded down to whole
    /// blocks.
    pub fn capacity_sectors(&self) -> u64 {
        const MAX: u64 = i64::MAX as u64 >> 9;
        let shift = self.lba_shift.saturating_sub(9);
        let blocks = self.nsze.min(MAX.checked_shr(shift).unwrap_or(0));
        blocks.checked_shl(shift).unwrap_or(0)
    }

    /// Whether deallocated blocks read as zeroes (DLFEAT bits 2 to 0).
    pub fn deallocated_reads_zero(&self) -> bool {
        (self.dlfeat & 7) == 1
    }

    /// Whether Write Zeroes may deallocate (DLFEAT bit 3).
    pub fn write_zeroes_deallocates(&self) -> bool {
        (self.dlfeat & (1 << 3)) != 0
    }
}

/// Why the driver can't use a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceError {
    /// NSZE is 0: the namespace isn't active.
    Inactive,
    /// FLBAS selects a format beyond NLBAF.
    Format {
        /// The format in use.
        format: u8,
        /// The last format.
        nlbaf: u8,
    },
    /// The format's block size, as a power of two, isn't in 9 to 12.
    BlockSize(u32),
}

impl fmt::Display for NamespaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Inactive => f.write_str("NSZE is 0: the namespace is not active"),
            Self::Format { format, nlbaf } => {
                write!(f, "FLBAS is format {format}, but NLBAF is {nlbaf}")
            }
            Self::BlockSize(shift) => {
                write!(
                    f,
                    "LBADS is {shift}: blocks of 512 to 4096 bytes (9 to 12) are needed"
                )
            }
        }
    }
}
