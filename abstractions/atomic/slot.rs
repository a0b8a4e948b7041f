// SPDX-License-Identifier: GPL-2.0

//! A slot of a table of items in flight, for [`InFlight`](super::super::block::mq::InFlight).

use super::{
    AtomicPtr,
    AtomicU32,
    Ordering, //
};
use core::ptr;

/// The lower bits of an identifier are the number of its slot; the bits above are the generation.
///
/// # Examples
///
/// ```
/// use abstractions::atomic::slot::{Slot, NUMBER_BITS};
///
/// let (mut item, slot) = (7, Slot::<u32>::new(3));
/// // The first use of slot 3 has generation 1.
/// let id = slot.put(&mut item);
/// assert_eq!(id, 1 << NUMBER_BITS | 3);
/// ```
pub const NUMBER_BITS: u32 = 12;

/// The mask of the slot's number in an identifier.
///
/// # Examples
///
/// ```
/// use abstractions::atomic::slot::{Slot, NUMBER_MASK};
///
/// let (mut item, slots) = (7, [Slot::<u32>::new(0), Slot::new(1)]);
/// let id = slots[1].put(&mut item);
/// // The device sends the identifier back; its number may be beyond the table.
/// let slot = slots.get(usize::from(id & NUMBER_MASK)).ok_or(EINVAL)?;
/// assert!(slot.take(id).is_some());
/// ```
pub const NUMBER_MASK: u16 = (1 << NUMBER_BITS) - 1;

/// Flag in the state: the slot has an item.
const OWNED: u32 = 1 << u16::BITS;
/// Flag in the state: the item is marked.
const MARK: u32 = OWNED << 1;
/// Flag in the state of an empty slot that can be claimed: a context is going to put an item in, or
/// is taking one out.
const CLAIMED: u32 = MARK << 1;

/// The identifier of a slot's next use. Identifiers repeat after 16 uses.
#[inline(always)]
const fn next(id: u16) -> u16 {
    // The generation wraps; the number doesn't change.
    id.wrapping_add(1 << NUMBER_BITS)
}

/// A slot: empty, or the owner of an item, which only the identifier of this use takes out, and
/// only once.
///
/// The lower 16 bits of `state` are the identifier of the last use. The item is behind a pointer
/// that this type never follows.
///
/// If the number has no owner, it is `CLAIMABLE`: any context may [`claim`](Self::claim) it, to put
/// an item in.
///
/// # Examples
///
/// ```
/// use abstractions::atomic::slot::{Slot, NUMBER_BITS, NUMBER_MASK};
///
/// let mut item = 1u32;
/// let slot = Slot::<u32, true>::new(3);
///
/// // The number 3 has no owner.
/// assert!(slot.is_free() && slot.claim());
/// let id = slot.put(&mut item);
/// assert_eq!(slot.id(), Some(id));
/// assert_eq!((id & NUMBER_MASK, id >> NUMBER_BITS), (3, 1));
/// // It can be marked and taken out once.
/// assert!(!slot.mark(id ^ 0x1000) && slot.mark(id) && !slot.mark(id));
/// assert!(slot.take(id).is_some());
/// assert!(slot.take(id).is_none());
/// assert!(slot.take_any().is_none());
/// ```
pub struct Slot<T, const CLAIMABLE: bool = false> {
    state: AtomicU32,
    item: AtomicPtr<T>,
}

impl<T, const CLAIMABLE: bool> Slot<T, CLAIMABLE> {
    /// An empty slot with this number, which wasn't used yet.
    pub fn new(number: u16) -> Self {
        Self {
            state: AtomicU32::new(number.into()),
            item: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Puts an item in, and returns its identifier. The slot is empty, and no other context puts an
    /// item in: only the owner of the slot's number does, or the context that claimed the slot. The
    /// context that takes the item out sees all writes before this call.
    #[inline(always)]
    pub fn put(&self, item: *mut T) -> u16 {
        let id = next(self.state.load(Ordering::Relaxed) as u16);
        self.item.store(item, Ordering::Relaxed);
        self.state.store(OWNED | u32::from(id), Ordering::Release);
        id
    }

    /// Takes the item out if the state is `old`, which has [`OWNED`].
    #[inline(always)]
    fn take_if(&self, old: u32) -> Result<*mut T, u32> {
        let empty = old & u32::from(u16::MAX);
        let next = if CLAIMABLE { empty | CLAIMED } else { empty };
        // Pairs with `put`, also if the item was marked since: an exchange continues the release
        // sequence. Not Release: what frees the number is after this, and has an order of its own.
        self.state
            .compare_exchange(old, next, Ordering::Acquire, Ordering::Relaxed)?;
        // `put` stored the pointer before the state, and stores no other before the new owner of
        // the item releases the slot's number, or the flag is cleared.
        let item = self.item.load(Ordering::Relaxed);
        if CLAIMABLE {
            // Pairs with `claim` and `is_free`.
            self.state.store(empty, Ordering::Release);
        }
        Ok(item)
    }

    /// Takes out the item with this identifier, which may be any number; `None` if the slot has
    /// another item, or none.
    #[inline(always)]
    pub fn take(&self, id: u16) -> Option<*mut T> {
        let owned = OWNED | u32::from(id);
        match self.take_if(owned) {
            Ok(item) => Some(item),
            // The mark, once set, stays until the item is taken out, so this retry can't fail
            // because of it.
            Err(now) if now == owned | MARK => self.take_if(now).ok(),
            Err(_) => None,
        }
    }

    /// Takes out the item, if there is one, whatever its identifier.
    pub fn take_any(&self) -> Option<*mut T> {
        let mut old = self.state.load(Ordering::Relaxed);

        while old & OWNED != 0 {
            match self.take_if(old) {
                Ok(item) => return Some(item),
                // The item was marked, or another context took it.
                Err(now) => old = now,
            }
        }
        None
    }

    /// The identifier of the item, if there is one. This context sees all writes before the item was
    /// put in.
    pub fn id(&self) -> Option<u16> {
        let state = self.state.load(Ordering::Acquire);

        (state & OWNED != 0).then_some(state as u16)
    }

    /// Marks the item with this identifier until it is taken out; `false` if it is already marked, or if the
    /// slot has another item, or none.
    #[must_use]
    pub fn mark(&self, id: u16) -> bool {
        let owned = OWNED | u32::from(id);

        // Relaxed: a mark says nothing about other memory.
        self.state
            .compare_exchange(owned, owned | MARK, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}

impl<T> Slot<T, true> {
    /// Claims the slot for [`put`](Self::put); `false` if it has an item or is claimed. All that was
    /// done with the last item before it was taken out is done.
    #[must_use]
    pub fn claim(&self) -> bool {
        let old = self.state.load(Ordering::Relaxed);

        old & (OWNED | CLAIMED) == 0
            && self
                .state
                .compare_exchange(old, old | CLAIMED, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
    }

    /// Whether the slot is empty, and no context has claimed it.
    pub fn is_free(&self) -> bool {
        self.state.load(Ordering::Acquire) & (OWNED | CLAIMED) == 0
    }
}
