// SPDX-License-Identifier: GPL-2.0

//! Passthrough requests: commands that user space forms, and the `ioctl()` calls on a disk by which
//! it sends them.
//!
//! A request's data are kernel memory, not the user's. So a task that is killed can leave at once,
//! while the memory lives until the request has ended.
//!
//! C header: [`include/linux/blk-mq.h`](srctree/include/linux/blk-mq.h)

use super::{
    integrity::MetadataBuffer,
    request::Pdu,
    tag_set::QueueData,
    Operations, //
};
use crate::abstractions::{
    atomic::handover::Handover,
    chrdev::Ioctl,
    sync::Completion, //
};
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    sync::{
        rcu,
        Arc, //
    },
    time::msecs_to_jiffies, //
};

// As in `linux/blk_types.h`, `linux/blk-mq.h` and `linux/blkdev.h`, where they are macros.
const REQ_FAILFAST_DRIVER: u32 = 1 << bindings::req_flag_bits___REQ_FAILFAST_DRIVER;
const RQF_QUIET: u32 = 1 << bindings::rqf_flags___RQF_QUIET;
/// `check.c` compares it with the kernel's.
const BLK_OPEN_WRITE: u32 = 1 << 1;

/// The limit of a single wait, in milliseconds. A task waits again until its request has ended, or the
/// task is killed; the time-out of the request bounds that.
const WAIT_MS: u32 = 10_000;

/// What the task that executes a request shares with the context that ends the request.
///
/// The request and `data` have one owner. While the request is executed, the owner is the block layer,
/// with the driver and the device. When the request ends, `state` decides: [`end_io`] becomes the owner if
/// the task was killed before, and has left; otherwise the task does.
#[pin_data]
struct Call {
    #[pin]
    done: Completion,
    state: Handover,
    data: UnsafeCell<Buffers>,
}

// SAFETY: All fields are `Send`.
unsafe impl Send for Call {}

// SAFETY: `done` and `state` are `Sync`. `data` has one owner at a time, and only the owner accesses
// it: the task before it executes the request; the block layer until the request ends; then the one
// that `state` says: `end_io`, or the task, which learns of the end from `done` or `state`.
unsafe impl Sync for Call {}

impl Call {
    /// Takes the data out.
    ///
    /// # Safety
    ///
    /// The caller must own the data.
    unsafe fn take_data(&self) -> Buffers {
        // SAFETY: The caller promises that no other context accesses the data.
        core::mem::take(unsafe { &mut *self.data.get() })
    }
}

/// The memory of a passthrough request.
///
/// # Examples
///
/// ```
/// use abstractions::block::mq::{Buffers, MetadataBuffer};
///
/// // Eight blocks, with 8 bytes of metadata each.
/// let buffers = Buffers {
///     data: KVVec::from_elem(0, 8 * 512, GFP_KERNEL)?,
///     metadata: Some(MetadataBuffer::new(8 * 8)?),
/// };
/// assert_eq!(buffers.data.len(), 4096);
/// ```
#[derive(Default)]
pub struct Buffers {
    /// The data; empty for a command without.
    pub data: KVVec<u8>,
    /// The metadata of a command with data.
    pub metadata: Option<MetadataBuffer>,
}

/// Frees `buffers`, in any context but an NMI. Dropping them may sleep, because `vfree()` may.
fn free_atomic(buffers: Buffers) {
    let (at, _, capacity) = buffers.data.into_raw_parts();
    // Without capacity there is no memory.
    if capacity != 0 {
        // SAFETY: The memory is from `KVmalloc`, and so from `kvmalloc()`, and the vector that owned
        // it is gone. This isn't an NMI. For vmalloc memory the function has a worker free it.
        unsafe { bindings::kvfree_atomic(at.cast_const().cast()) };
    }
}

/// `rq_end_io_fn`.
pub(super) type EndIo = unsafe extern "C" fn(
    *mut bindings::request,
    bindings::blk_status_t,
    *const bindings::io_comp_batch,
) -> bindings::rq_end_io_ret;

/// A passthrough request of a disk of `T` that this context owns: it isn't executed yet, or has
/// ended. Dropping it resets the driver's data of the request, and frees the request.
pub(super) struct Owned<T: Operations> {
    rq: NonNull<bindings::request>,
    _set: PhantomData<fn(T)>,
}

impl<T: Operations> Owned<T> {
    /// # Safety
    ///
    /// `rq` must be such a request, and this value its only owner.
    unsafe fn new(rq: NonNull<bindings::request>) -> Self {
        Self {
            rq,
            _set: PhantomData,
        }
    }

    /// The request.
    pub(super) fn raw(&self) -> NonNull<bindings::request> {
        self.rq
    }

    /// The driver's data of the request.
    pub(super) fn data(&mut self) -> &mut T::RequestData {
        // SAFETY: This value owns the request, and pdus are initialised when the set is allocated.
        unsafe { Pdu::<T>::data_of(self.rq) }
    }
}

impl<T: Operations> Drop for Owned<T> {
    fn drop(&mut self) {
        *self.data() = T::RequestData::default();
        // SAFETY: This value owns the request, which isn't being executed.
        unsafe { bindings::blk_mq_free_request(self.rq.as_ptr()) };
    }
}

/// A driver's answer to a call of `ioctl()` on one of its disks.
///
/// # Examples
///
/// ```no_run
/// use abstractions::block::mq::{Ioctls, Operations};
///
/// /// A driver whose disks have no calls of their own.
/// fn none<T: Operations>() -> Ioctls<T> {
///     |_disk, _call| Err(ENOTTY)
/// }
/// ```
pub type Ioctls<T> = fn(&OpenDisk<'_, T>, &Ioctl) -> Result<isize>;

/// An open disk, as [`Operations::IOCTL`] and [`Operations::RESERVATIONS`] get it, or by a
/// [`DiskRef`](super::DiskRef).
///
/// # Invariants
///
/// `part` is the whole disk or a partition of a disk of `T` that was added; it is valid for `'a`.
///
/// # Examples
///
/// ```
/// use abstractions::{
///     block::mq::{Buffers, OpenDisk},
///     chrdev::{is_admin, Ioctl},
/// };
/// # use abstractions::block::mq::*;
/// # struct MyDriver;
/// # impl Operations for MyDriver {
/// #     const IOCTL: Option<Ioctls<Self>> = Some(ioctl);
/// #     type Module = crate::LocalModule;
/// #     type TagSetData = ();
/// #     type HwData = ();
/// #     type GenDiskData = u8;
/// #     type RequestData = Command;
/// #     fn init_hctx((): &(), _: u32) -> Result<kernel::sync::Arc<()>> {
/// #         Ok(kernel::sync::Arc::new((), GFP_KERNEL)?)
/// #     }
/// #     fn queue_rq<'a>(
/// #         (): &(), _: &u8, rq: IdleRequest<'a, Self>, _: bool,
/// #     ) -> Result<(), Rejected<'a>> {
/// #         let mut rq = rq.start();
/// #         rq.data().answer = Some(rq.data().opcode.into());
/// #         rq.end(Status::Ok);
/// #         Ok(())
/// #     }
/// # }
/// # let disk = my_disk!(dev);
///
/// /// The driver's data of a request: the command that it sends, and the device's answer.
/// #[derive(Default)]
/// struct Command {
///     opcode: u8,
///     answer: Option<u32>,
/// }
///
/// /// For `Operations::IOCTL`: reads the device's log.
/// fn ioctl(disk: &OpenDisk<'_, MyDriver>, _call: &Ioctl) -> Result<isize> {
///     if disk.is_partition() || !is_admin() {
///         return Err(EACCES);
///     }
///     let data = KVVec::from_elem(0, disk.max_bytes().min(4096), GFP_KERNEL)?;
///     let opcode = disk.with(|opcode| Ok(*opcode))?;
///     let (answer, log) = disk.execute(
///         false,
///         Buffers { data, metadata: None },
///         1000,
///         |rq| *rq = Command { opcode, answer: None },
///         |rq, result| rq.answer.take().ok_or(result.err().unwrap_or(EIO)),
///     )?;
///     pr_info!("{:#x}, {} bytes\n", answer?, log.data.len());
///     Ok(0)
/// }
///
/// let call = Ioctl { number: 0x4e40, arg: 0, writable: false, compat: false };
/// assert_eq!(ioctl(&disk.reference().open(), &call), Ok(0));
/// ```
pub struct OpenDisk<'a, T: Operations> {
    part: NonNull<bindings::block_device>,
    _open: PhantomData<&'a T>,
}

impl<'a, T: Operations> OpenDisk<'a, T> {
    /// # Safety
    ///
    /// `part` must be the whole disk or a partition of a disk of `T` that was added, which stays valid
    /// for `'a`.
    pub(super) unsafe fn new(part: NonNull<bindings::block_device>) -> Self {
        // INVARIANT: The caller promises it.
        Self {
            part,
            _open: PhantomData,
        }
    }

    fn disk(&self) -> NonNull<bindings::gendisk> {
        // SAFETY: By the type invariant the device is valid, and so it has a disk.
        unsafe { NonNull::new_unchecked((*self.part.as_ptr()).bd_disk) }
    }

    fn queue(&self) -> *mut bindings::request_queue {
        // SAFETY: By the type invariant the disk is valid.
        unsafe { (*self.disk().as_ptr()).queue }
    }

    /// Calls `f` with the driver's data of the disk, which stay until it returns, even if the disk is
    /// removed meanwhile. So `f` doesn't wait for user space.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the disk is dead or removed, and those of `f`.
    pub fn with<R>(&self, f: impl FnOnce(&T::GenDiskData) -> Result<R>) -> Result<R> {
        f(&self.data()?.disk)
    }

    /// The data of the disk's queue.
    fn data(&self) -> Result<Arc<QueueData<T>>> {
        let (disk, queue) = (self.disk().as_ptr(), self.queue());
        let _guard = rcu::read_lock();
        // SAFETY: By the type invariant the disk is valid.
        let state = unsafe { (&raw const (*disk).state).read_volatile() };
        if state & 1 << bindings::GD_DEAD != 0 {
            return Err(ENODEV);
        }
        // SAFETY: The queue has a `QueueData<T>` in an `Arc`. The `GenDisk` holds a reference to it
        // until an RCU grace period after the disk became dead; that hasn't ended, because the disk
        // wasn't dead under the RCU read lock. By the type invariant the disk was added.
        unsafe {
            let data = (*queue).queuedata.cast_const().cast::<QueueData<T>>();
            let held = ManuallyDrop::new(Arc::from_raw(data));
            Ok(Arc::clone(&held))
        }
    }

    /// Whether a partition was opened, not the whole disk.
    pub fn is_partition(&self) -> bool {
        // SAFETY: By the type invariant the disk is valid.
        self.part.as_ptr() != unsafe { (*self.disk().as_ptr()).part0 }
    }

    /// The maximum bytes of a request's data.
    pub fn max_bytes(&self) -> usize {
        // SAFETY: By the type invariant the disk is open, so its queue is valid. Volatile, because
        // the limits may change meanwhile.
        let sectors = unsafe { (&raw const (*self.queue()).limits.max_hw_sectors).read_volatile() };
        (sectors as usize) << bindings::SECTOR_SHIFT
    }

    /// Executes a passthrough request, and waits until it has ended: `blk_execute_rq_nowait()`.
    ///
    /// [`Operations::queue_rq`] gets it as a request for [`Op::Other`](super::Op::Other), which maps
    /// the data of `buffers` if there are any; `write` if the device reads them. `prepare` is called with the
    /// driver's data of the request before. `finish` is called with the same data, and the request's
    /// status, after the request has ended. Returns the result of `finish`, and `buffers`.
    ///
    /// The request times out after `timeout_ms` milliseconds; 0 for the set's time limit. The
    /// submitter prefers an error to a retry. Waits while the disk is frozen. Process context;
    /// sleeps.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the disk is dead or removed, `EINVAL` for too much data, `ENOMEM`. `EINTR` if the
    /// task is killed; then the request continues without the caller, `finish` isn't called, and the
    /// driver's data of the request are reset to their default when the request ends, in any
    /// context.
    pub fn execute<R>(
        &self,
        write: bool,
        buffers: Buffers,
        timeout_ms: u32,
        prepare: impl FnOnce(&mut T::RequestData),
        finish: impl FnOnce(&mut T::RequestData, Result) -> R,
    ) -> Result<(R, Buffers)> {
        // SAFETY: By the type invariant the disk is valid, and so is its queue.
        let mut rq = unsafe { allocate(self.queue(), write, 0, 0) }?;
        let call = Self::start(&mut rq, buffers, timeout_ms, prepare)?;
        // If the task is killed, `end_io` owns the request.
        let rq = ManuallyDrop::new(rq);
        let status = wait(&call)?;
        let mut rq = ManuallyDrop::into_inner(rq);
        // SAFETY: The function has no preconditions.
        let result = to_result(unsafe { bindings::blk_status_to_errno(status) });
        let result = finish(rq.data(), result);
        // SAFETY: The request has ended, and this task owns it and its data, because it wasn't
        // killed before.
        Ok((result, unsafe { call.take_data() }))
    }

    /// Maps `buffers` to the request, and executes it. If this succeeds, the block layer owns the
    /// request until [`end_io`].
    fn start(
        rq: &mut Owned<T>,
        buffers: Buffers,
        timeout_ms: u32,
        prepare: impl FnOnce(&mut T::RequestData),
    ) -> Result<Arc<Call>> {
        let raw = rq.rq.as_ptr();
        let call = Arc::pin_init(
            try_pin_init!(Call {
                done <- Completion::new(),
                state: Handover::new(),
                data: UnsafeCell::new(buffers),
            }),
            GFP_KERNEL,
        )?;
        // SAFETY: The request isn't executed yet, so this task owns it and the data. `call` keeps
        // the data in place until the request has ended.
        unsafe {
            let Buffers { data, metadata } = &mut *call.data.get();
            if !data.is_empty() {
                let (at, len) = (data.as_mut_ptr().cast(), c_uint::try_from(data.len())?);
                to_result(bindings::blk_rq_map_kern(
                    raw,
                    at,
                    len,
                    bindings::GFP_KERNEL,
                ))?;
                if let Some(Err(error)) = metadata.as_ref().map(|one| one.attach(raw)) {
                    // Frees the bio, as the end of the request would.
                    bindings::bio_endio((*raw).bio);
                    (*raw).bio = core::ptr::null_mut();
                    return Err(error);
                }
            }
        }
        prepare(rq.data());
        let data = Arc::into_raw(call.clone()).cast_mut().cast();
        // SAFETY: `end_io` gets the reference that `data` owns, once; until then no other context uses
        // the request.
        unsafe { execute(rq, timeout_ms, end_io::<T>, data) };
        Ok(call)
    }
}

/// Allocates a passthrough request; `write` if the device reads its data. With the `flags`
/// `BLK_MQ_REQ_NOWAIT` this doesn't sleep.
///
/// # Errors
///
/// `ENODEV` if the disk is dead or removed; `EAGAIN` instead of sleeping.
///
/// # Safety
///
/// `queue` must be the queue of a disk of `T`.
#[inline]
pub(super) unsafe fn allocate<T: Operations>(
    queue: *mut bindings::request_queue,
    write: bool,
    op_flags: u32,
    flags: bindings::blk_mq_req_flags_t,
) -> Result<Owned<T>> {
    let op = match write {
        true => bindings::req_op_REQ_OP_DRV_OUT,
        false => bindings::req_op_REQ_OP_DRV_IN,
    };
    let op = op | op_flags | REQ_FAILFAST_DRIVER;
    // SAFETY: The caller promises a valid queue.
    let rq = unsafe { bindings::blk_mq_alloc_request(queue, op, flags) };
    match NonNull::new(rq) {
        // SAFETY: The request was just allocated from a queue of a disk of `T`.
        Some(rq) if !is_error(rq) => Ok(unsafe { Owned::new(rq) }),
        _ => Err(from_err_ptr(rq).err().unwrap_or(ENOMEM)),
    }
}

/// Whether a pointer is an error number: `IS_ERR()`, without the call that `from_err_ptr()` makes.
#[inline]
fn is_error<T>(pointer: NonNull<T>) -> bool {
    pointer.addr().get() >= (bindings::MAX_ERRNO as usize).wrapping_neg()
}

/// Executes a request, and has the block layer call `end_io` at its end, once, with `data` in
/// `end_io_data`. `timeout_ms` as in [`OpenDisk::execute`].
///
/// # Safety
///
/// `end_io` must accept this request and `data`. From now on the block layer owns the request, until
/// `end_io` is called.
#[inline]
pub(super) unsafe fn execute<T: Operations>(
    rq: &Owned<T>,
    timeout_ms: u32,
    end_io: EndIo,
    data: *mut c_void,
) {
    let rq = rq.rq.as_ptr();
    // SAFETY: The request isn't executed yet, so this task owns it. The caller promises the rest.
    unsafe {
        if timeout_ms != 0 {
            (*rq).timeout = msecs_to_jiffies(timeout_ms) as c_uint;
        }
        (*rq).rq_flags |= RQF_QUIET;
        (*rq).end_io = Some(end_io);
        (*rq).end_io_data = data;
        bindings::blk_execute_rq_nowait(rq, false);
    }
}

/// Waits for the end of a request, and returns its status.
///
/// # Errors
///
/// `EINTR` if the task is killed. Then [`end_io`] owns the request and its data.
fn wait(call: &Call) -> Result<bindings::blk_status_t> {
    loop {
        match call.done.wait_killable(WAIT_MS) {
            Ok(false) => continue,
            Ok(true) => {}
            Err(_) => {
                if call.state.leave() {
                    return Err(EINTR);
                }
            }
        }
        if let Some(status) = call.state.status() {
            return Ok(status);
        }
    }
}

/// A passthrough request has ended: hands it to its task. If the task was killed, frees the request
/// and its data. Any context.
///
/// # Safety
///
/// The block layer calls this once for a request of [`OpenDisk::execute`], of a disk of `T`.
unsafe extern "C" fn end_io<T: Operations>(
    rq: *mut bindings::request,
    status: bindings::blk_status_t,
    _iob: *const bindings::io_comp_batch,
) -> bindings::rq_end_io_ret {
    // SAFETY: By the safety requirements, `end_io_data` is from `Arc::into_raw` in `start`, and this
    // is called once.
    let call = unsafe { Arc::from_raw((*rq).end_io_data.cast_const().cast::<Call>()) };
    if call.state.end(status) {
        // SAFETY: The task was killed before, so this context owns the data. The device doesn't
        // access them, because the request has ended.
        free_atomic(unsafe { call.take_data() });
        // SAFETY: The task was killed before, so this context owns the request, too. The caller
        // doesn't access it after `RQ_END_IO_NONE`.
        drop(NonNull::new(rq).map(|rq| unsafe { Owned::<T>::new(rq) }));
    } else {
        // Since `end` the task may free the request.
        call.done.complete();
    }
    bindings::rq_end_io_ret_RQ_END_IO_NONE
}

/// Calls [`Operations::IOCTL`].
///
/// # Safety
///
/// `part` must be the whole disk or a partition of a disk of `T`, which is open during the call.
unsafe fn call<T: Operations>(
    part: *mut bindings::block_device,
    mode: bindings::blk_mode_t,
    number: c_uint,
    arg: usize,
    compat: bool,
) -> c_int {
    let call = Ioctl {
        number,
        arg,
        writable: mode & BLK_OPEN_WRITE != 0,
        compat,
    };
    // SAFETY: The caller promises an open disk of `T`.
    let disk = NonNull::new(part).map(|part| unsafe { OpenDisk::<T>::new(part) });
    let result = match (disk, T::IOCTL) {
        (Some(disk), Some(ioctl)) => ioctl(&disk, &call),
        _ => Err(ENOTTY),
    };
    match result {
        // User space sees the lower 32 bits.
        Ok(result) => result as c_int,
        Err(error) => error.to_errno(),
    }
}

/// `block_device_operations.ioctl`.
///
/// # Safety
///
/// The block layer calls this, with a disk of `T` or a partition of it, which is open.
pub(super) unsafe extern "C" fn ioctl<T: Operations>(
    part: *mut bindings::block_device,
    mode: bindings::blk_mode_t,
    number: c_uint,
    arg: c_ulong,
) -> c_int {
    // SAFETY: By the safety requirements the disk is open, and of `T`.
    unsafe { call::<T>(part, mode, number, arg, false) }
}

/// `block_device_operations.compat_ioctl`.
///
/// # Safety
///
/// As for [`ioctl`].
pub(super) unsafe extern "C" fn compat_ioctl<T: Operations>(
    part: *mut bindings::block_device,
    mode: bindings::blk_mode_t,
    number: c_uint,
    arg: c_ulong,
) -> c_int {
    // SAFETY: By the safety requirements the disk is open, and of `T`. A 32-bit process's pointer
    // has 32 bits.
    unsafe { call::<T>(part, mode, number, arg as u32 as usize, true) }
}
