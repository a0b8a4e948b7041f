// SPDX-License-Identifier: GPL-2.0

//! What the I/O path and a disk's files know of a namespace. `namespaces` creates it.

use super::Supervisor;
use crate::{
    abstractions::{
        atomic::{
            AtomicBool,
            AtomicI64,
            AtomicU32,
            AtomicU64,
            Ordering, //
        },
        block::mq::ShortPath,
    },
    driver::queue::stats::{
        Counter,
        ZERO, //
    },
    nvme::{
        host::{
            identity::Identity,
            metadata::Blocks,
            passthrough::OpenCommands, //
        },
        spec::{
            id::Nsid,
            identify, //
        },
    },
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// What the I/O path knows of a namespace.
pub(crate) struct Namespace {
    /// The namespace identifier (NSID).
    pub(crate) id: Nsid,
    /// The logical block size is `512 << block_shift` bytes.
    pub(crate) block_shift: u32,
    /// Commands may use SGLs.
    pub(crate) sgl: bool,
    /// Closed if the blocks have metadata: then `metadata` builds the commands of reads and writes. Also
    /// closed unless [`Trust`] is `Sure`.
    pub(crate) path: ShortPath,
    /// A [`Trust`].
    pub(crate) trust: AtomicU32,
    /// The frequent commands that every user may send.
    pub(crate) open: OpenCommands,
    /// Write Zeroes may deallocate: deallocated blocks read as zeroes.
    pub(crate) zeroes_deallocate: AtomicBool,
    /// The controller.
    pub(crate) supervisor: Arc<dyn Supervisor>,
    /// Off the fast path, and so elsewhere in memory.
    pub(crate) details: KBox<Details>,
}

/// What the disk of a namespace tells user space about the namespace.
pub(crate) struct Details {
    /// The identity when the disk was created.
    pub(crate) identity: Identity,
    /// The blocks, as requests and users' commands transfer them.
    pub(crate) blocks: Blocks,
    /// The allocated blocks (NUSE), when last read.
    pub(crate) allocated: AtomicU64,
    /// When to read them again, in nanoseconds of the monotonic clock.
    pub(crate) read_again: AtomicI64,
    /// Commands that were retried.
    pub(crate) retries: Counter,
    /// Commands that failed, and were logged, or left out of the log by its rate limit.
    pub(crate) errors: Counter,
    /// Users' commands that fail are logged, too.
    pub(crate) logs_users: AtomicBool,
}

impl Details {
    /// The details of a new disk, of whose blocks so many are allocated.
    pub(crate) fn new(identity: Identity, blocks: Blocks, allocated: u64) -> Self {
        Self {
            identity,
            blocks,
            allocated: AtomicU64::new(allocated),
            read_again: AtomicI64::new(0),
            retries: ZERO,
            errors: ZERO,
            logs_users: AtomicBool::new(false),
        }
    }
}

/// Whether the namespace has the format for which the disk's requests are. A command for blocks of another
/// size would overrun the request's data.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Trust {
    /// As far as the driver knows.
    Sure,
    /// A user's command may have changed that: requests wait for the next scan.
    Doubtful,
    /// No, or there is no such namespace any more: requests fail.
    Gone,
}

impl Namespace {
    /// Whether the namespace, now identified as `now`, has the same format as before; false also for
    /// formats with metadata, about which more must be asked.
    pub(crate) fn has_format_of(&self, now: &identify::Namespace) -> bool {
        let plain = self.details.blocks.metadata.is_none() && now.metadata == 0;
        plain && now.lba_shift == self.block_shift + 9
    }

    /// Sets the trust in the format, for requests that begin from now on; see [`ShortPath::set`].
    pub(crate) fn set_trust(&self, trust: Trust) {
        self.trust.store(trust as u32, Ordering::Relaxed);
        self.path
            .set(trust == Trust::Sure && self.details.blocks.metadata.is_none());
    }

    /// Whether requests wait for the next scan.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.has_trust(Trust::Doubtful)
    }

    pub(super) fn has_trust(&self, trust: Trust) -> bool {
        self.trust.load(Ordering::Relaxed) == trust as u32
    }

    /// The logical block of a sector of 512 bytes.
    #[inline]
    pub(super) fn block_of(&self, sector: u64) -> u64 {
        // wrapping_shr() saves the overflow check: the shift is small.
        sector.wrapping_shr(self.block_shift)
    }

    /// The number of logical blocks in `bytes`.
    #[inline]
    pub(super) fn blocks_of(&self, bytes: u32) -> u32 {
        (bytes >> 9).wrapping_shr(self.block_shift)
    }
}
