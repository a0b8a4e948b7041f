// SPDX-License-Identifier: GPL-2.0

//! The lock-free pieces in every interleaving. Data that a piece hands from one context to another
//! are in loom's cells: if the piece didn't order the accesses, loom would report a race.

mod common;

use atomic::{
    call::Call,
    claim::Claim,
    gate::Gate,
    handover::Handover,
    once::Once,
    rerun::RerunLock,
    slot::{
        Slot,
        NUMBER_MASK, //
    },
    word::Word, //
};
use common::{
    with,
    Owned, //
};
use loom::{
    model::{
        model,
        Builder, //
    },
    sync::{
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{
                Acquire,
                Relaxed,
                Release, //
            },
        },
        Arc,
        Mutex, //
    }, //
};

/// As [`model`], for three contexts, with three preemptions at most.
fn bounded_model(f: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(f);
}

/// A point in each of two threads, which loom passes in either order.
///
/// loom 0.7 doesn't run an access before that of another thread if its own thread has loaded the same
/// atomic in between, as the pieces do before an exchange. So where a whole call is to come before
/// another, its thread passes the turn after it, and the other thread before.
struct Turn(AtomicUsize);

impl Turn {
    fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    fn pass(&self) {
        // Relaxed, so that it orders nothing.
        self.0.swap(0, Relaxed);
    }
}

/// A completion queue: entries that are written before the trigger, and how many the last pass found.
struct Reaper {
    lock: RerunLock<usize>,
    entries: [AtomicBool; 3],
}

impl Reaper {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            lock: RerunLock::new(0),
            entries: std::array::from_fn(|_| AtomicBool::new(false)),
        })
    }

    /// As a device's interrupt: writes entry `i`, and triggers.
    fn trigger(&self, i: usize) {
        // Not an exchange, which would see the last value whatever the lock orders.
        self.entries[i].store(true, Relaxed);
        self.reap();
    }

    fn reap(&self) {
        let Some(mut inside) = self.lock.enter() else {
            return;
        };
        loop {
            *inside.value() = self
                .entries
                .iter()
                .filter(|entry| entry.load(Relaxed))
                .count();
            match inside.leave() {
                Some(again) => inside = again,
                None => return,
            }
        }
    }

    /// Checks, after the last trigger, that a pass has seen all entries, and that the lock is free.
    fn check(&self, reaped: usize) {
        let mut inside = self.lock.enter().unwrap();
        assert_eq!(*inside.value(), reaped);
        assert!(inside.leave().is_none());
    }
}

#[test]
fn rerun_loses_no_trigger() {
    model(|| {
        let reaper = Reaper::new();
        let other = with(&reaper, |r| r.trigger(1));
        reaper.trigger(0);
        other.join().unwrap();
        reaper.check(2);
    });
}

/// With a third context, whose trigger may find those of the other two.
#[test]
fn rerun_loses_no_trigger_of_three() {
    bounded_model(|| {
        let reaper = Reaper::new();
        let first = with(&reaper, |r| r.trigger(1));
        let second = with(&reaper, |r| r.trigger(2));
        reaper.trigger(0);
        first.join().unwrap();
        second.join().unwrap();
        reaper.check(3);
    });
}

/// A context that resets the ring alone, and drops its guard, which ignores triggers.
#[test]
fn rerun_has_one_owner() {
    model(|| {
        let reaper = Reaper::new();
        let other = with(&reaper, |r| r.trigger(0));
        let alone = reaper.lock.enter().map(|mut inside| *inside.value() = 10);
        other.join().unwrap();
        if alone.is_some() {
            // The trigger may be lost.
            reaper.reap();
        }
        reaper.check(1);
    });
}

/// A table with one slot, and the requests whose tag it is. Only the owner of a request accesses
/// it.
struct Table<const CLAIMABLE: bool = false> {
    slot: Slot<Owned<u32>, CLAIMABLE>,
    requests: [Owned<u32>; 2],
    taken: AtomicUsize,
}

impl<const CLAIMABLE: bool> Table<CLAIMABLE> {
    const NUMBER: u16 = 5;

    fn new() -> Arc<Self> {
        Arc::new(Self {
            slot: Slot::new(Self::NUMBER),
            requests: [Owned::new(0), Owned::new(0)],
            taken: AtomicUsize::new(0),
        })
    }

    /// Puts request `i` in, of which this context is the owner.
    fn put(&self, i: usize) -> u16 {
        self.requests[i].access(|value| *value += 1);
        self.slot
            .put(std::ptr::from_ref(&self.requests[i]).cast_mut())
    }

    /// As a completion: ends the request that was taken out; returns which it was.
    fn end(&self, item: Option<*mut Owned<u32>>) -> Option<usize> {
        let item = item?;
        assert!(!item.is_null(), "not what was put in");
        // SAFETY: `put` put in a pointer to a request of this table.
        let count = unsafe { &*item }.access(|value| {
            *value += 10;
            *value
        });
        assert_eq!(count, 11, "ended twice, or not what was put in");
        self.taken.fetch_add(1, Relaxed);
        (0..2).find(|i| std::ptr::eq(item, &self.requests[*i]))
    }
}

/// A completion, a duplicate of it, and a reset that takes everything, while a time-out marks the
/// request: it has one owner.
#[test]
fn slot_has_one_owner() {
    model(|| {
        let table = <Table>::new();
        let id = table.put(0);
        assert_eq!(id & NUMBER_MASK, <Table>::NUMBER);
        let completion = with(&table, move |t| t.end(t.slot.take(id)));
        let timeout = with(&table, move |t| t.slot.mark(id));
        let reset = table.end(table.slot.take_any());
        let completion = completion.join().unwrap();
        timeout.join().unwrap();

        assert!(completion.is_some() != reset.is_some());
        assert_eq!(table.taken.load(Relaxed), 1);
        assert_eq!(table.slot.id(), None);
        assert!(!table.slot.mark(id) && table.slot.take_any().is_none());
    });
}

/// A reset takes a request while it is put in: it sees all of it, or nothing.
#[test]
fn slot_orders_its_item() {
    model(|| {
        let table = <Table>::new();
        let reset = with(&table, |t| t.end(t.slot.take_any()));
        let id = table.put(0);
        let completion = table.end(table.slot.take(id));
        assert!(reset.join().unwrap().is_some() != completion.is_some());
    });
}

/// The mark, set at any time, doesn't make a completion miss its request.
#[test]
fn slot_mark_hides_nothing() {
    model(|| {
        let table = <Table>::new();
        let id = table.put(0);
        let timeout = with(&table, move |t| [t.slot.mark(id), t.slot.mark(id)]);
        assert_eq!(table.end(table.slot.take(id)), Some(0));
        let [first, second] = timeout.join().unwrap();
        assert!(!second, "marked twice, first {first}");
    });
}

/// A request ends, and its tag is used again, while a completion of the first use comes late: it
/// takes nothing, or what it belongs to.
#[test]
fn slot_has_no_stale_take() {
    model(|| {
        let table = <Table>::new();
        let old = table.put(0);
        let late = with(&table, move |t| t.end(t.slot.take(old)));
        let mut second = None;
        if table.end(table.slot.take(old)).is_some() {
            // The owner of the tag uses it again.
            let new = table.put(1);
            assert_ne!(new, old);
            second = Some(new);
        }
        let late = late.join().unwrap();

        match second {
            Some(new) => {
                assert_eq!(late, None, "took a request of the tag's next use");
                assert_eq!(table.slot.id(), Some(new));
                assert_eq!(table.end(table.slot.take(new)), Some(1));
            }
            None => assert_eq!(late, Some(0)),
        }
    });
}

/// Two contexts want the slot: one at a time has it, and each request comes out once.
#[test]
fn slot_is_claimed_by_one() {
    model(|| {
        let table = Table::<true>::new();
        let other = with(&table, |t| t.slot.claim().then(|| t.put(1)));
        let own = table.slot.claim().then(|| {
            let id = table.put(0);
            assert_eq!(table.end(table.slot.take(id)), Some(0));
            id
        });
        let other = other.join().unwrap();

        assert!(own.is_some() || other.is_some());
        assert_ne!(own, other);
        assert_eq!(table.slot.id(), other);
        assert_eq!(table.slot.is_free(), other.is_none());
        assert_eq!(table.end(table.slot.take_any()), other.map(|_| 1));
        assert!(table.slot.is_free());
    });
}

/// What is done before a request is put in, is seen by all who see its identifier: as the key of a
/// request on the detour.
#[test]
fn slot_orders_its_key() {
    model(|| {
        let slot = Slot::<u32, true>::new(3);
        let shared = Arc::new((slot, AtomicUsize::new(0), Turn::new()));
        let putter = with(&shared, |(slot, key, turn)| {
            assert!(slot.claim());
            key.store(7, Relaxed);
            slot.put(std::ptr::null_mut());
            turn.pass();
        });
        let (slot, key, turn) = &*shared;
        turn.pass();
        if slot.id().is_some() {
            assert_eq!(key.load(Relaxed), 7);
        }
        putter.join().unwrap();
    });
}

/// What is done with an item before it is taken out, is done when the slot is free or claimed.
#[test]
fn slot_is_handed_on() {
    for claims in [false, true] {
        model(move || {
            let shared = Arc::new((Slot::<u32, true>::new(3), Owned::new(0)));
            let (slot, data) = &*shared;
            assert!(slot.claim());
            let id = slot.put(std::ptr::null_mut());
            let taker = with(&shared, move |(slot, data)| {
                data.access(|data| *data += 1);
                assert!(slot.take(id).is_some());
            });
            if claims && slot.claim() || !claims && slot.is_free() {
                data.access(|data| assert_eq!(*data, 1));
            }
            taker.join().unwrap();
        });
    }
}

/// A queue of the admin queue's kind: closed under the lock that also guards submission.
struct Admin {
    call: Call,
    open: Mutex<bool>,
    /// As `struct completion`: wake-ups that weren't consumed.
    woken: AtomicUsize,
    buffer: Owned<u64>,
    turn: Turn,
}

impl Admin {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            call: Call::new(),
            open: Mutex::new(true),
            woken: AtomicUsize::new(0),
            buffer: Owned::new(0),
            turn: Turn::new(),
        })
    }

    /// Submits a command; false if the queue is closed, or the call isn't free.
    fn submit(&self) -> bool {
        if self.call.reserve().is_none() {
            return false;
        }
        let open = self.open.lock().unwrap();
        if !*open {
            self.call.release();
            return false;
        }
        self.call.start();
        true
    }

    fn complete(&self, result: u64, status: u16) -> bool {
        let ended = self.call.end(self.call.generation(), result, status);
        if ended {
            self.woken.fetch_add(1, Relaxed);
        }
        ended
    }

    /// The caller gives up, and leaves its buffer behind, under a lock.
    fn abandon(&self) -> bool {
        let _lock = self.open.lock().unwrap();
        let abandoned = self.call.abandon();
        if abandoned {
            self.buffer.access(|data| *data = 1);
        }
        abandoned
    }

    /// As a reset: no command is submitted later, and each that was is ended.
    fn cancel(&self) -> bool {
        *self.open.lock().unwrap() = false;
        self.call.reclaim() || self.complete(0, 7)
    }
}

/// A completion against a reset: one of them ends the command, and the caller gets the result of
/// that one, whole.
#[test]
fn call_ends_once() {
    model(|| {
        let admin = Admin::new();
        assert!(admin.submit());
        let completion = with(&admin, |a| {
            a.buffer.access(|data| *data = 42);
            a.complete(1, 0)
        });
        let reset = with(&admin, Admin::cancel);
        // The caller sees the result at any time from DONE on.
        let early = admin.call.take();
        let (completed, cancelled) = (completion.join().unwrap(), reset.join().unwrap());

        assert!(completed != cancelled);
        let result = early.or_else(|| admin.call.take());
        assert_eq!(result, Some(if completed { (1, 0) } else { (0, 7) }));
        assert_eq!(admin.woken.load(Relaxed), 1);
        assert!(admin.call.reserve().is_some());
    });
}

/// The caller sees the data of a command whose result it sees.
#[test]
fn call_orders_its_data() {
    model(|| {
        let admin = Admin::new();
        assert!(admin.submit());
        let completion = with(&admin, |a| {
            a.buffer.access(|data| *data = 42);
            assert!(a.complete(1, 0));
            a.turn.pass();
        });
        admin.turn.pass();
        if admin.call.take().is_some() {
            assert_eq!(admin.buffer.access(|data| *data), 42);
        }
        completion.join().unwrap();
    });
}

/// The caller's time is up while the command completes: abandoned and reclaimed by the next reset,
/// or completed with one wake-up. Never both.
#[test]
fn call_is_abandoned_or_done() {
    model(|| {
        let admin = Admin::new();
        assert!(admin.submit());
        let completion = with(&admin, |a| a.complete(1, 0));
        let abandoned = admin.call.abandon();
        let completed = completion.join().unwrap();

        assert!(abandoned != completed);
        assert_eq!(admin.woken.load(Relaxed), usize::from(completed));
        if abandoned {
            assert!(admin.call.take().is_none() && !admin.submit());
            assert!(admin.cancel());
        } else {
            assert_eq!(admin.call.take(), Some((1, 0)));
        }
        assert!(admin.call.reserve().is_some());
    });
}

/// The answer to an abandoned call frees it, once, and its next user finds the buffer.
#[test]
fn call_is_freed_by_a_late_answer() {
    model(|| {
        let admin = Admin::new();
        assert!(admin.submit());
        let device = with(&admin, |a| a.complete(1, 0) || a.call.end_late(1));
        let abandoned = admin.abandon();
        let next = with(&admin, move |a| {
            // `submit` takes the lock.
            let free = a.submit();
            (
                free,
                free && abandoned && a.buffer.access(|data| *data) == 1,
            )
        });
        let answered = device.join().unwrap();
        let (free, found) = next.join().unwrap();
        assert!(!abandoned || free == found);
        if abandoned && answered {
            assert!(free || admin.submit());
            assert!(!admin.call.end_late(1));
        }
        if !abandoned {
            assert!(answered && admin.call.take() == Some((1, 0)));
        }
    });
}

/// The context that takes an abandoned call back has what its caller left.
#[test]
fn call_orders_what_is_abandoned() {
    model(|| {
        let admin = Admin::new();
        assert!(admin.submit());
        let reset = with(&admin, |a| {
            let reclaimed = a.call.reclaim();
            if reclaimed {
                a.buffer.access(|data| assert_eq!(*data, 1));
            }
            reclaimed
        });
        admin.buffer.access(|data| *data = 1);
        assert!(admin.call.abandon());
        assert!(reset.join().unwrap() || admin.call.reclaim());
    });
}

/// A call that is free again is done with.
#[test]
fn call_is_handed_on() {
    model(|| {
        let admin = Admin::new();
        assert!(admin.call.reserve().is_some());
        let user = with(&admin, |a| {
            a.buffer.access(|data| *data = 1);
            a.call.release();
            a.turn.pass();
        });
        admin.turn.pass();
        if admin.call.reserve().is_some() {
            admin.buffer.access(|data| assert_eq!(*data, 1));
        }
        user.join().unwrap();
    });
}

/// The context that closed the gate, and was woken, sees what all contexts did inside.
#[test]
fn gate_waits_for_all() {
    struct Guarded {
        gate: Gate,
        woken: AtomicBool,
        data: [Owned<u32>; 2],
    }
    model(move || {
        let shared = Arc::new(Guarded {
            gate: Gate::new(),
            woken: AtomicBool::new(false),
            data: [Owned::new(0), Owned::new(0)],
        });
        assert!(shared.gate.enter() && shared.gate.enter());
        let visitors = [0, 1].map(|i| {
            with(&shared, move |g| {
                g.data[i].access(|data| *data = 1);
                if g.gate.leave() {
                    g.woken.store(true, Release);
                }
            })
        });
        let wait = shared.gate.close();
        if !wait || shared.woken.load(Acquire) {
            for data in &shared.data {
                data.access(|data| *data += 1);
            }
        }
        for visitor in visitors {
            visitor.join().unwrap();
        }
        assert_eq!(shared.woken.load(Relaxed), wait);
    });
}

/// No context is inside after the gate was closed, and exactly one wake-up comes if one was.
#[test]
fn gate_closes_once() {
    bounded_model(|| {
        struct Guarded {
            gate: Gate,
            woken: AtomicUsize,
            inside: AtomicUsize,
            data: Owned<u32>,
        }
        let shared = Arc::new(Guarded {
            gate: Gate::new(),
            woken: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            data: Owned::new(0),
        });
        let visit = |g: &Guarded| {
            let entered = g.gate.enter();
            if entered {
                g.inside.fetch_add(1, Relaxed);
                if g.gate.leave() {
                    g.woken.fetch_add(1, Relaxed);
                }
            }
            entered
        };
        let one = with(&shared, move |g| {
            if g.gate.enter() {
                g.data.access(|data| *data = 1);
                if g.gate.leave() {
                    g.woken.fetch_add(1, Relaxed);
                }
            }
        });
        let two = with(&shared, visit);
        let wait = shared.gate.close();
        if !wait {
            // Whatever was done inside is ordered before this.
            shared.data.access(|data| *data += 1);
        }
        assert!(!shared.gate.enter());
        one.join().unwrap();
        let entered = two.join().unwrap();
        assert_eq!(shared.woken.load(Relaxed), usize::from(wait));
        assert_eq!(shared.inside.load(Relaxed), usize::from(entered));
    });
}

/// A reset finds every command that was submitted, and no command is submitted later.
#[test]
fn call_is_found_by_a_reset() {
    model(|| {
        let admin = Admin::new();
        let caller = with(&admin, Admin::submit);
        let cancelled = admin.cancel();
        let submitted = caller.join().unwrap();

        assert_eq!(submitted, cancelled);
        assert_eq!(admin.call.take(), submitted.then_some((0, 7)));
        assert!(!admin.submit());
    });
}

/// An answer that names a use ends no other one, whenever it comes.
#[test]
fn call_is_ended_by_its_own_answer() {
    model(|| {
        let admin = Admin::new();
        assert!(admin.submit() && admin.complete(1, 0));
        // The first answer comes once more, while the call is used again.
        let device = with(&admin, |a| a.call.end(1, 9, 9) || a.call.end_late(1));
        assert_eq!(admin.call.take(), Some((1, 0)));
        assert!(admin.submit());
        let abandoned = admin.call.abandon();
        assert!(abandoned && !device.join().unwrap());
        assert!(admin.call.take().is_none() && admin.call.end_late(2));
    });
}

/// Two callers and one call.
#[test]
fn call_has_one_caller() {
    model(|| {
        let admin = Admin::new();
        let other = with(&admin, |a| a.call.reserve().is_some());
        let this = admin.call.reserve().is_some();
        assert!(other.join().unwrap() != this);
    });
}

/// Each time a word is armed, it is brought or cleared, once, and each value that was brought is
/// taken once or cleared.
#[test]
fn word_comes_once() {
    model(|| {
        let word = Arc::new(Word::new());
        assert!(word.arm());
        let device = with(&word, |w| u32::from(w.bring(3)) + u32::from(w.bring(4)));
        let reset = with(&word, Word::clear);
        let early = word.take();
        let (brought, cleared) = (device.join().unwrap(), reset.join().unwrap());

        assert_eq!(brought + u32::from(cleared), 1);
        let late = word.take();
        assert!(early.is_none() || late.is_none());
        assert!(early
            .or(late)
            .is_none_or(|value| value == 3 && brought == 1));
        assert!(word.arm());
    });
}

/// The scan takes an event and arms the next one while the next completion comes.
#[test]
fn word_takes_each_value() {
    model(|| {
        let word = Arc::new(Word::new());
        assert!(word.arm());
        let device = with(&word, |w| [w.bring(1), w.bring(2)]);
        let mut taken = Vec::new();
        for _ in 0..2 {
            if let Some(value) = word.take() {
                taken.push(value);
                assert!(word.arm());
            }
        }
        let brought = device.join().unwrap();

        taken.extend(word.take());
        let expected: Vec<_> = (1..3).filter(|i| brought[*i as usize - 1]).collect();
        assert_eq!(taken, expected);
    });
}

/// A reset drops the event that the scan is taking, and arms the next one: that one stays.
#[test]
fn word_stays_armed() {
    model(|| {
        let word = Arc::new(Word::new());
        assert!(word.arm() && word.bring(1));
        let scan = with(&word, Word::take);
        assert!(!word.clear() && word.arm());
        assert!(scan.join().unwrap().is_none_or(|value| value == 1));
        assert!(word.clear());
    });
}

/// An event request that failed is armed again by one of two contexts.
#[test]
fn word_is_armed_by_one() {
    model(|| {
        let word = Arc::new(Word::new());
        assert!(word.arm() && word.fail() && !word.fail());
        let other = with(&word, Word::arm);
        let this = word.arm();
        assert!(other.join().unwrap() != this);
        assert!(word.clear() && !word.clear() && word.take().is_none());
    });
}

/// Data in memory that a value announces, as those of a trial, are seen with it; and what was done
/// before a word is armed is done when it comes.
#[test]
fn word_orders_its_data() {
    model(|| {
        let shared = Arc::new((Word::new(), Owned::new(0)));
        let device = with(&shared, |(word, data)| {
            // As a stray completion, which may come before the word is armed.
            if word.bring(1) {
                data.access(|data| assert_eq!(*data, 1));
            }
        });
        let (word, data) = &*shared;
        data.access(|data| *data = 1);
        assert!(word.arm());
        device.join().unwrap();
    });
    model(|| {
        let shared = Arc::new((Word::new(), Owned::new(0)));
        assert!(shared.0.arm());
        let device = with(&shared, |(word, data)| {
            data.access(|data| *data = 1);
            assert!(word.bring(1));
        });
        let (word, data) = &*shared;
        if word.take().is_some() {
            data.access(|data| assert_eq!(*data, 1));
        }
        device.join().unwrap();
    });
}

/// A reset that clears a word sees what was done before it was armed, and the next context to arm it
/// sees what the reset did.
#[test]
fn word_is_handed_on_by_a_reset() {
    model(|| {
        let shared = Arc::new((Word::new(), Owned::new(0), Owned::new(0)));
        let reset = with(&shared, |(word, armed, reset)| {
            reset.access(|reset| *reset = 1);
            if word.clear() {
                armed.access(|armed| assert_eq!(*armed, 1));
            }
        });
        let (word, armed, reset_data) = &*shared;
        armed.access(|armed| *armed = 1);
        assert!(word.arm());
        // Only if the reset has cleared the word.
        if word.arm() {
            reset_data.access(|reset| assert_eq!(*reset, 1));
        }
        reset.join().unwrap();
    });
}

/// One of two contexts sets a value; a context that sees it sees all of it.
#[test]
fn once_is_set_once() {
    struct Value(Once, Owned<u32>, AtomicBool);

    model(|| {
        let value = Arc::new(Value(Once::new(), Owned::new(0), AtomicBool::new(false)));
        let set = |v: &Value| {
            if v.0.begin() {
                assert!(!v.2.swap(true, Relaxed), "set twice");
                v.1.access(|value| *value = 42);
                v.0.finish();
            }
        };
        let setters = [with(&value, set), with(&value, set)];
        if value.0.is_ready() {
            assert_eq!(value.1.access(|value| *value), 42);
        }
        for setter in setters {
            setter.join().unwrap();
        }
        assert!(value.0.is_ready());
    });
}

#[test]
fn claim_has_one_user() {
    model(|| {
        let claim = Arc::new(Claim::new());
        let other = with(&claim, |claim| claim.admits(4));
        let (mine, others) = (claim.admits(2), other.join().unwrap());
        assert!(mine != others);
        let (user, refused) = if mine { (2, 4) } else { (4, 2) };
        assert!(claim.admits(user) && !claim.admits(refused));
    });
}

/// A refusal is not lost, and the claim stays, also if a user comes at the same time.
#[test]
fn claim_refuses_beside_a_user() {
    model(|| {
        let claim = Arc::new(Claim::new());
        let other = with(&claim, |claim| claim.admits(2));
        claim.refuse(true);
        let was_first = other.join().unwrap();
        assert!(!claim.admits(2) && !claim.admits(4));
        claim.refuse(false);
        assert_eq!(claim.admits(4), !was_first);
    });
}

#[test]
fn claim_refuses_beside_a_release() {
    for refuses in [false, true] {
        model(move || {
            let claim = Arc::new(Claim::new());
            assert!(claim.admits(2));
            claim.refuse(!refuses);
            let other = with(&claim, |claim| claim.release(|user| user == 2));
            claim.refuse(refuses);
            other.join().unwrap();
            assert!(claim.suits(4));
            assert_eq!(claim.admits(4), !refuses);
        });
    }
}

#[test]
fn handover_has_one_owner() {
    model(|| {
        // The data of the command, and those of the context that waits.
        let shared = Arc::new((Handover::new(), Owned::new(0), Owned::new(0)));
        let ender = with(&shared, |(handover, data, waiting)| {
            data.access(|data| *data += 1);
            let is_owner = handover.end(7);
            if is_owner {
                data.access(|data| *data += 10);
                waiting.access(|data| *data += 10);
            }
            is_owner
        });
        let (handover, data, waiting) = &*shared;
        waiting.access(|data| *data += 1);
        let has_left = handover.leave();
        if !has_left {
            data.access(|data| *data += 10);
            waiting.access(|data| *data += 10);
            assert_eq!(handover.status(), Some(7));
        }
        assert_eq!(ender.join().unwrap(), has_left);
        data.access(|data| assert_eq!(*data, 11));
        waiting.access(|data| assert_eq!(*data, 11));
    });
}

/// The context that waits finds the end by the status.
#[test]
fn handover_waits() {
    model(|| {
        let shared = Arc::new((Handover::new(), Owned::new(0)));
        let ender = with(&shared, |(handover, data)| {
            data.access(|data| *data += 1);
            assert!(!handover.end(0));
        });
        let (handover, data) = &*shared;
        if let Some(status) = handover.status() {
            assert_eq!(status, 0);
            data.access(|data| assert_eq!(*data, 1));
        }
        ender.join().unwrap();
        assert_eq!(handover.status(), Some(0));
    });
}
