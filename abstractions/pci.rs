// SPDX-License-Identifier: GPL-2.0

//! PCI functions that the in-tree crate lacks.
//!
//! C header: [`include/linux/pci.h`](srctree/include/linux/pci.h)

use super::bar::pci_raw;
use kernel::{
    bindings,
    device::Core,
    error::to_result,
    pci,
    prelude::*,
    sync::aref::ARef, //
};

/// A device that was enabled: it decodes its memory and may do DMA, until the driver is unbound.
pub struct Enabled(ARef<pci::Device>);

impl Enabled {
    /// Enables the device and its bus mastering. Both end after the driver was unbound and its data
    /// dropped, whoever still holds this value then. May sleep.
    ///
    /// # Errors
    ///
    /// Those of `pcim_enable_device()`.
    pub fn new(pdev: &pci::Device<Core<'_>>) -> Result<Self> {
        // SAFETY: The device is valid and is being bound, so what is managed is undone at unbind.
        to_result(unsafe { bindings::pcim_enable_device(pci_raw(pdev)) })?;
        pdev.set_master();
        Ok(Self(pdev.into()))
    }

    /// Keeps the device from doing DMA, whatever it does: for one that doesn't obey any more.
    pub fn stop_dma(&self) {
        // SAFETY: The device is valid, as it is counted.
        unsafe { bindings::pci_clear_master(pci_raw(&self.0)) };
    }

    /// Whether the device answers: it wasn't unplugged, and its configuration space can be read.
    pub fn is_present(&self) -> bool {
        // SAFETY: The device is valid, as it is counted.
        unsafe { bindings::pci_device_is_present(pci_raw(&self.0)) }
    }
}
