// SPDX-License-Identifier: GPL-2.0

//! The list of a controller's disks. A scan in `namespaces` changes it, and a removal empties it;
//! `events` has the disks frozen and marked dead.

use super::Controller;
use crate::{
    abstractions::{
        atomic::Ordering,
        block::mq::{
            Disk,
            GenDisk, //
        },
        sync::without_io, //
    },
    driver::io::{
        NvmeOps,
        Trust, //
    },
    nvme::{
        host::{
            identity::Identity,
            life::State, //
        },
        spec::id::Nsid,
    },
};
use kernel::{
    prelude::*,
    sync::MutexGuard,
    time::{
        Instant,
        Monotonic, //
    }, //
};

/// How long a freeze waits for requests in flight to complete, in milliseconds.
const DRAIN_TIMEOUT_MS: u32 = 5000;

/// The disk of a namespace, and the namespace's identity. Dropping this removes the disk. Nobody
/// shares it, because the last owner could be a task that keeps the removal from ending.
pub(crate) struct AttachedDisk {
    /// The disk; dropped before the next fields.
    pub(crate) disk: GenDisk<NvmeOps>,
    /// The generic device, if it could be created.
    pub(crate) _generic: Option<KBox<dyn Send + Sync>>,
    /// All identifiers that the controller has reported for the namespace.
    pub(crate) identity: KBox<Identity>,
    /// Keeps other controllers from making a disk of the namespace.
    pub(crate) _claim: KBox<dyn Send + Sync>,
}

impl AttachedDisk {
    /// Whether this is the disk of namespace `id`.
    pub(crate) fn is_of(&self, id: Nsid) -> bool {
        self.disk.data().id == id
    }
}

/// The right to change the list of disks: its owner holds the lock `scanning`.
pub(crate) struct Scanning<'a> {
    /// The controller whose disks these are.
    pub(super) controller: &'a Controller,
    _held: MutexGuard<'a, ()>,
}

impl Scanning<'_> {
    /// A scan has ended: gives the right back, and wakes who waits for the scan.
    pub(crate) fn end(self) {
        let Self { controller, _held } = self;
        drop(_held);
        controller.scanned.complete();
    }

    /// Reserves capacity for `count` disks.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn reserve_disks(&self, count: usize) -> Result {
        if self.controller.parts.lock().disks.capacity() >= count {
            return Ok(());
        }
        // Without the lock: reclaim may wait for a reset, which takes it.
        let mut disks = KVec::with_capacity(count, GFP_KERNEL)?;
        let mut parts = self.controller.parts.lock();
        for disk in core::mem::take(&mut parts.disks) {
            disks.push_within_capacity(disk)?;
        }
        parts.disks = disks;
        Ok(())
    }

    /// Adds a disk, for which the caller has reserved capacity.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if there is no capacity left.
    pub(crate) fn attach_disk(&self, attached: AttachedDisk) -> Result {
        let disk = attached.disk.share();
        let pushed = {
            let mut parts = self.controller.parts.lock();
            // The tag set has the time limit of the bind.
            disk.set_time_limit(self.controller.io_timeout_ms());
            parts.disks.push_within_capacity(attached)
        };
        // Without the lock, because a failure removes the disk.
        pushed?;
        // If the controller became dead meanwhile, mark_disks_dead() may have missed this disk.
        if self.controller.state() == State::Dead {
            disk.mark_dead();
        }
        Ok(())
    }

    /// The disk of namespace `id`, if there is one; it has the identifiers of `identity` from now
    /// on, completed by those that it had.
    pub(crate) fn identified(&self, id: Nsid, identity: Identity) -> Option<Disk<NvmeOps>> {
        let mut parts = self.controller.parts.lock();
        let attached = parts.disks.iter_mut().find(|old| old.is_of(id))?;
        *attached.identity = identity.or(&attached.identity);
        Some(attached.disk.share())
    }

    /// Removes the disks for which `which` is true, and marks them dead, because their namespaces
    /// accept no more commands. Needs no memory of the driver's: a disk that stays would be used with
    /// what its namespace was.
    pub(crate) fn detach_disks(&self, which: &dyn Fn(&AttachedDisk) -> bool) {
        let parts = || self.controller.parts.lock();

        // Both without the lock, because they may take long; and all are dead before the first goes,
        // because a file system may use several.
        let share = |i| parts().disks.get(i).map(|at| (which(at), at.disk.share()));
        for (goes, disk) in (0..).map_while(share) {
            if goes {
                // First, because requests that wait for a scan would keep the removal waiting.
                disk.data().set_trust(Trust::Gone);
                disk.mark_dead();
            }
        }
        let take = || {
            let mut parts = parts();
            let i = parts.disks.iter().position(which)?;
            parts.disks.remove(i).ok()
        };
        while let Some(gone) = take() {
            drop(gone);
        }
        // mark_disks_dead() skips a disk if one before it goes.
        if self.controller.state() == State::Dead {
            self.controller.mark_disks_dead();
        }
    }
}

impl Controller {
    /// Locks the list of disks against other changes. Sleeps.
    pub(crate) fn lock_disks(&self) -> Scanning<'_> {
        Scanning {
            controller: self,
            _held: self.scanning.lock(),
        }
    }

    /// The number of disks.
    pub(crate) fn disk_count(&self) -> usize {
        self.parts.lock().disks.len()
    }

    /// The disks, one at a time and without holding their lock. If a disk is removed meanwhile, the
    /// iteration may skip others.
    pub(crate) fn disks(&self) -> impl Iterator<Item = Disk<NvmeOps>> + '_ {
        (0..).map_while(|i| Some(self.parts.lock().disks.get(i)?.disk.share()))
    }

    /// Sets the time limit of requests that have none of their own, in milliseconds: of those that
    /// begin from now on.
    pub(crate) fn set_io_timeout(&self, ms: u32) {
        let parts = self.parts.lock();
        self.io_timeout_ms.store(ms, Ordering::Relaxed);
        for disk in &parts.disks {
            disk.disk.set_time_limit(ms);
        }
    }

    /// Marks all disks dead, so that they fail every later request. The caller has ended all
    /// requests. If the scan is adding a disk, attach_disk() marks that disk dead.
    pub(super) fn mark_disks_dead(&self) {
        // The block layer allocates memory for uevents. Without I/O, because reclaim could wait for
        // a disk (by a loop device, for example) whose reset needs a lock that the caller holds.
        without_io(|| self.disks().for_each(|disk| disk.mark_dead()));
        // There will be no more scan: don't let announce() wait for it.
        self.scanned.complete();
    }

    /// Freezes the disks, and waits up to [`DRAIN_TIMEOUT_MS`] for requests in flight. Returns
    /// whether all have completed.
    pub(super) fn freeze_disks(&self) -> bool {
        let parts = self.parts.lock();
        let mut left_ms = DRAIN_TIMEOUT_MS;

        for disk in &parts.disks {
            disk.disk.freeze();
        }
        for disk in &parts.disks {
            let start = Instant::<Monotonic>::now();
            if !disk.disk.is_idle_within(left_ms) {
                return false;
            }
            left_ms = left_ms.saturating_sub(start.elapsed().as_millis() as u32);
        }
        true
    }

    /// Undoes [`freeze_disks`](Self::freeze_disks).
    pub(super) fn thaw_disks(&self) {
        for disk in &self.parts.lock().disks {
            disk.disk.thaw();
        }
    }

    /// Removes the disks. File systems on them write back dirty data, if the queues still work.
    pub(super) fn remove_disks(&self) {
        // Without the lock, because this may take long.
        let disks = core::mem::take(&mut self.parts.lock().disks);
        drop(disks);
    }
}
