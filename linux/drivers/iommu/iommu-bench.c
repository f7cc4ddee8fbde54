// SPDX-License-Identifier: GPL-2.0-only
/*
 * Benchmarks of the attach list and of SVA's locks, against the previous implementation
 *
 * Each measurement is made both ways in turns, in one run, and printed as
 *
 *	bench: <row>,<parameter>,<x>,<way>,<lower quartile>,<median>,<upper quartile>
 *
 * over the rounds, in nanoseconds unless the row counts something. What is asserted
 * is never a time: the number of commands, that no IOMMU complains, and what is
 * left behind.
 *
 * "base" is the way of the VT-d driver in 6.12: a list of tags, in the order in which
 * devices came, under a spinlock that is held with interrupts off for the whole
 * walk; a batch in the domain; a submission that is waited for at each change of
 * instance; requester IDs found through struct device; one allocation per tag. Of
 * the SVA core it is one mutex around every bind and unbind. "series" is the real
 * code.
 *
 * Where waiting is measured, the hardware is that of iommu-mock.c, whose latency is
 * a deadline that the poller reads. Where the cost of software is measured, a null
 * IOMMU completes everything at once, so that nothing else is in the way.
 */
#include <kunit/test.h>
#include <linux/cache.h>
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/iommu.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <trace/events/kmem.h>

#include "iommu-mock.h"
#include "iommu-sva-mock.h"

#define BENCH_ROUNDS	31
#define BENCH_WARM_UP	5	/* rounds before these; they fill the mock's log, too */
#define BENCH_ALL	(BENCH_ROUNDS + BENCH_WARM_UP)
#define BENCH_THREADS	2
#define BENCH_WINDOW_MS	20	/* of a round of threads */

#define TAG		1	/* the domain's, everywhere */
#define PASID		1

enum bench_way {
	BASE,
	SERIES,
	NR_WAYS,
};

static const char * const bench_way_name[NR_WAYS] = { "base", "series" };

/* --- measuring --- */

static int bench_cmp(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

static void bench_print(struct kunit *test, const char *row, unsigned int param,
			unsigned int x, enum bench_way way, u64 *sample,
			unsigned int nr)
{
	sort(sample, nr, sizeof(*sample), bench_cmp, NULL);
	kunit_info(test, "bench: %s,%u,%u,%s,%llu,%llu,%llu\n", row, param, x,
		   bench_way_name[way], sample[nr / 4], sample[nr / 2],
		   sample[nr - 1 - nr / 4]);
}

static void bench_print_one(struct kunit *test, const char *row,
			    enum bench_way way, u64 value)
{
	bench_print(test, row, 0, 1, way, &value, 1);
}

typedef void bench_op_t(void *ctx);

/* Time @op, @times a round, in turns with the other way. */
static void bench_compare(struct kunit *test, const char *row,
			  unsigned int param, unsigned int x,
			  bench_op_t *const op[NR_WAYS], void *ctx,
			  unsigned int times)
{
	u64 sample[NR_WAYS][BENCH_ALL];
	enum bench_way way;
	unsigned int round, n;
	ktime_t start;
	u64 ns;

	for (round = 0; round < BENCH_ALL; round++) {
		for (way = 0; way < NR_WAYS; way++) {
			start = ktime_get();
			for (n = 0; n < times; n++)
				op[way](ctx);
			ns = ktime_to_ns(ktime_sub(ktime_get(), start));
			sample[way][round] = div_u64(ns, times);
			cond_resched();
		}
	}
	for (way = 0; way < NR_WAYS; way++)
		bench_print(test, row, param, x, way,
			    sample[way] + BENCH_WARM_UP, BENCH_ROUNDS);
}

struct bench_threads;

struct bench_thread {
	struct bench_threads *all;
	void *ctx;
	u64 ops;
	u64 ns;
	struct completion done;
};

struct bench_threads {
	bench_op_t *op;
	unsigned int nr;
	atomic_t ready;
	struct bench_thread thread[BENCH_THREADS];
};

static int bench_thread(void *data)
{
	struct bench_thread *thread = data;
	struct bench_threads *all = thread->all;
	ktime_t start, now, end;

	atomic_inc(&all->ready);
	while (atomic_read(&all->ready) < all->nr)
		cond_resched();
	start = ktime_get();
	end = ktime_add_ms(start, BENCH_WINDOW_MS);
	do {
		all->op(thread->ctx);
		thread->ops++;
		now = ktime_get();
	} while (ktime_before(now, end));
	thread->ns = ktime_to_ns(ktime_sub(now, start));
	complete(&thread->done);
	return 0;
}

/*
 * Let @nr threads, each on its CPU, do @op for a while. Returns the time that one
 * takes at the rate of all together, and adds to @ops how many there were.
 */
static u64 bench_parallel(struct kunit *test, unsigned int nr, bench_op_t *op,
			  void *const ctx[], u64 *ops)
{
	struct bench_threads all = { .op = op, .nr = nr };
	struct task_struct *task[BENCH_THREADS];
	unsigned int n, cpu = cpumask_first(cpu_online_mask);
	u64 rate = 0;

	for (n = 0; n < nr; n++) {
		all.thread[n].all = &all;
		all.thread[n].ctx = ctx[n];
		init_completion(&all.thread[n].done);
		task[n] = kthread_create(bench_thread, &all.thread[n],
					 "iommu-bench/%u", n);
		if (IS_ERR(task[n]))
			break;
		kthread_bind(task[n], cpu);
		cpu = cpumask_next(cpu, cpu_online_mask);
	}
	if (n < nr) {
		while (n--)
			kthread_stop(task[n]);
		KUNIT_FAIL_AND_ABORT(test, "no threads");
	}
	for (n = 0; n < nr; n++)
		wake_up_process(task[n]);
	for (n = 0; n < nr; n++) {
		wait_for_completion(&all.thread[n].done);
		/* per 1000 seconds: 20 ms are some 100 operations */
		rate += div64_u64(all.thread[n].ops * NSEC_PER_SEC * 1000,
				  all.thread[n].ns);
		*ops += all.thread[n].ops;
	}
	return div64_u64(NSEC_PER_SEC * 1000, rate);
}

/* One and two threads, both ways. Returns the number of operations of each way. */
static void bench_compare_threads(struct kunit *test, const char *row,
				  unsigned int param,
				  bench_op_t *const op[NR_WAYS],
				  void *const ctx[], u64 ops[NR_WAYS])
{
	u64 sample[BENCH_THREADS][NR_WAYS][BENCH_ALL];
	enum bench_way way;
	unsigned int round, nr;

	if (num_online_cpus() < BENCH_THREADS)
		kunit_skip(test, "needs %u CPUs", BENCH_THREADS);

	for (round = 0; round < BENCH_ALL; round++)
		for (nr = 1; nr <= BENCH_THREADS; nr++)
			for (way = 0; way < NR_WAYS; way++)
				sample[nr - 1][way][round] =
					bench_parallel(test, nr, op[way], ctx, &ops[way]);
	for (nr = 1; nr <= BENCH_THREADS; nr++)
		for (way = 0; way < NR_WAYS; way++)
			bench_print(test, row, param, nr, way,
				    sample[nr - 1][way] + BENCH_WARM_UP,
				    BENCH_ROUNDS);
}

/* --- a device, as far as a driver looks at it --- */

struct bench_info {
	struct iommu_device *iommu;
	u32 requester;
	u32 qdep;
};

/* Three objects, on cache lines of their own, as in a driver. */
struct bench_dev {
	struct device dev ____cacheline_aligned;
	struct dev_iommu iommu ____cacheline_aligned;
	struct bench_info info ____cacheline_aligned;
};

static void bench_dev_init(struct bench_dev *bdev, struct iommu_device *iommu,
			   u32 requester)
{
	bdev->info.iommu = iommu;
	bdev->info.requester = requester;
	bdev->iommu.priv = &bdev->info;
	bdev->dev.iommu = &bdev->iommu;
}

static void bench_free(void *p)
{
	kvfree(p);
}

/* Zeroed, until the end of the test */
static void *bench_alloc(struct kunit *test, size_t nr, size_t size)
{
	void *p = kvcalloc(nr, size, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, p);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, bench_free, p));
	return p;
}

static struct bench_dev *bench_devs(struct kunit *test, unsigned int nr)
{
	return bench_alloc(test, nr, sizeof(struct bench_dev));
}

/* --- the previous implementation --- */

struct null_cmd {
	u64 qw[4];
};

#define NULL_BATCH	16

struct base_batch {
	struct null_cmd cmd[NULL_BATCH];
	unsigned int nr;
};

struct base_domain {
	spinlock_t lock;		/* of @tags and @batch, for a whole walk */
	struct list_head tags;
	struct base_batch *batch;	/* from the first attachment on */
};

struct base_tag {
	struct list_head node;
	enum iommu_alist_kind kind;
	struct iommu_device *iommu;
	struct device *dev;
	u16 id;
	u32 pasid;
	unsigned int users;
};

static void base_init(struct base_domain *base)
{
	spin_lock_init(&base->lock);
	INIT_LIST_HEAD(&base->tags);
	base->batch = NULL;
}

static bool base_same(const struct base_tag *a, const struct base_tag *b)
{
	return a->kind == b->kind && a->id == b->id && a->pasid == b->pasid &&
		a->iommu == b->iommu && a->dev == b->dev;
}

static struct base_tag base_tag(struct bench_dev *bdev,
				enum iommu_alist_kind kind)
{
	return (struct base_tag) {
		.kind = kind,
		.iommu = bdev->info.iommu,
		.dev = kind == IOMMU_ALIST_ATC ? &bdev->dev : NULL,
		.id = TAG,
		.pasid = PASID,
		.users = 1,
	};
}

static struct base_tag *base_find(struct base_domain *base,
				  const struct base_tag *key)
{
	struct base_tag *tag;

	lockdep_assert_held(&base->lock);

	list_for_each_entry(tag, &base->tags, node)
		if (base_same(tag, key))
			return tag;
	return NULL;
}

static int base_assign(struct base_domain *base, struct bench_dev *bdev,
		       enum iommu_alist_kind kind)
{
	struct base_tag *tag = kmalloc(sizeof(*tag), GFP_KERNEL);
	struct base_tag *old;
	unsigned long flags;

	if (!tag)
		return -ENOMEM;
	*tag = base_tag(bdev, kind);

	spin_lock_irqsave(&base->lock, flags);
	old = base_find(base, tag);
	if (old)
		old->users++;
	else
		list_add_tail(&tag->node, &base->tags);
	spin_unlock_irqrestore(&base->lock, flags);
	if (old)
		kfree(tag);
	return 0;
}

static void base_unassign(struct base_domain *base, struct bench_dev *bdev,
			  enum iommu_alist_kind kind)
{
	struct base_tag key = base_tag(bdev, kind);
	struct base_tag *tag;
	unsigned long flags;

	spin_lock_irqsave(&base->lock, flags);
	tag = base_find(base, &key);
	if (tag && !--tag->users)
		list_del(&tag->node);
	else
		tag = NULL;
	spin_unlock_irqrestore(&base->lock, flags);
	kfree(tag);
}

static int base_attach(struct base_domain *base, struct bench_dev *bdev, bool ats)
{
	int ret;

	if (!base->batch) {
		base->batch = kzalloc(sizeof(*base->batch), GFP_KERNEL);
		if (!base->batch)
			return -ENOMEM;
	}
	ret = base_assign(base, bdev, IOMMU_ALIST_TAG);
	if (ret || !ats)
		return ret;
	ret = base_assign(base, bdev, IOMMU_ALIST_ATC);
	if (ret)
		base_unassign(base, bdev, IOMMU_ALIST_TAG);
	return ret;
}

static void base_detach(struct base_domain *base, struct bench_dev *bdev, bool ats)
{
	base_unassign(base, bdev, IOMMU_ALIST_TAG);
	if (ats)
		base_unassign(base, bdev, IOMMU_ALIST_ATC);
}

static __always_inline void base_sync(struct iommu_alist_walk *walk,
				      struct iommu_device *iommu,
				      const struct iommu_alist_ops *ops)
{
	walk->syncs++;
	ops->wait(walk, iommu, ops->submit(walk, iommu));
}

/* A tag becomes a command: for an ATC, with what the device's driver knows. */
static __always_inline void base_add(struct iommu_alist_walk *walk,
				     const struct base_tag *tag,
				     const struct iommu_alist_ops *ops)
{
	struct iommu_alist_elm elm = {
		.iommu = tag->iommu,
		.kind = tag->kind,
		.id = tag->id,
		.pasid = tag->pasid,
	};

	if (tag->kind == IOMMU_ALIST_ATC) {
		struct bench_info *info = dev_iommu_priv_get(tag->dev);

		elm.id = info->requester;
		elm.info = info->qdep;
	}
	if (ops->add(walk, &elm) == -ENOSPC) {
		base_sync(walk, tag->iommu, ops);
		ops->add(walk, &elm);
	}
}

/* Inlined, so that a driver's functions are called as directly as in the driver. */
static __always_inline void base_walk(struct base_domain *base,
				      struct iommu_alist_walk *walk,
				      const struct iommu_alist_ops *ops)
{
	struct iommu_device *iommu = NULL;
	struct base_tag *tag;
	unsigned long flags;

	spin_lock_irqsave(&base->lock, flags);
	list_for_each_entry(tag, &base->tags, node) {
		if (iommu && iommu != tag->iommu)
			base_sync(walk, iommu, ops);
		iommu = tag->iommu;
		base_add(walk, tag, ops);
	}
	base_sync(walk, iommu, ops);
	spin_unlock_irqrestore(&base->lock, flags);
}

/* --- hardware that takes its time --- */

struct slow {
	struct imock *mock;
	struct base_domain base;
};

static void slow_walk_init(struct imock_walk *mw, struct imock *mock)
{
	imock_walk_init(mw, mock, IOMMU_ALIST_ALL_KINDS, 0, 0);
}

static void slow_flush_base(void *ctx)
{
	struct slow *slow = ctx;
	struct imock_walk mw;

	slow_walk_init(&mw, slow->mock);
	rcu_read_lock();	/* nothing but what the mock wants to see */
	base_walk(&slow->base, &mw.walk, &slow->mock->driver->ops);
	rcu_read_unlock();
	imock_walk_end(&mw);
}

static void slow_flush_series(void *ctx)
{
	struct slow *slow = ctx;

	imock_flush(&slow->mock->domain[0], IOMMU_ALIST_ALL_KINDS, 0, 0);
}

static bench_op_t *const slow_flush[NR_WAYS] = {
	slow_flush_base, slow_flush_series
};

/* One function with ATS behind each instance, attached both ways */
static struct slow *slow_create(struct kunit *test, unsigned int nr_inst)
{
	struct slow *slow = bench_alloc(test, 1, sizeof(*slow));
	struct bench_dev *bdev = bench_devs(test, nr_inst);
	unsigned int n;

	slow->mock = imock_create(&imock_drivers[IMOCK_VTD], nr_inst, nr_inst);
	KUNIT_ASSERT_NOT_NULL(test, slow->mock);
	base_init(&slow->base);
	for (n = 0; n < nr_inst; n++) {
		bench_dev_init(&bdev[n], &slow->mock->inst[n].iommu, n);
		KUNIT_EXPECT_EQ(test, 0, base_attach(&slow->base, &bdev[n], true));
		KUNIT_EXPECT_EQ(test, 0, imock_attach(&slow->mock->fn[n], PASID,
						      &slow->mock->domain[0]));
	}
	return slow;
}

static void slow_destroy(struct kunit *test, struct slow *slow)
{
	struct base_tag *tag, *next;
	unsigned int n;

	for (n = 0; n < slow->mock->nr_fns; n++)
		KUNIT_EXPECT_EQ(test, 0, imock_detach(&slow->mock->fn[n], PASID));
	KUNIT_EXPECT_TRUE_MSG(test, imock_is_good(slow->mock), "%s",
			      slow->mock->complaint);
	list_for_each_entry_safe(tag, next, &slow->base.tags, node)
		kfree(tag);
	kfree(slow->base.batch);
	imock_destroy(slow->mock);
}

/* So many flushes were one sync, one wait and two commands per instance each. */
static void slow_expect(struct kunit *test, struct imock *mock, u64 flushes)
{
	static const enum imock_what what[] = {
		IMOCK_IOTLB, IMOCK_ATC, IMOCK_SYNC, IMOCK_WAIT
	};
	unsigned int n;

	for (n = 0; n < ARRAY_SIZE(what); n++)
		KUNIT_EXPECT_EQ(test, flushes * mock->nr_inst,
				imock_count(mock, what[n]));
}

/* After a flush in this way, no cache has what was in the page table before. */
static void slow_expect_flushed(struct kunit *test, struct slow *slow,
				bench_op_t *flush)
{
	struct imock_domain *domain = &slow->mock->domain[0];

	imock_access_all(slow->mock);
	imock_write(domain, 0, domain->version[0] + 1);
	KUNIT_EXPECT_EQ(test, 2 * slow->mock->nr_inst,
			imock_stale(domain, 0, domain->version[0]));
	imock_clear(slow->mock);
	flush(slow);
	slow_expect(test, slow->mock, 1);
	KUNIT_EXPECT_EQ(test, 0, imock_stale(domain, 0, domain->version[0]));
}

static void slow_expect_both(struct kunit *test, struct slow *slow)
{
	slow_expect_flushed(test, slow, slow_flush[BASE]);
	slow_expect_flushed(test, slow, slow_flush[SERIES]);
	imock_clear(slow->mock);
}

/* 0 is the cost of software, the mock's included. */
static const unsigned int latency_us[] = { 0, 20, 50, 100, 500 };

/* The wall time of a flush against the number of instances */
static void instances(struct kunit *test)
{
	static const unsigned int nr_inst[] = { 1, 2, 4, 8, 12, 16 };
	unsigned int i, l;
	struct slow *slow;

	for (i = 0; i < ARRAY_SIZE(nr_inst); i++) {
		slow = slow_create(test, nr_inst[i]);
		slow_expect_both(test, slow);
		for (l = 0; l < ARRAY_SIZE(latency_us); l++) {
			slow->mock->latency = ns_to_ktime(latency_us[l] * NSEC_PER_USEC);
			bench_compare(test, "instances", latency_us[l],
				      nr_inst[i], slow_flush, slow, 8);
		}
		slow_expect(test, slow->mock,
			    NR_WAYS * BENCH_ALL * 8 * ARRAY_SIZE(latency_us));
		slow_destroy(test, slow);
	}
}

/* Threads that flush one domain of two instances at the same time */
static void threads(struct kunit *test)
{
	struct slow *slow = slow_create(test, 2);
	void *const ctx[BENCH_THREADS] = { slow, slow };
	u64 ops[NR_WAYS] = {};
	unsigned int l;

	slow_expect_both(test, slow);
	for (l = 1; l < ARRAY_SIZE(latency_us); l++) {
		slow->mock->latency = ns_to_ktime(latency_us[l] * NSEC_PER_USEC);
		bench_compare_threads(test, "threads", latency_us[l],
				      slow_flush, ctx, ops);
	}
	slow_expect(test, slow->mock, ops[BASE] + ops[SERIES]);
	slow_destroy(test, slow);
}

/* --- hardware that takes no time --- */

/*
 * @cmds: commands submitted so far
 * @syncs: and syncs behind them
 * @waits: and how often one was waited for
 * @errors: attachments that failed
 * @nr: functions that are attached: the first one without ATS, so that with it
 *	the domain has one element, and one more with each
 * @dev: one more than these, for who attaches and detaches
 */
struct null {
	struct iommu_device iommu;
	struct iommu_alist list;
	struct base_domain base;
	u64 cmds;
	u64 syncs;
	u64 waits;
	u64 errors;
	unsigned int nr;
	struct bench_dev *dev;
	struct iommu_alist_attach *attach;
};

struct null_walk {
	struct iommu_alist_walk walk;
	u64 address;
	struct base_batch *batch;
};

static struct null *to_null(struct iommu_device *iommu)
{
	return container_of(iommu, struct null, iommu);
}

static int null_add(struct iommu_alist_walk *walk,
		    const struct iommu_alist_elm *elm)
{
	struct null_walk *nw = container_of(walk, struct null_walk, walk);
	struct base_batch *batch = nw->batch;

	if (batch->nr == NULL_BATCH)
		return -ENOSPC;
	batch->cmd[batch->nr++] = (struct null_cmd) {
		{ elm->kind | (u64)elm->id << 16 | (u64)elm->pasid << 32,
		  nw->address | elm->info },
	};
	return 1;
}

static u64 null_submit(struct iommu_alist_walk *walk, struct iommu_device *iommu)
{
	struct null_walk *nw = container_of(walk, struct null_walk, walk);
	struct null *null = to_null(iommu);

	null->cmds += nw->batch->nr;
	nw->batch->nr = 0;
	return ++null->syncs;
}

static int null_wait(struct iommu_alist_walk *walk, struct iommu_device *iommu,
		     u64 sync)
{
	to_null(iommu)->waits++;
	return 0;
}

static const struct iommu_alist_ops null_ops = {
	.flags = IOMMU_ALIST_IRQS_OFF,
	.add = null_add,
	.submit = null_submit,
	.wait = null_wait,
};

static void null_walk_init(struct null_walk *nw, struct base_batch *batch)
{
	iommu_alist_walk_init(&nw->walk, IOMMU_ALIST_ALL_KINDS);
	nw->address = PAGE_SIZE;
	nw->batch = batch;
}

static void null_flush_base(void *ctx)
{
	struct null *null = ctx;
	struct null_walk nw;

	null_walk_init(&nw, null->base.batch);
	base_walk(&null->base, &nw.walk, &null_ops);
}

/* The batch is on the stack: nobody else can be in its way. */
static void null_flush_series(void *ctx)
{
	struct null *null = ctx;
	struct base_batch batch;
	struct null_walk nw;

	batch.nr = 0;
	null_walk_init(&nw, &batch);
	iommu_alist_flush(&null->list, &nw.walk);
}

static bench_op_t *const null_flush[NR_WAYS] = {
	null_flush_base, null_flush_series
};

static void null_attach_base(struct null *null, unsigned int n, bool ats)
{
	null->errors += !!base_attach(&null->base, &null->dev[n], ats);
}

/* What a detach flushes, in two parts as 6.12 does, and then forgets */
static void null_detach_base(struct null *null, unsigned int n, bool ats)
{
	struct base_tag tag = base_tag(&null->dev[n], IOMMU_ALIST_TAG);
	struct base_tag atc = base_tag(&null->dev[n], IOMMU_ALIST_ATC);
	struct base_batch batch;
	struct null_walk nw;

	batch.nr = 0;
	null_walk_init(&nw, &batch);
	base_add(&nw.walk, &tag, &null_ops);
	base_sync(&nw.walk, &null->iommu, &null_ops);
	if (ats) {
		base_add(&nw.walk, &atc, &null_ops);
		base_sync(&nw.walk, &null->iommu, &null_ops);
	}
	base_detach(&null->base, &null->dev[n], ats);
}

static void null_attach_series(struct null *null, unsigned int n, bool ats)
{
	struct iommu_alist_where where = {
		.iommu = &null->iommu,
		.tag = TAG,
		.tag_pasid = PASID,
		.ats = ats,
		.requester = null->dev[n].info.requester,
		.pasid = PASID,
	};
	struct base_batch batch;
	struct null_walk nw;

	batch.nr = 0;
	null_walk_init(&nw, &batch);
	mutex_lock(&null->list.lock);
	if (iommu_alist_prepare(&null->list, &null->attach[n], &where) ||
	    iommu_alist_commit(&null->list, &null->attach[n], &nw.walk))
		null->errors++;
	mutex_unlock(&null->list.lock);
}

static void null_detach_series(struct null *null, unsigned int n)
{
	struct base_batch batch;
	struct null_walk nw;

	batch.nr = 0;
	null_walk_init(&nw, &batch);
	mutex_lock(&null->list.lock);
	iommu_alist_remove(&null->list, &null->attach[n], &nw.walk);
	mutex_unlock(&null->list.lock);
}

/* One more comes and goes. */
static void null_turn_base(void *ctx)
{
	struct null *null = ctx;

	null_attach_base(null, null->nr, true);
	null_detach_base(null, null->nr, true);
}

static void null_turn_series(void *ctx)
{
	struct null *null = ctx;

	null_attach_series(null, null->nr, true);
	null_detach_series(null, null->nr);
}

static bench_op_t *const null_turn[NR_WAYS] = {
	null_turn_base, null_turn_series
};

static struct null *null_create(struct kunit *test, unsigned int nr)
{
	struct null *null = bench_alloc(test, 1, sizeof(*null));
	unsigned int n;

	null->dev = bench_devs(test, nr + 1);
	null->attach = bench_alloc(test, nr + 1, sizeof(*null->attach));
	iommu_alist_init(&null->list, &null_ops);
	base_init(&null->base);
	for (n = 0; n <= nr; n++)
		bench_dev_init(&null->dev[n], &null->iommu, n);
	return null;
}

/* With so many elements each way */
static struct null *null_create_with(struct kunit *test, unsigned int nr)
{
	struct null *null = null_create(test, nr);

	for (; null->nr < nr; null->nr++) {
		null_attach_base(null, null->nr, null->nr > 0);
		null_attach_series(null, null->nr, null->nr > 0);
	}
	return null;
}

static void null_destroy(struct kunit *test, struct null *null)
{
	while (null->nr--) {
		null_detach_base(null, null->nr, null->nr > 0);
		null_detach_series(null, null->nr);
	}
	KUNIT_EXPECT_EQ(test, 0, null->errors);
	KUNIT_EXPECT_TRUE(test, list_empty(&null->base.tags));
	KUNIT_EXPECT_TRUE(test, list_empty(&null->list.elms));
	kfree(null->base.batch);
	iommu_alist_destroy(&null->list);
}

static void null_clear(struct null *null)
{
	null->cmds = 0;
	null->syncs = 0;
	null->waits = 0;
}

/* Something, so many times, was so many commands and syncs each. */
static void null_expect(struct kunit *test, struct null *null, u64 times,
			unsigned int cmds, unsigned int syncs)
{
	KUNIT_EXPECT_EQ(test, times * cmds, null->cmds);
	KUNIT_EXPECT_EQ(test, times * syncs, null->syncs);
	KUNIT_EXPECT_EQ(test, times * syncs, null->waits);
	null_clear(null);
}

/* Each way costs these commands, alone and over the whole measurement. */
static void null_compare(struct kunit *test, const char *row, struct null *null,
			 bench_op_t *const op[NR_WAYS], unsigned int x,
			 unsigned int times, const unsigned int cmds[NR_WAYS],
			 unsigned int syncs)
{
	enum bench_way way;

	null_clear(null);
	for (way = 0; way < NR_WAYS; way++) {
		op[way](null);
		null_expect(test, null, 1, cmds[way], syncs);
	}
	bench_compare(test, row, 0, x, op, null, times);
	null_expect(test, null, BENCH_ALL * times, cmds[BASE] + cmds[SERIES],
		    NR_WAYS * syncs);
}

static const unsigned int nr_elements[] = { 1, 8, 64, 512 };

/* The cost of a flush against the number of elements */
static void elements(struct kunit *test)
{
	unsigned int n, nr;
	struct null *null;

	for (n = 0; n < ARRAY_SIZE(nr_elements); n++) {
		nr = nr_elements[n];
		null = null_create_with(test, nr);
		null_compare(test, "elements", null, null_flush, nr,
			     1000 / nr + 10, (unsigned int[]){ nr, nr },
			     DIV_ROUND_UP(nr, NULL_BATCH));
		null_destroy(test, null);
	}
}

/*
 * The cost of an attach and a detach, of a function that shares the tag, against
 * the number of elements that are there. Both ways flush tag and ATC at the end; the
 * list flushes the tag before the function may use it, too.
 */
static void attach(struct kunit *test)
{
	struct null *null;
	unsigned int n;

	for (n = 0; n < ARRAY_SIZE(nr_elements); n++) {
		null = null_create_with(test, nr_elements[n]);
		null_compare(test, "attach", null, null_turn, nr_elements[n],
			     20, (unsigned int[]){ 2, 3 }, 2);
		null_destroy(test, null);
	}
}

/* --- one attachment --- */

struct bench_allocs {
	struct task_struct *task;
	unsigned int nr;
};

static void bench_saw_kmalloc(void *data, unsigned long call_site,
			      const void *ptr, size_t bytes_req,
			      size_t bytes_alloc, gfp_t gfp_flags, int node)
{
	struct bench_allocs *allocs = data;

	if (current == allocs->task)
		allocs->nr++;
}

/* Attach the one function, and count what that allocates. */
static void one_attach(struct kunit *test, struct null *null, enum bench_way way,
		       unsigned int expected)
{
	struct bench_allocs allocs = { .task = current };

	KUNIT_ASSERT_EQ(test, 0, register_trace_kmalloc(bench_saw_kmalloc, &allocs));
	if (way == BASE)
		null_attach_base(null, 0, true);
	else
		null_attach_series(null, 0, true);
	unregister_trace_kmalloc(bench_saw_kmalloc, &allocs);
	tracepoint_synchronize_unregister();
	KUNIT_EXPECT_EQ(test, expected, allocs.nr);
	bench_print_one(test, "one-allocations", way, allocs.nr);
}

#define BENCH_LINES	32

/* Cache lines, each counted once */
struct bench_lines {
	unsigned long line[BENCH_LINES];
	unsigned int nr;
};

static void bench_touch(struct bench_lines *lines, const void *p, size_t size)
{
	unsigned long line = (unsigned long)p / L1_CACHE_BYTES;
	unsigned long last = ((unsigned long)p + size - 1) / L1_CACHE_BYTES;
	unsigned int n;

	for (; line <= last; line++) {
		for (n = 0; n < lines->nr; n++)
			if (lines->line[n] == line)
				break;
		if (n == lines->nr && n < BENCH_LINES)
			lines->line[lines->nr++] = line;
	}
}

#define TOUCH(lines, field)	bench_touch(lines, &(field), sizeof(field))

/* What base_walk() reads and writes of the domain, its tags and its devices */
static void one_lines_base(struct base_domain *base, struct bench_lines *read,
			   struct bench_lines *written)
{
	struct base_tag *tag;

	TOUCH(read, base->lock);
	TOUCH(written, base->lock);
	TOUCH(read, base->tags);
	TOUCH(read, base->batch);
	TOUCH(read, base->batch->nr);
	TOUCH(written, base->batch->nr);
	bench_touch(written, base->batch->cmd, 2 * sizeof(*base->batch->cmd));
	bench_touch(read, base->batch->cmd, 2 * sizeof(*base->batch->cmd));
	list_for_each_entry(tag, &base->tags, node) {
		TOUCH(read, tag->node);
		TOUCH(read, tag->kind);
		TOUCH(read, tag->iommu);
		TOUCH(read, tag->pasid);
		TOUCH(read, tag->id);
		if (tag->kind != IOMMU_ALIST_ATC)
			continue;
		TOUCH(read, tag->dev);
		TOUCH(read, tag->dev->iommu);
		TOUCH(read, tag->dev->iommu->priv);
		bench_touch(read, tag->dev->iommu->priv,
			    sizeof(struct bench_info));
	}
}

/* What iommu_alist_flush() reads of the list; it writes nothing there. */
static void one_lines_series(struct iommu_alist *list,
			     struct bench_lines *read)
{
	struct iommu_alist_elm *elm;

	TOUCH(read, list->elms);
	TOUCH(read, list->ops);
	list_for_each_entry(elm, &list->elms, node) {
		TOUCH(read, elm->node);
		TOUCH(read, elm->iommu);
		TOUCH(read, elm->id);
		TOUCH(read, elm->pasid);
		TOUCH(read, elm->info);
		TOUCH(read, elm->kind);
	}
}

static void one_lines(struct kunit *test, struct null *null)
{
	struct bench_lines read[NR_WAYS] = {}, written[NR_WAYS] = {};
	enum bench_way way;

	one_lines_base(&null->base, &read[BASE], &written[BASE]);
	one_lines_series(&null->list, &read[SERIES]);
	KUNIT_EXPECT_LE(test, read[SERIES].nr, read[BASE].nr);
	for (way = 0; way < NR_WAYS; way++) {
		bench_print_one(test, "one-lines", way, read[way].nr);
		bench_print_one(test, "one-lines-written", way, written[way].nr);
	}
}

/* A domain with one attachment, by far the commonest */
static void one(struct kunit *test)
{
	struct null *null = null_create(test, 0);

	/* The tag, the ATC, and the batch that the domain gets once */
	one_attach(test, null, BASE, 3);
	one_attach(test, null, SERIES, 0);
	null_compare(test, "one", null, null_flush, 1, 1000,
		     (unsigned int[]){ 2, 2 }, 1);
	one_lines(test, null);
	null_detach_base(null, 0, true);
	null_detach_series(null, 0);
	null_destroy(test, null);
}

/* --- binding --- */

/* A process, and the device that it binds to */
struct bench_process {
	struct mm_struct *mm;
	struct device *dev;
	unsigned int errors;
};

/* As 6.12's one lock of all processes, around the real thing */
static DEFINE_MUTEX(base_bind_lock);

static void bind_base(void *ctx)
{
	struct bench_process *process = ctx;
	struct iommu_sva *handle;

	mutex_lock(&base_bind_lock);
	handle = iommu_sva_bind_device(process->dev, process->mm);
	mutex_unlock(&base_bind_lock);
	if (IS_ERR(handle)) {
		process->errors++;
		return;
	}
	mutex_lock(&base_bind_lock);
	iommu_sva_unbind_device(handle);
	mutex_unlock(&base_bind_lock);
}

static void bind_series(void *ctx)
{
	struct bench_process *process = ctx;
	struct iommu_sva *handle;

	handle = iommu_sva_bind_device(process->dev, process->mm);
	if (IS_ERR(handle))
		process->errors++;
	else
		iommu_sva_unbind_device(handle);
}

static bench_op_t *const bind_op[NR_WAYS] = { bind_base, bind_series };

static void bench_mmput(void *mm)
{
	mmput(mm);
}

static void bench_process_init(struct kunit *test, struct bench_process *process,
			       struct sva_mock_dev *mdev)
{
	process->errors = 0;
	process->dev = &mdev->dev;
	process->mm = mm_alloc();
	KUNIT_ASSERT_NOT_NULL(test, process->mm);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, bench_mmput,
							   process->mm));
}

/* Processes that bind and unbind at the same time, each with one of @mdev */
static void bench_bind(struct kunit *test, const char *row,
		       struct sva_mock_dev *const mdev[BENCH_THREADS])
{
	struct bench_process process[BENCH_THREADS];
	void *ctx[BENCH_THREADS];
	u64 ops[NR_WAYS] = {};
	unsigned int n, l;

	for (n = 0; n < BENCH_THREADS; n++) {
		bench_process_init(test, &process[n], mdev[n]);
		ctx[n] = &process[n];
	}
	for (l = 1; l < ARRAY_SIZE(latency_us); l++) {
		for (n = 0; n < SVA_MOCK_DEVS; n++)
			sva_mock.dev[n].latency_us = latency_us[l];
		bench_compare_threads(test, row, latency_us[l], bind_op, ctx,
				      ops);
	}
	for (n = 0; n < BENCH_THREADS; n++)
		KUNIT_EXPECT_EQ(test, 0, process[n].errors);
	/* Each bind made a domain, and each unbind freed it: see sva_mock_exit(). */
	KUNIT_EXPECT_EQ(test, ops[BASE] + ops[SERIES],
			atomic_read(&sva_mock.allocated));
}

/* Each process a device of its own, in a group of its own */
static void bind(struct kunit *test)
{
	bench_bind(test, "bind", (struct sva_mock_dev *[]) {
			&sva_mock.dev[2], &sva_mock.dev[4] });
}

/*
 * One device for all of them. The driver attaches and detaches under the mutex of
 * the device's group, so that only what the core does by itself can overlap.
 */
static void bind_one_device(struct kunit *test)
{
	bench_bind(test, "bind-device", (struct sva_mock_dev *[]) {
			&sva_mock.dev[2], &sva_mock.dev[2] });
}

/* Two devices of one group. A bind attaches the PASID to both of them. */
static void bind_one_group(struct kunit *test)
{
	KUNIT_ASSERT_PTR_EQ(test, sva_mock.dev[0].dev.iommu_group,
			    sva_mock.dev[1].dev.iommu_group);
	bench_bind(test, "bind-group", (struct sva_mock_dev *[]) {
			&sva_mock.dev[0], &sva_mock.dev[1] });
}

/*
 * Without the slow ones, which wait for hardware, what is left can be run on a
 * machine whose clock counts instructions.
 */
static struct kunit_case bench_cases[] = {
	KUNIT_CASE_SLOW(instances),
	KUNIT_CASE_SLOW(threads),
	KUNIT_CASE(elements),
	KUNIT_CASE(attach),
	KUNIT_CASE(one),
	{}
};

static struct kunit_suite bench_suite = {
	.name = "iommu_bench",
	.test_cases = bench_cases,
};

static struct kunit_case bench_sva_cases[] = {
	KUNIT_CASE_SLOW(bind),
	KUNIT_CASE_SLOW(bind_one_device),
	KUNIT_CASE_SLOW(bind_one_group),
	{}
};

static struct kunit_suite bench_sva_suite = {
	.name = "iommu_bench_sva",
	.init = sva_mock_init,
	.exit = sva_mock_exit,
	.test_cases = bench_sva_cases,
};

kunit_test_suites(&bench_suite, &bench_sva_suite);

MODULE_DESCRIPTION("Benchmarks of attach lists and SVA");
MODULE_LICENSE("GPL");
