// SPDX-License-Identifier: GPL-2.0

//! Tests of `spec::id`: size, range, order and display of the identifiers.

use nvme_proto::spec::id::{
    Cid,
    Nsid,
    Qid, //
};
use proptest::prelude::*;
use std::mem::size_of;

#[test]
fn as_large_as_their_numbers() {
    assert_eq!((size_of::<Qid>(), size_of::<Cid>()), (2, 2));
    // `None` needs no additional memory.
    assert_eq!((size_of::<Nsid>(), size_of::<Option<Nsid>>()), (4, 4));
}

#[test]
fn ranges() {
    assert_eq!(Nsid::new(0), None);
    assert_eq!(Nsid::new(u32::MAX), None);
    assert_eq!(Nsid::new(1).map(Nsid::get), Some(1));
    assert_eq!(Nsid::new(u32::MAX - 1).map(Nsid::get), Some(u32::MAX - 1));
    assert_eq!(Qid::ADMIN, Qid::new(0));
}

#[test]
fn texts() {
    let nsid = Nsid::new(12).unwrap();
    assert_eq!(
        format!("{nsid} {:>3} {:#06x}", Qid::new(3), Cid::new(0xab)),
        "12   3 0x00ab"
    );
}

proptest! {
    #[test]
    fn numbers(number: u32, short: u16) {
        prop_assert_eq!(Qid::new(short).get(), short);
        prop_assert_eq!(Cid::new(short).get(), short);
        let nsid = Nsid::new(number);
        prop_assert!(nsid.is_none_or(|id| id.get() == number));
        prop_assert_eq!(nsid.is_none(), number == 0 || number == u32::MAX);
    }

    /// Identifiers compare as their numbers.
    #[test]
    fn order(a in 1..u32::MAX, b in 1..u32::MAX, c: u16, d: u16) {
        prop_assert_eq!(Nsid::new(a) < Nsid::new(b), a < b);
        prop_assert_eq!(Qid::new(c) < Qid::new(d), c < d);
    }
}
