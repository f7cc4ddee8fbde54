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
 * So that this costs only who causes it, each user has a work queue of his own, and
 * a limited number of workers. What is above it waits.
 */
#include <linux/cred.h>
#include <linux/iommu.h>
#include <linux/list.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/user_namespace.h>
#include <linux/workqueue.h>

#include "iommu-priv.h"

/**
 * struct iommu_sva_user - the page faults of a user
 * @node: in users
 * @uid: of whom
 * @ns: if that is root, the namespace that he has made for somebody else
 * @mms: mms that this is the user of
 * @workers: groups that have been given to @wq
 * @waiting: groups that have not, by &iopf_group.node
 * @wq: the work queue; constant
 * @free_work: frees this, which may sleep
 *
 * All of it under faults_lock.
 */
struct iommu_sva_user {
	struct list_head node;
	kuid_t uid;
	struct user_namespace *ns;
	unsigned int mms;
	unsigned int workers;
	struct list_head waiting;
	struct workqueue_struct *wq;
	struct work_struct free_work;
};

static LIST_HEAD(users);
static DEFINE_SPINLOCK(faults_lock);

/*
 * One who makes user namespaces has as many user IDs as he likes in there: it is
 * the owner of the outermost who counts. Those of root are other people's containers.
 */
static kuid_t responsible_uid(struct user_namespace **ns)
{
	struct user_namespace *pos = current_user_ns();
	kuid_t uid = current_uid();

	*ns = NULL;
	for (; pos->parent; pos = pos->parent) {
		uid = pos->owner;
		*ns = uid_eq(uid, GLOBAL_ROOT_UID) ? pos : NULL;
	}
	return uid;
}

static struct iommu_sva_user *iommu_sva_find_user(kuid_t uid,
						  struct user_namespace *ns)
{
	struct iommu_sva_user *user;

	lockdep_assert_held(&faults_lock);

	list_for_each_entry(user, &users, node)
		if (uid_eq(user->uid, uid) && user->ns == ns)
			return user;
	return NULL;
}

static void iommu_sva_free_user(struct iommu_sva_user *user)
{
	destroy_workqueue(user->wq);
	if (user->ns)
		put_user_ns(user->ns);
	kfree(user);
}

static void iommu_sva_free_user_work(struct work_struct *work)
{
	iommu_sva_free_user(container_of(work, struct iommu_sva_user, free_work));
}

static struct iommu_sva_user *iommu_sva_new_user(kuid_t uid,
						 struct user_namespace *ns)
{
	struct iommu_sva_user *user = kzalloc(sizeof(*user), GFP_KERNEL);

	if (!user)
		return NULL;
	user->uid = uid;
	INIT_LIST_HEAD(&user->waiting);
	INIT_WORK(&user->free_work, iommu_sva_free_user_work);
	/* Its own limit is above ours on each node, where it is split. */
	user->wq = alloc_workqueue("iommu_sva/%u", WQ_UNBOUND,
				   WQ_UNBOUND_MAX_ACTIVE,
				   from_kuid(&init_user_ns, uid));
	if (!user->wq) {
		kfree(user);
		return NULL;
	}
	if (ns)
		user->ns = get_user_ns(ns);
	return user;
}

static bool iommu_sva_get_user(struct iommu_mm_data *iommu_mm, kuid_t uid,
			       struct user_namespace *ns,
			       struct iommu_sva_user *new)
{
	struct iommu_sva_user *user;
	unsigned long flags;

	spin_lock_irqsave(&faults_lock, flags);
	user = iommu_sva_find_user(uid, ns);
	if (!user && new) {
		list_add(&new->node, &users);
		user = new;
	}
	if (user) {
		user->mms++;
		iommu_mm->user = user;
	}
	spin_unlock_irqrestore(&faults_lock, flags);
	return user;
}

/**
 * iommu_sva_fault_init() - prepare an mm for page faults
 * @iommu_mm: what it has for SVA
 *
 * From now on its page faults count as those of the caller's user.
 *
 * Context: makes and removes work queues, so that nothing is locked.
 * Return: 0 or -ENOMEM.
 */
int iommu_sva_fault_init(struct iommu_mm_data *iommu_mm)
{
	struct user_namespace *ns;
	kuid_t uid = responsible_uid(&ns);
	struct iommu_sva_user *new;

	if (iommu_sva_get_user(iommu_mm, uid, ns, NULL))
		return 0;
	new = iommu_sva_new_user(uid, ns);
	if (!new)
		return -ENOMEM;
	iommu_sva_get_user(iommu_mm, uid, ns, new);
	/* Another thread may have come first. */
	if (iommu_mm->user != new)
		iommu_sva_free_user(new);
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
	bool last;

	spin_lock_irqsave(&faults_lock, flags);
	last = !--user->mms;
	if (last)
		list_del(&user->node);
	spin_unlock_irqrestore(&faults_lock, flags);
	/* The worker that we may be ends first. */
	if (last)
		schedule_work(&user->free_work);
}

#if IS_ENABLED(CONFIG_IOMMU_SVA_KUNIT_TEST)
/* For tests: mms with SVA that a user is responsible for */
unsigned int iommu_sva_count_mms(kuid_t uid)
{
	struct iommu_sva_user *user;
	unsigned int mms = 0;

	spin_lock_irq(&faults_lock);
	list_for_each_entry(user, &users, node)
		if (uid_eq(user->uid, uid))
			mms += user->mms;
	spin_unlock_irq(&faults_lock);
	return mms;
}
#endif

static void iommu_sva_free_group(struct iopf_group *group)
{
	struct mm_struct *mm = group->mm;

	iopf_free_group(group);
	mmdrop(mm);
}

static void iommu_sva_start_worker(struct iopf_group *group)
{
	struct iommu_sva_user *user = group->mm->iommu_mm->user;

	lockdep_assert_held(&faults_lock);

	user->workers++;
	queue_work(user->wq, &group->work);
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
		status = iommu_sva_handle_mm(&iopf->fault, group);
	}
	return status;
}

static void iommu_sva_fault_work(struct work_struct *work)
{
	struct iopf_group *group = container_of(work, struct iopf_group, work);
	struct mm_struct *mm = group->mm;

	if (iommu_sva_mmget(mm)) {
		iopf_group_response(group, iommu_sva_handle_group(group));
		/* Perhaps the last one. The device need not wait for the mm's exit. */
		iommu_sva_mmput(mm);
	} else {
		iopf_group_response(group, IOMMU_PAGE_RESP_INVALID);
	}
	iommu_sva_end_worker(mm->iommu_mm);
	iommu_sva_free_group(group);
}

/*
 * Nobody has to handle a group that was answered. Who makes faults and takes them back
 * would fill the queue otherwise, as long as all of the user's workers are kept waiting.
 */
static void iommu_sva_group_answered(struct iopf_group *group)
{
	unsigned long flags;
	bool waiting;

	spin_lock_irqsave(&faults_lock, flags);
	waiting = !list_empty(&group->node);
	if (waiting)
		list_del_init(&group->node);
	spin_unlock_irqrestore(&faults_lock, flags);

	if (waiting)
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
	group->answered = iommu_sva_group_answered;
	INIT_LIST_HEAD(&group->node);
	INIT_WORK(&group->work, iommu_sva_fault_work);

	spin_lock_irqsave(&faults_lock, flags);
	if (user->workers < IOMMU_SVA_USER_WORKERS)
		iommu_sva_start_worker(group);
	else
		list_add_tail(&group->node, &user->waiting);
	spin_unlock_irqrestore(&faults_lock, flags);
}
