// SPDX-License-Identifier: GPL-2.0
// As the kernel's rust/kernel/generated_arch_static_branch_asm.rs.S, for Kbuild.
#include <linux/jump_label.h>

// Cut here.

::kernel::concat_literals!(ARCH_STATIC_BRANCH_ASM("{symb} + {off} + {branch}", "{l_yes}"))
