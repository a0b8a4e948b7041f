// SPDX-License-Identifier: GPL-2.0

//! Memory of the host that a controller borrows (Host Memory Buffer; Base 5.27.1.12). `life` decides
//! when. Only the controller reads and writes this memory.

use super::{
    admin::CommandError,
    Ctrl, //
};
use crate::{
    abstractions::dma::{
        Ring,
        BUFFER_SIZE, //
    },
    nvme::{
        host::host_memory::Wish,
        spec::{
            command::Command,
            id::Cid, //
        },
    },
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    prelude::*,
    sync::Arc, //
};

/// A page of the memory.
type Pages = Ring<{ BUFFER_SIZE / 8 }>;

/// Memory for a controller. It must exist until the controller is disabled, or has given it back.
pub(crate) struct HostMemory {
    chunks: KVec<Pages>,
    /// The address of each chunk, and its length in pages.
    list: Ring<2>,
    pages: u32,
}

impl HostMemory {
    /// Allocates what a controller asks for, or as much as there is, but not less than the controller
    /// needs.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. May sleep.
    pub(crate) fn new(dev: &device::Device<Bound>, wish: Wish) -> Result<Self> {
        for (size, count) in wish.tries() {
            let memory = Self::of_chunks(dev, wish, size, count as usize)?;
            if memory.bytes() != 0 && memory.bytes() >= wish.least {
                return Ok(memory);
            }
        }
        Err(ENOMEM)
    }

    /// Up to `count` chunks of up to `size` bytes, as far as there is memory.
    fn of_chunks(dev: &device::Device<Bound>, wish: Wish, size: u64, count: usize) -> Result<Self> {
        let mut memory = Self {
            chunks: KVec::with_capacity(count, GFP_KERNEL)?,
            list: Ring::new(dev, count)?,
            pages: 0,
        };
        for index in 0..count {
            let left = wish.preferred.saturating_sub(memory.bytes());
            let pages = left.min(size) / BUFFER_SIZE as u64;
            if pages * (BUFFER_SIZE as u64) < wish.least_chunk {
                break;
            }
            let Ok(chunk) = Pages::new_large(dev, pages as usize) else {
                break;
            };
            let descriptor = [chunk.dma_address().to_le(), pages.to_le()];
            memory.list.write(index, &descriptor);
            memory.chunks.push_within_capacity(chunk)?;
            memory.pages = memory.pages.saturating_add(pages as u32);
        }
        Ok(memory)
    }

    /// Its size in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        u64::from(self.pages).saturating_mul(BUFFER_SIZE as u64)
    }
}

impl Ctrl {
    /// Lends memory to the controller; `again` if the controller had this memory before, and it has
    /// not been written since. Logs a failure. Doesn't wait for memory.
    ///
    /// # Errors
    ///
    /// If the command failed: the controller doesn't have the memory, unless the command timed out.
    /// Then the controller may have it until it is disabled; the admin queue keeps it until the
    /// controller answers.
    pub(crate) fn lend(&self, memory: &Arc<HostMemory>, again: bool) -> Result<(), CommandError> {
        let (count, list) = (memory.chunks.len() as u32, memory.list.dma_address());
        let command =
            Command::set_features_host_memory(Cid::UNSET, again, memory.pages, list, count);
        self.run(command, Some(memory.clone()))?;
        Ok(())
    }

    /// Has the controller give its memory back (before a shutdown). Logs a failure.
    ///
    /// # Errors
    ///
    /// If the command failed: the controller may have the memory until it is disabled.
    pub(crate) fn take_back(&self) -> Result<(), CommandError> {
        self.run(Command::set_features_no_host_memory(Cid::UNSET), None)?;
        Ok(())
    }
}
