// SPDX-License-Identifier: GPL-2.0

//! The generic device of a namespace, `/dev/ng900n1`: its ioctls are those of the namespace's disk,
//! without a block device that user space would have to open. `disk` creates it beside the disk, below
//! the control device.

use crate::{
    abstractions::{
        block::mq::DiskRef,
        chrdev::{
            CharDevice,
            Class,
            ClassRegistration,
            Ioctl,
            Operations,
            Parent,
            Registration,
            UringCmds, //
        },
    },
    driver::{
        io::{
            self,
            NvmeOps, //
        },
        life::Controller, //
    },
    nvme::spec::id::Nsid,
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    prelude::*,
    sync::Arc, //
};

/// The class of the generic devices.
static CLASS: Class<Generic> = Class::new();

/// The registered class, for the module.
pub(crate) type Classes = ClassRegistration<Generic>;

/// Registers the class, when the module is loaded.
///
/// # Errors
///
/// Those of [`Class::register`].
pub(super) fn register() -> Result<Classes> {
    CLASS.register(c"rnvme-generic")
}

/// The generic device of a disk.
pub(crate) struct Generic(DiskRef<NvmeOps>);

impl Operations for Generic {
    type Module = crate::RustNvmeDemo;

    const URING_CMD: Option<UringCmds<Self>> =
        Some(|device, cmd| device.with_command(cmd, |generic, cmd| io::uring_cmd(&generic.0, cmd)));
    const POLLED: bool = true;

    fn class() -> &'static Class<Self> {
        &CLASS
    }

    // The call isn't made inside `CharDevice::with`: a command may lead to a scan, wait for it, and so
    // for the removal of this device. Removing the disk ends its requests.
    fn ioctl(device: &CharDevice<Self>, call: &Ioctl) -> Result<isize> {
        let disk = device.with(|generic, _| Ok(generic.0.clone()))?;
        io::ioctl(&disk.open(), call)
    }
}

/// A generic device that exists until this is dropped.
pub(super) type GenericDevice = Registration<Generic>;

/// Creates the generic device of namespace `id`, whose disk is `disk`, below the control device.
///
/// # Errors
///
/// Those of [`Registration::new_below`].
pub(super) fn create(
    controller: &Arc<Controller>,
    dev: &device::Device<Bound>,
    control: &Parent,
    id: Nsid,
    disk: DiskRef<NvmeOps>,
) -> Result<GenericDevice> {
    let (instance, shown) = (controller.name().number(), controller.clone());
    Registration::new_below(
        dev,
        control,
        fmt!("ng{instance}n{id}"),
        Generic(disk),
        &[],
        shown,
    )
}
