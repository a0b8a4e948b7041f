// SPDX-License-Identifier: GPL-2.0

//! Tests of `spec::features`: granted queues; kind, information and mask of asynchronous events.

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

    // Firmware activation is another notice. An error with the same information is no notice.
    assert!(!AsyncEvent::new(0x0003_0102).namespaces_changed());
    assert!(!AsyncEvent::new(0x0001_0000).namespaces_changed());
    assert!(AsyncEvent::new(0x0003_0102).firmware_activation());
    assert!(!changed.firmware_activation());
    assert!(!AsyncEvent::new(0x0003_0101).firmware_activation());
    assert_eq!(AsyncEvent::new(0x0002_0101).raw, 0x0002_0101);

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
        // Reserved bits are ignored.
        let event = AsyncEvent::new(0xff12_34f8 | number);
        assert_eq!(event.kind, kind);
        assert_eq!((event.info, event.log_page), (0x34, 0x12));
    }
}

/// The mask has exactly the events of the specification.
#[test]
fn masks() {
    assert_eq!(AsyncEvent::NOTICES, 0x300);
    assert_eq!(AsyncEvent::warnings((1, 3)), 0x1f);
    assert_eq!(AsyncEvent::warnings((1, 4)), 0x3f);
    assert_eq!(AsyncEvent::warnings((2, 0)), 0x3f);
}

#[test]
fn errors() {
    assert_eq!(
        AsyncEvent::new(0x0001_0400).error_name(),
        "Transient Internal Error"
    );
    assert_eq!(
        AsyncEvent::new(0x0001_0500).error_name(),
        "Firmware Image Load Error"
    );
    assert_eq!(AsyncEvent::new(0x0001_0600).error_name(), "Unknown");
    assert_eq!(AsyncEvent::new(0x0001_ff00).error_name(), "Unknown");
}
