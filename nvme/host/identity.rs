// SPDX-License-Identifier: GPL-2.0

//! The identity of a namespace. `namespaces` recognises a namespace by it after a reset, a scan or
//! a sleep.

use super::super::spec::identify::{
    DeviceId,
    NamespaceIds, //
};
use core::fmt;

/// The identity of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The device of the namespace's controller.
    pub device: DeviceId,
    /// The identifiers, as far as they are known and trusted.
    pub ids: NamespaceIds,
}

/// Why two identities with the same namespace id aren't the same namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// An identifier that both have is different.
    Identifiers,
    /// The two have no identifier in common, and different devices.
    Device,
    /// The two have different command sets.
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
    /// Why a namespace with this identity isn't the namespace of the same id that had `before`;
    /// [`None`] if it may be the same.
    pub fn change_since(&self, before: &Self) -> Option<Change> {
        if let (Some(now), Some(before)) = (self.ids.csi, before.ids.csi) {
            if now != before {
                return Some(Change::CommandSet);
            }
        }
        match self.ids.compare(&before.ids) {
            (_, true) => Some(Change::Identifiers),
            // The identifiers are globally unique, so the device's names don't matter.
            (true, false) => None,
            (false, false) => (self.device != before.device).then_some(Change::Device),
        }
    }

    /// This identity, completed by the identifiers of `before`.
    pub fn or(self, before: &Self) -> Self {
        Self {
            device: self.device,
            ids: self.ids.or(before.ids),
        }
    }
}
