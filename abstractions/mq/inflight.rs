// SPDX-License-Identifier: GPL-2.0

//! The requests that a device has in its hands.

use super::{
    Operations,
    Request, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull,
    sync::atomic::{
        AtomicUsize,
        Ordering, //
    }, //
};
use kernel::{
    bindings,
    prelude::*, //
};

const TAG_BITS: u32 = 12;
const TAG_MASK: u16 = (1 << TAG_BITS) - 1;
// Of what the alignment of `struct request` leaves free in a pointer to it, one bit is a mark, and
// the others are the generation.
const FREE_BITS: usize = core::mem::align_of::<bindings::request>() - 1;
const MARK: usize = (FREE_BITS + 1) / 2;
const GENERATION_MASK: usize = MARK - 1;

/// The started requests of one hardware queue, by tag.
///
/// A request that is put in gets a command identifier: its tag, and in the bits above a generation
/// that changes with each use of the tag. An identifier gives the request out once; any other, a
/// second use of it or one from the tag's last use gives out nothing. Any context; no locks.
///
/// The slots are `core`'s atomics, since each access to one of the kernel's is a call of a C helper,
/// and nobody but this type uses them.
///
/// # Invariants
///
/// Each slot holds the generation of its tag, the mark, and above them the address of a request that
/// the table owns, or 0.
pub struct InFlight<T: Operations> {
    slots: KVec<AtomicUsize>,
    _requests: PhantomData<Request<T>>,
}

// SAFETY: The table owns requests, which are `Send`; they are taken out one by one by atomic
// operations.
unsafe impl<T: Operations> Send for InFlight<T> {}

// SAFETY: As above; a request in the table is not accessed through it.
unsafe impl<T: Operations> Sync for InFlight<T> {}

impl<T: Operations> InFlight<T> {
    /// The most tags that a table can have.
    pub const MAX_TAGS: u16 = 1 << TAG_BITS;

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
        for _ in 0..tags {
            // INVARIANT: No request yet.
            slots.push(AtomicUsize::new(0), GFP_KERNEL)?;
        }
        Ok(Self {
            slots,
            _requests: PhantomData,
        })
    }

    /// Puts `rq` in and returns its command identifier; gives it back where its tag is beyond the
    /// table or in use.
    #[inline]
    pub fn insert(&self, rq: Request<T>) -> Result<u16, Request<T>> {
        let tag = rq.tag();
        let Some(slot) = self.slots.get(usize::from(tag)) else {
            return Err(rq);
        };
        let old = slot.load(Ordering::Relaxed);
        if old & !FREE_BITS != 0 {
            return Err(rq);
        }

        let generation = old.wrapping_add(1) & GENERATION_MASK;
        // INVARIANT: Ownership goes to the table. Nobody else writes a slot without a request: the
        // holder of a started request has its tag alone.
        slot.store(
            rq.into_raw().as_ptr() as usize | generation,
            Ordering::Release,
        );
        Ok((generation as u16) << TAG_BITS | tag)
    }

    #[inline]
    fn take_if(&self, tag: u16, generation: Option<usize>) -> Option<Request<T>> {
        let slot = self.slots.get(usize::from(tag))?;
        // For `lose`.
        #[cfg(CONFIG_FAIL_IO_TIMEOUT)]
        let _guard = kernel::sync::rcu::read_lock();
        let mut old = slot.load(Ordering::Relaxed);

        loop {
            if generation.is_some_and(|g| g != old & GENERATION_MASK) {
                return None;
            }
            let rq = NonNull::new((old & !FREE_BITS) as *mut bindings::request)?;

            // A completion that fault injection loses: the request stays, and times out.
            #[cfg(CONFIG_FAIL_IO_TIMEOUT)]
            if generation.is_some() && lose(rq) {
                return None;
            }

            // INVARIANT: Ownership leaves the table with the exchange, and so once.
            match slot.compare_exchange(
                old,
                old & GENERATION_MASK,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                // SAFETY: By the type invariant the table owned the request, which `insert` took by
                // `into_raw`; the exchange handed it to this call only.
                Ok(_) => return Some(unsafe { Request::from_raw(rq) }),
                // It was marked, or taken by others.
                Err(now) => old = now,
            }
        }
    }

    /// Takes out the request of command `cid`, whatever number that is; `None` if there is none,
    /// or not any more.
    #[inline]
    pub fn take(&self, cid: u16) -> Option<Request<T>> {
        self.take_if(cid & TAG_MASK, Some(usize::from(cid >> TAG_BITS)))
    }

    /// Takes out the request of `tag`, if there is one.
    pub fn take_tag(&self, tag: u16) -> Option<Request<T>> {
        self.take_if(tag, None)
    }

    /// The command identifier in use for `tag`, if there is one.
    pub fn cid(&self, tag: u16) -> Option<u16> {
        let slot = self.slots.get(usize::from(tag))?.load(Ordering::Relaxed);

        (slot & !FREE_BITS != 0).then_some(((slot & GENERATION_MASK) as u16) << TAG_BITS | tag)
    }

    /// Sets the mark of the request of `tag`, which goes when the request does; `false` if it is set,
    /// or there is no request.
    #[must_use]
    pub fn mark(&self, tag: u16) -> bool {
        let Some(slot) = self.slots.get(usize::from(tag)) else {
            return false;
        };
        let old = slot.load(Ordering::Relaxed);

        old & !FREE_BITS != 0
            && old & MARK == 0
            && slot
                .compare_exchange(old, old | MARK, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    /// The number of tags.
    pub fn tags(&self) -> u16 {
        // `new` takes a `u16`.
        self.slots.len() as u16
    }
}

/// Whether the completion of `rq` is to be lost. As `blk_should_fake_timeout()`.
#[cfg(CONFIG_FAIL_IO_TIMEOUT)]
fn lose(rq: NonNull<bindings::request>) -> bool {
    // Declared in `linux/blk-mq.h`, but not in `kernel::bindings`.
    #[allow(improper_ctypes)]
    unsafe extern "C" {
        fn __blk_should_fake_timeout(q: *mut bindings::request_queue) -> bool;
    }

    // SAFETY: The request was in the table, and so started, after the caller began to keep grace periods of
    // RCU from ending. Even if it has been taken out and ended since, its memory, as its queue, goes only
    // after one: such memory is freed after its queue was frozen (a change of the scheduler) or has left
    // the set, and a set of tags is there as long as its disks.
    unsafe {
        let q = (*rq.as_ptr()).q;
        (*q).queue_flags & (1 << bindings::QUEUE_FLAG_FAIL_IO) != 0 && __blk_should_fake_timeout(q)
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
