// SPDX-License-Identifier: GPL-2.0

//! The instance numbers of controllers, and the names that contain them.

use crate::abstractions::atomic::{
    AtomicU64,
    Ordering, //
};
use core::fmt;
use kernel::prelude::*;

/// The maximum number of controllers.
const MAX_CONTROLLERS: usize = 256;

/// The default of the parameter `first_instance`: the kernel's `nvme` doesn't count so far.
const FAR: u32 = 900;

/// A bit for each number, from the module's parameter `first_instance` on; set while in use.
static INSTANCES: [AtomicU64; MAX_CONTROLLERS / 64] =
    [const { AtomicU64::new(0) }; MAX_CONTROLLERS / 64];

/// A controller's name: `nvme` and its instance number. The names of its disks, interrupts and
/// files begin with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name(u32);

impl Name {
    /// The instance number.
    pub(crate) fn number(self) -> u32 {
        self.0
    }

    /// Whether a controller of the kernel's `nvme`, which counts from 0 on, may have the same name.
    pub(crate) fn may_be_taken(self) -> bool {
        self.0 < FAR
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nvme{}", self.0)
    }
}

/// An instance number in use. Dropping this frees the number.
pub(super) struct Instance {
    index: usize,
    first: u32,
}

impl Instance {
    /// Takes the lowest free number, from `first` on: always the same value.
    ///
    /// # Errors
    ///
    /// `ENOSPC` if all numbers are in use.
    pub(super) fn new(first: u32) -> Result<Self> {
        for index in 0..MAX_CONTROLLERS {
            let (word, bit) = (
                INSTANCES.get(index / 64).ok_or(ENOSPC)?,
                1u64 << (index % 64),
            );
            let mut old = word.load(Ordering::Relaxed);
            while old & bit == 0 {
                // Pairs with the release in `drop`: the last controller with this number is gone.
                match word.compare_exchange(old, old | bit, Ordering::Acquire, Ordering::Relaxed) {
                    Ok(_) => return Ok(Self { index, first }),
                    Err(now) => old = now,
                }
            }
        }
        Err(ENOSPC)
    }

    /// The name with this number.
    pub(super) fn name(&self) -> Name {
        // The index is small.
        Name(self.first.saturating_add(self.index as u32))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let (Some(word), bit) = (INSTANCES.get(self.index / 64), 1u64 << (self.index % 64)) else {
            return;
        };
        word.fetch_and(!bit, Ordering::Release);
    }
}
