// SPDX-License-Identifier: GPL-2.0

//! Whether a device is still bound, for objects that may outlive the binding.
//!
//! If a caller has a `Device<Bound>`, that reference proves it. Objects without a lifetime check a
//! [`Binding`]: for example a pool of DMA memory from which requests take blocks.
//!
//! C header: [`include/linux/device/devres.h`](srctree/include/linux/device/devres.h)

// A driver uses only a part of this.
#![allow(dead_code, unreachable_pub)]

use super::{
    atomic::{
        AtomicBool,
        Ordering, //
    },
    dma,
    series::synchronize_rcu, //
};
use core::{
    mem::ManuallyDrop,
    ptr::NonNull, //
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
/// The in-tree [`Devres`](kernel::devres::Devres) does the same for a single value. All objects of
/// a device share a [`Binding`], so that unbinding waits for one RCU grace period instead of one
/// per object, and for none if no object is left.
///
/// # Invariants
///
/// `bound` becomes false at unbind, and an RCU grace period passes before unbinding continues,
/// unless no other reference to the value exists then.
///
/// # Examples
///
/// ```
/// use abstractions::binding::Binding;
/// use kernel::sync::Arc;
///
/// let binding = Binding::of(dev)?;
/// // All objects of a device share it.
/// assert!(Arc::ptr_eq(&binding, &Binding::of(dev)?));
///
/// // The device stays bound until the guard is dropped.
/// let guard = binding.hold();
/// assert!(guard.is_some());
/// ```
pub struct Binding {
    bound: AtomicBool,
}

impl Binding {
    /// Returns the binding of `dev`: always the same object until the device is unbound. May sleep.
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
        // SAFETY: The resource was allocated for a pointer; the written pointer owns a reference.
        unsafe { resource.write(Arc::into_raw(new.clone())) };

        // SAFETY: The device stays bound during this call, so the resource that is found isn't
        // released meanwhile. Resources with this release function hold a pointer to an `Arc`'s
        // value. `devres_get` adds `resource` to the device, or frees it if the device already has
        // such a resource.
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

        // INVARIANT: If this is the last reference, no context reads `bound`, and none can get a
        // reference, because the resource is no longer in the device's list. Otherwise a grace
        // period passes.
        binding.bound.store(false, Ordering::Relaxed);
        if Arc::into_unique_or_drop(binding).is_none() {
            synchronize_rcu();
        }
    }
}
