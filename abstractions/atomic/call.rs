// SPDX-License-Identifier: GPL-2.0

//! A call: a command that one context submits and waits for, and that another ends. For the admin
//! queue's slots.
//!
//! | state     | owner                       | next                                            |
//! |-----------|-----------------------------|-------------------------------------------------|
//! | FREE      | none                        | RESERVED by [`Call::reserve`]                   |
//! | RESERVED  | the caller                  | PENDING by [`Call::start`], FREE by [`Call::release`] |
//! | PENDING   | the device                  | ENDING by [`Call::end`], ABANDONED by [`Call::abandon`] |
//! | ENDING    | the context in [`Call::end`]| DONE                                            |
//! | DONE      | the caller                  | FREE by [`Call::take`]                          |
//! | ABANDONED | the device                  | FREE by [`Call::reclaim`], LATE by [`Call::end_late`] |
//! | LATE      | none, but what the device used is still there | RESERVED by [`Call::reserve`] |

use super::{
    AtomicU32,
    AtomicU64,
    Ordering, //
};

/// The state is in the lower half of the word, the generation in the upper.
const STATE: u32 = 0xffff;
const FREE: u32 = 0;
const RESERVED: u32 = 1;
const PENDING: u32 = 2;
const ENDING: u32 = 3;
const DONE: u32 = 4;
const ABANDONED: u32 = 5;
const LATE: u32 = 6;

/// Each use of a call has the next generation. An answer ends the call only if it names the current
/// generation, so a repeated or late answer doesn't end a later use. Generations repeat after this
/// many uses.
///
/// # Examples
///
/// ```
/// use abstractions::atomic::call::{Call, GENERATIONS};
///
/// let call = Call::new();
/// let first = call.reserve().ok_or(EBUSY)?;
/// call.release();
/// // All other generations come before the first one comes again.
/// for _ in 1..GENERATIONS {
///     assert!(call.reserve().is_some_and(|next| next != first));
///     call.release();
/// }
/// assert_eq!(call.reserve(), Some(first));
/// ```
pub const GENERATIONS: u16 = 16;

/// A call, and its result once it is done.
///
/// # Examples
///
/// ```
/// use abstractions::atomic::call::{Call, GENERATIONS};
///
/// let call = Call::new();
/// // A reserved call that isn't needed is free again.
/// assert!(call.reserve().is_some());
/// call.release();
///
/// // The device completes the call while its caller waits.
/// let first = call.reserve().unwrap_or(0);
/// call.start();
/// assert!(call.end(first, 7, 0));
/// assert_eq!(call.take(), Some((7, 0)));
///
/// // The answer of the first use doesn't end the second.
/// let second = call.reserve().unwrap_or(0);
/// call.start();
/// assert_eq!(second, (first + 1) % GENERATIONS);
/// assert_eq!(call.generation(), second);
/// assert!(!call.end(first, 7, 0));
///
/// // The caller gives up; the device's late answer frees the call.
/// assert!(call.abandon());
/// assert!(!call.end_late(first));
/// assert!(call.end_late(second));
/// assert!(call.reserve().is_some());
/// call.start();
///
/// // The device was stopped before it answered.
/// assert!(call.abandon());
/// assert!(call.reclaim());
/// ```
pub struct Call {
    state: AtomicU32,
    result: AtomicU64,
    status: AtomicU32,
}

impl Call {
    /// A free call.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            state: AtomicU32::new(FREE),
            result: AtomicU64::new(0),
            status: AtomicU32::new(0),
        }
    }

    /// The generation of the last use.
    pub fn generation(&self) -> u16 {
        // The upper half has 16 bits.
        (self.state.load(Ordering::Relaxed) >> u16::BITS) as u16
    }

    /// Steps from one state to another, within the use of this generation. What the context before
    /// did with the call is done, and the next one will see what this context did.
    fn step(&self, generation: u16, from: u32, to: u32) -> bool {
        let word = |state| u32::from(generation) << u16::BITS | state;
        self.state
            .compare_exchange(word(from), word(to), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Sets the state. Only the owner calls this.
    fn set(&self, state: u32) {
        let word = u32::from(self.generation()) << u16::BITS | state;
        self.state.store(word, Ordering::Release);
    }

    /// Takes the call for this context, if it is free, and returns the generation of this use.
    /// Nothing ends it before [`start`](Self::start). The caller frees what an abandoned call has
    /// left.
    pub fn reserve(&self) -> Option<u16> {
        let old = self.state.load(Ordering::Relaxed);
        if !matches!(old & STATE, FREE | LATE) {
            return None;
        }
        let generation = ((old >> u16::BITS) as u16 + 1) % GENERATIONS;
        let new = u32::from(generation) << u16::BITS | RESERVED;
        // Acquire: what the call's last user did with it is done. No context reads RESERVED to learn
        // what came before it.
        let taken = self
            .state
            .compare_exchange(old, new, Ordering::Acquire, Ordering::Relaxed);
        taken.is_ok().then_some(generation)
    }

    /// Frees a reserved call that wasn't started. Only the context that reserved it calls this.
    pub fn release(&self) {
        self.set(FREE);
    }

    /// From now on, the call may be ended. Only the context that reserved it calls this.
    pub fn start(&self) {
        self.set(PENDING);
    }

    /// Ends the use of this generation with this result; false if it isn't pending. After true, the
    /// caller must wake the context that waits.
    pub fn end(&self, generation: u16, result: u64, status: u16) -> bool {
        // First the ownership, then the result: of two contexts that end the call, only one may
        // write it.
        if !self.step(generation, PENDING, ENDING) {
            return false;
        }
        self.result.store(result, Ordering::Relaxed);
        self.status.store(status.into(), Ordering::Relaxed);
        // Pairs with the load in `take`, which then sees the result and the data.
        self.set(DONE);
        true
    }

    /// Gives up waiting: the call isn't free before [`end_late`](Self::end_late) or
    /// [`reclaim`](Self::reclaim). False if the call was ended meanwhile, so that this context will
    /// be woken. Only the context that reserved the call calls this.
    pub fn abandon(&self) -> bool {
        self.step(self.generation(), PENDING, ABANDONED)
    }

    /// Frees the call if its use of this generation is abandoned, because the device has answered;
    /// returns whether it was. Any context.
    pub fn end_late(&self, generation: u16) -> bool {
        self.step(generation, ABANDONED, LATE)
    }

    /// The result and the status of a call that is done, which is free then; `None` if it isn't
    /// done. Only the context that waited calls this.
    pub fn take(&self) -> Option<(u64, u16)> {
        if self.state.load(Ordering::Acquire) & STATE != DONE {
            return None;
        }
        let result = self.result.load(Ordering::Relaxed);
        // `end` takes a `u16`.
        let status = self.status.load(Ordering::Relaxed) as u16;
        self.set(FREE);
        Some((result, status))
    }

    /// Frees the call if it is abandoned; returns whether it was. The device must not end it later.
    pub fn reclaim(&self) -> bool {
        self.step(self.generation(), ABANDONED, FREE)
    }
}
