// SPDX-License-Identifier: GPL-2.0

//! Decides how many I/O queues of each kind a controller gets: from the parameters, the
//! controller's grant, and the available vectors and doorbells. The start sequence in `life` calls
//! this.
//!
//! I/O queues are numbered from 1 on: first the default queues, then the read queues, then the
//! polled queues.

use super::super::spec::{
    id::Qid,
    regs::doorbells_end, //
};

/// The maximum number of I/O queues of a controller.
pub const MAX_IO_QUEUES: u32 = 64;

/// The kind of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueKind {
    /// All requests that have no queue of their own kind.
    Default,
    /// Reads only.
    Read,
    /// Polled I/O; the queue has no interrupt.
    Poll,
}

/// The numbers of I/O queues that the parameters request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Default queues: at least 1.
    pub default: u32,
    /// Additional read queues.
    pub read: u32,
    /// Additional polled queues.
    pub poll: u32,
}

impl Asked {
    /// From the parameters, on a machine of `cpus` CPUs. If `io` is 0, one queue per CPU. More
    /// queues than CPUs are useless, except for polled queues.
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

    /// The number of queues to request from the controller: 1 to [`MAX_IO_QUEUES`].
    pub fn total(self) -> u16 {
        let total = self.interrupts().saturating_add(self.poll);
        // MAX_IO_QUEUES fits into 16 bits.
        total.clamp(1, MAX_IO_QUEUES) as u16
    }
}

/// The resources of a controller and of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The I/O queues that the controller grants.
    pub granted: u32,
    /// The interrupt vectors. If there are several, the first is the admin queue's alone.
    pub vectors: usize,
    /// The length of BAR 0 in bytes, and the distance between two doorbells.
    pub bar: (usize, u32),
}

/// The I/O queues of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Default queues.
    pub default: u16,
    /// Read queues.
    pub read: u16,
    /// Polled queues.
    pub poll: u16,
}

impl Layout {
    /// Divides the offer. There is always a default queue, and polled queues get what is left. If
    /// there are fewer queues with interrupts than requested, read queues get at most half of them,
    /// or the number that default queues don't request.
    ///
    /// `None` if there can be no queue: the controller grants none, or BAR 0 has no doorbell for
    /// it.
    pub fn new(asked: Asked, offer: Offer) -> Option<Self> {
        let (len, stride) = offer.bar;
        let granted = u32::from(asked.total()).min(offer.granted);
        let total = (1..=granted.min(MAX_IO_QUEUES) as u16)
            .rev()
            .find(|total| doorbells_end(Qid::new(*total), stride) <= len)?;

        let served = u16::try_from(offer.vectors.saturating_sub(1).max(1)).unwrap_or(u16::MAX);
        let interrupts = asked.interrupts().min(served.min(total).into());
        // If there are enough queues, `interrupts` less `asked.default` is at least `asked.read`.
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

    /// The identifiers of all queues, in order.
    pub fn qids(self) -> impl Iterator<Item = Qid> {
        (1..=self.total()).map(Qid::new)
    }

    /// The queues with interrupts.
    pub const fn interrupts(self) -> u16 {
        self.default.saturating_add(self.read)
    }

    /// The kind of the queue `qid`; `None` for the admin queue, and beyond the last queue.
    pub const fn kind(self, qid: Qid) -> Option<QueueKind> {
        match qid.get() {
            0 => None,
            n if n <= self.default => Some(QueueKind::Default),
            n if n <= self.interrupts() => Some(QueueKind::Read),
            n if n <= self.total() => Some(QueueKind::Poll),
            _ => None,
        }
    }

    /// The interrupt vector of the queue `qid`, out of `vectors` vectors: its own, or the only
    /// vector; `None` for a polled queue, and beyond the last queue.
    pub fn vector(self, qid: Qid, vectors: usize) -> Option<u16> {
        match self.kind(qid)? {
            QueueKind::Poll => None,
            QueueKind::Default | QueueKind::Read if vectors <= 1 => Some(0),
            QueueKind::Default | QueueKind::Read => Some(qid.get()),
        }
    }

    /// The layout of only the first `count` queues: default queues are kept longest, then read
    /// queues, so there is a default queue if there is any queue.
    pub fn first(self, count: u16) -> Self {
        let interrupts = self.interrupts().min(count);
        let default = self.default.min(interrupts);
        Self {
            default,
            read: interrupts.saturating_sub(default),
            poll: self.poll.min(count.saturating_sub(interrupts)),
        }
    }

    /// Whether queue `qid` also serves the CPUs of other queues if the controller has only the
    /// queues of `kept`, which is a [`first`](Self::first) of this layout. The map of `mq::TagSet`
    /// spreads the CPUs of the lost queues over the kept queues of their kind, in order.
    pub fn inherits(self, qid: Qid, kept: Self) -> bool {
        let (before, all, left) = match self.kind(qid) {
            None => return false,
            Some(QueueKind::Default) => (0, self.default, kept.default),
            Some(QueueKind::Read) => (self.default, self.read, kept.read),
            Some(QueueKind::Poll) => (self.interrupts(), self.poll, kept.poll),
        };
        // `kind` is `None` for 0, and the queues of a kind begin behind `before`.
        let index = qid.get().saturating_sub(before).saturating_sub(1);
        index < left && index < all.saturating_sub(left)
    }
}
