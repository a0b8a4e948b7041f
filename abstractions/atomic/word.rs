// SPDX-License-Identifier: GPL-2.0

//! A command whose completion is a word, and that no context waits for by sleeping: asynchronous
//! events and trials.

use super::{
    AtomicU32,
    Ordering, //
};

const IDLE: u32 = 0;
const ARMED: u32 = 1;
/// Flag: the command was completed; the other bits are the word.
const CAME: u32 = 1 << 31;

/// A word that a completion brings: idle, then armed, then the word until it is taken.
///
/// # Examples
///
/// ```
/// use abstractions::atomic::word::Word;
///
/// let event = Word::new();
/// // Sent to the device, and completed with a value.
/// assert!(event.arm());
/// assert!(event.bring(5));
/// assert_eq!(event.take(), Some(5));
///
/// // Completed with an error.
/// assert!(event.arm());
/// assert!(event.fail());
///
/// // The device was reset.
/// assert!(event.arm());
/// assert!(event.clear());
/// ```
pub struct Word(AtomicU32);

impl Word {
    /// An idle word.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(AtomicU32::new(IDLE))
    }

    /// Steps from one state to another. What the context before did is done, and the next one will see
    /// what this context did: a value may announce data in memory.
    fn step(&self, from: u32, to: u32) -> bool {
        self.0
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Arms an idle word; false if it is armed, or if its value wasn't taken yet.
    pub fn arm(&self) -> bool {
        self.step(IDLE, ARMED)
    }

    /// Completes an armed word with the lower 31 bits of `value`; false if it isn't armed.
    pub fn bring(&self, value: u32) -> bool {
        self.step(ARMED, value | CAME)
    }

    /// Ends an armed word without a value; false if it isn't armed.
    pub fn fail(&self) -> bool {
        self.step(ARMED, IDLE)
    }

    /// Takes the value, if there is one; then the word is idle.
    pub fn take(&self) -> Option<u32> {
        let word = self.0.load(Ordering::Relaxed);

        // The exchange fails if the value was cleared since. It also orders.
        (word & CAME != 0 && self.step(word, IDLE)).then_some(word & !CAME)
    }

    /// Makes the word idle, and drops its value; returns whether it was armed.
    pub fn clear(&self) -> bool {
        self.0.swap(IDLE, Ordering::AcqRel) == ARMED
    }
}
