// SPDX-License-Identifier: GPL-2.0

//! Decodes completion queue entries (Base 3.3.3.2). `queue` reads them from a ring; the completion
//! handlers in `ctrl` and `io` use the values.

use super::{
    id::Cid,
    status::Status, //
};

/// A completion queue entry as the controller writes it: 16 bytes, little-endian (Base 3.3.3.2).
///
/// The controller writes the entry's second half last, or both at once. A reader must read the
/// second quadword, check its phase ([`Completion::phase_of`]), and read the first one only after a
/// DMA read barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Completion(pub [u64; 2]);

const _: () = assert!(core::mem::size_of::<Completion>() == 16);

impl Completion {
    #[inline]
    const fn second(&self) -> u64 {
        let [_, second] = self.0;
        u64::from_le(second)
    }

    /// The phase (P) in [`dword3`](Self::dword3).
    pub const PHASE: u32 = 1 << 16;

    /// Dword 3 of an entry, in the host's byte order, from its second quadword as it is in memory:
    /// command identifier, phase and status.
    #[inline]
    pub const fn dword3(second: u64) -> u32 {
        (u64::from_le(second) >> 32) as u32
    }

    /// Phase of an entry, from its second quadword as it is in memory (P).
    #[inline]
    pub const fn phase_of(second: u64) -> bool {
        Self::dword3(second) & Self::PHASE != 0
    }

    /// The command's result: dword 0, and dword 1 above it. Its meaning depends on the command.
    #[inline]
    pub const fn result(&self) -> u64 {
        let [first, _] = self.0;
        u64::from_le(first)
    }

    /// Head of the submission queue, as of the time of completion (SQHD). Not trusted: it may be
    /// beyond the queue.
    #[inline]
    pub const fn sq_head(&self) -> u16 {
        self.second() as u16
    }

    /// The command's identifier (CID).
    #[inline]
    pub const fn cid(&self) -> Cid {
        Cid::new((self.second() >> 32) as u16)
    }

    /// The entry's phase (P).
    #[inline]
    pub const fn phase(&self) -> bool {
        let [_, second] = self.0;
        Self::phase_of(second)
    }

    /// The command's status.
    #[inline]
    pub const fn status(&self) -> Status {
        Status((self.second() >> 49) as u16)
    }
}
