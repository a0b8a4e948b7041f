// SPDX-License-Identifier: GPL-2.0

//! A limit to the lines that a device can have the driver log, see `log_limited!`.

use core::sync::atomic::{
    AtomicI64,
    AtomicU32,
    Ordering, //
};
use kernel::time::{
    ClockSource,
    Monotonic, //
};

/// The lines of a burst, and the time in nanoseconds after which there may be another one, as of
/// `DEFAULT_RATELIMIT_BURST` and `_INTERVAL` in `linux/ratelimit_types.h`.
const LOG_BURST: u32 = 10;
const LOG_INTERVAL: i64 = 5_000_000_000;

/// Keeps a device that fails all the time from filling the log.
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

    /// Whether one more line may be written now: if so, the number of lines that were left out
    /// before it. Any context.
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
