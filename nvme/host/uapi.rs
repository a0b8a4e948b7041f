// SPDX-License-Identifier: GPL-2.0

//! What user space passes to the driver: the structures and the numbers of the ioctls of
//! `include/uapi/linux/nvme_ioctl.h`. They are ABI, so they don't change. `control` and `io` use
//! them.
//!
//! The functions get the bytes that user space wrote, of which every value is possible.

use super::super::spec::{
    command::Command,
    id::Nsid, //
};

/// The direction bits and the size of an ioctl's argument, as `_IOC()` encodes them.
const fn ioctl(direction: u32, number: u8, size: usize) -> u32 {
    direction << 30 | (size as u32) << 16 | (b'N' as u32) << 8 | number as u32
}

const NONE: u32 = 0;
const WRITE: u32 = 1;
const READ_WRITE: u32 = 3;

/// `NVME_IOCTL_ID`: the namespace identifier, as the return value.
pub const ID: u32 = ioctl(NONE, 0x40, 0);
/// `NVME_IOCTL_ADMIN_CMD`: an admin command, with a [`PassthruCmd`] of [`PassthruCmd::SIZE`] bytes.
pub const ADMIN_CMD: u32 = ioctl(READ_WRITE, 0x41, PassthruCmd::SIZE);
/// `NVME_IOCTL_SUBMIT_IO`: a read, write or compare, with a [`UserIo`].
pub const SUBMIT_IO: u32 = ioctl(WRITE, 0x42, UserIo::SIZE);
/// `NVME_IOCTL_SUBMIT_IO32`: as [`SUBMIT_IO`], of a 32-bit process on x86, whose structure has no
/// padding at its end.
pub const SUBMIT_IO32: u32 = ioctl(WRITE, 0x42, UserIo::SIZE32);
/// `NVME_IOCTL_IO_CMD`: an I/O command, with the structure of [`ADMIN_CMD`].
pub const IO_CMD: u32 = ioctl(READ_WRITE, 0x43, PassthruCmd::SIZE);
/// `NVME_IOCTL_RESET`: resets the controller.
pub const RESET: u32 = ioctl(NONE, 0x44, 0);
/// `NVME_IOCTL_SUBSYS_RESET`: resets the NVM subsystem.
pub const SUBSYS_RESET: u32 = ioctl(NONE, 0x45, 0);
/// `NVME_IOCTL_RESCAN`: scans the namespaces.
pub const RESCAN: u32 = ioctl(NONE, 0x46, 0);
/// `NVME_IOCTL_ADMIN64_CMD`: an admin command with a result of 64 bits, with a [`PassthruCmd`] of
/// [`PassthruCmd::SIZE64`] bytes.
pub const ADMIN64_CMD: u32 = ioctl(READ_WRITE, 0x47, PassthruCmd::SIZE64);
/// `NVME_IOCTL_IO64_CMD`: an I/O command, with the structure of [`ADMIN64_CMD`].
pub const IO64_CMD: u32 = ioctl(READ_WRITE, 0x48, PassthruCmd::SIZE64);
/// `NVME_IOCTL_IO64_CMD_VEC`: as [`IO64_CMD`], whose data are an array of `struct iovec`.
pub const IO64_CMD_VEC: u32 = ioctl(READ_WRITE, 0x49, PassthruCmd::SIZE64);

/// `NVME_URING_CMD_IO`: an I/O command by io_uring, with a [`PassthruCmd`] of [`PassthruCmd::SIZE`]
/// bytes in the submission queue entry.
pub const URING_CMD_IO: u32 = ioctl(READ_WRITE, 0x80, PassthruCmd::SIZE);
/// `NVME_URING_CMD_IO_VEC`: as [`URING_CMD_IO`], whose data are an array of `struct iovec`.
pub const URING_CMD_IO_VEC: u32 = ioctl(READ_WRITE, 0x81, PassthruCmd::SIZE);
/// `NVME_URING_CMD_ADMIN`: an admin command by io_uring.
pub const URING_CMD_ADMIN: u32 = ioctl(READ_WRITE, 0x82, PassthruCmd::SIZE);
/// `NVME_URING_CMD_ADMIN_VEC`: as [`URING_CMD_ADMIN`], whose data are an array of `struct iovec`.
pub const URING_CMD_ADMIN_VEC: u32 = ioctl(READ_WRITE, 0x83, PassthruCmd::SIZE);

/// The two integers of 32 bits in a word, in the order of their addresses.
#[inline(always)]
const fn halves(word: u64) -> (u32, u32) {
    let (low, high) = (word as u32, (word >> 32) as u32);
    match cfg!(target_endian = "big") {
        true => (high, low),
        false => (low, high),
    }
}

fn field<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    bytes
        .get(offset..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .unwrap_or([0; N])
}

fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    u16::from_ne_bytes(field(bytes, offset))
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_ne_bytes(field(bytes, offset))
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_ne_bytes(field(bytes, offset))
}

/// `struct nvme_passthru_cmd`, and `struct nvme_passthru_cmd64` and `struct nvme_uring_cmd`, which
/// differ in the result: an admin or I/O command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassthruCmd {
    /// The opcode.
    pub opcode: u8,
    /// Flags of the command; must be 0.
    pub flags: u8,
    /// The namespace identifier.
    pub nsid: u32,
    /// Dwords 2 and 3 of the command.
    pub cdw2: [u32; 2],
    /// Address of the metadata; 0 for none.
    pub metadata: u64,
    /// Address of the data; 0 for none.
    pub addr: u64,
    /// Length of the metadata in bytes.
    pub metadata_len: u32,
    /// Length of the data in bytes, or of the array of [`IO64_CMD_VEC`].
    pub data_len: u32,
    /// Dwords 10 to 15 of the command.
    pub cdw10: [u32; 6],
    /// The time limit in milliseconds; 0 for the driver's.
    pub timeout_ms: u32,
}

impl PassthruCmd {
    /// The size of `struct nvme_passthru_cmd`.
    pub const SIZE: usize = 72;
    /// The offset of the result of 32 bits in `struct nvme_passthru_cmd`.
    pub const RESULT: usize = 68;
    /// The size of `struct nvme_passthru_cmd64`.
    pub const SIZE64: usize = 80;
    /// The offset of the result of 64 bits in `struct nvme_passthru_cmd64`.
    pub const RESULT64: usize = 72;

    /// The words of 64 bits that a command is in; part of the last one is the result.
    pub const WORDS: usize = 9;

    /// The command in the first words of any of the structures.
    #[inline(always)]
    pub const fn parse(words: &[u64; Self::WORDS]) -> Self {
        let [first, w1, metadata, addr, w4, w5, w6, w7, last] = *words;
        let [opcode, flags, ..] = first.to_ne_bytes();
        let (_, nsid) = halves(first);
        let ((cdw2, cdw3), (metadata_len, data_len)) = (halves(w1), halves(w4));
        let ((cdw10, cdw11), (cdw12, cdw13), (cdw14, cdw15)) = (halves(w5), halves(w6), halves(w7));
        let (timeout_ms, _) = halves(last);
        Self {
            opcode,
            flags,
            nsid,
            cdw2: [cdw2, cdw3],
            metadata,
            addr,
            metadata_len,
            data_len,
            cdw10: [cdw10, cdw11, cdw12, cdw13, cdw14, cdw15],
            timeout_ms,
        }
    }

    /// The command for the controller, without a command identifier and a data pointer.
    #[inline(always)]
    pub const fn command(&self) -> Command {
        Command::passthrough(self.opcode, self.nsid, self.cdw2, self.cdw10)
    }
}

/// `struct nvme_user_io`: a read, write or compare of logical blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserIo {
    /// The opcode.
    pub opcode: u8,
    /// Flags of the command; must be 0.
    pub flags: u8,
    /// The upper half of dword 12.
    pub control: u16,
    /// Number of logical blocks, less 1.
    pub nblocks: u16,
    /// Address of the metadata; 0 for none.
    pub metadata: u64,
    /// Address of the data.
    pub addr: u64,
    /// The first logical block.
    pub slba: u64,
    /// Dword 13.
    pub dsmgmt: u32,
    /// Dword 14: the reference tag.
    pub reftag: u32,
    /// The lower half of dword 15: the application tag.
    pub apptag: u16,
    /// The upper half of dword 15: the mask of the application tag.
    pub appmask: u16,
}

impl UserIo {
    /// The size of the structure, with four bytes of padding at its end.
    pub const SIZE: usize = 48;
    /// The size without the padding.
    pub const SIZE32: usize = 44;

    /// The request in the structure's bytes.
    pub fn parse(bytes: &[u8; Self::SIZE32]) -> Self {
        Self {
            opcode: u8::from_ne_bytes(field(bytes, 0)),
            flags: u8::from_ne_bytes(field(bytes, 1)),
            control: u16_at(bytes, 2),
            nblocks: u16_at(bytes, 4),
            metadata: u64_at(bytes, 8),
            addr: u64_at(bytes, 16),
            slba: u64_at(bytes, 24),
            dsmgmt: u32_at(bytes, 32),
            reftag: u32_at(bytes, 36),
            apptag: u16_at(bytes, 40),
            appmask: u16_at(bytes, 42),
        }
    }

    /// The command for namespace `nsid`, without a command identifier and a data pointer.
    pub const fn command(&self, nsid: Nsid) -> Command {
        let cdw10 = [
            self.slba as u32,
            (self.slba >> 32) as u32,
            (self.control as u32) << 16 | self.nblocks as u32,
            self.dsmgmt,
            self.reftag,
            (self.appmask as u32) << 16 | self.apptag as u32,
        ];
        Command::passthrough(self.opcode, nsid.get(), [0, 0], cdw10)
    }
}
