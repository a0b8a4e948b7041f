// SPDX-License-Identifier: GPL-2.0

//! The life of a request: lent, started, ended.

use super::{
    dma_map_iter::{
        self,
        DmaMapIter,
        Mapping,
        Segment, //
    },
    tag_set::QueueData,
    Operations, //
};
use crate::abstractions::atomic::{
    AtomicU32,
    Ordering, //
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

/// A request's result, or why the driver rejects it: `blk_status_t`, whose values `check.c`
/// compares.
///
/// C header: [`include/linux/blk_types.h`](srctree/include/linux/blk_types.h)
///
/// # Examples
///
/// ```
/// use abstractions::block::mq::Status;
///
/// /// The status for a device's error code.
/// fn status(code: u8) -> Status {
///     match code {
///         0 => Status::Ok,
///         1 => Status::NotSupported,
///         2 => Status::Medium,
///         _ => Status::IoError,
///     }
/// }
///
/// assert_eq!(status(2), Status::Medium);
/// ```
// 64 bits, like the values that it shares a `Result` with: a one-byte status would be repacked at
// each return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Status {
    /// Success.
    Ok = 0,
    /// The operation isn't supported: `EOPNOTSUPP`.
    NotSupported = 1,
    /// The time limit was exceeded: `ETIMEDOUT`.
    Timeout = 2,
    /// The device has no space left: `ENOSPC`.
    NoSpace = 3,
    /// The path to the device failed temporarily: `ENOLINK`.
    Transport = 4,
    /// The device failed permanently: `EREMOTEIO`.
    Target = 5,
    /// Another host's reservation forbids the request: `EBADE`.
    ReservationConflict = 6,
    /// The medium failed: `ENODATA`.
    Medium = 7,
    /// Protection information doesn't match: `EILSEQ`.
    Protection = 8,
    /// The driver lacks a resource: the block layer tries again soon.
    Resource = 9,
    /// Any other failure: `EIO`.
    IoError = 10,
    /// The device is gone: `ENODEV`.
    Offline = 16,
    /// The request is invalid for the device: `EINVAL`.
    Invalid = 19,
}

/// A request's operation.
///
/// # Examples
///
/// ```
/// use abstractions::block::mq::Op;
///
/// /// The device's command for an operation.
/// fn opcode(op: Op) -> Option<u8> {
///     match op {
///         Op::Read => Some(1),
///         Op::Write => Some(2),
///         _ => None,
///     }
/// }
///
/// assert_eq!(opcode(Op::Flush), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Read data.
    Read,
    /// Write data.
    Write,
    /// Make all completed writes durable.
    Flush,
    /// Discard the data of these sectors.
    Discard,
    /// Write zeroes without a data transfer.
    WriteZeroes,
    /// Any other operation, which the block layer sends only to drivers that announce it, or a
    /// passthrough request of [`OpenDisk::execute`](super::OpenDisk::execute).
    Other,
}

impl Op {
    /// The operation in `cmd_flags`.
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

/// The tag of a request: unique among the requests in flight on a hardware queue.
///
/// # Examples
///
/// ```
/// use abstractions::block::mq::Tag;
///
/// assert_eq!(Tag::new(3).get(), 3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Tag(u16);

impl Tag {
    /// The tag with this number.
    #[inline]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number.
    #[inline]
    pub const fn get(self) -> u16 {
        self.0
    }
}

// As in `linux/blk_types.h`, where they are macros.
const REQ_FAILFAST: u32 = 1 << bindings::req_flag_bits___REQ_FAILFAST_DEV
    | 1 << bindings::req_flag_bits___REQ_FAILFAST_TRANSPORT
    | 1 << bindings::req_flag_bits___REQ_FAILFAST_DRIVER;
const REQ_FUA: u32 = 1 << bindings::req_flag_bits___REQ_FUA;
const REQ_NOUNMAP: u32 = 1 << bindings::req_flag_bits___REQ_NOUNMAP;
const REQ_RAHEAD: u32 = 1 << bindings::req_flag_bits___REQ_RAHEAD;
const REQ_OP_MASK: u32 = (1 << bindings::REQ_OP_BITS) - 1;

// As in `linux/blk-mq.h`.
const RQF_QUIET: u32 = 1 << bindings::rqf_flags___RQF_QUIET;
const RQF_SCHED_TAGS: u32 = 1 << bindings::rqf_flags___RQF_SCHED_TAGS;
const RQF_USE_SCHED: u32 = 1 << bindings::rqf_flags___RQF_USE_SCHED;
pub(super) const RQF_IO_STAT: u32 = 1 << bindings::rqf_flags___RQF_IO_STAT;
const RQF_STATS: u32 = 1 << bindings::rqf_flags___RQF_STATS;

/// The data of the abstraction and of the driver in each request, behind `struct request`.
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

    /// The bytes to allocate behind each request.
    pub(super) const SIZE: u32 = {
        assert!(core::mem::align_of::<Self>() <= core::mem::align_of::<bindings::request>());
        core::mem::size_of::<Self>() as u32
    };

    /// The driver's data of a request of a set of `T`.
    ///
    /// # Safety
    ///
    /// The request must be valid for `'a`, its pdu initialised, and no other context may access it.
    pub(super) unsafe fn data_of<'a>(rq: NonNull<bindings::request>) -> &'a mut T::RequestData {
        // SAFETY: The caller promises exclusive access to an initialised pdu.
        unsafe { &mut Self::of(rq).as_mut().data }
    }

    /// The `Pdu` of a request of a set of `T`.
    #[inline]
    pub(super) fn of(rq: NonNull<bindings::request>) -> NonNull<Self> {
        // As `blk_mq_rq_to_pdu`: the pdu is right behind the request.
        // SAFETY: Requests of a set are allocated with `SIZE` bytes behind them.
        unsafe { rq.add(1).cast() }
    }
}

/// Reads a field of the C request behind a [`RequestRef`].
macro_rules! field {
    ($handle:expr, $name:ident) => {
        // SAFETY: By the invariant of `RequestRef` the request is valid, and its description
        // doesn't change while it is lent or owned.
        unsafe { (*$handle.rq.as_ptr()).$name }
    };
}
pub(super) use field;

/// Read access to a request that is lent or owned, shared by [`IdleRequest`] and [`Request`]. They
/// never hand out a `&mut` to it, because then a caller could swap two of them.
///
/// # Invariants
///
/// `rq` is a request of a set of `T`, which no other context ends or changes while this value
/// exists.
///
/// # Examples
///
/// ```no_run
/// use abstractions::block::mq::{Op, Operations, RequestRef};
///
/// /// The flags of the device's command.
/// fn flags<T: Operations>(rq: &RequestRef<T>) -> u32 {
///     match rq.op() {
///         Op::Write => u32::from(rq.fua()),
///         Op::WriteZeroes => u32::from(rq.may_unmap()) << 1,
///         _ => 0,
///     }
/// }
///
/// /// The time that the request has taken, in nanoseconds.
/// fn age<T: Operations>(rq: &RequestRef<T>, now: u64) -> Option<u64> {
///     Some(now.saturating_sub(rq.start_time()?))
/// }
///
/// fn log<T: Operations<GenDiskData = u32>>(rq: &RequestRef<T>) {
///     if rq.is_quiet() {
///         return;
///     }
///     let write = rq.is_write() == Some(true);
///     pr_info!("disk {}\n", rq.disk_data());
///     pr_info!("tag {}: {} bytes at {}\n", rq.tag().get(), rq.bytes(), rq.sector());
///     pr_info!("{} segments, write {}, {}\n", rq.segments(), write, rq.fail_fast());
/// }
///
/// /// Copies a request's data, for a device without DMA.
/// fn copy<T: Operations>(rq: &RequestRef<T>, memory: &mut [u8]) -> Option<()> {
///     match rq.source() {
///         Some(mut data) => data.read(memory).ok(),
///         None => rq.dest()?.write(memory).ok(),
///     }
/// }
/// ```
pub struct RequestRef<T: Operations> {
    pub(super) rq: NonNull<bindings::request>,
    _set: PhantomData<fn(T)>,
}

impl<T: Operations> RequestRef<T> {
    /// # Safety
    ///
    /// `rq` must fulfil the type's invariant while the value exists.
    #[inline]
    pub(super) unsafe fn new(rq: NonNull<bindings::request>) -> Self {
        // INVARIANT: The caller promises that `rq` fulfils the type's invariant.
        Self {
            rq,
            _set: PhantomData,
        }
    }

    #[inline]
    pub(super) fn pdu(&mut self) -> &mut Pdu<T> {
        // SAFETY: By the type invariant only this value accesses the request; its `Pdu` was
        // initialised when the set was allocated.
        unsafe { Pdu::<T>::of(self.rq).as_mut() }
    }

    /// The request's tag.
    #[inline]
    pub fn tag(&self) -> Tag {
        // A tag is less than the queue depth, which is a `u16` in `TagSet::new`.
        Tag(field!(self, tag) as u16)
    }

    /// The set of tags that [`tag`](Self::tag) belongs to.
    #[inline]
    pub(super) fn tags(&self) -> *mut bindings::blk_mq_tags {
        let hctx = field!(self, mq_hctx);
        // SAFETY: The hardware queue is valid as long as one of its requests is lent or owned.
        unsafe { (*hctx).tags }
    }

    /// The queue of the request's disk.
    #[cfg(CONFIG_FAIL_IO_TIMEOUT)]
    pub(super) fn queue(&self) -> *mut bindings::request_queue {
        field!(self, q)
    }

    /// The request's operation.
    #[inline]
    pub fn op(&self) -> Op {
        Op::of(field!(self, cmd_flags))
    }

    /// `Some(true)` for a write, `Some(false)` for a read, `None` for other operations. Takes fewer
    /// branches than [`op`](Self::op) for the most frequent requests.
    #[inline]
    pub fn is_write(&self) -> Option<bool> {
        let op = field!(self, cmd_flags) & REQ_OP_MASK;
        (op <= bindings::req_op_REQ_OP_WRITE).then_some(op == bindings::req_op_REQ_OP_WRITE)
    }

    /// Whether the request may have data in memory: a read, a write, or a passthrough request.
    #[inline]
    pub(super) fn has_memory(&self) -> bool {
        self.is_write().is_some() || is_passthrough(field!(self, cmd_flags))
    }

    /// The first sector, in units of 512 bytes.
    #[inline]
    pub fn sector(&self) -> u64 {
        field!(self, __sector)
    }

    /// The bytes to transfer, discard or zero.
    #[inline]
    pub fn bytes(&self) -> u32 {
        field!(self, __data_len)
    }

    /// The maximum number of the data's segments; there may be fewer, because adjacent segments
    /// merge.
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

    /// When the block layer started accounting the request, in nanoseconds of the monotonic clock;
    /// `None` if it doesn't account this request (see the disk's `queue/iostats`).
    #[inline]
    pub fn start_time(&self) -> Option<u64> {
        (field!(self, rq_flags) & RQF_IO_STAT != 0).then_some(field!(self, start_time_ns))
    }

    /// Whether the submitter prefers an error to a retry.
    #[inline]
    pub fn fail_fast(&self) -> bool {
        field!(self, cmd_flags) & REQ_FAILFAST != 0
    }

    /// Whether a failure isn't worth a line in the log: the submitter asked for silence, or the
    /// request only reads ahead, so that a reader who needs the data will ask again.
    pub fn is_quiet(&self) -> bool {
        field!(self, rq_flags) & RQF_QUIET != 0 || field!(self, cmd_flags) & REQ_RAHEAD != 0
    }

    /// The driver's data of the request's disk.
    pub fn disk_data(&self) -> &T::GenDiskData {
        let q = field!(self, q);
        // SAFETY: A request of a set of `T` belongs to the queue of a disk of `T`, whose
        // `queuedata` is a `QueueData<T>`. The queue leaves the set only after its requests have
        // ended, so its data exist while this request is lent or owned.
        unsafe { &(*(*q).queuedata.cast::<QueueData<T>>()).disk }
    }
}

/// A request that blk-mq lends to [`Operations::queue_rq`]; it isn't started yet.
///
/// The lifetime is unique to a call and its request.
///
/// # Examples
///
/// ```no_run
/// use abstractions::block::mq::{IdleRequest, Op, Operations, Rejected, Request, Status};
///
/// /// Starts a request of a driver that keeps a count in each request.
/// fn start<'a, T>(mut rq: IdleRequest<'a, T>) -> Result<Request<T>, Rejected<'a>>
/// where
///     T: Operations<RequestData = u32>,
/// {
///     if rq.op() == Op::Discard {
///         let ranges = rq.ranges(|sector, bytes| {
///             pr_info!("discard {} bytes at {}\n", bytes, sector);
///             Ok(())
///         });
///         return match ranges {
///             Ok(()) => Ok(rq.start()),
///             Err(status) => Err(rq.reject(status)),
///         };
///     }
///
///     let Some(transfer) = rq.transfer() else {
///         return Err(rq.reject(Status::NotSupported));
///     };
///     let mut count = 0;
///     let mapped = match rq.map_single(&transfer) {
///         Some(Ok(segment)) => {
///             pr_info!("{} bytes at {:#x}\n", segment.len, segment.addr);
///             Ok(())
///         }
///         Some(Err(status)) => Err(status),
///         None => {
///             let mut segments = rq.map(None);
///             while let Some(segment) = segments.next() {
///                 count += 1;
///             }
///             segments.finish()
///         }
///     };
///     if let Err(status) = mapped {
///         return Err(rq.reject(status));
///     }
///     *rq.data() = count;
///     Ok(rq.start())
/// }
/// ```
pub struct IdleRequest<'a, T: Operations> {
    handle: RequestRef<T>,
    _brand: PhantomData<fn(&'a ()) -> &'a ()>,
}

impl<'a, T: Operations> IdleRequest<'a, T> {
    /// # Safety
    ///
    /// `rq` must be valid, belong to a set of `T`, not be started, and be lent to the caller for
    /// `'a`. The caller must use `'a` for no other request.
    #[inline]
    pub(super) unsafe fn new(rq: NonNull<bindings::request>) -> Self {
        Self {
            // SAFETY: The caller promises that `rq` is valid and lent to it.
            handle: unsafe { RequestRef::new(rq) },
            _brand: PhantomData,
        }
    }

    /// The request itself, which other files of this folder map.
    pub(super) fn handle_mut(&mut self) -> &mut RequestRef<T> {
        &mut self.handle
    }

    /// The driver's data of the request.
    #[inline]
    pub fn data(&mut self) -> &mut T::RequestData {
        &mut self.handle.pdu().data
    }

    /// Proof that the request is a read or write; `None` for other operations.
    #[inline(always)]
    pub fn transfer(&self) -> Option<Transfer<'a>> {
        self.is_write().map(|write| Transfer {
            write,
            _brand: PhantomData,
        })
    }

    /// As [`transfer`](Self::transfer), but `None` for all requests unless `path` is open; that takes no
    /// instruction more.
    #[inline(always)]
    pub fn transfer_by(&self, path: &ShortPath) -> Option<Transfer<'a>> {
        let op = field!(self.handle, cmd_flags) & REQ_OP_MASK;
        (op < path.0.load(Ordering::Relaxed)).then_some(Transfer {
            write: op == bindings::req_op_REQ_OP_WRITE,
            _brand: PhantomData,
        })
    }

    /// Proof that the request is a passthrough request, which may have data; `None` for other
    /// operations.
    #[inline]
    pub fn passthrough(&self) -> Option<Transfer<'a>> {
        let flags = field!(self.handle, cmd_flags);
        is_passthrough(flags).then_some(Transfer {
            write: flags & REQ_OP_MASK == bindings::req_op_REQ_OP_DRV_OUT,
            _brand: PhantomData,
        })
    }

    /// Maps the request's data, if they are a single segment that is simple to map; if this returns
    /// `None`, use [`map`](Self::map).
    ///
    /// # Errors
    ///
    /// [`Status::Resource`] if the mapping failed for now, [`Status::IoError`] if it has failed for
    /// the set's time limit.
    #[inline(always)]
    pub fn map_single(&mut self, _: &Transfer<'a>) -> Option<Result<Segment, Status>> {
        // SAFETY: The `Transfer` proves that this request reads or writes, or is a passthrough request,
        // because no other request has this lifetime.
        unsafe { dma_map_iter::map_single(&mut self.handle) }
    }

    /// Maps the request's data for the device, segment by segment. If [`map_single`] has mapped the
    /// data, `single` is its result.
    ///
    /// Rejecting, requeueing or ending the request unmaps the data. Only a read, a write or a
    /// passthrough request has data.
    ///
    /// [`map_single`]: Self::map_single
    #[inline]
    pub fn map(&mut self, single: Option<Segment>) -> DmaMapIter<'_, T> {
        DmaMapIter::new(&mut self.handle, single)
    }

    /// Calls `f` with the first sector and the number of bytes of each range of a discard. Merges
    /// adjacent ranges, because the block layer may send many adjacent bios to a device that takes
    /// only one range.
    ///
    /// # Errors
    ///
    /// The first error of `f`.
    pub fn ranges<E>(&self, mut f: impl FnMut(u64, u32) -> Result<(), E>) -> Result<(), E> {
        let mut bio = field!(self.handle, bio);
        let mut range: Option<(u64, u32)> = None;

        // SAFETY: A request's list of bios is valid and doesn't change while the request is lent.
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

    /// Starts the request, and its time limit. The caller owns it from then on.
    #[inline]
    pub fn start(self) -> Request<T> {
        // SAFETY: The request is lent and not started.
        unsafe { bindings::blk_mq_start_request(self.handle.rq.as_ptr()) };

        Request {
            handle: self.handle,
        }
    }

    /// Returns the request to the block layer. For [`Status::Resource`] the block layer tries again
    /// later; any other status ends the request with that error.
    pub fn reject(mut self, status: Status) -> Rejected<'a> {
        dma_map_iter::undo(&mut self.handle);
        Rejected {
            // A rejection must not look like a success.
            status: if status == Status::Ok {
                Status::IoError
            } else {
                status
            },
            _brand: PhantomData,
        }
    }
}

impl<T: Operations> core::ops::Deref for IdleRequest<'_, T> {
    type Target = RequestRef<T>;

    #[inline]
    fn deref(&self) -> &RequestRef<T> {
        &self.handle
    }
}

/// Whether a disk's reads and writes take the driver's short path, see [`IdleRequest::transfer_by`].
///
/// # Examples
///
/// ```no_run
/// use abstractions::block::mq::{IdleRequest, Operations, ShortPath, Status};
///
/// /// Builds the command of a request, of a disk that encrypts if `path` is closed.
/// fn command<T: Operations>(rq: &IdleRequest<'_, T>, path: &ShortPath) -> Result<u8, Status> {
///     match rq.transfer_by(path) {
///         Some(transfer) => Ok(if transfer.write { 1 } else { 2 }),
///         // Flushes and others, and the reads and writes of a disk that encrypts.
///         None => Err(Status::NotSupported),
///     }
/// }
///
/// let path = ShortPath::new(true);
/// path.set(false);
/// assert!(!path.is_open());
/// ```
///
/// # Invariants
///
/// The operations less than the value take it: none, or reads and writes.
pub struct ShortPath(AtomicU32);

impl ShortPath {
    /// Whether the path is open.
    pub const fn new(open: bool) -> Self {
        // INVARIANT: One of the two values.
        Self(AtomicU32::new(Self::value(open)))
    }

    const fn value(open: bool) -> u32 {
        match open {
            true => bindings::req_op_REQ_OP_WRITE + 1,
            false => 0,
        }
    }

    /// Whether requests take the path now.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// Opens or closes the path, for the requests that are queued from now on; the caller orders this
    /// with other requests, by freezing the disk.
    pub fn set(&self, open: bool) {
        // INVARIANT: One of the two values.
        self.0.store(Self::value(open), Ordering::Relaxed);
    }
}

const _: () = assert!(bindings::req_op_REQ_OP_READ == 0 && bindings::req_op_REQ_OP_WRITE == 1);

/// Proof that the request of this call is a read, a write or a passthrough request, and so may have
/// data.
///
/// # Examples
///
/// ```no_run
/// use abstractions::block::mq::{IdleRequest, Operations, Segment, Transfer};
///
/// /// Maps a read of one segment.
/// fn read<'a, T: Operations>(
///     rq: &mut IdleRequest<'a, T>,
///     transfer: &Transfer<'a>,
/// ) -> Option<Segment> {
///     if transfer.write {
///         return None;
///     }
///     rq.map_single(transfer)?.ok()
/// }
///
/// /// The same for a passthrough request.
/// fn passthrough<'a, T: Operations>(rq: &mut IdleRequest<'a, T>) -> Option<Segment> {
///     let transfer = rq.passthrough()?;
///     read(rq, &transfer)
/// }
/// ```
pub struct Transfer<'a> {
    /// The request writes.
    pub write: bool,
    _brand: PhantomData<fn(&'a ()) -> &'a ()>,
}

/// Proof that the request of this call was rejected, with the status.
///
/// # Examples
///
/// ```no_run
/// use abstractions::block::mq::{IdleRequest, Operations, Rejected, Status};
///
/// /// Accepts a request only if the device has room for its command.
/// fn admit<'a, T: Operations>(
///     rq: IdleRequest<'a, T>,
///     room: bool,
/// ) -> Result<IdleRequest<'a, T>, Rejected<'a>> {
///     match room {
///         true => Ok(rq),
///         false => Err(rq.reject(Status::Resource)),
///     }
/// }
/// ```
pub struct Rejected<'a> {
    pub(super) status: Status,
    _brand: PhantomData<fn(&'a ()) -> &'a ()>,
}

/// A started request, which the holder owns.
///
/// Dropping it ends the request with [`Status::IoError`].
///
/// # Examples
///
/// ```no_run
/// use abstractions::block::mq::{IoCompletionBatch, Operations, Request, Status};
///
/// /// The device has completed a request.
/// fn done<T>(mut rq: Request<T>, ok: bool, batch: &mut IoCompletionBatch<'_, T>)
/// where
///     T: Operations<RequestData = u32>,
/// {
///     if ok {
///         rq.complete(Status::Ok, batch);
///     } else if *rq.data() < 3 {
///         *rq.data() += 1;
///         rq.requeue();
///     } else {
///         rq.end(Status::IoError);
///     }
/// }
/// ```
pub struct Request<T: Operations> {
    handle: RequestRef<T>,
}

// SAFETY: Any context may end a started request; `RequestData` and the mapping are `Send`.
unsafe impl<T: Operations> Send for Request<T> {}

impl<T: Operations> Request<T> {
    /// # Safety
    ///
    /// `rq` must come from [`into_raw`](Self::into_raw), and be used only once.
    #[inline]
    pub(super) unsafe fn from_raw(rq: NonNull<bindings::request>) -> Self {
        Self {
            // SAFETY: The caller promises that `rq` came from `into_raw`, so ownership moves here.
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

    /// Ends the request, if possible by `batch`, which ends many requests together with less work.
    ///
    /// The block layer may end the request on the submitting CPU. Any context.
    #[inline(always)]
    pub fn complete(mut self, status: Status, batch: &mut IoCompletionBatch<'_, T>) {
        dma_map_iter::undo(&mut self.handle);
        self.handle.pdu().status = status;
        let rq = self.into_raw();

        // SAFETY: The request is started and owned. If this returns true, another CPU owns the
        // request, and it isn't accessed below.
        if unsafe { bindings::blk_mq_complete_request_remote(rq.as_ptr()) } {
            return;
        }

        // SAFETY: The request is started, and this context still owns it.
        if status != Status::Ok || !unsafe { batch.add(rq) } {
            // SAFETY: The request is started, and `add` didn't take it, so this context owns it.
            unsafe { bindings::blk_mq_end_request(rq.as_ptr(), status as u8) };
        }
    }

    /// Ends the request. Any context.
    #[inline(never)]
    pub fn end(self, status: Status) {
        IoCompletionBatch::with(|batch| self.complete(status, batch));
    }

    /// Requeues the request: the block layer will queue it again. Any context.
    pub fn requeue(mut self) {
        dma_map_iter::undo(&mut self.handle);
        let rq = self.into_raw();

        // SAFETY: The request is started and owned; this returns ownership to the block layer.
        unsafe { bindings::blk_mq_requeue_request(rq.as_ptr(), true) };
    }

    /// Ends a request that [`complete`](Self::complete) passed to another CPU:
    /// `blk_mq_ops.complete`.
    ///
    /// # Safety
    ///
    /// `rq` must be a request that [`complete`](Self::complete) passed to another CPU.
    pub(super) unsafe fn finish(rq: NonNull<bindings::request>) {
        // SAFETY: The pdu is initialised; `complete` wrote the status before it passed the request
        // on.
        let status = unsafe { Pdu::<T>::of(rq).as_ref().status };

        // SAFETY: The request is started, and was passed to this context to end.
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
///
/// # Examples
///
/// ```no_run
/// use abstractions::block::mq::{InFlight, IoCompletionBatch, Operations, Status};
///
/// /// Completes the commands that the device has reported.
/// fn reap<T: Operations>(requests: &InFlight<T>, cids: &[u16]) {
///     IoCompletionBatch::with(|batch| {
///         for rq in cids.iter().filter_map(|cid| requests.take(*cid)) {
///             let took = batch.now().saturating_sub(rq.start_time().unwrap_or(0));
///             pr_info!("tag {} took {} ns\n", rq.tag().get(), took);
///             rq.complete(Status::Ok, batch);
///         }
///     });
/// }
/// ```
pub struct IoCompletionBatch<'a, T: Operations> {
    iob: &'a mut bindings::io_comp_batch,
    now: u64,
    _set: PhantomData<fn(T)>,
}

/// An empty list. A constant, because `Default` would be an out-of-line call.
pub(super) const NO_REQUESTS: bindings::rq_list = bindings::rq_list {
    head: core::ptr::null_mut(),
    tail: core::ptr::null_mut(),
};

/// As `rq_list_add_tail`.
///
/// # Safety
///
/// The caller must own `rq` and the requests in `list`; `rq` must be in no list.
#[inline(always)]
pub(super) unsafe fn add_tail(list: &mut bindings::rq_list, rq: *mut bindings::request) {
    // SAFETY: The caller promises to own `rq` and the requests in `list`.
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

/// Whether a request's operation is the driver's own.
#[inline]
fn is_passthrough(cmd_flags: u32) -> bool {
    matches!(
        cmd_flags & REQ_OP_MASK,
        bindings::req_op_REQ_OP_DRV_IN | bindings::req_op_REQ_OP_DRV_OUT
    )
}

/// An empty batch.
const EMPTY: bindings::io_comp_batch = bindings::io_comp_batch {
    req_list: NO_REQUESTS,
    need_ts: false,
    complete: None,
    poll_ctx: core::ptr::null_mut(),
};

impl<T: Operations> IoCompletionBatch<'_, T> {
    /// Calls `f` with an empty batch, and then ends the requests in it.
    ///
    /// Any context.
    #[inline(always)]
    pub fn with<R>(f: impl FnOnce(&mut IoCompletionBatch<'_, T>) -> R) -> R {
        let mut iob = EMPTY;
        let result = Self::with_lent(&mut iob, f);

        if !iob.req_list.head.is_null() {
            // SAFETY: The batch holds only owned requests that have succeeded.
            unsafe { bindings::blk_mq_end_request_batch(&mut iob) };
        }
        result
    }

    /// Calls `f` with a batch that the lender ends.
    #[inline(always)]
    pub(super) fn with_lent<R>(
        iob: &mut bindings::io_comp_batch,
        f: impl FnOnce(&mut IoCompletionBatch<'_, T>) -> R,
    ) -> R {
        f(&mut IoCompletionBatch {
            iob,
            now: 0,
            _set: PhantomData,
        })
    }

    /// The completion time of the batch's requests, in nanoseconds of the monotonic clock. The
    /// clock is read once per batch, at the first call.
    #[inline]
    pub fn now(&mut self) -> u64 {
        if self.now == 0 {
            // SAFETY: The function has no preconditions. The clock is positive.
            self.now = unsafe { bindings::ktime_get() } as u64;
        }
        self.now
    }

    /// Adds `rq` to the batch; `false` if the caller must end it separately. As
    /// `blk_mq_add_to_batch` for a request that succeeded.
    ///
    /// # Safety
    ///
    /// The caller must own `rq`; if this returns `true`, the batch owns it.
    #[inline]
    unsafe fn add(&mut self, rq: NonNull<bindings::request>) -> bool {
        let iob = &mut *self.iob;
        let rq = rq.as_ptr();
        // SAFETY: The caller owns the request.
        let (flags, has_end) = unsafe { ((*rq).rq_flags, (*rq).end_io.is_some()) };

        if flags & RQF_SCHED_TAGS != 0 {
            return false;
        }
        // SAFETY: The caller owns the request.
        if has_end && !is_passthrough(unsafe { (*rq).cmd_flags }) {
            return false;
        }
        let complete = bindings::blk_mq_end_request_batch;
        match iob.complete {
            None => iob.complete = Some(complete),
            Some(other) if core::ptr::eq(other as *const (), complete as *const ()) => {}
            // Another driver has added requests to the poller's batch.
            Some(_) => return false,
        }
        iob.need_ts |= flags & (RQF_IO_STAT | RQF_STATS | RQF_USE_SCHED) != 0;

        // SAFETY: The caller owns the request, which is in no list; the batch owns the requests in
        // its list.
        unsafe { add_tail(&mut iob.req_list, rq) };
        true
    }
}
