// SPDX-License-Identifier: GPL-2.0

//! The files in the directory of a namespace's disk. Names and texts are those of the kernel's
//! `nvme`, because udev's rules and tools read them. `disk` adds them with the disk.

use crate::{
    abstractions::{
        atomic::Ordering,
        block::mq::{
            DiskFile,
            DiskFiles, //
        },
        sysfs::Output,
    },
    driver::io::{
        Namespace,
        NvmeOps, //
    },
    nvme::host::identity::Hex,
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    prelude::*,
    str::kstrtobool_bytes,
    time::{
        ClockSource,
        Monotonic, //
    }, //
};

/// How long to answer from the last Identify, in nanoseconds: any user may read the file.
const READ_INTERVAL_NS: i64 = 5_000_000_000;

/// The files of a disk.
pub(super) struct Files;

impl DiskFiles<NvmeOps> for Files {
    const FILES: &'static [DiskFile<NvmeOps>] = &[
        DiskFile::new(
            c"wwid",
            |ns: &Namespace, _, out| writeln!(out, "{}", ns.details.identity.wwid(ns.id)),
            always,
        ),
        DiskFile::new(
            c"uuid",
            |ns: &Namespace, _, out| {
                let ids = &ns.details.identity.ids;
                // Without a UUID, old tools expect the NGUID here.
                write_uuid(ids.uuid.or(ids.nguid), out)
            },
            |ns: &Namespace| {
                let ids = &ns.details.identity.ids;
                ids.uuid.is_some() || ids.nguid.is_some()
            },
        ),
        DiskFile::new(
            c"nguid",
            |ns: &Namespace, _, out| write_uuid(ns.details.identity.ids.nguid, out),
            |ns: &Namespace| ns.details.identity.ids.nguid.is_some(),
        ),
        DiskFile::new(
            c"eui",
            |ns: &Namespace, _, out| {
                let eui64 = ns.details.identity.ids.eui64.unwrap_or_default();
                writeln!(out, "{}", Hex::spaced(&eui64))
            },
            |ns: &Namespace| ns.details.identity.ids.eui64.is_some(),
        ),
        DiskFile::new(
            c"csi",
            |ns: &Namespace, _, out| writeln!(out, "{}", ns.details.identity.ids.csi.unwrap_or(0)),
            always,
        ),
        DiskFile::new(
            c"nsid",
            |ns: &Namespace, _, out| writeln!(out, "{}", ns.id),
            always,
        ),
        DiskFile::new(
            c"metadata_bytes",
            |ns: &Namespace, _, out| writeln!(out, "{}", ns.details.blocks.format.metadata),
            always,
        ),
        DiskFile::new(c"nuse", write_nuse, always),
        DiskFile::rw(
            c"passthru_err_log_enabled",
            |ns: &Namespace, _, out| {
                out.write_on_off(ns.details.logs_users.load(Ordering::Relaxed))
            },
            |ns: &Namespace, input| {
                ns.details
                    .logs_users
                    .store(kstrtobool_bytes(input)?, Ordering::Relaxed);
                Ok(())
            },
        ),
    ];

    const DIRECTORY: Option<(&'static CStr, &'static [DiskFile<NvmeOps>])> = Some((
        c"diag",
        &[
            DiskFile::rw(
                c"command_retries_count",
                |ns: &Namespace, _, out| writeln!(out, "{}", ns.details.retries.get()),
                |ns: &Namespace, input| ns.details.retries.parse_shared(input),
            ),
            DiskFile::rw(
                c"command_error_count",
                |ns: &Namespace, _, out| writeln!(out, "{}", ns.details.errors.get()),
                |ns: &Namespace, input| ns.details.errors.parse_shared(input),
            ),
        ],
    ));
}

fn always(_ns: &Namespace) -> bool {
    true
}

fn write_uuid(id: Option<[u8; 16]>, out: &mut Output<'_>) -> Result {
    writeln!(out, "{}", Hex::uuid(&id.unwrap_or_default()))
}

fn write_nuse(ns: &Namespace, dev: &device::Device<Bound>, out: &mut Output<'_>) -> Result {
    let details = &ns.details;
    let (now, due) = (
        Monotonic::ktime_get(),
        details.read_again.load(Ordering::Relaxed),
    );
    let next = now.saturating_add(READ_INTERVAL_NS);
    // Of several readers, one asks the controller.
    let mine = now >= due
        && details
            .read_again
            .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok();
    if mine {
        let allocated = ns.supervisor.allocated_blocks(dev, ns.id)?;
        details.allocated.store(allocated, Ordering::Relaxed);
    }
    writeln!(out, "{}", details.allocated.load(Ordering::Relaxed))
}
