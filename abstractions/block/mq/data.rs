// SPDX-License-Identifier: GPL-2.0

//! A request's data, copied by the CPU: for a driver whose device does no DMA.
//!
//! The kernel's `iov_iter` does the copying, as for the loop device. It maps a page at a time, and
//! copies it by a C function, so that user space may change its own page meanwhile.
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
use crate::abstractions::series;
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

/// A position in a request's data.
///
/// # Invariants
///
/// - `next` is null, or a bio of a read or write request; bios and data stay valid for `'a`.
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
    /// The iterator, with at least one byte left. After each copy the caller calls
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
            // describes. No entry is empty, so there are at most `size` entries, and `size` is a
            // safe upper bound for the iterator's count of segments.
            // INVARIANT: `iov` covers all bytes of the bio, as in `lo_rw_aio()` of the loop driver.
            unsafe {
                let iter = &raw const (*bio).bi_iter;
                let size = (*iter).bi_size as usize;
                let vec = (*bio).bi_io_vec.add((*iter).bi_idx as usize);
                let iov = self.iov.as_mut_ptr();
                bindings::iov_iter_bvec(iov, self.direction, vec, size, size);
                (*iov).iov_offset = series::bvec_done(iter) as usize;
                self.here = size;
                self.next = (*bio).bi_next;
            }
        }
        Ok(self.iov.as_mut_ptr())
    }

    /// Records that the iterator advanced by `bytes`.
    ///
    /// # Errors
    ///
    /// [`Status::IoError`] if the iterator didn't advance, so that no caller loops forever.
    fn skip(&mut self, bytes: usize) -> Result<(), Status> {
        // INVARIANT: The iterator stops at its end, so it advanced by no more than `here`.
        self.here = self.here.saturating_sub(bytes);
        self.left = self.left.saturating_sub(bytes);
        match bytes {
            0 => Err(Status::IoError),
            _ => Ok(()),
        }
    }

    /// Checks that `bytes` are left.
    ///
    /// # Errors
    ///
    /// [`Status::Invalid`] if fewer bytes are left.
    fn has(&self, bytes: usize) -> Result<(), Status> {
        match bytes <= self.left {
            true => Ok(()),
            false => Err(Status::Invalid),
        }
    }
}

/// The data of a write request, from the first byte on.
///
/// # Invariants
///
/// The cursor's direction is that of a source.
///
/// # Examples
///
/// ```no_run
/// use abstractions::block::mq::{data::Source, Status};
///
/// /// Sums a write request's data.
/// fn sum(mut data: Source<'_>) -> Result<u8, Status> {
///     let (mut sum, mut part) = (0u8, [0; 64]);
///     while !data.is_empty() {
///         let len = data.len().min(part.len());
///         let part = &mut part[..len];
///         data.read(part)?;
///         sum = part.iter().fold(sum, |sum, byte| sum.wrapping_add(*byte));
///     }
///     Ok(sum)
/// }
/// ```
pub struct Source<'a>(Cursor<'a>);

impl Source<'_> {
    /// Fills `out` with the next bytes. Any context.
    ///
    /// # Errors
    ///
    /// [`Status::Invalid`] if fewer bytes are left; then nothing is copied.
    pub fn read(&mut self, mut out: &mut [u8]) -> Result<(), Status> {
        self.0.has(out.len())?;
        while !out.is_empty() {
            let iov = self.0.iov()?;
            // SAFETY: By the type invariants `iov` is a valid source iterator over readable memory,
            // which only this call uses.
            let iov = unsafe { IovIterSource::from_raw(iov) };
            let copied = iov.copy_from_iter(out);
            self.0.skip(copied)?;
            out = out.get_mut(copied..).unwrap_or_default();
        }
        Ok(())
    }

    /// The number of bytes left.
    pub fn len(&self) -> usize {
        self.0.left
    }

    /// Whether no bytes are left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The destination of a read request's data, from the first byte on.
///
/// # Invariants
///
/// The cursor's direction is that of a destination, and the request's data may be written.
///
/// # Examples
///
/// ```no_run
/// use abstractions::block::mq::{data::Dest, Status};
///
/// /// Fills a read request with a header and zeroes.
/// fn fill(mut data: Dest<'_>) -> Result<(), Status> {
///     data.write(b"header")?;
///     if !data.is_empty() {
///         data.write_zeroes(data.len())?;
///     }
///     Ok(())
/// }
/// ```
pub struct Dest<'a>(Cursor<'a>);

impl Dest<'_> {
    /// Writes `data` as the next bytes. Any context.
    ///
    /// # Errors
    ///
    /// [`Status::Invalid`] if fewer bytes are left; then nothing is copied.
    pub fn write(&mut self, mut data: &[u8]) -> Result<(), Status> {
        self.0.has(data.len())?;
        while !data.is_empty() {
            let iov = self.0.iov()?;
            // SAFETY: By the type invariants `iov` is a valid destination iterator over writable
            // memory, which only this call uses.
            let iov = unsafe { IovIterDest::from_raw(iov) };
            let copied = iov.copy_to_iter(data);
            self.0.skip(copied)?;
            data = data.get(copied..).unwrap_or_default();
        }
        Ok(())
    }

    /// Zeroes the next `bytes` bytes. Any context.
    ///
    /// # Errors
    ///
    /// [`Status::Invalid`] if fewer bytes are left; then nothing is written.
    pub fn write_zeroes(&mut self, mut bytes: usize) -> Result<(), Status> {
        self.0.has(bytes)?;
        while bytes > 0 {
            let iov = self.0.iov()?;
            // SAFETY: By the type invariants `iov` is a valid iterator over writable memory.
            let zeroed = unsafe { bindings::iov_iter_zero(bytes, iov) };
            self.0.skip(zeroed)?;
            bytes = bytes.saturating_sub(zeroed);
        }
        Ok(())
    }

    /// The number of bytes left.
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
        // INVARIANT: The caller checked that the request is a read or write. Its bios don't change
        // while the request is lent or owned, and it can't be started, ended or rejected while it
        // is borrowed.
        Cursor {
            iov: MaybeUninit::uninit(),
            direction,
            here: 0,
            next: field!(self, bio),
            left: self.bytes() as usize,
            _data: PhantomData,
        }
    }

    /// The data of a write request; `None` for other requests.
    pub fn source(&self) -> Option<Source<'_>> {
        // INVARIANT: The request is a write, so its data are a source.
        (self.is_write() == Some(true)).then(|| Source(self.cursor(bindings::ITER_SOURCE)))
    }

    /// The destination of a read request's data; `None` for other requests.
    pub fn dest(&self) -> Option<Dest<'_>> {
        // INVARIANT: The request is a read, so its data are a writable destination.
        (self.is_write() == Some(false)).then(|| Dest(self.cursor(bindings::ITER_DEST)))
    }
}
