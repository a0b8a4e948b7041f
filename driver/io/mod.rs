// SPDX-License-Identifier: GPL-2.0

//! The I/O path: requests from blk-mq to a submission queue, and completions back.
//!
//! [`NvmeOps::queue_rq`](mq::Operations::queue_rq) builds a request's command (`data`) and submits
//! it; the queue passes completed commands to `complete`. Nothing on this path sleeps, logs or
//! allocates, except a list from a pool. The block layer calls this room; [`Supervisor`] is its
//! interface to `life`, called only off the fast path.

mod complete;
mod data;
mod detour;
mod failure;
mod metadata;
mod namespace;
mod passthrough;
mod reservation;
mod trial;
mod uring;
mod user;

pub(crate) use self::{
    complete::requeue,
    failure::Failure,
    namespace::{
        Details,
        Namespace,
        Trust, //
    },
    passthrough::ioctl,
    uring::uring_cmd,
    user::{
        has_metadata,
        read_command,
        read_uring,
        write_result,
        Caller,
        Memory, //
    },
};

use self::{
    data::SMALL_LIST,
    detour::Detour,
    passthrough::Own,
    reservation::RESERVATIONS,
    trial::trial_cid, //
};
use super::{
    queue::{
        shadow,
        stats::{
            Kind, //
        },
        Queue,
        QueueConfig, //
    },
    trace, //
};
use crate::{
    abstractions::{
        atomic::{
            word::Word,
            AtomicBool,
            Ordering, //
        },
        block::mq::{
            self,
            Frozen,
            IdleRequest,
            InFlight,
            IoCompletionBatch,
            Ioctls,
            Op,
            Rejected,
            Request,
            RequestTimeoutStatus,
            Reservations,
            Status,
            Tag,
            Transfer, //
        },
        chrdev::{
            Ioctl,
            Parent, //
        },
        dma::{
            Block,
            Pool, //
        },
        pci::io::Bar,
    },
    nvme::{
        host::{
            prp, //
        },
        spec::{
            command::{
                opcode_name,
                Command,
                Opcode, //
            },
            effects::Effects,
            id::{
                Cid,
                Nsid, //
            },
            status,
        },
    },
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    prelude::*,
    sync::Arc, //
};

/// A queue for I/O commands.
pub(crate) type IoQueue = Queue<Requests>;

/// The I/O queues of a controller, by blk-mq's index.
pub(crate) type IoQueues = KVec<Arc<IoQueue>>;

/// The requests of one I/O queue, and the memory for their lists.
pub(crate) struct Requests {
    inflight: InFlight<NvmeOps>,
    /// The status of the trial, see `trial`.
    trial: Word,
    small: Arc<Pool>,
    large: Arc<Pool>,
    detour: Detour,
    /// The controller has the queue.
    present: AtomicBool,
    /// The queue's interrupts come by vector 0, not by its own vector.
    moved: AtomicBool,
}

impl Requests {
    fn new(dev: &device::Device<Bound>, tags: u16, first: Option<Arc<IoQueue>>) -> Result<Self> {
        Ok(Self {
            detour: Detour::new(first, tags)?,
            present: AtomicBool::new(false),
            moved: AtomicBool::new(false),
            inflight: InFlight::new(tags)?,
            trial: Word::new(),
            small: Pool::new(dev, SMALL_LIST)?,
            large: Pool::new(dev, prp::LIST_ENTRIES)?,
        })
    }
}

/// Decisions about requests that depend on the controller's life. `life` implements this.
pub(crate) trait Supervisor: Send + Sync {
    /// The status for a request that finds its queue closed. Any context.
    fn refusal(&self) -> Status;

    /// Handles the time-out of the request with `tag`, for `op`. Process context; sleeps.
    fn timed_out(&self, queue: &IoQueue, tag: Tag, op: Op) -> RequestTimeoutStatus;

    /// Logs a command that failed, and isn't retried; rate-limited. Any context.
    fn log_failure(&self, failure: &Failure);

    /// Reads the number of allocated blocks of namespace `id` (NUSE). Process context; sleeps.
    fn allocated_blocks(&self, dev: &device::Device<Bound>, id: Nsid) -> Result<u64>;

    /// The effects of the I/O command with this opcode, as far as they are known. Process context.
    fn io_effects(&self, opcode: u8) -> Effects;

    /// The time limit of a request that has none of its own, in milliseconds.
    fn io_timeout_ms(&self) -> u32;

    /// The controller's control device, which answers the calls that are for the controller. Process
    /// context.
    fn control(&self) -> Option<Arc<dyn ControlCalls>>;

    /// A user's command may have changed the namespaces. Process context.
    fn namespaces_changed(&self);
}

/// A controller's control device, as disks see it. `control` implements this.
pub(crate) trait ControlCalls: Send + Sync {
    /// Answers a call of `ioctl()`. Process context; sleeps.
    fn call(&self, call: &Ioctl) -> Result<isize>;

    /// Sends user space a `change` event of the control device, with `variable`. Sleeps.
    fn uevent(&self, variable: &CStr) -> Result;

    /// The control device as the parent of the controller's disks.
    fn as_parent(&self) -> Parent;
}

/// The driver's per-request data (the pdu).
#[derive(Default)]
pub(crate) struct RequestData {
    /// There may be a list, or a command of the request's own: `complete` calls
    /// [`release`](Self::release).
    has_more: bool,
    /// The number of retries so far.
    retries: u8,
    /// The PRP list or SGL, or the ranges of a discard.
    list: Option<Block>,
    /// The command of a passthrough request.
    own: Option<Own>,
}

/// The driver's blk-mq operations.
pub(crate) struct NvmeOps;

impl mq::Operations for NvmeOps {
    type Module = crate::RustNvmeDemo;
    type TagSetData = IoQueues;
    type HwData = IoQueue;
    type GenDiskData = Namespace;
    type RequestData = RequestData;

    const IOCTL: Option<Ioctls<Self>> = Some(ioctl);
    const RESERVATIONS: Option<Reservations<Self>> = Some(RESERVATIONS);

    fn init_hctx(queues: &IoQueues, index: u32) -> Result<Arc<IoQueue>> {
        Ok(queues.get(usize::try_from(index)?).ok_or(EINVAL)?.clone())
    }

    fn remapped(queues: &IoQueues, frozen: &Frozen<'_>) {
        for queue in queues {
            queue.handler.inflight.forget_tags(frozen);
        }
    }

    #[inline]
    fn queue_rq<'a>(
        queue: &IoQueue,
        ns: &Namespace,
        rq: IdleRequest<'a, Self>,
        last: bool,
    ) -> Result<(), Rejected<'a>> {
        // Before anything else, so that the other operations don't save registers twice.
        match rq.transfer_by(&ns.path) {
            Some(transfer) => queue_transfer(queue, ns, rq, &transfer, last),
            None => passthrough::queue_other(queue, ns, rq, last),
        }
    }

    #[inline(always)]
    fn commit_rqs(queue: &IoQueue) {
        queue.ring();
    }

    #[inline(always)]
    fn may_poll(queue: &IoQueue) -> bool {
        queue.completed.polls.add(1);
        // Without polled queues, polled requests complete by interrupts.
        queue.has_completion() && queue.config.vector.is_none()
    }

    fn poll(queue: &IoQueue, batch: &mut IoCompletionBatch<'_, Self>) -> u32 {
        queue.reap(batch).unwrap_or(0)
    }

    fn request_timeout(queue: &IoQueue, ns: &Namespace, tag: Tag, op: Op) -> RequestTimeoutStatus {
        ns.supervisor.timed_out(queue, tag, op)
    }

    #[inline]
    fn uring_result(rq: &mut RequestData, status: impl FnOnce() -> Result) -> (i32, u64) {
        uring::result(rq, status)
    }

    fn eui64(ns: &Namespace) -> Option<&[u8]> {
        ns.details.identity.eui()
    }
}

/// Rejects a request that finds its queue closed, or the format of its namespace doubtful or gone.
#[cold]
fn refuse<'a>(ns: &Namespace, rq: IdleRequest<'a, NvmeOps>) -> Rejected<'a> {
    let status = match ns.has_trust(Trust::Gone) {
        true => Status::Offline,
        false => ns.supervisor.refusal(),
    };
    reject(rq, status)
}

/// Rejects a request, which may have a list.
#[cold]
#[inline(never)]
fn reject(mut rq: IdleRequest<'_, NvmeOps>, status: Status) -> Rejected<'_> {
    rq.data().list = None;
    rq.reject(status)
}

/// Submits a read or a write.
#[inline(always)]
fn queue_transfer<'a>(
    queue: &IoQueue,
    ns: &Namespace,
    mut rq: IdleRequest<'a, NvmeOps>,
    transfer: &Transfer<'a>,
    last: bool,
) -> Result<(), Rejected<'a>> {
    if !queue.takes_requests() {
        return Err(refuse(ns, rq));
    }
    let built = queue.handler.transfer(ns, &mut rq, transfer);
    start_or_reject(queue, rq, last, built)
}

/// Starts `rq` with the command that was built for it; rejects it if that failed.
#[inline(always)]
fn start_or_reject<'a>(
    queue: &IoQueue,
    rq: IdleRequest<'a, NvmeOps>,
    last: bool,
    built: Result<(Kind, Command), Status>,
) -> Result<(), Rejected<'a>> {
    match built {
        Ok((kind, command)) => {
            queue.start(rq, kind, last, command);
            Ok(())
        }
        Err(status) => Err(reject(rq, status)),
    }
}

/// Submits a request that doesn't take the short path, and isn't a user's command.
#[inline(never)]
fn queue_rare<'a>(
    queue: &IoQueue,
    ns: &Namespace,
    mut rq: IdleRequest<'a, NvmeOps>,
    last: bool,
) -> Result<(), Rejected<'a>> {
    let built = queue.handler.rare(ns, &mut rq);
    start_or_reject(queue, rq, last, built)
}

/// The opcode of the command for a request's operation; that of a user's command isn't known here.
pub(crate) const fn opcode(op: Op) -> u8 {
    let opcode = match op {
        Op::Read => Opcode::Read,
        Op::Write => Opcode::Write,
        Op::Flush => Opcode::Flush,
        Op::Discard => Opcode::DatasetManagement,
        Op::WriteZeroes => Opcode::WriteZeroes,
        Op::Other => return 0xff,
    };
    opcode as u8
}

/// The name of the command for a request's operation.
pub(crate) fn command_name(op: Op) -> &'static str {
    match op {
        Op::Other => "a user's command",
        _ => opcode_name(false, opcode(op)),
    }
}

impl IoQueue {
    /// Whether requests may start: the queue is open, or they can take the detour.
    #[inline(always)]
    fn takes_requests(&self) -> bool {
        self.is_open() || self.can_divert()
    }

    /// Starts `rq`, and submits its `command`; rings the doorbell if `last`. If the queue is closed,
    /// the command takes the detour.
    #[inline(always)]
    fn start(&self, rq: IdleRequest<'_, NvmeOps>, kind: Kind, last: bool, mut command: Command) {
        match self.handler.inflight.insert(rq.start()) {
            Ok(cid) => {
                command.set_cid(Cid::new(cid));
                self.submit(kind, last, command);
            }
            Err(rq) => self.start_elsewhere(Some((kind, command)), rq, last),
        }
    }

    /// Submits the command of `rq`, which this queue's table refused, on the detour; ends the request
    /// if it has no command. Rings the doorbell for earlier commands if `last`.
    #[cold]
    #[inline(never)]
    fn start_elsewhere(
        &self,
        command: Option<(Kind, Command)>,
        mut rq: Request<NvmeOps>,
        last: bool,
    ) {
        match command {
            Some((kind, command)) => self.divert(kind, command, rq),
            None => {
                rq.data().list = None;
                rq.end(Status::NotSupported);
            }
        }
        if last {
            self.ring();
        }
    }

    /// Allocates an I/O queue; doesn't create it at the controller. `first` is the first queue,
    /// unless this is the first queue.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::new`].
    pub(crate) fn allocate<const SIZE: usize>(
        dev: &device::Device<Bound>,
        bar: &Bar<SIZE>,
        stride: u32,
        config: QueueConfig,
        shadow: Option<&shadow::Buffers>,
        first: Option<Arc<Self>>,
    ) -> Result<Arc<Self>> {
        // One ring entry stays empty, so there is one tag less.
        let requests = Requests::new(dev, config.depth.saturating_sub(1), first)?;
        Arc::pin_init(
            Queue::new(dev, bar, stride, config, shadow, requests),
            GFP_KERNEL,
        )
    }

    /// Opens the queue to the requests of its hardware queue, or closes it. While it is closed,
    /// they may take the detour.
    pub(crate) fn set_open(&self, open: bool) {
        self.handler.inflight.set_refuses(!open);
        match open {
            true => self.open(),
            false => self.close(),
        }
    }

    /// Whether the controller has the queue.
    pub(crate) fn is_present(&self) -> bool {
        self.handler.present.load(Ordering::Relaxed)
    }

    /// Records whether the controller has the queue.
    pub(crate) fn set_present(&self, present: bool) {
        self.handler.present.store(present, Ordering::Relaxed);
    }

    /// The vector by which the queue's interrupts come; `None` for a polled queue.
    pub(crate) fn vector(&self) -> Option<u16> {
        match self.is_moved() {
            true => Some(0),
            false => self.config.vector,
        }
    }

    /// Whether the queue's interrupts come by vector 0, not by its own vector.
    pub(crate) fn is_moved(&self) -> bool {
        self.handler.moved.load(Ordering::Relaxed)
    }

    /// Records whether the queue's interrupts come by vector 0.
    pub(crate) fn set_moved(&self, moved: bool) {
        self.handler.moved.store(moved, Ordering::Relaxed);
    }

    /// The command identifier of the request with `tag`, if the request is in flight. The tag may
    /// be one on the detour.
    pub(crate) fn cid_in_flight(&self, tag: Tag) -> Option<Cid> {
        let guests = self.handler.detour.guests();
        let cid = self.handler.inflight.cid(tag);
        cid.or_else(|| guests?.cid(tag)).map(Cid::new)
    }

    /// Records that an abort is sent for command `cid`; `false` if an abort was sent before, or if the
    /// command has ended.
    pub(crate) fn mark_aborted(&self, cid: Cid) -> bool {
        let guests = self.handler.detour.guests();
        let cid = cid.get();
        self.handler.inflight.mark(cid) || guests.is_some_and(|guests| guests.mark(cid))
    }

    /// A block for a small list.
    pub(crate) fn block(&self) -> Result<Block> {
        self.handler.small.take().ok_or(ENOMEM)
    }

    /// Takes out every request in flight, and passes it to `end` with its command identifier. The
    /// controller must be stopped, and completes no more commands.
    pub(crate) fn cancel(&self, end: &mut dyn FnMut(Cid, Request<NvmeOps>)) {
        let inflight = &self.handler.inflight;
        let guests = self.handler.detour.guests();
        let mut cancelled = 0u64;

        let mut count = |cid| {
            cancelled += 1;
            trace::cancelled(self.config.instance, self.config.qid, cid);
        };

        if self.handler.trial.clear() {
            // The trace doesn't tell the trials apart.
            count(trial_cid(0));
        }
        let mut cancel = |tag| {
            let Some(cid) = self.cid_in_flight(tag) else {
                return;
            };
            let taken = inflight.take_tag(tag).or_else(|| guests?.take_tag(tag));
            if let Some(mut rq) = taken {
                rq.data().release(0, status::Status::CANCELLED);
                count(cid);
                end(cid, rq);
            }
        };
        inflight.tags().for_each(&mut cancel);
        if let Some(guests) = guests {
            guests.tags().for_each(&mut cancel);
        }
        self.count_cancelled(cancelled);
    }
}
