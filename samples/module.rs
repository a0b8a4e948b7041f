// SPDX-License-Identifier: GPL-2.0

//! The head that the NVMe samples share: the devices that they bind to, and the module itself.

use kernel::{
    device_id::IdArray,
    pci, //
};

/// QEMU's NVMe controller.
///
/// Not by `pci_device_table!`, because that exports a module alias: udev would then load a sample
/// in place of a driver for the disk.
pub static QEMU_NVME: IdArray<pci::DeviceId, (), 1> =
    crate::abstractions::series::table([pci::DeviceId::from_id(pci::Vendor::REDHAT, 0x0010)]);

/// Declares a module that registers a [`Driver`](crate::abstractions::pci::Driver) while it is
/// loaded.
#[macro_export]
macro_rules! module_pci_driver {
    (type: $type:ty, name: $name:tt, description: $description:tt $(,)?) => {
        kernel::module_driver!(<T>, $crate::abstractions::pci::Adapter<T>, {
            type: $type,
            name: $name,
            authors: ["The rust_nvme_demo developers"],
            description: $description,
            license: "GPL",
        });
    };
}
