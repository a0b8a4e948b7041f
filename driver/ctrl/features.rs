// SPDX-License-Identifier: GPL-2.0

//! Features with data that the driver sets at each start: the time, and the power states that an idle
//! controller enters. `life` calls this; a controller works without them.

use super::{
    admin::CommandError,
    Ctrl, //
};
use crate::{
    abstractions::dma::Ring,
    nvme::{
        host::{
            power,
            quirks::Quirks, //
        },
        spec::{
            command::{
                Command,
                DataPtr, //
            },
            id::Cid,
            identify::{
                self,
                PowerStates,
                POWER_STATES, //
            },
        },
    },
};
use kernel::{
    prelude::*,
    sync::Arc,
    time::{
        ClockSource,
        RealTime, //
    }, //
};

/// Memory for the data of a feature. All features share it: a controller that reads it late, after a
/// time-out, reads another feature's data.
pub(super) type Data = Ring<POWER_STATES>;

impl Ctrl {
    /// Sets the features of a started controller. The identify data must have been read. Logs
    /// failures. Doesn't wait for memory.
    ///
    /// # Errors
    ///
    /// The first command that failed.
    pub(crate) fn set_features(
        &self,
        info: &identify::Controller,
        max_exit_us: u32,
    ) -> Result<(), CommandError> {
        let time = match info.timestamp() {
            true => self.set_time(),
            false => Ok(()),
        };
        time.and(self.set_power_transitions(max_exit_us))
    }

    /// Tells the controller the time (Base 5.27.1.13).
    fn set_time(&self) -> Result<(), CommandError> {
        let mut data = [0; POWER_STATES];
        let ms = u64::try_from(RealTime::ktime_get()).unwrap_or(0) / 1_000_000;
        // The field has 48 bits, the next 16 are reserved.
        data[0] = (ms & ((1 << 48) - 1)).to_le();
        self.set_feature(&data, |data| {
            Command::set_features_timestamp(Cid::UNSET, data)
        })
    }

    /// Has an idle controller enter power states that it leaves within `max_exit_us` microseconds; 0
    /// for none (Base 5.27.1.11).
    fn set_power_transitions(&self, max_exit_us: u32) -> Result<(), CommandError> {
        let states = {
            let reserve = self.reserve.lock();
            reserve.as_ref().and_then(|r| PowerStates::parse(&r.page))
        };
        let (Some(states), quirks) = (states, self.quirks()) else {
            return Ok(());
        };
        let enable = max_exit_us != 0 && !quirks.has(Quirks::NO_APST);
        let table = match enable {
            true => {
                let skip = quirks.has(Quirks::NO_DEEPEST_PS);
                power::transitions(states.as_slice(), max_exit_us, skip)
            }
            false => [0; POWER_STATES],
        };
        self.set_feature(&table, |data| {
            Command::set_features_power_transitions(Cid::UNSET, enable, data)
        })
    }

    /// The power state that the controller is in, as dword 11 of [`set_power_state`]
    /// (Base 5.27.1.2).
    ///
    /// [`set_power_state`]: Self::set_power_state
    pub(crate) fn power_state(&self) -> Result<u32, CommandError> {
        // The other bits are reserved.
        Ok(self.run(Command::get_features_power_state(Cid::UNSET), None)? as u32 & 0xff)
    }

    /// Has the controller enter a power state: its number, and a hint about the load above it
    /// (Base 5.27.1.2).
    pub(crate) fn set_power_state(&self, dword11: u32) -> Result<(), CommandError> {
        self.run(Command::set_features_power_state(Cid::UNSET, dword11), None)?;
        Ok(())
    }

    /// Runs the command that `command` returns for the address of `data`.
    fn set_feature(
        &self,
        data: &[u64; POWER_STATES],
        command: impl FnOnce(DataPtr) -> Command,
    ) -> Result<(), CommandError> {
        let memory: Arc<Data> = {
            let reserve = self.reserve.lock();
            let reserve = reserve.as_ref().ok_or(CommandError::Host(ENODEV))?;
            reserve.feature.clone()
        };
        memory.write(0, data);
        let pointer = DataPtr::Prp {
            prp1: memory.dma_address(),
            prp2: 0,
        };
        self.run(command(pointer), Some(memory))?;
        Ok(())
    }
}
