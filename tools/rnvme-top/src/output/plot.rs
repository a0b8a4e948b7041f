// SPDX-License-Identifier: GPL-2.0

//! A recording as a picture.

use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::font;
use crate::cli::Theme;
use crate::error::{Error, Result};
use crate::model::histogram::Histogram;
use crate::model::history::{Heat, Scope};
use crate::model::interval::{Interval, Load};
use crate::units::{bytes, count, ratio, time};

/// The data of the picture.
pub struct Data {
    /// The end of each interval, in seconds since the beginning, and its load.
    points: Vec<(f64, Load)>,
    /// Resets and time-outs.
    marks: Vec<(f64, char)>,
    /// The title.
    title: String,
}

/// The colours of a picture.
struct Colors {
    ground: RGBColor,
    text: RGBColor,
    grid: RGBColor,
    lines: [RGBColor; 4],
    reset: RGBColor,
    timeout: RGBColor,
}

const LIGHT: Colors = Colors {
    ground: RGBColor(255, 255, 255),
    text: RGBColor(40, 44, 52),
    grid: RGBColor(225, 228, 232),
    lines: [
        RGBColor(31, 119, 180),
        RGBColor(44, 140, 80),
        RGBColor(230, 130, 20),
        RGBColor(200, 40, 60),
    ],
    reset: RGBColor(190, 0, 60),
    timeout: RGBColor(200, 120, 0),
};

const DARK: Colors = Colors {
    ground: RGBColor(22, 24, 29),
    text: RGBColor(208, 208, 208),
    grid: RGBColor(48, 52, 60),
    lines: [
        RGBColor(74, 165, 240),
        RGBColor(120, 200, 120),
        RGBColor(240, 170, 80),
        RGBColor(240, 90, 100),
    ],
    reset: RGBColor(255, 80, 120),
    timeout: RGBColor(255, 190, 80),
};

/// The rows of the heat map.
const HEAT_ROWS: usize = 40;

/// The maximum number of columns of the heat map; with more intervals, neighbours share a column.
const HEAT_COLUMNS: usize = 400;

/// The result of drawing; the error is the text of the library.
type Drawn<T = ()> = std::result::Result<T, String>;

/// The name and the value of a line.
type Series<'a, T> = (&'a str, &'a dyn Fn(&Load) -> Option<T>);

fn text<E: std::fmt::Display>(error: E) -> String {
    error.to_string()
}

impl Data {
    /// The data of the controller called `name`, or of all controllers, in `intervals`.
    ///
    /// # Errors
    ///
    /// If there are no data.
    pub fn new(intervals: &[Interval], name: Option<&str>, title: Option<&str>) -> Result<Self> {
        let begin = match intervals.first() {
            Some(first) => first.monotonic_ns as f64 / 1e9 - first.seconds,
            None => {
                return Err(Error::Recording(
                    "less than two snapshots: nothing to draw".into(),
                ))
            }
        };
        let controllers = || intervals.iter().flat_map(|i| &i.controllers);
        let info = controllers()
            .find(|c| name.is_none_or(|name| c.info.name == name))
            .map(|c| c.info.clone());
        let (address, model) = match (name, info) {
            (Some(name), None) => {
                return Err(Error::Usage(format!(
                    "no controller {name} in the recording"
                )))
            }
            (Some(_), Some(info)) => (
                Some(info.address.clone()),
                format!("{} {}", info.name, info.model),
            ),
            (None, Some(info)) => (None, info.model.clone()),
            (None, None) => (None, "no controller".into()),
        };
        let scope = Scope {
            address: address.clone(),
            qid: None,
        };
        let seconds = |i: &Interval| i.monotonic_ns as f64 / 1e9 - begin;
        Ok(Self {
            points: intervals
                .iter()
                .map(|i| (seconds(i), i.sum(address.as_deref())))
                .collect(),
            marks: intervals
                .iter()
                .filter_map(|i| Some((seconds(i), scope.mark(i)?)))
                .collect(),
            title: title.map_or_else(
                || format!("{model}: latency and load of its I/O queues"),
                str::to_string,
            ),
        })
    }

    /// Draws the picture into the file `path`; its suffix selects the format.
    pub fn draw(&self, path: &Path, size: (u32, u32), theme: Theme) -> Result<()> {
        font::register();
        let colors = if theme == Theme::Light { &LIGHT } else { &DARK };
        // The library would end the program if it couldn't create the file.
        let made = std::fs::File::create(path).map_err(|e| Error::file(path, &e));
        let drawn = match path.extension().and_then(|e| e.to_str()) {
            Some("svg") => {
                made.map(|_| self.paint(&SVGBackend::new(path, size).into_drawing_area(), colors))
            }
            Some("png") => made
                .map(|_| self.paint(&BitMapBackend::new(path, size).into_drawing_area(), colors)),
            _ => {
                let _ = std::fs::remove_file(path);
                return Err(Error::Usage(format!(
                    "{}: neither .svg nor .png",
                    path.display()
                )));
            }
        };
        drawn?.map_err(|error| Error::Io(format!("{}: {error}", path.display())))
    }

    fn end(&self) -> f64 {
        self.points.last().map_or(1.0, |(x, _)| *x).max(0.1)
    }

    fn paint<DB: DrawingBackend>(&self, root: &DrawingArea<DB, Shift>, colors: &Colors) -> Drawn {
        root.fill(&colors.ground).map_err(text)?;
        let title = (font::FAMILY, 20).into_font().color(&colors.text);
        let root = root.margin(10, 0, 0, 0);
        let root = root.titled(&self.title, title).map_err(text)?;
        let (_, height) = root.dim_in_pixel();
        // Latency and heat get more room than the others.
        let part = f64::from(height) / 12.0;
        let cuts = [2.5, 5.3, 7.0, 8.6, 10.2].map(|n| (n * part) as i32);
        let areas = root.split_by_breakpoints([] as [i32; 0], cuts);
        let [latency, heat, rates, volume, depth, costs] = areas.as_slice() else {
            return Err("no room".into());
        };
        self.latency(latency, colors)?;
        self.heat(heat, colors)?;
        let per_second = |f: fn(&Load) -> u64| move |l: &Load| Some(l.rate(f(l)));
        self.lines(
            rates,
            colors,
            "commands in a second",
            count,
            &[
                ("read", &per_second(|l| l.counts.reads)),
                ("write", &per_second(|l| l.counts.writes)),
                (
                    "other",
                    &per_second(|l| l.counts.flushes + l.counts.discards + l.counts.write_zeroes),
                ),
                ("errors", &per_second(|l| l.counts.errors)),
            ],
            "",
        )?;
        self.lines(
            volume,
            colors,
            "bytes in a second",
            bytes,
            &[
                ("read", &per_second(|l| l.counts.bytes_read)),
                ("written", &per_second(|l| l.counts.bytes_written)),
            ],
            "",
        )?;
        self.lines(
            depth,
            colors,
            "mean number of commands in flight",
            |v| ratio(Some(v)),
            &[("in flight", &|l| Some(l.depth()))],
            "",
        )?;
        self.lines(
            costs,
            colors,
            "for each command",
            |v| ratio(Some(v)),
            &[
                ("interrupts", &|l| l.interrupts_per_io()),
                ("doorbell writes", &|l| l.doorbells_per_io()),
            ],
            "seconds",
        )?;
        root.present().map_err(text)
    }

    fn latency<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>, colors: &Colors) -> Drawn {
        let series: [Series<'_, u64>; 4] = [
            ("median", &|l| l.percentile(500)),
            ("mean", &|l| l.mean()),
            ("99th percentile", &|l| l.percentile(990)),
            ("maximum", &|l| l.max()),
        ];
        let values = || {
            self.points
                .iter()
                .flat_map(|(_, l)| series.iter().filter_map(|(_, f)| f(l)))
        };
        let low = values().min().unwrap_or(1000).max(1) as f64 / 1.5;
        let high = values().max().unwrap_or(1_000_000).max(10) as f64 * 1.5;

        let mut chart = builder(area, colors, "latency")
            .build_cartesian_2d(0.0..self.end(), (low..high).log_scale())
            .map_err(text)?;
        chart
            .configure_mesh()
            .axis_style(colors.grid)
            .bold_line_style(colors.grid)
            .light_line_style(TRANSPARENT)
            .label_style((font::FAMILY, 12).into_font().color(&colors.text))
            .x_labels(12)
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|ns| time(*ns as u64))
            .draw()
            .map_err(text)?;
        for (x, mark) in &self.marks {
            let line = [(*x, low), (*x, high)];
            chart
                .draw_series(LineSeries::new(line, mark_style(*mark, colors)))
                .map_err(text)?;
        }
        for ((_, value), color) in series.iter().zip(colors.lines) {
            for run in runs(&self.points, |l| value(l).map(|ns| ns as f64)) {
                chart
                    .draw_series(LineSeries::new(run, color.stroke_width(2)))
                    .map_err(text)?;
            }
        }
        let names: Vec<_> = series
            .iter()
            .map(|(name, _)| *name)
            .zip(colors.lines)
            .collect();
        legend(area, &names, colors)?;
        self.names_of_marks(area, &mut |x| chart.backend_coord(&(x, high)), colors)
    }

    /// The names of the lines at resets and time-outs.
    fn names_of_marks<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, Shift>,
        place: &mut dyn FnMut(f64) -> (i32, i32),
        colors: &Colors,
    ) -> Drawn {
        let (left, top) = area.get_base_pixel();
        // Each name goes to the first of three rows in which it covers no other name.
        let mut lanes = [i32::MIN; 3];
        for (x, mark) in &self.marks {
            let (x, y) = place(*x);
            let Some(lane) = lanes.iter().position(|end| x >= *end) else {
                continue;
            };
            if let Some(end) = lanes.get_mut(lane) {
                *end = x.saturating_add(64);
            }
            let (name, color) = match mark {
                'R' => ("reset", colors.reset),
                _ => ("time-out", colors.timeout),
            };
            let style = (font::FAMILY, 12)
                .into_font()
                .color(&color)
                .pos(Pos::new(HPos::Left, VPos::Top));
            area.draw_text(name, &style, (x - left + 4, y - top + 2 + 14 * lane as i32))
                .map_err(text)?;
        }
        Ok(())
    }

    fn heat<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>, colors: &Colors) -> Drawn {
        let joined = self.points.len().div_ceil(HEAT_COLUMNS).max(1);
        let columns: Vec<(f64, Histogram)> = self
            .points
            .chunks(joined)
            .map(|part| {
                let all = part
                    .iter()
                    .fold(Histogram::default(), |sum, (_, l)| sum.plus(&l.latency));
                (part.last().map_or(0.0, |(x, _)| *x), all)
            })
            .collect();
        let histograms: Vec<Histogram> = columns.iter().map(|(_, h)| h.clone()).collect();
        let heat = Heat::new(&histograms, HEAT_ROWS);
        let top = heat.used as f64;

        let mut chart = builder(
            area,
            colors,
            "distribution of latency over time (the brighter, the more)",
        )
        .build_cartesian_2d(0.0..self.end(), 0.0..top)
        .map_err(text)?;
        let label = |row: &f64| {
            heat.bounds
                .get(*row as usize)
                .map_or(String::new(), |ns| time(*ns))
        };
        chart
            .configure_mesh()
            .axis_style(colors.grid)
            .disable_mesh()
            .label_style((font::FAMILY, 12).into_font().color(&colors.text))
            .x_labels(12)
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_labels(8)
            .y_label_formatter(&label)
            .draw()
            .map_err(text)?;
        let background = Rectangle::new(
            [(0.0, 0.0), (self.end(), top)],
            RGBColor(12, 8, 30).filled(),
        );
        chart.draw_series([background]).map_err(text)?;
        let mut begin = 0.0;
        for ((end, _), counts) in columns.iter().zip(&heat.columns) {
            let cells = counts
                .iter()
                .enumerate()
                .filter(|(_, n)| **n != 0)
                .map(|(row, n)| {
                    let corners = [(begin, row as f64), (*end, row as f64 + 1.0)];
                    Rectangle::new(corners, glow(heat.heat(*n)).filled())
                });
            chart.draw_series(cells).map_err(text)?;
            begin = *end;
        }
        for (x, mark) in &self.marks {
            let line = [(*x, 0.0), (*x, top)];
            chart
                .draw_series(LineSeries::new(line, mark_style(*mark, colors)))
                .map_err(text)?;
        }
        Ok(())
    }

    fn lines<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, Shift>,
        colors: &Colors,
        title: &str,
        format: fn(f64) -> String,
        series: &[Series<'_, f64>],
        below: &str,
    ) -> Drawn {
        let values = self
            .points
            .iter()
            .flat_map(|(_, l)| series.iter().filter_map(|(_, f)| f(l)));
        let high = values.fold(0.0, f64::max);
        let range: Range<f64> = 0.0..if high > 0.0 { high * 1.1 } else { 1.0 };
        let top = range.end;

        let mut chart = builder(area, colors, title)
            .build_cartesian_2d(0.0..self.end(), range)
            .map_err(text)?;
        chart
            .configure_mesh()
            .axis_style(colors.grid)
            .bold_line_style(colors.grid)
            .light_line_style(TRANSPARENT)
            .label_style((font::FAMILY, 12).into_font().color(&colors.text))
            .x_labels(12)
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_labels(5)
            .x_desc(below)
            .y_label_formatter(&|value| format(*value))
            .draw()
            .map_err(text)?;
        for (x, mark) in &self.marks {
            chart
                .draw_series(LineSeries::new(
                    [(*x, 0.0), (*x, top)],
                    mark_style(*mark, colors),
                ))
                .map_err(text)?;
        }
        let mut names = Vec::new();
        for ((name, value), color) in series.iter().zip(colors.lines) {
            // A value that is always 0 has no line.
            if self
                .points
                .iter()
                .all(|(_, l)| value(l).unwrap_or(0.0) == 0.0)
            {
                continue;
            }
            names.push((*name, color));
            for run in runs(&self.points, value) {
                chart
                    .draw_series(LineSeries::new(run, color.stroke_width(2)))
                    .map_err(text)?;
            }
        }
        legend(area, &names, colors)
    }
}

fn builder<'a, 'b, DB: DrawingBackend>(
    area: &'a DrawingArea<DB, Shift>,
    colors: &Colors,
    title: &str,
) -> ChartBuilder<'a, 'b, DB> {
    let mut builder = ChartBuilder::on(area);
    builder
        .margin_right(150)
        .margin_left(8)
        .margin_top(6)
        .set_label_area_size(LabelAreaPosition::Left, 62)
        .set_label_area_size(LabelAreaPosition::Bottom, 34)
        .caption(title, (font::FAMILY, 14).into_font().color(&colors.text));
    builder
}

/// The names of lines, to the right of them.
fn legend<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    names: &[(&str, RGBColor)],
    colors: &Colors,
) -> Drawn {
    let (width, _) = area.dim_in_pixel();
    let left = width as i32 - 140;
    for ((name, color), y) in names.iter().zip((38..).step_by(18)) {
        let line = PathElement::new([(left, y), (left + 16, y)], color.stroke_width(2));
        area.draw(&line).map_err(text)?;
        let style = (font::FAMILY, 12)
            .into_font()
            .color(&colors.text)
            .pos(Pos::new(HPos::Left, VPos::Center));
        area.draw_text(name, &style, (left + 22, y)).map_err(text)?;
    }
    Ok(())
}

fn mark_style(mark: char, colors: &Colors) -> ShapeStyle {
    match mark {
        'R' => colors.reset.mix(0.8).stroke_width(1),
        _ => colors.timeout.mix(0.8).stroke_width(1),
    }
}

/// The points with a value, split at points without a value.
fn runs(points: &[(f64, Load)], value: impl Fn(&Load) -> Option<f64>) -> Vec<Vec<(f64, f64)>> {
    let mut runs = vec![Vec::new()];
    for (x, load) in points {
        match (value(load), runs.last_mut()) {
            (Some(y), Some(run)) => run.push((*x, y)),
            (None, Some(run)) if !run.is_empty() => runs.push(Vec::new()),
            _ => {}
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

/// The colour of a heat of 0 to 1, from violet over red to yellow.
fn glow(heat: f64) -> RGBColor {
    const STOPS: [(f64, f64, f64); 5] = [
        (40.0, 11.0, 84.0),
        (122.0, 28.0, 109.0),
        (203.0, 65.0, 73.0),
        (248.0, 150.0, 30.0),
        (250.0, 240.0, 120.0),
    ];
    let at = heat.clamp(0.0, 1.0) * (STOPS.len() - 1) as f64;
    let (i, part) = (at.floor() as usize, at.fract());
    let from = STOPS.get(i).copied().unwrap_or((250.0, 240.0, 120.0));
    let to = STOPS.get(i + 1).copied().unwrap_or(from);
    let mix = |a: f64, b: f64| (a + (b - a) * part) as u8;
    RGBColor(mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::interval::tests::snapshot;
    use crate::scratch::Scratch;

    fn intervals() -> Vec<Interval> {
        let ns = [0, 100, 100, 5000, 9000];
        let snapshots: Vec<_> = ns.iter().zip(0..).map(|(n, s)| snapshot(s, *n)).collect();
        snapshots
            .windows(2)
            .filter_map(|w| Interval::between(&w[0], &w[1]))
            .collect()
    }

    #[test]
    fn pictures() {
        let data = Data::new(&intervals(), None, None).unwrap();
        assert_eq!(data.marks, [(3.0, 'R'), (4.0, 'R')]);
        let dir = Scratch::new("plot");
        for theme in [Theme::Light, Theme::Dark] {
            let svg = dir.join("a.svg");
            data.draw(&svg, (800, 800), theme).unwrap();
            let text = std::fs::read_to_string(&svg).unwrap();
            for part in [
                "<svg",
                "99th percentile",
                "reset",
                "QEMU NVMe Ctrl",
                "</svg>",
            ] {
                assert!(text.contains(part), "{part}");
            }
            let png = dir.join("a.png");
            data.draw(&png, (400, 400), theme).unwrap();
            assert!(std::fs::read(&png).unwrap().starts_with(b"\x89PNG\r\n"));
        }
        assert_eq!(
            data.draw(&dir.join("a.gif"), (400, 400), Theme::Light)
                .unwrap_err()
                .code(),
            2
        );
        assert_eq!(
            data.draw(&dir.join("no/a.svg"), (400, 400), Theme::Light)
                .unwrap_err()
                .code(),
            1
        );
    }

    #[test]
    fn nothing_to_draw() {
        assert_eq!(Data::new(&[], None, None).err().unwrap().code(), 4);
        assert_eq!(
            Data::new(&intervals(), Some("nvme909"), None)
                .err()
                .unwrap()
                .code(),
            2
        );
    }

    #[test]
    fn gaps() {
        let data = Data::new(&intervals(), Some("nvme900"), None).unwrap();
        let runs = runs(&data.points, |l| l.mean().map(|ns| ns as f64));
        assert_eq!(runs.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
    }
}
