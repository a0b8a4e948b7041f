// SPDX-License-Identifier: GPL-2.0

//! PCI interrupt vectors spread over the CPUs, and handlers for them.
//!
//! The in-tree [`kernel::pci::Device::alloc_irq_vectors`] can't spread vectors over the CPUs, and
//! the in-tree [`kernel::irq::Registration`] borrows the bound device, takes only a static name and
//! is unsafe to create, because leaking it would leave a handler behind. Here an allocation is an
//! [`Arc`], names are formatted at run time, and everything is safe: unbinding the device undoes
//! what a driver leaks.
//!
//! C headers: [`include/linux/interrupt.h`](srctree/include/linux/interrupt.h),
//! [`include/linux/pci.h`](srctree/include/linux/pci.h)

// A driver uses only a part of this.
#![allow(dead_code, unreachable_pub, unused_imports)]

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

pub use super::series::Handler;
pub use kernel::irq::IrqReturn;

use super::{
    pci::io::pci_raw,
    series::{
        irq_type,
        irqreturn, //
    }, //
};

/// A set of CPUs, as sorted ranges of CPU numbers.
///
/// Displays like the kernel's `cpulist` files, for instance `0-1,4`; the empty set displays as the
/// empty string.
///
/// # Examples
///
/// ```
/// use abstractions::irq::CpuList;
/// use kernel::{cpu::CpuId, cpumask::CpumaskVar, str::CString};
///
/// let mut mask = CpumaskVar::new_zero(GFP_KERNEL)?;
/// mask.set(CpuId::from_u32(0).ok_or(EINVAL)?);
///
/// let list = CpuList::new(&mask)?;
/// assert_eq!(CString::try_from_fmt(fmt!("{list}"))?.to_bytes(), b"0");
/// ```
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

            write!(f, "{comma}{first}")?;
            if first != last {
                write!(f, "-{last}")?;
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

/// A vector's properties, which don't change after its allocation.
struct Vector {
    /// Linux interrupt number.
    number: u32,
    /// CPUs that the vector is assigned to.
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

// SAFETY: Only the address is used, to identify the handler to `free_irq()`, which any task may
// call.
unsafe impl Send for Line {}

impl Line {
    /// Unregisters the handler, and waits until it no longer runs.
    fn free(self) {
        // SAFETY: By the type invariants the handler is registered. It is freed only once, because
        // this consumes `self`.
        unsafe { bindings::free_irq(self.number, self.cookie) };
    }
}

/// The part of [`Vectors`] that changes.
struct State {
    /// The vectors are allocated.
    allocated: bool,
    /// All handlers that are registered for the vectors.
    lines: KVec<Line>,
}

/// An allocation of vectors, shared between [`Vectors`] and the device's resource list.
///
/// # Invariants
///
/// While `state.allocated`, `pdev` has the interrupt vectors in `vectors`, and only this object
/// frees them.
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
    /// Unregisters all remaining handlers, and frees the vectors. Does nothing the second time.
    fn revoke(&self) {
        let mut state = self.state.lock();

        if !state.allocated {
            return;
        }
        state.allocated = false;
        while let Some(line) = state.lines.pop() {
            line.free();
        }

        // SAFETY: By the type invariants this object owns the allocated vectors; no handler is
        // left.
        unsafe { free_vectors(pci_raw(&self.pdev), self.irq_type) };
    }

    /// Registers `handle` with the interrupt number and the cookie of `line`.
    ///
    /// # Errors
    ///
    /// [`ENODEV`] if the vectors are gone; [`ENOMEM`] and others of `request_irq()`.
    ///
    /// # Safety
    ///
    /// - The number must be that of one of the vectors.
    /// - `handle` must be callable with the cookie, from any CPU, and `name` must live, until
    ///   [`free`](Self::free) or [`revoke`](Self::revoke) has unregistered the handler.
    /// - The cookie must not be null, and unique among the handlers.
    unsafe fn request(
        &self,
        line: Line,
        name: &CStr,
        handle: unsafe extern "C" fn(c_int, *mut c_void) -> bindings::irqreturn_t,
    ) -> Result {
        let Line { number, cookie } = line;
        let mut state = self.state.lock();
        if !state.allocated {
            return Err(ENODEV);
        }
        // INVARIANT: If registering the handler fails, the line is removed below. No other context
        // sees the line before that, because the lock is held.
        state.lines.push(line, GFP_KERNEL)?;

        // SAFETY: `number` is an interrupt of the device, whose vectors are allocated and can't be
        // freed meanwhile, because the lock is held. The caller promises the rest.
        let result = to_result(unsafe {
            bindings::request_irq(
                number,
                Some(handle),
                // CAST: An `unsigned long` has at least 32 bits.
                bindings::IRQF_SHARED as c_ulong,
                name.as_char_ptr(),
                cookie,
            )
        });
        if result.is_err() {
            state.lines.pop();
        }
        result
    }

    /// Unregisters the handler with `cookie`, and waits until it no longer runs. Does nothing if
    /// unbinding the device has unregistered it.
    fn free(&self, cookie: *mut c_void) {
        let mut state = self.state.lock();

        if let Some(at) = state.lines.iter().position(|line| line.cookie == cookie) {
            if let Ok(line) = state.lines.remove(at) {
                line.free();
            }
        }
    }
}

/// Formats and checks the name of a handler.
fn handler_name(name: fmt::Arguments<'_>) -> Result<CString> {
    let name = CString::try_from_fmt(name)?;

    if name.is_empty() || name.to_bytes().contains(&b'/') {
        return Err(EINVAL);
    }
    Ok(name)
}

/// Frees the MSI or MSI-X vectors of a device. Does nothing for INTx, because the device may have
/// vectors of another owner.
///
/// # Safety
///
/// The device must have vectors of this type, which the caller owns, without a handler.
unsafe fn free_vectors(pdev: *mut bindings::pci_dev, irq_type: IrqType) {
    if !matches!(irq_type, IrqType::Intx) {
        // SAFETY: The caller promises that the device has vectors of this type, without a handler.
        unsafe { bindings::pci_free_irq_vectors(pdev) };
    }
}

/// When dropped, revokes an [`Allocation`].
struct Revoke(Arc<Allocation>);

impl Drop for Revoke {
    fn drop(&mut self) {
        self.0.revoke();
    }
}

/// The interrupt vectors of a PCI device, spread over the CPUs.
///
/// Dropping the last reference frees the vectors. If references still exist (or were leaked) at
/// unbind, unbinding unregisters the handlers and frees the vectors, after the driver's data was
/// dropped; from then on creating a [`Registration`] fails. Either way, after unbind no handler
/// runs, and no C code has a pointer into this module.
///
/// An allocation stays valid across controller resets and power states, because the PCI core
/// restores MSI and MSI-X state.
///
/// # Examples
///
/// ```no_run
/// use abstractions::irq::Vectors;
/// use kernel::pci::IrqType;
///
/// // The first of up to 9 vectors isn't spread; two of the others, if there are enough, are a
/// // second set.
/// let vectors = Vectors::alloc(pdev, 1, 9, 1, 2, &[IrqType::MsiX, IrqType::Msi])?;
///
/// dev_info!(pdev, "{:?}, {} vectors\n", vectors.irq_type(), vectors.len());
/// dev_info!(pdev, "second set: {} vectors\n", vectors.second_set());
/// for index in 0..vectors.len() {
///     if let Some((number, cpus)) = vectors.number(index).zip(vectors.cpus(index)) {
///         dev_info!(pdev, "interrupt {} is for CPUs {}\n", number, cpus);
///     }
/// }
/// ```
pub struct Vectors {
    /// Dropping this revokes the allocation, and waits for it.
    _revoke: Devres<Revoke>,
    allocation: Arc<Allocation>,
}

impl Vectors {
    /// Allocates between `min` and `max` vectors of one of `types` for `pdev`.
    ///
    /// MSI-X is preferred to MSI, and MSI to INTx. The first `pre_vectors` vectors, for example an
    /// admin queue's, aren't spread over the CPUs. Each possible CPU is assigned to exactly one of
    /// the other vectors, whose affinity the kernel manages. There are at most `pre_vectors`
    /// vectors plus one per possible CPU. May sleep.
    ///
    /// If `second_set` isn't 0, the last `second_set` vectors are spread over the CPUs separately,
    /// so that each possible CPU is assigned to a vector of each set. Then there may be more
    /// vectors than CPUs. If there aren't enough vectors, the second set is smaller or empty: see
    /// [`second_set`](Self::second_set).
    ///
    /// # Errors
    ///
    /// - [`EINVAL`]: `min` is 0 or below `pre_vectors`, or `max` is below `min`.
    /// - [`EBUSY`]: the device already has vectors.
    /// - [`ENOSPC`] and others of `pci_alloc_irq_vectors_affinity()`: fewer than `min` vectors are
    ///   available.
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

        // SAFETY: `raw` is a valid device without vectors; the function uses `affinity`, and what
        // it points to, only during the call.
        let count = unsafe {
            bindings::pci_alloc_irq_vectors_affinity(raw, min, max, flags, &mut affinity)
        };
        to_result(count)?;

        // SAFETY: `raw` is a valid device.
        let irq_type = unsafe { irq_type(raw) };

        // Frees the vectors if a later step fails.
        struct Allocated(*mut bindings::pci_dev, IrqType);
        impl Drop for Allocated {
            fn drop(&mut self) {
                // SAFETY: The vectors were allocated above, and no handler is registered yet.
                unsafe { free_vectors(self.0, self.1) };
            }
        }
        let allocated = Allocated(raw, irq_type);

        // CAST: `count` isn't negative, as checked above.
        let vectors = Self::describe(pdev, count as u32)?;

        let second_set = match affinity.nr_sets {
            2 => affinity.set_size[1],
            _ => 0,
        };
        // INVARIANT: The vectors are allocated; only `revoke()` frees them, because `allocated` is
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

    /// Collects the number and the CPUs of each of the `count` vectors of `pdev`.
    fn describe(pdev: &pci::Device<Bound>, count: u32) -> Result<KVec<Vector>> {
        let raw = pci_raw(pdev);
        // CAST: A `usize` has at least 32 bits.
        let mut vectors = KVec::with_capacity(count as usize, GFP_KERNEL)?;

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
                // SAFETY: The mask lives as long as the vector, which the caller doesn't free
                // meanwhile.
                Some(CpuList::new(unsafe { Cpumask::from_raw(mask) })?)
            };

            vectors.push_within_capacity(Vector {
                // CAST: `number` isn't negative, as checked above.
                number: number as u32,
                cpus,
            })?;
        }

        Ok(vectors)
    }

    /// The number of vectors, at least 1.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.allocation.vectors.len()
    }

    /// The number of vectors at the end that were spread over the CPUs separately.
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

    /// The CPUs that vector `index` is assigned to.
    ///
    /// For vectors that aren't spread, the default affinity at the time of allocation; for INTx,
    /// all possible CPUs.
    pub fn cpus(&self, index: usize) -> Option<&CpuList> {
        self.allocation.vectors.get(index)?.cpus.as_ref()
    }
}

/// Splits `count` vectors: the second set gets the number at `affinity.priv_`, but at least one
/// vector stays in the first set.
///
/// # Safety
///
/// `affinity` is valid, and its `priv_` points to a `u32`.
unsafe extern "C" fn two_sets(affinity: *mut bindings::irq_affinity, count: c_uint) {
    // SAFETY: The caller promises that both are valid; no other context accesses them during this
    // call.
    let (affinity, wanted) = unsafe { (&mut *affinity, *(*affinity).priv_.cast::<u32>()) };
    let second = wanted.min(count.saturating_sub(1));

    affinity.nr_sets = if second == 0 { 1 } else { 2 };
    affinity.set_size = [count - second, second, 0, 0];
}

/// The cookie of `request_irq()`.
struct Action<T> {
    handler: Arc<T>,
    /// The name in `/proc/interrupts`, which `request_irq()` doesn't copy.
    name: CString,
}

/// A registered interrupt handler.
///
/// Dropping it unregisters the handler and waits until the handler no longer runs; so drop it in
/// process context, and not under a lock that the handler takes. Unbinding the device unregisters a
/// leaked handler (see [`Vectors`]); only its memory stays leaked.
///
/// # Invariants
///
/// While `vectors` has a line whose cookie is the address of `action`, the kernel holds that
/// address and that of the action's name.
///
/// # Examples
///
/// ```no_run
/// use abstractions::irq::{Handler, IrqReturn, Registration, Vectors};
/// use kernel::{
///     pci::IrqType,
///     sync::{
///         atomic::{Atomic, Relaxed},
///         Arc,
///     },
/// };
///
/// struct Counter(Atomic<u64>);
///
/// impl Handler for Counter {
///     fn handle(&self) -> IrqReturn {
///         self.0.fetch_add(1, Relaxed);
///         IrqReturn::Handled
///     }
/// }
///
/// let vectors = Vectors::alloc(pdev, 1, 1, 1, 0, &[IrqType::MsiX])?;
/// let counter = Arc::new(Counter(Atomic::new(0)), GFP_KERNEL)?;
/// let registration = Registration::new(vectors, 0, fmt!("my_driver{}", 0), counter)?;
///
/// let count = registration.handler().0.load(Relaxed);
/// dev_info!(pdev, "interrupt {} came {} times\n", registration.number(), count);
/// ```
pub struct Registration<T: Handler + Send + 'static> {
    action: Arc<Action<T>>,
    vectors: Arc<Vectors>,
    number: u32,
}

impl<T: Handler + Send + 'static> Registration<T> {
    /// Registers `handler` for vector `index` of `vectors`.
    ///
    /// `name` is what `/proc/interrupts` shows, for instance `fmt!("nvme900q{qid}")`. A vector may
    /// have several handlers, because other devices may share an INTx line, and a device with few
    /// vectors shares them between its queues. So the kernel may call a handler that has nothing to
    /// do, and which then returns [`IrqReturn::None`]. It may call the handler before this function
    /// returns. May sleep.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`]: there is no vector `index`, or `name` is empty or contains a `/`.
    /// - [`ENODEV`]: the device was unbound, and the vectors are gone.
    /// - [`ENOMEM`] and others of `request_irq()`.
    pub fn new(
        vectors: Arc<Vectors>,
        index: usize,
        name: fmt::Arguments<'_>,
        handler: Arc<T>,
    ) -> Result<Self> {
        let number = vectors.number(index).ok_or(EINVAL)?;
        let name = handler_name(name)?;
        let action = Arc::new(Action { handler, name }, GFP_KERNEL)?;
        let cookie = Arc::as_ptr(&action).cast_mut().cast::<c_void>();
        // SAFETY: `number` is that of one of the vectors. `handle::<T>` can be called with
        // `cookie` and from any CPU: it points to an `Action<T>` that lives, with its name, until
        // `Registration::drop()`, which unregisters the handler first, or forever if that isn't
        // called. `cookie` isn't null, and unique among registrations.
        unsafe {
            vectors
                .allocation
                .request(Line { number, cookie }, &action.name, handle::<T>)
        }?;

        // INVARIANT: `cookie`, the address of `action`, was registered with the action's name.
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
        self.vectors.allocation.free(cookie);
        // The kernel no longer holds the action's address, so it may be freed.
    }
}

/// The handler that is registered with the kernel.
///
/// # Safety
///
/// `cookie` must point to an `Action<T>` that lives until this function returns.
unsafe extern "C" fn handle<T: Handler>(
    _number: c_int,
    cookie: *mut c_void,
) -> bindings::irqreturn_t {
    // SAFETY: The caller promises that `cookie` points to a live `Action<T>`, which may be shared
    // between CPUs because `T` may.
    let action = unsafe { &*cookie.cast_const().cast::<Action<T>>() };

    // CAST: `IrqReturn` has the values of `enum irqreturn`.
    irqreturn(action.handler.handle() as c_uint)
}
