// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of the commands that the SMMUv3 driver sends
 *
 * The streams were recorded from the driver of 6.12, and read against it. They are complete:
 * each command and each CMD_SYNC, in order. Since then the last to leave a domain flushes
 * its tag, and who frees the domain flushes nothing; each StreamID of a function is told once,
 * in their order; and the ATC is emptied before the STE forbids ATS. Each case runs twice, with CMD_SYNCs that are
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
#define PASID_L2 1029	/* in the second table of CDs, where there are two levels */
#define IOVA	0x10000

/* How instance and function differ from the usual ones */
#define ATS		BIT(0)	/* the function uses it */
#define IN_USE		BIT(1)	/* another PASID of the function is attached */
#define NO_RIL		BIT(2)	/* the instance has no range invalidation */
#define E2H		BIT(3)	/* the kernel runs at EL2 */
#define MANY		BIT(4)	/* a table of CDs with two levels */
#define NO_OVR		BIT(5)	/* the instance takes attributes as they come */

/* What is sent, in one word */
#define SYNC		"sync\n"
#define CD0		"cfgi_cd sid=4000 ssid=0 leaf\n" SYNC
#define CD5		"cfgi_cd sid=4000 ssid=5 leaf\n" SYNC
#define CD1029		"cfgi_cd sid=4000 ssid=1029 leaf\n" SYNC
#define L1CD5		"cfgi_cd sid=4000 ssid=5\n" SYNC
#define L1CD1029	"cfgi_cd sid=4000 ssid=1029\n" SYNC
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
	if (how & NO_OVR)
		caps.features &= ~ARM_SMMU_FEAT_ATTR_TYPES_OVR;
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

static bool is_s1(enum rid rid)
{
	return rid == S1 || rid == S1_NEXT;
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
 * @left: number of entries that are cached afterwards
 * @cmds: what is sent
 */
struct move {
	const char *name;
	enum rid from;
	enum rid to;
	unsigned int how;
	unsigned int left;
	const char *cmds;
};

static const struct move moves[] = {
	{ "blocked_identity", BLOCKED, IDENTITY, 0, 1,
	  STE STE PREFETCH },
	{ "blocked_s1", BLOCKED, S1, 0, 1,
	  CD0 CD0 STE STE PREFETCH },
	{ "blocked_s2", BLOCKED, S2, 0, 1,
	  STE STE PREFETCH },
	{ "identity_blocked", IDENTITY, BLOCKED, 0, 1,
	  STE STE PREFETCH },
	{ "identity_s1", IDENTITY, S1, 0, 1,
	  CD0 CD0 STE STE STE PREFETCH },
	{ "identity_s2", IDENTITY, S2, 0, 1,
	  STE STE PREFETCH },
	{ "s1_blocked", S1, BLOCKED, 0, 1,
	  STE STE PREFETCH CD0 CD0 ASID1 },
	{ "s1_identity", S1, IDENTITY, 0, 1,
	  STE STE STE PREFETCH CD0 CD0 ASID1 },
	{ "s1_s1", S1, S1_NEXT, 0, 2,
	  CD0 CD0 CD0 PREFETCH ASID1 },
	{ "s1_s2", S1, S2, 0, 1,
	  STE STE STE PREFETCH CD0 CD0 ASID1 },
	{ "s2_blocked", S2, BLOCKED, 0, 1,
	  STE STE PREFETCH VMID1 },
	{ "s2_identity", S2, IDENTITY, 0, 1,
	  STE STE PREFETCH VMID1 },
	{ "s2_s1", S2, S1, 0, 1,
	  CD0 CD0 STE STE STE PREFETCH VMID1 },
	{ "s2_s2", S2, S2_NEXT, 0, 1,
	  STE STE STE PREFETCH VMID1 },
	{ "blocked_identity_no_ovr", BLOCKED, IDENTITY, NO_OVR, 1,
	  STE PREFETCH },
	{ "identity_s1_no_ovr", IDENTITY, S1, NO_OVR, 1,
	  CD0 CD0 STE STE PREFETCH },
	{ "blocked_identity_ats", BLOCKED, IDENTITY, ATS, 1,
	  STE STE PREFETCH },
	{ "blocked_s1_ats", BLOCKED, S1, ATS, 1,
	  CD0 CD0 STE STE PREFETCH ATC },
	{ "blocked_s2_ats", BLOCKED, S2, ATS, 1,
	  STE STE PREFETCH ATC },
	{ "identity_blocked_ats", IDENTITY, BLOCKED, ATS, 1,
	  STE STE PREFETCH },
	{ "identity_s1_ats", IDENTITY, S1, ATS, 1,
	  CD0 CD0 STE STE STE PREFETCH ATC },
	{ "identity_s2_ats", IDENTITY, S2, ATS, 1,
	  STE STE PREFETCH ATC },
	{ "s1_blocked_ats", S1, BLOCKED, ATS, 1,
	  ATC STE STE PREFETCH CD0 CD0 ASID1 ATC },
	{ "s1_identity_ats", S1, IDENTITY, ATS, 1,
	  ATC STE STE STE PREFETCH CD0 CD0 ASID1 ATC },
	{ "s1_s1_ats", S1, S1_NEXT, ATS, 2,
	  CD0 CD0 CD0 PREFETCH ASID1 ATC },
	{ "s1_s2_ats", S1, S2, ATS, 1,
	  STE STE STE PREFETCH CD0 CD0 ASID1 ATC },
	{ "s2_blocked_ats", S2, BLOCKED, ATS, 1,
	  ATC STE STE PREFETCH VMID1 ATC },
	{ "s2_identity_ats", S2, IDENTITY, ATS, 1,
	  ATC STE STE PREFETCH VMID1 ATC },
	{ "s2_s1_ats", S2, S1, ATS, 1,
	  CD0 CD0 STE STE STE PREFETCH VMID1 ATC },
	{ "s2_s2_ats", S2, S2_NEXT, ATS, 1,
	  STE STE STE PREFETCH VMID1 ATC },
	{ "blocked_identity_in_use", BLOCKED, IDENTITY, IN_USE, 3,
	  STE PREFETCH },
	{ "blocked_s1_in_use", BLOCKED, S1, IN_USE, 3,
	  CD0 CD0 STE PREFETCH },
	{ "identity_blocked_in_use", IDENTITY, BLOCKED, IN_USE, 3,
	  STE PREFETCH },
	{ "identity_s1_in_use", IDENTITY, S1, IN_USE, 3,
	  CD0 CD0 STE PREFETCH },
	{ "s1_blocked_in_use", S1, BLOCKED, IN_USE, 3,
	  STE PREFETCH CD0 CD0 ASID1 },
	{ "s1_identity_in_use", S1, IDENTITY, IN_USE, 3,
	  STE PREFETCH CD0 CD0 ASID1 },
	{ "s1_s1_in_use", S1, S1_NEXT, IN_USE, 4,
	  CD0 CD0 CD0 PREFETCH ASID1 },
	{ "blocked_identity_in_use_ats", BLOCKED, IDENTITY, IN_USE | ATS, 3,
	  STE PREFETCH ATC },
	{ "blocked_s1_in_use_ats", BLOCKED, S1, IN_USE | ATS, 3,
	  CD0 CD0 STE PREFETCH ATC },
	{ "identity_blocked_in_use_ats", IDENTITY, BLOCKED, IN_USE | ATS, 3,
	  STE PREFETCH ATC },
	{ "identity_s1_in_use_ats", IDENTITY, S1, IN_USE | ATS, 3,
	  CD0 CD0 STE PREFETCH ATC },
	{ "s1_blocked_in_use_ats", S1, BLOCKED, IN_USE | ATS, 3,
	  STE PREFETCH CD0 CD0 ASID1 ATC },
	{ "s1_identity_in_use_ats", S1, IDENTITY, IN_USE | ATS, 3,
	  STE PREFETCH CD0 CD0 ASID1 ATC },
	{ "s1_s1_in_use_ats", S1, S1_NEXT, IN_USE | ATS, 4,
	  CD0 CD0 CD0 PREFETCH ASID1 ATC },
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

/*
 * Before a move, all that there is: the STE; of a first stage the CD; where its table is, and
 * the translation, which is in the ATC as well. The other PASID has a CD, too, and one that is
 * not valid if nothing is attached. Around the translation that it is, the ATC of a
 * function whose RID is identity has those without PASID.
 */
static unsigned int move_cached(const struct move *m)
{
	bool ats = m->how & ATS, in_use = m->how & IN_USE;
	unsigned int nr = 1;

	if (is_paging(m->from))
		nr += 2 + ats;
	if (is_s1(m->from))
		nr += 2;
	else if (in_use)
		nr++;
	if (in_use)
		nr += 2 + ats;
	if (in_use && ats && m->from == IDENTITY)
		nr++;
	return nr;
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
	SMMU_EXPECT_CLEAN(test, move_cached(m));
	smmu_clear_log(test->priv);

	KUNIT_EXPECT_EQ(test, 0, smmu_attach(fn, to));
	expect_stream(test, fn->unit, m->cmds);
	SMMU_EXPECT_CLEAN(test, m->left);
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
 * @left: number of entries that are cached afterwards
 * @cmds: what is sent
 */
struct bind {
	const char *name;
	enum rid rid;
	enum kind kind;
	enum what what;
	unsigned int how;
	unsigned int left;
	const char *cmds;
};

static const struct bind binds[] = {
	{ "blocked_attach", BLOCKED, PAGING, ATTACH, 0, 1,
	  CD5 CD5 STE STE PREFETCH },
	{ "identity_attach", IDENTITY, PAGING, ATTACH, 0, 1,
	  CD5 CD5 STE STE PREFETCH },
	{ "s1_attach", S1, PAGING, ATTACH, 0, 2,
	  CD5 CD5 },
	{ "blocked_attach_ats", BLOCKED, PAGING, ATTACH, ATS, 1,
	  CD5 CD5 STE STE PREFETCH ATC },
	{ "identity_attach_ats", IDENTITY, PAGING, ATTACH, ATS, 1,
	  CD5 CD5 STE STE PREFETCH ATC },
	{ "s1_attach_ats", S1, PAGING, ATTACH, ATS, 2,
	  CD5 CD5 ATC5 },
	{ "s1_attach_many_ats", S1, PAGING, ATTACH, MANY | ATS, 3,
	  L1CD1029 CD1029 CD1029 "atc sid=4000 ssid=1029 all\n" SYNC },
	{ "blocked_detach", BLOCKED, PAGING, DETACH, 0, 1,
	  CD5 CD5 ASID1 STE STE PREFETCH },
	{ "identity_detach", IDENTITY, PAGING, DETACH, 0, 1,
	  CD5 CD5 ASID1 STE STE PREFETCH },
	{ "s1_detach", S1, PAGING, DETACH, 0, 2,
	  CD5 CD5 ASID2 },
	{ "blocked_detach_ats", BLOCKED, PAGING, DETACH, ATS, 1,
	  CD5 CD5 ASID1 ATC5 ATC STE STE PREFETCH },
	{ "identity_detach_ats", IDENTITY, PAGING, DETACH, ATS, 1,
	  CD5 CD5 ASID1 ATC5 ATC STE STE PREFETCH },
	{ "s1_detach_ats", S1, PAGING, DETACH, ATS, 2,
	  CD5 CD5 ASID2 ATC5 },
	{ "s1_free_ats", S1, PAGING, DETACH_FREE, ATS, 2,
	  CD5 CD5 ASID2 ATC5 },
	{ "blocked_bind", BLOCKED, SVA, ATTACH, 0, 1,
	  CD5 CD5 STE STE PREFETCH },
	{ "identity_bind", IDENTITY, SVA, ATTACH, 0, 1,
	  CD5 CD5 STE STE PREFETCH },
	{ "s1_bind", S1, SVA, ATTACH, 0, 2,
	  CD5 CD5 },
	{ "blocked_bind_ats", BLOCKED, SVA, ATTACH, ATS, 1,
	  CD5 CD5 STE STE PREFETCH ATC },
	{ "identity_bind_ats", IDENTITY, SVA, ATTACH, ATS, 1,
	  CD5 CD5 STE STE PREFETCH ATC },
	{ "s1_bind_ats", S1, SVA, ATTACH, ATS, 2,
	  CD5 CD5 ATC5 },
	{ "s1_bind_many", S1, SVA, ATTACH, MANY, 3,
	  L1CD1029 CD1029 CD1029 },
	{ "identity_bind_many", IDENTITY, SVA, ATTACH, MANY, 1,
	  L1CD5 CD5 CD5 STE STE PREFETCH },
	{ "s1_unbind_many", S1, SVA, DETACH, MANY, 4,
	  CD1029 CD1029 ASID2 },
	{ "blocked_unbind", BLOCKED, SVA, DETACH, 0, 1,
	  CD5 CD5 ASID1 STE STE PREFETCH },
	{ "identity_unbind", IDENTITY, SVA, DETACH, 0, 1,
	  CD5 CD5 ASID1 STE STE PREFETCH },
	{ "s1_unbind", S1, SVA, DETACH, 0, 2,
	  CD5 CD5 ASID2 },
	{ "blocked_unbind_ats", BLOCKED, SVA, DETACH, ATS, 1,
	  CD5 CD5 ASID1 ATC5 ATC STE STE PREFETCH },
	{ "identity_unbind_ats", IDENTITY, SVA, DETACH, ATS, 1,
	  CD5 CD5 ASID1 ATC5 ATC STE STE PREFETCH },
	{ "s1_unbind_ats", S1, SVA, DETACH, ATS, 2,
	  CD5 CD5 ASID2 ATC5 },
	{ "s1_unbind_free", S1, SVA, DETACH_FREE, 0, 2,
	  CD5 CD5 ASID2 },
	{ "s1_unbind_free_ats", S1, SVA, DETACH_FREE, ATS, 2,
	  CD5 CD5 ASID2 ATC5 },
	{ "s1_unbind_free_e2h", S1, SVA, DETACH_FREE, E2H, 2,
	  CD5 CD5 "el2_asid asid=2\n" SYNC },
	{ "s1_exit", S1, SVA, EXIT, 0, 2,
	  CD5 CD5 ASID2 },
	{ "s1_exit_ats", S1, SVA, EXIT, ATS, 2,
	  CD5 CD5 ASID2 ATC5 },
	{ "s1_exit_e2h", S1, SVA, EXIT, E2H, 2,
	  CD5 CD5 "el2_asid asid=2\n" SYNC },
	{ "identity_exit_ats", IDENTITY, SVA, EXIT, ATS, 1,
	  CD5 CD5 ASID1 ATC5 },
	{ "s1_exit_unbind", S1, SVA, EXIT_DETACH, 0, 2,
	  CD5 CD5 ASID2 },
	{ "s1_exit_unbind_ats", S1, SVA, EXIT_DETACH, ATS, 2,
	  CD5 CD5 ASID2 ATC5 },
	{ "identity_exit_unbind_ats", IDENTITY, SVA, EXIT_DETACH, ATS, 1,
	  CD5 CD5 ASID1 ATC5 ATC STE STE PREFETCH },
	{ "s1_exit_free_ats", S1, SVA, EXIT_FREE, ATS, 2,
	  "" },
};

KUNIT_ARRAY_PARAM_DESC(bind, binds, name);

/**
 * struct bind_case - a case while it runs
 * @test: the test
 * @fn: the function
 * @pasid: its PASID
 * @mm: the process, NULL: none, or it has exited
 * @addr: page that is mapped
 * @domain: of the PASID
 */
struct bind_case {
	struct kunit *test;
	struct smmu_fn *fn;
	u32 pasid;
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
	return smmu_access(c->fn, c->pasid, c->addr, 0, NULL);
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
	KUNIT_ASSERT_EQ(test, 0, smmu_set_pasid(c->fn, c->pasid, c->domain));
	KUNIT_EXPECT_EQ(test, SMMU_OK, bind_access(c));
	if (b->what == EXIT_DETACH || b->what == EXIT_FREE) {
		bind_exit_mm(c);
		KUNIT_EXPECT_EQ(test, SMMU_TRANSLATION, bind_access(c));
	}
	if (b->what == EXIT_FREE)
		smmu_remove_pasid(c->fn, c->pasid);
}

static void bind_do(struct bind_case *c, enum what what)
{
	if (what == ATTACH)
		KUNIT_ASSERT_EQ(c->test, 0, smmu_set_pasid(c->fn, c->pasid, c->domain));
	if (what == EXIT)
		bind_exit_mm(c);
	if (what == DETACH || what == EXIT_DETACH || what == DETACH_FREE)
		smmu_remove_pasid(c->fn, c->pasid);
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
	struct bind_case c = { .test = test, .pasid = PASID };

	/* In the other table than CD 0, which has to be there */
	if (b->how & MANY && b->rid == S1)
		c.pasid = PASID_L2;
	c.fn = one_fn(test, b->how, msi);
	bind_before(&c, b);
	smmu_clear_log(test->priv);
	bind_do(&c, b->what);
	expect_stream(test, c.fn->unit, b->cmds);
	SMMU_EXPECT_CLEAN(test, b->left);
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
 * struct table_change - what is sent when page tables change
 * @name: of the case
 * @where: what is attached
 * @change: how
 * @how: %ATS and so on
 * @iova: range
 * @pages: range
 * @cmds: what is sent
 */
struct table_change {
	const char *name;
	enum where where;
	enum change change;
	unsigned int how;
	u64 iova;
	u64 pages;
	const char *cmds;
};

static const struct table_change changes[] = {
	{ "s1_unmap_1", RID_S1, UNMAP, 0, IOVA, 1,
	  "nh_va asid=1 addr=10000 pages=1 ttl=3 leaf\n" SYNC },
	{ "s1_unmap_1_ats", RID_S1, UNMAP, ATS, IOVA, 1,
	  "nh_va asid=1 addr=10000 pages=1 ttl=3 leaf\n" SYNC
	  "atc sid=4000 addr=10000 pages=1\n" SYNC },
	{ "s1_unmap_2", RID_S1, UNMAP, 0, IOVA, 2,
	  "nh_va asid=1 addr=10000 pages=2 ttl=3 leaf\n" SYNC },
	{ "s1_unmap_3_across_ats", RID_S1, UNMAP, ATS, IOVA + 3 * SZ_4K, 3,
	  "nh_va asid=1 addr=13000 pages=3 ttl=3 leaf\n" SYNC
	  "atc sid=4000 addr=10000 pages=8\n" SYNC },
	{ "s1_unmap_33", RID_S1, UNMAP, 0, IOVA, 33,
	  "nh_va asid=1 addr=10000 pages=32 ttl=3 leaf\n"
	  "nh_va asid=1 addr=30000 pages=1 ttl=3 leaf\n" SYNC },
	{ "s1_unmap_511", RID_S1, UNMAP, 0, SZ_2M, 511,
	  "nh_va asid=1 addr=200000 pages=496 ttl=3 leaf\n"
	  "nh_va asid=1 addr=3f0000 pages=15 ttl=3 leaf\n" SYNC },
	{ "s1_unmap_3_e2h", RID_S1, UNMAP, E2H, IOVA, 3,
	  "el2_va asid=1 addr=10000 pages=3 ttl=3 leaf\n" SYNC },
	{ "s1_unmap_2m", RID_S1, UNMAP_2M, 0, SZ_2M, 512,
	  "nh_va asid=1 addr=200000 pages=512 ttl=2 leaf\n" SYNC },
	{ "s1_unmap_2m_ats", RID_S1, UNMAP_2M, ATS, SZ_2M, 512,
	  "nh_va asid=1 addr=200000 pages=512 ttl=2 leaf\n" SYNC
	  "atc sid=4000 addr=200000 pages=512\n" SYNC },
	{ "s1_unmap_1g", RID_S1, UNMAP_1G, 0, SZ_1G, SZ_1G / SZ_4K,
	  "nh_va asid=1 addr=40000000 pages=262144 ttl=1 leaf\n" SYNC },
	{ "s1_unmap_table", RID_S1, UNMAP_TABLE, 0, SZ_2M, 512,
	  "nh_va asid=1 addr=200000 pages=512\n" SYNC
	  "nh_va asid=1 addr=200000 pages=512 ttl=2 leaf\n" SYNC },
	{ "s1_unmap_table_ats", RID_S1, UNMAP_TABLE, ATS, SZ_2M, 512,
	  "nh_va asid=1 addr=200000 pages=512\n" SYNC "atc sid=4000 addr=200000 pages=512\n"
	  SYNC "nh_va asid=1 addr=200000 pages=512 ttl=2 leaf\n" SYNC
	  "atc sid=4000 addr=200000 pages=512\n" SYNC },
	{ "s1_unmap_1_no_ril", RID_S1, UNMAP, NO_RIL, IOVA, 1,
	  "nh_va asid=1 addr=10000 leaf\n" SYNC },
	{ "s1_unmap_3_no_ril_ats", RID_S1, UNMAP, NO_RIL | ATS, IOVA, 3,
	  "nh_va asid=1 addr=10000 leaf\n"
	  "nh_va asid=1 addr=11000 leaf\n"
	  "nh_va asid=1 addr=12000 leaf\n" SYNC "atc sid=4000 addr=10000 pages=4\n" SYNC },
	{ "s1_unmap_2m_no_ril", RID_S1, UNMAP_2M, NO_RIL, SZ_2M, 512,
	  "nh_va asid=1 addr=200000 leaf\n" SYNC },
	{ "s1_flush_all", RID_S1, FLUSH_ALL, 0, 0, 0,
	  ASID1 },
	{ "s1_flush_all_ats", RID_S1, FLUSH_ALL, ATS, 0, 0,
	  ASID1 ATC },
	{ "s1_flush_all_e2h", RID_S1, FLUSH_ALL, E2H, 0, 0,
	  "el2_asid asid=1\n" SYNC },
	{ "s1_free", RID_S1, FREE, 0, 0, 0,
	  "" },
	{ "s2_unmap_1", RID_S2, UNMAP, 0, IOVA, 1,
	  "s2_ipa vmid=1 addr=10000 pages=1 ttl=3 leaf\n" SYNC },
	{ "s2_unmap_1_ats", RID_S2, UNMAP, ATS, IOVA, 1,
	  "s2_ipa vmid=1 addr=10000 pages=1 ttl=3 leaf\n" SYNC
	  "atc sid=4000 addr=10000 pages=1\n" SYNC },
	{ "s2_unmap_33", RID_S2, UNMAP, 0, IOVA, 33,
	  "s2_ipa vmid=1 addr=10000 pages=32 ttl=3 leaf\n"
	  "s2_ipa vmid=1 addr=30000 pages=1 ttl=3 leaf\n" SYNC },
	{ "s2_unmap_2m", RID_S2, UNMAP_2M, 0, SZ_2M, 512,
	  "s2_ipa vmid=1 addr=200000 pages=512 ttl=2 leaf\n" SYNC },
	{ "s2_unmap_table", RID_S2, UNMAP_TABLE, 0, SZ_2M, 512,
	  "s2_ipa vmid=1 addr=200000 pages=512\n" SYNC
	  "s2_ipa vmid=1 addr=200000 pages=512 ttl=2 leaf\n" SYNC },
	{ "s2_unmap_3_no_ril", RID_S2, UNMAP, NO_RIL, IOVA, 3,
	  "s2_ipa vmid=1 addr=10000 leaf\n"
	  "s2_ipa vmid=1 addr=11000 leaf\n"
	  "s2_ipa vmid=1 addr=12000 leaf\n" SYNC },
	{ "s2_flush_all_ats", RID_S2, FLUSH_ALL, ATS, 0, 0,
	  VMID1 ATC },
	{ "s2_free", RID_S2, FREE, 0, 0, 0,
	  "" },
	{ "pasid_unmap_1_ats", PASID_S1, UNMAP, ATS, IOVA, 1,
	  "nh_va asid=1 addr=10000 pages=1 ttl=3 leaf\n" SYNC
	  "atc sid=4000 ssid=5 addr=10000 pages=1\n" SYNC },
	{ "pasid_unmap_512_ats", PASID_S1, UNMAP, ATS, SZ_2M, 512,
	  "nh_va asid=1 addr=200000 pages=512 ttl=3 leaf\n" SYNC
	  "atc sid=4000 ssid=5 addr=200000 pages=512\n" SYNC },
	{ "pasid_flush_all_ats", PASID_S1, FLUSH_ALL, ATS, 0, 0,
	  ASID1 ATC5 },
	{ "sva_event_1", PASID_SVA, EVENT, 0, IOVA, 1,
	  "nh_va asid=1 addr=10000 pages=2\n" SYNC },
	{ "sva_event_1_ats", PASID_SVA, EVENT, ATS, IOVA, 1,
	  "nh_va asid=1 addr=10000 pages=2\n" SYNC "atc sid=4000 ssid=5 addr=10000 pages=1\n"
	  SYNC },
	{ "sva_event_1_e2h", PASID_SVA, EVENT, E2H, IOVA, 1,
	  "el2_va asid=1 addr=10000 pages=2\n" SYNC },
	{ "sva_event_2", PASID_SVA, EVENT, 0, IOVA, 2,
	  "nh_va asid=1 addr=10000 pages=2\n" SYNC },
	{ "sva_event_3_across_ats", PASID_SVA, EVENT, ATS, IOVA + 3 * SZ_4K, 3,
	  "nh_va asid=1 addr=13000 pages=3\n" SYNC "atc sid=4000 ssid=5 addr=10000 pages=8\n"
	  SYNC },
	{ "sva_event_33", PASID_SVA, EVENT, 0, IOVA, 33,
	  "nh_va asid=1 addr=10000 pages=32\n"
	  "nh_va asid=1 addr=2f000 pages=2\n" SYNC },
	{ "sva_event_37", PASID_SVA, EVENT, 0, IOVA, 37,
	  "nh_va asid=1 addr=10000 pages=36\n"
	  "nh_va asid=1 addr=33000 pages=2\n" SYNC },
	{ "sva_event_511", PASID_SVA, EVENT, 0, SZ_2M, 511,
	  "nh_va asid=1 addr=200000 pages=496\n"
	  "nh_va asid=1 addr=3f0000 pages=15\n" SYNC },
	{ "sva_event_512_ats", PASID_SVA, EVENT, ATS, SZ_2M, 512,
	  "nh_va asid=1 addr=200000 pages=512\n" SYNC
	  "atc sid=4000 ssid=5 addr=200000 pages=512\n" SYNC },
	{ "sva_event_513", PASID_SVA, EVENT, 0, SZ_2M, 513,
	  "nh_va asid=1 addr=200000 pages=512\n"
	  "nh_va asid=1 addr=3ff000 pages=2\n" SYNC },
	{ "sva_event_262143", PASID_SVA, EVENT, 0, SZ_1G, 262143,
	  "nh_va asid=1 addr=40000000 pages=253952\n"
	  "nh_va asid=1 addr=7dfff000 pages=8192\n" SYNC },
	{ "sva_event_262144_ats", PASID_SVA, EVENT, ATS, SZ_1G, 262144,
	  "nh_va asid=1 addr=40000000 pages=262144\n" SYNC
	  "atc sid=4000 ssid=5 addr=40000000 pages=262144\n" SYNC },
	{ "sva_event_all", PASID_SVA, EVENT, 0, 0, 0,
	  ASID1 },
	{ "sva_event_all_ats", PASID_SVA, EVENT, ATS, 0, 0,
	  ASID1 ATC5 },
	{ "sva_event_1_no_ril", PASID_SVA, EVENT, NO_RIL, IOVA, 1,
	  "nh_va asid=1 addr=10000\n" SYNC },
	{ "sva_event_3_no_ril_ats", PASID_SVA, EVENT, NO_RIL | ATS, IOVA, 3,
	  "nh_va asid=1 addr=10000\n"
	  "nh_va asid=1 addr=11000\n"
	  "nh_va asid=1 addr=12000\n"
	  SYNC "atc sid=4000 ssid=5 addr=10000 pages=4\n" SYNC },
	{ "sva_event_512_no_ril", PASID_SVA, EVENT, NO_RIL, SZ_2M, 512,
	  ASID1 },
	{ "sva_event_512_no_ril_ats", PASID_SVA, EVENT, NO_RIL | ATS, SZ_2M, 512,
	  ASID1 "atc sid=4000 ssid=5 addr=200000 pages=512\n" SYNC },
	{ "sva_event_all_no_ril", PASID_SVA, EVENT, NO_RIL, 0, 0,
	  ASID1 },
};

KUNIT_ARRAY_PARAM_DESC(change, changes, name);

/* What is cached: what is changed at both ends and in the middle, and what is beside it */
#define TOUCHED	5

/**
 * struct range_case - a case while it runs
 * @test: the test
 * @r: which one
 * @fn: the function
 * @ssid: its PASID, or IOMMU_NO_PASID
 * @mm: the process, NULL: none
 * @domain: what is changed
 * @first: number of the first page of the range
 * @last: of the last one
 * @page: of those that are cached, without duplicates
 * @nr: how many these are
 */
struct range_case {
	struct kunit *test;
	const struct table_change *r;
	struct smmu_fn *fn;
	u32 ssid;
	struct mm_struct *mm;
	struct iommu_domain *domain;
	u64 first;
	u64 last;
	u64 page[TOUCHED];
	unsigned int nr;
};

static void range_init(struct range_case *c)
{
	u64 pages[TOUCHED], nr = c->r->pages ?: 1;
	unsigned int n;

	c->first = (c->r->iova ?: IOVA) / SZ_4K;
	c->last = c->first + nr - 1;
	pages[0] = c->first - 1;
	pages[1] = c->first;
	pages[2] = c->first + nr / 2;
	pages[3] = c->last;
	pages[4] = c->last + 1;
	for (n = 0; n < TOUCHED; n++)
		if (!c->nr || pages[n] > c->page[c->nr - 1])
			c->page[c->nr++] = pages[n];
}

static bool is_inside(const struct range_case *c, u64 page)
{
	return page >= c->first && page <= c->last;
}

static void range_attach(struct range_case *c)
{
	struct kunit *test = c->test;
	enum where where = c->r->where;

	c->ssid = IOMMU_NO_PASID;
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

static size_t range_pgsize(const struct table_change *r)
{
	if (r->change == UNMAP_2M)
		return SZ_2M;
	return r->change == UNMAP_1G ? SZ_1G : SZ_4K;
}

static void range_map(struct range_case *c)
{
	size_t size = range_pgsize(c->r);
	unsigned int n;

	for (n = 0; c->mm && n < c->nr; n++)
		smmu_mm_page(c->test, c->page[n] * SZ_4K);
	if (c->mm)
		return;
	smmu_map(c->test, c->domain, c->page[0] * SZ_4K, 1);
	smmu_map(c->test, c->domain, c->page[c->nr - 1] * SZ_4K, 1);
	if (size == SZ_4K)
		smmu_map(c->test, c->domain, c->first * SZ_4K, c->last - c->first + 1);
	else
		smmu_map_size(c->test, c->domain, c->first * SZ_4K, size, 1);
}

static void range_touch(struct range_case *c)
{
	unsigned int n;

	for (n = 0; n < c->nr; n++)
		KUNIT_EXPECT_EQ(c->test, SMMU_OK,
				smmu_access(c->fn, c->ssid, c->page[n] * SZ_4K, SMMU_WRITE,
					    NULL));
}

/* --- ranges: what a change drops --- */

static bool drops_all(const struct table_change *r)
{
	return r->change == FLUSH_ALL || r->change == FREE || !r->pages;
}

/* More than that takes long without ranges. */
static bool drops_asid(const struct table_change *r)
{
	return drops_all(r) ||
		(r->how & NO_RIL && r->where == PASID_SVA && r->pages >= 512);
}

static bool is_leaf(const struct table_change *r)
{
	return r->change != EVENT && r->change != UNMAP_TABLE;
}

/* A range of one page is not asked for where a table may have changed, but of two. */
static u64 last_dropped(const struct range_case *c)
{
	const struct table_change *r = c->r;

	return c->last + (!(r->how & NO_RIL) && !is_leaf(r) && r->pages == 1);
}

static bool drops_page(const struct range_case *c, u64 page)
{
	return drops_asid(c->r) || (page >= c->first && page <= last_dropped(c));
}

static bool drops_walk(const struct range_case *c, u64 page)
{
	if (drops_asid(c->r))
		return true;
	return !is_leaf(c->r) && page / 512 >= c->first / 512 &&
		page / 512 <= last_dropped(c) / 512;
}

/* A power of two, and aligned, also where the whole ASID goes for want of ranges */
static bool drops_atc(const struct range_case *c, u64 page)
{
	if (drops_asid(c->r) && !(c->r->change == EVENT && c->r->pages))
		return true;
	return !((page ^ c->first) >> fls64(c->first ^ c->last));
}

/* STE and CD, or after the domain is freed those of before */
static unsigned int count_config(const struct range_case *c)
{
	return c->r->where == RID_S2 ? 1 : 2;
}

/* Large pages are one entry, and have no table. */
static bool is_large(const struct range_case *c, u64 page)
{
	return range_pgsize(c->r) > SZ_4K && is_inside(c, page);
}

static bool starts_region(const struct range_case *c, unsigned int n)
{
	return !n || c->page[n - 1] / 512 != c->page[n] / 512 ||
		is_large(c, c->page[n - 1]);
}

/* What is cached before the change, or left after it */
static unsigned int count_cached(const struct range_case *c, bool after)
{
	unsigned int n, nr = count_config(c);

	for (n = 0; n < c->nr; n++) {
		u64 page = c->page[n];
		bool large = is_large(c, page);

		if (!large && starts_region(c, n) && !(after && drops_walk(c, page)))
			nr++;
		if (!(large && n && is_inside(c, c->page[n - 1])) &&
		    !(after && drops_page(c, page)))
			nr++;
		if (c->r->how & ATS && !(after && drops_atc(c, page)))
			nr++;
	}
	return nr;
}

static void expect_dropped(struct range_case *c)
{
	unsigned int n;
	u64 page;

	for (n = 0; n < c->nr; n++) {
		page = c->page[n];
		KUNIT_EXPECT_EQ_MSG(c->test, !drops_page(c, page),
				    smmu_in_tlb(c->fn->unit, c->domain, page * SZ_4K),
				    "page %llx", page);
		if (c->r->how & ATS)
			KUNIT_EXPECT_EQ_MSG(c->test, !drops_atc(c, page),
					    smmu_in_atc(c->fn, c->ssid, page * SZ_4K),
					    "page %llx", page);
	}
}

/* What was unmapped is not there; what the mm has said something about still is. */
static void expect_accesses(struct range_case *c)
{
	enum smmu_access is;
	unsigned int n;

	for (n = 0; n < c->nr; n++) {
		is = c->mm || c->r->change == FLUSH_ALL || !is_inside(c, c->page[n]) ?
			SMMU_OK : SMMU_TRANSLATION;
		KUNIT_EXPECT_EQ(c->test, is,
				smmu_access(c->fn, c->ssid, c->page[n] * SZ_4K, 0, NULL));
	}
}

static void range_change(struct range_case *c)
{
	const struct table_change *r = c->r;
	u64 iova = c->first * SZ_4K;

	switch (r->change) {
	case UNMAP:
		smmu_unmap_size(c->test, c->domain, iova, SZ_4K, r->pages);
		break;
	case UNMAP_2M:
	case UNMAP_1G:
		smmu_unmap_size(c->test, c->domain, iova, range_pgsize(r), 1);
		break;
	case UNMAP_TABLE:
		smmu_unmap(c->test, c->domain, iova, r->pages);
		break;
	case EVENT:
		if (r->pages)
			smmu_event(c->mm, iova, r->pages);
		else
			mmu_notifier_arch_invalidate_secondary_tlbs(c->mm, 0, ULONG_MAX);
		break;
	case FLUSH_ALL:
		c->domain->ops->flush_iotlb_all(c->domain);
		break;
	case FREE:
		smmu_free(c->test, c->domain);
		break;
	}
}

/* It is attached nowhere, and nothing is left of it. */
static void do_free(struct range_case *c)
{
	KUNIT_EXPECT_EQ(c->test, 0, smmu_block(c->fn));
	smmu_clear_log(c->test->priv);
	KUNIT_EXPECT_FALSE(c->test, smmu_in_tlb(c->fn->unit, c->domain, c->first * SZ_4K));
	range_change(c);
	expect_stream(c->test, c->fn->unit, c->r->cmds);
	KUNIT_EXPECT_EQ(c->test, 0, smmu_stale(c->test->priv));
}

static void do_range(struct kunit *test, const struct table_change *r, bool msi)
{
	struct range_case c = { .test = test, .r = r };

	c.fn = one_fn(test, r->how, msi);
	range_init(&c);
	range_attach(&c);
	range_map(&c);
	range_touch(&c);
	SMMU_EXPECT_CLEAN(test, count_cached(&c, false));
	smmu_clear_log(test->priv);
	if (r->change == FREE) {
		do_free(&c);
		return;
	}
	range_change(&c);
	expect_stream(test, c.fn->unit, r->cmds);
	expect_dropped(&c);
	SMMU_EXPECT_CLEAN(test, count_cached(&c, true));
	expect_accesses(&c);
	if (c.mm)
		kiommu_mm_exit(c.mm);
}

static void change(struct kunit *test)
{
	const struct table_change *r = test->param_value;

	do_range(test, r, false);
	smmu_exit(test);
	do_range(test, r, true);
}

/* --- more than one of everything --- */

/* One TLBI for all, and an ATC invalidation for each */
static void two_masters(struct kunit *test)
{
	struct smmu_machine *machine = smmu_machine(test, 1, NULL);
	struct smmu_fn *a = smmu_add_fn(test, 0, KIOMMU_ATS);
	struct smmu_fn *b = smmu_add_fn(test, 0, KIOMMU_ATS);
	struct iommu_domain *domain = smmu_paging(test, a, 0);

	KUNIT_ASSERT_EQ(test, 0, smmu_attach(a, domain));
	KUNIT_ASSERT_EQ(test, 0, smmu_attach(b, domain));
	smmu_map(test, domain, IOVA, 1);
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(a, IOMMU_NO_PASID, IOVA, 0, NULL));
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(b, IOMMU_NO_PASID, IOVA, 0, NULL));
	/* Of each STE, CD and ATC; of both a table and a translation */
	SMMU_EXPECT_CLEAN(test, 8);
	smmu_clear_log(machine);
	smmu_unmap(test, domain, IOVA, 1);
	expect_stream(test, a->unit,
		      "nh_va asid=1 addr=10000 pages=1 ttl=3 leaf\n" SYNC
		      "atc sid=4000 addr=10000 pages=1\n"
		      "atc sid=4008 addr=10000 pages=1\n" SYNC);
	SMMU_EXPECT_CLEAN(test, 5);
}

/* What the TLB has is the other's as well: only the last to leave flushes it. */
static void one_of_two_leaves(struct kunit *test)
{
	struct smmu_machine *machine = smmu_machine(test, 1, NULL);
	struct smmu_fn *a = smmu_add_fn(test, 0, 0);
	struct smmu_fn *b = smmu_add_fn(test, 0, 0);
	struct iommu_domain *domain = smmu_paging(test, a, 0);

	KUNIT_ASSERT_EQ(test, 0, smmu_attach(a, domain));
	KUNIT_ASSERT_EQ(test, 0, smmu_attach(b, domain));
	smmu_clear_log(machine);
	KUNIT_EXPECT_EQ(test, 0, smmu_block(b));
	KUNIT_EXPECT_EQ(test, 0, smmu_count(a->unit, CMDQ_OP_TLBI_NH_ASID));
	KUNIT_EXPECT_EQ(test, 0, smmu_block(a));
	KUNIT_EXPECT_EQ(test, 1, smmu_count(a->unit, CMDQ_OP_TLBI_NH_ASID));
}

/* The core attaches both, one after the other. */
static void group_of_two(struct kunit *test)
{
	struct smmu_machine *machine = smmu_machine(test, 1, NULL);
	struct smmu_fn *a = smmu_add_fn(test, 0, KIOMMU_ATS | KIOMMU_PASID);
	struct smmu_fn *b = smmu_add_fn_like(test, 0, 0, a, NULL, 0);
	struct iommu_domain *domain = smmu_paging(test, a, 0);

	KUNIT_ASSERT_EQ(test, 0, smmu_identity(a));
	KUNIT_ASSERT_EQ(test, 0, smmu_set_pasid(a, PASID, domain));
	smmu_map(test, domain, IOVA, 1);
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(a, PASID, IOVA, 0, NULL));
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(b, IOMMU_NO_PASID, IOVA, 0, NULL));
	/* The one without PASIDs has an STE, and nothing else. */
	SMMU_EXPECT_CLEAN(test, 6);
	smmu_clear_log(machine);
	KUNIT_EXPECT_EQ(test, 0, smmu_block(a));
	expect_stream(test, a->unit,
		      STE PREFETCH ATC
		      "cfgi_ste sid=4008 leaf\n" SYNC
		      "cfgi_ste sid=4008 leaf\n" SYNC
		      "prefetch sid=4008\n");
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(a, PASID, IOVA, 0, NULL));
	KUNIT_EXPECT_EQ(test, SMMU_ABORTED, smmu_access(b, IOMMU_NO_PASID, IOVA, 0, NULL));
}

/* Each has an STE; what is there twice is flushed twice, but for STEs. */
static void several_streams(struct kunit *test)
{
	static const u32 sids[] = { 0x4080, 0x4000 };
	struct smmu_machine *machine = smmu_machine(test, 1, NULL);
	struct smmu_fn *fn = smmu_add_fn_like(test, 0, KIOMMU_ATS | KIOMMU_PASID, NULL, sids,
					      ARRAY_SIZE(sids));
	struct iommu_domain *domain = smmu_paging(test, fn, 0);

	KUNIT_ASSERT_EQ(test, 0, smmu_block(fn));
	smmu_cache_all(fn, IOMMU_NO_PASID);
	SMMU_EXPECT_CLEAN(test, 2);
	smmu_clear_log(machine);
	KUNIT_EXPECT_EQ(test, 0, smmu_attach(fn, domain));
	expect_stream(test, fn->unit,
		      "cfgi_cd sid=4000 ssid=0 leaf\n"
		      "cfgi_cd sid=4080 ssid=0 leaf\n" CD0
		      "cfgi_cd sid=4000 ssid=0 leaf\n"
		      "cfgi_cd sid=4080 ssid=0 leaf\n" CD0
		      STE STE PREFETCH
		      "cfgi_ste sid=4080 leaf\n" SYNC
		      "cfgi_ste sid=4080 leaf\n" SYNC
		      "prefetch sid=4080\n"
		      "atc sid=4000 all\n"
		      "atc sid=4080 all\n" ATC);
	smmu_map(test, domain, IOVA, 1);
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(fn, IOMMU_NO_PASID, IOVA, 0, NULL));
	smmu_cache_all(fn, IOMMU_NO_PASID);
	smmu_clear_log(machine);
	smmu_unmap(test, domain, IOVA, 1);
	expect_stream(test, fn->unit,
		      "nh_va asid=1 addr=10000 pages=1 ttl=3 leaf\n" SYNC
		      "atc sid=4000 addr=10000 pages=1\n"
		      "atc sid=4080 addr=10000 pages=1\n" SYNC);
	/* Two STEs, two CDs, one table */
	SMMU_EXPECT_CLEAN(test, 5);
}

/* --- order --- */

/* Accesses of the function that has been told, while another one is about to be */
static void access_again(struct smmu_unit *unit, const struct smmu_cmd *cmd)
{
	struct smmu_fn *fn = unit->priv;

	if (cmd->op == CMDQ_OP_ATC_INV)
		smmu_access(fn, IOMMU_NO_PASID, IOVA, 0, NULL);
}

/* Who asks again for what was just invalidated does not get it out of the TLB. */
static void tlb_before_atc(struct kunit *test)
{
	struct smmu_fn *a, *b;
	struct iommu_domain *domain;

	smmu_machine(test, 1, NULL);
	a = smmu_add_fn(test, 0, KIOMMU_ATS);
	b = smmu_add_fn(test, 0, KIOMMU_ATS);
	domain = smmu_paging(test, a, 0);
	KUNIT_ASSERT_EQ(test, 0, smmu_attach(a, domain));
	KUNIT_ASSERT_EQ(test, 0, smmu_attach(b, domain));
	smmu_map(test, domain, IOVA, 1);
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(a, IOMMU_NO_PASID, IOVA, 0, NULL));
	KUNIT_EXPECT_EQ(test, SMMU_OK, smmu_access(b, IOMMU_NO_PASID, IOVA, 0, NULL));
	a->unit->priv = b;
	smmu_settle(a->unit);
	a->unit->before = access_again;
	smmu_unmap(test, domain, IOVA, 1);
	a->unit->before = NULL;
	SMMU_EXPECT_CLEAN(test, 5);
	KUNIT_EXPECT_EQ(test, SMMU_TRANSLATION, smmu_access(a, IOMMU_NO_PASID, IOVA, 0, NULL));
	KUNIT_EXPECT_EQ(test, SMMU_TRANSLATION, smmu_access(b, IOMMU_NO_PASID, IOVA, 0, NULL));
}

/* Accesses while an entry changes, up to when the driver says that it has */
static void access_always(struct smmu_unit *unit, const struct smmu_cmd *cmd)
{
	struct smmu_fn *fn = unit->priv;

	smmu_access(fn, PASID, IOVA, SMMU_UNTRANSLATED, NULL);
	smmu_access(fn, IOMMU_NO_PASID, IOVA, SMMU_UNTRANSLATED, NULL);
}

/* Whatever is attached and detached: what was cached in between is flushed in the end. */
static void attached_under_accesses(struct kunit *test)
{
	struct smmu_fn *fn = one_fn(test, ATS, false);
	struct iommu_domain *domain = smmu_paging(test, fn, 0);
	struct iommu_domain *of_pasid = smmu_paging(test, fn, 0);

	KUNIT_ASSERT_EQ(test, 0, smmu_block(fn));
	smmu_map(test, domain, IOVA, 1);
	smmu_map(test, of_pasid, IOVA, 1);
	smmu_settle(fn->unit);
	fn->unit->priv = fn;
	fn->unit->before = access_always;
	KUNIT_EXPECT_EQ(test, 0, smmu_set_pasid(fn, PASID, of_pasid));
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(test->priv));
	KUNIT_EXPECT_EQ(test, 0, smmu_attach(fn, domain));
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(test->priv));
	KUNIT_EXPECT_EQ(test, 0, smmu_identity(fn));
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(test->priv));
	smmu_remove_pasid(fn, PASID);
	KUNIT_EXPECT_EQ(test, 0, smmu_stale(test->priv));
	fn->unit->before = NULL;
	/* The STE */
	SMMU_EXPECT_CLEAN(test, 1);
}

static struct kunit_case smmu_base_cases[] = {
	KUNIT_CASE_PARAM(rid, move_gen_params),
	KUNIT_CASE_PARAM(pasid, bind_gen_params),
	KUNIT_CASE_PARAM(change, change_gen_params),
	KUNIT_CASE(two_masters),
	KUNIT_CASE(one_of_two_leaves),
	KUNIT_CASE(group_of_two),
	KUNIT_CASE(several_streams),
	KUNIT_CASE(tlb_before_atc),
	KUNIT_CASE(attached_under_accesses),
	{}
};

static struct kunit_suite smmu_base_suite = {
	.name = "arm_smmu_base",
	.exit = smmu_exit,
	.test_cases = smmu_base_cases,
};

kunit_test_suite(smmu_base_suite);
