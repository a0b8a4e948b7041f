// SPDX-License-Identifier: GPL-2.0

//! How a controller is stopped, and what becomes of its requests then.
//!
//! From the first step of a stop until requests are released, nothing waits for memory: all memory
//! that can be freed may have to be written by these requests first.

use super::{
    dump::Dump,
    Controller, //
};
use crate::{
    abstractions::{
        mq::{
            Request,
            Status, //
        },
        sync::without_io,
    },
    driver::io::{
        self,
        NvmeOps, //
    },
    nvme::host::life::Cause,
};
use kernel::{
    prelude::*,
    time::{
        Instant,
        Monotonic, //
    }, //
};

/// How long requests in flight may take to end before a sleep, in milliseconds; later they are
/// requeued.
const DRAIN_TIMEOUT_MS: u32 = 5000;

impl Controller {
    /// Closes all queues: no command gets in any more.
    fn close_queues(&self) {
        self.ctrl.admin_queue().close();
        self.with_queues(|queues| queues.iter().for_each(|queue| queue.close()));
    }

    /// Keeps requests from the queues, until [`unquiesce`](Self::unquiesce).
    fn quiesce(&self) {
        let mut parts = self.parts.lock();

        if let Some(set) = &parts.set {
            if !parts.quiesced {
                set.quiesce();
                parts.quiesced = true;
            }
        }
    }

    /// Lets requests to the queues again, which take them or refuse them.
    pub(super) fn unquiesce(&self) {
        let mut parts = self.parts.lock();

        if let Some(set) = &parts.set {
            if parts.quiesced {
                set.unquiesce();
                parts.quiesced = false;
            }
        }
    }

    /// Reaps all queues, and waits until the controller knows the heads. With a line in place of
    /// vectors, QEMU would leave the line up if that came after a disable, and other devices may share
    /// it.
    fn drain_completions(&self) {
        self.ctrl.admin_queue().drain_completions();
        self.with_queues(|queues| queues.iter().for_each(|queue| queue.drain_completions()));
    }

    /// Disables the controller, by force if need be: it does no DMA after this.
    fn halt(&self) {
        if self.ctrl.is_reachable() {
            self.drain_completions();
        }
        self.ctrl.disable_or_stop_dma();
    }

    /// Takes every request in flight out of the queues and hands it to `end`, with its queue's and
    /// its command's identifiers. The controller must be stopped, or gone. Requests that were
    /// completed before are ended as they were.
    pub(super) fn cancel_requests(&self, end: &mut dyn FnMut(u16, u16, Request<NvmeOps>)) {
        let admin = self.ctrl.admin_queue();
        admin.reap_alone();
        admin.cancel();
        self.with_queues(|queues| {
            for queue in queues {
                queue.reap_alone();
                let qid = queue.config.qid;
                queue.cancel(&mut |cid, rq| end(qid, cid, rq));
            }
        });
    }

    /// Stops the controller, for good, and ends all its requests with an error, each after `look` saw
    /// it.
    pub(super) fn fail_requests(&self, look: &mut dyn FnMut(u16, u16, &Request<NvmeOps>)) {
        self.close_queues();
        self.quiesce();
        self.halt();
        self.cancel_requests(&mut |qid, cid, rq| {
            look(qid, cid, &rq);
            rq.end(Status::IoError)
        });
        self.unquiesce();
    }

    /// Stops the controller, and gives its requests back to the block layer, which keeps them until
    /// they are released. Returns the core dump.
    pub(super) fn stop_for_reset(&self, cause: Cause) -> Dump {
        self.close_queues();
        self.quiesce();
        let mut dump = Dump::new(self, cause.as_str());
        self.halt();
        self.cancel_requests(&mut |qid, cid, rq| {
            dump.command(qid, cid, &rq);
            io::requeue(rq, cause.blames_requests());
        });
        dump
    }

    /// Shuts the controller down, and requeues what is left in its queues.
    pub(super) fn shut_down_and_requeue(&self) {
        self.quiesce();
        self.shut_down();
        self.cancel_requests(&mut |_, _, rq| io::requeue(rq, false));
    }

    /// Shuts an idle controller down in order, if it still works: it does no DMA after this (Base 3.6.1).
    fn shut_down(&self) {
        let works = self.ctrl.admin_queue().is_open() && self.ctrl.csts().ready();
        if works {
            for queue in self.queues() {
                // A controller that doesn't answer will not answer for the next queue either; disabling
                // it does the same.
                if self
                    .escalate(self.ctrl.delete_queue(queue.config.qid))
                    .is_err()
                {
                    break;
                }
            }
        }
        self.close_queues();
        let info = self.info();
        if works && self.ctrl.notify_shutdown(info.as_ref()).is_err() && self.ctrl.is_reachable() {
            // The controller may still be saving data, which a disable would interrupt: it goes on, but
            // without DMA.
            self.drain_completions();
            self.ctrl.enabled().stop_dma();
        } else {
            self.halt();
        }
    }

    /// Has all disks fail every later request. All their requests have ended before. A disk that is
    /// being added is marked dead by the scan.
    pub(super) fn mark_disks_dead(&self) {
        // The kernel sends uevents, which takes memory; the caller may hold a lock that a reset of
        // the disk to which the memory would be written needs, as with a loop device in between.
        without_io(|| self.disks().for_each(|disk| disk.disk.mark_dead()));
        // Nobody looks for disks any more.
        self.scanned.complete();
    }

    /// Lets no new request in, and waits, not for long, for the requests in flight; whether they have
    /// ended.
    pub(super) fn freeze_disks(&self) -> bool {
        let parts = self.parts.lock();
        let mut left_ms = DRAIN_TIMEOUT_MS;

        for disk in &parts.disks {
            disk.disk.freeze();
        }
        for disk in &parts.disks {
            let start = Instant::<Monotonic>::now();
            if !disk.disk.is_idle_within(left_ms) {
                return false;
            }
            left_ms = left_ms.saturating_sub(start.elapsed().as_millis() as u32);
        }
        true
    }

    /// Lets requests in again.
    pub(super) fn thaw_disks(&self) {
        for disk in &self.parts.lock().disks {
            disk.disk.thaw();
        }
    }

    /// Removes the disks. File systems on them write back what they have, if the queues still work.
    pub(super) fn remove_disks(&self) {
        // Not under the lock, as it may take long.
        let disks = core::mem::take(&mut self.parts.lock().disks);
        drop(disks);
    }

    /// Frees what existed while the controller was up. It is stopped, and has no disks.
    pub(super) fn release(&self) {
        self.cancel_requests(&mut |_, _, rq| rq.end(Status::IoError));
        let parts = core::mem::take(&mut *self.parts.lock());
        drop(parts.set);
        drop(parts.interrupts);
        self.ctrl.release_reserve();
        *self.io.lock() = KVec::new();
    }
}
