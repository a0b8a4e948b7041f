// SPDX-License-Identifier: GPL-2.0

//! After the end of a command, the context that waits for it owns what the command used. If that
//! context has left, the context that ends the command owns it. For
//! [`OpenDisk::execute`](super::super::block::mq::OpenDisk::execute).

use super::{
    AtomicU32,
    Ordering, //
};

const RUNS: u32 = 0;
const LEFT: u32 = 1;
/// From here on: the command has ended, with the status above it.
const ENDED: u32 = 2;

/// The handover at the end of a command.
///
/// # Examples
///
/// ```
/// use abstractions::atomic::handover::Handover;
///
/// let (waits, leaves) = (Handover::new(), Handover::new());
/// // The context that waits owns everything after the end.
/// assert!(!waits.end(5));
/// assert_eq!(waits.status(), Some(5));
/// assert!(!waits.leave());
/// // It has left, so the context that ends the command owns everything.
/// assert!(leaves.leave());
/// assert!(leaves.end(5));
/// ```
pub struct Handover(AtomicU32);

impl Handover {
    const_fn! {
        /// Of a command that runs.
        #[allow(clippy::new_without_default)]
        pub fn new() -> Self {
            Self(AtomicU32::new(RUNS))
        }
    }

    /// The command has ended with `status`; called once. True if the other context has left: this one
    /// is the owner then.
    #[must_use]
    pub fn end(&self, status: u8) -> bool {
        let ended = ENDED.wrapping_add(status.into());
        // Release: the context that waits sees the command's data. Acquire: if that context has left,
        // this one sees what it did before.
        self.0.swap(ended, Ordering::AcqRel) == LEFT
    }

    /// The context that waits is about to leave; called once. False if the command has ended: this
    /// context stays the owner then.
    #[must_use]
    pub fn leave(&self) -> bool {
        // Both pair with the exchange in `end`: Acquire if that came first, Release otherwise.
        self.0
            .compare_exchange(RUNS, LEFT, Ordering::Release, Ordering::Acquire)
            .is_ok()
    }

    /// The status of a command that has ended. Then this context, which waits for the end, owns
    /// everything.
    pub fn status(&self) -> Option<u8> {
        let status = self.0.load(Ordering::Acquire).checked_sub(ENDED)?;
        u8::try_from(status).ok()
    }
}
