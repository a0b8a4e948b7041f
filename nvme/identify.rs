// SPDX-License-Identifier: GPL-2.0

//! Identify data: what a controller says of itself and of its namespaces (Base 5.17, NVM 4.1.5).
//!
//! The pages are parsed into small values of our own. What the driver can't work with is an error
//! that names the field and its value.

use core::{
    fmt,
    str, //
};

/// An identify page, or a list of the same size, as the controller wrote it.
pub type Page = [u8; 4096];

/// `N` bytes from `offset` on; zeroes beyond the page's end.
#[inline]
fn bytes<const N: usize>(page: &Page, offset: usize) -> [u8; N] {
    page.get(offset..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .unwrap_or([0; N])
}

#[inline]
fn byte(page: &Page, offset: usize) -> u8 {
    u8::from_le_bytes(bytes(page, offset))
}

#[inline]
fn le16(page: &Page, offset: usize) -> u16 {
    u16::from_le_bytes(bytes(page, offset))
}

#[inline]
fn le32(page: &Page, offset: usize) -> u32 {
    u32::from_le_bytes(bytes(page, offset))
}

#[inline]
fn le64(page: &Page, offset: usize) -> u64 {
    u64::from_le_bytes(bytes(page, offset))
}

/// Text of a fixed length, as identify data have it: padded with spaces. Only printable ASCII
/// characters are kept, others become question marks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<const N: usize>([u8; N]);

impl<const N: usize> Text<N> {
    /// Takes bytes from a controller.
    fn new(mut text: [u8; N]) -> Self {
        clean(&mut text);
        Self(text)
    }

    /// The text without the padding.
    pub fn as_str(&self) -> &str {
        trim(&self.0)
    }
}

/// Makes printable ASCII of bytes from a controller.
#[inline(never)]
fn clean(text: &mut [u8]) {
    // Trailing NULs are padding too, whatever the specification says.
    for byte in text.iter_mut().rev() {
        if *byte != 0 {
            break;
        }
        *byte = b' ';
    }
    for byte in text {
        if !matches!(*byte, b' '..=b'~') {
            *byte = b'?';
        }
    }
}

/// The text in ASCII bytes, without the padding.
#[inline(never)]
fn trim(text: &[u8]) -> &str {
    // It was made ASCII, so this never is an error.
    str::from_utf8(text.trim_ascii()).unwrap_or("")
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// The least and the most time that a shutdown is waited for, in milliseconds.
pub const MIN_SHUTDOWN_MS: u32 = 5000;
pub const MAX_SHUTDOWN_MS: u32 = 60_000;

/// What a controller says of itself (Identify Controller, CNS 01h; Base 5.17.2.1).
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
    /// Optional asynchronous events supported (OAES), by the bits that
    /// [`super::features::AsyncEvent`] has for them.
    pub oaes: u32,
    /// Controller type (CNTRLTYPE).
    cntrltype: u8,
    /// Optional admin command support (OACS).
    oacs: u16,
    /// Number of Abort commands that may be outstanding (ACL, made 1's based): 1 to 256.
    pub acl: u16,
    /// Number of Asynchronous Event Requests that may be outstanding (AERL, made 1's based): 1 to
    /// 256.
    pub aerl: u16,
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
    /// Parses an identify page. What is in it isn't checked, see [`Self::validate`].
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
            cntrltype: byte(page, 111),
            oacs: le16(page, 256),
            acl: u16::from(byte(page, 258)).saturating_add(1),
            aerl: u16::from(byte(page, 259)).saturating_add(1),
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

    /// Checks that the driver can work with the controller.
    pub fn validate(&self) -> Result<(), IdentifyError> {
        // 0 is from before the field was defined, and an I/O controller then.
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

    /// Largest number of bytes that one command may transfer, where `page_size_min` is that of
    /// [`super::regs::Cap::page_size_min`] (MDTS). [`None`] means that there is no limit.
    pub fn max_transfer_bytes(&self, page_size_min: u64) -> Option<u64> {
        match self.mdts {
            0 => None,
            mdts => Some(
                1u64.checked_shl(u32::from(mdts))
                    .map_or(u64::MAX, |pages| page_size_min.saturating_mul(pages)),
            ),
        }
    }

    /// How long to wait for an orderly shutdown, in milliseconds: as long as the controller says that it
    /// may take (RTD3E), but at least [`MIN_SHUTDOWN_MS`], as it may say 0 or too little, and at most
    /// [`MAX_SHUTDOWN_MS`].
    pub fn shutdown_timeout_ms(&self) -> u32 {
        self.rtd3e
            .div_ceil(1000)
            .clamp(MIN_SHUTDOWN_MS, MAX_SHUTDOWN_MS)
    }

    /// What tells the controller's device from another one.
    pub fn device(&self) -> DeviceId {
        DeviceId {
            vid: self.vid,
            serial: self.serial,
            model: self.model,
        }
    }

    /// Whether there are shadow doorbells (OACS bit 8).
    pub fn doorbell_buffer_config(&self) -> bool {
        (self.oacs & (1 << 8)) != 0
    }

    /// Whether there is Dataset Management, and so deallocation (ONCS bit 2).
    pub fn dataset_management(&self) -> bool {
        (self.oncs & (1 << 2)) != 0
    }

    /// Whether there is Write Zeroes (ONCS bit 3).
    pub fn write_zeroes(&self) -> bool {
        (self.oncs & (1 << 3)) != 0
    }

    /// Whether there is a volatile write cache, so that flushes matter (VWC bit 0).
    pub fn volatile_write_cache(&self) -> bool {
        (self.vwc & 1) != 0
    }

    /// Whether I/O commands may have SGLs (SGLS bits 1 and 0), of data blocks at multiples of 4
    /// bytes.
    pub fn sgls(&self) -> bool {
        matches!(self.sgls & 3, 1 | 2)
    }
}

/// Whether SQES or CQES includes entries of `1 << size` bytes: the smallest size is in bits 3 to 0,
/// the largest in 7 to 4.
fn entry_size(field: u8, size: u8) -> bool {
    (field & 0xf) <= size && size <= (field >> 4)
}

/// What tells a controller's device from another device: PCI vendor id, serial and model number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceId {
    /// PCI vendor id (VID).
    pub vid: u16,
    /// Serial number (SN).
    pub serial: Text<20>,
    /// Model number (MN).
    pub model: Text<40>,
}

/// The longest NVMe Qualified Name, in bytes (Base 4.5).
const MAX_NQN: usize = 223;

/// The NVM subsystem of a controller, and the controller's place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subsystem {
    /// Its name (SUBNQN), with zeroes after it; all zeroes if there is none.
    nqn: [u8; MAX_NQN],
    /// PCI subsystem vendor id (SSVID).
    ssvid: u16,
    device: DeviceId,
    /// Controller id (CNTLID).
    cntlid: u16,
    /// It may have several controllers (CMIC bit 1).
    several: bool,
}

impl Subsystem {
    /// Takes what there is on the subsystem out of the identify data of one of its controllers.
    pub fn parse(page: &Page) -> Self {
        let mut nqn = [0; MAX_NQN];
        let name: [u8; 256] = bytes(page, 768);
        let len = name.iter().position(|byte| *byte == 0).unwrap_or(0);
        // One that is too long, or has no end, is none.
        if let (Some(to), Some(from)) = (nqn.get_mut(..len), name.get(..len)) {
            to.copy_from_slice(from);
        }
        let controller = Controller::parse(page);
        Self {
            nqn,
            ssvid: le16(page, 2),
            device: controller.device(),
            cntlid: controller.cntlid,
            several: (byte(page, 76) & (1 << 1)) != 0,
        }
    }

    /// Whether `other` is that of another controller in the same subsystem. Two of one controller id
    /// aren't in one, whatever name they have: devices exist that all have the same.
    pub fn has_both(&self, other: &Self) -> bool {
        let none = [0; MAX_NQN];
        let same = match self.nqn == none && other.nqn == none {
            true => self.device == other.device && self.ssvid == other.ssvid,
            false => self.nqn == other.nqn,
        };
        same && self.several && other.several && self.cntlid != other.cntlid
    }
}

/// Why a controller can't be driven, from its identify data.
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

/// What a controller says of a namespace (Identify Namespace, CNS 00h; NVM 4.1.5.1).
///
/// Values that the specification has 0's based are 1's based here, and those that the controller
/// says aren't defined have the value that means nothing special.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Size in logical blocks (NSZE).
    pub nsze: u64,
    /// Capacity in logical blocks: those that may be allocated at a time (NCAP).
    pub ncap: u64,
    /// Size of a logical block, as a power of two: 9 to 12 (LBADS of the format in use).
    pub lba_shift: u32,
    /// Atomic write unit in normal operation, in blocks (NAWUN). [`None`]: the controller's AWUN
    /// holds.
    pub nawun: Option<u32>,
    /// Atomic write unit at power fail, in blocks (NAWUPF). [`None`]: the controller's AWUPF holds.
    pub nawupf: Option<u32>,
    /// Atomic compare and write unit, in blocks (NACWU). [`None`]: the controller's ACWU holds.
    pub nacwu: Option<u32>,
    /// Distance of the boundaries that an atomic write can't cross, in blocks; 0 for none (NABSN).
    pub nabsn: u32,
    /// First such boundary, in blocks (NABO).
    pub nabo: u32,
    /// As `nabsn`, for power fail (NABSPF).
    pub nabspf: u32,
    /// Distance of the boundaries that reads and writes better don't cross, in blocks; 0 for none
    /// (NOIOB).
    pub noiob: u32,
    /// Preferred granularity of writes, in blocks (NPWG); 1 if not defined.
    pub npwg: u32,
    /// Preferred alignment of writes, in blocks (NPWA); 1 if not defined.
    pub npwa: u32,
    /// Preferred granularity of deallocation, in blocks (NPDG); 1 if not defined.
    pub npdg: u32,
    /// Preferred alignment of deallocation, in blocks (NPDA); 1 if not defined.
    pub npda: u32,
    /// Optimal size of writes, in blocks (NOWS); 0 if not defined.
    pub nows: u32,
    /// What deallocation leaves (DLFEAT).
    dlfeat: u8,
    /// Whether several controllers may have the namespace (NMIC bit 0).
    pub shared: bool,
    /// Whether the namespace is write protected now (NSATTR bit 0).
    pub read_only: bool,
    /// IEEE extended unique identifier, in the order of printing (EUI64); 0 for none.
    pub eui64: [u8; 8],
    /// Namespace globally unique identifier, in the order of printing (NGUID); 0 for none.
    pub nguid: [u8; 16],
}

/// A value that the specification has 0's based, where it is defined.
fn defined(defined: bool, value: u16) -> Option<u32> {
    defined.then_some(u32::from(value).saturating_add(1))
}

/// A boundary: 0 for none, else 0's based.
fn boundary(defined: bool, value: u16) -> u32 {
    match value {
        value if defined && value != 0 => u32::from(value).saturating_add(1),
        _ => 0,
    }
}

impl Namespace {
    /// Parses an identify page, and checks that the driver can work with the namespace.
    pub fn parse(page: &Page) -> Result<Self, NamespaceError> {
        let nsze = le64(page, 0);
        if nsze == 0 {
            return Err(NamespaceError::Inactive);
        }

        // The format's number has 4 bits, and 2 more above them if there are more than 16 formats.
        let (nlbaf, flbas) = (byte(page, 25), byte(page, 26));
        let low = flbas & 0xf;
        let format = if nlbaf > 15 {
            (((flbas >> 5) & 3) << 4) | low
        } else {
            low
        };
        if format > nlbaf {
            return Err(NamespaceError::Format { format, nlbaf });
        }
        let lbaf = le32(
            page,
            usize::from(format).saturating_mul(4).saturating_add(128),
        );
        let metadata = lbaf as u16;
        if metadata != 0 {
            return Err(NamespaceError::Metadata(metadata));
        }
        let lba_shift = (lbaf >> 16) & 0xff;
        if !matches!(lba_shift, 9..=12) {
            return Err(NamespaceError::BlockSize(lba_shift));
        }

        let nsfeat = byte(page, 24);
        // NSABP: the namespace has atomicity parameters of its own.
        let atomic = (nsfeat & (1 << 1)) != 0;
        // OPTPERF: the namespace has hints for performance. The second bit is of later revisions,
        // where it stands for a choice among the hints for deallocation.
        let writes = (nsfeat & (3 << 4)) != 0;
        let deallocation = (nsfeat & (1 << 4)) != 0;
        Ok(Self {
            nsze,
            ncap: le64(page, 8),
            lba_shift,
            nawun: defined(atomic, le16(page, 34)),
            nawupf: defined(atomic, le16(page, 36)),
            nacwu: defined(atomic, le16(page, 38)),
            nabsn: boundary(atomic, le16(page, 40)),
            nabo: if atomic { u32::from(le16(page, 42)) } else { 0 },
            nabspf: boundary(atomic, le16(page, 44)),
            noiob: u32::from(le16(page, 46)),
            npwg: defined(writes, le16(page, 64)).unwrap_or(1),
            npwa: defined(writes, le16(page, 66)).unwrap_or(1),
            npdg: defined(deallocation, le16(page, 68)).unwrap_or(1),
            npda: defined(deallocation, le16(page, 70)).unwrap_or(1),
            nows: defined(writes, le16(page, 72)).unwrap_or(0),
            dlfeat: byte(page, 33),
            shared: (byte(page, 30) & 1) != 0,
            read_only: (byte(page, 99) & 1) != 0,
            eui64: bytes(page, 120),
            nguid: bytes(page, 104),
        })
    }

    /// Size in sectors of 512 bytes. No more than the largest offset in a file allows, rounded
    /// down to whole blocks, whatever the controller says.
    pub fn capacity_sectors(&self) -> u64 {
        const MAX: u64 = i64::MAX as u64 >> 9;
        let shift = self.lba_shift.saturating_sub(9);
        let blocks = self.nsze.min(MAX.checked_shr(shift).unwrap_or(0));
        blocks.checked_shl(shift).unwrap_or(0)
    }

    /// Whether deallocated blocks read as zeroes (DLFEAT bits 2 to 0).
    pub fn deallocated_reads_zero(&self) -> bool {
        (self.dlfeat & 7) == 1
    }

    /// Whether Write Zeroes may deallocate (DLFEAT bit 3).
    pub fn write_zeroes_deallocates(&self) -> bool {
        (self.dlfeat & (1 << 3)) != 0
    }
}

/// Why a namespace can't be driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceError {
    /// NSZE is 0: the namespace isn't active.
    Inactive,
    /// FLBAS is a format beyond NLBAF.
    Format {
        /// The format in use.
        format: u8,
        /// The last format that there is.
        nlbaf: u8,
    },
    /// The format has metadata, in bytes per block.
    Metadata(u16),
    /// The format's block size, as a power of two, isn't one of 9 to 12.
    BlockSize(u32),
}

impl fmt::Display for NamespaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Inactive => f.write_str("NSZE is 0: the namespace is not active"),
            Self::Format { format, nlbaf } => {
                write!(f, "FLBAS is format {format}, but NLBAF is {nlbaf}")
            }
            Self::Metadata(bytes) => {
                write!(f, "MS is {bytes}: metadata are not supported")
            }
            Self::BlockSize(shift) => {
                write!(
                    f,
                    "LBADS is {shift}: blocks of 512 to 4096 bytes (9 to 12) are needed"
                )
            }
        }
    }
}

/// Identifiers of a namespace (Namespace Identification Descriptor list, CNS 03h; Base 5.17.2.3).
/// Those are in the order of printing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NamespaceIds {
    /// IEEE extended unique identifier.
    pub eui64: Option<[u8; 8]>,
    /// Namespace globally unique identifier.
    pub nguid: Option<[u8; 16]>,
    /// Universally unique identifier.
    pub uuid: Option<[u8; 16]>,
    /// I/O command set of the namespace (CSI): 0 for NVM, the only one that the driver can serve.
    pub csi: Option<u8>,
}

/// An identifier, unless it is all zeroes: that is none.
fn known<const N: usize>(id: [u8; N]) -> Option<[u8; N]> {
    (id != [0; N]).then_some(id)
}

impl NamespaceIds {
    /// These, and of `other` those that are missing here.
    pub fn or(self, other: Self) -> Self {
        Self {
            eui64: self.eui64.or(other.eui64),
            nguid: self.nguid.or(other.nguid),
            uuid: self.uuid.or(other.uuid),
            csi: self.csi.or(other.csi),
        }
    }

    /// The identifiers in identify data of the namespace itself: all that there are before version
    /// 1.3.
    pub fn of(ns: &Namespace) -> Self {
        Self {
            eui64: known(ns.eui64),
            nguid: known(ns.nguid),
            ..Self::default()
        }
    }

    /// The command set alone, for a controller whose identifiers don't identify.
    pub fn without_ids(self) -> Self {
        Self {
            csi: self.csi,
            ..Self::default()
        }
    }

    /// Whether these and `other` are those of one namespace, as far as they say so.
    pub fn same(&self, other: &Self) -> Option<bool> {
        match self.compare(other) {
            // Refused rather than written to by two: a difference beside it may be an error.
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        }
    }

    /// Whether an identifier that both have is equal, and whether such an identifier is different.
    /// An identifier that one of the two lacks is neither: a controller may refuse to tell it.
    fn compare(&self, other: &Self) -> (bool, bool) {
        fn same<T: PartialEq>(a: &Option<T>, b: &Option<T>) -> Option<bool> {
            Some(a.as_ref()? == b.as_ref()?)
        }
        let kinds = [
            same(&self.eui64, &other.eui64),
            same(&self.nguid, &other.nguid),
            same(&self.uuid, &other.uuid),
        ];
        (kinds.contains(&Some(true)), kinds.contains(&Some(false)))
    }

    /// Parses the list. It ends at a descriptor without length, with a length that isn't the
    /// type's or with one that goes beyond the page; descriptors of unknown types are left out.
    pub fn parse(page: &Page) -> Self {
        let mut ids = Self::default();
        let mut offset = 0usize;
        // Each step takes at least five bytes; beyond the page's end, the length reads as 0.
        loop {
            let [kind, len, _, _] = bytes(page, offset);
            let start = offset.saturating_add(4);
            let end = start.saturating_add(usize::from(len));
            let Some(id) = page.get(start..end).filter(|id| !id.is_empty()) else {
                break;
            };
            let known = match kind {
                1 => id.try_into().map(|id| ids.eui64 = known(id)),
                2 => id.try_into().map(|id| ids.nguid = known(id)),
                3 => id.try_into().map(|id| ids.uuid = known(id)),
                4 => id
                    .try_into()
                    .map(|id| ids.csi = Some(u8::from_le_bytes(id))),
                _ => Ok(()),
            };
            if known.is_err() {
                break;
            }
            offset = end;
        }
        ids
    }
}

/// What a namespace is recognised by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The device that it is on.
    pub device: DeviceId,
    /// Its identifiers, as far as they are known and to be trusted.
    pub ids: NamespaceIds,
}

/// Why two identities with one namespace id can't be one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// An identifier that both have is different.
    Identifiers,
    /// They have no identifier in common, and their devices are different.
    Device,
    /// They have different command sets.
    CommandSet,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identifiers => "its identifiers have changed",
            Self::Device => "its controller has another vendor, serial or model number",
            Self::CommandSet => "its command set has changed",
        })
    }
}

impl Identity {
    /// What tells that a namespace with this identity isn't the one, of the same id, that had
    /// `before`; [`None`] if it may be the same.
    pub fn change_since(&self, before: &Self) -> Option<Change> {
        if let (Some(now), Some(before)) = (self.ids.csi, before.ids.csi) {
            if now != before {
                return Some(Change::CommandSet);
            }
        }
        match self.ids.compare(&before.ids) {
            (_, true) => Some(Change::Identifiers),
            // These are unique, whatever the device calls itself.
            (true, false) => None,
            (false, false) => (self.device != before.device).then_some(Change::Device),
        }
    }

    /// What is known of a namespace that has this identity, and had `before`.
    pub fn or(self, before: &Self) -> Self {
        Self {
            device: self.device,
            ids: self.ids.or(before.ids),
        }
    }
}

/// Limits of the NVM command set's commands, of the identify controller data that is specific to it
/// (NVM 4.1.5.4). 0 stands for no limit of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NvmController {
    /// The most ranges of a Dataset Management command (DMRL).
    pub ranges: u16,
    /// The most logical blocks of a range that the controller promises to process (DMRSL).
    pub range_blocks: u32,
}

impl NvmController {
    /// Takes the limits out of the identify data.
    pub fn parse(page: &Page) -> Self {
        Self {
            ranges: u16::from(byte(page, 3)),
            range_blocks: le32(page, 4),
        }
    }
}

/// The ids of active namespaces above `after`, from the Active Namespace ID list that was asked for
/// with that id (CNS 02h; Base 5.17.2.2).
///
/// A list ends at the first 0. It also ends at an id that isn't above the one before it, or above
/// `after`, so that a hostile controller can't have a namespace scanned twice, or lists without
/// end. A list of 1024 ids may have another one after it, above the last id.
pub fn active_namespaces_after(list: &Page, after: u32) -> impl Iterator<Item = u32> + '_ {
    list.chunks_exact(4)
        .map(|id| id.first_chunk().map_or(0, |id| u32::from_le_bytes(*id)))
        .scan(after, |last, id| {
            // All ones stands for all namespaces, and is none.
            if id <= *last || id == u32::MAX {
                return None;
            }
            *last = id;
            Some(id)
        })
}
