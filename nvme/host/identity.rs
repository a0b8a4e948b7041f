// SPDX-License-Identifier: GPL-2.0

//! The identity of a namespace. `namespaces` recognises a namespace by it after a reset, a scan or
//! a sleep.

use super::super::spec::{
    id::Nsid,
    identify::{
        DeviceId,
        NamespaceIds, //
    },
};
use core::fmt::{
    self,
    Write, //
};

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

    /// The namespace's identifier in the form of an EUI-64: NGUID, else EUI64.
    pub fn eui(&self) -> Option<&[u8]> {
        let nguid = self.ids.nguid.as_ref().map(|id| id.as_slice());
        nguid.or(self.ids.eui64.as_ref().map(|id| id.as_slice()))
    }

    /// The world-wide identifier of the namespace, whose id is `nsid`, for printing.
    pub fn wwid(&self, nsid: Nsid) -> Wwid<'_> {
        Wwid {
            identity: self,
            nsid,
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

/// The world-wide identifier of a namespace, in the form of the kernel's `nvme`: from its UUID, else
/// NGUID, else EUI64. If none is known and trusted, from the controller's vendor, serial and model,
/// and the namespace id.
#[derive(Clone, Copy, Debug)]
pub struct Wwid<'a> {
    identity: &'a Identity,
    nsid: Nsid,
}

impl fmt::Display for Wwid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(uuid) = &self.identity.ids.uuid {
            return write!(f, "uuid.{}", Hex::uuid(uuid));
        }
        if let Some(eui) = self.identity.eui() {
            return write!(f, "eui.{}", Hex::plain(eui));
        }
        let device = &self.identity.device;
        write!(
            f,
            "nvme.{:04x}-{}-{}-{:08x}",
            device.vid,
            Hex::plain(device.serial()),
            Hex::plain(device.model()),
            self.nsid.get()
        )
    }
}

/// Bytes for printing, in hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub struct Hex<'a> {
    bytes: &'a [u8],
    separator: char,
    /// Bit `i`: the separator comes before byte `i`.
    places: u32,
}

impl<'a> Hex<'a> {
    /// Without separators.
    pub fn plain(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            separator: ' ',
            places: 0,
        }
    }

    /// Bytes separated by spaces.
    pub fn spaced(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            separator: ' ',
            places: !1,
        }
    }

    /// In the form of a UUID.
    pub fn uuid(bytes: &'a [u8; 16]) -> Self {
        Self {
            bytes,
            separator: '-',
            places: 1 << 4 | 1 << 6 | 1 << 8 | 1 << 10,
        }
    }
}

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut places = self.places;
        for byte in self.bytes {
            if places & 1 != 0 {
                f.write_char(self.separator)?;
            }
            places >>= 1;
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}
