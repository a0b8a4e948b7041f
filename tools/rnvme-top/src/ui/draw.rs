// SPDX-License-Identifier: GPL-2.0

//! The screen.

use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Paragraph};
use ratatui::Frame;

use super::app::App;
use super::columns::{self, Row, COLUMNS};
use super::heat::HeatMap;
use super::keys::HELP;
use super::queue::QueueView;
use crate::model::interval::ControllerInterval;
use crate::units::{celsius, clock};

/// The smallest screen for the view.
const MIN_WIDTH: u16 = 20;
const MIN_HEIGHT: u16 = 4;

/// A screen with fewer rows has no heat map.
const HEIGHT_FOR_HEAT: u16 = 18;

/// Draws the view.
pub fn draw(frame: &mut Frame<'_>, app: &App) {
    let area = frame.area();
    if area.width < MIN_WIDTH || area.height < MIN_HEIGHT {
        if area.width > 0 && area.height > 0 {
            frame.render_widget(Paragraph::new("too small"), area);
        }
        return;
    }
    let [top, body, bottom] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(area);
    header(frame, app, top);
    footer(frame, app, bottom);

    let controllers = app.shown().map_or(&[][..], |i| &i.controllers);
    if controllers.is_empty() {
        let text = match app.shown() {
            None => "taking the first look …",
            Some(_) => "no controller: the driver has none now; waiting for one",
        };
        frame.render_widget(Paragraph::new(text).style(app.look.warn()), body);
    } else {
        controllers_and_queues(frame, app, controllers, body);
    }
    if app.help {
        help(frame, app, area);
    }
}

fn controllers_and_queues(
    frame: &mut Frame<'_>,
    app: &App,
    controllers: &[ControllerInterval],
    area: Rect,
) {
    let lines = (controllers.len() as u16).min((area.height / 4).max(1));
    let heat = if area.height + 2 >= HEIGHT_FOR_HEAT {
        (area.height * 2 / 5).clamp(7, 22)
    } else {
        0
    };
    let [top, middle, bottom] = Layout::vertical([
        Constraint::Length(lines),
        Constraint::Min(1),
        Constraint::Length(heat),
    ])
    .areas(area);
    // Controllers with events, in a state other than live, or too hot, come first.
    let mut order: Vec<&ControllerInterval> = controllers.iter().collect();
    order
        .sort_by_key(|c| c.state == "live" && c.events == Default::default() && !c.health.is_hot());
    for (y, controller) in (top.y..top.bottom()).zip(order) {
        let line = Rect {
            y,
            height: 1,
            ..top
        };
        frame.render_widget(controller_line(app, controller), line);
    }

    let (sums, rows) = app.rows();
    let zoomed = app
        .selected_row(&rows)
        .and_then(|i| rows.get(i))
        .filter(|_| app.zoom);
    let scope = match zoomed {
        Some(row) => {
            frame.render_widget(
                QueueView {
                    row,
                    ages: app.ages_of(row),
                    look: app.look,
                },
                middle,
            );
            row.name.clone()
        }
        None => {
            table(frame, app, &sums, &rows, middle);
            "all I/O queues".into()
        }
    };
    if heat != 0 {
        let map = HeatMap {
            history: &app.history,
            scope: app.scope(),
            title: format!(" latency over time: {scope} "),
            look: app.look,
        };
        frame.render_widget(map, bottom);
    }
}

fn header(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let Some(interval) = app.shown() else {
        frame.render_widget(Paragraph::new(" rnvme-top").style(app.look.bar()), area);
        return;
    };
    let mut left = format!(" rnvme-top  {}", app.source);
    if app.frozen.is_some() {
        left.push_str(" FROZEN");
    }
    if !app.filter.is_empty() || app.typing {
        left.push_str(&format!("  filter: {}", app.filter));
    }
    let queues: usize = interval.controllers.iter().map(|c| c.queues.len()).sum();
    let right = format!(
        "{} controller{}, {queues} queues  {:.1} s  {} ",
        interval.controllers.len(),
        if interval.controllers.len() == 1 {
            ""
        } else {
            "s"
        },
        interval.seconds,
        clock(interval.unix_ns)
    );
    frame.render_widget(Paragraph::new(left.clone()).style(app.look.bar()), area);
    if left.len() + right.len() < usize::from(area.width) {
        let right = Paragraph::new(right)
            .alignment(Alignment::Right)
            .style(app.look.bar());
        let area = Rect {
            x: area.x + left.len() as u16,
            width: area.width - left.len() as u16,
            ..area
        };
        frame.render_widget(right, area);
    }
}

fn footer(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let text = if let Some(note) = &app.note {
        format!(" {note}")
    } else if app.typing {
        format!(" filter: {}_  (Enter takes it, Esc drops it)", app.filter)
    } else if app.zoom {
        " Esc back  Up/Down queue  f freeze  h help  q quit".into()
    } else {
        " Enter zoom  </> sort  r reverse  / filter  i idle  f freeze  h help  q quit".into()
    };
    frame.render_widget(Paragraph::new(text).style(app.look.bar()), area);
}

fn controller_line(app: &App, c: &ControllerInterval) -> Line<'static> {
    let look = app.look;
    let state = match c.state.as_str() {
        "live" => look.good(),
        "dead" => look.bad(),
        _ => look.warn(),
    };
    let (e, total) = (&c.events, &c.events_total);
    let mut spans = vec![
        Span::styled(c.info.name.clone(), look.strong()),
        Span::raw(" "),
        Span::styled(c.state.clone(), state),
    ];
    if let Some(temperature) = c.health.temperature {
        let (mark, style) = if c.health.is_hot() {
            ("!", look.bad())
        } else {
            ("", Style::new())
        };
        spans.push(Span::styled(
            format!(" {}{mark}", celsius(temperature)),
            style,
        ));
    }
    spans.push(Span::raw(" "));
    let counts = [
        ("time-outs", e.timeouts, total.timeouts),
        ("resets", e.resets, total.resets),
        ("aborts", e.aborts, total.aborts),
        ("lost irqs", e.lost_interrupts, total.lost_interrupts),
    ];
    // Most controllers have none.
    let warnings = c.health.smart_warnings.filter(|ever| *ever != 0);
    let warnings = warnings.map(|ever| ("SMART warnings", c.smart_warnings, ever));
    for (name, now, ever) in counts.into_iter().chain(warnings) {
        let style = match (now, ever) {
            (1.., _) => look.bad(),
            (0, 1..) => look.warn(),
            (0, 0) => look.dim(),
        };
        spans.push(Span::styled(format!(" {name} {ever}"), style));
        if now != 0 {
            spans.push(Span::styled(format!(" (+{now})"), look.bad()));
        }
    }
    let disks: Vec<&str> = c.disks.iter().map(|(name, _)| name.as_str()).collect();
    let tail = format!("  {} {}  {}", c.info.address, c.info.model, disks.join(" "));
    spans.push(Span::styled(tail, look.dim()));
    Line::from(spans)
}

fn table(frame: &mut Frame<'_>, app: &App, sums: &[Row<'_>], rows: &[Row<'_>], area: Rect) {
    let shown = columns::fitting(area.width);
    let mut lines = vec![titles(app, &shown, area.width)];
    // The first of several sums is the sum of all.
    let sum_lines = sums.len().min(usize::from(area.height / 3).max(1));
    for row in sums.iter().take(sum_lines) {
        lines.push(line_of(app, row, &shown).style(app.look.strong()));
    }
    let room = usize::from(area.height).saturating_sub(lines.len());
    let selected = app.selected_row(rows);
    // The selected row is always visible.
    let first = selected.map_or(0, |at| at.saturating_sub(room.saturating_sub(1)));
    for (i, row) in rows.iter().enumerate().skip(first).take(room) {
        let mut line = line_of(app, row, &shown);
        if row.queue.load.counts.errors != 0 {
            line = line.style(app.look.bad());
        } else if row.queue.load.counts.completed == 0 {
            line = line.style(app.look.dim());
        }
        if selected == Some(i) {
            line = line.patch_style(app.look.selected());
        }
        lines.push(line);
    }
    if rows.is_empty() && room > 0 {
        lines.push(Line::styled("no queue passes the filter", app.look.dim()));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn titles(app: &App, shown: &[usize], width: u16) -> Line<'static> {
    let mut spans = Vec::new();
    let mut used = 0;
    for i in shown {
        let Some(column) = COLUMNS.get(*i) else {
            continue;
        };
        let text = padded(column.title, column.width, *i == 0);
        let style = if *i == app.sort {
            app.look.sorted()
        } else {
            app.look.bar()
        };
        used += text.len() + 1;
        spans.push(Span::styled(text, style));
        spans.push(Span::styled(" ", app.look.bar()));
    }
    spans.push(Span::styled(
        " ".repeat(usize::from(width).saturating_sub(used)),
        app.look.bar(),
    ));
    Line::from(spans)
}

fn line_of(app: &App, row: &Row<'_>, shown: &[usize]) -> Line<'static> {
    let mut spans = Vec::new();
    for i in shown {
        let Some(column) = COLUMNS.get(*i) else {
            continue;
        };
        let text = padded(&(column.text)(row), column.width, *i <= 2);
        let quiet = app.look.color && !row.sum && matches!(text.trim(), "0" | "-" | "0.00");
        let style = if quiet { app.look.dim() } else { Style::new() };
        spans.push(Span::styled(format!("{text} "), style));
    }
    Line::from(spans)
}

/// `text` padded or cut to `width` columns.
fn padded(text: &str, width: u16, left: bool) -> String {
    let width = usize::from(width);
    let text: String = text.chars().take(width).collect();
    if left {
        format!("{text:width$}")
    } else {
        format!("{text:>width$}")
    }
}

fn help(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let lines = HELP.lines().count() as u16 + 2;
    let (width, height) = (area.width.min(50), area.height.min(lines));
    let area = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    let block = Block::bordered()
        .border_type(BorderType::Rounded)
        .title(" keys ")
        .title_style(app.look.title());
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(HELP).block(block), area);
}
