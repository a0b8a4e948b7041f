// SPDX-License-Identifier: GPL-2.0

//! Tests of `spec::identify`: fields, refusals and lists, from valid pages and from noise.

use nvme_proto::spec::{
    id::Nsid,
    identify::{
        active_namespaces_after,
        Controller,
        IdentifyError,
        Namespace,
        NamespaceError,
        NamespaceIds,
        NvmController,
        Subsystem, //
    },
    page::Page, //
};
use proptest::prelude::*;

/// A page, to be filled with fields at offsets.
pub(super) struct Fields(pub(super) Page);

impl Fields {
    pub(super) fn put(mut self, at: usize, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }
}

/// A controller similar to QEMU's.
pub(super) fn controller() -> Fields {
    Fields([0; 4096])
        .put(0, 0x1b36u16.to_le_bytes())
        .put(4, b"deadbeef            ")
        .put(24, b"QEMU NVMe Ctrl                          ")
        .put(64, b"10.0.2  ")
        // The bytes after the texts belong to other fields.
        .put(72, [b'x', b'y', b'z', b'x', b'y'])
        .put(77, [7])
        .put(78, 2u16.to_le_bytes())
        .put(80, 0x0001_0400u32.to_le_bytes())
        .put(88, 5_000_001u32.to_le_bytes())
        .put(92, 0x100u32.to_le_bytes())
        .put(111, [1])
        .put(128, 1u16.to_le_bytes())
        .put(130, 20u16.to_le_bytes())
        .put(132, 600u16.to_le_bytes())
        .put(256, 0x12au16.to_le_bytes())
        .put(258, [3, 7])
        .put(266, 343u16.to_le_bytes())
        .put(268, 373u16.to_le_bytes())
        .put(512, [0x66, 0x44])
        .put(516, 256u32.to_le_bytes())
        .put(520, 0x15fu16.to_le_bytes())
        .put(525, [7])
        .put(526, 127u16.to_le_bytes())
        .put(528, 7u16.to_le_bytes())
        .put(536, 1u32.to_le_bytes())
}

#[test]
fn controller_fields() {
    let c = Controller::parse(&controller().0);
    assert_eq!(c.validate(), Ok(()));
    assert_eq!(c.vid, 0x1b36);
    assert_eq!(c.serial.as_str(), "deadbeef");
    assert_eq!(c.model.as_str(), "QEMU NVMe Ctrl");
    assert_eq!(c.firmware.as_str(), "10.0.2");
    assert_eq!(
        format!("{:>10}|{:?}", c.firmware, c.serial),
        "    10.0.2|\"deadbeef\""
    );
    assert_eq!(c.max_transfer_bytes(4096), Some(512 * 1024));
    assert_eq!(c.cntlid, 2);
    assert_eq!(c.ver, 0x10400);
    assert_eq!(c.shutdown_timeout_ms(), 5001);
    assert_eq!(c.oaes, 0x100);
    assert_eq!((c.wctemp.0, c.cctemp.0), (343, 373));
    assert_eq!(c.acl, 4);
    assert_eq!(c.aerl, 8);
    assert_eq!(c.nn, 256);
    assert!(c.doorbell_buffer_config());
    assert!(c.dataset_management());
    assert!(c.write_zeroes());
    assert!(c.volatile_write_cache());
    assert!(c.sgls());
    assert_eq!((c.awun, c.awupf), (128, 8));
}

/// Each flag has its own bit.
#[test]
fn controller_flags() {
    let without = |at: usize, bit: u8| {
        let mut page = controller().0;
        page[at] &= !(1 << bit);
        Controller::parse(&page)
    };
    assert!(!without(257, 0).doorbell_buffer_config());
    assert!(!without(520, 2).dataset_management());
    assert!(without(520, 2).write_zeroes());
    assert!(!without(520, 3).write_zeroes());
    assert!(without(520, 3).dataset_management());
    assert!(without(520, 3).timestamp() && !without(520, 6).timestamp());
    assert!(!without(525, 0).volatile_write_cache());
    assert!(!without(536, 0).sgls());
    let sgls = |value: u8| Controller::parse(&controller().put(536, [value]).0).sgls();
    assert_eq!(
        [0, 1, 2, 3, 4, 5].map(sgls),
        [false, true, true, false, false, true]
    );
}

#[test]
fn controller_refused() {
    let line = |at: usize, bytes: &[u8]| {
        let refused = Controller::parse(&controller().put(at, bytes).0).validate();
        refused.unwrap_err().to_string()
    };
    assert_eq!(line(111, &[2]), "CNTRLTYPE is 2: not an I/O controller (1)");
    assert_eq!(
        line(512, &[0x55]),
        "SQES is 0x55: entries of 64 bytes are needed"
    );
    assert_eq!(
        line(512, &[0x77]),
        "SQES is 0x77: entries of 64 bytes are needed"
    );
    assert_eq!(
        line(513, &[0x33]),
        "CQES is 0x33: entries of 16 bytes are needed"
    );
    assert_eq!(line(516, &[0; 4]), "NN is 0: there can be no namespace");
    assert_eq!(
        Controller::parse(&[0; 4096]).validate(),
        Err(IdentifyError::SubmissionEntrySize(0))
    );
    // Valid: ranges that include the sizes, and controllers that are older than CNTRLTYPE.
    for (at, value) in [(512, 0x60), (512, 0x76), (513, 0x64), (513, 0x40), (111, 0)] {
        let page = controller().put(at, [value]).0;
        assert_eq!(Controller::parse(&page).validate(), Ok(()));
    }
}

#[test]
fn transfer_limits() {
    let limit =
        |mdts, page| Controller::parse(&controller().put(77, [mdts]).0).max_transfer_bytes(page);
    assert_eq!(limit(0, 4096), None);
    assert_eq!(limit(1, 4096), Some(8192));
    assert_eq!(limit(5, 65536), Some(2 << 20));
    // A large shift gives the largest number, not 0.
    assert_eq!(limit(51, 4096), Some(1 << 63));
    assert_eq!(limit(52, 4096), Some(u64::MAX));
    assert_eq!(limit(63, 4096), Some(u64::MAX));
    assert_eq!(limit(64, 4096), Some(u64::MAX));
    assert_eq!(limit(255, 1 << 27), Some(u64::MAX));
}

#[test]
fn shutdown_timeout_within_limits() {
    let timeout = |us: u32| {
        Controller::parse(&controller().put(88, us.to_le_bytes()).0).shutdown_timeout_ms()
    };
    assert_eq!(timeout(0), 5000);
    assert_eq!(timeout(1), 5000);
    assert_eq!(timeout(500_000), 5000);
    assert_eq!(timeout(5_000_001), 5001);
    assert_eq!(timeout(u32::MAX), 60_000);
}

#[test]
fn texts() {
    let firmware = |text: &[u8; 8]| {
        Controller::parse(&controller().put(64, text).0)
            .firmware
            .to_string()
    };
    assert_eq!(firmware(b"        "), "");
    assert_eq!(firmware(&[0; 8]), "");
    assert_eq!(firmware(b"ab\0\0\0\0\0\0"), "ab");
    assert_eq!(firmware(b"  a b \0\0"), "a b");
    assert_eq!(firmware(b"a\0b\n\x1b[m\x7f"), "a?b??[m?");
    assert_eq!(firmware(&[0xff; 8]), "????????");
    assert_eq!(firmware("ä      ".as_bytes().try_into().unwrap()), "??");
}

/// A namespace of 1 GiB with blocks of 4096 bytes in format 1, and a value in each field.
pub(super) fn namespace() -> Fields {
    Fields([0; 4096])
        .put(0, 262_144u64.to_le_bytes())
        .put(8, 262_000u64.to_le_bytes())
        .put(24, [0b0001_0010, 1, 1])
        .put(33, [0b1001])
        .put(34, 15u16.to_le_bytes())
        .put(36, 7u16.to_le_bytes())
        .put(38, 3u16.to_le_bytes())
        .put(40, 31u16.to_le_bytes())
        .put(42, 5u16.to_le_bytes())
        .put(44, 63u16.to_le_bytes())
        .put(46, 256u16.to_le_bytes())
        .put(64, 1u16.to_le_bytes())
        .put(66, 2u16.to_le_bytes())
        .put(68, 3u16.to_le_bytes())
        .put(70, 4u16.to_le_bytes())
        .put(72, 5u16.to_le_bytes())
        .put(104, [0x11; 16])
        .put(120, [0x22; 8])
        .put(128, [0, 0, 9, 0, 0, 0, 12, 0])
}

#[test]
fn namespace_fields() {
    let ns = Namespace::parse(&namespace().0).unwrap();
    assert_eq!((ns.nsze, ns.ncap, ns.lba_shift), (262_144, 262_000, 12));
    assert_eq!(ns.capacity_sectors(), 2 << 20);
    assert_eq!(
        (ns.nawun, ns.nawupf, ns.nacwu),
        (Some(16), Some(8), Some(4))
    );
    assert_eq!((ns.nabsn, ns.nabo, ns.nabspf), (32, 5, 64));
    assert_eq!(ns.noiob, 256);
    assert_eq!(
        (ns.npwg, ns.npwa, ns.npdg, ns.npda, ns.nows),
        (2, 3, 4, 5, 6)
    );
    assert!(ns.deallocated_reads_zero() && ns.write_zeroes_deallocates());
    assert!(!ns.read_only);
    assert_eq!(ns.nguid, [0x11; 16]);
    assert_eq!(ns.eui64, [0x22; 8]);
}

/// Fields that NSFEAT declares undefined are ignored.
#[test]
fn namespace_undefined() {
    let ns = Namespace::parse(&namespace().put(24, [0]).0).unwrap();
    assert_eq!((ns.nawun, ns.nawupf, ns.nacwu), (None, None, None));
    assert_eq!((ns.nabsn, ns.nabo, ns.nabspf), (0, 0, 0));
    assert_eq!(
        (ns.npwg, ns.npwa, ns.npdg, ns.npda, ns.nows),
        (1, 1, 1, 1, 0)
    );
    // Bits 5 and 4 of NSFEAT, as of revision 2.1: bit 4 alone defines the hints for deallocation.
    let ns = Namespace::parse(&namespace().put(24, [0x20]).0).unwrap();
    assert_eq!(
        (ns.npwg, ns.npwa, ns.npdg, ns.npda, ns.nows),
        (2, 3, 1, 1, 6)
    );
    // A boundary of 0 means no boundary, not one block.
    let ns = Namespace::parse(&namespace().put(40, [0; 6]).0).unwrap();
    assert_eq!((ns.nabsn, ns.nabo, ns.nabspf), (0, 0, 0));
}

#[test]
fn namespace_flags() {
    assert!(
        Namespace::parse(&namespace().put(99, [1]).0)
            .unwrap()
            .read_only
    );
    let dlfeat = |value| {
        let ns = Namespace::parse(&namespace().put(33, [value]).0).unwrap();
        (ns.deallocated_reads_zero(), ns.write_zeroes_deallocates())
    };
    // 1: zeroes; 2: ones; 0: not reported.
    assert_eq!(dlfeat(0), (false, false));
    assert_eq!(dlfeat(1), (true, false));
    assert_eq!(dlfeat(2), (false, false));
    assert_eq!(dlfeat(3), (false, false));
    assert_eq!(dlfeat(8), (false, true));
}

#[test]
fn namespace_refused() {
    let refused = |fields: Fields| Namespace::parse(&fields.0).unwrap_err();
    let line = |fields: Fields| refused(fields).to_string();
    assert_eq!(
        line(namespace().put(0, [0; 8])),
        "NSZE is 0: the namespace is not active"
    );
    assert_eq!(
        refused(namespace().put(0, [0; 8])),
        NamespaceError::Inactive
    );
    assert_eq!(
        line(namespace().put(26, [2])),
        "FLBAS is format 2, but NLBAF is 1"
    );
    assert_eq!(
        line(namespace().put(134, [13])),
        "LBADS is 13: blocks of 512 to 4096 bytes (9 to 12) are needed"
    );
    for shift in (0..9).chain(13..=255) {
        assert_eq!(
            refused(namespace().put(134, [shift])),
            NamespaceError::BlockSize(u32::from(shift))
        );
    }
    for shift in 9..=12 {
        let ns = Namespace::parse(&namespace().put(134, [shift]).0).unwrap();
        assert_eq!(ns.lba_shift, u32::from(shift));
        assert_eq!(ns.capacity_sectors(), 262_144 << (shift - 9));
    }
}

/// More than 16 formats: in FLBAS, the upper bits of the format are above the bit for metadata.
#[test]
fn many_formats() {
    let format = |nlbaf, flbas| {
        let page = namespace()
            .put(25, [nlbaf, flbas])
            .put(128 + 4, [0, 0, 9, 0])
            .put(128 + 4 * 0x11, [0, 0, 12, 0])
            .put(128 + 4 * 63, [0, 0, 11, 0]);
        Namespace::parse(&page.0).map(|ns| ns.lba_shift)
    };
    assert_eq!(format(16, 0b0000_0001), Ok(9));
    assert_eq!(format(17, 0b0010_0001), Ok(12));
    assert_eq!(format(63, 0b0111_1111), Ok(11));
    // Format 17 of 16.
    let (format_17, nlbaf) = (17, 16);
    assert_eq!(
        format(16, 0b0010_0001),
        Err(NamespaceError::Format {
            format: format_17,
            nlbaf
        })
    );
    // With up to 16 formats the upper bits are undefined.
    assert_eq!(format(15, 0b0110_0001), Ok(9));
    // The bit for metadata at the end of the block is ignored in a format without metadata.
    assert_eq!(format(15, 0b0001_0001), Ok(9));
}

#[test]
fn capacities() {
    let sectors = |nsze: u64, shift: u8| {
        let page = namespace().put(0, nsze.to_le_bytes()).put(134, [shift]).0;
        Namespace::parse(&page).unwrap().capacity_sectors()
    };
    let max = i64::MAX as u64 >> 9;
    assert_eq!(sectors(1, 9), 1);
    assert_eq!(sectors(1, 12), 8);
    assert_eq!(sectors(max, 9), max);
    assert_eq!(sectors(max + 1, 9), max);
    assert_eq!(sectors(u64::MAX, 9), max);
    // Whole blocks only.
    assert_eq!(sectors(u64::MAX, 12), max & !7);
    // A shift that loses the upper bits would give 0.
    assert_eq!(sectors(1 << 61, 12), max & !7);
}

/// A list of identifiers.
fn ids(descriptors: &[&[u8]]) -> NamespaceIds {
    let mut page = [0; 4096];
    let all = descriptors.concat();
    page[..all.len()].copy_from_slice(&all);
    NamespaceIds::parse(&page)
}

#[test]
fn identifiers() {
    let eui64 = [&[1, 8, 0, 0][..], &[0xe1; 8]].concat();
    let nguid = [&[2, 16, 0, 0][..], &[0x42; 16]].concat();
    let uuid = [&[3, 16, 0xff, 0xff][..], &[0x77; 16]].concat();
    let csi = [4, 1, 0, 0, 2];
    let all = ids(&[&uuid, &csi, &nguid, &eui64]);
    assert_eq!(all.eui64, Some([0xe1; 8]));
    assert_eq!(all.nguid, Some([0x42; 16]));
    assert_eq!(all.uuid, Some([0x77; 16]));
    assert_eq!(all.csi, Some(2));
    // Unknown types are skipped.
    assert_eq!(ids(&[&[9, 3, 0, 0, 1, 2, 3], &csi]).csi, Some(2));
    assert_eq!(ids(&[]), NamespaceIds::default());
    // The list ends at a descriptor whose length is 0 or wrong.
    assert_eq!(ids(&[&csi, &[3, 0, 0, 0], &uuid]).uuid, None);
    assert_eq!(ids(&[&csi, &[3, 0, 0, 0], &uuid]).csi, Some(2));
    assert_eq!(
        ids(&[&[1, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0], &csi]),
        NamespaceIds::default()
    );
    assert_eq!(ids(&[&[3, 255, 0, 0]]), NamespaceIds::default());
}

/// Descriptors of an unknown type, from the beginning of the page up to `end` (above 4004).
fn filled_up_to(end: usize) -> Page {
    let mut page = [0; 4096];
    for at in (0..4000).step_by(200) {
        page[at..at + 2].copy_from_slice(&[0x80, 196]);
    }
    page[4000..4002].copy_from_slice(&[0x80, (end - 4004) as u8]);
    page
}

/// A descriptor that ends at the end of the page, and descriptors that the end cuts off.
#[test]
fn identifiers_at_the_end() {
    let eui64 = [1, 8, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    for start in 4060..4096 {
        let fits = (4096 - start).min(eui64.len());
        let page = Fields(filled_up_to(start)).put(start, &eui64[..fits]).0;
        let found = (start <= 4096 - eui64.len()).then_some([1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(NamespaceIds::parse(&page).eui64, found, "at {start}");
    }
}

/// The identify data supply the identifiers that the list lacks; zeroes are no identifier.
#[test]
fn ids_of_the_namespace() {
    let page = |nguid, eui64| namespace().put(104, [nguid; 16]).put(120, [eui64; 8]).0;
    let listed = NamespaceIds {
        csi: Some(0),
        ..NamespaceIds::default()
    };
    let of = |nguid, eui64| NamespaceIds::of(&Namespace::parse(&page(nguid, eui64)).unwrap());
    let all = listed.or(of(7, 0));
    assert_eq!(
        (all.nguid, all.eui64, all.csi),
        (Some([7; 16]), None, Some(0))
    );

    let listed = NamespaceIds {
        nguid: Some([9; 16]),
        ..listed
    };
    let all = listed.or(of(7, 8));
    assert_eq!((all.nguid, all.eui64), (Some([9; 16]), Some([8; 8])));
}

/// A list of namespace ids.
fn list(ids: &[u32]) -> Page {
    let mut page = [0; 4096];
    for (chunk, id) in page.chunks_exact_mut(4).zip(ids) {
        chunk.copy_from_slice(&id.to_le_bytes());
    }
    page
}

#[test]
fn namespaces() {
    let next = |ids: &[u32], after| {
        active_namespaces_after(&list(ids), Nsid::new(after))
            .map(Nsid::get)
            .collect::<Vec<_>>()
    };
    let active = |ids: &[u32]| next(ids, 0);
    assert_eq!(active(&[]), []);
    assert_eq!(active(&[1, 2, 5, 0x1000]), [1, 2, 5, 0x1000]);
    assert_eq!(active(&[1, 0, 3]), [1]);
    assert_eq!(active(&[3, 3, 4]), [3]);
    assert_eq!(active(&[3, 1, 4]), [3]);
    assert_eq!(active(&[1, u32::MAX]), [1]);
    assert_eq!(active(&[u32::MAX - 1, u32::MAX]), [u32::MAX - 1]);
    let full: Vec<u32> = (1..=1024).collect();
    assert_eq!(active(&full), full);
    // The next list has to begin after the last identifier of the list before.
    assert_eq!(next(&[1025, 1026], 1024), [1025, 1026]);
    assert_eq!(next(&full, 1024), []);
    assert_eq!(next(&[1024], 1024), []);
}

/// A page of noise, or a valid page with some noise in it.
fn noise() -> impl Strategy<Value = Box<Page>> {
    let bytes = |n| prop::collection::vec((0usize..4096, any::<u8>()), n);
    let spoiled = |mut page: Box<Page>, noise: Vec<(usize, u8)>| {
        for (at, byte) in noise {
            page[at] = byte;
        }
        page
    };
    prop_oneof![
        prop::collection::vec(any::<u8>(), 4096).prop_map(|bytes| bytes.try_into().unwrap()),
        prop::collection::vec(any::<u8>(), 400).prop_map(|bytes| {
            let mut page = Box::new([0; 4096]);
            page[..400].copy_from_slice(&bytes);
            page
        }),
        bytes(0..40).prop_map(move |noise| spoiled(Box::new(controller().0), noise)),
        // Noise in the part that has fields.
        prop::collection::vec((0usize..140, any::<u8>()), 0..6)
            .prop_map(move |noise| spoiled(Box::new(namespace().0), noise)),
    ]
}

proptest! {
    #![proptest_config(crate::cases(2048))]

    /// For any page of a controller: the driver can use every value that passes the checks.
    #[test]
    fn hostile_pages(page in noise(), page_size in 12u32..=27) {
        let c = Controller::parse(&page);
        if c.validate().is_ok() {
            prop_assert!(c.nn != 0);
        }
        for text in [c.serial.as_str(), c.model.as_str(), c.firmware.as_str()] {
            prop_assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(text, text.trim());
        }
        prop_assert!(c.max_transfer_bytes(1 << page_size).is_none_or(|max| max >= 2 << page_size));
        prop_assert!((1..=256).contains(&c.acl) && (1..=256).contains(&c.aerl));

        if let Ok(ns) = Namespace::parse(&page) {
            prop_assert!((9..=12).contains(&ns.lba_shift));
            let sectors = ns.capacity_sectors();
            prop_assert!(sectors > 0 && sectors <= i64::MAX as u64 >> 9);
            prop_assert_eq!(sectors % (1 << (ns.lba_shift - 9)), 0);
            prop_assert!(ns.npwg > 0 && ns.npwa > 0 && ns.npdg > 0 && ns.npda > 0);
            prop_assert!(ns.nawun != Some(0) && ns.nawupf != Some(0) && ns.nacwu != Some(0));
        }

        let _ = NamespaceIds::parse(&page);
        let _ = Subsystem::parse(&page);

        let ids: Vec<_> = active_namespaces_after(&page, None).collect();
        prop_assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    }

    /// Compares the identifiers with those of a parser that reads byte by byte.
    #[test]
    fn identifier_lists(
        descriptors in prop::collection::vec(
            (
                prop_oneof![4 => 1u8..5, 1 => any::<u8>()],
                prop_oneof![Just(1u8), Just(8), Just(16), any::<u8>()],
                any::<u8>(),
            ),
            0..40,
        ),
        start in 4005usize..4096,
        at_the_end: bool,
    ) {
        let all: Vec<u8> = descriptors
            .iter()
            .flat_map(|&(kind, len, fill)| {
                [kind, len, 0, 0].into_iter().chain((0..len).map(move |_| fill))
            })
            .collect();
        let (page, start) = match at_the_end {
            true => (filled_up_to(start), start),
            false => ([0; 4096], 0),
        };
        let fits = all.len().min(4096 - start);
        let page = Fields(page).put(start, &all[..fits]).0;

        let mut expected = NamespaceIds::default();
        let mut bytes = page.iter().copied();
        loop {
            let header: Vec<u8> = bytes.by_ref().take(4).collect();
            let [kind, len, _, _] = header[..] else { break };
            let id: Vec<u8> = bytes.by_ref().take(usize::from(len)).collect();
            if len == 0 || id.len() < usize::from(len) {
                break;
            }
            match (kind, len) {
                // All zeroes are no identifier.
                (1, 8) => expected.eui64 = (id != [0; 8]).then(|| id.try_into().unwrap()),
                (2, 16) => expected.nguid = (id != [0; 16]).then(|| id.try_into().unwrap()),
                (3, 16) => expected.uuid = (id != [0; 16]).then(|| id.try_into().unwrap()),
                (4, 1) => expected.csi = Some(id[0]),
                (1..=4, _) => break,
                _ => {}
            }
        }
        prop_assert_eq!(NamespaceIds::parse(&page), expected);
    }
}

#[test]
fn nvm_controller_limits() {
    let mut page = [0; 4096];
    assert_eq!(NvmController::parse(&page), NvmController::default());

    page[1] = 5;
    page[3] = 255;
    page[4..8].copy_from_slice(&4_194_303u32.to_le_bytes());
    let nvm = NvmController::parse(&page);
    assert_eq!(
        (nvm.wzsl, nvm.max_write_zeroes_bytes(8192)),
        (5, Some(256 << 10))
    );
    assert_eq!(NvmController::default().max_write_zeroes_bytes(4096), None);
    assert_eq!(nvm.ranges, 255);
    assert_eq!(nvm.range_blocks, 4_194_303);
}
