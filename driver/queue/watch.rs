// SPDX-License-Identifier: GPL-2.0

//! Read access to an admin or I/O queue: its counters, and its rings as text, for sysfs, debugfs
//! and core dumps.

use super::{
    stats::{
        Completed,
        Submitted, //
    },
    CompletionHandler,
    Queue,
    QueueConfig, //
};
use kernel::fmt;

/// An admin or I/O queue, read-only.
pub(crate) trait Watch {
    fn config(&self) -> QueueConfig;
    fn submitted(&self) -> &Submitted;
    fn completed(&self) -> &Completed;
    /// The numbers of commands submitted and completed.
    fn progress(&self) -> (u64, u64);
    /// Tail and head of the submission queue.
    fn sq_position(&self) -> (u32, u32);
    /// Head and expected phase of the completion queue.
    fn cq_position(&self) -> (u32, bool);
    /// An entry of the submission queue.
    fn sq_entry(&self, index: u16) -> Option<[u64; 8]>;
    /// An entry of the completion queue.
    fn cq_entry(&self, index: u16) -> Option<[u64; 2]>;
}

impl<S: CompletionHandler> Watch for Queue<S> {
    fn config(&self) -> QueueConfig {
        self.config
    }

    fn submitted(&self) -> &Submitted {
        &self.submitted
    }

    fn completed(&self) -> &Completed {
        &self.completed
    }

    fn progress(&self) -> (u64, u64) {
        Queue::progress(self)
    }

    fn sq_position(&self) -> (u32, u32) {
        Queue::sq_position(self)
    }

    fn cq_position(&self) -> (u32, bool) {
        Queue::cq_position(self)
    }

    fn sq_entry(&self, index: u16) -> Option<[u64; 8]> {
        Queue::sq_entry(self, index)
    }

    fn cq_entry(&self, index: u16) -> Option<[u64; 2]> {
        Queue::cq_entry(self, index)
    }
}

/// Prints the entries less than `around` away from the tail, one a line, and marks the tail and the
/// head that the controller last reported.
pub(crate) fn submission_queue(
    queue: &dyn Watch,
    around: u16,
    f: &mut dyn fmt::Write,
) -> fmt::Result {
    let (tail, head) = queue.sq_position();
    let depth = queue.config().depth;

    for index in (0..depth).filter(|i| is_near(*i, tail, depth, around)) {
        let Some(words) = queue.sq_entry(index) else {
            break;
        };
        entry(f, index, &words, &[(tail, " tail"), (head, " head")])?;
    }
    Ok(())
}

/// Prints the entries less than `around` away from the head, one a line, and marks the head with
/// its expected phase.
pub(crate) fn completion_queue(
    queue: &dyn Watch,
    around: u16,
    f: &mut dyn fmt::Write,
) -> fmt::Result {
    let (head, phase) = queue.cq_position();
    let mark = if phase { " head 1" } else { " head 0" };
    let depth = queue.config().cq_depth;

    for index in (0..depth).filter(|i| is_near(*i, head, depth, around)) {
        let Some(words) = queue.cq_entry(index) else {
            break;
        };
        entry(f, index, &words, &[(head, mark)])?;
    }
    Ok(())
}

/// Whether `index` and `at` are less than `around` apart in a ring of `depth` entries.
fn is_near(index: u16, at: u32, depth: u16, around: u16) -> bool {
    let apart = u32::from(index).abs_diff(at);
    apart.min(u32::from(depth).saturating_sub(apart)) < around.into()
}

fn entry(f: &mut dyn fmt::Write, index: u16, words: &[u64], marks: &[(u32, &str)]) -> fmt::Result {
    write!(f, "{index:5}")?;
    for word in words {
        write!(f, " {word:016x}")?;
    }
    for (at, mark) in marks {
        if *at == u32::from(index) {
            f.write_str(mark)?;
        }
    }
    writeln!(f)
}
