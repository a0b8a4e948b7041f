// SPDX-License-Identifier: GPL-2.0

//! The life cycle of a controller: which event leads from which state to which, and what the driver
//! has to do on the way.
//!
//! [`Life::step`] is the whole machine, as one table. It is pure: it reads no register and takes no
//! lock, so that the tests can go over every state and every event. The driver's `life` room keeps
//! the one [`Life`] of each controller under a spinlock, feeds it events, and carries out the
//! actions. `Documentation/life-cycle.md` is a rendering of the table, which a test compares.

use core::fmt;

/// State of a controller, as sysfs shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// The driver starts the controller for the first time; no request can come yet.
    New = 0,
    /// The controller takes commands.
    Live = 1,
    /// The controller is stopped, and the driver will start it again; requests wait.
    Resetting = 2,
    /// The driver lets go of the controller; requests fail. No event leads out of this state.
    Deleting = 3,
    /// The driver gave the controller up; requests fail at once. Only a removal leads out.
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

    /// The state's name, as sysfs has it.
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

/// What keeps a stopped controller stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// Nothing: it is at work, or the reset task starts it again.
    None,
    /// The bus recovers from an error, and will say when that is over.
    Bus,
    /// The system sleeps or shuts down, or the bus resets the function; `resume` ends it.
    System,
}

/// Why a controller is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// User space asked for it.
    Asked,
    /// The bus reported an error.
    BusError,
    /// A command was not completed in time, and could not be aborted.
    TimedOut,
    /// The controller reports a fatal error, or does not answer.
    Fatal,
}

impl Cause {
    /// The words for a core dump.
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

/// What happens to a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The start sequence succeeded.
    Started,
    /// The start sequence failed; `bus_error` if the bus blocks the way to the controller.
    StartFailed {
        /// The bus recovers from an error, and will say when that is over.
        bus_error: bool,
    },
    /// Somebody wants a reset.
    ResetWanted(Cause),
    /// The reset task runs; `blocked` if the bus blocks the way to the controller.
    ResetRuns {
        /// The bus recovers from an error.
        blocked: bool,
    },
    /// The system, or the bus before it resets the function, wants the controller stopped.
    Suspend {
        /// The system goes to sleep: no request may stay in flight.
        sleep: bool,
        /// The bus recovers from an error.
        blocked: bool,
    },
    /// Requests stayed in flight, so that the system can't sleep.
    NotIdle,
    /// The system, or the bus, wants the controller back.
    Resume {
        /// The bus recovers from an error.
        blocked: bool,
    },
    /// The bus blocks the way to the controller after an error.
    BusFrozen,
    /// The bus has recovered.
    BusRecovered,
    /// The bus gave the device up; `works` if this device still answers and is ready.
    BusLost {
        /// The way to the device isn't blocked, and it is there.
        reachable: bool,
        /// It is ready and reports no fatal error.
        works: bool,
    },
    /// The driver is unbound, or the device is gone (`present` says which).
    Removed {
        /// The device answers.
        present: bool,
    },
}

/// What the driver has to do, in the order in which a step names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Queue the reset task.
    QueueReset,
    /// Freeze the disks' queues, and wait a bounded time for requests in flight. Before a sleep,
    /// requests that stay in flight are [`Event::NotIdle`].
    FreezeDisks,
    /// Thaw the disks' queues.
    ThawDisks,
    /// Quiesce the block layer, stop the controller, and give its requests back to the block layer:
    /// requeued, or retried where the cause blames them. A core dump is made on the way.
    StopForReset,
    /// Quiesce the block layer, shut the controller down in order, and requeue what is left.
    ShutDown,
    /// Quiesce the block layer, stop the controller, and end its requests with an error.
    FailRequests,
    /// Run the start sequence; it ends in [`Event::Started`] or [`Event::StartFailed`].
    Start,
    /// Open the queues and unquiesce the block layer.
    ReleaseRequests,
    /// Hand the core dump to user space.
    SubmitDump,
    /// Queue the scan of the namespaces.
    Scan,
    /// Mark the disks dead: file systems learn that their disk is gone.
    MarkDisksDead,
    /// Cancel the controller's tasks, and wait for them.
    CancelTasks,
    /// Remove the disks; file systems write back what they have if the controller still works.
    RemoveDisks,
}

/// Where a controller is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// The state that sysfs shows.
    pub state: State,
    /// What keeps the controller stopped, while it is resetting.
    pub pause: Pause,
    /// The reset that somebody wants and that has not begun.
    pub wanted: Option<Cause>,
}

/// The way that an event leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where the controller is now.
    pub life: Life,
    /// What the driver has to do, in this order.
    pub actions: &'static [Action],
}

/// The event makes no sense where the controller is, or comes too late. Nothing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub State);

impl Life {
    /// A controller that the driver has just found.
    pub const NEW: Self = Self {
        state: State::New,
        pause: Pause::None,
        wanted: None,
    };

    /// Where `event` leads from here, and what the driver has to do on the way.
    ///
    /// # Errors
    ///
    /// [`Refused`], with the state, for an event that makes no sense here or comes too late.
    pub const fn step(self, event: Event) -> Result<Step, Refused> {
        use Action::*;
        use Event::*;
        use State::{
            Dead,
            Deleting,
            Live,
            New,
            Resetting, //
        };

        // The tasks may let requests in again until they are cancelled.
        const ABANDON: &[Action] = &[
            FailRequests,
            CancelTasks,
            FailRequests,
            MarkDisksDead,
            RemoveDisks,
        ];
        const GIVE_UP: &[Action] = &[FailRequests, MarkDisksDead, SubmitDump];
        const LOSE: &[Action] = &[FailRequests, MarkDisksDead, SubmitDump, ThawDisks];
        const NO: Pause = Pause::None;
        const UP: &[Action] = &[Start, ThawDisks];

        let Self {
            state,
            pause,
            wanted,
        } = self;
        #[rustfmt::skip]
        let (state, pause, wanted, actions): (_, _, _, &'static [Action]) = match (event, state, pause) {
            // The start sequence has ended.
            (Started, New | Resetting, NO) => (Live, NO, None, &[ReleaseRequests, SubmitDump, Scan]),
            (StartFailed { .. }, New, NO) => (New, NO, None, &[]),
            (StartFailed { bus_error: true }, Resetting, NO) => (Resetting, Pause::Bus, None, &[StopForReset]),
            (StartFailed { bus_error: false }, Resetting, NO) => (Dead, NO, None, GIVE_UP),
            // A removal began meanwhile, and waits for this.
            (Started | StartFailed { .. }, Deleting, _) => (Deleting, NO, None, &[FailRequests]),

            // A reset: the first who wants one gets it, and the task does it.
            (ResetWanted(cause), Live, NO) => (Resetting, NO, Some(cause), &[QueueReset]),
            // The bus will say how it goes on.
            (ResetRuns { blocked: true }, Resetting, NO) => (Resetting, NO, wanted, &[]),
            (ResetRuns { blocked: false }, Resetting, NO) if wanted.is_some() =>
                (Resetting, NO, None, &[StopForReset, Start]),

            // The system, or the bus before a reset of the function. A reset that is wanted and has not
            // begun is done by this.
            (Suspend { sleep: true, blocked: true }, ..) => return Err(Refused(state)),
            (Suspend { .. }, Live | Resetting, NO) => (Resetting, Pause::System, wanted, &[FreezeDisks, ShutDown]),
            // Stopped already; the end of a bus error doesn't start it any more.
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
            // The bus gave up another device's error; this device still works, or its reset will tell.
            (BusLost { reachable: true, works: true }, Live, NO) => (Live, NO, None, &[]),
            (BusLost { reachable: true, .. }, Resetting, NO) => (Resetting, NO, wanted, &[]),
            (BusLost { .. }, Live | Resetting, _) => (Dead, NO, None, LOSE),
            (BusLost { .. }, New | Deleting | Dead, _) => (state, NO, None, LOSE),

            // The end.
            (Removed { present: true }, Live, _) => (Deleting, NO, None, &[CancelTasks, RemoveDisks, ShutDown]),
            (Removed { .. }, New | Live | Resetting | Dead, _) => (Deleting, NO, None, ABANDON),

            _ => return Err(Refused(state)),
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
}
