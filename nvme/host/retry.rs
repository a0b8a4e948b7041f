// SPDX-License-Identifier: GPL-2.0

//! Decides whether a request is retried, requeued or ended. The completion path in `io` calls this.

use super::super::spec::status::{
    BlockError,
    Status, //
};

/// Maximum number of retries of a request.
pub const MAX_RETRIES: u8 = 5;

/// What the driver does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Requeue the request, and count a retry.
    Retry,
    /// Requeue the request without counting a retry, because the request isn't to blame.
    Requeue,
    /// End the request with this error.
    End(BlockError),
}

impl Outcome {
    /// For a request whose command the controller completed with an error `status`, after `retries`
    /// retries. `fail_fast` if the submitter prefers an error to a retry.
    pub fn of_status(status: Status, retries: u8, fail_fast: bool) -> Self {
        if status.retryable() && !fail_fast && retries < MAX_RETRIES {
            return Self::Retry;
        }
        Self::End(status.block_error())
    }

    /// For a request that was in flight when the controller was stopped. `blamed` if the request
    /// may have caused the stop.
    pub fn of_stop(blamed: bool, retries: u8, fail_fast: bool) -> Self {
        match (blamed, fail_fast) {
            (_, true) => Self::End(BlockError::Transport),
            (true, _) if retries >= MAX_RETRIES => Self::End(BlockError::Transport),
            (true, _) => Self::Retry,
            (false, _) => Self::Requeue,
        }
    }
}
