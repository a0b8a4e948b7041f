// SPDX-License-Identifier: GPL-2.0

//! Shadow doorbells: doorbells in memory, which an emulated controller looks at by itself, so that
//! most register writes (a trap each) can be left out (Base 5.8 and B.5).
//!
//! Both buffers, shadow doorbells and event indexes, are laid out as the doorbell registers are.

/// Place of a queue's shadow doorbell and of its event index in their buffers, in bytes. `stride`
/// is in bytes, see [`super::regs::Cap::doorbell_stride`].
#[inline]
pub const fn offset(qid: u16, completion: bool, stride: u32) -> usize {
    (qid as usize)
        .wrapping_mul(2)
        .wrapping_add(completion as usize)
        .saturating_mul(stride as usize)
}

/// Number of bytes that each of the buffers needs for all queues up to `max_qid`. A buffer is one
/// memory page; a controller whose queues don't fit can't use shadow doorbells.
pub const fn bytes(max_qid: u16, stride: u32) -> usize {
    offset(max_qid, true, stride).saturating_add(stride as usize)
}

/// Whether the doorbell register has to be written too, after the shadow doorbell went from `old`
/// to `new`: when that passes the `event` index, at which the controller has asked to be told. All
/// three are of the same ring, and the comparison is right also where they wrap at 16 bits.
#[inline]
pub const fn need_event(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}
