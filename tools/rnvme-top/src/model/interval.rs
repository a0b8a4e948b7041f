// SPDX-License-Identifier: GPL-2.0

//! The differences between two snapshots.

use std::sync::Arc;

use super::counts::{Counts, Events};
use super::histogram::Histogram;
use super::snapshot::{Controller, ControllerInfo, DiskStat, Health, QueueInfo, Snapshot};

/// The time between two snapshots, and the counts of that time.
#[derive(Clone, Debug, Default)]
pub struct Interval {
    /// The length in seconds, more than 0.
    pub seconds: f64,
    /// The end, in nanoseconds of the snapshots' clock.
    pub monotonic_ns: u64,
    /// The end, in nanoseconds since 1970.
    pub unix_ns: u64,
    /// The controllers at the end.
    pub controllers: Vec<ControllerInterval>,
}

/// A controller's part of an interval.
#[derive(Clone, Debug, Default)]
pub struct ControllerInterval {
    /// The controller.
    pub info: Arc<ControllerInfo>,
    /// The controller's state at the end.
    pub state: String,
    /// The controller is new, or was bound again. All counts are 0, because no earlier counts exist.
    pub fresh: bool,
    /// The events in the interval.
    pub events: Events,
    /// The events since the device was bound.
    pub events_total: Events,
    /// The controller's health at the end.
    pub health: Health,
    /// The SMART warnings in the interval.
    pub smart_warnings: u64,
    /// All I/O queues together.
    pub sum: Load,
    /// Each queue.
    pub queues: Vec<QueueInterval>,
    /// Each disk: its name, and its counts in the interval.
    pub disks: Vec<(String, DiskStat)>,
}

/// A queue's part of an interval.
#[derive(Clone, Debug, Default)]
pub struct QueueInterval {
    /// The queue.
    pub info: Arc<QueueInfo>,
    /// The work of the queue.
    pub load: Load,
    /// The counts since the device was bound.
    pub total: Counts,
}

/// The work of one or more queues in an interval.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// The interval's length in seconds.
    pub seconds: f64,
    /// The counts.
    pub counts: Counts,
    /// The times of the completed commands.
    pub latency: Histogram,
}

impl Load {
    /// `count` in a second.
    pub fn rate(&self, count: u64) -> f64 {
        if self.seconds > 0.0 {
            count as f64 / self.seconds
        } else {
            0.0
        }
    }

    /// Commands completed in a second.
    pub fn iops(&self) -> f64 {
        self.rate(self.counts.completed)
    }

    /// The mean number of commands in flight, by Little's law: the sum of their times over the time.
    pub fn depth(&self) -> f64 {
        self.rate(self.counts.time_ns) / 1e9
    }

    /// The mean time in nanoseconds.
    pub fn mean(&self) -> Option<u64> {
        self.counts.time_ns.checked_div(self.counts.timed)
    }

    /// The time that `permille` thousandths of the commands did not exceed.
    pub fn percentile(&self, permille: u32) -> Option<u64> {
        self.latency
            .percentile(permille, self.counts.latency_max_ns)
    }

    /// The longest time.
    pub fn max(&self) -> Option<u64> {
        self.latency.max(self.counts.latency_max_ns)
    }

    /// `count` for each completed command.
    pub fn per_io(&self, count: u64) -> Option<f64> {
        (self.counts.completed != 0).then(|| count as f64 / self.counts.completed as f64)
    }

    /// Interrupts for each command.
    pub fn interrupts_per_io(&self) -> Option<f64> {
        self.per_io(self.counts.interrupts)
    }

    /// Doorbell writes, of both kinds, for each command.
    pub fn doorbells_per_io(&self) -> Option<f64> {
        let both = self
            .counts
            .sq_doorbells
            .saturating_add(self.counts.cq_doorbells);
        self.per_io(both)
    }

    /// Commands for each interrupt that found a completion.
    pub fn batch(&self) -> Option<f64> {
        let c = &self.counts;
        let useful = c.interrupts.saturating_sub(c.idle_interrupts);
        (useful != 0).then(|| c.completed as f64 / useful as f64)
    }

    fn plus(&self, other: &Self) -> Self {
        Self {
            seconds: self.seconds.max(other.seconds),
            counts: self.counts.plus(&other.counts),
            latency: self.latency.plus(&other.latency),
        }
    }
}

impl Interval {
    /// The interval from `old` to `new`; `None` if both have the same time.
    pub fn between(old: &Snapshot, new: &Snapshot) -> Option<Self> {
        let ns = new
            .monotonic_ns
            .checked_sub(old.monotonic_ns)
            .filter(|ns| *ns != 0)?;
        let seconds = ns as f64 / 1e9;
        let controllers = new.controllers.iter().map(|controller| {
            let before = old.controllers.iter().find(|c| c.info == controller.info);
            before
                .and_then(|before| of_controller(seconds, before, controller))
                .unwrap_or_else(|| of_fresh(seconds, controller))
        });
        Some(Self {
            seconds,
            monotonic_ns: new.monotonic_ns,
            unix_ns: new.unix_ns,
            controllers: controllers.collect(),
        })
    }

    /// The I/O queues of the controller at `address`, or of all, together.
    pub fn sum(&self, address: Option<&str>) -> Load {
        self.controllers
            .iter()
            .filter(|c| address.is_none_or(|a| a == c.info.address))
            .fold(
                Load {
                    seconds: self.seconds,
                    ..Load::default()
                },
                |sum, c| sum.plus(&c.sum),
            )
    }
}

/// `None` if the controller was bound again.
fn of_controller(seconds: f64, old: &Controller, new: &Controller) -> Option<ControllerInterval> {
    let queues: Option<Vec<QueueInterval>> = new
        .queues
        .iter()
        .map(|queue| {
            let before = old.queues.iter().find(|q| q.info.qid == queue.info.qid)?;
            Some(QueueInterval {
                info: queue.info.clone(),
                load: Load {
                    seconds,
                    counts: queue.counts.since(&before.counts)?,
                    latency: queue.latency.since(&before.latency)?,
                },
                total: queue.counts,
            })
        })
        .collect();
    let disks = new.disks.iter().map(|disk| {
        let before = old.disks.iter().find(|d| d.name == disk.name);
        let stat = before.and_then(|before| disk.stat.since(&before.stat));
        (disk.name.clone(), stat.unwrap_or_default())
    });
    let (queues, events) = (queues?, new.events.since(&old.events)?);
    let warnings = |c: &Controller| c.health.smart_warnings.unwrap_or(0);

    Some(ControllerInterval {
        info: new.info.clone(),
        state: new.state.clone(),
        fresh: false,
        events,
        events_total: new.events,
        health: new.health,
        smart_warnings: warnings(new).saturating_sub(warnings(old)),
        sum: sum_of(seconds, &queues),
        disks: disks.collect(),
        queues,
    })
}

fn of_fresh(seconds: f64, new: &Controller) -> ControllerInterval {
    let queues: Vec<QueueInterval> = new
        .queues
        .iter()
        .map(|queue| QueueInterval {
            info: queue.info.clone(),
            load: Load {
                seconds,
                counts: Counts {
                    inflight: queue.counts.inflight,
                    ..Counts::default()
                },
                latency: Histogram::default(),
            },
            total: queue.counts,
        })
        .collect();
    ControllerInterval {
        info: new.info.clone(),
        state: new.state.clone(),
        fresh: true,
        events: Events::default(),
        events_total: new.events,
        health: new.health,
        smart_warnings: 0,
        sum: sum_of(seconds, &queues),
        disks: new
            .disks
            .iter()
            .map(|d| (d.name.clone(), DiskStat::default()))
            .collect(),
        queues,
    }
}

/// The I/O queues together, without the admin queue.
fn sum_of(seconds: f64, queues: &[QueueInterval]) -> Load {
    queues.iter().filter(|q| q.info.qid != 0).fold(
        Load {
            seconds,
            ..Load::default()
        },
        |sum, q| sum.plus(&q.load),
    )
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::model::snapshot::Queue;

    /// A controller with an admin queue and an I/O queue that has done `n` reads of 4 KiB, each in
    /// 1000 ns.
    pub fn snapshot(seconds: u64, n: u64) -> Snapshot {
        let queue = |qid: u32, n: u64| Queue {
            info: Arc::new(QueueInfo {
                qid,
                kind: if qid == 0 { "admin" } else { "default" }.into(),
                depth: 1024,
                vector: qid.to_string(),
                cpus: "0-1".into(),
            }),
            counts: Counts {
                submitted: n,
                completed: n,
                reads: n,
                bytes_read: n * 4096,
                interrupts: n / 2,
                sq_doorbells: n,
                timed: n,
                time_ns: n * 1000,
                latency_max_ns: 1001,
                ..Counts::default()
            },
            latency: Arc::new(
                Histogram::parse(&if n == 0 {
                    String::new()
                } else {
                    format!("1023:{n}")
                })
                .unwrap(),
            ),
        };
        Snapshot {
            monotonic_ns: seconds * 1_000_000_000,
            unix_ns: (1_795_000_000 + seconds) * 1_000_000_000,
            controllers: vec![Controller {
                info: Arc::new(ControllerInfo {
                    address: "0000:01:00.0".into(),
                    name: "nvme900".into(),
                    model: "QEMU NVMe Ctrl".into(),
                    serial: "rnvme-0".into(),
                    firmware: "10.0".into(),
                    parameters: vec![("io_queues".into(), "1".into())],
                }),
                state: "live".into(),
                events: Events {
                    resets: n / 1000,
                    ..Events::default()
                },
                health: Health::default(),
                queues: vec![queue(0, 0), queue(1, n)],
                disks: vec![],
            }],
        }
    }

    /// [`snapshot`] with a temperature of 49.85 degrees and a limit of 69.85.
    pub fn warm(seconds: u64, n: u64, smart_warnings: u64) -> Snapshot {
        let mut snapshot = snapshot(seconds, n);
        snapshot.controllers[0].health = Health {
            temperature: Some(49_850),
            limit: Some(69_850),
            smart_warnings: Some(smart_warnings),
        };
        snapshot
    }

    #[test]
    fn health() {
        let interval = Interval::between(&warm(10, 5, 2), &warm(11, 5, 5)).unwrap();
        let c = &interval.controllers[0];
        assert_eq!((c.smart_warnings, c.health.smart_warnings), (3, Some(5)));
        assert_eq!(c.health.temperature, Some(49_850));
        // Of a device that was bound again, or appeared, all warnings are old.
        for old in [warm(10, 6, 2), Snapshot::default()] {
            let interval = Interval::between(&old, &warm(11, 5, 5)).unwrap();
            let c = &interval.controllers[0];
            assert_eq!((c.smart_warnings, c.fresh), (0, true));
            assert_eq!(c.health.limit, Some(69_850));
        }
        for (temperature, limit, hot) in [
            (Some(69_849), Some(69_850), false),
            (Some(69_850), Some(69_850), true),
            (Some(99_000), None, false),
            (None, Some(69_850), false),
        ] {
            let health = Health {
                temperature,
                limit,
                ..Health::default()
            };
            assert_eq!(health.is_hot(), hot, "{health:?}");
        }
    }

    #[test]
    fn rates() {
        let interval = Interval::between(&snapshot(10, 1000), &snapshot(12, 5000)).unwrap();
        let sum = interval.sum(None);
        assert_eq!(interval.seconds, 2.0);
        assert_eq!(sum.iops(), 2000.0);
        assert_eq!(sum.rate(sum.counts.bytes_read), 2000.0 * 4096.0);
        assert_eq!(sum.mean(), Some(1000));
        // The longest time since the bind is less than the bucket's bound.
        assert_eq!((sum.percentile(500), sum.max()), (Some(1001), Some(1001)));
        assert_eq!(sum.interrupts_per_io(), Some(0.5));
        assert_eq!(sum.doorbells_per_io(), Some(1.0));
        assert_eq!(sum.batch(), Some(2.0));
        assert!((sum.depth() - 0.002).abs() < 1e-9);
        assert_eq!(interval.controllers[0].events.resets, 4);
        assert_eq!(interval.sum(Some("0000:02:00.0")).iops(), 0.0);
    }

    #[test]
    fn nothing_happened() {
        let interval = Interval::between(&snapshot(10, 5), &snapshot(11, 5)).unwrap();
        let sum = interval.sum(None);
        assert_eq!(
            (sum.mean(), sum.percentile(990), sum.max()),
            (None, None, None)
        );
        assert_eq!((sum.interrupts_per_io(), sum.batch()), (None, None));
    }

    #[test]
    fn no_time_went_by() {
        assert!(Interval::between(&snapshot(10, 5), &snapshot(10, 6)).is_none());
        assert!(Interval::between(&snapshot(10, 5), &snapshot(9, 6)).is_none());
    }

    #[test]
    fn bound_anew() {
        let interval = Interval::between(&snapshot(10, 5000), &snapshot(11, 10)).unwrap();
        assert!(interval.controllers[0].fresh);
        assert_eq!(interval.sum(None).iops(), 0.0);
        let other = Snapshot::default();
        let interval = Interval::between(&other, &snapshot(11, 10)).unwrap();
        assert!(interval.controllers[0].fresh);
        let gone = Snapshot {
            monotonic_ns: 12_000_000_000,
            ..Snapshot::default()
        };
        let interval = Interval::between(&snapshot(11, 10), &gone).unwrap();
        assert!(interval.controllers.is_empty());
    }
}
