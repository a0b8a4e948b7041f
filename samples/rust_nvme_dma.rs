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

mod admin;

// Each sample uses only a part of these.
#[allow(dead_code, unreachable_pub, unsafe_code, unused_imports)]
#[path = "../abstractions/mod.rs"]
mod abstractions;

#[allow(dead_code)]
#[path = "../nvme/mod.rs"]
mod nvme;

use abstractions::pci::EnabledDevice;
use admin::Admin;
use nvme::{
    spec::command::{
        Cns,
        Command,
        DataPtr, //
    },
    spec::identify, //
};

struct DmaSample;

kernel::pci_device_table!(
    PCI_TABLE,
    <DmaSample as pci::Driver>::IdInfo,
    [(pci::DeviceId::from_id(pci::Vendor::REDHAT, 0x10), ())]
);

impl pci::Driver for DmaSample {
    type IdInfo = ();
    type Data<'bound> = Self;

    const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;

    fn probe<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self, Error> + 'bound {
        let enabled = EnabledDevice::new(pdev)?;

        // Coherent memory, for the CPU and the device. `admin` is dropped before it on every
        // return, so the controller does no DMA to freed memory, even if the command timed out.
        let size = size_of::<identify::Page>();
        let buffer = Coherent::<u8>::zeroed_slice(pdev.as_ref(), size, GFP_KERNEL)?;
        let mut admin = Admin::enable(pdev, enabled, c"rust_nvme_dma")?;

        let data = DataPtr::Prp {
            prp1: buffer.dma_address(),
            prp2: 0,
        };
        admin.submit(&Command::identify(0, Cns::Controller, 0, data));
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

kernel::module_pci_driver! {
    type: DmaSample,
    name: "rust_nvme_dma",
    authors: ["The rust_nvme_demo developers"],
    description: "Sample: a DMA buffer and an NVMe command",
    license: "GPL",
}
