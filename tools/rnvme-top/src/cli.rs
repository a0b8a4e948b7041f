// SPDX-License-Identifier: GPL-2.0

//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A terminal view of NVMe controllers that rust_nvme_demo drives, and of their queues.
///
/// Shows rates, latency (mean, median, 99th percentile and maximum of the last interval),
/// interrupts and doorbell writes for a command, errors, time-outs and resets, live. All of it is
/// read from sysfs, as any user.
#[derive(Parser)]
#[command(version, after_long_help = AFTER, max_term_width = 100)]
pub struct Cli {
    /// What to do instead of showing what goes on now.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Print one interval as text and end.
    #[arg(long, conflicts_with_all = ["prometheus", "listen"])]
    pub once: bool,

    /// Print each interval as a line of JSON; with --once one only.
    #[arg(long)]
    pub json: bool,

    /// Print all counts in the format of Prometheus and end: for the textfile collector of
    /// node_exporter.
    #[arg(long)]
    pub prometheus: bool,

    /// Where --once, --json and --prometheus write, instead of standard output; for --prometheus
    /// the file is replaced as a whole.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Serve the counts to Prometheus over HTTP at ADDR, as 127.0.0.1:9899, at /metrics.
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,

    /// How often to look.
    #[command(flatten)]
    pub pace: Pace,

    /// What the screen is like.
    #[command(flatten)]
    pub screen: Screen,

    /// The root of sysfs.
    #[arg(long, value_name = "DIR", default_value = "/sys", global = true)]
    pub sysfs: PathBuf,
}

/// How often to look, and how many times.
#[derive(Args, Clone)]
pub struct Pace {
    /// Seconds between two looks: 0.1 to 3600.
    #[arg(long, short, value_name = "SECONDS", default_value = "1", value_parser = seconds, global = true)]
    pub interval: f64,

    /// End after N intervals.
    #[arg(long, short = 'n', value_name = "N", global = true)]
    pub count: Option<u64>,
}

/// What the screen is like.
#[derive(Args, Clone)]
pub struct Screen {
    /// Use no colours; the variable NO_COLOR does the same.
    #[arg(long, global = true)]
    pub no_color: bool,

    /// Show only queues whose name, kind, CPUs or controller contain TEXT.
    #[arg(long, value_name = "TEXT", global = true)]
    pub filter: Option<String>,

    /// Sort by this column: the title as it is on the screen, as IO/S or P99; with a minus before
    /// it in ascending order.
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true, global = true)]
    pub sort: Option<String>,
}

/// The subcommands.
#[derive(Subcommand)]
pub enum Command {
    /// Write snapshots to a file, until interrupted.
    Record {
        /// The file, or - for standard output.
        file: PathBuf,
    },
    /// Show a recording: live speed in the terminal, or as --once, --json or --screenshot say.
    Replay(Replay),
    /// Draw a recording: percentiles of latency, rates, depth and a heat map, with resets and
    /// time-outs marked.
    Plot(Plot),
}

/// Arguments of `replay`.
#[derive(Args)]
pub struct Replay {
    /// The recording, or - for standard input.
    pub file: PathBuf,

    /// Print the last interval as text.
    #[arg(long)]
    pub once: bool,

    /// Print each interval as a line of JSON.
    #[arg(long)]
    pub json: bool,

    /// Draw the screen at the end of the recording as an SVG file.
    #[arg(long, value_name = "SVG")]
    pub screenshot: Option<PathBuf>,

    /// Columns and rows of the screenshot.
    #[arg(long, value_name = "COLSxROWS", default_value = "110x34", value_parser = size)]
    pub size: (u16, u16),

    /// Take the screenshot this many seconds after the beginning.
    #[arg(long, value_name = "SECONDS")]
    pub at: Option<f64>,

    /// Take the screenshot of one queue, as CONTROLLER:QID, as nvme900:1.
    #[arg(long, value_name = "QUEUE")]
    pub zoom: Option<String>,

    /// How many times as fast as it was.
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = speed)]
    pub speed: f64,
}

/// Arguments of `plot`.
#[derive(Args)]
pub struct Plot {
    /// The recording, or - for standard input.
    pub file: PathBuf,

    /// The picture, or several: .svg or .png.
    #[arg(long, short, value_name = "PICTURE", required = true)]
    pub output: Vec<PathBuf>,

    /// Width and height in pixels.
    #[arg(long, value_name = "WxH", default_value = "1200x1250", value_parser = pixels)]
    pub size: (u32, u32),

    /// Only this controller, by its name.
    #[arg(long, value_name = "NAME")]
    pub controller: Option<String>,

    /// The picture's title.
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,

    /// Its colours.
    #[arg(long, value_enum, default_value_t = Theme::Light)]
    pub theme: Theme,
}

/// The colours of a picture.
#[derive(Clone, Copy, ValueEnum, PartialEq)]
pub enum Theme {
    /// Dark on white.
    Light,
    /// Light on nearly black.
    Dark,
}

/// What `--help` ends with.
const AFTER: &str = "\
Keys:
  Up, Down, k, j           select a queue
  PgUp, PgDn, Home, End    select a queue further away
  Enter, Esc               zoom into the queue, and back
  Left, Right, <, >        sort by another column
  r                        reverse the order
  /                        filter by name, kind, CPUs or controller
  i                        hide queues without I/O, and show them again
  a                        show the admin queues, and hide them again
  f, space                 freeze, and go on
  +, -                     look more, or less, often
  h, ?                     help
  q, Ctrl-C, Ctrl-D        end

Columns, each of the last interval: IO/S commands completed in a second; READ/S and WRITE/S bytes
in a second; DEPTH the mean number of commands in flight; MEAN, P50, P99 and MAX the time of a
command; IRQ/IO interrupts and DB/IO doorbell writes for a command; BATCH commands for an
interrupt; ERR commands that failed, RTRY that were tried again; FLY commands in flight now.
Percentiles are up to 12.5 percent too much, as the driver counts the times in buckets.

Exit status:
  0  all is well, also where the user ended it
  1  something couldn't be read or written, or there is no terminal to show something on
  2  the command line asks for what can't be
  3  the driver isn't loaded, has no controller, or is too old
  4  a recording is damaged, of another version, or none; of one that is cut short, what is there
     is used, with a word on standard error
  5  a file may not be read by this user

Environment:
  NO_COLOR  no colours, if it is set and not empty";

fn seconds(text: &str) -> Result<f64, String> {
    range(text, 0.1, 3600.0)
}

fn speed(text: &str) -> Result<f64, String> {
    range(text, 0.01, 1000.0)
}

fn range(text: &str, min: f64, max: f64) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (min..=max).contains(&value) => Ok(value),
        _ => Err(format!("not a number from {min} to {max}")),
    }
}

fn pair(text: &str, min: u32, max: u32) -> Result<(u32, u32), String> {
    let number = |word: &str| word.parse().ok().filter(|n| (min..=max).contains(n));
    text.split_once('x')
        .and_then(|(a, b)| Some((number(a)?, number(b)?)))
        .ok_or_else(|| format!("not two numbers from {min} to {max} with an x between them"))
}

fn size(text: &str) -> Result<(u16, u16), String> {
    pair(text, 1, 1000).map(|(a, b)| (a as u16, b as u16))
}

fn pixels(text: &str) -> Result<(u32, u32), String> {
    pair(text, 400, 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn values() {
        assert_eq!(size("80x24"), Ok((80, 24)));
        for bad in ["80", "80x", "x24", "0x24", "80x24x1", "-1x5", "80x1001"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert_eq!(seconds("0.5"), Ok(0.5));
        for bad in ["0", "NaN", "inf", "-1", "3601", ""] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_excludes_what() {
        for bad in [
            &["--once", "--prometheus"][..],
            &["plot", "file"],
            &["record"],
            &["--interval", "0"],
            &["nonsense"],
        ] {
            let words = ["rnvme-top"].iter().chain(bad);
            let error = Cli::try_parse_from(words).err().unwrap();
            assert_eq!(error.exit_code(), 2, "{bad:?}");
        }
        assert!(Cli::try_parse_from(["rnvme-top", "--once", "--json"]).is_ok());
    }
}
