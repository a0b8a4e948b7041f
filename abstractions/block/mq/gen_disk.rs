// SPDX-License-Identifier: GPL-2.0

//! A disk and the limits of its queue.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use super::{
    files::{
        DiskFiles,
        Groups, //
    },
    integrity::{
        self,
        IntegrityLimits, //
    },
    passthrough::{
        self,
        OpenDisk, //
    },
    reservation::Reservations,
    tag_set::QueueData,
    Operations,
    TagSet, //
};
use crate::abstractions::{
    atomic::{
        fence,
        AtomicBool,
        AtomicUsize,
        Ordering, //
    },
    chrdev::{
        Parent,
        Registered, //
    },
    dma, //
};
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    device::{
        self,
        Bound, //
    },
    devres::Devres,
    error::{
        from_err_ptr,
        to_result, //
    },
    fmt,
    prelude::*,
    str::CString,
    sync::{
        static_lock_class,
        Arc, //
    }, //
};

/// The limits of a disk's requests: `struct queue_limits`. In bytes, unless stated otherwise.
///
/// # Examples
///
/// ```
/// use abstractions::block::mq::Limits;
///
/// // A disk of 4 KiB blocks with a volatile cache, that can discard.
/// let limits = Limits {
///     logical_block_size: 4096,
///     physical_block_size: 4096,
///     max_bytes: 1 << 20,
///     max_segments: 128,
///     dma_alignment: 4,
///     write_cache: true,
///     fua: true,
///     max_discard: 1 << 30,
///     max_discard_ranges: 1,
///     discard_granularity: 4096,
///     ..Limits::default()
/// };
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The addressing unit; a power of two from 512 to the page size.
    pub logical_block_size: u32,
    /// The unit that the disk writes without a read-modify-write.
    pub physical_block_size: u32,
    /// The preferred unit of writes; 0 if there is none.
    pub io_min: u32,
    /// The optimal size of a request; 0 if not known.
    pub io_opt: u32,
    /// The maximum bytes of a request, at least [`MIN_BYTES`](Self::MIN_BYTES); 0 for the kernel's
    /// default.
    pub max_bytes: u32,
    /// The maximum segments of a request, at least 1.
    pub max_segments: u16,
    /// Every segment but the first must begin, and every segment but the last must end, at a
    /// multiple of this; a power of two, or 0 for no limit.
    pub virt_boundary: u32,
    /// The alignment of a segment's address, a power of two.
    pub dma_alignment: u32,
    /// A request doesn't cross a multiple of this; 0 for no limit.
    pub chunk: u32,
    /// The disk has a volatile write cache.
    pub write_cache: bool,
    /// The disk supports FUA writes, which are durable at completion.
    pub fua: bool,
    /// The maximum bytes of a discard; 0 if not supported.
    pub max_discard: u32,
    /// The maximum ranges of a discard.
    pub max_discard_ranges: u16,
    /// The granularity of a discard.
    pub discard_granularity: u32,
    /// The maximum bytes of a write-zeroes request; 0 if not supported.
    pub max_write_zeroes: u32,
    /// Write-zeroes requests may deallocate the blocks.
    pub write_zeroes_unmap: bool,
    /// Writes up to this size are atomic; 0 if not supported.
    pub atomic_write_max: u32,
    /// An atomic write doesn't cross a multiple of this; 0 for no limit.
    pub atomic_write_boundary: u32,
    /// The disk is read-only.
    pub read_only: bool,
    /// The metadata of each block, if they have any.
    pub integrity: Option<IntegrityLimits>,
}

// `blk_features_t`, not in `kernel::bindings`. `check.c` compares them with the kernel's.
const BLK_FEAT_WRITE_CACHE: u32 = 1 << 0;
const BLK_FEAT_FUA: u32 = 1 << 1;
const BLK_FEAT_POLL: u32 = 1 << 9;
const BLK_FEAT_PCI_P2PDMA: u32 = 1 << 12;
const BLK_FEAT_ATOMIC_WRITES: u32 = 1 << 14;

const SECTOR_SHIFT: u32 = bindings::SECTOR_SHIFT;

impl Limits {
    /// The bytes that a request must be able to have: a page.
    pub const MIN_BYTES: u32 = bindings::PAGE_SIZE as u32;

    /// Refuses limits that the kernel would warn about.
    fn check(&self) -> Result {
        let least = Self::MIN_BYTES.max(self.logical_block_size);
        match (1..least).contains(&self.max_bytes) {
            true => Err(EINVAL),
            false => Ok(()),
        }
    }

    /// Writes the limits of a disk of `set` to `raw`. Keeps the limits that the administrator can
    /// change in sysfs, whose initial values are the block layer's.
    fn put<T: Operations>(self, set: &TagSet<T>, raw: &mut bindings::queue_limits) {
        // SAFETY: The set is allocated.
        let poll = unsafe { (*set.raw()).nr_maps > bindings::hctx_type_HCTX_TYPE_POLL };
        for (on, feature) in [
            (self.write_cache, BLK_FEAT_WRITE_CACHE),
            (self.fua, BLK_FEAT_FUA),
            (self.atomic_write_max > 0, BLK_FEAT_ATOMIC_WRITES),
            (poll, BLK_FEAT_POLL),
            (cfg!(CONFIG_PCI_P2PDMA) && set.peers, BLK_FEAT_PCI_P2PDMA),
        ] {
            match on {
                true => raw.features |= feature,
                false => raw.features &= !feature,
            }
        }

        // The block layer splits requests that DMA can't map, or can map only slowly.
        let optimal = u32::try_from(set.optimal >> SECTOR_SHIFT).unwrap_or(u32::MAX);
        raw.max_hw_sectors = optimal.min(self.max_bytes >> SECTOR_SHIFT);
        raw.virt_boundary_mask = self.virt_boundary.saturating_sub(1) as c_ulong;
        raw.chunk_sectors = self.chunk >> SECTOR_SHIFT;
        raw.max_segment_size = u32::MAX;
        // No boundary, because the walk in `dma_map_iter.rs` splits segments at none.
        raw.seg_boundary_mask = c_ulong::MAX;
        raw.physical_block_size = self.physical_block_size;
        raw.logical_block_size = self.logical_block_size;
        raw.io_min = self.io_min;
        raw.io_opt = self.io_opt;
        raw.max_hw_discard_sectors = self.max_discard >> SECTOR_SHIFT;
        raw.max_discard_segments = self.max_discard_ranges;
        raw.discard_granularity = self.discard_granularity;
        raw.max_write_zeroes_sectors = self.max_write_zeroes >> SECTOR_SHIFT;
        raw.max_hw_wzeroes_unmap_sectors = match self.write_zeroes_unmap {
            true => raw.max_write_zeroes_sectors,
            false => 0,
        };
        raw.atomic_write_hw_max = self.atomic_write_max;
        raw.atomic_write_hw_boundary = self.atomic_write_boundary;
        raw.atomic_write_hw_unit_min = match self.atomic_write_max {
            0 => 0,
            _ => self.logical_block_size,
        };
        raw.atomic_write_hw_unit_max = self.atomic_write_max;
        raw.max_segments = self.max_segments;
        raw.dma_alignment = self.dma_alignment.saturating_sub(1);
        integrity::put(self.integrity, raw);
    }
}

/// A `struct gendisk` and the data of its queue.
///
/// # Invariants
///
/// `disk` is valid; its queue belongs to `set` and has `data` as its `queuedata`. The disk is part
/// of the system while `added`.
struct Inner<T: Operations> {
    disk: NonNull<bindings::gendisk>,
    added: AtomicBool,
    /// The disk was added and removed again, and its queue has left the set.
    removed: AtomicBool,
    /// The last limits set; protected by the queue's `limits_lock`.
    limits: UnsafeCell<Limits>,
    /// The disk was marked dead: its size stays 0.
    dead: AtomicBool,
    data: Arc<QueueData<T>>,
    set: Arc<TagSet<T>>,
}

// SAFETY: A `gendisk` has no affinity to a thread; the data is `Send` and `Sync`.
unsafe impl<T: Operations> Send for Inner<T> {}

// SAFETY: The methods only call C functions that may run concurrently; a lock protects `limits`.
unsafe impl<T: Operations> Sync for Inner<T> {}

impl<T: Operations> Inner<T> {
    /// Removes the disk from the system; does nothing the second time. If user space still has the
    /// disk open, its requests fail.
    fn remove(&self) {
        let gate = self.set.gate.lock();
        self.data.leaving.store(true, Ordering::Relaxed);
        drop(gate);
        self.thaw();
        if self.added.swap(false, Ordering::Relaxed) {
            // SAFETY: By the type invariant the disk is valid and added, and this is done once.
            unsafe {
                bindings::del_gendisk(self.disk.as_ptr());
                // A CPU that passed a request to `queue_rq` may still be in `queue_rq` after the
                // request has ended, or continue to `commit_rqs`, or iterate over the set's queues:
                // only RCU keeps `data` and the hardware queues alive for these.
                bindings::synchronize_rcu();
            }
            self.removed.store(true, Ordering::Relaxed);
        }
    }

    fn queue(&self) -> *mut bindings::request_queue {
        // SAFETY: By the type invariant the disk is valid.
        unsafe { (*self.disk.as_ptr()).queue }
    }

    /// Whether a disk or partition has the name of this disk, which isn't added yet.
    fn name_is_taken(&self) -> bool {
        // SAFETY: By the type invariant the disk is valid, and so is its whole-disk device, whose
        // class is that of all block devices. The name ends with a null. The reference to a device
        // that is found is dropped.
        unsafe {
            let disk = self.disk.as_ptr();
            let class = (*(*disk).part0).bd_device.class;
            let found = bindings::class_find_device(
                class,
                core::ptr::null(),
                (&raw const (*disk).disk_name).cast(),
                Some(bindings::device_match_name),
            );
            if !found.is_null() {
                bindings::put_device(found);
            }
            !found.is_null()
        }
    }

    fn is_idle_within(&self, timeout_ms: u32) -> bool {
        let jiffies = kernel::time::msecs_to_jiffies(timeout_ms);
        // SAFETY: The queue is valid while the disk is.
        unsafe { bindings::blk_mq_freeze_queue_wait_timeout(self.queue(), jiffies) > 0 }
    }

    fn freeze(&self) {
        let _gate = self.set.gate.lock();
        if !self.data.leaving.load(Ordering::Relaxed)
            && !self.data.frozen.swap(true, Ordering::Relaxed)
        {
            // SAFETY: The queue is valid while the disk is.
            unsafe { bindings::blk_freeze_queue_start_non_owner(self.queue()) };
        }
    }

    fn thaw(&self) {
        let _gate = self.set.gate.lock();
        if self.data.frozen.swap(false, Ordering::Relaxed) {
            // SAFETY: The queue is valid while the disk is, and was frozen.
            unsafe { bindings::blk_mq_unfreeze_queue_non_owner(self.queue()) };
        }
    }
}

impl<T: Operations> Drop for Inner<T> {
    fn drop(&mut self) {
        self.remove();
        if !self.removed.load(Ordering::Relaxed) {
            // The queue is in the set although the disk wasn't added, and must leave the set now:
            // if adding the disk failed, other contexts may have a reference to it, and drop the
            // last one later.
            let gate = self.set.gate.lock();
            self.data.joined.store(false, Ordering::Relaxed);
            drop(gate);
            // SAFETY: By the type invariant the disk and its queue are valid. The disk was not
            // added, so no other context removes the queue from the set. This context may sleep.
            unsafe {
                let state = (&raw mut (*self.disk.as_ptr()).state).cast::<usize>();
                AtomicUsize::from_ptr(state)
                    .fetch_and(!(1 << bindings::GD_OWNS_QUEUE), Ordering::Relaxed);
                bindings::blk_mq_destroy_queue(self.queue());
                bindings::synchronize_rcu();
            }
        }
        // SAFETY: By the type invariant the disk is valid; this drops the reference to it.
        unsafe { bindings::put_disk(self.disk.as_ptr()) };
    }
}

/// When dropped, removes a disk from the system.
struct Remove<T: Operations> {
    inner: Arc<Inner<T>>,
    /// The parent, if it isn't the bound device. Dropped after the disk is removed.
    _parent: Option<Arc<Registered>>,
}

impl<T: Operations> Drop for Remove<T> {
    fn drop(&mut self) {
        self.inner.remove();
    }
}

/// `struct hd_geometry` of `include/uapi/linux/hdreg.h`, which the bindings lack. It is ABI, so it
/// doesn't change.
#[repr(C)]
struct HdGeometry {
    heads: u8,
    sectors: u8,
    cylinders: u16,
    start: c_ulong,
}

/// Answers HDIO_GETGEO with a fake geometry, which old partition tables and tools need.
///
/// # Safety
///
/// The block layer calls this, with a disk that is open, and a `struct hd_geometry` to fill in.
unsafe extern "C" fn getgeo(
    disk: *mut bindings::gendisk,
    geo: *mut bindings::hd_geometry,
) -> c_int {
    let geo = geo.cast::<HdGeometry>();

    // SAFETY: The caller promises a valid disk, and a `struct hd_geometry` to fill in. The caller
    // sets `start`.
    unsafe {
        (*geo).heads = 64;
        (*geo).sectors = 32;
        // A cylinder is a MiB. The field has only 16 bits, so it wraps for large disks.
        (*geo).cylinders = ((*(*disk).part0).bd_nr_sectors >> 11) as u16;
    }
    0
}

/// Tells another part of the kernel, such as the pNFS server, the disk's unique identifier of kind
/// `kind`; returns its length.
///
/// # Safety
///
/// The block layer's users call this, with a disk of `T` that is open, and an array of 16 bytes to
/// fill in.
unsafe extern "C" fn get_unique_id<T: Operations>(
    disk: *mut bindings::gendisk,
    id: *mut u8,
    kind: bindings::blk_unique_id,
) -> c_int {
    if kind != bindings::blk_unique_id_BLK_UID_EUI64 {
        return EINVAL.to_errno();
    }
    // SAFETY: The caller promises a disk of `T` that is open, so it was added and stays valid, and an
    // array of 16 bytes.
    let (disk, id) = unsafe {
        (
            OpenDisk::<T>::new(NonNull::new_unchecked((*disk).part0)),
            &mut *id.cast::<[u8; 16]>(),
        )
    };
    let told = disk.with(|data| {
        let known = T::eui64(data).filter(|known| !known.is_empty());
        let known = known.ok_or(EINVAL)?;
        let to = id.get_mut(..known.len()).ok_or(EINVAL)?;
        to.copy_from_slice(known);
        Ok(known.len() as c_int)
    });
    told.unwrap_or_else(|error| error.to_errno())
}

/// A disk that isn't added to the system yet. Its queue already belongs to the set.
///
/// # Examples
///
/// ```
/// use abstractions::block::mq::{GenDisk, GenDiskBuilder, Limits};
/// # my_driver!();
/// # let set = my_set!(dev);
///
/// let limits = Limits {
///     logical_block_size: 4096,
///     max_bytes: 1 << 20,
///     max_segments: 64,
///     ..Limits::default()
/// };
/// // `add` reads the partition table, unless the disk has no sectors.
/// let disk = GenDiskBuilder::new(set, fmt!("mydisk{}", 0), limits, 0, 7)?;
/// let disk: GenDisk<MyDriver> = disk.add(dev)?;
///
/// // The kernel has requests of a page.
/// let limits = Limits { max_bytes: Limits::MIN_BYTES - 512, ..limits };
/// assert_eq!(disk.set_limits(limits), Err(EINVAL));
/// ```
pub struct GenDiskBuilder<T: Operations>(Inner<T>);

impl<T: Operations> GenDiskBuilder<T> {
    const FOPS: &'static bindings::block_device_operations = &bindings::block_device_operations {
        ioctl: match T::IOCTL {
            Some(_) => Some(passthrough::ioctl::<T>),
            None => None,
        },
        compat_ioctl: match T::IOCTL {
            Some(_) => Some(passthrough::compat_ioctl::<T>),
            None => None,
        },
        getgeo: Some(getgeo),
        get_unique_id: Some(get_unique_id::<T>),
        pr_ops: Reservations::<T>::PR_OPS,
        owner: crate::abstractions::series::owner!(T::Module),
        // SAFETY: All-zero is a valid value: null pointers and no functions.
        ..unsafe { core::mem::zeroed() }
    };

    /// Creates a disk of `sectors` units of 512 bytes on the queues of `set`.
    ///
    /// May sleep, and may wait for requests of another disk of the set.
    ///
    /// # Errors
    ///
    /// `EINVAL` for invalid limits or a name of 32 characters or more, `ENOMEM`.
    pub fn new(
        set: Arc<TagSet<T>>,
        name: fmt::Arguments<'_>,
        limits: Limits,
        sectors: u64,
        data: T::GenDiskData,
    ) -> Result<Self> {
        limits.check()?;
        let mut raw_limits = bindings::queue_limits {
            max_user_discard_sectors: u32::MAX,
            max_user_wzeroes_unmap_sectors: u32::MAX,
            ..Default::default()
        };
        limits.put(&set, &mut raw_limits);
        let name = CString::try_from_fmt(name)?;
        let name = name.to_bytes_with_nul();
        if name.len() > bindings::DISK_NAME_LEN as usize {
            return Err(EINVAL);
        }
        set.reserve().fit(limits.max_segments)?;
        let data = set.queue_data(data)?;

        // SAFETY: The set is allocated and outlives the disk, which holds a reference; the limits
        // are valid; the lock class is static.
        let disk = from_err_ptr(unsafe {
            bindings::__blk_mq_alloc_disk(
                set.raw(),
                &mut raw_limits,
                Arc::as_ptr(&data).cast_mut().cast(),
                static_lock_class!().as_ptr(),
            )
        })
        .inspect_err(|_| {
            // The queue may have been in the set for a moment, where other contexts find `data`.
            // SAFETY: This context may sleep.
            unsafe { bindings::synchronize_rcu() };
        })?;

        // SAFETY: Only this context has the disk until it is added. The name was checked to fit.
        unsafe {
            (&mut (*disk).disk_name)[..name.len()].copy_from_slice(name);
            (*disk).fops = Self::FOPS;
            bindings::set_capacity(disk, sectors);
            bindings::set_disk_ro(disk, limits.read_only);
        }
        let gate = set.gate.lock();
        data.joined.store(true, Ordering::Relaxed);
        drop(gate);
        Ok(Self(Inner {
            // INVARIANT: The disk was allocated above in `set`, with `data`, and isn't added.
            disk: NonNull::new(disk).ok_or(ENOMEM)?,
            added: AtomicBool::new(false),
            removed: AtomicBool::new(false),
            limits: UnsafeCell::new(limits),
            dead: AtomicBool::new(false),
            data,
            set,
        }))
    }

    /// Adds the disk to the system, as a child of `parent`. Reads the partition table, so this may
    /// sleep as long as requests take.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `parent` isn't the set's device, because the disk must be removed when that
    /// device is unbound. `EEXIST` for a name in use, `ENOMEM`. The kernel warns only if another
    /// driver takes the name during this call.
    #[allow(clippy::should_implement_trait)]
    pub fn add(self, parent: &device::Device<Bound>) -> Result<GenDisk<T>> {
        self.add_groups(parent, None, &[core::ptr::null()])
    }

    /// Adds the disk as [`add`](Self::add), with the files of `F` in its directory.
    ///
    /// # Errors
    ///
    /// Those of [`add`](Self::add).
    pub fn add_with_files<F: DiskFiles<T>>(
        self,
        parent: &device::Device<Bound>,
    ) -> Result<GenDisk<T>> {
        self.add_groups(parent, None, Groups::<T, F>::GROUPS)
    }

    /// Adds the disk as [`add_with_files`](Self::add_with_files), but as a child of `parent`, which is
    /// a child of `dev`. The disk keeps the device `parent` in sysfs, so the removal of the disk may wait
    /// for readers and writers of the disk's own files and of `parent`'s.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the device `parent` was removed, `EINVAL` if it isn't below `dev`; those of
    /// [`add`](Self::add).
    ///
    /// # Examples
    ///
    /// ```
    /// use abstractions::{
    ///     block::mq::{DiskFile, DiskFiles, GenDiskBuilder, Limits},
    ///     chrdev::{Class, Registration},
    /// };
    /// use kernel::sync::Arc;
    /// # my_driver!();
    /// # my_device!(DEVICES);
    /// # static DEVICES: Class<MyDevice> = Class::new();
    /// # let class = DEVICES.register(c"my_class")?;
    /// # let set = my_set!(dev);
    ///
    /// struct NoFiles;
    ///
    /// impl DiskFiles<MyDriver> for NoFiles {
    ///     const FILES: &'static [DiskFile<MyDriver>] = &[];
    /// }
    ///
    /// let shown = Arc::new((), GFP_KERNEL)?;
    /// let device = Registration::new(dev, fmt!("my0"), MyDevice(7), &[], shown)?;
    /// let parent = device.device().as_parent();
    /// // /sys/class/my_class/my0/mydisk0
    /// let limits = Limits { max_segments: 64, ..Limits::default() };
    /// let disk = GenDiskBuilder::new(set, fmt!("mydisk0"), limits, 0, 7)?;
    /// let disk = disk.add_below::<NoFiles>(dev, &parent)?;
    ///
    /// // The device's directory stays until its last disk is gone; then it can be no parent.
    /// drop(device);
    /// drop(disk);
    /// # let set = my_set!(dev);
    /// let disk = GenDiskBuilder::new(set, fmt!("mydisk0"), limits, 0, 7)?;
    /// assert!(disk.add_below::<NoFiles>(dev, &parent).is_err());
    /// ```
    pub fn add_below<F: DiskFiles<T>>(
        self,
        dev: &device::Device<Bound>,
        parent: &Parent,
    ) -> Result<GenDisk<T>> {
        let parent = parent.below(dev)?;
        self.add_groups(dev, Some(parent), Groups::<T, F>::GROUPS)
    }

    /// `groups` ends with a null pointer. The parent is `between`, which is below `dev`, or `dev`.
    fn add_groups(
        self,
        dev: &device::Device<Bound>,
        between: Option<Arc<Registered>>,
        groups: &'static [*const bindings::attribute_group],
    ) -> Result<GenDisk<T>> {
        if dma::raw(dev) != self.0.set.dma_device() {
            return Err(EINVAL);
        }
        if self.0.name_is_taken() {
            return Err(EEXIST);
        }
        let inner = Arc::new(self.0, GFP_KERNEL)?;
        let parent = match &between {
            Some(between) => between.raw(),
            None => dma::raw(dev),
        };
        // SAFETY: By the type invariant the disk is valid, and was not added. All callers pass static
        // groups that end with a null pointer; the function doesn't write to them. `Remove` keeps the
        // parent registered until it has removed the disk; a bound device is registered.
        to_result(unsafe {
            bindings::device_add_disk(parent, inner.disk.as_ptr(), groups.as_ptr().cast_mut())
        })?;
        inner.added.store(true, Ordering::Relaxed);
        // If this fails, it drops `Remove`, which removes the disk again.
        let remove = Remove {
            inner: inner.clone(),
            _parent: between,
        };
        let remove = Devres::new(dev, Ok::<_, Error>(remove))?;
        // INVARIANT: The disk was added above.
        let disk = Disk(inner);
        Ok(GenDisk {
            _remove: remove,
            disk,
        })
    }
}

/// A disk: `struct gendisk`, added to the system.
///
/// Dropping it removes the disk from the system: notifies file systems, waits for requests in
/// flight, and fails later requests. May sleep. An open file of the disk stays valid, but its I/O
/// fails. Unbinding the parent removes a disk that still exists or was leaked.
///
/// # Invariants
///
/// The disk was added.
///
/// # Examples
///
/// ```
/// use abstractions::block::mq::GenDisk;
/// # my_driver!();
/// # let disk: GenDisk<MyDriver> = my_disk!(dev);
///
/// let shared = disk.share();
/// assert!(shared.hold().is_some());
/// // Others that have the disk don't keep it in the system.
/// drop(disk);
/// assert!(shared.hold().is_none());
/// shared.mark_dead();
/// ```
pub struct GenDisk<T: Operations> {
    /// Dropping this removes the disk, and waits for that.
    _remove: Devres<Remove<T>>,
    disk: Disk<T>,
}

impl<T: Operations> GenDisk<T> {
    /// The disk, for a context that uses it while another may remove it.
    pub fn share(&self) -> Disk<T> {
        // INVARIANT: A `GenDisk` was added.
        Disk(self.disk.0.clone())
    }
}

impl<T: Operations> Deref for GenDisk<T> {
    type Target = Disk<T>;

    fn deref(&self) -> &Disk<T> {
        &self.disk
    }
}

/// A share of a disk that its [`GenDisk`], or the unbinding of the parent, may remove meanwhile.
/// Dropping this never removes the disk, so it doesn't wait for requests; it may sleep. The methods
/// may be called after the removal.
///
/// # Invariants
///
/// The disk was added.
///
/// # Examples
///
/// ```
/// use abstractions::block::mq::{Disk, DiskRef, Limits};
/// # my_driver!();
/// # let owner = my_disk!(dev);
///
/// let disk: Disk<MyDriver> = owner.share();
///
/// // The device reports another size and other limits.
/// disk.set_limits(Limits { max_bytes: 65536, max_segments: 16, ..Limits::default() })?;
/// assert!(disk.set_limits(Limits::default()).is_err());
/// disk.set_capacity(2048);
/// assert_eq!(disk.capacity(), 2048);
///
/// // Requests take no longer than 5 s.
/// disk.set_time_limit(5000);
///
/// // Wait for the requests in flight, up to 5 s; new requests wait until `thaw`.
/// disk.freeze();
/// if !disk.is_idle_within(5000) {
///     pr_err!("disk {}: requests are left\n", disk.data());
/// }
/// disk.thaw();
///
/// // As long as the result exists, `thaw` lets no request in.
/// assert!(disk.hold().is_some());
///
/// // The device was unplugged.
/// disk.mark_dead();
/// assert_eq!(disk.capacity(), 0);
///
/// // For passthrough requests.
/// let _reference: DiskRef<MyDriver> = disk.reference();
/// ```
pub struct Disk<T: Operations>(Arc<Inner<T>>);

impl<T: Operations> Disk<T> {
    /// The driver's data of the disk.
    pub fn data(&self) -> &T::GenDiskData {
        &self.0.data.disk
    }

    /// Fails all later requests, and notifies file systems that the disk is gone: for a surprise
    /// removal. May sleep.
    pub fn mark_dead(&self) {
        self.0.dead.store(true, Ordering::Relaxed);
        // Between the flag and the size; pairs with the fence in `set_capacity`. As `smp_mb()`.
        fence(Ordering::SeqCst);
        // SAFETY: The disk is valid, and was added.
        unsafe { bindings::blk_mark_disk_dead(self.0.disk.as_ptr()) };
    }

    /// The disk's size, in units of 512 bytes.
    pub fn capacity(&self) -> u64 {
        // SAFETY: By the type invariant the disk is valid, and so is its whole-disk device. As
        // `bdev_nr_sectors()`.
        unsafe { (*(*self.0.disk.as_ptr()).part0).bd_nr_sectors }
    }

    /// Changes the disk's size, in units of 512 bytes, and notifies user space. Has no effect on a
    /// dead disk. May sleep.
    pub fn set_capacity(&self, sectors: u64) {
        let disk = self.0.disk.as_ptr();
        if self.0.dead.load(Ordering::Relaxed) {
            return;
        }
        // SAFETY: The disk is valid, and was added.
        unsafe { bindings::set_capacity_and_notify(disk, sectors) };
        // Without a lock, because `mark_dead` must not wait for memory. Either this sees the flag,
        // or `mark_dead` sets the size to 0 after the call above. The fence, as `smp_mb()`, pairs with
        // that in `mark_dead`.
        fence(Ordering::SeqCst);
        if self.0.dead.load(Ordering::Relaxed) {
            // SAFETY: The disk is valid, and was added.
            unsafe { bindings::set_capacity(disk, 0) };
        }
    }

    /// Changes the disk's limits, except its logical block size. If anything changes, waits for all
    /// requests in flight, so the caller must hold no lock that ending them needs. Sleeps.
    ///
    /// # Errors
    ///
    /// `EINVAL` for invalid limits; then the old limits stay.
    pub fn set_limits(&self, limits: Limits) -> Result {
        let queue = self.0.queue();
        limits.check()?;
        self.0.set.reserve().fit(limits.max_segments)?;

        // SAFETY: By the type invariant the disk and its queue are valid. `limits_lock` is taken as
        // in `queue_limits_start_update()`; queue_limits_commit_update_frozen() releases it. It
        // also protects `limits`.
        unsafe {
            bindings::mutex_lock(&raw mut (*queue).limits_lock);
            let old = self.0.limits.get();
            if *old == limits {
                // An update would reset the administrator's read-ahead to the default.
                bindings::mutex_unlock(&raw mut (*queue).limits_lock);
                return Ok(());
            }
            let mut raw = (*queue).limits;
            let block = raw.logical_block_size;
            limits.put(&self.0.set, &mut raw);
            raw.logical_block_size = block;
            if let Err(error) = to_result(bindings::blk_validate_limits(&mut raw)) {
                bindings::mutex_unlock(&raw mut (*queue).limits_lock);
                return Err(error);
            }
            *old = limits;
            to_result(bindings::queue_limits_commit_update_frozen(queue, &mut raw))?;
            bindings::set_disk_ro(self.0.disk.as_ptr(), limits.read_only);
        }
        Ok(())
    }

    /// Sets the time limit of requests that have none of their own, in milliseconds: of those that
    /// begin from now on. Until then it is that of the tag set. Any context.
    pub fn set_time_limit(&self, ms: u32) {
        // CAST: The largest limits become shorter than asked for, which harms nothing.
        let jiffies = kernel::time::msecs_to_jiffies(ms).max(1) as c_uint;
        // SAFETY: By the type invariant the disk and its queue are valid. The function is one store,
        // which may be made at any time.
        unsafe { bindings::blk_queue_rq_timeout(self.0.queue(), jiffies) };
    }

    /// Freezes the queue: submitters of new requests wait until [`thaw`](Self::thaw). Requests in
    /// flight continue. May sleep.
    pub fn freeze(&self) {
        self.0.freeze();
    }

    /// Waits until no request is in flight, `timeout_ms` milliseconds at most; `false` if requests
    /// are left. Call this after [`freeze`](Self::freeze). Sleeps.
    pub fn is_idle_within(&self, timeout_ms: u32) -> bool {
        self.0.is_idle_within(timeout_ms)
    }

    /// Freezes the queue until the result is dropped, whatever [`freeze`](Self::freeze) and
    /// [`thaw`](Self::thaw) do meanwhile; `None` if the disk is being removed. The removal of the
    /// disk may wait for writes, and so for the end of this. May sleep.
    pub fn hold(&self) -> Option<Held<T>> {
        let _gate = self.0.set.gate.lock();
        if self.0.data.leaving.load(Ordering::Relaxed) {
            return None;
        }
        // SAFETY: The queue is valid while the disk is.
        unsafe { bindings::blk_freeze_queue_start_non_owner(self.0.queue()) };
        // INVARIANT: The queue was frozen above.
        Some(Held(self.0.clone()))
    }

    /// Undoes [`freeze`](Self::freeze).
    pub fn thaw(&self) {
        self.0.thaw();
    }

    /// A reference to the disk, for passthrough requests.
    pub fn reference(&self) -> DiskRef<T> {
        // SAFETY: By the type invariants the disk was added, and is valid while `self` is borrowed.
        unsafe { DiskRef::new(self.0.disk) }
    }
}

/// A reference to a disk that may be removed meanwhile: for a character device beside the disk, by
/// which user space sends passthrough requests. It doesn't keep the disk's set or the driver's data.
///
/// # Invariants
///
/// `disk` is a disk of `T` that was added; this value holds a reference to its device, which keeps
/// its queue.
///
/// # Examples
///
/// ```
/// use abstractions::block::mq::DiskRef;
/// # my_driver!();
/// # let disk: abstractions::block::mq::GenDisk<MyDriver> = my_disk!(dev);
///
/// let first: DiskRef<MyDriver> = disk.reference();
/// let second = first.clone();
/// assert_eq!(first.open().with(|number| Ok(*number))?, 7);
///
/// // A reference doesn't keep the data of a disk that was removed.
/// drop(disk);
/// assert_eq!(second.open().with(|number| Ok(*number)), Err(ENODEV));
/// ```
pub struct DiskRef<T: Operations> {
    disk: NonNull<bindings::gendisk>,
    _set: PhantomData<fn(T)>,
}

// SAFETY: A `gendisk` has no affinity to a thread.
unsafe impl<T: Operations> Send for DiskRef<T> {}

// SAFETY: The methods only call C functions that may run concurrently.
unsafe impl<T: Operations> Sync for DiskRef<T> {}

impl<T: Operations> DiskRef<T> {
    /// # Safety
    ///
    /// `disk` must be a disk of `T` that was added, and valid while this runs.
    unsafe fn new(disk: NonNull<bindings::gendisk>) -> Self {
        // SAFETY: The caller promises a valid disk, so its whole-disk device is valid.
        unsafe { bindings::get_device(&raw mut (*(*disk.as_ptr()).part0).bd_device) };
        // INVARIANT: The reference was taken above; the caller promises the rest.
        Self {
            disk,
            _set: PhantomData,
        }
    }

    /// The whole disk.
    pub fn open(&self) -> OpenDisk<'_, T> {
        // SAFETY: By the type invariant the disk was added, and it and its whole-disk device are valid
        // while `self` is borrowed.
        unsafe { OpenDisk::new(NonNull::new_unchecked((*self.disk.as_ptr()).part0)) }
    }

    /// The disk's queue.
    pub(super) fn queue(&self) -> *mut bindings::request_queue {
        // SAFETY: By the type invariant the disk is valid.
        unsafe { (*self.disk.as_ptr()).queue }
    }
}

impl<T: Operations> Clone for DiskRef<T> {
    fn clone(&self) -> Self {
        // SAFETY: By the type invariant the disk was added, and is valid while `self` is borrowed.
        unsafe { Self::new(self.disk) }
    }
}

impl<T: Operations> Drop for DiskRef<T> {
    /// May sleep.
    fn drop(&mut self) {
        // SAFETY: By the type invariant this value holds a reference, and it isn't used after this.
        unsafe { bindings::put_device(&raw mut (*(*self.disk.as_ptr()).part0).bd_device) };
    }
}

/// A disk whose queue is frozen until this is dropped.
///
/// # Invariants
///
/// The queue was frozen once for this value.
///
/// # Examples
///
/// ```
/// use abstractions::block::mq::Held;
/// # my_driver!();
/// # let disk: abstractions::block::mq::GenDisk<MyDriver> = my_disk!(dev);
///
/// // Run a command that must be the only one.
/// let held: Held<MyDriver> = disk.hold().ok_or(ENODEV)?;
/// if !held.is_idle_within(30_000) {
///     return Err(EBUSY);
/// }
/// // Send the command here. `freeze` and `thaw` let no request in meanwhile.
/// disk.freeze();
/// disk.thaw();
/// // Requests continue.
/// drop(held);
/// ```
pub struct Held<T: Operations>(Arc<Inner<T>>);

impl<T: Operations> Held<T> {
    /// Waits until no request is in flight, `timeout_ms` milliseconds at most; `false` if requests
    /// are left. Sleeps.
    pub fn is_idle_within(&self, timeout_ms: u32) -> bool {
        self.0.is_idle_within(timeout_ms)
    }
}

impl<T: Operations> Drop for Held<T> {
    fn drop(&mut self) {
        // SAFETY: The queue is valid while the disk is. By the type invariant it was frozen for
        // this value, and this undoes that once.
        unsafe { bindings::blk_mq_unfreeze_queue_non_owner(self.0.queue()) };
    }
}
