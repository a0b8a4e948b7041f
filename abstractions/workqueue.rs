// SPDX-License-Identifier: GPL-2.0

//! Work that runs later, in process context, while a device is bound.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

// A driver uses only a part of this.
#![allow(dead_code, unreachable_pub)]

use core::ptr::NonNull;
use kernel::{
    bindings,
    container_of,
    device::{
        self,
        Bound, //
    },
    fmt,
    new_mutex,
    prelude::*,
    str::CString,
    sync::{
        aref::ARef,
        Arc,
        Mutex, //
    },
    types::Opaque, //
};

/// The function of a [`Task`].
///
/// # Examples
///
/// ```
/// use abstractions::workqueue::Run;
/// use kernel::sync::Arc;
///
/// const LOG: Run<u32> = |number: &Arc<u32>, dev| dev_info!(dev, "number {}\n", **number);
///
/// // A task calls the function with its target, and the device.
/// LOG(&Arc::new(7, GFP_KERNEL)?, dev);
/// ```
pub type Run<T> = fn(&Arc<T>, &device::Device<Bound>);

/// The tasks of a bound device. Dropping this cancels them.
///
/// # Invariants
///
/// The device is bound while this exists.
///
/// # Examples
///
/// ```
/// use abstractions::workqueue::{Task, Tasks};
/// use kernel::sync::Arc;
///
/// // A bus's adapter does this, for example `abstractions::pci`; the driver gets `tasks`.
/// // SAFETY: `tasks` is dropped at the end of this example, and the device is bound until then.
/// let tasks = KBox::pin_init(unsafe { Tasks::new(dev) }, GFP_KERNEL)?;
///
/// let task = Task::<u32>::new(&tasks, |number, dev| dev_info!(dev, "number {}\n", **number))?;
/// task.attach(Arc::new(7, GFP_KERNEL)?);
/// task.queue();
/// task.flush();
/// ```
#[pin_data(PinnedDrop)]
pub struct Tasks {
    dev: ARef<device::Device>,
    #[pin]
    list: Mutex<KVec<Arc<dyn Cancel>>>,
}

/// A task with any target type.
trait Cancel: Send + Sync {
    fn cancel(&self);
}

impl Tasks {
    /// An empty list of the tasks of `dev`.
    ///
    /// # Safety
    ///
    /// The caller must drop the value before the device is unbound, and before resources that the
    /// device manages (`Devres`) are released.
    pub unsafe fn new(dev: &device::Device<Bound>) -> impl PinInit<Self> + use<'_> {
        // INVARIANT: The caller promises to drop the value before the device is unbound.
        pin_init!(Self {
            dev: dev.into(),
            list <- new_mutex!(KVec::new()),
        })
    }
}

#[pinned_drop]
impl PinnedDrop for Tasks {
    fn drop(self: Pin<&mut Self>) {
        for task in &*self.list.lock() {
            task.cancel();
        }
    }
}

/// A function that runs later on a `T`, any number of times, and never concurrently with itself.
///
/// It runs only while the device is bound, and before resources that the device manages are
/// released: dropping the device's [`Tasks`] cancels even leaked tasks.
///
/// # Examples
///
/// ```no_run
/// use abstractions::workqueue::{Task, Tasks};
/// use kernel::sync::Arc;
///
/// struct Controller;
///
/// impl Controller {
///     fn reset(&self) {}
///     fn scan(&self) {}
/// }
///
/// fn probe(tasks: &Tasks) -> Result {
///     let controller = Arc::new(Controller, GFP_KERNEL)?;
///
///     let scan = Task::new(tasks, |controller: &Arc<Controller>, _dev| controller.scan())?;
///     scan.attach(controller.clone());
///     scan.queue();
///     // Waits for the scan.
///     scan.flush();
///
///     // Reclaim may wait for a reset.
///     let reset = Task::with_rescuer(
///         tasks,
///         fmt!("my_reset"),
///         |controller: &Arc<Controller>, _dev| controller.reset(),
///     )?;
///     reset.attach(controller);
///     reset.queue();
///
///     // Waits for a scan that runs.
///     scan.cancel();
///     Ok(())
/// }
/// ```
pub struct Task<T: Send + Sync + 'static> {
    inner: Arc<Inner<T>>,
}

impl<T: Send + Sync + 'static> Drop for Task<T> {
    fn drop(&mut self) {
        self.inner.cancel();
    }
}

/// A workqueue with a rescuer thread, so that it makes progress without memory for a new worker.
///
/// # Invariants
///
/// The pointer is valid, and this value owns the workqueue.
struct RescuerQueue(NonNull<bindings::workqueue_struct>);

// SAFETY: A workqueue has no affinity to a thread.
unsafe impl Send for RescuerQueue {}

// SAFETY: A workqueue has its own locks, so several threads may queue work to it.
unsafe impl Sync for RescuerQueue {}

impl RescuerQueue {
    fn new(name: fmt::Arguments<'_>) -> Result<Self> {
        let name = CString::try_from_fmt(name)?;
        let flags = bindings::wq_flags_WQ_UNBOUND | bindings::wq_flags_WQ_MEM_RECLAIM;

        // SAFETY: The format takes one string, which the function copies.
        let queue = unsafe {
            bindings::alloc_workqueue_noprof(c"%s".as_char_ptr(), flags, 1, name.as_char_ptr())
        };
        // INVARIANT: The workqueue was just allocated for this value.
        Ok(Self(NonNull::new(queue).ok_or(ENOMEM)?))
    }
}

impl Drop for RescuerQueue {
    fn drop(&mut self) {
        // SAFETY: By the type invariant this value owns the queue; its only task was cancelled.
        unsafe { bindings::destroy_workqueue(self.0.as_ptr()) };
    }
}

#[pin_data(PinnedDrop)]
struct Inner<T: Send + Sync + 'static> {
    #[pin]
    work: Opaque<bindings::work_struct>,
    queue: Option<RescuerQueue>,
    dev: ARef<device::Device>,
    run: Run<T>,
    #[pin]
    target: Mutex<Option<Arc<T>>>,
}

// SAFETY: `work_struct` has no affinity to a thread; the target is `Send` and `Sync`.
unsafe impl<T: Send + Sync + 'static> Send for Inner<T> {}

// SAFETY: Work may be queued and cancelled concurrently; the other fields are only read, or
// protected by the mutex.
unsafe impl<T: Send + Sync + 'static> Sync for Inner<T> {}

impl<T: Send + Sync + 'static> Task<T> {
    /// Creates a task of the device of `tasks`, without a target.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(tasks: &Tasks, run: Run<T>) -> Result<Arc<Self>> {
        Self::with_queue(tasks, run, None)
    }

    /// As [`new`](Self::new), for a task that reclaim may depend on, and that must run even if
    /// there is no memory. It gets its own workqueue, called `name`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn with_rescuer(tasks: &Tasks, name: fmt::Arguments<'_>, run: Run<T>) -> Result<Arc<Self>> {
        Self::with_queue(tasks, run, Some(RescuerQueue::new(name)?))
    }

    fn with_queue(tasks: &Tasks, run: Run<T>, queue: Option<RescuerQueue>) -> Result<Arc<Self>> {
        // A lockdep class per function, because the locks that one task takes say nothing about
        // other tasks. Lockdep only compares the addresses of keys, which must be in the module,
        // and doesn't access the memory there.
        let key = (run as *const ()).cast::<bindings::lock_class_key>();
        let inner = Arc::pin_init(
            pin_init!(Inner {
                work <- Opaque::ffi_init(|slot: *mut bindings::work_struct| {
                    // SAFETY: `slot` is valid for writes and stays in place; the name and the
                    // function whose address is the key are static.
                    unsafe {
                        bindings::init_work_with_key(
                            slot,
                            Some(Inner::<T>::callback),
                            false,
                            c"Task".as_char_ptr(),
                            key.cast_mut(),
                        )
                    }
                }),
                queue,
                dev: tasks.dev.clone(),
                run,
                target <- new_mutex!(None),
            }),
            GFP_KERNEL,
        )?;
        let task = Arc::new(
            Self {
                inner: inner.clone(),
            },
            GFP_KERNEL,
        )?;
        tasks.list.lock().push(inner, GFP_KERNEL)?;
        Ok(task)
    }

    /// Sets the task's target. The task keeps it until [`cancel`](Self::cancel).
    pub fn attach(&self, target: Arc<T>) {
        *self.inner.target.lock() = Some(target);
    }

    /// Queues the task. If it is running, it runs once more; if it is already queued, this has no
    /// effect. Any context.
    pub fn queue(&self) {
        let queue = match &self.inner.queue {
            Some(queue) => queue.0.as_ptr(),
            // SAFETY: The system's workqueue exists since boot.
            None => unsafe { bindings::system_dfl_wq },
        };

        // SAFETY: The work is initialised, and cancelled before it and the queue are freed.
        unsafe {
            bindings::queue_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                queue,
                self.inner.work.get(),
            )
        };
    }

    /// Waits until the task has run, if it is queued, and until a run that has begun has ended. The
    /// task itself must not call this, nor a context that holds a lock which the task takes. May
    /// sleep.
    pub fn flush(&self) {
        // SAFETY: The work is initialised.
        unsafe { bindings::flush_work(self.inner.work.get()) };
    }

    /// Cancels the task permanently: waits until it doesn't run, and drops its target. The task
    /// itself must not call this. May sleep.
    pub fn cancel(&self) {
        self.inner.cancel();
    }
}

impl<T: Send + Sync + 'static> Cancel for Inner<T> {
    fn cancel(&self) {
        // SAFETY: The work is initialised.
        unsafe { bindings::disable_work_sync(self.work.get()) };
        let target = self.target.lock().take();
        // Without the lock, because this may drop the last reference.
        drop(target);
    }
}

impl<T: Send + Sync + 'static> Inner<T> {
    /// Runs the task's function.
    ///
    /// # Safety
    ///
    /// The workqueue calls this, with the work of an `Inner<T>`.
    unsafe extern "C" fn callback(work: *mut bindings::work_struct) {
        // SAFETY: The work is the field of an `Inner<T>`, which cancels it before it is freed.
        let this = unsafe { &*container_of!(Opaque::cast_from(work), Self, work) };
        let target = this.target.lock().clone();

        if let Some(target) = target {
            // SAFETY: The device is bound, because dropping `Tasks` cancels the task before unbind,
            // and waits for it. A task that isn't in the list yet has no target.
            (this.run)(&target, unsafe { this.dev.as_bound() });
        }
    }
}

#[pinned_drop]
impl<T: Send + Sync + 'static> PinnedDrop for Inner<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: The work is initialised.
        unsafe { bindings::disable_work_sync(self.work.get()) };
    }
}
