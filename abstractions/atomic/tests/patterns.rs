// SPDX-License-Identifier: GPL-2.0

//! Orderings of the driver and the abstractions that aren't in a piece of this package, by the same
//! operations. Each model also runs without an ordering, and loom must find the fault: so these tests
//! show what each ordering is for. `mod.rs` has the list.
//!
//! A device is a thread, and a barrier for devices is a fence. Data that must be complete are in loom's
//! cells: so loom also finds a read that would come after a write with which the reader gives the
//! memory away, although it never lets a load see a later store.

mod common;

use common::{
    with,
    Owned, //
};
use loom::{
    model::model,
    sync::{
        atomic::{
            fence, AtomicBool, AtomicU32,
            Ordering::{
                self,
                Acquire,
                Relaxed,
                Release,
                SeqCst, //
            },
        },
        Arc,
        Mutex, //
    }, //
};

/// A barrier, if there is one.
fn barrier(order: Option<Ordering>) {
    if let Some(order) = order {
        fence(order);
    }
}

/// Tests that a model passes with its orderings, and that loom finds a fault of this kind with each of
/// the weaker ones.
macro_rules! pattern {
    ($(#[$about:meta])* $model:ident($($right:expr),*), $fault:literal: $($weak:ident($($wrong:expr),*))*) => {
        $(#[$about])*
        mod $model {
            use super::*;

            #[test]
            fn holds() {
                $model($($right),*);
            }

            $(
                #[test]
                #[should_panic(expected = $fault)]
                fn $weak() {
                    $model($($wrong),*);
                }
            )*
        }
    };
}

/// `queue::shadow`: the driver writes a doorbell in memory and reads the event index; the controller
/// stops polling, writes the event index, and reads the doorbell again.
fn shadow_doorbell(full: Option<Ordering>) {
    /// The controller polls.
    const POLLS: u32 = 9;

    model(move || {
        let words = Arc::new((AtomicU32::new(0), AtomicU32::new(POLLS)));
        let controller = with(&words, |(doorbell, event)| {
            event.store(0, Relaxed);
            fence(SeqCst);
            doorbell.load(Relaxed) == 1
        });
        let (doorbell, event) = &*words;
        doorbell.store(1, Relaxed);
        barrier(full);
        let rings = event.load(Relaxed) != POLLS;
        assert!(controller.join().unwrap() || rings, "a doorbell is lost");
    });
}

pattern! {
    /// Store buffering.
    shadow_doorbell(Some(SeqCst)), "a doorbell is lost":
    without_a_barrier(None)
    with_a_barrier_for_writes(Some(Release))
    with_one_that_is_not_full(Some(Ordering::AcqRel))
}

/// `GenDisk`: `mark_dead` sets the flag and then the size to 0; `set_capacity` sets the size and then
/// looks at the flag. The block layer's own lock orders the sizes, and nothing here relies on more.
fn dead_disk(marks: Option<Ordering>, sets: Option<Ordering>) {
    model(move || {
        let disk = Arc::new((AtomicBool::new(false), AtomicU32::new(1)));
        let setter = with(&disk, move |(dead, sectors)| {
            sectors.swap(2, Relaxed);
            barrier(sets);
            if dead.load(Relaxed) {
                sectors.swap(0, Relaxed);
            }
        });
        let (dead, sectors) = &*disk;
        dead.store(true, Relaxed);
        barrier(marks);
        sectors.swap(0, Relaxed);
        setter.join().unwrap();
        assert_eq!(sectors.swap(0, Relaxed), 0, "a dead disk has a size");
    });
}

pattern! {
    /// The kernel's litmus test R.
    dead_disk(Some(SeqCst), Some(SeqCst)), "a dead disk has a size":
    without_barriers(None, None)
    without_the_first(None, Some(SeqCst))
    without_the_second(Some(SeqCst), None)
}

/// `Queue::open` after a reset: a submitter that sees the queue open sees whether the controller uses
/// the shadow doorbells, because both take the submission lock.
fn open_queue(opens_under_lock: bool, submits_under_lock: bool) {
    struct Queue {
        lock: Mutex<()>,
        open: AtomicBool,
        shadow: AtomicBool,
    }

    model(move || {
        let queue = Arc::new(Queue {
            lock: Mutex::new(()),
            open: AtomicBool::new(false),
            shadow: AtomicBool::new(true),
        });
        let submitter = with(&queue, move |q| {
            if q.open.load(Relaxed) {
                let _lock = submits_under_lock.then(|| q.lock.lock().unwrap());
                assert!(!q.shadow.load(Relaxed), "an open queue is not set up");
            }
        });
        queue.shadow.store(false, Relaxed);
        let lock = opens_under_lock.then(|| queue.lock.lock().unwrap());
        queue.open.store(true, Relaxed);
        drop(lock);
        submitter.join().unwrap();
    });
}

pattern! {
    /// A lock.
    open_queue(true, true), "an open queue is not set up":
    without_the_lock_of_open(false, true)
    without_the_lock_of_submit(true, false)
}

/// The detour, and `Queue::close`: the flag is relaxed, because the submission lock orders it. No
/// request enters after the flag was cleared under the lock.
fn closed_detour(looks_under_lock: bool) {
    struct Queue {
        lock: Mutex<()>,
        open: AtomicBool,
        guests: AtomicU32,
    }

    model(move || {
        let queue = Arc::new(Queue {
            lock: Mutex::new(()),
            open: AtomicBool::new(true),
            guests: AtomicU32::new(0),
        });
        let submitter = with(&queue, move |q| {
            let early = q.open.load(Relaxed);
            let _lock = q.lock.lock().unwrap();
            if early && (!looks_under_lock || q.open.load(Relaxed)) {
                q.guests.store(1, Relaxed);
            }
        });
        let lock = queue.lock.lock().unwrap();
        queue.open.store(false, Relaxed);
        drop(lock);
        let guests = queue.guests.load(Relaxed);
        submitter.join().unwrap();
        assert_eq!(
            queue.guests.load(Relaxed),
            guests,
            "a request enters a closed detour"
        );
    });
}

pattern! {
    /// A lock.
    closed_detour(true), "a request enters a closed detour":
    without_a_look_under_the_lock(false)
}

/// `Queue::reap`: the controller writes an entry and last its phase; the driver reads the phase, then
/// the entry, and then gives the entry back by the head doorbell.
fn completion(after_phase: Option<Ordering>, before_head: Option<Ordering>) {
    struct Ring {
        entry: Owned<u32>,
        phase: AtomicU32,
        head: AtomicU32,
    }

    model(move || {
        let ring = Arc::new(Ring {
            entry: Owned::new(0),
            phase: AtomicU32::new(0),
            head: AtomicU32::new(0),
        });
        let controller = with(&ring, |ring| {
            ring.entry.access(|value| *value = 7);
            fence(Release);
            ring.phase.store(1, Relaxed);
            if ring.head.load(Relaxed) == 1 {
                fence(Acquire);
                ring.entry.access(|value| *value = 8);
            }
        });
        if ring.phase.load(Relaxed) == 1 {
            barrier(after_phase);
            assert_eq!(ring.entry.access(|value| *value), 7);
            barrier(before_head);
            ring.head.store(1, Relaxed);
        }
        controller.join().unwrap();
    });
}

pattern! {
    /// DMA: the phase of a completion, and its place in the ring.
    completion(Some(Acquire), Some(Release)), "Causality violation":
    without_a_read_barrier(None, Some(Release))
    with_the_wrong_barrier(Some(Release), Some(Release))
    without_one_before_the_head(Some(Acquire), None)
}

/// `Queue::submit`: the driver writes a command, then the tail doorbell.
fn submission(before_tail: Option<Ordering>) {
    model(move || {
        let queue = Arc::new((Owned::new(0), AtomicU32::new(0)));
        let controller = with(&queue, |(command, tail)| {
            if tail.load(Relaxed) == 1 {
                fence(Acquire);
                assert_eq!(command.access(|value| *value), 7);
            }
        });
        let (command, tail) = &*queue;
        command.access(|value| *value = 7);
        barrier(before_tail);
        tail.store(1, Relaxed);
        controller.join().unwrap();
    });
}

pattern! {
    /// DMA: a command and its doorbell.
    submission(Some(Release)), "Causality violation":
    without_a_barrier(None)
    with_a_barrier_for_reads(Some(Acquire))
}

/// A flag that is a lock: an instance number, and the turn to write a core dump.
fn taken_flag(takes: Ordering, gives: Ordering) {
    model(move || {
        let shared = Arc::new((AtomicBool::new(false), Owned::new(0)));
        let turn = move |(taken, what): &(AtomicBool, Owned<u32>)| {
            if !taken.swap(true, takes) {
                what.access(|value| *value += 1);
                taken.store(false, gives);
            }
        };
        let other = with(&shared, turn);
        turn(&shared);
        other.join().unwrap();
    });
}

pattern! {
    /// A lock of one bit.
    taken_flag(Acquire, Release), "Causality violation":
    without_acquire(Relaxed, Release)
    without_release(Acquire, Relaxed)
}

/// `queue::stats`: a counter that never exceeds another is counted after it, and read before it.
fn counters(counts: Ordering, reads: Ordering) {
    model(move || {
        let counts_of = Arc::new((AtomicU32::new(0), AtomicU32::new(0)));
        let reader = with(&counts_of, move |(all, some)| {
            let some = some.load(reads);
            assert!(some <= all.load(reads), "a part exceeds the whole");
        });
        let (all, some) = &*counts_of;
        all.store(1, Relaxed);
        some.store(1, counts);
        reader.join().unwrap();
    });
}

pattern! {
    /// Message passing.
    counters(Release, Acquire), "a part exceeds the whole":
    without_release(Relaxed, Acquire)
    without_acquire(Release, Relaxed)
}
