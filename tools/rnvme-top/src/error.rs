// SPDX-License-Identifier: GPL-2.0

//! The errors, and their exit statuses.

use std::fmt;
use std::io;
use std::path::Path;

/// An error that ends the program with one line.
#[derive(Debug)]
pub enum Error {
    /// A read or a write failed: exit status 1.
    Io(String),
    /// The command line is invalid: exit status 2, as for clap's own errors.
    Usage(String),
    /// There is no controller, or the controller is gone: exit status 3.
    NoDevice(String),
    /// The file is no recording, has another version, or is damaged: exit status 4.
    Recording(String),
    /// The user may not read a file: exit status 5.
    Permission(String),
}

/// The result of most functions here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The error of an access to the file `path`.
    pub fn file(path: &Path, error: &io::Error) -> Self {
        let text = format!("{}: {}", path.display(), plain(error));
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::Permission(text),
            _ => Self::Io(text),
        }
    }

    /// An error of standard output or the terminal.
    pub fn output(error: &io::Error) -> Self {
        Self::Io(format!("can't write: {}", plain(error)))
    }

    /// The exit status.
    pub fn code(&self) -> u8 {
        match self {
            Self::Io(_) => 1,
            Self::Usage(_) => 2,
            Self::NoDevice(_) => 3,
            Self::Recording(_) => 4,
            Self::Permission(_) => 5,
        }
    }
}

/// The text of an error without Rust's "(os error 2)".
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_string(),
        None => text,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(text)
            | Self::Usage(text)
            | Self::NoDevice(text)
            | Self::Recording(text)
            | Self::Permission(text) => f.write_str(text),
        }
    }
}
