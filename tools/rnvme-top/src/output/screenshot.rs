// SPDX-License-Identifier: GPL-2.0

//! A screen as an SVG picture.

use std::fmt::Write;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

/// Width, height and base line of a character, and the margin around, in pixels.
const WIDTH: f64 = 8.4;
const HEIGHT: f64 = 17.0;
const BASE: f64 = 13.0;
const MARGIN: f64 = 12.0;

/// The default colours of text and ground.
const FOREGROUND: &str = "#d0d0d0";
const BACKGROUND: &str = "#16181d";

/// The first 16 colours.
const NAMED: [&str; 16] = [
    "#16181d", "#e05561", "#8cc265", "#d18f52", "#4aa5f0", "#c162de", "#42b3c2", "#d7dae0",
    "#7a8290", "#ff616e", "#a5e075", "#f0a45d", "#4dc4ff", "#de73ff", "#4cd1e0", "#ffffff",
];

/// The screen as SVG.
pub fn svg(buffer: &Buffer) -> String {
    let mut out = String::new();
    // Writing to a string doesn't fail.
    let _ = write(&mut out, buffer);
    out
}

fn write(out: &mut String, buffer: &Buffer) -> std::fmt::Result {
    let area = buffer.area;
    let (width, height) = (
        f64::from(area.width) * WIDTH + 2.0 * MARGIN,
        f64::from(area.height) * HEIGHT + 2.0 * MARGIN,
    );
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"DejaVu Sans Mono, Menlo, Consolas, monospace\" font-size=\"14\">"
    )?;
    writeln!(
        out,
        "<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{BACKGROUND}\"/>"
    )?;
    for y in area.top()..area.bottom() {
        let cells: Vec<Option<&Cell>> = (area.left()..area.right())
            .map(|x| buffer.cell((x, y)))
            .collect();
        let top = MARGIN + f64::from(y - area.top()) * HEIGHT;
        let mut x = 0;
        while let Some(Some(cell)) = cells.get(x) {
            // Adjacent cells of the same style are drawn together.
            let same = |other: &&Option<&Cell>| other.is_some_and(|o| alike(o, cell));
            let length = cells.iter().skip(x).take_while(same).count().max(1);
            let left = MARGIN + x as f64 * WIDTH;
            let (fg, bg) = colors(cell);
            if let Some(bg) = bg {
                rect(out, left, top, length as f64 * WIDTH, HEIGHT, &bg)?;
            }
            let symbols: Vec<&str> = cells
                .iter()
                .skip(x)
                .take(length)
                .flatten()
                .map(|c| c.symbol())
                .collect();
            text(
                out,
                &symbols,
                left,
                top,
                &fg,
                cell.modifier.contains(Modifier::BOLD),
            )?;
            x += length;
        }
    }
    writeln!(out, "</svg>")
}

fn alike(a: &Cell, b: &Cell) -> bool {
    (a.fg, a.bg, a.modifier) == (b.fg, b.bg, b.modifier)
}

fn rect(out: &mut String, x: f64, y: f64, width: f64, height: f64, fill: &str) -> std::fmt::Result {
    writeln!(
        out,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{fill}\" shape-rendering=\"crispEdges\"/>"
    )
}

/// Draws blocks and lines as shapes, because fonts leave gaps between them; all else as text.
fn text(
    out: &mut String,
    symbols: &[&str],
    left: f64,
    top: f64,
    fg: &str,
    bold: bool,
) -> std::fmt::Result {
    let mut plain = String::new();
    for (i, symbol) in symbols.iter().enumerate() {
        let x = left + i as f64 * WIDTH;
        if let Some((dx, dy, w, h)) = block(symbol) {
            rect(
                out,
                x + dx * WIDTH,
                top + dy * HEIGHT,
                w * WIDTH,
                h * HEIGHT,
                fg,
            )?;
        } else if let Some(path) = line(symbol) {
            writeln!(
                out,
                "<path transform=\"translate({x:.1} {top:.1})\" d=\"{path}\" fill=\"none\" stroke=\"{fg}\" stroke-width=\"1.2\"/>"
            )?;
        } else {
            plain.push_str(symbol);
            continue;
        }
        plain.push(' ');
    }
    if plain.trim().is_empty() {
        return Ok(());
    }
    let before = plain.chars().take_while(|c| *c == ' ').count();
    let x = left + before as f64 * WIDTH;
    let plain = plain.trim();
    let length = plain.chars().count() as f64 * WIDTH;
    let weight = if bold { " font-weight=\"bold\"" } else { "" };
    let escaped = plain
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{:.1}\" fill=\"{fg}\"{weight} textLength=\"{length:.1}\" lengthAdjust=\"spacingAndGlyphs\" xml:space=\"preserve\">{escaped}</text>",
        top + BASE
    )
}

/// A block's place in its cell: left, top, width and height, as parts of it.
fn block(symbol: &str) -> Option<(f64, f64, f64, f64)> {
    Some(match symbol {
        "█" => (0.0, 0.0, 1.0, 1.0),
        "▀" => (0.0, 0.0, 1.0, 0.5),
        "▄" => (0.0, 0.5, 1.0, 0.5),
        _ => {
            let eighths = ["▏", "▎", "▍", "▌", "▋", "▊", "▉"]
                .iter()
                .position(|s| *s == symbol)?
                + 1;
            (0.0, 0.0, eighths as f64 / 8.0, 1.0)
        }
    })
}

/// A line's path in a cell of 8.4 by 17.
fn line(symbol: &str) -> Option<&'static str> {
    Some(match symbol {
        "─" => "M0 8.5H8.4",
        "│" => "M4.2 0V17",
        "╭" | "┌" => "M4.2 17V12.5Q4.2 8.5 8.4 8.5",
        "╮" | "┐" => "M0 8.5Q4.2 8.5 4.2 12.5V17",
        "╰" | "└" => "M4.2 0V4.5Q4.2 8.5 8.4 8.5",
        "╯" | "┘" => "M0 8.5Q4.2 8.5 4.2 4.5V0",
        _ => return None,
    })
}

/// The colours of text and ground; `None` for the ground of the picture.
fn colors(cell: &Cell) -> (String, Option<String>) {
    let fg = color(cell.fg).unwrap_or_else(|| FOREGROUND.into());
    let bg = color(cell.bg);
    if cell.modifier.contains(Modifier::REVERSED) {
        return (bg.unwrap_or_else(|| BACKGROUND.into()), Some(fg));
    }
    (fg, bg)
}

fn color(color: Color) -> Option<String> {
    let index = match color {
        Color::Reset => return None,
        Color::Rgb(r, g, b) => return Some(format!("#{r:02x}{g:02x}{b:02x}")),
        Color::Indexed(index) => index,
        Color::Black => 0,
        Color::Red => 1,
        Color::Green => 2,
        Color::Yellow => 3,
        Color::Blue => 4,
        Color::Magenta => 5,
        Color::Cyan => 6,
        Color::Gray => 7,
        Color::DarkGray => 8,
        Color::LightRed => 9,
        Color::LightGreen => 10,
        Color::LightYellow => 11,
        Color::LightBlue => 12,
        Color::LightMagenta => 13,
        Color::LightCyan => 14,
        Color::White => 15,
    };
    if let Some(named) = NAMED.get(usize::from(index)) {
        return Some((*named).into());
    }
    // A cube with 6 steps of each colour, and 24 greys.
    let (r, g, b) = match index {
        232.. => {
            let grey = 8 + 10 * (index - 232);
            (grey, grey, grey)
        }
        _ => {
            let step = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
            let n = index - 16;
            (step(n / 36), step(n / 6 % 6), step(n % 6))
        }
    };
    Some(format!("#{r:02x}{g:02x}{b:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    #[test]
    fn a_screen() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 12, 2));
        buffer.set_string(0, 0, "a<b & c", Style::new().fg(Color::Indexed(196)));
        buffer.set_string(0, 1, "█▌─", Style::new());
        let svg = svg(&buffer);
        assert!(
            svg.contains("fill=\"#ff0000\"") && svg.contains(">a&lt;b &amp; c</text>"),
            "{svg}"
        );
        assert!(svg.contains("M0 8.5H8.4"));
        assert_eq!(svg.matches("<rect").count(), 3);
        assert!(svg.trim_end().ends_with("</svg>"));
    }

    #[test]
    fn all_colors() {
        for index in 0..=255 {
            let text = color(Color::Indexed(index)).unwrap();
            assert_eq!(text.len(), 7, "{index}: {text}");
        }
        assert_eq!(color(Color::Indexed(255)).unwrap(), "#eeeeee");
        assert_eq!(color(Color::Indexed(17)).unwrap(), "#00005f");
        assert_eq!(color(Color::Rgb(1, 2, 3)).unwrap(), "#010203");
    }
}
