// SPDX-License-Identifier: GPL-2.0

//! Tests of `host::retry`: whether a failed or stopped request is retried, requeued or ended.

use nvme_proto::{
    host::retry::{
        Outcome,
        MAX_RETRIES, //
    },
    spec::status::{
        BlockError,
        Status, //
    },
};
use proptest::prelude::*;

const DNR: u16 = 1 << 14;

proptest! {
    #![proptest_config(super::cases(2000))]

    /// A failed command is retried up to MAX_RETRIES times, never if DNR is set or if the submitter
    /// asked to fail fast. A success is never retried.
    #[test]
    fn failed(status: u16, fail_fast: bool) {
        let status = Status(status & 0x7fff);
        let (mut retries, mut last) = (0, Outcome::Retry);
        while last == Outcome::Retry {
            prop_assert!(retries <= MAX_RETRIES);
            last = Outcome::of_status(status, retries, fail_fast);
            retries += 1;
        }
        let once = status.is_success() || status.0 & DNR != 0 || fail_fast;
        prop_assert_eq!(retries, if once { 1 } else { MAX_RETRIES + 1 });
        prop_assert_eq!(last, Outcome::End(status.block_error()));
    }

    /// A stop costs a request one of its retries if the request may have caused the stop, otherwise
    /// nothing.
    #[test]
    fn stopped(blamed: bool, retries: u8, fail_fast: bool) {
        let expected = if fail_fast || blamed && retries >= MAX_RETRIES {
            Outcome::End(BlockError::Transport)
        } else if blamed {
            Outcome::Retry
        } else {
            Outcome::Requeue
        };
        prop_assert_eq!(Outcome::of_stop(blamed, retries, fail_fast), expected);
    }
}
