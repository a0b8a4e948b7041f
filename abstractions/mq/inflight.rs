// SPDX-License-Identifier: GPL-2.0

//! The table of requests in flight, which maps a device's command identifiers to requests.

use super::{
    tag_set::Frozen,
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
/// Flag in a slot's state: a context of [`Guests`] is putting a request into the slot.
const CLAIMED: u32 = MARK << 1;
/// Flag in a table's pointer to its tags, which are aligned: the table takes no requests.
const REFUSES: usize = 1;

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
/// [`OWNED`], the table owns the request at `rq`; otherwise only the owner of the tag's request, or
/// the context that set [`CLAIMED`], writes the slot.
struct Slot {
    state: AtomicU32,
    rq: AtomicPtr<bindings::request>,
    /// The request's queue, for [`lose`](Self::lose).
    #[cfg(CONFIG_FAIL_IO_TIMEOUT)]
    queue: AtomicPtr<bindings::request_queue>,
}

impl Slot {
    /// An empty slot, whose next command identifiers have the tag `tag`.
    fn new(tag: u16) -> Self {
        // INVARIANT: The slot has no request, and the tag was never used.
        Self {
            state: AtomicU32::new(tag.into()),
            rq: AtomicPtr::new(ptr::null_mut()),
            #[cfg(CONFIG_FAIL_IO_TIMEOUT)]
            queue: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Stores `rq` as the request of command `cid`.
    ///
    /// # Safety
    ///
    /// The slot must own no request, and no other context may write it meanwhile.
    #[inline(always)]
    unsafe fn put<T: Operations>(&self, rq: Request<T>, cid: u16) {
        // INVARIANT: Ownership moves to the table, which owns no other request in this slot, as
        // promised by the caller.
        #[cfg(CONFIG_FAIL_IO_TIMEOUT)]
        self.queue.store(rq.queue(), Ordering::Relaxed);
        self.rq.store(rq.into_raw().as_ptr(), Ordering::Relaxed);
        self.state.store(OWNED | u32::from(cid), Ordering::Release);
    }

    /// Takes out the request of command `cid`.
    #[inline(always)]
    fn take_cid<T: Operations>(&self, cid: u16) -> Option<Request<T>> {
        #[cfg(CONFIG_FAIL_IO_TIMEOUT)]
        if self.lose(cid) {
            return None;
        }

        let owned = OWNED | u32::from(cid);
        match self.take(owned) {
            Ok(rq) => Some(rq),
            // The mark, once set, stays until the request is taken out, so this retry can't fail
            // because of it.
            Err(now) if now == owned | MARK => self.take(now).ok(),
            Err(_) => None,
        }
    }

    /// Takes out the request, if there is one.
    fn take_any<T: Operations>(&self) -> Option<Request<T>> {
        let mut old = self.state.load(Ordering::Relaxed);

        while old & OWNED != 0 {
            match self.take(old) {
                Ok(rq) => return Some(rq),
                // The request was marked, or another context took it.
                Err(now) => old = now,
            }
        }
        None
    }

    /// The command identifier in use, if there is a request.
    fn cid(&self) -> Option<u16> {
        let state = self.state.load(Ordering::Relaxed);

        (state & OWNED != 0).then_some(state as u16)
    }

    /// Marks the request; `false` if it is already marked, or if there is no request.
    fn mark(&self) -> bool {
        let old = self.state.load(Ordering::Relaxed);

        old & (OWNED | MARK) == OWNED
            && self
                .state
                .compare_exchange(old, old | MARK, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

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
/// All requests that the table owns have different tags of the set `tags`, less its flag; slot `i`
/// is the slot of tag `i`.
pub struct InFlight<T: Operations> {
    slots: KVec<Slot>,
    /// Null before the first request. With the flag [`REFUSES`], the table takes no requests.
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
            slots.push(Slot::new(tag), GFP_KERNEL)?;
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

    /// Sets whether the table refuses all requests; requests in it stay.
    ///
    /// This costs [`insert`](Self::insert) nothing: the flag makes the table's tags different from
    /// every request's.
    pub fn set_refuses(&self, refuses: bool) {
        let set = |tags: *mut bindings::blk_mq_tags| {
            Some(tags.map_addr(|addr| match refuses {
                true => addr | REFUSES,
                false => addr & !REFUSES,
            }))
        };
        // The closure always returns `Some`.
        let _ = self
            .tags
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, set);
    }

    /// Forgets the table's tags, if they belong to the frozen set: blk-mq may free them, and the
    /// hardware queue may get others.
    pub fn forget_tags(&self, frozen: &Frozen<'_>) {
        let tags = self.tags.load(Ordering::Relaxed);
        if frozen.owns(tags.map_addr(|addr| addr & !REFUSES)) {
            // INVARIANT: The frozen set has no requests, so the table has none, and no context is
            // inserting one.
            self.tags.store(
                ptr::without_provenance_mut(tags.addr() & REFUSES),
                Ordering::Relaxed,
            );
        }
    }

    /// Inserts `rq` and returns its command identifier. Returns `rq` as an error if its tag is
    /// beyond the table, if it belongs to another hardware queue than the table's first request, or
    /// if the table [refuses](Self::set_refuses) all requests.
    #[inline]
    pub fn insert(&self, rq: Request<T>) -> Result<u16, Request<T>> {
        let Some(slot) = self.slots.get(usize::from(rq.tag())) else {
            return Err(rq);
        };
        // Requests of different sets may have the same tag.
        if rq.tags() != self.tags.load(Ordering::Relaxed) && !self.claim(rq.tags()) {
            return Err(rq);
        }

        let cid = next_cid(slot.state.load(Ordering::Relaxed) as u16);
        // SAFETY: No other context writes the slot: only the owner of a started request uses its
        // tag, and so the table owns no other request with this tag.
        unsafe { slot.put(rq, cid) };
        Ok(cid)
    }

    /// Takes out the request of command `cid`, which may be any number; `None` if no request with
    /// this identifier is in flight.
    #[inline]
    pub fn take(&self, cid: u16) -> Option<Request<T>> {
        self.slots.get(usize::from(cid & TAG_MASK))?.take_cid(cid)
    }

    /// Takes out the request of `tag`, if there is one.
    pub fn take_tag(&self, tag: u16) -> Option<Request<T>> {
        self.slots.get(usize::from(tag))?.take_any()
    }

    /// The command identifier in use for `tag`, if there is one.
    pub fn cid(&self, tag: u16) -> Option<u16> {
        self.slots.get(usize::from(tag))?.cid()
    }

    /// Marks the request of `tag` until it is taken out; `false` if it is already marked, or if
    /// there is no request.
    #[must_use]
    pub fn mark(&self, tag: u16) -> bool {
        self.slots.get(usize::from(tag)).is_some_and(Slot::mark)
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

/// A few started requests of any hardware queues, for a device queue that also carries the requests
/// of other hardware queues.
///
/// The command identifiers differ from those of the [`InFlight`] table of the same device queue:
/// their tags lie beyond that table's. Otherwise as that table. Any context; no locks.
pub struct Guests<T: Operations> {
    /// The slots, each with the key of its request.
    slots: KVec<(Slot, AtomicU32)>,
    /// The tag of the first slot.
    first: u16,
    _requests: PhantomData<Request<T>>,
}

// SAFETY: The table owns requests, which are `Send`.
unsafe impl<T: Operations> Send for Guests<T> {}

// SAFETY: A request in the table isn't accessed through the table. Atomic operations put it in and
// take it out, so that only one context gets it.
unsafe impl<T: Operations> Sync for Guests<T> {}

impl<T: Operations> Guests<T> {
    /// Creates an empty table for `count` requests, but for at most as many as there are tags
    /// beyond an [`InFlight`] table of `tags` tags: at least one.
    ///
    /// # Errors
    ///
    /// `EINVAL` for more than [`InFlight::MAX_TAGS`] tags, `ENOMEM`.
    pub fn new(tags: u16, count: u16) -> Result<Self> {
        if tags > InFlight::<T>::MAX_TAGS {
            return Err(EINVAL);
        }
        let mut slots = KVec::with_capacity(count.into(), GFP_KERNEL)?;
        for tag in (tags..=TAG_MASK).take(count.into()) {
            slots.push((Slot::new(tag), AtomicU32::new(0)), GFP_KERNEL)?;
        }
        Ok(Self {
            slots,
            first: tags,
            _requests: PhantomData,
        })
    }

    fn slot(&self, tag: u16) -> Option<&Slot> {
        let index = tag.checked_sub(self.first)?;
        Some(&self.slots.get(usize::from(index))?.0)
    }

    /// Inserts `rq` under `key`, and returns its command identifier; `rq` as an error if the table
    /// is full.
    pub fn insert(&self, key: u32, rq: Request<T>) -> Result<u16, Request<T>> {
        for (slot, slot_key) in &self.slots {
            let old = slot.state.load(Ordering::Relaxed);
            let cid = next_cid(old as u16);
            // INVARIANT: This context sets `CLAIMED`, so it alone writes the slot.
            let claimed = old & (OWNED | CLAIMED) == 0
                && slot
                    .state
                    .compare_exchange(
                        old,
                        CLAIMED | u32::from(cid),
                        Ordering::Acquire,
                        Ordering::Relaxed,
                    )
                    .is_ok();
            if claimed {
                slot_key.store(key, Ordering::Relaxed);
                // SAFETY: The slot owned no request, and only the context that set `CLAIMED`
                // writes it.
                unsafe { slot.put(rq, cid) };
                return Ok(cid);
            }
        }
        Err(rq)
    }

    /// The tag of the request that was inserted under `key`, if it is in the table.
    pub fn find(&self, key: u32) -> Option<u16> {
        self.slots
            .iter()
            .find(|(slot, slot_key)| {
                slot.cid().is_some() && slot_key.load(Ordering::Relaxed) == key
            })
            .and_then(|(slot, _)| Some(slot.cid()? & TAG_MASK))
    }

    /// As [`InFlight::take`].
    pub fn take(&self, cid: u16) -> Option<Request<T>> {
        self.slot(cid & TAG_MASK)?.take_cid(cid)
    }

    /// As [`InFlight::take_tag`].
    pub fn take_tag(&self, tag: u16) -> Option<Request<T>> {
        self.slot(tag)?.take_any()
    }

    /// As [`InFlight::cid`].
    pub fn cid(&self, tag: u16) -> Option<u16> {
        self.slot(tag)?.cid()
    }

    /// As [`InFlight::mark`].
    #[must_use]
    pub fn mark(&self, tag: u16) -> bool {
        self.slot(tag).is_some_and(Slot::mark)
    }

    /// The tags of the table, all beyond those of the [`InFlight`] table.
    pub fn tags(&self) -> impl Iterator<Item = u16> {
        (self.first..).take(self.slots.len())
    }

    /// Whether the table has no request, and no context is inserting one.
    pub fn is_empty(&self) -> bool {
        self.slots
            .iter()
            .all(|(slot, _)| slot.state.load(Ordering::Acquire) & (OWNED | CLAIMED) == 0)
    }

    /// Whether the table has room, for the moment.
    pub fn has_room(&self) -> bool {
        self.slots
            .iter()
            .any(|(slot, _)| slot.state.load(Ordering::Relaxed) & (OWNED | CLAIMED) == 0)
    }
}

impl<T: Operations> Drop for Guests<T> {
    fn drop(&mut self) {
        // Dropping a remaining request ends it with an error.
        for tag in self.tags() {
            drop(self.take_tag(tag));
        }
    }
}
