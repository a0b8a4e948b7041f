// SPDX-License-Identifier: GPL-2.0

//! Parses the power state descriptors of Identify Controller (Base 5.17.2.1).

use super::super::page::{
    byte,
    le32,
    Page, //
};

/// The largest number of a controller's power states.
pub const POWER_STATES: usize = 32;

/// A power state (Base 5.17.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PowerState {
    /// Maximum time to enter the state, in microseconds (ENLAT).
    pub enter_us: u32,
    /// Maximum time to leave the state, in microseconds (EXLAT).
    pub exit_us: u32,
    /// The controller doesn't process I/O commands in this state, and leaves it for one (NOPS).
    pub non_operational: bool,
}

/// The power states of a controller that can enter them by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerStates {
    count: usize,
    states: [PowerState; POWER_STATES],
}

impl PowerStates {
    /// Parses the controller's identify data. `None` if the controller has no autonomous transitions
    /// (APSTA), or reports more states than there are (NPSS).
    pub fn parse(page: &Page) -> Option<Self> {
        let count = usize::from(byte(page, 263)).saturating_add(1);
        if (byte(page, 265) & 1) == 0 || count > POWER_STATES {
            return None;
        }
        let states = core::array::from_fn(|state| {
            let at = |offset: usize| state.saturating_mul(32).saturating_add(offset);
            PowerState {
                enter_us: le32(page, at(2048 + 4)),
                exit_us: le32(page, at(2048 + 8)),
                non_operational: (byte(page, at(2048 + 3)) & (1 << 1)) != 0,
            }
        });
        Some(Self { count, states })
    }

    /// The states, the one with the highest power first.
    pub fn as_slice(&self) -> &[PowerState] {
        self.states.get(..self.count).unwrap_or(&[])
    }
}
