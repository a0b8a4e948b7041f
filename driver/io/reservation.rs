// SPDX-License-Identifier: GPL-2.0

//! Reservations of a disk: the ioctls `IOC_PR_*`, and calls of drivers on top of the disk. The block
//! layer calls these functions.
//!
//! Commands and errors are those of the kernel's `nvme`, with these exceptions:
//!
//! - A new key of 0 unregisters the host, as `block/pr.rst` says.
//! - A host that ignores its old key gets the new one, whether it had one or not.
//! - An unknown type is `EINVAL`; the controller isn't asked.
//! - A report is cut to one transfer. That is an error only if keys that the caller has room for are
//!   missing.
//! - A controller that refuses an extended report gets the other command also if it has set DNR.
//! - Four reports at most look for the holder.

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
            Report, //
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

/// How many registrants the first report on the holder has room for.
const FEW: u16 = 16;
/// How many reports look for the holder, each with more room. Registrants may come meanwhile.
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

/// The command for a change, with its data.
fn command(id: Nsid, change: &ReservationChange) -> (Command, Keys) {
    use ReservationChange as Change;

    // Types have the same numbers for the block layer and for NVMe.
    match *change {
        Change::Register {
            old_key,
            new_key,
            ignore_key,
        } => reservation::register(id, old_key, new_key, ignore_key),
        Change::Reserve {
            key,
            kind,
            ignore_key,
        } => reservation::acquire(id, Racqa::Acquire, key, 0, kind as u8, ignore_key),
        Change::Release { key, kind } => reservation::release(id, key, kind as u8),
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
            reservation::acquire(id, how, key, victim, kind as u8, false)
        }
        Change::Clear { key } => reservation::clear(id, key),
    }
}

fn change(
    disk: &OpenDisk<'_, NvmeOps>,
    change: &ReservationChange,
) -> Result<(), ReservationError> {
    let (command, keys) = command(disk.with(|ns| Ok(ns.id))?, change);
    let mut data = KVVec::new();
    data.extend_from_slice(keys.bytes(), GFP_KERNEL)
        .map_err(Error::from)?;
    let (outcome, _) = run(disk, command, data)?;
    check(outcome)
}

/// Asks for a report with room for `registrants`, or for as many as a command's data can have.
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

/// Fails with `EINVAL` if a transfer is too small for the report, or if the number of registrants keeps
/// growing.
fn read_reservation(disk: &OpenDisk<'_, NvmeOps>) -> Result<HeldReservation, ReservationError> {
    let mut room = FEW;
    for _ in 0..REPORTS {
        let (data, extended) = read_report(disk, room)?;
        let report = Report::new(&data, extended);
        let none = HeldReservation {
            generation: report.generation(),
            holder: None,
        };
        let Some(kind) = ReservationType::new(report.rtype().into()) else {
            return Ok(none);
        };
        if let Some(host) = report.registrants().find(|host| host.holds) {
            return Ok(HeldReservation {
                holder: Some((host.key, kind)),
                ..none
            });
        }
        let read = report.registrants().count();
        if read >= usize::from(report.count()) {
            return Ok(none);
        }
        if read < usize::from(room) {
            break;
        }
        room = report.count();
    }
    Err(EINVAL.into())
}
