// SPDX-License-Identifier: GPL-2.0

//! Tests of `spec::status`: error, retry and name of every status.

use nvme_proto::spec::status::{
    BlockError,
    Status, //
};

/// Every status with a block layer error other than an I/O error: type, code, error. The same as in
/// the kernel's C driver, so that file systems and multipath see no difference.
const MAPPED: [(u16, u16, BlockError); 25] = [
    (0, 0x00, BlockError::Ok),
    (0, 0x01, BlockError::NotSupported),
    (0, 0x02, BlockError::NotSupported),
    (0, 0x0b, BlockError::NotSupported),
    (0, 0x21, BlockError::Target),
    (0, 0x80, BlockError::Target),
    (0, 0x81, BlockError::NoSpace),
    (0, 0x82, BlockError::Target),
    (0, 0x83, BlockError::ReservationConflict),
    (1, 0x80, BlockError::NotSupported),
    (1, 0x81, BlockError::Protection),
    (1, 0x82, BlockError::Medium),
    (1, 0xbd, BlockError::ZoneActiveResource),
    (1, 0xbe, BlockError::ZoneOpenResource),
    (2, 0x80, BlockError::Medium),
    (2, 0x81, BlockError::Medium),
    (2, 0x82, BlockError::Protection),
    (2, 0x83, BlockError::Protection),
    (2, 0x84, BlockError::Protection),
    (2, 0x85, BlockError::Medium),
    (2, 0x86, BlockError::Medium),
    (2, 0x87, BlockError::Medium),
    (3, 0x70, BlockError::Transport),
    // Neighbours of these codes.
    (0, 0x20, BlockError::Io),
    (3, 0x71, BlockError::Io),
];

/// All statuses, with any bits above type and code.
#[test]
fn block_errors() {
    for raw in 0..0x8000u16 {
        let (kind, code) = ((raw >> 8) & 7, raw & 0xff);
        let expected = MAPPED
            .iter()
            .find(|entry| (entry.0, entry.1) == (kind, code))
            .map_or(BlockError::Io, |entry| entry.2);
        let status = Status(raw);
        assert_eq!(status.block_error(), expected, "{status:?}");
        assert_eq!(
            status.is_success(),
            status.block_error() == BlockError::Ok,
            "{status:?}"
        );
    }
}

#[test]
fn fields() {
    for raw in 0..0x8000u16 {
        let status = Status(raw);
        let whole = u16::from(status.code())
            | (u16::from(status.code_type()) << 8)
            | (raw & 0x1800)
            | (u16::from(status.more()) << 13)
            | (u16::from(status.do_not_retry()) << 14);
        assert_eq!(whole, raw);
    }
}

#[test]
fn retry() {
    assert!(!Status(0).retryable());
    // The other bits of a success make no difference.
    assert!(!Status(0x7800).retryable() && Status(0x7800).is_success());
    // Namespace not ready, with and without DNR, and with a delay.
    assert!(Status(0x082).retryable());
    assert!(!Status(0x4082).retryable());
    assert!(Status(0x1082).retryable());
    // A command that was aborted can be submitted again.
    assert!(Status(0x007).retryable());
}

#[test]
fn lines() {
    let lines = [
        (0x0000, "generic/0x00 Successful Completion"),
        (0x4002, "generic/0x02 Invalid Field in Command (DNR)"),
        (0x2281, "media/0x81 Unrecovered Read Error (M)"),
        (0x6101, "command/0x01 Invalid Queue Identifier (M, DNR)"),
        (0x0371, "path/0x71 Command Aborted By Host"),
        (0x4080, "generic/0x80 LBA Out of Range (DNR)"),
        (0x0280, "media/0x80 Write Fault"),
        (0x0288, "media/0x88 End-to-End Storage Tag Check Error"),
        (0x4186, "command/0x86 Fast Copy Not Possible (DNR)"),
        (0x002a, "generic/0x2a Invalid Placement Handle List"),
        (0x07c1, "vendor/0xc1 Vendor Specific"),
        (0x02ff, "media/0xff Vendor Specific"),
        (0x0400, "reserved/0x00 Unknown"),
        (0x007f, "generic/0x7f Unknown"),
    ];
    for (raw, line) in lines {
        assert_eq!(Status(raw).to_string(), line);
    }
    assert_eq!(
        format!("{:?}", Status(0x4002)),
        "Status(0x4002: generic/0x02 Invalid Field in Command (DNR))"
    );
}

/// Every status with an error of its own has a name, and no two statuses of a type share a name.
#[test]
fn names() {
    for (kind, code, _) in MAPPED {
        assert_ne!(
            Status((kind << 8) | code).name(),
            "Unknown",
            "{kind}/{code:#x}"
        );
    }
    for kind in 0u16..4 {
        let mut names: Vec<_> = (0..0x100)
            .map(|code| Status((kind << 8) | code).name())
            .filter(|name| !matches!(*name, "Unknown" | "Vendor Specific"))
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "type {kind}");
    }
}

/// Exactly the codes in the tables of the specifications have a name; as ranges.
#[test]
fn named_codes() {
    let named: [&[(u16, u16)]; 4] = [
        &[(0x00, 0x16), (0x18, 0x2a), (0x80, 0x84)],
        &[
            (0x00, 0x03),
            (0x05, 0x16),
            (0x18, 0x2d),
            (0x80, 0x83),
            (0x85, 0x87),
            (0x89, 0x89),
            (0xb6, 0xbf),
        ],
        &[(0x80, 0x88)],
        &[(0x00, 0x03), (0x60, 0x60), (0x70, 0x71)],
    ];
    for (kind, named) in (0u16..).zip(named) {
        for code in 0..=0xff {
            let expected = match code {
                0xc0.. => "Vendor Specific",
                _ if named.iter().any(|&(from, to)| (from..=to).contains(&code)) => "",
                _ => "Unknown",
            };
            let name = Status((kind << 8) | code).name();
            let name = match name {
                "Vendor Specific" | "Unknown" => name,
                _ => "",
            };
            assert_eq!(name, expected, "{kind}/{code:#x}");
        }
    }
    for kind in 4..7 {
        assert_eq!(Status(kind << 8).name(), "Unknown");
    }
}
