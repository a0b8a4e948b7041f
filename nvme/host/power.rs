// SPDX-License-Identifier: GPL-2.0

//! Decides which power states an idle controller enters by itself (Autonomous Power State Transition;
//! Base 5.27.1.11). `ctrl` sends the table to the controller.
//!
//! The policy is that of the kernel's `nvme`: a light state soon, a deep state later.

use super::super::spec::identify::{
    PowerState,
    POWER_STATES, //
};

/// For a state that takes up to so many microseconds to enter and to leave: how long the controller is
/// idle before it enters that state, in milliseconds. The lightest first.
const STEPS: [(u64, u64); 2] = [(15_000, 100), (100_000, 2000)];

/// The data of the feature: for each power state what the controller does when it is idle in it, as
/// the controller reads it: in bits 7 to 3 the state to enter, in bits 31 to 8 after how many
/// milliseconds. 0 is to stay.
///
/// `states` are the controller's power states, with decreasing power. The controller enters no state
/// that takes longer than `max_exit_us` microseconds to leave, nor the last state if `skip_deepest`.
pub fn transitions(
    states: &[PowerState],
    max_exit_us: u32,
    skip_deepest: bool,
) -> [u64; POWER_STATES] {
    let mut table = [0; POWER_STATES];
    let (mut target, mut last_step) = (0u64, None);
    for index in (0..POWER_STATES).rev() {
        let (Some(state), Some(entry)) = (states.get(index), table.get_mut(index)) else {
            continue;
        };
        *entry = target.to_le();
        let is_last = states.get(index.saturating_add(1)).is_none();
        if (is_last && skip_deepest) || !state.non_operational || state.exit_us > max_exit_us {
            continue;
        }
        let both = u64::from(state.enter_us).saturating_add(u64::from(state.exit_us));
        let mut steps = STEPS.iter().enumerate();
        let Some((step, (_, idle_ms))) = steps.find(|(_, (most, _))| both <= *most) else {
            continue;
        };
        // Of the states of a step, the deepest.
        if last_step != Some(step) {
            last_step = Some(step);
            target = (index as u64) << 3 | idle_ms << 8;
        }
    }
    table
}
