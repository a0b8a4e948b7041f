// SPDX-License-Identifier: GPL-2.0

//! Requests for blocks that have metadata, apart from the path of those that have none, so that it
//! costs them nothing. `data` calls this; [`nvme::host::metadata`](crate::nvme::host::metadata) decides.

use super::{
    Namespace,
    NvmeOps,
    Requests, //
};
use crate::abstractions::atomic::Ordering;
use crate::{
    abstractions::block::mq::{
        IdleRequest,
        Op,
        Status, //
    },
    driver::queue::stats::Kind,
    nvme::{
        host::metadata::Checks,
        spec::{
            command::{
                Command,
                Opcode, //
            },
            id::Cid, //
        },
    },
};

impl Requests {
    /// Builds the command of a read, write or write-zeroes request for blocks with metadata.
    #[inline(never)]
    pub(super) fn command_with_metadata(
        &self,
        ns: &Namespace,
        rq: &mut IdleRequest<'_, NvmeOps>,
    ) -> Result<(Kind, Command), Status> {
        let (block, blocks) = (ns.block_of(rq.sector()), ns.blocks_of(rq.bytes()));
        let Some(transfer) = rq.transfer() else {
            if rq.op() != Op::WriteZeroes {
                return Err(Status::NotSupported);
            }
            let deallocate = ns.zeroes_deallocate.load(Ordering::Relaxed) && rq.may_unmap();
            let command = Command::write_zeroes(Cid::UNSET, ns.id, block, blocks, deallocate);
            let protection = ns.details.blocks.metadata.zeroes(block);
            return Ok((Kind::WriteZeroes, command.with_protection(0, protection)));
        };
        let data = self.map(ns, rq, &transfer)?;
        let (at, checks) = match rq.map_integrity(&transfer).transpose()? {
            Some(mapped) => {
                // The command doesn't tell the controller how long the memory is.
                let needed =
                    u64::from(ns.details.blocks.metadata.bytes()).wrapping_mul(blocks.into());
                if u64::from(mapped.segment.len) < needed {
                    return Err(Status::Invalid);
                }
                let checks = Checks {
                    guard: mapped.check_guard,
                    reference: mapped.check_reference,
                    application: mapped.check_application,
                };
                (mapped.segment.addr, Some(checks))
            }
            None => (0, None),
        };
        // The block layer leaves out only metadata that the controller can insert and strip.
        let protection = ns.details.blocks.metadata.protection(block, checks);
        let protection = protection.ok_or(Status::Invalid)?;
        let (kind, opcode) = match transfer.write {
            true => (Kind::Write, Opcode::Write),
            false => (Kind::Read, Opcode::Read),
        };
        let command = Command::rw(opcode, Cid::UNSET, ns.id, block, blocks, rq.fua(), data);
        Ok((kind, command.with_protection(at, protection)))
    }
}
