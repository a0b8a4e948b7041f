// SPDX-License-Identifier: GPL-2.0

//! Whether a value is set that is set only once, for [`Global`](super::super::sync::Global).

use super::{
    AtomicU32,
    Ordering, //
};

const EMPTY: u32 = 0;
const BUSY: u32 = 1;
const READY: u32 = 2;

/// The state of the value.
///
/// # Examples
///
/// ```
/// use abstractions::atomic::once::Once;
///
/// static ONCE: Once = Once::new();
///
/// if ONCE.begin() {
///     // Set the value here.
///     ONCE.finish();
/// }
/// assert!(ONCE.is_ready());
/// ```
pub struct Once(AtomicU32);

impl Once {
    const_fn! {
        /// There is no value.
        #[allow(clippy::new_without_default)]
        pub fn new() -> Self {
            Self(AtomicU32::new(EMPTY))
        }
    }

    /// Whether this context is the one that sets the value; true for one context only, which calls
    /// [`finish`](Self::finish) next.
    pub fn begin(&self) -> bool {
        // Relaxed: nothing comes before the value, and no context reads it before `finish`.
        self.0
            .compare_exchange(EMPTY, BUSY, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// The value is set.
    pub fn finish(&self) {
        // Pairs with the load in `is_ready`.
        self.0.store(READY, Ordering::Release);
    }

    /// Whether the value is set. If so, this context sees it.
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire) == READY
    }
}
