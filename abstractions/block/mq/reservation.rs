// SPDX-License-Identifier: GPL-2.0

//! Persistent reservations: a host that shares a disk with others forbids them to use it.
//!
//! C header: [`include/linux/pr.h`](srctree/include/linux/pr.h)

use super::{
    passthrough::OpenDisk,
    Operations, //
};
use crate::abstractions::series::EOPNOTSUPP;
use core::{
    ptr::NonNull,
    slice, //
};
use kernel::{
    bindings,
    prelude::*, //
};

// As in `uapi/linux/pr.h`; `check.c` compares them with the kernel's.
const PR_STS_SUCCESS: c_int = 0x0;
const PR_STS_IOERR: c_int = 0x2;
const PR_STS_RESERVATION_CONFLICT: c_int = 0x18;
const PR_STS_PATH_FAILED: c_int = 0x10000;
const PR_FL_IGNORE_KEY: u32 = 1 << 0;

/// `struct pr_ops`.
#[repr(C)]
pub(super) struct PrOps {
    register: unsafe extern "C" fn(*mut bindings::block_device, u64, u64, u32) -> c_int,
    reserve: unsafe extern "C" fn(*mut bindings::block_device, u64, c_uint, u32) -> c_int,
    release: unsafe extern "C" fn(*mut bindings::block_device, u64, c_uint) -> c_int,
    preempt: unsafe extern "C" fn(*mut bindings::block_device, u64, u64, c_uint, bool) -> c_int,
    clear: unsafe extern "C" fn(*mut bindings::block_device, u64) -> c_int,
    read_keys: unsafe extern "C" fn(*mut bindings::block_device, *mut PrKeys) -> c_int,
    read_reservation:
        unsafe extern "C" fn(*mut bindings::block_device, *mut PrHeldReservation) -> c_int,
}

/// `struct pr_keys`.
#[repr(C)]
struct PrKeys {
    generation: u32,
    num_keys: u32,
    keys: [u64; 0],
}

/// `struct pr_held_reservation`.
#[repr(C)]
struct PrHeldReservation {
    key: u64,
    generation: u32,
    kind: c_uint,
}

/// What a reservation forbids to other hosts: `enum pr_type`.
///
/// # Examples
///
/// See [`Reservations`].
///
/// ```
/// use abstractions::block::mq::ReservationType;
///
/// assert_eq!(ReservationType::new(6), Some(ReservationType::ExclusiveAccessAllRegistrants));
/// assert_eq!(ReservationType::new(7), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ReservationType {
    /// Only the holder may write.
    WriteExclusive = 1,
    /// Only the holder may read and write.
    ExclusiveAccess = 2,
    /// Only registered hosts may write.
    WriteExclusiveRegistrantsOnly = 3,
    /// Only registered hosts may read and write.
    ExclusiveAccessRegistrantsOnly = 4,
    /// As `WriteExclusiveRegistrantsOnly`; each registered host is a holder.
    WriteExclusiveAllRegistrants = 5,
    /// As `ExclusiveAccessRegistrantsOnly`; each registered host is a holder.
    ExclusiveAccessAllRegistrants = 6,
}

impl ReservationType {
    /// The type with this number.
    pub fn new(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::WriteExclusive,
            2 => Self::ExclusiveAccess,
            3 => Self::WriteExclusiveRegistrantsOnly,
            4 => Self::ExclusiveAccessRegistrantsOnly,
            5 => Self::WriteExclusiveAllRegistrants,
            6 => Self::ExclusiveAccessAllRegistrants,
            _ => return None,
        })
    }
}

/// What the caller asks for.
///
/// # Examples
///
/// See [`Reservations`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReservationChange {
    /// Register the key `new_key` for this host, or replace its key; unregister the host if
    /// `new_key` is 0.
    Register {
        /// This host's key; 0 if it has none.
        old_key: u64,
        /// The key that it gets.
        new_key: u64,
        /// Whether the host has a key, and which, is ignored.
        ignore_key: bool,
    },
    /// Acquire the reservation.
    Reserve {
        /// This host's key.
        key: u64,
        /// The type of the reservation.
        kind: ReservationType,
        /// `key` is ignored.
        ignore_key: bool,
    },
    /// Release the reservation.
    Release {
        /// This host's key; 0 for any.
        key: u64,
        /// The type of the reservation.
        kind: ReservationType,
    },
    /// Unregister another host, and if it holds the reservation, acquire that.
    Preempt {
        /// This host's key: `old_key` of `struct pr_preempt`.
        key: u64,
        /// The other host's key: `new_key` of `struct pr_preempt`.
        victim: u64,
        /// The type of the reservation.
        kind: ReservationType,
        /// Abort the other host's commands.
        abort: bool,
    },
    /// Release the reservation, and unregister all hosts.
    Clear {
        /// This host's key; 0 for any.
        key: u64,
    },
}

/// Why a call about reservations failed: an error number, or a status of `enum pr_status`.
///
/// # Examples
///
/// See [`Reservations`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReservationError {
    /// The device wasn't asked, or refused the command.
    Host(Error),
    /// Another host's reservation forbids it, or this host has not registered the key.
    Conflict,
    /// The path to the device failed.
    PathFailed,
    /// The device failed.
    IoError,
}

impl From<Error> for ReservationError {
    fn from(error: Error) -> Self {
        Self::Host(error)
    }
}

/// What is registered, see [`Reservations::read_keys`].
///
/// # Examples
///
/// See [`Reservations`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registrants {
    /// The device's counter of changes of registrations.
    pub generation: u32,
    /// How many keys there are, which may be more than there was room for. A host that reaches the
    /// device in several ways may have registered one for each.
    pub count: u32,
}

/// The reservation of a disk, see [`Reservations::read_reservation`].
///
/// # Examples
///
/// See [`Reservations`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldReservation {
    /// The device's counter of changes of registrations.
    pub generation: u32,
    /// The key of a holder, and the type of the reservation, if there is one.
    pub holder: Option<(u64, ReservationType)>,
}

/// A driver's functions for the reservations of its disks. The block layer calls them for user space
/// after a check of the caller's rights, and other drivers do. Process context; may sleep. The disk may
/// be removed meanwhile.
///
/// # Examples
///
/// ```
/// use abstractions::block::mq::{
///     HeldReservation, Registrants, ReservationChange, ReservationError, ReservationType,
///     Reservations,
/// };
/// # use abstractions::block::mq::*;
/// # struct MyDriver;
/// # impl Operations for MyDriver {
/// #     const RESERVATIONS: Option<Reservations<Self>> = Some(RESERVATIONS);
/// #     type Module = crate::LocalModule;
/// #     type TagSetData = ();
/// #     type HwData = ();
/// #     type GenDiskData = u8;
/// #     type RequestData = ();
/// #     fn init_hctx((): &(), _: u32) -> Result<kernel::sync::Arc<()>> {
/// #         Ok(kernel::sync::Arc::new((), GFP_KERNEL)?)
/// #     }
/// #     fn queue_rq<'a>(
/// #         (): &(), _: &u8, rq: IdleRequest<'a, Self>, _: bool,
/// #     ) -> Result<(), Rejected<'a>> {
/// #         rq.start().end(Status::Ok);
/// #         Ok(())
/// #     }
/// # }
/// # let disk = my_disk!(dev);
///
/// /// For `Operations::RESERVATIONS`: a disk that host 7 has reserved for ever.
/// const RESERVATIONS: Reservations<MyDriver> = Reservations {
///     change: |_disk, change| match change {
///         ReservationChange::Reserve { key: 7, .. } => Ok(()),
///         ReservationChange::Clear { .. } => Err(EINVAL.into()),
///         _ => Err(ReservationError::Conflict),
///     },
///     read_keys: |_disk, keys| {
///         keys.iter_mut().zip([7, 8]).for_each(|(key, host)| *key = host);
///         Ok(Registrants { generation: 1, count: 2 })
///     },
///     read_reservation: |_disk| {
///         let holder = Some((7, ReservationType::WriteExclusive));
///         Ok(HeldReservation { generation: 1, holder })
///     },
/// };
///
/// let disk = disk.reference();
/// let release = ReservationChange::Release { key: 8, kind: ReservationType::WriteExclusive };
/// let released = (RESERVATIONS.change)(&disk.open(), &release);
/// assert_eq!(released, Err(ReservationError::Conflict));
/// let mut keys = [0];
/// assert_eq!((RESERVATIONS.read_keys)(&disk.open(), &mut keys).map(|found| found.count), Ok(2));
/// assert_eq!(keys, [7]);
/// ```
pub struct Reservations<T: Operations> {
    /// Carries out a change.
    pub change: fn(&OpenDisk<'_, T>, &ReservationChange) -> Result<(), ReservationError>,
    /// Reads the registered keys, as many as the slice has room for; its other elements stay 0.
    pub read_keys: fn(&OpenDisk<'_, T>, &mut [u64]) -> Result<Registrants, ReservationError>,
    /// Reads the reservation.
    pub read_reservation: fn(&OpenDisk<'_, T>) -> Result<HeldReservation, ReservationError>,
}

impl<T: Operations> Reservations<T> {
    /// For `block_device_operations.pr_ops`: null if the driver has no such functions.
    pub(super) const PR_OPS: *const bindings::pr_ops = match T::RESERVATIONS {
        Some(_) => (&raw const *Self::ALL).cast(),
        None => core::ptr::null(),
    };

    const ALL: &'static PrOps = &PrOps {
        register: register::<T>,
        reserve: reserve::<T>,
        release: release::<T>,
        preempt: preempt::<T>,
        clear: clear::<T>,
        read_keys: read_keys::<T>,
        read_reservation: read_reservation::<T>,
    };
}

/// The disk, and the driver's functions.
///
/// # Errors
///
/// `EOPNOTSUPP` if the driver has no functions.
///
/// # Safety
///
/// `part` must be the whole disk or a partition of a disk of `T`, which stays open for `'a`.
unsafe fn open<'a, T: Operations>(
    part: *mut bindings::block_device,
) -> Result<(OpenDisk<'a, T>, Reservations<T>)> {
    let part = NonNull::new(part).ok_or(EOPNOTSUPP)?;
    let functions = T::RESERVATIONS.ok_or(EOPNOTSUPP)?;
    // SAFETY: The caller promises an open disk of `T`.
    Ok((unsafe { OpenDisk::new(part) }, functions))
}

/// The status of `enum pr_status`, or the error number, for the block layer.
fn status(result: Result<(), ReservationError>) -> c_int {
    match result {
        Ok(()) => PR_STS_SUCCESS,
        Err(ReservationError::Host(error)) => error.to_errno(),
        Err(ReservationError::Conflict) => PR_STS_RESERVATION_CONFLICT,
        Err(ReservationError::PathFailed) => PR_STS_PATH_FAILED,
        Err(ReservationError::IoError) => PR_STS_IOERR,
    }
}

/// Has the driver carry out a change, unless the caller's arguments were wrong.
///
/// # Safety
///
/// `part` must be the whole disk or a partition of a disk of `T`, which is open during the call.
unsafe fn change<T: Operations>(
    part: *mut bindings::block_device,
    change: Result<ReservationChange>,
) -> c_int {
    // SAFETY: The caller promises an open disk of `T`.
    let opened = unsafe { open::<T>(part) };
    let carry_out = || {
        let (disk, functions) = opened?;
        (functions.change)(&disk, &change?)
    };
    status(carry_out())
}

/// Whether the device shall ignore this host's key.
fn ignores_key(flags: u32) -> Result<bool> {
    match flags & !PR_FL_IGNORE_KEY {
        0 => Ok(flags != 0),
        _ => Err(EOPNOTSUPP),
    }
}

fn kind(number: c_uint) -> Result<ReservationType> {
    ReservationType::new(number).ok_or(EINVAL)
}

/// `pr_ops.pr_register`.
///
/// # Safety
///
/// As for [`change`].
unsafe extern "C" fn register<T: Operations>(
    part: *mut bindings::block_device,
    old_key: u64,
    new_key: u64,
    flags: u32,
) -> c_int {
    let register = ignores_key(flags).map(|ignore_key| ReservationChange::Register {
        old_key,
        new_key,
        ignore_key,
    });
    // SAFETY: By the safety requirements the disk is open, and of `T`.
    unsafe { change::<T>(part, register) }
}

/// `pr_ops.pr_reserve`.
///
/// # Safety
///
/// As for [`change`].
unsafe extern "C" fn reserve<T: Operations>(
    part: *mut bindings::block_device,
    key: u64,
    number: c_uint,
    flags: u32,
) -> c_int {
    let reserve = ignores_key(flags).and_then(|ignore_key| {
        Ok(ReservationChange::Reserve {
            key,
            kind: kind(number)?,
            ignore_key,
        })
    });
    // SAFETY: By the safety requirements the disk is open, and of `T`.
    unsafe { change::<T>(part, reserve) }
}

/// `pr_ops.pr_release`.
///
/// # Safety
///
/// As for [`change`].
unsafe extern "C" fn release<T: Operations>(
    part: *mut bindings::block_device,
    key: u64,
    number: c_uint,
) -> c_int {
    let release = kind(number).map(|kind| ReservationChange::Release { key, kind });
    // SAFETY: By the safety requirements the disk is open, and of `T`.
    unsafe { change::<T>(part, release) }
}

/// `pr_ops.pr_preempt`.
///
/// # Safety
///
/// As for [`change`].
unsafe extern "C" fn preempt<T: Operations>(
    part: *mut bindings::block_device,
    old_key: u64,
    new_key: u64,
    number: c_uint,
    abort: bool,
) -> c_int {
    // By the names of the keys, and by `block/pr.rst`, it would be the other way round. The kernel's
    // SCSI and NVMe drivers do this.
    let preempt = kind(number).map(|kind| ReservationChange::Preempt {
        key: old_key,
        victim: new_key,
        kind,
        abort,
    });
    // SAFETY: By the safety requirements the disk is open, and of `T`.
    unsafe { change::<T>(part, preempt) }
}

/// `pr_ops.pr_clear`.
///
/// # Safety
///
/// As for [`change`].
unsafe extern "C" fn clear<T: Operations>(part: *mut bindings::block_device, key: u64) -> c_int {
    // SAFETY: By the safety requirements the disk is open, and of `T`.
    unsafe { change::<T>(part, Ok(ReservationChange::Clear { key })) }
}

/// `pr_ops.pr_read_keys`.
///
/// # Safety
///
/// As for [`change`]. `info` must be valid for reads and writes, and behind it there must be room for
/// `num_keys` keys. Nothing else uses them during the call.
unsafe extern "C" fn read_keys<T: Operations>(
    part: *mut bindings::block_device,
    info: *mut PrKeys,
) -> c_int {
    // SAFETY: By the safety requirements there is room for so many keys, which nothing else uses. They
    // are initialised here.
    let keys = unsafe {
        let (keys, room) = ((&raw mut (*info).keys).cast::<u64>(), (*info).num_keys);
        keys.write_bytes(0, room as usize);
        slice::from_raw_parts_mut(keys, room as usize)
    };
    // SAFETY: By the safety requirements the disk is open, and of `T`.
    let opened = unsafe { open::<T>(part) };
    let read = || {
        let (disk, functions) = opened?;
        (functions.read_keys)(&disk, keys)
    };
    let found = read();
    if let Ok(found) = found {
        // SAFETY: By the safety requirements `info` is valid for writes; the fields aren't part of
        // `keys`.
        unsafe {
            (*info).generation = found.generation;
            (*info).num_keys = found.count;
        }
    }
    status(found.map(|_| ()))
}

/// `pr_ops.pr_read_reservation`.
///
/// # Safety
///
/// As for [`change`]. `held` must be valid for writes, and nothing else uses it during the call.
unsafe extern "C" fn read_reservation<T: Operations>(
    part: *mut bindings::block_device,
    held: *mut PrHeldReservation,
) -> c_int {
    // SAFETY: By the safety requirements the disk is open, and of `T`.
    let opened = unsafe { open::<T>(part) };
    let read = || {
        let (disk, functions) = opened?;
        (functions.read_reservation)(&disk)
    };
    let found = read();
    if let Ok(found) = found {
        let (key, kind) = match found.holder {
            Some((key, kind)) => (key, kind as c_uint),
            None => (0, 0),
        };
        let found = PrHeldReservation {
            key,
            generation: found.generation,
            kind,
        };
        // SAFETY: By the safety requirements `held` is valid for writes.
        unsafe { held.write(found) };
    }
    status(found.map(|_| ()))
}
