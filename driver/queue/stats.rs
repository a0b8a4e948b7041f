// SPDX-License-Identifier: GPL-2.0

//! What a queue counts. The counts cost the fast path an increment of its own cache line each; they
//! take no lock, and a reader may look at any time.
//!
//! Each counter has one writer at a time: those of [`Submitted`] whoever holds the submission lock,
//! those of [`Completed`] whoever reaps the queue.

use crate::nvme::host::histogram;
use core::sync::atomic::{
    AtomicU64,
    Ordering, //
};

/// A count that only grows, written by one context at a time.
///
/// It is one of `core`'s atomics, since each access to one of the kernel's is a call of a C helper,
/// and what is counted is shared with nobody but this module.
pub(crate) struct Counter(AtomicU64);

/// The count at the start.
#[allow(clippy::declare_interior_mutable_const)] // Only to initialise counts with.
pub(crate) const ZERO: Counter = Counter(AtomicU64::new(0));

impl Counter {
    /// Adds `n`. With one writer no atomic operation is needed, so this costs no more than a plain
    /// increment; a 64-bit load or store is never torn.
    #[inline(always)]
    pub(crate) fn add(&self, n: u64) {
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(n);
        self.0.store(sum, Ordering::Relaxed);
    }

    /// Adds 1, for a count that has several writers.
    pub(crate) fn add_shared(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// As [`add`](Self::add), and a reader that sees the new value sees all that came before.
    #[inline(always)]
    pub(crate) fn publish(&self, n: u64) {
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(n);
        self.0.store(sum, Ordering::Release);
    }

    /// The count now.
    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    #[inline(always)]
    fn raise_to(&self, value: u64) {
        if value > self.0.load(Ordering::Relaxed) {
            self.0.store(value, Ordering::Relaxed);
        }
    }
}

/// The kinds of commands that are counted apart.
#[derive(Clone, Copy)]
#[repr(usize)]
pub(crate) enum Kind {
    Read,
    Write,
    Flush,
    Discard,
    WriteZeroes,
    Admin,
}

impl Kind {
    /// How many there are.
    pub(crate) const COUNT: usize = Self::Admin as usize + 1;
}

/// What the submitting side counts.
#[repr(align(64))]
pub(crate) struct Submitted {
    /// Commands put into the queue, by kind.
    kinds: [Counter; Kind::COUNT],
    /// Writes of the submission queue's tail doorbell.
    pub(crate) doorbells: Counter,
}

/// What the reaping side counts.
#[repr(align(64))]
pub(crate) struct Completed {
    /// Commands completed, with success or without.
    pub(crate) commands: Counter,
    /// Bytes read by commands that succeeded.
    pub(crate) bytes_read: Counter,
    /// Bytes written by commands that succeeded.
    pub(crate) bytes_written: Counter,
    /// Commands completed with an error status.
    pub(crate) errors: Counter,
    /// Commands that are tried again after an error.
    pub(crate) retries: Counter,
    /// Completion queue entries that name no command in flight.
    pub(crate) stray: Counter,
    /// Writes of the completion queue's head doorbell.
    pub(crate) doorbells: Counter,
    /// Interrupts.
    pub(crate) interrupts: Counter,
    /// Interrupts that found nothing.
    pub(crate) idle_interrupts: Counter,
    /// Passes over a polled queue.
    pub(crate) polls: Counter,
    /// The time from submission to completion of those commands that were timed.
    pub(crate) latency: Latency,
}

impl Submitted {
    pub(crate) const fn new() -> Self {
        Self {
            kinds: [ZERO; Kind::COUNT],
            doorbells: ZERO,
        }
    }

    /// Counts a command.
    #[inline(always)]
    pub(crate) fn count(&self, kind: Kind) {
        if let Some(count) = self.kinds.get(kind as usize) {
            count.publish(1);
        }
    }

    /// The commands of one kind.
    pub(crate) fn of(&self, kind: Kind) -> u64 {
        self.kinds.get(kind as usize).map_or(0, Counter::get)
    }

    /// All commands.
    pub(crate) fn commands(&self) -> u64 {
        self.kinds.iter().map(Counter::get).sum()
    }
}

/// The fields of the files `stat`, in their order. New ones come at the end.
const STAT_FIELDS: usize = 22;

/// Where the longest time is in them, which isn't summed up.
const STAT_MAX: usize = STAT_FIELDS - 1;

/// The counts of a queue, or the sums of several queues.
pub(crate) struct Stat([u64; STAT_FIELDS]);

impl Stat {
    /// Of no queue.
    pub(crate) const fn new() -> Self {
        Self([0; STAT_FIELDS])
    }

    /// Adds the counts of a queue.
    ///
    /// A count that is never more than another one is read before it.
    pub(crate) fn add(&mut self, submitted: &Submitted, completed: &Completed) {
        let latency = &completed.latency;
        let (timed, time) = (latency.count(), latency.sum.get());
        let max = latency.max();
        let retries = completed.retries.get();
        let idle_interrupts = completed.idle_interrupts.get();
        let cq_doorbells = completed.doorbells.get();
        let commands = completed.commands.get();
        let sq_doorbells = submitted.doorbells.get();
        let kinds: [u64; Kind::COUNT] =
            core::array::from_fn(|kind| submitted.kinds.get(kind).map_or(0, Counter::get));
        let [reads, writes, flushes, discards, write_zeroes, admin] = kinds;
        let sum = kinds.iter().fold(0u64, |sum, n| sum.wrapping_add(*n));
        // A device may complete what it wasn't told of yet.
        let commands = commands.min(sum);

        let fields = [
            sum,
            commands,
            sum.wrapping_sub(commands),
            reads,
            writes,
            flushes,
            discards,
            write_zeroes,
            admin,
            completed.bytes_read.get(),
            completed.bytes_written.get(),
            completed.errors.get(),
            retries,
            completed.stray.get(),
            completed.interrupts.get(),
            idle_interrupts,
            completed.polls.get(),
            sq_doorbells,
            cq_doorbells,
            timed,
            time,
            max,
        ];
        for (i, (total, field)) in self.0.iter_mut().zip(fields).enumerate() {
            *total = if i == STAT_MAX {
                field.max(*total)
            } else {
                total.wrapping_add(field)
            };
        }
    }

    /// The fields, in order.
    pub(crate) fn fields(&self) -> &[u64] {
        &self.0
    }
}

impl Completed {
    pub(crate) const fn new() -> Self {
        Self {
            commands: ZERO,
            bytes_read: ZERO,
            bytes_written: ZERO,
            errors: ZERO,
            retries: ZERO,
            stray: ZERO,
            doorbells: ZERO,
            interrupts: ZERO,
            idle_interrupts: ZERO,
            polls: ZERO,
            latency: Latency {
                sum: ZERO,
                max: ZERO,
                buckets: [ZERO; histogram::BUCKETS],
            },
        }
    }
}

/// A distribution of times, in nanoseconds.
pub(crate) struct Latency {
    sum: Counter,
    max: Counter,
    buckets: [Counter; histogram::BUCKETS],
}

impl Latency {
    /// Notes one time.
    #[inline]
    pub(crate) fn add(&self, ns: u64) {
        self.sum.add(ns);
        self.max.raise_to(ns);
        if let Some(bucket) = self.buckets.get(histogram::bucket(ns)) {
            bucket.add(1);
        }
    }

    /// The longest time.
    pub(crate) fn max(&self) -> u64 {
        self.max.get()
    }

    /// Calls `f` with the lower bound, the upper bound and the count of each bucket that isn't
    /// empty, in order.
    pub(crate) fn each<E>(
        &self,
        mut f: impl FnMut(u64, u64, u64) -> Result<(), E>,
    ) -> Result<(), E> {
        for (i, bucket) in self.buckets.iter().enumerate() {
            match bucket.get() {
                0 => {}
                n => f(histogram::lower_bound(i), histogram::upper_bound(i), n)?,
            }
        }
        Ok(())
    }

    /// Adds the count of each bucket to that in `counts`.
    pub(crate) fn add_to(&self, counts: &mut [u64]) {
        for (count, bucket) in counts.iter_mut().zip(&self.buckets) {
            *count = count.saturating_add(bucket.get());
        }
    }

    /// The times that were noted.
    fn count(&self) -> u64 {
        self.buckets.iter().map(Counter::get).sum()
    }

    /// The mean; `None` before the first.
    pub(crate) fn mean(&self) -> Option<u64> {
        self.sum.get().checked_div(self.count())
    }

    /// The time that `permille` thousandths of the commands did not exceed, to the precision of
    /// the histogram; `None` before the first.
    pub(crate) fn percentile(&self, permille: u32) -> Option<u64> {
        let counts = self.buckets.iter().map(Counter::get);
        // The bucket's upper bound may lie above the longest time.
        Some(histogram::percentile(counts, permille)?.min(self.max()))
    }
}
