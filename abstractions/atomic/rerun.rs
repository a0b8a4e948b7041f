// SPDX-License-Identifier: GPL-2.0

//! A lock that no context waits for. `sync` exports it.

use super::{
    AtomicU32,
    Ordering,
    UnsafeCell, //
};

const IDLE: u32 = 0;
const BUSY: u32 = 1;
/// The owner must make another pass.
const AGAIN: u32 = 2;

/// A lock that no context waits for: if it is taken, the owner repeats its work.
///
/// For work that several contexts trigger and that always does everything pending, for example
/// reaping a completion queue from its interrupt, a poll or a time-out. A context that finds the
/// lock taken sets a flag and leaves; the owner then makes another pass. So no trigger is lost, no
/// interrupt is disabled, and a pass costs two atomic operations. This requires that all contexts
/// do the same work.
///
/// # Invariants
///
/// Only the context that moved `state` away from `IDLE` accesses `value`, until that context moves
/// `state` back.
///
/// # Examples
///
/// ```
/// use abstractions::sync::RerunLock;
///
/// /// Counts the passes.
/// static PASSES: RerunLock<u32> = RerunLock::new(0);
///
/// /// Called by the interrupt handler, a poll and a time-out.
/// fn reap() {
///     let mut entered = PASSES.enter();
///     while let Some(mut owner) = entered {
///         *owner.value() += 1;
///         entered = owner.leave();
///     }
/// }
///
/// reap();
/// ```
pub struct RerunLock<T> {
    state: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: The value moves with its owner.
unsafe impl<T: Send> Send for RerunLock<T> {}

// SAFETY: By the type invariant only one context at a time has access to the value, so sharing the
// lock sends the value between contexts, but never shares it.
unsafe impl<T: Send> Sync for RerunLock<T> {}

impl<T> RerunLock<T> {
    const_fn! {
        /// Wraps `value`.
        pub fn new(value: T) -> Self {
            // INVARIANT: `state` is `IDLE`, and no context accesses `value`.
            Self {
                state: AtomicU32::new(IDLE),
                value: UnsafeCell::new(value),
            }
        }
    }

    /// Takes the lock. If another context has it, tells that context to make another pass, and
    /// returns `None`. Any context.
    #[inline(always)]
    pub fn enter(&self) -> Option<RerunGuard<'_, T>> {
        let entered = self
            .state
            .compare_exchange(IDLE, BUSY, Ordering::Acquire, Ordering::Relaxed);

        // Release: the owner's next pass sees what this context saw, such as the entry whose interrupt
        // called it. Acquire: if the owner has left, this context is the next one.
        if entered.is_err() && self.state.swap(AGAIN, Ordering::AcqRel) != IDLE {
            return None;
        }
        // INVARIANT: This context moved `state` away from `IDLE`.
        Some(RerunGuard { lock: self })
    }
}

/// The ownership of a [`RerunLock`].
///
/// Release it by [`leave`](Self::leave). Dropping it ignores requests for another pass.
///
/// # Invariants
///
/// This context moved the lock's state away from `IDLE`.
///
/// # Examples
///
/// ```
/// use abstractions::atomic::rerun::{RerunGuard, RerunLock};
///
/// /// Works until no other context has asked for another pass.
/// fn work(mut owner: RerunGuard<'_, u32>) {
///     loop {
///         *owner.value() += 1;
///         match owner.leave() {
///             Some(again) => owner = again,
///             None => break,
///         }
///     }
/// }
///
/// let lock = RerunLock::new(0);
/// let owner = lock.enter().ok_or(EBUSY)?;
/// // Another context asks for another pass.
/// assert!(lock.enter().is_none());
/// work(owner);
/// assert_eq!(*lock.enter().ok_or(EBUSY)?.value(), 2);
/// ```
pub struct RerunGuard<'a, T> {
    lock: &'a RerunLock<T>,
}

impl<'a, T> RerunGuard<'a, T> {
    /// The value.
    #[inline(always)]
    pub fn value(&mut self) -> &mut T {
        // SAFETY: By the type invariants this context has the only access to the value.
        self.lock.value.with_mut(|value| unsafe { &mut *value })
    }

    /// Releases the lock, or returns it if another context requested another pass meanwhile.
    #[inline(always)]
    pub fn leave(self) -> Option<Self> {
        let left =
            self.lock
                .state
                .compare_exchange(BUSY, IDLE, Ordering::Release, Ordering::Relaxed);

        if left.is_ok() {
            core::mem::forget(self);
            return None;
        }
        // Clear the flag, and see all that the contexts that set it saw. No context reads BUSY to learn
        // what came before it.
        self.lock.state.swap(BUSY, Ordering::Acquire);
        Some(self)
    }
}

impl<T> Drop for RerunGuard<'_, T> {
    fn drop(&mut self) {
        // Not a store, which loom may order before another context's exchange.
        self.lock.state.swap(IDLE, Ordering::Release);
    }
}
