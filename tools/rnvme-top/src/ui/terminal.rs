// SPDX-License-Identifier: GPL-2.0

//! The terminal, and the main loop over keys and snapshots.

use std::io::IsTerminal;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crossterm::event::{self, Event, KeyEventKind};
use ratatui::DefaultTerminal;

use super::app::{Action, App};
use super::draw::draw;
use crate::error::{plain, Error, Result};
use crate::model::interval::Interval;
use crate::model::snapshot::Snapshot;
use crate::source::Source;

/// The longest delay of a key or a signal.
const TICK: Duration = Duration::from_millis(100);

/// When the next snapshot is due.
pub enum Pace {
    /// At the view's interval; a number of times, or without end.
    Live(Option<u64>),
    /// As recorded, faster by this factor.
    Recorded(f64),
}

/// The terminal in raw mode. A drop and a panic restore the terminal.
struct Screen(DefaultTerminal);

impl Screen {
    fn new() -> Result<Self> {
        if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
            return Err(Error::Io(
                "no terminal: use --once, --json or --prometheus".into(),
            ));
        }
        let failed =
            |e: std::io::Error| Error::Io(format!("the terminal can't be used: {}", plain(&e)));
        match crossterm::terminal::size() {
            Ok((0, _) | (_, 0)) => {
                return Err(Error::Io(
                    "the terminal has no size: set it with stty".into(),
                ))
            }
            Ok(_) => {}
            Err(error) => return Err(failed(error)),
        }
        Ok(Self(ratatui::try_init().map_err(|e| {
            let _ = ratatui::try_restore();
            failed(e)
        })?))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = ratatui::try_restore();
    }
}

/// Shows the snapshots of `source` until the user ends the program, or `stop` returns `true`.
pub fn run(
    app: &mut App,
    source: &mut dyn Source,
    pace: &Pace,
    stop: &dyn Fn() -> bool,
) -> Result<()> {
    let mut last = source.next()?;
    let mut screen = Screen::new()?;
    let events = events();
    let mut size = crossterm::terminal::size().ok();
    let mut shown = Instant::now();
    let mut next: Option<Snapshot> = None;
    let mut left = match pace {
        Pace::Live(count) => *count,
        Pace::Recorded(_) => None,
    };

    let mut changed = true;
    while !stop() {
        if changed {
            let drawn = screen.0.draw(|frame| draw(frame, app));
            drawn.map_err(|e| Error::output(&e))?;
            changed = false;
        }
        // A recording is read ahead, because the next snapshot says when it is due.
        if let (Pace::Recorded(_), None, Some(_)) = (pace, &next, &last) {
            next = source.next()?;
            if next.is_none() {
                app.note = Some("the end of the recording; q ends".into());
                last = None;
                changed = true;
            }
        }
        let due = shown
            + match pace {
                Pace::Live(_) => Duration::from_secs_f64(app.interval),
                Pace::Recorded(speed) => pause(&last, &next, *speed),
            };
        let now = Instant::now();
        if now >= due && (next.is_some() || matches!(pace, Pace::Live(_))) {
            shown = now;
            let snapshot = match next.take() {
                Some(snapshot) => Some(snapshot),
                None => source.next()?,
            };
            if let (Some(old), Some(new)) = (&last, &snapshot) {
                if let Some(interval) = Interval::between(old, new) {
                    app.history.push(interval);
                }
            }
            last = snapshot;
            app.look_at_ages(|address, qid| source.ages(address, qid));
            changed = true;
            if let Some(left) = &mut left {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    return Ok(());
                }
            }
            continue;
        }

        let wait = due
            .saturating_duration_since(now)
            .clamp(Duration::from_millis(1), TICK);
        match events.recv_timeout(wait) {
            Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                if app.on_key(key) == Action::Quit {
                    return Ok(());
                }
                app.look_at_ages(|address, qid| source.ages(address, qid));
                changed = true;
            }
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            // The terminal is gone.
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        let now = crossterm::terminal::size().ok();
        changed |= now != size;
        size = now;
    }
    Ok(())
}

/// The keys, from a separate thread: after bytes that are no key, the library waits for more bytes
/// without a limit.
fn events() -> Receiver<Event> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The time between two snapshots of a recording, at most a minute.
fn pause(last: &Option<Snapshot>, next: &Option<Snapshot>, speed: f64) -> Duration {
    match (last, next) {
        (Some(last), Some(next)) => {
            let ns = next.monotonic_ns.saturating_sub(last.monotonic_ns);
            Duration::from_secs_f64((ns as f64 / 1e9 / speed).min(60.0))
        }
        _ => Duration::ZERO,
    }
}
