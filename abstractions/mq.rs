// SPDX-License-Identifier: GPL-2.0

//! Block devices with hardware queues (blk-mq), complete enough for a storage controller: data of
//! the driver in each request, queue and disk, queue maps by interrupt affinity, queue limits,
//! request DMA mapping, batched submission and completion, polling and time-outs.
//!
//! # Who owns a request
//!
//! blk-mq lends a request to the driver ([`Idle`]). The driver either hands it back with a reason
//! ([`Rejected`]), or starts it and owns it from then on ([`Request`]), until it ends it. A
//! controller names a request by its tag, and may name any; so a started request is kept in an
//! [`InFlight`] table, and is owned by whoever takes it out: a completion, a time-out or a reset.
//! So no request can be ended twice, whatever the device says.
//!
//! C header: [`include/linux/blk-mq.h`](srctree/include/linux/blk-mq.h)

pub mod data;
mod disk;
mod inflight;
mod map;
mod request;
mod tag_set;

pub use self::{
    disk::{
        Disk,
        Limits,
        NewDisk, //
    },
    inflight::InFlight,
    map::Segment,
    request::{
        Batch,
        Idle,
        Op,
        Rejected,
        Request,
        Status,
        Transfer, //
    },
    tag_set::{
        QueueSet,
        TagSet,
        TimeoutAction, //
    },
};

use kernel::prelude::*;

/// What a driver of hardware queues does: `struct blk_mq_ops`.
pub trait Operations: Sized + 'static {
    /// The module that the disks belong to: it stays while one of them is open.
    type Module: kernel::ModuleMetadata;

    /// The driver's data of the set of queues.
    type SetData: Send + Sync + 'static;

    /// The driver's data of one hardware queue.
    type HwData: Send + Sync + 'static;

    /// The driver's data of one disk.
    type DiskData: Send + Sync + 'static;

    /// The driver's data of one request. It is made once, with the request's memory, and kept
    /// from one use of the request to the next.
    type RequestData: Default + Send + 'static;

    /// Gives the data of hardware queue `index` to a disk that is being made.
    ///
    /// Process context.
    fn init_hw(set: &Self::SetData, index: u32) -> Result<kernel::sync::Arc<Self::HwData>>;

    /// Starts request `rq` and queues it, or hands it back.
    ///
    /// Unless `last`, more follow, and one that is the last or a [`commit`](Self::commit) comes after
    /// them; so the device need not be told of this one yet. Of the last one, and those before it,
    /// the device is told here, unless it is handed back: a commit follows then. Atomic context:
    /// must not sleep.
    fn queue<'a>(
        hw: &Self::HwData,
        disk: &Self::DiskData,
        rq: Idle<'a, Self>,
        last: bool,
    ) -> Result<(), Rejected<'a>>;

    /// Tells the device of all requests that were queued of which it wasn't told. Atomic context.
    ///
    /// By default nothing: for a driver whose [`queue`](Self::queue) doesn't wait for the last request.
    fn commit(hw: &Self::HwData) {
        let _ = hw;
    }

    /// Reaps completions of a polled queue into `batch`, and returns their number.
    ///
    /// Called for queues of a poll set only.
    fn poll(hw: &Self::HwData, batch: &mut Batch<'_, Self>) -> u32 {
        let _ = (hw, batch);
        0
    }

    /// The started request with `tag`, which asked for `op`, took longer than the set's time limit.
    /// It may end at any moment, on another CPU. Process context; may sleep.
    ///
    /// By default the request gets the time once more: for a driver whose requests end by themselves.
    fn timeout(hw: &Self::HwData, disk: &Self::DiskData, tag: u16, op: Op) -> TimeoutAction {
        let _ = (hw, disk, tag, op);
        TimeoutAction::Wait
    }
}
