// SPDX-License-Identifier: GPL-2.0
/*
 * For tests only: writes to memory in place of a hostile device.
 *
 * "ADDRESS HEX" written to /sys/kernel/debug/poke puts the bytes at that
 * physical address; "ADDRESS HEX WHEN" does so once it has the bytes WHEN, at
 * most eight, and gives up after a minute. The system may sleep meanwhile.
 */
#include <linux/debugfs.h>
#include <linux/hex.h>
#include <linux/io.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

struct later {
	struct list_head list;
	struct delayed_work work;
	unsigned long end;
	size_t bytes;
	u8 *at;
	u8 data[8];
	u8 when[8];
};

/* Of writes that wait, or have waited, until the module is unloaded. */
static LIST_HEAD(laters);
static DEFINE_MUTEX(laters_lock);

static void look(struct work_struct *work)
{
	struct later *later = container_of(to_delayed_work(work), struct later, work);

	if (!memcmp(later->at, later->when, later->bytes))
		memcpy(later->at, later->data, later->bytes);
	else if (time_before(jiffies, later->end))
		schedule_delayed_work(&later->work, 1);
}

static int poke_later(u64 address, const char *hex, size_t bytes, const char *when)
{
	struct later *later;

	if (bytes > sizeof(later->data) || strlen(when) != 2 * bytes)
		return -EINVAL;
	later = kzalloc(sizeof(*later), GFP_KERNEL);
	if (!later)
		return -ENOMEM;
	later->bytes = bytes;
	later->end = jiffies + 60 * HZ;
	later->at = memremap(address, bytes, MEMREMAP_WB);
	if (!later->at || hex2bin(later->data, hex, bytes) || hex2bin(later->when, when, bytes)) {
		if (later->at)
			memunmap(later->at);
		kfree(later);
		return -EINVAL;
	}
	INIT_DELAYED_WORK(&later->work, look);
	mutex_lock(&laters_lock);
	list_add(&later->list, &laters);
	mutex_unlock(&laters_lock);
	schedule_delayed_work(&later->work, 0);
	return 0;
}

static ssize_t poke_write(struct file *file, const char __user *user, size_t len, loff_t *pos)
{
	unsigned long long address;
	char *text, *hex, *when;
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
	when = hex;
	strsep(&when, " ");
	bytes = strlen(hex) / 2;
	if (when) {
		ret = poke_later(address, hex, bytes, when);
		ret = ret ?: len;
		goto out;
	}
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
	struct later *later, *next;

	debugfs_remove(poke_file);
	list_for_each_entry_safe(later, next, &laters, list) {
		cancel_delayed_work_sync(&later->work);
		memunmap(later->at);
		kfree(later);
	}
}
module_exit(poke_exit);

MODULE_DESCRIPTION("Writes to memory as a device would, for tests");
MODULE_LICENSE("GPL");
