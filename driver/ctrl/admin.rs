// SPDX-License-Identifier: GPL-2.0

//! The admin queue: each caller waits for its own command. `commands` runs the driver's commands
//! here, and `control` those of users.

use super::regs::Bar0;
use crate::{
    abstractions::{
        atomic::{
            call::{
                Call,
                GENERATIONS, //
            },
            slot::{
                NUMBER_BITS,
                NUMBER_MASK, //
            },
            word::Word, //
        },
        sync::Completion as Done, //
    },
    driver::{
        queue::{
            stats::{
                Completed,
                Kind, //
            },
            CompletionHandler,
            Queue,
            QueueConfig, //
        },
        trace, //
    },
    nvme::spec::{
        command::Command,
        completion::Completion,
        features::AsyncEvent,
        id::{
            Cid,
            Qid, //
        },
        status::{
            BlockError,
            Status, //
        }, //
    },
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

/// The entries of the admin queues.
pub(crate) const DEPTH: u16 = 32;

/// The maximum number of commands in flight: one ring entry stays empty, and one is reserved for
/// the asynchronous event request.
const SLOTS: usize = DEPTH as usize - 2;

/// Of the slots, those that users' commands don't take, so that the driver's always find one.
const DRIVER_SLOTS: usize = 8;

/// How often a user's command looks for a free slot, in milliseconds. All are taken only if very
/// many users send commands at once, or if the controller completes none.
const LOOK_MS: u32 = 10;

/// The time after which a task that waits uninterruptibly looks up, in milliseconds: longer, and the kernel
/// may report it as hung.
const LOOK_UP_MS: u32 = 10_000;

/// A limit for the time from the end of a call until its waiter is woken, in milliseconds.
const WAKE_UP_MS: u32 = 10_000;

/// The memory of a command's data.
pub(super) type Memory = Arc<dyn Send + Sync>;

/// The command identifier of the asynchronous event request.
const EVENT_CID: Cid = Cid::new(SLOTS as u16);

/// The identifier of the command in the slot `index`, less than [`SLOTS`]: as for requests, the bits
/// above the slot are the generation of its use, so that an answer of a former use is recognised.
fn cid(index: usize, generation: u16) -> Cid {
    Cid::new(index as u16 | generation << NUMBER_BITS)
}
const _: () = assert!(GENERATIONS <= 1 << (u16::BITS - NUMBER_BITS));

/// The slot and the generation in an identifier that a controller may have made up.
fn parts(cid: Cid) -> (usize, u16) {
    let cid = cid.get();
    (usize::from(cid & NUMBER_MASK), cid >> NUMBER_BITS)
}

/// A command in flight.
#[pin_data]
struct Slot {
    call: Call,
    #[pin]
    done: Done,
    /// The data of an abandoned command: the device may still write to them.
    #[pin]
    abandoned: Mutex<Option<Memory>>,
}

impl Slot {
    /// Waits for the command's completion, for `timeout_ms` milliseconds at most, also beyond a time
    /// after which the kernel would report the task as hung. Returns false if the time is up.
    fn wait_timeout(&self, timeout_ms: u32) -> bool {
        let mut left_ms = timeout_ms;
        while left_ms > LOOK_UP_MS {
            if self.done.wait_timeout(LOOK_UP_MS) {
                return true;
            }
            left_ms -= LOOK_UP_MS;
        }
        self.done.wait_timeout(left_ms)
    }
}

/// Is called for asynchronous events. Any context.
pub(crate) trait EventHook: Send + Sync {
    /// An event arrived; [`AdminQueue::take_event`] returns it.
    fn event(&self);
}

/// The admin commands in flight, by command identifier, and the asynchronous event request, which
/// stays in flight until an event occurs.
pub(crate) struct Slots {
    commands: KVec<Pin<KBox<Slot>>>,
    event: Word,
    /// Is never completed: for waits that end only by time or a signal.
    never: Pin<KBox<Done>>,
    /// Called when an event arrived.
    on_event: Arc<dyn EventHook>,
}

impl CompletionHandler for Slots {
    type Batch<'a> = ();

    fn with_batch<R>(f: impl FnOnce(&mut ()) -> R) -> R {
        f(&mut ())
    }

    fn complete(&self, entry: Completion, stats: &Completed, _batch: &mut ()) {
        if entry.cid() == EVENT_CID {
            let ended = match entry.status().is_success() {
                // Dword 0 holds the event; bit 31 is reserved.
                true => self.event.bring(entry.result() as u32),
                false => self.event.fail(),
            };
            if ended {
                stats.commands.publish(1);
                self.on_event.event();
            } else {
                stats.stray.add(1);
            }
            return;
        }

        let (index, generation) = parts(entry.cid());
        let slot = self.commands.get(index);
        let ended = slot.filter(|s| s.call.end(generation, entry.result(), entry.status().0));
        if ended.is_none() && !slot.is_some_and(|s| s.call.end_late(generation)) {
            stats.stray.add(1);
            return;
        }

        if !entry.status().is_success() {
            stats.errors.add(1);
        }
        stats.commands.publish(1);
        if let Some(slot) = ended {
            slot.done.complete();
        }
    }
}

/// Why a command has no result.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CommandError {
    /// The controller completed the command with this status.
    Status(Status),
    /// The controller didn't complete the command in time.
    Timeout,
    /// The queue is closed, or every slot is in use or abandoned.
    Unavailable,
    /// The host failed, for example for lack of memory.
    Host(Error),
}

impl CommandError {
    /// Whether the controller rejected the command, and would reject it again.
    pub(crate) fn is_refusal(self) -> bool {
        Error::from(self) == EIO
    }
}

impl From<CommandError> for Error {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Status(status) => match status.block_error() {
                // Some controllers reject unsupported commands without setting DNR.
                BlockError::NotSupported => EIO,
                // As after a reset: the answer is unknown, and a later try may succeed.
                _ if status.retryable() => EAGAIN,
                _ => EIO,
            },
            CommandError::Timeout => ETIMEDOUT,
            CommandError::Unavailable => ENODEV,
            CommandError::Host(error) => error,
        }
    }
}

/// The admin queue.
pub(crate) type AdminQueue = Queue<Slots>;

impl AdminQueue {
    /// Allocates the admin queue; doesn't access the controller.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::new`].
    pub(crate) fn allocate(
        dev: &device::Device<Bound>,
        bar: &Bar0,
        stride: u32,
        instance: u32,
        on_event: Arc<dyn EventHook>,
    ) -> Result<Arc<Self>> {
        let mut commands = KVec::with_capacity(SLOTS, GFP_KERNEL)?;
        for _ in 0..SLOTS {
            let slot = KBox::pin_init(
                pin_init!(Slot {
                    call: Call::new(),
                    done <- Done::new(),
                    abandoned <- new_mutex!(None),
                }),
                GFP_KERNEL,
            )?;
            commands.push_within_capacity(slot)?;
        }
        let slots = Slots {
            commands,
            event: Word::new(),
            never: KBox::pin_init(Done::new(), GFP_KERNEL)?,
            on_event,
        };

        let config = QueueConfig {
            instance,
            qid: Qid::ADMIN,
            depth: DEPTH,
            cq_depth: DEPTH,
            vector: Some(0),
            reads: false,
            lazy: false,
        };
        Arc::pin_init(
            Queue::new(dev, bar, stride, config, None, slots),
            GFP_KERNEL,
        )
    }

    /// Runs `command`, for `timeout_ms` milliseconds at most, and returns its result (dwords 0 and
    /// 1 of the completion). `memory` holds what the command's data pointer names, if any.
    ///
    /// Process context; sleeps, but doesn't wait for memory.
    ///
    /// # Errors
    ///
    /// The cause. If the command timed out, the queue keeps `memory` until the controller is
    /// disabled.
    pub(crate) fn execute(
        &self,
        command: Command,
        memory: Option<Memory>,
        timeout_ms: u32,
    ) -> Result<u64, CommandError> {
        let (cid, slot) = self.reserve(0).ok_or(CommandError::Unavailable)?;
        match self.run(cid, slot, command, memory, &|| {
            Ok(slot.done.wait_timeout(timeout_ms))
        })? {
            (result, status) if status.is_success() => Ok(result),
            (_, status) => Err(CommandError::Status(status)),
        }
    }

    /// Runs a user's `command`, as [`execute`](Self::execute), but also returns the result of a
    /// command that failed, with its status. `memory` holds the command's data. A task that is killed
    /// lets go of the command at once if it `may_let_go`.
    ///
    /// # Errors
    ///
    /// `EINTR` if the task is killed before the command is in flight, or lets go of it; `EBUSY` if too
    /// many users' commands are in flight for `timeout_ms`, or a time-out if tasks have let go of all of
    /// them; otherwise as `execute`. The queue keeps `memory` until the controller has answered, or is
    /// disabled.
    pub(crate) fn execute_for_user(
        &self,
        command: Command,
        memory: Memory,
        timeout_ms: u32,
        may_let_go: bool,
    ) -> Result<(u64, Status), CommandError> {
        let mut waited_ms = 0;
        let (cid, slot) = loop {
            if let Some(found) = self.reserve(DRIVER_SLOTS) {
                break found;
            }
            if waited_ms >= timeout_ms {
                return Err(match self.are_abandoned() {
                    true => CommandError::Timeout,
                    false => CommandError::Host(EBUSY),
                });
            }
            let never = self.handler.never.wait_killable(LOOK_MS);
            never.map_err(CommandError::Host)?;
            waited_ms = waited_ms.saturating_add(LOOK_MS);
        };
        self.run(cid, slot, command, Some(memory), &|| match may_let_go {
            true => slot.done.wait_killable(timeout_ms),
            false => Ok(slot.wait_timeout(timeout_ms)),
        })
    }

    /// Whether all slots of users' commands are abandoned: the controller has answered none of them.
    fn are_abandoned(&self) -> bool {
        let mut slots = self.handler.commands.iter().skip(DRIVER_SLOTS);
        slots.all(|slot| slot.abandoned.lock().is_some())
    }

    /// Reserves a free slot, from slot `from` on.
    fn reserve(&self, from: usize) -> Option<(Cid, &Slot)> {
        let slots = self.handler.commands.iter().enumerate().skip(from);
        for (index, slot) in slots {
            if let Some(generation) = slot.call.reserve() {
                // The slot's last command may have been abandoned.
                let left = slot.abandoned.lock().take();
                drop(left);
                return Some((cid(index, generation), slot));
            }
        }
        None
    }

    /// Runs `command` in a reserved slot, and returns its result and status. `wait` waits for the
    /// slot's completion: it returns false if its time is up.
    fn run(
        &self,
        cid: Cid,
        slot: &Slot,
        mut command: Command,
        memory: Option<Memory>,
        wait: &dyn Fn() -> Result<bool>,
    ) -> Result<(u64, Status), CommandError> {
        command.set_cid(cid);
        let submitted = self.submit_if(Kind::Admin, command, || {
            slot.call.start();
            true
        });
        if !submitted {
            slot.call.release();
            return Err(CommandError::Unavailable);
        }

        let waited = wait();
        if waited != Ok(true) {
            // The controller may have completed the command, and only the interrupt is lost.
            self.reap_alone();
            let mut abandoned = slot.abandoned.lock();
            if slot.call.abandon() {
                // The device may still write to the memory, so the slot keeps it.
                *abandoned = memory;
                waited.map_err(CommandError::Host)?;
                let QueueConfig { instance, qid, .. } = self.config;
                trace::timeout(instance, qid, cid, command.opcode());
                return Err(CommandError::Timeout);
            }
            drop(abandoned);
            // The command has completed meanwhile: consume its wake-up, which is due at once, so
            // that the slot's next user doesn't see it.
            if !slot.done.wait_timeout(WAKE_UP_MS) {
                return Err(CommandError::Timeout);
            }
        }

        // The call is done, because the context that ended it has woken this one.
        let (result, status) = slot.call.take().ok_or(CommandError::Timeout)?;
        Ok((result, Status(status)))
    }

    /// Submits the asynchronous event request (Base 5.2), unless one is in flight or its event
    /// wasn't taken yet.
    pub(crate) fn arm_event(&self) {
        let armed = || self.handler.event.arm();
        self.submit_if(Kind::Admin, Command::async_event(EVENT_CID), armed);
    }

    /// Takes the event that arrived. The caller arms the next one by
    /// [`arm_event`](Self::arm_event).
    pub(crate) fn take_event(&self) -> Option<AsyncEvent> {
        self.handler.event.take().map(AsyncEvent::new)
    }

    /// Ends all commands in flight with an error, and frees abandoned slots and buffers. The
    /// controller must be disabled.
    pub(crate) fn cancel(&self) {
        let mut cancelled = 0u64;
        let mut count = |cid| {
            cancelled += 1;
            trace::cancelled(self.config.instance, self.config.qid, cid);
        };

        if self.handler.event.clear() {
            count(EVENT_CID);
        }
        for (index, slot) in self.handler.commands.iter().enumerate() {
            let left = slot.abandoned.lock().take();
            drop(left);
            let generation = slot.call.generation();
            let cid = cid(index, generation);
            if slot.call.reclaim() {
                count(cid);
            } else if slot.call.end(generation, 0, Status::CANCELLED.0) {
                count(cid);
                slot.done.complete();
            }
        }
        self.count_cancelled(cancelled);
    }
}
