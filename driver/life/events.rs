// SPDX-License-Identifier: GPL-2.0

//! The events of a controller's life. [`nvme::host::life`](crate::nvme::host::life) decides which
//! actions an event takes; this file carries them out. The PCI callbacks, the reset task and the
//! time-out handler call it.

use super::{
    stop::Stop,
    Controller, //
};
use crate::{
    driver::trace,
    nvme::host::life::{
        Action,
        Cause,
        Event,
        Life,
        Refused,
        State,
        Step, //
    }, //
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    io::poll::read_poll_timeout,
    prelude::*,
    sync::Arc,
    time::Delta, //
};

/// After a device stops responding, the bus may report its error this many milliseconds late.
const BUS_ERROR_MS: i64 = 1000;

/// The arguments of a step's actions, beside the controller.
#[derive(Clone, Copy)]
struct Context<'a> {
    /// The device; only [`Action::Start`] needs it.
    dev: Option<&'a device::Device<Bound>>,
    /// Why the controller is stopped.
    cause: Cause,
    /// The reason to log if the controller becomes dead.
    why: &'static str,
    /// The system is going to sleep: no request may stay in flight.
    sleep: bool,
}

impl<'a> Context<'a> {
    fn new(dev: Option<&'a device::Device<Bound>>, why: &'static str) -> Self {
        Self {
            dev,
            cause: Cause::BusError,
            why,
            sleep: false,
        }
    }
}

impl Controller {
    /// Steps the controller's life by `event`, and carries out the step's actions. The caller holds
    /// `operation`, unless the event is a removal or the request of a reset.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the controller's state refuses the event, or if requests stay in flight before a
    /// sleep.
    fn handle(&self, event: Event, cx: Context<'_>) -> Result {
        let (before, step) = self.step(event).map_err(|_| EBUSY)?;
        self.follow(before, step, cx)
    }

    /// Carries out the actions of a step that led on from `before`.
    fn follow(&self, before: Life, step: Step, cx: Context<'_>) -> Result {
        if step.life.state == State::Dead && before.state != State::Dead {
            dev_err!(self.dev(), "the controller is dead: {}\n", cx.why);
        }
        for action in step.actions {
            self.carry_out(*action, step, cx)?;
        }
        Ok(())
    }

    fn carry_out(&self, action: Action, step: Step, cx: Context<'_>) -> Result {
        match action {
            Action::QueueReset => self.reset_task.queue(),
            Action::FreezeDisks => {
                if !self.freeze_disks() && cx.sleep {
                    dev_err!(self.dev(), "requests are in flight: no sleep\n");
                    self.handle(Event::NotIdle, cx)?;
                    return Err(EBUSY);
                }
            }
            Action::ThawDisks => self.thaw_disks(),
            Action::StopForReset => self.stop(Stop::Reset(cx.cause)),
            Action::ShutDown => self.stop(Stop::Shutdown),
            Action::FailRequests => {
                let dumps = step.actions.contains(&Action::SubmitDump);
                self.stop(Stop::Failure {
                    dump: dumps.then_some(cx.why),
                });
            }
            Action::Start => {
                let event = self.restart(cx.dev.ok_or(EINVAL)?);
                self.handle(
                    event,
                    Context {
                        why: "reset failed",
                        ..cx
                    },
                )?;
            }
            Action::ReleaseRequests => {
                self.open_queues();
                self.unquiesce();
            }
            Action::SubmitDump => {
                let dump = self.parts.lock().dump.take();
                if let Some(dump) = dump {
                    self.hand_over(dump);
                }
            }
            Action::Scan => {
                self.scan_task.queue();
                self.event_task.queue();
            }
            Action::MarkDisksDead => self.mark_disks_dead(),
            Action::CancelTasks => {
                self.event_task.cancel();
                self.reset_task.cancel();
                self.scan_task.cancel();
                self.state_task.cancel();
                (self.forget)(self);
                self.dump_task.cancel();
            }
            Action::RemoveDisks => self.remove_disks(),
        }
        Ok(())
    }

    /// Runs the start sequence of a resetting controller, and returns its result as an event.
    fn restart(&self, dev: &device::Device<Bound>) -> Event {
        let Err(error) = self.start(dev, None) else {
            return Event::Started;
        };
        // The controller is being removed; the removal cleans up.
        if self.state() != State::Resetting {
            return Event::StartFailed { bus_error: false };
        }
        dev_err!(self.dev(), "reset failed: {:?}\n", error);
        Event::StartFailed {
            bus_error: self.is_bus_error(),
        }
    }

    /// Whether the bus blocks access to the controller, so that a callback of the bus will follow.
    /// If the controller stopped responding, waits for the bus to report its error. Sleeps.
    fn is_bus_error(&self) -> bool {
        let enabled = self.ctrl.enabled();
        let blocked = read_poll_timeout(
            || Ok(enabled.is_blocked()),
            |blocked| *blocked || !self.ctrl.csts().gone() || self.state() != State::Resetting,
            Delta::from_millis(10),
            Delta::from_millis(BUS_ERROR_MS),
        );
        blocked == Ok(true)
    }

    /// Completes the first start: releases requests and queues a scan of the namespaces.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the controller is no longer new.
    pub(super) fn started(&self) -> Result {
        let _operation = self.operation.lock();
        self.handle(Event::Started, Context::new(None, ""))
    }

    /// Requests a reset. Any context that may queue work.
    ///
    /// # Errors
    ///
    /// The controller's state, if the controller isn't live.
    pub(crate) fn request_reset(&self, cause: Cause) -> Result<(), State> {
        let (before, step) = self
            .step(Event::ResetWanted(cause))
            .map_err(|Refused(state)| state)?;
        // The only action is to queue the reset task: it doesn't sleep, and can't fail.
        let _ = self.follow(before, step, Context::new(None, ""));
        Ok(())
    }

    /// Stops the controller for a system sleep (`sleep`), a function-level reset, or a shutdown;
    /// requests wait in the block layer.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the controller is dead or being removed. Before a sleep also if the bus is
    /// recovering from an error, or if requests stay in flight, because CPUs going offline wait for
    /// their queues to drain.
    pub(crate) fn suspend(&self, sleep: bool) -> Result {
        let blocked = self.ctrl.enabled().is_blocked();
        if sleep && blocked {
            // Deadlock otherwise: a scan waits for the recovery, which waits for the device lock
            // that the caller holds.
            dev_err!(
                self.dev(),
                "the bus is recovering from an error: no sleep\n"
            );
            return Err(EBUSY);
        }
        // Freezing the disks doesn't wait for a scan, whose admin commands are no requests.
        let _scanning = sleep.then(|| self.lock_disks());
        let _operation = self.operation.lock();
        let cx = Context {
            sleep,
            ..Context::new(None, "")
        };
        self.handle(Event::Suspend { sleep, blocked }, cx)
    }

    /// Restarts a suspended controller; a controller that fails to start becomes dead. If the bus
    /// is recovering from an error, the restart follows the recovery.
    ///
    /// # Errors
    ///
    /// `ENODEV` for a dead controller.
    pub(crate) fn resume(&self, dev: &device::Device<Bound>) -> Result {
        if self.wake() {
            return Ok(());
        }
        let _operation = self.operation.lock();
        let blocked = self.ctrl.enabled().is_blocked();
        let _ = self.handle(Event::Resume { blocked }, Context::new(Some(dev), ""));
        match self.state() {
            State::Dead => Err(ENODEV),
            _ => Ok(()),
        }
    }

    /// The bus blocks access to the device after an error: requests wait, and the driver accesses
    /// no register.
    pub(crate) fn bus_frozen(&self) {
        let _operation = self.operation.lock();
        let _ = self.handle(Event::BusFrozen, Context::new(None, ""));
    }

    /// The bus has recovered: restarts the controller, unless the system keeps it suspended.
    pub(crate) fn bus_recovered(&self, dev: &device::Device<Bound>) {
        let _operation = self.operation.lock();
        let _ = self.handle(Event::BusRecovered, Context::new(Some(dev), ""));
    }

    /// The bus gave up all devices below a port. A controller that the bus didn't block, and that
    /// still works, stays live: the error may be a sibling's.
    pub(crate) fn bus_lost(&self) {
        let _operation = self.operation.lock();
        let enabled = self.ctrl.enabled();
        let reachable = !enabled.is_blocked() && enabled.is_present();
        let csts = self.ctrl.csts();
        let works = reachable && csts.ready() && !csts.fatal() && !csts.gone();
        let event = Event::BusLost { reachable, works };
        let _ = self.handle(event, Context::new(None, "the bus lost the device"));
        if works && self.state() == State::Live {
            dev_warn!(
                self.dev(),
                "the bus gave up on an error; this controller works\n"
            );
        }
    }

    /// Removes the controller; does nothing if it was removed before.
    pub(crate) fn remove(&self) {
        let present = self.ctrl.enabled().is_present();
        // Without `operation`: a reset may hold it while waiting for requests that this removal
        // ends.
        let event = Event::Removed { present };
        if self.handle(event, Context::new(None, "")).is_ok() {
            self.release();
        }
    }
}

/// The reset task, which [`Controller::request_reset`] queues.
pub(super) fn reset(controller: &Arc<Controller>, dev: &device::Device<Bound>) {
    let _operation = controller.operation.lock();
    let blocked = controller.ctrl.enabled().is_blocked();
    let (before, step) = match controller.step(Event::ResetRuns { blocked }) {
        Ok(taken) => taken,
        // The state has changed since: another path handled this reset.
        Err(_) => return,
    };
    if step.actions.is_empty() {
        // Recovery of the bus will restart the controller, or report the device lost.
        return;
    }
    controller.events.resets.add_shared();
    controller.events.resets_shown.add_shared();
    let cause = before.wanted.unwrap_or(Cause::Asked);
    // A device can cause any other.
    if cause == Cause::Asked || controller.ctrl.may_log() {
        dev_info!(controller.dev(), "resetting the controller\n");
    }
    trace::reset(controller.name().number(), cause);
    let cx = Context {
        cause,
        ..Context::new(Some(dev), "")
    };
    // A failed start logs itself.
    let _ = controller.follow(before, step, cx);
}
