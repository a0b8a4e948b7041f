// SPDX-License-Identifier: GPL-2.0

//! Decides how a disk's requests treat the metadata of its blocks, and what the fields of their
//! commands are. `namespaces` asks for the first, `io` for the second.

use super::super::spec::{
    command::Command,
    identify::{
        ExtendedFormat,
        Namespace, //
    },
    protection::{
        Guard,
        Protection, //
    },
};

/// The protection information in the metadata of each block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple {
    /// How its guard is computed.
    pub guard: Guard,
    /// Its place in the metadata.
    pub offset: u8,
    /// The reference tag is the number of the block (types 1 and 2; NVM 5.3.3).
    pub has_reference: bool,
}

impl Tuple {
    /// The reference tag of a command that begins with block `block`.
    const fn reference(self, block: u64) -> u64 {
        match self.has_reference {
            true => self.guard.reference_tag(block),
            false => 0,
        }
    }

    /// The fields of a command that begins with block `block`, whose controller inserts and strips the
    /// protection information.
    fn inserted(self, block: u64) -> Protection {
        Protection {
            by_controller: true,
            reference: self.reference(block),
            ..Protection::default()
        }
    }
}

/// How a disk's requests treat the metadata of its blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metadata {
    /// The blocks have none.
    #[default]
    None,
    /// They are protection information, which the controller inserts and strips.
    ByController(Tuple),
    /// Requests have a buffer for them.
    Separate {
        /// The bytes of a block's metadata.
        bytes: u8,
        /// The protection information in them. If it is all of them, the controller may insert and
        /// strip it, too.
        tuple: Option<Tuple>,
    },
    /// The disk's requests can't transfer them, so the disk has no blocks; users' commands can.
    Unusable,
}

/// The memory that a user's command needs for each logical block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockFormat {
    /// A block has `1 << shift` bytes of data.
    pub shift: u32,
    /// The bytes of its metadata.
    pub metadata: u16,
    /// They follow the block's data, instead of having a buffer of their own.
    pub extended: bool,
    /// They are protection information and nothing else, so that the controller can strip them.
    pub strippable: bool,
}

impl BlockFormat {
    /// Blocks of `1 << shift` bytes, without metadata.
    pub const fn plain(shift: u32) -> Self {
        Self {
            shift,
            metadata: 0,
            extended: false,
            strippable: false,
        }
    }

    /// The format of the namespace `ns`; `format` as in [`Metadata::of`].
    pub fn of(ns: &Namespace, format: Option<ExtendedFormat>) -> Self {
        let bytes = u8::try_from(ns.metadata).ok();
        let tuple = bytes.and_then(|bytes| tuple(ns, format, bytes));
        Self {
            shift: ns.lba_shift,
            metadata: ns.metadata,
            extended: ns.extended,
            strippable: tuple.is_some_and(|one| u16::from(one.guard.tuple_bytes()) == ns.metadata),
        }
    }

    /// The bytes of data, and those of metadata in a buffer of their own, that `command` transfers for
    /// each block; [`None`] for more than can be counted.
    pub fn bytes(&self, command: &Command) -> Option<(u64, u64)> {
        let block = 1u64.checked_shl(self.shift)?;
        let metadata = match command.dword(12) & Command::PRACT != 0 && self.strippable {
            true => 0,
            false => u64::from(self.metadata),
        };
        match self.extended {
            true => Some((block.checked_add(metadata)?, 0)),
            false => Some((block, metadata)),
        }
    }
}

/// The blocks of a namespace, as commands transfer them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// By a disk's requests.
    pub metadata: Metadata,
    /// By a user's command.
    pub format: BlockFormat,
}

impl Blocks {
    /// Of the namespace `ns`, of whose format the controller says `format`, if it knows extended formats.
    /// `separate` if the block layer has buffers for metadata.
    pub fn of(ns: &Namespace, format: Option<ExtendedFormat>, separate: bool) -> Self {
        Self {
            metadata: Metadata::of(ns, format, separate),
            format: BlockFormat::of(ns, format),
        }
    }
}

/// The metadata of a request, as the block layer has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    /// The controller checks the guard.
    pub guard: bool,
    /// The controller checks the reference tag.
    pub reference: bool,
    /// The controller checks the application tag, which has to be this.
    pub application: Option<u16>,
}

impl Metadata {
    /// For the namespace `ns`, of whose format the controller says `format`, if it knows extended
    /// formats. `separate` if the block layer has buffers for metadata.
    pub fn of(ns: &Namespace, format: Option<ExtendedFormat>, separate: bool) -> Self {
        if ns.metadata == 0 {
            return Self::None;
        }
        let Ok(bytes) = u8::try_from(ns.metadata) else {
            return Self::Unusable;
        };
        let tuple = tuple(ns, format, bytes);
        if separate && !ns.extended {
            return Self::Separate { bytes, tuple };
        }
        match tuple {
            Some(tuple) if tuple.guard.tuple_bytes() == bytes => Self::ByController(tuple),
            _ => Self::Unusable,
        }
    }

    /// Whether blocks have no metadata.
    #[inline(always)]
    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The bytes of a block's metadata in the host's memory.
    pub const fn bytes(&self) -> u8 {
        match *self {
            Self::None | Self::ByController(_) | Self::Unusable => 0,
            Self::Separate { bytes, .. } => bytes,
        }
    }

    /// The fields of a command that begins with block `block`. `checks` are those of the request's
    /// metadata; [`None`] for a request without. [`None`] if a request must have metadata.
    pub fn protection(&self, block: u64, checks: Option<Checks>) -> Option<Protection> {
        let tuple = self.tuple();
        let Some(checks) = checks else {
            return match (*self, tuple) {
                (Self::None, _) => Some(Protection::default()),
                // Nobody else checks it. (The block layer, which has a buffer, may be told not to.)
                (Self::ByController(tuple), _) => Some(Protection {
                    check_guard: true,
                    check_reference: tuple.has_reference,
                    ..tuple.inserted(block)
                }),
                (Self::Separate { bytes, .. }, Some(tuple))
                    if tuple.guard.tuple_bytes() != bytes =>
                {
                    None
                }
                (_, tuple) => tuple.map(|tuple| tuple.inserted(block)),
            };
        };
        Some(Protection {
            by_controller: false,
            check_guard: checks.guard,
            check_application: checks.application,
            check_reference: checks.reference,
            reference: match tuple {
                Some(tuple) if checks.reference => tuple.reference(block),
                _ => 0,
            },
        })
    }

    /// The fields of a Write Zeroes that begins with block `block`: the controller inserts protection
    /// information, without which it would refuse to read the blocks.
    pub fn zeroes(&self, block: u64) -> Protection {
        match self.tuple() {
            Some(tuple) => tuple.inserted(block),
            None => Protection::default(),
        }
    }

    /// The protection information.
    const fn tuple(&self) -> Option<Tuple> {
        match *self {
            Self::None | Self::Unusable => None,
            Self::ByController(tuple) => Some(tuple),
            Self::Separate { tuple, .. } => tuple,
        }
    }
}

/// The protection information in the metadata of `bytes`, if there is any that is known here.
fn tuple(ns: &Namespace, format: Option<ExtendedFormat>, bytes: u8) -> Option<Tuple> {
    let guard = match format {
        // With a storage tag, the reference tag has fewer bits.
        Some(format) if format.storage_tag_bits != 0 => return None,
        Some(format) => format.guard?,
        None => Guard::Crc16,
    };
    let last = bytes.checked_sub(guard.tuple_bytes())?;
    Some(Tuple {
        guard,
        offset: if ns.protection_first { 0 } else { last },
        has_reference: match ns.protection {
            1 | 2 => true,
            3 => false,
            _ => return None,
        },
    })
}
