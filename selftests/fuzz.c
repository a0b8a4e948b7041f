// SPDX-License-Identifier: GPL-2.0
/*
 * fuzz [-n CALLS] [-s SEED] [-l SECONDS] [-u] DEVICE…: random ioctls and io_uring commands to control devices, disks
 * and generic devices, with good and bad fields and addresses, from several processes, some of which are killed. A
 * device may come and go. With -u as a user without rights.
 *
 * Prints how often each result came. Exits with 1 if a result is neither a status nor an errno that a driver may
 * return, if memory changes that no call named, or if no call ends for SECONDS.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/io_uring.h>
#include <linux/nvme_ioctl.h>
#include <linux/pr.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define WORKERS 4
#define MAX_DEVICES 16
#define ENTRIES 16
/* IOC_PR_READ_KEYS and IOC_PR_READ_RESERVATION, which older headers lack. */
#define READ_KEYS _IOC(_IOC_READ | _IOC_WRITE, 'p', 206, 16)
#define READ_RESERVATION _IOC(_IOC_READ, 'p', 207, 16)
#define PAGE 4096
#define DATA_SIZE (2 << 20)
#define CANARY_SIZE (16 * PAGE)
#define CANARY 0xa5
#define MAX_ERRNO 4095
/* The largest status that a completion has, with its DNR bit. */
#define MAX_STATUS 0x7fff

static const int errnos[] = {
	EACCES, EAGAIN, EALREADY, EBADF, EBUSY, ECANCELED, EFAULT, EINTR, EINVAL, EIO, ENETRESET, ENODEV, ENOENT, ENOMEM,
	ENOSPC, ENOTTY, ENXIO, EOPNOTSUPP, EOVERFLOW, EPERM, EROFS, ESPIPE,
	/* Too much metadata. */
	E2BIG,
	/* From reading a disk after a Write Uncorrectable, or a Format with protection information. */
	ENODATA, EILSEQ,
};

/* What the processes share. */
static struct {
	uint64_t calls, results[MAX_ERRNO + 1], successes, statuses, killed;
	char fault[256];
} *shared;

static char **paths;
static unsigned int nr_devices, user;
static uint64_t limit = 20000, seed;

/* A process's own. */
static uint64_t state;
static int fds[MAX_DEVICES];
static uint8_t *data, *canary, *read_only, *nothing;
static struct {
	int fd;
	unsigned int inflight, sqe_size, cqe_size, *sq_tail, *sq_mask, *cq_head, *cq_tail, *cq_mask;
	uint8_t *sqes, *cqes, *rings;
	size_t rings_size;
} ring = { .fd = -1 };

static uint64_t rnd(void)
{
	/* xorshift64* */
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1dULL;
}
static uint64_t below(uint64_t n) { return (rnd() >> 11) % n; }
static int once_in(uint64_t n) { return below(n) == 0; }
#define ONE_OF(array) ((array)[below(ARRAY_SIZE(array))])

__attribute__((format(printf, 1, 2))) static void fault(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (!shared->fault[0])
		vsnprintf(shared->fault, sizeof(shared->fault), format, args);
	va_end(args);
	_exit(1);
}

/* Counts a call, whose result is a status, or an errno if it is negative. */
static void count(const char *what, unsigned long number, long result)
{
	__atomic_fetch_add(&shared->calls, 1, __ATOMIC_RELAXED);
	if (result >= 0) {
		if (result > MAX_STATUS)
			fault("%s %#lx: result %#lx is no status", what, number, result);
		__atomic_fetch_add(result ? &shared->statuses : &shared->successes, 1, __ATOMIC_RELAXED);
		return;
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(errnos); i++) {
		if (errnos[i] == -result) {
			__atomic_fetch_add(&shared->results[-result], 1, __ATOMIC_RELAXED);
			return;
		}
	}
	fault("%s %#lx: errno %ld", what, number, -result);
}

/* The name has no n of a namespace: nvme900, unlike nvme900n1 and ng900n1. */
static int is_control(unsigned int device)
{
	const char *name = strrchr(paths[device], '/') + 1;

	return strncmp(name, "nvme", 4) == 0 && !strchr(name + 4, 'n');
}

/* --- arguments ---------------------------------------------------------------- */

static uint64_t address(uint64_t len)
{
	static const uint64_t bad[] = { 1, 0xffff888000000000, 0xffffffffffffffff, 1ULL << 47, (1ULL << 47) - PAGE };
	uint64_t room = len < DATA_SIZE ? DATA_SIZE - len + 1 : 1;

	switch (below(40)) {
	case 0:
		return 0;
	case 1:
		return ONE_OF(bad);
	case 2:
		return (uintptr_t)read_only;
	case 3:
		return (uintptr_t)nothing;
	case 4:
		return (uintptr_t)data + DATA_SIZE - below(PAGE);
	case 5:
		return once_in(8) ? rnd() | 1ULL << 63 : (uintptr_t)data + below(room);
	case 6: case 7: case 8: case 9:
		return (uintptr_t)data + (below(room) & ~3ULL);
	default:
		return (uintptr_t)data + (below(room) & ~(uint64_t)(PAGE - 1));
	}
}

static uint32_t length(void)
{
	static const uint32_t usual[] = { 512, 4096, 4096, 4096, 8192, 65536, 524288 }, odd[] = { 0, 4, 524292, DATA_SIZE };

	switch (below(16)) {
	case 0:
		return rnd();
	case 1:
		return below(PAGE);
	case 2:
		return ONE_OF(odd);
	default:
		return ONE_OF(usual);
	}
}

static uint32_t dword(void)
{
	switch (below(8)) {
	case 0:
		return rnd();
	case 1:
		return 0xffffffff;
	case 2:
		return 1u << below(32);
	default:
		return below(32);
	}
}

/* Writes an array of struct iovec to the data, and returns its address. */
static uint64_t pieces(uint32_t *number)
{
	struct iovec *vector = (void *)(data + DATA_SIZE / 2);
	static const uint32_t numbers[] = { 0, 1, 2, 3, 8, 1024, 1025, 0xffffffff };

	*number = ONE_OF(numbers);
	for (unsigned int i = 0; i < 8; i++) {
		uint32_t len = once_in(2) ? 512 : length();

		vector[i] = (struct iovec){ (void *)(uintptr_t)address(len), len };
	}
	return once_in(16) ? address(0) : (uintptr_t)vector;
}

/* What QEMU 10 aborts at. */
static void avoid(struct nvme_passthru_cmd64 *cmd, int is_admin)
{
	/* A Copy whose first range is wrong: it uses a variable that it hasn't set. */
	if (!is_admin && cmd->opcode == 0x19)
		cmd->opcode = 0;
	/* The feature FDP Events of a namespace that doesn't exist. */
	if (is_admin && (cmd->opcode == 0x09 || cmd->opcode == 0x0a) && (uint8_t)cmd->cdw10 == 0x1e)
		cmd->cdw10 = 0;
}

static void command(struct nvme_passthru_cmd64 *cmd, int is_admin, int vectored)
{
	static const uint8_t admin[] = { 0x00, 0x02, 0x02, 0x04, 0x06, 0x06, 0x06, 0x08, 0x09, 0x0a, 0x0a, 0x0c, 0x0d, 0x10, 0x11,
					 0x14, 0x15, 0x18, 0x19, 0x1a, 0x1c, 0x7c, 0x81, 0x82, 0x84 };
	static const uint8_t io[] = { 0, 1, 1, 1, 2, 2, 2, 2, 4, 5, 5, 8, 9, 0x0c, 0x0d, 0x0e, 0x11, 0x12, 0x15, 0x79, 0x7a, 0x7d };
	static const uint32_t nsids[] = { 0, 2, 0xfffffffe, 0xffffffff };
	uint32_t *cdw = &cmd->cdw10;

	memset(cmd, 0, sizeof(*cmd));
	cmd->opcode = once_in(16) ? rnd() : is_admin ? ONE_OF(admin) : ONE_OF(io);
	cmd->flags = once_in(32) ? rnd() : 0;
	cmd->rsvd1 = once_in(32) ? rnd() : 0;
	cmd->nsid = once_in(8) ? ONE_OF(nsids) : 1;
	if (once_in(8)) {
		cmd->cdw2 = rnd();
		cmd->cdw3 = rnd();
	}
	cmd->data_len = length();
	cmd->addr = vectored ? pieces(&cmd->data_len) : address(cmd->data_len);
	if (once_in(16)) {
		cmd->metadata_len = length();
		cmd->metadata = address(cmd->metadata_len);
	}
	for (int i = 0; i < 6; i++)
		cdw[i] = dword();
	/* Format takes long. */
	if (is_admin && once_in(1000)) {
		cmd->opcode = 0x80;
		if (!once_in(4))
			cmd->cdw10 = once_in(2) ? 0 : 4;
	}
	if (!is_admin && !once_in(4)) {
		uint32_t blocks = cmd->data_len / 512;

		cmd->cdw10 = below(2048);
		cmd->cdw11 = 0;
		cmd->cdw12 = blocks && blocks < 65536 ? blocks - 1 : 0;
	}
	avoid(cmd, is_admin);
	if (once_in(64))
		cmd->timeout_ms = rnd();
	else if (once_in(500))
		cmd->timeout_ms = 1 + below(20);
}

/* --- calls -------------------------------------------------------------------- */

static void reopen(unsigned int device)
{
	static const int modes[] = { O_RDWR, O_RDWR, O_RDONLY, O_WRONLY, O_RDWR | O_NONBLOCK };

	if (fds[device] >= 0)
		close(fds[device]);
	fds[device] = open(paths[device], ONE_OF(modes) | O_CLOEXEC);
	count("open", device, fds[device] < 0 ? -errno : 0);
	/* Wait for a device that isn't there. */
	if (fds[device] < 0)
		usleep(5000);
}

static void an_ioctl(unsigned int device)
{
	static const unsigned long numbers[] = {
		NVME_IOCTL_ID, NVME_IOCTL_ADMIN_CMD, NVME_IOCTL_ADMIN64_CMD, NVME_IOCTL_IO_CMD, NVME_IOCTL_IO_CMD,
		NVME_IOCTL_IO64_CMD, NVME_IOCTL_IO64_CMD, NVME_IOCTL_IO64_CMD_VEC, NVME_IOCTL_SUBMIT_IO,
	};
	static const unsigned long admin[] = { NVME_IOCTL_ADMIN_CMD, NVME_IOCTL_ADMIN64_CMD };
	static const unsigned long reservations[] = {
		IOC_PR_REGISTER, IOC_PR_RESERVE, IOC_PR_RELEASE, IOC_PR_PREEMPT, IOC_PR_PREEMPT_ABORT, IOC_PR_CLEAR,
		READ_KEYS, READ_RESERVATION,
	};
	unsigned long number = is_control(device) && !once_in(8) ? ONE_OF(admin) : ONE_OF(numbers);
	union {
		struct nvme_passthru_cmd64 wide;
		struct nvme_passthru_cmd cmd;
		struct nvme_user_io io;
		uint64_t words[3];
	} argument;
	uint64_t at = (uintptr_t)&argument;
	int result;

	if (once_in(2000))
		number = NVME_IOCTL_RESET;
	else if (once_in(500))
		number = NVME_IOCTL_RESCAN;
	else if (once_in(64))
		number = once_in(2) ? NVME_IOCTL_SUBSYS_RESET : _IOC(below(4), 'N', below(256), below(128));
	else if (once_in(32))
		number = ONE_OF(reservations);
	command(&argument.wide, number == NVME_IOCTL_ADMIN_CMD || number == NVME_IOCTL_ADMIN64_CMD,
		number == NVME_IOCTL_IO64_CMD_VEC);
	if (number == NVME_IOCTL_SUBMIT_IO) {
		static const uint8_t opcodes[] = { 1, 2, 5 };
		uint16_t blocks = once_in(16) ? rnd() : below(16);
		struct nvme_user_io io = {
			.opcode = once_in(8) ? rnd() : ONE_OF(opcodes),
			.flags = once_in(16) ? rnd() : 0,
			.control = once_in(8) ? rnd() : 0,
			.nblocks = blocks,
			.addr = address((blocks + 1) * 512),
			.metadata = once_in(8) ? address(PAGE) : 0,
			.slba = once_in(8) ? rnd() : below(2048),
		};

		argument.io = io;
	}
	if (_IOC_TYPE(number) == 'p') {
		for (unsigned int i = 0; i < ARRAY_SIZE(argument.words); i++)
			argument.words[i] = once_in(4) ? rnd() : below(8);
		if (number == READ_KEYS) {
			argument.words[0] = below(once_in(8) ? 65538 : 64) << 32;
			argument.words[1] = address(DATA_SIZE / 2);
		}
	}
	if (once_in(16))
		at = address(sizeof(argument));
	result = ioctl(fds[device], number, at);
	/* This one returns the namespace's number. */
	count("ioctl", number, result < 0 ? -errno : number == NVME_IOCTL_ID ? 0 : result);
}

static void another_call(unsigned int device)
{
	uint64_t size = length() % DATA_SIZE, at = address(size);
	void *map;
	long result;

	switch (below(7)) {
	case 0:
		result = pread(fds[device], (void *)(uintptr_t)at, size, below(1 << 20) & ~511);
		break;
	case 1:
		result = pwrite(fds[device], (void *)(uintptr_t)at, size, below(1 << 20) & ~511);
		break;
	case 2:
		result = lseek(fds[device], below(1 << 20), SEEK_SET);
		break;
	case 3:
		result = once_in(16) ? fdatasync(fds[device]) : 0;
		break;
	case 4:
		map = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fds[device], 0);
		result = map == MAP_FAILED ? -1 : munmap(map, PAGE);
		break;
	case 5:
		result = fcntl(fds[device], F_SETFL, once_in(2) ? O_NONBLOCK : O_DIRECT);
		break;
	default:
		result = ftruncate(fds[device], below(1 << 20));
	}
	count("call", 0, result < 0 ? -errno : 0);
}

/* Other memory takes the place of a part of the data, or its protection changes. */
static void change_memory(void)
{
	static const int protections[] = { PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE };
	uint8_t *at = data + below(DATA_SIZE / PAGE / 4) * PAGE;
	size_t size = (1 + below(16)) * PAGE;

	switch (below(4)) {
	case 0:
		madvise(at, size, MADV_DONTNEED);
		break;
	case 1:
		mprotect(at, size, ONE_OF(protections));
		break;
	default:
		if (mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
			fault("mmap: %m");
	}
}

/* --- io_uring ------------------------------------------------------------------ */

static void close_ring(void)
{
	if (ring.fd < 0)
		return;
	close(ring.fd);
	munmap(ring.rings, ring.rings_size);
	munmap(ring.sqes, ENTRIES * ring.sqe_size);
	ring.fd = -1;
	ring.inflight = 0;
}

static void open_ring(void)
{
	static const unsigned int flags[] = {
		IORING_SETUP_SQE128 | IORING_SETUP_CQE32, IORING_SETUP_SQE128 | IORING_SETUP_CQE32,
		IORING_SETUP_SQE128 | IORING_SETUP_CQE32 | IORING_SETUP_IOPOLL,
		IORING_SETUP_SQE128 | IORING_SETUP_CQE32 | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	};
	static const unsigned int small[] = { IORING_SETUP_SQE128, IORING_SETUP_CQE32, 0 };
	struct io_uring_params params = { .flags = once_in(16) ? ONE_OF(small) : ONE_OF(flags) };
	struct iovec buffer = { data, DATA_SIZE / 4 };

	close_ring();
	ring.fd = syscall(SYS_io_uring_setup, ENTRIES, &params);
	/* The rings of killed processes still count until their commands have ended. */
	if (ring.fd < 0) {
		usleep(1000);
		return;
	}
	ring.sqe_size = params.flags & IORING_SETUP_SQE128 ? 128 : 64;
	ring.cqe_size = params.flags & IORING_SETUP_CQE32 ? 32 : 16;
	ring.rings_size = params.cq_off.cqes + params.cq_entries * ring.cqe_size;
	ring.rings = mmap(NULL, ring.rings_size, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, IORING_OFF_SQ_RING);
	ring.sqes = mmap(NULL, ENTRIES * ring.sqe_size, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, IORING_OFF_SQES);
	if (ring.rings == MAP_FAILED || ring.sqes == MAP_FAILED)
		fault("no memory of the ring: %m");
	ring.sq_tail = (void *)(ring.rings + params.sq_off.tail);
	ring.sq_mask = (void *)(ring.rings + params.sq_off.ring_mask);
	ring.cq_head = (void *)(ring.rings + params.cq_off.head);
	ring.cq_tail = (void *)(ring.rings + params.cq_off.tail);
	ring.cq_mask = (void *)(ring.rings + params.cq_off.ring_mask);
	ring.cqes = ring.rings + params.cq_off.cqes;
	for (unsigned int i = 0; i < ENTRIES; i++)
		((unsigned int *)(ring.rings + params.sq_off.array))[i] = i;
	/* Fails if a part of the data isn't accessible now. */
	syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &buffer, 1);
}

static void reap(void)
{
	unsigned int head = *ring.cq_head;

	while (head != __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE)) {
		struct io_uring_cqe *cqe = (void *)(ring.cqes + (size_t)(head & *ring.cq_mask) * ring.cqe_size);

		count("command", cqe->user_data, cqe->res);
		head++;
		__atomic_store_n(ring.cq_head, head, __ATOMIC_RELEASE);
		if (ring.inflight)
			ring.inflight--;
	}
}

static void prepare(struct io_uring_sqe *sqe)
{
	static const uint32_t ops[] = { NVME_URING_CMD_IO, NVME_URING_CMD_IO, NVME_URING_CMD_IO_VEC, NVME_URING_CMD_ADMIN,
					NVME_URING_CMD_ADMIN_VEC };
	unsigned int device = below(nr_devices);
	struct nvme_passthru_cmd64 cmd;
	uint32_t op = is_control(device) ? ops[3 + below(2)] : ops[below(3)];

	memset(sqe, 0, ring.sqe_size);
	if (once_in(16)) {
		sqe->opcode = IORING_OP_ASYNC_CANCEL;
		sqe->addr = NVME_URING_CMD_IO;
		sqe->cancel_flags = once_in(2) ? IORING_ASYNC_CANCEL_ANY : 0;
		return;
	}
	if (once_in(16))
		op = ONE_OF(ops);
	if (once_in(32))
		op = _IOC(below(4), 'N', 0x80 + below(16), below(128));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = fds[device];
	sqe->cmd_op = op;
	sqe->user_data = op;
	sqe->flags = (once_in(8) ? IOSQE_ASYNC : 0) | (once_in(8) ? IOSQE_IO_LINK : 0);
	if (once_in(4)) {
		sqe->uring_cmd_flags = IORING_URING_CMD_FIXED;
		sqe->buf_index = once_in(16);
	}
	if (once_in(64))
		sqe->uring_cmd_flags = rnd();
	command(&cmd, is_control(device), op == NVME_URING_CMD_IO_VEC || op == NVME_URING_CMD_ADMIN_VEC);
	/* As struct nvme_uring_cmd, which ends before the result. */
	memcpy(sqe->cmd, &cmd, ring.sqe_size == 128 ? sizeof(struct nvme_uring_cmd) : 16);
}

static void some_commands(void)
{
	unsigned int number = 1 + below(8), tail;
	long done;

	if (ring.fd < 0 || once_in(256))
		open_ring();
	if (ring.fd < 0)
		return;
	if (ring.inflight + number > ENTRIES) {
		syscall(SYS_io_uring_enter, ring.fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0);
		reap();
		/* A ring that polls doesn't wait for what isn't polled for. */
		if (ring.inflight + number > ENTRIES)
			return;
	}
	tail = *ring.sq_tail;
	for (unsigned int i = 0; i < number; i++)
		prepare((void *)(ring.sqes + (size_t)((tail + i) & *ring.sq_mask) * ring.sqe_size));
	__atomic_store_n(ring.sq_tail, tail + number, __ATOMIC_RELEASE);
	done = syscall(SYS_io_uring_enter, ring.fd, number, 0, IORING_ENTER_GETEVENTS, NULL, 0);
	/* What the kernel didn't take, it would take the next time. */
	if (done != (long)number) {
		close_ring();
		return;
	}
	ring.inflight += number;
	reap();
}

/* --- processes ------------------------------------------------------------------ */

static void *area(size_t size, int protection)
{
	uint8_t *at = mmap(NULL, size + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED || mprotect(at + PAGE, size, protection))
		fault("no memory: %m");
	return at + PAGE;
}

static void work(uint64_t number)
{
	uint64_t turns;

	state = (seed + number) * 0x9e3779b97f4a7c15ULL | 1;
	if (user && (setgroups(0, NULL) || setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534)))
		fault("setresuid: %m");
	data = area(DATA_SIZE, PROT_READ | PROT_WRITE);
	read_only = area(PAGE, PROT_READ);
	nothing = area(PAGE, PROT_NONE);
	canary = area(CANARY_SIZE, PROT_READ | PROT_WRITE);
	memset(canary, CANARY, CANARY_SIZE);
	memset(fds, -1, sizeof(fds));
	for (turns = 0; __atomic_load_n(&shared->calls, __ATOMIC_RELAXED) < limit; turns++) {
		unsigned int device = below(nr_devices);

		if (fds[device] < 0 || once_in(100))
			reopen(device);
		switch (below(16)) {
		case 0:
			change_memory();
			break;
		case 1:
			another_call(device);
			break;
		case 2: case 3: case 4: case 5: case 6:
			some_commands();
			break;
		default:
			an_ioctl(device);
		}
		for (unsigned int i = 0; turns % 64 == 0 && i < CANARY_SIZE; i++)
			if (canary[i] != CANARY)
				fault("memory that no call named has changed: byte %u is %#x", i, canary[i]);
	}
	_exit(0);
}

static pid_t start(uint64_t number)
{
	pid_t pid = fork();

	if (pid < 0)
		err(2, "fork");
	if (pid == 0)
		work(number);
	return pid;
}

static void show_stacks(const pid_t *pids)
{
	for (int i = 0; i < WORKERS; i++) {
		char path[64], text[4096];
		int fd;
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%d/stack", pids[i]);
		fd = open(path, O_RDONLY);
		n = fd < 0 ? 0 : read(fd, text, sizeof(text));
		printf("process %d:\n%.*s", pids[i], n > 0 ? (int)n : 0, text);
		close(fd);
	}
}

/* Replaces processes that have ended, and kills one now and then. Returns how many processes are left. */
static int supervise(pid_t *pids, uint64_t *number)
{
	int left = 0;
	int ending = shared->fault[0] || __atomic_load_n(&shared->calls, __ATOMIC_RELAXED) >= limit;

	for (int i = 0; i < WORKERS; i++) {
		if (pids[i] && waitpid(pids[i], NULL, WNOHANG) == pids[i])
			pids[i] = ending ? 0 : start((*number)++);
		if (pids[i] && (ending || once_in(400))) {
			shared->killed += !ending;
			kill(pids[i], SIGKILL);
		}
		left += pids[i] != 0;
	}
	return left;
}

static void report(void)
{
	printf("%llu calls, seed %llu, %llu processes killed: %llu successes, %llu other statuses",
	       (unsigned long long)shared->calls, (unsigned long long)seed, (unsigned long long)shared->killed,
	       (unsigned long long)shared->successes, (unsigned long long)shared->statuses);
	for (int i = 0; i <= MAX_ERRNO; i++)
		if (shared->results[i])
			printf(", %llu %s", (unsigned long long)shared->results[i], strerrorname_np(i));
	printf("\n");
}

int main(int argc, char **argv)
{
	pid_t pids[WORKERS];
	uint64_t number = 0, calls = 0;
	time_t patience = 60, since = time(NULL);
	int option;

	seed = time(NULL);
	while ((option = getopt(argc, argv, "n:s:l:u")) != -1) {
		if (option == 'n')
			limit = strtoull(optarg, NULL, 0);
		else if (option == 's')
			seed = strtoull(optarg, NULL, 0);
		else if (option == 'l')
			patience = atoi(optarg);
		else if (option == 'u')
			user = 1;
		else
			errx(2, "usage: see the head of fuzz.c");
	}
	paths = argv + optind;
	nr_devices = argc - optind;
	if (nr_devices < 1 || nr_devices > MAX_DEVICES)
		errx(2, "usage: see the head of fuzz.c");
	for (unsigned int i = 0; i < nr_devices; i++)
		if (!strchr(paths[i], '/'))
			errx(2, "%s is no path", paths[i]);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		err(2, "mmap");
	state = seed | 1;
	for (int i = 0; i < WORKERS; i++)
		pids[i] = start(number++);
	while (supervise(pids, &number)) {
		if (calls != __atomic_load_n(&shared->calls, __ATOMIC_RELAXED)) {
			calls = __atomic_load_n(&shared->calls, __ATOMIC_RELAXED);
			since = time(NULL);
		} else if (time(NULL) - since > patience) {
			report();
			printf("nothing has ended for %ld s\n", (long)patience);
			show_stacks(pids);
			return 1;
		}
		usleep(10000);
	}
	report();
	if (shared->fault[0]) {
		printf("%s\n", shared->fault);
		return 1;
	}
	return 0;
}
