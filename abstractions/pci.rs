// SPDX-License-Identifier: GPL-2.0

//! PCI functions that the in-tree crate lacks.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)

use super::bar::pci_raw;
use kernel::{
    bindings,
    device::Core,
    pci,
    prelude::*,
    sync::aref::ARef, //
};

/// A device that was enabled: it decodes its memory and may do DMA. Dropping it undoes both.
///
/// # Invariants
///
/// The device was enabled for this value.
pub struct Enabled(ARef<pci::Device>);

impl Enabled {
    /// Enables the device's memory and its bus mastering. May sleep.
    ///
    /// # Errors
    ///
    /// Those of `pci_enable_device_mem()`.
    pub fn new(pdev: &pci::Device<Core<'_>>) -> Result<Self> {
        pdev.enable_device_mem()?;
        pdev.set_master();

        // INVARIANT: Enabled above.
        Ok(Self(pdev.into()))
    }

    /// Whether the device answers: it wasn't unplugged, and its configuration space can be read.
    pub fn is_present(&self) -> bool {
        // SAFETY: The device is valid, as it is counted.
        unsafe { bindings::pci_device_is_present(pci_raw(&self.0)) }
    }
}

impl Drop for Enabled {
    fn drop(&mut self) {
        // SAFETY: The device is valid, and by the type invariant was enabled; each enabling is
        // undone once.
        unsafe {
            bindings::pci_clear_master(pci_raw(&self.0));
            bindings::pci_disable_device(pci_raw(&self.0));
        }
    }
}
