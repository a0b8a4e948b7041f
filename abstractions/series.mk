# SPDX-License-Identifier: GPL-2.0
# For the Kbuild file of a module that takes abstractions/: the series of the kernel, see series.rs.
rustflags-y += $(if $(filter 7.2,$(VERSION).$(PATCHLEVEL)),--cfg=linux_7_2)
