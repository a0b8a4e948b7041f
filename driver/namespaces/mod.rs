// SPDX-License-Identifier: GPL-2.0

//! From the namespaces of a controller to disks.
//!
//! `scan` is the controller's scan task: it lists the active namespaces, and has `disk` make their
//! disks, with `limits`, after a `trial` of scatter gather lists. `shared` keeps two controllers from
//! making two disks of one namespace. This room asks `ctrl` for identify data, and lives on a
//! [`Controller`] of `life`; nothing below knows it.

mod disk;
mod limits;
mod shared;
mod trial;

pub(crate) use self::shared::init;

use self::disk::update_disk;
use super::life::{
    Controller,
    Hooks, //
};
use crate::{
    abstractions::dma,
    nvme::{
        host::life::{
            Cause,
            State, //
        },
        spec::{
            command::Cns,
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

/// What this room does for the life of a controller.
pub(crate) const HOOKS: Hooks = Hooks {
    scan,
    forget: |controller| shared::forget_refused(controller.instance(), |_| false),
};

/// The namespace identifiers in a page.
const IDS: usize = dma::BUFFER_SIZE / 4;

/// The most disks of a controller, however many namespaces it lists.
const MAX_DISKS: usize = 1024;

/// The scan: takes the controller's asynchronous event, if one came, and looks at the namespaces anew.
fn scan(controller: &Arc<Controller>, dev: &device::Device<Bound>) {
    let scanning = controller.scanning.lock();
    // The start, which is to come, queues the scan again.
    if controller.state() == State::New {
        return;
    }
    if controller.state() == State::Live && !handle_event(controller, dev) {
        if let Err(error) = update_disks(controller, dev) {
            // A reset queues the scan again.
            if controller.state() == State::Live {
                warn_limited!(
                    controller.ctrl(),
                    "can't scan the namespaces: {:?}\n",
                    error
                );
            }
        }
    }
    drop(scanning);
    controller.scanned.complete();
}

/// Handles the asynchronous event that came, if one did; whether that is a reset, after which the
/// namespaces are scanned and events are armed again.
fn handle_event(controller: &Controller, dev: &device::Device<Bound>) -> bool {
    let ctrl = controller.ctrl();
    let Some(event) = ctrl.admin_queue().take_event() else {
        return false;
    };
    controller.events().async_events.add_shared();
    if event.persistent_error() {
        log_limited!(
            dev_err,
            ctrl,
            "the controller reports a persistent internal error\n"
        );
        if controller.request_reset(Cause::Fatal).is_ok() {
            return true;
        }
    } else if event.namespaces_changed() {
        // What is in the list is in the list of active namespaces too.
        if let Err(error) = controller.escalate(ctrl.read_changed_namespaces(dev)) {
            warn_limited!(ctrl, "can't read the changed namespace list: {:?}\n", error);
        }
    } else {
        warn_limited!(
            ctrl,
            "asynchronous event {:?}, information {:#x}, log page {:#x}\n",
            event.kind,
            event.info,
            event.log_page
        );
    }
    ctrl.admin_queue().arm_event();
    false
}

/// Makes the disks what the active namespaces are: new ones appear, missing ones go, and the sizes
/// are taken over. The caller holds the controller's `scanning`.
///
/// # Errors
///
/// If the namespaces can't be listed. One that can't be served doesn't keep the others away.
fn update_disks(controller: &Arc<Controller>, dev: &device::Device<Bound>) -> Result {
    let active = list(controller, dev)?;
    controller.detach_disks(|old| !active.contains(&old.disk.data().id))?;
    shared::forget_refused(controller.instance(), |id| active.contains(&id));
    controller.reserve_disks(active.len())?;

    let nvm = controller.escalate(controller.ctrl().nvm_limits(dev))?;
    for id in &active {
        if controller.state() != State::Live {
            return Err(ENODEV);
        }
        let updated = update_disk(controller, dev, &nvm, *id);
        // A reset queues the scan again.
        if let (Err(error), State::Live) = (updated, controller.state()) {
            warn_limited!(
                controller.ctrl(),
                "namespace {}: no disk: {:?}\n",
                *id,
                error
            );
        }
    }
    // For a namespace that is no disk, another line says why.
    if active.is_empty() {
        log_limited!(dev_info, controller.ctrl(), "no active namespace\n");
    }
    Ok(())
}

/// The identifiers of the active namespaces.
fn list(controller: &Controller, dev: &device::Device<Bound>) -> Result<KVec<u32>> {
    let mut active = KVec::new();
    let mut last = 0;
    loop {
        let page = controller.ctrl().identify(dev, Cns::ActiveNamespaces, last);
        let page = controller.escalate(page)?;
        let before = active.len();
        for id in identify::active_namespaces_after(&page, last) {
            active.push(id, GFP_KERNEL)?;
            last = id;
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
        // A full list may go on.
        if active.len() - before < IDS {
            return Ok(active);
        }
    }
}
