// SPDX-License-Identifier: GPL-2.0

//! A table takes the things of its first user until the claim is released, and nobody's while it
//! refuses all. For [`InFlight`](super::super::block::mq::InFlight).

use super::{
    AtomicUsize,
    Ordering, //
};

/// Flag in the state: all users are refused. The bits above it have the user, or are 0.
const REFUSES: usize = 1;

/// A claim on a table. A user is an even number other than 0, such as an address.
///
/// A claim orders no other accesses; the code that hands over what is in the table does.
///
/// # Examples
///
/// ```
/// use abstractions::atomic::claim::Claim;
///
/// let claim = Claim::new();
/// assert!(claim.admits(0x1000));
/// // The first user has the table.
/// assert!(!claim.admits(0x2000));
/// claim.refuse(true);
/// assert!(!claim.admits(0x1000) && claim.suits(0x1000));
/// claim.release(|user| user == 0x1000);
/// assert!(claim.suits(0x2000) && !claim.admits(0x2000));
/// claim.refuse(false);
/// assert!(claim.admits(0x2000));
/// ```
pub struct Claim(AtomicUsize);

impl Claim {
    const_fn! {
        /// A table without a user.
        #[allow(clippy::new_without_default)]
        pub fn new() -> Self {
            Self(AtomicUsize::new(0))
        }
    }

    /// Whether the table takes a thing of `user`, who becomes its user if it has none.
    #[inline(always)]
    pub fn admits(&self, user: usize) -> bool {
        // While all are refused, the state differs from every user.
        self.0.load(Ordering::Relaxed) == user || self.take(user)
    }

    #[cold]
    fn take(&self, user: usize) -> bool {
        let first = self
            .0
            .compare_exchange(0, user, Ordering::Relaxed, Ordering::Relaxed);
        first.is_ok() || first == Err(user)
    }

    /// Whether the table would take a thing of `user` if it didn't [refuse](Self::refuse) all.
    pub fn suits(&self, user: usize) -> bool {
        let owner = self.0.load(Ordering::Relaxed) & !REFUSES;
        owner == 0 || owner == user
    }

    /// Sets whether all users are refused. The table keeps its user.
    pub fn refuse(&self, refuses: bool) {
        match refuses {
            true => self.0.fetch_or(REFUSES, Ordering::Relaxed),
            false => self.0.fetch_and(!REFUSES, Ordering::Relaxed),
        };
    }

    /// Ends the claim of the table's user, if `whose` is true for the user. The table still refuses
    /// all users if it did.
    pub fn release(&self, whose: impl Fn(usize) -> bool) {
        // An error says that nothing was to be done.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| {
                whose(state & !REFUSES).then_some(state & REFUSES)
            });
    }
}
