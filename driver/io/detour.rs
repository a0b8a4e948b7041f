// SPDX-License-Identifier: GPL-2.0

//! The detour: requests of I/O queues that the controller doesn't have, carried by the first I/O
//! queue.
//!
//! After a reset the controller may have fewer I/O queues than before. The block layer then gets
//! fewer hardware queues, but only after all requests have completed, also those of the lost queues.
//! Until then the first queue carries these requests. Meanwhile the first queue's own requests take
//! the detour, too, because the ring has no room for both. `life` opens and closes the detour.

use super::{
    IoQueue,
    NvmeOps, //
};
use crate::{
    abstractions::{
        atomic::{
            AtomicBool,
            Ordering, //
        },
        block::mq::{
            Guests,
            Request,
            Status,
            Tag, //
        },
    },
    driver::queue::stats::Kind,
    nvme::spec::{
        command::Command,
        id::Cid, //
    },
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// The maximum number of requests on the detour at once.
const MAX_GUESTS: u16 = 16;

/// The detour, as a queue sees it.
pub(super) enum Detour {
    /// This is the first queue, which carries the requests. `open` changes under the submission lock,
    /// which orders it; without the lock it is a hint.
    Here {
        open: AtomicBool,
        guests: Guests<NvmeOps>,
    },
    /// The first queue.
    By(Arc<IoQueue>),
}

impl Detour {
    /// The detour of a queue for `tags` requests; `first` is the first queue, unless this is the
    /// first queue.
    pub(super) fn new(first: Option<Arc<IoQueue>>, tags: u16) -> Result<Self> {
        Ok(match first {
            Some(first) => Self::By(first),
            None => Self::Here {
                open: AtomicBool::new(false),
                // No more than fit into the ring.
                guests: Guests::new(tags, tags.min(MAX_GUESTS))?,
            },
        })
    }

    /// The requests on the detour, if this is the first queue's, and it is open.
    fn open_guests(&self) -> Option<&Guests<NvmeOps>> {
        match self {
            Self::Here { open, guests } if open.load(Ordering::Relaxed) => Some(guests),
            _ => None,
        }
    }

    /// The requests on the detour, if this is the first queue's.
    pub(super) fn guests(&self) -> Option<&Guests<NvmeOps>> {
        match self {
            Self::Here { guests, .. } => Some(guests),
            Self::By(_) => None,
        }
    }
}

impl IoQueue {
    /// The queue that carries this queue's requests on the detour.
    fn carrier(&self) -> &Self {
        match &self.handler.detour {
            Detour::Here { .. } => self,
            Detour::By(first) => first,
        }
    }

    /// The identity of the request with `tag` on the detour.
    fn guest_key(&self, tag: Tag) -> u32 {
        u32::from(self.config.qid.get()) << 16 | u32::from(tag.get())
    }

    /// Opens or closes the detour, if this is the first queue. No request enters the detour after
    /// it is closed.
    pub(crate) fn set_detour(&self, on: bool) {
        if let Detour::Here { open, .. } = &self.handler.detour {
            self.with_submissions(|| open.store(on, Ordering::Relaxed));
        }
    }

    /// Whether this is the first queue, and the detour is open.
    pub(crate) fn has_detour(&self) -> bool {
        self.handler.detour.open_guests().is_some()
    }

    /// Whether no request is on the detour of this queue.
    pub(crate) fn is_detour_empty(&self) -> bool {
        self.handler.detour.guests().is_none_or(Guests::is_empty)
    }

    /// Whether a request of this closed queue can take the detour.
    #[cold]
    pub(super) fn can_divert(&self) -> bool {
        let guests = self.carrier().handler.detour.open_guests();
        guests.is_some_and(Guests::has_room)
    }

    /// Submits `command` of `rq`, which this queue's table refused, on the detour. If the detour
    /// was closed or filled meanwhile, requeues the request.
    #[cold]
    #[inline(never)]
    pub(super) fn divert(&self, kind: Kind, mut command: Command, rq: Request<NvmeOps>) {
        let (carrier, key) = (self.carrier(), self.guest_key(rq.tag()));
        let submitted = carrier.submit_with(true, || {
            let Some(guests) = carrier.handler.detour.open_guests() else {
                return Err(rq);
            };
            let cid = guests.insert(key, rq)?;
            command.set_cid(Cid::new(cid));
            Ok((kind, command))
        });
        let Err(mut rq) = submitted else { return };
        rq.data().list = None;
        // The table may take requests again by now.
        match self.handler.inflight.fits(&rq) {
            true => rq.requeue(),
            // The tag isn't valid for this queue (should not happen).
            false => rq.end(Status::IoError),
        }
    }

    /// The queue that carries the request with `tag`, and the tag that it has there; `None` if the
    /// request isn't in flight.
    pub(crate) fn locate(&self, tag: Tag) -> Option<(&Self, Tag)> {
        if self.cid_in_flight(tag).is_some() {
            return Some((self, tag));
        }
        let carrier = self.carrier();
        let guests = carrier.handler.detour.guests()?;
        Some((carrier, guests.find(self.guest_key(tag))?))
    }
}
