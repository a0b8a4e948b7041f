// SPDX-License-Identifier: GPL-2.0

//! A directory of a test.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// An empty directory; a drop removes it.
pub struct Scratch(PathBuf);

impl Scratch {
    /// The directory of the test `name`.
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rnvme-top-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes `file`, and makes the directories on the way to it.
    pub fn write(&self, file: impl AsRef<Path>, text: &str) {
        let path = self.0.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

impl Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
