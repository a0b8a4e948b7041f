// SPDX-License-Identifier: GPL-2.0

//! A submission queue and its completion queue: the rings, the doorbells and the counts.
//!
//! This room knows neither the block layer nor the controller's states. `ctrl` builds the admin
//! queue on it, and `io` the I/O queues; each provides a [`CompletionHandler`]. A [`Queue`] is only
//! memory and doorbells; `life::start` allocates the I/O queues, and `life::queues` has the
//! controller create them.

pub(crate) mod shadow;
pub(crate) mod stats;
pub(crate) mod watch;

use self::{
    shadow::{
        Buffers,
        Shadow, //
    },
    stats::{
        Completed,
        Kind,
        Submitted, //
    },
};
use super::trace::{
    self,
    CompleteRq,
    SetupCmd, //
};
use crate::abstractions::atomic::{
    AtomicBool,
    AtomicU32,
    Ordering, //
};
use crate::{
    abstractions::{
        dma::{
            Ring,
            Slot, //
        },
        irq::{
            Handler,
            IrqReturn, //
        },
        pci::io::{
            Bar,
            Doorbell, //
        },
        sync::{
            dma_read_barrier,
            dma_release_barrier,
            RerunLock,
            Turn, //
        },
    },
    nvme::{
        host::queue::{
            CompletionRing,
            SubmissionRing, //
        },
        spec::command::Command,
        spec::completion::Completion,
        spec::id::Qid,
        spec::regs::doorbell_offset,
    },
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    prelude::*,
    sync::{
        new_spinlock,
        rcu,
        SpinLock,
        SpinLockGuard, //
    },
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

/// Handles the completed commands of a queue.
pub(crate) trait CompletionHandler: Send + Sync + 'static {
    /// Collects the completions of one pass.
    type Batch<'a>;

    /// Calls `f` with an empty batch, and then completes the batch.
    fn with_batch<R>(f: impl FnOnce(&mut Self::Batch<'_>) -> R) -> R;

    /// Handles one completion. The device wrote `entry`: its values aren't trusted.
    fn complete(&self, entry: Completion, stats: &Completed, batch: &mut Self::Batch<'_>);
}

/// The configuration of a queue pair.
#[derive(Clone, Copy)]
pub(crate) struct QueueConfig {
    /// The controller's instance number.
    pub(crate) instance: u32,
    /// The queue's identifier.
    pub(crate) qid: Qid,
    /// The entries of the submission queue.
    pub(crate) depth: u16,
    /// The entries of the completion queue, at least `depth`.
    pub(crate) cq_depth: u16,
    /// The interrupt vector; `None` for a queue that is polled.
    pub(crate) vector: Option<u16>,
    /// The queue is for reads only.
    pub(crate) reads: bool,
    /// The completion doorbell is written only when necessary, see `lag`.
    pub(crate) lazy: bool,
}

impl QueueConfig {
    /// How many reaped entries the driver may leave unacknowledged.
    ///
    /// The controller needs the head only to find free entries. Fewer commands are in flight than
    /// the submission queue has entries, so the surplus entries of a larger completion queue are
    /// always free, and the head may lag by that number (Base 3.3.1.2.1). A legacy line or MSI
    /// stays pending until the head is written, so this is for MSI-X and polled queues only.
    fn lag(&self) -> u16 {
        if self.lazy {
            self.cq_depth.saturating_sub(self.depth)
        } else {
            0
        }
    }
}

/// The reaping side's position, for one context at a time.
struct Cq {
    ring: CompletionRing,
    /// Entries reaped, but not yet acknowledged by the head doorbell.
    owed: u16,
    /// The head last written to the doorbell.
    told: u16,
}

/// What submitters write. Like [`Reaping`] and the counters it has cache lines of its own, because one CPU
/// may submit commands and another reap them.
#[pin_data]
#[repr(align(64))]
struct Submitting {
    #[pin]
    sq: SpinLock<SubmissionRing>,
}

/// What the reaping side writes.
#[repr(align(64))]
struct Reaping {
    cq: RerunLock<Cq>,
    /// The entry at the head is marked, for `has_completion`.
    cq_entries: Ring<2>,
    /// The controller's head of the submission queue, from the last completion.
    sq_head: AtomicU32,
    /// The head of the completion queue, and above it the phase, where dword 3 of an entry has it; for
    /// `has_completion` and the statistics.
    cq_head: AtomicU32,
}

/// A submission queue and its completion queue.
#[pin_data]
pub(crate) struct Queue<S: CompletionHandler> {
    pub(crate) config: QueueConfig,
    sq_entries: Ring<8>,
    #[pin]
    sq_doorbell: Doorbell,
    #[pin]
    cq_doorbell: Doorbell,
    sq_shadow: Shadow,
    cq_shadow: Shadow,
    /// See [`QueueConfig::lag`].
    lag: u16,
    /// The queue accepts commands. Cleared while the controller isn't ready.
    open: AtomicBool,
    pub(crate) handler: S,
    #[pin]
    submitting: Submitting,
    pub(crate) submitted: Submitted,
    reaping: Reaping,
    #[pin]
    turn: Turn,
    pub(crate) completed: Completed,
}

impl<S: CompletionHandler> Queue<S> {
    /// Allocates the rings; doesn't create the queues at the controller. `stride` is the distance
    /// between doorbells in bytes; `buffers` are the shadow doorbells, if any.
    ///
    /// # Errors
    ///
    /// `EINVAL` if BAR 0 has no doorbell for the queue, `ENOMEM`.
    pub(crate) fn new<'a, const SIZE: usize>(
        dev: &'a device::Device<Bound>,
        bar: &'a Bar<SIZE>,
        stride: u32,
        config: QueueConfig,
        buffers: Option<&'a Buffers>,
        handler: S,
    ) -> impl PinInit<Self, Error> + 'a
    where
        S: 'a,
    {
        let doorbell =
            move |completion| bar.doorbell(doorbell_offset(config.qid, completion, stride));

        try_pin_init!(Self {
            sq_entries: Ring::new(dev, config.depth.into())?,
            sq_doorbell <- doorbell(false),
            cq_doorbell <- doorbell(true),
            sq_shadow: Shadow::new(buffers, config.qid, false)?,
            cq_shadow: Shadow::new(buffers, config.qid, true)?,
            lag: config.lag(),
            open: AtomicBool::new(false),
            handler,
            submitting <- try_pin_init!(Submitting {
                sq <- new_spinlock!(SubmissionRing::new(config.depth.into()).ok_or(EINVAL)?),
            }? Error),
            submitted: Submitted::new(),
            reaping: Reaping {
                cq: RerunLock::new(Cq {
                    ring: CompletionRing::new(config.cq_depth.into()).ok_or(EINVAL)?,
                    owed: 0,
                    told: 0,
                }),
                cq_entries: Ring::new(dev, config.cq_depth.into())?,
                sq_head: AtomicU32::new(0),
                cq_head: AtomicU32::new(0),
            },
            turn <- Turn::new(),
            completed: Completed::new(),
            config,
        }? Error)
    }

    /// The DMA addresses of the submission and the completion queue.
    pub(crate) fn addresses(&self) -> (u64, u64) {
        (
            self.sq_entries.dma_address(),
            self.reaping.cq_entries.dma_address(),
        )
    }

    /// Sets whether the controller uses the shadow doorbells. The queue must be empty.
    pub(crate) fn set_shadow(&self, on: bool) {
        self.sq_shadow.set_on(on);
        self.cq_shadow.set_on(on);
    }

    /// Whether the queue's doorbells are in memory.
    pub(crate) fn has_shadow(&self) -> bool {
        self.sq_shadow.is_on()
    }

    /// Accepts commands from now on.
    pub(crate) fn open(&self) {
        // A submitter that sees the queue open takes the lock after this, and so sees `Shadow::on`.
        let _sq = self.submitting.sq.lock();
        self.open.store(true, Ordering::Relaxed);
    }

    /// Accepts no more commands. No [`submit_if`](Self::submit_if) is running when this returns.
    pub(crate) fn close(&self) {
        let _sq = self.submitting.sq.lock();
        // The lock orders this for `submit_if`; for other submitters the caller waits.
        self.open.store(false, Ordering::Relaxed);
    }

    /// Whether the queue accepts commands. The submission lock orders this.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Puts `command` into the queue. Writes the doorbell if `ring`; otherwise the next
    /// [`ring`](Self::ring) does.
    ///
    /// The caller ensures that no more commands are in flight than fit into the queue. Process
    /// context or softirq.
    #[inline(always)]
    pub(crate) fn submit(&self, kind: Kind, ring: bool, command: Command) {
        self.trace(command);
        self.submit_locked(&mut self.submitting.sq.lock(), kind, ring, command);
    }

    /// Traces `command`, which the caller submits next.
    #[inline(always)]
    fn trace(&self, command: Command) {
        if SetupCmd::is_on() {
            trace::submitted(self.config.instance, self.config.qid, command);
        }
    }

    #[inline(always)]
    fn submit_locked(
        &self,
        sq: &mut SpinLockGuard<'_, SubmissionRing>,
        kind: Kind,
        ring: bool,
        command: Command,
    ) {
        // Counted before the doorbell, so that no command is counted as completed first.
        self.submitted.count(kind);
        let slot = sq.push();
        self.sq_entries.write(slot.into(), &command.0);
        if ring {
            self.ring_locked(sq);
        }
    }

    /// Puts `command` into the queue and writes the doorbell, if the queue is open and `wanted`
    /// then returns true; returns whether it did. A reset closes the queue before it cancels
    /// commands, so it finds every command that `wanted` recorded.
    pub(crate) fn submit_if(
        &self,
        kind: Kind,
        command: Command,
        wanted: impl FnOnce() -> bool,
    ) -> bool {
        let make = || match self.is_open() && wanted() {
            true => Ok((kind, command)),
            false => Err(()),
        };
        self.submit_with(true, make).is_ok()
    }

    /// Puts the command that `make` returns into the queue. Writes the doorbell if `ring`; otherwise
    /// the next [`ring`](Self::ring) does. No other submission runs meanwhile.
    ///
    /// # Errors
    ///
    /// Those of `make`.
    #[inline(always)]
    pub(crate) fn submit_with<E>(
        &self,
        ring: bool,
        make: impl FnOnce() -> Result<(Kind, Command), E>,
    ) -> Result<(), E> {
        let mut sq = self.submitting.sq.lock();

        let (kind, command) = make()?;
        self.trace(command);
        self.submit_locked(&mut sq, kind, ring, command);
        Ok(())
    }

    /// Calls `f` while no [`submit_with`](Self::submit_with) runs.
    pub(crate) fn with_submissions(&self, f: impl FnOnce()) {
        let _sq = self.submitting.sq.lock();
        f();
    }

    /// Writes the tail doorbell for all commands that are pending since the last write.
    #[inline(always)]
    pub(crate) fn ring(&self) {
        self.ring_locked(&mut self.submitting.sq.lock());
    }

    #[inline(always)]
    fn ring_locked(&self, sq: &mut SpinLockGuard<'_, SubmissionRing>) {
        let told = sq.rung();
        let Some(tail) = sq.doorbell() else {
            return;
        };
        if self.sq_shadow.update(told, tail) {
            self.sq_doorbell.write(tail.into(), sq);
            self.submitted.doorbells.add(1);
        }
    }

    /// Takes all completions and passes them to the handler; returns their number, or `None` if
    /// another context is reaping, which then makes another pass.
    ///
    /// Any context.
    #[inline(always)]
    pub(crate) fn reap(&self, batch: &mut S::Batch<'_>) -> Option<u32> {
        let mut found: u32 = 0;
        let mut inside = self.reaping.cq.enter()?;

        loop {
            let cq = inside.value();
            let mut ring = cq.ring;
            let mut taken: u16 = 0;
            let mut sq_head = 0;
            while let Some(slot) = self.reaping.cq_entries.slot(ring.head().into()) {
                let second = slot.read::<1>();
                // One round at most, so that a device which completes endlessly doesn't hog the CPU: it
                // raises another interrupt for later entries.
                if Completion::phase_of(second) != ring.phase() || taken == self.config.cq_depth {
                    slot.mark();
                    break;
                }
                // The rest, and the data, are valid only if they are read after the phase, which comes last.
                dma_read_barrier();
                let entry = Completion([slot.read::<0>(), second]);
                ring.advance();
                taken = taken.wrapping_add(1);

                sq_head = entry.sq_head();
                self.handler.complete(entry, &self.completed, batch);
            }

            if taken != 0 {
                if CompleteRq::is_on() {
                    self.trace_completions(cq.ring, taken);
                }
                found = found.wrapping_add(taken.into());
                cq.ring = ring;
                cq.owed = cq.owed.wrapping_add(taken);
                if cq.owed > self.lag {
                    cq.owed = 0;
                    let told = core::mem::replace(&mut cq.told, ring.head());
                    if self.cq_shadow.update(told, ring.head()) {
                        self.write_head(ring.head());
                        self.completed.doorbells.add(1);
                    }
                }
                // For `has_completion` and statistics; ignore an impossible SQ head.
                self.reaping.cq_head.store(
                    u32::from(ring.head()) | u32::from(ring.phase()) << 16,
                    Ordering::Relaxed,
                );
                if sq_head < self.config.depth {
                    self.reaping
                        .sq_head
                        .store(sq_head.into(), Ordering::Relaxed);
                }
            }

            match inside.leave() {
                Some(again) => inside = again,
                None => return Some(found),
            }
        }
    }

    /// Traces the `count` completions of a pass that began at the head of `ring`. Apart from the
    /// loop in `reap`, where a branch would cost registers. The entries are still there: their
    /// places are the device's only after the doorbell.
    #[cold]
    #[inline(never)]
    fn trace_completions(&self, mut ring: CompletionRing, count: u16) {
        for _ in 0..count {
            if let Some(entry) = self.cq_entry(ring.head()).map(Completion) {
                let QueueConfig { instance, qid, .. } = self.config;
                trace::completed(instance, qid, entry.cid(), entry.status(), entry.result());
            }
            ring.advance();
        }
    }

    /// Writes the completion queue's head doorbell. Not inlined, so that the loop in `reap` doesn't
    /// spill registers for the calls.
    #[cold]
    #[inline(never)]
    fn write_head(&self, head: u16) {
        // The controller may overwrite the entries as soon as it sees the head. `Doorbell::write` orders
        // only writes before it.
        dma_release_barrier();
        self.cq_doorbell.write(head.into(), &rcu::read_lock());
    }

    /// Reaps the queue with a batch of its own.
    ///
    /// Any context.
    #[inline(never)]
    pub(crate) fn reap_alone(&self) {
        self.turn.task(|| S::with_batch(|batch| self.reap(batch)));
    }

    /// Whether the next entry is a completion. Cheaper than [`reap`](Self::reap), and may miss an
    /// entry: for callers that poll repeatedly.
    #[inline(always)]
    pub(crate) fn has_completion(&self) -> bool {
        // The phase is at the same place in both, so one comparison does.
        let next = Completion::dword3(self.reaping.cq_entries.marked().read::<1>());
        (next ^ self.reaping.cq_head.load(Ordering::Relaxed)) & Completion::PHASE == 0
    }

    /// Waits until no other context reaps, not even the time-out handler, and excludes others while
    /// it calls `f`, which must not sleep. May sleep itself.
    fn wait_exclusive(&self, f: impl FnOnce(&mut Cq)) {
        let mut f = Some(f);
        let mut attempt = || {
            let mut inside = self.reaping.cq.enter()?;
            f.take().map(|f| f(inside.value()))
        };

        while self.turn.task(&mut attempt).is_none() {
            fsleep(Delta::from_micros(100));
        }
    }

    /// Reaps the queue, and waits for any other context that is reaping, so that all heads are
    /// written. May sleep.
    pub(crate) fn drain_completions(&self) {
        self.reap_alone();
        self.wait_exclusive(|_| ());
    }

    /// Counts cancelled commands as completed. May sleep.
    pub(crate) fn count_cancelled(&self, commands: u64) {
        if commands != 0 {
            self.wait_exclusive(|_| self.completed.commands.publish(commands));
        }
    }

    /// Resets both rings to empty, for a controller that was disabled. The caller ensures that no
    /// command is submitted meanwhile. May sleep.
    pub(crate) fn rewind(&self) {
        let mut sq = self.submitting.sq.lock();
        if let Some(ring) = SubmissionRing::new(self.config.depth.into()) {
            *sq = ring;
        }
        drop(sq);

        self.wait_exclusive(|cq| {
            if let Some(ring) = CompletionRing::new(self.config.cq_depth.into()) {
                *cq = Cq {
                    ring,
                    owed: 0,
                    told: 0,
                };
            }
            self.reaping.cq_entries.clear();
            self.reaping.cq_entries.slot(0).inspect(Slot::mark);
        });
        self.reaping.sq_head.store(0, Ordering::Relaxed);
        self.reaping.cq_head.store(1 << 16, Ordering::Relaxed);
    }

    /// The tail of the submission queue, and its head as of the last completion.
    pub(crate) fn sq_position(&self) -> (u32, u32) {
        let tail = self.submitting.sq.lock().tail();
        (tail.into(), self.reaping.sq_head.load(Ordering::Relaxed))
    }

    /// The head and the phase of the completion queue.
    #[inline(always)]
    pub(crate) fn cq_position(&self) -> (u32, bool) {
        let head = self.reaping.cq_head.load(Ordering::Relaxed);
        (head & 0xffff, head & Completion::PHASE != 0)
    }

    /// The numbers of commands submitted and completed; the second is never larger, even if a
    /// device completes a command before its doorbell.
    pub(crate) fn progress(&self) -> (u64, u64) {
        let completed = self.completed.commands.get();
        let submitted = self.submitted.commands();
        (submitted, completed.min(submitted))
    }

    /// Entry `index` of the submission queue.
    pub(crate) fn sq_entry(&self, index: u16) -> Option<[u64; 8]> {
        self.sq_entries.entry(index.into())
    }

    /// Entry `index` of the completion queue.
    pub(crate) fn cq_entry(&self, index: u16) -> Option<[u64; 2]> {
        self.reaping.cq_entries.entry(index.into())
    }
}

impl<S: CompletionHandler> Handler for Queue<S> {
    fn handle(&self) -> IrqReturn {
        self.completed.interrupts.add(1);

        let found = self
            .turn
            .handler(|| S::with_batch(|batch| self.reap(batch)));
        if found == Some(0) {
            self.completed.idle_interrupts.publish(1);
            return IrqReturn::None;
        }
        IrqReturn::Handled
    }
}
