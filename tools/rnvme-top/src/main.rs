// SPDX-License-Identifier: GPL-2.0

//! A view of NVMe controllers that rust_nvme_demo drives, and of their queues: in a terminal, as
//! text, JSON or Prometheus' metrics, as a recording, and as pictures.

mod cli;
mod commands;
mod error;
mod model;
mod output;
#[cfg(test)]
mod scratch;
mod source;
mod ui;
mod units;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGHUP,
    ] {
        // If this fails, the signal ends the program at once, and the terminal stays in raw mode.
        let _ = signal_hook::flag::register(signal, stop.clone());
    }

    match commands::run(cli, &|| stop.load(Ordering::Relaxed)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be closed.
            let _ = std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("rnvme-top: {error}\n"),
            );
            ExitCode::from(error.code())
        }
    }
}
