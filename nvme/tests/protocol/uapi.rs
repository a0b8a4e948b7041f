// SPDX-License-Identifier: GPL-2.0

//! Tests of `host::uapi`: sizes, offsets and numbers, against the C structures and macros.

use super::cases;
use core::mem::offset_of;
use nvme_proto::{
    host::uapi::{
        self,
        PassthruCmd,
        UserIo, //
    },
    spec::{
        command::DataPtr,
        id::Nsid, //
    },
};
use proptest::prelude::*;

/// `struct nvme_passthru_cmd64` of `include/uapi/linux/nvme_ioctl.h`, field by field.
#[repr(C)]
struct Cmd64 {
    opcode: u8,
    flags: u8,
    rsvd1: u16,
    nsid: u32,
    cdw2: u32,
    cdw3: u32,
    metadata: u64,
    addr: u64,
    metadata_len: u32,
    data_len: u32,
    cdw10: [u32; 6],
    timeout_ms: u32,
    rsvd2: u32,
    result: u64,
}

/// `struct nvme_passthru_cmd`.
#[repr(C)]
struct Cmd {
    start: [u64; 8],
    timeout_ms: u32,
    result: u32,
}

/// `struct nvme_user_io`.
#[repr(C)]
struct Io {
    opcode: u8,
    flags: u8,
    control: u16,
    nblocks: u16,
    rsvd: u16,
    metadata: u64,
    addr: u64,
    slba: u64,
    dsmgmt: u32,
    reftag: u32,
    apptag: u16,
    appmask: u16,
}

#[test]
fn sizes_and_offsets() {
    assert_eq!(PassthruCmd::SIZE, size_of::<Cmd>());
    assert_eq!(PassthruCmd::SIZE64, size_of::<Cmd64>());
    assert_eq!(PassthruCmd::RESULT, offset_of!(Cmd, result));
    assert_eq!(PassthruCmd::RESULT64, offset_of!(Cmd64, result));
    assert_eq!(offset_of!(Cmd64, cdw10), 40);
    assert_eq!(UserIo::SIZE, size_of::<Io>());
    assert_eq!(offset_of!(Io, appmask) + 2, UserIo::SIZE32);
}

/// The values of the header's macros, as a C program prints them.
#[test]
fn numbers() {
    for (number, expected) in [
        (uapi::ID, 0x4e40),
        (uapi::ADMIN_CMD, 0xc048_4e41),
        (uapi::SUBMIT_IO, 0x4030_4e42),
        (uapi::SUBMIT_IO32, 0x402c_4e42),
        (uapi::IO_CMD, 0xc048_4e43),
        (uapi::RESET, 0x4e44),
        (uapi::SUBSYS_RESET, 0x4e45),
        (uapi::RESCAN, 0x4e46),
        (uapi::ADMIN64_CMD, 0xc050_4e47),
        (uapi::IO64_CMD, 0xc050_4e48),
        (uapi::IO64_CMD_VEC, 0xc050_4e49),
        (uapi::URING_CMD_IO, 0xc048_4e80),
        (uapi::URING_CMD_IO_VEC, 0xc048_4e81),
        (uapi::URING_CMD_ADMIN, 0xc048_4e82),
        (uapi::URING_CMD_ADMIN_VEC, 0xc048_4e83),
    ] {
        assert_eq!(number, expected);
    }
}

/// Dword `n` of a command as the controller reads it.
fn dword(command: &nvme_proto::spec::command::Command, n: usize) -> u32 {
    (u64::from_le(command.0[n / 2]) >> (32 * (n % 2))) as u32
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn a_command_keeps_its_dwords(bytes in prop::array::uniform32(any::<u8>()), more in prop::array::uniform32(any::<u8>()), timeout_ms: u32) {
        let mut all = [0; PassthruCmd::SIZE];
        all[..32].copy_from_slice(&bytes);
        all[32..64].copy_from_slice(&more);
        all[64..68].copy_from_slice(&timeout_ms.to_ne_bytes());
        let int = |at: usize| u32::from_ne_bytes(all[at..at + 4].try_into().unwrap());
        let long = |at: usize| u64::from_ne_bytes(all[at..at + 8].try_into().unwrap());
        let raw = Cmd64 {
            opcode: all[offset_of!(Cmd64, opcode)],
            flags: all[offset_of!(Cmd64, flags)],
            rsvd1: 0,
            nsid: int(offset_of!(Cmd64, nsid)),
            cdw2: int(offset_of!(Cmd64, cdw2)),
            cdw3: int(offset_of!(Cmd64, cdw3)),
            metadata: long(offset_of!(Cmd64, metadata)),
            addr: long(offset_of!(Cmd64, addr)),
            metadata_len: int(offset_of!(Cmd64, metadata_len)),
            data_len: int(offset_of!(Cmd64, data_len)),
            cdw10: core::array::from_fn(|i| int(offset_of!(Cmd64, cdw10) + 4 * i)),
            timeout_ms: int(offset_of!(Cmd64, timeout_ms)),
            rsvd2: 0,
            result: 0,
        };
        let words = core::array::from_fn(|i| long(8 * i));
        let cmd = PassthruCmd::parse(&words);
        prop_assert_eq!((cmd.opcode, cmd.flags, cmd.nsid), (raw.opcode, raw.flags, raw.nsid));
        prop_assert_eq!((cmd.metadata, cmd.metadata_len), (raw.metadata, raw.metadata_len));
        prop_assert_eq!((cmd.addr, cmd.data_len), (raw.addr, raw.data_len));
        prop_assert_eq!((cmd.cdw2, cmd.cdw10), ([raw.cdw2, raw.cdw3], raw.cdw10));
        prop_assert_eq!(cmd.timeout_ms, raw.timeout_ms);

        let command = cmd.command();
        prop_assert_eq!(command.opcode(), raw.opcode);
        prop_assert_eq!(dword(&command, 0) & 0xff00, 0);
        prop_assert_eq!(dword(&command, 1), raw.nsid);
        prop_assert_eq!((dword(&command, 2), dword(&command, 3)), (raw.cdw2, raw.cdw3));
        for (i, value) in raw.cdw10.into_iter().enumerate() {
            prop_assert_eq!(dword(&command, 10 + i), value);
        }
        prop_assert_eq!(command.dword(10), raw.cdw10[0]);
        prop_assert_eq!(command.sends_data(), raw.opcode % 2 == 1);

        let with = command.with_data(DataPtr::Prp { prp1: 0x1000, prp2: 0x2000 });
        let mut expected = command;
        expected.0[3] = 0x1000u64.to_le();
        expected.0[4] = 0x2000u64.to_le();
        prop_assert_eq!(with, expected);
        prop_assert_eq!(command.without_pointers().with_data(DataPtr::None.words()), command);
        let sgl = command.with_data(DataPtr::Sgl([1, 2]));
        prop_assert_eq!(dword(&sgl, 0), dword(&command, 0) | 1 << 14);
    }

    #[test]
    fn a_read_is_encoded(control: u16, nblocks: u16, slba: u64, dsmgmt: u32, reftag: u32, apptag: u16, appmask: u16) {
        let mut bytes = [0; UserIo::SIZE32];
        bytes[0] = 2;
        bytes[2..4].copy_from_slice(&control.to_ne_bytes());
        bytes[4..6].copy_from_slice(&nblocks.to_ne_bytes());
        bytes[8..16].copy_from_slice(&0x1111u64.to_ne_bytes());
        bytes[16..24].copy_from_slice(&0x2222u64.to_ne_bytes());
        bytes[24..32].copy_from_slice(&slba.to_ne_bytes());
        bytes[32..36].copy_from_slice(&dsmgmt.to_ne_bytes());
        bytes[36..40].copy_from_slice(&reftag.to_ne_bytes());
        bytes[40..42].copy_from_slice(&apptag.to_ne_bytes());
        bytes[42..44].copy_from_slice(&appmask.to_ne_bytes());
        let io = UserIo::parse(&bytes);
        prop_assert_eq!((io.opcode, io.flags, io.metadata, io.addr), (2, 0, 0x1111, 0x2222));
        let command = io.command(Nsid::new(7).unwrap());
        prop_assert_eq!((command.opcode(), dword(&command, 1)), (2, 7));
        prop_assert_eq!(u64::from(dword(&command, 11)) << 32 | u64::from(dword(&command, 10)), slba);
        prop_assert_eq!(dword(&command, 12), u32::from(control) << 16 | u32::from(nblocks));
        prop_assert_eq!((dword(&command, 13), dword(&command, 14)), (dsmgmt, reftag));
        prop_assert_eq!(dword(&command, 15), u32::from(appmask) << 16 | u32::from(apptag));
    }
}
