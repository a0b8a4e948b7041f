// SPDX-License-Identifier: GPL-2.0

//! Tests of `host::quirks`: which controllers have which quirks, and how the parameters change that.

use super::identify::{
    controller,
    Fields, //
};
use nvme_proto::{
    host::quirks::{
        knows_cns,
        ComputerName,
        Overrides,
        Quirks, //
    },
    spec::identify::Controller,
};
use proptest::prelude::*;
use std::ffi::CStr;

#[test]
fn by_pci_id() {
    assert_eq!(
        Quirks::of_device(0x1b36, 0x0010),
        Quirks::BOGUS_NID.with(Quirks::LAZY_DOORBELLS)
    );
    // A controller of several rows has the quirks of all of them.
    assert_eq!(
        Quirks::of_device(0x8086, 0xf1a5),
        Quirks::NO_DEEPEST_PS
            .with(Quirks::MEDIUM_PRIO_SQ)
            .with(Quirks::NO_TEMP_THRESH_CHANGE)
            .with(Quirks::DISABLE_WRITE_ZEROES)
    );
    // The same device id of another vendor, and another device of the same vendor.
    for (vendor, device) in [(0x8086, 0x0010), (0x1b36, 0x0011), (0, 0), (0xffff, 0xffff)] {
        assert_eq!(Quirks::of_device(vendor, device), Quirks::default());
    }
    assert!(Quirks::of_device(0x106b, 0x2005).has(Quirks::UNSUPPORTED));
    assert!(!Quirks::of_device(0x106b, 0x2001).has(Quirks::UNSUPPORTED));
}

/// The model alone, or with another vendor, isn't enough.
#[test]
fn by_model() {
    let x5 = |vid: u16, model: &[u8; 40]| {
        let page: Fields = controller().put(0, vid.to_le_bytes()).put(24, model);
        Quirks::of_model(&Controller::parse(&page.0))
    };
    let name = b"Samsung Portable SSD X5                 ";
    assert!(x5(0x144d, name).has(Quirks::DELAY_BEFORE_CHK_RDY));
    assert!(x5(0x144d, name).has(Quirks::IGNORE_DEV_SUBNQN));
    assert_eq!(x5(0x1b36, name), Quirks::default());
    assert_eq!(
        x5(0x144d, b"Samsung Portable SSD X55                "),
        Quirks::default()
    );
    assert_eq!(
        Quirks::of_model(&Controller::parse(&controller().0)),
        Quirks::default()
    );
}

/// One firmware of any model.
#[test]
fn firmware() {
    let of = |vid: u16, firmware: &[u8; 8]| {
        let page: Fields = controller().put(0, vid.to_le_bytes()).put(64, firmware);
        Quirks::of_model(&Controller::parse(&page.0))
    };
    assert_eq!(of(0x14a4, b"22301111"), Quirks::SIMPLE_SUSPEND);
    assert_eq!(of(0x14a4, b"22301112"), Quirks::default());
    assert_eq!(of(0x14a5, b"22301111"), Quirks::default());
}

/// A computer's names, and its firmware's demand.
#[test]
fn computers() {
    use ComputerName::{Board, BoardVendor, Product, Vendor};
    let of = |ids: (u16, u16), names: &[(ComputerName, &CStr)], demands_d3| {
        let is = |field, text: &CStr| names.contains(&(field, text));
        Quirks::of_computer(ids.0, ids.1, is, demands_d3)
    };
    let (samsung, none) = ((0x144d, 0xa802), Quirks::default());
    let xps = [(Vendor, c"Dell Inc."), (Product, c"XPS 15 9550")];
    assert_eq!(of(samsung, &xps, false), Quirks::NO_DEEPEST_PS);
    // Not with another disk, another computer of this maker, or another maker's.
    assert_eq!(of((0x144d, 0xa803), &xps, false), none);
    assert_eq!(
        of(samsung, &[xps[0], (Product, c"XPS 15 9560")], false),
        none
    );
    assert_eq!(of(samsung, &xps[1..], false), none);
    assert_eq!(of(samsung, &[], false), none);
    // A mainboard with any disk.
    let board = [(Board, c"LXKT-ZXEG-N6")];
    assert_eq!(of((1, 2), &board, false), Quirks::NO_APST);
    assert_eq!(of((1, 2), &[(Product, board[0].1)], false), none);
    let c640 = [(BoardVendor, c"LENOVO"), (Board, c"LNVNB161216")];
    assert_eq!(of((0x1e0f, 1), &c640, false), Quirks::SIMPLE_SUSPEND);
    // The demand counts, unless this computer's is wrong for this disk.
    assert_eq!(of((1, 2), &[], true), Quirks::SIMPLE_SUSPEND);
    let tuxedo = [(Board, c"NS5x_7xPU")];
    let ignored = Quirks::FORCE_NO_SIMPLE_SUSPEND;
    assert_eq!(of((0x2646, 0x500f), &tuxedo, true), ignored);
    assert_eq!(of((0x2646, 0x500f), &tuxedo, false), ignored);
    assert_eq!(of((1, 2), &tuxedo, true), Quirks::SIMPLE_SUSPEND);
}

#[test]
fn names() {
    let names = |quirks: Quirks| quirks.names().collect::<Vec<_>>();
    assert!(names(Quirks::default()).is_empty());
    assert!(names(Quirks::LAZY_DOORBELLS).is_empty());
    assert_eq!(
        names(Quirks::BOGUS_NID.with(Quirks::NO_APST)),
        ["no_apst", "bogus_nid"]
    );
    // Each quirk has one bit and one name.
    let all = names(Quirks(u32::MAX));
    let bits: u32 = (0..32)
        .filter(|bit| !names(Quirks(1 << bit)).is_empty())
        .count() as u32;
    assert_eq!(all.len() as u32, bits);
    assert_eq!(
        all.len(),
        all.iter().collect::<std::collections::HashSet<_>>().len()
    );
}

#[test]
fn cns() {
    let (none, quirk) = (Quirks::default(), Quirks::IDENTIFY_CNS);
    let largest = |version, quirks| (0..=255).rev().find(|cns| knows_cns(version, quirks, *cns));
    for (version, quirks, expected) in [
        ((1, 0), none, 1),
        ((1, 0), quirk, 1),
        ((1, 1), none, 3),
        ((1, 1), quirk, 1),
        ((1, 2), none, 255),
        ((1, 2), quirk, 255),
        ((2, 0), none, 255),
        // A register that reads all zeroes.
        ((0, 0), none, 1),
    ] {
        assert_eq!(largest(version, quirks), Some(expected), "{version:?}");
    }
}

proptest! {
    /// A quirk that is switched off is off, even if it is switched on, too; other controllers keep
    /// theirs.
    #[test]
    fn overrides(found: u32, on: u32, off: u32, all: bool, bit in 0u32..32) {
        let device = if all { 0 } else { 0x8086_5845 };
        let overrides = Overrides { device, on: Quirks(on), off: Quirks(off) };
        let has = |quirks: Quirks| quirks.0 >> bit & 1 == 1;
        let (found, wanted) = (Quirks(found), !has(Quirks(off)) && (has(Quirks(on)) || has(Quirks(found))));
        prop_assert_eq!(has(overrides.apply(0x8086, 0x5845, found)), wanted);
        prop_assert_eq!(has(overrides.apply(0x8086, 0x5846, found)), if all { wanted } else { has(found) });
        prop_assert_eq!(overrides.concern(0x8086, 0x5845), on | off != 0);
        prop_assert_eq!(Overrides::default().apply(0x8086, 0x5845, found), found);
    }
}
