// SPDX-License-Identifier: GPL-2.0

//! Sample 4: handle the interrupt by which an NVMe controller reports a completion.
//!
//! To make this driver probe, QEMU must be run with `-device nvme,serial=rnvme-0`, and no other
//! driver must have the device. It prints:
//!
//! ```text
//! rust_nvme_irq 0000:01:00.0: vector 0 of 1 (MsiX) is interrupt 28, see /proc/interrupts
//! rust_nvme_irq 0000:01:00.0: set features: Successful Completion, up to 64 I/O queues, 1 interrupt
//! rust_nvme_irq 0000:01:00.0: unbound after 1 interrupt
//! ```
//!
//! This is the last NVMe sample. Next to read: `rust_edu.rs`, which has these parts in one driver,
//! and `driver/`.

#![deny(unsafe_code)]

use kernel::{
    device::Core,
    pci::{
        self,
        IrqType, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};

pub mod admin;
pub mod module;

// The parts of abstractions/ that this module uses.
#[allow(unsafe_code)]
#[path = "../abstractions"]
mod abstractions {
    pub mod atomic;
    pub mod binding;
    pub mod dma;
    pub mod irq;
    pub mod pci;
    pub mod series;
    pub mod sync;
    pub mod workqueue;
}

#[path = "../nvme/mod.rs"]
pub mod nvme;

use abstractions::{
    irq::{
        self,
        IrqReturn,
        Vectors, //
    },
    pci::{
        Driver,
        EnabledDevice, //
    },
    sync::Completion,
    workqueue::Tasks, //
};
use admin::Admin;
use module::QEMU_NVME;
use nvme::{
    spec::command::Command,
    spec::features,
    spec::id::Cid, //
};

/// The interrupt handler's data.
#[pin_data]
struct Handler {
    interrupts: Atomic<u64>,
    #[pin]
    done: Completion,
}

impl irq::Handler for Handler {
    // Runs in interrupt context: no sleep, no allocation, no long work.
    fn handle(&self) -> IrqReturn {
        self.interrupts.fetch_add(1, Relaxed);
        self.done.complete();
        IrqReturn::Handled
    }
}

// Fields are dropped in this order: first disable the controller, or stop its DMA, then unregister
// the handler.
struct IrqSample {
    _admin: Admin,
    registration: irq::Registration<Handler>,
    pdev: ARef<pci::Device>,
}

#[vtable]
impl Driver for IrqSample {
    type Data = Self;
    const ID_TABLE: pci::IdTable<()> = &QEMU_NVME;

    fn probe(pdev: &pci::Device<Core<'_>>, _tasks: &Tasks) -> Result<Self> {
        let enabled = EnabledDevice::new(pdev)?;

        // One vector, which isn't spread over the CPUs: the admin queue has vector 0.
        let vectors = Vectors::alloc(pdev, 1, 1, 1, 0, &[IrqType::MsiX])?;
        let handler = Arc::pin_init(
            pin_init!(Handler {
                interrupts: Atomic::new(0),
                done <- Completion::new(),
            }),
            GFP_KERNEL,
        )?;
        let registration =
            irq::Registration::new(vectors.clone(), 0, fmt!("rust_nvme_irq"), handler)?;
        dev_info!(
            pdev,
            "vector 0 of {} ({:?}) is interrupt {}, see /proc/interrupts\n",
            vectors.len(),
            vectors.irq_type(),
            registration.number()
        );

        let mut admin = Admin::enable(pdev, enabled, c"rust_nvme_irq")?;
        admin.submit(&Command::set_features_num_queues(Cid::UNSET, u16::MAX));
        if !registration.handler().done.wait_timeout(1000) {
            dev_err!(pdev, "no interrupt within a second\n");
            return Err(ETIMEDOUT);
        }
        let completion = admin.reap().ok_or(EIO)?;
        // CAST: The result has 32 bits.
        let (submission, completion_queues) = features::granted_queues(completion.result() as u32);
        dev_info!(
            pdev,
            "set features: {}, up to {} I/O queues, {} interrupt\n",
            completion.status().name(),
            submission.min(completion_queues),
            registration.handler().interrupts.load(Relaxed)
        );

        Ok(Self {
            _admin: admin,
            registration,
            pdev: pdev.into(),
        })
    }
}

impl Drop for IrqSample {
    fn drop(&mut self) {
        dev_info!(
            self.pdev,
            "unbound after {} interrupt\n",
            self.registration.handler().interrupts.load(Relaxed)
        );
    }
}

module_pci_driver! {
    type: IrqSample,
    name: "rust_nvme_irq",
    description: "Sample: an MSI-X vector and its handler",
}
