// SPDX-License-Identifier: GPL-2.0

//! Colours, and their substitutes on a terminal without colours.

use ratatui::style::{Color, Modifier, Style};

/// The steps of heat, from cold to hot, in the palette of 256 colours.
const RAMP: [u8; 16] = [
    17, 18, 19, 20, 26, 32, 37, 36, 71, 106, 142, 178, 214, 208, 202, 196,
];

/// The steps of heat without colours.
const SHADES: [char; 6] = ['.', ':', '+', 'x', '%', '@'];

/// The style.
#[derive(Clone, Copy)]
pub struct Look {
    /// Colours are used.
    pub color: bool,
}

impl Look {
    fn with(self, color: Color) -> Style {
        if self.color {
            Style::new().fg(color)
        } else {
            Style::new()
        }
    }

    /// Less important text.
    pub fn dim(self) -> Style {
        self.with(Color::DarkGray)
    }

    /// A heading.
    pub fn title(self) -> Style {
        self.with(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    /// A name, or a sum.
    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Good.
    pub fn good(self) -> Style {
        self.with(Color::Green)
    }

    /// A warning.
    pub fn warn(self) -> Style {
        self.with(Color::Yellow)
    }

    /// An error.
    pub fn bad(self) -> Style {
        self.with(Color::LightRed).add_modifier(Modifier::BOLD)
    }

    /// A line of titles, or of keys.
    pub fn bar(self) -> Style {
        if self.color {
            Style::new().fg(Color::Black).bg(Color::Indexed(73))
        } else {
            Style::new().add_modifier(Modifier::REVERSED)
        }
    }

    /// The title of the column by which the table is sorted.
    pub fn sorted(self) -> Style {
        if self.color {
            Style::new()
                .fg(Color::Black)
                .bg(Color::Indexed(222))
                .add_modifier(Modifier::BOLD)
        } else {
            Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD)
        }
    }

    /// The selected row.
    pub fn selected(self) -> Style {
        if self.color {
            Style::new().bg(Color::Indexed(238))
        } else {
            Style::new().add_modifier(Modifier::REVERSED)
        }
    }

    /// The colour of a heat from 0 to 1.
    pub fn heat(self, heat: f64) -> Color {
        if heat <= 0.0 {
            return Color::Reset;
        }
        let step = (heat * (RAMP.len() - 1) as f64).round() as usize;
        Color::Indexed(RAMP.get(step).copied().unwrap_or(196))
    }

    /// The character of a heat.
    pub fn shade(self, heat: f64) -> char {
        if heat <= 0.0 {
            return ' ';
        }
        let step = (heat * (SHADES.len() - 1) as f64).round() as usize;
        SHADES.get(step).copied().unwrap_or('@')
    }
}
