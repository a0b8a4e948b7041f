// SPDX-License-Identifier: GPL-2.0

//! What user space asks of a controller: admin commands, resets and scans. `control` calls this.

use super::{
    CommandError,
    Controller, //
};
use crate::abstractions::series::ENETRESET;
use crate::{
    abstractions::{
        atomic::Ordering,
        sync::without_io, //
    },
    driver::io::{
        ControlCalls,
        Failure,
        Namespace,
        Supervisor,
        Trust, //
    },
    nvme::{
        host::{
            life::{
                Cause,
                State, //
            },
            passthrough,
        },
        spec::{
            command::{
                Cns,
                Command, //
            },
            effects::Effects,
            identify,
            status::Status, //
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

impl Controller {
    /// Sets the control device to which disks pass calls on. It keeps the controller alive only until
    /// it is removed.
    pub(crate) fn set_control(&self, device: Arc<dyn ControlCalls>) {
        let old = self.control.lock().replace(device);
        drop(old);
    }

    /// Runs a user's admin command, for `timeout_ms` milliseconds at most, and returns its result
    /// and status. `memory` holds its data. A killed task lets go of the command at once if it
    /// `may_let_go`.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the controller is dead or being removed. `EINTR` if the task is killed, if the
    /// controller is reset, or if the command times out, which requests a reset. `EBUSY` if too many
    /// users' commands are in flight.
    pub(crate) fn run_for_user(
        &self,
        command: Command,
        memory: Arc<dyn Send + Sync>,
        timeout_ms: u32,
        may_let_go: bool,
    ) -> Result<(u64, Status)> {
        // During a start the driver's commands come first.
        if self.state() == State::Live {
            let queue = self.ctrl.admin_queue();
            match queue.execute_for_user(command, memory, timeout_ms, may_let_go) {
                Ok((_, Status::CANCELLED)) => return Err(EINTR),
                Ok((result, status)) => {
                    if !status.is_success() && self.logs_users.load(Ordering::Relaxed) {
                        self.events.admin_errors.add_shared();
                        self.log_failure(&Failure::of_admin(command, status));
                    }
                    return Ok((result, status));
                }
                Err(CommandError::Unavailable) => {}
                Err(CommandError::Host(error)) => return Err(error),
                Err(error) => {
                    let _ = self.escalate(Err::<(), _>(error));
                    return Err(EINTR);
                }
            }
        }
        match self.state() {
            State::Dead | State::Deleting => Err(ENODEV),
            _ => Ok((0, Status::NOT_READY)),
        }
    }

    /// The effects of a command: what the controller's log says, and what is known.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the controller takes no command, `ENOMEM`. `EINTR` if a reset ends the reading of the
    /// log.
    #[inline(never)]
    pub(crate) fn effects(
        &self,
        dev: &device::Device<Bound>,
        admin: bool,
        opcode: u8,
    ) -> Result<Effects> {
        let info = self.info().ok_or(ENODEV)?;
        let log = self.ctrl.logged_effects(dev, &info, admin, opcode);
        // EAGAIN would have io_uring send the user's command again.
        let log = self.escalate(log).map_err(|error| match error {
            EAGAIN => EINTR,
            error => error,
        })?;
        Ok(match admin {
            true => passthrough::admin_effects(opcode, log),
            false => passthrough::io_effects(opcode, log),
        })
    }

    /// Calls `f` while the disks are frozen and idle, and no scan runs.
    ///
    /// # Errors
    ///
    /// `EBUSY` if requests stay in flight, or wait for a scan; `ENOMEM`.
    pub(crate) fn while_idle<R>(&self, f: impl FnOnce() -> Result<R>) -> Result<R> {
        let _scanning = self.lock_disks();
        if self.has_doubts() {
            return Err(EBUSY);
        }
        let mut held = KVec::with_capacity(self.disk_count(), GFP_KERNEL)?;

        for disk in self.disks() {
            if let Some(frozen) = disk.hold() {
                held.push(frozen, GFP_KERNEL)?;
            }
        }
        // A request ends within its time limit, or after the abort or reset that follows.
        let limit_ms = self.io_timeout_ms().saturating_mul(3);
        if held.iter().all(|frozen| frozen.is_idle_within(limit_ms)) {
            f()
        } else {
            Err(EBUSY)
        }
    }

    /// Whether requests wait for a scan.
    pub(crate) fn has_doubts(&self) -> bool {
        self.disks().any(|disk| disk.data().is_doubtful())
    }

    /// Has requests wait for the next scan, on disks whose namespaces don't have the same format as before,
    /// as far as the controller says so. The caller runs in [`while_idle`](Self::while_idle), and has the
    /// namespaces scanned next.
    pub(crate) fn doubt_disks(&self, dev: &device::Device<Bound>) {
        // A controller that doesn't answer isn't asked again.
        let mut answers = true;
        let mut is_same = |ns: &Namespace| {
            if !answers {
                return false;
            }
            let page = self.escalate(self.ctrl.identify(dev, Cns::Namespace(ns.id)));
            answers = page.is_ok();
            let now = page.and_then(|page| identify::Namespace::parse(&page).map_err(|_| EIO));
            now.is_ok_and(|now| ns.has_format_of(&now))
        };
        // Reclaim could wait for the frozen disks.
        without_io(|| {
            for disk in self.disks() {
                if !is_same(disk.data()) {
                    disk.data().set_trust(Trust::Doubtful);
                }
            }
        });
    }

    /// Resets the controller, and waits for the end of the reset.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the controller isn't live; `ENETRESET` if the reset failed.
    pub(crate) fn reset_and_wait(&self) -> Result {
        self.request_reset(Cause::Asked).map_err(|_| EBUSY)?;
        self.reset_task.flush();
        match self.state() {
            State::Live => Ok(()),
            _ => Err(ENETRESET),
        }
    }

    /// Queues a scan of the namespaces, if the controller is live.
    pub(crate) fn scan_soon(&self) {
        if self.state() == State::Live {
            self.scan_task.queue();
        }
    }

    /// Scans the namespaces, and waits for the end of the scan.
    pub(crate) fn scan_and_wait(&self) {
        self.scan_soon();
        self.scan_task.flush();
    }
}
