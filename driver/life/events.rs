// SPDX-License-Identifier: GPL-2.0

//! What happens to a controller: each event takes a step of its life, and the actions of the step are
//! carried out here.

use super::{
    dump::Dump,
    Controller, //
};
use crate::nvme::host::life::{
    Action,
    Cause,
    Event,
    Refused,
    State,
    Step, //
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

/// How long after the device stops to answer the bus may take to report an error, in milliseconds.
const BUS_ERROR_MS: i64 = 1000;

/// What the actions of a step need beside the controller.
#[derive(Clone, Copy)]
struct Context<'a> {
    /// The device. Only a start needs it.
    dev: Option<&'a device::Device<Bound>>,
    /// Why the controller is stopped.
    cause: Cause,
    /// Why it is given up, if it is.
    why: &'static str,
    /// The system goes to sleep: no request may stay in flight.
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
    /// Feeds `event` to the controller's life, and carries out what follows. The caller holds
    /// `operation`, unless the event is a removal.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the event makes no sense now, or requests stay in flight before a sleep.
    fn handle(&self, event: Event, cx: Context<'_>) -> Result {
        let (before, step) = self.step(event).map_err(|_| EBUSY)?;
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
            Action::StopForReset => {
                let dump = self.stop_for_reset(cx.cause);
                self.parts.lock().dump.get_or_insert(dump);
            }
            Action::ShutDown => self.shut_down_and_requeue(),
            Action::FailRequests if step.actions.contains(&Action::SubmitDump) => {
                let kept = self.parts.lock().dump.take();
                let mut dump = kept.unwrap_or_else(|| Dump::new(self, cx.why));
                self.fail_requests(&mut |qid, cid, rq| dump.command(qid, cid, rq));
                self.parts.lock().dump = Some(dump);
            }
            Action::FailRequests => self.fail_requests(&mut |_, _, _| ()),
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
                self.with_queues(|queues| queues.iter().for_each(|queue| queue.open()));
                self.unquiesce();
            }
            Action::SubmitDump => {
                let dump = self.parts.lock().dump.take();
                if let Some(dump) = dump {
                    self.hand_over(dump);
                }
            }
            Action::Scan => self.scan_task.queue(),
            Action::MarkDisksDead => self.mark_disks_dead(),
            Action::CancelTasks => {
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

    /// Runs the start sequence of a controller that is resetting, and returns how it ended.
    fn restart(&self, dev: &device::Device<Bound>) -> Event {
        let Err(error) = self.start(dev, None) else {
            return Event::Started;
        };
        // A removal ends what is left.
        if self.state() != State::Resetting {
            return Event::StartFailed { bus_error: false };
        }
        dev_err!(self.dev(), "reset failed: {:?}\n", error);
        Event::StartFailed {
            bus_error: self.is_bus_error(),
        }
    }

    /// Whether the bus blocks the way to the controller, and will say what becomes of it. If nothing
    /// answers any more, the bus may be late with its report. Sleeps.
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

    /// Ends the first start: lets requests in, and has the namespaces scanned.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the controller is not new any more.
    pub(super) fn started(&self) -> Result {
        let _operation = self.operation.lock();
        self.handle(Event::Started, Context::new(None, ""))
    }

    /// Asks for a reset. Any context that may queue work.
    ///
    /// # Errors
    ///
    /// The controller's state, if that isn't live.
    pub(crate) fn request_reset(&self, cause: Cause) -> Result<(), State> {
        match self.step(Event::ResetWanted(cause)) {
            Ok(_) => {
                self.reset_task.queue();
                Ok(())
            }
            Err(Refused(state)) => Err(state),
        }
    }

    /// Stops the controller for a sleep (`sleep`), a reset of the function, or for good; requests wait.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the controller is dead or being removed, if the bus recovers from an error, or if
    /// requests stay in flight before a sleep: CPUs that go offline would wait for them.
    pub(crate) fn suspend(&self, sleep: bool) -> Result {
        let blocked = self.ctrl.enabled().is_blocked();
        if sleep && blocked {
            // A scan waits for the bus, and the bus for the device's lock.
            dev_err!(
                self.dev(),
                "the bus is recovering from an error: no sleep\n"
            );
            return Err(EBUSY);
        }
        // The commands of a scan are no requests, which are waited for below.
        let _scanning = sleep.then(|| self.scanning.lock());
        let _operation = self.operation.lock();
        let cx = Context {
            sleep,
            ..Context::new(None, "")
        };
        self.handle(Event::Suspend { sleep, blocked }, cx)
    }

    /// Starts a suspended controller again; one that doesn't start is dead. If the bus recovers from an
    /// error, the start comes after that.
    ///
    /// # Errors
    ///
    /// `ENODEV` for a dead controller.
    pub(crate) fn resume(&self, dev: &device::Device<Bound>) -> Result {
        let _operation = self.operation.lock();
        let blocked = self.ctrl.enabled().is_blocked();
        let _ = self.handle(Event::Resume { blocked }, Context::new(Some(dev), ""));
        match self.state() {
            State::Dead => Err(ENODEV),
            _ => Ok(()),
        }
    }

    /// The bus blocks the way to the device after an error: requests wait, and no register is accessed.
    pub(crate) fn bus_frozen(&self) {
        let _operation = self.operation.lock();
        let _ = self.handle(Event::BusFrozen, Context::new(None, ""));
    }

    /// The bus has recovered: starts the controller again, unless the system keeps it stopped.
    pub(crate) fn bus_recovered(&self, dev: &device::Device<Bound>) {
        let _operation = self.operation.lock();
        let _ = self.handle(Event::BusRecovered, Context::new(Some(dev), ""));
    }

    /// The bus gave up all devices below a port. If it didn't block this one, which may be another's
    /// fault, and the controller works, it stays.
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

    /// Removes the controller, unless that was done.
    pub(crate) fn remove(&self) {
        let present = self.ctrl.enabled().is_present();
        // Not under `operation`: a reset may hold it, whose requests this ends.
        let event = Event::Removed { present };
        if self.handle(event, Context::new(None, "")).is_ok() {
            self.release();
        }
    }
}

/// The reset that [`Controller::request_reset`] asks for.
pub(super) fn reset(controller: &Arc<Controller>, dev: &device::Device<Bound>) {
    let _operation = controller.operation.lock();
    let blocked = controller.ctrl.enabled().is_blocked();
    let (before, step) = match controller.step(Event::ResetRuns { blocked }) {
        Ok(taken) => taken,
        // Another path handled this reset.
        Err(_) => return,
    };
    if step.actions.is_empty() {
        // The bus resets the controller, or reports it lost.
        return;
    }
    dev_info!(controller.dev(), "resetting the controller\n");
    controller.events.resets.add_shared();
    let cx = Context {
        cause: before.wanted.unwrap_or(Cause::Asked),
        ..Context::new(Some(dev), "")
    };
    for action in step.actions {
        let _ = controller.carry_out(*action, step, cx);
    }
}
