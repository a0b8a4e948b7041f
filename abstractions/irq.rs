// SPDX-License-Identifier: GPL-2.0

//! PCI interrupt vectors spread over the CPUs, and handlers for them.
//!
//! The in-tree [`kernel::pci::Device::alloc_irq_vectors`] can't spread vectors over the CPUs, and
//! the in-tree [`kernel::irq::Registration`] borrows the bound device, takes only a static name
//! and is unsafe to create, because leaking it would leave a handler behind. Here an allocation is
//! an [`Arc`], names are made at run time, and everything is safe: what a driver leaks is undone
//! when the device is unbound.
//!
//! C headers: [`include/linux/interrupt.h`](srctree/include/linux/interrupt.h),
//! [`include/linux/pci.h`](srctree/include/linux/pci.h)

use kernel::{
    bindings,
    cpu::{
        nr_cpu_ids,
        CpuId, //
    },
    cpumask::Cpumask,
    device::{
        Bound,
        Core, //
    },
    devres::Devres,
    error::to_result,
    fmt,
    pci::{
        self,
        IrqType, //
    },
    prelude::*,
    str::CString,
    sync::{
        aref::ARef,
        new_mutex,
        Arc,
        Mutex, //
    }, //
};

pub use kernel::irq::{
    Handler,
    IrqReturn, //
};

use super::bar::pci_raw;

/// A set of CPUs, as sorted ranges of CPU numbers.
///
/// It prints as the kernel's `cpulist` files do, for instance `0-1,4`; the empty set prints as the
/// empty string.
pub struct CpuList {
    /// First and last CPU of each range, in ascending order, with a gap between any two.
    ranges: KVec<(u32, u32)>,
}

impl CpuList {
    /// Copies `mask`.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`] if there is no memory for the copy.
    pub fn new(mask: &Cpumask) -> Result<Self> {
        let mut ranges: KVec<(u32, u32)> = KVec::new();

        for cpu in (0..nr_cpu_ids()).filter_map(CpuId::from_u32) {
            if !mask.test(cpu) {
                continue;
            }
            let cpu = cpu.as_u32();
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == cpu => *last = cpu,
                _ => ranges.push((cpu, cpu), GFP_KERNEL)?,
            }
        }

        Ok(Self { ranges })
    }
}

impl core::fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, &(first, last)) in self.ranges.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };

            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

/// What is known about one vector from its allocation on.
struct Vector {
    /// Linux interrupt number.
    number: u32,
    /// CPUs that the vector was spread to.
    cpus: Option<CpuList>,
}

/// A handler that `request_irq()` has accepted.
///
/// # Invariants
///
/// A handler is registered for the interrupt `number` with the cookie `cookie`.
struct Line {
    number: u32,
    cookie: *mut c_void,
}

// SAFETY: Only the address is used, as the handler's name towards `free_irq()`, which may be called
// in any task.
unsafe impl Send for Line {}

impl Line {
    /// Unregisters the handler; waits until it doesn't run any more.
    fn free(self) {
        // SAFETY: By the type invariants the handler is registered. It is registered once only, as
        // `self` is consumed here.
        unsafe { bindings::free_irq(self.number, self.cookie) };
    }
}

/// The part of [`Vectors`] that changes.
struct State {
    /// The vectors are allocated.
    allocated: bool,
    /// All handlers that are registered for them.
    lines: KVec<Line>,
}

/// An allocation of vectors, shared between [`Vectors`] and the device's resource list.
///
/// # Invariants
///
/// While `state.allocated`, `pdev` has interrupt vectors as described by `vectors`, which nobody
/// but this object frees.
#[pin_data]
struct Allocation {
    pdev: ARef<pci::Device>,
    irq_type: IrqType,
    vectors: KVec<Vector>,
    second_set: u32,
    #[pin]
    state: Mutex<State>,
}

impl Allocation {
    /// Unregisters all handlers that are left, and frees the vectors, unless that was done before.
    fn revoke(&self) {
        let mut state = self.state.lock();

        if !state.allocated {
            return;
        }
        state.allocated = false;
        while let Some(line) = state.lines.pop() {
            line.free();
        }

        // SAFETY: By the type invariants, the vectors are allocated, by this object, and no handler
        // is left.
        unsafe { free_vectors(pci_raw(&self.pdev), self.irq_type) };
    }
}

/// Frees the vectors of a device, of which the interrupt line is none: there may be vectors besides it.
///
/// # Safety
///
/// The device has vectors of this type, without a handler, and they are the caller's.
unsafe fn free_vectors(pdev: *mut bindings::pci_dev, irq_type: IrqType) {
    if !matches!(irq_type, IrqType::Intx) {
        // SAFETY: As promised by the caller.
        unsafe { bindings::pci_free_irq_vectors(pdev) };
    }
}

/// Undoes an [`Allocation`] when it is dropped.
struct Revoke(Arc<Allocation>);

impl Drop for Revoke {
    fn drop(&mut self) {
        self.0.revoke();
    }
}

/// The interrupt vectors of a PCI device, spread over the CPUs.
///
/// The vectors are freed when the last reference is dropped. If references are left (or leaked)
/// when the device is unbound, the handlers are unregistered and the vectors freed then, after the
/// driver's data has been dropped; from then on creating a [`Registration`] fails. Either way no
/// handler runs, and the C side knows nothing of this module, once the device is unbound.
///
/// One allocation serves for all the time that a device is bound, controller resets and power
/// states included: the PCI core restores MSI and MSI-X state by itself.
pub struct Vectors {
    /// Dropping this revokes the allocation, and waits for it.
    _revoke: Devres<Revoke>,
    allocation: Arc<Allocation>,
}

impl Vectors {
    /// Allocates between `min` and `max` vectors of one of `types` for `pdev`.
    ///
    /// MSI-X is preferred to MSI, MSI to INTx. The first `pre_vectors` vectors aren't spread over
    /// the CPUs, for an admin queue or the like; each possible CPU belongs to exactly one of the
    /// others, and the kernel moves these together with their CPUs (managed affinity). There are
    /// never more vectors than `pre_vectors` and one for each possible CPU. May sleep.
    ///
    /// With a `second_set` that isn't 0, the last so many of the vectors are spread over the CPUs by
    /// themselves, so that each possible CPU belongs to one of those before them and to one of
    /// those. They may be fewer, and none, where there aren't enough vectors: see
    /// [`second_set`](Self::second_set). Then there may be more vectors than CPUs.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`]: `min` is 0 or below `pre_vectors`, or `max` is below `min`.
    /// - [`EBUSY`]: the device has vectors already.
    /// - [`ENOSPC`] and others of `pci_alloc_irq_vectors_affinity()`: there are less than `min`.
    pub fn alloc(
        pdev: &pci::Device<Core<'_>>,
        min: u32,
        max: u32,
        pre_vectors: u32,
        mut second_set: u32,
        types: &[IrqType],
    ) -> Result<Arc<Self>> {
        if min == 0 || max < min || pre_vectors > min || i32::try_from(max).is_err() {
            return Err(EINVAL);
        }

        let raw = pci_raw(pdev);
        // SAFETY: `raw` is a valid device.
        if unsafe { (*raw).msi_enabled() != 0 || (*raw).msix_enabled() != 0 } {
            return Err(EBUSY);
        }

        let flags = types
            .iter()
            .fold(bindings::PCI_IRQ_AFFINITY, |flags, irq_type| {
                flags
                    | match irq_type {
                        IrqType::Intx => bindings::PCI_IRQ_INTX,
                        IrqType::Msi => bindings::PCI_IRQ_MSI,
                        IrqType::MsiX => bindings::PCI_IRQ_MSIX,
                    }
            });
        let mut affinity = bindings::irq_affinity {
            pre_vectors,
            ..Default::default()
        };
        if second_set != 0 {
            affinity.calc_sets = Some(two_sets);
            affinity.priv_ = (&raw mut second_set).cast();
        }

        // SAFETY: `raw` is a valid device without vectors; `affinity`, and what it points to, is used
        // during the call only.
        let count = unsafe {
            bindings::pci_alloc_irq_vectors_affinity(raw, min, max, flags, &mut affinity)
        };
        to_result(count)?;

        // SAFETY: `raw` is a valid device.
        let irq_type = match unsafe { bindings::pci_irq_type(raw) } {
            bindings::PCI_IRQ_MSIX => IrqType::MsiX,
            bindings::PCI_IRQ_MSI => IrqType::Msi,
            _ => IrqType::Intx,
        };

        // From here on, `Allocated` frees the vectors if something fails.
        struct Allocated(*mut bindings::pci_dev, IrqType);
        impl Drop for Allocated {
            fn drop(&mut self) {
                // SAFETY: The vectors were allocated above, and no handler is registered yet.
                unsafe { free_vectors(self.0, self.1) };
            }
        }
        let allocated = Allocated(raw, irq_type);

        // CAST: `count` was checked to be no error.
        let vectors = Self::describe(pdev, count as u32)?;

        let second_set = match affinity.nr_sets {
            2 => affinity.set_size[1],
            _ => 0,
        };
        // INVARIANT: The vectors are allocated; only `revoke()` frees them, as `allocated` is
        // forgotten.
        let allocation = Arc::pin_init(
            pin_init!(Allocation {
                pdev: pdev.into(),
                irq_type,
                vectors,
                second_set,
                state <- new_mutex!(State {
                    allocated: true,
                    lines: KVec::new(),
                }),
            }),
            GFP_KERNEL,
        )?;
        core::mem::forget(allocated);

        // If this fails, `Revoke` is dropped, and frees the vectors.
        let revoke = Devres::new(pdev.as_ref(), Revoke(allocation.clone()))?;

        Ok(Arc::new(
            Self {
                _revoke: revoke,
                allocation,
            },
            GFP_KERNEL,
        )?)
    }

    /// Notes number and CPUs of each of the `count` vectors that `pdev` has.
    fn describe(pdev: &pci::Device<Bound>, count: u32) -> Result<KVec<Vector>> {
        let raw = pci_raw(pdev);
        let mut vectors = KVec::new();

        for index in 0..count {
            // SAFETY: `raw` is a valid device.
            let number = unsafe { bindings::pci_irq_vector(raw, index) };
            to_result(number)?;

            // CAST: `count` is no more than `i32::MAX`.
            //
            // SAFETY: `raw` is a valid device, which has a vector `index`.
            let mask = unsafe { bindings::pci_irq_get_affinity(raw, index as c_int) };
            let cpus = if mask.is_null() {
                None
            } else {
                // SAFETY: The mask of a vector lives as long as the vector does, and the caller
                // doesn't free it meanwhile.
                Some(CpuList::new(unsafe { Cpumask::from_raw(mask) })?)
            };

            vectors.push(
                Vector {
                    // CAST: Checked to be no error.
                    number: number as u32,
                    cpus,
                },
                GFP_KERNEL,
            )?;
        }

        Ok(vectors)
    }

    /// The number of vectors, at least 1.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.allocation.vectors.len()
    }

    /// The number of vectors at the end that were spread over the CPUs by themselves.
    pub fn second_set(&self) -> u32 {
        self.allocation.second_set
    }

    /// The type of all vectors.
    pub fn irq_type(&self) -> IrqType {
        self.allocation.irq_type
    }

    /// The Linux interrupt number of vector `index`, as in `/proc/interrupts`.
    pub fn number(&self, index: usize) -> Option<u32> {
        Some(self.allocation.vectors.get(index)?.number)
    }

    /// The CPUs that vector `index` was spread to.
    ///
    /// For the vectors that aren't spread it is the default affinity, which the administrator may
    /// have changed since; for INTx it is all possible CPUs.
    pub fn cpus(&self, index: usize) -> Option<&CpuList> {
        self.allocation.vectors.get(index)?.cpus.as_ref()
    }
}

/// Splits `count` vectors: the second set has what `affinity.priv_` says, as far as one vector stays
/// for the first.
///
/// # Safety
///
/// `affinity` is valid, and its `priv_` points to a `u32`.
unsafe extern "C" fn two_sets(affinity: *mut bindings::irq_affinity, count: c_uint) {
    // SAFETY: As promised by the caller; nobody else uses them meanwhile.
    let (affinity, wanted) = unsafe { (&mut *affinity, *(*affinity).priv_.cast::<u32>()) };
    let second = wanted.min(count.saturating_sub(1));

    affinity.nr_sets = if second == 0 { 1 } else { 2 };
    affinity.set_size = [count - second, second, 0, 0];
}

/// What the C side points to: the cookie of `request_irq()`.
struct Action<T> {
    handler: Arc<T>,
    /// The name in `/proc/interrupts`, which the C side doesn't copy.
    name: CString,
}

/// A registered interrupt handler.
///
/// Dropping it unregisters the handler and waits until it doesn't run any more; so it must be
/// dropped in process context, and not under a lock that the handler takes. A leaked registration
/// is undone when the device is unbound (see [`Vectors`]), and leaks the memory of the handler.
///
/// # Invariants
///
/// While `vectors` has a line whose cookie is the address of `action`, the C side has that address
/// and that of the action's name.
pub struct Registration<T: Handler + Send + 'static> {
    action: Arc<Action<T>>,
    vectors: Arc<Vectors>,
    number: u32,
}

impl<T: Handler + Send + 'static> Registration<T> {
    /// Registers `handler` for vector `index` of `vectors`.
    ///
    /// `name` is what `/proc/interrupts` shows, for instance `fmt!("rnvme0q{qid}")`. Several
    /// handlers may be registered for one vector, as an INTx line is shared with other devices and
    /// a device with few vectors shares them between its queues: so a handler may be called when
    /// there is nothing to do for it, and then returns [`IrqReturn::None`]. It may be called before
    /// this function returns. May sleep.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`]: there is no vector `index`, or `name` is empty or has a `/` in it.
    /// - [`ENODEV`]: the device was unbound, and the vectors are gone.
    /// - [`ENOMEM`] and others of `request_irq()`.
    pub fn new(
        vectors: Arc<Vectors>,
        index: usize,
        name: fmt::Arguments<'_>,
        handler: Arc<T>,
    ) -> Result<Self> {
        let number = vectors.number(index).ok_or(EINVAL)?;
        let name = CString::try_from_fmt(name)?;
        if name.is_empty() || name.to_bytes().contains(&b'/') {
            return Err(EINVAL);
        }
        let action = Arc::new(Action { handler, name }, GFP_KERNEL)?;
        let cookie = Arc::as_ptr(&action).cast_mut().cast::<c_void>();

        let mut state = vectors.allocation.state.lock();
        if !state.allocated {
            return Err(ENODEV);
        }
        // INVARIANT: The line is taken back below if the handler isn't registered, before anybody
        // sees it, as the lock is held.
        state.lines.push(Line { number, cookie }, GFP_KERNEL)?;

        // SAFETY:
        // - `number` is an interrupt of the device, whose vectors are allocated and can't be freed
        //   meanwhile, as the lock is held.
        // - `handle::<T>` can be called with `cookie` and from any CPU: it points to an `Action<T>`
        //   that, as does its name, lives until `Registration::drop()`, which unregisters the
        //   handler first; or forever if that isn't called.
        // - `cookie` isn't null, and no other registration has the same, as required for a shared
        //   interrupt.
        let result = to_result(unsafe {
            bindings::request_irq(
                number,
                Some(handle::<T>),
                // CAST: An `unsigned long` has at least 32 bits.
                bindings::IRQF_SHARED as c_ulong,
                action.name.as_char_ptr(),
                cookie,
            )
        });
        if let Err(error) = result {
            state.lines.pop();
            return Err(error);
        }
        drop(state);

        // INVARIANT: `action` is where `cookie` points to.
        Ok(Self {
            action,
            vectors,
            number,
        })
    }

    /// The handler.
    pub fn handler(&self) -> &Arc<T> {
        &self.action.handler
    }

    /// The Linux interrupt number, as in `/proc/interrupts`.
    pub fn number(&self) -> u32 {
        self.number
    }
}

impl<T: Handler + Send + 'static> Drop for Registration<T> {
    fn drop(&mut self) {
        let cookie = Arc::as_ptr(&self.action).cast_mut().cast::<c_void>();
        let mut state = self.vectors.allocation.state.lock();

        // If it isn't there, then the handler was unregistered when the device was unbound.
        if let Some(at) = state.lines.iter().position(|line| line.cookie == cookie) {
            if let Ok(line) = state.lines.remove(at) {
                line.free();
            }
        }
        // The C side doesn't have the action's address now: it may be freed.
    }
}

/// The C side's callback.
///
/// # Safety
///
/// `cookie` must point to an `Action<T>` that lives until this function returns.
unsafe extern "C" fn handle<T: Handler>(
    _number: c_int,
    cookie: *mut c_void,
) -> bindings::irqreturn_t {
    // SAFETY: By the safety requirements; `Action<T>` may be shared between CPUs, as `T` may.
    let action = unsafe { &*cookie.cast_const().cast::<Action<T>>() };

    // CAST: `IrqReturn` has the values of `enum irqreturn`.
    bindings::irqreturn_t(action.handler.handle() as c_uint)
}
