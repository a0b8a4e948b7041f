// SPDX-License-Identifier: GPL-2.0

//! Block devices.

// A driver uses only a part of this.
#![allow(dead_code, unreachable_pub, unused_imports)]

pub mod mq;
