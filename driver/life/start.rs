// SPDX-License-Identifier: GPL-2.0

//! The start sequence of a controller, shared by probe, reset and resume.
//!
//! The first start also allocates the interrupts, the queues and the tag set, which exist until the
//! controller is removed. Later starts reuse them, and don't wait for memory.

use super::{
    Controller,
    Interrupts, //
};
use crate::{
    abstractions::{
        block::mq::{
            QueueSet,
            TagSet, //
        },
        irq::{
            Registration,
            Vectors, //
        },
    },
    driver::{
        io::IoQueue,
        queue::{
            shadow,
            QueueConfig, //
        },
    },
    nvme::{
        host::{
            layout::{
                Asked,
                Layout,
                Offer,
                QueueKind, //
            },
            life::State,
            quirks::Quirks, //
        },
        spec::{
            id::Qid,
            identify, //
        },
    },
};
use kernel::{
    cpu::nr_cpu_ids,
    device::{
        self,
        Bound,
        Core, //
    },
    pci::{
        self,
        IrqType, //
    },
    prelude::*,
    sync::Arc, //
};

impl Controller {
    /// Starts the controller; `first` is its device for the first start. The caller releases
    /// requests after a success.
    ///
    /// # Errors
    ///
    /// If the controller can't be driven; a line in the log says why. The controller may be left
    /// enabled.
    pub(super) fn start(
        &self,
        dev: &device::Device<Bound>,
        first: Option<&pci::Device<Core<'_>>>,
    ) -> Result {
        self.enable(dev)?;
        let asked = self.asked();
        let vectors = match first {
            Some(pdev) => Some(self.make_interrupts(pdev, asked.interrupts(), asked.read)?),
            None => None,
        };
        // Again after each reset, because the firmware may have changed.
        let info = self.identify()?;
        let layout = match (first, vectors) {
            (Some(pdev), Some(vectors)) => self.make_queues(pdev, asked, vectors)?,
            _ => self.request_same_queues()?,
        };
        self.create_queues(layout)?;
        if first.is_some() {
            self.make_tag_set(dev, layout)?;
        }
        self.start_shadow();
        self.ctrl.watch_events(&info);
        // A reset wakes a controller that rests.
        self.parts.lock().rests_from = None;
        // Best effort: the controller works without these features.
        let _ = self.escalate(self.ctrl.set_features(&info, self.params.max_exit_us));
        self.lend_again();
        Ok(())
    }

    /// Enables the controller.
    ///
    /// # Errors
    ///
    /// `ENODEV` if it is being removed; those of
    /// [`Ctrl::enable`](crate::driver::ctrl::Ctrl::enable).
    fn enable(&self, dev: &device::Device<Bound>) -> Result {
        let _switch = self.switch.lock();
        match self.state() {
            State::New | State::Resetting => self.ctrl.enable(dev),
            State::Live | State::Deleting | State::Dead => Err(ENODEV),
        }
    }

    /// The queues that the parameters ask for.
    fn asked(&self) -> Asked {
        let p = &self.params;
        Asked::new(p.io_queues, p.read_queues, p.poll_queues, nr_cpu_ids())
    }

    /// Identifies the controller. Doesn't wait for memory.
    // Keeps its large stack frame out of the callers'.
    #[inline(never)]
    fn identify(&self) -> Result<identify::Controller> {
        let (info, subsystem) = self.escalate(self.ctrl.identify_controller())?;
        info.validate()
            .inspect_err(|e| dev_err!(self.dev(), "{}\n", e))
            .map_err(|_| ENODEV)?;
        *self.info.lock() = Some((info, subsystem));
        Ok(info)
    }

    /// Allocates vectors for `queues` I/O queues and the admin queue, and registers the admin
    /// queue's handler. The vectors of the last `reads` queues are spread over the CPUs separately.
    fn make_interrupts(
        &self,
        pdev: &pci::Device<Core<'_>>,
        queues: u32,
        reads: u32,
    ) -> Result<Arc<Vectors>> {
        let quirks = self.ctrl.quirks();
        let (max, reads) = match quirks.has(Quirks::SINGLE_VECTOR) {
            true => (1, 0),
            false => (queues.saturating_add(1), reads),
        };
        let types: &[IrqType] = match quirks.has(Quirks::BROKEN_MSI) {
            true => &[IrqType::MsiX, IrqType::Intx],
            false => &[IrqType::MsiX, IrqType::Msi, IrqType::Intx],
        };
        let vectors = Vectors::alloc(pdev, 1, max, 1, reads, types)
            .inspect_err(|e| dev_err!(pdev, "no interrupt vector: {:?}\n", e))?;

        let interrupts = Interrupts {
            io: KVec::with_capacity(vectors.len(), GFP_KERNEL)?,
            _admin: Registration::new(
                vectors.clone(),
                0,
                fmt!("{}q0", self.name()),
                self.ctrl.admin_queue().clone(),
            )?,
            standby: None,
            vectors: vectors.clone(),
        };
        // Kept until the controller is disabled, and raises no more interrupts.
        self.parts.lock().interrupts = Some(interrupts);
        Ok(vectors)
    }

    /// Decides how many I/O queues of each kind to create.
    fn lay_out(&self, asked: Asked, vectors: usize) -> Result<Layout> {
        let granted = self.escalate(self.ctrl.request_queues(asked.total()))?;
        let (len, stride) = (self.ctrl.bar().len(), self.ctrl.limits().stride);
        let offer = Offer {
            granted,
            vectors,
            bar: (len, stride),
        };
        let Some(layout) = Layout::new(asked, offer) else {
            dev_err!(
                self.dev(),
                "no I/O queue: {} granted, BAR 0 of {:#x} bytes with doorbells {} bytes apart\n",
                granted,
                len,
                stride
            );
            return Err(ENODEV);
        };

        let p = &self.params;
        for (name, asked, count) in [
            ("io_queues", p.io_queues, layout.default),
            ("read_queues", p.read_queues, layout.read),
            ("poll_queues", p.poll_queues, layout.poll),
        ] {
            if asked > count.into() {
                dev_info!(
                    self.dev(),
                    "{}: {} lowered to {} (granted {}, vectors {}, CPUs {})\n",
                    name,
                    asked,
                    count,
                    granted,
                    vectors,
                    nr_cpu_ids()
                );
            }
        }
        Ok(layout)
    }

    /// Allocates the I/O queues and registers their interrupts; doesn't create them at the
    /// controller. Returns their layout.
    fn make_queues(
        &self,
        pdev: &pci::Device<Core<'_>>,
        asked: Asked,
        mut vectors: Arc<Vectors>,
    ) -> Result<Layout> {
        let dev: &device::Device<Bound> = pdev.as_ref();
        let layout = self.lay_out(asked, vectors.len())?;
        let interrupts = layout.interrupts();
        if vectors.len() > 1 + usize::from(interrupts) || vectors.second_set() != layout.read.into()
        {
            // More vectors than queues: CPUs mapped to a surplus vector would have no queue.
            let old = self.parts.lock().interrupts.take();
            drop(old);
            drop(vectors);
            vectors = self.make_interrupts(pdev, interrupts.into(), layout.read.into())?;
        }

        let msix = matches!(vectors.irq_type(), IrqType::MsiX);
        // MSI-X only: an interrupt line stays asserted until the controller sees the new head, and
        // the controller may read a shadow doorbell arbitrarily late.
        let shadow = match msix {
            true => self.make_shadow(dev, layout.total()),
            false => None,
        };
        let lazy = msix
            && self
                .params
                .lazy_doorbells(self.ctrl.quirks().has(Quirks::LAZY_DOORBELLS));
        *self.io.lock() = KVec::with_capacity(layout.total().into(), GFP_KERNEL)?;
        for qid in layout.qids() {
            let config = self.config(layout, qid, vectors.len(), lazy);
            let (bar, stride) = (self.ctrl.bar(), self.ctrl.limits().stride);
            let first = self.queues().next();
            let queue = IoQueue::allocate(dev, bar, stride, config, shadow.as_ref(), first)?;
            self.io.lock().push_within_capacity(queue.clone())?;
            self.add_handler(&vectors, queue)?;
        }
        if vectors.len() > 1 {
            self.add_standby(&vectors)?;
        }
        let mut parts = self.parts.lock();
        parts.shadow = shadow;
        parts.layout = layout;
        Ok(layout)
    }

    /// The configuration of I/O queue `qid`.
    fn config(&self, layout: Layout, qid: Qid, vectors: usize, lazy: bool) -> QueueConfig {
        // `Limits` limits the depth to 16 bits.
        let depth = self.ctrl.limits().depth as u16;
        QueueConfig {
            instance: self.name().number(),
            qid,
            depth,
            cq_depth: if lazy {
                // The head may lag by an eighth: that saves most doorbell writes and costs little
                // memory.
                depth.saturating_add(depth / 8).min(self.ctrl.max_entries())
            } else {
                depth
            },
            vector: layout.vector(qid, vectors),
            reads: layout.kind(qid) == Some(QueueKind::Read),
            lazy,
        }
    }

    /// Registers the handler of an I/O queue, if the queue has a vector.
    fn add_handler(&self, vectors: &Arc<Vectors>, queue: Arc<IoQueue>) -> Result {
        let (name, qid) = (self.name(), queue.config.qid);
        let Some(vector) = queue.config.vector else {
            return Ok(());
        };
        let irq = Registration::new(vectors.clone(), vector.into(), fmt!("{name}q{qid}"), queue)?;
        if let Some(interrupts) = &mut self.parts.lock().interrupts {
            interrupts.io.push_within_capacity(irq)?;
        }
        Ok(())
    }

    /// Allocates the tag set that the disks share.
    fn make_tag_set(&self, dev: &device::Device<Bound>, layout: Layout) -> Result {
        let spread = self.vectors().is_some_and(|vectors| vectors.len() > 1);
        let mut queues = KVec::with_capacity(layout.total().into(), GFP_KERNEL)?;
        for queue in self.queues() {
            queues.push(queue, GFP_KERNEL)?;
        }
        let set = TagSet::new(
            dev,
            queues,
            [
                QueueSet {
                    queues: layout.default.into(),
                    first_vector: spread.then_some(1),
                },
                QueueSet {
                    queues: layout.read.into(),
                    first_vector: spread.then_some(1 + u32::from(layout.default)),
                },
                QueueSet {
                    queues: layout.poll.into(),
                    first_vector: None,
                },
            ],
            // One ring entry stays empty. The depth has 16 bits.
            (self.ctrl.limits().depth - 1) as u16,
            self.io_timeout_ms(),
        )?;
        let mut parts = self.parts.lock();
        parts.set = Some(set);
        parts.hw_queues = layout.total().into();
        Ok(())
    }

    /// Allocates the shadow doorbells, if the controller supports them and the parameters allow
    /// them.
    fn make_shadow(&self, dev: &device::Device<Bound>, queues: u16) -> Option<shadow::Buffers> {
        let has = self
            .info()
            .is_some_and(|info| info.doorbell_buffer_config());
        if !has || !self.params.shadow_doorbells {
            return None;
        }
        shadow::Buffers::new(dev, Qid::new(queues), self.ctrl.limits().stride)
            .inspect_err(|e| dev_info!(dev, "driven without shadow doorbells: {:?}\n", e))
            .ok()
    }

    /// Configures the shadow doorbells at the controller, after its queues were created and before
    /// they are used. If the controller refuses, the driver uses the registers only.
    fn start_shadow(&self) {
        self.with_queues(|queues| queues.iter().for_each(|queue| queue.set_shadow(false)));
        let Some(command) = self.parts.lock().shadow.as_ref().map(|s| s.configure()) else {
            return;
        };
        if self.escalate(self.ctrl.configure_shadow(command)).is_err() {
            log_limited!(dev_info, self.ctrl, "driven without shadow doorbells\n");
            return;
        }
        self.with_queues(|queues| queues.iter().for_each(|queue| queue.set_shadow(true)));
    }

    /// Releases requests after the first start, waits for the disks, and logs a summary.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the controller has become dead.
    pub(crate) fn announce(&self, dev: &device::Device<Bound>) -> Result {
        self.started()?;
        let info = self.info().ok_or(ENODEV)?;
        // The scan is a task: a controller that never completes a read must not block probe.
        let mut found = self.scanned.wait_timeout(self.ctrl.timeout_ms());
        // The scan may have requested a reset, after which it runs again.
        if found && self.state() == State::Resetting && !self.ctrl.enabled().is_blocked() {
            found = self.scanned.wait_timeout(self.ctrl.timeout_ms());
        }
        if !found {
            dev_warn!(dev, "the namespaces are still being looked for\n");
        }
        if self.state() == State::Dead {
            return Err(ENODEV);
        }
        if self.ctrl.has_overrides() {
            let (quirks, asked) = (self.ctrl.quirks(), self.params.quirks);
            dev_info!(
                dev,
                "quirks {:#x}, by quirks_on={:#x} quirks_off={:#x}\n",
                quirks.0,
                asked.on.0,
                asked.off.0
            );
        }
        dev_info!(
            dev,
            "{}: {}; I/O queues: {} of {} entries; namespaces: {}\n",
            self.name(),
            info.model.as_str(),
            self.present_queues(),
            self.ctrl.limits().depth,
            self.disk_count()
        );
        Ok(())
    }
}
