// SPDX-License-Identifier: GPL-2.0

//! Tests of `host::oldest`, against a sorted list.

use nvme_proto::host::oldest::{
    Oldest,
    KEPT, //
};
use proptest::prelude::*;

/// The ages of commands with these start times.
fn ages(starts: &[u64], now: u64) -> Vec<u64> {
    let mut oldest = Oldest::default();
    starts.iter().for_each(|start| oldest.add(*start));
    oldest.ages(now).collect()
}

#[test]
fn the_oldest_comes_first() {
    assert!(ages(&[], 100).is_empty());
    assert_eq!(ages(&[70, 20, 50, 20], 100), [80, 80, 50, 30]);
}

/// A command may start after the time was taken.
#[test]
fn no_age_is_negative() {
    assert_eq!(ages(&[101, 99], 100), [1, 0]);
}

proptest! {
    #![proptest_config(super::cases(500))]

    #[test]
    fn only_the_oldest_are_kept(starts in prop::collection::vec(0u64..1000, 0..3 * KEPT)) {
        let mut sorted = starts.clone();
        sorted.sort_unstable();
        sorted.truncate(KEPT);
        let expected: Vec<u64> = sorted.iter().map(|start| 1000 - start).collect();
        prop_assert_eq!(ages(&starts, 1000), expected);
    }
}
