// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the SMMUv3 instances that other tests are made of
 *
 * Commands are put into the queue by hand: what each of them drops, and when, what is
 * complained about, and that what is old is found.
 */
#include <kunit/test.h>
#include <linux/bitfield.h>
#include <linux/delay.h>
#include <linux/io.h>

#include "kunit-mock.h"

#define PASID	5
#define IOVA	0x10000
#define OTHER	0x800000	/* in another table of the last level */
#define SID	0x4000

#define RANGE(num, scale)						\
	(FIELD_PREP_CONST(CMDQ_TLBI_0_NUM, (num) - 1) | FIELD_PREP_CONST(CMDQ_TLBI_0_SCALE, scale))
#define TG_4K		FIELD_PREP_CONST(CMDQ_TLBI_1_TG, 1)
#define TTL(level)	FIELD_PREP_CONST(CMDQ_TLBI_1_TTL, level)

/* The driver goes on behind what was put there by hand, up to the end of the queue. */
static void set_prod(struct smmu_unit *unit, u32 prod)
{
	struct arm_smmu_cmdq *cmdq = &unit->smmu.cmdq;

	cmdq->q.llq.prod = prod;
	atomic_set(&cmdq->owner_prod, prod);
	writel(prod, unit->smmu.base + ARM_SMMU_CMDQ_PROD);
}

static void put(struct smmu_unit *unit, u64 qw0, u64 qw1)
{
	u32 prod = readl(unit->smmu.base + ARM_SMMU_CMDQ_PROD);
	__le64 *ent = Q_ENT(&unit->smmu.cmdq.q, prod);

	ent[0] = cpu_to_le64(qw0);
	ent[1] = cpu_to_le64(qw1);
	set_prod(unit, prod + 1);
	smmu_queue(&unit->hw, true);
	smmu_queue(&unit->hw, false);
}

static void put_sync(struct smmu_unit *unit)
{
	put(unit, CMDQ_OP_CMD_SYNC, 0);
}

/* --- what a command drops --- */

/* What is cached before: of one function each of these */
#define STE_		BIT(0)
#define CD_0		BIT(1)
#define CD_5		BIT(2)
#define TLB_0		BIT(3)	/* of the RID, at IOVA and OTHER, each with its table */
#define WALK_0		BIT(4)
#define TLB_5		BIT(5)	/* of the PASID, at IOVA, with its table */
#define WALK_5		BIT(6)
#define TLB_0_OTHER	BIT(7)
#define WALK_0_OTHER	BIT(8)
#define ALL		GENMASK(8, 0)

/**
 * struct drop - a command, and what it drops
 * @name: of the case
 * @op: opcode
 * @qw0: its first word, but for opcode, tags and StreamID
 * @qw1: its second word
 * @pasid: it has the ASID of the PASID's domain, and not of the RID's
 * @sid: it has the StreamID
 * @drops: what it drops
 */
struct drop {
	const char *name;
	u8 op;
	u64 qw0;
	u64 qw1;
	bool pasid;
	bool sid;
	unsigned int drops;
};

#define SSID5	FIELD_PREP_CONST(CMDQ_CFGI_0_SSID, PASID)

static const struct drop drops[] = {
	{ "ste", CMDQ_OP_CFGI_STE, 0, 1, false, true, STE_ | CD_0 | CD_5 },
	{ "ste_of_another", CMDQ_OP_CFGI_STE, FIELD_PREP_CONST(CMDQ_CFGI_0_SID, SID + 8), 1,
	  false, false, 0 },
	{ "ste_range", SMMU_OP_CFGI_STE_RANGE, 0, 2, false, true, STE_ | CD_0 | CD_5 },
	{ "ste_range_of_others", SMMU_OP_CFGI_STE_RANGE,
	  FIELD_PREP_CONST(CMDQ_CFGI_0_SID, SID + 16), 2, false, false, 0 },
	{ "ste_all", SMMU_OP_CFGI_STE_RANGE, 0, 31, false, false, STE_ | CD_0 | CD_5 },
	{ "cd", CMDQ_OP_CFGI_CD, SSID5, 1, false, true, CD_5 },
	{ "cd_0", CMDQ_OP_CFGI_CD, 0, 1, false, true, CD_0 },
	{ "cd_all", CMDQ_OP_CFGI_CD_ALL, 0, 0, false, true, CD_0 | CD_5 },
	{ "asid", CMDQ_OP_TLBI_NH_ASID, 0, 0, false, false,
	  TLB_0 | WALK_0 | TLB_0_OTHER | WALK_0_OTHER },
	{ "asid_of_pasid", CMDQ_OP_TLBI_NH_ASID, 0, 0, true, false, TLB_5 | WALK_5 },
	{ "asid_of_vm", CMDQ_OP_TLBI_NH_ASID, FIELD_PREP_CONST(CMDQ_TLBI_0_VMID, 1), 0, false,
	  false, 0 },
	{ "vmid", CMDQ_OP_TLBI_S12_VMALL, 0, 0, false, false,
	  TLB_0 | WALK_0 | TLB_5 | WALK_5 | TLB_0_OTHER | WALK_0_OTHER },
	{ "stage_2", CMDQ_OP_TLBI_S2_IPA, 0, IOVA, false, false, 0 },
	{ "all", CMDQ_OP_TLBI_NSNH_ALL, 0, 0, false, false,
	  TLB_0 | WALK_0 | TLB_5 | WALK_5 | TLB_0_OTHER | WALK_0_OTHER },
	{ "va", CMDQ_OP_TLBI_NH_VA, 0, IOVA, false, false, TLB_0 | WALK_0 },
	{ "va_leaf", CMDQ_OP_TLBI_NH_VA, 0, IOVA | 1, false, false, TLB_0 },
	{ "va_beside", CMDQ_OP_TLBI_NH_VA, 0, IOVA + SZ_4K, false, false, WALK_0 },
	{ "va_beside_leaf", CMDQ_OP_TLBI_NH_VA, 0, (IOVA + SZ_4K) | 1, false, false, 0 },
	{ "range_up_to", CMDQ_OP_TLBI_NH_VA, RANGE(16, 0), TG_4K | TTL(3) | 1, false, false,
	  0 },
	{ "range_to", CMDQ_OP_TLBI_NH_VA, RANGE(17, 0), TG_4K | TTL(3) | 1, false, false,
	  TLB_0 },
	{ "range_behind", CMDQ_OP_TLBI_NH_VA, RANGE(17, 0),
	  (IOVA + SZ_4K) | TG_4K | TTL(3) | 1, false, false, 0 },
	{ "range_scaled", CMDQ_OP_TLBI_NH_VA, RANGE(2, 10), TG_4K | 1, false, false,
	  TLB_0 },
	{ "range_of_both", CMDQ_OP_TLBI_NH_VA, RANGE(3, 10), TG_4K, false, false,
	  TLB_0 | WALK_0 | TLB_0_OTHER | WALK_0_OTHER },
	{ "range_of_level_2", CMDQ_OP_TLBI_NH_VA, RANGE(3, 10), TG_4K | TTL(2) | 1, false,
	  false, 0 },
	{ "tables_above_level_3", CMDQ_OP_TLBI_NH_VA, RANGE(3, 10), TG_4K | TTL(3), false,
	  false, TLB_0 | WALK_0 | TLB_0_OTHER | WALK_0_OTHER },
	{ "tables_above_level_2", CMDQ_OP_TLBI_NH_VA, RANGE(3, 10), TG_4K | TTL(2), false,
	  false, 0 },
};

KUNIT_ARRAY_PARAM_DESC(drop, drops, name);

/* A function with a domain on its RID and another on a PASID; what can be is cached */
static struct smmu_fn *full_fn(struct kunit *test, struct iommu_domain **rid,
			       struct iommu_domain **pasid, unsigned int flags)
{
	struct smmu_fn *fn;

	smmu_machine(test, 1, NULL);
	fn = smmu_add_fn(test, 0, KIOMMU_PASID | flags);
	*rid = smmu_paging(test, fn, 0);
	*pasid = smmu_paging(test, fn, 0);
	KUNIT_ASSERT_EQ(test, 0, smmu_attach(fn, *rid));
	KUNIT_ASSERT_EQ(test, 0, smmu_set_pasid(fn, PASID, *pasid));
	smmu_map(test, *rid, IOVA, 1);
	smmu_map(test, *rid, OTHER, 1);
	smmu_map(test, *pasid, IOVA, 1);
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(fn, IOMMU_NO_PASID, IOVA, 0, NULL));
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(fn, IOMMU_NO_PASID, OTHER, 0, NULL));
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(fn, PASID, IOVA, 0, NULL));
	smmu_settle(fn->unit);
	return fn;
}

static u64 with_asid(struct smmu_unit *unit, struct iommu_domain *domain)
{
	return FIELD_PREP(CMDQ_TLBI_0_ASID, (u64)smmu_id(unit, domain));
}

static unsigned int in_walks(struct smmu_unit *unit, struct iommu_domain *domain, u64 iova)
{
	const struct smmu_tlb *tlb;

	for (tlb = unit->tlb; tlb < unit->tlb + SMMU_TLB; tlb++)
		if (tlb->valid && tlb->walk && tlb->table.root == smmu_root(domain) &&
		    tlb->page == iova >> 21 << 9)
			return true;
	return false;
}

static bool in_cds(struct smmu_unit *unit, u32 ssid)
{
	const struct smmu_config *c;

	for (c = unit->cd; c < unit->cd + SMMU_CDS; c++)
		if (c->valid && c->ssid == ssid)
			return true;
	return false;
}

static unsigned int what_is_cached(struct smmu_fn *fn, struct iommu_domain *rid,
				   struct iommu_domain *pasid)
{
	struct smmu_unit *unit = fn->unit;

	return (unit->ste[0].valid ? STE_ : 0) |
		(in_cds(unit, 0) ? CD_0 : 0) |
		(in_cds(unit, PASID) ? CD_5 : 0) |
		(smmu_in_tlb(unit, rid, IOVA) ? TLB_0 : 0) |
		(in_walks(unit, rid, IOVA) ? WALK_0 : 0) |
		(smmu_in_tlb(unit, pasid, IOVA) ? TLB_5 : 0) |
		(in_walks(unit, pasid, IOVA) ? WALK_5 : 0) |
		(smmu_in_tlb(unit, rid, OTHER) ? TLB_0_OTHER : 0) |
		(in_walks(unit, rid, OTHER) ? WALK_0_OTHER : 0);
}

/* Nothing before a CMD_SYNC, then what it names and nothing else */
static void drops_what_it_names(struct kunit *test)
{
	const struct drop *d = test->param_value;
	struct iommu_domain *rid, *pasid;
	struct smmu_fn *fn = full_fn(test, &rid, &pasid, 0);
	u64 qw0 = d->op | d->qw0;

	if (d->sid)
		qw0 |= FIELD_PREP(CMDQ_CFGI_0_SID, SID);
	else if (d->op == CMDQ_OP_TLBI_NH_VA || d->op == CMDQ_OP_TLBI_NH_ASID)
		qw0 |= with_asid(fn->unit, d->pasid ? pasid : rid);
	KUNIT_EXPECT_EQ(test, ALL, what_is_cached(fn, rid, pasid));
	SMMU_EXPECT_CLEAN(test, 9);
	put(fn->unit, qw0, d->qw1);
	KUNIT_EXPECT_EQ(test, ALL, what_is_cached(fn, rid, pasid));
	put_sync(fn->unit);
	KUNIT_EXPECT_EQ(test, ALL & ~d->drops, what_is_cached(fn, rid, pasid));
}

/* --- ATCs --- */

static void put_atc_inv(struct smmu_unit *unit, u64 flags, u32 ssid, u64 qw1)
{
	put(unit, CMDQ_OP_ATC_INV | flags | FIELD_PREP(CMDQ_ATC_0_SSID, ssid) |
	    FIELD_PREP(CMDQ_ATC_0_SID, SID), qw1);
}

/* At once, by PASID, or whatever the PASID is */
static void atc_drops_at_once(struct kunit *test)
{
	struct iommu_domain *rid, *pasid;
	struct smmu_fn *fn = full_fn(test, &rid, &pasid, KIOMMU_ATS);
	struct smmu_unit *unit = fn->unit;
	unsigned int asked = fn->fn.asked;

	put_atc_inv(unit, CMDQ_0_SSV, PASID, (IOVA + SZ_4K) | 0);
	KUNIT_EXPECT_TRUE(test, smmu_in_atc(fn, PASID, IOVA));
	put_atc_inv(unit, CMDQ_0_SSV, PASID, IOVA | 0);
	KUNIT_EXPECT_FALSE(test, smmu_in_atc(fn, PASID, IOVA));
	KUNIT_EXPECT_TRUE(test, smmu_in_atc(fn, IOMMU_NO_PASID, IOVA));
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(fn, PASID, IOVA, 0, NULL));
	put_atc_inv(unit, 0, 0, 5);
	KUNIT_EXPECT_FALSE(test, smmu_in_atc(fn, PASID, IOVA));
	KUNIT_EXPECT_FALSE(test, smmu_in_atc(fn, IOMMU_NO_PASID, IOVA));
	KUNIT_EXPECT_TRUE(test, smmu_in_atc(fn, IOMMU_NO_PASID, OTHER));
	put_atc_inv(unit, 0, 0, ATC_INV_SIZE_ALL);
	KUNIT_EXPECT_FALSE(test, smmu_in_atc(fn, IOMMU_NO_PASID, OTHER));
	put_sync(unit);
	KUNIT_EXPECT_EQ(test, asked + 4, fn->fn.asked);
}

/* A CMD_SYNC waits for who is late. */
static void atc_answers_late(struct kunit *test)
{
	struct iommu_domain *rid, *pasid;
	struct smmu_fn *fn = full_fn(test, &rid, &pasid, KIOMMU_ATS);

	smmu_clear_log(test->priv);
	fn->late_ns = 20 * NSEC_PER_MSEC;
	put_atc_inv(fn->unit, 0, 0, ATC_INV_SIZE_ALL);
	put_sync(fn->unit);
	KUNIT_EXPECT_TRUE(test, smmu_in_atc(fn, PASID, IOVA));
	KUNIT_EXPECT_EQ(test, 0, smmu_count(fn->unit, CMDQ_OP_CMD_SYNC));
	/* Not by jiffies, which may be behind */
	usleep_range(25 * USEC_PER_MSEC, 50 * USEC_PER_MSEC);
	smmu_queue(&fn->unit->hw, false);
	KUNIT_EXPECT_FALSE(test, smmu_in_atc(fn, PASID, IOVA));
	KUNIT_EXPECT_EQ(test, 1, smmu_count(fn->unit, CMDQ_OP_CMD_SYNC));
}

/* --- errors --- */

/* The queue stands until software has seen it; the CMD_SYNC is tried again. */
static void atc_does_not_answer(struct kunit *test)
{
	struct iommu_domain *rid, *pasid;
	struct smmu_fn *fn = full_fn(test, &rid, &pasid, KIOMMU_ATS);
	struct smmu_unit *unit = fn->unit;

	smmu_clear_log(test->priv);
	unit->atc_timeout = 0;
	kiommu_mute(&fn->fn, true);
	put_atc_inv(unit, 0, 0, ATC_INV_SIZE_ALL);
	put_sync(unit);
	put_sync(unit);
	KUNIT_EXPECT_TRUE(test, smmu_shows_error(unit));
	KUNIT_EXPECT_TRUE(test, smmu_in_atc(fn, PASID, IOVA));
	KUNIT_EXPECT_EQ(test, CMDQ_ERR_CERROR_ATC_INV_IDX,
			FIELD_GET(CMDQ_CONS_ERR,
				  readl(unit->smmu.base + ARM_SMMU_CMDQ_CONS)));
	arm_smmu_gerror_handler(0, &unit->smmu);
	KUNIT_EXPECT_FALSE(test, smmu_shows_error(unit));
	KUNIT_EXPECT_STREQ(test,
			   "atc sid=4000 all\n"
			   "sync timeout\n"
			   "sync\n"
			   "sync\n",
			   smmu_stream(test, unit, 0));
}

/* What stopped it may be replaced, and what is behind it as well. */
static void command_is_illegal(struct kunit *test)
{
	struct iommu_domain *rid, *pasid;
	struct smmu_fn *fn = full_fn(test, &rid, &pasid, 0);
	struct smmu_unit *unit = fn->unit;

	smmu_clear_log(test->priv);
	smmu_fail(unit, CMDQ_ERR_CERROR_ILL_IDX, 2);
	put(unit, CMDQ_OP_TLBI_NSNH_ALL, 0);
	put(unit, CMDQ_OP_TLBI_NSNH_ALL, 0);
	put_sync(unit);
	KUNIT_EXPECT_TRUE(test, smmu_shows_error(unit));
	KUNIT_EXPECT_TRUE(test, smmu_in_tlb(unit, rid, IOVA));
	arm_smmu_gerror_handler(0, &unit->smmu);
	KUNIT_EXPECT_STREQ(test,
			   "nsnh_all\n"
			   "nsnh_all illegal\n"
			   "sync\n"
			   "sync\n",
			   smmu_stream(test, unit, 0));
	KUNIT_EXPECT_FALSE(test, smmu_in_tlb(unit, rid, IOVA));
}

/* --- complaints --- */

/**
 * struct wrong - a command that nobody may send
 * @name: of the case
 * @qw0: its first word
 * @qw1: its second word
 * @stops: it is an illegal one
 */
struct wrong {
	const char *name;
	u64 qw0;
	u64 qw1;
	bool stops;
};

static const struct wrong wrongs[] = {
	{ "unknown", 0xff, 0, true },
	{ "el2", CMDQ_OP_TLBI_EL2_ASID, 0, true },
	{ "range_of_one", CMDQ_OP_TLBI_NH_VA | RANGE(1, 0), TG_4K, true },
	{ "granule", CMDQ_OP_TLBI_NH_VA | RANGE(2, 0), FIELD_PREP_CONST(CMDQ_TLBI_1_TG, 3), true },
	{ "level_2_not_aligned", CMDQ_OP_TLBI_NH_VA | RANGE(2, 0),
	  IOVA | TG_4K | TTL(2) | 1, true },
	{ "atc_of_nobody", CMDQ_OP_ATC_INV | FIELD_PREP_CONST(CMDQ_ATC_0_SID, 0x4008),
	  ATC_INV_SIZE_ALL, false },
};

KUNIT_ARRAY_PARAM_DESC(wrong, wrongs, name);

static void complains_of_commands(struct kunit *test)
{
	const struct wrong *w = test->param_value;
	struct iommu_domain *rid, *pasid;
	struct smmu_fn *fn = full_fn(test, &rid, &pasid, 0);
	struct smmu_machine *machine = test->priv;

	put(fn->unit, w->qw0, w->qw1);
	KUNIT_EXPECT_EQ(test, w->stops, smmu_shows_error(fn->unit));
	kiommu_expect_complaints(test, &machine->k, 1);
}

/* The queue itself */

static void complains_of_the_queue(struct kunit *test)
{
	struct iommu_domain *rid, *pasid;
	struct smmu_fn *fn = full_fn(test, &rid, &pasid, 0);
	struct smmu_machine *machine = test->priv;
	struct smmu_unit *unit = fn->unit;
	u32 prod = readl(unit->smmu.base + ARM_SMMU_CMDQ_PROD);

	/* A slot that is changed before it is fetched */
	unit->cmd_latency = NSEC_PER_SEC;
	put(unit, CMDQ_OP_TLBI_NSNH_ALL, 0);
	Q_ENT(&unit->smmu.cmdq.q, prod)[0] = cpu_to_le64(CMDQ_OP_TLBI_NH_ASID);
	smmu_settle(unit);
	kiommu_expect_complaints(test, &machine->k, 1);

	/* PROD that goes backwards, and PROD that passes CONS */
	set_prod(unit, prod);
	smmu_queue(&unit->hw, true);
	kiommu_expect_complaints(test, &machine->k, 1);
	set_prod(unit, prod + 2 + (1 << SMMU_QUEUE));
	smmu_queue(&unit->hw, true);
	kiommu_expect_complaints(test, &machine->k, 1);
	set_prod(unit, prod + 1);
	smmu_queue(&unit->hw, true);
}

static void complains_of_an_ats_that_is_off(struct kunit *test)
{
	struct iommu_domain *rid, *pasid;
	struct smmu_fn *fn = full_fn(test, &rid, &pasid, 0);
	struct smmu_machine *machine = test->priv;

	put_atc_inv(fn->unit, 0, 0, ATC_INV_SIZE_ALL);
	KUNIT_EXPECT_EQ(test, 1, fn->asked_off);
	machine->strict_ats = true;
	put_atc_inv(fn->unit, 0, 0, ATC_INV_SIZE_ALL);
	machine->strict_ats = false;
	kiommu_expect_complaints(test, &machine->k, 1);
}

/* An ASID that the next domain gets, while a CD still has it */
static void complains_of_a_free_asid(struct kunit *test)
{
	struct iommu_domain *rid, *pasid;
	struct smmu_fn *fn = full_fn(test, &rid, &pasid, 0);
	struct smmu_machine *machine = test->priv;

	machine->owned[1] = NULL;
	smmu_access(fn, PASID, IOVA, 0, NULL);
	machine->owned[1] = pasid;
	kiommu_expect_complaints(test, &machine->k, 1);
}

/* --- what is old --- */

static u64 *last_desc(struct iommu_domain *domain, u64 iova)
{
	u64 *table = phys_to_virt(smmu_root(domain));
	unsigned int level;

	for (level = 0; level < 3; level++)
		table = phys_to_virt(table[iova >> (39 - 9 * level) & 511] &
				     GENMASK_ULL(47, 12));
	return &table[iova >> 12 & 511];
}

/* Each cache by itself: it is changed in memory, found, and put back. */
static void finds_what_is_old(struct kunit *test)
{
	struct iommu_domain *rid, *pasid;
	struct smmu_fn *fn = full_fn(test, &rid, &pasid, KIOMMU_ATS);
	struct arm_smmu_master *master = fn->fn.dev_iommu.priv;
	struct smmu_machine *machine = test->priv;
	u64 *desc = last_desc(pasid, IOVA), was = *desc;
	__le64 *cd = arm_smmu_get_cd_ptr(master, PASID)->data;

	/* 9 as without ATS, 3 translations in the ATC */
	SMMU_EXPECT_CLEAN(test, 12);
	/* The translation, in TLB and ATC */
	*desc = 0;
	KUNIT_EXPECT_EQ(test, 2, smmu_stale(machine));
	*desc = was + SZ_4K;
	KUNIT_EXPECT_EQ(test, 2, smmu_stale(machine));
	*desc = was;
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(machine));
	/* The CD, and what the ATC has got through it */
	cd[1] ^= cpu_to_le64(SZ_4K);
	KUNIT_EXPECT_EQ(test, 2, smmu_stale(machine));
	cd[1] ^= cpu_to_le64(SZ_4K);
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(machine));
	/* What a domain has left that is freed: translation and table, twice */
	machine->owned[0] = NULL;
	KUNIT_EXPECT_EQ(test, 4, smmu_stale(machine));
	machine->owned[0] = rid;
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(machine));
}

/* --- the driver and the queue --- */

/* Three times around, with each way to see that it is done */
static void queue_wraps(struct kunit *test)
{
	struct smmu_caps caps = { .queue = 7 };
	struct iommu_domain *domain;
	unsigned int n, msi;
	struct smmu_fn *fn;

	for (msi = 0; msi < 2; msi++) {
		smmu_exit(test);
		caps.options = msi ? ARM_SMMU_OPT_MSIPOLL : 0;
		smmu_machine(test, 1, &caps);
		fn = smmu_add_fn(test, 0, 0);
		domain = smmu_paging(test, fn, 0);
		KUNIT_ASSERT_EQ(test, 0, smmu_attach(fn, domain));
		smmu_clear_log(test->priv);
		for (n = 0; n < 200; n++)
			domain->ops->flush_iotlb_all(domain);
		KUNIT_EXPECT_EQ(test, 200, smmu_count(fn->unit, CMDQ_OP_CMD_SYNC));
	}
}

static int flush_all(void *arg)
{
	struct iommu_domain *domain = arg;

	domain->ops->flush_iotlb_all(domain);
	return 0;
}

/* Whoever waits does so until it goes on. */
static void queue_stops(struct kunit *test)
{
	struct kiommu_thread thread;
	struct iommu_domain *rid, *pasid;
	struct smmu_fn *fn;

	kiommu_two_cpus(test);
	fn = full_fn(test, &rid, &pasid, 0);
	kiommu_hold(&fn->unit->hold, CMDQ_OP_CMD_SYNC, 1, 500);
	kiommu_start(test, &thread, flush_all, rid);
	KUNIT_EXPECT_TRUE(test, kiommu_wait_held(&thread, &fn->unit->hold));
	KUNIT_EXPECT_TRUE(test, smmu_in_tlb(fn->unit, rid, IOVA));
	KUNIT_EXPECT_FALSE(test, completion_done(&thread.done));
	kiommu_let_go(&fn->unit->hold);
	kiommu_join(&thread);
	KUNIT_EXPECT_FALSE(test, smmu_in_tlb(fn->unit, rid, IOVA));
}

static struct kunit_case smmu_self_cases[] = {
	KUNIT_CASE_PARAM(drops_what_it_names, drop_gen_params),
	KUNIT_CASE(atc_drops_at_once),
	KUNIT_CASE(atc_answers_late),
	KUNIT_CASE(atc_does_not_answer),
	KUNIT_CASE(command_is_illegal),
	KUNIT_CASE_PARAM(complains_of_commands, wrong_gen_params),
	KUNIT_CASE(complains_of_the_queue),
	KUNIT_CASE(complains_of_an_ats_that_is_off),
	KUNIT_CASE(complains_of_a_free_asid),
	KUNIT_CASE(finds_what_is_old),
	KUNIT_CASE(queue_wraps),
	KUNIT_CASE(queue_stops),
	{}
};

static struct kunit_suite smmu_self_suite = {
	.name = "arm_smmu_mock",
	.exit = smmu_exit,
	.test_cases = smmu_self_cases,
};

kunit_test_suite(smmu_self_suite);
