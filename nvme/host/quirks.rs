// SPDX-License-Identifier: GPL-2.0

//! Quirks of specific controllers, by their PCI ids. `ctrl` looks them up.

/// The quirks of a controller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// EUI64, NGUID and UUID don't identify a namespace: the controller changes them, or reports
    /// the same identifiers for several namespaces.
    pub bogus_ids: bool,
    /// The controller works if the driver writes the completion head doorbell late.
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
    /// The quirks of the controller with these PCI ids; none if the table doesn't list them.
    pub fn of(vendor: u16, device: u16) -> Self {
        TABLE
            .iter()
            .find(|(ids, _)| *ids == (vendor, device))
            .map_or(Self::default(), |(_, quirks)| *quirks)
    }
}
