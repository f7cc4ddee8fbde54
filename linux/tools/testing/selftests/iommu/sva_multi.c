// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What one change of the page table costs, exactly, with D functions bound to
 * one mm behind I IOMMUs: one IOTLB invalidation for each IOMMU, one ATC
 * invalidation for each function, and one wait for each IOMMU. A function more,
 * a domain more or an order of binding must not change that. And it takes the
 * time of the slowest IOMMU, not of one after the other.
 */
#include "../kselftest_harness.h"
#include "sva_utils.h"

#define NR_PAGES	4

FIXTURE(sva_multi)
{
	struct sva s;
	char *buf;
	struct sva_unmapper u;
	struct sva_binder b[SVA_MAX_DEVS];
};

FIXTURE_SETUP(sva_multi)
{
	/* What there is to invalidate is counted, in whichever mode. */
	const char *why = sva_setup(&self->s, SVA_UNTRANSLATED);

	if (why)
		SKIP(return, "%s", why);
	if (!sva_lacks(&self->s, SVA_ATS))
		sva_set_mode(&self->s, SVA_ATS);
	if (!sva_lacks(&self->s, SVA_STALL))
		sva_set_mode(&self->s, SVA_STALL);
	self->buf = sva_pages(NR_PAGES, 1);
	ASSERT_NE(NULL, self->buf);
	/* sorted by IOMMU, so that even the base can group its commands */
	ASSERT_TRUE(sva_open_all(&self->s));
}

/* How often something is called. The end of each test takes the probe away. */
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

static void unprobe(void)
{
	put_line(TRACING "events/kprobes/sva_inval/enable", "0\n");
	put_line(TRACING "kprobe_events", "-:kprobes/sva_inval\n");
}

/* The first of these functions that there is */
static bool probe(const char * const *names, unsigned int nr)
{
	char line[128];
	unsigned int i;

	/* Of a run that was killed */
	unprobe();
	for (i = 0; i < nr; i++) {
		snprintf(line, sizeof(line), "p:kprobes/sva_inval %s\n", names[i]);
		if (put_line(TRACING "kprobe_events", line))
			return put_line(TRACING "events/kprobes/sva_inval/enable",
					"1\n");
	}
	return false;
}

/* What mm calls for one event, whatever number of domains there is for it */
static bool probe_events(void)
{
	static const char * const names[] = {
		"__mmu_notifier_arch_invalidate_secondary_tlbs",
	};

	return probe(names, ARRAY_SIZE(names));
}

/* What is called for each domain */
static bool probe_notifier(void)
{
	static const char * const names[] = {
		"intel_arch_invalidate_secondary_tlbs",
		"arm_smmu_mm_arch_invalidate_secondary_tlbs",
		"sva_arch_invalidate_secondary_tlbs",
	};

	return probe(names, ARRAY_SIZE(names));
}

FIXTURE_TEARDOWN(sva_multi)
{
	unsigned int i;

	unprobe();
	sva_on_time(&self->s);
	sva_unmap_end(&self->u);
	for (i = 0; i < SVA_MAX_DEVS; i++)
		sva_binder_end(&self->b[i]);
	sva_close_all(&self->s);
	EXPECT_CLEAN(&self->s);
	sva_teardown(&self->s);
}

/*
 * SVA_PAGEWISE in the environment says which unit has no commands for ranges: SMMUv3
 * without them wants one for each page, and one for all if there are too many.
 */
static bool is_pagewise(unsigned int unit)
{
	const char *env = getenv("SVA_PAGEWISE");

	return env && *env && strtoul(env, NULL, 0) == unit;
}

static void print_counts(struct sva *s, const char *what, struct sva_counts *c)
{
	unsigned int i;

	fprintf(stderr, "# %s: %u functions, %u units:\n", what, s->nr, sva_units(s));
	for (i = 0; i < sva_units(s); i++) {
		const struct sva_commands *u = &c->unit[i];

		fprintf(stderr, "#  %u: iotlb_range=%llu iotlb_tag=%llu iotlb_all=%llu",
			i, (unsigned long long)u->iotlb_range,
			(unsigned long long)u->iotlb_tag,
			(unsigned long long)u->iotlb_all);
		fprintf(stderr, " atc_range=%llu atc_all=%llu config=%llu sync=%llu\n",
			(unsigned long long)u->atc_range,
			(unsigned long long)u->atc_all,
			(unsigned long long)u->config,
			(unsigned long long)u->sync);
	}
}

/*
 * Of each unit, for an event of so many pages: what one unit does too much makes not
 * up for another.
 */
static void expect_limit(struct __test_metadata *_metadata, struct sva *s,
			 const char *what, struct sva_counts *c, unsigned int pages)
{
	unsigned int i;

	print_counts(s, what, c);
	for (i = 0; i < sva_units(s); i++) {
		const struct sva_commands *u = &c->unit[i];

		EXPECT_EQ(is_pagewise(i) ? pages : 1, u->iotlb_range);
		EXPECT_EQ(sva_atcs_of(s, i), u->atc_range);
		EXPECT_EQ(sva_waits_of(s, i), u->sync);
		EXPECT_EQ(0, u->iotlb_tag + u->iotlb_all);
		EXPECT_EQ(0, u->atc_all + u->config);
	}
}

/*
 * What is counted below are ATCs that are on: none of it would tell that they are
 * not. Where no ATS is meant, this is on the list of skips.
 */
TEST_F(sva_multi, translates_itself)
{
	struct sva_queue *q;
	uint64_t asked, left;

	if (sva_lacks(&self->s, SVA_ATS))
		SKIP(return, "a function has no ATS");
	for (q = self->s.q; q < self->s.end; q++) {
		asked = sva_counter(q->dev, SVADEV_C_XLATE);
		left = sva_counter(q->dev, SVADEV_C_UNTRANSLATED);
		ASSERT_EQ(0, sva_do(q, SVADEV_OP_ATC_FLUSH, 0, NULL, NULL, 0, 0));
		ASSERT_EQ(0, sva_fill(q, self->buf, 2, SVA_PAGE));
		EXPECT_LT(asked, sva_counter(q->dev, SVADEV_C_XLATE));
		EXPECT_EQ(left, sva_counter(q->dev, SVADEV_C_UNTRANSLATED));
	}
}

TEST_F(sva_multi, munmap_costs)
{
	struct sva_counts c;

	ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 1, SVA_PAGE));
	ASSERT_EQ(0, SVA_COUNTED(&self->s, &c, munmap(self->buf, SVA_PAGE)));
	ASSERT_CLEAN(&self->s);
	expect_limit(_metadata, &self->s, "munmap of one page", &c, 1);
}

TEST_F(sva_multi, mprotect_costs)
{
	struct sva_counts c;
	unsigned int i;

	ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 1, SVA_PAGE));
	ASSERT_EQ(0, SVA_COUNTED(&self->s, &c, mprotect(self->buf, SVA_PAGE, PROT_READ)));
	ASSERT_CLEAN(&self->s);
	expect_limit(_metadata, &self->s, "mprotect to read-only", &c, 1);

	/* nothing is taken away, so nothing need be said, but x86 does */
	ASSERT_EQ(0, SVA_COUNTED(&self->s, &c, mprotect(self->buf, SVA_PAGE,
							PROT_READ | PROT_WRITE)));
	ASSERT_CLEAN(&self->s);
	print_counts(&self->s, "mprotect to writable", &c);
	for (i = 0; i < sva_units(&self->s); i++) {
		EXPECT_GE(1, c.unit[i].iotlb_range);
		EXPECT_GE(sva_atcs_of(&self->s, i), c.unit[i].atc_range);
		EXPECT_EQ(0, c.unit[i].iotlb_tag + c.unit[i].iotlb_all +
			     c.unit[i].atc_all);
	}
}

TEST_F(sva_multi, dontneed_costs)
{
	struct sva_counts c;

	ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 1, SVA_PAGE));
	ASSERT_EQ(0, SVA_COUNTED(&self->s, &c, madvise(self->buf, NR_PAGES * SVA_PAGE,
						       MADV_DONTNEED)));
	ASSERT_CLEAN(&self->s);
	expect_limit(_metadata, &self->s, "MADV_DONTNEED of a few pages", &c,
		     NR_PAGES);
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
	expect_limit(_metadata, &self->s, "munmap, two queues each", &c, 1);
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
	EXPECT_EQ(0, c.all.iotlb_range + c.all.iotlb_tag + c.all.atc_range +
		     c.all.atc_all + c.all.sync);
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
	expect_limit(_metadata, &self->s, "munmap, bound in turns", &c, 1);
}

/*
 * --- the slowest IOMMU ---
 *
 * Before there are probes: to take one away, a CPU may have to wait for one that waits
 * for an IOMMU with its interrupts off.
 */

#define ASKED_S	2.0	/* enough for all, and less than SVA_HELD */

/* Functions whose IOMMU is late now, and was not when @late was read. None has answered. */
static unsigned int functions_late(struct sva *s, const uint64_t *late)
{
	double end = sva_now() + ASKED_S;
	unsigned int i, n;

	do {
		for (i = n = 0; i < s->nr; i++)
			n += sva_counter(&s->dev[i], SVADEV_U_LATE) != late[i];
	} while (n < s->nr && sva_now() < end);
	return n;
}

/*
 * Every IOMMU needs its time to say that it is done. If all have their commands
 * before anybody waits for one of them, it is the same time: none of them says so
 * here before all have been asked.
 */
TEST_F(sva_multi, slowest_unit_not_sum)
{
	struct sva_unmapper *u = &self->u;
	uint64_t late[SVA_MAX_DEVS];
	unsigned int i, asked;

	if (sva_units(&self->s) < 2)
		SKIP(return, "needs two units");
	if (sva_too_few_cpus(2))
		SKIP(return, "needs 2 CPUs");
	ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 1, SVA_PAGE));
	ASSERT_TRUE(sva_unmap_prepare(u, &self->s, self->buf, 1));
	sva_settle();
	for (i = 0; i < self->s.nr; i++)
		late[i] = sva_counter(&self->s.dev[i], SVADEV_U_LATE);
	sva_late(&self->s, SVADEV_LATE_SYNC, SVA_HELD);
	sva_unmap_go(u);
	asked = functions_late(&self->s, late);
	if (asked == self->s.nr)
		EXPECT_TRUE(sva_unmap_waits(u));
	sva_on_time(&self->s);
	/* To tell of it earlier could take a copy on write, which waits as well. */
	EXPECT_EQ(self->s.nr, asked);
	EXPECT_TRUE(sva_unmap_end(u));
	EXPECT_CLEAN(&self->s);
}

/* --- one domain: one notifier is called, however many functions --- */

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
	EXPECT_EQ(1, hits);
}

/* --- many events --- */

#define MANY_PAGES	64

static bool unmap_in_pieces(char *p)
{
	return !munmap(p + SVA_PAGE, 3 * SVA_PAGE) &&
	       !munmap(p + 7 * SVA_PAGE, SVA_PAGE) &&
	       !munmap(p + 9 * SVA_PAGE, 40 * SVA_PAGE);
}

static bool protect_all(char *p)
{
	return !mprotect(p, MANY_PAGES * SVA_PAGE, PROT_READ) &&
	       !mprotect(p, MANY_PAGES * SVA_PAGE, PROT_READ | PROT_WRITE);
}

/* It has to grow where there is no room. */
static bool move(char *p)
{
	return mremap(p, 8 * SVA_PAGE, 16 * SVA_PAGE, MREMAP_MAYMOVE) != MAP_FAILED;
}

static bool drop_some(char *p)
{
	return !madvise(p, 5 * SVA_PAGE, MADV_DONTNEED) &&
	       !madvise(p + 8 * SVA_PAGE, 50 * SVA_PAGE, MADV_DONTNEED);
}

/* Of each_event_costs_the_limit */
static struct sva_counts counted;

static void touch(void *p)
{
	volatile char *byte = p;

	*byte = *byte;
}

/*
 * The child stays until all pages have been copied on write, those that it takes to
 * count as well: copied later, they are an event that not everybody counts.
 */
static bool fork_and_write(char *p)
{
	struct sva_child c;

	if (!sva_child_new(&c))
		_exit(!sva_hear(c.fd));
	memset(p, 2, 9 * SVA_PAGE);
	touch(&counted);
	touch((char *)(&counted + 1) - 1);
	probe_hits();
	return c.pid > 0 && sva_say(c.fd) && !sva_exit_code(c.pid) &&
	       !close(c.fd);
}

/* @pages: of its events, together; 0: each is of one, or of all that there are */
static const struct {
	const char *name;
	bool (*fn)(char *p);
	long pages;
} changes[] = {
	{ "munmap in pieces", unmap_in_pieces, 3 + 1 + 40 },
	{ "mprotect", protect_all, 2 * MANY_PAGES },
	{ "mremap", move, 8 },
	{ "MADV_DONTNEED", drop_some, 5 + 50 },
	{ "fork", fork_and_write },
};

/*
 * One system call can be several events, and what an event is about can be a
 * page, a range or the whole address space. Each costs the limit.
 */
TEST_F(sva_multi, each_event_costs_the_limit)
{
	unsigned int i, u, units = sva_units(&self->s);
	struct sva_counts *c = &counted;
	long events, iotlb;
	char *p;

	if (!probe_events())
		SKIP(return, "needs tracefs and KPROBE_EVENTS");
	for (i = 0; i < ARRAY_SIZE(changes); i++) {
		p = sva_pages(MANY_PAGES, 1);
		ASSERT_NE(NULL, p);
		ASSERT_TRUE(sva_warm_up(&self->s, p, 1, MANY_PAGES * SVA_PAGE));
		memset(c, 0, sizeof(*c));
		events = probe_hits();
		EXPECT_TRUE(SVA_COUNTED(&self->s, c, changes[i].fn(p)));
		events = probe_hits() - events;
		EXPECT_CLEAN(&self->s);
		print_counts(&self->s, changes[i].name, c);
		fprintf(stderr, "# %ld events\n", events);
		EXPECT_LT(0, events);
		for (u = 0; u < units; u++) {
			iotlb = c->unit[u].iotlb_range + c->unit[u].iotlb_tag;
			EXPECT_EQ(is_pagewise(u) && changes[i].pages ?
				  changes[i].pages : events, iotlb);
			EXPECT_EQ(events * sva_atcs_of(&self->s, u),
				  c->unit[u].atc_range + c->unit[u].atc_all);
			EXPECT_EQ(events * sva_waits_of(&self->s, u), c->unit[u].sync);
			EXPECT_EQ(0, c->unit[u].iotlb_all + c->unit[u].config);
		}
	}
}

/* --- while others come and go --- */

/* The list of bindings changes while the first function depends on it. */
TEST_F(sva_multi, bind_and_unbind_meanwhile)
{
	unsigned int i, n = self->s.nr, rounds;

	if (n < 2)
		SKIP(return, "needs two functions");
	for (i = 1; i < n; i++) {
		sva_close(&self->s.q[i]);
		ASSERT_TRUE(sva_binder_start(&self->b[i], &self->s.dev[i]));
	}
	for (rounds = 0; rounds < 100; rounds++)
		if (!sva_dontneed_is_seen(&self->s, &self->s.q[0], self->buf))
			break;
	for (i = 1; i < n; i++) {
		EXPECT_TRUE(sva_binder_end(&self->b[i]));
		ASSERT_EQ(0, sva_open(&self->s.q[i], &self->s.dev[i]));
	}
	EXPECT_EQ(100, rounds);
	ASSERT_CLEAN(&self->s);
}

TEST_HARNESS_MAIN
