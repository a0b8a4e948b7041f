// SPDX-License-Identifier: GPL-2.0

//! Tests of `spec::log`: temperatures and warnings of the health log.

use super::{
    cases,
    identify::Fields, //
};
use nvme_proto::spec::log::{
    Kelvin,
    Smart,
    Warnings, //
};
use proptest::prelude::*;

#[test]
fn temperatures() {
    for (kelvin, millicelsius) in [
        (0, -273_150),
        (273, -150),
        (323, 49_850),
        (0x7fff, 32_493_850),
        (u16::MAX, 65_261_850),
    ] {
        assert_eq!(Kelvin(kelvin).millicelsius(), millicelsius);
    }
    for (millicelsius, kelvin) in [
        (i64::MIN, 0),
        (-1_000_000, 0),
        (-273_151, 0),
        (-272_651, 0),
        (-272_650, 1),
        (0, 273),
        (49_350, 323),
        (50_349, 323),
        (50_350, 324),
        (65_261_850, u16::MAX),
        (65_262_850, u16::MAX),
        (i64::MAX, u16::MAX),
    ] {
        assert_eq!(
            Kelvin::from_millicelsius(millicelsius),
            Kelvin(kelvin),
            "{millicelsius}"
        );
    }
}

#[test]
fn smart() {
    let mut fields = Fields([0xff; 4096]).put(0, [0x12]).put(1, [0x43, 0x01]);
    for sensor in 1..=8u16 {
        fields = fields.put(198 + 2 * usize::from(sensor), (300 + sensor).to_le_bytes());
    }
    let smart = Smart::parse(&fields.put(208, [0, 0]).0);
    assert!(smart.warnings.temperature());
    assert_eq!(smart.temperature(0), Some(Kelvin(0x143)));
    assert_eq!(smart.temperature(1), Some(Kelvin(301)));
    assert_eq!(smart.temperature(5), None);
    assert_eq!(smart.temperature(8), Some(Kelvin(308)));
    for none in [9, 10, usize::MAX] {
        assert_eq!(smart.temperature(none), None);
    }
    let smart = Smart::parse(&[0; 4096]);
    assert!(!smart.warnings.temperature());
    assert!((0..=Smart::SENSORS).all(|sensor| smart.temperature(sensor).is_none()));
}

#[test]
fn warnings() {
    assert_eq!(Warnings(0).to_string(), "none");
    for (bit, words) in [
        "spare",
        "temperature",
        "reliability",
        "read-only",
        "backup",
        "persistent memory region",
    ]
    .into_iter()
    .enumerate()
    {
        let line = Warnings(1 << bit).to_string();
        assert!(line.contains(words) && !line.contains(','), "{line}");
    }
    assert_eq!(
        Warnings(0x42).to_string(),
        "a temperature is beyond its threshold, bit 6"
    );
    assert_eq!(Warnings(0xff).to_string().matches(", ").count(), 7);
}

proptest! {
    #![proptest_config(cases(1000))]

    /// A conversion and back gives the same temperature, and conversions keep the order.
    #[test]
    fn round_trip(kelvin: u16, value: i64) {
        let millicelsius = i64::from(Kelvin(kelvin).millicelsius());
        prop_assert_eq!(Kelvin::from_millicelsius(millicelsius), Kelvin(kelvin));
        let nearest = i64::from(Kelvin::from_millicelsius(value).millicelsius());
        prop_assert!((-273_150..=65_261_850).contains(&nearest));
        if (-273_150..=65_261_850).contains(&value) {
            prop_assert!((nearest - value).abs() <= 500);
        }
    }
}
