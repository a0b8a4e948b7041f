// SPDX-License-Identifier: GPL-2.0

//! An NVMe block driver in Rust.
//!
//! - [`driver`] is the driver: controllers, queues, disks and their statistics.
//! - [`nvme`] is the protocol: commands, completions, identify data and their arithmetic.
//! - [`abstractions`] are the safe abstractions that the kernel crate lacks, and the only place
//!   with `unsafe` code.

use abstractions::pci::Adapter;
use kernel::{
    driver as bus,
    prelude::*, //
};

mod abstractions;
#[deny(unsafe_code)]
mod driver;
// A library, of which the driver and each sample use only a part.
#[allow(dead_code)]
mod nvme;

module! {
    type: RustNvmeDemo,
    name: "rust_nvme_demo",
    authors: ["The rust_nvme_demo developers"],
    description: "NVMe block driver in Rust, for QEMU's controller 1b36:0010; not loaded by itself: modprobe rust_nvme_demo",
    license: "GPL v2",
    params: {
        first_instance: u32 {
            default: 900,
            description: "Number in the name of the first controller: 0 to 9999 (default 900: nvme900, disk nvme900n1); low numbers are those of the kernel's nvme",
        },
        io_queues: u32 {
            default: 0,
            description: "I/O queues of each controller: 0 to 64; 0 is one for each CPU (default)",
        },
        read_queues: u32 {
            default: 0,
            description: "More I/O queues of each controller, for reads alone: 0 to 64 (default 0)",
        },
        poll_queues: u32 {
            default: 0,
            description: "More I/O queues of each controller, that are polled: 0 to 64 (default 0)",
        },
        lazy_doorbells: u32 {
            default: 2,
            description: "Write completion doorbells only when owed: 0 never, 1 always, 2 where known to work (default)",
        },
        shadow_doorbells: u32 {
            default: 1,
            description: "Use shadow doorbells where the controller has them: 0 no, 1 yes (default)",
        },
        shared_namespaces: u32 {
            default: 0,
            description: "Make a namespace that several controllers share a disk of each of them, which may destroy a file system: 0 no (default), 1 yes",
        },
        queue_depth: u32 {
            default: 1024,
            description: "Entries of each I/O queue: 2 to 4095 (default 1024)",
        },
        ps_max_latency_us: u32 {
            default: 100000,
            description: "An idle controller enters power states that it leaves within so many microseconds; 0 is none (default 100000)",
        },
        max_host_mem_size_mb: u32 {
            default: 128,
            description: "The most memory that a controller may borrow, in MiB: 0 to 4096 (default 128)",
        },
        quirks_device: u32 {
            default: 0,
            description: "PCI vendor and device id, such as 0x1b360010, of the controllers for quirks_on and quirks_off; 0 is all (default)",
        },
        quirks_on: u32 {
            default: 0,
            description: "Quirks that these controllers have, as bits: see rust_nvme_demo(4) (default 0)",
        },
        quirks_off: u32 {
            default: 0,
            description: "Quirks that these controllers don't have, although the driver's table says so (default 0)",
        },
        timeout: u32 {
            default: 30,
            description: "Time limit of a command in seconds: 1 to 3600 (default 30)",
        },
    },
}

/// The module: while it exists, the driver is registered.
#[pin_data]
struct RustNvmeDemo {
    #[pin]
    _driver: bus::Registration<Adapter<driver::NvmeDriver>>,
    /// Dropped after the driver was unregistered.
    _classes: driver::Classes,
}

impl kernel::InPlaceModule for RustNvmeDemo {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // Before the driver; also rejects a parameter out of range at load time, not at the first
            // probe.
            _classes: driver::init()?,
            _driver <- bus::Registration::new(<Self as kernel::ModuleMetadata>::NAME, module),
        })
    }
}
