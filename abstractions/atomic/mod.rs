// SPDX-License-Identifier: GPL-2.0

//! The atomics that the driver and the abstractions use, and the lock-free pieces that are made of
//! them. Pure `core`.
//!
//! This file alone decides which atomics these are; `make check` finds others.
//!
//! - In the kernel: `core`'s. Each access to an atomic of `kernel::sync` calls a C helper, which
//!   costs more than the access. `core`'s have a memory model of their own, so C code doesn't access
//!   these words, and only locks, work items and RCU order them against what C code accesses; any
//!   exception says why it works.
//! - On the host: loom's. The folder is also a Cargo package (`Cargo.toml`), whose tests run the
//!   pieces below in every interleaving, and in every order of memory accesses that the model
//!   allows, within loom's bounds. Only the package sets the feature `loom`.
//!
//! | File    | Piece                                               | Used by                     |
//! |---------|-----------------------------------------------------|-----------------------------|
//! | `rerun` | a lock that no context waits for                    | `sync::RerunLock`           |
//! | `slot`  | an entry of a table, taken out once by identifier   | `block::mq::InFlight`       |
//! | `call`  | a command that one context waits for                | the admin queue             |
//! | `claim` | whose things a table takes                          | `block::mq::InFlight`       |
//! | `handover` | who owns a command's memory after its end        | passthrough requests        |
//! | `gate`  | counts users, until no more may come                | `chrdev`                    |
//! | `word`  | a command whose completion is a word                | asynchronous events, trials |
//! | `once`  | a value that is set once                            | `sync::Global`              |
//!
//! # Orderings
//!
//! What the orderings of the whole tree are for, in terms of the kernel's memory model (LKMM,
//! `tools/memory-model`), whose litmus tests the first column names. A comment beside each one that is
//! stronger than `Relaxed` says what it pairs with. `make weaken` weakens each one of the pieces, and
//! loom must find that. `tests/patterns.rs` has models of the others, with and without the ordering.
//!
//! | Pattern | Here | LKMM | arm64; x86 | Outside the pieces | Model |
//! |---|---|---|---|---|---|
//! | message passing (`MP`) | store `Release`, load `Acquire` | `smp_store_release()`, `smp_load_acquire()` | `stlr`, `ldar`; plain | `Counter::publish`, `Controller::state` | `counters` |
//! | one owner after the other | exchange `Acquire`, `Release` or `AcqRel` | `xchg_acquire()`, `cmpxchg_release()` | `ldaxr`, `stlxr`; `lock` | instance numbers, the turn in `devcoredump` | `taken_flag` |
//! | two flags (`SB`, `R`) | `fence(SeqCst)` between a store and a load or store | `smp_mb()` | `dmb ish`; `mfence` | `GenDisk::mark_dead` | `dead_disk` |
//! | the same, with a device | `full_barrier` | `mb()` | `dsb sy`; `mfence` | shadow doorbells | `shadow_doorbell` |
//! | a device has written | `dma_read_barrier` | `dma_rmb()` | `dmb oshld`; none | the phase in `Queue::reap` | `completion` |
//! | a device gets memory (`MP`, `LB`) | `dma_release_barrier`, `Doorbell::write` | `dma_mb()`, `writel()` | `dmb osh`, `dmb oshst`; none | doorbells | `completion`, `submission` |
//! | RCU | `Relaxed`, and a grace period | `rcu_dereference()`, `WRITE_ONCE()` | plain | `Binding`, `Doorbell`, `io_uring` | none |
//! | a lock orders, or nothing must | `Relaxed` | `READ_ONCE()`, `WRITE_ONCE()`, `atomic_add_return_relaxed()` | plain, or `ldxr`, `stxr`; plain, or `lock` | `Queue::open`, the detour, disks in `TagSet`, values for statistics | `open_queue`, `closed_detour` |
//!
//! Where `core` and LKMM differ:
//!
//! - An exchange with `AcqRel` or `SeqCst` isn't a full barrier on arm64, as `xchg()` is: a later load
//!   may be made before its store. So a fence orders a store before a later load, and nothing else is
//!   `SeqCst`.
//! - An exchange that fails has the second ordering; a `cmpxchg()` that fails orders nothing.
//! - An exchange of any ordering passes on what the store that it read released: in both models.
//! - As compiled, `Relaxed` is `READ_ONCE()` and `WRITE_ONCE()`. But in `core`'s model no dependency of
//!   an address, a value or a branch orders anything. Here only RCU's readers rely on one: on that of an
//!   address, which the compiler doesn't know and so can't replace.
//! - Words that a device accesses are volatile: `READ_ONCE()` and `WRITE_ONCE()`, too.
//!
//! In loom no load sees a store that is made later (`LB`). A cell finds that all the same, if the load is
//! one of its value.

// A driver uses only a part of this.
#![allow(dead_code, unreachable_pub, unused_imports)]

#[cfg(feature = "loom")]
pub use loom::{
    cell::UnsafeCell,
    sync::atomic::{
        AtomicPtr,
        AtomicU32,
        AtomicU64,
        AtomicUsize,
        Ordering, //
    }, //
};

#[cfg(not(feature = "loom"))]
pub use core::sync::atomic::{
    compiler_fence,
    fence,
    AtomicBool,
    AtomicI64,
    AtomicPtr,
    AtomicU32,
    AtomicU64,
    AtomicUsize,
    Ordering, //
};

/// [`core::cell::UnsafeCell`], with the interface of loom's, which finds accesses that no atomic
/// orders.
///
/// # Examples
///
/// ```
/// use abstractions::atomic::UnsafeCell;
///
/// let cell = UnsafeCell::new(1);
/// cell.with_mut(|value| {
///     // SAFETY: No other context has access to the cell.
///     unsafe { *value += 1 };
/// });
/// ```
#[cfg(not(feature = "loom"))]
pub struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

#[cfg(not(feature = "loom"))]
impl<T> UnsafeCell<T> {
    /// Wraps `value`.
    pub const fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }

    /// Calls `f` with a pointer to the value.
    #[inline(always)]
    pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

/// Defines a function as `const`, except with loom, whose atomics have no `const` constructor.
macro_rules! const_fn {
    ($(#[$attribute:meta])* pub fn $name:ident($($arg:ident: $type:ty),*) -> $returns:ty $body:block) => {
        $(#[$attribute])*
        #[cfg(not(feature = "loom"))]
        pub const fn $name($($arg: $type),*) -> $returns $body

        $(#[$attribute])*
        #[cfg(feature = "loom")]
        pub fn $name($($arg: $type),*) -> $returns $body
    };
}

pub mod call;
pub mod claim;
pub mod gate;
pub mod handover;
pub mod once;
pub mod rerun;
pub mod slot;
pub mod word;
