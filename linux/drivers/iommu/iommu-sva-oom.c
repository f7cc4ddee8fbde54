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
 * chosen, and what such an mm has is given back before another process is killed for
 * it.
 */
#include <linux/iommu.h>
#include <linux/list.h>
#include <linux/notifier.h>
#include <linux/oom.h>
#include <linux/sched/mm.h>
#include <linux/spinlock.h>

#include "iommu-priv.h"

/* Each mm with faults that are being handled, by &iommu_mm_data.faulting_node */
static LIST_HEAD(faulting_mms);

/* Protects the above and, of each mm, what iommu_mm_data says */
static DEFINE_SPINLOCK(faulting_lock);

/* References to mm_users other than those counted may be taken and dropped meanwhile. */
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
 * iommu_sva_mmget() - mmget_not_zero() for who handles a page fault
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
 * If nobody else uses @mm it is torn down by somebody else, so that its exit does not take
 * a worker.
 */
void iommu_sva_mmput(struct mm_struct *mm)
{
	struct iommu_mm_data *iommu_mm = mm->iommu_mm;

	spin_lock(&faulting_lock);
	if (!--iommu_mm->faulting)
		list_del(&iommu_mm->faulting_node);
	mmput_async(mm);
	spin_unlock(&faulting_lock);
}

/* With a reference to mm_count; each once in a round, and until it was reaped. */
static struct mm_struct *next_to_reap(unsigned int round)
{
	struct iommu_mm_data *iommu_mm;
	struct mm_struct *mm = NULL;

	spin_lock(&faulting_lock);
	list_for_each_entry(iommu_mm, &faulting_mms, faulting_node) {
		if (iommu_mm->oom_round == round || iommu_mm->reaped ||
		    atomic_read(&iommu_mm->mm->mm_users) > iommu_mm->faulting)
			continue;
		iommu_mm->oom_round = round;
		mm = iommu_mm->mm;
		mmgrab(mm);
		break;
	}
	spin_unlock(&faulting_lock);
	return mm;
}

/* Called under oom_lock, perhaps by who handles a fault of one of the mms. */
static int iommu_sva_oom(struct notifier_block *nb, unsigned long unused,
			 void *data)
{
	unsigned long *freed = data;
	static unsigned int round;
	struct mm_struct *mm;

	round++;
	while ((mm = next_to_reap(round))) {
		if (oom_reap_mm(mm)) {
			pr_info("iommu: reaped the mm with PASID %u, whose process has exited during page faults of a device\n",
				mm->iommu_mm->pasid);
			mm->iommu_mm->reaped = true;
			(*freed)++;
		}
		mmdrop(mm);
	}
	return NOTIFY_OK;
}

static struct notifier_block iommu_sva_oom_nb = {
	.notifier_call = iommu_sva_oom,
};

static int __init iommu_sva_oom_init(void)
{
	return register_oom_notifier(&iommu_sva_oom_nb);
}
core_initcall(iommu_sva_oom_init);
