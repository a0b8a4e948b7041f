// SPDX-License-Identifier: GPL-2.0

//! The controller: from reset to live, and back.

use super::{
    admin::{
        AdminError,
        AdminQueue, //
    },
    io::{
        Blk,
        IoQueue,
        IoQueues, //
    },
    namespace,
    params::Params,
    queue::Shape,
    recovery,
    regs::{
        self,
        Bar0, //
    },
    shadow,
    stats::{
        Events,
        LogLimit, //
    },
    subsystem,
    views::Dump, //
};
use crate::{
    abstractions::{
        dma::{
            Block,
            Buffer,
            BUFFER_SIZE, //
        },
        irq::{
            Registration,
            Vectors, //
        },
        mq::{
            Disk,
            QueueSet,
            Status,
            TagSet, //
        },
        pci::Enabled,
        sync::Completion,
        sysfs::uevent_change,
        work::{
            Task,
            Tasks, //
        }, //
    },
    nvme::{
        spec::command::{
            opcode_name,
            Cns,
            Command,
            DataPtr, //
        },
        spec::features::{
            granted_queues,
            AsyncEvent, //
        },
        spec::identify, host::prp,
        host::quirks::Quirks,
        spec::regs::{
            aqa,
            cc,
            doorbells_end,
            Cap,
            Csts,
            Limits, //
        },
        host::life::State,
    },
};
use core::sync::atomic::{
    AtomicI64,
    AtomicU32,
    AtomicU64,
    Ordering, //
};
use kernel::{
    cpu::nr_cpu_ids,
    device::{
        self,
        Bound,
        Core, //
    },
    io::{
        poll::read_poll_timeout,
        Io, //
    },
    new_mutex,
    new_spinlock,
    pci::{
        self,
        IrqType, //
    },
    prelude::*,
    str::CString,
    sync::{
        aref::ARef,
        Arc,
        Mutex,
        SpinLock, //
    },
    time::{
        ClockSource,
        Delta,
        Monotonic, //
    }, //
};

/// The controllers that there can be at once.
const MAX_CONTROLLERS: usize = 256;

static INSTANCES: [AtomicU64; MAX_CONTROLLERS / 64] =
    [const { AtomicU64::new(0) }; MAX_CONTROLLERS / 64];

/// The number in a controller's name, which is free again when this is dropped.
struct Instance(usize);

impl Instance {
    /// Takes the lowest number that is free.
    fn new() -> Result<Self> {
        for i in 0..MAX_CONTROLLERS {
            let (word, bit) = (INSTANCES.get(i / 64).ok_or(ENOSPC)?, 1u64 << (i % 64));
            let mut old = word.load(Ordering::Relaxed);
            while old & bit == 0 {
                match word.compare_exchange(old, old | bit, Ordering::AcqRel, Ordering::Relaxed) {
                    Ok(_) => return Ok(Self(i)),
                    Err(now) => old = now,
                }
            }
        }
        Err(ENOSPC)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let (Some(word), bit) = (INSTANCES.get(self.0 / 64), 1u64 << (self.0 % 64)) else {
            return;
        };
        word.fetch_and(!bit, Ordering::Release);
    }
}

/// The interrupts of a controller. The handlers are removed before the vectors.
struct Interrupts {
    /// There is room for one for each vector.
    io: KVec<Registration<IoQueue>>,
    _admin: Registration<AdminQueue>,
    vectors: Arc<Vectors>,
}

/// What exists while the controller is up.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) disks: KVec<Arc<Disk<Blk>>>,
    pub(super) set: Option<Arc<TagSet<Blk>>>,
    /// Requests are kept from the queues.
    pub(super) held: bool,
    interrupts: Option<Interrupts>,
    /// Memory that the controller may still write to, until it is stopped.
    pub(super) given_up: Option<(Buffer, Block)>,
    /// The same of a queue that the controller didn't create, or not in time.
    refused: Option<Arc<IoQueue>>,
    /// Of a bus error, until requests aren't held any more.
    pub(super) dump: Option<Dump>,
    /// The controller's shadow doorbells, if it has any.
    shadow: Option<shadow::Buffers>,
}

/// Until when a controller stays stopped.
#[derive(PartialEq)]
pub(super) enum Paused {
    /// It isn't, or whoever holds the lock brings it up again.
    No,
    /// Until the bus got over an error.
    Error,
    /// Until others want it back: the system sleeps or ends, or somebody has the bus do a reset.
    Others,
}

/// The state changes that are remembered.
const HISTORY: usize = 32;

/// The last changes of a controller's state.
#[derive(Clone, Copy)]
struct History {
    /// The states, and when they began; change `n` is at `n` modulo the length.
    entries: [(State, i64); HISTORY],
    /// How many changes there were.
    changes: usize,
    /// How many of them user space was told of.
    told: usize,
}

impl History {
    fn new() -> Self {
        Self {
            entries: [(State::New, Monotonic::ktime_get()); HISTORY],
            changes: 1,
            told: 1,
        }
    }

    fn add(&mut self, state: State) {
        if let Some(entry) = self.entries.get_mut(self.changes % HISTORY) {
            *entry = (state, Monotonic::ktime_get());
        }
        self.changes = self.changes.wrapping_add(1);
    }

    /// The first change that is remembered.
    fn first(&self) -> usize {
        self.changes.saturating_sub(HISTORY)
    }

    fn get(&self, n: usize) -> (State, i64) {
        self.entries
            .get(n % HISTORY)
            .copied()
            .unwrap_or((State::New, 0))
    }

    /// The next state that user space wasn't told of.
    fn tell(&mut self) -> Option<State> {
        let next = self.told.max(self.first());
        if next >= self.changes {
            return None;
        }
        self.told = next + 1;
        Some(self.get(next).0)
    }
}

/// Tells user space of the state changes that it wasn't told of.
fn tell_state(controller: &Arc<Controller>, dev: &device::Device<Bound>) {
    loop {
        let Some(state) = controller.history.lock().tell() else {
            return;
        };
        // Events are for those who want them; without memory there are none.
        let _ =
            CString::try_from_fmt(fmt!("RNVME=rnvme{}", controller.instance())).and_then(|name| {
                let state = CString::try_from_fmt(fmt!("STATE={}", state.name()))?;
                uevent_change(dev, &[&name, &state])
            });
    }
}

/// Memory to identify the controller in a reset, when none may be to be had: freeing some may wait for
/// the reset.
struct Reserve {
    buffer: Arc<Buffer>,
    page: KBox<identify::Page>,
}

impl Reserve {
    fn new(dev: &device::Device<Bound>) -> Result<Self> {
        Ok(Self {
            buffer: Arc::new(Buffer::new(dev)?, GFP_KERNEL)?,
            page: KBox::new([0; BUFFER_SIZE], GFP_KERNEL)?,
        })
    }
}

/// Hands the last dump to user space.
fn submit_dump(controller: &Arc<Controller>, dev: &device::Device<Bound>) {
    controller.submit_dump(dev);
}

/// An NVMe controller.
#[pin_data]
pub(super) struct Controller {
    pub(super) pdev: ARef<pci::Device>,
    pub(super) params: Params,
    cap: Cap,
    /// The register VS, read when the controller is enabled, so that no user reads the hardware.
    vs: AtomicU32,
    limits: Limits,
    /// Changed under the lock of `history` only.
    state: AtomicU32,
    #[pin]
    history: SpinLock<History>,
    /// Tells user space of changes of the state.
    state_task: Arc<Task<Controller>>,
    /// Why the next reset is done, a [`Cause`](recovery::Cause).
    pub(super) cause: AtomicU32,
    pub(super) log: LogLimit,
    /// Whether scatter gather lists work, once that is known.
    pub(super) sgl: AtomicU32,
    pub(super) events: Events,
    pub(super) admin: Arc<AdminQueue>,
    /// Filled when the controller comes up. A queue is here before the controller is told of it, and
    /// until the controller is stopped: its memory is the controller's meanwhile.
    #[pin]
    io: Mutex<IoQueues>,
    #[pin]
    info: Mutex<Option<identify::Controller>>,
    /// Known once `info` is.
    #[pin]
    pub(super) subsystem: Mutex<Option<identify::Subsystem>>,
    #[pin]
    reserve: Mutex<Option<Reserve>>,
    /// A dump that is complete, until `dump_task` hands it to user space.
    #[pin]
    dump: Mutex<Option<Dump>>,
    /// A reset must not do that itself: it would wait for memory.
    dump_task: Arc<Task<Controller>>,
    /// Held by whoever brings the controller from one state to another. A reset takes this, and the
    /// locks of `io`, `info`, `reserve`, `dump` and `parts`: nobody waits for memory under one of them,
    /// as freeing some may wait for the reset.
    #[pin]
    pub(super) lifecycle: Mutex<Paused>,
    /// Held by whoever changes the disks. Requests are waited for under it, which a reset may have to
    /// end: nobody takes it on the way there.
    #[pin]
    pub(super) scanning: Mutex<()>,
    /// A scan has ended.
    #[pin]
    pub(super) scanned: Completion,
    /// The abort commands that are under way.
    pub(super) aborting: AtomicU32,
    /// When an abort was answered, and did not end its command: nanoseconds of the monotonic clock.
    pub(super) futile_abort: AtomicI64,
    #[pin]
    pub(super) parts: Mutex<Parts>,
    pub(super) reset_task: Arc<Task<Controller>>,
    pub(super) scan_task: Arc<Task<Controller>>,
    instance: Instance,
    pub(super) bar: Bar0,
    pub(super) enabled: Enabled,
}

/// A controller that is up. Dropping this takes it down, in order: the disks, the queues, the
/// controller itself, the interrupts.
pub(super) struct Running(Arc<Controller>);

impl core::ops::Deref for Running {
    type Target = Arc<Controller>;

    fn deref(&self) -> &Arc<Controller> {
        &self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.take_down();
    }
}

impl Running {
    /// Brings up the controller `pdev`, with its queues; [`Controller::start`] is what follows.
    ///
    /// # Errors
    ///
    /// Where the device can't be driven; a line in the log says why.
    pub(super) fn new(pdev: &pci::Device<Core<'_>>, tasks: &Tasks, params: Params) -> Result<Self> {
        let dev: &device::Device<Bound> = pdev.as_ref();
        let enabled = Enabled::new(pdev)
            .inspect_err(|e| dev_err!(dev, "can't enable the device: {:?}\n", e))?;
        if enabled.is_blocked() {
            // It has lost its addresses, and nobody would say when a reset is over.
            dev_err!(
                dev,
                "the bus gave this device up after an error: remove all below its root port, and rescan\n"
            );
            return Err(EIO);
        }
        let bar = Bar0::map(pdev, 0, c"rust_nvme_demo")
            .inspect_err(|e| dev_err!(dev, "can't map BAR 0: {:?}\n", e))?;

        let cap = Cap(regs::cap(&bar));
        let limits = Limits::new(cap, prp::PAGE_SHIFT, params.queue_depth)
            .inspect_err(|e| dev_err!(dev, "{}\n", e))
            .map_err(|_| ENODEV)?;
        if limits.depth < params.queue_depth {
            dev_info!(
                dev,
                "queue_depth: {} lowered to {} (CAP.MQES)\n",
                params.queue_depth,
                limits.depth
            );
        }

        let instance = Instance::new()?;
        let scan_task = Task::new(tasks, namespace::scan)?;
        let admin = AdminQueue::allocate(dev, &bar, limits.stride, scan_task.clone())?;
        let controller = Arc::pin_init(
            try_pin_init!(Controller {
                pdev: pdev.into(),
                params,
                cap,
                vs: AtomicU32::new(0),
                limits,
                state: AtomicU32::new(State::New.as_u32()),
                history <- new_spinlock!(History::new()),
                state_task: Task::new(tasks, tell_state)?,
                cause: AtomicU32::new(0),
                log: LogLimit::new(),
                sgl: AtomicU32::new(0),
                events: Events::new(),
                admin,
                io <- new_mutex!(KVec::new()),
                info <- new_mutex!(None),
                subsystem <- new_mutex!(None),
                reserve <- new_mutex!(None),
                dump <- new_mutex!(None),
                dump_task: Task::new(tasks, submit_dump)?,
                lifecycle <- new_mutex!(Paused::No),
                scanning <- new_mutex!(()),
                scanned <- Completion::new(),
                aborting: AtomicU32::new(0),
                futile_abort: AtomicI64::new(0),
                parts <- new_mutex!(Parts::default()),
                // The block layer may wait for a reset with all memory that there is.
                reset_task: Task::rescued(
                    tasks,
                    fmt!("rnvme{}-reset", instance.0),
                    recovery::reset,
                )?,
                scan_task,
                instance,
                bar,
                enabled,
            }? Error),
            GFP_KERNEL,
        )?;

        // From here on all that was done is undone by dropping this.
        let this = Self(controller);
        this.state_task.attach(this.clone());
        this.dump_task.attach(this.clone());
        this.reset_task.attach(this.clone());
        this.scan_task.attach(this.clone());
        this.bring_up(pdev)?;
        Ok(this)
    }
}

impl Controller {
    /// The number in the names of the controller and its disks.
    pub(super) fn instance(&self) -> usize {
        self.instance.0
    }

    /// Where the controller is in its life.
    pub(super) fn state(&self) -> State {
        State::try_from(self.state.load(Ordering::Acquire)).unwrap_or(State::Dead)
    }

    /// Moves on to `to`, if there is a way from where the controller is; user space is told. Process
    /// context.
    ///
    /// # Errors
    ///
    /// The state that it is in, from which there is no way.
    pub(super) fn change_state(&self, to: State) -> Result<(), State> {
        let mut history = self.history.lock();
        self.state().next(to).map_err(|invalid| invalid.from)?;
        self.state.store(to.as_u32(), Ordering::Release);
        history.add(to);
        drop(history);

        self.state_task.queue();
        Ok(())
    }

    /// As [`change_state`](Self::change_state); whether it did.
    pub(super) fn set_state(&self, to: State) -> bool {
        self.change_state(to).is_ok()
    }

    /// The states that the controller was in of late, the oldest first, each with the time since
    /// when, in nanoseconds of the monotonic clock.
    pub(super) fn history(&self) -> impl Iterator<Item = (State, i64)> {
        let history = *self.history.lock();
        (history.first()..history.changes).map(move |n| history.get(n))
    }

    /// The smallest memory page of the controller, in bytes: the unit of MDTS.
    pub(super) fn page_size_min(&self) -> u64 {
        self.cap.page_size_min()
    }

    /// The most entries of a queue that the controller has room for.
    fn max_entries(&self) -> u16 {
        u16::try_from(self.cap.mqes()).unwrap_or(u16::MAX)
    }

    /// What is known of the controller beyond what it says of itself.
    pub(super) fn quirks(&self) -> Quirks {
        Quirks::of(self.pdev.vendor_id().as_raw(), self.pdev.device_id())
    }

    /// The version of the specification that the controller follows, major and minor.
    pub(super) fn version(&self) -> (u16, u8) {
        let vs = self.vs().into_raw();
        ((vs >> 16) as u16, (vs >> 8) as u8)
    }

    /// The same in full.
    pub(super) fn vs(&self) -> regs::VS {
        regs::VS::from_raw(self.vs.load(Ordering::Relaxed))
    }

    /// The controller's capabilities.
    pub(super) fn cap(&self) -> Cap {
        self.cap
    }

    /// What the controller says of itself; `None` before it was asked.
    pub(super) fn info(&self) -> Option<identify::Controller> {
        *self.info.lock()
    }

    /// The number of disks.
    pub(super) fn disks(&self) -> usize {
        self.parts.lock().disks.len()
    }

    /// Calls `f` with the I/O queues.
    pub(super) fn with_queues<R>(&self, f: impl FnOnce(&[Arc<IoQueue>]) -> R) -> R {
        f(&self.io.lock())
    }

    /// The I/O queues one by one: for what takes its time, as their lock isn't held then.
    pub(super) fn queues(&self) -> impl Iterator<Item = Arc<IoQueue>> + '_ {
        (0..).map_while(|i| self.io.lock().get(i).cloned())
    }

    /// The disks one by one, without their lock. Those that are removed meanwhile may be left out, and
    /// others with them.
    pub(super) fn each_disk(&self) -> impl Iterator<Item = Arc<Disk<Blk>>> + '_ {
        (0..).map_while(|i| self.parts.lock().disks.get(i).cloned())
    }

    /// The interrupt vectors.
    pub(super) fn vectors(&self) -> Option<Arc<Vectors>> {
        Some(self.parts.lock().interrupts.as_ref()?.vectors.clone())
    }

    /// The device, for messages.
    pub(super) fn dev(&self) -> &device::Device {
        (*self.pdev).as_ref()
    }

    /// The controller's status.
    pub(super) fn csts(&self) -> Csts {
        Csts(self.bar.read(regs::CSTS).into_raw())
    }

    /// Whether the controller's registers can be read, and it answers.
    pub(super) fn is_reachable(&self) -> bool {
        !self.enabled.is_blocked() && !self.csts().gone()
    }

    /// Waits until `done` is true of the controller's status, `ms` milliseconds at most. `what`
    /// names it.
    fn wait_for(&self, what: &str, ms: u32, done: impl Fn(Csts) -> bool) -> Result {
        let csts = read_poll_timeout(
            || Ok(self.csts()),
            |csts| done(*csts) || csts.gone(),
            Delta::from_micros(100),
            Delta::from_millis(ms.into()),
        );

        match csts {
            Ok(csts) if csts.gone() => {
                dev_err!(self.dev(), "CSTS reads all ones: the device is gone\n");
                Err(ENODEV)
            }
            Ok(_) => Ok(()),
            Err(error) => {
                dev_err!(
                    self.dev(),
                    "{} not seen within {} ms (CSTS {:#x})\n",
                    what,
                    ms,
                    self.csts().0
                );
                Err(error)
            }
        }
    }

    /// The time that the controller may take to become ready or to stop being so, in milliseconds.
    fn ready_timeout_ms(&self) -> u32 {
        // Controllers exist that say 0.
        self.limits.timeout_ms.max(500)
    }

    /// Disables the controller: it forgets its queues, and does no DMA any more (Base 3.7.2).
    fn disable(&self) -> Result {
        let cc = self.bar.read(regs::CC).into_raw();
        self.bar.write_reg(regs::CC::from_raw(cc::disable(cc)));
        self.wait_for("CSTS.RDY = 0", self.ready_timeout_ms(), |c| !c.ready())
    }

    /// Disables the controller, by force if need be: it does no DMA after this.
    pub(super) fn stop(&self) {
        // One that can't be reached for now may be at work.
        let reachable = self.is_reachable();
        if reachable {
            self.settle();
        }
        if !reachable || self.disable().is_err() {
            self.enabled.stop_dma();
        }
    }

    /// Reaps all queues, and waits until the controller was told. With a line in place of vectors, QEMU
    /// would leave it up where that comes after a disable, and others may share it.
    fn settle(&self) {
        self.admin.settle();
        self.with_queues(|queues| queues.iter().for_each(|queue| queue.settle()));
    }

    /// Enables the controller with an empty admin queue (Base 3.5.1).
    pub(super) fn enable(&self, dev: &device::Device<Bound>) -> Result {
        self.disable()?;
        // What it was given before may have been carried out until then.
        self.enabled.start_dma(dev);
        self.admin.rewind();

        let (sq, cq) = self.admin.addresses();
        let depth = self.admin.shape.depth;
        self.bar.write_reg(regs::AQA::from_raw(aqa(depth, depth)));
        regs::set_asq(&self.bar, sq);
        regs::set_acq(&self.bar, cq);
        let mut cc = cc::enable(self.limits.page_shift);
        if self.cap.supports_all_command_sets() {
            // With the NVM command set alone, namespaces of others aren't listed.
            cc = cc::with_all_command_sets(cc);
        }
        self.bar.write_reg(regs::CC::from_raw(cc));

        self.wait_for("CSTS.RDY = 1", self.ready_timeout_ms(), |c| {
            c.ready() || c.fatal()
        })?;
        if self.csts().fatal() {
            dev_err!(self.dev(), "CSTS.CFS is 1: fatal error at start\n");
            return Err(EIO);
        }
        let vs = self.bar.read(regs::VS).into_raw();
        self.vs.store(vs, Ordering::Relaxed);
        self.admin.open();
        Ok(())
    }

    /// Runs an admin command without data. A line in the log says what failed.
    pub(super) fn admin(&self, command: Command) -> Result<u64> {
        match self
            .admin
            .execute(command, None, self.params.admin_timeout_ms())
        {
            Ok(result) => Ok(result),
            Err(error) => Err(self.admin_failed(&command, error)),
        }
    }

    /// Says what became of an admin command. A controller that doesn't answer is reset.
    fn admin_failed(&self, command: &Command, error: AdminError) -> Error {
        let name = opcode_name(true, command.opcode());
        match error {
            AdminError::Status(status) => warn_limited!(self, "{} failed: {}\n", name, status),
            AdminError::Timeout => warn_limited!(self, "{} was not completed in time\n", name),
            AdminError::Unavailable => {
                warn_limited!(self, "{}: the controller takes no command\n", name)
            }
        }
        if matches!(error, AdminError::Timeout) {
            self.events.timeouts.add_shared();
            // One that is under way, or can't be, changes nothing here.
            let _ = self.request_reset(recovery::Cause::TimedOut);
        }
        error.into()
    }

    /// Asks for a page of identify data (Base 5.17).
    pub(super) fn identify(
        &self,
        dev: &device::Device<Bound>,
        cns: Cns,
        nsid: u32,
    ) -> Result<KBox<identify::Page>> {
        let buffer = Buffer::new(dev)?;
        let data = DataPtr::Prp {
            prp1: buffer.dma_address(),
            prp2: 0,
        };
        let command = Command::identify(0, cns, nsid, data);

        self.admin_data(command, buffer)
    }

    /// Asks the controller what it is. Doesn't wait for memory.
    ///
    /// # Errors
    ///
    /// Where it doesn't say, or is none to work with; a line in the log says why.
    pub(super) fn learn(&self) -> Result<identify::Controller> {
        let buffer = {
            let reserve = self.reserve.lock();
            reserve.as_ref().ok_or(ENODEV)?.buffer.clone()
        };
        let data = DataPtr::Prp {
            prp1: buffer.dma_address(),
            prp2: 0,
        };
        self.fill(Command::identify(0, Cns::Controller, 0, data), &buffer)?;

        let (info, subsystem) = {
            let mut reserve = self.reserve.lock();
            let page = &mut Option::as_mut(&mut reserve).ok_or(ENODEV)?.page;
            buffer.copy_to(page);
            (
                identify::Controller::parse(page),
                identify::Subsystem::parse(page),
            )
        };
        info.validate()
            .inspect_err(|e| dev_err!(self.dev(), "{}\n", e))
            .map_err(|_| ENODEV)?;
        *self.subsystem.lock() = Some(subsystem);
        *self.info.lock() = Some(info);
        Ok(info)
    }

    /// The limits of the NVM command set; none where the controller doesn't know of such.
    ///
    /// # Errors
    ///
    /// Where it doesn't answer.
    pub(super) fn nvm_limits(
        &self,
        dev: &device::Device<Bound>,
    ) -> Result<identify::NvmController> {
        if self.version() < (1, 4) {
            return Ok(identify::NvmController::default());
        }
        match self.identify(dev, Cns::NvmController, 0) {
            Ok(page) => Ok(identify::NvmController::parse(&page)),
            // It refuses to say.
            Err(EIO) => Ok(identify::NvmController::default()),
            Err(error) => Err(error),
        }
    }

    /// Runs an admin command that fills `buffer`, and copies what it filled in.
    pub(super) fn admin_data(
        &self,
        command: Command,
        buffer: Buffer,
    ) -> Result<KBox<identify::Page>> {
        let buffer = Arc::new(buffer, GFP_KERNEL)?;

        self.fill(command, &buffer)?;
        buffer.copy()
    }

    /// Runs an admin command that fills `buffer`.
    fn fill(&self, command: Command, buffer: &Arc<Buffer>) -> Result {
        let (buffer, ms) = (Some(buffer.clone()), self.params.admin_timeout_ms());

        match self.admin.execute(command, buffer, ms) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.admin_failed(&command, error)),
        }
    }

    /// Has `dump` handed to user space; an earlier one that wasn't yet goes first, and stays.
    pub(super) fn hand_on(&self, dump: Dump) {
        self.dump.lock().get_or_insert(dump);
        self.dump_task.queue();
    }

    /// Hands the last dump to user space. Waits for memory; one caller at a time.
    pub(super) fn submit_dump(&self, dev: &device::Device<Bound>) {
        let dump = self.dump.lock().take();
        if let Some(dump) = dump {
            dump.submit(dev);
        }
    }

    fn bring_up(&self, pdev: &pci::Device<Core<'_>>) -> Result {
        let dev: &device::Device<Bound> = pdev.as_ref();
        *self.reserve.lock() = Some(Reserve::new(dev)?);
        self.enable(dev)?;

        let wanted = match self.params.io_queues {
            0 => nr_cpu_ids(),
            queues => queues.min(nr_cpu_ids()),
        };
        // Each CPU reads by one queue.
        let reads = self.params.read_queues.min(nr_cpu_ids());
        let mut vectors = self.start_interrupts(pdev, wanted.saturating_add(reads), reads)?;

        self.learn()?;

        let (default, reads, poll) = self.count_queues(wanted, reads, vectors.len())?;
        let interrupt = default + reads;
        if vectors.len() > 1 + usize::from(interrupt) || vectors.second_set() != reads.into() {
            // More vectors than queues: the CPUs of those left over would have no queue.
            let interrupts = self.parts.lock().interrupts.take();
            drop(interrupts);
            drop(vectors);
            vectors = self.start_interrupts(pdev, interrupt.into(), reads.into())?;
        }

        self.create_queues(dev, &vectors, default, reads, poll)?;
        let mut queues = KVec::with_capacity((interrupt + poll).into(), GFP_KERNEL)?;
        for queue in self.queues() {
            queues.push(queue, GFP_KERNEL)?;
        }
        // Where the controller made fewer, the last ones are missing.
        let interrupt = queues.len().min(interrupt.into());
        let default = interrupt.min(default.into());
        let spread = vectors.len() > 1;
        let (read, poll) = (interrupt - default, queues.len() - interrupt);
        let set = TagSet::new(
            dev,
            queues,
            [
                QueueSet {
                    queues: default as u32,
                    first_vector: spread.then_some(1),
                },
                QueueSet {
                    queues: read as u32,
                    first_vector: spread.then_some(1 + default as u32),
                },
                QueueSet {
                    queues: poll as u32,
                    first_vector: None,
                },
            ],
            // One entry of a ring stays empty. The depth has 16 bits.
            (self.limits.depth - 1) as u16,
            self.params.timeout_ms(),
        )?;
        self.parts.lock().set = Some(set);
        self.start_shadow();
        Ok(())
    }

    /// Lets requests in and looks for the disks, which user space is told of.
    ///
    /// # Errors
    ///
    /// `ENODEV` where the controller is dead by then.
    pub(super) fn start(&self, dev: &device::Device<Bound>) -> Result {
        let info = self.info().ok_or(ENODEV)?;

        if !self.set_state(State::Live) {
            return Err(ENODEV);
        }
        self.watch_events(&info);
        // Not here: a controller that answers no read would hold up the bus. Such a one is left to find
        // its disks when it can.
        self.scan_task.queue();
        let mut found = self.scanned.wait_timeout(self.params.admin_timeout_ms());
        // The scan itself may have asked for a reset, which has it done again.
        if found && self.state() == State::Resetting && !self.enabled.is_blocked() {
            found = self.scanned.wait_timeout(self.params.admin_timeout_ms());
        }
        if !found {
            dev_warn!(dev, "the namespaces are still being looked for\n");
        }
        if self.state() == State::Dead {
            return Err(ENODEV);
        }
        dev_info!(
            dev,
            "rnvme{}: {}; I/O queues: {} of {} entries; namespaces: {}\n",
            self.instance(),
            info.model.as_str(),
            self.with_queues(|queues| queues.len()),
            self.limits.depth,
            self.disks()
        );
        Ok(())
    }

    /// Has the controller tell of changes of its namespaces (Base 5.27.1.8).
    pub(super) fn watch_events(&self, info: &identify::Controller) {
        let mask = info.oaes & AsyncEvent::NAMESPACE_ATTRIBUTES;

        // Without events all else works, and changes are seen when one asks for a rescan.
        if mask != 0
            && self
                .admin(Command::set_features_async_event(0, mask))
                .is_ok()
        {
            self.admin.arm_event();
        }
    }

    /// Gets the vectors, and registers the admin queue's handler.
    fn start_interrupts(
        &self,
        pdev: &pci::Device<Core<'_>>,
        queues: u32,
        reads: u32,
    ) -> Result<Arc<Vectors>> {
        let vectors = Vectors::alloc(
            pdev,
            1,
            queues.saturating_add(1),
            1,
            reads,
            &[IrqType::MsiX, IrqType::Msi, IrqType::Intx],
        )
        .inspect_err(|e| dev_err!(pdev, "no interrupt vector: {:?}\n", e))?;

        let instance = self.instance();
        let interrupts = Interrupts {
            io: KVec::with_capacity(vectors.len(), GFP_KERNEL)?,
            _admin: Registration::new(
                vectors.clone(),
                0,
                fmt!("rnvme{instance}q0"),
                self.admin.clone(),
            )?,
            vectors: vectors.clone(),
        };
        // Kept until the controller is disabled, and raises none any more.
        self.parts.lock().interrupts = Some(interrupts);
        Ok(vectors)
    }

    /// How many I/O queues for everything, for reads and without interrupts there can be: as the
    /// controller grants, vectors serve and doorbells in BAR 0 allow.
    fn count_queues(&self, wanted: u32, reads: u32, vectors: usize) -> Result<(u16, u16, u16)> {
        let polls = self.params.poll_queues;
        let interrupt = wanted.saturating_add(reads);
        let asked = interrupt
            .saturating_add(polls)
            .clamp(1, super::params::MAX_IO_QUEUES);
        let granted = self.grant_queues(asked as u16)?;
        let served = u32::try_from(vectors.saturating_sub(1).max(1)).unwrap_or(1);

        let mut total = asked.min(granted) as u16;
        while total > 0 && doorbells_end(total, self.limits.stride) > self.bar.len() {
            total -= 1;
        }
        if total == 0 {
            dev_err!(
                self.dev(),
                "BAR 0 of {:#x} bytes has no doorbell for an I/O queue (stride {})\n",
                self.bar.len(),
                self.cap.doorbell_stride()
            );
            return Err(ENODEV);
        }

        // There is one for everything in any case, and those that are polled come last. Where they
        // can't be as many, those for reads are half at the most.
        let count = interrupt.min(served).min(total.into());
        let read = if count < interrupt {
            reads.min(count / 2)
        } else {
            reads
        };
        // No more than `total`.
        let (default, read) = ((count - read) as u16, read as u16);
        let poll = (total - default - read).min(polls as u16);
        for (name, asked, count) in [
            ("io_queues", self.params.io_queues, default),
            ("read_queues", self.params.read_queues, read),
            ("poll_queues", polls, poll),
        ] {
            if asked > count.into() {
                dev_info!(
                    self.dev(),
                    "{}: {} lowered to {} (granted {}, vectors {}, CPUs {})\n",
                    name,
                    asked,
                    count,
                    granted,
                    vectors,
                    nr_cpu_ids()
                );
            }
        }
        Ok((default, read, poll))
    }

    /// Makes the I/O queues, here and at the controller, with their interrupts. Goes on with fewer
    /// where the controller makes no more.
    fn create_queues(
        &self,
        dev: &device::Device<Bound>,
        vectors: &Arc<Vectors>,
        default: u16,
        reads: u16,
        poll: u16,
    ) -> Result {
        let interrupt = default + reads;
        let count = interrupt + poll;
        let msix = matches!(vectors.irq_type(), IrqType::MsiX);
        // An interrupt line stays raised until the controller sees the head, and it looks at memory
        // when it pleases.
        let shadow = match msix {
            true => self.shadow_buffers(dev, count),
            false => None,
        };
        *self.io.lock() = KVec::with_capacity(count.into(), GFP_KERNEL)?;
        let instance = self.instance();
        // `Limits` keeps it to 16 bits.
        let depth = self.limits.depth as u16;
        let lazy = msix && self.params.lazy_doorbells(self.quirks().lazy_doorbells);

        for qid in 1..=count {
            let vector = match vectors.len() {
                _ if qid > interrupt => None,
                1 => Some(0),
                _ => Some(qid),
            };
            let shape = Shape {
                qid,
                depth,
                cq_depth: if lazy {
                    // What the head may lag behind: enough to matter, and little memory.
                    depth.saturating_add(depth / 8).min(self.max_entries())
                } else {
                    depth
                },
                vector,
                reads: qid > default && qid <= interrupt,
                lazy,
            };
            let queue =
                IoQueue::allocate(dev, &self.bar, self.limits.stride, shape, shadow.as_ref())?;
            queue.rewind();
            self.io.lock().push_within_capacity(queue.clone())?;

            if let Err(error) = self.create_queue(&queue) {
                if qid == 1 {
                    return Err(error);
                }
                dev_warn!(dev, "going on with {} I/O queues\n", qid - 1);
                let refused = self.io.lock().pop();
                self.parts.lock().refused = refused;
                break;
            }
            if let Some(vector) = vector {
                let irq = Registration::new(
                    vectors.clone(),
                    vector.into(),
                    fmt!("rnvme{instance}q{qid}"),
                    queue.clone(),
                )?;
                if let Some(interrupts) = &mut self.parts.lock().interrupts {
                    interrupts.io.push_within_capacity(irq)?;
                }
            }
            queue.open();
        }
        self.parts.lock().shadow = shadow;
        Ok(())
    }

    /// The memory for shadow doorbells, where the controller and the user want such.
    fn shadow_buffers(&self, dev: &device::Device<Bound>, queues: u16) -> Option<shadow::Buffers> {
        let has = self
            .info()
            .is_some_and(|info| info.doorbell_buffer_config());
        if !has || !self.params.shadow_doorbells {
            return None;
        }
        shadow::Buffers::new(dev, queues, self.limits.stride)
            .inspect_err(|e| dev_info!(dev, "driven without shadow doorbells: {:?}\n", e))
            .ok()
    }

    /// Tells the controller of the shadow doorbells (Base 5.8), after its queues were made and before
    /// they are used. One that refuses is driven without.
    pub(super) fn start_shadow(&self) {
        self.with_queues(|queues| queues.iter().for_each(|queue| queue.set_shadow(false)));
        let Some(command) = self.parts.lock().shadow.as_ref().map(|s| s.configure()) else {
            return;
        };
        if self.admin(command).is_err() {
            dev_info!(self.dev(), "driven without shadow doorbells\n");
            return;
        }
        self.with_queues(|queues| queues.iter().for_each(|queue| queue.set_shadow(true)));
    }

    /// Tells the controller of an I/O queue (Base 5.4, 5.5).
    pub(super) fn create_queue(&self, queue: &IoQueue) -> Result {
        let (sq, cq) = queue.addresses();
        let Shape {
            qid,
            depth,
            cq_depth,
            vector,
            ..
        } = queue.shape;

        self.admin(Command::create_cq(0, qid, cq_depth.into(), vector, cq))?;
        self.admin(Command::create_sq(0, qid, depth.into(), qid, sq))
            .inspect_err(|_| {
                // The completion queue alone is of no use. What comes of it changes nothing.
                let _ = self.admin(Command::delete_cq(0, qid));
            })?;
        Ok(())
    }

    /// Lets no more commands into the queues.
    pub(super) fn close(&self) {
        self.admin.close();
        self.with_queues(|queues| queues.iter().for_each(|queue| queue.close()));
    }

    /// Asks the controller how many of `wanted` I/O queues it grants (Base 5.27.1.5).
    pub(super) fn grant_queues(&self, wanted: u16) -> Result<u32> {
        let result = self.admin(Command::set_features_num_queues(0, wanted))?;
        let (sq, cq) = granted_queues(result as u32);
        Ok(sq.min(cq))
    }

    /// Takes the controller down, unless that was done.
    pub(super) fn take_down(&self) {
        let before = self.state();
        // No reset begins after this, and none is under way after the tasks are cancelled.
        if !self.set_state(State::Deleting) {
            return;
        }
        if before != State::Live || !self.enabled.is_present() {
            // Nobody else ends what a scan may wait for.
            self.fail_requests(&mut |_, _, _| ());
        }
        self.reset_task.cancel();
        self.scan_task.cancel();
        self.state_task.cancel();
        subsystem::forget_refused(self.instance(), |_| false);
        self.dump_task.cancel();

        let works = before == State::Live && self.enabled.is_present() && self.admin.is_open();
        if !works {
            self.fail_requests(&mut |_, _, _| ());
            self.mark_disks_dead();
        }
        // The disks go first: file systems on them write back what they have, and that takes
        // queues that work. Not under the lock, as it may take long.
        let disks = core::mem::take(&mut self.parts.lock().disks);
        drop(disks);

        self.shut_down();
        self.cancel_requests(&mut |_, _, rq| rq.end(Status::IoError));

        let parts = core::mem::take(&mut *self.parts.lock());
        drop(parts.set);
        drop(parts.interrupts);
        *self.reserve.lock() = None;
        *self.io.lock() = KVec::new();
    }

    /// Shuts an idle controller down in order, if it still works: it does no DMA after this (Base 3.6.1).
    pub(super) fn shut_down(&self) {
        let works = self.admin.is_open() && self.csts().ready();
        if works {
            self.delete_queues();
        }
        self.close();
        if works && self.notify_shutdown().is_err() && self.is_reachable() {
            // It may still be saving data, which a disable would interrupt: it goes on, but without DMA.
            self.settle();
            self.enabled.stop_dma();
        } else {
            self.stop();
        }
    }

    /// Tells the controller to forget the I/O queues (Base 5.6, 5.7).
    fn delete_queues(&self) {
        for queue in self.queues() {
            let qid = queue.shape.qid;
            let deleted = self
                .admin(Command::delete_sq(0, qid))
                .and_then(|_| self.admin(Command::delete_cq(0, qid)));
            // One that doesn't answer will not answer for the next queue either; disabling it does
            // the same.
            if deleted.is_err() {
                break;
            }
        }
    }

    /// Tells the controller that it is going to be switched off or left alone, and waits until it
    /// is ready for that (Base 3.6.1).
    ///
    /// # Errors
    ///
    /// Those of [`wait_for`](Self::wait_for), which logs them.
    fn notify_shutdown(&self) -> Result {
        let cc = self.bar.read(regs::CC).into_raw();
        self.bar
            .write_reg(regs::CC::from_raw(cc::with_shutdown(cc, true)));

        let ms = self
            .info()
            .map_or(identify::MIN_SHUTDOWN_MS, |info| info.shutdown_timeout_ms())
            .max(self.ready_timeout_ms());
        self.wait_for("CSTS.SHST = 2", ms, |c| c.shutdown_complete())
    }
}
