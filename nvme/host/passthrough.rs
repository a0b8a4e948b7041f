// SPDX-License-Identifier: GPL-2.0

//! Who may send which command from user space, and what the driver must do before and after it.
//! `control` and `io` carry out these decisions.
//!
//! They are those of the kernel's own NVMe driver, which tools rely on.

use super::super::spec::{
    command::{
        AdminOpcode,
        Command, //
    },
    effects::Effects,
};

/// Who may send a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Every user who may open the device.
    Everyone,
    /// A user with `CAP_SYS_ADMIN`.
    Admin,
    /// No user, because the command changes what the driver manages.
    Nobody,
}

/// Opcodes from here on are vendor specific in the I/O commands, and need rights in the admin
/// commands.
const VENDOR: u8 = 0x80;
/// The opcode of fabrics commands.
const FABRICS: u8 = 0x7f;
/// Format NVM and Sanitize (Base 5.14, 5.24).
const FORMAT: u8 = 0x80;
const SANITIZE: u8 = 0x84;
/// Security Receive (Base 5.25).
const SECURITY_RECEIVE: u8 = 0x82;
/// Write, Write Uncorrectable and Write Zeroes (NVM 3.2).
const WRITES: [u8; 3] = [0x01, 0x04, 0x08];

/// Data structures of Identify that a user needs to form I/O commands, and that tell nothing about
/// other users (CNS; Base 5.17.2).
const OPEN_IDENTIFY: [u8; 5] = [0x00, 0x01, 0x05, 0x06, 0x08];

/// Features that the driver manages: autonomous power states, number of queues, host memory buffer,
/// keep alive, host behaviour (FID; Base 5.27.1).
const OWN_FEATURES: [u8; 5] = [0x07, 0x0c, 0x0d, 0x0f, 0x16];

/// Who may send the admin command `command`.
pub fn admin_access(command: &Command) -> Access {
    let opcode = command.opcode();
    let selector = command.cdw10() as u8;
    if opcode == AdminOpcode::Identify as u8 && OPEN_IDENTIFY.contains(&selector) {
        Access::Everyone
    } else if opcode == AdminOpcode::SetFeatures as u8 && OWN_FEATURES.contains(&selector) {
        Access::Nobody
    } else {
        Access::Admin
    }
}

/// Who may send the I/O command `command`, whose effects are `effects`; `writable` if the device
/// was opened for writing.
pub fn io_access(command: &Command, effects: Effects, writable: bool) -> Access {
    let opcode = command.opcode();
    let writes = command.sends_data() || effects.changes_blocks();
    if opcode >= VENDOR
        || opcode == FABRICS
        || !effects.is_supported()
        || effects.is_intrusive()
        || writes && !writable
    {
        Access::Admin
    } else {
        Access::Everyone
    }
}

/// The effects of an admin command, of which the controller's log says `log`.
pub fn admin_effects(opcode: u8, log: Effects) -> Effects {
    let known = match opcode {
        FORMAT => Effects::BLOCKS_CHANGE | Effects::CAPABILITY_CHANGES | Effects::EXCLUSIVE,
        SANITIZE => Effects::BLOCKS_CHANGE | Effects::EXCLUSIVE,
        _ => 0,
    };
    let effects = Effects(log.0 | known);
    // Vendors mean that no other security command may come in between, which a freeze of the I/O
    // queues doesn't ensure.
    if opcode == SECURITY_RECEIVE || effects.is_relaxed() {
        return Effects(effects.0 & !Effects::EXCLUSIVE);
    }
    effects
}

/// The effects of an I/O command, of which the controller's log says `log`.
pub fn io_effects(opcode: u8, log: Effects) -> Effects {
    let known = match WRITES.contains(&opcode) {
        true => Effects::BLOCKS_CHANGE,
        false => 0,
    };
    // A freeze of the I/O queues would wait for the command itself.
    Effects((log.0 | known) & !Effects::EXCLUSIVE)
}
