// SPDX-License-Identifier: GPL-2.0

//! A test rather than a sample: uses a device's objects after the device is unbound.
//!
//! The objects outlive the binding, like a driver's objects that an open file keeps alive. None of
//! their methods may reach the device, because another driver may be bound to it. (For DMA memory, a
//! KUnit test in `abstractions/tests.rs` checks the same.)
//! `test_samples_01.sh` unbinds the device, binds it to another driver, and removes this module,
//! which prints:
//!
//! ```text
//! rust_nvme_unbound: bound: VS 0x10400, present yes
//! rust_nvme_unbound: unbound: VS 0xffffffff, present no
//! ```

#![deny(unsafe_code)]

use kernel::{
    device::Core,
    driver,
    io::Io,
    pci,
    prelude::*,
    sync::rcu, //
};

pub mod module;

// The parts of abstractions/ that this module uses.
#[allow(unsafe_code)]
#[path = "../abstractions"]
mod abstractions {
    pub mod atomic;
    pub mod binding;
    pub mod dma;
    pub mod pci;
    pub mod series;
    pub mod sync;
    pub mod workqueue;
}

use abstractions::{
    pci::io::{
        Bar,
        Doorbell, //
    },
    pci::{
        Adapter,
        Driver,
        EnabledDevice, //
    },
    sync::RerunLock,
    workqueue::Tasks, //
};
use module::QEMU_NVME;

/// The register VS.
const VS: usize = 0x08;

/// The doorbell of the admin submission queue.
const DOORBELL: usize = 0x1000;

/// The objects that are left of a device.
struct Left {
    bar: Bar<0x1008>,
    doorbell: Pin<KBox<Doorbell>>,
    enabled: EnabledDevice,
}

impl Left {
    /// Uses the objects and prints the results.
    fn print(&self, when: &str) {
        let vs: u32 = self.bar.read(VS);
        let present = if self.enabled.is_present() {
            "yes"
        } else {
            "no"
        };

        pr_info!("{}: VS {:#x}, present {}\n", when, vs, present);
    }
}

static LEFT: RerunLock<Option<Left>> = RerunLock::new(None);

struct Unbound;

#[vtable]
impl Driver for Unbound {
    type Data = Self;
    const ID_TABLE: pci::IdTable<()> = &QEMU_NVME;

    fn probe(pdev: &pci::Device<Core<'_>>, _tasks: &Tasks) -> Result<Self> {
        let enabled = EnabledDevice::new(pdev)?;
        let bar = Bar::map(pdev, 0, c"rust_nvme_unbound")?;
        let left = Left {
            doorbell: KBox::pin_init(bar.doorbell(DOORBELL), GFP_KERNEL)?,
            bar,
            enabled,
        };

        left.print("bound");
        // One device is enough.
        *LEFT.enter().ok_or(EBUSY)?.value() = Some(left);
        Ok(Self)
    }
}

/// Dropped after the driver is unregistered.
struct Last;

impl Drop for Last {
    fn drop(&mut self) {
        let left = LEFT.enter().and_then(|mut inside| inside.value().take());

        if let Some(left) = left {
            left.print("unbound");
            left.bar.write(VS, 0xffff_ffff_u32);
            left.doorbell.write(0xffff, &rcu::read_lock());
            left.enabled.stop_dma();
        }
    }
}

#[pin_data]
struct UnboundModule {
    #[pin]
    _driver: driver::Registration<Adapter<Unbound>>,
    _last: Last,
}

impl kernel::InPlaceModule for UnboundModule {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _driver <- driver::Registration::new(<Self as kernel::ModuleMetadata>::NAME, module),
            _last: Last,
        })
    }
}

module! {
    type: UnboundModule,
    name: "rust_nvme_unbound",
    authors: ["The rust_nvme_demo developers"],
    description: "Check: objects of a device that is unbound",
    license: "GPL",
}
