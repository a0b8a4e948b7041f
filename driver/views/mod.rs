// SPDX-License-Identifier: GPL-2.0

//! The files of a controller and its queues in sysfs, debugfs and hwmon.
//! `Documentation/ABI/testing/sysfs-driver-rust_nvme_demo` describes those in sysfs. Only
//! `driver/mod.rs` calls this room. The files only read, except those that request a reset or a
//! scan, or set a temperature limit.

mod debugfs;
mod hwmon;
mod sysfs;

pub(crate) use self::sysfs::CLASS_DEVICE;

use super::{
    ctrl::admin::AdminQueue,
    io::IoQueue,
    life::{
        Controller,
        Running, //
    },
    queue::watch::Watch, //
};
use crate::{
    abstractions::irq::Vectors,
    nvme::host::oldest::Oldest, //
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    prelude::*,
    sync::Arc, //
};

/// A queue, for the files in its directories.
struct QueueView {
    queue: AnyQueue,
    vectors: Arc<Vectors>,
    controller: Arc<Controller>,
}

enum AnyQueue {
    Admin(Arc<AdminQueue>),
    Io(Arc<IoQueue>),
}

impl QueueView {
    fn queue(&self) -> &dyn Watch {
        match &self.queue {
            AnyQueue::Admin(queue) => &**queue,
            AnyQueue::Io(queue) => &**queue,
        }
    }

    /// The interrupt vector; `None` for a polled queue.
    fn vector(&self) -> Option<u16> {
        match &self.queue {
            AnyQueue::Admin(queue) => queue.config.vector,
            AnyQueue::Io(queue) => queue.vector(),
        }
    }

    /// Whether the controller has the queue.
    fn state(&self) -> &'static str {
        match &self.queue {
            AnyQueue::Io(queue) if !queue.is_present() => "lost",
            _ => "live",
        }
    }

    /// The start times of the oldest commands in flight; none for the admin queue.
    fn oldest(&self) -> Result<Oldest> {
        match &self.queue {
            AnyQueue::Admin(_) => Ok(Oldest::default()),
            AnyQueue::Io(queue) => self.controller.oldest(queue),
        }
    }

    fn kind(&self) -> &'static str {
        match &self.queue {
            AnyQueue::Admin(_) => "admin",
            AnyQueue::Io(queue) if queue.config.vector.is_none() => "poll",
            AnyQueue::Io(queue) if queue.config.reads => "read",
            AnyQueue::Io(_) => "default",
        }
    }
}

/// All files of a controller. Dropping this removes them.
pub(crate) struct Views {
    _sysfs: sysfs::Files,
    _debugfs: debugfs::Files,
    _hwmon: Option<hwmon::Files>,
}

impl Views {
    /// Creates the files of a started controller.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or those of [`sysfs`](crate::abstractions::sysfs).
    pub(crate) fn new(dev: &device::Device<Bound>, controller: &Running) -> Result<Self> {
        let vectors = controller.vectors().ok_or(ENODEV)?;
        let mut queues = KVec::new();
        let mut add = |queue| -> Result {
            let view = QueueView {
                queue,
                vectors: vectors.clone(),
                controller: (**controller).clone(),
            };
            Ok(queues.push(Arc::new(view, GFP_KERNEL)?, GFP_KERNEL)?)
        };

        add(AnyQueue::Admin(controller.ctrl().admin_queue().clone()))?;
        for queue in controller.queues() {
            add(AnyQueue::Io(queue))?;
        }

        Ok(Self {
            _sysfs: sysfs::Files::new(dev, controller, &queues)?,
            _debugfs: debugfs::Files::new(dev, controller, &queues)?,
            _hwmon: hwmon::register(dev, controller),
        })
    }
}
