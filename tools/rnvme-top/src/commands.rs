// SPDX-License-Identifier: GPL-2.0

//! Carries out the commands of the command line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use ratatui::backend::TestBackend;
use ratatui::Terminal;

use crate::cli::{Cli, Command, Pace, Plot, Replay, Screen};
use crate::error::{Error, Result};
use crate::model::interval::Interval;
use crate::model::snapshot::Snapshot;
use crate::output::{http, json, plot, prometheus, screenshot, text};
use crate::source::recording::{Reader, Writer};
use crate::source::sysfs::{nothing_found, Sysfs};
use crate::source::Source;
use crate::ui::app::App;
use crate::ui::draw::draw;
use crate::ui::style::Look;
use crate::ui::terminal;

/// Whether the program should end.
type Stop<'a> = &'a dyn Fn() -> bool;

/// Carries out the command of the command line.
pub fn run(cli: Cli, stop: Stop<'_>) -> Result<()> {
    match &cli.command {
        Some(Command::Record { file }) => record(&cli, file, stop),
        Some(Command::Replay(args)) => replay(&cli, args, stop),
        Some(Command::Plot(args)) => draw_plot(args),
        None if cli.prometheus => metrics(&cli),
        None if cli.listen.is_some() => listen(&cli, stop),
        None if cli.once || cli.json => print(&cli, stop),
        None => {
            let mut source = Sysfs::new(&cli.sysfs)?;
            let mut app = view(&cli.screen, cli.pace.interval, "")?;
            terminal::run(
                &mut app,
                &mut source,
                &terminal::Pace::Live(cli.pace.count),
                stop,
            )
        }
    }
}

/// The view with the options of the command line.
fn view(screen: &Screen, interval: f64, source: &str) -> Result<App> {
    let color =
        !screen.no_color && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut app = App::new(Look { color }, interval, source);
    app.filter = screen.filter.clone().unwrap_or_default();
    if let Some(name) = &screen.sort {
        if !app.sort_by(name) {
            return Err(Error::Usage(format!("no column {name}")));
        }
    }
    Ok(app)
}

/// The file at `path`; standard output without a path, and for `-`.
fn output(path: Option<&Path>) -> Result<Box<dyn Write>> {
    match path {
        Some(path) if path != Path::new("-") => {
            let file = File::create(path).map_err(|e| Error::file(path, &e))?;
            Ok(Box::new(file))
        }
        _ => Ok(Box::new(io::stdout())),
    }
}

/// The result of a write. A reader that closed the pipe is no error.
fn written(result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|e| Error::output(&e)),
    }
}

/// Sleeps until `end`, in steps; returns `false` early if the program should end.
fn sleep_until(end: Instant, stop: Stop<'_>) -> bool {
    const STEP: Duration = Duration::from_millis(50);
    loop {
        if stop() {
            return false;
        }
        match end.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => std::thread::sleep(left.min(STEP)),
            _ => return true,
        }
    }
}

/// Calls `f` with snapshots of sysfs, at the given pace, until `f` returns `false`.
///
/// # Errors
///
/// [`Error::NoDevice`] if there is no controller, or the last controller is gone.
fn looks(
    cli: &Cli,
    pace: &Pace,
    stop: Stop<'_>,
    mut f: impl FnMut(Snapshot) -> Result<bool>,
) -> Result<()> {
    let mut source = Sysfs::new(&cli.sysfs)?;
    let begin = Instant::now();
    let mut n = 0u32;
    loop {
        let snapshot = source.next()?.unwrap_or_default();
        if snapshot.controllers.is_empty() {
            return Err(nothing_found(&cli.sysfs));
        }
        if !f(snapshot)? || pace.count.is_some_and(|count| u64::from(n) >= count) {
            return Ok(());
        }
        n = n.saturating_add(1);
        // From the beginning, so that delays don't add up.
        let due = begin + Duration::from_secs_f64(pace.interval * f64::from(n));
        if !sleep_until(due, stop) {
            return Ok(());
        }
    }
}

fn print(cli: &Cli, stop: Stop<'_>) -> Result<()> {
    let mut out = output(cli.output.as_deref())?;
    let mut pace = cli.pace.clone();
    if cli.once {
        pace.count = Some(1);
    }
    let mut last: Option<Snapshot> = None;
    looks(cli, &pace, stop, |snapshot| {
        let interval = last
            .as_ref()
            .and_then(|last| Interval::between(last, &snapshot));
        last = Some(snapshot);
        let Some(interval) = interval else {
            return Ok(true);
        };
        let text = if cli.json {
            json::interval(&interval) + "\n"
        } else {
            text::interval(&interval)
        };
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            result => result.map(|()| true).map_err(|e| Error::output(&e)),
        }
    })
}

fn metrics(cli: &Cli) -> Result<()> {
    let snapshot = Sysfs::new(&cli.sysfs)?.next()?.unwrap_or_default();
    if snapshot.controllers.is_empty() {
        return Err(nothing_found(&cli.sysfs));
    }
    let text = prometheus::snapshot(&snapshot);
    let Some(path) = cli.output.as_deref().filter(|path| *path != Path::new("-")) else {
        return written(io::stdout().write_all(text.as_bytes()));
    };
    // Renamed when complete, so that a reader sees either the old file or the new file.
    let mut name = path.as_os_str().to_os_string();
    name.push(format!(".{}", std::process::id()));
    let new = Path::new(&name);
    let done = std::fs::write(new, &text).and_then(|()| std::fs::rename(new, path));
    done.map_err(|e| {
        let _ = std::fs::remove_file(new);
        Error::file(path, &e)
    })
}

fn listen(cli: &Cli, stop: Stop<'_>) -> Result<()> {
    let mut source = Sysfs::new(&cli.sysfs)?;
    let address = cli.listen.as_deref().unwrap_or_default();
    let ready = |address| {
        let _ = writeln!(
            io::stderr(),
            "rnvme-top: metrics at http://{address}/metrics"
        );
    };
    http::serve(&mut source, address, ready, stop)
}

fn record(cli: &Cli, file: &Path, stop: Stop<'_>) -> Result<()> {
    // Created for the first snapshot: without a controller, an existing file must not be lost.
    let mut writer = None;
    looks(cli, &cli.pace, stop, |snapshot| {
        let writer = match &mut writer {
            Some(writer) => writer,
            None => writer.insert(Writer::new(output(Some(file))?)?),
        };
        writer.write(&snapshot).map(|()| true)
    })
}

/// The recording in a file.
fn open(file: &Path) -> Result<Reader<Box<dyn BufRead>>> {
    let input: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(BufReader::new(io::stdin()))
    } else {
        Box::new(BufReader::new(
            File::open(file).map_err(|e| Error::file(file, &e))?,
        ))
    };
    Reader::new(input, &file.display().to_string())
}

/// Calls `f` with the intervals of a recording, until `f` returns `false`.
fn intervals(file: &Path, mut f: impl FnMut(Interval) -> Result<bool>) -> Result<()> {
    let mut reader = open(file)?;
    let mut last: Option<Snapshot> = None;
    while let Some(snapshot) = reader.next()? {
        if let Some(interval) = last
            .as_ref()
            .and_then(|last| Interval::between(last, &snapshot))
        {
            if !f(interval)? {
                return Ok(());
            }
        }
        last = Some(snapshot);
    }
    say_if_cut(&reader, file);
    Ok(())
}

fn say_if_cut<R: BufRead>(reader: &Reader<R>, file: &Path) {
    if reader.is_cut() {
        let file = file.display();
        let _ = writeln!(
            io::stderr(),
            "rnvme-top: {file}: cut short; its last snapshot is left out"
        );
    }
}

fn replay(cli: &Cli, args: &Replay, stop: Stop<'_>) -> Result<()> {
    if let Some(picture) = &args.screenshot {
        return take_screenshot(cli, args, picture);
    }
    if args.json {
        let mut out = io::stdout();
        return intervals(&args.file, |interval| {
            match writeln!(out, "{}", json::interval(&interval)) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
                result => result.map(|()| true).map_err(|e| Error::output(&e)),
            }
        });
    }
    if args.once {
        let mut last = None;
        intervals(&args.file, |interval| {
            last = Some(interval);
            Ok(true)
        })?;
        let last = last.ok_or_else(|| too_short(&args.file))?;
        return written(io::stdout().write_all(text::interval(&last).as_bytes()));
    }
    let mut source = open(&args.file)?;
    let name = args.file.display().to_string();
    let mut app = view(&cli.screen, cli.pace.interval, &name)?;
    terminal::run(
        &mut app,
        &mut source,
        &terminal::Pace::Recorded(args.speed),
        stop,
    )?;
    say_if_cut(&source, &args.file);
    Ok(())
}

fn too_short(file: &Path) -> Error {
    Error::Recording(format!("{}: less than two snapshots", file.display()))
}

fn take_screenshot(cli: &Cli, args: &Replay, picture: &Path) -> Result<()> {
    let mut app = view(&cli.screen, cli.pace.interval, "")?;
    let mut seconds = 0.0;
    intervals(&args.file, |interval| {
        seconds += interval.seconds;
        app.history.push(interval);
        Ok(args.at.is_none_or(|at| seconds < at))
    })?;
    let last = app.history.last().ok_or_else(|| too_short(&args.file))?;
    if let Some(queue) = &args.zoom {
        let found = queue.split_once(':').and_then(|(name, qid)| {
            let controller = last.controllers.iter().find(|c| c.info.name == name)?;
            let qid = qid.parse().ok()?;
            controller
                .queues
                .iter()
                .any(|q| q.info.qid == qid)
                .then(|| (controller.info.address.clone(), qid))
        });
        app.admin = true;
        app.zoom = true;
        app.selected =
            Some(found.ok_or_else(|| Error::Usage(format!("no queue {queue} in the recording")))?);
    }
    let (columns, rows) = args.size;
    let mut terminal =
        Terminal::new(TestBackend::new(columns, rows)).map_err(|e| Error::output(&e))?;
    terminal
        .draw(|frame| draw(frame, &app))
        .map_err(|e| Error::output(&e))?;
    let svg = screenshot::svg(terminal.backend().buffer());
    std::fs::write(picture, svg).map_err(|e| Error::file(picture, &e))
}

fn draw_plot(args: &Plot) -> Result<()> {
    let mut all = Vec::new();
    intervals(&args.file, |interval| {
        all.push(interval);
        Ok(true)
    })?;
    let data = plot::Data::new(&all, args.controller.as_deref(), args.title.as_deref())?;
    for picture in &args.output {
        data.draw(picture, args.size, args.theme)?;
    }
    Ok(())
}
