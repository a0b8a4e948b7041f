// SPDX-License-Identifier: GPL-2.0

//! Shadow doorbells: doorbells in memory that an emulated controller polls, so that the driver can
//! skip most register writes, each of which traps (Base 5.8 and B.5).
//!
//! `driver/queue` calls this. Both buffers, shadow doorbells and event indexes, have the layout of
//! the doorbell registers.

use super::super::spec::id::Qid;

/// Offset of a queue's shadow doorbell and of its event index in their buffers, in bytes. `stride`
/// is in bytes, see [`super::super::spec::regs::Cap::doorbell_stride`].
#[inline]
pub const fn offset(qid: Qid, completion: bool, stride: u32) -> usize {
    (qid.get() as usize)
        .wrapping_mul(2)
        .wrapping_add(completion as usize)
        .saturating_mul(stride as usize)
}

/// Number of bytes that each buffer needs for all queues up to `max_qid`. A buffer is one memory
/// page; if the queues don't fit, the driver doesn't use shadow doorbells.
pub const fn bytes(max_qid: Qid, stride: u32) -> usize {
    offset(max_qid, true, stride).saturating_add(stride as usize)
}

/// Whether the driver must also write the doorbell register, after it changed the shadow doorbell
/// from `old` to `new`: if that passes the `event` index, at which the controller requested a
/// write. All three are indexes of the same ring. The comparison is correct even if they wrap at 16
/// bits.
#[inline]
pub const fn need_event(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}
