// SPDX-License-Identifier: GPL-2.0

//! What a host decides, as pure functions on the specification's terms: no kernel type, no register,
//! no lock.

pub mod dbbuf;
pub mod histogram;
pub mod identity;
pub mod layout;
pub mod life;
pub mod prp;
pub mod queue;
pub mod quirks;
pub mod retry;
