// SPDX-License-Identifier: GPL-2.0-only
/*
 * IOMMUs made of memory, for tests of who invalidates them
 *
 * A machine has instances, functions behind them, and domains to attach functions
 * to. A page table is an array of version numbers, so that a translation that is
 * too old shows. What caches translations are arrays with room for everything:
 * nothing is ever evicted, so that what was not invalidated stays.
 *
 * An instance's queue takes batches of commands, each with a sync behind it, and
 * executes them in order, one command at a time. Commands take effect as late as
 * they may: not before the batch's latency is over, and then only when somebody
 * polls for a sync of that instance. That leaves others as much time as possible to
 * do things in between, without a thread that would need a CPU of its own.
 *
 * The slot of a batch is given back by whoever waits for its sync, and slots are
 * used in turn, as in the queue of VT-d: walks that enter queues in different
 * orders will sooner or later wait for each other. A batch without a sync, as
 * SMMUv3 has it, gives its slot back itself.
 *
 * An unordered queue executes the ATC commands of a batch before its IOTLB ones, as
 * SMMUv3 is free to do.
 *
 * Translation requests are atomic: a function that looks up its ATC, asks the
 * instance, which looks up its IOTLB, walks the page table and fills both, holds
 * the instance's lock all the time, and so does the execution of a command. Hardware
 * guarantees the same in effect, by letting an invalidation wait for requests that
 * came before it. Instances do not cache PASID entries: that is between a driver
 * and its hardware.
 *
 * An instance does copy a function's context entry, which says whether translated
 * requests may pass. A copy that lets them pass it keeps until it is told to drop it;
 * otherwise it looks again each time. A write that has passed is in flight until an
 * invalidation of the IOTLB, or of the function's ATC, pushes it to memory.
 *
 * The drivers follow the contract at the top of iommu-attach.c. They, and the
 * hardware, complain about what must not happen; a test expects no complaints.
 */
#include <linux/iommu.h>
#include <linux/iommu-attach.h>
#include <linux/ktime.h>
#include <linux/minmax.h>
#include <linux/slab.h>

#include "iommu-mock.h"

/*
 * Nobody is so slow; somebody waits for whom he should not. After that there is no
 * point in waiting as long again.
 */
#define IMOCK_DEADLOCK_MS	10000
#define IMOCK_DEADLOCK_AGAIN_MS	10

#define IMOCK_NO_SYNC		U64_MAX

static struct imock_instance *to_imock_instance(struct iommu_device *iommu)
{
	return container_of(iommu, struct imock_instance, iommu);
}

static struct imock_walk *to_imock_walk(struct iommu_alist_walk *walk)
{
	return container_of(walk, struct imock_walk, walk);
}

/**
 * imock_complain() - note that something happened that must not happen
 * @mock: the machine
 * @fmt: what
 *
 * Context: any.
 */
void imock_complain(struct imock *mock, const char *fmt, ...)
{
	unsigned long flags;
	va_list args;

	raw_spin_lock_irqsave(&mock->lock, flags);
	if (!mock->nr_complaints) {
		va_start(args, fmt);
		vscnprintf(mock->complaint, sizeof(mock->complaint), fmt, args);
		va_end(args);
	}
	WRITE_ONCE(mock->nr_complaints, mock->nr_complaints + 1);
	raw_spin_unlock_irqrestore(&mock->lock, flags);
}

/**
 * imock_is_good() - whether nothing has happened that must not happen
 * @mock: the machine
 *
 * Context: any. Something may be about to happen.
 * Return: true if there were no complaints.
 */
bool imock_is_good(struct imock *mock)
{
	return !READ_ONCE(mock->nr_complaints);
}

/* Count and log. Once the log is full, instances have nothing in common here. */
static void imock_note(struct imock_instance *inst, enum imock_what what)
{
	struct imock *mock = inst->mock;
	unsigned int n;

	lockdep_assert_held(&inst->lock);

	inst->count[what]++;
	if (READ_ONCE(mock->nr_logged) >= IMOCK_LOG)
		return;
	raw_spin_lock(&mock->lock);
	n = mock->nr_logged;
	if (n < IMOCK_LOG) {
		mock->log[n].what = what;
		mock->log[n].inst = inst->index;
		WRITE_ONCE(mock->nr_logged, n + 1);
	}
	raw_spin_unlock(&mock->lock);
}

/* --- the hardware: invalidations --- */

/* A page that a function gets at must not be somebody else's by now. */
static void imock_reach(struct imock_fn *fn, const struct imock_xlate *xlate,
			unsigned int page)
{
	if (xlate->version < READ_ONCE(xlate->domain->freed[page]))
		imock_complain(fn->inst->mock,
			       "function %u gets at memory that was freed",
			       fn->requester);
}

static void imock_land(struct imock_fn *fn)
{
	lockdep_assert_held(&fn->inst->lock);

	if (fn->posted.domain)
		imock_reach(fn, &fn->posted, fn->posted_page);
	fn->posted.domain = NULL;
}

/* Of whichever tag: it pushes all that has passed before. */
static void imock_execute_iotlb(struct imock_instance *inst,
				const struct imock_cmd *cmd)
{
	struct imock_xlate *page = inst->iotlb[cmd->id][cmd->pasid];
	struct imock *mock = inst->mock;
	unsigned int n;

	for (n = inst->index; n < mock->nr_fns; n += mock->nr_inst)
		imock_land(&mock->fn[n]);
	memset(&page[cmd->first], 0,
	       (cmd->last - cmd->first + 1) * sizeof(*page));
}

static void imock_execute_atc(struct imock_instance *inst,
			      const struct imock_cmd *cmd)
{
	struct imock_fn *fn = &inst->mock->fn[cmd->id];
	struct imock_xlate *page = fn->atc[cmd->pasid];

	imock_land(fn);
	if (!fn->ats)
		imock_complain(inst->mock, "command for function %u without ATS",
			       cmd->id);
	memset(&page[cmd->first], 0,
	       (cmd->last - cmd->first + 1) * sizeof(*page));
}

static struct imock_batch *imock_slot(struct imock_instance *inst, u32 sync)
{
	return &inst->queue[sync % inst->mock->slots];
}

/* Somebody polls: execute one command, or complete one sync, if it is time. */
static void imock_step(struct imock_instance *inst)
{
	struct imock_batch *batch = imock_slot(inst, inst->head);
	const struct imock_cmd *cmd;

	lockdep_assert_held(&inst->lock);

	if (inst->head == inst->tail ||
	    ktime_before(ktime_get(), batch->ready))
		return;
	if (batch->result || batch->next == batch->nr) {
		batch->state = batch->pushed ? IMOCK_FREE : IMOCK_DONE;
		inst->head++;
		return;
	}
	cmd = &batch->cmd[batch->next++];
	if (cmd->what == IMOCK_IOTLB)
		imock_execute_iotlb(inst, cmd);
	else if (cmd->what == IMOCK_ATC)
		imock_execute_atc(inst, cmd);
	else
		inst->mock->fn[cmd->id].copy = false;
}

/* --- the hardware: translations --- */

static struct imock_xlate *imock_iotlb(struct imock_instance *inst,
				       const struct imock_entry *entry,
				       unsigned int page)
{
	return &inst->iotlb[entry->tag][entry->tag_pasid][page];
}

/* Whether translated requests of a function pass, and requests for translations */
static bool imock_passes(struct imock_fn *fn)
{
	lockdep_assert_held(&fn->inst->lock);

	fn->copy |= READ_ONCE(fn->context);
	return fn->copy;
}

static void imock_translate(struct imock_fn *fn, u32 pasid, unsigned int page,
			    struct imock_xlate *xlate)
{
	struct imock_entry *entry = &fn->entry[pasid];
	struct imock_xlate *hit = imock_iotlb(fn->inst, entry, page);

	lockdep_assert_held(&fn->inst->lock);

	if (!hit->domain) {
		hit->domain = entry->domain;
		/* Not ordered against anything: that is what flushes are for. */
		hit->version = READ_ONCE(entry->domain->version[page]);
	}
	if (fn->ats && imock_passes(fn))
		fn->atc[pasid][page] = *hit;
	*xlate = *hit;
}

/**
 * imock_access() - a function accesses memory
 * @fn: the function
 * @pasid: PASID
 * @page: page
 *
 * Context: any.
 * Return: the version of the page; -EFAULT if there is no translation, -EACCES if it
 * has one and is blocked.
 */
int imock_access(struct imock_fn *fn, u32 pasid, unsigned int page)
{
	const struct imock_domain *domain;
	struct imock_entry *entry;
	struct imock_xlate xlate;
	unsigned long flags;

	raw_spin_lock_irqsave(&fn->inst->lock, flags);
	entry = &fn->entry[pasid];
	domain = entry->domain;
	xlate = fn->atc[pasid][page];
	if (xlate.domain && !imock_passes(fn)) {
		raw_spin_unlock_irqrestore(&fn->inst->lock, flags);
		return -EACCES;
	}
	if (!xlate.domain && domain)
		imock_translate(fn, pasid, page, &xlate);
	if (domain && xlate.domain != domain && xlate.domain != entry->old)
		imock_complain(fn->inst->mock,
			       "function %u, PASID %u sees another's page",
			       fn->requester, pasid);
	if (xlate.domain)
		imock_reach(fn, &xlate, page);
	raw_spin_unlock_irqrestore(&fn->inst->lock, flags);
	return xlate.domain ? xlate.version : -EFAULT;
}

/**
 * imock_access_all() - all functions access all pages through all PASIDs
 * @mock: the machine
 */
void imock_access_all(struct imock *mock)
{
	unsigned int fn, pasid, page;

	for (fn = 0; fn < mock->nr_fns; fn++)
		for (pasid = 1; pasid < IMOCK_PASIDS; pasid++)
			for (page = 0; page < IMOCK_PAGES; page++)
				imock_access(&mock->fn[fn], pasid, page);
}

/**
 * imock_post() - a function writes to memory, and the write is late
 * @fn: the function
 * @pasid: PASID
 * @page: page, for which the function may have a translation. Nothing happens without
 *	one, or if the function is blocked
 *
 * Context: any.
 */
void imock_post(struct imock_fn *fn, u32 pasid, unsigned int page)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&fn->inst->lock, flags);
	if (!fn->posted.domain && fn->atc[pasid][page].domain &&
	    imock_passes(fn)) {
		fn->posted = fn->atc[pasid][page];
		fn->posted_page = page;
	}
	raw_spin_unlock_irqrestore(&fn->inst->lock, flags);
}

/**
 * imock_free_old() - the memory behind older versions goes to somebody else
 * @domain: whose versions. What is in flight to it gets there now
 *
 * Context: any.
 */
void imock_free_old(struct imock_domain *domain)
{
	struct imock *mock = domain->mock;
	unsigned int page, n;
	unsigned long flags;

	for (page = 0; page < IMOCK_PAGES; page++)
		WRITE_ONCE(domain->freed[page],
			   READ_ONCE(domain->version[page]));
	for (n = 0; n < mock->nr_fns; n++) {
		raw_spin_lock_irqsave(&mock->fn[n].inst->lock, flags);
		imock_land(&mock->fn[n]);
		raw_spin_unlock_irqrestore(&mock->fn[n].inst->lock, flags);
	}
}

/* What the instance would say, without looking */
static bool imock_peek_blocked(struct imock_fn *fn)
{
	lockdep_assert_held(&fn->inst->lock);

	return !fn->copy && !READ_ONCE(fn->context);
}

/**
 * imock_is_blocked() - whether translated requests of a function are blocked
 * @fn: the function
 *
 * Context: any.
 * Return: true if the instance blocks them, and none is in flight.
 */
bool imock_is_blocked(struct imock_fn *fn)
{
	unsigned long flags;
	bool blocked;

	raw_spin_lock_irqsave(&fn->inst->lock, flags);
	blocked = imock_peek_blocked(fn) && !fn->posted.domain;
	raw_spin_unlock_irqrestore(&fn->inst->lock, flags);
	return blocked;
}

static bool imock_is_stale(const struct imock_xlate *xlate,
			   const struct imock_domain *domain, u32 version)
{
	return xlate->domain == domain && xlate->version < version;
}

static unsigned int imock_stale_iotlb(struct imock_instance *inst,
				      struct imock_domain *domain,
				      unsigned int page, u32 version)
{
	unsigned int tag, pasid, stale = 0;

	for (tag = 0; tag < IMOCK_TAGS; tag++)
		for (pasid = 0; pasid < IMOCK_PASIDS; pasid++)
			stale += imock_is_stale(&inst->iotlb[tag][pasid][page],
						domain, version);
	return stale;
}

static unsigned int imock_stale_atc(struct imock_instance *inst,
				    struct imock_domain *domain,
				    unsigned int page, u32 version)
{
	struct imock *mock = inst->mock;
	unsigned int n, pasid, stale = 0;

	for (n = inst->index; n < mock->nr_fns; n += mock->nr_inst)
		for (pasid = 0; pasid < IMOCK_PASIDS; pasid++)
			stale += !imock_peek_blocked(&mock->fn[n]) &&
				imock_is_stale(&mock->fn[n].atc[pasid][page],
					       domain, version);
	return stale;
}

/**
 * imock_stale() - count cached translations that are too old
 * @domain: whose translations
 * @page: page
 * @version: what was in the page table before the last flush
 *
 * After a flush there are none, anywhere: also what is about to be detached, and
 * cannot be used for new requests, is either clean or still invalidated. What a
 * function has that is blocked does not count.
 *
 * Context: any.
 * Return: their number.
 */
unsigned int imock_stale(struct imock_domain *domain, unsigned int page,
			 u32 version)
{
	struct imock *mock = domain->mock;
	struct imock_instance *inst;
	unsigned int stale = 0;
	unsigned long flags;

	for (inst = mock->inst; inst < mock->inst + mock->nr_inst; inst++) {
		raw_spin_lock_irqsave(&inst->lock, flags);
		stale += imock_stale_iotlb(inst, domain, page, version) +
			 imock_stale_atc(inst, domain, page, version);
		raw_spin_unlock_irqrestore(&inst->lock, flags);
	}
	return stale;
}

/**
 * imock_write() - change a page table
 * @domain: whose
 * @page: page
 * @version: greater than the last
 *
 * Has to be followed by a flush.
 */
void imock_write(struct imock_domain *domain, unsigned int page, u32 version)
{
	WRITE_ONCE(domain->version[page], version);
}

/* --- the hardware: switches --- */

/**
 * imock_set_ats() - switch ATS of a function on or off
 * @fn: attached to nothing, and no walk sends commands to it; or to be switched on, and
 *	its ATC is on the list
 * @on: on or off
 */
void imock_set_ats(struct imock_fn *fn, bool on)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&fn->inst->lock, flags);
	fn->ats = on;
	memset(fn->atc, 0, sizeof(fn->atc));
	raw_spin_unlock_irqrestore(&fn->inst->lock, flags);
}

/**
 * imock_set_dead() - make a function ignore invalidations
 * @fn: the function
 * @dead: or answer them again
 */
void imock_set_dead(struct imock_fn *fn, bool dead)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&fn->inst->lock, flags);
	fn->dead = dead;
	raw_spin_unlock_irqrestore(&fn->inst->lock, flags);
}

/**
 * imock_abort() - abort one of the next batches
 * @inst: the instance
 * @nth: which, the next one is 1
 */
void imock_abort(struct imock_instance *inst, unsigned int nth)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&inst->lock, flags);
	inst->abort = nth;
	raw_spin_unlock_irqrestore(&inst->lock, flags);
}

/**
 * imock_break() - make an instance ignore commands
 * @inst: the instance
 * @error: what waiting for them returns, or 0 to repair it
 */
void imock_break(struct imock_instance *inst, int error)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&inst->lock, flags);
	inst->broken = error;
	raw_spin_unlock_irqrestore(&inst->lock, flags);
}

/* --- walks --- */

/**
 * imock_walk_init() - prepare a walk
 * @mw: the walk
 * @mock: the machine
 * @kinds: see iommu_alist_walk_init()
 * @first: page
 * @last: page
 *
 * Set @mw->hook afterwards to have a function called at each %IMOCK_SYNC and
 * %IMOCK_WAIT, and for a batch without a sync at %IMOCK_IOTLB, with the instance's
 * index. It must not sleep.
 */
void imock_walk_init(struct imock_walk *mw, struct imock *mock,
		     unsigned int kinds, unsigned int first, unsigned int last)
{
	iommu_alist_walk_init(&mw->walk, kinds);
	mw->mock = mock;
	mw->hook = NULL;
	mw->first = first;
	mw->last = last;
	mw->pending = 0;
	mw->syncs = 0;
	mw->pushed = NULL;
	mw->lost = 0;
	mw->nr = 0;
}

/* A walk of a driver that attaches or detaches: over all pages */
static void imock_walk_init_all(struct imock_walk *mw, struct imock *mock)
{
	imock_walk_init(mw, mock, IOMMU_ALIST_ALL_KINDS, 0, IMOCK_PAGES - 1);
	mw->hook = mock->hook;
}

/**
 * imock_walk_end() - a walk is over
 * @mw: the walk
 */
void imock_walk_end(struct imock_walk *mw)
{
	if (mw->nr)
		imock_complain(mw->mock, "commands were not submitted");
	if (mw->pushed)
		imock_complain(mw->mock, "commands got no sync");
	if (mw->pending)
		imock_complain(mw->mock, "syncs were not waited for");
	if (mw->syncs != mw->walk.syncs)
		imock_complain(mw->mock, "%u syncs were counted as %u",
			       mw->syncs, mw->walk.syncs);
}

static void imock_hook(struct imock_walk *mw, enum imock_what what,
		       struct imock_instance *inst)
{
	if (mw->hook)
		mw->hook(mw, what, inst->index);
}

static void imock_check_context(struct imock *mock)
{
	if (!rcu_read_lock_held())
		imock_complain(mock, "walk outside of rcu_read_lock()");
	if (mock->driver->ops.flags & IOMMU_ALIST_IRQS_OFF && !irqs_disabled())
		imock_complain(mock, "walk with interrupts on");
}

/* One for all pages, or the @n-th of one for each. False: it is one too many. */
static bool imock_next_cmd(const struct imock_walk *mw, unsigned int n,
			   struct imock_cmd *cmd)
{
	cmd->first = mw->first;
	cmd->last = mw->last;
	if (!mw->mock->driver->by_page)
		return !n;
	cmd->first += n;
	cmd->last = cmd->first;
	return cmd->last <= mw->last;
}

static int imock_add(struct iommu_alist_walk *walk,
		     const struct iommu_alist_elm *elm)
{
	struct imock_cmd cmd = {
		.what = elm->kind == IOMMU_ALIST_TAG ? IMOCK_IOTLB : IMOCK_ATC,
		.id = elm->id,
		.pasid = elm->pasid,
	};
	struct imock_walk *mw = to_imock_walk(walk);
	struct imock_instance *inst = to_imock_instance(elm->iommu);
	unsigned int n = walk->done;

	imock_check_context(mw->mock);
	if ((mw->nr && mw->inst != inst) || (mw->pushed && mw->pushed != inst))
		imock_complain(mw->mock, "batch for two instances");
	if (elm->kind == IOMMU_ALIST_ATC && elm->info == IMOCK_QUIET)
		return 0;

	for (; imock_next_cmd(mw, n, &cmd); n++) {
		if (mw->nr == mw->mock->driver->batch) {
			walk->done = n;
			return -ENOSPC;
		}
		mw->inst = inst;
		mw->cmd[mw->nr++] = cmd;
	}
	return 1;
}

/*
 * Two syncs at one instance, or entering a queue while there is something under way
 * in one behind it: walks may come to wait for each other's slots.
 */
static void imock_check_order(struct imock_walk *mw, struct imock_instance *inst)
{
	if (inst != (mw->nr ? mw->inst : mw->pushed))
		imock_complain(mw->mock, "sync without commands");
	if (mw->pending >> inst->index)
		imock_complain(mw->mock,
			       "sync at instance %u with %#llx under way",
			       inst->index, mw->pending);
}

/* What the sync behind the batch is going to say */
static int imock_result(struct imock_instance *inst, const struct imock_cmd *cmd,
			unsigned int nr)
{
	bool abort = inst->abort && !--inst->abort;
	bool dead = false;
	unsigned int n;

	for (n = 0; n < nr; n++)
		if (cmd[n].what == IMOCK_ATC)
			dead |= inst->mock->fn[cmd[n].id].dead;
	if (abort)
		return -EAGAIN;
	if (dead)
		return nr == 1 && inst->mock->driver->ops.fence ?
			-ETIMEDOUT : -EAGAIN;
	return inst->broken;
}

/* Copy commands of a kind, or all if it is %IMOCK_SYNC. */
static void imock_copy(struct imock_batch *batch, const struct imock_cmd *cmd,
		       unsigned int nr, enum imock_what what)
{
	unsigned int n;

	for (n = 0; n < nr; n++)
		if (what == IMOCK_SYNC || cmd[n].what == what)
			batch->cmd[batch->nr++] = cmd[n];
}

static void imock_fill(struct imock_instance *inst, struct imock_batch *batch,
		       const struct imock_cmd *cmd, unsigned int nr)
{
	batch->state = IMOCK_QUEUED;
	batch->result = imock_result(inst, cmd, nr);
	batch->ready = ktime_add(ktime_get(), inst->mock->latency);
	batch->nr = 0;
	batch->next = 0;
	if (inst->mock->driver->unordered) {
		imock_copy(batch, cmd, nr, IMOCK_ATC);
		imock_copy(batch, cmd, nr, IMOCK_IOTLB);
	} else {
		imock_copy(batch, cmd, nr, IMOCK_SYNC);
	}
	inst->aborts += !!batch->result;
}

static void imock_note_cmd(struct imock_instance *inst,
			   const struct imock_cmd *cmd)
{
	imock_note(inst, cmd->what);
	if (cmd->what == IMOCK_ATC)
		inst->mock->fn[cmd->id].asked++;
}

/*
 * Put commands into the queue. False: it has no room. With @lost there is no sync, and
 * this is whether they are going to be aborted.
 */
static bool imock_enqueue(struct imock_instance *inst,
			  const struct imock_cmd *cmd, unsigned int nr, u64 *sync,
			  bool *lost)
{
	struct imock_batch *batch;
	unsigned long flags;
	unsigned int n;
	bool room;

	raw_spin_lock_irqsave(&inst->lock, flags);
	batch = imock_slot(inst, inst->tail);
	room = batch->state == IMOCK_FREE;
	if (room) {
		imock_fill(inst, batch, cmd, nr);
		for (n = 0; n < nr; n++)
			imock_note_cmd(inst, &cmd[n]);
		*sync = inst->tail++;
		batch->pushed = lost;
		if (lost)
			*lost = batch->result;
		else
			imock_note(inst, IMOCK_SYNC);
	} else {
		imock_step(inst);
	}
	raw_spin_unlock_irqrestore(&inst->lock, flags);
	return room;
}

/* The same as soon as it has. Returns the sync. */
static u64 imock_send(struct imock_instance *inst, const struct imock_cmd *cmd,
		      unsigned int nr, bool *lost)
{
	struct imock *mock = inst->mock;
	u64 sync = IMOCK_NO_SYNC;
	ktime_t end;

	end = ktime_add_ms(ktime_get(), imock_is_good(mock) ?
			   IMOCK_DEADLOCK_MS : IMOCK_DEADLOCK_AGAIN_MS);
	while (!imock_enqueue(inst, cmd, nr, &sync, lost)) {
		if (ktime_after(ktime_get(), end)) {
			imock_complain(mock, "deadlock at instance %u",
				       inst->index);
			break;
		}
		cpu_relax();
	}
	return sync;
}

static bool imock_push(struct iommu_alist_walk *walk,
		       struct iommu_device *iommu)
{
	struct imock_walk *mw = to_imock_walk(walk);
	struct imock_instance *inst = to_imock_instance(iommu);
	bool lost = false;

	imock_check_context(mw->mock);
	if (inst->needs_sync)
		return false;
	imock_check_order(mw, inst);
	if (mw->nr != mw->mock->driver->batch)
		imock_complain(mw->mock, "batch without a sync is not full");
	imock_hook(mw, IMOCK_IOTLB, inst);
	imock_send(inst, mw->cmd, mw->nr, &lost);
	mw->lost |= (u64)lost << inst->index;
	mw->pushed = inst;
	mw->nr = 0;
	return true;
}

static u64 imock_submit(struct iommu_alist_walk *walk,
			struct iommu_device *iommu)
{
	struct imock_walk *mw = to_imock_walk(walk);
	struct imock_instance *inst = to_imock_instance(iommu);
	u64 sync;

	imock_check_context(mw->mock);
	imock_check_order(mw, inst);
	imock_hook(mw, IMOCK_SYNC, inst);
	sync = imock_send(inst, mw->cmd, mw->nr, NULL);
	mw->pending |= BIT_ULL(inst->index);
	mw->syncs++;
	mw->pushed = NULL;
	mw->nr = 0;
	return sync;
}

/* Poll once. True: the batch is done, and its slot is given back. */
static bool imock_poll(struct imock_instance *inst, u64 sync, int *result)
{
	struct imock_batch *batch = imock_slot(inst, sync);
	unsigned long flags;
	bool done;

	raw_spin_lock_irqsave(&inst->lock, flags);
	done = batch->state == IMOCK_DONE;
	if (done) {
		*result = batch->result;
		batch->state = IMOCK_FREE;
	} else {
		imock_step(inst);
	}
	raw_spin_unlock_irqrestore(&inst->lock, flags);
	return done;
}

static int imock_pull(struct imock_instance *inst, u64 sync)
{
	int result = 0;

	if (sync == IMOCK_NO_SYNC)
		return 0;
	while (!imock_poll(inst, sync, &result))
		cpu_relax();
	return result;
}

static void imock_note_wait(struct imock_instance *inst)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&inst->lock, flags);
	imock_note(inst, IMOCK_WAIT);
	raw_spin_unlock_irqrestore(&inst->lock, flags);
}

static int imock_wait(struct iommu_alist_walk *walk, struct iommu_device *iommu,
		      u64 sync)
{
	struct imock_walk *mw = to_imock_walk(walk);
	struct imock_instance *inst = to_imock_instance(iommu);
	bool lost = mw->lost & BIT_ULL(inst->index);

	imock_check_context(mw->mock);
	if (!(mw->pending & BIT_ULL(inst->index)))
		imock_complain(mw->mock, "wait for nothing");
	mw->pending &= ~BIT_ULL(inst->index);
	mw->lost &= ~BIT_ULL(inst->index);
	imock_note_wait(inst);
	imock_hook(mw, IMOCK_WAIT, inst);
	return imock_pull(inst, sync) ?: (lost ? -EAGAIN : 0);
}

/**
 * imock_flush() - invalidate a domain after a change of its page table
 * @domain: the domain
 * @kinds: see iommu_alist_walk_init()
 * @first: page
 * @last: page
 *
 * Context: any.
 * Return: what iommu_alist_flush() returns.
 */
int imock_flush(struct imock_domain *domain, unsigned int kinds,
		unsigned int first, unsigned int last)
{
	struct imock_walk mw;
	int error;

	imock_walk_init(&mw, domain->mock, kinds, first, last);
	error = iommu_alist_flush(&domain->list, &mw.walk);
	imock_walk_end(&mw);
	return error;
}

/* --- functions that do not answer --- */

/* Aborts that others cause, and how often they may */
#define IMOCK_TRIES	16

/* Send one command, and wait for it. */
static int imock_order(struct imock_instance *inst, const struct imock_cmd *cmd)
{
	int result = -EAGAIN;
	unsigned int try;
	u64 sync;

	for (try = 0; try < IMOCK_TRIES && result == -EAGAIN; try++) {
		sync = imock_send(inst, cmd, 1, NULL);
		imock_note_wait(inst);
		result = imock_pull(inst, sync);
	}
	return result;
}

static int imock_order_context(struct imock_fn *fn)
{
	const struct imock_cmd cmd = {
		.what = IMOCK_CONTEXT,
		.id = fn->requester,
	};

	return imock_order(fn->inst, &cmd);
}

/* Tag 0 is nobody's: it only pushes to memory what has passed before. */
static int imock_order_iotlb(struct imock_fn *fn, u32 tag, u32 pasid)
{
	const struct imock_cmd cmd = {
		.what = IMOCK_IOTLB,
		.last = IMOCK_PAGES - 1,
		.id = tag,
		.pasid = pasid,
	};

	return imock_order(fn->inst, &cmd);
}

static int imock_order_atc(struct imock_fn *fn, u32 pasid)
{
	const struct imock_cmd cmd = {
		.what = IMOCK_ATC,
		.last = IMOCK_PAGES - 1,
		.id = fn->requester,
		.pasid = pasid,
	};

	return imock_order(fn->inst, &cmd);
}

static void imock_stop(struct imock_fn *fn, enum imock_stop stop)
{
	struct imock *mock = fn->inst->mock;

	if (mock->stop)
		mock->stop(fn, stop);
}

/**
 * imock_write_context() - compose the context entry of a function anew
 * @fn: the function
 *
 * Context: any.
 */
void imock_write_context(struct imock_fn *fn)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&fn->inst->context_lock, flags);
	WRITE_ONCE(fn->context, iommu_alist_is_live(&fn->alist_fn));
	raw_spin_unlock_irqrestore(&fn->inst->context_lock, flags);
}

static int imock_fence(struct iommu_alist_fn *alist_fn)
{
	struct imock_fn *fn = container_of(alist_fn, struct imock_fn, alist_fn);
	int error = fn->inst->mock->fence_error;

	if (!rcu_read_lock_held())
		imock_complain(fn->inst->mock, "fence outside of rcu_read_lock()");
	atomic_inc(&fn->fences);
	imock_stop(fn, IMOCK_FENCE_BEGUN);
	imock_write_context(fn);
	imock_stop(fn, IMOCK_FENCE_WRITTEN);
	error = error ?: imock_order_context(fn);
	if (error)
		return error;
	imock_stop(fn, IMOCK_FENCE_BLOCKED);
	error = imock_order_iotlb(fn, 0, 0);
	if (error)
		return error;
	imock_stop(fn, IMOCK_FENCE_DRAINED);
	return 0;
}

/* Every tag that the function uses, and the whole ATC. It may be fenced meanwhile. */
static int imock_clean(struct imock_fn *fn)
{
	const struct iommu_alist_elm *tag;
	u32 pasid;
	int error;

	for (pasid = 1; pasid < IMOCK_PASIDS; pasid++) {
		tag = fn->attached[pasid] ? fn->attach[pasid].tag : NULL;
		error = tag ? imock_order_iotlb(fn, tag->id, tag->pasid) : 0;
		if (error)
			return error;
	}
	for (pasid = 1; pasid < IMOCK_PASIDS; pasid++) {
		error = iommu_alist_is_fenced(&fn->alist_fn) ? 0 :
			imock_order_atc(fn, pasid);
		if (error)
			return error;
	}
	return 0;
}

static bool imock_go_live(struct imock_fn *fn)
{
	unsigned long flags;
	bool live;

	raw_spin_lock_irqsave(&fn->inst->context_lock, flags);
	live = iommu_alist_go_live(&fn->alist_fn);
	if (live)
		WRITE_ONCE(fn->context, true);
	raw_spin_unlock_irqrestore(&fn->inst->context_lock, flags);
	return live;
}

/**
 * imock_resume() - a fenced function was reset
 * @fn: the function, which answers again
 *
 * Context: may sleep. One thread per function.
 * Return: 0, or -EIO if it has been fenced again.
 */
int imock_resume(struct imock_fn *fn)
{
	const struct iommu_alist_ops *ops = &fn->inst->mock->driver->ops;

	iommu_alist_synchronize();
	imock_stop(fn, IMOCK_RESUME_BEGUN);
	iommu_alist_resume(&fn->alist_fn);
	imock_stop(fn, IMOCK_RESUME_ASKED);
	if (imock_clean(fn)) {
		rcu_read_lock();
		iommu_alist_fence(ops, &fn->alist_fn);
		rcu_read_unlock();
	}
	imock_stop(fn, IMOCK_RESUME_FLUSHED);
	if (!imock_go_live(fn))
		return -EIO;
	if (imock_order_context(fn))
		return -EIO;
	imock_stop(fn, IMOCK_RESUME_LIVE);
	return 0;
}

/* --- tags --- */

static int imock_tag_alloc(struct iommu_alist *list,
			   struct iommu_device *iommu, u32 *tag)
{
	struct imock_instance *inst = to_imock_instance(iommu);
	int ret = inst->mock->tag_error;

	if (!ret)
		ret = ida_alloc_range(&inst->tags, 1, IMOCK_TAGS - 1,
				      GFP_KERNEL);
	if (ret < 0)
		return ret;
	set_bit(ret, inst->taken);
	*tag = ret;
	return 0;
}

static bool imock_tag_is_clean(struct imock_instance *inst, u32 tag)
{
	unsigned long flags;
	bool clean;

	raw_spin_lock_irqsave(&inst->lock, flags);
	clean = !memchr_inv(inst->iotlb[tag], 0, sizeof(inst->iotlb[tag]));
	raw_spin_unlock_irqrestore(&inst->lock, flags);
	return clean;
}

static void imock_tag_free(struct iommu_alist *list,
			   struct iommu_device *iommu, u32 tag)
{
	struct imock_instance *inst = to_imock_instance(iommu);

	if (!imock_tag_is_clean(inst, tag))
		imock_complain(inst->mock, "tag %u of instance %u is not clean",
			       tag, inst->index);
	if (test_and_clear_bit(tag, inst->taken))
		ida_free(&inst->tags, tag);
	else
		imock_complain(inst->mock, "tag %u of instance %u is free already",
			       tag, inst->index);
}

/* --- attach and detach --- */

/**
 * imock_where() - what a driver asks the core for
 * @fn: the function
 * @pasid: PASID
 * @domain: the domain
 *
 * Return: the description of the attachment.
 */
struct iommu_alist_where imock_where(struct imock_fn *fn, u32 pasid,
				     struct imock_domain *domain)
{
	const struct imock_driver *driver = domain->mock->driver;

	return (struct iommu_alist_where) {
		.iommu = &fn->inst->iommu,
		.choose_tag = driver->ops.tag_alloc,
		.tag = (driver->tag_per_fn ? fn->requester : domain->id) + 1,
		.tag_pasid = driver->tag_pasid ? pasid : 0,
		.ats = fn->ats,
		.fn = &fn->alist_fn,
		.requester = fn->requester,
		.pasid = pasid,
		.atc_info = fn->quiet ? IMOCK_QUIET : 0,
	};
}

/* Point the entry of @pasid to @domain, which has been published there. */
static void imock_set_entry(struct imock_fn *fn, u32 pasid,
			    struct imock_domain *domain)
{
	struct imock_entry *entry = &fn->entry[pasid];
	const struct iommu_alist_elm *tag = fn->attach[pasid].tag;
	unsigned long flags;

	raw_spin_lock_irqsave(&fn->inst->lock, flags);
	entry->old = entry->domain;
	entry->domain = domain;
	entry->tag = tag->id;
	entry->tag_pasid = tag->pasid;
	raw_spin_unlock_irqrestore(&fn->inst->lock, flags);
}

static void imock_clear_entry(struct imock_fn *fn, u32 pasid)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&fn->inst->lock, flags);
	fn->entry[pasid].domain = NULL;
	raw_spin_unlock_irqrestore(&fn->inst->lock, flags);
}

static bool imock_is_others(const struct imock_xlate *xlate,
			    const struct imock_domain *domain)
{
	return xlate->domain && xlate->domain != domain;
}

/* What the function had before must be in no cache that it uses. */
static void imock_settle(struct imock_fn *fn, u32 pasid)
{
	struct imock_entry *entry = &fn->entry[pasid];
	unsigned int page, bad = 0;
	unsigned long flags;

	raw_spin_lock_irqsave(&fn->inst->lock, flags);
	entry->old = NULL;
	for (page = 0; page < IMOCK_PAGES; page++) {
		bad += !imock_peek_blocked(fn) &&
			imock_is_others(&fn->atc[pasid][page], entry->domain);
		if (entry->domain)
			bad += imock_is_others(imock_iotlb(fn->inst, entry, page),
					       entry->domain);
	}
	raw_spin_unlock_irqrestore(&fn->inst->lock, flags);
	if (bad)
		imock_complain(fn->inst->mock,
			       "function %u, PASID %u has old translations",
			       fn->requester, pasid);
}

/* After the entry has been cleared, or overwritten. The list is locked. */
static int imock_remove(struct imock_domain *domain, struct iommu_alist_attach *attach,
			unsigned int kinds)
{
	struct imock_walk mw;
	int error;

	imock_walk_init_all(&mw, domain->mock);
	mw.walk.kinds = kinds;
	error = iommu_alist_remove(&domain->list, attach, &mw.walk);
	imock_walk_end(&mw);
	return error;
}

/* Up to where the hardware's entry can be made present. The list is locked. */
static int imock_publish(struct imock_fn *fn, u32 pasid,
			 struct imock_domain *domain)
{
	struct iommu_alist_where where = imock_where(fn, pasid, domain);
	struct iommu_alist_attach attach;
	struct imock_walk mw;
	int ret;

	ret = iommu_alist_prepare(&domain->list, &attach, &where);
	if (ret)
		return ret;
	imock_walk_init_all(&mw, domain->mock);
	ret = iommu_alist_commit(&domain->list, &attach, &mw.walk);
	imock_walk_end(&mw);
	if (ret) {
		imock_remove(domain, &attach, IOMMU_ALIST_ALL_KINDS);
		return ret;
	}
	fn->attach[pasid] = attach;
	fn->attached[pasid] = domain;
	return 0;
}

/**
 * imock_attach() - attach a PASID of a function to a domain
 * @fn: the function
 * @pasid: PASID, not attached
 * @domain: the domain
 *
 * Context: may sleep. One thread per function.
 * Return: what iommu_alist_prepare() or iommu_alist_commit() returns.
 */
int imock_attach(struct imock_fn *fn, u32 pasid, struct imock_domain *domain)
{
	int ret;

	mutex_lock(&domain->list.lock);
	ret = imock_publish(fn, pasid, domain);
	if (!ret)
		imock_set_entry(fn, pasid, domain);
	mutex_unlock(&domain->list.lock);
	if (!ret)
		imock_settle(fn, pasid);
	return ret;
}

static int imock_remove_ids(struct imock_domain *domain,
			    struct iommu_alist_attach *attach, unsigned int nr)
{
	struct imock_walk mw;
	int error;

	imock_walk_init_all(&mw, domain->mock);
	error = iommu_alist_remove_ids(&domain->list, attach, nr, &mw.walk);
	imock_walk_end(&mw);
	return error;
}

/* What was published for the distinct ones of some IDs */
static void imock_set_entries(struct imock *mock, u32 pasid,
			      struct imock_domain *domain,
			      const struct iommu_alist_attach *attach,
			      unsigned int nr)
{
	struct imock_fn *fn;
	unsigned int n;

	for (n = 0; n < nr; n++) {
		fn = &mock->fn[attach[n].atc->id];
		fn->attach[pasid] = attach[n];
		fn->attached[pasid] = domain;
		imock_set_entry(fn, pasid, domain);
	}
}

/**
 * imock_attach_ids() - attach a PASID of functions that are one, with several IDs
 * @mock: the machine
 * @pasid: PASID, not attached
 * @domain: the domain
 * @ids: functions behind one instance, all of them with an ATC, perhaps repeated
 * @nr: number of @ids, up to %IMOCK_IDS; on return, of attachments
 *
 * Context: may sleep. One thread per function.
 * Return: what iommu_alist_prepare_ids() or iommu_alist_commit_ids() returns.
 */
int imock_attach_ids(struct imock *mock, u32 pasid,
		     struct imock_domain *domain, const u32 *ids,
		     unsigned int *nr)
{
	struct iommu_alist_where where = imock_where(&mock->fn[ids[0]], pasid,
						     domain);
	struct iommu_alist_attach attach[IMOCK_IDS];
	struct imock_walk mw;
	int ret;

	mutex_lock(&domain->list.lock);
	ret = iommu_alist_prepare_ids(&domain->list, attach, &where, ids, nr);
	if (ret)
		goto out_unlock;
	imock_walk_init_all(&mw, mock);
	ret = iommu_alist_commit_ids(&domain->list, attach, *nr, &mw.walk);
	imock_walk_end(&mw);
	if (ret)
		imock_remove_ids(domain, attach, *nr);
	else
		imock_set_entries(mock, pasid, domain, attach, *nr);
out_unlock:
	mutex_unlock(&domain->list.lock);
	return ret;
}

/**
 * imock_detach_ids() - undo imock_attach_ids()
 * @mock: the machine
 * @pasid: PASID
 * @ids: the distinct ones
 * @nr: number of attachments, up to %IMOCK_IDS
 *
 * Context: may sleep. One thread per function.
 * Return: what iommu_alist_remove_ids() returns. They are detached in any case.
 */
int imock_detach_ids(struct imock *mock, u32 pasid, const u32 *ids,
		     unsigned int nr)
{
	struct imock_domain *domain = mock->fn[ids[0]].attached[pasid];
	struct iommu_alist_attach attach[IMOCK_IDS];
	unsigned int n;
	int error;

	mutex_lock(&domain->list.lock);
	for (n = 0; n < nr; n++) {
		imock_clear_entry(&mock->fn[ids[n]], pasid);
		attach[n] = mock->fn[ids[n]].attach[pasid];
		mock->fn[ids[n]].attached[pasid] = NULL;
	}
	error = imock_remove_ids(domain, attach, nr);
	mutex_unlock(&domain->list.lock);
	for (n = 0; !error && n < nr; n++)
		imock_settle(&mock->fn[ids[n]], pasid);
	return error;
}

/**
 * imock_enable_ats() - switch ATS of a function on that is attached
 * @fn: the function, whose ATS is off
 * @pasid: its only PASID that is attached
 *
 * Context: may sleep. One thread per function.
 * Return: what iommu_alist_add_atc() returns.
 */
int imock_enable_ats(struct imock_fn *fn, u32 pasid)
{
	struct imock_domain *domain = fn->attached[pasid];
	struct iommu_alist_where where = imock_where(fn, pasid, domain);
	struct imock_walk mw;
	int ret;

	where.ats = true;
	mutex_lock(&domain->list.lock);
	imock_walk_init_all(&mw, domain->mock);
	ret = iommu_alist_add_atc(&domain->list, &fn->attach[pasid], &where,
				  &mw.walk);
	imock_walk_end(&mw);
	if (!ret)
		imock_set_ats(fn, true);
	mutex_unlock(&domain->list.lock);
	return ret;
}

/**
 * imock_detach_kinds() - detach a PASID of a function
 * @fn: the function
 * @pasid: PASID, attached
 * @kinds: see iommu_alist_walk_init()
 *
 * Context: may sleep. One thread per function.
 * Return: what iommu_alist_remove() returns. It is detached in any case.
 */
int imock_detach_kinds(struct imock_fn *fn, u32 pasid, unsigned int kinds)
{
	struct imock_domain *domain = fn->attached[pasid];
	int error;

	mutex_lock(&domain->list.lock);
	imock_clear_entry(fn, pasid);
	error = imock_remove(domain, &fn->attach[pasid], kinds);
	mutex_unlock(&domain->list.lock);
	fn->attached[pasid] = NULL;
	if (!error)
		imock_settle(fn, pasid);
	return error;
}

/**
 * imock_detach() - imock_detach_kinds() of all kinds
 * @fn: the function
 * @pasid: PASID, attached
 *
 * Return: as imock_detach_kinds().
 */
int imock_detach(struct imock_fn *fn, u32 pasid)
{
	return imock_detach_kinds(fn, pasid, IOMMU_ALIST_ALL_KINDS);
}

/* The driver's order for pairs of lists. The two may be one. */
static void imock_lock_both(struct iommu_alist *a,
			    struct iommu_alist *b)
{
	if (a > b)
		swap(a, b);
	mutex_lock(&a->lock);
	if (a != b)
		mutex_lock(&b->lock);
}

static void imock_unlock_both(struct iommu_alist *a,
			      struct iommu_alist *b)
{
	mutex_unlock(&a->lock);
	if (a != b)
		mutex_unlock(&b->lock);
}

/**
 * imock_replace() - move a PASID of a function to another domain
 * @fn: the function
 * @pasid: PASID, attached
 * @domain: the domain, perhaps the one that it is attached to
 *
 * Context: may sleep. One thread per function.
 * Return: an error of iommu_alist_prepare(): nothing has changed; or of
 * iommu_alist_remove(): it is attached to the new domain.
 */
int imock_replace(struct imock_fn *fn, u32 pasid, struct imock_domain *domain)
{
	struct imock_domain *old = fn->attached[pasid];
	struct iommu_alist_attach attach = fn->attach[pasid];
	int ret;

	imock_lock_both(&old->list, &domain->list);
	ret = imock_publish(fn, pasid, domain);
	if (ret)
		goto out_unlock;
	imock_set_entry(fn, pasid, domain);
	ret = imock_remove(old, &attach, IOMMU_ALIST_ALL_KINDS);
	if (!ret)
		imock_settle(fn, pasid);
out_unlock:
	imock_unlock_both(&old->list, &domain->list);
	return ret;
}

#define IMOCK_OPS							\
	.add = imock_add,						\
	.submit = imock_submit,						\
	.wait = imock_wait

#define IMOCK_TAG_OPS							\
	.tag_alloc = imock_tag_alloc,					\
	.tag_free = imock_tag_free

#define IMOCK_SMMU_FLAGS	(IOMMU_ALIST_SYNC_BEFORE_ATC |		\
				 IOMMU_ALIST_FLUSH_LAST_USER)

const struct imock_driver imock_drivers[IMOCK_NR_DRIVERS] = {
	[IMOCK_VTD] = {
		.name = "vtd",
		.ops = { IMOCK_OPS, .flags = IOMMU_ALIST_IRQS_OFF,
			 .fence = imock_fence },
		.batch = 16,
		.tag_pasid = true,
	},
	[IMOCK_VTD_SL] = {
		.name = "vtd_sl",
		.ops = { IMOCK_OPS, IMOCK_TAG_OPS, .fence = imock_fence },
		.batch = 16,
		.tag_pasid = true,
	},
	[IMOCK_SMMU] = {
		.name = "smmu",
		.ops = { IMOCK_OPS, IMOCK_TAG_OPS, .push = imock_push,
			 .flags = IMOCK_SMMU_FLAGS },
		.batch = 64,
		.unordered = true,
	},
	[IMOCK_AMD] = {
		.name = "amd",
		.ops = { IMOCK_OPS },
		.batch = 64,
		.tag_per_fn = true,
		.tag_pasid = true,
	},
};

const struct imock_driver imock_by_page = {
	.name = "by_page",
	.ops = { IMOCK_OPS, IMOCK_TAG_OPS, .push = imock_push,
		 .flags = IMOCK_SMMU_FLAGS },
	.batch = 3,
	.unordered = true,
	.by_page = true,
};

/* --- machines --- */

static void imock_init_instance(struct imock *mock, unsigned int n)
{
	struct imock_instance *inst = &mock->inst[n];

	inst->mock = mock;
	inst->index = n;
	raw_spin_lock_init(&inst->lock);
	raw_spin_lock_init(&inst->context_lock);
	ida_init(&inst->tags);
}

static void imock_init_fn(struct imock *mock, unsigned int n)
{
	mock->fn[n].inst = &mock->inst[n % mock->nr_inst];
	mock->fn[n].requester = n;
	mock->fn[n].ats = true;
	mock->fn[n].context = true;
}

/* lockdep sees two that are locked in the wrong order before they meet the right one. */
static struct lock_class_key imock_domain_keys[IMOCK_DOMAINS];

static void imock_init_domain(struct imock *mock, unsigned int n)
{
	struct imock_domain *domain = &mock->domain[n];
	unsigned int page;

	iommu_alist_init(&domain->list, &mock->driver->ops);
	lockdep_set_class(&domain->list.lock, &imock_domain_keys[n]);
	domain->mock = mock;
	domain->id = n;
	for (page = 0; page < IMOCK_PAGES; page++)
		domain->version[page] = 1;
}

/**
 * imock_create() - make a machine
 * @driver: for all its instances
 * @nr_inst: number of instances, up to 64
 * @nr_fns: number of functions, behind the instances in turn
 *
 * Context: may sleep.
 * Return: the machine, NULL without memory.
 */
struct imock *imock_create(const struct imock_driver *driver,
			   unsigned int nr_inst, unsigned int nr_fns)
{
	struct imock *mock = kzalloc(sizeof(*mock), GFP_KERNEL);
	unsigned int n;

	if (!mock)
		return NULL;
	raw_spin_lock_init(&mock->lock);
	mock->driver = driver;
	mock->nr_inst = nr_inst;
	mock->nr_fns = nr_fns;
	mock->slots = IMOCK_SLOTS;
	for (n = 0; n < IMOCK_DOMAINS; n++)
		imock_init_domain(mock, n);
	mock->inst = kvcalloc(nr_inst, sizeof(*mock->inst), GFP_KERNEL);
	mock->fn = kvcalloc(nr_fns, sizeof(*mock->fn), GFP_KERNEL);
	if (!mock->inst || !mock->fn) {
		imock_destroy(mock);
		return NULL;
	}
	for (n = 0; n < nr_inst; n++)
		imock_init_instance(mock, n);
	for (n = 0; n < nr_fns; n++)
		imock_init_fn(mock, n);
	return mock;
}

/**
 * imock_destroy() - the end of a machine
 * @mock: with nothing attached
 *
 * Context: may sleep.
 */
void imock_destroy(struct imock *mock)
{
	unsigned int n;

	for (n = 0; n < IMOCK_DOMAINS; n++)
		iommu_alist_destroy(&mock->domain[n].list);
	for (n = 0; mock->inst && n < mock->nr_inst; n++)
		ida_destroy(&mock->inst[n].tags);
	kvfree(mock->inst);
	kvfree(mock->fn);
	kfree(mock);
}

/**
 * imock_clear() - start counts and the log from zero
 * @mock: the machine; nothing is under way
 */
void imock_clear(struct imock *mock)
{
	unsigned int n;

	for (n = 0; n < mock->nr_inst; n++) {
		memset(mock->inst[n].count, 0, sizeof(mock->inst[n].count));
		mock->inst[n].aborts = 0;
	}
	for (n = 0; n < mock->nr_fns; n++) {
		atomic_set(&mock->fn[n].fences, 0);
		mock->fn[n].asked = 0;
	}
	mock->nr_logged = 0;
}

/**
 * imock_count() - how often something happened since imock_clear()
 * @mock: the machine; nothing is under way
 * @what: what
 *
 * Return: the sum over all instances.
 */
unsigned int imock_count(struct imock *mock, enum imock_what what)
{
	unsigned int n, sum = 0;

	for (n = 0; n < mock->nr_inst; n++)
		sum += mock->inst[n].count[what];
	return sum;
}

/**
 * imock_aborts() - how many syncs failed since imock_clear()
 * @mock: the machine; nothing is under way
 *
 * Return: the sum over all instances.
 */
unsigned int imock_aborts(struct imock *mock)
{
	unsigned int n, sum = 0;

	for (n = 0; n < mock->nr_inst; n++)
		sum += mock->inst[n].aborts;
	return sum;
}

/**
 * imock_has_tags() - whether tags are allocated
 * @mock: the machine
 *
 * Return: true if there is an instance with one.
 */
bool imock_has_tags(struct imock *mock)
{
	unsigned int n;

	for (n = 0; n < mock->nr_inst; n++)
		if (!ida_is_empty(&mock->inst[n].tags))
			return true;
	return false;
}
