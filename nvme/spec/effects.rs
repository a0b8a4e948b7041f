// SPDX-License-Identifier: GPL-2.0

//! The Commands Supported and Effects log: for each opcode, whether the controller supports the
//! command, and what it changes (Base 5.16.1.6). `ctrl` reads the log; `host/passthrough` decides
//! with it on the commands of user space.

/// Bytes of the log that have content: 256 admin and 256 I/O commands.
pub const BYTES: usize = 2048;

/// The effects of a command: an entry of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects(pub u32);

impl Effects {
    /// The controller supports the command (CSUPP).
    pub const SUPPORTED: u32 = 1 << 0;
    /// Content of logical blocks may change (LBCC).
    pub const BLOCKS_CHANGE: u32 = 1 << 1;
    /// Capabilities of a namespace may change (NCC).
    pub const CAPABILITY_CHANGES: u32 = 1 << 2;
    /// The list of namespaces may change (NIC).
    pub const LIST_CHANGES: u32 = 1 << 3;
    /// Capabilities of the controller may change (CCC).
    pub const CONTROLLER_CHANGES: u32 = 1 << 4;
    /// Other commands may run at the same time in spite of [`EXCLUSIVE`](Self::EXCLUSIVE) (CSER).
    const RELAXED: u32 = 3 << 14;
    /// No other command may run at the same time, for the namespace or at all (CSE).
    pub const EXCLUSIVE: u32 = 7 << 16;
    /// The command takes a UUID index.
    const UUID_SELECTION: u32 = 1 << 19;
    /// The scope of the command (CSP).
    const SCOPE: u32 = 0xfff << 20;

    /// The entry of `opcode` in the log's bytes; `admin` selects the admin commands.
    pub fn of(log: &[u8], admin: bool, opcode: u8) -> Self {
        let first = if admin { 0 } else { BYTES / 2 };
        let entry = log
            .get(first..)
            .and_then(|half| half.chunks_exact(4).nth(opcode.into()))
            .and_then(|entry| entry.first_chunk());
        Self(entry.map_or(0, |entry| u32::from_le_bytes(*entry)))
    }

    /// Whether the controller supports the command.
    pub const fn is_supported(self) -> bool {
        self.0 & Self::SUPPORTED != 0
    }

    /// Whether the command may change the content of logical blocks.
    pub const fn changes_blocks(self) -> bool {
        self.0 & Self::BLOCKS_CHANGE != 0
    }

    /// Whether no other command may run at the same time.
    pub const fn is_exclusive(self) -> bool {
        self.0 & Self::EXCLUSIVE != 0
    }

    /// Whether other commands may run at the same time in spite of what
    /// [`is_exclusive`](Self::is_exclusive) says.
    pub const fn is_relaxed(self) -> bool {
        self.0 & Self::RELAXED != 0
    }

    /// Whether the namespaces must be scanned after the command.
    pub const fn changes_namespaces(self) -> bool {
        self.0 & (Self::CAPABILITY_CHANGES | Self::LIST_CHANGES) != 0
    }

    /// Whether the command does more than to access logical blocks.
    pub const fn is_intrusive(self) -> bool {
        self.0 & !(Self::SUPPORTED | Self::BLOCKS_CHANGE | Self::UUID_SELECTION | Self::SCOPE) != 0
    }
}
