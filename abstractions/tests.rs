// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of the abstractions that work without a PCI device.
//!
//! They are built only if the kernel has KUnit, and run when the module is loaded.

use super::atomic::{
    AtomicU32,
    AtomicUsize,
    Ordering, //
};
use super::{
    binding::Binding,
    block::mq::{
        GenDiskBuilder,
        IdleRequest,
        InFlight,
        IoCompletionBatch,
        Limits,
        Op,
        Operations,
        QueueSet,
        Rejected,
        RequestTimeoutStatus,
        Status,
        Tag,
        TagSet, //
    },
    dma,
    dma::{
        Pool,
        Ring, //
    },
    irq::CpuList,
    pci::io::{
        Doorbells,
        Revoke, //
    },
    sync::{
        Completion,
        RerunLock, //
    },
    sysfs,
    workqueue::{
        Task,
        Tasks, //
    }, //
};
use kernel::{
    bindings,
    container_of,
    cpu::{
        nr_cpu_ids,
        CpuId, //
    },
    cpumask::CpumaskVar,
    device::{
        self,
        Bound, //
    },
    error::{
        from_err_ptr,
        to_result, //
    },
    faux,
    fmt,
    page::PAGE_SIZE,
    prelude::*,
    str::CString,
    sync::Arc, //
};

/// A faux device: it is bound, and DMA memory can be allocated for it.
struct Dummy(faux::Registration);

impl Dummy {
    fn new() -> Result<Self> {
        let dummy = Self(faux::Registration::new(c"rust_nvme_kunit", None)?);

        // SAFETY: The device is valid, and no other context uses it yet.
        to_result(unsafe { bindings::dma_set_coherent_mask(dma::raw(dummy.dev()), u64::MAX) })?;
        Ok(dummy)
    }

    fn dev(&self) -> &device::Device<Bound> {
        let faux: &faux::Device<Bound> = self.0.as_ref();

        faux.as_ref()
    }
}

/// A driver of requests without data: `Play::act` selects what the driver does with a request.
struct Player;

struct Play {
    act: AtomicU32,
    table: InFlight<Player>,
    /// A bit for each check that held.
    held: AtomicU32,
    checks: AtomicU32,
    queued: AtomicU32,
}

const TAGS: u16 = 8;

// Kinds of `Play::act`.
const LOOK: u32 = 0;
const DROP: u32 = 1;
const BATCH: u32 = 2;
const REJECT: u32 = 3;
const REQUEUE: u32 = 4;
const IGNORE: u32 = 5;
const AGE: u32 = 6;
const TABLE: u32 = 7;

impl Play {
    fn new() -> Result<Arc<Self>> {
        Ok(Arc::new(
            Self {
                act: AtomicU32::new(LOOK),
                table: InFlight::new(TAGS)?,
                held: AtomicU32::new(0),
                checks: AtomicU32::new(0),
                queued: AtomicU32::new(0),
            },
            GFP_KERNEL,
        )?)
    }

    /// Records a check, because this context must not fail an assertion.
    fn check(&self, held: bool) {
        let number = self.checks.fetch_add(1, Ordering::Relaxed);

        if held {
            self.held.fetch_or(1 << number, Ordering::Relaxed);
        }
    }

    /// Tests all operations on a request and its command identifier.
    fn look(&self, rq: IdleRequest<'_, Player>) {
        let tag = rq.tag();
        self.check(rq.op() == Op::Other);
        let Ok(cid) = self.table.insert(rq.start()) else {
            return;
        };

        self.check(self.table.cid(tag) == Some(cid));
        // Another generation, another tag, a tag beyond the table.
        self.check(self.table.take(cid ^ 1 << 12).is_none());
        self.check(self.table.take(cid ^ 1).is_none());
        self.check(self.table.take(cid | 0xfff).is_none());
        self.check(self.table.take_tag(Tag::new(TAGS)).is_none());
        self.check(self.table.cid(Tag::new(TAGS)).is_none());
        // The mark can be set only once, and not by another generation, or beyond the table.
        self.check(!self.table.mark(cid ^ 1 << 12));
        self.check(self.table.mark(cid));
        self.check(!self.table.mark(cid));
        self.check(!self.table.mark(cid | 0xfff));

        let Some(rq) = self.table.take(cid) else {
            return;
        };
        self.check(self.table.take(cid).is_none());
        self.check(self.table.take_tag(tag).is_none());
        self.check(self.table.cid(tag).is_none());
        self.check(!self.table.mark(cid));

        // The tag's next use has another generation, and no mark.
        let Ok(next) = self.table.insert(rq) else {
            return;
        };
        self.check(next != cid);
        self.check(self.table.take(cid).is_none());
        self.check(!self.table.mark(cid) && self.table.mark(next));
        let Some(rq) = self.table.take_tag(tag) else {
            return;
        };
        self.check(self.table.take(next).is_none());
        // Last: the caller may go on as soon as the request ends.
        rq.end(Status::Ok);
    }

    /// Inserts a request repeatedly: its tag's last 15 identifiers take out nothing, and the
    /// identifier before these repeats.
    fn age(&self, rq: IdleRequest<'_, Player>) {
        let mut cids = [0; 3 * GENERATIONS];
        let mut rq = rq.start();
        let mut held = true;

        for i in 0..cids.len() {
            let Ok(cid) = self.table.insert(rq) else {
                return;
            };
            for ago in 1..GENERATIONS.min(i + 1) {
                held &= cids[i - ago] != cid && self.table.take(cids[i - ago]).is_none();
            }
            held &= i < GENERATIONS || cids[i - GENERATIONS] == cid;
            cids[i] = cid;
            let tag = cid & InFlight::<Player>::TAG_MASK;
            held &= tag == cids[0] & InFlight::<Player>::TAG_MASK;
            // Some uses are marked.
            held &= i % 3 != 0 || self.table.mark(cid);
            let Some(back) = self.table.take(cid) else {
                return;
            };
            rq = back;
        }
        self.check(held);
        rq.end(Status::Ok);
    }
}

/// A tag's identifiers repeat after this many uses.
const GENERATIONS: usize = 16;

/// The number of checks in `Play::look`.
const LOOKS: u32 = 19;

impl Operations for Player {
    type Module = crate::LocalModule;
    type TagSetData = Arc<Play>;
    type HwData = Play;
    type GenDiskData = ();
    type RequestData = u32;

    fn init_hctx(play: &Arc<Play>, _: u32) -> Result<Arc<Play>> {
        Ok(play.clone())
    }

    fn queue_rq<'a>(
        play: &Play,
        _: &(),
        mut rq: IdleRequest<'a, Self>,
        _: bool,
    ) -> Result<(), Rejected<'a>> {
        let before = play.queued.fetch_add(1, Ordering::Relaxed);

        match play.act.load(Ordering::Relaxed) {
            LOOK => play.look(rq),
            AGE => play.age(rq),
            TABLE => match play.table.insert(rq.start()) {
                Ok(cid) => {
                    if let Some(rq) = play.table.take(cid) {
                        rq.end(Status::Ok);
                    }
                }
                Err(rq) => rq.end(Status::Invalid),
            },
            DROP => drop(rq.start()),
            BATCH => IoCompletionBatch::with(|batch| rq.start().complete(Status::Ok, batch)),
            REJECT => return Err(rq.reject(Status::Ok)),
            REQUEUE if before == 0 => {
                *rq.data() = 42;
                rq.start().requeue();
            }
            REQUEUE => {
                // The request's data are kept.
                play.check(*rq.data() == 42);
                rq.start().end(Status::NoSpace);
            }
            _ => play.check(play.table.insert(rq.start()).is_ok()),
        }
        Ok(())
    }

    fn commit_rqs(_: &Play) {}

    fn request_timeout(play: &Play, _: &(), tag: Tag, _: Op) -> RequestTimeoutStatus {
        if let Some(rq) = play.table.take_tag(tag) {
            play.check(true);
            rq.end(Status::Timeout);
        }
        RequestTimeoutStatus::Completed
    }
}

/// A set of `queues` default and `reads` read queues.
fn set_of(dummy: &Dummy, play: &Arc<Play>, queues: u32, reads: u32) -> Result<Arc<TagSet<Player>>> {
    let some = |queues| QueueSet {
        queues,
        first_vector: None,
    };
    let sets = [some(queues), some(reads), QueueSet::default()];
    TagSet::new(dummy.dev(), play.clone(), sets, TAGS, 200)
}

/// A disk of size 0, so that the kernel doesn't look for partitions.
fn disk_of(set: &Arc<TagSet<Player>>, name: fmt::Arguments<'_>) -> Result<GenDiskBuilder<Player>> {
    let limits = Limits {
        logical_block_size: 512,
        physical_block_size: 512,
        max_bytes: Limits::MIN_BYTES,
        max_segments: 1,
        dma_alignment: 4,
        ..Limits::default()
    };
    GenDiskBuilder::new(set.clone(), name, limits, 0, ())
}

/// Sends a disk a request, with `act`; returns the request's result.
fn play(play: &Arc<Play>, act: u32) -> Result<u8> {
    let dummy = Dummy::new()?;
    let set = set_of(&dummy, play, 1, 0)?;
    let disk = disk_of(&set, fmt!("rnvmekunit"))?.add(dummy.dev())?;
    play.act.store(act, Ordering::Relaxed);

    let status = execute(&dummy, c"rnvmekunit")?;
    drop(disk);
    Ok(status)
}

/// Sends the disk of this name a request; returns the request's result.
fn execute(dummy: &Dummy, name: &CStr) -> Result<u8> {
    // SAFETY: The device found belongs to a disk's `struct block_device`, because a dummy has no
    // other children. It stays valid here, because the disk does.
    unsafe {
        let child = bindings::device_find_child(
            dma::raw(dummy.dev()),
            name.as_char_ptr().cast(),
            Some(bindings::device_match_name),
        );
        if child.is_null() {
            return Err(ENODEV);
        }
        let queue = (*container_of!(child, bindings::block_device, bd_device)).bd_queue;
        bindings::put_device(child);

        let rq = from_err_ptr(bindings::blk_mq_alloc_request(
            queue,
            bindings::req_op_REQ_OP_DRV_IN,
            0,
        ))?;
        let status = bindings::blk_execute_rq(rq, false);
        bindings::blk_mq_free_request(rq);
        Ok(status)
    }
}

#[kunit_tests(rust_nvme_demo)]
mod suite {
    use super::*;

    #[test]
    fn completion_is_used_up() -> Result {
        let done = KBox::pin_init(Completion::new(), GFP_KERNEL)?;

        assert!(!done.wait_timeout(0));
        assert!(!done.wait_timeout(20));
        done.complete();
        done.complete();
        assert!(done.wait_timeout(0));
        assert!(done.wait_timeout(1000));
        assert!(!done.wait_timeout(1));
        Ok(())
    }

    #[test]
    fn rerun_lock_takes_note_of_others() -> Result {
        let lock = RerunLock::new(1);

        let mut inside = lock.enter().ok_or(EBUSY)?;
        *inside.value() += 1;
        // Two contexts try to enter; a single extra pass serves both.
        assert!(lock.enter().is_none());
        assert!(lock.enter().is_none());
        let mut again = inside.leave().ok_or(EINVAL)?;
        *again.value() += 1;
        assert!(again.leave().is_none());

        // Dropping the guard releases the lock, too.
        drop(lock.enter().ok_or(EBUSY)?);
        let mut inside = lock.enter().ok_or(EBUSY)?;
        assert_eq!(*inside.value(), 3);
        assert!(inside.leave().is_none());
        Ok(())
    }

    #[test]
    fn no_more_queues_than_cpus() -> Result {
        let (dummy, play, cpus) = (Dummy::new()?, Play::new()?, nr_cpu_ids());

        assert!(set_of(&dummy, &play, 0, 0).is_err());
        assert!(set_of(&dummy, &play, u32::MAX, 2).is_err());
        // blk-mq would create fewer queues than requested.
        assert!(set_of(&dummy, &play, cpus + 1, 0).is_err());
        let set = set_of(&dummy, &play, cpus, 0)?;
        drop(disk_of(&set, fmt!("rnvmekunit"))?);
        // With two sets it creates them all.
        let set = set_of(&dummy, &play, 1, cpus + 1)?;
        drop(disk_of(&set, fmt!("rnvmekunit"))?.add(dummy.dev())?);
        Ok(())
    }

    #[test]
    fn quiesce_knows_its_queues() -> Result {
        let (dummy, play) = (Dummy::new()?, Play::new()?);
        let set = set_of(&dummy, &play, 1, 0)?;
        let before = disk_of(&set, fmt!("rnvmekunit0"))?.add(dummy.dev())?;

        let never = disk_of(&set, fmt!("rnvmekunit2"))?;
        set.quiesce();
        set.quiesce();
        // This disk is never added, and is dropped while quiesced.
        drop(never);
        // The kernel would warn about unquiescing a queue that wasn't quiesced.
        let after = disk_of(&set, fmt!("rnvmekunit1"))?.add(dummy.dev())?;
        set.unquiesce();
        set.unquiesce();

        before.freeze();
        before.freeze();
        assert!(before.is_idle_within(1000));
        before.thaw();
        before.thaw();
        // The disk is dropped while frozen.
        after.freeze();
        Ok(())
    }

    #[test]
    fn disks_go_with_their_parent() -> Result {
        let (dummy, play) = (Dummy::new()?, Play::new()?);
        let set = set_of(&dummy, &play, 1, 0)?;

        let disk = disk_of(&set, fmt!("rnvmekunit"))?.add(dummy.dev())?;
        drop(dummy);
        // The name is free again, but the parent must be the set's device.
        let other = Dummy::new()?;
        assert!(disk_of(&set, fmt!("rnvmekunit"))?.add(other.dev()).is_err());
        let set = set_of(&other, &play, 1, 0)?;
        drop(disk_of(&set, fmt!("rnvmekunit"))?.add(other.dev())?);
        disk.mark_dead();
        // The kernel would warn about unquiescing a removed queue.
        disk.freeze();
        disk.thaw();
        Ok(())
    }

    #[test]
    fn dead_disk_has_no_size() -> Result {
        let (dummy, play) = (Dummy::new()?, Play::new()?);
        let set = set_of(&dummy, &play, 1, 0)?;

        let disk = disk_of(&set, fmt!("rnvmekunit"))?.add(dummy.dev())?;
        disk.set_capacity(8);
        assert_eq!(disk.capacity(), 8);
        disk.mark_dead();
        assert_eq!(disk.capacity(), 0);
        disk.set_capacity(16);
        assert_eq!(disk.capacity(), 0);
        Ok(())
    }

    #[test]
    fn cpu_list_prints_ranges() -> Result {
        let mut mask = CpumaskVar::new_zero(GFP_KERNEL)?;
        let list = CpuList::new(&mask)?;
        assert_eq!(CString::try_from_fmt(fmt!("{list}"))?.to_bytes(), b"");

        let last = nr_cpu_ids() - 1;
        mask.set(CpuId::from_u32(last).ok_or(EINVAL)?);
        let list = CpuList::new(&mask)?;
        let want = CString::try_from_fmt(fmt!("{last}"))?;
        assert_eq!(
            CString::try_from_fmt(fmt!("{list}"))?.to_bytes(),
            want.to_bytes()
        );

        for cpu in (0..=last).filter_map(CpuId::from_u32) {
            mask.set(cpu);
        }
        let list = CpuList::new(&mask)?;
        if last > 0 {
            let want = CString::try_from_fmt(fmt!("0-{last}"))?;
            assert_eq!(
                CString::try_from_fmt(fmt!("{list}"))?.to_bytes(),
                want.to_bytes()
            );
        }
        Ok(())
    }

    #[test]
    fn ring_ends_where_it_ends() -> Result {
        let dummy = Dummy::new()?;
        assert!(Ring::<2>::new(dummy.dev(), 0).is_err());

        let ring = Ring::<2>::new(dummy.dev(), 4)?;
        assert_eq!(ring.len(), 4);
        assert_eq!(ring.dma_address() % 4096, 0);
        assert_eq!(ring.entry(3), Some([0, 0]));
        assert!(ring.write(3, &[1, 2]));
        assert_eq!(ring.entry(3), Some([1, 2]));
        assert_eq!(ring.entry(2), Some([0, 0]));
        assert_eq!(ring.slot(3).map(|slot| slot.read::<1>()), Some(2));

        assert!(!ring.write(4, &[3, 4]));
        assert!(!ring.write(usize::MAX, &[3, 4]));
        assert!(ring.entry(4).is_none());
        assert!(ring.slot(4).is_none());
        assert!(ring.slot(usize::MAX).is_none());
        ring.clear();
        assert_eq!(ring.entry(3), Some([0, 0]));
        Ok(())
    }

    #[test]
    fn pool_blocks_are_apart() -> Result {
        let dummy = Dummy::new()?;
        for words in [0, 3, PAGE_SIZE / 4] {
            assert!(Pool::new(dummy.dev(), words).is_err());
        }

        let pool = Pool::new(dummy.dev(), 32)?;
        // More blocks than fit into a page.
        let mut blocks = KVec::new();
        for _ in 0..PAGE_SIZE / 100 {
            blocks.push(pool.take().ok_or(ENOMEM)?, GFP_KERNEL)?;
        }
        // The blocks keep the pool alive.
        drop(pool);
        for i in 0..blocks.len() {
            let at = blocks[i].dma_address();
            assert_eq!(at % 256, 0);
            assert!(blocks[i + 1..].iter().all(|b| b.dma_address() != at));
            assert!(blocks[i].set_run(0, u64::MAX, 1, 32));
            assert!(blocks[i].set_run(32, 0, 0, 0));
            assert!(!blocks[i].set_run(31, 0, 0, 2));
            assert!(!blocks[i].set_run(usize::MAX, 0, 0, 2));
        }

        // The content of free blocks, which a device may write, doesn't affect the pool's list.
        let pool = Pool::new(dummy.dev(), 32)?;
        let mut block = pool.take().ok_or(ENOMEM)?;
        let at = block.dma_address();
        assert!(block.set_run(0, u64::MAX, 0, 32));
        drop(block);
        let again = pool.take().ok_or(ENOMEM)?;
        assert_eq!(again.dma_address(), at);
        assert!(pool.take().is_some_and(|b| b.dma_address() != at));
        Ok(())
    }

    #[test]
    fn binding_ends_with_the_device() -> Result {
        let dummy = Dummy::new()?;
        let binding = Binding::of(dummy.dev())?;

        // All share one binding.
        assert!(Arc::ptr_eq(&binding, &Binding::of(dummy.dev())?));
        assert!(binding.hold().is_some());
        drop(dummy);
        assert!(binding.hold().is_none());
        let next = Dummy::new()?;
        assert!(Binding::of(next.dev())?.hold().is_some());
        assert!(binding.hold().is_none());
        Ok(())
    }

    #[test]
    fn pool_of_an_unbound_device_does_not_grow() -> Result {
        let dummy = Dummy::new()?;
        // Of half a page.
        let pool = Pool::new(dummy.dev(), PAGE_SIZE / 16)?;
        let first = pool.take().ok_or(ENOMEM)?;

        drop(dummy);
        // The page has one more block, and then the pool is empty.
        let second = pool.take().ok_or(ENOMEM)?;
        assert!(pool.take().is_none());
        drop((first, second));
        assert!(pool.take().is_some());
        Ok(())
    }

    #[test]
    fn revoked_doorbells_are_the_dummy() -> Result {
        let doorbells = Arc::pin_init(Doorbells::new(), GFP_KERNEL)?;
        let revoke = Revoke(doorbells.clone());
        let registers = [const { AtomicUsize::new(0) }; 3];

        for (i, register) in registers.iter().enumerate() {
            // SAFETY: The register stays in place until it is removed below. Nothing uses the
            // address.
            unsafe { doorbells.add(register, 0x1000 + i) }?;
            assert_eq!(register.load(Ordering::Relaxed), 0x1000 + i);
        }
        doorbells.remove(&registers[1]);
        drop(revoke);
        let now = [0, 1, 2].map(|i| registers[i].load(Ordering::Relaxed));
        assert_eq!(now, [doorbells.dummy(), 0x1001, doorbells.dummy()]);
        assert_eq!(doorbells.dummy() % 4, 0);

        // SAFETY: `add` fails, so it doesn't keep the register.
        assert!(unsafe { doorbells.add(&registers[1], 0x1001) }.is_err());
        for register in &registers {
            doorbells.remove(register);
        }
        Ok(())
    }

    #[test]
    fn sysfs_names_are_checked() -> Result {
        let dummy = Dummy::new()?;
        for name in ["", ".", "..", "a/b"] {
            assert!(sysfs::Dir::empty(dummy.dev(), fmt!("{name}")).is_err());
        }

        let dir = sysfs::Dir::empty(dummy.dev(), fmt!("queues"))?;
        let below = dir.subdir::<()>(fmt!("{}", 0), &[], Arc::new((), GFP_KERNEL)?)?;
        drop(dir);
        // The parent directory was removed.
        assert!(below
            .subdir::<()>(fmt!("x"), &[], Arc::new((), GFP_KERNEL)?)
            .is_err());
        // The name is free again.
        sysfs::Dir::empty(dummy.dev(), fmt!("queues"))?;

        let variables = [c"A=1"; 17];
        assert!(sysfs::uevent_change(dummy.dev(), &variables[..16]).is_ok());
        assert!(sysfs::uevent_change(dummy.dev(), &variables).is_err());
        Ok(())
    }

    #[test]
    fn task_runs_until_it_is_cancelled() -> Result {
        let dummy = Dummy::new()?;
        // SAFETY: `tasks` is dropped before the device.
        let tasks = KBox::pin_init(unsafe { Tasks::new(dummy.dev()) }, GFP_KERNEL)?;
        let task = Task::<AtomicU32>::new(&tasks, |runs, _| {
            runs.fetch_add(1, Ordering::Relaxed);
        })?;
        let runs = Arc::new(AtomicU32::new(0), GFP_KERNEL)?;

        // The task has no target yet.
        task.queue();
        task.attach(runs.clone());
        while runs.load(Ordering::Relaxed) == 0 {
            task.queue();
            kernel::time::delay::fsleep(kernel::time::Delta::from_millis(1));
        }
        task.cancel();
        let before = runs.load(Ordering::Relaxed);
        task.queue();
        kernel::time::delay::fsleep(kernel::time::Delta::from_millis(20));
        assert_eq!(runs.load(Ordering::Relaxed), before);

        // Dropping the device's tasks cancels a leaked task.
        let leaked = core::mem::ManuallyDrop::new(Task::<AtomicU32>::new(&tasks, |runs, _| {
            runs.fetch_add(1, Ordering::Relaxed);
        })?);
        leaked.attach(runs.clone());
        drop(tasks);
        leaked.queue();
        kernel::time::delay::fsleep(kernel::time::Delta::from_millis(20));
        assert_eq!(runs.load(Ordering::Relaxed), before);
        drop(core::mem::ManuallyDrop::into_inner(leaked));
        Ok(())
    }

    #[test]
    fn request_is_taken_once() -> Result {
        let p = Play::new()?;
        assert_eq!(super::play(&p, LOOK)?, Status::Ok as u8);
        assert_eq!(p.checks.load(Ordering::Relaxed), LOOKS);
        assert_eq!(p.held.load(Ordering::Relaxed), (1 << LOOKS) - 1);
        Ok(())
    }

    #[test]
    fn request_that_is_dropped_fails() -> Result {
        let p = Play::new()?;
        assert_eq!(super::play(&p, DROP)?, Status::IoError as u8);
        Ok(())
    }

    #[test]
    fn request_ends_with_a_batch() -> Result {
        let p = Play::new()?;
        assert_eq!(super::play(&p, BATCH)?, Status::Ok as u8);
        Ok(())
    }

    #[test]
    fn sixteen_generations_of_a_tag() -> Result {
        let p = Play::new()?;
        assert_eq!(super::play(&p, AGE)?, Status::Ok as u8);
        assert_eq!(p.held.load(Ordering::Relaxed), 1);
        Ok(())
    }

    #[test]
    fn table_is_one_hardware_queues() -> Result {
        let (dummy, p) = (Dummy::new()?, Play::new()?);
        p.act.store(TABLE, Ordering::Relaxed);
        let (first, second) = (set_of(&dummy, &p, 1, 0)?, set_of(&dummy, &p, 1, 0)?);
        let disks = [
            disk_of(&first, fmt!("rnvmekunit0"))?.add(dummy.dev())?,
            disk_of(&second, fmt!("rnvmekunit1"))?.add(dummy.dev())?,
            disk_of(&first, fmt!("rnvmekunit2"))?.add(dummy.dev())?,
        ];

        assert_eq!(execute(&dummy, c"rnvmekunit0")?, Status::Ok as u8);
        // The table may use the set's tags.
        assert_eq!(execute(&dummy, c"rnvmekunit1")?, Status::Invalid as u8);
        // This disk has the same tags as the first.
        assert_eq!(execute(&dummy, c"rnvmekunit2")?, Status::Ok as u8);
        drop(disks);
        Ok(())
    }

    #[test]
    fn request_is_not_rejected_with_success() -> Result {
        let p = Play::new()?;
        assert_eq!(super::play(&p, REJECT)?, Status::IoError as u8);
        Ok(())
    }

    #[test]
    fn request_comes_again() -> Result {
        let p = Play::new()?;
        assert_eq!(super::play(&p, REQUEUE)?, Status::NoSpace as u8);
        assert_eq!(p.queued.load(Ordering::Relaxed), 2);
        assert_eq!(p.held.load(Ordering::Relaxed), 1);
        Ok(())
    }

    #[test]
    fn request_times_out() -> Result {
        let p = Play::new()?;
        assert_eq!(super::play(&p, IGNORE)?, Status::Timeout as u8);
        assert_eq!(p.held.load(Ordering::Relaxed), 3);
        Ok(())
    }

    #[test]
    fn impossible_sets_are_refused() -> Result {
        let dummy = Dummy::new()?;
        let p = Play::new()?;
        let none = [QueueSet::default(); 3];
        assert!(TagSet::<Player>::new(dummy.dev(), p.clone(), none, TAGS, 1000).is_err());
        let mut one = none;
        one[0].queues = 1;
        assert!(TagSet::<Player>::new(dummy.dev(), p, one, 0, 1000).is_err());
        assert!(InFlight::<Player>::new(InFlight::<Player>::MAX_TAGS + 1).is_err());
        Ok(())
    }
}
