// SPDX-License-Identifier: GPL-2.0

//! Tests of `host::queue`: rings against a model with counters that never wrap.

use nvme_proto::host::queue::{
    CompletionRing,
    SubmissionRing, //
};
use proptest::prelude::*;

#[test]
fn depths() {
    for depth in [0, 1, 65536, u32::MAX] {
        assert!(SubmissionRing::new(depth).is_none());
        assert!(CompletionRing::new(depth).is_none());
    }
    for depth in [2, 3, 65535] {
        assert!(SubmissionRing::new(depth).is_some());
        assert!(CompletionRing::new(depth).is_some());
    }
}

/// The smallest ring holds one entry, in either of two slots.
#[test]
fn two_entries() {
    let mut ring = SubmissionRing::new(2).unwrap();
    for round in 0..5 {
        assert_eq!(ring.doorbell(), None);
        assert_eq!(ring.push(), round % 2);
        assert_eq!(ring.doorbell(), Some((round + 1) % 2));
        assert_eq!(ring.doorbell(), None);
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Write an entry, if there is space.
    Push,
    /// Write the doorbell.
    Ring,
    /// The controller fetches this number of entries.
    Fetch(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => Just(Step::Push),
        2 => Just(Step::Ring),
        4 => (0u16..6).prop_map(Step::Fetch),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #![proptest_config(crate::cases(1024))]

    /// Compares the ring with a model that counts entries and never wraps.
    #[test]
    fn submission_model(depth in prop_oneof![2u32..12, 2u32..=65535], steps in steps()) {
        let mut ring = SubmissionRing::new(depth).unwrap();
        let depth = u64::from(depth);
        let (mut written, mut fetched, mut told) = (0u64, 0u64, 0u64);
        for step in steps {
            match step {
                Step::Push => {
                    if written - fetched < depth - 1 {
                        prop_assert_eq!(u64::from(ring.push()), written % depth);
                        written += 1;
                    }
                }
                Step::Ring => {
                    let expected = (written != told).then_some((written % depth) as u16);
                    // The index is the same after a full turn; but a ring never holds a full turn.
                    if written - told < depth {
                        prop_assert_eq!(ring.doorbell(), expected);
                    } else {
                        ring.doorbell();
                    }
                    told = written;
                }
                Step::Fetch(n) => fetched = written.min(fetched + u64::from(n)),
            }
            prop_assert_eq!(u64::from(ring.tail()), written % depth);
            prop_assert_eq!(u64::from(ring.rung()), told % depth);
        }
    }

    /// A controller writes entries with its own phase: the ring finds each entry once, in order,
    /// and never before the controller wrote it.
    #[test]
    fn completion_model(
        depth in 2u32..20,
        bursts in prop::collection::vec((0usize..20, 0usize..20), 0..60),
    ) {
        let mut ring = CompletionRing::new(depth).unwrap();
        let depth = depth as usize;
        // The queue's memory: a number and a phase, all zero at first.
        let mut memory = vec![(0usize, false); depth];
        let (mut posted, mut taken) = (0usize, 0usize);
        for (post, take) in bursts {
            for _ in 0..post {
                // The controller never overwrites an entry that the driver hasn't taken.
                if posted - taken == depth - 1 {
                    break;
                }
                memory[posted % depth] = (posted, posted / depth % 2 == 0);
                posted += 1;
            }
            for _ in 0..take {
                let (number, phase) = memory[usize::from(ring.head())];
                if phase != ring.phase() {
                    prop_assert_eq!(taken, posted);
                    break;
                }
                prop_assert_eq!(number, taken);
                taken += 1;
                ring.advance();
                prop_assert_eq!(usize::from(ring.head()), taken % depth);
            }
        }
    }
}
