// SPDX-License-Identifier: GPL-2.0

//! The columns of the table of queues.

use crate::model::interval::QueueInterval;
use crate::units::{bytes, count, ratio, time_or_dash};

/// A row: a queue, or a sum in the form of a queue without an identity.
pub struct Row<'a> {
    /// The name.
    pub name: String,
    /// The controller.
    pub controller: &'a str,
    /// The controller's address; empty for the sum of all.
    pub address: &'a str,
    /// The numbers.
    pub queue: std::borrow::Cow<'a, QueueInterval>,
    /// The row is the sum of several queues.
    pub sum: bool,
}

/// A column.
pub struct Column {
    /// The title.
    pub title: &'static str,
    /// The width.
    pub width: u16,
    /// If there is no room, columns with higher ranks are left out first.
    pub rank: u8,
    /// The text of a row.
    pub text: fn(&Row<'_>) -> String,
    /// The value by which the rows are sorted.
    pub key: fn(&Row<'_>) -> f64,
}

fn or_zero(value: Option<u64>) -> f64 {
    value.unwrap_or(0) as f64
}

/// The number at the end of a controller's name.
fn number_of(name: &str) -> f64 {
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.parse().unwrap_or(0.0)
}

fn identity(row: &Row<'_>, text: &str) -> String {
    if row.sum {
        String::new()
    } else {
        text.to_string()
    }
}

/// All columns, from left to right.
pub const COLUMNS: &[Column] = &[
    Column {
        title: "QUEUE",
        width: 10,
        rank: 0,
        text: |r| {
            let mark = if r.queue.load.counts.errors != 0 {
                "!"
            } else {
                ""
            };
            format!("{}{mark}", r.name)
        },
        key: |r| number_of(r.controller) * 65536.0 + f64::from(r.queue.info.qid),
    },
    Column {
        title: "KIND",
        width: 7,
        rank: 15,
        text: |r| identity(r, &r.queue.info.kind),
        key: |r| f64::from(r.queue.info.kind.bytes().next().unwrap_or(0)),
    },
    Column {
        title: "CPUS",
        width: 6,
        rank: 13,
        text: |r| identity(r, &r.queue.info.cpus),
        key: |r| {
            let digits = r
                .queue
                .info
                .cpus
                .bytes()
                .take_while(u8::is_ascii_digit)
                .count();
            r.queue
                .info
                .cpus
                .get(..digits)
                .and_then(|d| d.parse().ok())
                .unwrap_or(-1.0)
        },
    },
    Column {
        title: "IO/S",
        width: 6,
        rank: 1,
        text: |r| count(r.queue.load.iops()),
        key: |r| r.queue.load.iops(),
    },
    Column {
        title: "READ/S",
        width: 6,
        rank: 2,
        text: |r| bytes(r.queue.load.rate(r.queue.load.counts.bytes_read)),
        key: |r| r.queue.load.counts.bytes_read as f64,
    },
    Column {
        title: "WRITE/S",
        width: 7,
        rank: 3,
        text: |r| bytes(r.queue.load.rate(r.queue.load.counts.bytes_written)),
        key: |r| r.queue.load.counts.bytes_written as f64,
    },
    Column {
        title: "DEPTH",
        width: 5,
        rank: 6,
        text: |r| ratio(Some(r.queue.load.depth())),
        key: |r| r.queue.load.depth(),
    },
    Column {
        title: "MEAN",
        width: 6,
        rank: 5,
        text: |r| time_or_dash(r.queue.load.mean()),
        key: |r| or_zero(r.queue.load.mean()),
    },
    Column {
        title: "P50",
        width: 6,
        rank: 7,
        text: |r| time_or_dash(r.queue.load.percentile(500)),
        key: |r| or_zero(r.queue.load.percentile(500)),
    },
    Column {
        title: "P99",
        width: 6,
        rank: 4,
        text: |r| time_or_dash(r.queue.load.percentile(990)),
        key: |r| or_zero(r.queue.load.percentile(990)),
    },
    Column {
        title: "MAX",
        width: 6,
        rank: 8,
        text: |r| time_or_dash(r.queue.load.max()),
        key: |r| or_zero(r.queue.load.max()),
    },
    Column {
        title: "IRQ/IO",
        width: 6,
        rank: 9,
        text: |r| ratio(r.queue.load.interrupts_per_io()),
        key: |r| r.queue.load.interrupts_per_io().unwrap_or(0.0),
    },
    Column {
        title: "DB/IO",
        width: 5,
        rank: 10,
        text: |r| ratio(r.queue.load.doorbells_per_io()),
        key: |r| r.queue.load.doorbells_per_io().unwrap_or(0.0),
    },
    Column {
        title: "BATCH",
        width: 5,
        rank: 14,
        text: |r| ratio(r.queue.load.batch()),
        key: |r| r.queue.load.batch().unwrap_or(0.0),
    },
    Column {
        title: "ERR",
        width: 4,
        rank: 11,
        text: |r| count(r.queue.load.counts.errors as f64),
        key: |r| r.queue.load.counts.errors as f64,
    },
    Column {
        title: "RTRY",
        width: 4,
        rank: 16,
        text: |r| count(r.queue.load.counts.retries as f64),
        key: |r| r.queue.load.counts.retries as f64,
    },
    Column {
        title: "FLY",
        width: 4,
        rank: 12,
        text: |r| count(r.queue.load.counts.inflight as f64),
        key: |r| r.queue.load.counts.inflight as f64,
    },
];

/// The columns that fit into `width`, as indices into [`COLUMNS`].
pub fn fitting(width: u16) -> Vec<usize> {
    let mut ranked: Vec<usize> = (0..COLUMNS.len()).collect();
    ranked.sort_by_key(|i| COLUMNS.get(*i).map_or(0, |c| c.rank));
    let mut room = u32::from(width) + 1;
    let mut chosen = Vec::new();
    for i in ranked {
        let needed = COLUMNS.get(i).map_or(0, |c| u32::from(c.width) + 1);
        if needed > room {
            break;
        }
        room -= needed;
        chosen.push(i);
    }
    chosen.sort_unstable();
    chosen
}

/// The column with this title.
pub fn named(title: &str) -> Option<usize> {
    COLUMNS
        .iter()
        .position(|c| c.title.eq_ignore_ascii_case(title))
}
