// SPDX-License-Identifier: GPL-2.0

//! A snapshot in Prometheus' text format (version 0.0.4).

use std::fmt::Write;

use crate::model::snapshot::{Controller, Queue, Snapshot};

/// The `Content-Type`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The powers of two that are bounds of buckets: 1 us to 69 s. The bounds must stay the same.
const EXPONENTS: std::ops::RangeInclusive<u32> = 10..=36;

/// The states of a controller.
const STATES: [&str; 5] = ["new", "live", "resetting", "deleting", "dead"];

/// A family of counts of a queue: name, type, help, and the labels and value of each count.
type Family = (
    &'static str,
    &'static str,
    &'static str,
    fn(&Queue) -> Vec<(&'static str, u64)>,
);

/// A count of a controller: name, help and value.
type Event = (&'static str, &'static str, fn(&Controller) -> u64);

/// A family of the health of a controller: name, type, help and value.
type Health<'a> = (
    &'static str,
    &'static str,
    &'static str,
    &'a dyn Fn(&Controller) -> Option<String>,
);

const FAMILIES: &[Family] = &[
    (
        "commands_total",
        "counter",
        "Commands submitted, by kind.",
        |q| {
            let c = &q.counts;
            vec![
                ("op=\"read\"", c.reads),
                ("op=\"write\"", c.writes),
                ("op=\"flush\"", c.flushes),
                ("op=\"discard\"", c.discards),
                ("op=\"write_zeroes\"", c.write_zeroes),
                ("op=\"admin\"", c.admin_commands),
            ]
        },
    ),
    ("completed_total", "counter", "Commands completed.", |q| {
        vec![("", q.counts.completed)]
    }),
    ("inflight", "gauge", "Commands in flight.", |q| {
        vec![("", q.counts.inflight)]
    }),
    (
        "bytes_total",
        "counter",
        "Bytes of commands that succeeded.",
        |q| {
            vec![
                ("op=\"read\"", q.counts.bytes_read),
                ("op=\"write\"", q.counts.bytes_written),
            ]
        },
    ),
    (
        "errors_total",
        "counter",
        "Commands completed with an error status.",
        |q| vec![("", q.counts.errors)],
    ),
    (
        "retries_total",
        "counter",
        "Commands submitted again after an error.",
        |q| vec![("", q.counts.retries)],
    ),
    (
        "stray_completions_total",
        "counter",
        "Completions of no command.",
        |q| vec![("", q.counts.stray_completions)],
    ),
    ("interrupts_total", "counter", "Interrupts.", |q| {
        vec![("", q.counts.interrupts)]
    }),
    (
        "idle_interrupts_total",
        "counter",
        "Interrupts that found nothing.",
        |q| vec![("", q.counts.idle_interrupts)],
    ),
    (
        "polls_total",
        "counter",
        "Polls of the completion queue.",
        |q| vec![("", q.counts.polls)],
    ),
    ("doorbells_total", "counter", "Writes of doorbells.", |q| {
        vec![
            ("ring=\"sq\"", q.counts.sq_doorbells),
            ("ring=\"cq\"", q.counts.cq_doorbells),
        ]
    }),
    ("depth", "gauge", "Entries of the submission queue.", |q| {
        vec![("", q.info.depth)]
    }),
];

/// The snapshot as text.
pub fn snapshot(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    // Writing to a string doesn't fail.
    let _ = controllers(&mut out, snapshot).and_then(|()| queues(&mut out, snapshot));
    out
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(
        out,
        "# HELP rnvme_{name} {help}\n# TYPE rnvme_{name} {kind}"
    )
}

/// A label's value.
fn quoted(text: &str) -> String {
    let text = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{text}\"")
}

fn labels(c: &Controller) -> String {
    format!(
        "controller={},address={}",
        quoted(&c.info.name),
        quoted(&c.info.address)
    )
}

fn controllers(out: &mut String, snapshot: &Snapshot) -> std::fmt::Result {
    let all = &snapshot.controllers;
    head(out, "controller_info", "gauge", "The controller; always 1.")?;
    for c in all {
        let (model, serial, firmware) = (
            quoted(&c.info.model),
            quoted(&c.info.serial),
            quoted(&c.info.firmware),
        );
        writeln!(
            out,
            "rnvme_controller_info{{{},model={model},serial={serial},firmware={firmware}}} 1",
            labels(c)
        )?;
    }
    head(
        out,
        "controller_state",
        "gauge",
        "1 for the state that the controller is in.",
    )?;
    for c in all {
        for state in STATES {
            let is = u8::from(c.state == state);
            writeln!(
                out,
                "rnvme_controller_state{{{},state=\"{state}\"}} {is}",
                labels(c)
            )?;
        }
    }
    let events: [Event; 5] = [
        ("timeouts", "Requests that took too long.", |c| {
            c.events.timeouts
        }),
        (
            "lost_interrupts",
            "Completions without an interrupt.",
            |c| c.events.lost_interrupts,
        ),
        ("aborts", "Abort commands.", |c| c.events.aborts),
        ("resets", "Resets of the controller.", |c| c.events.resets),
        ("async_events", "Asynchronous events.", |c| {
            c.events.async_events
        }),
    ];
    for (name, help, value) in events {
        head(out, &format!("controller_{name}_total"), "counter", help)?;
        for c in all {
            writeln!(
                out,
                "rnvme_controller_{name}_total{{{}}} {}",
                labels(c),
                value(c)
            )?;
        }
    }
    health(out, all)
}

/// The families of the health. A controller without a value has no line.
fn health(out: &mut String, all: &[Controller]) -> std::fmt::Result {
    let celsius = |thousandths: Option<i64>| thousandths.map(|t| (t as f64 / 1e3).to_string());
    let families: [Health; 3] = [
        (
            "temperature_celsius",
            "gauge",
            "Composite temperature.",
            &|c| celsius(c.health.temperature),
        ),
        (
            "temperature_limit_celsius",
            "gauge",
            "Composite temperature at which the controller warns.",
            &|c| celsius(c.health.limit),
        ),
        (
            "controller_smart_warnings_total",
            "counter",
            "SMART warnings.",
            &|c| c.health.smart_warnings.map(|n| n.to_string()),
        ),
    ];
    for (name, kind, help, value) in families {
        head(out, name, kind, help)?;
        for c in all {
            if let Some(value) = value(c) {
                writeln!(out, "rnvme_{name}{{{}}} {value}", labels(c))?;
            }
        }
    }
    Ok(())
}

fn queues(out: &mut String, snapshot: &Snapshot) -> std::fmt::Result {
    let each = || {
        snapshot.controllers.iter().flat_map(|c| {
            let labels = labels(c);
            c.queues.iter().map(move |q| {
                (
                    format!(
                        "{labels},queue=\"{}\",kind={}",
                        q.info.qid,
                        quoted(&q.info.kind)
                    ),
                    q,
                )
            })
        })
    };
    for (name, kind, help, values) in FAMILIES {
        head(out, &format!("queue_{name}"), kind, help)?;
        for (labels, queue) in each() {
            for (label, value) in values(queue) {
                let comma = if label.is_empty() { "" } else { "," };
                writeln!(out, "rnvme_queue_{name}{{{labels}{comma}{label}}} {value}")?;
            }
        }
    }
    let name = "latency_seconds";
    head(
        out,
        &format!("queue_{name}"),
        "histogram",
        "Time from submission to completion.",
    )?;
    for (labels, queue) in each() {
        let total = queue.latency.total();
        for exponent in EXPONENTS {
            let bound = (1u64 << exponent) - 1;
            let le = bound as f64 / 1e9;
            writeln!(
                out,
                "rnvme_queue_{name}_bucket{{{labels},le=\"{le}\"}} {}",
                queue.latency.up_to(bound)
            )?;
        }
        writeln!(
            out,
            "rnvme_queue_{name}_bucket{{{labels},le=\"+Inf\"}} {total}"
        )?;
        writeln!(
            out,
            "rnvme_queue_{name}_sum{{{labels}}} {}",
            queue.counts.time_ns as f64 / 1e9
        )?;
        writeln!(out, "rnvme_queue_{name}_count{{{labels}}} {total}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::interval::tests;

    #[test]
    fn lines_are_well_formed() {
        let text = snapshot(&tests::warm(1, 1500, 3));
        for part in [
            "rnvme_queue_commands_total{controller=\"nvme900\",address=\"0000:01:00.0\",queue=\"1\",kind=\"default\",op=\"read\"} 1500\n",
            "queue=\"1\",kind=\"default\",le=\"0.000001023\"} 1500\n",
            "queue=\"1\",kind=\"default\",le=\"+Inf\"} 1500\n",
            "rnvme_queue_latency_seconds_sum{controller=\"nvme900\",address=\"0000:01:00.0\",queue=\"1\",kind=\"default\"} 0.0015\n",
            "rnvme_controller_resets_total{controller=\"nvme900\",address=\"0000:01:00.0\"} 1\n",
            "state=\"live\"} 1\n",
            "# HELP rnvme_temperature_celsius Composite temperature.\n# TYPE rnvme_temperature_celsius gauge\nrnvme_temperature_celsius{controller=\"nvme900\",address=\"0000:01:00.0\"} 49.85\n",
            "rnvme_temperature_limit_celsius{controller=\"nvme900\",address=\"0000:01:00.0\"} 69.85\n",
            "rnvme_controller_smart_warnings_total{controller=\"nvme900\",address=\"0000:01:00.0\"} 3\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        let mut names = std::collections::HashSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                assert!(
                    names.insert(rest.split(' ').next().unwrap()),
                    "{line}: twice"
                );
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
                assert!(
                    series.ends_with('}') && series.starts_with("rnvme_"),
                    "{line}"
                );
            }
        }
    }

    #[test]
    fn no_health() {
        let text = snapshot(&tests::snapshot(1, 1500));
        assert!(text.contains("# TYPE rnvme_temperature_celsius gauge\n"));
        for name in [
            "temperature_celsius{",
            "temperature_limit_celsius{",
            "smart_warnings_total{",
        ] {
            assert!(!text.contains(name), "{name}");
        }
    }

    #[test]
    fn values_of_labels() {
        assert_eq!(quoted("a\"b\\c\nd"), "\"a\\\"b\\\\c\\nd\"");
    }

    #[test]
    fn buckets_are_cumulative() {
        let text = snapshot(&tests::snapshot(1, 1500));
        let mut last = 0;
        for line in text
            .lines()
            .filter(|l| l.contains("_bucket{") && l.contains("queue=\"1\""))
        {
            let n: u64 = line.rsplit_once(' ').unwrap().1.parse().unwrap();
            assert!(n >= last);
            last = n;
        }
        assert_eq!(last, 1500);
    }
}
