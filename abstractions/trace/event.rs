// SPDX-License-Identifier: GPL-2.0

//! The kernel's side of [`trace_event!`](super::trace_event): the structures of a trace event, and
//! its probes, which write the ring buffers of ftrace and perf.
//!
//! No function here can be traced itself: functions of a Rust module have no `__fentry__`.

use super::Field;
use core::{
    mem::offset_of,
    ptr, //
};
use kernel::{
    bindings,
    cpu::CpuId,
    prelude::*, //
};

#[cfg_attr(CONFIG_X86_64, path = "x86_64.rs")]
#[cfg_attr(CONFIG_ARM64, path = "arm64.rs")]
mod arch;

pub(crate) use bindings::tracepoint as Tracepoint;

// As in `linux/trace_events.h`; `check.c` compares these and the structures below with the
// kernel's.
const TRACE_EVENT_FL_TRACEPOINT: c_int = 1 << 3;
const EVENT_FILE_FL_SOFT_DISABLED: c_ulong = 1 << 5;
const EVENT_FILE_FL_TRIGGER_MODE: c_ulong = 1 << 6;
const EVENT_FILE_FL_TRIGGER_COND: c_ulong = 1 << 7;
const EVENT_FILE_FL_PID_FILTER: c_ulong = 1 << 8;
const TRACE_TYPE_HANDLED: c_uint = 1;

/// `struct trace_event_fields`.
#[repr(C)]
pub(crate) struct FieldInfo {
    kind: *const c_char,
    name: *const c_char,
    size: c_int,
    align: c_int,
    /// `is_signed` and `needs_test`.
    bits: c_uint,
    filter_type: c_int,
    len: c_int,
}

impl FieldInfo {
    /// The end of an array.
    pub(crate) const END: Self = Self {
        kind: ptr::null(),
        name: ptr::null(),
        size: 0,
        align: 0,
        bits: 0,
        filter_type: 0,
        len: 0,
    };

    /// A field of type `T`; `name` ends with a null byte.
    pub(crate) const fn new<T: Field>(name: *const u8) -> Self {
        Self {
            kind: T::TYPE.to_bytes_with_nul().as_ptr().cast(),
            name: name.cast(),
            size: size_of::<T>() as c_int,
            align: align_of::<T>() as c_int,
            bits: T::SIGNED as c_uint,
            filter_type: 0,
            len: T::LEN as c_int,
        }
    }
}

/// `struct trace_event_functions`.
#[repr(C)]
struct Functions {
    trace: unsafe extern "C" fn(*mut Iterator, c_int, *mut TraceEvent) -> c_uint,
    others: [*mut c_void; 3],
}

/// `struct trace_event`.
#[repr(C)]
struct TraceEvent {
    node: bindings::hlist_node,
    kind: c_int,
    funcs: *mut Functions,
}

/// `struct trace_event_class`.
#[repr(C)]
struct Class {
    system: *const c_char,
    probe: *mut c_void,
    #[cfg(CONFIG_PERF_EVENTS)]
    perf_probe: *mut c_void,
    reg: unsafe extern "C" fn(*mut Call, c_uint, *mut c_void) -> c_int,
    fields_array: *mut FieldInfo,
    get_fields: *mut c_void,
    fields: bindings::list_head,
    raw_init: unsafe extern "C" fn(*mut Call) -> c_int,
    #[cfg(all(CONFIG_BPF_EVENTS, not(linux_7_2)))]
    btf_ids: *const u32,
}

/// `struct trace_event_call`.
#[repr(C)]
struct Call {
    list: bindings::list_head,
    class: *mut Class,
    tp: *mut Tracepoint,
    event: TraceEvent,
    print_fmt: *mut c_char,
    module: *mut c_void,
    data: *mut c_void,
    flags: c_int,
    #[cfg(CONFIG_PERF_EVENTS)]
    perf_refcount: c_int,
    #[cfg(CONFIG_PERF_EVENTS)]
    perf_events: *mut bindings::hlist_head,
    #[cfg(CONFIG_PERF_EVENTS)]
    prog_array: *mut c_void,
    #[cfg(CONFIG_PERF_EVENTS)]
    perf_perm: *mut c_void,
}

/// The beginning of `struct trace_event_file`.
#[repr(C)]
struct File {
    list: bindings::list_head,
    event_call: *mut Call,
    others: [*mut c_void; 4],
    triggers: bindings::list_head,
    flags: c_ulong,
}

/// `struct trace_event_buffer`.
#[repr(C)]
struct Buffer {
    buffer: *mut c_void,
    event: *mut c_void,
    trace_file: *mut File,
    entry: *mut c_void,
    trace_ctx: c_uint,
    regs: *mut c_void,
}

/// `struct trace_entry`, with which each record begins.
#[repr(C)]
struct Entry {
    kind: c_ushort,
    flags: c_uchar,
    preempt_count: c_uchar,
    pid: c_int,
}

/// `struct trace_seq`.
#[repr(C)]
struct Seq {
    seq: bindings::seq_buf,
    readpos: usize,
    full: c_int,
    buffer: [c_char; Self::SIZE],
}

impl Seq {
    const SIZE: usize =
        8192 - (size_of::<bindings::seq_buf>() + size_of::<usize>() + size_of::<c_int>());
}

/// The beginning of `struct trace_iterator`.
#[repr(C)]
struct Iterator {
    others: [*mut c_void; 4],
    cpu_file: c_int,
    mutex: bindings::mutex,
    buffer_iter: *mut c_void,
    iter_flags: c_ulong,
    temp: *mut c_void,
    temp_size: c_uint,
    fmt: *mut c_char,
    fmt_size: c_uint,
    wait_index: bindings::atomic_t,
    tmp_seq: Seq,
    started: bindings::cpumask_var_t,
    closed: bool,
    snapshot: bool,
    seq: Seq,
    ent: *mut Entry,
}

#[allow(improper_ctypes)]
unsafe extern "C" {
    fn trace_event_raw_init(call: *mut Call) -> c_int;
    fn trace_event_reg(call: *mut Call, kind: c_uint, data: *mut c_void) -> c_int;
    fn trace_event_buffer_reserve(
        buffer: *mut Buffer,
        file: *mut File,
        len: c_ulong,
    ) -> *mut c_void;
    fn trace_event_buffer_commit(buffer: *mut Buffer);
    fn __trace_trigger_soft_disabled(file: *mut File) -> bool;
    fn trace_raw_output_prep(iter: *mut Iterator, event: *mut TraceEvent) -> c_uint;
    fn trace_event_printf(iter: *mut Iterator, fmt: *const c_char, ...);
    fn trace_handle_return(seq: *mut Seq) -> c_uint;
}

#[cfg(CONFIG_PERF_EVENTS)]
#[allow(improper_ctypes)]
unsafe extern "C" {
    fn perf_trace_buf_alloc(
        size: c_int,
        regs: *mut *mut bindings::pt_regs,
        rctx: *mut c_int,
    ) -> *mut c_void;
    fn perf_trace_run_bpf_submit(
        record: *mut c_void,
        size: c_int,
        rctx: c_int,
        call: *mut Call,
        count: u64,
        regs: *mut bindings::pt_regs,
        head: *mut bindings::hlist_head,
        task: *mut bindings::task_struct,
    );
}

/// A trace event.
#[repr(C)]
pub(crate) struct Event {
    call: Call,
    class: Class,
    funcs: Functions,
    /// The format of each field, with its name.
    formats: *const *const c_char,
    /// The bytes of the fields.
    size: usize,
}

impl Event {
    /// The event at `this`, with its tracepoint. `fields` and `formats` are arrays of as many
    /// fields, the first of which has [`FieldInfo::END`] behind them; the fields take `size` bytes.
    /// `system` and `print_fmt` end with a null byte.
    pub(crate) const fn new(
        this: *mut Self,
        point: *mut Tracepoint,
        fields: *mut FieldInfo,
        formats: *const *const c_char,
        size: usize,
        system: *const u8,
        print_fmt: *const u8,
    ) -> Self {
        const CLASS: usize = offset_of!(Event, class);

        let list: *mut bindings::list_head = this
            .wrapping_byte_add(CLASS + offset_of!(Class, fields))
            .cast();
        Self {
            call: Call {
                list: bindings::list_head {
                    next: ptr::null_mut(),
                    prev: ptr::null_mut(),
                },
                class: this.wrapping_byte_add(CLASS).cast(),
                tp: point,
                event: TraceEvent {
                    node: bindings::hlist_node {
                        next: ptr::null_mut(),
                        pprev: ptr::null_mut(),
                    },
                    kind: 0,
                    funcs: this.wrapping_byte_add(offset_of!(Event, funcs)).cast(),
                },
                print_fmt: print_fmt.cast_mut().cast(),
                module: ptr::null_mut(),
                data: ptr::null_mut(),
                flags: TRACE_EVENT_FL_TRACEPOINT,
                #[cfg(CONFIG_PERF_EVENTS)]
                perf_refcount: 0,
                #[cfg(CONFIG_PERF_EVENTS)]
                perf_events: ptr::null_mut(),
                #[cfg(CONFIG_PERF_EVENTS)]
                prog_array: ptr::null_mut(),
                #[cfg(CONFIG_PERF_EVENTS)]
                perf_perm: ptr::null_mut(),
            },
            class: Class {
                system: system.cast(),
                probe: ftrace_probe as *mut c_void,
                #[cfg(CONFIG_PERF_EVENTS)]
                perf_probe: perf_probe as *mut c_void,
                reg: trace_event_reg,
                fields_array: fields,
                get_fields: ptr::null_mut(),
                fields: bindings::list_head {
                    next: list,
                    prev: list,
                },
                raw_init: trace_event_raw_init,
                #[cfg(all(CONFIG_BPF_EVENTS, not(linux_7_2)))]
                btf_ids: ptr::null(),
            },
            funcs: Functions {
                trace: print,
                others: [ptr::null_mut(); 3],
            },
            formats,
            size,
        }
    }
}

/// A tracepoint; `name` ends with a null byte. Without a key for static calls, so that the kernel
/// updates the list of probes only.
pub(crate) const fn tracepoint(name: *const u8) -> Tracepoint {
    // SAFETY: A tracepoint may be all zeroes: it has no name, no probes, and a key that is off.
    let mut point: Tracepoint = unsafe { core::mem::zeroed() };
    point.name = name.cast();
    point.probestub = probe_stub as *mut c_void;
    point
}

/// What the kernel registers as a probe if its address is to be probed ("tprobes").
///
/// Not in the section `__tracepoints`, where objtool doesn't look: so it sees that the address is
/// taken, and keeps the function's ENDBR.
extern "C" fn probe_stub(_data: *mut c_void, _fields: *const c_void) {}

/// The reader's side of `tracepoint_srcu`: `srcu_read_lock_fast_notrace()`, which is inline in C.
///
/// While this exists, the kernel frees no list of probes that this CPU has read since.
struct ProbesGuard(*mut bindings::srcu_ctr);

impl ProbesGuard {
    fn new() -> Self {
        // SAFETY: The kernel defines `tracepoint_srcu`; the field changes at a grace period, so
        // the read is volatile, as READ_ONCE().
        let counters = unsafe { (&raw const bindings::tracepoint_srcu.srcu_ctrp).read_volatile() };
        Self::count(counters, offset_of!(bindings::srcu_ctr, srcu_locks));
        Self(counters)
    }

    /// Increments the counter of this CPU at `offset` in `counters`. For the compiler it is a
    /// barrier.
    fn count(counters: *mut bindings::srcu_ctr, offset: usize) {
        // SAFETY: `counters` is a per-CPU pointer of `tracepoint_srcu`. Both counters are 64 bits,
        // and all code accesses them atomically.
        unsafe { arch::this_cpu_inc(counters.wrapping_byte_add(offset).cast()) };
    }
}

impl Drop for ProbesGuard {
    fn drop(&mut self) {
        Self::count(self.0, offset_of!(bindings::srcu_ctr, srcu_unlocks));
    }
}

/// Disables preemption, as `guard(preempt_notrace)` does, which is inline in C.
struct PreemptGuard;

impl PreemptGuard {
    fn new() -> Self {
        #[cfg(CONFIG_PREEMPT_COUNT)]
        arch::preempt_count_inc();
        Self
    }
}

impl Drop for PreemptGuard {
    fn drop(&mut self) {
        #[cfg(CONFIG_PREEMPT_COUNT)]
        {
            // SAFETY: `new` has incremented the count.
            let wanted = unsafe { arch::preempt_count_dec_and_test() };
            #[cfg(CONFIG_PREEMPTION)]
            if wanted {
                // SAFETY: The function may be called in any context; it returns at once if
                // preemption isn't possible.
                unsafe { bindings::preempt_schedule_notrace() };
            }
            #[cfg(not(CONFIG_PREEMPTION))]
            let _ = wanted;
        }
    }
}

/// This CPU's instance of a per-CPU object, as `raw_cpu_ptr()` in C.
fn this_cpu_ptr<T>(object: *mut T) -> *mut T {
    let cpu = CpuId::current().as_u32() as usize;
    // SAFETY: The array has an entry for each CPU, which doesn't change after boot.
    let offset = unsafe {
        (&raw const bindings::__per_cpu_offset)
            .cast::<c_ulong>()
            .add(cpu)
            .read()
    };
    object.wrapping_byte_add(offset)
}

/// Calls the probes of `point` with the fields of an event, as `__traceiter_*()` in C.
///
/// # Safety
///
/// `point` is the tracepoint of an [`Event`], and `fields` its fields: `size` bytes. Not in an NMI.
#[cold]
#[inline(never)]
pub(crate) unsafe fn call_probes(point: *mut Tracepoint, fields: *const c_void) {
    let _guard = ProbesGuard::new();
    // SAFETY: `point` is a tracepoint. Volatile, as rcu_dereference_raw(): the kernel replaces the
    // list meanwhile.
    let mut probe = unsafe { (&raw const (*point).funcs).read_volatile() };
    if probe.is_null() {
        return;
    }

    loop {
        // SAFETY: The guard keeps the list, which isn't empty, and ends with a null. Volatile,
        // because the kernel may replace a function by an empty one.
        let (func, data) = unsafe { ((&raw const (*probe).func).read_volatile(), (*probe).data) };
        if func.is_null() {
            return;
        }
        // SAFETY: All probes are functions of this type: those of `Event::new` and `probe_stub`,
        // registered by the kernel, with the argument that it registered. The kernel's own
        // `tp_stub_func` takes no arguments, and ignores these.
        let func: unsafe extern "C" fn(*mut c_void, *const c_void) =
            unsafe { core::mem::transmute(func) };
        // SAFETY: By this function's requirements the fields are those of the probe's event.
        unsafe { func(data, fields) };
        // SAFETY: This wasn't the last entry.
        probe = unsafe { probe.add(1) };
    }
}

/// Writes an event to the ring buffer of ftrace.
///
/// # Safety
///
/// `data` is the `struct trace_event_file` of an [`Event`], and `fields` its fields.
unsafe extern "C" fn ftrace_probe(data: *mut c_void, fields: *const c_void) {
    const UNUSUAL: c_ulong =
        EVENT_FILE_FL_TRIGGER_MODE | EVENT_FILE_FL_SOFT_DISABLED | EVENT_FILE_FL_PID_FILTER;

    let file: *mut File = data.cast();
    // trace_event_buffer_reserve() expects this.
    let _guard = PreemptGuard::new();
    // SAFETY: The file is valid while its probe may be called. Volatile, because flags change.
    let (flags, event) = unsafe {
        (
            (&raw const (*file).flags).read_volatile(),
            (*file).event_call.cast::<Event>(),
        )
    };
    // As trace_trigger_soft_disabled().
    if flags & UNUSUAL != 0 && flags & EVENT_FILE_FL_TRIGGER_COND == 0 {
        // SAFETY: The file is valid.
        let disabled = unsafe { __trace_trigger_soft_disabled(file) };
        if disabled {
            return;
        }
    }

    // SAFETY: The call of the file is the first field of an `Event`.
    let size = unsafe { (*event).size };
    let mut buffer = core::mem::MaybeUninit::<Buffer>::uninit();
    // SAFETY: The file is valid; the function initialises the buffer, if it returns an entry.
    let entry = unsafe {
        trace_event_buffer_reserve(
            buffer.as_mut_ptr(),
            file,
            (size_of::<Entry>() + size) as c_ulong,
        )
    };
    if entry.is_null() {
        return;
    }
    // SAFETY: The entry has the bytes reserved, and the fields have `size` bytes.
    unsafe {
        entry
            .byte_add(size_of::<Entry>())
            .copy_from_nonoverlapping(fields, size)
    };
    // SAFETY: The buffer was initialised above.
    unsafe { trace_event_buffer_commit(buffer.as_mut_ptr()) };
}

/// Hands an event to perf, and to the BPF programs that are attached to it.
///
/// # Safety
///
/// `data` is an [`Event`], and `fields` its fields.
#[cfg(CONFIG_PERF_EVENTS)]
unsafe extern "C" fn perf_probe(data: *mut c_void, fields: *const c_void) {
    let event: *mut Event = data.cast();
    let _guard = PreemptGuard::new();
    // SAFETY: The event is valid, and has its list while this probe is registered.
    let head = this_cpu_ptr(unsafe { (*event).call.perf_events });
    // SAFETY: The event and the list are valid. Volatile, because others change both.
    let (size, programs, first) = unsafe {
        (
            (*event).size,
            (&raw const (*event).call.prog_array).read_volatile(),
            (&raw const (*head).first).read_volatile(),
        )
    };
    if programs.is_null() && first.is_null() {
        return;
    }

    // The size of the record, with 32 bits for its length, is a multiple of 64 bits.
    let whole = (size_of::<Entry>() + size + 4).next_multiple_of(8) - 4;
    let (mut regs, mut context) = (ptr::null_mut::<bindings::pt_regs>(), 0);
    // SAFETY: Preemption is disabled; both pointers are valid. The size is far below the limit.
    let entry = unsafe { perf_trace_buf_alloc(whole as c_int, &mut regs, &mut context) };
    if entry.is_null() {
        return;
    }
    // SAFETY: The function has set `regs` to this CPU's registers for this context.
    unsafe { arch::fetch_caller_regs(regs) };
    // SAFETY: The entry has `whole` bytes: room for the fields behind the header.
    unsafe {
        entry
            .byte_add(size_of::<Entry>())
            .copy_from_nonoverlapping(fields, size)
    };
    // SAFETY: The record, its context and the registers are those of perf_trace_buf_alloc(), the
    // list is that of this CPU.
    unsafe {
        perf_trace_run_bpf_submit(
            entry,
            whole as c_int,
            context,
            &raw mut (*event).call,
            1,
            regs,
            head,
            ptr::null_mut(),
        )
    };
}

/// Prints a record: each field by its format.
///
/// # Safety
///
/// `event` is that of an [`Event`], and `iter` is at one of its records.
unsafe extern "C" fn print(iter: *mut Iterator, _flags: c_int, event: *mut TraceEvent) -> c_uint {
    // SAFETY: The caller passes valid pointers.
    let prepared = unsafe { trace_raw_output_prep(iter, event) };
    if prepared != TRACE_TYPE_HANDLED {
        return prepared;
    }

    // SAFETY: The `TraceEvent` is a field of an `Event`, whose arrays are valid and of the same
    // length. The record has all fields: the kernel has checked its type. A text in it ends with a
    // null byte.
    unsafe {
        let event: *mut Event = event.byte_sub(offset_of!(Call, event)).cast();
        let mut value: *const c_void = (*iter).ent.add(1).cast();
        let (mut field, mut format) = ((*event).class.fields_array, (*event).formats);
        while !(*field).kind.is_null() {
            let size = (*field).size as usize;
            let value64 = match ((*field).bits & 1 != 0, size) {
                (_, 1) => value.cast::<u8>().read().into(),
                (_, 2) => value.cast::<u16>().read_unaligned().into(),
                (false, 4) => value.cast::<u32>().read_unaligned().into(),
                (true, 4) => i64::from(value.cast::<i32>().read_unaligned()) as u64,
                (_, 8) => value.cast::<u64>().read_unaligned(),
                _ => value as u64,
            };
            trace_event_printf(iter, *format, value64);
            value = value.byte_add(size);
            field = field.add(1);
            format = format.add(1);
        }
        trace_event_printf(iter, c"\n".as_char_ptr());
        trace_handle_return(&raw mut (*iter).seq)
    }
}
