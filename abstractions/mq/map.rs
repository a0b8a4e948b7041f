// SPDX-License-Identifier: GPL-2.0

//! A request's data, mapped for the device.
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
use crate::abstractions::dma;
use core::mem::MaybeUninit;
use kernel::{
    bindings,
    device::{
        self,
        Bound, //
    },
    new_spinlock_irq,
    prelude::*,
    sync::SpinLockIrq, //
};

/// A piece of a request's data, contiguous for the device.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// The address that the device uses.
    pub addr: u64,
    /// The length in bytes; not 0.
    pub len: u32,
}

// The declarations of `linux/blk-mq-dma.h`, which `kernel::bindings` does not cover. `check.c` compares
// them with the kernel's.

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

/// When a request's data couldn't be mapped: see [`postpone`].
#[derive(Default)]
struct Tries {
    /// The address of the bio, to tell the request's uses apart.
    bio: usize,
    /// In nanoseconds of the monotonic clock.
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
    // Kept from one use of the request to the next, so that it seldom grows.
    pieces: KVec<Segment>,
    /// `pieces` is the memory of the set's [`Reserve`].
    borrowed: bool,
    tries: Tries,
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
            iova: bindings::dma_iova_state::default(),
        }
    }

    /// The attributes that the data were mapped with.
    fn attrs(&self) -> c_ulong {
        if self.mmio {
            bindings::DMA_ATTR_MMIO as c_ulong
        } else {
            0
        }
    }
}

/// Memory for the notes of one request of a set, for when there is no other. So one request at a time goes
/// forward, also if it is what the memory waits for.
#[pin_data]
pub(super) struct Reserve {
    #[pin]
    notes: SpinLockIrq<Notes>,
}

struct Notes {
    /// `None` while a request has it.
    room: Option<KVec<Segment>>,
    /// The pieces that it has room for.
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

    /// Makes room for the pieces of a request that has up to `segments`. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn fit(&self, segments: u16) -> Result {
        let segments = usize::from(segments);
        if self.notes.lock().size < segments {
            self.put(KVec::with_capacity(segments, GFP_KERNEL)?);
        }
        Ok(())
    }

    /// Takes the memory, for so many pieces and more.
    #[cold]
    fn take(&self, segments: usize) -> Option<KVec<Segment>> {
        let mut notes = self.notes.lock();
        match notes.size >= segments {
            true => notes.room.take(),
            false => None,
        }
    }

    /// Gives the memory back.
    #[cold]
    fn put(&self, mut room: KVec<Segment>) {
        room.clear();
        let mut notes = self.notes.lock();
        // A larger one may have come since.
        if notes.size <= room.capacity() {
            notes.size = room.capacity();
            let old = notes.room.replace(room);
            drop(notes);
            drop(old);
        }
    }
}

/// Whether a request's data can be walked over here, piece by piece, at less cost than the block
/// layer's iterator has. Where the kernel merges neighbours in memory into one piece, as
/// `biovec_phys_mergeable()` says, so does the walk: it isn't for Xen, whose memory is in pieces that the
/// kernel can't see, nor for KMSAN. And no IOMMU may be able to merge the pieces.
pub(super) fn can_walk(dev: &device::Device<Bound>) -> bool {
    #[cfg(CONFIG_XEN)]
    // SAFETY: The kernel sets this while it boots, before there are modules.
    let xen = unsafe { bindings::xen_domain_type } != bindings::xen_domain_type_XEN_NATIVE;
    #[cfg(not(CONFIG_XEN))]
    let xen = false;

    LINEAR
        && !cfg!(CONFIG_KMSAN)
        && !xen
        // SAFETY: The device is valid.
        && unsafe { bindings::dma_get_merge_boundary(dma::raw(dev)) } == 0
}

/// The flag of the device that says that a mapping need not be undone; 0 where every mapping has to
/// be. Of what `dma_need_unmap()` looks at, this alone changes while a driver is bound.
pub(super) fn skip_flag(dev: &device::Device<Bound>) -> c_ulong {
    // `dma_need_unmap()` takes for granted that the device has a mask.
    if !dma::is_capable(dev) {
        return 0;
    }
    // SAFETY: The device is valid.
    match unsafe { bindings::dma_need_unmap(dma::raw(dev)) } {
        true => 0,
        false => 1 << bindings::struct_device_flags_DEV_FLAG_DMA_SKIP_SYNC,
    }
}

/// What a byte of a `struct page` stands for, in bytes of the page.
const PAGE_SCALE: usize = bindings::PAGE_SIZE / core::mem::size_of::<bindings::page>();

/// Neighbours in memory have `struct page` that are neighbours, too, all of them in one array.
const LINEAR: bool = cfg!(CONFIG_SPARSEMEM_VMEMMAP)
    && bindings::PAGE_SIZE % core::mem::size_of::<bindings::page>() == 0;

/// What [`Piece::begin`] has more than the address in memory, which is the same for all pieces if
/// [`LINEAR`]. May sleep.
///
/// # Errors
///
/// `ENOMEM`.
pub(super) fn page_base() -> Result<usize> {
    let some = VBox::new([0u8; 8], GFP_KERNEL)?;
    let at = core::ptr::from_ref(&*some).cast::<c_void>();

    // SAFETY: The memory is from vmalloc(), so that it has pages.
    let (page, pfn) = unsafe { (bindings::vmalloc_to_page(at), bindings::vmalloc_to_pfn(at)) };
    Ok((page as usize)
        .wrapping_mul(PAGE_SCALE)
        .wrapping_sub(pfn.wrapping_mul(bindings::PAGE_SIZE)))
}

/// Whether a page may be another device's memory, which takes more than the usual mapping. As
/// `is_zone_device_page()`.
///
/// # Safety
///
/// `page` is valid.
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
        // It is the last zone, so that if it is one bit, no other zone has that.
        const BIT: bool =
            ZONE.is_power_of_two() && ZONE + 1 == bindings::zone_type___MAX_NR_ZONES as c_ulong;

        // SAFETY: As promised by the caller. The zone of a page doesn't change, but other flags in
        // the word do.
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

/// Maps one piece of memory; `None` if that isn't possible now.
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
    // SAFETY: As promised by the caller, so that `phys` is the piece's address in memory.
    let addr = unsafe {
        bindings::dma_map_phys(
            dev,
            phys as bindings::phys_addr_t,
            piece.len as usize,
            direction,
            0,
        )
    };
    // As `dma_mapping_error()`, which tells the DMA debugging that it was called.
    #[cfg(CONFIG_DMA_API_DEBUG)]
    // SAFETY: The device is valid; the address was mapped for it above, or is the error's.
    unsafe {
        bindings::debug_dma_mapping_error(dev, addr)
    };
    (addr != bindings::dma_addr_t::MAX).then_some(Segment {
        addr,
        len: piece.len,
    })
}

/// What becomes of a request of which a piece can't be mapped now: another try, as long as the set's time
/// limit, as the reason may be other requests' mappings; then an error.
#[cold]
fn postpone<T: Operations>(handle: &mut RequestRef<T>) -> Status {
    /// The block layer tries again sooner. Later it may be another use of the request.
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

/// Maps the data of a request that is one piece, at less cost than [`Segments`] does; `None` if it
/// is more.
///
/// # Safety
///
/// The request reads or writes: a discard counts its ranges as segments, and has no pages.
#[inline]
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

    // SAFETY: A read or write with a segment has a bio with that segment; they are valid and not
    // changed while the request is lent.
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
    // SAFETY: The page belongs to the request.
    if len != field!(handle, __data_len) || unsafe { is_device_page(page) } {
        return None;
    }

    let set = TagSet::<T>::of(handle);
    let (dev, skip_flag, base) = (set.dma_device(), set.skip_flag(), set.page_base());
    let direction = direction(field!(handle, cmd_flags));
    // SAFETY: The device is valid while its set is; the page belongs to the request, and is no other
    // device's.
    let segment = match unsafe { map_piece(dev, Piece { page, offset, len }, base, direction) } {
        Some(segment) => segment,
        None => return Some(Err(postpone(handle))),
    };

    // SAFETY: The device is valid. Asked after the mapping was made, which may change the answer.
    if unsafe { needs_unmap(dev, skip_flag) } {
        let mapping = &mut handle.pdu().mapping;
        mapping.live = Live::Single;
        mapping.addr = segment.addr;
        mapping.len = segment.len;
    }
    Some(Ok(segment))
}

/// Undoes a request's mapping, if it has one.
#[inline]
pub(super) fn undo<T: Operations>(handle: &mut RequestRef<T>) {
    if handle.pdu().mapping.live == Live::Nothing {
        return;
    }
    let dev = TagSet::<T>::of(handle).dma_device();
    let direction = direction(field!(handle, cmd_flags));
    let mapping = &mut handle.pdu().mapping;

    // The most frequent one takes no call.
    if mapping.live == Live::Single {
        mapping.live = Live::Nothing;
        let segment = Segment {
            addr: mapping.addr,
            len: mapping.len,
        };
        // SAFETY: `map_single` has mapped the piece for this device in this direction, without
        // attributes; it is unmapped once, as `live` was reset.
        unsafe { unmap(dev, segment, direction, 0) };
    } else {
        // SAFETY: The request's mapping was made for this device in this direction.
        let borrowed = unsafe { undo_live(mapping, dev, direction) };
        if let Some(room) = borrowed {
            TagSet::<T>::of(handle).reserve().put(room);
        }
    }
}

/// Undoes a mapping that isn't a single piece's. Returns the memory of its notes if that is borrowed.
///
/// # Safety
///
/// The mapping was made for `dev` in this direction.
#[inline(never)]
unsafe fn undo_live(
    mapping: &mut Mapping,
    dev: *mut bindings::device,
    direction: bindings::dma_data_direction,
) -> Option<KVec<Segment>> {
    let attrs = mapping.attrs();

    match core::mem::replace(&mut mapping.live, Live::Nothing) {
        Live::Nothing | Live::Single => {}
        Live::Pieces => {
            for segment in &mapping.pieces {
                // SAFETY: As promised by the caller the piece was mapped so; it is unmapped once,
                // since `live` was reset above.
                unsafe { unmap(dev, *segment, direction, attrs) }
            }
            if core::mem::take(&mut mapping.borrowed) {
                return Some(core::mem::take(&mut mapping.pieces));
            }
        }
        // SAFETY: As above, for the range.
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
    /// In bytes; 0 for nothing.
    len: u32,
}

impl Piece {
    const NONE: Self = Self {
        page: core::ptr::null_mut(),
        offset: 0,
        len: 0,
    };

    /// Where the piece begins, in an order in which neighbours in memory are neighbours. See
    /// [`can_walk`].
    #[inline(always)]
    fn begin(&self) -> usize {
        (self.page as usize)
            .wrapping_mul(PAGE_SCALE)
            .wrapping_add(self.offset as usize)
    }
}

/// A walk over the memory of a request's data.
///
/// # Invariants
///
/// `bio` is valid, and of a list of bios that are; `left` bytes of its data were not walked over,
/// which begin `done` bytes into `vec`.
struct Walk {
    bio: *const bindings::bio,
    vec: *const bindings::bio_vec,
    done: u32,
    left: u32,
}

impl Walk {
    /// Begins at the first piece.
    ///
    /// # Safety
    ///
    /// `bio` is the first of a request's bios. They stay as they are while this value is used.
    unsafe fn new(bio: *const bindings::bio) -> Self {
        // SAFETY: As promised by the caller.
        // INVARIANT: All of the bio is left.
        unsafe {
            let iter = &raw const (*bio).bi_iter;
            Self {
                bio,
                vec: (*bio).bi_io_vec.add((*iter).bi_idx as usize),
                done: (*iter).bi_offset,
                left: (*iter).bi_size,
            }
        }
    }

    /// What comes next in the vectors; nothing at the end.
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
        // SAFETY: By the type invariant bytes of the bio are left, and so is this entry.
        let vec = unsafe { &*self.vec };
        Piece {
            page: vec.bv_page,
            offset: vec.bv_offset.wrapping_add(self.done),
            len: core::cmp::min(vec.bv_len.wrapping_sub(self.done), self.left),
        }
    }

    /// Goes on behind `part`, which [`peek`](Self::peek) gave.
    #[inline(always)]
    fn skip(&mut self, part: Piece) {
        // INVARIANT: The part is no longer among what is left; it was the rest of its entry, or of
        // the bio.
        self.left = self.left.wrapping_sub(part.len);
        self.vec = self.vec.wrapping_add(1);
        self.done = 0;
    }

    /// The next piece, as long as it can be; nothing at the end.
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
                // Memory of a device is merged with no other, to be on the safe side.
                // SAFETY: Both pages are the request's.
                if unsafe { is_device_page(piece.page) || is_device_page(part.page) } {
                    break;
                }
                piece.len = piece.len.wrapping_add(part.len);
                self.skip(part);
            }
        }
        piece
    }
}

/// Who goes over the data.
enum Source {
    /// Nobody yet.
    Start,
    /// We do: see [`can_walk`].
    Walk(Walk),
    /// The block layer does.
    Iter(BlkDmaIter),
    /// They are this one piece.
    Single(Segment),
    /// There is no more.
    Done,
}

/// What is done with a piece so that it can be unmapped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Note {
    /// Nothing: it need not be.
    Never,
    /// Nothing yet. That changes at the first piece, be it another request's, that is mapped by way
    /// of a bounce buffer, and doesn't change back.
    NotYet(c_ulong),
    /// It is noted.
    Each,
}

/// The pieces of a request's data, mapped one after the other.
///
/// After the last one, [`finish`](Self::finish) tells whether there was an error.
#[must_use]
pub struct Segments<'r, T: Operations> {
    handle: &'r mut RequestRef<T>,
    dev: *mut bindings::device,
    base: usize,
    direction: bindings::dma_data_direction,
    status: Status,
    note: Note,
    source: Source,
}

impl<'r, T: Operations> Segments<'r, T> {
    /// Of data that aren't mapped yet, or are `single`.
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

    /// Stops because a piece can't be mapped now.
    #[cold]
    fn postpone(&mut self) -> Option<Segment> {
        let status = postpone(self.handle);
        self.fail(status)
    }

    /// Maps the first piece, or all at once.
    #[inline(never)]
    fn start(&mut self) -> Option<Segment> {
        let bio = field!(self.handle, bio);
        // A discard counts its ranges as segments, and has no pages.
        if field!(self.handle, nr_phys_segments) == 0
            || self.handle.is_write().is_none()
            || self.handle.pdu().mapping.live != Live::Nothing
            || bio.is_null()
        {
            return self.fail(Status::Invalid);
        }
        let mapping = &mut self.handle.pdu().mapping;
        mapping.mmio = false;
        mapping.pieces.clear();

        if TagSet::<T>::of(self.handle).can_walk() {
            // SAFETY: The request's bios are valid, and not changed while the request is lent.
            let mut walk = unsafe { Walk::new(bio) };
            let piece = walk.peek();
            // Memory of other devices that takes another mapping is all of a request's, or none of it
            // (`zone_device_pages_compatible()`).
            // SAFETY: The page is the request's.
            if piece.len != 0 && !unsafe { is_device_page(piece.page) } {
                let piece = walk.next();
                self.source = Source::Walk(walk);
                // SAFETY: The device is valid, and the piece is the request's.
                return match unsafe { map_piece(self.dev, piece, self.base, self.direction) } {
                    // SAFETY: The piece was mapped above.
                    Some(segment) => unsafe { self.first(segment) },
                    None => self.postpone(),
                };
            }
        }
        self.start_iter()
    }

    /// As [`start`](Self::start), by the block layer.
    fn start_iter(&mut self) -> Option<Segment> {
        let mut state = bindings::dma_iova_state::default();
        let mut iter = MaybeUninit::<BlkDmaIter>::uninit();
        let rq = self.handle.rq.as_ptr();

        // SAFETY: The request is lent, the device valid while its set is, and the state and the
        // iterator are ours.
        if !unsafe { blk_rq_dma_map_iter_start(rq, self.dev, &mut state, iter.as_mut_ptr()) } {
            // SAFETY: The status is set at first.
            return match unsafe { (*iter.as_ptr()).status } {
                // No segment and no error: the request has no data.
                0 => self.fail(Status::Invalid),
                s if s == Status::Resource as u8 => self.postpone(),
                _ => self.fail(Status::IoError),
            };
        }

        // SAFETY: All of it is set where a piece was mapped.
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
            // Addresses on the bus are as they are; nothing was mapped.
            return Some(segment);
        }
        // SAFETY: The iterator has just mapped this piece.
        unsafe { self.first(segment) }
    }

    /// As [`mapped`](Self::mapped), for the first piece.
    ///
    /// # Safety
    ///
    /// `segment` was just mapped.
    unsafe fn first(&mut self, segment: Segment) -> Option<Segment> {
        self.note = match TagSet::<T>::of(self.handle).skip_flag() {
            0 => Note::Each,
            flag => Note::NotYet(flag),
        };
        // SAFETY: As promised by the caller.
        unsafe { self.mapped(segment) }
    }

    /// Sees to it that a piece is unmapped later, if it needs to be.
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
            // SAFETY: As promised by the caller.
            return unsafe { self.note(segment) };
        }
        Some(segment)
    }

    /// Notes a piece, or unmaps it at once where there is no memory for the note.
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
            // SAFETY: As promised by the caller; nobody else knows of the piece.
            unsafe { unmap(self.dev, segment, self.direction, attrs) };
            return self.fail(Status::Resource);
        }
        let mapping = &mut self.handle.pdu().mapping;
        // There is room.
        let _ = mapping.pieces.push_within_capacity(segment);
        mapping.live = Live::Pieces;
        Some(segment)
    }

    /// Goes on with the notes in the set's [`Reserve`]; `false` if that is too small, or another request
    /// has it.
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
            // There is room.
            let _ = room.push_within_capacity(*piece);
        }
        mapping.pieces = room;
        mapping.borrowed = true;
        true
    }

    /// The next piece; `None` after the last, or where it can't be mapped. What is mapped stays so
    /// until the request is rejected or ended.
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
        // SAFETY: The device is valid, and the piece is the request's, whose memory takes the usual
        // mapping, as was seen at the first piece.
        match unsafe { map_piece(self.dev, piece, self.base, self.direction) } {
            // SAFETY: The piece was mapped above.
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
        // SAFETY: As in `start_iter`, where the iterator was started.
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
        // SAFETY: The iterator has just mapped this piece.
        unsafe { self.mapped(segment) }
    }

    /// Whether all pieces but the first begin, and all but the last end, at a multiple of
    /// `boundary`, a power of two. As `req_phys_gap_mask()`.
    #[inline]
    pub fn joins_at(&self, boundary: u32) -> bool {
        match u32::from(field!(self.handle, phys_gap_bit)) {
            // No gap was noted.
            0 => true,
            bit => 1u64
                .checked_shl(bit.wrapping_sub(1))
                .is_none_or(|gap| gap >= u64::from(boundary)),
        }
    }

    /// To be called after the last piece.
    ///
    /// # Errors
    ///
    /// [`Status::Resource`] where a piece couldn't be mapped now, [`Status::IoError`] where that has been so
    /// for the set's time limit, [`Status::Invalid`] where there is no data.
    #[inline]
    pub fn finish(self) -> Result<(), Status> {
        match self.status {
            Status::Ok => Ok(()),
            status => Err(status),
        }
    }
}

/// Whether what was mapped has to be undone, see [`skip_flag`].
///
/// # Safety
///
/// `dev` is valid.
#[inline(always)]
unsafe fn needs_unmap(dev: *mut bindings::device, skip_flag: c_ulong) -> bool {
    // SAFETY: As promised by the caller. The flags in the word are changed atomically.
    let flags = unsafe { (&raw const (*dev).flags[0]).read_volatile() };
    flags & skip_flag == 0
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
/// `segment` is mapped for `dev` in this direction with these attributes, and is unmapped once.
#[inline]
unsafe fn unmap(
    dev: *mut bindings::device,
    segment: Segment,
    direction: bindings::dma_data_direction,
    attrs: c_ulong,
) {
    // SAFETY: As promised by the caller.
    unsafe { bindings::dma_unmap_phys(dev, segment.addr, segment.len as usize, direction, attrs) };
}
