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
    abstractions::block::mq::{
        Request,
        Status, //
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
use kernel::prelude::*;

/// Why a controller is stopped: this decides how, and what happens to its requests.
#[derive(Clone, Copy)]
pub(super) enum Stop {
    /// It will be reset: disable it, dump its state, and requeue the requests.
    Reset(Cause),
    /// For a sleep, a function-level reset, or the machine's shutdown: shut it down, and requeue
    /// the requests that are left.
    Shutdown,
    /// For ever: disable it, and fail the requests. With a dump that has this reason, if any.
    Failure {
        /// The reason for the dump.
        dump: Option<&'static str>,
    },
}

impl Stop {
    /// The reason for a dump, if there is to be one.
    fn dumps(self) -> Option<&'static str> {
        match self {
            Self::Reset(cause) => Some(cause.as_str()),
            Self::Shutdown => None,
            Self::Failure { dump } => dump,
        }
    }
}

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

    /// Stops the controller, and ends or requeues its requests; the block layer holds requests back
    /// until [`unquiesce`](Self::unquiesce), which a failure calls. Sleeps.
    pub(super) fn stop(&self, reason: Stop) {
        let fails = matches!(reason, Stop::Failure { .. });
        let _switch = fails.then(|| self.switch.lock());
        if !matches!(reason, Stop::Shutdown) {
            self.close_queues();
        }
        self.quiesce();
        let mut dump = reason.dumps().map(|why| {
            // Of the first stop, if a start failed since.
            let kept = self.parts.lock().dump.take();
            kept.unwrap_or_else(|| Dump::new(self, why))
        });
        match reason {
            Stop::Shutdown => self.shut_down(),
            Stop::Reset(_) | Stop::Failure { .. } => self.halt(),
        }
        self.cancel_requests(&mut |qid, cid, rq| {
            if let Some(dump) = &mut dump {
                dump.command(qid, cid, &rq);
            }
            match reason {
                Stop::Reset(cause) => io::requeue(rq, cause.blames_requests()),
                Stop::Shutdown => io::requeue(rq, false),
                Stop::Failure { .. } => rq.end(Status::IoError),
            }
        });
        if dump.is_some() {
            self.parts.lock().dump = dump;
        }
        if fails {
            self.unquiesce();
        }
    }

    /// Shuts an idle controller down (Base 3.6.1), or disables it if it no longer works: it does no
    /// DMA after this.
    fn shut_down(&self) {
        let works = self.ctrl.admin_queue().is_open() && self.ctrl.csts().ready();
        if works {
            // After a failure the shutdown takes it.
            let _ = self.take_memory_back();
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
