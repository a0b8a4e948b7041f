// SPDX-License-Identifier: GPL-2.0

//! The data of the controllers, and what the program computes from them: pure functions of values.

pub mod counts;
pub mod histogram;
pub mod history;
pub mod interval;
pub mod snapshot;
