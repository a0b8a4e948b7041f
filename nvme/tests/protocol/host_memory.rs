// SPDX-License-Identifier: GPL-2.0

//! Tests of `host::host_memory`: how much memory a controller borrows, and in which chunks.

use super::{
    cases,
    identify::controller, //
};
use nvme_proto::{host::host_memory::Wish, spec::identify::Controller};
use proptest::prelude::*;

const MIB: u64 = 1 << 20;

/// A controller that prefers and needs so many pages, in so many chunks of at least some pages.
fn asks(preferred: u32, least: u32, least_chunk: u32, chunks: u16) -> Controller {
    let page = controller()
        .put(272, preferred.to_le_bytes())
        .put(276, least.to_le_bytes())
        .put(332, least_chunk.to_le_bytes())
        .put(336, chunks.to_le_bytes());
    Controller::parse(&page.0)
}

#[test]
fn who_gets_memory() {
    assert_eq!(Wish::new(&asks(0, 0, 0, 0), 128 * MIB), None);
    // 64 MiB, of which the controller needs 16.
    let some = asks(16384, 4096, 0, 0);
    let bytes = |limit| Wish::new(&some, limit).map(|wish| (wish.preferred, wish.least));
    assert_eq!(bytes(128 * MIB), Some((64 * MIB, 16 * MIB)));
    assert_eq!(bytes(20 * MIB), Some((20 * MIB, 16 * MIB)));
    assert_eq!(bytes(16 * MIB), Some((16 * MIB, 16 * MIB)));
    assert_eq!(bytes(16 * MIB - 1), None);
    assert_eq!(bytes(0), None);
    // It needs more than it prefers, or nothing at all.
    let odd = Wish::new(&asks(1, 256, 0, 0), MIB).unwrap();
    assert_eq!((odd.preferred, odd.least), (MIB, MIB));
    assert_eq!(Wish::new(&asks(1, 0, 0, 0), MIB).unwrap().preferred, 4096);
    assert_eq!(Wish::new(&asks(u32::MAX, u32::MAX, 0, 0), 4096 * MIB), None);
}

#[test]
fn chunks() {
    let tries = |info, limit| Wish::new(&info, limit).unwrap().tries().collect::<Vec<_>>();
    // From the largest piece that the kernel has, down to a page.
    let all = tries(asks(16384, 0, 0, 0), 128 * MIB);
    assert_eq!(all.first(), Some(&(4 * MIB, 16)));
    assert_eq!(all.last(), Some(&(4096, 512)));
    assert_eq!(all.len(), 11);
    // The controller's limits.
    assert_eq!(
        tries(asks(16384, 0, 256, 8), 128 * MIB),
        [(4 * MIB, 8), (2 * MIB, 8), (MIB, 8)]
    );
    assert_eq!(
        tries(asks(3, 0, 0, 0), MIB),
        [(16384, 1), (8192, 2), (4096, 3)]
    );
    // Larger chunks than there are.
    assert_eq!(tries(asks(16384, 0, 2048, 0), 128 * MIB), []);
}

proptest! {
    #![proptest_config(cases(1000))]

    /// Whatever a controller asks for: nothing overflows, and no try exceeds a limit by a chunk.
    #[test]
    fn any_wish(preferred: u32, least: u32, least_chunk: u32, chunks: u16, limit in 0u64..(8192 * MIB)) {
        if let Some(wish) = Wish::new(&asks(preferred, least, least_chunk, chunks), limit) {
            prop_assert!(wish.least <= wish.preferred && wish.preferred <= limit);
            let mut last = u64::MAX;
            for (size, count) in wish.tries() {
                prop_assert!(size.is_power_of_two() && size >= 4096 && size < last);
                prop_assert!(size >= u64::from(least_chunk) * 4096);
                prop_assert!(count >= 1 && (chunks == 0 || count <= chunks.into()) && count <= 512);
                prop_assert!(size * u64::from(count) < wish.preferred + size);
                last = size;
            }
        }
    }
}
