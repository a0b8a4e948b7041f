// SPDX-License-Identifier: GPL-2.0
/*
 * For tests only: makes a call of a kernel function fail, counts DMA memory that is freed while its NVMe controller is
 * enabled, and sets bits of the controller's status.
 *
 *	insmod fail.ko device=0000:01:00.0 function=dma_alloc_attrs nth=3 value=0
 *
 * makes the third call from now on return 0. If the function's first argument is a struct device or
 * pci_dev, as for dma_* and pci_*, only calls for this device count.
 *
 *	insmod fail.ko device=0000:01:00.0 csts=0x20
 *
 * has Rust code read the register CSTS with bit 5 set, at all controllers, until the module is unloaded.
 */
#include <linux/io.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/pci.h>

static char *device;
module_param(device, charp, 0400);
MODULE_PARM_DESC(device, "PCI address of the controller");
static char *function;
module_param(function, charp, 0400);
MODULE_PARM_DESC(function, "Function whose call fails; none by default");
static int nth;
module_param(nth, int, 0400);
MODULE_PARM_DESC(nth, "Which call");
static long value;
module_param(value, long, 0400);
MODULE_PARM_DESC(value, "What it returns");
static int calls;
module_param(calls, int, 0400);
MODULE_PARM_DESC(calls, "Read: how many calls there were");
static int lost;
module_param(lost, int, 0400);
MODULE_PARM_DESC(lost, "Read: how often more than a page was freed with CC.EN = 1");

static uint csts;
module_param(csts, uint, 0400);
MODULE_PARM_DESC(csts, "Bits that CSTS has besides its own");

#define NVME_CC 0x14
#define NVME_CSTS 0x1c
#define NVME_CC_EN 1

static struct pci_dev *pdev;
static void __iomem *bar;
/* The first argument of the calls that count; NULL for any. */
static void *of_device;

static noinline long failed(void)
{
	return value;
}

static int call(struct kprobe *p, struct pt_regs *regs)
{
	if (of_device && regs_get_kernel_argument(regs, 0) != (unsigned long)of_device)
		return 0;
	if (++calls != nth)
		return 0;
	instruction_pointer_set(regs, (unsigned long)failed);
	return 1;
}

/*
 * With a post_handler the kernel doesn't optimise the probe, so that call() may change the
 * instruction pointer.
 */
static void after(struct kprobe *p, struct pt_regs *regs, unsigned long flags)
{
}

/*
 * dma_free_attrs(dev, size, …): ignores single pages, which are Identify buffers that the controller
 * no longer uses.
 */
static int freed(struct kprobe *p, struct pt_regs *regs)
{
	if (regs_get_kernel_argument(regs, 0) == (unsigned long)&pdev->dev &&
	    regs_get_kernel_argument(regs, 1) > PAGE_SIZE && readl(bar + NVME_CC) & NVME_CC_EN)
		lost++;
	return 0;
}

/* rust_helper_readl(addr): ignores other registers. BARs are aligned to 4 KiB at least. */
static int read(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	return (regs_get_kernel_argument(regs, 0) & 0xfff) != NVME_CSTS;
}

static int has_read(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	regs_set_return_value(regs, regs_return_value(regs) | csts);
	return 0;
}

static struct kretprobe read_probe = {
	.kp.symbol_name = "rust_helper_readl", .entry_handler = read, .handler = has_read,
};
static struct kprobe call_probe = { .pre_handler = call, .post_handler = after };
static struct kprobe free_probe = { .symbol_name = "dma_free_attrs", .pre_handler = freed };

static int __init fail_init(void)
{
	unsigned int domain, bus, slot, fn;
	int ret;

	if (!device || sscanf(device, "%x:%x:%x.%x", &domain, &bus, &slot, &fn) != 4)
		return -EINVAL;
	pdev = pci_get_domain_bus_and_slot(domain, bus, PCI_DEVFN(slot, fn));
	if (!pdev)
		return -ENODEV;
	ret = -ENOMEM;
	bar = ioremap(pci_resource_start(pdev, 0), PAGE_SIZE);
	if (!bar)
		goto put;
	ret = register_kprobe(&free_probe);
	if (ret)
		goto unmap;
	if (function) {
		call_probe.symbol_name = function;
		if (strstarts(function, "dma_"))
			of_device = &pdev->dev;
		else if (strstarts(function, "pci_"))
			of_device = pdev;
		ret = register_kprobe(&call_probe);
		if (ret)
			goto unregister;
	}
	if (csts) {
		ret = register_kretprobe(&read_probe);
		if (ret)
			goto unregister_call;
	}
	return 0;

unregister_call:
	if (function)
		unregister_kprobe(&call_probe);
unregister:
	unregister_kprobe(&free_probe);
unmap:
	iounmap(bar);
put:
	pci_dev_put(pdev);
	return ret;
}
module_init(fail_init);

static void __exit fail_exit(void)
{
	if (csts)
		unregister_kretprobe(&read_probe);
	if (function)
		unregister_kprobe(&call_probe);
	unregister_kprobe(&free_probe);
	iounmap(bar);
	pci_dev_put(pdev);
}
module_exit(fail_exit);

MODULE_DESCRIPTION("Makes a call of a kernel function fail, and sets bits of a register, for tests");
MODULE_LICENSE("GPL");
