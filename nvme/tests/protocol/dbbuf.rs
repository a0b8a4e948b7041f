// SPDX-License-Identifier: GPL-2.0

//! Tests of `host::dbbuf`: when the doorbell register must be written, against a walk in single
//! steps; the layout of the buffers.

use nvme_proto::{
    host::dbbuf,
    spec::{
        id::Qid,
        regs, //
    },
};
use proptest::prelude::*;

/// Whether a walk from `old` to `new` in single steps leaves the index `event`.
fn passes(event: u16, new: u16, old: u16, depth: u32) -> bool {
    let mut at = old;
    while at != new {
        if at == event {
            return true;
        }
        at = ((u32::from(at) + 1) % depth) as u16;
    }
    false
}

/// Every combination in small rings.
#[test]
fn all_of_a_small_ring() {
    for depth in 2..=12u16 {
        for event in 0..depth {
            for new in 0..depth {
                for old in 0..depth {
                    assert_eq!(
                        dbbuf::need_event(event, new, old),
                        passes(event, new, old, u32::from(depth)),
                        "event {event}, {old} to {new} of {depth}"
                    );
                }
            }
        }
    }
}

#[test]
fn layout() {
    assert_eq!(dbbuf::offset(Qid::new(0), false, 4), 0);
    assert_eq!(dbbuf::offset(Qid::new(0), true, 4), 4);
    assert_eq!(dbbuf::offset(Qid::new(5), false, 4), 40);
    assert_eq!(dbbuf::offset(Qid::new(5), true, 8), 88);
    assert_eq!(dbbuf::bytes(Qid::new(5), 4), 48);
    // One page holds the doorbells of 512 queues at the smallest stride.
    assert_eq!(dbbuf::bytes(Qid::new(511), 4), 4096);
}

proptest! {
    #![proptest_config(crate::cases(512))]

    /// The same for rings of any depth, and for indexes that wrap at 16 bits.
    #[test]
    fn need_event(depth in 2u32..=65536, event: u16, new: u16, old: u16) {
        let [event, new, old] = [event, new, old].map(|i| (u32::from(i) % depth) as u16);
        prop_assert_eq!(dbbuf::need_event(event, new, old), passes(event, new, old, depth));
    }

    /// The buffers have the layout of the registers.
    #[test]
    fn as_the_registers(qid: u16, completion: bool, dstrd in 0u32..16) {
        let (qid, stride) = (Qid::new(qid), 4 << dstrd);
        prop_assert_eq!(
            dbbuf::offset(qid, completion, stride) + 0x1000,
            regs::doorbell_offset(qid, completion, stride)
        );
        prop_assert_eq!(dbbuf::bytes(qid, stride) + 0x1000, regs::doorbells_end(qid, stride));
    }
}
