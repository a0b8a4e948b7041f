// SPDX-License-Identifier: GPL-2.0

//! The ring arithmetic of submission and completion queues (Base 3.3.1), for `driver/queue`.
//!
//! A ring of `depth` entries is empty if head and tail are equal, and full if the tail is one
//! behind the head, so it holds at most `depth - 1` entries (Base 3.3.1.4, 3.3.1.5).

/// The next index in a ring: compare and wrap, no division.
#[inline]
const fn step(index: u16, depth: u16) -> u16 {
    let next = index.wrapping_add(1);
    if next >= depth {
        0
    } else {
        next
    }
}

/// Checks a ring's depth: 2 to 65535 entries.
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
    /// Tail last written to the doorbell.
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

    /// Returns the slot for the next entry, and advances the tail. The caller ensures that there is
    /// space: no more than `depth - 1` commands may be in flight.
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

    /// The tail last written to the doorbell.
    #[inline]
    pub const fn rung(&self) -> u16 {
        self.rung
    }

    /// The value to write to the doorbell, if entries were added since the last write.
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

    /// The next slot to read; also the value for the doorbell.
    #[inline]
    pub const fn head(&self) -> u16 {
        self.head
    }

    /// The phase of a new entry at the head.
    #[inline]
    pub const fn phase(&self) -> bool {
        self.phase
    }

    /// Advances the head, after the caller took the entry there.
    #[inline]
    pub fn advance(&mut self) {
        self.head = step(self.head, self.depth);
        self.phase ^= self.head == 0;
    }
}
