// SPDX-License-Identifier: GPL-2.0

//! Tests of `spec::command`: the bytes of each command, at the offsets of the specification; the
//! names of the opcodes.

use nvme_proto::spec::{
    command::{
        opcode_name,
        AdminOpcode,
        Cns,
        Command,
        DataPtr,
        DsmRange,
        Opcode,
        SglDescriptor, //
    },
    features::Threshold,
    id::{
        Cid,
        Nsid,
        Qid, //
    },
    log::Kelvin,
};
use proptest::prelude::*;

fn c(number: u16) -> Cid {
    Cid::new(number)
}

fn q(number: u16) -> Qid {
    Qid::new(number)
}

fn n(number: u32) -> Nsid {
    Nsid::new(number).unwrap()
}

/// The bytes that the controller reads.
fn wire(command: &Command) -> [u8; 64] {
    let mut bytes = [0; 64];
    for (chunk, quadword) in bytes.chunks_exact_mut(8).zip(command.0) {
        chunk.copy_from_slice(&quadword.to_ne_bytes());
    }
    bytes
}

/// A submission queue entry, written byte by byte at the offsets of the specification.
struct Expected([u8; 64]);

impl Expected {
    fn new(opcode: u8, cid: u16) -> Self {
        Self([0; 64]).u8(0, opcode).u16(2, cid)
    }

    fn put(mut self, at: usize, bytes: &[u8]) -> Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    fn u8(self, at: usize, value: u8) -> Self {
        self.put(at, &[value])
    }

    fn u16(self, at: usize, value: u16) -> Self {
        self.put(at, &value.to_le_bytes())
    }

    fn u32(self, at: usize, value: u32) -> Self {
        self.put(at, &value.to_le_bytes())
    }

    fn u64(self, at: usize, value: u64) -> Self {
        self.put(at, &value.to_le_bytes())
    }

    /// The data pointer; bits 7 and 6 of byte 1 (PSDT) say which kind.
    fn data(self, data: DataPtr) -> Self {
        match data {
            DataPtr::None => self,
            DataPtr::Prp { prp1, prp2 } => self.u64(24, prp1).u64(32, prp2),
            DataPtr::Sgl([first, second]) => self
                .u8(1, 0x40)
                .put(24, &first.to_ne_bytes())
                .put(32, &second.to_ne_bytes()),
        }
    }
}

fn data() -> impl Strategy<Value = DataPtr> {
    prop_oneof![
        Just(DataPtr::None),
        any::<(u64, u64)>().prop_map(|(prp1, prp2)| DataPtr::Prp { prp1, prp2 }),
        any::<(u64, u32)>()
            .prop_map(|(addr, len)| { DataPtr::Sgl(SglDescriptor::data_block(addr, len).0) }),
    ]
}

/// A write of 8 blocks, as bytes on the wire.
#[test]
fn write_golden() {
    let command = Command::rw(
        Opcode::Write,
        c(0x1234),
        n(1),
        0x0102_0304_0506_0708,
        8,
        true,
        DataPtr::Prp {
            prp1: 0x1_0000_1000,
            prp2: 0x1_0000_2000,
        },
    );
    #[rustfmt::skip]
    let expected = [
        0x01, 0, 0x34, 0x12,  1, 0, 0, 0,
        0, 0, 0, 0,  0, 0, 0, 0,
        0, 0, 0, 0,  0, 0, 0, 0,
        0x00, 0x10, 0, 0,  1, 0, 0, 0,
        0x00, 0x20, 0, 0,  1, 0, 0, 0,
        0x08, 0x07, 0x06, 0x05,  0x04, 0x03, 0x02, 0x01,
        7, 0, 0, 0x40,  0, 0, 0, 0,
        0, 0, 0, 0,  0, 0, 0, 0,
    ];
    assert_eq!(wire(&command), expected);
}

#[test]
fn no_data_commands() {
    assert_eq!(
        wire(&Command::flush(c(7), n(3))),
        Expected::new(0x00, 7).u32(4, 3).0
    );
    assert_eq!(
        wire(&Command::async_event(c(0xffff))),
        Expected::new(0x0c, 0xffff).0
    );
    assert_eq!(
        wire(&Command::abort(c(1), q(2), c(0xabcd))),
        Expected::new(0x08, 1).u16(40, 2).u16(42, 0xabcd).0
    );
    assert_eq!(
        wire(&Command::delete_sq(c(1), q(0x102))),
        Expected::new(0x00, 1).u16(40, 0x102).0
    );
    assert_eq!(
        wire(&Command::delete_cq(c(1), q(0x102))),
        Expected::new(0x04, 1).u16(40, 0x102).0
    );
}

#[test]
fn queue_commands() {
    assert_eq!(
        wire(&Command::create_cq(c(9), q(3), 1024, Some(5), 0xabc000)),
        Expected::new(0x05, 9)
            .u64(24, 0xabc000)
            .u16(40, 3)
            .u16(42, 1023)
            .u16(44, 0b11)
            .u16(46, 5)
            .0
    );
    // A polled queue has no interrupt.
    assert_eq!(
        wire(&Command::create_cq(c(9), q(3), 65536, None, 0xabc000)),
        Expected::new(0x05, 9)
            .u64(24, 0xabc000)
            .u16(40, 3)
            .u16(42, 65535)
            .u16(44, 0b01)
            .0
    );
    assert_eq!(
        wire(&Command::create_sq(c(9), q(3), 2, q(4), 0xdef000)),
        Expected::new(0x01, 9)
            .u64(24, 0xdef000)
            .u16(40, 3)
            .u16(42, 1)
            .u16(44, 1)
            .u16(46, 4)
            .0
    );
    assert_eq!(
        wire(&Command::create_sq(c(9), q(3), 2, q(4), 0xdef000).with_medium_priority()),
        Expected::new(0x01, 9)
            .u64(24, 0xdef000)
            .u16(40, 3)
            .u16(42, 1)
            .u16(44, 5)
            .u16(46, 4)
            .0
    );
}

#[test]
fn features() {
    assert_eq!(
        wire(&Command::set_features_num_queues(c(1), 4)),
        Expected::new(0x09, 1).u8(40, 0x07).u16(44, 3).u16(46, 3).0
    );
    // The driver may request at most 65535 queues; the field counts from 0.
    assert_eq!(
        wire(&Command::set_features_num_queues(c(1), u16::MAX)),
        Expected::new(0x09, 1)
            .u8(40, 0x07)
            .u16(44, 0xfffe)
            .u16(46, 0xfffe)
            .0
    );
    assert_eq!(
        wire(&Command::set_features_async_event(c(1), 0x0000_0300)),
        Expected::new(0x09, 1).u8(40, 0x0b).u32(44, 0x300).0
    );
    assert_eq!(
        wire(&Command::get_features_power_state(c(1))),
        Expected::new(0x0a, 1).u8(40, 0x02).0
    );
    assert_eq!(
        wire(&Command::set_features_power_state(c(1), 0x24)),
        Expected::new(0x09, 1).u8(40, 0x02).u8(44, 0x24).0
    );
    let data = DataPtr::Prp {
        prp1: 0xabc000,
        prp2: 0,
    };
    assert_eq!(
        wire(&Command::set_features_timestamp(c(1), data)),
        Expected::new(0x09, 1).u64(24, 0xabc000).u8(40, 0x0e).0
    );
    for enable in [false, true] {
        assert_eq!(
            wire(&Command::set_features_power_transitions(c(1), enable, data)),
            Expected::new(0x09, 1)
                .u64(24, 0xabc000)
                .u8(40, 0x0c)
                .u8(44, enable.into())
                .0
        );
    }
    for (again, cdw11) in [(false, 1), (true, 3)] {
        assert_eq!(
            wire(&Command::set_features_host_memory(
                c(1),
                again,
                0x8001_0002,
                0x1234_5678_9abc_d000,
                7
            )),
            Expected::new(0x09, 1)
                .u8(40, 0x0d)
                .u8(44, cdw11)
                .u32(48, 0x8001_0002)
                .u64(52, 0x1234_5678_9abc_d000)
                .u32(60, 7)
                .0
        );
    }
    assert_eq!(
        wire(&Command::set_features_no_host_memory(c(1))),
        Expected::new(0x09, 1).u8(40, 0x0d).0
    );
    for (sensor, under, fields) in [
        (0, false, 0x00),
        (8, false, 0x08),
        (3, true, 0x13),
        (0xf5, true, 0x15),
    ] {
        let threshold = Threshold { sensor, under };
        assert_eq!(
            wire(&Command::get_features_temperature(c(1), threshold)),
            Expected::new(0x0a, 1).u8(40, 0x04).u8(46, fields).0
        );
        assert_eq!(
            wire(&Command::set_features_temperature(
                c(1),
                threshold,
                Kelvin(0xfedc)
            )),
            Expected::new(0x09, 1)
                .u8(40, 0x04)
                .u16(44, 0xfedc)
                .u8(46, fields)
                .0
        );
    }
}

#[test]
fn doorbell_buffers() {
    assert_eq!(
        wire(&Command::doorbell_buffer_config(c(1), 0x1000, 0x2000)),
        Expected::new(0x7c, 1).u64(24, 0x1000).u64(32, 0x2000).0
    );
}

#[test]
fn sgl_descriptors() {
    let bytes = |descriptor: SglDescriptor| {
        let [first, second] = descriptor.0.map(u64::to_ne_bytes);
        [first, second].concat()
    };
    assert_eq!(
        bytes(SglDescriptor::data_block(
            0x1122_3344_5566_7788,
            0x9abc_def0
        )),
        [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0xf0, 0xde, 0xbc, 0x9a, 0, 0, 0, 0x00]
    );
    assert_eq!(
        bytes(SglDescriptor::list(0x1000, 2)),
        [0, 0x10, 0, 0, 0, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0x30]
    );
}

#[test]
fn dsm_ranges() {
    let [first, second] = DsmRange::new(0x0102_0304_0506_0708, 0x090a_0b0c)
        .quadwords()
        .map(u64::to_ne_bytes);
    assert_eq!(first, [0, 0, 0, 0, 0x0c, 0x0b, 0x0a, 0x09]);
    assert_eq!(second, [8, 7, 6, 5, 4, 3, 2, 1]);
}

/// Each opcode that the driver sends has the name of its command, and no two opcodes of a set share
/// a name.
#[test]
fn names() {
    let io = [
        (Opcode::Flush, "Flush"),
        (Opcode::Write, "Write"),
        (Opcode::Read, "Read"),
        (Opcode::WriteZeroes, "Write Zeroes"),
        (Opcode::DatasetManagement, "Dataset Management"),
    ];
    for (opcode, name) in io {
        assert_eq!(opcode_name(false, opcode as u8), name);
    }
    let admin = [
        (AdminOpcode::DeleteSq, "Delete I/O Submission Queue"),
        (AdminOpcode::CreateSq, "Create I/O Submission Queue"),
        (AdminOpcode::GetLogPage, "Get Log Page"),
        (AdminOpcode::DeleteCq, "Delete I/O Completion Queue"),
        (AdminOpcode::CreateCq, "Create I/O Completion Queue"),
        (AdminOpcode::Identify, "Identify"),
        (AdminOpcode::Abort, "Abort"),
        (AdminOpcode::SetFeatures, "Set Features"),
        (AdminOpcode::AsyncEvent, "Asynchronous Event Request"),
        (AdminOpcode::DoorbellBufferConfig, "Doorbell Buffer Config"),
    ];
    for (opcode, name) in admin {
        assert_eq!(opcode_name(true, opcode as u8), name);
    }
    for set in [false, true] {
        let mut names: Vec<_> = (0..=u8::MAX)
            .map(|opcode| opcode_name(set, opcode))
            .filter(|name| !matches!(*name, "Unknown" | "Vendor Specific"))
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}

/// Exactly the opcodes in the tables of the specifications have a name.
#[test]
fn named_opcodes() {
    let named = |admin| -> Vec<u8> {
        (0..=u8::MAX)
            .filter(|opcode| !matches!(opcode_name(admin, *opcode), "Unknown" | "Vendor Specific"))
            .collect()
    };
    assert_eq!(
        named(true),
        [
            0x00, 0x01, 0x02, 0x04, 0x05, 0x06, 0x08, 0x09, 0x0a, 0x0c, 0x0d, 0x10, 0x11, 0x14,
            0x15, 0x18, 0x19, 0x1a, 0x1c, 0x1d, 0x1e, 0x20, 0x24, 0x7c, 0x7f, 0x80, 0x81, 0x82,
            0x84, 0x86
        ]
    );
    assert_eq!(
        named(false),
        [
            0x00, 0x01, 0x02, 0x04, 0x05, 0x08, 0x09, 0x0c, 0x0d, 0x0e, 0x11, 0x12, 0x15, 0x19,
            0x1d, 0x79, 0x7a, 0x7d
        ]
    );
    for opcode in 0..=u8::MAX {
        let name = |admin| opcode_name(admin, opcode);
        assert_eq!(name(true) == "Vendor Specific", opcode >= 0xc0);
        assert_eq!(name(false) == "Vendor Specific", opcode >= 0x80);
    }
}

/// The field has 8 bits and counts from 0.
#[test]
fn largest() {
    assert_eq!(DsmRange::MAX, 1 << 8);
}

proptest! {
    #![proptest_config(crate::cases(1024))]

    #[test]
    fn read_write(
        write: bool, cid: u16, nsid in 1..u32::MAX, slba: u64, blocks in 1u32..=65536, fua: bool,
        data in data(),
    ) {
        let opcode = if write { Opcode::Write } else { Opcode::Read };
        let expected = Expected::new(if write { 1 } else { 2 }, cid)
            .u32(4, nsid)
            .data(data)
            .u64(40, slba)
            .u16(48, (blocks - 1) as u16)
            .u16(50, u16::from(fua) << 14);
        let command = Command::rw(opcode, c(cid), n(nsid), slba, blocks, fua, data);
        prop_assert_eq!(wire(&command), expected.0);
        prop_assert_eq!(command.cid(), c(cid));
        prop_assert_eq!(command.opcode(), opcode as u8);
    }

    #[test]
    fn write_zeroes(cid: u16, nsid in 1..u32::MAX, slba: u64, blocks in 1u32..=65536, deallocate: bool) {
        let expected = Expected::new(0x08, cid)
            .u32(4, nsid)
            .u64(40, slba)
            .u16(48, (blocks - 1) as u16)
            .u16(50, u16::from(deallocate) << 9);
        let command = Command::write_zeroes(c(cid), n(nsid), slba, blocks, deallocate);
        prop_assert_eq!(wire(&command), expected.0);
    }

    #[test]
    fn deallocate(cid: u16, nsid in 1..u32::MAX, ranges in 1u32..=256, data in data()) {
        let expected = Expected::new(0x09, cid)
            .u32(4, nsid)
            .data(data)
            .u8(40, (ranges - 1) as u8)
            .u32(44, 1 << 2);
        prop_assert_eq!(wire(&Command::dsm_deallocate(c(cid), n(nsid), ranges, data)), expected.0);
    }

    #[test]
    fn identify(cid: u16, which in 0usize..6, nsid in 1..u32::MAX, data in data()) {
        let (cns, code, nsid) = [
            (Cns::Namespace(n(nsid)), 0, nsid),
            (Cns::Controller, 1, 0),
            (Cns::ActiveNamespaces { after: None }, 2, 0),
            (Cns::ActiveNamespaces { after: Some(n(nsid)) }, 2, nsid),
            (Cns::NamespaceIds(n(nsid)), 3, nsid),
            (Cns::NvmController, 6, 0),
        ][which];
        let expected = Expected::new(0x06, cid).u32(4, nsid).data(data).u8(40, code);
        let command = Command::identify(c(cid), cns, data);
        prop_assert_eq!(wire(&command), expected.0);
    }

    #[test]
    fn log_page(cid: u16, lid: u8, nsid in 1u32.., dwords in 1u32.., data in data()) {
        let dwords = (dwords >> 2).max(1);
        let expected = Expected::new(0x02, cid)
            .u32(4, nsid)
            .data(data)
            .u8(40, lid)
            .u16(42, (dwords - 1) as u16)
            .u16(44, ((dwords - 1) >> 16) as u16);
        prop_assert_eq!(wire(&Command::get_log_page(c(cid), lid, Nsid::new(nsid), dwords * 4, data)), expected.0);
    }

    /// The command identifier changes only its two bytes, which were 0.
    #[test]
    fn set_cid(mut quadwords: [u64; 8], cid: u16) {
        quadwords[0] &= u64::from_le(!0xffff_0000);
        let mut command = Command(quadwords);
        let mut expected = wire(&command);
        expected[2..4].copy_from_slice(&cid.to_le_bytes());
        command.set_cid(c(cid));
        prop_assert_eq!(wire(&command), expected);
        prop_assert_eq!(command.cid(), c(cid));
        prop_assert_eq!(command.opcode(), expected[0]);
    }

    /// Dword n is at offset 4n; there are 16 dwords, and the others read as 0.
    #[test]
    fn dword(quadwords: [u64; 8], number in 0usize..16, beyond in 16usize..) {
        let command = Command(quadwords);
        let bytes = wire(&command);
        let dword = bytes[4 * number..][..4].try_into().unwrap();
        prop_assert_eq!(command.dword(number), u32::from_le_bytes(dword));
        prop_assert_eq!(command.dword(beyond), 0);
    }

    /// No argument, valid or not, changes another field.
    #[test]
    fn out_of_range(blocks: u32, ranges: u32, depth: u32, bytes: u32) {
        let wire_of = |command: Command, mut from: usize, to: usize, zero: u16| {
            let bytes = wire(&command);
            while from < to {
                assert_eq!(u16::from_le_bytes([bytes[from], bytes[from + 1]]), zero);
                from += 2;
            }
        };
        wire_of(Command::rw(Opcode::Read, c(0), n(1), 0, blocks, false, DataPtr::None), 50, 64, 0);
        wire_of(Command::write_zeroes(c(0), n(1), 0, blocks, false), 50, 64, 0);
        wire_of(Command::dsm_deallocate(c(0), n(1), ranges, DataPtr::None), 46, 64, 0);
        wire_of(Command::create_sq(c(0), q(0x55), depth, q(0), 0), 40, 42, 0x55);
        wire_of(Command::get_log_page(c(0), 0x55, None, bytes, DataPtr::None), 40, 42, 0x55);
    }
}
