// SPDX-License-Identifier: GPL-2.0

//! A trial: a command on an I/O queue without a request. `namespaces` tries SGLs with it.

use super::{
    IoQueue,
    NvmeOps,
    Requests, //
};
use crate::{
    abstractions::mq::{
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
        status::Status, //
    },
};
use core::sync::atomic::Ordering;
use kernel::time::{
    delay::fsleep,
    Delta, //
};

/// The command identifier of a trial. Its tag bits exceed every request's tag.
const TRIAL_CID: u16 = u16::MAX;
const _: () = assert!(TRIAL_CID & InFlight::<NvmeOps>::TAG_MASK >= InFlight::<NvmeOps>::MAX_TAGS);

/// State of the trial: no trial runs.
pub(super) const TRIAL_IDLE: u32 = 0;
const TRIAL_PENDING: u32 = 1;
/// The upper 16 bits are the status.
const TRIAL_DONE: u32 = 2;

impl Requests {
    /// Handles a completion that belongs to no request of the queue's own: returns the request on
    /// the detour that it belongs to; otherwise it is the trial's, or stray.
    #[cold]
    pub(super) fn complete_unowned(
        &self,
        entry: Completion,
        stats: &Completed,
    ) -> Option<Request<NvmeOps>> {
        if entry.cid() == TRIAL_CID && self.end_trial(entry.status()) {
            stats.commands.publish(1);
            return None;
        }
        let guest = self.detour.guests().and_then(|g| g.take(entry.cid()));
        if guest.is_none() {
            stats.stray.add(1);
        }
        guest
    }

    /// Records the trial's status; `false` if no trial runs.
    pub(super) fn end_trial(&self, status: Status) -> bool {
        let done = u32::from(status.0) << 16 | TRIAL_DONE;
        self.trial
            .compare_exchange(TRIAL_PENDING, done, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
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

        self.handler.trial.store(TRIAL_PENDING, Ordering::Release);
        command.set_cid(TRIAL_CID);
        self.submit(Kind::Read, true, command);
        for _ in 0..timeout_ms.saturating_mul(1000 / STEP_US) {
            let state = self.handler.trial.load(Ordering::Acquire);
            if state != TRIAL_PENDING {
                return Some(Status((state >> 16) as u16));
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
