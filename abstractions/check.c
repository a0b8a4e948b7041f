// SPDX-License-Identifier: GPL-2.0
/*
 * Compile-time checks of the declarations that the Rust code here copies from the kernel's headers, because
 * `kernel::bindings` lacks them: macros with casts, and structures and functions of headers that bindgen
 * doesn't read. Kbuild compiles this file with the module, but doesn't link it. If a declaration differs
 * from the kernel's, the build fails.
 */
#include <linux/blkdev.h>
#include <linux/blk-mq.h>
#include <linux/blk-mq-dma.h>
#include <linux/devcoredump.h>
#include <linux/fs.h>
#include <linux/hwmon.h>

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

/* block/mq/passthrough.rs */
SAME(BLK_OPEN_WRITE, 1u << 1);

/* chrdev.rs */
SAME(FMODE_WRITE, 1u << 1);

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

/* Functions that block/mq/dma_map_iter.rs, block/mq/inflight.rs, devcoredump.rs and hwmon.rs declare. */
SAME_FUNCTION(blk_rq_dma_map_iter_start, bool, struct request *, struct device *,
	      struct dma_iova_state *, struct blk_dma_iter *);
SAME_FUNCTION(blk_rq_dma_map_iter_next, bool, struct request *, struct device *,
	      struct blk_dma_iter *);
#ifdef CONFIG_FAIL_IO_TIMEOUT
SAME_FUNCTION(__blk_should_fake_timeout, bool, struct request_queue *);
#endif
#ifdef CONFIG_DEV_COREDUMP
SAME_FUNCTION(dev_coredumpv, void, struct device *, void *, size_t, gfp_t);
#endif
#if IS_REACHABLE(CONFIG_HWMON)
SAME_FUNCTION(hwmon_device_register_with_info, struct device *, struct device *, const char *, void *,
	      const struct hwmon_chip_info *, const struct attribute_group **);
SAME_FUNCTION(hwmon_device_unregister, void, struct device *);
#endif
