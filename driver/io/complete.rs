// SPDX-License-Identifier: GPL-2.0

//! The completion path: ends or retries the request of a completed command. `queue` calls this for
//! each entry that it reaps; `life` calls [`requeue`] for the requests in flight when it stops a
//! controller.

use super::{
    failure,
    NvmeOps,
    Requests, //
};
use crate::{
    abstractions::block::mq::{
        IoCompletionBatch,
        Request,
        Status, //
    },
    driver::queue::{
        stats::Completed,
        CompletionHandler, //
    },
    nvme::{
        host::retry::Outcome,
        spec::{
            completion::Completion,
            status::{
                self,
                BlockError, //
            },
        },
    },
};

impl CompletionHandler for Requests {
    type Batch<'a> = IoCompletionBatch<'a, NvmeOps>;

    #[inline(always)]
    fn with_batch<R>(f: impl FnOnce(&mut IoCompletionBatch<'_, NvmeOps>) -> R) -> R {
        IoCompletionBatch::with(f)
    }

    #[inline(always)]
    fn complete(
        &self,
        entry: Completion,
        stats: &Completed,
        batch: &mut IoCompletionBatch<'_, NvmeOps>,
    ) {
        // Not by or_else(), which would put the request into memory.
        let mut rq = match self.inflight.take(entry.cid().get()) {
            Some(rq) => rq,
            None => match self.complete_unowned(entry, stats) {
                Some(rq) => rq,
                None => return,
            },
        };
        if let Some(since) = rq.start_time() {
            stats.latency.add(batch.now().saturating_sub(since));
        }
        if rq.data().has_more {
            rq.data().release(entry.result(), entry.status());
        }
        stats.commands.publish(1);

        if !entry.status().is_success() {
            return fail(rq, entry.status(), stats);
        }
        match rq.is_write() {
            Some(false) => stats.bytes_read.add(rq.bytes().into()),
            Some(true) => stats.bytes_written.add(rq.bytes().into()),
            None => {}
        }
        rq.data().retries = 0;
        rq.complete(Status::Ok, batch);
    }
}

/// Carries out `outcome` for a request whose command ended with `status`.
fn apply(mut rq: Request<NvmeOps>, outcome: Outcome, status: status::Status) {
    match outcome {
        Outcome::Retry => {
            rq.data().retries = rq.data().retries.saturating_add(1);
            rq.disk_data().details.retries.add_shared();
            rq.requeue();
        }
        Outcome::Requeue => rq.requeue(),
        Outcome::End(error) => {
            let retries = rq.data().retries;
            failure::log(&mut rq, status, retries);
            // The pdu is reused: reset its retry count.
            rq.data().retries = 0;
            rq.end(block_status(error));
        }
    }
}

/// Ends or retries a request whose command failed.
#[cold]
fn fail(mut rq: Request<NvmeOps>, status: status::Status, stats: &Completed) {
    let outcome = Outcome::of_status(status, rq.data().retries, rq.fail_fast());
    stats.errors.add(1);
    if outcome == Outcome::Retry {
        stats.retries.publish(1);
    }
    apply(rq, outcome, status);
}

/// Requeues or ends a request that was in flight when the controller was stopped. `blamed` if the
/// request may have caused the stop.
pub(crate) fn requeue(mut rq: Request<NvmeOps>, blamed: bool) {
    let outcome = Outcome::of_stop(blamed, rq.data().retries, rq.fail_fast());
    apply(rq, outcome, status::Status::CANCELLED);
}

/// The block layer's status for a protocol error.
fn block_status(error: BlockError) -> Status {
    match error {
        BlockError::Ok => Status::Ok,
        BlockError::NotSupported => Status::NotSupported,
        BlockError::NoSpace => Status::NoSpace,
        BlockError::Transport => Status::Transport,
        BlockError::Target => Status::Target,
        BlockError::ReservationConflict => Status::ReservationConflict,
        BlockError::Medium => Status::Medium,
        BlockError::Protection => Status::Protection,
        _ => Status::IoError,
    }
}
