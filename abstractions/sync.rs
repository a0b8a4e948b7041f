// SPDX-License-Identifier: GPL-2.0

//! Synchronisation that the in-tree crate lacks: a wait with a time limit, and a cell that one
//! context at a time works on.
//!
//! C header: [`include/linux/completion.h`](srctree/include/linux/completion.h)

use core::{
    cell::UnsafeCell,
    sync::atomic::{
        AtomicU32,
        Ordering, //
    }, //
};
use kernel::{
    bindings,
    prelude::*,
    time::msecs_to_jiffies,
    types::Opaque, //
};

/// A `struct completion` that can be waited for with a time limit and used again.
///
/// # Invariants
///
/// `inner` is an initialised `struct completion`.
#[pin_data]
pub struct Completion {
    #[pin]
    inner: Opaque<bindings::completion>,
}

// SAFETY: `struct completion` has a lock of its own and no affinity to a thread.
unsafe impl Send for Completion {}

// SAFETY: All methods use the C functions that may be called concurrently.
unsafe impl Sync for Completion {}

impl Completion {
    /// Creates a completion that is not done.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- Opaque::ffi_init(|slot: *mut bindings::completion| {
                // SAFETY: `slot` is valid for writes and will not move.
                unsafe { bindings::init_completion(slot) };
            }),
        })
    }

    /// Wakes one waiter, now or when it starts to wait. Any context.
    #[inline]
    pub fn complete(&self) {
        // SAFETY: By the type invariant `inner` is initialised.
        unsafe { bindings::complete(self.inner.get()) };
    }

    /// Waits until [`complete`](Self::complete) is called, `ms` milliseconds at most.
    ///
    /// Returns whether it was called; the call is used up by that. May sleep.
    #[must_use]
    pub fn wait_timeout(&self, ms: u32) -> bool {
        // A limit of 0 jiffies would return without a look.
        let jiffies = msecs_to_jiffies(ms).max(1);

        // SAFETY: By the type invariant `inner` is initialised.
        unsafe { bindings::wait_for_completion_timeout(self.inner.get(), jiffies) != 0 }
    }
}

/// Orders reads of memory that a device writes: what is read after this was written no earlier than
/// what was read before, if the device wrote it in that order. As `dma_rmb()`.
#[inline(always)]
pub fn dma_read_barrier() {
    // Where loads aren't reordered, it is enough to keep the compiler from doing so.
    #[cfg(CONFIG_X86_64)]
    core::sync::atomic::compiler_fence(Ordering::Acquire);
    #[cfg(not(CONFIG_X86_64))]
    kernel::sync::barrier::dma_mb(kernel::sync::barrier::Read);
}

const IDLE: u32 = 0;
const BUSY: u32 = 1;
const AGAIN: u32 = 2;

/// A value that one context at a time works on, and none waits for.
///
/// It fits work that is triggered from several sides and always does all that there is to do:
/// reaping a completion queue from its interrupt, from a poll and from a time-out. Whoever comes
/// while another is at it leaves a note and goes; the one at work then goes over it once more. So
/// no trigger is lost, no interrupt is disabled, and a pass costs two atomic operations. That holds
/// as long as all that is run does the same work.
///
/// # Invariants
///
/// `value` is accessed only by the context that moved `state` away from `IDLE`, until that same
/// context moves it back.
pub struct Funnel<T> {
    state: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: The value moves with its owner.
unsafe impl<T: Send> Send for Funnel<T> {}

// SAFETY: By the type invariant only one context at a time has access to the value, so sharing the
// funnel sends the value between contexts, but never shares it.
unsafe impl<T: Send> Sync for Funnel<T> {}

impl<T> Funnel<T> {
    /// Wraps `value`.
    pub const fn new(value: T) -> Self {
        // INVARIANT: Nobody is at work yet.
        Self {
            state: AtomicU32::new(IDLE),
            value: UnsafeCell::new(value),
        }
    }

    /// Runs `work`, and again for each call that came meanwhile, unless another context is at it:
    /// then that one runs its own `work` once more, and this call returns `false` at once.
    ///
    /// Any context; also from within `work`, which then runs again.
    #[inline(always)]
    pub fn run(&self, mut work: impl FnMut(&mut T)) -> bool {
        let entered = self
            .state
            .compare_exchange(IDLE, BUSY, Ordering::Acquire, Ordering::Relaxed);
        if entered.is_err() && self.state.swap(AGAIN, Ordering::SeqCst) != IDLE {
            return false;
        }

        loop {
            // SAFETY: By the type invariant this context has the only access: it moved `state`
            // away from `IDLE` above and moves it back below only.
            work(unsafe { &mut *self.value.get() });

            let left =
                self.state
                    .compare_exchange(BUSY, IDLE, Ordering::Release, Ordering::Relaxed);
            if left.is_ok() {
                return true;
            }
            // A call came since: take its note, and see all that it saw.
            self.state.swap(BUSY, Ordering::SeqCst);
        }
    }
}
