// SPDX-License-Identifier: GPL-2.0

//! Tests of `host::histogram`: buckets, percentiles and groups, against sorted times and counted
//! bounds.

use nvme_proto::host::histogram::{
    self,
    bucket,
    finest,
    groups,
    lower_bound,
    upper_bound,
    BUCKETS, //
};
use proptest::prelude::*;

fn percentile(counts: &[u64], permille: u32) -> Option<u64> {
    histogram::percentile(counts.iter().copied(), permille)
}

/// The lower bounds of all buckets, by counting: one bucket for each nanosecond up to 8, then 8
/// buckets for each power of two, then the last bucket.
fn bounds() -> Vec<u64> {
    let mut bounds: Vec<u64> = (0..8).collect();
    for exponent in 3..40 {
        bounds.extend((8..16).map(|eighth| eighth << (exponent - 3)));
    }
    bounds.push(1 << 40);
    bounds
}

#[test]
fn all_buckets() {
    let bounds = bounds();
    assert_eq!(bounds.len(), BUCKETS);
    for (index, &low) in bounds.iter().enumerate() {
        let high = bounds.get(index + 1).map_or(u64::MAX, |next| next - 1);
        assert_eq!(lower_bound(index), low);
        assert_eq!(upper_bound(index), high);
        assert_eq!(bucket(low), index);
        assert_eq!(bucket(high), index);
    }
}

/// The functions take an index beyond the buckets for the last bucket.
#[test]
fn beyond() {
    for index in [BUCKETS, BUCKETS + 1, usize::MAX] {
        assert_eq!(lower_bound(index), 1 << 40);
        assert_eq!(upper_bound(index), u64::MAX);
    }
}

#[test]
fn percentiles() {
    assert_eq!(percentile(&[], 500), None);
    assert_eq!(percentile(&[0; BUCKETS], 500), None);
    // One hundred times, 1 to 100 ns; each time up to 7 ns has its own bucket.
    let mut counts = [0; BUCKETS];
    for ns in 1..=100 {
        counts[bucket(ns)] += 1;
    }
    assert_eq!(percentile(&counts, 0), Some(1));
    assert_eq!(percentile(&counts, 10), Some(1));
    assert_eq!(percentile(&counts, 11), Some(2));
    assert_eq!(percentile(&counts, 70), Some(7));
    assert_eq!(percentile(&counts, 500), Some(upper_bound(bucket(50))));
    assert_eq!(percentile(&counts, 990), Some(upper_bound(bucket(99))));
    assert_eq!(percentile(&counts, 1000), Some(upper_bound(bucket(100))));
    assert_eq!(percentile(&counts, u32::MAX), percentile(&counts, 1000));
    // A time beyond the range of the histogram.
    counts[bucket(u64::MAX)] += 1;
    assert_eq!(percentile(&counts, 1000), Some(u64::MAX));
}

/// The rank of a percentile is exact: one more or one less time below the rank changes the result.
#[test]
fn exact_rank() {
    assert_eq!(percentile(&[999_000, 1_000], 999), Some(0));
    assert_eq!(percentile(&[998_999, 1_001], 999), Some(1));
    assert_eq!(percentile(&[1_000_000, 1_001], 999), Some(0));
    assert_eq!(percentile(&[999_999, 1_002], 999), Some(1));
    assert_eq!(percentile(&[1, 1], 500), Some(0));
    assert_eq!(percentile(&[1, 1], 501), Some(1));
}

/// Counts beyond the last bucket are ignored.
#[test]
fn too_many_counts() {
    let mut counts = vec![0; BUCKETS + 8];
    counts[3] = 1;
    counts[BUCKETS] = 1000;
    assert_eq!(percentile(&counts, 1000), Some(3));
}

/// Times of all magnitudes, each magnitude equally often.
fn time() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0u32..64).prop_map(|(ns, shift)| ns >> shift)
}

proptest! {
    #![proptest_config(crate::cases(4096))]

    #[test]
    fn in_its_bucket(ns in time()) {
        let index = bucket(ns);
        prop_assert!(index < BUCKETS);
        prop_assert!(lower_bound(index) <= ns && ns <= upper_bound(index));
        // The same bucket as by a search in the bounds.
        prop_assert_eq!(index, bounds().partition_point(|low| *low <= ns) - 1);
        // No bucket but the last is wider than an eighth of its times.
        if index < BUCKETS - 1 {
            prop_assert!(upper_bound(index) - lower_bound(index) <= lower_bound(index) / 8);
        }
    }

    #[test]
    fn in_order(a in time(), b in time()) {
        prop_assert!(bucket(a.min(b)) <= bucket(a.max(b)));
    }
}

proptest! {
    #![proptest_config(crate::cases(512))]

    /// Compares with the percentile of the sorted times.
    #[test]
    fn percentile_of_times(
        mut times in prop::collection::vec(time(), 1..300),
        permille in 0u32..=1000,
    ) {
        let mut counts = [0; BUCKETS];
        for ns in &times {
            counts[bucket(*ns)] += 1;
        }
        times.sort_unstable();
        let rank = (times.len() * permille as usize).div_ceil(1000).max(1);
        prop_assert_eq!(
            percentile(&counts, permille),
            Some(upper_bound(bucket(times[rank - 1])))
        );
    }

    /// Compares with the rank in exact arithmetic, for counts of any size.
    #[test]
    fn percentile_of_counts(
        counts in prop::collection::vec(0u64..1 << 50, 1..20),
        small: bool,
        permille in 0u32..=1000,
    ) {
        let counts: Vec<u64> = counts.iter().map(|n| if small { n % 5000 } else { *n }).collect();
        let total: u128 = counts.iter().map(|n| u128::from(*n)).sum();
        let rank = (total * u128::from(permille)).div_ceil(1000).max(1);
        let mut seen = 0;
        let expected = counts.iter().position(|n| {
            seen += u128::from(*n);
            seen >= rank
        });
        prop_assert_eq!(percentile(&counts, permille), expected.map(upper_bound));
    }

    /// Counts near the maximum of 64 bits don't overflow, and a higher percentile is never a
    /// shorter time.
    #[test]
    fn huge_counts(
        counts in prop::collection::vec(prop_oneof![Just(0), Just(u64::MAX), any::<u64>()], 1..400),
        a in 0u32..=1000,
        b in 0u32..=1000,
    ) {
        let low = percentile(&counts, a.min(b));
        let high = percentile(&counts, a.max(b));
        prop_assert!(low <= high);
        prop_assert_eq!(low.is_none(), counts.iter().take(BUCKETS).all(|n| *n == 0));
    }
}

/// The groups of `counts`, and the text of a file `latency`.
fn text(counts: &[u64], shift: u32) -> (Vec<(u64, u64)>, String) {
    let mut all = Vec::new();
    groups(counts, shift, |bound, count| {
        all.push((bound, count));
        Ok::<_, ()>(())
    })
    .unwrap();
    let text = all.iter().map(|(bound, n)| format!("{bound}:{n} "));
    let text = text.collect();
    (all, text)
}

#[test]
fn groups_stop_at_an_error() {
    let mut seen = 0;
    let result = groups(&[1, 2, 3], 0, |_, count| {
        seen += 1;
        if count == 2 {
            Err(count)
        } else {
            Ok(())
        }
    });
    assert_eq!((result, seen), (Err(2), 2));
}

#[test]
fn groups_of_one_are_the_buckets() {
    let counts: Vec<u64> = (0..BUCKETS as u64).collect();
    let expected: Vec<_> = (1..BUCKETS).map(|i| (upper_bound(i), i as u64)).collect();
    assert_eq!(text(&counts, 0).0, expected);
}

/// The text of the largest counts fits into a page.
#[test]
fn coarse_text_fits() {
    let counts = [u64::MAX; BUCKETS];
    assert!(text(&counts, 3).1.len() <= 1400);
    assert_eq!(finest(&counts, 1400), 3);
    assert_eq!(finest(&[0; BUCKETS], 0), 0);
}

proptest! {
    #![proptest_config(crate::cases(512))]

    /// Each grouping has all counts, at bounds of the finer grouping; `finest` finds the finest
    /// grouping that fits.
    #[test]
    fn grouped(counts in prop::collection::vec(0u64..1 << 40, BUCKETS), room in 1400usize..8000) {
        let (fine, _) = text(&counts, 0);
        for shift in 0..=3 {
            let (coarse, _) = text(&counts, shift);
            let mut rest = fine.iter();
            for (bound, count) in &coarse {
                let mut sum = 0;
                for (b, n) in rest.by_ref() {
                    sum += n;
                    if b == bound {
                        break;
                    }
                    // A group spans one power of two at most.
                    prop_assert!(*b < *bound && (*bound == u64::MAX || bound / 2 <= (*b).max(7)));
                }
                prop_assert_eq!(sum, *count);
            }
            prop_assert!(rest.next().is_none());
        }
        let shift = finest(&counts, room);
        prop_assert!(text(&counts, shift).1.len() <= room);
        prop_assert!(shift == 0 || text(&counts, shift - 1).1.len() > room);
    }
}
