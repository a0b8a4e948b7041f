// SPDX-License-Identifier: GPL-2.0

//! What a controller and its queues show: values in sysfs, one in each file, which stay as they are
//! described in `Documentation/ABI/testing/sysfs-driver-rust_nvme_demo`; and in debugfs what is too
//! much for one value, and in a core dump when it fails.

mod debugfs;
mod dump;
mod sysfs;
mod text;

pub(super) use self::dump::Dump;

use super::{
    admin::AdminQueue,
    controller::Running,
    io::IoQueue,
    queue::{
        Queue,
        Shape,
        Sink, //
    },
    stats::{
        Completed,
        Submitted, //
    },
};
use crate::abstractions::irq::Vectors;
use kernel::{
    device::{
        self,
        Bound, //
    },
    prelude::*,
    sync::Arc, //
};

/// A queue of either kind, to look at.
trait Watch {
    fn shape(&self) -> Shape;
    fn submitted(&self) -> &Submitted;
    fn completed(&self) -> &Completed;
    /// The numbers of commands submitted and completed.
    fn progress(&self) -> (u64, u64);
    /// Tail and head of the submission queue.
    fn sq_position(&self) -> (u32, u32);
    /// Head and phase of the completion queue.
    fn cq_position(&self) -> (u32, bool);
    /// An entry of the submission queue.
    fn sq_entry(&self, index: u16) -> Option<[u64; 8]>;
    /// An entry of the completion queue.
    fn cq_entry(&self, index: u16) -> Option<[u64; 2]>;
}

impl<S: Sink> Watch for Queue<S> {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn submitted(&self) -> &Submitted {
        &self.submitted
    }

    fn completed(&self) -> &Completed {
        &self.completed
    }

    fn progress(&self) -> (u64, u64) {
        Queue::progress(self)
    }

    fn sq_position(&self) -> (u32, u32) {
        Queue::sq_position(self)
    }

    fn cq_position(&self) -> (u32, bool) {
        Queue::cq_position(self)
    }

    fn sq_entry(&self, index: u16) -> Option<[u64; 8]> {
        Queue::sq_entry(self, index)
    }

    fn cq_entry(&self, index: u16) -> Option<[u64; 2]> {
        Queue::cq_entry(self, index)
    }
}

/// A queue as its directories show it.
struct QueueView {
    queue: AnyQueue,
    vectors: Arc<Vectors>,
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

    fn kind(&self) -> &'static str {
        match &self.queue {
            AnyQueue::Admin(_) => "admin",
            AnyQueue::Io(queue) if queue.shape.vector.is_none() => "poll",
            AnyQueue::Io(queue) if queue.shape.reads => "read",
            AnyQueue::Io(_) => "default",
        }
    }
}

/// All that is to be seen of a controller. It is gone when this is dropped.
pub(super) struct Views {
    _sysfs: sysfs::Files,
    _debugfs: debugfs::Files,
}

impl Views {
    /// Shows a controller that is up.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or those of [`sysfs`](crate::abstractions::sysfs).
    pub(super) fn new(dev: &device::Device<Bound>, controller: &Running) -> Result<Self> {
        let vectors = controller.vectors().ok_or(ENODEV)?;
        let mut queues = KVec::new();

        let view = |queue| {
            Arc::new(
                QueueView {
                    queue,
                    vectors: vectors.clone(),
                },
                GFP_KERNEL,
            )
        };
        queues.push(view(AnyQueue::Admin(controller.admin.clone()))?, GFP_KERNEL)?;
        for queue in controller.queues() {
            queues.push(view(AnyQueue::Io(queue))?, GFP_KERNEL)?;
        }

        Ok(Self {
            _sysfs: sysfs::Files::new(dev, controller, &queues)?,
            _debugfs: debugfs::Files::new(dev, controller, &queues)?,
        })
    }
}
