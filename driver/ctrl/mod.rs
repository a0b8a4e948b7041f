// SPDX-License-Identifier: GPL-2.0

//! The controller as hardware: its registers, enabling and disabling, its admin queue, and a typed
//! call for each admin command.
//!
//! This room has no states and retries nothing: it returns a typed error, and the caller, in `life`
//! or above, decides what follows. It uses the rings of `queue`, and doesn't know requests.

pub(crate) mod admin;
mod commands;
mod features;
pub(crate) mod host_memory;
mod log;
pub(crate) mod regs;

use self::{
    admin::{
        AdminQueue,
        EventHook, //
    },
    commands::Reserve,
    log::LogLimit,
    regs::Bar0, //
};
use crate::abstractions::atomic::{
    AtomicU32,
    Ordering, //
};
use crate::{
    abstractions::{
        dmi::Field,
        pci::{
            demands_d3,
            EnabledDevice, //
        },
    },
    nvme::{
        host::{
            prp,
            quirks::{
                self,
                ComputerName,
                Overrides,
                Quirks, //
            }, //
        },
        spec::{
            command::Cns,
            identify,
            page::Page,
            regs::{
                aqa,
                cc,
                Cap,
                Csts,
                Limits, //
            },
        },
    },
};
use kernel::{
    device::{
        self,
        Bound,
        Core, //
    },
    fmt,
    io::{
        poll::read_poll_timeout,
        Io, //
    },
    new_mutex,
    pci,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        Mutex,
        SetOnce, //
    },
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

/// The hardware of a controller.
#[pin_data]
pub(crate) struct Ctrl {
    pdev: ARef<pci::Device>,
    cap: Cap,
    /// The register VS, cached when the controller is enabled, so that reading sysfs doesn't access
    /// the hardware.
    vs: AtomicU32,
    limits: Limits,
    /// The quirks in force.
    quirks: AtomicU32,
    /// The quirks that the controller has in this computer.
    quirks_here: Quirks,
    overrides: Overrides,
    admin: Arc<AdminQueue>,
    /// The time limit of an admin command, in milliseconds.
    timeout_ms: AtomicU32,
    log: LogLimit,
    command_log: LogLimit,
    #[pin]
    reserve: Mutex<Option<Reserve>>,
    /// The Commands Supported and Effects log, once it was read.
    effects: SetOnce<KBox<Page>>,
    bar: Bar0,
    enabled: EnabledDevice,
}

/// The quirks that a device has in this computer.
fn quirks_here(pdev: &pci::Device) -> Quirks {
    let is = |name, text: &'static CStr| {
        let field = match name {
            ComputerName::Vendor => Field::SystemVendor,
            ComputerName::Product => Field::ProductName,
            ComputerName::BoardVendor => Field::BoardVendor,
            ComputerName::Board => Field::BoardName,
        };
        field.is(text)
    };
    let (vendor, device) = (pdev.vendor_id().as_raw(), pdev.device_id());
    Quirks::of_computer(vendor, device, is, demands_d3(pdev))
}

/// The quirks of a device in force: by its PCI ids, and those that were `learned` otherwise.
fn quirks_of(pdev: &pci::Device, overrides: Overrides, learned: Quirks) -> Quirks {
    overrides.in_force(pdev.vendor_id().as_raw(), pdev.device_id(), learned)
}

/// The queue depth for a controller with these quirks, if `depth` is asked for.
///
/// # Errors
///
/// `ENODEV` if the driver can't drive such a controller; a line in the log says why.
fn usable_depth(dev: &device::Device, quirks: Quirks, depth: u32) -> Result<u32> {
    if quirks.has(Quirks::UNSUPPORTED) {
        dev_err!(
            dev,
            "this controller needs what the driver lacks: entries of 128 bytes, tags that all queues share, or small command identifiers\n"
        );
        return Err(ENODEV);
    }
    Ok(match quirks.has(Quirks::QDEPTH_ONE) {
        // One entry stays empty.
        true => 2,
        false => depth,
    })
}

impl Ctrl {
    /// Enables the PCI device, maps its registers, and allocates the admin queue. Doesn't enable
    /// the controller. `depth` is the requested size of an I/O queue, `overrides` changes the quirks
    /// in the driver's table, `instance` is the controller's number.
    ///
    /// # Errors
    ///
    /// If the device can't be driven; a line in the log says why.
    pub(crate) fn new(
        pdev: &pci::Device<Core<'_>>,
        depth: u32,
        overrides: Overrides,
        timeout_ms: u32,
        instance: u32,
        hook: Arc<dyn EventHook>,
    ) -> Result<impl PinInit<Self, Error>> {
        let dev: &device::Device<Bound> = pdev.as_ref();
        let quirks_here = quirks_here(pdev);
        let quirks = quirks_of(pdev, overrides, quirks_here);
        let depth = usable_depth(dev, quirks, depth)?;
        let enabled = EnabledDevice::new(pdev)
            .inspect_err(|e| dev_err!(dev, "can't enable the device: {:?}\n", e))?;
        if enabled.is_blocked() {
            // Its BARs are gone, and no callback will report the end of recovery.
            dev_err!(
                dev,
                "the bus gave this device up after an error: remove all below its root port, and rescan\n"
            );
            return Err(EIO);
        }
        let bar = Bar0::map(pdev, 0, c"rust_nvme_demo")
            .inspect_err(|e| dev_err!(dev, "can't map BAR 0: {:?}\n", e))?;

        let cap = Cap(regs::cap(&bar));
        let limits = Limits::new(cap, prp::PAGE_SHIFT, depth)
            .inspect_err(|e| dev_err!(dev, "{}\n", e))
            .map_err(|_| ENODEV)?;
        if limits.depth < depth {
            dev_info!(
                dev,
                "queue_depth: {} lowered to {} (CAP.MQES)\n",
                depth,
                limits.depth
            );
        }
        let admin = AdminQueue::allocate(dev, &bar, limits.stride, instance, hook)?;
        let reserve = Reserve::new(dev)?;
        let pdev: ARef<pci::Device> = pdev.into();

        Ok(try_pin_init!(Self {
            pdev,
            cap,
            vs: AtomicU32::new(0),
            limits,
            quirks: AtomicU32::new(quirks.0),
            quirks_here,
            overrides,
            admin,
            timeout_ms: AtomicU32::new(timeout_ms),
            log: LogLimit::new(),
            command_log: LogLimit::new(),
            reserve <- new_mutex!(Some(reserve)),
            effects: SetOnce::new(),
            bar,
            enabled,
        }? Error))
    }

    /// The device, for messages.
    pub(crate) fn dev(&self) -> &device::Device {
        (*self.pdev).as_ref()
    }

    /// The registers.
    pub(crate) fn bar(&self) -> &Bar0 {
        &self.bar
    }

    /// The device as enabled on the bus.
    pub(crate) fn enabled(&self) -> &EnabledDevice {
        &self.enabled
    }

    /// The admin queue.
    pub(crate) fn admin_queue(&self) -> &Arc<AdminQueue> {
        &self.admin
    }

    /// The controller's quirks.
    pub(crate) fn quirks(&self) -> Quirks {
        Quirks(self.quirks.load(Ordering::Relaxed))
    }

    /// Adds the quirks that the controller's identify data tell.
    fn learn_quirks(&self, info: &identify::Controller) {
        let learned = self.quirks_here.with(Quirks::of_model(info));
        let quirks = quirks_of(&self.pdev, self.overrides, learned);
        self.quirks.store(quirks.0, Ordering::Relaxed);
    }

    /// The time limit of the driver's admin commands, in milliseconds.
    pub(crate) fn timeout_ms(&self) -> u32 {
        self.timeout_ms.load(Ordering::Relaxed)
    }

    /// Sets the time limit of the driver's admin commands: of those that begin from now on.
    pub(crate) fn set_timeout_ms(&self, ms: u32) {
        self.timeout_ms.store(ms, Ordering::Relaxed);
    }

    /// Whether the parameters change the quirks of this controller.
    pub(crate) fn has_overrides(&self) -> bool {
        let (vendor, device) = (self.pdev.vendor_id().as_raw(), self.pdev.device_id());
        self.overrides.concern(vendor, device)
    }

    /// Whether the controller knows this CNS of Identify.
    pub(crate) fn knows_cns(&self, cns: Cns) -> bool {
        quirks::knows_cns(self.version(), self.quirks(), cns.number())
    }

    /// Whether the controller's namespaces may be of any command set: then each namespace has a
    /// descriptor that tells which. A controller that can't be asked for it gets only the NVM command
    /// set.
    pub(crate) fn has_all_command_sets(&self) -> bool {
        self.cap.supports_all_command_sets() && !self.quirks().has(Quirks::NO_NS_DESC_LIST)
    }

    /// The controller's capabilities.
    pub(crate) fn cap(&self) -> Cap {
        self.cap
    }

    /// The limits from the capabilities and the parameters.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The maximum number of queue entries that the controller supports.
    pub(crate) fn max_entries(&self) -> u16 {
        u16::try_from(self.cap.mqes()).unwrap_or(u16::MAX)
    }

    /// The version of the specification that the controller implements.
    pub(crate) fn vs(&self) -> regs::VS {
        regs::VS::from_raw(self.vs.load(Ordering::Relaxed))
    }

    /// The major and minor number of [`vs`](Self::vs).
    pub(crate) fn version(&self) -> (u16, u8) {
        let vs = self.vs().into_raw();
        ((vs >> 16) as u16, (vs >> 8) as u8)
    }

    /// The controller's status.
    pub(crate) fn csts(&self) -> Csts {
        Csts(self.bar.read(regs::CSTS).into_raw())
    }

    /// Whether the bus allows access, and the controller responds.
    pub(crate) fn is_reachable(&self) -> bool {
        !self.enabled.is_blocked() && !self.csts().gone()
    }

    /// Waits until `done` is true of the controller's status, `ms` milliseconds at most. `what`
    /// names the condition in the log.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the device is gone, `ETIMEDOUT`; a line in the log says so.
    fn wait_for(&self, what: &str, ms: u32, done: fn(Csts) -> bool) -> Result {
        let csts = read_poll_timeout(
            || Ok(self.csts()),
            |csts| done(*csts) || csts.gone(),
            Delta::from_micros(100),
            Delta::from_millis(ms.into()),
        );

        match csts {
            Ok(csts) if csts.gone() => {
                dev_err!(self.dev(), "CSTS reads all ones: the device is gone\n");
                Err(ENODEV)
            }
            Ok(_) => Ok(()),
            Err(error) => {
                dev_err!(
                    self.dev(),
                    "{} not seen within {} ms (CSTS {:#x})\n",
                    what,
                    ms,
                    self.csts().0
                );
                Err(error)
            }
        }
    }

    /// The time limit for a change of CSTS.RDY, in milliseconds.
    fn ready_timeout_ms(&self) -> u32 {
        // Some controllers report 0.
        self.limits.timeout_ms.max(500)
    }

    /// Enables the controller with an empty admin queue (Base 3.5.1).
    ///
    /// # Errors
    ///
    /// Those of [`wait_for`](Self::wait_for); `EIO` if the controller reports a fatal error.
    pub(crate) fn enable(&self, dev: &device::Device<Bound>) -> Result {
        self.disable()?;
        // Only now can earlier commands no longer execute.
        self.enabled.start_dma(dev);
        self.admin.rewind();

        let (sq, cq) = self.admin.addresses();
        let depth = self.admin.config.depth;
        self.bar.write_reg(regs::AQA::from_raw(aqa(depth, depth)));
        regs::set_asq(&self.bar, sq);
        regs::set_acq(&self.bar, cq);
        let mut cc = cc::enable(self.limits.page_shift);
        if self.has_all_command_sets() {
            // With only the NVM command set enabled, the controller doesn't list namespaces of
            // other command sets.
            cc = cc::with_all_command_sets(cc);
        }
        self.bar.write_reg(regs::CC::from_raw(cc));

        self.wait_for("CSTS.RDY = 1", self.ready_timeout_ms(), |c| {
            c.ready() || c.fatal()
        })?;
        if self.csts().fatal() {
            dev_err!(self.dev(), "CSTS.CFS is 1: fatal error at start\n");
            return Err(EIO);
        }
        let vs = self.bar.read(regs::VS).into_raw();
        self.vs.store(vs, Ordering::Relaxed);
        self.admin.open();
        Ok(())
    }

    /// Disables the controller: it deletes its queues, and does no more DMA (Base 3.7.2).
    ///
    /// # Errors
    ///
    /// Those of [`wait_for`](Self::wait_for).
    fn disable(&self) -> Result {
        let cc = self.bar.read(regs::CC).into_raw();
        self.bar.write_reg(regs::CC::from_raw(cc::disable(cc)));
        if self.quirks().has(Quirks::DELAY_BEFORE_CHK_RDY) {
            fsleep(Delta::from_millis(Quirks::DELAY_MS.into()));
        }
        self.wait_for("CSTS.RDY = 0", self.ready_timeout_ms(), |c| !c.ready())
    }

    /// Disables the controller. If it is unreachable or doesn't become disabled, stops its DMA by
    /// the bus: the controller does no DMA after this.
    pub(crate) fn disable_or_stop_dma(&self) {
        // An unreachable controller may still be doing DMA.
        if !self.is_reachable() || self.disable().is_err() {
            self.enabled.stop_dma();
        }
    }

    /// Resets the NVM subsystem, of a controller that can do that (Base 3.7.1). The reset may take the
    /// device off the bus, which then reports an error.
    pub(crate) fn reset_subsystem(&self) {
        /// "NVMe".
        const CODE: u32 = 0x4e56_4d65;

        self.bar.write_reg(regs::NSSR::from_raw(CODE));
        // The write has arrived when this returns.
        let _ = self.csts();
    }

    /// Notifies the controller of a shutdown, and waits until the controller has completed it (Base
    /// 3.6.1).
    ///
    /// # Errors
    ///
    /// Those of [`wait_for`](Self::wait_for).
    pub(crate) fn notify_shutdown(&self, info: Option<&identify::Controller>) -> Result {
        let cc = self.bar.read(regs::CC).into_raw();
        self.bar
            .write_reg(regs::CC::from_raw(cc::with_shutdown(cc, true)));

        let ms = info
            .map_or(identify::MIN_SHUTDOWN_MS, |info| info.shutdown_timeout_ms())
            .max(self.ready_timeout_ms());
        self.wait_for("CSTS.SHST = 2", ms, |c| c.shutdown_complete())
    }

    /// Prints one register a line: name and value.
    pub(crate) fn print_registers(&self, f: &mut dyn fmt::Write) -> fmt::Result {
        let bar = &self.bar;
        // The width includes the prefix `0x`.
        for (name, width, value) in [
            ("CAP ", 18, regs::cap(bar)),
            ("VS  ", 10, bar.read(regs::VS).into_raw().into()),
            ("CC  ", 10, bar.read(regs::CC).into_raw().into()),
            ("CSTS", 10, bar.read(regs::CSTS).into_raw().into()),
            ("AQA ", 10, bar.read(regs::AQA).into_raw().into()),
            ("ASQ ", 18, regs::asq(bar)),
            ("ACQ ", 18, regs::acq(bar)),
        ] {
            writeln!(f, "{name} {value:#0width$x}")?;
        }
        Ok(())
    }
}
