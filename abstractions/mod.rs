// SPDX-License-Identifier: GPL-2.0

//! Safe abstractions that the in-tree `kernel` crate lacks.
//!
//! This is the only part of the module with `unsafe` code, and it knows nothing of NVMe: each file
//! could become part of the `kernel` crate.

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
