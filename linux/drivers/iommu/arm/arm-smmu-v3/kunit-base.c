// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the commands that the SMMUv3 driver sends
 *
 * The streams were recorded from the driver of 6.12, and read against it. They are complete:
 * each command and each CMD_SYNC, in order. Each case runs twice, with CMD_SYNCs that are
 * polled for by CONS and by the word that they write, and sends the same. Before, all that an
 * instance and a function may cache is cached, what is not valid as well; afterwards nothing
 * old may be left, and accesses end as they have to.
 *
 * An entry with one qword that changes takes one or two CMD_SYNCs, one that must not be valid
 * meanwhile takes three (arm_smmu_write_entry()). Each STE is followed by a PREFETCH_CFG that
 * nobody waits for.
 */
#include <kunit/test.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>

#include "kunit-mock.h"

#define PASID	5
#define IOVA	0x10000

/* How instance and function differ from the usual ones */
#define ATS		BIT(0)	/* the function uses it */
#define IN_USE		BIT(1)	/* another PASID of the function is attached */
#define NO_RIL		BIT(2)	/* the instance has no range invalidation */
#define E2H		BIT(3)	/* the kernel runs at EL2 */
#define MANY		BIT(4)	/* a table of CDs with two levels */
#define STALL		BIT(5)	/* the instance can stall */

/* What is sent, in one word */
#define SYNC		"sync\n"
#define CD0		"cfgi_cd sid=4000 ssid=0 leaf\n" SYNC
#define CD5		"cfgi_cd sid=4000 ssid=5 leaf\n" SYNC
#define L1CD5		"cfgi_cd sid=4000 ssid=5\n" SYNC
#define STE		"cfgi_ste sid=4000 leaf\n" SYNC
#define PREFETCH	"prefetch sid=4000\n"
#define ATC		"atc sid=4000 all\n" SYNC
#define ATC5		"atc sid=4000 ssid=5 all\n" SYNC
#define ASID1		"nh_asid asid=1\n" SYNC
#define ASID2		"nh_asid asid=2\n" SYNC
#define VMID1		"s12_vmall vmid=1\n" SYNC

static struct smmu_caps caps_of(unsigned int how, bool msi)
{
	struct smmu_caps caps = {
		.features = SMMU_FEATURES,
		.options = msi ? ARM_SMMU_OPT_MSIPOLL : 0,
	};

	if (how & NO_RIL)
		caps.features &= ~ARM_SMMU_FEAT_RANGE_INV;
	if (how & E2H)
		caps.features |= ARM_SMMU_FEAT_E2H;
	if (how & STALL)
		caps.features |= ARM_SMMU_FEAT_STALLS;
	return caps;
}

/* A machine with one instance and one function */
static struct smmu_fn *one_fn(struct kunit *test, unsigned int how, bool msi)
{
	struct smmu_caps caps = caps_of(how, msi);

	smmu_machine(test, 1, &caps);
	return smmu_add_fn(test, 0, KIOMMU_PASID | (how & ATS ? KIOMMU_ATS : 0) |
			   (how & MANY ? SMMU_FN_MANY : 0));
}

static void expect_stream(struct kunit *test, struct smmu_unit *unit, const char *cmds)
{
	KUNIT_EXPECT_STREQ(test, cmds, smmu_stream(test, unit, 0));
}

/* --- the RID --- */

enum rid {
	BLOCKED,
	IDENTITY,
	S1,
	S1_NEXT,	/* another domain of the same kind, as is */
	S2,
	S2_NEXT,
};

static bool is_paging(enum rid rid)
{
	return rid >= S1;
}

static struct iommu_domain *rid_domain(struct kunit *test, struct smmu_fn *fn,
				       enum rid rid)
{
	switch (rid) {
	case BLOCKED:
		return arm_smmu_ops.blocked_domain;
	case IDENTITY:
		return arm_smmu_ops.identity_domain;
	case S1:
	case S1_NEXT:
		return smmu_paging(test, fn, 0);
	default:
		return smmu_paging(test, fn, SMMU_S2);
	}
}

/**
 * struct move - what is sent when the RID gets another domain
 * @name: of the case
 * @from: what it has
 * @to: what it gets
 * @how: %ATS, %IN_USE
 * @cmds: what is sent
 */
struct move {
	const char *name;
	enum rid from;
	enum rid to;
	unsigned int how;
	const char *cmds;
};

static const struct move moves[] = {
	{ "blocked_identity", BLOCKED, IDENTITY, 0, "" },
	{ "blocked_s1", BLOCKED, S1, 0, "" },
	{ "blocked_s2", BLOCKED, S2, 0, "" },
	{ "identity_blocked", IDENTITY, BLOCKED, 0, "" },
	{ "identity_s1", IDENTITY, S1, 0, "" },
	{ "identity_s2", IDENTITY, S2, 0, "" },
	{ "s1_blocked", S1, BLOCKED, 0, "" },
	{ "s1_identity", S1, IDENTITY, 0, "" },
	{ "s1_s1", S1, S1_NEXT, 0, "" },
	{ "s1_s2", S1, S2, 0, "" },
	{ "s2_blocked", S2, BLOCKED, 0, "" },
	{ "s2_identity", S2, IDENTITY, 0, "" },
	{ "s2_s1", S2, S1, 0, "" },
	{ "s2_s2", S2, S2_NEXT, 0, "" },
	{ "blocked_identity_ats", BLOCKED, IDENTITY, ATS, "" },
	{ "blocked_s1_ats", BLOCKED, S1, ATS, "" },
	{ "blocked_s2_ats", BLOCKED, S2, ATS, "" },
	{ "identity_blocked_ats", IDENTITY, BLOCKED, ATS, "" },
	{ "identity_s1_ats", IDENTITY, S1, ATS, "" },
	{ "identity_s2_ats", IDENTITY, S2, ATS, "" },
	{ "s1_blocked_ats", S1, BLOCKED, ATS, "" },
	{ "s1_identity_ats", S1, IDENTITY, ATS, "" },
	{ "s1_s1_ats", S1, S1_NEXT, ATS, "" },
	{ "s1_s2_ats", S1, S2, ATS, "" },
	{ "s2_blocked_ats", S2, BLOCKED, ATS, "" },
	{ "s2_identity_ats", S2, IDENTITY, ATS, "" },
	{ "s2_s1_ats", S2, S1, ATS, "" },
	{ "s2_s2_ats", S2, S2_NEXT, ATS, "" },
	{ "blocked_identity_in_use", BLOCKED, IDENTITY, IN_USE, "" },
	{ "blocked_s1_in_use", BLOCKED, S1, IN_USE, "" },
	{ "identity_blocked_in_use", IDENTITY, BLOCKED, IN_USE, "" },
	{ "identity_s1_in_use", IDENTITY, S1, IN_USE, "" },
	{ "s1_blocked_in_use", S1, BLOCKED, IN_USE, "" },
	{ "s1_identity_in_use", S1, IDENTITY, IN_USE, "" },
	{ "s1_s1_in_use", S1, S1_NEXT, IN_USE, "" },
	{ "blocked_identity_in_use_ats", BLOCKED, IDENTITY, IN_USE | ATS, "" },
	{ "blocked_s1_in_use_ats", BLOCKED, S1, IN_USE | ATS, "" },
	{ "identity_blocked_in_use_ats", IDENTITY, BLOCKED, IN_USE | ATS, "" },
	{ "identity_s1_in_use_ats", IDENTITY, S1, IN_USE | ATS, "" },
	{ "s1_blocked_in_use_ats", S1, BLOCKED, IN_USE | ATS, "" },
	{ "s1_identity_in_use_ats", S1, IDENTITY, IN_USE | ATS, "" },
	{ "s1_s1_in_use_ats", S1, S1_NEXT, IN_USE | ATS, "" },
};

KUNIT_ARRAY_PARAM_DESC(move, moves, name);

/* What an access without PASID becomes, and by what table: that of the second domain is empty. */
static void expect_rid(struct kunit *test, struct smmu_fn *fn, enum rid rid, bool mapped)
{
	enum smmu_access is = SMMU_OK;
	u64 pa, to = SMMU_PA(IOVA);

	if (rid == BLOCKED)
		is = SMMU_ABORTED;
	else if (rid == IDENTITY)
		to = IOVA;
	else if (!mapped)
		is = SMMU_TRANSLATION;
	KUNIT_EXPECT_EQ(test, is, smmu_access(fn, IOMMU_NO_PASID, IOVA, 0, &pa));
	if (is == SMMU_OK)
		KUNIT_EXPECT_EQ(test, to, pa);
}

/* A PASID with a domain of its own, which has one page */
static void use_pasid(struct kunit *test, struct smmu_fn *fn)
{
	struct iommu_domain *domain = smmu_paging(test, fn, 0);

	smmu_map(test, domain, IOVA, 1);
	KUNIT_ASSERT_EQ(test, 0, smmu_set_pasid(fn, PASID, domain));
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(fn, PASID, IOVA, SMMU_WRITE, NULL));
}

static void do_move(struct kunit *test, const struct move *m, bool msi)
{
	struct smmu_fn *fn = one_fn(test, m->how, msi);
	struct iommu_domain *from = rid_domain(test, fn, m->from);
	struct iommu_domain *to = rid_domain(test, fn, m->to);

	KUNIT_ASSERT_EQ(test, 0, smmu_attach(fn, from));
	if (is_paging(m->from))
		smmu_map(test, from, IOVA, 1);
	if (m->how & IN_USE)
		use_pasid(test, fn);
	smmu_cache_all(fn, PASID);
	expect_rid(test, fn, m->from, true);
	smmu_clear_log(test->priv);

	KUNIT_EXPECT_EQ(test, 0, smmu_attach(fn, to));
	expect_stream(test, fn->unit, m->cmds);
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(test->priv));
	expect_rid(test, fn, m->to, false);
	if (m->how & IN_USE)
		KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(fn, PASID, IOVA, 0, NULL));
	KUNIT_EXPECT_EQ(test, !!(m->how & ATS) && (is_paging(m->to) || m->how & IN_USE),
			kiommu_ats(&fn->fn));
}

static void rid(struct kunit *test)
{
	const struct move *m = test->param_value;

	do_move(test, m, false);
	smmu_exit(test);
	do_move(test, m, true);
}

/* --- PASIDs --- */

enum kind {
	PAGING,
	SVA,
};

enum what {
	ATTACH,
	DETACH,
	DETACH_FREE,
	EXIT,
	EXIT_DETACH,	/* what the detach sends that comes after the exit */
	EXIT_FREE,	/* what is sent when it is freed then */
};

/**
 * struct bind - what is sent when something becomes of a PASID
 * @name: of the case
 * @rid: what the RID has
 * @kind: of the domain
 * @what: becomes of it
 * @how: %ATS and so on
 * @cmds: what is sent
 */
struct bind {
	const char *name;
	enum rid rid;
	enum kind kind;
	enum what what;
	unsigned int how;
	const char *cmds;
};

static const struct bind binds[] = {
	{ "blocked_attach", BLOCKED, PAGING, ATTACH, 0, "" },
	{ "identity_attach", IDENTITY, PAGING, ATTACH, 0, "" },
	{ "s1_attach", S1, PAGING, ATTACH, 0, "" },
	{ "blocked_attach_ats", BLOCKED, PAGING, ATTACH, ATS, "" },
	{ "identity_attach_ats", IDENTITY, PAGING, ATTACH, ATS, "" },
	{ "s1_attach_ats", S1, PAGING, ATTACH, ATS, "" },
	{ "s1_attach_many_ats", S1, PAGING, ATTACH, MANY | ATS, "" },
	{ "blocked_detach", BLOCKED, PAGING, DETACH, 0, "" },
	{ "identity_detach", IDENTITY, PAGING, DETACH, 0, "" },
	{ "s1_detach", S1, PAGING, DETACH, 0, "" },
	{ "blocked_detach_ats", BLOCKED, PAGING, DETACH, ATS, "" },
	{ "identity_detach_ats", IDENTITY, PAGING, DETACH, ATS, "" },
	{ "s1_detach_ats", S1, PAGING, DETACH, ATS, "" },
	{ "s1_free_ats", S1, PAGING, DETACH_FREE, ATS, "" },
	{ "blocked_bind", BLOCKED, SVA, ATTACH, 0, "" },
	{ "identity_bind", IDENTITY, SVA, ATTACH, 0, "" },
	{ "s1_bind", S1, SVA, ATTACH, 0, "" },
	{ "blocked_bind_ats", BLOCKED, SVA, ATTACH, ATS, "" },
	{ "identity_bind_ats", IDENTITY, SVA, ATTACH, ATS, "" },
	{ "s1_bind_ats", S1, SVA, ATTACH, ATS, "" },
	{ "s1_bind_many", S1, SVA, ATTACH, MANY, "" },
	{ "blocked_unbind", BLOCKED, SVA, DETACH, 0, "" },
	{ "identity_unbind", IDENTITY, SVA, DETACH, 0, "" },
	{ "s1_unbind", S1, SVA, DETACH, 0, "" },
	{ "blocked_unbind_ats", BLOCKED, SVA, DETACH, ATS, "" },
	{ "identity_unbind_ats", IDENTITY, SVA, DETACH, ATS, "" },
	{ "s1_unbind_ats", S1, SVA, DETACH, ATS, "" },
	{ "s1_unbind_free", S1, SVA, DETACH_FREE, 0, "" },
	{ "s1_unbind_free_ats", S1, SVA, DETACH_FREE, ATS, "" },
	{ "s1_unbind_free_e2h", S1, SVA, DETACH_FREE, E2H, "" },
	{ "s1_exit", S1, SVA, EXIT, 0, "" },
	{ "s1_exit_ats", S1, SVA, EXIT, ATS, "" },
	{ "s1_exit_e2h", S1, SVA, EXIT, E2H, "" },
	{ "s1_exit_stall", S1, SVA, EXIT, STALL, "" },
	{ "identity_exit_ats", IDENTITY, SVA, EXIT, ATS, "" },
	{ "s1_exit_unbind", S1, SVA, EXIT_DETACH, 0, "" },
	{ "s1_exit_unbind_ats", S1, SVA, EXIT_DETACH, ATS, "" },
	{ "identity_exit_unbind_ats", IDENTITY, SVA, EXIT_DETACH, ATS, "" },
	{ "s1_exit_free_ats", S1, SVA, EXIT_FREE, ATS, "" },
};

KUNIT_ARRAY_PARAM_DESC(bind, binds, name);

/**
 * struct bind_case - a case while it runs
 * @test: the test
 * @fn: the function
 * @mm: the process, NULL: none, or it has exited
 * @addr: page that is mapped
 * @domain: of the PASID
 */
struct bind_case {
	struct kunit *test;
	struct smmu_fn *fn;
	struct mm_struct *mm;
	unsigned long addr;
	struct iommu_domain *domain;
};

static void bind_domain(struct bind_case *c, enum kind kind)
{
	if (kind == SVA) {
		c->mm = kiommu_mm(c->test);
		c->addr = kiommu_mm_map(c->test, 1);
		c->domain = smmu_sva(c->test, c->fn, c->mm);
	} else {
		c->addr = IOVA;
		c->domain = smmu_paging(c->test, c->fn, 0);
		smmu_map(c->test, c->domain, IOVA, 1);
	}
}

static enum smmu_access bind_access(struct bind_case *c)
{
	return smmu_access(c->fn, PASID, c->addr, 0, NULL);
}

static void bind_exit_mm(struct bind_case *c)
{
	if (c->mm)
		kiommu_mm_exit(c->mm);
	c->mm = NULL;
}

/* Up to what is recorded */
static void bind_before(struct bind_case *c, const struct bind *b)
{
	struct kunit *test = c->test;

	KUNIT_ASSERT_EQ(test, 0, smmu_attach(c->fn, rid_domain(test, c->fn, b->rid)));
	bind_domain(c, b->kind);
	expect_rid(test, c->fn, b->rid, false);
	KUNIT_EXPECT_NE(test, SMMU_OK, bind_access(c));
	if (b->what == ATTACH)
		return;
	KUNIT_ASSERT_EQ(test, 0, smmu_set_pasid(c->fn, PASID, c->domain));
	KUNIT_EXPECT_EQ(test, SMMU_OK, bind_access(c));
	if (b->what == EXIT_DETACH || b->what == EXIT_FREE) {
		bind_exit_mm(c);
		KUNIT_EXPECT_EQ(test, SMMU_TRANSLATION, bind_access(c));
	}
	if (b->what == EXIT_FREE)
		smmu_remove_pasid(c->fn, PASID);
}

static void bind_do(struct bind_case *c, enum what what)
{
	if (what == ATTACH)
		KUNIT_ASSERT_EQ(c->test, 0, smmu_set_pasid(c->fn, PASID, c->domain));
	if (what == EXIT)
		bind_exit_mm(c);
	if (what == DETACH || what == EXIT_DETACH || what == DETACH_FREE)
		smmu_remove_pasid(c->fn, PASID);
	if (what == DETACH_FREE || what == EXIT_FREE)
		smmu_free(c->test, c->domain);
}

/* Without a table of CDs, or with one */
static enum smmu_access bind_is(const struct bind *b)
{
	if (b->what == ATTACH)
		return SMMU_OK;
	if (b->what == EXIT)
		return SMMU_TRANSLATION;
	if (b->rid == BLOCKED)
		return SMMU_ABORTED;
	return b->rid == IDENTITY ? SMMU_BAD_SSID : SMMU_BAD_CD;
}

static void do_bind(struct kunit *test, const struct bind *b, bool msi)
{
	struct bind_case c = { .test = test };

	c.fn = one_fn(test, b->how, msi);
	bind_before(&c, b);
	smmu_clear_log(test->priv);
	bind_do(&c, b->what);
	expect_stream(test, c.fn->unit, b->cmds);
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(test->priv));
	KUNIT_EXPECT_EQ(test, bind_is(b), bind_access(&c));
	expect_rid(test, c.fn, b->rid, false);
	bind_exit_mm(&c);
}

static void pasid(struct kunit *test)
{
	const struct bind *b = test->param_value;

	do_bind(test, b, false);
	smmu_exit(test);
	do_bind(test, b, true);
}

/* --- ranges --- */

enum where {
	RID_S1,
	RID_S2,
	PASID_S1,
	PASID_SVA,
};

enum change {
	UNMAP,		/* of pages of 4K */
	UNMAP_2M,
	UNMAP_1G,
	UNMAP_TABLE,	/* as iommu_unmap(): 2M of them, with their table */
	EVENT,		/* of the mm */
	FLUSH_ALL,
	FREE,
};

/**
 * struct range - what is sent when page tables change
 * @name: of the case
 * @where: what is attached
 * @change: how
 * @how: %ATS and so on
 * @iova: range
 * @pages: range
 * @cmds: what is sent
 */
struct range {
	const char *name;
	enum where where;
	enum change change;
	unsigned int how;
	u64 iova;
	u64 pages;
	const char *cmds;
};

static const struct range ranges[] = {
	{ "s1_unmap_1", RID_S1, UNMAP, 0, IOVA, 1, "" },
	{ "s1_unmap_1_ats", RID_S1, UNMAP, ATS, IOVA, 1, "" },
	{ "s1_unmap_2", RID_S1, UNMAP, 0, IOVA, 2, "" },
	{ "s1_unmap_3_across_ats", RID_S1, UNMAP, ATS, IOVA + 3 * SZ_4K, 3, "" },
	{ "s1_unmap_33", RID_S1, UNMAP, 0, IOVA, 33, "" },
	{ "s1_unmap_511", RID_S1, UNMAP, 0, SZ_2M, 511, "" },
	{ "s1_unmap_3_e2h", RID_S1, UNMAP, E2H, IOVA, 3, "" },
	{ "s1_unmap_2m", RID_S1, UNMAP_2M, 0, SZ_2M, 512, "" },
	{ "s1_unmap_2m_ats", RID_S1, UNMAP_2M, ATS, SZ_2M, 512, "" },
	{ "s1_unmap_1g", RID_S1, UNMAP_1G, 0, SZ_1G, SZ_1G / SZ_4K, "" },
	{ "s1_unmap_table", RID_S1, UNMAP_TABLE, 0, SZ_2M, 512, "" },
	{ "s1_unmap_table_ats", RID_S1, UNMAP_TABLE, ATS, SZ_2M, 512, "" },
	{ "s1_unmap_1_no_ril", RID_S1, UNMAP, NO_RIL, IOVA, 1, "" },
	{ "s1_unmap_3_no_ril_ats", RID_S1, UNMAP, NO_RIL | ATS, IOVA, 3, "" },
	{ "s1_unmap_2m_no_ril", RID_S1, UNMAP_2M, NO_RIL, SZ_2M, 512, "" },
	{ "s1_flush_all", RID_S1, FLUSH_ALL, 0, 0, 0, "" },
	{ "s1_flush_all_ats", RID_S1, FLUSH_ALL, ATS, 0, 0, "" },
	{ "s1_flush_all_e2h", RID_S1, FLUSH_ALL, E2H, 0, 0, "" },
	{ "s1_free", RID_S1, FREE, 0, 0, 0, "" },
	{ "s2_unmap_1", RID_S2, UNMAP, 0, IOVA, 1, "" },
	{ "s2_unmap_1_ats", RID_S2, UNMAP, ATS, IOVA, 1, "" },
	{ "s2_unmap_33", RID_S2, UNMAP, 0, IOVA, 33, "" },
	{ "s2_unmap_2m", RID_S2, UNMAP_2M, 0, SZ_2M, 512, "" },
	{ "s2_unmap_table", RID_S2, UNMAP_TABLE, 0, SZ_2M, 512, "" },
	{ "s2_unmap_3_no_ril", RID_S2, UNMAP, NO_RIL, IOVA, 3, "" },
	{ "s2_flush_all_ats", RID_S2, FLUSH_ALL, ATS, 0, 0, "" },
	{ "s2_free", RID_S2, FREE, 0, 0, 0, "" },
	{ "pasid_unmap_1_ats", PASID_S1, UNMAP, ATS, IOVA, 1, "" },
	{ "pasid_unmap_512_ats", PASID_S1, UNMAP, ATS, SZ_2M, 512, "" },
	{ "pasid_flush_all_ats", PASID_S1, FLUSH_ALL, ATS, 0, 0, "" },
	{ "sva_event_1", PASID_SVA, EVENT, 0, IOVA, 1, "" },
	{ "sva_event_1_ats", PASID_SVA, EVENT, ATS, IOVA, 1, "" },
	{ "sva_event_1_e2h", PASID_SVA, EVENT, E2H, IOVA, 1, "" },
	{ "sva_event_2", PASID_SVA, EVENT, 0, IOVA, 2, "" },
	{ "sva_event_3_across_ats", PASID_SVA, EVENT, ATS, IOVA + 3 * SZ_4K, 3, "" },
	{ "sva_event_33", PASID_SVA, EVENT, 0, IOVA, 33, "" },
	{ "sva_event_37", PASID_SVA, EVENT, 0, IOVA, 37, "" },
	{ "sva_event_511", PASID_SVA, EVENT, 0, SZ_2M, 511, "" },
	{ "sva_event_512_ats", PASID_SVA, EVENT, ATS, SZ_2M, 512, "" },
	{ "sva_event_513", PASID_SVA, EVENT, 0, SZ_2M, 513, "" },
	{ "sva_event_262143", PASID_SVA, EVENT, 0, SZ_1G, 262143, "" },
	{ "sva_event_262144_ats", PASID_SVA, EVENT, ATS, SZ_1G, 262144, "" },
	{ "sva_event_all", PASID_SVA, EVENT, 0, 0, 0, "" },
	{ "sva_event_all_ats", PASID_SVA, EVENT, ATS, 0, 0, "" },
	{ "sva_event_1_no_ril", PASID_SVA, EVENT, NO_RIL, IOVA, 1, "" },
	{ "sva_event_3_no_ril_ats", PASID_SVA, EVENT, NO_RIL | ATS, IOVA, 3, "" },
	{ "sva_event_512_no_ril", PASID_SVA, EVENT, NO_RIL, SZ_2M, 512, "" },
	{ "sva_event_512_no_ril_ats", PASID_SVA, EVENT, NO_RIL | ATS, SZ_2M, 512, "" },
	{ "sva_event_all_no_ril", PASID_SVA, EVENT, NO_RIL, 0, 0, "" },
};

KUNIT_ARRAY_PARAM_DESC(range, ranges, name);

/**
 * struct range_case - a case while it runs
 * @test: the test
 * @r: which one
 * @fn: the function
 * @ssid: its PASID, or IOMMU_NO_PASID
 * @mm: the process, NULL: none
 * @domain: what is changed
 */
struct range_case {
	struct kunit *test;
	const struct range *r;
	struct smmu_fn *fn;
	u32 ssid;
	struct mm_struct *mm;
	struct iommu_domain *domain;
};

static void range_attach(struct range_case *c)
{
	struct kunit *test = c->test;
	enum where where = c->r->where;

	if (where == PASID_SVA) {
		c->mm = kiommu_mm(test);
		c->domain = smmu_sva(test, c->fn, c->mm);
	} else {
		c->domain = smmu_paging(test, c->fn, where == RID_S2 ? SMMU_S2 : 0);
	}
	if (where == RID_S1 || where == RID_S2) {
		KUNIT_ASSERT_EQ(test, 0, smmu_attach(c->fn, c->domain));
		return;
	}
	c->ssid = PASID;
	KUNIT_ASSERT_EQ(test, 0, smmu_identity(c->fn));
	KUNIT_ASSERT_EQ(test, 0, smmu_set_pasid(c->fn, PASID, c->domain));
}

static size_t range_pgsize(const struct range *r)
{
	if (r->change == UNMAP_2M)
		return SZ_2M;
	return r->change == UNMAP_1G ? SZ_1G : SZ_4K;
}

static void range_map(struct range_case *c)
{
	const struct range *r = c->r;
	size_t size = range_pgsize(r);

	if (c->mm || !r->pages)
		return;
	if (size == SZ_4K)
		smmu_map(c->test, c->domain, r->iova, r->pages);
	else
		smmu_map_size(c->test, c->domain, r->iova, size, 1);
}

/* What is cached: the first page, the last, one in the middle, and none beside them */
static void range_touch(struct range_case *c, enum smmu_access is)
{
	const struct range *r = c->r;
	u64 pages[] = { 0, r->pages / 2, r->pages - 1 };
	unsigned int n;

	if (c->mm || !r->pages)
		return;
	for (n = 0; n < ARRAY_SIZE(pages); n++)
		KUNIT_EXPECT_EQ(c->test, is,
				smmu_access(c->fn, c->ssid, r->iova + pages[n] * SZ_4K,
					    SMMU_WRITE, NULL));
}

/* Nothing of it is cached while it is not attached; the ASID has to be clean nevertheless. */
static void range_free(struct range_case *c)
{
	KUNIT_EXPECT_EQ(c->test, 0, smmu_block(c->fn));
	smmu_clear_log(c->test->priv);
	smmu_free(c->test, c->domain);
}

static void range_change(struct range_case *c)
{
	const struct range *r = c->r;

	switch (r->change) {
	case UNMAP:
		smmu_unmap_size(c->test, c->domain, r->iova, SZ_4K, r->pages);
		break;
	case UNMAP_2M:
	case UNMAP_1G:
		smmu_unmap_size(c->test, c->domain, r->iova, range_pgsize(r), 1);
		break;
	case UNMAP_TABLE:
		smmu_unmap(c->test, c->domain, r->iova, r->pages);
		break;
	case EVENT:
		if (r->pages)
			smmu_event(c->mm, r->iova, r->pages);
		else
			mmu_notifier_arch_invalidate_secondary_tlbs(c->mm, 0, ULONG_MAX);
		break;
	case FLUSH_ALL:
		c->domain->ops->flush_iotlb_all(c->domain);
		break;
	case FREE:
		range_free(c);
		break;
	}
}

static void do_range(struct kunit *test, const struct range *r, bool msi)
{
	struct range_case c = { .test = test, .r = r, .ssid = IOMMU_NO_PASID };

	c.fn = one_fn(test, r->how, msi);
	range_attach(&c);
	range_map(&c);
	range_touch(&c, SMMU_OK);
	smmu_clear_log(test->priv);
	range_change(&c);
	expect_stream(test, c.fn->unit, r->cmds);
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(test->priv));
	range_touch(&c, SMMU_TRANSLATION);
	if (c.mm)
		kiommu_mm_exit(c.mm);
}

static void range(struct kunit *test)
{
	const struct range *r = test->param_value;

	do_range(test, r, false);
	smmu_exit(test);
	do_range(test, r, true);
}

static struct kunit_case smmu_base_cases[] = {
	KUNIT_CASE_PARAM(rid, move_gen_params),
	KUNIT_CASE_PARAM(pasid, bind_gen_params),
	KUNIT_CASE_PARAM(range, range_gen_params),
	{}
};

static struct kunit_suite smmu_base_suite = {
	.name = "arm_smmu_base",
	.exit = smmu_exit,
	.test_cases = smmu_base_cases,
};

kunit_test_suite(smmu_base_suite);
