// SPDX-License-Identifier: GPL-2.0
/*
 * For tests only: writes to memory in place of a hostile device.
 *
 * "ADDRESS HEX" written to /sys/kernel/debug/poke puts the bytes at that
 * physical address.
 */
#include <linux/debugfs.h>
#include <linux/hex.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

static ssize_t poke_write(struct file *file, const char __user *user, size_t len, loff_t *pos)
{
	unsigned long long address;
	char *text, *hex;
	ssize_t ret = -EINVAL;
	size_t bytes;
	void *at;

	if (len > 8 * PAGE_SIZE)
		return -E2BIG;
	text = memdup_user_nul(user, len);
	if (IS_ERR(text))
		return PTR_ERR(text);

	hex = strim(text);
	strsep(&hex, " ");
	if (!hex || kstrtoull(text, 16, &address))
		goto out;
	bytes = strlen(hex) / 2;
	if (!bytes || hex2bin(hex, hex, bytes))
		goto out;

	ret = -ENXIO;
	at = memremap(address, bytes, MEMREMAP_WB);
	if (!at)
		goto out;
	memcpy(at, hex, bytes);
	memunmap(at);
	ret = len;
out:
	kfree(text);
	return ret;
}

static const struct file_operations poke_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = poke_write,
};

static struct dentry *poke_file;

static int __init poke_init(void)
{
	poke_file = debugfs_create_file("poke", 0200, NULL, NULL, &poke_fops);
	return PTR_ERR_OR_ZERO(poke_file);
}
module_init(poke_init);

static void __exit poke_exit(void)
{
	debugfs_remove(poke_file);
}
module_exit(poke_exit);

MODULE_DESCRIPTION("Writes to memory as a device would, for tests");
MODULE_LICENSE("GPL");
