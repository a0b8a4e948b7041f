// SPDX-License-Identifier: GPL-2.0

//! The fonts of the pictures.

use plotters::style::{register_font, FontStyle};

/// The font family of all text in pictures.
pub const FAMILY: &str = "sans-serif";

/// Registers the family at the plotting library, which uses no other fonts.
pub fn register() {
    // This can't fail: the font is part of this program, and the library can read it.
    let _ = register_font(
        FAMILY,
        FontStyle::Normal,
        epaint_default_fonts::HACK_REGULAR,
    );
    let _ = register_font(FAMILY, FontStyle::Bold, epaint_default_fonts::HACK_REGULAR);
}
