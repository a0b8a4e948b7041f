// SPDX-License-Identifier: GPL-2.0

//! Operations that are inline functions in the kernel's C headers for arm64. A kernel of arm64 always
//! counts preemption. The count is the current task's, so only this task changes it: an interrupt
//! restores it before it returns.

use super::{
    this_cpu_ptr,
    PreemptGuard, //
};
use crate::abstractions::atomic::{
    compiler_fence,
    Ordering, //
};
use core::arch::asm;
use kernel::{
    bindings,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    task::Task, //
};

/// Increments this CPU's `counter`. For the compiler it is a barrier.
///
/// # Safety
///
/// `counter` is a per-CPU pointer, and all other accesses are atomic.
pub(super) unsafe fn this_cpu_inc(counter: *mut u64) {
    // The task stays on this CPU, and is a reader of RCU, as SRCU's counters require.
    let _guard = PreemptGuard::new();
    // SAFETY: The caller passes a valid per-CPU pointer, and all other accesses are atomic.
    unsafe { Atomic::from_ptr(this_cpu_ptr(counter)) }.add(1, Relaxed);
}

/// The preemption count in the lower 32 bits; in the upper ones 0 if another task wants the CPU.
fn preempt_count() -> *mut bindings::thread_info__bindgen_ty_1 {
    // SAFETY: The current task is valid; only an address is computed.
    unsafe { &raw mut (*Task::current_raw()).thread_info.__bindgen_anon_1 }
}

/// Increments the preemption count. For the compiler it is a barrier.
pub(super) fn preempt_count_inc() {
    // SAFETY: The current task is valid, and only itself writes its count. Volatile, as READ_ONCE()
    // and WRITE_ONCE() in C.
    unsafe {
        let count = &raw mut (*preempt_count()).preempt.count;
        count.write_volatile(count.read_volatile().wrapping_add(1));
    }
    compiler_fence(Ordering::SeqCst);
}

/// Decrements the preemption count; true if preemption is now enabled, and another task wants the
/// CPU. For the compiler it is a barrier.
///
/// # Safety
///
/// The caller has incremented the count.
pub(super) unsafe fn preempt_count_dec_and_test() -> bool {
    compiler_fence(Ordering::SeqCst);
    // SAFETY: The current task is valid, and only itself writes its count, which the caller has
    // incremented. Volatile, as READ_ONCE() and WRITE_ONCE() in C: an interrupt between the accesses
    // may make another task want the CPU, hence the second look. It can't preempt this task before
    // the count is written.
    unsafe {
        let count = preempt_count();
        let whole = &raw const (*count).preempt_count;
        let left = whole.read_volatile().wrapping_sub(1);
        (&raw mut (*count).preempt.count).write_volatile(left as u32);
        left == 0 || whole.read_volatile() == 0
    }
}

/// As `perf_fetch_caller_regs()`, with the caller as the place.
///
/// # Safety
///
/// `regs` can be written.
#[inline(always)]
pub(super) unsafe fn fetch_caller_regs(regs: *mut bindings::pt_regs) {
    // SAFETY: The caller passes a valid pointer, and each bit pattern is a value of the union's
    // fields. The assembly only reads its own address, the frame pointer and the stack pointer.
    unsafe {
        let regs = &raw mut (*regs).__bindgen_anon_1.user_regs;
        asm!(
            "adr {pc}, .",
            "mov {fp}, x29",
            "mov {sp}, sp",
            pc = out(reg)(*regs).pc,
            fp = out(reg)(*regs).regs[29],
            sp = out(reg)(*regs).sp,
            options(nomem, nostack, preserves_flags),
        );
        (*regs).pstate = bindings::PSR_MODE_EL1h.into();
    }
}
