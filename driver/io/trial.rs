// SPDX-License-Identifier: GPL-2.0

//! A trial: a command on an I/O queue without a request. `namespaces` tries SGLs with it.

use super::{
    IoQueue,
    NvmeOps,
    Requests, //
};
use crate::{
    abstractions::{
        atomic::slot::NUMBER_BITS,
        block::mq::{
            InFlight,
            Request, //
        },
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

/// The tag bits of a trial's command identifier: more than every request's tag.
const TRIAL: u16 = InFlight::<NvmeOps>::TAG_MASK;
const _: () = assert!(TRIAL >= InFlight::<NvmeOps>::MAX_TAGS);

/// The command identifier of the trial with this number.
pub(super) const fn trial_cid(number: u16) -> Cid {
    Cid::new(TRIAL | number << NUMBER_BITS)
}

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
        // The status has 15 bits; the number tells a trial's completion from the one before.
        let cid = entry.cid().get();
        let value = u32::from(cid >> NUMBER_BITS) << u16::BITS | u32::from(entry.status().0);
        if cid & TRIAL == TRIAL && self.trial.bring(value) {
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
    /// out, or if `gone` returned true. `number` is 0 to 15, and another one than the last
    /// trial's. Only before there is a disk, because the queue has no room for the trial beside all
    /// requests. Sleeps.
    pub(crate) fn run_trial(
        &self,
        number: u16,
        mut command: Command,
        timeout_ms: u32,
        gone: impl Fn() -> bool,
    ) -> Option<Status> {
        const STEP_US: u32 = 50;

        if !self.handler.trial.arm() {
            // A trial that timed out is in flight until a reset.
            return None;
        }
        command.set_cid(trial_cid(number));
        self.submit(Kind::Read, true, command);
        for _ in 0..timeout_ms.saturating_mul(1000 / STEP_US) {
            if let Some(value) = self.handler.trial.take() {
                // If the last trial's completion came again, this trial's won't be seen.
                let own = value >> u16::BITS == number.into();
                return own.then_some(Status(value as u16));
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
