// SPDX-License-Identifier: GPL-2.0

//! The NVMe protocol, without any kernel dependency. `driver/` and the samples use it.
//!
//! Meaning of the registers, encoding of commands, decoding of completions and identify data, and
//! the arithmetic of queues, PRP lists and shadow doorbells. Pure `core` Rust: no kernel type, no
//! `unsafe`, no allocation, no lock. `driver/` does the I/O.
//!
//! All values from the controller are treated as hostile: no value of a register, a completion or
//! an identify page makes a function here panic, loop without bound or index out of range. A test
//! enforces this: `tests/kernel.rs` compiles this module as the kernel does, with overflow checks
//! on, and fails if the code calls the panic machinery.
//!
//! The folder is also a Cargo package (`nvme/Cargo.toml`), which runs the tests on the host.
//!
//! Specifications: "Base" is the NVM Express Base Specification, revision 2.0; "NVM" is the NVM
//! Command Set Specification, revision 1.0; "PCIe" is the NVMe over PCIe Transport Specification,
//! revision 1.0. <https://nvmexpress.org/specifications/>
//!
//! | File              | Content                                                          |
//! |-------------------|------------------------------------------------------------------|
//! | `spec/regs`       | controller registers, and the limits that follow from CAP        |
//! | `spec/command`    | submission queue entries                                         |
//! | `spec/completion` | completion queue entries                                         |
//! | `spec/status`     | status codes: name, block layer error, whether to retry          |
//! | `spec/identify`   | identify controller, namespace, identifiers, namespace list      |
//! | `spec/protection` | protection information: guard, and the fields of a command        |
//! | `spec/effects`    | the effects of each command                                      |
//! | `spec/log`        | log pages, with temperatures and warnings                        |
//! | `spec/page`       | a page of data that the controller wrote                         |
//! | `spec/features`   | results of Set Features, asynchronous events                     |
//! | `spec/id`         | identifiers of queues, commands and namespaces                   |
//! | `host/prp`        | physical region pages: data pointers and lists                   |
//! | `host/queue`      | rings: tail, head, phase                                         |
//! | `host/dbbuf`      | shadow doorbells                                                 |
//! | `host/layout`     | the number of queues of each kind                                |
//! | `host/life`       | the life cycle of a controller: states, events, actions          |
//! | `host/limits`     | the limits of a disk, from identify data                         |
//! | `host/metadata`   | how requests treat the metadata of their blocks                  |
//! | `host/passthrough`| who may send which command from user space                       |
//! | `host/power`      | the power states that an idle controller enters                  |
//! | `host/rate_limit` | whether to log a line that a device causes                        |
//! | `host/retry`      | whether to retry, requeue or end a request                       |
//! | `host/identity`   | the identity of a namespace                                      |
//! | `host/host_memory`| the memory that a controller borrows                             |
//! | `host/histogram`  | latency histograms                                               |
//! | `host/oldest`     | the oldest commands in flight                                    |
//! | `host/uapi`       | the structures and numbers of the ioctls                         |
//! | `host/quirks`     | quirks of specific controllers                                   |

#![deny(unsafe_code, missing_docs)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]
// `pub` is for the tests of the Cargo package, whose root this file is. In the kernel module this
// folder is a private module, so `pub` means visible in the crate.
#![allow(unreachable_pub)]

pub mod host;
pub mod spec;
