// SPDX-License-Identifier: GPL-2.0

//! Identifiers of queues, commands and namespaces, as types of their own, so that no function takes
//! one for another. Each is as large as its number.

use core::{
    fmt,
    num::NonZeroU32, //
};

/// The identifier of a submission queue and its completion queue (QID; Base 3.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Qid(u16);

impl Qid {
    /// The admin queue (Base 3.3.1).
    pub const ADMIN: Self = Self(0);

    /// The queue with this number; 0 is the admin queue.
    #[inline]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number.
    #[inline]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Qid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The identifier of a command, unique among the commands in flight in its queue (CID; Base
/// 3.3.3.1). A controller may report any, so each must be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Cid(u16);

impl Cid {
    /// For a command whose queue sets the identifier later.
    pub const UNSET: Self = Self(0);

    /// The command identifier with this number.
    #[inline]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number.
    #[inline]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::LowerHex for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

/// The identifier of one namespace: neither 0, which is none, nor all ones, which is the broadcast
/// value (NSID; Base 3.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Nsid(NonZeroU32);

impl Nsid {
    /// The value of the field NSID for all namespaces (Base 3.2.1).
    pub(super) const BROADCAST: u32 = u32::MAX;

    /// The namespace with this identifier; [`None`] for 0 and the broadcast value.
    #[inline]
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) if number.get() != Self::BROADCAST => Some(Self(number)),
            _ => None,
        }
    }

    /// The number.
    #[inline]
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Nsid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
