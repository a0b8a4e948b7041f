// SPDX-License-Identifier: GPL-2.0

//! What becomes of a request whose command did not succeed.

use super::super::spec::status::{
    BlockError,
    Status, //
};

/// How often a request is tried again.
pub const MAX_RETRIES: u8 = 5;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is queued anew, and that counts as one of its retries.
    Retry,
    /// It is queued anew; the request isn't to blame, so that nothing is counted.
    Requeue,
    /// It ends with this error.
    End(BlockError),
}

impl Outcome {
    /// Of a request whose command the controller completed with `status`, after `retries` retries.
    /// `fail_fast` if the submitter prefers an error to another try.
    pub fn of_status(status: Status, retries: u8, fail_fast: bool) -> Self {
        if status.retryable() && !fail_fast && retries < MAX_RETRIES {
            return Self::Retry;
        }
        Self::End(status.block_error())
    }

    /// Of a request that was in flight when the controller was stopped. `blamed` if the request may
    /// be the reason.
    pub fn of_stop(blamed: bool, retries: u8, fail_fast: bool) -> Self {
        match (blamed, fail_fast) {
            (_, true) => Self::End(BlockError::Transport),
            (true, _) if retries >= MAX_RETRIES => Self::End(BlockError::Transport),
            (true, _) => Self::Retry,
            (false, _) => Self::Requeue,
        }
    }
}
