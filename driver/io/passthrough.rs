// SPDX-License-Identifier: GPL-2.0

//! A user's I/O command: checks it, copies its data, and runs it as a request of the disk. The
//! block layer calls [`ioctl`] for a disk, `namespaces` for a generic device, and `control` for the
//! control device; `queue_rq` has [`queue_other`] submit the request.
//!
//! Who may do what, and the errors, are those of the kernel's `nvme`, except that a command with less
//! data than it transfers is refused, because the controller would access other memory.

use super::{
    queue_rare,
    refuse,
    reject,
    start_or_reject,
    user::{
        has_metadata,
        is_null,
        read_command,
        read_io,
        write_result,
        Memory, //
    },
    IoQueue,
    Namespace,
    NvmeOps,
    RequestData,
    Requests,
    Trust, //
};
use crate::{
    abstractions::{
        block::mq::{
            self,
            Buffers,
            IdleRequest,
            MetadataBuffer,
            OpenDisk,
            Rejected,
            Transfer, //
        },
        chrdev::{
            is_admin,
            Ioctl, //
        },
        dma::Block,
    },
    driver::queue::stats::Kind,
    nvme::{
        host::{
            passthrough::{
                io_access,
                io_data_bytes,
                io_metadata_bytes,
                time_limit_ms,
                Access, //
            },
            uapi, //
        },
        spec::{
            command::{
                Command,
                DataPtr,
                DataWords,
                Opcode,
                WithoutPointers, //
            },
            id::Cid,
            status::Status,
        },
    },
};
use kernel::{
    alloc::flags::{
        GFP_KERNEL_ACCOUNT,
        __GFP_NOWARN, //
    },
    prelude::*, //
};

/// A request's own command. Small, because every request has room for it.
pub(super) struct Own {
    pub(super) command: WithoutPointers,
    /// How it ended: the result and the status; `None` before, and if it doesn't reach the controller.
    end: Option<(u64, Status)>,
}

impl RequestData {
    /// Gives the request its own command, before the request is executed.
    pub(super) fn set_own(&mut self, command: Command) {
        self.has_more = true;
        self.own = Some(Own {
            command: command.without_pointers(),
            end: None,
        });
    }

    /// Keeps the list of the request's command.
    #[inline]
    pub(super) fn keep(&mut self, list: Block) {
        self.has_more = true;
        self.list = Some(list);
    }

    /// The command has ended: frees the request's list, and records how its own command ended.
    #[inline(always)]
    pub(super) fn release(&mut self, result: u64, status: Status) {
        match self.list.is_some() {
            true => self.release_list(result, status),
            false => self.record_end(result, status),
        }
    }

    /// As [`release`](Self::release), for a request with a list. The arguments are in registers, which
    /// costs other requests nothing.
    #[inline(never)]
    fn release_list(&mut self, result: u64, status: Status) {
        self.list = None;
        self.record_end(result, status);
    }

    /// Records how the request's own command ended, if it has one.
    #[inline(always)]
    fn record_end(&mut self, result: u64, status: Status) {
        self.has_more = false;
        if let Some(own) = &mut self.own {
            own.end = Some((result, status));
        }
    }

    /// Takes how the request's own command ended: its result and status; `None` if it didn't reach the
    /// controller.
    #[inline]
    pub(super) fn take_end(&mut self) -> Option<(u64, Status)> {
        self.own.take()?.end
    }
}

/// Submits a request that is neither a read nor a write. Apart from these, so that it costs them
/// nothing.
#[inline(never)]
pub(super) fn queue_other<'a>(
    queue: &IoQueue,
    ns: &Namespace,
    mut rq: IdleRequest<'a, NvmeOps>,
    last: bool,
) -> Result<(), Rejected<'a>> {
    if !queue.takes_requests() {
        return Err(refuse(ns, rq));
    }
    if !ns.path.is_open() {
        return queue_slowly(queue, ns, rq, last);
    }
    let Some(transfer) = rq.passthrough() else {
        return queue_rare(queue, ns, rq, last);
    };
    match queue.handler.own_data(ns, &mut rq, &transfer) {
        Ok(data) => {
            queue.start_own(rq, last, data);
            Ok(())
        }
        Err(status) => Err(reject(rq, status)),
    }
}

/// Submits any request of a disk whose short path is closed.
#[inline(never)]
fn queue_slowly<'a>(
    queue: &IoQueue,
    ns: &Namespace,
    mut rq: IdleRequest<'a, NvmeOps>,
    last: bool,
) -> Result<(), Rejected<'a>> {
    if !ns.has_trust(Trust::Sure) {
        return Err(refuse(ns, rq));
    }
    let Some(transfer) = rq.passthrough() else {
        return queue_rare(queue, ns, rq, last);
    };
    let built = queue.handler.own_command(ns, &mut rq, &transfer);
    start_or_reject(queue, rq, last, built)
}

impl Requests {
    /// Builds the command of a request that has its own, with its data and metadata.
    fn own_command<'a>(
        &self,
        ns: &Namespace,
        rq: &mut IdleRequest<'a, NvmeOps>,
        transfer: &Transfer<'a>,
    ) -> Result<(Kind, Command), mq::Status> {
        let data = self.own_data(ns, rq, transfer)?;
        let metadata = match rq.map_integrity(transfer).transpose()? {
            Some(mapped) => mapped.segment.addr,
            None => 0,
        };
        let Some(own) = &rq.data().own else {
            return Err(mq::Status::NotSupported);
        };
        let command = own.command.with_data(data).with_metadata(metadata);
        Ok((kind(&command), command))
    }

    /// Maps the data of a request that has its own command.
    #[inline(always)]
    fn own_data<'a>(
        &self,
        ns: &Namespace,
        rq: &mut IdleRequest<'a, NvmeOps>,
        transfer: &Transfer<'a>,
    ) -> Result<DataWords, mq::Status> {
        Ok(match rq.bytes() {
            0 => DataPtr::None.words(),
            _ => self.map(ns, rq, transfer)?.words(),
        })
    }
}

impl IoQueue {
    /// Starts `rq`, and submits its own command with `data`; otherwise as [`start`](Self::start).
    #[inline(always)]
    fn start_own(&self, rq: IdleRequest<'_, NvmeOps>, last: bool, data: DataWords) {
        let mut rq = rq.start();
        // The command is copied under the lock, from the request to the ring, so that it isn't kept
        // across calls. A request in the table may end, so it is copied before.
        let submitted = self.submit_with(last, || {
            let Some(own) = &rq.data().own else {
                return Err((None, rq));
            };
            let mut command = own.command.with_data(data);
            let kind = kind(&command);
            match self.handler.inflight.insert(rq) {
                Ok(cid) => {
                    command.set_cid(Cid::new(cid));
                    Ok((kind, command))
                }
                Err(rq) => Err((Some((kind, command)), rq)),
            }
        });
        if let Err((command, rq)) = submitted {
            self.start_elsewhere(command, rq, last);
        }
    }
}

/// The kind that the statistics count a user's command as.
fn kind(command: &Command) -> Kind {
    const FLUSH: u8 = Opcode::Flush as u8;
    const ZEROES: u8 = Opcode::WriteZeroes as u8;
    const DSM: u8 = Opcode::DatasetManagement as u8;

    match command.opcode() {
        FLUSH => Kind::Flush,
        ZEROES => Kind::WriteZeroes,
        DSM => Kind::Discard,
        _ if command.sends_data() => Kind::Write,
        _ => Kind::Read,
    }
}

/// A user's I/O command.
struct UserCommand {
    /// The command, without a data pointer.
    command: Command,
    data: Memory,
    metadata: Memory,
    /// The time limit that the user asks for, in milliseconds; 0 for the driver's.
    timeout_ms: u32,
}

/// Answers a call of `ioctl()` on a disk or on a generic device.
///
/// # Errors
///
/// `ENOTTY` for an unknown call, `EFAULT`, `EINVAL`, and those of [`run`].
pub(crate) fn ioctl(disk: &OpenDisk<'_, NvmeOps>, call: &Ioctl) -> Result<isize> {
    match call.number {
        uapi::ID => disk.with(|ns| Ok(ns.id.get() as isize)),
        uapi::IO_CMD => passthru(disk, call, false),
        uapi::IO64_CMD | uapi::IO64_CMD_VEC => passthru(disk, call, true),
        uapi::SUBMIT_IO | uapi::SUBMIT_IO32 => submit_io(disk, call),
        uapi::ADMIN_CMD | uapi::ADMIN64_CMD => {
            let control = disk.with(|ns| ns.supervisor.control().ok_or(ENODEV))?;
            control.call(call)
        }
        _ => Err(ENOTTY),
    }
}

/// Carries out the command of a `struct nvme_passthru_cmd`; `wide` for the structure with a result
/// of 64 bits.
fn passthru(disk: &OpenDisk<'_, NvmeOps>, call: &Ioctl, wide: bool) -> Result<isize> {
    let cmd = read_command(call, wide)?;
    if cmd.nsid != disk.with(|ns| Ok(ns.id.get()))? {
        return Err(EINVAL);
    }
    let at = call.pointer(cmd.addr);
    let data = match (cmd.addr, cmd.data_len) {
        (0, _) | (_, 0) => Memory::default(),
        (_, count) if call.number == uapi::IO64_CMD_VEC => Memory::pieces(call, at, count)?,
        (_, len) => Memory::one(at, len as usize)?,
    };
    let user = UserCommand {
        command: cmd.command(),
        data,
        metadata: match has_metadata(call, &cmd) {
            true => Memory::one(call.pointer(cmd.metadata), cmd.metadata_len as usize)?,
            false => Memory::default(),
        },
        timeout_ms: cmd.timeout_ms,
    };
    let (result, status) = run(disk, &user, call.writable)?;
    write_result(call, wide, result)?;
    Ok(status.0 as isize)
}

/// Carries out the read, write or compare of a `struct nvme_user_io`.
fn submit_io(disk: &OpenDisk<'_, NvmeOps>, call: &Ioctl) -> Result<isize> {
    let io = read_io(call)?;
    if io.flags != 0 || !matches!(io.opcode, 1 | 2 | 5) {
        return Err(EINVAL);
    }
    let (id, format) = disk.with(|ns| Ok((ns.id, ns.details.blocks.format)))?;
    let command = io.command(id);
    let has_metadata = !is_null(call, io.metadata);
    // The controller inserts or strips the metadata, so there are none.
    let stripped =
        command.dword(12) & Command::PRACT != 0 && (format.strippable || format.metadata == 0);
    if has_metadata && stripped {
        return Err(EINVAL);
    }
    let (block, metadata) = format.bytes(&command).ok_or(EINVAL)?;
    let of = |at, bytes: u64| {
        let bytes = bytes.checked_mul(u64::from(io.nblocks) + 1).ok_or(EINVAL)?;
        Memory::one(call.pointer(at), bytes.try_into()?)
    };
    let user = UserCommand {
        command,
        data: match io.addr {
            0 => Memory::default(),
            at => of(at, block)?,
        },
        metadata: match metadata {
            0 => Memory::default(),
            // As the kernel's `nvme`, which maps the user's memory.
            _ if !has_metadata || io.metadata & 3 != 0 => return Err(EINVAL),
            bytes => of(io.metadata, bytes)?,
        },
        timeout_ms: 0,
    };
    let (_, status) = run(disk, &user, call.writable)?;
    Ok(status.0 as isize)
}

/// Checks whether the caller may send `command`, on a partition or on the whole disk, by a file that is
/// `writable`, with `metadata` bytes of metadata in a buffer of their own. Returns the bytes of data that
/// the command transfers, if that is known.
///
/// # Errors
///
/// `EACCES` if the caller may not. `EINVAL` for metadata that the disk's requests can't have, or for less
/// than the command transfers.
#[inline(never)]
pub(super) fn allowed(
    ns: &Namespace,
    command: Command,
    is_partition: bool,
    writable: bool,
    metadata: usize,
) -> Result<Option<u64>> {
    let effects = ns.supervisor.io_effects(command.opcode());
    let format = ns.details.blocks.format;
    let needed = io_data_bytes(&command, format);
    let at_least = io_metadata_bytes(&command, format).ok_or(EINVAL)?;
    if (metadata as u64) < at_least || metadata != 0 && ns.details.blocks.metadata.bytes() == 0 {
        return Err(EINVAL);
    }
    // Other users' data may be outside a partition. A command whose length is not known may access
    // memory beyond its data.
    let access = match needed {
        Some(_) if !is_partition => io_access(&command, effects, writable),
        _ => Access::Admin,
    };
    if access != Access::Everyone && !is_admin() {
        return Err(EACCES);
    }
    Ok(needed)
}

/// Runs a user's I/O command on a disk, which is open for writing if `writable`, and returns the
/// command's result and status. Sleeps.
///
/// # Errors
///
/// `EACCES` if the user may not send the command; `EINVAL` for more data than a command can have, or less
/// than this command transfers, and the same for metadata (`E2BIG` for more); `EFAULT`, `ENOMEM`. `ENODEV` if the disk
/// is dead or removed. `EINTR` if the task is killed, or if a reset or a time-out ended the command;
/// otherwise the error of a command that didn't reach the controller.
fn run(disk: &OpenDisk<'_, NvmeOps>, user: &UserCommand, writable: bool) -> Result<(u64, Status)> {
    let command = user.command;
    let bytes = user.data.bytes().ok_or(EINVAL)?;
    // Without data there are none.
    let metadata = match bytes {
        0 => 0,
        _ => user.metadata.bytes().ok_or(EINVAL)?,
    };
    let (needed, limit_ms) = disk.with(|ns| {
        let needed = allowed(ns, command, disk.is_partition(), writable, metadata)?;
        let limit_ms = time_limit_ms(user.timeout_ms, ns.supervisor.io_timeout_ms(), is_admin);
        Ok((needed, limit_ms))
    })?;
    let short = needed.is_some_and(|needed| (bytes as u64) < needed);
    if bytes > disk.max_bytes() || short {
        return Err(EINVAL);
    }
    // The block layer's answer to the same by io_uring.
    if metadata > disk.max_bytes() {
        return Err(E2BIG);
    }
    // Also for a command that receives data: what the controller doesn't write stays the same.
    let mut data = KVVec::from_elem(0u8, bytes, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?;
    user.data.read(&mut data)?;
    let metadata = match metadata {
        0 => None,
        len => {
            let mut metadata = MetadataBuffer::new(len)?;
            user.metadata.read(&mut metadata)?;
            Some(metadata)
        }
    };
    let ended = execute(disk, command, Buffers { data, metadata }, limit_ms);
    // Also after an error, because the controller may have executed the command; and how it ended counts,
    // although the disk may be removed now.
    let _ = disk.with(|ns| {
        let effects = ns.supervisor.io_effects(command.opcode());
        if effects.changes_namespaces() {
            ns.supervisor.namespaces_changed();
        }
        Ok(())
    });
    let (result, status, buffers) = ended?;
    if !command.sends_data() {
        user.data.write(&buffers.data)?;
        if let Some(metadata) = &buffers.metadata {
            user.metadata.write(metadata)?;
        }
    }
    Ok((result, status))
}

/// Executes `command` as a request of the disk, for `limit_ms` milliseconds at most (0 for the driver's
/// limit), and returns its result and status, and the memory of its data. Sleeps.
///
/// # Errors
///
/// `ENODEV` if the disk is dead or removed; `EINVAL` for more data than a command can have; `ENOMEM`.
/// `EINTR` if the task is killed, or if a reset or a time-out ended the command; otherwise the error of a
/// command that didn't reach the controller.
pub(super) fn execute(
    disk: &OpenDisk<'_, NvmeOps>,
    command: Command,
    buffers: Buffers,
    limit_ms: u32,
) -> Result<(u64, Status, Buffers)> {
    let ((done, ended), buffers) = disk.execute(
        command.sends_data(),
        buffers,
        limit_ms,
        |rq| rq.set_own(command),
        |rq, ended| (rq.take_end(), ended),
    )?;
    match done {
        Some((_, Status::CANCELLED)) => Err(EINTR),
        Some((result, status)) => Ok((result, status, buffers)),
        None => Err(ended.err().unwrap_or(EIO)),
    }
}
