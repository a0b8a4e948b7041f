// SPDX-License-Identifier: GPL-2.0

//! Tests of `host::quirks`: which controllers have quirks.

use nvme_proto::host::quirks::Quirks;

#[test]
fn by_pci_id() {
    let qemu = Quirks::of(0x1b36, 0x0010);
    assert!(qemu.bogus_ids && qemu.lazy_doorbells);
    // The same device id of another vendor, and another device of the same vendor.
    for (vendor, device) in [(0x8086, 0x0010), (0x1b36, 0x0011), (0x8086, 0x5845), (0, 0)] {
        assert_eq!(Quirks::of(vendor, device), Quirks::default());
    }
    let none = Quirks::default();
    assert!(!none.bogus_ids && !none.lazy_doorbells);
}
