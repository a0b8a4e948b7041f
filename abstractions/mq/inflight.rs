// SPDX-License-Identifier: GPL-2.0

//! The requests that a device has in its hands.

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

/// The bits of a command identifier that are the tag; those above are the generation.
const TAG_BITS: u32 = 12;
const TAG_MASK: u16 = (1 << TAG_BITS) - 1;
/// In a slot's state: the table owns a request.
const OWNED: u32 = 1 << u16::BITS;
/// In a slot's state: the request has the mark.
const MARK: u32 = OWNED << 1;

/// The command identifier of a tag's next use. It repeats after 16 uses.
#[inline(always)]
const fn next_cid(cid: u16) -> u16 {
    // The carry out of the generation is lost, and the tag stays.
    cid.wrapping_add(1 << TAG_BITS)
}

/// What is known of one tag.
///
/// # Invariants
///
/// The lower 16 bits of `state` are the command identifier of the tag's last use. If it has [`OWNED`],
/// the table owns the request at `rq`; else only the owner of the tag's request writes the slot.
struct Slot {
    state: AtomicU32,
    rq: AtomicPtr<bindings::request>,
    /// The request's queue, for [`lose`](Self::lose).
    #[cfg(CONFIG_FAIL_IO_TIMEOUT)]
    queue: AtomicPtr<bindings::request_queue>,
}

impl Slot {
    /// Takes the request out if the slot is in state `old`, which has [`OWNED`].
    #[inline(always)]
    fn take<T: Operations>(&self, old: u32) -> Result<Request<T>, u32> {
        // INVARIANT: Ownership leaves the table with the exchange, and so once.
        self.state.compare_exchange(
            old,
            old & u32::from(u16::MAX),
            Ordering::AcqRel,
            Ordering::Relaxed,
        )?;
        let rq = self.rq.load(Ordering::Relaxed);
        // SAFETY: By the type invariant the table owned this request, which `insert` took by `into_raw`;
        // the exchange handed it to this call only. `insert` stored the pointer before the state, and
        // nobody stores another one before the request's tag is free again.
        Ok(unsafe { Request::from_raw(NonNull::new_unchecked(rq)) })
    }

    /// Whether fault injection loses the completion of command `cid`: its request stays, and times out.
    /// As `blk_should_fake_timeout()`.
    #[cfg(CONFIG_FAIL_IO_TIMEOUT)]
    fn lose(&self, cid: u16) -> bool {
        // Not in `kernel::bindings`; `check.c` compares it with the kernel's.
        #[allow(improper_ctypes)]
        unsafe extern "C" {
            fn __blk_should_fake_timeout(q: *mut bindings::request_queue) -> bool;
        }

        let _guard = kernel::sync::rcu::read_lock();
        if self.state.load(Ordering::Acquire) & !MARK != OWNED | u32::from(cid) {
            return false;
        }
        let q = self.queue.load(Ordering::Relaxed);
        // SAFETY: The queue is that of a request which was in the table after the read lock was taken: the
        // one whose state was seen, or one that was inserted since. A queue outlives its requests, and is
        // freed after a grace period of RCU (`blk_free_queue()`), so not before the lock is released.
        unsafe {
            (*q).queue_flags & (1 << bindings::QUEUE_FLAG_FAIL_IO) != 0
                && __blk_should_fake_timeout(q)
        }
    }
}

/// The started requests of one set of tags, which is one hardware queue's, by tag.
///
/// A request that is put in gets a command identifier: its tag, and in the bits above a generation
/// that changes with each use of the tag. An identifier gives the request out once; any other gives out
/// nothing: an identifier that was used before, or that of one of the tag's last 15 uses. (The one of 16
/// uses before is the same again.) Any context; no locks.
///
/// The slots are `core`'s atomics, since each access to one of the kernel's is a call of a C helper,
/// and nobody but this type uses them.
///
/// # Invariants
///
/// All requests that the table owns have tags of the set `tags`, which are different; slot `i` is that of
/// tag `i`.
pub struct InFlight<T: Operations> {
    slots: KVec<Slot>,
    /// Null before the first request.
    tags: AtomicPtr<bindings::blk_mq_tags>,
    _requests: PhantomData<Request<T>>,
}

// SAFETY: The table owns requests, which are `Send`; they are taken out one by one by atomic
// operations.
unsafe impl<T: Operations> Send for InFlight<T> {}

// SAFETY: As above; a request in the table is not accessed through it.
unsafe impl<T: Operations> Sync for InFlight<T> {}

impl<T: Operations> InFlight<T> {
    /// The bits of a command identifier that are the tag.
    pub const TAG_MASK: u16 = TAG_MASK;

    /// The most tags that a table can have. The last tag of an identifier's bits isn't among them, so that
    /// there are identifiers which no request ever has.
    pub const MAX_TAGS: u16 = TAG_MASK;

    /// Makes an empty table for the tags below `tags`.
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
            // INVARIANT: No request yet, and so no use before the first.
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

    /// Whether the table is for `tags`. The first request decides that.
    #[cold]
    fn claim(&self, tags: *mut bindings::blk_mq_tags) -> bool {
        let first =
            self.tags
                .compare_exchange(ptr::null_mut(), tags, Ordering::Relaxed, Ordering::Relaxed);
        first.is_ok() || first == Err(tags)
    }

    /// Puts `rq` in and returns its command identifier. Gives it back if its tag is beyond the table, or
    /// it is of another hardware queue than the table's first request.
    #[inline]
    pub fn insert(&self, rq: Request<T>) -> Result<u16, Request<T>> {
        let Some(slot) = self.slots.get(usize::from(rq.tag())) else {
            return Err(rq);
        };
        // Two requests of different sets may have the same tag.
        if rq.tags() != self.tags.load(Ordering::Relaxed) && !self.claim(rq.tags()) {
            return Err(rq);
        }

        // INVARIANT: Ownership goes to the table. Nobody else writes the slot: the holder of a started
        // request has its tag alone, and the table owns no other request with this one.
        let cid = next_cid(slot.state.load(Ordering::Relaxed) as u16);
        #[cfg(CONFIG_FAIL_IO_TIMEOUT)]
        slot.queue.store(rq.queue(), Ordering::Relaxed);
        slot.rq.store(rq.into_raw().as_ptr(), Ordering::Relaxed);
        slot.state.store(OWNED | u32::from(cid), Ordering::Release);
        Ok(cid)
    }

    /// Takes out the request of command `cid`, whatever number that is; `None` if there is none,
    /// or not any more.
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
            // The mark goes with the request only: if it is set now, it stays.
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
                // It was marked, or taken by others.
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

    /// Sets the mark of the request of `tag`, which goes when the request does; `false` if it is set,
    /// or there is no request.
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
        // What is left is ended with an error, by its own drop.
        for tag in 0..self.tags() {
            drop(self.take_tag(tag));
        }
    }
}
