// SPDX-License-Identifier: GPL-2.0

//! How many I/O queues of each kind a controller gets: from what the parameters ask for, what the
//! controller grants, and what vectors and doorbells serve.
//!
//! I/O queues are numbered from 1 on: first those for everything, then those for reads, then those
//! that are polled.

use super::super::spec::regs::doorbells_end;

/// The most I/O queues of a controller.
pub const MAX_IO_QUEUES: u32 = 64;

/// What a queue is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueKind {
    /// Everything that has no queue of its own kind.
    Default,
    /// Reads only.
    Read,
    /// Polled I/O; the queue has no interrupt.
    Poll,
}

/// The numbers of I/O queues that the parameters ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Queues for everything: at least 1.
    pub default: u32,
    /// More queues, for reads.
    pub read: u32,
    /// More queues, which are polled.
    pub poll: u32,
}

impl Asked {
    /// From the parameters, on a machine of `cpus` CPUs. `io` is 0 for one queue for each CPU; more
    /// queues than CPUs have no use, but for those that are polled.
    pub fn new(io: u32, read: u32, poll: u32, cpus: u32) -> Self {
        let cpus = cpus.max(1);
        Self {
            default: if io == 0 { cpus } else { io.min(cpus) },
            read: read.min(cpus),
            poll,
        }
    }

    /// The queues with interrupts.
    pub const fn interrupts(self) -> u32 {
        self.default.saturating_add(self.read)
    }

    /// The number of queues to ask the controller for: 1 to [`MAX_IO_QUEUES`].
    pub fn total(self) -> u16 {
        let total = self.interrupts().saturating_add(self.poll);
        // It fits.
        total.clamp(1, MAX_IO_QUEUES) as u16
    }
}

/// What a controller and the machine offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The I/O queues that the controller grants.
    pub granted: u32,
    /// The interrupt vectors, of which the admin queue has the first if there are more.
    pub vectors: usize,
    /// The length of BAR 0 in bytes, and the distance between two doorbells.
    pub bar: (usize, u32),
}

/// The I/O queues of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Queues for everything.
    pub default: u16,
    /// Queues for reads.
    pub read: u16,
    /// Queues that are polled.
    pub poll: u16,
}

impl Layout {
    /// Divides what is offered. There is a queue for everything in any case; queues that are polled
    /// come last; and if there can't be as many with interrupts as asked for, those for reads get half
    /// at the most, or what isn't asked for everything.
    ///
    /// `None` if no queue can be had: the controller grants none, or BAR 0 has no doorbell for one.
    pub fn new(asked: Asked, offer: Offer) -> Option<Self> {
        let (len, stride) = offer.bar;
        let granted = u32::from(asked.total()).min(offer.granted);
        let total = (1..=granted.min(MAX_IO_QUEUES) as u16)
            .rev()
            .find(|total| doorbells_end(*total, stride) <= len)?;

        let served = u16::try_from(offer.vectors.saturating_sub(1).max(1)).unwrap_or(u16::MAX);
        let interrupts = asked.interrupts().min(served.min(total).into());
        // As long as there are enough, `interrupts` less what is asked for everything is all of them.
        let read = asked
            .read
            .min((interrupts / 2).max(interrupts.saturating_sub(asked.default)));
        let (interrupts, read) = (interrupts as u16, read as u16);
        Some(Self {
            default: interrupts.saturating_sub(read),
            read,
            poll: asked.poll.min(total.saturating_sub(interrupts).into()) as u16,
        })
    }

    /// All queues.
    pub const fn total(self) -> u16 {
        self.interrupts().saturating_add(self.poll)
    }

    /// The queues with interrupts.
    pub const fn interrupts(self) -> u16 {
        self.default.saturating_add(self.read)
    }

    /// What the queue `qid` is for; `None` for the admin queue, and beyond the last queue.
    pub const fn kind(self, qid: u16) -> Option<QueueKind> {
        match qid {
            0 => None,
            _ if qid <= self.default => Some(QueueKind::Default),
            _ if qid <= self.interrupts() => Some(QueueKind::Read),
            _ if qid <= self.total() => Some(QueueKind::Poll),
            _ => None,
        }
    }

    /// The interrupt vector of the queue `qid`, of `vectors` that there are: its own, or the only
    /// one; `None` for a queue that is polled or isn't there.
    pub fn vector(self, qid: u16, vectors: usize) -> Option<u16> {
        match self.kind(qid)? {
            QueueKind::Poll => None,
            QueueKind::Default | QueueKind::Read if vectors <= 1 => Some(0),
            QueueKind::Default | QueueKind::Read => Some(qid),
        }
    }

    /// The first `count` of the queues: what is left if the controller makes no more.
    pub fn first(self, count: u16) -> Self {
        let interrupts = self.interrupts().min(count);
        let default = self.default.min(interrupts);
        Self {
            default,
            read: interrupts.saturating_sub(default),
            poll: self.poll.min(count.saturating_sub(interrupts)),
        }
    }
}
