// SPDX-License-Identifier: GPL-2.0-only
/*
 * SMMUv3 instances made of memory: configuration, translations, and the caches of both
 *
 * An instance caches each STE, each level 1 descriptor of a table of CDs, each CD, and each
 * translation that it comes across, and where the tables of the last level are. What is
 * not valid is cached as well, but for translations. Nothing is ever evicted. A command
 * drops exactly what it names (Arm IHI 0070, 4.3 and 4.4):
 *
 *	CFGI_STE, CFGI_STE_RANGE	STEs, and all CDs that were found through them
 *	CFGI_CD, CFGI_CD_ALL		a CD, without Leaf also the level 1 descriptor that
 *					leads to it; those of a stream
 *	TLBI by address			what has the tag and overlaps the range; with Leaf
 *					no tables, with TTL entries of that level only
 *	TLBI by ASID, VMID, all		what has the tag
 *
 * It does so when a CMD_SYNC has completed, and until then goes by what it knew.
 *
 * What hardware may do in addition, and this does not: cache level 1 descriptors of the stream
 * table, which are read anew with each STE, so that Leaf of CFGI_STE means nothing here; cache
 * tables above those of the last level; and refuse an access by a cached translation that
 * does not permit it without another walk. An ATC belongs to a function, whichever of its
 * StreamIDs an invalidation has. Of CDs, STEs and TCRs, sizes of granules and of output
 * addresses, attributes, EPD1, and what becomes of faults are not looked at.
 */
#include <linux/bitfield.h>
#include <linux/io-pgtable.h>
#include <linux/mm.h>

#include "kunit-mock.h"

#define SMMU_BITS_PER_LEVEL	9
#define SMMU_DESC_VALID		BIT_ULL(0)
#define SMMU_DESC_TABLE		BIT_ULL(1)	/* and a page, at the last level */
#define SMMU_DESC_UNPRIV	BIT_ULL(6)	/* second stage: for reading */
#define SMMU_DESC_READONLY	BIT_ULL(7)	/* second stage: for writing */
#define SMMU_DESC_AF		BIT_ULL(10)
#define SMMU_DESC_DBM		BIT_ULL(51)
#define SMMU_DESC_ADDR		GENMASK_ULL(47, 12)

#define SMMU_ALL_SIDS		(~0U)

/* Commands that the driver has no name for */
#define SMMU_OP_TLBI_NH_ALL	0x10

/* --- configuration in memory --- */

static void *smmu_virt(u64 pa)
{
	return pfn_valid(PHYS_PFN(pa)) ? phys_to_virt(pa) : NULL;
}

static u64 smmu_read(const void *table, unsigned int index)
{
	return le64_to_cpu(READ_ONCE(((const __le64 *)table)[index]));
}

static bool smmu_copy(const void *table, unsigned int index, u64 *data)
{
	unsigned int n;

	if (!table)
		return false;
	for (n = 0; n < STRTAB_STE_DWORDS; n++)
		data[n] = smmu_read(table, index * STRTAB_STE_DWORDS + n);
	return true;
}

/* False if there is no table for it */
static bool smmu_read_ste(struct smmu_unit *unit, u32 sid, u64 *data)
{
	struct arm_smmu_strtab_cfg *cfg = &unit->smmu.strtab_cfg;
	u64 desc;

	if (!(unit->smmu.features & ARM_SMMU_FEAT_2_LVL_STRTAB))
		return sid < cfg->linear.num_ents &&
			smmu_copy(cfg->linear.table, sid, data);
	if (arm_smmu_strtab_l1_idx(sid) >= cfg->l2.num_l1_ents)
		return false;
	desc = smmu_read(cfg->l2.l1tab, arm_smmu_strtab_l1_idx(sid));
	return FIELD_GET(STRTAB_L1_DESC_SPAN, desc) &&
		smmu_copy(smmu_virt(desc & STRTAB_L1_DESC_L2PTR_MASK),
			  arm_smmu_strtab_l2_idx(sid), data);
}

static u64 smmu_ste_cfg(const u64 *ste)
{
	return FIELD_GET(STRTAB_STE_0_CFG, ste[0]);
}

static bool smmu_has_l1(const u64 *ste)
{
	return FIELD_GET(STRTAB_STE_0_S1FMT, ste[0]) == STRTAB_STE_0_S1FMT_64K_L2;
}

static const void *smmu_cd_table(const u64 *ste)
{
	return smmu_virt(ste[0] & STRTAB_STE_0_S1CTXPTR_MASK);
}

/* --- configuration that is cached --- */

static struct smmu_config *smmu_find_config(struct smmu_config *cache, unsigned int nr,
					    u32 sid, u32 ssid, bool l1)
{
	struct smmu_config *c;

	for (c = cache; c < cache + nr; c++)
		if (c->valid && c->sid == sid && c->ssid == ssid && c->l1 == l1)
			return c;
	return NULL;
}

static struct smmu_config *smmu_add_config(struct smmu_unit *unit,
					   struct smmu_config *cache, unsigned int nr,
					   const struct smmu_config *config)
{
	struct smmu_config *c;

	for (c = cache; c < cache + nr; c++) {
		if (c->valid)
			continue;
		*c = *config;
		c->valid = true;
		return c;
	}
	kiommu_complain(&unit->machine->k, "a cache of instance %u is full", unit->index);
	return NULL;
}

/**
 * struct smmu_lookup - one look at the configuration
 * @unit: the instance
 * @sid: StreamID
 * @memory: as it is in memory, whatever the instance has cached. Changes no cache
 * @ste: the STE
 * @cd: the CD
 */
struct smmu_lookup {
	struct smmu_unit *unit;
	u32 sid;
	bool memory;
	u64 ste[STRTAB_STE_DWORDS];
	u64 cd[CTXDESC_CD_DWORDS];
};

static bool smmu_get_ste(struct smmu_lookup *l)
{
	struct smmu_unit *unit = l->unit;
	struct smmu_config read = { .sid = l->sid }, *c = NULL;

	if (!l->memory)
		c = smmu_find_config(unit->ste, SMMU_STES, l->sid, 0, false);
	if (!c) {
		if (!smmu_read_ste(unit, l->sid, read.data))
			return false;
		if (!l->memory)
			smmu_add_config(unit, unit->ste, SMMU_STES, &read);
	}
	memcpy(l->ste, c ? c->data : read.data, sizeof(l->ste));
	return l->ste[0] & STRTAB_STE_0_V;
}

/* Of two levels, the table that a CD is in; its place goes to @index. */
static const void *smmu_get_l1(struct smmu_lookup *l, u32 ssid, unsigned int *index)
{
	struct smmu_unit *unit = l->unit;
	struct smmu_config read = {
		.l1 = true, .sid = l->sid, .ssid = round_down(ssid, CTXDESC_L2_ENTRIES),
	}, *c = NULL;
	const void *l1 = smmu_cd_table(l->ste);
	u64 desc;

	*index = arm_smmu_cdtab_l2_idx(ssid);
	if (!l->memory)
		c = smmu_find_config(unit->cd, SMMU_CDS, l->sid, read.ssid, true);
	if (!c) {
		if (!l1)
			return NULL;
		read.data[0] = smmu_read(l1, arm_smmu_cdtab_l1_idx(ssid));
		if (!l->memory)
			smmu_add_config(unit, unit->cd, SMMU_CDS, &read);
	}
	desc = c ? c->data[0] : read.data[0];
	return desc & CTXDESC_L1_DESC_V ?
		smmu_virt(desc & CTXDESC_L1_DESC_L2PTR_MASK) : NULL;
}

static bool smmu_get_cd(struct smmu_lookup *l, u32 ssid)
{
	struct smmu_unit *unit = l->unit;
	struct smmu_config read = { .sid = l->sid, .ssid = ssid }, *c = NULL;
	const void *table = smmu_cd_table(l->ste);
	unsigned int index = ssid;

	if (!l->memory)
		c = smmu_find_config(unit->cd, SMMU_CDS, l->sid, ssid, false);
	if (!c) {
		if (smmu_has_l1(l->ste))
			table = smmu_get_l1(l, ssid, &index);
		if (!smmu_copy(table, index, read.data))
			return false;
		if (!l->memory)
			smmu_add_config(unit, unit->cd, SMMU_CDS, &read);
	}
	memcpy(l->cd, c ? c->data : read.data, sizeof(l->cd));
	return l->cd[0] & CTXDESC_CD_0_V;
}

/* --- configuration: what it says --- */

static u8 smmu_start_level(u8 tsz)
{
	return 4 - DIV_ROUND_UP(64 - tsz - 12, SMMU_BITS_PER_LEVEL);
}

/* With 4K, level 0 is the highest one that SL0 can name. */
static void smmu_s2_table(const u64 *ste, struct smmu_table *table)
{
	u64 vtcr = FIELD_GET(STRTAB_STE_2_VTCR, ste[2]);

	*table = (struct smmu_table){
		.root = ste[3] & STRTAB_STE_3_S2TTB_MASK,
		.tsz = FIELD_GET(STRTAB_STE_2_VTCR_S2T0SZ, vtcr),
		.start = 2 - FIELD_GET(STRTAB_STE_2_VTCR_S2SL0, vtcr),
		.s2 = true,
		.vmid = FIELD_GET(STRTAB_STE_2_S2VMID, ste[2]),
	};
}

static void smmu_s1_table(const u64 *ste, const u64 *cd, struct smmu_table *table)
{
	u8 tsz = FIELD_GET(CTXDESC_CD_0_TCR_T0SZ, cd[0]);

	*table = (struct smmu_table){
		.root = cd[1] & CTXDESC_CD_1_TTB0_MASK,
		.tsz = tsz,
		.start = smmu_start_level(tsz),
		.el2 = FIELD_GET(STRTAB_STE_1_STRW, ste[1]) == STRTAB_STE_1_STRW_EL2,
		.ha = cd[0] & CTXDESC_CD_0_TCR_HA,
		.hd = cd[0] & CTXDESC_CD_0_TCR_HD,
		.no_walk = cd[0] & CTXDESC_CD_0_TCR_EPD0,
		.asid = FIELD_GET(CTXDESC_CD_0_ASID, cd[0]),
	};
	if (!table->el2)
		table->vmid = FIELD_GET(STRTAB_STE_2_S2VMID, ste[2]);
}

/**
 * smmu_id() - ASID or VMID of a domain on an instance
 * @unit: the instance
 * @domain: the domain
 *
 * Context: any.
 * Return: the id, 0 if it has none there.
 */
u16 smmu_id(struct smmu_unit *unit, struct iommu_domain *domain)
{
	const struct iommu_alist_elm *elm;
	u16 id = 0;

	rcu_read_lock();
	list_for_each_entry_rcu(elm, &to_smmu_domain(domain)->attach.elms, node)
		if (elm->kind == IOMMU_ALIST_TAG && elm->iommu == &unit->smmu.iommu)
			id = elm->id;
	rcu_read_unlock();
	return id;
}

static bool smmu_has_id(struct smmu_unit *unit, struct iommu_domain *domain, bool s2, u16 id)
{
	return domain && id && smmu_id(unit, domain) == id &&
		(to_smmu_domain(domain)->stage == ARM_SMMU_DOMAIN_S2) == s2;
}

/* An id that is no domain's on the instance is the next one's. */
static bool smmu_is_free(struct smmu_unit *unit, bool s2, u16 id)
{
	struct smmu_machine *machine = unit->machine;
	unsigned int n;

	for (n = 0; n < machine->nr_owned; n++)
		if (smmu_has_id(unit, machine->owned[n], s2, id))
			return false;
	return true;
}

/* A CD of a domain that has left the instance: the next one gets the ASID. */
static void smmu_check_asid(struct smmu_lookup *l, const struct smmu_table *table)
{
	/* Nobody ever gets 0. */
	if (l->memory || (table->no_walk && !table->asid))
		return;
	if (smmu_is_free(l->unit, false, table->asid))
		kiommu_complain(&l->unit->machine->k,
				"StreamID %x uses ASID %u, which is free", l->sid,
				table->asid);
}

static enum smmu_access smmu_get_s1(struct smmu_lookup *l, u32 ssid,
				    struct smmu_table *table)
{
	if (!smmu_get_cd(l, ssid))
		return SMMU_BAD_CD;
	smmu_s1_table(l->ste, l->cd, table);
	smmu_check_asid(l, table);
	return SMMU_OK;
}

/* Without a SubstreamID: the STE says what becomes of that. */
static enum smmu_access smmu_get_s1dss(struct smmu_lookup *l, struct smmu_table *table)
{
	switch (FIELD_GET(STRTAB_STE_1_S1DSS, l->ste[1])) {
	case STRTAB_STE_1_S1DSS_BYPASS:
		*table = (struct smmu_table){};
		return SMMU_OK;
	case STRTAB_STE_1_S1DSS_SSID0:
		return smmu_get_s1(l, 0, table);
	default:
		return SMMU_ABORTED;
	}
}

static enum smmu_access smmu_get_table(struct smmu_lookup *l, u32 ssid,
				       struct smmu_table *table)
{
	unsigned int max;

	if (!smmu_get_ste(l))
		return SMMU_BAD_STE;
	max = 1U << FIELD_GET(STRTAB_STE_0_S1CDMAX, l->ste[0]);
	switch (smmu_ste_cfg(l->ste)) {
	case STRTAB_STE_0_CFG_BYPASS:
		*table = (struct smmu_table){};
		return ssid ? SMMU_BAD_SSID : SMMU_OK;
	case STRTAB_STE_0_CFG_S2_TRANS:
		smmu_s2_table(l->ste, table);
		return ssid ? SMMU_BAD_SSID : SMMU_OK;
	case STRTAB_STE_0_CFG_S1_TRANS:
		if (ssid)
			return ssid < max ? smmu_get_s1(l, ssid, table) : SMMU_BAD_SSID;
		/* S1DSS is ignored where there is one CD. */
		return max > 1 ? smmu_get_s1dss(l, table) : smmu_get_s1(l, 0, table);
	default:
		return SMMU_ABORTED;
	}
}

static bool smmu_allows_ats(const struct smmu_lookup *l)
{
	return FIELD_GET(STRTAB_STE_1_EATS, l->ste[1]) == STRTAB_STE_1_EATS_TRANS &&
		smmu_ste_cfg(l->ste) != STRTAB_STE_0_CFG_BYPASS &&
		smmu_ste_cfg(l->ste) != STRTAB_STE_0_CFG_ABORT;
}

/* --- page tables --- */

static unsigned int smmu_shift(unsigned int level)
{
	return (3 - level) * SMMU_BITS_PER_LEVEL;
}

/* The root is larger than other tables where tables are concatenated. */
static u64 *smmu_desc(const struct smmu_table *table, u64 pa, unsigned int level, u64 page)
{
	u64 *desc = smmu_virt(pa);
	u64 index = page >> smmu_shift(level);

	if (level > table->start)
		index &= BIT(SMMU_BITS_PER_LEVEL) - 1;
	return desc ? desc + index : NULL;
}

/* Hardware that may manages the access flag and the dirty state. */
static u64 smmu_update_desc(const struct smmu_table *table, u64 *desc, u64 val, bool write)
{
	u64 new = val;

	if (table->ha)
		new |= SMMU_DESC_AF;
	if (table->hd && write && val & SMMU_DESC_DBM)
		new &= ~SMMU_DESC_READONLY;
	if (new == val || cmpxchg64(desc, val, new) == val)
		return new;
	return READ_ONCE(*desc);
}

static void smmu_fill(struct smmu_tlb *tlb, u64 desc, unsigned int level)
{
	tlb->level = level;
	tlb->order = smmu_shift(level);
	tlb->page = round_down(tlb->page, BIT_ULL(tlb->order));
	tlb->pfn = (desc & SMMU_DESC_ADDR) >> 12;
	tlb->write = tlb->table.s2 ? desc & SMMU_DESC_READONLY :
				     !(desc & SMMU_DESC_READONLY);
}

static enum smmu_access smmu_leaf(struct smmu_tlb *tlb, u64 *at, unsigned int level,
				  bool memory, bool write)
{
	u64 desc = READ_ONCE(*at);

	if (!memory)
		desc = smmu_update_desc(&tlb->table, at, desc, write);
	if (!(desc & SMMU_DESC_AF))
		return SMMU_ACCESS;
	if (!(desc & SMMU_DESC_UNPRIV))
		return SMMU_PERMISSION;
	smmu_fill(tlb, desc, level);
	return SMMU_OK;
}

/*
 * Walk the table of @tlb for its page. It may be changing, and what is being looked for may
 * be tables that were freed too early. Where the table of the last level is goes to @walk,
 * which says it already if that was cached.
 */
static enum smmu_access smmu_walk(struct smmu_tlb *tlb, struct smmu_tlb *walk, bool memory,
				  bool write)
{
	unsigned int level = walk->valid ? 3 : tlb->table.start;
	u64 pa = walk->valid ? walk->pfn << 12 : tlb->table.root;
	u64 *at, desc;

	if (tlb->table.no_walk || tlb->page >> (64 - 12 - tlb->table.tsz))
		return SMMU_TRANSLATION;
	for (;; level++) {
		at = smmu_desc(&tlb->table, pa, level, tlb->page);
		desc = at ? READ_ONCE(*at) : 0;
		if (!(desc & SMMU_DESC_VALID) || (level == 3 && !(desc & SMMU_DESC_TABLE)))
			return SMMU_TRANSLATION;
		if (level == 3 || !(desc & SMMU_DESC_TABLE))
			return smmu_leaf(tlb, at, level, memory, write);
		pa = desc & SMMU_DESC_ADDR;
		if (level == 2) {
			walk->valid = true;
			walk->pfn = pa >> 12;
		}
	}
}

/* --- the TLB --- */

static bool smmu_same_tag(const struct smmu_table *a, const struct smmu_table *b)
{
	return a->s2 == b->s2 && a->el2 == b->el2 && a->vmid == b->vmid &&
		a->asid == b->asid;
}

static struct smmu_tlb *smmu_find_tlb(struct smmu_unit *unit,
				      const struct smmu_table *table, u64 page, bool walk)
{
	struct smmu_tlb *tlb;

	for (tlb = unit->tlb; tlb < unit->tlb + SMMU_TLB; tlb++)
		if (tlb->valid && tlb->walk == walk && smmu_same_tag(&tlb->table, table) &&
		    kiommu_in_range(page, tlb->page, tlb->order))
			return tlb;
	return NULL;
}

static void smmu_add_tlb(struct smmu_unit *unit, const struct smmu_tlb *new)
{
	struct smmu_tlb *tlb;

	for (tlb = unit->tlb; tlb < unit->tlb + SMMU_TLB; tlb++) {
		if (tlb->valid)
			continue;
		*tlb = *new;
		tlb->valid = true;
		return;
	}
	kiommu_complain(&unit->machine->k, "the TLB of instance %u is full", unit->index);
}

static void smmu_init_walk(struct smmu_tlb *walk, const struct smmu_tlb *tlb)
{
	*walk = (struct smmu_tlb){
		.walk = true,
		.level = 2,
		.order = SMMU_BITS_PER_LEVEL,
		.table = tlb->table,
		.page = round_down(tlb->page, BIT_ULL(SMMU_BITS_PER_LEVEL)),
	};
}

/* A miss. An entry without the permission that is asked for is replaced. */
static enum smmu_access smmu_miss(struct smmu_unit *unit, struct smmu_tlb *tlb, bool write)
{
	struct smmu_tlb *cached = smmu_find_tlb(unit, &tlb->table, tlb->page, true);
	struct smmu_tlb walk;
	enum smmu_access ret;

	if (cached)
		walk = *cached;
	else
		smmu_init_walk(&walk, tlb);
	ret = smmu_walk(tlb, &walk, false, write);
	/* A command that has named a table reaches what is made with it until it is done. */
	tlb->doomed = walk.doomed;
	if (!cached && walk.valid)
		smmu_add_tlb(unit, &walk);
	if (ret == SMMU_OK)
		smmu_add_tlb(unit, tlb);
	return ret;
}

static enum smmu_access smmu_translate(struct smmu_unit *unit, struct smmu_tlb *tlb,
				       bool write)
{
	struct smmu_tlb *hit;
	u64 page = tlb->page;
	enum smmu_access ret;

	if (!tlb->table.root && !tlb->table.no_walk) {
		tlb->pfn = page;
		tlb->write = true;
		return SMMU_OK;
	}
	hit = smmu_find_tlb(unit, &tlb->table, page, false);
	if (hit && (hit->write || !write)) {
		*tlb = *hit;
	} else {
		if (hit)
			hit->valid = false;
		ret = smmu_miss(unit, tlb, write);
		if (ret != SMMU_OK)
			return ret;
	}
	/* Of the page that was asked for */
	tlb->pfn += page - tlb->page;
	tlb->page = page;
	return tlb->write || !write ? SMMU_OK : SMMU_PERMISSION;
}

/* --- accesses --- */

/**
 * smmu_in_tlb() - whether a translation is cached
 * @unit: the instance
 * @domain: whose it is
 * @iova: of what
 *
 * Context: any.
 * Return: true if the TLB has it.
 */
bool smmu_in_tlb(struct smmu_unit *unit, struct iommu_domain *domain, u64 iova)
{
	u64 root = smmu_root(domain);
	const struct smmu_tlb *tlb;
	unsigned long flags;
	bool found = false;

	raw_spin_lock_irqsave(&unit->lock, flags);
	for (tlb = unit->tlb; tlb < unit->tlb + SMMU_TLB; tlb++)
		found |= tlb->valid && !tlb->walk && tlb->table.root == root &&
			 kiommu_in_range(iova >> 12, tlb->page, tlb->order);
	raw_spin_unlock_irqrestore(&unit->lock, flags);
	return found;
}

/**
 * smmu_in_atc() - whether a function has a translation
 * @fn: the function
 * @ssid: PASID, or IOMMU_NO_PASID
 * @iova: of what
 *
 * Context: any.
 * Return: true if its ATC has it.
 */
bool smmu_in_atc(struct smmu_fn *fn, u32 ssid, u64 iova)
{
	unsigned long flags;
	bool found;

	raw_spin_lock_irqsave(&fn->unit->lock, flags);
	found = kiommu_atc_find(&fn->fn, ssid, iova >> 12);
	raw_spin_unlock_irqrestore(&fn->unit->lock, flags);
	return found;
}

/* In an ATC, a translation that is for writing, too */
#define SMMU_ATC_WRITE	BIT(0)

static void smmu_fill_atc(struct smmu_fn *fn, u32 ssid, const struct smmu_tlb *tlb)
{
	const struct kiommu_tlb entry = {
		.type = tlb->write ? SMMU_ATC_WRITE : 0,
		.tag = tlb->table.asid,
		.root = tlb->table.root,
		.page = tlb->page,
		.pfn = tlb->pfn,
	};

	kiommu_atc_add(&fn->fn, ssid, &entry);
}

/* What the function has in its ATC; the instance checks the STE of what is translated. */
static bool smmu_use_atc(struct smmu_fn *fn, u32 ssid, u64 page, bool write,
			 enum smmu_access *ret, u64 *pfn)
{
	struct kiommu_tlb *entry = kiommu_atc_find(&fn->fn, ssid, page);
	struct smmu_lookup l = { .unit = fn->unit, .sid = fn->sid[0] };

	if (!entry)
		return false;
	if (write && !(entry->type & SMMU_ATC_WRITE)) {
		kiommu_atc_drop(&fn->fn, ssid, page, 0);
		return false;
	}
	*pfn = entry->pfn;
	*ret = smmu_get_ste(&l) && smmu_allows_ats(&l) ? SMMU_OK : SMMU_NO_ATS;
	return true;
}

static enum smmu_access smmu_do_access(struct smmu_fn *fn, u32 ssid, u64 page,
				       unsigned int flags, u64 *pfn)
{
	bool ats = kiommu_ats(&fn->fn) && !(flags & SMMU_UNTRANSLATED);
	struct smmu_lookup l = { .unit = fn->unit, .sid = fn->sid[0] };
	struct smmu_tlb tlb = { .page = page };
	enum smmu_access ret;

	if (ats && smmu_use_atc(fn, ssid, page, flags & SMMU_WRITE, &ret, pfn))
		return ret;
	ret = smmu_get_table(&l, ssid, &tlb.table);
	if (ret == SMMU_OK && ats && !smmu_allows_ats(&l))
		return SMMU_NO_ATS;
	if (ret == SMMU_OK)
		ret = smmu_translate(fn->unit, &tlb, flags & SMMU_WRITE);
	if (ret != SMMU_OK)
		return ret;
	*pfn = tlb.pfn;
	if (ats)
		smmu_fill_atc(fn, ssid, &tlb);
	return SMMU_OK;
}

/**
 * smmu_access() - a function accesses memory
 * @fn: the function
 * @ssid: PASID, or IOMMU_NO_PASID
 * @iova: where
 * @flags: %SMMU_WRITE, %SMMU_UNTRANSLATED
 * @pa: gets what it translates to, may be NULL
 *
 * With ATS on, its first StreamID is used and what the ATC has; what is not there is asked
 * for. All that is read on the way is cached.
 *
 * Context: any.
 * Return: what became of it.
 */
enum smmu_access smmu_access(struct smmu_fn *fn, u32 ssid, u64 iova,
			     unsigned int flags, u64 *pa)
{
	enum smmu_access ret;
	unsigned long irq;
	u64 pfn = 0;

	raw_spin_lock_irqsave(&fn->unit->lock, irq);
	ret = smmu_do_access(fn, ssid, iova >> 12, flags, &pfn);
	raw_spin_unlock_irqrestore(&fn->unit->lock, irq);
	if (pa)
		*pa = pfn << 12 | (iova & ~PAGE_MASK);
	return ret;
}

/**
 * smmu_cache_all() - have the configuration of a PASID cached, valid or not
 * @fn: the function
 * @ssid: PASID, or IOMMU_NO_PASID
 *
 * For each of its StreamIDs.
 *
 * Context: any.
 */
void smmu_cache_all(struct smmu_fn *fn, u32 ssid)
{
	struct smmu_lookup l = { .unit = fn->unit };
	struct smmu_table table;
	unsigned long flags;
	unsigned int n;

	raw_spin_lock_irqsave(&fn->unit->lock, flags);
	for (n = 0; n < fn->nr_sids; n++) {
		l.sid = fn->sid[n];
		smmu_get_table(&l, ssid, &table);
	}
	raw_spin_unlock_irqrestore(&fn->unit->lock, flags);
}

/* --- commands --- */

/**
 * smmu_prefetch() - PREFETCH_CFG, which takes the chance
 * @unit: the instance
 * @sid: StreamID
 *
 * Context: @unit->lock.
 */
void smmu_prefetch(struct smmu_unit *unit, u32 sid)
{
	struct smmu_lookup l = { .unit = unit, .sid = sid };

	lockdep_assert_held(&unit->lock);
	smmu_get_ste(&l);
}

static void smmu_doom_stes(struct smmu_unit *unit, u32 first, u32 last)
{
	struct smmu_config *c;

	for (c = unit->ste; c < unit->ste + SMMU_STES; c++)
		if (c->sid >= first && c->sid <= last)
			c->doomed = true;
	for (c = unit->cd; c < unit->cd + SMMU_CDS; c++)
		if (c->sid >= first && c->sid <= last)
			c->doomed = true;
}

static void smmu_doom_cds(struct smmu_unit *unit, u32 sid)
{
	struct smmu_config *c;

	for (c = unit->cd; c < unit->cd + SMMU_CDS; c++)
		if (c->sid == sid)
			c->doomed = true;
}

static void smmu_doom_cd(struct smmu_unit *unit, u32 sid, u32 ssid, bool leaf)
{
	struct smmu_config *c;

	for (c = unit->cd; c < unit->cd + SMMU_CDS; c++) {
		if (c->sid != sid)
			continue;
		if (c->l1 ? !leaf && c->ssid == round_down(ssid, CTXDESC_L2_ENTRIES) :
			    c->ssid == ssid)
			c->doomed = true;
	}
}

/* 2^(range + 1) StreamIDs */
static void smmu_doom_range(struct smmu_unit *unit, const struct smmu_cmd *cmd)
{
	unsigned int bits = FIELD_GET(CMDQ_CFGI_1_RANGE, cmd->qw[1]) + 1;
	u32 sid = FIELD_GET(CMDQ_CFGI_0_SID, cmd->qw[0]);
	u32 mask = bits == 32 ? SMMU_ALL_SIDS : BIT(bits) - 1;

	smmu_doom_stes(unit, sid & ~mask, sid | mask);
}

/**
 * smmu_cfgi() - an invalidation of cached configuration
 * @unit: the instance
 * @cmd: the command
 *
 * Context: @unit->lock.
 * Return: true if it is one.
 */
bool smmu_cfgi(struct smmu_unit *unit, const struct smmu_cmd *cmd)
{
	u32 ssid = FIELD_GET(CMDQ_CFGI_0_SSID, cmd->qw[0]);
	u32 sid = FIELD_GET(CMDQ_CFGI_0_SID, cmd->qw[0]);

	lockdep_assert_held(&unit->lock);

	switch (cmd->op) {
	case CMDQ_OP_CFGI_STE:
		smmu_doom_stes(unit, sid, sid);
		return true;
	case SMMU_OP_CFGI_STE_RANGE:
		smmu_doom_range(unit, cmd);
		return true;
	case CMDQ_OP_CFGI_CD:
		smmu_doom_cd(unit, sid, ssid, cmd->qw[1] & CMDQ_CFGI_1_LEAF);
		return true;
	case CMDQ_OP_CFGI_CD_ALL:
		smmu_doom_cds(unit, sid);
		return true;
	default:
		return false;
	}
}

/**
 * struct smmu_range - what a TLBI names
 * @all: any address, else
 * @first: number of the first page, and
 * @last: of the last
 * @leaf: no tables
 * @level: entries of this level only, 0: of any
 */
struct smmu_range {
	bool all;
	u64 first;
	u64 last;
	bool leaf;
	u8 level;
};

/* Reserved, or nobody knows what it does; all tables have granules of 4K. */
static bool smmu_is_bad_range(struct smmu_unit *unit, const struct smmu_cmd *cmd)
{
	unsigned int ttl = FIELD_GET(CMDQ_TLBI_1_TTL, cmd->qw[1]);
	u64 addr = cmd->qw[1] & CMDQ_TLBI_1_VA_MASK;

	if (!(unit->smmu.features & ARM_SMMU_FEAT_RANGE_INV) ||
	    FIELD_GET(CMDQ_TLBI_1_TG, cmd->qw[1]) != 1)
		return true;
	if (!ttl)
		return !(cmd->qw[0] & (CMDQ_TLBI_0_NUM | CMDQ_TLBI_0_SCALE));
	return addr & (BIT_ULL(12 + smmu_shift(ttl)) - 1);
}

/* Without TG it is one address. */
static bool smmu_get_range(struct smmu_unit *unit, const struct smmu_cmd *cmd, u64 mask,
			   struct smmu_range *range)
{
	unsigned int tg = FIELD_GET(CMDQ_TLBI_1_TG, cmd->qw[1]);
	unsigned int scale = FIELD_GET(CMDQ_TLBI_0_SCALE, cmd->qw[0]);
	u64 num = FIELD_GET(CMDQ_TLBI_0_NUM, cmd->qw[0]) + 1;

	*range = (struct smmu_range){
		.first = (cmd->qw[1] & mask) >> 12,
		.leaf = cmd->qw[1] & CMDQ_TLBI_1_LEAF,
	};
	range->last = range->first;
	if (!tg)
		return true;
	range->last = range->first + (num << scale) - 1;
	range->level = FIELD_GET(CMDQ_TLBI_1_TTL, cmd->qw[1]);
	return !smmu_is_bad_range(unit, cmd);
}

/* A hint at the level is one at the tables, too: those above it. */
static bool smmu_overlaps(const struct smmu_range *range, const struct smmu_tlb *tlb)
{
	u64 last = tlb->page + BIT_ULL(tlb->order) - 1;

	if (range->all)
		return true;
	if (tlb->walk && (range->leaf || (range->level && tlb->level >= range->level)))
		return false;
	if (!tlb->walk && range->level && range->level != tlb->level)
		return false;
	return tlb->page <= range->last && last >= range->first;
}

static bool smmu_has_tag(const struct smmu_cmd *cmd, const struct smmu_table *table)
{
	u16 asid = FIELD_GET(CMDQ_TLBI_0_ASID, cmd->qw[0]);
	u16 vmid = FIELD_GET(CMDQ_TLBI_0_VMID, cmd->qw[0]);

	switch (cmd->op) {
	case CMDQ_OP_TLBI_NH_VA:
	case CMDQ_OP_TLBI_NH_ASID:
		return !table->s2 && !table->el2 && table->vmid == vmid &&
			table->asid == asid;
	case CMDQ_OP_TLBI_EL2_VA:
	case CMDQ_OP_TLBI_EL2_ASID:
		return table->el2 && table->asid == asid;
	case CMDQ_OP_TLBI_S2_IPA:
		return table->s2 && table->vmid == vmid;
	case CMDQ_OP_TLBI_S12_VMALL:
		return !table->el2 && table->vmid == vmid;
	case SMMU_OP_TLBI_NH_ALL:
		return !table->s2 && !table->el2 && table->vmid == vmid;
	case CMDQ_OP_TLBI_EL2_ALL:
		return table->el2;
	default:
		return !table->el2;
	}
}

static bool smmu_can_tlbi(struct smmu_unit *unit, u8 op)
{
	switch (op) {
	case SMMU_OP_TLBI_NH_ALL:
	case CMDQ_OP_TLBI_NH_ASID:
	case CMDQ_OP_TLBI_NH_VA:
		return unit->smmu.features & ARM_SMMU_FEAT_TRANS_S1;
	case CMDQ_OP_TLBI_EL2_ALL:
	case CMDQ_OP_TLBI_EL2_ASID:
	case CMDQ_OP_TLBI_EL2_VA:
		return unit->smmu.features & ARM_SMMU_FEAT_E2H;
	case CMDQ_OP_TLBI_S12_VMALL:
	case CMDQ_OP_TLBI_S2_IPA:
		return unit->smmu.features & ARM_SMMU_FEAT_TRANS_S2;
	case CMDQ_OP_TLBI_NSNH_ALL:
		return true;
	default:
		return false;
	}
}

/**
 * smmu_tlbi() - an invalidation of cached translations
 * @unit: the instance
 * @cmd: the command
 *
 * Context: @unit->lock.
 * Return: true if it is one, and the instance can do it.
 */
bool smmu_tlbi(struct smmu_unit *unit, const struct smmu_cmd *cmd)
{
	struct smmu_range range = { .all = true };
	struct smmu_tlb *tlb;

	lockdep_assert_held(&unit->lock);

	if (!smmu_can_tlbi(unit, cmd->op))
		return false;
	if ((cmd->op == CMDQ_OP_TLBI_NH_VA || cmd->op == CMDQ_OP_TLBI_EL2_VA) &&
	    !smmu_get_range(unit, cmd, CMDQ_TLBI_1_VA_MASK, &range))
		return false;
	if (cmd->op == CMDQ_OP_TLBI_S2_IPA &&
	    !smmu_get_range(unit, cmd, CMDQ_TLBI_1_IPA_MASK, &range))
		return false;
	for (tlb = unit->tlb; tlb < unit->tlb + SMMU_TLB; tlb++)
		if (tlb->valid && smmu_has_tag(cmd, &tlb->table) &&
		    smmu_overlaps(&range, tlb))
			tlb->doomed = true;
	return true;
}

/**
 * smmu_drop_doomed() - a CMD_SYNC completes: what commands have named is gone
 * @unit: the instance
 *
 * Context: @unit->lock.
 */
void smmu_drop_doomed(struct smmu_unit *unit)
{
	struct smmu_config *c;
	struct smmu_tlb *tlb;

	lockdep_assert_held(&unit->lock);

	for (c = unit->ste; c < unit->ste + SMMU_STES; c++)
		if (c->doomed)
			*c = (struct smmu_config){};
	for (c = unit->cd; c < unit->cd + SMMU_CDS; c++)
		if (c->doomed)
			*c = (struct smmu_config){};
	for (tlb = unit->tlb; tlb < unit->tlb + SMMU_TLB; tlb++)
		if (tlb->doomed)
			*tlb = (struct smmu_tlb){};
}

/* --- the audit --- */

/**
 * smmu_root() - the page table of a domain
 * @domain: the domain
 *
 * Return: its physical address, 0 if there is none yet.
 */
u64 smmu_root(struct iommu_domain *domain)
{
	struct arm_smmu_domain *smmu_domain = to_smmu_domain(domain);
	struct io_pgtable_cfg *cfg;

	if (domain->type == IOMMU_DOMAIN_SVA)
		return virt_to_phys(domain->mm->pgd);
	if (!smmu_domain->pgtbl_ops)
		return 0;
	cfg = &io_pgtable_ops_to_pgtable(smmu_domain->pgtbl_ops)->cfg;
	return smmu_domain->stage == ARM_SMMU_DOMAIN_S2 ?
		cfg->arm_lpae_s2_cfg.vttbr & STRTAB_STE_3_S2TTB_MASK :
		cfg->arm_lpae_s1_cfg.ttbr & CTXDESC_CD_1_TTB0_MASK;
}

/* Whether a domain owns a tag */
static bool smmu_owns(struct smmu_unit *unit, struct iommu_domain *domain,
		      const struct smmu_table *table)
{
	return smmu_has_id(unit, domain, table->s2, table->s2 ? table->vmid : table->asid) &&
		smmu_root(domain) == table->root;
}

static bool smmu_is_owned(struct smmu_unit *unit, const struct smmu_table *table)
{
	struct smmu_machine *machine = unit->machine;
	unsigned int n;

	for (n = 0; n < machine->nr_owned; n++)
		if (smmu_owns(unit, machine->owned[n], table))
			return true;
	return false;
}

/* A cached entry is compared with what the tables in memory say now. */
static bool smmu_tlb_is_old(struct smmu_unit *unit, const struct smmu_tlb *tlb)
{
	struct smmu_tlb now = { .table = tlb->table, .page = tlb->page }, walk;

	if (!smmu_is_owned(unit, &tlb->table))
		return true;
	smmu_init_walk(&walk, &now);
	if (smmu_walk(&now, &walk, true, false) != SMMU_OK)
		return !(tlb->walk && walk.valid && walk.pfn == tlb->pfn);
	if (tlb->walk)
		return !walk.valid || walk.pfn != tlb->pfn;
	return now.pfn != tlb->pfn || now.order != tlb->order ||
		(tlb->write && !now.write);
}

static bool smmu_ste_is_old(struct smmu_unit *unit, const struct smmu_config *c)
{
	u64 now[STRTAB_STE_DWORDS] = {};

	return !smmu_read_ste(unit, c->sid, now) || memcmp(now, c->data, sizeof(now));
}

/* As long as no STE leads to it, it does no harm; whoever writes that flushes it. */
static bool smmu_cd_is_old(struct smmu_unit *unit, const struct smmu_config *c)
{
	struct smmu_lookup l = { .unit = unit, .sid = c->sid, .memory = true };
	const void *table;
	unsigned int index = c->ssid;
	u64 now[CTXDESC_CD_DWORDS] = {};

	if (!smmu_get_ste(&l) || smmu_ste_cfg(l.ste) != STRTAB_STE_0_CFG_S1_TRANS)
		return false;
	table = smmu_cd_table(l.ste);
	if (c->l1)
		return smmu_read(table, arm_smmu_cdtab_l1_idx(c->ssid)) != c->data[0];
	if (smmu_has_l1(l.ste))
		table = smmu_get_l1(&l, c->ssid, &index);
	return !smmu_copy(table, index, now) || memcmp(now, c->data, sizeof(now));
}

/* Its ATC: what the function would get if it asked now. */
static bool smmu_atc_is_old(struct smmu_fn *fn, const struct kiommu_tlb *entry)
{
	struct smmu_lookup l = { .unit = fn->unit, .sid = fn->sid[0], .memory = true };
	struct smmu_tlb now = { .page = entry->page }, walk;

	if (smmu_get_table(&l, entry->pasid, &now.table) != SMMU_OK ||
	    now.table.root != entry->root)
		return true;
	if (!now.table.root && !now.table.no_walk)
		return entry->pfn != entry->page;
	smmu_init_walk(&walk, &now);
	if (smmu_walk(&now, &walk, true, false) != SMMU_OK)
		return true;
	return now.pfn + entry->page - now.page != entry->pfn ||
		(entry->type & SMMU_ATC_WRITE && !now.write);
}

/**
 * struct smmu_sum - what an audit has found
 * @all: what is cached
 * @old: what of it is not what is in memory
 * @complain: say so
 */
struct smmu_sum {
	unsigned int all;
	unsigned int old;
	bool complain;
};

__printf(4, 5)
static void smmu_found(struct smmu_machine *machine, struct smmu_sum *sum, bool old,
		       const char *fmt, ...)
{
	struct va_format vaf;
	va_list args;

	sum->all++;
	sum->old += old;
	if (!old || !sum->complain)
		return;
	va_start(args, fmt);
	vaf.fmt = fmt;
	vaf.va = &args;
	kiommu_complain(&machine->k, "%pV is old", &vaf);
	va_end(args);
}

static void smmu_sum_unit(struct smmu_unit *unit, struct smmu_sum *sum)
{
	struct smmu_machine *machine = unit->machine;
	const struct smmu_config *c;
	const struct smmu_tlb *tlb;

	for (c = unit->ste; c < unit->ste + SMMU_STES; c++)
		if (c->valid)
			smmu_found(machine, sum, smmu_ste_is_old(unit, c),
				   "instance %u: STE of %x", unit->index, c->sid);
	for (c = unit->cd; c < unit->cd + SMMU_CDS; c++)
		if (c->valid)
			smmu_found(machine, sum, smmu_cd_is_old(unit, c),
				   "instance %u: %s of %x, SSID %u", unit->index,
				   c->l1 ? "L1CD" : "CD", c->sid, c->ssid);
	for (tlb = unit->tlb; tlb < unit->tlb + SMMU_TLB; tlb++)
		if (tlb->valid)
			smmu_found(machine, sum, smmu_tlb_is_old(unit, tlb),
				   "instance %u: %s of %s %u, page %llx", unit->index,
				   tlb->walk ? "table" : "translation",
				   tlb->table.s2 ? "VMID" : "ASID",
				   tlb->table.s2 ? tlb->table.vmid : tlb->table.asid,
				   tlb->page);
}

static void smmu_sum_fn(struct smmu_fn *fn, struct smmu_sum *sum)
{
	const struct kiommu_tlb *entry;

	if (!kiommu_ats(&fn->fn) || pci_dev_is_disconnected(&fn->fn.pdev))
		return;
	kiommu_for_each_tlb(fn->fn.atc, entry)
		smmu_found(fn->unit->machine, sum, smmu_atc_is_old(fn, entry),
			   "ATC of %x: PASID %u, page %llx", fn->sid[0], entry->pasid,
			   entry->page);
}

static void smmu_sum_all(struct smmu_machine *machine, struct smmu_sum *sum)
{
	struct smmu_unit *unit;
	unsigned long flags;
	unsigned int n, i;

	for (n = 0; n < machine->nr_units; n++) {
		unit = &machine->unit[n];
		smmu_settle(unit);
		raw_spin_lock_irqsave(&unit->lock, flags);
		smmu_sum_unit(unit, sum);
		for (i = 0; i < machine->nr_fns; i++)
			if (machine->fn[i]->unit == unit)
				smmu_sum_fn(machine->fn[i], sum);
		raw_spin_unlock_irqrestore(&unit->lock, flags);
	}
}

/**
 * smmu_cached() - count what is cached
 * @machine: the machine
 *
 * Context: any.
 * Return: the number of STEs, CDs, level 1 descriptors, tables and translations in all
 * instances, and of translations in all ATCs.
 */
unsigned int smmu_cached(struct smmu_machine *machine)
{
	struct smmu_sum sum = {};

	smmu_sum_all(machine, &sum);
	return sum.all;
}

/**
 * smmu_stale() - count what is cached and not in memory any more
 * @machine: the machine; nobody is changing a table
 *
 * Context: any.
 * Return: that number, of what smmu_cached() counts.
 */
unsigned int smmu_stale(struct smmu_machine *machine)
{
	struct smmu_sum sum = {};

	smmu_sum_all(machine, &sum);
	return sum.old;
}

/**
 * smmu_audit() - complain about what is cached and not in memory any more
 * @machine: the machine; nothing is under way, and nobody is changing a table
 *
 * Context: any.
 */
void smmu_audit(struct smmu_machine *machine)
{
	struct smmu_sum sum = { .complain = true };

	if (!machine->unaudited)
		smmu_sum_all(machine, &sum);
}

/**
 * smmu_audit_released() - complain about what is left of a function
 * @fn: the function, which the driver has released
 *
 * Context: any.
 */
void smmu_audit_released(struct smmu_fn *fn)
{
	struct kiommu *k = &fn->unit->machine->k;
	u64 ste[STRTAB_STE_DWORDS] = {};
	unsigned int n;

	if (fn->unit->machine->unaudited)
		return;
	for (n = 0; n < fn->nr_sids; n++)
		if (!smmu_read_ste(fn->unit, fn->sid[n], ste) ||
		    smmu_ste_cfg(ste) != STRTAB_STE_0_CFG_ABORT)
			kiommu_complain(k, "there still is an STE of %x", fn->sid[n]);
	if (kiommu_ats(&fn->fn) && !pci_dev_is_disconnected(&fn->fn.pdev))
		kiommu_complain(k, "ATS of %x still is on", fn->sid[0]);
}
