// SPDX-License-Identifier: GPL-2.0

//! The core dump of a controller that is reset or declared dead: its registers, states, rings and
//! commands in flight, as text in sections. `stop` writes it; `dump_task` submits it.

use super::Controller;
use crate::{
    abstractions::{
        block::mq::Request,
        devcoredump::Text, //
    },
    driver::{
        io::{
            self,
            NvmeOps, //
        },
        queue::watch::{
            self,
            Watch, //
        },
    },
    nvme::spec::id::{
        Cid,
        Qid, //
    },
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    fmt::{
        self,
        Write, //
    },
    sync::Arc,
    time::{
        ClockSource,
        Monotonic, //
    }, //
};

/// The dump shows the ring entries less than this far from the submission tail and the completion
/// head. It lists all commands in flight separately.
const AROUND: u16 = 16;

/// A core dump that is being written.
pub(super) struct Dump {
    text: Text,
    /// When the dump was started, in nanoseconds of the monotonic clock.
    now: i64,
}

impl Dump {
    /// Starts the dump of `controller`: everything but the commands in flight. `why` is the reason
    /// for the dump. Call this before the controller is disabled, so that the registers still show
    /// its state. Sleeps, but doesn't wait for memory.
    pub(super) fn new(controller: &Controller, why: &str) -> Self {
        let mut this = Self {
            text: Text::new(),
            now: Monotonic::ktime_get(),
        };

        // A truncated dump is marked as truncated.
        let _ = this.begin(controller, why);
        this
    }

    fn begin(&mut self, controller: &Controller, why: &str) -> fmt::Result {
        let f = &mut self.text;

        writeln!(f, "rust_nvme_demo core dump, format 1")?;
        writeln!(f, "why: {why}")?;
        writeln!(f, "time: {}", Seconds(self.now))?;
        writeln!(f, "controller: {}", controller.name())?;
        if let Some(info) = controller.info() {
            for (name, text) in [
                ("model", info.model.as_str()),
                ("serial", info.serial.as_str()),
                ("firmware", info.firmware.as_str()),
            ] {
                writeln!(f, "{name}: {text}")?;
            }
        }
        let events = &controller.events;
        for (name, count) in [
            ("timeouts", &events.timeouts),
            ("lost_interrupts", &events.lost_interrupts),
            ("aborts", &events.aborts),
            ("resets", &events.resets),
        ] {
            writeln!(f, "{}: {}", name, count.get())?;
        }

        writeln!(f, "\n[states]")?;
        for (state, since) in controller.history() {
            writeln!(f, "{} {}", Seconds(since), state.name())?;
        }

        writeln!(f, "\n[registers]")?;
        if controller.ctrl.enabled().is_blocked() {
            writeln!(f, "can't be read: the bus is blocked after an error")?;
        } else {
            controller.ctrl.print_registers(f)?;
        }

        queue(&**controller.ctrl.admin_queue(), f)?;
        for io in controller.queues() {
            queue(&*io, f)?;
        }
        writeln!(f, "\n[in flight]")
    }

    /// Adds the command in flight of `rq`, with command identifier `cid`.
    pub(super) fn command(&mut self, qid: Qid, cid: Cid, rq: &Request<NvmeOps>) {
        let age = match rq.start_time() {
            Some(since) => self.now.saturating_sub(since as i64),
            None => -1,
        };
        let _ = writeln!(
            self.text,
            "queue {} command {:#06x} opcode {:#04x} ({}) sector {} bytes {} age_us {}",
            qid,
            cid,
            io::opcode(rq.op()),
            io::command_name(rq.op()),
            rq.sector(),
            rq.bytes(),
            if age < 0 { -1 } else { age / 1000 },
        );
    }

    /// Hands the dump to user space, as a core dump of the controller's device. Waits for memory.
    pub(super) fn submit(self, dev: &device::Device<Bound>) {
        self.text.submit(dev);
    }
}

impl Controller {
    /// Queues `dump` for user space. If an earlier dump is still pending, keeps that dump and drops
    /// `dump`.
    pub(super) fn hand_over(&self, dump: Dump) {
        self.dump.lock().get_or_insert(dump);
        self.dump_task.queue();
    }

    /// Hands the pending dump to user space, if there is one. Waits for memory; one caller at a
    /// time.
    pub(crate) fn submit_dump(&self, dev: &device::Device<Bound>) {
        let dump = self.dump.lock().take();
        if let Some(dump) = dump {
            dump.submit(dev);
        }
    }
}

/// The controller's dump task: hands the pending dump to user space.
pub(super) fn submit(controller: &Arc<Controller>, dev: &device::Device<Bound>) {
    controller.submit_dump(dev);
}

fn queue(queue: &dyn Watch, f: &mut Text) -> fmt::Result {
    let config = queue.config();
    let (submitted, completed) = queue.progress();
    let (tail, head) = queue.sq_position();
    let (cq_head, phase) = queue.cq_position();

    writeln!(f, "\n[queue {}]", config.qid)?;
    writeln!(f, "submitted: {submitted}")?;
    writeln!(f, "completed: {completed}")?;
    writeln!(f, "interrupts: {}", queue.completed().interrupts.get())?;
    writeln!(f, "sq: depth {} tail {} head {}", config.depth, tail, head)?;
    watch::submission_queue(queue, AROUND, f)?;
    writeln!(
        f,
        "cq: depth {} head {} phase {}",
        config.cq_depth,
        cq_head,
        u8::from(phase)
    )?;
    watch::completion_queue(queue, AROUND, f)
}

/// Nanoseconds, shown as seconds.
struct Seconds(i64);

impl core::fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:06}",
            self.0 / 1_000_000_000,
            self.0 / 1000 % 1_000_000
        )
    }
}
