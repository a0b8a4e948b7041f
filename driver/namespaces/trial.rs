// SPDX-License-Identifier: GPL-2.0

//! The trial of SGLs, because some controllers announce SGLs and fail to read them. `disk` calls
//! this before it creates the first disk.

use crate::abstractions::atomic::Ordering;
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
            id::{
                Cid,
                Nsid, //
            },
            identify,
        },
    },
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    prelude::*, //
};

/// Values of [`Controller::sgl`]: [`scatter_gather`] hasn't tried SGLs yet.
const SGL_UNKNOWN: u32 = 0;
const SGL_NO: u32 = 1;
const SGL_YES: u32 = 2;

/// Whether commands may use SGLs: only if the controller announces them and has read the first
/// block of the first namespace with them. The trial comes before the first disk, because the queue
/// has no room for it beside all requests; if a disk exists already, whose blocks have metadata, none
/// uses SGLs. The result is final, because the block layer may then send requests that PRPs can't
/// describe.
///
/// # Errors
///
/// `ENODEV` if the controller is stopped meanwhile, or if the trial requested a reset: create no
/// disk yet.
pub(super) fn scatter_gather(
    controller: &Controller,
    dev: &device::Device<Bound>,
    info: &identify::Controller,
    id: Nsid,
    lba_shift: u32,
) -> Result<bool> {
    match controller.sgl.load(Ordering::Relaxed) {
        SGL_UNKNOWN => {}
        known => return Ok(known == SGL_YES),
    }
    let works = info.sgls()
        && controller.disk_count() == 0
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

/// Reads a block with each form of SGL that the driver uses: a single data block, and a list of
/// two.
fn try_scatter_gather(
    controller: &Controller,
    dev: &device::Device<Bound>,
    id: Nsid,
    lba_shift: u32,
) -> Result<bool> {
    let queue = controller
        .with_queues(|queues| queues.first().cloned())
        .ok_or(ENODEV)?;
    // Allocate before hold_live(): reclaim may wait for a reset, which takes that lock.
    let (buffer, mut list) = (Buffer::new(dev)?, queue.block()?);
    // Keeps the controller from being stopped during the trial.
    let Some(_live) = controller.hold_live() else {
        return Err(ENODEV);
    };
    let (addr, half) = (buffer.dma_address(), 1u32 << (lba_shift - 1));
    for (i, part) in [addr, addr + u64::from(half)].into_iter().enumerate() {
        if !list.set_pair(i, SglDescriptor::data_block(part, half).0) {
            return Err(EINVAL);
        }
    }

    for (number, data) in [
        (0, SglDescriptor::data_block(addr, half * 2)),
        (1, SglDescriptor::list(list.dma_address(), 2)),
    ] {
        let data = DataPtr::Sgl(data.0);
        let command = Command::rw(Opcode::Read, Cid::UNSET, id, 0, 1, false, data);
        let timeout_ms = controller.ctrl().timeout_ms();
        let status = queue.run_trial(number, command, timeout_ms, || {
            controller.state() != State::Live || !controller.ctrl().is_reachable()
        });
        match status {
            Some(status) if status.is_success() => {}
            Some(status) => {
                dev_warn!(dev, "driven without scatter gather lists: {}\n", status);
                return Ok(false);
            }
            None => {
                // The controller may write to this memory until it is stopped.
                controller.give_up((buffer, list));
                let reachable = controller.ctrl().is_reachable();
                // If the controller was stopped meanwhile, the next scan tries again.
                if controller.request_reset(Cause::TimedOut).is_err() || !reachable {
                    return Err(ENODEV);
                }
                dev_warn!(
                    dev,
                    "driven without scatter gather lists: a command with one was not completed in time\n"
                );
                controller.sgl.store(SGL_NO, Ordering::Relaxed);
                // The command stays in the queue until the reset; the scan after the reset creates
                // the disks.
                return Err(ENODEV);
            }
        }
    }
    Ok(true)
}
