// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of invalidations against everything that happens at the same time
 *
 * When an unmap is over, no IOTLB and no ATC has what was unmapped: whatever is
 * attached or detached meanwhile, and whenever devices access memory. The caches of
 * the mock keep all that they are not told to drop, and it has devices access
 * memory at each step that a unit makes.
 *
 * There are two kinds of tests. Some bring about one interleaving: a unit is held at
 * a command, or a thread where it waits for a unit; or all happens in one thread,
 * which unmaps something between two steps of an attach or a detach. The others let
 * threads run for a while.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/jiffies.h>

#include "kunit-mock.h"

#define PASID		5
#define IOVA		0x10000
#define PAGES		16
#define RACE_MS		400
#define RACE_EXITS	10	/* at least */
#define HOLD_MS		1000	/* if somebody waits for it to be over */
#define HOLD_LONG_MS	10000	/* if somebody lets go */
#define LATE_MS		500
#define BATCH		16	/* commands that one wait is enough for */
#define BATCHES		((QI_LENGTH - 1) / (BATCH + 1))

/**
 * struct race - what a test is about
 * @test: the test
 * @machine: the machine
 * @domain: the domain
 * @mm: of @domain, if it is SVA
 * @root: the page table
 * @iova: what devices access
 * @next: page that is unmapped next, of those that unmap_at_each_step() has
 * @unmapping: it does
 * @steps: it did
 * @stale: what was found too late
 * @late: a thread that is held, the next time that it waits
 * @late_before: before it looks at the unit; otherwise behind that
 * @may_sleep: because it is where it may, and others need its CPU to get on
 * @is_late: it is
 * @go: it may go on
 * @attachers: threads that attach and detach
 */
struct race {
	struct kunit *test;
	struct vtd_machine *machine;
	struct iommu_domain *domain;
	struct mm_struct *mm;
	u64 root;
	u64 iova;
	unsigned int next;
	bool unmapping;
	unsigned int steps;
	unsigned int stale;
	struct task_struct *late;
	bool late_before;
	bool may_sleep;
	bool is_late;
	bool go;
	struct kiommu_attachers attachers;
};

/* --- devices --- */

static void access_by_all(struct race *r, u64 iova)
{
	unsigned int n;
	u64 pa;

	for (n = 0; n < r->machine->nr_fns; n++)
		vtd_access(r->machine->fn[n], PASID, iova, &pa);
}

static unsigned int stale(struct race *r, u64 iova)
{
	return vtd_stale(r->machine, r->root, iova, PAGE_SIZE);
}

/* At each step of a unit, the functions behind it access memory. */
static void access_at_each_step(struct vtd_unit *unit, const struct vtd_cmd *cmd)
{
	struct race *r = unit->priv;
	struct vtd_machine *machine = r->machine;
	unsigned int n;
	u64 pa;

	for (n = 0; n < machine->nr_fns; n++)
		if (machine->fn[n]->unit == unit)
			vtd_access(machine->fn[n], PASID, READ_ONCE(r->iova), &pa);
}

/*
 * As if another CPU did, which needs no more time than a unit for one step; or for
 * all that it has in its queue, if that is a unit which has to be told.
 */
static void unmap_at_each_step(struct vtd_unit *unit, const struct vtd_cmd *cmd)
{
	struct race *r = unit->priv;
	u64 iova = IOVA + r->next * PAGE_SIZE;

	if (r->unmapping || r->next == PAGES)
		return;
	r->unmapping = true;
	r->next++;
	access_by_all(r, iova);
	vtd_unmap(r->domain, iova, 1);
	r->stale += stale(r, iova);
	r->steps++;
	r->unmapping = false;
}

static void at_each_step(struct race *r, vtd_before_t *before)
{
	unsigned int n;

	for (n = 0; n < r->machine->nr_units; n++) {
		r->machine->unit[n].priv = r;
		r->machine->unit[n].before = before;
	}
}

/* --- threads that are late --- */

static void be_late(struct race *r)
{
	unsigned int ms;

	WRITE_ONCE(r->is_late, true);
	for (ms = 0; ms < LATE_MS && !READ_ONCE(r->go); ms++)
		if (r->may_sleep)
			usleep_range(1000, 1100);
		else
			mdelay(1);
}

static void late_qi(struct iommu_kunit_hw *hw, bool submitted)
{
	struct race *r = hw_to_vtd_unit(hw)->priv;
	bool late = !submitted && READ_ONCE(r->late) == current &&
		    !READ_ONCE(r->is_late);

	if (late && r->late_before)
		be_late(r);
	vtd_qi(hw, submitted);
	if (late && !r->late_before)
		be_late(r);
}

static void let_be_late(struct race *r, bool before)
{
	unsigned int n;

	r->late_before = before;
	for (n = 0; n < r->machine->nr_units; n++) {
		r->machine->unit[n].priv = r;
		r->machine->unit[n].hw.run = late_qi;
	}
}

static bool wait_late(struct race *r, struct kiommu_thread *thread)
{
	while (!READ_ONCE(r->is_late)) {
		if (completion_done(&thread->done))
			return false;
		usleep_range(50, 100);
	}
	return true;
}

/* --- setup --- */

static struct race *race_setup(struct kunit *test, unsigned int units,
			       unsigned int fns, const struct vtd_caps *caps,
			       unsigned int flags)
{
	struct race *r = kunit_kzalloc(test, sizeof(*r), GFP_KERNEL);
	unsigned int n;

	KUNIT_ASSERT_NOT_NULL(test, r);
	r->test = test;
	r->machine = vtd_machine(test, units, caps);
	for (n = 0; n < fns; n++)
		vtd_add_fn(test, n % units, flags);
	return r;
}

#define FLAGS	(KIOMMU_ATS | KIOMMU_PASID)

static void race_paging(struct race *r, unsigned int flags)
{
	r->domain = vtd_paging(r->test, r->machine->fn[0], flags);
	r->root = virt_to_phys(to_dmar_domain(r->domain)->pgd);
	r->iova = IOVA;
}

static void race_sva(struct race *r)
{
	r->mm = kiommu_mm(r->test);
	r->domain = vtd_sva(r->test, r->machine->fn[0], r->mm);
	r->root = __pa(r->mm->pgd);
}

static void set_pasid(struct race *r, unsigned int n)
{
	KUNIT_ASSERT_EQ(r->test, 0, vtd_set_pasid(r->machine->fn[n], PASID,
						  r->domain));
}

/* --- unmap against each step of attach and detach --- */

/* All pages are mapped, and in the caches of who is attached. */
static void fill_caches(struct race *r)
{
	unsigned int n;

	r->next = 0;
	for (n = 0; n < PAGES; n++) {
		vtd_unmap(r->domain, IOVA + n * PAGE_SIZE, 1);
		vtd_map(r->test, r->domain, IOVA + n * PAGE_SIZE, 1);
	}
	for (n = 0; n < PAGES; n++)
		access_by_all(r, IOVA + n * PAGE_SIZE);
}

static void attach_step_by_step(struct race *r, unsigned int n)
{
	fill_caches(r);
	at_each_step(r, unmap_at_each_step);
	set_pasid(r, n);
	at_each_step(r, NULL);
}

static void detach_step_by_step(struct race *r, unsigned int n)
{
	unsigned int steps;

	fill_caches(r);
	steps = r->steps;
	at_each_step(r, unmap_at_each_step);
	vtd_remove_pasid(r->machine->fn[n], PASID);
	at_each_step(r, NULL);
	/* Before the PASID cache is flushed, and before the IOTLB and the ATC are */
	KUNIT_EXPECT_EQ(r->test, r->steps - steps, 2);
}

static void step_by_step(struct kunit *test, unsigned int flags, u64 cap)
{
	const struct vtd_caps caps[] = {
		{ VTD_CAP | cap, VTD_ECAP }, { VTD_CAP | cap, VTD_ECAP }
	};
	struct race *r = race_setup(test, 2, 4, caps, FLAGS);
	unsigned int n;

	race_paging(r, flags);
	for (n = 0; n < 4; n++)
		attach_step_by_step(r, n);
	KUNIT_EXPECT_EQ(test, 0, r->stale);
	for (n = 0; n < 4; n++)
		detach_step_by_step(r, n);
	KUNIT_EXPECT_EQ(test, 0, r->stale);
	KUNIT_EXPECT_EQ(test, 0, vtd_cached(r->machine, r->root));
}

static void steps_second_level(struct kunit *test)
{
	step_by_step(test, 0, 0);
}

static void steps_first_level(struct kunit *test)
{
	step_by_step(test, VTD_FIRST_LEVEL, 0);
}

/* Here an attach has steps, too. */
static void steps_second_level_caching(struct kunit *test)
{
	step_by_step(test, 0, VTD_CAP_CM);
}

static void steps_first_level_caching(struct kunit *test)
{
	step_by_step(test, VTD_FIRST_LEVEL, VTD_CAP_CM);
}

/* --- single interleavings --- */

static int unmap_one(void *arg)
{
	struct race *r = arg;

	vtd_unmap(r->domain, IOVA, 1);
	return 0;
}

static int flush_all(void *arg)
{
	struct race *r = arg;

	r->late = current;
	vtd_flush_all(r->domain);
	return 0;
}

static int remove_first(void *arg)
{
	struct race *r = arg;

	r->late = current;
	vtd_remove_pasid(r->machine->fn[0], PASID);
	return 0;
}

/*
 * While the IOTLB still has what is being unmapped, a function comes along, whose
 * ATC the unmap does not know. Its ATS is on, for another PASID: what is flushed when
 * ATS goes on would be waited for, too, and hide that the join does not wait.
 */
static void join(struct kunit *test, unsigned int flags, u8 type)
{
	struct kiommu_thread thread;
	struct vtd_fn *joins;
	struct race *r;

	kiommu_two_cpus(test);
	r = race_setup(test, 1, 2, NULL, FLAGS);
	race_paging(r, flags);
	joins = r->machine->fn[1];
	KUNIT_ASSERT_EQ(test, 0,
			vtd_set_pasid(joins, PASID + 1, vtd_paging(test, joins, 0)));
	set_pasid(r, 0);
	vtd_map(test, r->domain, IOVA, 1);
	access_by_all(r, IOVA);
	KUNIT_EXPECT_EQ(test, 2, vtd_cached(r->machine, r->root));
	kiommu_hold(&r->machine->unit->hold, type, 1, HOLD_MS);
	kiommu_start(test, &thread, unmap_one, r);
	KUNIT_EXPECT_TRUE(test, kiommu_wait_held(&thread, &r->machine->unit->hold));
	set_pasid(r, 1);
	access_by_all(r, IOVA);
	kiommu_let_go(&r->machine->unit->hold);
	kiommu_join(&thread);
	KUNIT_EXPECT_EQ(test, 0, stale(r, IOVA));
}

static void join_second_level(struct kunit *test)
{
	join(test, 0, QI_IOTLB_TYPE);
}

static void join_first_level(struct kunit *test)
{
	join(test, VTD_FIRST_LEVEL, QI_EIOTLB_TYPE);
}

static void expect_no_access(struct race *r, struct vtd_fn *fn)
{
	u64 pa;

	KUNIT_EXPECT_EQ(r->test, -EFAULT, vtd_access(fn, PASID, IOVA, &pa));
}

/* A new domain, with nothing in it */
static void attach_empty(struct race *r, struct vtd_fn *fn)
{
	struct iommu_domain *domain = vtd_paging(r->test, fn, 0);

	KUNIT_ASSERT_EQ(r->test, 0, vtd_set_pasid(fn, PASID, domain));
	expect_no_access(r, fn);
}

/*
 * A domain leaves a unit, and others come: none gets the domain ID under which the
 * IOTLB still has translations.
 */
static void did_is_used_again(struct kunit *test)
{
	struct kiommu_thread thread;
	struct race *r;

	kiommu_two_cpus(test);
	r = race_setup(test, 1, 3, NULL, FLAGS);
	race_paging(r, 0);
	vtd_map(test, r->domain, IOVA, 1);
	set_pasid(r, 0);
	access_by_all(r, IOVA);
	kiommu_hold(&r->machine->unit->hold, QI_IOTLB_TYPE, 1, HOLD_LONG_MS);
	kiommu_start(test, &thread, remove_first, r);
	KUNIT_EXPECT_TRUE(test, kiommu_wait_held(&thread, &r->machine->unit->hold));
	attach_empty(r, r->machine->fn[1]);
	kiommu_let_go(&r->machine->unit->hold);
	kiommu_join(&thread);
	expect_no_access(r, r->machine->fn[1]);
	/* Now it may. */
	attach_empty(r, r->machine->fn[2]);
	KUNIT_EXPECT_EQ(test, 2,
			pasid_get_domain_id(vtd_entry(r->machine->fn[2], PASID)));
}

/*
 * Legacy mode, where ATS goes off with the domain. A walk has seen the ATC, its batch
 * was full, and when it has waited for that it will send a command for the ATC.
 */
static void ats_goes_off(struct kunit *test)
{
	const struct vtd_caps caps = {
		VTD_CAP, VTD_ECAP & ~(VTD_ECAP_SMTS | VTD_ECAP_PASID)
	};
	struct kiommu_thread thread;
	struct race *r;
	unsigned int n;

	kiommu_two_cpus(test);
	r = race_setup(test, 1, VTD_FNS, &caps, KIOMMU_ATS);
	r->domain = vtd_paging(test, r->machine->fn[0], 0);
	for (n = 0; n < VTD_FNS; n++)
		KUNIT_ASSERT_EQ(test, 0, vtd_attach(r->machine->fn[n], r->domain));
	KUNIT_EXPECT_TRUE(test, kiommu_ats(&r->machine->fn[VTD_FNS - 1]->pci));
	let_be_late(r, false);
	kiommu_start(test, &thread, flush_all, r);
	KUNIT_EXPECT_TRUE(test, wait_late(r, &thread));
	vtd_block(r->machine->fn[VTD_FNS - 1]);
	KUNIT_EXPECT_FALSE(test, kiommu_ats(&r->machine->fn[VTD_FNS - 1]->pci));
	WRITE_ONCE(r->go, true);
	kiommu_join(&thread);
	/* vtd_exit() looks whether somebody has complained. */
}

/* Nobody waits for these: the next who needs slots has to. */
static void fill_queue(struct vtd_unit *unit)
{
	struct qi_desc desc[BATCH];
	unsigned int n;

	for (n = 0; n < BATCH; n++)
		qi_desc_piotlb(99, 1, 0, -1, false, &desc[n]);
	for (n = 0; n < BATCHES; n++)
		qi_submit(&unit->iommu, desc, BATCH, 0);
}

/*
 * A PASID is being detached, and its entry cleared, but still cached, when the process
 * exits: whoever is first, nothing leads to the page table when it is freed.
 */
static void exit_in_mid_detach(struct kunit *test)
{
	struct kiommu_thread thread;
	struct race *r;

	kiommu_two_cpus(test);
	r = race_setup(test, 2, 2, NULL, FLAGS);
	race_sva(r);
	r->iova = kiommu_mm_map(test, 1);
	set_pasid(r, 0);
	set_pasid(r, 1);
	access_by_all(r, r->iova);
	KUNIT_EXPECT_EQ(test, 4, vtd_cached(r->machine, r->root));
	at_each_step(r, access_at_each_step);
	let_be_late(r, true);
	r->may_sleep = true;
	fill_queue(r->machine->unit);
	kiommu_start(test, &thread, remove_first, r);
	KUNIT_EXPECT_TRUE(test, wait_late(r, &thread));
	kiommu_mm_exit(r->mm);
	KUNIT_EXPECT_EQ(test, 0, vtd_cached(r->machine, r->root));
	WRITE_ONCE(r->go, true);
	kiommu_join(&thread);
	KUNIT_EXPECT_EQ(test, 0, vtd_cached(r->machine, r->root));
}

/* --- for a while --- */

static int attach_one(void *arg, unsigned int n)
{
	struct race *r = arg;

	return vtd_set_pasid(r->machine->fn[n], PASID, r->domain);
}

static void detach_one(void *arg, unsigned int n)
{
	struct race *r = arg;

	vtd_remove_pasid(r->machine->fn[n], PASID);
}

static void access_one(void *arg)
{
	struct race *r = arg;

	access_by_all(r, READ_ONCE(r->iova));
}

static void start_attaching(struct race *r)
{
	r->attachers = (struct kiommu_attachers) {
		.nr = r->machine->nr_fns,
		.attach = attach_one,
		.detach = detach_one,
		.access = access_one,
		.arg = r,
	};
	at_each_step(r, access_at_each_step);
	kiommu_start_attaching(r->test, &r->machine->k, &r->attachers);
}

static void stop_attaching(struct race *r)
{
	kiommu_stop_attaching(r->test, &r->attachers);
	at_each_step(r, NULL);
}

static void unmap_for_a_while(struct kunit *test, unsigned int units,
			      unsigned int flags)
{
	struct race *r;

	kiommu_two_cpus(test);
	r = race_setup(test, units, 8, NULL, FLAGS);
	race_paging(r, flags);
	start_attaching(r);
	while (kiommu_goes_on(&r->attachers)) {
		vtd_map(test, r->domain, IOVA, 1);
		access_by_all(r, IOVA);
		vtd_unmap(r->domain, IOVA, 1);
		r->stale += stale(r, IOVA);
		cond_resched();
	}
	stop_attaching(r);
	KUNIT_EXPECT_EQ(test, 0, r->stale);
	KUNIT_EXPECT_EQ(test, 0, stale(r, IOVA));
}

static void second_level_2_units(struct kunit *test)
{
	unmap_for_a_while(test, 2, 0);
}

static void second_level_4_units(struct kunit *test)
{
	unmap_for_a_while(test, 4, 0);
}

static void first_level_3_units(struct kunit *test)
{
	unmap_for_a_while(test, 3, VTD_FIRST_LEVEL);
}

/* A process whose own page tables are used, and freed */
static void process_4_units(struct kunit *test)
{
	unsigned long addr;
	struct race *r;

	kiommu_two_cpus(test);
	r = race_setup(test, 4, 8, NULL, FLAGS);
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
	KUNIT_EXPECT_EQ(test, 0, vtd_cached(r->machine, r->root));
}

static int remove_all(void *arg)
{
	struct race *r = arg;
	unsigned int n;

	for (n = 0; n < r->machine->nr_fns; n++)
		vtd_remove_pasid(r->machine->fn[n], PASID);
	return 0;
}

/* One process after the other exits while it is detached everywhere. */
static void exit_once(struct race *r)
{
	struct kiommu_thread thread;
	unsigned int n;

	race_sva(r);
	r->iova = kiommu_mm_map(r->test, 1);
	for (n = 0; n < r->machine->nr_fns; n++)
		set_pasid(r, n);
	access_by_all(r, r->iova);
	at_each_step(r, access_at_each_step);
	kiommu_start(r->test, &thread, remove_all, r);
	kiommu_mm_exit(r->mm);
	r->stale += vtd_cached(r->machine, r->root);
	kiommu_join(&thread);
	at_each_step(r, NULL);
	r->stale += vtd_cached(r->machine, r->root);
	iommu_domain_free(r->machine->domain[--r->machine->nr_domains]);
}

static void exit_and_detach(struct kunit *test)
{
	unsigned long end = jiffies + msecs_to_jiffies(RACE_MS);
	unsigned int n;
	struct race *r;

	kiommu_two_cpus(test);
	r = race_setup(test, 3, 6, NULL, FLAGS);
	for (n = 0; n < RACE_EXITS || time_before(jiffies, end); n++)
		exit_once(r);
	KUNIT_EXPECT_EQ(test, 0, r->stale);
}

static struct kunit_case race_cases[] = {
	KUNIT_CASE(steps_second_level),
	KUNIT_CASE(steps_first_level),
	KUNIT_CASE(steps_second_level_caching),
	KUNIT_CASE(steps_first_level_caching),
	KUNIT_CASE(join_second_level),
	KUNIT_CASE(join_first_level),
	KUNIT_CASE(did_is_used_again),
	KUNIT_CASE(ats_goes_off),
	KUNIT_CASE(exit_in_mid_detach),
	KUNIT_CASE(second_level_2_units),
	KUNIT_CASE(second_level_4_units),
	KUNIT_CASE(first_level_3_units),
	KUNIT_CASE(process_4_units),
	KUNIT_CASE(exit_and_detach),
	{}
};

static struct kunit_suite race_suite = {
	.name = "intel_iommu_race",
	.exit = vtd_exit,
	.test_cases = race_cases,
};

kunit_test_suite(race_suite);
