// SPDX-License-Identifier: GPL-2.0

//! Security protocols: the messages by which a host manages the encryption of a disk (Base 5.25,
//! 5.26). `ctrl` sends the commands for the kernel's code for Opal.

use super::{
    command::{
        Command,
        DataPtr, //
    },
    id::Cid,
};

/// The opcodes (Base 5).
const SEND: u8 = 0x81;
const RECEIVE: u8 = 0x82;

/// Which message a command carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// The security protocol (SECP).
    pub protocol: u8,
    /// The protocol's own field (SPSP).
    pub specific: u16,
    /// The length in bytes: the message's (TL), or that of the memory for it (AL).
    pub bytes: u32,
}

impl Message {
    /// The command that sends the message (Security Send), or receives it (Security Receive), which
    /// `data` points to.
    pub const fn command(self, send: bool, data: DataPtr) -> Command {
        let opcode = match send {
            true => SEND,
            false => RECEIVE,
        };
        // All namespaces have the same protocols, so the command has none.
        Command::new(opcode, Cid::UNSET, 0, data).dwords(
            (self.protocol as u32) << 24 | (self.specific as u32) << 8,
            self.bytes,
        )
    }
}
