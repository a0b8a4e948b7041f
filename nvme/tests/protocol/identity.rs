// SPDX-License-Identifier: GPL-2.0

//! Tests of `host::identity`: which differences show that a namespace is a different namespace; the
//! printed forms; which controllers and namespaces are the same.

use super::identify::{
    controller,
    namespace,
    Fields, //
};
use nvme_proto::{
    host::identity::{
        Change,
        Hex,
        Identity, //
    },
    spec::{
        id::Nsid,
        identify::{
            DeviceId,
            Namespace,
            NamespaceIds,
            Subsystem, //
        },
    },
};
use proptest::prelude::*;

/// The device of a controller with this vendor id and serial.
fn device(vid: u16, serial: u8) -> DeviceId {
    let page = controller().put(0, vid.to_le_bytes()).put(4, [serial]).0;
    DeviceId::parse(&page)
}

fn identity(serial: u8, ids: NamespaceIds) -> Identity {
    Identity {
        device: device(0x1b36, b'0' + serial),
        ids,
    }
}

#[test]
fn changes() {
    let none = NamespaceIds::default();
    let uuid = |byte| NamespaceIds {
        uuid: Some([byte; 16]),
        ..none
    };
    let both = |byte, eui| NamespaceIds {
        eui64: Some([eui; 8]),
        ..uuid(byte)
    };
    let csi = |csi| NamespaceIds {
        csi: Some(csi),
        ..none
    };
    let change = |a: Identity, b: Identity| {
        // The order makes no difference.
        assert_eq!(a.change_since(&b), b.change_since(&a));
        a.change_since(&b)
    };

    assert_eq!(change(identity(1, uuid(1)), identity(1, uuid(1))), None);
    assert_eq!(
        change(identity(1, uuid(1)), identity(1, uuid(2))),
        Some(Change::Identifiers)
    );
    // One different identifier of several is enough.
    assert_eq!(
        change(identity(1, both(1, 1)), identity(1, both(1, 2))),
        Some(Change::Identifiers)
    );
    // An identifier that only one of the two has is no difference.
    assert_eq!(change(identity(1, uuid(1)), identity(1, none)), None);
    assert_eq!(change(identity(1, uuid(1)), identity(1, both(1, 1))), None);
    // Without a common identifier the device decides.
    assert_eq!(
        change(identity(1, uuid(1)), identity(2, none)),
        Some(Change::Device)
    );
    assert_eq!(
        change(identity(1, none), identity(2, none)),
        Some(Change::Device)
    );
    assert_eq!(change(identity(1, uuid(1)), identity(2, uuid(1))), None);
    // With another command set it is another namespace, even if the rest is equal.
    assert_eq!(
        change(identity(1, csi(0)), identity(1, csi(2))),
        Some(Change::CommandSet)
    );
    assert_eq!(change(identity(1, csi(0)), identity(1, none)), None);

    // Vendor, serial and model each make another device.
    let page = controller().0;
    let now = DeviceId::parse(&page);
    assert_eq!(now, DeviceId::parse(&controller().put(64, b"11").0));
    for (at, byte) in [
        (0, 0),
        (1, 0),
        (4, b'x'),
        (23, b'x'),
        (24, b'x'),
        (63, b'x'),
    ] {
        let other = DeviceId::parse(&controller().put(at, [byte]).0);
        assert_ne!(other, now, "at {at}");
    }
    assert_eq!(both(1, 2).or(csi(2)).without_ids(), csi(2));
}

/// The forms are those of the kernel's `nvme`.
#[test]
fn printed() {
    const ID: [u8; 16] = [
        0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee,
        0xff,
    ];
    let none = NamespaceIds::default();
    let eui64 = NamespaceIds {
        eui64: Some([0, 1, 2, 3, 4, 5, 6, 0xff]),
        ..none
    };
    let nguid = NamespaceIds {
        nguid: Some(ID),
        ..eui64
    };
    let uuid = NamespaceIds {
        uuid: Some(ID),
        ..nguid
    };
    let of = |ids| Identity {
        device: DeviceId::parse(&controller().0),
        ids,
    };
    let wwid = |ids| of(ids).wwid(Nsid::new(0x1f).unwrap()).to_string();

    assert_eq!(wwid(uuid), "uuid.00112233-4455-6677-8899-aabbccddeeff");
    assert_eq!(wwid(nguid), "eui.00112233445566778899aabbccddeeff");
    assert_eq!(wwid(eui64), "eui.00010203040506ff");
    assert_eq!(
        wwid(none),
        "nvme.1b36-6465616462656566-51454d55204e564d65204374726c-0000001f"
    );
    assert_eq!(of(uuid).eui(), Some(&ID[..]));
    assert_eq!(of(eui64).eui().map(<[u8]>::len), Some(8));
    assert_eq!(of(none).eui(), None);
    assert_eq!(Hex::spaced(&ID[..3]).to_string(), "00 11 22");

    // Bytes that aren't printable count; padding with spaces, NULs or both doesn't.
    let serial = |serial: &[u8; 20]| {
        let page = controller().put(4, serial).put(24, [b' '; 40]).0;
        let identity = Identity {
            device: DeviceId::parse(&page),
            ids: none,
        };
        identity.wwid(Nsid::new(1).unwrap()).to_string()
    };
    assert_eq!(
        serial(b" a\xff                 "),
        "nvme.1b36-2061ff--00000001"
    );
    assert_eq!(
        serial(b" a\xff \0 \0             "),
        "nvme.1b36-2061ff--00000001"
    );
    assert_eq!(serial(&[0; 20]), "nvme.1b36---00000001");
    assert_eq!(
        serial(&[b'x'; 20]),
        format!("nvme.1b36-{}--00000001", "78".repeat(20))
    );
}

/// A controller with this controller id, in a subsystem with several controllers and this name.
fn member(nqn: &[u8], cntlid: u16) -> Fields {
    controller()
        .put(76, [2])
        .put(78, cntlid.to_le_bytes())
        .put(768, nqn)
}

#[test]
fn subsystems() {
    let both = |a: &Fields, b: &Fields| {
        let (a, b) = (Subsystem::parse(&a.0), Subsystem::parse(&b.0));
        assert_eq!(a.has_both(&b), b.has_both(&a));
        assert!(!a.has_both(&a));
        a.has_both(&b)
    };
    let nqn = b"nqn.2019-08.org.qemu:rnvme";
    assert!(both(&member(nqn, 1), &member(nqn, 2)));
    // The name is enough, even if the serials differ.
    assert!(both(&member(nqn, 1), &member(nqn, 2).put(4, b"x")));
    assert!(!both(
        &member(nqn, 1),
        &member(b"nqn.2019-08.org.qemu:rnvm", 2)
    ));
    assert!(!both(
        &member(nqn, 1),
        &member(b"nqn.2019-08.org.qemu:rnvme2", 2)
    ));
    // Not shared: each controller has its own subsystem, with the same name.
    assert!(!both(&member(nqn, 0), &member(nqn, 0)));
    assert!(!both(
        &member(nqn, 1).put(76, [0]),
        &member(nqn, 2).put(76, [0])
    ));
    assert!(!both(&member(nqn, 1), &member(nqn, 2).put(76, [1])));
    // In the longest name each byte counts.
    let long = [b'n'; 256];
    assert!(both(&member(&long[..223], 1), &member(&long[..223], 2)));
    assert!(!both(&member(&long[..223], 1), &member(&long[..222], 2)));
    // Without a name, or with a name that is too long: vendor, subsystem vendor, serial and model.
    for none in [&b""[..], &long[..224], &long] {
        assert!(both(&member(none, 1), &member(none, 2)), "{}", none.len());
        assert!(!both(&member(none, 1), &member(nqn, 2)));
        for (at, byte) in [(0, 0), (2, 9), (4, b'x'), (24, b'x')] {
            assert!(
                !both(&member(none, 1), &member(none, 2).put(at, [byte])),
                "at {at}"
            );
        }
    }
}

#[test]
fn same_namespace() {
    let ids = |eui: Option<u8>, uuid: Option<u8>| NamespaceIds {
        eui64: eui.map(|byte| [byte; 8]),
        uuid: uuid.map(|byte| [byte; 16]),
        csi: Some(0),
        ..NamespaceIds::default()
    };
    let same = |a: NamespaceIds, b: NamespaceIds| {
        assert_eq!(a.same(&b), b.same(&a));
        a.same(&b)
    };
    assert_eq!(same(ids(None, Some(1)), ids(None, Some(1))), Some(true));
    assert_eq!(same(ids(None, Some(1)), ids(None, Some(2))), Some(false));
    // One equal identifier is enough.
    assert_eq!(
        same(ids(Some(1), Some(1)), ids(Some(2), Some(1))),
        Some(true)
    );
    // The command set is no identifier; an identifier that only one of the two has decides nothing.
    assert_eq!(same(ids(None, None), ids(None, None)), None);
    assert_eq!(same(ids(Some(1), None), ids(None, Some(1))), None);

    let shared = |nmic| {
        Namespace::parse(&namespace().put(30, [nmic]).0)
            .unwrap()
            .shared
    };
    assert!(shared(1) && shared(0xff) && !shared(0) && !shared(0xfe));
}

/// Identifiers of few values, so that some are equal.
fn some_ids() -> impl Strategy<Value = NamespaceIds> {
    let id = || prop::option::of(1u8..4);
    (id(), id(), id(), prop::option::of(0u8..2)).prop_map(|(eui64, nguid, uuid, csi)| {
        NamespaceIds {
            eui64: eui64.map(|byte| [byte; 8]),
            nguid: nguid.map(|byte| [byte; 16]),
            uuid: uuid.map(|byte| [byte; 16]),
            csi,
        }
    })
}

proptest! {
    #![proptest_config(crate::cases(4096))]

    /// A namespace that reports fewer or more identifiers than before is the same; a namespace that
    /// reports a different identifier is another. `or` remembers identifiers that were reported
    /// once.
    #[test]
    fn changed_or_not(
        (a, b) in (some_ids(), some_ids()),
        (serial_a, serial_b) in (0u8..2, 0u8..2),
        forget: [bool; 4],
    ) {
        let (old, now) = (identity(serial_a, a), identity(serial_b, b));
        let change = now.change_since(&old);
        prop_assert_eq!(change, old.change_since(&now));
        prop_assert_eq!(now.change_since(&now), None);

        let differ = |a: Option<u8>, b: Option<u8>| a.is_some() && b.is_some() && a != b;
        let first = |id: Option<[u8; 16]>| id.map(|id| id[0]);
        let eui = (a.eui64.map(|id| id[0]), b.eui64.map(|id| id[0]));
        let pairs = [eui, (first(a.nguid), first(b.nguid)), (first(a.uuid), first(b.uuid))];
        let common = pairs.iter().any(|(a, b)| a.is_some() && b.is_some());
        let expected = if differ(a.csi, b.csi) {
            Some(Change::CommandSet)
        } else if pairs.iter().any(|&(a, b)| differ(a, b)) {
            Some(Change::Identifiers)
        } else if !common && serial_a != serial_b {
            Some(Change::Device)
        } else {
            None
        };
        prop_assert_eq!(change, expected);

        // Some identifiers are missing, as when the controller fails to report them once.
        let less = NamespaceIds {
            eui64: a.eui64.filter(|_| !forget[0]),
            nguid: a.nguid.filter(|_| !forget[1]),
            uuid: a.uuid.filter(|_| !forget[2]),
            csi: a.csi.filter(|_| !forget[3]),
        };
        let less = Identity { ids: less, ..old };
        prop_assert_eq!(less.change_since(&old), None);
        prop_assert_eq!(less.or(&old), old);
        // If nothing has changed, `or` has all identifiers that were ever reported.
        if change.is_none() {
            let both = now.or(&old);
            prop_assert_eq!(both.change_since(&old), None);
            prop_assert_eq!(both.change_since(&now), None);
        }

        // The identifiers of a device with bogus identifiers make no difference.
        let bogus = |identity: Identity| Identity { ids: identity.ids.without_ids(), ..identity };
        let expected = if differ(a.csi, b.csi) {
            Some(Change::CommandSet)
        } else if serial_a != serial_b {
            Some(Change::Device)
        } else {
            None
        };
        prop_assert_eq!(bogus(now).change_since(&bogus(old)), expected);
    }
}
