// SPDX-License-Identifier: GPL-2.0

//! The metadata of a disk's blocks: what the block layer keeps beside the data, such as protection
//! information, which it makes for writes and checks after reads.
//!
//! C headers: [`include/linux/blk-integrity.h`](srctree/include/linux/blk-integrity.h),
//! [`include/linux/bio-integrity.h`](srctree/include/linux/bio-integrity.h)

use super::{
    dma_map_iter::{
        self,
        Segment, //
    },
    request::{
        field,
        IdleRequest,
        Transfer, //
    },
    Operations,
    Status, //
};
#[cfg(CONFIG_BLK_DEV_INTEGRITY)]
use crate::abstractions::series::bvec_done;
use core::{
    ops::{
        Deref,
        DerefMut, //
    },
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    uaccess::UserPtr, //
};

// Not in `kernel::bindings`. `check.c` compares them with the kernel's. The types are those of the
// bindings, some of which are empty in this configuration.
#[cfg(CONFIG_BLK_DEV_INTEGRITY)]
#[allow(improper_ctypes)]
unsafe extern "C" {
    fn bio_integrity_alloc(
        bio: *mut bindings::bio,
        gfp: bindings::gfp_t,
        nr: c_uint,
    ) -> *mut bindings::bio_integrity_payload;
    fn bio_integrity_add_page(
        bio: *mut bindings::bio,
        page: *mut bindings::page,
        len: c_uint,
        offset: c_uint,
    ) -> c_int;
    fn blk_rq_integrity_map_user(
        rq: *mut bindings::request,
        at: *mut c_void,
        bytes: isize,
    ) -> c_int;
}

/// Whether this kernel's block layer keeps metadata.
///
/// # Examples
///
/// ```
/// use abstractions::block::mq::{IntegrityLimits, HAS_INTEGRITY};
///
/// // Without it, the block layer refuses a disk whose blocks have metadata.
/// let metadata = IntegrityLimits { bytes: 16, protection: None };
/// let limits = HAS_INTEGRITY.then_some(metadata);
/// assert_eq!(limits.is_some(), HAS_INTEGRITY);
/// ```
pub const HAS_INTEGRITY: bool = cfg!(CONFIG_BLK_DEV_INTEGRITY);

/// As in `linux/blk_types.h`, where it is a macro.
const REQ_INTEGRITY: u32 = 1 << bindings::req_flag_bits___REQ_INTEGRITY;

// `enum blk_integrity_flags` and `enum bip_flags`, not in `kernel::bindings`. `check.c` compares them with
// the kernel's.
const BLK_INTEGRITY_NOVERIFY: u8 = 1 << 0;
const BLK_INTEGRITY_NOGENERATE: u8 = 1 << 1;
const BLK_INTEGRITY_DEVICE_CAPABLE: u8 = 1 << 2;
const BLK_INTEGRITY_REF_TAG: u8 = 1 << 3;
const BLK_SPLIT_INTERVAL_CAPABLE: u8 = 1 << 5;
const BIP_CHECK_GUARD: u16 = 1 << 5;
const BIP_CHECK_REFTAG: u16 = 1 << 6;
const BIP_CHECK_APPTAG: u16 = 1 << 7;

/// `struct bio_integrity_payload`, which is opaque in `kernel::bindings`. `check.c` compares it with the
/// kernel's.
#[repr(C)]
struct Payload {
    bip_iter: bindings::bvec_iter,
    bip_vcnt: u16,
    bip_max_vcnt: u16,
    bip_flags: u16,
    app_tag: u16,
    bip_vec: *mut bindings::bio_vec,
}

/// The kind of a checksum in protection information.
///
/// # Examples
///
/// ```
/// use abstractions::block::mq::Checksum;
///
/// assert_eq!(Checksum::Crc.tuple_bytes(), 8);
/// assert_eq!(Checksum::Crc64.tuple_bytes(), 16);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// The CRC of T10 DIF, in 16 bits.
    Crc,
    /// The CRC of NVMe, in 64 bits.
    Crc64,
}

impl Checksum {
    /// The bytes of protection information with this checksum.
    pub const fn tuple_bytes(self) -> u8 {
        match self {
            Self::Crc => 8,
            Self::Crc64 => 16,
        }
    }
}

/// The protection information in the metadata of each block.
///
/// # Examples
///
/// See [`IntegrityLimits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtectionLimits {
    /// The kind of its checksum.
    pub checksum: Checksum,
    /// Its place in the metadata, which it must fit into.
    pub offset: u8,
    /// The device compares the reference tag with the block's number.
    pub reference_tag: bool,
}

/// The metadata of each block.
///
/// # Examples
///
/// ```
/// use abstractions::block::mq::{Checksum, IntegrityLimits, Limits, ProtectionLimits};
///
/// // 8 bytes for each block of 512: protection information.
/// let limits = Limits {
///     logical_block_size: 512,
///     max_bytes: 1 << 20,
///     max_segments: 64,
///     integrity: Some(IntegrityLimits {
///         bytes: 8,
///         protection: Some(ProtectionLimits {
///             checksum: Checksum::Crc,
///             offset: 0,
///             reference_tag: true,
///         }),
///     }),
///     ..Limits::default()
/// };
/// assert_eq!(limits.integrity.map(|one| one.bytes), Some(8));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntegrityLimits {
    /// The bytes of a block's metadata; not 0.
    pub bytes: u8,
    /// The protection information in them.
    pub protection: Option<ProtectionLimits>,
}

/// Writes the limits of the metadata to `raw`. Keeps what the administrator can change in sysfs: whether
/// the block layer makes and checks protection information.
pub(super) fn put(limits: Option<IntegrityLimits>, raw: &mut bindings::queue_limits) {
    const CHOICES: u8 = BLK_INTEGRITY_NOVERIFY | BLK_INTEGRITY_NOGENERATE;
    const TAG: u8 = 2;

    let old = raw.integrity;
    raw.integrity = bindings::blk_integrity::default();
    raw.max_integrity_segments = 0;
    let Some(limits) = limits else {
        return;
    };
    let new = &mut raw.integrity;
    new.metadata_size = limits.bytes;
    new.flags = BLK_SPLIT_INTERVAL_CAPABLE;
    // `map_integrity` maps one segment.
    raw.max_integrity_segments = 1;
    let Some(protection) = limits.protection else {
        return;
    };
    new.flags |= BLK_INTEGRITY_DEVICE_CAPABLE;
    if old.pi_tuple_size != 0 {
        new.flags |= old.flags & CHOICES;
    }
    new.pi_tuple_size = protection.checksum.tuple_bytes();
    new.pi_offset = protection.offset;
    let (csum_type, reference_bytes) = match protection.checksum {
        Checksum::Crc => (bindings::blk_integrity_checksum_BLK_INTEGRITY_CSUM_CRC, 4),
        Checksum::Crc64 => (bindings::blk_integrity_checksum_BLK_INTEGRITY_CSUM_CRC64, 6),
    };
    new.csum_type = csum_type;
    new.tag_size = TAG;
    if protection.reference_tag {
        new.flags |= BLK_INTEGRITY_REF_TAG;
    } else {
        // The application may use the reference tag, too.
        new.tag_size += reference_bytes;
    }
}

/// Memory for the metadata of a passthrough request, contiguous for the device.
///
/// # Invariants
///
/// `page` is the first of `1 << order` pages, which this value owns, and which have `len` bytes at least.
///
/// # Examples
///
/// ```
/// use abstractions::block::mq::MetadataBuffer;
///
/// let mut metadata = MetadataBuffer::new(8 * 1024)?;
/// assert!(metadata.iter().all(|byte| *byte == 0));
/// metadata[8191] = 1;
/// assert_eq!(metadata.len(), 8192);
/// assert!(MetadataBuffer::new(0).is_err());
/// ```
pub struct MetadataBuffer {
    page: NonNull<bindings::page>,
    order: u32,
    len: usize,
}

// SAFETY: Pages have no affinity to a thread.
unsafe impl Send for MetadataBuffer {}

// SAFETY: A shared reference allows only reading.
unsafe impl Sync for MetadataBuffer {}

// All memory has an address of its own.
const _: () = assert!(!cfg!(CONFIG_HIGHMEM));

impl MetadataBuffer {
    /// Memory of `len` bytes, all zero. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` for 0; `ENOMEM`.
    pub fn new(len: usize) -> Result<Self> {
        let pages = len
            .div_ceil(bindings::PAGE_SIZE)
            .checked_next_power_of_two();
        let order = match (len, pages) {
            (0, _) | (_, None) => return Err(EINVAL),
            (_, Some(pages)) => pages.ilog2(),
        };
        let flags = bindings::GFP_KERNEL_ACCOUNT | bindings::__GFP_ZERO | bindings::__GFP_NOWARN;
        // SAFETY: The function has no preconditions.
        let page = unsafe { bindings::alloc_pages(flags, order) };
        // INVARIANT: The pages were just allocated.
        Ok(Self {
            page: NonNull::new(page).ok_or(ENOMEM)?,
            order,
            len,
        })
    }

    fn at(&self) -> *mut u8 {
        // SAFETY: By the type invariants the page is valid. Without high memory this is the page's own
        // address, which needs no unmapping, and other pages follow it.
        unsafe { bindings::kmap_local_page(self.page.as_ptr()).cast() }
    }

    /// Gives a passthrough request these metadata.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a request without data, `ENOMEM`.
    ///
    /// # Safety
    ///
    /// The caller must own the request, which isn't executed yet, and keep this value until it has ended.
    pub(super) unsafe fn attach(&self, rq: *mut bindings::request) -> Result {
        #[cfg(CONFIG_BLK_DEV_INTEGRITY)]
        // SAFETY: The caller owns the request, and so its bio. The pages have `len` bytes, and stay until
        // the request has ended.
        unsafe {
            let bio = (*rq).bio;
            let len = c_uint::try_from(self.len)?;
            if bio.is_null() {
                return Err(EINVAL);
            }
            from_err_ptr(bio_integrity_alloc(bio, bindings::GFP_KERNEL, 1))?;
            if bio_integrity_add_page(bio, self.page.as_ptr(), len, 0) != len as c_int {
                return Err(EINVAL);
            }
            (*rq).nr_integrity_segments = 1;
            (*rq).cmd_flags |= REQ_INTEGRITY;
            Ok(())
        }
        #[cfg(not(CONFIG_BLK_DEV_INTEGRITY))]
        {
            let _ = rq;
            Err(EINVAL)
        }
    }
}

impl Deref for MetadataBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: By the type invariants the pages have `len` bytes, which are initialised.
        unsafe { core::slice::from_raw_parts(self.at(), self.len) }
    }
}

impl DerefMut for MetadataBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: By the type invariants the pages have `len` bytes, which are initialised, and this value
        // owns them.
        unsafe { core::slice::from_raw_parts_mut(self.at(), self.len) }
    }
}

impl Drop for MetadataBuffer {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this value owns the pages. Any context may free them.
        unsafe { bindings::__free_pages(self.page.as_ptr(), self.order) };
    }
}

/// Gives a passthrough request the user's memory as metadata; the block layer unmaps it together with the
/// data.
///
/// # Errors
///
/// `EINVAL` for a request without data; `EFAULT`, `ENOMEM`.
///
/// # Safety
///
/// The caller must own the request, which isn't executed yet, and has the user's memory as data.
#[inline(never)]
pub(super) unsafe fn attach_user(rq: *mut bindings::request, at: UserPtr, len: usize) -> Result {
    #[cfg(CONFIG_BLK_DEV_INTEGRITY)]
    // SAFETY: The caller owns the request, and so its bio. The function checks the address.
    unsafe {
        match (*rq).bio.is_null() {
            true => Err(EINVAL),
            false => to_result(blk_rq_integrity_map_user(
                rq,
                at.as_mut_ptr(),
                isize::try_from(len)?,
            )),
        }
    }
    #[cfg(not(CONFIG_BLK_DEV_INTEGRITY))]
    {
        let _ = (rq, at, len);
        Err(EINVAL)
    }
}

/// A request's metadata, mapped for the device.
///
/// # Examples
///
/// See [`IdleRequest::map_integrity`].
#[derive(Clone, Copy, Debug)]
pub struct Integrity {
    /// Where they are.
    pub segment: Segment,
    /// The device checks the guard.
    pub check_guard: bool,
    /// The device checks the reference tag.
    pub check_reference: bool,
    /// The device checks the application tag, which has to be this.
    pub check_application: Option<u16>,
}

impl<'a, T: Operations> IdleRequest<'a, T> {
    /// Maps the request's metadata; [`None`] for a request without. Call this after the data are mapped.
    ///
    /// Rejecting, requeueing or ending the request unmaps them.
    ///
    /// # Errors
    ///
    /// As [`map_single`](Self::map_single). [`Status::Invalid`] if they aren't a single segment, or are
    /// mapped already.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use abstractions::block::mq::{IdleRequest, Integrity, Operations, Status};
    ///
    /// /// The address of the metadata of a read or write of `blocks`, each with 8 bytes; 0 for none.
    /// fn metadata<T: Operations>(rq: &mut IdleRequest<'_, T>, blocks: u32) -> Result<u64, Status> {
    ///     let transfer = rq.transfer().ok_or(Status::NotSupported)?;
    ///     let Some(integrity) = rq.map_integrity(&transfer) else {
    ///         return Ok(0);
    ///     };
    ///     let Integrity { segment, .. } = integrity?;
    ///     // The device gets no length.
    ///     match u64::from(segment.len) >= 8 * u64::from(blocks) {
    ///         true => Ok(segment.addr),
    ///         false => Err(Status::Invalid),
    ///     }
    /// }
    /// ```
    pub fn map_integrity(&mut self, _: &Transfer<'a>) -> Option<Result<Integrity, Status>> {
        #[cfg(CONFIG_BLK_DEV_INTEGRITY)]
        {
            let handle = self.handle_mut();
            let bio = field!(handle, bio);
            if field!(handle, cmd_flags) & REQ_INTEGRITY == 0 || bio.is_null() {
                return None;
            }
            // SAFETY: A request with REQ_INTEGRITY has a bio with a payload, whose iterator is within its
            // vector. Neither changes while the request is lent.
            let (mut vec, flags, tag, left) = unsafe {
                let payload = (*bio).bi_integrity.cast_const().cast::<Payload>();
                let iter = &raw const (*payload).bip_iter;
                let done = bvec_done(iter);
                let mut vec = *(*payload).bip_vec.add((*iter).bi_idx as usize);
                vec.bv_offset = vec.bv_offset.wrapping_add(done);
                vec.bv_len = vec.bv_len.wrapping_sub(done);
                let (flags, tag) = ((*payload).bip_flags, (*payload).app_tag);
                (vec, flags, tag, (*iter).bi_size)
            };
            // `put` allows one segment only.
            if vec.bv_len < left || left == 0 {
                return Some(Err(Status::Invalid));
            }
            vec.bv_len = left;
            // SAFETY: The vector describes memory of the request.
            let segment = match unsafe { dma_map_iter::map_metadata(handle, &vec) } {
                Ok(segment) => segment,
                Err(status) => return Some(Err(status)),
            };
            Some(Ok(Integrity {
                segment,
                check_guard: flags & BIP_CHECK_GUARD != 0,
                check_reference: flags & BIP_CHECK_REFTAG != 0,
                check_application: (flags & BIP_CHECK_APPTAG != 0).then_some(tag),
            }))
        }
        #[cfg(not(CONFIG_BLK_DEV_INTEGRITY))]
        None
    }
}
