// SPDX-License-Identifier: GPL-2.0-only
/*
 * Invalidation of a domain, wherever it is attached
 *
 * What a domain's attach list means on SMMUv3. A tag is an ASID or, for the second
 * stage, a VMID. An ATC is that of a stream, for one SubstreamID. A CMD_ATC_INV must not
 * be issued before a CMD_SYNC has completed that follows the TLBI (IHI 0070, 4.5.1), so
 * there are two phases; all instances get the commands of a phase before the first is
 * waited for.
 */
#include <linux/pci.h>
#include <linux/slab.h>

#include "arm-smmu-v3.h"

/*
 * An SMMU without range invalidations takes a command for each page. From this
 * number on one for all of the domain does less harm than that many commands,
 * which hold up everybody else's.
 */
#define CMDQ_MAX_TLBI_OPS		512

/**
 * struct arm_smmu_flush_sync - a sync that may be under way
 * @sync: it
 * @illegal: commands that were illegal in its queue before the first of those pushed
 * @pushed: there are such
 */
struct arm_smmu_flush_sync {
	struct arm_smmu_cmdq_sync sync;
	u32 illegal;
	bool pushed;
};

/**
 * struct arm_smmu_flush - one invalidation of a domain, on the stack of who makes it
 * @walk: over the domain's list
 * @domain: the domain
 * @iova: first byte
 * @size: in bytes, 0 for everything that the domain can translate
 * @granule: size of the entries that have changed, where @leaf
 * @leaf: no table was freed, only entries of @granule have changed
 * @cmdq: the queue of the batch, NULL before its first command
 * @illegal: commands that were illegal there before that
 * @pushed: there is more before this batch, without a CMD_SYNC
 * @last: the sync behind the last batch, whose commands still are in @cmds
 * @syncs: those that may be under way, by &iommu_alist_walk.nr_pending of then
 * @elm: the last element that has commands in a batch
 * @num: commands in @cmds
 * @cmds: the batch of one instance
 *
 * On the stack it is __uninitialized: most flushes need two of the commands and one of
 * the syncs.
 */
struct arm_smmu_flush {
	struct iommu_alist_walk walk;
	struct arm_smmu_domain *domain;
	unsigned long iova;
	size_t size;
	size_t granule;
	bool leaf;
	struct arm_smmu_cmdq *cmdq;
	u32 illegal;
	bool pushed;
	unsigned int last;
	struct arm_smmu_flush_sync syncs[IOMMU_ALIST_MAX_PENDING];
	const struct iommu_alist_elm *elm;
	int num;
	u64 cmds[CMDQ_BATCH_ENTRIES * CMDQ_ENT_DWORDS];
};

static void arm_smmu_flush_init(struct arm_smmu_flush *flush,
				struct arm_smmu_domain *smmu_domain)
{
	iommu_alist_walk_init(&flush->walk, IOMMU_ALIST_ALL_KINDS);
	flush->domain = smmu_domain;
	flush->iova = 0;
	flush->size = 0;
	flush->granule = 0;
	flush->leaf = false;
	flush->cmdq = NULL;
	flush->pushed = false;
	flush->last = 0;
	flush->elm = NULL;
	flush->num = 0;
}

static struct arm_smmu_flush *walk_to_flush(struct iommu_alist_walk *walk)
{
	return container_of(walk, struct arm_smmu_flush, walk);
}

static struct arm_smmu_device *iommu_to_smmu(struct iommu_device *iommu)
{
	return container_of(iommu, struct arm_smmu_device, iommu);
}

/* --- commands --- */

/* Erratum 2812531 wants a CMD_SYNC behind at most 63 others. */
static bool flush_is_full(const struct arm_smmu_flush *flush,
			  const struct arm_smmu_device *smmu)
{
	return flush->num == CMDQ_BATCH_ENTRIES -
		!!(smmu->options & ARM_SMMU_OPT_CMDQ_FORCE_SYNC);
}

static void flush_put(struct arm_smmu_flush *flush, struct arm_smmu_device *smmu,
		      struct arm_smmu_cmdq_ent *cmd)
{
	/* One queue for the batch, and for those that were pushed before it. */
	if (!flush->cmdq) {
		flush->cmdq = arm_smmu_get_cmdq(smmu, cmd);
		/* Before one of these can be, as in arm_smmu_cmdq_submit() */
		flush->illegal = smp_load_acquire(&flush->cmdq->nr_illegal);
	}
	arm_smmu_cmdq_build_cmd(&flush->cmds[flush->num++ * CMDQ_ENT_DWORDS],
				cmd);
}

static int inv_add_one(struct arm_smmu_flush *flush,
		       struct arm_smmu_device *smmu,
		       struct arm_smmu_cmdq_ent *cmd)
{
	if (flush_is_full(flush, smmu))
		return -ENOSPC;
	flush_put(flush, smmu, cmd);
	return 1;
}

/* The command @nr of an element. False if there is no room: it is where the next batch goes on. */
static bool inv_add_nth(struct arm_smmu_flush *flush,
			struct arm_smmu_device *smmu,
			struct arm_smmu_cmdq_ent *cmd, unsigned int nr)
{
	if (nr < flush->walk.done)
		return true;
	if (flush_is_full(flush, smmu)) {
		flush->walk.done = nr;
		return false;
	}
	flush_put(flush, smmu, cmd);
	return true;
}

/* All that the instance has of the tag */
static int inv_add_whole(struct arm_smmu_flush *flush,
			 struct arm_smmu_device *smmu,
			 struct arm_smmu_cmdq_ent *cmd)
{
	if (flush->domain->stage == ARM_SMMU_DOMAIN_S2)
		cmd->opcode = CMDQ_OP_TLBI_S12_VMALL;
	else if (smmu->features & ARM_SMMU_FEAT_E2H)
		cmd->opcode = CMDQ_OP_TLBI_EL2_ASID;
	else
		cmd->opcode = CMDQ_OP_TLBI_NH_ASID;
	return inv_add_one(flush, smmu, cmd);
}

/*
 * With erratum 3777127 a range that covers a part of a contiguous group leaves
 * the TLB entry of the group. Groups of which an event changes a part have been
 * unfolded before, by the mm; those that it covers must not be cut between two
 * commands. Page tables that io-pgtable makes have no such groups.
 */
static bool inv_needs_one_range(const struct arm_smmu_flush *flush,
				const struct arm_smmu_device *smmu)
{
	return smmu->options & ARM_SMMU_OPT_ONE_RANGE_TLBI &&
	       flush->domain->domain.type == IOMMU_DOMAIN_SVA;
}

/*
 * A range of at most @pages, or, with @all, the smallest that has all of them: a number of 5
 * bits, shifted. Returns how many pages the command is for.
 */
static unsigned long inv_set_range(struct arm_smmu_cmdq_ent *cmd,
				   unsigned long pages, bool all)
{
	unsigned long scale = max(fls_long(all ? pages - 1 : pages), 5U) - 5;
	unsigned long num = all ? DIV_ROUND_UP(pages, 1UL << scale) :
			    pages >> scale;

	cmd->tlbi.scale = scale;
	cmd->tlbi.num = num - 1;
	return num << scale;
}

/*
 * One command is for nearly all of the range. What that leaves is at its end, and is covered
 * by a second one, which begins where it has to for that: with pages of the first one.
 * Whatever size BIT(@tg) divides, and the entries that have changed have, divides both.
 */
static int inv_add_ranges(struct arm_smmu_flush *flush,
			  struct arm_smmu_device *smmu,
			  struct arm_smmu_cmdq_ent *cmd)
{
	/* Get the leaf page size */
	unsigned long tg = __ffs(flush->domain->domain.pgsize_bitmap);
	bool one_range = inv_needs_one_range(flush, smmu);
	unsigned long pages = DIV_ROUND_UP(flush->size, 1UL << tg);
	unsigned long left;

	/* SCALE has five bits. */
	if (pages >> 31)
		return inv_add_whole(flush, smmu, cmd);

	/* Convert page size of 12,14,16 (log2) to 1,2,3 */
	cmd->tlbi.tg = (tg - 10) / 2;

	/*
	 * Determine what level the granule is at. For non-leaf, both io-pgtable
	 * and SVA pass a nominal last-level granule because they don't know what
	 * level(s) actually apply, so ignore that and leave TTL=0. However for
	 * various errata reasons we still want to use a range command, so avoid
	 * the SVA corner case where both scale and num could be 0 as well.
	 */
	if (flush->leaf)
		cmd->tlbi.ttl = 4 - ((ilog2(flush->granule) - 3) / (tg - 3));
	else if (pages == 1)
		pages++;

	cmd->tlbi.addr = flush->iova;
	left = pages - min(inv_set_range(cmd, pages, one_range), pages);
	if (!inv_add_nth(flush, smmu, cmd, 0))
		return -ENOSPC;
	if (!left)
		return 1;

	if (!flush->leaf)
		left = max(left, 2UL);
	cmd->tlbi.addr += (pages - inv_set_range(cmd, left, true)) << tg;
	return inv_add_nth(flush, smmu, cmd, 1) ? 1 : -ENOSPC;
}

/* One at a time */
static int inv_add_pages(struct arm_smmu_flush *flush,
			 struct arm_smmu_device *smmu,
			 struct arm_smmu_cmdq_ent *cmd)
{
	unsigned int nr;

	if (flush->size >= CMDQ_MAX_TLBI_OPS * flush->granule)
		return inv_add_whole(flush, smmu, cmd);

	for (nr = flush->walk.done; nr * flush->granule < flush->size; nr++) {
		cmd->tlbi.addr = flush->iova + nr * flush->granule;
		if (!inv_add_nth(flush, smmu, cmd, nr))
			return -ENOSPC;
	}
	return 1;
}

static int inv_add_tag(struct arm_smmu_flush *flush,
		       struct arm_smmu_device *smmu, u32 tag)
{
	struct arm_smmu_cmdq_ent cmd = {
		.tlbi.leaf = flush->leaf,
	};

	if (flush->domain->stage == ARM_SMMU_DOMAIN_S2) {
		cmd.opcode = CMDQ_OP_TLBI_S2_IPA;
		cmd.tlbi.vmid = tag;
	} else {
		cmd.opcode = smmu->features & ARM_SMMU_FEAT_E2H ?
			     CMDQ_OP_TLBI_EL2_VA : CMDQ_OP_TLBI_NH_VA;
		cmd.tlbi.asid = tag;
	}

	if (!flush->size)
		return inv_add_whole(flush, smmu, &cmd);
	if (smmu->features & ARM_SMMU_FEAT_RANGE_INV)
		return inv_add_ranges(flush, smmu, &cmd);
	return inv_add_pages(flush, smmu, &cmd);
}

static struct arm_smmu_master *elm_to_master(const struct iommu_alist_elm *elm)
{
	return container_of(elm->fn, struct arm_smmu_master, fn);
}

static int inv_add_atc(struct arm_smmu_flush *flush,
		       struct arm_smmu_device *smmu,
		       const struct iommu_alist_elm *elm)
{
	struct arm_smmu_cmdq_ent cmd;

	if (arm_smmu_master_is_gone(elm_to_master(elm)))
		return 0;
	/* Not only the leaves: a whole table may have been zapped. */
	arm_smmu_atc_inv_to_cmd(elm->pasid, flush->iova, flush->size, &cmd);
	cmd.atc.sid = elm->id;
	return inv_add_one(flush, smmu, &cmd);
}

/* --- what the core's walk asks for --- */

static int inv_add(struct iommu_alist_walk *walk,
		   const struct iommu_alist_elm *elm)
{
	struct arm_smmu_flush *flush = walk_to_flush(walk);
	struct arm_smmu_device *smmu = iommu_to_smmu(elm->iommu);
	int num = flush->num, ret;

	ret = elm->kind == IOMMU_ALIST_TAG ? inv_add_tag(flush, smmu, elm->id) :
		inv_add_atc(flush, smmu, elm);
	if (flush->num != num)
		flush->elm = elm;
	return ret;
}

static bool inv_push(struct iommu_alist_walk *walk, struct iommu_device *iommu)
{
	struct arm_smmu_flush *flush = walk_to_flush(walk);
	struct arm_smmu_device *smmu = iommu_to_smmu(iommu);

	if (smmu->options & ARM_SMMU_OPT_CMDQ_FORCE_SYNC)
		return false;
	/* If the SMMU is off, so it is for the CMD_SYNC that follows. */
	arm_smmu_cmdq_submit(smmu, flush->cmdq, flush->cmds, flush->num, NULL);
	flush->pushed = true;
	flush->num = 0;
	return true;
}

static u64 inv_submit(struct iommu_alist_walk *walk, struct iommu_device *iommu)
{
	struct arm_smmu_flush *flush = walk_to_flush(walk);
	unsigned int n = walk->nr_pending;
	struct arm_smmu_flush_sync *s = &flush->syncs[n];

	s->illegal = flush->illegal;
	s->pushed = flush->pushed;
	if (arm_smmu_cmdq_submit(iommu_to_smmu(iommu), flush->cmdq, flush->cmds,
				 flush->num, &s->sync))
		s->sync.cmdq = NULL;
	flush->pushed = false;
	flush->last = n;
	flush->cmdq = NULL;
	flush->num = 0;
	return n;
}

/*
 * Somebody's command was illegal, while some had no CMD_SYNC of their own. It may have been
 * one of these. Nobody sends such commands, if all is as it should be.
 */
static bool inv_pushed_illegal(const struct arm_smmu_flush_sync *s)
{
	return s->pushed && READ_ONCE(s->sync.cmdq->nr_illegal) != s->illegal;
}

/*
 * Whose command has failed, if there are several before the CMD_SYNC, the core finds out
 * by repeating them one by one. Of one it is known, unless the SMMU is off: an ATC_INV that
 * its function has not answered. That of a function that is gone has nothing to drop.
 */
static int inv_wait(struct iommu_alist_walk *walk, struct iommu_device *iommu,
		    u64 n)
{
	struct arm_smmu_flush *flush = walk_to_flush(walk);
	const struct arm_smmu_flush_sync *s = &flush->syncs[n];
	bool last = n == flush->last;
	int ret;

	if (!s->sync.cmdq)
		return -EIO;
	ret = arm_smmu_cmdq_wait(iommu_to_smmu(iommu), &s->sync,
				 last ? flush->cmds : NULL);
	if (likely(!ret))
		return unlikely(inv_pushed_illegal(s)) ? -EAGAIN : 0;
	if (ret != -EIO)
		return -EIO;
	if (!last || s->pushed || s->sync.n > 1)
		return -EAGAIN;
	if (flush->elm->kind == IOMMU_ALIST_TAG)
		return -EIO;
	return arm_smmu_master_is_gone(elm_to_master(flush->elm)) ? 0 :
		-ETIMEDOUT;
}

static struct arm_smmu_domain *list_to_domain(struct iommu_alist *list)
{
	return container_of(list, struct arm_smmu_domain, attach);
}

/*
 * An id is given out by the instance, and is in no TLB then: the last detach has flushed it,
 * and the domain that had it is freed.
 * 0 is of STEs without a second stage, and of CDs of processes that have exited.
 */
static int inv_tag_alloc(struct iommu_alist *list, struct iommu_device *iommu,
			 u32 *tag)
{
	struct arm_smmu_device *smmu = iommu_to_smmu(iommu);
	int id;

	if (list_to_domain(list)->stage == ARM_SMMU_DOMAIN_S2)
		id = ida_alloc_range(&smmu->vmid_map, 1,
				     (1 << smmu->vmid_bits) - 1, GFP_KERNEL);
	else
		id = ida_alloc_range(&smmu->asid_map, 1,
				     (1 << smmu->asid_bits) - 1, GFP_KERNEL);
	if (id < 0)
		return id;
	*tag = id;
	return 0;
}

static void inv_tag_free(struct iommu_alist *list, struct iommu_device *iommu,
			 u32 tag)
{
	struct arm_smmu_device *smmu = iommu_to_smmu(iommu);

	ida_free(list_to_domain(list)->stage == ARM_SMMU_DOMAIN_S2 ?
		 &smmu->vmid_map : &smmu->asid_map, tag);
}

const struct iommu_alist_ops arm_smmu_alist_ops = {
	.flags	= IOMMU_ALIST_SYNC_BEFORE_ATC | IOMMU_ALIST_FLUSH_LAST_USER |
		  IOMMU_ALIST_KEEP_TAGS,
	.add	= inv_add,
	.push	= inv_push,
	.submit	= inv_submit,
	.wait	= inv_wait,
	.fence	= arm_smmu_fence,
	.tag_alloc = inv_tag_alloc,
	.tag_free = inv_tag_free,
};

/* --- what the driver asks for --- */

/**
 * arm_smmu_inv_range() - invalidate a range of a domain
 * @smmu_domain: the domain
 * @iova: first byte, aligned to @granule
 * @size: in bytes
 * @granule: size of the entries that have changed, or nominally that of a page
 * @leaf: no table was freed
 *
 * Context: any. Waits for the slowest instance.
 */
void arm_smmu_inv_range(struct arm_smmu_domain *smmu_domain, unsigned long iova,
			size_t size, size_t granule, bool leaf)
{
	struct arm_smmu_flush flush __uninitialized;

	if (!size)
		return;
	arm_smmu_flush_init(&flush, smmu_domain);
	flush.iova = iova;
	flush.size = size;
	flush.granule = granule;
	flush.leaf = leaf;
	iommu_alist_flush(&smmu_domain->attach, &flush.walk);
}

/**
 * arm_smmu_inv_all() - invalidate everything that a domain can translate
 * @smmu_domain: the domain
 *
 * Context: any. Waits for the slowest instance.
 */
void arm_smmu_inv_all(struct arm_smmu_domain *smmu_domain)
{
	struct arm_smmu_flush flush __uninitialized;

	arm_smmu_flush_init(&flush, smmu_domain);
	iommu_alist_flush(&smmu_domain->attach, &flush.walk);
}

/* Not two of these on one stack */
static noinline int inv_commit(struct arm_smmu_domain *smmu_domain,
			       struct arm_smmu_attachment *at)
{
	struct arm_smmu_flush flush __uninitialized;

	arm_smmu_flush_init(&flush, smmu_domain);
	return iommu_alist_commit_ids(&smmu_domain->attach, at->at, at->nr,
				      &flush.walk);
}

static noinline void inv_remove(struct arm_smmu_domain *smmu_domain,
				struct arm_smmu_attachment *at)
{
	struct arm_smmu_flush flush __uninitialized;

	arm_smmu_flush_init(&flush, smmu_domain);
	iommu_alist_remove_ids(&smmu_domain->attach, at->at, at->nr, &flush.walk);
}

static u32 *inv_stream_ids(const struct arm_smmu_master *master)
{
	unsigned int n;
	u32 *ids;

	/* A platform device may have none. */
	ids = kcalloc(max(master->num_streams, 1U), sizeof(*ids), GFP_KERNEL);
	if (ids)
		for (n = 0; n < master->num_streams; n++)
			ids[n] = master->streams[n].id;
	return ids;
}

static int inv_prepare(struct arm_smmu_domain *smmu_domain,
		       struct arm_smmu_attachment *at, bool ats)
{
	struct arm_smmu_master *master = at->master;
	const struct iommu_alist_where where = {
		.iommu = &master->smmu->iommu,
		.choose_tag = true,
		.ats = ats,
		.fn = &master->fn,
		.pasid = at->ssid,
	};
	u32 *ids;
	int ret;

	ids = inv_stream_ids(master);
	if (!ids)
		return -ENOMEM;
	at->nr = max(master->num_streams, 1U);
	ret = iommu_alist_prepare_ids(&smmu_domain->attach, at->at, &where, ids,
				      &at->nr);
	kfree(ids);
	return ret;
}

/**
 * arm_smmu_inv_attach() - let invalidations of a domain reach an attachment
 * @smmu_domain: the domain
 * @master: the function
 * @ssid: SubstreamID, or IOMMU_NO_PASID
 * @ats: it uses ATS, now or as soon as its STE says so
 *
 * Before the STE or CD is made valid.
 *
 * Context: may sleep; &iommu_alist.lock held.
 * Return: the attachment, or ERR_PTR(): -ENOMEM, -ENOSPC if the SMMU has no id left, or -EIO
 * if it could not be flushed.
 */
struct arm_smmu_attachment *
arm_smmu_inv_attach(struct arm_smmu_domain *smmu_domain,
		    struct arm_smmu_master *master, ioasid_t ssid, bool ats)
{
	struct arm_smmu_attachment *at;
	int ret;

	at = kzalloc(struct_size(at, at, max(master->num_streams, 1U)),
		     GFP_KERNEL);
	if (!at)
		return ERR_PTR(-ENOMEM);
	at->master = master;
	at->ssid = ssid;
	ret = inv_prepare(smmu_domain, at, ats);
	if (ret) {
		kfree(at);
		return ERR_PTR(ret);
	}
	list_add_tail(&at->link, &smmu_domain->attachments);
	ret = inv_commit(smmu_domain, at);
	if (ret) {
		arm_smmu_inv_detach(smmu_domain, at);
		return ERR_PTR(ret);
	}
	return at;
}

/**
 * arm_smmu_inv_detach() - flush an attachment, and let no invalidation reach it
 * @smmu_domain: the domain
 * @at: the attachment, freed
 *
 * After the STE or CD is no longer valid, or that of another domain. Walks that are under
 * way may send commands for it until iommu_alist_synchronize().
 *
 * Context: &iommu_alist.lock held.
 */
void arm_smmu_inv_detach(struct arm_smmu_domain *smmu_domain,
			 struct arm_smmu_attachment *at)
{
	list_del(&at->link);
	inv_remove(smmu_domain, at);
	kfree(at);
}

/**
 * arm_smmu_inv_drop_atcs() - let invalidations of a domain pass the ATC of an attachment
 * @smmu_domain: the domain
 * @at: the attachment, of a function whose ATS could not be enabled
 *
 * Context: &iommu_alist.lock held.
 */
void arm_smmu_inv_drop_atcs(struct arm_smmu_domain *smmu_domain,
			    struct arm_smmu_attachment *at)
{
	unsigned int n;

	for (n = 0; n < at->nr; n++)
		if (at->at[n].atc)
			iommu_alist_drop_atc(&smmu_domain->attach, &at->at[n]);
}

/**
 * arm_smmu_inv_find() - find an attachment of a domain
 * @smmu_domain: the domain
 * @master: the function
 * @ssid: SubstreamID, or IOMMU_NO_PASID
 *
 * Context: &iommu_alist.lock held.
 * Return: the attachment, or NULL.
 */
struct arm_smmu_attachment *arm_smmu_inv_find(struct arm_smmu_domain *smmu_domain,
					      const struct arm_smmu_master *master,
					      ioasid_t ssid)
{
	struct arm_smmu_attachment *at;

	lockdep_assert_held(&smmu_domain->attach.lock);

	list_for_each_entry(at, &smmu_domain->attachments, link)
		if (at->master == master && at->ssid == ssid)
			return at;
	return NULL;
}

static noinline int inv_whole_atc(struct arm_smmu_master *master, ioasid_t ssid)
{
	struct arm_smmu_cmdq_batch cmds;
	struct arm_smmu_cmdq_ent cmd;
	unsigned int n;

	arm_smmu_atc_inv_to_cmd(ssid, 0, 0, &cmd);
	arm_smmu_cmdq_batch_init(master->smmu, &cmds, &cmd);
	for (n = 0; n < master->num_streams; n++) {
		cmd.atc.sid = master->streams[n].id;
		arm_smmu_cmdq_batch_add(master->smmu, &cmds, &cmd);
	}
	return arm_smmu_cmdq_batch_submit(master->smmu, &cmds);
}

/**
 * arm_smmu_inv_master() - invalidate what the ATC of a function holds
 * @master: the function
 * @ssid: of this SubstreamID; with IOMMU_NO_PASID, all
 *
 * A function that twice does not answer is fenced. One whose ATS is off answers with an
 * error, which completes the command as well (IHI 0070, 3.9.1.5).
 *
 * Context: any.
 */
void arm_smmu_inv_master(struct arm_smmu_master *master, ioasid_t ssid)
{
	int ret = -EIO;
	int try;

	rcu_read_lock();
	for (try = 0; try < 2 && ret == -EIO; try++)
		ret = iommu_alist_is_fenced(&master->fn) ||
		      arm_smmu_master_is_gone(master) ? 0 :
			inv_whole_atc(master, ssid);
	/* Who has begun to fence it may be what was interrupted. */
	if (ret == -EIO || iommu_alist_is_fenced(&master->fn))
		iommu_alist_give_up(&arm_smmu_alist_ops, &master->smmu->iommu,
				    &master->fn, master->streams[0].id);
	rcu_read_unlock();
}
