// SPDX-License-Identifier: GPL-2.0

//! The outputs: text, JSON, metrics and pictures.

pub mod font;
pub mod http;
pub mod json;
pub mod plot;
pub mod prometheus;
pub mod screenshot;
pub mod text;
