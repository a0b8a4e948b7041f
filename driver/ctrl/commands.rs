// SPDX-License-Identifier: GPL-2.0

//! A typed call for each admin command that the driver uses, for `life` and `namespaces`. This file
//! logs failures; the caller decides what follows.

use super::{
    admin::{
        CommandError,
        Memory, //
    },
    features,
    Ctrl, //
};
use crate::{
    abstractions::dma::{
        Buffer,
        BUFFER_SIZE, //
    },
    driver::queue::QueueConfig,
    nvme::{
        host::quirks::Quirks,
        spec::{
            command::{
                opcode_name,
                Cns,
                Command,
                DataPtr, //
            },
            effects::Effects,
            features::{
                granted_queues,
                AsyncEvent,
                Threshold, //
            },
            id::{
                Cid,
                Nsid,
                Qid, //
            },
            identify,
            log::{
                self,
                Kelvin, //
            },
            page::Page, //
        },
    },
};
use kernel::{
    alloc::AllocError,
    device::{
        self,
        Bound, //
    },
    prelude::*,
    sync::Arc, //
};

/// Memory reserved for identifying the controller in a reset, because an allocation could wait for reclaim,
/// which may depend on the reset; and for the log page of an event.
pub(crate) struct Reserve {
    buffer: Arc<Buffer>,
    log: Arc<Buffer>,
    /// The controller's identify data, once they were read.
    pub(super) page: KBox<Page>,
    pub(super) feature: Arc<features::Data>,
}

impl Reserve {
    pub(crate) fn new(dev: &device::Device<Bound>) -> Result<Self> {
        Ok(Self {
            buffer: Arc::new(Buffer::new(dev)?, GFP_KERNEL)?,
            log: Arc::new(Buffer::new(dev)?, GFP_KERNEL)?,
            page: zeroed_page()?,
            feature: Arc::new(features::Data::new(dev, 1)?, GFP_KERNEL)?,
        })
    }
}

/// The memory was released, because the controller is being removed.
const GONE: CommandError = CommandError::Host(ENODEV);

impl From<AllocError> for CommandError {
    fn from(_: AllocError) -> Self {
        Self::Host(ENOMEM)
    }
}

/// A page of zeroes, which is never on the stack.
fn zeroed_page() -> Result<KBox<Page>> {
    KBox::init(Page::init_zeroed(), GFP_KERNEL)
}

/// The data pointer for a whole buffer.
fn data(buffer: &Buffer) -> DataPtr {
    DataPtr::Prp {
        prp1: buffer.dma_address(),
        prp2: 0,
    }
}

impl Ctrl {
    /// Runs `command`, whose data pointer names `memory`, if any. Logs a failure.
    pub(super) fn run(
        &self,
        command: Command,
        memory: Option<Memory>,
    ) -> Result<u64, CommandError> {
        self.admin
            .execute(command, memory, self.timeout_ms())
            .inspect_err(|error| self.log_failure(&command, *error))
    }

    fn log_failure(&self, command: &Command, error: CommandError) {
        let name = opcode_name(true, command.opcode());
        match error {
            CommandError::Status(status) => warn_limited!(self, "{} failed: {}\n", name, status),
            CommandError::Timeout => warn_limited!(self, "{} was not completed in time\n", name),
            CommandError::Unavailable => {
                warn_limited!(self, "{}: the controller takes no command\n", name)
            }
            CommandError::Host(error) => warn_limited!(self, "{}: {:?}\n", name, error),
        }
    }

    /// Runs the command that `command` returns for a page of data, and returns the page.
    fn read_page(
        &self,
        dev: &device::Device<Bound>,
        command: impl FnOnce(DataPtr) -> Command,
    ) -> Result<KBox<Page>, CommandError> {
        let buffer = Buffer::new(dev).map_err(CommandError::Host)?;
        let buffer = Arc::new(buffer, GFP_KERNEL)?;

        self.run(command(data(&buffer)), Some(buffer.clone()))?;
        buffer.copy().map_err(CommandError::Host)
    }

    /// Reads a page of identify data (Base 5.17).
    pub(crate) fn identify(
        &self,
        dev: &device::Device<Bound>,
        cns: Cns,
    ) -> Result<KBox<Page>, CommandError> {
        self.read_page(dev, |data| Command::identify(Cid::UNSET, cns, data))
    }

    /// Identifies the controller and its subsystem (Base 5.17.2.1). Doesn't wait for memory.
    pub(crate) fn identify_controller(
        &self,
    ) -> Result<(identify::Controller, identify::Subsystem), CommandError> {
        let buffer = {
            let reserve = self.reserve.lock();
            reserve.as_ref().ok_or(GONE)?.buffer.clone()
        };
        let command = Command::identify(Cid::UNSET, Cns::Controller, data(&buffer));
        self.run(command, Some(buffer.clone()))?;

        let mut reserve = self.reserve.lock();
        let page = &mut Option::as_mut(&mut reserve).ok_or(GONE)?.page;
        buffer.copy_to(page);
        Ok(self.parse(page))
    }

    /// As [`identify_controller`](Self::identify_controller), but not in a reset: waits for memory.
    pub(crate) fn identify_again(
        &self,
        dev: &device::Device<Bound>,
    ) -> Result<(identify::Controller, identify::Subsystem), CommandError> {
        let page = self.identify(dev, Cns::Controller)?;
        Ok(self.parse(&page))
    }

    /// Parses the controller's identify data, and learns its quirks from them.
    fn parse(&self, page: &Page) -> (identify::Controller, identify::Subsystem) {
        let info = identify::Controller::parse(page);
        self.learn_quirks(&info);
        let mut subsystem = identify::Subsystem::parse(page);
        if self.quirks().has(Quirks::IGNORE_DEV_SUBNQN) {
            subsystem.forget_nqn();
        }
        (info, subsystem)
    }

    /// Frees the memory for [`identify_controller`](Self::identify_controller) and events' log pages; that
    /// and the reading of these fail from then on.
    pub(crate) fn release_reserve(&self) {
        let reserve = self.reserve.lock().take();
        drop(reserve);
    }

    /// Reads the limits of the NVM command set (NVM 4.1.5.4); no limits if the controller doesn't
    /// report them.
    pub(crate) fn nvm_limits(
        &self,
        dev: &device::Device<Bound>,
    ) -> Result<identify::NvmController, CommandError> {
        if self.version() < (1, 4) {
            return Ok(identify::NvmController::default());
        }
        match self.identify(dev, Cns::NvmController) {
            Ok(page) => Ok(identify::NvmController::parse(&page)),
            Err(error) if error.is_refusal() => Ok(identify::NvmController::default()),
            Err(error) => Err(error),
        }
    }

    /// Reads the namespace identification descriptors of `nsid` (Base 5.17.2.3); none if the
    /// controller doesn't support or rejects this.
    pub(crate) fn namespace_ids(
        &self,
        dev: &device::Device<Bound>,
        nsid: Nsid,
    ) -> Result<identify::NamespaceIds, CommandError> {
        // Before 1.3 the descriptors are required only with several command sets.
        let required = self.has_all_command_sets() || self.version() >= (1, 3);
        if !required || self.quirks().has(Quirks::NO_NS_DESC_LIST) {
            return Ok(identify::NamespaceIds::default());
        }
        match self.identify(dev, Cns::NamespaceIds(nsid)) {
            Ok(page) => Ok(identify::NamespaceIds::parse(&page)),
            Err(error) if error.is_refusal() => Ok(identify::NamespaceIds::default()),
            Err(error) => Err(error),
        }
    }

    /// Reads the changed namespace list, so that the controller reports the next change (Base
    /// 5.16.1.5).
    pub(crate) fn read_changed_namespaces(&self) -> Result<(), CommandError> {
        self.read_event_log(log::CHANGED_NAMESPACES, BUFFER_SIZE as u32)?;
        Ok(())
    }

    /// Reads the first `bytes` bytes of an event's log page, which the controller then may report again.
    /// Only the event task may call this. Needs no more memory, because otherwise the controller would
    /// never report this kind of event again.
    fn read_event_log(&self, lid: u8, bytes: u32) -> Result<Arc<Buffer>, CommandError> {
        let buffer = self.reserve.lock().as_ref().ok_or(GONE)?.log.clone();
        let command = Command::get_log_page(Cid::UNSET, lid, None, bytes, data(&buffer));
        self.run(command, Some(buffer.clone()))?;
        Ok(buffer)
    }

    /// Reads the first `bytes` bytes of a log page of the controller, a page at most.
    fn read_log(
        &self,
        dev: &device::Device<Bound>,
        lid: u8,
        bytes: u32,
    ) -> Result<KBox<Page>, CommandError> {
        self.read_page(dev, |data| {
            Command::get_log_page(Cid::UNSET, lid, None, bytes, data)
        })
    }

    /// Reads temperatures and warnings after an event, so that the controller reports the next warning
    /// (Base 5.16.1.3).
    pub(crate) fn smart_warning(&self) -> Result<log::Smart, CommandError> {
        let buffer = self.read_event_log(log::SMART, log::Smart::BYTES)?;
        let page = buffer.copy().map_err(CommandError::Host)?;
        Ok(log::Smart::parse(&page))
    }

    /// Reads temperatures and warnings (Base 5.16.1.3).
    pub(crate) fn smart(&self, dev: &device::Device<Bound>) -> Result<log::Smart, CommandError> {
        let page = self.read_log(dev, log::SMART, log::Smart::BYTES)?;
        Ok(log::Smart::parse(&page))
    }

    /// Reads the newest entry of the error log, so that the controller reports the next error (Base
    /// 5.16.1.2).
    pub(crate) fn read_error_log(&self) -> Result<(), CommandError> {
        self.read_event_log(log::ERRORS, log::ERROR_BYTES)?;
        Ok(())
    }

    /// Reads the firmware slots, so that the controller reports the next activation (Base
    /// 5.16.1.4).
    pub(crate) fn read_firmware_log(&self) -> Result<(), CommandError> {
        self.read_event_log(log::FIRMWARE_SLOTS, log::FIRMWARE_BYTES)?;
        Ok(())
    }

    /// Reads the limit of a temperature (Base 5.27.1.3).
    pub(crate) fn temperature_limit(&self, threshold: Threshold) -> Result<Kelvin, CommandError> {
        let command = Command::get_features_temperature(Cid::UNSET, threshold);
        // The upper bits aren't part of it.
        Ok(Kelvin(self.run(command, None)? as u16))
    }

    /// Sets the limit of a temperature to the nearest one to `millicelsius` (Base 5.27.1.3).
    pub(crate) fn set_temperature_limit(
        &self,
        threshold: Threshold,
        millicelsius: i64,
    ) -> Result<(), CommandError> {
        let limit = Kelvin::from_millicelsius(millicelsius);
        self.run(
            Command::set_features_temperature(Cid::UNSET, threshold, limit),
            None,
        )?;
        Ok(())
    }

    /// The entry of `opcode` in the Commands Supported and Effects log; no effects until
    /// [`logged_effects`](Self::logged_effects) has read the log.
    pub(crate) fn known_effects(&self, admin: bool, opcode: u8) -> Effects {
        match self.effects.as_ref() {
            Some(log) => Effects::of(&**log, admin, opcode),
            None => Effects::default(),
        }
    }

    /// Reads the Commands Supported and Effects log, once; no effects if the controller doesn't have
    /// or return it (Base 5.16.1.6). Then returns the entry of `opcode`; `admin` selects the admin
    /// commands.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or why the log wasn't read, if a later try may succeed.
    pub(crate) fn logged_effects(
        &self,
        dev: &device::Device<Bound>,
        info: &identify::Controller,
        admin: bool,
        opcode: u8,
    ) -> Result<Effects, CommandError> {
        if !info.effects_log() {
            return Ok(Effects::default());
        }
        if let Some(log) = self.effects.as_ref() {
            return Ok(Effects::of(&**log, admin, opcode));
        }
        let log = match self.read_log(dev, log::EFFECTS, BUFFER_SIZE as u32) {
            Err(error) if error.is_refusal() => zeroed_page().map_err(CommandError::Host)?,
            read => read?,
        };
        let effects = Effects::of(&*log, admin, opcode);
        // Another context may have read the same meanwhile.
        self.effects.populate(log);
        Ok(effects)
    }

    /// Requests `wanted` I/O queues, and returns how many the controller allocated (Base 5.27.1.5).
    pub(crate) fn request_queues(&self, wanted: u16) -> Result<u32, CommandError> {
        let result = self.run(Command::set_features_num_queues(Cid::UNSET, wanted), None)?;
        let (sq, cq) = granted_queues(result as u32);
        Ok(sq.min(cq))
    }

    /// Creates an I/O queue whose rings are at `addresses` (Base 5.4, 5.5).
    pub(crate) fn create_queue(
        &self,
        config: &QueueConfig,
        addresses: (u64, u64),
    ) -> Result<(), CommandError> {
        let (sq, cq) = addresses;
        let QueueConfig {
            qid,
            depth,
            cq_depth,
            vector,
            ..
        } = *config;

        self.run(
            Command::create_cq(Cid::UNSET, qid, cq_depth.into(), vector, cq),
            None,
        )?;
        let mut command = Command::create_sq(Cid::UNSET, qid, depth.into(), qid, sq);
        if self.quirks().has(Quirks::MEDIUM_PRIO_SQ) {
            command = command.with_medium_priority();
        }
        if let Err(error) = self.run(command, None) {
            // A completion queue alone is useless. Best effort: the result doesn't matter.
            let _ = self.run(Command::delete_cq(Cid::UNSET, qid), None);
            return Err(error);
        }
        Ok(())
    }

    /// Deletes an I/O queue (Base 5.6, 5.7).
    pub(crate) fn delete_queue(&self, qid: Qid) -> Result<(), CommandError> {
        self.run(Command::delete_sq(Cid::UNSET, qid), None)?;
        self.run(Command::delete_cq(Cid::UNSET, qid), None)?;
        Ok(())
    }

    /// Configures shadow doorbells by `command`, see
    /// [`Buffers::configure`](crate::driver::queue::shadow::Buffers::configure) (Base 5.8).
    pub(crate) fn configure_shadow(&self, command: Command) -> Result<(), CommandError> {
        self.run(command, None)?;
        Ok(())
    }

    /// Enables asynchronous events, and waits for the first one (Base 5.27.1.8, 5.2): changed
    /// namespaces and firmware activations, if the controller supports them, and all SMART warnings.
    /// Best effort: the driver works without events.
    pub(crate) fn watch_events(&self, info: &identify::Controller) {
        let notices = info.oaes & AsyncEvent::NOTICES;
        let mask = notices | AsyncEvent::warnings(self.version());
        let enable = |mask| self.run(Command::set_features_async_event(Cid::UNSET, mask), None);
        // The controller may not know each warning.
        if matches!(enable(mask), Err(error) if error.is_refusal()) && notices != 0 {
            let _ = enable(notices);
        }
        // Some events can't be disabled.
        self.admin.arm_event();
    }

    /// Aborts command `cid` of queue `qid`, within `timeout_ms` milliseconds (Base 5.1). Doesn't
    /// log failures.
    pub(crate) fn abort(&self, qid: Qid, cid: Cid, timeout_ms: u32) -> Result<(), CommandError> {
        self.admin
            .execute(Command::abort(Cid::UNSET, qid, cid), None, timeout_ms)
            .map(|_| ())
    }
}
