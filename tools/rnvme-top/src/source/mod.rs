// SPDX-License-Identifier: GPL-2.0

//! Where snapshots come from: sysfs, or a recording.

pub mod recording;
pub mod sysfs;

use crate::error::Result;
use crate::model::snapshot::Snapshot;

/// A source of snapshots.
pub trait Source {
    /// The next snapshot: of now, or of the recording, which ends with `None`.
    fn next(&mut self) -> Result<Option<Snapshot>>;
}
