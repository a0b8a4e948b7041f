// SPDX-License-Identifier: GPL-2.0

//! What is printed, served and drawn.

pub mod font;
pub mod http;
pub mod json;
pub mod plot;
pub mod prometheus;
pub mod screenshot;
pub mod text;
