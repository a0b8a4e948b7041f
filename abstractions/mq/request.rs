// SPDX-License-Identifier: GPL-2.0

//! One request: lent, started, ended.

use super::{
    map::{
        self,
        Mapping,
        Segment,
        Segments, //
    },
    Operations, //
};
use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    prelude::*, //
};

/// How a request ended, or why it can't be taken: `blk_status_t`, whose values `check.c` compares.
///
/// C header: [`include/linux/blk_types.h`](srctree/include/linux/blk_types.h)
// As wide as what it shares a `Result` with: one of a byte is taken apart and put together again on
// the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// The operation isn't supported: `EOPNOTSUPP`.
    NotSupported = 1,
    /// The time limit was exceeded: `ETIMEDOUT`.
    Timeout = 2,
    /// No space is left on the device: `ENOSPC`.
    NoSpace = 3,
    /// The way to the device failed for a moment: `ENOLINK`.
    Transport = 4,
    /// The device failed for good: `EREMOTEIO`.
    Target = 5,
    /// A reservation of another host is in the way: `EBADE`.
    ReservationConflict = 6,
    /// The medium failed: `ENODATA`.
    Medium = 7,
    /// Protection information doesn't match: `EILSEQ`.
    Protection = 8,
    /// The driver is short of a resource: the block layer tries again soon.
    Resource = 9,
    /// Any other failure: `EIO`.
    IoError = 10,
    /// The device is gone: `ENODEV`.
    Offline = 16,
    /// The request makes no sense to the device: `EINVAL`.
    Invalid = 19,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Read data.
    Read,
    /// Write data.
    Write,
    /// Make all that was written before durable.
    Flush,
    /// The data of these sectors is no longer needed.
    Discard,
    /// Write zeroes without a data transfer.
    WriteZeroes,
    /// Something that a driver which didn't announce it never gets.
    Other,
}

impl Op {
    /// What a request with these `cmd_flags` asks for.
    #[inline(always)]
    pub(super) fn of(cmd_flags: u32) -> Self {
        match cmd_flags & REQ_OP_MASK {
            bindings::req_op_REQ_OP_READ => Self::Read,
            bindings::req_op_REQ_OP_WRITE => Self::Write,
            bindings::req_op_REQ_OP_FLUSH => Self::Flush,
            bindings::req_op_REQ_OP_DISCARD => Self::Discard,
            bindings::req_op_REQ_OP_WRITE_ZEROES => Self::WriteZeroes,
            _ => Self::Other,
        }
    }
}

// As in `linux/blk_types.h`, where they are macros.
const REQ_FAILFAST: u32 = 1 << bindings::req_flag_bits___REQ_FAILFAST_DEV
    | 1 << bindings::req_flag_bits___REQ_FAILFAST_TRANSPORT
    | 1 << bindings::req_flag_bits___REQ_FAILFAST_DRIVER;
const REQ_FUA: u32 = 1 << bindings::req_flag_bits___REQ_FUA;
const REQ_NOUNMAP: u32 = 1 << bindings::req_flag_bits___REQ_NOUNMAP;
const REQ_OP_MASK: u32 = (1 << bindings::REQ_OP_BITS) - 1;

// As in `linux/blk-mq.h`.
const RQF_SCHED_TAGS: u32 = 1 << bindings::rqf_flags___RQF_SCHED_TAGS;
const RQF_USE_SCHED: u32 = 1 << bindings::rqf_flags___RQF_USE_SCHED;
const RQF_IO_STAT: u32 = 1 << bindings::rqf_flags___RQF_IO_STAT;
const RQF_STATS: u32 = 1 << bindings::rqf_flags___RQF_STATS;

/// What the abstraction and the driver keep in each request, behind `struct request`.
pub(super) struct Pdu<T: Operations> {
    pub(super) mapping: Mapping,
    status: Status,
    data: T::RequestData,
}

impl<T: Operations> Pdu<T> {
    pub(super) fn new() -> Self {
        Self {
            mapping: Mapping::new(),
            status: Status::Ok,
            data: T::RequestData::default(),
        }
    }

    /// The bytes that each request needs behind it.
    pub(super) const SIZE: u32 = {
        assert!(core::mem::align_of::<Self>() <= core::mem::align_of::<bindings::request>());
        core::mem::size_of::<Self>() as u32
    };

    /// The `Pdu` of a request of a set of `T`.
    #[inline]
    pub(super) fn of(rq: NonNull<bindings::request>) -> NonNull<Self> {
        // As `blk_mq_rq_to_pdu`: it stands right behind the request.
        // SAFETY: Requests of a set are allocated with `SIZE` bytes behind them.
        unsafe { rq.add(1).cast() }
    }
}

/// Reads a field of the C request behind a [`RequestRef`].
macro_rules! field {
    ($handle:expr, $name:ident) => {
        // SAFETY: By the invariant of `RequestRef` the request is valid, and what describes it isn't
        // changed while it is lent or owned.
        unsafe { (*$handle.rq.as_ptr()).$name }
    };
}
pub(super) use field;

/// Read access to a request that is lent or owned: shared by [`Idle`] and [`Request`], which never
/// give out a `&mut` of it, as two of them could be swapped then.
///
/// # Invariants
///
/// `rq` is a request of a set of `T` which nobody else ends or changes while this value lives.
pub struct RequestRef<T: Operations> {
    pub(super) rq: NonNull<bindings::request>,
    _set: PhantomData<fn(T)>,
}

impl<T: Operations> RequestRef<T> {
    /// # Safety
    ///
    /// See the type's invariant.
    #[inline]
    pub(super) unsafe fn new(rq: NonNull<bindings::request>) -> Self {
        // INVARIANT: As promised by the caller.
        Self {
            rq,
            _set: PhantomData,
        }
    }

    #[inline]
    pub(super) fn pdu(&mut self) -> &mut Pdu<T> {
        // SAFETY: By the type invariant only this value has access to the request; its `Pdu` was
        // initialised when the set was allocated.
        unsafe { Pdu::<T>::of(self.rq).as_mut() }
    }

    /// The request's place in its set of tags; unique among the requests in flight on one
    /// hardware queue.
    #[inline]
    pub fn tag(&self) -> u16 {
        // A tag is below the queue depth, which `TagSet::new` takes as `u16`.
        field!(self, tag) as u16
    }

    /// The set of tags that [`tag`](Self::tag) is one of.
    #[inline]
    pub(super) fn tags(&self) -> *mut bindings::blk_mq_tags {
        let hctx = field!(self, mq_hctx);
        // SAFETY: The hardware queue is valid as long as a request of it is lent or owned.
        unsafe { (*hctx).tags }
    }

    /// The queue of the request's disk.
    #[cfg(CONFIG_FAIL_IO_TIMEOUT)]
    pub(super) fn queue(&self) -> *mut bindings::request_queue {
        field!(self, q)
    }

    /// What is asked for.
    #[inline]
    pub fn op(&self) -> Op {
        Op::of(field!(self, cmd_flags))
    }

    /// Whether a request that transfers its data writes or reads them; `None` for any other. Of the
    /// same meaning as [`op`](Self::op), with less to decide for the most frequent requests.
    #[inline]
    pub fn is_write(&self) -> Option<bool> {
        let op = field!(self, cmd_flags) & REQ_OP_MASK;
        (op <= bindings::req_op_REQ_OP_WRITE).then_some(op == bindings::req_op_REQ_OP_WRITE)
    }

    /// The first sector, in units of 512 bytes.
    #[inline]
    pub fn sector(&self) -> u64 {
        field!(self, __sector)
    }

    /// The bytes to transfer, or to discard or zero.
    #[inline]
    pub fn bytes(&self) -> u32 {
        field!(self, __data_len)
    }

    /// The pieces that the data have, if not fewer: some may turn out to adjoin.
    #[inline]
    pub fn segments(&self) -> u16 {
        field!(self, nr_phys_segments)
    }

    /// Whether the data must be durable at completion.
    #[inline]
    pub fn fua(&self) -> bool {
        field!(self, cmd_flags) & REQ_FUA != 0
    }

    /// Whether zeroed blocks may be deallocated.
    #[inline]
    pub fn may_unmap(&self) -> bool {
        field!(self, cmd_flags) & REQ_NOUNMAP == 0
    }

    /// When the block layer took the request, in nanoseconds of the monotonic clock; `None` unless
    /// it accounts the request's time, which follows the disk's `queue/iostats`.
    #[inline]
    pub fn start_time(&self) -> Option<u64> {
        (field!(self, rq_flags) & RQF_IO_STAT != 0).then_some(field!(self, start_time_ns))
    }

    /// Whether the submitter wants an error rather than another try.
    #[inline]
    pub fn fail_fast(&self) -> bool {
        field!(self, cmd_flags) & REQ_FAILFAST != 0
    }
}

/// A request that blk-mq lends to [`Operations::queue`]; it isn't started yet.
///
/// The lifetime is that of one call, and of no other call's request.
pub struct Idle<'a, T: Operations> {
    handle: RequestRef<T>,
    _brand: PhantomData<fn(&'a ()) -> &'a ()>,
}

impl<'a, T: Operations> Idle<'a, T> {
    /// # Safety
    ///
    /// `rq` is valid, of a set of `T`, not started, and the caller's to give for `'a`, which is
    /// used for no other request.
    #[inline]
    pub(super) unsafe fn new(rq: NonNull<bindings::request>) -> Self {
        Self {
            // SAFETY: As promised by the caller.
            handle: unsafe { RequestRef::new(rq) },
            _brand: PhantomData,
        }
    }

    /// The driver's data of the request.
    #[inline]
    pub fn data(&mut self) -> &mut T::RequestData {
        &mut self.handle.pdu().data
    }

    /// Whether the request reads or writes, and which.
    #[inline(always)]
    pub fn transfer(&self) -> Option<Transfer<'a>> {
        self.is_write().map(|write| Transfer {
            write,
            _brand: PhantomData,
        })
    }

    /// Maps the request's data, if they are one piece that is simple to map; `None` if not, and then
    /// there is [`map`](Self::map).
    ///
    /// # Errors
    ///
    /// [`Status::Resource`] where the mapping can't be made now, [`Status::IoError`] where that has been so for
    /// the set's time limit.
    #[inline]
    pub fn map_single(&mut self, _: &Transfer<'a>) -> Option<Result<Segment, Status>> {
        // SAFETY: The proof is of this request: there is no other one of this lifetime.
        unsafe { map::map_single(&mut self.handle) }
    }

    /// Maps the request's data for the device, piece by piece: those that [`map_single`] has not
    /// mapped, or the one piece that it has.
    ///
    /// The mapping is undone when the request is rejected or ended. Only a read or a write has data.
    ///
    /// [`map_single`]: Self::map_single
    #[inline]
    pub fn map(&mut self, single: Option<Segment>) -> Segments<'_, T> {
        Segments::new(&mut self.handle, single)
    }

    /// The sectors of a discard: calls `f` with the first sector and the number of bytes of each
    /// range. What adjoins is one range: a device that takes only one may be given many such pieces.
    ///
    /// # Errors
    ///
    /// What `f` returns.
    pub fn ranges<E>(&self, mut f: impl FnMut(u64, u32) -> Result<(), E>) -> Result<(), E> {
        let mut bio = field!(self.handle, bio);
        let mut range: Option<(u64, u32)> = None;

        // SAFETY: A request's bios form a list that is valid, and not changed, while the request
        // is lent.
        while let Some(b) = unsafe { bio.as_ref() } {
            let (sector, bytes) = (b.bi_iter.bi_sector, b.bi_iter.bi_size);
            range = match range {
                Some((first, before)) if first.wrapping_add(u64::from(before >> 9)) == sector => {
                    Some((first, before.wrapping_add(bytes)))
                }
                before => {
                    if let Some((first, before)) = before {
                        f(first, before)?;
                    }
                    Some((sector, bytes))
                }
            };
            bio = b.bi_next;
        }
        match range {
            Some((first, bytes)) => f(first, bytes),
            None => Ok(()),
        }
    }

    /// Starts the request: its time runs from now, and the caller owns it.
    #[inline]
    pub fn start(self) -> Request<T> {
        // SAFETY: The request is lent and not started.
        unsafe { bindings::blk_mq_start_request(self.handle.rq.as_ptr()) };

        Request {
            handle: self.handle,
        }
    }

    /// Hands the request back. [`Status::Resource`] makes the block layer try again later; any
    /// other ends the request with that error.
    pub fn reject(mut self, status: Status) -> Rejected<'a> {
        map::undo(&mut self.handle);
        Rejected {
            // A rejection can't look like success.
            status: if status == Status::Ok {
                Status::IoError
            } else {
                status
            },
            _brand: PhantomData,
        }
    }
}

impl<T: Operations> core::ops::Deref for Idle<'_, T> {
    type Target = RequestRef<T>;

    #[inline]
    fn deref(&self) -> &RequestRef<T> {
        &self.handle
    }
}

/// The proof that the request of this call reads or writes, and so has data.
pub struct Transfer<'a> {
    /// It writes.
    pub write: bool,
    _brand: PhantomData<fn(&'a ()) -> &'a ()>,
}

/// The proof that the request of this call was handed back, and why.
pub struct Rejected<'a> {
    pub(super) status: Status,
    _brand: PhantomData<fn(&'a ()) -> &'a ()>,
}

/// A request that was started and that the holder owns, until it ends it.
///
/// One that is dropped without being ended is ended with [`Status::IoError`].
pub struct Request<T: Operations> {
    handle: RequestRef<T>,
}

// SAFETY: A started request may be ended from any context; `RequestData` and the mapping are
// `Send`.
unsafe impl<T: Operations> Send for Request<T> {}

impl<T: Operations> Request<T> {
    /// # Safety
    ///
    /// `rq` came from [`into_raw`](Self::into_raw), and is used once.
    #[inline]
    pub(super) unsafe fn from_raw(rq: NonNull<bindings::request>) -> Self {
        Self {
            // SAFETY: As promised by the caller.
            handle: unsafe { RequestRef::new(rq) },
        }
    }

    #[inline]
    pub(super) fn into_raw(self) -> NonNull<bindings::request> {
        ManuallyDrop::new(self).handle.rq
    }

    /// The driver's data of the request.
    #[inline]
    pub fn data(&mut self) -> &mut T::RequestData {
        &mut self.handle.pdu().data
    }

    /// Ends the request, through `batch` where it can be: that ends many together, with less work.
    ///
    /// The block layer may move the end to the CPU that submitted. Any context.
    #[inline(always)]
    pub fn complete(mut self, status: Status, batch: &mut Batch<'_, T>) {
        map::undo(&mut self.handle);
        self.handle.pdu().status = status;
        let rq = self.into_raw();

        // SAFETY: The request is started and owned; it isn't touched below if this returns true,
        // since the other CPU owns it then.
        if unsafe { bindings::blk_mq_complete_request_remote(rq.as_ptr()) } {
            return;
        }

        // SAFETY: As above, and this context still owns the request.
        if status != Status::Ok || !unsafe { batch.add(rq) } {
            // SAFETY: As above.
            unsafe { bindings::blk_mq_end_request(rq.as_ptr(), status as u8) };
        }
    }

    /// Ends the request. Any context.
    #[inline(never)]
    pub fn end(self, status: Status) {
        Batch::with(|batch| self.complete(status, batch));
    }

    /// Gives the request back to the block layer, to be queued anew. Any context.
    pub fn requeue(mut self) {
        map::undo(&mut self.handle);
        let rq = self.into_raw();

        // SAFETY: The request is started and owned; ownership goes back to the block layer.
        unsafe { bindings::blk_mq_requeue_request(rq.as_ptr(), true) };
    }

    /// Ends a request of which all is done but the end: `blk_mq_ops.complete`.
    ///
    /// # Safety
    ///
    /// `rq` is a request for which [`complete`](Self::complete) asked another CPU.
    pub(super) unsafe fn finish(rq: NonNull<bindings::request>) {
        // SAFETY: `complete` wrote the status before it gave the request away.
        let status = unsafe { Pdu::<T>::of(rq).as_ref().status };

        // SAFETY: The request is started, and given to this context to end.
        unsafe { bindings::blk_mq_end_request(rq.as_ptr(), status as u8) };
    }
}

impl<T: Operations> Drop for Request<T> {
    fn drop(&mut self) {
        // SAFETY: The request is owned, and `self` isn't used after this.
        let rq = unsafe { Self::from_raw(self.handle.rq) };
        rq.end(Status::IoError);
    }
}

impl<T: Operations> core::ops::Deref for Request<T> {
    type Target = RequestRef<T>;

    #[inline]
    fn deref(&self) -> &RequestRef<T> {
        &self.handle
    }
}

/// Requests that end together: `struct io_comp_batch`.
pub struct Batch<'a, T: Operations> {
    iob: &'a mut bindings::io_comp_batch,
    now: u64,
    _set: PhantomData<fn(T)>,
}

/// A list of no requests. Its `Default` is a function elsewhere, called each time.
pub(super) const NO_REQUESTS: bindings::rq_list = bindings::rq_list {
    head: core::ptr::null_mut(),
    tail: core::ptr::null_mut(),
};

/// As `rq_list_add_tail`.
///
/// # Safety
///
/// `rq` and the requests in `list` belong to the caller; `rq` is in no list.
#[inline(always)]
pub(super) unsafe fn add_tail(list: &mut bindings::rq_list, rq: *mut bindings::request) {
    // SAFETY: As promised by the caller.
    unsafe {
        (*rq).__bindgen_anon_1.rq_next = core::ptr::null_mut();
        if list.tail.is_null() {
            list.head = rq;
        } else {
            (*list.tail).__bindgen_anon_1.rq_next = rq;
        }
    }
    list.tail = rq;
}

/// A batch of no requests.
const EMPTY: bindings::io_comp_batch = bindings::io_comp_batch {
    req_list: NO_REQUESTS,
    need_ts: false,
    complete: None,
    poll_ctx: core::ptr::null_mut(),
};

impl<T: Operations> Batch<'_, T> {
    /// Calls `f` with an empty batch, and ends the requests that are in it then.
    ///
    /// Any context.
    #[inline(always)]
    pub fn with<R>(f: impl FnOnce(&mut Batch<'_, T>) -> R) -> R {
        let mut iob = EMPTY;
        let result = Self::with_lent(&mut iob, f);

        if !iob.req_list.head.is_null() {
            // SAFETY: The batch holds owned requests that have succeeded.
            unsafe { bindings::blk_mq_end_request_batch(&mut iob) };
        }
        result
    }

    /// Calls `f` with a batch that the lender ends.
    #[inline(always)]
    pub(super) fn with_lent<R>(
        iob: &mut bindings::io_comp_batch,
        f: impl FnOnce(&mut Batch<'_, T>) -> R,
    ) -> R {
        f(&mut Batch {
            iob,
            now: 0,
            _set: PhantomData,
        })
    }

    /// The time at which the batch's requests were found to be done: nanoseconds of the monotonic
    /// clock, read once for the batch, when it is first asked for.
    #[inline]
    pub fn now(&mut self) -> u64 {
        if self.now == 0 {
            // SAFETY: The function has no preconditions. The clock is positive.
            self.now = unsafe { bindings::ktime_get() } as u64;
        }
        self.now
    }

    /// Takes `rq` into the batch; `false` if it must be ended by itself. As
    /// `blk_mq_add_to_batch` for a request that succeeded.
    ///
    /// # Safety
    ///
    /// The caller owns `rq`, and no longer if this returns `true`.
    #[inline]
    unsafe fn add(&mut self, rq: NonNull<bindings::request>) -> bool {
        let iob = &mut *self.iob;
        let rq = rq.as_ptr();
        // SAFETY: The caller owns the request.
        let (flags, has_end) = unsafe { ((*rq).rq_flags, (*rq).end_io.is_some()) };

        if flags & RQF_SCHED_TAGS != 0 || has_end {
            return false;
        }
        let complete = bindings::blk_mq_end_request_batch;
        match iob.complete {
            None => iob.complete = Some(complete),
            Some(other) if other as usize == complete as usize => {}
            // A poller's batch that another driver has filled.
            Some(_) => return false,
        }
        iob.need_ts |= flags & (RQF_IO_STAT | RQF_STATS | RQF_USE_SCHED) != 0;

        // SAFETY: The request is owned, and in no list; a list of a batch holds owned requests.
        unsafe { add_tail(&mut iob.req_list, rq) };
        true
    }
}
