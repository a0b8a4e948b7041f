// SPDX-License-Identifier: GPL-2.0

//! Character devices below the device that a driver is bound to, in a class of the driver's own.
//!
//! The in-tree [`miscdevice`](kernel::miscdevice) has static names, no parent and no class of its
//! own. A file may stay open when the device is unbound: calls that need the device fail with `ENODEV`
//! from then on.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/device/class.h`](srctree/include/linux/device/class.h)

// A driver uses only a part of this.
#![allow(dead_code, unreachable_pub)]

use super::{
    atomic::gate::Gate,
    dma,
    io_uring::{
        self,
        Answer,
        UringCmd,
        FMODE_WRITE, //
    },
    sync::Global,
    sysfs::{
        self,
        DeviceFiles,
        Table, //
    },
};
use crate::abstractions::series::EOPNOTSUPP;
use core::{
    cell::UnsafeCell,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    device::{
        self,
        Bound, //
    },
    devres::Devres,
    error::{
        from_err_ptr,
        to_result, //
    },
    fmt,
    new_mutex,
    prelude::*,
    str::CString,
    sync::{
        aref::ARef,
        Arc,
        Completion,
        Mutex, //
    },
    uaccess::UserPtr, //
};

/// Whether the calling task has `CAP_SYS_ADMIN`. If it has, the kernel notes that the task used it.
///
/// # Examples
///
/// ```
/// use abstractions::chrdev::is_admin;
///
/// fn reset() -> Result {
///     if !is_admin() {
///         return Err(EACCES);
///     }
///     Ok(())
/// }
///
/// // A kernel thread has all capabilities.
/// reset()?;
/// ```
pub fn is_admin() -> bool {
    // SAFETY: The function has no requirements.
    unsafe { bindings::capable(bindings::CAP_SYS_ADMIN as c_int) }
}

/// A call of `ioctl()` on an open file.
///
/// # Examples
///
/// ```
/// use abstractions::chrdev::Ioctl;
/// use kernel::uaccess::UserSlice;
///
/// /// Writes a number to an address that a structure in user space contains, as 64 bits.
/// fn answer(call: &Ioctl, address: u64, number: u32) -> Result<isize> {
///     if !call.writable {
///         return Err(EBADF);
///     }
///     UserSlice::new(call.pointer(address), 4).writer().write(&number)?;
///     Ok(0)
/// }
///
/// let call = Ioctl { number: 0x4e40, arg: 0, writable: false, compat: true };
/// assert_eq!(answer(&call, call.arg as u64, 7), Err(EBADF));
/// // The upper bits of a 32-bit process's address don't count.
/// assert_eq!(call.pointer(0xdead_beef_0000_1000).as_const_ptr() as usize, 0x1000);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Ioctl {
    /// The number of the call.
    pub number: u32,
    /// The argument of the call.
    pub arg: usize,
    /// The file was opened for writing.
    pub writable: bool,
    /// A 32-bit process calls a 64-bit kernel.
    pub compat: bool,
}

impl Ioctl {
    /// The address in user space that user space wrote as 64 bits. A 32-bit process may leave the
    /// upper bits uninitialised.
    pub fn pointer(&self, address: u64) -> UserPtr {
        io_uring::user_pointer(address, self.compat)
    }
}

/// A driver's answer to a command that user space sends to a device by io_uring. The device may have
/// been removed, see [`CharDevice::with`].
///
/// # Examples
///
/// ```no_run
/// use abstractions::chrdev::UringCmds;
///
/// /// A driver whose devices have one command, without a result.
/// fn one<T>() -> UringCmds<T> {
///     |_device, cmd| match cmd.op() {
///         0x4e41 => Ok(cmd.finish(0, 0)),
///         _ => Err(cmd.refuse(ENOTTY)),
///     }
/// }
/// ```
pub type UringCmds<T> = for<'a> fn(&CharDevice<T>, UringCmd<'a>) -> Answer<'a>;

/// A driver's data of a device, and the calls that user space makes on it.
///
/// All calls run in the context of a task of user space, possibly several at once. They may sleep.
///
/// # Examples
///
/// ```
/// use abstractions::{
///     chrdev::{CharDevice, Class, Ioctl, Operations, Registration, UringCmds},
///     sysfs::{Attribute, Table},
/// };
/// use kernel::sync::Arc;
///
/// static NUMBERS: Class<Number> = Class::new();
///
/// struct Number(u32);
///
/// impl Operations for Number {
///     type Module = crate::LocalModule;
///     const VARIABLES: &'static [&'static CStr] = &[c"KIND=number"];
///
///     fn class() -> &'static Class<Self> {
///         &NUMBERS
///     }
///
///     fn open(&self) -> Result {
///         Ok(())
///     }
///
///     const URING_CMD: Option<UringCmds<Self>> = Some(|device, cmd| match cmd.op() {
///         0x4e40 => device.with_command(cmd, |number, cmd| Ok(cmd.finish(0, number.0.into()))),
///         _ => Err(cmd.refuse(ENOTTY)),
///     });
///
///     fn ioctl(device: &CharDevice<Self>, call: &Ioctl) -> Result<isize> {
///         match call.number {
///             0x4e40 => device.with(|number, _dev| Ok(number.0 as isize)),
///             _ => Err(ENOTTY),
///         }
///     }
/// }
///
/// // When the module is loaded; it keeps `class`.
/// let class = NUMBERS.register(c"numbers")?;
///
/// // When the driver is bound: /dev/number7, with a file in its directory in sysfs.
/// static HALF: &[Attribute<u32>] = &[Attribute::ro(c"half", |n, out| writeln!(out, "{}", n / 2))];
/// static FILES: &[Table<u32>] = &[Table::new(HALF)];
/// let half = Arc::new(7, GFP_KERNEL)?;
/// let number = Registration::new(dev, fmt!("number{}", 7), Number(7), FILES, half)?;
/// assert_eq!(number.device().with(|number, _dev| Ok(number.0))?, 7);
/// ```
pub trait Operations: Sized + Send + Sync + 'static {
    /// The module, which isn't unloaded while a file is open.
    type Module: kernel::ModuleMetadata;

    /// Variables of the device's events for udev, each of the form `NAME=value`.
    const VARIABLES: &'static [&'static CStr] = &[];

    /// Answers a command of io_uring, if the devices have such commands. Process context.
    const URING_CMD: Option<UringCmds<Self>> = None;

    /// User space may poll for the end of such a command, if a request carries it out.
    const POLLED: bool = false;

    /// The class of the devices: a static.
    fn class() -> &'static Class<Self>;

    /// User space opens the device.
    ///
    /// # Errors
    ///
    /// The error that `open()` returns.
    fn open(&self) -> Result {
        Ok(())
    }

    /// User space calls `ioctl()`. Returns the result of the call, 0 or more. The device may have
    /// been removed, see [`CharDevice::with`].
    ///
    /// # Errors
    ///
    /// The error of the call: `ENOTTY` for an unknown number.
    fn ioctl(device: &CharDevice<Self>, call: &Ioctl) -> Result<isize>;
}

/// The number of devices of a class.
const MINORS: u32 = 1 << bindings::MINORBITS;

/// A class of devices, in a static: its directory in `/sys/class`, and a range of device numbers.
///
/// # Examples
///
/// See [`Operations`].
///
/// ```
/// use abstractions::chrdev::{Class, ClassRegistration};
/// # my_device!(DEVICES);
///
/// static DEVICES: Class<MyDevice> = Class::new();
///
/// // When the module is loaded: creates /sys/class/my_class.
/// let class: ClassRegistration<MyDevice> = DEVICES.register(c"my_class")?;
/// ```
pub struct Class<T: Operations>(Global<Option<Arc<Shared<T>>>>);

impl<T: Operations> Class<T> {
    /// A class that isn't registered.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self(Global::new())
    }

    /// Registers the class, when the module is loaded.
    ///
    /// # Errors
    ///
    /// `EEXIST` if there is a class of this name, `EBUSY` if no range of device numbers is free,
    /// `ENOMEM`.
    pub fn register(&'static self, name: &'static CStr) -> Result<ClassRegistration<T>> {
        let shared = Arc::pin_init(Shared::new(name), GFP_KERNEL)?;

        self.0.init(None);
        *self.0.get().ok_or(EINVAL)?.lock() = Some(shared);
        Ok(ClassRegistration(self))
    }

    fn shared(&'static self) -> Result<Arc<Shared<T>>> {
        self.0.get().ok_or(ENODEV)?.lock().clone().ok_or(ENODEV)
    }
}

/// A registered class. Dropping this removes the class, once it has no device left.
///
/// # Examples
///
/// ```
/// use abstractions::chrdev::{Class, ClassRegistration, Registration};
/// use kernel::sync::Arc;
/// # my_device!(DEVICES);
/// # static DEVICES: Class<MyDevice> = Class::new();
///
/// /// The module's data; its driver has been unregistered before the class is.
/// struct MyModule {
///     class: ClassRegistration<MyDevice>,
/// }
///
/// let module = MyModule { class: DEVICES.register(c"my_class")? };
/// drop(module);
/// // A device needs a registered class.
/// let files = Arc::new((), GFP_KERNEL)?;
/// assert!(Registration::new(dev, fmt!("my0"), MyDevice(7), &[], files).is_err());
/// ```
pub struct ClassRegistration<T: Operations>(&'static Class<T>);

impl<T: Operations> Drop for ClassRegistration<T> {
    fn drop(&mut self) {
        let shared = self.0 .0.get().and_then(|shared| shared.lock().take());
        drop(shared);
    }
}

/// The registered parts of a class.
///
/// # Invariants
///
/// `class` is registered, and so is the range of device numbers with the major number `major`.
/// Element `i` of `table` is the device with the minor number `i`.
#[pin_data(PinnedDrop)]
struct Shared<T: Operations> {
    class: NonNull<bindings::class>,
    major: u32,
    name: &'static CStr,
    #[pin]
    table: Mutex<KVec<Option<Arc<CharDevice<T>>>>>,
}

// SAFETY: A class has no affinity to a thread; the devices' data are `Send` and `Sync`.
unsafe impl<T: Operations> Send for Shared<T> {}

// SAFETY: The class and the numbers don't change, and a lock protects the table.
unsafe impl<T: Operations> Sync for Shared<T> {}

impl<T: Operations> Shared<T> {
    const FOPS: &'static bindings::file_operations = &bindings::file_operations {
        owner: crate::abstractions::series::owner!(T::Module),
        open: Some(open::<T>),
        release: Some(release::<T>),
        unlocked_ioctl: Some(ioctl::<T>),
        #[cfg(CONFIG_COMPAT)]
        compat_ioctl: Some(compat_ioctl::<T>),
        uring_cmd: match T::URING_CMD {
            Some(_) => Some(uring_cmd::<T>),
            None => None,
        },
        uring_cmd_iopoll: match T::POLLED {
            true => Some(io_uring::poll),
            false => None,
        },
        // SAFETY: All-zero is a valid value: null pointers and no functions.
        ..unsafe { core::mem::zeroed() }
    };

    fn new(name: &'static CStr) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            class: {
                // SAFETY: The name ends with a null, and is static. No device has the class yet, so
                // its callback may be set.
                unsafe {
                    let class = from_err_ptr(bindings::class_create(name.as_char_ptr()))?;
                    (*class).dev_uevent = Some(uevent::<T>);
                    NonNull::new(class).ok_or(ENOMEM)?
                }
            },
            // INVARIANT: Both are registered here.
            major: Self::register_numbers(name).inspect_err(|_| {
                // SAFETY: The class was created above, and no device has it.
                unsafe { bindings::class_destroy(class.as_ptr()) }
            })?,
            name,
            table <- new_mutex!(KVec::new()),
        }? Error)
    }

    /// Registers a range of device numbers, and returns its major number.
    fn register_numbers(name: &'static CStr) -> Result<u32> {
        // SAFETY: The name and the functions are static, and the module isn't unloaded while a file
        // is open.
        let major =
            unsafe { bindings::__register_chrdev(0, 0, MINORS, name.as_char_ptr(), Self::FOPS) };
        to_result(major.min(0))?;
        Ok(major as u32)
    }

    /// Puts a device into the table; returns its minor number.
    fn add(&self, inner: Arc<CharDevice<T>>) -> Result<usize> {
        let mut table = self.table.lock();
        let minor = table.iter().position(|entry| entry.is_none());
        let minor = minor.unwrap_or(table.len());
        if minor >= MINORS as usize {
            return Err(ENOSPC);
        }
        match table.get_mut(minor) {
            Some(entry) => *entry = Some(inner),
            None => table.push(Some(inner), GFP_KERNEL)?,
        }
        Ok(minor)
    }

    /// Takes a device out of the table, which frees its minor number.
    fn remove(&self, minor: usize) {
        let removed = self
            .table
            .lock()
            .get_mut(minor)
            .and_then(|entry| entry.take());
        drop(removed);
    }
}

#[pinned_drop]
impl<T: Operations> PinnedDrop for Shared<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariants both are registered. No device has the class, because each
        // holds a reference to this value.
        unsafe {
            bindings::__unregister_chrdev(self.major, 0, MINORS, self.name.as_char_ptr());
            bindings::class_destroy(self.class.as_ptr());
        }
    }
}

/// A device, as its open files see it, which may outlive it.
///
/// # Invariants
///
/// - `bound` is bound while a context is inside the gate.
/// - Until the gate is closed, and no context is inside, there are `data`, and nothing changes them.
///
/// # Examples
///
/// ```
/// use abstractions::chrdev::{CharDevice, Class, Registration};
/// use kernel::sync::Arc;
/// # my_device!(DEVICES);
/// # static DEVICES: Class<MyDevice> = Class::new();
/// # let class = DEVICES.register(c"my_class")?;
///
/// let files = Arc::new((), GFP_KERNEL)?;
/// let registration = Registration::new(dev, fmt!("my0"), MyDevice(7), &[], files)?;
/// let device: Arc<CharDevice<MyDevice>> = registration.device();
/// assert_eq!(device.with(|data, _dev| Ok(data.0))?, 7);
/// device.uevent_change(&[c"MY_EVENT=connected"])?;
///
/// // An open file may outlive the device; its calls fail then.
/// drop(registration);
/// assert_eq!(device.with(|data, _dev| Ok(data.0)), Err(ENODEV));
/// ```
#[pin_data]
pub struct CharDevice<T> {
    gate: Gate,
    /// The gate is closed, and no context is inside.
    #[pin]
    empty: Completion,
    /// The device of the driver that this one is below.
    bound: ARef<device::Device>,
    /// The device itself.
    as_parent: Parent,
    /// `None` after the device was removed: an open file doesn't keep the driver's data.
    data: UnsafeCell<Option<T>>,
}

// SAFETY: All fields are `Send`, if the data are.
unsafe impl<T: Send> Send for CharDevice<T> {}

// SAFETY: The gate, the completion and the devices are `Sync`. Contexts inside the gate share the data,
// which are `Sync`. The context that removes the device takes them, when none is inside.
unsafe impl<T: Send + Sync> Sync for CharDevice<T> {}

impl<T> CharDevice<T> {
    /// Calls `f` with the driver's data, and the bound device that this one is below, unless the device was
    /// removed. Removing the device, as unbinding the driver does, waits for the end of `f`, so the driver
    /// must end what `f` waits for.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the device was removed, and those of `f`.
    pub fn with<R>(&self, f: impl FnOnce(&T, &device::Device<Bound>) -> Result<R>) -> Result<R> {
        self.inside(|inside| match inside {
            Some((data, bound)) => f(data, bound),
            None => Err(ENODEV),
        })
    }

    /// As [`with`](Self::with), for a command of io_uring, which is refused with `ENODEV` if the device was
    /// removed.
    ///
    /// # Errors
    ///
    /// The refusal, by this or by `f`.
    #[inline(always)]
    pub fn with_command<'a>(
        &self,
        cmd: UringCmd<'a>,
        f: impl FnOnce(&T, UringCmd<'a>) -> Answer<'a>,
    ) -> Answer<'a> {
        self.inside(|inside| match inside {
            Some((data, _)) => f(data, cmd),
            None => Err(cmd.refuse(ENODEV)),
        })
    }

    /// Calls `f` with the data and the bound device, or with nothing if the device was removed.
    #[inline(always)]
    fn inside<R>(&self, f: impl FnOnce(Option<(&T, &device::Device<Bound>)>) -> R) -> R {
        if !self.gate.enter() {
            return f(None);
        }
        // SAFETY: By the type invariants `bound` is bound and nothing changes the data, because this
        // context is inside the gate until `f` has returned.
        let (data, bound) = unsafe { (&*self.data.get(), self.bound.as_bound()) };
        let result = f(data.as_ref().map(|data| (data, bound)));
        if self.gate.leave() {
            self.empty.complete_all();
        }
        result
    }

    /// Sends a `change` event for the device to user space, as [`sysfs::uevent_change`] does for a
    /// bound device. May sleep.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the device was removed, and those of [`sysfs::uevent_change`].
    pub fn uevent_change(&self, environment: &[&CStr]) -> Result {
        self.with(|_, _| {
            let registered = self.as_parent.registered()?;
            // SAFETY: The device is registered, so its object is in sysfs until this returns.
            unsafe { sysfs::change(&raw mut (*registered.device.as_ptr()).kobj, environment) }
        })
    }

    /// The device as the parent of disks and other devices.
    pub fn as_parent(&self) -> Parent {
        self.as_parent.clone()
    }
}

/// A device as the parent of disks and devices in sysfs, see
/// [`GenDiskBuilder::add_below`](super::block::mq::GenDiskBuilder::add_below) and
/// [`Registration::new_below`]. This doesn't keep the device; what is below it does.
///
/// # Examples
///
/// ```
/// use abstractions::chrdev::{CharDevice, Class, Parent, Registration};
/// use kernel::sync::Arc;
/// # my_device!(DEVICES);
/// # static DEVICES: Class<MyDevice> = Class::new();
/// # let class = DEVICES.register(c"my_class")?;
///
/// let shown = Arc::new((), GFP_KERNEL)?;
/// let registration = Registration::new(dev, fmt!("my0"), MyDevice(7), &[], shown)?;
/// let device: Arc<CharDevice<MyDevice>> = registration.device();
/// let parent: Parent = device.as_parent();
/// ```
#[derive(Clone)]
pub struct Parent(Arc<Mutex<Option<Arc<Registered>>>>);

impl Parent {
    fn new() -> Result<Self> {
        Ok(Self(Arc::pin_init(new_mutex!(None), GFP_KERNEL)?))
    }

    /// The registered device. The caller drops the result before the driver is unbound.
    ///
    /// # Errors
    ///
    /// `ENODEV` before the device is registered, and after it was removed.
    fn registered(&self) -> Result<Arc<Registered>> {
        self.0.lock().clone().ok_or(ENODEV)
    }

    /// The registered device, which is below `dev`. The caller drops the result before `dev` is unbound,
    /// or has `Devres` do so.
    ///
    /// # Errors
    ///
    /// Those of [`registered`](Self::registered), and `EINVAL` if it isn't below `dev`.
    pub(super) fn below(&self, dev: &device::Device<Bound>) -> Result<Arc<Registered>> {
        let registered = self.0.lock();
        let registered = registered.as_ref().ok_or(ENODEV)?;
        // Under the lock: a reference to the device of another driver could outlive that driver.
        match dma::raw(&*registered.bound) == dma::raw(dev) {
            true => Ok(registered.clone()),
            false => Err(EINVAL),
        }
    }
}

/// A registered device, with its number and files. Dropping this removes it.
///
/// # Invariants
///
/// `device` is registered, below the device `bound`.
pub(super) struct Registered {
    device: NonNull<bindings::device>,
    bound: ARef<device::Device>,
    /// Dropped after the device, which shows them.
    _files: DeviceFiles,
    /// The device between this one and `bound`, if there is one. Dropped after this device, which is
    /// below it.
    between: Option<Arc<Registered>>,
    /// Only then may a new device have the number: until the device is removed, its link is in
    /// `/sys/dev/char`.
    _number: KBox<dyn Send + Sync>,
}

// SAFETY: A device has no affinity to a thread.
unsafe impl Send for Registered {}

// SAFETY: A shared reference only gives the device's address away.
unsafe impl Sync for Registered {}

impl Registered {
    /// The device, which is registered while `self` exists.
    pub(super) fn raw(&self) -> *mut bindings::device {
        self.device.as_ptr()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the device is registered; this is done once. The kernel frees
        // it, without calling into this module.
        unsafe { bindings::device_unregister(self.device.as_ptr()) };
    }
}

/// The number of a device. Dropping this frees it.
struct Number<T: Operations> {
    shared: Arc<Shared<T>>,
    minor: usize,
}

impl<T: Operations> Drop for Number<T> {
    fn drop(&mut self) {
        self.shared.remove(self.minor);
    }
}

impl<T: Operations> CharDevice<T> {
    /// A call on an open file.
    ///
    /// # Safety
    ///
    /// `file` must be a file that [`open`] has opened for a device of `T`, and that isn't released
    /// before this returns.
    unsafe fn call(
        file: *mut bindings::file,
        number: c_uint,
        arg: c_ulong,
        compat: bool,
    ) -> c_long {
        // SAFETY: The caller promises that the file is open; `open` has stored a pointer that owns a
        // reference, which `release` drops.
        let (inner, mode) = unsafe {
            (
                &*(*file).private_data.cast_const().cast::<Self>(),
                (*file).f_mode,
            )
        };
        let call = Ioctl {
            number,
            arg,
            writable: mode & FMODE_WRITE != 0,
            compat,
        };
        match T::ioctl(inner, &call) {
            Ok(result) => result as c_long,
            Err(error) => error.to_errno() as c_long,
        }
    }
}

/// Adds the variables of a device to its events.
///
/// # Safety
///
/// The driver core calls this, with an environment to fill.
unsafe extern "C" fn uevent<T: Operations>(
    _dev: *const bindings::device,
    env: *mut bindings::kobj_uevent_env,
) -> c_int {
    for variable in T::VARIABLES {
        // SAFETY: The caller promises a valid environment; the format takes one string, which ends
        // with a null.
        let result =
            unsafe { bindings::add_uevent_var(env, c"%s".as_char_ptr(), variable.as_char_ptr()) };
        if result != 0 {
            return result;
        }
    }
    0
}

/// Opens a device.
///
/// # Safety
///
/// The kernel calls this, with the inode of a device of `T`, and a file that is being opened.
unsafe extern "C" fn open<T: Operations>(
    inode: *mut bindings::inode,
    file: *mut bindings::file,
) -> c_int {
    // SAFETY: The caller promises a valid inode.
    let minor = unsafe { (*inode).i_rdev } & bindings::MINORMASK;
    let inner = T::class()
        .shared()
        .ok()
        .and_then(|shared| shared.table.lock().get(minor as usize).cloned().flatten());
    let Some(inner) = inner else {
        return ENXIO.to_errno();
    };
    match inner.with(|data, _| data.open()) {
        Ok(()) => {
            // SAFETY: The file is being opened, so no other context uses it.
            unsafe { (*file).private_data = Arc::into_raw(inner).cast_mut().cast() };
            0
        }
        Err(error) => error.to_errno(),
    }
}

/// The last user of a file has closed it.
///
/// # Safety
///
/// The kernel calls this once, with a file that [`open`] has opened.
unsafe extern "C" fn release<T: Operations>(
    _inode: *mut bindings::inode,
    file: *mut bindings::file,
) -> c_int {
    // SAFETY: `open` has stored a pointer that owns a reference, and no other context uses the file.
    drop(unsafe { Arc::from_raw((*file).private_data.cast_const().cast::<CharDevice<T>>()) });
    0
}

/// `ioctl()` on a file.
///
/// # Safety
///
/// The kernel calls this, with a file that [`open`] has opened.
unsafe extern "C" fn ioctl<T: Operations>(
    file: *mut bindings::file,
    number: c_uint,
    arg: c_ulong,
) -> c_long {
    // SAFETY: The caller promises that the file is open, and keeps it open.
    unsafe { CharDevice::<T>::call(file, number, arg, false) }
}

/// `ioctl()` of a 32-bit process.
///
/// # Safety
///
/// The kernel calls this, with a file that [`open`] has opened.
#[cfg(CONFIG_COMPAT)]
unsafe extern "C" fn compat_ioctl<T: Operations>(
    file: *mut bindings::file,
    number: c_uint,
    arg: c_ulong,
) -> c_long {
    // SAFETY: The caller promises that the file is open, and keeps it open.
    unsafe { CharDevice::<T>::call(file, number, arg, true) }
}

/// A command of io_uring on a file: `file_operations.uring_cmd`.
///
/// # Safety
///
/// io_uring calls this, with a command that it issues with `issue_flags` on a file that [`open`] has
/// opened, and that the command keeps open.
unsafe extern "C" fn uring_cmd<T: Operations>(
    cmd: *mut bindings::io_uring_cmd,
    issue_flags: c_uint,
) -> c_int {
    let (Some(uring_cmd), Some(cmd)) = (T::URING_CMD, NonNull::new(cmd)) else {
        return EOPNOTSUPP.to_errno();
    };
    // SAFETY: By the safety requirements the command is being issued, by this call.
    let cmd = unsafe { UringCmd::new(cmd, issue_flags) };
    // SAFETY: The command keeps the file open; `open` has stored a pointer that owns a reference, which
    // `release` drops.
    let device = unsafe {
        &*(*cmd.file())
            .private_data
            .cast_const()
            .cast::<CharDevice<T>>()
    };
    io_uring::errno(uring_cmd(device, cmd))
}

/// When dropped, removes a device, waits for running calls of [`CharDevice::with`], and drops the
/// driver's data.
struct Remove<T: Operations>(Arc<CharDevice<T>>);

impl<T: Operations> Drop for Remove<T> {
    fn drop(&mut self) {
        let Self(inner) = self;
        // From now on the device can't be opened.
        if inner.gate.close() {
            inner.empty.wait_for_completion();
        }
        // Without the lock, because this waits for readers of the device's files.
        let registered = inner.as_parent.0.lock().take();
        drop(registered);
        // SAFETY: The gate is closed, and no context is inside, so only this context uses the data.
        drop(unsafe { (*inner.data.get()).take() });
    }
}

/// A device: its node in `/dev`, and its directory in the class and below its parent.
///
/// Dropping this removes both, waits for running calls of [`CharDevice::with`], and drops the driver's
/// data; later calls fail with `ENODEV`. Unbinding the driver removes a device that was leaked. If there
/// are disks or devices below the device, node and directory stay until these are removed.
///
/// # Examples
///
/// See [`Operations`].
///
/// ```
/// use abstractions::chrdev::{Class, Registration};
/// use kernel::sync::Arc;
/// # my_device!(DEVICES);
/// # static DEVICES: Class<MyDevice> = Class::new();
/// # let class = DEVICES.register(c"my_class")?;
///
/// /// The driver's data of a bound device.
/// struct Data {
///     device: Registration<MyDevice>,
/// }
///
/// // Creates /dev/my0, without files in sysfs.
/// let files = Arc::new((), GFP_KERNEL)?;
/// let device = Registration::new(dev, fmt!("my{}", 0), MyDevice(7), &[], files)?;
/// let data = Data { device };
/// assert!(data.device.device().with(|_data, _dev| Ok(())).is_ok());
/// ```
pub struct Registration<T: Operations> {
    _remove: Devres<Remove<T>>,
    inner: Arc<CharDevice<T>>,
}

impl<T: Operations> Registration<T> {
    /// Creates the device `name` below `parent`, with the files of `tables` in sysfs, which show
    /// `shown`. The files are there before the device's `add` event. May sleep.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the class isn't registered, `EEXIST` if it has a device of this name (the kernel
    /// logs it), `ENOSPC` for too many devices, `ENOMEM`.
    pub fn new<S: Send + Sync + 'static>(
        parent: &device::Device<Bound>,
        name: fmt::Arguments<'_>,
        data: T,
        tables: &'static [Table<S>],
        shown: Arc<S>,
    ) -> Result<Self> {
        Self::create(parent, None, name, data, tables, shown)
    }

    /// As [`new`](Self::new), below the character device `parent`, which is directly below `dev`.
    ///
    /// `parent` stays in sysfs until this device is removed. The removal of this device waits for readers
    /// and writers of its own files and of `parent`'s, so no function of these files may drop this device.
    ///
    /// # Errors
    ///
    /// `ENODEV` if `parent` was removed, `EINVAL` if it isn't directly below `dev`, and those of
    /// [`new`](Self::new); `EEXIST` also if `parent` has a file of this name.
    ///
    /// # Examples
    ///
    /// ```
    /// use abstractions::chrdev::{Class, Registration};
    /// use kernel::sync::Arc;
    /// # my_device!(DEVICES);
    /// # static DEVICES: Class<MyDevice> = Class::new();
    /// # let class = DEVICES.register(c"my_class")?;
    ///
    /// let shown = Arc::new((), GFP_KERNEL)?;
    /// let upper = Registration::new(dev, fmt!("my0"), MyDevice(7), &[], shown.clone())?;
    /// let parent = upper.device().as_parent();
    /// // /sys/class/my_class/my0/part0
    /// let part =
    ///     Registration::new_below(dev, &parent, fmt!("part0"), MyDevice(8), &[], shown.clone())?;
    /// assert_eq!(part.device().with(|data, _dev| Ok(data.0))?, 8);
    ///
    /// // A device that was removed can be no parent, although its directory stays until `part` is gone.
    /// drop(upper);
    /// let late =
    ///     Registration::new_below(dev, &parent, fmt!("part1"), MyDevice(9), &[], shown.clone());
    /// assert_eq!(late.err(), Some(ENODEV));
    ///
    /// // There is only one device between.
    /// let parent = part.device().as_parent();
    /// let deep = Registration::new_below(dev, &parent, fmt!("part2"), MyDevice(9), &[], shown);
    /// assert_eq!(deep.err(), Some(EINVAL));
    /// ```
    pub fn new_below<S: Send + Sync + 'static>(
        dev: &device::Device<Bound>,
        parent: &Parent,
        name: fmt::Arguments<'_>,
        data: T,
        tables: &'static [Table<S>],
        shown: Arc<S>,
    ) -> Result<Self> {
        let between = parent.below(dev)?;
        // So that dropping the last of many doesn't drop one in another without end.
        if between.between.is_some() {
            return Err(EINVAL);
        }
        Self::create(dev, Some(between), name, data, tables, shown)
    }

    /// Creates the device below `between`, which is below `bound`, or else below `bound`.
    fn create<S: Send + Sync + 'static>(
        bound: &device::Device<Bound>,
        between: Option<Arc<Registered>>,
        name: fmt::Arguments<'_>,
        data: T,
        tables: &'static [Table<S>],
        shown: Arc<S>,
    ) -> Result<Self> {
        let name = CString::try_from_fmt(name)?;
        let shared = T::class().shared()?;
        let inner = Arc::pin_init(
            try_pin_init!(CharDevice {
                gate: Gate::new(),
                empty <- Completion::new(),
                bound: bound.into(),
                as_parent: Parent::new()?,
                data: UnsafeCell::new(Some(data)),
            }? Error),
            GFP_KERNEL,
        )?;
        // INVARIANT: `Devres` drops this value before `bound` is unbound, which closes the gate and
        // waits.
        let remove = Remove(inner.clone());
        let files = DeviceFiles::new(tables, &shown)?;
        let number = Number {
            minor: shared.add(inner.clone())?,
            shared: shared.clone(),
        };
        let minor = number.minor as u32;
        let number = KBox::new(number, GFP_KERNEL)?;
        let parent = match &between {
            Some(between) => between.raw(),
            None => dma::raw(bound),
        };
        // SAFETY: By the invariants of `Shared` the class and the number are registered; no other
        // device has this number while it is in the table. The parent is valid: it is bound, or
        // `between` keeps it registered. The groups live until the device is unregistered. The format
        // takes one string.
        let device = from_err_ptr(unsafe {
            bindings::device_create_with_groups(
                shared.class.as_ptr(),
                parent,
                shared.major << bindings::MINORBITS | minor,
                core::ptr::null_mut(),
                files.groups(),
                c"%s".as_char_ptr(),
                name.as_char_ptr(),
            )
        })?;
        // INVARIANT: It was registered above.
        let registered = Registered {
            device: NonNull::new(device).ok_or(ENOMEM)?,
            bound: bound.into(),
            _files: files,
            between,
            _number: number,
        };
        let registered = Arc::new(registered, GFP_KERNEL)?;
        *inner.as_parent.0.lock() = Some(registered);
        // If this fails, it drops `remove`.
        Ok(Self {
            _remove: Devres::new(bound, Ok::<_, Error>(remove))?,
            inner,
        })
    }

    /// The device, as its open files see it.
    pub fn device(&self) -> Arc<CharDevice<T>> {
        self.inner.clone()
    }
}
