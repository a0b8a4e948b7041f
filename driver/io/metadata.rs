// SPDX-License-Identifier: GPL-2.0

//! Reads and writes of blocks that have metadata, apart from the path of those that have none, so that it
//! costs them nothing. `data` calls this; [`nvme::host::metadata`](crate::nvme::host::metadata) decides.

use super::{
    Namespace,
    NvmeOps,
    Requests, //
};
use crate::{
    abstractions::block::mq::{
        IdleRequest,
        Status, //
    },
    driver::queue::stats::Kind,
    nvme::{
        host::metadata::Checks,
        spec::command::Command, //
    },
};

impl Requests {
    /// As [`transfer`](Self::transfer), for blocks with metadata.
    #[inline(never)]
    pub(super) fn transfer_with_metadata(
        &self,
        ns: &Namespace,
        rq: &mut IdleRequest<'_, NvmeOps>,
    ) -> Result<(Kind, Command), Status> {
        let transfer = rq.transfer().ok_or(Status::NotSupported)?;
        let metadata = &ns.details.blocks.metadata;
        let (block, blocks) = (ns.block_of(rq.sector()), ns.blocks_of(rq.bytes()));
        let (kind, command) = self.transfer(ns, rq, &transfer)?;
        let (at, checks) = match rq.map_integrity(&transfer).transpose()? {
            Some(mapped) => {
                // The command doesn't tell the controller how long the memory is.
                let needed = u64::from(metadata.bytes()).wrapping_mul(blocks.into());
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
        let protection = metadata.protection(block, checks);
        Ok((
            kind,
            command.with_protection(at, protection.ok_or(Status::Invalid)?),
        ))
    }
}
