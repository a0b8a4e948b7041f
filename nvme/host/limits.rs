// SPDX-License-Identifier: GPL-2.0

//! Decides the limits of a disk's requests, from the identify data of its namespace and of the
//! controller. `namespaces` passes them to the block layer, which refuses a disk whose limits
//! contradict one another: no value of a device may cause that.

use super::{
    super::spec::{
        command::DsmRange,
        identify::{
            Controller,
            Namespace,
            NvmController, //
        },
    },
    prp::{
        LIST_ENTRIES,
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    quirks::Quirks,
};

/// The maximum bytes of a command: one page of PRP entries describes that much, for any offset into
/// the first page (Base 4.1.1). This also keeps the number of blocks within its field of the
/// command (NVM 3.2.4).
pub const MAX_BYTES: u32 = (LIST_ENTRIES * PAGE_SIZE) as u32;

/// The maximum descriptors of an SGL: one page, at two words each (Base 4.1.2).
pub const MAX_DESCRIPTORS: u16 = (LIST_ENTRIES / 2) as u16;

/// The limits of a disk's requests, in bytes, unless stated otherwise.
///
/// All sizes but `io_opt` and `max_discard` are powers of two, or 0 if stated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskLimits {
    /// The logical block: 512 to 4096 (LBADS; NVM 4.1.5.1).
    pub logical_block_size: u32,
    /// The unit that file systems take to be written at once, and atomically: no larger than
    /// `io_min` and the atomic write unit.
    pub physical_block_size: u32,
    /// The preferred granularity of writes (NPWG; NVM 4.1.5.1).
    pub io_min: u32,
    /// The optimal size of a write; 0 if not known (NOWS; NVM 4.1.5.1).
    pub io_opt: u32,
    /// The maximum bytes of a request, at least a page (MDTS; Base 5.17.2.1).
    pub max_bytes: u32,
    /// The maximum segments of a request, a count.
    pub max_segments: u16,
    /// Segments meet only at multiples of this, as PRPs require; 0 for no limit (Base 4.1.1).
    pub virt_boundary: u32,
    /// The alignment of a segment's address (Base 4.1.1, 4.1.2).
    pub dma_alignment: u32,
    /// A request shouldn't cross a multiple of this; 0 for no limit (NOIOB; NVM 4.1.5.1).
    pub chunk: u32,
    /// The disk has a volatile write cache, and so needs flushes or FUA (VWC; Base 5.17.2.1).
    pub write_cache: bool,
    /// The maximum bytes of a range of a discard, a multiple of the logical block; 0 if discards
    /// aren't supported (ONCS, DMRSL; NVM 4.1.5.4).
    pub max_discard: u32,
    /// The maximum ranges of a discard, a count of at least 1 (DMRL; NVM 4.1.5.4).
    pub max_discard_ranges: u16,
    /// The preferred granularity of a discard (NPDG; NVM 4.1.5.1).
    pub discard_granularity: u32,
    /// The maximum bytes of a Write Zeroes command; 0 if it isn't supported (ONCS, WZSL; NVM
    /// 4.1.5.4).
    pub max_write_zeroes: u32,
    /// Write Zeroes may deallocate blocks, because deallocated blocks read as zeroes (DLFEAT; NVM
    /// 4.1.5.1).
    pub write_zeroes_unmap: bool,
    /// Writes up to this size are atomic; 0 if the block layer can't make use of it (NAWUPF; NVM
    /// 2.1.4).
    pub atomic_write_max: u32,
    /// An atomic write doesn't cross a multiple of this, which is at least `atomic_write_max`; 0
    /// for no limit (NABSPF; NVM 2.1.4).
    pub atomic_write_boundary: u32,
    /// The namespace is write protected (NSATTR; NVM 4.1.5.1).
    pub read_only: bool,
}

impl DiskLimits {
    /// The limits of the disk of `ns`. `page_size_min` is from
    /// [`Cap::page_size_min`](super::super::spec::regs::Cap::page_size_min), `info` and `nvm` are
    /// the controller's identify data, `quirks` its quirks; `sgl` if commands may use SGLs.
    pub fn new(
        page_size_min: u64,
        info: &Controller,
        nvm: &NvmController,
        ns: &Namespace,
        sgl: bool,
        quirks: Quirks,
    ) -> Self {
        let block = ns.block_size();
        let scaled = |blocks: u32| blocks.saturating_mul(block);
        let max_bytes = max_bytes(page_size_min, info);
        // MDTS doesn't apply to Write Zeroes, but controllers without WZSL may think it does.
        let zeroes = info.write_zeroes() && !quirks.has(Quirks::DISABLE_WRITE_ZEROES);
        let max_write_zeroes = limited(nvm.max_write_zeroes_bytes(page_size_min), max_bytes);
        let chunk = chunk(ns, max_bytes, quirks);
        let write = power_of_two(scaled(ns.npwg), block);
        let (atomic, atomic_write_max, boundary) = atomic(ns, max_bytes, chunk);
        let discards = match (info.dataset_management(), nvm.range_blocks) {
            (false, _) => 0,
            (true, 0) => u32::MAX,
            (true, blocks) => scaled(blocks),
        };

        Self {
            logical_block_size: block,
            // File systems assume that a write of a physical block is atomic.
            physical_block_size: write.min(atomic),
            io_min: write,
            io_opt: match ns.nows {
                0 | 1 => 0,
                blocks => scaled(blocks),
            },
            max_bytes,
            // With PRPs every segment but the first starts at a page boundary. With SGLs the
            // segments are arbitrary, but their descriptors must fit.
            max_segments: match sgl {
                true => MAX_DESCRIPTORS,
                false => (max_bytes >> PAGE_SHIFT).saturating_add(1) as u16,
            },
            virt_boundary: if sgl { 0 } else { PAGE_SIZE as u32 },
            dma_alignment: 4,
            chunk,
            write_cache: info.volatile_write_cache(),
            max_discard: discards & !block.wrapping_sub(1),
            max_discard_ranges: match nvm.ranges {
                0 => DsmRange::MAX as u16,
                ranges => ranges.min(DsmRange::MAX as u16),
            },
            discard_granularity: power_of_two(scaled(ns.npdg), block),
            max_write_zeroes: match zeroes {
                true => max_write_zeroes,
                false => 0,
            },
            write_zeroes_unmap: ns.write_zeroes_deallocates() && ns.deallocated_reads_zero(),
            atomic_write_max,
            atomic_write_boundary: boundary,
            read_only: ns.read_only,
        }
    }
}

/// See [`DiskLimits::chunk`].
fn chunk(ns: &Namespace, max_bytes: u32, quirks: Quirks) -> u32 {
    if quirks.has(Quirks::STRIPE_SIZE) {
        return max_bytes;
    }
    power_of_two(ns.noiob.saturating_mul(ns.block_size()), 0)
}

/// The largest number of bytes of a request. The kernel needs at least a page, which may be larger than a
/// controller's.
pub fn max_bytes(page_size_min: u64, info: &Controller) -> u32 {
    limited(info.max_transfer_bytes(page_size_min), MAX_BYTES)
}

/// A controller's limit in bytes, if it has one, as a power of two from a page to `max`.
fn limited(limit: Option<u64>, max: u32) -> u32 {
    let limit = limit.and_then(|limit| u32::try_from(limit).ok());
    floor_power_of_two(limit.unwrap_or(max).min(max).max(PAGE_SIZE as u32))
}

/// `value`, or `other` if it isn't a power of two: the block layer accepts no other values.
fn power_of_two(value: u32, other: u32) -> u32 {
    match value.is_power_of_two() {
        true => value,
        false => other,
    }
}

/// The largest power of two that isn't above `value`; 1 for 0.
fn floor_power_of_two(value: u32) -> u32 {
    1u32.wrapping_shl(value.checked_ilog2().unwrap_or(0))
}

/// The atomic write unit of a namespace in bytes, and the limit and the boundary of atomic writes
/// for the block layer, both 0 if it can't use the unit.
///
/// Only the namespace's unit (NAWUPF) counts, because the unit of the controller's (AWUPF) is
/// unclear if formats differ; a single block is always atomic. The block layer needs a power of
/// two, within one request and within the boundary.
fn atomic(ns: &Namespace, max_bytes: u32, chunk: u32) -> (u32, u32, u32) {
    let block = ns.block_size();
    let scaled = |blocks: u32| blocks.saturating_mul(block);

    let unit = scaled(ns.nawupf.unwrap_or(1)).min(max_bytes).max(block);
    // The block layer must not have to split an atomic write at a chunk.
    let unit = match chunk {
        0 => floor_power_of_two(unit),
        chunk => floor_power_of_two(unit).min(chunk),
    };
    let boundary = scaled(ns.nabspf);
    let fits = boundary == 0 || boundary.is_power_of_two() && boundary >= unit;
    match ns.nabo == 0 && fits {
        true => (unit, unit, boundary),
        false => (unit, 0, 0),
    }
}
