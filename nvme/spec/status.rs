// SPDX-License-Identifier: GPL-2.0

//! Status of a completed command: its name, the block layer's error for it, and whether a retry
//! makes sense (Base 3.3.3.2.1; NVM 3). `host/retry` decides with it on a request, and `io` and
//! `ctrl` on a command's result.

use super::name_of;
use core::fmt;

/// Status field of a completion queue entry, without the phase: 15 bits (Base 3.3.3.2.1).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Status(pub u16);

/// The block layer's errors that an NVMe status can map to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockError {
    /// No error.
    Ok,
    /// The command, or an option of it, isn't supported.
    NotSupported,
    /// The namespace has no space left.
    NoSpace,
    /// The namespace can't execute the command, at this block or at this time.
    Target,
    /// Another host's reservation forbids the command.
    ReservationConflict,
    /// The medium failed.
    Medium,
    /// The protection information doesn't match the data.
    Protection,
    /// The path to the controller failed.
    Transport,
    /// Too many zones are open.
    ZoneOpenResource,
    /// Too many zones are active.
    ZoneActiveResource,
    /// Everything else.
    Io,
}

impl Status {
    const GENERIC: u8 = 0;
    const COMMAND: u8 = 1;
    const MEDIA: u8 = 2;
    const PATH: u8 = 3;
    const VENDOR: u8 = 7;

    /// Command Aborted By Host: the driver ends a command with this if it stopped the controller
    /// before the command was completed.
    pub const CANCELLED: Self = Self(0x371);

    /// Host Pathing Error: the driver ends a user's command with this if the controller isn't ready
    /// for it.
    pub const NOT_READY: Self = Self(0x370);

    /// Whether the command was successful: code and type are 0.
    #[inline]
    pub const fn is_success(self) -> bool {
        (self.0 & 0x7ff) == 0
    }

    /// Status code type (SCT): 0 generic, 1 command specific, 2 media and data integrity, 3 path, 7
    /// vendor.
    #[inline]
    pub const fn code_type(self) -> u8 {
        ((self.0 >> 8) & 7) as u8
    }

    /// Status code (SC); its meaning depends on the type.
    #[inline]
    pub const fn code(self) -> u8 {
        self.0 as u8
    }

    /// Whether the error log has more information (M).
    #[inline]
    pub const fn more(self) -> bool {
        (self.0 & (1 << 13)) != 0
    }

    /// Whether the controller expects the same command to fail again (DNR).
    #[inline]
    pub const fn do_not_retry(self) -> bool {
        (self.0 & (1 << 14)) != 0
    }

    /// Whether a retry makes sense: the command failed, and DNR is clear.
    #[inline]
    pub const fn retryable(self) -> bool {
        !self.is_success() && !self.do_not_retry()
    }

    /// The block layer's error for this status.
    pub const fn block_error(self) -> BlockError {
        match (self.code_type(), self.code()) {
            (Self::GENERIC, code) => match code {
                0x00 => BlockError::Ok,
                // Invalid opcode, field, namespace or format.
                0x01 | 0x02 | 0x0b => BlockError::NotSupported,
                // Command interrupted, LBA out of range, namespace not ready.
                0x21 | 0x80 | 0x82 => BlockError::Target,
                0x81 => BlockError::NoSpace,
                0x83 => BlockError::ReservationConflict,
                _ => BlockError::Io,
            },
            (Self::COMMAND, code) => match code {
                // Conflicting attributes.
                0x80 => BlockError::NotSupported,
                // Invalid protection information.
                0x81 => BlockError::Protection,
                // Attempted write to read only range.
                0x82 => BlockError::Medium,
                0xbd => BlockError::ZoneActiveResource,
                0xbe => BlockError::ZoneOpenResource,
                _ => BlockError::Io,
            },
            (Self::MEDIA, code) => match code {
                // Write fault, read error, compare failure, access denied, unwritten block.
                0x80 | 0x81 | 0x85..=0x87 => BlockError::Medium,
                // Guard, application tag, reference tag.
                0x82..=0x84 => BlockError::Protection,
                _ => BlockError::Io,
            },
            // Host pathing error.
            (Self::PATH, 0x70) => BlockError::Transport,
            _ => BlockError::Io,
        }
    }

    /// The status code's name in the specification. Command specific codes from 80h on are named as
    /// in the NVM and the zoned command set.
    pub fn name(self) -> &'static str {
        let names = match self.code_type() {
            Self::GENERIC => GENERIC,
            Self::COMMAND => COMMAND,
            Self::MEDIA => MEDIA,
            Self::PATH => PATH,
            Self::VENDOR => return "Vendor Specific",
            _ => return "Unknown",
        };
        name_of(names, self.code(), 0xc0)
    }
}

/// Generic command status (Base 3.3.3.2.1.1).
const GENERIC: &[(u8, &str)] = &[
    (0x00, "Successful Completion"),
    (0x01, "Invalid Command Opcode"),
    (0x02, "Invalid Field in Command"),
    (0x03, "Command ID Conflict"),
    (0x04, "Data Transfer Error"),
    (0x05, "Commands Aborted due to Power Loss Notification"),
    (0x06, "Internal Error"),
    (0x07, "Command Abort Requested"),
    (0x08, "Command Aborted due to SQ Deletion"),
    (0x09, "Command Aborted due to Failed Fused Command"),
    (0x0a, "Command Aborted due to Missing Fused Command"),
    (0x0b, "Invalid Namespace or Format"),
    (0x0c, "Command Sequence Error"),
    (0x0d, "Invalid SGL Segment Descriptor"),
    (0x0e, "Invalid Number of SGL Descriptors"),
    (0x0f, "Data SGL Length Invalid"),
    (0x10, "Metadata SGL Length Invalid"),
    (0x11, "SGL Descriptor Type Invalid"),
    (0x12, "Invalid Use of Controller Memory Buffer"),
    (0x13, "PRP Offset Invalid"),
    (0x14, "Atomic Write Unit Exceeded"),
    (0x15, "Operation Denied"),
    (0x16, "SGL Offset Invalid"),
    (0x18, "Host Identifier Inconsistent Format"),
    (0x19, "Keep Alive Timer Expired"),
    (0x1a, "Keep Alive Timeout Invalid"),
    (0x1b, "Command Aborted due to Preempt and Abort"),
    (0x1c, "Sanitize Failed"),
    (0x1d, "Sanitize In Progress"),
    (0x1e, "SGL Data Block Granularity Invalid"),
    (0x1f, "Command Not Supported for Queue in CMB"),
    (0x20, "Namespace is Write Protected"),
    (0x21, "Command Interrupted"),
    (0x22, "Transient Transport Error"),
    (0x23, "Command Prohibited by Command and Feature Lockdown"),
    (0x24, "Admin Command Media Not Ready"),
    (0x25, "Invalid Key Tag"),
    (0x26, "Host Dispersed Namespace Support Not Enabled"),
    (0x27, "Host Identifier Not Initialized"),
    (0x28, "Incorrect Key"),
    (0x29, "FDP Disabled"),
    (0x2a, "Invalid Placement Handle List"),
    (0x80, "LBA Out of Range"),
    (0x81, "Capacity Exceeded"),
    (0x82, "Namespace Not Ready"),
    (0x83, "Reservation Conflict"),
    (0x84, "Format In Progress"),
];

/// Command specific status (Base 3.3.3.2.1.2).
const COMMAND: &[(u8, &str)] = &[
    (0x00, "Completion Queue Invalid"),
    (0x01, "Invalid Queue Identifier"),
    (0x02, "Invalid Queue Size"),
    (0x03, "Abort Command Limit Exceeded"),
    (0x05, "Asynchronous Event Request Limit Exceeded"),
    (0x06, "Invalid Firmware Slot"),
    (0x07, "Invalid Firmware Image"),
    (0x08, "Invalid Interrupt Vector"),
    (0x09, "Invalid Log Page"),
    (0x0a, "Invalid Format"),
    (0x0b, "Firmware Activation Requires Conventional Reset"),
    (0x0c, "Invalid Queue Deletion"),
    (0x0d, "Feature Identifier Not Saveable"),
    (0x0e, "Feature Not Changeable"),
    (0x0f, "Feature Not Namespace Specific"),
    (0x10, "Firmware Activation Requires NVM Subsystem Reset"),
    (0x11, "Firmware Activation Requires Controller Level Reset"),
    (0x12, "Firmware Activation Requires Maximum Time Violation"),
    (0x13, "Firmware Activation Prohibited"),
    (0x14, "Overlapping Range"),
    (0x15, "Namespace Insufficient Capacity"),
    (0x16, "Namespace Identifier Unavailable"),
    (0x18, "Namespace Already Attached"),
    (0x19, "Namespace Is Private"),
    (0x1a, "Namespace Not Attached"),
    (0x1b, "Thin Provisioning Not Supported"),
    (0x1c, "Controller List Invalid"),
    (0x1d, "Device Self-test In Progress"),
    (0x1e, "Boot Partition Write Prohibited"),
    (0x1f, "Invalid Controller Identifier"),
    (0x20, "Invalid Secondary Controller State"),
    (0x21, "Invalid Number of Controller Resources"),
    (0x22, "Invalid Resource Identifier"),
    (
        0x23,
        "Sanitize Prohibited While Persistent Memory Region is Enabled",
    ),
    (0x24, "ANA Group Identifier Invalid"),
    (0x25, "ANA Attach Failed"),
    (0x26, "Insufficient Capacity"),
    (0x27, "Namespace Attachment Limit Exceeded"),
    (0x28, "Prohibition of Command Execution Not Supported"),
    (0x29, "I/O Command Set Not Supported"),
    (0x2a, "I/O Command Set Not Enabled"),
    (0x2b, "I/O Command Set Combination Rejected"),
    (0x2c, "Invalid I/O Command Set"),
    (0x2d, "Identifier Unavailable"),
    (0x80, "Conflicting Attributes"),
    (0x81, "Invalid Protection Information"),
    (0x82, "Attempted Write to Read Only Range"),
    (0x83, "Command Size Limit Exceeded"),
    (0x85, "Incompatible Namespace or Format"),
    (0x86, "Fast Copy Not Possible"),
    (0x87, "Overlapping I/O Range"),
    (0x89, "Insufficient Resources"),
    (0xb6, "Invalid Zone Operation Request"),
    (0xb7, "ZRWA Resources Unavailable"),
    (0xb8, "Zoned Boundary Error"),
    (0xb9, "Zone Is Full"),
    (0xba, "Zone Is Read Only"),
    (0xbb, "Zone Is Offline"),
    (0xbc, "Zone Invalid Write"),
    (0xbd, "Too Many Active Zones"),
    (0xbe, "Too Many Open Zones"),
    (0xbf, "Invalid Zone State Transition"),
];

/// Media and data integrity errors (Base 3.3.3.2.1.3).
const MEDIA: &[(u8, &str)] = &[
    (0x80, "Write Fault"),
    (0x81, "Unrecovered Read Error"),
    (0x82, "End-to-end Guard Check Error"),
    (0x83, "End-to-end Application Tag Check Error"),
    (0x84, "End-to-end Reference Tag Check Error"),
    (0x85, "Compare Failure"),
    (0x86, "Access Denied"),
    (0x87, "Deallocated or Unwritten Logical Block"),
    (0x88, "End-to-End Storage Tag Check Error"),
];

/// Path related status (Base 3.3.3.2.1.4).
const PATH: &[(u8, &str)] = &[
    (0x00, "Internal Path Error"),
    (0x01, "Asymmetric Access Persistent Loss"),
    (0x02, "Asymmetric Access Inaccessible"),
    (0x03, "Asymmetric Access Transition"),
    (0x60, "Controller Pathing Error"),
    (0x70, "Host Pathing Error"),
    (0x71, "Command Aborted By Host"),
];

/// As in `generic/0x02 Invalid Field in Command (DNR)`.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.code_type() {
            Self::GENERIC => "generic",
            Self::COMMAND => "command",
            Self::MEDIA => "media",
            Self::PATH => "path",
            Self::VENDOR => "vendor",
            _ => "reserved",
        };
        write!(f, "{}/{:#04x} {}", kind, self.code(), self.name())?;
        match (self.more(), self.do_not_retry()) {
            (false, false) => Ok(()),
            (false, true) => f.write_str(" (DNR)"),
            (true, false) => f.write_str(" (M)"),
            (true, true) => f.write_str(" (M, DNR)"),
        }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Status({:#06x}: {})", self.0, self)
    }
}
