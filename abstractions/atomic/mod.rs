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
