/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where a domain is attached: one list per domain, sorted by IOMMU instance,
 * that invalidations walk without a lock. The contract with drivers is at the
 * top of drivers/iommu/iommu-attach.c.
 */
#ifndef _LINUX_IOMMU_ATTACH_H
#define _LINUX_IOMMU_ATTACH_H

#include <linux/bits.h>
#include <linux/mutex.h>
#include <linux/rculist.h>
#include <linux/types.h>

struct iommu_alist;
struct iommu_alist_walk;
struct iommu_device;

/**
 * enum iommu_alist_kind - what an element stands for
 * @IOMMU_ALIST_TAG: a tag of the instance's IOTLB
 * @IOMMU_ALIST_ATC: the ATC of a function, for one PASID
 *
 * Of one instance, tags come before ATCs: an ATC that is flushed first could
 * refill from an IOTLB that is not.
 */
enum iommu_alist_kind {
	IOMMU_ALIST_TAG,
	IOMMU_ALIST_ATC,
};

/**
 * enum iommu_alist_state - whether a function may use what its ATC holds
 * @IOMMU_ALIST_LIVE: it may, and is asked to invalidate
 * @IOMMU_ALIST_FENCING: it may not, but some request of its may still get to memory.
 *	It is not asked
 * @IOMMU_ALIST_FENCED: none does. It is not asked
 * @IOMMU_ALIST_RESUMING: it may not, but is asked, as it is about to be live
 */
enum iommu_alist_state {
	IOMMU_ALIST_LIVE,
	IOMMU_ALIST_FENCING,
	IOMMU_ALIST_FENCED,
	IOMMU_ALIST_RESUMING,
};

/**
 * struct iommu_alist_fn - a function with an ATC, on however many lists
 * @state: &enum iommu_alist_state
 *
 * The driver embeds it in memory that outlives the last element of the function by a
 * grace period: iommu_alist_synchronize().
 */
struct iommu_alist_fn {
	u32 state;
};

/**
 * struct iommu_alist_elm - something that may cache a domain's translations
 * @node: in &iommu_alist.elms, in the order of @iommu, @kind, @id, @pasid
 * @iommu: the instance whose queue takes the commands
 * @fn: the function that an ATC belongs to; NULL if it cannot be fenced
 * @id: tag (DID, ASID, VMID, DomainID), or requester (RID, stream ID) of an ATC
 * @pasid: PASID that a command carries; 0 for a tag that has none
 * @info: what else the driver puts into a command, such as a queue depth
 * @kind: &enum iommu_alist_kind
 * @own: part of the list itself, not allocated
 * @chosen: a tag from &iommu_alist_ops.tag_alloc; protected by &iommu_alist.lock
 * @clean: without users it is in no IOTLB; protected by &iommu_alist.lock
 * @users: attachments that share the element; protected by &iommu_alist.lock.
 *	0 on the list: a tag that could not be flushed and is not @clean, or is kept for
 *	the domain (%IOMMU_ALIST_KEEP_TAGS). Read by walks
 * @listed: published; protected by &iommu_alist.lock
 * @retired: of an @own element, the grace period before it is used again
 *
 * All but @node, @chosen, @clean, @listed, @users and @retired is constant while a walk may see
 * it. It is as large as a cache line, which is why others are freed without an rcu_head.
 */
struct iommu_alist_elm {
	struct list_head node;
	struct iommu_device *iommu;
	struct iommu_alist_fn *fn;
	u32 id;
	u32 pasid;
	u32 info;
	u8 kind;
	bool own;
	bool chosen;
	bool clean;
	/* Not beside what walks read: a compiler may read more than it was told. */
	unsigned int users;
	bool listed;
	unsigned long retired;
};

/**
 * struct iommu_alist_ops - how a driver turns elements into commands
 * @flags: %IOMMU_ALIST_SYNC_BEFORE_ATC, %IOMMU_ALIST_IRQS_OFF,
 *	%IOMMU_ALIST_FLUSH_LAST_USER, %IOMMU_ALIST_KEEP_TAGS
 * @add: add the commands for an element to the walk's batch, from the
 *	&iommu_alist_walk.done-th on. Returns 1 if there were any, 0 if the element
 *	needs none, -ENOSPC if the batch is full and there are more. Then @done is how
 *	many of them earlier batches and this one hold, and the core calls again with
 *	an empty batch, which has to take at least one. The batch holds commands of one
 *	instance only. The driver limits how many an element needs, and invalidates
 *	all of the tag, or of the ATC, if a range needs more: interrupts may be off.
 * @push: hand a full batch of commands for tags to the instance's queue without a sync,
 *	and empty it; the sync that follows at the instance is for this batch, too.
 *	May wait for room in the queue, which has to come without the walk: there is no
 *	sync yet for it to wait for. Returns false, and does nothing, if the instance
 *	needs a sync behind each batch. NULL if all do. Batches with ATCs have one each
 *	in any case, so that a failure has a name.
 * @submit: hand the batch, followed by a sync, to the instance's queue, and empty
 *	it. It may be empty after @push. Returns what @wait wants to know; what does not
 *	fit there the driver may keep in the walk, by &iommu_alist_walk.nr_pending. May wait
 *	for room in the queue, which other walks make by waiting.
 * @wait: wait for a sync. 0; -EAGAIN if the instance aborted and commands before
 *	the sync may have had no effect, for whichever reason; -ETIMEDOUT if the only
 *	element in the batch was an ATC that can be fenced, and its function does not
 *	answer, or was fenced meanwhile; another error if it is not worth a repetition.
 * @fence: keep a function from memory that it has translations for: block its
 *	translated requests, and wait until those before have got to memory. Others may
 *	do the same at the same time, or have done it. NULL if the driver cannot.
 * @tag_alloc: choose the tag of the domain on an instance where it has none. May
 *	sleep. Not needed if attachments bring their tags.
 * @tag_left: a tag of the domain could not be flushed, and is passed over by walks
 *	from now on, until its next user has flushed it. Optional. Must not sleep
 * @tag_free: one of these tags, that is on no list and in no IOTLB any more
 *
 * @add, @push, @submit, @wait and @fence are called in any context, inside
 * rcu_read_lock(): they must not sleep, allocate, or look at devices.
 */
struct iommu_alist_ops {
	unsigned int flags;
	int (*add)(struct iommu_alist_walk *walk,
		   const struct iommu_alist_elm *elm);
	bool (*push)(struct iommu_alist_walk *walk, struct iommu_device *iommu);
	u64 (*submit)(struct iommu_alist_walk *walk, struct iommu_device *iommu);
	int (*wait)(struct iommu_alist_walk *walk, struct iommu_device *iommu,
		    u64 sync);
	int (*fence)(struct iommu_alist_fn *fn);
	int (*tag_alloc)(struct iommu_alist *list,
			 struct iommu_device *iommu, u32 *tag);
	void (*tag_left)(struct iommu_alist *list);
	void (*tag_free)(struct iommu_alist *list,
			 struct iommu_device *iommu, u32 tag);
};

/* An instance's queue does not keep ATC commands behind IOTLB ones. */
#define IOMMU_ALIST_SYNC_BEFORE_ATC	BIT(0)
/* The queue gets slots back from its waiters only: they must not be preempted. */
#define IOMMU_ALIST_IRQS_OFF		BIT(1)
/*
 * A tag that others use is not flushed when an attachment goes. Not for hardware where
 * the flush of the IOTLB is what pushes the function's last requests to memory.
 */
#define IOMMU_ALIST_FLUSH_LAST_USER	BIT(2)
/*
 * An instance's tag is the domain's until that is freed, wherever it is attached meanwhile:
 * it never fails to be attached again for want of one. Who goes back to a domain may not
 * be able to fail.
 */
#define IOMMU_ALIST_KEEP_TAGS		BIT(3)

/**
 * struct iommu_alist - where a domain is attached
 * @elms: sorted; changed under @lock, read under RCU
 * @ops: of the driver that the domain belongs to
 * @own: elements for the first attachment, so that it allocates nothing
 * @lock: held by whoever attaches or detaches, from iommu_alist_prepare()
 *	until the hardware's entry is present, and from before the entry is
 *	cleared until iommu_alist_remove(). A driver that replaces one domain
 *	by another holds both lists' locks, in an order of its own; a domain by
 *	itself, its lock once.
 *
 * A flush of a domain with one attachment reads @elms, @ops and @own only.
 */
struct iommu_alist {
	struct list_head elms;
	const struct iommu_alist_ops *ops;
	struct iommu_alist_elm own[2];
	struct mutex lock;	/* of who changes @elms */
};

/**
 * struct iommu_alist_where - an attachment that a driver asks for
 * @iommu: the instance
 * @choose_tag: the domain has one tag for the instance, from
 *	&iommu_alist_ops.tag_alloc; otherwise it is @tag
 * @tag: the tag of this attachment
 * @tag_pasid: PASID that an IOTLB command has to carry, or 0
 * @tag_info: &iommu_alist_elm.info of the tag
 * @ats: the function has an ATC that has to be told. ATS is a matter of the whole
 *	function: it must not be switched on while there is an attachment
 *	of the function that has none, see iommu_alist_add_atc().
 * @fn: the function, NULL if it cannot be fenced
 * @requester: ID of the function in ATC commands
 * @pasid: PASID of the attachment
 * @atc_info: &iommu_alist_elm.info of the ATC
 */
struct iommu_alist_where {
	struct iommu_device *iommu;
	bool choose_tag;
	u32 tag;
	u32 tag_pasid;
	u32 tag_info;
	bool ats;
	struct iommu_alist_fn *fn;
	u32 requester;
	u32 pasid;
	u32 atc_info;
};

/**
 * struct iommu_alist_attach - an attachment
 * @tag: element of its IOTLB tag, perhaps shared with other attachments
 * @atc: element of its ATC, NULL without ATS
 *
 * The driver keeps it from iommu_alist_prepare() to iommu_alist_remove(), or
 * iommu_alist_cancel(). The rest is between prepare and commit.
 */
struct iommu_alist_attach {
	struct iommu_alist_elm *tag;
	struct iommu_alist_elm *atc;
	/* private: */
	struct list_head *tag_after;	/* NULL: published already, by another */
	struct list_head *atc_after;
	bool tag_allocated;
	bool tag_dirty;
};

/*
 * Syncs that a walk can have under way. A walk over more instances waits for these
 * before it goes on: that costs time, on machines larger than any is today, and
 * nothing else.
 */
#define IOMMU_ALIST_MAX_PENDING	16

/**
 * struct iommu_alist_walk - one invalidation of a domain
 * @kinds: set of BIT(&enum iommu_alist_kind) to invalidate
 * @error: the first that happened; -EAGAIN never
 * @syncs: issued so far
 * @failed: set of BIT(&enum iommu_alist_kind) of which something was not flushed; a
 *	kind that iommu_alist_remove() was told to leave out is among them
 * @done: how much of an element is in batches already, in whatever
 *	&iommu_alist_ops.add counts, which sets it with -ENOSPC; 0 for a new element
 * @nr_pending: syncs under way, less than %IOMMU_ALIST_MAX_PENDING when
 *	&iommu_alist_ops.submit is called. No sync under way was submitted with this number
 *
 * The driver embeds it in what holds the range and the batch, on the stack of
 * the caller.
 */
struct iommu_alist_walk {
	unsigned int kinds;
	int error;
	unsigned int syncs;
	unsigned int failed;
	unsigned int done;
	unsigned int nr_pending;
	/* private: */
	unsigned int phase;		/* the kinds that are being walked */
	bool met_fencing;		/* of a function that was passed over */
	struct iommu_alist *list;
	const struct iommu_alist_attach *only;	/* NULL: the whole list */
	unsigned int nr_only;
	struct iommu_device *open;	/* has commands in the batch */
	struct {
		struct iommu_device *iommu;
		u64 sync;
	} pending[IOMMU_ALIST_MAX_PENDING];
};

#define IOMMU_ALIST_ALL_KINDS	(BIT(IOMMU_ALIST_TAG) | BIT(IOMMU_ALIST_ATC))

/**
 * iommu_alist_walk_init() - prepare a walk for one invalidation
 * @walk: the walk
 * @kinds: set of BIT(&enum iommu_alist_kind) to invalidate
 *
 * Leaves @walk's record of pending syncs as it is: most of it is never read.
 */
static inline void iommu_alist_walk_init(struct iommu_alist_walk *walk,
					 unsigned int kinds)
{
	walk->kinds = kinds;
	walk->open = NULL;
	walk->error = 0;
	walk->syncs = 0;
	walk->failed = 0;
	walk->met_fencing = false;
	walk->nr_pending = 0;
}

/**
 * iommu_alist_for_each() - iterate over the elements of a list
 * @elm: the loop's &struct iommu_alist_elm
 * @list: the list
 *
 * Context: &iommu_alist.lock held.
 */
#define iommu_alist_for_each(elm, list)					\
	list_for_each_entry(elm, &(list)->elms, node)

void iommu_alist_init(struct iommu_alist *list,
		      const struct iommu_alist_ops *ops);
void iommu_alist_destroy(struct iommu_alist *list);

int iommu_alist_prepare(struct iommu_alist *list,
			struct iommu_alist_attach *attach,
			const struct iommu_alist_where *where);
void iommu_alist_cancel(struct iommu_alist *list,
			struct iommu_alist_attach *attach);
int iommu_alist_commit(struct iommu_alist *list,
		       struct iommu_alist_attach *attach,
		       struct iommu_alist_walk *walk);
int iommu_alist_add_atc(struct iommu_alist *list,
			struct iommu_alist_attach *attach,
			const struct iommu_alist_where *where,
			struct iommu_alist_walk *walk);
void iommu_alist_drop_atc(struct iommu_alist *list,
			  struct iommu_alist_attach *attach);
int iommu_alist_remove(struct iommu_alist *list,
		       struct iommu_alist_attach *attach,
		       struct iommu_alist_walk *walk);
int iommu_alist_prepare_ids(struct iommu_alist *list,
			    struct iommu_alist_attach *attach,
			    const struct iommu_alist_where *where,
			    const u32 *ids, unsigned int *nr);
void iommu_alist_cancel_ids(struct iommu_alist *list,
			    struct iommu_alist_attach *attach, unsigned int nr);
int iommu_alist_commit_ids(struct iommu_alist *list,
			   struct iommu_alist_attach *attach, unsigned int nr,
			   struct iommu_alist_walk *walk);
int iommu_alist_remove_ids(struct iommu_alist *list,
			   struct iommu_alist_attach *attach, unsigned int nr,
			   struct iommu_alist_walk *walk);
int iommu_alist_flush(struct iommu_alist *list,
		      struct iommu_alist_walk *walk);
void iommu_alist_synchronize(void);

int iommu_alist_fence(const struct iommu_alist_ops *ops,
		      struct iommu_alist_fn *fn);
int iommu_alist_give_up(const struct iommu_alist_ops *ops,
			struct iommu_device *iommu, struct iommu_alist_fn *fn,
			u32 requester);
void iommu_alist_resume(struct iommu_alist_fn *fn);
bool iommu_alist_go_live(struct iommu_alist_fn *fn);

/**
 * iommu_alist_is_live() - whether the hardware may let a function use its ATC
 * @fn: the function
 *
 * Context: any, under the lock of whoever writes what decides about it: it is asked
 * after &iommu_alist_ops.fence has written, or before, but never in between.
 */
static inline bool iommu_alist_is_live(const struct iommu_alist_fn *fn)
{
	return READ_ONCE(fn->state) == IOMMU_ALIST_LIVE;
}

/**
 * iommu_alist_is_fenced() - whether a function must not be asked to invalidate
 * @fn: the function
 *
 * Context: any.
 */
static inline bool iommu_alist_is_fenced(const struct iommu_alist_fn *fn)
{
	u32 state = READ_ONCE(fn->state);

	return state == IOMMU_ALIST_FENCING || state == IOMMU_ALIST_FENCED;
}

#endif /* _LINUX_IOMMU_ATTACH_H */
