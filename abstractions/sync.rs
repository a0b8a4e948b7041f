// SPDX-License-Identifier: GPL-2.0

//! Synchronisation that the in-tree crate lacks: a completion with a time-out, a lock that never
//! waits, a lock in a static, barriers, and scopes for memory allocations.
//!
//! C header: [`include/linux/completion.h`](srctree/include/linux/completion.h)

// A driver uses only a part of this.
#![allow(dead_code, unreachable_pub, unused_imports)]

pub use super::atomic::rerun::RerunLock;

use super::atomic::{
    self,
    once::Once,
    Ordering, //
};
use super::series::{
    raw_init,
    TurnLock, //
};
use core::{
    cell::UnsafeCell,
    mem::MaybeUninit, //
};
use kernel::{
    bindings,
    new_mutex,
    prelude::*,
    sync::{
        rcu,
        Mutex,
        SpinLockGuard, //
    },
    time::msecs_to_jiffies,
    types::Opaque, //
};

/// A reusable `struct completion` whose waits have a time limit.
///
/// # Invariants
///
/// `inner` is an initialised `struct completion`.
///
/// # Examples
///
/// ```
/// use abstractions::sync::Completion;
///
/// let done = KBox::pin_init(Completion::new(), GFP_KERNEL)?;
///
/// // The interrupt handler.
/// done.complete();
///
/// // The task.
/// if !done.wait_timeout(1000) {
///     return Err(ETIMEDOUT);
/// }
/// // The wait above consumed the call.
/// assert!(!done.wait_timeout(1));
///
/// // A task of user space, which may be killed.
/// done.complete();
/// if !done.wait_killable(1000)? {
///     return Err(ETIMEDOUT);
/// }
/// ```
#[pin_data]
pub struct Completion {
    #[pin]
    inner: Opaque<bindings::completion>,
}

// SAFETY: `struct completion` has no affinity to a thread.
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

    /// As [`wait_timeout`](Self::wait_timeout), but ends if the task is killed, too.
    ///
    /// # Errors
    ///
    /// `EINTR` if the task is being killed.
    pub fn wait_killable(&self, ms: u32) -> Result<bool> {
        // A limit of 0 jiffies would return without checking the completion.
        let jiffies = msecs_to_jiffies(ms).max(1);

        // SAFETY: By the type invariant `inner` is initialised.
        match unsafe { bindings::wait_for_completion_killable_timeout(self.inner.get(), jiffies) } {
            left if left < 0 => Err(EINTR),
            left => Ok(left > 0),
        }
    }

    /// Waits until [`complete`](Self::complete) is called, `ms` milliseconds at most.
    ///
    /// Returns whether it was called, and consumes that call. May sleep.
    #[must_use]
    pub fn wait_timeout(&self, ms: u32) -> bool {
        // A limit of 0 jiffies would return without checking the completion.
        let jiffies = msecs_to_jiffies(ms).max(1);

        // SAFETY: By the type invariant `inner` is initialised.
        unsafe { bindings::wait_for_completion_timeout(self.inner.get(), jiffies) != 0 }
    }
}

/// A value behind a lock in a static: for state that all devices of a driver share.
///
/// The value isn't dropped when the module is unloaded; it should own nothing by then.
///
/// # Invariants
///
/// `value` is initialised, and stays so, once `state` is ready; before that only the context that
/// began to set it has access to it.
///
/// # Examples
///
/// ```
/// use abstractions::sync::Global;
///
/// /// The numbers in use.
/// static NUMBERS: Global<u64> = Global::new();
///
/// // When the module is loaded.
/// NUMBERS.init(0);
///
/// // For each device.
/// let mut numbers = NUMBERS.get().ok_or(EINVAL)?.lock();
/// let number = numbers.trailing_ones();
/// *numbers |= 1 << number;
/// ```
pub struct Global<T> {
    state: Once,
    value: UnsafeCell<MaybeUninit<Mutex<T>>>,
}

// SAFETY: The value is in a mutex, which is `Sync` for `T: Send`. By the type invariant one context
// initialises the mutex before other contexts have access to it.
unsafe impl<T: Send> Sync for Global<T> {}

impl<T> Global<T> {
    /// A global without a value.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        // INVARIANT: There is no value yet.
        Self {
            state: Once::new(),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// Sets the value, unless it is already set. Call this when the module is loaded, before other
    /// contexts call [`get`](Self::get).
    pub fn init(&'static self, value: T) {
        if !self.state.begin() {
            return;
        }
        let slot = self.value.get().cast::<Mutex<T>>();
        // SAFETY: By the type invariant this context has the only access; a static doesn't move.
        unsafe { raw_init(slot, new_mutex!(value)) };
        // INVARIANT: The value was initialised above.
        self.state.finish();
    }

    /// The lock, if the value is set.
    pub fn get(&'static self) -> Option<&'static Mutex<T>> {
        if !self.state.is_ready() {
            return None;
        }
        // SAFETY: By the type invariant the value is initialised, and only shared from then on.
        Some(unsafe { (*self.value.get()).assume_init_ref() })
    }
}

/// Orders reads of memory that a device writes: reads before this barrier complete before reads
/// after it. As `dma_rmb()`.
///
/// # Examples
///
/// ```
/// use abstractions::{dma::Ring, sync::dma_read_barrier};
///
/// let ring = Ring::<2>::new(dev, 16)?;
/// let slot = ring.slot(0).ok_or(EINVAL)?;
/// if slot.read::<1>() & 1 != 0 {
///     // The device writes the first word before this bit.
///     dma_read_barrier();
///     pr_info!("result {}\n", slot.read::<0>());
/// }
/// ```
#[inline(always)]
pub fn dma_read_barrier() {
    // x86 doesn't reorder loads, so a compiler barrier suffices.
    #[cfg(CONFIG_X86_64)]
    atomic::compiler_fence(Ordering::Acquire);
    #[cfg(not(CONFIG_X86_64))]
    kernel::sync::barrier::dma_mb(kernel::sync::barrier::Read);
}

/// Calls `f`, in which memory allocations neither start nor wait for I/O: for code that I/O may
/// depend on, for example a storage device's recovery. As `memalloc_noio_save()`.
///
/// # Examples
///
/// ```
/// use abstractions::sync::without_io;
///
/// // Reclaim may wait for this disk, so recovering it must not wait for reclaim.
/// let buffer = without_io(|| KBox::new([0u8; 512], GFP_KERNEL))?;
/// ```
pub fn without_io<R>(f: impl FnOnce() -> R) -> R {
    let _scope = Scope::new(bindings::PF_MEMALLOC_NOIO);
    f()
}

/// Calls `f`, in which memory allocations never wait: they may use the kernel's reserves, and fail
/// if those are used up. For few allocations, by code that reclaim may depend on. As
/// `memalloc_noreclaim_save()`.
///
/// # Examples
///
/// ```
/// use abstractions::sync::without_reclaim;
///
/// // Reclaim waits for this code, so it must not wait for reclaim.
/// let buffer = without_reclaim(|| KBox::new([0u8; 512], GFP_KERNEL))?;
/// ```
pub fn without_reclaim<R>(f: impl FnOnce() -> R) -> R {
    let _scope = Scope::new(bindings::PF_MEMALLOC);
    f()
}

/// Sets a flag of the running task until it is dropped.
struct Scope {
    flag: c_uint,
    /// The flag's previous value.
    before: c_uint,
    _task: core::marker::PhantomData<*mut ()>,
}

impl Scope {
    fn new(flag: c_uint) -> Self {
        let task = kernel::task::Task::current_raw();
        // SAFETY: Only a task itself changes its flags.
        let before = unsafe {
            let before = (*task).flags & flag;
            (*task).flags |= flag;
            before
        };
        Self {
            flag,
            before,
            _task: core::marker::PhantomData,
        }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        let task = kernel::task::Task::current_raw();
        // SAFETY: Only a task itself changes its flags, and this is the task that created the
        // scope, because the scope isn't `Send`.
        unsafe { (*task).flags = (*task).flags & !self.flag | self.before };
    }
}

/// Orders accesses to memory that is shared with a device: reads and writes before this barrier
/// complete before writes after it. For the write with which the device gets the memory. As
/// `dma_mb()`, but doesn't order writes before reads.
///
/// # Examples
///
/// ```
/// use abstractions::{dma::Ring, sync::dma_release_barrier};
///
/// let ring = Ring::<2>::new(dev, 16)?;
/// ring.write(0, &[0x10000, 1]);
/// // The device must see the entry before the bit that announces it.
/// dma_release_barrier();
/// ring.write(1, &[0, 1]);
/// ```
#[inline(always)]
pub fn dma_release_barrier() {
    // x86 reorders no access with a later store, so a compiler barrier suffices.
    #[cfg(CONFIG_X86_64)]
    atomic::compiler_fence(Ordering::Release);
    // `dma_wmb()` and `writel()` order only writes.
    #[cfg(not(CONFIG_X86_64))]
    kernel::sync::barrier::dma_mb(kernel::sync::barrier::Full);
}

/// Orders all accesses before this barrier before all accesses after it, for CPUs and devices. As
/// `mb()`.
///
/// # Examples
///
/// ```
/// use abstractions::{dma::Words, sync::full_barrier};
///
/// let page = Words::new(dev)?;
/// let (tail, wanted) = (page.word(0).ok_or(EINVAL)?, page.word(1).ok_or(EINVAL)?);
/// tail.write(1);
/// // Either this sees the device's request for a doorbell, or the device sees the new tail.
/// full_barrier();
/// if wanted.read() != 0 {
///     pr_info!("ring the doorbell\n");
/// }
/// ```
#[inline(always)]
pub fn full_barrier() {
    // A single instruction; the in-tree crate calls a C helper for it.
    #[cfg(CONFIG_X86_64)]
    atomic::fence(Ordering::SeqCst);
    #[cfg(not(CONFIG_X86_64))]
    kernel::sync::barrier::mb(kernel::sync::barrier::Full);
}

/// Orders an interrupt handler and a task that do the same work, for example under a [`RerunLock`]:
/// while the task works, the handler doesn't run on the task's CPU.
///
/// Otherwise a handler that finds the work taken would return while its interrupt line is still
/// asserted, and would be called again at once, forever, because it keeps the task from running. So
/// the task works with interrupts disabled. With PREEMPT_RT the handler is a thread that could
/// preempt the task: there both take a lock, which lends the handler's priority to its owner.
///
/// # Examples
///
/// ```
/// use abstractions::sync::{RerunLock, Turn};
///
/// let turn = KBox::pin_init(Turn::new(), GFP_KERNEL)?;
/// let reaped = RerunLock::new(0u32);
/// let reap = || {
///     let mut guard = reaped.enter();
///     while let Some(mut owner) = guard {
///         *owner.value() += 1;
///         guard = owner.leave();
///     }
/// };
///
/// // The task that polls, and the interrupt handler.
/// turn.task(reap);
/// turn.handler(reap);
/// ```
#[pin_data]
pub struct Turn {
    #[pin]
    lock: TurnLock,
}

impl Turn {
    /// Creates a `Turn` that no context holds.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            lock <- TurnLock::new(),
        })
    }

    /// Calls `f`, which must not sleep, in the task.
    #[inline(always)]
    pub fn task<R>(&self, f: impl FnOnce() -> R) -> R {
        let _turn = self.lock.task();
        f()
    }

    /// Calls `f`, which must not sleep, in the interrupt handler.
    #[inline(always)]
    pub fn handler<R>(&self, f: impl FnOnce() -> R) -> R {
        // Without PREEMPT_RT it is nothing.
        #[allow(clippy::let_unit_value)]
        let _turn = self.lock.handler();
        f()
    }
}

/// Proof that the holder is in an RCU read-side section.
///
/// # Safety
///
/// While a value of the type exists, no grace period that begins meanwhile may end. The type must
/// not be `Send`.
///
/// # Examples
///
/// ```
/// use abstractions::sync::RcuReadSide;
/// use kernel::sync::{new_spinlock, rcu, SpinLock};
///
/// /// Uses something that is freed after a grace period.
/// fn look(_proof: &impl RcuReadSide) {}
///
/// look(&rcu::read_lock());
/// let lock: Pin<KBox<SpinLock<()>>> = KBox::pin_init(new_spinlock!(()), GFP_KERNEL)?;
/// look(&lock.lock());
/// ```
pub unsafe trait RcuReadSide {}

// SAFETY: By the guard's type invariant the read side is locked.
unsafe impl RcuReadSide for rcu::Guard {}

// SAFETY: A grace period waits for all code that disabled preemption, as `spin_lock()` does. With
// PREEMPT_RT `spin_lock()` doesn't disable preemption, but calls `rcu_read_lock()` (see
// `rt_spin_lock()`).
unsafe impl<T: ?Sized> RcuReadSide for SpinLockGuard<'_, T> {}
