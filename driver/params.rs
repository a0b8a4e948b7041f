// SPDX-License-Identifier: GPL-2.0

//! The module's parameters, with their ranges checked. `driver/mod.rs` reads them, at module load
//! and at each probe.

use crate::abstractions::series::value;
use crate::nvme::host::{
    layout::MAX_IO_QUEUES,
    quirks::{
        Overrides,
        Quirks, //
    },
};
use kernel::prelude::*;

/// The parameters' values.
#[derive(Clone, Copy)]
pub(crate) struct Params {
    /// The instance number of the first controller.
    pub(crate) first_instance: u32,
    /// I/O queues of each controller; 0 means one per CPU.
    pub(crate) io_queues: u32,
    /// Additional I/O queues of each controller, only for reads, which then don't use the other
    /// queues.
    pub(crate) read_queues: u32,
    /// Additional I/O queues of each controller that are polled.
    pub(crate) poll_queues: u32,
    /// Entries of each I/O queue.
    pub(crate) queue_depth: u32,
    /// Lazy completion doorbells: 0 never, 1 always, 2 for controllers known to work with them.
    lazy_doorbells: u32,
    /// Use shadow doorbells, if the controller supports them.
    pub(crate) shadow_doorbells: bool,
    /// A namespace that several controllers share gets a disk at each of them.
    pub(crate) shared_namespaces: bool,
    /// Power states that take more microseconds to leave aren't entered by an idle controller; 0 for
    /// none at all.
    pub(crate) max_exit_us: u32,
    /// The most memory that a controller may borrow, in MiB.
    max_host_mem_size_mb: u32,
    /// Changes of the controllers' quirks.
    pub(crate) quirks: Overrides,
    /// The time limit of a command, in seconds.
    timeout: u32,
}

impl Params {
    /// Reads the parameters.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a value out of its range; a line in the log names the range.
    pub(crate) fn read() -> Result<Self> {
        use crate::module_parameters as module;

        Ok(Self {
            first_instance: in_range("first_instance", value(&module::first_instance), 0, 9999)?,
            io_queues: in_range("io_queues", value(&module::io_queues), 0, MAX_IO_QUEUES)?,
            read_queues: in_range("read_queues", value(&module::read_queues), 0, MAX_IO_QUEUES)?,
            poll_queues: in_range("poll_queues", value(&module::poll_queues), 0, MAX_IO_QUEUES)?,
            lazy_doorbells: in_range("lazy_doorbells", value(&module::lazy_doorbells), 0, 2)?,
            shadow_doorbells: in_range("shadow_doorbells", value(&module::shadow_doorbells), 0, 1)?
                == 1,
            shared_namespaces: in_range(
                "shared_namespaces",
                value(&module::shared_namespaces),
                0,
                1,
            )? == 1,
            max_exit_us: value(&module::ps_max_latency_us),
            max_host_mem_size_mb: in_range(
                "max_host_mem_size_mb",
                value(&module::max_host_mem_size_mb),
                0,
                4096,
            )?,
            quirks: Overrides {
                device: value(&module::quirks_device),
                on: Quirks(value(&module::quirks_on)),
                off: Quirks(value(&module::quirks_off)),
            },
            queue_depth: in_range("queue_depth", value(&module::queue_depth), 2, 4095)?,
            timeout: in_range("timeout", value(&module::timeout), 1, 3600)?,
        })
    }

    /// Whether to use lazy completion doorbells; `known` if the controller is known to work with
    /// them.
    pub(crate) fn lazy_doorbells(&self, known: bool) -> bool {
        match self.lazy_doorbells {
            0 => false,
            1 => true,
            _ => known,
        }
    }

    /// The most memory that a controller may borrow, in bytes.
    pub(crate) fn max_host_memory(&self) -> u64 {
        u64::from(self.max_host_mem_size_mb) << 20
    }

    /// The time limit of a command, in milliseconds.
    pub(crate) fn timeout_ms(&self) -> u32 {
        self.timeout * 1000
    }

    /// The time limit of an admin command, in milliseconds; capped, because the driver's admin
    /// commands don't access the media.
    pub(crate) fn admin_timeout_ms(&self) -> u32 {
        self.timeout_ms().min(60_000)
    }
}

fn in_range(name: &str, value: u32, min: u32, max: u32) -> Result<u32> {
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    pr_err!("{}={} is out of range: {} to {}\n", name, value, min, max);
    Err(EINVAL)
}
