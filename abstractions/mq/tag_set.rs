// SPDX-License-Identifier: GPL-2.0

//! The set of tags and hardware queues that a device's disks share, and the callbacks from blk-mq.

use super::{
    map,
    request::{
        add_tail,
        Batch,
        Idle,
        Op,
        Pdu,
        Request,
        RequestRef,
        NO_REQUESTS, //
    },
    Operations, //
};
use crate::abstractions::dma;
use core::{
    ptr::NonNull,
    sync::atomic::{
        AtomicBool,
        Ordering, //
    }, //
};
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
#[derive(Clone, Copy, Default)]
pub struct QueueSet {
    /// The number of queues.
    pub queues: u32,
    /// The device's interrupt vector of the first of them; the CPUs of its affinity use it. Without
    /// one the CPUs are spread evenly.
    pub first_vector: Option<u32>,
}

/// What becomes of a request that took too long.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TimeoutAction {
    /// It has ended, or will soon.
    Done,
    /// It gets the time once more.
    Wait,
}

/// A set of tags and hardware queues: `struct blk_mq_tag_set`.
///
/// # Invariants
///
/// `raw` is an allocated tag set whose `driver_data` points to this value.
#[pin_data(PinnedDrop)]
pub struct TagSet<T: Operations> {
    #[pin]
    raw: Opaque<bindings::blk_mq_tag_set>,
    dev: ARef<device::Device>,
    data: T::SetData,
    queue_sets: [QueueSet; 3],
    can_walk: bool,
    skip_flag: c_ulong,
    page_base: usize,
    time_limit: u64,
    #[pin]
    reserve: map::Reserve,
    /// The largest mapping that is cheap, in bytes, and whether the device reaches others' memory. Asked
    /// once, as a disk may be made, and not added, after the device is unbound.
    pub(super) optimal: usize,
    pub(super) peers: bool,
    /// Held by whoever keeps requests from queues, or lets them through again.
    #[pin]
    pub(super) gate: Mutex<()>,
}

/// What stands behind a disk's queue (`queuedata`). It is there before the queue joins its set, and
/// until a grace period of RCU after the queue has left.
// What each request looks at comes first: its address takes no addition.
#[repr(C)]
pub(super) struct QueueData<T: Operations> {
    pub(super) disk: T::DiskData,
    /// The data of each hardware queue of the set.
    hw: KVec<Arc<T::HwData>>,
    /// The queue is whole, and one of the set's. Changed under [`TagSet::gate`], as are the others.
    pub(super) joined: AtomicBool,
    /// The set's [`quiesce`](TagSet::quiesce) holds the queue: it was there then.
    held: AtomicBool,
    /// The disk's own freeze holds the queue.
    pub(super) frozen: AtomicBool,
    /// No freeze holds it any more: its disk is being taken away.
    pub(super) leaving: AtomicBool,
}

// SAFETY: The C set has locks of its own; `SetData` is `Send` and `Sync`.
unsafe impl<T: Operations> Send for TagSet<T> {}

// SAFETY: As above.
unsafe impl<T: Operations> Sync for TagSet<T> {}

impl<T: Operations> TagSet<T> {
    /// Allocates the tags and requests.
    ///
    /// `queue_sets` are the queues for everything, for reads and for polled requests, counted in
    /// that order; a set with no queues leaves its requests to the first. Each queue takes `depth`
    /// requests at once, each `timeout_ms` milliseconds long. `dev` is the device that does DMA. A
    /// device that does none, as one of the faux bus, will do too: the driver copies the requests'
    /// data then, by `source` and `dest`, and maps nothing.
    ///
    /// # Errors
    ///
    /// `EINVAL` for no queue or no depth, or for more queues than CPUs where there is only one set,
    /// `ENOMEM`. May sleep.
    pub fn new(
        dev: &device::Device<Bound>,
        data: T::SetData,
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

        // blk-mq makes no more then, and `map_queues` would map CPUs to those that there aren't.
        if nr_maps == 1 && queues > nr_cpu_ids() {
            return Err(EINVAL);
        }

        let can_walk = map::can_walk(dev);
        let skip_flag = map::skip_flag(dev);
        let page_base = map::page_base()?;
        let (optimal, peers) = match dma::is_capable(dev) {
            // SAFETY: The device is valid, and bound.
            true => unsafe {
                (
                    bindings::dma_opt_mapping_size(dma::raw(dev)),
                    bindings::dma_pci_p2pdma_supported(dma::raw(dev)),
                )
            },
            // Nothing is mapped, and the CPU copies only what is memory.
            false => (usize::MAX, false),
        };

        Arc::pin_init(
            try_pin_init!(&this in Self {
                dev: dev.into(),
                data,
                queue_sets,
                can_walk,
                skip_flag,
                page_base,
                time_limit: u64::from(timeout_ms) * 1_000_000,
                reserve <- map::Reserve::new(),
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
                    // SAFETY: All that the function reads was set; the callbacks that it makes
                    // (`map_queues`, `init_request`) find the fields above initialised.
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

    /// What goes behind the queue of a disk of this set.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and those of [`Operations::init_hw`].
    pub(super) fn queue_data(&self, disk: T::DiskData) -> Result<Arc<QueueData<T>>> {
        // SAFETY: By the type invariant the set is allocated; its count of queues doesn't change.
        let queues = unsafe { (*self.raw()).nr_hw_queues };
        let mut hw = KVec::with_capacity(queues as usize, GFP_KERNEL)?;

        for index in 0..queues {
            hw.push(T::init_hw(&self.data, index)?, GFP_KERNEL)?;
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

    /// Calls `f` with each queue of the set that is whole, and what stands behind it. `f` must not
    /// sleep.
    fn each_queue(&self, f: impl Fn(*mut bindings::request_queue, &QueueData<T>)) {
        let _gate = self.gate.lock();
        let _guard = rcu::read_lock();

        // SAFETY: By the type invariant the set is allocated. Its list is one of queues, with data as
        // `Disk` gives them, that are changed by RCU's rules and stay while the lock of it is held.
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

    /// Keeps new requests from the driver, and waits for calls of [`Operations::queue`] to return.
    /// Requests that were started go on, and so does a disk that is made after this. Calls don't
    /// nest. Process context; may sleep.
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

    /// Lets requests through again, after [`quiesce`](Self::quiesce). Process context; may sleep.
    pub fn unquiesce(&self) {
        self.each_queue(|q, data| {
            // As `blk_mq_unquiesce_tagset`, but for queues that came since.
            if data.held.swap(false, Ordering::Relaxed) {
                // SAFETY: The queue is valid, and was quiesced.
                unsafe { bindings::blk_mq_unquiesce_queue(q) };
            }
        });
    }

    /// The set of `T` that a request belongs to.
    #[inline]
    pub(super) fn of(handle: &RequestRef<T>) -> &Self {
        // SAFETY: A request that is lent or owned belongs to a queue of a set of `T`, which is
        // allocated, and whose `driver_data` is the `TagSet`.
        unsafe {
            &*(*(*(*handle.rq.as_ptr()).q).tag_set)
                .driver_data
                .cast::<Self>()
        }
    }

    /// The device that does DMA.
    #[inline]
    pub(super) fn dma_device(&self) -> *mut bindings::device {
        dma::raw(&*self.dev)
    }

    /// See [`map::can_walk`].
    #[inline]
    pub(super) fn can_walk(&self) -> bool {
        self.can_walk
    }

    /// See [`map::skip_flag`].
    #[inline]
    pub(super) fn skip_flag(&self) -> c_ulong {
        self.skip_flag
    }

    /// See [`map::page_base`].
    #[inline]
    pub(super) fn page_base(&self) -> usize {
        self.page_base
    }

    /// How long a request may take, in nanoseconds.
    pub(super) fn time_limit(&self) -> u64 {
        self.time_limit
    }

    /// The memory for a request's notes when there is no other.
    #[inline]
    pub(super) fn reserve(&self) -> &map::Reserve {
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

    /// The driver's data behind a hardware queue.
    ///
    /// # Safety
    ///
    /// `hctx` is a hardware queue of a set of `T`, for a disk whose `QueueData` are there.
    #[inline]
    unsafe fn hw<'a>(hctx: *mut bindings::blk_mq_hw_ctx) -> &'a T::HwData {
        // SAFETY: `init_hctx` stored a pointer to data that the `QueueData` keep.
        unsafe { &*(*hctx).driver_data.cast::<T::HwData>() }
    }

    /// The driver's data behind a disk's queue.
    ///
    /// # Safety
    ///
    /// `q` is the queue of a disk of `T` whose `QueueData` are there.
    #[inline]
    unsafe fn disk<'a>(q: *mut bindings::request_queue) -> &'a T::DiskData {
        // SAFETY: The queue was made with such data.
        unsafe { &(*(*q).queuedata.cast::<QueueData<T>>()).disk }
    }

    /// Calls [`Operations::queue`] for one request.
    ///
    /// # Safety
    ///
    /// blk-mq calls this, with a live hardware queue and an idle request of a live disk.
    unsafe extern "C" fn queue_rq(
        hctx: *mut bindings::blk_mq_hw_ctx,
        bd: *const bindings::blk_mq_queue_data,
    ) -> bindings::blk_status_t {
        // SAFETY: blk-mq calls with a live hardware queue and disk, and lends an idle request for
        // the call.
        let (hw, disk, rq, last) = unsafe {
            let rq = (*bd).rq;
            (
                Self::hw(hctx),
                Self::disk((*rq).q),
                Idle::new(NonNull::new_unchecked(rq)),
                (*bd).last,
            )
        };

        match T::queue(hw, disk, rq, last) {
            Ok(()) => 0,
            Err(rejected) => rejected.status as bindings::blk_status_t,
        }
    }

    /// Calls [`Operations::commit`].
    ///
    /// # Safety
    ///
    /// blk-mq calls this, with a live hardware queue.
    unsafe extern "C" fn commit_rqs(hctx: *mut bindings::blk_mq_hw_ctx) {
        // SAFETY: blk-mq calls with a live hardware queue.
        T::commit(unsafe { Self::hw(hctx) });
    }

    /// Takes the requests off the list, and leaves those that were rejected, which blk-mq then
    /// gives to `queue_rq` one by one.
    ///
    /// # Safety
    ///
    /// blk-mq calls this, with a list of idle requests of live disks.
    unsafe extern "C" fn queue_rqs(list: *mut bindings::rq_list) {
        let mut rejected = NO_REQUESTS;

        // SAFETY: blk-mq lends a list of idle requests of live queues for the call; each is
        // taken off the list before it is used.
        unsafe {
            let Some(first) = NonNull::new((*list).head) else {
                return;
            };
            let mut hctx = (*first.as_ptr()).mq_hctx;
            // Whether it has commands of which the device wasn't told.
            let mut waiting = false;

            while let Some(rq) = NonNull::new((*list).head) {
                let next = (*rq.as_ptr()).__bindgen_anon_1.rq_next;
                (*list).head = next;

                if (*rq.as_ptr()).mq_hctx != hctx {
                    if waiting {
                        T::commit(Self::hw(hctx));
                        waiting = false;
                    }
                    hctx = (*rq.as_ptr()).mq_hctx;
                }
                let (disk, last) = (Self::disk((*rq.as_ptr()).q), next.is_null());
                match T::queue(Self::hw(hctx), disk, Idle::new(rq), last) {
                    Ok(()) => waiting = !last,
                    Err(_) => add_tail(&mut rejected, rq.as_ptr()),
                }
            }
            if waiting {
                T::commit(Self::hw(hctx));
            }
            *list = rejected;
        }
    }

    /// Calls [`Operations::timeout`].
    ///
    /// # Safety
    ///
    /// blk-mq calls this, and holds a reference to the request.
    unsafe extern "C" fn timeout(rq: *mut bindings::request) -> bindings::blk_eh_timer_return {
        // SAFETY: blk-mq holds a reference to the request, whose tag and queues stay.
        let (hw, disk, tag, op) = unsafe {
            (
                Self::hw((*rq).mq_hctx),
                Self::disk((*rq).q),
                (*rq).tag as u16,
                Op::of((*rq).cmd_flags),
            )
        };

        match T::timeout(hw, disk, tag, op) {
            TimeoutAction::Done => bindings::blk_eh_timer_return_BLK_EH_DONE,
            TimeoutAction::Wait => bindings::blk_eh_timer_return_BLK_EH_RESET_TIMER,
        }
    }

    /// Calls [`Operations::poll`].
    ///
    /// # Safety
    ///
    /// blk-mq calls this, with a live hardware queue, and a batch of its own or null.
    unsafe extern "C" fn poll(
        hctx: *mut bindings::blk_mq_hw_ctx,
        iob: *mut bindings::io_comp_batch,
    ) -> c_int {
        // SAFETY: blk-mq calls with a live hardware queue, and a batch of the caller's or null.
        let (hw, iob) = unsafe { (Self::hw(hctx), iob.as_mut()) };
        let found = match iob {
            Some(iob) => Batch::with_lent(iob, |batch| T::poll(hw, batch)),
            None => Batch::with(|batch| T::poll(hw, batch)),
        };

        // A count of completions is below the queue depth.
        found as c_int
    }

    /// Ends a request that [`Request::complete`] gave to this CPU.
    ///
    /// # Safety
    ///
    /// blk-mq calls this, for such requests only.
    unsafe extern "C" fn complete(rq: *mut bindings::request) {
        // SAFETY: blk-mq calls this for requests that `Request::complete` gave away.
        unsafe { Request::<T>::finish(NonNull::new_unchecked(rq)) };
    }

    /// Notes the data of a hardware queue.
    ///
    /// # Safety
    ///
    /// blk-mq calls this, with a hardware queue that is being made for a disk of `T`.
    unsafe extern "C" fn init_hctx(
        hctx: *mut bindings::blk_mq_hw_ctx,
        _set: *mut c_void,
        index: c_uint,
    ) -> c_int {
        // SAFETY: The queue was made with such data, and is the hardware queue's.
        let data = unsafe { &*(*(*hctx).queue).queuedata.cast::<QueueData<T>>() };
        let Some(hw) = data.hw.get(index as usize) else {
            return EINVAL.to_errno();
        };

        // SAFETY: `hctx` is being initialised by this call.
        unsafe { (*hctx).driver_data = Arc::as_ptr(hw).cast_mut().cast() };
        0
    }

    /// Initialises what stands behind a request.
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

    /// Drops what stands behind a request.
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
    /// blk-mq calls this, for a set that is being made or remade.
    unsafe extern "C" fn map_queues(raw: *mut bindings::blk_mq_tag_set) {
        // SAFETY: `driver_data` points to the `TagSet`, whose fields but `raw` are initialised
        // before the set is allocated.
        let (dev, sets) = unsafe {
            let this = (*raw).driver_data.cast::<Self>();
            (dma::raw(&*(*this).dev), (*this).queue_sets)
        };
        let mut offset = 0;

        for (i, set) in sets.iter().enumerate() {
            // SAFETY: The C set has as many maps, with an entry for each CPU, as `nr_maps` says;
            // the others are not used. The device is valid.
            unsafe {
                let map = &raw mut (*raw).map[i];
                if i >= (*raw).nr_maps as usize {
                    break;
                }
                (*map).nr_queues = set.queues;
                if set.queues == 0 {
                    continue;
                }
                (*map).queue_offset = offset;
                match set.first_vector {
                    Some(vector) => bindings::blk_mq_map_hw_queues(map, dev, vector),
                    None => bindings::blk_mq_map_queues(map),
                }
            }
            offset += set.queues;
        }
    }
}

#[pinned_drop]
impl<T: Operations> PinnedDrop for TagSet<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant the set is allocated; no queue of its is left, since each disk
        // holds a reference to the set until its queue is no part of it any more.
        unsafe { bindings::blk_mq_free_tag_set(self.raw.get()) };
    }
}
