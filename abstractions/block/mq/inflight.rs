// SPDX-License-Identifier: GPL-2.0

//! The table of requests in flight, which maps a device's command identifiers to requests.

use super::{
    tag_set::Frozen,
    Operations,
    Request,
    Tag, //
};
use crate::abstractions::atomic::{
    claim::Claim,
    slot,
    AtomicPtr,
    AtomicU32,
    Ordering, //
};
use core::{
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    }, //
};
use kernel::{
    bindings,
    prelude::*, //
};

/// The state of a tag.
///
/// # Invariants
///
/// If `slot` has an item, the table owns the request that it points to.
struct Slot<const CLAIMABLE: bool> {
    slot: slot::Slot<bindings::request, CLAIMABLE>,
    /// The request's queue, for [`lose`](Self::lose).
    #[cfg(CONFIG_FAIL_IO_TIMEOUT)]
    queue: AtomicPtr<bindings::request_queue>,
}

impl<const CLAIMABLE: bool> Slot<CLAIMABLE> {
    /// An empty slot, whose command identifiers have the tag `tag`.
    fn new(tag: u16) -> Self {
        // INVARIANT: The slot has no request.
        Self {
            slot: slot::Slot::new(tag),
            #[cfg(CONFIG_FAIL_IO_TIMEOUT)]
            queue: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Stores `rq`, and returns its command identifier. The slot is empty, and no other context
    /// puts a request into it.
    #[inline(always)]
    fn put<T: Operations>(&self, rq: Request<T>) -> u16 {
        // `put` passes this on to those who see the identifier.
        #[cfg(CONFIG_FAIL_IO_TIMEOUT)]
        self.queue.store(rq.queue(), Ordering::Relaxed);
        // INVARIANT: Ownership moves to the table.
        self.slot.put(rq.into_raw().as_ptr())
    }

    /// Takes out the request of command `cid`.
    ///
    /// # Safety
    ///
    /// The slot is of a table of `T`.
    #[inline(always)]
    unsafe fn take<T: Operations>(&self, cid: u16) -> Option<Request<T>> {
        #[cfg(CONFIG_FAIL_IO_TIMEOUT)]
        if self.lose(cid) {
            return None;
        }
        let rq = self.slot.take(cid)?;
        // SAFETY: The request was just taken out of a table of `T`, as promised by the caller.
        Some(unsafe { Self::request(rq) })
    }

    /// Takes out the request, if there is one.
    ///
    /// # Safety
    ///
    /// The slot is of a table of `T`.
    unsafe fn take_any<T: Operations>(&self) -> Option<Request<T>> {
        let rq = self.slot.take_any()?;
        // SAFETY: The request was just taken out of a table of `T`, as promised by the caller.
        Some(unsafe { Self::request(rq) })
    }

    /// The request that `slot` handed out.
    ///
    /// # Safety
    ///
    /// `rq` was taken out of a [`Slot`] of a table of `T`, and this is called once for each.
    #[inline(always)]
    unsafe fn request<T: Operations>(rq: *mut bindings::request) -> Request<T> {
        // SAFETY: By the type invariant the table owned this request, which `insert` took by
        // `into_raw`. The slot hands it out once, so that the caller has the ownership.
        unsafe { Request::from_raw(NonNull::new_unchecked(rq)) }
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
        if self.slot.id() != Some(cid) {
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
/// # Invariants
///
/// All requests that the table owns have different tags of the set that `tags` names; slot `i`
/// is the slot of tag `i`.
///
/// # Examples
///
/// ```
/// use abstractions::block::mq::{IdleRequest, InFlight, Operations, Rejected, Status};
/// # use kernel::sync::Arc;
/// # struct MyDriver;
///
/// impl Operations for MyDriver {
///     type HwData = InFlight<Self>;
///
///     fn queue_rq<'a>(
///         table: &InFlight<Self>,
///         _: &u32,
///         rq: IdleRequest<'a, Self>,
///         _last: bool,
///     ) -> Result<(), Rejected<'a>> {
///         if let Ok(cid) = table.insert(rq.start()) {
///             // This device completes the command at once, and by mistake twice.
///             for completed in [cid, cid] {
///                 if let Some(rq) = table.take(completed) {
///                     rq.end(Status::Ok);
///                 }
///             }
///         }
///         Ok(())
///     }
/// #     type Module = crate::LocalModule;
/// #     type TagSetData = ();
/// #     type GenDiskData = u32;
/// #     type RequestData = ();
/// #     fn init_hctx((): &(), _: u32) -> Result<Arc<InFlight<Self>>> {
/// #         Ok(Arc::new(InFlight::new(InFlight::<Self>::MAX_TAGS)?, GFP_KERNEL)?)
/// #     }
/// }
/// # let disk = my_disk!(dev);
///
/// // A passthrough request without data.
/// let (disk, none) = (disk.reference(), Default::default());
/// let (ended, _) = disk.open().execute(false, none, 1000, |()| (), |(), status| status)?;
/// assert_eq!(ended, Ok(()));
/// ```
///
/// ```no_run
/// use abstractions::block::mq::{InFlight, Operations, Request, Status, Tag};
///
/// /// The device says that it has completed command `cid`.
/// fn completed<T: Operations>(table: &InFlight<T>, cid: u16) {
///     match table.take(cid) {
///         Some(rq) => rq.end(Status::Ok),
///         None => pr_err!("no command {} for tag {}\n", cid, cid & InFlight::<T>::TAG_MASK),
///     }
/// }
///
/// /// The request with this tag has timed out: returns the command to abort, the first time.
/// fn timed_out<T: Operations>(table: &InFlight<T>, tag: Tag) -> Option<u16> {
///     let cid = table.cid(tag)?;
///     if table.mark(cid) {
///         return Some(cid);
///     }
///     if let Some(rq) = table.take_tag(tag) {
///         rq.end(Status::Timeout);
///     }
///     None
/// }
///
/// /// The device is being reset: the table refuses the request.
/// fn refused<T: Operations>(table: &InFlight<T>, rq: Request<T>) {
///     match table.fits(&rq) {
///         true => rq.requeue(),
///         false => rq.end(Status::IoError),
///     }
/// }
///
/// /// The device was reset, and the queue may have requests again.
/// fn again<T: Operations>(table: &InFlight<T>) {
///     table.set_refuses(false);
///     for tag in table.tags() {
///         if let Some(rq) = table.take_tag(tag) {
///             rq.requeue();
///         }
///     }
/// }
/// ```
pub struct InFlight<T: Operations> {
    slots: KVec<Slot<false>>,
    /// The address of the tags (`struct blk_mq_tags`, which is aligned).
    tags: Claim,
    _requests: PhantomData<Request<T>>,
}

// SAFETY: The table owns requests, which are `Send`.
unsafe impl<T: Operations> Send for InFlight<T> {}

// SAFETY: A request in the table isn't accessed through the table. Atomic operations take it out,
// so that only one context gets it.
unsafe impl<T: Operations> Sync for InFlight<T> {}

impl<T: Operations> InFlight<T> {
    /// The mask of the tag in a command identifier.
    pub const TAG_MASK: u16 = slot::NUMBER_MASK;

    /// The maximum number of tags. The highest tag value isn't used, so that some identifiers never
    /// belong to a request.
    pub const MAX_TAGS: u16 = Self::TAG_MASK;

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
            tags: Claim::new(),
            _requests: PhantomData,
        })
    }

    /// Sets whether the table refuses all requests; requests in it stay. This costs
    /// [`insert`](Self::insert) nothing.
    pub fn set_refuses(&self, refuses: bool) {
        self.tags.refuse(refuses);
    }

    /// Whether the table takes `rq` when it doesn't [refuse](Self::set_refuses) all requests: a
    /// request that [`insert`](Self::insert) has returned may be tried again then.
    pub fn fits(&self, rq: &Request<T>) -> bool {
        self.slot(rq.tag()).is_some() && self.tags.suits(rq.tags().addr())
    }

    /// Forgets the table's tags, if they belong to the frozen set: blk-mq may free them, and the
    /// hardware queue may get others.
    pub fn forget_tags(&self, frozen: &Frozen<'_>) {
        // INVARIANT: The frozen set has no requests, so the table has none, and no context is
        // inserting one.
        self.tags.release(|tags| frozen.owns(tags));
    }

    /// Inserts `rq` and returns its command identifier. Returns `rq` as an error if its tag is
    /// beyond the table, if it belongs to another hardware queue than the table's first request, or
    /// if the table [refuses](Self::set_refuses) all requests.
    #[inline]
    pub fn insert(&self, rq: Request<T>) -> Result<u16, Request<T>> {
        let Some(slot) = self.slot(rq.tag()) else {
            return Err(rq);
        };
        // Requests of different sets may have the same tag.
        if !self.tags.admits(rq.tags().addr()) {
            return Err(rq);
        }

        // No other context puts a request into the slot: only the owner of a started request uses
        // its tag, and so the table owns no other request with this tag.
        Ok(slot.put(rq))
    }

    /// Takes out the request of command `cid`, which may be any number; `None` if no request with
    /// this identifier is in flight.
    #[inline]
    pub fn take(&self, cid: u16) -> Option<Request<T>> {
        let slot = self.slots.get(usize::from(cid & Self::TAG_MASK))?;
        // SAFETY: The slot is of this table.
        unsafe { slot.take(cid) }
    }

    /// Takes out the request of `tag`, if there is one.
    pub fn take_tag(&self, tag: Tag) -> Option<Request<T>> {
        let slot = self.slot(tag)?;
        // SAFETY: The slot is of this table.
        unsafe { slot.take_any() }
    }

    /// The command identifier in use for `tag`, if there is one.
    pub fn cid(&self, tag: Tag) -> Option<u16> {
        self.slot(tag)?.slot.id()
    }

    /// Marks the request of command `cid` until it is taken out; `false` if it is already marked, or if no
    /// request with this identifier is in flight.
    #[must_use]
    pub fn mark(&self, cid: u16) -> bool {
        let slot = self.slot(Tag::new(cid & Self::TAG_MASK));
        slot.is_some_and(|slot| slot.slot.mark(cid))
    }

    /// All tags.
    pub fn tags(&self) -> impl Iterator<Item = Tag> {
        // `new` takes a `u16`.
        (0..self.slots.len() as u16).map(Tag::new)
    }

    #[inline(always)]
    fn slot(&self, tag: Tag) -> Option<&Slot<false>> {
        self.slots.get(usize::from(tag.get()))
    }
}

impl<T: Operations> Drop for InFlight<T> {
    fn drop(&mut self) {
        // Dropping a remaining request ends it with an error.
        for tag in self.tags() {
            drop(self.take_tag(tag));
        }
    }
}

/// A few started requests of any hardware queues, for a device queue that also carries the requests
/// of other hardware queues.
///
/// The command identifiers differ from those of the [`InFlight`] table of the same device queue:
/// their tags lie beyond that table's. Otherwise as that table. Any context; no locks.
///
/// # Examples
///
/// ```
/// use abstractions::block::mq::{Guests, Tag};
/// # my_driver!();
///
/// // A device queue has 64 requests of its own, and up to 8 of other queues, with other tags.
/// let guests = Guests::<MyDriver>::new(64, 8)?;
/// assert_eq!(guests.tags().next(), Some(Tag::new(64)));
/// assert_eq!(guests.tags().count(), 8);
/// assert!(guests.is_empty() && guests.has_room());
/// ```
///
/// ```no_run
/// use abstractions::block::mq::{Guests, Operations, Request, Status};
///
/// /// Starts a request of another queue, under a key by which a time-out finds it.
/// fn start<T: Operations>(guests: &Guests<T>, key: u32, rq: Request<T>) -> Option<u16> {
///     if !guests.has_room() {
///         rq.requeue();
///         return None;
///     }
///     guests.insert(key, rq).ok()
/// }
///
/// /// The device says that it has completed command `cid`.
/// fn completed<T: Operations>(guests: &Guests<T>, cid: u16) {
///     if let Some(rq) = guests.take(cid) {
///         rq.end(Status::Ok);
///     }
/// }
///
/// /// The request with this key has timed out: returns the command to abort, the first time.
/// fn timed_out<T: Operations>(guests: &Guests<T>, key: u32) -> Option<u16> {
///     let cid = guests.cid(guests.find(key)?)?;
///     guests.mark(cid).then_some(cid)
/// }
///
/// /// The device was reset.
/// fn again<T: Operations>(guests: &Guests<T>) -> bool {
///     for rq in guests.tags().filter_map(|tag| guests.take_tag(tag)) {
///         rq.requeue();
///     }
///     guests.is_empty()
/// }
/// ```
pub struct Guests<T: Operations> {
    /// The slots, each with the key of its request.
    slots: KVec<(Slot<true>, AtomicU32)>,
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
    /// `EINVAL` unless `tags` is below [`InFlight::MAX_TAGS`], `ENOMEM`.
    pub fn new(tags: u16, count: u16) -> Result<Self> {
        if tags >= InFlight::<T>::MAX_TAGS {
            return Err(EINVAL);
        }
        let mut slots = KVec::with_capacity(count.into(), GFP_KERNEL)?;
        // The highest tag stays unused, as in `InFlight`.
        for tag in (tags..InFlight::<T>::TAG_MASK).take(count.into()) {
            slots.push((Slot::new(tag), AtomicU32::new(0)), GFP_KERNEL)?;
        }
        Ok(Self {
            slots,
            first: tags,
            _requests: PhantomData,
        })
    }

    fn slot(&self, tag: Tag) -> Option<&Slot<true>> {
        let index = tag.get().checked_sub(self.first)?;
        Some(&self.slots.get(usize::from(index))?.0)
    }

    /// Inserts `rq` under `key`, and returns its command identifier; `rq` as an error if the table
    /// is full.
    pub fn insert(&self, key: u32, rq: Request<T>) -> Result<u16, Request<T>> {
        for (slot, slot_key) in &self.slots {
            if slot.slot.claim() {
                // `put` passes this on to those who see the identifier.
                slot_key.store(key, Ordering::Relaxed);
                return Ok(slot.put(rq));
            }
        }
        Err(rq)
    }

    /// The tag of the request that was inserted under `key`, if it is in the table.
    pub fn find(&self, key: u32) -> Option<Tag> {
        let is_its = |(slot, slot_key): &(Slot<true>, AtomicU32)| {
            slot.slot.id().is_some() && slot_key.load(Ordering::Relaxed) == key
        };
        let mut slots = self.slots.iter().zip(self.tags());
        slots.find(|(slot, _)| is_its(slot)).map(|(_, tag)| tag)
    }

    /// As [`InFlight::take`].
    pub fn take(&self, cid: u16) -> Option<Request<T>> {
        let slot = self.slot(Tag::new(cid & InFlight::<T>::TAG_MASK))?;
        // SAFETY: The slot is of this table.
        unsafe { slot.take(cid) }
    }

    /// As [`InFlight::take_tag`].
    pub fn take_tag(&self, tag: Tag) -> Option<Request<T>> {
        let slot = self.slot(tag)?;
        // SAFETY: The slot is of this table.
        unsafe { slot.take_any() }
    }

    /// As [`InFlight::cid`].
    pub fn cid(&self, tag: Tag) -> Option<u16> {
        self.slot(tag)?.slot.id()
    }

    /// As [`InFlight::mark`].
    #[must_use]
    pub fn mark(&self, cid: u16) -> bool {
        let slot = self.slot(Tag::new(cid & InFlight::<T>::TAG_MASK));
        slot.is_some_and(|slot| slot.slot.mark(cid))
    }

    /// The tags of the table, all beyond those of the [`InFlight`] table.
    pub fn tags(&self) -> impl Iterator<Item = Tag> {
        (self.first..).take(self.slots.len()).map(Tag::new)
    }

    /// Whether the table has no request, and no context is inserting one.
    pub fn is_empty(&self) -> bool {
        self.slots.iter().all(|(slot, _)| slot.slot.is_free())
    }

    /// Whether the table has room, for the moment.
    pub fn has_room(&self) -> bool {
        self.slots.iter().any(|(slot, _)| slot.slot.is_free())
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
