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

#define SAME_FUNCTION(name, result, ...) \
	static_assert(__same_type(&name, (result (*)(__VA_ARGS__))NULL), \
		      "this kernel's " #name "() takes or returns something else")

/* Functions that block/mq/dma_map_iter.rs, block/mq/inflight.rs and devcoredump.rs declare. */
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
