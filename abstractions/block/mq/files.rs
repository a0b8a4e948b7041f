// SPDX-License-Identifier: GPL-2.0

//! Files in a disk's directory in sysfs. They exist before the disk's `add` event, so that udev's
//! rules can read them.
//!
//! C header: [`include/linux/sysfs.h`](srctree/include/linux/sysfs.h)

use super::{
    tag_set::{
        QueueData,
        TagSet, //
    },
    Operations, //
};
use crate::abstractions::sysfs::{
    self,
    Output, //
};
use core::ptr;
use kernel::{
    bindings,
    container_of,
    device::{
        self,
        Bound, //
    },
    prelude::*,
    str::{
        as_char_ptr_in_const_context,
        BStr, //
    }, //
};

/// Writes the text of a file, for the disk's data and the bound device. Process context; may
/// sleep. The disk's removal waits for it.
pub(super) type Show<T> =
    fn(&<T as Operations>::GenDiskData, &device::Device<Bound>, &mut Output<'_>) -> Result;

/// Handles the text that user space wrote to a file, trimmed of white space, for the disk's data.
/// Process context; may sleep. The disk's removal waits for it.
pub(super) type Store<T> = fn(&<T as Operations>::GenDiskData, &BStr) -> Result;

/// A file that all users may read.
///
/// # Examples
///
/// ```no_run
/// use abstractions::block::mq::{DiskFile, Operations};
///
/// /// The file `serial` of disks whose data are their serial number; 0 if it is unknown.
/// const fn serial<T: Operations<GenDiskData = u64>>() -> DiskFile<T> {
///     DiskFile::new(
///         c"serial",
///         |serial, _parent, out| writeln!(out, "{serial:016x}"),
///         |serial| *serial != 0,
///     )
/// }
/// ```
#[repr(C)]
pub struct DiskFile<T: Operations> {
    /// Must be first, so that a pointer to its `attr` is a pointer to `DiskFile`.
    raw: bindings::device_attribute,
    show: Show<T>,
    store: Option<Store<T>>,
    visible: fn(&T::GenDiskData) -> bool,
}

impl<T: Operations> DiskFile<T> {
    /// The file `name`, which disks have for whose data `visible` is true (mode 0444).
    pub const fn new(
        name: &'static CStr,
        show: Show<T>,
        visible: fn(&T::GenDiskData) -> bool,
    ) -> Self {
        Self::with_mode(name, 0o444, show, None, visible)
    }

    /// The file `name` of every disk, which root may also write (mode 0644).
    pub const fn rw(name: &'static CStr, show: Show<T>, store: Store<T>) -> Self {
        Self::with_mode(name, 0o644, show, Some(store), |_| true)
    }

    // `struct attribute` has more fields with lockdep.
    #[allow(clippy::needless_update)]
    const fn with_mode(
        name: &'static CStr,
        mode: bindings::umode_t,
        show: Show<T>,
        store: Option<Store<T>>,
        visible: fn(&T::GenDiskData) -> bool,
    ) -> Self {
        Self {
            raw: bindings::device_attribute {
                attr: bindings::attribute {
                    name: as_char_ptr_in_const_context(name),
                    mode,
                    // SAFETY: All-zero is a valid value.
                    ..unsafe { core::mem::zeroed() }
                },
                __bindgen_anon_1: bindings::device_attribute__bindgen_ty_1 {
                    show: Some(show_file::<T>),
                },
                __bindgen_anon_2: bindings::device_attribute__bindgen_ty_2 {
                    store: Some(store_file::<T>),
                },
            },
            show,
            store,
            visible,
        }
    }
}

/// The files of a driver's disks.
///
/// # Examples
///
/// ```
/// use abstractions::{
///     block::mq::{DiskFile, DiskFiles, GenDiskBuilder, Limits},
///     sysfs::Output,
/// };
/// use kernel::{
///     str::{parse_int::ParseInt, BStr},
///     sync::atomic::{Atomic, Relaxed},
/// };
/// # my_driver!();
/// # let set = my_set!(dev);
///
/// /// The files of disks whose data are a number.
/// struct Files;
///
/// impl DiskFiles<MyDriver> for Files {
///     const FILES: &'static [DiskFile<MyDriver>] = &[
///         DiskFile::new(c"number", |n, _parent, out| writeln!(out, "{n}"), |_| true),
///         DiskFile::new(c"half", |n, _parent, out| writeln!(out, "{}", n / 2), |n| n % 2 == 0),
///     ];
///     const DIRECTORY: Option<(&'static CStr, &'static [DiskFile<MyDriver>])> =
///         Some((c"limits", &[DiskFile::rw(c"depth", show_depth, store_depth)]));
/// }
///
/// static DEPTH: Atomic<u32> = Atomic::new(8);
///
/// fn show_depth(_n: &u32, _parent: &Device<Bound>, out: &mut Output<'_>) -> Result {
///     writeln!(out, "{}", DEPTH.load(Relaxed))
/// }
///
/// fn store_depth(_n: &u32, input: &BStr) -> Result {
///     DEPTH.store(u32::from_str(input)?, Relaxed);
///     Ok(())
/// }
///
/// // Creates /sys/block/mydisk0/number, and limits/depth there. The file `half` isn't visible,
/// // because 7 is odd.
/// let limits = Limits { max_segments: 64, ..Limits::default() };
/// let disk = GenDiskBuilder::new(set, fmt!("mydisk0"), limits, 0, 7)?;
/// let disk = disk.add_with_files::<Files>(dev)?;
/// ```
pub trait DiskFiles<T: Operations>: 'static {
    /// The files: 15 at most.
    const FILES: &'static [DiskFile<T>];

    /// The name of a directory with more files, 15 at most, and these.
    const DIRECTORY: Option<(&'static CStr, &'static [DiskFile<T>])> = None;
}

/// The number of entries of a list of files, with its end.
const LIST: usize = 16;

/// `F`, as sysfs needs it: static data.
pub(super) struct Groups<T, F>(core::marker::PhantomData<(T, F)>);

impl<T: Operations, F: DiskFiles<T>> Groups<T, F> {
    /// The files of the disk's own directory, for sysfs.
    const OWN: &'static List = &list(F::FILES);

    /// Those of the directory below it.
    const BELOW: &'static List = &list(match F::DIRECTORY {
        Some((_, files)) => files,
        None => &[],
    });

    const GROUP: &'static bindings::attribute_group = &group::<T>(ptr::null(), Self::OWN);

    const DIRECTORY: *const bindings::attribute_group = match F::DIRECTORY {
        Some((name, _)) => &group::<T>(as_char_ptr_in_const_context(name), Self::BELOW) as *const _,
        None => ptr::null(),
    };

    /// For `device_add_disk()`, which doesn't write to it.
    pub(super) const GROUPS: &'static [*const bindings::attribute_group; 3] =
        &[Self::GROUP, Self::DIRECTORY, ptr::null()];
}

/// Pointers to the `struct attribute` of each file, and null pointers.
type List = [*const bindings::attribute; LIST];

/// The list of `files`.
const fn list<T: Operations>(files: &'static [DiskFile<T>]) -> List {
    let mut list = [ptr::null(); LIST];
    let mut i = 0;
    assert!(files.len() < LIST);
    while i < files.len() {
        // Derived from the pointer to the whole `DiskFile`, because the callbacks cast it back.
        list[i] = (&raw const files[i]).cast();
        i += 1;
    }
    list
}

/// The files of `list`, in the directory `name`, or in the disk's own if that is null.
const fn group<T: Operations>(
    name: *const c_char,
    list: &'static List,
) -> bindings::attribute_group {
    bindings::attribute_group {
        name,
        __bindgen_anon_1: bindings::attribute_group__bindgen_ty_1 {
            is_visible: Some(is_visible::<T>),
        },
        __bindgen_anon_2: bindings::attribute_group__bindgen_ty_2 {
            attrs_const: list.as_ptr(),
        },
        // SAFETY: All-zero is a valid value: null pointers and no functions.
        ..unsafe { core::mem::zeroed() }
    }
}

/// The driver's data of a disk.
///
/// # Safety
///
/// `dev` must be the device of a disk of `T` that isn't freed while the result is used.
unsafe fn data<'a, T: Operations>(dev: *mut bindings::device) -> &'a T::GenDiskData {
    // SAFETY: By the safety requirements, `dev` is the device of a disk, whose queue has a
    // `QueueData<T>`, which lives as long as the disk is part of the system.
    unsafe { &(*(*queue(dev)).queuedata.cast::<QueueData<T>>()).disk }
}

/// The queue of a disk.
///
/// # Safety
///
/// `dev` must be the device of a disk that isn't freed before this returns.
unsafe fn queue(dev: *mut bindings::device) -> *mut bindings::request_queue {
    // SAFETY: By the safety requirements, `dev` is part of a disk's `struct block_device`.
    unsafe {
        let block = container_of!(dev, bindings::block_device, bd_device);
        (*(*block).bd_disk).queue
    }
}

/// Whether a disk has a file: its mode, or 0.
///
/// # Safety
///
/// Sysfs calls this, with the kobject of a disk of `T` that is being added, and an attribute of
/// [`Groups::GROUPS`].
unsafe extern "C" fn is_visible<T: Operations>(
    kobj: *mut bindings::kobject,
    attr: *mut bindings::attribute,
    _index: c_int,
) -> bindings::umode_t {
    // SAFETY: By the safety requirements, the attribute is the first field of a `DiskFile<T>`,
    // which is static, and `kobj` is part of the device of a disk.
    let (file, data) = unsafe {
        (
            &*attr.cast_const().cast::<DiskFile<T>>(),
            data::<T>(container_of!(kobj, bindings::device, kobj)),
        )
    };
    match (file.visible)(data) {
        true => file.raw.attr.mode,
        false => 0,
    }
}

/// Reads a file.
///
/// # Safety
///
/// Sysfs calls this, with the device of a disk of `T`, an attribute of [`Groups::GROUPS`], and a page
/// to fill in.
unsafe extern "C" fn show_file<T: Operations>(
    dev: *mut bindings::device,
    attr: *mut bindings::device_attribute,
    page: *mut c_char,
) -> isize {
    // SAFETY: The attribute is the first field of a `DiskFile<T>` of `Groups::GROUPS`, which is
    // static, and `dev` is part of a disk of `T`. The disk is part of the system, because its
    // removal waits for readers of its files. The set's device is bound then: `add` requires that,
    // and its unbinding removes the disk first.
    let (file, data, bound) = unsafe {
        (
            &*attr.cast_const().cast::<DiskFile<T>>(),
            data::<T>(dev),
            TagSet::<T>::of_queue(queue(dev)).device().as_bound(),
        )
    };
    // SAFETY: Sysfs passes a page that is valid for writes, and that nothing else uses.
    unsafe { sysfs::fill(page, |out| (file.show)(data, bound, out)) }
}

/// Writes a file.
///
/// # Safety
///
/// Sysfs calls this, with the device of a disk of `T`, an attribute of [`Groups::GROUPS`], and `len` bytes
/// of text, which nothing writes meanwhile.
unsafe extern "C" fn store_file<T: Operations>(
    dev: *mut bindings::device,
    attr: *mut bindings::device_attribute,
    text: *const c_char,
    len: usize,
) -> isize {
    // SAFETY: The attribute is the first field of a `DiskFile<T>` of `Groups::GROUPS`, which is static.
    // `dev` is part of a disk of `T`, which is part of the system, because its removal waits for writers
    // of its files. Sysfs passes `len` bytes.
    let (file, data, text) = unsafe {
        (
            &*attr.cast_const().cast::<DiskFile<T>>(),
            data::<T>(dev),
            core::slice::from_raw_parts(text.cast::<u8>(), len),
        )
    };
    sysfs::store(text, file.store, |store, input| store(data, input))
}
