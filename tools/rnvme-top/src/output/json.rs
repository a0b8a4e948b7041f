// SPDX-License-Identifier: GPL-2.0

//! An interval as JSON.

use serde_json::{json, Map, Value};

use crate::model::counts::{Counts, Events};
use crate::model::interval::{ControllerInterval, Interval, Load, QueueInterval};

/// The version of the format. It changes if a reader of the older format would misread the new one.
const FORMAT: u32 = 1;

/// The interval, in one line.
pub fn interval(interval: &Interval) -> String {
    let controllers: Vec<Value> = interval.controllers.iter().map(controller).collect();
    json!({
        "format": FORMAT,
        "time": interval.unix_ns as f64 / 1e9,
        "seconds": interval.seconds,
        "controllers": controllers,
    })
    .to_string()
}

fn controller(c: &ControllerInterval) -> Value {
    let queues: Vec<Value> = c.queues.iter().map(queue).collect();
    let parameters: Map<String, Value> = c
        .info
        .parameters
        .iter()
        .map(|(name, value)| {
            (
                name.clone(),
                value
                    .parse::<u64>()
                    .map_or_else(|_| json!(value), |n| json!(n)),
            )
        })
        .collect();
    let disks: Vec<Value> = c
        .disks
        .iter()
        .map(|(name, s)| {
            json!({
                "name": name,
                "reads": s.reads, "bytes_read": s.read_sectors.saturating_mul(512), "read_ms": s.read_ms,
                "writes": s.writes, "bytes_written": s.write_sectors.saturating_mul(512), "write_ms": s.write_ms,
                "inflight": s.inflight,
            })
        })
        .collect();
    json!({
        "address": c.info.address,
        "name": c.info.name,
        "model": c.info.model,
        "serial": c.info.serial,
        "firmware": c.info.firmware,
        "state": c.state,
        "fresh": c.fresh,
        "parameters": parameters,
        "events": fields(Events::NAMES, &c.events.values()),
        "events_total": fields(Events::NAMES, &c.events_total.values()),
        "temperature_celsius": celsius(c.health.temperature),
        "temperature_limit_celsius": celsius(c.health.limit),
        "smart_warnings": c.health.smart_warnings.map(|_| c.smart_warnings),
        "smart_warnings_total": c.health.smart_warnings,
        "sum": load(&c.sum),
        "queues": queues,
        "disks": disks,
    })
}

fn celsius(thousandths: Option<i64>) -> Option<f64> {
    thousandths.map(|t| t as f64 / 1e3)
}

fn queue(q: &QueueInterval) -> Value {
    json!({
        "qid": q.info.qid,
        "kind": q.info.kind,
        "depth": q.info.depth,
        "vector": q.info.vector.parse::<u64>().ok(),
        "cpus": q.info.cpus,
        "load": load(&q.load),
        "total": fields(Counts::NAMES, &q.total.values()),
    })
}

fn load(load: &Load) -> Value {
    let c = &load.counts;
    json!({
        "iops": load.iops(),
        "bytes_read_per_s": load.rate(c.bytes_read),
        "bytes_written_per_s": load.rate(c.bytes_written),
        "depth": load.depth(),
        "mean_ns": load.mean(),
        "p50_ns": load.percentile(500),
        "p99_ns": load.percentile(990),
        "max_ns": load.max(),
        "interrupts_per_io": load.interrupts_per_io(),
        "doorbells_per_io": load.doorbells_per_io(),
        "batch": load.batch(),
        "counts": fields(Counts::NAMES, &c.values()),
        "latency": load.latency.buckets(),
    })
}

fn fields(names: &[&str], values: &[u64]) -> Value {
    names
        .iter()
        .zip(values)
        .map(|(name, value)| (name.to_string(), json!(value)))
        .collect::<Map<_, _>>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::interval::tests::{snapshot, warm};

    #[test]
    fn as_printed() {
        let line = interval(&Interval::between(&snapshot(10, 1000), &snapshot(12, 5000)).unwrap());
        assert!(!line.contains('\n'));
        let value: Value = serde_json::from_str(&line).unwrap();
        let c = &value["controllers"][0];
        assert_eq!(
            (&value["format"], &value["seconds"]),
            (&json!(1), &json!(2.0))
        );
        assert_eq!(c["queues"][1]["load"]["counts"]["reads"], 4000);
        assert_eq!(c["queues"][1]["total"]["reads"], 5000);
        assert_eq!(c["queues"][0]["load"]["p99_ns"], Value::Null);
        assert_eq!(c["sum"]["latency"], json!([[1023, 4000]]));
        assert_eq!(c["events"]["resets"], 4);
        assert_eq!(c["parameters"]["io_queues"], 1);
        for name in ["temperature_celsius", "smart_warnings_total"] {
            assert_eq!(c.get(name), Some(&Value::Null), "{name}");
        }
    }

    #[test]
    fn health() {
        let line = interval(&Interval::between(&warm(10, 5, 2), &warm(12, 6, 5)).unwrap());
        let value: Value = serde_json::from_str(&line).unwrap();
        let c = &value["controllers"][0];
        for (name, expected) in [
            ("temperature_celsius", json!(49.85)),
            ("temperature_limit_celsius", json!(69.85)),
            ("smart_warnings", json!(3)),
            ("smart_warnings_total", json!(5)),
        ] {
            assert_eq!(c[name], expected, "{name}");
        }
    }
}
