// SPDX-License-Identifier: GPL-2.0

//! The block layer's limits of a namespace's disk. `disk` calls this.

use crate::{
    abstractions::mq::Limits,
    driver::{
        io::{
            MAX_BYTES,
            MAX_DESCRIPTORS, //
        },
        life::Controller,
    },
    nvme::{
        host::prp::PAGE_SIZE,
        spec::{
            command::DsmRange,
            identify, //
        },
    },
};

/// The limits of a namespace's disk, from the identify data of the namespace and of its controller.
pub(super) fn limits(
    controller: &Controller,
    info: &identify::Controller,
    nvm: &identify::NvmController,
    ns: &identify::Namespace,
    sgl: bool,
) -> Limits {
    let block = 1u32 << ns.lba_shift;
    let scaled = |blocks: u32| blocks.saturating_mul(block);
    // The block layer accepts only powers of two.
    let power_of_two = |value: u32, other: u32| match value.is_power_of_two() {
        true => value,
        false => other,
    };
    // MAX_BYTES also keeps the count of blocks within its field of the command.
    let max_bytes = info
        .max_transfer_bytes(controller.ctrl().cap().page_size_min())
        .map_or(MAX_BYTES, |max| {
            u32::try_from(max).unwrap_or(MAX_BYTES).min(MAX_BYTES)
        })
        .max(PAGE_SIZE as u32);

    // Only the namespace's value (NAWUPF) counts, because the unit of the controller's (AWUPF) is
    // unclear if formats differ; a single block is always atomic. The block layer needs a power of
    // two, within one request and within the boundary.
    let atomic = scaled(ns.nawupf.unwrap_or(1)).clamp(block, max_bytes);
    let atomic = 1 << atomic.checked_ilog2().unwrap_or(0);
    let chunk = power_of_two(scaled(ns.noiob), 0);
    // The block layer must not have to split an atomic write at a chunk.
    let atomic = if chunk == 0 {
        atomic
    } else {
        atomic.min(chunk)
    };
    let boundary = scaled(ns.nabspf);
    let atomic_possible =
        ns.nabo == 0 && (boundary == 0 || boundary.is_power_of_two() && boundary >= atomic);

    let range = match nvm.range_blocks {
        0 => u32::MAX,
        blocks => scaled(blocks),
    };
    let write = power_of_two(scaled(ns.npwg), block);

    Limits {
        logical_block_size: block,
        // File systems assume that a write of a physical block is atomic.
        physical_block_size: write.min(atomic),
        io_min: write,
        io_opt: match ns.nows {
            0 | 1 => 0,
            blocks => scaled(blocks),
        },
        max_bytes,
        // With PRPs every segment but the first starts at a page boundary. With SGLs the segments
        // are arbitrary, but their descriptors must fit.
        max_segments: if sgl {
            MAX_DESCRIPTORS
        } else {
            (max_bytes / PAGE_SIZE as u32 + 1).min(u16::MAX.into()) as u16
        },
        virt_boundary: if sgl { 0 } else { PAGE_SIZE as u32 },
        dma_alignment: 4,
        chunk,
        write_cache: info.volatile_write_cache(),
        fua: info.volatile_write_cache(),
        max_discard: if info.dataset_management() {
            range & !(block - 1)
        } else {
            0
        },
        max_discard_ranges: match nvm.ranges {
            0 => DsmRange::MAX as u16,
            ranges => ranges,
        },
        discard_granularity: power_of_two(scaled(ns.npdg), block),
        max_write_zeroes: if info.write_zeroes() { max_bytes } else { 0 },
        write_zeroes_unmap: zeroes_deallocate(ns),
        atomic_write_max: if atomic_possible { atomic } else { 0 },
        atomic_write_boundary: if atomic_possible { boundary } else { 0 },
        read_only: ns.read_only,
    }
}

/// Whether Write Zeroes may deallocate blocks, because deallocated blocks read as zeroes.
pub(super) fn zeroes_deallocate(ns: &identify::Namespace) -> bool {
    ns.write_zeroes_deallocates() && ns.deallocated_reads_zero()
}
