// SPDX-License-Identifier: GPL-2.0

//! The state of a controller, its last changes, and their uevents. `events` steps the state; the
//! rest of the driver reads it.

use super::Controller;
use crate::abstractions::atomic::Ordering;
use crate::{
    abstractions::sysfs::uevent_change,
    driver::{
        io::Supervisor,
        trace, //
    },
    nvme::host::life::{
        Event,
        Life,
        Refused,
        State,
        Step, //
    },
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    fmt,
    prelude::*,
    str::CString,
    sync::Arc,
    time::{
        ClockSource,
        Monotonic, //
    }, //
};

/// The number of state changes to keep.
const HISTORY: usize = 32;

/// The life of a controller, and its last changes of state.
#[derive(Clone, Copy)]
pub(super) struct Record {
    life: Life,
    /// The states, and when each began; change `n` is at `n` modulo the length.
    entries: [(State, i64); HISTORY],
    /// The number of changes so far.
    changes: usize,
    /// The number of changes already sent to user space.
    sent: usize,
}

impl Record {
    pub(super) fn new() -> Self {
        Self {
            life: Life::NEW,
            entries: [(State::New, Monotonic::ktime_get()); HISTORY],
            changes: 1,
            sent: 1,
        }
    }

    fn add(&mut self, state: State) {
        if let Some(entry) = self.entries.get_mut(self.changes % HISTORY) {
            *entry = (state, Monotonic::ktime_get());
        }
        self.changes = self.changes.wrapping_add(1);
    }

    /// The oldest change that is kept.
    fn first(&self) -> usize {
        self.changes.saturating_sub(HISTORY)
    }

    fn get(&self, n: usize) -> (State, i64) {
        self.entries
            .get(n % HISTORY)
            .copied()
            .unwrap_or((State::New, 0))
    }

    /// Takes the next state that wasn't sent to user space.
    fn next_to_send(&mut self) -> Option<State> {
        let next = self.sent.max(self.first());
        if next >= self.changes {
            return None;
        }
        self.sent = next + 1;
        Some(self.get(next).0)
    }
}

/// The state task: sends a uevent for each state that wasn't sent before.
pub(super) fn send_uevents(controller: &Arc<Controller>, dev: &device::Device<Bound>) {
    loop {
        let Some(state) = controller.record.lock().next_to_send() else {
            return;
        };
        controller.send_uevent(dev, fmt!("STATE={}", state.name()));
        if state == State::Live {
            controller.send_uevent_of_nvme(fmt!("NVME_EVENT=connected"));
        }
    }
}

impl Controller {
    /// Sends user space a `change` event of the controller's device, with the controller's name and
    /// `variable`. Best effort: without memory there is no uevent. Sleeps.
    pub(super) fn send_uevent(&self, dev: &device::Device<Bound>, variable: fmt::Arguments<'_>) {
        let _ = CString::try_from_fmt(fmt!("RNVME={}", self.name())).and_then(|name| {
            let variable = CString::try_from_fmt(variable)?;
            uevent_change(dev, &[&name, &variable])
        });
    }

    /// Sends user space a `change` event of the control device with `variable`: a uevent that the
    /// kernel's `nvme` sends there, too. Best effort: without memory there is none. Sleeps.
    pub(super) fn send_uevent_of_nvme(&self, variable: fmt::Arguments<'_>) {
        if let Some(control) = self.control() {
            let _ = CString::try_from_fmt(variable).and_then(|variable| control.uevent(&variable));
        }
    }

    /// The controller's state. The caller sees what was done before the step to it.
    pub(crate) fn state(&self) -> State {
        // Pairs with the store in `step`.
        State::try_from(self.state.load(Ordering::Acquire)).unwrap_or(State::Dead)
    }

    /// Steps the life by `event`. Returns the life before, and the step, whose actions the caller
    /// carries out. Any context.
    ///
    /// # Errors
    ///
    /// The state, if it refuses the event.
    pub(super) fn step(&self, event: Event) -> Result<(Life, Step), Refused> {
        let mut record = self.record.lock();
        let before = record.life;
        let step = before.step(event)?;
        record.life = step.life;
        if step.life.state != before.state {
            self.state
                .store(step.life.state.as_u32(), Ordering::Release);
            record.add(step.life.state);
            // Under the lock, so that the trace has the order of the changes.
            trace::state(self.name().number(), before.state, step.life.state);
            drop(record);
            self.state_task.queue();
        }
        Ok((before, step))
    }

    /// The last states of the controller, oldest first, each with the time when it began, in
    /// nanoseconds of the monotonic clock.
    pub(crate) fn history(&self) -> impl Iterator<Item = (State, i64)> {
        let record = *self.record.lock();
        (record.first()..record.changes).map(move |n| record.get(n))
    }
}
