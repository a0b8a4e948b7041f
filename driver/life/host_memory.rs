// SPDX-License-Identifier: GPL-2.0

//! When a controller may borrow memory of the host: from its first scan on, because a start must not
//! wait for memory; after a reset the same memory again; not while it sleeps, and not while the
//! administrator forbids it.

use super::Controller;
use crate::abstractions::series::EOPNOTSUPP;
use crate::{
    driver::ctrl::{
        admin::CommandError,
        host_memory::HostMemory, //
    },
    nvme::host::{
        host_memory::Wish,
        life::State, //
    }, //
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    prelude::*,
    sync::Arc, //
};

/// The memory that a controller borrows.
#[derive(Default)]
pub(super) enum Lent {
    /// None yet.
    #[default]
    Nothing,
    /// This.
    Memory(Arc<HostMemory>),
    /// The controller may have this, until it is disabled: it didn't answer in time.
    Doubtful(Arc<HostMemory>),
    /// None, and it isn't offered again: the controller has refused it, there is too little, or the
    /// administrator has taken it back.
    Refused,
}

impl Lent {
    /// The state after the controller gave `answer` to the offer of `memory`.
    fn after(memory: Arc<HostMemory>, answer: Result<(), CommandError>) -> Self {
        match answer {
            Ok(()) => Self::Memory(memory),
            Err(CommandError::Timeout) => Self::Doubtful(memory),
            Err(error) if error.is_refusal() => Self::Refused,
            // It was stopped, or refused only for now: the next scan offers memory.
            Err(_) => Self::Nothing,
        }
    }

    /// What the controller has, or may have.
    fn memory(&self) -> Option<&Arc<HostMemory>> {
        match self {
            Self::Memory(memory) | Self::Doubtful(memory) => Some(memory),
            Self::Nothing | Self::Refused => None,
        }
    }
}

impl Controller {
    /// Lends memory to a controller that asks for it, unless that was done before. Called by the scan;
    /// waits for memory.
    pub(crate) fn lend_memory(&self, dev: &device::Device<Bound>) {
        let is_due = matches!(self.parts.lock().lent, Lent::Nothing);
        let (Some(wish), true) = (self.wish(), is_due) else {
            return;
        };
        let memory =
            HostMemory::new(dev, wish).and_then(|memory| Ok(Arc::new(memory, GFP_KERNEL)?));
        let Some(_live) = self.hold_live() else {
            return;
        };
        // A start may have lent other memory again meanwhile.
        if !matches!(self.parts.lock().lent, Lent::Nothing) {
            return;
        }
        let lent = match memory {
            Ok(memory) => {
                let answer = self.ctrl.lend(&memory, false);
                let _ = self.escalate(answer);
                Lent::after(memory, answer)
            }
            Err(error) => {
                log_limited!(
                    dev_info,
                    self.ctrl,
                    "no memory to lend ({} KiB): {:?}\n",
                    wish.least >> 10,
                    error
                );
                Lent::Refused
            }
        };
        if let Lent::Memory(memory) = &lent {
            log_limited!(
                dev_info,
                self.ctrl,
                "lent {} KiB of memory\n",
                memory.bytes() >> 10
            );
        }
        self.parts.lock().lent = lent;
    }

    /// The memory that the controller asks for; `None` if it asks for none, or the parameters
    /// forbid it.
    fn wish(&self) -> Option<Wish> {
        Wish::new(&self.info()?, self.params.max_host_memory())
    }

    /// Lends memory to the controller, or takes it back until this lends it again, as the
    /// administrator asks. Sleeps; the caller holds no lock.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the controller isn't live, or may still have memory; `EIO` if it refuses, or
    /// there is too little memory; to lend, `EOPNOTSUPP` if the controller asks for no memory, or
    /// the parameters forbid it.
    pub(crate) fn set_lending(&self, on: bool) -> Result {
        if !on {
            // A scan doesn't lend memory meanwhile.
            let _scanning = self.lock_disks();
            let _live = self.hold_live().ok_or(EBUSY)?;
            // After any other error the controller may still have the memory.
            self.take_memory_back()
                .map_err(|error| if error == EIO { EIO } else { EBUSY })?;
            let memory = core::mem::replace(&mut self.parts.lock().lent, Lent::Refused);
            drop(memory);
            return Ok(());
        }
        self.wish().ok_or(EOPNOTSUPP)?;
        if self.state() != State::Live {
            return Err(EBUSY);
        }
        {
            let lent = &mut self.parts.lock().lent;
            match lent {
                Lent::Memory(_) => return Ok(()),
                Lent::Doubtful(_) => return Err(EBUSY),
                Lent::Nothing | Lent::Refused => *lent = Lent::Nothing,
            }
        }
        self.scan_and_wait();
        match self.parts.lock().lent {
            Lent::Memory(_) => Ok(()),
            Lent::Refused => Err(EIO),
            // The controller didn't answer, or was stopped meanwhile.
            Lent::Nothing | Lent::Doubtful(_) => Err(EBUSY),
        }
    }

    /// Lends the same memory again, which the controller doesn't have: after a reset, or after a rest.
    /// Doesn't wait for memory.
    pub(super) fn lend_again(&self) {
        let memory = {
            let lent = &mut self.parts.lock().lent;
            match core::mem::replace(lent, Lent::Refused) {
                Lent::Memory(memory) => memory,
                // A controller that doesn't answer does without.
                Lent::Doubtful(_) => return,
                other => {
                    *lent = other;
                    return;
                }
            }
        };
        let answer = self.ctrl.lend(&memory, true);
        // During a start, `escalate` requests no reset: the controller may work without the memory.
        let _ = self.escalate(answer);
        self.parts.lock().lent = Lent::after(memory, answer);
    }

    /// Has the controller give the memory back, if it has any.
    ///
    /// # Errors
    ///
    /// Those of the command: the controller may have the memory until it is disabled.
    pub(super) fn take_memory_back(&self) -> Result {
        if self.parts.lock().lent.memory().is_none() {
            return Ok(());
        }
        self.escalate(self.ctrl.take_back())?;
        let lent = &mut self.parts.lock().lent;
        if matches!(lent, Lent::Doubtful(_)) {
            *lent = Lent::Refused;
        }
        Ok(())
    }

    /// The memory that the controller has borrowed, or may have, in bytes.
    pub(crate) fn lent_bytes(&self) -> u64 {
        let parts = self.parts.lock();
        parts.lent.memory().map_or(0, |memory| memory.bytes())
    }
}
