// SPDX-License-Identifier: GPL-2.0

//! PCI BARs that can be kept without a lifetime, and doorbell registers.
//!
//! The in-tree [`kernel::pci::Bar`] borrows the bound device, so it can't live in data that is
//! reference-counted and `'static`, such as a blk-mq hardware queue or an interrupt handler; and
//! its `into_devres()` form pays for an RCU read-side section at each access. [`Bar`] owns its
//! mapping by reference count instead: an access is the plain MMIO instruction.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)

use core::mem::{
    align_of,
    size_of, //
};

use kernel::{
    bindings,
    device::{
        Bound,
        DeviceContext, //
    },
    error::to_result,
    io::{
        IoBase,
        Mmio,
        MmioBackend,
        MmioRaw,
        Region, //
    },
    pci,
    prelude::*,
    str::CString,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};

/// Returns the `struct pci_dev` of `dev`.
///
/// The pointer is valid for as long as `dev` is; nothing is counted.
#[inline]
pub(crate) fn pci_raw<Ctx: DeviceContext>(dev: &pci::Device<Ctx>) -> *mut bindings::pci_dev {
    // CAST: `pci::Device` is a transparent wrapper of `Opaque<bindings::pci_dev>`, whatever its
    // context is.
    core::ptr::from_ref(dev)
        .cast_mut()
        .cast::<bindings::pci_dev>()
}

/// The mapping that all clones of a [`Bar`] and all its [`Doorbell`]s share.
///
/// # Invariants
///
/// - The memory resource of BAR `index` of `pdev` is requested by this object.
/// - `addr` is the start of the MMIO mapping of that BAR, which is `len` bytes long and exists
///   until this object is dropped.
struct Mapping {
    pdev: ARef<pci::Device>,
    /// The name of the region, which is not copied.
    _name: CString,
    index: c_int,
    addr: usize,
    len: usize,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let pdev = pci_raw(&self.pdev);

        // SAFETY: By the type invariants, `self.addr` comes from `pci_iomap()` for this device.
        // Nobody can use it any more: each `Bar` and each `Doorbell` holds a reference to `self`.
        unsafe { bindings::pci_iounmap(pdev, core::ptr::with_exposed_provenance_mut(self.addr)) };

        // SAFETY: By the type invariants, the region was requested for this device and BAR.
        unsafe { bindings::pci_release_region(pdev, self.index) };
    }
}

/// An owned MMIO mapping of a whole PCI BAR.
///
/// `SIZE` is the least number of bytes that the BAR has: accesses below it are checked when the
/// driver is compiled, those above it (`try_read32()` and the like) at run time.
///
/// A `Bar` can be cloned; the BAR is unmapped and its region released when the last clone and the
/// last [`Doorbell`] are gone (which the last to be dropped has to do where it may sleep). It can be
/// used with the registers of
/// [`register!`](kernel::io::register!) through [`Io`](kernel::io::Io), from any context, at the
/// cost of the MMIO access alone.
///
/// # After the device is unbound
///
/// The mapping belongs to the `Bar`, not to the binding: an access stays memory-safe for as long
/// as a clone exists, also if the clone is leaked. What it then does is as with any unbound or
/// absent device: reads return all ones and writes go nowhere once memory decoding is off or the
/// device is gone. Until the last clone is dropped, or the device removed, the region stays
/// requested, so that no other driver can bind to registers that this one still reaches. Drivers drop
/// all their clones at unbind.
///
/// # Invariants
///
/// `io` is the region that `mapping` maps: the same address, and its length, at least `SIZE`.
///
/// # Examples
///
/// ```ignore
/// let bar = Bar::<0x1000>::map(pdev, 0, c"rust_nvme_demo")?;
/// let status = bar.read(CSTS);
/// let doorbell = bar.doorbell(0x1000)?;
/// doorbell.write(1);
/// ```
pub struct Bar<const SIZE: usize> {
    mapping: Arc<Mapping>,
    io: MmioRaw<Region<SIZE>>,
}

impl<const SIZE: usize> Bar<SIZE> {
    /// Requests and maps BAR `index` of `pdev`.
    ///
    /// `name` is the owner that `/proc/iomem` shows. The device's memory decoding has to be enabled
    /// ([`pci::Device::enable_device_mem`]) before an access reaches it. May sleep.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`]: `index` isn't below 6, or the BAR is smaller than `SIZE` bytes (one line in
    ///   the log names both sizes).
    /// - [`ENODEV`]: the BAR isn't there, or isn't memory (one line in the log).
    /// - [`EBUSY`]: somebody else has requested it.
    /// - [`ENOMEM`]: no memory, or no address space for the mapping.
    pub fn map(pdev: &pci::Device<Bound>, index: u32, name: &CStr) -> Result<Self> {
        if index >= bindings::PCI_STD_NUM_BARS {
            return Err(EINVAL);
        }
        let raw = pci_raw(pdev);
        let len = usize::try_from(pdev.resource_len(index)?)?;
        let name = CString::try_from(name)?;

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

        // CAST: See above.
        let num = index as c_int;

        // SAFETY: `raw` is a valid device, `num` a valid BAR number, and `name` lives as
        // long as the region.
        to_result(unsafe { bindings::pci_request_region(raw, num, name.as_char_ptr()) })?;

        // SAFETY: `raw` is a valid device and `num` a valid BAR number.
        let addr = unsafe { bindings::pci_iomap(raw, num, 0) }.expose_provenance();
        if addr == 0 {
            // SAFETY: The region was requested above.
            unsafe { bindings::pci_release_region(raw, num) };
            return Err(ENOMEM);
        }

        // INVARIANT: The region was requested, and the whole of it is mapped at `addr`. If there
        // is no memory for the `Arc`, the `Mapping` is dropped, and undoes both.
        let mapping = Arc::new(
            Mapping {
                pdev: pdev.into(),
                _name: name,
                index: num,
                addr,
                len,
            },
            GFP_KERNEL,
        )?;

        // INVARIANT: `new_region()` checks `len` against `SIZE`.
        let io = MmioRaw::new_region(addr, len)?;

        Ok(Self { mapping, io })
    }

    /// The length of the BAR in bytes: at least `SIZE`.
    #[inline]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.mapping.len
    }

    /// Returns a handle to the 32-bit register at `offset` (in bytes) that only needs writing.
    ///
    /// `offset` is checked here, once, so that [`Doorbell::write`] has nothing left to check.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if `offset` isn't a multiple of 4, or the register isn't within the BAR.
    pub fn doorbell(&self, offset: usize) -> Result<Doorbell> {
        let end = offset.checked_add(size_of::<u32>()).ok_or(EINVAL)?;
        if end > self.mapping.len || offset % align_of::<u32>() != 0 {
            return Err(EINVAL);
        }

        // INVARIANT: The register is within the mapping, which lives until `_mapping` is dropped.
        // It is aligned as `offset` is: the mapping begins with a page, or at least with the BAR,
        // which is aligned to its length.
        Ok(Doorbell {
            register: MmioRaw::new(self.mapping.addr + offset),
            _mapping: self.mapping.clone(),
        })
    }
}

impl<const SIZE: usize> Clone for Bar<SIZE> {
    fn clone(&self) -> Self {
        // INVARIANT: The same mapping.
        Self {
            mapping: self.mapping.clone(),
            io: self.io,
        }
    }
}

impl<'a, const SIZE: usize> IoBase<'a> for &'a Bar<SIZE> {
    type Backend = MmioBackend;
    type Target = Region<SIZE>;

    #[inline]
    fn as_view(self) -> Mmio<'a, Self::Target> {
        // SAFETY: By the type invariants, `self.io` is mapped for as long as `self.mapping` exists,
        // which is at least `'a`.
        unsafe { Mmio::from_raw(self.io) }
    }
}

/// One 32-bit register of a [`Bar`] that is written only, such as an NVMe doorbell.
///
/// It keeps the BAR mapped; see [there](Bar#after-the-device-is-unbound) for what a write does when
/// the device is gone. It can be used from any context and from several CPUs at once.
///
/// # Invariants
///
/// `register` is 4-byte aligned and lies within the MMIO region that `_mapping` maps.
pub struct Doorbell {
    register: MmioRaw<u32>,
    _mapping: Arc<Mapping>,
}

impl Doorbell {
    /// Writes `value` (in CPU byte order; the register is little-endian).
    ///
    /// This is the C function `writel()`: exactly one 32-bit store, which the device sees after all
    /// that this CPU wrote to coherent DMA memory before.
    #[inline(always)]
    pub fn write(&self, value: u32) {
        #[cfg(CONFIG_X86_64)]
        {
            // `writel()` is a store here, after all stores before it. The in-tree backend makes a
            // call to a C helper of it.
            core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::Release);
            let register: *mut u32 = core::ptr::with_exposed_provenance_mut(self.register.addr());
            // SAFETY: By the type invariants, `self.register` is a valid and aligned MMIO region
            // for as long as `self` exists.
            unsafe { register.write_volatile(value) };
        }

        #[cfg(not(CONFIG_X86_64))]
        {
            // SAFETY: As above.
            let register = unsafe { Mmio::from_raw(self.register) };
            <MmioBackend as kernel::io::IoCapable<u32>>::io_write(register, value);
        }
    }
}
