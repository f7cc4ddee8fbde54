// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of functions that do not answer invalidations
 *
 * The hardware and its drivers are those of iommu-mock.c. A function is fenced when the
 * instance blocks its translated requests, and those that had passed before are in memory.
 * From then on nobody asks it to invalidate, until it was reset.
 *
 * After each flush that returns 0 the memory behind older versions of the page table goes
 * to somebody else: the mock complains about who gets at it nevertheless, however late.
 *
 * A fence, or its end, that is to be overtaken is held at one of &enum imock_stop: by a
 * thread that spins until it is let go, or by doing there what others do meanwhile, as an
 * interrupt would.
 *
 * Streams of commands are those of one instance, written as in iommu-attach-kunit.c. C
 * drops the instance's copy of a context entry.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>

#include "iommu-mock.h"

#define FENCE_TIMEOUT	(20 * HZ)
#define FENCE_TIMEOUT_MS	20000

/* --- machines --- */

static struct imock *fence_machine(struct kunit *test, enum imock_driver_id id,
				   unsigned int nr_inst, unsigned int nr_fns)
{
	struct imock *mock = imock_create(&imock_drivers[id], nr_inst, nr_fns);

	KUNIT_ASSERT_NOT_NULL(test, mock);
	test->priv = mock;
	return mock;
}

static void fence_detach_all(struct kunit *test, struct imock *mock)
{
	unsigned int n, pasid;

	for (n = 0; n < mock->nr_fns; n++)
		for (pasid = 1; pasid < IMOCK_PASIDS; pasid++)
			if (mock->fn[n].attached[pasid])
				KUNIT_EXPECT_EQ(test, 0,
						imock_detach(&mock->fn[n],
							     pasid));
}

/* Everything goes, and nothing is left. */
static void fence_exit(struct kunit *test)
{
	struct imock *mock = test->priv;

	if (!mock)
		return;
	test->priv = NULL;
	mock->stop = NULL;
	mock->fence_error = 0;
	fence_detach_all(test, mock);
	KUNIT_EXPECT_FALSE(test, imock_has_tags(mock));
	KUNIT_EXPECT_EQ_MSG(test, 0, mock->nr_complaints, "%s",
			    mock->complaint);
	imock_destroy(mock);
}

static void fence_attach(struct kunit *test, struct imock *mock,
			 unsigned int fn, u32 pasid, unsigned int domain)
{
	KUNIT_ASSERT_EQ(test, 0, imock_attach(&mock->fn[fn], pasid,
					      &mock->domain[domain]));
}

static void fence_attach_all(struct kunit *test, struct imock *mock)
{
	unsigned int n;

	for (n = 0; n < mock->nr_fns; n++)
		fence_attach(test, mock, n, 1, 0);
}

/* All caches are filled, and what they hold is old. Begin to count. */
static void fence_change(struct imock_domain *domain)
{
	unsigned int page;

	imock_access_all(domain->mock);
	for (page = 0; page < IMOCK_PAGES; page++)
		imock_write(domain, page, domain->version[page] + 1);
	imock_clear(domain->mock);
}

static int fence_flush(struct imock_domain *domain)
{
	return imock_flush(domain, IOMMU_ALIST_ALL_KINDS, 0, IMOCK_PAGES - 1);
}

/* A flush has returned 0. */
static void fence_expect_flushed(struct kunit *test, struct imock_domain *domain)
{
	unsigned int page, stale = 0;

	for (page = 0; page < IMOCK_PAGES; page++)
		stale += imock_stale(domain, page, domain->version[page]);
	KUNIT_EXPECT_EQ(test, 0, stale);
	imock_free_old(domain);
	imock_access_all(domain->mock);
	KUNIT_EXPECT_EQ_MSG(test, 0, domain->mock->nr_complaints, "%s",
			    domain->mock->complaint);
}

static void fence_expect_state(struct kunit *test, struct imock_fn *fn,
			       enum iommu_alist_state state)
{
	KUNIT_EXPECT_EQ(test, (u32)state, READ_ONCE(fn->alist_fn.state));
	KUNIT_EXPECT_EQ(test, state == IOMMU_ALIST_LIVE,
			iommu_alist_is_live(&fn->alist_fn));
	KUNIT_EXPECT_EQ(test, state == IOMMU_ALIST_FENCING ||
			state == IOMMU_ALIST_FENCED,
			iommu_alist_is_fenced(&fn->alist_fn));
}

static void fence_expect_fenced(struct kunit *test, struct imock_fn *fn)
{
	fence_expect_state(test, fn, IOMMU_ALIST_FENCED);
	KUNIT_EXPECT_TRUE(test, imock_is_blocked(fn));
}

/* It works, and has a translation that is up to date. */
static void fence_expect_live(struct kunit *test, struct imock_fn *fn, u32 pasid)
{
	struct imock_domain *domain = fn->attached[pasid];

	fence_expect_state(test, fn, IOMMU_ALIST_LIVE);
	KUNIT_EXPECT_FALSE(test, imock_is_blocked(fn));
	KUNIT_EXPECT_EQ(test, domain->version[0], imock_access(fn, pasid, 0));
	KUNIT_EXPECT_PTR_EQ(test, (const struct imock_domain *)domain,
			    fn->atc[pasid][0].domain);
}

/* A function dies, and somebody notices. */
static void fence_kill(struct kunit *test, struct imock_fn *fn,
		       struct imock_domain *domain)
{
	imock_set_dead(fn, true);
	fence_change(domain);
	KUNIT_EXPECT_EQ(test, 0, fence_flush(domain));
	fence_expect_fenced(test, fn);
	fence_expect_flushed(test, domain);
	imock_clear(domain->mock);
}

/* What happened since imock_clear() at one instance */
static const char *fence_stream(struct kunit *test, struct imock *mock,
				unsigned int inst)
{
	static const char letter[IMOCK_NR_WHAT] = "TASWC";
	char *stream = kunit_kzalloc(test, 2 * IMOCK_LOG + 1, GFP_KERNEL);
	unsigned int n;
	char *p = stream;

	KUNIT_ASSERT_NOT_NULL(test, stream);
	KUNIT_EXPECT_LT(test, mock->nr_logged, IMOCK_LOG);
	for (n = 0; n < mock->nr_logged; n++) {
		if (inst != mock->log[n].inst)
			continue;
		if (p > stream && p[-1] == 'W')
			*p++ = ' ';
		*p++ = letter[mock->log[n].what];
	}
	return stream;
}

static void fence_expect_stream(struct kunit *test, struct imock *mock,
				unsigned int inst, const char *stream)
{
	KUNIT_EXPECT_STREQ(test, stream, fence_stream(test, mock, inst));
}

/* --- a fence --- */

static void fence_driver_desc(const enum imock_driver_id *id, char *desc)
{
	strscpy(desc, imock_drivers[*id].name, KUNIT_PARAM_DESC_SIZE);
}

static const enum imock_driver_id fence_drivers[] = {
	IMOCK_VTD, IMOCK_VTD_SL,
};

KUNIT_ARRAY_PARAM(driver, fence_drivers, fence_driver_desc);

static const enum imock_driver_id fence_others[] = {
	IMOCK_SMMU, IMOCK_AMD,
};

KUNIT_ARRAY_PARAM(other, fence_others, fence_driver_desc);

static enum imock_driver_id fence_param(struct kunit *test)
{
	return *(const enum imock_driver_id *)test->param_value;
}

/* It goes on writing, and somebody composes its context entry for another reason. */
static void fence_busy_stop(struct imock_fn *fn, enum imock_stop stop)
{
	imock_post(fn, 1, stop % IMOCK_PAGES);
	if (stop != IMOCK_FENCE_BEGUN)
		imock_write_context(fn);
}

/* Two functions behind each of two instances: nothing happens at the other one. */
static void dead_function_is_fenced(struct kunit *test)
{
	struct imock *mock = fence_machine(test, fence_param(test), 2, 4);
	struct imock_domain *domain = &mock->domain[0];

	fence_attach_all(test, mock);
	fence_change(domain);
	imock_set_dead(&mock->fn[2], true);
	imock_post(&mock->fn[2], 1, 0);
	mock->stop = fence_busy_stop;
	KUNIT_EXPECT_EQ(test, 0, fence_flush(domain));
	fence_expect_fenced(test, &mock->fn[2]);
	fence_expect_stream(test, mock, 0, "TAASW TSW ASW ASW CSW TSW");
	fence_expect_stream(test, mock, 1, "TAASW");
	KUNIT_EXPECT_EQ(test, 2, imock_aborts(mock));
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&mock->fn[2].fences));
	KUNIT_EXPECT_EQ(test, -EACCES, imock_access(&mock->fn[2], 1, 0));
	KUNIT_EXPECT_EQ(test, 2, imock_access(&mock->fn[0], 1, 0));
	fence_expect_flushed(test, domain);
}

/* What comes behind it is still flushed. */
static void neighbour_behind_a_dead_function(struct kunit *test)
{
	struct imock *mock = fence_machine(test, fence_param(test), 1, 2);
	struct imock_domain *domain = &mock->domain[0];

	fence_attach_all(test, mock);
	fence_change(domain);
	imock_set_dead(&mock->fn[0], true);
	mock->stop = fence_busy_stop;
	KUNIT_EXPECT_EQ(test, 0, fence_flush(domain));
	fence_expect_fenced(test, &mock->fn[0]);
	fence_expect_stream(test, mock, 0, "TAASW TSW ASW CSW TSW ASW");
	fence_expect_flushed(test, domain);
}

/* Flush, attach, and detach: nobody asks it, and nothing is aborted. */
static void fenced_function_costs_nothing(struct kunit *test)
{
	struct imock *mock = fence_machine(test, fence_param(test), 1, 2);
	struct imock_domain *domain = &mock->domain[0];
	struct imock_fn *fn = &mock->fn[1];

	fence_attach_all(test, mock);
	fence_kill(test, fn, domain);

	fence_change(domain);
	KUNIT_EXPECT_EQ(test, 0, fence_flush(domain));
	fence_expect_stream(test, mock, 0, "TASW");
	fence_expect_flushed(test, domain);

	imock_clear(mock);
	fence_attach(test, mock, 1, 2, 0);
	fence_expect_stream(test, mock, 0, "");
	fence_attach(test, mock, 1, 3, 1);
	fence_expect_stream(test, mock, 0, "");
	fence_change(domain);
	KUNIT_EXPECT_EQ(test, 0, fence_flush(domain));
	fence_expect_stream(test, mock, 0, "TTASW");
	fence_expect_flushed(test, domain);
	fence_change(&mock->domain[1]);
	KUNIT_EXPECT_EQ(test, 0, fence_flush(&mock->domain[1]));
	fence_expect_stream(test, mock, 0, "TSW");
	fence_expect_flushed(test, &mock->domain[1]);

	imock_clear(mock);
	KUNIT_EXPECT_EQ(test, 0, imock_replace(fn, 2, &mock->domain[1]));
	KUNIT_EXPECT_EQ(test, 0, imock_detach(fn, 1));
	fence_expect_stream(test, mock, 0, "TSW TSW");
	KUNIT_EXPECT_EQ(test, 0, fn->asked);
	KUNIT_EXPECT_EQ(test, 0, imock_aborts(mock));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&fn->fences));
	fence_expect_fenced(test, fn);
}

/* The first to detach it finds that it is dead. */
static void dead_function_is_detached(struct kunit *test)
{
	struct imock *mock = fence_machine(test, fence_param(test), 1, 2);
	struct imock_domain *domain = &mock->domain[0];
	struct imock_fn *fn = &mock->fn[1];

	fence_attach_all(test, mock);
	fence_change(domain);
	imock_set_dead(fn, true);
	mock->stop = fence_busy_stop;
	KUNIT_EXPECT_EQ(test, 0, imock_detach(fn, 1));
	fence_expect_stream(test, mock, 0, "TASW TSW ASW CSW TSW");
	fence_expect_fenced(test, fn);
	KUNIT_EXPECT_EQ(test, 0, fence_flush(domain));
	fence_expect_flushed(test, domain);
}

/* PASIDs 1 to 3 of one domain, 4 and 5 of another: whoever comes first fences it. */
static void fenced_once_on_many_lists(struct kunit *test)
{
	struct imock *mock = fence_machine(test, fence_param(test), 1, 1);
	struct imock_fn *fn = &mock->fn[0];
	u32 pasid;

	for (pasid = 1; pasid < 6; pasid++)
		fence_attach(test, mock, 0, pasid, pasid > 3);
	fence_change(&mock->domain[1]);
	fence_change(&mock->domain[0]);
	imock_set_dead(fn, true);
	mock->stop = fence_busy_stop;
	KUNIT_EXPECT_EQ(test, 0, fence_flush(&mock->domain[0]));
	fence_expect_stream(test, mock, 0,
			    "TTTAAASW TSW TSW TSW ASW CSW TSW");
	fence_expect_fenced(test, fn);
	imock_free_old(&mock->domain[0]);

	imock_clear(mock);
	KUNIT_EXPECT_EQ(test, 0, fence_flush(&mock->domain[1]));
	fence_expect_stream(test, mock, 0, "TTSW");
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&fn->fences));
	fence_expect_flushed(test, &mock->domain[1]);
	fence_expect_flushed(test, &mock->domain[0]);
}

/* Of six functions behind two instances */
struct fence_dead {
	const char *name;
	unsigned int dead;		/* set of functions */
	const char *stream[2];
};

static const struct fence_dead fence_deads[] = {
	{
		"one_instance", BIT(0) | BIT(4),
		{ "TAAASW TSW ASW CSW TSW ASW ASW CSW TSW", "TAAASW" },
	}, {
		"two_instances", BIT(2) | BIT(5),
		{ "TAAASW TSW ASW ASW CSW TSW ASW",
		  "TAAASW TSW ASW ASW ASW CSW TSW" },
	}, {
		"all_of_an_instance", BIT(1) | BIT(3) | BIT(5),
		{ "TAAASW",
		  "TAAASW TSW ASW CSW TSW ASW CSW TSW ASW CSW TSW" },
	},
};

KUNIT_ARRAY_PARAM_DESC(dead, fence_deads, name);

static void several_dead_functions(struct kunit *test)
{
	const struct fence_dead *dead = test->param_value;
	struct imock *mock = fence_machine(test, IMOCK_VTD, 2, 6);
	struct imock_domain *domain = &mock->domain[0];
	unsigned int n;

	fence_attach_all(test, mock);
	fence_change(domain);
	for (n = 0; n < mock->nr_fns; n++)
		imock_set_dead(&mock->fn[n], dead->dead & BIT(n));
	mock->stop = fence_busy_stop;
	KUNIT_EXPECT_EQ(test, 0, fence_flush(domain));
	for (n = 0; n < 2; n++)
		fence_expect_stream(test, mock, n, dead->stream[n]);
	for (n = 0; n < mock->nr_fns; n++)
		if (dead->dead & BIT(n))
			fence_expect_fenced(test, &mock->fn[n]);
		else
			fence_expect_state(test, &mock->fn[n], IOMMU_ALIST_LIVE);
	fence_expect_flushed(test, domain);

	fence_change(domain);
	KUNIT_EXPECT_EQ(test, 0, fence_flush(domain));
	KUNIT_EXPECT_EQ(test, 0, imock_aborts(mock));
	KUNIT_EXPECT_EQ(test, mock->nr_fns - hweight32(dead->dead),
			imock_count(mock, IMOCK_ATC));
	fence_expect_flushed(test, domain);
}

/* The time-out names it at once: there is nothing else in the batch. */
static void only_command_of_the_batch(struct kunit *test)
{
	struct imock *mock = fence_machine(test, fence_param(test), 1, 1);
	struct imock_domain *domain = &mock->domain[0];

	fence_attach_all(test, mock);
	fence_change(domain);
	imock_set_dead(&mock->fn[0], true);
	mock->stop = fence_busy_stop;
	KUNIT_EXPECT_EQ(test, 0,
			imock_flush(domain, BIT(IOMMU_ALIST_TAG), 0,
				    IMOCK_PAGES - 1));
	KUNIT_EXPECT_EQ(test, 0,
			imock_flush(domain, BIT(IOMMU_ALIST_ATC), 0,
				    IMOCK_PAGES - 1));
	fence_expect_fenced(test, &mock->fn[0]);
	fence_expect_flushed(test, domain);
}

/* One tag and @nr ATCs, in batches of 16. One is dead, wherever it stands. */
static void fence_in_batches(struct kunit *test, unsigned int nr,
			     unsigned int dead)
{
	struct imock *mock = fence_machine(test, IMOCK_VTD_SL, 1, nr);
	struct imock_domain *domain = &mock->domain[0];
	unsigned int n;

	fence_attach_all(test, mock);
	fence_change(domain);
	imock_set_dead(&mock->fn[dead], true);
	mock->stop = fence_busy_stop;
	KUNIT_EXPECT_EQ(test, 0, fence_flush(domain));
	fence_expect_fenced(test, &mock->fn[dead]);
	KUNIT_EXPECT_EQ(test, 2, imock_aborts(mock));
	KUNIT_EXPECT_EQ(test, 2, mock->fn[dead].asked);
	fence_expect_flushed(test, domain);

	fence_change(domain);
	KUNIT_EXPECT_EQ(test, 0, fence_flush(domain));
	for (n = 0; n < nr; n++)
		KUNIT_EXPECT_EQ(test, n != dead, mock->fn[n].asked);
	KUNIT_EXPECT_EQ(test, DIV_ROUND_UP(nr, 16),
			imock_count(mock, IMOCK_SYNC));
	fence_expect_flushed(test, domain);
	fence_exit(test);
}

static void batch_overflows(struct kunit *test)
{
	unsigned int nr, dead;

	for (nr = 15; nr < 19; nr++)
		for (dead = 0; dead < nr; dead++)
			fence_in_batches(test, nr, dead);
}

/* What made the first batch overflow is fenced before its turn comes. */
static void overflowing_function_is_fenced(struct kunit *test)
{
	struct imock *mock = fence_machine(test, IMOCK_VTD_SL, 1, 17);
	struct imock_domain *domain = &mock->domain[0];

	fence_attach_all(test, mock);
	fence_change(domain);
	imock_set_dead(&mock->fn[3], true);
	imock_set_dead(&mock->fn[15], true);
	mock->stop = fence_busy_stop;
	KUNIT_EXPECT_EQ(test, 0, fence_flush(domain));
	fence_expect_fenced(test, &mock->fn[3]);
	fence_expect_fenced(test, &mock->fn[15]);
	KUNIT_EXPECT_EQ(test, 3, imock_aborts(mock));
	KUNIT_EXPECT_EQ(test, 2, mock->fn[3].asked);
	KUNIT_EXPECT_EQ(test, 1, mock->fn[15].asked);
	fence_expect_flushed(test, domain);
}

/* --- fences that fail --- */

static void failing_fence_is_repeated(struct kunit *test)
{
	struct imock *mock = fence_machine(test, fence_param(test), 1, 2);
	struct imock_domain *domain = &mock->domain[0];
	struct imock_fn *fn = &mock->fn[1];
	unsigned int n;

	fence_attach_all(test, mock);
	fence_change(domain);
	imock_set_dead(fn, true);
	mock->fence_error = -ENODEV;
	KUNIT_EXPECT_EQ(test, -ENODEV, fence_flush(domain));
	fence_expect_state(test, fn, IOMMU_ALIST_FENCING);
	for (n = 0; n < 2; n++) {
		imock_clear(mock);
		KUNIT_EXPECT_EQ(test, -ENODEV, fence_flush(domain));
		fence_expect_state(test, fn, IOMMU_ALIST_FENCING);
		fence_expect_stream(test, mock, 0, "TASW");
		KUNIT_EXPECT_EQ(test, 1, atomic_read(&fn->fences));
	}
	KUNIT_EXPECT_EQ(test, 2, imock_access(&mock->fn[0], 1, 0));

	mock->fence_error = 0;
	mock->stop = fence_busy_stop;
	imock_clear(mock);
	KUNIT_EXPECT_EQ(test, 0, fence_flush(domain));
	fence_expect_fenced(test, fn);
	fence_expect_stream(test, mock, 0, "TASW CSW TSW");
	fence_expect_flushed(test, domain);
	fence_change(domain);
	KUNIT_EXPECT_EQ(test, 0, fence_flush(domain));
	fence_expect_stream(test, mock, 0, "TASW");
}

/* The detach says so, too, and is done. */
static void failing_fence_of_a_detach(struct kunit *test)
{
	struct imock *mock = fence_machine(test, fence_param(test), 1, 1);
	struct imock_domain *domain = &mock->domain[0];
	struct imock_fn *fn = &mock->fn[0];

	fence_attach(test, mock, 0, 1, 0);
	fence_attach(test, mock, 0, 2, 0);
	fence_change(domain);
	imock_set_dead(fn, true);
	mock->fence_error = -ENODEV;
	KUNIT_EXPECT_EQ(test, -ENODEV, imock_detach(fn, 1));
	fence_expect_state(test, fn, IOMMU_ALIST_FENCING);
	mock->fence_error = 0;
	mock->stop = fence_busy_stop;
	imock_clear(mock);
	KUNIT_EXPECT_EQ(test, 0, imock_detach(fn, 2));
	fence_expect_stream(test, mock, 0, "TSW CSW TSW");
	fence_expect_fenced(test, fn);
	fence_expect_flushed(test, domain);
}

/* The queue is gone: neither tag nor fence. When it is back, both are repeated. */
static void tag_fails_as_well(struct kunit *test)
{
	struct imock *mock = fence_machine(test, fence_param(test), 1, 2);
	struct imock_domain *domain = &mock->domain[0];
	struct imock_fn *fn = &mock->fn[1];
	struct imock_walk mw;

	fence_attach_all(test, mock);
	fence_change(domain);
	imock_set_dead(fn, true);
	imock_break(&mock->inst[0], -ENODEV);
	imock_walk_init(&mw, mock, IOMMU_ALIST_ALL_KINDS, 0, IMOCK_PAGES - 1);
	KUNIT_EXPECT_EQ(test, -ENODEV,
			iommu_alist_flush(&domain->list, &mw.walk));
	imock_walk_end(&mw);
	KUNIT_EXPECT_EQ(test, IOMMU_ALIST_ALL_KINDS, mw.walk.failed);
	fence_expect_state(test, fn, IOMMU_ALIST_FENCING);

	imock_break(&mock->inst[0], 0);
	mock->stop = fence_busy_stop;
	KUNIT_EXPECT_EQ(test, 0, fence_flush(domain));
	fence_expect_fenced(test, fn);
	fence_expect_flushed(test, domain);
}

/* A fence is no failure of what the walk flushes, and a failed one is of ATCs only. */
static void fence_says_what_failed(struct kunit *test)
{
	struct imock *mock = fence_machine(test, fence_param(test), 1, 2);
	struct imock_domain *domain = &mock->domain[0];
	struct imock_walk mw;

	fence_attach_all(test, mock);
	imock_set_dead(&mock->fn[1], true);
	mock->fence_error = -ENODEV;
	imock_walk_init(&mw, mock, IOMMU_ALIST_ALL_KINDS, 0, 0);
	KUNIT_EXPECT_EQ(test, -ENODEV,
			iommu_alist_flush(&domain->list, &mw.walk));
	KUNIT_EXPECT_EQ(test, BIT(IOMMU_ALIST_ATC), mw.walk.failed);

	mock->fence_error = 0;
	imock_walk_init(&mw, mock, IOMMU_ALIST_ALL_KINDS, 0, 0);
	KUNIT_EXPECT_EQ(test, 0, iommu_alist_flush(&domain->list, &mw.walk));
	KUNIT_EXPECT_EQ(test, 0, mw.walk.failed);
}

/* As by a reset: nothing has to fail before. */
static int fence_by_reset(struct imock_fn *fn)
{
	int ret;

	rcu_read_lock();
	ret = iommu_alist_fence(&fn->inst->mock->driver->ops, &fn->alist_fn);
	rcu_read_unlock();
	return ret;
}

static void first_to_fence_is_told(struct kunit *test)
{
	struct imock *mock = fence_machine(test, IMOCK_VTD_SL, 1, 2);
	struct imock_fn *fn = &mock->fn[1];

	fence_attach_all(test, mock);
	fence_change(&mock->domain[0]);
	mock->fence_error = -ENODEV;
	KUNIT_EXPECT_EQ(test, -ENODEV, fence_by_reset(fn));
	fence_expect_state(test, fn, IOMMU_ALIST_FENCING);
	mock->fence_error = 0;
	KUNIT_EXPECT_EQ(test, 0, fence_by_reset(fn));
	fence_expect_fenced(test, fn);
	KUNIT_EXPECT_EQ(test, 0, fence_by_reset(fn));
	KUNIT_EXPECT_EQ(test, 2, atomic_read(&fn->fences));

	mock->stop = fence_busy_stop;
	KUNIT_EXPECT_EQ(test, 1, fence_by_reset(&mock->fn[0]));
	fence_expect_fenced(test, &mock->fn[0]);
	KUNIT_EXPECT_EQ(test, 0, fence_flush(&mock->domain[0]));
	fence_expect_flushed(test, &mock->domain[0]);
}

/* Its command was aborted, perhaps because of others, and then it is fenced. */
static void fence_while_repeated(struct imock_walk *mw, enum imock_what what,
				 unsigned int inst)
{
	struct imock *mock = mw->mock;

	if (mw->syncs == 2 && what == IMOCK_SYNC)
		imock_abort(&mock->inst[inst], 1);
	if (mw->syncs == 3 && what == IMOCK_WAIT)
		fence_by_reset(&mock->fn[0]);
}

static void fenced_between_repetitions(struct kunit *test)
{
	struct imock *mock = fence_machine(test, fence_param(test), 1, 1);
	struct imock_domain *domain = &mock->domain[0];
	struct imock_walk mw;

	fence_attach_all(test, mock);
	fence_change(domain);
	imock_abort(&mock->inst[0], 1);
	imock_walk_init(&mw, mock, IOMMU_ALIST_ALL_KINDS, 0, IMOCK_PAGES - 1);
	mw.hook = fence_while_repeated;
	KUNIT_EXPECT_EQ(test, 0, iommu_alist_flush(&domain->list, &mw.walk));
	imock_walk_end(&mw);
	fence_expect_stream(test, mock, 0, "TASW TSW ASW CSW TSW");
	fence_expect_fenced(test, &mock->fn[0]);
	fence_expect_flushed(test, domain);
}

/* A driver without the operation: the same each time, and the state says nothing. */
static void driver_cannot_fence(struct kunit *test)
{
	struct imock *mock = fence_machine(test, fence_param(test), 1, 2);
	struct imock_domain *domain = &mock->domain[0];
	struct imock_fn *fn = &mock->fn[1];
	unsigned int n;

	fence_attach_all(test, mock);
	KUNIT_EXPECT_NULL(test, fn->attach[1].atc->fn);
	imock_set_dead(fn, true);
	for (n = 0; n < 3; n++) {
		fence_change(domain);
		KUNIT_EXPECT_EQ(test, -EIO, fence_flush(domain));
		KUNIT_EXPECT_EQ(test, 1 + 3, imock_aborts(mock));
		KUNIT_EXPECT_EQ(test, 1 + 3, fn->asked);
		fence_expect_state(test, fn, IOMMU_ALIST_LIVE);
	}
	imock_set_dead(fn, false);
	fence_change(domain);
	KUNIT_EXPECT_EQ(test, 0, fence_flush(domain));
	fence_expect_flushed(test, domain);
}

/* --- two who fence --- */

enum fence_how {
	FENCE_NESTED,		/* a flush in the midst of the fence, in its thread */
	FENCE_IRQ,		/* in an interrupt of its thread */
	FENCE_THREAD,		/* in another thread, and the fence goes on afterwards */
	FENCE_DETACH,		/* a detach in another thread, of the same function */
};

struct fence_two {
	const char *name;
	enum imock_driver_id driver;
	enum fence_how how;
	enum imock_stop stop;
};

static const struct fence_two fence_twos[] = {
	{ "nested_begun", IMOCK_VTD_SL, FENCE_NESTED, IMOCK_FENCE_BEGUN },
	{ "nested_written", IMOCK_VTD_SL, FENCE_NESTED, IMOCK_FENCE_WRITTEN },
	{ "nested_blocked", IMOCK_VTD_SL, FENCE_NESTED, IMOCK_FENCE_BLOCKED },
	{ "nested_drained", IMOCK_VTD_SL, FENCE_NESTED, IMOCK_FENCE_DRAINED },
	{ "irqs_off_begun", IMOCK_VTD, FENCE_NESTED, IMOCK_FENCE_BEGUN },
	{ "irqs_off_written", IMOCK_VTD, FENCE_NESTED, IMOCK_FENCE_WRITTEN },
	{ "irqs_off_blocked", IMOCK_VTD, FENCE_NESTED, IMOCK_FENCE_BLOCKED },
	{ "irqs_off_drained", IMOCK_VTD, FENCE_NESTED, IMOCK_FENCE_DRAINED },
	{ "irq_begun", IMOCK_VTD_SL, FENCE_IRQ, IMOCK_FENCE_BEGUN },
	{ "irq_written", IMOCK_VTD_SL, FENCE_IRQ, IMOCK_FENCE_WRITTEN },
	{ "irq_blocked", IMOCK_VTD_SL, FENCE_IRQ, IMOCK_FENCE_BLOCKED },
	{ "irq_drained", IMOCK_VTD_SL, FENCE_IRQ, IMOCK_FENCE_DRAINED },
	{ "thread_begun", IMOCK_VTD_SL, FENCE_THREAD, IMOCK_FENCE_BEGUN },
	{ "thread_written", IMOCK_VTD_SL, FENCE_THREAD, IMOCK_FENCE_WRITTEN },
	{ "thread_blocked", IMOCK_VTD_SL, FENCE_THREAD, IMOCK_FENCE_BLOCKED },
	{ "thread_drained", IMOCK_VTD_SL, FENCE_THREAD, IMOCK_FENCE_DRAINED },
	{ "detach_begun", IMOCK_VTD_SL, FENCE_DETACH, IMOCK_FENCE_BEGUN },
	{ "detach_written", IMOCK_VTD_SL, FENCE_DETACH, IMOCK_FENCE_WRITTEN },
	{ "detach_blocked", IMOCK_VTD_SL, FENCE_DETACH, IMOCK_FENCE_BLOCKED },
	{ "detach_drained", IMOCK_VTD_SL, FENCE_DETACH, IMOCK_FENCE_DRAINED },
};

KUNIT_ARRAY_PARAM_DESC(two, fence_twos, name);

/* Somebody who fences, @first, and is held at @stop, and what happens there */
struct fence_held {
	struct kunit *test;
	struct imock *mock;
	struct imock_domain *domain;
	struct task_struct *first;
	enum imock_stop stop;
	void (*act)(struct fence_held *held, struct imock_fn *fn);
	enum imock_stop second_stop;	/* where another lets it go */
	enum imock_stop resume_stop;	/* where it begins, of a function that comes back */
	bool acted;
	bool done;
	int error;		/* of what was done meanwhile */
	bool blocked;		/* after that */
	struct irq_work work;
	struct imock_fn *fn;
	int first_error;	/* of who was held */
	struct completion reached;
	struct completion go_on;
	struct completion over;
};

static void fence_held_stop(struct imock_fn *fn, enum imock_stop stop)
{
	struct fence_held *held = fn->inst->mock->priv;

	fence_busy_stop(fn, stop);
	if (READ_ONCE(held->first) == current && !in_hardirq()) {
		if (held->acted || stop != held->stop)
			return;
		held->acted = true;
		held->act(held, fn);
		return;
	}
	/* The other one is through, to the end, while this one stands here. */
	if (stop == held->second_stop && !completion_done(&held->go_on)) {
		complete_all(&held->go_on);
		while (!completion_done(&held->over))
			cpu_relax();
	}
}

#define FENCE_NO_STOP	((enum imock_stop)-1)

static struct fence_held *fence_held(struct kunit *test, struct imock *mock)
{
	struct fence_held *held = kunit_kzalloc(test, sizeof(*held), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, held);
	held->test = test;
	held->mock = mock;
	held->domain = &mock->domain[0];
	held->second_stop = FENCE_NO_STOP;
	init_completion(&held->reached);
	init_completion(&held->go_on);
	init_completion(&held->over);
	mock->priv = held;
	mock->stop = fence_held_stop;
	return held;
}

static void fence_act_flush(struct fence_held *held, struct imock_fn *fn)
{
	held->error = fence_flush(held->domain);
	held->blocked = imock_is_blocked(fn);
	imock_free_old(held->domain);
	WRITE_ONCE(held->done, true);
}

static void fence_act_in_irq(struct irq_work *work)
{
	struct fence_held *held = container_of(work, struct fence_held, work);

	fence_act_flush(held, held->fn);
}

static void fence_act_irq(struct fence_held *held, struct imock_fn *fn)
{
	ktime_t end = ktime_add_ms(ktime_get(), FENCE_TIMEOUT_MS);

	held->fn = fn;
	held->work = IRQ_WORK_INIT_HARD(fence_act_in_irq);
	preempt_disable();
	irq_work_queue(&held->work);
	while (!READ_ONCE(held->done) && ktime_before(ktime_get(), end))
		cpu_relax();
	preempt_enable();
	if (!READ_ONCE(held->done))
		imock_complain(held->mock, "deadlock in an interrupt");
}

static void fence_act_wait(struct fence_held *held, struct imock_fn *fn)
{
	complete_all(&held->reached);
	while (!completion_done(&held->go_on))
		cpu_relax();
}

static int fence_first_fn(void *data)
{
	struct fence_held *held = data;

	WRITE_ONCE(held->first, current);
	held->first_error = fence_flush(held->domain);
	complete_all(&held->over);
	return 0;
}

static void fence_let_go(void *data)
{
	struct fence_held *held = data;

	complete_all(&held->go_on);
	wait_for_completion(&held->over);
}

/* A thread flushes, and is held. */
static void fence_hold_thread(struct kunit *test, struct fence_held *held)
{
	struct task_struct *task;

	held->act = fence_act_wait;
	task = kthread_run(fence_first_fn, held, "fence_first");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, fence_let_go,
							   held));
	KUNIT_ASSERT_NE(test, 0, wait_for_completion_timeout(&held->reached,
							     FENCE_TIMEOUT));
}

static void fence_let_thread_go(struct kunit *test, struct fence_held *held)
{
	kunit_release_action(test, fence_let_go, held);
	KUNIT_EXPECT_EQ(test, 0, held->first_error);
}

static void fence_needs_two_cpus(struct kunit *test)
{
	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");
}

static void fence_beside_a_thread(struct kunit *test, struct fence_held *held,
				  struct imock_fn *fn, bool detach)
{
	fence_hold_thread(test, held);
	fence_expect_state(test, fn, IOMMU_ALIST_FENCING);
	if (detach) {
		held->error = imock_detach(fn, 1);
		held->blocked = imock_is_blocked(fn);
	} else {
		fence_act_flush(held, fn);
	}
	KUNIT_EXPECT_TRUE(test, held->blocked);
	fence_expect_fenced(test, fn);
	fence_let_thread_go(test, held);
}

/*
 * One is in the midst of a fence, and another one meets the function. It must not return
 * before the function is blocked, and must not wait for the first one.
 */
static void fence_is_met(struct kunit *test)
{
	const struct fence_two *two = test->param_value;
	struct imock *mock = fence_machine(test, two->driver, 1, 2);
	struct imock_domain *domain = &mock->domain[0];
	struct imock_fn *fn = &mock->fn[1];
	struct fence_held *held;

	if (two->how == FENCE_THREAD || two->how == FENCE_DETACH)
		fence_needs_two_cpus(test);
	held = fence_held(test, mock);
	held->stop = two->stop;
	fence_attach_all(test, mock);
	fence_change(domain);
	imock_set_dead(fn, true);
	switch (two->how) {
	case FENCE_NESTED:
		held->first = current;
		held->act = fence_act_flush;
		KUNIT_EXPECT_EQ(test, 0, fence_flush(domain));
		break;
	case FENCE_IRQ:
		held->first = current;
		held->act = fence_act_irq;
		KUNIT_EXPECT_EQ(test, 0, fence_flush(domain));
		irq_work_sync(&held->work);
		break;
	case FENCE_THREAD:
	case FENCE_DETACH:
		fence_beside_a_thread(test, held, fn,
				      two->how == FENCE_DETACH);
		break;
	}
	KUNIT_EXPECT_EQ(test, 0, held->error);
	KUNIT_EXPECT_TRUE(test, held->blocked);
	fence_expect_fenced(test, fn);
	KUNIT_EXPECT_EQ(test, 2, atomic_read(&fn->fences));
	KUNIT_EXPECT_EQ(test, 2, fn->asked);
	fence_expect_flushed(test, domain);

	mock->stop = NULL;
	fence_change(domain);
	KUNIT_EXPECT_EQ(test, 0, fence_flush(domain));
	KUNIT_EXPECT_EQ(test, 0, fn->asked);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&fn->fences));
}

/* The first one stands at a stop, and goes on when the second has come to another. */
static void fence_interleaved(struct kunit *test, enum imock_stop first,
			      enum imock_stop second)
{
	struct imock *mock = fence_machine(test, IMOCK_VTD_SL, 1, 2);
	struct imock_domain *domain = &mock->domain[0];
	struct imock_fn *fn = &mock->fn[1];
	struct fence_held *held = fence_held(test, mock);

	held->stop = first;
	held->second_stop = second;
	fence_attach_all(test, mock);
	fence_change(domain);
	imock_set_dead(fn, true);
	fence_hold_thread(test, held);
	fence_act_flush(held, fn);
	KUNIT_EXPECT_TRUE(test, completion_done(&held->over));
	KUNIT_EXPECT_EQ(test, 0, held->error);
	KUNIT_EXPECT_TRUE(test, held->blocked);
	fence_let_thread_go(test, held);
	fence_expect_fenced(test, fn);
	fence_expect_flushed(test, domain);
	fence_exit(test);
}

static void fences_end_in_any_order(struct kunit *test)
{
	enum imock_stop first, second;

	fence_needs_two_cpus(test);
	for (first = IMOCK_FENCE_BEGUN; first <= IMOCK_FENCE_DRAINED; first++)
		for (second = IMOCK_FENCE_BEGUN; second <= IMOCK_FENCE_DRAINED;
		     second++)
			fence_interleaved(test, first, second);
}

/* --- back to life --- */

static void resumed_function_is_asked(struct kunit *test)
{
	struct imock *mock = fence_machine(test, fence_param(test), 1, 2);
	struct imock_domain *domain = &mock->domain[0];
	struct imock_fn *fn = &mock->fn[1];
	unsigned int n;

	fence_attach_all(test, mock);
	fence_attach(test, mock, 1, 2, 1);
	for (n = 0; n < 3; n++) {
		fence_kill(test, fn, domain);
		fence_change(&mock->domain[1]);
		KUNIT_EXPECT_EQ(test, 0, fence_flush(&mock->domain[1]));
		fence_expect_flushed(test, &mock->domain[1]);

		imock_set_dead(fn, false);
		KUNIT_EXPECT_EQ(test, 0, imock_resume(fn));
		fence_expect_live(test, fn, 1);
		fence_expect_live(test, fn, 2);
		fence_change(domain);
		KUNIT_EXPECT_EQ(test, 0, fence_flush(domain));
		fence_expect_stream(test, mock, 0, "TAASW");
		fence_expect_flushed(test, domain);
	}
}

/* The PASID went, and came to another domain, while nobody could tell the ATC. */
static void reattached_while_fenced(struct kunit *test)
{
	struct imock *mock = fence_machine(test, fence_param(test), 1, 2);
	struct imock_fn *fn = &mock->fn[1];

	fence_attach_all(test, mock);
	fence_kill(test, fn, &mock->domain[0]);
	KUNIT_EXPECT_EQ(test, 0, imock_detach(fn, 1));
	fence_attach(test, mock, 1, 1, 1);
	imock_set_dead(fn, false);
	KUNIT_EXPECT_EQ(test, 0, imock_resume(fn));
	fence_expect_live(test, fn, 1);
	fence_change(&mock->domain[1]);
	KUNIT_EXPECT_EQ(test, 0, fence_flush(&mock->domain[1]));
	fence_expect_flushed(test, &mock->domain[1]);
	fence_expect_flushed(test, &mock->domain[0]);
}

/* Where a walk meets a function that comes back */
struct fence_resume {
	const char *name;
	enum imock_stop stop;
	bool thread;
};

static const struct fence_resume fence_resumes[] = {
	{ "nested_begun",   IMOCK_RESUME_BEGUN,   false },
	{ "nested_asked",   IMOCK_RESUME_ASKED,   false },
	{ "nested_flushed", IMOCK_RESUME_FLUSHED, false },
	{ "nested_live",    IMOCK_RESUME_LIVE,    false },
	{ "thread_begun",   IMOCK_RESUME_BEGUN,   true },
	{ "thread_asked",   IMOCK_RESUME_ASKED,   true },
	{ "thread_flushed", IMOCK_RESUME_FLUSHED, true },
	{ "thread_live",    IMOCK_RESUME_LIVE,    true },
};

KUNIT_ARRAY_PARAM_DESC(resume, fence_resumes, name);

/* A walk at one step of the function's return, perhaps in a thread that is held */
struct fence_walker {
	struct imock_domain *domain;
	enum imock_stop stop;
	bool thread;
	struct imock_walk mw;
	struct task_struct *task;
	int error;
	bool walked;
	struct completion reached;
	struct completion go_on;
	struct completion over;
};

/* It has decided whom to ask. */
static void fence_walker_hook(struct imock_walk *mw, enum imock_what what,
			      unsigned int inst)
{
	struct fence_walker *walker = container_of(mw, struct fence_walker, mw);

	if (what != IMOCK_SYNC || completion_done(&walker->reached))
		return;
	complete_all(&walker->reached);
	while (!completion_done(&walker->go_on))
		cpu_relax();
}

static int fence_walker_fn(void *data)
{
	struct fence_walker *walker = data;

	walker->error = iommu_alist_flush(&walker->domain->list,
					  &walker->mw.walk);
	imock_walk_end(&walker->mw);
	complete_all(&walker->over);
	return 0;
}

static void fence_walker_stop(struct imock_fn *fn, enum imock_stop stop)
{
	struct fence_walker *walker = fn->inst->mock->priv;

	/* For another reason */
	imock_write_context(fn);
	imock_access_all(fn->inst->mock);
	if (stop != walker->stop)
		return;
	fence_change(walker->domain);
	if (!walker->thread) {
		walker->error = fence_flush(walker->domain);
		walker->walked = true;
		imock_free_old(walker->domain);
		return;
	}
	walker->task = kthread_run(fence_walker_fn, walker, "fence_walker");
	if (!IS_ERR(walker->task))
		walker->walked =
			wait_for_completion_timeout(&walker->reached,
						    FENCE_TIMEOUT);
}

static void fence_let_walker_go(void *data)
{
	struct fence_walker *walker = data;

	complete_all(&walker->go_on);
	if (!IS_ERR_OR_NULL(walker->task))
		wait_for_completion(&walker->over);
}

static struct fence_walker *fence_walker(struct kunit *test, struct imock *mock,
					 const struct fence_resume *resume)
{
	struct fence_walker *walker = kunit_kzalloc(test, sizeof(*walker),
						    GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, walker);
	walker->domain = &mock->domain[0];
	walker->stop = resume->stop;
	walker->thread = resume->thread;
	imock_walk_init(&walker->mw, mock, IOMMU_ALIST_ALL_KINDS, 0,
			IMOCK_PAGES - 1);
	walker->mw.hook = fence_walker_hook;
	init_completion(&walker->reached);
	init_completion(&walker->go_on);
	init_completion(&walker->over);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, fence_let_walker_go,
						  walker));
	return walker;
}

/*
 * At a step of the return the page table changes, and a walk decides whom to ask. What it
 * passes over, or has not flushed yet, must not be in the ATC when it is over. The
 * neighbour keeps the IOTLB full of what is old.
 */
static void walk_while_resumed(struct kunit *test)
{
	const struct fence_resume *resume = test->param_value;
	struct imock *mock = fence_machine(test, IMOCK_VTD_SL, 1, 2);
	struct imock_domain *domain = &mock->domain[0];
	struct imock_fn *fn = &mock->fn[1];
	struct fence_walker *walker;

	if (resume->thread)
		fence_needs_two_cpus(test);
	fence_attach_all(test, mock);
	fence_kill(test, fn, domain);
	walker = fence_walker(test, mock, resume);
	mock->priv = walker;
	mock->stop = fence_walker_stop;

	imock_set_dead(fn, false);
	KUNIT_EXPECT_EQ(test, 0, imock_resume(fn));
	KUNIT_EXPECT_TRUE(test, walker->walked);
	fence_expect_state(test, fn, IOMMU_ALIST_LIVE);
	imock_access_all(mock);
	kunit_release_action(test, fence_let_walker_go, walker);
	KUNIT_EXPECT_EQ(test, 0, walker->error);
	fence_expect_flushed(test, domain);
	fence_expect_live(test, fn, 1);
}

struct fence_again {
	const char *name;
	enum imock_stop resume;
	enum imock_stop fence;
};

static const struct fence_again fence_agains[] = {
	{ "asked_begun", IMOCK_RESUME_ASKED, IMOCK_FENCE_BEGUN },
	{ "asked_written", IMOCK_RESUME_ASKED, IMOCK_FENCE_WRITTEN },
	{ "asked_blocked", IMOCK_RESUME_ASKED, IMOCK_FENCE_BLOCKED },
	{ "asked_drained", IMOCK_RESUME_ASKED, IMOCK_FENCE_DRAINED },
	{ "asked_over", IMOCK_RESUME_ASKED, FENCE_NO_STOP },
	{ "flushed_begun", IMOCK_RESUME_FLUSHED, IMOCK_FENCE_BEGUN },
	{ "flushed_written", IMOCK_RESUME_FLUSHED, IMOCK_FENCE_WRITTEN },
	{ "flushed_blocked", IMOCK_RESUME_FLUSHED, IMOCK_FENCE_BLOCKED },
	{ "flushed_drained", IMOCK_RESUME_FLUSHED, IMOCK_FENCE_DRAINED },
	{ "flushed_over", IMOCK_RESUME_FLUSHED, FENCE_NO_STOP },
};

KUNIT_ARRAY_PARAM_DESC(again, fence_agains, name);

/* It dies again, and somebody fences it, who is held, or comes to the end. */
static void fence_again_stop(struct imock_fn *fn, enum imock_stop stop)
{
	struct fence_held *held = fn->inst->mock->priv;

	if (stop != held->resume_stop) {
		fence_held_stop(fn, stop);
		return;
	}
	imock_set_dead(fn, true);
	fence_change(held->domain);
	if (held->stop == FENCE_NO_STOP)
		fence_act_flush(held, fn);
	else
		fence_hold_thread(held->test, held);
}

static void fenced_again_while_resumed(struct kunit *test)
{
	const struct fence_again *again = test->param_value;
	struct imock *mock = fence_machine(test, IMOCK_VTD_SL, 1, 2);
	struct imock_domain *domain = &mock->domain[0];
	struct imock_fn *fn = &mock->fn[1];
	struct fence_held *held;

	if (again->fence != FENCE_NO_STOP)
		fence_needs_two_cpus(test);
	fence_attach_all(test, mock);
	fence_kill(test, fn, domain);
	held = fence_held(test, mock);
	held->stop = again->fence;
	held->resume_stop = again->resume;
	mock->stop = fence_again_stop;

	imock_set_dead(fn, false);
	KUNIT_EXPECT_EQ(test, -EIO, imock_resume(fn));
	KUNIT_EXPECT_FALSE(test, iommu_alist_is_live(&fn->alist_fn));
	if (again->fence != FENCE_NO_STOP)
		fence_let_thread_go(test, held);
	fence_expect_fenced(test, fn);
	fence_expect_flushed(test, domain);

	mock->stop = NULL;
	imock_set_dead(fn, false);
	KUNIT_EXPECT_EQ(test, 0, imock_resume(fn));
	fence_expect_live(test, fn, 1);
	fence_change(domain);
	KUNIT_EXPECT_EQ(test, 0, fence_flush(domain));
	fence_expect_flushed(test, domain);
}

static struct kunit_case fence_cases[] = {
	KUNIT_CASE_PARAM(dead_function_is_fenced, driver_gen_params),
	KUNIT_CASE_PARAM(neighbour_behind_a_dead_function, driver_gen_params),
	KUNIT_CASE_PARAM(fenced_function_costs_nothing, driver_gen_params),
	KUNIT_CASE_PARAM(dead_function_is_detached, driver_gen_params),
	KUNIT_CASE_PARAM(fenced_once_on_many_lists, driver_gen_params),
	KUNIT_CASE_PARAM(several_dead_functions, dead_gen_params),
	KUNIT_CASE_PARAM(only_command_of_the_batch, driver_gen_params),
	KUNIT_CASE(batch_overflows),
	KUNIT_CASE(overflowing_function_is_fenced),
	KUNIT_CASE_PARAM(failing_fence_is_repeated, driver_gen_params),
	KUNIT_CASE_PARAM(failing_fence_of_a_detach, driver_gen_params),
	KUNIT_CASE_PARAM(tag_fails_as_well, driver_gen_params),
	KUNIT_CASE_PARAM(fence_says_what_failed, driver_gen_params),
	KUNIT_CASE(first_to_fence_is_told),
	KUNIT_CASE_PARAM(fenced_between_repetitions, driver_gen_params),
	KUNIT_CASE_PARAM(driver_cannot_fence, other_gen_params),
	KUNIT_CASE_PARAM(fence_is_met, two_gen_params),
	KUNIT_CASE(fences_end_in_any_order),
	KUNIT_CASE_PARAM(resumed_function_is_asked, driver_gen_params),
	KUNIT_CASE_PARAM(reattached_while_fenced, driver_gen_params),
	KUNIT_CASE_PARAM(walk_while_resumed, resume_gen_params),
	KUNIT_CASE_PARAM(fenced_again_while_resumed, again_gen_params),
	{}
};

static struct kunit_suite fence_suite = {
	.name = "iommu_fence",
	.exit = fence_exit,
	.test_cases = fence_cases,
};

kunit_test_suite(fence_suite);

MODULE_DESCRIPTION("Tests of functions that do not answer invalidations");
MODULE_LICENSE("GPL");
