// SPDX-License-Identifier: GPL-2.0

//! States of a controller, and the ways between them.
//!
//! ```text
//!   new -----> live <-----> resetting
//!    |          | \           / |
//!    |          |  +-> dead <+  |
//!    |          |       |       |
//!    +----------+-------+-------+---> deleting
//! ```
//!
//! The way into a state is taken once: to ask for the state that already is, is refused, so that of
//! two who want to reset a controller only one does.

use core::fmt;

/// State of a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// Being brought up for the first time: no request can come yet.
    New = 0,
    /// At work.
    Live = 1,
    /// Stopped and being brought up again: requests wait.
    Resetting = 2,
    /// On its way out, for unbind or removal: requests fail. There is no way back.
    Deleting = 3,
    /// Given up: requests fail at once, and nothing but unbind is left.
    Dead = 4,
}

impl State {
    /// All states, in the order of their numbers.
    pub const ALL: [Self; 5] = [
        Self::New,
        Self::Live,
        Self::Resetting,
        Self::Deleting,
        Self::Dead,
    ];

    /// The state `to`, if there is a way from this one.
    pub const fn next(self, to: Self) -> Result<Self, InvalidTransition> {
        use State::*;
        match (self, to) {
            // Brought up; or not, or removed meanwhile.
            (New, Live | Deleting) => Ok(to),
            // A reset, by a time-out or by hand; surprise removal; unbind.
            (Live, Resetting | Dead | Deleting) => Ok(to),
            // Brought up again; or not; or unbound meanwhile.
            (Resetting, Live | Dead | Deleting) => Ok(to),
            // A dead controller can still be unbound.
            (Dead, Deleting) => Ok(to),
            _ => Err(InvalidTransition { from: self, to }),
        }
    }

    /// The state's number, for an atomic.
    #[inline]
    pub const fn as_u32(self) -> u32 {
        self as u32
    }

    /// The state's name, as sysfs has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Live => "live",
            Self::Resetting => "resetting",
            Self::Deleting => "deleting",
            Self::Dead => "dead",
        }
    }
}

impl TryFrom<u32> for State {
    type Error = InvalidState;

    #[inline]
    fn try_from(number: u32) -> Result<Self, InvalidState> {
        match number {
            0 => Ok(Self::New),
            1 => Ok(Self::Live),
            2 => Ok(Self::Resetting),
            3 => Ok(Self::Deleting),
            4 => Ok(Self::Dead),
            _ => Err(InvalidState(number)),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A number that is no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidState(pub u32);

/// A way between two states that isn't there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidTransition {
    /// The state that is.
    pub from: State,
    /// The state that was asked for.
    pub to: State,
}

impl fmt::Display for InvalidTransition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no way from {} to {}", self.from.name(), self.to.name())
    }
}
