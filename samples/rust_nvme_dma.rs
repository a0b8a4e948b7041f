// SPDX-License-Identifier: GPL-2.0

//! Sample 3: let an NVMe controller write its identify data into a DMA buffer.
//!
//! To make this driver probe, QEMU must be run with `-device nvme,serial=rnvme-0`, and no other
//! driver must have the device. It prints:
//!
//! ```text
//! rust_nvme_dma 0000:01:00.0: identify: Successful Completion
//! rust_nvme_dma 0000:01:00.0: model "QEMU NVMe Ctrl", serial "rnvme-0", firmware "10.0.13"
//! ```
//!
//! Next to read: `rust_nvme_irq.rs`.

#![deny(unsafe_code)]

use kernel::{
    device::Core,
    dma::Coherent,
    io::Io,
    pci,
    prelude::*, //
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
    pub mod pci;
    pub mod series;
    pub mod sync;
    pub mod workqueue;
}

#[path = "../nvme/mod.rs"]
pub mod nvme;

use abstractions::{
    pci::{
        Driver,
        EnabledDevice, //
    },
    workqueue::Tasks, //
};
use admin::Admin;
use module::QEMU_NVME;
use nvme::{
    spec::command::{
        Cns,
        Command,
        DataPtr, //
    },
    spec::id::Cid,
    spec::identify,
    spec::page::Page, //
};

struct DmaSample;

#[vtable]
impl Driver for DmaSample {
    type Data = Self;
    const ID_TABLE: pci::IdTable<()> = &QEMU_NVME;

    fn probe(pdev: &pci::Device<Core<'_>>, _tasks: &Tasks) -> Result<Self> {
        let enabled = EnabledDevice::new(pdev)?;

        // Coherent memory, for the CPU and the device. `admin` is dropped before it on every
        // return, so the controller does no DMA to freed memory, even if the command timed out.
        let size = size_of::<Page>();
        let buffer = Coherent::<u8>::zeroed_slice(pdev.as_ref(), size, GFP_KERNEL)?;
        let mut admin = Admin::enable(pdev, enabled, c"rust_nvme_dma")?;

        let data = DataPtr::Prp {
            prp1: buffer.dma_address(),
            prp2: 0,
        };
        admin.submit(&Command::identify(Cid::UNSET, Cns::Controller, data));
        let completion = admin.poll()?;
        dev_info!(pdev, "identify: {}\n", completion.status().name());
        if !completion.status().is_success() {
            return Err(EIO);
        }

        // A copy, which the device can't change.
        let mut page = KVec::from_elem(0u8, size, GFP_KERNEL)?;
        buffer.copy_to_slice(&mut page);
        let page = page.first_chunk().ok_or(EINVAL)?;
        let controller = identify::Controller::parse(page);
        dev_info!(
            pdev,
            "model \"{}\", serial \"{}\", firmware \"{}\"\n",
            controller.model.as_str(),
            controller.serial.as_str(),
            controller.firmware.as_str()
        );

        Ok(Self)
    }
}

module_pci_driver! {
    type: DmaSample,
    name: "rust_nvme_dma",
    description: "Sample: a DMA buffer and an NVMe command",
}
