// SPDX-License-Identifier: GPL-2.0

//! Self-encrypting disks: whether the controller speaks Opal, which is asked at the first scan, because
//! a start must not wait for memory; and what then follows from ioctls and from a sleep. The kernel's
//! code speaks the protocol; this file carries its messages.

use super::Controller;
use crate::{
    abstractions::{
        chrdev::Ioctl,
        dma::Ring,
        opal::{
            Messenger,
            OpalDev, //
        },
    },
    nvme::spec::security::Message,
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    prelude::*,
    sync::Arc, //
};

/// The longest message in words of 64 bits. The kernel's code sends and receives 2048 bytes.
const WORDS: usize = 512;

/// What is known of a controller.
#[derive(Default)]
pub(super) enum Opal {
    /// It wasn't asked yet.
    #[default]
    Unknown,
    /// It doesn't speak Opal.
    Absent,
    /// It does. The kernel's device holds the controller, until [`Controller::release`].
    Present(Arc<OpalDev<Carrier>>),
}

/// Carries messages to a controller.
pub(super) struct Carrier {
    controller: Arc<Controller>,
    /// The message. One at a time is carried; after a time-out, a controller that still uses the memory
    /// finds another one there.
    memory: Arc<Ring<1>>,
}

impl Carrier {
    /// Runs the command for `message`, whose content is or will be in the memory.
    fn run(&self, message: Message, send: bool) -> Result<u16> {
        let (controller, memory) = (&self.controller, &self.memory);
        match controller.ctrl.security(message, send, memory) {
            Ok(status) => Ok(status.0),
            Err(error) => controller.escalate(Err(error)),
        }
    }
}

/// The message with these properties.
///
/// # Errors
///
/// `EINVAL` if it is too long.
fn message(protocol: u8, specific: u16, bytes: usize) -> Result<Message> {
    if bytes > WORDS * size_of::<u64>() {
        return Err(EINVAL);
    }
    Ok(Message {
        protocol,
        specific,
        bytes: bytes.try_into()?,
    })
}

impl Messenger for Carrier {
    fn send(&self, protocol: u8, specific: u16, content: &[u8]) -> Result<u16> {
        let message = message(protocol, specific, content.len())?;
        for (index, bytes) in content.chunks(size_of::<u64>()).enumerate() {
            let mut word = [0; size_of::<u64>()];
            word.iter_mut()
                .zip(bytes)
                .for_each(|(to, from)| *to = *from);
            self.memory.write(index, &[u64::from_ne_bytes(word)]);
        }
        let status = self.run(message, true);
        // It may have a password.
        self.memory.clear();
        status
    }

    fn receive(&self, protocol: u8, specific: u16, content: &mut [u8]) -> Result<u16> {
        let message = message(protocol, specific, content.len())?;
        self.memory.clear();
        let status = self.run(message, false)?;
        for (index, bytes) in content.chunks_mut(size_of::<u64>()).enumerate() {
            let [word] = self.memory.entry(index).ok_or(EINVAL)?;
            let word = word.to_ne_bytes();
            bytes.iter_mut().zip(word).for_each(|(to, from)| *to = from);
        }
        Ok(status)
    }
}

impl Controller {
    /// Asks a controller with security commands whether it speaks Opal, unless that was done before.
    /// Called by the scan; waits for memory.
    pub(crate) fn find_opal(self: &Arc<Self>, dev: &device::Device<Bound>) {
        let able = self.info().is_some_and(|info| info.security());
        let is_due = matches!(self.parts.lock().opal, Opal::Unknown);
        if !able || !is_due {
            return;
        }
        let found = Ring::new(dev, WORDS)
            .and_then(|memory| Ok(Arc::new(memory, GFP_KERNEL)?))
            .and_then(|memory| {
                OpalDev::find(Carrier {
                    controller: self.clone(),
                    memory,
                })
            });
        let Some(_live) = self.hold_live() else {
            return;
        };
        let opal = match found {
            Ok(Some(opal)) => Arc::new(opal, GFP_KERNEL).map_or(Opal::Absent, Opal::Present),
            Ok(None) | Err(_) => Opal::Absent,
        };
        self.parts.lock().opal = opal;
    }

    /// Answers an ioctl for Opal, see [`OpalDev::ioctl`].
    pub(super) fn opal_ioctl(&self, call: &Ioctl) -> Result<isize> {
        OpalDev::ioctl(self.opal().as_deref(), call)
    }

    fn opal(&self) -> Option<Arc<OpalDev<Carrier>>> {
        match &self.parts.lock().opal {
            Opal::Present(opal) => Some(opal.clone()),
            Opal::Unknown | Opal::Absent => None,
        }
    }

    /// After a sleep, in which the controller had no power, unlocks what user space has asked to be
    /// unlocked. Doesn't wait for memory.
    pub(super) fn unlock_after_sleep(&self) {
        let slept = core::mem::take(&mut self.parts.lock().slept);
        let Some(opal) = self.opal().filter(|_| slept) else {
            return;
        };
        if !opal.unlock_after_sleep() {
            warn_limited!(self.ctrl, "Opal: a range is still locked after the sleep\n");
        }
    }
}
