// SPDX-License-Identifier: GPL-2.0

//! Where a controller is in its life, the last changes, and the uevents for them.

use super::Controller;
use crate::{
    abstractions::sysfs::uevent_change,
    nvme::host::life::{
        Event,
        Life,
        Refused,
        State,
        Step, //
    },
};
use core::sync::atomic::Ordering;
use kernel::{
    device::{
        self,
        Bound, //
    },
    prelude::*,
    str::CString,
    sync::Arc,
    time::{
        ClockSource,
        Monotonic, //
    }, //
};

/// The state changes that are remembered.
const HISTORY: usize = 32;

/// The life of a controller, and its last changes of state.
#[derive(Clone, Copy)]
pub(super) struct Record {
    life: Life,
    /// The states, and when they began; change `n` is at `n` modulo the length.
    entries: [(State, i64); HISTORY],
    /// How many changes there were.
    changes: usize,
    /// How many of them user space knows.
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

    /// The first change that is remembered.
    fn first(&self) -> usize {
        self.changes.saturating_sub(HISTORY)
    }

    fn get(&self, n: usize) -> (State, i64) {
        self.entries
            .get(n % HISTORY)
            .copied()
            .unwrap_or((State::New, 0))
    }

    /// The next state that user space doesn't know.
    fn next_to_send(&mut self) -> Option<State> {
        let next = self.sent.max(self.first());
        if next >= self.changes {
            return None;
        }
        self.sent = next + 1;
        Some(self.get(next).0)
    }
}

/// Sends a uevent for each state that user space doesn't know.
pub(super) fn send_uevents(controller: &Arc<Controller>, dev: &device::Device<Bound>) {
    loop {
        let Some(state) = controller.record.lock().next_to_send() else {
            return;
        };
        // Best effort: without memory there is no uevent.
        let _ =
            CString::try_from_fmt(fmt!("RNVME=rnvme{}", controller.instance())).and_then(|name| {
                let state = CString::try_from_fmt(fmt!("STATE={}", state.name()))?;
                uevent_change(dev, &[&name, &state])
            });
    }
}

impl Controller {
    /// Where the controller is in its life.
    pub(crate) fn state(&self) -> State {
        State::try_from(self.state.load(Ordering::Acquire)).unwrap_or(State::Dead)
    }

    /// Takes the step that `event` leads to; returns where the controller was, and the step, whose
    /// actions the caller carries out. Any context.
    ///
    /// # Errors
    ///
    /// The state, in which the event makes no sense.
    pub(super) fn step(&self, event: Event) -> Result<(Life, Step), Refused> {
        let mut record = self.record.lock();
        let before = record.life;
        let step = before.step(event)?;
        record.life = step.life;
        if step.life.state != before.state {
            self.state
                .store(step.life.state.as_u32(), Ordering::Release);
            record.add(step.life.state);
            drop(record);
            self.state_task.queue();
        }
        Ok((before, step))
    }

    /// The last states of the controller, the oldest first, each with the time since when, in
    /// nanoseconds of the monotonic clock.
    pub(crate) fn history(&self) -> impl Iterator<Item = (State, i64)> {
        let record = *self.record.lock();
        (record.first()..record.changes).map(move |n| record.get(n))
    }
}
