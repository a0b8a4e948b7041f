// SPDX-License-Identifier: GPL-2.0

//! Shadow doorbells: doorbells in memory that the controller polls. By an event index the
//! controller requests a write of the register when it stops polling (Base 5.8, B.5). `queue`
//! writes them, `life` configures them.

use crate::abstractions::atomic::{
    AtomicBool,
    Ordering, //
};
use crate::{
    abstractions::{
        dma::{
            Word,
            Words,
            BUFFER_SIZE, //
        },
        sync::{
            dma_release_barrier,
            full_barrier, //
        },
    },
    nvme::{
        host::dbbuf,
        spec::command::Command,
        spec::id::{
            Cid,
            Qid, //
        }, //
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

/// The shadow doorbell buffer and the event index buffer of a controller.
pub(crate) struct Buffers {
    doorbells: Arc<Words>,
    events: Arc<Words>,
    stride: u32,
}

impl Buffers {
    /// Allocates the buffers for the queues up to `max_qid`. Doorbells are `stride` bytes apart.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the doorbells don't fit into a page, `ENOMEM`.
    pub(crate) fn new(dev: &device::Device<Bound>, max_qid: Qid, stride: u32) -> Result<Self> {
        if dbbuf::bytes(max_qid, stride) > BUFFER_SIZE {
            return Err(EINVAL);
        }
        Ok(Self {
            doorbells: Words::new(dev)?,
            events: Words::new(dev)?,
            stride,
        })
    }

    /// Clears the buffers, and returns the command that configures them. The controller must not be
    /// using the buffers.
    pub(crate) fn configure(&self) -> Command {
        self.doorbells.clear();
        self.events.clear();
        Command::doorbell_buffer_config(
            Cid::UNSET,
            self.doorbells.dma_address(),
            self.events.dma_address(),
        )
    }
}

/// A doorbell's shadow, if the doorbell has one.
pub(crate) struct Shadow {
    /// The controller uses the buffers.
    on: AtomicBool,
    /// The doorbell, and its event index.
    words: Option<(Word, Word)>,
}

impl Shadow {
    /// The shadow of a submission or completion doorbell; none without `buffers`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the doorbell isn't in the buffers.
    pub(crate) fn new(buffers: Option<&Buffers>, qid: Qid, completion: bool) -> Result<Self> {
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

    /// Sets whether the controller uses the buffers. The queue must be empty, and is opened later: this
    /// store is seen by those who see the queue open, and with the completion of what they submit.
    pub(crate) fn set_on(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
    }

    /// Whether there is a shadow, and the controller uses it.
    pub(crate) fn is_on(&self) -> bool {
        self.words.is_some() && self.on.load(Ordering::Relaxed)
    }

    /// Updates the shadow from `old` to `new`, and returns whether the caller must write the
    /// register. The caller has written the ring entries before, or has read them.
    #[inline(always)]
    pub(crate) fn update(&self, old: u16, new: u16) -> bool {
        let Some((doorbell, event)) = &self.words else {
            return true;
        };
        dma_release_barrier();
        doorbell.write(new.into());
        // Pairs with the controller's: it writes the event index and then reads the doorbell, so
        // either the driver or the controller sees the other's write.
        full_barrier();
        // An index has 16 bits. While the controller doesn't use the buffers, always write the
        // register.
        dbbuf::need_event(event.read() as u16, new, old) || !self.on.load(Ordering::Relaxed)
    }
}
