// SPDX-License-Identifier: GPL-2.0

//! Sleep in which the controller keeps its power: it rests in its deepest power state, and its queues
//! stay. `driver/mod.rs` and `events` call this.

use super::Controller;
use crate::nvme::host::{
    life::{
        Cause,
        State, //
    },
    quirks::Quirks, //
};
use kernel::prelude::*;

impl Controller {
    /// Waits for the requests in flight, and has the controller enter its deepest power state.
    /// Returns `false` if it doesn't rest, and has to be shut down. Sleeps.
    pub(crate) fn rest(&self) -> bool {
        let Some(deepest) = self.info().and_then(|info| info.deepest_power_state()) else {
            return false;
        };
        if self.ctrl.quirks().has(Quirks::SIMPLE_SUSPEND) {
            return false;
        }
        // As for a shutdown, in [`suspend`](Self::suspend): a scan, which the next lines wait for, waits for
        // the recovery, and that for the device lock that the caller holds.
        if self.ctrl.enabled().is_blocked() {
            return false;
        }
        let rest = || {
            let _live = self.hold_live().ok_or(EBUSY)?;
            // The system may not serve the controller's accesses to memory. If the controller keeps it, only
            // a shutdown ends these.
            self.take_memory_back()?;
            let rests = self.enter_power_state(deepest.into());
            // The system may not sleep then, and the controller stay live.
            if rests.is_err() && self.state() == State::Live {
                self.lend_again();
            }
            rests
        };
        self.while_idle(rest).is_ok()
    }

    /// Has the controller rest in power state `deepest`.
    fn enter_power_state(&self, deepest: u32) -> Result {
        let before = self.escalate(self.ctrl.power_state())?;
        self.escalate(self.ctrl.set_power_state(deepest))?;
        self.parts.lock().rests_from = Some(before);
        Ok(())
    }

    /// Has a controller that rests enter the power state that it had before; if that fails, requests a
    /// reset. Returns `false` if the controller doesn't rest, or isn't live. Sleeps.
    pub(super) fn wake(&self) -> bool {
        let Some(_live) = self.hold_live() else {
            return false;
        };
        // None if a reset has woken the controller meanwhile: `start` clears this.
        let before = self.parts.lock().rests_from.take();
        let Some(before) = before else {
            return false;
        };
        // Its power was lost in spite of the platform's promise, so that it wouldn't answer.
        let is_up = self.ctrl.csts().ready();
        if !is_up || self.escalate(self.ctrl.set_power_state(before)).is_err() {
            let _ = self.request_reset(Cause::Fatal);
        } else {
            self.lend_again();
        }
        true
    }
}
