// SPDX-License-Identifier: GPL-2.0

//! A request's data, mapped for the device.
//!
//! C header: [`include/linux/blk-mq-dma.h`](srctree/include/linux/blk-mq-dma.h)

use super::{
    request::{
        field,
        Handle, //
    },
    Operations,
    Status,
    TagSet, //
};
use kernel::{
    bindings,
    prelude::*, //
};

/// A piece of a request's data, contiguous for the device.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// The address that the device uses.
    pub addr: u64,
    /// The length in bytes; not 0.
    pub len: u32,
}

// The declarations of `linux/blk-mq-dma.h`, which `kernel::bindings` does not cover.

#[repr(C)]
struct BlkMapIter {
    iter: bindings::bvec_iter,
    bio: *mut bindings::bio,
    bvecs: *mut bindings::bio_vec,
    is_integrity: bool,
}

#[repr(C)]
struct BlkDmaIter {
    addr: bindings::dma_addr_t,
    len: u32,
    p2pdma: bindings::pci_p2pdma_map_state,
    status: bindings::blk_status_t,
    iter: BlkMapIter,
}

// The types are those of the kernel's own bindings, some of which have no fields in this
// configuration.
#[allow(improper_ctypes)]
unsafe extern "C" {
    fn blk_rq_dma_map_iter_start(
        req: *mut bindings::request,
        dma_dev: *mut bindings::device,
        state: *mut bindings::dma_iova_state,
        iter: *mut BlkDmaIter,
    ) -> bool;
    fn blk_rq_dma_map_iter_next(
        req: *mut bindings::request,
        dma_dev: *mut bindings::device,
        iter: *mut BlkDmaIter,
    ) -> bool;
}

/// What is mapped, and has to be undone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Live {
    Nothing,
    /// `len` bytes at `addr`.
    Single,
    /// `len` bytes in a range of the IOMMU's addresses.
    Iova,
    /// The pieces in `pieces`.
    Pieces,
}

/// The state of a request's mapping, kept in the request's memory.
pub(super) struct Mapping {
    live: Live,
    len: u32,
    addr: u64,
    // Kept from one use of the request to the next, so that it seldom grows.
    pieces: KVec<Segment>,
    iova: bindings::dma_iova_state,
}

impl Mapping {
    pub(super) fn new() -> Self {
        Self {
            live: Live::Nothing,
            len: 0,
            addr: 0,
            pieces: KVec::new(),
            iova: bindings::dma_iova_state::default(),
        }
    }
}

/// Maps the data of a request that is one piece, at less cost than [`Segments`] does; `None` if it
/// is more.
#[inline]
pub(super) fn map_single<T: Operations>(handle: &mut Handle<T>) -> Option<Result<Segment, Status>> {
    if field!(handle, nr_phys_segments) != 1 || handle.pdu().mapping.live != Live::Nothing {
        return None;
    }
    let bio = field!(handle, bio);

    // SAFETY: A request with a segment has a bio with that segment; they are valid and not changed
    // while the request is lent.
    let (page, offset, len) = unsafe {
        let iter = &raw const (*bio).bi_iter;
        let vec = (*bio).bi_io_vec.add((*iter).bi_idx as usize);
        (
            (*vec).bv_page,
            (*vec).bv_offset.wrapping_add((*iter).bi_offset),
            core::cmp::min(
                (*iter).bi_size,
                (*vec).bv_len.wrapping_sub((*iter).bi_offset),
            ),
        )
    };
    // One segment, but more than one entry of the vector: the pages happen to adjoin.
    if len != field!(handle, __data_len) {
        return None;
    }

    let dev = TagSet::<T>::dma_device(handle.rq);
    let direction = direction(field!(handle, cmd_flags));
    // SAFETY: The device is valid while its set is; the page belongs to the request.
    let addr = unsafe {
        bindings::dma_map_page_attrs(dev, page, offset as usize, len as usize, direction, 0)
    };
    // As `dma_mapping_error()`, which tells the DMA debugging that it was called.
    #[cfg(CONFIG_DMA_API_DEBUG)]
    // SAFETY: The device is valid; the address was mapped for it above, or is the error's.
    unsafe {
        bindings::debug_dma_mapping_error(dev, addr)
    };
    if addr == bindings::dma_addr_t::MAX {
        return Some(Err(Status::Resource));
    }

    let mapping = &mut handle.pdu().mapping;
    mapping.live = Live::Single;
    mapping.addr = addr;
    mapping.len = len;
    Some(Ok(Segment { addr, len }))
}

/// Undoes a request's mapping, if it has one.
#[inline]
pub(super) fn undo<T: Operations>(handle: &mut Handle<T>) {
    let live = core::mem::replace(&mut handle.pdu().mapping.live, Live::Nothing);
    if live == Live::Nothing {
        return;
    }
    let dev = TagSet::<T>::dma_device(handle.rq);
    let direction = direction(field!(handle, cmd_flags));
    let mapping = &mut handle.pdu().mapping;

    if live == Live::Single {
        let segment = Segment {
            addr: mapping.addr,
            len: mapping.len,
        };
        // SAFETY: The piece was mapped for this device in this direction, and is unmapped once,
        // since `live` was reset.
        unsafe { unmap(dev, segment, direction) };
    } else {
        undo_many(mapping, live, dev, direction);
    }
}

#[cold]
fn undo_many(
    mapping: &mut Mapping,
    live: Live,
    dev: *mut bindings::device,
    direction: bindings::dma_data_direction,
) {
    if live == Live::Iova {
        // SAFETY: The range was mapped for this device in this direction, and is unmapped once,
        // since `live` was reset.
        unsafe {
            bindings::dma_iova_destroy(dev, &mut mapping.iova, mapping.len as usize, direction, 0)
        };
        return;
    }
    for segment in &mapping.pieces {
        // SAFETY: As above.
        unsafe { unmap(dev, *segment, direction) };
    }
}

/// The pieces of a request's data, mapped one after the other.
pub struct Segments<'r, T: Operations> {
    handle: &'r mut Handle<T>,
    iter: BlkDmaIter,
    /// The iterator stands at a piece that wasn't given out yet.
    at_piece: bool,
    /// More pieces may come.
    more: bool,
    /// The pieces are noted, to be unmapped one by one.
    record: bool,
}

impl<'r, T: Operations> Segments<'r, T> {
    pub(super) fn start(handle: &'r mut Handle<T>) -> Result<Self, Status> {
        if field!(handle, nr_phys_segments) == 0 || handle.pdu().mapping.live != Live::Nothing {
            return Err(Status::Invalid);
        }
        let dev = TagSet::<T>::dma_device(handle.rq);
        let mut state = bindings::dma_iova_state::default();

        // SAFETY: All-zero is a valid value: null pointers, numbers, an enum with a 0 and `false`.
        let mut iter: BlkDmaIter = unsafe { core::mem::zeroed() };
        // SAFETY: The request is lent, the device valid while its set is, and the state and the
        // iterator are ours.
        let mapped =
            unsafe { blk_rq_dma_map_iter_start(handle.rq.as_ptr(), dev, &mut state, &mut iter) };
        if !mapped {
            return Err(match iter.status {
                // No segment and no error: the request has no data.
                0 => Status::Invalid,
                s if s == Status::Resource as u8 => Status::Resource,
                _ => Status::IoError,
            });
        }

        let coalesced = state.__size != 0;
        // SAFETY: The device is valid. Asked after a mapping was made, as the function demands.
        let record = !coalesced && unsafe { bindings::dma_need_unmap(dev) };
        let mapping = &mut handle.pdu().mapping;
        if coalesced {
            mapping.live = Live::Iova;
            mapping.iova = state;
            mapping.len = iter.len;
        } else if record {
            mapping.pieces.clear();
            mapping.live = Live::Pieces;
            // SAFETY: The iterator has just mapped this piece for `dev`.
            unsafe { Self::record(handle, dev, &iter)? };
        }
        Ok(Self {
            handle,
            iter,
            at_piece: true,
            more: !coalesced,
            record,
        })
    }

    /// Notes the piece that the iterator stands at, to be unmapped later; unmaps it at once where
    /// there is no memory for the note.
    ///
    /// # Safety
    ///
    /// `iter` has just mapped the piece for `dev`.
    unsafe fn record(
        handle: &mut Handle<T>,
        dev: *mut bindings::device,
        iter: &BlkDmaIter,
    ) -> Result<(), Status> {
        let segment = Segment {
            addr: iter.addr,
            len: iter.len,
        };
        let direction = direction(field!(handle, cmd_flags));
        let pieces = &mut handle.pdu().mapping.pieces;

        if pieces.push(segment, GFP_ATOMIC | __GFP_NOWARN).is_err() {
            // SAFETY: As promised by the caller; nobody else knows of the piece.
            unsafe { unmap(dev, segment, direction) };
            return Err(Status::Resource);
        }
        Ok(())
    }

    /// The next piece; `None` after the last.
    ///
    /// # Errors
    ///
    /// [`Status::Resource`] where it can't be mapped now. What is mapped stays so until the
    /// request is rejected.
    pub fn next(&mut self) -> Result<Option<Segment>, Status> {
        if !self.at_piece {
            return Ok(None);
        }
        let segment = Segment {
            addr: self.iter.addr,
            len: self.iter.len,
        };
        self.at_piece = false;
        if !self.more {
            return Ok(Some(segment));
        }

        let dev = TagSet::<T>::dma_device(self.handle.rq);
        // SAFETY: As in `start`, where the iterator was started.
        if unsafe { blk_rq_dma_map_iter_next(self.handle.rq.as_ptr(), dev, &mut self.iter) } {
            if self.record {
                // SAFETY: The iterator has just mapped this piece for `dev`.
                unsafe { Self::record(self.handle, dev, &self.iter)? };
            }
            self.at_piece = true;
        } else if self.iter.status != Status::Ok as u8 {
            return Err(Status::Resource);
        }
        Ok(Some(segment))
    }
}

/// As `rq_dma_dir`: odd operations write.
#[inline]
fn direction(cmd_flags: u32) -> bindings::dma_data_direction {
    if cmd_flags & 1 != 0 {
        bindings::dma_data_direction::DMA_TO_DEVICE
    } else {
        bindings::dma_data_direction::DMA_FROM_DEVICE
    }
}

/// # Safety
///
/// `segment` is mapped for `dev` in this direction, and is unmapped once.
#[inline]
unsafe fn unmap(
    dev: *mut bindings::device,
    segment: Segment,
    direction: bindings::dma_data_direction,
) {
    // SAFETY: As promised by the caller.
    unsafe {
        bindings::dma_unmap_page_attrs(dev, segment.addr, segment.len as usize, direction, 0)
    };
}
