// SPDX-License-Identifier: GPL-2.0

//! DMA memory that a driver fills and reads without `unsafe`: rings of fixed-size entries, and
//! small blocks from a pool.
//!
//! C header: [`include/linux/dma-mapping.h`](srctree/include/linux/dma-mapping.h)

use super::binding::Binding;
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
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
    new_spinlock_irq, pci,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        SpinLockIrq, //
    },
};

/// Lets `pdev` reach what `bits` address bits name, for streaming and coherent DMA, and has what is
/// mapped for it keep its place in a unit of `align` bytes.
///
/// # Errors
///
/// `EIO` where the platform can't serve it; `EINVAL` for more than 64 bits, or where `align` isn't a
/// power of two.
///
/// # Safety
///
/// Nothing is mapped for the device, by nobody, until this returns: what is undone later is undone by
/// these values.
pub unsafe fn set_limits(pdev: &pci::Device<device::Core<'_>>, bits: u32, align: u32) -> Result {
    let mask = DmaMask::try_new(bits)?;
    let dev: &device::Device<device::Core<'_>> = pdev.as_ref();
    if !align.is_power_of_two() {
        return Err(EINVAL);
    }

    // SAFETY: `dev` is a valid device; its parameters, if it has any, are valid as long as it is. Nothing
    // is mapped concurrently, as promised by the caller. As `dma_set_min_align_mask()`.
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

/// The C device behind a reference to it.
#[inline]
pub(crate) fn raw<Ctx: device::DeviceContext>(dev: &device::Device<Ctx>) -> *mut bindings::device {
    // `device::Device` is a transparent wrapper of `struct device`.
    core::ptr::from_ref(dev)
        .cast::<bindings::device>()
        .cast_mut()
}

/// Whether the device does DMA at all: a device of the faux bus doesn't.
pub(crate) fn is_capable<Ctx: device::DeviceContext>(dev: &device::Device<Ctx>) -> bool {
    // SAFETY: The device is valid. Its bus sets the pointer before a driver is bound.
    unsafe { !(*raw(dev)).dma_mask.is_null() }
}

/// The NUMA node of a device, or that it has none.
#[inline]
pub(crate) fn node<Ctx: device::DeviceContext>(dev: &device::Device<Ctx>) -> c_int {
    #[cfg(CONFIG_NUMA)]
    // SAFETY: The device is valid, and its node isn't changed once it is bound.
    let node = unsafe { (*raw(dev)).numa_node };
    #[cfg(not(CONFIG_NUMA))]
    let node = {
        let _ = dev;
        bindings::NUMA_NO_NODE
    };
    node
}

/// An array of entries of `W` 64-bit words each, shared with a device: a submission queue, a
/// completion queue.
///
/// The device may change the memory at any time, so it is only ever copied from and to, word by
/// word, each with one volatile access, as `READ_ONCE()` and `WRITE_ONCE()` do; a value once read
/// does not change. An entry that is written while another CPU reads it may be seen half done.
///
/// It is made for a bound device; after unbind it is memory, and freed as the in-tree [`Coherent`] is. So
/// are [`Words`] and [`Buffer`].
pub struct Ring<const W: usize> {
    mem: Coherent<[[u64; W]]>,
}

impl<const W: usize> Ring<W> {
    /// Allocates `entries` zeroed entries.
    ///
    /// # Errors
    ///
    /// `EINVAL` for no entry, `ENOMEM` where the memory can't be had. May sleep.
    pub fn new(dev: &device::Device<Bound>, entries: usize) -> Result<Self> {
        Ok(Self {
            mem: Coherent::zeroed_slice(dev, entries, GFP_KERNEL)?,
        })
    }

    /// The address that the device uses for the first entry.
    pub fn dma_address(&self) -> u64 {
        self.mem.dma_address()
    }

    /// The number of entries.
    #[inline]
    #[allow(clippy::len_without_is_empty)] // None is.
    pub fn len(&self) -> usize {
        self.mem.len()
    }

    #[inline(always)]
    fn at(&self, index: usize) -> Option<*mut [u64; W]> {
        if index >= self.len() {
            return None;
        }
        let first: *mut [u64; W] = self.mem.as_mut_ptr().cast();
        // Within the allocation by the check above.
        Some(first.wrapping_add(index))
    }

    /// Entry `index`, to read its words; `None` beyond the end.
    #[inline(always)]
    pub fn slot(&self, index: usize) -> Option<Slot<'_, W>> {
        // INVARIANT: An entry of the live allocation.
        Some(Slot {
            entry: self.at(index)?,
            _ring: PhantomData,
        })
    }

    /// Reads entry `index`; `None` beyond the end.
    pub fn entry(&self, index: usize) -> Option<[u64; W]> {
        let slot = self.slot(index)?;
        // SAFETY: All `W` words of the entry are inside the live allocation and aligned; see
        // `Slot::read` for accesses by others.
        Some(core::array::from_fn(|word| unsafe {
            slot.entry.cast::<u64>().add(word).read_volatile()
        }))
    }

    /// Writes entry `index`; beyond the end nothing is written and `false` returned.
    #[inline(always)]
    pub fn write(&self, index: usize, entry: &[u64; W]) -> bool {
        let Some(first) = self.at(index) else {
            return false;
        };

        for (i, value) in entry.iter().enumerate() {
            // SAFETY: All `W` words of the entry are inside the live allocation and aligned; see
            // `Slot::read` for accesses by others.
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

/// One entry of a [`Ring`], to be read word by word.
///
/// # Invariants
///
/// `entry` is an aligned entry of a live ring.
pub struct Slot<'a, const W: usize> {
    entry: *const [u64; W],
    _ring: PhantomData<&'a Ring<W>>,
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
}

/// A page of 32-bit words, shared with a device: both may write them at any time, so that each is
/// read and written by one volatile access. They are little endian for the device.
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
        self.mem.dma_address()
    }

    /// Sets all words to zero.
    pub fn clear(&self) {
        let first: *mut u32 = self.mem.as_mut_ptr().cast();

        for index in 0..BUFFER_SIZE / 4 {
            // SAFETY: The word is inside the live allocation and aligned; see `Word::read` for
            // accesses by others.
            unsafe { first.add(index).write_volatile(0) };
        }
    }

    /// Word `index`; `None` beyond the end.
    pub fn word(self: &Arc<Self>, index: usize) -> Option<Word> {
        let first: *mut u32 = self.mem.as_mut_ptr().cast();

        // INVARIANT: Within the allocation by the check, and kept with it.
        (index < BUFFER_SIZE / 4).then(|| Word {
            word: first.wrapping_add(index),
            _words: self.clone(),
        })
    }
}

/// One of [`Words`].
///
/// # Invariants
///
/// `word` is an aligned word of the live allocation of `_words`.
pub struct Word {
    word: *mut u32,
    _words: Arc<Words>,
}

// SAFETY: The word may be accessed from anywhere, as `Words` may.
unsafe impl Send for Word {}

// SAFETY: As above.
unsafe impl Sync for Word {}

impl Word {
    /// Reads the word.
    #[inline(always)]
    pub fn read(&self) -> u32 {
        // SAFETY: By the type invariant. The device and other CPUs may write at any time, which a
        // volatile read of a word allows.
        u32::from_le(unsafe { self.word.read_volatile() })
    }

    /// Writes the word.
    #[inline(always)]
    pub fn write(&self, value: u32) {
        // SAFETY: As in `read`.
        unsafe { self.word.write_volatile(value.to_le()) };
    }
}

/// The size of a [`Buffer`] in bytes.
pub const BUFFER_SIZE: usize = 4096;

/// One page that the device fills, aligned to its size.
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
        self.mem.dma_address()
    }

    /// Copies the page, so that what is looked at doesn't change any more.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. May sleep.
    pub fn copy(&self) -> Result<KBox<[u8; BUFFER_SIZE]>> {
        let mut copy = KBox::new([0; BUFFER_SIZE], GFP_KERNEL)?;
        self.copy_to(&mut copy);
        Ok(copy)
    }

    /// As [`copy`](Self::copy), to memory that the caller has.
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

/// A place in memory, for the CPU and for the device.
#[derive(Clone, Copy)]
struct Place {
    cpu: NonNull<u64>,
    dma: dma::DmaAddress,
}

// SAFETY: The memory has no affinity to a thread.
unsafe impl Send for Place {}

// SAFETY: A shared place gives out addresses only.
unsafe impl Sync for Place {}

/// The blocks of a pool.
struct Blocks {
    /// Nobody's. There is room for all.
    free: KVec<Place>,
    /// The pages that they are in.
    pages: KVec<Place>,
}

/// DMA blocks of one size, which are used again.
///
/// Unlike a `struct dma_pool`, which has its list of free blocks in these blocks, it notes elsewhere which
/// are free: a device can write to all of a page that it was given, and would choose where the CPU writes
/// next.
///
/// After the device is unbound the pool doesn't grow. Its memory may be freed later, as that of the
/// in-tree [`Coherent`].
///
/// # Invariants
///
/// The pages are coherent memory of `dev`, of `PAGE_SIZE` bytes; the free blocks are in them, apart from
/// each other and from those that are taken, and have `words * 8` bytes and are aligned to that.
#[pin_data(PinnedDrop)]
pub struct Pool {
    #[pin]
    blocks: SpinLockIrq<Blocks>,
    words: usize,
    dev: ARef<device::Device>,
    binding: Arc<Binding>,
}

impl Pool {
    /// Makes a pool of blocks of `words` 64-bit words, a power of two. It begins with a page of them, so that
    /// one block at a time can be had when there is no memory.
    ///
    /// # Errors
    ///
    /// `EINVAL` for another size, `ENOMEM`. May sleep.
    pub fn new(dev: &device::Device<Bound>, words: usize) -> Result<Arc<Self>> {
        if !words.is_power_of_two() || words > bindings::PAGE_SIZE / 8 {
            return Err(EINVAL);
        }
        // INVARIANT: There is none yet.
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
        // INVARIANT: The block is new. It is free with the end of this statement.
        drop(Block {
            place: pool.add(page).ok_or(ENOMEM)?,
            pool: pool.clone(),
        });
        Ok(pool)
    }

    /// Takes a block; `None` if the pool can't grow. What the device finds in it is undefined until
    /// written: what it was told in an earlier use. Any context with interrupts on.
    #[inline]
    pub fn take(self: &Arc<Self>) -> Option<Block> {
        let free = self.blocks.lock().free.pop();

        // INVARIANT: The block was free, or is new.
        Some(Block {
            place: match free {
                Some(place) => place,
                None => self.grow()?,
            },
            pool: self.clone(),
        })
    }

    /// Gets one more page, and returns a block in it; `None` if there is no memory, or the device is
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
    /// The device is bound.
    unsafe fn page(&self, flags: bindings::gfp_t) -> Option<Place> {
        let flags = flags | bindings::__GFP_NOWARN;
        let mut dma = 0;
        // SAFETY: The device is valid, and as promised by the caller bound.
        let cpu = unsafe {
            bindings::dma_alloc_attrs(raw(&*self.dev), bindings::PAGE_SIZE, &mut dma, flags, 0)
        };
        Some(Place {
            cpu: NonNull::new(cpu.cast())?,
            dma,
        })
    }

    /// Adds a page that was allocated for this pool, and returns a block in it; `None`, and the page is
    /// given back, if there is no memory to note its blocks.
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
        // INVARIANT: The page is as long as `count` blocks; the first of them is the caller's.
        for i in 1..count {
            let place = Place {
                // SAFETY: It is within the page.
                cpu: unsafe { page.cpu.add(i * self.words) },
                dma: page.dma + (i * bytes) as dma::DmaAddress,
            };
            // There is room.
            let _ = blocks.free.push_within_capacity(place);
        }
        Some(page)
    }

    /// Gives back a page that was allocated for this pool, and in which no block is in use.
    fn release(&self, page: Place) {
        // SAFETY: The device is valid, as it is counted, and the page was allocated for it, with this size
        // and these attributes.
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
        // No block is left, since each holds a reference.
        let pages = core::mem::take(&mut self.blocks.lock().pages);
        for page in &pages {
            self.release(*page);
        }
    }
}

/// A block of a [`Pool`], returned to it on drop. The last one of a pool that is gone takes the memory
/// with it, which is not to be in atomic context.
///
/// # Invariants
///
/// `place` is a block of `pool` that this value owns.
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

    /// Stores the words `2 * index` and the one after it, which are as the device reads them; beyond
    /// the end nothing is written and `false` returned.
    #[inline]
    pub fn set_pair(&mut self, index: usize, [first, second]: [u64; 2]) -> bool {
        // The number of words is a power of two; of a block of one word nothing is written.
        if index >= self.pool.words / 2 {
            return false;
        }
        // SAFETY: By the type invariant the block is owned and has `words` words, and both are among
        // them.
        unsafe {
            let at = self.place.cpu.as_ptr().add(index * 2);
            at.write_volatile(first);
            at.add(1).write_volatile(second);
        }
        true
    }

    /// Stores `count` values from word `index` on, as the device reads them (little endian): `first`,
    /// and each `step` more than the one before. Where they go beyond the end, nothing is written and
    /// `false` returned.
    #[inline]
    pub fn set_run(&mut self, index: usize, first: u64, step: u64, count: usize) -> bool {
        match index.checked_add(count) {
            Some(end) if end <= self.pool.words => {}
            _ => return false,
        }
        let mut value = first;
        for at in index..index.wrapping_add(count) {
            // SAFETY: By the type invariant the block is owned and has `words` words.
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
        // There is room for all. INVARIANT: The block is nobody's any more.
        let _ = self
            .pool
            .blocks
            .lock()
            .free
            .push_within_capacity(self.place);
    }
}
