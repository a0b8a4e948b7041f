// SPDX-License-Identifier: GPL-2.0

//! The driver's trace events, in the system `rust_nvme_demo`: every room below `driver/mod.rs` may
//! trace. `Documentation/ABI/testing/tracefs-rust_nvme_demo` documents them for user space.
//!
//! Events and fields that also exist in the kernel's C driver have the same name and meaning.

use crate::{
    abstractions::trace::{
        trace_event,
        Text, //
    },
    nvme::{
        host::life::{
            Cause,
            State, //
        },
        spec::{
            command::{
                Command,
                Opcode, //
            },
            id::{
                Cid,
                Qid, //
            },
            status::Status, //
        },
    },
};
use kernel::prelude::*;

trace_event! {
    /// A command is put into a submission queue.
    pub(super) struct SetupCmd: "rust_nvme_demo" / "nvme_setup_cmd" {
        /// The name of the disk; empty on the admin queue.
        disk: Text<32> = "%s",
        /// Dwords 10 and 11: the first block of a Read, Write or Write Zeroes.
        slba: u64 = "%llu",
        /// The controller's instance number.
        ctrl_id: i32 = "%lld",
        /// The queue; 0 is the admin queue.
        qid: i32 = "%lld",
        /// The namespace; 0 if there is none.
        nsid: u32 = "%llu",
        /// The number of blocks of a Read, Write or Write Zeroes, otherwise 0.
        blocks: u32 = "%llu",
        /// The command identifier.
        cid: u16 = "%llu",
        /// The upper half of dword 12 of a Read, Write or Write Zeroes, otherwise 0.
        control: u16 = "0x%llx",
        /// The opcode.
        opcode: u8 = "0x%llx",
        /// Bits 15:8 of dword 0.
        flags: u8 = "0x%llx",
    }
}

trace_event! {
    /// A command has ended: the controller has completed it, or a stop of the controller has
    /// cancelled it. Also for a completion that belongs to no command.
    pub(super) struct CompleteRq: "rust_nvme_demo" / "nvme_complete_rq" {
        /// Dwords 0 and 1 of the completion; 0 if the command was cancelled.
        result: u64 = "%llu",
        /// The controller's instance number.
        ctrl_id: i32 = "%lld",
        /// The queue; 0 is the admin queue.
        qid: i32 = "%lld",
        /// The command identifier.
        cid: u16 = "%llu",
        /// The status, with the flags above it; 0x371 (Command Aborted By Host) if the command was
        /// cancelled.
        status: u16 = "0x%llx",
    }
}

trace_event! {
    /// A command has timed out.
    struct Timeout: "rust_nvme_demo" / "timeout" {
        /// The controller's instance number.
        ctrl_id: i32 = "%lld",
        /// The queue; 0 is the admin queue.
        qid: i32 = "%lld",
        /// The command identifier.
        cid: u16 = "%llu",
        /// The opcode.
        opcode: u8 = "0x%llx",
    }
}

trace_event! {
    /// The driver is about to send an Abort for a command that has timed out.
    struct Abort: "rust_nvme_demo" / "abort" {
        /// The controller's instance number.
        ctrl_id: i32 = "%lld",
        /// The queue of the command to abort.
        qid: i32 = "%lld",
        /// The identifier of the command to abort.
        cid: u16 = "%llu",
        /// The opcode of the command to abort.
        opcode: u8 = "0x%llx",
    }
}

trace_event! {
    /// A reset begins.
    struct Reset: "rust_nvme_demo" / "reset" {
        /// The cause, in words.
        cause: Text<32> = "%s",
        /// The controller's instance number.
        ctrl_id: i32 = "%lld",
    }
}

trace_event! {
    /// The state of a controller changes.
    struct StateChange: "rust_nvme_demo" / "state" {
        /// The state before.
        from: Text<16> = "%s",
        /// The new state.
        to: Text<16> = "%s",
        /// The controller's instance number.
        ctrl_id: i32 = "%lld",
    }
}

/// Traces a command that is put into submission queue `qid`.
#[cold]
#[inline(never)]
pub(super) fn submitted(instance: u32, qid: Qid, command: Command) {
    let (opcode, nsid, dword12) = (command.opcode(), command.dword(1), command.dword(12));
    let is_io = qid != Qid::ADMIN;
    let has_range = [Opcode::Read, Opcode::Write, Opcode::WriteZeroes]
        .iter()
        .any(|one| *one as u8 == opcode);
    let (blocks, control) = match is_io && has_range {
        // The number of blocks is a 0's based value.
        true => ((dword12 & 0xffff) + 1, (dword12 >> 16) as u16),
        false => (0, 0),
    };

    SetupCmd::trace(|| SetupCmd {
        disk: match is_io {
            true => Text::format(fmt!("nvme{instance}n{nsid}")),
            false => Text::EMPTY,
        },
        slba: u64::from(command.dword(11)) << 32 | u64::from(command.dword(10)),
        ctrl_id: instance as i32,
        qid: qid.get().into(),
        nsid,
        blocks,
        cid: command.cid().get(),
        control,
        opcode,
        flags: (command.dword(0) >> 8) as u8,
    });
}

/// Traces the completion of a command of queue `qid`.
pub(super) fn completed(instance: u32, qid: Qid, cid: Cid, status: Status, result: u64) {
    CompleteRq::trace(|| CompleteRq {
        result,
        ctrl_id: instance as i32,
        qid: qid.get().into(),
        cid: cid.get(),
        status: status.0,
    });
}

/// Traces a command of queue `qid` that a stop of the controller has cancelled.
pub(super) fn cancelled(instance: u32, qid: Qid, cid: Cid) {
    completed(instance, qid, cid, Status::CANCELLED, 0);
}

/// Traces a command that has timed out.
pub(super) fn timeout(instance: u32, qid: Qid, cid: Cid, opcode: u8) {
    Timeout::trace(|| Timeout {
        ctrl_id: instance as i32,
        qid: qid.get().into(),
        cid: cid.get(),
        opcode,
    });
}

/// Traces an Abort that is about to be sent for a command.
pub(super) fn abort(instance: u32, qid: Qid, cid: Cid, opcode: u8) {
    Abort::trace(|| Abort {
        ctrl_id: instance as i32,
        qid: qid.get().into(),
        cid: cid.get(),
        opcode,
    });
}

/// Traces the beginning of a reset.
pub(super) fn reset(instance: u32, cause: Cause) {
    Reset::trace(|| Reset {
        cause: Text::format(fmt!("{}", cause.as_str())),
        ctrl_id: instance as i32,
    });
}

/// Traces a change of a controller's state.
pub(super) fn state(instance: u32, from: State, to: State) {
    StateChange::trace(|| StateChange {
        from: Text::format(fmt!("{}", from.name())),
        to: Text::format(fmt!("{}", to.name())),
        ctrl_id: instance as i32,
    });
}
