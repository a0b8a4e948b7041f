// SPDX-License-Identifier: GPL-2.0

//! The driver: [`controller`] brings a controller up and down, [`admin`] and [`io`] run its
//! commands over a [`queue`], [`recovery`] is what happens when something goes wrong,
//! [`namespace`] makes disks, of which [`subsystem`] lets no second one be, [`shadow`] has doorbells in memory, [`stats`] counts, and [`views`]
//! shows it all in sysfs, debugfs and core dumps.

/// Writes a line on the device of `$controller` to the log by `$print`, as `dev_info`, unless there were too
/// many of late: for all that a device can bring about again and again.
macro_rules! log_limited {
    ($print:ident, $controller:expr, $($args:tt)*) => {
        if let Some(missed) = $controller.log.admit() {
            if missed > 0 {
                dev_warn!($controller.dev(), "{} lines left out\n", missed);
            }
            $print!($controller.dev(), $($args)*);
        }
    };
}

/// As `log_limited!`, for a warning.
macro_rules! warn_limited {
    ($($args:tt)*) => {
        log_limited!(dev_warn, $($args)*)
    };
}

mod admin;
mod controller;
mod io;
mod namespace;
mod params;
mod queue;
mod recovery;
mod regs;
mod shadow;
mod stats;
mod subsystem;
mod views;

use self::{
    controller::Running,
    params::Params,
    views::Views, //
};
use crate::{
    abstractions::{
        pci::{
            Channel,
            Driver,
            Recovery, //
        },
        work::Tasks,
    },
    nvme::{
        self,
        host::prp,
        host::life::State, //
    }, //
};
use kernel::{
    device::{
        Bound,
        Core, //
    },
    device_id::IdArray,
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
    nvme::spec::identify::Change,
    nvme::spec::identify::IdentifyError,
    nvme::spec::identify::NamespaceError,
    nvme::spec::regs::CapError,
    nvme::spec::status::Status,
}

/// Makes what all devices share, and checks the module's parameters: once, before there is a device.
///
/// # Errors
///
/// Those of [`Params::read`].
pub(crate) fn init() -> Result {
    subsystem::init();
    Params::read().map(|_| ())
}

/// The driver, to the PCI bus.
pub(crate) struct NvmeDriver;

/// What belongs to a bound device.
pub(crate) struct Data {
    _views: Views,
    controller: Running,
}

/// QEMU's NVMe controller, and no other: a real disk is taken only if the administrator says so, by
/// `driver_override` or `new_id`.
///
/// It isn't made by `pci_device_table!`, which has an alias of the module made of it: udev would load this
/// module and the kernel's `nvme` at once, and the first to register would get the disk.
static PCI_TABLE: IdArray<pci::DeviceId, (), 1> =
    IdArray::new([(pci::DeviceId::from_id(pci::Vendor::REDHAT, 0x0010), &())]);

impl Driver for NvmeDriver {
    type Data = Data;
    const ID_TABLE: pci::IdTable<()> = &PCI_TABLE;

    const DMA_BITS: u32 = 64;
    // It is told of data by pages.
    const DMA_ALIGN: u32 = prp::PAGE_SIZE as u32;

    fn probe(pdev: &pci::Device<Core<'_>>, tasks: &Tasks) -> Result<Data> {
        let controller = Running::new(pdev, tasks, Params::read()?)?;
        // Before the first event: user space looks there when it is told of a state or a disk.
        let views = Views::new(pdev.as_ref(), &controller)?;
        controller.start(pdev.as_ref())?;

        Ok(Data {
            _views: views,
            controller,
        })
    }

    fn unbind(pdev: &pci::Device<Bound>, data: &Data) {
        data.controller.take_down();
        // No task does it any more.
        data.controller.submit_dump(pdev.as_ref());
    }

    fn shutdown(_pdev: &pci::Device<Bound>, data: &Data) {
        // A controller that isn't live is stopped already.
        let _ = data.controller.suspend(false);
    }

    fn suspend(_pdev: &pci::Device<Bound>, data: &Data) -> Result {
        match data.controller.state() {
            // There is nothing to stop, and nothing to wake.
            State::Dead => Ok(()),
            _ => data.controller.suspend(true),
        }
    }

    fn resume(pdev: &pci::Device<Bound>, data: &Data) -> Result {
        data.controller.resume(pdev.as_ref())
    }

    fn reset_prepare(_pdev: &pci::Device<Bound>, data: &Data) {
        let _ = data.controller.suspend(false);
    }

    fn reset_done(pdev: &pci::Device<Bound>, data: &Data) {
        // It says by itself what doesn't work.
        let _ = data.controller.resume(pdev.as_ref());
    }

    fn error_detected(_pdev: &pci::Device<Bound>, data: &Data, channel: Channel) -> Recovery {
        match channel {
            Channel::Normal => Recovery::CanRecover,
            Channel::Frozen => {
                data.controller.freeze();
                Recovery::NeedReset
            }
            Channel::Lost => {
                data.controller.lose();
                Recovery::Disconnect
            }
        }
    }

    fn slot_reset(pdev: &pci::Device<Bound>, data: &Data) -> Recovery {
        // Where another device below the port asked for this, there was no word of it before.
        data.controller.freeze();
        data.controller.bus_recovered(pdev.as_ref());
        // Also where this controller is dead: the bus would give up its neighbours, too.
        Recovery::Recovered
    }

    fn error_resume(_pdev: &pci::Device<Bound>, _data: &Data) {}
}
