// SPDX-License-Identifier: GPL-2.0

//! Creates and updates the disk of a namespace. The scan in `namespaces` calls this.

use super::{
    files::Files,
    generic,
    limits::limits,
    shared::{
        self,
        Refusal, //
    },
    trial::scatter_gather, //
};
use crate::abstractions::atomic::{
    AtomicBool,
    AtomicU32,
    Ordering, //
};
use crate::{
    abstractions::{
        block::mq::{
            Disk,
            GenDisk,
            GenDiskBuilder,
            Limits,
            ShortPath,
            HAS_INTEGRITY, //
        },
        chrdev::Parent, //
    },
    driver::{
        io::{
            Details,
            Namespace,
            NvmeOps,
            Supervisor,
            Trust, //
        },
        life::{
            AttachedDisk,
            Controller,
            Scanning, //
        },
    },
    nvme::{
        host::{
            identity::Identity,
            limits::max_bytes,
            metadata::{
                Blocks,
                Metadata, //
            },
            passthrough::OpenCommands,
            quirks::Quirks, //
        },
        spec::{
            command::Cns,
            id::Nsid,
            identify, //
        },
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

/// Creates the disk of namespace `id`, or updates an existing disk.
///
/// # Errors
///
/// If the namespace can't be identified, or the disk can't be created.
pub(super) fn update_disk(
    controller: &Arc<Controller>,
    scanning: &Scanning<'_>,
    dev: &device::Device<Bound>,
    nvm: &identify::NvmController,
    id: Nsid,
) -> Result {
    let Some((ns, blocks, identity)) = identify_namespace(controller, dev, id)? else {
        // The driver no longer supports this namespace.
        scanning.detach_disks(&|old| old.is_of(id));
        return Ok(());
    };

    // Replace the disk if the format or the identity has changed: after a sleep or a reset, a
    // controller may have other namespaces.
    scanning.detach_disks(&|old| {
        let data = old.disk.data();
        if data.id != id {
            return false;
        }
        let change = identity.change_since(&old.identity);
        if let Some(change) = change {
            warn_limited!(controller.ctrl(), "namespace {}: {}\n", id, change);
        }
        change.is_some() || data.block_shift + 9 != ns.lba_shift || data.details.blocks != blocks
    });

    if let Some(disk) = scanning.identified(id, identity) {
        return refresh_disk(controller, &disk, nvm, &ns);
    }
    // For users' I/O commands. Without the log, these need rights.
    if let Err(ENOMEM) = controller.effects(dev, false, 0) {
        return Err(ENOMEM);
    }
    match make_disk(controller, dev, id, identity, nvm, &ns, blocks)? {
        Some(disk) => scanning.attach_disk(disk),
        None => Ok(()),
    }
}

/// Identifies namespace `id`, and returns its data, blocks and identity; `None`, with a line in the log, if
/// the driver doesn't support it.
// Keeps its large stack frame out of the callers'.
#[inline(never)]
fn identify_namespace(
    controller: &Controller,
    dev: &device::Device<Bound>,
    id: Nsid,
) -> Result<Option<(identify::Namespace, Blocks, Identity)>> {
    let ctrl = controller.ctrl();
    let ids = controller.escalate(ctrl.namespace_ids(dev, id))?;
    if let Some(csi) = ids.csi.filter(|csi| *csi != 0) {
        warn_limited!(
            ctrl,
            "namespace {}: no disk: command set {:#x} is not NVM\n",
            id,
            csi
        );
        return Ok(None);
    }
    // An existing disk's command set was checked before.
    let unknown = ctrl.has_all_command_sets() && ids.csi.is_none();
    if unknown && !controller.disks().any(|disk| disk.data().id == id) {
        warn_limited!(
            ctrl,
            "namespace {}: no disk: its command set is not reported\n",
            id
        );
        return Ok(None);
    }
    let info = controller.info().ok_or(ENODEV)?;
    let max_bytes = max_bytes(ctrl.cap().page_size_min(), &info);
    if max_bytes < Limits::MIN_BYTES {
        warn_limited!(
            ctrl,
            "namespace {}: no disk: MDTS allows transfers of {} KiB, less than a page of this kernel, which has {} KiB\n",
            id,
            max_bytes >> 10,
            Limits::MIN_BYTES >> 10
        );
        return Ok(None);
    }
    let page = controller.escalate(ctrl.identify(dev, Cns::Namespace(id)))?;
    let ns = match identify::Namespace::parse(&page) {
        Ok(ns) => ns,
        Err(error) => {
            warn_limited!(ctrl, "namespace {}: no disk: {}\n", id, error);
            return Ok(None);
        }
    };
    let blocks = Blocks::of(&ns, format(controller, dev, id, &ns)?, HAS_INTEGRITY);
    let mut ids = ids.or(identify::NamespaceIds::of(&ns));
    if ctrl.quirks().has(Quirks::BOGUS_NID) {
        ids = ids.without_ids();
    }
    let device = controller.device_id().ok_or(ENODEV)?;
    Ok(Some((ns, blocks, Identity { device, ids })))
}

/// The size of a disk in sectors of 512 bytes.
fn sectors(ns: &identify::Namespace, metadata: Metadata) -> u64 {
    match metadata {
        Metadata::Unusable => 0,
        _ => ns.capacity_sectors(),
    }
}

/// What the controller says of the format of namespace `id`, if that matters and the controller knows it.
fn format(
    controller: &Controller,
    dev: &device::Device<Bound>,
    id: Nsid,
    ns: &identify::Namespace,
) -> Result<Option<identify::ExtendedFormat>> {
    let known = controller
        .info()
        .is_some_and(|info| info.extended_formats());
    if ns.metadata == 0 || !known {
        return Ok(None);
    }
    let page = controller.escalate(controller.ctrl().identify(dev, Cns::NvmNamespace(id)))?;
    Ok(Some(identify::ExtendedFormat::of(&page, ns.format)))
}

/// Creates the disk of namespace `id`; `None` if another controller has a disk of this namespace.
// Keeps its large stack frame out of the callers'.
#[inline(never)]
fn make_disk(
    controller: &Arc<Controller>,
    dev: &device::Device<Bound>,
    id: Nsid,
    identity: Identity,
    nvm: &identify::NvmController,
    ns: &identify::Namespace,
    blocks: Blocks,
) -> Result<Option<AttachedDisk>> {
    let info = controller.info().ok_or(ENODEV)?;
    let Some((claim, shown)) = claim(controller, id, &identity, ns.shared)? else {
        return Ok(None);
    };
    let set = controller.tag_set().ok_or(ENODEV)?;
    // The trial reads a block without metadata.
    let sgl =
        blocks.metadata.is_none() && scatter_gather(controller, dev, &info, id, ns.lba_shift)?;
    let limits = limits(controller, &info, nvm, ns, sgl, blocks.metadata);
    let data = namespace(controller, id, shown, ns, sgl, blocks, &limits)?;
    let identity = KBox::new(identity, GFP_KERNEL)?;

    let (name, sectors) = (controller.name(), sectors(ns, blocks.metadata));
    if blocks.metadata == Metadata::Unusable {
        warn_limited!(
            controller.ctrl(),
            "namespace {}: a disk of size 0: its blocks have {} bytes of metadata, which only users' commands can transfer\n",
            id,
            ns.metadata
        );
    }
    let control = controller.control().ok_or(ENODEV)?.as_parent();
    let disk = GenDiskBuilder::new(set, fmt!("{name}n{id}"), limits, sectors, data)?;
    // Adding the disk reads its partition table.
    match disk.add_below::<Files>(dev, &control) {
        Ok(disk) => Ok(Some(AttachedDisk {
            _generic: generic(controller, dev, &control, id, &disk),
            disk,
            identity,
            _claim: claim,
        })),
        // Another number would be no remedy: the name would depend on which driver came first.
        Err(EEXIST) => {
            warn_limited!(
                controller.ctrl(),
                "namespace {}: no disk: another driver has a disk {}n{} (EEXIST): unload that driver, or load this one with another first_instance\n",
                id,
                name,
                id
            );
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Claims namespace `id` for a disk; `None`, with a line in the log, if another controller has a disk
/// of it. Also returns the identity that the disk shows: without identifiers that another disk shows.
fn claim(
    controller: &Controller,
    id: Nsid,
    identity: &Identity,
    shared: bool,
) -> Result<Option<(KBox<dyn Send + Sync>, Identity)>> {
    let ctrl = controller.ctrl();
    match shared::claim(controller, id, identity.ids, shared) {
        Ok((claim, twin)) => {
            let mut shown = *identity;
            if let Some((owner, other)) = twin {
                warn_limited!(
                    ctrl,
                    "namespace {}: {}n{} has the same identifiers: this disk goes without\n",
                    id,
                    owner,
                    other
                );
                shown.ids = shown.ids.without_ids();
            }
            Ok(Some((KBox::new(claim, GFP_KERNEL)?, shown)))
        }
        Err(Refusal::Again) => Ok(None),
        Err(Refusal::Taken {
            controller: owner,
            id: other,
        }) => {
            warn_limited!(
                ctrl,
                "namespace {}: no disk: it is shared, and {}n{} is its disk (shared_namespaces=1 allows both)\n",
                id,
                owner,
                other
            );
            Ok(None)
        }
        Err(Refusal::Failed(error)) => Err(error),
    }
}

/// The generic device of namespace `id`. The disk does without it.
fn generic(
    controller: &Arc<Controller>,
    dev: &device::Device<Bound>,
    control: &Parent,
    id: Nsid,
    disk: &GenDisk<NvmeOps>,
) -> Option<KBox<dyn Send + Sync>> {
    let device = generic::create(controller, dev, control, id, disk.reference());
    match device.and_then(|device| Ok(KBox::new(device, GFP_KERNEL)?)) {
        Ok(device) => Some(device),
        Err(error) => {
            warn_limited!(
                controller.ctrl(),
                "namespace {}: no generic device: {:?}\n",
                id,
                error
            );
            None
        }
    }
}

/// What the I/O path and the disk's files know of namespace `id`.
fn namespace(
    controller: &Arc<Controller>,
    id: Nsid,
    identity: Identity,
    ns: &identify::Namespace,
    sgl: bool,
    blocks: Blocks,
    limits: &Limits,
) -> Result<Namespace> {
    Ok(Namespace {
        id,
        block_shift: ns.lba_shift - 9,
        sgl,
        path: ShortPath::new(blocks.metadata.is_none()),
        trust: AtomicU32::new(Trust::Sure as u32),
        open: OpenCommands::new(blocks.format, |opcode| controller.io_effects(opcode)),
        zeroes_deallocate: AtomicBool::new(limits.write_zeroes_unmap),
        supervisor: controller.clone(),
        details: KBox::new(Details::new(identity, blocks, ns.nuse), GFP_KERNEL)?,
    })
}

/// Updates a disk's limits and capacity, which a format, a new firmware or another host may have
/// changed.
fn refresh_disk(
    controller: &Controller,
    disk: &Disk<NvmeOps>,
    nvm: &identify::NvmController,
    ns: &identify::Namespace,
) -> Result {
    let info = controller.info().ok_or(ENODEV)?;
    let data = disk.data();
    data.set_trust(Trust::Sure);
    let sectors = sectors(ns, data.details.blocks.metadata);
    let limits = limits(
        controller,
        &info,
        nvm,
        ns,
        data.sgl,
        data.details.blocks.metadata,
    );

    data.zeroes_deallocate
        .store(limits.write_zeroes_unmap, Ordering::Relaxed);
    disk.set_limits(limits)?;
    if disk.capacity() != sectors {
        log_limited!(
            dev_info,
            controller.ctrl(),
            "namespace {}: {} sectors\n",
            data.id,
            sectors
        );
        disk.set_capacity(sectors);
    }
    Ok(())
}
