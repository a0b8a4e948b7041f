// SPDX-License-Identifier: GPL-2.0

//! Which controller has the disk of a namespace that controllers of one subsystem share.
//!
//! Two disks of one namespace would be two caches of the same blocks: whoever mounts both destroys the
//! file system. So the first controller that sees a shared namespace claims it for its disk. The others
//! have no disk while that one exists, and look for their namespaces again when it is gone.

use crate::{
    abstractions::{
        sync::Global,
        work::Task, //
    },
    driver::life::Controller,
    nvme::spec::identify::{
        NamespaceIds,
        Subsystem, //
    },
};
use kernel::{
    alloc::AllocError,
    prelude::*,
    sync::Arc, //
};

/// A shared namespace, as one of its controllers sees it.
struct Seen {
    subsystem: KBox<Subsystem>,
    /// The namespace identifier (NSID).
    id: u32,
    ids: NamespaceIds,
    /// The controller's number.
    instance: usize,
}

impl Seen {
    /// Whether `other` is the same namespace, seen by another controller.
    fn is_same(&self, other: &Self) -> bool {
        self.instance != other.instance
            && self.subsystem.has_both(&other.subsystem)
            // An NSID stands for the same shared namespace at all controllers of a subsystem.
            && self.ids.same(&other.ids).unwrap_or(self.id == other.id)
    }
}

/// All shared namespaces.
struct Table {
    /// Those that are a disk, or become one.
    claimed: KVec<Seen>,
    /// Those that are no disk, each with the scan that finds it again.
    refused: KVec<(Seen, Arc<Task<Controller>>)>,
}

/// Not held while anything is waited for but memory. No reset takes this lock.
static TABLE: Global<Table> = Global::new();

/// Makes the table, when the module is loaded.
pub(crate) fn init() {
    TABLE.init(Table {
        claimed: KVec::new(),
        refused: KVec::new(),
    });
}

/// What the disk of a shared namespace holds: no other controller makes it a disk until this is
/// dropped.
pub(crate) struct Claim {
    id: u32,
    instance: usize,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Some(table) = TABLE.get() else { return };
        let mut table = table.lock();
        let Table { claimed, refused } = &mut *table;

        let claim = claimed
            .iter()
            .position(|seen| seen.instance == self.instance && seen.id == self.id);
        if let Some(Ok(gone)) = claim.map(|i| claimed.remove(i)) {
            refused.retain(|(seen, scan)| {
                let same = seen.is_same(&gone);
                if same {
                    scan.queue();
                }
                !same
            });
        }
        if claimed.is_empty() {
            *claimed = KVec::new();
        }
        if refused.is_empty() {
            *refused = KVec::new();
        }
    }
}

/// Why a controller may not make a disk of a namespace.
pub(crate) enum Refusal {
    /// The controller of this number has it as this namespace. That was so before.
    Again,
    /// As above, and it wasn't so before.
    Taken {
        /// The number of the controller that has the disk.
        instance: usize,
        /// Its namespace identifier there.
        id: u32,
    },
    /// It can't be found out.
    Failed(Error),
}

impl From<AllocError> for Refusal {
    fn from(_: AllocError) -> Self {
        Self::Failed(ENOMEM)
    }
}

/// Claims the shared namespace `id` with these identifiers for a disk of `controller`.
pub(crate) fn claim(controller: &Controller, id: u32, ids: NamespaceIds) -> Result<Claim, Refusal> {
    let subsystem = controller.subsystem().ok_or(Refusal::Failed(ENODEV))?;
    let instance = controller.instance();
    let seen = Seen {
        subsystem: KBox::new(subsystem, GFP_KERNEL)?,
        id,
        ids,
        instance,
    };

    let mut table = TABLE.get().ok_or(Refusal::Failed(ENODEV))?.lock();
    if let Some(first) = table.claimed.iter().find(|other| seen.is_same(other)) {
        let taken = Refusal::Taken {
            instance: first.instance,
            id: first.id,
        };
        let known = |(other, _): &(Seen, _)| other.instance == instance && other.id == id;
        if table.refused.iter().any(known) {
            return Err(Refusal::Again);
        }
        let scan = controller.scan_task().clone();
        table.refused.push((seen, scan), GFP_KERNEL)?;
        return Err(taken);
    }
    table.claimed.push(seen, GFP_KERNEL)?;
    Ok(Claim { id, instance })
}

/// Forgets the namespaces of controller `instance` that it was refused, but those that `keep` names.
pub(crate) fn forget_refused(instance: usize, keep: impl Fn(u32) -> bool) {
    if let Some(table) = TABLE.get() {
        let refused = &mut table.lock().refused;
        refused.retain(|(seen, _)| seen.instance != instance || keep(seen.id));
        if refused.is_empty() {
            *refused = KVec::new();
        }
    }
}
