// SPDX-License-Identifier: GPL-2.0

//! What a namespace is recognised by after a reset, a scan or a sleep.

use super::super::spec::identify::{
    DeviceId,
    NamespaceIds, //
};
use core::fmt;

/// What a namespace is recognised by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The device that it is on.
    pub device: DeviceId,
    /// Its identifiers, as far as they are known and to be trusted.
    pub ids: NamespaceIds,
}

/// Why two identities with one namespace id can't be one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// An identifier that both have is different.
    Identifiers,
    /// They have no identifier in common, and their devices are different.
    Device,
    /// They have different command sets.
    CommandSet,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identifiers => "its identifiers have changed",
            Self::Device => "its controller has another vendor, serial or model number",
            Self::CommandSet => "its command set has changed",
        })
    }
}

impl Identity {
    /// What tells that a namespace with this identity isn't the one, of the same id, that had
    /// `before`; [`None`] if it may be the same.
    pub fn change_since(&self, before: &Self) -> Option<Change> {
        if let (Some(now), Some(before)) = (self.ids.csi, before.ids.csi) {
            if now != before {
                return Some(Change::CommandSet);
            }
        }
        match self.ids.compare(&before.ids) {
            (_, true) => Some(Change::Identifiers),
            // These are unique, whatever the device calls itself.
            (true, false) => None,
            (false, false) => (self.device != before.device).then_some(Change::Device),
        }
    }

    /// What is known of a namespace that has this identity, and had `before`.
    pub fn or(self, before: &Self) -> Self {
        Self {
            device: self.device,
            ids: self.ids.or(before.ids),
        }
    }
}
