// SPDX-License-Identifier: GPL-2.0

//! Creates the I/O queues at the controller, whose memory `start` has allocated, and decides what
//! follows if it has fewer than the driver.
//!
//! The driver keeps all queues that it had after the first start. A later start may get fewer, and
//! the next one all of them again. The requests of a lost queue take the detour (see
//! `io::detour`), until the block layer has as few hardware queues. Because that change waits for
//! requests, which may need another reset, the scan makes it, not the start.

use super::{
    CommandError,
    Controller,
    Scanning, //
};
use crate::{
    abstractions::irq::{
        Handler,
        IrqReturn,
        Registration,
        Vectors, //
    },
    driver::{
        io::IoQueue,
        queue::QueueConfig, //
    },
    nvme::host::{
        layout::Layout,
        life::State,
        oldest::Oldest, //
    },
};
use kernel::{
    prelude::*,
    sync::Arc,
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

/// Handles vector 0 for the I/O queues whose interrupts were moved to it.
///
/// A queue that also serves the CPUs of lost queues can't use its own vector: the kernel shuts that
/// down when the last of the vector's own CPUs goes offline. Vector 0 serves all CPUs. The driver
/// registers this handler at the first start, because a reset must not wait for memory.
pub(super) struct Standby(KVec<Arc<IoQueue>>);

impl Handler for Standby {
    fn handle(&self) -> IrqReturn {
        let mut result = IrqReturn::None;
        for queue in self.0.iter().filter(|queue| queue.is_moved()) {
            queue.completed.interrupts.add(1);
            queue.reap_alone();
            result = IrqReturn::Handled;
        }
        result
    }
}

impl Controller {
    /// The number of I/O queues that the controller has.
    pub(crate) fn present_queues(&self) -> u32 {
        self.with_queues(|queues| queues.iter().filter(|queue| queue.is_present()).count() as u32)
    }

    /// The start times of the oldest commands in flight in `queue`. Process context.
    ///
    /// # Errors
    ///
    /// Those of [`TagSet::each_started`](crate::abstractions::block::mq::TagSet::each_started).
    pub(crate) fn oldest(&self, queue: &IoQueue) -> Result<Oldest> {
        let mut oldest = Oldest::default();
        if let Some(set) = self.tag_set() {
            // It carries the requests of lost queues.
            let is_first = queue.config.qid.get() == 1;
            set.each_started(|of, start| {
                let is_guest = is_first && !of.is_present();
                if let Some(start) = start.filter(|_| is_guest || core::ptr::eq(of, queue)) {
                    oldest.add(start);
                }
            })?;
        }
        Ok(oldest)
    }

    /// Requests as many I/O queues as the driver has, and returns those that the controller
    /// grants.
    pub(super) fn request_same_queues(&self) -> Result<Layout> {
        let all = self.parts.lock().layout;
        let granted = self.escalate(self.ctrl.request_queues(all.total()))?;
        Ok(all.first(u16::try_from(granted).unwrap_or(u16::MAX)))
    }

    /// Registers the handler of queues that are moved to vector 0.
    pub(super) fn add_standby(&self, vectors: &Arc<Vectors>) -> Result {
        let mut queues = KVec::new();
        for queue in self.queues() {
            queues.push(queue, GFP_KERNEL)?;
        }
        let irq = Registration::new(
            vectors.clone(),
            0,
            fmt!("{}", self.name()),
            Arc::new(Standby(queues), GFP_KERNEL)?,
        )?;
        if let Some(interrupts) = &mut self.parts.lock().interrupts {
            interrupts.standby = Some(irq);
        }
        Ok(())
    }

    /// Creates the I/O queues of `wanted` at the controller. If the controller refuses one,
    /// continues with those before it.
    ///
    /// # Errors
    ///
    /// If the controller refuses the first queue, or a command isn't completed.
    pub(super) fn create_queues(&self, wanted: Layout) -> Result {
        let all = self.parts.lock().layout;
        let before = self.present_queues();
        let mut kept = wanted;

        for queue in self.queues() {
            let qid = queue.config.qid;
            queue.rewind();
            queue.set_present(false);
            queue.set_moved(false);
            if qid.get() > kept.total() {
                continue;
            }
            match self.create_queue(&queue, all, kept) {
                Err(CommandError::Status(_)) if qid.get() > 1 => {
                    kept = all.first(qid.get() - 1);
                }
                created => self.escalate(created)?,
            }
        }
        // If a queue was refused, queues that were created before it may have to move.
        for queue in self.queues().filter(|queue| queue.is_present()) {
            if must_move(&queue, all, kept) && !queue.is_moved() {
                self.escalate(self.ctrl.delete_queue(queue.config.qid))?;
                queue.rewind();
                self.escalate(self.create_queue(&queue, all, kept))?;
            }
        }

        let (count, total) = (kept.total(), all.total());
        if count < total {
            warn_limited!(
                self.ctrl,
                "the controller has only {} of {} I/O queues now: these serve all requests until a reset brings the others back\n",
                count,
                total
            );
        } else if (1..total.into()).contains(&before) {
            log_limited!(
                dev_info,
                self.ctrl,
                "the controller has all {} I/O queues again\n",
                total
            );
        }
        Ok(())
    }

    /// Creates `queue` at the controller, which has only the queues of `kept`.
    fn create_queue(&self, queue: &IoQueue, all: Layout, kept: Layout) -> Result<(), CommandError> {
        queue.set_moved(must_move(queue, all, kept));
        let config = QueueConfig {
            vector: queue.vector(),
            ..queue.config
        };
        self.ctrl.create_queue(&config, queue.addresses())?;
        queue.set_present(true);
        Ok(())
    }

    /// Opens the queues that the controller has, and the detour if the block layer has more
    /// hardware queues.
    pub(super) fn open_queues(&self) {
        let detour = self.present_queues() < self.parts.lock().hw_queues;
        self.with_queues(|queues| {
            for queue in queues {
                let carries = detour && queue.config.qid.get() == 1;
                queue.set_open(queue.is_present() && !carries);
                queue.set_detour(carries);
            }
        });
    }
}

impl Scanning<'_> {
    /// Gives the block layer as many hardware queues as the controller has queues, and ends the
    /// detour. Waits for the requests in flight.
    pub(crate) fn remap_queues(&self) {
        let controller = self.controller;
        let (Some(set), Some(first)) = (controller.tag_set(), controller.queues().next()) else {
            return;
        };
        let Some(live) = controller.hold_live() else {
            return;
        };
        let count = controller.present_queues();
        {
            // If the number grows, a reset from now on must reckon with the new one.
            let mut parts = controller.parts.lock();
            parts.hw_queues = parts.hw_queues.max(count);
        }
        drop(live);
        if let Err(error) = set.set_queues(count) {
            warn_limited!(
                controller.ctrl,
                "the block layer keeps {} queues for {} of the controller: {:?}\n",
                set.queues(),
                count,
                error
            );
        }

        let Some(live) = controller.hold_live() else {
            return;
        };
        controller.parts.lock().hw_queues = set.queues();
        if !first.has_detour() || set.queues() > controller.present_queues() {
            return;
        }
        first.set_detour(false);
        drop(live);
        // Within their time limit the requests on the detour complete, or a reset follows.
        for _ in 0..controller.io_timeout_ms() {
            if first.is_detour_empty() || controller.state() != State::Live {
                break;
            }
            fsleep(Delta::from_millis(1));
        }
        let _operation = controller.operation.lock();
        let _switch = controller.switch.lock();
        // A removal waits for this scan and then writes data back, so the queue must be open in the
        // state `Deleting`, too. A stop closes the admin queue; after a reset, the queue or the
        // detour is open.
        let works = controller.ctrl.admin_queue().is_open();
        if works && !first.is_open() && !first.has_detour() {
            match first.is_detour_empty() {
                true => first.set_open(true),
                false => first.set_detour(true),
            }
        }
    }
}

/// Whether `queue` must use vector 0 if the controller has only the queues of `kept`.
fn must_move(queue: &IoQueue, all: Layout, kept: Layout) -> bool {
    let QueueConfig { qid, vector, .. } = queue.config;
    vector.is_some_and(|vector| vector != 0) && all.inherits(qid, kept)
}
