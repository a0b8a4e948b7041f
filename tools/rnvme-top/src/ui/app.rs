// SPDX-License-Identifier: GPL-2.0

//! The state of the view, and the keys that change it.

use std::borrow::Cow;
use std::cmp::Ordering;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::columns::{self, Row, COLUMNS};
use super::style::Look;
use crate::model::history::{History, Scope};
use crate::model::interval::{Interval, QueueInterval};

/// The state of the view.
pub struct App {
    /// The intervals.
    pub history: History,
    /// The interval on the screen while the view is frozen.
    pub frozen: Option<Box<Interval>>,
    /// The column by which the queues are sorted.
    pub sort: usize,
    /// The order is descending.
    pub descending: bool,
    /// The filter: a text that each shown queue contains.
    pub filter: String,
    /// The user is typing the filter.
    pub typing: bool,
    /// Queues without I/O are hidden.
    pub busy_only: bool,
    /// Admin queues are shown.
    pub admin: bool,
    /// The queue that is selected: the controller's address, and its identifier.
    pub selected: Option<(String, u32)>,
    /// The selected queue is shown alone.
    pub zoom: bool,
    /// The ages of the commands in flight in the queue that is shown alone, if the source has them.
    pub ages: Option<Ages>,
    /// The list of keys is shown.
    pub help: bool,
    /// The style.
    pub look: Look,
    /// The seconds between snapshots.
    pub interval: f64,
    /// The source of the numbers, if it isn't this machine's sysfs.
    pub source: String,
    /// A line for the user.
    pub note: Option<String>,
}

/// The ages of commands in flight.
pub struct Ages {
    /// The queue: the controller's address, and its identifier.
    pub queue: (String, u32),
    /// The ages in nanoseconds, the oldest first.
    pub ages: Vec<u64>,
}

/// The reaction of the main loop to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Continue.
    None,
    /// End.
    Quit,
}

/// The number of queues by which a page key moves.
const PAGE: isize = 10;

/// The intervals between snapshots that the keys select.
const INTERVALS: [f64; 9] = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];

impl App {
    /// The view at its start.
    pub fn new(look: Look, interval: f64, source: &str) -> Self {
        Self {
            history: History::default(),
            frozen: None,
            sort: 0,
            descending: false,
            filter: String::new(),
            typing: false,
            busy_only: false,
            admin: false,
            selected: None,
            zoom: false,
            ages: None,
            help: false,
            look,
            interval,
            source: source.to_string(),
            note: None,
        }
    }

    /// Sorts by the column called `name`; a minus before the name makes the order ascending. Returns
    /// whether the column exists.
    pub fn sort_by(&mut self, name: &str) -> bool {
        let (title, ascending) = match name.strip_prefix('-') {
            Some(title) => (title, true),
            None => (name, false),
        };
        let column = columns::named(title);
        if let Some(column) = column {
            self.sort = column;
            self.descending = !ascending;
        }
        column.is_some()
    }

    /// The interval on the screen.
    pub fn shown(&self) -> Option<&Interval> {
        self.frozen.as_deref().or_else(|| self.history.last())
    }

    /// The rows of the table: the sums, and the queues that match the filter, in order.
    pub fn rows(&self) -> (Vec<Row<'_>>, Vec<Row<'_>>) {
        let Some(interval) = self.shown() else {
            return (Vec::new(), Vec::new());
        };
        let sum = |name: &str, controller, address, load| Row {
            name: name.to_string(),
            controller,
            address,
            queue: Cow::Owned(QueueInterval {
                load,
                ..QueueInterval::default()
            }),
            sum: true,
        };
        let mut sums = Vec::new();
        if interval.controllers.len() != 1 {
            sums.push(sum("all", "", "", interval.sum(None)));
        }
        for c in &interval.controllers {
            sums.push(sum(
                &c.info.name,
                &c.info.name,
                &c.info.address,
                c.sum.clone(),
            ));
        }

        let mut rows: Vec<Row<'_>> = interval
            .controllers
            .iter()
            .flat_map(|c| c.queues.iter().map(move |queue| (c, queue)))
            .map(|(c, queue)| Row {
                name: format!("{}q{}", c.info.name, queue.info.qid),
                controller: &c.info.name,
                address: &c.info.address,
                queue: Cow::Borrowed(queue),
                sum: false,
            })
            .filter(|row| self.admin || row.queue.info.qid != 0)
            .filter(|row| !self.busy_only || row.queue.load.counts.completed != 0)
            .filter(|row| self.passes(row))
            .collect();
        if let Some(column) = COLUMNS.get(self.sort) {
            rows.sort_by(|a, b| {
                let order = (column.key)(a)
                    .partial_cmp(&(column.key)(b))
                    .unwrap_or(Ordering::Equal);
                if self.descending {
                    order.reverse()
                } else {
                    order
                }
            });
        }
        (sums, rows)
    }

    /// Asks `ages` for the ages of the commands in the queue that is shown alone. A frozen view keeps
    /// its ages.
    pub fn look_at_ages(&mut self, ages: impl FnOnce(&str, u32) -> Option<Vec<u64>>) {
        if self.frozen.is_some() {
            return;
        }
        let queue = self.selected.clone().filter(|_| self.zoom);
        self.ages = queue.and_then(|queue| {
            let ages = ages(&queue.0, queue.1)?;
            Some(Ages { queue, ages })
        });
    }

    /// The ages of the commands in the queue of `row`, if they are known.
    pub fn ages_of(&self, row: &Row<'_>) -> Option<&[u64]> {
        let ages = self.ages.as_ref()?;
        let (address, qid) = &ages.queue;
        (address == row.address && *qid == row.queue.info.qid).then_some(ages.ages.as_slice())
    }

    fn passes(&self, row: &Row<'_>) -> bool {
        let info = &row.queue.info;
        let texts = [
            &row.name,
            &info.kind,
            &info.cpus,
            row.controller,
            row.address,
        ];
        let filter = self.filter.to_lowercase();
        texts
            .iter()
            .any(|text| text.to_lowercase().contains(&filter))
    }

    /// The queues of the heat map.
    pub fn scope(&self) -> Scope {
        match (&self.selected, self.zoom) {
            (Some((address, qid)), true) => Scope {
                address: Some(address.clone()),
                qid: Some(*qid),
            },
            _ => Scope::default(),
        }
    }

    /// The index of the selected row among `rows`.
    pub fn selected_row(&self, rows: &[Row<'_>]) -> Option<usize> {
        let (address, qid) = self.selected.as_ref()?;
        rows.iter()
            .position(|row| row.address == address && row.queue.info.qid == *qid)
    }

    fn move_by(&mut self, by: isize) {
        let (_, rows) = self.rows();
        let to = match self.selected_row(&rows) {
            Some(at) => at
                .saturating_add_signed(by)
                .min(rows.len().saturating_sub(1)),
            None if by == isize::MAX => rows.len().saturating_sub(1),
            None => 0,
        };
        let selected = rows
            .get(to)
            .map(|row| (row.address.to_string(), row.queue.info.qid));
        self.selected = selected;
    }

    /// Carries out a key.
    pub fn on_key(&mut self, key: KeyEvent) -> Action {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c' | 'd') => Action::Quit,
                _ => Action::None,
            };
        }
        if self.typing {
            self.type_key(key.code);
            return Action::None;
        }
        self.note = None;
        match key.code {
            KeyCode::Char('q') => return Action::Quit,
            KeyCode::Char('h' | '?') => self.help = !self.help,
            KeyCode::Esc if self.help => self.help = false,
            KeyCode::Esc if self.zoom => self.zoom = false,
            KeyCode::Esc if !self.filter.is_empty() => self.filter.clear(),
            KeyCode::Esc => self.selected = None,
            KeyCode::Up | KeyCode::Char('k') => self.move_by(-1),
            KeyCode::Down | KeyCode::Char('j') => self.move_by(1),
            KeyCode::PageUp => self.move_by(-PAGE),
            KeyCode::PageDown => self.move_by(PAGE),
            KeyCode::Home => self.move_by(isize::MIN),
            KeyCode::End => self.move_by(isize::MAX),
            KeyCode::Enter => {
                if self.selected.is_none() {
                    self.move_by(0);
                }
                self.zoom = self.selected.is_some() && !self.zoom;
            }
            KeyCode::Left | KeyCode::Char('<') => {
                self.sort = self.sort.checked_sub(1).unwrap_or(COLUMNS.len() - 1);
            }
            KeyCode::Right | KeyCode::Char('>') => self.sort = (self.sort + 1) % COLUMNS.len(),
            KeyCode::Char('r') => self.descending = !self.descending,
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('i') => self.busy_only = !self.busy_only,
            KeyCode::Char('a') => self.admin = !self.admin,
            KeyCode::Char('f' | ' ') => {
                self.frozen = match self.frozen.take() {
                    Some(_) => None,
                    None => self.history.last().cloned().map(Box::new),
                };
            }
            KeyCode::Char('+') => self.pace(|known, now| known < now, true),
            KeyCode::Char('-') => self.pace(|known, now| known > now, false),
            _ => {}
        }
        Action::None
    }

    fn pace(&mut self, wanted: impl Fn(f64, f64) -> bool, last: bool) {
        let mut choices = INTERVALS
            .iter()
            .copied()
            .filter(|known| wanted(*known, self.interval));
        if let Some(interval) = if last { choices.last() } else { choices.next() } {
            self.interval = interval;
        }
    }

    fn type_key(&mut self, code: KeyCode) {
        const LONGEST: usize = 40;
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(c) if self.filter.len() < LONGEST => self.filter.push(c),
            _ => {}
        }
    }
}
