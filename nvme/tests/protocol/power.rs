// SPDX-License-Identifier: GPL-2.0

//! Tests of `host::power` and `spec::identify::power`: which power states an idle controller enters.

use super::{
    cases,
    identify::{
        controller,
        Fields, //
    },
};
use nvme_proto::{
    host::power::transitions,
    spec::identify::{
        Controller,
        PowerState,
        PowerStates,
        POWER_STATES, //
    },
};
use proptest::prelude::*;

/// The descriptor of a power state.
fn descriptor(state: PowerState) -> [u8; 32] {
    let mut bytes = [0xa5; 32];
    bytes[3] = if state.non_operational { 0xff } else { 0xfd };
    bytes[4..8].copy_from_slice(&state.enter_us.to_le_bytes());
    bytes[8..12].copy_from_slice(&state.exit_us.to_le_bytes());
    bytes
}

fn page(states: &[PowerState], apsta: u8) -> Fields {
    let page = controller()
        .put(263, [(states.len() - 1) as u8])
        .put(265, [apsta]);
    states
        .iter()
        .enumerate()
        .fold(page, |page, (index, state)| {
            page.put(2048 + 32 * index, descriptor(*state))
        })
}

fn idle(enter_us: u32, exit_us: u32) -> PowerState {
    PowerState {
        enter_us,
        exit_us,
        non_operational: true,
    }
}

const BUSY: PowerState = PowerState {
    enter_us: 0,
    exit_us: 0,
    non_operational: false,
};

#[test]
fn descriptors() {
    let states = [
        BUSY,
        BUSY,
        idle(5_000, 10_000),
        idle(0x0102_0304, 0x0506_0708),
    ];
    let parsed = PowerStates::parse(&page(&states, 1).0).unwrap();
    assert_eq!(parsed.as_slice(), states);
    // Without autonomous transitions.
    assert_eq!(PowerStates::parse(&page(&states, 0).0), None);
    assert_eq!(PowerStates::parse(&page(&states, 0xfe).0), None);
    // All 32 states, and more than there are.
    let most = PowerStates::parse(&page(&[BUSY; 32], 1).0).unwrap();
    assert_eq!(most.as_slice().len(), 32);
    assert_eq!(PowerStates::parse(&page(&[BUSY], 1).put(263, [32]).0), None);
    assert_eq!(
        PowerStates::parse(&page(&[BUSY], 1).put(263, [255]).0),
        None
    );
}

#[test]
fn deepest_state() {
    for (npss, deepest) in [
        (0, None),
        (1, Some(1)),
        (31, Some(31)),
        (32, None),
        (255, None),
    ] {
        let page = controller().put(263, [npss]);
        let info = Controller::parse(&page.0);
        assert_eq!(info.deepest_power_state(), deepest, "{npss}");
    }
}

/// A disk with two operational states, a light and a deep state, as many have.
#[test]
fn light_and_deep() {
    let states = [BUSY, BUSY, BUSY, idle(5_000, 5_000), idle(9_000, 45_000)];
    let (light, deep) = (3 << 3 | 100 << 8, 4 << 3 | 2000 << 8);
    let expected = |entries: &[u64]| -> [u64; POWER_STATES] {
        core::array::from_fn(|index| entries.get(index).copied().unwrap_or(0))
    };
    assert_eq!(
        transitions(&states, 100_000, false),
        expected(&[light, light, light, deep])
    );
    // The deepest fails, or takes too long.
    for (max_exit_us, skip) in [(100_000, true), (44_999, false), (5_000, false)] {
        assert_eq!(
            transitions(&states, max_exit_us, skip),
            expected(&[light, light, light])
        );
    }
    assert_eq!(transitions(&states, 45_000, false)[3], deep);
    assert_eq!(transitions(&states, 4_999, false), [0; POWER_STATES]);
    assert_eq!(transitions(&states, 0, false), [0; POWER_STATES]);
    // Longer than the longest step.
    assert_eq!(
        transitions(&[BUSY, idle(50_000, 50_001)], u32::MAX, false),
        [0; POWER_STATES]
    );
    assert_eq!(
        transitions(&[BUSY, idle(50_000, 50_000)], u32::MAX, false)[0],
        1 << 3 | 2000 << 8
    );
    assert_eq!(transitions(&[], u32::MAX, true), [0; POWER_STATES]);
}

/// Of several states of a step the deepest.
#[test]
fn deepest_of_a_step() {
    let states = [
        BUSY,
        idle(1, 1),
        idle(2, 2),
        idle(20_000, 1),
        idle(30_000, 1),
    ];
    let table = transitions(&states, 100_000, false);
    let (light, deep) = (2 << 3 | 100 << 8, 4 << 3 | 2000 << 8);
    assert_eq!(&table[..5], [light, light, deep, deep, 0]);
}

proptest! {
    #![proptest_config(cases(500))]

    /// For any states: a controller goes only down, only into states that are allowed, and with
    /// the idle time of a step.
    #[test]
    fn only_down(
        states in proptest::collection::vec((0u32..200_000, 0u32..200_000, any::<bool>()), 0..40),
        max_exit_us in 0u32..200_000, skip: bool,
    ) {
        let states: Vec<PowerState> = states
            .into_iter()
            .map(|(enter_us, exit_us, non_operational)| PowerState { enter_us, exit_us, non_operational })
            .collect();
        for (from, entry) in transitions(&states, max_exit_us, skip).into_iter().enumerate() {
            if entry == 0 {
                continue;
            }
            let (to, idle_ms) = ((entry >> 3 & 31) as usize, entry >> 8);
            prop_assert!(entry & 7 == 0 && to > from);
            prop_assert!(states[to].non_operational && states[to].exit_us <= max_exit_us);
            prop_assert!(!skip || to != states.len() - 1);
            let both = states[to].enter_us + states[to].exit_us;
            let most = match idle_ms {
                100 => 15_000,
                2000 => 100_000,
                _ => 0,
            };
            prop_assert!(both <= most);
        }
    }

    /// Any page gives states or none.
    #[test]
    fn hostile(page in proptest::collection::vec(any::<u8>(), 4096)) {
        let page: [u8; 4096] = page.try_into().unwrap();
        if let Some(states) = PowerStates::parse(&page) {
            prop_assert!(states.as_slice().len() <= POWER_STATES);
            transitions(states.as_slice(), u32::MAX, false);
        }
    }
}
