// SPDX-License-Identifier: GPL-2.0

//! The controller as the I/O path knows it: `io` calls this as a [`Supervisor`], off its fast path.

use super::Controller;
use crate::{
    abstractions::block::mq::{
        Op,
        RequestTimeoutStatus,
        Status,
        Tag, //
    },
    driver::io::{
        ControlCalls,
        Failure,
        IoQueue,
        Supervisor, //
    },
    nvme::{
        host::{
            life::State,
            passthrough::io_effects, //
        },
        spec::{
            command::Cns,
            effects::Effects,
            id::Nsid,
            identify, //
        },
    },
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    prelude::*,
    sync::Arc, //
};

impl Supervisor for Controller {
    fn allocated_blocks(&self, dev: &device::Device<Bound>, id: Nsid) -> Result<u64> {
        let page = self.escalate(self.ctrl.identify(dev, Cns::Namespace(id)))?;
        let ns = identify::Namespace::parse(&page).map_err(|_| EIO)?;
        Ok(ns.nuse)
    }

    fn io_effects(&self, opcode: u8) -> Effects {
        io_effects(opcode, self.ctrl.known_effects(false, opcode))
    }

    fn io_timeout_ms(&self) -> u32 {
        self.io_timeout_ms()
    }

    fn control(&self) -> Option<Arc<dyn ControlCalls>> {
        self.control.lock().clone()
    }

    fn namespaces_changed(&self) {
        self.scan_soon();
    }

    fn refusal(&self) -> Status {
        match self.state() {
            // The queue will be opened again.
            State::New | State::Live | State::Resetting => Status::Resource,
            State::Deleting | State::Dead => Status::Offline,
        }
    }

    fn log_failure(&self, failure: &Failure) {
        if !self.ctrl.may_log_command() {
            return;
        }
        match failure.id {
            Some(id) => dev_err!(self.dev(), "{}n{}: {}\n", self.name, id, failure),
            None => dev_err!(self.dev(), "{}: {}\n", self.name, failure),
        }
    }

    fn timed_out(&self, queue: &IoQueue, tag: Tag, op: Op) -> RequestTimeoutStatus {
        self.decide_on_late(queue, tag, op)
    }
}
