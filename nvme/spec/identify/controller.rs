// SPDX-License-Identifier: GPL-2.0

//! Parses Identify Controller, of all command sets and of the NVM command set (CNS 01h and 06h;
//! Base 5.17.2.1, NVM 4.1.5.4).

use super::{
    super::{
        log::Kelvin,
        page::{
            byte,
            bytes,
            le16,
            le32,
            Page, //
        },
    },
    Text,
    POWER_STATES, //
};
use core::fmt;

/// Minimum time limit of a shutdown, in milliseconds.
pub const MIN_SHUTDOWN_MS: u32 = 5000;
/// Maximum time limit of a shutdown, in milliseconds, for any RTD3E.
pub const MAX_SHUTDOWN_MS: u32 = 60_000;

/// Time limit of a firmware activation, in milliseconds, if the controller reports none.
pub const DEFAULT_ACTIVATION_MS: u32 = 60_000;
/// Maximum time limit of a firmware activation, in milliseconds, for any MTFA.
pub const MAX_ACTIVATION_MS: u32 = 600_000;

/// A controller's identify data (Identify Controller, CNS 01h; Base 5.17.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Controller {
    /// PCI vendor id (VID).
    pub vid: u16,
    /// Serial number (SN).
    pub serial: Text<20>,
    /// Model number (MN).
    pub model: Text<40>,
    /// Firmware revision (FR).
    pub firmware: Text<8>,
    /// Maximum data transfer size (MDTS), see [`Self::max_transfer_bytes`].
    mdts: u8,
    /// Controller id in the NVM subsystem (CNTLID).
    pub cntlid: u16,
    /// Version of the specification (VER): major in bits 31 to 16, minor 15 to 8, tertiary 7 to 0.
    pub ver: u32,
    /// RTD3 entry latency (RTD3E), see [`Self::shutdown_timeout_ms`].
    rtd3e: u32,
    /// Optional asynchronous events supported (OAES), see the masks in
    /// [`AsyncEvent`](super::super::features::AsyncEvent).
    pub oaes: u32,
    /// Controller attributes (CTRATT).
    ctratt: u32,
    /// Controller type (CNTRLTYPE).
    cntrltype: u8,
    /// Optional admin command support (OACS).
    oacs: u16,
    /// Number of Abort commands that may be outstanding (ACL, made 1's based): 1 to 256.
    pub acl: u16,
    /// Log page attributes (LPA).
    lpa: u8,
    /// Number of Asynchronous Event Requests that may be outstanding (AERL, made 1's based): 1 to
    /// 256.
    pub aerl: u16,
    /// Maximum time for firmware activation (MTFA), see [`Self::activation_timeout_ms`].
    mtfa: u16,
    /// Number of the last power state, from 0 (NPSS).
    pub npss: u8,
    /// Host memory buffer that the controller prefers, in units of 4 KiB (HMPRE); 0 for none.
    pub hmpre: u32,
    /// Host memory buffer that the controller needs, in units of 4 KiB (HMMIN).
    pub hmmin: u32,
    /// Smallest descriptor of a host memory buffer, in units of 4 KiB (HMMINDS); 0 for no limit.
    pub hmminds: u32,
    /// Most descriptors of a host memory buffer (HMMAXD); 0 for no limit.
    pub hmmaxd: u16,
    /// Warning composite temperature threshold (WCTEMP); 0 if not reported.
    pub wctemp: Kelvin,
    /// Critical composite temperature threshold (CCTEMP); 0 if not reported.
    pub cctemp: Kelvin,
    sqes: u8,
    cqes: u8,
    /// Largest namespace id that may be valid (NN).
    pub nn: u32,
    /// Optional NVM command support (ONCS).
    oncs: u16,
    /// Volatile write cache (VWC).
    vwc: u8,
    /// Atomic write unit in normal operation, in blocks of any namespace (AWUN, made 1's based).
    pub awun: u32,
    /// Atomic write unit at power fail, in blocks of any namespace (AWUPF, made 1's based).
    pub awupf: u32,
    /// SGL support (SGLS).
    sgls: u32,
}

impl Controller {
    /// Parses an identify page. Doesn't check the values, see [`Self::validate`].
    pub fn parse(page: &Page) -> Self {
        Self {
            vid: le16(page, 0),
            serial: Text::new(bytes(page, 4)),
            model: Text::new(bytes(page, 24)),
            firmware: Text::new(bytes(page, 64)),
            mdts: byte(page, 77),
            cntlid: le16(page, 78),
            ver: le32(page, 80),
            rtd3e: le32(page, 88),
            oaes: le32(page, 92),
            ctratt: le32(page, 96),
            cntrltype: byte(page, 111),
            oacs: le16(page, 256),
            acl: u16::from(byte(page, 258)).saturating_add(1),
            aerl: u16::from(byte(page, 259)).saturating_add(1),
            lpa: byte(page, 261),
            mtfa: le16(page, 270),
            npss: byte(page, 263),
            hmpre: le32(page, 272),
            hmmin: le32(page, 276),
            hmminds: le32(page, 332),
            hmmaxd: le16(page, 336),
            wctemp: Kelvin(le16(page, 266)),
            cctemp: Kelvin(le16(page, 268)),
            sqes: byte(page, 512),
            cqes: byte(page, 513),
            nn: le32(page, 516),
            oncs: le16(page, 520),
            vwc: byte(page, 525),
            awun: u32::from(le16(page, 526)).saturating_add(1),
            awupf: u32::from(le16(page, 528)).saturating_add(1),
            sgls: le32(page, 536),
        }
    }

    /// Checks that the driver supports the controller.
    pub fn validate(&self) -> Result<(), IdentifyError> {
        // 0 means not reported: before this field was defined, every controller was an I/O
        // controller.
        if self.cntrltype > 1 {
            return Err(IdentifyError::ControllerType(self.cntrltype));
        }
        if !entry_size(self.sqes, 6) {
            return Err(IdentifyError::SubmissionEntrySize(self.sqes));
        }
        if !entry_size(self.cqes, 4) {
            return Err(IdentifyError::CompletionEntrySize(self.cqes));
        }
        if self.nn == 0 {
            return Err(IdentifyError::NoNamespaces);
        }
        Ok(())
    }

    /// Whether the controller describes formats in Identify Namespace of the NVM command set (CTRATT bit
    /// 15).
    pub fn extended_formats(&self) -> bool {
        (self.ctratt & (1 << 15)) != 0
    }

    /// The number of the controller's deepest power state; `None` if it has only one, or reports more
    /// than there are.
    pub fn deepest_power_state(&self) -> Option<u8> {
        match self.npss {
            0 => None,
            state if usize::from(state) < POWER_STATES => Some(state),
            _ => None,
        }
    }

    /// Largest number of bytes that one command may transfer, with `page_size_min` from
    /// [`Cap::page_size_min`](super::super::regs::Cap::page_size_min) (MDTS). [`None`] means no limit.
    pub fn max_transfer_bytes(&self, page_size_min: u64) -> Option<u64> {
        power_of_pages(self.mdts, page_size_min)
    }

    /// Time limit of a normal shutdown, in milliseconds: the controller's RTD3 entry latency
    /// (RTD3E), but at least [`MIN_SHUTDOWN_MS`], because a controller may report 0 or too little,
    /// and at most [`MAX_SHUTDOWN_MS`].
    pub fn shutdown_timeout_ms(&self) -> u32 {
        self.rtd3e
            .div_ceil(1000)
            .clamp(MIN_SHUTDOWN_MS, MAX_SHUTDOWN_MS)
    }

    /// The controller type's name, as the kernel's own driver shows it (CNTRLTYPE).
    pub fn type_name(&self) -> &'static str {
        match self.cntrltype {
            1 => "io",
            2 => "discovery",
            3 => "admin",
            _ => "reserved",
        }
    }

    /// Whether the controller has the Commands Supported and Effects log (LPA bit 1).
    pub fn effects_log(&self) -> bool {
        (self.lpa & (1 << 1)) != 0
    }

    /// Time limit of a firmware activation, in milliseconds (MTFA); [`DEFAULT_ACTIVATION_MS`] if the
    /// controller reports none.
    pub fn activation_timeout_ms(&self) -> u32 {
        match self.mtfa {
            0 => DEFAULT_ACTIVATION_MS,
            mtfa => u32::from(mtfa).saturating_mul(100).min(MAX_ACTIVATION_MS),
        }
    }

    /// Whether the controller supports shadow doorbells (OACS bit 8).
    pub fn doorbell_buffer_config(&self) -> bool {
        (self.oacs & (1 << 8)) != 0
    }

    /// Whether the controller supports Dataset Management, and so deallocation (ONCS bit 2).
    pub fn dataset_management(&self) -> bool {
        (self.oncs & (1 << 2)) != 0
    }

    /// Whether the controller supports Write Zeroes (ONCS bit 3).
    pub fn write_zeroes(&self) -> bool {
        (self.oncs & (1 << 3)) != 0
    }

    /// Whether the controller keeps the time (ONCS bit 6).
    pub fn timestamp(&self) -> bool {
        (self.oncs & (1 << 6)) != 0
    }

    /// Whether the controller has a volatile write cache, so that flushes matter (VWC bit 0).
    pub fn volatile_write_cache(&self) -> bool {
        (self.vwc & 1) != 0
    }

    /// Whether I/O commands may use SGLs (SGLS bits 1 and 0), whose data blocks are aligned to 4
    /// bytes.
    pub fn sgls(&self) -> bool {
        matches!(self.sgls & 3, 1 | 2)
    }
}

/// The limit in a field that is a power of two of pages of `page_size_min` bytes; [`None`] for 0,
/// which means no limit.
fn power_of_pages(field: u8, page_size_min: u64) -> Option<u64> {
    let pages = || 1u64.checked_shl(u32::from(field));
    (field != 0).then(|| pages().map_or(u64::MAX, |pages| page_size_min.saturating_mul(pages)))
}

/// Whether SQES or CQES includes entries of `1 << size` bytes: the smallest size is in bits 3 to 0,
/// the largest in 7 to 4.
fn entry_size(field: u8, size: u8) -> bool {
    (field & 0xf) <= size && size <= (field >> 4)
}

/// Identity of a controller's device: PCI vendor id, serial and model number. The bytes are the
/// controller's, which may not be printable, except that the padding at the end is spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceId {
    /// PCI vendor id (VID).
    pub vid: u16,
    serial: [u8; 20],
    model: [u8; 40],
}

impl DeviceId {
    /// Parses an identify page.
    #[inline(never)]
    pub fn parse(page: &Page) -> Self {
        let mut this = Self {
            vid: le16(page, 0),
            serial: bytes(page, 4),
            model: bytes(page, 24),
        };
        pad(&mut this.serial);
        pad(&mut this.model);
        this
    }

    /// Serial number (SN), without the padding.
    pub fn serial(&self) -> &[u8] {
        unpadded(&self.serial)
    }

    /// Model number (MN), without the padding.
    pub fn model(&self) -> &[u8] {
        unpadded(&self.model)
    }
}

/// Replaces NULs among the spaces at the end: some controllers pad with NULs, although the
/// specification requires spaces.
#[inline(never)]
fn pad(text: &mut [u8]) {
    for byte in text.iter_mut().rev() {
        match *byte {
            0 => *byte = b' ',
            b' ' => {}
            _ => break,
        }
    }
}

/// `text` without the spaces at its end.
#[inline(never)]
fn unpadded(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., b' '] = text {
        text = rest;
    }
    text
}

/// The longest NVMe Qualified Name, in bytes (Base 4.5).
const MAX_NQN: usize = 223;

/// The NVM subsystem of a controller, and the controller's place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subsystem {
    /// The subsystem's name (SUBNQN), padded with zeroes; all zeroes if it has none.
    nqn: [u8; MAX_NQN],
    /// PCI subsystem vendor id (SSVID).
    ssvid: u16,
    /// The device of the controller.
    pub device: DeviceId,
    /// Controller id (CNTLID).
    cntlid: u16,
    /// The subsystem may have several controllers (CMIC bit 1).
    several: bool,
}

impl Subsystem {
    /// Parses the identify data of one of the subsystem's controllers.
    pub fn parse(page: &Page) -> Self {
        let mut nqn = [0; MAX_NQN];
        let name: [u8; 256] = bytes(page, 768);
        let len = name.iter().position(|byte| *byte == 0).unwrap_or(0);
        // A name that is too long, or isn't terminated, counts as no name.
        if let (Some(to), Some(from)) = (nqn.get_mut(..len), name.get(..len)) {
            to.copy_from_slice(from);
        }
        Self {
            nqn,
            ssvid: le16(page, 2),
            device: DeviceId::parse(page),
            cntlid: le16(page, 78),
            several: (byte(page, 76) & (1 << 1)) != 0,
        }
    }

    /// The subsystem's name (SUBNQN); [`None`] if it has none, or one that isn't text.
    pub fn nqn(&self) -> Option<&str> {
        let len = self.nqn.iter().position(|byte| *byte == 0);
        let len = len.unwrap_or(self.nqn.len());
        let name = core::str::from_utf8(self.nqn.get(..len)?).ok()?;
        let printable = !name.is_empty() && !name.contains(|c: char| c.is_control());
        printable.then_some(name)
    }

    /// Forgets the subsystem's name, which other subsystems have, too.
    pub fn forget_nqn(&mut self) {
        self.nqn = [0; MAX_NQN];
    }

    /// PCI vendor id and subsystem vendor id.
    pub const fn vendors(&self) -> (u16, u16) {
        (self.device.vid, self.ssvid)
    }

    /// Whether the subsystem may have several controllers (CMIC bit 1).
    pub const fn has_several(&self) -> bool {
        self.several
    }

    /// Whether `other` comes from another controller of the same subsystem. Controllers with the
    /// same controller id are in different subsystems, even if the names are equal: some devices
    /// all have the same name.
    pub fn has_both(&self, other: &Self) -> bool {
        let none = [0; MAX_NQN];
        let same = match self.nqn == none && other.nqn == none {
            true => self.device == other.device && self.ssvid == other.ssvid,
            false => self.nqn == other.nqn,
        };
        same && self.several && other.several && self.cntlid != other.cntlid
    }
}

/// Why the driver can't use a controller, from its identify data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentifyError {
    /// CNTRLTYPE is that of a discovery or an administrative controller, or reserved.
    ControllerType(u8),
    /// SQES doesn't include submission queue entries of 64 bytes.
    SubmissionEntrySize(u8),
    /// CQES doesn't include completion queue entries of 16 bytes.
    CompletionEntrySize(u8),
    /// NN is 0.
    NoNamespaces,
}

impl fmt::Display for IdentifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ControllerType(value) => {
                write!(f, "CNTRLTYPE is {value}: not an I/O controller (1)")
            }
            Self::SubmissionEntrySize(value) => {
                write!(f, "SQES is {value:#04x}: entries of 64 bytes are needed")
            }
            Self::CompletionEntrySize(value) => {
                write!(f, "CQES is {value:#04x}: entries of 16 bytes are needed")
            }
            Self::NoNamespaces => f.write_str("NN is 0: there can be no namespace"),
        }
    }
}

/// Limits of the NVM command set (Identify Controller, CNS 06h; NVM 4.1.5.4). 0 means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NvmController {
    /// Maximum size of a Write Zeroes command (WZSL), see [`Self::max_write_zeroes_bytes`].
    pub wzsl: u8,
    /// Maximum ranges of a Dataset Management command (DMRL).
    pub ranges: u16,
    /// Maximum logical blocks of a range that the controller promises to process (DMRSL).
    pub range_blocks: u32,
}

impl NvmController {
    /// Parses the identify data.
    pub fn parse(page: &Page) -> Self {
        Self {
            wzsl: byte(page, 1),
            ranges: u16::from(byte(page, 3)),
            range_blocks: le32(page, 4),
        }
    }

    /// Largest number of bytes that a Write Zeroes command may zero, with `page_size_min` from
    /// [`Cap::page_size_min`](super::super::regs::Cap::page_size_min) (WZSL). [`None`] means no limit.
    pub fn max_write_zeroes_bytes(&self, page_size_min: u64) -> Option<u64> {
        power_of_pages(self.wzsl, page_size_min)
    }
}
