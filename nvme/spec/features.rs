// SPDX-License-Identifier: GPL-2.0

//! Results of Set Features, and asynchronous events (Base 5.27, 5.2).

/// Numbers of I/O submission and completion queues that the controller grants, from dword 0 of the
/// completion of Set Features, Number of Queues. Both are 1 to 65536 (Base 5.27.1.5).
pub const fn granted_queues(result: u32) -> (u32, u32) {
    (
        (result & 0xffff).wrapping_add(1),
        (result >> 16).wrapping_add(1),
    )
}

/// What an asynchronous event is about (Base 5.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsyncEventKind {
    /// An error in the controller.
    Error,
    /// SMART or health status.
    Health,
    /// A notice, such as that the namespaces have changed.
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
    /// What the event is about.
    pub kind: AsyncEventKind,
    /// What has happened; meaning by kind.
    pub info: u8,
    /// The log page to read, which also lets the controller report the next such event.
    pub log_page: u8,
}

impl AsyncEvent {
    /// In the mask of events to send: namespace attributes have changed (OAES bit 8).
    pub const NAMESPACE_ATTRIBUTES: u32 = 1 << 8;

    /// Takes dword 0 of a completion apart.
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
        }
    }

    /// Whether the controller has failed for good: it needs a reset (Persistent Internal Error).
    pub const fn persistent_error(self) -> bool {
        matches!(self.kind, AsyncEventKind::Error) && self.info == 3
    }

    /// Whether namespaces have come, gone or changed.
    pub const fn namespaces_changed(self) -> bool {
        matches!(self.kind, AsyncEventKind::Notice) && self.info == 0
    }
}
