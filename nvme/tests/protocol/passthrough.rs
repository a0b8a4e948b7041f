// SPDX-License-Identifier: GPL-2.0

use nvme_proto::{
    host::passthrough::{
        admin_access,
        admin_effects,
        io_access,
        io_effects,
        Access, //
    },
    spec::{
        command::Command,
        effects::Effects, //
    },
};

fn command(opcode: u8, cdw10: u32) -> Command {
    Command::passthrough(opcode, 1, [0, 0], [cdw10, 0, 0, 0, 0, 0])
}

/// What a user without rights may identify: namespace, controller, and those of a command set.
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
        assert_eq!(admin_access(&command(opcode, 1)), Access::Admin);
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
    // Not in the log; with other effects; vendor specific; fabrics.
    assert_eq!(io_access(&read, Effects(0), true), Access::Admin);
    for bit in 2..16 {
        assert_eq!(io_access(&read, Effects(1 | 1 << bit), true), Access::Admin);
    }
    assert_eq!(io_access(&command(0x80, 0), supported, true), Access::Admin);
    assert_eq!(io_access(&command(0x7f, 0), supported, true), Access::Admin);
    // Exclusive execution can't be had for I/O commands.
    let exclusive = io_effects(0x02, Effects(1 | 1 << 16));
    assert_eq!(io_access(&read, exclusive, false), Access::Everyone);
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
