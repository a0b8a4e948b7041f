// SPDX-License-Identifier: GPL-2.0

//! Encodes submission queue entries (Base 3.3.3.1, 5 and 7; NVM 3). `ctrl` builds admin commands
//! with it, `io` I/O commands; `host` checks the commands of user space.

use super::{
    features::Threshold,
    id::{
        Cid,
        Nsid,
        Qid, //
    },
    log::Kelvin,
    name_of, //
};

/// Opcodes of the I/O commands in use (NVM 3, Base 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// Flush (Base 7.1).
    Flush = 0x00,
    /// Write (NVM 3.2.6).
    Write = 0x01,
    /// Read (NVM 3.2.4).
    Read = 0x02,
    /// Write Zeroes (NVM 3.2.8).
    WriteZeroes = 0x08,
    /// Dataset Management (NVM 3.2.3).
    DatasetManagement = 0x09,
}

/// Opcodes of the admin commands in use (Base 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum AdminOpcode {
    /// Delete I/O Submission Queue (Base 5.7).
    DeleteSq = 0x00,
    /// Create I/O Submission Queue (Base 5.5).
    CreateSq = 0x01,
    /// Get Log Page (Base 5.16).
    GetLogPage = 0x02,
    /// Delete I/O Completion Queue (Base 5.6).
    DeleteCq = 0x04,
    /// Create I/O Completion Queue (Base 5.4).
    CreateCq = 0x05,
    /// Identify (Base 5.17).
    Identify = 0x06,
    /// Abort (Base 5.1).
    Abort = 0x08,
    /// Set Features (Base 5.27).
    SetFeatures = 0x09,
    /// Get Features (Base 5.15).
    GetFeatures = 0x0a,
    /// Asynchronous Event Request (Base 5.2).
    AsyncEvent = 0x0c,
    /// Doorbell Buffer Config (Base 5.8).
    DoorbellBufferConfig = 0x7c,
}

/// Names of the admin commands' opcodes (Base 5).
const ADMIN: &[(u8, &str)] = &[
    (0x00, "Delete I/O Submission Queue"),
    (0x01, "Create I/O Submission Queue"),
    (0x02, "Get Log Page"),
    (0x04, "Delete I/O Completion Queue"),
    (0x05, "Create I/O Completion Queue"),
    (0x06, "Identify"),
    (0x08, "Abort"),
    (0x09, "Set Features"),
    (0x0a, "Get Features"),
    (0x0c, "Asynchronous Event Request"),
    (0x0d, "Namespace Management"),
    (0x10, "Firmware Commit"),
    (0x11, "Firmware Image Download"),
    (0x14, "Device Self-test"),
    (0x15, "Namespace Attachment"),
    (0x18, "Keep Alive"),
    (0x19, "Directive Send"),
    (0x1a, "Directive Receive"),
    (0x1c, "Virtualization Management"),
    (0x1d, "NVMe-MI Send"),
    (0x1e, "NVMe-MI Receive"),
    (0x20, "Capacity Management"),
    (0x24, "Lockdown"),
    (0x7c, "Doorbell Buffer Config"),
    (0x7f, "Fabrics"),
    (0x80, "Format NVM"),
    (0x81, "Security Send"),
    (0x82, "Security Receive"),
    (0x84, "Sanitize"),
    (0x86, "Get LBA Status"),
];

/// Names of the I/O commands' opcodes (Base 7, NVM 3).
const IO: &[(u8, &str)] = &[
    (0x00, "Flush"),
    (0x01, "Write"),
    (0x02, "Read"),
    (0x04, "Write Uncorrectable"),
    (0x05, "Compare"),
    (0x08, "Write Zeroes"),
    (0x09, "Dataset Management"),
    (0x0c, "Verify"),
    (0x0d, "Reservation Register"),
    (0x0e, "Reservation Report"),
    (0x11, "Reservation Acquire"),
    (0x12, "I/O Management Receive"),
    (0x15, "Reservation Release"),
    (0x19, "Copy"),
    (0x1d, "I/O Management Send"),
    (0x79, "Zone Management Send"),
    (0x7a, "Zone Management Receive"),
    (0x7d, "Zone Append"),
];

/// Name of an opcode, including opcodes that the driver doesn't use (Base 5 and 7, NVM 3). `admin`
/// selects the admin commands.
pub fn opcode_name(admin: bool, opcode: u8) -> &'static str {
    if admin {
        name_of(ADMIN, opcode, 0xc0)
    } else {
        name_of(IO, opcode, 0x80)
    }
}

/// The data structure that Identify returns (CNS; Base 5.17).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cns {
    /// Identify Namespace of the NVM command set (NVM 4.1.5.1).
    Namespace(Nsid),
    /// Identify Controller (Base 5.17.2.1).
    Controller,
    /// The ids of up to 1024 active namespaces, the first ones or those after an id (Base
    /// 5.17.2.2).
    ActiveNamespaces {
        /// The namespaces' ids are greater than this.
        after: Option<Nsid>,
    },
    /// The namespace identification descriptors of a namespace (Base 5.17.2.3).
    NamespaceIds(Nsid),
    /// Identify Namespace of the NVM command set (NVM 4.1.5.3).
    NvmNamespace(Nsid),
    /// Identify Controller of the NVM command set (NVM 4.1.5.4).
    NvmController,
}

impl Cns {
    /// The value of the field CNS.
    pub const fn number(self) -> u8 {
        self.fields().0 as u8
    }

    /// The values of the fields CNS and NSID.
    const fn fields(self) -> (u32, u32) {
        match self {
            Self::Namespace(nsid) => (0x00, nsid.get()),
            Self::Controller => (0x01, 0),
            Self::ActiveNamespaces { after: Some(nsid) } => (0x02, nsid.get()),
            Self::ActiveNamespaces { after: None } => (0x02, 0),
            Self::NamespaceIds(nsid) => (0x03, nsid.get()),
            Self::NvmNamespace(nsid) => (0x05, nsid.get()),
            Self::NvmController => (0x06, 0),
        }
    }
}

/// A command's data pointer (DPTR; Base 3.3.3.1, 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataPtr {
    /// The command transfers no data.
    None,
    /// Physical region pages, see [`super::super::host::prp`] (Base 4.1.1).
    Prp {
        /// PRP entry 1: the start of the data, in the first page.
        prp1: u64,
        /// PRP entry 2: 0, the second page, or the list of all pages from the second on.
        prp2: u64,
    },
    /// The first descriptor of an SGL, encoded by [`SglDescriptor`] (Base 4.1.2).
    Sgl([u64; 2]),
}

impl DataPtr {
    /// The pointer as a command has it.
    #[inline]
    pub const fn words(self) -> DataWords {
        match self {
            Self::None => DataWords(0, [0, 0]),
            Self::Prp { prp1, prp2 } => DataWords(0, [prp1.to_le(), prp2.to_le()]),
            Self::Sgl(descriptor) => DataWords(Command::PSDT_SGL, descriptor),
        }
    }
}

/// A [`DataPtr`] as a command has it: PSDT in the first quadword, in the host's byte order, and the
/// fourth and the fifth quadword, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataWords(u64, [u64; 2]);

/// An SGL descriptor as the controller reads it, little-endian (Base 4.1.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SglDescriptor(pub [u64; 2]);

const _: () = assert!(core::mem::size_of::<SglDescriptor>() == 16);

impl SglDescriptor {
    const DATA_BLOCK: u64 = 0x0;
    const LAST_SEGMENT: u64 = 0x3;

    #[inline]
    const fn new(kind: u64, addr: u64, len: u32) -> Self {
        Self([addr.to_le(), ((kind << 60) | len as u64).to_le()])
    }

    /// `len` bytes of data at `addr`.
    #[inline]
    pub const fn data_block(addr: u64, len: u32) -> Self {
        Self::new(Self::DATA_BLOCK, addr, len)
    }

    /// The last segment of an SGL: `count` descriptors at `addr`.
    #[inline]
    pub const fn list(addr: u64, count: u32) -> Self {
        Self::new(Self::LAST_SEGMENT, addr, count.wrapping_mul(16))
    }
}

/// A range of blocks in the data of Dataset Management, little-endian (NVM 3.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct DsmRange([u64; 2]);

const _: () = assert!(core::mem::size_of::<DsmRange>() == 16);

impl DsmRange {
    /// Largest number of ranges in a command.
    pub const MAX: usize = 256;

    /// `blocks` logical blocks from `slba` on, without context attributes.
    #[inline]
    pub const fn new(slba: u64, blocks: u32) -> Self {
        Self([((blocks as u64) << 32).to_le(), slba.to_le()])
    }

    /// The range's two quadwords, as the controller reads them.
    #[inline]
    pub const fn quadwords(&self) -> [u64; 2] {
        self.0
    }
}

/// A submission queue entry as the controller reads it: 64 bytes, little-endian (Base 3.3.3.1).
///
/// The quadwords hold: command dword 0 and namespace id; dwords 2 and 3; metadata pointer; data
/// pointer (two); and dwords 10 to 15 (three).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Command(pub [u64; 8]);

const _: () = assert!(core::mem::size_of::<Command>() == 64);

impl Command {
    /// Force Unit Access, in dword 12 of Read and Write.
    const FUA: u32 = 1 << 30;
    /// Deallocate, in dword 12 of Write Zeroes.
    const DEAC: u32 = 1 << 25;
    /// Data are described by SGLs, the metadata pointer is an address (PSDT is 01b).
    const PSDT_SGL: u64 = 1 << 14;
    /// Physically contiguous, in dword 11 of the commands that create queues.
    const PC: u32 = 1;
    /// The feature Power Management.
    const POWER_MANAGEMENT: u8 = 0x02;
    /// The feature Host Memory Buffer.
    const HOST_MEMORY: u8 = 0x0d;
    /// Interrupts enabled, in dword 11 of Create I/O Completion Queue.
    const IEN: u32 = 1 << 1;

    #[inline]
    pub(super) const fn new(opcode: u8, cid: Cid, nsid: u32, data: DataPtr) -> Self {
        let DataWords(psdt, [dptr1, dptr2]) = data.words();
        let head = ((nsid as u64) << 32) | ((cid.get() as u64) << 16) | psdt | opcode as u64;
        Self([head.to_le(), 0, 0, dptr1, dptr2, 0, 0, 0])
    }

    /// Sets dwords 10 and 11.
    #[inline]
    pub(super) const fn dwords(self, cdw10: u32, cdw11: u32) -> Self {
        let [q0, q1, q2, q3, q4, _, q6, q7] = self.0;
        let q5 = ((cdw11 as u64) << 32) | cdw10 as u64;
        Self([q0, q1, q2, q3, q4, q5.to_le(), q6, q7])
    }

    /// Sets starting block and number of blocks, with flags in the latter's dword.
    #[inline]
    const fn range(self, slba: u64, blocks: u32, flags: u32) -> Self {
        let nlb = blocks.saturating_sub(1) & 0xffff;
        let [q0, q1, q2, q3, q4, _, _, q7] = self.0;
        let q6 = (flags | nlb) as u64;
        Self([q0, q1, q2, q3, q4, slba.to_le(), q6.to_le(), q7])
    }

    /// Read or Write of `blocks` logical blocks (1 to 65536) from `slba` on; `fua` makes a write
    /// reach the medium before it completes (NVM 3.2.4, 3.2.6).
    #[inline]
    pub const fn rw(
        opcode: Opcode,
        cid: Cid,
        nsid: Nsid,
        slba: u64,
        blocks: u32,
        fua: bool,
        data: DataPtr,
    ) -> Self {
        let flags = if fua { Self::FUA } else { 0 };
        Self::new(opcode as u8, cid, nsid.get(), data).range(slba, blocks, flags)
    }

    /// Flush: writes the volatile write cache to the medium (Base 7.1).
    #[inline]
    pub const fn flush(cid: Cid, nsid: Nsid) -> Self {
        Self::new(Opcode::Flush as u8, cid, nsid.get(), DataPtr::None)
    }

    /// Write Zeroes to `blocks` logical blocks (1 to 65536) from `slba` on, which may be
    /// deallocated if `deallocate` (NVM 3.2.8).
    #[inline]
    pub const fn write_zeroes(
        cid: Cid,
        nsid: Nsid,
        slba: u64,
        blocks: u32,
        deallocate: bool,
    ) -> Self {
        let flags = if deallocate { Self::DEAC } else { 0 };
        Self::new(Opcode::WriteZeroes as u8, cid, nsid.get(), DataPtr::None)
            .range(slba, blocks, flags)
    }

    /// Dataset Management that deallocates `ranges` ranges (1 to [`DsmRange::MAX`]), which are the
    /// command's data (NVM 3.2.3).
    #[inline]
    pub const fn dsm_deallocate(cid: Cid, nsid: Nsid, ranges: u32, data: DataPtr) -> Self {
        const AD: u32 = 1 << 2;
        let nr = ranges.saturating_sub(1) & 0xff;
        Self::new(Opcode::DatasetManagement as u8, cid, nsid.get(), data).dwords(nr, AD)
    }

    /// Identify: 4096 bytes about the controller or a namespace (Base 5.17).
    pub const fn identify(cid: Cid, cns: Cns, data: DataPtr) -> Self {
        let (cns, nsid) = cns.fields();
        Self::new(AdminOpcode::Identify as u8, cid, nsid, data).dwords(cns, 0)
    }

    /// Dword 10 of the commands that create a queue: its size and identifier.
    const fn queue(qid: Qid, depth: u32) -> u32 {
        ((depth.saturating_sub(1) & 0xffff) << 16) | qid.get() as u32
    }

    /// Create I/O Completion Queue of `depth` entries at `prp1`, physically contiguous, with
    /// interrupts on `vector`; polled if that is [`None`] (Base 5.4).
    pub const fn create_cq(cid: Cid, qid: Qid, depth: u32, vector: Option<u16>, prp1: u64) -> Self {
        let cdw11 = match vector {
            Some(vector) => ((vector as u32) << 16) | Self::IEN | Self::PC,
            None => Self::PC,
        };
        let data = DataPtr::Prp { prp1, prp2: 0 };
        Self::new(AdminOpcode::CreateCq as u8, cid, 0, data).dwords(Self::queue(qid, depth), cdw11)
    }

    /// Create I/O Submission Queue of `depth` entries at `prp1`, physically contiguous, whose
    /// completions go to the queue `cqid` (Base 5.5).
    pub const fn create_sq(cid: Cid, qid: Qid, depth: u32, cqid: Qid, prp1: u64) -> Self {
        let data = DataPtr::Prp { prp1, prp2: 0 };
        Self::new(AdminOpcode::CreateSq as u8, cid, 0, data).dwords(
            Self::queue(qid, depth),
            ((cqid.get() as u32) << 16) | Self::PC,
        )
    }

    /// Create I/O Submission Queue with medium instead of urgent priority, which matters only to
    /// controllers that arbitrate by priority (Base 5.5).
    pub const fn with_medium_priority(self) -> Self {
        /// QPRIO, in dword 11.
        const MEDIUM: u64 = 2 << 1;
        let [q0, q1, q2, q3, q4, q5, q6, q7] = self.0;
        Self([q0, q1, q2, q3, q4, q5 | (MEDIUM << 32).to_le(), q6, q7])
    }

    /// Delete I/O Submission Queue (Base 5.7).
    pub const fn delete_sq(cid: Cid, qid: Qid) -> Self {
        Self::new(AdminOpcode::DeleteSq as u8, cid, 0, DataPtr::None).dwords(qid.get() as u32, 0)
    }

    /// Delete I/O Completion Queue, after all its submission queues (Base 5.6).
    pub const fn delete_cq(cid: Cid, qid: Qid) -> Self {
        Self::new(AdminOpcode::DeleteCq as u8, cid, 0, DataPtr::None).dwords(qid.get() as u32, 0)
    }

    const fn set_features(cid: Cid, feature: u8, cdw11: u32) -> Self {
        Self::new(AdminOpcode::SetFeatures as u8, cid, 0, DataPtr::None)
            .dwords(feature as u32, cdw11)
    }

    /// Set Features, Number of Queues: requests `n` I/O submission queues and as many completion
    /// queues (1 to 65535). The result holds the numbers that the controller granted, see
    /// [`super::features::granted_queues`] (Base 5.27.1.5).
    pub const fn set_features_num_queues(cid: Cid, n: u16) -> Self {
        let n = n.saturating_sub(1) as u32;
        Self::set_features(cid, 0x07, (n << 16) | n)
    }

    /// Get Features, Power Management: the result has the power state in its lower 5 bits, and the
    /// workload hint above (Base 5.27.1.2).
    pub const fn get_features_power_state(cid: Cid) -> Self {
        Self::new(AdminOpcode::GetFeatures as u8, cid, 0, DataPtr::None)
            .dwords(Self::POWER_MANAGEMENT as u32, 0)
    }

    /// Set Features, Power Management: has the controller enter a power state; `cdw11` is like the
    /// result of [`get_features_power_state`](Self::get_features_power_state).
    pub const fn set_features_power_state(cid: Cid, cdw11: u32) -> Self {
        Self::set_features(cid, Self::POWER_MANAGEMENT, cdw11)
    }

    /// Get Features, Temperature Threshold: reads `threshold`. The result holds the temperature in
    /// its lower 16 bits (Base 5.27.1.3).
    pub const fn get_features_temperature(cid: Cid, threshold: Threshold) -> Self {
        Self::new(AdminOpcode::GetFeatures as u8, cid, 0, DataPtr::None)
            .dwords(Threshold::FEATURE, threshold.field())
    }

    /// Set Features, Temperature Threshold: sets `threshold` to `limit` (Base 5.27.1.3).
    pub const fn set_features_temperature(cid: Cid, threshold: Threshold, limit: Kelvin) -> Self {
        let cdw11 = threshold.field() | limit.0 as u32;
        Self::set_features(cid, Threshold::FEATURE as u8, cdw11)
    }

    /// Set Features, Asynchronous Event Configuration: enables the notices in `mask`, which has the
    /// bits of OAES in the controller's identify data (Base 5.27.1.8).
    pub const fn set_features_async_event(cid: Cid, mask: u32) -> Self {
        Self::set_features(cid, 0x0b, mask)
    }

    /// Set Features, Timestamp: the data are the milliseconds since 1970, in 48 bits (Base 5.27.1.13).
    pub const fn set_features_timestamp(cid: Cid, data: DataPtr) -> Self {
        Self::new(AdminOpcode::SetFeatures as u8, cid, 0, data).dwords(0x0e, 0)
    }

    /// Set Features, Autonomous Power State Transition: `enable`s what the data say, see
    /// [`transitions`](super::super::host::power::transitions) (Base 5.27.1.11).
    pub const fn set_features_power_transitions(cid: Cid, enable: bool, data: DataPtr) -> Self {
        Self::new(AdminOpcode::SetFeatures as u8, cid, 0, data).dwords(0x0c, enable as u32)
    }

    /// Set Features, Host Memory Buffer: lends `pages` pages of memory, which the `count` descriptors at
    /// `list` describe; `again` if they are what they were before (Base 5.27.1.12).
    pub const fn set_features_host_memory(
        cid: Cid,
        again: bool,
        pages: u32,
        list: u64,
        count: u32,
    ) -> Self {
        const EHM: u32 = 1;
        let cdw11 = EHM | (again as u32) << 1;
        let [q0, q1, q2, q3, q4, q5, ..] = Self::set_features(cid, Self::HOST_MEMORY, cdw11).0;
        let (low, high) = (list as u32 as u64, list >> 32);
        let (q6, q7) = (low << 32 | pages as u64, (count as u64) << 32 | high);
        Self([q0, q1, q2, q3, q4, q5, q6.to_le(), q7.to_le()])
    }

    /// Set Features, Host Memory Buffer: takes the memory back.
    pub const fn set_features_no_host_memory(cid: Cid) -> Self {
        Self::set_features(cid, Self::HOST_MEMORY, 0)
    }

    /// Asynchronous Event Request: completes when an event occurs (Base 5.2).
    pub const fn async_event(cid: Cid) -> Self {
        Self::new(AdminOpcode::AsyncEvent as u8, cid, 0, DataPtr::None)
    }

    /// Abort of the command `target_cid` of the submission queue `sqid` (Base 5.1).
    pub const fn abort(cid: Cid, sqid: Qid, target_cid: Cid) -> Self {
        Self::new(AdminOpcode::Abort as u8, cid, 0, DataPtr::None)
            .dwords(((target_cid.get() as u32) << 16) | sqid.get() as u32, 0)
    }

    /// Get Log Page: the first `bytes` bytes (a multiple of 4, at least 4) of the log page `lid`, of
    /// the namespace `nsid`, or of the controller. Reading the page also clears its asynchronous
    /// event (Base 5.16).
    pub const fn get_log_page(
        cid: Cid,
        lid: u8,
        nsid: Option<Nsid>,
        bytes: u32,
        data: DataPtr,
    ) -> Self {
        let nsid = match nsid {
            Some(nsid) => nsid.get(),
            None => Nsid::BROADCAST,
        };
        let numd = (bytes >> 2).saturating_sub(1);
        Self::new(AdminOpcode::GetLogPage as u8, cid, nsid, data)
            .dwords(((numd & 0xffff) << 16) | lid as u32, numd >> 16)
    }

    /// Doorbell Buffer Config: shadow doorbells at `prp1`, event indexes at `prp2`, both a page
    /// (Base 5.8; see [`super::super::host::dbbuf`]).
    pub const fn doorbell_buffer_config(cid: Cid, prp1: u64, prp2: u64) -> Self {
        let data = DataPtr::Prp { prp1, prp2 };
        Self::new(AdminOpcode::DoorbellBufferConfig as u8, cid, 0, data)
    }

    /// Any command: its opcode, namespace id, dwords 2 and 3, and 10 to 15, without data.
    #[inline(always)]
    pub const fn passthrough(opcode: u8, nsid: u32, cdw2: [u32; 2], cdw10: [u32; 6]) -> Self {
        const fn pair(low: u32, high: u32) -> u64 {
            ((high as u64) << 32 | low as u64).to_le()
        }
        let Self([head, ..]) = Self::new(opcode, Cid::UNSET, nsid, DataPtr::None);
        let ([d2, d3], [d10, d11, d12, d13, d14, d15]) = (cdw2, cdw10);
        let (q1, q5) = (pair(d2, d3), pair(d10, d11));
        Self([head, q1, 0, 0, 0, q5, pair(d12, d13), pair(d14, d15)])
    }

    /// The command with the data pointer `data`, and without metadata.
    #[inline]
    pub const fn with_data(self, data: DataPtr) -> Self {
        self.without_pointers().with_data(data.words())
    }

    /// The command without its pointers to data and metadata.
    #[inline]
    pub const fn without_pointers(self) -> WithoutPointers {
        let [q0, q1, _, _, _, q5, q6, q7] = self.0;
        WithoutPointers([q0, q1, q5, q6, q7])
    }

    /// First quadword, in the host's byte order.
    #[inline]
    const fn head(&self) -> u64 {
        let [head, ..] = self.0;
        u64::from_le(head)
    }

    /// Command identifier (CID).
    #[inline]
    pub const fn cid(&self) -> Cid {
        Cid::new((self.head() >> 16) as u16)
    }

    /// Sets the command identifier (CID), which was [`Cid::UNSET`] before: so no old one needs to
    /// be masked out.
    #[inline]
    pub fn set_cid(&mut self, cid: Cid) {
        let head = self.head() | (u64::from(cid.get()) << 16);
        let [first, ..] = &mut self.0;
        *first = head.to_le();
    }

    /// Opcode, see [`opcode_name`].
    #[inline]
    pub const fn opcode(&self) -> u8 {
        self.head() as u8
    }

    /// Whether the command sends data to the controller; otherwise it may receive data. All
    /// commands of the specification encode this in the opcode.
    #[inline]
    pub const fn sends_data(&self) -> bool {
        self.opcode() & 1 != 0
    }

    /// Dword `number`, in the host's byte order; 0 beyond dword 15.
    #[inline]
    pub fn dword(&self, number: usize) -> u32 {
        let quadword = self.0.get(number / 2).copied().unwrap_or(0);
        let value = u64::from_le(quadword);
        match number % 2 {
            0 => value as u32,
            _ => (value >> 32) as u32,
        }
    }
}

/// A command whose data have no address yet: smaller than a [`Command`], because many may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WithoutPointers([u64; 5]);

impl WithoutPointers {
    /// The command with the data pointer `data`, and without metadata.
    #[inline]
    pub const fn with_data(self, data: DataWords) -> Command {
        let [q0, q1, q5, q6, q7] = self.0;
        let DataWords(psdt, [dptr1, dptr2]) = data;
        Command([q0 | psdt.to_le(), q1, 0, dptr1, dptr2, q5, q6, q7])
    }
}
