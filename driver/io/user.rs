// SPDX-License-Identifier: GPL-2.0

//! The structures by which user space passes commands, read and written. `control` uses
//! them.

use crate::{
    abstractions::chrdev::Ioctl,
    nvme::host::uapi::PassthruCmd,
};
use kernel::{
    prelude::*,
    uaccess::UserSlice, //
};

/// Reads the `struct nvme_passthru_cmd` of `call`, or, if `wide`, the one with a result of 64 bits.
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
    let cmd = PassthruCmd::parse(bytes.first_chunk().ok_or(EINVAL)?);
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
pub(crate) fn has_metadata(call: &Ioctl, cmd: &PassthruCmd) -> bool {
    cmd.metadata_len != 0 && !call.pointer(cmd.metadata).as_const_ptr().is_null()
}
