// SPDX-License-Identifier: GPL-2.0

//! Device core dumps: what there is to know of a device that failed, kept for user space below
//! `/sys/class/devcoredump/`.
//!
//! C header: [`include/linux/devcoredump.h`](srctree/include/linux/devcoredump.h)

use kernel::{
    alloc::flags::__GFP_NOWARN,
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
    core::sync::atomic::{
        AtomicBool,
        Ordering, //
    },
    kernel::{
        bindings,
        time::{
            delay::fsleep,
            Delta, //
        }, //
    }, //
};

/// The most bytes of a dump.
const MAX_BYTES: usize = 4 << 20;

/// The bytes of a piece.
const PIECE: usize = 4096;

/// What stands at the end of a dump that lacks its rest.
const CUT: &[u8] = b"... cut short: no memory, or too long\n";

/// The turn to hand over a dump, which one context has at a time.
#[cfg(CONFIG_DEV_COREDUMP)]
struct Turn;

#[cfg(CONFIG_DEV_COREDUMP)]
static TAKEN: AtomicBool = AtomicBool::new(false);

#[cfg(CONFIG_DEV_COREDUMP)]
impl Turn {
    /// How long others are waited for, in milliseconds. They may wait for memory, so it isn't for ever.
    const WAIT: u32 = 100;

    /// Takes the turn; `None` if others keep it. Sleeps.
    fn take() -> Option<Self> {
        for _ in 0..Self::WAIT {
            if !TAKEN.swap(true, Ordering::Acquire) {
                return Some(Self);
            }
            fsleep(Delta::from_millis(1));
        }
        None
    }
}

#[cfg(CONFIG_DEV_COREDUMP)]
impl Drop for Turn {
    fn drop(&mut self) {
        TAKEN.store(false, Ordering::Release);
    }
}

/// The text of a dump, as far as there is memory for it.
///
/// It is written without waiting for memory, as the memory may have to come from I/O that waits for
/// the writer. So it is in pieces: the kernel can't make a large area without waiting.
pub struct Text {
    pieces: KVec<KVec<u8>>,
    len: usize,
    cut: bool,
}

impl Text {
    /// An empty text.
    pub const fn new() -> Self {
        Self {
            pieces: KVec::new(),
            len: 0,
            cut: false,
        }
    }

    /// Hands the text to user space as the core dump of `dev`. It stays until it was read and
    /// written to, or five minutes; while there is one of a device, or another context takes long to
    /// hand one over, another one is dropped. After unbind the dump keeps a reference to the device,
    /// and no more of it.
    ///
    /// May wait for memory, and for I/O. The caller holds no lock that I/O needs to go on.
    pub fn submit(self, dev: &device::Device<Bound>) {
        let Some(bytes) = self.join() else {
            return;
        };
        // Without the option the dump goes nowhere, as in C.
        #[cfg(not(CONFIG_DEV_COREDUMP))]
        let _ = (dev, bytes);
        #[cfg(CONFIG_DEV_COREDUMP)]
        {
            // Not in `kernel::bindings`; `check.c` compares it with the kernel's.
            #[allow(improper_ctypes)]
            unsafe extern "C" {
                fn dev_coredumpv(
                    dev: *mut bindings::device,
                    data: *mut c_void,
                    datalen: usize,
                    gfp: bindings::gfp_t,
                );
            }

            // Else two contexts could both see no link, and both make one.
            let Some(_turn) = Turn::take() else {
                return;
            };
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

            let (data, len, _) = bytes.into_raw_parts();
            // SAFETY: The device is valid. `data` are `len` bytes from vmalloc(), whose ownership
            // goes to the function, which frees them with vfree() in any case.
            unsafe { dev_coredumpv(dma::raw(dev), data.cast(), len, bindings::GFP_KERNEL) };
        }
    }

    /// The text in one piece; none if it is empty, or if there is no memory.
    fn join(self) -> Option<VVec<u8>> {
        if self.len == 0 {
            return None;
        }
        // The kernel needn't warn: a missing dump is acceptable.
        let flags = GFP_KERNEL | __GFP_NOWARN;
        let mut bytes = VVec::with_capacity(self.len + CUT.len(), flags).ok()?;
        for piece in &self.pieces {
            bytes.extend_from_slice(piece, flags).ok()?;
        }
        if self.cut {
            bytes.extend_from_slice(CUT, flags).ok()?;
        }
        Some(bytes)
    }

    /// Adds `bytes`, as far as there is memory.
    fn add(&mut self, mut bytes: &[u8]) -> Result {
        // The kernel needn't warn: a truncated dump is acceptable.
        let flags = GFP_NOWAIT | __GFP_NOWARN;

        while !bytes.is_empty() {
            let room = self
                .pieces
                .last()
                .map_or(0, |p| PIECE.saturating_sub(p.len()));
            if room == 0 {
                let piece = KVec::with_capacity(PIECE, flags)?;
                self.pieces.push(piece, flags)?;
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            if let Some(piece) = self.pieces.last_mut() {
                piece.extend_from_slice(now, flags)?;
            }
            self.len += now.len();
            bytes = later;
        }
        Ok(())
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Write for Text {
    /// Adds `s`. What doesn't fit is left out, and so is all that follows. Any context.
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.cut |= self.len + s.len() > MAX_BYTES - CUT.len();
        if !self.cut {
            self.cut = self.add(s.as_bytes()).is_err();
        }
        match self.cut {
            true => Err(fmt::Error),
            false => Ok(()),
        }
    }
}
