// SPDX-License-Identifier: GPL-2.0

//! Sample 2: show registers of an NVMe controller, and a writable counter, in sysfs.
//!
//! To make this driver probe, QEMU must be run with `-device nvme,serial=rnvme-0`, and no other
//! driver must have the device. It prints:
//!
//! ```text
//! rust_nvme_sysfs 0000:01:00.0: look into /sys/bus/pci/devices/0000:01:00.0/registers
//! ```
//!
//! It then creates these files:
//!
//! ```text
//! # cd /sys/bus/pci/devices/0000:01:00.0/registers
//! # grep . *
//! cap:0x4008200f0107ff
//! reads:1
//! version:1.4.0
//! # echo 0 > reads; cat version reads
//! 1.4.0
//! 1
//! # echo nonsense > reads
//! bash: echo: write error: Invalid argument
//! ```
//!
//! Next to read: `rust_nvme_dma.rs`.

#![deny(unsafe_code)]

use kernel::{
    device::Core,
    io::{
        register,
        Io, //
    },
    pci,
    prelude::*,
    str::parse_int::ParseInt,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
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
    pub mod sysfs;
    pub mod workqueue;
}

use abstractions::{
    pci::io::Bar,
    pci::{
        Driver,
        EnabledDevice, //
    },
    sysfs::{
        Attribute,
        Dir, //
    },
    workqueue::Tasks, //
};
use module::QEMU_NVME;

register! {
    /// Controller capabilities.
    CAP(u64) @ 0x00 {}

    /// Version of the specification.
    VS(u32) @ 0x08 {
        31:16 major;
        15:8 minor;
        7:0 tertiary;
    }
}

/// The data of the files.
struct Registers {
    bar: Bar<0x1000>,
    /// The number of register reads.
    reads: Atomic<u64>,
}

impl Registers {
    /// The BAR, for reading a register.
    fn read(&self) -> &Bar<0x1000> {
        self.reads.fetch_add(1, Relaxed);
        &self.bar
    }
}

/// The files, each with a single value and a newline.
static FILES: &[Attribute<Registers>] = &[
    Attribute::ro(c"cap", |registers, out| {
        writeln!(out, "{:#x}", registers.read().try_read(CAP)?.into_raw())
    }),
    Attribute::ro(c"version", |registers, out| {
        let vs = registers.read().read(VS);
        writeln!(
            out,
            "{}.{}.{}",
            vs.major().get(),
            vs.minor().get(),
            vs.tertiary().get()
        )
    }),
    Attribute::rw(
        c"reads",
        |registers, out| writeln!(out, "{}", registers.reads.load(Relaxed)),
        |registers, input| {
            registers.reads.store(u64::from_str(input)?, Relaxed);
            Ok(())
        },
    ),
];

struct SysfsSample {
    // Unbinding the device drops this, which removes the directory and waits for running reads of
    // its files. Then `Registers` is dropped too.
    _dir: Dir,
    _enabled: EnabledDevice,
}

#[vtable]
impl Driver for SysfsSample {
    type Data = Self;
    const ID_TABLE: pci::IdTable<()> = &QEMU_NVME;

    fn probe(pdev: &pci::Device<Core<'_>>, _tasks: &Tasks) -> Result<Self> {
        let enabled = EnabledDevice::new(pdev)?;
        let registers = Registers {
            bar: Bar::map(pdev, 0, c"rust_nvme_sysfs")?,
            reads: Atomic::new(0),
        };
        let registers = Arc::new(registers, GFP_KERNEL)?;

        let dir = Dir::new(pdev.as_ref(), fmt!("registers"), FILES, registers)?;
        dev_info!(
            pdev,
            "look into /sys/bus/pci/devices/{}/registers\n",
            pdev.as_ref().name()
        );

        Ok(Self {
            _dir: dir,
            _enabled: enabled,
        })
    }
}

module_pci_driver! {
    type: SysfsSample,
    name: "rust_nvme_sysfs",
    description: "Sample: sysfs attributes",
}
