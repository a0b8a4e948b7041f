// SPDX-License-Identifier: GPL-2.0

//! What the tests with loom share.

use loom::{
    cell::UnsafeCell,
    sync::Arc,
    thread, //
};

/// Runs `f` in a thread with a share of `shared`.
pub fn with<T: Send + Sync + 'static, R: Send + 'static>(
    shared: &Arc<T>,
    f: impl FnOnce(&T) -> R + Send + 'static,
) -> thread::JoinHandle<R> {
    let shared = shared.clone();
    thread::spawn(move || f(&shared))
}

/// A value that only one context at a time may access.
pub struct Owned<T>(UnsafeCell<T>);

// SAFETY: loom reports an access that isn't ordered after the last one.
unsafe impl<T: Send> Sync for Owned<T> {}

impl<T> Owned<T> {
    pub fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    pub fn access<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: loom panics before this if another context accesses the value.
        self.0.with_mut(|value| f(unsafe { &mut *value }))
    }
}
