// SPDX-License-Identifier: GPL-2.0

//! A user's admin command: checks it, copies its data, runs it, and does what its effects require.

use super::transfer::Transfer;
use crate::{
    abstractions::chrdev::{
        is_admin,
        Ioctl, //
    },
    driver::life::Controller,
    nvme::{
        host::{
            passthrough::{
                admin_access,
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

/// The maximum time limit of a user's command, in milliseconds: an hour.
const MAX_TIMEOUT_MS: u32 = 3_600_000;

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
    let cmd = read(call, wide)?;
    if cmd.flags != 0 {
        return Err(EINVAL);
    }
    let access = admin_access(&cmd.command());
    match access {
        Access::Everyone => {}
        Access::Admin if is_admin() => {}
        Access::Admin | Access::Nobody => return Err(EACCES),
    }
    let has_data = cmd.addr != 0 && cmd.data_len != 0;
    // No admin command takes metadata.
    if has_data && cmd.metadata_len != 0 && call.pointer(cmd.metadata).as_const_ptr() as usize != 0
    {
        return Err(EINVAL);
    }

    let data = has_data.then(|| UserSlice::new(call.pointer(cmd.addr), cmd.data_len as usize));
    let effects = controller.effects(dev, true, cmd.opcode)?;
    let (result, status) = run(controller, dev, &cmd, access, data, effects)?;
    if effects.changes_namespaces() {
        controller.scan_and_wait();
    }

    let at = call.pointer(call.arg as u64);
    if wide {
        let at = at.wrapping_byte_add(PassthruCmd::RESULT64);
        UserSlice::new(at, size_of::<u64>())
            .writer()
            .write(&result)?;
    } else {
        let at = at.wrapping_byte_add(PassthruCmd::RESULT);
        let result = result as u32;
        UserSlice::new(at, size_of::<u32>())
            .writer()
            .write(&result)?;
    }
    Ok(status)
}

/// Reads the structure.
fn read(call: &Ioctl, wide: bool) -> Result<PassthruCmd> {
    let mut bytes = [0; PassthruCmd::SIZE64];
    let len = if wide {
        PassthruCmd::SIZE64
    } else {
        PassthruCmd::SIZE
    };
    let user = UserSlice::new(call.pointer(call.arg as u64), len);
    user.reader()
        .read_slice(bytes.get_mut(..len).ok_or(EINVAL)?)?;
    Ok(PassthruCmd::parse(bytes.first_chunk().ok_or(EINVAL)?))
}

/// Runs the command, and returns its result and status.
fn run(
    controller: &Controller,
    dev: &device::Device<Bound>,
    cmd: &PassthruCmd,
    access: Access,
    data: Option<UserSlice>,
    effects: Effects,
) -> Result<(u64, isize)> {
    let default = controller.params().admin_timeout_ms();
    let timeout_ms = match (cmd.timeout_ms, access) {
        (0, _) => default,
        // A time-out resets the controller: that isn't for everyone to cause.
        (asked, Access::Everyone) => asked.clamp(default, MAX_TIMEOUT_MS.max(default)),
        (asked, _) => asked.min(MAX_TIMEOUT_MS),
    };
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
