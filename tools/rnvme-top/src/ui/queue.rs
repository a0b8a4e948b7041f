// SPDX-License-Identifier: GPL-2.0

//! The view of a single queue.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Paragraph, Widget};

use super::columns::Row;
use super::style::Look;
use crate::units::{bytes, count, ratio, time, time_or_dash};

/// The place of the ages among the facts.
const AFTER_IN_FLIGHT: usize = 3;

/// A queue as a widget.
pub struct QueueView<'a> {
    /// The queue.
    pub row: &'a Row<'a>,
    /// The ages of the oldest commands in flight, in nanoseconds, if they are known.
    pub ages: Option<&'a [u64]>,
    /// The style.
    pub look: Look,
}

impl Widget for QueueView<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let [left, right] =
            Layout::horizontal([Constraint::Length(42), Constraint::Min(20)]).areas(area);
        self.facts(left, buffer);
        self.distribution(right, buffer);
    }
}

impl QueueView<'_> {
    fn block(&self, title: String) -> Block<'static> {
        Block::bordered()
            .border_type(BorderType::Rounded)
            .border_style(self.look.dim())
            .title(title)
            .title_style(self.look.title())
    }

    fn facts(&self, area: Rect, buffer: &mut Buffer) {
        let (info, load, total) = (
            &self.row.queue.info,
            &self.row.queue.load,
            &self.row.queue.total,
        );
        let c = &load.counts;
        let kinds = [
            ("read", c.reads),
            ("write", c.writes),
            ("flush", c.flushes),
            ("discard", c.discards),
            ("zeroes", c.write_zeroes),
            ("admin", c.admin_commands),
        ];
        let kinds: Vec<String> = kinds
            .iter()
            .filter(|(_, n)| *n != 0)
            .map(|(name, n)| format!("{name} {}", count(load.rate(*n))))
            .collect();
        let or_dash = |text: &str| {
            if text.is_empty() {
                "-".to_string()
            } else {
                text.to_string()
            }
        };
        let mut facts = vec![
            ("kind", format!("{}, {} entries", info.kind, info.depth)),
            (
                "vector",
                format!("{}, CPUs {}", info.vector, or_dash(&info.cpus)),
            ),
            (
                "in flight",
                format!(
                    "{} now, {} on average",
                    c.inflight,
                    ratio(Some(load.depth()))
                ),
            ),
            ("I/O", format!("{}/s", count(load.iops()))),
            ("by kind", or_dash(&kinds.join(" "))),
            (
                "bytes",
                format!(
                    "{}/s read, {}/s write",
                    bytes(load.rate(c.bytes_read)),
                    bytes(load.rate(c.bytes_written))
                ),
            ),
            ("mean", time_or_dash(load.mean())),
            (
                "p50 p99",
                format!(
                    "{} {}",
                    time_or_dash(load.percentile(500)),
                    time_or_dash(load.percentile(990))
                ),
            ),
            (
                "max",
                format!(
                    "{}, ever {}",
                    time_or_dash(load.max()),
                    time(total.latency_max_ns)
                ),
            ),
            (
                "irq",
                format!(
                    "{}/io, {}/s",
                    ratio(load.interrupts_per_io()),
                    count(load.rate(c.interrupts))
                ),
            ),
            (
                "",
                format!(
                    "{}/s idle, batch {}",
                    count(load.rate(c.idle_interrupts)),
                    ratio(load.batch())
                ),
            ),
            (
                "doorbells",
                format!(
                    "{}/io: {}/s sq, {}/s cq",
                    ratio(load.doorbells_per_io()),
                    count(load.rate(c.sq_doorbells)),
                    count(load.rate(c.cq_doorbells))
                ),
            ),
            ("polls", format!("{}/s", count(load.rate(c.polls)))),
            (
                "errors",
                format!(
                    "{}, ever {}, retries {}",
                    c.errors, total.errors, total.retries
                ),
            ),
            (
                "since bind",
                format!(
                    "{} commands, {} stray",
                    count(total.completed as f64),
                    total.stray_completions
                ),
            ),
        ];
        if let Some(ages) = self.ages {
            let ages: Vec<String> = ages.iter().map(|age| time(*age)).collect();
            facts.insert(AFTER_IN_FLIGHT, ("ages", or_dash(&ages.join(" "))));
        }
        let lines = facts.into_iter().map(|(name, value)| {
            let bad = name == "errors" && c.errors != 0;
            let style = if bad {
                self.look.bad()
            } else {
                ratatui::style::Style::new()
            };
            Line::from(vec![
                Span::styled(format!("{name:>10} "), self.look.dim()),
                Span::styled(value, style),
            ])
        });
        let title = format!(" {} ({}) ", self.row.name, self.row.address);
        Paragraph::new(lines.collect::<Vec<_>>())
            .block(self.block(title))
            .render(area, buffer);
    }

    /// The times of the last interval, in as many steps as fit.
    fn distribution(&self, area: Rect, buffer: &mut Buffer) {
        let block = self.block(" times of the last interval ".into());
        let inner = block.inner(area);
        block.render(area, buffer);

        let histogram = &self.row.queue.load.latency;
        let buckets = histogram.buckets();
        let (Some((first, _)), Some((last, _))) = (buckets.first(), buckets.last()) else {
            buffer.set_string(inner.x, inner.y, "no command was timed", self.look.dim());
            return;
        };
        // A step is a power of two, or several powers if there are too many.
        let exponent = |bound: u64| 63 - bound.max(1).leading_zeros();
        let (low, high) = (exponent(*first), exponent((*last).min(1 << 41)));
        let step = (high - low + 1)
            .div_ceil(u32::from(inner.height.max(1)))
            .max(1);
        let mut rows: Vec<(u64, u64)> = Vec::new();
        for from in (low..=high).step_by(step as usize) {
            let to = (1u64 << (from + step).min(63)) - 1;
            let to = if from + step > high { u64::MAX } else { to };
            let below = if from == low {
                0
            } else {
                histogram.up_to((1 << from) - 1)
            };
            rows.push((1 << from, histogram.up_to(to).saturating_sub(below)));
        }
        let (max, total) = (
            rows.iter().map(|(_, n)| *n).max().unwrap_or(1).max(1),
            histogram.total().max(1),
        );
        let room = usize::from(inner.width).saturating_sub(22);
        for (y, (from, n)) in (inner.y..inner.bottom()).zip(&rows) {
            let eighths = (*n as f64 / max as f64 * room as f64 * 8.0).ceil() as usize;
            let bar = bar(eighths, self.look.color);
            let share = *n as f64 * 100.0 / total as f64;
            buffer.set_string(inner.x, y, format!("{:>6} ", time(*from)), self.look.dim());
            let heat = if *n == 0 {
                0.0
            } else {
                0.25 + 0.75 * (*n as f64 / max as f64)
            };
            let style = if self.look.color {
                ratatui::style::Style::new().fg(self.look.heat(heat))
            } else {
                ratatui::style::Style::new()
            };
            buffer.set_string(inner.x + 7, y, &bar, style);
            let x = inner.x + 7 + bar.chars().count() as u16;
            if *n != 0 {
                buffer.set_string(
                    x + 1,
                    y,
                    format!("{} {share:.1}%", count(*n as f64)),
                    self.look.dim(),
                );
            }
        }
    }
}

/// A bar, in eighths of a character.
fn bar(eighths: usize, blocks: bool) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    if !blocks {
        return "#".repeat(eighths.div_ceil(8));
    }
    "█".repeat(eighths / 8) + PARTS.get(eighths % 8).copied().unwrap_or("")
}
