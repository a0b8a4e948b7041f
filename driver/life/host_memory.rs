// SPDX-License-Identifier: GPL-2.0

//! When a controller may borrow memory of the host: from its first scan on, because a start must not
//! wait for memory; after a reset the same memory again; not while it sleeps.

use super::Controller;
use crate::{
    driver::ctrl::host_memory::HostMemory,
    nvme::host::host_memory::Wish, //
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
    /// None, and it isn't offered again: the controller has refused it, or there is too little.
    Refused,
}

impl Controller {
    /// Lends memory to a controller that asks for it, unless that was done before. Called by the scan;
    /// waits for memory.
    pub(crate) fn lend_memory(&self, dev: &device::Device<Bound>) {
        let wish = self
            .info()
            .and_then(|info| Wish::new(&info, self.params.max_host_memory()));
        let is_due = matches!(self.parts.lock().lent, Lent::Nothing);
        let (Some(wish), true) = (wish, is_due) else {
            return;
        };
        let memory =
            HostMemory::new(dev, wish).and_then(|memory| Ok(Arc::new(memory, GFP_KERNEL)?));
        let Some(_live) = self.hold_live() else {
            return;
        };
        let lent = match memory {
            Ok(memory) => match self.escalate(self.ctrl.lend(&memory, false)) {
                Ok(()) => Lent::Memory(memory),
                Err(_) => Lent::Refused,
            },
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

    /// Lends the same memory again, which the controller doesn't have: after a reset, or after a rest.
    /// Doesn't wait for memory.
    pub(super) fn lend_again(&self) {
        let memory = match &self.parts.lock().lent {
            Lent::Memory(memory) => memory.clone(),
            Lent::Nothing | Lent::Refused => return,
        };
        if self.escalate(self.ctrl.lend(&memory, true)).is_err() {
            self.parts.lock().lent = Lent::Refused;
        }
    }

    /// Has the controller give the memory back, if it has any.
    ///
    /// # Errors
    ///
    /// Those of the command: the controller may have the memory until it is disabled.
    pub(super) fn take_memory_back(&self) -> Result {
        let has_some = matches!(self.parts.lock().lent, Lent::Memory(_));
        match has_some {
            true => self.escalate(self.ctrl.take_back()),
            false => Ok(()),
        }
    }

    /// The memory that the controller has borrowed, in bytes.
    pub(crate) fn lent_bytes(&self) -> u64 {
        match &self.parts.lock().lent {
            Lent::Memory(memory) => memory.bytes(),
            Lent::Nothing | Lent::Refused => 0,
        }
    }
}
