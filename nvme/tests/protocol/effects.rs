// SPDX-License-Identifier: GPL-2.0

//! Tests of `spec::effects`: the entry of each opcode, and a log that is missing or too short.

use nvme_proto::spec::effects::{
    Effects,
    BYTES, //
};

#[test]
fn entries_by_opcode() {
    let mut log = vec![0; 4096];
    log[4 * 0x06..][..4].copy_from_slice(&0x0000_0001u32.to_le_bytes());
    log[1024 + 4 * 0xff..][..4].copy_from_slice(&0x8001_0003u32.to_le_bytes());
    assert_eq!(Effects::of(&log, true, 0x06), Effects(1));
    assert_eq!(Effects::of(&log, false, 0x06), Effects(0));
    assert_eq!(Effects::of(&log, false, 0xff), Effects(0x8001_0003));
    assert_eq!(
        Effects::of(&log[..BYTES], false, 0xff),
        Effects(0x8001_0003)
    );
    // Without a log, and with a part of a log.
    assert_eq!(Effects::of(&[], true, 0x06), Effects(0));
    assert_eq!(Effects::of(&log[..BYTES - 1], false, 0xff), Effects(0));
}

#[test]
fn bits() {
    assert!(Effects(1).is_supported() && !Effects(1).is_intrusive());
    assert!(Effects(1 << 1).changes_blocks() && !Effects(1 << 1).is_intrusive());
    for bit in [2, 3] {
        assert!(Effects(1 << bit).changes_namespaces() && Effects(1 << bit).is_intrusive());
    }
    assert!(!Effects(1 << 4).changes_namespaces() && Effects(1 << 4).is_intrusive());
    for bit in [14, 15] {
        assert!(Effects(1 << bit).is_relaxed());
    }
    for bit in [16, 17, 18] {
        assert!(Effects(1 << bit).is_exclusive());
    }
    for bit in 19..32 {
        assert!(!Effects(1 << bit).is_intrusive());
    }
}
