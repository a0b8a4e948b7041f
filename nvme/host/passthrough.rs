// SPDX-License-Identifier: GPL-2.0

//! Who may send which command from user space, and what the driver must do before and after it.
//! `control` and `io` carry out these decisions.
//!
//! They are those of the kernel's own NVMe driver, which tools rely on, with one exception: see
//! [`OWN_COMMANDS`].

use super::{
    super::spec::{
        command::{
            AdminOpcode,
            Command, //
        },
        effects::Effects,
    },
    metadata::BlockFormat,
    prp::{
        LIST_ENTRIES,
        PAGE_SIZE, //
    },
    uapi::PassthruCmd, //
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
/// Write, Read and Compare, which transfer logical blocks (NVM 3.2).
const WRITE: u8 = 0x01;
const READ: u8 = 0x02;
const COMPARE: u8 = 0x05;
/// Write, Write Uncorrectable and Write Zeroes (NVM 3.2).
const WRITES: [u8; 3] = [WRITE, 0x04, 0x08];

/// Data structures of Identify that a user needs to form I/O commands, and that tell nothing about
/// other users (CNS; Base 5.17.2).
const OPEN_IDENTIFY: [u8; 5] = [0x00, 0x01, 0x05, 0x06, 0x08];

/// Features that the driver manages: autonomous power states, number of queues, host memory buffer,
/// keep alive, host behaviour (FID; Base 5.27.1).
const OWN_FEATURES: [u8; 5] = [0x07, 0x0c, 0x0d, 0x0f, 0x16];

/// Commands that no user may send: those that create and delete queues, ask for events, and set
/// shadow doorbells. The controller would use the memory that the command named even after its end,
/// and the driver would lose its queues and events.
const OWN_COMMANDS: [u8; 6] = [
    AdminOpcode::DeleteSq as u8,
    AdminOpcode::CreateSq as u8,
    AdminOpcode::DeleteCq as u8,
    AdminOpcode::CreateCq as u8,
    AdminOpcode::AsyncEvent as u8,
    AdminOpcode::DoorbellBufferConfig as u8,
];

/// Who may send the admin command `command`.
pub fn admin_access(command: &Command) -> Access {
    let opcode = command.opcode();
    let selector = command.dword(10) as u8;
    if opcode == AdminOpcode::Identify as u8 && OPEN_IDENTIFY.contains(&selector) {
        Access::Everyone
    } else if opcode == AdminOpcode::SetFeatures as u8 && OWN_FEATURES.contains(&selector)
        || OWN_COMMANDS.contains(&opcode)
    {
        Access::Nobody
    } else {
        Access::Admin
    }
}

/// Who may send the I/O command `command`, whose effects are `effects`; `writable` if the device
/// was opened for writing.
#[inline]
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

/// The maximum time limit of a user's command, in milliseconds: an hour.
const MAX_TIMEOUT_MS: u32 = 3_600_000;

/// The time limit of a user's command in milliseconds. The user asks for `asked_ms`; 0 means
/// `default_ms`, the driver's. A time-out may reset the controller, so only a user for whom
/// `may_shorten` is true gets a shorter limit than the driver's.
pub fn time_limit_ms(asked_ms: u32, default_ms: u32, may_shorten: impl FnOnce() -> bool) -> u32 {
    if asked_ms == 0 || asked_ms < default_ms && !may_shorten() {
        return default_ms;
    }
    asked_ms.min(MAX_TIMEOUT_MS.max(default_ms))
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

/// The number of bytes that the controller transfers for the admin command `cmd`, if its dwords say
/// so (Base 5).
fn admin_bytes(cmd: &PassthruCmd) -> Option<u64> {
    let [cdw10, cdw11, cdw12, ..] = cmd.cdw10;
    let dwords = |count: u32| Some(u64::from(count).saturating_add(1).saturating_mul(4));
    match cmd.opcode {
        // Get Log Page.
        0x02 => dwords(cdw11 << 16 | cdw10 >> 16),
        // Identify, Namespace Management, Namespace Attachment.
        0x06 | 0x0d | 0x15 => Some(PAGE_SIZE as u64),
        // Firmware Image Download, Directive Send and Receive.
        0x11 | 0x19 | 0x1a => dwords(cdw10),
        // Security Send and Receive.
        0x81 | SECURITY_RECEIVE => Some(cdw11.into()),
        // Get LBA Status.
        0x86 => dwords(cdw12),
        _ => None,
    }
}

/// The buffer of an admin command.
///
/// The length that user space names may differ from what the controller transfers. The buffer is
/// such that a longer transfer stays within memory of the driver: PRP entry 2 is a list wherever
/// the controller doesn't take it for a page, and the list's surplus entries name a page that the
/// driver ignores, the last one the list itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminBuffer {
    /// The number of pages, at least 1.
    pub pages: usize,
    /// PRP entry 2 is the second page, not the list.
    pub second: bool,
}

impl AdminBuffer {
    /// The maximum length of the data: with the first page, what a list holds without the entry
    /// that names the list.
    pub const MAX_BYTES: u32 = (LIST_ENTRIES * PAGE_SIZE) as u32;

    /// The buffer for `cmd`; [`None`] if its data are longer than [`MAX_BYTES`](Self::MAX_BYTES).
    pub fn new(cmd: &PassthruCmd) -> Option<Self> {
        if cmd.data_len > Self::MAX_BYTES {
            return None;
        }
        let page = PAGE_SIZE as u64;
        let bytes = admin_bytes(cmd).unwrap_or(cmd.data_len.into());
        let second = bytes > page && bytes <= page.saturating_mul(2);
        let pages = (cmd.data_len as usize).div_ceil(PAGE_SIZE);
        Some(Self {
            pages: pages.max(if second { 2 } else { 1 }),
            second,
        })
    }

    /// Entry `index` of the list at `list`, for pages whose addresses `page` returns; `sink` is the
    /// page that the driver ignores.
    pub fn entry(
        &self,
        index: usize,
        page: impl Fn(usize) -> Option<u64>,
        list: u64,
        sink: u64,
    ) -> u64 {
        match index.saturating_add(1) {
            LIST_ENTRIES => list,
            next => page(next).unwrap_or(sink),
        }
    }
}

/// The bytes of `last + 1` entries.
#[inline]
const fn entries(last: u32, bytes: u64) -> Option<u64> {
    (last as u64).saturating_add(1).checked_mul(bytes)
}

/// The bytes of data that the I/O command `command` transfers, for logical blocks of `format`; `None`
/// for a command whose length isn't known here.
///
/// The controller goes by the command, not by the length that user space says. So a driver must not
/// send a command with less data than this: the controller would access other memory.
pub fn io_data_bytes(command: &Command, format: BlockFormat) -> Option<u64> {
    let (cdw10, cdw11, cdw12) = (command.dword(10), command.dword(11), command.dword(12));
    match command.opcode() {
        WRITE | READ | COMPARE => entries(cdw12 & 0xffff, format.bytes(command)?.0),
        // Flush, Write Uncorrectable, Write Zeroes, Verify.
        0x00 | 0x04 | 0x08 | 0x0c => Some(0),
        // Dataset Management: ranges.
        0x09 => entries(cdw10 & 0xff, 16),
        // Reservation Register and Acquire, Report, Release.
        0x0d | 0x11 => Some(16),
        0x0e => entries(cdw10, 4),
        0x15 => Some(8),
        // I/O Management Receive.
        0x12 => entries(cdw11, 4),
        // Copy: source ranges, by the descriptor format.
        0x19 => match cdw12 >> 8 & 0xf {
            0 | 2 => entries(cdw12 & 0xff, 32),
            1 | 3 => entries(cdw12 & 0xff, 40),
            _ => None,
        },
        _ => None,
    }
}

/// The bytes of metadata in a buffer of their own that the I/O command `command` transfers, as
/// [`io_data_bytes`].
pub fn io_metadata_bytes(command: &Command, format: BlockFormat) -> Option<u64> {
    match command.opcode() {
        WRITE | READ | COMPARE => entries(command.dword(12) & 0xffff, format.bytes(command)?.1),
        _ => Some(0),
    }
}

/// Which of the most frequent I/O commands every user may send: Write, Read and Compare to one
/// namespace. For these commands, one look into this replaces [`io_access`] and [`io_data_bytes`],
/// whose answers don't change while the namespace has its disk.
#[derive(Clone, Copy, Debug)]
pub struct OpenCommands {
    /// A bit for each opcode, if the device was opened for reading only.
    readers: u8,
    /// The same, if the device was opened for writing.
    writers: u8,
    /// A logical block has `1 << block_shift` bytes.
    block_shift: u32,
}

impl OpenCommands {
    /// The commands to a namespace with logical blocks of `format`; none if they have metadata.
    /// `effects` returns the effects of the I/O command with an opcode.
    pub fn new(format: BlockFormat, effects: impl Fn(u8) -> Effects) -> Self {
        let open = |writable| {
            let is_open = |opcode: &u8| {
                let largest = Command::passthrough(*opcode, 0, [0; 2], [0, 0, 0xffff, 0, 0, 0]);
                format.metadata == 0
                    && io_data_bytes(&largest, format).is_some()
                    && io_access(&largest, effects(*opcode), writable) == Access::Everyone
            };
            let opcodes = [WRITE, READ, COMPARE].into_iter().filter(is_open);
            opcodes.fold(0, |open, opcode| open | 1 << opcode)
        };
        Self {
            readers: open(false),
            writers: open(true),
            block_shift: format.shift,
        }
    }

    /// The bytes of data that `command` transfers. [`None`] for any other command, and for a command that
    /// not every user may send: then [`io_access`] and [`io_data_bytes`] must decide. `writable` if the
    /// device was opened for writing.
    #[inline]
    pub fn data_bytes(&self, command: &Command, writable: bool) -> Option<u64> {
        let open = match writable {
            true => self.writers,
            false => self.readers,
        };
        let blocks = u64::from(command.dword(12) as u16).wrapping_add(1);
        let is_open = u32::from(open).checked_shr(command.opcode().into())? & 1 != 0;
        // Nothing is lost: `new` has tried the largest number of blocks.
        is_open.then_some(blocks.wrapping_shl(self.block_shift))
    }
}
