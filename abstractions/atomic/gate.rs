// SPDX-License-Identifier: GPL-2.0

//! Counts the contexts that use something, until no more may begin to: for calls from user space
//! that must end before a device is unbound, see [`chrdev`](super::super::chrdev).

use super::{
    AtomicU32,
    Ordering, //
};

/// Flag in the state: the gate is closed. The bits below count the contexts inside.
const CLOSED: u32 = 1 << 31;

/// A gate, which is open until it is closed.
///
/// # Examples
///
/// ```
/// use abstractions::atomic::gate::Gate;
///
/// let gate = Gate::new();
/// assert!(gate.enter());
/// // One context is inside: the other one waits until it is woken.
/// assert!(gate.close());
/// assert!(!gate.enter());
/// // The last to leave wakes it.
/// assert!(gate.leave());
/// ```
pub struct Gate(AtomicU32);

impl Gate {
    const_fn! {
        /// An open gate.
        #[allow(clippy::new_without_default)]
        pub fn new() -> Self {
            Self(AtomicU32::new(0))
        }
    }

    /// Enters, if the gate is open. The context that enters calls [`leave`](Self::leave) later.
    #[must_use]
    pub fn enter(&self) -> bool {
        // Relaxed: no context opens a gate, so there is nothing to see. An access that the CPU makes
        // before it has entered is still before `leave`, for which the context that closes waits.
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| {
                // The count can't reach the flag: each context inside is a task.
                (state & CLOSED == 0).then_some(state.wrapping_add(1))
            })
            .is_ok()
    }

    /// Leaves. True if the gate is closed and this context was the last one inside: it must wake
    /// the context that closed the gate.
    #[must_use]
    pub fn leave(&self) -> bool {
        // Release: `close`, or the last one to leave, sees what this context did inside. Acquire: the
        // last one sees what all others did, and passes it on by waking the context that closed.
        self.0.fetch_sub(1, Ordering::AcqRel) == CLOSED | 1
    }

    /// Closes the gate. True if contexts are inside, whose last one will wake this context; if
    /// false, this context sees all that contexts did inside. Only one context closes a gate, once.
    #[must_use]
    pub fn close(&self) -> bool {
        // Pairs with `leave`.
        self.0.fetch_or(CLOSED, Ordering::Acquire) != 0
    }
}
