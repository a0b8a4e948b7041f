// SPDX-License-Identifier: GPL-2.0

//! The controller's registers in BAR 0 that the driver uses (Base 3.1.4, rev. 2.0), for `ctrl` and
//! for the doorbells of `queue`. [`crate::nvme::spec::regs`] interprets their values.

use crate::abstractions::pci::io::Bar;
use kernel::io::{
    register,
    register::Array,
    Io, //
};

register! {
    /// Controller Capabilities: the low, then the high half.
    CAP(u32)[2] @ 0x00 {
        31:0 half;
    }

    /// Version.
    pub(crate) VS(u32) @ 0x08 {
        31:16 major;
        15:8 minor;
        7:0 tertiary;
    }

    /// Controller Configuration.
    pub(crate) CC(u32) @ 0x14 {
        /// Shutdown notification.
        15:14 shn;
        /// Enable.
        0:0 en => bool;
    }

    /// Controller Status.
    pub(crate) CSTS(u32) @ 0x1c {
        /// Shutdown status.
        3:2 shst;
        /// Controller fatal status.
        1:1 cfs => bool;
        /// Ready.
        0:0 rdy => bool;
    }

    /// NVM Subsystem Reset.
    pub(crate) NSSR(u32) @ 0x20 {
        31:0 nssrc;
    }

    /// Admin Queue Attributes: sizes of the admin queues, 0's based.
    pub(crate) AQA(u32) @ 0x24 {
        27:16 acqs;
        11:0 asqs;
    }

    /// Admin Submission Queue Base Address: the low, then the high half.
    ASQ(u32)[2] @ 0x28 {
        31:0 half;
    }

    /// Admin Completion Queue Base Address: the low, then the high half.
    ACQ(u32)[2] @ 0x30 {
        31:0 half;
    }
}

/// Functions for a 64-bit register, accessed as two 32-bit halves, which every controller supports.
macro_rules! by_halves {
    ($register:ident, $read:ident) => {
        /// Reads the register.
        pub(crate) fn $read(bar: &Bar0) -> u64 {
            let low = bar.read($register::at(0)).into_raw();
            let high = bar.read($register::at(1)).into_raw();
            u64::from(high) << 32 | u64::from(low)
        }
    };
    ($register:ident, $read:ident, $write:ident) => {
        by_halves!($register, $read);

        /// Writes the register.
        pub(crate) fn $write(bar: &Bar0, value: u64) {
            bar.write($register::at(0), $register::from_raw(value as u32));
            bar.write($register::at(1), $register::from_raw((value >> 32) as u32));
        }
    };
}

by_halves!(CAP, cap);
by_halves!(ASQ, asq, set_asq);
by_halves!(ACQ, acq, set_acq);

/// The minimum size of BAR 0: the registers, and the doorbells of the admin queue at the smallest
/// stride.
pub(crate) const MIN_SIZE: usize = 0x1008;

/// BAR 0.
pub(crate) type Bar0 = Bar<MIN_SIZE>;
