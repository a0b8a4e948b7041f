// SPDX-License-Identifier: GPL-2.0

//! The block layer's limits of a namespace's disk. `disk` calls this;
//! [`nvme::host::limits`](crate::nvme::host::limits) decides.

use crate::{
    abstractions::block::mq::{
        Checksum,
        IntegrityLimits,
        Limits,
        ProtectionLimits, //
    },
    driver::life::Controller,
    nvme::{
        host::{
            limits::DiskLimits,
            metadata::Metadata, //
        },
        spec::{
            identify,
            protection::Guard, //
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
    metadata: Metadata,
) -> Limits {
    let ctrl = controller.ctrl();
    let page_size_min = ctrl.cap().page_size_min();
    let limits = DiskLimits::new(page_size_min, info, nvm, ns, sgl, ctrl.quirks());

    Limits {
        logical_block_size: limits.logical_block_size,
        physical_block_size: limits.physical_block_size,
        io_min: limits.io_min,
        io_opt: limits.io_opt,
        max_bytes: limits.max_bytes,
        max_segments: limits.max_segments,
        virt_boundary: limits.virt_boundary,
        dma_alignment: limits.dma_alignment,
        chunk: limits.chunk,
        write_cache: limits.write_cache,
        fua: limits.write_cache,
        max_discard: limits.max_discard,
        max_discard_ranges: limits.max_discard_ranges,
        discard_granularity: limits.discard_granularity,
        max_write_zeroes: limits.max_write_zeroes,
        write_zeroes_unmap: limits.write_zeroes_unmap,
        atomic_write_max: limits.atomic_write_max,
        atomic_write_boundary: limits.atomic_write_boundary,
        read_only: limits.read_only,
        integrity: integrity(metadata),
    }
}

/// The metadata for which requests have buffers.
fn integrity(metadata: Metadata) -> Option<IntegrityLimits> {
    let Metadata::Separate { bytes, tuple } = metadata else {
        return None;
    };
    Some(IntegrityLimits {
        bytes,
        protection: tuple.map(|tuple| ProtectionLimits {
            checksum: match tuple.guard {
                Guard::Crc16 => Checksum::Crc,
                Guard::Crc64 => Checksum::Crc64,
            },
            offset: tuple.offset,
            reference_tag: tuple.has_reference,
        }),
    })
}
