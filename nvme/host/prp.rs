// SPDX-License-Identifier: GPL-2.0

//! Physical region pages (PRPs): the addresses of a command's data (Base 4.1.1). `io` encodes them.
//!
//! Data are a sequence of pages; the data may begin inside the first page and end inside the last.
//! PRP entry 1 of the command is the first page. PRP entry 2 is the second page, or, if there are
//! more, the address of a list of all pages from the second on. The specification allows chained
//! lists; the driver uses a single page of 512 entries, and limits requests to that.
//!
//! [`single`] is the fast path. Otherwise [`entries_for`] counts the entries, and [`Prp`] turns DMA
//! segments into page addresses.

use core::fmt;

/// Memory page size of the controller, as a power of two. The driver sets CC.MPS to 4 KiB, for any
/// page size of the host.
pub const PAGE_SHIFT: u32 = 12;

/// Memory page size of the controller, in bytes.
pub const PAGE_SIZE: usize = 1 << PAGE_SHIFT;

/// Number of entries of a list.
pub const LIST_ENTRIES: usize = PAGE_SIZE / 8;

const PAGE: u64 = PAGE_SIZE as u64;
const OFFSET_MASK: u64 = PAGE - 1;

/// PRP entries 1 and 2 for one segment of `len` bytes at `addr`, if the segment touches no more
/// than two pages and so needs no list. [`None`] otherwise, and for an invalid segment, see
/// [`PrpError`].
#[inline]
pub const fn single(addr: u64, len: u32) -> Option<(u64, u64)> {
    if len == 0 || addr & 3 != 0 {
        return None;
    }
    // The address of the last byte, so that a segment may end where the address space does.
    let Some(last) = addr.checked_add((len as u64).wrapping_sub(1)) else {
        return None;
    };
    match (last >> PAGE_SHIFT).wrapping_sub(addr >> PAGE_SHIFT) {
        0 => Some((addr, 0)),
        1 => Some((addr, last & !OFFSET_MASK)),
        _ => None,
    }
}

/// Number of pages, and so of PRP entries, for `len` bytes at `addr`, or at any address with the
/// same offset into its page.
#[inline]
pub const fn entries_for(addr: u64, len: u32) -> usize {
    let end = (addr & OFFSET_MASK).wrapping_add(len as u64);
    (end.wrapping_add(OFFSET_MASK) >> PAGE_SHIFT) as usize
}

/// Why PRPs can't describe data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrpError {
    /// A segment has no bytes.
    Empty,
    /// A segment goes beyond the end of the address space.
    Overflow,
    /// The data aren't aligned to 4 bytes, or two segments meet inside a page.
    Misaligned {
        /// The misaligned address.
        addr: u64,
    },
}

impl fmt::Display for PrpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => f.write_str("empty DMA segment"),
            Self::Overflow => f.write_str("DMA segment beyond the end of the address space"),
            Self::Misaligned { addr } => {
                write!(f, "DMA segment misaligned for a PRP list at {addr:#x}")
            }
        }
    }
}

/// Turns the DMA segments of a command's data into page addresses, one segment at a time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Prp {
    /// The end of the last segment, if there was one.
    end: Option<u64>,
}

impl Prp {
    /// Starts before the first segment.
    #[inline]
    pub const fn new() -> Self {
        Self { end: None }
    }

    /// The pages of the next segment: `len` bytes at the DMA address `addr`. After an error, PRPs
    /// can't describe the data as a whole.
    #[inline]
    pub const fn segment(&mut self, addr: u64, len: u32) -> Result<PageCursor, PrpError> {
        if len == 0 {
            return Err(PrpError::Empty);
        }
        // The address of the last byte, so that a segment may end where the address space does.
        let Some(last) = addr.checked_add((len as u64).wrapping_sub(1)) else {
            return Err(PrpError::Overflow);
        };
        match self.end {
            Some(end) if end & OFFSET_MASK != 0 => {
                return Err(PrpError::Misaligned { addr: end });
            }
            Some(_) if addr & OFFSET_MASK != 0 => return Err(PrpError::Misaligned { addr }),
            None if addr & 3 != 0 => return Err(PrpError::Misaligned { addr }),
            _ => {}
        }
        self.end = Some(last.wrapping_add(1));
        Ok(PageCursor {
            next: addr,
            left: (last >> PAGE_SHIFT)
                .wrapping_sub(addr >> PAGE_SHIFT)
                .wrapping_add(1) as usize,
        })
    }
}

/// The pages of one segment, as PRP entries. An [`Iterator`], made by [`Prp::segment`].
#[derive(Clone, Copy, Debug)]
pub struct PageCursor {
    next: u64,
    left: usize,
}

impl PageCursor {
    /// The next entry, and the number of entries left. If the next entry is page aligned, each
    /// further entry is the address of the following page.
    #[inline]
    pub const fn rest(&self) -> (u64, usize) {
        (self.next, self.left)
    }
}

impl Iterator for PageCursor {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        self.left = self.left.checked_sub(1)?;
        let page = self.next;
        self.next = (page & !OFFSET_MASK).wrapping_add(PAGE);
        Some(page)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for PageCursor {}
