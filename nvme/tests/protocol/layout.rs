// SPDX-License-Identifier: GPL-2.0

//! Tests of `host::layout`: how many queues of each kind there are, within all limits; the heirs of
//! lost queues.

use nvme_proto::{
    host::layout::{
        Asked,
        Layout,
        Offer,
        QueueKind,
        MAX_IO_QUEUES, //
    },
    spec::{
        id::Qid,
        regs::doorbells_end, //
    },
};
use proptest::prelude::*;

fn offer(granted: u32, vectors: usize) -> Offer {
    Offer {
        granted,
        vectors,
        bar: (usize::MAX, 4),
    }
}

#[track_caller]
fn check(asked: Asked, offer: Offer, counts: [u16; 3]) {
    let layout = Layout::new(asked, offer).unwrap();
    assert_eq!([layout.default, layout.read, layout.poll], counts);
}

#[test]
fn examples() {
    // One queue for each CPU.
    let four = Asked::new(0, 0, 0, 4);
    check(four, offer(64, 5), [4, 0, 0]);
    // The controller grants fewer queues, or there are fewer vectors; one vector serves one queue.
    check(four, offer(3, 5), [3, 0, 0]);
    check(four, offer(64, 2), [1, 0, 0]);
    check(four, offer(64, 1), [1, 0, 0]);
    // No more queues of a kind than CPUs.
    check(Asked::new(9, 9, 0, 4), offer(64, 64), [4, 4, 0]);
    // Read queues get at most half of the rest; polled queues come last.
    let all = Asked::new(2, 2, 2, 4);
    check(all, offer(64, 64), [2, 2, 2]);
    check(all, offer(5, 64), [2, 2, 1]);
    check(all, offer(3, 64), [2, 1, 0]);
    check(all, offer(1, 64), [1, 0, 0]);
    check(all, offer(64, 3), [1, 1, 2]);
    assert_eq!(Layout::new(all, offer(0, 64)), None);
}

proptest! {
    #![proptest_config(super::cases(4000))]

    /// For any request and offer: no more queues of a kind than requested, no more in total than
    /// granted, a vector for each queue with interrupts, a doorbell for each queue, and at least
    /// one default queue. The kinds and vectors of all queue identifiers agree with the counts.
    #[test]
    fn fits(
        (io, read, poll) in (0u32..100, 0u32..100, 0u32..100),
        cpus in 0u32..300,
        granted in prop_oneof![0u32..80, any::<u32>()],
        vectors in 0usize..90,
        (len, stride) in (0usize..0x4000, prop_oneof![Just(4u32), Just(64), any::<u32>()]),
    ) {
        let asked = Asked::new(io, read, poll, cpus);
        prop_assert!((1..=MAX_IO_QUEUES as u16).contains(&asked.total()));
        let offer = Offer { granted, vectors, bar: (len, stride) };

        let Some(layout) = Layout::new(asked, offer) else {
            prop_assert!(granted == 0 || doorbells_end(Qid::new(1), stride) > len);
            return Ok(());
        };
        let total = layout.total();
        prop_assert!(layout.default >= 1);
        prop_assert!(u32::from(layout.default) <= asked.default);
        prop_assert!(u32::from(layout.read) <= asked.read);
        prop_assert!(u32::from(layout.poll) <= asked.poll);
        prop_assert!(u32::from(total) <= granted.min(MAX_IO_QUEUES));
        prop_assert!(usize::from(layout.interrupts()) <= vectors.saturating_sub(1).max(1));
        prop_assert!(doorbells_end(Qid::new(total), stride) <= len);

        let all = || (0..=total + 1).map(Qid::new);
        let count = |kind| all().filter(|q| layout.kind(*q) == Some(kind)).count();
        prop_assert_eq!(count(QueueKind::Default), usize::from(layout.default));
        prop_assert_eq!(count(QueueKind::Read), usize::from(layout.read));
        prop_assert_eq!(count(QueueKind::Poll), usize::from(layout.poll));
        let qids: Vec<_> = all().filter(|qid| layout.kind(*qid).is_some()).collect();
        prop_assert_eq!(layout.qids().collect::<Vec<_>>(), qids);
        for qid in all() {
            let vector = layout.vector(qid, vectors);
            prop_assert!(vector.is_none_or(|v| usize::from(v) < vectors.max(1)));
            let has = matches!(layout.kind(qid), Some(QueueKind::Default | QueueKind::Read));
            prop_assert_eq!(vector.is_some(), has);
        }
    }

    /// If the controller creates only the first few queues, these keep their kinds.
    #[test]
    fn first_few(default in 1u16..64, read in 0u16..64, poll in 0u16..64, count in 1u16..200) {
        let all = Layout { default, read, poll };
        let few = all.first(count);
        prop_assert_eq!(few.total(), all.total().min(count));
        for qid in few.qids() {
            prop_assert_eq!(few.kind(qid), all.kind(qid));
        }
    }

    /// For any number of queues that remain, one is a default queue. Those that serve more than
    /// their own CPUs are those to which the map of `mq::TagSet` brings more: a queue's number
    /// within its kind, modulo the kept queues of that kind.
    #[test]
    fn heirs(default in 1u16..64, read in 0u16..64, poll in 0u16..64, count in 1u16..200) {
        let all = Layout { default, read, poll };
        let kept = all.first(count);
        prop_assert!(kept.default >= 1);
        prop_assert!(!all.inherits(Qid::ADMIN, kept));
        prop_assert!(!all.inherits(Qid::new(all.total() + 1), kept));

        let mut served = vec![0u16; usize::from(all.total()) + 1];
        for kind in [QueueKind::Default, QueueKind::Read, QueueKind::Poll] {
            let same: Vec<_> = all.qids().filter(|qid| all.kind(*qid) == Some(kind)).collect();
            let left = same.iter().filter(|qid| qid.get() <= kept.total()).count();
            for index in 0..if left > 0 { same.len() } else { 0 } {
                served[usize::from(same[index % left].get())] += 1;
            }
        }
        for qid in all.qids() {
            prop_assert_eq!(all.inherits(qid, kept), served[usize::from(qid.get())] > 1);
        }
    }
}
