// SPDX-License-Identifier: GPL-2.0

//! The state of all controllers at one time.

use std::sync::Arc;

use super::counts::{number, Counts, Events};
use super::histogram::Histogram;

/// The state of all controllers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The time, in nanoseconds of a monotonic clock.
    pub monotonic_ns: u64,
    /// The time, in nanoseconds since 1970.
    pub unix_ns: u64,
    /// The controllers, by their addresses.
    pub controllers: Vec<Controller>,
}

/// The properties of a controller that don't change while it is bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControllerInfo {
    /// The PCI address.
    pub address: String,
    /// The name, for example nvme900.
    pub name: String,
    /// The model.
    pub model: String,
    /// The serial number.
    pub serial: String,
    /// The firmware revision.
    pub firmware: String,
    /// Parameters in force, by name.
    pub parameters: Vec<(String, String)>,
}

/// A controller.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Controller {
    /// The properties.
    pub info: Arc<ControllerInfo>,
    /// The state, for example "live".
    pub state: String,
    /// The events since the device was bound.
    pub events: Events,
    /// The health.
    pub health: Health,
    /// The queues, the admin queue first.
    pub queues: Vec<Queue>,
    /// The disks.
    pub disks: Vec<Disk>,
}

/// The health of a controller, as far as the source has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The composite temperature, in thousandths of a degree Celsius.
    pub temperature: Option<i64>,
    /// The temperature at which the controller warns.
    pub limit: Option<i64>,
    /// SMART warnings since the device was bound.
    pub smart_warnings: Option<u64>,
}

impl Health {
    /// Whether the temperature has reached the limit.
    pub fn is_hot(&self) -> bool {
        matches!((self.temperature, self.limit), (Some(t), Some(limit)) if t >= limit)
    }
}

/// The properties of a queue, which only a reset of the controller changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueInfo {
    /// The identifier; 0 is the admin queue.
    pub qid: u32,
    /// The kind, or "lost" if the controller doesn't have the queue at present.
    pub kind: String,
    /// Entries of the submission queue.
    pub depth: u64,
    /// The interrupt vector, or "none".
    pub vector: String,
    /// The CPUs of the vector.
    pub cpus: String,
}

/// A queue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Queue {
    /// The properties.
    pub info: Arc<QueueInfo>,
    /// The counts.
    pub counts: Counts,
    /// The times.
    pub latency: Arc<Histogram>,
}

/// A disk: a namespace with the block layer's counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// The name, for example nvme900n1.
    pub name: String,
    /// The disk's `stat`.
    pub stat: DiskStat,
}

/// The part of a disk's `stat` that the program shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskStat {
    /// Reads.
    pub reads: u64,
    /// 512-byte sectors read.
    pub read_sectors: u64,
    /// Milliseconds of all reads.
    pub read_ms: u64,
    /// Writes.
    pub writes: u64,
    /// 512-byte sectors written.
    pub write_sectors: u64,
    /// Milliseconds of all writes.
    pub write_ms: u64,
    /// Requests in flight.
    pub inflight: u64,
}

impl DiskStat {
    /// The line of a block device's `stat`.
    pub fn parse(line: &str) -> Option<Self> {
        let words: Option<Vec<u64>> = line.split_ascii_whitespace().map(number).collect();
        let words = words?;
        Some(Self {
            reads: *words.first()?,
            read_sectors: *words.get(2)?,
            read_ms: *words.get(3)?,
            writes: *words.get(4)?,
            write_sectors: *words.get(6)?,
            write_ms: *words.get(7)?,
            inflight: *words.get(8)?,
        })
    }

    /// The line, with 0 for unknown fields.
    pub fn line(&self) -> String {
        format!(
            "{} 0 {} {} {} 0 {} {} {}",
            self.reads,
            self.read_sectors,
            self.read_ms,
            self.writes,
            self.write_sectors,
            self.write_ms,
            self.inflight
        )
    }

    /// The counts since `old`; `None` if a count has decreased.
    pub fn since(&self, old: &Self) -> Option<Self> {
        Some(Self {
            reads: self.reads.checked_sub(old.reads)?,
            read_sectors: self.read_sectors.checked_sub(old.read_sectors)?,
            read_ms: self.read_ms.checked_sub(old.read_ms)?,
            writes: self.writes.checked_sub(old.writes)?,
            write_sectors: self.write_sectors.checked_sub(old.write_sectors)?,
            write_ms: self.write_ms.checked_sub(old.write_ms)?,
            inflight: self.inflight,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_lines() {
        let line = "  100  1  2048  30  200  2  4096  60  3  80  90 0 0 0 0 0 0";
        let stat = DiskStat::parse(line).unwrap();
        assert_eq!(
            (stat.reads, stat.write_sectors, stat.inflight),
            (100, 4096, 3)
        );
        assert_eq!(DiskStat::parse(&stat.line()), Some(stat));
        assert_eq!(DiskStat::parse("1 2 3"), None);
        assert_eq!(DiskStat::parse("1 2 3 4 5 6 7 8 x"), None);
        let later = DiskStat { reads: 110, ..stat };
        assert_eq!(later.since(&stat).unwrap().reads, 10);
        assert_eq!(stat.since(&later), None);
    }
}
