// SPDX-License-Identifier: GPL-2.0

//! Encodes and decodes values of the controller's registers ("properties"; Base 3.1.3, doorbells
//! PCIe 3.1.2).
//!
//! The driver reads and writes the registers themselves.

use super::id::Qid;
use core::fmt;

/// Offset of the first doorbell in BAR 0, in bytes (PCIe 3.1.2).
const DOORBELLS: usize = 0x1000;

/// Controller Capabilities, the register at 0h (Base 3.1.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap(pub u64);

impl Cap {
    /// `width` bits from bit `low` on.
    #[inline]
    const fn field(self, low: u32, width: u32) -> u32 {
        (self.0.wrapping_shr(low) & 1u64.wrapping_shl(width).wrapping_sub(1)) as u32
    }

    /// Largest number of entries that a queue may have: MQES + 1, so 1 to 65536. A queue needs at
    /// least 2 entries, so a controller that reports 1 is unusable.
    #[inline]
    pub const fn mqes(self) -> u32 {
        self.field(0, 16).wrapping_add(1)
    }

    /// Longest time in milliseconds that the controller takes for CSTS.RDY to follow CC.EN (TO;
    /// 0 to 127500).
    #[inline]
    pub const fn timeout_ms(self) -> u32 {
        self.field(24, 8).wrapping_mul(500)
    }

    /// Distance between two doorbells in bytes: 4 << DSTRD, so 4 to 131072.
    #[inline]
    pub const fn doorbell_stride(self) -> u32 {
        4u32.wrapping_shl(self.field(32, 4))
    }

    /// Whether the NVM command set can be selected (bit 0 of CSS).
    #[inline]
    pub const fn supports_nvm_command_set(self) -> bool {
        self.field(37, 1) != 0
    }

    /// Whether all I/O command sets that the controller supports can be enabled together (bit 6 of
    /// CSS).
    #[inline]
    pub const fn supports_all_command_sets(self) -> bool {
        self.field(43, 1) != 0
    }

    /// Whether the NVM subsystem can be reset by a register (NSSRS).
    #[inline]
    pub const fn subsystem_reset(self) -> bool {
        self.field(36, 1) != 0
    }

    /// Smallest memory page size that the controller supports, in bytes (MPSMIN; 4 KiB to 128 MiB).
    #[inline]
    pub const fn page_size_min(self) -> u64 {
        1u64.wrapping_shl(self.page_shift_min())
    }

    /// Largest memory page size that the controller supports, in bytes (MPSMAX; 4 KiB to 128 MiB).
    #[inline]
    pub const fn page_size_max(self) -> u64 {
        1u64.wrapping_shl(self.page_shift_max())
    }

    #[inline]
    const fn page_shift_min(self) -> u32 {
        self.field(48, 4).wrapping_add(12)
    }

    #[inline]
    const fn page_shift_max(self) -> u32 {
        self.field(52, 4).wrapping_add(12)
    }
}

/// Controller Status, the register at 1Ch (Base 3.1.3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Csts(pub u32);

impl Csts {
    const RDY: u32 = 1;
    const CFS: u32 = 1 << 1;
    const SHST: u32 = 3 << 2;
    const SHST_COMPLETE: u32 = 2 << 2;
    const PP: u32 = 1 << 5;

    /// Whether the controller is ready for commands (RDY). False if the register reads all ones.
    #[inline]
    pub const fn ready(self) -> bool {
        (self.0 & Self::RDY) != 0 && !self.gone()
    }

    /// Whether the controller reports a fatal error (CFS). Also true if the register reads all
    /// ones.
    #[inline]
    pub const fn fatal(self) -> bool {
        (self.0 & Self::CFS) != 0
    }

    /// Whether shutdown processing is complete (SHST is 10b). False if the register reads all ones.
    #[inline]
    pub const fn shutdown_complete(self) -> bool {
        (self.0 & Self::SHST) == Self::SHST_COMPLETE
    }

    /// Whether the controller pauses commands while it activates a firmware (PP). False if the
    /// register reads all ones.
    #[inline]
    pub const fn paused(self) -> bool {
        (self.0 & Self::PP) != 0 && !self.gone()
    }

    /// Whether the register reads all ones, as PCI returns for a device that doesn't respond.
    #[inline]
    pub const fn gone(self) -> bool {
        self.0 == u32::MAX
    }
}

/// Values of Controller Configuration, the register at 14h (Base 3.1.3.5).
pub mod cc {
    const EN: u32 = 1;
    const SHN: u32 = 3 << 14;
    const SHN_NORMAL: u32 = 1 << 14;
    const SHN_ABRUPT: u32 = 2 << 14;
    const CSS_ALL: u32 = 6 << 4;
    const IOSQES_64: u32 = 6 << 16;
    const IOCQES_16: u32 = 4 << 20;

    /// Enables the controller: NVM command set, round robin, entries of 64 and 16 bytes, memory
    /// pages of `1 << mps_shift` bytes (12 to 27).
    pub const fn enable(mps_shift: u32) -> u32 {
        EN | ((mps_shift.saturating_sub(12) & 0xf) << 7) | IOSQES_64 | IOCQES_16
    }

    /// Selects all I/O command sets that the controller supports, in a value from [`enable`].
    pub const fn with_all_command_sets(cc: u32) -> u32 {
        cc | CSS_ALL
    }

    /// Adds a normal or abrupt shutdown notification to a value of CC (Base 3.6).
    pub const fn with_shutdown(cc: u32, normal: bool) -> u32 {
        (cc & !SHN) | if normal { SHN_NORMAL } else { SHN_ABRUPT }
    }

    /// Disables the controller, which resets it; clears a shutdown notification.
    pub const fn disable(cc: u32) -> u32 {
        cc & !(EN | SHN)
    }
}

/// Admin Queue Attributes, the register at 24h (Base 3.1.3.8), from the two queues' numbers of
/// entries, each clamped to 2 to 4096.
pub const fn aqa(entries_sq: u16, entries_cq: u16) -> u32 {
    const fn zeroes_based(entries: u16) -> u32 {
        let n = (entries as u32).saturating_sub(1);
        if n < 1 {
            1
        } else if n > 0xfff {
            0xfff
        } else {
            n
        }
    }
    (zeroes_based(entries_cq) << 16) | zeroes_based(entries_sq)
}

/// Offset of a queue's doorbell in BAR 0, in bytes: submission queue tail or completion queue head
/// (PCIe 3.1.2.1 and 3.1.2.2). `stride` is in bytes, see [`Cap::doorbell_stride`].
#[inline]
pub const fn doorbell_offset(qid: Qid, completion: bool, stride: u32) -> usize {
    let index = (qid.get() as usize)
        .wrapping_mul(2)
        .wrapping_add(completion as usize);
    DOORBELLS.saturating_add(index.saturating_mul(stride as usize))
}

/// Minimum length of BAR 0 for the doorbells of all queues up to `max_qid`, in bytes.
pub const fn doorbells_end(max_qid: Qid, stride: u32) -> usize {
    doorbell_offset(max_qid, true, stride).saturating_add(stride as usize)
}

/// The controller's limits from CAP, combined with the driver's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of entries of a queue: 2 to 65535.
    pub depth: u32,
    /// Longest wait for CSTS.RDY, in milliseconds.
    pub timeout_ms: u32,
    /// Distance between two doorbells, in bytes.
    pub stride: u32,
    /// Memory page size in use, as a power of two (for CC.MPS).
    pub page_shift: u32,
}

impl Limits {
    /// Checks CAP. `host_page_shift` is the largest memory page size that the driver supports, as a
    /// power of two, and `max_depth` the largest queue size that the driver requests.
    pub fn new(cap: Cap, host_page_shift: u32, max_depth: u32) -> Result<Self, CapError> {
        if cap.0 == u64::MAX {
            return Err(CapError::Gone);
        }
        if cap.mqes() < 2 {
            return Err(CapError::NoEntries);
        }
        if !cap.supports_nvm_command_set() {
            return Err(CapError::NoNvmCommandSet {
                css: cap.field(37, 8),
            });
        }
        if cap.page_shift_max() < cap.page_shift_min() {
            return Err(CapError::PageRange {
                min: cap.page_size_min(),
                max: cap.page_size_max(),
            });
        }
        if cap.page_shift_min() > host_page_shift {
            return Err(CapError::PageTooLarge {
                min: cap.page_size_min(),
                host: 1u64.checked_shl(host_page_shift).unwrap_or(0),
            });
        }
        Ok(Self {
            depth: cap.mqes().min(max_depth.clamp(2, u32::from(u16::MAX))),
            timeout_ms: cap.timeout_ms(),
            stride: cap.doorbell_stride(),
            page_shift: cap.page_shift_max().min(host_page_shift),
        })
    }
}

/// Why the driver can't use a controller, from CAP. Displays as the register's field, its value and
/// the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapError {
    /// CAP reads all ones: the device doesn't respond.
    Gone,
    /// CAP.MQES is 0, so that no queue can hold a command.
    NoEntries,
    /// CAP.CSS lacks the NVM command set.
    NoNvmCommandSet {
        /// The field's value.
        css: u32,
    },
    /// CAP.MPSMIN is above CAP.MPSMAX.
    PageRange {
        /// Smallest page, in bytes.
        min: u64,
        /// Largest page, in bytes.
        max: u64,
    },
    /// CAP.MPSMIN is larger than the host's page size.
    PageTooLarge {
        /// Smallest page of the controller, in bytes.
        min: u64,
        /// Page of the host, in bytes.
        host: u64,
    },
}

impl fmt::Display for CapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Gone => f.write_str("CAP reads all ones: the device does not answer"),
            Self::NoEntries => {
                f.write_str("CAP.MQES is 0: queues of at least 2 entries are needed")
            }
            Self::NoNvmCommandSet { css } => {
                write!(f, "CAP.CSS is {css:#04x}: no NVM command set (bit 0)")
            }
            Self::PageRange { min, max } => write!(
                f,
                "CAP.MPSMIN is {min} bytes, above CAP.MPSMAX of {max} bytes"
            ),
            Self::PageTooLarge { min, host } => write!(
                f,
                "CAP.MPSMIN is {min} bytes: memory pages of {host} bytes are needed"
            ),
        }
    }
}
