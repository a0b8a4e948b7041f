// SPDX-License-Identifier: GPL-2.0

//! Tests of `host::limits`: the limits of a disk satisfy the block layer, for any identify data.

use super::identify::{
    controller,
    namespace,
    Fields, //
};
use nvme_proto::{
    host::{
        limits::{
            DiskLimits,
            MAX_BYTES,
            MAX_DESCRIPTORS, //
        },
        prp::{
            entries_for,
            LIST_ENTRIES, //
        },
        quirks::Quirks, //
    },
    spec::identify::{
        Controller,
        Namespace,
        NvmController, //
    },
};
use proptest::prelude::*;

/// The limits of a disk of QEMU's controller.
fn limits(controller: Fields, namespace: Fields, nvm: NvmController, sgl: bool) -> DiskLimits {
    let ns = Namespace::parse(&namespace.0).unwrap();
    DiskLimits::new(
        4096,
        &Controller::parse(&controller.0),
        &nvm,
        &ns,
        sgl,
        Quirks::default(),
    )
}

/// Two quirks change the limits.
#[test]
fn quirks() {
    let (info, ns) = (
        Controller::parse(&controller().0),
        plain(9).put(46, 8u16.to_le_bytes()),
    );
    let ns = Namespace::parse(&ns.0).unwrap();
    let limits =
        |quirks| DiskLimits::new(4096, &info, &NvmController::default(), &ns, false, quirks);
    let without = limits(Quirks::default());
    assert_eq!((without.max_bytes, without.chunk), (1 << 19, 8 * 512));
    assert_ne!(without.max_write_zeroes, 0);
    assert_eq!(
        limits(Quirks::STRIPE_SIZE),
        DiskLimits {
            chunk: 1 << 19,
            ..without
        }
    );
    assert_eq!(
        limits(Quirks::DISABLE_WRITE_ZEROES),
        DiskLimits {
            max_write_zeroes: 0,
            ..without
        }
    );
}

fn of(namespace: Fields) -> DiskLimits {
    limits(controller(), namespace, NvmController::default(), false)
}

/// A namespace that reports only its size and its block size.
fn plain(shift: u8) -> Fields {
    Fields([0; 4096])
        .put(0, 4096u64.to_le_bytes())
        .put(130, [shift])
}

#[test]
fn example() {
    let expected = DiskLimits {
        logical_block_size: 4096,
        physical_block_size: 8192,
        io_min: 8192,
        io_opt: 6 * 4096,
        max_bytes: 512 << 10,
        max_segments: 129,
        virt_boundary: 4096,
        dma_alignment: 4,
        chunk: 1 << 20,
        write_cache: true,
        max_discard: u32::MAX & !4095,
        max_discard_ranges: 256,
        discard_granularity: 16384,
        max_write_zeroes: 512 << 10,
        write_zeroes_unmap: true,
        // 0, because the first boundary isn't at block 0.
        atomic_write_max: 0,
        atomic_write_boundary: 0,
        read_only: false,
    };
    assert_eq!(of(namespace()), expected);
    let sgl = limits(controller(), namespace(), NvmController::default(), true);
    let expected = DiskLimits {
        max_segments: 256,
        virt_boundary: 0,
        ..expected
    };
    assert_eq!(sgl, expected);
}

#[test]
fn without_hints() {
    for shift in 9..=12 {
        let limits = of(plain(shift));
        let block = 1 << shift;
        assert_eq!(limits.logical_block_size, block);
        assert_eq!((limits.physical_block_size, limits.io_min), (block, block));
        assert_eq!((limits.io_opt, limits.chunk), (0, 0));
        assert_eq!(limits.discard_granularity, block);
        // A single block is always atomic.
        assert_eq!(limits.atomic_write_max, block);
        assert_eq!(limits.atomic_write_boundary, 0);
        assert!(!limits.write_zeroes_unmap && !limits.read_only);
    }
}

#[test]
fn transfers() {
    let max = |mdts, page_size_min| {
        let info = Controller::parse(&controller().put(77, [mdts]).0);
        let ns = Namespace::parse(&plain(9).0).unwrap();
        let nvm = NvmController::default();
        let limits = DiskLimits::new(page_size_min, &info, &nvm, &ns, false, Quirks::default());
        assert_eq!(limits.max_write_zeroes, limits.max_bytes);
        (limits.max_bytes, limits.max_segments)
    };
    assert_eq!(max(0, 4096), (MAX_BYTES, 513));
    assert_eq!(max(1, 4096), (8192, 3));
    assert_eq!(max(9, 4096), (MAX_BYTES, 513));
    assert_eq!(max(255, 4096), (MAX_BYTES, 513));
    assert_eq!(max(1, 1 << 27), (MAX_BYTES, 513));
}

#[test]
fn what_is_not_supported() {
    let without = |bit: u8| {
        limits(
            controller().put(520, [0xff & !(1 << bit)]),
            plain(9),
            NvmController::default(),
            false,
        )
    };
    assert_eq!(
        (without(2).max_discard, without(2).max_write_zeroes),
        (0, 512 << 10)
    );
    assert_eq!(
        (without(3).max_discard, without(3).max_write_zeroes),
        (u32::MAX & !511, 0)
    );
    let uncached = limits(
        controller().put(525, [6]),
        plain(9),
        NvmController::default(),
        false,
    );
    assert!(!uncached.write_cache);
    assert!(of(plain(9).put(99, [1])).read_only);
}

#[test]
fn discards() {
    let with = |ranges, range_blocks| {
        let nvm = NvmController {
            wzsl: 0,
            ranges,
            range_blocks,
        };
        let limits = limits(controller(), plain(12), nvm, false);
        (limits.max_discard_ranges, limits.max_discard)
    };
    assert_eq!(with(0, 0), (256, 0xffff_f000));
    assert_eq!(with(1, 1), (1, 4096));
    assert_eq!(with(255, 0xf_ffff), (255, 0xffff_f000));
    assert_eq!(with(300, u32::MAX), (256, 0xffff_f000));
}

/// WZSL limits Write Zeroes, below what MDTS allows.
#[test]
fn write_zeroes() {
    let max = |wzsl| {
        let nvm = NvmController {
            wzsl,
            ..NvmController::default()
        };
        limits(controller(), plain(12), nvm, false).max_write_zeroes
    };
    assert_eq!(max(0), 512 << 10);
    assert_eq!(max(1), 8192);
    assert_eq!(max(6), 256 << 10);
    assert_eq!(max(7), 512 << 10);
    assert_eq!(max(8), 512 << 10);
    assert_eq!(max(255), 512 << 10);
}

/// Hints that aren't powers of two are ignored, except the optimal size.
#[test]
fn odd_hints() {
    let limits = of(plain(9)
        .put(24, [1 << 4])
        .put(46, 3u16.to_le_bytes())
        .put(64, 2u16.to_le_bytes())
        .put(68, 4u16.to_le_bytes())
        .put(72, 2u16.to_le_bytes()));
    assert_eq!((limits.io_min, limits.physical_block_size), (512, 512));
    assert_eq!((limits.chunk, limits.discard_granularity), (0, 512));
    assert_eq!(limits.io_opt, 3 * 512);
}

#[test]
fn atomic_writes() {
    let with = |nawupf: u16, nabspf: u16, noiob: u16| {
        let limits = of(plain(9)
            .put(24, [1 << 1 | 1 << 4])
            .put(36, nawupf.to_le_bytes())
            .put(44, nabspf.to_le_bytes())
            .put(46, noiob.to_le_bytes())
            // The preferred write is large, so that the atomic unit limits the physical block.
            .put(64, 0x7fffu16.to_le_bytes()));
        (
            limits.atomic_write_max,
            limits.atomic_write_boundary,
            limits.physical_block_size,
        )
    };
    assert_eq!(with(7, 0, 0), (4096, 0, 4096));
    // Rounded down to a power of two.
    assert_eq!(with(10, 0, 0), (4096, 0, 4096));
    // Limited by the request, by the chunk, and by the boundary.
    assert_eq!(with(u16::MAX, 0, 0), (512 << 10, 0, 512 << 10));
    assert_eq!(with(7, 0, 4), (2048, 0, 2048));
    assert_eq!(with(7, 7, 0), (4096, 4096, 4096));
    assert_eq!(with(7, 15, 0), (4096, 8192, 4096));
    // The block layer can't use the boundary: no atomic writes, but the physical block stays the
    // unit.
    assert_eq!(with(7, 3, 0), (0, 0, 4096));
    assert_eq!(with(7, 8, 0), (0, 0, 4096));
}

/// The rules of the kernel's `blk_validate_limits()`, also those by which it changes a value
/// without a message; in the units of `struct queue_limits`.
fn check(limits: &DiskLimits) -> Result<(), TestCaseError> {
    let power = |value: u32| value.is_power_of_two();
    let l = limits;

    prop_assert!((512..=4096).contains(&l.logical_block_size) && power(l.logical_block_size));
    prop_assert!(power(l.physical_block_size) && l.physical_block_size >= l.logical_block_size);
    prop_assert!(power(l.io_min) && l.io_min >= l.physical_block_size);
    prop_assert!(l.max_bytes >= 4096 && l.max_bytes <= MAX_BYTES);
    prop_assert_eq!(l.max_bytes % l.logical_block_size, 0);
    prop_assert!(l.max_bytes / l.logical_block_size <= 1 << 16);
    prop_assert!(l.max_segments > 0);
    prop_assert!(l.virt_boundary == 0 || power(l.virt_boundary) && l.virt_boundary >= 4096);
    prop_assert!(power(l.dma_alignment) && l.dma_alignment <= 4096);
    prop_assert!(l.chunk == 0 || power(l.chunk) && l.chunk >= l.logical_block_size);
    prop_assert_eq!(l.io_opt % l.logical_block_size, 0);

    prop_assert_eq!(l.max_discard % l.logical_block_size, 0);
    prop_assert!((1..=256).contains(&l.max_discard_ranges));
    prop_assert!(power(l.discard_granularity) && l.discard_granularity >= l.logical_block_size);
    prop_assert!(l.max_write_zeroes <= l.max_bytes);
    prop_assert_eq!(l.max_write_zeroes % l.logical_block_size, 0);

    let (unit, boundary) = (l.atomic_write_max, l.atomic_write_boundary);
    if unit == 0 {
        prop_assert_eq!(boundary, 0);
        return Ok(());
    }
    prop_assert!(power(unit) && unit >= l.logical_block_size && unit <= l.max_bytes);
    prop_assert!(l.physical_block_size <= unit);
    prop_assert!(l.chunk == 0 || unit <= l.chunk);
    if boundary != 0 {
        prop_assert!(power(boundary) && unit <= boundary);
        prop_assert!(l.chunk == 0 || boundary % l.chunk == 0 || l.chunk % boundary == 0);
    }
    Ok(())
}

/// A field: 0, a power of two less one, a power of two, or any value, equally often.
fn field() -> impl Strategy<Value = u16> {
    prop_oneof![
        Just(0),
        (0u32..16).prop_map(|shift| (1 << shift) - 1),
        (0u32..16).prop_map(|shift| 1 << shift),
        any::<u16>(),
    ]
}

prop_compose! {
    /// A namespace's identify data, with any features and any value in each field.
    fn hostile_namespace()(
        features: u8, shift in 9u8..=12, dlfeat: u8,
        fields in prop::collection::vec(field(), 12),
    ) -> Namespace {
        let at = [34usize, 36, 38, 40, 42, 44, 46, 64, 66, 68, 70, 72];
        let plain = plain(shift).put(24, [features]).put(33, [dlfeat]);
        let page = at
            .into_iter()
            .zip(fields)
            .fold(plain, |page, (at, value)| page.put(at, value.to_le_bytes()));
        Namespace::parse(&page.0).unwrap()
    }
}

proptest! {
    #![proptest_config(super::cases(20_000))]

    /// For any report of a controller, the block layer accepts the limits unchanged.
    #[test]
    fn block_layer_agrees(
        ns in hostile_namespace(),
        (mdts, mpsmin) in (any::<u8>(), 0u32..16),
        (oncs, vwc) in any::<(u8, u8)>(),
        wzsl: u8,
        (dmrl, dmrsl) in (any::<u8>(), prop_oneof![Just(0u32), Just(1), Just(u32::MAX), any::<u32>()]),
        sgl: bool,
    ) {
        let info = Controller::parse(&controller().put(77, [mdts]).put(520, [oncs]).put(525, [vwc]).0);
        let nvm = NvmController::parse(
            &Fields([0; 4096]).put(1, [wzsl]).put(3, [dmrl]).put(4, dmrsl.to_le_bytes()).0,
        );
        let limits = DiskLimits::new(4096 << mpsmin, &info, &nvm, &ns, sgl, Quirks::default());
        check(&limits)?;

        // A limit is 0 exactly if the command isn't supported.
        prop_assert_eq!(limits.max_discard != 0, oncs & 1 << 2 != 0);
        prop_assert_eq!(limits.max_write_zeroes != 0, oncs & 1 << 3 != 0);
        prop_assert_eq!(limits.write_cache, vwc & 1 != 0);
        // No more than the limits of the controller.
        let mdts_bytes = info.max_transfer_bytes(4096 << mpsmin);
        prop_assert!(mdts_bytes.is_none_or(|max| u64::from(limits.max_bytes) <= max));
        let zeroes_bytes = nvm.max_write_zeroes_bytes(4096 << mpsmin);
        prop_assert!(zeroes_bytes.is_none_or(|max| u64::from(limits.max_write_zeroes) <= max));
        prop_assert!(dmrl == 0 || limits.max_discard_ranges <= dmrl.into());
        let range = u64::from(limits.max_discard / limits.logical_block_size);
        prop_assert!(dmrsl == 0 || range <= dmrsl.into());
        let atomic = u64::from(limits.atomic_write_max);
        let nawupf = u64::from(ns.nawupf.unwrap_or(1)) << ns.lba_shift;
        prop_assert!(atomic <= nawupf.max(limits.logical_block_size.into()));
    }

    /// The list of the largest request that the limits allow fits into one page.
    #[test]
    fn lists_fit(ns in hostile_namespace(), mdts: u8, offset in 0u64..1024, sgl: bool) {
        let info = Controller::parse(&controller().put(77, [mdts]).0);
        let limits = DiskLimits::new(4096, &info, &NvmController::default(), &ns, sgl, Quirks::default());
        // The first page isn't in the list.
        let pages = entries_for(offset * 4, limits.max_bytes);
        prop_assert!(pages - 1 <= LIST_ENTRIES);
        if sgl {
            prop_assert!(limits.max_segments <= MAX_DESCRIPTORS);
        } else {
            prop_assert_eq!(limits.virt_boundary, 4096);
            prop_assert!(usize::from(limits.max_segments) <= LIST_ENTRIES + 1);
        }
    }

    /// The fields are public: values that no identify page can have cause no panic and no
    /// contradiction.
    #[test]
    fn beyond_identify(
        lba_shift: u32, (nawupf, nabo, nabspf) in any::<(Option<u32>, u32, u32)>(),
        (noiob, npwg, npdg, nows) in any::<(u32, u32, u32, u32)>(),
        (page_size_min, mdts) in any::<(u64, u8)>(), (ranges, range_blocks, quirks) in any::<(u16, u32, u32)>(),
    ) {
        let info = Controller::parse(&controller().put(77, [mdts]).0);
        let mut ns = Namespace::parse(&plain(9).0).unwrap();
        (ns.lba_shift, ns.nawupf, ns.nabo, ns.nabspf) = (lba_shift, nawupf, nabo, nabspf);
        (ns.noiob, ns.npwg, ns.npdg, ns.nows) = (noiob, npwg, npdg, nows);
        let limits = DiskLimits::new(page_size_min, &info, &NvmController { wzsl: 0, ranges, range_blocks }, &ns, false, Quirks(quirks));
        // A product of this size is no multiple of the block.
        check(&DiskLimits { io_opt: 0, ..limits })?;
    }
}
