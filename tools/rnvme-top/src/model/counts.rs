// SPDX-License-Identifier: GPL-2.0

//! The lines of decimal numbers in the files `stat` and `events`.

/// How a field changes from one line to the next.
#[derive(Clone, Copy, PartialEq)]
enum Field {
    /// Only increases.
    Counter,
    /// Increases and decreases.
    Gauge,
    /// The largest value so far.
    Max,
}

macro_rules! line {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: u64,)*
        }

        impl $name {
            /// The fields' names, in the order of the line.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($field)),*];

            const FIELDS: &'static [Field] = &[$(Field::$kind),*];

            /// The values, in the order of the line.
            pub fn values(&self) -> Vec<u64> {
                vec![$(self.$field),*]
            }

            /// The fields of a line; `None` if a field is missing or isn't a decimal number. Ignores
            /// fields that a later version of the driver appends.
            pub fn parse(line: &str) -> Option<Self> {
                let mut words = line.split_ascii_whitespace();
                Some(Self { $($field: number(words.next()?)?,)* })
            }

            fn from_values(mut value: impl FnMut(usize) -> Option<u64>) -> Option<Self> {
                let mut index = 0;
                $(let $field = value(index)?; index += 1;)*
                let _ = index;
                Some(Self { $($field,)* })
            }

            /// The counts since `old`, and the values of `self` that aren't counts. `None` if a count
            /// has decreased: the device was bound again.
            pub fn since(&self, old: &Self) -> Option<Self> {
                let (new, old) = (self.values(), old.values());
                Self::from_values(|i| match Self::FIELDS.get(i)? {
                    Field::Counter => new.get(i)?.checked_sub(*old.get(i)?),
                    Field::Gauge | Field::Max => new.get(i).copied(),
                })
            }
        }
    };
}

line! {
    /// A file `stat`.
    Counts {
        /// Commands put into the queue.
        submitted: Counter,
        /// Commands that have ended.
        completed: Counter,
        /// Commands in flight.
        inflight: Gauge,
        /// Read commands.
        reads: Counter,
        /// Write commands.
        writes: Counter,
        /// Flush commands.
        flushes: Counter,
        /// Dataset Management commands.
        discards: Counter,
        /// Write Zeroes commands.
        write_zeroes: Counter,
        /// Admin commands.
        admin_commands: Counter,
        /// Bytes read.
        bytes_read: Counter,
        /// Bytes written.
        bytes_written: Counter,
        /// Commands completed with an error status.
        errors: Counter,
        /// Commands that were retried.
        retries: Counter,
        /// Completions without a command.
        stray_completions: Counter,
        /// Interrupts.
        interrupts: Counter,
        /// Interrupts that found nothing.
        idle_interrupts: Counter,
        /// Polls.
        polls: Counter,
        /// Writes of the submission doorbell.
        sq_doorbells: Counter,
        /// Writes of the completion doorbell.
        cq_doorbells: Counter,
        /// Commands that were timed.
        timed: Counter,
        /// The sum of their times.
        time_ns: Counter,
        /// The longest time since the device was bound.
        latency_max_ns: Max,
    }
}

line! {
    /// A file `events`.
    Events {
        /// Requests that timed out.
        timeouts: Counter,
        /// Time-outs because of a lost interrupt.
        lost_interrupts: Counter,
        /// Abort commands.
        aborts: Counter,
        /// Resets of the controller.
        resets: Counter,
        /// Asynchronous events.
        async_events: Counter,
    }
}

impl Counts {
    /// The sum of both; of a largest value, the maximum of both.
    pub fn plus(&self, other: &Self) -> Self {
        let (a, b) = (self.values(), other.values());
        Self::from_values(|i| {
            let (a, b) = (*a.get(i)?, *b.get(i)?);
            Some(match Self::FIELDS.get(i)? {
                Field::Max => a.max(b),
                _ => a.saturating_add(b),
            })
        })
        .unwrap_or_default()
    }
}

/// A decimal number as the driver writes it.
pub fn number(word: &str) -> Option<u64> {
    // parse() also takes a sign.
    word.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| word.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> String {
        let words: Vec<String> = (1..=22).map(|n| n.to_string()).collect();
        words.join(" ")
    }

    #[test]
    fn fields_are_in_the_order_of_the_abi() {
        let counts = Counts::parse(&line()).unwrap();
        assert_eq!(counts.submitted, 1);
        assert_eq!(counts.inflight, 3);
        assert_eq!(counts.bytes_written, 11);
        assert_eq!(counts.interrupts, 15);
        assert_eq!(counts.latency_max_ns, 22);
        assert_eq!(Counts::NAMES.len(), 22);
        assert_eq!(counts.values(), (1..=22).collect::<Vec<u64>>());
    }

    /// The names, from the document itself.
    #[test]
    fn names_are_those_of_the_document() {
        let document = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../Documentation/ABI/testing/sysfs-driver-rust_nvme_demo"
        );
        let document = std::fs::read_to_string(document).unwrap();
        let mut names = Vec::new();
        // The table of the entry.
        let entry = document
            .lines()
            .skip_while(|line| !(line.starts_with("What:") && line.ends_with("/queues/<qid>/stat")))
            .skip(1)
            .take_while(|line| !line.starts_with("What:"));
        for line in entry {
            let mut words = line.split_whitespace();
            if words.next().and_then(number) == Some(names.len() as u64 + 1) {
                names.extend(words.next().map(str::to_string));
            }
        }
        assert_eq!(names, Counts::NAMES);
    }

    #[test]
    fn more_fields_are_ignored() {
        assert!(Counts::parse(&format!("{} 23 x\n", line())).is_some());
    }

    #[test]
    fn bad_lines() {
        for bad in [
            "",
            "1 2 3",
            "+1 2 3 4 5",
            "18446744073709551616 0 0 0 0",
            "a b c d e",
        ] {
            assert_eq!(Events::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn differences() {
        let old = Counts::parse(&line()).unwrap();
        let mut new = old;
        new.reads += 5;
        new.inflight = 0;
        let since = new.since(&old).unwrap();
        assert_eq!((since.reads, since.writes), (5, 0));
        assert_eq!((since.inflight, since.latency_max_ns), (0, 22));
        // The device was bound again.
        assert_eq!(old.since(&new), None);
        // A value that isn't a count may decrease.
        assert!(new.since(&Counts { inflight: 9, ..old }).is_some());
    }

    #[test]
    fn sums() {
        let a = Counts::parse(&line()).unwrap();
        let b = Counts {
            latency_max_ns: 7,
            reads: u64::MAX,
            ..a
        };
        let sum = a.plus(&b);
        assert_eq!(
            (sum.submitted, sum.inflight, sum.latency_max_ns),
            (2, 6, 22)
        );
        assert_eq!(sum.reads, u64::MAX);
    }
}
