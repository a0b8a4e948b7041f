// SPDX-License-Identifier: GPL-2.0

//! The way of a request: from blk-mq to a submission queue, and from a completion queue back.

use super::{
    namespace::Namespace,
    queue::{
        Queue,
        Shape,
        Sink, //
    },
    regs::Bar0,
    shadow,
    stats::{
        Completed,
        Kind, //
    },
};
use crate::{
    abstractions::{
        dma::{
            Block,
            Pool, //
        },
        mq::{
            self,
            Batch,
            Idle,
            InFlight,
            Op,
            Rejected,
            Request,
            Segment,
            Status,
            TimeoutAction,
            Transfer, //
        },
    },
    nvme::{
        self,
        spec::command::{
            Command,
            DataPtr,
            DsmRange,
            Opcode,
            SglDescriptor, //
        },
        spec::completion::Completion,
        host::prp::{
            self,
            Prp,
            PrpError, //
        },
        spec::status::BlockError,
    },
};
use core::sync::atomic::{
    AtomicU32,
    Ordering, //
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    prelude::*,
    sync::Arc,
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

/// How often a command that failed for a moment is tried again.
const MAX_RETRIES: u8 = 5;

/// The words of the small lists; the large ones take a page.
const SMALL_LIST: usize = 32;

/// The most bytes of one command: what one page of PRP entries describes, wherever the data begin
/// in their first page.
pub(super) const MAX_BYTES: u32 = (prp::LIST_ENTRIES * prp::PAGE_SIZE) as u32;

/// The most descriptors of a scatter gather list: a page of them, of two words each.
pub(super) const MAX_DESCRIPTORS: u16 = (prp::LIST_ENTRIES / 2) as u16;

/// The command identifier of a probe: of a tag that no request has, in any generation.
const PROBE_CID: u16 = u16::MAX;
const _: () = assert!(PROBE_CID & InFlight::<Blk>::TAG_MASK >= InFlight::<Blk>::MAX_TAGS);

const PROBE_IDLE: u32 = 0;
const PROBE_PENDING: u32 = 1;
/// The bits above are the status.
const PROBE_DONE: u32 = 2;

/// A queue for I/O commands.
pub(super) type IoQueue = Queue<Requests>;

/// The requests of one I/O queue, and the memory for their lists.
pub(super) struct Requests {
    inflight: InFlight<Blk>,
    /// What became of the probe: a command that is no request's.
    probe: AtomicU32,
    small: Arc<Pool>,
    large: Arc<Pool>,
}

impl Requests {
    fn new(dev: &device::Device<Bound>, tags: u16) -> Result<Self> {
        Ok(Self {
            inflight: InFlight::new(tags)?,
            probe: AtomicU32::new(PROBE_IDLE),
            small: Pool::new(dev, SMALL_LIST)?,
            large: Pool::new(dev, prp::LIST_ENTRIES)?,
        })
    }

    /// A block for `words` words, from the pool where it fits best.
    #[inline]
    fn block(&self, words: usize) -> Result<Block, Status> {
        let pool = if words <= SMALL_LIST {
            &self.small
        } else {
            &self.large
        };
        pool.take().ok_or(Status::Resource)
    }

    /// Maps the data of `rq` and says where they are: in the command itself, or in a list that goes
    /// with the request.
    #[inline(always)]
    fn map<'a>(
        &self,
        ns: &Namespace,
        rq: &mut Idle<'a, Blk>,
        transfer: &Transfer<'a>,
    ) -> Result<DataPtr, Status> {
        let single = match rq.map_single(transfer) {
            Some(segment) => {
                let segment = segment?;
                if let Some((prp1, prp2)) = prp::single(segment.addr, segment.len) {
                    return Ok(DataPtr::Prp { prp1, prp2 });
                }
                Some(segment)
            }
            None => None,
        };
        self.map_many(ns.sgl, rq, single)
    }

    /// As [`map`](Self::map), for more than two pages. The data are the one piece that was mapped,
    /// or are mapped here. `sgl` allows scatter gather lists, which are used where they are shorter
    /// than PRP lists, or where PRPs can't say it.
    #[inline(never)]
    fn map_many(
        &self,
        sgl: bool,
        rq: &mut Idle<'_, Blk>,
        single: Option<Segment>,
    ) -> Result<DataPtr, Status> {
        let (bytes, pieces) = (rq.bytes(), usize::from(rq.segments()));
        let mut segments = rq.map(single);
        let Some(first) = segments.next() else {
            segments.finish()?;
            return Err(Status::Invalid);
        };

        if sgl && first.len == bytes {
            let SglDescriptor(all) = SglDescriptor::data_block(first.addr, first.len);
            segments.finish()?;
            return Ok(DataPtr::Sgl(all));
        }
        let pages = prp::entries_for(first.addr, bytes);
        let words = pieces.wrapping_mul(2);
        let joined = segments.joins_at(prp::PAGE_SIZE as u32);
        let scatter = sgl && (!joined || pages > 2 && words < pages.wrapping_sub(1));
        let mut list = self.block(if scatter {
            words
        } else {
            pages.saturating_sub(1)
        })?;

        let mut builder = Prp::new();
        let (mut entries, mut second) = (0usize, 0);
        let mut segment = first;
        loop {
            if scatter {
                let SglDescriptor(piece) = SglDescriptor::data_block(segment.addr, segment.len);
                if !list.set_pair(entries, piece) {
                    return Err(Status::Invalid);
                }
                entries = entries.wrapping_add(1);
            } else {
                let mut pages = builder.segment(segment.addr, segment.len)?;
                // The first page is in the command, the second the list's first.
                if entries == 0 {
                    entries = 1;
                    pages.next();
                }
                let (page, count) = pages.rest();
                if !list.set_run(entries.wrapping_sub(1), page, prp::PAGE_SIZE as u64, count) {
                    return Err(Status::Invalid);
                }
                second = page;
                entries = entries.wrapping_add(count);
            }
            match segments.next() {
                Some(next) => segment = next,
                None => break,
            }
        }
        segments.finish()?;

        let (addr, prp1) = (list.dma_address(), first.addr);
        // With two pages in all there is no list, but the second page's address in its place.
        if !scatter && entries <= 2 {
            let prp2 = if entries == 2 { second } else { 0 };
            return Ok(DataPtr::Prp { prp1, prp2 });
        }
        rq.data().list = Some(list);
        if scatter {
            let SglDescriptor(all) = SglDescriptor::list(addr, entries as u32);
            return Ok(DataPtr::Sgl(all));
        }
        Ok(DataPtr::Prp { prp1, prp2: addr })
    }

    /// The ranges of a discard, in a block that goes with the request, and their number.
    fn ranges(&self, ns: &Namespace, rq: &mut Idle<'_, Blk>) -> Result<(u32, DataPtr), Status> {
        let mut block = self.block(prp::LIST_ENTRIES)?;
        let mut count = 0;

        rq.ranges(|sector, bytes| {
            let range = DsmRange::new(ns.block_of(sector), ns.blocks_of(bytes));
            if !block.set_pair(count, range.quadwords()) {
                return Err(Status::Invalid);
            }
            count += 1;
            Ok(())
        })?;

        let prp1 = block.dma_address();
        rq.data().list = Some(block);
        Ok((count as u32, DataPtr::Prp { prp1, prp2: 0 }))
    }

    /// The command for `rq`; its identifier is filled in later.
    #[inline(always)]
    fn command(&self, ns: &Namespace, rq: &mut Idle<'_, Blk>) -> Result<(Kind, Command), Status> {
        let nsid = ns.id;
        let (block, blocks) = (ns.block_of(rq.sector()), ns.blocks_of(rq.bytes()));

        if let Some(transfer) = rq.transfer() {
            let data = self.map(ns, rq, &transfer)?;
            let (kind, opcode) = match transfer.write {
                true => (Kind::Write, Opcode::Write),
                false => (Kind::Read, Opcode::Read),
            };
            let command = Command::rw(opcode, 0, nsid, block, blocks, rq.fua(), data);
            return Ok((kind, command));
        }
        Ok(match rq.op() {
            Op::Flush => (Kind::Flush, Command::flush(0, nsid)),
            Op::Discard => {
                let (count, data) = self.ranges(ns, rq)?;
                let command = Command::dsm_deallocate(0, nsid, count, data);
                (Kind::Discard, command)
            }
            Op::WriteZeroes => {
                let deallocate = ns.zeroes_deallocate.load(Ordering::Relaxed) && rq.may_unmap();
                let command = Command::write_zeroes(0, nsid, block, blocks, deallocate);
                (Kind::WriteZeroes, command)
            }
            Op::Read | Op::Write | Op::Other => return Err(Status::NotSupported),
        })
    }

    /// Notes a completion that belongs to no request: a probe's, or none's.
    #[cold]
    fn other(&self, entry: Completion, stats: &Completed) {
        if entry.cid() == PROBE_CID && self.end_probe(entry.status()) {
            stats.commands.publish(1);
        } else {
            stats.stray.add(1);
        }
    }

    /// Notes how the probe ended; `false` if there is none.
    fn end_probe(&self, status: nvme::spec::status::Status) -> bool {
        let done = u32::from(status.0) << 16 | PROBE_DONE;
        self.probe
            .compare_exchange(PROBE_PENDING, done, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

impl Sink for Requests {
    type Batch<'a> = Batch<'a, Blk>;

    #[inline(always)]
    fn with_batch<R>(f: impl FnOnce(&mut Batch<'_, Blk>) -> R) -> R {
        Batch::with(f)
    }

    #[inline(always)]
    fn complete(&self, entry: Completion, stats: &Completed, batch: &mut Batch<'_, Blk>) {
        let Some(mut rq) = self.inflight.take(entry.cid()) else {
            return self.other(entry, stats);
        };
        if let Some(since) = rq.start_time() {
            stats.latency.add(batch.now().saturating_sub(since));
        }
        if rq.data().list.is_some() {
            rq.data().list = None;
        }
        stats.commands.publish(1);

        if !entry.status().is_success() {
            return fail(rq, entry.status(), stats);
        }
        match rq.is_write() {
            Some(false) => stats.bytes_read.add(rq.bytes().into()),
            Some(true) => stats.bytes_written.add(rq.bytes().into()),
            None => {}
        }
        rq.data().retries = 0;
        rq.complete(Status::Ok, batch);
    }
}

impl From<PrpError> for Status {
    fn from(_: PrpError) -> Self {
        Self::Invalid
    }
}

/// Ends a request that failed, or has it tried again.
#[cold]
fn fail(mut rq: Request<Blk>, status: nvme::spec::status::Status, stats: &Completed) {
    stats.errors.add(1);
    if status.retryable() && !rq.fail_fast() && rq.data().retries < MAX_RETRIES {
        stats.retries.add(1);
        retry(rq);
    } else {
        give_up(rq, block_status(status.block_error()));
    }
}

/// Queues a request anew that was in flight when the controller was stopped for a reason that isn't
/// the request's, or ends it with an error if nobody wants to wait for it.
pub(super) fn requeue(rq: Request<Blk>) {
    if rq.fail_fast() {
        give_up(rq, Status::Transport);
    } else {
        rq.requeue();
    }
}

/// As [`requeue`], for a request that may be to blame: it is tried again so often, and no more.
pub(super) fn retry(mut rq: Request<Blk>) {
    if rq.data().retries >= MAX_RETRIES {
        give_up(rq, Status::Transport);
    } else {
        rq.data().retries += 1;
        requeue(rq);
    }
}

/// Ends a request that isn't tried again. Its memory goes to another one, which has all its tries.
fn give_up(mut rq: Request<Blk>, status: Status) {
    rq.data().retries = 0;
    rq.end(status);
}

/// The opcode of the command that a request becomes.
pub(super) const fn opcode(op: Op) -> u8 {
    let opcode = match op {
        Op::Read => Opcode::Read,
        Op::Write => Opcode::Write,
        Op::Flush => Opcode::Flush,
        Op::Discard => Opcode::DatasetManagement,
        Op::WriteZeroes => Opcode::WriteZeroes,
        // Such are rejected.
        Op::Other => return 0xff,
    };
    opcode as u8
}

/// The kernel's word for an error of the protocol.
fn block_status(error: BlockError) -> Status {
    match error {
        BlockError::Ok => Status::Ok,
        BlockError::NotSupported => Status::NotSupported,
        BlockError::NoSpace => Status::NoSpace,
        BlockError::Transport => Status::Transport,
        BlockError::Target => Status::Target,
        BlockError::ReservationConflict => Status::ReservationConflict,
        BlockError::Medium => Status::Medium,
        BlockError::Protection => Status::Protection,
        _ => Status::IoError,
    }
}

impl IoQueue {
    /// Allocates an I/O queue; the controller isn't told.
    ///
    /// # Errors
    ///
    /// Those of [`Queue::new`].
    pub(super) fn allocate(
        dev: &device::Device<Bound>,
        bar: &Bar0,
        stride: u32,
        shape: Shape,
        shadow: Option<&shadow::Buffers>,
    ) -> Result<Arc<Self>> {
        // One entry of a ring stays empty, so there is one tag less.
        let sink = Requests::new(dev, shape.depth.saturating_sub(1))?;
        Arc::pin_init(
            Queue::new(dev, bar, stride, shape, shadow, sink),
            GFP_KERNEL,
        )
    }
}

/// What a request keeps from its submission to its completion.
#[derive(Default)]
pub(super) struct RequestData {
    /// The PRP or scatter gather list, or the ranges of a discard.
    list: Option<Block>,
    /// How often it was tried again.
    retries: u8,
}

/// The queues of one controller, as blk-mq asks for them.
pub(super) type IoQueues = KVec<Arc<IoQueue>>;

/// The driver's side of blk-mq.
pub(super) struct Blk;

impl mq::Operations for Blk {
    type Module = crate::RustNvmeDemo;
    type SetData = IoQueues;
    type HwData = IoQueue;
    type DiskData = Namespace;
    type RequestData = RequestData;

    fn init_hw(queues: &IoQueues, index: u32) -> Result<Arc<IoQueue>> {
        Ok(queues.get(usize::try_from(index)?).ok_or(EINVAL)?.clone())
    }

    #[inline]
    fn queue<'a>(
        queue: &IoQueue,
        ns: &Namespace,
        mut rq: Idle<'a, Self>,
        last: bool,
    ) -> Result<(), Rejected<'a>> {
        if !queue.is_open() {
            return Err(rq.reject(ns.controller.refusal()));
        }
        let (kind, mut command) = match queue.sink.command(ns, &mut rq) {
            Ok(command) => command,
            Err(status) => {
                rq.data().list = None;
                return Err(rq.reject(status));
            }
        };

        match queue.sink.inflight.insert(rq.start()) {
            Ok(cid) => {
                command.set_cid(cid);
                queue.submit(kind, last, command);
            }
            // The tag isn't one of this queue's, which should not happen.
            Err(rq) => {
                rq.end(Status::IoError);
                if last {
                    queue.ring();
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn commit(queue: &IoQueue) {
        queue.ring();
    }

    fn poll(queue: &IoQueue, batch: &mut Batch<'_, Self>) -> u32 {
        queue.completed.polls.add(1);
        if !queue.has_completion() {
            return 0;
        }
        queue.reap(batch).unwrap_or(0)
    }

    fn timeout(queue: &IoQueue, ns: &Namespace, tag: u16, op: Op) -> TimeoutAction {
        ns.controller.request_timed_out(queue, tag, op)
    }
}

impl IoQueue {
    /// The command identifier of the request with `tag`, while it is in flight.
    pub(super) fn cid_in_flight(&self, tag: u16) -> Option<u16> {
        self.sink.inflight.cid(tag)
    }

    /// Notes that an abort is sent for the command of `tag`; `false` if one was sent before.
    pub(super) fn mark_aborted(&self, tag: u16) -> bool {
        self.sink.inflight.mark(tag)
    }

    /// Runs a command that is no request's, `timeout_ms` milliseconds at most; `None` where it wasn't
    /// completed by then, or the device is `gone`. Only while the queue has room: before there is a
    /// disk. Sleeps.
    pub(super) fn probe(
        &self,
        mut command: Command,
        timeout_ms: u32,
        gone: impl Fn() -> bool,
    ) -> Option<nvme::spec::status::Status> {
        const STEP_US: u32 = 50;

        self.sink.probe.store(PROBE_PENDING, Ordering::Release);
        command.set_cid(PROBE_CID);
        self.submit(Kind::Read, true, command);
        for _ in 0..timeout_ms.saturating_mul(1000 / STEP_US) {
            let state = self.sink.probe.load(Ordering::Acquire);
            if state != PROBE_PENDING {
                return Some(nvme::spec::status::Status((state >> 16) as u16));
            }
            if gone() {
                break;
            }
            fsleep(Delta::from_micros(STEP_US.into()));
            // A queue without interrupts is looked at by nobody else.
            self.reap_alone();
        }
        None
    }

    /// A block for a list.
    pub(super) fn block(&self) -> Result<Block> {
        self.sink.small.take().ok_or(ENOMEM)
    }

    /// Takes out every request in flight and hands it to `end`, with its command identifier: for a
    /// controller that was stopped, and answers no more.
    pub(super) fn cancel(&self, end: &mut dyn FnMut(u16, Request<Blk>)) {
        let inflight = &self.sink.inflight;
        let mut cancelled = 0u64;

        if self.sink.end_probe(nvme::spec::status::Status::ABORTED) {
            cancelled += 1;
        }
        for tag in 0..inflight.tags() {
            let Some(cid) = inflight.cid(tag) else {
                continue;
            };
            if let Some(mut rq) = inflight.take_tag(tag) {
                rq.data().list = None;
                cancelled += 1;
                end(cid, rq);
            }
        }
        self.count_cancelled(cancelled);
    }
}
