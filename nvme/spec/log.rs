// SPDX-License-Identifier: GPL-2.0

//! Log pages (Base 5.16.1), and the temperatures and warnings in them. `ctrl` reads the pages;
//! `life` and `views` use the values.

use super::page::{
    byte,
    le16,
    Page, //
};
use core::fmt;

/// Log page: Error Information (Base 5.16.1.2).
pub const ERRORS: u8 = 0x01;
/// Log page: SMART / Health Information (Base 5.16.1.3), see [`Smart`].
pub const SMART: u8 = 0x02;
/// Log page: Firmware Slot Information (Base 5.16.1.4).
pub const FIRMWARE_SLOTS: u8 = 0x03;
/// Log page: Changed Namespace List (Base 5.16.1.5).
pub const CHANGED_NAMESPACES: u8 = 0x04;
/// Log page: Commands Supported and Effects (Base 5.16.1.6), see
/// [`Effects`](super::effects::Effects).
pub const EFFECTS: u8 = 0x05;

/// The bytes of an entry of [`ERRORS`]; the first entry is the newest.
pub const ERROR_BYTES: u32 = 64;
/// The bytes of [`FIRMWARE_SLOTS`].
pub const FIRMWARE_BYTES: u32 = 512;

/// A temperature, or a limit, in kelvins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kelvin(pub u16);

impl Kelvin {
    /// 0 K, in thousandths of a degree Celsius.
    const ZERO: i32 = -273_150;

    /// The temperature in thousandths of a degree Celsius.
    pub const fn millicelsius(self) -> i32 {
        // At most 65,535,000.
        Self::ZERO.wrapping_add((self.0 as i32).wrapping_mul(1000))
    }

    /// The nearest temperature to one in thousandths of a degree Celsius.
    pub const fn from_millicelsius(value: i64) -> Self {
        let millikelvin = value.saturating_sub(Self::ZERO as i64);
        let nearest = millikelvin.saturating_add(500).wrapping_div(1000);
        if nearest < 0 {
            Self(0)
        } else if nearest > u16::MAX as i64 {
            Self(u16::MAX)
        } else {
            Self(nearest as u16)
        }
    }
}

/// The critical warnings of a controller: a bit for each (Base 5.16.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warnings(pub u8);

impl Warnings {
    /// A temperature is at or over its over threshold, or at or below its under threshold.
    const TEMPERATURE: u8 = 1 << 1;

    /// The controller warns of a temperature.
    pub const fn temperature(self) -> bool {
        self.0 & Self::TEMPERATURE != 0
    }
}

/// What the warnings mean, by bit.
const WARNINGS: [&str; 6] = [
    "the spare is below its threshold",
    "a temperature is beyond its threshold",
    "media or internal errors degrade the reliability",
    "the media are read-only",
    "the backup of the volatile memory has failed",
    "the persistent memory region is read-only or unreliable",
];

/// What the warnings mean, as in `the media are read-only, bit 6`.
impl fmt::Display for Warnings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("none");
        }
        let mut separator = "";
        for bit in (0..8usize).filter(|bit| (self.0 >> (bit & 7)) & 1 != 0) {
            f.write_str(separator)?;
            match WARNINGS.get(bit) {
                Some(meaning) => f.write_str(meaning)?,
                None => write!(f, "bit {bit}")?,
            }
            separator = ", ";
        }
        Ok(())
    }
}

/// The part of the SMART / Health Information that the driver uses (Base 5.16.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Smart {
    /// The critical warnings.
    pub warnings: Warnings,
    /// The composite temperature, and those of the sensors 1 to 8; 0 if there is no such sensor.
    temperatures: [Kelvin; Self::SENSORS],
}

impl Smart {
    /// The number of temperatures.
    pub const SENSORS: usize = 9;

    /// The bytes of the log page.
    pub const BYTES: u32 = 512;

    /// Parses a page that begins with the log page.
    pub fn parse(page: &Page) -> Self {
        let mut temperatures = [Kelvin(0); Self::SENSORS];
        for (sensor, kelvin) in temperatures.iter_mut().enumerate() {
            let at = match sensor {
                0 => 1,
                _ => sensor.wrapping_mul(2).wrapping_add(198),
            };
            *kelvin = Kelvin(le16(page, at));
        }
        Self {
            warnings: Warnings(byte(page, 0)),
            temperatures,
        }
    }

    /// The composite temperature (0), or that of a sensor (1 to 8); [`None`] if there is none.
    pub fn temperature(&self, sensor: usize) -> Option<Kelvin> {
        let kelvin = self.temperatures.get(sensor).copied();
        kelvin.filter(|kelvin| kelvin.0 != 0)
    }
}
