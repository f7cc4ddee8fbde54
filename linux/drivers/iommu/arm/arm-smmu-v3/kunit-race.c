// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of invalidations against everything that happens at the same time
 *
 * When an unmap is over, no TLB and no ATC has what was unmapped: whatever is attached or
 * detached meanwhile, on whichever SMMU, and whenever functions access memory. They do at each
 * step that an SMMU of kunit-mock.c makes, and its caches keep what they are not told to drop.
 *
 * Some tests bring about one interleaving: an SMMU is held at a command; or all happens in one
 * thread, which unmaps something between two steps of an attach or a detach. The others let
 * threads run for a while.
 */
#include <kunit/test.h>
#include <linux/jiffies.h>
#include <linux/mm.h>

#include "kunit-mock.h"

#define PASID		5
#define IOVA		0x10000
#define PAGES		16
#define RACE_MS		400
#define RACE_EXITS	10	/* at least */
#define HOLD_MS		10000	/* until somebody lets go */
#define FLAGS		(KIOMMU_ATS | KIOMMU_PASID)

/**
 * struct race - what a test is about
 * @test: the test
 * @m: the machine
 * @domain: the domain
 * @pasid: where it is attached, or IOMMU_NO_PASID
 * @mm: of @domain, if it is of a process
 * @iova: what functions access
 * @next: page that is unmapped next, of those that unmap_at_each_step() has
 * @unmapping: it does
 * @steps: it did
 * @stale: what was found too late
 * @attachers: threads that attach and detach
 */
struct race {
	struct kunit *test;
	struct smmu_machine *m;
	struct iommu_domain *domain;
	u32 pasid;
	struct mm_struct *mm;
	u64 iova;
	unsigned int next;
	bool unmapping;
	unsigned int steps;
	unsigned int stale;
	struct kiommu_attachers attachers;
};

/* --- functions --- */

static void access_by_all(struct race *r, u64 iova)
{
	unsigned int n;

	for (n = 0; n < r->m->nr_fns; n++)
		smmu_access(r->m->fn[n], r->pasid, iova, 0, NULL);
}

/* How many caches have a page of the domain, which is not mapped */
static unsigned int stale(struct race *r, u64 iova)
{
	unsigned int n, nr = 0;

	for (n = 0; n < r->m->nr_units; n++)
		nr += smmu_in_tlb(&r->m->unit[n], r->domain, iova);
	for (n = 0; n < r->m->nr_fns; n++)
		nr += smmu_in_atc(r->m->fn[n], r->pasid, iova);
	return nr;
}

static void access_at_each_step(struct smmu_unit *unit, const struct smmu_cmd *cmd)
{
	struct race *r = unit->priv;
	unsigned int n;

	for (n = 0; n < r->m->nr_fns; n++)
		if (r->m->fn[n]->unit == unit)
			smmu_access(r->m->fn[n], r->pasid, READ_ONCE(r->iova), 0, NULL);
}

/* As if another CPU did, which needs no more time than an SMMU for what it has in its queue */
static void unmap_at_each_step(struct smmu_unit *unit, const struct smmu_cmd *cmd)
{
	struct race *r = unit->priv;
	u64 iova = IOVA + r->next * SZ_4K;

	if (r->unmapping || r->next == PAGES)
		return;
	r->unmapping = true;
	r->next++;
	access_by_all(r, iova);
	smmu_unmap(r->test, r->domain, iova, 1);
	r->stale += stale(r, iova);
	r->steps++;
	r->unmapping = false;
}

static void at_each_step(struct race *r, smmu_before_t *before)
{
	unsigned int n;

	for (n = 0; n < r->m->nr_units; n++) {
		smmu_settle(&r->m->unit[n]);
		r->m->unit[n].priv = r;
		r->m->unit[n].before = before;
	}
}

/* --- setup --- */

/*
 * Function n is behind SMMU n modulo their number. Another PASID keeps its ATS on: what is
 * flushed when ATS goes off would hide what a detach does not flush.
 */
static struct race *race_setup(struct kunit *test, unsigned int units, unsigned int fns,
			       const struct smmu_caps *caps, u32 pasid)
{
	struct race *r = kunit_kzalloc(test, sizeof(*r), GFP_KERNEL);
	struct iommu_domain *other = NULL;
	unsigned int n;

	KUNIT_ASSERT_NOT_NULL(test, r);
	r->test = test;
	r->pasid = pasid;
	r->iova = IOVA;
	r->m = smmu_machine(test, units, caps);
	for (n = 0; n < fns; n++) {
		smmu_add_fn(test, n % units, FLAGS);
		KUNIT_ASSERT_EQ(test, 0, smmu_identity(r->m->fn[n]));
		if (pasid == IOMMU_NO_PASID)
			continue;
		other = other ?: smmu_paging(test, r->m->fn[0], 0);
		KUNIT_ASSERT_EQ(test, 0, smmu_set_pasid(r->m->fn[n], PASID + 1, other));
	}
	return r;
}

static void race_sva(struct race *r)
{
	r->mm = kiommu_mm(r->test);
	r->domain = smmu_sva(r->test, r->m->fn[0], r->mm);
}

static int attach(struct race *r, unsigned int n)
{
	return r->pasid == IOMMU_NO_PASID ? smmu_attach(r->m->fn[n], r->domain) :
		smmu_set_pasid(r->m->fn[n], r->pasid, r->domain);
}

static void detach(struct race *r, unsigned int n)
{
	if (r->pasid == IOMMU_NO_PASID)
		smmu_block(r->m->fn[n]);
	else
		smmu_remove_pasid(r->m->fn[n], r->pasid);
}

/* Its page table is made for the first that it is attached to. */
static void race_paging(struct race *r, unsigned int flags)
{
	r->domain = smmu_paging(r->test, r->m->fn[0], flags);
	KUNIT_ASSERT_EQ(r->test, 0, attach(r, 0));
}

/* --- unmap against each step of attach and detach --- */

/* All pages are mapped, and in the caches of who is attached. */
static void fill_caches(struct race *r)
{
	unsigned int n;

	smmu_unmap(r->test, r->domain, IOVA + r->next * SZ_4K, PAGES - r->next);
	smmu_map(r->test, r->domain, IOVA, PAGES);
	r->next = 0;
	for (n = 0; n < PAGES; n++)
		access_by_all(r, IOVA + n * SZ_4K);
}

/* Nor does who has left keep what is mapped still. */
static void expect_atc_is_empty(struct race *r, unsigned int n)
{
	unsigned int page;

	for (page = 0; page < PAGES; page++)
		KUNIT_EXPECT_FALSE(r->test, smmu_in_atc(r->m->fn[n], r->pasid,
							IOVA + page * SZ_4K));
}

static void step_by_step(struct race *r, unsigned int n, bool on)
{
	unsigned int steps = r->steps;

	fill_caches(r);
	at_each_step(r, unmap_at_each_step);
	if (on)
		KUNIT_EXPECT_EQ(r->test, 0, attach(r, n));
	else
		detach(r, n);
	at_each_step(r, NULL);
	if (!on)
		expect_atc_is_empty(r, n);
	/* Of its STE or CD, and of what is behind that */
	KUNIT_EXPECT_GE(r->test, r->steps - steps, 2);
}

static const struct smmu_caps race_caps[][2] = {
	{},
	{ { .options = ARM_SMMU_OPT_MSIPOLL },
	  { .features = SMMU_FEATURES & ~ARM_SMMU_FEAT_RANGE_INV } },
};

static void steps(struct kunit *test, u32 pasid, unsigned int flags)
{
	unsigned int n, i;
	struct race *r;

	for (i = 0; i < ARRAY_SIZE(race_caps); i++) {
		r = race_setup(test, 2, 4, race_caps[i], pasid);
		race_paging(r, flags);
		smmu_map(test, r->domain, IOVA, PAGES);
		for (n = 1; n < 4; n++)
			step_by_step(r, n, true);
		for (n = 0; n < 4; n++)
			step_by_step(r, n, false);
		KUNIT_EXPECT_EQ(test, 0, r->stale);
		smmu_exit(test);
	}
}

static void steps_first_stage(struct kunit *test)
{
	steps(test, IOMMU_NO_PASID, 0);
}

static void steps_second_stage(struct kunit *test)
{
	steps(test, IOMMU_NO_PASID, SMMU_S2);
}

static void steps_pasid(struct kunit *test)
{
	steps(test, PASID, 0);
}

/* --- single interleavings --- */

static int unmap_first(void *arg)
{
	struct race *r = arg;

	smmu_unmap(r->test, r->domain, IOVA, 1);
	return 0;
}

static int detach_first(void *arg)
{
	struct race *r = arg;

	detach(r, 0);
	return 0;
}

/* A new domain, with nothing in it. Returns its id. */
static u16 attach_empty(struct race *r, struct smmu_fn *fn)
{
	struct iommu_domain *domain = smmu_paging(r->test, fn, 0);

	KUNIT_ASSERT_EQ(r->test, 0, smmu_set_pasid(fn, PASID, domain));
	KUNIT_EXPECT_EQ(r->test, SMMU_TRANSLATION, smmu_access(fn, PASID, IOVA, 0, NULL));
	return smmu_id(fn->unit, domain);
}

/*
 * A domain leaves an SMMU, and others come, whose CFGI_CDs are behind that in the queue: none
 * gets the id under which the TLB still has translations, before the domain is freed.
 */
static void id_is_used_again(struct kunit *test)
{
	struct kiommu_thread thread;
	struct smmu_unit *unit;
	struct race *r;
	u16 id;

	kiommu_two_cpus(test);
	r = race_setup(test, 1, 3, NULL, PASID);
	unit = r->m->unit;
	race_paging(r, 0);
	smmu_map(test, r->domain, IOVA, 1);
	access_by_all(r, IOVA);
	id = smmu_id(unit, r->domain);
	kiommu_hold(&unit->hold, CMDQ_OP_TLBI_NH_ASID, 1, RACE_MS);
	kiommu_start(test, &thread, detach_first, r);
	KUNIT_EXPECT_TRUE(test, kiommu_wait_held(&thread, &unit->hold));
	KUNIT_EXPECT_NE(test, id, attach_empty(r, r->m->fn[1]));
	kiommu_join(&thread);
	smmu_free(test, r->domain);
	/* Now it may. */
	KUNIT_EXPECT_EQ(test, id, attach_empty(r, r->m->fn[2]));
}

/*
 * An unmap waits for one SMMU. Behind another, whose commands it has sent, functions come and
 * go: nobody waits for it, and what it does next it does not do to who has gone.
 */
static void others_come_and_go(struct kunit *test)
{
	struct kiommu_thread thread;
	struct race *r;

	kiommu_two_cpus(test);
	r = race_setup(test, 2, 4, NULL, PASID);
	race_paging(r, 0);
	KUNIT_ASSERT_EQ(test, 0, attach(r, 1));
	smmu_map(test, r->domain, IOVA, 1);
	access_by_all(r, IOVA);
	kiommu_hold(&r->m->unit[0].hold, CMDQ_OP_TLBI_NH_VA, 1, HOLD_MS);
	kiommu_start(test, &thread, unmap_first, r);
	KUNIT_EXPECT_TRUE(test, kiommu_wait_held(&thread, &r->m->unit[0].hold));
	detach(r, 1);
	KUNIT_EXPECT_EQ(test, 0, attach(r, 3));
	access_by_all(r, IOVA);
	r->m->fn[1]->fn.asked = 0;
	KUNIT_EXPECT_TRUE(test, kiommu_is_held(&r->m->unit[0].hold));
	kiommu_let_go(&r->m->unit[0].hold);
	kiommu_join(&thread);
	KUNIT_EXPECT_EQ(test, 0, r->m->fn[1]->fn.asked);
	KUNIT_EXPECT_EQ(test, 0, stale(r, IOVA));
}

/*
 * A PASID is being detached, and its CD cleared, but still cached, when the process exits:
 * whoever is first, nothing leads to the page table when it is freed.
 */
static void exit_in_mid_detach(struct kunit *test)
{
	struct kiommu_thread thread;
	struct race *r;

	kiommu_two_cpus(test);
	r = race_setup(test, 2, 2, NULL, PASID);
	race_sva(r);
	r->iova = kiommu_mm_map(test, 1);
	KUNIT_ASSERT_EQ(test, 0, attach(r, 0));
	KUNIT_ASSERT_EQ(test, 0, attach(r, 1));
	access_by_all(r, r->iova);
	KUNIT_EXPECT_EQ(test, 4, stale(r, r->iova));
	kiommu_hold(&r->m->unit[0].hold, CMDQ_OP_CFGI_CD, 1, RACE_MS);
	kiommu_start(test, &thread, detach_first, r);
	KUNIT_EXPECT_TRUE(test, kiommu_wait_held(&thread, &r->m->unit[0].hold));
	access_by_all(r, r->iova);
	kiommu_mm_exit(r->mm);
	access_by_all(r, r->iova);
	KUNIT_EXPECT_EQ(test, 0, stale(r, r->iova));
	kiommu_join(&thread);
	KUNIT_EXPECT_EQ(test, 0, stale(r, r->iova));
}

/* --- for a while --- */

static int attach_one(void *arg, unsigned int n)
{
	return attach(arg, n);
}

static void detach_one(void *arg, unsigned int n)
{
	detach(arg, n);
}

static void access_one(void *arg)
{
	struct race *r = arg;

	access_by_all(r, READ_ONCE(r->iova));
}

/* All functions but the first two */
static void start_attaching(struct race *r)
{
	r->attachers = (struct kiommu_attachers) {
		.from = 2,
		.nr = r->m->nr_fns - 2,
		.attach = attach_one,
		.detach = detach_one,
		.access = access_one,
		.arg = r,
	};
	at_each_step(r, access_at_each_step);
	kiommu_start_attaching(r->test, &r->m->k, &r->attachers);
}

static void stop_attaching(struct race *r)
{
	kiommu_stop_attaching(r->test, &r->attachers);
	at_each_step(r, NULL);
}

static void unmap_for_a_while(struct kunit *test, unsigned int units, u32 pasid,
			      unsigned int flags)
{
	struct race *r;

	kiommu_two_cpus(test);
	r = race_setup(test, units, 8, NULL, pasid);
	race_paging(r, flags);
	start_attaching(r);
	while (kiommu_goes_on(&r->attachers)) {
		smmu_map(test, r->domain, IOVA, 1);
		access_by_all(r, IOVA);
		smmu_unmap(test, r->domain, IOVA, 1);
		r->stale += stale(r, IOVA);
		cond_resched();
	}
	stop_attaching(r);
	KUNIT_EXPECT_EQ(test, 0, r->stale);
	KUNIT_EXPECT_EQ(test, 0, stale(r, IOVA));
}

static void first_stage_2_smmus(struct kunit *test)
{
	unmap_for_a_while(test, 2, IOMMU_NO_PASID, 0);
}

static void second_stage_3_smmus(struct kunit *test)
{
	unmap_for_a_while(test, 3, IOMMU_NO_PASID, SMMU_S2);
}

static void pasid_4_smmus(struct kunit *test)
{
	unmap_for_a_while(test, 4, PASID, 0);
}

/* A process whose own page tables are used, and freed */
static void process_4_smmus(struct kunit *test)
{
	unsigned long addr;
	struct race *r;

	kiommu_two_cpus(test);
	r = race_setup(test, 4, 8, NULL, PASID);
	race_sva(r);
	start_attaching(r);
	while (kiommu_goes_on(&r->attachers)) {
		addr = kiommu_mm_map(test, 1);
		WRITE_ONCE(r->iova, addr);
		access_by_all(r, addr);
		KUNIT_EXPECT_EQ(test, 0, vm_munmap(addr, PAGE_SIZE));
		r->stale += stale(r, addr);
		cond_resched();
	}
	stop_attaching(r);
	KUNIT_EXPECT_EQ(test, 0, r->stale);
	kiommu_mm_exit(r->mm);
	KUNIT_EXPECT_EQ(test, 0, stale(r, addr));
}

static int detach_all(void *arg)
{
	struct race *r = arg;
	unsigned int n;

	for (n = 0; n < r->m->nr_fns; n++)
		detach(r, n);
	return 0;
}

/* One process after the other exits while it is detached everywhere. */
static void exit_once(struct race *r)
{
	struct kiommu_thread thread;
	unsigned int n;

	race_sva(r);
	r->iova = kiommu_mm_map(r->test, 1);
	for (n = 0; n < r->m->nr_fns; n++)
		KUNIT_ASSERT_EQ(r->test, 0, attach(r, n));
	access_by_all(r, r->iova);
	at_each_step(r, access_at_each_step);
	kiommu_start(r->test, &thread, detach_all, r);
	kiommu_mm_exit(r->mm);
	r->stale += stale(r, r->iova);
	kiommu_join(&thread);
	at_each_step(r, NULL);
	r->stale += stale(r, r->iova);
	smmu_free(r->test, r->domain);
}

static void exit_and_detach(struct kunit *test)
{
	unsigned long end = jiffies + msecs_to_jiffies(RACE_MS);
	unsigned int n;
	struct race *r;

	kiommu_two_cpus(test);
	r = race_setup(test, 3, 6, NULL, PASID);
	for (n = 0; n < RACE_EXITS || time_before(jiffies, end); n++)
		exit_once(r);
	KUNIT_EXPECT_EQ(test, 0, r->stale);
}

static struct kunit_case smmu_race_cases[] = {
	KUNIT_CASE(steps_first_stage),
	KUNIT_CASE(steps_second_stage),
	KUNIT_CASE(steps_pasid),
	KUNIT_CASE(id_is_used_again),
	KUNIT_CASE(others_come_and_go),
	KUNIT_CASE(exit_in_mid_detach),
	KUNIT_CASE(first_stage_2_smmus),
	KUNIT_CASE(second_stage_3_smmus),
	KUNIT_CASE(pasid_4_smmus),
	KUNIT_CASE(process_4_smmus),
	KUNIT_CASE(exit_and_detach),
	{}
};

static struct kunit_suite smmu_race_suite = {
	.name = "arm_smmu_race",
	.exit = smmu_exit,
	.test_cases = smmu_race_cases,
};

kunit_test_suite(smmu_race_suite);
