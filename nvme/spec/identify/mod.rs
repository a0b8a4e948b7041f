// SPDX-License-Identifier: GPL-2.0

//! Parses identify data of a controller and of its namespaces (Base 5.17, NVM 4.1.5).
//!
//! A page is parsed into a small struct. If the driver doesn't support a value, the error names the
//! field and the value.

mod controller;
mod format;
mod ids;
mod namespace;
mod power;

// Each sample uses only some of these.
#[allow(unused_imports)]
pub use self::{
    controller::{
        Controller,
        DeviceId,
        IdentifyError,
        NvmController,
        Subsystem,
        MIN_SHUTDOWN_MS, //
    },
    format::ExtendedFormat,
    ids::NamespaceIds,
    namespace::{
        Namespace,
        NamespaceError, //
    },
    power::{
        PowerState,
        PowerStates,
        POWER_STATES, //
    },
};

use super::{
    id::Nsid,
    page::Page, //
};
use core::{
    fmt,
    str, //
};

/// Text of a fixed length in identify data, padded with spaces. Characters other than printable
/// ASCII are replaced by question marks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<const N: usize>([u8; N]);

impl<const N: usize> Text<N> {
    /// The text from a controller's bytes.
    fn new(mut text: [u8; N]) -> Self {
        clean(&mut text);
        Self(text)
    }

    /// The text without the padding.
    pub fn as_str(&self) -> &str {
        trim(&self.0)
    }
}

/// Replaces bytes that are not printable ASCII.
#[inline(never)]
fn clean(text: &mut [u8]) {
    // Treat trailing NULs as padding too, although the specification requires spaces.
    for byte in text.iter_mut().rev() {
        if *byte != 0 {
            break;
        }
        *byte = b' ';
    }
    for byte in text {
        if !matches!(*byte, b' '..=b'~') {
            *byte = b'?';
        }
    }
}

/// The text in ASCII bytes, without the padding.
#[inline(never)]
fn trim(text: &[u8]) -> &str {
    // `clean` made the text ASCII, so this never fails.
    str::from_utf8(text.trim_ascii()).unwrap_or("")
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// The ids of active namespaces greater than `after`, from the Active Namespace ID list for that id
/// (CNS 02h; Base 5.17.2.2).
///
/// The list ends at the first value that is no namespace's. It also ends at an id that isn't greater
/// than the previous id, or than `after`, so that a hostile controller can't make the driver scan a
/// namespace twice, or scan endlessly. After a list of 1024 ids, the caller reads the next list.
pub fn active_namespaces_after(
    list: &Page,
    after: Option<Nsid>,
) -> impl Iterator<Item = Nsid> + '_ {
    list.chunks_exact(4)
        .map(|id| id.first_chunk().map_or(0, |id| u32::from_le_bytes(*id)))
        .scan(after, |last, id| {
            *last = Some(Nsid::new(id).filter(|id| Some(*id) > *last)?);
            *last
        })
}
