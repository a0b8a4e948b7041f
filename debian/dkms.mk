# SPDX-License-Identifier: GPL-2.0
#
# The Makefile of the source for DKMS, which calls it with KERNELRELEASE=.

modules:
	kdir=$$(rust-kdir '$(KERNELRELEASE)') && $(MAKE) -C "$$kdir" M='$(CURDIR)' modules

.PHONY: modules
