// SPDX-License-Identifier: GPL-2.0

//! The set of tags and hardware queues that a device's disks share, and the callbacks from blk-mq.

use super::{
    map,
    request::{
        add_tail,
        Batch,
        Handle,
        Idle,
        Op,
        Pdu,
        Request,
        NO_REQUESTS, //
    },
    Operations, //
};
use crate::abstractions::dma;
use core::ptr::NonNull;
use kernel::{
    bindings,
    device::{
        self,
        Bound, //
    },
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
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
    /// requests at once, each `timeout_ms` milliseconds long. `dev` is the device that does DMA.
    ///
    /// # Errors
    ///
    /// `EINVAL` for no queue or no depth, `ENOMEM`. May sleep.
    pub fn new(
        dev: &device::Device<Bound>,
        data: T::SetData,
        queue_sets: [QueueSet; 3],
        depth: u16,
        timeout_ms: u32,
    ) -> Result<Arc<Self>> {
        let queues: u32 = queue_sets.iter().map(|s| s.queues).sum();
        if queue_sets[0].queues == 0 || depth == 0 {
            return Err(EINVAL);
        }
        let nr_maps = match queue_sets {
            [_, _, poll] if poll.queues > 0 => 3,
            [_, read, _] if read.queues > 0 => 2,
            _ => 1,
        };

        let can_walk = map::can_walk(dev);
        let skip_flag = map::skip_flag(dev);

        Arc::pin_init(
            try_pin_init!(&this in Self {
                dev: dev.into(),
                data,
                queue_sets,
                can_walk,
                skip_flag,
                raw <- Opaque::try_ffi_init(|slot: *mut bindings::blk_mq_tag_set| {
                    // SAFETY: `slot` is valid for writes; the set is plain data until allocated.
                    unsafe {
                        slot.write_bytes(0, 1);
                        (*slot).ops = &Self::OPS;
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

    /// Keeps new requests from the driver, and waits for calls of [`Operations::queue`] to return.
    /// Requests that were started go on. Process context; may sleep.
    pub fn quiesce(&self) {
        // SAFETY: By the type invariant the set is allocated.
        unsafe { bindings::blk_mq_quiesce_tagset(self.raw()) };
    }

    /// Lets requests through again, after [`quiesce`](Self::quiesce).
    pub fn unquiesce(&self) {
        // SAFETY: By the type invariant the set is allocated.
        unsafe { bindings::blk_mq_unquiesce_tagset(self.raw()) };
    }

    /// The set of `T` that a request belongs to.
    #[inline]
    pub(super) fn of(handle: &Handle<T>) -> &Self {
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

    const OPS: bindings::blk_mq_ops = bindings::blk_mq_ops {
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
        exit_hctx: Some(Self::exit_hctx),
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
    /// `hctx` is a hardware queue of a set of `T`, between `init_hctx` and `exit_hctx`.
    #[inline]
    unsafe fn hw<'a>(hctx: *mut bindings::blk_mq_hw_ctx) -> &'a T::HwData {
        // SAFETY: `init_hctx` stored an `Arc` of this type, which `exit_hctx` drops.
        unsafe { &*(*hctx).driver_data.cast::<T::HwData>() }
    }

    /// The driver's data behind a disk's queue.
    ///
    /// # Safety
    ///
    /// `q` is the queue of a `Disk<T>` that was not dropped.
    #[inline]
    unsafe fn disk<'a>(q: *mut bindings::request_queue) -> &'a T::DiskData {
        // SAFETY: `Disk::new` stored a pointer to data that the disk keeps.
        unsafe { &*(*q).queuedata.cast::<T::DiskData>() }
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

    /// Calls [`Operations::init_hw`].
    ///
    /// # Safety
    ///
    /// blk-mq calls this, with a hardware queue that is being made, of the set whose data it passes.
    unsafe extern "C" fn init_hctx(
        hctx: *mut bindings::blk_mq_hw_ctx,
        set: *mut c_void,
        index: c_uint,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The set's `driver_data` is the `TagSet`, which outlives its disks.
            let set = unsafe { &*set.cast::<Self>() };
            let data = T::init_hw(&set.data, index)?;

            // SAFETY: `hctx` is being initialised by this call.
            unsafe { (*hctx).driver_data = Arc::into_raw(data).cast_mut().cast() };
            Ok(0)
        })
    }

    /// Drops what [`Operations::init_hw`] gave.
    ///
    /// # Safety
    ///
    /// blk-mq calls this once, after the last use of the hardware queue.
    unsafe extern "C" fn exit_hctx(hctx: *mut bindings::blk_mq_hw_ctx, _index: c_uint) {
        // SAFETY: `init_hctx` stored an `Arc`; nothing uses the hardware queue any more.
        drop(unsafe { Arc::from_raw((*hctx).driver_data.cast_const().cast::<T::HwData>()) });
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
        // SAFETY: By the type invariant the set is allocated; no disk is left, since each holds a
        // reference to the set.
        unsafe { bindings::blk_mq_free_tag_set(self.raw.get()) };
    }
}
