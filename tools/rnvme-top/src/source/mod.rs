// SPDX-License-Identifier: GPL-2.0

//! The sources of snapshots: sysfs, or a recording.

pub mod recording;
pub mod sysfs;
mod thermometer;

use crate::error::Result;
use crate::model::snapshot::Snapshot;

/// A source of snapshots.
pub trait Source {
    /// The next snapshot: the present state, or from the recording; `None` at the end of the recording.
    fn next(&mut self) -> Result<Option<Snapshot>>;

    /// The ages of the oldest commands in flight in a queue, in nanoseconds, the oldest first; `None`
    /// if the source doesn't have them.
    fn ages(&mut self, _address: &str, _qid: u32) -> Option<Vec<u64>> {
        None
    }
}
