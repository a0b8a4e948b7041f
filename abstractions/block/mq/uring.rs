// SPDX-License-Identifier: GPL-2.0

//! Passthrough requests that carry out commands of io_uring.
//!
//! Unlike the data of a call of `ioctl()`, a request's data are the user's own memory, which stays
//! pinned until the command has ended, also if the task has ended before.
//!
//! C header: [`include/linux/blk-mq.h`](srctree/include/linux/blk-mq.h)

use super::{
    gen_disk::DiskRef,
    integrity,
    passthrough::{
        allocate,
        execute,
        Owned, //
    },
    request::Pdu,
    tag_set::QueueData,
    Operations, //
};
use crate::abstractions::io_uring::{
    self,
    Answer,
    UringCmd, //
};
use core::{
    mem::{
        ManuallyDrop,
        MaybeUninit, //
    },
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    uaccess::UserPtr, //
};

const REQ_POLLED: u32 = 1 << bindings::req_flag_bits___REQ_POLLED;

/// What [`DiskRef::submit`] needs to know of a command.
///
/// # Examples
///
/// ```no_run
/// use abstractions::{
///     block::mq::{DiskRef, Operations, Submission},
///     io_uring::{Answer, UringCmd},
/// };
///
/// /// Reads from the device to the user's memory. The request's data are the device's command.
/// fn read<'a, T>(disk: &DiskRef<T>, cmd: UringCmd<'a>) -> Answer<'a>
/// where
///     T: Operations<RequestData = u64, GenDiskData = u64>,
/// {
///     let (cmd, [at, len, sector]) = cmd.check(|cmd| cmd.payload().ok_or(EOPNOTSUPP))?;
///     let at = cmd.pointer(at);
///     disk.submit(cmd, false, |first, command| {
///         *command = first.checked_add(sector).ok_or(EINVAL)?;
///         Ok(Submission {
///             at,
///             len: len as usize,
///             vectored: false,
///             metadata: None,
///             min_bytes: 512,
///             timeout_ms: 0,
///         })
///     })
/// }
/// ```
pub struct Submission {
    /// The address of the data, or of an array of `struct iovec` that names their parts.
    pub at: UserPtr,
    /// The length of the data in bytes, or of the array in entries; 0 for a command without data.
    pub len: usize,
    /// `at` is the address of an array.
    pub vectored: bool,
    /// The address and the length in bytes of the metadata, if there are any.
    pub metadata: Option<(UserPtr, usize)>,
    /// The minimum length of the data in bytes.
    pub min_bytes: u64,
    /// The time limit in milliseconds; 0 for the set's.
    pub timeout_ms: u32,
}

impl<T: Operations> DiskRef<T> {
    /// Starts a passthrough request that carries out `cmd`.
    ///
    /// `prepare` is called with the driver's data of the disk and of the request.
    /// [`Operations::queue_rq`] then gets the request as one for [`Op::Other`](super::Op::Other);
    /// `write` if the device reads its data. At the request's end
    /// [`Operations::uring_result`] returns the command's result. Waits while the disk is frozen, if `cmd` may sleep.
    /// Process context.
    ///
    /// # Errors
    ///
    /// The refusal with `ENODEV` if the disk is dead or removed, `EAGAIN` if this would wait; `EFAULT` for
    /// a bad address, `EINVAL` for too much or too little data, `ENOMEM`; and the errors of `prepare`.
    #[inline(always)]
    pub fn submit<'a>(
        &self,
        cmd: UringCmd<'a>,
        write: bool,
        prepare: impl FnOnce(&T::GenDiskData, &mut T::RequestData) -> Result<Submission>,
    ) -> Answer<'a> {
        let (cmd, (rq, timeout_ms)) = cmd.check(|cmd| self.prepare(cmd, write, prepare))?;
        // From here on nothing fails, and `end_io` owns the request.
        let rq = ManuallyDrop::new(rq);
        // SAFETY: The request is executed below, and `end_io` calls `end`.
        let (data, queued) = unsafe { cmd.hand_over(rq.raw()) };
        // SAFETY: `end_io` ends the command that `data` is; until then no other context uses the
        // request.
        unsafe { execute(&rq, timeout_ms, end_io::<T>, data) };
        Ok(queued)
    }

    /// Allocates a request for `cmd`, with the user's memory mapped to it, and returns its time limit, too.
    #[inline(always)]
    fn prepare(
        &self,
        cmd: &UringCmd<'_>,
        write: bool,
        prepare: impl FnOnce(&T::GenDiskData, &mut T::RequestData) -> Result<Submission>,
    ) -> Result<(Owned<T>, u32)> {
        let queue = self.queue();
        let polled = if cmd.is_polled() { REQ_POLLED } else { 0 };
        let nowait = match cmd.may_sleep() {
            true => 0,
            false => bindings::BLK_MQ_REQ_NOWAIT,
        };
        // SAFETY: By the type invariant the queue is valid, and of a disk of `T`.
        let mut rq: Owned<T> = unsafe { allocate(queue, write, polled, nowait) }?;
        // SAFETY: The queue has a `QueueData<T>`, which is dropped after the queue was frozen for
        // the last time. That waits for this request, which outlives the reference.
        let disk = unsafe { &(*(*queue).queuedata.cast::<QueueData<T>>()).disk };
        let submission = prepare(disk, rq.data())?;

        let raw = rq.raw().as_ptr();
        if submission.len != 0 {
            map(&rq, cmd, &submission, write)?;
        }
        let attached = match submission.metadata {
            None => Ok(()),
            // SAFETY: The request is owned, not executed yet, and has the user's memory as data, if any.
            Some((at, len)) => unsafe { integrity::attach_user(raw, at, len) },
        };
        // SAFETY: The request isn't executed yet, so this task owns it.
        let (bytes, bio) = unsafe { ((*raw).__data_len, (*raw).bio) };
        if u64::from(bytes) < submission.min_bytes || attached.is_err() {
            // SAFETY: `map` has mapped the memory, if any, to the request, whose first bio this is.
            // The request isn't executed.
            unsafe {
                (*raw).bio = core::ptr::null_mut();
                bindings::blk_rq_unmap_user(bio);
            }
            return Err(attached.err().unwrap_or(EINVAL));
        }
        Ok((rq, submission.timeout_ms))
    }
}

/// Maps the user's memory to a request that isn't executed yet.
///
/// The block layer copies data that aren't aligned. It compares their length with the queue's limit only
/// after it has allocated memory for all of them, so this does it before.
fn map<T: Operations>(rq: &Owned<T>, cmd: &UringCmd<'_>, data: &Submission, write: bool) -> Result {
    let raw = rq.raw().as_ptr();
    if cmd.is_fixed() {
        let mut iter = MaybeUninit::uninit();
        let result = cmd.import_fixed(data.at, data.len, data.vectored, write, &mut iter);
        if result < 0 {
            return to_result(result);
        }
        // SAFETY: The request is owned, and not executed yet. The iterator is initialised, over a registered
        // buffer, which the command holds until it has ended.
        return unsafe { map_iter(raw, iter.as_ptr()) };
    }
    if data.vectored {
        // SAFETY: The request is owned, and not executed yet.
        return unsafe { map_parts(raw, data.at, data.len, write) };
    }
    // SAFETY: The request is valid.
    if data.len as u64 > unsafe { limit(raw) } {
        return Err(EINVAL);
    }
    // SAFETY: The request is owned, and not executed yet. The function checks the address.
    let result = unsafe {
        bindings::blk_rq_map_user_io(
            raw,
            core::ptr::null_mut(),
            data.at.as_mut_ptr(),
            data.len as c_ulong,
            bindings::GFP_KERNEL,
            false,
            0,
            false,
            io_uring::direction(write),
        )
    };
    done(result)
}

/// As [`to_result`], which isn't inlined: success costs no call.
#[inline(always)]
fn done(result: c_int) -> Result {
    match result {
        0 => Ok(()),
        error => to_result(error),
    }
}

/// The most bytes that a request of the same queue transfers.
///
/// # Safety
///
/// `raw` must be a valid request.
#[inline(always)]
unsafe fn limit(raw: *mut bindings::request) -> u64 {
    // SAFETY: A request has a queue, whose limits may change at any time, which a volatile read allows.
    let sectors = unsafe {
        let queue = (*raw).q;
        (&raw const (*queue).limits.max_hw_sectors).read_volatile()
    };
    u64::from(sectors) << 9
}

/// As [`map`], for the parts that an array of `len` entries at `at` names.
///
/// # Safety
///
/// `raw` must be an owned request that isn't executed yet.
// Apart, and without references, because the array would cost the other commands instructions.
#[cold]
#[inline(never)]
unsafe fn map_parts(raw: *mut bindings::request, at: UserPtr, len: usize, write: bool) -> Result {
    const FEW: usize = bindings::UIO_FASTIOV as usize;
    let mut few = [const { MaybeUninit::<bindings::iovec>::uninit() }; FEW];
    let mut parts = few.as_mut_ptr().cast();
    let mut iter = MaybeUninit::uninit();

    // SAFETY: The function checks the address. There is room for so many parts; for more it allocates
    // room. It sets `parts` to that, or to null.
    let imported = unsafe {
        bindings::import_iovec(
            io_uring::direction(write),
            at.as_const_ptr().cast(),
            len as c_uint,
            FEW as c_uint,
            &mut parts,
            iter.as_mut_ptr(),
        )
    };
    if imported < 0 {
        return to_result(imported as c_int);
    }
    // SAFETY: The iterator is initialised, over the user's memory. The caller promises the rest.
    let result = unsafe { map_iter(raw, iter.as_ptr()) };
    // SAFETY: `parts` is null or was allocated, and isn't used any longer.
    unsafe { bindings::kfree(parts.cast()) };
    result
}

/// Maps the memory of an iterator to a request that isn't executed yet.
///
/// # Safety
///
/// `raw` must be an owned request that isn't executed yet. `iter` must be over memory of the user's, or
/// over a registered buffer that stays until the command has ended.
#[inline]
unsafe fn map_iter(raw: *mut bindings::request, iter: *const bindings::iov_iter) -> Result {
    // SAFETY: The caller promises a valid iterator.
    let bytes = unsafe { (*iter).__bindgen_anon_1.__bindgen_anon_1.as_ref().count };
    // SAFETY: The caller promises a valid request.
    if bytes as u64 > unsafe { limit(raw) } {
        return Err(EINVAL);
    }
    // SAFETY: The caller promises a request that isn't executed yet, and that its data stay.
    let result = unsafe {
        let no_pages = core::ptr::null_mut();
        bindings::blk_rq_map_user_iov((*raw).q, raw, no_pages, iter, bindings::GFP_KERNEL)
    };
    done(result)
}

/// The result for a block layer's status. Apart, because commands that the device has answered don't
/// need it.
#[cold]
#[inline(never)]
fn errno_of(status: bindings::blk_status_t) -> Result {
    // SAFETY: The function has no preconditions.
    to_result(unsafe { bindings::blk_status_to_errno(status) })
}

/// The request of a command has ended: passes the result to io_uring, and has the block layer free
/// the request. Any context.
///
/// # Safety
///
/// The block layer calls this once for a request of [`DiskRef::submit`], of a disk of `T`.
unsafe extern "C" fn end_io<T: Operations>(
    rq: *mut bindings::request,
    status: bindings::blk_status_t,
    iob: *const bindings::io_comp_batch,
) -> bindings::rq_end_io_ret {
    // SAFETY: The block layer passes a request that has ended, so this context owns it and its pdu.
    let data = unsafe { Pdu::<T>::data_of(NonNull::new_unchecked(rq)) };
    let (status, result) = T::uring_result(data, || errno_of(status));
    // SAFETY: `submit` has handed the command to this request, which the block layer frees after this.
    unsafe { io_uring::end((*rq).end_io_data, status, result, iob) };
    bindings::rq_end_io_ret_RQ_END_IO_FREE
}
