// SPDX-License-Identifier: GPL-2.0

//! Requests that time out: [`Late::decide`] first looks for a completion without an interrupt, then
//! aborts the command, then resets the controller. `supervisor` calls this. Who sends an admin
//! command waits for it, so the time limits of these are in `ctrl::admin`, and
//! [`Controller::escalate`] has the reset follow.

use super::{
    stop::Stop,
    Controller, //
};
use crate::abstractions::atomic::Ordering;
use crate::{
    abstractions::block::mq::{
        Op,
        RequestTimeoutStatus,
        Tag, //
    },
    driver::{
        io::{
            self,
            IoQueue, //
        },
        trace, //
    },
    nvme::{
        host::life::{
            Cause,
            State, //
        },
        spec::id::Cid,
    },
};
use kernel::{
    fmt,
    prelude::*,
    time::{
        ClockSource,
        Monotonic, //
    }, //
};

/// The time limit of an Abort command, in milliseconds. A working controller completes it at once.
const ABORT_TIMEOUT_MS: u32 = 1000;

impl Controller {
    /// Decides what follows from the time-out of the request with `tag`, for `op`. Process context;
    /// sleeps.
    pub(super) fn decide_on_late(&self, queue: &IoQueue, tag: Tag, op: Op) -> RequestTimeoutStatus {
        let Some((queue, tag)) = queue.locate(tag) else {
            return RequestTimeoutStatus::Completed;
        };
        let Some(cid) = queue.cid_in_flight(tag) else {
            return RequestTimeoutStatus::Completed;
        };
        self.events.timeouts.add_shared();
        let late = Late {
            controller: self,
            queue,
            tag,
            cid,
            op,
        };
        trace::timeout(self.name().number(), queue.config.qid, cid, io::opcode(op));
        late.decide()
    }
}

/// A command that has timed out.
struct Late<'a> {
    controller: &'a Controller,
    queue: &'a IoQueue,
    tag: Tag,
    cid: Cid,
    op: Op,
}

/// The command, for the log.
impl fmt::Display for Late<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "queue {}: command {:#06x}, opcode {:#04x} ({})",
            self.queue.config.qid,
            self.cid,
            io::opcode(self.op),
            io::command_name(self.op)
        )
    }
}

impl Late<'_> {
    fn is_in_flight(&self) -> bool {
        self.queue.cid_in_flight(self.tag) == Some(self.cid)
    }

    fn decide(&self) -> RequestTimeoutStatus {
        let c = self.controller;
        if c.ctrl.enabled().is_blocked() {
            // The bus will recover the controller, or report it lost.
            return RequestTimeoutStatus::RetryLater;
        }

        // The state before the status, because a reset makes the controller unready.
        let live = c.state() == State::Live;
        let csts = c.ctrl.csts();
        // A controller that is no longer ready completes no abort either.
        if csts.gone() || csts.fatal() || live && !csts.ready() {
            return self.reset(Cause::Fatal, Some(csts.0));
        }
        if c.is_activating() {
            // The wait for the firmware has a limit of its own.
            return RequestTimeoutStatus::RetryLater;
        }

        self.queue.reap_alone();
        if !self.is_in_flight() {
            c.events.lost_interrupts.add_shared();
            warn_limited!(c.ctrl, "{}, was completed without an interrupt\n", self);
            return RequestTimeoutStatus::Completed;
        }
        if c.state() != State::Live {
            return self.reset(Cause::TimedOut, None);
        }

        let limit = c.info().map_or(1, |info| info.acl);
        if c.aborting.fetch_add(1, Ordering::Relaxed) >= limit.into() {
            // Abort Command Limit reached; wait for a running abort.
            c.aborting.fetch_sub(1, Ordering::Relaxed);
            return RequestTimeoutStatus::RetryLater;
        }
        let aborted = self.abort();
        c.aborting.fetch_sub(1, Ordering::Relaxed);
        if aborted || !self.is_in_flight() {
            // The command has completed, or gets another time-out period.
            return RequestTimeoutStatus::RetryLater;
        }
        self.reset(Cause::TimedOut, None)
    }

    /// Aborts the command; `false` if an abort was sent before or failed, or if the command has ended.
    fn abort(&self) -> bool {
        let c = self.controller;
        if !self.queue.mark_aborted(self.cid) {
            return false;
        }
        // After one useless abort, skip further ones for a time-out period: each would block again.
        let futile = c.futile_abort.load(Ordering::Relaxed);
        let ms = Monotonic::ktime_get().saturating_sub(futile) / 1_000_000;
        if futile != 0 && ms < c.params.timeout_ms().into() {
            return true;
        }
        warn_limited!(c.ctrl, "{}, timed out: abort\n", self);
        c.events.aborts.add_shared();
        let qid = self.queue.config.qid;
        trace::abort(c.name().number(), qid, self.cid, io::opcode(self.op));
        let done = c.ctrl.abort(qid, self.cid, ABORT_TIMEOUT_MS).is_ok();
        if done {
            self.queue.reap_alone();
            if self.is_in_flight() {
                let now = Monotonic::ktime_get();
                c.futile_abort.store(now, Ordering::Relaxed);
            }
        }
        done
    }

    /// Requests a reset of a live controller, and logs it. Fails the requests of a controller that
    /// is dead or being removed.
    fn reset(&self, cause: Cause, csts: Option<u32>) -> RequestTimeoutStatus {
        let c = self.controller;
        match (c.request_reset(cause), csts) {
            (Ok(()), Some(csts)) => {
                dev_err!(c.dev(), "{}, timed out, CSTS {:#x}: reset\n", self, csts)
            }
            (Ok(()), None) => dev_err!(c.dev(), "{}, timed out: reset\n", self),
            (Err(State::Deleting | State::Dead), _) => c.stop(Stop::Failure { dump: None }),
            // A reset is already pending, or the controller is being started or suspended.
            (Err(_), _) => {}
        }
        // The reset takes the request out of the queue, and requeues or ends it.
        RequestTimeoutStatus::RetryLater
    }
}
