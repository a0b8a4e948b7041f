// SPDX-License-Identifier: GPL-2.0

//! The limits of a namespace's disk.

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

/// The limits of a namespace's disk, from what the namespace and its controller say.
pub(super) fn limits(
    controller: &Controller,
    info: &identify::Controller,
    nvm: &identify::NvmController,
    ns: &identify::Namespace,
    sgl: bool,
) -> Limits {
    let block = 1u32 << ns.lba_shift;
    let scaled = |blocks: u32| blocks.saturating_mul(block);
    // What the block layer can work with, which needs powers of two.
    let power_of_two = |value: u32, other: u32| match value.is_power_of_two() {
        true => value,
        false => other,
    };
    // No value over the greatest count of blocks that a command can have.
    let max_bytes = info
        .max_transfer_bytes(controller.ctrl().cap().page_size_min())
        .map_or(MAX_BYTES, |max| {
            u32::try_from(max).unwrap_or(MAX_BYTES).min(MAX_BYTES)
        })
        .max(PAGE_SIZE as u32);

    // The controller's own value (AWUPF) is in no certain unit where formats differ, so only that of
    // the namespace counts; a single block is atomic in any case. The block layer wants a power of
    // two, within one request and within the boundary.
    let atomic = scaled(ns.nawupf.unwrap_or(1)).clamp(block, max_bytes);
    let atomic = 1 << atomic.checked_ilog2().unwrap_or(0);
    let chunk = power_of_two(scaled(ns.noiob), 0);
    // Nothing that is written as one may have to be split.
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
        // File systems take it that a physical block is written as a whole or not at all.
        physical_block_size: write.min(atomic),
        io_min: write,
        io_opt: match ns.nows {
            0 | 1 => 0,
            blocks => scaled(blocks),
        },
        max_bytes,
        // With PRPs each piece but the first begins with a page. Pieces in a scatter gather list are
        // as they like, but its descriptors have to fit.
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

/// Whether a block that is zeroed may be deallocated: it reads as zeroes then.
pub(super) fn zeroes_deallocate(ns: &identify::Namespace) -> bool {
    ns.write_zeroes_deallocates() && ns.deallocated_reads_zero()
}
