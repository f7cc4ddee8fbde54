// SPDX-License-Identifier: GPL-2.0-only
/*
 * Freeing pages of kernel page tables that devices may be walking
 *
 * On some architectures every mm's top-level table also maps the kernel. A
 * device that is bound to a process through an IOMMU walks that table, and
 * although it is refused the kernel's pages, the IOMMU may cache the entries
 * that lead to them. When the kernel frees one of its own tables it tells the
 * CPUs, but no mm has changed and so nothing tells the IOMMU. Once such a page
 * is used for something else, whoever writes to it writes page table entries.
 *
 * A page of a table therefore goes through five steps, in this order:
 *
 *   1. the entry that points to the table is cleared,
 *   2. the CPUs' TLBs and paging-structure caches are flushed,
 *   3. the page is queued,			    kernel_pgtable_free()
 *   4. every mm in the list of users is invalidated,	kernel_pgtable_flush()
 *   5. the page is freed.
 *
 * Between steps 3 and 4 it waits for others: a flush costs an invalidation of each
 * user by each of its IOMMUs, whatever the number of pages, and tables are freed in
 * bursts. The wait ends after KERNEL_PGTABLE_DELAY_MS, or as soon as more than
 * KERNEL_PGTABLE_MAX_HELD pages wait, or when memory is about to go offline: a page
 * that waits is in use, and offlining the block that has it would fail.
 *
 * Steps 1 and 2 belong to the caller. Until step 5 the page keeps the contents
 * of a kernel table, in which a device finds nothing that it may use. That is
 * why it is enough for step 4 to make the IOMMU forget the path to the page.
 *
 * A user is an mm whose page tables devices walk. It is registered before the
 * first device can walk them, and unregistered when the last one no longer
 * can and its caches are clean. While there are no users, a page is freed in
 * step 3, and the cost of all this is one barrier and one branch.
 *
 * If the last invalidation of an mm fails, nobody will repeat it, and what the
 * IOMMU has cached of the path stays. Such an mm remains a user for good, whose
 * invalidation always fails: from then on step 5 keeps every page.
 *
 * The pages are chained through page->lru: freeing allocates nothing.
 *
 * Locking: flush_lock is outermost and is held across step 4. Neither
 * kernel_pgtable_register() nor kernel_pgtable_unregister() takes it, or waits
 * for a reader of users_srcu: a bind never waits for an invalidation. users_lock
 * and queue_lock are leaves, held for a few list operations; users_lock is taken
 * under the locks of IOMMU drivers.
 */
#include <linux/atomic.h>
#include <linux/kernel_pgtable.h>
#include <linux/list.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/rculist.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/srcu.h>
#include <linux/workqueue.h>

/**
 * struct kernel_pgtable_user - an mm whose page tables devices walk
 * @node: in the list users; written under users_lock, read under users_srcu
 * @mm: the mm; constant, and its mm_count held for as long as a reader of
 *	users_srcu may find @node
 * @kept: the last invalidation has failed, so that this stays in the list; never
 *	cleared. Written under users_lock, read under users_srcu
 * @rcu: frees this after the readers that found @node
 */
struct kernel_pgtable_user {
	struct list_head node;
	struct mm_struct *mm;
	bool kept;
	struct rcu_head rcu;
};

static LIST_HEAD(users);
static DEFINE_SPINLOCK(users_lock);
DEFINE_STATIC_SRCU(users_srcu);

/* Pages between steps 3 and 4, by page->lru; under queue_lock */
static LIST_HEAD(queue);
static DEFINE_SPINLOCK(queue_lock);

/* Pages between steps 3 and 5 */
static atomic_t held;

/* An invalidation has failed since the last one began. */
static bool not_forgotten;

/* Serialises steps 4 and 5, so that who has waited for it has been served */
static DEFINE_MUTEX(flush_lock);

/**
 * kernel_pgtable_register() - announce that devices will walk an mm
 * @mm: the mm. The caller holds a reference, of either kind.
 *
 * To be called before anything through which a device reaches @mm's page tables
 * is written to the hardware. The same holds for the registration of the mmu
 * notifiers that pass invalidations on to the device; which of the two comes
 * first does not matter. From the return on, and until the mm is unregistered,
 * no page of a kernel page table is freed before the mm's notifiers have been
 * called for all addresses. An mm may be registered more than once.
 *
 * Context: process context, may sleep to allocate memory. Does not wait for an
 * invalidation in progress.
 * Return: the handle for kernel_pgtable_unregister(), %NULL on kernels that do
 * not need it, or ERR_PTR(-ENOMEM).
 */
struct kernel_pgtable_user *kernel_pgtable_register(struct mm_struct *mm)
{
	struct kernel_pgtable_user *user;

	user = kzalloc(sizeof(*user), GFP_KERNEL);
	if (!user)
		return ERR_PTR(-ENOMEM);

	mmgrab(mm);
	user->mm = mm;

	spin_lock_irq(&users_lock);
	list_add_tail_rcu(&user->node, &users);
	spin_unlock_irq(&users_lock);

	/*
	 * A reader that misses this user must not leave it anything to cache:
	 *
	 *	freeing CPU			registering CPU
	 *
	 *	clear the entry			add to users
	 *	smp_mb()	   (A), (B)	smp_mb()		  (C)
	 *	read users			make the device walk the mm
	 *					  device: read the entry
	 *
	 * Either users has the mm, or the device finds the entry clear. (C)
	 * pairs with (A) in kernel_pgtable_free() where users is found empty,
	 * and with (B) in kernel_pgtable_flush() where it is walked.
	 */
	smp_mb();

	return user;
}

static void free_user(struct rcu_head *rcu)
{
	struct kernel_pgtable_user *user;

	user = container_of(rcu, struct kernel_pgtable_user, rcu);
	mmdrop(user->mm);
	kfree(user);
}

/**
 * kernel_pgtable_unregister() - no device walks the mm any more
 * @user: what kernel_pgtable_register() returned, not an error. %NULL is
 *	ignored.
 *
 * To be called when the hardware can no longer reach the mm's page tables, and
 * has been made to forget all that it cached of them. The mm's mmu notifiers
 * may be called once more after the return. If the hardware could not be made to
 * forget, kernel_pgtable_keep() was called, and the mm stays registered.
 *
 * Context: process context. Does not sleep, and does not wait for an
 * invalidation in progress; the reference to the mm is dropped after it.
 */
void kernel_pgtable_unregister(struct kernel_pgtable_user *user)
{
	bool kept;

	if (!user)
		return;

	spin_lock_irq(&users_lock);
	kept = user->kept;
	if (!kept)
		list_del_rcu(&user->node);
	spin_unlock_irq(&users_lock);

	if (!kept)
		call_srcu(&users_srcu, &user->rcu, free_user);
}

/**
 * kernel_pgtable_keep() - the last invalidation of an mm has failed
 * @mm: the mm
 *
 * To be called by an IOMMU driver that has taken devices' access to @mm away, when
 * @mm exits or is unbound, and could not make the hardware forget what it has
 * cached; before the driver's notifier for @mm stops to invalidate these devices.
 * If @mm is registered it stays so, with a reference to it, even after
 * kernel_pgtable_unregister(). From then on no page of a kernel page table is
 * freed. The top-level table stays what the hardware takes it for, and the PASID
 * of @mm is not given to another mm.
 *
 * Context: any.
 */
void kernel_pgtable_keep(struct mm_struct *mm)
{
	struct kernel_pgtable_user *user;
	unsigned long flags;
	bool kept = false;

	spin_lock_irqsave(&users_lock, flags);
	list_for_each_entry(user, &users, node) {
		if (user->mm == mm && !user->kept) {
			WRITE_ONCE(user->kept, true);
			kept = true;
		}
	}
	spin_unlock_irqrestore(&users_lock, flags);

	if (kept)
		pr_err_ratelimited("kernel page tables are never freed from now on: a device could not be made to forget those of a process\n");
}

#if IS_ENABLED(CONFIG_KERNEL_PGTABLE_KUNIT_TEST)
/* For a test that made it up: unregister what was kept of an mm. */
void kernel_pgtable_let_go(struct mm_struct *mm)
{
	struct kernel_pgtable_user *user, *next;

	spin_lock_irq(&users_lock);
	list_for_each_entry_safe(user, next, &users, node) {
		if (user->mm == mm && user->kept) {
			list_del_rcu(&user->node);
			call_srcu(&users_srcu, &user->rcu, free_user);
		}
	}
	spin_unlock_irq(&users_lock);
}
#endif

static void invalidate_users(void)
{
	struct kernel_pgtable_user *user;
	int idx;

	lockdep_assert_held(&flush_lock);

	idx = srcu_read_lock(&users_srcu);
	list_for_each_entry_srcu(user, &users, node,
				 srcu_read_lock_held(&users_srcu)) {
		mmu_notifier_arch_invalidate_secondary_tlbs(user->mm,
							    KERNEL_PGTABLE_START,
							    KERNEL_PGTABLE_END);
		/* Set before the notifier has nothing left to invalidate */
		if (READ_ONCE(user->kept))
			kernel_pgtable_not_forgotten();
		cond_resched();
	}
	srcu_read_unlock(&users_srcu, idx);
}

/* Pages that a device may walk still: their contents stay as they are, for good. */
static void lose_batch(struct list_head *batch)
{
	unsigned int nr = list_count_nodes(batch);

	pr_err_ratelimited("%u pages of kernel page tables are lost: a device could not be made to forget them\n",
			   nr);
	INIT_LIST_HEAD(batch);
	atomic_sub(nr, &held);
}

static void release_batch(struct list_head *batch)
{
	struct page *page, *next;

	lockdep_assert_held(&flush_lock);

	list_for_each_entry_safe(page, next, batch, lru) {
		list_del(&page->lru);
		kernel_pgtable_release(page);
		atomic_dec(&held);
		cond_resched();
	}
}

/**
 * kernel_pgtable_not_forgotten() - an invalidation of kernel tables has failed
 *
 * To be called by arch_invalidate_secondary_tlbs() notifiers for a range that is
 * kernel_pgtable_is_range(), as they cannot return an error. The pages that wait for
 * this invalidation are not freed. Pages that come later are, if the invalidation
 * for them succeeds.
 *
 * Context: any.
 */
void kernel_pgtable_not_forgotten(void)
{
	WRITE_ONCE(not_forgotten, true);
}

/**
 * kernel_pgtable_flush() - free every page that has been queued
 *
 * Invalidates each user once, however many pages were queued. On return all
 * pages that kernel_pgtable_free() had taken before the call have been freed.
 *
 * Context: process context, may sleep. The caller holds no lock that an
 * arch_invalidate_secondary_tlbs() notifier takes.
 */
void kernel_pgtable_flush(void)
{
	LIST_HEAD(batch);

	might_sleep();
	mutex_lock(&flush_lock);

	spin_lock(&queue_lock);
	list_splice_init(&queue, &batch);
	spin_unlock(&queue_lock);

	if (!list_empty(&batch)) {
		/*
		 * (B): the entries that pointed to these pages were cleared
		 * before queue_lock was taken for them. Pairs with (C) in
		 * kernel_pgtable_register(), see there.
		 */
		smp_mb();
		WRITE_ONCE(not_forgotten, false);
		invalidate_users();
		if (READ_ONCE(not_forgotten))
			lose_batch(&batch);
		else
			release_batch(&batch);
	}

	mutex_unlock(&flush_lock);
}

static void flush_work_fn(struct work_struct *work)
{
	kernel_pgtable_flush();
}

static DECLARE_DELAYED_WORK(flush_work_item, flush_work_fn);

/* In jiffies; constant, but for tests */
static unsigned long flush_delay __read_mostly =
	DIV_ROUND_UP(KERNEL_PGTABLE_DELAY_MS * HZ, MSEC_PER_SEC);

#if IS_ENABLED(CONFIG_KERNEL_PGTABLE_KUNIT_TEST) || \
	IS_ENABLED(CONFIG_KERNEL_PGTABLE_LIVE_KUNIT_TEST)
/*
 * For tests that shall not depend on time: from now on, let pages wait for @delay, in
 * jiffies. Those that wait are freed, and no clock is running afterwards.
 */
void kernel_pgtable_set_delay(unsigned long delay)
{
	WRITE_ONCE(flush_delay, delay);
	cancel_delayed_work_sync(&flush_work_item);
	kernel_pgtable_flush();
}
#endif

/*
 * The first page of a batch starts the clock; those that come until it runs out
 * share the invalidation. A thread that takes the count above the limit stays in here until
 * its own page is free. All other pages were counted at or below the limit, so
 * that never more are held than the limit plus one for each thread in here.
 */
static void kernel_pgtable_defer(struct page *page)
{
	unsigned int nr = atomic_inc_return(&held);

	spin_lock(&queue_lock);
	list_add_tail(&page->lru, &queue);
	spin_unlock(&queue_lock);

	if (nr > KERNEL_PGTABLE_MAX_HELD)
		kernel_pgtable_flush();
	else
		queue_delayed_work(system_unbound_wq, &flush_work_item,
				   READ_ONCE(flush_delay));
}

/**
 * kernel_pgtable_free() - free one page of a kernel page table
 * @page: the page: order 0, allocated from the buddy allocator or reserved since
 *	boot, its page table destructor already called where it has one. The
 *	entry that pointed to it is clear, and the CPUs have been flushed since.
 *	Its contents must be left as they are.
 *
 * Frees @page at once if no device walks kernel page tables. Else leaves it to
 * a work item, KERNEL_PGTABLE_DELAY_MS later, or, when KERNEL_PGTABLE_MAX_HELD
 * pages are waiting already, frees them all before it returns. Allocates no
 * memory.
 *
 * Context: process context, may sleep. The caller holds no lock that an
 * arch_invalidate_secondary_tlbs() notifier takes.
 */
void kernel_pgtable_free(struct page *page)
{
	might_sleep();

	/* (A): pairs with (C) in kernel_pgtable_register(), see there. */
	smp_mb();
	if (list_empty(&users))
		kernel_pgtable_release(page);
	else
		kernel_pgtable_defer(page);
}

/**
 * kernel_pgtable_held() - pages that have been queued and not yet freed
 *
 * Context: any.
 * Return: the number of pages, at most KERNEL_PGTABLE_MAX_HELD plus the number
 * of threads in kernel_pgtable_free(). May be stale on return.
 */
unsigned int kernel_pgtable_held(void)
{
	return atomic_read(&held);
}

/**
 * kernel_pgtable_in_use() - whether any mm is registered
 *
 * Context: any.
 * Return: %true if a page that is freed now has to wait for an invalidation.
 * May be stale on return.
 */
bool kernel_pgtable_in_use(void)
{
	return !list_empty(&users);
}
