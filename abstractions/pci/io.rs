// SPDX-License-Identifier: GPL-2.0

//! PCI BARs without a lifetime, and doorbell registers.
//!
//! The in-tree [`kernel::pci::Bar`] borrows the bound device, so it can't live in data that is
//! reference-counted and `'static`, for example a blk-mq hardware queue or an interrupt handler.
//! Its `into_devres()` form can; [`Bar`] wraps that form, with the accessors of
//! [`Io`](kernel::io::Io): each access is an RCU read-side section. A [`Doorbell`] is for the hot
//! path: a write is a plain MMIO store, and unbinding the device redirects the store.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)

// A driver uses only a part of this.
#![allow(dead_code, unreachable_pub)]

#[cfg(CONFIG_X86_64)]
use crate::abstractions::atomic::compiler_fence;
use crate::abstractions::atomic::{
    AtomicU32,
    AtomicUsize,
    Ordering, //
};
use core::{
    marker::PhantomPinned,
    mem::{
        align_of,
        size_of, //
    },
    ptr::NonNull, //
};

use kernel::{
    bindings,
    device::{
        Bound,
        DeviceContext, //
    },
    devres::Devres,
    new_mutex,
    pci,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

use crate::abstractions::{
    series::{
        address_of,
        synchronize_rcu,
        DevresBar, //
    },
    sync::RcuReadSide, //
};

/// Returns the `struct pci_dev` of `dev`.
///
/// The pointer is valid as long as `dev` is; takes no reference.
#[inline]
pub(crate) fn pci_raw<Ctx: DeviceContext>(dev: &pci::Device<Ctx>) -> *mut bindings::pci_dev {
    // CAST: `pci::Device` is a transparent wrapper of `Opaque<bindings::pci_dev>` in every context.
    core::ptr::from_ref(dev)
        .cast_mut()
        .cast::<bindings::pci_dev>()
}

/// The registers of all doorbells in a BAR, and the dummy that they write to after the device is
/// unbound.
///
/// # Invariants
///
/// - Each element of `registers` points to the `register` field of a [`Doorbell`], which removes
///   the element before the field is dropped.
/// - Until `revoked`, the BAR is mapped. After `revoked` and a grace period, no writer uses an
///   address in the BAR.
#[pin_data]
pub(in super::super) struct Doorbells {
    #[pin]
    list: Mutex<Registers>,
    dummy: AtomicU32,
}

struct Registers {
    revoked: bool,
    registers: KVec<NonNull<AtomicUsize>>,
}

// SAFETY: The pointers are to atomic values, which have no affinity to a thread.
unsafe impl Send for Registers {}

impl Doorbells {
    pub(in super::super) fn new() -> impl PinInit<Self> {
        // INVARIANT: The list is empty.
        pin_init!(Self {
            list <- new_mutex!(Registers {
                revoked: false,
                registers: KVec::new(),
            }),
            dummy: AtomicU32::new(0),
        })
    }

    /// The address of the dummy.
    pub(in super::super) fn dummy(&self) -> usize {
        self.dummy.as_ptr().expose_provenance()
    }

    /// Adds a doorbell's `register` field, and sets it to `address`.
    ///
    /// # Safety
    ///
    /// `register` must stay in place until it is removed; `address` must be an address in the BAR.
    pub(in super::super) unsafe fn add(&self, register: &AtomicUsize, address: usize) -> Result {
        let mut list = self.list.lock();

        if list.revoked {
            return Err(ENODEV);
        }
        // INVARIANT: The caller promises that `register` stays in place until it is removed. The
        // BAR is mapped, because the list isn't revoked.
        list.registers.push(register.into(), GFP_KERNEL)?;
        register.store(address, Ordering::Relaxed);
        Ok(())
    }

    /// Removes a doorbell's `register` field, if it was added.
    pub(in super::super) fn remove(&self, register: &AtomicUsize) {
        let mut list = self.list.lock();

        if let Some(at) = list.registers.iter().position(|r| *r == register.into()) {
            let _ = list.registers.remove(at);
        }
    }
}

/// When dropped, redirects all doorbells to the dummy.
pub(in super::super) struct Revoke(pub(in super::super) Arc<Doorbells>);

impl Drop for Revoke {
    fn drop(&mut self) {
        let mut list = self.0.list.lock();

        list.revoked = true;
        for register in &list.registers {
            // SAFETY: By the type invariants `register` is valid until it is removed, which takes
            // the lock that is held here.
            unsafe { register.as_ref() }.store(self.0.dummy(), Ordering::Relaxed);
        }
        let used = !list.registers.is_empty();
        drop(list);
        // INVARIANT: After the grace period, no doorbell write uses an address that it loaded
        // before.
        if used {
            synchronize_rcu();
        }
    }
}

/// The mapping that all clones of a [`Bar`] and all its [`Doorbell`]s share.
///
/// # Invariants
///
/// While the device is bound, its BAR is mapped at `addr`, for `len` bytes. `_revoke` was
/// registered with the device after `bar`, so unbinding first revokes the doorbells, and then
/// unmaps the BAR.
struct Mapping {
    // The order doesn't matter: no doorbell is left when the mapping is dropped.
    _revoke: Devres<Revoke>,
    doorbells: Arc<Doorbells>,
    bar: DevresBar,
    addr: usize,
    len: usize,
}

/// An MMIO mapping of a whole PCI BAR.
///
/// `SIZE` is the minimum length of the BAR: accesses below it are checked at compile time, accesses
/// above it (`try_read()` and the like) at run time. Use it with the registers of
/// [`register!`](kernel::io::register!) through [`Io`](kernel::io::Io), from any context.
///
/// A `Bar` can be cloned; the BAR is unmapped and its region released when the last clone and the
/// last [`Doorbell`] are dropped, which may sleep.
///
/// # After the device is unbound
///
/// Unbinding the device unmaps the BAR and releases the region, after the driver's data was
/// dropped, and waits for running accesses. A clone that still exists, or was leaked, then behaves
/// as for an absent device: each read returns all ones, and each write is discarded.
///
/// # Invariants
///
/// `mapping.len` is at least `SIZE`.
///
/// # Examples
///
/// ```no_run
/// use abstractions::pci::io::Bar;
/// use kernel::io::{register, Io};
///
/// register! {
///     /// The version of the device's registers.
///     VERSION(u32) @ 0x08 {}
/// }
///
/// let bar = Bar::<0x1000>::map(pdev, 0, c"my_driver")?;
/// let version = bar.read(VERSION).into_raw();
/// dev_info!(pdev, "BAR 0 has {} bytes, version {:#x}\n", bar.len(), version);
///
/// // Beyond the minimum: checked at run time.
/// bar.try_write(0x1004, 1u32)?;
/// ```
pub struct Bar<const SIZE: usize> {
    mapping: Arc<Mapping>,
}

impl<const SIZE: usize> Bar<SIZE> {
    /// Requests and maps BAR `index` of `pdev`.
    ///
    /// `/proc/iomem` shows `name` as the owner. The caller must enable the device's memory decoding
    /// ([`pci::Device::enable_device_mem`]) before an access. May sleep.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`]: `index` isn't below 6, or the BAR is smaller than `SIZE` bytes (one line in
    ///   the log names both sizes).
    /// - [`ENODEV`]: the BAR doesn't exist, or isn't memory (one line in the log).
    /// - [`EBUSY`]: another driver has requested the BAR.
    /// - [`ENOMEM`]: no memory, or no address space for the mapping.
    pub fn map(pdev: &pci::Device<Bound>, index: u32, name: &'static CStr) -> Result<Self> {
        if index >= bindings::PCI_STD_NUM_BARS {
            return Err(EINVAL);
        }
        let raw = pci_raw(pdev);
        let len = usize::try_from(pdev.resource_len(index)?)?;

        // CAST: `index` is below `PCI_STD_NUM_BARS`, which fits any integer.
        //
        // SAFETY: `raw` is a valid device, whose resources don't change while it is bound, and
        // `resource` has more than `PCI_STD_NUM_BARS` elements.
        let flags = unsafe { (*raw).resource[index as usize].flags };
        // CAST: An `unsigned long` has at least 32 bits.
        if len == 0 || flags & bindings::IORESOURCE_MEM as c_ulong == 0 {
            dev_err!(pdev, "BAR {}: no memory BAR\n", index);
            return Err(ENODEV);
        }
        if len < SIZE {
            dev_err!(
                pdev,
                "BAR {}: {:#x} bytes, need at least {:#x}\n",
                index,
                len,
                SIZE
            );
            return Err(EINVAL);
        }

        let bar = pdev.iomap_region(index, name)?;
        let addr = address_of(&bar);
        // From here on, an error drops `bar`, which unmaps the BAR.
        let bar = bar.into_devres()?;
        let doorbells = Arc::pin_init(Doorbells::new(), GFP_KERNEL)?;
        let revoke = Devres::new(pdev.as_ref(), Revoke(doorbells.clone()))?;

        // INVARIANT: The whole BAR was mapped above, and `revoke` registered after that. `len` was
        // checked against `SIZE`.
        Ok(Self {
            mapping: Arc::new(
                Mapping {
                    _revoke: revoke,
                    doorbells,
                    bar,
                    addr,
                    len,
                },
                GFP_KERNEL,
            )?,
        })
    }

    /// The length of the BAR in bytes: at least `SIZE`.
    #[inline]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.mapping.len
    }

    /// Returns a handle to the write-only 32-bit register at `offset` (in bytes).
    ///
    /// Checks `offset` once, so that [`Doorbell::write`] needs no checks. May sleep.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`]: `offset` isn't a multiple of 4, or the register isn't within the BAR.
    /// - [`ENODEV`]: the device is unbound.
    /// - [`ENOMEM`].
    pub fn doorbell(&self, offset: usize) -> impl PinInit<Doorbell, Error> + use<SIZE> {
        let mapping = self.mapping.clone();

        try_pin_init!(&this in Doorbell {
            _: {
                let end = offset.checked_add(size_of::<u32>()).ok_or(EINVAL)?;
                if end > mapping.len || offset % align_of::<u32>() != 0 {
                    return Err(EINVAL);
                }
            },
            // INVARIANT: The dummy is a `u32`.
            register: AtomicUsize::new(mapping.doorbells.dummy()),
            mapping,
            _pin: PhantomPinned,
            _: {
                // SAFETY: Both fields were initialised above, and stay in place.
                let (register, mapping) = unsafe {
                    (&(*this.as_ptr()).register, &(*this.as_ptr()).mapping)
                };
                // INVARIANT: The register is within the mapping, as checked above. Its alignment is
                // that of `offset`, because the mapping starts at a page, or at least at the BAR,
                // which is aligned to its length.
                // SAFETY: The doorbell is pinned, and removes its register when it is dropped.
                // Nothing after this fails.
                unsafe { mapping.doorbells.add(register, mapping.addr + offset) }?;
            },
        }? Error)
    }
}

impl<const SIZE: usize> Clone for Bar<SIZE> {
    fn clone(&self) -> Self {
        // INVARIANT: The clone has the same mapping, and the same `SIZE`.
        Self {
            mapping: self.mapping.clone(),
        }
    }
}

/// The accessors of a [`Bar`].
#[cfg(not(linux_7_2))]
mod access {
    use super::{
        Bar,
        Mapping, //
    };
    use core::ops::Not;
    use kernel::{
        io::{
            Io,
            IoBackend,
            IoBase,
            IoCapable,
            IoLoc,
            MmioBackend,
            Region, //
        },
        ptr::KnownSize, //
    };

    impl<'a, const SIZE: usize> IoBase<'a> for &'a Bar<SIZE> {
        type Backend = Backend;
        type Target = Region<SIZE>;

        #[inline]
        fn as_view(self) -> View<'a, Self::Target> {
            // By the type invariants the mapping has at least `SIZE` bytes.
            View {
                mapping: &self.mapping,
                ptr: Region::ptr_from_raw_parts_mut(core::ptr::null_mut(), self.mapping.len),
            }
        }
    }

    /// A part of a [`Bar`]. `ptr` holds the offset into the BAR instead of an address.
    #[doc(hidden)]
    pub struct View<'a, T: ?Sized> {
        mapping: &'a Mapping,
        ptr: *mut T,
    }

    impl<T: ?Sized> Copy for View<'_, T> {}

    impl<T: ?Sized> Clone for View<'_, T> {
        #[inline]
        fn clone(&self) -> Self {
            *self
        }
    }

    impl<'a, T: ?Sized + KnownSize> IoBase<'a> for View<'a, T> {
        type Backend = Backend;
        type Target = T;

        #[inline]
        fn as_view(self) -> Self {
            self
        }
    }

    /// The I/O backend of a [`Bar`]: the in-tree MMIO, if the device is bound.
    #[doc(hidden)]
    pub struct Backend;

    impl IoBackend for Backend {
        type View<'a, T: ?Sized + KnownSize> = View<'a, T>;

        #[inline]
        fn as_ptr<'a, T: ?Sized + KnownSize>(view: Self::View<'a, T>) -> *mut T {
            view.ptr
        }

        #[inline]
        unsafe fn project_view<'a, T: ?Sized + KnownSize, U: ?Sized + KnownSize>(
            view: Self::View<'a, T>,
            ptr: *mut U,
        ) -> Self::View<'a, U> {
            View {
                mapping: view.mapping,
                ptr,
            }
        }
    }

    /// Accesses by the in-tree BAR, which checks the offset again.
    impl<T> IoCapable<T> for Backend
    where
        T: From<u8> + Not<Output = T>,
        MmioBackend: IoCapable<T>,
        usize: IoLoc<Region, T, IoType = T>,
    {
        #[inline(never)]
        fn io_read(view: View<'_, T>) -> T {
            let bar = view.mapping.bar.try_access();
            let value = bar.and_then(|bar| bar.try_read(view.ptr.addr()).ok());
            value.unwrap_or(!T::from(0))
        }

        #[inline(never)]
        fn io_write(view: View<'_, T>, value: T) {
            if let Some(bar) = view.mapping.bar.try_access() {
                let _ = bar.try_write(view.ptr.addr(), value);
            }
        }
    }
}

/// The accessors of a [`Bar`]: those of 7.2 add `addr()` to the offset.
#[cfg(linux_7_2)]
mod access {
    use super::Bar;
    use core::ops::Not;
    use kernel::io::{
        Io,
        IoCapable,
        IoKnownSize,
        IoLoc,
        Mmio, //
    };

    impl<const SIZE: usize> Io for Bar<SIZE> {
        fn addr(&self) -> usize {
            0
        }

        fn maxsize(&self) -> usize {
            self.len()
        }
    }

    impl<const SIZE: usize> IoKnownSize for Bar<SIZE> {
        const MIN_SIZE: usize = SIZE;
    }

    impl<T, const SIZE: usize> IoCapable<T> for Bar<SIZE>
    where
        T: From<u8> + Not<Output = T>,
        Mmio: IoCapable<T>,
        usize: IoLoc<T, IoType = T>,
    {
        #[inline(never)]
        unsafe fn io_read(&self, offset: usize) -> T {
            let bar = self.mapping.bar.try_access();
            let value = bar.and_then(|bar| bar.try_read(offset).ok());
            value.unwrap_or(!T::from(0))
        }

        #[inline(never)]
        unsafe fn io_write(&self, value: T, offset: usize) {
            if let Some(bar) = self.mapping.bar.try_access() {
                let _ = bar.try_write(offset, value);
            }
        }
    }
}

/// A write-only 32-bit register of a [`Bar`], for example an NVMe doorbell.
///
/// A doorbell keeps the BAR mapped while the device is bound; after that, a write is discarded. It
/// can be used from any context and from several CPUs at once. Dropping it may sleep.
///
/// # Invariants
///
/// `register` is the 4-byte aligned address of a 32-bit register in the mapped BAR, or of the dummy
/// in `mapping`. The list of `mapping.doorbells` has the address of the field `register`, so that
/// before the BAR is unmapped, `register` is set to the dummy, and a grace period passes.
///
/// # Examples
///
/// ```no_run
/// use abstractions::pci::io::{Bar, Doorbell};
/// use kernel::sync::rcu;
///
/// let bar = Bar::<0x1000>::map(pdev, 0, c"my_driver")?;
/// let tail: Pin<KBox<Doorbell>> = KBox::pin_init(bar.doorbell(0x40), GFP_KERNEL)?;
/// tail.write(1, &rcu::read_lock());
/// ```
#[pin_data(PinnedDrop)]
pub struct Doorbell {
    register: AtomicUsize,
    mapping: Arc<Mapping>,
    /// `mapping.doorbells` has the address of `register`.
    #[pin]
    _pin: PhantomPinned,
}

impl Doorbell {
    /// Writes `value` (in CPU byte order; the register is little-endian).
    ///
    /// As the C function `writel()`: exactly one 32-bit store, which the device sees after all
    /// earlier writes of this CPU to coherent DMA memory. `_proof` proves an RCU read-side section,
    /// which keeps the BAR from being unmapped meanwhile.
    #[inline(always)]
    pub fn write(&self, value: u32, _proof: &impl RcuReadSide) {
        let register = self.register.load(Ordering::Relaxed);

        #[cfg(CONFIG_X86_64)]
        {
            // On x86 `writel()` is a plain store, which stays behind earlier stores. The in-tree
            // backend would call a C helper.
            compiler_fence(Ordering::Release);
            let register: *mut u32 = core::ptr::with_exposed_provenance_mut(register);
            // SAFETY: By the type invariants this is an aligned register in the mapped BAR, which
            // isn't unmapped before the read-side section ends, or the dummy, which `self` keeps
            // alive. Only such stores access the dummy; no code reads it.
            unsafe { register.write_volatile(value) };
        }

        // `writel()` to memory isn't a store on every architecture (s390, um).
        #[cfg(not(CONFIG_X86_64))]
        if register != self.mapping.doorbells.dummy() {
            // SAFETY: `register` isn't the dummy, so by the type invariants it is an aligned
            // register in the mapped BAR, which isn't unmapped before the read-side section ends.
            unsafe { crate::abstractions::series::write_register(register, value) };
        }
    }
}

#[pinned_drop]
impl PinnedDrop for Doorbell {
    fn drop(self: Pin<&mut Self>) {
        self.mapping.doorbells.remove(&self.register);
    }
}
