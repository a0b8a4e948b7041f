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

// Each sample uses only a part of these.
#[allow(dead_code, unreachable_pub, unsafe_code, unused_imports)]
#[path = "../abstractions/mod.rs"]
mod abstractions;

use abstractions::{
    bar::Bar,
    pci::EnabledDevice,
    sysfs::{
        Attribute,
        Dir, //
    }, //
};

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
    _dir: Dir<Registers>,
    _enabled: EnabledDevice,
}

kernel::pci_device_table!(
    PCI_TABLE,
    <SysfsSample as pci::Driver>::IdInfo,
    [(pci::DeviceId::from_id(pci::Vendor::REDHAT, 0x10), ())]
);

impl pci::Driver for SysfsSample {
    type IdInfo = ();
    type Data<'bound> = Self;

    const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;

    fn probe<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self, Error> + 'bound {
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

kernel::module_pci_driver! {
    type: SysfsSample,
    name: "rust_nvme_sysfs",
    authors: ["The rust_nvme_demo developers"],
    description: "Sample: sysfs attributes",
    license: "GPL",
}
