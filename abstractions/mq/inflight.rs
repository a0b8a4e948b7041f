// SPDX-License-Identifier: GPL-2.0

//! The table of requests in flight, which maps a device's command identifiers to requests.

use super::{
    Operations,
    Request, //
};
use core::{
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    },
    sync::atomic::{
        AtomicPtr,
        AtomicU32,
        Ordering, //
    }, //
};
use kernel::{
    bindings,
    prelude::*, //
};

/// The lower bits of a command identifier are the tag; the bits above are the generation.
const TAG_BITS: u32 = 12;
const TAG_MASK: u16 = (1 << TAG_BITS) - 1;
/// Flag in a slot's state: the table owns a request.
const OWNED: u32 = 1 << u16::BITS;
/// Flag in a slot's state: the request is marked.
const MARK: u32 = OWNED << 1;

/// The command identifier of a tag's next use. Identifiers repeat after 16 uses.
#[inline(always)]
const fn next_cid(cid: u16) -> u16 {
    // The generation wraps; the tag doesn't change.
    cid.wrapping_add(1 << TAG_BITS)
}

/// The state of a tag.
///
/// # Invariants
///
/// The lower 16 bits of `state` are the command identifier of the tag's last use. If `state` has
/// [`OWNED`], the table owns the request at `rq`; otherwise only the owner of the tag's request
/// writes the slot.
struct Slot {
    state: AtomicU32,
    rq: AtomicPtr<bindings::request>,
    /// The request's queue, for [`lose`](Self::lose).
    #[cfg(CONFIG_FAIL_IO_TIMEOUT)]
    queue: AtomicPtr<bindings::request_queue>,
}

impl Slot {
    /// Takes the request out if the slot's state is `old`, which has [`OWNED`].
    #[inline(always)]
    fn take<T: Operations>(&self, old: u32) -> Result<Request<T>, u32> {
        // INVARIANT: The exchange clears [`OWNED`] and transfers ownership to this call. It can
        // succeed only once.
        self.state.compare_exchange(
            old,
            old & u32::from(u16::MAX),
            Ordering::AcqRel,
            Ordering::Relaxed,
        )?;
        let rq = self.rq.load(Ordering::Relaxed);
        // SAFETY: By the type invariant the table owned this request, which `insert` took by
        // `into_raw`; the exchange transferred it to this call only. `insert` stored the pointer
        // before the state, and no other pointer is stored before the request's tag is free again.
        Ok(unsafe { Request::from_raw(NonNull::new_unchecked(rq)) })
    }

    /// Whether fault injection drops the completion of command `cid`, so that its request stays and
    /// times out. As `blk_should_fake_timeout()`.
    #[cfg(CONFIG_FAIL_IO_TIMEOUT)]
    fn lose(&self, cid: u16) -> bool {
        // Not in `kernel::bindings`; `check.c` compares this declaration with the kernel's.
        #[allow(improper_ctypes)]
        unsafe extern "C" {
            fn __blk_should_fake_timeout(q: *mut bindings::request_queue) -> bool;
        }

        let _guard = kernel::sync::rcu::read_lock();
        if self.state.load(Ordering::Acquire) & !MARK != OWNED | u32::from(cid) {
            return false;
        }
        let q = self.queue.load(Ordering::Relaxed);
        // SAFETY: `q` is the queue of a request that was in the table after the RCU read lock was
        // taken: the request whose state was read, or a request inserted since. A queue outlives
        // its requests, and is freed after an RCU grace period (`blk_free_queue()`), so not before
        // the read lock is released.
        unsafe {
            (*q).queue_flags & (1 << bindings::QUEUE_FLAG_FAIL_IO) != 0
                && __blk_should_fake_timeout(q)
        }
    }
}

/// The started requests of a hardware queue's set of tags, by tag.
///
/// [`insert`](Self::insert) returns a command identifier: the request's tag, and above it a
/// generation that changes with each use of the tag. Only this identifier takes the request out,
/// and only once. Identifiers of the tag's last 15 uses take out nothing. (Every 16th use has the
/// same identifier.) Any context; no locks.
///
/// The slots use `core`'s atomics, because each access to the kernel's calls a C helper. No C code
/// accesses the slots.
///
/// # Invariants
///
/// All requests that the table owns have different tags of the set `tags`; slot `i` is the slot of
/// tag `i`.
pub struct InFlight<T: Operations> {
    slots: KVec<Slot>,
    /// Null before the first request.
    tags: AtomicPtr<bindings::blk_mq_tags>,
    _requests: PhantomData<Request<T>>,
}

// SAFETY: The table owns requests, which are `Send`.
unsafe impl<T: Operations> Send for InFlight<T> {}

// SAFETY: A request in the table isn't accessed through the table. Atomic operations take it out,
// so that only one context gets it.
unsafe impl<T: Operations> Sync for InFlight<T> {}

impl<T: Operations> InFlight<T> {
    /// The mask of the tag in a command identifier.
    pub const TAG_MASK: u16 = TAG_MASK;

    /// The maximum number of tags. The highest tag value isn't used, so that some identifiers never
    /// belong to a request.
    pub const MAX_TAGS: u16 = TAG_MASK;

    /// Creates an empty table for the tags below `tags`.
    ///
    /// # Errors
    ///
    /// `EINVAL` for more than [`MAX_TAGS`](Self::MAX_TAGS), `ENOMEM`.
    pub fn new(tags: u16) -> Result<Self> {
        if tags > Self::MAX_TAGS {
            return Err(EINVAL);
        }

        let mut slots = KVec::with_capacity(tags.into(), GFP_KERNEL)?;
        for tag in 0..tags {
            // INVARIANT: The slot has no request, and the tag was never used.
            let slot = Slot {
                state: AtomicU32::new(tag.into()),
                rq: AtomicPtr::new(ptr::null_mut()),
                #[cfg(CONFIG_FAIL_IO_TIMEOUT)]
                queue: AtomicPtr::new(ptr::null_mut()),
            };
            slots.push(slot, GFP_KERNEL)?;
        }
        Ok(Self {
            slots,
            tags: AtomicPtr::new(ptr::null_mut()),
            _requests: PhantomData,
        })
    }

    /// Whether the table is for `tags`; the first request sets the table's tags.
    #[cold]
    fn claim(&self, tags: *mut bindings::blk_mq_tags) -> bool {
        let first =
            self.tags
                .compare_exchange(ptr::null_mut(), tags, Ordering::Relaxed, Ordering::Relaxed);
        first.is_ok() || first == Err(tags)
    }

    /// Inserts `rq` and returns its command identifier. Returns `rq` as an error if its tag is
    /// beyond the table, or if it belongs to another hardware queue than the table's first request.
    #[inline]
    pub fn insert(&self, rq: Request<T>) -> Result<u16, Request<T>> {
        let Some(slot) = self.slots.get(usize::from(rq.tag())) else {
            return Err(rq);
        };
        // Requests of different sets may have the same tag.
        if rq.tags() != self.tags.load(Ordering::Relaxed) && !self.claim(rq.tags()) {
            return Err(rq);
        }

        // INVARIANT: Ownership moves to the table. No other context writes the slot: only the owner
        // of a started request uses its tag, and so the table owns no other request with this tag.
        let cid = next_cid(slot.state.load(Ordering::Relaxed) as u16);
        #[cfg(CONFIG_FAIL_IO_TIMEOUT)]
        slot.queue.store(rq.queue(), Ordering::Relaxed);
        slot.rq.store(rq.into_raw().as_ptr(), Ordering::Relaxed);
        slot.state.store(OWNED | u32::from(cid), Ordering::Release);
        Ok(cid)
    }

    /// Takes out the request of command `cid`, which may be any number; `None` if no request with
    /// this identifier is in flight.
    #[inline]
    pub fn take(&self, cid: u16) -> Option<Request<T>> {
        let slot = self.slots.get(usize::from(cid & TAG_MASK))?;
        #[cfg(CONFIG_FAIL_IO_TIMEOUT)]
        if slot.lose(cid) {
            return None;
        }

        let owned = OWNED | u32::from(cid);
        match slot.take(owned) {
            Ok(rq) => Some(rq),
            // The mark, once set, stays until the request is taken out, so this retry can't fail
            // because of it.
            Err(now) if now == owned | MARK => slot.take(now).ok(),
            Err(_) => None,
        }
    }

    /// Takes out the request of `tag`, if there is one.
    pub fn take_tag(&self, tag: u16) -> Option<Request<T>> {
        let slot = self.slots.get(usize::from(tag))?;
        let mut old = slot.state.load(Ordering::Relaxed);

        while old & OWNED != 0 {
            match slot.take(old) {
                Ok(rq) => return Some(rq),
                // The request was marked, or another context took it.
                Err(now) => old = now,
            }
        }
        None
    }

    /// The command identifier in use for `tag`, if there is one.
    pub fn cid(&self, tag: u16) -> Option<u16> {
        let state = self
            .slots
            .get(usize::from(tag))?
            .state
            .load(Ordering::Relaxed);

        (state & OWNED != 0).then_some(state as u16)
    }

    /// Marks the request of `tag` until it is taken out; `false` if it is already marked, or if
    /// there is no request.
    #[must_use]
    pub fn mark(&self, tag: u16) -> bool {
        let Some(slot) = self.slots.get(usize::from(tag)) else {
            return false;
        };
        let old = slot.state.load(Ordering::Relaxed);

        old & (OWNED | MARK) == OWNED
            && slot
                .state
                .compare_exchange(old, old | MARK, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    /// The number of tags.
    pub fn tags(&self) -> u16 {
        // `new` takes a `u16`.
        self.slots.len() as u16
    }
}

impl<T: Operations> Drop for InFlight<T> {
    fn drop(&mut self) {
        // Dropping a remaining request ends it with an error.
        for tag in 0..self.tags() {
            drop(self.take_tag(tag));
        }
    }
}
