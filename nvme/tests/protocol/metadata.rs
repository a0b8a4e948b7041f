// SPDX-License-Identifier: GPL-2.0

//! Tests of `host::metadata`, `spec::protection` and the formats in `spec::identify`: which metadata a disk
//! can have, and each field of a command, by its place in the entry.

use super::identify::{
    namespace,
    Fields, //
};
use nvme_proto::{
    host::metadata::{
        BlockFormat,
        Checks,
        Metadata,
        Tuple, //
    },
    spec::{
        command::{
            Command,
            DataPtr,
            Opcode, //
        },
        id::{
            Cid,
            Nsid, //
        },
        identify::{
            Controller,
            ExtendedFormat,
            Namespace, //
        },
        protection::{
            Guard,
            Protection, //
        },
    },
};
use proptest::prelude::*;

/// A namespace with `bytes` of metadata; `flbas` and `dps` are the fields.
fn with(bytes: u16, flbas: u8, dps: u8) -> Namespace {
    let page = namespace()
        .put(26, [flbas])
        .put(29, [dps])
        .put(128, [0; 4])
        .put(132, bytes.to_le_bytes())
        .0;
    Namespace::parse(&page).unwrap()
}

/// Format 1, with metadata beside the data, and at their end.
const BESIDE: u8 = 1;
const EXTENDED: u8 = 0x11;

#[test]
fn fields() {
    let ns = with(8, EXTENDED, 0b1010);
    assert_eq!((ns.format, ns.metadata, ns.extended), (1, 8, true));
    assert_eq!((ns.protection, ns.protection_first), (2, true));
    let ns = with(64, BESIDE, 0b0001);
    assert_eq!((ns.metadata, ns.extended), (64, false));
    assert_eq!((ns.protection, ns.protection_first), (1, false));
    assert!(!with(0, EXTENDED, 0).extended);

    let attributes = |bits: u32| {
        let page = super::identify::controller().put(96, bits.to_le_bytes()).0;
        Controller::parse(&page).extended_formats()
    };
    assert!(attributes(1 << 15));
    assert!(!attributes(!(1 << 15)));
}

#[test]
fn extended_formats() {
    let of = |pic: u8, elbaf: u32| {
        let page = Fields([0; 4096])
            .put(8, [pic])
            .put(12 + 4 * 5, elbaf.to_le_bytes())
            .0;
        let format = ExtendedFormat::of(&page, 5);
        (format.storage_tag_bits, format.guard)
    };
    assert_eq!(of(0, 0), (0, Some(Guard::Crc16)));
    assert_eq!(of(0, 48), (48, Some(Guard::Crc16)));
    assert_eq!(of(0, 1 << 7), (0, None));
    assert_eq!(of(0, 2 << 7), (0, Some(Guard::Crc64)));
    assert_eq!(of(0, 3 << 7), (0, None));
    // The kind is in another field, if the controller has that.
    assert_eq!(of(8, 3 << 7), (0, Some(Guard::Crc16)));
    assert_eq!(of(8, 3 << 7 | 2 << 9), (0, Some(Guard::Crc64)));
    assert_eq!(of(8, 3 << 7 | 5 << 9), (0, None));
    assert_eq!(of(8, 2 << 9), (0, Some(Guard::Crc16)));
}

#[test]
fn kinds() {
    let tuple = |guard, offset, has_reference| Tuple {
        guard,
        offset,
        has_reference,
    };
    let separate = |bytes, tuple| Metadata::Separate { bytes, tuple };
    let of = |bytes, flbas, dps| Metadata::of(&with(bytes, flbas, dps), None, true);
    let unusable = Metadata::Unusable;
    let crc16 = |offset, has_reference| tuple(Guard::Crc16, offset, has_reference);

    assert_eq!(of(0, BESIDE, 1), Metadata::None);
    assert_eq!(of(8, BESIDE, 0), separate(8, None));
    assert_eq!(of(8, BESIDE, 1), separate(8, Some(crc16(0, true))));
    assert_eq!(of(8, BESIDE, 3), separate(8, Some(crc16(0, false))));
    // An unknown type.
    assert_eq!(of(8, BESIDE, 4), separate(8, None));
    // At the end, or at the beginning.
    assert_eq!(of(64, BESIDE, 2), separate(64, Some(crc16(56, true))));
    assert_eq!(of(64, BESIDE, 10), separate(64, Some(crc16(0, true))));
    // Too small, too large.
    assert_eq!(of(4, BESIDE, 1), separate(4, None));
    assert_eq!(of(256, BESIDE, 1), unusable);
    // At the end of the data only the controller can handle them, if they are nothing else.
    assert_eq!(of(8, EXTENDED, 1), Metadata::ByController(crc16(0, true)));
    assert_eq!(of(16, EXTENDED, 1), unusable);
    assert_eq!(of(8, EXTENDED, 0), unusable);
    // A kernel without buffers.
    let plain = |bytes| Metadata::of(&with(bytes, BESIDE, 1), None, false);
    assert_eq!(plain(8), Metadata::ByController(crc16(0, true)));
    assert_eq!(plain(16), unusable);

    let format = |bytes, flbas, storage_tag_bits, guard| {
        let format = ExtendedFormat {
            storage_tag_bits,
            guard,
        };
        Metadata::of(&with(bytes, flbas, 1), Some(format), true)
    };
    let crc64 = tuple(Guard::Crc64, 0, true);
    assert_eq!(
        format(16, BESIDE, 0, Some(Guard::Crc64)),
        separate(16, Some(crc64))
    );
    assert_eq!(
        format(16, EXTENDED, 0, Some(Guard::Crc64)),
        Metadata::ByController(crc64)
    );
    assert_eq!(format(8, BESIDE, 0, Some(Guard::Crc64)), separate(8, None));
    assert_eq!(format(8, BESIDE, 0, None), separate(8, None));
    assert_eq!(format(8, BESIDE, 16, Some(Guard::Crc16)), separate(8, None));
    assert_eq!(format(8, EXTENDED, 16, Some(Guard::Crc16)), unusable);
}

/// The memory of a user's commands, with PRACT and without.
#[test]
fn block_formats() {
    let of = |ns: &Namespace, pract: bool| {
        let cdw12 = if pract { 1 << 29 } else { 0 };
        let read = Command::passthrough(2, 1, [0, 0], [0, 0, cdw12, 0, 0, 0]);
        BlockFormat::of(ns, None).bytes(&read)
    };
    for (ns, without, with) in [
        (with(0, BESIDE, 0), (4096, 0), (4096, 0)),
        (with(8, BESIDE, 1), (4096, 8), (4096, 0)),
        (with(8, EXTENDED, 1), (4104, 0), (4096, 0)),
        // Not only protection information.
        (with(8, BESIDE, 0), (4096, 8), (4096, 8)),
        (with(16, BESIDE, 1), (4096, 16), (4096, 16)),
        (with(16, EXTENDED, 1), (4112, 0), (4112, 0)),
        (
            with(u16::MAX, EXTENDED, 1),
            (4096 + 65535, 0),
            (4096 + 65535, 0),
        ),
    ] {
        assert_eq!(of(&ns, false), Some(without), "{ns:?}");
        assert_eq!(of(&ns, true), Some(with), "{ns:?}");
    }
    let read = Command::passthrough(2, 1, [0, 0], [0; 6]);
    assert_eq!(BlockFormat::plain(63).bytes(&read), Some((1 << 63, 0)));
    assert_eq!(BlockFormat::plain(64).bytes(&read), None);
}

#[test]
fn protection() {
    let block = 0x1234_5678_9abc_def0;
    let of = |bytes, flbas, dps, guard| {
        let format = ExtendedFormat {
            storage_tag_bits: 0,
            guard: Some(guard),
        };
        Metadata::of(&with(bytes, flbas, dps), Some(format), true)
    };
    let inserted = |reference| Protection {
        by_controller: true,
        reference,
        ..Protection::default()
    };
    let by_controller = |reference| Protection {
        check_guard: true,
        check_reference: true,
        ..inserted(reference)
    };
    let none = Protection::default();
    let all = Checks {
        guard: true,
        reference: true,
        application: Some(0xabcd),
    };
    let checked = |reference| Protection {
        by_controller: false,
        check_guard: true,
        check_application: Some(0xabcd),
        check_reference: true,
        reference,
    };

    // (metadata, fields without a buffer, with one and all checks, of Write Zeroes)
    let (low, long) = (0x9abc_def0, 0x5678_9abc_def0);
    for (metadata, without, with, zeroes) in [
        (Metadata::None, Some(none), checked(0), none),
        (
            of(8, EXTENDED, 1, Guard::Crc16),
            Some(by_controller(low)),
            checked(low),
            inserted(low),
        ),
        (
            of(8, BESIDE, 2, Guard::Crc16),
            Some(inserted(low)),
            checked(low),
            inserted(low),
        ),
        (
            of(8, BESIDE, 3, Guard::Crc16),
            Some(inserted(0)),
            checked(0),
            inserted(0),
        ),
        (
            of(16, BESIDE, 1, Guard::Crc64),
            Some(inserted(long)),
            checked(long),
            inserted(long),
        ),
        // The controller can't insert what is beside the protection information.
        (
            of(16, BESIDE, 1, Guard::Crc16),
            None,
            checked(low),
            inserted(low),
        ),
        (of(16, BESIDE, 0, Guard::Crc16), None, checked(0), none),
    ] {
        assert_eq!(metadata.protection(block, None), without, "{metadata:?}");
        assert_eq!(
            metadata.protection(block, Some(all)),
            Some(with),
            "{metadata:?}"
        );
        // Without a check there is no tag.
        let nothing = metadata.protection(block, Some(Checks::default()));
        assert_eq!(nothing, Some(none), "{metadata:?}");
        assert_eq!(metadata.zeroes(block), zeroes, "{metadata:?}");
    }
    assert_eq!(of(64, BESIDE, 1, Guard::Crc16).bytes(), 64);
    assert_eq!(of(8, EXTENDED, 1, Guard::Crc16).bytes(), 0);
    assert_eq!(Metadata::None.bytes(), 0);
}

proptest! {
    /// Each field is in its place (NVM 3.2.4), and nothing else changes.
    #[test]
    fn encoded(
        metadata: u64, slba: u64, blocks in 1u32..65536, fua: bool,
        by_controller: bool, check_guard: bool, check_reference: bool,
        check_application: Option<u16>, reference in 0u64..1 << 48,
    ) {
        let data = DataPtr::Prp { prp1: 0x1000, prp2: 0x2000 };
        let nsid = Nsid::new(7).unwrap();
        let plain = Command::rw(Opcode::Write, Cid::new(9), nsid, slba, blocks, fua, data);
        let protection = Protection {
            by_controller, check_guard, check_application, check_reference, reference,
        };
        let command = plain.with_protection(metadata, protection);

        let prinfo = u32::from(by_controller) << 29
            | u32::from(check_guard) << 28
            | u32::from(check_application.is_some()) << 27
            | u32::from(check_reference) << 26;
        let application = check_application.map_or(0, |tag| 0xffff_0000 | u32::from(tag));
        for number in 0..16 {
            let expected = match number {
                3 => (reference >> 32) as u32,
                4 => metadata as u32,
                5 => (metadata >> 32) as u32,
                12 => plain.dword(12) | prinfo,
                14 => reference as u32,
                15 => application,
                _ => plain.dword(number),
            };
            prop_assert_eq!(command.dword(number), expected, "dword {}", number);
        }
    }

    /// No identify data give a disk metadata that overlap or don't fit.
    #[test]
    fn fits(bytes: u16, flbas in 0u8..32, dps: u8, pic: u8, elbaf: u32, known: bool, separate: bool) {
        let flbas = flbas & 0x10 | 1;
        let page = Fields([0; 4096]).put(8, [pic]).put(16, elbaf.to_le_bytes()).0;
        let format = known.then(|| ExtendedFormat::of(&page, 1));
        match Metadata::of(&with(bytes, flbas, dps), format, separate) {
            Metadata::None => prop_assert_eq!(bytes, 0),
            Metadata::Separate { bytes: size, tuple } => {
                prop_assert_eq!(u16::from(size), bytes);
                prop_assert!(size != 0 && separate && flbas & 0x10 == 0);
                if let Some(tuple) = tuple {
                    let end = u16::from(tuple.offset) + u16::from(tuple.guard.tuple_bytes());
                    prop_assert!(end <= bytes);
                }
            }
            Metadata::ByController(tuple) => {
                prop_assert_eq!(u16::from(tuple.guard.tuple_bytes()), bytes);
                prop_assert!(matches!(dps & 7, 1..=3));
            }
            Metadata::Unusable => prop_assert_ne!(bytes, 0),
        }
    }
}
