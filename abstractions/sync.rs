// SPDX-License-Identifier: GPL-2.0

//! Synchronisation that the in-tree crate lacks: a wait with a time limit, a cell that one context
//! at a time works on, a lock in a static, and a scope for those whom I/O waits for.
//!
//! C header: [`include/linux/completion.h`](srctree/include/linux/completion.h)

use core::{
    cell::UnsafeCell,
    mem::MaybeUninit,
    sync::atomic::{
        AtomicU32,
        Ordering, //
    }, //
};
#[cfg(CONFIG_PREEMPT_RT)]
use kernel::sync::{
    new_spinlock,
    SpinLock, //
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

/// A value behind a lock in a static: for what all devices of a driver share.
///
/// It isn't dropped when the module is unloaded; by then it should own nothing.
///
/// # Invariants
///
/// `value` is initialised, and stays so, once `state` is `READY`; before that only the context that moved
/// `state` away from `EMPTY` has access to it.
pub struct Global<T> {
    state: AtomicU32,
    value: UnsafeCell<MaybeUninit<Mutex<T>>>,
}

// SAFETY: The value is shared as in the mutex that it is in, which one context initialises before others
// have access to it.
unsafe impl<T: Send> Sync for Global<T> {}

impl<T> Global<T> {
    const EMPTY: u32 = 0;
    const BUSY: u32 = 1;
    const READY: u32 = 2;

    /// A global without a value.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        // INVARIANT: There is no value yet.
        Self {
            state: AtomicU32::new(Self::EMPTY),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// Gives it its value, unless that was done: when the module is loaded, before others look.
    pub fn init(&'static self, value: T) {
        let empty = self.state.compare_exchange(
            Self::EMPTY,
            Self::BUSY,
            Ordering::Acquire,
            Ordering::Relaxed,
        );
        if empty.is_err() {
            return;
        }
        let slot = self.value.get().cast::<Mutex<T>>();
        // SAFETY: By the type invariant this context has the only access; a static doesn't move.
        unsafe { pin_init::raw_init(slot, new_mutex!(value)) };
        // INVARIANT: It was initialised above.
        self.state.store(Self::READY, Ordering::Release);
    }

    /// The lock with the value, if it was given one.
    pub fn get(&'static self) -> Option<&'static Mutex<T>> {
        if self.state.load(Ordering::Acquire) != Self::READY {
            return None;
        }
        // SAFETY: By the type invariant it is initialised, and only shared from now on.
        Some(unsafe { (*self.value.get()).assume_init_ref() })
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

/// Calls `f`, in which no allocation of memory starts I/O, or waits for some: for code that I/O
/// itself may wait for, as a storage device's recovery. As `memalloc_noio_save()`.
pub fn without_io<R>(f: impl FnOnce() -> R) -> R {
    /// The flag as it was before, for the task that set it.
    struct Scope(c_uint, core::marker::PhantomData<*mut ()>);

    impl Drop for Scope {
        fn drop(&mut self) {
            let task = kernel::task::Task::current_raw();
            // SAFETY: The flags of a task are changed by itself only, and it is the same task, as
            // the scope isn't `Send`.
            unsafe { (*task).flags = (*task).flags & !bindings::PF_MEMALLOC_NOIO | self.0 };
        }
    }

    let task = kernel::task::Task::current_raw();
    // SAFETY: The flags of a task are changed by itself only.
    let before = unsafe {
        let before = (*task).flags & bindings::PF_MEMALLOC_NOIO;
        (*task).flags |= bindings::PF_MEMALLOC_NOIO;
        before
    };
    let _scope = Scope(before, core::marker::PhantomData);
    f()
}

/// Orders writes of memory that a device reads: what is written before is seen no later than what is
/// written after. As `dma_wmb()`.
#[inline(always)]
pub fn dma_write_barrier() {
    // Where stores aren't reordered, it is enough to keep the compiler from doing so.
    #[cfg(CONFIG_X86_64)]
    core::sync::atomic::compiler_fence(Ordering::Release);
    #[cfg(not(CONFIG_X86_64))]
    kernel::sync::barrier::dma_mb(kernel::sync::barrier::Write);
}

/// Orders all accesses before to all after, for CPUs and devices. As `mb()`.
#[inline(always)]
pub fn full_barrier() {
    // One instruction, which the in-tree crate makes a call of.
    #[cfg(CONFIG_X86_64)]
    core::sync::atomic::fence(Ordering::SeqCst);
    #[cfg(not(CONFIG_X86_64))]
    kernel::sync::barrier::mb(kernel::sync::barrier::Full);
}

/// Orders an interrupt's handler and a task that do the same work, such as that of a [`RerunLock`]: while the
/// task is at it, the handler doesn't run on its CPU.
///
/// Without that, a handler that finds the work taken would return while its line is still raised, and come
/// again at once, for as long as it keeps the task from its CPU. So a task is at it with interrupts off.
/// With PREEMPT_RT the handler is a task itself, with a higher priority, that preempts the other one: there
/// it waits for a lock, and lends its priority to the lock's owner.
#[pin_data]
pub struct Turn {
    #[cfg(not(CONFIG_PREEMPT_RT))]
    none: (),
    #[cfg(CONFIG_PREEMPT_RT)]
    #[pin]
    lock: SpinLock<()>,
}

impl Turn {
    /// It is nobody's turn.
    pub fn new() -> impl PinInit<Self> {
        #[cfg(not(CONFIG_PREEMPT_RT))]
        {
            pin_init!(Self { none: () })
        }
        #[cfg(CONFIG_PREEMPT_RT)]
        {
            pin_init!(Self {
                lock <- new_spinlock!(()),
            })
        }
    }

    /// Calls `f`, which must not sleep, as the task.
    #[inline(always)]
    pub fn task<R>(&self, f: impl FnOnce() -> R) -> R {
        #[cfg(not(CONFIG_PREEMPT_RT))]
        let _turn = kernel::interrupt::local_interrupt_disable();
        #[cfg(CONFIG_PREEMPT_RT)]
        let _turn = self.lock.lock();
        f()
    }

    /// Calls `f`, which must not sleep, as the interrupt's handler.
    #[inline(always)]
    pub fn handler<R>(&self, f: impl FnOnce() -> R) -> R {
        #[cfg(CONFIG_PREEMPT_RT)]
        let _turn = self.lock.lock();
        f()
    }
}

/// Proof that an RCU grace period can't end: the holder is in a read-side section.
///
/// # Safety
///
/// While a value of the type exists, no grace period ends that begins then. The type isn't `Send`.
pub unsafe trait RcuReadSide {}

// SAFETY: By the guard's type invariant the read side is locked.
unsafe impl RcuReadSide for rcu::Guard {}

// SAFETY: A grace period waits for all code that disabled preemption, as `spin_lock()` does. With
// PREEMPT_RT it doesn't, but takes `rcu_read_lock()` then (`rt_spin_lock()`).
unsafe impl<T: ?Sized> RcuReadSide for SpinLockGuard<'_, T> {}

const IDLE: u32 = 0;
const BUSY: u32 = 1;
const AGAIN: u32 = 2;

/// A value that one context at a time works on, and none waits for.
///
/// It fits work that is triggered from several sides and always does all that there is to do:
/// reaping a completion queue from its interrupt, from a poll and from a time-out. Whoever comes
/// while another is at it leaves a note and goes; the one at work then goes over it once more. So
/// no trigger is lost, no interrupt is disabled, and a pass costs two atomic operations. That holds
/// as long as all who enter do the same work.
///
/// # Invariants
///
/// `value` is accessed only by the context that moved `state` away from `IDLE`, until that same
/// context moves it back.
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
    /// Wraps `value`.
    pub const fn new(value: T) -> Self {
        // INVARIANT: Nobody is at work yet.
        Self {
            state: AtomicU32::new(IDLE),
            value: UnsafeCell::new(value),
        }
    }

    /// Enters, unless another context is inside: that one is then told to go over its work once
    /// more. Any context.
    #[inline(always)]
    pub fn enter(&self) -> Option<RerunGuard<'_, T>> {
        let entered = self
            .state
            .compare_exchange(IDLE, BUSY, Ordering::Acquire, Ordering::Relaxed);

        if entered.is_err() && self.state.swap(AGAIN, Ordering::SeqCst) != IDLE {
            return None;
        }
        // INVARIANT: This context moved `state` away from `IDLE`.
        Some(RerunGuard { lock: self })
    }
}

/// The access of the one context that is inside a [`RerunLock`].
///
/// It is to be given back by [`leave`](Self::leave). One that is dropped takes no note of others.
///
/// # Invariants
///
/// This context moved the lock's state away from `IDLE`.
pub struct RerunGuard<'a, T> {
    lock: &'a RerunLock<T>,
}

impl<'a, T> RerunGuard<'a, T> {
    /// The value.
    #[inline(always)]
    pub fn value(&mut self) -> &mut T {
        // SAFETY: By the type invariants this context has the only access to the value.
        unsafe { &mut *self.lock.value.get() }
    }

    /// Leaves; or stays inside, if others came meanwhile, to go over the work once more.
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
        // Take the note, and see all that they saw who left it.
        self.lock.state.swap(BUSY, Ordering::SeqCst);
        Some(self)
    }
}

impl<T> Drop for RerunGuard<'_, T> {
    fn drop(&mut self) {
        self.lock.state.store(IDLE, Ordering::Release);
    }
}
