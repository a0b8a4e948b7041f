// SPDX-License-Identifier: GPL-2.0

//! Reservations of a disk: `IOC_PR_*` of user space, and the calls of device mapper and of the
//! kernel's iSCSI target. The block layer calls these functions.
//!
//! Errors are those of the kernel's `nvme`, except that a report is read as far as one transfer
//! reaches, also if the caller asks for more keys.

use super::{
    passthrough::execute,
    NvmeOps, //
};
use crate::{
    abstractions::block::mq::{
        Buffers,
        HeldReservation,
        OpenDisk,
        Registrants,
        ReservationChange,
        ReservationError,
        ReservationType,
        Reservations, //
    },
    nvme::spec::{
        command::Command,
        id::Nsid,
        reservation::{
            self,
            Keys,
            Outcome,
            Racqa,
            Report,
            Rtype, //
        },
    },
};
use kernel::{
    alloc::flags::{
        GFP_KERNEL_ACCOUNT,
        __GFP_NOWARN, //
    },
    prelude::*, //
};

/// How many registered hosts a report on the holder has room for at first, and how often the report
/// is read again with more room. Their number may change meanwhile.
const FEW: u16 = 16;
const REPORTS: u32 = 4;

/// The functions for the block layer.
pub(super) const RESERVATIONS: Reservations<NvmeOps> = Reservations {
    change,
    read_keys,
    read_reservation,
};

/// Runs a command of the disk, and returns how it ended, and its data. Sleeps.
///
/// # Errors
///
/// Those of [`execute`].
fn run(
    disk: &OpenDisk<'_, NvmeOps>,
    command: Command,
    data: KVVec<u8>,
) -> Result<(Outcome, KVVec<u8>)> {
    let buffers = Buffers {
        data,
        metadata: None,
    };
    let (_, status, buffers) = execute(disk, command, buffers, 0)?;
    Ok((Outcome::of(status), buffers.data))
}

/// The block layer's error for how a command ended.
fn check(outcome: Outcome) -> Result<(), ReservationError> {
    Err(match outcome {
        Outcome::Done => return Ok(()),
        Outcome::Conflict => ReservationError::Conflict,
        Outcome::Refused => EINVAL.into(),
        Outcome::PathFailed => ReservationError::PathFailed,
        Outcome::OtherHostId | Outcome::Failed => ReservationError::IoError,
    })
}

/// The number of a type is the same for NVMe and for the block layer.
fn rtype(kind: ReservationType) -> Result<Rtype> {
    Rtype::new(kind as u8).ok_or(EINVAL)
}

/// The command for a change, with its data.
fn command(id: Nsid, change: &ReservationChange) -> Result<(Command, Keys)> {
    use ReservationChange as Change;

    Ok(match *change {
        Change::Register {
            old_key,
            new_key,
            ignore_key,
        } => reservation::register(id, old_key, new_key, ignore_key),
        Change::Reserve {
            key,
            kind,
            ignore_key,
        } => reservation::acquire(id, Racqa::Acquire, key, 0, rtype(kind)?, ignore_key),
        Change::Release { key, kind } => reservation::release(id, key, rtype(kind)?),
        Change::Preempt {
            key,
            victim,
            kind,
            abort,
        } => {
            let how = match abort {
                true => Racqa::PreemptAndAbort,
                false => Racqa::Preempt,
            };
            reservation::acquire(id, how, key, victim, rtype(kind)?, false)
        }
        Change::Clear { key } => reservation::clear(id, key),
    })
}

fn change(
    disk: &OpenDisk<'_, NvmeOps>,
    change: &ReservationChange,
) -> Result<(), ReservationError> {
    check(send(disk, change)?)
}

/// Sends the command for a change, and returns how it ended.
fn send(disk: &OpenDisk<'_, NvmeOps>, change: &ReservationChange) -> Result<Outcome> {
    let (command, keys) = command(disk.with(|ns| Ok(ns.id))?, change)?;
    let mut data = KVVec::new();
    data.extend_from_slice(keys.bytes(), GFP_KERNEL)?;
    Ok(run(disk, command, data)?.0)
}

/// Asks for a report with room for `registrants` hosts, or for as many as a command's data can have.
/// Returns how the command ended, and its data.
fn ask(
    disk: &OpenDisk<'_, NvmeOps>,
    registrants: u16,
    extended: bool,
) -> Result<(Outcome, KVVec<u8>)> {
    let id = disk.with(|ns| Ok(ns.id))?;
    let bytes = Report::bytes(registrants, extended).min(disk.max_bytes() & !3);
    let data = KVVec::from_elem(0u8, bytes, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?;
    let command = reservation::report(id, u32::try_from(bytes)?, extended);
    run(disk, command, data)
}

/// Reads a report as [`ask`] does. Returns its data, and whether it is extended.
fn read_report(
    disk: &OpenDisk<'_, NvmeOps>,
    registrants: u16,
) -> Result<(KVVec<u8>, bool), ReservationError> {
    let (mut extended, mut answer) = (true, ask(disk, registrants, true)?);
    if answer.0 == Outcome::OtherHostId {
        // The host has an identifier of 64 bits.
        (extended, answer) = (false, ask(disk, registrants, false)?);
    }
    let (outcome, data) = answer;
    check(outcome)?;
    Ok((data, extended))
}

/// Fails with `EINVAL` if a transfer is too small for the report.
fn read_keys(
    disk: &OpenDisk<'_, NvmeOps>,
    keys: &mut [u64],
) -> Result<Registrants, ReservationError> {
    let room = u16::try_from(keys.len()).unwrap_or(u16::MAX);
    let (data, extended) = read_report(disk, room)?;
    let report = Report::new(&data, extended);
    let wanted = keys.len().min(report.count().into());
    let mut read = 0;
    for (key, host) in keys.iter_mut().zip(report.registrants()) {
        *key = host.key;
        read += 1;
    }
    if read < wanted {
        return Err(EINVAL.into());
    }
    Ok(Registrants {
        generation: report.generation(),
        count: report.count().into(),
    })
}

/// Fails with `EINVAL` if a transfer is too small for the report, or if it grows all the time.
fn read_reservation(disk: &OpenDisk<'_, NvmeOps>) -> Result<HeldReservation, ReservationError> {
    let mut room = FEW;
    for _ in 0..REPORTS {
        let (data, extended) = read_report(disk, room)?;
        let report = Report::new(&data, extended);
        let host = report.registrants().find(|host| host.holds);
        let kind = report
            .rtype()
            .and_then(|rtype| ReservationType::new(rtype.get().into()));
        let holder = host.zip(kind).map(|(host, kind)| (host.key, kind));
        if holder.is_some() || report.registrants().count() >= usize::from(report.count()) {
            return Ok(HeldReservation {
                generation: report.generation(),
                holder,
            });
        }
        room = report.count();
    }
    Err(EINVAL.into())
}
