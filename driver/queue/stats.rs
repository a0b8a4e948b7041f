// SPDX-License-Identifier: GPL-2.0

//! The counters of a queue. Each costs the fast path an increment in a cache line of its own side;
//! they take no lock, and `views` may read them at any time.
//!
//! Each counter has one writer at a time: for [`Submitted`] the holder of the submission lock, for
//! [`Completed`] the context that reaps the queue.

use crate::abstractions::atomic::{
    AtomicU64,
    Ordering, //
};
use crate::nvme::host::histogram;
use kernel::{
    prelude::*,
    str::{
        parse_int::ParseInt,
        BStr, //
    }, //
};

/// A counter, written by one context at a time.
pub(crate) struct Counter(AtomicU64);

/// A counter at 0.
#[allow(clippy::declare_interior_mutable_const)] // Only to initialise counters.
pub(crate) const ZERO: Counter = Counter(AtomicU64::new(0));

impl Counter {
    /// Adds `n`. With one writer no atomic operation is needed, so this costs no more than a plain
    /// increment; a 64-bit load or store is never torn.
    #[inline(always)]
    pub(crate) fn add(&self, n: u64) {
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(n);
        self.0.store(sum, Ordering::Relaxed);
    }

    /// Adds 1, for a counter with several writers.
    pub(crate) fn add_shared(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Sets the count, for a counter with several writers, to the number in a text.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the text isn't a number of 64 bits.
    pub(crate) fn parse_shared(&self, input: &BStr) -> Result {
        self.0.store(u64::from_str(input)?, Ordering::Relaxed);
        Ok(())
    }

    /// As [`add`](Self::add), with release ordering, which pairs with [`get`](Self::get): a reader that
    /// sees the new value sees all writes before it. For a counter that never exceeds another. Those of
    /// doorbells need none, because the write of the doorbell orders the writes before and after it.
    #[inline(always)]
    pub(crate) fn publish(&self, n: u64) {
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(n);
        self.0.store(sum, Ordering::Release);
    }

    /// The current count, with acquire ordering.
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

/// The sum of `counters`. Wraps, as the counters do, instead of a panic.
fn total(counters: &[Counter]) -> u64 {
    counters
        .iter()
        .fold(0, |sum, counter| sum.wrapping_add(counter.get()))
}

/// The kinds of commands that are counted separately.
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
    /// The number of kinds.
    pub(crate) const COUNT: usize = Self::Admin as usize + 1;
}

/// The counters of the submitting side.
#[repr(align(64))]
pub(crate) struct Submitted {
    /// Commands put into the queue, by kind.
    kinds: [Counter; Kind::COUNT],
    /// Writes of the submission queue's tail doorbell.
    pub(crate) doorbells: Counter,
}

/// The counters of the reaping side.
#[repr(align(64))]
pub(crate) struct Completed {
    /// Commands completed, successfully or not.
    pub(crate) commands: Counter,
    /// Bytes read by commands that succeeded.
    pub(crate) bytes_read: Counter,
    /// Bytes written by commands that succeeded.
    pub(crate) bytes_written: Counter,
    /// Commands completed with an error status.
    pub(crate) errors: Counter,
    /// Commands retried after an error.
    pub(crate) retries: Counter,
    /// Completion queue entries that match no command in flight.
    pub(crate) stray: Counter,
    /// Writes of the completion queue's head doorbell.
    pub(crate) doorbells: Counter,
    /// Interrupts.
    pub(crate) interrupts: Counter,
    /// Interrupts that found no completion.
    pub(crate) idle_interrupts: Counter,
    /// Passes over a polled queue.
    pub(crate) polls: Counter,
    /// The time from submission to completion of the commands that were timed.
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
        total(&self.kinds)
    }
}

/// The number of fields in a file `stat`. New fields are appended.
const STAT_FIELDS: usize = 22;

/// The index of the maximum latency, which isn't summed.
const STAT_MAX: usize = STAT_FIELDS - 1;

/// The counts of a queue, or the sums of several queues.
pub(crate) struct Stat([u64; STAT_FIELDS]);

impl Stat {
    /// The counts of no queue: all 0.
    pub(crate) const fn new() -> Self {
        Self([0; STAT_FIELDS])
    }

    /// Adds the counts of a queue.
    ///
    /// If one counter never exceeds another, it is read before the other, so that the sums keep
    /// that order.
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
        // A device may complete a command before its doorbell.
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
    /// Records a time.
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

    /// The number of recorded times.
    fn count(&self) -> u64 {
        total(&self.buckets)
    }

    /// The mean; `None` if no time was recorded.
    pub(crate) fn mean(&self) -> Option<u64> {
        self.sum.get().checked_div(self.count())
    }

    /// The time that `permille` thousandths of the commands did not exceed, to the precision of the
    /// histogram; `None` if no time was recorded.
    pub(crate) fn percentile(&self, permille: u32) -> Option<u64> {
        let counts = self.buckets.iter().map(Counter::get);
        // The bucket's upper bound may exceed the longest time.
        Some(histogram::percentile(counts, permille)?.min(self.max()))
    }
}
