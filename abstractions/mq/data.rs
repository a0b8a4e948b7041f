// SPDX-License-Identifier: GPL-2.0

//! A request's data, copied by the CPU: for a driver whose device does no DMA.
//!
//! The kernel's own iterator goes over the memory, as it does for the loop device. It maps one page
//! at a time, and copies it by a C function, so that user space may change its own page meanwhile.
//!
//! C header: [`include/linux/uio.h`](srctree/include/linux/uio.h)

use super::{
    request::{
        field,
        RequestRef, //
    },
    Operations,
    Status, //
};
use core::{
    marker::PhantomData,
    mem::MaybeUninit, //
};
use kernel::{
    bindings,
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    prelude::*, //
};

/// A place in a request's data.
///
/// # Invariants
///
/// - `next` is null, or a bio of a request that reads or writes; bios and data stay valid for `'a`.
/// - While `here` isn't 0, `iov` is an iterator over `here` bytes of that request's data, with
///   `direction`, and nothing else refers to it.
struct Cursor<'a> {
    iov: MaybeUninit<bindings::iov_iter>,
    direction: u32,
    here: usize,
    next: *const bindings::bio,
    left: usize,
    _data: PhantomData<&'a [u8]>,
}

impl Cursor<'_> {
    /// The iterator, in which at least one byte is left. Each copy by it is noted by
    /// [`skip`](Self::skip).
    ///
    /// # Errors
    ///
    /// [`Status::IoError`] after the last byte.
    fn iov(&mut self) -> Result<*mut bindings::iov_iter, Status> {
        while self.here == 0 {
            let bio = self.next;
            if bio.is_null() {
                return Err(Status::IoError);
            }
            // SAFETY: By the type invariant the bio is valid, and has the entries that its iterator
            // names. None of these is empty, so there are at most as many as bytes: the count is a
            // bound for the functions that look for the end by it.
            // INVARIANT: All bytes of the bio are left; as `lo_rw_aio()` in the loop driver.
            unsafe {
                let iter = &raw const (*bio).bi_iter;
                let size = (*iter).bi_size as usize;
                let vec = (*bio).bi_io_vec.add((*iter).bi_idx as usize);
                let iov = self.iov.as_mut_ptr();
                bindings::iov_iter_bvec(iov, self.direction, vec, size, size);
                (*iov).iov_offset = (*iter).bi_offset as usize;
                self.here = size;
                self.next = (*bio).bi_next;
            }
        }
        Ok(self.iov.as_mut_ptr())
    }

    /// Notes that the iterator went on by `bytes`.
    ///
    /// # Errors
    ///
    /// [`Status::IoError`] if it is still where it was, so that no caller waits for it.
    fn skip(&mut self, bytes: usize) -> Result<(), Status> {
        // INVARIANT: The iterator knows its end, and so went on by no more than was left.
        self.here = self.here.saturating_sub(bytes);
        self.left = self.left.saturating_sub(bytes);
        match bytes {
            0 => Err(Status::IoError),
            _ => Ok(()),
        }
    }

    /// Whether `bytes` are left.
    ///
    /// # Errors
    ///
    /// [`Status::Invalid`] if not.
    fn has(&self, bytes: usize) -> Result<(), Status> {
        match bytes <= self.left {
            true => Ok(()),
            false => Err(Status::Invalid),
        }
    }
}

/// The data that a request writes, from its first byte on.
///
/// # Invariants
///
/// The cursor's direction is that of a source.
pub struct Source<'a>(Cursor<'a>);

impl Source<'_> {
    /// Copies the next bytes to all of `out`. Any context.
    ///
    /// # Errors
    ///
    /// [`Status::Invalid`] where fewer bytes are left; nothing is copied then.
    pub fn read(&mut self, mut out: &mut [u8]) -> Result<(), Status> {
        self.0.has(out.len())?;
        while !out.is_empty() {
            let iov = self.0.iov()?;
            // SAFETY: By the type invariants it is a valid iterator over memory that may be read, a
            // source, and used by this call only.
            let iov = unsafe { IovIterSource::from_raw(iov) };
            let copied = iov.copy_from_iter(out);
            self.0.skip(copied)?;
            out = out.get_mut(copied..).unwrap_or_default();
        }
        Ok(())
    }

    /// The number of bytes that are left.
    pub fn len(&self) -> usize {
        self.0.left
    }

    /// Whether no bytes are left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where the data go that a request reads, from its first byte on.
///
/// # Invariants
///
/// The cursor's direction is that of a destination, and the request's data may be written.
pub struct Dest<'a>(Cursor<'a>);

impl Dest<'_> {
    /// Makes `data` the next bytes. Any context.
    ///
    /// # Errors
    ///
    /// [`Status::Invalid`] where fewer bytes are left; nothing is copied then.
    pub fn write(&mut self, mut data: &[u8]) -> Result<(), Status> {
        self.0.has(data.len())?;
        while !data.is_empty() {
            let iov = self.0.iov()?;
            // SAFETY: By the type invariants it is a valid iterator over memory that may be written,
            // a destination, and used by this call only.
            let iov = unsafe { IovIterDest::from_raw(iov) };
            let copied = iov.copy_to_iter(data);
            self.0.skip(copied)?;
            data = data.get(copied..).unwrap_or_default();
        }
        Ok(())
    }

    /// Makes the next `bytes` bytes zero. Any context.
    ///
    /// # Errors
    ///
    /// [`Status::Invalid`] where fewer bytes are left; nothing is written then.
    pub fn write_zeroes(&mut self, mut bytes: usize) -> Result<(), Status> {
        self.0.has(bytes)?;
        while bytes > 0 {
            let iov = self.0.iov()?;
            // SAFETY: By the type invariants it is a valid iterator over memory that may be written.
            let zeroed = unsafe { bindings::iov_iter_zero(bytes, iov) };
            self.0.skip(zeroed)?;
            bytes = bytes.saturating_sub(zeroed);
        }
        Ok(())
    }

    /// The number of bytes that are left.
    pub fn len(&self) -> usize {
        self.0.left
    }

    /// Whether no bytes are left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Operations> RequestRef<T> {
    fn cursor(&self, direction: u32) -> Cursor<'_> {
        // INVARIANT: The caller saw that the request reads or writes. Its bios stay as they are while
        // it is lent or owned, and it can't be started, ended or handed back while it is borrowed.
        Cursor {
            iov: MaybeUninit::uninit(),
            direction,
            here: 0,
            next: field!(self, bio),
            left: self.bytes() as usize,
            _data: PhantomData,
        }
    }

    /// The data of a request that writes; `None` for any other.
    pub fn source(&self) -> Option<Source<'_>> {
        // INVARIANT: It writes, and so its data are a source.
        (self.is_write() == Some(true)).then(|| Source(self.cursor(bindings::ITER_SOURCE)))
    }

    /// Where the data go of a request that reads; `None` for any other.
    pub fn dest(&self) -> Option<Dest<'_>> {
        // INVARIANT: It reads, and so its data are a destination.
        (self.is_write() == Some(false)).then(|| Dest(self.cursor(bindings::ITER_DEST)))
    }
}
