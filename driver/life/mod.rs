// SPDX-License-Identifier: GPL-2.0

//! The life of a controller: start, stop, reset, removal, and the locks that order them.
//!
//! [`nvme::host::life`](crate::nvme::host::life) decides which event leads to which state; `events`
//! feeds it, and carries out its actions. `start` is the start sequence for probe, reset and
//! resume; `queues` creates the I/O queues at the controller, and decides what follows if it has
//! fewer; `stop` stops the controller; `disks` holds the disks; `timeout` handles requests that time
//! out; `async_events` handles what the controller reports; `host_memory` lends the controller memory; `user` does what user space asks for by
//! the control device, `supervisor` what the I/O path asks for. This room uses the hardware
//! (`ctrl`), the queues and the I/O path (`io`). It doesn't know how namespaces become disks, nor
//! `views`: `driver/mod.rs` passes in [`Hooks`].
//!
//! # Locks, and their order
//!
//! A lock is taken only while holding locks above it. All are mutexes, in process context, but
//! `record`, `sq` and `turn`, which are spinlocks. A reset takes `operation` and the locks below it,
//! so no holder of these locks may wait for memory: reclaim may depend on the reset.
//!
//! | lock | protects |
//! |------|----------|
//! | [`scanning`](Scanning) | the list of disks against other changes; may be held while waiting for I/O that only a reset can finish, so the reset path never takes it |
//! | the table in `namespaces::shared` | which controller has the disk of a shared namespace |
//! | `operation` | one start or stop of the controller at a time. Without it: the first start, because nothing else can start or stop a new controller; a removal, and a time-out after it, because a reset may hold `operation` while it waits for requests that these end |
//! | `switch` | enabling the controller against a stop that fails requests, because a removal and a time-out after it stop the controller without `operation`: a start must not enable the controller between that stop's disable and its cancelling of commands |
//! | `parts` | what exists while the controller is up |
//! | `io` | the list of I/O queues |
//! | `info`, `dump`, `control`, `reserve` in `ctrl`, `abandoned` in `ctrl::admin` | their values; none of these is taken under another |
//! | `record` | the [`Life`](crate::nvme::host::life::Life) and its history. Process context only, because interrupts stay on |
//! | a queue's `sq` | its submission ring. Process context and softirqs; no interrupt handler takes it |
//! | a queue's `turn`, with PREEMPT_RT only | its completion ring: a task holds it against the interrupt's thread. Without PREEMPT_RT the lock-free `cq` is enough |
//!
//! Waiting for a task is like taking all that it takes: `reset_and_wait` and `scan_and_wait` are
//! called without any of these locks.

mod async_events;
mod disks;
mod dump;
mod events;
mod host_memory;
mod instance;
mod queues;
mod rest;
mod start;
mod state;
mod stop;
mod supervisor;
mod timeout;
mod user;

pub(crate) use self::{
    disks::{
        AttachedDisk,
        Scanning, //
    },
    instance::Name, //
};

use self::{
    dump::Dump,
    host_memory::Lent,
    instance::Instance,
    queues::Standby,
    state::Record, //
};
use super::{
    ctrl::{
        admin::{
            AdminQueue,
            CommandError,
            EventHook, //
        },
        Ctrl, //
    },
    io::{
        ControlCalls,
        IoQueue,
        IoQueues,
        NvmeOps, //
    },
    params::Params,
    queue::{
        shadow,
        stats::{
            Counter,
            ZERO, //
        },
    },
};
use crate::abstractions::atomic::{
    AtomicBool,
    AtomicI64,
    AtomicU32,
    Ordering, //
};
use crate::{
    abstractions::{
        block::mq::TagSet,
        dma::{
            Block,
            Buffer, //
        },
        irq::{
            Registration,
            Vectors, //
        },
        sync::Completion,
        workqueue::{
            Run,
            Task,
            Tasks, //
        },
    },
    nvme::{
        host::{
            layout::Layout,
            life::{
                Cause,
                State, //
            },
        },
        spec::identify,
    },
};
use kernel::{
    device,
    new_mutex,
    new_spinlock,
    pci,
    prelude::*,
    sync::{
        Arc,
        Mutex,
        SpinLock, //
    }, //
};

/// Callbacks into the rooms above.
pub(crate) struct Hooks {
    /// Scans the namespaces and updates the disks. Runs as a task.
    pub(crate) scan: Run<Controller>,
    /// Forgets the controller; its scan never runs again.
    pub(crate) forget: fn(&Controller),
}

/// Counts of a controller's exceptions.
pub(crate) struct Events {
    /// Requests and admin commands that timed out.
    pub(crate) timeouts: Counter,
    /// Completions that the time-out handler found, without an interrupt.
    pub(crate) lost_interrupts: Counter,
    /// Abort commands sent.
    pub(crate) aborts: Counter,
    /// Resets of the controller.
    pub(crate) resets: Counter,
    /// Asynchronous events that the controller reported.
    pub(crate) async_events: Counter,
    /// Those of them that were SMART / health events.
    pub(crate) smart_warnings: Counter,
    /// As `resets`, but the administrator may set this count, and the next one.
    pub(crate) resets_shown: Counter,
    /// Users' admin commands that failed, and were logged, or left out of the log by its rate limit.
    pub(crate) admin_errors: Counter,
}

impl Events {
    /// No event so far.
    const fn new() -> Self {
        Self {
            timeouts: ZERO,
            lost_interrupts: ZERO,
            aborts: ZERO,
            resets: ZERO,
            async_events: ZERO,
            smart_warnings: ZERO,
            resets_shown: ZERO,
            admin_errors: ZERO,
        }
    }
}

/// The interrupts of a controller. The handlers are dropped before the vectors.
struct Interrupts {
    /// Has capacity for every vector.
    io: KVec<Registration<IoQueue>>,
    _admin: Registration<AdminQueue>,
    /// Vector 0's other handler, if there are several vectors.
    standby: Option<Registration<Standby>>,
    vectors: Arc<Vectors>,
}

/// What exists while the controller is up.
#[derive(Default)]
struct Parts {
    disks: KVec<AttachedDisk>,
    set: Option<Arc<TagSet<NvmeOps>>>,
    /// The set is quiesced: the block layer holds requests back.
    quiesced: bool,
    /// All I/O queues; the controller may have only the first of them.
    layout: Layout,
    /// The hardware queues that the block layer may have.
    hw_queues: u32,
    interrupts: Option<Interrupts>,
    /// Memory that the controller may write to until it is stopped.
    given_up: Option<(Buffer, Block)>,
    /// Memory that the controller borrows while it is enabled.
    lent: Lent,
    /// While the controller rests: the power state that it had before.
    rests_from: Option<u32>,
    /// The core dump of a stop, until the requests are released or failed.
    dump: Option<Dump>,
    /// The controller's shadow doorbells, if it has any.
    shadow: Option<shadow::Buffers>,
}

/// An NVMe controller.
#[pin_data]
pub(crate) struct Controller {
    params: Params,
    /// The time limit of a request that has none of its own, in milliseconds. Written under `parts`.
    io_timeout_ms: AtomicU32,
    /// Users' admin commands that fail are logged.
    pub(crate) logs_users: AtomicBool,
    forget: fn(&Controller),
    /// The state in `record`, for readers without the lock.
    state: AtomicU32,
    #[pin]
    record: SpinLock<Record>,
    events: Events,
    /// Whether SGLs work, see `namespaces::trial`.
    pub(crate) sgl: AtomicU32,
    /// A queue is added before the driver creates it at the controller, and stays until the
    /// controller is stopped: the controller may access its memory in between.
    #[pin]
    io: Mutex<IoQueues>,
    #[pin]
    info: Mutex<Option<(identify::Controller, identify::Subsystem)>>,
    /// A complete dump, until `dump_task` hands it to user space.
    #[pin]
    dump: Mutex<Option<Dump>>,
    /// See [`Controller::set_control`].
    #[pin]
    control: Mutex<Option<Arc<dyn ControlCalls>>>,
    #[pin]
    operation: Mutex<()>,
    #[pin]
    switch: Mutex<()>,
    #[pin]
    scanning: Mutex<()>,
    /// A scan has ended, or the controller has become dead.
    #[pin]
    scanned: Completion,
    /// Abort commands in flight.
    aborting: AtomicU32,
    /// The controller activates a firmware: until it ends its pause, no request times out.
    activating: AtomicBool,
    /// Time of the last abort that succeeded without completing its target, in nanoseconds of the
    /// monotonic clock; 0 if there was none.
    futile_abort: AtomicI64,
    #[pin]
    parts: Mutex<Parts>,
    /// Sends the uevents of state changes.
    state_task: Arc<Task<Controller>>,
    /// Hands dumps to user space. A reset must not do so itself, because that waits for memory.
    dump_task: Arc<Task<Controller>>,
    reset_task: Arc<Task<Controller>>,
    scan_task: Arc<Task<Controller>>,
    /// Handles asynchronous events.
    event_task: Arc<Task<Controller>>,
    name: Name,
    #[pin]
    ctrl: Ctrl,
}

/// A controller that the driver has started. Dropping this removes the controller, and frees its
/// instance number, even if user space still has a disk of the controller open: the name of a
/// removed disk is free.
pub(crate) struct Running {
    controller: Arc<Controller>,
    /// Dropped after the controller is removed.
    _instance: Instance,
}

impl core::ops::Deref for Running {
    type Target = Arc<Controller>;

    fn deref(&self) -> &Arc<Controller> {
        &self.controller
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.controller.remove();
    }
}

impl EventHook for Task<Controller> {
    fn event(&self) {
        self.queue();
    }
}

/// Takes the lowest free number, from `first` on, for the controller `pdev`.
///
/// # Errors
///
/// `ENOSPC` if all numbers are in use.
fn take_name(pdev: &pci::Device<device::Core<'_>>, first: u32) -> Result<Instance> {
    let instance =
        Instance::new(first).inspect_err(|_| dev_err!(pdev, "no instance number is free\n"))?;
    let name = instance.name();
    if name.may_be_taken() {
        dev_warn!(
            pdev,
            "the name {}: a controller of the kernel's nvme may have it, too, and then /dev/{} is that one\n",
            name,
            name
        );
    }
    Ok(instance)
}

impl Running {
    /// Starts the controller `pdev` and its queues for the first time. The caller calls
    /// [`Controller::announce`] next.
    ///
    /// # Errors
    ///
    /// If the device can't be driven; a line in the log says why.
    pub(crate) fn new(
        pdev: &pci::Device<device::Core<'_>>,
        tasks: &Tasks,
        params: Params,
        hooks: Hooks,
    ) -> Result<Self> {
        let scan_task = Task::new(tasks, hooks.scan)?;
        let event_task = Task::new(tasks, async_events::handle)?;
        let (depth, timeout_ms) = (params.queue_depth, params.admin_timeout_ms());
        let instance = take_name(pdev, params.first_instance)?;
        let name = instance.name();
        let (quirks, number) = (params.quirks, name.number());
        let ctrl = Ctrl::new(pdev, depth, quirks, timeout_ms, number, event_task.clone())?;
        let controller = Arc::pin_init(
            try_pin_init!(Controller {
                params,
                io_timeout_ms: AtomicU32::new(params.timeout_ms()),
                logs_users: AtomicBool::new(false),
                forget: hooks.forget,
                state: AtomicU32::new(State::New.as_u32()),
                record <- new_spinlock!(Record::new()),
                events: Events::new(),
                sgl: AtomicU32::new(0),
                io <- new_mutex!(KVec::new()),
                info <- new_mutex!(None),
                dump <- new_mutex!(None),
                control <- new_mutex!(None),
                operation <- new_mutex!(()),
                switch <- new_mutex!(()),
                scanning <- new_mutex!(()),
                scanned <- Completion::new(),
                aborting: AtomicU32::new(0),
                activating: AtomicBool::new(false),
                futile_abort: AtomicI64::new(0),
                parts <- new_mutex!(Parts::default()),
                state_task: Task::new(tasks, state::send_uevents)?,
                dump_task: Task::new(tasks, dump::submit)?,
                // A rescuer, because reclaim may depend on a reset.
                reset_task: Task::with_rescuer(tasks, fmt!("{name}-reset"), events::reset)?,
                scan_task,
                event_task,
                name,
                ctrl <- ctrl,
            }? Error),
            GFP_KERNEL,
        )?;

        // From here on, dropping `this` undoes everything.
        let this = Self {
            controller,
            _instance: instance,
        };
        this.attach_tasks();
        this.start(pdev.as_ref(), Some(pdev))?;
        Ok(this)
    }

    /// Sets the target of all tasks.
    fn attach_tasks(&self) {
        for task in [
            &self.state_task,
            &self.dump_task,
            &self.reset_task,
            &self.scan_task,
            &self.event_task,
        ] {
            task.attach(self.controller.clone());
        }
    }
}

impl Controller {
    /// The controller's name.
    pub(crate) fn name(&self) -> Name {
        self.name
    }

    /// The module's parameters.
    pub(crate) fn params(&self) -> &Params {
        &self.params
    }

    /// The time limit of a request that has none of its own, in milliseconds.
    pub(crate) fn io_timeout_ms(&self) -> u32 {
        self.io_timeout_ms.load(Ordering::Relaxed)
    }

    /// The hardware.
    pub(crate) fn ctrl(&self) -> &Ctrl {
        &self.ctrl
    }

    /// The device, for messages.
    pub(crate) fn dev(&self) -> &device::Device {
        self.ctrl.dev()
    }

    /// The counts of exceptions.
    pub(crate) fn events(&self) -> &Events {
        &self.events
    }

    /// The controller's identify data; `None` before the first Identify.
    pub(crate) fn info(&self) -> Option<identify::Controller> {
        self.info.lock().as_ref().map(|(info, _)| *info)
    }

    /// The subsystem that the controller reports; `None` before the first Identify.
    pub(crate) fn subsystem(&self) -> Option<identify::Subsystem> {
        self.info.lock().as_ref().map(|(_, subsystem)| *subsystem)
    }

    /// The controller's device; `None` before the first Identify.
    pub(crate) fn device_id(&self) -> Option<identify::DeviceId> {
        self.info.lock().as_ref().map(|(_, s)| s.device)
    }

    /// Calls `f` with the I/O queues.
    pub(crate) fn with_queues<R>(&self, f: impl FnOnce(&[Arc<IoQueue>]) -> R) -> R {
        f(&self.io.lock())
    }

    /// The I/O queues, one at a time and without holding their lock: for operations that take long.
    pub(crate) fn queues(&self) -> impl Iterator<Item = Arc<IoQueue>> + '_ {
        (0..).map_while(|i| self.io.lock().get(i).cloned())
    }

    /// The tags and queues that the disks share.
    pub(crate) fn tag_set(&self) -> Option<Arc<TagSet<NvmeOps>>> {
        self.parts.lock().set.clone()
    }

    /// The interrupt vectors.
    pub(crate) fn vectors(&self) -> Option<Arc<Vectors>> {
        Some(self.parts.lock().interrupts.as_ref()?.vectors.clone())
    }

    /// Keeps memory that the controller may write to until it is stopped.
    pub(crate) fn give_up(&self, memory: (Buffer, Block)) {
        self.parts.lock().given_up = Some(memory);
    }

    /// Keeps a live controller from being stopped; `None` if the controller isn't live.
    pub(crate) fn hold_live(&self) -> Option<impl Sized + '_> {
        let operation = self.operation.lock();
        (self.state() == State::Live).then_some(operation)
    }

    /// The task that scans the namespaces.
    pub(crate) fn scan_task(&self) -> &Arc<Task<Controller>> {
        &self.scan_task
    }

    /// Whether the controller activates a firmware, and pauses commands.
    fn is_activating(&self) -> bool {
        if !self.activating.load(Ordering::Relaxed) || self.ctrl.enabled().is_blocked() {
            return false;
        }
        let csts = self.ctrl.csts();
        !csts.gone() && csts.paused()
    }

    /// Counts a command that timed out, and requests a reset of the controller, unless it activates a
    /// firmware.
    pub(crate) fn escalate<T>(&self, result: Result<T, CommandError>) -> Result<T> {
        if matches!(result, Err(CommandError::Timeout)) {
            self.events.timeouts.add_shared();
            if self.is_activating() {
                return Err(ETIMEDOUT);
            }
            // Best effort: a reset may already be pending, or the controller may be dead.
            let _ = self.request_reset(Cause::TimedOut);
        }
        result.map_err(Into::into)
    }
}
