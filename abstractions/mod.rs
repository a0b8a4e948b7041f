// SPDX-License-Identifier: GPL-2.0

//! Safe abstractions that the in-tree `kernel` crate lacks.
//!
//! Only this part of the module has `unsafe` code. It knows nothing about NVMe, so that each file
//! could become part of the `kernel` crate. `driver/` and the samples use it.

pub mod atomic;
pub mod bar;
pub mod binding;
pub mod coredump;
pub mod dma;
pub mod irq;
pub mod mq;
pub mod pci;
pub mod sync;
pub mod sysfs;
pub mod work;

#[cfg(CONFIG_KUNIT)]
mod tests;
