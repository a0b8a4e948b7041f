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
            TimeoutAction, //
        },
    },
    nvme::{
        self,
        command::{
            Command,
            DataPtr,
            DsmRange,
            Opcode, //
        },
        completion::Completion,
        prp::{
            self,
            Prp,
            PrpError, //
        },
        status::BlockError,
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

/// How often a command that failed for a moment is tried again.
const MAX_RETRIES: u8 = 5;

/// The words of the small PRP lists; the large ones take a page.
const SMALL_LIST: usize = 32;

/// The most bytes of one command: what one page of PRP entries describes, wherever the data begin
/// in their first page.
pub(super) const MAX_BYTES: u32 = (prp::LIST_ENTRIES * prp::PAGE_SIZE) as u32;

/// A queue for I/O commands.
pub(super) type IoQueue = Queue<Requests>;

/// The requests of one I/O queue, and the memory for their PRP lists.
pub(super) struct Requests {
    inflight: InFlight<Blk>,
    small: Arc<Pool>,
    large: Arc<Pool>,
}

impl Requests {
    fn new(dev: &device::Device<Bound>, tags: u16) -> Result<Self> {
        Ok(Self {
            inflight: InFlight::new(tags)?,
            small: Pool::new(dev, c"rnvme prp list", SMALL_LIST)?,
            large: Pool::new(dev, c"rnvme prp page", prp::LIST_ENTRIES)?,
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

    /// Maps the data of `rq` and says where they are: in the command itself, or in a PRP list that
    /// goes with the request.
    #[inline(always)]
    fn map(&self, rq: &mut Idle<'_, Blk>) -> Result<DataPtr, Status> {
        let first = match rq.map_single() {
            Some(segment) => {
                let segment = segment?;
                if let Some((prp1, prp2)) = prp::single(segment.addr, segment.len) {
                    return Ok(DataPtr::Prp { prp1, prp2 });
                }
                Some(segment)
            }
            None => None,
        };
        self.map_list(rq, first)
    }

    /// As [`map`](Self::map), with a list of pages. The data are the one piece that was mapped, or
    /// are mapped here.
    #[inline(never)]
    fn map_list(&self, rq: &mut Idle<'_, Blk>, single: Option<Segment>) -> Result<DataPtr, Status> {
        let bytes = rq.bytes();
        let mut segments = rq.map(single);
        let Some(first) = segments.next() else {
            segments.finish()?;
            return Err(Status::Invalid);
        };

        let mut list = self.block(prp::entries_for(first.addr, bytes).saturating_sub(1))?;
        let mut builder = Prp::new();
        let mut second = 0;
        let mut entries = 0;
        let mut pages = builder.segment(first.addr, first.len)?;
        let prp1 = pages.next().ok_or(Status::Invalid)?;
        loop {
            for page in pages {
                if !list.set(entries, page) {
                    return Err(Status::Invalid);
                }
                second = page;
                entries = entries.wrapping_add(1);
            }
            let Some(segment) = segments.next() else {
                break;
            };
            pages = builder.segment(segment.addr, segment.len)?;
        }
        segments.finish()?;

        // With two pages in all there is no list, but the second page's address in its place.
        if entries < 2 {
            return Ok(DataPtr::Prp { prp1, prp2: second });
        }
        let prp2 = list.dma_address();
        rq.data().list = Some(list);
        Ok(DataPtr::Prp { prp1, prp2 })
    }

    /// The ranges of a discard, in a block that goes with the request, and their number.
    fn ranges(&self, ns: &Namespace, rq: &mut Idle<'_, Blk>) -> Result<(u32, DataPtr), Status> {
        let mut block = self.block(prp::LIST_ENTRIES)?;
        let mut count = 0;

        rq.ranges(|sector, bytes| {
            let range = DsmRange::new(ns.block_of(sector), ns.blocks_of(bytes)).quadwords();
            for (i, word) in range.into_iter().enumerate() {
                // The words are little endian already.
                if !block.set(count * range.len() + i, u64::from_le(word)) {
                    return Err(Status::Invalid);
                }
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

        Ok(match rq.op() {
            Op::Read => {
                let data = self.map(rq)?;
                let command = Command::rw(Opcode::Read, 0, nsid, block, blocks, rq.fua(), data);
                (Kind::Read, command)
            }
            Op::Write => {
                let data = self.map(rq)?;
                let command = Command::rw(Opcode::Write, 0, nsid, block, blocks, rq.fua(), data);
                (Kind::Write, command)
            }
            Op::Flush => (Kind::Flush, Command::flush(0, nsid)),
            Op::Discard => {
                let (count, data) = self.ranges(ns, rq)?;
                let command = Command::dsm_deallocate(0, nsid, count, data);
                (Kind::Discard, command)
            }
            Op::WriteZeroes => {
                let deallocate = ns.zeroes_deallocate && rq.may_unmap();
                let command = Command::write_zeroes(0, nsid, block, blocks, deallocate);
                (Kind::WriteZeroes, command)
            }
            Op::Other => return Err(Status::NotSupported),
        })
    }
}

impl Sink for Requests {
    type Batch<'a> = Batch<'a, Blk>;

    #[inline]
    fn batch() -> Batch<'static, Blk> {
        Batch::new()
    }

    #[inline(always)]
    fn complete(&self, entry: Completion, stats: &Completed, batch: &mut Batch<'_, Blk>) {
        let Some(mut rq) = self.inflight.take(entry.cid()) else {
            stats.stray.add(1);
            return;
        };
        if let Some(since) = rq.start_time() {
            stats.latency.add(batch.now().saturating_sub(since));
        }
        rq.data().list = None;
        stats.commands.publish(1);

        if !entry.status().is_success() {
            return fail(rq, entry.status(), stats);
        }
        match rq.op() {
            Op::Read => stats.bytes_read.add(rq.bytes().into()),
            Op::Write => stats.bytes_written.add(rq.bytes().into()),
            _ => {}
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
fn fail(mut rq: Request<Blk>, status: nvme::status::Status, stats: &Completed) {
    stats.errors.add(1);
    if status.retryable() && !rq.fail_fast() && rq.data().retries < MAX_RETRIES {
        stats.retries.add(1);
        retry(rq);
    } else {
        rq.data().retries = 0;
        rq.end(block_status(status.block_error()));
    }
}

/// Queues a request anew that was in flight when the controller was stopped for a reason that isn't
/// the request's, or ends it with an error if nobody wants to wait for it.
pub(super) fn requeue(rq: Request<Blk>) {
    if rq.fail_fast() {
        rq.end(Status::Transport);
    } else {
        rq.requeue();
    }
}

/// As [`requeue`], for a request that may be to blame: it is tried again so often, and no more.
pub(super) fn retry(mut rq: Request<Blk>) {
    if rq.fail_fast() || rq.data().retries >= MAX_RETRIES {
        rq.data().retries = 0;
        rq.end(Status::Transport);
    } else {
        rq.data().retries += 1;
        rq.requeue();
    }
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
    ) -> Result<Arc<Self>> {
        // One entry of a ring stays empty, so there is one tag less.
        let sink = Requests::new(dev, shape.depth.saturating_sub(1))?;
        Arc::pin_init(Queue::new(dev, bar, stride, shape, sink), GFP_KERNEL)
    }
}

/// What a request keeps from its submission to its completion.
#[derive(Default)]
pub(super) struct RequestData {
    /// The PRP list, or the ranges of a discard.
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
            // Its place is taken, by whatever mistake.
            Err(rq) => rq.end(Status::IoError),
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

    /// Reaps the queue, without a batch of the caller's.
    #[inline(never)]
    pub(super) fn reap_alone(&self) {
        self.reap(&mut Requests::batch());
    }

    /// Takes out every request in flight and hands it to `end`, with its command identifier: for a
    /// controller that was stopped, and answers no more.
    pub(super) fn cancel(&self, mut end: impl FnMut(u16, Request<Blk>)) {
        let inflight = &self.sink.inflight;

        for tag in 0..inflight.tags() {
            let Some(cid) = inflight.cid(tag) else {
                continue;
            };
            if let Some(mut rq) = inflight.take_tag(tag) {
                rq.data().list = None;
                self.completed.commands.publish(1);
                end(cid, rq);
            }
        }
    }
}
