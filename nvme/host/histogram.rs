// SPDX-License-Identifier: GPL-2.0

//! Latency histograms: a time's bucket, and percentiles from the counts of all buckets. The
//! driver's statistics and rnvme-top use this.
//!
//! The scale is linear below 8 ns and has 8 buckets for each power of two above, so that a bucket's
//! bounds are at most 12.5 % apart. The last bucket holds all times from 2^40 ns (18 minutes) on.

/// Buckets for each power of two, as a power of two.
const SUB_BITS: u32 = 3;
/// Buckets for each power of two.
const SUB: u64 = 1 << SUB_BITS;
/// Power of two at which the last bucket begins.
const LAST_EXPONENT: u32 = 40;

/// Number of buckets.
pub const BUCKETS: usize = ((LAST_EXPONENT - SUB_BITS + 1) << SUB_BITS) as usize + 1;

/// The last bucket.
const LAST: usize = BUCKETS - 1;

/// The bucket of a time in nanoseconds, always below [`BUCKETS`].
#[inline]
pub const fn bucket(ns: u64) -> usize {
    if ns < SUB {
        return ns as usize;
    }
    // The exponent of the highest bit is at least SUB_BITS here, so `group` is not negative.
    let group = 63u32
        .wrapping_sub(ns.leading_zeros())
        .wrapping_sub(SUB_BITS);
    let sub = (ns.wrapping_shr(group) & (SUB - 1)) as usize;
    let index = (group as usize)
        .wrapping_add(1)
        .wrapping_shl(SUB_BITS)
        .wrapping_add(sub);
    if index < LAST {
        index
    } else {
        LAST
    }
}

/// The smallest time of a bucket, in nanoseconds. A number beyond the last bucket counts as the
/// last bucket.
pub const fn lower_bound(bucket: usize) -> u64 {
    let bucket = if bucket < LAST { bucket } else { LAST } as u64;
    if bucket < SUB {
        return bucket;
    }
    let group = (bucket >> SUB_BITS).wrapping_sub(1) as u32;
    (SUB | (bucket & (SUB - 1))).wrapping_shl(group)
}

/// The largest time of a bucket, in nanoseconds; [`u64::MAX`] for the last bucket.
pub const fn upper_bound(bucket: usize) -> u64 {
    if bucket >= LAST {
        return u64::MAX;
    }
    lower_bound(bucket.wrapping_add(1)).wrapping_sub(1)
}

/// Calls `f` with the upper bound and the count of each group of 2^`shift` neighbouring buckets, in
/// order, except for empty groups. `shift` is 0 to 3, so that no group crosses a power of two.
/// `counts` is indexed by [`bucket`].
///
/// # Errors
///
/// The first error of `f`.
pub fn groups<E>(
    counts: &[u64],
    shift: u32,
    mut f: impl FnMut(u64, u64) -> Result<(), E>,
) -> Result<(), E> {
    let counts = counts.get(..BUCKETS).unwrap_or(counts);
    let size = 1usize << shift.min(SUB_BITS);

    let mut end = 0usize;
    for counts in counts.chunks(size) {
        end = end.wrapping_add(size);
        let count = counts.iter().fold(0u64, |sum, n| sum.saturating_add(*n));
        if count != 0 {
            f(upper_bound(end.wrapping_sub(1)), count)?;
        }
    }
    Ok(())
}

/// The finest grouping for which the text of `counts` has at most `room` bytes: the `shift` for
/// [`groups`], if each group is printed as a word `bound:count` and one more byte. With 1400 bytes
/// a grouping always fits; returns 3 if none fits.
pub fn finest(counts: &[u64], room: usize) -> u32 {
    (0..SUB_BITS)
        .find(|shift| fits(counts, *shift, room))
        .unwrap_or(SUB_BITS)
}

/// Whether the text of `counts` has at most `room` bytes with the grouping `shift`. Not inlined,
/// because the compiler would unroll the caller's loop.
#[inline(never)]
fn fits(counts: &[u64], shift: u32, room: usize) -> bool {
    let mut bytes = 0usize;
    let fits = groups(counts, shift, |bound, count| {
        let word = digits(bound).wrapping_add(digits(count)).wrapping_add(2);
        bytes = bytes.saturating_add(word);
        if bytes <= room {
            Ok(())
        } else {
            Err(())
        }
    });
    fits.is_ok()
}

/// The decimal digits of a number.
const fn digits(n: u64) -> usize {
    match n.checked_ilog10() {
        Some(log) => (log as usize).wrapping_add(1),
        None => 1,
    }
}

/// The time that `permille` thousandths of all counted times don't exceed, in nanoseconds: the
/// upper bound of its bucket, so at most 12.5 % too much, and [`u64::MAX`] for the last bucket.
/// Callers take the minimum of this and the largest time seen. [`None`] if nothing was counted.
/// `counts` is indexed by [`bucket`]; `permille` is 0 to 1000.
///
/// Iterates twice over the counts, because a copy is too large for a kernel stack. The counts may
/// grow in between.
pub fn percentile(counts: impl Iterator<Item = u64> + Clone, permille: u32) -> Option<u64> {
    let counts = counts.take(BUCKETS);
    let total = counts.clone().fold(0u64, |sum, n| sum.saturating_add(n));
    if total == 0 {
        return None;
    }
    // The rank of the wanted time, counted from 1: total * permille / 1000, rounded up, in steps
    // that can't overflow.
    let permille = u64::from(permille.min(1000));
    let whole = (total / 1000).wrapping_mul(permille);
    let part = (total % 1000).wrapping_mul(permille).wrapping_add(999) / 1000;
    let rank = whole.wrapping_add(part).max(1);

    let mut seen = 0u64;
    for (bucket, n) in counts.enumerate() {
        seen = seen.saturating_add(n);
        if seen >= rank {
            return Some(upper_bound(bucket));
        }
    }
    None
}
