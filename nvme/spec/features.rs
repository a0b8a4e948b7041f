// SPDX-License-Identifier: GPL-2.0

//! Features: results and fields, and asynchronous events (Base 5.27, 5.2). `ctrl` sets and gets the
//! features, `life` reacts to the events, and `views` shows the temperature thresholds.

/// Numbers of I/O submission and completion queues that the controller grants, from dword 0 of the
/// completion of Set Features, Number of Queues. Both are 1 to 65536 (Base 5.27.1.5).
pub const fn granted_queues(result: u32) -> (u32, u32) {
    (
        (result & 0xffff).wrapping_add(1),
        (result >> 16).wrapping_add(1),
    )
}

/// A temperature threshold (Base 5.27.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// The composite temperature (0), or a sensor (1 to 8); only the lower 4 bits count.
    pub sensor: u8,
    /// The controller warns below the threshold, not above it.
    pub under: bool,
}

impl Threshold {
    /// The feature's identifier.
    pub(super) const FEATURE: u32 = 0x04;

    /// The fields TMPSEL and THSEL of dword 11.
    pub(super) const fn field(self) -> u32 {
        let under = if self.under { 1 << 20 } else { 0 };
        under | ((self.sensor as u32 & 0xf) << 16)
    }
}

/// Type of an asynchronous event (Base 5.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsyncEventKind {
    /// An error in the controller.
    Error,
    /// SMART or health status.
    Health,
    /// A notice, for example of changed namespaces.
    Notice,
    /// Specific to an I/O command set.
    IoCommandSet,
    /// Specific to the vendor.
    Vendor,
    /// A reserved value.
    Reserved(u8),
}

/// An asynchronous event, from dword 0 of the request's completion (Base 5.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsyncEvent {
    /// The event's type.
    pub kind: AsyncEventKind,
    /// The event's information; its meaning depends on `kind`.
    pub info: u8,
    /// The log page of the event. After a read of this page the controller reports the next event
    /// of its type.
    pub log_page: u8,
    /// All of it, for user space.
    pub raw: u32,
}

/// Names of error events, by their information (Base 5.2.1).
const ERRORS: [&str; 6] = [
    "Write to Invalid Doorbell Register",
    "Invalid Doorbell Write Value",
    "Diagnostic Failure",
    "Persistent Internal Error",
    "Transient Internal Error",
    "Firmware Image Load Error",
];

impl AsyncEvent {
    /// The notices that the driver handles, in OAES and in the mask of enabled events: Namespace
    /// Attribute (bit 8) and Firmware Activation (bit 9).
    pub const NOTICES: u32 = 1 << 8 | 1 << 9;

    /// The SMART warnings, in the mask of enabled events, for a controller of this version of the
    /// specification: those before 1.4 may refuse bit 5.
    pub const fn warnings((major, minor): (u16, u8)) -> u32 {
        if major > 1 || (major == 1 && minor >= 4) {
            0x3f
        } else {
            0x1f
        }
    }

    /// Decodes dword 0 of a completion.
    pub const fn new(result: u32) -> Self {
        let kind = match (result & 7) as u8 {
            0 => AsyncEventKind::Error,
            1 => AsyncEventKind::Health,
            2 => AsyncEventKind::Notice,
            6 => AsyncEventKind::IoCommandSet,
            7 => AsyncEventKind::Vendor,
            reserved => AsyncEventKind::Reserved(reserved),
        };
        Self {
            kind,
            info: (result >> 8) as u8,
            log_page: (result >> 16) as u8,
            raw: result,
        }
    }

    /// Whether the controller reports a Persistent Internal Error, and needs a reset.
    pub const fn persistent_error(self) -> bool {
        matches!(self.kind, AsyncEventKind::Error) && self.info == 3
    }

    /// The name of an error event.
    pub fn error_name(self) -> &'static str {
        ERRORS
            .get(usize::from(self.info))
            .copied()
            .unwrap_or("Unknown")
    }

    /// Whether the controller begins to activate a firmware, and pauses commands.
    pub const fn firmware_activation(self) -> bool {
        matches!(self.kind, AsyncEventKind::Notice) && self.info == 1
    }

    /// Whether namespaces were added, removed or changed.
    pub const fn namespaces_changed(self) -> bool {
        matches!(self.kind, AsyncEventKind::Notice) && self.info == 0
    }
}
