// SPDX-License-Identifier: GPL-2.0

//! The files in debugfs, in `rust_nvme_demo-<PCI address>/`: the registers, and for each queue the
//! distribution of its times and the content of its two rings. They are for people, and may
//! change.

use super::QueueView;
use crate::driver::{
    controller::{
        Controller,
        Running, //
    },
    regs,
};
use kernel::{
    debugfs::{
        Dir,
        File, //
    },
    device::{
        self,
        Bound, //
    },
    fmt,
    io::Io,
    prelude::*,
    str::CString,
    sync::Arc, //
};

type Pinned<T> = Pin<KBox<File<Arc<T>>>>;

/// The files of a controller.
pub(super) struct Files {
    _registers: Pinned<Controller>,
    _queues: KVec<Pinned<QueueView>>,
}

impl Files {
    pub(super) fn new(
        dev: &device::Device<Bound>,
        controller: &Running,
        queues: &[Arc<QueueView>],
    ) -> Result<Self> {
        let name = CString::try_from_fmt(fmt!("rust_nvme_demo-{}", dev.name()))?;
        let dir = Dir::new(&name);
        let mut files = KVec::with_capacity(3 * queues.len(), GFP_KERNEL)?;

        for view in queues {
            let name = CString::try_from_fmt(fmt!("queue{}", view.queue().shape().qid))?;
            let queue = dir.subdir(&name);
            let latency =
                queue.read_callback_file(c"latency", Ok::<_, Error>(view.clone()), &latency);
            files.push(KBox::pin_init(latency, GFP_KERNEL)?, GFP_KERNEL)?;
            let entries =
                queue.read_callback_file(c"sq", Ok::<_, Error>(view.clone()), &submission_queue);
            files.push(KBox::pin_init(entries, GFP_KERNEL)?, GFP_KERNEL)?;
            let entries =
                queue.read_callback_file(c"cq", Ok::<_, Error>(view.clone()), &completion_queue);
            files.push(KBox::pin_init(entries, GFP_KERNEL)?, GFP_KERNEL)?;
        }
        let registers = dir.read_callback_file(
            c"registers",
            Ok::<_, Error>((**controller).clone()),
            &registers,
        );
        Ok(Self {
            _registers: KBox::pin_init(registers, GFP_KERNEL)?,
            _queues: files,
        })
    }
}

/// One register a line: name and value.
fn registers(controller: &Arc<Controller>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let bar = &controller.bar;

    writeln!(f, "CAP  {:#018x}", regs::cap(bar))?;
    writeln!(f, "VS   {:#010x}", bar.read(regs::VS).into_raw())?;
    writeln!(f, "CC   {:#010x}", bar.read(regs::CC).into_raw())?;
    writeln!(f, "CSTS {:#010x}", bar.read(regs::CSTS).into_raw())?;
    writeln!(f, "AQA  {:#010x}", bar.read(regs::AQA).into_raw())?;
    writeln!(f, "ASQ  {:#018x}", regs::asq(bar))?;
    writeln!(f, "ACQ  {:#018x}", regs::acq(bar))
}

/// One bucket a line: from, to (nanoseconds) and count, without the empty ones.
fn latency(view: &Arc<QueueView>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let queue = view.queue();

    queue
        .completed()
        .latency
        .each(|from, to, count| writeln!(f, "{from} {to} {count}"))
}

/// One entry a line, with a mark at the tail and at the head that the controller last told.
fn submission_queue(view: &Arc<QueueView>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let queue = view.queue();
    let (tail, head) = queue.sq_position();

    for index in 0..queue.shape().depth {
        let Some(words) = queue.sq_entry(index) else {
            break;
        };
        entry(f, index, &words, &[(tail, " tail"), (head, " head")])?;
    }
    Ok(())
}

/// One entry a line, with a mark at the head and the phase that is expected there.
fn completion_queue(view: &Arc<QueueView>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let queue = view.queue();
    let (head, phase) = queue.cq_position();
    let mark = if phase { " head 1" } else { " head 0" };

    for index in 0..queue.shape().cq_depth {
        let Some(words) = queue.cq_entry(index) else {
            break;
        };
        entry(f, index, &words, &[(head, mark)])?;
    }
    Ok(())
}

fn entry(
    f: &mut fmt::Formatter<'_>,
    index: u16,
    words: &[u64],
    marks: &[(u32, &str)],
) -> fmt::Result {
    write!(f, "{index:5}")?;
    for word in words {
        write!(f, " {word:016x}")?;
    }
    for (at, mark) in marks {
        if *at == u32::from(index) {
            f.write_str(mark)?;
        }
    }
    writeln!(f)
}
