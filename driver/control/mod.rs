// SPDX-License-Identifier: GPL-2.0

//! The control device of a controller, `/dev/nvme900`: the ioctls by which tools send admin
//! commands, and reset and scan, and by which old tools send I/O commands.
//!
//! `admin` carries out a user's admin command, whose data go through a `transfer`. Who may do what,
//! and the errors, are those of the kernel's `nvme`. This room uses a [`Controller`] of `life`; only
//! `driver/mod.rs` calls it.

mod admin;
mod transfer;

use super::{
    io::{
        self,
        ControlCalls,
        NvmeOps, //
    },
    life::Controller, //
};
use crate::{
    abstractions::{
        block::mq::DiskRef,
        chrdev::{
            is_admin,
            CharDevice,
            Class,
            ClassRegistration,
            Ioctl,
            Operations,
            Parent,
            Registration,
            UringCmds, //
        },
        io_uring::{
            Answer,
            UringCmd, //
        },
        sysfs::Table,
    },
    nvme::host::{
        life::State,
        uapi, //
    },
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    prelude::*,
    sync::Arc, //
};

/// The class of the control devices.
static CLASS: Class<Control> = Class::new();

/// The registered class, for the module.
pub(crate) type Classes = ClassRegistration<Control>;

/// Registers the class, when the module is loaded.
///
/// # Errors
///
/// Those of [`Class::register`].
pub(crate) fn init() -> Result<Classes> {
    CLASS.register(c"rnvme")
}

/// The control device of a controller.
pub(crate) struct Control(Arc<Controller>);

/// A control device that exists until this is dropped.
pub(crate) type ControlDevice = Registration<Control>;

/// Creates the control device of `controller`, with the files of `tables` in sysfs.
///
/// # Errors
///
/// Those of [`Registration::new`].
pub(crate) fn create(
    dev: &device::Device<Bound>,
    controller: &Arc<Controller>,
    tables: &'static [Table<Controller>],
) -> Result<ControlDevice> {
    let name = controller.name();
    let control = Control(controller.clone());

    let device = Registration::new(dev, fmt!("{name}"), control, tables, controller.clone())?;
    controller.set_control(device.device());
    Ok(device)
}

impl ControlCalls for CharDevice<Control> {
    fn call(&self, call: &Ioctl) -> Result<isize> {
        Control::ioctl(self, call)
    }

    fn uevent(&self, variable: &CStr) -> Result {
        self.uevent_change(&[variable])
    }

    fn as_parent(&self) -> Parent {
        CharDevice::as_parent(self)
    }
}

impl Operations for Control {
    type Module = crate::RustNvmeDemo;
    const VARIABLES: &'static [&'static CStr] = &[c"NVME_TRTYPE=pcie"];
    const URING_CMD: Option<UringCmds<Self>> = Some(uring_cmd);

    fn class() -> &'static Class<Self> {
        &CLASS
    }

    fn open(&self) -> Result {
        match self.0.state() {
            State::Live => Ok(()),
            _ => Err(EAGAIN),
        }
    }

    fn ioctl(device: &CharDevice<Self>, call: &Ioctl) -> Result<isize> {
        if call.number == uapi::IO_CMD {
            // Outside of `CharDevice::with`, for the same reason as with a generic device.
            let disk = device.with(|control, _| control.only_disk())?;
            return io::ioctl(&disk.open(), call);
        }
        device.with(|control, dev| control.answer(dev, call))
    }
}

/// Carries out an admin command by io_uring, in a worker of io_uring, because that sleeps.
fn uring_cmd<'a>(device: &CharDevice<Control>, cmd: UringCmd<'a>) -> Answer<'a> {
    let (cmd, (result, status)) = cmd.check(|cmd| {
        let (vectored, user) = io::read_uring(cmd, |number| match number {
            uapi::URING_CMD_ADMIN => Ok(false),
            uapi::URING_CMD_ADMIN_VEC => Ok(true),
            _ => Err(ENOTTY),
        })?;
        if !cmd.may_sleep() {
            return Err(EAGAIN);
        }
        device.with(|control, dev| admin::run(&control.0, dev, cmd, &user, vectored))
    })?;
    Ok(cmd.finish(status.0.into(), result))
}

impl Control {
    /// The controller's disk, if it has only one: an I/O command by the control device is for that.
    ///
    /// # Errors
    ///
    /// `ENOTTY` without a disk, `EINVAL` with several.
    fn only_disk(&self) -> Result<DiskRef<NvmeOps>> {
        let mut disks = self.0.disks();
        let disk = disks.next().ok_or(ENOTTY)?;
        if disks.next().is_none() {
            return Ok(disk.reference());
        }
        warn_limited!(
            self.0.ctrl(),
            "I/O command by the control device: refused (EINVAL), because there are several namespaces; send it to a namespace's device\n"
        );
        Err(EINVAL)
    }

    fn answer(&self, dev: &device::Device<Bound>, call: &Ioctl) -> Result<isize> {
        let controller = &*self.0;
        match call.number {
            uapi::ADMIN_CMD => return admin::command(controller, dev, call, false),
            uapi::ADMIN64_CMD => return admin::command(controller, dev, call, true),
            uapi::RESET | uapi::SUBSYS_RESET | uapi::RESCAN if !is_admin() => return Err(EACCES),
            uapi::RESET => controller.reset_and_wait()?,
            uapi::SUBSYS_RESET => {
                if !controller.ctrl().cap().subsystem_reset() {
                    return Err(ENOTTY);
                }
                let _live = controller.hold_live().ok_or(EBUSY)?;
                controller.ctrl().reset_subsystem();
            }
            uapi::RESCAN => controller.scan_soon(),
            _ => return Err(ENOTTY),
        }
        Ok(0)
    }
}
