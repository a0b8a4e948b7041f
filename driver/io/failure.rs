// SPDX-License-Identifier: GPL-2.0

//! The log line of a command that failed, and isn't retried. `complete` calls this.

use super::{
    opcode,
    NvmeOps, //
};
use crate::{
    abstractions::{
        atomic::Ordering,
        block::mq::{
            Op,
            Request, //
        },
    },
    nvme::spec::{
        command::{
            opcode_name,
            Command,
            DataPtr, //
        },
        id::Nsid,
        status::Status, //
    },
};
use kernel::fmt;

/// A failed command.
pub(crate) struct Failure {
    /// The namespace; `None` for an admin command.
    pub(crate) id: Option<Nsid>,
    what: What,
    status: Status,
}

/// The command that failed.
enum What {
    /// That of a request, after so many retries.
    Request {
        op: Op,
        block: u64,
        blocks: u32,
        retries: u8,
    },
    /// A user's, which isn't retried.
    User(Command),
}

impl Failure {
    /// A user's admin command that failed with `status`.
    pub(crate) fn of_admin(command: Command, status: Status) -> Self {
        Self {
            id: None,
            what: What::User(command),
            status,
        }
    }
}

/// As in `Read (0x02) of 8 blocks at LBA 80: media/0x81 Unrecovered Read Error; 5 retries`, or
/// `user's Read (0x02): generic/0x80 LBA Out of Range; CDW10 to 15: 0x50 0x0 0x7 0x0 0x0 0x0`.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Request {
                op,
                block,
                blocks,
                retries,
            } => {
                let code = opcode(*op);
                write!(f, "{} ({:#04x})", opcode_name(false, code), code)?;
                if *op != Op::Flush {
                    write!(f, " of {blocks} blocks at LBA {block}")?;
                }
                write!(f, ": {}; {} retries", self.status, retries)
            }
            What::User(command) => {
                let code = command.opcode();
                let name = opcode_name(self.id.is_none(), code);
                write!(
                    f,
                    "user's {name} ({code:#04x}): {}; CDW10 to 15:",
                    self.status
                )?;
                (10..16).try_for_each(|dword| write!(f, " {:#x}", command.dword(dword)))
            }
        }
    }
}

/// Logs and counts that the command of `rq` failed with `status` after `retries` retries, unless the
/// submitter asked for silence, or is a user, whose commands are silent unless the disk says otherwise.
#[cold]
#[inline(never)]
pub(super) fn log(rq: &mut Request<NvmeOps>, status: Status, retries: u8) {
    let own = rq.data().own.as_ref().map(|own| own.command);
    let (rq, op) = (&**rq, rq.op());
    let ns = rq.disk_data();
    let what = match own {
        None if !rq.is_quiet() && op != Op::Other => What::Request {
            op,
            block: ns.block_of(rq.sector()),
            blocks: ns.blocks_of(rq.bytes()),
            retries,
        },
        Some(command) if ns.details.logs_users.load(Ordering::Relaxed) => {
            What::User(command.with_data(DataPtr::None.words()))
        }
        _ => return,
    };
    ns.details.errors.add_shared();
    let id = Some(ns.id);
    ns.supervisor.log_failure(&Failure { id, what, status });
}
