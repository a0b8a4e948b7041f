// SPDX-License-Identifier: GPL-2.0

//! The driver: [`controller`] brings a controller up and down, [`admin`] and [`io`] run its
//! commands over a [`queue`], [`namespace`] makes disks, [`stats`] counts, and [`views`] shows it
//! all in sysfs and debugfs.

mod admin;
mod controller;
mod io;
mod namespace;
mod params;
mod queue;
mod regs;
mod stats;
mod views;

pub(crate) use self::params::Params;

use self::{
    controller::Running,
    views::Views, //
};
use crate::nvme;
use kernel::{
    device::Core,
    pci,
    prelude::*, //
};

/// The protocol knows only `core`'s way to print; the kernel's macros want the kernel's.
macro_rules! impl_display {
    ($($type:ty),* $(,)?) => {
        $(
            impl kernel::fmt::Display for $type {
                fn fmt(&self, f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
                    core::fmt::Display::fmt(self, f)
                }
            }
        )*
    };
}

impl_display! {
    nvme::identify::IdentifyError,
    nvme::identify::NamespaceError,
    nvme::regs::CapError,
    nvme::status::Status,
}

/// The driver, to the PCI bus.
pub(crate) struct NvmeDriver;

/// What belongs to a bound device. The views go first, so that nobody looks at what is taken down.
pub(crate) struct Data {
    _views: Views,
    _controller: Running,
}

kernel::pci_device_table!(
    PCI_TABLE,
    <NvmeDriver as pci::Driver>::IdInfo,
    [
        // QEMU's NVMe controller, and no other: a real disk is taken only where the administrator
        // says so, by `driver_override` or `new_id`.
        (pci::DeviceId::from_id(pci::Vendor::REDHAT, 0x0010), ())
    ]
);

impl pci::Driver for NvmeDriver {
    type IdInfo = ();
    type Data<'bound> = Data;
    const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;

    fn probe<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Data, Error> + 'bound {
        pin_init::pin_init_scope::<_, Error, _, _>(move || {
            let controller = Running::new(pdev, Params::read()?)?;
            let views = Views::new(pdev.as_ref(), &controller)?;

            Ok(Ok::<_, Error>(Data {
                _views: views,
                _controller: controller,
            }))
        })
    }
}
