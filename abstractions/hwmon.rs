// SPDX-License-Identifier: GPL-2.0

//! Temperature sensors of a device, as the tools of lm-sensors show them.
//!
//! In a kernel without hwmon, nothing is registered: see [`AVAILABLE`].
//!
//! C header: [`include/linux/hwmon.h`](srctree/include/linux/hwmon.h)

// A driver uses only a part of this.
#![allow(dead_code, unreachable_pub)]

use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::{
    bindings,
    device::{
        self,
        Bound, //
    },
    devres::Devres,
    error::from_err_ptr,
    prelude::*,
    sync::Arc, //
};

/// Whether the kernel has hwmon, so that this module can use it: `IS_REACHABLE(CONFIG_HWMON)`.
///
/// # Examples
///
/// ```
/// use abstractions::hwmon;
///
/// if !hwmon::AVAILABLE {
///     pr_info!("no temperatures\n");
/// }
/// ```
pub const AVAILABLE: bool = cfg!(any(CONFIG_HWMON = "y", all(CONFIG_HWMON = "m", MODULE)));

/// The maximum number of a device's sensors.
const MAX_SENSORS: usize = 16;

/// A file of a sensor, beside its label. The values are those of `enum hwmon_temp_attributes`,
/// which `check.c` compares.
///
/// # Examples
///
/// ```
/// use abstractions::hwmon::File;
///
/// fn is_limit(file: File) -> bool {
///     matches!(file, File::Min | File::Max | File::Crit)
/// }
///
/// assert!(!is_limit(File::Input));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum File {
    /// The temperature (`temp1_input`).
    Input = 1,
    /// The lowest temperature that is normal (`temp1_min`).
    Min = 5,
    /// The highest temperature that is normal (`temp1_max`).
    Max = 7,
    /// The critical temperature (`temp1_crit`).
    Crit = 9,
    /// 1 if the device reports an alarm, else 0 (`temp1_alarm`).
    Alarm = 13,
}

/// `hwmon_temp_label`.
const LABEL: u32 = 21;

impl File {
    const ALL: [Self; 5] = [Self::Input, Self::Min, Self::Max, Self::Crit, Self::Alarm];

    /// The file with this value in C.
    fn of(attr: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|file| *file as u32 == attr)
    }
}

/// What user space may do with a file.
///
/// # Examples
///
/// ```
/// use abstractions::hwmon::{Access, File};
///
/// /// A sensor whose limits can't be changed.
/// fn access(file: File) -> Access {
///     match file {
///         File::Input | File::Crit => Access::Read,
///         _ => Access::None,
///     }
/// }
///
/// assert_eq!(access(File::Max), Access::None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The file doesn't exist.
    None,
    /// All users may read it.
    Read,
    /// All users may read it, and root may write it.
    ReadWrite,
}

impl Access {
    fn mode(self) -> bindings::umode_t {
        match self {
            Self::None => 0,
            Self::Read => 0o444,
            Self::ReadWrite => 0o644,
        }
    }
}

/// A device's temperature sensors, numbered from 0.
///
/// Temperatures are in thousandths of a degree Celsius. [`read`](Self::read) and
/// [`write`](Self::write) run in the process context of the reader or writer, one at a time, and
/// may sleep. They must neither drop the [`Registration`], which waits for them, nor take the lock
/// of a device.
///
/// # Examples
///
/// ```
/// use abstractions::hwmon::{Access, File, Registration, Thermometers};
/// use kernel::{
///     device::{Bound, Device},
///     sync::{
///         atomic::{Atomic, Relaxed},
///         Arc,
///     },
/// };
///
/// struct Fan {
///     limit: Atomic<i32>,
/// }
///
/// impl Thermometers for Fan {
///     const NAME: &'static CStr = c"fan";
///     const LABELS: &'static [&'static CStr] = &[c"Motor"];
///
///     fn access(&self, file: File, _sensor: usize) -> Access {
///         match file {
///             File::Input => Access::Read,
///             File::Max => Access::ReadWrite,
///             _ => Access::None,
///         }
///     }
///
///     fn read(&self, _dev: &Device<Bound>, file: File, _sensor: usize) -> Result<i32> {
///         Ok(match file {
///             File::Input => 41_500,
///             _ => self.limit.load(Relaxed),
///         })
///     }
///
///     fn write(&self, _dev: &Device<Bound>, _: File, _sensor: usize, value: i64) -> Result {
///         self.limit.store(value.clamp(0, 90_000) as i32, Relaxed);
///         Ok(())
///     }
/// }
///
/// let fan = Arc::new(Fan { limit: Atomic::new(80_000) }, GFP_KERNEL)?;
/// let sensors = Registration::new(dev, fan);
/// ```
pub trait Thermometers: Send + Sync + 'static {
    /// The kind of chip or device, for user space: without white space, `-` and `*`.
    const NAME: &'static CStr;

    /// The labels of the sensors: 16 at most.
    const LABELS: &'static [&'static CStr];

    /// What user space may do with a file. A sensor without [`File::Input`] has no label.
    fn access(&self, file: File, sensor: usize) -> Access;

    /// Reads a file. `dev` is the device of the registration.
    ///
    /// # Errors
    ///
    /// The reader gets the error.
    fn read(&self, dev: &device::Device<Bound>, file: File, sensor: usize) -> Result<i32>;

    /// Writes a file: any value may come from user space. `dev` is the device of the registration.
    ///
    /// # Errors
    ///
    /// The writer gets the error.
    fn write(&self, dev: &device::Device<Bound>, file: File, sensor: usize, value: i64) -> Result;
}

/// `enum hwmon_sensor_types`: temperatures.
const TEMPERATURE: c_uint = 1;

/// `struct hwmon_ops`. `check.c` compares this and the next structures with the kernel's.
#[repr(C)]
struct Ops {
    visible: bindings::umode_t,
    is_visible: unsafe extern "C" fn(*const c_void, c_uint, u32, c_int) -> bindings::umode_t,
    read: unsafe extern "C" fn(*mut bindings::device, c_uint, u32, c_int, *mut c_long) -> c_int,
    read_string: unsafe extern "C" fn(
        *mut bindings::device,
        c_uint,
        u32,
        c_int,
        *mut *const c_char,
    ) -> c_int,
    write: unsafe extern "C" fn(*mut bindings::device, c_uint, u32, c_int, c_long) -> c_int,
}

/// `struct hwmon_channel_info`.
#[repr(C)]
struct Channels {
    kind: c_uint,
    config: *const u32,
}

/// `struct hwmon_chip_info`.
#[repr(C)]
struct ChipInfo {
    ops: *const Ops,
    info: *const *const Channels,
}

/// The functions of hwmon. Not in `kernel::bindings`; `check.c` compares these declarations with
/// the kernel's.
#[cfg(any(CONFIG_HWMON = "y", all(CONFIG_HWMON = "m", MODULE)))]
mod c {
    use super::*;

    #[allow(improper_ctypes)]
    unsafe extern "C" {
        pub(super) fn hwmon_device_register_with_info(
            dev: *mut bindings::device,
            name: *const c_char,
            drvdata: *mut c_void,
            info: *const ChipInfo,
            extra_groups: *mut *const bindings::attribute_group,
        ) -> *mut bindings::device;
        pub(super) fn hwmon_device_unregister(dev: *mut bindings::device);
    }
}

/// The functions of hwmon, in a kernel without it.
#[cfg(not(any(CONFIG_HWMON = "y", all(CONFIG_HWMON = "m", MODULE))))]
mod c {
    use super::*;

    /// # Safety
    ///
    /// None; `unsafe` like the kernel's.
    pub(super) unsafe fn hwmon_device_register_with_info(
        _dev: *mut bindings::device,
        _name: *const c_char,
        _drvdata: *mut c_void,
        _info: *const ChipInfo,
        _extra_groups: *mut *const bindings::attribute_group,
    ) -> *mut bindings::device {
        ENODEV.to_ptr()
    }

    /// # Safety
    ///
    /// None; `unsafe` like the kernel's.
    pub(super) unsafe fn hwmon_device_unregister(_dev: *mut bindings::device) {}
}

/// `T`, as hwmon needs it: static data.
struct Chip<T>(PhantomData<T>);

impl<T: Thermometers> Chip<T> {
    /// A mask of the files of each sensor, and zeroes. [`is_visible`] decides which files exist.
    const CONFIG: &'static [u32; MAX_SENSORS + 1] = &{
        let mut config = [0; MAX_SENSORS + 1];
        let mut i = 0;
        assert!(T::LABELS.len() <= MAX_SENSORS);
        while i < T::LABELS.len() {
            config[i] = 1 << LABEL
                | 1 << File::Input as u32
                | 1 << File::Min as u32
                | 1 << File::Max as u32
                | 1 << File::Crit as u32
                | 1 << File::Alarm as u32;
            i += 1;
        }
        config
    };

    const CHANNELS: &'static Channels = &Channels {
        kind: TEMPERATURE,
        config: Self::CONFIG.as_ptr(),
    };

    const LIST: &'static [*const Channels; 2] = &[Self::CHANNELS, ptr::null()];

    const OPS: &'static Ops = &Ops {
        visible: 0,
        is_visible: is_visible::<T>,
        read: read::<T>,
        read_string: read_string::<T>,
        write: write::<T>,
    };

    const INFO: &'static ChipInfo = &ChipInfo {
        ops: Self::OPS,
        info: Self::LIST.as_ptr(),
    };
}

/// The hwmon device; dropping this unregisters it.
///
/// # Invariants
///
/// `hwmon` was registered for `_data`, and is registered until this is dropped.
struct Registered<T: Thermometers> {
    hwmon: *mut bindings::device,
    /// Dropped after the device is unregistered.
    _data: Arc<T>,
}

// SAFETY: Any context that may sleep may unregister the device; `T` is `Send` and `Sync`.
unsafe impl<T: Thermometers> Send for Registered<T> {}

// SAFETY: A shared reference gives access to nothing.
unsafe impl<T: Thermometers> Sync for Registered<T> {}

impl<T: Thermometers> Drop for Registered<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, the device is registered. The call waits for running reads
        // and writes of its files.
        unsafe { c::hwmon_device_unregister(self.hwmon) };
    }
}

/// The registration of a device's sensors. Dropping this removes their files, and waits for running
/// reads and writes. Unbinding the device removes what a driver leaks.
///
/// # Examples
///
/// ```
/// use abstractions::hwmon::{self, Access, File, Registration, Thermometers};
/// use kernel::sync::Arc;
///
/// /// A sensor that user space can't change.
/// struct Fixed(i32);
///
/// impl Thermometers for Fixed {
///     const NAME: &'static CStr = c"fixed";
///     const LABELS: &'static [&'static CStr] = &[c"Chip"];
///
///     fn access(&self, file: File, _sensor: usize) -> Access {
///         match file {
///             File::Input => Access::Read,
///             _ => Access::None,
///         }
///     }
///
///     fn read(&self, _dev: &Device<Bound>, _file: File, _sensor: usize) -> Result<i32> {
///         Ok(self.0)
///     }
///
///     fn write(&self, _dev: &Device<Bound>, _: File, _sensor: usize, _value: i64) -> Result {
///         Err(EPERM)
///     }
/// }
///
/// let sensors = Registration::new(dev, Arc::new(Fixed(41_500), GFP_KERNEL)?);
/// // This fails in a kernel without hwmon; the driver can work without sensors.
/// assert_eq!(sensors.is_ok(), hwmon::AVAILABLE);
/// ```
pub struct Registration<T: Thermometers> {
    _owner: Devres<Registered<T>>,
}

impl<T: Thermometers> Registration<T> {
    /// Registers the sensors `data` of `dev`. May sleep.
    ///
    /// # Errors
    ///
    /// `ENODEV` if hwmon isn't [`AVAILABLE`]; `ENOMEM`; others of the driver core.
    pub fn new(dev: &device::Device<Bound>, data: Arc<T>) -> Result<Self> {
        // CAST: `device::Device` is a transparent wrapper of `Opaque<bindings::device>`.
        let raw = ptr::from_ref(dev).cast_mut().cast::<bindings::device>();

        // SAFETY: `dev` is a bound device. The name is a static string. `INFO` is static, and
        // `data` lives until the hwmon device is unregistered; the callbacks only use `data` as a
        // shared reference.
        let hwmon = from_err_ptr(unsafe {
            c::hwmon_device_register_with_info(
                raw,
                T::NAME.as_char_ptr(),
                Arc::as_ptr(&data).cast_mut().cast(),
                Chip::<T>::INFO,
                ptr::null_mut(),
            )
        })?;
        // INVARIANT: The device was just registered for `data`.
        let registered = Registered { hwmon, _data: data };

        Ok(Self {
            // `Devres` drops the value when `dev` is unbound at the latest.
            _owner: Devres::new(dev, registered)?,
        })
    }
}

/// The mode of a file, or 0 if it doesn't exist.
///
/// # Safety
///
/// hwmon calls this, with the data of a [`Registration`] of `T`.
unsafe extern "C" fn is_visible<T: Thermometers>(
    data: *const c_void,
    _kind: c_uint,
    attr: u32,
    channel: c_int,
) -> bindings::umode_t {
    // SAFETY: By the safety requirements, `data` points to a `T` that lives during the call.
    let data = unsafe { &*data.cast::<T>() };
    let sensor = channel as usize;
    match (attr, File::of(attr)) {
        (LABEL, _) if data.access(File::Input, sensor) == Access::None => 0,
        (LABEL, _) => Access::Read.mode(),
        (_, Some(file)) => data.access(file, sensor).mode(),
        _ => 0,
    }
}

/// The data and the parent of a hwmon device.
///
/// # Safety
///
/// `hwmon` must be the device of a [`Registration`] of `T`, which is registered during `'a`.
unsafe fn lend<'a, T: Thermometers>(
    hwmon: *mut bindings::device,
) -> (&'a T, &'a device::Device<Bound>) {
    // SAFETY: By the safety requirements, `Registration::new` registered the device with data of
    // type `T`, which live while the device is registered. Its parent is bound as long: `new`
    // requires a bound device, whose unbinding unregisters the hwmon device first.
    unsafe {
        (
            &*(*hwmon).driver_data.cast::<T>(),
            &*(*hwmon).parent.cast::<device::Device<Bound>>(),
        )
    }
}

/// Reads a file.
///
/// # Safety
///
/// hwmon calls this, with a registered device of a [`Registration`] of `T`, and a place for the
/// value.
unsafe extern "C" fn read<T: Thermometers>(
    hwmon: *mut bindings::device,
    _kind: c_uint,
    attr: u32,
    channel: c_int,
    value: *mut c_long,
) -> c_int {
    // SAFETY: hwmon passes a device of a `Registration` of `T`, and its removal waits for this
    // call.
    let (data, dev) = unsafe { lend::<T>(hwmon) };
    let read = match File::of(attr) {
        Some(file) => data.read(dev, file, channel as usize),
        None => Err(EINVAL),
    };
    match read {
        Ok(read) => {
            // SAFETY: hwmon passes a pointer that is valid for writes.
            unsafe { *value = read as c_long };
            0
        }
        Err(error) => error.to_errno(),
    }
}

/// Reads a label.
///
/// # Safety
///
/// hwmon calls this, with a place for the string.
unsafe extern "C" fn read_string<T: Thermometers>(
    _hwmon: *mut bindings::device,
    _kind: c_uint,
    _attr: u32,
    channel: c_int,
    string: *mut *const c_char,
) -> c_int {
    match T::LABELS.get(channel as usize) {
        Some(label) => {
            // SAFETY: hwmon passes a pointer that is valid for writes. The label is static.
            unsafe { *string = label.as_char_ptr() };
            0
        }
        None => EINVAL.to_errno(),
    }
}

/// Writes a file.
///
/// # Safety
///
/// hwmon calls this, with a registered device of a [`Registration`] of `T`.
unsafe extern "C" fn write<T: Thermometers>(
    hwmon: *mut bindings::device,
    _kind: c_uint,
    attr: u32,
    channel: c_int,
    value: c_long,
) -> c_int {
    // SAFETY: hwmon passes a device of a `Registration` of `T`, and its removal waits for this
    // call.
    let (data, dev) = unsafe { lend::<T>(hwmon) };
    let written = match File::of(attr) {
        Some(file) => data.write(dev, file, channel as usize, value as i64),
        None => Err(EINVAL),
    };
    match written {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}
