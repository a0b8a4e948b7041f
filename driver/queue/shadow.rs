// SPDX-License-Identifier: GPL-2.0

//! Shadow doorbells: doorbells in memory, for controllers that look at it by themselves, and ask
//! with an event index for the register where they don't (Base 5.8, B.5).

use crate::{
    abstractions::{
        dma::{
            Word,
            Words,
            BUFFER_SIZE, //
        },
        sync::{
            dma_write_barrier,
            full_barrier, //
        },
    },
    nvme::{
        host::dbbuf, //
        spec::command::Command,
    },
};
use core::sync::atomic::{
    AtomicBool,
    Ordering, //
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    prelude::*,
    sync::Arc, //
};

/// Both buffers, for all queues of a controller.
pub(crate) struct Buffers {
    doorbells: Arc<Words>,
    events: Arc<Words>,
    stride: u32,
}

impl Buffers {
    /// Allocates the buffers for the queues up to `max_qid`, doorbells being `stride` bytes apart.
    ///
    /// # Errors
    ///
    /// `EINVAL` where the doorbells don't fit into a page, `ENOMEM`.
    pub(crate) fn new(dev: &device::Device<Bound>, max_qid: u16, stride: u32) -> Result<Self> {
        if dbbuf::bytes(max_qid, stride) > BUFFER_SIZE {
            return Err(EINVAL);
        }
        Ok(Self {
            doorbells: Words::new(dev)?,
            events: Words::new(dev)?,
            stride,
        })
    }

    /// Empties the buffers, for a controller that doesn't know of them, and returns the command that
    /// tells it.
    pub(crate) fn configure(&self) -> Command {
        self.doorbells.clear();
        self.events.clear();
        Command::doorbell_buffer_config(0, self.doorbells.dma_address(), self.events.dma_address())
    }
}

/// A doorbell's shadow, if it has one.
pub(crate) struct Shadow {
    /// The controller was told of it.
    on: AtomicBool,
    /// The doorbell, and its event index.
    words: Option<(Word, Word)>,
}

impl Shadow {
    /// The doorbell of a submission or completion queue; without `buffers` there is none.
    ///
    /// # Errors
    ///
    /// `EINVAL` where it isn't in the buffers.
    pub(crate) fn new(buffers: Option<&Buffers>, qid: u16, completion: bool) -> Result<Self> {
        let words = match buffers {
            None => None,
            Some(buffers) => {
                let index = dbbuf::offset(qid, completion, buffers.stride) / 4;
                Some((
                    buffers.doorbells.word(index).ok_or(EINVAL)?,
                    buffers.events.word(index).ok_or(EINVAL)?,
                ))
            }
        };
        Ok(Self {
            on: AtomicBool::new(false),
            words,
        })
    }

    /// The controller was told of it, or does not know of it any more. The queue is empty.
    pub(crate) fn set_on(&self, on: bool) {
        self.on.store(on, Ordering::Release);
    }

    /// Whether there is one, and the controller knows of it.
    pub(crate) fn is_on(&self) -> bool {
        self.words.is_some() && self.on.load(Ordering::Relaxed)
    }

    /// Goes on from `old` to `new`, and returns whether the register has to be written. What is in
    /// the ring must have been written before.
    #[inline(always)]
    pub(crate) fn update(&self, old: u16, new: u16) -> bool {
        let Some((doorbell, event)) = &self.words else {
            return true;
        };
        dma_write_barrier();
        doorbell.write(new.into());
        // The controller writes the event index and then looks at the doorbell. One of us sees what
        // the other wrote.
        full_barrier();
        // An index has 16 bits. A controller that wasn't told of the buffers doesn't mind them.
        dbbuf::need_event(event.read() as u16, new, old) || !self.on.load(Ordering::Relaxed)
    }
}
