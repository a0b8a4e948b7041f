// SPDX-License-Identifier: GPL-2.0

//! The generic device of a namespace, `/dev/ng900n1`: its ioctls are those of the namespace's disk,
//! without a block device that user space would have to open. `disk` creates it beside the disk.

use crate::{
    abstractions::{
        block::mq::DiskRef,
        chrdev::{
            CharDevice,
            Class,
            ClassRegistration,
            Ioctl,
            Operations,
            Registration, //
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
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
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

/// The data of a generic device, which its open files keep: the disk, until it is removed.
pub(crate) struct Generic(Pin<KBox<Mutex<Option<DiskRef<NvmeOps>>>>>);

impl Operations for Generic {
    type Module = crate::RustNvmeDemo;

    fn class() -> &'static Class<Self> {
        &CLASS
    }

    // Not by `CharDevice::with`: a command may lead to a scan, wait for it, and so for the removal
    // of this device. Removing the disk ends its requests.
    fn ioctl(device: &CharDevice<Self>, call: &Ioctl) -> Result<isize> {
        let disk = device.data().0.lock().clone().ok_or(ENODEV)?;
        io::ioctl(&disk.open(), call)
    }
}

/// A generic device that exists until this is dropped. The disk is dropped before.
pub(super) struct GenericDevice(Registration<Generic>);

impl GenericDevice {
    /// Creates the generic device of namespace `id`, whose disk is `disk`.
    ///
    /// # Errors
    ///
    /// Those of [`Registration::new`].
    pub(super) fn new(
        controller: &Arc<Controller>,
        dev: &device::Device<Bound>,
        id: Nsid,
        disk: DiskRef<NvmeOps>,
    ) -> Result<Self> {
        let generic = Generic(KBox::pin_init(new_mutex!(Some(disk)), GFP_KERNEL)?);
        let (instance, shown) = (controller.name().number(), controller.clone());
        let device = Registration::new(dev, fmt!("ng{instance}n{id}"), generic, &[], shown)?;
        Ok(Self(device))
    }
}

impl Drop for GenericDevice {
    fn drop(&mut self) {
        let disk = self.0.data().0.lock().take();
        drop(disk);
    }
}
