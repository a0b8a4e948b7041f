// SPDX-License-Identifier: GPL-2.0

//! Sysfs directories and attributes.
//!
//! A driver declares its files once, in a static table, with a function for each; then it creates
//! directories with the files of a table and the data that the functions get:
//!
//! ```
//! use abstractions::sysfs::{Attribute, Dir};
//! use kernel::{
//!     str::parse_int::ParseInt,
//!     sync::{
//!         atomic::{Atomic, Relaxed},
//!         Arc,
//!     },
//! };
//!
//! struct Queue {
//!     depth: u32,
//!     weight: Atomic<u32>,
//! }
//!
//! static QUEUE: &[Attribute<Queue>] = &[
//!     Attribute::ro(c"depth", |queue, out| writeln!(out, "{}", queue.depth)),
//!     Attribute::rw(
//!         c"weight",
//!         |queue, out| writeln!(out, "{}", queue.weight.load(Relaxed)),
//!         |queue, input| {
//!             queue.weight.store(u32::from_str(input)?, Relaxed);
//!             Ok(())
//!         },
//!     ),
//! ];
//!
//! let queues = Dir::empty(dev, fmt!("queues"))?;
//! let queue = Arc::new(Queue { depth: 64, weight: Atomic::new(1) }, GFP_KERNEL)?;
//! let dir = queues.subdir(fmt!("{}", 0), QUEUE, queue)?;
//! ```
//!
//! Dropping a [`Dir`] or a [`Group`] removes its files, and waits for user space's running reads
//! and writes. Unbinding the device removes what a driver leaks.
//!
//! C headers: [`include/linux/sysfs.h`](srctree/include/linux/sysfs.h),
//! [`include/linux/kobject.h`](srctree/include/linux/kobject.h),
//! [`include/linux/device.h`](srctree/include/linux/device.h)

// A driver uses only a part of this.
#![allow(dead_code, unreachable_pub)]

use super::series::set_functions;
use core::ptr::NonNull;

use kernel::{
    bindings,
    device::{
        self,
        Bound, //
    },
    devres::Devres,
    error::to_result,
    fmt,
    page::PAGE_SIZE,
    prelude::*,
    str::{
        BStr,
        CString, //
    },
    sync::{
        aref::ARef,
        new_mutex,
        Arc,
        Mutex, //
    }, //
};

/// Returns the `struct kobject` of `dev`, valid for as long as `dev` is.
fn kobject_of(dev: &device::Device) -> *mut bindings::kobject {
    // CAST: `device::Device` is a transparent wrapper of `Opaque<bindings::device>`.
    let dev = core::ptr::from_ref(dev)
        .cast_mut()
        .cast::<bindings::device>();

    // SAFETY: `dev` is a valid device.
    unsafe { &raw mut (*dev).kobj }
}

/// The output buffer of a file: one page.
///
/// For `write!()` and `writeln!()`. A file has a single value and ends with a newline.
///
/// # Examples
///
/// ```
/// use abstractions::sysfs::{Attribute, Group, Output};
/// use kernel::sync::Arc;
///
/// /// Shows a link's speed.
/// fn speed(megabits: &u32, out: &mut Output<'_>) -> Result {
///     match megabits {
///         0 => out.write_fmt(fmt!("unknown\n")),
///         _ => writeln!(out, "{megabits}"),
///     }
/// }
///
/// static FILES: &[Attribute<u32>] = &[
///     Attribute::ro(c"speed", speed),
///     Attribute::ro(c"link", |megabits, out| out.write_on_off(*megabits != 0)),
/// ];
/// let group = Group::new(dev, FILES, Arc::new(1000, GFP_KERNEL)?)?;
/// ```
pub struct Output<'a> {
    buffer: &'a mut [u8],
    len: usize,
    overflow: bool,
}

impl Output<'_> {
    /// Appends a line with `on` or `off`. [`kernel::str::kstrtobool_bytes`] reads such a text.
    ///
    /// # Errors
    ///
    /// As [`write_fmt`](Self::write_fmt).
    pub fn write_on_off(&mut self, on: bool) -> Result {
        writeln!(self, "{}", if on { "on" } else { "off" })
    }

    /// Appends formatted text; `write!()` and `writeln!()` call this.
    ///
    /// # Errors
    ///
    /// - [`EOVERFLOW`]: the page is full. Reading the file then fails with this error, even if the
    ///   file's function ignores the error.
    /// - [`EINVAL`]: formatting a value failed.
    pub fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> Result {
        fmt::Write::write_fmt(self, args)
            .map_err(|_| if self.overflow { EOVERFLOW } else { EINVAL })
    }
}

impl fmt::Write for Output<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let rest = self.buffer.get_mut(self.len..).unwrap_or_default();

        match rest.get_mut(..text.len()) {
            Some(space) if !self.overflow => {
                space.copy_from_slice(text.as_bytes());
                self.len += text.len();
                Ok(())
            }
            _ => {
                self.overflow = true;
                Err(fmt::Error)
            }
        }
    }
}

/// Writes the text of a file from the directory's data.
///
/// Runs in the reader's process context, possibly on several CPUs at once. It may sleep. It must
/// not drop the file's directory, because that waits for this call. It must not create a directory
/// there either, because that waits for a running removal, which waits for this call.
///
/// # Examples
///
/// ```
/// use abstractions::sysfs::{Attribute, Group, Show};
/// use kernel::sync::Arc;
///
/// const SHOW: Show<u32> = |speed, out| writeln!(out, "{speed}");
/// static FILES: &[Attribute<u32>] = &[Attribute::ro(c"speed", SHOW)];
///
/// let group = Group::new(dev, FILES, Arc::new(1000, GFP_KERNEL)?)?;
/// ```
pub type Show<T> = fn(&T, &mut Output<'_>) -> Result;

/// Handles text that user space wrote to a file, trimmed of white space.
///
/// Use [`ParseInt`](kernel::str::parse_int::ParseInt) for numbers. Runs in the writer's process
/// context, with the limits of [`Show`].
///
/// # Examples
///
/// ```
/// use abstractions::sysfs::{Attribute, Group, Store};
/// use kernel::sync::{
///     atomic::{Atomic, Relaxed},
///     Arc,
/// };
///
/// const RESET: Store<Atomic<u64>> = |counter, _input| {
///     counter.store(0, Relaxed);
///     Ok(())
/// };
/// static FILES: &[Attribute<Atomic<u64>>] = &[Attribute::wo(c"reset", RESET)];
///
/// let group = Group::new(dev, FILES, Arc::new(Atomic::new(3), GFP_KERNEL)?)?;
/// ```
pub type Store<T> = fn(&T, &BStr) -> Result;

/// Lockdep's class of an attribute.
///
/// Zero-sized without lockdep.
struct Key {
    #[cfg(CONFIG_DEBUG_LOCK_ALLOC)]
    key: core::mem::MaybeUninit<bindings::lock_class_key>,
}

// SAFETY: Only the address of the key is used.
unsafe impl Sync for Key {}

// SAFETY: A key has no affinity to a thread; only its address is used.
unsafe impl Send for Key {}

impl Key {
    /// Creates a key, for a static item.
    const fn new() -> Self {
        Self {
            #[cfg(CONFIG_DEBUG_LOCK_ALLOC)]
            key: core::mem::MaybeUninit::zeroed(),
        }
    }
}

/// A file: its name, permissions and functions.
///
/// # Examples
///
/// ```
/// use abstractions::sysfs::{Attribute, Group};
/// use kernel::{
///     str::parse_int::ParseInt,
///     sync::{
///         atomic::{Atomic, Relaxed},
///         Arc,
///     },
/// };
///
/// static LIMIT: &[Attribute<Atomic<u32>>] = &[
///     Attribute::ro(c"current", |limit, out| writeln!(out, "{}", limit.load(Relaxed))),
///     Attribute::rw(
///         c"limit",
///         |limit, out| writeln!(out, "{}", limit.load(Relaxed)),
///         |limit, input| {
///             limit.store(u32::from_str(input)?, Relaxed);
///             Ok(())
///         },
///     ),
///     Attribute::wo(c"reset", |limit, _input| {
///         limit.store(0, Relaxed);
///         Ok(())
///     }),
/// ];
///
/// let group = Group::new(dev, LIMIT, Arc::new(Atomic::new(8), GFP_KERNEL)?)?;
/// ```
pub struct Attribute<T: 'static> {
    name: &'static CStr,
    mode: bindings::umode_t,
    show: Option<Show<T>>,
    store: Option<Store<T>>,
    key: Key,
}

impl<T: 'static> Attribute<T> {
    /// A file that all users may read (mode 0444).
    pub const fn ro(name: &'static CStr, show: Show<T>) -> Self {
        Self {
            name,
            mode: 0o444,
            show: Some(show),
            store: None,
            key: Key::new(),
        }
    }

    /// A file that all users may read and root may write (mode 0644).
    pub const fn rw(name: &'static CStr, show: Show<T>, store: Store<T>) -> Self {
        Self {
            name,
            mode: 0o644,
            show: Some(show),
            store: Some(store),
            key: Key::new(),
        }
    }

    /// A file that root may write, and no user may read (mode 0200).
    pub const fn wo(name: &'static CStr, store: Store<T>) -> Self {
        Self {
            name,
            mode: 0o200,
            show: None,
            store: Some(store),
            key: Key::new(),
        }
    }
}

/// Files of a device: in its own directory, or in a directory below it.
///
/// # Examples
///
/// ```
/// use abstractions::{
///     chrdev::{Class, Registration},
///     sysfs::{Attribute, Table},
/// };
/// use kernel::sync::Arc;
/// # my_device!(DEVICES);
/// # static DEVICES: Class<MyDevice> = Class::new();
/// # let class = DEVICES.register(c"my_class")?;
///
/// static NUMBER: &[Attribute<u32>] = &[Attribute::ro(c"number", |n, out| writeln!(out, "{n}"))];
///
/// // my0/number, my0/more/number
/// static FILES: &[Table<u32>] = &[Table::new(NUMBER), Table::below(c"more", NUMBER)];
/// let number = Arc::new(7, GFP_KERNEL)?;
/// let device = Registration::new(dev, fmt!("my0"), MyDevice(7), FILES, number)?;
/// ```
pub struct Table<T: 'static> {
    directory: Option<&'static CStr>,
    attributes: &'static [Attribute<T>],
}

impl<T: 'static> Table<T> {
    /// Files in the device's own directory.
    pub const fn new(attributes: &'static [Attribute<T>]) -> Self {
        Self {
            directory: None,
            attributes,
        }
    }

    /// Files in the directory `name` below the device's own.
    pub const fn below(name: &'static CStr, attributes: &'static [Attribute<T>]) -> Self {
        Self {
            directory: Some(name),
            attributes,
        }
    }
}

/// The C attribute.
///
/// Both begin with a `struct attribute`.
#[repr(C)]
union RawAttribute {
    kobj: bindings::kobj_attribute,
    dev: bindings::device_attribute,
}

/// A file in a directory. Sysfs has its address.
#[repr(C)]
struct File<T: 'static> {
    /// Must be first, so that a pointer to this field is a pointer to `File`.
    raw: RawAttribute,
    attribute: &'static Attribute<T>,
    data: Arc<T>,
}

impl<T: Send + Sync + 'static> File<T> {
    /// Creates the file `attribute` for a directory of a plain kobject.
    fn for_kobject(attribute: &'static Attribute<T>, data: Arc<T>) -> Self {
        let mut raw = bindings::kobj_attribute {
            attr: Self::header(attribute),
            ..Default::default()
        };
        set_functions(&mut raw, kobj_show::<T>, kobj_store::<T>);

        Self {
            raw: RawAttribute { kobj: raw },
            attribute,
            data,
        }
    }

    /// Creates the file `attribute` for the directory of a device.
    fn for_device(attribute: &'static Attribute<T>, data: Arc<T>) -> Self {
        let mut raw = bindings::device_attribute {
            attr: Self::header(attribute),
            ..Default::default()
        };
        raw.__bindgen_anon_1.show = Some(dev_show::<T>);
        raw.__bindgen_anon_2.store = Some(dev_store::<T>);

        Self {
            raw: RawAttribute { dev: raw },
            attribute,
            data,
        }
    }

    /// The part that all kinds of attributes share.
    // `struct attribute` has more fields with lockdep.
    #[allow(clippy::needless_update)]
    fn header(attribute: &'static Attribute<T>) -> bindings::attribute {
        bindings::attribute {
            name: attribute.name.as_char_ptr(),
            mode: attribute.mode,
            // As `sysfs_attr_init()`, but with a lock class per file of a table, like static
            // attributes in C. Lockdep only uses the key's address and never writes to the key.
            #[cfg(CONFIG_DEBUG_LOCK_ALLOC)]
            key: attribute.key.key.as_ptr().cast_mut(),
            ..Default::default()
        }
    }

    /// Fills the page `page`; returns its length or a negative error number.
    ///
    /// # Safety
    ///
    /// - `this` must point to a `File<T>` that lives until this function returns.
    /// - `page` must meet the requirements of [`fill`].
    unsafe fn show(this: *const Self, page: *mut c_char) -> isize {
        // SAFETY: The caller promises that `this` points to a `File<T>` that lives meanwhile.
        let file = unsafe { &*this };

        // SAFETY: The caller promises that `page` is a page that `fill` may write to.
        unsafe {
            fill(page, |out| match file.attribute.show {
                Some(show) => show(&file.data, out),
                None => Err(EIO),
            })
        }
    }

    /// Handles the text `text` of `len` bytes; returns its length or a negative error number.
    ///
    /// # Safety
    ///
    /// - `this` must point to a `File<T>` that lives until this function returns.
    /// - `text` must be valid for reads of `len` bytes, and these not written until this function
    ///   returns.
    unsafe fn store(this: *const Self, text: *const c_char, len: usize) -> isize {
        // SAFETY: The caller promises that `this` points to a `File<T>` that lives meanwhile.
        let file = unsafe { &*this };
        // SAFETY: The caller promises that `text` is valid for reads of `len` bytes, which aren't
        // written meanwhile.
        let text = unsafe { core::slice::from_raw_parts(text.cast::<u8>(), len) };

        store(text, file.attribute.store, |store, input| {
            store(&file.data, input)
        })
    }
}

/// Has `call` pass `text`, trimmed of white space, to the `function` of a file. A file that is read-only
/// has no function: `EIO`. Returns the length of `text` or a negative error number.
pub(super) fn store<S>(
    text: &[u8],
    function: Option<S>,
    call: impl FnOnce(S, &BStr) -> Result,
) -> isize {
    let result = match function {
        Some(function) => call(function, BStr::from_bytes(text.trim_ascii())),
        None => Err(EIO),
    };
    match result {
        Err(error) => errno(error),
        // CAST: Sysfs passes no more than `PAGE_SIZE` bytes.
        Ok(()) => text.len() as isize,
    }
}

/// Fills the page `page` by `show`; returns its length or a negative error number.
///
/// # Safety
///
/// `page` must be valid for writes of `PAGE_SIZE` bytes, initialised and not otherwise used until
/// this function returns.
pub(super) unsafe fn fill(
    page: *mut c_char,
    show: impl FnOnce(&mut Output<'_>) -> Result,
) -> isize {
    // SAFETY: The caller promises that `page` is valid for writes of `PAGE_SIZE` bytes,
    // initialised, and not otherwise used. The last byte isn't used, because sysfs treats a length
    // of `PAGE_SIZE` as an overflow.
    let buffer = unsafe { core::slice::from_raw_parts_mut(page.cast::<u8>(), PAGE_SIZE - 1) };
    let mut out = Output {
        buffer,
        len: 0,
        overflow: false,
    };

    match show(&mut out) {
        Err(error) => errno(error),
        Ok(()) if out.overflow => errno(EOVERFLOW),
        // CAST: The length is below `PAGE_SIZE`.
        Ok(()) => out.len as isize,
    }
}

/// The error number of `error`, for sysfs.
fn errno(error: Error) -> isize {
    // CAST: `isize` has at least 32 bits in the kernel.
    error.to_errno() as isize
}

/// The callback that reads a file of a plain kobject.
///
/// # Safety
///
/// `attr` must be the first field of a `File<T>`; it and `page` must meet the requirements of
/// [`File::show`].
unsafe extern "C" fn kobj_show<T: Send + Sync + 'static>(
    _kobj: *mut bindings::kobject,
    attr: *mut bindings::kobj_attribute,
    page: *mut c_char,
) -> isize {
    // SAFETY: The caller promises that `attr` is the first field of a live `File<T>`, so the
    // addresses are equal, and that `page` is a page to fill, as `File::show` requires.
    unsafe { File::<T>::show(attr.cast_const().cast(), page) }
}

/// The callback that writes a file of a plain kobject.
///
/// # Safety
///
/// `attr` must be the first field of a `File<T>`; it, `text` and `len` must meet the requirements
/// of [`File::store`].
unsafe extern "C" fn kobj_store<T: Send + Sync + 'static>(
    _kobj: *mut bindings::kobject,
    attr: *mut bindings::kobj_attribute,
    text: *const c_char,
    len: usize,
) -> isize {
    // SAFETY: The caller promises that `attr` is the first field of a live `File<T>`, so the
    // addresses are equal, and that `text` has `len` bytes to read, as `File::store` requires.
    unsafe { File::<T>::store(attr.cast_const().cast(), text, len) }
}

/// The callback that reads a file of a device.
///
/// # Safety
///
/// `attr` must be the first field of a `File<T>`; it and `page` must meet the requirements of
/// [`File::show`].
unsafe extern "C" fn dev_show<T: Send + Sync + 'static>(
    _dev: *mut bindings::device,
    attr: *mut bindings::device_attribute,
    page: *mut c_char,
) -> isize {
    // SAFETY: The caller promises that `attr` is the first field of a live `File<T>`, so the
    // addresses are equal, and that `page` is a page to fill, as `File::show` requires.
    unsafe { File::<T>::show(attr.cast_const().cast(), page) }
}

/// The callback that writes a file of a device.
///
/// # Safety
///
/// `attr` must be the first field of a `File<T>`; it, `text` and `len` must meet the requirements
/// of [`File::store`].
unsafe extern "C" fn dev_store<T: Send + Sync + 'static>(
    _dev: *mut bindings::device,
    attr: *mut bindings::device_attribute,
    text: *const c_char,
    len: usize,
) -> isize {
    // SAFETY: The caller promises that `attr` is the first field of a live `File<T>`, so the
    // addresses are equal, and that `text` has `len` bytes to read, as `File::store` requires.
    unsafe { File::<T>::store(attr.cast_const().cast(), text, len) }
}

/// The files of a directory.
struct FileVec<T: 'static> {
    _files: KVec<File<T>>,
}

// SAFETY: The raw pointers in the files are to static items, and nothing is written through them.
// Several tasks share the data, and any of them may drop it, which `T` allows.
unsafe impl<T: Send + Sync + 'static> Send for FileVec<T> {}

// SAFETY: The raw pointers don't change, and nothing is written through them; `T` may be shared.
unsafe impl<T: Send + Sync + 'static> Sync for FileVec<T> {}

/// All files of a directory, and the list of them for sysfs. Without the type of their data, so
/// that one copy of the code below serves all types.
///
/// # Invariants
///
/// - `list` is empty, or holds a pointer to the `struct attribute` of each of `_files`, and ends
///   with a null pointer.
/// - `_files` doesn't change after its creation, so that these pointers stay valid while `self`
///   exists.
struct Files {
    list: KVec<*const bindings::attribute>,
    _files: Option<KBox<dyn Send + Sync>>,
}

// SAFETY: The raw pointers in `list` point into `_files`, and nothing is written through them.
unsafe impl Send for Files {}

// SAFETY: The raw pointers in `list` don't change, and nothing is written through them.
unsafe impl Sync for Files {}

impl Files {
    /// No files.
    fn none() -> Self {
        // INVARIANT: The list is empty.
        Self {
            list: KVec::new(),
            _files: None,
        }
    }

    /// Creates the files of a table, each by `make`.
    fn new<T: Send + Sync + 'static>(
        attributes: &'static [Attribute<T>],
        data: &Arc<T>,
        make: fn(&'static Attribute<T>, Arc<T>) -> File<T>,
    ) -> Result<Self> {
        let mut files = KVec::with_capacity(attributes.len(), GFP_KERNEL)?;
        let mut list = KVec::with_capacity(attributes.len() + 1, GFP_KERNEL)?;
        for attribute in attributes {
            files.push_within_capacity(make(attribute, data.clone()))?;
        }
        let first: *const File<T> = files.as_ptr();
        for i in 0..files.len() {
            // Each pointer is derived from the pointer to the whole vector, because the callbacks
            // cast it to a pointer to the whole `File`.
            list.push_within_capacity(first.wrapping_add(i).cast())?;
        }
        list.push_within_capacity(core::ptr::null())?;

        // INVARIANT: The loop above adds a pointer per file, and a null pointer follows. The
        // elements of `files` don't move when the vector does.
        Ok(Self {
            list,
            _files: Some(KBox::new(FileVec { _files: files }, GFP_KERNEL)?),
        })
    }

    /// Creates the files in the directory of `kobj`.
    ///
    /// # Safety
    ///
    /// - `kobj` must be a kobject of the kind that the files were created for, and in sysfs until
    ///   this function returns.
    /// - `self` must not be dropped before the files were removed.
    unsafe fn create(&self, kobj: *mut bindings::kobject) -> Result {
        if self.list.is_empty() {
            return Ok(());
        }

        // SAFETY: The caller promises that `kobj` is in sysfs. By the type invariants `list` ends
        // with a null pointer; the caller promises that its elements live until the files are
        // removed.
        to_result(unsafe { bindings::sysfs_create_files(kobj, self.list.as_ptr()) })
    }
}

/// The files of a device that another part of these abstractions creates with them.
pub(super) struct DeviceFiles {
    /// Pointers to the groups below, and a null pointer.
    list: KVec<*const bindings::attribute_group>,
    _groups: KVec<bindings::attribute_group>,
    _files: KVec<Files>,
}

impl DeviceFiles {
    /// Creates the files of `tables`. They must live until the device is removed from sysfs.
    pub(super) fn new<T: Send + Sync + 'static>(
        tables: &'static [Table<T>],
        data: &Arc<T>,
    ) -> Result<Self> {
        let mut all = KVec::with_capacity(tables.len(), GFP_KERNEL)?;
        let mut groups = KVec::with_capacity(tables.len(), GFP_KERNEL)?;
        let mut list = KVec::with_capacity(tables.len() + 1, GFP_KERNEL)?;
        for table in tables {
            let files = Files::new(table.attributes, data, File::for_device)?;
            groups.push_within_capacity(bindings::attribute_group {
                name: table
                    .directory
                    .map_or(core::ptr::null(), |name| name.as_char_ptr()),
                __bindgen_anon_2: bindings::attribute_group__bindgen_ty_2 {
                    attrs_const: files.list.as_ptr(),
                },
                ..Default::default()
            })?;
            all.push_within_capacity(files)?;
        }
        // Neither the elements of `groups` nor those of the lists of `all` move when the vectors do.
        for group in &groups {
            list.push_within_capacity(&raw const *group)?;
        }
        list.push_within_capacity(core::ptr::null())?;
        Ok(Self {
            list,
            _groups: groups,
            _files: all,
        })
    }

    /// The list of groups, for a function that doesn't write to it.
    pub(super) fn groups(&self) -> *mut *const bindings::attribute_group {
        self.list.as_ptr().cast_mut()
    }
}

/// Formats and checks the name of a directory.
fn name_of(name: fmt::Arguments<'_>) -> Result<CString> {
    let name = CString::try_from_fmt(name)?;

    match name.to_bytes() {
        b"" | b"." | b".." => Err(EINVAL),
        bytes if bytes.contains(&b'/') => Err(EINVAL),
        _ => Ok(name),
    }
}

/// A kobject that is only a directory.
///
/// `kobject_create_and_add()` creates it: the kernel frees it when the last reference is dropped,
/// without calling into this module.
///
/// # Invariants
///
/// - `kobj` is a kobject from `kobject_create_and_add()`, and this value owns a reference to it.
/// - While `present`, the kobject is in sysfs.
#[pin_data(PinnedDrop)]
struct Node {
    kobj: NonNull<bindings::kobject>,
    #[pin]
    present: Mutex<bool>,
}

// SAFETY: A kobject is reference-counted, and any task may use and release it.
unsafe impl Send for Node {}

// SAFETY: Operations that may not run concurrently are done under the mutex.
unsafe impl Sync for Node {}

impl Node {
    /// Creates the directory `name` beneath that of `parent`.
    ///
    /// # Safety
    ///
    /// `parent` must be in sysfs until this function returns.
    unsafe fn new(parent: *mut bindings::kobject, name: &CStr) -> Result<Arc<Self>> {
        // SAFETY: The caller promises that `parent` is in sysfs, so valid; the name is copied.
        let kobj = unsafe { bindings::kobject_create_and_add(name.as_char_ptr(), parent) };
        let kobj = NonNull::new(kobj).ok_or(ENOMEM)?;

        // INVARIANT: `kobj` was created, and added to sysfs, just now.
        Arc::pin_init(
            pin_init!(Self {
                kobj,
                present <- new_mutex!(true),
            }),
            GFP_KERNEL,
        )
        .inspect_err(|_| {
            // SAFETY: This drops the only reference, which kobject_create_and_add() returned; that
            // also removes the directory.
            unsafe { bindings::kobject_put(kobj.as_ptr()) }
        })
    }

    /// Calls `f` with the kobject, which is in sysfs until `f` returns.
    ///
    /// # Errors
    ///
    /// [`ENODEV`] if the directory was removed, or the error of `f`.
    fn with<R>(&self, f: impl FnOnce(*mut bindings::kobject) -> Result<R>) -> Result<R> {
        let present = self.present.lock();

        if *present {
            f(self.kobj.as_ptr())
        } else {
            Err(ENODEV)
        }
    }

    /// Removes the directory with its content; does nothing the second time.
    ///
    /// Waits for running reads and writes of files in this directory and in directories beneath it.
    fn remove(&self) {
        let mut present = self.present.lock();

        if *present {
            *present = false;
            // SAFETY: By the type invariants the kobject is in sysfs.
            unsafe { bindings::kobject_del(self.kobj.as_ptr()) };
        }
    }
}

#[pinned_drop]
impl PinnedDrop for Node {
    fn drop(self: Pin<&mut Self>) {
        self.remove();

        // SAFETY: By the type invariants this value owns a reference.
        unsafe { bindings::kobject_put(self.kobj.as_ptr()) };
    }
}

/// A directory with its files; dropping this removes it.
///
/// The files are dropped after the directory was removed.
struct Present {
    node: Arc<Node>,
    files: Files,
}

impl Present {
    /// Creates `files`, which are for a plain kobject, in the directory `node`, which is new and
    /// empty.
    ///
    /// # Safety
    ///
    /// If the result is leaked, a directory above `node` must be removed from sysfs before this
    /// module is unloaded.
    unsafe fn new(node: Arc<Node>, files: Files) -> Result<Self> {
        let this = Self { node, files };

        // SAFETY: The files were created for this kind of kobject, which is in sysfs until `this`
        // is dropped. (If a directory above it is removed meanwhile, the kobject still counts as
        // added, and sysfs refuses new files.) Dropping `this` removes the directory with all files
        // before it drops `files`; if `this` is leaked, `files` lives forever.
        unsafe { this.files.create(this.node.kobj.as_ptr()) }?;
        Ok(this)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.node.remove();
    }
}

/// Removes a directory before the module is unloaded.
enum Owner {
    /// Directly beneath a device: removed on drop, or when the device is unbound.
    Device(Devres<Present>),
    /// Beneath another directory: removed on drop, or with the other directory.
    Parent(Present),
}

/// A directory in sysfs, beneath a device's directory or another [`Dir`], with files that show its
/// data.
///
/// Dropping it removes the directory with its content, and waits for running reads and writes of
/// its files; so the caller must be able to sleep, and must not hold a lock that a [`Show`] or
/// [`Store`] function takes. Then the data is dropped. A [`Dir`] beneath it that still exists has
/// no effect from then on; directories may be dropped in any order.
///
/// Unbinding the device removes directories that still exist, after the driver's data was dropped.
/// So a directory that the driver leaked costs only memory.
///
/// # Examples
///
/// ```
/// use abstractions::sysfs::{Attribute, Dir};
/// use kernel::sync::Arc;
///
/// static NUMBER: &[Attribute<u32>] = &[Attribute::ro(c"number", |n, out| writeln!(out, "{n}"))];
///
/// // DEVICE/first/number, DEVICE/first/second/number
/// let first = Dir::new(dev, fmt!("first"), NUMBER, Arc::new(1, GFP_KERNEL)?)?;
/// let second = first.subdir(fmt!("second"), NUMBER, Arc::new(2, GFP_KERNEL)?)?;
///
/// // A directory for other directories.
/// let empty = Dir::empty(dev, fmt!("empty"))?;
/// assert!(Dir::empty(dev, fmt!("a/b")).is_err());
/// ```
pub struct Dir {
    node: Arc<Node>,
    _owner: Owner,
}

impl Dir {
    /// Creates the directory `name` in that of `dev`, with a file for each of `attributes`, which
    /// show `data`. May sleep.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`]: `name` isn't a valid name of a directory.
    /// - [`EEXIST`]: two attributes have the same name.
    /// - [`ENOMEM`]: no memory, or a directory of that name already exists (the kernel logs it).
    pub fn new<T: Send + Sync + 'static>(
        dev: &device::Device<Bound>,
        name: fmt::Arguments<'_>,
        attributes: &'static [Attribute<T>],
        data: Arc<T>,
    ) -> Result<Self> {
        Self::with_files(dev, name, Files::new(attributes, &data, File::for_kobject)?)
    }

    /// Creates the directory `name` in that of `dev`, without files, for subdirectories.
    ///
    /// # Errors
    ///
    /// As [`Dir::new`].
    pub fn empty(dev: &device::Device<Bound>, name: fmt::Arguments<'_>) -> Result<Self> {
        Self::with_files(dev, name, Files::none())
    }

    /// Creates the directory `name` in that of `dev`, with `files`, which are for a plain kobject.
    fn with_files(
        dev: &device::Device<Bound>,
        name: fmt::Arguments<'_>,
        files: Files,
    ) -> Result<Self> {
        let name = name_of(name)?;
        // SAFETY: A bound device is in sysfs.
        let node = unsafe { Node::new(kobject_of(dev), &name) }?;
        // SAFETY: If `present` is leaked, `Devres` drops it when the device is unbound, which is
        // before the module is unloaded.
        let present = unsafe { Present::new(node, files) }?;
        let node = present.node.clone();

        Ok(Self {
            node,
            _owner: Owner::Device(Devres::new(dev, present)?),
        })
    }

    /// Creates the directory `name` in this directory, with a file for each of `attributes`, which
    /// show `data`. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENODEV`] if this directory was removed, because the device was unbound ([`ENOMEM`] if it
    /// was removed with a directory above it); others as [`Dir::new`].
    pub fn subdir<T: Send + Sync + 'static>(
        &self,
        name: fmt::Arguments<'_>,
        attributes: &'static [Attribute<T>],
        data: Arc<T>,
    ) -> Result<Self> {
        self.subdir_with_files(name, Files::new(attributes, &data, File::for_kobject)?)
    }

    /// Creates the directory `name` in this directory, with `files`, which are for a plain kobject.
    fn subdir_with_files(&self, name: fmt::Arguments<'_>, files: Files) -> Result<Self> {
        let name = name_of(name)?;
        let node = self.node.with(|parent| {
            // SAFETY: `parent` is in sysfs.
            unsafe { Node::new(parent, &name) }
        })?;
        // SAFETY: The directory above is removed before the module is unloaded: by the owner of
        // `self`, or, by recursion, with the directory that `self` is beneath. The lock of
        // `self.node` isn't held here, because a failure takes the lock of `node`.
        let present = unsafe { Present::new(node, files) }?;

        Ok(Self {
            node: present.node.clone(),
            _owner: Owner::Parent(present),
        })
    }
}

/// The files of a [`Group`]; dropping this removes them.
struct Attached {
    dev: ARef<device::Device>,
    files: Files,
}

impl Drop for Attached {
    fn drop(&mut self) {
        // SAFETY: The files were created in the directory of this device. The device is still in
        // sysfs, because this value is dropped at unbind at the latest, and the device leaves sysfs
        // after that.
        unsafe {
            bindings::sysfs_remove_files(kobject_of(&self.dev), self.files.list.as_ptr());
        }
    }
}

/// Files in the directory of a device itself.
///
/// Otherwise as [`Dir`]. The names must differ from those of the bus's files there.
///
/// # Examples
///
/// ```
/// use abstractions::sysfs::{Attribute, Group};
/// use kernel::sync::Arc;
///
/// static FILES: &[Attribute<u32>] = &[Attribute::ro(c"revision", |n, out| writeln!(out, "{n}"))];
///
/// // DEVICE/revision
/// let group = Group::new(dev, FILES, Arc::new(3, GFP_KERNEL)?)?;
/// ```
pub struct Group {
    _owner: Devres<Attached>,
}

impl Group {
    /// Creates a file for each of `attributes` in the directory of `dev`, which show `data`.
    ///
    /// The files appear after the device's `add` event. May sleep.
    ///
    /// # Errors
    ///
    /// - [`EEXIST`]: a file or directory with one of the names already exists (the kernel logs it).
    /// - [`ENOMEM`]: no memory.
    pub fn new<T: Send + Sync + 'static>(
        dev: &device::Device<Bound>,
        attributes: &'static [Attribute<T>],
        data: Arc<T>,
    ) -> Result<Self> {
        let files = Files::new(attributes, &data, File::for_device)?;

        // SAFETY: A bound device is in sysfs. `Attached` removes the files before they are dropped.
        // `Devres` drops `Attached` when the device is unbound at the latest.
        unsafe { files.create(kobject_of(dev)) }?;
        let attached = Attached {
            dev: dev.into(),
            files,
        };

        Ok(Self {
            _owner: Devres::new(dev, attached)?,
        })
    }
}

/// The maximum number of variables of [`uevent_change`].
const MAX_VARIABLES: usize = 16;

/// The maximum bytes of all variables of [`uevent_change`].
const MAX_VARIABLE_BYTES: usize = 1024;

/// Sends a `change` event for `dev` to user space (udev), with the variables `environment`, each of
/// the form `NAME=value`. May sleep.
///
/// # Errors
///
/// - [`EINVAL`]: more than 16 variables, or more than 1024 bytes of them.
/// - Others of `kobject_uevent_env()`.
///
/// # Examples
///
/// ```
/// use abstractions::sysfs::uevent_change;
///
/// uevent_change(dev, &[c"MY_EVENT=connected"])?;
/// ```
pub fn uevent_change(dev: &device::Device<Bound>, environment: &[&CStr]) -> Result {
    // SAFETY: The device is in sysfs, because it is bound.
    unsafe { change(kobject_of(dev), environment) }
}

/// As [`uevent_change`], for any object.
///
/// # Safety
///
/// `kobject` is in sysfs until this returns.
pub(super) unsafe fn change(kobject: *mut bindings::kobject, environment: &[&CStr]) -> Result {
    let bytes: usize = environment
        .iter()
        .map(|v| v.to_bytes_with_nul().len())
        .sum();
    if environment.len() > MAX_VARIABLES || bytes > MAX_VARIABLE_BYTES {
        return Err(EINVAL);
    }

    let mut pointers = [core::ptr::null_mut(); MAX_VARIABLES + 1];
    for (pointer, variable) in pointers.iter_mut().zip(environment) {
        *pointer = variable.as_char_ptr().cast_mut();
    }

    // SAFETY: The caller promises that the object is in sysfs. `pointers` ends with a null pointer,
    // because it is longer than `environment` can be. The strings are only read, and only during
    // the call.
    to_result(unsafe {
        bindings::kobject_uevent_env(
            kobject,
            bindings::kobject_action_KOBJ_CHANGE,
            pointers.as_mut_ptr(),
        )
    })
}
