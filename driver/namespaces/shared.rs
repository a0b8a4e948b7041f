// SPDX-License-Identifier: GPL-2.0

//! Decides which controller has the disk of a namespace that several controllers of a subsystem
//! share, and finds different namespaces with the same identifiers. `disk` claims each namespace here.
//!
//! Two disks of a namespace would be two caches of the same blocks: mounting both destroys the file
//! system. So the first controller that finds a shared namespace claims it for its disk. The others
//! create no disk of it while that disk exists, and scan again when it is removed.

use crate::{
    abstractions::{
        sync::Global,
        workqueue::Task, //
    },
    driver::life::{
        Controller,
        Name, //
    },
    nvme::spec::{
        id::Nsid,
        identify::{
            NamespaceIds,
            Subsystem, //
        },
    },
};
use kernel::{
    alloc::AllocError,
    prelude::*,
    sync::Arc, //
};

/// A namespace, as one of its controllers sees it.
struct Seen {
    subsystem: KBox<Subsystem>,
    /// The namespace identifier (NSID).
    id: Nsid,
    ids: NamespaceIds,
    controller: Name,
    /// Other controllers may have the namespace, too.
    shared: bool,
    /// The disk shows the identifiers.
    shows: bool,
}

impl Seen {
    /// Whether `other` is the same namespace, as another controller sees it.
    fn is_same(&self, other: &Self) -> bool {
        self.shared
            && other.shared
            && self.controller != other.controller
            && self.subsystem.has_both(&other.subsystem)
            // In a subsystem, all controllers use the same NSID for a shared namespace.
            && self.ids.same(&other.ids).unwrap_or(self.id == other.id)
    }

    /// Whether a disk of each may be two disks of one namespace. As the kernel's `nvme`, an identifier
    /// that they have in common suffices, also if their controllers report different subsystems.
    fn excludes(&self, other: &Self) -> bool {
        self.is_same(other)
            || self.shared
                && self.controller != other.controller
                && self.subsystem.has_several()
                && self.has_id_of(other)
    }

    /// Whether they have an identifier in common.
    fn has_id_of(&self, other: &Self) -> bool {
        let (equal, _) = self.ids.compare(&other.ids);
        equal
    }
}

/// All namespaces.
struct Table {
    /// Namespaces that have a disk, or are about to get a disk.
    claimed: KVec<Seen>,
    /// Namespaces that were refused a disk, each with its controller's scan task.
    refused: KVec<(Seen, Arc<Task<Controller>>)>,
}

/// A holder of this lock waits only for memory. No reset takes it.
static TABLE: Global<Table> = Global::new();

/// Initialises the table, when the module is loaded.
pub(crate) fn init() {
    TABLE.init(Table {
        claimed: KVec::new(),
        refused: KVec::new(),
    });
}

/// A claim on a namespace: no other controller creates a disk of this namespace until the claim is
/// dropped.
pub(crate) struct Claim {
    id: Nsid,
    controller: Name,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Some(table) = TABLE.get() else { return };
        let mut table = table.lock();
        let Table { claimed, refused } = &mut *table;

        let claim = claimed
            .iter()
            .position(|seen| seen.controller == self.controller && seen.id == self.id);
        if let Some(Ok(gone)) = claim.map(|i| claimed.remove(i)) {
            refused.retain(|(seen, scan)| {
                let free = seen.excludes(&gone);
                if free {
                    scan.queue();
                }
                !free
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

/// Why a controller may not create a disk of a namespace.
pub(crate) enum Refusal {
    /// Another controller has the disk, as it had at the last scan.
    Again,
    /// Another controller has the disk, and this controller wasn't refused before.
    Taken {
        /// The controller that has the disk.
        controller: Name,
        /// The namespace identifier at that controller.
        id: Nsid,
    },
    /// The claim failed.
    Failed(Error),
}

impl From<AllocError> for Refusal {
    fn from(_: AllocError) -> Self {
        Self::Failed(ENOMEM)
    }
}

/// Claims the namespace `id` with these identifiers for a disk of `controller`; `shared` if other
/// controllers may have it, too. Also returns another namespace whose disk shows the same identifier, if
/// there is one: its controller and its id. Then this disk may not show them.
pub(crate) fn claim(
    controller: &Controller,
    id: Nsid,
    ids: NamespaceIds,
    shared: bool,
) -> Result<(Claim, Option<(Name, Nsid)>), Refusal> {
    let subsystem = controller.subsystem().ok_or(Refusal::Failed(ENODEV))?;
    let name = controller.name();
    let mut seen = Seen {
        subsystem: KBox::new(subsystem, GFP_KERNEL)?,
        id,
        ids,
        controller: name,
        shared,
        shows: true,
    };

    let mut table = TABLE.get().ok_or(Refusal::Failed(ENODEV))?.lock();
    let first = table.claimed.iter().find(|other| seen.excludes(other));
    if let Some(first) = first.filter(|_| !controller.params().shared_namespaces) {
        let taken = Refusal::Taken {
            controller: first.controller,
            id: first.id,
        };
        let known = |(other, _): &(Seen, _)| other.controller == name && other.id == id;
        if table.refused.iter().any(known) {
            return Err(Refusal::Again);
        }
        let scan = controller.scan_task().clone();
        table.refused.push((seen, scan), GFP_KERNEL)?;
        return Err(taken);
    }
    let twin = table
        .claimed
        .iter()
        .find(|other| other.shows && seen.has_id_of(other) && !seen.is_same(other));
    let twin = twin.map(|twin| (twin.controller, twin.id));
    seen.shows = twin.is_none();
    table.claimed.push(seen, GFP_KERNEL)?;
    let claim = Claim {
        id,
        controller: name,
    };
    Ok((claim, twin))
}

/// Forgets the namespaces that `controller` was refused, except those for which `keep` is
/// true.
pub(crate) fn forget_refused(controller: Name, keep: &dyn Fn(Nsid) -> bool) {
    if let Some(table) = TABLE.get() {
        let refused = &mut table.lock().refused;
        refused.retain(|(seen, _)| seen.controller != controller || keep(seen.id));
        if refused.is_empty() {
            *refused = KVec::new();
        }
    }
}
