// SPDX-License-Identifier: GPL-2.0

//! Self-encrypting disks after TCG's Opal: the kernel's own code answers the ioctls, and speaks the
//! protocol; a driver carries its messages to the device.
//!
//! A kernel without that code has no such disks, and no ioctls for them.
//!
//! C header: [`include/linux/sed-opal.h`](srctree/include/linux/sed-opal.h)

// A driver uses only a part of this.
#![allow(dead_code, unreachable_pub)]

use super::chrdev::Ioctl;
use core::{
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    },
    slice, //
};
use kernel::{
    error::to_result,
    prelude::*, //
};

/// The numbers of the ioctls (`IOC_OPAL_*`), from `IOC_OPAL_SAVE` on. `check.c` compares them with the
/// kernel's.
const NUMBERS: [u32; 27] = [
    0x411870dc, 0x411870dd, 0x410870de, 0x411870df, 0x422070e0, 0x411070e1, 0x410870e2, 0x412870e3,
    0x411870e4, 0x411070e5, 0x411070e6, 0x411070e7, 0x410870e8, 0x411070e9, 0x412070ea, 0x413870eb,
    0x800870ec, 0x413070ed, 0x802070ee, 0x401070ef, 0x411070f0, 0x422070f1, 0x422070f2, 0x412870f3,
    0x412870f4, 0x411870f5, 0x000070f6,
];

/// `sec_send_recv`.
type SendRecv = unsafe extern "C" fn(*mut c_void, u16, u8, *mut c_void, usize, bool) -> c_int;

/// `struct opal_dev`, which only the kernel's code knows.
#[repr(C)]
struct RawDev {
    _private: [u8; 0],
}

/// The functions of the kernel's code. `kernel::bindings` lacks them; `check.c` compares them.
#[cfg(CONFIG_BLK_SED_OPAL)]
mod c {
    use super::*;

    unsafe extern "C" {
        pub(super) fn init_opal_dev(data: *mut c_void, send_recv: SendRecv) -> *mut RawDev;
        pub(super) fn free_opal_dev(dev: *mut RawDev);
        pub(super) fn opal_unlock_from_suspend(dev: *mut RawDev) -> bool;
        pub(super) fn sed_ioctl(dev: *mut RawDev, cmd: c_uint, arg: *mut c_void) -> c_int;
    }
}

/// Instead of the functions of a kernel without that code: there is no device.
#[cfg(not(CONFIG_BLK_SED_OPAL))]
mod c {
    use super::*;
    use crate::abstractions::series::EOPNOTSUPP;

    /// # Safety
    ///
    /// None; `unsafe` like the kernel's. The same for the others.
    pub(super) unsafe fn init_opal_dev(_: *mut c_void, _: SendRecv) -> *mut RawDev {
        ptr::null_mut()
    }

    /// # Safety
    ///
    /// None.
    pub(super) unsafe fn free_opal_dev(_: *mut RawDev) {}

    /// # Safety
    ///
    /// None.
    pub(super) unsafe fn opal_unlock_from_suspend(_: *mut RawDev) -> bool {
        false
    }

    /// # Safety
    ///
    /// None.
    pub(super) unsafe fn sed_ioctl(_: *mut RawDev, _: c_uint, _: *mut c_void) -> c_int {
        EOPNOTSUPP.to_errno()
    }
}

/// Whether `number` is that of an ioctl for [`OpalDev::ioctl`].
///
/// # Examples
///
/// ```
/// use abstractions::opal::is_opal_ioctl;
///
/// // `IOC_OPAL_GET_STATUS`, in a kernel with Opal.
/// assert_eq!(is_opal_ioctl(0x800870ec), cfg!(CONFIG_BLK_SED_OPAL));
/// assert!(!is_opal_ioctl(0x4e40));
/// ```
pub fn is_opal_ioctl(number: u32) -> bool {
    cfg!(CONFIG_BLK_SED_OPAL) && NUMBERS.contains(&number)
}

/// Carries messages to a device, and from it. Process context; may sleep. For each device one call at a
/// time.
///
/// Both functions return the status by which the device refused the message, or 0. The caller of an ioctl
/// gets it as the result.
///
/// # Examples
///
/// See [`OpalDev`].
pub trait Messenger: Send + Sync {
    /// Sends a message by a security protocol (IF-SEND). `specific` is the protocol's own field.
    ///
    /// # Errors
    ///
    /// If the device wasn't asked, or didn't answer.
    fn send(&self, protocol: u8, specific: u16, message: &[u8]) -> Result<u16>;

    /// Receives a message by a security protocol (IF-RECV). The part of `message` that it doesn't write is
    /// zero.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    fn receive(&self, protocol: u8, specific: u16, message: &mut [u8]) -> Result<u16>;
}

/// A device that speaks Opal.
///
/// # Invariants
///
/// `raw` is from `init_opal_dev`, for the messenger that `messenger` points to, which lives as long as
/// this.
///
/// # Examples
///
/// ```
/// use abstractions::{
///     chrdev::Ioctl,
///     opal::{Messenger, OpalDev},
/// };
///
/// /// A device that knows no security protocol.
/// struct Deaf;
///
/// impl Messenger for Deaf {
///     fn send(&self, _protocol: u8, _specific: u16, _message: &[u8]) -> Result<u16> {
///         Err(EIO)
///     }
///
///     fn receive(&self, _protocol: u8, _specific: u16, _message: &mut [u8]) -> Result<u16> {
///         Err(EIO)
///     }
/// }
///
/// let found = OpalDev::find(Deaf)?;
/// assert!(found.is_none());
///
/// // After the system has slept.
/// if let Some(opal) = &found {
///     assert!(opal.unlock_after_sleep());
/// }
///
/// // `IOC_OPAL_STACK_RESET`. The kernel checks the caller's rights before it looks for the device.
/// let call = Ioctl { number: 0x70f6, arg: 0, writable: true, compat: false };
/// assert!(OpalDev::ioctl(found.as_ref(), &call).is_err());
/// ```
pub struct OpalDev<M: Messenger> {
    raw: NonNull<RawDev>,
    messenger: NonNull<M>,
    _owned: PhantomData<KBox<M>>,
}

// SAFETY: `struct opal_dev` has no affinity to a thread, and the messenger is `Send`.
unsafe impl<M: Messenger> Send for OpalDev<M> {}

// SAFETY: The kernel's functions lock `struct opal_dev`, and the messenger is `Sync`.
unsafe impl<M: Messenger> Sync for OpalDev<M> {}

impl<M: Messenger> OpalDev<M> {
    /// Asks the device whether it speaks Opal; `None` if it doesn't. Waits for memory.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn find(messenger: M) -> Result<Option<Self>> {
        let messenger = KBox::into_raw(KBox::new(messenger, GFP_KERNEL)?);

        // SAFETY: The messenger lives until the device is freed, below or in `drop`, and `carry` is for
        // its type.
        let raw = unsafe { c::init_opal_dev(messenger.cast(), carry::<M>) };
        let (Some(raw), Some(messenger)) = (NonNull::new(raw), NonNull::new(messenger)) else {
            // SAFETY: There is no device that could use the messenger, which is from `into_raw` above.
            drop(unsafe { KBox::from_raw(messenger) });
            return Ok(None);
        };
        // INVARIANT: `raw` was created above, for this messenger.
        Ok(Some(Self {
            raw,
            messenger,
            _owned: PhantomData,
        }))
    }

    /// Answers an ioctl on a disk ([`is_opal_ioctl`]); `dev` is the disk's device, if it speaks Opal.
    /// Process context; sleeps. Returns 0, or the status that the [`Messenger`] has returned.
    ///
    /// # Errors
    ///
    /// `EACCES` if the caller isn't an administrator, otherwise `EOPNOTSUPP` without a device; those of
    /// the messenger and of the kernel's code.
    pub fn ioctl(dev: Option<&Self>, call: &Ioctl) -> Result<isize> {
        let raw = dev.map_or(ptr::null_mut(), |dev| dev.raw.as_ptr());
        let arg = call.pointer(call.arg as u64);

        // SAFETY: By the type invariant the device is valid, or it is null, which the function allows. The
        // function checks the address.
        let result = unsafe { c::sed_ioctl(raw, call.number, arg.as_mut_ptr().cast()) };
        to_result(result)?;
        Ok(result as isize)
    }

    /// Unlocks what user space has asked to be unlocked after a sleep, in which the device had no power.
    /// Returns whether the device did so. Process context; sleeps, but doesn't wait for memory.
    pub fn unlock_after_sleep(&self) -> bool {
        // SAFETY: By the type invariant the device is valid.
        let failed = unsafe { c::opal_unlock_from_suspend(self.raw.as_ptr()) };
        !failed
    }
}

impl<M: Messenger> Drop for OpalDev<M> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the device is from `init_opal_dev`, and nothing else uses it.
        unsafe { c::free_opal_dev(self.raw.as_ptr()) };
        // SAFETY: The messenger is from `KBox::into_raw`, and the device that used it is freed.
        drop(unsafe { KBox::from_raw(self.messenger.as_ptr()) });
    }
}

/// Carries a message for the kernel's code.
///
/// # Safety
///
/// `messenger` must be a valid `M`; `buffer` must be valid for `len` bytes that nothing else uses during
/// the call, and initialised.
unsafe extern "C" fn carry<M: Messenger>(
    messenger: *mut c_void,
    specific: u16,
    protocol: u8,
    buffer: *mut c_void,
    len: usize,
    send: bool,
) -> c_int {
    // SAFETY: The caller promises a valid messenger, which is only shared.
    let messenger = unsafe { &*messenger.cast_const().cast::<M>() };
    let buffer: *mut u8 = buffer.cast();
    let result = if send {
        // SAFETY: The caller promises such a buffer.
        let message = unsafe { slice::from_raw_parts(buffer, len) };
        messenger.send(protocol, specific, message)
    } else {
        // SAFETY: The caller promises such a buffer.
        let message = unsafe { slice::from_raw_parts_mut(buffer, len) };
        messenger.receive(protocol, specific, message)
    };
    match result {
        Ok(status) => status.into(),
        Err(error) => error.to_errno(),
    }
}
