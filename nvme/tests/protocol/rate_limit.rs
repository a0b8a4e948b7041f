// SPDX-License-Identifier: GPL-2.0

//! Tests of `host::rate_limit`: which lines are logged, against a model.

use nvme_proto::host::rate_limit::{
    RateLimit,
    BURST,
    INTERVAL_MS, //
};
use proptest::prelude::*;

/// The answers for lines at these times.
fn lines(times: impl IntoIterator<Item = u64>) -> Vec<Option<u32>> {
    let mut limit = RateLimit::NEW;
    times
        .into_iter()
        .map(|now| {
            let (next, admitted) = RateLimit::from_bits(limit.bits()).admit(now);
            limit = next;
            admitted
        })
        .collect()
}

#[test]
fn a_burst_and_the_rest_counted() {
    let start = 1_000_000;
    let mut answers = lines(
        (0..25)
            .map(|i| start + i)
            .chain([start + INTERVAL_MS, start + INTERVAL_MS + 1]),
    );
    // The last line begins the next interval, and has the number of suppressed lines.
    assert_eq!(answers.pop(), Some(Some(16)));
    assert_eq!(answers.iter().flatten().count(), BURST as usize);
    assert!(answers[..10].iter().all(|line| *line == Some(0)));
    // Lines at time 0.
    assert_eq!(lines([0; 11]), [vec![Some(0); 10], vec![None]].concat());
}

#[test]
fn extremes() {
    // The count is at its maximum and stays there.
    let mut limit = RateLimit::from_bits(u64::MAX >> 1);
    let begin = limit.bits() >> 24;
    for _ in 0..3 {
        let (next, admitted) = limit.admit(begin);
        assert_eq!((next, admitted), (limit, None));
        limit = next;
    }
    assert_eq!(
        limit.admit(begin + INTERVAL_MS + 1).1,
        Some((1 << 24) - 1 - BURST)
    );
    // After 34 years each line begins an interval.
    assert_eq!(lines([1 << 40, (1 << 40) + 1]), [Some(0), Some(0)]);
    assert_eq!(lines([u64::MAX, 0]), [Some(0), Some(0)]);
}

proptest! {
    #![proptest_config(super::cases(4000))]

    /// Compares with a model of two numbers, at times that advance by any step, or go back a
    /// little.
    #[test]
    fn model(steps in prop::collection::vec(
        prop_oneof![
            8 => 0i64..30,
            2 => -30i64..0,
            1 => 0i64..20_000,
            1 => Just(INTERVAL_MS as i64),
            1 => Just(INTERVAL_MS as i64 + 1),
        ],
        0..200,
    )) {
        let (mut now, mut begin, mut count, mut logged, mut missed) = (100i64, 0i64, 0u32, 0u32, 0u32);
        let times: Vec<u64> = steps
            .iter()
            .map(|step| {
                now = (now + step).max(0);
                now as u64
            })
            .collect();
        for (now, answer) in times.iter().zip(lines(times.iter().copied())) {
            let now = *now as i64;
            let expected = if now - begin > INTERVAL_MS as i64 {
                begin = now;
                Some(std::mem::replace(&mut count, 1).saturating_sub(BURST))
            } else {
                count += 1;
                (count <= BURST).then_some(0)
            };
            prop_assert_eq!(answer, expected);
            logged += u32::from(answer.is_some());
            missed += answer.unwrap_or(0);
        }
        // Each line was logged or counted, or the next interval will report it.
        let pending = count.saturating_sub(BURST);
        prop_assert_eq!(logged + missed + pending, steps.len() as u32);
    }

    /// Any state at any time: the numbers stay in range.
    #[test]
    fn hostile(bits: u64, now: u64) {
        let (next, admitted) = RateLimit::from_bits(bits).admit(now);
        let count = |state: RateLimit| state.bits() & 0xff_ffff;
        prop_assert!(count(next) >= 1);
        prop_assert!(admitted.is_none_or(|missed| u64::from(missed) <= count(RateLimit::from_bits(bits))));
    }
}
