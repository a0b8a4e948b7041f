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

/// What is needed to undo a mapping.
enum Undo {
    /// Nothing is mapped.
    None,
    /// One piece.
    Single(Segment),
    /// One range of the IOMMU's addresses, of so many bytes.
    Iova(bindings::dma_iova_state, usize),
    /// The pieces in `Mapping::pieces`.
    Pieces,
}

/// The state of a request's mapping, kept in the request's memory.
pub(super) struct Mapping {
    undo: Undo,
    // Kept from one use of the request to the next, so that it seldom grows.
    pieces: KVec<Segment>,
}

impl Mapping {
    pub(super) const fn new() -> Self {
        Self {
            undo: Undo::None,
            pieces: KVec::new(),
        }
    }
}

enum State {
    /// The only piece, not given out yet.
    Single(Segment),
    /// The iterator stands at a piece that wasn't given out yet.
    Iter {
        iter: BlkDmaIter,
        record: bool,
        more: bool,
    },
    End,
}

/// The pieces of a request's data, mapped one after the other.
pub struct Segments<'r, T: Operations> {
    handle: &'r mut Handle<T>,
    state: State,
}

impl<'r, T: Operations> Segments<'r, T> {
    #[inline]
    pub(super) fn start(handle: &'r mut Handle<T>) -> Result<Self, Status> {
        if !matches!(handle.pdu().mapping.undo, Undo::None) {
            return Err(Status::IoError);
        }
        let state = match field!(handle, nr_phys_segments) {
            0 => return Err(Status::Invalid),
            1 => Self::map_single(handle)?,
            _ => Self::map_first(handle)?,
        };
        Ok(Self { handle, state })
    }

    /// Maps the only piece, without the iterator's cost.
    #[inline]
    fn map_single(handle: &mut Handle<T>) -> Result<State, Status> {
        let dev = TagSet::<T>::dma_device(handle.rq);

        let bio = field!(handle, bio);

        // SAFETY: A request with a segment has a bio with that segment; they are valid and not
        // changed while the request is lent.
        let (page, offset, len) = unsafe {
            let bio = &*bio;
            let vec = &*bio.bi_io_vec.add(bio.bi_iter.bi_idx as usize);
            (
                vec.bv_page,
                vec.bv_offset + bio.bi_iter.bi_offset,
                core::cmp::min(bio.bi_iter.bi_size, vec.bv_len - bio.bi_iter.bi_offset),
            )
        };
        // One segment, but more than one entry of the vector: the pages happen to adjoin.
        if len != field!(handle, __data_len) {
            return Self::map_first(handle);
        }

        let direction = direction(field!(handle, cmd_flags));
        // SAFETY: The device is valid while its set is; the page belongs to the request.
        let addr = unsafe {
            bindings::dma_map_page_attrs(dev, page, offset as usize, len as usize, direction, 0)
        };
        if addr == bindings::dma_addr_t::MAX {
            return Err(Status::Resource);
        }

        let segment = Segment { addr, len };
        handle.pdu().mapping.undo = Undo::Single(segment);
        Ok(State::Single(segment))
    }

    fn map_first(handle: &mut Handle<T>) -> Result<State, Status> {
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
        if coalesced {
            handle.pdu().mapping.undo = Undo::Iova(state, iter.len as usize);
        } else if record {
            handle.pdu().mapping.pieces.clear();
            handle.pdu().mapping.undo = Undo::Pieces;
            // SAFETY: The iterator has just mapped this piece for `dev`.
            unsafe { Self::record(handle, dev, &iter)? };
        }
        Ok(State::Iter {
            iter,
            record,
            more: !coalesced,
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
    #[inline]
    pub fn next(&mut self) -> Result<Option<Segment>, Status> {
        match &mut self.state {
            State::Single(segment) => {
                let segment = *segment;
                self.state = State::End;
                Ok(Some(segment))
            }
            State::Iter { iter, record, more } => {
                let segment = Segment {
                    addr: iter.addr,
                    len: iter.len,
                };
                if !*more {
                    self.state = State::End;
                    return Ok(Some(segment));
                }

                let dev = TagSet::<T>::dma_device(self.handle.rq);
                // SAFETY: As in `map_first`, where the iterator was started.
                if unsafe { blk_rq_dma_map_iter_next(self.handle.rq.as_ptr(), dev, iter) } {
                    if *record {
                        // SAFETY: The iterator has just mapped this piece for `dev`.
                        unsafe { Self::record(self.handle, dev, iter)? };
                    }
                } else if iter.status != Status::Ok as u8 {
                    return Err(Status::Resource);
                } else {
                    self.state = State::End;
                }
                Ok(Some(segment))
            }
            State::End => Ok(None),
        }
    }

    /// Undoes the request's mapping, if it has one.
    #[inline]
    pub(super) fn undo(handle: &mut Handle<T>) {
        let undo = core::mem::replace(&mut handle.pdu().mapping.undo, Undo::None);
        if let Undo::None = undo {
            return;
        }
        let dev = TagSet::<T>::dma_device(handle.rq);
        let direction = direction(field!(handle, cmd_flags));

        match undo {
            Undo::None => {}
            // SAFETY: The piece was mapped for this device in this direction, and is unmapped once,
            // since `undo` was reset.
            Undo::Single(segment) => unsafe { unmap(dev, segment, direction) },
            // SAFETY: As above.
            Undo::Iova(mut state, len) => unsafe {
                bindings::dma_iova_destroy(dev, &mut state, len, direction, 0)
            },
            Undo::Pieces => {
                for segment in handle.pdu().mapping.pieces.iter() {
                    // SAFETY: As above.
                    unsafe { unmap(dev, *segment, direction) };
                }
            }
        }
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
