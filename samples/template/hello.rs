// SPDX-License-Identifier: GPL-2.0

//! Says hello.

use kernel::prelude::*;

module! {
    type: Hello,
    name: "hello",
    authors: ["You"],
    description: "Says hello",
    license: "GPL",
}

struct Hello;

impl kernel::Module for Hello {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        pr_info!("loaded\n");
        Ok(Self)
    }
}

impl Drop for Hello {
    fn drop(&mut self) {
        pr_info!("unloaded\n");
    }
}
