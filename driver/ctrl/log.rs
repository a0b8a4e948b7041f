// SPDX-License-Identifier: GPL-2.0

//! Rate limit for the log lines that a device can cause; `log_limited!` uses it.

use core::sync::atomic::{
    AtomicI64,
    AtomicU32,
    Ordering, //
};
use kernel::time::{
    ClockSource,
    Monotonic, //
};

/// The lines in a burst, and the interval between bursts in nanoseconds, as
/// `DEFAULT_RATELIMIT_BURST` and `DEFAULT_RATELIMIT_INTERVAL` in `linux/ratelimit_types.h`.
const LOG_BURST: u32 = 10;
const LOG_INTERVAL: i64 = 5_000_000_000;

/// Prevents a device that fails repeatedly from flooding the log.
pub(crate) struct LogLimit {
    since: AtomicI64,
    lines: AtomicU32,
}

impl LogLimit {
    pub(crate) const fn new() -> Self {
        Self {
            since: AtomicI64::new(0),
            lines: AtomicU32::new(0),
        }
    }

    /// If a line may be logged now, returns the number of lines suppressed before it. Any context.
    pub(crate) fn admit(&self) -> Option<u32> {
        let now = Monotonic::ktime_get();
        let since = self.since.load(Ordering::Relaxed);

        if now.saturating_sub(since) > LOG_INTERVAL
            && self
                .since
                .compare_exchange(since, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            let lines = self.lines.swap(1, Ordering::Relaxed);
            return Some(lines.saturating_sub(LOG_BURST));
        }
        (self.lines.fetch_add(1, Ordering::Relaxed) < LOG_BURST).then_some(0)
    }
}
