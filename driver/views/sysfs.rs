// SPDX-License-Identifier: GPL-2.0

//! The files in sysfs, below the PCI device: `controller/` and `queues/<qid>/`. `views` creates
//! them; the kernel calls the functions of the attributes when user space reads or writes a file.

use super::QueueView;
use crate::abstractions::series::ENODATA;
use crate::{
    abstractions::{
        atomic::Ordering,
        dma::node,
        sysfs::{
            Attribute,
            Dir,
            Output,
            Table, //
        },
    },
    driver::{
        io::IoQueue,
        life::{
            Controller,
            Running, //
        },
        queue::stats::{
            Kind,
            Latency,
            Stat, //
        },
    },
    nvme::host::{
        histogram,
        life::Cause, //
    },
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    page::PAGE_SIZE,
    prelude::*,
    str::{
        kstrtobool_bytes,
        parse_int::ParseInt,
        BStr, //
    },
    sync::Arc,
    time::{
        ClockSource,
        Monotonic, //
    }, //
};

/// Writes a file with a number. Not inlined: one function formats the numbers of all files.
#[inline(never)]
fn write_number(out: &mut Output<'_>, number: u64) -> Result {
    writeln!(out, "{number}")
}

/// A file of a queue with a number.
macro_rules! queue_file {
    ($name:literal, $queue:ident => $value:expr) => {
        Attribute::ro($name, |view: &QueueView, out| {
            let $queue = view.queue();
            write_number(out, $value.into())
        })
    };
}

/// A file of a queue with a time in nanoseconds, or 0 if no time was recorded.
macro_rules! latency_file {
    ($name:literal, $latency:ident => $value:expr) => {
        Attribute::ro($name, |view: &QueueView, out| {
            let $latency = &view.queue().completed().latency;
            write_number(out, $value.unwrap_or(0))
        })
    };
}

/// Writes the fields of a file, separated by spaces.
fn write_fields(out: &mut Output<'_>, fields: &mut dyn Iterator<Item = u64>) -> Result {
    let mut separator = "";
    for field in fields {
        write!(out, "{separator}{field}")?;
        separator = " ";
    }
    writeln!(out)
}

/// Passes histograms to a callback.
type EachLatency<'a> = &'a dyn Fn(&mut dyn FnMut(&Latency));

/// Writes a file `latency`: the sum of the histograms that `add_all` passes to its callback.
fn write_latency(out: &mut Output<'_>, add_all: EachLatency<'_>) -> Result {
    let mut counts = KVec::from_elem(0, histogram::BUCKETS, GFP_KERNEL)?;
    add_all(&mut |latency| latency.add_to(&mut counts));

    // A file has at most a page less one byte. If the counts are large, coarser buckets make the
    // text fit.
    let shift = histogram::finest(&counts, PAGE_SIZE - 2);
    let mut separator = "";
    histogram::groups(&counts, shift, |bound, count| {
        write!(out, "{}{}:{}", separator, bound, count)?;
        separator = " ";
        Ok::<_, Error>(())
    })?;
    writeln!(out)
}

static QUEUE: &[Attribute<QueueView>] = &[
    Attribute::ro(c"kind", |view, out| writeln!(out, "{}", view.kind())),
    Attribute::ro(c"state", |view, out| writeln!(out, "{}", view.state())),
    queue_file!(c"depth", q => q.config().depth),
    queue_file!(c"cq_depth", q => q.config().cq_depth),
    Attribute::ro(c"vector", |view, out| match view.vector() {
        Some(vector) => write_number(out, vector.into()),
        None => writeln!(out, "none"),
    }),
    Attribute::ro(c"cpus", |view, out| {
        let vector = view.vector().map(usize::from);
        match vector.and_then(|v| view.vectors.cpus(v)) {
            Some(cpus) => writeln!(out, "{cpus}"),
            None => writeln!(out),
        }
    }),
    queue_file!(c"submitted", q => q.progress().0),
    queue_file!(c"completed", q => q.progress().1),
    Attribute::ro(c"inflight", |view, out| {
        let (submitted, completed) = view.queue().progress();
        // `completed` is never larger.
        write_number(out, submitted.saturating_sub(completed))
    }),
    Attribute::ro(c"oldest_us", |view, out| {
        let oldest = view.oldest()?;
        let now = Monotonic::ktime_get() as u64;
        let mut ages = oldest.ages(now).map(|age| age / 1000);
        write_fields(out, &mut ages)
    }),
    queue_file!(c"reads", q => q.submitted().of(Kind::Read)),
    queue_file!(c"writes", q => q.submitted().of(Kind::Write)),
    queue_file!(c"flushes", q => q.submitted().of(Kind::Flush)),
    queue_file!(c"discards", q => q.submitted().of(Kind::Discard)),
    queue_file!(c"write_zeroes", q => q.submitted().of(Kind::WriteZeroes)),
    queue_file!(c"admin_commands", q => q.submitted().of(Kind::Admin)),
    queue_file!(c"bytes_read", q => q.completed().bytes_read.get()),
    queue_file!(c"bytes_written", q => q.completed().bytes_written.get()),
    queue_file!(c"errors", q => q.completed().errors.get()),
    queue_file!(c"retries", q => q.completed().retries.get()),
    queue_file!(c"stray_completions", q => q.completed().stray.get()),
    queue_file!(c"interrupts", q => q.completed().interrupts.get()),
    queue_file!(c"idle_interrupts", q => q.completed().idle_interrupts.get()),
    queue_file!(c"polls", q => q.completed().polls.get()),
    queue_file!(c"sq_doorbells", q => q.submitted().doorbells.get()),
    queue_file!(c"cq_doorbells", q => q.completed().doorbells.get()),
    queue_file!(c"sq_tail", q => q.sq_position().0),
    queue_file!(c"sq_head", q => q.sq_position().1),
    queue_file!(c"cq_head", q => q.cq_position().0),
    queue_file!(c"cq_phase", q => q.cq_position().1),
    latency_file!(c"latency_mean_ns", l => l.mean()),
    latency_file!(c"latency_p50_ns", l => l.percentile(500)),
    latency_file!(c"latency_p99_ns", l => l.percentile(990)),
    latency_file!(c"latency_max_ns", l => Some(l.max())),
    Attribute::ro(c"latency", |view, out| {
        write_latency(out, &|add| add(&view.queue().completed().latency))
    }),
    Attribute::ro(c"stat", |view, out| {
        let mut stat = Stat::new();
        stat.add(view.queue().submitted(), view.queue().completed());
        write_fields(out, &mut stat.fields().iter().copied())
    }),
];

/// A file of a controller with a counter of [`Events`](crate::driver::life::Controller::events).
macro_rules! event_file {
    ($name:literal, $events:ident => $value:expr) => {
        Attribute::ro($name, |c: &Controller, out| {
            let $events = c.events();
            write_number(out, $value.get())
        })
    };
}

/// Writes a file with a text of the controller's identify data.
fn write_text(out: &mut Output<'_>, text: Option<&str>) -> Result {
    writeln!(out, "{}", text.ok_or(ENODATA)?)
}

const STATE: Attribute<Controller> =
    Attribute::ro(c"state", |c, out| writeln!(out, "{}", c.state().name()));

const RESET: Attribute<Controller> = Attribute::wo(c"reset_controller", |c, _input| {
    c.request_reset(Cause::Asked).map_err(|_| EBUSY)
});

const RESCAN: Attribute<Controller> = Attribute::wo(c"rescan_controller", |c, _input| {
    c.scan_task().queue();
    Ok(())
});

static CONTROLLER: &[Attribute<Controller>] = &[
    Attribute::ro(c"name", |c, out| writeln!(out, "{}", c.name())),
    STATE,
    Attribute::ro(c"model", |c, out| {
        write_text(out, c.info().as_ref().map(|i| i.model.as_str()))
    }),
    Attribute::ro(c"serial", |c, out| {
        write_text(out, c.info().as_ref().map(|i| i.serial.as_str()))
    }),
    Attribute::ro(c"firmware", |c, out| {
        write_text(out, c.info().as_ref().map(|i| i.firmware.as_str()))
    }),
    Attribute::ro(c"version", |c, out| {
        let vs = c.ctrl().vs();
        writeln!(out, "{}.{}.{}", vs.major(), vs.minor(), vs.tertiary())
    }),
    Attribute::ro(c"capabilities", |c, out| {
        writeln!(out, "{:#018x}", c.ctrl().cap().0)
    }),
    Attribute::ro(c"max_queue_entries", |c, out| {
        write_number(out, c.ctrl().cap().mqes().into())
    }),
    Attribute::ro(c"max_transfer_bytes", |c, out| {
        let max = c
            .info()
            .ok_or(ENODATA)?
            .max_transfer_bytes(c.ctrl().cap().page_size_min());
        write_number(out, max.unwrap_or(0))
    }),
    Attribute::ro(c"io_queues", |c, out| {
        write_number(out, c.present_queues().into())
    }),
    Attribute::ro(c"namespaces", |c, out| {
        write_number(out, c.disk_count() as u64)
    }),
    Attribute::ro(c"host_memory", |c, out| write_number(out, c.lent_bytes())),
    event_file!(c"timeouts", e => e.timeouts),
    event_file!(c"lost_interrupts", e => e.lost_interrupts),
    event_file!(c"aborts", e => e.aborts),
    event_file!(c"resets", e => e.resets),
    event_file!(c"async_events", e => e.async_events),
    event_file!(c"smart_warnings", e => e.smart_warnings),
    Attribute::ro(c"events", |c, out| {
        let e = c.events();
        // Read before the time-outs, so that the count never exceeds them.
        let lost_interrupts = e.lost_interrupts.get();
        let fields = [
            e.timeouts.get(),
            lost_interrupts,
            e.aborts.get(),
            e.resets.get(),
            e.async_events.get(),
        ];
        write_fields(out, &mut fields.into_iter())
    }),
    Attribute::ro(c"stat", |c, out| {
        let mut stat = Stat::new();
        let admin = c.ctrl().admin_queue();
        stat.add(&admin.submitted, &admin.completed);
        c.with_queues(|queues| {
            queues
                .iter()
                .for_each(|q| stat.add(&q.submitted, &q.completed))
        });
        write_fields(out, &mut stat.fields().iter().copied())
    }),
    Attribute::ro(c"latency", |c, out| {
        write_latency(out, &|add| {
            c.with_queues(|queues| queues.iter().for_each(|q| add(&q.completed.latency)))
        })
    }),
    RESET,
    RESCAN,
];

/// Writes a file with an effective parameter that all I/O queues of a controller share.
fn write_common(c: &Controller, out: &mut Output<'_>, value: fn(&IoQueue) -> u64) -> Result {
    let value = c.with_queues(|queues| queues.first().map(|queue| value(queue)));
    write_number(out, value.ok_or(ENODATA)?)
}

/// Writes a file with the number of I/O queues of one kind.
fn write_count(c: &Controller, out: &mut Output<'_>, which: fn(&IoQueue) -> bool) -> Result {
    let count = c.with_queues(|queues| queues.iter().filter(|queue| which(queue)).count());
    write_number(out, count as u64)
}

/// The effective values of the module's parameters, by their names.
static PARAMETERS: &[Attribute<Controller>] = &[
    Attribute::ro(c"io_queues", |c, out| {
        write_count(c, out, |q| q.config.vector.is_some() && !q.config.reads)
    }),
    Attribute::ro(c"read_queues", |c, out| {
        write_count(c, out, |q| q.config.vector.is_some() && q.config.reads)
    }),
    Attribute::ro(c"poll_queues", |c, out| {
        write_count(c, out, |q| q.config.vector.is_none())
    }),
    Attribute::ro(c"queue_depth", |c, out| {
        write_common(c, out, |q| q.config.depth.into())
    }),
    Attribute::ro(c"lazy_doorbells", |c, out| {
        write_common(c, out, |q| q.config.lazy.into())
    }),
    Attribute::ro(c"shadow_doorbells", |c, out| {
        write_common(c, out, |q| q.has_shadow().into())
    }),
    Attribute::ro(c"timeout", |c, out| {
        write_number(out, (c.params().timeout_ms() / 1000).into())
    }),
    Attribute::ro(c"ps_max_latency_us", |c, out| {
        write_number(out, c.params().max_exit_us.into())
    }),
    Attribute::ro(c"max_host_mem_size_mb", |c, out| {
        write_number(out, c.params().max_host_memory() >> 20)
    }),
    Attribute::ro(c"shared_namespaces", |c, out| {
        write_number(out, c.params().shared_namespaces.into())
    }),
];

/// In the directory of the control device, by the names and with the texts of the kernel's `nvme`,
/// which tools read.
pub(crate) static CLASS_DEVICE: &[Table<Controller>] =
    &[Table::new(CONTROL), Table::below(c"diag", DIAG)];

static CONTROL: &[Attribute<Controller>] = &[
    Attribute::ro(c"model", |c, out| {
        write_padded(out, c.info().ok_or(ENODATA)?.model.as_str(), 40)
    }),
    Attribute::ro(c"serial", |c, out| {
        write_padded(out, c.info().ok_or(ENODATA)?.serial.as_str(), 20)
    }),
    Attribute::ro(c"firmware_rev", |c, out| {
        write_padded(out, c.info().ok_or(ENODATA)?.firmware.as_str(), 8)
    }),
    STATE,
    // Waits, unlike `RESET`: scripts expect the controller to be live afterwards.
    Attribute::wo(c"reset_controller", |c, _input| c.reset_and_wait()),
    RESCAN,
    Attribute::ro(c"transport", |_, out| writeln!(out, "pcie")),
    Attribute::ro(c"address", |c, out| {
        let name = c.dev().name().to_str()?;
        writeln!(out, "{name}")
    }),
    Attribute::ro(c"subsysnqn", write_nqn),
    Attribute::ro(c"cntlid", |c, out| {
        write_number(out, c.info().ok_or(ENODATA)?.cntlid.into())
    }),
    Attribute::ro(c"cntrltype", |c, out| {
        write_text(out, c.info().as_ref().map(|i| i.type_name()))
    }),
    Attribute::ro(c"dctype", |_, out| writeln!(out, "none")),
    // With the admin queue.
    Attribute::ro(c"queue_count", |c, out| {
        write_number(out, u64::from(c.present_queues()) + 1)
    }),
    // Less 1, as the specification counts.
    Attribute::ro(c"sqsize", |c, out| {
        write_number(out, u64::from(c.ctrl().limits().depth).saturating_sub(1))
    }),
    Attribute::rw(
        c"hmb",
        |c, out| write_number(out, (c.lent_bytes() != 0).into()),
        |c, input| c.set_lending(kstrtobool_bytes(input)?),
    ),
    Attribute::ro(c"numa_node", |c, out| writeln!(out, "{}", node(c.dev()))),
    Attribute::ro(c"kato", |_, out| write_number(out, 0)),
    Attribute::rw(
        c"admin_timeout",
        |c, out| write_number(out, c.ctrl().timeout_ms().into()),
        |c, input| {
            c.ctrl().set_timeout_ms(read_ms(input)?);
            Ok(())
        },
    ),
    Attribute::rw(
        c"io_timeout",
        |c, out| write_number(out, c.io_timeout_ms().into()),
        |c, input| {
            c.set_io_timeout(read_ms(input)?);
            Ok(())
        },
    ),
    Attribute::rw(
        c"passthru_err_log_enabled",
        |c, out| out.write_on_off(c.logs_users.load(Ordering::Relaxed)),
        |c, input| {
            c.logs_users
                .store(kstrtobool_bytes(input)?, Ordering::Relaxed);
            Ok(())
        },
    ),
    Attribute::ro(c"quirks", |c, out| {
        let mut names = c.ctrl().quirks().names().peekable();
        if names.peek().is_none() {
            return writeln!(out, "none");
        }
        names.try_for_each(|name| writeln!(out, "{name}"))
    }),
];

/// A file of the control device with a count that the administrator may set.
macro_rules! count_file {
    ($name:literal, $count:ident) => {
        Attribute::rw(
            $name,
            |c: &Controller, out| write_number(out, c.events().$count.get()),
            |c: &Controller, input| c.events().$count.parse_shared(input),
        )
    };
}

static DIAG: &[Attribute<Controller>] = &[
    count_file!(c"command_error_count", admin_errors),
    count_file!(c"reset_count", resets_shown),
];

/// Reads a time limit in milliseconds, which isn't 0.
fn read_ms(input: &BStr) -> Result<u32> {
    match u32::from_str(input)? {
        0 => Err(EINVAL),
        ms => Ok(ms),
    }
}

/// Writes a text with its padding. Not inlined: one function formats all of them.
#[inline(never)]
fn write_padded(out: &mut Output<'_>, text: &str, width: usize) -> Result {
    writeln!(out, "{text:<width$}")
}

/// Writes the subsystem's name, or if it has none, the name that the kernel's `nvme` makes up.
fn write_nqn(c: &Controller, out: &mut Output<'_>) -> Result {
    let subsystem = c.subsystem().ok_or(ENODATA)?;
    if let Some(nqn) = subsystem.nqn() {
        return writeln!(out, "{nqn}");
    }
    let (info, (vid, ssvid)) = (c.info().ok_or(ENODATA)?, subsystem.vendors());
    writeln!(
        out,
        "nqn.2014.08.org.nvmexpress:{:04x}{:04x}{:<20}{:<40}",
        vid,
        ssvid,
        info.serial.as_str(),
        info.model.as_str()
    )
}

/// The directories of a controller.
pub(crate) struct Files {
    _parameters: Dir,
    _controller: Dir,
    _queues: KVec<Dir>,
    _queues_dir: Dir,
}

impl Files {
    pub(crate) fn new(
        dev: &device::Device<Bound>,
        controller: &Running,
        queues: &[Arc<QueueView>],
    ) -> Result<Self> {
        let queues_dir = Dir::empty(dev, fmt!("queues"))?;
        let mut dirs = KVec::with_capacity(queues.len(), GFP_KERNEL)?;

        for view in queues {
            let qid = view.queue().config().qid;
            dirs.push_within_capacity(queues_dir.subdir(fmt!("{qid}"), QUEUE, view.clone())?)?;
        }
        let dir = Dir::new(dev, fmt!("controller"), CONTROLLER, (**controller).clone())?;
        Ok(Self {
            _parameters: dir.subdir(fmt!("parameters"), PARAMETERS, (**controller).clone())?,
            _controller: dir,
            _queues: dirs,
            _queues_dir: queues_dir,
        })
    }
}
