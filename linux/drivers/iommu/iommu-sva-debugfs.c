// SPDX-License-Identifier: GPL-2.0-only
/*
 * debugfs iommu/sva: which processes are bound to which devices
 *
 * For each mm with SVA its PASID, the command name of the thread that bound it
 * first, and under each of its domains the functions that are attached, each
 * behind its IOMMU instance.
 */
#include <kunit/visibility.h>
#include <linux/debugfs.h>
#include <linux/iommu.h>
#include <linux/sched/mm.h>
#include <linux/seq_file.h>
#include <linux/spinlock.h>

#include "iommu-priv.h"

/* Every mm that has a PASID. Left when the mm is freed, by code that cannot sleep. */
static LIST_HEAD(mms);
static DEFINE_SPINLOCK(mms_lock);

void iommu_sva_debugfs_add(struct iommu_mm_data *iommu_mm)
{
	unsigned long flags;

	static_assert(sizeof(iommu_mm->comm) == TASK_COMM_LEN);
	get_task_comm(iommu_mm->comm, current);
	spin_lock_irqsave(&mms_lock, flags);
	list_add(&iommu_mm->node, &mms);
	spin_unlock_irqrestore(&mms_lock, flags);
}

void iommu_sva_debugfs_del(struct iommu_mm_data *iommu_mm)
{
	unsigned long flags;

	spin_lock_irqsave(&mms_lock, flags);
	list_del(&iommu_mm->node);
	spin_unlock_irqrestore(&mms_lock, flags);
}

static struct iommu_mm_data *lowest_above(u32 pasid)
{
	struct iommu_mm_data *pos, *found = NULL;

	lockdep_assert_held(&mms_lock);

	list_for_each_entry(pos, &mms, node)
		if (pos->pasid > pasid && (!found || pos->pasid < found->pasid))
			found = pos;
	return found;
}

/* The mm with the next greater PASID, and a reference to it. */
static struct iommu_mm_data *next_mm(u32 pasid)
{
	struct iommu_mm_data *iommu_mm;

	spin_lock_irq(&mms_lock);
	/* One whose last reference has gone waits for the lock to leave. */
	while ((iommu_mm = lowest_above(pasid)) &&
	       !atomic_inc_not_zero(&iommu_mm->mm->mm_count))
		pasid = iommu_mm->pasid;
	spin_unlock_irq(&mms_lock);
	return iommu_mm;
}

static int show_function(struct device *dev, void *data)
{
	struct iommu_device *iommu;

	if (!dev_has_pasids(dev))
		return 0;
	iommu = dev->iommu->iommu_dev;
	seq_printf(data, "    %-12s %s\n",
		   iommu->dev ? dev_name(iommu->dev) : "-", dev_name(dev));
	return 0;
}

static void show_mm(struct seq_file *m, struct iommu_mm_data *iommu_mm)
{
	struct iommu_domain *domain;
	struct iommu_sva *bond;
	unsigned int n = 0;

	lockdep_assert_held(&iommu_mm->lock);

	list_for_each_entry(domain, &iommu_mm->sva_domains, next) {
		if (!n)
			seq_printf(m, "PASID %u  %s\n", iommu_mm->pasid,
				   iommu_mm->comm);
		seq_printf(m, "  domain %u\n", n++);
		list_for_each_entry(bond, &iommu_mm->bonds, node)
			if (bond->handle.domain == domain)
				iommu_group_for_each_dev(bond->group, m,
							 show_function);
	}
}

VISIBLE_IF_KUNIT int iommu_sva_show(struct seq_file *m, void *unused)
{
	struct iommu_mm_data *iommu_mm;
	struct mm_struct *mm;
	u32 pasid = 0;

	while ((iommu_mm = next_mm(pasid))) {
		mm = iommu_mm->mm;
		pasid = iommu_mm->pasid;
		mutex_lock(&iommu_mm->lock);
		show_mm(m, iommu_mm);
		mutex_unlock(&iommu_mm->lock);
		mmdrop(mm);
		cond_resched();
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(iommu_sva);

static int __init iommu_sva_debugfs_init(void)
{
	debugfs_create_file("sva", 0400, iommu_debugfs_dir, NULL,
			    &iommu_sva_fops);
	return 0;
}
late_initcall(iommu_sva_debugfs_init);
