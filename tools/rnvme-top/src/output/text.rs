// SPDX-License-Identifier: GPL-2.0

//! An interval as text, in the manner of iostat.

use std::fmt::Write;

use crate::model::interval::{Interval, Load};
use crate::units::{bytes, celsius, count, ratio, time_or_dash};

const TITLES: &str = "queue        kind     cpus          io/s  read/s write/s  depth    mean     p50     p99     max irq/io  db/io  batch    err";

/// The interval, with a trailing newline.
pub fn interval(interval: &Interval) -> String {
    let mut out = String::new();
    // Writing to a string doesn't fail.
    let _ = write(&mut out, interval);
    out
}

fn write(out: &mut String, interval: &Interval) -> std::fmt::Result {
    for c in &interval.controllers {
        let (info, e) = (&c.info, &c.events);
        write!(out, "{} {} {}", info.address, info.name, c.state)?;
        if let Some(temperature) = c.health.temperature {
            let mark = if c.health.is_hot() { "!" } else { "" };
            write!(out, " {}{mark}", celsius(temperature))?;
        }
        writeln!(
            out,
            " ({}, {}): {:.2} s",
            info.model, info.serial, interval.seconds
        )?;
        if c.fresh {
            writeln!(
                out,
                "  bound meanwhile: counts begin with the next interval"
            )?;
        }
        write!(
            out,
            "  time-outs {} lost interrupts {} aborts {} resets {} events {}",
            e.timeouts, e.lost_interrupts, e.aborts, e.resets, e.async_events
        )?;
        if c.health.smart_warnings.is_some() {
            write!(out, " SMART warnings {}", c.smart_warnings)?;
        }
        writeln!(out)?;
        writeln!(out, "{TITLES}")?;
        load(out, "all", "-", "-", &c.sum)?;
        for q in &c.queues {
            let (info, cpus) = (
                &q.info,
                if q.info.cpus.is_empty() {
                    "-"
                } else {
                    &q.info.cpus
                },
            );
            load(
                out,
                &format!("{}q{}", c.info.name, info.qid),
                &info.kind,
                cpus,
                &q.load,
            )?;
        }
        for (name, stat) in &c.disks {
            let rate = |n: u64| n as f64 / interval.seconds;
            let mean = |ms: u64, n: u64| (ms * 1_000_000).checked_div(n);
            writeln!(
                out,
                "{name}: {} reads/s of {} B/s, mean {}; {} writes/s of {} B/s, mean {}; in flight {}",
                count(rate(stat.reads)),
                bytes(rate(stat.read_sectors) * 512.0),
                time_or_dash(mean(stat.read_ms, stat.reads)),
                count(rate(stat.writes)),
                bytes(rate(stat.write_sectors) * 512.0),
                time_or_dash(mean(stat.write_ms, stat.writes)),
                stat.inflight
            )?;
        }
    }
    Ok(())
}

fn load(out: &mut String, name: &str, kind: &str, cpus: &str, load: &Load) -> std::fmt::Result {
    let c = &load.counts;
    writeln!(
        out,
        "{name:12} {kind:8} {cpus:10} {:>7} {:>7} {:>7} {:>6} {:>7} {:>7} {:>7} {:>7} {:>6} {:>6} {:>6} {:>6}",
        count(load.iops()),
        bytes(load.rate(c.bytes_read)),
        bytes(load.rate(c.bytes_written)),
        ratio(Some(load.depth())),
        time_or_dash(load.mean()),
        time_or_dash(load.percentile(500)),
        time_or_dash(load.percentile(990)),
        time_or_dash(load.max()),
        ratio(load.interrupts_per_io()),
        ratio(load.doorbells_per_io()),
        ratio(load.batch()),
        c.errors
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::interval::tests::{snapshot, warm};

    #[test]
    fn as_printed() {
        let i = Interval::between(&snapshot(10, 1000), &snapshot(12, 5000)).unwrap();
        let expected = "\
0000:01:00.0 nvme900 live (QEMU NVMe Ctrl, rnvme-0): 2.00 s
  time-outs 0 lost interrupts 0 aborts 0 resets 4 events 0
queue        kind     cpus          io/s  read/s write/s  depth    mean     p50     p99     max irq/io  db/io  batch    err
all          -        -            2.00k   7.81M       0   0.00  1.00us  1.00us  1.00us  1.00us   0.50   1.00   2.00      0
nvme900q0    admin    0-1              0       0       0   0.00       -       -       -       -      -      -      -      0
nvme900q1    default  0-1          2.00k   7.81M       0   0.00  1.00us  1.00us  1.00us  1.00us   0.50   1.00   2.00      0
";
        assert_eq!(interval(&i), expected);
    }

    #[test]
    fn health() {
        let mut hot = warm(12, 6, 5);
        for (limit, mark) in [(69_850, ""), (49_850, "!")] {
            hot.controllers[0].health.limit = Some(limit);
            let text = interval(&Interval::between(&warm(10, 5, 2), &hot).unwrap());
            let expected = format!(
                "\
0000:01:00.0 nvme900 live 49.9°C{mark} (QEMU NVMe Ctrl, rnvme-0): 2.00 s
  time-outs 0 lost interrupts 0 aborts 0 resets 0 events 0 SMART warnings 3
"
            );
            assert!(text.starts_with(&expected), "{text}");
        }
    }
}
