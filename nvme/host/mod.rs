// SPDX-License-Identifier: GPL-2.0

//! The host's decisions, as pure functions: no kernel type, no register, no lock. This room uses
//! `spec`; `driver/` calls it.

pub mod dbbuf;
pub mod histogram;
pub mod host_memory;
pub mod identity;
pub mod layout;
pub mod life;
pub mod limits;
pub mod metadata;
pub mod oldest;
pub mod passthrough;
pub mod power;
pub mod prp;
pub mod queue;
pub mod quirks;
pub mod rate_limit;
pub mod retry;
pub mod uapi;
