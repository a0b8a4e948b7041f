// SPDX-License-Identifier: GPL-2.0

//! Device core dumps: text about a failed device, which the kernel keeps for user space below
//! `/sys/class/devcoredump/`.
//!
//! C header: [`include/linux/devcoredump.h`](srctree/include/linux/devcoredump.h)

// A driver uses only a part of this.
#![allow(dead_code, unreachable_pub)]

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
    super::{
        atomic::{
            AtomicBool,
            Ordering, //
        },
        dma, //
    },
    kernel::{
        bindings,
        time::{
            delay::fsleep,
            Delta, //
        }, //
    }, //
};

/// The maximum bytes of a dump.
const MAX_BYTES: usize = 4 << 20;

/// The bytes of an allocation.
const PIECE: usize = 4096;

/// The last line of a truncated dump.
const CUT: &[u8] = b"... cut short: no memory, or too long\n";

/// The right to submit a dump, which one context at a time has.
#[cfg(CONFIG_DEV_COREDUMP)]
struct Turn;

#[cfg(CONFIG_DEV_COREDUMP)]
static TAKEN: AtomicBool = AtomicBool::new(false);

#[cfg(CONFIG_DEV_COREDUMP)]
impl Turn {
    /// How long to wait for other contexts, in milliseconds. Bounded, because they may wait for
    /// memory.
    const WAIT: u32 = 100;

    /// Takes the turn; `None` if other contexts keep it. Sleeps.
    fn take() -> Option<Self> {
        for _ in 0..Self::WAIT {
            // Pairs with the release in `drop`, as a lock.
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

/// The text of a dump, truncated if memory runs out.
///
/// Writing doesn't wait for memory, because reclaim may depend on I/O that waits for the writer. So
/// the text is in pieces: the kernel can't allocate a large area without waiting.
///
/// # Examples
///
/// ```
/// use abstractions::devcoredump::Text;
/// use core::fmt::Write;
///
/// let mut text = Text::new();
/// // A truncated dump is better than none.
/// let _ = writeln!(text, "status {:#x}", 0x81);
/// text.submit(dev);
/// ```
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

    /// Hands the text to user space as the core dump of `dev`. The dump exists until user space
    /// writes to it, or for five minutes. If `dev` already has a dump, or another context takes too
    /// long to submit its dump, this dump is dropped. After unbind the dump only keeps a reference
    /// to the device.
    ///
    /// May wait for memory and for I/O, so the caller must hold no lock that I/O depends on.
    pub fn submit(self, dev: &device::Device<Bound>) {
        let Some(bytes) = self.join() else {
            return;
        };
        // Without the option the dump is discarded, as in C.
        #[cfg(not(CONFIG_DEV_COREDUMP))]
        let _ = (dev, bytes);
        #[cfg(CONFIG_DEV_COREDUMP)]
        {
            // Not in `kernel::bindings`; `check.c` compares this declaration with the kernel's.
            #[allow(improper_ctypes)]
            unsafe extern "C" {
                fn dev_coredumpv(
                    dev: *mut bindings::device,
                    data: *mut c_void,
                    datalen: usize,
                    gfp: bindings::gfp_t,
                );
            }

            // Otherwise two contexts could both see no link, and both create a link.
            let Some(_turn) = Turn::take() else {
                return;
            };
            // While the kernel removes an old dump, its link may still exist, and the kernel warns
            // about a second link.
            // SAFETY: The device is bound, so it has a directory; the name ends with a null.
            let link = unsafe {
                bindings::kernfs_find_and_get_ns(
                    (*dma::raw(dev)).kobj.sd,
                    c"devcoredump".as_char_ptr(),
                    core::ptr::null(),
                )
            };
            if !link.is_null() {
                // SAFETY: `link` is the reference that kernfs_find_and_get_ns() returned.
                unsafe { bindings::kernfs_put(link) };
                return;
            }

            let (data, len, _) = bytes.into_raw_parts();
            // SAFETY: The device is valid. `data` are `len` bytes from vmalloc(), which the
            // function takes over, and always frees by vfree().
            unsafe { dev_coredumpv(dma::raw(dev), data.cast(), len, bindings::GFP_KERNEL) };
        }
    }

    /// The text in one piece; `None` if the text is empty, or if there is no memory.
    fn join(self) -> Option<VVec<u8>> {
        if self.len == 0 {
            return None;
        }
        // Don't warn on allocation failure: a missing dump is acceptable.
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

    /// Appends `bytes`.
    fn add(&mut self, mut bytes: &[u8]) -> Result {
        // Don't warn on allocation failure: a truncated dump is acceptable.
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
    /// Appends `s`. If `s` doesn't fit, this and all later text is dropped. Any context.
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
