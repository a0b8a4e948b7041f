// SPDX-License-Identifier: GPL-2.0
/*
 * A QEMU TCG plugin that counts how often each kernel instruction of the guest is
 * executed between two marks.
 *
 * A mark is a long NOP that no compiler makes: nopl 0x6e7662NN(%rax,%rax,1), see
 * load.c. NN = 0 comes first, from which on the plugin counts at all: until then the
 * guest runs at its full speed. 1 begins a section; 2 ends it and writes its counts
 * to OUT/counts.<n>, n from 0: one line "address all own" for each instruction, how
 * often all CPUs and how often the CPU with the mark executed it. Instructions of
 * programs are one line, "user". Both marks also go to QEMU's log, so that its
 * trace events can be told apart by section.
 *
 * Counted is each instruction, not each translation block: QEMU leaves a block in
 * the middle at an MMIO access and starts another there, so that block counts are
 * wrong for just the code that rings doorbells (629 for the C driver's 616 at
 * depth 1).
 *
 *	-plugin plugin.so,out=DIR -d plugin -D LOG
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * What is used of QEMU's plugin API, version 4 (QEMU 10.0); its header is in no
 * package of Debian trixie.
 */
#define API __attribute__((visibility("default")))
typedef uint64_t qemu_plugin_id_t;
typedef struct {
	const char *target_name;
	struct {
		int min;
		int cur;
	} version;
	bool system_emulation;
	struct {
		int smp_vcpus;
		int max_vcpus;
	} system;
} qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_scoreboard;
typedef struct {
	struct qemu_plugin_scoreboard *score;
	size_t offset;
} qemu_plugin_u64;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };

API extern int qemu_plugin_version;
API int qemu_plugin_install(qemu_plugin_id_t, const qemu_info_t *, int, char **);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t,
		void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *,
		void (*)(unsigned int, void *), enum qemu_plugin_cb_flags, void *);
void qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(struct qemu_plugin_insn *,
		enum qemu_plugin_op, qemu_plugin_u64, uint64_t);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *, void *, size_t);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
struct qemu_plugin_scoreboard *qemu_plugin_scoreboard_new(size_t);
void qemu_plugin_reset(qemu_plugin_id_t, void (*)(qemu_plugin_id_t));
uint64_t qemu_plugin_u64_sum(qemu_plugin_u64);
uint64_t qemu_plugin_u64_get(qemu_plugin_u64, unsigned int);
void qemu_plugin_outs(const char *);

int qemu_plugin_version = 4;

/* Counters: 0 is for programs, the last for what found no room. */
#define COUNTERS (1u << 20)
#define FULL (COUNTERS - 1)

static struct qemu_plugin_scoreboard *score;
static uint64_t addr_of[COUNTERS];
static uint64_t before[COUNTERS][2];
static unsigned int used = 1;

/* Open addressing: which counter an address has; 0 is free. */
#define SLOTS (COUNTERS * 2)
static uint32_t slots[SLOTS];
/* Several CPUs may translate, and one reach a mark, at once. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static const char *out_dir;
static unsigned int section;
static qemu_plugin_id_t self;
static bool counting;

static qemu_plugin_u64 counter(unsigned int i)
{
	return (qemu_plugin_u64){ score, (size_t)i * sizeof(uint64_t) };
}

static unsigned int counter_of(uint64_t addr)
{
	uint32_t slot = (addr * 0x9e3779b97f4a7c15u >> 40) % SLOTS;

	while (slots[slot]) {
		if (addr_of[slots[slot]] == addr)
			return slots[slot];
		slot = (slot + 1) % SLOTS;
	}
	if (used == FULL)
		return FULL;
	addr_of[used] = addr;
	slots[slot] = used;
	return used++;
}

static void begin(unsigned int cpu, __attribute__((unused)) void *data)
{
	pthread_mutex_lock(&mutex);
	for (unsigned int i = 0; i < COUNTERS; i++) {
		if (i >= used && i != FULL)
			continue;
		before[i][0] = qemu_plugin_u64_sum(counter(i));
		before[i][1] = qemu_plugin_u64_get(counter(i), cpu);
	}
	pthread_mutex_unlock(&mutex);
	qemu_plugin_outs("bench: begin\n");
}

static void end(unsigned int cpu, __attribute__((unused)) void *data)
{
	char name[4096];
	FILE *f;

	qemu_plugin_outs("bench: end\n");
	pthread_mutex_lock(&mutex);
	snprintf(name, sizeof(name), "%s/counts.%u", out_dir, section++);
	f = fopen(name, "w");
	if (!f) {
		perror(name);
		exit(1);
	}
	for (unsigned int i = 0; i < COUNTERS; i++) {
		uint64_t all, own;

		if (i >= used && i != FULL)
			continue;
		all = qemu_plugin_u64_sum(counter(i)) - before[i][0];
		own = qemu_plugin_u64_get(counter(i), cpu) - before[i][1];
		if (!all)
			continue;
		if (i == 0)
			fprintf(f, "user");
		else if (i == FULL)
			fprintf(f, "full");
		else
			fprintf(f, "%" PRIx64, addr_of[i]);
		fprintf(f, " %" PRIu64 " %" PRIu64 "\n", all, own);
	}
	if (fclose(f)) {
		perror(name);
		exit(1);
	}
	pthread_mutex_unlock(&mutex);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);

static void restarted(qemu_plugin_id_t id)
{
	counting = true;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
}

/* QEMU drops what it translated so far, and with that what isn't counted. */
static void arm(__attribute__((unused)) unsigned int cpu, __attribute__((unused)) void *data)
{
	static bool asked;

	pthread_mutex_lock(&mutex);
	if (!asked)
		qemu_plugin_reset(self, restarted);
	asked = true;
	pthread_mutex_unlock(&mutex);
}

/* The number of the mark that an instruction is, or -1. */
static int mark(const struct qemu_plugin_insn *insn)
{
	static const uint8_t nopl[] = { 0x0f, 0x1f, 0x84, 0x00 }, magic[] = { 'b', 'v', 'n' };
	uint8_t b[8];

	if (qemu_plugin_insn_size(insn) != sizeof(b) ||
	    qemu_plugin_insn_data(insn, b, sizeof(b)) != sizeof(b) ||
	    memcmp(b, nopl, sizeof(nopl)) || memcmp(b + 5, magic, sizeof(magic)))
		return -1;
	return b[4];
}

static void translated(__attribute__((unused)) qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	static void (*const on_mark[])(unsigned int, void *) = { arm, begin, end };
	size_t n = qemu_plugin_tb_n_insns(tb);

	pthread_mutex_lock(&mutex);
	for (size_t i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint64_t addr = qemu_plugin_insn_vaddr(insn);
		bool kernel = addr >> 63;
		int number = kernel ? -1 : mark(insn);

		if (number >= 0 && number <= 2)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_mark[number],
							       QEMU_PLUGIN_CB_NO_REGS, NULL);
		else if (counting)
			qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(insn,
					QEMU_PLUGIN_INLINE_ADD_U64,
					counter(kernel ? counter_of(addr) : 0), 1);
	}
	pthread_mutex_unlock(&mutex);
}

API int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "out=", 4))
			out_dir = argv[i] + 4;
	}
	if (!out_dir || strcmp(info->target_name, "x86_64")) {
		fprintf(stderr, "bench plugin: needs out=DIR, and an x86_64 guest\n");
		return 1;
	}
	self = id;
	score = qemu_plugin_scoreboard_new(COUNTERS * sizeof(uint64_t));
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
