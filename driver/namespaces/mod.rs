// SPDX-License-Identifier: GPL-2.0

//! Scans a controller's namespaces, and creates their disks.
//!
//! `scan` is the controller's scan task: it lists the active namespaces, and has `disk` create
//! their disks, with `limits` and `files`, after a `trial` of SGLs, and beside each a `generic`
//! device. `shared` prevents two controllers from creating disks of the same namespace. This room
//! uses a [`Controller`] of `life`, and identify data from its `ctrl`. `life` calls it only by
//! [`HOOKS`], which `driver/mod.rs` passes in.

mod disk;
mod files;
mod generic;
mod limits;
mod shared;
mod trial;

pub(crate) use self::generic::Classes;

use self::disk::update_disk;
use super::life::{
    Controller,
    Hooks,
    Scanning, //
};
use crate::{
    abstractions::dma,
    nvme::{
        host::life::State,
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
    sync::Arc,
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

/// The callbacks that `life` gets from this room.
pub(crate) const HOOKS: Hooks = Hooks {
    scan,
    forget: |controller| shared::forget_refused(controller.name(), &|_| false),
};

/// Sets up what all controllers share, when the module is loaded. The module keeps the result until
/// it has unregistered the driver.
///
/// # Errors
///
/// Those of [`Class::register`](crate::abstractions::chrdev::Class::register).
pub(crate) fn init() -> Result<Classes> {
    shared::init();
    generic::register()
}

/// The number of namespace identifiers in a page.
const IDS: usize = dma::BUFFER_SIZE / 4;

/// The maximum number of disks of a controller.
const MAX_DISKS: usize = 1024;

/// How long the scan task waits before it scans again, if memory was short or the controller asks for
/// another try.
const PAUSES: [Delta; 3] = [
    Delta::from_millis(100),
    Delta::from_millis(400),
    Delta::from_millis(1600),
];

/// The scan task: updates the disks.
fn scan(controller: &Arc<Controller>, dev: &device::Device<Bound>) {
    let mut pauses = PAUSES.into_iter();
    loop {
        let pause = pauses.next();
        let fails = scan_once(controller, dev, pause.is_none());
        match pause {
            Some(pause) if fails => fsleep(pause),
            _ => return,
        }
    }
}

/// Updates the disks, and logs failures. Returns whether another try may succeed; unless it is the `last`,
/// requests that wait for the scan go on waiting then.
fn scan_once(controller: &Arc<Controller>, dev: &device::Device<Bound>, last: bool) -> bool {
    let scanning = controller.lock_disks();
    // The end of the start queues the scan again.
    if controller.state() == State::New {
        return false;
    }
    // First, because the requests of lost queues are slow until then. But it waits for requests, which may
    // wait for this scan.
    let doubts = controller.has_doubts();
    if !doubts {
        scanning.remap_queues();
    }
    let mut updated = Ok(Ok(()));
    if controller.state() == State::Live {
        controller.lend_memory(dev);
        updated = update_disks(controller, &scanning, dev);
    }
    // A reset queues the scan again.
    let live = controller.state() == State::Live;
    if let (Err(error), true) = (updated, live) {
        warn_limited!(
            controller.ctrl(),
            "can't scan the namespaces: {:?}\n",
            error
        );
    }
    let error = updated.and_then(|all| all).err();
    let fails = live && matches!(error, Some(ENOMEM | EAGAIN));
    if live && error != Some(ENODEV) && (last || !fails) {
        // Their format isn't known, and nothing else will end the wait of their requests.
        scanning.detach_disks(&|disk| disk.disk.data().is_doubtful());
    }
    if doubts && !controller.has_doubts() {
        scanning.remap_queues();
    }
    scanning.end();
    fails
}

/// Adds, removes and updates disks so that they match the active namespaces. Returns a failure of a
/// namespace after which another try may succeed; it is logged, and doesn't affect the others.
///
/// # Errors
///
/// If the namespaces can't be listed, or the controller stops being live.
fn update_disks(
    controller: &Arc<Controller>,
    scanning: &Scanning<'_>,
    dev: &device::Device<Bound>,
) -> Result<Result> {
    let active = list(controller, dev)?;
    scanning.detach_disks(&|old| !active.contains(&old.disk.data().id));
    shared::forget_refused(controller.name(), &|id| active.contains(&id));
    scanning.reserve_disks(active.len())?;

    let mut all = Ok(());
    let nvm = controller.escalate(controller.ctrl().nvm_limits(dev))?;
    for id in &active {
        if controller.state() != State::Live {
            return Err(ENODEV);
        }
        let updated = update_disk(controller, scanning, dev, &nvm, *id);
        // A reset queues the scan again.
        if let (Err(error), State::Live) = (updated, controller.state()) {
            warn_limited!(
                controller.ctrl(),
                "namespace {}: no disk: {:?}\n",
                *id,
                error
            );
            if matches!(error, ENOMEM | EAGAIN) {
                all = Err(error);
            }
        }
    }
    // If a namespace gets no disk, another line says why.
    if active.is_empty() {
        log_limited!(dev_info, controller.ctrl(), "no active namespace\n");
    }
    Ok(all)
}

/// The identifiers of the active namespaces.
fn list(controller: &Controller, dev: &device::Device<Bound>) -> Result<KVec<Nsid>> {
    let ctrl = controller.ctrl();
    match ctrl.knows_cns(Cns::ActiveNamespaces { after: None }) {
        true => read_list(controller, dev),
        false => try_each(controller, dev),
    }
}

/// Looks for active namespaces one by one.
fn try_each(controller: &Controller, dev: &device::Device<Bound>) -> Result<KVec<Nsid>> {
    let (mut active, ctrl) = (KVec::new(), controller.ctrl());
    let last = controller.info().ok_or(ENODEV)?.nn.min(MAX_DISKS as u32);
    for id in (1..=last).filter_map(Nsid::new) {
        match controller.escalate(ctrl.identify(dev, Cns::Namespace(id))) {
            Ok(page) if identify::Namespace::is_active(&page) => active.push(id, GFP_KERNEL)?,
            Ok(_) => {}
            // Refused: there is no such namespace.
            Err(EIO) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(active)
}

/// Reads the controller's list of active namespaces.
fn read_list(controller: &Controller, dev: &device::Device<Bound>) -> Result<KVec<Nsid>> {
    let mut active = KVec::new();
    let mut after = None;
    loop {
        let cns = Cns::ActiveNamespaces { after };
        let page = controller.escalate(controller.ctrl().identify(dev, cns))?;
        let before = active.len();
        for id in identify::active_namespaces_after(&page, after) {
            active.push(id, GFP_KERNEL)?;
            after = Some(id);
        }
        if active.len() > MAX_DISKS {
            warn_limited!(
                controller.ctrl(),
                "more than {} namespaces: only these\n",
                MAX_DISKS
            );
            active.truncate(MAX_DISKS);
            return Ok(active);
        }
        // A full page may not be the last.
        if active.len() - before < IDS {
            return Ok(active);
        }
    }
}
