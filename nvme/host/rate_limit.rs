// SPDX-License-Identifier: GPL-2.0

//! Decides whether a log line that a device causes is logged, so that a device that fails
//! repeatedly doesn't flood the log. `ctrl` keeps a state for each controller.

/// The lines in an interval, as `DEFAULT_RATELIMIT_BURST` in `linux/ratelimit_types.h`.
pub const BURST: u32 = 10;

/// The interval in milliseconds, as `DEFAULT_RATELIMIT_INTERVAL` in `linux/ratelimit_types.h`.
pub const INTERVAL_MS: u64 = 5000;

/// The bits of the count in a [`RateLimit`].
const COUNT_BITS: u32 = 24;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;

/// The state of a rate limit: when the interval began, and the lines since then. In one word, so
/// that several contexts can share it in an atomic, without a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit(u64);

impl RateLimit {
    /// No line yet.
    pub const NEW: Self = Self(0);

    /// The state from [`bits`](Self::bits).
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The state as a number.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Asks for a line at `now_ms`, in milliseconds of a monotonic clock. Returns the next state,
    /// and, if the line may be logged, the number of lines suppressed in the last interval, which
    /// only the first line of an interval reports; other lines get 0. A time before the interval's
    /// begin, from another CPU, counts as its begin.
    pub const fn admit(self, now_ms: u64) -> (Self, Option<u32>) {
        let (begin, count) = (self.0 >> COUNT_BITS, self.0 & COUNT_MAX);

        if now_ms.saturating_sub(begin) > INTERVAL_MS {
            // 40 bits: 34 years. Later times only lose their upper bits.
            let next = now_ms.wrapping_shl(COUNT_BITS) | 1;
            return (Self(next), Some(count.saturating_sub(BURST as u64) as u32));
        }
        let admitted = if count < BURST as u64 { Some(0) } else { None };
        // The count doesn't overflow into the time.
        let next = if count < COUNT_MAX {
            self.0.wrapping_add(1)
        } else {
            self.0
        };
        (Self(next), admitted)
    }
}
