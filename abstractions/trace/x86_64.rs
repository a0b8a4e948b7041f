// SPDX-License-Identifier: GPL-2.0

//! Operations that are inline functions in the kernel's C headers for x86-64. The base of per-CPU
//! data is in GS.

use core::arch::asm;
use kernel::bindings;

/// Increments this CPU's `counter`. For the compiler it is a barrier.
///
/// # Safety
///
/// `counter` is a per-CPU pointer.
pub(super) unsafe fn this_cpu_inc(counter: *mut u64) {
    // SAFETY: A per-CPU pointer is an offset from the base in GS. One instruction, so that neither
    // an interrupt nor a migration comes between.
    unsafe {
        asm!(
            "inc qword ptr gs:[{counter}]",
            counter = in(reg) counter,
            options(nostack),
        )
    };
}

/// Increments the preemption count. For the compiler it is a barrier.
pub(super) fn preempt_count_inc() {
    // SAFETY: `__preempt_count` is this CPU's count, at an offset from the base in GS; the count
    // itself is in the lower 32 bits. One instruction, so that neither an interrupt nor a migration
    // comes between.
    unsafe {
        asm!(
            "inc dword ptr gs:[rip + {count}]",
            count = sym bindings::__preempt_count,
            options(nostack),
        )
    };
}

/// Decrements the preemption count; true if preemption is now enabled, and another task wants the
/// CPU. For the compiler it is a barrier.
///
/// # Safety
///
/// The caller has incremented the count.
pub(super) unsafe fn preempt_count_dec_and_test() -> bool {
    let wanted: u8;
    // SAFETY: `__preempt_count` is this CPU's count, which the caller has incremented; it is still
    // this CPU, because preemption is disabled. All 64 bits are 0 if preemption is now enabled, and
    // another task wants the CPU.
    #[cfg(CONFIG_HAS_SEPARATE_PREEMPT_RESCHED_BITS)]
    unsafe {
        asm!(
            "dec qword ptr gs:[rip + {count}]",
            "setz {wanted}",
            count = sym bindings::__preempt_count,
            wanted = out(reg_byte) wanted,
            options(nostack),
        )
    };
    // SAFETY: `__preempt_count` is this CPU's count, which the caller has incremented; it is still
    // this CPU, because preemption is disabled. All 32 bits are 0 if preemption is now enabled, and
    // another task wants the CPU.
    #[cfg(not(CONFIG_HAS_SEPARATE_PREEMPT_RESCHED_BITS))]
    unsafe {
        asm!(
            "dec dword ptr gs:[rip + {count}]",
            "setz {wanted}",
            count = sym bindings::__preempt_count,
            wanted = out(reg_byte) wanted,
            options(nostack),
        )
    };
    wanted != 0
}

/// As `perf_fetch_caller_regs()`, with the caller as the place.
///
/// # Safety
///
/// `regs` can be written.
#[inline(always)]
pub(super) unsafe fn fetch_caller_regs(regs: *mut bindings::pt_regs) {
    // SAFETY: The caller passes a valid pointer. The assembly only reads its own address and the
    // stack pointer.
    unsafe {
        asm!(
            "lea {ip}, [rip]",
            "mov {sp}, rsp",
            ip = out(reg)(*regs).ip,
            sp = out(reg)(*regs).sp,
            options(nomem, nostack, preserves_flags),
        );
        (*regs).__bindgen_anon_1.csx = bindings::__KERNEL_CS.into();
        (*regs).flags = 0;
    }
}
