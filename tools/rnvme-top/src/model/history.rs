// SPDX-License-Identifier: GPL-2.0

//! The last intervals, for diagrams over time.

use std::collections::VecDeque;

use super::histogram::Histogram;
use super::interval::Interval;

/// The number of intervals: ten minutes at one second.
const KEPT: usize = 600;

/// The last intervals, the oldest first.
#[derive(Default)]
pub struct History(VecDeque<Interval>);

/// A controller's queue, a controller, or everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The controller's address; `None` for all controllers.
    pub address: Option<String>,
    /// The queue; `None` for all I/O queues.
    pub qid: Option<u32>,
}

impl History {
    /// Adds an interval.
    pub fn push(&mut self, interval: Interval) {
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back(interval);
    }

    /// The last interval.
    pub fn last(&self) -> Option<&Interval> {
        self.0.back()
    }

    /// The last `n` intervals, the oldest first.
    pub fn latest(&self, n: usize) -> impl Iterator<Item = &Interval> {
        self.0.iter().skip(self.0.len().saturating_sub(n))
    }
}

impl Scope {
    /// The distribution of an interval.
    pub fn latency(&self, interval: &Interval) -> Histogram {
        let Some(qid) = self.qid else {
            return interval.sum(self.address.as_deref()).latency;
        };
        interval
            .controllers
            .iter()
            .filter(|c| self.address.as_ref().is_none_or(|a| *a == c.info.address))
            .flat_map(|c| &c.queues)
            .find(|q| q.info.qid == qid)
            .map(|q| q.load.latency.clone())
            .unwrap_or_default()
    }

    /// The interval's mark on the time axis: R for a reset, T for a time-out.
    pub fn mark(&self, interval: &Interval) -> Option<char> {
        let mut marks = interval
            .controllers
            .iter()
            .filter(|c| self.address.as_ref().is_none_or(|a| *a == c.info.address))
            .filter_map(|c| match (c.events.resets, c.events.timeouts) {
                (1.., _) => Some('R'),
                (0, 1..) => Some('T'),
                (0, 0) => None,
            });
        let first = marks.next()?;
        Some(if marks.any(|m| m == 'R') { 'R' } else { first })
    }
}

/// A grid of counts: a column for each interval, a row for each step of the time.
pub struct Heat {
    /// The lower bounds of the rows, in nanoseconds, ascending.
    pub bounds: Vec<u64>,
    /// The counts of the rows, for each column.
    pub columns: Vec<Vec<u64>>,
    /// The largest count.
    pub max: u64,
    /// The number of rows up to the longest time; all rows above are empty.
    pub used: usize,
}

impl Heat {
    /// The grid of `histograms`, with `rows` rows that cover all their times.
    pub fn new(histograms: &[Histogram], rows: usize) -> Self {
        let all = || histograms.iter().flat_map(|h| h.buckets());
        let low = all().map(|(b, _)| *b).min().unwrap_or(1023);
        let high = all()
            .map(|(b, _)| *b)
            .max()
            .unwrap_or(1_048_575)
            .min(1 << 41);
        // Steps are a whole number of quarters of a power of two.
        let (low, high) = (
            (low.max(1) as f64).log2().floor(),
            ((high + 1) as f64).log2().ceil(),
        );
        let quarters = ((high - low).max(1.0) * 4.0) as usize;
        let step = quarters.div_ceil(rows.max(1)).max(1) as f64 / 4.0;
        let row_of = |bound: u64| {
            let row = (((bound.max(1) as f64).log2() - low) / step)
                .floor()
                .max(0.0) as usize;
            row.min(rows.saturating_sub(1))
        };
        let mut max = 0;
        let columns = histograms
            .iter()
            .map(|histogram| {
                let mut column = vec![0u64; rows];
                for (bound, n) in histogram.buckets() {
                    if let Some(cell) = column.get_mut(row_of(*bound)) {
                        *cell = cell.saturating_add(*n);
                        max = max.max(*cell);
                    }
                }
                column
            })
            .collect();
        let bounds = (0..rows)
            .map(|row| 2f64.powf(low + step * row as f64) as u64)
            .collect();
        let used = (quarters as f64 / 4.0 / step).ceil() as usize;
        Self {
            bounds,
            columns,
            max,
            used: used.clamp(1, rows.max(1)),
        }
    }

    /// The heat of a cell, by the logarithm of its count: 0 if the cell is empty, at most 1.
    pub fn heat(&self, count: u64) -> f64 {
        match (count, self.max) {
            (0, _) | (_, 0) => 0.0,
            (_, 1) => 1.0,
            (n, max) => 0.1 + 0.9 * (n as f64).ln() / (max as f64).ln(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::interval::tests::snapshot;

    #[test]
    fn history_is_bounded() {
        let mut history = History::default();
        for n in 0..2 * KEPT as u64 {
            let interval = Interval::between(&snapshot(n, n), &snapshot(n + 1, n + 1)).unwrap();
            history.push(interval);
        }
        assert_eq!(history.latest(usize::MAX).count(), KEPT);
        assert_eq!(history.latest(3).count(), 3);
        assert_eq!(
            history.last().unwrap().monotonic_ns,
            2 * KEPT as u64 * 1_000_000_000
        );
    }

    #[test]
    fn scopes() {
        let interval = Interval::between(&snapshot(0, 0), &snapshot(1, 1500)).unwrap();
        let all = Scope::default();
        assert_eq!(all.latency(&interval).total(), 1500);
        assert_eq!(all.mark(&interval), Some('R'));
        let queue = Scope {
            address: Some("0000:01:00.0".into()),
            qid: Some(1),
        };
        assert_eq!(queue.latency(&interval).total(), 1500);
        let other = Scope {
            address: Some("0000:02:00.0".into()),
            qid: None,
        };
        assert_eq!(other.latency(&interval).total(), 0);
        assert_eq!(other.mark(&interval), None);
    }

    #[test]
    fn heat_has_all_counts() {
        let a = Histogram::parse("1023:5 2047:7 1048575:1").unwrap();
        let b = Histogram::parse("511:1 18446744073709551615:3").unwrap();
        for rows in [0, 1, 2, 16, 200] {
            let heat = Heat::new(&[a.clone(), b.clone(), Histogram::default()], rows);
            let sums: Vec<u64> = heat.columns.iter().map(|c| c.iter().sum()).collect();
            if rows != 0 {
                assert_eq!(sums, [13, 4, 0]);
            }
            assert_eq!(heat.bounds.len(), rows);
            assert!(heat.bounds.is_sorted());
        }
        assert_eq!(Heat::new(&[], 4).max, 0);
    }

    #[test]
    fn heat_is_between_0_and_1() {
        let a = Histogram::parse("1023:1 2047:1000").unwrap();
        let heat = Heat::new(&[a], 8);
        assert_eq!((heat.heat(0), heat.heat(1000)), (0.0, 1.0));
        assert!(heat.heat(1) > 0.0 && heat.heat(1) < 0.2);
    }
}
