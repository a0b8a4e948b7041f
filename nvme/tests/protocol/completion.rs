// SPDX-License-Identifier: GPL-2.0

//! Tests of `spec::completion`: each field of an entry as a controller writes it.

use nvme_proto::spec::{
    completion::Completion,
    id::Cid, //
};
use proptest::prelude::*;

/// An entry as a controller writes it.
fn entry(result: u64, sq_head: u16, sq_id: u16, cid: u16, status: u16, phase: bool) -> Completion {
    let mut second = [0; 8];
    second[0..2].copy_from_slice(&sq_head.to_le_bytes());
    second[2..4].copy_from_slice(&sq_id.to_le_bytes());
    second[4..6].copy_from_slice(&cid.to_le_bytes());
    second[6..8].copy_from_slice(&((status << 1) | u16::from(phase)).to_le_bytes());
    Completion([
        u64::from_ne_bytes(result.to_le_bytes()),
        u64::from_ne_bytes(second),
    ])
}

proptest! {
    #![proptest_config(crate::cases(1024))]

    #[test]
    fn fields(
        result: u64, sq_head: u16, sq_id: u16, cid: u16, status in 0u16..0x8000, phase: bool,
    ) {
        let completion = entry(result, sq_head, sq_id, cid, status, phase);
        prop_assert_eq!(completion.result(), result);
        prop_assert_eq!(completion.sq_head(), sq_head);
        prop_assert_eq!(completion.cid(), Cid::new(cid));
        prop_assert_eq!(completion.phase(), phase);
        prop_assert_eq!(Completion::phase_of(completion.0[1]), phase);
        prop_assert_eq!(completion.status().0, status);
        let dword3 = Completion::dword3(completion.0[1]);
        prop_assert_eq!(dword3 as u16, cid);
        prop_assert_eq!(dword3 & Completion::PHASE != 0, phase);
    }
}
