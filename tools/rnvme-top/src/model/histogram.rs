// SPDX-License-Identifier: GPL-2.0

//! Distributions of times, in the form of the files `latency`.

use super::counts::number;

/// A distribution: the counts of times by the upper bounds of their buckets, in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram(Vec<(u64, u64)>);

impl Histogram {
    /// The line of a file `latency`; `None` if it has another form.
    pub fn parse(line: &str) -> Option<Self> {
        let mut buckets: Vec<(u64, u64)> = Vec::new();
        for word in line.split_ascii_whitespace() {
            let (bound, count) = word.split_once(':')?;
            let (bound, count) = (number(bound)?, number(count)?);
            if buckets.last().is_some_and(|(last, _)| *last >= bound) {
                return None;
            }
            buckets.push((bound, count));
        }
        Some(Self(buckets))
    }

    /// The line that [`parse`](Self::parse) takes.
    pub fn line(&self) -> String {
        let words: Vec<String> = self.0.iter().map(|(b, n)| format!("{b}:{n}")).collect();
        words.join(" ")
    }

    /// Upper bound and count of each bucket that isn't empty.
    pub fn buckets(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// The number of times.
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, (_, n)| sum.saturating_add(*n))
    }

    /// The counts since `old`; `None` if a count has decreased.
    ///
    /// When the fine buckets no longer fit into a page, the driver shows coarser buckets. Each old
    /// bucket is then part of the first new bucket whose bound isn't lower.
    pub fn since(&self, old: &Self) -> Option<Self> {
        let mut new = self.0.clone();
        let mut i = 0;
        for (bound, count) in &old.0 {
            while new.get(i)?.0 < *bound {
                i += 1;
            }
            let bucket = new.get_mut(i)?;
            bucket.1 = bucket.1.checked_sub(*count)?;
        }
        new.retain(|(_, n)| *n != 0);
        Some(Self(new))
    }

    /// The sum of both distributions.
    pub fn plus(&self, other: &Self) -> Self {
        let mut sum = Vec::with_capacity(self.0.len().max(other.0.len()));
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        loop {
            let next = match (a.peek(), b.peek()) {
                (None, None) => return Self(sum),
                (Some((x, n)), Some((y, m))) if x == y => {
                    let both = (*x, n.saturating_add(*m));
                    a.next();
                    b.next();
                    both
                }
                (Some((x, _)), Some((y, _))) if y < x => b.next().copied().unwrap_or_default(),
                (Some(_), _) => a.next().copied().unwrap_or_default(),
                (None, Some(_)) => b.next().copied().unwrap_or_default(),
            };
            sum.push(next);
        }
    }

    /// The time that `permille` thousandths don't exceed, to the bounds' precision and at most `max`;
    /// `None` without times.
    pub fn percentile(&self, permille: u32, max: u64) -> Option<u64> {
        let total = u128::from(self.total());
        let rank = (total * u128::from(permille.min(1000)))
            .div_ceil(1000)
            .max(1);
        let mut seen = 0u128;
        for (bound, n) in &self.0 {
            seen += u128::from(*n);
            if seen >= rank {
                return Some((*bound).min(max));
            }
        }
        None
    }

    /// The longest time, as [`percentile`](Self::percentile).
    pub fn max(&self, max: u64) -> Option<u64> {
        self.0.last().map(|(bound, _)| (*bound).min(max))
    }

    /// The number of times up to `bound`, which must be a bound of the buckets.
    pub fn up_to(&self, bound: u64) -> u64 {
        let below = self.0.iter().take_while(|(b, _)| *b <= bound);
        below.fold(0, |sum, (_, n)| sum.saturating_add(*n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Histogram {
        Histogram::parse(line).unwrap()
    }

    #[test]
    fn lines() {
        for line in ["", "7:1", "7:1 9:20 18446744073709551615:3"] {
            assert_eq!(of(line).line(), line);
        }
        for bad in [
            "7", "7:", ":7", "9:1 7:1", "7:1 7:1", "7:-1", "a:1", "1:2:3",
        ] {
            assert_eq!(Histogram::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn differences() {
        assert_eq!(of("7:3 9:5").since(&of("7:1")), Some(of("7:2 9:5")));
        assert_eq!(of("7:3").since(&of("7:3")), Some(of("")));
        assert_eq!(of("7:3").since(&of("7:4")), None);
        assert_eq!(of("").since(&of("7:4")), None);
        assert_eq!(of("7:1").since(&of("9:1")), None);
    }

    /// The buckets 8 and 9 became one bucket.
    #[test]
    fn coarser_than_before() {
        let old = of("7:1 8:2 9:3 10:1");
        assert_eq!(of("7:1 9:7 11:2").since(&old), Some(of("9:2 11:1")));
    }

    #[test]
    fn sums() {
        assert_eq!(
            of("7:1 9:2").plus(&of("8:5 9:1 11:1")),
            of("7:1 8:5 9:3 11:1")
        );
        assert_eq!(of("").plus(&of("8:5")), of("8:5"));
        assert_eq!(of("8:5").plus(&of("")), of("8:5"));
    }

    #[test]
    fn percentiles() {
        let h = of("7:50 9:49 11:1");
        assert_eq!(h.total(), 100);
        assert_eq!(h.percentile(500, u64::MAX), Some(7));
        assert_eq!(h.percentile(501, u64::MAX), Some(9));
        assert_eq!(h.percentile(990, u64::MAX), Some(9));
        assert_eq!(h.percentile(1000, u64::MAX), Some(11));
        assert_eq!(h.percentile(0, u64::MAX), Some(7));
        assert_eq!(h.max(10), Some(10));
        assert_eq!(of("").percentile(500, 1), None);
        assert_eq!(of("").max(1), None);
        assert_eq!(
            of("1:18446744073709551615 2:18446744073709551615").percentile(500, 9),
            Some(1)
        );
    }

    #[test]
    fn cumulative() {
        assert_eq!(of("7:50 9:49 11:1").up_to(9), 99);
        assert_eq!(of("7:50").up_to(6), 0);
    }
}
