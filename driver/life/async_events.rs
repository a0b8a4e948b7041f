// SPDX-License-Identifier: GPL-2.0

//! Asynchronous events: what the controller reports without being asked (Base 5.2).
//!
//! The event task takes an event, tells user space and the log, and reads the event's log page, so
//! that the controller reports the next one. [`Ctrl::watch_events`] chooses the events.
//!
//! [`Ctrl::watch_events`]: crate::driver::ctrl::Ctrl::watch_events

use super::Controller;
use crate::abstractions::atomic::Ordering;
use crate::nvme::{
    host::life::{
        Cause,
        State, //
    },
    spec::{
        features::{
            AsyncEvent,
            AsyncEventKind, //
        },
        log, //
    },
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    io::poll::read_poll_timeout,
    prelude::*,
    sync::Arc,
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

/// The time between two events, at least.
const PAUSE: Delta = Delta::from_millis(100);

/// The event task: handles the pending event, if there is one.
pub(super) fn handle(controller: &Arc<Controller>, dev: &device::Device<Bound>) {
    // The end of a start queues the task again.
    if controller.state() != State::Live {
        return;
    }
    let Some(event) = controller.ctrl.admin_queue().take_event() else {
        return;
    };
    controller.events.async_events.add_shared();
    controller.send_uevent(dev, fmt!("NVME_AEN={:#08x}", event.raw));
    controller.send_uevent_of_nvme(fmt!("NVME_AEN={:#08x}", event.raw));
    // After a reset the start sequence arms the next event.
    let resets = event.persistent_error() && controller.report_failure();
    if !resets {
        controller.react(event, dev);
    }
    // A controller that reports without end must neither keep the task busy nor reset all the time.
    fsleep(PAUSE);
    if !resets {
        controller.ctrl.admin_queue().arm_event();
    }
}

impl Controller {
    /// Logs a persistent internal error, and requests a reset. Returns whether that succeeded.
    fn report_failure(&self) -> bool {
        log_limited!(
            dev_err,
            self.ctrl,
            "the controller reports a persistent internal error\n"
        );
        self.request_reset(Cause::Fatal).is_ok()
    }

    /// Does what `event` asks for, except a reset.
    fn react(&self, event: AsyncEvent, dev: &device::Device<Bound>) {
        let ctrl = &self.ctrl;
        match event.kind {
            AsyncEventKind::Notice if event.namespaces_changed() => {
                // The list's content doesn't matter: the scan reads all active namespaces. A
                // failure logs itself.
                let _ = self.escalate(ctrl.read_changed_namespaces());
                self.scan_task.queue();
            }
            AsyncEventKind::Notice if event.firmware_activation() => self.wait_for_firmware(dev),
            AsyncEventKind::Health => {
                self.events.smart_warnings.add_shared();
                if let Ok(log::Smart { warnings, .. }) = self.escalate(ctrl.smart_warning()) {
                    warn_limited!(
                        ctrl,
                        "SMART critical warning {:#04x}: {}\n",
                        warnings.0,
                        warnings
                    );
                }
            }
            AsyncEventKind::Error => {
                warn_limited!(ctrl, "the controller reports: {}\n", event.error_name());
                let _ = self.escalate(ctrl.read_error_log());
            }
            _ => warn_limited!(
                ctrl,
                "asynchronous event {:?}, information {:#x}, log page {:#x}\n",
                event.kind,
                event.info,
                event.log_page
            ),
        }
    }

    /// Waits until the controller has activated a firmware, and executes commands again. Requests
    /// wait at the controller meanwhile, and don't time out.
    fn wait_for_firmware(&self, dev: &device::Device<Bound>) {
        let Some(ms) = self.info().map(|info| info.activation_timeout_ms()) else {
            return;
        };
        log_limited!(
            dev_info,
            self.ctrl,
            "the controller activates a firmware, and pauses commands\n"
        );
        // Relaxed: a time-out that misses this aborts its command.
        self.activating.store(true, Ordering::Relaxed);
        // The stop of the controller ends the wait, not the state `Deleting`: a removal writes data
        // back before it stops the controller, and these requests must not time out in the pause.
        let ended = read_poll_timeout(
            || {
                let stopped = !self.ctrl.admin_queue().is_open();
                Ok(stopped || !self.ctrl.is_reachable() || !self.ctrl.csts().paused())
            },
            |ended| *ended,
            Delta::from_millis(20),
            Delta::from_millis(ms.into()),
        );
        self.activating.store(false, Ordering::Relaxed);
        if ended.is_err() {
            log_limited!(
                dev_err,
                self.ctrl,
                "no firmware was activated within {} ms\n",
                ms
            );
            // Best effort: a reset may already be pending.
            let _ = self.request_reset(Cause::TimedOut);
            return;
        }
        if self.state() != State::Live || !self.ctrl.is_reachable() {
            return;
        }
        // Failures log themselves.
        let _ = self.escalate(self.ctrl.read_firmware_log());
        if let Ok(new) = self.escalate(self.ctrl.identify_again(dev)) {
            if new.0.validate().is_ok() {
                *self.info.lock() = Some(new);
            }
        }
        // Limits of the disks may have changed.
        self.scan_task.queue();
    }
}
