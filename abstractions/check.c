// SPDX-License-Identifier: GPL-2.0
/*
 * Compile-time checks of the declarations that the Rust code here copies from the kernel's headers, because
 * `kernel::bindings` lacks them: macros with casts, and structures and functions of headers that bindgen
 * doesn't read. Kbuild compiles this file with the module, but doesn't link it. If a declaration differs
 * from the kernel's, the build fails.
 */
#include <linux/blkdev.h>
#include <linux/version.h>
#include <linux/blk-integrity.h>
#include <linux/blk-mq.h>
#include <linux/blk-mq-dma.h>
#include <linux/devcoredump.h>
#include <linux/dmi.h>
#include <linux/fs.h>
#include <linux/hwmon.h>
#include <linux/io_uring/cmd.h>
#include <linux/pr.h>
#include <linux/trace_events.h>
#include <xen/xen.h>

#define SAME(theirs, ours) \
	static_assert((__force u32)(theirs) == (ours), "this kernel's " #theirs " isn't " #ours)

/* BLK_FEAT_* in block/mq/gen_disk.rs */
SAME(BLK_FEAT_WRITE_CACHE, 1u << 0);
SAME(BLK_FEAT_FUA, 1u << 1);
SAME(BLK_FEAT_IO_STAT, 1u << 4);
SAME(BLK_FEAT_NOWAIT, 1u << 7);
SAME(BLK_FEAT_POLL, 1u << 9);
SAME(BLK_FEAT_PCI_P2PDMA, 1u << 12);
SAME(BLK_FEAT_ATOMIC_WRITES, 1u << 14);

/* Status in block/mq/request.rs */
SAME(BLK_STS_OK, 0);
SAME(BLK_STS_NOTSUPP, 1);
SAME(BLK_STS_TIMEOUT, 2);
SAME(BLK_STS_NOSPC, 3);
SAME(BLK_STS_TRANSPORT, 4);
SAME(BLK_STS_TARGET, 5);
SAME(BLK_STS_RESV_CONFLICT, 6);
SAME(BLK_STS_MEDIUM, 7);
SAME(BLK_STS_PROTECTION, 8);
SAME(BLK_STS_RESOURCE, 9);
SAME(BLK_STS_IOERR, 10);
SAME(BLK_STS_OFFLINE, 16);
SAME(BLK_STS_INVAL, 19);

/* dmi.rs */
SAME(DMI_SYS_VENDOR, 6);
SAME(DMI_PRODUCT_NAME, 7);
SAME(DMI_BOARD_VENDOR, 13);
SAME(DMI_BOARD_NAME, 14);

/* block/mq/integrity.rs */
SAME(BLK_INTEGRITY_NOVERIFY, 1u << 0);
SAME(BLK_INTEGRITY_NOGENERATE, 1u << 1);
SAME(BLK_INTEGRITY_DEVICE_CAPABLE, 1u << 2);
SAME(BLK_INTEGRITY_REF_TAG, 1u << 3);
SAME(BLK_SPLIT_INTERVAL_CAPABLE, 1u << 5);
SAME(BIP_CHECK_GUARD, 1u << 5);
SAME(BIP_CHECK_REFTAG, 1u << 6);
SAME(BIP_CHECK_APPTAG, 1u << 7);

/* block/mq/passthrough.rs */
SAME(BLK_OPEN_WRITE, 1u << 1);

/* block/mq/reservation.rs */
SAME(PR_STS_SUCCESS, 0x0);
SAME(PR_STS_IOERR, 0x2);
SAME(PR_STS_RESERVATION_CONFLICT, 0x18);
SAME(PR_STS_PATH_FAILED, 0x10000);
SAME(PR_FL_IGNORE_KEY, 1u << 0);
SAME(PR_WRITE_EXCLUSIVE, 1);
SAME(PR_EXCLUSIVE_ACCESS, 2);
SAME(PR_WRITE_EXCLUSIVE_REG_ONLY, 3);
SAME(PR_EXCLUSIVE_ACCESS_REG_ONLY, 4);
SAME(PR_WRITE_EXCLUSIVE_ALL_REGS, 5);
SAME(PR_EXCLUSIVE_ACCESS_ALL_REGS, 6);

/* io_uring.rs */
SAME(FMODE_WRITE, 1u << 1);
SAME(IO_URING_F_COMPLETE_DEFER, 1u << 0);
SAME(IO_URING_F_NONBLOCK, 1u << 31);
SAME(IO_URING_F_SQE128, 1u << 8);
SAME(IO_URING_F_CQE32, 1u << 9);
SAME(IO_URING_F_IOPOLL, 1u << 10);
SAME(IO_URING_F_COMPAT, 1u << 12);
SAME(IOU_F_TWQ_LAZY_WAKE, 1u << 0);
SAME(IORING_URING_CMD_FIXED, 1u << 0);
static_assert(offsetof(struct io_uring_sqe, cmd) == 48 && sizeof(struct io_uring_sqe) == 64,
	      "this kernel has cmd elsewhere in struct io_uring_sqe");

/* block/mq/dma_map_iter.rs */
SAME(XEN_NATIVE, 0);

/* BlkMapIter and BlkDmaIter in block/mq/dma_map_iter.rs */
struct our_map_iter {
	struct bvec_iter iter;
	struct bio *bio;
	struct bio_vec *bvecs;
	bool is_integrity;
};

struct our_dma_iter {
	dma_addr_t addr;
	u32 len;
	struct pci_p2pdma_map_state p2pdma;
	blk_status_t status;
	struct our_map_iter iter;
};

#define SAME_SIZE(theirs, ours) \
	static_assert(sizeof(struct theirs) == sizeof(struct ours), \
		      "this kernel's struct " #theirs " has other fields")
#define SAME_PLACE(theirs, ours, field) \
	static_assert(offsetof(struct theirs, field) == offsetof(struct ours, field) && \
		      sizeof_field(struct theirs, field) == sizeof_field(struct ours, field), \
		      "this kernel has " #field " elsewhere in struct " #theirs)
#define SAME_FIELD(theirs, ours, field) \
	SAME_PLACE(theirs, ours, field); \
	static_assert(__same_type(((struct theirs *)0)->field, ((struct ours *)0)->field), \
		      "this kernel's " #field " in struct " #theirs " has another type")

SAME_SIZE(blk_map_iter, our_map_iter);
SAME_FIELD(blk_map_iter, our_map_iter, iter);
SAME_FIELD(blk_map_iter, our_map_iter, bio);
SAME_FIELD(blk_map_iter, our_map_iter, bvecs);
SAME_FIELD(blk_map_iter, our_map_iter, is_integrity);

SAME_SIZE(blk_dma_iter, our_dma_iter);
SAME_FIELD(blk_dma_iter, our_dma_iter, addr);
SAME_FIELD(blk_dma_iter, our_dma_iter, len);
SAME_FIELD(blk_dma_iter, our_dma_iter, p2pdma);
SAME_FIELD(blk_dma_iter, our_dma_iter, status);
SAME_PLACE(blk_dma_iter, our_dma_iter, iter);

/* Payload in block/mq/integrity.rs */
struct our_integrity_payload {
	struct bvec_iter bip_iter;
	unsigned short bip_vcnt;
	unsigned short bip_max_vcnt;
	unsigned short bip_flags;
	u16 app_tag;
	struct bio_vec *bip_vec;
};

SAME_SIZE(bio_integrity_payload, our_integrity_payload);
SAME_FIELD(bio_integrity_payload, our_integrity_payload, bip_iter);
SAME_FIELD(bio_integrity_payload, our_integrity_payload, bip_flags);
SAME_FIELD(bio_integrity_payload, our_integrity_payload, app_tag);
SAME_FIELD(bio_integrity_payload, our_integrity_payload, bip_vec);

/* Cmd, Kiocb, io_tw_req and io_tw_state in io_uring.rs */
struct our_uring_cmd {
	struct file *file;
	const struct io_uring_sqe *sqe;
	u32 cmd_op;
	u32 flags;
	u8 pdu[32];
	u8 unused[8];
};

struct our_kiocb {
	struct our_uring_cmd cmd;
	u8 opcode[4];
	u64 flags;
	u64 cqe[2];
	struct io_ring_ctx *ctx;
};

struct our_tw_req {
	struct io_kiocb *req;
};

struct our_tw_state {
	bool cancel;
};

SAME_SIZE(io_uring_cmd, our_uring_cmd);
SAME_FIELD(io_uring_cmd, our_uring_cmd, file);
SAME_FIELD(io_uring_cmd, our_uring_cmd, sqe);
SAME_FIELD(io_uring_cmd, our_uring_cmd, cmd_op);
SAME_FIELD(io_uring_cmd, our_uring_cmd, flags);
SAME_FIELD(io_uring_cmd, our_uring_cmd, pdu);
SAME_PLACE(io_kiocb, our_kiocb, cmd);
SAME_FIELD(io_kiocb, our_kiocb, ctx);
SAME_SIZE(io_tw_req, our_tw_req);
SAME_FIELD(io_tw_req, our_tw_req, req);
SAME_SIZE(io_tw_state, our_tw_state);
SAME_FIELD(io_tw_state, our_tw_state, cancel);

/* PrOps, PrKeys and PrHeldReservation in block/mq/reservation.rs */
struct our_pr_ops {
	int (*pr_register)(struct block_device *bdev, u64 old_key, u64 new_key, u32 flags);
	int (*pr_reserve)(struct block_device *bdev, u64 key, enum pr_type type, u32 flags);
	int (*pr_release)(struct block_device *bdev, u64 key, enum pr_type type);
	int (*pr_preempt)(struct block_device *bdev, u64 old_key, u64 new_key, enum pr_type type,
			  bool abort);
	int (*pr_clear)(struct block_device *bdev, u64 key);
	int (*pr_read_keys)(struct block_device *bdev, struct pr_keys *keys_info);
	int (*pr_read_reservation)(struct block_device *bdev, struct pr_held_reservation *rsv);
};

struct our_pr_keys {
	u32 generation;
	u32 num_keys;
	u64 keys[];
};

struct our_pr_held_reservation {
	u64 key;
	u32 generation;
	enum pr_type type;
};

static_assert(sizeof(enum pr_type) == sizeof(unsigned int));
SAME_SIZE(pr_ops, our_pr_ops);
SAME_FIELD(pr_ops, our_pr_ops, pr_register);
SAME_FIELD(pr_ops, our_pr_ops, pr_reserve);
SAME_FIELD(pr_ops, our_pr_ops, pr_release);
SAME_FIELD(pr_ops, our_pr_ops, pr_preempt);
SAME_FIELD(pr_ops, our_pr_ops, pr_clear);
SAME_FIELD(pr_ops, our_pr_ops, pr_read_keys);
SAME_FIELD(pr_ops, our_pr_ops, pr_read_reservation);
SAME_SIZE(pr_keys, our_pr_keys);
SAME_FIELD(pr_keys, our_pr_keys, generation);
SAME_FIELD(pr_keys, our_pr_keys, num_keys);
static_assert(offsetof(struct pr_keys, keys) == offsetof(struct our_pr_keys, keys));
SAME_SIZE(pr_held_reservation, our_pr_held_reservation);
SAME_FIELD(pr_held_reservation, our_pr_held_reservation, key);
SAME_FIELD(pr_held_reservation, our_pr_held_reservation, generation);
SAME_FIELD(pr_held_reservation, our_pr_held_reservation, type);

/* File, LABEL and TEMPERATURE in hwmon.rs */
SAME(hwmon_temp_input, 1);
SAME(hwmon_temp_min, 5);
SAME(hwmon_temp_max, 7);
SAME(hwmon_temp_crit, 9);
SAME(hwmon_temp_alarm, 13);
SAME(hwmon_temp_label, 21);
SAME(hwmon_temp, 1);

/* Ops, Channels and ChipInfo in hwmon.rs */
struct our_hwmon_ops {
	umode_t visible;
	umode_t (*is_visible)(const void *data, enum hwmon_sensor_types type, u32 attr, int channel);
	int (*read)(struct device *dev, enum hwmon_sensor_types type, u32 attr, int channel, long *value);
	int (*read_string)(struct device *dev, enum hwmon_sensor_types type, u32 attr, int channel,
			   const char **string);
	int (*write)(struct device *dev, enum hwmon_sensor_types type, u32 attr, int channel, long value);
};

struct our_hwmon_channel_info {
	enum hwmon_sensor_types type;
	const u32 *config;
};

struct our_hwmon_chip_info {
	const struct hwmon_ops *ops;
	const struct hwmon_channel_info *const *info;
};

static_assert(sizeof(enum hwmon_sensor_types) == sizeof(unsigned int));
SAME_SIZE(hwmon_ops, our_hwmon_ops);
SAME_FIELD(hwmon_ops, our_hwmon_ops, visible);
SAME_FIELD(hwmon_ops, our_hwmon_ops, is_visible);
SAME_FIELD(hwmon_ops, our_hwmon_ops, read);
SAME_FIELD(hwmon_ops, our_hwmon_ops, read_string);
SAME_FIELD(hwmon_ops, our_hwmon_ops, write);
SAME_SIZE(hwmon_channel_info, our_hwmon_channel_info);
SAME_FIELD(hwmon_channel_info, our_hwmon_channel_info, type);
SAME_FIELD(hwmon_channel_info, our_hwmon_channel_info, config);
SAME_SIZE(hwmon_chip_info, our_hwmon_chip_info);
SAME_FIELD(hwmon_chip_info, our_hwmon_chip_info, ops);
SAME_FIELD(hwmon_chip_info, our_hwmon_chip_info, info);

#define SAME_FUNCTION(name, result, ...) \
	static_assert(__same_type(&name, (result (*)(__VA_ARGS__))NULL), \
		      "this kernel's " #name "() takes or returns something else")

/*
 * Functions that block/mq/dma_map_iter.rs, block/mq/inflight.rs, devcoredump.rs, dmi.rs, hwmon.rs and
 * io_uring.rs declare.
 */
SAME_FUNCTION(blk_rq_dma_map_iter_start, bool, struct request *, struct device *,
	      struct dma_iova_state *, struct blk_dma_iter *);
SAME_FUNCTION(blk_rq_dma_map_iter_next, bool, struct request *, struct device *,
	      struct blk_dma_iter *);
#ifdef CONFIG_BLK_DEV_INTEGRITY
SAME_FUNCTION(bio_integrity_alloc, struct bio_integrity_payload *, struct bio *, gfp_t,
	      unsigned int);
SAME_FUNCTION(bio_integrity_add_page, int, struct bio *, struct page *, unsigned int,
	      unsigned int);
SAME_FUNCTION(blk_rq_integrity_map_user, int, struct request *, void __user *, ssize_t);
#endif
#ifdef CONFIG_FAIL_IO_TIMEOUT
SAME_FUNCTION(__blk_should_fake_timeout, bool, struct request_queue *);
#endif
#ifdef CONFIG_DMI
SAME_FUNCTION(dmi_match, bool, enum dmi_field, const char *);
static_assert(sizeof(enum dmi_field) == sizeof(unsigned int));
#endif
#ifdef CONFIG_DEV_COREDUMP
SAME_FUNCTION(dev_coredumpv, void, struct device *, void *, size_t, gfp_t);
#endif
#ifdef CONFIG_IO_URING
static_assert(__same_type(io_req_tw_func_t, void (*)(struct io_tw_req, struct io_tw_state)),
	      "this kernel's io_req_tw_func_t takes or returns something else");
SAME_FUNCTION(__io_uring_cmd_done, void, struct io_uring_cmd *, s32, u64, unsigned int, bool);
SAME_FUNCTION(__io_uring_cmd_do_in_task, void, struct io_uring_cmd *, io_req_tw_func_t, unsigned int);
SAME_FUNCTION(io_uring_cmd_import_fixed, int, u64, unsigned long, int, struct iov_iter *,
	      struct io_uring_cmd *, unsigned int);
SAME_FUNCTION(io_uring_cmd_import_fixed_vec, int, struct io_uring_cmd *, const struct iovec __user *,
	      size_t, int, struct iov_iter *, unsigned int);
#endif
#if IS_REACHABLE(CONFIG_HWMON)
SAME_FUNCTION(hwmon_device_register_with_info, struct device *, struct device *, const char *, void *,
	      const struct hwmon_chip_info *, const struct attribute_group **);
SAME_FUNCTION(hwmon_device_unregister, void, struct device *);
#endif

/* The structures of trace/event.rs: those of a trace event, where the kernel has them. */
#if defined(CONFIG_EVENT_TRACING) && (defined(CONFIG_X86_64) || defined(CONFIG_ARM64)) && defined(CONFIG_SMP)
SAME(TRACE_EVENT_FL_TRACEPOINT, 1 << 3);
SAME(EVENT_FILE_FL_SOFT_DISABLED, 1 << 5);
SAME(EVENT_FILE_FL_TRIGGER_MODE, 1 << 6);
SAME(EVENT_FILE_FL_TRIGGER_COND, 1 << 7);
SAME(EVENT_FILE_FL_PID_FILTER, 1 << 8);
SAME(TRACE_TYPE_HANDLED, 1);
SAME(FILTER_OTHER, 0);

struct our_event_field {
	const char *type;
	const char *name;
	int size;
	int align;
	unsigned int is_signed:1;
	unsigned int needs_test:1;
	int filter_type;
	int len;
};
SAME_SIZE(trace_event_fields, our_event_field);
SAME_PLACE(trace_event_fields, our_event_field, type);
SAME_PLACE(trace_event_fields, our_event_field, name);
SAME_PLACE(trace_event_fields, our_event_field, size);
SAME_PLACE(trace_event_fields, our_event_field, align);
SAME_PLACE(trace_event_fields, our_event_field, filter_type);
SAME_PLACE(trace_event_fields, our_event_field, len);

struct our_event_functions {
	trace_print_func trace;
	void *others[3];
};
SAME_SIZE(trace_event_functions, our_event_functions);
SAME_FIELD(trace_event_functions, our_event_functions, trace);

struct our_trace_event {
	struct hlist_node node;
	int type;
	struct trace_event_functions *funcs;
};
SAME_SIZE(trace_event, our_trace_event);
SAME_FIELD(trace_event, our_trace_event, type);
SAME_FIELD(trace_event, our_trace_event, funcs);

struct our_event_class {
	const char *system;
	void *probe;
#ifdef CONFIG_PERF_EVENTS
	void *perf_probe;
#endif
	int (*reg)(struct trace_event_call *, enum trace_reg, void *);
	struct trace_event_fields *fields_array;
	struct list_head *(*get_fields)(struct trace_event_call *);
	struct list_head fields;
	int (*raw_init)(struct trace_event_call *);
#if defined(CONFIG_BPF_EVENTS) && LINUX_VERSION_CODE >= KERNEL_VERSION(7, 3, 0)
	const u32 *btf_ids;
#endif
};
SAME_SIZE(trace_event_class, our_event_class);
SAME_FIELD(trace_event_class, our_event_class, system);
SAME_FIELD(trace_event_class, our_event_class, probe);
#ifdef CONFIG_PERF_EVENTS
SAME_FIELD(trace_event_class, our_event_class, perf_probe);
#endif
SAME_FIELD(trace_event_class, our_event_class, reg);
SAME_FIELD(trace_event_class, our_event_class, fields_array);
SAME_FIELD(trace_event_class, our_event_class, get_fields);
SAME_FIELD(trace_event_class, our_event_class, fields);
SAME_FIELD(trace_event_class, our_event_class, raw_init);
#if defined(CONFIG_BPF_EVENTS) && LINUX_VERSION_CODE >= KERNEL_VERSION(7, 3, 0)
SAME_FIELD(trace_event_class, our_event_class, btf_ids);
#endif

struct our_event_call {
	struct list_head list;
	struct trace_event_class *class;
	struct tracepoint *tp;
	struct trace_event event;
	char *print_fmt;
	void *module;
	void *data;
	int flags;
#ifdef CONFIG_PERF_EVENTS
	int perf_refcount;
	struct hlist_head __percpu *perf_events;
	struct bpf_prog_array __rcu *prog_array;
	int (*perf_perm)(struct trace_event_call *, struct perf_event *);
#endif
};
SAME_SIZE(trace_event_call, our_event_call);
SAME_FIELD(trace_event_call, our_event_call, class);
SAME_FIELD(trace_event_call, our_event_call, tp);
SAME_FIELD(trace_event_call, our_event_call, event);
SAME_FIELD(trace_event_call, our_event_call, print_fmt);
SAME_FIELD(trace_event_call, our_event_call, flags);
#ifdef CONFIG_PERF_EVENTS
SAME_PLACE(trace_event_call, our_event_call, perf_events);
SAME_PLACE(trace_event_call, our_event_call, prog_array);
#endif

/* Only the beginning. */
struct our_event_file {
	struct list_head list;
	struct trace_event_call *event_call;
	void *others[4];
	struct list_head triggers;
	unsigned long flags;
};
SAME_FIELD(trace_event_file, our_event_file, event_call);
SAME_FIELD(trace_event_file, our_event_file, triggers);
SAME_FIELD(trace_event_file, our_event_file, flags);

struct our_event_buffer {
	void *buffer;
	void *event;
	struct trace_event_file *trace_file;
	void *entry;
	unsigned int trace_ctx;
	void *regs;
};
SAME_SIZE(trace_event_buffer, our_event_buffer);

struct our_trace_entry {
	unsigned short type;
	unsigned char flags;
	unsigned char preempt_count;
	int pid;
};
SAME_SIZE(trace_entry, our_trace_entry);

struct our_trace_seq {
	struct seq_buf seq;
	size_t readpos;
	int full;
	char buffer[8192 - (sizeof(struct seq_buf) + sizeof(size_t) + sizeof(int))];
};
SAME_SIZE(trace_seq, our_trace_seq);

/* Only the beginning. */
struct our_trace_iterator {
	void *others[4];
	int cpu_file;
	struct mutex mutex;
	void *buffer_iter;
	unsigned long iter_flags;
	void *temp;
	unsigned int temp_size;
	char *fmt;
	unsigned int fmt_size;
	atomic_t wait_index;
	struct our_trace_seq tmp_seq;
	cpumask_var_t started;
	bool closed;
	bool snapshot;
	struct our_trace_seq seq;
	struct trace_entry *ent;
};
SAME_PLACE(trace_iterator, our_trace_iterator, tmp_seq);
SAME_PLACE(trace_iterator, our_trace_iterator, seq);
SAME_FIELD(trace_iterator, our_trace_iterator, ent);

/* What trace/event.rs counts itself: the readers of tracepoint_srcu, and the preemption count. */
static_assert(__same_type(tracepoint_srcu, struct srcu_struct) &&
	      sizeof_field(struct srcu_ctr, srcu_locks) == 8 &&
	      sizeof_field(struct srcu_ctr, srcu_unlocks) == 8 && !IS_ENABLED(CONFIG_NEED_SRCU_NMI_SAFE),
	      "this kernel counts the readers of tracepoints otherwise");
static_assert(PREEMPT_OFFSET == 1, "this kernel counts preemption otherwise");
#ifdef CONFIG_X86_64
static_assert(sizeof(__preempt_count) == (IS_ENABLED(CONFIG_HAS_SEPARATE_PREEMPT_RESCHED_BITS) ? 8 : 4),
	      "this kernel counts preemption otherwise");
#endif

SAME_FUNCTION(trace_event_raw_init, int, struct trace_event_call *);
SAME_FUNCTION(trace_event_reg, int, struct trace_event_call *, enum trace_reg, void *);
SAME_FUNCTION(trace_event_buffer_reserve, void *, struct trace_event_buffer *,
	      struct trace_event_file *, unsigned long);
SAME_FUNCTION(trace_event_buffer_commit, void, struct trace_event_buffer *);
SAME_FUNCTION(__trace_trigger_soft_disabled, bool, struct trace_event_file *);
SAME_FUNCTION(trace_raw_output_prep, int, struct trace_iterator *, struct trace_event *);
SAME_FUNCTION(trace_event_printf, void, struct trace_iterator *, const char *, ...);
SAME_FUNCTION(trace_handle_return, enum print_line_t, struct trace_seq *);
#ifdef CONFIG_PERF_EVENTS
SAME_FUNCTION(perf_trace_buf_alloc, void *, int, struct pt_regs **, int *);
SAME_FUNCTION(perf_trace_run_bpf_submit, void, void *, int, int, struct trace_event_call *, u64,
	      struct pt_regs *, struct hlist_head *, struct task_struct *);
#endif
#endif
