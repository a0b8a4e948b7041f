// SPDX-License-Identifier: GPL-2.0

//! The heat map of latency over time.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::widgets::{Block, BorderType, Widget};

use super::style::Look;
use crate::model::histogram::Histogram;
use crate::model::history::{Heat, History, Scope};
use crate::units::time;

/// The width of the labels on the left.
const LABEL: u16 = 7;

/// The heat map as a widget.
pub struct HeatMap<'a> {
    /// The intervals.
    pub history: &'a History,
    /// The queues.
    pub scope: Scope,
    /// The title.
    pub title: String,
    /// The style.
    pub look: Look,
}

impl Widget for HeatMap<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let look = self.look;
        let block = Block::bordered()
            .border_type(BorderType::Rounded)
            .border_style(look.dim())
            .title(self.title.as_str())
            .title_style(look.title());
        let inner = block.inner(area);
        block.render(area, buffer);
        if inner.height < 3 || inner.width <= LABEL + 4 {
            return;
        }

        let columns = inner.width - LABEL;
        let intervals: Vec<_> = self.history.latest(columns.into()).collect();
        let histograms: Vec<Histogram> = intervals.iter().map(|i| self.scope.latency(i)).collect();
        // With colours, a character has two rows.
        let lines = inner.height - 1;
        let rows = usize::from(lines) * if look.color { 2 } else { 1 };
        let heat = Heat::new(&histograms, rows);
        let first = inner.right().saturating_sub(intervals.len() as u16);

        for line in 0..lines {
            // Line 0 is at the bottom.
            let (y, row) = (
                inner.bottom() - 2 - line,
                usize::from(line) * rows / usize::from(lines),
            );
            if line % 2 == 0 {
                let label = heat.bounds.get(row).map_or(String::new(), |ns| time(*ns));
                buffer.set_string(inner.x, y, format!("{label:>6}"), look.dim());
            }
            for (x, column) in (first..).zip(&heat.columns) {
                let Some(cell) = buffer.cell_mut((x, y)) else {
                    continue;
                };
                let at = |row: usize| heat.heat(column.get(row).copied().unwrap_or(0));
                if look.color {
                    half_blocks(cell, look.heat(at(row)), look.heat(at(row + 1)));
                } else {
                    cell.set_char(look.shade(at(row)));
                }
            }
        }
        self.axis(&intervals, inner, first, buffer);
    }
}

fn half_blocks(cell: &mut ratatui::buffer::Cell, lower: Color, upper: Color) {
    match (lower, upper) {
        (Color::Reset, Color::Reset) => cell.set_char(' '),
        (Color::Reset, upper) => cell.set_char('▀').set_fg(upper),
        (lower, Color::Reset) => cell.set_char('▄').set_fg(lower),
        (lower, upper) => cell.set_char('▀').set_fg(upper).set_bg(lower),
    };
}

impl HeatMap<'_> {
    /// The time axis, with marks for resets and time-outs.
    fn axis(
        &self,
        intervals: &[&crate::model::interval::Interval],
        inner: Rect,
        first: u16,
        buffer: &mut Buffer,
    ) {
        let y = inner.bottom() - 1;
        let seconds: f64 = intervals.iter().map(|i| i.seconds).sum();
        let ago = format!("-{seconds:.0} s");
        if usize::from(inner.right() - first) > ago.len() + 6 {
            buffer.set_string(first, y, ago, self.look.dim());
            buffer.set_string(inner.right() - 3, y, "now", self.look.dim());
        }
        for (x, interval) in (first..).zip(intervals) {
            if let Some(mark) = self.scope.mark(interval) {
                let style: Style = if mark == 'R' {
                    self.look.bad()
                } else {
                    self.look.warn()
                };
                buffer.set_string(x, y, mark.to_string(), style);
            }
        }
    }
}
