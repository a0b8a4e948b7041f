// SPDX-License-Identifier: GPL-2.0

//! The temperature of a controller, from its sensors in hwmon.
//!
//! For each value the driver sends a command to the controller, which takes as long as the controller
//! wants. So a thread reads the files, and rarely, and a snapshot waits only briefly.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// The time between two readings.
pub const PERIOD: Duration = Duration::from_secs(10);

/// How long a snapshot waits for a reading.
const PATIENCE: Duration = Duration::from_millis(200);

/// A reading, in thousandths of a degree Celsius.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The composite temperature.
    pub temperature: i64,
    /// The temperature at which the controller warns.
    pub limit: Option<i64>,
}

/// The sensors of a controller.
pub struct Thermometer {
    /// The directory of the controller's hwmon devices. A kernel without hwmon lacks it.
    directory: PathBuf,
    /// The begin of the last reading.
    begun: Option<Instant>,
    /// The reading that isn't finished.
    pending: Option<Receiver<Option<Reading>>>,
    /// The last reading, and its begin; `None` if that reading failed.
    last: Option<(Instant, Reading)>,
}

impl Thermometer {
    /// The sensors of the PCI device in `device`.
    pub fn new(device: &Path) -> Self {
        Self {
            directory: device.join("hwmon"),
            begun: None,
            pending: None,
            last: None,
        }
    }

    /// Whether it is time for another reading.
    pub fn is_due(&self, now: Instant) -> bool {
        let old = |begun| now.saturating_duration_since(begun) >= PERIOD;
        self.pending.is_none() && self.begun.is_none_or(old)
    }

    /// Begins a reading.
    pub fn begin(&mut self, now: Instant) {
        let (sender, receiver) = mpsc::channel();
        let directory = self.directory.clone();
        let work = move || {
            // Nobody receives the reading if the controller is gone.
            let _ = sender.send(read(&directory));
        };
        self.begun = Some(now);
        self.pending = Some(receiver);
        // If there is no thread, the receiver finds that out.
        let _ = thread::Builder::new().spawn(work);
    }

    /// Takes the result of the reading, if there is one. Waits until shortly after its begin.
    pub fn finish(&mut self) {
        let (Some(begun), Some(pending)) = (self.begun, &self.pending) else {
            return;
        };
        let patience = (begun + PATIENCE).saturating_duration_since(Instant::now());
        match pending.recv_timeout(patience) {
            Ok(reading) => self.last = reading.map(|reading| (begun, reading)),
            Err(RecvTimeoutError::Timeout) => return,
            Err(RecvTimeoutError::Disconnected) => self.last = None,
        }
        self.pending = None;
    }

    /// The last reading; `None` if it failed, or if the next reading is long overdue.
    pub fn reading(&self, now: Instant) -> Option<Reading> {
        let fresh = |begun: &Instant| now.saturating_duration_since(*begun) < 2 * PERIOD;
        self.last
            .filter(|(begun, _)| fresh(begun))
            .map(|(_, reading)| reading)
    }
}

/// Reads the files of the controller's only hwmon device.
fn read(directory: &Path) -> Option<Reading> {
    let device = fs::read_dir(directory).ok()?.flatten().next()?.path();
    let value = |file| {
        let text = fs::read_to_string(device.join(file)).ok()?;
        text.trim_end().parse().ok()
    };
    Some(Reading {
        temperature: value("temp1_input")?,
        limit: value("temp1_max"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use std::process::Command;

    /// The directory of its sensors.
    const HWMON: &str = "hwmon/hwmon3";

    /// The directory of a PCI device.
    struct Device(Scratch);

    impl Device {
        fn new(name: &str) -> Self {
            let scratch = Scratch::new(name);
            fs::create_dir_all(scratch.join(HWMON)).unwrap();
            Self(scratch)
        }

        fn write(&self, name: &str, text: &str) {
            self.0.write(Path::new(HWMON).join(name), text);
        }
    }

    /// A reading, until it is finished.
    fn complete(thermometer: &mut Thermometer, now: Instant) {
        thermometer.begin(now);
        while thermometer.pending.is_some() {
            thermometer.finish();
        }
    }

    #[test]
    fn values() {
        let device = Device::new("values");
        let now = Instant::now();
        let read = |thermometer: &mut Thermometer| {
            complete(thermometer, now);
            thermometer.reading(now).map(|r| (r.temperature, r.limit))
        };
        let mut thermometer = Thermometer::new(&device.0);
        assert_eq!(read(&mut thermometer), None);
        device.write("temp1_input", "-3150\n");
        assert_eq!(read(&mut thermometer), Some((-3150, None)));
        device.write("temp1_max", "69850\n");
        assert_eq!(read(&mut thermometer), Some((-3150, Some(69850))));
        device.write("temp1_input", "warm\n");
        assert_eq!(read(&mut thermometer), None);
        assert_eq!(read(&mut Thermometer::new(Path::new("/nothing"))), None);
    }

    #[test]
    fn rarely() {
        let device = Device::new("rarely");
        device.write("temp1_input", "20000\n");
        let mut thermometer = Thermometer::new(&device.0);
        let start = Instant::now();
        assert!(thermometer.is_due(start));
        complete(&mut thermometer, start);
        for (seconds, due) in [(0, false), (9, false), (10, true), (100, true)] {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(thermometer.is_due(now), due, "{seconds} s");
        }
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(thermometer.reading(after(19)).is_some());
        assert!(thermometer.reading(after(20)).is_none());
    }

    /// A controller that doesn't answer delays no snapshot for long, and no second reading begins.
    #[test]
    fn a_slow_controller() {
        let device = Device::new("slow");
        let fifo = device.0.join(HWMON).join("temp1_input");
        assert!(Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success());
        let mut thermometer = Thermometer::new(&device.0);
        let start = Instant::now();
        thermometer.begin(start);
        thermometer.finish();
        assert!((PATIENCE..PERIOD).contains(&start.elapsed()));
        assert!(thermometer.pending.is_some());
        assert_eq!(thermometer.reading(start), None);
        assert!(!thermometer.is_due(start + 2 * PERIOD));
        let again = Instant::now();
        thermometer.finish();
        assert!(again.elapsed() < PATIENCE);
        fs::write(&fifo, "30000\n").unwrap();
        while thermometer.pending.is_some() {
            thermometer.finish();
        }
        assert_eq!(thermometer.reading(start).unwrap().temperature, 30000);
    }
}
