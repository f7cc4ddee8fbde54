// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * uacce provider for svadev, the test function of QEMU for Shared Virtual
 * Addressing. include/uapi/misc/uacce/svadev.h describes its registers.
 *
 * A queue belongs to one open file, and uacce binds the mm of the opener to
 * the function for as long as the file is open:
 *
 *   open		bind, svadev_get_queue()	PASID written
 *   UACCE_CMD_START_Q	svadev_start_queue()		DMA possible
 *   UACCE_CMD_PUT_Q	svadev_stop_queue()		DMA over, queue kept
 *   reset of the function	svadev_reset_prepare()		the same, but not waited for
 *   last close		svadev_stop_queue(), svadev_put_queue(), unbind
 *
 * Hence two rules. A queue never runs with a PASID other than that of its
 * opener: the PASID is written only while the queue is off, from q->pasid, and
 * user space cannot reach that register. And stop returns only once the queue
 * has neither DMA nor a page request outstanding, as iommu_sva_unbind_device()
 * wants it. The mm may be long gone by then: a file can be handed to another
 * process, and exit closes files after it has given up the mm.
 *
 * A reset takes PASID and ENABLE from all queues. They are stopped before, none is
 * opened or started meanwhile, and afterwards those that are open get their PASID
 * back. They stay stopped: their owners see that something has ended, and start
 * them again with UACCE_CMD_PUT_Q and UACCE_CMD_START_Q.
 *
 * Locking: uacce calls get, start, stop and put with uacce->mutex held, put also
 * with q->mutex on removal, and mmap and is_q_updated with q->mutex held, never
 * after uacce_remove(). A page fault handler takes mmap_lock and, in the close() of
 * a mapping, q->mutex: stop, which waits for it, is called with neither.
 */

#include <linux/bitmap.h>
#include <linux/bitfield.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/iopoll.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/uacce.h>
#include <uapi/misc/uacce/svadev.h>

/* An emulated IOMMU answers a page request when the vCPUs let it. */
#define SVADEV_STOP_POLL_US	100
#define SVADEV_STOP_TIMEOUT_US	(10 * USEC_PER_SEC)

struct svadev;

/**
 * struct svadev_queue - what the driver knows of one queue
 * @sva: the function
 * @id: number of the queue, of its vector and of its page in BAR 2
 * @stuck: it did not stop, and stays taken until the driver is bound again.
 *	Under uacce->mutex.
 * @uacce_q: whom to wake, NULL while the queue is stopped. Set and cleared
 *	under uacce->mutex, read by the interrupt handler without a lock.
 * @ended: by a reset. Set and cleared under uacce->mutex, read without.
 */
struct svadev_queue {
	struct svadev *sva;
	unsigned int id;
	bool stuck;
	struct uacce_queue *uacce_q;
	bool ended;
};

/**
 * struct svadev - one function
 * @pdev: its PCI device
 * @uacce: its character device
 * @control: BAR 0
 * @pages: BAR 2, for the kernel's own look at a queue
 * @nr_queues: queues that the model has
 * @taken: queues that are in use or would not stop. Changed under
 *	uacce->mutex, read by sysfs without.
 * @in_reset: registers are not written, and mean nothing. Under uacce->mutex.
 * @queues: one for each queue, for as long as the driver is bound
 */
struct svadev {
	struct pci_dev *pdev;
	struct uacce_device *uacce;
	void __iomem *control;
	void __iomem *pages;
	unsigned int nr_queues;
	DECLARE_BITMAP(taken, SVADEV_CAPS_QUEUES + 1);
	bool in_reset;
	struct svadev_queue queues[] __counted_by(nr_queues);
};

static void svadev_qctl_write(struct svadev_queue *sq, unsigned int reg, u64 val)
{
	writeq(val, sq->sva->control + SVADEV_QCTL(sq->id) + reg);
}

static u64 svadev_qpage_read(struct svadev_queue *sq, unsigned int reg)
{
	return readq(sq->sva->pages + sq->id * SVADEV_QPAGE_SIZE + reg);
}

static irqreturn_t svadev_irq(int irq, void *data)
{
	struct svadev_queue *sq = data;
	struct uacce_queue *q = READ_ONCE(sq->uacce_q);

	/* svadev_stop_queue() waits for us before @q can go away. */
	if (q)
		wake_up_interruptible(&q->wait);
	return IRQ_HANDLED;
}

static int svadev_available_instances(struct uacce_device *uacce)
{
	struct svadev *sva = uacce->priv;
	unsigned int taken;

	/*
	 * Lockless: uacce_remove() waits for readers of sysfs with uacce->mutex
	 * held. The number is out of date when it arrives, whatever we do.
	 */
	taken = data_race(bitmap_weight(sva->taken, sva->nr_queues));
	return sva->nr_queues - taken;
}

static int svadev_get_queue(struct uacce_device *uacce, unsigned long arg,
			    struct uacce_queue *q)
{
	struct svadev *sva = uacce->priv;
	struct svadev_queue *sq;
	unsigned int id;

	/*
	 * uacce_alloc() drops the flag when SVA cannot be had, and open goes on
	 * with a queue that is bound to nothing, and PASID 0 in q->pasid.
	 */
	if (!q->handle)
		return -EOPNOTSUPP;
	if (sva->in_reset)
		return -EBUSY;

	id = find_first_zero_bit(sva->taken, sva->nr_queues);
	if (id >= sva->nr_queues)
		return -EBUSY;

	sq = &sva->queues[id];
	WRITE_ONCE(sq->ended, false);
	__set_bit(id, sva->taken);
	svadev_qctl_write(sq, SVADEV_QCTL_PASID, q->pasid);
	q->priv = sq;
	return 0;
}

/* uacce has initialised q->wait by now, but had not in svadev_get_queue(). */
static int svadev_start_queue(struct uacce_queue *q)
{
	struct svadev_queue *sq = q->priv;

	if (sq->stuck)
		return -EIO;
	if (sq->sva->in_reset)
		return -EBUSY;

	WRITE_ONCE(sq->ended, false);
	WRITE_ONCE(sq->uacce_q, q);
	svadev_qctl_write(sq, SVADEV_QCTL_ENABLE, 1);
	return 0;
}

static bool svadev_queue_is_busy(struct svadev_queue *sq)
{
	return readq(sq->sva->control + SVADEV_QCTL(sq->id) + SVADEV_QCTL_BUSY);
}

static bool svadev_queue_becomes_idle(struct svadev_queue *sq)
{
	bool busy;

	return !read_poll_timeout(svadev_queue_is_busy, busy, !busy,
				  SVADEV_STOP_POLL_US, SVADEV_STOP_TIMEOUT_US,
				  false, sq);
}

static void svadev_queue_is_stuck(struct svadev_queue *sq, struct uacce_queue *q)
{
	dev_err(&sq->sva->pdev->dev, "queue %u with PASID %u does not stop\n",
		sq->id, q->pasid);
	sq->stuck = true;
}

/* From now on no handler is on its way to wake q->wait. */
static void svadev_silence_queue(struct svadev_queue *sq)
{
	WRITE_ONCE(sq->uacce_q, NULL);
	synchronize_irq(pci_irq_vector(sq->sva->pdev, sq->id));
}

/*
 * The caller unbinds next, so nothing may be outstanding when this returns.
 * Page requests are answered without us: the fault handler needs neither
 * uacce->mutex nor an mm that is still alive. It may need q->mutex and mmap_lock.
 *
 * A queue that does not stop is never given out again. Its PASID could name
 * somebody else by the time it wakes up.
 */
static void svadev_stop_queue(struct uacce_queue *q)
{
	struct svadev_queue *sq = q->priv;

	/* A reset has been here, or is, and there are no registers. */
	if (!sq->uacce_q)
		return;

	svadev_qctl_write(sq, SVADEV_QCTL_ENABLE, 0);
	if (!svadev_queue_becomes_idle(sq))
		svadev_queue_is_stuck(sq, q);
	svadev_silence_queue(sq);
}

static void svadev_put_queue(struct uacce_queue *q)
{
	struct svadev_queue *sq = q->priv;

	if (sq->stuck)
		return;

	/* A reset leaves none, either. */
	if (!sq->sva->in_reset)
		svadev_qctl_write(sq, SVADEV_QCTL_PASID, SVADEV_PASID_NONE);
	__clear_bit(sq->id, sq->sva->taken);
}

/*
 * Readable from the end of an operation to the start of the next one, and while
 * the queue is stopped because of a reset. It is a level: a count of what has
 * been reported already would lose an event to epoll, which asks more often than
 * it reports.
 */
static int svadev_is_q_updated(struct uacce_queue *q)
{
	struct svadev_queue *sq = q->priv;
	u64 state;

	if (READ_ONCE(sq->ended))
		return true;

	state = svadev_qpage_read(sq, SVADEV_Q_STATE);
	return state == SVADEV_STATE_DONE || state == SVADEV_STATE_ERROR;
}

/* A mapping with pages of the CPU has nothing of another queue. */
static_assert(SVADEV_QPAGE_SIZE % PAGE_SIZE == 0);

/*
 * The queue's page, all of it, and only shared: a private mapping would give the
 * writer a copy of the registers, and remap_pfn_range() would put a pfn where
 * uacce keeps the type of the region.
 */
static int svadev_mmap(struct uacce_queue *q, struct vm_area_struct *vma,
		       struct uacce_qfile_region *qfr)
{
	struct svadev_queue *sq = q->priv;
	resource_size_t phys;

	if (qfr->type != UACCE_QFRT_MMIO || !(vma->vm_flags & VM_SHARED) ||
	    vma->vm_end - vma->vm_start != SVADEV_QPAGE_SIZE)
		return -EINVAL;

	phys = pci_resource_start(sq->sva->pdev, SVADEV_BAR_QUEUES) +
	       sq->id * SVADEV_QPAGE_SIZE;
	vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	return io_remap_pfn_range(vma, vma->vm_start, PHYS_PFN(phys),
				  SVADEV_QPAGE_SIZE, vma->vm_page_prot);
}

static const struct uacce_ops svadev_uacce_ops = {
	.get_available_instances = svadev_available_instances,
	.get_queue = svadev_get_queue,
	.put_queue = svadev_put_queue,
	.start_queue = svadev_start_queue,
	.stop_queue = svadev_stop_queue,
	.is_q_updated = svadev_is_q_updated,
	.mmap = svadev_mmap,
};

/*
 * uacce_alloc() wants page requests served or it does without SVA. The IOMMU
 * drivers are less strict: where the function has no PRI (VT-d), or where the
 * IOMMU cannot take page requests at all (SMMUv3 without stalls), they allow
 * SVA to a driver that lives with an error for a page that is not there. Ours
 * does. On removal uacce disables both features; IOPF says that it is off.
 */
static void svadev_enable_sva(struct svadev *sva)
{
	struct device *dev = &sva->pdev->dev;
	int ret;

	if (sva->uacce->flags & UACCE_DEV_SVA)
		return;

	ret = iommu_dev_enable_feature(dev, IOMMU_DEV_FEAT_SVA);
	if (ret) {
		dev_warn(dev, "no SVA (%pe): /dev/%s cannot be opened\n",
			 ERR_PTR(ret), dev_name(&sva->uacce->dev));
		return;
	}

	dev_info(dev, "SVA without page requests: touch memory first\n");
	sva->uacce->flags |= UACCE_DEV_SVA;
}

static int svadev_uacce_init(struct svadev *sva)
{
	struct uacce_interface interface = {
		.name = "svadev",
		.flags = UACCE_DEV_SVA,
		.ops = &svadev_uacce_ops,
	};
	struct uacce_device *uacce;
	int ret;

	uacce = uacce_alloc(&sva->pdev->dev, &interface);
	if (IS_ERR(uacce))
		return PTR_ERR(uacce);

	sva->uacce = uacce;
	svadev_enable_sva(sva);
	uacce->priv = sva;
	uacce->algs = "copy fill sum add64\n";
	uacce->api_ver = "svadev_v2";
	uacce->qf_pg_num[UACCE_QFRT_MMIO] = SVADEV_QPAGE_SIZE / PAGE_SIZE;

	ret = uacce_register(uacce);
	if (ret)
		uacce_remove(uacce);
	return ret;
}

static int svadev_irq_init(struct svadev *sva)
{
	struct pci_dev *pdev = sva->pdev;
	unsigned int i;
	int ret;

	ret = pci_alloc_irq_vectors(pdev, sva->nr_queues, sva->nr_queues,
				    PCI_IRQ_MSIX);
	if (ret < 0)
		return ret;

	for (i = 0; i < sva->nr_queues; i++) {
		sva->queues[i].sva = sva;
		sva->queues[i].id = i;
		ret = devm_request_irq(&pdev->dev, pci_irq_vector(pdev, i),
				       svadev_irq, 0, pci_name(pdev),
				       &sva->queues[i]);
		if (ret)
			return ret;
	}

	return 0;
}

/* A negative errno, or the number of queues, which BAR 2 has pages for. */
static int svadev_identify(struct pci_dev *pdev, void __iomem *control)
{
	unsigned int nr;

	if (readq(control + SVADEV_ID) != SVADEV_ID_MAGIC)
		return -ENODEV;

	nr = FIELD_GET(SVADEV_CAPS_QUEUES, readq(control + SVADEV_CAPS));
	if (!nr || pci_resource_len(pdev, SVADEV_BAR_QUEUES) / SVADEV_QPAGE_SIZE < nr)
		return -ENODEV;
	return nr;
}

static struct svadev *svadev_create(struct pci_dev *pdev)
{
	void __iomem *control, *pages;
	struct svadev *sva;
	int nr;

	control = pcim_iomap_region(pdev, SVADEV_BAR_CONTROL, "svadev");
	if (IS_ERR(control))
		return ERR_CAST(control);
	pages = pcim_iomap_region(pdev, SVADEV_BAR_QUEUES, "svadev");
	if (IS_ERR(pages))
		return ERR_CAST(pages);
	nr = svadev_identify(pdev, control);
	if (nr < 0)
		return ERR_PTR(nr);

	sva = devm_kzalloc(&pdev->dev, struct_size(sva, queues, nr), GFP_KERNEL);
	if (!sva)
		return ERR_PTR(-ENOMEM);
	sva->nr_queues = nr;
	sva->pdev = pdev;
	sva->control = control;
	sva->pages = pages;
	return sva;
}

/* Ends all operations and forgets every translation. */
static void svadev_reset(struct svadev *sva)
{
	writeq(SVADEV_CTRL_RESET, sva->control + SVADEV_CTRL);
	/* Flush the posted write. */
	readq(sva->control + SVADEV_CTRL);
}

static int svadev_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct svadev *sva;
	int ret;

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;

	sva = svadev_create(pdev);
	if (IS_ERR(sva))
		return PTR_ERR(sva);

	/* Whoever had the function before us may have left it running. */
	svadev_reset(sva);
	pci_set_master(pdev);
	ret = svadev_irq_init(sva);
	if (ret)
		return ret;

	pci_set_drvdata(pdev, sva);
	return svadev_uacce_init(sva);
}

/*
 * uacce_remove() stops and unbinds every queue that is still open and takes the
 * mappings of their pages away. Files stay open, but reach us no more.
 */
static void svadev_remove(struct pci_dev *pdev)
{
	struct svadev *sva = pci_get_drvdata(pdev);

	uacce_remove(sva->uacce);
	svadev_reset(sva);
	pci_clear_master(pdev);
}

/*
 * The device lock, which the caller holds, keeps svadev_remove() out. The IOMMU
 * refuses new bonds from a bit later on; in_reset is for those that exist.
 *
 * An operation that waits for a page, which may take for ever, need not be waited for:
 * the IOMMU refuses its page requests, and the reset ends it.
 */
static void svadev_reset_prepare(struct pci_dev *pdev)
{
	struct svadev *sva = pci_get_drvdata(pdev);
	struct svadev_queue *sq;
	struct uacce_queue *q;

	mutex_lock(&sva->uacce->mutex);
	sva->in_reset = true;
	list_for_each_entry(q, &sva->uacce->queues, list) {
		sq = q->priv;
		if (!sq->uacce_q)
			continue;
		svadev_qctl_write(sq, SVADEV_QCTL_ENABLE, 0);
		svadev_silence_queue(sq);
		WRITE_ONCE(sq->ended, true);
		wake_up_interruptible(&q->wait);
	}
	mutex_unlock(&sva->uacce->mutex);
}

/* Also called after a reset that has failed: then a queue may have gone on. */
static void svadev_reset_done(struct pci_dev *pdev)
{
	struct svadev *sva = pci_get_drvdata(pdev);
	struct svadev_queue *sq;
	struct uacce_queue *q;

	mutex_lock(&sva->uacce->mutex);
	list_for_each_entry(q, &sva->uacce->queues, list) {
		sq = q->priv;
		if (svadev_queue_is_busy(sq))
			svadev_queue_is_stuck(sq, q);
		else
			svadev_qctl_write(sq, SVADEV_QCTL_PASID, q->pasid);
	}
	sva->in_reset = false;
	mutex_unlock(&sva->uacce->mutex);
}

static const struct pci_error_handlers svadev_err_handler = {
	.reset_prepare = svadev_reset_prepare,
	.reset_done = svadev_reset_done,
};

static const struct pci_device_id svadev_ids[] = {
	{ PCI_DEVICE(SVADEV_VENDOR_ID, SVADEV_DEVICE_ID) },
	{ }
};
MODULE_DEVICE_TABLE(pci, svadev_ids);

static struct pci_driver svadev_driver = {
	.name = "svadev",
	.id_table = svadev_ids,
	.probe = svadev_probe,
	.remove = svadev_remove,
	.err_handler = &svadev_err_handler,
};
module_pci_driver(svadev_driver);

MODULE_DESCRIPTION("uacce provider for QEMU's test function for Shared Virtual Addressing");
MODULE_LICENSE("GPL");
