// SPDX-License-Identifier: GPL-2.0

//! The rate limits for the log lines that a device can cause: one for failed I/O commands, and one
//! for all other lines, which `log_limited!` uses.
//! [`nvme::host::rate_limit`](crate::nvme::host::rate_limit) decides.
//!
//! Not the kernel's `___ratelimit()`: its line about suppressed lines names a function, where an
//! administrator needs the device.

use super::Ctrl;
use crate::abstractions::atomic::{
    AtomicU64,
    Ordering, //
};
use crate::nvme::host::rate_limit::RateLimit;
use kernel::{
    prelude::*,
    time::{
        ClockSource,
        Monotonic, //
    }, //
};

/// A rate limit of a controller.
pub(super) struct LogLimit(AtomicU64);

impl LogLimit {
    pub(super) const fn new() -> Self {
        Self(AtomicU64::new(RateLimit::NEW.bits()))
    }

    /// If a line may be logged now, returns the number of lines suppressed before it.
    fn admit(&self) -> Option<u32> {
        let now_ms = Monotonic::ktime_get() as u64 / 1_000_000;
        let mut admitted = None;

        // The exchange fails only if another context asked for a line meanwhile.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| {
                let (next, line) = RateLimit::from_bits(bits).admit(now_ms);
                admitted = line;
                Some(next.bits())
            });
        admitted
    }
}

impl Ctrl {
    /// Whether a line that the device causes may be logged now. Logs the number of lines that were
    /// suppressed before it. Any context.
    #[cold]
    #[inline(never)]
    pub(crate) fn may_log(&self) -> bool {
        self.admits(&self.log)
    }

    /// As [`may_log`](Self::may_log), for a failed I/O command. A failing medium must not suppress
    /// other lines.
    pub(crate) fn may_log_command(&self) -> bool {
        self.admits(&self.command_log)
    }

    #[inline(never)]
    fn admits(&self, limit: &LogLimit) -> bool {
        let Some(missed) = limit.admit() else {
            return false;
        };
        if missed > 0 {
            dev_warn!(self.dev(), "{} lines left out\n", missed);
        }
        true
    }
}
