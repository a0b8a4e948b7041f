// SPDX-License-Identifier: GPL-2.0

//! Rings: the arithmetic of submission and completion queues (Base 3.3.1).
//!
//! A ring of `depth` entries is empty when head and tail are equal and full when the tail is one
//! behind the head, so that it holds at most `depth - 1` entries (Base 3.3.1.4, 3.3.1.5).

/// One step on in a ring: compare and wrap, no division.
#[inline]
const fn step(index: u16, depth: u16) -> u16 {
    let next = index.wrapping_add(1);
    if next >= depth {
        0
    } else {
        next
    }
}

/// A depth that a ring can have: 2 to 65535 entries.
const fn checked_depth(depth: u32) -> Option<u16> {
    if depth < 2 || depth > u16::MAX as u32 {
        return None;
    }
    Some(depth as u16)
}

/// The producer's side of a submission queue (Base 3.3.1.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubmissionRing {
    depth: u16,
    /// Next slot to write.
    tail: u16,
    /// Tail that the controller was last told.
    rung: u16,
}

impl SubmissionRing {
    /// An empty ring. [`None`] if `depth` isn't in 2 to 65535.
    pub const fn new(depth: u32) -> Option<Self> {
        match checked_depth(depth) {
            Some(depth) => Some(Self {
                depth,
                tail: 0,
                rung: 0,
            }),
            None => None,
        }
    }

    /// The slot to write the next entry to; the tail moves on. The caller makes sure that there is
    /// space, by having no more than `depth - 1` commands outstanding.
    #[inline]
    pub fn push(&mut self) -> u16 {
        let slot = self.tail;
        self.tail = step(slot, self.depth);
        slot
    }

    /// The tail: the next slot to write.
    #[inline]
    pub const fn tail(&self) -> u16 {
        self.tail
    }

    /// The tail that the controller was last told.
    #[inline]
    pub const fn rung(&self) -> u16 {
        self.rung
    }

    /// The value to write to the doorbell, if entries were written since the last one.
    #[inline]
    pub fn doorbell(&mut self) -> Option<u16> {
        if self.rung == self.tail {
            return None;
        }
        self.rung = self.tail;
        Some(self.tail)
    }
}

/// The consumer's side of a completion queue (Base 3.3.1.2.1, phase tag Base 3.3.3.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompletionRing {
    depth: u16,
    head: u16,
    phase: bool,
}

impl CompletionRing {
    /// An empty ring, for memory that is all zero. [`None`] if `depth` isn't in 2 to 65535.
    pub const fn new(depth: u32) -> Option<Self> {
        match checked_depth(depth) {
            Some(depth) => Some(Self {
                depth,
                head: 0,
                phase: true,
            }),
            None => None,
        }
    }

    /// The slot to look at; also the value for the doorbell.
    #[inline]
    pub const fn head(&self) -> u16 {
        self.head
    }

    /// The phase that the entry at the head has if it is new.
    #[inline]
    pub const fn phase(&self) -> bool {
        self.phase
    }

    /// The entry at the head has been taken.
    #[inline]
    pub fn advance(&mut self) {
        self.head = step(self.head, self.depth);
        self.phase ^= self.head == 0;
    }
}
