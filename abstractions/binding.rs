// SPDX-License-Identifier: GPL-2.0

//! Whether a device is still bound, for objects that may outlive that.
//!
//! `Device<Bound>` proves it where a reference to the device is at hand. Objects without a lifetime,
//! such as a pool of DMA memory that requests take blocks from, ask a [`Binding`].
//!
//! C header: [`include/linux/device/devres.h`](srctree/include/linux/device/devres.h)

use super::dma;
use core::{
    mem::ManuallyDrop,
    ptr::NonNull,
    sync::atomic::{
        AtomicBool,
        Ordering, //
    }, //
};
use kernel::{
    bindings,
    device::{
        self,
        Bound, //
    },
    prelude::*,
    sync::{
        rcu,
        Arc, //
    }, //
};

/// The time for which a device is bound to its driver.
///
/// The in-tree [`Devres`](kernel::devres::Devres) does the same for one value. This one is shared by
/// all who ask for it, so that unbinding a device waits for one RCU grace period, not for one per
/// object; and for none if no object is left by then.
///
/// # Invariants
///
/// `bound` becomes false at unbind, and an RCU grace period passes before unbinding goes on, unless
/// nobody has a reference to the value then.
pub struct Binding {
    bound: AtomicBool,
}

impl Binding {
    /// Returns the binding of `dev`: the same one until the device is unbound. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn of(dev: &device::Device<Bound>) -> Result<Arc<Self>> {
        let new = Arc::new(
            Self {
                bound: AtomicBool::new(true),
            },
            GFP_KERNEL,
        )?;

        // SAFETY: The name ends with a null, and is static.
        let resource = unsafe {
            bindings::__devres_alloc_node(
                Some(Self::release),
                size_of::<*const Self>(),
                bindings::GFP_KERNEL,
                dma::node(dev),
                c"Binding".as_char_ptr(),
            )
        };
        let resource = NonNull::new(resource.cast::<*const Self>()).ok_or(ENOMEM)?;
        // SAFETY: The resource was allocated for a pointer; this one owns a reference.
        unsafe { resource.write(Arc::into_raw(new.clone())) };

        // SAFETY: The device is bound, and stays so for this call: what is found isn't released
        // meanwhile. Resources with this release function hold a pointer to an `Arc`'s value. The
        // resource is the device's after the call, or freed if the device has one.
        let found = unsafe {
            let found = bindings::devres_get(
                dma::raw(dev),
                resource.as_ptr().cast(),
                None,
                core::ptr::null_mut(),
            );
            ManuallyDrop::new(Arc::from_raw(*found.cast::<*const Self>()))
        };
        let found = Arc::clone(&found);
        if !Arc::ptr_eq(&found, &new) {
            // SAFETY: The resource that owned this reference was freed without being released.
            drop(unsafe { Arc::from_raw(Arc::as_ptr(&new)) });
        }
        Ok(found)
    }

    /// Keeps the device bound while the returned guard exists; `None` if it is unbound. The holder
    /// must not sleep. Any context.
    #[inline]
    pub fn hold(&self) -> Option<rcu::Guard> {
        let guard = rcu::read_lock();

        // By the type invariant unbinding waits for this read-side section, or the section sees
        // `false`.
        self.bound.load(Ordering::Relaxed).then_some(guard)
    }

    /// Ends the binding.
    ///
    /// # Safety
    ///
    /// The driver core calls this when the device is unbound, with a resource of [`of`](Self::of).
    unsafe extern "C" fn release(_dev: *mut bindings::device, resource: *mut c_void) {
        // SAFETY: The resource holds a pointer that owns a reference, and is released once.
        let binding = unsafe { Arc::from_raw(*resource.cast::<*const Self>()) };

        // INVARIANT: Who has no reference doesn't look at `bound`, and gets none any more.
        binding.bound.store(false, Ordering::Relaxed);
        if Arc::into_unique_or_drop(binding).is_none() {
            rcu::synchronize_rcu();
        }
    }
}
