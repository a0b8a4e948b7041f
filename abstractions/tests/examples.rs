// SPDX-License-Identifier: GPL-2.0

//! Macros for the hidden lines of the examples in the doc comments of abstractions/.
//!
//! They define or create what several examples need. scripts/library.py makes this file part of the
//! module of the examples. A macro uses the names that each example imports, and each example gets
//! its own copy of the types that a macro defines.

/// Defines `MyDriver`, which rejects each request. The data of its disks are a number.
macro_rules! my_driver {
    () => {
        struct MyDriver;

        // In a block of its own, so that the example doesn't get these imports.
        const _: () = {
            use abstractions::block::mq::*;
            use kernel::sync::Arc;

            impl Operations for MyDriver {
                type Module = crate::LocalModule;
                type TagSetData = ();
                type HwData = ();
                type GenDiskData = u32;
                type RequestData = ();

                fn init_hctx((): &(), _index: u32) -> Result<Arc<()>> {
                    Ok(Arc::new((), GFP_KERNEL)?)
                }

                fn queue_rq<'a>(
                    (): &(),
                    _number: &u32,
                    rq: IdleRequest<'a, Self>,
                    _last: bool,
                ) -> Result<(), Rejected<'a>> {
                    Err(rq.reject(Status::NotSupported))
                }
            }
        };
    };
}

/// Creates a tag set of the example's `MyDriver`, with one queue.
macro_rules! my_set {
    ($dev:expr) => {{
        use abstractions::block::mq::{QueueSet, TagSet};

        let queues = QueueSet {
            queues: 1,
            first_vector: None,
        };
        let sets = [queues, QueueSet::default(), QueueSet::default()];
        TagSet::<MyDriver>::new($dev, (), sets, 64, 30_000)?
    }};
}

/// Adds a disk of the example's `MyDriver`. It has no sectors, and its data are the number 7.
macro_rules! my_disk {
    ($dev:expr) => {{
        use abstractions::block::mq::{GenDiskBuilder, Limits};

        let limits = Limits {
            max_segments: 64,
            ..Limits::default()
        };
        GenDiskBuilder::new(my_set!($dev), fmt!("mydisk0"), limits, 0, 7)?.add($dev)?
    }};
}

/// Defines `MyDevice`, a character device whose data are a number. The example defines the static
/// `$class` with the class of the device.
macro_rules! my_device {
    ($class:ident) => {
        struct MyDevice(u32);

        // In a block of its own, so that the example doesn't get this import.
        const _: () = {
            use abstractions::chrdev::*;

            impl Operations for MyDevice {
                type Module = crate::LocalModule;

                fn class() -> &'static Class<Self> {
                    &$class
                }

                fn ioctl(_device: &CharDevice<Self>, _call: &Ioctl) -> Result<isize> {
                    Err(ENOTTY)
                }
            }
        };
    };
}
