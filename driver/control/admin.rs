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
            write_result, //
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
        spec::effects::Effects,
    },
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    prelude::*,
    sync::Arc,
    uaccess::UserSlice, //
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
    match admin_access(&cmd.command()) {
        Access::Everyone => {}
        Access::Admin if is_admin() => {}
        Access::Admin | Access::Nobody => return Err(EACCES),
    }
    let has_data = cmd.addr != 0 && cmd.data_len != 0;
    // No admin command takes metadata.
    if has_data && has_metadata(call, &cmd) {
        return Err(EINVAL);
    }

    let data = has_data.then(|| UserSlice::new(call.pointer(cmd.addr), cmd.data_len as usize));
    let effects = controller.effects(dev, true, cmd.opcode)?;
    let (result, status) = run(controller, dev, &cmd, data, effects)?;
    if effects.changes_namespaces() {
        controller.scan_and_wait();
    }

    write_result(call, wide, result)?;
    Ok(status)
}

/// Runs the command, and returns its result and status.
fn run(
    controller: &Controller,
    dev: &device::Device<Bound>,
    cmd: &PassthruCmd,
    data: Option<UserSlice>,
    effects: Effects,
) -> Result<(u64, isize)> {
    let default = controller.params().admin_timeout_ms();
    let timeout_ms = time_limit_ms(cmd.timeout_ms, default, is_admin);
    let info = controller.info().ok_or(ENODEV)?;
    let limit = info.max_transfer_bytes(controller.ctrl().cap().page_size_min());
    let (reader, writer) = data.map(|data| data.reader_writer()).unzip();
    let transfer = Arc::new(Transfer::new(dev, cmd, reader, limit)?, GFP_KERNEL)?;
    let command = cmd.command().with_data(transfer.pointer());

    let execute = || controller.run_for_user(command, transfer.clone(), timeout_ms);
    let (result, status) = match effects.is_exclusive() {
        true => controller.while_idle(execute)?,
        false => execute()?,
    };
    if let Some(writer) = writer.filter(|_| !command.sends_data()) {
        transfer.write_user(writer)?;
    }
    Ok((result, status.0 as isize))
}
