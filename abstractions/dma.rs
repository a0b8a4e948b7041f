// SPDX-License-Identifier: GPL-2.0

//! DMA memory that a driver accesses without `unsafe`: rings of fixed-size entries, pages, and
//! small blocks from a pool.
//!
//! C header: [`include/linux/dma-mapping.h`](srctree/include/linux/dma-mapping.h)

// A driver uses only a part of this.
#![allow(dead_code, unreachable_pub)]

use super::{
    atomic::{
        AtomicPtr,
        Ordering, //
    },
    binding::Binding,
    series::{
        dma_address,
        new_spinlock_irq,
        SpinLockIrq, //
    }, //
};
use core::{
    mem::MaybeUninit,
    ptr::NonNull, //
};
use kernel::{
    alloc::Flags,
    bindings,
    device::{
        self,
        Bound, //
    },
    dma::{
        self,
        Coherent,
        DmaMask, //
    },
    error::to_result,
    pci,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    uaccess::{
        UserSliceReader,
        UserSliceWriter, //
    }, //
};

/// Sets the DMA mask of `pdev` to `bits` bits, for streaming and coherent DMA, and makes mappings
/// preserve the data's offset in a unit of `align` bytes.
///
/// # Errors
///
/// `EIO` if the platform doesn't support this; `EINVAL` for more than 64 bits, or if `align` isn't
/// a power of two.
///
/// # Safety
///
/// The device must have no DMA mapping until this returns, because unmapping uses these values.
pub(super) unsafe fn set_limits(
    pdev: &pci::Device<device::Core<'_>>,
    bits: u32,
    align: u32,
) -> Result {
    let mask = DmaMask::try_new(bits)?;
    let dev: &device::Device<device::Core<'_>> = pdev.as_ref();
    if !align.is_power_of_two() {
        return Err(EINVAL);
    }

    // SAFETY: `dev` is a valid device; its `dma_parms`, if not null, are valid as long as `dev` is.
    // The caller promises that nothing is mapped. As `dma_set_min_align_mask()`.
    unsafe {
        to_result(bindings::dma_set_mask_and_coherent(raw(dev), mask.value()))?;
        let parms = (*raw(dev)).dma_parms;
        if parms.is_null() {
            return Err(EIO);
        }
        (*parms).min_align_mask = align - 1;
    }
    Ok(())
}

/// The `struct device` of a device.
#[inline]
pub(crate) fn raw<Ctx: device::DeviceContext>(dev: &device::Device<Ctx>) -> *mut bindings::device {
    // `device::Device` is a transparent wrapper of `struct device`.
    core::ptr::from_ref(dev)
        .cast::<bindings::device>()
        .cast_mut()
}

/// Whether the device can do DMA: a device of the faux bus can't.
pub(crate) fn is_capable<Ctx: device::DeviceContext>(dev: &device::Device<Ctx>) -> bool {
    // SAFETY: The device is valid. Its bus sets the pointer before a driver is bound.
    unsafe { !(*raw(dev)).dma_mask.is_null() }
}

/// The NUMA node of a device, or `NUMA_NO_NODE`.
#[inline]
pub(crate) fn node<Ctx: device::DeviceContext>(dev: &device::Device<Ctx>) -> c_int {
    #[cfg(CONFIG_NUMA)]
    // SAFETY: The device is valid, and its node doesn't change once the device is bound.
    let node = unsafe { (*raw(dev)).numa_node };
    #[cfg(not(CONFIG_NUMA))]
    let node = {
        let _ = dev;
        bindings::NUMA_NO_NODE
    };
    node
}

/// An array of entries of `W` 64-bit words each, shared with a device: for example a submission or
/// completion queue.
///
/// The device may change the memory at any time, so each word is copied by one volatile access,
/// like `READ_ONCE()` and `WRITE_ONCE()`; a value that was read doesn't change. A CPU that reads an
/// entry while another CPU writes it may see a partial write.
///
/// A ring is allocated for a bound device, and may be freed after unbind, like the in-tree
/// [`Coherent`]. The same holds for [`Words`] and [`Buffer`].
///
/// # Examples
///
/// ```
/// use abstractions::dma::Ring;
///
/// // A queue of 16 entries of 16 bytes each, whose address the device gets in a register.
/// let ring = Ring::<2>::new(dev, 16)?;
/// let base = ring.dma_address();
///
/// assert!(ring.write(3, &[1, 2]));
/// assert_eq!(ring.entry(3), Some([1, 2]));
/// ring.clear();
/// assert_eq!(ring.entry(3), Some([0, 0]));
///
/// // Without a complaint in the log.
/// let large = Ring::<512>::new_large(dev, 1 << 40);
/// assert!(large.is_err());
///
/// // There is no entry 16.
/// assert!(!ring.write(ring.len(), &[1, 2]));
/// assert!(ring.slot(ring.len()).is_none());
///
/// // No entry is marked yet, so this is the first.
/// assert_eq!(ring.marked().read::<0>(), 0);
/// ```
///
/// # Invariants
///
/// `marked` points to an entry of `mem`.
pub struct Ring<const W: usize> {
    mem: Coherent<[[u64; W]]>,
    marked: AtomicPtr<[u64; W]>,
}

impl<const W: usize> Ring<W> {
    /// Allocates `entries` zeroed entries.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `entries` is 0, `ENOMEM`. May sleep.
    pub fn new(dev: &device::Device<Bound>, entries: usize) -> Result<Self> {
        Self::allocate(dev, entries, GFP_KERNEL)
    }

    /// As [`new`](Self::new), for so much memory that there may be none: then the kernel's log has no
    /// complaint.
    ///
    /// # Errors
    ///
    /// As for `new`.
    pub fn new_large(dev: &device::Device<Bound>, entries: usize) -> Result<Self> {
        Self::allocate(dev, entries, GFP_KERNEL | __GFP_NOWARN)
    }

    fn allocate(dev: &device::Device<Bound>, entries: usize, flags: Flags) -> Result<Self> {
        let mem: Coherent<[[u64; W]]> = Coherent::zeroed_slice(dev, entries, flags)?;

        // INVARIANT: This is the first entry; there is one, because no allocation has 0.
        Ok(Self {
            marked: AtomicPtr::new(mem.as_mut_ptr().cast()),
            mem,
        })
    }

    /// The address that the device uses for the first entry.
    pub fn dma_address(&self) -> u64 {
        dma_address(&self.mem)
    }

    /// The number of entries.
    #[inline]
    #[allow(clippy::len_without_is_empty)] // No ring is empty.
    pub fn len(&self) -> usize {
        self.mem.len()
    }

    #[inline(always)]
    fn at(&self, index: usize) -> Option<*mut [u64; W]> {
        if index >= self.len() {
            return None;
        }
        let first: *mut [u64; W] = self.mem.as_mut_ptr().cast();
        // The check above keeps this within the allocation.
        Some(first.wrapping_add(index))
    }

    /// Entry `index`, for reading single words; `None` beyond the end.
    #[inline(always)]
    pub fn slot(&self, index: usize) -> Option<Slot<'_, W>> {
        // INVARIANT: `at` returns an aligned entry of the allocation, which the borrowed ring keeps
        // alive.
        Some(Slot {
            entry: self.at(index)?,
            ring: self,
        })
    }

    /// The entry that was [marked](Slot::mark) last; before, the first one. It needs no check of an index,
    /// for contexts that look at an entry again and again. Any context.
    #[inline(always)]
    pub fn marked(&self) -> Slot<'_, W> {
        // INVARIANT: By the type invariant it is an entry of the allocation, and aligned; the borrowed
        // ring keeps it alive.
        // Relaxed: the memory is older than the ring, so an entry that is no longer the marked one is
        // still an entry.
        Slot {
            entry: self.marked.load(Ordering::Relaxed),
            ring: self,
        }
    }

    /// Reads entry `index`; `None` beyond the end.
    pub fn entry(&self, index: usize) -> Option<[u64; W]> {
        let slot = self.slot(index)?;
        // SAFETY: All `W` words of the entry are inside the live allocation and aligned. The device
        // and other CPUs may access them at any time, which a volatile access of a word allows.
        Some(core::array::from_fn(|word| unsafe {
            slot.entry.cast::<u64>().add(word).read_volatile()
        }))
    }

    /// Writes entry `index`. Beyond the end, writes nothing and returns `false`.
    #[inline(always)]
    pub fn write(&self, index: usize, entry: &[u64; W]) -> bool {
        let Some(first) = self.at(index) else {
            return false;
        };

        for (i, value) in entry.iter().enumerate() {
            // SAFETY: All `W` words of the entry are inside the live allocation and aligned. The
            // device and other CPUs may access them at any time, which a volatile access of a word
            // allows.
            unsafe { first.cast::<u64>().add(i).write_volatile(*value) };
        }
        true
    }

    /// Sets all entries to zero.
    pub fn clear(&self) {
        for index in 0..self.len() {
            self.write(index, &[0; W]);
        }
    }
}

/// An entry of a [`Ring`], for reading single words.
///
/// # Invariants
///
/// `entry` is an aligned entry of `ring`.
///
/// # Examples
///
/// ```
/// use abstractions::dma::{Ring, Slot};
///
/// /// Whether the device has completed this entry; only then the first word is valid.
/// fn done(slot: &Slot<'_, 2>) -> bool {
///     slot.read::<1>() & 1 != 0
/// }
///
/// let ring = Ring::<2>::new(dev, 16)?;
/// assert_eq!(ring.slot(0).map(|slot| done(&slot)), Some(false));
///
/// // A context that polls finds the entry that comes next without an index.
/// let next: Slot<'_, 2> = ring.slot(3).ok_or(EINVAL)?;
/// next.mark();
/// ring.write(3, &[0, 1]);
/// assert!(done(&ring.marked()));
/// ```
pub struct Slot<'a, const W: usize> {
    entry: *mut [u64; W],
    ring: &'a Ring<W>,
}

impl<const W: usize> Slot<'_, W> {
    /// Reads word `I`.
    #[inline(always)]
    pub fn read<const I: usize>(&self) -> u64 {
        const { assert!(I < W) };

        // SAFETY: By the type invariant and the check above the word is inside the live allocation
        // and aligned. The device and other CPUs may write at any time, which a volatile read of a
        // word allows.
        unsafe { self.entry.cast::<u64>().add(I).read_volatile() }
    }

    /// Makes this the entry that [`Ring::marked`] returns. Any context.
    #[inline(always)]
    pub fn mark(&self) {
        // INVARIANT: By this type's invariant it is an entry of the ring.
        self.ring.marked.store(self.entry, Ordering::Relaxed);
    }
}

/// A page of 32-bit words, shared with a device. The device and the CPUs may write a word at any
/// time, so each word is read and written by one volatile access. The device sees them as little
/// endian.
///
/// # Examples
///
/// ```
/// use abstractions::dma::Words;
///
/// let page = Words::new(dev)?;
/// let address = page.dma_address();
///
/// let word = page.word(1023).ok_or(EINVAL)?;
/// word.write(7);
/// page.clear();
/// assert_eq!(word.read(), 0);
/// assert!(page.word(1024).is_none());
/// ```
pub struct Words {
    mem: Coherent<[u32; BUFFER_SIZE / 4]>,
}

impl Words {
    /// Allocates a zeroed page.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. May sleep.
    pub fn new(dev: &device::Device<Bound>) -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                mem: Coherent::zeroed(dev, GFP_KERNEL)?,
            },
            GFP_KERNEL,
        )?)
    }

    /// The address that the device uses.
    pub fn dma_address(&self) -> u64 {
        dma_address(&self.mem)
    }

    /// Sets all words to zero.
    pub fn clear(&self) {
        let first: *mut u32 = self.mem.as_mut_ptr().cast();

        for index in 0..BUFFER_SIZE / 4 {
            // SAFETY: The word is inside the live allocation and aligned. The device and other CPUs
            // may access it at any time, which a volatile access of a word allows.
            unsafe { first.add(index).write_volatile(0) };
        }
    }

    /// Word `index`; `None` beyond the end.
    pub fn word(self: &Arc<Self>, index: usize) -> Option<Word> {
        let first: *mut u32 = self.mem.as_mut_ptr().cast();

        // INVARIANT: The check keeps the word within the allocation, which `_words` keeps alive.
        (index < BUFFER_SIZE / 4).then(|| Word {
            word: first.wrapping_add(index),
            _words: self.clone(),
        })
    }
}

/// A word of [`Words`].
///
/// # Invariants
///
/// `word` is an aligned word of the live allocation of `_words`.
///
/// # Examples
///
/// ```
/// use abstractions::dma::{Word, Words};
///
/// /// Tells the device the queue's new tail, in memory.
/// fn set_tail(word: &Word, tail: u32) {
///     word.write(tail);
/// }
///
/// let word = Words::new(dev)?.word(4).ok_or(EINVAL)?;
/// set_tail(&word, 9);
/// assert_eq!(word.read(), 9);
/// ```
pub struct Word {
    word: *mut u32,
    _words: Arc<Words>,
}

// SAFETY: The memory has no affinity to a thread.
unsafe impl Send for Word {}

// SAFETY: Each access is volatile, and concurrent accesses to the word are allowed.
unsafe impl Sync for Word {}

impl Word {
    /// Reads the word.
    #[inline(always)]
    pub fn read(&self) -> u32 {
        // SAFETY: By the type invariant the word is inside a live allocation and aligned. The
        // device and other CPUs may write at any time, which a volatile read of a word allows.
        u32::from_le(unsafe { self.word.read_volatile() })
    }

    /// Writes the word.
    #[inline(always)]
    pub fn write(&self, value: u32) {
        // SAFETY: By the type invariant the word is inside a live allocation and aligned. The
        // device and other CPUs may access it at any time, which a volatile write of a word allows.
        unsafe { self.word.write_volatile(value.to_le()) };
    }
}

/// The size of a [`Buffer`] in bytes.
///
/// # Examples
///
/// ```
/// use abstractions::dma::{Buffer, BUFFER_SIZE};
///
/// let buffer = Buffer::new(dev)?;
/// assert_eq!(buffer.dma_address() % BUFFER_SIZE as u64, 0);
/// ```
pub const BUFFER_SIZE: usize = 4096;

/// A page for the device to fill, aligned to its size.
///
/// # Examples
///
/// ```
/// use abstractions::dma::{Buffer, BUFFER_SIZE};
/// use kernel::uaccess::{UserPtr, UserSlice};
///
/// let buffer = Buffer::new(dev)?;
/// let address = buffer.dma_address();
///
/// // After the device has filled the page.
/// let page: KBox<[u8; BUFFER_SIZE]> = buffer.copy()?;
/// assert_eq!(page[0], 0);
///
/// let mut mine = KBox::new([0xff; BUFFER_SIZE], GFP_KERNEL)?;
/// buffer.copy_to(&mut mine);
/// assert_eq!(mine[BUFFER_SIZE - 1], 0);
///
/// /// Gives the device a page of user space's, and returns the device's answer.
/// fn echo(dev: &Device<Bound>, address: usize, run: fn(u64) -> Result) -> Result {
///     let user = UserSlice::new(UserPtr::from_addr(address), BUFFER_SIZE);
///     let (mut from, mut to) = user.reader_writer();
///     let mut buffer = Buffer::new(dev)?;
///     buffer.read_user(&mut from, 0, BUFFER_SIZE)?;
///     run(buffer.dma_address())?;
///     buffer.write_user(&mut to, 0, BUFFER_SIZE)
/// }
/// ```
pub struct Buffer {
    mem: Coherent<[u64; BUFFER_SIZE / 8]>,
}

impl Buffer {
    /// Allocates a zeroed page.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. May sleep.
    pub fn new(dev: &device::Device<Bound>) -> Result<Self> {
        Ok(Self {
            mem: Coherent::zeroed(dev, GFP_KERNEL)?,
        })
    }

    /// The address that the device uses.
    pub fn dma_address(&self) -> u64 {
        dma_address(&self.mem)
    }

    /// Copies `len` bytes from user space to the page, from byte `offset` on, before the device gets
    /// its address. May sleep.
    ///
    /// # Errors
    ///
    /// `EFAULT` for a bad address; `EINVAL` for more than a page.
    pub fn read_user(&mut self, from: &mut UserSliceReader, offset: usize, len: usize) -> Result {
        if offset > BUFFER_SIZE || len > BUFFER_SIZE - offset {
            return Err(EINVAL);
        }
        let first: *mut MaybeUninit<u8> = self.mem.as_mut_ptr().cast();
        // SAFETY: The live allocation has `len` bytes after `offset`, and no other context of the CPU
        // accesses it, because this has a mutable reference. The device doesn't have its address yet.
        // Any content is valid for `MaybeUninit`.
        from.read_raw(unsafe { core::slice::from_raw_parts_mut(first.add(offset), len) })
    }

    /// Copies `len` bytes of the page, from byte `offset` on, to user space. May sleep.
    ///
    /// # Errors
    ///
    /// `EFAULT` for a bad address; `ERANGE` for more than a page, or than `to` has.
    pub fn write_user(&self, to: &mut UserSliceWriter, offset: usize, len: usize) -> Result {
        to.write_dma(&self.mem, offset, len)
    }

    /// Copies the page, so that the device can't change the data under the caller.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. May sleep.
    pub fn copy(&self) -> Result<KBox<[u8; BUFFER_SIZE]>> {
        // In place: an array would be on the stack first.
        let mut copy = KBox::init(<[u8; BUFFER_SIZE]>::init_zeroed(), GFP_KERNEL)?;
        self.copy_to(&mut copy);
        Ok(copy)
    }

    /// As [`copy`](Self::copy), to the caller's memory.
    pub fn copy_to(&self, copy: &mut [u8; BUFFER_SIZE]) {
        let first: *const u64 = self.mem.as_ptr().cast();

        for (i, chunk) in copy.chunks_exact_mut(8).enumerate() {
            // SAFETY: `i` is below the number of words of the live allocation. The CPU never writes
            // it; the device may at any time, which a volatile read of a word allows.
            let word = unsafe { first.add(i).read_volatile() };
            chunk.copy_from_slice(&word.to_ne_bytes());
        }
    }
}

/// An address in DMA memory, for the CPU and for the device.
#[derive(Clone, Copy)]
struct Place {
    cpu: NonNull<u64>,
    dma: dma::DmaAddress,
}

// SAFETY: The memory has no affinity to a thread.
unsafe impl Send for Place {}

// SAFETY: A shared reference only allows reading the two addresses.
unsafe impl Sync for Place {}

/// The blocks of a pool.
struct Blocks {
    /// The free blocks. Has capacity for every block of the pool.
    free: KVec<Place>,
    /// The pages that contain all blocks.
    pages: KVec<Place>,
}

/// A pool of reusable DMA blocks of one size.
///
/// A `struct dma_pool` keeps its free list inside the blocks. This pool keeps the list in separate
/// memory, because a device can write to any part of a page that it may access, and could otherwise
/// choose where the CPU writes next.
///
/// After the device is unbound, the pool doesn't grow. Its memory may be freed after unbind, like
/// that of the in-tree [`Coherent`].
///
/// # Invariants
///
/// The pages are coherent memory of `dev`, of `PAGE_SIZE` bytes. The free blocks are inside these
/// pages, have `words * 8` bytes each, are aligned to that size, and overlap neither each other nor
/// a taken block.
///
/// # Examples
///
/// ```
/// use abstractions::dma::Pool;
///
/// // Blocks of 32 words, so of 256 bytes.
/// let pool = Pool::new(dev, 32)?;
/// let block = pool.take().ok_or(ENOMEM)?;
/// assert_eq!(block.dma_address() % 256, 0);
/// ```
#[pin_data(PinnedDrop)]
pub struct Pool {
    #[pin]
    blocks: SpinLockIrq<Blocks>,
    words: usize,
    dev: ARef<device::Device>,
    binding: Arc<Binding>,
}

impl Pool {
    /// Creates a pool of blocks of `words` 64-bit words, a power of two. The pool starts with a
    /// page of blocks, so that requests can make progress, one block at a time, even if there is no
    /// memory.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `words` isn't a power of two or too large, `ENOMEM`. May sleep.
    pub fn new(dev: &device::Device<Bound>, words: usize) -> Result<Arc<Self>> {
        if !words.is_power_of_two() || words > bindings::PAGE_SIZE / 8 {
            return Err(EINVAL);
        }
        // INVARIANT: The pool has no pages and no blocks yet.
        let pool = Arc::pin_init(
            try_pin_init!(Self {
                blocks <- new_spinlock_irq!(Blocks {
                    free: KVec::new(),
                    pages: KVec::new(),
                }),
                words,
                binding: Binding::of(dev)?,
                dev: dev.into(),
            }? Error),
            GFP_KERNEL,
        )?;
        // SAFETY: The device is bound.
        let page = unsafe { pool.page(bindings::GFP_KERNEL) }.ok_or(ENOMEM)?;
        // INVARIANT: The block is new and owned by this value, which frees it at once.
        drop(Block {
            place: pool.add(page).ok_or(ENOMEM)?,
            pool: pool.clone(),
        });
        Ok(pool)
    }

    /// Takes a block; `None` if no block is free and the pool can't grow. The block keeps the
    /// content of its last use until written. Any context with interrupts enabled.
    #[inline(always)]
    pub fn take(self: &Arc<Self>) -> Option<Block> {
        let free = self.blocks.lock().free.pop();

        // INVARIANT: The block was removed from the free list, or is new, so this value owns it.
        Some(Block {
            place: match free {
                Some(place) => place,
                None => self.grow()?,
            },
            pool: self.clone(),
        })
    }

    /// Adds a page, and returns a block in it; `None` if there is no memory, or the device is
    /// unbound.
    #[cold]
    fn grow(&self) -> Option<Place> {
        let bound = self.binding.hold()?;
        // SAFETY: The device is bound until `bound` is dropped; the function doesn't sleep with this flag.
        let page = unsafe { self.page(bindings::GFP_ATOMIC) };
        drop(bound);
        self.add(page?)
    }

    /// Allocates a page.
    ///
    /// # Safety
    ///
    /// The device must be bound.
    unsafe fn page(&self, flags: bindings::gfp_t) -> Option<Place> {
        let flags = flags | bindings::__GFP_NOWARN;
        let mut dma = 0;
        // SAFETY: The device is valid, and the caller promises that it is bound.
        let cpu = unsafe {
            bindings::dma_alloc_attrs(raw(&*self.dev), bindings::PAGE_SIZE, &mut dma, flags, 0)
        };
        Some(Place {
            cpu: NonNull::new(cpu.cast())?,
            dma,
        })
    }

    /// Adds a page that was allocated for this pool, and returns a block in it. If there is no
    /// memory for the free list, frees the page and returns `None`.
    fn add(&self, page: Place) -> Option<Place> {
        let mut blocks = self.blocks.lock();
        let bytes = self.words * 8;
        let count = bindings::PAGE_SIZE / bytes;
        let all = (blocks.pages.len() + 1) * count;
        let more = all.saturating_sub(blocks.free.len());
        if blocks
            .free
            .reserve(more, GFP_ATOMIC | __GFP_NOWARN)
            .is_err()
            || blocks.pages.push(page, GFP_ATOMIC | __GFP_NOWARN).is_err()
        {
            drop(blocks);
            self.release(page);
            return None;
        }
        // INVARIANT: The page has room for `count` blocks; the caller gets the first of them.
        for i in 1..count {
            let place = Place {
                // SAFETY: Block `i` is within the page.
                cpu: unsafe { page.cpu.add(i * self.words) },
                dma: page.dma + (i * bytes) as dma::DmaAddress,
            };
            // The capacity was reserved above.
            let _ = blocks.free.push_within_capacity(place);
        }
        Some(page)
    }

    /// Frees a page that was allocated for this pool, and in which no block is in use.
    fn release(&self, page: Place) {
        // SAFETY: The pool holds a reference to the device, so it is valid. The page was allocated
        // for it, with this size and these attributes.
        unsafe {
            bindings::dma_free_attrs(
                raw(&*self.dev),
                bindings::PAGE_SIZE,
                page.cpu.as_ptr().cast(),
                page.dma,
                0,
            )
        };
    }
}

#[pinned_drop]
impl PinnedDrop for Pool {
    fn drop(self: Pin<&mut Self>) {
        // No block is left, because each holds a reference to the pool.
        let pages = core::mem::take(&mut self.blocks.lock().pages);
        for page in &pages {
            self.release(*page);
        }
    }
}

/// A block of a [`Pool`], which gets the block back on drop. Dropping the last block after the
/// pool's other references frees the pool's memory, which must not happen in atomic context.
///
/// # Invariants
///
/// `place` is a block of `pool` that this value owns.
///
/// # Examples
///
/// ```
/// use abstractions::dma::{Block, Pool};
///
/// /// Lists `pages` adjacent pages from `first` on; `None` if the list is too long.
/// fn list(block: &mut Block, first: u64, pages: usize) -> Option<u64> {
///     block.set_run(0, first, 4096, pages).then_some(block.dma_address())
/// }
///
/// let mut block = Pool::new(dev, 32)?.take().ok_or(ENOMEM)?;
/// assert!(list(&mut block, 0x10000, 32).is_some());
/// assert!(list(&mut block, 0x10000, 33).is_none());
///
/// // An entry of two words, in the device's byte order.
/// assert!(block.set_pair(15, [0x10000u64.to_le(), 4096u64.to_le()]));
/// assert!(!block.set_pair(16, [0, 0]));
/// ```
pub struct Block {
    place: Place,
    pool: Arc<Pool>,
}

impl Block {
    /// The address that the device uses for the block.
    #[inline]
    pub fn dma_address(&self) -> u64 {
        self.place.dma
    }

    /// Stores the words `2 * index` and `2 * index + 1`, already in the device's byte order. Beyond
    /// the end, writes nothing and returns `false`.
    #[inline]
    pub fn set_pair(&mut self, index: usize, [first, second]: [u64; 2]) -> bool {
        // `words` is a power of two, so it is even or 1; a block of one word is never written.
        if index >= self.pool.words / 2 {
            return false;
        }
        // SAFETY: By the type invariant this value owns the block, which has `words` words, and
        // both words are within it.
        unsafe {
            let at = self.place.cpu.as_ptr().add(index * 2);
            at.write_volatile(first);
            at.add(1).write_volatile(second);
        }
        true
    }

    /// Stores `count` values from word `index` on, as little endian: `first`, then each `step` more
    /// than the previous value. If they exceed the block, writes nothing and returns `false`.
    #[inline]
    pub fn set_run(&mut self, index: usize, first: u64, step: u64, count: usize) -> bool {
        match index.checked_add(count) {
            Some(end) if end <= self.pool.words => {}
            _ => return false,
        }
        let mut value = first;
        for at in index..index.wrapping_add(count) {
            // SAFETY: By the type invariant this value owns the block, which has `words` words;
            // `at` is less than `end`, so it is within the block.
            unsafe {
                self.place
                    .cpu
                    .as_ptr()
                    .add(at)
                    .write_volatile(value.to_le())
            };
            value = value.wrapping_add(step);
        }
        true
    }
}

impl Drop for Block {
    #[inline]
    fn drop(&mut self) {
        // The list has capacity for every block.
        // INVARIANT: This value gives up the block, so it is free.
        let _ = self
            .pool
            .blocks
            .lock()
            .free
            .push_within_capacity(self.place);
    }
}
