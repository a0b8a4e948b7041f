// SPDX-License-Identifier: GPL-2.0

//! Safe abstractions that the in-tree `kernel` crate lacks.
//!
//! Only this part of the module has `unsafe` code. It knows nothing about NVMe, so that each file
//! could become part of the `kernel` crate. `driver/` and the samples use it. `README.md` compares
//! it with the `kernel` crate.
//!
//! A module outside this tree declares the parts that it takes, and those that they need
//! (`README.md` lists them):
//!
//! ```text
//! #[path = "../abstractions"]
//! mod abstractions {
//!     pub mod sync;
//!     pub mod sysfs;
//! }
//! ```

pub mod atomic;
pub mod binding;
pub mod block;
pub mod devcoredump;
pub mod dma;
pub mod irq;
pub mod pci;
pub mod sync;
pub mod sysfs;
pub mod workqueue;

#[cfg(CONFIG_KUNIT)]
mod tests;
