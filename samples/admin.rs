// SPDX-License-Identifier: GPL-2.0

//! The minimum for sending a command to an NVMe controller: its admin queue.
//!
//! The samples `rust_nvme_dma.rs` and `rust_nvme_irq.rs` share this. It has one command in flight
//! at a time.

use kernel::{
    device::Bound,
    io::{
        poll::read_poll_timeout,
        register,
        Io, //
    },
    pci,
    prelude::*,
    sync::{
        aref::ARef,
        barrier,
        rcu, //
    },
    time::Delta, //
};

use crate::{
    abstractions::{
        dma::Ring,
        pci::io::{
            Bar,
            Doorbell, //
        },
        pci::EnabledDevice, //
    },
    nvme::{
        host::queue::{
            CompletionRing,
            SubmissionRing, //
        },
        spec::command::Command,
        spec::completion::Completion,
        spec::id::Qid,
        spec::regs, //
    }, //
};

register! {
    /// Controller capabilities; `nvme::spec::regs::Cap` decodes them.
    CAP(u64) @ 0x00 {}

    /// Controller configuration.
    CC(u32) @ 0x14 {}

    /// Controller status.
    CSTS(u32) @ 0x1c {
        /// The controller reports a fatal error.
        1:1 cfs => bool;
        /// The controller is ready for commands.
        0:0 rdy => bool;
    }

    /// Sizes of the admin queues.
    AQA(u32) @ 0x24 {}

    /// The address of the admin submission queue.
    ASQ(u64) @ 0x28 {}

    /// The address of the admin completion queue.
    ACQ(u64) @ 0x30 {}
}

/// The registers and the admin queue's two doorbells.
type Registers = Bar<0x1008>;

/// Number of entries of both queues.
const ENTRIES: u16 = 8;

/// An enabled controller and its admin queue. Dropping this disables the controller, so that it
/// does no more DMA.
pub struct Admin {
    pdev: ARef<pci::Device>,
    // `Admin::drop` stops all DMA before the fields, and so the rings, are dropped. Unbinding the
    // device undoes later what `EnabledDevice` has enabled.
    enabled: EnabledDevice,
    bar: Registers,
    ready_timeout: Delta,
    submissions: Ring<8>,
    submission: SubmissionRing,
    tail: Pin<KBox<Doorbell>>,
    completions: Ring<2>,
    completion: CompletionRing,
    head: Pin<KBox<Doorbell>>,
}

impl Admin {
    /// Enables the controller `pdev`, whose memory and bus mastering are `enabled`. May sleep.
    pub fn enable(
        pdev: &pci::Device<Bound>,
        enabled: EnabledDevice,
        name: &'static CStr,
    ) -> Result<Self> {
        let bar = Registers::map(pdev, 0, name)?;
        let cap = regs::Cap(bar.try_read(CAP)?.into_raw());
        let limits = regs::Limits::new(cap, 12, ENTRIES.into())
            .inspect_err(|error| dev_err!(pdev, "{error:?}\n"))
            .map_err(|_| ENODEV)?;
        let doorbell = |completion| {
            let offset = regs::doorbell_offset(Qid::ADMIN, completion, limits.stride);
            KBox::pin_init(bar.doorbell(offset), GFP_KERNEL)
        };

        let this = Self {
            pdev: pdev.into(),
            enabled,
            ready_timeout: Delta::from_millis(limits.timeout_ms.into()),
            submissions: Ring::new(pdev.as_ref(), ENTRIES.into())?,
            submission: SubmissionRing::new(ENTRIES.into()).ok_or(EINVAL)?,
            tail: doorbell(false)?,
            completions: Ring::new(pdev.as_ref(), ENTRIES.into())?,
            completion: CompletionRing::new(ENTRIES.into()).ok_or(EINVAL)?,
            head: doorbell(true)?,
            bar,
        };

        // From here on, an error drops `this`, which disables the controller again.
        this.disable()?;
        this.bar.write_reg(AQA::from(regs::aqa(ENTRIES, ENTRIES)));
        this.bar
            .try_write_reg(ASQ::from(this.submissions.dma_address()))?;
        this.bar
            .try_write_reg(ACQ::from(this.completions.dma_address()))?;
        this.bar
            .write_reg(CC::from(regs::cc::enable(limits.page_shift)));
        this.wait_ready(true)?;

        Ok(this)
    }

    /// Disables the controller, which also resets it.
    fn disable(&self) -> Result {
        let cc = self.bar.read(CC).into_raw();

        self.bar.write_reg(CC::from(regs::cc::disable(cc)));
        self.wait_ready(false)
    }

    /// Waits until CSTS.RDY is `ready`, up to the controller's time limit.
    fn wait_ready(&self, ready: bool) -> Result {
        read_poll_timeout(
            || Ok(self.bar.read(CSTS)),
            |csts| csts.rdy() == ready || csts.cfs(),
            Delta::from_millis(1),
            self.ready_timeout,
        )
        .and_then(|csts| {
            if csts.rdy() == ready {
                Ok(())
            } else {
                Err(EIO)
            }
        })
        .inspect_err(|_| {
            let csts = self.bar.read(CSTS).into_raw();
            dev_err!(self.pdev, "CSTS is {:#x}, RDY should be {}\n", csts, ready);
        })
    }

    /// Submits a command to the controller.
    pub fn submit(&mut self, command: &Command) {
        let slot = self.submission.push();

        self.submissions.write(slot.into(), &command.0);
        if let Some(tail) = self.submission.doorbell() {
            self.tail.write(tail.into(), &rcu::read_lock());
        }
    }

    /// Takes the command's completion, if the controller has completed the command.
    pub fn reap(&mut self) -> Option<Completion> {
        let slot = self.completion.head().into();

        // Check the phase first: the entry's other half is valid only if the entry is new.
        let slot = self.completions.slot(slot)?;
        let second = slot.read::<1>();
        if Completion::phase_of(second) != self.completion.phase() {
            return None;
        }
        barrier::dma_mb(barrier::Read);
        let completion = Completion([slot.read::<0>(), second]);

        self.completion.advance();
        self.head
            .write(self.completion.head().into(), &rcu::read_lock());
        Some(completion)
    }

    /// Polls for the command's completion, for a second at most.
    pub fn poll(&mut self) -> Result<Completion> {
        read_poll_timeout(
            || Ok(self.reap()),
            |completion| completion.is_some(),
            Delta::from_millis(1),
            Delta::from_secs(1),
        )?
        .ok_or(EIO)
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        // The controller must not write to freed memory. If it can't be disabled, which `wait_ready`
        // logs, clear its bus mastering.
        if self.disable().is_err() {
            self.enabled.stop_dma();
        }
    }
}
