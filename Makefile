# SPDX-License-Identifier: GPL-2.0

define help
What there is to make:
  modules (default)  rust_nvme_demo.ko for the stock Debian kernel, with all that takes
  demo               ... and boot that kernel in QEMU, with a file system on our disk
  shell              a shell in the same guest
  test               unit tests, then selftests/ in guests of several topologies
  verify             the same and more in a kernel with every checker (2 to 3 hours)
  races              the tests of concurrent code in a kernel that looks for data races
  matrix             build for the amd64 flavours, arm64, riscv64, 7.2 and sid, run the demo and a core of the tests on each
  test-host          only the unit tests of nvme/, of the lock-free pieces and of rnvme-top
  weaken             weaken each memory ordering of the lock-free pieces: their tests must find it; 3 minutes
  top                rnvme-top, a terminal view of the queues
  bench              compare with the C driver (half an hour); QUICK=1 for the shortest (2 minutes)
  sample NAME=name   build samples/, load name.ko in a guest, show what it prints
  check              formatter, clippy, shellcheck, doc comments, README's figures, commands, documents
  rustdoc            pages of the code's documentation, below Documentation/output/rustdoc
  fmt, fmtcheck      rustfmt over the tree; fmtcheck only says what would change
  sign KEY= CERT=    sign the module with your key (PEM) and its certificate
  deb                Debian packages, for DKMS and with the module built, in results/deb; KEY= CERT= sign it
  test-deb           install, upgrade and remove these in a clean Debian; 10 minutes
  test-boot          copy a Debian to a disk of the driver, and start it from there; 10 minutes
  modules_install    install the module and its udev rules, below INSTALL_MOD_PATH if that is given
  rust-analyzer      rust-project.json, for editors
  figures            write README's figures anew, from the results
  update             look for a newer kernel of the series and make it ready
  clean, distclean   remove what was built; also toolbox, kernels and results

Variables:
  KDIR=dir           build for the prepared kernel in dir, with this machine's tools
  M=dir              another module than the one here; also for make shell and make test
  KVER=7.3.4+deb13 FLAVOUR=amd64|cloud-amd64|rt-amd64|arm64|arm64-16k|cloud-arm64|rt-arm64
                     another Debian kernel than the newest of series 7.3; KVER=7.3.4, KVER=7.2
                     and KVER=$$(uname -r) do, too
  SUITE=forky|sid    kernel, compilers and QEMU of another Debian than trixie
  TOPOLOGY=name      the guest's devices, see qemu/topologies
  TESTS='glob ...'   only these tests: bind_* for selftests/test_bind_*.sh
  JOBS=n             guests of test and verify at a time; with 2 cores at most 2
  CYCLES=n           how often the tests cycle_* and the like repeat their action
  SEED=n             other random choices of fuzz_01, hostile_01, hostile_02 and storm_01
  EXTRA='pkg ...'    more Debian packages in the toolbox and the guest: EXTRA='bpftrace gdb'
  W=1 CLIPPY=1 V=1   as in the kernel
  MIRROR=uri         the Debian mirror, if the host's apt doesn't know one: http://HOST/debian
  ARCHIVE=uri        another archive of old kernels than Debian's, see scripts/kdir
  XDG_CACHE_HOME=dir where all that is made is kept (some 6 GB)
endef

here := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
M := $(here)
override M := $(abspath $(M))

# The variables given here that are Kbuild's own; those of the environment aren't for it.
passed := V W C CF CHECK CLIPPY LLVM CC RUSTC KCFLAGS KRUSTFLAGS KBUILD_EXTRA_SYMBOLS \
	INSTALL_MOD_DIR INSTALL_MOD_STRIP
build = @scripts/build $@ $(call given,M KDIR INSTALL_MOD_PATH) \
	$(foreach v,$(passed),$(if $(filter command%,$(origin $v)),$v=$(call quote,$($v))))
given = $(foreach v,$1,$(if $($v),$v=$(call quote,$($v))))
quote = '$(subst ','\'',$1)'

modules modules_install clean rust-analyzer:
	$(build)

rust_files = $$(find . -name target -prune -o -name '*.rs' -print)
fmt:
	@scripts/toolbox rustfmt $(rust_files)
fmtcheck:
	@scripts/toolbox rustfmt --check $(rust_files)

demo verify matrix check test-deb test-boot:
	@scripts/$@
test:
	@scripts/$@ $(if $(filter-out $(here),$(M)),$(call quote,$(M)))
races:
	@scripts/verify kcsan
test-host:
	@scripts/build --check
	@scripts/toolbox cargo test --no-fail-fast --manifest-path nvme/Cargo.toml
	@scripts/toolbox cargo test --no-fail-fast --locked --manifest-path abstractions/atomic/Cargo.toml
	@scripts/toolbox cargo test --no-fail-fast --release --locked --manifest-path tools/rnvme-top/Cargo.toml
weaken:
	@scripts/build --check
	@scripts/toolbox python3 scripts/weaken.py
top:
	@scripts/build --check
	@scripts/toolbox cargo build $(if $(findstring arm64,$(KVER)$(FLAVOUR)),--target aarch64-unknown-linux-gnu) \
		--release --locked --manifest-path tools/rnvme-top/Cargo.toml
shell:
	@qemu/run --check
	@scripts/build modules M=$(call quote,$(M))
	@qemu/run $(if $(filter-out $(here),$(M)),--bind $(call quote,$(M)))
sample:
	@qemu/run --check
	@test -n "$(NAME)" -a -f "samples/$(NAME).rs" || { echo "NAME= one of:" $$(sed -n 's/^obj-m.*= *\(.*\)\.o$$/\1/p' samples/Kbuild) >&2; exit 1; }
	@scripts/build modules M=samples
	@$(if $(filter rust_edu,$(NAME)),TOPOLOGY=none) qemu/run scripts/sample-guest "$(NAME)"

sign:
	@scripts/sign --check "$(KEY)" "$(CERT)"
	@scripts/build modules
	@scripts/sign "$(KEY)" "$(CERT)"
deb:
	@scripts/deb $(if $(KEY)$(CERT),"$(KEY)" "$(CERT)")
bench: modules
	@scripts/bench $(if $(QUICK),--quick)

figures rustdoc:
	@scripts/$@
update:
	@scripts/kdir --update
distclean:
	@scripts/distclean

help:
	$(info $(help))
	@:

.PHONY: modules modules_install clean rust-analyzer fmt fmtcheck demo test check \
	test-host weaken top shell sample sign deb test-deb test-boot bench verify matrix races figures rustdoc update distclean help
