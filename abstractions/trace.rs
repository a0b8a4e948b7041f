// SPDX-License-Identifier: GPL-2.0

//! Trace events that a module defines in Rust. perf, ftrace and bpftrace attach to them as to those
//! of C code, by `events/<system>/<event>` in tracefs.
//!
//! [`trace_event!`] makes what C's `TRACE_EVENT` makes, without C code: a `struct tracepoint` with
//! its static branch, and a `struct trace_event_call` with the fields and the format. The in-tree
//! `declare_trace!` needs a tracepoint that C code defines, and Kbuild doesn't link a C file into a
//! module whose crate root has the module's name. Two parts of C's macros are left out on purpose:
//!
//! - The static call to a single probe. The kernel allows a tracepoint without it (as that of a
//!   synthetic event); `call_probes` walks the list of probes.
//! - The entry in `__bpf_raw_tp_map`, so there is no `rawtracepoint:`. BPF finds raw tracepoints by
//!   their name alone, and checks a program against the types of another module's tracepoint of the
//!   same name. So an event with the name of an event of the C driver would be unsound there. Nor
//!   would it be of use: `pahole` writes no BTF types for Rust.
//!
//! An event costs one instruction (a jump that is patched) while it is off. An event that is on is
//! recorded by `trace/event.rs`, which reads the list of probes under `tracepoint_srcu`. The per-CPU
//! operations for that only exist as inline functions of C; `trace/x86_64.rs` and `trace/arm64.rs`
//! have them in Rust. On other architectures, and without CONFIG_EVENT_TRACING, `trace()` does
//! nothing. `check.c` compares the structures with the kernel's.
//!
//! C headers: [`include/linux/tracepoint.h`](srctree/include/linux/tracepoint.h),
//! [`include/linux/trace_events.h`](srctree/include/linux/trace_events.h)

// A driver uses only a part of this.
#![allow(dead_code, unreachable_pub)]

use kernel::{
    fmt,
    prelude::*, //
};

#[cfg(all(CONFIG_EVENT_TRACING, any(CONFIG_X86_64, CONFIG_ARM64), CONFIG_SMP))]
pub(crate) mod event;

/// A text of at most `N - 1` bytes, as an event records it.
///
/// # Examples
///
/// ```
/// use abstractions::trace::Text;
///
/// let name: Text<16> = Text::format(fmt!("nvme{}n{}", 900, 1));
/// assert_eq!(name.as_bytes(), b"nvme900n1");
/// // A text that is too long is cut.
/// let cut: Text<4> = Text::format(fmt!("{}", 12345));
/// assert_eq!(cut.as_bytes(), b"123");
/// assert_eq!(Text::<4>::EMPTY.as_bytes(), b"");
/// ```
// The last byte is always 0.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Text<const N: usize>([u8; N]);

impl<const N: usize> Text<N> {
    /// No text.
    pub const EMPTY: Self = Self([0; N]);

    /// The formatted text. Any context.
    pub fn format(args: fmt::Arguments<'_>) -> Self {
        let mut text = Self::EMPTY;
        let end = N.saturating_sub(1);
        let mut writer = Writer(text.0.get_mut(..end).unwrap_or(&mut []));
        // A text that is too long is cut.
        let _ = fmt::Write::write_fmt(&mut writer, args);
        text
    }

    /// The bytes of the text.
    pub fn as_bytes(&self) -> &[u8] {
        let len = self.0.iter().position(|byte| *byte == 0).unwrap_or(N);
        self.0.get(..len).unwrap_or(&self.0)
    }
}

/// Writes the bytes of a [`Text`]: what is left of them.
struct Writer<'a>(&'a mut [u8]);

impl fmt::Write for Writer<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for byte in s.bytes() {
            let (place, rest) = core::mem::take(&mut self.0)
                .split_first_mut()
                .ok_or(fmt::Error)?;
            *place = byte;
            self.0 = rest;
        }
        Ok(())
    }
}

/// The type of an event's field.
///
/// # Safety
///
/// `TYPE` is a C type of the same size and alignment, in which any bytes are a value; a signed
/// integer if and only if `SIGNED`. It is an array of `LEN` times `char` only for a [`Text`].
pub(crate) unsafe trait Field: Copy {
    /// The name of the C type.
    const TYPE: &'static CStr;
    /// Whether it is a signed integer.
    const SIGNED: bool = false;
    /// The length of an array, otherwise 0.
    const LEN: usize = 0;
}

macro_rules! field {
    ($($type:ty, $name:literal, $signed:literal, $len:literal;)*) => {$(
        // SAFETY: The C type has the same size, alignment and sign.
        unsafe impl Field for $type {
            const TYPE: &'static CStr = $name;
            const SIGNED: bool = $signed;
            const LEN: usize = $len;
        }
    )*};
}

field! {
    u8, c"u8", false, 0;
    u16, c"u16", false, 0;
    u32, c"u32", false, 0;
    u64, c"u64", false, 0;
    i32, c"int", true, 0;
    Text<16>, c"char[16]", false, 16;
    Text<32>, c"char[32]", false, 32;
}

/// Defines the type of a trace event, and the event: its system and name, and for each field the
/// name, the type and the format (`%llu`, `%lld`, `0x%llx`, or `%s` for a [`Text`]). Integers up to
/// 64 bits, `int` and texts of 16 and 32 bytes are known. The fields must have no padding between
/// them.
///
/// The type gets the functions `trace`, whose argument is a closure that makes the event, and which
/// calls it only while the event is on; and `is_on`, which tells whether a tracer has turned it on. Both are
/// inlined, and for any context but NMI. On a hot path, use `is_on`, and `trace` in a cold function
/// of its own with few arguments by value: what the closure borrows would otherwise be put into
/// memory, also while the event is off.
///
/// # Examples
///
/// ```
/// use abstractions::trace::{trace_event, Text};
///
/// trace_event! {
///     /// A command was sent to the device.
///     pub(crate) struct Sent: "my_driver" / "sent" {
///         /// The name of the disk.
///         disk: Text<32> = "%s",
///         /// The number of the command.
///         number: u32 = "%llu",
///         /// The flags.
///         flags: u16 = "0x%llx",
///     }
/// }
///
/// Sent::trace(|| Sent {
///     disk: Text::format(fmt!("disk{}", 0)),
///     number: 1,
///     flags: 0x8000,
/// });
/// assert!(!Sent::is_on());
/// ```
macro_rules! trace_event {
    (
        $(#[$attribute:meta])*
        $vis:vis struct $name:ident: $system:literal / $event:literal {
            $( $(#[$doc:meta])* $field:ident: $type:ty = $format:literal, )+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy)]
        #[repr(C)]
        $vis struct $name {
            $( $(#[$doc])* $vis $field: $type, )+
        }

        #[allow(dead_code)] // `is_on` alone doesn't do.
        impl $name {
            /// Traces the event that `make` returns, if the event is on.
            #[inline(always)]
            $vis fn trace(make: impl FnOnce() -> Self) {
                if Self::is_on() {
                    make().emit();
                }
            }
        }

        #[cfg(not(all(CONFIG_EVENT_TRACING, any(CONFIG_X86_64, CONFIG_ARM64), CONFIG_SMP)))]
        impl $name {
            /// Always off: this kernel has no trace events.
            #[inline(always)]
            $vis const fn is_on() -> bool {
                false
            }

            #[inline(always)]
            fn emit(&self) {}
        }

        #[cfg(all(CONFIG_EVENT_TRACING, any(CONFIG_X86_64, CONFIG_ARM64), CONFIG_SMP))]
        #[allow(unsafe_code)]
        const _: () = {
            use core::{
                mem::{offset_of, size_of},
                ptr::addr_of_mut,
            };
            use $crate::abstractions::trace::event;

            /// The bytes of the fields.
            const SIZE: usize = {
                let mut size = 0;
                $(
                    ::core::assert!(offset_of!($name, $field) == size, "padding before a field");
                    size += size_of::<$type>();
                )+
                size
            };
            const COUNT: usize = [$(stringify!($field)),+].len();

            #[export_name = concat!("__tracepoint_", $event)]
            static mut POINT: event::Tracepoint =
                event::tracepoint(concat!($event, "\0").as_ptr());
            static mut FIELDS: [event::FieldInfo; COUNT + 1] = [
                $(event::FieldInfo::new::<$type>(concat!(stringify!($field), "\0").as_ptr()),)+
                event::FieldInfo::END,
            ];
            static mut FORMATS: [*const u8; COUNT] =
                [$(concat!(stringify!($field), "=", $format, " \0").as_ptr()),+];
            static mut EVENT: event::Event = event::Event::new(
                addr_of_mut!(EVENT),
                addr_of_mut!(POINT),
                addr_of_mut!(FIELDS).cast(),
                addr_of_mut!(FORMATS).cast(),
                SIZE,
                concat!($system, "\0").as_ptr(),
                concat!(
                    "\"", $(stringify!($field), "=", $format, " ",)+ "\"",
                    $(", REC->", stringify!($field),)+ "\0"
                )
                .as_ptr(),
            );

            #[used]
            #[link_section = "_ftrace_events"]
            static mut EVENT_ENTRY: *mut event::Event = addr_of_mut!(EVENT);
            // A module, because this can't be in a block.
            mod entry {
                core::arch::global_asm!(
                    ".pushsection __tracepoints_ptrs, \"a\"",
                    ".balign 4",
                    concat!(".long __tracepoint_", $event, " - ."),
                    ".popsection",
                );
            }

            impl $name {
                /// Whether a tracer has turned the event on.
                #[inline(always)]
                $vis fn is_on() -> bool {
                    // SAFETY: `POINT` is a tracepoint of the module, whose static key the kernel
                    // knows by the entry in `__jump_table` that this makes.
                    unsafe {
                        ::kernel::jump_label::static_branch_unlikely!(
                            POINT,
                            event::Tracepoint,
                            key
                        )
                    }
                }

                /// Passes the event to the probes of the tracers.
                #[inline(always)]
                fn emit(&self) {
                    // SAFETY: `POINT` and `EVENT` belong together, and `self` begins with the
                    // `SIZE` bytes that the probes of `EVENT` read.
                    unsafe {
                        event::call_probes(addr_of_mut!(POINT), ::core::ptr::from_ref(self).cast())
                    };
                }
            }
        };
    };
}
pub(crate) use trace_event;
