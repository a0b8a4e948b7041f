// SPDX-License-Identifier: GPL-2.0

//! The data of a user's admin command: memory of the driver's, which the controller accesses in
//! place of the user's.
//!
//! So a killed task or a time-out ends the call at once, while this memory lives until the
//! controller doesn't access it any more. `nvme::host::passthrough` decides about its pages.

use crate::{
    abstractions::dma::{
        Buffer,
        Ring,
        BUFFER_SIZE, //
    },
    driver::io::Memory,
    nvme::{
        host::{
            passthrough::AdminBuffer,
            prp::LIST_ENTRIES,
            uapi::PassthruCmd, //
        },
        spec::command::DataPtr,
    },
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    prelude::*, //
};

/// The data of a command.
pub(super) struct Transfer {
    pages: KVec<Buffer>,
    _list: Ring<1>,
    /// See [`AdminBuffer`].
    _sink: Buffer,
    pointer: DataPtr,
}

impl Transfer {
    /// Allocates the memory for `cmd`, and copies the user's data to it, also for a command that
    /// only receives data: what the controller doesn't write stays the same.
    ///
    /// # Errors
    ///
    /// `EINVAL` for more data than the controller's `limit`, or than the driver's; `ENOMEM`,
    /// `EFAULT`.
    pub(super) fn new(
        dev: &device::Device<Bound>,
        cmd: &PassthruCmd,
        data: Option<&Memory>,
        limit: Option<u64>,
    ) -> Result<Self> {
        let bytes = data.map_or(Some(0), Memory::bytes).ok_or(EINVAL)?;
        let buffer = AdminBuffer::new(&PassthruCmd {
            data_len: u32::try_from(bytes)?,
            ..*cmd
        });
        let buffer = buffer.ok_or(EINVAL)?;
        if limit.is_some_and(|limit| bytes as u64 > limit) {
            return Err(EINVAL);
        }
        let mut pages = KVec::with_capacity(buffer.pages, GFP_KERNEL)?;
        for _ in 0..buffer.pages {
            pages.push_within_capacity(Buffer::new(dev)?)?;
        }
        let mut at = 0;
        for piece in data.into_iter().flat_map(Memory::iter) {
            let mut reader = piece.reader();
            for part in Part::of(&mut at, reader.len()) {
                let page = pages.get_mut(part.page).ok_or(EINVAL)?;
                page.read_user(&mut reader, part.offset, part.len)?;
            }
        }
        let (list, sink) = (Ring::new(dev, LIST_ENTRIES)?, Buffer::new(dev)?);
        let address = |n: usize| pages.get(n).map(Buffer::dma_address);
        for index in 0..LIST_ENTRIES {
            let entry = buffer.entry(index, address, list.dma_address(), sink.dma_address());
            list.write(index, &[entry.to_le()]);
        }
        let second = address(1).filter(|_| buffer.second);
        let pointer = DataPtr::Prp {
            prp1: address(0).ok_or(EINVAL)?,
            prp2: second.unwrap_or(list.dma_address()),
        };
        Ok(Self {
            pages,
            _list: list,
            _sink: sink,
            pointer,
        })
    }

    /// The data pointer of the command.
    pub(super) fn pointer(&self) -> DataPtr {
        self.pointer
    }

    /// Copies the data to the user.
    ///
    /// # Errors
    ///
    /// `EFAULT`.
    pub(super) fn write_user(&self, data: &Memory) -> Result {
        let mut at = 0;
        for piece in data.iter() {
            let mut writer = piece.writer();
            for part in Part::of(&mut at, writer.len()) {
                let page = self.pages.get(part.page).ok_or(EINVAL)?;
                page.write_user(&mut writer, part.offset, part.len)?;
            }
        }
        Ok(())
    }
}

/// The part of a piece of the user's memory that is in one page.
struct Part {
    page: usize,
    offset: usize,
    len: usize,
}

impl Part {
    /// The parts of a piece of `len` bytes that begins at byte `at`, which moves on.
    fn of(at: &mut usize, len: usize) -> impl Iterator<Item = Self> + '_ {
        let mut left = len;
        core::iter::from_fn(move || {
            let (page, offset) = (*at / BUFFER_SIZE, *at % BUFFER_SIZE);
            let len = left.min(BUFFER_SIZE - offset);
            left -= len;
            *at += len;
            (len != 0).then_some(Self { page, offset, len })
        })
    }
}
