// SPDX-License-Identifier: GPL-2.0

//! Tests of `host::life`: every state with every event; compares Documentation/life-cycle.md with
//! the table.

use nvme_proto::host::life::{
    Action::{
        self,
        *, //
    },
    Cause,
    Event::{
        self,
        *, //
    },
    InvalidState,
    Life,
    Pause,
    Refused,
    State::{
        self,
        *, //
    },
    Step, //
};
use proptest::prelude::*;
use std::{
    collections::BTreeSet,
    fmt::Write, //
};

const CAUSES: [Cause; 4] = [Cause::Asked, Cause::BusError, Cause::TimedOut, Cause::Fatal];
const BOOLS: [bool; 2] = [false, true];

/// Every event, with each of its values.
fn events() -> Vec<Event> {
    let mut all = vec![Started, NotIdle, BusFrozen, BusRecovered];
    all.extend(CAUSES.map(ResetWanted));
    for a in BOOLS {
        all.push(StartFailed { bus_error: a });
        all.push(ResetRuns { blocked: a });
        all.push(Resume { blocked: a });
        all.push(Removed { present: a });
        for b in BOOLS {
            all.push(Suspend {
                sleep: a,
                blocked: b,
            });
            all.push(BusLost {
                reachable: a,
                works: b,
            });
        }
    }
    all
}

/// Every combination of the fields of a life, reachable or not.
fn lives() -> Vec<Life> {
    let mut all = vec![];
    for state in State::ALL {
        for pause in [Pause::None, Pause::Bus, Pause::System] {
            for wanted in CAUSES.map(Some).into_iter().chain([None]) {
                all.push(Life {
                    state,
                    pause,
                    wanted,
                });
            }
        }
    }
    all
}

/// Every life that a new controller can reach, in the order in which the search finds it.
fn reached() -> Vec<Life> {
    let mut all = vec![Life::NEW];
    let mut at = 0;
    while let Some(life) = all.get(at).copied() {
        at += 1;
        for event in events() {
            if let Ok(step) = life.step(event) {
                if !all.contains(&step.life) {
                    all.push(step.life);
                }
            }
        }
    }
    all
}

fn has(step: &Step, action: Action) -> bool {
    step.actions.contains(&action)
}

/// The transitions between states by any event: rows of states, columns of next states.
#[rustfmt::skip]
const WAYS: [(State, [u8; 5]); 5] = [
    //           new live resetting deleting dead
    (New,       [1,  1,   0,        1,       0]),
    (Live,      [0,  1,   1,        1,       1]),
    (Resetting, [0,  1,   1,        1,       1]),
    (Deleting,  [0,  0,   0,        1,       0]),
    (Dead,      [0,  0,   0,        1,       1]),
];

#[test]
fn ways_between_states() {
    for (from, row) in WAYS {
        let mut found = [0; 5];
        for life in lives().into_iter().filter(|life| life.state == from) {
            for event in events() {
                if let Ok(step) = life.step(event) {
                    found[step.life.state.as_u32() as usize] = 1;
                }
            }
        }
        assert_eq!(found, row, "{from}");
    }
}

/// Invariants of every step from every reachable life.
#[test]
fn every_step() {
    for life in reached() {
        for event in events() {
            let step = match life.step(event) {
                Ok(step) => step,
                Err(Refused(state)) => {
                    assert_eq!(state, life.state);
                    continue;
                }
            };
            let (next, what) = (step.life, format!("{life:?} {event:?} {step:?}"));

            // Only a resetting controller can be paused, and can have a reset that is wanted.
            if next.pause != Pause::None {
                assert!(matches!(next.state, Resetting), "{what}");
            }
            if next.wanted.is_some() {
                assert_eq!(next.state, Resetting, "{what}");
            }
            // A controller starts only while it is resetting and not paused, and requests reach
            // only a live controller.
            if has(&step, Start) {
                assert_eq!((next.state, next.pause), (Resetting, Pause::None), "{what}");
            }
            assert_eq!(
                has(&step, ReleaseRequests),
                event == Started && next.state == Live,
                "{what}"
            );
            // A wanted reset is queued by the event that requests it, and by a failed suspend.
            assert_eq!(
                has(&step, QueueReset),
                next.wanted.is_some() && matches!(event, ResetWanted(_) | NotIdle),
                "{what}"
            );
            // A step out of Live takes the requests from the controller, at once or by the task.
            if life.state == Live && next.state != Live {
                let stops = [StopForReset, ShutDown, FailRequests, QueueReset];
                assert!(stops.iter().any(|a| has(&step, *a)), "{what}");
            }
            // Marking a disk dead waits for its file system, which may wait for another frozen
            // disk.
            let at = |action| step.actions.iter().position(|a| *a == action);
            if let Some(dead) = at(MarkDisksDead) {
                assert!(at(ThawDisks).is_some_and(|thaw| thaw < dead), "{what}");
            }
            // A step to Dead fails the requests in flight, and marks the disks dead.
            if next.state == Dead && life.state != Dead {
                assert!(
                    has(&step, FailRequests) && has(&step, MarkDisksDead),
                    "{what}"
                );
            }
            // A removal cancels the tasks and removes the disks.
            if life.state != Deleting && next.state == Deleting {
                assert!(has(&step, CancelTasks) && has(&step, RemoveDisks), "{what}");
            }
            // The step that ends the pause for the system thaws the disks.
            if life.pause == Pause::System && next.pause == Pause::None && next.state != Deleting {
                assert!(has(&step, ThawDisks), "{what}");
            }
        }
    }
}

/// Of several requests for a reset, the first causes a reset, and the others are refused.
#[test]
fn one_reset() {
    let live = Life {
        state: Live,
        ..Life::NEW
    };
    for cause in CAUSES {
        let first = live.step(ResetWanted(cause)).unwrap();
        assert_eq!(first.life.wanted, Some(cause));
        for other in CAUSES {
            assert_eq!(first.life.step(ResetWanted(other)), Err(Refused(Resetting)));
        }
        let runs = first.life.step(ResetRuns { blocked: false }).unwrap();
        assert_eq!(runs.actions, [StopForReset, Start]);
        // If the task runs once more, it has nothing to do.
        assert_eq!(
            runs.life.step(ResetRuns { blocked: false }),
            Err(Refused(Resetting))
        );
        assert_eq!(runs.life.step(Started).unwrap().life, live);
    }
}

/// If the system goes to sleep before a wanted reset begins, the resume does the reset. If the
/// system can't sleep, the reset is queued again.
#[test]
fn reset_and_sleep() {
    let sleep = Suspend {
        sleep: true,
        blocked: false,
    };
    let live = Life {
        state: Live,
        ..Life::NEW
    };
    let wanted = live.step(ResetWanted(Cause::Fatal)).unwrap().life;
    let asleep = wanted.step(sleep).unwrap().life;
    assert_eq!(
        asleep.step(ResetRuns { blocked: false }),
        Err(Refused(Resetting))
    );

    let busy = asleep.step(NotIdle).unwrap();
    assert_eq!(busy.life, wanted);
    assert!(has(&busy, QueueReset));

    let awake = asleep.step(Resume { blocked: false }).unwrap();
    assert_eq!(
        (awake.life.wanted, awake.actions),
        (None, &[Start, ThawDisks][..])
    );
}

proptest! {
    #![proptest_config(super::cases(2000))]

    /// After any sequence of events, a removal is final, and before a removal, a controller that
    /// isn't dead can become live again.
    #[test]
    fn no_dead_end(path in proptest::collection::vec(0..events().len(), 0..40)) {
        let all = events();
        let mut life = Life::NEW;
        for event in path.iter().filter_map(|i| all.get(*i)) {
            if let Ok(step) = life.step(*event) {
                life = step.life;
            }
        }
        if !matches!(life.state, Deleting | Dead) {
            let mut now = life;
            for event in [
                BusRecovered,
                Resume { blocked: false },
                ResetRuns { blocked: false },
                Started,
            ] {
                now = now.step(event).map_or(now, |step| step.life);
            }
            prop_assert_eq!(now.state, Live, "from {:?}", life);
        }
        if life.state != Deleting {
            life = life.step(Removed { present: true }).unwrap().life;
        }
        for event in events() {
            if let Ok(step) = life.step(event) {
                prop_assert_eq!(step.life.state, Deleting);
                prop_assert!(!has(&step, Start));
            }
        }
    }
}

#[test]
fn names_and_numbers() {
    let names: Vec<_> = State::ALL.iter().map(State::to_string).collect();
    assert_eq!(names, ["new", "live", "resetting", "deleting", "dead"]);
    // Padding works, for tables.
    assert_eq!(format!("{Live:>6}|{Dead:<6}|"), "  live|dead  |");
    for (number, state) in (0u32..).zip(State::ALL) {
        assert_eq!(state.as_u32(), number);
        assert_eq!(State::try_from(number), Ok(state));
    }
    for number in [5, 6, 255, 256, u32::MAX] {
        assert_eq!(State::try_from(number), Err(InvalidState(number)));
    }
}

/// Documentation/life-cycle.md is the rendered table. `UPDATE=1` rewrites the file.
#[test]
fn documentation() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../Documentation/life-cycle.md"
    );
    let text = render();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == text,
        "Documentation/life-cycle.md isn't the table of nvme/host/life.rs: run UPDATE=1 make test-host"
    );
}

fn name(life: Life) -> String {
    let mut name = format!("**{}**", life.state);
    match life.pause {
        Pause::None => {}
        Pause::Bus => name += ", paused for the bus",
        Pause::System => name += ", paused for the system",
    }
    if life.wanted.is_some() {
        name += ", a reset is wanted";
    }
    name
}

fn words(camel: &str) -> String {
    let mut text = String::new();
    for c in camel.chars() {
        if c.is_uppercase() && !text.is_empty() {
            text.push(' ');
        }
        text.extend(c.to_lowercase());
    }
    text
}

fn render() -> String {
    let mut text = String::from(
        "<!-- SPDX-License-Identifier: GPL-2.0 -->\n\
         <!-- Written by nvme/tests/protocol/life.rs from the table in nvme/host/life.rs. -->\n\n\
         # The life cycle of a controller\n\n\
         `Life::step` in [nvme/host/life.rs](../nvme/host/life.rs) decides what an event leads to; the\n\
         driver carries out the actions in the order given. An event that a table doesn't list is\n\
         refused there.\n",
    );
    let mut seen = BTreeSet::new();
    for life in reached() {
        // The cause makes no difference to the transition.
        let title = name(life);
        if !seen.insert(title.clone()) {
            continue;
        }
        write!(
            text,
            "\n## {title}\n\n| event | then | actions |\n|---|---|---|\n"
        )
        .unwrap();
        for (event, step) in rows(life) {
            let actions: Vec<_> = step
                .actions
                .iter()
                .map(|a| words(&format!("{a:?}")))
                .collect();
            let actions = match actions.is_empty() {
                true => "–".into(),
                false => actions.join(", "),
            };
            writeln!(text, "| {event} | {} | {actions} |", name(step.life)).unwrap();
        }
    }
    text
}

/// The events that `life` accepts; events that differ only in a value are one row if their steps
/// are equal.
fn rows(life: Life) -> Vec<(String, Step)> {
    let mut rows: Vec<(String, Step)> = vec![];
    for (title, variants) in [
        ("started", vec![("", Started)]),
        (
            "start failed",
            flags(
                |bus_error| StartFailed { bus_error },
                "no bus error",
                "bus error",
            ),
        ),
        ("reset wanted", vec![("", ResetWanted(Cause::Asked))]),
        (
            "reset task runs",
            flags(|blocked| ResetRuns { blocked }, "bus open", "bus blocked"),
        ),
        (
            "suspend for a sleep",
            flags(
                |blocked| Suspend {
                    sleep: true,
                    blocked,
                },
                "bus open",
                "bus blocked",
            ),
        ),
        (
            "suspend for a reset or shutdown",
            flags(
                |blocked| Suspend {
                    sleep: false,
                    blocked,
                },
                "bus open",
                "bus blocked",
            ),
        ),
        ("requests stay in flight", vec![("", NotIdle)]),
        (
            "resume",
            flags(|blocked| Resume { blocked }, "bus open", "bus blocked"),
        ),
        ("the bus freezes", vec![("", BusFrozen)]),
        ("the bus has recovered", vec![("", BusRecovered)]),
        (
            "the bus gives up",
            vec![
                (
                    "unreachable",
                    BusLost {
                        reachable: false,
                        works: false,
                    },
                ),
                (
                    "reachable, failed",
                    BusLost {
                        reachable: true,
                        works: false,
                    },
                ),
                (
                    "reachable, works",
                    BusLost {
                        reachable: true,
                        works: true,
                    },
                ),
            ],
        ),
        (
            "removed",
            flags(|present| Removed { present }, "gone", "present"),
        ),
    ] {
        let steps: Vec<_> = variants
            .into_iter()
            .map(|(v, e)| (v, life.step(e).ok()))
            .collect();
        let same = steps.windows(2).all(|two| two[0].1 == two[1].1);
        for (variant, step) in steps {
            let Some(step) = step else { continue };
            if same {
                rows.push((title.into(), step));
                break;
            }
            rows.push((format!("{title} ({variant})"), step));
        }
    }
    rows
}

fn flags(
    event: impl Fn(bool) -> Event,
    off: &'static str,
    on: &'static str,
) -> Vec<(&'static str, Event)> {
    vec![(off, event(false)), (on, event(true))]
}
