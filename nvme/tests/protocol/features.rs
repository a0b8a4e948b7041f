// SPDX-License-Identifier: GPL-2.0

use nvme_proto::spec::features::{
    granted_queues,
    AsyncEvent,
    AsyncEventKind, //
};

#[test]
fn queues() {
    assert_eq!(granted_queues(0x0000_0000), (1, 1));
    assert_eq!(granted_queues(0x0003_0007), (8, 4));
    assert_eq!(granted_queues(0xffff_ffff), (65536, 65536));
}

#[test]
fn events() {
    let changed = AsyncEvent::new(0x0004_0002);
    assert_eq!(changed.kind, AsyncEventKind::Notice);
    assert_eq!(changed.info, 0);
    assert_eq!(changed.log_page, 4);
    assert!(changed.namespaces_changed());

    // Firmware activation is a notice, too; and an error with the same information is not one.
    assert!(!AsyncEvent::new(0x0003_0102).namespaces_changed());
    assert!(!AsyncEvent::new(0x0001_0000).namespaces_changed());

    assert!(AsyncEvent::new(0x0001_0300).persistent_error());
    assert!(!AsyncEvent::new(0x0001_0400).persistent_error());
    assert!(!AsyncEvent::new(0x0002_0301).persistent_error());

    let kinds = [
        AsyncEventKind::Error,
        AsyncEventKind::Health,
        AsyncEventKind::Notice,
        AsyncEventKind::Reserved(3),
        AsyncEventKind::Reserved(4),
        AsyncEventKind::Reserved(5),
        AsyncEventKind::IoCommandSet,
        AsyncEventKind::Vendor,
    ];
    for (number, kind) in (0u32..).zip(kinds) {
        // Reserved bits are not looked at.
        let event = AsyncEvent::new(0xff12_34f8 | number);
        assert_eq!(event.kind, kind);
        assert_eq!((event.info, event.log_page), (0x34, 0x12));
    }
}

/// The mask for the events is made of the bits that the specification has.
#[test]
fn masks() {
    assert_eq!(AsyncEvent::NAMESPACE_ATTRIBUTES, 0x100);
}
