// SPDX-License-Identifier: GPL-2.0

//! Registers and queues as text, for debugfs and for core dumps.

use super::Watch;
use crate::driver::{
    controller::Controller,
    regs, //
};
use kernel::{
    fmt,
    io::Io, //
};

/// One register a line: name and value.
pub(super) fn registers(controller: &Controller, f: &mut dyn fmt::Write) -> fmt::Result {
    let bar = &controller.bar;

    writeln!(f, "CAP  {:#018x}", regs::cap(bar))?;
    writeln!(f, "VS   {:#010x}", bar.read(regs::VS).into_raw())?;
    writeln!(f, "CC   {:#010x}", bar.read(regs::CC).into_raw())?;
    writeln!(f, "CSTS {:#010x}", bar.read(regs::CSTS).into_raw())?;
    writeln!(f, "AQA  {:#010x}", bar.read(regs::AQA).into_raw())?;
    writeln!(f, "ASQ  {:#018x}", regs::asq(bar))?;
    writeln!(f, "ACQ  {:#018x}", regs::acq(bar))
}

/// One entry a line, with a mark at the tail and at the head that the controller last told: those
/// that are less than `around` entries away from the tail.
pub(super) fn submission_queue(
    queue: &dyn Watch,
    around: u16,
    f: &mut dyn fmt::Write,
) -> fmt::Result {
    let (tail, head) = queue.sq_position();
    let depth = queue.shape().depth;

    for index in (0..depth).filter(|i| is_near(*i, tail, depth, around)) {
        let Some(words) = queue.sq_entry(index) else {
            break;
        };
        entry(f, index, &words, &[(tail, " tail"), (head, " head")])?;
    }
    Ok(())
}

/// One entry a line, with a mark at the head and the phase that is expected there: those that are
/// less than `around` entries away from the head.
pub(super) fn completion_queue(
    queue: &dyn Watch,
    around: u16,
    f: &mut dyn fmt::Write,
) -> fmt::Result {
    let (head, phase) = queue.cq_position();
    let mark = if phase { " head 1" } else { " head 0" };
    let depth = queue.shape().cq_depth;

    for index in (0..depth).filter(|i| is_near(*i, head, depth, around)) {
        let Some(words) = queue.cq_entry(index) else {
            break;
        };
        entry(f, index, &words, &[(head, mark)])?;
    }
    Ok(())
}

/// Whether `index` and `at` are less than `around` apart in a ring of `depth` entries.
fn is_near(index: u16, at: u32, depth: u16, around: u16) -> bool {
    let apart = u32::from(index).abs_diff(at);
    apart.min(u32::from(depth).saturating_sub(apart)) < around.into()
}

fn entry(f: &mut dyn fmt::Write, index: u16, words: &[u64], marks: &[(u32, &str)]) -> fmt::Result {
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
