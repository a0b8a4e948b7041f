// SPDX-License-Identifier: GPL-2.0

//! The oldest commands in flight, by their start times. The driver's statistics use this.

/// How many commands [`Oldest`] keeps.
pub const KEPT: usize = 32;

/// The earliest of the start times that it is given, in any unit.
pub struct Oldest {
    /// In ascending order; only the first `len` count.
    starts: [u64; KEPT],
    /// At most [`KEPT`].
    len: usize,
}

impl Default for Oldest {
    fn default() -> Self {
        Self {
            starts: [0; KEPT],
            len: 0,
        }
    }
}

impl Oldest {
    /// Takes a start time.
    pub fn add(&mut self, start: u64) {
        // From the place of `start` on, each value moves by one, and the last may be lost.
        let mut moved = start;
        for kept in self.starts.iter_mut().take(self.len) {
            if moved < *kept {
                core::mem::swap(&mut moved, kept);
            }
        }
        if let Some(free) = self.starts.get_mut(self.len) {
            *free = moved;
            self.len = self.len.wrapping_add(1);
        }
    }

    /// The ages at the time `now`, the oldest first.
    pub fn ages(&self, now: u64) -> impl Iterator<Item = u64> + '_ {
        let starts = self.starts.iter().take(self.len);
        starts.map(move |start| now.saturating_sub(*start))
    }
}
