// SPDX-License-Identifier: GPL-2.0
/*
 * The benchmark's load: io_uring on pinned CPUs, so plain that its own instructions
 * are the same for each driver. Two ways to run it, with one or more devices:
 *
 *	load -n IOS [options] DEVICE…	exactly IOS I/Os a round, between two marks
 *					for plugin.c
 *	load -t SECONDS [options] DEVICE…
 *					a round is as many seconds for each device,
 *					in slices that take turns
 *
 *	-b BYTES  -d DEPTH  -w (write)  -s (sequential)  -p (IOPOLL)
 *	-u (passthrough commands, by the generic device of the disk)
 *	-f (buffers registered with the ring, for -u)
 *	-m MIN (completions to wait for: default DEPTH)  -c CPU (of the first job)
 *	-j JOBS (on the CPUs from there on, downwards)
 *	-k ROUNDS (in each the devices come in another order)
 *	-x SLICE_MS  -r SEED  -i IRQS (comma lists, one for each device, with / between)
 *
 * For each round and device it prints a JSON object: dev (its number), ios, ns,
 * jobs and irqs (with -n), p50, p99, p999 (ns, with -t).
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <linux/nvme_ioctl.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MARK(n) asm volatile(".byte 0x0f, 0x1f, 0x84, 0x00, " #n ", 'b', 'v', 'n'" ::: "memory")

#define MAX_DEPTH 4096
#define MAX_DEVICES 8
#define MAX_JOBS 8
/* A logarithmic histogram: 32 steps for each doubling, so within 3 per cent. */
#define STEPS 32
#define BUCKETS (64 * STEPS)

struct device {
	const char *path;
	int fd, ring;
	uint64_t blocks, next;		/* in units of the I/O's size */
	uint64_t ios;
	uint64_t hist[BUCKETS];

	unsigned int *sq_tail, *sq_mask, *cq_head, *cq_tail, *cq_mask, nsid;
	int blocksize;
	char *sqes, *cqes;
	unsigned int free[MAX_DEPTH], nr_free;
	uint64_t since[MAX_DEPTH];
};

/* One thread, with a ring for each device. */
struct job {
	pthread_t thread;
	int cpu;
	unsigned char *buffers;
	uint64_t seed;
	struct device devices[MAX_DEVICES];
};

static struct job jobs[MAX_JOBS];
static unsigned int size = 4096, depth = 1, least, nr_jobs = 1, nr_devices;
static int is_write, sequential, polled, timed, passthrough, fixed;
static size_t sqe_size = sizeof(struct io_uring_sqe), cqe_size = sizeof(struct io_uring_cqe);
static char **paths;

/* What all jobs do next, between two barriers; without a device they end. */
static struct {
	int device;
	uint64_t ios, until;
} next;
static pthread_barrier_t begin, end;

static uint64_t rnd(uint64_t *seed)
{
	/* Xorshift: the same blocks in each run. */
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static void *map(int fd, size_t len, off_t off)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, off);

	if (p == MAP_FAILED)
		err(1, "mmap");
	return p;
}

/* Replaces a disk, such as /dev/nvme0n1, by its generic device, /dev/ng0n1. */
static void open_generic(struct device *d)
{
	const char *name = strstr(d->path, "nvme");
	char path[64];

	if (!name || snprintf(path, sizeof(path), "/dev/ng%s", name + 4) >= (int)sizeof(path))
		errx(1, "%s: no generic device", d->path);
	close(d->fd);
	d->fd = open(path, O_RDWR);
	if (d->fd < 0)
		err(1, "%s", path);
	d->nsid = ioctl(d->fd, NVME_IOCTL_ID);
}

static void open_device(struct job *job, struct device *d, const char *path)
{
	struct io_uring_params p = { .flags = polled ? IORING_SETUP_IOPOLL : 0 };
	struct iovec buffers = { job->buffers, (size_t)size * depth };
	uint64_t bytes;
	char *sq, *cq;

	d->path = path;
	d->fd = open(path, O_RDWR | O_DIRECT);
	if (d->fd < 0 || ioctl(d->fd, BLKGETSIZE64, &bytes) || ioctl(d->fd, BLKSSZGET, &d->blocksize))
		err(1, "%s", path);
	if (passthrough) {
		open_generic(d);
		p.flags |= IORING_SETUP_SQE128 | IORING_SETUP_CQE32;
	}
	d->blocks = bytes / size;
	if (d->blocks < depth)
		errx(1, "%s: too small", path);
	d->ring = syscall(__NR_io_uring_setup, depth, &p);
	if (d->ring < 0)
		err(1, "io_uring_setup");
	sq = map(d->ring, p.sq_off.array + p.sq_entries * sizeof(unsigned int), IORING_OFF_SQ_RING);
	if (fixed && syscall(__NR_io_uring_register, d->ring, IORING_REGISTER_BUFFERS, &buffers, 1))
		err(1, "io_uring_register");
	cq = map(d->ring, p.cq_off.cqes + p.cq_entries * cqe_size, IORING_OFF_CQ_RING);
	d->sqes = map(d->ring, p.sq_entries * sqe_size, IORING_OFF_SQES);
	d->sq_tail = (unsigned int *)(sq + p.sq_off.tail);
	d->sq_mask = (unsigned int *)(sq + p.sq_off.ring_mask);
	for (unsigned int i = 0; i < p.sq_entries; i++)
		((unsigned int *)(sq + p.sq_off.array))[i] = i;
	d->cq_head = (unsigned int *)(cq + p.cq_off.head);
	d->cq_tail = (unsigned int *)(cq + p.cq_off.tail);
	d->cq_mask = (unsigned int *)(cq + p.cq_off.ring_mask);
	d->cqes = cq + p.cq_off.cqes;
	for (unsigned int i = 0; i < depth; i++)
		d->free[d->nr_free++] = i;
}

/* The entry for an I/O of @size bytes at @at, by a passthrough command. */
static void prepare_command(struct device *d, struct io_uring_sqe *sqe, uint64_t at, void *buffer)
{
	struct nvme_uring_cmd *cmd = (struct nvme_uring_cmd *)sqe->cmd;
	uint64_t lba = at / d->blocksize;

	memset(cmd, 0, sizeof(*cmd));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->cmd_op = NVME_URING_CMD_IO;
	sqe->uring_cmd_flags = fixed ? IORING_URING_CMD_FIXED : 0;
	cmd->opcode = is_write ? 1 : 2;
	cmd->nsid = d->nsid;
	cmd->addr = (uint64_t)buffer;
	cmd->data_len = size;
	cmd->cdw10 = lba;
	cmd->cdw11 = lba >> 32;
	cmd->cdw12 = size / d->blocksize - 1;
}

/* Fills the ring with at most @more I/Os; returns how many there are to submit. */
static unsigned int prepare(struct job *job, struct device *d, uint64_t more)
{
	unsigned int tail = *d->sq_tail, n = 0;
	uint64_t start = timed ? now() : 0;

	while (d->nr_free && n < more) {
		struct io_uring_sqe *sqe = (void *)(d->sqes + ((tail + n) & *d->sq_mask) * sqe_size);
		unsigned int i = d->free[--d->nr_free];
		uint64_t block = sequential ? d->next++ % d->blocks : rnd(&job->seed) % d->blocks;

		unsigned char *buffer = job->buffers + (size_t)i * size;

		memset(sqe, 0, sizeof(*sqe));
		sqe->fd = d->fd;
		sqe->user_data = i;
		if (passthrough) {
			prepare_command(d, sqe, block * size, buffer);
		} else {
			sqe->opcode = is_write ? IORING_OP_WRITE : IORING_OP_READ;
			sqe->off = block * size;
			sqe->addr = (uint64_t)buffer;
			sqe->len = size;
		}
		d->since[i] = start;
		n++;
	}
	__atomic_store_n(d->sq_tail, tail + n, __ATOMIC_RELEASE);
	return n;
}

static unsigned int reap(struct device *d)
{
	unsigned int head = *d->cq_head, n = 0;
	unsigned int tail = __atomic_load_n(d->cq_tail, __ATOMIC_ACQUIRE);
	uint64_t at = timed && head != tail ? now() : 0;

	for (; head != tail; head++, n++) {
		struct io_uring_cqe *cqe = (void *)(d->cqes + (head & *d->cq_mask) * cqe_size);
		unsigned int i = cqe->user_data;

		if (cqe->res != (passthrough ? 0 : (int)size))
			errx(1, "%s: an I/O returned %d", d->path, cqe->res);
		if (timed) {
			uint64_t t = at - d->since[i];
			int log = t < STEPS ? 0 : 58 - __builtin_clzll(t);

			d->hist[log * STEPS + (t >> log)]++;
		}
		d->free[d->nr_free++] = i;
	}
	__atomic_store_n(d->cq_head, head, __ATOMIC_RELEASE);
	return n;
}

/* Runs @ios I/Os, or until the time @until; ends with none in flight. */
static uint64_t run(struct job *job, struct device *d, uint64_t ios, uint64_t until)
{
	uint64_t begun = 0, done = 0;

	for (;;) {
		uint64_t more = until ? (now() < until ? depth : 0) : ios - begun;
		unsigned int n = prepare(job, d, more), flying, want;

		begun += n;
		flying = begun - done;
		if (!flying)
			return done;
		want = least < flying ? least : flying;
		if (syscall(__NR_io_uring_enter, d->ring, n, want, IORING_ENTER_GETEVENTS, NULL, 0) !=
		    (long)n)
			err(1, "io_uring_enter");
		done += reap(d);
	}
}

static uint64_t irqs(const char *list)
{
	static char buf[1 << 16];
	uint64_t sum = 0;
	ssize_t len = 0, n;
	int fd = open("/proc/interrupts", O_RDONLY);

	if (fd < 0)
		err(1, "/proc/interrupts");
	while ((n = read(fd, buf + len, sizeof(buf) - 1 - len)) > 0)
		len += n;
	close(fd);
	buf[len] = 0;
	for (char *line = strtok(buf, "\n"); line; line = strtok(NULL, "\n")) {
		char *p, *e;
		long irq = strtol(line, &p, 10);

		if (*p++ != ':')
			continue;
		for (const char *l = list; l && *l; l = strchr(l, ','), l = l ? l + 1 : l) {
			if (strtol(l, NULL, 10) != irq)
				continue;
			for (uint64_t v = strtoull(p, &e, 10); e != p; v = strtoull(p, &e, 10)) {
				sum += v;
				p = e;
			}
		}
	}
	return sum;
}

static uint64_t percentile(const uint64_t *hist, uint64_t ios, double part)
{
	uint64_t sum = 0;

	for (int i = 0; i < BUCKETS; i++) {
		sum += hist[i];
		if (sum && sum >= part * ios)
			return i < STEPS ? (uint64_t)i :
			       (uint64_t)(i % STEPS + STEPS) << (i / STEPS - 1);
	}
	return 0;
}

static void set_up(struct job *job)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(job->cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		err(1, "CPU %d", job->cpu);
	job->buffers = mmap(NULL, (size_t)size * depth, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (job->buffers == MAP_FAILED)
		err(1, "memory");
	/* Small pages always: pinning a huge one takes other instructions. */
	madvise(job->buffers, (size_t)size * depth, MADV_NOHUGEPAGE);
	memset(job->buffers, 1, (size_t)size * depth);
	for (unsigned int i = 0; i < nr_devices; i++)
		open_device(job, &job->devices[i], paths[i]);
}

static void work(struct job *job)
{
	struct device *d = &job->devices[next.device];

	d->ios += run(job, d, next.ios, next.until);
}

static void *helper(void *arg)
{
	struct job *job = arg;

	set_up(job);
	for (;;) {
		pthread_barrier_wait(&begin);
		if (next.device < 0)
			return NULL;
		work(job);
		pthread_barrier_wait(&end);
	}
}

/* Has all jobs do @ios I/Os each, or I/Os until @until, on one device. */
static uint64_t together(int device, uint64_t ios, uint64_t until)
{
	uint64_t start = now();

	next.device = device;
	next.ios = ios;
	next.until = until;
	if (nr_jobs > 1)
		pthread_barrier_wait(&begin);
	if (device >= 0) {
		work(&jobs[0]);
		if (nr_jobs > 1)
			pthread_barrier_wait(&end);
	}
	return now() - start;
}

static void shuffle(int *order)
{
	for (unsigned int i = nr_devices - 1; i > 0; i--) {
		unsigned int j = rnd(&jobs[0].seed) % (i + 1);
		int o = order[i];

		order[i] = order[j];
		order[j] = o;
	}
}

/* Prints and forgets what the jobs have of a device. */
static void report(int device, uint64_t ns, uint64_t came)
{
	static uint64_t hist[BUCKETS];
	uint64_t ios = 0;

	memset(hist, 0, sizeof(hist));
	for (unsigned int j = 0; j < nr_jobs; j++) {
		struct device *d = &jobs[j].devices[device];

		ios += d->ios;
		d->ios = 0;
		for (int i = 0; i < BUCKETS; i++)
			hist[i] += d->hist[i];
		memset(d->hist, 0, sizeof(d->hist));
	}
	printf("{\"dev\": %d, \"ios\": %lu, \"ns\": %lu", device, ios, ns);
	if (timed)
		printf(", \"p50\": %lu, \"p99\": %lu, \"p999\": %lu}\n", percentile(hist, ios, 0.5),
		       percentile(hist, ios, 0.99), percentile(hist, ios, 0.999));
	else
		printf(", \"irqs\": %lu, \"jobs\": %u}\n", came, nr_jobs);
	fflush(stdout);
}

static void count_round(const int *order, uint64_t ios, const char **irq_lists)
{
	for (unsigned int i = 0; i < nr_devices; i++) {
		uint64_t came, ns;

		/* Caches and branches are no matter here, but lazily made things are. */
		together(order[i], 256 / nr_jobs + depth, 0);
		for (unsigned int j = 0; j < nr_jobs; j++)
			jobs[j].devices[order[i]].ios = 0;
		came = irqs(irq_lists[order[i]]);
		MARK(1);
		ns = together(order[i], ios / nr_jobs, 0);
		MARK(2);
		report(order[i], ns, irqs(irq_lists[order[i]]) - came);
	}
}

static void timed_round(int *order, uint64_t length, uint64_t slice)
{
	uint64_t ns[MAX_DEVICES] = { 0 }, least_ns;

	do {
		shuffle(order);
		least_ns = length;
		for (unsigned int i = 0; i < nr_devices; i++) {
			ns[order[i]] += together(order[i], 0, now() + slice);
			if (ns[order[i]] < least_ns)
				least_ns = ns[order[i]];
		}
	} while (least_ns < length);
	for (unsigned int i = 0; i < nr_devices; i++)
		report(i, ns[i], 0);
}

int main(int argc, char **argv)
{
	uint64_t ios = 0, slice = 10000000, seed = 1;
	const char *irq_lists[MAX_DEVICES] = { 0 };
	int order[MAX_DEVICES], c, cpu = 1, rounds = 1;
	char *irq_arg = NULL;
	double seconds = 0;

	while ((c = getopt(argc, argv, "n:t:b:d:c:j:k:wspufm:x:r:i:")) != -1) {
		switch (c) {
		case 'n': ios = strtoull(optarg, NULL, 0); break;
		case 't': seconds = strtod(optarg, NULL); break;
		case 'b': size = strtoul(optarg, NULL, 0); break;
		case 'd': depth = strtoul(optarg, NULL, 0); break;
		case 'c': cpu = atoi(optarg); break;
		case 'j': nr_jobs = strtoul(optarg, NULL, 0); break;
		case 'k': rounds = atoi(optarg); break;
		case 'w': is_write = 1; break;
		case 's': sequential = 1; break;
		case 'p': polled = 1; break;
		case 'u': passthrough = 1; break;
		case 'f': fixed = 1; break;
		case 'm': least = strtoul(optarg, NULL, 0); break;
		case 'x': slice = strtoull(optarg, NULL, 0) * 1000000; break;
		case 'r': seed = strtoull(optarg, NULL, 0); break;
		case 'i': irq_arg = optarg; break;
		default: return 2;
		}
	}
	nr_devices = argc - optind;
	paths = argv + optind;
	if (nr_devices < 1 || nr_devices > MAX_DEVICES || !depth || depth > MAX_DEPTH || !size ||
	    !nr_jobs || nr_jobs > MAX_JOBS || !ios == !seconds)
		errx(2, "usage: see the head of load.c");
	timed = !ios;
	if (passthrough) {
		sqe_size *= 2;
		cqe_size *= 2;
	}
	if (!least)
		least = depth;
	for (unsigned int i = 0; i < nr_devices; i++) {
		order[i] = i;
		irq_lists[i] = irq_arg ? strsep(&irq_arg, "/") : NULL;
	}

	pthread_barrier_init(&begin, NULL, nr_jobs);
	pthread_barrier_init(&end, NULL, nr_jobs);
	for (unsigned int j = 0; j < nr_jobs; j++) {
		jobs[j].cpu = cpu - (int)j;
		jobs[j].seed = (seed * MAX_JOBS + j) * 2 + 1;
		if (j && pthread_create(&jobs[j].thread, NULL, helper, &jobs[j]))
			errx(1, "no thread");
	}
	set_up(&jobs[0]);
	if (!timed) {
		/* The plugin takes a moment to begin. */
		MARK(0);
		usleep(200000);
	}
	while (rounds--) {
		shuffle(order);
		if (timed)
			timed_round(order, (uint64_t)(seconds * 1e9), slice);
		else
			count_round(order, ios, irq_lists);
	}
	together(-1, 0, 0);
	return 0;
}
