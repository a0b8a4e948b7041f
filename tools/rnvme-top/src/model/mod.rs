// SPDX-License-Identifier: GPL-2.0

//! What is known of the controllers, and what follows from it: pure functions of values.

pub mod counts;
pub mod histogram;
pub mod history;
pub mod interval;
pub mod snapshot;
