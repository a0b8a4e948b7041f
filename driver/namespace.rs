// SPDX-License-Identifier: GPL-2.0

//! A namespace of the controller, and the disk that it is to the system.

use super::{
    controller::{
        Controller,
        Paused, //
    },
    io::{
        Blk,
        MAX_BYTES,
        MAX_DESCRIPTORS, //
    },
    recovery::Cause,
    subsystem::{
        self,
        Claim,
        Refusal, //
    }, //
};
use crate::{
    abstractions::{
        dma::{
            self,
            Buffer, //
        },
        mq::{
            Disk,
            Limits,
            NewDisk, //
        },
    },
    nvme::{
        spec::command::{
            Cns,
            Command,
            DataPtr,
            DsmRange,
            Opcode,
            SglDescriptor, //
        },
        spec::identify,
        host::prp::PAGE_SIZE,
        host::life::State, //
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
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

/// What the I/O path knows of a namespace.
pub(super) struct Namespace {
    pub(super) controller: Arc<Controller>,
    /// The namespace identifier (NSID).
    pub(super) id: u32,
    /// The logical block size is `512 << block_shift` bytes.
    block_shift: u32,
    /// A block that was zeroed with deallocation reads as zeroes.
    pub(super) zeroes_deallocate: AtomicBool,
    /// Commands may have scatter gather lists.
    pub(super) sgl: bool,
    /// What it is recognised by: all that the controller said of it so far. For a scan only.
    identity: Pin<KBox<Mutex<identify::Identity>>>,
    /// Keeps other controllers from making a disk of it.
    _claim: Option<Claim>,
}

impl Namespace {
    /// The logical block of a sector of 512 bytes.
    #[inline]
    pub(super) fn block_of(&self, sector: u64) -> u64 {
        // The shift is 3 at the most; this way it isn't checked again.
        sector.wrapping_shr(self.block_shift)
    }

    /// The number of logical blocks in `bytes`.
    #[inline]
    pub(super) fn blocks_of(&self, bytes: u32) -> u32 {
        (bytes >> 9).wrapping_shr(self.block_shift)
    }
}

/// The limits of a namespace's disk, from what the namespace and its controller say.
fn limits(
    controller: &Controller,
    info: &identify::Controller,
    nvm: &identify::NvmController,
    ns: &identify::Namespace,
    sgl: bool,
) -> Limits {
    let block = 1u32 << ns.lba_shift;
    let scaled = |blocks: u32| blocks.saturating_mul(block);
    // What the block layer can work with, which needs powers of two.
    let power_of_two = |value: u32, other: u32| match value.is_power_of_two() {
        true => value,
        false => other,
    };
    // No value over the greatest count of blocks that a command can have.
    let max_bytes = info
        .max_transfer_bytes(controller.page_size_min())
        .map_or(MAX_BYTES, |max| {
            u32::try_from(max).unwrap_or(MAX_BYTES).min(MAX_BYTES)
        })
        .max(PAGE_SIZE as u32);

    // The controller's own value (AWUPF) is in no certain unit where formats differ, so only that of
    // the namespace counts; a single block is atomic in any case. The block layer wants a power of
    // two, within one request and within the boundary.
    let atomic = scaled(ns.nawupf.unwrap_or(1)).clamp(block, max_bytes);
    let atomic = 1 << atomic.checked_ilog2().unwrap_or(0);
    let chunk = power_of_two(scaled(ns.noiob), 0);
    // Nothing that is written as one may have to be split.
    let atomic = if chunk == 0 {
        atomic
    } else {
        atomic.min(chunk)
    };
    let boundary = scaled(ns.nabspf);
    let atomic_possible =
        ns.nabo == 0 && (boundary == 0 || boundary.is_power_of_two() && boundary >= atomic);

    let range = match nvm.range_blocks {
        0 => u32::MAX,
        blocks => scaled(blocks),
    };
    let write = power_of_two(scaled(ns.npwg), block);

    Limits {
        logical_block_size: block,
        // File systems take it that a physical block is written as a whole or not at all.
        physical_block_size: write.min(atomic),
        io_min: write,
        io_opt: match ns.nows {
            0 | 1 => 0,
            blocks => scaled(blocks),
        },
        max_bytes,
        // With PRPs each piece but the first begins with a page. Pieces in a scatter gather list are
        // as they like, but its descriptors have to fit.
        max_segments: if sgl {
            MAX_DESCRIPTORS
        } else {
            (max_bytes / PAGE_SIZE as u32 + 1).min(u16::MAX.into()) as u16
        },
        virt_boundary: if sgl { 0 } else { PAGE_SIZE as u32 },
        dma_alignment: 4,
        chunk,
        write_cache: info.volatile_write_cache(),
        fua: info.volatile_write_cache(),
        max_discard: if info.dataset_management() {
            range & !(block - 1)
        } else {
            0
        },
        max_discard_ranges: match nvm.ranges {
            0 => DsmRange::MAX as u16,
            ranges => ranges,
        },
        discard_granularity: power_of_two(scaled(ns.npdg), block),
        max_write_zeroes: if info.write_zeroes() { max_bytes } else { 0 },
        write_zeroes_unmap: zeroes_deallocate(ns),
        atomic_write_max: if atomic_possible { atomic } else { 0 },
        atomic_write_boundary: if atomic_possible { boundary } else { 0 },
        read_only: ns.read_only,
    }
}

/// Whether a block that is zeroed may be deallocated: it reads as zeroes then.
fn zeroes_deallocate(ns: &identify::Namespace) -> bool {
    ns.write_zeroes_deallocates() && ns.deallocated_reads_zero()
}

/// Makes the disk of namespace `id`; none where another controller has it as a disk.
fn make_disk(
    controller: Arc<Controller>,
    dev: &device::Device<Bound>,
    id: u32,
    identity: identify::Identity,
    nvm: &identify::NvmController,
    ns: &identify::Namespace,
) -> Result<Option<Disk<Blk>>> {
    let info = controller.info().ok_or(ENODEV)?;
    let claim = match ns.shared && !controller.params.shared_namespaces {
        true => match subsystem::claim(&controller, id, identity.ids) {
            Ok(claim) => Some(claim),
            Err(Refusal::Again) => return Ok(None),
            Err(Refusal::Taken {
                instance,
                id: other,
            }) => {
                warn_limited!(
                    controller,
                    "namespace {}: no disk: it is shared, and rnvme{}n{} is its disk (shared_namespaces=1 allows both)\n",
                    id,
                    instance,
                    other
                );
                return Ok(None);
            }
            Err(Refusal::Failed(error)) => return Err(error),
        },
        false => None,
    };
    let set = controller.parts.lock().set.clone().ok_or(ENODEV)?;
    let sgl = controller.scatter_gather(dev, &info, id, ns.lba_shift)?;
    let limits = limits(&controller, &info, nvm, ns, sgl);
    let instance = controller.instance();
    let data = Namespace {
        controller,
        id,
        block_shift: ns.lba_shift - 9,
        zeroes_deallocate: AtomicBool::new(zeroes_deallocate(ns)),
        sgl,
        identity: KBox::pin_init(new_mutex!(identity), GFP_KERNEL)?,
        _claim: claim,
    };

    NewDisk::new(
        set,
        fmt!("rnvme{instance}n{id}"),
        limits,
        ns.capacity_sectors(),
        data,
    )?
    .add(dev)
    .map(Some)
}

/// Whether scatter gather lists work: nobody has tried, see [`Controller::scatter_gather`].
const SGL_UNKNOWN: u32 = 0;
const SGL_NO: u32 = 1;
const SGL_YES: u32 = 2;

impl Controller {
    /// Whether commands may have scatter gather lists: if the controller says so, and has shown it with
    /// the first block of the first namespace. This is decided before there is a disk, as the queue has
    /// no room for the trial beside all requests; and for good, as the block layer may then make
    /// requests that PRPs can't describe.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the controller is stopped meanwhile, or has to be: there must be no disk yet.
    fn scatter_gather(
        &self,
        dev: &device::Device<Bound>,
        info: &identify::Controller,
        id: u32,
        lba_shift: u32,
    ) -> Result<bool> {
        match self.sgl.load(Ordering::Relaxed) {
            SGL_UNKNOWN => {}
            known => return Ok(known == SGL_YES),
        }
        let works = info.sgls()
            && match self.try_scatter_gather(dev, id, lba_shift) {
                Err(ENOMEM) => {
                    dev_warn!(
                        dev,
                        "driven without scatter gather lists: no memory to try them\n"
                    );
                    false
                }
                works => works?,
            };
        self.sgl
            .store(if works { SGL_YES } else { SGL_NO }, Ordering::Relaxed);
        Ok(works)
    }

    /// Reads a block with each of the forms that are used: one piece, and a list of two.
    fn try_scatter_gather(
        &self,
        dev: &device::Device<Bound>,
        id: u32,
        lba_shift: u32,
    ) -> Result<bool> {
        let queue = self
            .with_queues(|queues| queues.first().cloned())
            .ok_or(ENODEV)?;
        // Not under the lock: freeing memory may wait for a reset, which takes it.
        let (buffer, mut list) = (Buffer::new(dev)?, queue.block()?);
        // The queue isn't stopped meanwhile.
        let paused = self.lifecycle.lock();
        if *paused != Paused::No || self.state() != State::Live {
            return Err(ENODEV);
        }
        let (addr, half) = (buffer.dma_address(), 1u32 << (lba_shift - 1));
        for (i, part) in [addr, addr + u64::from(half)].into_iter().enumerate() {
            if !list.set_pair(i, SglDescriptor::data_block(part, half).0) {
                return Err(EINVAL);
            }
        }

        for data in [
            SglDescriptor::data_block(addr, half * 2),
            SglDescriptor::list(list.dma_address(), 2),
        ] {
            let data = DataPtr::Sgl(data.0);
            let command = Command::rw(Opcode::Read, 0, id, 0, 1, false, data);
            let status = queue.probe(command, self.params.admin_timeout_ms(), || {
                self.state() != State::Live || !self.is_reachable()
            });
            match status {
                Some(status) if status.is_success() => {}
                Some(status) => {
                    dev_warn!(dev, "driven without scatter gather lists: {}\n", status);
                    return Ok(false);
                }
                None => {
                    // The controller may still write there, until the reset or the end.
                    self.parts.lock().given_up = Some((buffer, list));
                    let reachable = self.is_reachable();
                    // One that was stopped meanwhile may do it the next time.
                    if self.request_reset(Cause::TimedOut).is_err() || !reachable {
                        return Err(ENODEV);
                    }
                    dev_warn!(
                        dev,
                        "driven without scatter gather lists: a command with one was not completed in time\n"
                    );
                    self.sgl.store(SGL_NO, Ordering::Relaxed);
                    // The command stays in the queue until the reset, after which the disks are made.
                    return Err(ENODEV);
                }
            }
        }
        Ok(true)
    }
}

/// The namespace identifiers in a page.
const IDS: usize = dma::BUFFER_SIZE / 4;

/// The most disks of a controller, however many namespaces it lists.
const MAX_DISKS: usize = 1024;

/// Makes the disks what the active namespaces are: new ones appear, missing ones go, and the sizes
/// are taken over. The caller holds the controller's `scanning`.
///
/// # Errors
///
/// Where the namespaces can't be listed. One that can't be served doesn't keep the others away.
pub(super) fn update_disks(controller: &Arc<Controller>, dev: &device::Device<Bound>) -> Result {
    let mut active = KVec::new();
    let mut last = 0;
    loop {
        let list = controller.identify(dev, Cns::ActiveNamespaces, last)?;
        let before = active.len();
        for id in identify::active_namespaces_after(&list, last) {
            active.push(id, GFP_KERNEL)?;
            last = id;
        }
        if active.len() > MAX_DISKS {
            warn_limited!(
                controller,
                "more than {} namespaces: only these\n",
                MAX_DISKS
            );
            active.truncate(MAX_DISKS);
            break;
        }
        // A full list may go on.
        if active.len() - before < IDS {
            break;
        }
    }

    remove_disks(controller, |ns| !active.contains(&ns.id))?;
    subsystem::forget_refused(controller.instance(), |id| active.contains(&id));
    reserve_disks(controller, active.len())?;
    let nvm = controller.nvm_limits(dev)?;
    for id in &active {
        if controller.state() != State::Live {
            return Err(ENODEV);
        }
        let updated = update_disk(controller, dev, &nvm, *id);
        // After a reset it is done again.
        if let (Err(error), State::Live) = (updated, controller.state()) {
            warn_limited!(controller, "namespace {}: no disk: {:?}\n", *id, error);
        }
    }
    // If there is one that is no disk, a line says why.
    if active.is_empty() {
        log_limited!(dev_info, controller, "no active namespace\n");
    }
    Ok(())
}

/// Removes the disks for which `which` says that their namespaces take no more commands.
fn remove_disks(controller: &Controller, which: impl Fn(&Namespace) -> bool) -> Result {
    let mut taken = KVec::with_capacity(controller.disks(), GFP_KERNEL)?;
    {
        let mut parts = controller.parts.lock();
        let mut i = 0;
        while let Some(disk) = parts.disks.get(i) {
            if which(disk.data()) {
                // There is room for all: only the caller, who holds `scanning`, adds disks.
                taken.push_within_capacity(parts.disks.remove(i)?)?;
            } else {
                i += 1;
            }
        }
    }

    // Not under the lock, as it may take long.
    for disk in &taken {
        disk.mark_dead();
    }
    Ok(())
}

/// Makes the disk of namespace `id`, or makes it what the namespace has become.
fn update_disk(
    controller: &Arc<Controller>,
    dev: &device::Device<Bound>,
    nvm: &identify::NvmController,
    id: u32,
) -> Result {
    let mut ids = identify::NamespaceIds::default();
    // With one command set only, the list may be missing, or not say which.
    let all_sets = controller.cap().supports_all_command_sets();
    if all_sets || controller.version() >= (1, 3) {
        match controller.identify(dev, Cns::NamespaceIds, id) {
            Ok(page) => ids = identify::NamespaceIds::parse(&page),
            // It refuses to say.
            Err(EIO) => {}
            Err(error) => return Err(error),
        }
    }
    if let Some(csi) = ids.csi.filter(|csi| *csi != 0) {
        warn_limited!(
            controller,
            "namespace {}: no disk: command set {:#x} is not NVM\n",
            id,
            csi
        );
        return remove_disks(controller, |old| old.id == id);
    }
    let find = || {
        let parts = controller.parts.lock();
        let mut disks = parts.disks.iter();
        disks.find(|disk| disk.data().id == id).cloned()
    };
    // That of a disk is known from before.
    if all_sets && ids.csi.is_none() && find().is_none() {
        warn_limited!(
            controller,
            "namespace {}: no disk: its command set is not reported\n",
            id
        );
        return Ok(());
    }
    let page = controller.identify(dev, Cns::Namespace, id)?;
    let ns = match identify::Namespace::parse(&page) {
        Ok(ns) => ns,
        Err(error) => {
            warn_limited!(controller, "namespace {}: no disk: {}\n", id, error);
            // What the disk was made for is no longer there.
            return remove_disks(controller, |old| old.id == id);
        }
    };
    let mut ids = ids.or(identify::NamespaceIds::of(&ns));
    if controller.quirks().bogus_ids {
        ids = ids.without_ids();
    }
    let device = controller.info().ok_or(ENODEV)?.device();
    let identity = identify::Identity { device, ids };

    // With another block size it is another disk, and so it is with another identity: a controller
    // may come back from a sleep, or a reset, with other namespaces than before.
    remove_disks(controller, |old| {
        if old.id != id {
            return false;
        }
        let change = identity.change_since(&old.identity.lock());
        if let Some(change) = change {
            warn_limited!(controller, "namespace {}: {}\n", id, change);
        }
        change.is_some() || old.block_shift + 9 != ns.lba_shift
    })?;

    if let Some(disk) = find() {
        {
            let mut known = disk.data().identity.lock();
            *known = identity.or(&known);
        }
        // Not under the lock, as requests are waited for.
        return refresh_disk(controller, &disk, nvm, &ns);
    }
    // Not under the lock: the partition table is read.
    let Some(disk) = make_disk(controller.clone(), dev, id, identity, nvm, &ns)? else {
        return Ok(());
    };
    let disk = Arc::new(disk, GFP_KERNEL)?;
    controller
        .parts
        .lock()
        .disks
        .push_within_capacity(disk.clone())?;
    // A controller that has died meanwhile has marked those disks that it knew.
    if controller.state() == State::Dead {
        disk.mark_dead();
    }
    Ok(())
}

/// Makes room for `count` disks.
fn reserve_disks(controller: &Controller, count: usize) -> Result {
    if controller.parts.lock().disks.capacity() >= count {
        return Ok(());
    }
    // Not under the lock: freeing memory may wait for a reset, which takes it.
    let mut disks = KVec::with_capacity(count, GFP_KERNEL)?;
    let mut parts = controller.parts.lock();
    for disk in core::mem::take(&mut parts.disks) {
        disks.push_within_capacity(disk)?;
    }
    parts.disks = disks;
    Ok(())
}

/// Makes a disk what its namespace, and its controller, have become: both may change with a format, a
/// new firmware, or at another's wish.
fn refresh_disk(
    controller: &Controller,
    disk: &Disk<Blk>,
    nvm: &identify::NvmController,
    ns: &identify::Namespace,
) -> Result {
    let info = controller.info().ok_or(ENODEV)?;
    let (data, sectors) = (disk.data(), ns.capacity_sectors());
    let limits = limits(controller, &info, nvm, ns, data.sgl);

    data.zeroes_deallocate
        .store(zeroes_deallocate(ns), Ordering::Relaxed);
    disk.set_limits(limits)?;
    if disk.capacity() != sectors {
        log_limited!(
            dev_info,
            controller,
            "namespace {}: {} sectors\n",
            data.id,
            sectors
        );
        disk.set_capacity(sectors);
    }
    Ok(())
}

/// The scan: takes the controller's asynchronous event, if one came, and looks at the namespaces
/// anew.
pub(super) fn scan(controller: &Arc<Controller>, dev: &device::Device<Bound>) {
    let scanning = controller.scanning.lock();
    // Somebody asked for it before the start, which does it.
    if controller.state() == State::New {
        return;
    }
    if controller.state() == State::Live {
        scan_live(controller, dev);
    }
    drop(scanning);
    controller.scanned.complete();
}

fn scan_live(controller: &Arc<Controller>, dev: &device::Device<Bound>) {
    if let Some(event) = controller.admin.take_event() {
        controller.events.async_events.add_shared();
        if event.persistent_error() {
            log_limited!(
                dev_err,
                controller,
                "the controller reports a persistent internal error\n"
            );
            // A reset has the namespaces looked for, and events asked for, too.
            if controller.request_reset(Cause::Fatal).is_ok() {
                return;
            }
        } else if event.namespaces_changed() {
            // Reading the log lets the controller send the event again (Base 5.16.1.5); what is in
            // it is in the list of active namespaces too.
            if let Err(error) = read_changed_list(controller, dev) {
                warn_limited!(
                    controller,
                    "can't read the changed namespace list: {:?}\n",
                    error
                );
            }
        } else {
            warn_limited!(
                controller,
                "asynchronous event {:?}, information {:#x}, log page {:#x}\n",
                event.kind,
                event.info,
                event.log_page
            );
        }
        controller.admin.arm_event();
    }
    if let Err(error) = update_disks(controller, dev) {
        // After a reset it is done again.
        if controller.state() == State::Live {
            warn_limited!(controller, "can't scan the namespaces: {:?}\n", error);
        }
    }
}

fn read_changed_list(controller: &Controller, dev: &device::Device<Bound>) -> Result {
    const CHANGED_NAMESPACES: u8 = 0x04;
    const ALL: u32 = u32::MAX;

    let buffer = Buffer::new(dev)?;
    let data = DataPtr::Prp {
        prp1: buffer.dma_address(),
        prp2: 0,
    };
    let bytes = dma::BUFFER_SIZE as u32;
    let command = Command::get_log_page(0, CHANGED_NAMESPACES, ALL, bytes, data);
    controller.admin_data(command, buffer).map(|_| ())
}
