// SPDX-License-Identifier: GPL-2.0

//! The temperature sensors of a controller, in `hwmon/hwmon<n>/` below the PCI device. `views`
//! registers them; the hwmon core calls [`Thermometers`] when user space reads or writes a file.
//!
//! The names of files, labels and the device are those of the kernel's `nvme`, for the
//! configuration files of lm-sensors.

use crate::abstractions::series::ENODATA;
use crate::{
    abstractions::hwmon::{
        Access,
        File,
        Registration,
        Thermometers,
        AVAILABLE, //
    },
    driver::{
        ctrl::admin::CommandError,
        life::{
            Controller,
            Running, //
        },
    },
    nvme::{
        host::{
            life::State,
            quirks::Quirks, //
        },
        spec::{
            features::Threshold,
            log::Smart, //
        },
    },
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    prelude::*,
    sync::Arc, //
};

/// The sensors: the composite temperature, which is number 0, and 1 to 8.
pub(super) struct Sensors {
    controller: Arc<Controller>,
    /// The temperatures when the driver was bound; sensors without one don't exist.
    first: Smart,
}

/// The registered sensors of a controller.
pub(super) type Files = Registration<Sensors>;

/// Registers the sensors of a started controller. `None` if the kernel lacks hwmon, or, with a line
/// in the log, if the controller or the kernel refuses: the disks work without sensors.
pub(super) fn register(dev: &device::Device<Bound>, controller: &Running) -> Option<Files> {
    if !AVAILABLE {
        return None;
    }
    // A failure logs itself.
    let first = controller.escalate(controller.ctrl().smart(dev)).ok()?;
    let sensors = Sensors {
        controller: (**controller).clone(),
        first,
    };
    Arc::new(sensors, GFP_KERNEL)
        .map_err(Error::from)
        .and_then(|sensors| Registration::new(dev, sensors))
        .inspect_err(|e| dev_warn!(dev, "no temperature sensors: {:?}\n", e))
        .ok()
}

impl Sensors {
    fn exists(&self, sensor: usize) -> bool {
        sensor == 0 || self.first.temperature(sensor).is_some()
    }

    /// Runs `command` unless the controller is stopped: a reader must not wait for a reset.
    fn run<T>(&self, command: impl FnOnce() -> Result<T, CommandError>) -> Result<T> {
        match self.controller.state() {
            State::New | State::Live => {}
            State::Resetting => return Err(EBUSY),
            State::Deleting | State::Dead => return Err(ENODEV),
        }
        match self.controller.escalate(command()) {
            // A reset ended the command. Programs don't expect `EAGAIN` of a file that blocks.
            Err(error) if error == EAGAIN => Err(EBUSY),
            result => result,
        }
    }

    /// The limit that a file shows.
    fn threshold(file: File, sensor: usize) -> Threshold {
        Threshold {
            // At most 8.
            sensor: sensor as u8,
            under: file == File::Min,
        }
    }
}

impl Thermometers for Sensors {
    const NAME: &'static CStr = c"nvme";

    const LABELS: &'static [&'static CStr] = &[
        c"Composite",
        c"Sensor 1",
        c"Sensor 2",
        c"Sensor 3",
        c"Sensor 4",
        c"Sensor 5",
        c"Sensor 6",
        c"Sensor 7",
        c"Sensor 8",
    ];

    fn access(&self, file: File, sensor: usize) -> Access {
        let (info, quirks) = (self.controller.info(), self.controller.ctrl().quirks());
        let (warning, critical) = info.map_or((0, 0), |info| (info.wctemp.0, info.cctemp.0));
        match file {
            File::Input if self.exists(sensor) => Access::Read,
            File::Alarm if sensor == 0 => Access::Read,
            File::Crit if sensor == 0 && critical != 0 => Access::Read,
            // Without a warning limit, the controller has no thresholds for the composite
            // temperature.
            File::Min | File::Max if sensor == 0 && warning == 0 => Access::None,
            File::Min | File::Max
                if sensor != 0 && quirks.has(Quirks::NO_SECONDARY_TEMP_THRESH) =>
            {
                Access::None
            }
            File::Min | File::Max if self.exists(sensor) => {
                match quirks.has(Quirks::NO_TEMP_THRESH_CHANGE) {
                    true => Access::Read,
                    false => Access::ReadWrite,
                }
            }
            _ => Access::None,
        }
    }

    fn read(&self, dev: &device::Device<Bound>, file: File, sensor: usize) -> Result<i32> {
        let ctrl = self.controller.ctrl();
        Ok(match file {
            File::Input => {
                let smart = self.run(|| ctrl.smart(dev))?;
                smart.temperature(sensor).ok_or(ENODATA)?.millicelsius()
            }
            File::Alarm => self.run(|| ctrl.smart(dev))?.warnings.temperature().into(),
            File::Crit => {
                let info = self.controller.info().ok_or(ENODATA)?;
                info.cctemp.millicelsius()
            }
            File::Min | File::Max => {
                let threshold = Self::threshold(file, sensor);
                self.run(|| ctrl.temperature_limit(threshold))?
                    .millicelsius()
            }
        })
    }

    fn write(&self, _: &device::Device<Bound>, file: File, sensor: usize, value: i64) -> Result {
        let threshold = Self::threshold(file, sensor);
        let ctrl = self.controller.ctrl();
        self.run(|| ctrl.set_temperature_limit(threshold, value))
    }
}
