// SPDX-License-Identifier: GPL-2.0

//! The structures by which user space passes commands, read and written. `passthrough` and `control`
//! use them.

use crate::abstractions::series::EOPNOTSUPP;
use crate::{
    abstractions::{
        chrdev::Ioctl,
        io_uring::UringCmd, //
    },
    nvme::host::uapi::{
        PassthruCmd,
        UserIo, //
    },
};
use kernel::{
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

/// The maximum number of pieces of a command's data (`UIO_MAXIOV`).
const MAX_PIECES: u32 = 1024;

/// The call or the command by which user space passes a command: how it writes addresses.
pub(crate) trait Caller {
    /// The address that user space wrote as 64 bits.
    fn pointer(&self, address: u64) -> UserPtr;

    /// A 32-bit process calls a 64-bit kernel.
    fn is_compat(&self) -> bool;
}

impl Caller for Ioctl {
    fn pointer(&self, address: u64) -> UserPtr {
        self.pointer(address)
    }

    fn is_compat(&self) -> bool {
        self.compat
    }
}

impl Caller for UringCmd<'_> {
    fn pointer(&self, address: u64) -> UserPtr {
        self.pointer(address)
    }

    fn is_compat(&self) -> bool {
        self.is_compat()
    }
}

/// Reads the `struct nvme_passthru_cmd` of `call`, or its `struct nvme_passthru_cmd64` if `wide`.
///
/// # Errors
///
/// `EFAULT`; `EINVAL` if it has flags.
pub(crate) fn read_command(call: &Ioctl, wide: bool) -> Result<PassthruCmd> {
    let mut bytes = [0; PassthruCmd::SIZE64];
    let len = match wide {
        true => PassthruCmd::SIZE64,
        false => PassthruCmd::SIZE,
    };
    let user = UserSlice::new(call.pointer(call.arg as u64), len);
    user.reader()
        .read_slice(bytes.get_mut(..len).ok_or(EINVAL)?)?;
    let mut words = [0; PassthruCmd::WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(size_of::<u64>())) {
        *word = u64::from_ne_bytes(*bytes.first_chunk().ok_or(EINVAL)?);
    }
    without_flags(&words)
}

/// Reads the `struct nvme_uring_cmd` of `cmd`. Also returns what `is_vectored` says of the
/// command's number: whether an array of `struct iovec` names the data.
///
/// # Errors
///
/// `EOPNOTSUPP` if the ring's entries are too small, that of `is_vectored` for an unknown number,
/// `EINVAL` for a structure with flags.
#[inline(always)]
pub(crate) fn read_uring(
    cmd: &UringCmd<'_>,
    is_vectored: impl FnOnce(u32) -> Result<bool>,
) -> Result<(bool, PassthruCmd)> {
    if !cmd.is_large() {
        return Err(EOPNOTSUPP);
    }
    let vectored = is_vectored(cmd.op())?;
    Ok((vectored, without_flags(&cmd.payload().ok_or(EOPNOTSUPP)?)?))
}

/// The command in the words that user space wrote.
///
/// # Errors
///
/// `EINVAL` if it has flags.
#[inline(always)]
fn without_flags(words: &[u64; PassthruCmd::WORDS]) -> Result<PassthruCmd> {
    let cmd = PassthruCmd::parse(words);
    match cmd.flags {
        0 => Ok(cmd),
        _ => Err(EINVAL),
    }
}

/// Writes a command's result to the structure that [`read_command`] has read.
///
/// # Errors
///
/// `EFAULT`.
pub(crate) fn write_result(call: &Ioctl, wide: bool, result: u64) -> Result {
    let at = call.pointer(call.arg as u64);
    if wide {
        let at = at.wrapping_byte_add(PassthruCmd::RESULT64);
        UserSlice::new(at, size_of::<u64>()).writer().write(&result)
    } else {
        let (at, low) = (at.wrapping_byte_add(PassthruCmd::RESULT), result as u32);
        UserSlice::new(at, size_of::<u32>()).writer().write(&low)
    }
}

/// Whether `cmd` has metadata.
#[inline]
pub(crate) fn has_metadata(call: &impl Caller, cmd: &PassthruCmd) -> bool {
    cmd.metadata_len != 0 && !is_null(call, cmd.metadata)
}

/// Whether an address that user space wrote as 64 bits is null.
pub(super) fn is_null(call: &impl Caller, address: u64) -> bool {
    call.pointer(address).as_const_ptr().is_null()
}

/// Reads the `struct nvme_user_io` of `call`.
///
/// # Errors
///
/// `EFAULT`.
pub(super) fn read_io(call: &Ioctl) -> Result<UserIo> {
    let mut bytes = [0; UserIo::SIZE];
    let user = UserSlice::new(call.pointer(call.arg as u64), UserIo::SIZE);
    user.reader().read_slice(&mut bytes)?;
    Ok(UserIo::parse(bytes.first_chunk().ok_or(EINVAL)?))
}

/// The user's memory for a command's data: its pieces, in order.
#[derive(Default)]
pub(crate) struct Memory(KVec<(UserPtr, usize)>);

impl Memory {
    /// One piece.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn one(at: UserPtr, len: usize) -> Result<Self> {
        let mut pieces = KVec::new();
        pieces.push((at, len), GFP_KERNEL)?;
        Ok(Self(pieces))
    }

    /// The pieces in an array of `count` `struct iovec` at `at`.
    ///
    /// # Errors
    ///
    /// `EINVAL` for too many; `EFAULT`, `ENOMEM`.
    pub(crate) fn pieces(call: &impl Caller, at: UserPtr, count: u32) -> Result<Self> {
        if count > MAX_PIECES {
            return Err(EINVAL);
        }
        let count = count as usize;
        let size = if call.is_compat() { 8 } else { 16 };
        let mut reader = UserSlice::new(at, count * size).reader();
        let mut pieces = KVec::with_capacity(count, GFP_KERNEL)?;
        for _ in 0..count {
            let (base, len) = match call.is_compat() {
                true => (reader.read::<u32>()?.into(), reader.read::<u32>()?.into()),
                false => (reader.read::<u64>()?, reader.read::<u64>()?),
            };
            pieces.push_within_capacity((call.pointer(base), len as usize))?;
        }
        Ok(Self(pieces))
    }

    /// The bytes of all pieces; `None` for more than can be counted.
    pub(crate) fn bytes(&self) -> Option<usize> {
        let mut lens = self.0.iter().map(|(_, len)| *len);
        lens.try_fold(0usize, |sum, len| sum.checked_add(len))
    }

    /// The pieces, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = UserSlice> + '_ {
        self.0.iter().map(|(at, len)| UserSlice::new(*at, *len))
    }

    /// Copies the user's data to `data`, which is as long.
    ///
    /// # Errors
    ///
    /// `EFAULT`.
    pub(super) fn read(&self, mut data: &mut [u8]) -> Result {
        for (at, len) in &self.0 {
            let (piece, rest) = data.split_at_mut_checked(*len).ok_or(EINVAL)?;
            UserSlice::new(*at, *len).reader().read_slice(piece)?;
            data = rest;
        }
        Ok(())
    }

    /// Copies `data`, which are as long, to the user.
    ///
    /// # Errors
    ///
    /// `EFAULT`.
    pub(super) fn write(&self, mut data: &[u8]) -> Result {
        for (at, len) in &self.0 {
            let (piece, rest) = data.split_at_checked(*len).ok_or(EINVAL)?;
            UserSlice::new(*at, *len).writer().write_slice(piece)?;
            data = rest;
        }
        Ok(())
    }
}
