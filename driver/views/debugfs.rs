// SPDX-License-Identifier: GPL-2.0

//! The files in debugfs, in `rust_nvme_demo-<PCI address>/`: the registers, and for each queue its
//! latency histogram and the content of its two rings. They are for debugging, and no stable ABI.
//! `views` creates them; the kernel calls the functions here when user space reads a file.

use super::QueueView;
use crate::driver::{
    life::{
        Controller,
        Running, //
    },
    queue::watch,
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
    prelude::*,
    str::CString,
    sync::Arc, //
};

type Pinned<T> = Pin<KBox<File<Arc<T>>>>;

/// The files of a controller.
pub(crate) struct Files {
    _registers: Pinned<Controller>,
    _queues: KVec<Pinned<QueueView>>,
}

impl Files {
    pub(crate) fn new(
        dev: &device::Device<Bound>,
        controller: &Running,
        queues: &[Arc<QueueView>],
    ) -> Result<Self> {
        let name = CString::try_from_fmt(fmt!("rust_nvme_demo-{}", dev.name()))?;
        let dir = Dir::new(&name);
        let mut files = KVec::with_capacity(3 * queues.len(), GFP_KERNEL)?;

        for view in queues {
            let name = CString::try_from_fmt(fmt!("queue{}", view.queue().config().qid))?;
            let queue = dir.subdir(&name);
            let latency =
                queue.read_callback_file(c"latency", Ok::<_, Error>(view.clone()), &latency);
            files.push_within_capacity(KBox::pin_init(latency, GFP_KERNEL)?)?;
            let entries =
                queue.read_callback_file(c"sq", Ok::<_, Error>(view.clone()), &submission_queue);
            files.push_within_capacity(KBox::pin_init(entries, GFP_KERNEL)?)?;
            let entries =
                queue.read_callback_file(c"cq", Ok::<_, Error>(view.clone()), &completion_queue);
            files.push_within_capacity(KBox::pin_init(entries, GFP_KERNEL)?)?;
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

fn registers(controller: &Arc<Controller>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    controller.ctrl().print_registers(f)
}

/// One bucket a line: from, to (nanoseconds) and count; empty buckets are omitted.
fn latency(view: &Arc<QueueView>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let queue = view.queue();

    queue
        .completed()
        .latency
        .each(|from, to, count| writeln!(f, "{from} {to} {count}"))
}

fn submission_queue(view: &Arc<QueueView>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    watch::submission_queue(view.queue(), u16::MAX, f)
}

fn completion_queue(view: &Arc<QueueView>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    watch::completion_queue(view.queue(), u16::MAX, f)
}
