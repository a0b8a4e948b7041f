// SPDX-License-Identifier: GPL-2.0

//! The life cycle of a controller: for each state and event, the next state and the actions that
//! the driver must carry out.
//!
//! [`Life::step`] is the whole state machine, as one table. The function is pure: it reads no
//! register and takes no lock, so that tests can check every state with every event. The driver's
//! `life` room keeps the [`Life`] of each controller under a spinlock, feeds it events, and carries
//! out the actions. `Documentation/life-cycle.md` renders the table; a test compares the two.

use core::fmt;

/// State of a controller, as sysfs shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// The driver is starting the controller for the first time; there are no requests yet.
    New = 0,
    /// The controller accepts commands.
    Live = 1,
    /// The controller is stopped, and the driver will restart it; requests wait.
    Resetting = 2,
    /// The driver is removing the controller; requests fail. No event leaves this state.
    Deleting = 3,
    /// The driver has given up on the controller; requests fail at once. Only a removal leaves this
    /// state.
    Dead = 4,
}

impl State {
    /// All states, in the order of their numbers.
    pub const ALL: [Self; 5] = [
        Self::New,
        Self::Live,
        Self::Resetting,
        Self::Deleting,
        Self::Dead,
    ];

    /// The state's number, for an atomic.
    #[inline]
    pub const fn as_u32(self) -> u32 {
        self as u32
    }

    /// The state's name, as sysfs shows it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Live => "live",
            Self::Resetting => "resetting",
            Self::Deleting => "deleting",
            Self::Dead => "dead",
        }
    }
}

impl TryFrom<u32> for State {
    type Error = InvalidState;

    #[inline]
    fn try_from(number: u32) -> Result<Self, InvalidState> {
        match number {
            0 => Ok(Self::New),
            1 => Ok(Self::Live),
            2 => Ok(Self::Resetting),
            3 => Ok(Self::Deleting),
            4 => Ok(Self::Dead),
            _ => Err(InvalidState(number)),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A number that is no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidState(pub u32);

/// Why a stopped controller stays stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// Not paused: the controller runs, or the driver is restarting it.
    None,
    /// The bus is recovering from an error; a callback will report the end of the recovery.
    Bus,
    /// The system sleeps or shuts down, or the bus resets the function; `resume` ends this pause.
    System,
}

/// Why the driver resets a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// User space requested a reset.
    Asked,
    /// The bus reported an error.
    BusError,
    /// A command timed out, and could not be aborted.
    TimedOut,
    /// The controller reports a fatal error, or doesn't respond.
    Fatal,
}

impl Cause {
    /// The text for a core dump.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "reset was asked for",
            Self::BusError => "bus error",
            Self::TimedOut => "command timed out",
            Self::Fatal => "controller failed",
        }
    }

    /// Whether a request in flight may have caused the reset, so that its retries are counted.
    pub const fn blames_requests(self) -> bool {
        matches!(self, Self::TimedOut | Self::Fatal)
    }
}

/// An event in a controller's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The start sequence succeeded.
    Started,
    /// The start sequence failed; `bus_error` if the bus blocks access to the controller.
    StartFailed {
        /// The bus is recovering from an error; a callback will report the end of the recovery.
        bus_error: bool,
    },
    /// User space or the driver requests a reset.
    ResetWanted(Cause),
    /// The reset task runs; `blocked` if the bus blocks access to the controller.
    ResetRuns {
        /// The bus recovers from an error.
        blocked: bool,
    },
    /// The system, or the bus before a function reset, requests that the controller be stopped.
    Suspend {
        /// The system is going to sleep: no request may stay in flight.
        sleep: bool,
        /// The bus recovers from an error.
        blocked: bool,
    },
    /// Requests stayed in flight, so the system can't sleep.
    NotIdle,
    /// The system, or the bus, requests that the controller be restarted.
    Resume {
        /// The bus recovers from an error.
        blocked: bool,
    },
    /// The bus blocks access to the controller after an error.
    BusFrozen,
    /// The bus has recovered.
    BusRecovered,
    /// The bus gave up the device.
    BusLost {
        /// The bus doesn't block access to the device, and the device is present.
        reachable: bool,
        /// The controller is ready and reports no fatal error.
        works: bool,
    },
    /// The driver is unbound from the device, or the device was removed.
    Removed {
        /// The device is still present.
        present: bool,
    },
}

/// An action of the driver. A step lists its actions in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Queue the reset task.
    QueueReset,
    /// Freeze the disks' queues, and wait a bounded time for requests in flight. If requests stay
    /// in flight before a sleep, [`Event::NotIdle`] follows.
    FreezeDisks,
    /// Thaw the disks' queues.
    ThawDisks,
    /// Quiesce the block layer, stop the controller, and requeue its requests; if the cause blames
    /// the requests, that counts as a retry. Also writes a core dump.
    StopForReset,
    /// Quiesce the block layer, shut the controller down, and requeue the requests that are left.
    ShutDown,
    /// Quiesce the block layer, stop the controller, and end its requests with an error.
    FailRequests,
    /// Run the start sequence; [`Event::Started`] or [`Event::StartFailed`] follows.
    Start,
    /// Open the queues and unquiesce the block layer.
    ReleaseRequests,
    /// Hand the core dump to user space.
    SubmitDump,
    /// Queue the scan of the namespaces.
    Scan,
    /// Mark the disks dead, so that file systems are notified.
    MarkDisksDead,
    /// Cancel the controller's tasks, and wait for them.
    CancelTasks,
    /// Remove the disks; file systems write back dirty data if the controller still works.
    RemoveDisks,
}

/// The position of a controller in its life cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// The state that sysfs shows.
    pub state: State,
    /// Why the controller stays stopped, while it is resetting.
    pub pause: Pause,
    /// The cause of a reset that was requested and has not begun.
    pub wanted: Option<Cause>,
}

/// The result of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The life after the event.
    pub life: Life,
    /// The actions that the driver must carry out, in this order.
    pub actions: &'static [Action],
}

/// The event is invalid in this state, or comes too late. Nothing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub State);

/// Gives the controller up for a removal. `FailRequests` twice, because the tasks may release
/// requests again until they are cancelled. The disks are thawed before that, because the scan may
/// wait for a file system on a frozen disk.
const ABANDON: &[Action] = &[
    Action::FailRequests,
    Action::ThawDisks,
    Action::CancelTasks,
    Action::FailRequests,
    Action::MarkDisksDead,
    Action::RemoveDisks,
];

/// Gives the controller up. Marking a disk dead waits for its file system, which may wait for
/// another disk that is frozen, so all disks are thawed first.
const GIVE_UP: &[Action] = &[
    Action::FailRequests,
    Action::ThawDisks,
    Action::MarkDisksDead,
    Action::SubmitDump,
];

/// Starts the controller again, after a pause.
const UP: &[Action] = &[Action::Start, Action::ThawDisks];

const NO: Pause = Pause::None;

/// The next state, pause and wanted reset, and the actions.
type Row = (State, Pause, Option<Cause>, &'static [Action]);

impl Life {
    /// A controller that the driver is probing.
    pub const NEW: Self = Self {
        state: State::New,
        pause: Pause::None,
        wanted: None,
    };

    /// The life after `event`, and the actions that the driver must carry out.
    ///
    /// # Errors
    ///
    /// [`Refused`], with the state, if the event is invalid in this state or comes too late.
    pub const fn step(self, event: Event) -> Result<Step, Refused> {
        let Some((state, pause, wanted, actions)) = self.row(event) else {
            return Err(Refused(self.state));
        };
        Ok(Step {
            life: Self {
                state,
                pause,
                wanted,
            },
            actions,
        })
    }

    /// The row of the table for this life and `event`; `None` if the event is refused.
    #[rustfmt::skip]
    const fn row(self, event: Event) -> Option<Row> {
        use Action::*;
        use Event::*;
        use State::*;

        let Self { state, pause, wanted } = self;
        let row: Row = match (event, state, pause) {
            // The start sequence has ended.
            (Started, New | Resetting, NO) => (Live, NO, None, &[ReleaseRequests, SubmitDump, Scan]),
            (StartFailed { .. }, New, NO) => (New, NO, None, &[]),
            (StartFailed { bus_error: true }, Resetting, NO) => (Resetting, Pause::Bus, None, &[StopForReset]),
            (StartFailed { bus_error: false }, Resetting, NO) => (Dead, NO, None, GIVE_UP),
            // A removal has begun meanwhile, and waits for the start to end.
            (Started | StartFailed { .. }, Deleting, _) => (Deleting, NO, None, &[FailRequests]),

            // A reset: only the first request is accepted, and the reset task carries it out.
            (ResetWanted(cause), Live, NO) => (Resetting, NO, Some(cause), &[QueueReset]),
            // A callback of the bus will follow.
            (ResetRuns { blocked: true }, Resetting, NO) => (Resetting, NO, wanted, &[]),
            (ResetRuns { blocked: false }, Resetting, NO) if wanted.is_some() =>
                (Resetting, NO, None, &[StopForReset, Start]),

            // The system, or the bus before a function reset. The later restart replaces a reset
            // that was requested and has not begun.
            (Suspend { sleep: true, blocked: true }, ..) => return None,
            (Suspend { .. }, Live | Resetting, NO) => (Resetting, Pause::System, wanted, &[FreezeDisks, ShutDown]),
            // Already stopped; from now on, the end of a bus recovery doesn't restart the
            // controller.
            (Suspend { .. }, Resetting, _) => (Resetting, Pause::System, wanted, &[]),
            (NotIdle, Resetting, Pause::System) if wanted.is_some() =>
                (Resetting, NO, wanted, &[ThawDisks, QueueReset, Scan]),
            (NotIdle, Resetting, Pause::System) => (Live, NO, None, &[ThawDisks, Scan]),
            (Resume { blocked: true }, Resetting, Pause::System) => (Resetting, Pause::Bus, None, &[]),
            (Resume { .. }, Resetting, Pause::Bus | Pause::System) => (Resetting, NO, None, UP),
            (Resume { .. }, ..) => (state, NO, wanted, &[ThawDisks]),

            // Errors of the bus.
            (BusFrozen, Live | Resetting, NO) => (Resetting, Pause::Bus, None, &[StopForReset]),
            (BusFrozen, Resetting, _) => (Resetting, pause, wanted, &[]),
            (BusRecovered, Resetting, Pause::Bus) => (Resetting, NO, None, UP),
            (BusRecovered, Live | Resetting, _) => (state, pause, wanted, &[]),
            // The bus gave up on another device's error; this device still works, or its pending
            // reset will decide.
            (BusLost { reachable: true, works: true }, Live, NO) => (Live, NO, None, &[]),
            (BusLost { reachable: true, .. }, Resetting, NO) => (Resetting, NO, wanted, &[]),
            (BusLost { .. }, Live | Resetting, _) => (Dead, NO, None, GIVE_UP),
            (BusLost { .. }, New | Deleting | Dead, _) => (state, NO, None, GIVE_UP),

            // The end.
            (Removed { present: true }, Live, _) => (Deleting, NO, None, &[CancelTasks, RemoveDisks, ShutDown]),
            (Removed { .. }, New | Live | Resetting | Dead, _) => (Deleting, NO, None, ABANDON),

            _ => return None,
        };
        Some(row)
    }
}
