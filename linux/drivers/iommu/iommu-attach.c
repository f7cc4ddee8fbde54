// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where a domain is attached, and how it is invalidated there
 *
 * A domain's translations are cached in the IOTLB of each IOMMU instance that a
 * device of the domain stands behind, under a tag, and in the ATC of each device
 * that uses ATS. A change of the page table has to reach them all, from any
 * context, while devices come and go. This file keeps the list of them and walks
 * it; drivers turn its elements into commands.
 *
 * The order that makes it right
 * =============================
 *
 * Attach:     publish the elements
 *             smp_mb()				iommu_alist_commit()
 *             flush the tag, if it was in use
 *             make the hardware's entry present	the driver
 *
 * Invalidate: change the page table			the caller
 *             smp_mb()				iommu_alist_flush()
 *             walk the elements
 *
 * Detach:     clear the hardware's entry, flush the	the driver
 *             cache that the entry may be in, and wait
 *             flush tag and ATC, and wait		iommu_alist_remove()
 *             (the tag: if nobody else uses it, with
 *             IOMMU_ALIST_FLUSH_LAST_USER)
 *             unpublish the elements
 *             free the tag
 *             iommu_alist_synchronize(), and only then	the driver
 *             ATS off, device or instance gone
 *
 * Replace:    attach of the new domain, where "make present" overwrites the entry
 *             of the old one and flushes the cache that it may be in; then
 *             iommu_alist_remove() from the old domain. The two may be one: when
 *             the attach of a group is undone, devices that never left it get
 *             the old domain again.
 *
 * The two barriers pair with each other:
 *
 *	attach				invalidate
 *	------				----------
 *	publish the element		change the page table
 *	smp_mb()			smp_mb()
 *	make the entry present		read the list
 *	(hardware reads the table)
 *
 * Either the walk sees the element and flushes what the hardware has cached, or the
 * hardware, which had no way to look before the entry was present, sees the new
 * page table. An element that is published behind a walk's back is harmless, with
 * one exception: an ATC whose tag is in use already can be filled from an entry of
 * the IOTLB, which is older than the page table for as long as a walk that has
 * passed waits for its flush:
 *
 *	attach of a function with ATS	invalidate
 *	-----------------------------	----------
 *					change the page table
 *					issue the IOTLB flush
 *					read the list to its end
 *	publish the element
 *	make the entry present
 *	(ATC asks, IOTLB hits, ATC
 *	keeps the old translation)
 *					(IOTLB flushed)
 *
 * Attaching is rare, so it pays: a function with ATS that joins a tag flushes the
 * tag once between publication and entry. Who asks after that flush cannot hit what
 * is older than the publication.
 *
 * The rest follows from three more rules:
 *
 * - An ATC element is published before the function can obtain translations, and
 *   for as long as it can; and only while the function answers invalidations. A
 *   command for one that does not answer aborts everybody's. ATS goes off after
 *   iommu_alist_synchronize(). Where ATS goes on behind the first entry of a
 *   function, its ATC is added then, and what is said above of the entry is true of ATS:
 *   iommu_alist_add_atc(). Commands that come before ATS is on find an empty ATC.
 * - A tag that is on no list is in no IOTLB: the last detach flushes it first. Who
 *   allocates one finds it clean. Get and put of a tag are both under
 *   &iommu_alist.lock, so that one in mid-flush cannot be found. A tag
 *   whose flush has failed stays on the list, where walks pass it over, and its
 *   next user flushes it.
 * - Elements are freed after a grace period, and a walk issues and waits inside one
 *   rcu_read_lock(). A walk that still sees a removed element over-invalidates.
 *
 * Following the list
 * ==================
 *
 * At all times the next of an element, removed ones included, has a greater key.
 * A walk meets keys in strictly rising order, therefore, whatever happens around it:
 * it enters an instance's queue once, tags before ATCs, and queues in one order. That
 * is what keeps walks that hold slots of one queue while they wait for room in the
 * next from waiting for each other. For the same reason a walk never has two syncs
 * under way at one instance, and repeats what one has dropped when it has nothing
 * under way at the ones behind it. Batches without a sync may precede a sync: their slots
 * come back without the walk.
 *
 * A walk issues to all instances before it waits for any, and waits for exactly what
 * it issued: it notes each sync that it has under way. A second walk could not tell,
 * because the list may have changed.
 */
#include <linux/iommu.h>
#include <linux/iommu-attach.h>
#include <linux/slab.h>

#define CREATE_TRACE_POINTS
#include <trace/events/iommu_attach.h>

#define pr_attach_err(iommu, fmt, ...)					\
	pr_err_ratelimited("iommu: %s: " fmt,				\
			   iommu_alist_instance(iommu), ##__VA_ARGS__)

/*
 * An aborted command is repeated by itself that often, then given up. Others' dead
 * functions abort it, too: a driver that knows the command that an instance
 * stumbled over does better to return another error than -EAGAIN for that one.
 */
#define IOMMU_ALIST_TRIES	3

/* --- elements --- */

static int iommu_alist_cmp(const struct iommu_alist_elm *elm,
			   const struct iommu_alist_elm *key)
{
	if (elm->iommu != key->iommu)
		return elm->iommu < key->iommu ? -1 : 1;
	if (elm->kind != key->kind)
		return elm->kind < key->kind ? -1 : 1;
	if (elm->id != key->id)
		return elm->id < key->id ? -1 : 1;
	if (elm->pasid != key->pasid)
		return elm->pasid < key->pasid ? -1 : 1;
	return 0;
}

static struct iommu_alist_elm *
iommu_alist_next(struct iommu_alist *list, struct list_head *node)
{
	return list_is_last(node, &list->elms) ? NULL :
		list_entry(node->next, struct iommu_alist_elm, node);
}

/*
 * Move @after on to the last element before @key. Returns the element with
 * that key, if there is one.
 */
static struct iommu_alist_elm *
iommu_alist_find(struct iommu_alist *list, struct list_head **after,
		 const struct iommu_alist_elm *key)
{
	struct iommu_alist_elm *elm;
	int cmp;

	lockdep_assert_held(&list->lock);

	while ((elm = iommu_alist_next(list, *after))) {
		cmp = iommu_alist_cmp(elm, key);
		if (cmp >= 0)
			return cmp ? NULL : elm;
		*after = &elm->node;
	}
	return NULL;
}

/* An unpublished element like @key, from the list itself if one is there. */
static struct iommu_alist_elm *
iommu_alist_elm_get(struct iommu_alist *list,
		    const struct iommu_alist_elm *key)
{
	struct iommu_alist_elm *elm = &list->own[key->kind];

	/* The last walk that may see its former self has to be over. */
	if (elm->users || elm->listed ||
	    !poll_state_synchronize_rcu(elm->retired)) {
		elm = kmalloc(sizeof(*elm), GFP_KERNEL);
		if (!elm)
			return NULL;
	}
	*elm = *key;
	elm->own = elm == &list->own[key->kind];
	elm->users = 1;
	return elm;
}

/* Give back an element that no walk has ever seen. */
static void iommu_alist_elm_put(struct iommu_alist_elm *elm)
{
	if (!elm->own) {
		kfree(elm);
		return;
	}
	elm->users = 0;
	elm->retired = get_completed_synchronize_rcu();
}

static void iommu_alist_publish(struct iommu_alist *list,
				struct iommu_alist_elm *elm,
				struct list_head *after)
{
	elm->listed = true;
	list_add_rcu(&elm->node, after);
	trace_iommu_alist_publish(list, elm);
}

static void iommu_alist_unpublish(struct iommu_alist *list,
				  struct iommu_alist_elm *elm)
{
	trace_iommu_alist_unpublish(list, elm);
	list_del_rcu(&elm->node);
	elm->listed = false;
	if (elm->own)
		elm->retired = get_state_synchronize_rcu();
	else
		kfree_rcu_mightsleep(elm);
}

/* Walks look whether there are any. */
static unsigned int iommu_alist_count(struct iommu_alist_elm *elm, int change)
{
	WRITE_ONCE(elm->users, elm->users + change);
	return elm->users;
}

/* --- tags --- */

/*
 * The element of the tag that was chosen for an instance. Moves @after on to the
 * one before it or, if there is none, to the last before the instance's tags.
 */
static struct iommu_alist_elm *
iommu_alist_find_chosen(struct iommu_alist *list,
			struct list_head **after, struct iommu_device *iommu)
{
	struct iommu_alist_elm lowest = {
		.iommu = iommu,
		.kind = IOMMU_ALIST_TAG,
	};
	struct iommu_alist_elm *elm;
	struct list_head *node;

	iommu_alist_find(list, after, &lowest);
	for (node = *after; (elm = iommu_alist_next(list, node));
	     node = &elm->node) {
		if (elm->iommu != iommu || elm->kind != IOMMU_ALIST_TAG)
			break;
		if (elm->chosen) {
			*after = node;
			return elm;
		}
	}
	return NULL;
}

/* The tag that the domain has on an instance, or a new one. */
static int iommu_alist_choose_tag(struct iommu_alist *list,
				  struct iommu_alist_attach *attach,
				  struct iommu_alist_elm *key)
{
	struct iommu_alist_elm *elm;
	int ret;

	key->chosen = true;
	elm = iommu_alist_find_chosen(list, &attach->tag_after, key->iommu);
	if (elm) {
		key->id = elm->id;
		return 0;
	}
	ret = list->ops->tag_alloc(list, key->iommu, &key->id);
	attach->tag_allocated = !ret;
	return ret;
}

/* A tag without users that is clean; keep it, or give it back if it was the instance's last. */
static void iommu_alist_put_tag(struct iommu_alist *list,
				struct iommu_alist_elm *elm)
{
	struct iommu_device *iommu = elm->iommu;
	struct list_head *head = &list->elms;
	bool chosen = elm->chosen;
	u32 tag = elm->id;

	if (chosen && list->ops->flags & IOMMU_ALIST_KEEP_TAGS) {
		elm->clean = true;
		return;
	}
	iommu_alist_unpublish(list, elm);
	if (chosen && !iommu_alist_find_chosen(list, &head, iommu))
		list->ops->tag_free(list, iommu, tag);
}

/*
 * --- walks ---
 *
 * What is inline here is in the way of a flush of a domain with one attachment,
 * by far the commonest.
 */

static const char *iommu_alist_instance(struct iommu_device *iommu)
{
	return iommu->dev ? dev_name(iommu->dev) : "unnamed instance";
}

static void iommu_alist_failed(struct iommu_alist_walk *walk,
			       const struct iommu_alist_elm *elm, int error)
{
	walk->error = walk->error ?: error;
	walk->failed |= BIT(elm->kind);
	if (elm->kind == IOMMU_ALIST_ATC)
		pr_attach_err(elm->iommu,
			      "invalidation of the ATC of requester %#06x, PASID %u failed: %d\n",
			      elm->id, elm->pasid, error);
	else
		pr_attach_err(elm->iommu,
			      "invalidation of tag %u, PASID %u failed: %d\n",
			      elm->id, elm->pasid, error);
}

/* A function that must not be asked, because it is fenced, or about to be. */
static noinline bool iommu_alist_passed_over(struct iommu_alist_walk *walk,
					     const struct iommu_alist_fn *fn)
{
	/*
	 * Pairs with the smp_store_release() in iommu_alist_fence(): with FENCED, what
	 * the function can still do to memory is over.
	 */
	switch (smp_load_acquire(&fn->state)) {
	case IOMMU_ALIST_FENCING:
		walk->met_fencing = true;
		fallthrough;
	case IOMMU_ALIST_FENCED:
		return true;
	default:
		return false;
	}
}

/* A few attachments share a tag. */
static bool iommu_alist_is_among(const struct iommu_alist_walk *walk,
				 const struct iommu_alist_elm *elm)
{
	unsigned int n;

	for (n = 0; n < walk->nr_only; n++)
		if (elm == walk->only[n].tag || elm == walk->only[n].atc)
			return true;
	return false;
}

/*
 * In this phase, and of one attachment's walk its own. A tag that was left behind
 * is flushed by its next user, who is on the list before the smp_mb() of
 * iommu_alist_commit().
 */
static bool iommu_alist_wanted(struct iommu_alist_walk *walk,
			       const struct iommu_alist_elm *elm)
{
	if (!(walk->phase & BIT(elm->kind)) || !READ_ONCE(elm->users))
		return false;
	if (walk->only && !iommu_alist_is_among(walk, elm))
		return false;
	return !elm->fn || READ_ONCE(elm->fn->state) == IOMMU_ALIST_LIVE ||
		!iommu_alist_passed_over(walk, elm->fn);
}

static void iommu_alist_block(struct iommu_alist_walk *walk,
			      const struct iommu_alist_elm *elm)
{
	int error = iommu_alist_give_up(walk->list->ops, elm->iommu, elm->fn,
					elm->id);

	if (error)
		iommu_alist_failed(walk, elm, error);
}

/*
 * Whoever has set FENCING may be what this walk has interrupted. The walk has nothing
 * under way.
 */
static noinline void iommu_alist_finish_fences(struct iommu_alist_walk *walk)
{
	const struct iommu_alist_elm *elm;

	walk->met_fencing = false;
	list_for_each_entry_rcu(elm, &walk->list->elms, node)
		if (elm->fn && READ_ONCE(elm->fn->state) == IOMMU_ALIST_FENCING)
			iommu_alist_block(walk, elm);
}

/*
 * One element, in as many batches as it takes, each of them waited for. Stops at the
 * first that fails. Returns 0, or what @add or @wait said.
 */
static int iommu_alist_add_alone(struct iommu_alist_walk *walk,
				 const struct iommu_alist_elm *elm)
{
	const struct iommu_alist_ops *ops = walk->list->ops;
	unsigned int done;
	int ret, error;

	/* Another element may be half done. */
	walk->done = 0;
	do {
		done = walk->done;
		ret = ops->add(walk, elm);
		error = ret;
		if (ret <= 0 && (ret != -ENOSPC || walk->done <= done))
			break;
		walk->syncs++;
		error = ops->wait(walk, elm->iommu,
				  ops->submit(walk, elm->iommu));
	} while (!error && ret == -ENOSPC);
	return error;
}

/* Invalidate one element by itself. The batch is empty. */
static void iommu_alist_repeat(struct iommu_alist_walk *walk,
			       const struct iommu_alist_elm *elm)
{
	int error = 0;
	int try;

	for (try = 0; try < IOMMU_ALIST_TRIES; try++) {
		/* Another may have fenced its function meanwhile. */
		if (!iommu_alist_wanted(walk, elm))
			return;
		error = iommu_alist_add_alone(walk, elm);
		if (error != -EAGAIN)
			break;
	}
	if (error == -ETIMEDOUT && elm->fn)
		iommu_alist_block(walk, elm);
	else if (error)
		iommu_alist_failed(walk, elm, error == -EAGAIN ? -EIO : error);
}

/*
 * An instance dropped commands, nobody knows whose. One at a time again, so that
 * a failure has a name. The walk has nothing under way at this instance or at a
 * later one.
 */
static void iommu_alist_reissue(struct iommu_alist_walk *walk,
				struct iommu_device *iommu)
{
	const struct iommu_alist_elm *elm;

	list_for_each_entry_rcu(elm, &walk->list->elms, node)
		if (elm->iommu == iommu)
			iommu_alist_repeat(walk, elm);
}

static noinline int iommu_alist_wait_failed(struct iommu_alist_walk *walk,
					    struct iommu_device *iommu,
					    int error)
{
	/* -ETIMEDOUT: an ATC that was alone in the batch, and whose function gets fenced */
	if (error == -EAGAIN || (error == -ETIMEDOUT && walk->list->ops->fence))
		return -EAGAIN;

	walk->error = walk->error ?: error;
	walk->failed |= walk->phase;
	pr_attach_err(iommu, "waiting for invalidations failed: %d\n", error);
	return error;
}

/* Wait for one sync. -EAGAIN if what came before it has to be repeated. */
static inline int iommu_alist_wait(struct iommu_alist_walk *walk,
				   unsigned int n)
{
	struct iommu_device *iommu = walk->pending[n].iommu;
	int error = walk->list->ops->wait(walk, iommu, walk->pending[n].sync);

	return unlikely(error) ? iommu_alist_wait_failed(walk, iommu, error) : 0;
}

static void iommu_alist_wait_all(struct iommu_alist_walk *walk)
{
	unsigned int n, aborted = 0;

	for (n = 0; n < walk->nr_pending; n++)
		if (iommu_alist_wait(walk, n) == -EAGAIN)
			walk->pending[aborted++] = walk->pending[n];
	walk->nr_pending = 0;
	for (n = 0; n < aborted; n++)
		iommu_alist_reissue(walk, walk->pending[n].iommu);
}

/*
 * A batch was full: the instance gets another one, but not before this is done. False:
 * it failed, and is not repeated.
 */
static bool iommu_alist_wait_last(struct iommu_alist_walk *walk)
{
	unsigned int n = --walk->nr_pending;
	int error = iommu_alist_wait(walk, n);

	if (error == -EAGAIN)
		iommu_alist_reissue(walk, walk->pending[n].iommu);
	return !error || error == -EAGAIN;
}

/* Hand over the batch, and note the sync behind it. */
static inline void iommu_alist_submit(struct iommu_alist_walk *walk)
{
	struct iommu_device *iommu = walk->open;
	unsigned int n;

	if (!iommu)
		return;

	n = walk->nr_pending;
	walk->pending[n].iommu = iommu;
	walk->pending[n].sync = walk->list->ops->submit(walk, iommu);
	walk->nr_pending++;
	walk->open = NULL;
	walk->syncs++;
}

/*
 * The batch is full, and there are more commands for @elm. No second sync at an instance:
 * see "Following the list". False: @elm has failed, or is not wanted any more.
 */
static bool iommu_alist_make_room(struct iommu_alist_walk *walk,
				  const struct iommu_alist_elm *elm)
{
	const struct iommu_alist_ops *ops = walk->list->ops;
	unsigned int done = walk->done;

	/* What is pushed gets a sync even if it turns out to have been the last. */
	walk->open = elm->iommu;
	/* Nothing but tags comes before a tag of the same instance. */
	if (elm->kind != IOMMU_ALIST_TAG || !ops->push ||
	    !ops->push(walk, elm->iommu)) {
		iommu_alist_submit(walk);
		/* An element that had no commands in the batch has not failed. */
		if (!iommu_alist_wait_last(walk) && done)
			return false;
	}
	/* After an abort, its function may have been fenced. */
	return iommu_alist_wanted(walk, elm);
}

/* Go on with an element that does not fit into the batch. */
static noinline int iommu_alist_add_more(struct iommu_alist_walk *walk,
					 const struct iommu_alist_elm *elm)
{
	unsigned int done;
	int ret;

	/* It was given an empty batch, and put nothing into it. */
	if (WARN_ON_ONCE(!walk->open && !walk->done))
		return -ENOSPC;
	do {
		done = walk->done;
		ret = 0;
		if (!iommu_alist_make_room(walk, elm))
			break;
		/* Others may have been repeated meanwhile. */
		walk->done = done;
		ret = walk->list->ops->add(walk, elm);
	} while (ret == -ENOSPC && walk->done > done);
	return ret;
}

static inline void iommu_alist_issue(struct iommu_alist_walk *walk,
				     const struct iommu_alist_elm *elm)
{
	int ret;

	if (walk->open && walk->open != elm->iommu)
		iommu_alist_submit(walk);
	/*
	 * A full array means that a batch has just been submitted, so none is open;
	 * reissued commands use the batch.
	 */
	if (unlikely(walk->nr_pending == IOMMU_ALIST_MAX_PENDING))
		iommu_alist_wait_all(walk);

	walk->done = 0;
	ret = walk->list->ops->add(walk, elm);
	if (unlikely(ret == -ENOSPC))
		ret = iommu_alist_add_more(walk, elm);
	if (unlikely(ret < 0))
		iommu_alist_failed(walk, elm, ret);
	if (ret > 0)
		walk->open = elm->iommu;
}

static void iommu_alist_drain(struct iommu_alist_walk *walk)
{
	iommu_alist_submit(walk);
	iommu_alist_wait_all(walk);
	if (unlikely(walk->met_fencing))
		iommu_alist_finish_fences(walk);
}

static void iommu_alist_begin(struct iommu_alist *list,
			      struct iommu_alist_walk *walk,
			      const struct iommu_alist_attach *only,
			      unsigned long *flags)
	__acquires(RCU)
{
	walk->list = list;
	walk->only = only;
	rcu_read_lock();
	if (list->ops->flags & IOMMU_ALIST_IRQS_OFF)
		local_irq_save(*flags);
}

static inline void iommu_alist_end(struct iommu_alist_walk *walk,
				   unsigned long flags)
	__releases(RCU)
{
	if (walk->list->ops->flags & IOMMU_ALIST_IRQS_OFF)
		local_irq_restore(flags);
	rcu_read_unlock();
	trace_iommu_alist_walk(walk->list, walk);
}

/*
 * Nothing is under way, so that an interrupt has nothing to wait for. On arm64, one that
 * is pending need not be taken before the next context synchronization event.
 */
static void iommu_alist_next_phase(struct iommu_alist_walk *walk,
				   unsigned long *flags)
{
	if (!(walk->list->ops->flags & IOMMU_ALIST_IRQS_OFF))
		return;
	local_irq_restore(*flags);
#ifdef CONFIG_ARM64
	isb();
#endif
	local_irq_save(*flags);
}

static inline void iommu_alist_pass(struct iommu_alist_walk *walk,
				    unsigned int kinds)
{
	const struct iommu_alist_elm *elm;

	walk->phase = walk->kinds & kinds;
	list_for_each_entry_rcu(elm, &walk->list->elms, node)
		if (iommu_alist_wanted(walk, elm))
			iommu_alist_issue(walk, elm);
	iommu_alist_drain(walk);
}

/**
 * iommu_alist_flush() - invalidate a domain everywhere
 * @list: where the domain is attached
 * @walk: says what to invalidate, see iommu_alist_walk_init()
 *
 * The page table has to have been changed before. On return, what it said then is
 * in no IOTLB and no ATC of an element that was published when the call was made,
 * nor can it get into one that is published during the call.
 *
 * Context: any, also with interrupts off and under page-table locks. Takes no lock
 * but those of @list's driver for its queues, allocates nothing. Busy-waits for
 * the slowest instance; with %IOMMU_ALIST_IRQS_OFF, with interrupts off, which get in
 * between the tags and the ATCs of %IOMMU_ALIST_SYNC_BEFORE_ATC.
 * Return: 0, or the first error: then the memory behind the old translations must
 * not be trusted to be out of the devices' reach.
 */
int iommu_alist_flush(struct iommu_alist *list,
		      struct iommu_alist_walk *walk)
{
	unsigned long flags = 0;

	/*
	 * Pairs with the smp_mb() in iommu_alist_commit(): the change of the page
	 * table is visible to whom the walk misses.
	 */
	smp_mb();

	iommu_alist_begin(list, walk, NULL, &flags);
	if (list->ops->flags & IOMMU_ALIST_SYNC_BEFORE_ATC) {
		iommu_alist_pass(walk, BIT(IOMMU_ALIST_TAG));
		iommu_alist_next_phase(walk, &flags);
		iommu_alist_pass(walk, BIT(IOMMU_ALIST_ATC));
	} else {
		iommu_alist_pass(walk, IOMMU_ALIST_ALL_KINDS);
	}
	iommu_alist_end(walk, flags);
	return walk->error;
}
EXPORT_SYMBOL_GPL(iommu_alist_flush);

/* One phase of it: the tag, the ATCs, or both. */
static void iommu_alist_pass_only(struct iommu_alist_walk *walk,
				  unsigned int kinds)
{
	const struct iommu_alist_elm *atc;
	unsigned int n;

	walk->phase = walk->kinds & kinds;
	if (iommu_alist_wanted(walk, walk->only->tag))
		iommu_alist_issue(walk, walk->only->tag);
	for (n = 0; n < walk->nr_only; n++) {
		atc = walk->only[n].atc;
		if (atc && iommu_alist_wanted(walk, atc))
			iommu_alist_issue(walk, atc);
	}
	iommu_alist_drain(walk);
}

/* Invalidate attachments of one tag. */
static int iommu_alist_flush_some(struct iommu_alist *list,
				  struct iommu_alist_walk *walk,
				  const struct iommu_alist_attach *only,
				  unsigned int nr)
{
	unsigned long flags = 0;

	/*
	 * The state of the function is read after the flush of the entry's cache, for
	 * which the driver has waited: it may be brought back meanwhile.
	 */
	smp_mb();

	/* What is left out has not been flushed, either. */
	walk->failed = IOMMU_ALIST_ALL_KINDS & ~walk->kinds;
	walk->nr_only = nr;
	iommu_alist_begin(list, walk, only, &flags);
	if (list->ops->flags & IOMMU_ALIST_SYNC_BEFORE_ATC) {
		iommu_alist_pass_only(walk, BIT(IOMMU_ALIST_TAG));
		iommu_alist_next_phase(walk, &flags);
		iommu_alist_pass_only(walk, BIT(IOMMU_ALIST_ATC));
	} else {
		iommu_alist_pass_only(walk, IOMMU_ALIST_ALL_KINDS);
	}
	iommu_alist_end(walk, flags);
	return walk->error;
}

/* Invalidate one attachment, or only its tag. */
static int iommu_alist_flush_only(struct iommu_alist *list,
				  struct iommu_alist_walk *walk,
				  const struct iommu_alist_attach *only)
{
	return iommu_alist_flush_some(list, walk, only, 1);
}

/* --- attach and detach --- */

/* Find or make the element for @key; @after is NULL if it was found. */
static struct iommu_alist_elm *
iommu_alist_share(struct iommu_alist *list, struct list_head **after,
		  const struct iommu_alist_elm *key)
{
	struct iommu_alist_elm *elm = iommu_alist_find(list, after, key);

	if (!elm)
		return iommu_alist_elm_get(list, key);
	iommu_alist_count(elm, 1);
	*after = NULL;
	return elm;
}

/* Undo iommu_alist_share(). */
static void iommu_alist_unshare(struct iommu_alist_elm *elm,
				struct list_head *after)
{
	if (after)
		iommu_alist_elm_put(elm);
	else
		iommu_alist_count(elm, -1);
}

static int iommu_alist_prepare_tag(struct iommu_alist *list,
				   struct iommu_alist_attach *attach,
				   const struct iommu_alist_where *where)
{
	struct iommu_alist_elm key = {
		.iommu = where->iommu,
		.kind = IOMMU_ALIST_TAG,
		.id = where->tag,
		.pasid = where->tag_pasid,
		.info = where->tag_info,
	};
	int ret;

	attach->tag_after = &list->elms;
	attach->tag_allocated = false;
	if (where->choose_tag) {
		ret = iommu_alist_choose_tag(list, attach, &key);
		if (ret)
			return ret;
	}
	attach->tag = iommu_alist_share(list, &attach->tag_after, &key);
	if (attach->tag) {
		attach->tag_dirty = !attach->tag_after && attach->tag->users == 1 &&
				    !attach->tag->clean;
		/* Perhaps one that was not flushed, and that others had chosen. */
		attach->tag->chosen |= key.chosen;
		return 0;
	}
	if (attach->tag_allocated)
		list->ops->tag_free(list, key.iommu, key.id);
	return -ENOMEM;
}

static int iommu_alist_prepare_atc(struct iommu_alist *list,
				   struct iommu_alist_attach *attach,
				   const struct iommu_alist_where *where)
{
	struct iommu_alist_elm key = {
		.iommu = where->iommu,
		.kind = IOMMU_ALIST_ATC,
		.id = where->requester,
		.pasid = where->pasid,
		.info = where->atc_info,
		.fn = list->ops->fence ? where->fn : NULL,
	};

	attach->atc = NULL;
	if (!where->ats)
		return 0;
	/* Behind the tag, so that both together are one pass over the list. */
	attach->atc_after = attach->tag_after ?: &attach->tag->node;
	attach->atc = iommu_alist_share(list, &attach->atc_after, &key);
	return attach->atc ? 0 : -ENOMEM;
}

/**
 * iommu_alist_prepare() - everything of an attach that can fail
 * @list: where the domain is attached
 * @attach: what to fill in
 * @where: what is to be attached
 *
 * Finds the attachment's tag or allocates one, and what the list needs to keep
 * it. No walk sees anything of it. Followed by iommu_alist_commit() or
 * iommu_alist_cancel(), without giving up the lock, and without another change of
 * @list, in between.
 *
 * Context: may sleep; &iommu_alist.lock held.
 * Return: 0, -ENOMEM, or what &iommu_alist_ops.tag_alloc said.
 */
int iommu_alist_prepare(struct iommu_alist *list,
			struct iommu_alist_attach *attach,
			const struct iommu_alist_where *where)
{
	int ret;

	lockdep_assert_held(&list->lock);

	ret = iommu_alist_prepare_tag(list, attach, where);
	if (ret)
		return ret;
	ret = iommu_alist_prepare_atc(list, attach, where);
	if (ret)
		iommu_alist_cancel(list, attach);
	return ret;
}
EXPORT_SYMBOL_GPL(iommu_alist_prepare);

/**
 * iommu_alist_cancel() - undo iommu_alist_prepare()
 * @list: where the domain is attached
 * @attach: what was prepared, and not committed
 *
 * Context: &iommu_alist.lock held.
 */
void iommu_alist_cancel(struct iommu_alist *list,
			struct iommu_alist_attach *attach)
{
	lockdep_assert_held(&list->lock);

	if (attach->atc)
		iommu_alist_unshare(attach->atc, attach->atc_after);
	if (attach->tag_allocated) {
		list->ops->tag_free(list, attach->tag->iommu, attach->tag->id);
		attach->tag->chosen = false;
	}
	iommu_alist_unshare(attach->tag, attach->tag_after);
}
EXPORT_SYMBOL_GPL(iommu_alist_cancel);

static void iommu_alist_publish_both(struct iommu_alist *list,
				     struct iommu_alist_attach *attach)
{
	attach->tag->clean = false;
	if (attach->tag_after)
		iommu_alist_publish(list, attach->tag, attach->tag_after);
	if (attach->atc && attach->atc_after)
		iommu_alist_publish(list, attach->atc,
				    attach->atc_after == attach->tag_after ?
				    &attach->tag->node : attach->atc_after);
}

/*
 * Another attachment of a tag that is published by now: its place was found before those
 * of the others were taken.
 */
static void iommu_alist_publish_another(struct iommu_alist *list,
					struct iommu_alist_attach *attach)
{
	if (!attach->atc_after)
		return;
	attach->atc_after = &attach->tag->node;
	iommu_alist_find(list, &attach->atc_after, attach->atc);
	iommu_alist_publish(list, attach->atc, attach->atc_after);
}

/**
 * iommu_alist_commit() - publish an attachment
 * @list: where the domain is attached
 * @attach: what iommu_alist_prepare() filled in
 * @walk: an unused walk over everything that the domain can translate
 *
 * From here on invalidations reach the attachment; the caller makes the
 * hardware's entry present now, not before. A function that was said to have an ATC
 * has to answer invalidations already.
 *
 * Context: &iommu_alist.lock held. Waits for one flush if the tag was in
 * use and the function has an ATC, or if the tag was not clean.
 * Return: 0. Only an instance that fails to flush makes it an error: then the
 * attachment is published, but the entry must not be made present; undo it with
 * iommu_alist_remove().
 */
int iommu_alist_commit(struct iommu_alist *list,
		       struct iommu_alist_attach *attach,
		       struct iommu_alist_walk *walk)
{
	return iommu_alist_commit_ids(list, attach, 1, walk);
}
EXPORT_SYMBOL_GPL(iommu_alist_commit);

/**
 * iommu_alist_drop_atc() - undo iommu_alist_add_atc()
 * @list: where the domain is attached
 * @attach: a committed attachment, of a function whose ATS is off
 *
 * Walks that are under way may send commands for the ATC until iommu_alist_synchronize().
 *
 * Context: &iommu_alist.lock held.
 */
void iommu_alist_drop_atc(struct iommu_alist *list,
			  struct iommu_alist_attach *attach)
{
	lockdep_assert_held(&list->lock);

	if (!iommu_alist_count(attach->atc, -1))
		iommu_alist_unpublish(list, attach->atc);
	attach->atc = NULL;
}
EXPORT_SYMBOL_GPL(iommu_alist_drop_atc);

/**
 * iommu_alist_add_atc() - publish the ATC of an attachment that has none so far
 * @list: where the domain is attached
 * @attach: a committed attachment, of a function whose ATS is off
 * @where: as for iommu_alist_prepare(), now with &iommu_alist_where.ats
 * @walk: an unused walk over everything that the domain can translate
 *
 * For functions whose ATS goes on when their first entry is present. From here on
 * invalidations reach the ATC; the caller switches ATS on now, not before. If the
 * ATC may not be empty then, the caller flushes it afterwards.
 *
 * Context: may sleep; &iommu_alist.lock held. Waits for one flush of the tag.
 * Return: 0, -ENOMEM, or the error of the flush: then ATS must stay off.
 */
int iommu_alist_add_atc(struct iommu_alist *list,
			struct iommu_alist_attach *attach,
			const struct iommu_alist_where *where,
			struct iommu_alist_walk *walk)
{
	struct iommu_alist_attach tag_only = { .tag = attach->tag };
	int ret;

	lockdep_assert_held(&list->lock);

	attach->tag_after = NULL;
	ret = iommu_alist_prepare_atc(list, attach, where);
	if (ret)
		return ret;
	if (attach->atc_after)
		iommu_alist_publish(list, attach->atc, attach->atc_after);
	/*
	 * Pairs with the smp_mb() in iommu_alist_flush(): a walk that misses the ATC
	 * has changed the page table before ATS is on.
	 */
	smp_mb();

	/* The tag is in use, by this attachment at least: see iommu_alist_commit(). */
	ret = iommu_alist_flush_only(list, walk, &tag_only);
	if (ret)
		iommu_alist_drop_atc(list, attach);
	return ret;
}
EXPORT_SYMBOL_GPL(iommu_alist_add_atc);

/*
 * What the IOTLB has under a tag in use is the domain's, and walks keep it right: with
 * the entry gone, nothing gets there through the attachment. The last to go flushes.
 */
static bool iommu_alist_tag_stays(const struct iommu_alist *list,
				  const struct iommu_alist_attach *attach,
				  unsigned int nr)
{
	return list->ops->flags & IOMMU_ALIST_FLUSH_LAST_USER &&
		attach->tag->users > nr;
}

/* One attachment of those that were flushed together, and that share a tag */
static void iommu_alist_forget(struct iommu_alist *list,
			       struct iommu_alist_attach *attach,
			       const struct iommu_alist_walk *walk)
{
	if (attach->atc && !iommu_alist_count(attach->atc, -1))
		iommu_alist_unpublish(list, attach->atc);
	if (!iommu_alist_count(attach->tag, -1) &&
	    !(walk->failed & BIT(IOMMU_ALIST_TAG)))
		iommu_alist_put_tag(list, attach->tag);
}

/**
 * iommu_alist_remove() - flush an attachment and forget it
 * @list: where the domain is attached
 * @attach: a committed attachment
 * @walk: an unused walk over everything that the domain can translate
 *
 * The caller has cleared or replaced the hardware's entry, and flushed and waited
 * for the cache that it may have been in. Walks that are under way may send
 * commands for the attachment until iommu_alist_synchronize().
 *
 * The attachment is gone whatever is returned. A function that does not answer has been
 * fenced; if that has failed, too, or the driver cannot, it may use old translations,
 * and no walk will tell it any more: it has to be kept from memory by other means, as
 * by switching its ATS off, or by a reset. A tag that could not be flushed stays with
 * the domain, until its next user has flushed it; so does one that @walk leaves out.
 * With %IOMMU_ALIST_FLUSH_LAST_USER, a tag that others use is left alone.
 *
 * Context: &iommu_alist.lock held.
 * Return: 0, or the error of the flush.
 */
int iommu_alist_remove(struct iommu_alist *list,
		       struct iommu_alist_attach *attach,
		       struct iommu_alist_walk *walk)
{
	return iommu_alist_remove_ids(list, attach, 1, walk);
}
EXPORT_SYMBOL_GPL(iommu_alist_remove);

/**
 * iommu_alist_synchronize() - wait for walks that may see removed elements
 *
 * To be called between iommu_alist_remove() and whatever makes a command for the
 * removed elements harmful: the function's ATS goes off, the function or the instance
 * goes away. Nothing else has to wait.
 *
 * Context: may sleep, for a grace period.
 */
void iommu_alist_synchronize(void)
{
	synchronize_rcu();
}
EXPORT_SYMBOL_GPL(iommu_alist_synchronize);

/* --- functions with several requester IDs --- */

static bool iommu_alist_is_repeated(const u32 *ids, unsigned int n)
{
	unsigned int m;

	for (m = 0; m < n; m++)
		if (ids[m] == ids[n])
			return true;
	return false;
}

/* One more ID of a function, the @n-th, with the tag of the first */
static int iommu_alist_prepare_another(struct iommu_alist *list,
				       struct iommu_alist_attach *attach,
				       unsigned int n,
				       const struct iommu_alist_where *where)
{
	int ret;

	attach[n] = (struct iommu_alist_attach) {
		.tag = attach->tag,
		/* Where the tag is going to be: it may not be there yet. */
		.tag_after = attach->tag_after,
	};
	ret = iommu_alist_prepare_atc(list, &attach[n], where);
	if (ret)
		return ret;
	iommu_alist_count(attach->tag, 1);
	attach[n].tag_after = NULL;
	return 0;
}

/**
 * iommu_alist_prepare_ids() - iommu_alist_prepare() of a function with several IDs
 * @list: where the domain is attached
 * @attach: what to fill in, one for each of @ids
 * @where: what is to be attached, with &iommu_alist_where.requester of no importance
 * @ids: IDs of the function in ATC commands, perhaps some of them more than once
 * @nr: how many there are, at least one; on return, how many attachments the function
 *	has: one for each distinct ID, or one if it has no ATC
 *
 * The attachments share the tag. Followed by iommu_alist_commit_ids() or
 * iommu_alist_cancel_ids() of all of them.
 *
 * Context: may sleep; &iommu_alist.lock held.
 * Return: as iommu_alist_prepare(). After an error there is no attachment.
 */
int iommu_alist_prepare_ids(struct iommu_alist *list,
			    struct iommu_alist_attach *attach,
			    const struct iommu_alist_where *where,
			    const u32 *ids, unsigned int *nr)
{
	struct iommu_alist_where each = *where;
	unsigned int n, nr_ids = where->ats ? *nr : 1;
	int ret;

	*nr = 0;
	for (n = 0; n < nr_ids; n++) {
		if (iommu_alist_is_repeated(ids, n))
			continue;
		each.requester = ids[n];
		ret = n ? iommu_alist_prepare_another(list, attach, *nr, &each) :
			iommu_alist_prepare(list, attach, &each);
		if (ret)
			goto out_cancel;
		++*nr;
	}
	return 0;

out_cancel:
	iommu_alist_cancel_ids(list, attach, *nr);
	*nr = 0;
	return ret;
}
EXPORT_SYMBOL_GPL(iommu_alist_prepare_ids);

/**
 * iommu_alist_cancel_ids() - undo iommu_alist_prepare_ids()
 * @list: where the domain is attached
 * @attach: what was prepared, and not committed
 * @nr: how many there are
 *
 * Context: &iommu_alist.lock held.
 */
void iommu_alist_cancel_ids(struct iommu_alist *list,
			    struct iommu_alist_attach *attach, unsigned int nr)
{
	while (nr--)
		iommu_alist_cancel(list, &attach[nr]);
}
EXPORT_SYMBOL_GPL(iommu_alist_cancel_ids);

/**
 * iommu_alist_commit_ids() - iommu_alist_commit() of a function with several IDs
 * @list: where the domain is attached
 * @attach: what iommu_alist_prepare_ids() has filled in
 * @nr: how many there are
 * @walk: an unused walk over everything that the domain can translate
 *
 * The caller makes the hardware's entries present afterwards, those of all IDs. The tag
 * is flushed once, if at all.
 *
 * Context: as iommu_alist_commit().
 * Return: as iommu_alist_commit(). After an error undo all of it with
 * iommu_alist_remove_ids().
 */
int iommu_alist_commit_ids(struct iommu_alist *list,
			   struct iommu_alist_attach *attach, unsigned int nr,
			   struct iommu_alist_walk *walk)
{
	struct iommu_alist_attach tag_only = { .tag = attach->tag };
	bool joins = !attach->tag_after && !attach->tag->clean;
	unsigned int n;

	lockdep_assert_held(&list->lock);

	iommu_alist_publish_both(list, attach);
	for (n = 1; n < nr; n++)
		iommu_alist_publish_another(list, &attach[n]);
	/*
	 * Pairs with the smp_mb() in iommu_alist_flush(): a walk that misses the
	 * elements has changed the page table before the hardware reads it.
	 */
	smp_mb();

	/* Not from an entry of the IOTLB that a walk is about to flush, either. */
	if ((joins && attach->atc) || attach->tag_dirty)
		return iommu_alist_flush_only(list, walk, &tag_only);
	return 0;
}
EXPORT_SYMBOL_GPL(iommu_alist_commit_ids);

/**
 * iommu_alist_remove_ids() - flush the attachments of a function and forget them
 * @list: where the domain is attached
 * @attach: committed attachments
 * @nr: how many there are
 * @walk: an unused walk over everything that the domain can translate
 *
 * iommu_alist_remove() of all of them, after the hardware's entries of all IDs have been
 * cleared or replaced: the tag is flushed once, and the ATCs together.
 *
 * Context: &iommu_alist.lock held.
 * Return: 0, or the error of the flush. The attachments are gone whatever is returned.
 */
int iommu_alist_remove_ids(struct iommu_alist *list,
			   struct iommu_alist_attach *attach, unsigned int nr,
			   struct iommu_alist_walk *walk)
{
	unsigned int n;
	bool stays;
	int error;

	lockdep_assert_held(&list->lock);

	stays = iommu_alist_tag_stays(list, attach, nr);
	if (stays)
		walk->kinds &= ~BIT(IOMMU_ALIST_TAG);
	error = iommu_alist_flush_some(list, walk, attach, nr);
	if (stays)
		walk->failed &= ~BIT(IOMMU_ALIST_TAG);
	/* Walks pass it over when it has no users. */
	if (walk->failed & BIT(IOMMU_ALIST_TAG) && attach->tag->users == nr &&
	    list->ops->tag_left)
		list->ops->tag_left(list);
	for (n = 0; n < nr; n++)
		iommu_alist_forget(list, &attach[n], walk);
	return error;
}
EXPORT_SYMBOL_GPL(iommu_alist_remove_ids);

/* --- functions that do not answer --- */

/**
 * iommu_alist_fence() - keep a function from memory
 * @ops: of the driver
 * @fn: the function, which does not answer invalidations or is to be reset
 *
 * On return, no request that the function makes with what its ATC holds gets to
 * memory any more, and nobody asks it to invalidate who has not begun. Whoever
 * finds that another has begun does all of it as well: that one may be what was
 * interrupted.
 *
 * Context: any, inside the rcu_read_lock() in which the function was asked: who brings
 * it back waits for those who still fence it.
 * Return: 1 if the caller was the first, 0 if others have begun, or the error of
 * &iommu_alist_ops.fence. Then it may still use what its ATC holds.
 */
int iommu_alist_fence(const struct iommu_alist_ops *ops,
		      struct iommu_alist_fn *fn)
{
	u32 state = READ_ONCE(fn->state);
	bool first = false;
	int error;

	RCU_LOCKDEP_WARN(!rcu_read_lock_held(), "fence against whoever resumes");

	/* Fully ordered: &iommu_alist_ops.fence writes after that. */
	while (!first &&
	       (state == IOMMU_ALIST_LIVE || state == IOMMU_ALIST_RESUMING))
		first = try_cmpxchg(&fn->state, &state, IOMMU_ALIST_FENCING);

	/* Pairs with the release below. Another may have been faster. */
	if (smp_load_acquire(&fn->state) == IOMMU_ALIST_FENCED)
		return first;

	error = ops->fence(fn);
	if (error)
		return error;
	/*
	 * After the last wait of @fence: who reads FENCED passes the function over, and
	 * lets the memory go that it had translations for.
	 */
	smp_store_release(&fn->state, IOMMU_ALIST_FENCED);
	return first;
}
EXPORT_SYMBOL_GPL(iommu_alist_fence);

/**
 * iommu_alist_give_up() - fence a function that does not answer, and say so
 * @ops: of the driver
 * @iommu: the instance
 * @fn: the function
 * @requester: its ID
 *
 * Context: as iommu_alist_fence().
 * Return: 0, or the error of &iommu_alist_ops.fence.
 */
int iommu_alist_give_up(const struct iommu_alist_ops *ops,
			struct iommu_device *iommu, struct iommu_alist_fn *fn,
			u32 requester)
{
	int ret = iommu_alist_fence(ops, fn);

	if (ret > 0)
		pr_attach_err(iommu,
			      "requester %#06x does not answer invalidations: its translated requests are blocked until it is reset\n",
			      requester);
	else if (ret < 0)
		pr_attach_err(iommu,
			      "requester %#06x does not answer invalidations, and could not be blocked: %d. It may use memory that was freed\n",
			      requester, ret);
	return min(ret, 0);
}
EXPORT_SYMBOL_GPL(iommu_alist_give_up);

/**
 * iommu_alist_resume() - a fenced function answers again
 * @fn: the function
 *
 * Since it was fenced, perhaps in vain, iommu_alist_synchronize() was called, and the
 * function was reset or its ATS has been off. From here on walks ask it again. The
 * caller flushes each tag that the function uses, and the whole ATC; only then
 * iommu_alist_go_live():
 *
 *	resume				invalidate
 *	------				----------
 *	RESUMING			change the page table
 *	smp_mb()			smp_mb()
 *	flush tags and ATC		read the state: FENCED, pass over
 *	LIVE, let it to memory
 *
 * A walk that passes the function over has changed the page table before the flush:
 * what the function is told after that is new.
 *
 * Context: one at a time for each function.
 */
void iommu_alist_resume(struct iommu_alist_fn *fn)
{
	WARN_ON_ONCE(!iommu_alist_is_fenced(fn));
	WRITE_ONCE(fn->state, IOMMU_ALIST_RESUMING);
	/* Pairs with the smp_mb() in iommu_alist_flush(). */
	smp_mb();
}
EXPORT_SYMBOL_GPL(iommu_alist_resume);

/**
 * iommu_alist_go_live() - a function may use its ATC again
 * @fn: the function, after iommu_alist_resume() and the flush
 *
 * Context: under the lock that iommu_alist_is_live() is asked under, and in which the
 * caller lets the function to memory.
 * Return: true. false if it has been fenced again meanwhile.
 */
bool iommu_alist_go_live(struct iommu_alist_fn *fn)
{
	u32 state = IOMMU_ALIST_RESUMING;

	return try_cmpxchg(&fn->state, &state, IOMMU_ALIST_LIVE);
}
EXPORT_SYMBOL_GPL(iommu_alist_go_live);

/**
 * iommu_alist_init() - a list of a domain that is attached nowhere
 * @list: the list
 * @ops: of the domain's driver
 */
void iommu_alist_init(struct iommu_alist *list,
		      const struct iommu_alist_ops *ops)
{
	unsigned int n;

	INIT_LIST_HEAD(&list->elms);
	mutex_init(&list->lock);
	list->ops = ops;
	for (n = 0; n < ARRAY_SIZE(list->own); n++) {
		list->own[n].users = 0;
		list->own[n].listed = false;
		list->own[n].retired = get_completed_synchronize_rcu();
	}
}
EXPORT_SYMBOL_GPL(iommu_alist_init);

/**
 * iommu_alist_destroy() - the end of a domain's list
 * @list: the list
 *
 * Everything has been removed, and no walk is under way: of a paging domain,
 * because nobody maps or unmaps any more; of an SVA domain, because this is
 * called from the notifier's free_notifier(). Tags that were kept are freed now, and
 * those that could not be flushed never.
 */
void iommu_alist_destroy(struct iommu_alist *list)
{
	struct iommu_alist_elm *elm, *next;

	list_for_each_entry_safe(elm, next, &list->elms, node) {
		WARN_ON(elm->users);
		if (elm->clean)
			list->ops->tag_free(list, elm->iommu, elm->id);
		if (!elm->own)
			kfree(elm);
	}
	mutex_destroy(&list->lock);
}
EXPORT_SYMBOL_GPL(iommu_alist_destroy);
