// SPDX-License-Identifier: GPL-2.0

//! What a queue counts. The counts cost the fast path an increment of its own cache line each; they
//! take no lock, and a reader may look at any time.
//!
//! Each counter has one writer at a time: those of [`Submitted`] whoever holds the submission lock,
//! those of [`Completed`] whoever reaps the queue.

use crate::nvme::host::histogram;
use core::sync::atomic::{
    AtomicI64,
    AtomicU32,
    AtomicU64,
    Ordering, //
};
use kernel::time::{
    ClockSource,
    Monotonic, //
};

/// A count that only grows, written by one context at a time.
///
/// It is one of `core`'s atomics, since each access to one of the kernel's is a call of a C helper,
/// and what is counted is shared with nobody but this module.
pub(super) struct Counter(AtomicU64);

/// The count at the start.
#[allow(clippy::declare_interior_mutable_const)] // Only to initialise arrays with.
const ZERO: Counter = Counter(AtomicU64::new(0));

impl Counter {
    /// Adds `n`. With one writer no atomic operation is needed, so this costs no more than a plain
    /// increment; a 64-bit load or store is never torn.
    #[inline(always)]
    pub(super) fn add(&self, n: u64) {
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(n);
        self.0.store(sum, Ordering::Relaxed);
    }

    /// Adds 1, for a count that has several writers.
    pub(super) fn add_shared(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// As [`add`](Self::add), and a reader that sees the new value sees all that came before.
    #[inline(always)]
    pub(super) fn publish(&self, n: u64) {
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(n);
        self.0.store(sum, Ordering::Release);
    }

    /// The count now.
    #[inline]
    pub(super) fn get(&self) -> u64 {
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
pub(super) enum Kind {
    Read,
    Write,
    Flush,
    Discard,
    WriteZeroes,
    Admin,
}

impl Kind {
    /// How many there are.
    pub(super) const COUNT: usize = Self::Admin as usize + 1;
}

/// What a controller counts: the exceptions of its life.
pub(super) struct Events {
    /// Requests that took longer than the time limit.
    pub(super) timeouts: Counter,
    /// Completions that were there without an interrupt.
    pub(super) lost_interrupts: Counter,
    /// Abort commands that were sent.
    pub(super) aborts: Counter,
    /// Resets of the controller.
    pub(super) resets: Counter,
    /// Asynchronous events that the controller told of.
    pub(super) async_events: Counter,
}

impl Events {
    pub(super) const fn new() -> Self {
        Self {
            timeouts: ZERO,
            lost_interrupts: ZERO,
            aborts: ZERO,
            resets: ZERO,
            async_events: ZERO,
        }
    }
}

/// The lines of a burst, and the time in nanoseconds after which there may be another one, as of
/// `DEFAULT_RATELIMIT_BURST` and `_INTERVAL` in `linux/ratelimit_types.h`.
const LOG_BURST: u32 = 10;
const LOG_INTERVAL: i64 = 5_000_000_000;

/// Keeps a device that fails all the time from filling the log.
pub(super) struct LogLimit {
    since: AtomicI64,
    lines: AtomicU32,
}

impl LogLimit {
    pub(super) const fn new() -> Self {
        Self {
            since: AtomicI64::new(0),
            lines: AtomicU32::new(0),
        }
    }

    /// Whether one more line may be written now: if so, the number of lines that were left out
    /// before it. Any context.
    pub(super) fn admit(&self) -> Option<u32> {
        let now = Monotonic::ktime_get();
        let since = self.since.load(Ordering::Relaxed);

        if now.saturating_sub(since) > LOG_INTERVAL
            && self
                .since
                .compare_exchange(since, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            let lines = self.lines.swap(1, Ordering::Relaxed);
            return Some(lines.saturating_sub(LOG_BURST));
        }
        (self.lines.fetch_add(1, Ordering::Relaxed) < LOG_BURST).then_some(0)
    }
}

/// What the submitting side counts.
#[repr(align(64))]
pub(super) struct Submitted {
    /// Commands put into the queue, by kind.
    kinds: [Counter; Kind::COUNT],
    /// Writes of the submission queue's tail doorbell.
    pub(super) doorbells: Counter,
}

/// What the reaping side counts.
#[repr(align(64))]
pub(super) struct Completed {
    /// Commands completed, with success or without.
    pub(super) commands: Counter,
    /// Bytes read by commands that succeeded.
    pub(super) bytes_read: Counter,
    /// Bytes written by commands that succeeded.
    pub(super) bytes_written: Counter,
    /// Commands completed with an error status.
    pub(super) errors: Counter,
    /// Commands that are tried again after an error.
    pub(super) retries: Counter,
    /// Completion queue entries that name no command in flight.
    pub(super) stray: Counter,
    /// Writes of the completion queue's head doorbell.
    pub(super) doorbells: Counter,
    /// Interrupts.
    pub(super) interrupts: Counter,
    /// Interrupts that found nothing.
    pub(super) idle_interrupts: Counter,
    /// Passes over a polled queue.
    pub(super) polls: Counter,
    /// The time from submission to completion of those commands that were timed.
    pub(super) latency: Latency,
}

impl Submitted {
    pub(super) const fn new() -> Self {
        Self {
            kinds: [ZERO; Kind::COUNT],
            doorbells: ZERO,
        }
    }

    /// Counts a command.
    #[inline(always)]
    pub(super) fn count(&self, kind: Kind) {
        if let Some(count) = self.kinds.get(kind as usize) {
            count.publish(1);
        }
    }

    /// The commands of one kind.
    pub(super) fn of(&self, kind: Kind) -> u64 {
        self.kinds.get(kind as usize).map_or(0, Counter::get)
    }

    /// All commands.
    pub(super) fn commands(&self) -> u64 {
        self.kinds.iter().map(Counter::get).sum()
    }
}

/// The fields of the files `stat`, in their order. New ones come at the end.
const STAT_FIELDS: usize = 22;

/// Where the longest time is in them, which isn't summed up.
const STAT_MAX: usize = STAT_FIELDS - 1;

/// The counts of a queue, or the sums of several queues.
pub(super) struct Stat([u64; STAT_FIELDS]);

impl Stat {
    /// Of no queue.
    pub(super) const fn new() -> Self {
        Self([0; STAT_FIELDS])
    }

    /// Adds the counts of a queue.
    ///
    /// A count that is never more than another one is read before it.
    pub(super) fn add(&mut self, submitted: &Submitted, completed: &Completed) {
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
    pub(super) fn fields(&self) -> &[u64] {
        &self.0
    }
}

impl Completed {
    pub(super) const fn new() -> Self {
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
pub(super) struct Latency {
    sum: Counter,
    max: Counter,
    buckets: [Counter; histogram::BUCKETS],
}

impl Latency {
    /// Notes one time.
    #[inline]
    pub(super) fn add(&self, ns: u64) {
        self.sum.add(ns);
        self.max.raise_to(ns);
        if let Some(bucket) = self.buckets.get(histogram::bucket(ns)) {
            bucket.add(1);
        }
    }

    /// The longest time.
    pub(super) fn max(&self) -> u64 {
        self.max.get()
    }

    /// Calls `f` with the lower bound, the upper bound and the count of each bucket that isn't
    /// empty, in order.
    pub(super) fn each<E>(
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
    pub(super) fn add_to(&self, counts: &mut [u64]) {
        for (count, bucket) in counts.iter_mut().zip(&self.buckets) {
            *count = count.saturating_add(bucket.get());
        }
    }

    /// The times that were noted.
    fn count(&self) -> u64 {
        self.buckets.iter().map(Counter::get).sum()
    }

    /// The mean; `None` before the first.
    pub(super) fn mean(&self) -> Option<u64> {
        self.sum.get().checked_div(self.count())
    }

    /// The time that `permille` thousandths of the commands did not exceed, to the precision of
    /// the histogram; `None` before the first.
    pub(super) fn percentile(&self, permille: u32) -> Option<u64> {
        let counts = self.buckets.iter().map(Counter::get);
        // The bucket's upper bound may lie above the longest time.
        Some(histogram::percentile(counts, permille)?.min(self.max()))
    }
}
