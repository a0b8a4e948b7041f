#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""fault.py OPERATION SECONDS: repeats an operation, and makes another of its allocations fail each time.
fault.py random PERCENT: from now on, makes that share of the module's own calls fail, at random.

OPERATION is load, bind, unbind, io, command, format or reset. The kernel's fail-nth makes the Nth allocation of a
task fail. The script repeats the operation with N = 1, 2, 3 and so on, until the operation ends
before its Nth allocation. Each time the operation must work, or fail without a trace.

If SECONDS aren't enough for every N, the tried N are spread evenly. The last line has the number of
allocations, and the number of those that no fault reached. Expects the module loaded, except for
load, and a controller bound.
"""
import ctypes
import errno
import glob
import mmap
import os
import sys
import time

import passthru
import uring

NONE = 1 << 20
STRIDE = 16
# The work queues divide a reset among their tasks in a different way each time, so a task may end
# before its Nth allocation.
TRIES = 8
DRIVER = "/sys/bus/pci/drivers/rust_nvme_demo"
PARTS = ("failslab", "fail_page_alloc", "fail_make_request", "fail_io_timeout")
libc = ctypes.CDLL(None, use_errno=True)


def put(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(str(text))


def get(path):
    with open(path, encoding="ascii") as f:
        return f.read().strip()


# Stack frames from a failed allocation to the module, including the frames of the injection.
DEPTH = 7
DUMP = "dev_coredumpm_timeout"


def only(depth, required, rejected=(0, 0)):
    """Only calls with the REQUIRED code among their callers, and without the REJECTED code, may fail."""
    for part in ("failslab", "fail_page_alloc"):
        for name, value in zip(("require-start", "require-end", "reject-start", "reject-end"),
                               required + rejected):
            put(f"/sys/kernel/debug/{part}/{name}", f"{value:#x}")
        put(f"/sys/kernel/debug/{part}/stacktrace-depth", depth)


def code_of(function):
    """The first address of a kernel function, and the first after it."""
    lines = iter(get("/proc/kallsyms").splitlines())
    start = next(line for line in lines if line.endswith(" " + function)).split()[0]
    return int(start, 16), int(next(lines).split()[0], 16)


def own_calls(rejected=(0, 0)):
    """Only calls with the module among their nearest callers may fail."""
    start = int(get("/sys/module/rust_nvme_demo/sections/.text"), 16)
    size = next(int(line.split()[1]) for line in get("/proc/modules").splitlines()
                if line.startswith("rust_nvme_demo "))
    only(DEPTH, (start, start + size), rejected)


def all_calls():
    only(0, (0, (1 << 64) - 1))


def all_but(function):
    """All calls may fail but those with this kernel function among their callers."""
    only(32, (0, (1 << 64) - 1), code_of(function))


def no_acpi():
    """Not in ACPI's interpreter, which uses freed memory after an allocation failed."""
    all_but("acpi_ns_evaluate")


def no_dumps():
    """Not in dev_coredumpm_timeout(): the kernel frees the dump's data twice if it can't create the device."""
    all_but(DUMP)


def no_events():
    """Not in event_define_fields(): if it fails for a module's trace events, the kernel prints a stack trace."""
    all_but("event_define_fields")


def prepare():
    """Allocations that may sleep fail, too. The kernel doesn't log each fault."""
    for part in PARTS:
        put(f"/sys/kernel/debug/{part}/verbose", 0)
    put("/sys/kernel/debug/failslab/ignore-gfp-wait", "N")
    put("/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N")
    put("/sys/kernel/debug/fail_page_alloc/min-order", 0)


def random(percent):
    """Makes this share of the module's own calls fail; not for core dumps, see no_dumps()."""
    if percent:
        own_calls(code_of(DUMP))
    for part in ("failslab", "fail_page_alloc"):
        put(f"/sys/kernel/debug/{part}/times", -1)
        put(f"/sys/kernel/debug/{part}/probability", percent)


class Self:
    """The task that does the operation itself."""

    def __init__(self):
        self.fd = os.open("/proc/thread-self/fail-nth", os.O_RDWR)

    def arm(self, n):
        os.pwrite(self.fd, b"%d" % n, 0)

    def left(self):
        left = int(os.pread(self.fd, 16, 0))
        os.pwrite(self.fd, b"0", 0)
        return left


class Workers:
    """The tasks of the unbound work queues: any of them may do the operation."""

    def __init__(self):
        self.armed = []

    def arm(self, n):
        self.armed = []
        for comm in glob.glob("/proc/[0-9]*/comm"):
            try:
                if get(comm).startswith("kworker/u"):
                    put(comm.replace("comm", "fail-nth"), n)
                    self.armed.append(comm.replace("comm", "fail-nth"))
            except OSError:
                pass

    def left(self):
        least = NONE
        for path in self.armed:
            try:
                least = min(least, int(get(path)))
                put(path, 0)
            except OSError:
                pass
        return least


class Both:
    """The task itself, and the tasks of the unbound work queues."""

    def __init__(self):
        self.tasks = [Self(), Workers()]

    def arm(self, n):
        for task in self.tasks:
            task.arm(n)

    def left(self):
        return min(task.left() for task in self.tasks)


class Operation:
    """An operation to repeat. This class is a bind; other operations derive from it.

    A bind has thousands of allocations. Only those fail that the driver makes itself, or a function that
    the driver calls. Failures farther away have the same effect on the driver, and some would break the
    kernel: in the interpreter of ACPI, or for the files of interrupts in /proc. A work queue scans the
    namespaces.
    """
    task = Both
    calls = staticmethod(own_calls)

    def __init__(self):
        self.bdf = os.path.basename(glob.glob(f"{DRIVER}/*:*")[0])
        self.name = self.bdf.encode()
        self.files = {word: os.open(f"{DRIVER}/{word}", os.O_WRONLY) for word in ("bind", "unbind")}
        self.buffer = mmap.mmap(-1, 1 << 18)

    def bound(self):
        return os.path.exists(f"{DRIVER}/{self.bdf}")

    def disks(self):
        return glob.glob(f"/sys/bus/pci/devices/{self.bdf}/rnvme/nvme*/nvme*")

    def bind(self):
        os.write(self.files["bind"], self.name)

    def unbind(self):
        os.write(self.files["unbind"], self.name)

    def read(self):
        disk = "/dev/" + os.path.basename(self.disks()[0])
        fd = os.open(disk, os.O_RDONLY | os.O_DIRECT)
        try:
            os.preadv(fd, [self.buffer], 0)
        finally:
            os.close(fd)

    def before(self):
        if self.bound():
            self.unbind()

    def act(self):
        self.bind()

    def after(self, error):
        if error:
            assert not self.bound(), f"bound, though bind said {error}"
        if not self.bound():
            assert not self.disks(), "not bound, and there is a disk"

    def clean(self):
        """The same without a fault."""
        self.before()
        self.bind()
        self.read()

    def end(self):
        if not self.bound():
            self.bind()


class Unbind(Operation):
    """An unbind can't fail, but the write to its file can."""
    task = Self
    calls = staticmethod(no_acpi)

    def before(self):
        if not self.bound():
            self.bind()

    def act(self):
        self.unbind()

    def after(self, error):
        assert self.bound() == bool(error), f"unbind said {error}"
        assert bool(self.disks()) == bool(error), f"disks {self.disks()}, unbind said {error}"

    def clean(self):
        self.before()
        self.read()


class Io(Operation):
    """A read and a write, large enough for a list of their pages."""
    task = Self
    calls = staticmethod(all_calls)

    def __init__(self):
        super().__init__()
        self.disk = "/dev/" + os.path.basename(self.disks()[0])
        self.fd = os.open(self.disk, os.O_RDWR | os.O_DIRECT)
        self.pattern = mmap.mmap(-1, 1 << 18)
        self.pattern.write(os.urandom(1 << 18))

    def before(self):
        self.buffer.seek(0)
        self.buffer.write(bytes(1 << 18))

    def act(self):
        os.pwritev(self.fd, [self.pattern], 1 << 20)
        os.preadv(self.fd, [self.buffer], 1 << 20)

    def after(self, error):
        assert error or self.buffer[:] == self.pattern[:], "the data are others, and no error was told"

    def clean(self):
        self.before()
        self.act()
        self.after(None)

    def end(self):
        os.close(self.fd)


class Command(Operation):
    """A user's commands: an Identify, and a write and reads, by ioctls and by io_uring."""
    task = Self
    calls = staticmethod(all_calls)
    SIZE, PIECE = 1 << 16, 1 << 13

    def __init__(self):
        super().__init__()
        disk = os.path.basename(self.disks()[0])
        # Vectors, and data that begin within a page, which the kernel copies.
        self.generic = passthru.Disk("/dev/" + disk.replace("nvme", "ng"), os.O_RDWR)
        self.control = passthru.Disk("/dev/" + disk, os.O_RDONLY)
        self.control.fd = os.open("/dev/" + disk[: disk.rindex("n")], os.O_RDWR)
        self.ring = uring.Ring()
        self.queued = uring.Device("/dev/" + disk.replace("nvme", "ng"), os.O_RDWR, self.ring)
        self.data = passthru.pattern(5, self.SIZE)
        parts = ((passthru.BACK + at, self.PIECE) for at in range(0, self.SIZE, self.PIECE))
        self.parts = uring.pieces(uring.VECTOR, *parts)

    def fields(self, number):
        """A transfer of SIZE bytes at block 4096."""
        blocks = self.SIZE // self.generic.block - 1
        return {"addr": uring.VECTOR, "data_len": self.parts, "cdw": (4096, 0, blocks)} if number else {
            "addr": passthru.DATA, "data_len": self.SIZE, "cdw": (4096, 0, blocks)}

    def must(self, outcome):
        """Raises the error of a command; a command that the controller executed has none."""
        word = outcome.split()[0]
        if word.startswith("E"):
            raise OSError(getattr(errno, word), word)
        assert word == "0x0", f"status {outcome}"

    def before(self):
        ctypes.memset(passthru.BACK, 0x55, self.SIZE)

    def act(self):
        self.must(self.control.send(6, passthru.ADMIN, nsid=0, addr=passthru.BACK + 516, data_len=4096, cdw=(1,)))
        self.must(self.generic.send(passthru.WRITE, passthru.IO64, **self.fields(0)))
        self.must(self.generic.send(passthru.READ, passthru.VEC, **self.fields(1)))
        self.must(self.queued.send(passthru.WRITE, uring.IO, **self.fields(0)))
        self.must(self.queued.send(passthru.READ, uring.VEC, **self.fields(1)))

    def after(self, error):
        assert error or ctypes.string_at(passthru.BACK, self.SIZE) == self.data, "other data, and no error was told"

    def clean(self):
        self.before()
        self.act()
        self.after(None)

    def end(self):
        self.ring.close()
        for fd in (self.generic.fd, self.control.fd, self.queued.fd):
            os.close(fd)


class Format(Operation):
    """A format with another block size, during which the disks are frozen, and after which a work queue scans the
    namespaces, and replaces the disk."""
    # The indexes of QEMU's formats with these block sizes, without metadata.
    FORMATS = {512: 0, 4096: 4}

    def __init__(self):
        super().__init__()
        self.disk = os.path.basename(self.disks()[0])
        self.control = os.open("/dev/" + self.disk[: self.disk.rindex("n")], os.O_RDWR)
        self.bytes = 512 * int(get(f"/sys/block/{self.disk}/size"))

    def admin(self, opcode, nsid, addr, length, cdw10):
        raw = passthru.struct.pack("=BBHIIIQQII6III", opcode, 0, 0, nsid, 0, 0, 0, addr, 0, length, cdw10, *[0] * 6, 0)
        ctypes.memmove(passthru.ARG, raw, len(raw))
        outcome = passthru.call(self.control, passthru.ADMIN, passthru.ARG)
        if outcome.startswith("E"):
            raise OSError(getattr(errno, outcome), outcome)
        assert outcome == "0x0", f"status {outcome}"

    def format(self):
        """The index of the namespace's format, as the controller has it (FLBAS)."""
        self.admin(6, 1, passthru.BACK, 4096, 0)
        return ctypes.string_at(passthru.BACK + 26, 1)[0] & 0xF

    def before(self):
        self.was = self.format()

    def act(self):
        other = next(index for index in self.FORMATS.values() if index != self.was)
        self.admin(0x80, 1, 0, 0, other)

    def agrees(self):
        """Whether the disk is what the namespace is."""
        index = self.format()
        sizes = {index: size for size, index in self.FORMATS.items()}
        try:
            looks = [int(get(f"/sys/block/{self.disk}/{name}")) for name in ("queue/logical_block_size", "size")]
        except OSError:
            return False
        return looks == [sizes[index], self.bytes // 512]

    def after(self, error):
        assert error or self.format() != self.was, "the format changed nothing, and no error was told"
        # If memory was short, the scan tries again.
        end = time.monotonic() + 20
        while not self.agrees():
            assert time.monotonic() < end, "the disk isn't what the namespace is"
            time.sleep(0.02)
        assert get(f"{DRIVER}/{self.bdf}/controller/state") == "live", "the controller isn't live"
        self.read()

    def clean(self):
        self.before()
        self.act()
        self.after(None)

    def end(self):
        os.close(self.control)


class Reset(Operation):
    """A reset, which a work queue does."""
    task = Workers
    calls = staticmethod(no_dumps)

    def state(self):
        return get(f"{DRIVER}/{self.bdf}/controller/state")

    def before(self):
        if not self.bound():
            self.bind()
        elif self.state() != "live":
            self.unbind()
            self.bind()
        self.resets = int(get(f"{DRIVER}/{self.bdf}/controller/resets"))

    def act(self):
        put(f"{DRIVER}/{self.bdf}/controller/reset_controller", 1)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if not self.bound() or self.state() == "dead" or self.state() == "live" and self.resets < int(
                    get(f"{DRIVER}/{self.bdf}/controller/resets")):
                return
            time.sleep(0.02)
        raise AssertionError(f"state {self.state()} 60 s after a reset")

    def after(self, error):
        assert not error, f"reset_controller said {error}"

    def clean(self):
        self.before()
        self.read()


class Load(Operation):
    """A load of the module, which binds no device."""
    task = Self
    calls = staticmethod(no_events)

    def __init__(self):
        with open(os.environ["STRIPPED"], "rb") as f:
            self.module = f.read()
        self.autoprobe("0")

    def autoprobe(self, text):
        put("/sys/bus/pci/drivers_autoprobe", text)

    def syscall(self, *args):
        if libc.syscall(*args):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def before(self):
        if os.path.exists("/sys/module/rust_nvme_demo/initstate"):
            self.syscall(176, b"rust_nvme_demo", 0)

    def act(self):
        # init_module(), because finit_module() prints a stack trace if it has no memory for the file.
        self.syscall(175, self.module, ctypes.c_ulong(len(self.module)), b"")

    def after(self, error):
        assert os.path.exists(DRIVER) == (not error), f"loading said {error}"

    def clean(self):
        self.before()
        self.act()

    def end(self):
        self.before()
        self.autoprobe("1")


def main():
    name, seconds = sys.argv[1], int(sys.argv[2])
    if name == "random":
        prepare()
        random(seconds)
        return
    op = {"bind": Operation, "unbind": Unbind, "io": Io, "command": Command, "format": Format,
          "reset": Reset, "load": Load}[name]()
    prepare()
    op.calls()
    task = op.task()
    errors, injected, start = {}, 0, time.monotonic()

    def attempt(n):
        op.before()
        task.arm(n)
        error = None
        try:
            op.act()
        except OSError as e:
            error = errno.errorcode[e.errno]
        finally:
            left = task.left()
        try:
            op.after(error)
        except AssertionError as e:
            sys.exit(f"{name}, fault {n}: {e}")
        return left, error

    op.clean()
    left, error = attempt(NONE)
    assert not error, f"{name} says {error} with nothing in its way"
    total = NONE - left
    todo = [n for first in range(1, STRIDE + 1) for n in range(first, total + 1, STRIDE)]
    for count, n in enumerate(todo):
        if time.monotonic() > start + seconds:
            break
        for _ in range(TRIES):
            left, error = attempt(n)
            if left == 0:
                injected += 1
                errors[error] = errors.get(error, 0) + 1
                break
        if count % STRIDE == 0:
            op.clean()
    else:
        # The operation may have more allocations than at first, because the log has grown.
        n = total
        while left == 0:
            n += 1
            left, error = attempt(n)
            injected += left == 0
    op.clean()
    op.end()
    assert injected, f"{name} has no place where anything can fail"
    said = ", ".join(f"{count} {error or 'worked all the same'}" for error, count in sorted(
        errors.items(), key=lambda item: -item[1]))
    print(f"{name}: {injected} faults at {total} places in {time.monotonic() - start:.0f} s"
          f" ({max(total - injected, 0)} not reached): {said or 'none'}")


main()
