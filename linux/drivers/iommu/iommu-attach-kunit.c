// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of where domains are attached and how they are invalidated there
 *
 * The hardware and its drivers are those of iommu-mock.c. Two things are asserted:
 * which commands are sent, exactly; and that no cache holds anything older than the
 * page table after a flush, whatever happens around it.
 *
 * Streams of commands are written as strings: T and A invalidate a tag and an ATC,
 * S is a sync, W the beginning of waiting for one. The digit is the instance. What is
 * done about functions that do not answer is tested in iommu-fence-kunit.c.
 *
 * A walk that is to be overtaken is parked: a thread spins in one of the walk's
 * callbacks until it is let go. The suite of races does without: there threads
 * attach, change page tables and access memory for a while.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/hash.h>
#include <linux/hrtimer.h>
#include <linux/kthread.h>
#include <linux/moduleparam.h>
#include <linux/prandom.h>

#include "iommu-kunit-nomem.h"
#include "iommu-mock.h"

#define ATK_TIMEOUT	(20 * HZ)

static unsigned int race_ms = 1000;
module_param(race_ms, uint, 0644);
MODULE_PARM_DESC(race_ms, "How long each race goes on");

static unsigned int race_seed;
module_param(race_seed, uint, 0644);
MODULE_PARM_DESC(race_seed, "Seed of the races, 0 for a random one");

/* --- machines --- */

static struct imock *atk_machine(struct kunit *test,
				 const struct imock_driver *driver,
				 unsigned int nr_inst, unsigned int nr_fns)
{
	struct imock *mock = imock_create(driver, nr_inst, nr_fns);

	KUNIT_ASSERT_NOT_NULL(test, mock);
	test->priv = mock;
	return mock;
}

static void atk_detach_all(struct imock *mock)
{
	unsigned int n, pasid;

	for (n = 0; n < mock->nr_fns; n++)
		for (pasid = 1; pasid < IMOCK_PASIDS; pasid++)
			if (mock->fn[n].attached[pasid])
				imock_detach(&mock->fn[n], pasid);
}

/* Everything goes, and nothing is left. */
static void atk_exit(struct kunit *test)
{
	struct imock *mock = test->priv;

	if (!mock)
		return;
	test->priv = NULL;
	atk_detach_all(mock);
	KUNIT_EXPECT_FALSE(test, imock_has_tags(mock));
	KUNIT_EXPECT_EQ_MSG(test, 0, mock->nr_complaints, "%s",
			    mock->complaint);
	imock_destroy(mock);
}

static void atk_attach(struct kunit *test, struct imock *mock, unsigned int fn,
		       u32 pasid, unsigned int domain)
{
	KUNIT_ASSERT_EQ(test, 0, imock_attach(&mock->fn[fn], pasid,
					      &mock->domain[domain]));
}

static void atk_attach_all(struct kunit *test, struct imock *mock)
{
	unsigned int n;

	for (n = 0; n < mock->nr_fns; n++)
		atk_attach(test, mock, n, 1, 0);
}

static void atk_detach(struct kunit *test, struct imock *mock, unsigned int fn,
		       u32 pasid)
{
	KUNIT_EXPECT_EQ(test, 0, imock_detach(&mock->fn[fn], pasid));
}

static void atk_replace(struct kunit *test, struct imock *mock, unsigned int fn,
			u32 pasid, unsigned int domain)
{
	KUNIT_EXPECT_EQ(test, 0, imock_replace(&mock->fn[fn], pasid,
					       &mock->domain[domain]));
}

/* Change what every page translates to, and begin to count. */
static void atk_change(struct imock_domain *domain)
{
	unsigned int page;

	for (page = 0; page < IMOCK_PAGES; page++)
		imock_write(domain, page, domain->version[page] + 1);
	imock_clear(domain->mock);
}

static void atk_walk_init(struct imock_walk *mw, struct imock *mock)
{
	imock_walk_init(mw, mock, IOMMU_ALIST_ALL_KINDS, 0, IMOCK_PAGES - 1);
}

static int atk_flush_kinds(struct imock_domain *domain, unsigned int kinds)
{
	return imock_flush(domain, kinds, 0, IMOCK_PAGES - 1);
}

static int atk_flush(struct imock_domain *domain)
{
	return atk_flush_kinds(domain, IOMMU_ALIST_ALL_KINDS);
}

static unsigned int atk_stale(struct imock_domain *domain)
{
	unsigned int page, stale = 0;

	for (page = 0; page < IMOCK_PAGES; page++)
		stale += imock_stale(domain, page, domain->version[page]);
	return stale;
}

/* Fill all caches, change everything and flush: no cache has anything old. */
static void atk_expect_flushed(struct kunit *test, struct imock_domain *domain)
{
	imock_access_all(domain->mock);
	atk_change(domain);
	KUNIT_EXPECT_EQ(test, 0, atk_flush(domain));
	KUNIT_EXPECT_EQ(test, 0, atk_stale(domain));
}

#define ATK_EVERYWHERE	UINT_MAX

/* What happened since imock_clear(), at one instance or everywhere */
static const char *atk_stream(struct kunit *test, struct imock *mock,
			      unsigned int inst)
{
	static const char letter[IMOCK_NR_WHAT] = "TASWC";
	char *stream = kunit_kzalloc(test, 2 * IMOCK_LOG + 1, GFP_KERNEL);
	unsigned int n;
	char *p = stream;

	KUNIT_ASSERT_NOT_NULL(test, stream);
	KUNIT_EXPECT_LT(test, mock->nr_logged, IMOCK_LOG);
	for (n = 0; n < mock->nr_logged; n++) {
		if (inst != ATK_EVERYWHERE && inst != mock->log[n].inst)
			continue;
		*p++ = letter[mock->log[n].what];
		*p++ = '0' + mock->log[n].inst;
	}
	return stream;
}

static void atk_expect_stream(struct kunit *test, struct imock *mock,
			      unsigned int inst, const char *stream)
{
	KUNIT_EXPECT_STREQ(test, stream, atk_stream(test, mock, inst));
}

static void atk_expect_count(struct kunit *test, struct imock *mock,
			     unsigned int iotlb, unsigned int atc,
			     unsigned int sync)
{
	KUNIT_EXPECT_EQ(test, iotlb, imock_count(mock, IMOCK_IOTLB));
	KUNIT_EXPECT_EQ(test, atc, imock_count(mock, IMOCK_ATC));
	KUNIT_EXPECT_EQ(test, sync, imock_count(mock, IMOCK_SYNC));
	KUNIT_EXPECT_EQ(test, sync, imock_count(mock, IMOCK_WAIT));
}

/* --- lists --- */

static u64 atk_key(const struct iommu_alist_elm *elm)
{
	struct imock_instance *inst = container_of(elm->iommu,
						   struct imock_instance, iommu);

	return (u64)inst->index << 48 | (u64)elm->kind << 40 |
		(u64)elm->id << 8 | elm->pasid;
}

/* Sorted, no two alike, and as many as expected */
static void atk_expect_list(struct kunit *test, struct imock_domain *domain,
			    unsigned int nr)
{
	const struct iommu_alist_elm *elm;
	unsigned int found = 0;
	u64 last = 0;

	mutex_lock(&domain->list.lock);
	iommu_alist_for_each(elm, &domain->list) {
		KUNIT_EXPECT_LT(test, last, atk_key(elm));
		last = atk_key(elm);
		found++;
	}
	mutex_unlock(&domain->list.lock);
	KUNIT_EXPECT_EQ(test, nr, found);
}

static bool atk_has_tags(struct imock *mock, unsigned int inst)
{
	return !ida_is_empty(&mock->inst[inst].tags);
}

KUNIT_ARRAY_PARAM_DESC(driver, imock_drivers, name);

static void flush_of_empty_list(struct kunit *test)
{
	struct imock *mock = atk_machine(test, test->param_value, 1, 1);

	KUNIT_EXPECT_EQ(test, 0, atk_flush(&mock->domain[0]));
	atk_expect_stream(test, mock, ATK_EVERYWHERE, "");
}

static void published_by_commit_only(struct kunit *test)
{
	struct imock *mock = atk_machine(test, test->param_value, 1, 1);
	struct imock_domain *domain = &mock->domain[0];
	struct iommu_alist_where where = imock_where(mock->fn, 1, domain);
	struct iommu_alist_attach attach;
	struct imock_walk mw;

	atk_walk_init(&mw, mock);
	mutex_lock(&domain->list.lock);
	KUNIT_EXPECT_EQ(test, 0, iommu_alist_prepare(&domain->list, &attach,
						     &where));
	KUNIT_EXPECT_TRUE(test, list_empty(&domain->list.elms));
	KUNIT_EXPECT_EQ(test, 0, atk_flush(domain));
	atk_expect_stream(test, mock, ATK_EVERYWHERE, "");

	KUNIT_EXPECT_EQ(test, 0, iommu_alist_commit(&domain->list, &attach,
						    &mw.walk));
	atk_expect_stream(test, mock, ATK_EVERYWHERE, "");
	mutex_unlock(&domain->list.lock);
	atk_expect_list(test, domain, 2);
	mutex_lock(&domain->list.lock);
	KUNIT_EXPECT_EQ(test, 0, iommu_alist_remove(&domain->list, &attach,
						    &mw.walk));
	KUNIT_EXPECT_TRUE(test, list_empty(&domain->list.elms));
	mutex_unlock(&domain->list.lock);
}

static void atk_prepare_and_cancel(struct kunit *test, struct imock *mock,
				   unsigned int fn, u32 pasid)
{
	struct imock_domain *domain = &mock->domain[0];
	struct iommu_alist_where where = imock_where(&mock->fn[fn], pasid,
						     domain);
	struct iommu_alist_attach attach;

	mutex_lock(&domain->list.lock);
	KUNIT_EXPECT_EQ(test, 0, iommu_alist_prepare(&domain->list, &attach,
						     &where));
	iommu_alist_cancel(&domain->list, &attach);
	mutex_unlock(&domain->list.lock);
}

/* Function 2 would share the tag of function 0; function 1 is somewhere else. */
static void cancel_leaves_nothing(struct kunit *test)
{
	struct imock *mock = atk_machine(test, test->param_value, 2, 3);
	struct imock_domain *domain = &mock->domain[0];

	atk_prepare_and_cancel(test, mock, 0, 1);
	KUNIT_EXPECT_FALSE(test, imock_has_tags(mock));
	atk_attach(test, mock, 0, 1, 0);
	atk_prepare_and_cancel(test, mock, 2, 1);
	atk_prepare_and_cancel(test, mock, 0, 2);
	atk_prepare_and_cancel(test, mock, 1, 1);
	KUNIT_EXPECT_FALSE(test, atk_has_tags(mock, 1));
	KUNIT_EXPECT_EQ(test, 1, mock->fn[0].attach[1].tag->users);
	atk_expect_list(test, domain, 2);
	atk_expect_flushed(test, domain);
	atk_expect_count(test, mock, 1, 1, mock->driver->ops.flags &
			 IOMMU_ALIST_SYNC_BEFORE_ATC ? 2 : 1);
	atk_detach(test, mock, 0, 1);
	atk_expect_list(test, domain, 0);
}

/* Behind one instance: the last one to go takes the tag with it. */
static void functions_share_a_tag(struct kunit *test)
{
	struct imock *mock = atk_machine(test, test->param_value, 1, 3);
	struct imock_domain *domain = &mock->domain[0];
	bool alloc = mock->driver->ops.tag_alloc;
	bool own = mock->driver->tag_per_fn;
	unsigned int n;

	atk_attach_all(test, mock);
	for (n = 0; n < 3; n++) {
		atk_expect_list(test, domain, (own ? 3 - n : 1) + 3 - n);
		atk_expect_flushed(test, domain);
		KUNIT_EXPECT_EQ(test, own ? 3 - n : 1,
				imock_count(mock, IMOCK_IOTLB));
		KUNIT_EXPECT_EQ(test, 3 - n, imock_count(mock, IMOCK_ATC));
		KUNIT_EXPECT_EQ(test, alloc, imock_has_tags(mock));
		atk_detach(test, mock, n, 1);
	}
	KUNIT_EXPECT_FALSE(test, imock_has_tags(mock));
	atk_expect_list(test, domain, 0);
}

/* Elements of their own, but one tag, until the last of them is gone */
static void pasids_share_a_tag(struct kunit *test)
{
	struct imock *mock = atk_machine(test, &imock_drivers[IMOCK_VTD_SL],
					 1, 1);
	static const u32 order[] = { 2, 1, 3 };
	struct imock_fn *fn = mock->fn;
	unsigned int n;

	for (n = 0; n < 3; n++)
		atk_attach(test, mock, 0, order[n], 0);
	KUNIT_EXPECT_EQ(test, fn->attach[1].tag->id, fn->attach[2].tag->id);
	KUNIT_EXPECT_EQ(test, fn->attach[1].tag->id, fn->attach[3].tag->id);
	for (n = 0; n < 3; n++) {
		atk_expect_list(test, &mock->domain[0], 2 * (3 - n));
		atk_expect_flushed(test, &mock->domain[0]);
		atk_expect_count(test, mock, 3 - n, 3 - n, 1);
		KUNIT_EXPECT_TRUE(test, imock_has_tags(mock));
		atk_detach(test, mock, 0, order[n]);
	}
	KUNIT_EXPECT_FALSE(test, imock_has_tags(mock));
}

/* A domain has another tag at each instance: what is free there. */
static void instances_have_their_own_tags(struct kunit *test)
{
	struct imock *mock = atk_machine(test, &imock_drivers[IMOCK_SMMU], 2, 2);
	struct imock_fn *fn = mock->fn;

	atk_attach(test, mock, 1, 2, 1);
	atk_attach(test, mock, 0, 1, 0);
	atk_attach(test, mock, 1, 1, 0);
	KUNIT_EXPECT_EQ(test, 1, fn[0].attach[1].tag->id);
	KUNIT_EXPECT_EQ(test, 2, fn[1].attach[1].tag->id);
	atk_expect_flushed(test, &mock->domain[0]);
	atk_expect_flushed(test, &mock->domain[1]);
}

#define ATK_KEYS	5
#define ATK_ORDERS	120	/* ATK_KEYS! */

/* The @nr-th order of a few things */
static void atk_permute(unsigned int *order, unsigned int nr)
{
	unsigned int n, pick;

	for (n = 0; n < ATK_KEYS; n++)
		order[n] = n;
	for (n = ATK_KEYS; n > 1; n--) {
		pick = nr % n;
		nr /= n;
		swap(order[pick], order[n - 1]);
	}
}

/* Of two instances; a driver with tags per function has most elements. */
static void sorted_after_every_order(struct kunit *test)
{
	static const struct {
		unsigned int fn;
		u32 pasid;
	} key[ATK_KEYS] = { { 0, 1 }, { 0, 2 }, { 1, 1 }, { 2, 1 }, { 3, 2 } };
	struct imock *mock = atk_machine(test, &imock_drivers[IMOCK_AMD], 2, 4);
	unsigned int order[ATK_KEYS];
	unsigned int nr, n;

	for (nr = 0; nr < ATK_ORDERS; nr++) {
		atk_permute(order, nr);
		for (n = 0; n < ATK_KEYS; n++) {
			atk_attach(test, mock, key[order[n]].fn,
				   key[order[n]].pasid, 0);
			atk_expect_list(test, &mock->domain[0], 2 * (n + 1));
		}
		for (n = 0; n < ATK_KEYS; n++) {
			atk_detach(test, mock, key[n].fn, key[n].pasid);
			atk_expect_list(test, &mock->domain[0],
					2 * (ATK_KEYS - n - 1));
		}
	}
}

static bool atk_is_own(struct imock_fn *fn, u32 pasid)
{
	struct iommu_alist *list = &fn->attached[pasid]->list;
	struct iommu_alist_attach *attach = &fn->attach[pasid];

	return attach->tag == &list->own[IOMMU_ALIST_TAG] &&
		attach->atc == &list->own[IOMMU_ALIST_ATC];
}

static void first_attachment_allocates_nothing(struct kunit *test)
{
	struct imock *mock = atk_machine(test, test->param_value, 2, 2);

	atk_prepare_and_cancel(test, mock, 0, 1);
	atk_attach(test, mock, 0, 1, 0);
	KUNIT_EXPECT_TRUE(test, atk_is_own(&mock->fn[0], 1));
	atk_attach(test, mock, 1, 1, 0);
	KUNIT_EXPECT_FALSE(test, atk_is_own(&mock->fn[1], 1));
}

/* What polling wants to see can take longer than one grace period. */
static void atk_wait_for_own(struct imock_domain *domain)
{
	unsigned int n;

	for (n = 0; n < ARRAY_SIZE(domain->list.own); n++)
		while (!poll_state_synchronize_rcu(domain->list.own[n].retired))
			synchronize_rcu();
}

static void own_elements_return(struct kunit *test)
{
	struct imock *mock = atk_machine(test, test->param_value, 1, 1);
	unsigned int n;

	for (n = 0; n < 3; n++) {
		atk_attach(test, mock, 0, 1, 0);
		KUNIT_EXPECT_TRUE(test, atk_is_own(&mock->fn[0], 1));
		atk_expect_flushed(test, &mock->domain[0]);
		atk_detach(test, mock, 0, 1);
		atk_wait_for_own(&mock->domain[0]);
	}
}

/* --- commands --- */

/* Of six functions behind three instances; number 4 has no ATC. */
struct atk_streams {
	const char *name;
	enum imock_driver_id driver;
	const char *all;
	const char *tags;
	const char *atcs;
	const char *detach;	/* of function 2 */
	const char *itself;	/* its domain replaced by the same one */
};

static const struct atk_streams atk_streams[] = {
	{
		"vtd", IMOCK_VTD,
		"T0A0A0S0T1A1S1T2A2A2S2W0W1W2",
		"T0S0T1S1T2S2W0W1W2",
		"A0A0S0A1S1A2A2S2W0W1W2",
		"T2A2S2W2",
		"T2S2W2T2A2S2W2",
	}, {
		"vtd_sl", IMOCK_VTD_SL,
		"T0A0A0S0T1A1S1T2A2A2S2W0W1W2",
		"T0S0T1S1T2S2W0W1W2",
		"A0A0S0A1S1A2A2S2W0W1W2",
		"T2A2S2W2",
		"T2S2W2T2A2S2W2",
	}, {
		"smmu", IMOCK_SMMU,
		"T0S0T1S1T2S2W0W1W2A0A0S0A1S1A2A2S2W0W1W2",
		"T0S0T1S1T2S2W0W1W2",
		"A0A0S0A1S1A2A2S2W0W1W2",
		"A2S2W2",
		"T2S2W2A2S2W2",
	}, {
		"amd", IMOCK_AMD,
		"T0T0A0A0S0T1T1A1S1T2T2A2A2S2W0W1W2",
		"T0T0S0T1T1S1T2T2S2W0W1W2",
		"A0A0S0A1S1A2A2S2W0W1W2",
		"T2A2S2W2",
		"T2S2W2T2A2S2W2",
	},
};

KUNIT_ARRAY_PARAM_DESC(stream, atk_streams, name);

static struct imock *atk_stream_machine(struct kunit *test)
{
	const struct atk_streams *streams = test->param_value;
	struct imock *mock = atk_machine(test, &imock_drivers[streams->driver],
					 3, 6);

	imock_set_ats(&mock->fn[4], false);
	atk_attach_all(test, mock);
	imock_access_all(mock);
	return mock;
}

/* Tags before ATCs, instances in order, all issued before any is waited for */
static void order_of_commands(struct kunit *test)
{
	const struct atk_streams *streams = test->param_value;
	struct imock *mock = atk_stream_machine(test);

	atk_expect_flushed(test, &mock->domain[0]);
	atk_expect_stream(test, mock, ATK_EVERYWHERE, streams->all);
}

/* An interrupt that comes while a walk waits for tags */
struct atk_irq {
	struct hrtimer timer;
	bool came;
	bool in_time;		/* before the walk went on with ATCs */
};

static enum hrtimer_restart atk_irq_comes(struct hrtimer *timer)
{
	struct atk_irq *irq = container_of(timer, struct atk_irq, timer);

	WRITE_ONCE(irq->came, true);
	return HRTIMER_NORESTART;
}

static void atk_raise_irq(struct imock_walk *mw, enum imock_what what,
			  unsigned int inst)
{
	struct atk_irq *irq = mw->mock->priv;

	if (what == IMOCK_WAIT && !mw->mock->inst[inst].count[IMOCK_ATC]) {
		hrtimer_start(&irq->timer, 0, HRTIMER_MODE_REL_PINNED_HARD);
		mdelay(20);
		if (READ_ONCE(irq->came))
			imock_complain(mw->mock, "interrupt in a walk");
	} else if (what == IMOCK_SYNC && mw->cmd[0].what == IMOCK_ATC) {
		irq->in_time = READ_ONCE(irq->came);
	}
}

static struct imock *atk_irq_machine(struct kunit *test, struct atk_irq *irq)
{
	static struct imock_driver driver;
	struct imock *mock;

	driver = imock_drivers[IMOCK_SMMU];
	driver.ops.flags |= IOMMU_ALIST_IRQS_OFF;
	mock = atk_machine(test, &driver, 1, 1);
	mock->priv = irq;
	hrtimer_init_on_stack(&irq->timer, CLOCK_MONOTONIC,
			      HRTIMER_MODE_REL_PINNED_HARD);
	irq->timer.function = atk_irq_comes;
	return mock;
}

static void atk_expect_irq(struct kunit *test, struct imock *mock,
			   struct atk_irq *irq)
{
	KUNIT_EXPECT_FALSE(test, irqs_disabled());
	hrtimer_cancel(&irq->timer);
	KUNIT_EXPECT_TRUE(test, irq->in_time);
	atk_expect_stream(test, mock, ATK_EVERYWHERE, "T0S0W0A0S0W0");
}

/* It has to wait until the walk holds no slots, but not for the whole walk. */
static void interrupt_between_the_phases(struct kunit *test)
{
	struct atk_irq irq = {};
	struct imock *mock = atk_irq_machine(test, &irq);
	struct imock_walk mw;

	atk_attach_all(test, mock);
	imock_clear(mock);
	atk_walk_init(&mw, mock);
	mw.hook = atk_raise_irq;
	KUNIT_EXPECT_EQ(test, 0, iommu_alist_flush(&mock->domain[0].list,
						   &mw.walk));
	imock_walk_end(&mw);
	atk_expect_irq(test, mock, &irq);

	imock_clear(mock);
	irq.came = false;
	irq.in_time = false;
	mock->hook = atk_raise_irq;
	atk_detach(test, mock, 0, 1);
	mock->hook = NULL;
	atk_expect_irq(test, mock, &irq);
	destroy_hrtimer_on_stack(&irq.timer);
}

static void kinds_are_separate(struct kunit *test)
{
	const struct atk_streams *streams = test->param_value;
	struct imock *mock = atk_stream_machine(test);
	struct imock_domain *domain = &mock->domain[0];

	atk_change(domain);
	atk_flush_kinds(domain, BIT(IOMMU_ALIST_TAG));
	atk_expect_stream(test, mock, ATK_EVERYWHERE, streams->tags);
	KUNIT_EXPECT_NE(test, 0, atk_stale(domain));
	imock_clear(mock);
	atk_flush_kinds(domain, BIT(IOMMU_ALIST_ATC));
	atk_expect_stream(test, mock, ATK_EVERYWHERE, streams->atcs);
	KUNIT_EXPECT_EQ(test, 0, atk_stale(domain));
}

static void detach_commands_its_own_only(struct kunit *test)
{
	const struct atk_streams *streams = test->param_value;
	struct imock *mock = atk_stream_machine(test);

	imock_clear(mock);
	atk_detach(test, mock, 2, 1);
	atk_expect_stream(test, mock, ATK_EVERYWHERE, streams->detach);
}

/* One more attachment of a tag comes and goes: the walk says that nothing is left. */
static void atk_attach_and_remove(struct kunit *test, struct imock_fn *fn,
				  u32 pasid)
{
	struct imock_domain *domain = fn->attached[1];
	struct iommu_alist_where where = imock_where(fn, pasid, domain);
	struct iommu_alist_attach attach;
	struct imock_walk mw;

	mutex_lock(&domain->list.lock);
	KUNIT_ASSERT_EQ(test, 0, iommu_alist_prepare(&domain->list, &attach,
						     &where));
	atk_walk_init(&mw, domain->mock);
	KUNIT_EXPECT_EQ(test, 0, iommu_alist_commit(&domain->list, &attach,
						    &mw.walk));
	imock_walk_end(&mw);
	atk_walk_init(&mw, domain->mock);
	KUNIT_EXPECT_EQ(test, 0, iommu_alist_remove(&domain->list, &attach,
						    &mw.walk));
	KUNIT_EXPECT_EQ(test, 0, mw.walk.failed);
	imock_walk_end(&mw);
	mutex_unlock(&domain->list.lock);
}

/* What the IOTLB has is others', too. The last one to go flushes it. */
static void tag_in_use_is_not_flushed(struct kunit *test)
{
	struct imock *mock = atk_machine(test, &imock_drivers[IMOCK_SMMU],
					 1, 3);
	struct imock_domain *domain = &mock->domain[0];

	imock_set_ats(&mock->fn[1], false);
	atk_attach_all(test, mock);
	atk_attach_and_remove(test, &mock->fn[0], 2);
	imock_access_all(mock);
	imock_clear(mock);
	atk_detach(test, mock, 0, 1);
	atk_expect_stream(test, mock, ATK_EVERYWHERE, "A0S0W0");
	imock_clear(mock);
	atk_detach(test, mock, 1, 1);
	atk_expect_stream(test, mock, ATK_EVERYWHERE, "");
	atk_expect_list(test, domain, 2);
	atk_expect_flushed(test, domain);

	imock_access_all(mock);
	imock_clear(mock);
	atk_detach(test, mock, 2, 1);
	atk_expect_stream(test, mock, ATK_EVERYWHERE, "T0S0W0A0S0W0");
	KUNIT_EXPECT_FALSE(test, imock_has_tags(mock));
}

/* The driver has no command for the ATCs at one of two instances. */
static void nothing_to_send_no_sync(struct kunit *test)
{
	struct imock *mock = atk_machine(test, test->param_value, 2, 2);

	mock->fn[1].quiet = true;
	atk_attach_all(test, mock);
	imock_clear(mock);
	atk_flush_kinds(&mock->domain[0], BIT(IOMMU_ALIST_ATC));
	atk_expect_stream(test, mock, ATK_EVERYWHERE, "A0S0W0");
}

struct atk_join {
	const char *name;
	enum imock_driver_id driver;
	bool first_ats;
	unsigned int fn;	/* 2 is behind the instance of 0, 1 is not */
	bool ats;
	u32 pasid;
	const char *stream;
};

/* Function 0 is attached with PASID 1, then comes another. */
static const struct atk_join atk_joins[] = {
	{ "vtd: ATC",		IMOCK_VTD,    true,  2, true,  1, "T0S0W0" },
	{ "vtd: first ATC",	IMOCK_VTD,    false, 2, true,  1, "T0S0W0" },
	{ "vtd: no ATC",	IMOCK_VTD,    true,  2, false, 1, "" },
	{ "vtd: no ATC at all",	IMOCK_VTD,    false, 2, false, 1, "" },
	{ "vtd: new PASID",	IMOCK_VTD,    true,  2, true,  2, "" },
	{ "vtd: new instance",	IMOCK_VTD,    true,  1, true,  1, "" },
	{ "vtd_sl: ATC",	IMOCK_VTD_SL, true,  2, true,  1, "T0S0W0" },
	{ "vtd_sl: no ATC",	IMOCK_VTD_SL, true,  2, false, 1, "" },
	{ "vtd_sl: new PASID",	IMOCK_VTD_SL, true,  2, true,  2, "" },
	{ "vtd_sl: new instance", IMOCK_VTD_SL, true, 1, true, 1, "" },
	{ "smmu: ATC",		IMOCK_SMMU,   true,  2, true,  1, "T0S0W0" },
	{ "smmu: new PASID",	IMOCK_SMMU,   true,  2, true,  2, "T0S0W0" },
	{ "smmu: no ATC",	IMOCK_SMMU,   true,  2, false, 1, "" },
	{ "smmu: new instance",	IMOCK_SMMU,   true,  1, true,  1, "" },
	{ "amd: own tag",	IMOCK_AMD,    true,  2, true,  1, "" },
	{ "amd: new instance",	IMOCK_AMD,    true,  1, true,  1, "" },
};

KUNIT_ARRAY_PARAM_DESC(join, atk_joins, name);

static void join_flushes_the_tag(struct kunit *test)
{
	const struct atk_join *join = test->param_value;
	struct imock *mock = atk_machine(test, &imock_drivers[join->driver],
					 2, 3);

	imock_set_ats(&mock->fn[0], join->first_ats);
	imock_set_ats(&mock->fn[join->fn], join->ats);
	atk_attach(test, mock, 0, 1, 0);
	imock_access_all(mock);
	imock_clear(mock);
	atk_attach(test, mock, join->fn, join->pasid, 0);
	atk_expect_stream(test, mock, ATK_EVERYWHERE, join->stream);
	atk_expect_flushed(test, &mock->domain[0]);
}

/* One tag and 17 ATCs, in batches of 16: the second waits for the first. */
static void batch_overflows(struct kunit *test)
{
	struct imock *mock = atk_machine(test, &imock_drivers[IMOCK_VTD_SL],
					 1, 17);

	atk_attach_all(test, mock);
	atk_expect_flushed(test, &mock->domain[0]);
	atk_expect_stream(test, mock, 0,
			  "T0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0S0W0A0A0S0W0");
}

/* What comes behind a batch that failed for good is sent all the same. */
static void batch_fails_and_the_next_does_not(struct kunit *test)
{
	struct imock *mock = atk_machine(test, &imock_drivers[IMOCK_VTD_SL],
					 1, 17);

	atk_attach_all(test, mock);
	imock_clear(mock);
	imock_break(&mock->inst[0], -EIO);
	KUNIT_EXPECT_EQ(test, -EIO, atk_flush(&mock->domain[0]));
	imock_break(&mock->inst[0], 0);
	atk_expect_stream(test, mock, 0,
			  "T0A0A0A0A0A0A0A0A0A0A0A0A0A0A0A0S0W0A0A0S0W0");
}

/*
 * Elements of eight commands, in batches of three. Of those of a tag only the last has
 * a sync; those of ATCs have one each.
 */
static void element_goes_on_in_the_next_batch(struct kunit *test)
{
	struct imock *mock = atk_machine(test, &imock_by_page, 2, 3);
	struct imock_domain *domain = &mock->domain[0];

	atk_attach_all(test, mock);
	imock_access_all(mock);
	atk_change(domain);
	atk_flush_kinds(domain, BIT(IOMMU_ALIST_TAG));
	atk_expect_stream(test, mock, ATK_EVERYWHERE,
			  "T0T0T0T0T0T0T0T0S0T1T1T1T1T1T1T1T1S1W0W1");
	imock_clear(mock);
	atk_flush_kinds(domain, BIT(IOMMU_ALIST_ATC));
	atk_expect_stream(test, mock, 0,
			  "A0A0A0S0W0A0A0A0S0W0A0A0A0S0W0A0A0A0S0W0A0A0A0S0W0A0S0W0");
	atk_expect_stream(test, mock, 1, "A1A1A1S1W1A1A1A1S1W1A1A1S1W1");
	KUNIT_EXPECT_EQ(test, 0, atk_stale(domain));
}

/* One of two queues takes no batch without a sync. */
static void element_goes_on_with_syncs(struct kunit *test)
{
	struct imock *mock = atk_machine(test, &imock_by_page, 2, 2);

	mock->inst[0].needs_sync = true;
	imock_set_ats(&mock->fn[0], false);
	imock_set_ats(&mock->fn[1], false);
	atk_attach_all(test, mock);
	atk_expect_flushed(test, &mock->domain[0]);
	atk_expect_stream(test, mock, ATK_EVERYWHERE,
			  "T0T0T0S0W0T0T0T0S0W0T0T0S0T1T1T1T1T1T1T1T1S1W0W1");
}

/* A queue that does not answer is not asked for the rest. */
static void element_ends_when_a_batch_fails(struct kunit *test)
{
	struct imock *mock = atk_machine(test, &imock_by_page, 2, 2);
	struct imock_domain *domain = &mock->domain[0];

	mock->inst[0].needs_sync = true;
	atk_attach_all(test, mock);
	imock_access_all(mock);
	atk_change(domain);
	imock_break(&mock->inst[0], -EIO);
	KUNIT_EXPECT_EQ(test, -EIO, atk_flush(domain));
	imock_break(&mock->inst[0], 0);
	atk_expect_stream(test, mock, 0, "T0T0T0S0W0A0A0A0S0W0");
	KUNIT_EXPECT_EQ(test, 1, imock_access(&mock->fn[0], 1, 0));
	KUNIT_EXPECT_EQ(test, 2, imock_access(&mock->fn[1], 1, 0));
}

/* Any of six batches, and what is repeated */
static void element_aborts_in_the_middle(struct kunit *test)
{
	struct imock *mock = atk_machine(test, &imock_by_page, 1, 1);
	struct imock_domain *domain = &mock->domain[0];
	unsigned int n;

	atk_attach_all(test, mock);
	for (n = 1; n <= 6; n++) {
		imock_access_all(mock);
		atk_change(domain);
		imock_abort(&mock->inst[0], n);
		KUNIT_EXPECT_EQ(test, 0, atk_flush(domain));
		KUNIT_EXPECT_EQ(test, 0, atk_stale(domain));
		KUNIT_EXPECT_EQ(test, 1, imock_aborts(mock));
	}
}

/* A batch without a sync was aborted: the sync behind it says so, and all is repeated. */
static void aborted_batch_without_sync(struct kunit *test)
{
	struct imock *mock = atk_machine(test, &imock_by_page, 1, 1);
	struct imock_domain *domain = &mock->domain[0];

	imock_set_ats(&mock->fn[0], false);
	atk_attach_all(test, mock);
	imock_access_all(mock);
	atk_change(domain);
	imock_abort(&mock->inst[0], 1);
	KUNIT_EXPECT_EQ(test, 0, atk_flush(domain));
	KUNIT_EXPECT_EQ(test, 0, atk_stale(domain));
	atk_expect_stream(test, mock, ATK_EVERYWHERE,
			  "T0T0T0T0T0T0T0T0S0W0T0T0T0S0W0T0T0T0S0W0T0T0S0W0");
}

/* Its last user goes, and has it flushed, while a walk is in the middle of its tag. */
static void atk_tag_loses_its_user(struct imock_walk *mw, enum imock_what what,
				   unsigned int inst)
{
	if (what == IMOCK_IOTLB)
		mw->mock->fn[inst].attach[1].tag->users = 0;
}

/* What was handed over without a sync gets one, whatever becomes of the rest. */
static void batch_without_sync_gets_one(struct kunit *test)
{
	struct imock *mock = atk_machine(test, &imock_by_page, 2, 2);
	struct imock_walk mw;

	imock_set_ats(&mock->fn[0], false);
	imock_set_ats(&mock->fn[1], false);
	atk_attach_all(test, mock);
	imock_clear(mock);
	atk_walk_init(&mw, mock);
	mw.hook = atk_tag_loses_its_user;
	KUNIT_EXPECT_EQ(test, 0, iommu_alist_flush(&mock->domain[0].list,
						   &mw.walk));
	imock_walk_end(&mw);
	atk_expect_stream(test, mock, ATK_EVERYWHERE,
			  "T0T0T0S0T1T1T1S1W0W1");
	mock->fn[0].attach[1].tag->users = 1;
	mock->fn[1].attach[1].tag->users = 1;
}

/* Two instances, both of them more than once */
static void batches_overflow_in_turn(struct kunit *test)
{
	struct imock *mock = atk_machine(test, test->param_value, 2, 20);
	unsigned int n, pasid;

	for (n = 0; n < 20; n++)
		for (pasid = 1; pasid < IMOCK_PASIDS; pasid++)
			atk_attach(test, mock, n, pasid, 0);
	atk_expect_flushed(test, &mock->domain[0]);
	KUNIT_EXPECT_EQ(test, 140, imock_count(mock, IMOCK_ATC));
	KUNIT_EXPECT_GE(test, imock_count(mock, IMOCK_SYNC), 4);
	KUNIT_EXPECT_EQ(test, imock_count(mock, IMOCK_SYNC),
			imock_count(mock, IMOCK_WAIT));
}

static void more_instances_than_pending_syncs(struct kunit *test)
{
	struct imock *mock = atk_machine(test, test->param_value,
					 IOMMU_ALIST_MAX_PENDING + 4,
					 IOMMU_ALIST_MAX_PENDING + 4);
	bool two = mock->driver->ops.flags & IOMMU_ALIST_SYNC_BEFORE_ATC;
	unsigned int n;

	atk_attach_all(test, mock);
	atk_expect_flushed(test, &mock->domain[0]);
	for (n = 0; n < mock->nr_inst; n++) {
		KUNIT_EXPECT_EQ(test, two ? 2 : 1,
				mock->inst[n].count[IMOCK_SYNC]);
		KUNIT_EXPECT_EQ(test, two ? 2 : 1,
				mock->inst[n].count[IMOCK_WAIT]);
	}
}

enum atk_ats {
	ATK_NO_ATS,
	ATK_ALL_ATS,
	ATK_SOME_ATS,
};

struct atk_shape {
	const char *name;
	unsigned int fns;
	unsigned int insts;
	unsigned int pasids;
	enum atk_ats ats;
};

static const struct atk_shape atk_shapes[] = {
	{ "D=1 I=1 P=1 no ATS",    1,  1, 1, ATK_NO_ATS },
	{ "D=1 I=1 P=1 ATS",       1,  1, 1, ATK_ALL_ATS },
	{ "D=8 I=1 P=1 no ATS",    8,  1, 1, ATK_NO_ATS },
	{ "D=8 I=1 P=1 ATS",       8,  1, 1, ATK_ALL_ATS },
	{ "D=8 I=4 P=1 ATS",       8,  4, 1, ATK_ALL_ATS },
	{ "D=8 I=8 P=1 no ATS",    8,  8, 1, ATK_NO_ATS },
	{ "D=8 I=8 P=1 ATS",       8,  8, 1, ATK_ALL_ATS },
	{ "D=8 I=8 P=1 mixed",     8,  8, 1, ATK_SOME_ATS },
	{ "D=15 I=1 P=1 ATS",      15, 1, 1, ATK_ALL_ATS },
	{ "D=16 I=1 P=1 ATS",      16, 1, 1, ATK_ALL_ATS },
	{ "D=7 I=3 P=3 mixed",     7,  3, 3, ATK_SOME_ATS },
	{ "D=8 I=4 P=4 ATS",       8,  4, 4, ATK_ALL_ATS },
	{ "D=16 I=4 P=7 no ATS",   16, 4, 7, ATK_NO_ATS },
	{ "D=16 I=16 P=2 mixed",   16, 16, 2, ATK_SOME_ATS },
};

KUNIT_ARRAY_PARAM_DESC(shape, atk_shapes, name);

static bool atk_shape_ats(const struct atk_shape *shape, unsigned int fn)
{
	if (shape->ats == ATK_SOME_ATS)
		return fn % 3;
	return shape->ats == ATK_ALL_ATS;
}

static unsigned int atk_shape_tags(const struct atk_shape *shape,
				   enum imock_driver_id id, unsigned int fns)
{
	switch (id) {
	case IMOCK_SMMU:
		return 1;
	case IMOCK_AMD:
		return fns * shape->pasids;
	default:
		return shape->pasids;
	}
}

/* With as many commands, how often the instance has to be waited for */
static unsigned int atk_shape_syncs(enum imock_driver_id id, unsigned int tags,
				    unsigned int atcs)
{
	switch (id) {
	case IMOCK_SMMU:
		return 1 + !!atcs;
	case IMOCK_AMD:
		return 1;
	default:
		return DIV_ROUND_UP(tags + atcs, 16);
	}
}

/* The least that will do for one page: a command per tag, and one per ATC */
static void atk_expect_limit(struct kunit *test, const struct atk_shape *shape,
			     enum imock_driver_id id, struct imock *mock)
{
	unsigned int inst, n, fns, tags, atcs;
	unsigned int iotlb = 0, atc = 0, sync = 0;

	for (inst = 0; inst < shape->insts; inst++) {
		fns = 0;
		atcs = 0;
		for (n = inst; n < shape->fns; n += shape->insts) {
			fns++;
			atcs += atk_shape_ats(shape, n) * shape->pasids;
		}
		tags = atk_shape_tags(shape, id, fns);
		iotlb += tags;
		atc += atcs;
		sync += atk_shape_syncs(id, tags, atcs);
	}
	atk_expect_count(test, mock, iotlb, atc, sync);
}

static struct imock *atk_shape_machine(struct kunit *test,
				       const struct atk_shape *shape,
				       enum imock_driver_id id)
{
	struct imock *mock = atk_machine(test, &imock_drivers[id],
					 shape->insts, shape->fns);
	unsigned int n, pasid;

	for (n = 0; n < shape->fns; n++) {
		imock_set_ats(&mock->fn[n], atk_shape_ats(shape, n));
		for (pasid = 1; pasid <= shape->pasids; pasid++)
			atk_attach(test, mock, n, pasid, 0);
	}
	return mock;
}

static void no_more_commands_than_necessary(struct kunit *test)
{
	const struct atk_shape *shape = test->param_value;
	enum imock_driver_id id;
	struct imock *mock;

	for (id = 0; id < IMOCK_NR_DRIVERS; id++) {
		mock = atk_shape_machine(test, shape, id);
		imock_access_all(mock);
		atk_change(&mock->domain[0]);
		imock_flush(&mock->domain[0], IOMMU_ALIST_ALL_KINDS, 3, 3);
		atk_expect_limit(test, shape, id, mock);
		KUNIT_EXPECT_EQ(test, 0, imock_stale(&mock->domain[0], 3, 2));
		KUNIT_EXPECT_NE(test, 0, imock_stale(&mock->domain[0], 4, 2));
		atk_exit(test);
	}
}

/* --- functions with several IDs --- */

/* A function with three IDs, two of which are aliases of one */
static const u32 atk_ids[] = { 2, 0, 2, 1 };
static const u32 atk_distinct_ids[] = { 2, 0, 1 };

static void atk_attach_ids(struct kunit *test, struct imock *mock)
{
	unsigned int nr = ARRAY_SIZE(atk_ids);

	KUNIT_ASSERT_EQ(test, 0, imock_attach_ids(mock, 1, &mock->domain[0],
						  atk_ids, &nr));
	KUNIT_EXPECT_EQ(test, ARRAY_SIZE(atk_distinct_ids), nr);
}

static int atk_detach_ids(struct imock *mock)
{
	return imock_detach_ids(mock, 1, atk_distinct_ids,
				ARRAY_SIZE(atk_distinct_ids));
}

/* One tag, which the last ID takes with it, and an ATC for each */
static void ids_share_a_tag(struct kunit *test)
{
	struct imock *mock = atk_machine(test, &imock_drivers[IMOCK_SMMU],
					 1, 3);
	struct imock_domain *domain = &mock->domain[0];

	atk_attach_ids(test, mock);
	atk_expect_stream(test, mock, ATK_EVERYWHERE, "");
	atk_expect_list(test, domain, 4);
	atk_expect_flushed(test, domain);
	atk_expect_stream(test, mock, ATK_EVERYWHERE, "T0S0W0A0A0A0S0W0");
	imock_access_all(mock);
	imock_clear(mock);
	KUNIT_EXPECT_EQ(test, 0, atk_detach_ids(mock));
	atk_expect_stream(test, mock, ATK_EVERYWHERE, "T0S0W0A0A0A0S0W0");
	atk_expect_list(test, domain, 0);
	KUNIT_EXPECT_FALSE(test, imock_has_tags(mock));
}

/* Function 3 has the tag before, and afterwards: it is flushed once, not for each ID. */
static void ids_join_a_tag(struct kunit *test)
{
	struct imock *mock = atk_machine(test, &imock_drivers[IMOCK_SMMU],
					 1, 4);
	struct imock_domain *domain = &mock->domain[0];

	atk_attach(test, mock, 3, 1, 0);
	imock_access_all(mock);
	imock_clear(mock);
	atk_attach_ids(test, mock);
	atk_expect_stream(test, mock, ATK_EVERYWHERE, "T0S0W0");
	atk_expect_flushed(test, domain);
	imock_access_all(mock);
	imock_clear(mock);
	KUNIT_EXPECT_EQ(test, 0, atk_detach_ids(mock));
	atk_expect_stream(test, mock, ATK_EVERYWHERE, "A0A0A0S0W0");
	atk_expect_list(test, domain, 2);
	atk_expect_flushed(test, domain);
}

/* The same IDs again: each of the new attachments shares both elements with an old one. */
static void ids_are_replaced_by_themselves(struct kunit *test)
{
	struct imock *mock = atk_machine(test, &imock_drivers[IMOCK_SMMU],
					 1, 3);
	struct imock_domain *domain = &mock->domain[0];
	struct iommu_alist_attach old[ARRAY_SIZE(atk_distinct_ids)];
	struct imock_walk mw;
	unsigned int n;

	atk_attach_ids(test, mock);
	for (n = 0; n < ARRAY_SIZE(old); n++)
		old[n] = mock->fn[atk_distinct_ids[n]].attach[1];
	imock_access_all(mock);
	imock_clear(mock);
	atk_attach_ids(test, mock);
	atk_walk_init(&mw, mock);
	mutex_lock(&domain->list.lock);
	KUNIT_EXPECT_EQ(test, 0,
			iommu_alist_remove_ids(&domain->list, old,
					       ARRAY_SIZE(old), &mw.walk));
	mutex_unlock(&domain->list.lock);
	imock_walk_end(&mw);
	atk_expect_stream(test, mock, ATK_EVERYWHERE, "T0S0W0A0A0A0S0W0");
	atk_expect_list(test, domain, 4);
	atk_expect_flushed(test, domain);
	KUNIT_EXPECT_EQ(test, 0, atk_detach_ids(mock));
	atk_expect_list(test, domain, 0);
}

/* Prepare a function's IDs, and think better of it. */
static void atk_cancel_ids(struct kunit *test, struct imock *mock, bool ats)
{
	struct imock_domain *domain = &mock->domain[0];
	struct iommu_alist_where where = imock_where(mock->fn, 1, domain);
	struct iommu_alist_attach attach[ARRAY_SIZE(atk_ids)];
	unsigned int nr = ARRAY_SIZE(atk_ids);

	where.ats = ats;
	mutex_lock(&domain->list.lock);
	KUNIT_EXPECT_EQ(test, 0,
			iommu_alist_prepare_ids(&domain->list, attach, &where,
						atk_ids, &nr));
	/* Without ATCs, the IDs have nothing but the tag. */
	KUNIT_EXPECT_EQ(test, ats ? ARRAY_SIZE(atk_distinct_ids) : 1, nr);
	iommu_alist_cancel_ids(&domain->list, attach, nr);
	mutex_unlock(&domain->list.lock);
}

static void cancel_of_ids_leaves_nothing(struct kunit *test)
{
	struct imock *mock = atk_machine(test, test->param_value, 1, 4);
	struct imock_domain *domain = &mock->domain[0];

	atk_cancel_ids(test, mock, true);
	atk_cancel_ids(test, mock, false);
	KUNIT_EXPECT_FALSE(test, imock_has_tags(mock));
	atk_attach(test, mock, 3, 1, 0);
	atk_cancel_ids(test, mock, true);
	atk_cancel_ids(test, mock, false);
	KUNIT_EXPECT_EQ(test, 1, mock->fn[3].attach[1].tag->users);
	atk_expect_stream(test, mock, ATK_EVERYWHERE, "");
	atk_expect_list(test, domain, 2);
	atk_expect_flushed(test, domain);
	atk_detach(test, mock, 3, 1);
	atk_expect_list(test, domain, 0);
}

/* --- replace --- */

static void replace_forgets_the_old(struct kunit *test)
{
	struct imock *mock = atk_machine(test, test->param_value, 1, 2);
	unsigned int n;

	atk_attach_all(test, mock);
	imock_access_all(mock);
	for (n = 1; n < 5; n++) {
		atk_replace(test, mock, 0, 1, n % 2);
		imock_access_all(mock);
		KUNIT_EXPECT_PTR_EQ(test, &mock->domain[n % 2],
				    mock->fn[0].attached[1]);
		atk_expect_flushed(test, &mock->domain[0]);
		atk_expect_flushed(test, &mock->domain[1]);
	}
	atk_replace(test, mock, 1, 1, 1);
	atk_expect_list(test, &mock->domain[0],
			mock->fn[0].attached[1] == &mock->domain[0] ? 2 : 0);
}

/*
 * Both lists are one: its lock is taken once, and the attachment that goes has both
 * elements in common with the one that comes.
 */
static void replace_by_itself(struct kunit *test)
{
	const struct atk_streams *streams = test->param_value;
	struct imock *mock = atk_stream_machine(test);
	struct imock_domain *domain = &mock->domain[0];
	struct iommu_alist_attach *attach = &mock->fn[2].attach[1];
	unsigned int users = attach->tag->users;

	imock_clear(mock);
	atk_replace(test, mock, 2, 1, 0);
	atk_expect_stream(test, mock, ATK_EVERYWHERE, streams->itself);
	KUNIT_EXPECT_FALSE(test, mutex_is_locked(&domain->list.lock));
	KUNIT_EXPECT_EQ(test, users, attach->tag->users);
	KUNIT_EXPECT_EQ(test, 1, attach->atc->users);
	atk_expect_flushed(test, domain);
	atk_expect_stream(test, mock, ATK_EVERYWHERE, streams->all);
}

/* In the middle of what an attach or a detach flushes: everybody flushes. */
static void atk_flush_in_between(struct imock_walk *mw, enum imock_what what,
				 unsigned int inst)
{
	struct imock *mock = mw->mock;
	unsigned int n;

	mock->hook = NULL;
	for (n = 0; n < IMOCK_DOMAINS; n++) {
		struct imock_domain *domain = &mock->domain[n];

		atk_change(domain);
		if (atk_flush(domain) || atk_stale(domain))
			imock_complain(mock, "stale when %u at %u", what, inst);
	}
	imock_access_all(mock);
	mock->hook = atk_flush_in_between;
}

/*
 * What was cached through an entry that is gone is still flushed by others until it
 * is flushed here: they may be about to free the memory.
 */
static void removed_after_its_flush(struct kunit *test)
{
	struct imock *mock = atk_machine(test, test->param_value, 2, 4);

	atk_attach_all(test, mock);
	imock_access_all(mock);
	mock->hook = atk_flush_in_between;
	atk_replace(test, mock, 0, 1, 1);
	atk_detach(test, mock, 2, 1);
	atk_detach(test, mock, 0, 1);
	atk_detach(test, mock, 1, 1);
	mock->hook = NULL;
}

/* --- walks that are overtaken --- */

/* A flush in a thread of its own, which is to stop at one of its callbacks */
struct atk_parked {
	struct imock_walk mw;
	struct imock_domain *domain;
	enum imock_what what;
	unsigned int inst;
	int error;
	struct completion reached;
	struct completion go_on;
	struct completion done;
};

static void atk_park(struct imock_walk *mw, enum imock_what what,
		     unsigned int inst)
{
	struct atk_parked *parked = container_of(mw, struct atk_parked, mw);

	if (parked->what != what || parked->inst != inst ||
	    completion_done(&parked->reached))
		return;
	complete_all(&parked->reached);
	while (!completion_done(&parked->go_on))
		cpu_relax();
}

static int atk_parked_fn(void *data)
{
	struct atk_parked *parked = data;

	parked->error = iommu_alist_flush(&parked->domain->list,
					  &parked->mw.walk);
	complete(&parked->done);
	return 0;
}

static void atk_unpark(void *data)
{
	struct atk_parked *parked = data;

	complete_all(&parked->go_on);
	wait_for_completion(&parked->done);
}

static void atk_go_on(struct kunit *test, struct atk_parked *parked)
{
	kunit_release_action(test, atk_unpark, parked);
	imock_walk_end(&parked->mw);
	KUNIT_EXPECT_EQ(test, 0, parked->error);
}

static struct atk_parked *atk_parked(struct kunit *test,
				     struct imock_domain *domain,
				     enum imock_what what, unsigned int inst)
{
	struct atk_parked *parked = kunit_kzalloc(test, sizeof(*parked),
						  GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, parked);
	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");
	atk_walk_init(&parked->mw, domain->mock);
	parked->mw.hook = atk_park;
	parked->domain = domain;
	parked->what = what;
	parked->inst = inst;
	init_completion(&parked->reached);
	init_completion(&parked->go_on);
	init_completion(&parked->done);
	return parked;
}

/* Start a flush, and return when it is where it is to stop. */
static struct atk_parked *atk_flush_and_park(struct kunit *test,
					     struct imock_domain *domain,
					     enum imock_what what,
					     unsigned int inst)
{
	struct atk_parked *parked = atk_parked(test, domain, what, inst);
	struct task_struct *task;

	task = kthread_run(atk_parked_fn, parked, "atk_parked");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, atk_unpark,
							   parked));
	KUNIT_ASSERT_NE(test, 0, wait_for_completion_timeout(&parked->reached,
							     ATK_TIMEOUT));
	return parked;
}

/*
 * A walk has read the list to its end, and its flush of the IOTLB is in the queue.
 * A function joins, and accesses the page: it must not get what is old.
 */
static void join_behind_a_walk(struct kunit *test)
{
	struct imock *mock = atk_machine(test, &imock_drivers[IMOCK_VTD_SL],
					 1, 2);
	struct imock_domain *domain = &mock->domain[0];
	struct atk_parked *parked;

	atk_attach(test, mock, 0, 1, 0);
	imock_access_all(mock);
	atk_change(domain);
	parked = atk_flush_and_park(test, domain, IMOCK_WAIT, 0);
	KUNIT_EXPECT_EQ(test, 1, imock_access(&mock->fn[0], 1, 0));

	atk_attach(test, mock, 1, 1, 0);
	KUNIT_EXPECT_EQ(test, 2, imock_access(&mock->fn[1], 1, 0));
	atk_go_on(test, parked);
	KUNIT_EXPECT_EQ(test, 0, atk_stale(domain));
}

/* The same for a function that is attached already, and whose ATS goes on now. */
static void ats_goes_on_behind_a_walk(struct kunit *test)
{
	struct imock *mock = atk_machine(test, &imock_drivers[IMOCK_VTD_SL],
					 1, 2);
	struct imock_domain *domain = &mock->domain[0];
	struct atk_parked *parked;

	imock_set_ats(&mock->fn[1], false);
	atk_attach(test, mock, 0, 1, 0);
	atk_attach(test, mock, 1, 1, 0);
	imock_access_all(mock);
	atk_change(domain);
	parked = atk_flush_and_park(test, domain, IMOCK_WAIT, 0);
	KUNIT_EXPECT_EQ(test, 1, imock_access(&mock->fn[1], 1, 0));

	KUNIT_EXPECT_EQ(test, 0, imock_enable_ats(&mock->fn[1], 1));
	KUNIT_EXPECT_EQ(test, 2, imock_access(&mock->fn[1], 1, 0));
	atk_go_on(test, parked);
	KUNIT_EXPECT_EQ(test, 0, atk_stale(domain));
	atk_expect_flushed(test, domain);
}

/* The same for a function with several IDs, with none of them. */
static void ids_join_behind_a_walk(struct kunit *test)
{
	struct imock *mock = atk_machine(test, &imock_drivers[IMOCK_VTD_SL],
					 1, 4);
	struct imock_domain *domain = &mock->domain[0];
	struct atk_parked *parked;
	unsigned int n;

	atk_attach(test, mock, 3, 1, 0);
	imock_access_all(mock);
	atk_change(domain);
	parked = atk_flush_and_park(test, domain, IMOCK_WAIT, 0);
	atk_attach_ids(test, mock);
	for (n = 0; n < 3; n++)
		KUNIT_EXPECT_EQ(test, 2, imock_access(&mock->fn[n], 1, 0));
	atk_go_on(test, parked);
	KUNIT_EXPECT_EQ(test, 0, atk_stale(domain));
}

/* Where a sync stands in between, whoever joins cannot be behind the tags only. */
static void join_between_the_phases(struct kunit *test)
{
	struct imock *mock = atk_machine(test, &imock_drivers[IMOCK_SMMU], 2, 4);
	struct imock_domain *domain = &mock->domain[0];
	struct atk_parked *parked;

	atk_attach(test, mock, 0, 1, 0);
	atk_attach(test, mock, 1, 1, 0);
	imock_access_all(mock);
	atk_change(domain);
	parked = atk_flush_and_park(test, domain, IMOCK_WAIT, 1);
	atk_attach(test, mock, 2, 1, 0);
	atk_attach(test, mock, 3, 1, 0);
	imock_access_all(mock);
	atk_go_on(test, parked);
	KUNIT_EXPECT_EQ(test, 0, atk_stale(domain));
}

/* The list's own elements must not become others under a walk that sees them. */
static void own_elements_wait_for_walks(struct kunit *test)
{
	struct imock *mock = atk_machine(test, &imock_drivers[IMOCK_VTD_SL],
					 2, 2);
	struct imock_domain *domain = &mock->domain[0];
	struct atk_parked *parked;

	atk_attach(test, mock, 1, 1, 0);
	KUNIT_EXPECT_TRUE(test, atk_is_own(&mock->fn[1], 1));
	atk_attach(test, mock, 0, 1, 0);

	parked = atk_flush_and_park(test, domain, IMOCK_SYNC, 0);
	atk_detach(test, mock, 1, 1);
	atk_attach(test, mock, 1, 1, 0);
	KUNIT_EXPECT_FALSE(test, atk_is_own(&mock->fn[1], 1));
	atk_go_on(test, parked);

	atk_detach(test, mock, 1, 1);
	atk_wait_for_own(domain);
	atk_attach(test, mock, 1, 1, 0);
	KUNIT_EXPECT_TRUE(test, atk_is_own(&mock->fn[1], 1));
}

/*
 * The walk submits what it has for instance 0, and stands on the first element of
 * instance 2. Something comes ahead of it, where it stands goes, and something comes
 * behind it.
 */
static void list_changes_under_a_walk(struct kunit *test)
{
	struct imock *mock = atk_machine(test, &imock_drivers[IMOCK_VTD_SL],
					 4, 4);
	struct imock_domain *domain = &mock->domain[0];
	struct atk_parked *parked;

	atk_attach(test, mock, 0, 1, 0);
	atk_attach(test, mock, 2, 1, 0);
	imock_access_all(mock);
	atk_change(domain);
	parked = atk_flush_and_park(test, domain, IMOCK_SYNC, 0);

	atk_attach(test, mock, 3, 1, 0);
	atk_detach(test, mock, 2, 1);
	atk_attach(test, mock, 1, 1, 0);
	imock_access_all(mock);
	imock_clear(mock);
	atk_go_on(test, parked);
	atk_expect_stream(test, mock, ATK_EVERYWHERE,
			  "T0A0S0T2S2T3A3S3W0W2W3");
	KUNIT_EXPECT_EQ(test, 0, atk_stale(domain));
}

/* What a driver does when a function goes away */
struct atk_release {
	struct imock_fn *fn;
	struct completion done;
};

static int atk_release_fn(void *data)
{
	struct atk_release *release = data;

	imock_detach(release->fn, 1);
	iommu_alist_synchronize();
	imock_set_ats(release->fn, false);
	complete_all(&release->done);
	return 0;
}

/* A walk has a command for a function that is about to switch off its ATC. */
static void synchronize_waits_for_walks(struct kunit *test)
{
	struct imock *mock = atk_machine(test, &imock_drivers[IMOCK_VTD_SL],
					 1, 2);
	struct atk_release release = { .fn = &mock->fn[1] };
	struct atk_parked *parked;
	struct task_struct *task;

	init_completion(&release.done);
	atk_attach_all(test, mock);
	parked = atk_flush_and_park(test, &mock->domain[0], IMOCK_SYNC, 0);
	task = kthread_run(atk_release_fn, &release, "atk_release");
	if (!IS_ERR(task))
		KUNIT_EXPECT_EQ(test, 0,
				wait_for_completion_timeout(&release.done,
							    HZ / 5));
	atk_go_on(test, parked);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	wait_for_completion(&release.done);
}

/* --- failures --- */

static void no_tag_left(struct kunit *test)
{
	struct imock *mock = atk_machine(test, test->param_value, 2, 2);
	struct imock_domain *domain = mock->domain;

	if (!mock->driver->ops.tag_alloc)
		kunit_skip(test, "tags are not allocated");
	atk_attach(test, mock, 0, 1, 0);
	imock_access_all(mock);
	mock->tag_error = -ENOSPC;
	KUNIT_EXPECT_EQ(test, -ENOSPC, imock_attach(&mock->fn[1], 1, &domain[0]));
	KUNIT_EXPECT_EQ(test, -ENOSPC,
			imock_replace(&mock->fn[0], 1, &domain[1]));
	mock->tag_error = 0;
	atk_expect_list(test, &domain[0], 2);
	atk_expect_list(test, &domain[1], 0);
	KUNIT_EXPECT_PTR_EQ(test, &domain[0], mock->fn[0].attached[1]);
	atk_expect_flushed(test, &domain[0]);
	atk_attach(test, mock, 1, 1, 0);
	atk_expect_flushed(test, &domain[0]);
}

/* One more attachment, of which the first @n - 1 allocations succeed */
static bool atk_attach_failing(struct kunit *test, struct imock *mock,
			       unsigned int n)
{
	int ret;

	nomem_nth(n);
	ret = imock_attach(&mock->fn[1], 1, &mock->domain[0]);
	if (!nomem_nth(0)) {
		KUNIT_EXPECT_EQ(test, 0, ret);
		return false;
	}
	KUNIT_EXPECT_EQ(test, -ENOMEM, ret);
	return ret;
}

/* Each allocation fails once; what is there stays as it is. */
static void no_memory_left(struct kunit *test)
{
	struct imock *mock = atk_machine(test, test->param_value, 2, 2);
	struct imock_domain *domain = &mock->domain[0];
	unsigned int n = 1;

	nomem_start(test, NOMEM_SLAB);
	atk_attach(test, mock, 0, 1, 0);
	while (atk_attach_failing(test, mock, n)) {
		KUNIT_EXPECT_FALSE(test, atk_has_tags(mock, 1));
		atk_expect_list(test, domain, 2);
		atk_expect_flushed(test, domain);
		n++;
	}
	KUNIT_EXPECT_GT(test, n, 2);
	atk_expect_list(test, domain, 4);
	atk_expect_flushed(test, domain);
}

/* As no_memory_left(), for a function with several IDs: all of them, or none */
static void no_memory_left_for_ids(struct kunit *test)
{
	struct imock *mock = atk_machine(test, test->param_value, 1, 4);
	struct imock_domain *domain = &mock->domain[0];
	unsigned int nr, n = 0;
	int ret;

	nomem_start(test, NOMEM_SLAB);
	atk_attach(test, mock, 3, 1, 0);
	do {
		nr = ARRAY_SIZE(atk_ids);
		imock_clear(mock);
		nomem_nth(++n);
		ret = imock_attach_ids(mock, 1, domain, atk_ids, &nr);
		if (nomem_nth(0))
			KUNIT_EXPECT_EQ(test, -ENOMEM, ret);
		if (ret) {
			atk_expect_stream(test, mock, ATK_EVERYWHERE, "");
			atk_expect_list(test, domain, 2);
		}
		atk_expect_flushed(test, domain);
	} while (ret && n < 20);
	KUNIT_EXPECT_EQ(test, 0, ret);
	KUNIT_EXPECT_GT(test, n, 3);
	KUNIT_EXPECT_EQ(test, 0, atk_detach_ids(mock));
	atk_expect_list(test, domain, 2);
}

/* Two functions behind each of three instances, all caches filled */
static struct imock *atk_fault_machine(struct kunit *test,
				       const struct imock_driver *driver)
{
	struct imock *mock = atk_machine(test, driver, 3, 6);

	atk_attach_all(test, mock);
	imock_access_all(mock);
	atk_change(&mock->domain[0]);
	return mock;
}

/* What one instance has dropped is repeated there, one by one. */
static void aborted_commands_are_repeated(struct kunit *test)
{
	struct imock *mock = atk_fault_machine(test,
					       &imock_drivers[IMOCK_VTD_SL]);

	imock_abort(&mock->inst[1], 1);
	KUNIT_EXPECT_EQ(test, 0, atk_flush(&mock->domain[0]));
	KUNIT_EXPECT_EQ(test, 0, atk_stale(&mock->domain[0]));
	atk_expect_stream(test, mock, 0, "T0A0A0S0W0");
	atk_expect_stream(test, mock, 1, "T1A1A1S1W1T1S1W1A1S1W1A1S1W1");
	atk_expect_stream(test, mock, 2, "T2A2A2S2W2");
}

static void aborted_phase_is_repeated(struct kunit *test)
{
	struct imock *mock = atk_fault_machine(test, &imock_drivers[IMOCK_SMMU]);
	struct imock_domain *domain = &mock->domain[0];

	imock_abort(&mock->inst[1], 1);
	KUNIT_EXPECT_EQ(test, 0, atk_flush(domain));
	KUNIT_EXPECT_EQ(test, 0, atk_stale(domain));
	atk_expect_stream(test, mock, 1, "T1S1W1T1S1W1A1A1S1W1");
	atk_expect_stream(test, mock, 2, "T2S2W2A2A2S2W2");

	imock_access_all(mock);
	atk_change(domain);
	imock_abort(&mock->inst[1], 2);
	KUNIT_EXPECT_EQ(test, 0, atk_flush(domain));
	KUNIT_EXPECT_EQ(test, 0, atk_stale(domain));
	atk_expect_stream(test, mock, 1, "T1S1W1A1A1S1W1A1S1W1A1S1W1");
}

static void every_instance_aborts(struct kunit *test)
{
	struct imock *mock = atk_fault_machine(test, test->param_value);
	unsigned int n;

	for (n = 0; n < 3; n++)
		imock_abort(&mock->inst[n], 1 + n % 2);
	KUNIT_EXPECT_EQ(test, 0, atk_flush(&mock->domain[0]));
	KUNIT_EXPECT_EQ(test, 0, atk_stale(&mock->domain[0]));
}

/* An abort that shows before all instances have been issued to */
static void abort_of_one_of_many_instances(struct kunit *test)
{
	struct imock *mock = atk_machine(test, test->param_value,
					 IOMMU_ALIST_MAX_PENDING + 4,
					 IOMMU_ALIST_MAX_PENDING + 4);
	unsigned int n;

	atk_attach_all(test, mock);
	for (n = 0; n < mock->nr_inst; n++) {
		imock_access_all(mock);
		atk_change(&mock->domain[0]);
		imock_abort(&mock->inst[n], 1);
		KUNIT_EXPECT_EQ(test, 0, atk_flush(&mock->domain[0]));
		KUNIT_EXPECT_EQ(test, 0, atk_stale(&mock->domain[0]));
	}
}

/* An abort, and room in the batch for half of what is repeated */
static void overflow_aborts(struct kunit *test)
{
	struct imock *mock = atk_machine(test, &imock_drivers[IMOCK_VTD_SL],
					 2, 40);
	unsigned int n;

	atk_attach_all(test, mock);
	for (n = 1; n < 4; n++) {
		imock_access_all(mock);
		atk_change(&mock->domain[0]);
		imock_abort(&mock->inst[0], n);
		KUNIT_EXPECT_EQ(test, 0, atk_flush(&mock->domain[0]));
		KUNIT_EXPECT_EQ(test, 0, atk_stale(&mock->domain[0]));
	}
}

/* It is kept from memory, or else nobody is told that it is clean. */
static void dead_function(struct kunit *test)
{
	struct imock *mock = atk_fault_machine(test, test->param_value);
	struct imock_domain *domain = &mock->domain[0];
	bool fences = mock->driver->ops.fence;

	imock_set_dead(&mock->fn[1], true);
	KUNIT_EXPECT_EQ(test, fences ? 0 : -EIO, atk_flush(domain));
	KUNIT_EXPECT_EQ(test, fences ? 0 : IMOCK_PAGES, atk_stale(domain));
	KUNIT_EXPECT_EQ(test, fences ? -EACCES : 1,
			imock_access(&mock->fn[1], 1, 0));
	KUNIT_EXPECT_EQ(test, 2, imock_access(&mock->fn[4], 1, 0));

	imock_set_dead(&mock->fn[1], false);
	KUNIT_EXPECT_EQ(test, 0, atk_flush(domain));
	KUNIT_EXPECT_EQ(test, 0, atk_stale(domain));
}

/* Its ATC was not told, but its tag is clean. */
static void removal_of_a_dead_function(struct kunit *test)
{
	struct imock *mock = atk_machine(test, test->param_value, 1, 1);
	bool fences = mock->driver->ops.fence;

	atk_attach(test, mock, 0, 1, 0);
	imock_access_all(mock);
	imock_set_dead(&mock->fn[0], true);
	KUNIT_EXPECT_EQ(test, fences ? 0 : -EIO, imock_detach(&mock->fn[0], 1));
	atk_expect_list(test, &mock->domain[0], 0);
	KUNIT_EXPECT_FALSE(test, imock_has_tags(mock));
}

/* The tag that is left on the list is not clean: its next user flushes it. */
static void atk_expect_flush_by_next_user(struct kunit *test, struct imock *mock)
{
	struct imock_domain *domain = &mock->domain[0];
	unsigned int syncs;

	atk_expect_list(test, domain, 1);
	KUNIT_ASSERT_FALSE(test, list_empty(&domain->list.elms));
	KUNIT_EXPECT_EQ(test, 0,
			list_first_entry(&domain->list.elms,
					 struct iommu_alist_elm, node)->users);
	/* The instance may be gone: walks do not go there. */
	imock_clear(mock);
	KUNIT_EXPECT_EQ(test, 0, atk_flush(domain));
	atk_expect_stream(test, mock, ATK_EVERYWHERE, "");

	atk_change(domain);
	imock_set_ats(&mock->fn[0], false);
	syncs = mock->inst[0].count[IMOCK_SYNC];
	atk_attach(test, mock, 0, 1, 0);
	KUNIT_EXPECT_EQ(test, syncs + 1, mock->inst[0].count[IMOCK_SYNC]);
	KUNIT_EXPECT_EQ(test, 2, imock_access(&mock->fn[0], 1, 0));
	atk_detach(test, mock, 0, 1);
	atk_expect_list(test, domain, 0);
	KUNIT_EXPECT_FALSE(test, imock_has_tags(mock));
}

/* A tag that others had chosen was left behind, and then is chosen for the domain. */
static void left_tag_is_chosen(struct kunit *test)
{
	struct imock *mock = atk_machine(test, &imock_drivers[IMOCK_VTD_SL],
					 1, 1);
	struct imock_domain *domain = &mock->domain[0];
	struct imock_fn *fn = &mock->fn[0];
	struct iommu_alist_where where;
	struct iommu_alist_attach attach;
	struct imock_walk mw;

	imock_set_ats(fn, false);
	where = imock_where(fn, 1, domain);
	where.choose_tag = false;
	where.tag = 1;
	mutex_lock(&domain->list.lock);
	KUNIT_ASSERT_EQ(test, 0, iommu_alist_prepare(&domain->list, &attach,
						     &where));
	atk_walk_init(&mw, mock);
	KUNIT_EXPECT_EQ(test, 0, iommu_alist_commit(&domain->list, &attach,
						    &mw.walk));
	imock_walk_end(&mw);
	imock_break(&mock->inst[0], -EIO);
	atk_walk_init(&mw, mock);
	KUNIT_EXPECT_EQ(test, -EIO,
			iommu_alist_remove(&domain->list, &attach, &mw.walk));
	imock_walk_end(&mw);
	imock_break(&mock->inst[0], 0);
	mutex_unlock(&domain->list.lock);

	atk_prepare_and_cancel(test, mock, 0, 1);
	KUNIT_EXPECT_FALSE(test, imock_has_tags(mock));
	atk_attach(test, mock, 0, 1, 0);
	KUNIT_EXPECT_EQ(test, 1, fn->attach[1].tag->id);
	atk_attach(test, mock, 0, 2, 0);
	KUNIT_EXPECT_EQ(test, 1, fn->attach[2].tag->id);
	atk_detach(test, mock, 0, 1);
	atk_detach(test, mock, 0, 2);
	KUNIT_EXPECT_FALSE(test, imock_has_tags(mock));
}

/* The tag may still be in use: it stays until its next user has flushed it. */
static void failed_removal_keeps_the_tag(struct kunit *test)
{
	struct imock *mock = atk_machine(test, test->param_value, 1, 1);
	struct imock_domain *domain = &mock->domain[0];

	atk_attach(test, mock, 0, 1, 0);
	imock_access_all(mock);
	imock_break(&mock->inst[0], -EIO);
	KUNIT_EXPECT_EQ(test, -EIO, imock_detach(&mock->fn[0], 1));
	KUNIT_EXPECT_EQ(test, -EIO,
			imock_attach(&mock->fn[0], 1, domain));
	imock_break(&mock->inst[0], 0);
	atk_expect_flush_by_next_user(test, mock);
}

/* Who went first did not flush it, as it was in use; who went last could not. */
static void failed_last_removal_keeps_the_tag(struct kunit *test)
{
	struct imock *mock = atk_machine(test, &imock_drivers[IMOCK_SMMU],
					 1, 2);

	atk_attach_all(test, mock);
	imock_access_all(mock);
	atk_detach(test, mock, 1, 1);
	imock_break(&mock->inst[0], -EIO);
	KUNIT_EXPECT_EQ(test, -EIO, imock_detach(&mock->fn[0], 1));
	imock_break(&mock->inst[0], 0);
	atk_expect_flush_by_next_user(test, mock);
}

/* The tag that the IDs join cannot be flushed: its other user keeps it. */
static void failed_commit_of_ids(struct kunit *test)
{
	struct imock *mock = atk_machine(test, &imock_drivers[IMOCK_SMMU],
					 1, 4);
	struct imock_domain *domain = &mock->domain[0];
	unsigned int nr = ARRAY_SIZE(atk_ids);

	atk_attach(test, mock, 3, 1, 0);
	imock_break(&mock->inst[0], -EIO);
	KUNIT_EXPECT_EQ(test, -EIO,
			imock_attach_ids(mock, 1, domain, atk_ids, &nr));
	imock_break(&mock->inst[0], 0);
	KUNIT_EXPECT_EQ(test, 1, mock->fn[3].attach[1].tag->users);
	atk_expect_list(test, domain, 2);
	atk_expect_flushed(test, domain);
}

/* None of its IDs gives the tag back. */
static void failed_removal_of_ids_keeps_the_tag(struct kunit *test)
{
	struct imock *mock = atk_machine(test, &imock_drivers[IMOCK_SMMU],
					 1, 3);

	atk_attach_ids(test, mock);
	imock_access_all(mock);
	imock_break(&mock->inst[0], -EIO);
	KUNIT_EXPECT_EQ(test, -EIO, atk_detach_ids(mock));
	imock_break(&mock->inst[0], 0);
	atk_expect_flush_by_next_user(test, mock);
}

/* A driver has left the tag out, perhaps because it took it for shared. */
static void removal_without_the_tag_keeps_it(struct kunit *test)
{
	struct imock *mock = atk_machine(test, test->param_value, 1, 1);

	atk_attach(test, mock, 0, 1, 0);
	imock_access_all(mock);
	KUNIT_EXPECT_EQ(test, 0,
			imock_detach_kinds(&mock->fn[0], 1,
					   BIT(IOMMU_ALIST_ATC)));
	atk_expect_flush_by_next_user(test, mock);
}

/* The PASID that went before left something behind under the same tag. */
static void failed_removal_keeps_the_shared_tag(struct kunit *test)
{
	struct imock *mock = atk_machine(test, &imock_drivers[IMOCK_VTD_SL],
					 1, 1);

	atk_attach(test, mock, 0, 1, 0);
	atk_attach(test, mock, 0, 2, 0);
	imock_access_all(mock);
	imock_break(&mock->inst[0], -EIO);
	KUNIT_EXPECT_EQ(test, -EIO, imock_detach(&mock->fn[0], 1));
	KUNIT_EXPECT_EQ(test, -EIO, imock_detach(&mock->fn[0], 2));
	imock_break(&mock->inst[0], 0);
	KUNIT_EXPECT_TRUE(test, imock_has_tags(mock));
	ida_destroy(&mock->inst[0].tags);
}

/* An abort, and a function that does not answer; but not the one that goes. */
static void removal_beside_a_dead_function(struct kunit *test)
{
	struct imock *mock = atk_machine(test, test->param_value, 1, 2);

	atk_attach_all(test, mock);
	imock_access_all(mock);
	imock_set_dead(&mock->fn[1], true);
	imock_abort(&mock->inst[0], 1);
	KUNIT_EXPECT_EQ(test, 0, imock_detach(&mock->fn[0], 1));
	imock_set_dead(&mock->fn[1], false);
}

/* Commands are given up in the end, and each one has been tried. */
static void every_command_aborts(struct kunit *test)
{
	struct imock *mock = atk_fault_machine(test,
					       &imock_drivers[IMOCK_VTD_SL]);

	imock_break(&mock->inst[1], -EAGAIN);
	KUNIT_EXPECT_EQ(test, -EIO, atk_flush(&mock->domain[0]));
	imock_break(&mock->inst[1], 0);
	KUNIT_EXPECT_EQ(test, 1 + 3 * 3, mock->inst[1].count[IMOCK_SYNC]);
	KUNIT_EXPECT_EQ(test, 1, mock->inst[2].count[IMOCK_SYNC]);
	KUNIT_EXPECT_EQ(test, 2, imock_access(&mock->fn[0], 1, 0));
	KUNIT_EXPECT_EQ(test, 1, imock_access(&mock->fn[1], 1, 0));
	KUNIT_EXPECT_EQ(test, 2, imock_access(&mock->fn[2], 1, 0));
}

/* A queue that does not answer at all is not asked again, nor are others. */
static void instance_times_out(struct kunit *test)
{
	struct imock *mock = atk_fault_machine(test,
					       &imock_drivers[IMOCK_VTD_SL]);

	imock_break(&mock->inst[1], -EIO);
	KUNIT_EXPECT_EQ(test, -EIO, atk_flush(&mock->domain[0]));
	imock_break(&mock->inst[1], 0);
	atk_expect_count(test, mock, 3, 6, 3);
	KUNIT_EXPECT_EQ(test, 2, imock_access(&mock->fn[0], 1, 0));
	KUNIT_EXPECT_EQ(test, 2, imock_access(&mock->fn[2], 1, 0));
}

static struct kunit_case atk_cases[] = {
	KUNIT_CASE_PARAM(flush_of_empty_list, driver_gen_params),
	KUNIT_CASE_PARAM(published_by_commit_only, driver_gen_params),
	KUNIT_CASE_PARAM(cancel_leaves_nothing, driver_gen_params),
	KUNIT_CASE_PARAM(functions_share_a_tag, driver_gen_params),
	KUNIT_CASE(pasids_share_a_tag),
	KUNIT_CASE(instances_have_their_own_tags),
	KUNIT_CASE(sorted_after_every_order),
	KUNIT_CASE_PARAM(first_attachment_allocates_nothing, driver_gen_params),
	KUNIT_CASE_PARAM(own_elements_return, driver_gen_params),
	KUNIT_CASE_PARAM(order_of_commands, stream_gen_params),
	KUNIT_CASE(interrupt_between_the_phases),
	KUNIT_CASE_PARAM(kinds_are_separate, stream_gen_params),
	KUNIT_CASE_PARAM(detach_commands_its_own_only, stream_gen_params),
	KUNIT_CASE(tag_in_use_is_not_flushed),
	KUNIT_CASE_PARAM(nothing_to_send_no_sync, driver_gen_params),
	KUNIT_CASE_PARAM(join_flushes_the_tag, join_gen_params),
	KUNIT_CASE(batch_overflows),
	KUNIT_CASE(batch_fails_and_the_next_does_not),
	KUNIT_CASE(element_goes_on_in_the_next_batch),
	KUNIT_CASE(element_goes_on_with_syncs),
	KUNIT_CASE(element_ends_when_a_batch_fails),
	KUNIT_CASE(element_aborts_in_the_middle),
	KUNIT_CASE(aborted_batch_without_sync),
	KUNIT_CASE(batch_without_sync_gets_one),
	KUNIT_CASE_PARAM(batches_overflow_in_turn, driver_gen_params),
	KUNIT_CASE_PARAM(more_instances_than_pending_syncs, driver_gen_params),
	KUNIT_CASE_PARAM(no_more_commands_than_necessary, shape_gen_params),
	KUNIT_CASE(ids_share_a_tag),
	KUNIT_CASE(ids_join_a_tag),
	KUNIT_CASE(ids_are_replaced_by_themselves),
	KUNIT_CASE_PARAM(cancel_of_ids_leaves_nothing, driver_gen_params),
	KUNIT_CASE_PARAM(replace_forgets_the_old, driver_gen_params),
	KUNIT_CASE_PARAM(replace_by_itself, stream_gen_params),
	KUNIT_CASE_PARAM(removed_after_its_flush, driver_gen_params),
	KUNIT_CASE(join_behind_a_walk),
	KUNIT_CASE(ids_join_behind_a_walk),
	KUNIT_CASE(ats_goes_on_behind_a_walk),
	KUNIT_CASE(join_between_the_phases),
	KUNIT_CASE(own_elements_wait_for_walks),
	KUNIT_CASE(list_changes_under_a_walk),
	KUNIT_CASE(synchronize_waits_for_walks),
	KUNIT_CASE_PARAM(no_tag_left, driver_gen_params),
	KUNIT_CASE_PARAM(no_memory_left, driver_gen_params),
	KUNIT_CASE_PARAM(no_memory_left_for_ids, driver_gen_params),
	KUNIT_CASE(aborted_commands_are_repeated),
	KUNIT_CASE(aborted_phase_is_repeated),
	KUNIT_CASE_PARAM(every_instance_aborts, driver_gen_params),
	KUNIT_CASE_PARAM(abort_of_one_of_many_instances, driver_gen_params),
	KUNIT_CASE(overflow_aborts),
	KUNIT_CASE_PARAM(dead_function, driver_gen_params),
	KUNIT_CASE_PARAM(removal_of_a_dead_function, driver_gen_params),
	KUNIT_CASE_PARAM(failed_removal_keeps_the_tag, driver_gen_params),
	KUNIT_CASE(failed_last_removal_keeps_the_tag),
	KUNIT_CASE(failed_commit_of_ids),
	KUNIT_CASE(failed_removal_of_ids_keeps_the_tag),
	KUNIT_CASE_PARAM(removal_without_the_tag_keeps_it, driver_gen_params),
	KUNIT_CASE(failed_removal_keeps_the_shared_tag),
	KUNIT_CASE(left_tag_is_chosen),
	KUNIT_CASE_PARAM(removal_beside_a_dead_function, driver_gen_params),
	KUNIT_CASE(every_command_aborts),
	KUNIT_CASE(instance_times_out),
	{}
};

static struct kunit_suite atk_suite = {
	.name = "iommu_attach",
	.exit = atk_exit,
	.test_cases = atk_cases,
};

/* --- races --- */

#define RACE_INSTS	3
#define RACE_FNS	6
#define RACE_PASIDS	2
#define RACE_CHANGERS	2
#define RACE_ATTACHERS	2
#define RACE_WALKERS	(RACE_CHANGERS + RACE_ATTACHERS)
#define RACE_THREADS	(RACE_WALKERS + 1)
#define RACE_LATENCY_US	20

struct atk_race;

/*
 * A thread. Changers own pages, of which they alone change the version, and
 * attachers own functions, so that each knows what it has to find. Everything else
 * that threads share is the mock's, or the code under test's.
 */
struct atk_racer {
	struct atk_race *race;
	struct task_struct *task;
	void (*step)(struct atk_racer *racer);
	unsigned int id;
	u64 steps;
	struct rnd_state rnd;
};

struct atk_race {
	struct imock *mock;
	bool aborts;
	u64 aborted_at[RACE_WALKERS];	/* steps of the others at the last abort */
	unsigned int nr_aborts;
	atomic_t hooked;
	struct atk_racer racer[RACE_THREADS];
};

static u32 atk_random(struct atk_racer *racer, u32 below)
{
	return prandom_u32_state(&racer->rnd) % below;
}

static struct imock_fn *atk_random_fn(struct atk_racer *racer)
{
	return &racer->race->mock->fn[atk_random(racer, RACE_FNS)];
}

/* In the middle of somebody's walk: a few functions are quick. */
static void atk_race_hook(struct imock_walk *mw, enum imock_what what,
			  unsigned int inst)
{
	struct atk_race *race = mw->mock->priv;
	u32 n = hash_32(atomic_inc_return(&race->hooked), 16);
	unsigned int fn;

	for (fn = n % 2; fn < RACE_FNS; fn += 2)
		imock_access(&mw->mock->fn[fn], 1 + (n >> 1) % RACE_PASIDS,
			     (n >> 4) % IMOCK_PAGES);
}

static void atk_race_change(struct atk_racer *racer)
{
	struct imock *mock = racer->race->mock;
	struct imock_domain *domain =
		&mock->domain[atk_random(racer, IMOCK_DOMAINS)];
	unsigned int page = racer->id + RACE_CHANGERS *
		atk_random(racer, IMOCK_PAGES / RACE_CHANGERS);
	u32 version = domain->version[page] + 1;
	struct imock_walk mw;

	imock_write(domain, page, version);
	imock_walk_init(&mw, mock, IOMMU_ALIST_ALL_KINDS,
			mock->driver->by_page ? 0 : page, page);
	mw.hook = atk_race_hook;
	if (iommu_alist_flush(&domain->list, &mw.walk))
		imock_complain(mock, "flush failed");
	imock_walk_end(&mw);
	if (imock_stale(domain, page, version))
		imock_complain(mock, "stale: domain %u, page %u, version %u",
			       domain->id, page, version);
}

/* What a function does that has just been attached, or is about to be detached */
static void atk_race_touch(struct atk_racer *racer, struct imock_fn *fn,
			   u32 pasid)
{
	unsigned int page;

	for (page = atk_random(racer, 4); page < IMOCK_PAGES; page++)
		imock_access(fn, pasid, page);
}

static bool atk_is_attached(struct imock_fn *fn)
{
	unsigned int pasid;

	for (pasid = 1; pasid <= RACE_PASIDS; pasid++)
		if (fn->attached[pasid])
			return true;
	return false;
}

static void atk_race_switch_ats(struct atk_racer *racer, struct imock_fn *fn)
{
	if (atk_random(racer, 16) || atk_is_attached(fn))
		return;
	iommu_alist_synchronize();
	/* Written by this thread only; hardware reads it under a lock. */
	imock_set_ats(fn, !fn->ats);
}

static void atk_race_attach(struct atk_racer *racer)
{
	struct imock *mock = racer->race->mock;
	struct imock_fn *fn = &mock->fn[racer->id + RACE_ATTACHERS *
		atk_random(racer, RACE_FNS / RACE_ATTACHERS)];
	struct imock_domain *domain =
		&mock->domain[atk_random(racer, IMOCK_DOMAINS)];
	u32 pasid = 1 + atk_random(racer, RACE_PASIDS);
	int error;

	if (!fn->attached[pasid]) {
		atk_race_switch_ats(racer, fn);
		error = imock_attach(fn, pasid, domain);
	} else if (fn->attached[pasid] != domain || !atk_random(racer, 4)) {
		error = imock_replace(fn, pasid, domain);
	} else {
		error = imock_detach(fn, pasid);
	}
	if (error)
		imock_complain(mock, "attach or detach failed: %d", error);
	atk_race_touch(racer, fn, pasid);
}

/*
 * A walk gives up on a command that is aborted each time it is repeated, of which
 * there is no end if its thread does not get to run. So everybody is through with
 * what was under way at the last abort, and meets at most two: a late one of
 * before, and this.
 */
static bool atk_race_may_abort(struct atk_race *race)
{
	unsigned int n;

	for (n = 0; n < RACE_WALKERS; n++)
		if (READ_ONCE(race->racer[n].steps) == race->aborted_at[n])
			return false;
	for (n = 0; n < RACE_WALKERS; n++)
		race->aborted_at[n] = READ_ONCE(race->racer[n].steps);
	return true;
}

static void atk_race_abort(struct atk_racer *racer)
{
	struct imock *mock = racer->race->mock;

	if (!atk_race_may_abort(racer->race))
		return;
	imock_abort(&mock->inst[atk_random(racer, RACE_INSTS)],
		    1 + atk_random(racer, 4));
	racer->race->nr_aborts++;
}

static void atk_race_access(struct atk_racer *racer)
{
	unsigned int n;

	for (n = 0; n < 16; n++)
		atk_race_touch(racer, atk_random_fn(racer),
			       1 + atk_random(racer, RACE_PASIDS));
	if (racer->race->aborts)
		atk_race_abort(racer);
}

static int atk_racer_fn(void *data)
{
	struct atk_racer *racer = data;

	while (!kthread_should_stop()) {
		if (imock_is_good(racer->race->mock)) {
			racer->step(racer);
			WRITE_ONCE(racer->steps, racer->steps + 1);
			cond_resched();
		} else {
			msleep(20);
		}
	}
	return 0;
}

static void atk_racer_init(struct atk_race *race, unsigned int n, u64 seed)
{
	struct atk_racer *racer = &race->racer[n];

	racer->race = race;
	prandom_seed_state(&racer->rnd, seed + n);
	if (n < RACE_CHANGERS) {
		racer->id = n;
		racer->step = atk_race_change;
	} else if (n < RACE_CHANGERS + RACE_ATTACHERS) {
		racer->id = n - RACE_CHANGERS;
		racer->step = atk_race_attach;
	} else {
		racer->step = atk_race_access;
	}
}

static void atk_race_stop(void *data)
{
	struct atk_race *race = data;
	unsigned int n;

	for (n = 0; n < RACE_THREADS; n++) {
		if (race->racer[n].task)
			kthread_stop(race->racer[n].task);
		race->racer[n].task = NULL;
	}
}

static void atk_race_start(struct kunit *test, struct atk_race *race)
{
	u32 seed = race_seed ?: get_random_u32();
	struct task_struct *task;
	unsigned int n;

	kunit_info(test, "race_seed=%u\n", seed);
	for (n = 0; n < RACE_THREADS; n++)
		atk_racer_init(race, n, seed);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, atk_race_stop, race));
	for (n = 0; n < RACE_THREADS; n++) {
		task = kthread_run(atk_racer_fn, &race->racer[n], "atk_race/%u",
				   n);
		KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
		race->racer[n].task = task;
	}
}

static void atk_race(struct kunit *test, const struct imock_driver *driver,
		     bool aborts)
{
	struct imock *mock = atk_machine(test, driver, RACE_INSTS, RACE_FNS);
	struct atk_race *race = kunit_kzalloc(test, sizeof(*race), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, race);
	race->mock = mock;
	race->aborts = aborts;
	mock->latency = ns_to_ktime(RACE_LATENCY_US * NSEC_PER_USEC);
	mock->slots = aborts ? 1 : IMOCK_SLOTS;
	mock->hook = atk_race_hook;
	mock->priv = race;
	atk_race_start(test, race);
	msleep(race_ms);
	kunit_release_action(test, atk_race_stop, race);
	mock->hook = NULL;
	kunit_info(test, "%llu and %llu flushes, %llu and %llu attachments, %llu accesses, %u aborts\n",
		   race->racer[0].steps, race->racer[1].steps,
		   race->racer[2].steps, race->racer[3].steps,
		   race->racer[4].steps, race->nr_aborts);
}

static void everybody_at_once(struct kunit *test)
{
	atk_race(test, test->param_value, false);
}

static void everybody_and_aborts(struct kunit *test)
{
	atk_race(test, test->param_value, true);
}

static void everybody_in_many_batches(struct kunit *test)
{
	atk_race(test, &imock_by_page, false);
}

static void many_batches_and_aborts(struct kunit *test)
{
	atk_race(test, &imock_by_page, true);
}

static struct kunit_case atk_race_cases[] = {
	KUNIT_CASE_PARAM_ATTR(everybody_at_once, driver_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	KUNIT_CASE_PARAM_ATTR(everybody_and_aborts, driver_gen_params,
			      { .speed = KUNIT_SPEED_SLOW }),
	KUNIT_CASE_SLOW(everybody_in_many_batches),
	KUNIT_CASE_SLOW(many_batches_and_aborts),
	{}
};

static struct kunit_suite atk_race_suite = {
	.name = "iommu_attach_race",
	.exit = atk_exit,
	.test_cases = atk_race_cases,
};

kunit_test_suites(&atk_suite, &atk_race_suite);

MODULE_DESCRIPTION("Tests of where domains are attached and how they are invalidated");
MODULE_LICENSE("GPL");
