// SPDX-License-Identifier: GPL-2.0

//! Sample 1: bind to an NVMe controller and read registers of its BAR.
//!
//! To make this driver probe, QEMU must be run with `-device nvme,serial=rnvme-0`, and no other
//! driver must have the device. It prints:
//!
//! ```text
//! rust_nvme_bar 0000:01:00.0: BAR 0 has 16384 bytes
//! rust_nvme_bar 0000:01:00.0: VS: version 1.4.0
//! rust_nvme_bar 0000:01:00.0: CAP: queues of up to 2048 entries, ready within 7500 ms
//! rust_nvme_bar 0000:01:00.0: CSTS: ready yes, fatal no
//! ```
//!
//! At the first probe the controller is ready, because the firmware has searched it for a boot
//! disk.
//!
//! Next to read: `rust_nvme_sysfs.rs`.

#![deny(unsafe_code)]

use kernel::{
    device::Core,
    io::{
        register,
        Io, //
    },
    pci,
    prelude::*, //
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
    pci::io::Bar,
    pci::{
        Driver,
        EnabledDevice, //
    },
    workqueue::Tasks, //
};
use module::QEMU_NVME;

register! {
    /// Controller capabilities.
    CAP(u64) @ 0x00 {
        /// Maximum time until the controller is ready, in units of 500 ms.
        31:24 to;
        /// Maximum entries of a queue, 0's based.
        15:0 mqes;
    }

    /// Version of the specification.
    VS(u32) @ 0x08 {
        31:16 major;
        15:8 minor;
        7:0 tertiary;
    }

    /// Controller status.
    CSTS(u32) @ 0x1c {
        /// The controller reports a fatal error.
        1:1 cfs => bool;
        /// The controller is ready for commands.
        0:0 rdy => bool;
    }
}

/// All registers are below this offset; the doorbells start here.
const REGISTERS: usize = 0x1000;

struct BarSample {
    // Unbinding the device undoes everything: it drops this, which unmaps the BAR, and then
    // disables the device.
    _bar: Bar<REGISTERS>,
    _enabled: EnabledDevice,
}

#[vtable]
impl Driver for BarSample {
    type Data = Self;
    const ID_TABLE: pci::IdTable<()> = &QEMU_NVME;

    fn probe(pdev: &pci::Device<Core<'_>>, _tasks: &Tasks) -> Result<Self> {
        let enabled = EnabledDevice::new(pdev)?;
        let bar = Bar::<REGISTERS>::map(pdev, 0, c"rust_nvme_bar")?;
        dev_info!(pdev, "BAR 0 has {} bytes\n", bar.len());

        // `register!` declares a register's offset, type and fields. The compiler checks that the
        // register is within the BAR.
        let vs = bar.read(VS);
        dev_info!(
            pdev,
            "VS: version {}.{}.{}\n",
            vs.major().get(),
            vs.minor().get(),
            vs.tertiary().get()
        );

        // The 64-bit alignment is checked at run time, because the type guarantees only 32 bits for
        // a BAR.
        let cap = bar.try_read(CAP)?;
        dev_info!(
            pdev,
            "CAP: queues of up to {} entries, ready within {} ms\n",
            cap.mqes().get() + 1,
            cap.to().get() * 500
        );

        let csts = bar.read(CSTS);
        let yes = |flag| if flag { "yes" } else { "no" };
        dev_info!(
            pdev,
            "CSTS: ready {}, fatal {}\n",
            yes(csts.rdy()),
            yes(csts.cfs())
        );

        Ok(Self {
            _bar: bar,
            _enabled: enabled,
        })
    }
}

module_pci_driver! {
    type: BarSample,
    name: "rust_nvme_bar",
    description: "Sample: registers of a PCI BAR",
}
