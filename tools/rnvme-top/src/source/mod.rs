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
}
