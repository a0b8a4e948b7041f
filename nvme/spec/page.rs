// SPDX-License-Identifier: GPL-2.0

//! A page of data that the controller wrote, and the numbers in it. `identify` and `log` read their
//! fields by it.

/// Identify data, a list or a log page, as the controller wrote it.
pub type Page = [u8; 4096];

/// `N` bytes from `offset` on; zeroes if they exceed the page.
#[inline]
pub(super) fn bytes<const N: usize>(page: &Page, offset: usize) -> [u8; N] {
    page.get(offset..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .unwrap_or([0; N])
}

/// The byte at `offset`; 0 beyond the page.
#[inline]
pub(super) fn byte(page: &Page, offset: usize) -> u8 {
    u8::from_le_bytes(bytes(page, offset))
}

/// The 16-bit number at `offset`; beyond the page 0.
#[inline]
pub(super) fn le16(page: &Page, offset: usize) -> u16 {
    u16::from_le_bytes(bytes(page, offset))
}

/// The 32-bit number at `offset`; beyond the page 0.
#[inline]
pub(super) fn le32(page: &Page, offset: usize) -> u32 {
    u32::from_le_bytes(bytes(page, offset))
}

/// The 64-bit number at `offset`; beyond the page 0.
#[inline]
pub(super) fn le64(page: &Page, offset: usize) -> u64 {
    u64::from_le_bytes(bytes(page, offset))
}
