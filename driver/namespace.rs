// SPDX-License-Identifier: GPL-2.0

//! A namespace of the controller, and the disk that it is to the system.

use super::{
    controller::Controller,
    io::{
        Blk,
        MAX_BYTES, //
    },
};
use crate::{
    abstractions::mq::{
        Disk,
        Limits,
        TagSet, //
    },
    nvme::{
        command::DsmRange,
        identify,
        prp::PAGE_SIZE, //
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

/// What the I/O path knows of a namespace.
pub(super) struct Namespace {
    pub(super) controller: Arc<Controller>,
    /// The namespace identifier (NSID).
    pub(super) id: u32,
    /// The logical block size is `512 << block_shift` bytes.
    block_shift: u32,
    /// A block that was zeroed with deallocation reads as zeroes.
    pub(super) zeroes_deallocate: bool,
}

impl Namespace {
    /// The logical block of a sector of 512 bytes.
    #[inline]
    pub(super) fn block_of(&self, sector: u64) -> u64 {
        sector >> self.block_shift
    }

    /// The number of logical blocks in `bytes`.
    #[inline]
    pub(super) fn blocks_of(&self, bytes: u32) -> u32 {
        bytes >> 9 >> self.block_shift
    }
}

/// The limits of a namespace's disk, from what the namespace and its controller say.
fn limits(
    controller: &Controller,
    info: &identify::Controller,
    ns: &identify::Namespace,
) -> Limits {
    let block = 1u32 << ns.lba_shift;
    let scaled = |blocks: u32| blocks.saturating_mul(block);
    // No value over the greatest count of blocks that a command can have.
    let max_bytes = info
        .max_transfer_bytes(controller.page_size_min())
        .map_or(MAX_BYTES, |max| {
            u32::try_from(max).unwrap_or(MAX_BYTES).min(MAX_BYTES)
        })
        .max(PAGE_SIZE as u32);
    // Without an atomicity of its own a namespace has the controller's.
    let atomic = scaled(ns.nawupf.unwrap_or(info.awupf));
    // The block layer wants a power of two, within one request and within the boundary.
    let atomic = match atomic.min(max_bytes) {
        0 => 0,
        bytes => 1 << bytes.ilog2(),
    };
    let boundary = scaled(ns.nabspf);
    let atomic_possible = atomic > block
        && ns.nabo == 0
        && (boundary == 0 || boundary.is_power_of_two() && boundary >= atomic);

    Limits {
        logical_block_size: block,
        physical_block_size: scaled(ns.npwg).clamp(block, 1 << 20),
        io_min: scaled(ns.npwg),
        io_opt: scaled(ns.nows),
        max_bytes,
        // Each piece but the first begins with a page.
        max_segments: (max_bytes / PAGE_SIZE as u32 + 1).min(u16::MAX.into()) as u16,
        virt_boundary: PAGE_SIZE as u32,
        dma_alignment: 4,
        chunk: scaled(ns.noiob),
        write_cache: info.volatile_write_cache(),
        fua: info.volatile_write_cache(),
        max_discard: if info.dataset_management() {
            u32::MAX & !(block - 1)
        } else {
            0
        },
        max_discard_ranges: DsmRange::MAX as u16,
        discard_granularity: scaled(ns.npdg),
        max_write_zeroes: if info.write_zeroes() { max_bytes } else { 0 },
        atomic_write_max: if atomic_possible { atomic } else { 0 },
        atomic_write_boundary: if atomic_possible { boundary } else { 0 },
        read_only: ns.read_only,
    }
}

/// Makes the disk of namespace `id`.
///
/// # Errors
///
/// Those of [`Disk::new`].
pub(super) fn add_disk(
    controller: Arc<Controller>,
    dev: &device::Device<Bound>,
    set: Arc<TagSet<Blk>>,
    info: &identify::Controller,
    id: u32,
    ns: &identify::Namespace,
) -> Result<Disk<Blk>> {
    let limits = limits(&controller, info, ns);
    let instance = controller.instance();
    let data = Arc::new(
        Namespace {
            controller,
            id,
            block_shift: ns.lba_shift - 9,
            zeroes_deallocate: ns.write_zeroes_deallocates() && ns.deallocated_reads_zero(),
        },
        GFP_KERNEL,
    )?;

    Disk::new(
        set,
        dev,
        fmt!("rnvme{instance}n{id}"),
        limits,
        ns.capacity_sectors(),
        data,
    )
}
