// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What one change of the page table costs, exactly, with D functions bound to
 * one mm behind I IOMMUs: one IOTLB invalidation for each IOMMU, one ATC
 * invalidation for each function, and one wait for each IOMMU. A function more,
 * a domain more or an order of binding must not change that.
 */
#include <pthread.h>
#include <sys/wait.h>

#include "../kselftest_harness.h"
#include "sva_utils.h"

#define NR_PAGES	4

FIXTURE(sva_multi)
{
	struct sva s;
	char *buf;
};

FIXTURE_SETUP(sva_multi)
{
	const char *why = sva_setup(&self->s, SVA_ATS);

	if (why)
		SKIP(return, "%s", why);
	self->buf = sva_pages(NR_PAGES, 1);
	ASSERT_NE(NULL, self->buf);
	/* sorted by IOMMU, so that even the base can group its commands */
	ASSERT_TRUE(sva_open_all(&self->s));
}

FIXTURE_TEARDOWN(sva_multi)
{
	sva_close_all(&self->s);
	EXPECT_CLEAN(&self->s);
	sva_teardown(&self->s);
}

static void print_counts(struct sva *s, const char *what, struct sva_counts *c)
{
	fprintf(stderr, "# %s: %u functions, %u units:", what, s->nr, sva_units(s));
	fprintf(stderr, " iotlb_range=%llu iotlb_tag=%llu iotlb_all=%llu",
		(unsigned long long)c->iotlb_range,
		(unsigned long long)c->iotlb_tag,
		(unsigned long long)c->iotlb_all);
	fprintf(stderr, " atc_range=%llu atc_all=%llu config=%llu sync=%llu\n",
		(unsigned long long)c->atc_range, (unsigned long long)c->atc_all,
		(unsigned long long)c->config, (unsigned long long)c->sync);
}

static void expect_bound(struct __test_metadata *_metadata, struct sva *s,
			 const char *what, struct sva_counts *c)
{
	print_counts(s, what, c);
	EXPECT_EQ(sva_units(s), c->iotlb_range);
	EXPECT_EQ(s->nr, c->atc_range);
	EXPECT_EQ(sva_units(s), c->sync);
	EXPECT_EQ(0, c->iotlb_tag + c->iotlb_all);
	EXPECT_EQ(0, c->atc_all + c->config);
}

TEST_F(sva_multi, munmap_costs)
{
	struct sva_counts c;

	ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 1, SVA_PAGE));
	ASSERT_EQ(0, SVA_COUNTED(&self->s, &c, munmap(self->buf, SVA_PAGE)));
	ASSERT_CLEAN(&self->s);
	expect_bound(_metadata, &self->s, "munmap of one page", &c);
}

TEST_F(sva_multi, mprotect_costs)
{
	struct sva_counts c;

	ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 1, SVA_PAGE));
	ASSERT_EQ(0, SVA_COUNTED(&self->s, &c, mprotect(self->buf, SVA_PAGE, PROT_READ)));
	ASSERT_CLEAN(&self->s);
	expect_bound(_metadata, &self->s, "mprotect to read-only", &c);

	/* nothing is taken away, so nothing need be said, but x86 does */
	ASSERT_EQ(0, SVA_COUNTED(&self->s, &c, mprotect(self->buf, SVA_PAGE,
							PROT_READ | PROT_WRITE)));
	ASSERT_CLEAN(&self->s);
	print_counts(&self->s, "mprotect to writable", &c);
	EXPECT_GE(sva_units(&self->s), c.iotlb_range);
	EXPECT_GE(self->s.nr, c.atc_range);
	EXPECT_EQ(0, c.iotlb_tag + c.iotlb_all + c.atc_all);
}

TEST_F(sva_multi, dontneed_costs)
{
	struct sva_counts c;

	ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 1, SVA_PAGE));
	ASSERT_EQ(0, SVA_COUNTED(&self->s, &c, madvise(self->buf, NR_PAGES * SVA_PAGE,
						       MADV_DONTNEED)));
	ASSERT_CLEAN(&self->s);
	expect_bound(_metadata, &self->s, "MADV_DONTNEED of a few pages", &c);
}

/* More files of the same mm are no more bindings. */
TEST_F(sva_multi, second_queue_costs_nothing)
{
	struct sva_queue more[SVA_MAX_DEVS];
	struct sva_counts c;
	unsigned int i;

	for (i = 0; i < self->s.nr; i++)
		ASSERT_EQ(0, sva_open(&more[i], &self->s.dev[i]));
	ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 1, SVA_PAGE));
	ASSERT_EQ(0, SVA_COUNTED(&self->s, &c, munmap(self->buf, SVA_PAGE)));
	ASSERT_CLEAN(&self->s);
	expect_bound(_metadata, &self->s, "munmap, two queues each", &c);
	for (i = 0; i < self->s.nr; i++)
		sva_close(&more[i]);
}

/* An unbound function costs nothing any more. */
TEST_F(sva_multi, unbound_costs_nothing)
{
	struct sva_counts c;

	ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 1, SVA_PAGE));
	sva_close_all(&self->s);
	ASSERT_EQ(0, SVA_COUNTED(&self->s, &c, munmap(self->buf, SVA_PAGE)));
	ASSERT_CLEAN(&self->s);
	print_counts(&self->s, "munmap, unbound", &c);
	EXPECT_EQ(0, c.iotlb_range + c.iotlb_tag + c.atc_range + c.atc_all + c.sync);
	ASSERT_TRUE(sva_open_all(&self->s));
}

/*
 * Bound in turns: unit 0, unit 1, unit 0... The base waits once for each run of
 * the same IOMMU in its list. One wait for each IOMMU is enough.
 */
TEST_F(sva_multi, order_of_binding)
{
	unsigned int i, n = self->s.nr;
	struct sva_counts c;

	if (sva_units(&self->s) < 2 || sva_units(&self->s) == n)
		SKIP(return, "needs two units, one of them with two functions");

	for (i = 0; i < n; i++)
		sva_close(&self->s.q[i]);
	/* first of each unit, then the others: 0 1 0 */
	for (i = 0; i < n; i++)
		if (sva_first_of_unit(&self->s, i))
			ASSERT_EQ(0, sva_open(&self->s.q[i], &self->s.dev[i]));
	for (i = 0; i < n; i++)
		if (!sva_first_of_unit(&self->s, i))
			ASSERT_EQ(0, sva_open(&self->s.q[i], &self->s.dev[i]));
	ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 1, SVA_PAGE));
	ASSERT_EQ(0, SVA_COUNTED(&self->s, &c, munmap(self->buf, SVA_PAGE)));
	ASSERT_CLEAN(&self->s);
	expect_bound(_metadata, &self->s, "munmap, bound in turns", &c);
}

/* --- one domain: one notifier is called, however many functions --- */

#define TRACING	"/sys/kernel/tracing/"

static bool put_line(const char *file, const char *line)
{
	int fd = open(file, O_WRONLY | O_APPEND);
	bool ok = fd >= 0 && write(fd, line, strlen(line)) == (ssize_t)strlen(line);

	if (fd >= 0)
		close(fd);
	return ok;
}

static long probe_hits(void)
{
	FILE *f = fopen(TRACING "kprobe_profile", "r");
	char name[64];
	long hits, sum = -1;

	while (f && fscanf(f, "%63s %ld %*d", name, &hits) == 2)
		if (!strcmp(name, "sva_inval"))
			sum = hits;
	if (f)
		fclose(f);
	return sum;
}

static bool probe_notifier(void)
{
	static const char * const names[] = {
		"intel_arch_invalidate_secondary_tlbs",
		"arm_smmu_mm_arch_invalidate_secondary_tlbs",
		"sva_arch_invalidate_secondary_tlbs",
	};
	char line[128];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(line, sizeof(line), "p:kprobes/sva_inval %s\n", names[i]);
		if (put_line(TRACING "kprobe_events", line))
			return put_line(TRACING "events/kprobes/sva_inval/enable",
					"1\n");
	}
	return false;
}

static void unprobe(void)
{
	put_line(TRACING "events/kprobes/sva_inval/enable", "0\n");
	put_line(TRACING "kprobe_events", "-:kprobes/sva_inval\n");
}

TEST_F(sva_multi, one_domain)
{
	long hits;

	if (self->s.nr < 2)
		SKIP(return, "needs two functions");
	if (!probe_notifier())
		SKIP(return, "needs tracefs, KPROBE_EVENTS and a known driver");

	ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 1, SVA_PAGE));
	hits = probe_hits();
	EXPECT_EQ(0, munmap(self->buf, SVA_PAGE));
	hits = probe_hits() - hits;
	unprobe();
	EXPECT_EQ(1, hits);
}

/* --- while others come and go --- */

struct churn {
	struct sva_dev *dev;
	bool stop;
	unsigned int rounds;
	int err;
};

static void *churn(void *arg)
{
	struct churn *ch = arg;
	struct sva_queue q;

	while (!__atomic_load_n(&ch->stop, __ATOMIC_RELAXED)) {
		ch->err = sva_open(&q, ch->dev);
		if (ch->err)
			break;
		sva_close(&q);
		ch->rounds++;
	}
	return NULL;
}

/* Not munmap: the others map their queues, perhaps at this very address. */
static bool dontneed_is_seen(struct sva *s, struct sva_queue *q, char *p)
{
	memset(p, 2, SVA_PAGE);
	return !sva_fill(q, p, 3, SVA_PAGE) && sva_all(p, 3, SVA_PAGE) &&
	       !SVA_CHANGE(s, madvise(p, SVA_PAGE, MADV_DONTNEED)) &&
	       sva_is_fault(s, sva_fill(q, p, 4, SVA_PAGE));
}

/* The list of bindings changes while the first function depends on it. */
TEST_F(sva_multi, bind_and_unbind_meanwhile)
{
	struct churn ch[SVA_MAX_DEVS] = { 0 };
	pthread_t thread[SVA_MAX_DEVS];
	unsigned int i, n = self->s.nr, rounds;

	if (n < 2)
		SKIP(return, "needs two functions");
	for (i = 1; i < n; i++) {
		sva_close(&self->s.q[i]);
		ch[i].dev = &self->s.dev[i];
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, churn, &ch[i]));
	}
	for (rounds = 0; rounds < 100; rounds++)
		if (!dontneed_is_seen(&self->s, &self->s.q[0], self->buf))
			break;
	for (i = 1; i < n; i++) {
		__atomic_store_n(&ch[i].stop, true, __ATOMIC_RELAXED);
		pthread_join(thread[i], NULL);
		EXPECT_EQ(0, ch[i].err);
		EXPECT_LT(0, ch[i].rounds);
		ASSERT_EQ(0, sva_open(&self->s.q[i], &self->s.dev[i]));
	}
	EXPECT_EQ(100, rounds);
	ASSERT_CLEAN(&self->s);
}

TEST_HARNESS_MAIN
