// SPDX-License-Identifier: GPL-2.0

//! Safe abstractions that the in-tree `kernel` crate lacks.
//!
//! Only this part of the module has `unsafe` code. It knows nothing about NVMe, so that each file
//! could become part of the `kernel` crate. `driver/` and the samples use it. `README.md` compares
//! it with the `kernel` crate, and says how another module takes it, or parts of it.

pub mod atomic;
pub mod binding;
pub mod block;
pub mod chrdev;
pub mod devcoredump;
pub mod dma;
pub mod dmi;
pub mod hwmon;
pub mod io_uring;
pub mod irq;
pub mod pci;
pub mod series;
pub mod sync;
pub mod sysfs;
pub mod trace;
pub mod workqueue;

#[cfg(CONFIG_KUNIT)]
mod tests;
