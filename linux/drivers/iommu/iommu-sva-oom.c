// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page faults of SVA and processes that are gone
 *
 * Who handles a page fault has a reference to mm_users, which keeps the mm from being
 * torn down. It may have it for long: it waits for a file system, or for the page
 * allocator. If the process dies meanwhile its memory stays, and nobody
 * sees it: the OOM killer looks at tasks. When it has killed the process because of
 * what its devices allocate, it would go on to kill all others for the same reason.
 *
 * So no fault is handled for an mm that nobody else uses, or that the OOM killer has
 * chosen, and what an mm without tasks has is given back before another process is
 * killed for it.
 */
#include <kunit/visibility.h>
#include <linux/iommu.h>
#include <linux/list.h>
#include <linux/notifier.h>
#include <linux/oom.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "iommu-priv.h"

/* Somebody may have mmap_lock: as often, and for as long, as the OOM reaper does */
#define REAP_TRIES	10
#define REAP_PAUSE	(HZ / 10)

/* Each mm with faults that are being handled, by &iommu_mm_data.faulting_node */
static LIST_HEAD(faulting_mms);

/* Protects the above and, of each mm, what iommu_mm_data says */
static DEFINE_SPINLOCK(faulting_lock);

static struct workqueue_struct *reap_wq;

/*
 * A first look, which others who have a reference to mm_users for a while, or for ever,
 * may mislead: then a fault is handled in vain.
 */
static bool mm_is_dying(struct mm_struct *mm)
{
	lockdep_assert_held(&faulting_lock);

	return atomic_read(&mm->mm_users) <= mm->iommu_mm->faulting ||
	       test_bit(MMF_OOM_REAP_QUEUED, &mm->flags) ||
	       test_bit(MMF_OOM_SKIP, &mm->flags) ||
	       test_bit(MMF_UNSTABLE, &mm->flags);
}

/**
 * iommu_sva_mm_is_dying() - whether page faults of an mm are refused
 * @mm: the mm
 */
bool iommu_sva_mm_is_dying(struct mm_struct *mm)
{
	bool dying;

	spin_lock(&faulting_lock);
	dying = mm_is_dying(mm);
	spin_unlock(&faulting_lock);
	return dying;
}

/**
 * iommu_sva_mmget() - mmget_not_zero() for who handles page faults
 * @mm: the mm
 *
 * Return: %false if @mm is dying
 */
bool iommu_sva_mmget(struct mm_struct *mm)
{
	struct iommu_mm_data *iommu_mm = mm->iommu_mm;
	bool alive;

	spin_lock(&faulting_lock);
	alive = !mm_is_dying(mm) && mmget_not_zero(mm);
	if (alive && !iommu_mm->faulting++)
		list_add_tail(&iommu_mm->faulting_node, &faulting_mms);
	spin_unlock(&faulting_lock);
	return alive;
}

/**
 * iommu_sva_mmput() - the opposite of iommu_sva_mmget()
 * @mm: the mm
 *
 * Context: exits @mm if nobody else uses it.
 */
void iommu_sva_mmput(struct mm_struct *mm)
{
	struct iommu_mm_data *iommu_mm = mm->iommu_mm;

	spin_lock(&faulting_lock);
	if (!--iommu_mm->faulting)
		list_del(&iommu_mm->faulting_node);
	spin_unlock(&faulting_lock);
	mmput(mm);
}

static bool mm_has_tasks(struct mm_struct *mm)
{
	struct task_struct *p;
	bool found = false;

	rcu_read_lock();
	for_each_process(p) {
		found = process_shares_mm(p, mm);
		if (found)
			break;
	}
	rcu_read_unlock();
	return found;
}

/* It has a reference to mm_count. */
static void iommu_sva_reap_work(struct work_struct *work)
{
	struct iommu_mm_data *iommu_mm = container_of(work, struct iommu_mm_data,
						      reap_work);
	struct mm_struct *mm = iommu_mm->mm;
	unsigned int tries = REAP_TRIES;

	while (!oom_reap_mm(mm) && --tries)
		schedule_timeout_idle(REAP_PAUSE);
	if (tries)
		pr_info("iommu: reaped the mm with PASID %u, whose process has exited during page faults of a device\n",
			iommu_mm->pasid);
	spin_lock(&faulting_lock);
	iommu_mm->reap = SVA_REAPED;
	spin_unlock(&faulting_lock);
	mmdrop(mm);
}

/*
 * Called under oom_lock, perhaps by who handles a fault of one of the mms. Whoever needs
 * the memory tries again until it is there; once for each mm.
 */
VISIBLE_IF_KUNIT int iommu_sva_oom(struct notifier_block *nb,
				   unsigned long unused, void *data)
{
	struct iommu_mm_data *iommu_mm;
	unsigned long *freed = data;

	spin_lock(&faulting_lock);
	list_for_each_entry(iommu_mm, &faulting_mms, faulting_node) {
		if (iommu_mm->reap == SVA_REAPED)
			continue;
		/* Others may have a reference; without any there is nothing to look for. */
		if (atomic_read(&iommu_mm->mm->mm_users) > iommu_mm->faulting &&
		    mm_has_tasks(iommu_mm->mm))
			continue;
		(*freed)++;
		if (iommu_mm->reap == SVA_REAPING)
			continue;
		iommu_mm->reap = SVA_REAPING;
		mmgrab(iommu_mm->mm);
		INIT_WORK(&iommu_mm->reap_work, iommu_sva_reap_work);
		queue_work(reap_wq, &iommu_mm->reap_work);
	}
	spin_unlock(&faulting_lock);
	return NOTIFY_OK;
}

static struct notifier_block iommu_sva_oom_nb = {
	.notifier_call = iommu_sva_oom,
};

static int __init iommu_sva_oom_init(void)
{
	reap_wq = alloc_workqueue("iommu_sva_reap",
				  WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!reap_wq)
		return -ENOMEM;
	return register_oom_notifier(&iommu_sva_oom_nb);
}
core_initcall(iommu_sva_oom_init);
