// SPDX-License-Identifier: GPL-2.0

//! A user's admin command: checks it, copies its data, runs it, and does what its effects require.

use super::transfer::Transfer;
use crate::{
    abstractions::chrdev::{
        is_admin,
        Ioctl, //
    },
    driver::{
        io::{
            has_metadata,
            read_command,
            write_result,
            Caller,
            Memory, //
        },
        life::Controller, //
    },
    nvme::{
        host::{
            passthrough::{
                admin_access,
                time_limit_ms,
                Access, //
            },
            uapi::PassthruCmd,
        },
        spec::{
            effects::Effects,
            status::Status, //
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

/// Carries out the admin command whose structure `call` names; `wide` for the structure with a
/// result of 64 bits. Returns the command's status.
///
/// # Errors
///
/// `EFAULT`, `EINVAL`, `EACCES`, `ENOMEM`, and those of [`Controller::run_for_user`].
pub(super) fn command(
    controller: &Controller,
    dev: &device::Device<Bound>,
    call: &Ioctl,
    wide: bool,
) -> Result<isize> {
    let cmd = read_command(call, wide)?;
    let (result, status) = run(controller, dev, call, &cmd, false)?;
    write_result(call, wide, result)?;
    Ok(status.0 as isize)
}

/// Carries out the admin command `cmd` of `caller`; an array of `struct iovec` names its data if
/// `vectored`. Returns the command's result and status.
///
/// # Errors
///
/// As for [`command`].
pub(super) fn run(
    controller: &Controller,
    dev: &device::Device<Bound>,
    caller: &impl Caller,
    cmd: &PassthruCmd,
    vectored: bool,
) -> Result<(u64, Status)> {
    match admin_access(&cmd.command()) {
        Access::Everyone => {}
        Access::Admin if is_admin() => {}
        Access::Admin | Access::Nobody => return Err(EACCES),
    }
    let at = caller.pointer(cmd.addr);
    let data = match (cmd.addr, cmd.data_len) {
        (0, _) | (_, 0) => None,
        // No admin command takes metadata.
        _ if has_metadata(caller, cmd) => return Err(EINVAL),
        (_, count) if vectored => Some(Memory::pieces(caller, at, count)?),
        (_, len) => Some(Memory::one(at, len as usize)?),
    };
    let effects = controller.effects(dev, true, cmd.opcode)?;
    let ended = execute(controller, dev, cmd, data, effects);
    // Also after an error: the controller may have executed the command.
    if effects.changes_namespaces() {
        controller.scan_and_wait();
    }
    ended
}

/// The time limit of a user's command in milliseconds, unless the user asks for another, or the driver's
/// own commands have more. That of the kernel's `nvme`: a format may take a while.
const DEFAULT_LIMIT_MS: u32 = 60_000;

/// How often a command is tried again that finds that the scan after another one is due.
const TRIES: u32 = 8;

/// Executes a command that was checked, and returns its result and status.
fn execute(
    controller: &Controller,
    dev: &device::Device<Bound>,
    cmd: &PassthruCmd,
    data: Option<Memory>,
    effects: Effects,
) -> Result<(u64, Status)> {
    let limit_ms = controller.ctrl().timeout_ms().max(DEFAULT_LIMIT_MS);
    let timeout_ms = time_limit_ms(cmd.timeout_ms, limit_ms, is_admin);
    let info = controller.info().ok_or(ENODEV)?;
    let limit = info.max_transfer_bytes(controller.ctrl().cap().page_size_min());
    let transfer = Transfer::new(dev, cmd, data.as_ref(), limit)?;
    let transfer = Arc::new(transfer, GFP_KERNEL)?;
    let command = cmd.command().with_data(transfer.pointer());

    // What the command changes is read again when it has ended, and disks are idle until then: so even
    // a killed task waits for that, as with the kernel's `nvme`.
    let may_let_go = !effects.is_exclusive() && !effects.changes_namespaces();
    let send = || controller.run_for_user(command, transfer.clone(), timeout_ms, may_let_go);
    let send_alone = || {
        controller.while_idle(|| {
            let ended = send();
            if effects.changes_namespaces() {
                controller.doubt_disks(dev);
            }
            ended
        })
    };
    let (result, status) = match effects.is_exclusive() {
        true => {
            let mut ended = send_alone();
            for _ in 0..TRIES {
                if ended != Err(EBUSY) || !controller.has_doubts() {
                    break;
                }
                // The scan after another task's command.
                controller.scan_and_wait();
                ended = send_alone();
            }
            ended?
        }
        false => send()?,
    };
    if let Some(data) = data.filter(|_| !command.sends_data()) {
        transfer.write_user(&data)?;
    }
    Ok((result, status))
}
