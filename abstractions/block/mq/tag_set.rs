// SPDX-License-Identifier: GPL-2.0

//! The tag set and hardware queues that a device's disks share, and the callbacks from blk-mq.

use super::{
    dma_map_iter,
    request::{
        add_tail,
        IdleRequest,
        IoCompletionBatch,
        Op,
        Pdu,
        Request,
        RequestRef,
        Tag,
        NO_REQUESTS, //
        RQF_IO_STAT,
    },
    Operations, //
};
use crate::abstractions::{
    atomic::{
        AtomicBool,
        AtomicU32,
        Ordering, //
    },
    dma,
    sync::without_reclaim, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    container_of,
    cpu::nr_cpu_ids,
    device::{
        self,
        Bound, //
    },
    error::to_result,
    prelude::*,
    sync::{
        aref::ARef,
        new_mutex,
        rcu,
        Arc,
        Mutex, //
    },
    types::Opaque, //
};

/// Hardware queues of one kind, and how CPUs are mapped to them.
///
/// # Examples
///
/// ```
/// use abstractions::block::mq::QueueSet;
///
/// // Vector 0 is for errors; there is a queue for each of the vectors 1 to 4. No queue has an
/// // interrupt of its own for reads, and two are polled.
/// let sets = [
///     QueueSet { queues: 4, first_vector: Some(1) },
///     QueueSet::default(),
///     QueueSet { queues: 2, first_vector: None },
/// ];
/// ```
#[derive(Clone, Copy, Default)]
pub struct QueueSet {
    /// The number of queues.
    pub queues: u32,
    /// The interrupt vector of the first queue; queues serve the CPUs in their vectors' affinity.
    /// If `None`, the CPUs are spread evenly.
    pub first_vector: Option<u32>,
}

impl QueueSet {
    /// The number of each CPU's queue within the set; nothing if the set is empty. May sleep.
    fn homes(&self, dev: &device::Device<Bound>) -> Result<KVec<u32>> {
        if self.queues == 0 {
            return Ok(KVec::new());
        }
        let mut homes = KVec::from_elem(0, nr_cpu_ids() as usize, GFP_KERNEL)?;
        let mut map = bindings::blk_mq_queue_map {
            mq_map: homes.as_mut_ptr(),
            nr_queues: self.queues,
            queue_offset: 0,
        };
        // SAFETY: The map has an entry for each CPU. The device is valid, and bound.
        unsafe {
            match self.first_vector {
                Some(vector) => bindings::blk_mq_map_hw_queues(&mut map, dma::raw(dev), vector),
                None => bindings::blk_mq_map_queues(&mut map),
            }
        }
        Ok(homes)
    }
}

/// How to continue with a request that timed out.
///
/// # Examples
///
/// ```no_run
/// use abstractions::block::mq::{InFlight, Operations, RequestTimeoutStatus, Status, Tag};
///
/// /// Fails a request that has timed out, unless it has completed meanwhile.
/// fn fail<T: Operations>(requests: &InFlight<T>, tag: Tag) -> RequestTimeoutStatus {
///     if let Some(rq) = requests.take_tag(tag) {
///         rq.end(Status::Timeout);
///     }
///     RequestTimeoutStatus::Completed
/// }
///
/// /// Waits on, if the device is being reset.
/// fn wait() -> RequestTimeoutStatus {
///     RequestTimeoutStatus::RetryLater
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum RequestTimeoutStatus {
    /// The request has ended, or will end soon.
    Completed,
    /// Give the request another time-out period.
    RetryLater,
}

/// Proof that the disks of a set are frozen, and have no requests.
///
/// # Examples
///
/// ```no_run
/// use abstractions::block::mq::{Frozen, InFlight, Operations};
///
/// /// For `Operations::remapped`.
/// fn remapped<T: Operations>(tables: &[InFlight<T>], frozen: &Frozen<'_>) {
///     for table in tables {
///         table.forget_tags(frozen);
///     }
/// }
/// ```
pub struct Frozen<'a> {
    tags: &'a [*mut bindings::blk_mq_tags],
}

impl Frozen<'_> {
    /// Whether `tags` belong to the set.
    /// `tags` is an address.
    pub(super) fn owns(&self, tags: usize) -> bool {
        tags != 0 && self.tags.iter().any(|of_queue| of_queue.addr() == tags)
    }
}

/// A set of tags and hardware queues: `struct blk_mq_tag_set`.
///
/// # Invariants
///
/// `raw` is an allocated tag set whose `driver_data` points to this value.
///
/// # Examples
///
/// ```
/// use abstractions::block::mq::{QueueSet, TagSet};
/// use kernel::sync::Arc;
/// # my_driver!();
///
/// let one = QueueSet { queues: 1, first_vector: None };
/// // A queue for writes, and one for reads.
/// let sets = [one, one, QueueSet::default()];
/// let set: Arc<TagSet<MyDriver>> = TagSet::new(dev, (), sets, 64, 30_000)?;
///
/// // The device gets no requests during its reset. It may have fewer queues then.
/// set.quiesce();
/// set.unquiesce();
/// set.set_queues(1)?;
/// assert_eq!(set.queues(), 1);
///
/// // There is no disk, so there is no request.
/// let mut started = 0;
/// set.each_started(|_queue, _start_time| started += 1)?;
/// assert_eq!(started, 0);
/// ```
#[pin_data(PinnedDrop)]
pub struct TagSet<T: Operations> {
    #[pin]
    raw: Opaque<bindings::blk_mq_tag_set>,
    dev: ARef<device::Device>,
    data: T::TagSetData,
    queue_sets: [QueueSet; 3],
    /// For each set, the number of each CPU's queue within it, while all queues exist. From the
    /// set's creation on, because `map_queues` runs while the disks are frozen: memory that it
    /// waited for, or a lock that others hold then, might wait for the disks.
    homes: [KVec<u32>; 3],
    /// The number of hardware queues at the last call of `map_queues`.
    mapped: AtomicU32,
    can_walk: bool,
    skip_flag: c_ulong,
    page_base: usize,
    time_limit: u64,
    #[pin]
    reserve: dma_map_iter::Reserve,
    /// The largest cheap DMA mapping, in bytes, and whether the device supports P2PDMA. Cached,
    /// because a disk may be created (but not added) after the device is unbound.
    pub(super) optimal: usize,
    pub(super) peers: bool,
    /// Held while quiescing, unquiescing, freezing or thawing queues.
    #[pin]
    pub(super) gate: Mutex<()>,
}

/// The data of a disk's queue (`queuedata`). It exists before the queue joins its set, and until an
/// RCU grace period after the queue has left the set.
// `repr(C)`: `disk`, which each request uses, is at offset 0, which saves an addition.
#[repr(C)]
pub(super) struct QueueData<T: Operations> {
    pub(super) disk: T::GenDiskData,
    /// The data of each hardware queue of the set.
    hw: KVec<Arc<T::HwData>>,
    /// The queue is initialised, and belongs to the set. [`TagSet::gate`] protects this and the
    /// next fields.
    pub(super) joined: AtomicBool,
    /// The set's [`quiesce`](TagSet::quiesce) has quiesced the queue.
    held: AtomicBool,
    /// The disk's `freeze` has frozen the queue.
    pub(super) frozen: AtomicBool,
    /// The disk is being removed: the queue must not be frozen again.
    pub(super) leaving: AtomicBool,
}

// SAFETY: The C set has no affinity to a thread; `TagSetData` is `Send` and `Sync`.
unsafe impl<T: Operations> Send for TagSet<T> {}

// SAFETY: The C set has its own locks, and `gate` orders the methods that need it; `TagSetData` is
// `Send` and `Sync`.
unsafe impl<T: Operations> Sync for TagSet<T> {}

impl<T: Operations> TagSet<T> {
    /// Allocates the tags and requests.
    ///
    /// `queue_sets` are the default, read and poll queues, numbered in that order; if a set is
    /// empty, the default queues serve its requests. Each queue takes `depth` requests at once; a
    /// request times out after `timeout_ms` milliseconds. `dev` is the device that does DMA. If
    /// `dev` can't do DMA, for example on the faux bus, the driver must copy requests' data by
    /// `source` and `dest`, and map nothing.
    ///
    /// # Errors
    ///
    /// `EINVAL` for no default queue, a depth of 0, or more queues than CPUs with only one set;
    /// `ENOMEM`. May sleep.
    pub fn new(
        dev: &device::Device<Bound>,
        data: T::TagSetData,
        queue_sets: [QueueSet; 3],
        depth: u16,
        timeout_ms: u32,
    ) -> Result<Arc<Self>> {
        let queues = queue_sets
            .iter()
            .try_fold(0u32, |sum, set| sum.checked_add(set.queues))
            .ok_or(EINVAL)?;
        if queue_sets[0].queues == 0 || depth == 0 {
            return Err(EINVAL);
        }
        let nr_maps = match queue_sets {
            [_, _, poll] if poll.queues > 0 => 3,
            [_, read, _] if read.queues > 0 => 2,
            _ => 1,
        };

        // blk-mq would create fewer queues, and `map_queues` would map CPUs to missing queues.
        if nr_maps == 1 && queues > nr_cpu_ids() {
            return Err(EINVAL);
        }

        let can_walk = dma_map_iter::can_walk(dev);
        let skip_flag = dma_map_iter::skip_flag(dev);
        let page_base = dma_map_iter::page_base()?;
        let [default, read, poll] = queue_sets;
        let homes = [default.homes(dev)?, read.homes(dev)?, poll.homes(dev)?];
        let (optimal, peers) = match dma::is_capable(dev) {
            // SAFETY: The device is valid, and bound.
            true => unsafe {
                (
                    bindings::dma_opt_mapping_size(dma::raw(dev)),
                    bindings::dma_pci_p2pdma_supported(dma::raw(dev)),
                )
            },
            // No DMA, so there is no limit; the CPU can't copy P2PDMA memory.
            false => (usize::MAX, false),
        };

        Arc::pin_init(
            try_pin_init!(&this in Self {
                dev: dev.into(),
                data,
                queue_sets,
                homes,
                mapped: AtomicU32::new(0),
                can_walk,
                skip_flag,
                page_base,
                time_limit: u64::from(timeout_ms) * 1_000_000,
                reserve <- dma_map_iter::Reserve::new(),
                optimal,
                peers,
                gate <- new_mutex!(()),
                raw <- Opaque::try_ffi_init(|slot: *mut bindings::blk_mq_tag_set| {
                    // SAFETY: `slot` is valid for writes; the set is plain data until allocated.
                    unsafe {
                        slot.write_bytes(0, 1);
                        (*slot).ops = Self::OPS;
                        (*slot).nr_maps = nr_maps;
                        (*slot).nr_hw_queues = queues;
                        (*slot).queue_depth = depth.into();
                        (*slot).cmd_size = Pdu::<T>::SIZE;
                        (*slot).numa_node = dma::node(dev);
                        (*slot).timeout = kernel::time::msecs_to_jiffies(timeout_ms) as c_uint;
                        (*slot).driver_data = this.as_ptr().cast();
                    }
                    // SAFETY: All that the function reads is set; its callbacks (`map_queues`,
                    // `init_request`) only use the fields initialised above.
                    to_result(unsafe { bindings::blk_mq_alloc_tag_set(slot) })
                }),
            }),
            GFP_KERNEL,
        )
    }

    #[inline]
    pub(super) fn raw(&self) -> *mut bindings::blk_mq_tag_set {
        self.raw.get()
    }

    /// Creates the queue data of a disk of this set.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and those of [`Operations::init_hctx`].
    pub(super) fn queue_data(&self, disk: T::GenDiskData) -> Result<Arc<QueueData<T>>> {
        let queues = self.max_queues();
        let mut hw = KVec::with_capacity(queues as usize, GFP_KERNEL)?;

        for index in 0..queues {
            hw.push(T::init_hctx(&self.data, index)?, GFP_KERNEL)?;
        }
        Ok(Arc::new(
            QueueData {
                disk,
                hw,
                joined: AtomicBool::new(false),
                held: AtomicBool::new(false),
                frozen: AtomicBool::new(false),
                leaving: AtomicBool::new(false),
            },
            GFP_KERNEL,
        )?)
    }

    /// The number of queues that the set was created with.
    fn max_queues(&self) -> u32 {
        self.queue_sets.iter().map(|set| set.queues).sum()
    }

    /// About the memory of the requests of `queues` queues, in bytes.
    fn bytes_of(&self, queues: u32) -> usize {
        // SAFETY: By the type invariant the set is allocated; its depth doesn't change.
        let depth = unsafe { (*self.raw()).queue_depth } as usize;
        let request = core::mem::size_of::<bindings::request>() + Pdu::<T>::SIZE as usize;
        (queues as usize * depth).saturating_mul(request)
    }

    /// The number of hardware queues.
    pub fn queues(&self) -> u32 {
        // SAFETY: By the type invariant the set is allocated. Volatile, because `set_queues` may
        // change the number meanwhile.
        unsafe { (&raw const (*self.raw()).nr_hw_queues).read_volatile() }
    }

    /// Changes the number of hardware queues to the first `queues` of those that the set was
    /// created with. CPUs of the other queues are mapped to the rest: to queues of the same kind if
    /// there are any, or else to default queues, which [`Operations::poll`] is then called for,
    /// too.
    ///
    /// Waits for memory, then freezes all disks of the set, and waits for their requests, so the
    /// caller must hold no lock that ending them needs. While the disks are frozen, nothing waits
    /// for memory, because reclaim may depend on them. Sleeps.
    ///
    /// # Errors
    ///
    /// `EINVAL` for 0, or for more queues than the set was created with. `ENOMEM`; then the number
    /// doesn't change.
    pub fn set_queues(&self, queues: u32) -> Result {
        let count = c_int::try_from(queues)?;
        if queues == 0 || queues > self.max_queues() {
            return Err(EINVAL);
        }
        let now = self.queues();
        // What the new requests take is reclaimed here, so that they don't use up the reserves.
        drop(KVVec::<u8>::with_capacity(
            self.bytes_of(queues.saturating_sub(now)),
            GFP_KERNEL | __GFP_NOWARN,
        )?);
        if queues != now {
            // SAFETY: By the type invariant the set is allocated. `init_hctx` and `map_queues`
            // accept any number of queues up to that at the set's creation.
            without_reclaim(|| unsafe {
                bindings::blk_mq_update_nr_hw_queues(self.raw(), count);
            });
        }
        match self.queues() == queues {
            true => Ok(()),
            false => Err(ENOMEM),
        }
    }

    /// Calls `f` with each initialised queue of the set, and the queue's data. `f` must not sleep.
    fn each_queue(&self, f: impl Fn(*mut bindings::request_queue, &QueueData<T>)) {
        let _gate = self.gate.lock();
        let _guard = rcu::read_lock();

        // SAFETY: By the type invariant the set is allocated. Its list contains queues whose
        // `queuedata` is a `QueueData<T>` from `GenDiskBuilder`. The list is RCU-protected, and
        // queues and data stay valid while the RCU read lock is held.
        unsafe {
            let head = &raw mut (*self.raw()).tag_list;
            let mut at = (&raw const (*head).next).read_volatile();
            while at != head {
                let q = container_of!(at, bindings::request_queue, tag_set_list);
                let data = &*(*q).queuedata.cast::<QueueData<T>>();
                if data.joined.load(Ordering::Relaxed) {
                    f(q, data);
                }
                at = (&raw const (*at).next).read_volatile();
            }
        }
    }

    /// Calls `f` for each request that was started and hasn't ended, with the data of the request's
    /// hardware queue, and its [`start_time`](RequestRef::start_time). Requests may start and end
    /// meanwhile. The block layer frees a request that ends only after `f` has returned, so `f` should
    /// be short. Process context.
    ///
    /// # Errors
    ///
    /// `EAGAIN` while the number of hardware queues is changed, which waits for requests, or while a
    /// disk's scheduler is.
    pub fn each_started(&self, f: impl FnMut(&T::HwData, Option<u64>)) -> Result {
        /// # Safety
        ///
        /// blk-mq calls this, with a started request of a set of `T` that it holds a reference to;
        /// `f` must point to the closure, which nothing else uses meanwhile.
        unsafe extern "C" fn each<T: Operations, F: FnMut(&T::HwData, Option<u64>)>(
            rq: *mut bindings::request,
            f: *mut c_void,
        ) -> bool {
            // SAFETY: blk-mq frees the request, and leaves the queue of its disk, only after it has
            // put the reference, so tag and hardware queue exist. Volatile, because others may
            // change the flags meanwhile; the time was set before the request was started.
            let (hw, flags, start) = unsafe {
                (
                    TagSet::<T>::hw((*rq).mq_hctx),
                    (&raw const (*rq).rq_flags).read_volatile(),
                    (&raw const (*rq).start_time_ns).read_volatile(),
                )
            };
            // SAFETY: The caller promises it.
            let f = unsafe { &mut *f.cast::<F>() };
            f(hw, (flags & RQF_IO_STAT != 0).then_some(start));
            true
        }
        fn callback<T: Operations, F: FnMut(&T::HwData, Option<u64>)>(
            _: &F,
        ) -> bindings::busy_tag_iter_fn {
            Some(each::<T, F>)
        }

        let mut f = f;
        // `blk_mq_update_nr_hw_queues` frees the array of tags and hardware queues without regard
        // to readers, and holds this lock for that.
        // SAFETY: By the type invariant the set is allocated. The callback's conditions hold: the
        // set is one of `T`, and `f` is passed for nothing but this iteration.
        unsafe {
            let lock = &raw mut (*self.raw()).update_nr_hwq_lock;
            if bindings::down_read_trylock(lock) == 0 {
                return Err(EAGAIN);
            }
            let call = callback::<T, _>(&f);
            bindings::blk_mq_tagset_busy_iter(self.raw(), call, (&raw mut f).cast());
            bindings::up_read(lock);
        }
        Ok(())
    }

    /// Stops dispatching requests, and waits for running calls of [`Operations::queue_rq`]. Doesn't
    /// affect started requests, nor a disk that is created later. Calls don't nest. Process
    /// context; may sleep.
    pub fn quiesce(&self) {
        self.each_queue(|q, data| {
            if !data.held.swap(true, Ordering::Relaxed) {
                // SAFETY: The queue is valid.
                unsafe { bindings::blk_mq_quiesce_queue_nowait(q) };
            }
        });
        // SAFETY: By the type invariant the set is allocated.
        unsafe { bindings::blk_mq_wait_quiesce_done(self.raw()) };
    }

    /// Undoes [`quiesce`](Self::quiesce). Process context; may sleep.
    pub fn unquiesce(&self) {
        self.each_queue(|q, data| {
            // As `blk_mq_unquiesce_tagset`, except for queues that joined after the quiesce.
            if data.held.swap(false, Ordering::Relaxed) {
                // SAFETY: The queue is valid, and was quiesced.
                unsafe { bindings::blk_mq_unquiesce_queue(q) };
            }
        });
    }

    /// The tag set of a request.
    #[inline]
    pub(super) fn of(handle: &RequestRef<T>) -> &Self {
        // SAFETY: A request that is lent or owned belongs to a queue of an allocated set of `T`.
        unsafe { Self::of_queue((*handle.rq.as_ptr()).q) }
    }

    /// The tag set of a queue.
    ///
    /// # Safety
    ///
    /// `q` must be a queue of a set of `T` that isn't freed while the result is used.
    #[inline(always)]
    pub(super) unsafe fn of_queue<'a>(q: *mut bindings::request_queue) -> &'a Self {
        // SAFETY: The caller promises a queue of a set of `T`, which is allocated, so that its
        // `driver_data` points to the `TagSet`.
        unsafe { &*(*(*q).tag_set).driver_data.cast::<Self>() }
    }

    /// The device that does DMA.
    pub(super) fn device(&self) -> &device::Device {
        &self.dev
    }

    /// Its address.
    #[inline]
    pub(super) fn dma_device(&self) -> *mut bindings::device {
        dma::raw(&*self.dev)
    }

    /// See [`dma_map_iter::can_walk`].
    #[inline]
    pub(super) fn can_walk(&self) -> bool {
        self.can_walk
    }

    /// See [`dma_map_iter::skip_flag`].
    #[inline]
    pub(super) fn skip_flag(&self) -> c_ulong {
        self.skip_flag
    }

    /// See [`dma_map_iter::page_base`].
    #[inline]
    pub(super) fn page_base(&self) -> usize {
        self.page_base
    }

    /// The time limit of a request, in nanoseconds.
    pub(super) fn time_limit(&self) -> u64 {
        self.time_limit
    }

    /// The reserve memory for the segments of a mapping.
    #[inline]
    pub(super) fn reserve(&self) -> &dma_map_iter::Reserve {
        &self.reserve
    }

    const OPS: &'static bindings::blk_mq_ops = &bindings::blk_mq_ops {
        queue_rq: Some(Self::queue_rq),
        commit_rqs: Some(Self::commit_rqs),
        queue_rqs: Some(Self::queue_rqs),
        get_budget: None,
        put_budget: None,
        set_rq_budget_token: None,
        get_rq_budget_token: None,
        timeout: Some(Self::timeout),
        poll: Some(Self::poll),
        complete: Some(Self::complete),
        init_hctx: Some(Self::init_hctx),
        exit_hctx: None,
        init_request: Some(Self::init_request),
        exit_request: Some(Self::exit_request),
        cleanup_rq: None,
        busy: None,
        map_queues: Some(Self::map_queues),
        show_rq: None,
    };

    /// The driver's data of a hardware queue.
    ///
    /// # Safety
    ///
    /// `hctx` must be a hardware queue of a set of `T`, for a disk whose `QueueData` exists.
    #[inline]
    unsafe fn hw<'a>(hctx: *mut bindings::blk_mq_hw_ctx) -> &'a T::HwData {
        // SAFETY: `init_hctx` stored a pointer to data that the `QueueData` keeps alive.
        unsafe { &*(*hctx).driver_data.cast::<T::HwData>() }
    }

    /// The driver's data of a disk's queue.
    ///
    /// # Safety
    ///
    /// `q` must be the queue of a disk of `T` whose `QueueData` exists.
    #[inline]
    unsafe fn disk<'a>(q: *mut bindings::request_queue) -> &'a T::GenDiskData {
        // SAFETY: The queue was allocated with a `QueueData<T>` as `queuedata`, which exists as
        // promised by the caller.
        unsafe { &(*(*q).queuedata.cast::<QueueData<T>>()).disk }
    }

    /// Calls [`Operations::queue_rq`] for a request.
    ///
    /// # Safety
    ///
    /// blk-mq calls this, with a live hardware queue and an idle request of a live disk.
    unsafe extern "C" fn queue_rq(
        hctx: *mut bindings::blk_mq_hw_ctx,
        bd: *const bindings::blk_mq_queue_data,
    ) -> bindings::blk_status_t {
        // SAFETY: blk-mq passes a live hardware queue and disk, and lends an idle request for the
        // call.
        let (hw, disk, rq, last) = unsafe {
            let rq = (*bd).rq;
            (
                Self::hw(hctx),
                Self::disk((*rq).q),
                IdleRequest::new(NonNull::new_unchecked(rq)),
                (*bd).last,
            )
        };

        match T::queue_rq(hw, disk, rq, last) {
            Ok(()) => 0,
            Err(rejected) => rejected.status as bindings::blk_status_t,
        }
    }

    /// Calls [`Operations::commit_rqs`].
    ///
    /// # Safety
    ///
    /// blk-mq calls this, with a live hardware queue.
    unsafe extern "C" fn commit_rqs(hctx: *mut bindings::blk_mq_hw_ctx) {
        // SAFETY: blk-mq passes a live hardware queue.
        T::commit_rqs(unsafe { Self::hw(hctx) });
    }

    /// Queues the requests on the list. Leaves rejected requests on it, which blk-mq then passes to
    /// `queue_rq` one by one.
    ///
    /// # Safety
    ///
    /// blk-mq calls this, with a list of idle requests of live disks.
    unsafe extern "C" fn queue_rqs(list: *mut bindings::rq_list) {
        let mut rejected = NO_REQUESTS;

        // SAFETY: blk-mq lends a list of idle requests of live queues for the call; each request is
        // taken off the list before it is used.
        unsafe {
            let Some(first) = NonNull::new((*list).head) else {
                return;
            };
            let mut hctx = (*first.as_ptr()).mq_hctx;
            // Whether `hctx` has commands whose doorbell wasn't rung.
            let mut waiting = false;

            while let Some(rq) = NonNull::new((*list).head) {
                let next = (*rq.as_ptr()).__bindgen_anon_1.rq_next;
                (*list).head = next;

                if (*rq.as_ptr()).mq_hctx != hctx {
                    if waiting {
                        T::commit_rqs(Self::hw(hctx));
                        waiting = false;
                    }
                    hctx = (*rq.as_ptr()).mq_hctx;
                }
                let (disk, last) = (Self::disk((*rq.as_ptr()).q), next.is_null());
                match T::queue_rq(Self::hw(hctx), disk, IdleRequest::new(rq), last) {
                    Ok(()) => waiting = !last,
                    Err(_) => add_tail(&mut rejected, rq.as_ptr()),
                }
            }
            if waiting {
                T::commit_rqs(Self::hw(hctx));
            }
            *list = rejected;
        }
    }

    /// Calls [`Operations::request_timeout`].
    ///
    /// # Safety
    ///
    /// blk-mq calls this, and holds a reference to the request.
    unsafe extern "C" fn timeout(rq: *mut bindings::request) -> bindings::blk_eh_timer_return {
        // SAFETY: blk-mq holds a reference to the request, so its tag and queues don't change.
        let (hw, disk, tag, op) = unsafe {
            (
                Self::hw((*rq).mq_hctx),
                Self::disk((*rq).q),
                Tag::new((*rq).tag as u16),
                Op::of((*rq).cmd_flags),
            )
        };

        match T::request_timeout(hw, disk, tag, op) {
            RequestTimeoutStatus::Completed => bindings::blk_eh_timer_return_BLK_EH_DONE,
            RequestTimeoutStatus::RetryLater => bindings::blk_eh_timer_return_BLK_EH_RESET_TIMER,
        }
    }

    /// Calls [`Operations::poll`].
    ///
    /// # Safety
    ///
    /// blk-mq calls this, with a live hardware queue or null, and a batch or null.
    unsafe extern "C" fn poll(
        hctx: *mut bindings::blk_mq_hw_ctx,
        iob: *mut bindings::io_comp_batch,
    ) -> c_int {
        // A poller may come so late that its request has completed, and its hardware queue is gone.
        if hctx.is_null() {
            return 0;
        }
        // SAFETY: blk-mq passes a live hardware queue.
        let hw = unsafe { Self::hw(hctx) };
        if !T::may_poll(hw) {
            return 0;
        }
        // SAFETY: blk-mq passes a batch of its caller or null.
        unsafe { Self::poll_into(hw, iob) }
    }

    /// Polls a hardware queue. Apart from [`poll`](Self::poll), so that a poller that finds nothing needs
    /// no stack frame.
    ///
    /// # Safety
    ///
    /// `iob` must be null, or valid for the call, and nothing else uses it meanwhile.
    #[inline(never)]
    unsafe fn poll_into(hw: &T::HwData, iob: *mut bindings::io_comp_batch) -> c_int {
        // SAFETY: The caller promises it.
        let found = match unsafe { iob.as_mut() } {
            Some(iob) => IoCompletionBatch::with_lent(iob, |batch| T::poll(hw, batch)),
            None => IoCompletionBatch::with(|batch| T::poll(hw, batch)),
        };

        // A count of completions is below the queue depth.
        found as c_int
    }

    /// Ends a request that [`Request::complete`] passed to this CPU.
    ///
    /// # Safety
    ///
    /// blk-mq calls this, only for requests from [`Request::complete`].
    unsafe extern "C" fn complete(rq: *mut bindings::request) {
        // SAFETY: blk-mq calls this only for requests that `Request::complete` passed on.
        unsafe { Request::<T>::finish(NonNull::new_unchecked(rq)) };
    }

    /// Sets the data of a hardware queue.
    ///
    /// # Safety
    ///
    /// blk-mq calls this, with a hardware queue that is being created for a disk of `T`.
    unsafe extern "C" fn init_hctx(
        hctx: *mut bindings::blk_mq_hw_ctx,
        _set: *mut c_void,
        index: c_uint,
    ) -> c_int {
        // SAFETY: The hardware queue's request queue was allocated with a `QueueData<T>` as
        // `queuedata`.
        let data = unsafe { &*(*(*hctx).queue).queuedata.cast::<QueueData<T>>() };
        let Some(hw) = data.hw.get(index as usize) else {
            return EINVAL.to_errno();
        };

        // SAFETY: This call initialises `hctx`, so no other context uses it.
        unsafe { (*hctx).driver_data = Arc::as_ptr(hw).cast_mut().cast() };
        0
    }

    /// Initialises a request's pdu.
    ///
    /// # Safety
    ///
    /// blk-mq calls this, with a request that was just allocated.
    unsafe extern "C" fn init_request(
        _set: *mut bindings::blk_mq_tag_set,
        rq: *mut bindings::request,
        _hctx_idx: c_uint,
        _numa_node: c_int,
    ) -> c_int {
        // SAFETY: The request was just allocated, with `Pdu::SIZE` bytes behind it.
        unsafe { Pdu::<T>::of(NonNull::new_unchecked(rq)).write(Pdu::new()) };
        0
    }

    /// Drops a request's pdu.
    ///
    /// # Safety
    ///
    /// blk-mq calls this once, before it frees the request.
    unsafe extern "C" fn exit_request(
        _set: *mut bindings::blk_mq_tag_set,
        rq: *mut bindings::request,
        _hctx_idx: c_uint,
    ) {
        // SAFETY: The request is about to be freed, and was initialised by `init_request`.
        unsafe { Pdu::<T>::of(NonNull::new_unchecked(rq)).drop_in_place() };
    }

    /// Maps CPUs to hardware queues.
    ///
    /// # Safety
    ///
    /// blk-mq calls this, for a set that is being allocated or updated.
    unsafe extern "C" fn map_queues(raw: *mut bindings::blk_mq_tag_set) {
        // SAFETY: `driver_data` points to the `TagSet`, whose fields except `raw` are initialised
        // before the set is allocated.
        let (sets, homes, data, mapped) = unsafe {
            let this = (*raw).driver_data.cast::<Self>();
            (
                (*this).queue_sets,
                &(*this).homes,
                &(*this).data,
                &(*this).mapped,
            )
        };
        // SAFETY: blk-mq passes a valid set.
        let queues = unsafe { (*raw).nr_hw_queues };
        // While queues are taken away, the array still has the tags of those. blk-mq's lock keeps
        // other calls out.
        let before = mapped.swap(queues, Ordering::Relaxed);
        // SAFETY: The array has an entry for each queue that there is or was before this call, and
        // doesn't change during the call. If the set is being allocated, it has no disks;
        // otherwise blk-mq has frozen its disks, and waited for all their requests.
        T::remapped(data, &unsafe {
            Frozen {
                tags: core::slice::from_raw_parts((*raw).tags, queues.max(before) as usize),
            }
        });

        let mut offset = 0;
        for (i, (set, homes)) in sets.iter().zip(homes).enumerate() {
            let kept = set.queues.min(queues - offset);
            // SAFETY: The C set has `nr_maps` maps with an entry for each CPU; the others aren't
            // used.
            unsafe {
                let first = (*raw).map[0];
                let map = &raw mut (*raw).map[i];
                if i >= (*raw).nr_maps as usize {
                    break;
                }
                (*map).nr_queues = kept;
                if set.queues == 0 {
                    continue;
                }
                let of_cpus = core::slice::from_raw_parts_mut((*map).mq_map, nr_cpu_ids() as usize);
                if kept == 0 {
                    // As for no queues, except that requests may still be polled.
                    (*map).nr_queues = first.nr_queues;
                    (*map).queue_offset = first.queue_offset;
                    let of_first = core::slice::from_raw_parts(first.mq_map, of_cpus.len());
                    of_cpus.copy_from_slice(of_first);
                    continue;
                }
                (*map).queue_offset = offset;
                // The CPUs of queues that are gone get those that are kept, in turn.
                for (queue, home) in of_cpus.iter_mut().zip(homes) {
                    *queue = offset + home % kept;
                }
            }
            offset += kept;
        }
    }
}

#[pinned_drop]
impl<T: Operations> PinnedDrop for TagSet<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant the set is allocated. None of its queues is left, because
        // each disk holds a reference to the set until its queue has left the set.
        unsafe { bindings::blk_mq_free_tag_set(self.raw.get()) };
    }
}
