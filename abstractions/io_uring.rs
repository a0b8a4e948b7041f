// SPDX-License-Identifier: GPL-2.0

//! Commands that user space sends to a character device by io_uring (`IORING_OP_URING_CMD`).
//!
//! The driver gets a command as a [`UringCmd`], and ends the command at once or hands it to a
//! passthrough request ([`DiskRef::submit`](super::block::mq::DiskRef::submit)). The request's end
//! passes the result to the task that sent the command.
//!
//! `kernel::bindings` lacks io_uring's declarations, so this file has its own, which `check.c`
//! compares.
//!
//! C header: [`include/linux/io_uring/cmd.h`](srctree/include/linux/io_uring/cmd.h)

// A driver uses only a part of this.
#![allow(dead_code, unreachable_pub)]

use super::atomic::{
    AtomicPtr,
    Ordering, //
};
use core::{
    marker::PhantomData,
    mem::MaybeUninit,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::rcu,
    uaccess::UserPtr, //
};

// Not in `kernel::bindings`; `check.c` compares them with the kernel's.
pub(super) const FMODE_WRITE: bindings::fmode_t = 1 << 1;
const IO_URING_F_COMPLETE_DEFER: u32 = 1 << 0;
const IO_URING_F_NONBLOCK: u32 = 1 << 31;
const IO_URING_F_SQE128: u32 = 1 << 8;
const IO_URING_F_CQE32: u32 = 1 << 9;
const IO_URING_F_IOPOLL: u32 = 1 << 10;
const IO_URING_F_COMPAT: u32 = 1 << 12;
const IOU_F_TWQ_LAZY_WAKE: u32 = 1 << 0;
const IORING_URING_CMD_FIXED: u32 = 1 << 0;

/// The offset of the command's own bytes in a submission queue entry.
const SQE_CMD: usize = 48;
/// The number of words of 64 bits from there on, in an entry of 64 bytes.
const SQE_WORDS: usize = 2;
/// The same in an entry of 128 bytes.
const SQE128_WORDS: usize = 10;

/// `struct io_uring_cmd`.
#[repr(C)]
struct Cmd {
    file: *mut bindings::file,
    sqe: *const u8,
    cmd_op: u32,
    flags: u32,
    pdu: Pdu,
    _unused: [u8; 8],
}

/// The beginning of `struct io_kiocb`, which every command is in.
#[repr(C)]
struct Kiocb {
    cmd: Cmd,
    _opcode: [u8; 4],
    _flags: u64,
    _cqe: [u64; 2],
    ctx: *mut c_void,
}

/// What this file keeps of a command for the request that carries it out.
#[repr(C)]
struct Pdu {
    /// The request; null before and after.
    request: AtomicPtr<bindings::request>,
    /// The user's memory, mapped; null for none.
    bio: *mut bindings::bio,
    result: u64,
    status: i32,
}

const _: () = assert!(core::mem::size_of::<Pdu>() <= 32);

/// `struct io_tw_req`: a command, as task work gets it.
#[repr(C)]
#[allow(non_camel_case_types)]
struct io_tw_req {
    req: *mut c_void,
}

/// `struct io_tw_state`.
#[repr(C)]
#[allow(non_camel_case_types)]
struct io_tw_state {
    cancel: bool,
}

/// The functions of io_uring. A kernel without it never passes a command: there they return a value,
/// and do nothing.
mod c {
    use super::*;

    macro_rules! functions {
        ($(fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty, or $value:expr;)*) => {
            #[cfg(CONFIG_IO_URING)]
            unsafe extern "C" {
                $(pub(super) fn $name($($arg: $type),*) -> $result;)*
            }
            $(
                /// # Safety
                ///
                /// None; `unsafe` like the kernel's.
                #[cfg(not(CONFIG_IO_URING))]
                pub(super) unsafe fn $name($(_: $type),*) -> $result {
                    $value
                }
            )*
        };
    }

    functions! {
        fn __io_uring_cmd_done(
            cmd: *mut bindings::io_uring_cmd,
            ret: i32,
            res2: u64,
            issue_flags: c_uint,
            is_cqe32: bool
        ) -> (), or ();
        fn __io_uring_cmd_do_in_task(
            cmd: *mut bindings::io_uring_cmd,
            task_work_cb: unsafe extern "C" fn(io_tw_req, io_tw_state),
            flags: c_uint
        ) -> (), or ();
        fn io_uring_cmd_import_fixed(
            ubuf: u64,
            len: c_ulong,
            rw: c_int,
            iter: *mut bindings::iov_iter,
            cmd: *mut bindings::io_uring_cmd,
            issue_flags: c_uint
        ) -> c_int, or EOPNOTSUPP.to_errno();
        fn io_uring_cmd_import_fixed_vec(
            cmd: *mut bindings::io_uring_cmd,
            uvec: *const bindings::iovec,
            uvec_segs: usize,
            ddir: c_int,
            iter: *mut bindings::iov_iter,
            issue_flags: c_uint
        ) -> c_int, or EOPNOTSUPP.to_errno();
    }
}

/// A lifetime that belongs to one call: no other value has the same.
type Call<'a> = PhantomData<fn(&'a ()) -> &'a ()>;

/// The answer to a command that has ended, or that a request carries out.
///
/// # Examples
///
/// ```no_run
/// use abstractions::{
///     chrdev::is_admin,
///     io_uring::{Answer, UringCmd},
/// };
///
/// /// A `Queued` proves that the command was ended, or that a request carries it out.
/// fn answer(cmd: UringCmd<'_>) -> Answer<'_> {
///     if !is_admin() {
///         return Err(cmd.refuse(EACCES));
///     }
///     Ok(cmd.finish(0, 7))
/// }
/// ```
pub struct Queued<'a>(Call<'a>);

/// The refusal of a command: io_uring ends it with an error. So the command hasn't been ended, and no
/// request carries it out.
///
/// # Examples
///
/// ```no_run
/// use abstractions::io_uring::{Refused, UringCmd};
///
/// /// Until the device is ready, io_uring sends the command again in a worker.
/// fn retry(cmd: UringCmd<'_>) -> Refused<'_> {
///     cmd.refuse(EAGAIN)
/// }
/// ```
pub struct Refused<'a> {
    error: Error,
    _call: Call<'a>,
}

/// What a driver answers to a command.
///
/// # Errors
///
/// The refusal. `ENOTTY` is for an unknown command; after `EAGAIN` a worker of io_uring sends the command
/// again.
///
/// # Examples
///
/// ```no_run
/// use abstractions::io_uring::{Answer, UringCmd};
///
/// fn unknown(cmd: UringCmd<'_>) -> Answer<'_> {
///     Err(cmd.refuse(ENOTTY))
/// }
/// ```
pub type Answer<'a> = Result<Queued<'a>, Refused<'a>>;

/// What io_uring's callback returns for an answer.
pub(super) fn errno(answer: Answer<'_>) -> c_int {
    match answer {
        Ok(_) => EIOCBQUEUED.to_errno(),
        Err(refused) => refused.error.to_errno(),
    }
}

/// A command that user space sent, which the driver answers. The lifetime is unique to a call and
/// its command.
///
/// # Invariants
///
/// `raw` is a command that io_uring issues with `issue_flags`, and that has not been ended or handed
/// to a request.
///
/// # Examples
///
/// ```no_run
/// use abstractions::{
///     chrdev::CharDevice,
///     io_uring::{Answer, UringCmd},
/// };
///
/// /// Answers with the sum of two words. For `chrdev::Operations::URING_CMD`.
/// fn add<'a, T>(_device: &CharDevice<T>, cmd: UringCmd<'a>) -> Answer<'a> {
///     // If this fails, the command is refused with the error.
///     let (cmd, sum) = cmd.check(|cmd| {
///         if cmd.op() != 0x4e40 || !cmd.is_large() {
///             return Err(ENOTTY);
///         }
///         if !cmd.is_writable() || cmd.is_polled() || cmd.is_compat() {
///             return Err(EOPNOTSUPP);
///         }
///         if !cmd.may_sleep() {
///             return Err(EAGAIN);
///         }
///         let [a, b] = cmd.payload().ok_or(EINVAL)?;
///         if cmd.pointer(a).as_const_ptr().is_null() {
///             return Err(EINVAL);
///         }
///         Ok(a.wrapping_add(b))
///     })?;
///     Ok(cmd.finish(0, sum))
/// }
/// ```
pub struct UringCmd<'a> {
    raw: NonNull<Cmd>,
    issue_flags: u32,
    _call: Call<'a>,
}

impl<'a> UringCmd<'a> {
    /// # Safety
    ///
    /// `raw` must be a command that io_uring issues with `issue_flags`, and `'a` the call that
    /// issues it.
    pub(super) unsafe fn new(raw: NonNull<bindings::io_uring_cmd>, issue_flags: u32) -> Self {
        let raw: NonNull<Cmd> = raw.cast();
        // SAFETY: The caller promises a command that is being issued, so no other context accesses
        // its pdu, which is for the driver.
        unsafe { (*raw.as_ptr()).pdu.request = AtomicPtr::new(core::ptr::null_mut()) };
        // INVARIANT: The caller promises it.
        Self {
            raw,
            issue_flags,
            _call: PhantomData,
        }
    }

    /// The number of the command (`cmd_op`).
    pub fn op(&self) -> u32 {
        // SAFETY: By the type invariant the command is valid; its number doesn't change.
        unsafe { (*self.raw.as_ptr()).cmd_op }
    }

    /// Whether the ring's submission queue entries have 128 bytes, and its completion queue entries
    /// 32.
    pub fn is_large(&self) -> bool {
        const LARGE: u32 = IO_URING_F_SQE128 | IO_URING_F_CQE32;
        self.issue_flags & LARGE == LARGE
    }

    /// Whether user space polls for the completion (`IORING_SETUP_IOPOLL`).
    pub fn is_polled(&self) -> bool {
        self.issue_flags & IO_URING_F_IOPOLL != 0
    }

    /// Whether the call may sleep. If it may not, the driver can return `EAGAIN`: then a worker of
    /// io_uring issues the command again.
    pub fn may_sleep(&self) -> bool {
        self.issue_flags & IO_URING_F_NONBLOCK == 0
    }

    /// The file that the command was sent to, which stays open until the command has ended.
    pub(super) fn file(&self) -> *mut bindings::file {
        // SAFETY: By the type invariant the command is valid; its file doesn't change.
        unsafe { (*self.raw.as_ptr()).file }
    }

    /// The file was opened for writing.
    pub fn is_writable(&self) -> bool {
        // SAFETY: The file is open; its mode doesn't change.
        unsafe { (*self.file()).f_mode & FMODE_WRITE != 0 }
    }

    /// The data are in a registered buffer.
    pub(super) fn is_fixed(&self) -> bool {
        // SAFETY: By the type invariant the command is valid; these flags don't change.
        unsafe { (*self.raw.as_ptr()).flags & IORING_URING_CMD_FIXED != 0 }
    }

    /// The first `N` words of the command's own bytes, of which there are 80 if the ring is
    /// [large](Self::is_large), otherwise 16; `None` for more words.
    #[inline(always)]
    pub fn payload<const N: usize>(&self) -> Option<[u64; N]> {
        let present = match self.issue_flags & IO_URING_F_SQE128 {
            0 => SQE_WORDS,
            _ => SQE128_WORDS,
        };
        if N > present {
            return None;
        }
        // SAFETY: By the type invariant the entry is valid.
        let first = unsafe { (*self.raw.as_ptr()).sqe.add(SQE_CMD).cast::<u64>() };
        // SAFETY: The entry has `N` words after `SQE_CMD`. User space may write them at any time, which
        // a volatile read allows.
        Some(core::array::from_fn(|i| unsafe {
            first.add(i).read_volatile()
        }))
    }

    /// The address in user space that user space wrote as 64 bits. A 32-bit process may leave the
    /// upper bits uninitialised.
    pub fn pointer(&self, address: u64) -> UserPtr {
        user_pointer(address, self.is_compat())
    }

    /// Whether a 32-bit process sent the command to a 64-bit kernel.
    pub fn is_compat(&self) -> bool {
        self.issue_flags & IO_URING_F_COMPAT != 0
    }

    /// Calls `f`, and refuses the command with its error if it fails.
    ///
    /// # Errors
    ///
    /// The refusal with the error of `f`.
    #[inline(always)]
    pub fn check<R>(self, f: impl FnOnce(&Self) -> Result<R>) -> Result<(Self, R), Refused<'a>> {
        match f(&self) {
            Ok(result) => Ok((self, result)),
            Err(error) => Err(self.refuse(error)),
        }
    }

    /// Refuses the command: io_uring ends it with `error`.
    #[inline(always)]
    pub fn refuse(self, error: Error) -> Refused<'a> {
        Refused {
            error,
            _call: PhantomData,
        }
    }

    /// Ends the command: user space gets `status`, which is an error if it is negative, and
    /// `result`, if the ring is [large](Self::is_large).
    pub fn finish(self, status: i32, result: u64) -> Queued<'a> {
        let large = self.issue_flags & IO_URING_F_CQE32 != 0;
        // SAFETY: By the type invariant the command is being issued with these flags, and is ended
        // once, because this consumes the value.
        unsafe {
            c::__io_uring_cmd_done(
                self.raw.as_ptr().cast(),
                status,
                result,
                self.issue_flags,
                large,
            )
        };
        Queued(PhantomData)
    }

    /// Makes `iter` an iterator over the registered buffer's part of `len` bytes at `at`; if
    /// `vectored`, over the parts that the array of `len` `struct iovec` at `at` names. `write` if the
    /// device reads them. Returns an error number, or at least 0 if `iter` is initialised.
    pub(super) fn import_fixed(
        &self,
        at: UserPtr,
        len: usize,
        vectored: bool,
        write: bool,
        iter: &mut MaybeUninit<bindings::iov_iter>,
    ) -> c_int {
        let (raw, address, iter) = (
            self.raw.as_ptr().cast(),
            at.as_const_ptr(),
            iter.as_mut_ptr(),
        );
        let (rw, flags) = (direction(write), self.issue_flags);
        // SAFETY: By the type invariant the command is being issued with these flags. The functions
        // check the address.
        unsafe {
            if vectored {
                c::io_uring_cmd_import_fixed_vec(raw, address.cast(), len, rw, iter, flags)
            } else {
                c::io_uring_cmd_import_fixed(address as u64, len as c_ulong, rw, iter, raw, flags)
            }
        }
    }

    /// Hands the command to `request`, which user memory is mapped to, and which isn't executed yet.
    /// Returns the command for [`end`].
    ///
    /// # Safety
    ///
    /// The caller must execute the request. When it has ended, before it is freed, [`end`] must be
    /// called, once.
    pub(super) unsafe fn hand_over(
        self,
        request: NonNull<bindings::request>,
    ) -> (*mut c_void, Queued<'a>) {
        // SAFETY: By the type invariant the command is being issued, so no other context accesses
        // its pdu. The request is valid.
        unsafe {
            let pdu = &raw mut (*self.raw.as_ptr()).pdu;
            (*pdu).bio = (*request.as_ptr()).bio;
            (*pdu).request = AtomicPtr::new(request.as_ptr());
        }
        (self.raw.as_ptr().cast(), Queued(PhantomData))
    }
}

/// The address in user space that user space wrote as 64 bits; `compat` for a 32-bit process, which
/// may leave the upper bits uninitialised.
#[inline]
pub(super) fn user_pointer(address: u64, compat: bool) -> UserPtr {
    UserPtr::from_addr(match compat {
        true => address as u32 as usize,
        false => address as usize,
    })
}

/// The direction of an iterator over user memory: `write` if the device reads it.
pub(super) fn direction(write: bool) -> c_int {
    match write {
        true => bindings::ITER_SOURCE as c_int,
        false => bindings::ITER_DEST as c_int,
    }
}

/// The request that carries out a command has ended: passes `status` and `result` to the command's
/// task. Any context.
///
/// # Safety
///
/// `cmd` must be from [`UringCmd::hand_over`], for a request that isn't freed yet; this may be called
/// once. `iob` must be null, or the batch that the request ends in.
#[inline]
pub(super) unsafe fn end(
    cmd: *mut c_void,
    status: i32,
    result: u64,
    iob: *const bindings::io_comp_batch,
) {
    let cmd: *mut Cmd = cmd.cast();
    // SAFETY: The command lives until it is ended, which happens below. Until then only `poll`
    // accesses its pdu at the same time, and of that only `request`. Every command is in an
    // `io_kiocb`, whose `ctx` doesn't change. The caller promises a valid batch.
    let here = unsafe {
        let pdu = &raw mut (*cmd).pdu;
        (*pdu).status = status;
        (*pdu).result = result;
        // From here on `poll` finds no request, which may be freed soon. RCU's grace period orders this,
        // as `RCU_INIT_POINTER(…, NULL)`.
        (*pdu)
            .request
            .store(core::ptr::null_mut(), Ordering::Relaxed);
        !iob.is_null() && (*iob).poll_ctx == (*cmd.cast::<Kiocb>()).ctx
    };
    if here {
        // SAFETY: The ring that polls is the command's, so this is its task, which holds the ring's
        // lock.
        unsafe { finish_here(cmd) };
    } else {
        // SAFETY: The command is ended once, by `in_task`.
        unsafe { c::__io_uring_cmd_do_in_task(cmd.cast(), in_task, IOU_F_TWQ_LAZY_WAKE) };
    }
}

/// Ends a command in the task that polls for it. Apart, because most commands end in interrupts.
///
/// # Safety
///
/// As for [`finish`]; the task holds the ring's lock, as the flags 0 say.
#[cold]
#[inline(never)]
unsafe fn finish_here(cmd: *mut Cmd) {
    // SAFETY: The caller promises a command of `end`, its task, and the ring's lock.
    unsafe { finish(cmd, 0) };
}

/// Task work of a command's task.
///
/// # Safety
///
/// io_uring calls this once for a command of [`end`].
unsafe extern "C" fn in_task(tw: io_tw_req, _state: io_tw_state) {
    // SAFETY: A command is the first field of its `io_kiocb`. The flags are those of task work.
    unsafe { finish(tw.req.cast(), IO_URING_F_COMPLETE_DEFER) };
}

/// Ends a command in its task, by what [`end`] has stored.
///
/// # Safety
///
/// `cmd` must be a command of [`end`], not ended yet, and this its task; `issue_flags` must describe
/// the context.
#[inline]
unsafe fn finish(cmd: *mut Cmd, issue_flags: u32) {
    // SAFETY: The caller promises a command whose request has ended, so this context owns its pdu,
    // except for `request`. `bio` is the first one that was mapped to the request; nothing accesses
    // the memory, and this is the task that it was mapped for.
    unsafe {
        let pdu = &raw mut (*cmd).pdu;
        if !(*pdu).bio.is_null() {
            let copied = bindings::blk_rq_unmap_user((*pdu).bio);
            if copied < 0 && (*pdu).status == 0 {
                (*pdu).status = copied;
            }
        }
    }
    // SAFETY: The caller promises a command that isn't ended yet, whose pdu this context owns, and the
    // right flags.
    unsafe {
        let (status, result) = ((*cmd).pdu.status, (*cmd).pdu.result);
        c::__io_uring_cmd_done(cmd.cast(), status, result, issue_flags, true);
    }
}

/// Polls for the end of a command: `file_operations.uring_cmd_iopoll`. Returns how many requests
/// have ended.
///
/// # Safety
///
/// io_uring calls this for a command that was issued, and hasn't ended.
pub(super) unsafe extern "C" fn poll(
    cmd: *mut bindings::io_uring_cmd,
    iob: *mut bindings::io_comp_batch,
    flags: c_uint,
) -> c_int {
    let cmd: *mut Cmd = cmd.cast();
    let _guard = rcu::read_lock();
    // As `rcu_dereference()`: what is read through the pointer is read after the pointer. The ring's
    // lock orders it after the command was issued.
    // SAFETY: The command is valid, and `UringCmd::new` has initialised the field, which `end` may
    // change meanwhile.
    let request = unsafe { (*cmd).pdu.request.load(Ordering::Relaxed) };
    if request.is_null() {
        return 0;
    }
    // SAFETY: `end` had not yet cleared the field, so the request wasn't freed before this RCU
    // read-side critical section began. Its memory, and the queue and the hardware queue that it
    // names, stay valid until the section ends, also if it ends and is used again: they are freed
    // after their queue was frozen, for which the block layer waits for an RCU grace period.
    unsafe { bindings::blk_rq_poll(request, iob, flags) }
}
