// SPDX-License-Identifier: GPL-2.0

//! Reservations: a host that shares a namespace with others forbids them to use it (Base 7.2 to
//! 7.5, 8.19). `io` sends the commands for the block layer.

use super::{
    command::{
        Command,
        DataPtr, //
    },
    id::{
        Cid,
        Nsid, //
    },
    status::Status, //
};

/// The opcodes (Base 7).
const REGISTER: u8 = 0x0d;
const REPORT: u8 = 0x0e;
const ACQUIRE: u8 = 0x11;
const RELEASE: u8 = 0x15;

/// Ignore Existing Key (IEKEY), in dword 10 of all commands but Reservation Report: the current key
/// isn't compared.
const IGNORE_KEY: u32 = 1 << 3;

/// The type of a reservation in dword 10 (RTYPE; Base 7.2): 1 to 6.
const fn of_type(rtype: u8) -> u32 {
    (rtype as u32) << 8
}

/// The data of a command that changes reservations: one key, or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    bytes: [u8; 16],
    len: usize,
}

impl Keys {
    fn one(current: u64) -> Self {
        Self {
            len: 8,
            ..Self::two(current, 0)
        }
    }

    fn two(current: u64, other: u64) -> Self {
        let both = u128::from(other) << 64 | u128::from(current);
        Self {
            bytes: both.to_le_bytes(),
            len: 16,
        }
    }

    /// The data as the controller reads them.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }
}

const fn command(opcode: u8, nsid: Nsid, cdw10: u32, cdw11: u32) -> Command {
    Command::new(opcode, Cid::UNSET, nsid.get(), DataPtr::None).dwords(cdw10, cdw11)
}

/// Whether the current key is compared, in dword 10.
const fn ignoring(any_key: bool) -> u32 {
    match any_key {
        true => IGNORE_KEY,
        false => 0,
    }
}

/// Reservation Register: registers the key `new` for this host, or replaces its key `current`,
/// which is 0 if it has none; unregisters the host if `new` is 0. With `any_key` the host gets the
/// key `new` whether it has one or not. Registrations persist through power loss (Base 7.3).
pub fn register(nsid: Nsid, current: u64, new: u64, any_key: bool) -> (Command, Keys) {
    /// Change Persist Through Power Loss State (CPTPL): they persist.
    const PERSIST: u32 = 3 << 30;
    let action = match (current, new) {
        (_, 0) => 1,
        // Replace, because Register compares the keys in any case.
        (1.., _) => 2,
        (0, _) if any_key => 2,
        (0, _) => 0,
    };
    let cdw10 = PERSIST | ignoring(any_key) | action;
    (command(REGISTER, nsid, cdw10, 0), Keys::two(current, new))
}

/// How Reservation Acquire gets a reservation (RACQA; Base 7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Racqa {
    /// No other host has it.
    Acquire = 0,
    /// Another host may have it, which is unregistered.
    Preempt = 1,
    /// As `Preempt`; that host's commands are aborted.
    PreemptAndAbort = 2,
}

/// Reservation Acquire: acquires a reservation for this host, whose key is `current`. The host with
/// the key `victim` loses its registration, unless `how` is [`Racqa::Acquire`]. With `any_key` the
/// controller ignores `current` (Base 7.2).
pub fn acquire(
    nsid: Nsid,
    how: Racqa,
    current: u64,
    victim: u64,
    rtype: u8,
    any_key: bool,
) -> (Command, Keys) {
    let cdw10 = of_type(rtype) | ignoring(any_key) | how as u32;
    (command(ACQUIRE, nsid, cdw10, 0), Keys::two(current, victim))
}

/// Reservation Release: releases the reservation of this host, whose key is `current`; 0 for any
/// (Base 7.4).
pub fn release(nsid: Nsid, current: u64, rtype: u8) -> (Command, Keys) {
    let cdw10 = of_type(rtype) | ignoring(current == 0);
    (command(RELEASE, nsid, cdw10, 0), Keys::one(current))
}

/// Reservation Release that clears the reservation and unregisters all hosts. This host's key is
/// `current`; 0 for any (Base 7.4).
pub fn clear(nsid: Nsid, current: u64) -> (Command, Keys) {
    const CLEAR: u32 = 1;
    let cdw10 = ignoring(current == 0) | CLEAR;
    (command(RELEASE, nsid, cdw10, 0), Keys::one(current))
}

/// Reservation Report: `bytes` bytes, a multiple of 4, about the reservation and the registered
/// controllers. `extended` if hosts have identifiers of 128 bits, not of 64 (EDS; Base 7.5).
pub const fn report(nsid: Nsid, bytes: u32, extended: bool) -> Command {
    let numd = (bytes / 4).saturating_sub(1);
    command(REPORT, nsid, numd, extended as u32)
}

/// A controller whose host has registered a key (Base 7.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registrant {
    /// The host's key (RKEY).
    pub key: u64,
    /// The host holds the reservation (RCSTS).
    pub holds: bool,
}

/// The data of Reservation Report (Base 7.5).
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    data: &'a [u8],
    extended: bool,
}

impl<'a> Report<'a> {
    /// The data of a command that [`report`] made with `extended`.
    pub const fn new(data: &'a [u8], extended: bool) -> Self {
        Self { data, extended }
    }

    /// The bytes of the header, and of each registrant.
    const fn sizes(extended: bool) -> (usize, usize) {
        match extended {
            true => (64, 64),
            false => (24, 24),
        }
    }

    /// The bytes of a report on `registrants` controllers.
    pub const fn bytes(registrants: u16, extended: bool) -> usize {
        let (header, each) = Self::sizes(extended);
        header.saturating_add((registrants as usize).saturating_mul(each))
    }

    fn header<const N: usize>(&self, at: usize) -> [u8; N] {
        let bytes = self.data.get(at..).and_then(|rest| rest.first_chunk());
        bytes.copied().unwrap_or([0; N])
    }

    /// A counter of the commands that changed registrations (GEN).
    pub fn generation(&self) -> u32 {
        u32::from_le_bytes(self.header(0))
    }

    /// The type of the reservation (RTYPE): 0 if there is none. The controller may report any number.
    pub fn rtype(&self) -> u8 {
        let [number] = self.header(4);
        number
    }

    /// The number of registered controllers (REGCTL), which may be more than [`registrants`] has.
    ///
    /// [`registrants`]: Self::registrants
    pub fn count(&self) -> u16 {
        u16::from_le_bytes(self.header(5))
    }

    /// The registered controllers, as far as the data have room for them.
    pub fn registrants(&self) -> impl Iterator<Item = Registrant> + 'a {
        let (header, each) = Self::sizes(self.extended);
        let at = if self.extended { 8 } else { 16 };
        let mut rest = self.data.get(header..).unwrap_or(&[]);
        let all = core::iter::from_fn(move || {
            let (entry, others) = rest.split_at_checked(each)?;
            rest = others;
            let key = entry.get(at..).and_then(|rest| rest.first_chunk());
            Some(Registrant {
                key: u64::from_le_bytes(key.copied().unwrap_or_default()),
                holds: entry.get(2).is_some_and(|rcsts| rcsts & 1 != 0),
            })
        });
        all.take(self.count().into())
    }
}

/// How a command about reservations ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was carried out.
    Done,
    /// Another host's reservation forbids it, or this host has not registered the key.
    Conflict,
    /// The controller doesn't know the command, or a field of it.
    Refused,
    /// Hosts don't have identifiers of the size that Reservation Report has asked for.
    OtherHostId,
    /// The path to the controller failed.
    PathFailed,
    /// Everything else.
    Failed,
}

impl Outcome {
    /// What `status` means for these commands.
    pub const fn of(status: Status) -> Self {
        match (status.code_type(), status.code()) {
            (0, 0x00) => Self::Done,
            // Invalid opcode, field, namespace or format; conflicting attributes.
            (0, 0x01 | 0x02 | 0x0b) | (1, 0x80) => Self::Refused,
            (0, 0x18) => Self::OtherHostId,
            (0, 0x83) => Self::Conflict,
            (3, _) => Self::PathFailed,
            _ => Self::Failed,
        }
    }
}
