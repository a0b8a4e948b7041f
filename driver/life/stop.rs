// SPDX-License-Identifier: GPL-2.0

//! Stopping a controller, and what happens to its requests. `events` and `timeout` call this.
//!
//! From the start of a stop until requests are released, nothing waits for memory: reclaim may
//! depend on these requests.

use super::{
    dump::Dump,
    Controller, //
};
use crate::{
    abstractions::{
        block::mq::{
            Request,
            Status, //
        },
        sync::without_io,
    },
    driver::io::{
        self,
        NvmeOps, //
    },
    nvme::{
        host::life::Cause,
        spec::id::{
            Cid,
            Qid, //
        },
    },
};
use kernel::{
    prelude::*,
    time::{
        Instant,
        Monotonic, //
    }, //
};

/// How long a freeze waits for requests in flight to complete, in milliseconds.
const DRAIN_TIMEOUT_MS: u32 = 5000;

impl Controller {
    /// Closes all queues: they accept no more commands.
    fn close_queues(&self) {
        self.ctrl.admin_queue().close();
        self.with_queues(|queues| {
            for queue in queues {
                queue.set_detour(false);
                queue.close();
            }
        });
    }

    /// Stops the block layer from dispatching requests, until [`unquiesce`](Self::unquiesce).
    fn quiesce(&self) {
        let mut parts = self.parts.lock();

        if let Some(set) = &parts.set {
            if !parts.quiesced {
                set.quiesce();
                parts.quiesced = true;
            }
        }
    }

    /// Lets the block layer dispatch requests again; closed queues reject them.
    pub(super) fn unquiesce(&self) {
        let mut parts = self.parts.lock();

        if let Some(set) = &parts.set {
            if parts.quiesced {
                set.unquiesce();
                parts.quiesced = false;
            }
        }
    }

    /// Reaps all queues, and waits until their heads are written to the controller. Before a
    /// disable, because QEMU would otherwise leave a legacy interrupt line asserted, which other
    /// devices may share.
    fn drain_completions(&self) {
        self.ctrl.admin_queue().drain_completions();
        self.with_queues(|queues| queues.iter().for_each(|queue| queue.drain_completions()));
    }

    /// Disables the controller, or stops its DMA: the controller does no DMA after this.
    fn halt(&self) {
        if self.ctrl.is_reachable() {
            self.drain_completions();
        }
        self.ctrl.disable_or_stop_dma();
    }

    /// Takes every request in flight out of the queues, and passes it to `end` with its queue and
    /// command identifiers. The controller must be stopped, or gone. Requests that the controller
    /// completed before end with their own status.
    pub(super) fn cancel_requests(&self, end: &mut dyn FnMut(Qid, Cid, Request<NvmeOps>)) {
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

    /// Stops the controller for good, and fails all its requests; calls `look` for each request
    /// first.
    pub(super) fn fail_requests(&self, look: &mut dyn FnMut(Qid, Cid, &Request<NvmeOps>)) {
        self.close_queues();
        self.quiesce();
        self.halt();
        self.cancel_requests(&mut |qid, cid, rq| {
            look(qid, cid, &rq);
            rq.end(Status::IoError)
        });
        self.unquiesce();
    }

    /// Stops the controller, and requeues its requests; the block layer holds them until
    /// `unquiesce`. Returns the core dump.
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

    /// Shuts the controller down, and requeues the requests left in its queues.
    pub(super) fn shut_down_and_requeue(&self) {
        self.quiesce();
        self.shut_down();
        self.cancel_requests(&mut |_, _, rq| io::requeue(rq, false));
    }

    /// Shuts an idle controller down (Base 3.6.1), or disables it if it no longer works: it does no
    /// DMA after this.
    fn shut_down(&self) {
        let works = self.ctrl.admin_queue().is_open() && self.ctrl.csts().ready();
        if works {
            for queue in self.queues().filter(|queue| queue.is_present()) {
                // Skip the remaining queues after a failure: each would time out again, and the
                // disable below deletes them all.
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
            // The controller may still be saving data, which a disable would interrupt: only stop
            // its DMA.
            self.drain_completions();
            self.ctrl.enabled().stop_dma();
        } else {
            self.halt();
        }
    }

    /// Marks all disks dead, so that they fail every later request. The caller has ended all
    /// requests. If the scan is adding a disk, attach_disk() marks that disk dead.
    pub(super) fn mark_disks_dead(&self) {
        // The block layer allocates memory for uevents. Without I/O, because reclaim could wait for
        // a disk (by a loop device, for example) whose reset needs a lock that the caller holds.
        without_io(|| self.disks().for_each(|disk| disk.disk.mark_dead()));
        // There will be no more scan: don't let announce() wait for it.
        self.scanned.complete();
    }

    /// Freezes the disks, and waits up to [`DRAIN_TIMEOUT_MS`] for requests in flight. Returns
    /// whether all have completed.
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

    /// Undoes [`freeze_disks`](Self::freeze_disks).
    pub(super) fn thaw_disks(&self) {
        for disk in &self.parts.lock().disks {
            disk.disk.thaw();
        }
    }

    /// Removes the disks. File systems on them write back dirty data, if the queues still work.
    pub(super) fn remove_disks(&self) {
        // Without the lock, because this may take long.
        let disks = core::mem::take(&mut self.parts.lock().disks);
        drop(disks);
    }

    /// Frees what existed while the controller was up. The controller is stopped, and has no disks.
    pub(super) fn release(&self) {
        self.cancel_requests(&mut |_, _, rq| rq.end(Status::IoError));
        let parts = core::mem::take(&mut *self.parts.lock());
        drop(parts.set);
        drop(parts.interrupts);
        self.ctrl.release_reserve();
        *self.io.lock() = KVec::new();
    }
}
