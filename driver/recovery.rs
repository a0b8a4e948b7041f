// SPDX-License-Identifier: GPL-2.0

//! What is done when something goes wrong, or is about to: time-outs, resets, sleep, loss.
//!
//! A request that takes too long is looked for in its completion queue; then it is aborted; then
//! the controller is reset, and its requests are queued anew. A controller that can't be reset is
//! dead: its requests fail at once, and all that is left is to unbind it.

use super::{
    controller::{
        Controller,
        Paused, //
    },
    io::{
        self,
        Blk,
        IoQueue, //
    },
    views::Dump, //
};
use crate::{
    abstractions::{
        mq::{
            Op,
            Request,
            Status,
            TimeoutAction, //
        },
        sync::without_io, //
    },
    nvme::{
        spec::command::{
            opcode_name,
            Command, //
        },
        host::life::State, //
    },
};
use core::sync::atomic::Ordering;
use kernel::{
    device::{
        self,
        Bound, //
    },
    io::poll::read_poll_timeout,
    prelude::*,
    sync::Arc,
    time::{
        ClockSource,
        Delta,
        Instant,
        Monotonic, //
    }, //
};

/// How long an abort command may take, in milliseconds. It is answered at once by a controller that
/// works.
const ABORT_TIMEOUT_MS: u32 = 1000;

/// How long requests in flight may take to end before a sleep, in milliseconds; later they are
/// queued anew after it.
const DRAIN_TIMEOUT_MS: u32 = 5000;

/// How long after a device is out of reach the bus may take to say so, in milliseconds.
const BUS_ERROR_MS: i64 = 1000;

/// Why a controller is reset.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(super) enum Cause {
    /// Somebody asked for it.
    Asked = 0,
    /// The bus reported an error.
    BusError = 1,
    /// A command was not completed in time, and could not be aborted.
    TimedOut = 2,
    /// CSTS says that the controller failed, or doesn't answer any more, or an event says so.
    Fatal = 3,
}

impl Cause {
    fn from_u32(cause: u32) -> Self {
        match cause {
            1 => Self::BusError,
            2 => Self::TimedOut,
            3 => Self::Fatal,
            _ => Self::Asked,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "reset was asked for",
            Self::BusError => "bus error",
            Self::TimedOut => "command timed out",
            Self::Fatal => "controller failed",
        }
    }

    /// Whether the requests in flight may be to blame, and are not to be tried for ever.
    fn blames_requests(self) -> bool {
        matches!(self, Self::TimedOut | Self::Fatal)
    }
}

impl Controller {
    /// The request of `tag`, for `op`, took longer than the time limit.
    pub(super) fn request_timed_out(&self, queue: &IoQueue, tag: u16, op: Op) -> TimeoutAction {
        let Some(cid) = queue.cid_in_flight(tag) else {
            return TimeoutAction::Done;
        };
        let qid = queue.shape.qid;
        let opcode = io::opcode(op);
        let name = opcode_name(false, opcode);
        self.events.timeouts.add_shared();
        if self.enabled.is_blocked() {
            // The bus will say what becomes of the controller.
            return TimeoutAction::Wait;
        }

        // In this order: a reset makes it unready.
        let live = self.state() == State::Live;
        let csts = self.csts();
        // A controller that isn't ready any more, by whatever mistake, answers no abort either.
        if csts.gone() || csts.fatal() || live && !csts.ready() {
            return self.reset_or_fail(Cause::Fatal, || {
                dev_err!(
                    self.dev(),
                    "queue {}: command {:#06x}, opcode {:#04x} ({}), timed out, CSTS {:#x}: reset\n",
                    qid,
                    cid,
                    opcode,
                    name,
                    csts.0
                )
            });
        }

        queue.reap_alone();
        if queue.cid_in_flight(tag) != Some(cid) {
            self.events.lost_interrupts.add_shared();
            warn_limited!(
                self,
                "queue {}: command {:#06x}, opcode {:#04x} ({}), was completed without an interrupt\n",
                qid,
                cid,
                opcode,
                name
            );
            return TimeoutAction::Done;
        }
        if self.state() != State::Live {
            return self.reset_or_fail(Cause::TimedOut, || ());
        }

        let limit = self.info().map_or(1, |info| info.acl);
        if self.aborting.fetch_add(1, Ordering::Relaxed) >= limit.into() {
            // Others are told first: more at once the controller refuses.
            self.aborting.fetch_sub(1, Ordering::Relaxed);
            return TimeoutAction::Wait;
        }
        let aborted = self.abort(queue, tag, cid, op);
        self.aborting.fetch_sub(1, Ordering::Relaxed);
        if aborted || queue.cid_in_flight(tag) != Some(cid) {
            // Either it has ended by now, or it gets its time once more.
            return TimeoutAction::Wait;
        }
        self.reset_or_fail(Cause::TimedOut, || {
            dev_err!(
                self.dev(),
                "queue {}: command {:#06x}, opcode {:#04x} ({}), timed out: reset\n",
                qid,
                cid,
                opcode,
                name
            )
        })
    }

    /// Aborts the command of `tag`; `false` where that was tried before, or doesn't work.
    fn abort(&self, queue: &IoQueue, tag: u16, cid: u16, op: Op) -> bool {
        if !queue.mark_aborted(tag) {
            return false;
        }
        // Where one abort was to no avail, no others are tried, each of which may take its time.
        let futile = self.futile_abort.load(Ordering::Relaxed);
        let ms = Monotonic::ktime_get().saturating_sub(futile) / 1_000_000;
        if futile != 0 && ms < self.params.timeout_ms().into() {
            return true;
        }
        let qid = queue.shape.qid;
        let opcode = io::opcode(op);
        warn_limited!(
            self,
            "queue {}: command {:#06x}, opcode {:#04x} ({}), timed out: abort\n",
            qid,
            cid,
            opcode,
            opcode_name(false, opcode)
        );
        self.events.aborts.add_shared();
        let abort = Command::abort(0, qid, cid);
        let done = self.admin.execute(abort, None, ABORT_TIMEOUT_MS).is_ok();
        if done {
            queue.reap_alone();
            if queue.cid_in_flight(tag) == Some(cid) {
                let now = Monotonic::ktime_get();
                self.futile_abort.store(now, Ordering::Relaxed);
            }
        }
        done
    }

    /// Has a controller that works reset, and `log` say so; ends the requests of one that is on its
    /// way out.
    fn reset_or_fail(&self, cause: Cause, log: impl FnOnce()) -> TimeoutAction {
        match self.request_reset(cause) {
            Ok(()) => log(),
            Err(State::Deleting | State::Dead) => self.fail_requests(&mut |_, _, _| ()),
            // Somebody else did.
            Err(_) => {}
        }
        // A reset takes the request out, and queues it anew or ends it.
        TimeoutAction::Wait
    }

    /// Asks for a reset. Process context.
    ///
    /// # Errors
    ///
    /// The controller's state, if that isn't live.
    pub(super) fn request_reset(&self, cause: Cause) -> Result<(), State> {
        self.change_state(State::Resetting)?;
        self.cause.store(cause as u32, Ordering::Relaxed);
        self.reset_task.queue();
        Ok(())
    }

    /// Keeps requests from the queues, until [`release_requests`](Self::release_requests).
    fn hold_requests(&self) {
        let mut parts = self.parts.lock();

        if let Some(set) = &parts.set {
            if !parts.held {
                set.quiesce();
                parts.held = true;
            }
        }
    }

    /// Lets requests to the queues again, which take them or refuse them.
    fn release_requests(&self) {
        let mut parts = self.parts.lock();

        if let Some(set) = &parts.set {
            if parts.held {
                set.unquiesce();
                parts.held = false;
            }
        }
    }

    /// Takes every request in flight out of the queues and hands it to `end`, with its queue's and
    /// its command's identifiers. The controller must be stopped, or gone. Requests that were
    /// completed before are ended as they were.
    pub(super) fn cancel_requests(&self, end: &mut dyn FnMut(u16, u16, Request<Blk>)) {
        self.admin.reap_alone();
        self.admin.cancel();
        self.with_queues(|queues| {
            for queue in queues {
                queue.reap_alone();
                let qid = queue.shape.qid;
                queue.cancel(&mut |cid, rq| end(qid, cid, rq));
            }
        });
    }

    /// Stops the controller, for good, and ends all its requests with an error, each after it was
    /// shown to `look`.
    pub(super) fn fail_requests(&self, look: &mut dyn FnMut(u16, u16, &Request<Blk>)) {
        self.close();
        self.hold_requests();
        self.stop();
        self.cancel_requests(&mut |qid, cid, rq| {
            look(qid, cid, &rq);
            rq.end(Status::IoError)
        });
        self.release_requests();
    }

    /// Declares the controller dead. What there was to say of it before is in `dump`, if it was.
    fn die(&self, why: &str, dump: Option<Dump>) {
        if self.set_state(State::Dead) {
            dev_err!(self.dev(), "the controller is dead: {}\n", why);
        }
        let mut dump = dump.unwrap_or_else(|| Dump::new(self, why));
        self.fail_requests(&mut |qid, cid, rq| dump.command(qid, cid, rq));
        self.hand_on(dump);
        self.mark_disks_dead();
        // Nobody looks for disks any more.
        self.scanned.complete();
    }

    /// Has all disks fail what comes from now on. All their requests have ended before. A disk that is
    /// being added is marked dead by the scan.
    pub(super) fn mark_disks_dead(&self) {
        // The kernel tells user space, which takes memory; the caller may hold a lock that a reset of
        // the disk to which the memory would be written needs, as with a loop device in between.
        without_io(|| self.each_disk().for_each(|disk| disk.mark_dead()));
    }

    /// Stops a controller that is resetting: no request reaches it any more, and those in flight
    /// are queued anew later. Returns the dump, to be handed on when requests aren't held any more.
    ///
    /// From here until requests are let to the controller again, nothing waits for memory: all that can
    /// be freed may have to be written by these requests first.
    fn pause(&self, cause: Cause) -> Dump {
        self.close();
        self.hold_requests();
        let mut dump = Dump::new(self, cause.as_str());
        self.stop();
        self.cancel_requests(&mut |qid, cid, rq| {
            dump.command(qid, cid, &rq);
            match cause.blames_requests() {
                true => io::retry(rq),
                false => io::requeue(rq),
            }
        });
        dump
    }

    /// What becomes of a request that finds its queue closed: it waits where the queue is going to
    /// be open again.
    pub(super) fn refusal(&self) -> Status {
        match self.state() {
            State::New | State::Live | State::Resetting => Status::Resource,
            State::Deleting | State::Dead => Status::Offline,
        }
    }

    /// Brings a controller that was paused up again, as it was before, and lets requests through.
    fn restart(&self, dev: &device::Device<Bound>) -> Result {
        self.enable(dev)?;

        // It may have another firmware by now.
        self.learn()?;
        let count = self.with_queues(|queues| queues.len());
        if (self.grant_queues(count as u16)? as usize) < count {
            dev_err!(
                self.dev(),
                "fewer than {} I/O queues granted after reset\n",
                count
            );
            return Err(EIO);
        }
        for queue in self.queues() {
            queue.rewind();
            self.create_queue(&queue)?;
        }
        self.start_shadow();
        if let Some(info) = self.info() {
            self.watch_events(&info);
        }

        if !self.set_state(State::Live) {
            return Err(ENODEV);
        }
        self.with_queues(|queues| queues.iter().for_each(|queue| queue.open()));
        self.release_requests();
        Ok(())
    }

    /// Restarts a stopped controller, or declares it dead; then `dump` is handed on. Where the bus has
    /// an error meanwhile, it stays stopped until that is over, and `paused`, which was no, says so.
    fn resume_or_die(&self, dev: &device::Device<Bound>, paused: &mut Paused, dump: Option<Dump>) {
        if let Err(error) = self.restart(dev) {
            if self.state() == State::Deleting {
                // Unbind ends what is left.
                self.fail_requests(&mut |_, _, _| ());
                return;
            }
            dev_err!(self.dev(), "reset failed: {:?}\n", error);
            if self.is_bus_error() {
                // No wonder.
                let now = self.pause(Cause::BusError);
                self.parts.lock().dump = Some(dump.unwrap_or(now));
                *paused = Paused::Error;
            } else {
                self.die("reset failed", dump);
            }
            return;
        }
        if let Some(dump) = dump {
            self.hand_on(dump);
        }
        // Namespaces may have changed meanwhile.
        self.scan_task.queue();
    }

    /// Whether the bus has blocked the way to the controller, and will say what becomes of it. Where
    /// nothing answers any more, that word may be late. Sleeps.
    fn is_bus_error(&self) -> bool {
        let blocked = read_poll_timeout(
            || Ok(self.enabled.is_blocked()),
            |blocked| *blocked || !self.csts().gone() || self.state() != State::Resetting,
            Delta::from_millis(10),
            Delta::from_millis(BUS_ERROR_MS),
        );
        blocked == Ok(true)
    }

    /// Stops the controller for a sleep (`sleep`), a reset by others, or for good; requests wait.
    ///
    /// # Errors
    ///
    /// `EBUSY` where the controller is dead or on its way out, where the bus is just getting over an
    /// error, or where it doesn't become idle before a sleep: CPUs that go would wait for its requests.
    pub(super) fn suspend(&self, sleep: bool) -> Result {
        if sleep && self.enabled.is_blocked() {
            // What a scan waits for waits for the bus, and that for the device's lock.
            dev_err!(
                self.dev(),
                "the bus is recovering from an error: no sleep\n"
            );
            return Err(EBUSY);
        }
        // What a scan has in flight is not seen below.
        let _scanning = sleep.then(|| self.scanning.lock());
        let mut paused = self.lifecycle.lock();
        if *paused != Paused::No {
            // The end of an error doesn't bring it up any more.
            *paused = Paused::Others;
            return Ok(());
        }
        // One that was asked for and hasn't begun is done by what is done here.
        let asked = !self.set_state(State::Resetting);
        if asked && self.state() != State::Resetting {
            return Err(EBUSY);
        }

        if !self.freeze_disks() && sleep {
            self.thaw_disks();
            self.set_state(State::Live);
            if asked {
                let _ = self.request_reset(Cause::from_u32(self.cause.load(Ordering::Relaxed)));
            }
            // One that was asked for meanwhile saw no live controller.
            self.scan_task.queue();
            dev_err!(self.dev(), "requests are in flight: no sleep\n");
            return Err(EBUSY);
        }
        self.hold_requests();
        self.shut_down();
        self.cancel_requests(&mut |_, _, rq| io::requeue(rq));
        *paused = Paused::Others;
        Ok(())
    }

    /// Brings a suspended controller up again; one that can't be is dead. Where the bus is getting
    /// over an error, it comes up after that.
    ///
    /// # Errors
    ///
    /// `ENODEV` for a dead controller.
    pub(super) fn resume(&self, dev: &device::Device<Bound>) -> Result {
        let mut paused = self.lifecycle.lock();

        if *paused == Paused::Others && self.enabled.is_blocked() {
            *paused = Paused::Error;
            return Ok(());
        }
        self.come_up(dev, &mut paused);
        if self.state() == State::Dead {
            return Err(ENODEV);
        }
        Ok(())
    }

    /// The bus got over an error: brings the controller up again, unless others keep it stopped.
    pub(super) fn bus_recovered(&self, dev: &device::Device<Bound>) {
        let mut paused = self.lifecycle.lock();

        if *paused == Paused::Error {
            self.come_up(dev, &mut paused);
        }
    }

    fn come_up(&self, dev: &device::Device<Bound>, paused: &mut Paused) {
        let was = core::mem::replace(paused, Paused::No);
        if was != Paused::No && self.state() == State::Resetting {
            let dump = self.parts.lock().dump.take();
            self.resume_or_die(dev, paused, dump);
        }
        self.thaw_disks();
    }

    /// Lets no more requests in, and waits, not for long, for those that are; whether they have ended.
    fn freeze_disks(&self) -> bool {
        let parts = self.parts.lock();
        let mut left_ms = DRAIN_TIMEOUT_MS;

        for disk in &parts.disks {
            disk.freeze();
        }
        for disk in &parts.disks {
            let start = Instant::<Monotonic>::now();
            if !disk.is_idle_within(left_ms) {
                return false;
            }
            left_ms = left_ms.saturating_sub(start.elapsed().as_millis() as u32);
        }
        true
    }

    fn thaw_disks(&self) {
        for disk in &self.parts.lock().disks {
            disk.thaw();
        }
    }

    /// The bus lost its way to the device for now: requests wait, and nothing is read or written.
    pub(super) fn freeze(&self) {
        let mut paused = self.lifecycle.lock();

        if *paused == Paused::No
            && (self.set_state(State::Resetting) || self.state() == State::Resetting)
        {
            let dump = self.pause(Cause::BusError);
            self.parts.lock().dump = Some(dump);
            *paused = Paused::Error;
        }
    }

    /// The bus gave up all devices below a port. One that it did not block, for another's sake, and
    /// that works, goes on.
    pub(super) fn lose(&self) {
        let mut paused = self.lifecycle.lock();
        if *paused == Paused::No && !self.enabled.is_blocked() && self.enabled.is_present() {
            let csts = self.csts();
            match self.state() {
                State::Live if csts.ready() && !csts.fatal() && !csts.gone() => {
                    dev_warn!(
                        self.dev(),
                        "the bus gave up on an error; this controller works\n"
                    );
                    return;
                }
                // That finds out.
                State::Resetting => return,
                _ => {}
            }
        }
        let dump = self.parts.lock().dump.take();
        self.die("the bus lost the device", dump);
        *paused = Paused::No;
        self.thaw_disks();
    }
}

/// The reset: what [`Controller::request_reset`] asks for.
pub(super) fn reset(controller: &Arc<Controller>, dev: &device::Device<Bound>) {
    let mut paused = controller.lifecycle.lock();
    // Somebody else was faster, and has stopped it or brought it up since.
    if *paused != Paused::No || controller.state() != State::Resetting {
        return;
    }
    if controller.enabled.is_blocked() {
        // The bus does it, or says that the device is lost.
        return;
    }

    dev_info!(controller.dev(), "resetting the controller\n");
    controller.events.resets.add_shared();
    let cause = Cause::from_u32(controller.cause.swap(0, Ordering::Relaxed));
    let dump = controller.pause(cause);
    controller.resume_or_die(dev, &mut paused, Some(dump));
}
