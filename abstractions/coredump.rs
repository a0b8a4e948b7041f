// SPDX-License-Identifier: GPL-2.0

//! Device core dumps: what there is to know of a device that failed, kept for user space below
//! `/sys/class/devcoredump/`.
//!
//! C header: [`include/linux/devcoredump.h`](srctree/include/linux/devcoredump.h)

use kernel::{
    alloc::{
        flags::__GFP_NOWARN,
        Flags, //
    },
    device::{
        self,
        Bound, //
    },
    fmt,
    prelude::*, //
};

#[cfg(CONFIG_DEV_COREDUMP)]
use {
    super::dma,
    kernel::bindings, //
};

/// The most bytes of a dump.
const MAX_BYTES: usize = 4 << 20;

/// A dump that lacks something is no reason for the kernel to print where it stands.
fn flags() -> Flags {
    GFP_KERNEL | __GFP_NOWARN
}

/// What stands at the end of a dump that lacks its rest.
const CUT: &[u8] = b"... cut short: no memory, or too long\n";

/// The text of a dump, as far as there is memory for it.
pub struct Text {
    bytes: VVec<u8>,
    cut: bool,
}

impl Text {
    /// An empty text.
    pub const fn new() -> Self {
        Self {
            bytes: VVec::new(),
            cut: false,
        }
    }

    /// Hands the text to user space as the core dump of `dev`. It stays until it was read and
    /// written to, or five minutes; while there is one of a device, another one is dropped. Only one
    /// context at a time may do that for a device.
    ///
    /// May sleep.
    pub fn submit(mut self, dev: &device::Device<Bound>) {
        if self.cut {
            // Nothing worse comes of its failure than that it is missing.
            let _ = self.bytes.extend_from_slice(CUT, flags());
        }
        if self.bytes.is_empty() {
            return;
        }
        // Without the option the dump goes nowhere, as in C.
        #[cfg(not(CONFIG_DEV_COREDUMP))]
        let _ = dev;
        #[cfg(CONFIG_DEV_COREDUMP)]
        {
            // Not in `kernel::bindings`.
            #[allow(improper_ctypes)]
            unsafe extern "C" {
                fn dev_coredumpv(
                    dev: *mut bindings::device,
                    data: *mut c_void,
                    datalen: usize,
                    gfp: bindings::gfp_t,
                );
            }

            // A dump that is just being given up is not found any more, but its link may still be
            // there: the kernel warns of a second one.
            // SAFETY: The device is bound, so it has a directory; the name ends with a null.
            let link = unsafe {
                bindings::kernfs_find_and_get_ns(
                    (*dma::raw(dev)).kobj.sd,
                    c"devcoredump".as_char_ptr(),
                    core::ptr::null(),
                )
            };
            if !link.is_null() {
                // SAFETY: The reference was got above.
                unsafe { bindings::kernfs_put(link) };
                return;
            }

            let (data, len, _) = self.bytes.into_raw_parts();
            // SAFETY: The device is valid. `data` are `len` bytes from vmalloc(), whose ownership
            // goes to the function, which frees them with vfree() in any case.
            unsafe { dev_coredumpv(dma::raw(dev), data.cast(), len, bindings::GFP_KERNEL) };
        }
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Write for Text {
    /// Adds `s`. What doesn't fit is left out, and so is all that follows. May sleep.
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.cut |= self.bytes.len() + s.len() > MAX_BYTES - CUT.len();
        if !self.cut {
            self.cut = self.bytes.extend_from_slice(s.as_bytes(), flags()).is_err();
        }
        match self.cut {
            true => Err(fmt::Error),
            false => Ok(()),
        }
    }
}
