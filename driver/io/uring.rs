// SPDX-License-Identifier: GPL-2.0

//! A user's I/O command by io_uring: checks it, and starts it as a request of the disk, with the
//! user's own memory. The request's end passes its status and result to io_uring. `namespaces`
//! calls this for a generic device.
//!
//! Who may do what, and the errors, are those of `passthrough`.

use super::{
    passthrough::allowed,
    user::{
        has_metadata,
        read_uring, //
    },
    Namespace,
    NvmeOps,
    RequestData, //
};
use crate::{
    abstractions::{
        block::mq::{
            DiskRef,
            Submission, //
        },
        chrdev::is_admin,
        io_uring::{
            Answer,
            UringCmd, //
        },
    },
    nvme::{
        host::{
            passthrough::time_limit_ms,
            uapi, //
        },
        spec::status::Status,
    },
};
use kernel::prelude::*;

/// Starts the I/O command that `cmd` passes to the generic device of `disk`.
///
/// # Errors
///
/// The refusal with an error of [`read_uring`]; `EINVAL` for metadata that the disk can't have,
/// another namespace, or more data than a command can have, or less than this command transfers;
/// `EACCES` if the user may not send the command; those of [`DiskRef::submit`].
// Has one caller.
#[inline(always)]
pub(crate) fn uring_cmd<'a>(disk: &DiskRef<NvmeOps>, cmd: UringCmd<'a>) -> Answer<'a> {
    let (cmd, (vectored, user)) = cmd.check(|cmd| {
        read_uring(cmd, |number| match number {
            uapi::URING_CMD_IO => Ok(false),
            uapi::URING_CMD_IO_VEC => Ok(true),
            _ => Err(ENOTTY),
        })
    })?;
    let (at, len) = (cmd.pointer(user.addr), user.data_len as usize);
    // Without data there are none.
    let metadata = match has_metadata(&cmd, &user) && len != 0 {
        true => Some((cmd.pointer(user.metadata), user.metadata_len as usize)),
        false => None,
    };
    let (command, writable) = (user.command(), cmd.is_writable());

    disk.submit(cmd, command.sends_data(), |ns: &Namespace, rq| {
        if user.nsid != ns.id.get() {
            return Err(EINVAL);
        }
        let min_bytes = match (ns.open.data_bytes(&command, writable), metadata) {
            (Some(bytes), None) => bytes,
            _ => {
                let metadata_len = metadata.map_or(0, |(_, len)| len);
                allowed(ns, command, false, writable, metadata_len)?.unwrap_or(0)
            }
        };
        let timeout_ms = match user.timeout_ms {
            0 => 0,
            asked => time_limit_ms(asked, ns.supervisor.io_timeout_ms(), is_admin),
        };
        rq.set_own(command);
        Ok(Submission {
            at,
            len,
            vectored,
            metadata,
            min_bytes,
            timeout_ms,
        })
    })
}

/// The status and the result of a user's command whose request ended as `ended` says, as io_uring passes
/// them.
#[inline]
pub(super) fn result(rq: &mut RequestData, ended: impl FnOnce() -> Result) -> (i32, u64) {
    match rq.take_end() {
        Some((_, Status::CANCELLED)) => (EINTR.to_errno(), 0),
        Some((result, status)) => (status.0.into(), result),
        None => (ended().err().unwrap_or(EIO).to_errno(), 0),
    }
}
