// SPDX-License-Identifier: GPL-2.0

use nvme_proto::state::{
    InvalidState,
    InvalidTransition,
    State,
    State::*, //
};

/// All ways that there are, in rows of what is and columns of what is asked for.
#[rustfmt::skip]
const WAYS: [(State, [u8; 5]); 5] = [
    //           new live resetting deleting dead
    (New,       [0,  1,   0,        1,       0]),
    (Live,      [0,  0,   1,        1,       1]),
    (Resetting, [0,  1,   0,        1,       1]),
    (Deleting,  [0,  0,   0,        0,       0]),
    (Dead,      [0,  0,   0,        1,       0]),
];

#[test]
fn all_ways() {
    for (from, row) in WAYS {
        for (to, way) in State::ALL.into_iter().zip(row) {
            let expected = match way {
                1 => Ok(to),
                _ => Err(InvalidTransition { from, to }),
            };
            assert_eq!(from.next(to), expected, "{from} to {to}");
        }
    }
}

/// From everywhere there is a way out, and no way leads back from there; a dead controller never
/// comes back to life; and nothing is ever new again.
#[test]
fn where_ways_lead() {
    for from in State::ALL {
        let mut reached = vec![from];
        let mut at = 0;
        while let Some(state) = reached.get(at).copied() {
            at += 1;
            for to in State::ALL {
                if state.next(to).is_ok() && !reached.contains(&to) {
                    reached.push(to);
                }
            }
        }
        assert!(reached.contains(&Deleting), "{from}");
        assert_eq!(reached.contains(&New), from == New, "{from}");
        let comes_alive = matches!(from, New | Live | Resetting);
        assert_eq!(reached.contains(&Live), comes_alive, "{from}");
    }
}

#[test]
fn names() {
    let names: Vec<_> = State::ALL.iter().map(State::to_string).collect();
    assert_eq!(names, ["new", "live", "resetting", "deleting", "dead"]);
    // Padding works, as in a table.
    assert_eq!(format!("{Live:>6}|{Dead:<6}|"), "  live|dead  |");
    assert_eq!(
        Dead.next(Live).unwrap_err().to_string(),
        "no way from dead to live"
    );
}

#[test]
fn numbers() {
    for (number, state) in (0u32..).zip(State::ALL) {
        assert_eq!(state.as_u32(), number);
        assert_eq!(State::try_from(number), Ok(state));
    }
    for number in [5, 6, 255, 256, u32::MAX] {
        assert_eq!(State::try_from(number), Err(InvalidState(number)));
    }
}
