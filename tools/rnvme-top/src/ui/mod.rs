// SPDX-License-Identifier: GPL-2.0

//! The view on a terminal.

pub mod app;
pub mod columns;
pub mod draw;
pub mod heat;
pub mod keys;
pub mod queue;
pub mod style;
pub mod terminal;
#[cfg(test)]
mod tests;
