// SPDX-License-Identifier: GPL-2.0

//! Parses the Namespace Identification Descriptor list (CNS 03h; Base 5.17.2.3), and compares
//! namespaces' identifiers.

use super::{
    super::page::{
        bytes,
        Page, //
    },
    Namespace, //
};

/// Identifiers of a namespace (Namespace Identification Descriptor list, CNS 03h; Base 5.17.2.3).
/// The bytes are in print order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NamespaceIds {
    /// IEEE extended unique identifier.
    pub eui64: Option<[u8; 8]>,
    /// Namespace globally unique identifier.
    pub nguid: Option<[u8; 16]>,
    /// Universally unique identifier.
    pub uuid: Option<[u8; 16]>,
    /// I/O command set of the namespace (CSI): 0 for NVM, the only command set that the driver
    /// supports.
    pub csi: Option<u8>,
}

/// `id`, unless it is all zeroes, which means that there is no identifier.
fn known<const N: usize>(id: [u8; N]) -> Option<[u8; N]> {
    (id != [0; N]).then_some(id)
}

impl NamespaceIds {
    /// These identifiers, completed by those of `other`.
    pub fn or(self, other: Self) -> Self {
        Self {
            eui64: self.eui64.or(other.eui64),
            nguid: self.nguid.or(other.nguid),
            uuid: self.uuid.or(other.uuid),
            csi: self.csi.or(other.csi),
        }
    }

    /// The identifiers in Identify Namespace. Controllers before version 1.3 report no others.
    pub fn of(ns: &Namespace) -> Self {
        Self {
            eui64: known(ns.eui64),
            nguid: known(ns.nguid),
            ..Self::default()
        }
    }

    /// Only the command set, for a controller with the quirk `bogus_ids`.
    pub fn without_ids(self) -> Self {
        Self {
            csi: self.csi,
            ..Self::default()
        }
    }

    /// Whether these and `other` identify the same namespace; [`None`] if they have no identifier
    /// in common.
    pub fn same(&self, other: &Self) -> Option<bool> {
        match self.compare(other) {
            // An equal identifier wins over a different one: taking two namespaces for one costs a
            // disk, but taking one for two may destroy data.
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        }
    }

    /// Whether any identifier that both have is equal, and whether any is different. An identifier
    /// that only one side has counts as neither, because a controller may fail to report it.
    pub fn compare(&self, other: &Self) -> (bool, bool) {
        fn same<T: PartialEq>(a: &Option<T>, b: &Option<T>) -> Option<bool> {
            Some(a.as_ref()? == b.as_ref()?)
        }
        let kinds = [
            same(&self.eui64, &other.eui64),
            same(&self.nguid, &other.nguid),
            same(&self.uuid, &other.uuid),
        ];
        (kinds.contains(&Some(true)), kinds.contains(&Some(false)))
    }

    /// Parses the list. The list ends at a descriptor whose length is 0, doesn't match its type, or
    /// exceeds the page. Descriptors of unknown types are skipped.
    pub fn parse(page: &Page) -> Self {
        let mut ids = Self::default();
        let mut offset = 0usize;
        // Each step takes at least five bytes; beyond the page's end, the length reads as 0.
        loop {
            let [kind, len, _, _] = bytes(page, offset);
            let start = offset.saturating_add(4);
            let end = start.saturating_add(usize::from(len));
            let Some(id) = page.get(start..end).filter(|id| !id.is_empty()) else {
                break;
            };
            let known = match kind {
                1 => id.try_into().map(|id| ids.eui64 = known(id)),
                2 => id.try_into().map(|id| ids.nguid = known(id)),
                3 => id.try_into().map(|id| ids.uuid = known(id)),
                4 => id
                    .try_into()
                    .map(|id| ids.csi = Some(u8::from_le_bytes(id))),
                _ => Ok(()),
            };
            if known.is_err() {
                break;
            }
            offset = end;
        }
        ids
    }
}
