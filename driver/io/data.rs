// SPDX-License-Identifier: GPL-2.0

//! The submission path: builds a request's command, with its data as PRPs or as an SGL. `queue_rq`
//! calls this; `passthrough` uses it for the data of a user's command.

use super::{
    Namespace,
    NvmeOps,
    Requests, //
};
use crate::abstractions::atomic::Ordering;
use crate::{
    abstractions::{
        block::mq::{
            DmaMapIter,
            IdleRequest,
            Op,
            Segment,
            Status,
            Transfer, //
        },
        dma::Block,
    },
    driver::queue::stats::Kind,
    nvme::{
        host::prp::{
            self,
            Prp,
            PrpError, //
        },
        spec::{
            command::{
                Command,
                DataPtr,
                DsmRange,
                Opcode,
                SglDescriptor, //
            },
            id::Cid,
        },
    },
};

/// The words in a small list; a large list takes a page. Lists are aligned to their size, and two
/// controllers need lists that are aligned to 512 bytes (the quirk `dmapool_align_512` of `nvme`).
pub(super) const SMALL_LIST: usize = 64;

impl Requests {
    /// Takes a block for `words` words from the smallest pool that fits.
    #[inline]
    pub(super) fn block(&self, words: usize) -> Result<Block, Status> {
        let pool = if words <= SMALL_LIST {
            &self.small
        } else {
            &self.large
        };
        pool.take().ok_or(Status::Resource)
    }

    /// Maps the data of `rq`, and returns the data pointer. A list is stored with the request.
    #[inline(always)]
    pub(super) fn map<'a>(
        &self,
        ns: &Namespace,
        rq: &mut IdleRequest<'a, NvmeOps>,
        transfer: &Transfer<'a>,
    ) -> Result<DataPtr, Status> {
        let single = match rq.map_single(transfer) {
            Some(segment) => {
                let segment = segment?;
                if let Some((prp1, prp2)) = prp::single(segment.addr, segment.len) {
                    return Ok(DataPtr::Prp { prp1, prp2 });
                }
                Some(segment)
            }
            None => None,
        };
        self.map_many(ns.sgl, rq, single)
    }

    /// As [`map`](Self::map), for data that may need a list. `single` is the only segment, if the
    /// caller has mapped it; otherwise this maps the data. `sgl` allows SGLs, which are used if
    /// they are shorter than PRP lists, or if PRPs can't describe the data.
    #[inline(never)]
    pub(super) fn map_many(
        &self,
        sgl: bool,
        rq: &mut IdleRequest<'_, NvmeOps>,
        single: Option<Segment>,
    ) -> Result<DataPtr, Status> {
        let (bytes, pieces) = (rq.bytes(), usize::from(rq.segments()));
        let mut segments = rq.map(single);
        let Some(first) = segments.next() else {
            segments.finish()?;
            return Err(Status::Invalid);
        };

        if sgl && first.len == bytes {
            let SglDescriptor(all) = SglDescriptor::data_block(first.addr, first.len);
            segments.finish()?;
            return Ok(DataPtr::Sgl(all));
        }
        let pages = prp::entries_for(first.addr, bytes);
        let words = pieces.wrapping_mul(2);
        let joined = segments.joins_at(prp::PAGE_SIZE as u32);
        let scatter = sgl && (!joined || pages > 2 && words < pages.wrapping_sub(1));
        let mut list = self.block(if scatter {
            words
        } else {
            pages.saturating_sub(1)
        })?;

        let (entries, last) = fill(&mut list, first, &mut segments, scatter)?;
        segments.finish()?;

        let (addr, prp1) = (list.dma_address(), first.addr);
        // With two pages at most there is no list: PRP2 is the second page.
        if !scatter && entries <= 2 {
            let prp2 = if entries == 2 { last } else { 0 };
            return Ok(DataPtr::Prp { prp1, prp2 });
        }
        rq.data().keep(list);
        if scatter {
            let SglDescriptor(all) = SglDescriptor::list(addr, entries as u32);
            return Ok(DataPtr::Sgl(all));
        }
        Ok(DataPtr::Prp { prp1, prp2: addr })
    }

    /// Writes the ranges of a discard into a block stored with the request; returns their number
    /// and the data pointer.
    fn ranges(
        &self,
        ns: &Namespace,
        rq: &mut IdleRequest<'_, NvmeOps>,
    ) -> Result<(u32, DataPtr), Status> {
        let mut block = self.block(prp::LIST_ENTRIES)?;
        let mut count = 0;

        rq.ranges(|sector, bytes| {
            let range = DsmRange::new(ns.block_of(sector), ns.blocks_of(bytes));
            if !block.set_pair(count, range.quadwords()) {
                return Err(Status::Invalid);
            }
            count += 1;
            Ok(())
        })?;

        let prp1 = block.dma_address();
        rq.data().keep(block);
        Ok((count as u32, DataPtr::Prp { prp1, prp2: 0 }))
    }

    /// Builds the command for a read or write; the caller sets its identifier later.
    #[inline(always)]
    pub(super) fn transfer<'a>(
        &self,
        ns: &Namespace,
        rq: &mut IdleRequest<'a, NvmeOps>,
        transfer: &Transfer<'a>,
    ) -> Result<(Kind, Command), Status> {
        let (block, blocks) = (ns.block_of(rq.sector()), ns.blocks_of(rq.bytes()));
        let data = self.map(ns, rq, transfer)?;
        let (kind, opcode) = match transfer.write {
            true => (Kind::Write, Opcode::Write),
            false => (Kind::Read, Opcode::Read),
        };
        let command = Command::rw(opcode, Cid::UNSET, ns.id, block, blocks, rq.fua(), data);
        Ok((kind, command))
    }

    /// As [`transfer`](Self::transfer), for requests that don't take the short path.
    #[inline(always)]
    pub(super) fn rare(
        &self,
        ns: &Namespace,
        rq: &mut IdleRequest<'_, NvmeOps>,
    ) -> Result<(Kind, Command), Status> {
        let nsid = ns.id;
        let (block, blocks) = (ns.block_of(rq.sector()), ns.blocks_of(rq.bytes()));

        Ok(match rq.op() {
            Op::Flush => (Kind::Flush, Command::flush(Cid::UNSET, nsid)),
            Op::Discard => {
                let (count, data) = self.ranges(ns, rq)?;
                let command = Command::dsm_deallocate(Cid::UNSET, nsid, count, data);
                (Kind::Discard, command)
            }
            Op::Read | Op::Write => self.transfer_with_metadata(ns, rq)?,
            Op::WriteZeroes => {
                let deallocate = ns.zeroes_deallocate.load(Ordering::Relaxed) && rq.may_unmap();
                let command = Command::write_zeroes(Cid::UNSET, nsid, block, blocks, deallocate);
                let protection = ns.details.blocks.metadata.zeroes(block);
                (Kind::WriteZeroes, command.with_protection(0, protection))
            }
            Op::Other => return Err(Status::NotSupported),
        })
    }
}

/// Fills `list` with `first` and the segments after it: with their descriptors if `scatter`, else
/// with the addresses of all pages but the first. Returns the number of descriptors or pages, and
/// the address of the page that the last segment's entries begin with.
#[inline(always)]
fn fill(
    list: &mut Block,
    first: Segment,
    segments: &mut DmaMapIter<'_, NvmeOps>,
    scatter: bool,
) -> Result<(usize, u64), Status> {
    let mut builder = Prp::new();
    let (mut entries, mut last) = (0usize, 0);
    let mut segment = first;

    loop {
        if scatter {
            let SglDescriptor(piece) = SglDescriptor::data_block(segment.addr, segment.len);
            if !list.set_pair(entries, piece) {
                return Err(Status::Invalid);
            }
            entries = entries.wrapping_add(1);
        } else {
            let mut pages = builder.segment(segment.addr, segment.len)?;
            // The first page is PRP1; the list begins with the second.
            if entries == 0 {
                entries = 1;
                pages.next();
            }
            let (page, count) = pages.rest();
            if !list.set_run(entries.wrapping_sub(1), page, prp::PAGE_SIZE as u64, count) {
                return Err(Status::Invalid);
            }
            last = page;
            entries = entries.wrapping_add(count);
        }
        match segments.next() {
            Some(next) => segment = next,
            None => return Ok((entries, last)),
        }
    }
}

impl From<PrpError> for Status {
    fn from(_: PrpError) -> Self {
        Self::Invalid
    }
}
