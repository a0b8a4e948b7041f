// SPDX-License-Identifier: GPL-2.0

//! The names that a computer's firmware gives it (SMBIOS, also called DMI), for drivers of devices that
//! fail only in some computers.
//!
//! C header: [`include/linux/dmi.h`](srctree/include/linux/dmi.h)

// A driver uses only a part of this.
#![allow(dead_code, unreachable_pub)]

use kernel::prelude::*;

#[cfg(CONFIG_DMI)]
extern "C" {
    // `check.c` compares it with the kernel's.
    fn dmi_match(f: c_uint, str: *const c_char) -> bool;
}

/// A name.
///
/// # Examples
///
/// ```
/// use abstractions::dmi::Field;
///
/// /// The text before the name, for a line of the log.
/// fn label(field: Field) -> &'static str {
///     match field {
///         Field::SystemVendor | Field::BoardVendor => "by",
///         Field::ProductName | Field::BoardName => "name",
///     }
/// }
///
/// assert_eq!(label(Field::BoardName), "name");
/// ```
// `check.c` compares the numbers with the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Field {
    /// Who made the computer.
    SystemVendor = 6,
    /// The computer's name.
    ProductName = 7,
    /// Who made its mainboard.
    BoardVendor = 13,
    /// The mainboard's name.
    BoardName = 14,
}

impl Field {
    /// Whether this computer has `text` in this field; `false` without such firmware. Any context.
    ///
    /// # Examples
    ///
    /// ```
    /// use abstractions::dmi::Field;
    ///
    /// assert!(!Field::SystemVendor.is(c"no vendor has this name"));
    /// ```
    pub fn is(self, text: &CStr) -> bool {
        #[cfg(CONFIG_DMI)]
        // SAFETY: The number is that of a field, and the text ends with a zero.
        return unsafe { dmi_match(self as c_uint, text.as_char_ptr()) };
        #[cfg(not(CONFIG_DMI))]
        return false;
    }
}
