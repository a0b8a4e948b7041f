# SPDX-License-Identifier: GPL-2.0

define help
What there is to make:
  modules (default)  rust_nvme_demo.ko for the stock Debian kernel, with all that takes
  demo               ... and boot that kernel in QEMU, with a file system on our disk
  shell              a shell in the same guest
  test               unit tests, then selftests/ in guests of several topologies
  verify             the same and more in a kernel with every checker, which takes 10 to 40 minutes to build
  races              and in one that looks for data races, which takes 5 to 12 minutes to build
  test-host          only the unit tests of nvme/
  bench              compare with the C driver (half an hour); QUICK=1 for the shortest (2 minutes)
  sample NAME=name   build samples/, load name.ko in a guest, show what it prints
  check              formatter, clippy, shellcheck
  fmt, fmtcheck      rustfmt over the tree; fmtcheck only says what would change
  sign KEY= CERT=    sign the module with your key (PEM) and its certificate
  modules_install    install the module, below INSTALL_MOD_PATH if that is given
  rust-analyzer      rust-project.json, for editors
  update             look for a newer kernel of the series and make it ready
  clean, distclean   remove what was built; also toolbox, kernels and results

Variables:
  KDIR=dir           build for the prepared kernel in dir, with this machine's tools
  M=dir              another module than the one here
  KVER=7.3.4+deb13 FLAVOUR=amd64|cloud-amd64|rt-amd64
                     another Debian kernel than the newest of the series
  TOPOLOGY=name      the guest's devices, see qemu/topologies
  TESTS='glob ...'   only these tests: bind_* for selftests/test_bind_*.sh
  CYCLES=n           how often the tests cycle_* and the like do it
  W=1 CLIPPY=1 V=1   as in the kernel
  MIRROR=uri         the Debian mirror, if the host's apt doesn't know one
  XDG_CACHE_HOME=dir where all that is made is kept (some 6 GB)
endef

here := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
M := $(here)
override M := $(abspath $(M))
cache := $(abspath $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/rust_nvme_demo)

# Kbuild, with the variables given here that are its own, but not the job server,
# which does not reach into the toolbox. One build at a time in a folder.
passed := V W C CF CHECK CLIPPY LLVM CC RUSTC KCFLAGS KRUSTFLAGS KBUILD_EXTRA_SYMBOLS \
	INSTALL_MOD_DIR INSTALL_MOD_STRIP
kmake = env -u MAKEFLAGS -u MFLAGS flock "$(M)" $(1) make -j"$$(nproc)" \
	--no-print-directory -C "$$kdir" M="$(M)" $$llvm \
	$(foreach v,$(passed),$(if $(filter command%,$(origin $v)),$v='$($v)'))

# A directory of scripts/kdir goes with the toolbox's compilers, any other one
# with those of this machine.
ifneq ($(filter-out $(cache)/%,$(KDIR)),)
kbuild = kdir="$(abspath $(KDIR))"; scripts/kdir --check "$$kdir" && $(call kmake,)
else
kbuild = kdir=$(or $(KDIR),$$(scripts/kdir)) && \
	if grep -qs '^CONFIG_CC_IS_CLANG=y' "$$kdir/.config"; then export CLANG=1; llvm=LLVM=1; fi && \
	BIND="$(M)$(if $(INSTALL_MOD_PATH), $(abspath $(INSTALL_MOD_PATH)))" $(call kmake,scripts/toolbox)
endif

modules:
	@$(kbuild) modules

modules_install:
ifeq ($(KDIR)$(INSTALL_MOD_PATH),)
	@echo "where to? give INSTALL_MOD_PATH=dir, or KDIR= of the kernel that this machine runs" >&2; exit 1
endif
	@$(if $(INSTALL_MOD_PATH),mkdir -p "$(INSTALL_MOD_PATH)")
	@$(kbuild) $(if $(INSTALL_MOD_PATH),INSTALL_MOD_PATH="$(abspath $(INSTALL_MOD_PATH))") modules_install

clean:
	@$(kbuild) clean

# The toolbox's standard library, where an editor outside of it finds it.
rust-analyzer:
	@$(kbuild) rust-analyzer
ifeq ($(filter-out $(cache)/%,$(KDIR)),)
	@scripts/toolbox sh -c 'sed -i "s|\"/usr|\"$$TOOLBOX/usr|g" rust-project.json'
endif

rust_files = $$(find . -path ./nvme/target -prune -o -name '*.rs' -print)
fmt:
	@scripts/toolbox rustfmt $(rust_files)
fmtcheck:
	@scripts/toolbox rustfmt --check $(rust_files)

demo test verify check:
	@scripts/$@
races:
	@scripts/verify kcsan
test-host:
	@scripts/toolbox cargo test --manifest-path nvme/Cargo.toml
shell: modules
	@qemu/run
sample:
	@test -n "$(NAME)" -a -f "samples/$(NAME).rs" || { echo "NAME= one of:" $$(sed -n 's/^obj-m.*= *\(.*\)\.o$$/\1/p' samples/Kbuild) >&2; exit 1; }
	@$(MAKE) --no-print-directory M=samples modules
	@qemu/run scripts/sample-guest "$(NAME)"

sign: modules
	@scripts/sign "$(KEY)" "$(CERT)"
bench: modules
	@scripts/bench $(if $(QUICK),--quick)

update:
	@scripts/kdir --update
distclean:
	find . -name .git -prune -o \( -name '*.ko' -o -name '*.o' -o -name '*.mod' -o -name '*.mod.c' -o -name '.*.cmd' \
		-o -name '.*.d' -o -name Module.symvers -o -name modules.order \) -exec rm -f {} +
	rm -rf results/[!b]* nvme/target rust-project.json "$(cache)"

help:
	$(info $(help))
	@:

.PHONY: modules modules_install clean rust-analyzer fmt fmtcheck demo test check \
	test-host shell sample sign bench verify races update distclean help
