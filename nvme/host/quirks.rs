// SPDX-License-Identifier: GPL-2.0

//! What is known of single controllers, by their PCI ids, beyond what they say of themselves.

/// How a controller differs from the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// EUI64, NGUID and UUID don't identify a namespace: the controller makes them anew, or has the
    /// same ones for several namespaces.
    pub bogus_ids: bool,
    /// The controller works with a completion queue whose head the driver doesn't write each time.
    pub lazy_doorbells: bool,
}

/// The controllers with quirks, by vendor and device id.
const TABLE: &[((u16, u16), Quirks)] = &[
    // QEMU's controller.
    (
        (0x1b36, 0x0010),
        Quirks {
            bogus_ids: true,
            lazy_doorbells: true,
        },
    ),
];

impl Quirks {
    /// The quirks of the controller with these PCI ids; none for one that isn't in the table.
    pub fn of(vendor: u16, device: u16) -> Self {
        TABLE
            .iter()
            .find(|(ids, _)| *ids == (vendor, device))
            .map_or(Self::default(), |(_, quirks)| *quirks)
    }
}
