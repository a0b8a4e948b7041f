// SPDX-License-Identifier: GPL-2.0

//! Sample 5: a disk in memory, so a complete block driver without a device.
//!
//! It uses only part of abstractions/ and nothing of NVMe. When the module is loaded, it prints:
//!
//! ```text
//! rust_ramblk: ramblk0 is a disk of 64 MiB with 2 hardware queues
//! ```
//!
//! Then `mkfs.ext4 /dev/ramblk0` works. The kernel refuses to unload the module while the disk is
//! open. Unloading the module discards the data.

#![deny(unsafe_code)]

use core::ops::Range;
use kernel::{
    cpu::nr_cpu_ids,
    device::{
        Bound,
        Device, //
    },
    faux,
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc,
    xarray::{
        AllocKind,
        XArray, //
    }, //
};

// The parts of abstractions/ that this module uses.
#[allow(unsafe_code)]
#[path = "../abstractions"]
mod abstractions {
    pub mod atomic;
    pub mod binding;
    pub mod block;
    pub mod chrdev;
    pub mod dma;
    pub mod io_uring;
    pub mod series;
    pub mod sync;
    pub mod sysfs;
}

use abstractions::block::mq::{
    self,
    IdleRequest,
    Op,
    Rejected,
    Status, //
};

/// The maximum size of a request, so that no request keeps a CPU for long.
const MAX_BYTES: u32 = 1 << 20;

/// The disk's data by page; a missing page reads as zeroes. The array has its own lock.
type Pages = XArray<KBox<[u8; PAGE_SIZE]>>;

/// The disk's blk-mq operations.
struct RamDisk;

impl mq::Operations for RamDisk {
    type Module = RamBlk;
    type TagSetData = ();
    type HwData = ();
    type GenDiskData = Pin<KBox<Pages>>;
    type RequestData = ();

    fn init_hctx((): &(), _index: u32) -> Result<Arc<()>> {
        Ok(Arc::new((), GFP_KERNEL)?)
    }

    // Runs on several CPUs at once, and must not sleep. `rq` is lent: the driver must either reject
    // it with a status, or start it, own it, and end it. The types enforce that.
    fn queue_rq<'a>(
        (): &(),
        pages: &Self::GenDiskData,
        rq: IdleRequest<'a, Self>,
        _last: bool,
    ) -> Result<(), Rejected<'a>> {
        match carry_out(pages, &rq) {
            Ok(()) => {
                rq.start().end(Status::Ok);
                Ok(())
            }
            Err(status) => Err(rq.reject(status)),
        }
    }
}

/// The byte range of `rq`: the number of each page, and the part of the page.
fn parts(rq: &IdleRequest<'_, RamDisk>) -> impl Iterator<Item = (usize, Range<usize>)> {
    // The block layer has checked that this is within the disk.
    let mut at = rq.sector() as usize * 512;
    let end = at + rq.bytes() as usize;

    core::iter::from_fn(move || {
        let (index, begin) = (at / PAGE_SIZE, at % PAGE_SIZE);
        let len = (end - at).min(PAGE_SIZE - begin);
        at += len;
        (len > 0).then_some((index, begin..begin + len))
    })
}

/// Executes `rq`.
fn carry_out(pages: &Pages, rq: &IdleRequest<'_, RamDisk>) -> Result<(), Status> {
    match rq.op() {
        Op::Read => {
            let mut dest = rq.dest().ok_or(Status::Invalid)?;
            for (index, part) in parts(rq) {
                match pages.lock().get(index) {
                    Some(page) => dest.write(&page[part])?,
                    None => dest.write_zeroes(part.len())?,
                }
            }
        }
        Op::Write => {
            let mut source = rq.source().ok_or(Status::Invalid)?;
            for (index, part) in parts(rq) {
                let mut pages = pages.lock();
                if pages.get(index).is_none() {
                    // If there is no memory, the block layer tries the whole request again soon.
                    let flags = GFP_NOWAIT | __GFP_NOWARN;
                    let page = KBox::init(pin_init::init_zeroed(), flags)
                        .map_err(|_: Error| Status::Resource)?;
                    let stored = pages.store(index, page, flags);
                    stored.map_err(|_| Status::Resource)?;
                }
                let page = pages.get_mut(index).ok_or(Status::IoError)?;
                source.read(&mut page[part])?;
            }
        }
        Op::Discard | Op::WriteZeroes => {
            for (index, part) in parts(rq) {
                let mut pages = pages.lock();
                if part.len() == PAGE_SIZE {
                    pages.remove(index);
                } else if let Some(page) = pages.get_mut(index) {
                    page[part].fill(0);
                }
            }
        }
        // Nothing is cached, so a flush does nothing. A flush has no sector either.
        Op::Flush => {}
        Op::Other => return Err(Status::NotSupported),
    }
    Ok(())
}

/// The module. Fields are dropped in this order: first the disk, then its parent.
struct RamBlk {
    _disk: mq::GenDisk<RamDisk>,
    _parent: faux::Registration,
}

impl kernel::Module for RamBlk {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let mib = module_parameters::size_mib.value();
        // A disk needs a parent device, whose unbind removes the disk. This is a faux device.
        let parent = faux::Registration::new(c"rust_ramblk", None)?;
        let faux: &faux::Device<Bound> = parent.as_ref();
        let dev: &Device<Bound> = faux.as_ref();

        let queues = mq::QueueSet {
            queues: nr_cpu_ids(),
            first_vector: None,
        };
        // No read queues, and no polled queues.
        let sets = [queues, mq::QueueSet::default(), mq::QueueSet::default()];
        let set = mq::TagSet::new(dev, (), sets, 64, 30_000)?;

        let limits = mq::Limits {
            logical_block_size: 512,
            physical_block_size: PAGE_SIZE as u32,
            max_bytes: MAX_BYTES,
            max_segments: 256,
            dma_alignment: 4,
            max_discard: MAX_BYTES,
            max_discard_ranges: 1,
            discard_granularity: PAGE_SIZE as u32,
            max_write_zeroes: MAX_BYTES,
            write_zeroes_unmap: true,
            ..mq::Limits::default()
        };
        let sectors = u64::from(mib) << 11;
        let pages = KBox::pin_init(XArray::new(AllocKind::Alloc), GFP_KERNEL)?;
        let disk =
            mq::GenDiskBuilder::new(set, fmt!("ramblk0"), limits, sectors, pages)?.add(dev)?;

        pr_info!(
            "ramblk0 is a disk of {} MiB with {} hardware queues\n",
            mib,
            queues.queues
        );
        Ok(Self {
            _disk: disk,
            _parent: parent,
        })
    }
}

module! {
    type: RamBlk,
    name: "rust_ramblk",
    authors: ["The rust_nvme_demo developers"],
    description: "Sample: a disk in memory",
    license: "GPL",
    params: {
        size_mib: u32 {
            default: 64,
            description: "Size of the disk in MiB (default 64)",
        },
    },
}
