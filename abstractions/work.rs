// SPDX-License-Identifier: GPL-2.0

//! Work that runs later, in process context, while a device is bound.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

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

/// What a [`Task`] does.
pub type Run<T> = fn(&Arc<T>, &device::Device<Bound>);

/// The tasks of a device that is bound. When this is dropped they are cancelled.
///
/// # Invariants
///
/// The device is bound as long as this is there.
#[pin_data(PinnedDrop)]
pub struct Tasks {
    dev: ARef<device::Device>,
    #[pin]
    list: Mutex<KVec<Arc<dyn Cancel>>>,
}

/// A task, whatever it runs on.
trait Cancel: Send + Sync {
    fn cancel(&self);
}

impl Tasks {
    /// An empty list of the tasks of `dev`.
    ///
    /// # Safety
    ///
    /// It is dropped before the device is no longer bound, and before anything goes that the device
    /// manages (`Devres`).
    pub unsafe fn new(dev: &device::Device<Bound>) -> impl PinInit<Self> + use<'_> {
        // INVARIANT: As the caller promises.
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

/// A function that is run later on a `T`, any number of times, one at a time.
///
/// It runs only while the device is bound, and before anything goes that the device manages: a task
/// that is left, or leaked, ends with the device's [`Tasks`].
pub struct Task<T: Send + Sync + 'static> {
    inner: Arc<Inner<T>>,
}

impl<T: Send + Sync + 'static> Drop for Task<T> {
    fn drop(&mut self) {
        self.inner.cancel();
    }
}

/// A workqueue with a thread of its own for when there is no memory for another.
///
/// # Invariants
///
/// The pointer is that of a workqueue, which this owns.
struct RescuerQueue(NonNull<bindings::workqueue_struct>);

// SAFETY: A workqueue has locks of its own and no affinity to a thread.
unsafe impl Send for RescuerQueue {}

// SAFETY: As above.
unsafe impl Sync for RescuerQueue {}

impl RescuerQueue {
    fn new(name: fmt::Arguments<'_>) -> Result<Self> {
        let name = CString::try_from_fmt(name)?;
        let flags = bindings::wq_flags_WQ_UNBOUND | bindings::wq_flags_WQ_MEM_RECLAIM;

        // SAFETY: The format takes one string, which the function copies.
        let queue = unsafe {
            bindings::alloc_workqueue_noprof(c"%s".as_char_ptr(), flags, 1, name.as_char_ptr())
        };
        // INVARIANT: It was made for this.
        Ok(Self(NonNull::new(queue).ok_or(ENOMEM)?))
    }
}

impl Drop for RescuerQueue {
    fn drop(&mut self) {
        // SAFETY: By the type invariant nobody else has the queue; its only task was cancelled.
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

// SAFETY: Work may be queued and cancelled concurrently; the rest is read, or under the mutex.
unsafe impl<T: Send + Sync + 'static> Sync for Inner<T> {}

impl<T: Send + Sync + 'static> Task<T> {
    /// Makes a task of the device of `tasks` that has nothing to run on yet.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(tasks: &Tasks, run: Run<T>) -> Result<Arc<Self>> {
        Self::with_queue(tasks, run, None)
    }

    /// As [`new`](Self::new), for a task that runs even where there is no memory: freeing some may
    /// wait for what it does. It has a workqueue of its own, with this name.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn with_rescuer(tasks: &Tasks, name: fmt::Arguments<'_>, run: Run<T>) -> Result<Arc<Self>> {
        Self::with_queue(tasks, run, Some(RescuerQueue::new(name)?))
    }

    fn with_queue(tasks: &Tasks, run: Run<T>, queue: Option<RescuerQueue>) -> Result<Arc<Self>> {
        // What one task does says nothing of another: lockdep has a class for each function. It compares
        // the addresses of keys, which have to be in the module, and doesn't access what is there.
        let key = (run as *const ()).cast::<bindings::lock_class_key>();
        let inner = Arc::pin_init(
            pin_init!(Inner {
                work <- Opaque::ffi_init(|slot: *mut bindings::work_struct| {
                    // SAFETY: `slot` is valid for writes and stays in place; the name is static, and so is
                    // the function whose address is the key.
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

    /// Sets what the task runs on. The task keeps it until it is cancelled.
    pub fn attach(&self, target: Arc<T>) {
        *self.inner.target.lock() = Some(target);
    }

    /// Has the task run soon. If it is running now, it runs once more; if it waits to be run, this
    /// changes nothing. Any context.
    pub fn queue(&self) {
        let queue = match &self.inner.queue {
            Some(queue) => queue.0.as_ptr(),
            // SAFETY: The system's queue is there from the start on.
            None => unsafe { bindings::system_dfl_wq },
        };

        // SAFETY: The work is initialised, and cancelled before it is freed; so is the queue.
        unsafe {
            bindings::queue_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                queue,
                self.inner.work.get(),
            )
        };
    }

    /// Keeps the task from running any more, waits until it doesn't, and lets go of what it runs
    /// on. It must not be called by the task itself. May sleep.
    pub fn cancel(&self) {
        self.inner.cancel();
    }
}

impl<T: Send + Sync + 'static> Cancel for Inner<T> {
    fn cancel(&self) {
        // SAFETY: The work is initialised.
        unsafe { bindings::disable_work_sync(self.work.get()) };
        let target = self.target.lock().take();
        // Not under the lock: it may be the last reference.
        drop(target);
    }
}

impl<T: Send + Sync + 'static> Inner<T> {
    /// Runs the task.
    ///
    /// # Safety
    ///
    /// The workqueue calls this, with the work of an `Inner<T>`.
    unsafe extern "C" fn callback(work: *mut bindings::work_struct) {
        // SAFETY: The work is the field of an `Inner<T>`, which cancels it before it is freed.
        let this = unsafe { &*container_of!(Opaque::cast_from(work), Self, work) };
        let target = this.target.lock().clone();

        if let Some(target) = target {
            // SAFETY: The device is bound: `Tasks` keeps the task from running after that, and
            // waits for it. One that isn't in its list yet was queued by nobody.
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
