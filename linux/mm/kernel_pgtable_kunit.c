// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of freeing kernel page tables: order, limit, list of users
 *
 * The tests take the place of SVA. They register mms of their own, whose mmu
 * notifier looks at the pages that the test has freed at the moment when a
 * device would forget them. A test keeps a reference to each page, so that the
 * count tells whether the code under test has given up its own.
 */
#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kernel_pgtable.h>
#include <linux/kthread.h>
#include <linux/mmu_notifier.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/tracepoint.h>
#include <trace/events/kmem.h>

#define KPT_TIMEOUT	(20 * HZ)
#define KPT_FOREVER	(24 * 3600 * HZ)
#define KPT_PAGES	64
#define KPT_THREADS	4
#define KPT_FLOOD	1500

/*
 * One mm that stands for a process with SVA.
 *
 * @calls, @early, @other and @most are written by the notifier and read by
 * the test after kernel_pgtable_flush(), which waits for the notifier. Others
 * may free tables, too, so that it can be called until the mm is unregistered,
 * when the test function has returned: what it looks at is allocated before
 * the mm, and not on the stack.
 */
struct kpt_mm {
	struct mmu_notifier mn;
	struct mm_struct *mm;
	struct kernel_pgtable_user *user;

	/* Set up by the test: pages to look at, and how long to be at it */
	struct page **pages;
	unsigned int nr_pages;
	unsigned int delay_us;
	bool hang;
	bool fail;
	struct completion entered;
	struct completion go_on;

	unsigned int calls;	/* invalidations */
	unsigned int other;	/* of them, of another range than kernel tables have */
	unsigned int early;	/* pages that were free before their time */
	unsigned int most;	/* most pages ever held */
	unsigned long start, end;	/* of the last one */
};

/* One reference is the test's; the other goes when the page is freed. */
static bool kpt_is_free(struct page *page)
{
	return page_count(page) == 1;
}

/* A page that is lost for good, which the test gets back */
static void kpt_find(struct page *lost)
{
	if (!kpt_is_free(lost))
		put_page(lost);
}

static void kpt_invalidate(struct mmu_notifier *mn, struct mm_struct *mm,
			   unsigned long start, unsigned long end)
{
	struct kpt_mm *kmm = container_of(mn, struct kpt_mm, mn);
	unsigned int i;

	kmm->other += !kernel_pgtable_is_range(start, end);
	kmm->start = start;
	kmm->end = end;
	kmm->calls++;
	kmm->most = max(kmm->most, kernel_pgtable_held());

	for (i = 0; i < kmm->nr_pages; i++)
		kmm->early += kpt_is_free(kmm->pages[i]);

	if (kmm->fail)
		kernel_pgtable_not_forgotten();
	if (kmm->delay_us)
		usleep_range(kmm->delay_us, 2 * kmm->delay_us);
	if (kmm->hang) {
		complete(&kmm->entered);
		wait_for_completion_timeout(&kmm->go_on, KPT_TIMEOUT);
	}
}

static const struct mmu_notifier_ops kpt_ops = {
	.arch_invalidate_secondary_tlbs = kpt_invalidate,
};

static void kpt_unregister(struct kpt_mm *kmm)
{
	kernel_pgtable_unregister(kmm->user);
	kmm->user = NULL;
}

static void kpt_mm_free(void *data)
{
	struct kpt_mm *kmm = data;

	kpt_unregister(kmm);
	mmu_notifier_unregister(&kmm->mn, kmm->mm);
	mmput(kmm->mm);
}

static void kpt_register(struct kunit *test, struct kpt_mm *kmm)
{
	struct kernel_pgtable_user *user = kernel_pgtable_register(kmm->mm);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, user);
	kmm->user = user;
}

static struct kpt_mm *kpt_mm_alloc(struct kunit *test)
{
	struct kpt_mm *kmm = kunit_kzalloc(test, sizeof(*kmm), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, kmm);
	init_completion(&kmm->entered);
	init_completion(&kmm->go_on);
	kmm->mn.ops = &kpt_ops;
	kmm->mm = mm_alloc();
	KUNIT_ASSERT_NOT_NULL(test, kmm->mm);
	KUNIT_ASSERT_EQ(test, 0, mmu_notifier_register(&kmm->mn, kmm->mm));
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, kpt_mm_free, kmm));
	return kmm;
}

static struct kpt_mm *kpt_mm_new(struct kunit *test)
{
	struct kpt_mm *kmm = kpt_mm_alloc(test);

	kpt_register(test, kmm);
	return kmm;
}

static void kpt_put_page(void *page)
{
	put_page(page);
}

/* A page with two references: the test's, and the one to give away */
static struct page *kpt_page(struct kunit *test)
{
	struct page *page = alloc_page(GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, page);
	get_page(page);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, kpt_put_page, page));
	return page;
}

static struct page **kpt_pages(struct kunit *test, unsigned int nr)
{
	struct page **pages = kunit_kcalloc(test, nr, sizeof(*pages),
					    GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, pages);
	for (i = 0; i < nr; i++)
		pages[i] = kpt_page(test);
	return pages;
}

static void kpt_delay_as_usual(void *unused)
{
	kernel_pgtable_set_delay(msecs_to_jiffies(KERNEL_PGTABLE_DELAY_MS));
}

/* Until the end of the test, time frees nothing. */
static void kpt_no_delay_ends(struct kunit *test)
{
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test,
							   kpt_delay_as_usual,
							   NULL));
	kernel_pgtable_set_delay(KPT_FOREVER);
}

/* Free @page, and return in the middle of the invalidation that it causes. */
static void kpt_hang(struct kunit *test, struct kpt_mm *kmm, struct page *page)
{
	kmm->hang = true;
	kernel_pgtable_free(page);
	KUNIT_EXPECT_NE(test, 0, wait_for_completion_timeout(&kmm->entered,
							     KPT_TIMEOUT));
}

static void kpt_go_on(struct kpt_mm *kmm)
{
	complete_all(&kmm->go_on);
	kernel_pgtable_flush();
}

static void kpt_watch(struct kpt_mm *kmm, struct page **pages, unsigned int nr)
{
	kmm->pages = pages;
	kmm->nr_pages = nr;
}

static void kpt_expect_all_free(struct kunit *test, struct page **pages,
				unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		KUNIT_EXPECT_TRUE(test, kpt_is_free(pages[i]));
}

static void no_users_frees_at_once(struct kunit *test)
{
	struct page *page = kpt_page(test);

	kernel_pgtable_free(page);
	KUNIT_EXPECT_TRUE(test, kpt_is_free(page));
	KUNIT_EXPECT_EQ(test, 0, kernel_pgtable_held());
}

static void last_user_gone_frees_at_once(struct kunit *test)
{
	struct kpt_mm *kmm = kpt_mm_new(test);
	struct page *page = kpt_page(test);

	kpt_unregister(kmm);
	KUNIT_EXPECT_FALSE(test, kernel_pgtable_in_use());
	kernel_pgtable_free(page);
	KUNIT_EXPECT_TRUE(test, kpt_is_free(page));
	KUNIT_EXPECT_EQ(test, 0, kmm->calls);
}

/* The work item does it, without anybody asking for it */
static void freed_soon(struct kunit *test)
{
	struct page *page = kpt_page(test);
	unsigned long end = jiffies + KPT_TIMEOUT;

	kpt_mm_new(test);
	kernel_pgtable_free(page);
	while (!kpt_is_free(page) && time_before(jiffies, end))
		msleep(20);
	KUNIT_EXPECT_TRUE(test, kpt_is_free(page));
}

/* Until it does, others may come, and the work item lets them. */
static void burst_shares_invalidation(struct kunit *test)
{
	struct page **pages = kpt_pages(test, KPT_PAGES);
	struct kpt_mm *kmm = kpt_mm_new(test);
	unsigned int i;

	kpt_no_delay_ends(test);
	for (i = 0; i < KPT_PAGES; i++) {
		kernel_pgtable_free(pages[i]);
		/* Time for a work item that does not wait */
		if (i % (KPT_PAGES / 4) == 0)
			msleep(20);
	}
	KUNIT_EXPECT_EQ(test, KPT_PAGES, kernel_pgtable_held());
	KUNIT_EXPECT_EQ(test, 0, kmm->calls);
	kernel_pgtable_flush();
	KUNIT_EXPECT_EQ(test, 1, kmm->calls);
	KUNIT_EXPECT_EQ(test, 0, kernel_pgtable_held());
	kpt_expect_all_free(test, pages, KPT_PAGES);
}

/* One page more than may wait takes all others with it. */
static void limit_ends_delay(struct kunit *test)
{
	unsigned int i, nr = KERNEL_PGTABLE_MAX_HELD + 1;
	struct page **pages = kpt_pages(test, nr);
	struct kpt_mm *kmm = kpt_mm_new(test);

	kpt_no_delay_ends(test);
	for (i = 0; i < nr - 1; i++)
		kernel_pgtable_free(pages[i]);
	KUNIT_EXPECT_EQ(test, nr - 1, kernel_pgtable_held());
	KUNIT_EXPECT_EQ(test, 0, kmm->calls);
	kernel_pgtable_free(pages[i]);
	KUNIT_EXPECT_EQ(test, 1, kmm->calls);
	KUNIT_EXPECT_EQ(test, 0, kernel_pgtable_held());
	kpt_expect_all_free(test, pages, nr);
}

/* What a device may walk still is lost, and nothing but that. */
static void not_forgotten_is_not_freed(struct kunit *test)
{
	struct page *lost = kpt_page(test), *page = kpt_page(test);
	struct kpt_mm *kmm = kpt_mm_new(test);

	kmm->fail = true;
	kernel_pgtable_free(lost);
	kernel_pgtable_flush();
	KUNIT_EXPECT_FALSE(test, kpt_is_free(lost));
	KUNIT_EXPECT_EQ(test, 0, kernel_pgtable_held());

	kmm->fail = false;
	kernel_pgtable_free(page);
	kernel_pgtable_flush();
	KUNIT_EXPECT_TRUE(test, kpt_is_free(page));
	KUNIT_EXPECT_FALSE(test, kpt_is_free(lost));
	kpt_find(lost);
}

/* Nobody repeats the last invalidation of an mm: it has failed for all pages to come. */
static void failed_last_invalidation_is_for_good(struct kunit *test)
{
	struct page **lost = kpt_pages(test, 3), *page = kpt_page(test);
	struct kpt_mm *other = kpt_mm_new(test), *kmm = kpt_mm_new(test);
	int count = atomic_read(&kmm->mm->mm_count);
	unsigned int n;

	/* One that waits already, one before the unregistration, one after */
	kpt_hang(test, other, lost[0]);
	kernel_pgtable_keep(kmm->mm);
	kpt_go_on(other);
	kernel_pgtable_free(lost[1]);
	kernel_pgtable_flush();
	kpt_unregister(kmm);
	kpt_unregister(other);
	KUNIT_EXPECT_TRUE(test, kernel_pgtable_in_use());
	kernel_pgtable_free(lost[2]);
	kernel_pgtable_flush();
	for (n = 0; n < 3; n++)
		KUNIT_EXPECT_FALSE_MSG(test, kpt_is_free(lost[n]), "page %u", n);
	KUNIT_EXPECT_EQ(test, 0, kernel_pgtable_held());
	KUNIT_EXPECT_EQ(test, count, atomic_read(&kmm->mm->mm_count));

	kernel_pgtable_let_go(kmm->mm);
	KUNIT_EXPECT_FALSE(test, kernel_pgtable_in_use());
	kernel_pgtable_free(page);
	KUNIT_EXPECT_TRUE(test, kpt_is_free(page));
	for (n = 0; n < 3; n++)
		kpt_find(lost[n]);
}

/* Of an mm that nobody has registered, nothing is cached. */
static void unregistered_mm_is_not_kept(struct kunit *test)
{
	struct page *page = kpt_page(test);
	struct kpt_mm *kmm = kpt_mm_new(test), *other = kpt_mm_alloc(test);

	kernel_pgtable_keep(other->mm);
	kernel_pgtable_free(page);
	kernel_pgtable_flush();
	KUNIT_EXPECT_TRUE(test, kpt_is_free(page));
	kpt_unregister(kmm);
	KUNIT_EXPECT_FALSE(test, kernel_pgtable_in_use());
}

static void invalidate_precedes_free(struct kunit *test)
{
	struct page **pages = kpt_pages(test, 1);
	struct kpt_mm *kmm = kpt_mm_new(test);

	kpt_watch(kmm, pages, 1);
	kernel_pgtable_free(pages[0]);
	kernel_pgtable_flush();

	KUNIT_EXPECT_EQ(test, 1, kmm->calls);
	KUNIT_EXPECT_EQ(test, 0, kmm->other);
	KUNIT_EXPECT_EQ(test, 0, kmm->early);
	KUNIT_EXPECT_TRUE(test, kpt_is_free(pages[0]));
	KUNIT_EXPECT_EQ(test, 0, kernel_pgtable_held());
}

static void every_user_precedes_free(struct kunit *test)
{
	struct page **pages = kpt_pages(test, 1);
	struct kpt_mm *kmm[3];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(kmm); i++) {
		kmm[i] = kpt_mm_new(test);
		kpt_watch(kmm[i], pages, 1);
	}
	kernel_pgtable_free(pages[0]);
	kernel_pgtable_flush();

	for (i = 0; i < ARRAY_SIZE(kmm); i++) {
		KUNIT_EXPECT_EQ(test, 1, kmm[i]->calls);
		KUNIT_EXPECT_EQ(test, 0, kmm[i]->early);
	}
	KUNIT_EXPECT_TRUE(test, kpt_is_free(pages[0]));
}

/* Registered twice: one of the two going away leaves the other */
static void same_mm_twice(struct kunit *test)
{
	struct page **pages = kpt_pages(test, 1);
	struct kpt_mm *kmm = kpt_mm_new(test);
	struct kernel_pgtable_user *second = kernel_pgtable_register(kmm->mm);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, second);
	kpt_watch(kmm, pages, 1);
	kernel_pgtable_unregister(second);
	kernel_pgtable_free(pages[0]);
	kernel_pgtable_flush();
	KUNIT_EXPECT_EQ(test, 1, kmm->calls);
	KUNIT_EXPECT_EQ(test, 0, kmm->early);
}

/* Reserved pages are counted through PageReserved: freeing resets the count. */
static void reserved_page_waits(struct kunit *test)
{
	struct kpt_mm *kmm = kpt_mm_new(test);
	struct page *page = alloc_page(GFP_KERNEL);
	unsigned long managed;

	KUNIT_ASSERT_NOT_NULL(test, page);
	managed = atomic_long_read(&page_zone(page)->managed_pages);

	page->index = 0;
	mark_page_reserved(page);
	kpt_hang(test, kmm, page);
	KUNIT_EXPECT_TRUE(test, PageReserved(page));
	kpt_go_on(kmm);
	KUNIT_EXPECT_FALSE(test, PageReserved(page));
	KUNIT_EXPECT_EQ(test, managed,
			atomic_long_read(&page_zone(page)->managed_pages));
}

/* A table shared by two sections survives the first, goes with the second. */
static void bootmem_page_counts_sections(struct kunit *test)
{
	struct page *page;

	if (!IS_ENABLED(CONFIG_HAVE_BOOTMEM_INFO_NODE))
		kunit_skip(test, "needs HAVE_BOOTMEM_INFO_NODE");

	kpt_mm_new(test);
	page = alloc_page(GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, page);
	mark_page_reserved(page);
	get_page_bootmem(1, page, MIX_SECTION_INFO);
	get_page_bootmem(2, page, MIX_SECTION_INFO);

	kernel_pgtable_free(page);
	kernel_pgtable_flush();
	KUNIT_EXPECT_TRUE(test, PageReserved(page));
	KUNIT_EXPECT_EQ(test, 2, page_count(page));

	kernel_pgtable_free(page);
	kernel_pgtable_flush();
	KUNIT_EXPECT_FALSE(test, PageReserved(page));
}

/* What comes while an invalidation runs shares the next one. */
static void batch_shares_invalidation(struct kunit *test)
{
	struct page **pages = kpt_pages(test, KPT_PAGES);
	struct kpt_mm *kmm = kpt_mm_new(test);
	unsigned int i;

	kpt_hang(test, kmm, pages[0]);
	for (i = 1; i < KPT_PAGES; i++)
		kernel_pgtable_free(pages[i]);
	KUNIT_EXPECT_EQ(test, KPT_PAGES, kernel_pgtable_held());
	KUNIT_EXPECT_FALSE(test, kpt_is_free(pages[0]));

	kpt_go_on(kmm);
	KUNIT_EXPECT_EQ(test, 2, kmm->calls);
	kpt_expect_all_free(test, pages, KPT_PAGES);
}

/* A bind, and an unbind, in the middle of an invalidation that hangs */
static void register_does_not_wait(struct kunit *test)
{
	struct kpt_mm *slow = kpt_mm_new(test);
	struct kpt_mm *other = kpt_mm_alloc(test);
	struct page *page = kpt_page(test);

	kpt_hang(test, slow, page);
	kpt_register(test, other);
	kpt_unregister(other);
	kpt_unregister(slow);
	KUNIT_EXPECT_FALSE_MSG(test, kpt_is_free(page),
			       "waited for the invalidation");
	kpt_go_on(slow);
	KUNIT_EXPECT_TRUE(test, kpt_is_free(page));
}

/* The walker may stand on a user that is unregistered: its mm has to stay. */
static void unregistered_mm_outlives_walk(struct kunit *test)
{
	struct kpt_mm *kmm = kpt_mm_new(test);
	struct page *page = kpt_page(test);
	int count = atomic_read(&kmm->mm->mm_count);
	unsigned long end;

	kpt_hang(test, kmm, page);
	kpt_unregister(kmm);
	msleep(200);
	KUNIT_EXPECT_EQ(test, count, atomic_read(&kmm->mm->mm_count));
	kpt_go_on(kmm);
	end = jiffies + KPT_TIMEOUT;
	while (atomic_read(&kmm->mm->mm_count) == count &&
	       time_before(jiffies, end))
		msleep(20);
	KUNIT_EXPECT_EQ(test, count - 1, atomic_read(&kmm->mm->mm_count));
}

struct kpt_count {
	struct task_struct *task;
	unsigned int nr;
};

static void kpt_count(struct kpt_count *count)
{
	if (current == count->task)
		count->nr++;
}

static void kpt_see_page(void *data, struct page *page, unsigned int order,
			 gfp_t gfp, int migratetype)
{
	kpt_count(data);
}

static void kpt_see_kmalloc(void *data, unsigned long ip, const void *ptr,
			    size_t req, size_t alloc, gfp_t gfp, int node)
{
	kpt_count(data);
}

static void kpt_see_cache(void *data, unsigned long ip, const void *ptr,
			  struct kmem_cache *s, gfp_t gfp, int node)
{
	kpt_count(data);
}

static void kpt_count_stop(void *count)
{
	unregister_trace_mm_page_alloc(kpt_see_page, count);
	unregister_trace_kmalloc(kpt_see_kmalloc, count);
	unregister_trace_kmem_cache_alloc(kpt_see_cache, count);
	tracepoint_synchronize_unregister();
}

/* Count what this thread allocates, and prove that it is counted. */
static void kpt_count_start(struct kunit *test, struct kpt_count *count)
{
	struct page *page;

	count->task = current;
	KUNIT_ASSERT_EQ(test, 0,
			register_trace_mm_page_alloc(kpt_see_page, count));
	KUNIT_ASSERT_EQ(test, 0,
			register_trace_kmalloc(kpt_see_kmalloc, count));
	KUNIT_ASSERT_EQ(test, 0,
			register_trace_kmem_cache_alloc(kpt_see_cache, count));

	page = alloc_page(GFP_KERNEL);
	if (page)
		__free_page(page);
	kfree(kmalloc(64, GFP_KERNEL));
	KUNIT_EXPECT_GE(test, count->nr, 2);
	count->nr = 0;
}

/*
 * The work item is made busy, and pending, beforehand: what CONFIG_DEBUG_OBJECTS
 * allocates to keep track of it is not of interest.
 */
static void nothing_is_allocated(struct kunit *test)
{
	struct page **pages = kpt_pages(test, KPT_PAGES);
	struct kpt_mm *kmm = kpt_mm_new(test);
	struct kpt_count count = {};
	unsigned int i;

	if (!IS_ENABLED(CONFIG_TRACEPOINTS))
		kunit_skip(test, "needs TRACEPOINTS");

	kpt_hang(test, kmm, pages[0]);
	kernel_pgtable_free(pages[1]);

	kpt_count_start(test, &count);
	for (i = 2; i < KPT_PAGES - 1; i++)
		kernel_pgtable_free(pages[i]);
	kpt_go_on(kmm);
	kpt_unregister(kmm);
	kernel_pgtable_free(pages[i]);
	kpt_count_stop(&count);

	KUNIT_EXPECT_EQ(test, 0, count.nr);
	kpt_expect_all_free(test, pages, KPT_PAGES);
}

struct kpt_flood {
	struct completion done;
	unsigned int failed;
	unsigned int most;
};

static int kpt_flood_fn(void *data)
{
	struct kpt_flood *flood = data;
	unsigned int i;

	for (i = 0; i < KPT_FLOOD; i++) {
		struct page *page = alloc_page(GFP_KERNEL);

		if (!page) {
			flood->failed++;
			continue;
		}
		kernel_pgtable_free(page);
		flood->most = max(flood->most, kernel_pgtable_held());
	}
	complete(&flood->done);
	return 0;
}

/* More than the devices can keep up with, from several threads */
static void flood_is_limited(struct kunit *test)
{
	struct kpt_flood flood[KPT_THREADS] = {};
	struct kpt_mm *kmm = kpt_mm_new(test);
	struct task_struct *task;
	unsigned int i;

	kmm->delay_us = 50000;
	for (i = 0; i < KPT_THREADS; i++) {
		init_completion(&flood[i].done);
		task = kthread_run(kpt_flood_fn, &flood[i], "kpt_flood/%u", i);
		if (IS_ERR(task))
			complete(&flood[i].done);
	}
	for (i = 0; i < KPT_THREADS; i++) {
		wait_for_completion(&flood[i].done);
		KUNIT_EXPECT_EQ(test, 0, flood[i].failed);
		KUNIT_EXPECT_LE(test, flood[i].most,
				KERNEL_PGTABLE_MAX_HELD + KPT_THREADS);
	}
	kernel_pgtable_flush();
	KUNIT_EXPECT_LE(test, kmm->most,
			KERNEL_PGTABLE_MAX_HELD + KPT_THREADS);
	KUNIT_EXPECT_GT(test, kmm->most, KERNEL_PGTABLE_MAX_HELD / 2);
	KUNIT_EXPECT_EQ(test, 0, kernel_pgtable_held());
}

static int kpt_churn_fn(void *data)
{
	struct mm_struct *mm = data;

	while (!kthread_should_stop()) {
		struct kernel_pgtable_user *user = kernel_pgtable_register(mm);

		if (!IS_ERR(user))
			kernel_pgtable_unregister(user);
		cond_resched();
	}
	return 0;
}

/* Users come and go while the list is walked; one that stays is never missed */
static void churn_misses_nobody(struct kunit *test)
{
	struct page **pages = kpt_pages(test, KPT_PAGES);
	struct kpt_mm *kmm = kpt_mm_new(test);
	struct kpt_mm *other = kpt_mm_alloc(test);
	struct task_struct *task;
	unsigned int i, calls;

	task = kthread_run(kpt_churn_fn, other->mm, "kpt_churn");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	for (i = 0; i < KPT_PAGES; i++) {
		calls = kmm->calls;
		kpt_watch(kmm, &pages[i], 1);
		kernel_pgtable_free(pages[i]);
		kernel_pgtable_flush();
		KUNIT_EXPECT_GT(test, kmm->calls, calls);
		KUNIT_EXPECT_TRUE(test, kpt_is_free(pages[i]));
	}
	kthread_stop(task);
	KUNIT_EXPECT_EQ(test, 0, kmm->early);
}

/* All that a table of the kernel can map, and nothing that a change of an mm says */
static void range_is_the_kernels_half(struct kunit *test)
{
	struct page *page = kpt_page(test);
	struct kpt_mm *kmm = kpt_mm_new(test);

	kernel_pgtable_free(page);
	kernel_pgtable_flush();
	KUNIT_EXPECT_EQ(test, 1, kmm->calls);
	KUNIT_EXPECT_GE(test, kmm->start, TASK_SIZE_MAX);
	/* The lowest page that is not a process's, and the last one */
	KUNIT_EXPECT_LE(test, kmm->start, -(TASK_SIZE_MAX + PAGE_SIZE));
	KUNIT_EXPECT_GT(test, kmm->end, (unsigned long)-PAGE_SIZE);

	KUNIT_EXPECT_TRUE(test, kernel_pgtable_is_range(kmm->start, kmm->end));
	KUNIT_EXPECT_FALSE(test, kernel_pgtable_is_range(0, kmm->end));
	KUNIT_EXPECT_FALSE(test, kernel_pgtable_is_range(0, kmm->start));
	KUNIT_EXPECT_FALSE(test, kernel_pgtable_is_range(kmm->start, kmm->start));
	KUNIT_EXPECT_FALSE(test, kernel_pgtable_is_range(kmm->start - PAGE_SIZE,
							 kmm->end));
	KUNIT_EXPECT_FALSE(test, kernel_pgtable_is_range(kmm->start + PAGE_SIZE,
							 kmm->end));
	KUNIT_EXPECT_FALSE(test, kernel_pgtable_is_range(kmm->start,
							 kmm->end - 1));
	KUNIT_EXPECT_FALSE(test, kernel_pgtable_is_range(kmm->start,
							 -PAGE_SIZE));
}

/* The mm is held from the registration until nobody walks the list who found it. */
static bool kpt_mm_count_is(struct kpt_mm *kmm, int count)
{
	unsigned long end = jiffies + KPT_TIMEOUT;

	while (atomic_read(&kmm->mm->mm_count) != count && time_before(jiffies, end))
		msleep(20);
	return atomic_read(&kmm->mm->mm_count) == count;
}

static void registered_mm_is_held(struct kunit *test)
{
	struct kpt_mm *kmm = kpt_mm_alloc(test);
	int count = atomic_read(&kmm->mm->mm_count);
	struct kernel_pgtable_user *second;

	kpt_register(test, kmm);
	KUNIT_EXPECT_EQ(test, count + 1, atomic_read(&kmm->mm->mm_count));
	second = kernel_pgtable_register(kmm->mm);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, second);
	KUNIT_EXPECT_EQ(test, count + 2, atomic_read(&kmm->mm->mm_count));
	kernel_pgtable_unregister(second);
	KUNIT_EXPECT_TRUE(test, kpt_mm_count_is(kmm, count + 1));
	KUNIT_EXPECT_TRUE(test, kernel_pgtable_in_use());
	kpt_unregister(kmm);
	KUNIT_EXPECT_TRUE(test, kpt_mm_count_is(kmm, count));
	KUNIT_EXPECT_FALSE(test, kernel_pgtable_in_use());
	/* As on kernels that register nothing */
	kernel_pgtable_unregister(NULL);
}

/* Nobody is asked for nothing, and the next page is as the first. */
static void nothing_to_free(struct kunit *test)
{
	struct page *page = kpt_page(test);
	struct kpt_mm *kmm = kpt_mm_new(test);

	kernel_pgtable_flush();
	KUNIT_EXPECT_EQ(test, 0, kmm->calls);
	kpt_no_delay_ends(test);
	kernel_pgtable_free(page);
	KUNIT_EXPECT_FALSE(test, kpt_is_free(page));
	KUNIT_EXPECT_EQ(test, 1, kernel_pgtable_held());
	kernel_pgtable_flush();
	kernel_pgtable_flush();
	KUNIT_EXPECT_EQ(test, 1, kmm->calls);
	KUNIT_EXPECT_TRUE(test, kpt_is_free(page));
}

/* All of the batch, and none that waits when nothing fails any more */
static void failure_loses_one_batch(struct kunit *test)
{
	struct page **lost = kpt_pages(test, 3), **pages = kpt_pages(test, 2);
	struct kpt_mm *other, *kmm = kpt_mm_new(test);
	unsigned int n;

	/* An early failure is that of an invalidation for others. */
	kernel_pgtable_not_forgotten();
	kpt_no_delay_ends(test);
	kernel_pgtable_free(pages[0]);
	kernel_pgtable_flush();
	KUNIT_EXPECT_TRUE(test, kpt_is_free(pages[0]));

	/* Those behind the mm that fails are asked, too. */
	other = kpt_mm_new(test);
	kmm->fail = true;
	for (n = 0; n < 3; n++)
		kernel_pgtable_free(lost[n]);
	KUNIT_EXPECT_EQ(test, 3, kernel_pgtable_held());
	kernel_pgtable_flush();
	KUNIT_EXPECT_EQ(test, 1, other->calls);
	KUNIT_EXPECT_EQ(test, 0, kernel_pgtable_held());
	kmm->fail = false;
	kernel_pgtable_free(pages[1]);
	KUNIT_EXPECT_EQ(test, 1, kernel_pgtable_held());
	kernel_pgtable_flush();
	KUNIT_EXPECT_EQ(test, 0, kernel_pgtable_held());
	kpt_expect_all_free(test, pages, 2);
	for (n = 0; n < 3; n++) {
		KUNIT_EXPECT_FALSE(test, kpt_is_free(lost[n]));
		kpt_find(lost[n]);
	}
}

/* Each registration of the mm stays, and its reference with it. */
static void every_registration_is_kept(struct kunit *test)
{
	struct kpt_mm *kmm = kpt_mm_new(test);
	struct kernel_pgtable_user *second = kernel_pgtable_register(kmm->mm);
	struct page *lost = kpt_page(test), *page = kpt_page(test);
	int count = atomic_read(&kmm->mm->mm_count);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, second);
	kernel_pgtable_keep(kmm->mm);
	kernel_pgtable_unregister(second);
	kpt_unregister(kmm);
	/* Once more changes nothing. */
	kernel_pgtable_keep(kmm->mm);
	kernel_pgtable_free(lost);
	kernel_pgtable_flush();
	KUNIT_EXPECT_EQ(test, 2, kmm->calls);
	KUNIT_EXPECT_FALSE(test, kpt_is_free(lost));
	KUNIT_EXPECT_EQ(test, count, atomic_read(&kmm->mm->mm_count));
	kernel_pgtable_let_go(kmm->mm);
	KUNIT_EXPECT_TRUE(test, kpt_mm_count_is(kmm, count - 2));
	KUNIT_EXPECT_FALSE(test, kernel_pgtable_in_use());
	kernel_pgtable_free(page);
	KUNIT_EXPECT_TRUE(test, kpt_is_free(page));
	kpt_find(lost);
}

/* Not sooner than the delay, or a device is asked more often than it says. */
static void delay_is_kept(struct kunit *test)
{
	unsigned long delay = msecs_to_jiffies(KERNEL_PGTABLE_DELAY_MS);
	struct page *page = kpt_page(test);
	unsigned long start;

	kpt_mm_new(test);
	/* No clock of a test before is running. */
	kernel_pgtable_set_delay(delay);
	start = jiffies;
	kernel_pgtable_free(page);
	while (!kpt_is_free(page) && time_before(jiffies, start + KPT_TIMEOUT))
		usleep_range(1000, 2000);
	KUNIT_EXPECT_TRUE(test, kpt_is_free(page));
	KUNIT_EXPECT_GE(test, jiffies - start, delay);
}

#ifdef CONFIG_DEBUG_KERNEL_PGTABLE
static struct {
	unsigned int nr;
	unsigned long pfn;	/* the last one */
} kpt_reported;

static void kpt_report(unsigned long pfn)
{
	kpt_reported.nr++;
	kpt_reported.pfn = pfn;
}

#define KPT_ORDER	2

/* Each page of the block is looked at, and none behind it. */
static void marked_page_is_found(struct kunit *test)
{
	struct page *block = alloc_pages(GFP_KERNEL, KPT_ORDER + 1);
	struct kpt_mm *kmm;
	unsigned int n;

	KUNIT_ASSERT_NOT_NULL(test, block);
	memset(&kpt_reported, 0, sizeof(kpt_reported));
	kunit_activate_static_stub(test, kernel_pgtable_report, kpt_report);

	/* Without devices that walk kernel tables nothing can be wrong. */
	__kernel_pgtable_mark(page_to_pfn(block));
	KUNIT_EXPECT_TRUE(test, kernel_pgtable_is_marked(block));
	KUNIT_EXPECT_FALSE(test, kernel_pgtable_is_marked(block + 1));
	kernel_pgtable_check_free(block, KPT_ORDER);
	KUNIT_EXPECT_EQ(test, 0, kpt_reported.nr);
	KUNIT_EXPECT_FALSE(test, kernel_pgtable_is_marked(block));

	kmm = kpt_mm_new(test);
	for (n = 0; n < 2 << KPT_ORDER; n++) {
		__kernel_pgtable_mark(page_to_pfn(block + n));
		kpt_reported.nr = 0;
		kernel_pgtable_check_free(block, KPT_ORDER);
		KUNIT_EXPECT_EQ_MSG(test, n < 1 << KPT_ORDER, kpt_reported.nr,
				    "page %u", n);
		if (kpt_reported.nr)
			KUNIT_EXPECT_EQ(test, page_to_pfn(block + n),
					kpt_reported.pfn);
		KUNIT_EXPECT_EQ(test, n >= 1 << KPT_ORDER,
				kernel_pgtable_is_marked(block + n));
	}
	/* What is unmarked, or another mm's, is not a table. */
	for (n = 0; n < 2 << KPT_ORDER; n++)
		kernel_pgtable_unmark(block + n);
	kernel_pgtable_mark(kmm->mm, page_to_pfn(block));
	KUNIT_EXPECT_FALSE(test, kernel_pgtable_is_marked(block));
	kernel_pgtable_mark(&init_mm, page_to_pfn(block));
	KUNIT_EXPECT_TRUE(test, kernel_pgtable_is_marked(block));

	/* And so the page allocator finds it. */
	kpt_reported.nr = 0;
	__free_pages(block, KPT_ORDER + 1);
	KUNIT_EXPECT_EQ(test, 1, kpt_reported.nr);
	kunit_deactivate_static_stub(test, kernel_pgtable_report);
}

/* A page that has waited is freed without its mark. */
static void freed_table_is_not_reported(struct kunit *test)
{
	struct page *page = alloc_page(GFP_KERNEL), *at_once = alloc_page(GFP_KERNEL);
	unsigned int bypassed = kernel_pgtable_bypassed();

	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_ASSERT_NOT_NULL(test, at_once);
	__kernel_pgtable_mark(page_to_pfn(at_once));
	kernel_pgtable_free(at_once);
	kpt_mm_new(test);
	__kernel_pgtable_mark(page_to_pfn(page));
	kernel_pgtable_free(page);
	KUNIT_EXPECT_TRUE(test, kernel_pgtable_is_marked(page));
	kernel_pgtable_flush();
	KUNIT_EXPECT_EQ(test, bypassed, kernel_pgtable_bypassed());
}
#else
static void marked_page_is_found(struct kunit *test)
{
	kunit_skip(test, "needs DEBUG_KERNEL_PGTABLE");
}

static void freed_table_is_not_reported(struct kunit *test)
{
	kunit_skip(test, "needs DEBUG_KERNEL_PGTABLE");
}
#endif

static int kpt_init(struct kunit *test)
{
	if (kernel_pgtable_in_use())
		kunit_skip(test, "a process has SVA in use");
	kernel_pgtable_flush();
	return 0;
}

static struct kunit_case kpt_cases[] = {
	KUNIT_CASE(no_users_frees_at_once),
	KUNIT_CASE(last_user_gone_frees_at_once),
	KUNIT_CASE(freed_soon),
	KUNIT_CASE(burst_shares_invalidation),
	KUNIT_CASE(limit_ends_delay),
	KUNIT_CASE(invalidate_precedes_free),
	KUNIT_CASE(every_user_precedes_free),
	KUNIT_CASE(same_mm_twice),
	KUNIT_CASE(not_forgotten_is_not_freed),
	KUNIT_CASE(failed_last_invalidation_is_for_good),
	KUNIT_CASE(unregistered_mm_is_not_kept),
	KUNIT_CASE(reserved_page_waits),
	KUNIT_CASE(bootmem_page_counts_sections),
	KUNIT_CASE(batch_shares_invalidation),
	KUNIT_CASE(register_does_not_wait),
	KUNIT_CASE(unregistered_mm_outlives_walk),
	KUNIT_CASE(nothing_is_allocated),
	KUNIT_CASE_SLOW(flood_is_limited),
	KUNIT_CASE(churn_misses_nobody),
	KUNIT_CASE(range_is_the_kernels_half),
	KUNIT_CASE(registered_mm_is_held),
	KUNIT_CASE(nothing_to_free),
	KUNIT_CASE(failure_loses_one_batch),
	KUNIT_CASE(every_registration_is_kept),
	KUNIT_CASE(delay_is_kept),
	KUNIT_CASE(marked_page_is_found),
	KUNIT_CASE(freed_table_is_not_reported),
	{}
};

static struct kunit_suite kpt_suite = {
	.name = "kernel_pgtable",
	.init = kpt_init,
	.test_cases = kpt_cases,
};

kunit_test_suite(kpt_suite);

MODULE_DESCRIPTION("Tests of freeing kernel page tables");
MODULE_LICENSE("GPL");
