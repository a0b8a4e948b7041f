// SPDX-License-Identifier: GPL-2.0

//! Numbers for people, in few columns.

/// A time of nanoseconds, as "12.3us", in six columns at most.
pub fn time(ns: u64) -> String {
    match ns {
        0..1000 => format!("{ns}ns"),
        _ => {
            let ns = ns as f64;
            let (value, unit) = if ns < 999_500.0 {
                (ns / 1e3, "us")
            } else if ns < 999_500_000.0 {
                (ns / 1e6, "ms")
            } else {
                (ns / 1e9, "s")
            };
            format!("{}{unit}", three(value))
        }
    }
}

/// A time, or a dash for none.
pub fn time_or_dash(ns: Option<u64>) -> String {
    ns.map_or_else(|| "-".into(), time)
}

/// A temperature of thousandths of a degree Celsius, as "49.9°C".
pub fn celsius(thousandths: i64) -> String {
    let tenths = (thousandths.unsigned_abs() + 50) / 100;
    let minus = if thousandths < 0 && tenths != 0 {
        "-"
    } else {
        ""
    };
    format!("{minus}{}.{}°C", tenths / 10, tenths % 10)
}

/// A count or rate, as "12.3k", in six columns at most.
pub fn count(value: f64) -> String {
    scaled(value, 1000.0, &["", "k", "M", "G", "T", "P"])
}

/// Bytes, as "12.3M": multiples of 1024.
pub fn bytes(value: f64) -> String {
    scaled(value, 1024.0, &["", "K", "M", "G", "T", "P"])
}

/// A small number with two digits after the point, or a dash for none.
pub fn ratio(value: Option<f64>) -> String {
    match value {
        None => "-".into(),
        Some(value) if value < 9.995 => format!("{value:.2}"),
        Some(value) => count(value),
    }
}

fn scaled(value: f64, base: f64, units: &[&str]) -> String {
    let mut value = if value.is_finite() {
        value.max(0.0)
    } else {
        0.0
    };
    let mut units = units.iter();
    let mut unit = units.next().unwrap_or(&"");
    while value >= 999.5 {
        let Some(next) = units.next() else { break };
        value /= base;
        unit = next;
    }
    if unit.is_empty() {
        format!("{value:.0}")
    } else {
        format!("{}{unit}", three(value))
    }
}

/// Three digits.
fn three(value: f64) -> String {
    if value < 9.995 {
        format!("{value:.2}")
    } else if value < 99.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

/// A time of day in UTC, of nanoseconds since 1970.
pub fn clock(unix_ns: u64) -> String {
    let seconds = unix_ns / 1_000_000_000;
    let (h, m, s) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{h:02}:{m:02}:{s:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (ns, text) in [
            (0, "0ns"),
            (999, "999ns"),
            (1000, "1.00us"),
            (9_994, "9.99us"),
            (12_345, "12.3us"),
            (999_499, "999us"),
            (999_500, "1.00ms"),
            (123_456_789, "123ms"),
            (1_000_000_000, "1.00s"),
            (1_000_000_000_000, "1000s"),
        ] {
            assert_eq!(time(ns), text);
        }
        assert_eq!(time_or_dash(None), "-");
    }

    #[test]
    fn counts() {
        for (value, text) in [
            (0.0, "0"),
            (0.4, "0"),
            (999.0, "999"),
            (1000.0, "1.00k"),
            (12_345.0, "12.3k"),
            (1e18, "1000P"),
            (f64::NAN, "0"),
            (-1.0, "0"),
        ] {
            assert_eq!(count(value), text);
        }
        assert_eq!(bytes(4096.0), "4.00K");
        assert_eq!(bytes(1000.0), "0.98K");
        assert_eq!(bytes(1048576.0 * 1.5), "1.50M");
    }

    #[test]
    fn temperatures() {
        for (thousandths, text) in [
            (49_850, "49.9°C"),
            (49_849, "49.8°C"),
            (0, "0.0°C"),
            (-49, "0.0°C"),
            (-50, "-0.1°C"),
            (-273_150, "-273.2°C"),
            (99_960, "100.0°C"),
        ] {
            assert_eq!(celsius(thousandths), text);
        }
        celsius(i64::MIN);
    }

    #[test]
    fn all_are_short() {
        for n in 0..64 {
            for value in [1u64 << n, (1 << n) - 1] {
                assert!(count(value as f64).len() <= 7, "{}", count(value as f64));
                assert!(time(value.min(1 << 41)).len() <= 6, "{}", time(value));
            }
        }
    }

    #[test]
    fn ratios_and_clock() {
        assert_eq!(ratio(Some(0.5)), "0.50");
        assert_eq!(ratio(Some(123.0)), "123");
        assert_eq!(ratio(None), "-");
        assert_eq!(clock(3_661_000_000_000), "01:01:01");
    }
}
