// SPDX-License-Identifier: GPL-2.0

//! The log line of an I/O command that failed, and isn't retried. `complete` calls this.

use super::{
    opcode,
    NvmeOps, //
};
use crate::{
    abstractions::block::mq::{
        Op,
        RequestRef, //
    },
    nvme::spec::{
        command::opcode_name,
        id::Nsid,
        status::Status, //
    },
};
use kernel::fmt;

/// A failed command.
pub(crate) struct Failure {
    /// The namespace.
    pub(crate) id: Nsid,
    op: Op,
    block: u64,
    blocks: u32,
    status: Status,
    retries: u8,
}

/// As in `Read (0x02) of 8 blocks at LBA 80: media/0x81 Unrecovered Read Error; 5 retries`.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = opcode(self.op);
        write!(f, "{} ({:#04x})", opcode_name(false, code), code)?;
        if self.op != Op::Flush {
            write!(f, " of {} blocks at LBA {}", self.blocks, self.block)?;
        }
        write!(f, ": {}; {} retries", self.status, self.retries)
    }
}

/// Logs that the command of `rq` failed with `status` after `retries` retries, unless the submitter
/// asked for silence or reports the error itself.
#[cold]
#[inline(never)]
pub(super) fn log(rq: &RequestRef<NvmeOps>, status: Status, retries: u8) {
    let op = rq.op();
    if rq.is_quiet() || op == Op::Other {
        return;
    }
    let ns = rq.disk_data();
    ns.supervisor.log_failure(&Failure {
        id: ns.id,
        op,
        block: ns.block_of(rq.sector()),
        blocks: ns.blocks_of(rq.bytes()),
        status,
        retries,
    });
}
