// SPDX-License-Identifier: GPL-2.0

//! What differs between the kernel series that a module can be built for: of what Linux 7.3 has,
//! 7.2 gets a substitute here. The other files use this one. Only two ask for the series themselves:
//! `pci/io.rs`, because the traits of BARs differ, and `trace/event.rs`, because of a field.
//!
//! Kbuild sets `linux_7_2`, see `series.mk`. `check.c` asks for `LINUX_VERSION_CODE`.

// A module may use only a part of this.
#![allow(dead_code, unreachable_pub, unused_imports, unused_macros)]

#[cfg(linux_7_2)]
pub use self::linux_7_2::*;
#[cfg(not(linux_7_2))]
pub use kernel::irq::Handler;
#[cfg(not(linux_7_2))]
pub(crate) use kernel::{
    error::code::{
        ENETRESET,
        ENODATA,
        EOPNOTSUPP, //
    },
    new_spinlock_irq,
    pci::DevresBar,
    sync::{
        rcu::synchronize_rcu,
        SpinLockIrq, //
    }, //
};

#[cfg(not(linux_7_2))]
use kernel::io::{
    IoBackend,
    IoBase,
    IoCapable,
    Mmio,
    MmioBackend,
    MmioRaw, //
};
use kernel::{
    bindings,
    device_id::IdArray,
    dma::Coherent,
    io::Io,
    module_param::ModuleParamAccess,
    pci::{
        self,
        DeviceId,
        IrqType, //
    },
    prelude::*,
    ptr::KnownSize, //
};

/// The kind of a device's interrupt vectors.
///
/// # Safety
///
/// `pdev` must be a valid device.
#[inline]
pub(crate) unsafe fn irq_type(pdev: *mut bindings::pci_dev) -> IrqType {
    #[cfg(not(linux_7_2))]
    // SAFETY: The caller promises a valid device.
    match unsafe { bindings::pci_irq_type(pdev) } {
        bindings::PCI_IRQ_MSIX => IrqType::MsiX,
        bindings::PCI_IRQ_MSI => IrqType::Msi,
        _ => IrqType::Intx,
    }
    #[cfg(linux_7_2)]
    // SAFETY: The caller promises a valid device.
    match unsafe { ((*pdev).msix_enabled(), (*pdev).msi_enabled()) } {
        (1, _) => IrqType::MsiX,
        (_, 1) => IrqType::Msi,
        _ => IrqType::Intx,
    }
}

/// What an interrupt handler returns to the kernel.
#[inline]
pub(crate) fn irqreturn(value: c_uint) -> bindings::irqreturn_t {
    #[cfg(not(linux_7_2))]
    let value = bindings::irqreturn_t(value);
    value
}

/// The address at which a BAR is mapped.
pub(crate) fn address_of(bar: &pci::Bar<'_>) -> usize {
    #[cfg(not(linux_7_2))]
    return MmioBackend::as_ptr(bar.as_view()).addr();
    #[cfg(linux_7_2)]
    return bar.addr();
}

/// Writes a register, as `writel()` in C.
///
/// # Safety
///
/// `address` must be that of an aligned register of 32 bits in a mapped BAR.
#[inline]
pub(crate) unsafe fn write_register(address: usize, value: u32) {
    #[cfg(not(linux_7_2))]
    {
        let register = MmioRaw::new(address);
        // SAFETY: The caller promises that there is a register.
        let register = unsafe { Mmio::from_raw(register) };
        <MmioBackend as IoCapable<u32>>::io_write(register, value);
    }
    // SAFETY: The caller promises that there is a register.
    #[cfg(linux_7_2)]
    unsafe {
        bindings::writel(value, address as *mut c_void)
    }
}

#[cfg(not(linux_7_2))]
pub(crate) const DMA_TO_DEVICE: bindings::dma_data_direction =
    bindings::dma_data_direction::DMA_TO_DEVICE;
#[cfg(not(linux_7_2))]
pub(crate) const DMA_FROM_DEVICE: bindings::dma_data_direction =
    bindings::dma_data_direction::DMA_FROM_DEVICE;
#[cfg(linux_7_2)]
pub(crate) use bindings::{
    dma_data_direction_DMA_FROM_DEVICE as DMA_FROM_DEVICE,
    dma_data_direction_DMA_TO_DEVICE as DMA_TO_DEVICE, //
};

/// How many bytes of its first entry a bio's iterator has done.
///
/// # Safety
///
/// `iter` must be a valid iterator that doesn't change meanwhile.
#[inline(always)]
pub(crate) unsafe fn bvec_done(iter: *const bindings::bvec_iter) -> u32 {
    #[cfg(not(linux_7_2))]
    // SAFETY: The caller promises a valid iterator.
    return unsafe { (*iter).bi_offset };
    #[cfg(linux_7_2)]
    // SAFETY: The caller promises a valid iterator.
    return unsafe { (*iter).bi_bvec_done };
}

/// The address that the device uses.
#[inline(always)]
pub(crate) fn dma_address<T: KnownSize + ?Sized>(memory: &Coherent<T>) -> u64 {
    #[cfg(not(linux_7_2))]
    return memory.dma_address();
    #[cfg(linux_7_2)]
    return memory.dma_handle();
}

/// The value of a module's parameter.
#[inline(always)]
pub(crate) fn value<T: Copy>(parameter: &ModuleParamAccess<T>) -> T {
    #[cfg(not(linux_7_2))]
    return parameter.value();
    #[cfg(linux_7_2)]
    return *parameter.value();
}

/// Initialises `slot`.
///
/// # Safety
///
/// `slot` must be valid for writing, and not move until the value is dropped.
#[inline(always)]
pub(crate) unsafe fn raw_init<T>(slot: *mut T, init: impl PinInit<T>) {
    // SAFETY: The caller promises a slot for it.
    #[cfg(not(linux_7_2))]
    unsafe {
        pin_init::raw_init(slot, init)
    }
    // SAFETY: The caller promises a slot for it.
    #[cfg(linux_7_2)]
    let Ok(()) = unsafe { init.__pinned_init(slot) };
}

type Show = unsafe extern "C" fn(
    *mut bindings::kobject,
    *mut bindings::kobj_attribute,
    *mut c_char,
) -> isize;
type Store = unsafe extern "C" fn(
    *mut bindings::kobject,
    *mut bindings::kobj_attribute,
    *const c_char,
    usize,
) -> isize;

/// Sets the functions of a file of a plain kobject.
#[inline(always)]
pub(crate) fn set_functions(raw: &mut bindings::kobj_attribute, show: Show, store: Store) {
    #[cfg(not(linux_7_2))]
    {
        raw.__bindgen_anon_1.show = Some(show);
        raw.__bindgen_anon_2.store = Some(store);
    }
    #[cfg(linux_7_2)]
    {
        raw.show = Some(show);
        raw.store = Some(store);
    }
}

/// A table of PCI identifiers, without data for each.
pub(crate) const fn table<const N: usize>(ids: [DeviceId; N]) -> IdArray<DeviceId, (), N> {
    #[cfg(not(linux_7_2))]
    const NONE: &() = &();
    #[cfg(linux_7_2)]
    const NONE: () = ();

    let mut entries = [(ids[0], NONE); N];
    let mut i = 0;
    while i < N {
        entries[i].0 = ids[i];
        i += 1;
    }
    IdArray::new(entries)
}

/// The owner of what a module registers, for a type whose associated type `Module` is the module's.
#[cfg(not(linux_7_2))]
macro_rules! owner {
    ($module:ty) => {
        <$module as kernel::ModuleMetadata>::THIS_MODULE.as_ptr()
    };
}
#[cfg(linux_7_2)]
macro_rules! owner {
    ($module:ty) => {
        // The module of this crate.
        crate::THIS_MODULE.as_ptr()
    };
}
pub(crate) use owner;

/// What [`Turn`](super::sync::Turn) holds: disabled interrupts in the task, nothing in the handler.
#[cfg(not(any(CONFIG_PREEMPT_RT, linux_7_2)))]
pub(crate) struct TurnLock;

#[cfg(not(any(CONFIG_PREEMPT_RT, linux_7_2)))]
impl TurnLock {
    pub(crate) fn new() -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn task(&self) -> kernel::interrupt::LocalInterruptDisabled {
        kernel::interrupt::local_interrupt_disable()
    }

    #[inline(always)]
    pub(crate) fn handler(&self) {}
}

#[cfg(all(linux_7_2, not(CONFIG_PREEMPT_RT)))]
use self::{
    new_spinlock_irq as new_spinlock,
    SpinLockIrq as SpinLock, //
};
#[cfg(CONFIG_PREEMPT_RT)]
use kernel::sync::{
    new_spinlock,
    SpinLock, //
};

/// What [`Turn`](super::sync::Turn) holds with PREEMPT_RT, and where there is no guard that disables
/// interrupts: a lock.
#[cfg(any(CONFIG_PREEMPT_RT, linux_7_2))]
#[pin_data]
pub(crate) struct TurnLock {
    #[pin]
    lock: SpinLock<()>,
}

#[cfg(any(CONFIG_PREEMPT_RT, linux_7_2))]
impl TurnLock {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            lock <- new_spinlock!(()),
        })
    }

    pub(crate) fn task(&self) -> impl Drop + use<'_> {
        self.lock.lock()
    }

    pub(crate) fn handler(&self) -> impl Drop + use<'_> {
        self.lock.lock()
    }
}

/// The substitutes for 7.2.
#[cfg(linux_7_2)]
mod linux_7_2 {
    use core::mem::transmute;
    use kernel::{
        bindings,
        devres::Devres,
        error::code::EINVAL,
        irq::IrqReturn,
        pci,
        prelude::*,
        sync::{
            lock::{
                Backend,
                Lock, //
            },
            Arc, //
        }, //
    };

    pub(crate) type DevresBar = Devres<pci::Bar<'static>>;

    /// An [`Error`] that the `kernel` crate has no name for.
    const fn error(errno: u32) -> Error {
        // CAST: An error's number is small.
        // SAFETY: An `Error` is the negative number of an error, as the assertion below proves; the
        // numbers given here are those of errors, so not zero.
        unsafe { transmute::<i32, Error>(-(errno as i32)) }
    }
    const _: () =
        // SAFETY: Any four bytes are an `i32`.
        assert!(unsafe { transmute::<Error, i32>(EINVAL) } == -(bindings::EINVAL as i32));

    pub(crate) const ENODATA: Error = error(bindings::ENODATA);
    pub(crate) const ENETRESET: Error = error(bindings::ENETRESET);
    pub(crate) const EOPNOTSUPP: Error = error(bindings::EOPNOTSUPP);

    /// Handles an interrupt. The in-tree trait gives the handler the device, too.
    #[doc(hidden)]
    pub trait Handler: Sync + 'static {
        /// Handles the interrupt, in hard interrupt context.
        fn handle(&self) -> IrqReturn;
    }

    impl<T: ?Sized + Handler + Send> Handler for Arc<T> {
        fn handle(&self) -> IrqReturn {
            T::handle(self)
        }
    }

    /// Waits for an RCU grace period. May sleep.
    #[inline]
    pub(crate) fn synchronize_rcu() {
        // SAFETY: It may be called in any context that may sleep.
        unsafe { bindings::synchronize_rcu() };
    }

    /// A spin lock that disables interrupts while it is held.
    pub(crate) type SpinLockIrq<T> = Lock<T, SpinLockIrqBackend>;

    /// The [`Backend`] of [`SpinLockIrq`].
    pub(crate) struct SpinLockIrqBackend;

    /// Creates the initialiser of a [`SpinLockIrq`].
    macro_rules! new_spinlock_irq {
        ($inner:expr $(, $name:literal)? $(,)?) => {
            $crate::abstractions::series::SpinLockIrq::new(
                $inner, kernel::optional_name!($($name)?), kernel::static_lock_class!())
        };
    }
    pub(crate) use new_spinlock_irq;

    // SAFETY: The kernel's spin lock is one, and `GuardState` has the state of interrupts before.
    unsafe impl Backend for SpinLockIrqBackend {
        type State = bindings::spinlock_t;
        type GuardState = c_ulong;

        unsafe fn init(
            ptr: *mut Self::State,
            name: *const c_char,
            key: *mut bindings::lock_class_key,
        ) {
            // SAFETY: The caller promises that `ptr` can be written, and the others are valid.
            unsafe { bindings::__spin_lock_init(ptr, name, key) }
        }

        unsafe fn lock(ptr: *mut Self::State) -> Self::GuardState {
            // SAFETY: The caller promises an initialised lock; `raw` is its raw lock.
            #[cfg(not(CONFIG_PREEMPT_RT))]
            unsafe {
                bindings::_raw_spin_lock_irqsave(raw(ptr))
            }
            // SAFETY: The caller promises an initialised lock.
            #[cfg(CONFIG_PREEMPT_RT)]
            unsafe {
                bindings::spin_lock(ptr);
                0
            }
        }

        unsafe fn try_lock(_ptr: *mut Self::State) -> Option<Self::GuardState> {
            // Nothing here tries, and failing is always allowed.
            None
        }

        unsafe fn unlock(ptr: *mut Self::State, guard_state: &Self::GuardState) {
            // SAFETY: The caller promises that the lock is held; `guard_state` is from `lock`.
            #[cfg(not(CONFIG_PREEMPT_RT))]
            unsafe {
                bindings::_raw_spin_unlock_irqrestore(raw(ptr), *guard_state)
            }
            // SAFETY: The caller promises that the lock is held.
            #[cfg(CONFIG_PREEMPT_RT)]
            unsafe {
                let _ = guard_state;
                bindings::spin_unlock(ptr)
            }
        }

        unsafe fn assert_is_held(ptr: *mut Self::State) {
            // SAFETY: The caller promises an initialised lock.
            unsafe { bindings::spin_assert_is_held(ptr) }
        }
    }

    /// The raw lock of a spin lock.
    #[cfg(not(CONFIG_PREEMPT_RT))]
    fn raw(lock: *mut bindings::spinlock_t) -> *mut bindings::raw_spinlock_t {
        // It is the first field, also in the union with lockdep's.
        lock.cast()
    }
}
