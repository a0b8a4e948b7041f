// SPDX-License-Identifier: GPL-2.0

//! Physical region pages: how a command says where its data are (Base 4.1.1).
//!
//! Data are a sequence of pages, of which the first may begin inside of its page and the last may
//! end inside. The first page is PRP entry 1 of the command. A second one is PRP entry 2; if there
//! are more, PRP entry 2 is the address of a list of all of them from the second on. A list could go
//! on in another page; here it has one page of 512 entries, and requests are no larger than that.
//!
//! [`single`] is the fast path. Otherwise [`entries_for`] says how many entries the data take, and
//! [`Prp`] makes page addresses of DMA segments.

use core::fmt;

/// Memory page of the controller, as a power of two. PRPs here always have pages of 4 KiB, which
/// is what CC.MPS is set to, whatever the host's own pages are.
pub const PAGE_SHIFT: u32 = 12;

/// Memory page of the controller, in bytes.
pub const PAGE_SIZE: usize = 1 << PAGE_SHIFT;

/// Number of entries of a list.
pub const LIST_ENTRIES: usize = PAGE_SIZE / 8;

const PAGE: u64 = PAGE_SIZE as u64;
const OFFSET_MASK: u64 = PAGE - 1;

/// PRP entries 1 and 2 for one segment of `len` bytes at `addr`, if it touches no more than two
/// pages and so needs no list. [`None`] otherwise, and for what can't be a segment: see [`Prp`].
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

/// Number of pages, and so of PRP entries, for `len` bytes that begin at `addr`, or at any other
/// address with the same offset in its page.
#[inline]
pub const fn entries_for(addr: u64, len: u32) -> usize {
    let end = (addr & OFFSET_MASK).wrapping_add(len as u64);
    (end.wrapping_add(OFFSET_MASK) >> PAGE_SHIFT) as usize
}

/// What can't be described by PRPs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrpError {
    /// A segment has no bytes.
    Empty,
    /// A segment goes beyond the end of the address space.
    Overflow,
    /// The data don't begin at a multiple of 4 bytes, or have a boundary between two segments that
    /// isn't one of a page.
    Misaligned {
        /// The address where that is.
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

/// Makes page addresses of the DMA segments of a command's data, given one after the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Prp {
    /// Where the last segment ended, if there was one.
    end: Option<u64>,
}

impl Prp {
    /// Before the first segment.
    #[inline]
    pub const fn new() -> Self {
        Self { end: None }
    }

    /// The pages of the next segment: `len` bytes at the DMA address `addr`. After an error the
    /// data as a whole can't be described.
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
    /// The entry that comes next, and the number of those left: each is the address of the page
    /// behind the one before, if the next is no page that the data begin inside of.
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
