// SPDX-License-Identifier: GPL-2.0
/*
 * For tests only: opens a disk, and asks its driver for the disk's unique identifier, as the pNFS server does.
 *
 *	echo -n /dev/nvme900n1 >/sys/module/unique/parameters/disk
 *	cat /sys/module/unique/parameters/disk
 *
 * prints the identifier in the form of an EUI-64, in hexadecimal, or a negative error number. The disk stays open until
 * another, or an empty line, is written.
 */
#include <linux/blkdev.h>
#include <linux/module.h>

static struct file *file;

static void close_disk(void)
{
	if (file)
		bdev_fput(file);
	file = NULL;
}

/* The kernel calls this and disk_get() one at a time. */
static int disk_set(const char *path, const struct kernel_param *kp)
{
	struct file *opened;

	close_disk();
	if (*path == '\n')
		return 0;
	opened = bdev_file_open_by_path(path, BLK_OPEN_READ, NULL, NULL);
	if (IS_ERR(opened))
		return PTR_ERR(opened);
	file = opened;
	return 0;
}

static int disk_get(char *buffer, const struct kernel_param *kp)
{
	struct gendisk *disk;
	int len = -EOPNOTSUPP;
	u8 id[16];

	if (!file)
		return -ENODATA;
	disk = file_bdev(file)->bd_disk;
	if (disk->fops->get_unique_id)
		len = disk->fops->get_unique_id(disk, id, BLK_UID_EUI64);
	if (len < 0)
		return scnprintf(buffer, PAGE_SIZE, "%d\n", len);
	return scnprintf(buffer, PAGE_SIZE, "%*phN\n", len, id);
}

static const struct kernel_param_ops disk_ops = { .set = disk_set, .get = disk_get };
module_param_cb(disk, &disk_ops, NULL, 0600);
MODULE_PARM_DESC(disk, "Write: path of a disk; read: its identifier");

static int __init unique_init(void)
{
	return 0;
}
module_init(unique_init);

static void __exit unique_exit(void)
{
	close_disk();
}
module_exit(unique_exit);

MODULE_DESCRIPTION("Asks a disk's driver for the unique identifier, for tests");
MODULE_LICENSE("GPL");
