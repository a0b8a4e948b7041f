// SPDX-License-Identifier: GPL-2.0

//! DMA mapping of a request's data.
//!
//! C header: [`include/linux/blk-mq-dma.h`](srctree/include/linux/blk-mq-dma.h)

use super::{
    request::{
        field,
        RequestRef, //
    },
    Operations,
    Status,
    TagSet, //
};
use crate::abstractions::{
    dma,
    series::{
        bvec_done,
        new_spinlock_irq,
        SpinLockIrq,
        DMA_FROM_DEVICE,
        DMA_TO_DEVICE, //
    }, //
};
use core::mem::MaybeUninit;
use kernel::{
    bindings,
    device::{
        self,
        Bound, //
    },
    prelude::*, //
};

/// A segment of a request's data, contiguous for the device.
///
/// # Examples
///
/// ```
/// use abstractions::block::mq::Segment;
///
/// /// An entry of a device's list: the address, and the length in the lower bits.
/// fn entry(segment: Segment) -> [u64; 2] {
///     [segment.addr.to_le(), u64::from(segment.len).to_le()]
/// }
///
/// assert_eq!(entry(Segment { addr: 0, len: 0 }), [0, 0]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// The address that the device uses.
    pub addr: u64,
    /// The length in bytes; not 0.
    pub len: u32,
}

// Declarations of `linux/blk-mq-dma.h`, which `kernel::bindings` lacks. `check.c` compares them
// with the kernel's.

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

// The types are those of the kernel's bindings, some of which are empty in this configuration.
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

/// The kind of mapping that must be undone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Live {
    Nothing,
    /// `len` bytes at `addr`.
    Single,
    /// `len` bytes in an IOVA range.
    Iova,
    /// The segments in `pieces`.
    Pieces,
    /// The metadata in `metadata`, beside data whose kind is in `data`.
    Metadata,
}

/// The history of failures to map a request's data, see [`postpone`].
#[derive(Default)]
struct Tries {
    /// The address of the bio, to distinguish uses of the request.
    bio: usize,
    /// The first and the last failure, in nanoseconds of the monotonic clock.
    first: u64,
    last: u64,
}

/// The state of a request's mapping, kept in the request's memory.
pub(super) struct Mapping {
    live: Live,
    /// The data are another device's memory, reached through the host bridge.
    mmio: bool,
    len: u32,
    addr: u64,
    // Kept when the request is reused, so that the vector rarely grows.
    pieces: KVec<Segment>,
    /// `pieces` belongs to the set's [`Reserve`].
    borrowed: bool,
    tries: Tries,
    /// See [`Live::Metadata`].
    metadata: Segment,
    data: Live,
    iova: bindings::dma_iova_state,
}

impl Mapping {
    pub(super) fn new() -> Self {
        Self {
            live: Live::Nothing,
            mmio: false,
            len: 0,
            addr: 0,
            pieces: KVec::new(),
            borrowed: false,
            tries: Tries::default(),
            metadata: Segment { addr: 0, len: 0 },
            data: Live::Nothing,
            iova: bindings::dma_iova_state::default(),
        }
    }

    /// The segment of [`Live::Single`].
    #[inline(always)]
    fn single(&self) -> Segment {
        Segment {
            addr: self.addr,
            len: self.len,
        }
    }

    /// The DMA attributes of the mapping.
    fn attrs(&self) -> c_ulong {
        if self.mmio {
            bindings::DMA_ATTR_MMIO as c_ulong
        } else {
            0
        }
    }
}

/// Reserve memory for the list of segments of one request of a set. So one request at a time makes
/// progress even without memory, because reclaim may depend on it.
#[pin_data]
pub(super) struct Reserve {
    #[pin]
    notes: SpinLockIrq<Notes>,
}

struct Notes {
    /// `None` while a request uses it.
    room: Option<KVec<Segment>>,
    /// Its capacity in segments.
    size: usize,
}

impl Reserve {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            notes <- new_spinlock_irq!(Notes {
                room: None,
                size: 0,
            }),
        })
    }

    /// Reserves capacity for a request with up to `segments` segments. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` for 0, which the block layer takes for a default of its own; `ENOMEM`.
    pub(super) fn fit(&self, segments: u16) -> Result {
        if segments == 0 {
            return Err(EINVAL);
        }
        let segments = usize::from(segments);
        if self.notes.lock().size < segments {
            self.put(KVec::with_capacity(segments, GFP_KERNEL)?);
        }
        Ok(())
    }

    /// Takes the memory, if it has capacity for `segments` and isn't in use.
    #[cold]
    fn take(&self, segments: usize) -> Option<KVec<Segment>> {
        let mut notes = self.notes.lock();
        match notes.size >= segments {
            true => notes.room.take(),
            false => None,
        }
    }

    /// Returns the memory.
    #[cold]
    fn put(&self, mut room: KVec<Segment>) {
        room.clear();
        let mut notes = self.notes.lock();
        // `fit` may have installed a larger vector meanwhile.
        if notes.size <= room.capacity() {
            notes.size = room.capacity();
            let old = notes.room.replace(room);
            drop(notes);
            drop(old);
        }
    }
}

/// Whether [`Walk`] may iterate over a request's data, which costs less than the block layer's
/// iterator. `Walk` must merge neighbours in memory where `biovec_phys_mergeable()` does. So it
/// can't be used for Xen, whose memory isn't contiguous for devices, nor for KMSAN, nor if an IOMMU
/// can merge segments.
pub(super) fn can_walk(dev: &device::Device<Bound>) -> bool {
    LINEAR
        && !cfg!(CONFIG_KMSAN)
        && !is_xen()
        // SAFETY: The device is valid.
        && unsafe { bindings::dma_get_merge_boundary(dma::raw(dev)) } == 0
}

/// Whether the kernel is a guest of Xen. As `xen_domain()`.
fn is_xen() -> bool {
    #[cfg(CONFIG_XEN)]
    {
        // Not in all architectures' `kernel::bindings`; `check.c` compares them with the kernel's.
        const XEN_NATIVE: c_uint = 0;
        unsafe extern "C" {
            static xen_domain_type: c_uint;
        }
        // SAFETY: The kernel sets this during boot, before it loads modules.
        (unsafe { xen_domain_type }) != XEN_NATIVE
    }
    #[cfg(not(CONFIG_XEN))]
    false
}

/// The device's flag that mappings need no unmapping; 0 if every mapping must be undone. Of the
/// inputs of `dma_need_unmap()`, only this flag changes while a driver is bound.
pub(super) fn skip_flag(dev: &device::Device<Bound>) -> c_ulong {
    // `dma_need_unmap()` assumes that the device has a DMA mask.
    if !dma::is_capable(dev) {
        return 0;
    }
    // SAFETY: The device is valid.
    match unsafe { bindings::dma_need_unmap(dma::raw(dev)) } {
        true => 0,
        false => 1 << bindings::struct_device_flags_DEV_FLAG_DMA_SKIP_SYNC,
    }
}

/// The bytes of a page per byte of its `struct page`.
const PAGE_SCALE: usize = bindings::PAGE_SIZE / core::mem::size_of::<bindings::page>();

/// Pages that are neighbours in memory have neighbouring `struct page`, because all are in one
/// array.
const LINEAR: bool = cfg!(CONFIG_SPARSEMEM_VMEMMAP)
    && bindings::PAGE_SIZE % core::mem::size_of::<bindings::page>() == 0;

/// The difference between [`Piece::begin`] and the physical address, which is the same for all
/// pieces if [`LINEAR`]. May sleep.
///
/// # Errors
///
/// `ENOMEM`.
pub(super) fn page_base() -> Result<usize> {
    let some = VBox::new([0u8; 8], GFP_KERNEL | __GFP_NOWARN)?;
    let at = core::ptr::from_ref(&*some).cast::<c_void>();

    // SAFETY: The memory is from vmalloc().
    let (page, pfn) = unsafe { (bindings::vmalloc_to_page(at), bindings::vmalloc_to_pfn(at)) };
    Ok((page as usize)
        .wrapping_mul(PAGE_SCALE)
        .wrapping_sub(pfn.wrapping_mul(bindings::PAGE_SIZE)))
}

/// Whether a page may be another device's memory, for which the plain mapping doesn't suffice. As
/// `is_zone_device_page()`.
///
/// # Safety
///
/// `page` must be valid.
#[inline(always)]
unsafe fn is_device_page(page: *const bindings::page) -> bool {
    #[cfg(CONFIG_ZONE_DEVICE)]
    {
        const SHIFT: u32 = c_ulong::BITS
            - bindings::SECTIONS_WIDTH
            - bindings::NODES_WIDTH
            - bindings::ZONES_WIDTH;
        const MASK: c_ulong = (1 << bindings::ZONES_WIDTH) - 1;
        const ZONE: c_ulong = bindings::zone_type_ZONE_DEVICE as c_ulong;
        // ZONE_DEVICE is the last zone, so if its number is a single bit, no other zone has this
        // bit.
        const BIT: bool =
            ZONE.is_power_of_two() && ZONE + 1 == bindings::zone_type___MAX_NR_ZONES as c_ulong;

        // SAFETY: The caller promises a valid page. Its zone doesn't change, but other flags in the
        // word do, which a volatile read allows.
        let flags = unsafe { (&raw const (*page).flags.f).read_volatile() };
        match BIT {
            true => flags & ZONE << SHIFT != 0,
            false => flags >> SHIFT & MASK == ZONE,
        }
    }
    #[cfg(not(CONFIG_ZONE_DEVICE))]
    {
        let _ = page;
        false
    }
}

/// Maps a piece of memory; `None` if the mapping failed.
///
/// # Safety
///
/// `dev` is valid, the piece is memory of a request, `base` is [`page_base`], and [`LINEAR`] holds.
#[inline(always)]
unsafe fn map_piece(
    dev: *mut bindings::device,
    piece: Piece,
    base: usize,
    direction: bindings::dma_data_direction,
) -> Option<Segment> {
    let phys = piece.begin().wrapping_sub(base);
    // SAFETY: The caller promises a valid device, a piece of a request, and its `page_base`, so
    // `phys` is the piece's physical address.
    let addr = unsafe {
        bindings::dma_map_phys(
            dev,
            phys as bindings::phys_addr_t,
            piece.len as usize,
            direction,
            0,
        )
    };
    // SAFETY: The device is valid; the address is the result of mapping for it above.
    unsafe { is_mapped(dev, addr) }.then_some(Segment {
        addr,
        len: piece.len,
    })
}

/// Whether mapping has succeeded: the opposite of `dma_mapping_error()`, which informs DMA debugging of
/// the check.
///
/// # Safety
///
/// `dev` is valid, and `addr` is the result of mapping for it.
#[inline(always)]
unsafe fn is_mapped(dev: *mut bindings::device, addr: bindings::dma_addr_t) -> bool {
    let _ = dev;
    #[cfg(CONFIG_DMA_API_DEBUG)]
    // SAFETY: The caller promises it.
    unsafe {
        bindings::debug_dma_mapping_error(dev, addr)
    };
    addr != bindings::dma_addr_t::MAX
}

/// The status for a request that can't be mapped now: retries for the set's time limit, because
/// other requests' mappings may be the reason; then an error.
#[cold]
fn postpone<T: Operations>(handle: &mut RequestRef<T>) -> Status {
    /// The block layer retries sooner. After this time it may be another use of the request.
    const SAME_USE_NS: u64 = 1_000_000_000;

    let limit = TagSet::<T>::of(handle).time_limit();
    let bio = field!(handle, bio) as usize;
    // SAFETY: The function has no preconditions. The clock is positive.
    let now = unsafe { bindings::ktime_get() } as u64;
    let tries = &mut handle.pdu().mapping.tries;

    if tries.bio != bio || now.saturating_sub(tries.last) > SAME_USE_NS {
        tries.bio = bio;
        tries.first = now;
    }
    tries.last = now;
    match now.saturating_sub(tries.first) > limit {
        true => Status::IoError,
        false => Status::Resource,
    }
}

/// Maps the data of a request with a single segment, at less cost than [`DmaMapIter`]; `None` if it
/// has more.
///
/// # Safety
///
/// The request must be a read, a write or a passthrough request: a discard counts its ranges as
/// segments, and has no pages.
#[inline(always)]
pub(super) unsafe fn map_single<T: Operations>(
    handle: &mut RequestRef<T>,
) -> Option<Result<Segment, Status>> {
    if !LINEAR
        || field!(handle, nr_phys_segments) != 1
        || handle.pdu().mapping.live != Live::Nothing
    {
        return None;
    }
    let bio = field!(handle, bio);

    // SAFETY: Such a request with a segment has a bio with that segment. Both are valid and don't
    // change while the request is lent.
    let (page, offset, len) = unsafe {
        let iter = &raw const (*bio).bi_iter;
        let vec = (*bio).bi_io_vec.add((*iter).bi_idx as usize);
        (
            (*vec).bv_page,
            (*vec).bv_offset.wrapping_add(bvec_done(iter)),
            core::cmp::min((*iter).bi_size, (*vec).bv_len.wrapping_sub(bvec_done(iter))),
        )
    };
    // If the lengths differ, the segment has several bvecs, whose pages happen to adjoin.
    // SAFETY: The page belongs to the request.
    if len != field!(handle, __data_len) || unsafe { is_device_page(page) } {
        return None;
    }

    let set = TagSet::<T>::of(handle);
    let (dev, skip_flag, base) = (set.dma_device(), set.skip_flag(), set.page_base());
    let direction = direction(field!(handle, cmd_flags));
    // SAFETY: The device is valid while its set is; the page belongs to the request, and isn't
    // device memory.
    let segment = match unsafe { map_piece(dev, Piece { page, offset, len }, base, direction) } {
        Some(segment) => segment,
        None => return Some(Err(postpone(handle))),
    };

    // SAFETY: The device is valid. Checked after mapping, because mapping may change the answer.
    if unsafe { needs_unmap(dev, skip_flag) } {
        let mapping = &mut handle.pdu().mapping;
        mapping.live = Live::Single;
        mapping.addr = segment.addr;
        mapping.len = segment.len;
    }
    Some(Ok(segment))
}

/// Maps a request's metadata, which are in `vec`. Its data are mapped.
///
/// # Errors
///
/// As [`map_single`]. [`Status::Invalid`] if the metadata are mapped already, or are in another
/// device's memory.
///
/// # Safety
///
/// `vec` must describe memory of the request.
#[cfg(CONFIG_BLK_DEV_INTEGRITY)]
pub(super) unsafe fn map_metadata<T: Operations>(
    handle: &mut RequestRef<T>,
    vec: &bindings::bio_vec,
) -> Result<Segment, Status> {
    // SAFETY: The page belongs to the request.
    let is_foreign = unsafe { is_device_page(vec.bv_page) };
    if handle.pdu().mapping.live == Live::Metadata || is_foreign {
        return Err(Status::Invalid);
    }
    let set = TagSet::<T>::of(handle);
    let (dev, skip_flag) = (set.dma_device(), set.skip_flag());
    let direction = direction(field!(handle, cmd_flags));
    let (offset, len) = (vec.bv_offset as usize, vec.bv_len as usize);
    // SAFETY: The device is valid while its set is; the caller promises memory of the request.
    let addr = unsafe { bindings::dma_map_page_attrs(dev, vec.bv_page, offset, len, direction, 0) };
    // SAFETY: The device is valid; the address is the result of mapping for it.
    if !unsafe { is_mapped(dev, addr) } {
        return Err(postpone(handle));
    }
    let segment = Segment {
        addr,
        len: vec.bv_len,
    };
    // SAFETY: The device is valid. Checked after mapping, because mapping may change the answer.
    if unsafe { needs_unmap(dev, skip_flag) } {
        let mapping = &mut handle.pdu().mapping;
        mapping.data = mapping.live;
        mapping.metadata = segment;
        mapping.live = Live::Metadata;
    }
    Ok(segment)
}

/// Unmaps a request's data, if they are mapped.
#[inline(always)]
pub(super) fn undo<T: Operations>(handle: &mut RequestRef<T>) {
    if handle.pdu().mapping.live == Live::Nothing {
        return;
    }
    let dev = TagSet::<T>::of(handle).dma_device();
    let direction = direction(field!(handle, cmd_flags));
    let mapping = &mut handle.pdu().mapping;

    // The most frequent kind needs no call.
    if mapping.live == Live::Single {
        mapping.live = Live::Nothing;
        let segment = mapping.single();
        // SAFETY: `map_single` has mapped the segment for this device in this direction, without
        // attributes. It is unmapped once, because `live` was reset.
        unsafe { unmap(dev, segment, direction, 0) };
    } else {
        // SAFETY: The request's data were mapped for this device in this direction.
        let borrowed = unsafe { undo_live(mapping, dev, direction) };
        if let Some(room) = borrowed {
            TagSet::<T>::of(handle).reserve().put(room);
        }
    }
}

/// Undoes any mapping. Returns the list of segments if it is borrowed.
///
/// # Safety
///
/// The mapping must have been made for `dev` in this direction.
#[inline(never)]
unsafe fn undo_live(
    mapping: &mut Mapping,
    dev: *mut bindings::device,
    direction: bindings::dma_data_direction,
) -> Option<KVec<Segment>> {
    let attrs = mapping.attrs();

    if mapping.live == Live::Metadata {
        // SAFETY: The caller promises that the metadata were mapped for `dev` in this direction; they were
        // without attributes. They are unmapped once, because `live` is set below.
        unsafe { unmap(dev, mapping.metadata, direction, 0) };
        mapping.live = core::mem::replace(&mut mapping.data, Live::Nothing);
    }
    match core::mem::replace(&mut mapping.live, Live::Nothing) {
        Live::Nothing | Live::Metadata => {}
        // SAFETY: The caller promises that the segment was mapped for `dev` in this direction. It is
        // unmapped once, because `live` was reset above.
        Live::Single => unsafe { unmap(dev, mapping.single(), direction, 0) },
        Live::Pieces => {
            for segment in &mapping.pieces {
                // SAFETY: The caller promises that the segment was mapped for `dev` in this
                // direction. It is unmapped once, because `live` was reset above.
                unsafe { unmap(dev, *segment, direction, attrs) }
            }
            if core::mem::take(&mut mapping.borrowed) {
                return Some(core::mem::take(&mut mapping.pieces));
            }
        }
        // Without it the kernel has no IOVA to map with.
        #[cfg(not(CONFIG_IOMMU_DMA))]
        Live::Iova => {}
        #[cfg(CONFIG_IOMMU_DMA)]
        // SAFETY: The caller promises that the range was mapped for `dev` in this direction. It is
        // destroyed once, because `live` was reset above.
        Live::Iova => unsafe {
            bindings::dma_iova_destroy(
                dev,
                &mut mapping.iova,
                mapping.len as usize,
                direction,
                attrs,
            )
        },
    }
    None
}

/// A piece of memory.
#[derive(Clone, Copy)]
struct Piece {
    page: *mut bindings::page,
    offset: u32,
    /// In bytes; 0 for no piece.
    len: u32,
}

impl Piece {
    const NONE: Self = Self {
        page: core::ptr::null_mut(),
        offset: 0,
        len: 0,
    };

    /// The piece's address plus a constant, see [`page_base`] and [`LINEAR`].
    #[inline(always)]
    fn begin(&self) -> usize {
        (self.page as usize)
            .wrapping_mul(PAGE_SCALE)
            .wrapping_add(self.offset as usize)
    }
}

/// An iterator over the memory of a request's data.
///
/// # Invariants
///
/// `bio` is valid, and so are the bios after it. `left` bytes of its data are left, which begin
/// `done` bytes into `vec`.
struct Walk {
    bio: *const bindings::bio,
    vec: *const bindings::bio_vec,
    done: u32,
    left: u32,
}

impl Walk {
    /// Starts at the first piece.
    ///
    /// # Safety
    ///
    /// `bio` must be one of a request's bios, which must not change while this value is used.
    unsafe fn new(bio: *const bindings::bio) -> Self {
        // SAFETY: The caller promises a valid bio of a request. Its iterator is within its vector.
        // INVARIANT: All bytes of the bio are left, and begin `done` bytes into `vec`.
        unsafe {
            let iter = &raw const (*bio).bi_iter;
            Self {
                bio,
                vec: (*bio).bi_io_vec.add((*iter).bi_idx as usize),
                done: bvec_done(iter),
                left: (*iter).bi_size,
            }
        }
    }

    /// The next part in the vectors; empty at the end.
    #[inline(always)]
    fn peek(&mut self) -> Piece {
        while self.left == 0 {
            // SAFETY: By the type invariant the bio is valid, and the list ends with null.
            let next = unsafe { (*self.bio).bi_next };
            if next.is_null() {
                return Piece::NONE;
            }
            // SAFETY: By the type invariant the next bio is valid too.
            *self = unsafe { Self::new(next) };
        }
        // SAFETY: By the type invariant bytes of the bio are left, so this entry exists.
        let vec = unsafe { &*self.vec };
        Piece {
            page: vec.bv_page,
            offset: vec.bv_offset.wrapping_add(self.done),
            len: core::cmp::min(vec.bv_len.wrapping_sub(self.done), self.left),
        }
    }

    /// Advances past `part`, which [`peek`](Self::peek) returned.
    #[inline(always)]
    fn skip(&mut self, part: Piece) {
        // INVARIANT: `part` was the rest of its entry or of the bio, so what is left begins with
        // the next entry.
        self.left = self.left.wrapping_sub(part.len);
        self.vec = self.vec.wrapping_add(1);
        self.done = 0;
    }

    /// The next piece, merged as far as possible; empty at the end.
    #[inline(always)]
    fn next(&mut self) -> Piece {
        let mut piece = self.peek();

        if piece.len != 0 {
            self.skip(piece);
            loop {
                let part = self.peek();
                if part.begin() != piece.begin().wrapping_add(piece.len as usize) {
                    break;
                }
                if part.len == 0 {
                    break;
                }
                // Merge all that the block layer merges, because the caller has room for as many
                // segments as it counted. It doesn't merge ordinary and device memory.
                // SAFETY: Both pages belong to the request.
                if unsafe { is_device_page(piece.page) != is_device_page(part.page) } {
                    break;
                }
                piece.len = piece.len.wrapping_add(part.len);
                self.skip(part);
            }
        }
        piece
    }
}

/// The source of a request's segments.
enum Source {
    /// Not started yet.
    Start,
    /// Our own iterator, see [`can_walk`].
    Walk(Walk),
    /// The block layer's iterator.
    Iter(BlkDmaIter),
    /// This single segment, which is already mapped.
    Single(Segment),
    /// No more segments.
    Done,
}

/// Whether segments are recorded for unmapping.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Note {
    /// Segments need no unmapping.
    Never,
    /// Segments need no unmapping yet. That changes at the first segment of any request that uses a
    /// bounce buffer, and doesn't change back.
    NotYet(c_ulong),
    /// Each segment is recorded.
    Each,
}

/// An iterator that maps a request's data segment by segment.
///
/// After the last segment, [`finish`](Self::finish) returns the error, if any.
///
/// # Examples
///
/// ```no_run
/// use abstractions::{
///     block::mq::{DmaMapIter, Operations, Status},
///     dma::Block,
/// };
///
/// /// Writes a list of a request's data; returns the number of entries.
/// fn list<T: Operations>(
///     mut segments: DmaMapIter<'_, T>,
///     list: &mut Block,
/// ) -> Result<usize, Status> {
///     // This device wants whole pages.
///     if !segments.joins_at(4096) {
///         return Err(Status::Invalid);
///     }
///     let mut count = 0;
///     while let Some(segment) = segments.next() {
///         if !list.set_pair(count, [segment.addr.to_le(), u64::from(segment.len).to_le()]) {
///             return Err(Status::IoError);
///         }
///         count += 1;
///     }
///     // `next` also returns `None` if it can't map a segment; then `finish` fails.
///     segments.finish()?;
///     Ok(count)
/// }
/// ```
#[must_use]
pub struct DmaMapIter<'r, T: Operations> {
    handle: &'r mut RequestRef<T>,
    dev: *mut bindings::device,
    base: usize,
    direction: bindings::dma_data_direction,
    status: Status,
    note: Note,
    source: Source,
}

impl<'r, T: Operations> DmaMapIter<'r, T> {
    /// For data that aren't mapped yet, or that are mapped as `single`.
    #[inline]
    pub(super) fn new(handle: &'r mut RequestRef<T>, single: Option<Segment>) -> Self {
        let set = TagSet::<T>::of(handle);
        let (dev, base) = (set.dma_device(), set.page_base());
        Self {
            dev,
            base,
            direction: direction(field!(handle, cmd_flags)),
            handle,
            status: Status::Ok,
            note: Note::Never,
            source: match single {
                None => Source::Start,
                Some(segment) => Source::Single(segment),
            },
        }
    }

    /// Stops with an error.
    #[cold]
    fn fail(&mut self, status: Status) -> Option<Segment> {
        self.status = status;
        self.source = Source::Done;
        None
    }

    /// Stops because mapping failed for now.
    #[cold]
    fn postpone(&mut self) -> Option<Segment> {
        let status = postpone(self.handle);
        self.fail(status)
    }

    /// Maps the first segment, or all data at once.
    #[inline(never)]
    fn start(&mut self) -> Option<Segment> {
        let bio = field!(self.handle, bio);
        // A discard counts its ranges as segments, and has no pages.
        if field!(self.handle, nr_phys_segments) == 0
            || !self.handle.has_memory()
            || self.handle.pdu().mapping.live != Live::Nothing
            || bio.is_null()
        {
            return self.fail(Status::Invalid);
        }
        let mapping = &mut self.handle.pdu().mapping;
        mapping.mmio = false;
        mapping.pieces.clear();

        if TagSet::<T>::of(self.handle).can_walk() {
            // SAFETY: The request's bios are valid, and don't change while the request is lent.
            let mut walk = unsafe { Walk::new(bio) };
            let piece = walk.peek();
            // If other devices' memory needs another mapping, all of a request's data is such
            // memory, or none (`zone_device_pages_compatible()`).
            // SAFETY: The page belongs to the request.
            if piece.len != 0 && !unsafe { is_device_page(piece.page) } {
                let piece = walk.next();
                self.source = Source::Walk(walk);
                // SAFETY: The device is valid, and the piece belongs to the request.
                return match unsafe { map_piece(self.dev, piece, self.base, self.direction) } {
                    // SAFETY: The segment was mapped above.
                    Some(segment) => unsafe { self.first(segment) },
                    None => self.postpone(),
                };
            }
        }
        self.start_iter()
    }

    /// As [`start`](Self::start), by the block layer's iterator.
    fn start_iter(&mut self) -> Option<Segment> {
        let mut state = bindings::dma_iova_state::default();
        let mut iter = MaybeUninit::<BlkDmaIter>::uninit();
        let rq = self.handle.rq.as_ptr();

        // SAFETY: The request is lent, the device is valid while its set is, and only this context
        // uses the state and the iterator.
        if !unsafe { blk_rq_dma_map_iter_start(rq, self.dev, &mut state, iter.as_mut_ptr()) } {
            // SAFETY: The function sets the status first.
            return match unsafe { (*iter.as_ptr()).status } {
                // No segment and no error: the request has no data.
                0 => self.fail(Status::Invalid),
                s if s == Status::Resource as u8 => self.postpone(),
                _ => self.fail(Status::IoError),
            };
        }

        // SAFETY: The function has set all fields, because it mapped a segment.
        let iter = unsafe { iter.assume_init() };
        let segment = Segment {
            addr: iter.addr,
            len: iter.len,
        };
        let map = iter.p2pdma.map;
        let mapping = &mut self.handle.pdu().mapping;
        mapping.mmio = map == bindings::pci_p2pdma_map_type_PCI_P2PDMA_MAP_THRU_HOST_BRIDGE;
        if state.__size != 0 {
            mapping.live = Live::Iova;
            mapping.iova = state;
            mapping.len = segment.len;
            self.source = Source::Done;
            return Some(segment);
        }
        self.source = Source::Iter(iter);
        if map == bindings::pci_p2pdma_map_type_PCI_P2PDMA_MAP_BUS_ADDR {
            // Bus addresses need no mapping, so there is nothing to undo.
            return Some(segment);
        }
        // SAFETY: The iterator has just mapped this segment.
        unsafe { self.first(segment) }
    }

    /// As [`mapped`](Self::mapped), for the first segment.
    ///
    /// # Safety
    ///
    /// `segment` was just mapped.
    unsafe fn first(&mut self, segment: Segment) -> Option<Segment> {
        self.note = match TagSet::<T>::of(self.handle).skip_flag() {
            0 => Note::Each,
            flag => Note::NotYet(flag),
        };
        // SAFETY: The caller promises that `segment` was just mapped.
        unsafe { self.mapped(segment) }
    }

    /// Records a segment for unmapping, if that is needed.
    ///
    /// # Safety
    ///
    /// `segment` was just mapped.
    #[inline(always)]
    unsafe fn mapped(&mut self, segment: Segment) -> Option<Segment> {
        let noted = match self.note {
            Note::Never => false,
            // SAFETY: The device is valid.
            Note::NotYet(skip_flag) => unsafe { needs_unmap(self.dev, skip_flag) },
            Note::Each => true,
        };
        if noted {
            // SAFETY: The caller promises that `segment` was just mapped.
            return unsafe { self.note(segment) };
        }
        Some(segment)
    }

    /// Records a segment for unmapping. If there is no memory for that, unmaps it at once.
    ///
    /// # Safety
    ///
    /// `segment` was just mapped.
    #[inline(never)]
    unsafe fn note(&mut self, segment: Segment) -> Option<Segment> {
        self.note = Note::Each;
        let mapping = &mut self.handle.pdu().mapping;
        let attrs = mapping.attrs();

        if mapping
            .pieces
            .reserve(1, GFP_ATOMIC | __GFP_NOWARN)
            .is_err()
            && !self.borrow()
        {
            // SAFETY: The caller promises that `segment` was just mapped; it isn't recorded, so
            // this is the only unmapping.
            unsafe { unmap(self.dev, segment, self.direction, attrs) };
            return self.fail(Status::Resource);
        }
        let mapping = &mut self.handle.pdu().mapping;
        // There is capacity.
        let _ = mapping.pieces.push_within_capacity(segment);
        mapping.live = Live::Pieces;
        Some(segment)
    }

    /// Moves the list of segments to the set's [`Reserve`]; `false` if that is too small or in use.
    #[cold]
    fn borrow(&mut self) -> bool {
        let mapping = &self.handle.pdu().mapping;
        let (borrowed, pieces) = (mapping.borrowed, mapping.pieces.len());
        if borrowed {
            return false;
        }
        let Some(mut room) = TagSet::<T>::of(self.handle).reserve().take(pieces + 1) else {
            return false;
        };

        let mapping = &mut self.handle.pdu().mapping;
        for piece in &mapping.pieces {
            // There is capacity.
            let _ = room.push_within_capacity(*piece);
        }
        mapping.pieces = room;
        mapping.borrowed = true;
        true
    }

    /// The next segment; `None` after the last, or if mapping fails. Segments stay mapped until the
    /// request is rejected, requeued or ended.
    #[inline(always)]
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<Segment> {
        let walk = match &mut self.source {
            Source::Walk(walk) => walk,
            Source::Start => return self.start(),
            _ => return self.next_other(),
        };
        let piece = walk.next();
        if piece.len == 0 {
            return None;
        }
        // SAFETY: The device is valid, and the piece belongs to the request. Its memory allows the
        // plain mapping, as checked for the first piece.
        match unsafe { map_piece(self.dev, piece, self.base, self.direction) } {
            // SAFETY: The segment was mapped above.
            Some(segment) => unsafe { self.mapped(segment) },
            None => self.postpone(),
        }
    }

    #[inline(never)]
    fn next_other(&mut self) -> Option<Segment> {
        let iter = match &mut self.source {
            Source::Single(segment) => {
                let segment = *segment;
                self.source = Source::Done;
                return Some(segment);
            }
            Source::Iter(iter) => iter,
            Source::Start | Source::Walk(_) | Source::Done => return None,
        };
        // SAFETY: The request is lent, the device is valid while its set is, and `start_iter`
        // started the iterator for this request.
        if !unsafe { blk_rq_dma_map_iter_next(self.handle.rq.as_ptr(), self.dev, iter) } {
            if iter.status != Status::Ok as u8 {
                return self.postpone();
            }
            self.source = Source::Done;
            return None;
        }
        let segment = Segment {
            addr: iter.addr,
            len: iter.len,
        };
        // SAFETY: The iterator has just mapped this segment.
        unsafe { self.mapped(segment) }
    }

    /// Whether all segments but the first begin, and all but the last end, at a multiple of
    /// `boundary`, a power of two. As `req_phys_gap_mask()`.
    #[inline]
    pub fn joins_at(&self, boundary: u32) -> bool {
        match u32::from(field!(self.handle, phys_gap_bit)) {
            // The block layer recorded no gap.
            0 => true,
            bit => 1u64
                .checked_shl(bit.wrapping_sub(1))
                .is_none_or(|gap| gap >= u64::from(boundary)),
        }
    }

    /// Call this after the last segment.
    ///
    /// # Errors
    ///
    /// [`Status::Resource`] if mapping failed for now, [`Status::IoError`] if it has failed for the
    /// set's time limit, [`Status::Invalid`] if the request has no data.
    #[inline]
    pub fn finish(self) -> Result<(), Status> {
        match self.status {
            Status::Ok => Ok(()),
            status => Err(status),
        }
    }
}

/// Whether mappings must be undone, see [`skip_flag`].
///
/// # Safety
///
/// `dev` must be valid.
#[inline(always)]
unsafe fn needs_unmap(dev: *mut bindings::device, skip_flag: c_ulong) -> bool {
    // SAFETY: The caller promises a valid device. Other flags in the word may change concurrently,
    // which a volatile read allows.
    let flags = unsafe { (&raw const (*dev).flags[0]).read_volatile() };
    flags & skip_flag == 0
}

/// As `rq_dma_dir`: odd operations write.
#[inline]
fn direction(cmd_flags: u32) -> bindings::dma_data_direction {
    if cmd_flags & 1 != 0 {
        DMA_TO_DEVICE
    } else {
        DMA_FROM_DEVICE
    }
}

/// # Safety
///
/// `segment` must be mapped for `dev` in this direction with these attributes, and be unmapped only
/// once.
#[inline]
unsafe fn unmap(
    dev: *mut bindings::device,
    segment: Segment,
    direction: bindings::dma_data_direction,
    attrs: c_ulong,
) {
    // SAFETY: The caller promises that `segment` is mapped for `dev` in this direction with these
    // attributes, and is unmapped only once.
    unsafe { bindings::dma_unmap_phys(dev, segment.addr, segment.len as usize, direction, attrs) };
}
