// SPDX-License-Identifier: GPL-2.0

//! The trial of scatter gather lists, which some controllers announce and can't read.

use crate::{
    abstractions::dma::Buffer,
    driver::life::Controller,
    nvme::{
        host::life::{
            Cause,
            State, //
        },
        spec::{
            command::{
                Command,
                DataPtr,
                Opcode,
                SglDescriptor, //
            },
            identify,
        },
    },
};
use core::sync::atomic::Ordering;
use kernel::{
    device::{
        self,
        Bound, //
    },
    prelude::*, //
};

/// Whether scatter gather lists work: nobody has tried, see [`Controller::scatter_gather`].
const SGL_UNKNOWN: u32 = 0;
const SGL_NO: u32 = 1;
const SGL_YES: u32 = 2;

/// Whether commands may have scatter gather lists: if the controller says so, and has shown it with
/// the first block of the first namespace. This is decided before there is a disk, as the queue has
/// no room for the trial beside all requests; and for good, as the block layer may then make
/// requests that PRPs can't describe.
///
/// # Errors
///
/// `ENODEV` if the controller is stopped meanwhile, or has to be: there must be no disk yet.
pub(super) fn scatter_gather(
    controller: &Controller,
    dev: &device::Device<Bound>,
    info: &identify::Controller,
    id: u32,
    lba_shift: u32,
) -> Result<bool> {
    match controller.sgl.load(Ordering::Relaxed) {
        SGL_UNKNOWN => {}
        known => return Ok(known == SGL_YES),
    }
    let works = info.sgls()
        && match try_scatter_gather(controller, dev, id, lba_shift) {
            Err(ENOMEM) => {
                dev_warn!(
                    dev,
                    "driven without scatter gather lists: no memory to try them\n"
                );
                false
            }
            works => works?,
        };
    controller
        .sgl
        .store(if works { SGL_YES } else { SGL_NO }, Ordering::Relaxed);
    Ok(works)
}

/// Reads a block with each of the forms that are used: one piece, and a list of two.
fn try_scatter_gather(
    controller: &Controller,
    dev: &device::Device<Bound>,
    id: u32,
    lba_shift: u32,
) -> Result<bool> {
    let queue = controller
        .with_queues(|queues| queues.first().cloned())
        .ok_or(ENODEV)?;
    // Not under the lock: freeing memory may wait for a reset, which takes it.
    let (buffer, mut list) = (Buffer::new(dev)?, queue.block()?);
    // The queue isn't stopped meanwhile.
    let Some(_live) = controller.hold_live() else {
        return Err(ENODEV);
    };
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
        let status = queue.run_trial(command, controller.params().admin_timeout_ms(), || {
            controller.state() != State::Live || !controller.ctrl().is_reachable()
        });
        match status {
            Some(status) if status.is_success() => {}
            Some(status) => {
                dev_warn!(dev, "driven without scatter gather lists: {}\n", status);
                return Ok(false);
            }
            None => {
                // The controller may still write there, until the reset or the end.
                controller.give_up((buffer, list));
                let reachable = controller.ctrl().is_reachable();
                // One that was stopped meanwhile may do it the next time.
                if controller.request_reset(Cause::TimedOut).is_err() || !reachable {
                    return Err(ENODEV);
                }
                dev_warn!(
                    dev,
                    "driven without scatter gather lists: a command with one was not completed in time\n"
                );
                controller.sgl.store(SGL_NO, Ordering::Relaxed);
                // The command stays in the queue until the reset, after which the disks are made.
                return Err(ENODEV);
            }
        }
    }
    Ok(true)
}
