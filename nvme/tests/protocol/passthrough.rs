// SPDX-License-Identifier: GPL-2.0

//! Tests of `host::passthrough`: who may send which command, and which memory the command can
//! reach.

use super::cases;
use nvme_proto::{
    host::{
        metadata::BlockFormat,
        passthrough::{
            admin_access,
            admin_effects,
            io_access,
            io_data_bytes,
            io_effects,
            time_limit_ms,
            Access,
            AdminBuffer,
            OpenCommands, //
        },
        uapi::PassthruCmd,
    },
    spec::{
        command::Command,
        effects::Effects, //
    },
};
use proptest::prelude::*;

fn command(opcode: u8, cdw10: u32) -> Command {
    Command::passthrough(opcode, 1, [0, 0], [cdw10, 0, 0, 0, 0, 0])
}

/// A user without rights may only identify a namespace and a controller, in any command set.
#[test]
fn admin_commands() {
    for selector in 0..=255u32 {
        let open = matches!(selector, 0x00 | 0x01 | 0x05 | 0x06 | 0x08);
        let expected = if open {
            Access::Everyone
        } else {
            Access::Admin
        };
        // Only the lowest byte selects.
        for cdw10 in [selector, selector | 0xffff_ff00] {
            assert_eq!(admin_access(&command(0x06, cdw10)), expected);
        }
        let own = matches!(selector, 0x07 | 0x0c | 0x0d | 0x0f | 0x16);
        let expected = if own { Access::Nobody } else { Access::Admin };
        for cdw10 in [selector, selector | 1 << 31] {
            assert_eq!(admin_access(&command(0x09, cdw10)), expected);
        }
    }
    for opcode in (0..=255).filter(|opcode| !matches!(opcode, 0x06 | 0x09)) {
        let own = matches!(opcode, 0x00 | 0x01 | 0x04 | 0x05 | 0x0c | 0x7c);
        let expected = if own { Access::Nobody } else { Access::Admin };
        assert_eq!(admin_access(&command(opcode, 1)), expected);
    }
}

#[test]
fn io_commands() {
    let supported = Effects(1);
    let read = command(0x02, 0);
    let write = command(0x01, 0);
    assert_eq!(io_access(&read, supported, false), Access::Everyone);
    assert_eq!(io_access(&write, supported, false), Access::Admin);
    assert_eq!(io_access(&write, supported, true), Access::Everyone);
    // Write Zeroes sends no data, but changes blocks.
    let zeroes = io_effects(0x08, supported);
    assert_eq!(io_access(&command(0x08, 0), zeroes, false), Access::Admin);
    assert_eq!(io_access(&command(0x08, 0), zeroes, true), Access::Everyone);
    // Only for the administrator: not in the log, with other effects, vendor specific, fabrics.
    assert_eq!(io_access(&read, Effects(0), true), Access::Admin);
    for bit in 2..16 {
        assert_eq!(io_access(&read, Effects(1 | 1 << bit), true), Access::Admin);
    }
    assert_eq!(io_access(&command(0x80, 0), supported, true), Access::Admin);
    assert_eq!(io_access(&command(0x7f, 0), supported, true), Access::Admin);
    // I/O commands ignore exclusive execution.
    let exclusive = io_effects(0x02, Effects(1 | 1 << 16));
    assert_eq!(io_access(&read, exclusive, false), Access::Everyone);
}

/// Only a user with rights may set a limit shorter than the driver's.
#[test]
fn time_limits() {
    const HOUR: u32 = 3_600_000;
    let limit = |asked, default, rights| time_limit_ms(asked, default, || rights);
    for (asked, without, with) in [
        (0, 30_000, 30_000),
        (1, 30_000, 1),
        (40_000, 40_000, 40_000),
        (u32::MAX, HOUR, HOUR),
    ] {
        assert_eq!(limit(asked, 30_000, false), without);
        assert_eq!(limit(asked, 30_000, true), with);
    }
    // Any limit of the driver.
    assert_eq!(limit(1, u32::MAX, false), u32::MAX);
    assert_eq!(limit(0, u32::MAX, true), u32::MAX);
}

#[test]
fn known_effects() {
    let format = admin_effects(0x80, Effects(0));
    assert!(format.is_exclusive() && format.changes_namespaces() && format.changes_blocks());
    let sanitize = admin_effects(0x84, Effects(0));
    assert!(sanitize.is_exclusive() && !sanitize.changes_namespaces());
    assert_eq!(
        admin_effects(0x15, Effects(1 | 1 << 3)),
        Effects(1 | 1 << 3)
    );
    // The controller relaxes the exclusive execution.
    assert!(!admin_effects(0x80, Effects(1 << 14)).is_exclusive());
    assert!(!admin_effects(0x82, Effects(1 | 1 << 16)).is_exclusive());
    assert!(admin_effects(0x81, Effects(1 | 1 << 16)).is_exclusive());
}

const PAGE: u64 = 4096;
const LIST: u64 = 0x10_0000;
const SINK: u64 = 0x20_0000;
/// Data page `n` is at this address plus `n` pages.
const DATA: u64 = 0x4000_0000;

/// The pages that a controller accesses for a transfer of `bytes` bytes, exactly as the
/// specification says (Base 4.1.1).
fn accessed(buffer: &AdminBuffer, bytes: u64) -> Vec<u64> {
    let pages = bytes.div_ceil(PAGE) as usize;
    let page = |n: usize| (n < buffer.pages).then(|| DATA + PAGE * n as u64);
    let prp2 = if buffer.second { DATA + PAGE } else { LIST };
    let mut found = vec![DATA];
    match pages {
        0 | 1 => {}
        2 => found.push(prp2),
        _ => {
            let (mut list, mut index) = (prp2, 0);
            while found.len() < pages {
                // The driver has no other list.
                assert_eq!(list, LIST);
                let entry = buffer.entry(index, page, LIST, SINK);
                if index == 511 && pages - found.len() > 1 {
                    (list, index) = (entry, 0);
                } else {
                    found.push(entry);
                    index += 1;
                }
            }
        }
    }
    found
}

fn cmd(opcode: u8, data_len: u32, cdw10: [u32; 3]) -> PassthruCmd {
    let [d10, d11, d12] = cdw10;
    let mut bytes = [0; PassthruCmd::SIZE];
    bytes[0] = opcode;
    bytes[36..40].copy_from_slice(&data_len.to_ne_bytes());
    for (i, dword) in [d10, d11, d12].into_iter().enumerate() {
        bytes[40 + 4 * i..][..4].copy_from_slice(&dword.to_ne_bytes());
    }
    let word = |i: usize| u64::from_ne_bytes(bytes[8 * i..][..8].try_into().unwrap());
    PassthruCmd::parse(&core::array::from_fn(word))
}

proptest! {
    #![proptest_config(cases(2000))]

    /// The controller finds each page of the data in its place.
    #[test]
    fn data_are_found(opcode: u8, data_len in 0..=AdminBuffer::MAX_BYTES) {
        // Dwords with the same length, for commands that have a length.
        let numd = (data_len / 4).wrapping_sub(1);
        let dwords = match opcode {
            0x02 => [numd << 16, numd >> 16, 0],
            0x11 | 0x19 | 0x1a => [numd, 0, 0],
            0x81 | 0x82 => [0, data_len, 0],
            _ => [0, 0, numd],
        };
        let data_len = match opcode {
            0x06 | 0x0d | 0x15 => data_len.min(4096),
            _ => data_len / 4 * 4,
        };
        prop_assume!(data_len > 0);
        let buffer = AdminBuffer::new(&cmd(opcode, data_len, dwords)).unwrap();
        let expected: Vec<u64> = (0..u64::from(data_len).div_ceil(PAGE)).map(|n| DATA + PAGE * n).collect();
        prop_assert_eq!(accessed(&buffer, data_len.into()), expected);
    }

    /// For any length in Get Log Page and from user space, the controller accesses only the
    /// driver's memory.
    #[test]
    fn other_memory_is_safe(data_len in 0..=AdminBuffer::MAX_BYTES, numd in 0u32..0x10_0000) {
        let buffer = AdminBuffer::new(&cmd(0x02, data_len, [numd << 16, numd >> 16, 0])).unwrap();
        for address in accessed(&buffer, (u64::from(numd) + 1) * 4) {
            let data = DATA..DATA + PAGE * buffer.pages as u64;
            prop_assert!(data.contains(&address) || address == LIST || address == SINK);
        }
    }
}

#[test]
fn too_much_data() {
    assert!(AdminBuffer::new(&cmd(0xc0, AdminBuffer::MAX_BYTES, [0; 3])).is_some());
    assert!(AdminBuffer::new(&cmd(0xc0, AdminBuffer::MAX_BYTES + 1, [0; 3])).is_none());
    // Without data there is still one page, because the command may transfer data.
    let none = AdminBuffer::new(&cmd(0x06, 0, [0; 3])).unwrap();
    assert_eq!((none.pages, none.second), (1, false));
}

/// The length of the transfer follows from the dwords of the command.
#[test]
fn data_of_io_commands() {
    let bytes = |opcode, cdw10, cdw11, cdw12| {
        let cdw10 = [cdw10, cdw11, cdw12, 0, 0, 0];
        io_data_bytes(
            &Command::passthrough(opcode, 1, [0, 0], cdw10),
            BlockFormat::plain(12),
        )
    };
    for opcode in [0x01, 0x02, 0x05] {
        // The upper half of dword 12 has other fields.
        assert_eq!(bytes(opcode, u32::MAX, u32::MAX, 0xffff_0000), Some(4096));
        assert_eq!(bytes(opcode, 0, 0, u32::MAX), Some(65536 * 4096));
    }
    for opcode in [0x00, 0x04, 0x08, 0x0c] {
        assert_eq!(bytes(opcode, u32::MAX, u32::MAX, u32::MAX), Some(0));
    }
    assert_eq!(bytes(0x09, 0, u32::MAX, u32::MAX), Some(16));
    assert_eq!(bytes(0x09, u32::MAX, 0, 0), Some(4096));
    assert_eq!(bytes(0x0d, 0, 0, 0), Some(16));
    assert_eq!(bytes(0x0e, 1023, 0, 0), Some(4096));
    assert_eq!(bytes(0x0e, u32::MAX, 0, 0), Some(1 << 34));
    assert_eq!(bytes(0x11, 0, 0, 0), Some(16));
    assert_eq!(bytes(0x12, 0, u32::MAX, 0), Some(1 << 34));
    assert_eq!(bytes(0x15, 0, 0, 0), Some(8));
    assert_eq!(bytes(0x19, 0, 0, 0x0ff), Some(8192));
    assert_eq!(bytes(0x19, 0, 0, 0x101), Some(80));
    assert_eq!(bytes(0x19, 0, 0, 0xf00), None);
    for opcode in (0x79..=0xff).chain([0x03, 0x1d, 0x55]) {
        assert_eq!(bytes(opcode, 0, 0, 0), None);
    }
    // No block size causes a panic.
    for shift in 0..=u32::MAX.ilog2() * 4 {
        let read = Command::passthrough(0x02, 1, [0, 0], [0, 0, u32::MAX, 0, 0, 0]);
        assert_eq!(
            io_data_bytes(&read, BlockFormat::plain(shift)).is_none(),
            shift > 47
        );
    }
}

/// What is decided in advance is what would be decided for each command.
#[test]
fn open_commands() {
    let answers = |shift: u32, effects: &dyn Fn(u8) -> Effects, writable: bool| {
        let open = OpenCommands::new(BlockFormat::plain(shift), effects);
        let mut found = Vec::new();
        for opcode in 0..=255 {
            for cdw12 in [0, 7, 0xffff, 0xffff_0007, u32::MAX] {
                let command = Command::passthrough(opcode, 1, [0, 0], [0, 0, cdw12, 0, 0, 0]);
                if let Some(bytes) = open.data_bytes(&command, writable) {
                    let effects = effects(opcode);
                    assert_eq!(io_access(&command, effects, writable), Access::Everyone);
                    let format = BlockFormat::plain(shift);
                    assert_eq!(io_data_bytes(&command, format), Some(bytes));
                    found.push(opcode);
                }
            }
        }
        found.dedup();
        found
    };
    let all = |opcode| io_effects(opcode, Effects(1));
    for shift in 9..=47 {
        assert_eq!(answers(shift, &all, true), [1, 2, 5]);
        assert_eq!(answers(shift, &all, false), [2]);
    }
    // The largest command has too many bytes.
    for shift in 48..=255 {
        assert!(answers(shift, &all, true).is_empty());
    }
    // Without the log, or with other effects, the command needs rights.
    assert!(answers(12, &|_| Effects(0), true).is_empty());
    for bit in 2..16 {
        let odd = |opcode| Effects(if opcode == 2 { 1 | 1 << bit } else { 1 });
        assert_eq!(answers(12, &odd, true), [1, 5]);
    }
    // A read that changes blocks.
    assert!(answers(12, &|_| Effects(3), false).is_empty());
}
