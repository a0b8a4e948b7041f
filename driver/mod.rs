// SPDX-License-Identifier: GPL-2.0

//! The driver, in rooms. Each room uses only rooms below it:
//!
//! - [`views`]: the files in sysfs, debugfs and hwmon, but for those of a disk.
//! - [`control`]: the control device, by which user space sends admin commands.
//! - [`namespaces`]: scans the namespaces and makes their disks, with the disks' files.
//! - [`life`]: start, stop, time-outs and resets of a controller.
//! - [`params`]: the module's parameters.
//! - [`io`]: turns requests into commands, and completions into results.
//! - [`ctrl`]: the controller's registers and its admin commands.
//! - [`queue`]: rings, doorbells and counters.
//! - [`trace`]: the trace events.
//!
//! This file holds the callbacks of the PCI bus, and connects the rooms.

/// Logs a line about the device of `$ctrl` by `$print` (such as `dev_info`), rate-limited: for
/// every message that a device can cause repeatedly.
macro_rules! log_limited {
    ($print:ident, $ctrl:expr, $($args:tt)*) => {
        if $ctrl.may_log() {
            $print!($ctrl.dev(), $($args)*);
        }
    };
}

/// `log_limited!` by `dev_warn`.
macro_rules! warn_limited {
    ($($args:tt)*) => {
        log_limited!(dev_warn, $($args)*)
    };
}

mod control;
mod ctrl;
mod io;
mod life;
mod namespaces;
mod params;
mod queue;
mod trace;
mod views;

use self::{
    control::ControlDevice,
    life::Running,
    params::Params,
    views::Views, //
};
use crate::abstractions::series;
use crate::{
    abstractions::{
        pci::{
            Channel,
            Driver,
            Power,
            Recovery, //
        },
        workqueue::Tasks,
    },
    nvme::{
        self,
        host::life::State,
        host::prp,
        host::quirks::Quirks, //
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

/// `nvme/` implements only `core::fmt::Display`; the kernel's print macros need the kernel's
/// `Display`.
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
    life::Name,
    nvme::host::identity::Change,
    nvme::spec::id::Nsid,
    nvme::spec::id::Qid,
    nvme::spec::identify::IdentifyError,
    nvme::spec::identify::NamespaceError,
    nvme::spec::log::Warnings,
    nvme::spec::regs::CapError,
    nvme::spec::status::Status,
}

/// Sets up what all devices share, and checks the module's parameters. The module calls this once,
/// before it registers the driver, and keeps the result until it has unregistered the driver.
///
/// # Errors
///
/// Those of [`Params::read`], [`namespaces::init`] and [`control::init`].
pub(crate) fn init() -> Result<Classes> {
    Params::read()?;
    Ok(Classes {
        _generic: namespaces::init()?,
        _control: control::init()?,
    })
}

/// The classes of the devices.
pub(crate) struct Classes {
    _generic: namespaces::Classes,
    _control: control::Classes,
}

/// The driver, as the PCI bus sees it.
pub(crate) struct NvmeDriver;

/// The driver's data of a bound device.
pub(crate) struct Data {
    _control: ControlDevice,
    _views: Views,
    controller: Running,
}

/// QEMU's NVMe controller only: the driver binds to a real disk only if the administrator asks for
/// it by `driver_override` or `new_id`.
///
/// Not by `pci_device_table!`, because that exports a module alias: udev would then load both this
/// module and the kernel's `nvme`, and the driver that registers first would get the disk.
static PCI_TABLE: IdArray<pci::DeviceId, (), 1> =
    series::table([pci::DeviceId::from_id(pci::Vendor::REDHAT, 0x0010)]);

#[vtable]
impl Driver for NvmeDriver {
    type Data = Data;
    const ID_TABLE: pci::IdTable<()> = &PCI_TABLE;

    // PRP entries address whole pages.
    const DMA_ALIGN: u32 = prp::PAGE_SIZE as u32;

    const HAS_VIRTUAL_FUNCTIONS: bool = true;

    fn dma_bits(pdev: &pci::Device<Core<'_>>) -> Result<u32> {
        let (overrides, vendor) = (Params::read()?.quirks, pdev.vendor_id().as_raw());
        let quirks = overrides.in_force(vendor, pdev.device_id(), Quirks::default());
        Ok(quirks.dma_bits())
    }

    fn probe(pdev: &pci::Device<Core<'_>>, tasks: &Tasks) -> Result<Data> {
        let controller = Running::new(pdev, tasks, Params::read()?, namespaces::HOOKS)?;
        // Before the first uevent, because user space reads the files when it receives a uevent.
        let views = Views::new(pdev.as_ref(), &controller)?;
        let control = control::create(pdev.as_ref(), &controller, views::CLASS_DEVICE)?;
        // Disks and generic devices are removed before the control device, below which they are.
        controller
            .announce(pdev.as_ref())
            .inspect_err(|_| controller.remove())?;

        Ok(Data {
            _control: control,
            _views: views,
            controller,
        })
    }

    fn unbind(pdev: &pci::Device<Bound>, data: &Data) {
        data.controller.remove();
        // remove() has cancelled the task that submits dumps.
        data.controller.submit_dump(pdev.as_ref());
    }

    fn shutdown(_pdev: &pci::Device<Bound>, data: &Data) {
        // A controller that isn't live is stopped already.
        let _ = data.controller.suspend(false);
    }

    fn suspend(_pdev: &pci::Device<Bound>, data: &Data, power: Power) -> Result<Power> {
        if power == Power::Kept && data.controller.rest() {
            return Ok(Power::Kept);
        }
        match data.controller.state() {
            // A dead controller is stopped already.
            State::Dead => {}
            _ => data.controller.suspend(true)?,
        }
        Ok(Power::Lost)
    }

    fn resume(pdev: &pci::Device<Bound>, data: &Data) -> Result {
        data.controller.resume(pdev.as_ref())
    }

    fn reset_prepare(_pdev: &pci::Device<Bound>, data: &Data) {
        let _ = data.controller.suspend(false);
    }

    fn reset_done(pdev: &pci::Device<Bound>, data: &Data) {
        // resume() logs its own failures.
        let _ = data.controller.resume(pdev.as_ref());
    }

    fn error_detected(_pdev: &pci::Device<Bound>, data: &Data, channel: Channel) -> Recovery {
        match channel {
            Channel::Normal => Recovery::CanRecover,
            Channel::Frozen => {
                data.controller.bus_frozen();
                Recovery::NeedReset
            }
            Channel::Lost => {
                data.controller.bus_lost();
                Recovery::Disconnect
            }
        }
    }

    fn slot_reset(pdev: &pci::Device<Bound>, data: &Data) -> Recovery {
        // error_detected() isn't called here if a sibling requested the reset.
        data.controller.bus_frozen();
        data.controller.bus_recovered(pdev.as_ref());
        // Report success even for a dead controller; otherwise the core disconnects its siblings.
        Recovery::Recovered
    }
}
