// SPDX-License-Identifier: GPL-2.0

//! The admin queue: commands that are waited for, one caller each.

use super::{
    queue::{
        Queue,
        Shape,
        Sink, //
    },
    regs::Bar0,
    stats::{
        Completed,
        Kind, //
    },
};
use crate::{
    abstractions::{
        dma::Buffer,
        sync::Completion as Done, //
    },
    nvme::{
        command::{
            opcode_name,
            Command, //
        },
        completion::Completion,
        status::Status,
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
        atomic::{
            ordering,
            Atomic, //
        },
        Arc,
        Mutex, //
    }, //
};

/// The entries of the admin queues.
pub(super) const DEPTH: u16 = 32;

/// The commands that may be in flight at once: one entry of a ring stays empty.
const SLOTS: usize = DEPTH as usize - 1;

const FREE: u32 = 0;
const PENDING: u32 = 1;
const DONE: u32 = 2;
/// The caller gave up. The slot isn't used again until the controller is disabled.
const ABANDONED: u32 = 3;

/// How a command ends that the controller will not answer: Command Abort Requested (Base 4.2.3).
const ABORTED: Status = Status(0x07);

/// A command in flight.
#[pin_data]
struct Slot {
    state: Atomic<u32>,
    result: Atomic<u64>,
    status: Atomic<u32>,
    #[pin]
    done: Done,
    /// The data of a command that its caller gave up: the device may still write them.
    #[pin]
    abandoned: Mutex<Option<Buffer>>,
}

impl Slot {
    /// Notes how the command ended; `false` if there is none that is waited for.
    fn end(&self, result: u64, status: Status) -> bool {
        if self.state.load(ordering::Relaxed) != PENDING {
            return false;
        }
        self.result.store(result, ordering::Relaxed);
        self.status.store(status.0.into(), ordering::Relaxed);
        self.state.cmpxchg(PENDING, DONE, ordering::Full).is_ok()
    }
}

/// The admin commands in flight, by command identifier.
pub(super) struct Slots(KVec<Pin<KBox<Slot>>>);

impl Sink for Slots {
    type Batch<'a> = ();

    fn batch() {}

    fn complete(&self, entry: Completion, stats: &Completed, _batch: &mut ()) {
        let slot = self.0.get(usize::from(entry.cid()));
        let Some(slot) = slot.filter(|s| s.end(entry.result(), entry.status())) else {
            stats.stray.add(1);
            return;
        };

        if !entry.status().is_success() {
            stats.errors.add(1);
        }
        stats.commands.publish(1);
        slot.done.complete();
    }
}

/// Why an admin command has no result.
#[derive(Clone, Copy, Debug)]
pub(super) enum AdminError {
    /// The controller completed it with this status.
    Status(Status),
    /// It wasn't completed in time.
    Timeout,
    /// The queue is closed, or full of commands that were given up.
    Unavailable,
}

impl From<AdminError> for Error {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Status(_) => EIO,
            AdminError::Timeout => ETIMEDOUT,
            AdminError::Unavailable => ENODEV,
        }
    }
}

/// The admin queue.
pub(super) type AdminQueue = Queue<Slots>;

impl AdminQueue {
    /// Allocates the admin queue; the controller isn't told.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::new`].
    pub(super) fn allocate(
        dev: &device::Device<Bound>,
        bar: &Bar0,
        stride: u32,
        depth: u16,
    ) -> Result<Arc<Self>> {
        let mut slots = KVec::with_capacity(SLOTS, GFP_KERNEL)?;
        for _ in 0..SLOTS.min(usize::from(depth) - 1) {
            let slot = KBox::pin_init(
                pin_init!(Slot {
                    state: Atomic::new(FREE),
                    result: Atomic::new(0),
                    status: Atomic::new(0),
                    done <- Done::new(),
                    abandoned <- new_mutex!(None),
                }),
                GFP_KERNEL,
            )?;
            slots.push(slot, GFP_KERNEL)?;
        }

        let shape = Shape {
            qid: 0,
            depth,
            vector: Some(0),
        };
        Arc::pin_init(
            Queue::new(dev, bar, stride, shape, Slots(slots)),
            GFP_KERNEL,
        )
    }

    /// Runs `command`, `timeout_ms` milliseconds at most, and returns its result (dwords 0 and 1 of
    /// the completion) and the buffer, if there is one, that the command's data pointer names.
    ///
    /// Process context; sleeps.
    ///
    /// # Errors
    ///
    /// What went wrong. The buffer of a command that timed out stays with the queue until the
    /// controller is disabled.
    pub(super) fn execute(
        &self,
        mut command: Command,
        buffer: Option<Buffer>,
        timeout_ms: u32,
    ) -> Result<(u64, Option<Buffer>), AdminError> {
        let (cid, slot) = self
            .sink
            .0
            .iter()
            .enumerate()
            .find(|(_, slot)| slot.state.cmpxchg(FREE, PENDING, ordering::Acquire).is_ok())
            .ok_or(AdminError::Unavailable)?;
        // There are `SLOTS` at most.
        command.set_cid(cid as u16);

        if !self.submit(Kind::Admin, true, || self.is_open().then_some(command)) {
            slot.state.store(FREE, ordering::Release);
            return Err(AdminError::Unavailable);
        }

        if !slot.done.wait_timeout(timeout_ms) {
            // The completion may be there, and only its interrupt be lost.
            self.reap(&mut ());
            let mut abandoned = slot.abandoned.lock();
            if slot
                .state
                .cmpxchg(PENDING, ABANDONED, ordering::Full)
                .is_ok()
            {
                // The device may still write to the buffer: it stays, and so does the slot.
                *abandoned = buffer;
                return Err(AdminError::Timeout);
            }
            drop(abandoned);
            // It is done; take the call that says so, so that the slot's next user doesn't.
            if !slot.done.wait_timeout(timeout_ms) {
                return Err(AdminError::Timeout);
            }
        }

        let result = slot.result.load(ordering::Relaxed);
        // The status has 15 bits.
        let status = Status(slot.status.load(ordering::Relaxed) as u16);
        slot.state.store(FREE, ordering::Release);
        if status.is_success() {
            Ok((result, buffer))
        } else {
            Err(AdminError::Status(status))
        }
    }

    /// Ends all commands in flight with an error, and frees what was given up: for a controller
    /// that was disabled.
    pub(super) fn cancel(&self) {
        for slot in &self.sink.0 {
            let mut abandoned = slot.abandoned.lock();
            if slot.state.cmpxchg(ABANDONED, FREE, ordering::Full).is_ok() {
                drop(abandoned.take());
            } else if slot.end(0, ABORTED) {
                slot.done.complete();
            }
        }
    }
}

/// Says of a failed admin command what it was and why it failed.
pub(super) fn report(dev: &device::Device, command: &Command, error: AdminError) {
    let name = opcode_name(true, command.opcode());

    match error {
        AdminError::Status(status) => dev_err!(dev, "{} failed: {}\n", name, status),
        AdminError::Timeout => dev_err!(dev, "{} was not completed in time\n", name),
        AdminError::Unavailable => dev_err!(dev, "{}: the controller takes no command\n", name),
    }
}
