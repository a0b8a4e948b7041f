// SPDX-License-Identifier: GPL-2.0

//! Sample 6: a driver for QEMU's device `edu`, with the parts that most PCI drivers have: registers,
//! an interrupt, DMA, a task, files in sysfs, and a core dump.
//!
//! It uses only part of abstractions/ and nothing of NVMe. The ABI of its files is in
//! `Documentation/ABI/testing/sysfs-driver-rust_edu`. QEMU's `docs/specs/edu.rst` describes the
//! device. To make this driver probe, QEMU must be run with `-device edu`. It prints:
//!
//! ```text
//! rust_edu 0000:00:01.0: edu 1.0, interrupt 28, see /sys/bus/pci/devices/0000:00:01.0/edu
//! ```
//!
//! It then creates these files:
//!
//! ```text
//! # cd /sys/bus/pci/devices/0000:00:01.0/edu
//! # echo 12 > factorial; cat factorial
//! 479001600
//! # echo 4096 > dma_test
//! # echo 1 > dump; cat /sys/class/devcoredump/devcd*/data
//! requested
//! register 0x00: 0x10000ed
//! ...
//! ```

#![deny(unsafe_code)]

use kernel::{
    device::{
        Bound,
        Core,
        Device, //
    },
    dma::Coherent,
    fmt::{
        self,
        Write, //
    },
    io::{
        poll::read_poll_timeout,
        register,
        Io, //
    },
    new_condvar,
    new_mutex,
    new_spinlock_irq,
    pci::{
        self,
        IrqType, //
    },
    prelude::*,
    str::parse_int::ParseInt,
    sync::{
        aref::ARef,
        Arc,
        CondVar,
        CondVarTimeoutResult,
        Mutex,
        SpinLockIrq, //
    },
    time::{
        msecs_to_jiffies,
        Delta, //
    }, //
};

// The parts of abstractions/ that this module uses.
#[allow(unsafe_code)]
#[path = "../abstractions"]
mod abstractions {
    pub mod atomic;
    pub mod binding;
    pub mod devcoredump;
    pub mod dma;
    pub mod irq;
    pub mod pci;
    pub mod series;
    pub mod sync;
    pub mod sysfs;
    pub mod workqueue;
}

use abstractions::{
    devcoredump::Text,
    irq::{
        self,
        IrqReturn,
        Vectors, //
    },
    pci::io::Bar,
    pci::{
        device_id,
        Adapter,
        Driver,
        EnabledDevice,
        Power, //
    },
    sysfs::{
        Attribute,
        Dir, //
    },
    workqueue::{
        Task,
        Tasks, //
    }, //
};

register! {
    /// Identifies the device.
    IDENTIFICATION(u32) @ 0x00 {
        31:24 major;
        23:16 minor;
        15:0 magic;
    }

    /// A write starts the computation of the value's factorial; then a read returns the result.
    FACTORIAL(u32) @ 0x08 {}

    /// State of the computation.
    STATUS(u32) @ 0x20 {
        /// Raise an interrupt at the end of the computation.
        7:7 interrupt => bool;
        /// The computation is running.
        0:0 running => bool;
    }

    /// The causes of the interrupt.
    INTERRUPT_STATUS(u32) @ 0x24 {}

    /// Clears causes of the interrupt.
    INTERRUPT_ACKNOWLEDGE(u32) @ 0x64 {}

    /// Where DMA reads: a bus address, or an address in the device's buffer.
    DMA_SOURCE(u32) @ 0x80 {}

    /// Where DMA writes.
    DMA_DESTINATION(u32) @ 0x88 {}

    /// The number of bytes.
    DMA_COUNT(u32) @ 0x90 {}

    /// Starts DMA.
    DMA_COMMAND(u32) @ 0x98 {
        /// Raise an interrupt at the end.
        2:2 interrupt => bool;
        /// From the device to memory.
        1:1 to_memory => bool;
        /// DMA is running.
        0:0 running => bool;
    }
}

/// The value of `IDENTIFICATION.magic`.
const MAGIC: u32 = 0xed;

/// The address and the size of the device's buffer.
const BUFFER: u32 = 0x40000;
const BUFFER_SIZE: usize = 4096;

/// Causes of the interrupt.
const COMPUTED: u32 = 0x1;
const TRANSFERRED: u32 = 0x100;

/// The time limit of a command in milliseconds.
const TIMEOUT_MS: u32 = 1000;

/// The device.
#[pin_data]
struct Edu {
    pdev: ARef<pci::Device>,
    enabled: EnabledDevice,
    bar: Bar<0x9c>,
    /// The task holds the device, too, until it is cancelled.
    task: Arc<Task<Edu>>,
    /// The causes of interrupts that the task hasn't seen.
    #[pin]
    causes: SpinLockIrq<u32>,
    #[pin]
    state: Mutex<State>,
    /// Notified when `state` changes.
    #[pin]
    changed: CondVar,
    /// The memory for DMA. The holder of this lock may start commands. Taken before `state`.
    #[pin]
    memory: Mutex<Coherent<[u8]>>,
}

#[derive(Default)]
struct State {
    /// The device may be used: not before `start`, nor after `stop`.
    started: bool,
    /// The causes of all interrupts since the last command.
    causes: u32,
    /// The last result.
    factorial: Option<u32>,
    /// A dump for the task to submit.
    dump: Option<Text>,
}

impl irq::Handler for Edu {
    // Runs in interrupt context: no sleep, no mutex. The rest is left to the task.
    fn handle(&self) -> IrqReturn {
        let causes = self.bar.read(INTERRUPT_STATUS).into_raw();

        // All ones: the device is gone.
        if causes == 0 || causes == !0 {
            return IrqReturn::None;
        }
        self.bar.write_reg(INTERRUPT_ACKNOWLEDGE::from(causes));
        *self.causes.lock() |= causes;
        self.task.queue();
        IrqReturn::Handled
    }
}

impl Edu {
    /// The task: tells the waiting command about the interrupts, and submits a dump.
    fn run(this: &Arc<Self>, dev: &Device<Bound>) {
        let causes = core::mem::take(&mut *this.causes.lock());
        let mut state = this.state.lock();

        state.causes |= causes;
        this.changed.notify_all();
        let dump = state.dump.take();
        drop(state);
        if let Some(dump) = dump {
            dump.submit(dev);
        }
    }

    /// Allows commands.
    fn start(&self, dev: &Device<Bound>) {
        self.enabled.start_dma(dev);
        // Interrupts from before the start mean nothing.
        self.bar.write_reg(INTERRUPT_ACKNOWLEDGE::from(!0));
        self.bar.write_reg(STATUS::zeroed().with_interrupt(true));
        self.state.lock().started = true;
    }

    /// Refuses commands from now on, and fails a running one. When this returns, the device does no
    /// DMA, and raises no interrupt.
    fn stop(&self) {
        self.state.lock().started = false;
        self.changed.notify_all();
        // A computation can't be stopped. Without this flag, its end raises no interrupt.
        self.bar.write_reg(STATUS::zeroed());
        // The device may write to the memory until DMA has ended.
        let ended = read_poll_timeout(
            || Ok(self.bar.read(DMA_COMMAND)),
            |command| !command.running(),
            Delta::from_millis(1),
            Delta::from_millis(TIMEOUT_MS.into()),
        );
        if ended.is_err() {
            self.enabled.stop_dma();
        }
        self.bar.write_reg(INTERRUPT_ACKNOWLEDGE::from(!0));
    }

    /// Calls `start`, which starts a command, and waits for the interrupt `cause` and the end of
    /// `running`, up to the time limit.
    fn command(&self, cause: u32, running: impl Fn() -> bool, start: impl FnOnce()) -> Result {
        let mut state = self.state.lock();
        let mut left = msecs_to_jiffies(TIMEOUT_MS);

        if !state.started {
            return Err(ENODEV);
        }
        if running() {
            // An earlier command timed out or was interrupted, and is still running.
            return Err(EBUSY);
        }
        state.causes = 0;
        start();
        while state.causes & cause == 0 || running() {
            match self.changed.wait_interruptible_timeout(&mut state, left) {
                CondVarTimeoutResult::Woken { jiffies } if state.started => left = jiffies,
                CondVarTimeoutResult::Woken { .. } => return Err(ENODEV),
                CondVarTimeoutResult::Signal { .. } => return Err(EINTR),
                CondVarTimeoutResult::Timeout if running() => return Err(ETIMEDOUT),
                CondVarTimeoutResult::Timeout => {
                    dev_warn!(self.pdev, "interrupt {:#x} is lost\n", cause);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Computes the factorial of `n`, modulo 2^32.
    fn compute(&self, n: u32) -> Result {
        let _memory = self.memory.try_lock().ok_or(EBUSY)?;

        self.command(
            COMPUTED,
            || self.bar.read(STATUS).running(),
            || self.bar.write_reg(FACTORIAL::from(n)),
        )?;
        self.state.lock().factorial = Some(self.bar.read(FACTORIAL).into_raw());
        Ok(())
    }

    /// Transfers `count` bytes between the memory at the bus address `address` and the device's
    /// buffer.
    fn transfer(&self, address: u32, count: u32, to_memory: bool) -> Result {
        let (source, destination) = match to_memory {
            true => (BUFFER, address),
            false => (address, BUFFER),
        };

        self.command(
            TRANSFERRED,
            || self.bar.read(DMA_COMMAND).running(),
            || {
                self.bar.write_reg(DMA_SOURCE::from(source));
                self.bar.write_reg(DMA_DESTINATION::from(destination));
                self.bar.write_reg(DMA_COUNT::from(count));
                // The device sees all earlier writes to the memory.
                self.bar.write_reg(
                    DMA_COMMAND::zeroed()
                        .with_running(true)
                        .with_interrupt(true)
                        .with_to_memory(to_memory),
                );
            },
        )
    }

    /// Transfers `count` bytes to the device and back, and compares them.
    fn test_dma(&self, count: u32) -> Result {
        // The device itself doesn't check the range.
        if count == 0 || count as usize > BUFFER_SIZE {
            return Err(EINVAL);
        }
        let memory = self.memory.try_lock().ok_or(EBUSY)?;
        // The DMA mask makes this an address of 28 bits.
        let address = memory.dma_address().try_into()?;
        let mut page = KVec::from_elem(0u8, BUFFER_SIZE, GFP_KERNEL)?;
        // CAST: The remainder fits. Beyond `count`, the memory stays zero.
        let sent = |i: usize| match i < count as usize {
            true => ((i + count as usize) % 251) as u8 + 1,
            false => 0,
        };

        for (i, byte) in page.iter_mut().enumerate() {
            *byte = sent(i);
        }
        memory.copy_from_slice(&page);
        self.transfer(address, count, false)?;
        page.fill(0);
        memory.copy_from_slice(&page);
        self.transfer(address, count, true)?;
        // A copy, which the device can't change.
        memory.copy_to_slice(&mut page);
        match page.iter().enumerate().find(|(i, byte)| **byte != sent(*i)) {
            None => Ok(()),
            Some((i, byte)) => {
                self.dump(fmt!(
                    "DMA of {count} bytes: byte {i} is {byte:#x}, not {:#x}",
                    sent(i)
                ));
                Err(EIO)
            }
        }
    }

    /// Lets the task submit a core dump: `why`, and the registers.
    fn dump(&self, why: fmt::Arguments<'_>) {
        let mut text = Text::new();

        // If there is no memory, the dump is truncated.
        let _ = writeln!(text, "{why}");
        for offset in [0x00, 0x08, 0x20, 0x24, 0x80, 0x88, 0x90, 0x98] {
            let value: u32 = self.bar.try_read(offset).unwrap_or(!0);
            let _ = writeln!(text, "register {offset:#04x}: {value:#x}");
        }
        self.state.lock().dump = Some(text);
        self.task.queue();
    }
}

/// The files, each with a single value and a newline.
static FILES: &[Attribute<Edu>] = &[
    Attribute::ro(c"identification", |edu, out| {
        writeln!(out, "{:#x}", edu.bar.read(IDENTIFICATION).into_raw())
    }),
    Attribute::rw(
        c"factorial",
        |edu, out| writeln!(out, "{}", edu.state.lock().factorial.ok_or(ENODATA)?),
        |edu, input| edu.compute(u32::from_str(input)?),
    ),
    Attribute::wo(c"dma_test", |edu, input| {
        edu.test_dma(u32::from_str(input)?)
    }),
    Attribute::wo(c"dump", |edu, input| match u32::from_str(input)? {
        1 => {
            edu.dump(fmt!("requested"));
            Ok(())
        }
        _ => Err(EINVAL),
    }),
];

/// The driver's data, dropped in this order: first the files are removed, and then the handler is.
struct Data {
    _files: Dir,
    _irq: irq::Registration<Edu>,
    edu: Arc<Edu>,
}

struct EduDriver;

kernel::pci_device_table!(PCI_TABLE, (), [(device_id(0x1234, 0x11e8), ())]);

#[vtable]
impl Driver for EduDriver {
    type Data = Data;
    const ID_TABLE: pci::IdTable<()> = &PCI_TABLE;

    fn dma_bits(_pdev: &pci::Device<Core<'_>>) -> Result<u32> {
        Ok(28)
    }

    fn probe(pdev: &pci::Device<Core<'_>>, tasks: &Tasks) -> Result<Data> {
        let enabled = EnabledDevice::new(pdev)?;
        let bar = Bar::map(pdev, 0, c"rust_edu")?;
        let id = bar.read(IDENTIFICATION);
        if id.magic().get() != MAGIC {
            dev_err!(pdev, "no edu: identification {:#x}\n", id.into_raw());
            return Err(ENODEV);
        }

        let memory = Coherent::zeroed_slice(pdev.as_ref(), BUFFER_SIZE, GFP_KERNEL)?;
        let edu = Arc::pin_init(
            try_pin_init!(Edu {
                pdev: pdev.into(),
                enabled,
                bar,
                task: Task::new(tasks, Edu::run)?,
                causes <- new_spinlock_irq!(0),
                state <- new_mutex!(State::default()),
                changed <- new_condvar!(),
                memory <- new_mutex!(memory),
            }? Error),
            GFP_KERNEL,
        )?;
        edu.task.attach(edu.clone());
        // One vector, which isn't spread over the CPUs.
        let vectors = Vectors::alloc(pdev, 1, 1, 1, 0, &[IrqType::Msi])?;
        let irq = irq::Registration::new(vectors, 0, fmt!("rust_edu"), edu.clone())?;
        let files = Dir::new(pdev.as_ref(), fmt!("edu"), FILES, edu.clone())?;
        // Last, so that no error can follow: from here on, the device is in use.
        edu.start(pdev.as_ref());

        dev_info!(
            pdev,
            "edu {}.{}, interrupt {}, see /sys/bus/pci/devices/{}/edu\n",
            id.major().get(),
            id.minor().get(),
            irq.number(),
            pdev.as_ref().name()
        );
        Ok(Data {
            _files: files,
            _irq: irq,
            edu,
        })
    }

    fn unbind(_pdev: &pci::Device<Bound>, data: &Data) {
        data.edu.stop();
    }

    fn shutdown(_pdev: &pci::Device<Bound>, data: &Data) {
        data.edu.stop();
    }

    fn suspend(_pdev: &pci::Device<Bound>, data: &Data, _power: Power) -> Result<Power> {
        data.edu.stop();
        Ok(Power::Lost)
    }

    fn resume(pdev: &pci::Device<Bound>, data: &Data) -> Result {
        data.edu.start(pdev.as_ref());
        Ok(())
    }
}

kernel::module_driver!(<T>, Adapter<T>, {
    type: EduDriver,
    name: "rust_edu",
    authors: ["The rust_nvme_demo developers"],
    description: "Sample: a driver for QEMU's device edu",
    license: "GPL",
});
