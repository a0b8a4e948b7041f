// SPDX-License-Identifier: GPL-2.0

//! A trial: a command on an I/O queue without a request. `namespaces` tries SGLs with it.

use super::{
    IoQueue,
    NvmeOps,
    Requests, //
};
use crate::{
    abstractions::block::mq::{
        InFlight,
        Request, //
    },
    driver::queue::stats::{
        Completed,
        Kind, //
    },
    nvme::spec::{
        command::Command,
        completion::Completion,
        id::Cid,
        status::Status, //
    },
};
use kernel::time::{
    delay::fsleep,
    Delta, //
};

/// The command identifier of a trial. Its tag bits exceed every request's tag.
pub(super) const TRIAL_CID: Cid = Cid::new(InFlight::<NvmeOps>::TAG_MASK);
const _: () = assert!(InFlight::<NvmeOps>::TAG_MASK >= InFlight::<NvmeOps>::MAX_TAGS);

impl Requests {
    /// Handles a completion that belongs to no request of the queue's own: returns the request on
    /// the detour that it belongs to; otherwise it is the trial's, or stray.
    #[cold]
    #[inline(never)]
    pub(super) fn complete_unowned(
        &self,
        entry: Completion,
        stats: &Completed,
    ) -> Option<Request<NvmeOps>> {
        if entry.cid() == TRIAL_CID && self.trial.bring(entry.status().0.into()) {
            stats.commands.publish(1);
            return None;
        }
        let guest = self.detour.guests().and_then(|g| g.take(entry.cid().get()));
        if guest.is_none() {
            stats.stray.add(1);
        }
        guest
    }
}

impl IoQueue {
    /// Runs a command without a request, for `timeout_ms` milliseconds at most; `None` if it timed
    /// out, or if `gone` returned true. Only before there is a disk, because the queue has no room
    /// for the trial beside all requests. Sleeps.
    pub(crate) fn run_trial(
        &self,
        mut command: Command,
        timeout_ms: u32,
        gone: impl Fn() -> bool,
    ) -> Option<Status> {
        const STEP_US: u32 = 50;

        if !self.handler.trial.arm() {
            // A trial that timed out is in flight until a reset.
            return None;
        }
        command.set_cid(TRIAL_CID);
        self.submit(Kind::Read, true, command);
        for _ in 0..timeout_ms.saturating_mul(1000 / STEP_US) {
            if let Some(status) = self.handler.trial.take() {
                // The status has 15 bits.
                return Some(Status(status as u16));
            }
            if gone() {
                break;
            }
            fsleep(Delta::from_micros(STEP_US.into()));
            // No interrupt reaps a polled queue.
            self.reap_alone();
        }
        None
    }
}
