// SPDX-License-Identifier: GPL-2.0

//! PCI drivers with all that a storage controller needs of the bus: shutdown, sleep, resets and
//! error recovery. The in-tree crate's have probe and unbind only.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)

use super::{
    bar::pci_raw,
    binding::Binding,
    dma,
    work::Tasks, //
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
        to_result, //
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

/// How a driver goes on after an error on the bus: `pci_ers_result_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Recovery {
    /// It goes on without a reset.
    CanRecover = bindings::pci_ers_result_PCI_ERS_RESULT_CAN_RECOVER,
    /// The slot must be reset.
    NeedReset = bindings::pci_ers_result_PCI_ERS_RESULT_NEED_RESET,
    /// The device is lost.
    Disconnect = bindings::pci_ers_result_PCI_ERS_RESULT_DISCONNECT,
    /// It works again.
    Recovered = bindings::pci_ers_result_PCI_ERS_RESULT_RECOVERED,
}

impl Recovery {
    /// What the bus is told: that the driver has no say, if it has no bound device.
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

/// The state of the way to a device after an error: `pci_channel_state_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// It works.
    Normal,
    /// It is blocked; a reset opens it again.
    Frozen,
    /// It is lost.
    Lost,
}

/// A PCI driver. All functions are called in process context and may sleep. They are called one at a
/// time for a device; also the error handlers, which not every bus calls under the device's lock.
pub trait Driver: 'static {
    /// What belongs to a bound device; dropped at unbind, after [`unbind`](Self::unbind).
    type Data: Send + Sync + 'static;

    /// The devices that the driver takes.
    const ID_TABLE: pci::IdTable<()>;

    /// The bits of the addresses that such a device can name: it reaches no other memory.
    const DMA_BITS: u32;

    /// Data that are mapped for such a device keep their place in a unit of so many bytes, a power of
    /// two, also where they are copied to memory that it can reach.
    const DMA_ALIGN: u32;

    /// Takes a device. Its tasks end after the data was dropped, if not before.
    fn probe(pdev: &pci::Device<Core<'_>>, tasks: &Tasks) -> Result<Self::Data>;

    /// The device is being unbound, or is gone. What needs the device to have power is done here: when
    /// the data is dropped, it may have none any more.
    fn unbind(pdev: &pci::Device<Bound>, data: &Self::Data);

    /// The system goes down, or another kernel is started: the device must do no DMA after this.
    fn shutdown(pdev: &pci::Device<Bound>, data: &Self::Data);

    /// The system goes to sleep, or its memory is about to be saved: the device must do no DMA
    /// until it is resumed.
    fn suspend(pdev: &pci::Device<Bound>, data: &Self::Data) -> Result;

    /// The system is awake again; the device was perhaps without power.
    fn resume(pdev: &pci::Device<Bound>, data: &Self::Data) -> Result;

    /// The function is going to be reset.
    fn reset_prepare(pdev: &pci::Device<Bound>, data: &Self::Data);

    /// The function was reset.
    fn reset_done(pdev: &pci::Device<Bound>, data: &Self::Data);

    /// There was an error on the bus.
    fn error_detected(pdev: &pci::Device<Bound>, data: &Self::Data, channel: Channel) -> Recovery;

    /// The slot was reset, and the device's configuration space restored.
    fn slot_reset(pdev: &pci::Device<Bound>, data: &Self::Data) -> Recovery;

    /// Traffic may flow again.
    fn error_resume(pdev: &pci::Device<Bound>, data: &Self::Data);
}

/// What is stored with a bound device; dropped in this order.
pub struct Stored<D> {
    data: D,
    _tasks: Pin<KBox<Tasks>>,
    /// Held during a callback; false once the device is being unbound.
    gate: Arc<Mutex<bool>>,
}

impl<D> Drop for Stored<D> {
    fn drop(&mut self) {
        // A callback may have found this value just before it was taken from the device, and go for
        // the gate.
        rcu::synchronize_rcu();
    }
}

/// A [`Driver`] as [`driver::Registration`] takes it.
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
            (*raw).shutdown = Some(Self::shutdown);
            (*raw).err_handler = Self::ERROR_HANDLERS;
            (*raw).driver.pm = Self::PM;
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
        suspend: Some(Self::suspend),
        resume: Some(Self::resume),
        freeze: Some(Self::suspend),
        thaw: Some(Self::resume),
        poweroff: Some(Self::suspend),
        restore: Some(Self::resume),
        // SAFETY: All-zero is a valid value: no functions.
        ..unsafe { core::mem::zeroed() }
    };

    const ERROR_HANDLERS: &'static bindings::pci_error_handlers = &bindings::pci_error_handlers {
        error_detected: Some(Self::error_detected),
        mmio_enabled: None,
        slot_reset: Some(Self::slot_reset),
        reset_prepare: Some(Self::reset_prepare),
        reset_done: Some(Self::reset_done),
        resume: Some(Self::error_resume),
        cor_error_detected: None,
    };

    /// Calls `f` with the device and its data, if it is bound to this driver; `None` if it isn't, yet or
    /// any more. There is one such call at a time for a device. With `last` there is none after it.
    ///
    /// The PCI and driver cores hold the device's lock for each callback: so do AER, DPC, EEH and s390
    /// for the error handlers, `pci_dev_lock()` for a reset, and the PM core. That alone would do, but
    /// Xen's pcifront calls the error handlers from a work item without the lock: during probe, during
    /// unbind, after it, and with another driver's data in place of these.
    ///
    /// # Safety
    ///
    /// `pdev` is a valid device.
    unsafe fn with<R>(
        pdev: *mut bindings::pci_dev,
        last: bool,
        f: impl FnOnce(&pci::Device<Bound>, &T::Data) -> R,
    ) -> Option<R> {
        let guard = rcu::read_lock();
        // SAFETY: The device is valid. A driver that it has, or had when this read-side section began,
        // is there until the section ends: freeing a module waits for that.
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
        // SAFETY: The driver was this one, as it has this table, so these are the data that `probe`
        // stored: between them and another driver's, dropping a `Stored` waits for this read-side
        // section. For the same reason they are still there.
        let gate = unsafe { (*stored).gate.clone() };
        drop(guard);

        let mut bound = gate.lock();
        if !*bound {
            return None;
        }
        *bound = !last;
        // SAFETY: The device was bound when the gate was locked. It stays so, with its data, until the
        // gate is unlocked: unbinding it begins with `remove`, which is waiting for the gate, or is
        // this call.
        let (pdev, stored) = unsafe { (&*pdev.cast::<pci::Device<Bound>>(), &*stored) };
        Some(f(pdev, &stored.data))
    }

    /// As [`with`](Self::with), for a callback that may fail; it has nothing to do for a device that isn't
    /// bound.
    ///
    /// # Safety
    ///
    /// `dev` is a valid device, and a PCI device.
    unsafe fn with_dev(
        dev: *mut bindings::device,
        f: impl FnOnce(&pci::Device<Bound>, &T::Data) -> Result,
    ) -> c_int {
        // SAFETY: As promised by the caller.
        let result = unsafe { Self::with(container_of!(dev, bindings::pci_dev, dev), false, f) };
        from_result(|| result.unwrap_or(Ok(())).map(|()| 0))
    }

    extern "C" fn probe(
        pdev: *mut bindings::pci_dev,
        _id: *const bindings::pci_device_id,
    ) -> c_int {
        // SAFETY: The bus calls with a valid device, which it keeps locked.
        let pdev = unsafe { &*pdev.cast::<pci::Device<CoreInternal<'_>>>() };
        let dev: &device::Device<CoreInternal<'_>> = pdev.as_ref();

        from_result(|| {
            // SAFETY: Nothing is mapped for a device that has no driver yet.
            unsafe { dma::set_limits(pdev, T::DMA_BITS, T::DMA_ALIGN) }
                .inspect_err(|e| dev_err!(pdev, "can't do {}-bit DMA: {:?}\n", T::DMA_BITS, e))?;
            // SAFETY: If it isn't dropped here, it is with the data, after the driver was unbound and
            // before what the device manages is released.
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

    // The data is dropped after this, by `driver::Registration`.
    extern "C" fn remove(pdev: *mut bindings::pci_dev) {
        // SAFETY: The bus calls with a valid device.
        unsafe { Self::with(pdev, true, T::unbind) };
    }

    extern "C" fn shutdown(pdev: *mut bindings::pci_dev) {
        // SAFETY: The bus calls with a valid device.
        unsafe { Self::with(pdev, false, T::shutdown) };
    }

    /// Calls [`Driver::suspend`].
    ///
    /// # Safety
    ///
    /// The bus calls this, with a valid PCI device.
    unsafe extern "C" fn suspend(dev: *mut bindings::device) -> c_int {
        // SAFETY: As promised by the caller.
        unsafe { Self::with_dev(dev, T::suspend) }
    }

    /// Calls [`Driver::resume`].
    ///
    /// # Safety
    ///
    /// The bus calls this, with a valid PCI device.
    unsafe extern "C" fn resume(dev: *mut bindings::device) -> c_int {
        // SAFETY: As promised by the caller.
        unsafe { Self::with_dev(dev, T::resume) }
    }

    /// Calls [`Driver::reset_prepare`].
    ///
    /// # Safety
    ///
    /// The bus calls this, with a valid device.
    unsafe extern "C" fn reset_prepare(pdev: *mut bindings::pci_dev) {
        // SAFETY: As promised by the caller.
        unsafe { Self::with(pdev, false, T::reset_prepare) };
    }

    /// Calls [`Driver::reset_done`].
    ///
    /// # Safety
    ///
    /// The bus calls this, with a valid device.
    unsafe extern "C" fn reset_done(pdev: *mut bindings::pci_dev) {
        // SAFETY: As promised by the caller.
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
        let channel = match state {
            CHANNEL_NORMAL => Channel::Normal,
            CHANNEL_FROZEN => Channel::Frozen,
            _ => Channel::Lost,
        };

        // SAFETY: As promised by the caller.
        let recovery = unsafe {
            Self::with(pdev, false, |pdev, data| {
                T::error_detected(pdev, data, channel)
            })
        };
        Recovery::answer(recovery)
    }

    /// Calls [`Driver::slot_reset`].
    ///
    /// # Safety
    ///
    /// The bus calls this, with a valid device.
    unsafe extern "C" fn slot_reset(pdev: *mut bindings::pci_dev) -> bindings::pci_ers_result_t {
        // SAFETY: As promised by the caller; the device is bound while its state is restored.
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
        // SAFETY: As promised by the caller.
        unsafe { Self::with(pdev, false, T::error_resume) };
    }
}

/// Undoes [`EnabledDevice::new`] when it is dropped.
struct Disable(ARef<pci::Device>);

impl Disable {
    fn new(pdev: &pci::Device<Core<'_>>) -> Self {
        Self(pdev.into())
    }
}

impl Drop for Disable {
    fn drop(&mut self) {
        // SAFETY: The device is valid, as it is counted, and was enabled once for this.
        unsafe { bindings::pci_disable_device(pci_raw(&self.0)) };
    }
}

/// A device that was enabled: it decodes its memory and may do DMA, until the driver is unbound.
///
/// After that the methods have no effect, as the device may be another driver's, or gone.
pub struct EnabledDevice {
    pdev: ARef<pci::Device>,
    binding: Arc<Binding>,
}

impl EnabledDevice {
    /// Enables the device's memory and its bus mastering, but not its I/O space, which may have got no
    /// addresses. Both end after the driver was unbound and its data dropped, whoever still holds this
    /// value then. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and those of `pci_enable_device_mem()`.
    pub fn new(pdev: &pci::Device<Core<'_>>) -> Result<Self> {
        let binding = Binding::of(pdev.as_ref())?;
        pdev.enable_device_mem()?;
        // If this fails, `Disable` is dropped.
        devres::register(pdev.as_ref(), Disable::new(pdev), GFP_KERNEL)?;
        pdev.set_master();
        // For a slot that is reset.
        // SAFETY: The device is valid.
        unsafe { bindings::pci_save_state(pci_raw(pdev)) };
        Ok(Self {
            pdev: pdev.into(),
            binding,
        })
    }

    /// Keeps the device from doing DMA, whatever it does: for one that doesn't obey any more.
    pub fn stop_dma(&self) {
        if let Some(_bound) = self.binding.hold() {
            // SAFETY: The device is bound as long as `_bound` exists. The function accesses the
            // configuration space alone, which may be done in atomic context.
            unsafe { bindings::pci_clear_master(pci_raw(&self.pdev)) };
        }
    }

    /// Lets the device do DMA again, after [`stop_dma`](Self::stop_dma) or a loss of power. Another
    /// device's `bound` is no proof that this one is bound: nothing is done then.
    pub fn start_dma(&self, bound: &device::Device<Bound>) {
        let dev: &device::Device = (*self.pdev).as_ref();
        if dma::raw(dev) == dma::raw(bound) && self.binding.hold().is_some() {
            // SAFETY: The device is bound, as `bound` is this device.
            unsafe { bindings::pci_set_master(pci_raw(&self.pdev)) };
        }
    }

    /// Whether the way to the device is blocked, after an error on the bus that is just being dealt
    /// with: the driver's `slot_reset` follows, or `error_detected` says that it is lost.
    pub fn is_blocked(&self) -> bool {
        // SAFETY: The device is valid, as it is counted: only its memory is read. As
        // `pci_channel_offline()`.
        let state =
            unsafe { core::ptr::read_volatile(&raw const (*pci_raw(&self.pdev)).error_state) };
        state == CHANNEL_FROZEN
    }

    /// Whether the device is bound and answers: it wasn't unplugged, and its configuration space can
    /// be read.
    pub fn is_present(&self) -> bool {
        match self.binding.hold() {
            // SAFETY: The device is bound as long as `_bound` exists, and so is its bus. The function
            // reads the configuration space once, and doesn't wait for a device that isn't ready.
            Some(_bound) => unsafe { bindings::pci_device_is_present(pci_raw(&self.pdev)) },
            None => false,
        }
    }
}
