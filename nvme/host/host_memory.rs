// SPDX-License-Identifier: GPL-2.0

//! Decides how much of the host's memory a controller may borrow (Host Memory Buffer; Base 5.27.1.12).
//! `ctrl` allocates it.

use super::super::spec::identify::Controller;

/// The unit of the controller's sizes, in bytes.
const UNIT: u64 = 4096;

/// The largest chunk, in bytes: the kernel has no larger piece of contiguous memory.
const MAX_CHUNK: u64 = 4 << 20;

/// The largest number of chunks: their descriptors fill two pages.
const MAX_CHUNKS: u32 = 512;

/// The memory that a controller asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The memory to allocate, in bytes.
    pub preferred: u64,
    /// The memory without which the controller can't use any, in bytes, up to `preferred`.
    pub least: u64,
    /// The first size of a chunk to try, in bytes.
    first_chunk: u64,
    /// The smallest chunk that the controller uses, in bytes.
    pub least_chunk: u64,
    /// The largest number of chunks.
    chunks: u32,
}

impl Wish {
    /// What a controller asks for, limited to `limit` bytes. `None` if the controller doesn't ask, or
    /// needs more than the limit.
    pub fn new(info: &Controller, limit: u64) -> Option<Self> {
        let (preferred, least) = (units(info.hmpre), units(info.hmmin));
        let preferred = preferred.max(least).min(limit);
        if info.hmpre == 0 || preferred < UNIT || least > preferred {
            return None;
        }
        let least_chunk = units(info.hmminds).max(UNIT);
        Some(Self {
            preferred,
            least,
            first_chunk: preferred.next_power_of_two().clamp(UNIT, MAX_CHUNK),
            least_chunk,
            chunks: match info.hmmaxd {
                0 => MAX_CHUNKS,
                chunks => u32::from(chunks).min(MAX_CHUNKS),
            },
        })
    }

    /// The sizes of chunks to try, in bytes, each half of the one before; with each, the number of
    /// chunks that are `preferred` bytes, of which the last may be smaller, or as many as the controller
    /// takes.
    pub fn tries(self) -> impl Iterator<Item = (u64, u32)> {
        let sizes = core::iter::successors(Some(self.first_chunk), |size| Some(size >> 1));
        sizes
            .take_while(move |size| *size >= self.least_chunk)
            .map(move |size| {
                let count = self.preferred.div_ceil(size).min(self.chunks.into());
                (size, count as u32)
            })
    }
}

fn units(count: u32) -> u64 {
    u64::from(count).saturating_mul(UNIT)
}
