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

/// The first instance number. Tools recognise NVMe devices by names of this form; the kernel's
/// `nvme`, which numbers its controllers from 0 on, doesn't reach these numbers.
const FIRST: usize = 900;

static INSTANCES: [AtomicU64; MAX_CONTROLLERS / 64] =
    [const { AtomicU64::new(0) }; MAX_CONTROLLERS / 64];

/// A controller's name: `nvme` and its instance number. The names of its disks, interrupts and
/// files begin with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name(usize);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nvme{}", self.0)
    }
}

/// An instance number in use. Dropping this frees the number.
pub(super) struct Instance(usize);

impl Instance {
    /// Takes the lowest number that is free.
    pub(super) fn new() -> Result<Self> {
        for i in 0..MAX_CONTROLLERS {
            let (word, bit) = (INSTANCES.get(i / 64).ok_or(ENOSPC)?, 1u64 << (i % 64));
            let mut old = word.load(Ordering::Relaxed);
            while old & bit == 0 {
                match word.compare_exchange(old, old | bit, Ordering::AcqRel, Ordering::Relaxed) {
                    Ok(_) => return Ok(Self(i)),
                    Err(now) => old = now,
                }
            }
        }
        Err(ENOSPC)
    }

    /// The name with this number.
    pub(super) fn name(&self) -> Name {
        Name(FIRST + self.0)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let (Some(word), bit) = (INSTANCES.get(self.0 / 64), 1u64 << (self.0 % 64)) else {
            return;
        };
        word.fetch_and(!bit, Ordering::Release);
    }
}
