// SPDX-License-Identifier: GPL-2.0

//! Tests of `spec::regs`: fields of CAP, CSTS, CC and AQA; limits and refusals; offsets of
//! doorbells.

use nvme_proto::spec::{
    id::Qid,
    regs::{
        aqa,
        cc,
        doorbell_offset,
        doorbells_end,
        Cap,
        CapError,
        Csts,
        Limits, //
    },
};
use proptest::prelude::*;

/// CAP of a QEMU controller: 2048 entries, contiguous queues, 7.5 s, NVM and further command sets,
/// pages from 4 to 64 KiB.
const QEMU: Cap = Cap(0x0040_0820_0f01_07ff);

/// CAP with these fields.
fn cap(mqes: u64, dstrd: u64, css: u64, mpsmin: u64, mpsmax: u64) -> Cap {
    Cap(mqes | (dstrd << 32) | (css << 37) | (mpsmin << 48) | (mpsmax << 52))
}

#[test]
fn cap_of_qemu() {
    assert_eq!(QEMU.mqes(), 2048);
    assert_eq!(QEMU.timeout_ms(), 7500);
    assert_eq!(QEMU.doorbell_stride(), 4);
    assert!(QEMU.supports_nvm_command_set());
    assert_eq!(QEMU.page_size_min(), 4096);
    assert_eq!(QEMU.page_size_max(), 65536);
    assert_eq!(
        Limits::new(QEMU, 12, 1024),
        Ok(Limits {
            depth: 1024,
            timeout_ms: 7500,
            stride: 4,
            page_shift: 12
        })
    );
}

#[test]
fn cap_extremes() {
    let ones = Cap(u64::MAX);
    assert_eq!(ones.mqes(), 65536);
    assert_eq!(ones.timeout_ms(), 127_500);
    assert_eq!(ones.doorbell_stride(), 4 << 15);
    assert_eq!(ones.page_size_min(), 1 << 27);
    assert_eq!(ones.page_size_max(), 1 << 27);
    let zero = Cap(0);
    assert_eq!(zero.mqes(), 1);
    assert_eq!(zero.timeout_ms(), 0);
    assert_eq!(zero.doorbell_stride(), 4);
    assert_eq!(zero.page_size_min(), 4096);
    assert!(!zero.supports_nvm_command_set());
}

/// Each reason to refuse a controller, with its log line.
#[test]
fn limits_refuse() {
    let refused = |cap| Limits::new(cap, 12, 1024).unwrap_err();
    let line = |cap| refused(cap).to_string();
    assert_eq!(refused(Cap(u64::MAX)), CapError::Gone);
    assert_eq!(
        line(Cap(u64::MAX)),
        "CAP reads all ones: the device does not answer"
    );
    assert_eq!(
        line(cap(0, 0, 1, 0, 0)),
        "CAP.MQES is 0: queues of at least 2 entries are needed"
    );
    assert_eq!(
        // The bits on both sides of the field are set.
        line(Cap(cap(63, 0, 0x80, 0, 0).0 | (1 << 36) | (1 << 45))),
        "CAP.CSS is 0x80: no NVM command set (bit 0)"
    );
    assert_eq!(
        line(cap(63, 0, 1, 2, 2)),
        "CAP.MPSMIN is 16384 bytes: memory pages of 4096 bytes are needed"
    );
    assert_eq!(
        line(cap(63, 0, 1, 2, 1)),
        "CAP.MPSMIN is 16384 bytes, above CAP.MPSMAX of 8192 bytes"
    );
    // A page size of the host that is too small is an error, too.
    for shift in [0, 11, 64, u32::MAX] {
        let limits = Limits::new(cap(63, 0, 1, 0, 15), shift, 64);
        assert_eq!(limits.is_ok(), shift >= 12, "{shift}");
    }
}

#[test]
fn limits_choose() {
    // The largest page that both the controller and the host support.
    let page_shift = |cap, host| Limits::new(cap, host, 64).unwrap().page_shift;
    assert_eq!(page_shift(cap(63, 0, 1, 0, 4), 16), 16);
    assert_eq!(page_shift(cap(63, 0, 1, 0, 4), 12), 12);
    assert_eq!(page_shift(cap(63, 0, 1, 0, 0), 16), 12);
    assert_eq!(page_shift(cap(63, 0, 1, 2, 4), 14), 14);
    // The smaller of both depths, within the range of a ring.
    let depth = |mqes, max| Limits::new(cap(mqes, 0, 1, 0, 0), 12, max).unwrap().depth;
    assert_eq!(depth(1, 1024), 2);
    assert_eq!(depth(1022, 1024), 1023);
    assert_eq!(depth(0xffff, 1024), 1024);
    assert_eq!(depth(0xffff, 0), 2);
    assert_eq!(depth(0xffff, u32::MAX), 65535);
}

#[test]
fn csts() {
    assert!(Csts(1).ready());
    assert!(!Csts(0).ready() && !Csts(2).ready());
    assert!(Csts(2).fatal() && Csts(3).fatal());
    assert!(!Csts(1).fatal());
    assert!(Csts(0x20).paused() && Csts(0x21).paused());
    assert!(!Csts(0x1f).paused() && !Csts(u32::MAX).paused());
    assert!(Csts(0b1000).shutdown_complete() && Csts(0b1001).shutdown_complete());
    assert!(!Csts(0b0100).shutdown_complete() && !Csts(0b1100).shutdown_complete());
    let gone = Csts(u32::MAX);
    assert!(gone.gone() && gone.fatal());
    assert!(!gone.ready() && !gone.shutdown_complete());
    assert!(!Csts(0).gone() && !Csts(u32::MAX - 1).gone());
}

#[test]
fn cc_values() {
    assert_eq!(cc::enable(12), 0x0046_0001);
    assert_eq!(cc::enable(16), 0x0046_0201);
    assert_eq!(cc::enable(27), 0x0046_0781);
    // CSS is 110b for all command sets.
    assert_eq!(cc::with_all_command_sets(cc::enable(12)), 0x0046_0061);
    assert_eq!(
        cc::disable(cc::with_all_command_sets(cc::enable(12))),
        0x0046_0060
    );
    let on = cc::enable(12);
    assert_eq!(cc::with_shutdown(on, true), 0x0046_4001);
    assert_eq!(cc::with_shutdown(on, false), 0x0046_8001);
    // The later notification replaces the earlier one.
    assert_eq!(
        cc::with_shutdown(cc::with_shutdown(on, false), true),
        0x0046_4001
    );
    assert_eq!(cc::disable(on), 0x0046_0000);
    assert_eq!(cc::disable(cc::with_shutdown(on, true)), 0x0046_0000);
}

#[test]
fn aqa_values() {
    assert_eq!(aqa(32, 32), 0x001f_001f);
    assert_eq!(aqa(2, 4096), 0x0fff_0001);
    // Values beyond the range of the register are clamped.
    assert_eq!(aqa(0, 1), 0x0001_0001);
    assert_eq!(aqa(u16::MAX, 4097), 0x0fff_0fff);
}

#[test]
fn doorbells() {
    assert_eq!(doorbell_offset(Qid::new(0), false, 4), 0x1000);
    assert_eq!(doorbell_offset(Qid::new(0), true, 4), 0x1004);
    assert_eq!(doorbell_offset(Qid::new(1), false, 4), 0x1008);
    assert_eq!(doorbell_offset(Qid::new(3), true, 4), 0x101c);
    assert_eq!(doorbell_offset(Qid::new(1), false, 16), 0x1020);
    assert_eq!(doorbells_end(Qid::new(0), 4), 0x1008);
    assert_eq!(doorbells_end(Qid::new(64), 4), 0x1208);
    assert_eq!(
        doorbells_end(Qid::new(u16::MAX), 4 << 15),
        0x1000 + (131_072 << 17)
    );
}

proptest! {
    #![proptest_config(crate::cases(2048))]

    /// Each field has the value that was put in.
    #[test]
    fn cap_fields(
        mqes in 0u64..0x1_0000, cqr: bool, to in 0u64..0x100, dstrd in 0u64..16,
        css in 0u64..0x100, mpsmin in 0u64..16, mpsmax in 0u64..16, rest: u64,
    ) {
        // Everything between the fields is noise.
        let used = 0x00ff_1fef_ff01_ffffu64;
        let cap = Cap(
            cap(mqes, dstrd, css, mpsmin, mpsmax).0 | (u64::from(cqr) << 16) | (to << 24)
                | rest & !used
        );
        prop_assert_eq!(u64::from(cap.mqes()), mqes + 1);
        prop_assert_eq!(u64::from(cap.timeout_ms()), to * 500);
        prop_assert_eq!(u64::from(cap.doorbell_stride()), 4 << dstrd);
        prop_assert_eq!(cap.supports_nvm_command_set(), css & 1 == 1);
        prop_assert_eq!(cap.supports_all_command_sets(), css >> 6 & 1 == 1);
        prop_assert_eq!(cap.page_size_min(), 4096 << mpsmin);
        prop_assert_eq!(cap.page_size_max(), 4096 << mpsmax);
    }

    /// For any CAP, the driver can use the limits.
    #[test]
    fn limits_hold(cap: u64, host in 12u32..=16, max_depth: u32) {
        let cap = Cap(cap);
        match Limits::new(cap, host, max_depth) {
            Ok(limits) => {
                prop_assert!((2..=65535).contains(&limits.depth));
                prop_assert!(limits.depth <= max_depth.max(2) && limits.depth <= cap.mqes());
                prop_assert!(limits.page_shift <= host);
                let page = 1u64 << limits.page_shift;
                prop_assert!((cap.page_size_min()..=cap.page_size_max()).contains(&page));
                prop_assert!(limits.stride.is_power_of_two() && limits.stride >= 4);
                prop_assert!(limits.timeout_ms <= 127_500);
            }
            Err(error) => prop_assert!(error.to_string().starts_with("CAP")),
        }
    }

    /// No two doorbells overlap, and all are in the BAR that `doorbells_end` asks for.
    #[test]
    fn doorbells_apart(a: (u16, bool), b: (u16, bool), dstrd in 0u32..16) {
        let stride = 4 << dstrd;
        let (x, y) = (doorbell_offset(Qid::new(a.0), a.1, stride), doorbell_offset(Qid::new(b.0), b.1, stride));
        prop_assert_eq!(x.abs_diff(y) >= stride as usize, a != b);
        prop_assert!(x >= 0x1000);
        prop_assert!(x + stride as usize <= doorbells_end(Qid::new(a.0.max(b.0)), stride));
    }
}
