// SPDX-License-Identifier: GPL-2.0

//! Block devices with hardware queues (blk-mq) for a storage controller's driver: driver data in
//! each request, queue and disk, queue maps by interrupt affinity, queue limits, request DMA
//! mapping, batched submission and completion, polling and time-outs.
//!
//! # Who owns a request
//!
//! blk-mq lends a request to the driver ([`IdleRequest`]). The driver either returns the request
//! with a status ([`Rejected`]), or starts it and owns it ([`Request`]) until the driver ends it. A
//! controller names a request by its tag, and may name any tag. So the driver keeps a started
//! request in an [`InFlight`] table, and the context that takes it out owns it: a completion, a
//! time-out or a reset. So no request can be ended twice, even if the device completes it twice.
//!
//! # Examples
//!
//! A disk that reads as zeroes. `samples/rust_ramblk.rs` is a complete module.
//!
//! ```
//! use abstractions::block::mq::{
//!     GenDisk, GenDiskBuilder, IdleRequest, Limits, Operations, QueueSet, Rejected, Status,
//!     TagSet,
//! };
//! use kernel::sync::Arc;
//!
//! struct Zeroes;
//!
//! impl Operations for Zeroes {
//!     type Module = crate::LocalModule;
//!     type TagSetData = ();
//!     type HwData = ();
//!     type GenDiskData = ();
//!     type RequestData = ();
//!
//!     fn init_hctx((): &(), _index: u32) -> Result<Arc<()>> {
//!         Ok(Arc::new((), GFP_KERNEL)?)
//!     }
//!
//!     fn queue_rq<'a>(
//!         (): &(),
//!         (): &(),
//!         rq: IdleRequest<'a, Self>,
//!         _last: bool,
//!     ) -> Result<(), Rejected<'a>> {
//!         let zeroed = match rq.dest() {
//!             Some(mut data) => data.write_zeroes(data.len()),
//!             None => Err(Status::NotSupported),
//!         };
//!         if let Err(status) = zeroed {
//!             return Err(rq.reject(status));
//!         }
//!         rq.start().end(Status::Ok);
//!         Ok(())
//!     }
//! }
//!
//! let queues = QueueSet { queues: 1, first_vector: None };
//! let sets = [queues, QueueSet::default(), QueueSet::default()];
//! let set = TagSet::<Zeroes>::new(dev, (), sets, 64, 30_000)?;
//! let limits = Limits {
//!     logical_block_size: 512,
//!     physical_block_size: 4096,
//!     max_bytes: 1 << 20,
//!     max_segments: 64,
//!     dma_alignment: 4,
//!     ..Limits::default()
//! };
//! // Adding the disk reads its partition table.
//! let disk = GenDiskBuilder::new(set, fmt!("zeroes0"), limits, 2048, ())?;
//! let disk: GenDisk<Zeroes> = disk.add(dev)?;
//! assert_eq!(disk.capacity(), 2048);
//! ```
//!
//! C header: [`include/linux/blk-mq.h`](srctree/include/linux/blk-mq.h)

pub mod data;
mod dma_map_iter;
mod files;
mod gen_disk;
mod inflight;
mod integrity;
mod passthrough;
mod request;
mod reservation;
mod tag_set;
mod uring;

pub use self::{
    dma_map_iter::{
        DmaMapIter,
        Segment, //
    },
    files::{
        DiskFile,
        DiskFiles, //
    },
    gen_disk::{
        Disk,
        DiskRef,
        GenDisk,
        GenDiskBuilder,
        Held,
        Limits, //
    },
    inflight::{
        Guests,
        InFlight, //
    },
    integrity::{
        Checksum,
        Integrity,
        IntegrityLimits,
        MetadataBuffer,
        ProtectionLimits,
        HAS_INTEGRITY, //
    },
    passthrough::{
        Buffers,
        Ioctls,
        OpenDisk, //
    },
    request::{
        IdleRequest,
        IoCompletionBatch,
        Op,
        Rejected,
        Request,
        RequestRef,
        ShortPath,
        Status,
        Tag,
        Transfer, //
    },
    reservation::{
        HeldReservation,
        Registrants,
        ReservationChange,
        ReservationError,
        ReservationType,
        Reservations, //
    },
    tag_set::{
        Frozen,
        QueueSet,
        RequestTimeoutStatus,
        TagSet, //
    },
    uring::Submission,
};

use kernel::prelude::*;

/// The operations of a driver with hardware queues: `struct blk_mq_ops`.
///
/// # Examples
///
/// ```
/// use abstractions::block::mq::{
///     Frozen, IdleRequest, InFlight, IoCompletionBatch, Op, Operations, QueueSet, Rejected,
///     RequestTimeoutStatus, Status, Tag, TagSet,
/// };
/// use kernel::sync::Arc;
///
/// /// A hardware queue.
/// struct Queue {
///     requests: InFlight<MyDriver>,
/// }
///
/// struct MyDriver;
///
/// impl Operations for MyDriver {
///     type Module = crate::LocalModule;
///     type TagSetData = KVec<Arc<Queue>>;
///     type HwData = Queue;
///     type GenDiskData = ();
///     type RequestData = ();
///
///     fn init_hctx(queues: &KVec<Arc<Queue>>, index: u32) -> Result<Arc<Queue>> {
///         Ok(queues.get(index as usize).ok_or(EINVAL)?.clone())
///     }
///
///     fn remapped(queues: &KVec<Arc<Queue>>, frozen: &Frozen<'_>) {
///         for queue in queues {
///             queue.requests.forget_tags(frozen);
///         }
///     }
///
///     fn queue_rq<'a>(
///         queue: &Queue,
///         (): &(),
///         rq: IdleRequest<'a, Self>,
///         last: bool,
///     ) -> Result<(), Rejected<'a>> {
///         match queue.requests.insert(rq.start()) {
///             Ok(cid) => {
///                 // Write the command `cid` here; ring the doorbell if it is the `last`.
///             }
///             Err(rq) => rq.end(Status::IoError),
///         }
///         Ok(())
///     }
///
///     fn commit_rqs(queue: &Queue) {
///         // Ring the doorbell here.
///     }
///
///     fn may_poll(queue: &Queue) -> bool {
///         // Look at the device's next entry here.
///         queue.requests.tags().next().is_some()
///     }
///
///     fn poll(queue: &Queue, batch: &mut IoCompletionBatch<'_, Self>) -> u32 {
///         // The device says that command 3 has succeeded.
///         match queue.requests.take(3) {
///             Some(rq) => {
///                 rq.complete(Status::Ok, batch);
///                 1
///             }
///             None => 0,
///         }
///     }
///
///     fn request_timeout(queue: &Queue, (): &(), tag: Tag, _op: Op) -> RequestTimeoutStatus {
///         if let Some(rq) = queue.requests.take_tag(tag) {
///             rq.end(Status::Timeout);
///         }
///         RequestTimeoutStatus::Completed
///     }
///
///     fn uring_result((): &mut (), status: impl FnOnce() -> Result) -> (i32, u64) {
///         (status().err().map_or(0, Error::to_errno), 0)
///     }
///
///     fn eui64((): &()) -> Option<&[u8]> {
///         Some(&[0xac, 0xde, 0x48, 0x00, 0x00, 0x00, 0x00, 0x80])
///     }
/// }
///
/// let queue = Arc::new(Queue { requests: InFlight::new(64)? }, GFP_KERNEL)?;
/// let mut queues = KVec::new();
/// queues.push(queue, GFP_KERNEL)?;
/// let sets = [QueueSet { queues: 1, first_vector: None }, Default::default(), Default::default()];
/// let set = TagSet::<MyDriver>::new(dev, queues, sets, 64, 30_000)?;
/// // Now the driver can add disks.
/// ```
pub trait Operations: Sized + 'static {
    /// The module that owns the disks: it can't be unloaded while a disk is open.
    type Module: kernel::ModuleMetadata;

    /// The driver's data of the tag set.
    type TagSetData: Send + Sync + 'static;

    /// The driver's data of a hardware queue.
    type HwData: Send + Sync + 'static;

    /// The driver's data of a disk.
    type GenDiskData: Send + Sync + 'static;

    /// The driver's data of a request (the pdu). It is initialised once, with the request's memory,
    /// and keeps its value when the request is reused.
    type RequestData: Default + Send + 'static;

    /// Answers a call of `ioctl()` on an open disk or partition that the block layer doesn't answer
    /// itself, if the driver has such calls. Process context; may sleep. The disk may be removed
    /// meanwhile.
    const IOCTL: Option<Ioctls<Self>> = None;

    /// The functions for the disks' persistent reservations, if the driver has them.
    const RESERVATIONS: Option<Reservations<Self>> = None;

    /// Returns the data of hardware queue `index`, for a disk that is being created.
    ///
    /// Process context.
    fn init_hctx(set: &Self::TagSetData, index: u32) -> Result<kernel::sync::Arc<Self::HwData>>;

    /// The set is allocated, or its hardware queues change: forget the tags of all tables by
    /// [`InFlight::forget_tags`], because hardware queues may get others. Must not wait for memory.
    ///
    /// Does nothing by default: for a driver that never calls [`TagSet::set_queues`].
    fn remapped(set: &Self::TagSetData, frozen: &Frozen<'_>) {
        let _ = (set, frozen);
    }

    /// Starts request `rq` and submits it, or rejects it.
    ///
    /// If not `last`, the doorbell may wait: a call with `last`, or
    /// [`commit_rqs`](Self::commit_rqs), follows. If `last`, ring the doorbell for all pending
    /// requests, unless this request is rejected: then a commit follows. Atomic context: must not
    /// sleep.
    fn queue_rq<'a>(
        hw: &Self::HwData,
        disk: &Self::GenDiskData,
        rq: IdleRequest<'a, Self>,
        last: bool,
    ) -> Result<(), Rejected<'a>>;

    /// Rings the doorbell for all pending requests. Atomic context.
    ///
    /// Does nothing by default: for a driver whose [`queue_rq`](Self::queue_rq) always rings the
    /// doorbell.
    fn commit_rqs(hw: &Self::HwData) {
        let _ = hw;
    }

    /// Whether a poller should call [`poll`](Self::poll): a short look, because most pollers find nothing.
    /// It may miss a completion, but not always.
    ///
    /// By default it should.
    fn may_poll(hw: &Self::HwData) -> bool {
        let _ = hw;
        true
    }

    /// Reaps completions of a polled queue into `batch`, and returns their number.
    ///
    /// Called for queues of a poll set, and for default queues after [`TagSet::set_queues`] took
    /// away all queues of the poll set.
    fn poll(hw: &Self::HwData, batch: &mut IoCompletionBatch<'_, Self>) -> u32 {
        let _ = (hw, batch);
        0
    }

    /// The started request with `tag`, for `op`, has timed out. It may complete at any moment, on
    /// another CPU. Process context; may sleep.
    ///
    /// By default the request gets another time-out period: for a driver whose requests always
    /// complete.
    fn request_timeout(
        hw: &Self::HwData,
        disk: &Self::GenDiskData,
        tag: Tag,
        op: Op,
    ) -> RequestTimeoutStatus {
        let _ = (hw, disk, tag, op);
        RequestTimeoutStatus::RetryLater
    }

    /// The result of a request of [`DiskRef::submit`], which ended as `status` says: the command's status
    /// for user space, which is an error if it is negative, and its result. `rq` must no longer have
    /// what the closure passed to `submit` has put there. Any context.
    ///
    /// By default the status is 0 or the error of the request, the result is 0, and `rq` is reset to its
    /// default.
    fn uring_result(rq: &mut Self::RequestData, status: impl FnOnce() -> Result) -> (i32, u64) {
        *rq = Self::RequestData::default();
        (status().err().map_or(0, Error::to_errno), 0)
    }

    /// The disk's globally unique identifier of the kind EUI-64: 8, 12 or 16 bytes. Process
    /// context.
    ///
    /// By default there is none.
    fn eui64(disk: &Self::GenDiskData) -> Option<&[u8]> {
        let _ = disk;
        None
    }
}
