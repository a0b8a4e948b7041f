// SPDX-License-Identifier: GPL-2.0

//! Tests of `host::prp`: builds PRP entries as the driver does, reads them as a controller does,
//! and compares the memory.

use nvme_proto::host::prp::{
    entries_for,
    single,
    Prp,
    PrpError,
    LIST_ENTRIES,
    PAGE_SIZE, //
};
use proptest::prelude::*;

const PAGE: u64 = PAGE_SIZE as u64;

/// A segment: address and length.
type Segment = (u64, u32);

/// The entries that the driver makes for a command's data.
#[derive(Debug)]
struct Built {
    prp1: u64,
    prp2: u64,
    /// The list, if there is one.
    list: Option<[u64; LIST_ENTRIES]>,
}

/// The address of the list.
const LIST: u64 = 0x7000_0000_0000;

/// Fills unwritten entries; the controller must never read it.
const UNSET: u64 = 0xdead_dead_dead_d000;

/// Builds the entries as the driver does: counts them, then takes the first page, then each run of
/// pages.
fn build(segments: &[Segment]) -> Result<Built, PrpError> {
    let total: u32 = segments.iter().map(|segment| segment.1).sum();
    let entries = entries_for(segments.first().map_or(0, |first| first.0), total);
    let mut pages = Vec::new();
    let mut prp = Prp::new();
    for &(addr, len) in segments {
        let mut cursor = prp.segment(addr, len)?;
        let one_by_one: Vec<_> = cursor.collect();
        let at = pages.len();
        if pages.is_empty() {
            pages.extend(cursor.next());
        }
        let (first, count) = cursor.rest();
        pages.extend((0..count as u64).map(|n| first + n * PAGE));
        assert_eq!(pages[at..], one_by_one, "rest");
    }
    assert_eq!(pages.len(), entries, "entries_for");

    let (prp1, others) = pages.split_first().unwrap();
    let (prp2, list) = match others {
        [] => (0, None),
        [second] => (*second, None),
        _ => {
            let mut list = [UNSET; LIST_ENTRIES];
            list[..others.len()].copy_from_slice(others);
            (LIST, Some(list))
        }
    };
    Ok(Built {
        prp1: *prp1,
        prp2,
        list,
    })
}

/// Reads the entries as the controller does (Base 4.1.1): the addresses of `len` bytes, as ranges.
fn walk(built: &Built, len: u32) -> Vec<(u64, u64)> {
    let mut ranges = Vec::new();
    let mut left = u64::from(len);
    let mut take = |addr: u64, left: &mut u64| {
        let n = (PAGE - addr % PAGE).min(*left);
        ranges.push((addr, n));
        *left -= n;
    };
    take(built.prp1, &mut left);
    if left == 0 {
        assert_eq!(built.prp2, 0, "PRP entry 2 is reserved here");
    } else if left <= PAGE {
        assert_eq!(built.prp2 % PAGE, 0, "PRP entry 2 has an offset");
        take(built.prp2, &mut left);
    } else {
        assert_eq!(built.prp2, LIST);
        for addr in built.list.unwrap() {
            if left == 0 {
                break;
            }
            assert_ne!(addr, UNSET, "an entry that was never written");
            assert_eq!(addr % PAGE, 0, "a list entry has an offset");
            take(addr, &mut left);
        }
        assert_eq!(left, 0, "more than a list has");
    }
    ranges
}

/// Merges adjacent ranges, so that both sides are comparable.
fn merged(ranges: impl IntoIterator<Item = (u64, u64)>) -> Vec<(u64, u64)> {
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (addr, len) in ranges {
        match merged.last_mut() {
            Some(last) if last.0 + last.1 == addr => last.1 += len,
            _ => merged.push((addr, len)),
        }
    }
    merged
}

/// Builds the entries, reads them, and compares the addresses.
fn round_trip(segments: &[Segment]) {
    let total: u32 = segments.iter().map(|segment| segment.1).sum();
    let built = build(segments).unwrap();
    assert_eq!(
        merged(walk(&built, total)),
        merged(segments.iter().map(|&(addr, len)| (addr, u64::from(len)))),
    );
}

#[test]
fn one_and_two_pages() {
    assert_eq!(single(0x1000, 4096), Some((0x1000, 0)));
    assert_eq!(single(0x1ffc, 4), Some((0x1ffc, 0)));
    assert_eq!(single(0x1e00, 512), Some((0x1e00, 0)));
    assert_eq!(single(0x1e00, 1024), Some((0x1e00, 0x2000)));
    assert_eq!(single(0x1000, 8192), Some((0x1000, 0x2000)));
    assert_eq!(single(0x1004, 8192), None);
    assert_eq!(single(0x1000, 8193), None);
    assert_eq!(single(0x1000, 1), Some((0x1000, 0)));
    assert_eq!(single(0x1000, 0), None);
    assert_eq!(single(0, 0), None);
    assert_eq!(single(0x1002, 512), None);
    // At the end of the address space, and beyond the end.
    assert_eq!(single(u64::MAX - 4095, 4096), Some((u64::MAX - 4095, 0)));
    assert_eq!(single(u64::MAX - 4095, 4097), None);
    assert_eq!(single(0, u32::MAX), None);
}

/// Every number of pages up to a full list, with and without an offset.
#[test]
fn all_lengths() {
    for pages in 1..=LIST_ENTRIES as u32 {
        round_trip(&[(0x1_0000_0000, pages * 4096)]);
        round_trip(&[(0x1_0000_0004, pages * 4096)]);
        round_trip(&[(0x1_0000_0ffc, pages * 4096 - 4092)]);
    }
}

#[test]
fn misaligned() {
    let errors = [
        (vec![(0x1002, 512)], 0x1002),
        (vec![(0x1000, 512), (0x2000, 512)], 0x1200),
        (vec![(0x1000, 4096), (0x2200, 512)], 0x2200),
        (
            vec![(0x1200, 0xe00), (0x3000, 0x200), (0x4000, 512)],
            0x3200,
        ),
    ];
    for (segments, addr) in errors {
        assert_eq!(
            build(&segments).unwrap_err(),
            PrpError::Misaligned { addr },
            "{segments:x?}"
        );
    }
    assert_eq!(Prp::new().segment(0x1000, 0).unwrap_err(), PrpError::Empty);
    assert_eq!(
        Prp::new().segment(u64::MAX - 3, 5).unwrap_err(),
        PrpError::Overflow
    );
    let last = Prp::new().segment(u64::MAX - 4095, 4096).unwrap();
    assert_eq!(last.collect::<Vec<_>>(), [u64::MAX - 4095]);
    assert_eq!(
        PrpError::Misaligned { addr: 0x1200 }.to_string(),
        "DMA segment misaligned for a PRP list at 0x1200"
    );
}

/// Segments as the block layer passes them with a virtual boundary of one page: the first segment
/// may begin, and the last may end, at any multiple of 4 bytes; all other ends are on a boundary.
/// Up to about 2 MiB.
fn segments() -> impl Strategy<Value = Vec<Segment>> {
    // The maximum number of segments, and of pages in a segment.
    let shape = prop_oneof![
        (1usize..4, 1u32..4),
        (1usize..32, 1u32..16),
        (1usize..3, 1u32..256)
    ];
    let pages = shape
        .prop_flat_map(|(count, most)| prop::collection::vec((0u64..1 << 40, 1..=most), 1..=count));
    (pages, 0u32..1024, 0u32..1024).prop_map(|(pages, skip, cut)| {
        let mut segments: Vec<Segment> = pages
            .into_iter()
            .map(|(page, count)| (page * PAGE, count * 4096))
            .collect();
        let first = segments.first_mut().unwrap();
        *first = (first.0 + u64::from(skip * 4), first.1 - skip * 4);
        // At least four bytes of the last segment remain.
        let last = segments.last_mut().unwrap();
        last.1 -= (cut * 4).min(last.1 - 4);
        segments
    })
}

proptest! {
    #![proptest_config(crate::cases(1024))]

    /// The controller accesses exactly the bytes of the block layer, in order.
    #[test]
    fn random_segments(segments in segments()) {
        round_trip(&segments);
    }

    /// The fast path gives the same entries as the slow path.
    #[test]
    fn fast_path(page in 0u64..1 << 40, skip in 0u64..1024, len in 1u32..20000) {
        let addr = page * PAGE + skip * 4;
        let built = build(&[(addr, len)]).unwrap();
        let expected = (entries_for(addr, len) <= 2).then_some((built.prp1, built.prp2));
        prop_assert_eq!(single(addr, len), expected);
    }

    /// Any segments: refused exactly if an inner end isn't on a page boundary, or if the address of
    /// the data isn't a multiple of 4.
    #[test]
    fn any_segments(
        segments in prop::collection::vec(
            (0u64..64, prop_oneof![Just(0u64), 0u64..4096], prop_oneof![Just(4096u32), 1u32..9000]),
            1..5,
        ),
    ) {
        let segments: Vec<Segment> =
            segments.into_iter().map(|(page, skip, len)| (page * PAGE + skip, len)).collect();
        let fits = segments[0].0 % 4 == 0
            && segments.windows(2).all(|pair| {
                (pair[0].0 + u64::from(pair[0].1)) % PAGE == 0 && pair[1].0 % PAGE == 0
            });
        let mut prp = Prp::new();
        let made = segments.iter().all(|&(addr, len)| prp.segment(addr, len).is_ok());
        prop_assert_eq!(made, fits);
    }

    /// No argument causes an overflow, and a cursor has as many entries as its length.
    #[test]
    fn hostile_arguments(addr: u64, len: u32) {
        let _ = single(addr, len);
        prop_assert!(entries_for(addr, len) <= (1 << 20) + 1);
        if let Ok(cursor) = Prp::new().segment(addr, len) {
            prop_assert_eq!(cursor.len(), entries_for(addr, len));
            prop_assert!(cursor.take(2000).count() <= 2000);
        }
    }
}
