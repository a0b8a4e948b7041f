// SPDX-License-Identifier: GPL-2.0

//! Decodes results of Set Features, and asynchronous events (Base 5.27, 5.2).

/// Numbers of I/O submission and completion queues that the controller grants, from dword 0 of the
/// completion of Set Features, Number of Queues. Both are 1 to 65536 (Base 5.27.1.5).
pub const fn granted_queues(result: u32) -> (u32, u32) {
    (
        (result & 0xffff).wrapping_add(1),
        (result >> 16).wrapping_add(1),
    )
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
}

impl AsyncEvent {
    /// Namespace attribute notices, in OAES and in the mask of enabled events (bit 8).
    pub const NAMESPACE_ATTRIBUTES: u32 = 1 << 8;

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
        }
    }

    /// Whether the controller reports a Persistent Internal Error, and needs a reset.
    pub const fn persistent_error(self) -> bool {
        matches!(self.kind, AsyncEventKind::Error) && self.info == 3
    }

    /// Whether namespaces were added, removed or changed.
    pub const fn namespaces_changed(self) -> bool {
        matches!(self.kind, AsyncEventKind::Notice) && self.info == 0
    }
}
