// SPDX-License-Identifier: GPL-2.0

//! The fonts of the pictures.

use plotters::style::{register_font, FontStyle};

/// The family that all text in pictures has.
pub const FAMILY: &str = "sans-serif";

/// Makes the family known to the plotting library, which asks no others.
pub fn register() {
    // The font is a part of this program that the library knows how to read.
    let _ = register_font(
        FAMILY,
        FontStyle::Normal,
        epaint_default_fonts::HACK_REGULAR,
    );
    let _ = register_font(FAMILY, FontStyle::Bold, epaint_default_fonts::HACK_REGULAR);
}
