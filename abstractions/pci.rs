// SPDX-License-Identifier: GPL-2.0

//! PCI drivers with shutdown, sleep, resets and error recovery. Drivers of the in-tree crate have
//! only probe and unbind.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)

// A driver uses only a part of this.
#![allow(dead_code, unreachable_pub)]

pub mod io;

use super::{
    binding::Binding,
    dma,
    pci::io::pci_raw,
    series::synchronize_rcu,
    workqueue::Tasks, //
};
use kernel::{
    bindings,
    container_of,
    device::{
        self,
        Bound,
        Core,
        CoreInternal, //
    },
    devres,
    driver,
    error::{
        from_result,
        to_result,
        VTABLE_DEFAULT_ERROR, //
    },
    pci,
    prelude::*,
    sync::{
        aref::ARef,
        new_mutex,
        rcu,
        Arc,
        Mutex, //
    },
    types::Opaque, //
};

/// A driver's answer to an error on the bus: `pci_ers_result_t`.
///
/// # Examples
///
/// ```
/// use abstractions::pci::{Channel, Recovery};
///
/// fn answer(channel: Channel) -> Recovery {
///     match channel {
///         Channel::Normal => Recovery::CanRecover,
///         Channel::Frozen => Recovery::NeedReset,
///         Channel::Lost => Recovery::Disconnect,
///     }
/// }
///
/// assert_eq!(answer(Channel::Frozen), Recovery::NeedReset);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Recovery {
    /// The driver can continue without a reset.
    CanRecover = bindings::pci_ers_result_PCI_ERS_RESULT_CAN_RECOVER,
    /// The slot must be reset.
    NeedReset = bindings::pci_ers_result_PCI_ERS_RESULT_NEED_RESET,
    /// The device is lost.
    Disconnect = bindings::pci_ers_result_PCI_ERS_RESULT_DISCONNECT,
    /// The device works again.
    Recovered = bindings::pci_ers_result_PCI_ERS_RESULT_RECOVERED,
}

impl Recovery {
    /// The answer for the bus: `PCI_ERS_RESULT_NONE` if the driver isn't bound to the device.
    fn answer(recovery: Option<Self>) -> bindings::pci_ers_result_t {
        match recovery {
            Some(recovery) => recovery as bindings::pci_ers_result_t,
            None => bindings::pci_ers_result_PCI_ERS_RESULT_NONE,
        }
    }
}

// `pci_channel_state_t`.
const CHANNEL_NORMAL: bindings::pci_channel_state_t = bindings::pci_channel_io_normal;
const CHANNEL_FROZEN: bindings::pci_channel_state_t = bindings::pci_channel_io_frozen;

/// The state of the channel to a device after an error: `pci_channel_state_t`.
///
/// # Examples
///
/// ```
/// use abstractions::pci::Channel;
///
/// /// Whether the device can still answer.
/// fn is_alive(channel: Channel) -> bool {
///     channel == Channel::Normal
/// }
///
/// assert!(!is_alive(Channel::Frozen));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// The channel works.
    Normal,
    /// The channel is blocked; a reset unblocks it.
    Frozen,
    /// The device is lost.
    Lost,
}

/// The power of a device while the system sleeps.
///
/// # Examples
///
/// ```
/// use abstractions::pci::Power;
///
/// /// For `Driver::suspend`, of a device that sleeps by itself if its link does.
/// fn suspend(power: Power) -> Power {
///     match power {
///         Power::Kept => pr_info!("rests\n"),
///         Power::Lost => pr_info!("is stopped\n"),
///     }
///     power
/// }
///
/// assert_eq!(suspend(Power::Lost), Power::Lost);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// The device may lose it. Or the system saves its memory, which the device must not change.
    Lost,
    /// The device keeps it, and its state.
    Kept,
}

impl Power {
    /// What the platform does with the power of a device before a sleep in which memory stays.
    fn of(pdev: &pci::Device<Bound>) -> Self {
        // If the link doesn't sleep by itself, the platform's deepest states need it switched off.
        #[cfg(CONFIG_PCIEASPM)]
        // SAFETY: The device is valid and bound.
        let is_kept = unsafe {
            let raw = pci_raw(pdev);
            bindings::pci_suspend_retains_context(raw) && bindings::pcie_aspm_enabled(raw)
        };
        #[cfg(not(CONFIG_PCIEASPM))]
        let is_kept = false;
        match is_kept {
            true => Self::Kept,
            false => Self::Lost,
        }
    }
}

/// Whether the firmware demands that a disk is switched off (D3) whenever the system sleeps: the
/// property `StorageD3Enable` of ACPI. May sleep.
///
/// # Examples
///
/// ```no_run
/// use abstractions::pci::{demands_d3, Power};
///
/// fn before_sleep(pdev: &pci::Device<Bound>, power: Power) -> Power {
///     match demands_d3(pdev) {
///         true => Power::Lost,
///         false => power,
///     }
/// }
/// ```
pub fn demands_d3<Ctx: device::DeviceContext>(pdev: &pci::Device<Ctx>) -> bool {
    #[cfg(all(CONFIG_ACPI, CONFIG_PM))]
    // SAFETY: The device is valid.
    return unsafe { bindings::acpi_storage_d3(&raw mut (*pci_raw(pdev)).dev) };
    #[cfg(not(all(CONFIG_ACPI, CONFIG_PM)))]
    return false;
}

/// A PCI driver. All functions run in process context and may sleep. For each device they run one
/// at a time, even the error handlers, which some buses call without the device lock.
///
/// Only `probe` is required. Without one of the other functions, the bus treats the device as it
/// treats the device of a C driver without that callback.
///
/// # Examples
///
/// ```no_run
/// use abstractions::{
///     pci::{device_id, Adapter, Channel, Driver, EnabledDevice, Power, Recovery},
///     workqueue::Tasks,
/// };
/// use kernel::driver::Registration;
///
/// struct MyDriver;
///
/// kernel::pci_device_table!(
///     TABLE,
///     (),
///     [(device_id(0x1b36, 0x10), ())]
/// );
///
/// #[vtable]
/// impl Driver for MyDriver {
///     type Data = EnabledDevice;
///
///     const ID_TABLE: pci::IdTable<()> = &TABLE;
///     const DMA_ALIGN: u32 = 4096;
///
///     fn dma_bits(_pdev: &pci::Device<Core<'_>>) -> Result<u32> {
///         Ok(64)
///     }
///
///     fn probe(pdev: &pci::Device<Core<'_>>, _tasks: &Tasks) -> Result<EnabledDevice> {
///         EnabledDevice::new(pdev)
///     }
///
///     fn unbind(_pdev: &pci::Device<Bound>, _data: &EnabledDevice) {}
///
///     fn shutdown(_pdev: &pci::Device<Bound>, data: &EnabledDevice) {
///         data.stop_dma();
///     }
///
///     fn suspend(
///         _pdev: &pci::Device<Bound>,
///         data: &EnabledDevice,
///         _power: Power,
///     ) -> Result<Power> {
///         data.stop_dma();
///         Ok(Power::Lost)
///     }
///
///     fn resume(pdev: &pci::Device<Bound>, data: &EnabledDevice) -> Result {
///         data.start_dma(pdev.as_ref());
///         Ok(())
///     }
///
///     fn reset_prepare(_pdev: &pci::Device<Bound>, data: &EnabledDevice) {
///         data.stop_dma();
///     }
///
///     fn reset_done(pdev: &pci::Device<Bound>, data: &EnabledDevice) {
///         data.start_dma(pdev.as_ref());
///     }
///
///     fn error_detected(
///         _pdev: &pci::Device<Bound>,
///         _data: &EnabledDevice,
///         channel: Channel,
///     ) -> Recovery {
///         match channel {
///             Channel::Lost => Recovery::Disconnect,
///             _ => Recovery::NeedReset,
///         }
///     }
///
///     fn slot_reset(_pdev: &pci::Device<Bound>, data: &EnabledDevice) -> Recovery {
///         match data.is_present() {
///             true => Recovery::Recovered,
///             false => Recovery::Disconnect,
///         }
///     }
///
///     fn error_resume(_pdev: &pci::Device<Bound>, _data: &EnabledDevice) {}
/// }
///
/// /// The module; it creates the registration by `Registration::new()`.
/// #[pin_data]
/// struct MyModule {
///     #[pin]
///     _driver: Registration<Adapter<MyDriver>>,
/// }
/// ```
#[vtable]
pub trait Driver: 'static {
    /// The driver's data of a bound device; dropped at unbind, after [`unbind`](Self::unbind).
    type Data: Send + Sync + 'static;

    /// The devices that the driver binds to.
    const ID_TABLE: pci::IdTable<()>;

    /// DMA mappings preserve the data's offset in a unit of this many bytes, a power of two, even
    /// if the data go through a bounce buffer.
    const DMA_ALIGN: u32 = 1;

    /// Whether user space may enable the device's virtual functions, by the file `sriov_numvfs`. They
    /// outlive the driver's binding, and the kernel then logs a warning.
    const HAS_VIRTUAL_FUNCTIONS: bool = false;

    /// The number of address bits of the device's DMA; 32 by default.
    ///
    /// # Errors
    ///
    /// The driver then doesn't bind to the device.
    fn dma_bits(_pdev: &pci::Device<Core<'_>>) -> Result<u32> {
        Ok(32)
    }

    /// Binds to a device. The tasks are cancelled after the data was dropped, at the latest.
    fn probe(pdev: &pci::Device<Core<'_>>, tasks: &Tasks) -> Result<Self::Data>;

    /// The device is being unbound, or was removed. Do here what needs a powered device: the device
    /// may be without power when the data is dropped.
    fn unbind(_pdev: &pci::Device<Bound>, _data: &Self::Data) {}

    /// The system shuts down, or starts another kernel: the device must do no DMA after this.
    fn shutdown(_pdev: &pci::Device<Bound>, _data: &Self::Data) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The system goes to sleep, or is about to save its memory: the device must do no DMA until
    /// `resume`. If `power` is [`Kept`](Power::Kept), the driver may instead put the device into a
    /// low power state of its own, and return the same; the bus then leaves the device as it is.
    fn suspend(_pdev: &pci::Device<Bound>, _data: &Self::Data, _power: Power) -> Result<Power> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The system is awake again; unless `suspend` returned [`Kept`](Power::Kept), the device may
    /// have lost power.
    fn resume(_pdev: &pci::Device<Bound>, _data: &Self::Data) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The bus is about to reset the function.
    fn reset_prepare(_pdev: &pci::Device<Bound>, _data: &Self::Data) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The bus has reset the function.
    fn reset_done(_pdev: &pci::Device<Bound>, _data: &Self::Data) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The bus has detected an error.
    fn error_detected(
        _pdev: &pci::Device<Bound>,
        _data: &Self::Data,
        _channel: Channel,
    ) -> Recovery {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The bus has reset the slot, and the device's configuration space was restored.
    fn slot_reset(_pdev: &pci::Device<Bound>, _data: &Self::Data) -> Recovery {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The recovery is complete: the driver may use the device again.
    fn error_resume(_pdev: &pci::Device<Bound>, _data: &Self::Data) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// A table entry for the devices with these identifiers. The in-tree [`pci::DeviceId::from_id`]
/// takes only a vendor in the kernel's list, in which QEMU's 0x1234 isn't.
///
/// # Examples
///
/// ```no_run
/// use abstractions::pci::device_id;
///
/// kernel::pci_device_table!(TABLE, (), [(device_id(0x1234, 0x11e8), ())]);
/// ```
pub const fn device_id(vendor: u16, device: u16) -> pci::DeviceId {
    let id = bindings::pci_device_id {
        vendor: vendor as u32,
        device: device as u32,
        subvendor: bindings::PCI_ANY_ID as u32,
        subdevice: bindings::PCI_ANY_ID as u32,
        class: 0,
        class_mask: 0,
        driver_data: 0,
        override_only: 0,
    };
    // SAFETY: `pci::DeviceId` is a transparent wrapper of `pci_device_id`, of which every value is
    // valid.
    unsafe { core::mem::transmute(id) }
}

/// `Some` if the driver has the function, for a table of callbacks.
macro_rules! callback {
    ($has:ident, $callback:ident) => {
        if T::$has {
            Some(Self::$callback)
        } else {
            None
        }
    };
}

/// The device's drvdata; fields are dropped in this order.
#[doc(hidden)]
pub struct Stored<D> {
    data: D,
    _tasks: Pin<KBox<Tasks>>,
    /// Locked during a callback; false once the device is being unbound.
    gate: Arc<Mutex<bool>>,
}

impl<D> Drop for Stored<D> {
    fn drop(&mut self) {
        // A callback may have read the pointer to this value just before it was cleared, and may
        // still access `gate`.
        synchronize_rcu();
    }
}

/// Adapts a [`Driver`] to [`driver::Registration`].
///
/// # Examples
///
/// ```
/// use abstractions::{
///     pci::{device_id, Adapter, Driver},
///     workqueue::Tasks,
/// };
/// use kernel::driver::Registration;
///
/// struct MyDriver;
///
/// kernel::pci_device_table!(TABLE, (), [(device_id(0x1234, 0x1), ())]);
///
/// #[vtable]
/// impl Driver for MyDriver {
///     type Data = ();
///
///     const ID_TABLE: pci::IdTable<()> = &TABLE;
///
///     fn probe(_pdev: &pci::Device<Core<'_>>, _tasks: &Tasks) -> Result {
///         Ok(())
///     }
/// }
///
/// // When the module is loaded. Dropping the registration unregisters the driver.
/// let module = kernel::module::this_module::<crate::LocalModule>();
/// let driver = Registration::<Adapter<MyDriver>>::new(c"my_driver", module);
/// let driver = KBox::pin_init(driver, GFP_KERNEL)?;
/// ```
pub struct Adapter<T: Driver>(T);

// SAFETY: `pci_driver` is a C type that embeds a `device_driver` at this offset, and `Stored` is what
// `probe` stores.
unsafe impl<T: Driver> driver::DriverLayout for Adapter<T> {
    type DriverType = bindings::pci_driver;
    type DriverData<'bound> = Stored<T::Data>;
    const DEVICE_DRIVER_OFFSET: usize = core::mem::offset_of!(bindings::pci_driver, driver);
}

// SAFETY: A driver that `register` registered can be unregistered.
unsafe impl<T: Driver> driver::RegistrationOps for Adapter<T> {
    unsafe fn register(
        reg: &Opaque<bindings::pci_driver>,
        name: &'static CStr,
        module: &'static ThisModule,
    ) -> Result {
        let raw = reg.get();

        // SAFETY: The driver is not registered yet, so its fields may be set.
        unsafe {
            (*raw).name = name.as_char_ptr();
            (*raw).id_table = T::ID_TABLE.as_ptr();
            (*raw).probe = Some(Self::probe);
            (*raw).remove = Some(Self::remove);
            (*raw).shutdown = callback!(HAS_SHUTDOWN, shutdown);
            (*raw).err_handler = Self::ERROR_HANDLERS;
            if T::HAS_SUSPEND || T::HAS_RESUME {
                (*raw).driver.pm = Self::PM;
            }
            #[cfg(CONFIG_PCI_IOV)]
            if T::HAS_VIRTUAL_FUNCTIONS {
                (*raw).sriov_configure = Some(bindings::pci_sriov_configure_simple);
            }
        }
        // SAFETY: All fields are set, and `reg` stays in place until it is unregistered.
        to_result(unsafe {
            bindings::__pci_register_driver(raw, module.as_ptr(), name.as_char_ptr())
        })
    }

    unsafe fn unregister(reg: &Opaque<bindings::pci_driver>) {
        // SAFETY: The caller promises that it is registered.
        unsafe { bindings::pci_unregister_driver(reg.get()) };
    }
}

impl<T: Driver> Adapter<T> {
    const PM: &'static bindings::dev_pm_ops = &bindings::dev_pm_ops {
        suspend: callback!(HAS_SUSPEND, suspend),
        resume: callback!(HAS_RESUME, resume),
        freeze: callback!(HAS_SUSPEND, freeze),
        thaw: callback!(HAS_RESUME, resume),
        poweroff: callback!(HAS_SUSPEND, freeze),
        restore: callback!(HAS_RESUME, resume),
        // SAFETY: All-zero is a valid value: no functions.
        ..unsafe { core::mem::zeroed() }
    };

    const ERROR_HANDLERS: &'static bindings::pci_error_handlers = &bindings::pci_error_handlers {
        error_detected: callback!(HAS_ERROR_DETECTED, error_detected),
        mmio_enabled: None,
        slot_reset: callback!(HAS_SLOT_RESET, slot_reset),
        reset_prepare: callback!(HAS_RESET_PREPARE, reset_prepare),
        reset_done: callback!(HAS_RESET_DONE, reset_done),
        resume: callback!(HAS_ERROR_RESUME, error_resume),
        cor_error_detected: None,
    };

    /// Calls `f` with the device and its data, if the device is bound to this driver; otherwise
    /// returns `None`. These calls are serialised per device. After a call with `last`, later calls
    /// return `None`.
    ///
    /// The driver core, the PM core and `pci_dev_lock()` (for a reset) hold the device lock for
    /// each callback; so do AER, DPC, EEH and s390 for the error handlers. But Xen's pcifront calls
    /// the error handlers from a work item without the lock: possibly during probe, during unbind,
    /// after unbind, and while another driver is bound.
    ///
    /// Takes a function pointer, and isn't inlined, so that all callbacks share this code.
    ///
    /// # Safety
    ///
    /// `pdev` must be a valid device.
    #[inline(never)]
    unsafe fn with<R>(
        pdev: *mut bindings::pci_dev,
        last: bool,
        f: fn(&pci::Device<Bound>, &T::Data) -> R,
    ) -> Option<R> {
        let guard = rcu::read_lock();
        // SAFETY: The device is valid. The driver that it has, or had when this read-side section
        // began, exists until the section ends, because freeing a module waits for a grace period.
        let stored = unsafe {
            let driver = (&raw const (*pdev).driver).read_volatile();
            if driver.is_null() || (*driver).id_table != T::ID_TABLE.as_ptr() {
                return None;
            }
            bindings::dev_get_drvdata(&raw mut (*pdev).dev)
        };
        let stored = stored.cast_const().cast::<Stored<T::Data>>();
        if stored.is_null() {
            return None;
        }
        // SAFETY: The driver was this driver, because it has this table. So `stored` is what
        // `probe` stored: before another driver stores its data, dropping a `Stored` waits for this
        // read-side section. For the same reason `stored` is still valid.
        let gate = unsafe { (*stored).gate.clone() };
        drop(guard);

        let mut bound = gate.lock();
        if !*bound {
            return None;
        }
        *bound = !last;
        // SAFETY: The device was bound when the gate was locked. It stays bound, with its data,
        // until the gate is unlocked: unbinding begins with `remove`, which waits for the gate, or
        // is this call.
        let (pdev, stored) = unsafe { (&*pdev.cast::<pci::Device<Bound>>(), &*stored) };
        Some(f(pdev, &stored.data))
    }

    /// As [`with`](Self::with), for a callback that may fail. Returns 0 if the device isn't bound.
    ///
    /// # Safety
    ///
    /// `dev` must be a valid PCI device.
    unsafe fn with_dev(
        dev: *mut bindings::device,
        f: fn(&pci::Device<Bound>, &T::Data) -> Result,
    ) -> c_int {
        // SAFETY: The caller promises a valid PCI device.
        let result = unsafe { Self::with(container_of!(dev, bindings::pci_dev, dev), false, f) };
        from_result(|| result.unwrap_or(Ok(())).map(|()| 0))
    }

    extern "C" fn probe(
        pdev: *mut bindings::pci_dev,
        _id: *const bindings::pci_device_id,
    ) -> c_int {
        // SAFETY: The bus passes a valid device, and holds the device lock.
        let pdev = unsafe { &*pdev.cast::<pci::Device<CoreInternal<'_>>>() };
        let dev: &device::Device<CoreInternal<'_>> = pdev.as_ref();

        from_result(|| {
            let bits = T::dma_bits(pdev)?;
            // SAFETY: A device that isn't bound yet has no DMA mapping.
            unsafe { dma::set_limits(pdev, bits, T::DMA_ALIGN) }
                .inspect_err(|e| dev_err!(pdev, "can't do {}-bit DMA: {:?}\n", bits, e))?;
            // SAFETY: `tasks` is dropped here on an error, or with the data, before the device is
            // unbound and before the resources that it manages are released.
            let tasks = KBox::pin_init(unsafe { Tasks::new(dev) }, GFP_KERNEL)?;
            let gate = Arc::pin_init(new_mutex!(true), GFP_KERNEL)?;
            dev.set_drvdata(Ok::<_, Error>(Stored {
                data: T::probe(pdev, &tasks)?,
                _tasks: tasks,
                gate,
            }))?;
            Ok(0)
        })
    }

    // `driver::Registration` drops the data after this.
    extern "C" fn remove(pdev: *mut bindings::pci_dev) {
        // SAFETY: The bus passes a valid device.
        unsafe { Self::with(pdev, true, T::unbind) };
    }

    extern "C" fn shutdown(pdev: *mut bindings::pci_dev) {
        // SAFETY: The bus passes a valid device.
        unsafe { Self::with(pdev, false, T::shutdown) };
    }

    /// Calls [`Driver::suspend`] before a sleep.
    ///
    /// # Safety
    ///
    /// The bus calls this, with a valid PCI device.
    unsafe extern "C" fn suspend(dev: *mut bindings::device) -> c_int {
        let f = |pdev: &pci::Device<Bound>, data: &T::Data| {
            let power = Power::of(pdev);
            if T::suspend(pdev, data, power)? == Power::Kept && power == Power::Kept {
                // A device whose state is saved keeps its power.
                // SAFETY: The device is valid, and the bus is suspending it.
                unsafe { bindings::pci_save_state(pci_raw(pdev)) };
            }
            Ok(())
        };
        // SAFETY: The bus passes a valid PCI device.
        unsafe { Self::with_dev(dev, f) }
    }

    /// Calls [`Driver::suspend`] before the system's memory is saved, and before the power is
    /// switched off after that.
    ///
    /// # Safety
    ///
    /// The bus calls this, with a valid PCI device.
    unsafe extern "C" fn freeze(dev: *mut bindings::device) -> c_int {
        // SAFETY: The bus passes a valid PCI device.
        unsafe {
            Self::with_dev(dev, |pdev, data| {
                T::suspend(pdev, data, Power::Lost)?;
                Ok(())
            })
        }
    }

    /// Calls [`Driver::resume`].
    ///
    /// # Safety
    ///
    /// The bus calls this, with a valid PCI device.
    unsafe extern "C" fn resume(dev: *mut bindings::device) -> c_int {
        // SAFETY: The bus passes a valid PCI device.
        unsafe { Self::with_dev(dev, T::resume) }
    }

    /// Calls [`Driver::reset_prepare`].
    ///
    /// # Safety
    ///
    /// The bus calls this, with a valid device.
    unsafe extern "C" fn reset_prepare(pdev: *mut bindings::pci_dev) {
        // SAFETY: The bus passes a valid device.
        unsafe { Self::with(pdev, false, T::reset_prepare) };
    }

    /// Calls [`Driver::reset_done`].
    ///
    /// # Safety
    ///
    /// The bus calls this, with a valid device.
    unsafe extern "C" fn reset_done(pdev: *mut bindings::pci_dev) {
        // SAFETY: The bus passes a valid device.
        unsafe { Self::with(pdev, false, T::reset_done) };
    }

    /// Calls [`Driver::error_detected`].
    ///
    /// # Safety
    ///
    /// The bus calls this, with a valid device.
    unsafe extern "C" fn error_detected(
        pdev: *mut bindings::pci_dev,
        state: bindings::pci_channel_state_t,
    ) -> bindings::pci_ers_result_t {
        let f: fn(&pci::Device<Bound>, &T::Data) -> Recovery = match state {
            CHANNEL_NORMAL => |pdev, data| T::error_detected(pdev, data, Channel::Normal),
            CHANNEL_FROZEN => |pdev, data| T::error_detected(pdev, data, Channel::Frozen),
            _ => |pdev, data| T::error_detected(pdev, data, Channel::Lost),
        };

        // SAFETY: The bus passes a valid device.
        Recovery::answer(unsafe { Self::with(pdev, false, f) })
    }

    /// Calls [`Driver::slot_reset`].
    ///
    /// # Safety
    ///
    /// The bus calls this, with a valid device.
    unsafe extern "C" fn slot_reset(pdev: *mut bindings::pci_dev) -> bindings::pci_ers_result_t {
        // SAFETY: The caller promises a valid device; `with` keeps it bound while its state is
        // restored.
        let recovery = unsafe {
            Self::with(pdev, false, |bound, data| {
                bindings::pci_restore_state(pci_raw(bound));
                T::slot_reset(bound, data)
            })
        };
        Recovery::answer(recovery)
    }

    /// Calls [`Driver::error_resume`].
    ///
    /// # Safety
    ///
    /// The bus calls this, with a valid device.
    unsafe extern "C" fn error_resume(pdev: *mut bindings::pci_dev) {
        // SAFETY: The bus passes a valid device.
        unsafe { Self::with(pdev, false, T::error_resume) };
    }
}

/// When dropped, disables a device that [`EnabledDevice::new`] enabled.
struct Disable(ARef<pci::Device>);

impl Disable {
    fn new(pdev: &pci::Device<Core<'_>>) -> Self {
        Self(pdev.into())
    }
}

impl Drop for Disable {
    fn drop(&mut self) {
        // SAFETY: This value holds a reference to the device, so it is valid. The device was
        // enabled once for this value.
        unsafe { bindings::pci_disable_device(pci_raw(&self.0)) };
    }
}

/// An enabled device: it decodes its memory and may do DMA, until the driver is unbound.
///
/// After that the methods have no effect, because another driver may be bound to the device, or the
/// device may be gone.
///
/// # Examples
///
/// ```no_run
/// use abstractions::pci::EnabledDevice;
///
/// let enabled = EnabledDevice::new(pdev)?;
///
/// // The device doesn't respond.
/// if enabled.is_present() && !enabled.is_blocked() {
///     enabled.stop_dma();
///     // Reset the device here.
///     enabled.start_dma(pdev.as_ref());
/// }
/// ```
pub struct EnabledDevice {
    pdev: ARef<pci::Device>,
    binding: Arc<Binding>,
}

impl EnabledDevice {
    /// Enables memory decoding and bus mastering, but not I/O space, which may have no addresses
    /// assigned. Unbinding disables the device after the driver's data was dropped, even if this
    /// value still exists. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and those of `pci_enable_device_mem()`.
    pub fn new(pdev: &pci::Device<Core<'_>>) -> Result<Self> {
        let binding = Binding::of(pdev.as_ref())?;
        pdev.enable_device_mem()?;
        // If this fails, it drops `Disable`, which disables the device.
        devres::register(pdev.as_ref(), Disable::new(pdev), GFP_KERNEL)?;
        pdev.set_master();
        // For the restore after a slot reset.
        // SAFETY: The device is valid.
        unsafe { bindings::pci_save_state(pci_raw(pdev)) };
        Ok(Self {
            pdev: pdev.into(),
            binding,
        })
    }

    /// Stops the device's DMA by clearing bus mastering: for a device that no longer responds.
    pub fn stop_dma(&self) {
        if let Some(_bound) = self.binding.hold() {
            // SAFETY: The device is bound as long as `_bound` exists. The function only accesses
            // the configuration space, which is allowed in atomic context.
            unsafe { bindings::pci_clear_master(pci_raw(&self.pdev)) };
        }
    }

    /// Allows DMA again, after [`stop_dma`](Self::stop_dma) or a loss of power. Does nothing if
    /// `bound` is another device, because that doesn't prove that this device is bound.
    pub fn start_dma(&self, bound: &device::Device<Bound>) {
        let dev: &device::Device = (*self.pdev).as_ref();
        if dma::raw(dev) == dma::raw(bound) && self.binding.hold().is_some() {
            // SAFETY: The device is bound, as `bound` is this device.
            unsafe { bindings::pci_set_master(pci_raw(&self.pdev)) };
        }
    }

    /// Whether the bus blocks access to the device, because it is recovering from an error: the
    /// driver's `slot_reset` follows, or `error_detected` reports the device lost.
    pub fn is_blocked(&self) -> bool {
        // SAFETY: This value holds a reference to the device, so its `struct pci_dev` is valid;
        // only a field of that is read. As `pci_channel_offline()`.
        let state =
            unsafe { core::ptr::read_volatile(&raw const (*pci_raw(&self.pdev)).error_state) };
        state == CHANNEL_FROZEN
    }

    /// Whether the device is bound and responds: it wasn't unplugged, and its configuration space
    /// can be read.
    pub fn is_present(&self) -> bool {
        match self.binding.hold() {
            // SAFETY: The device is bound as long as `_bound` exists, and so is its bus. The function
            // reads the configuration space once, and doesn't wait for a device that isn't ready.
            Some(_bound) => unsafe { bindings::pci_device_is_present(pci_raw(&self.pdev)) },
            None => false,
        }
    }
}
