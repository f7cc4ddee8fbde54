// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page faults of SVA: who handles them, and who waits for that: nobody
 *
 * The page requests of a device are handled by workers, as faults of the mm. Such a
 * fault may have to wait for a file system, which may never answer. A worker
 * therefore owns what it touches: a group of requests, which has a reference to the
 * device's fault parameter, and a reference to the mm; it does not look at the
 * bond, its domain or the device. Who unbinds, stops a queue or removes the device
 * answers the group in the worker's place, and goes on. The worker's own answer comes
 * too late then, and is dropped. It keeps the memory of the mm for as long as the
 * file system takes.
 *
 * So that this costs only who causes it, a user has a limited number of workers.
 * What is above it waits in a queue of the user.
 */
#include <linux/cred.h>
#include <linux/iommu.h>
#include <linux/list.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "iommu-priv.h"

/**
 * struct iommu_sva_user - the page faults of a user
 * @node: in users
 * @uid: that of who was the first to bind an mm
 * @mms: mms that this is the user of
 * @workers: groups that have been given to the work queue
 * @waiting: groups that have not, by &iopf_group.node
 *
 * All of it under faults_lock.
 */
struct iommu_sva_user {
	struct list_head node;
	kuid_t uid;
	unsigned int mms;
	unsigned int workers;
	struct list_head waiting;
};

static LIST_HEAD(users);
static DEFINE_SPINLOCK(faults_lock);
static struct workqueue_struct *faults_wq;

static struct iommu_sva_user *iommu_sva_find_user(kuid_t uid)
{
	struct iommu_sva_user *user;

	lockdep_assert_held(&faults_lock);

	list_for_each_entry(user, &users, node)
		if (uid_eq(user->uid, uid))
			return user;
	return NULL;
}

/**
 * iommu_sva_fault_init() - prepare an mm for page faults
 * @iommu_mm: what it has for SVA
 *
 * From now on its page faults count as those of the caller's user.
 *
 * Return: 0 or -ENOMEM.
 */
int iommu_sva_fault_init(struct iommu_mm_data *iommu_mm)
{
	struct iommu_sva_user *user, *new;
	unsigned long flags;

	if (!faults_wq)
		return -ENOMEM;
	new = kzalloc(sizeof(*new), GFP_KERNEL);
	if (!new)
		return -ENOMEM;
	new->uid = current_uid();
	INIT_LIST_HEAD(&new->waiting);

	spin_lock_irqsave(&faults_lock, flags);
	user = iommu_sva_find_user(new->uid);
	if (!user) {
		list_add(&new->node, &users);
		swap(user, new);
	}
	user->mms++;
	iommu_mm->user = user;
	spin_unlock_irqrestore(&faults_lock, flags);
	kfree(new);
	return 0;
}

/**
 * iommu_sva_fault_exit() - the end of an mm
 * @iommu_mm: what it had for SVA
 *
 * Each group has a reference to its mm, so that there are none.
 *
 * Context: any.
 */
void iommu_sva_fault_exit(struct iommu_mm_data *iommu_mm)
{
	struct iommu_sva_user *user = iommu_mm->user;
	unsigned long flags;

	spin_lock_irqsave(&faults_lock, flags);
	if (--user->mms)
		user = NULL;
	else
		list_del(&user->node);
	spin_unlock_irqrestore(&faults_lock, flags);
	kfree(user);
}

static void iommu_sva_free_group(struct iopf_group *group)
{
	struct mm_struct *mm = group->mm;

	iopf_free_group(group);
	mmdrop(mm);
}

static void iommu_sva_start_worker(struct iopf_group *group)
{
	lockdep_assert_held(&faults_lock);

	group->mm->iommu_mm->user->workers++;
	queue_work(faults_wq, &group->work);
}

/* A worker is done; its user's next group gets one. */
static void iommu_sva_end_worker(struct iommu_mm_data *iommu_mm)
{
	struct iommu_sva_user *user = iommu_mm->user;
	struct iopf_group *next;
	unsigned long flags;

	spin_lock_irqsave(&faults_lock, flags);
	user->workers--;
	next = list_first_entry_or_null(&user->waiting, struct iopf_group, node);
	if (next) {
		list_del_init(&next->node);
		iommu_sva_start_worker(next);
	}
	spin_unlock_irqrestore(&faults_lock, flags);
}

static enum iommu_page_response_code
iommu_sva_handle_group(struct iopf_group *group)
{
	enum iommu_page_response_code status = IOMMU_PAGE_RESP_SUCCESS;
	struct iopf_fault *iopf;

	/*
	 * For the moment, errors are sticky: don't handle subsequent faults in
	 * the group if there is an error.
	 */
	list_for_each_entry(iopf, &group->faults, list) {
		if (status != IOMMU_PAGE_RESP_SUCCESS || iopf_group_answered(group))
			break;
		status = iommu_sva_handle_mm(&iopf->fault, group->mm);
	}
	return status;
}

static void iommu_sva_fault_work(struct work_struct *work)
{
	struct iopf_group *group = container_of(work, struct iopf_group, work);

	iopf_group_response(group, iommu_sva_handle_group(group));
	iommu_sva_end_worker(group->mm->iommu_mm);
	iommu_sva_free_group(group);
}

/**
 * iommu_sva_queue_fault() - let a worker handle a group of page requests
 * @group: the group; the attach handle is not looked at after the return
 * @mm: the mm that the requests are for
 *
 * Context: may sleep; &iommu_fault_param.reporting held for read.
 */
void iommu_sva_queue_fault(struct iopf_group *group, struct mm_struct *mm)
{
	struct iommu_sva_user *user = mm->iommu_mm->user;
	unsigned long flags;

	mmgrab(mm);
	group->mm = mm;
	INIT_WORK(&group->work, iommu_sva_fault_work);

	spin_lock_irqsave(&faults_lock, flags);
	if (user->workers < IOMMU_SVA_USER_WORKERS)
		iommu_sva_start_worker(group);
	else
		list_add_tail(&group->node, &user->waiting);
	spin_unlock_irqrestore(&faults_lock, flags);
}

/**
 * iommu_sva_drop_answered() - forget groups that nobody has to handle any more
 * @mm: the mm, some of whose groups have been answered
 *
 * Who makes faults and takes them back would otherwise fill the queue, as long as all
 * of the user's workers are kept waiting. Those that have a worker are dropped by it.
 *
 * Context: may sleep.
 */
void iommu_sva_drop_answered(struct mm_struct *mm)
{
	struct iommu_sva_user *user = mm->iommu_mm->user;
	struct iopf_group *group, *next;
	unsigned long flags;
	LIST_HEAD(dropped);

	spin_lock_irqsave(&faults_lock, flags);
	list_for_each_entry_safe(group, next, &user->waiting, node)
		if (group->mm == mm && iopf_group_answered(group))
			list_move(&group->node, &dropped);
	spin_unlock_irqrestore(&faults_lock, flags);

	list_for_each_entry_safe(group, next, &dropped, node)
		iommu_sva_free_group(group);
}

static int __init iommu_sva_fault_wq_init(void)
{
	faults_wq = alloc_workqueue("iommu_sva", WQ_UNBOUND,
				    WQ_UNBOUND_MAX_ACTIVE);
	return faults_wq ? 0 : -ENOMEM;
}
core_initcall(iommu_sva_fault_wq_init);
