// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What one change of the page table costs, exactly, with D functions bound to
 * one mm behind I IOMMUs: one IOTLB invalidation for each IOMMU, one ATC
 * invalidation for each function, and one wait for each IOMMU. A function more,
 * a domain more or an order of binding must not change that. And it takes the
 * time of the slowest IOMMU, not of one after the other.
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

#define BATCH		16	/* commands, of VT-d */

/* Waits for one event: one for each IOMMU, or for each batch if it has many */
static unsigned int waits(const struct sva *s)
{
	unsigned int i, commands = 0, n = 0;

	for (i = 0; i < s->nr; i++) {
		if (sva_first_of_unit(s, i))
			commands = 0;
		n += commands % BATCH == 0;
		commands += commands ? 1 : 2;	/* its tag and the first ATC */
	}
	return n;
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

static void expect_limit(struct __test_metadata *_metadata, struct sva *s,
			 const char *what, struct sva_counts *c)
{
	print_counts(s, what, c);
	EXPECT_EQ(sva_units(s), c->iotlb_range);
	EXPECT_EQ(s->nr, c->atc_range);
	EXPECT_EQ(waits(s), c->sync);
	EXPECT_EQ(0, c->iotlb_tag + c->iotlb_all);
	EXPECT_EQ(0, c->atc_all + c->config);
}

TEST_F(sva_multi, munmap_costs)
{
	struct sva_counts c;

	ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 1, SVA_PAGE));
	ASSERT_EQ(0, SVA_COUNTED(&self->s, &c, munmap(self->buf, SVA_PAGE)));
	ASSERT_CLEAN(&self->s);
	expect_limit(_metadata, &self->s, "munmap of one page", &c);
}

TEST_F(sva_multi, mprotect_costs)
{
	struct sva_counts c;

	ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 1, SVA_PAGE));
	ASSERT_EQ(0, SVA_COUNTED(&self->s, &c, mprotect(self->buf, SVA_PAGE, PROT_READ)));
	ASSERT_CLEAN(&self->s);
	expect_limit(_metadata, &self->s, "mprotect to read-only", &c);

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
	expect_limit(_metadata, &self->s, "MADV_DONTNEED of a few pages", &c);
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
	expect_limit(_metadata, &self->s, "munmap, two queues each", &c);
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
	expect_limit(_metadata, &self->s, "munmap, bound in turns", &c);
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

/* The child stays for as long as it takes to have pages copied on write. */
static bool fork_and_write(char *p)
{
	pid_t pid = fork();

	if (!pid) {
		usleep(200000);
		_exit(0);
	}
	memset(p, 2, 9 * SVA_PAGE);
	return pid > 0 && waitpid(pid, NULL, 0) == pid;
}

static const struct {
	const char *name;
	bool (*fn)(char *p);
} changes[] = {
	{ "munmap in pieces", unmap_in_pieces },
	{ "mprotect", protect_all },
	{ "mremap", move },
	{ "MADV_DONTNEED", drop_some },
	{ "fork", fork_and_write },
};

/*
 * One system call can be several events, and what an event is about can be a
 * page, a range or the whole address space. Each costs the limit.
 */
TEST_F(sva_multi, each_event_costs_the_limit)
{
	unsigned int i, units = sva_units(&self->s);
	struct sva_counts c;
	long events;
	char *p;

	if (!probe_notifier())
		SKIP(return, "needs tracefs, KPROBE_EVENTS and a known driver");
	for (i = 0; i < ARRAY_SIZE(changes); i++) {
		p = sva_pages(MANY_PAGES, 1);
		ASSERT_NE(NULL, p);
		ASSERT_TRUE(sva_warm_up(&self->s, p, 1, MANY_PAGES * SVA_PAGE));
		events = probe_hits();
		EXPECT_TRUE(SVA_COUNTED(&self->s, &c, changes[i].fn(p)));
		events = probe_hits() - events;
		EXPECT_CLEAN(&self->s);
		print_counts(&self->s, changes[i].name, &c);
		fprintf(stderr, "# %ld events\n", events);
		EXPECT_LT(0, events);
		EXPECT_EQ(events * units, c.iotlb_range + c.iotlb_tag);
		EXPECT_EQ(events * self->s.nr, c.atc_range + c.atc_all);
		EXPECT_EQ(events * waits(&self->s), c.sync);
		EXPECT_EQ(0, c.iotlb_all + c.config);
	}
	unprobe();
}

/* --- the slowest IOMMU --- */

#define SLOW_MS		100

static double shortest_of_three(struct sva *s, char *p)
{
	double start, took, best = SVA_TIMEOUT_S * 1000;
	unsigned int i;

	for (i = 0; i < 3; i++) {
		memset(p, 1, SVA_PAGE);
		start = sva_now();
		madvise(p, SVA_PAGE, MADV_DONTNEED);
		took = (sva_now() - start) * 1000;
		best = took < best ? took : best;
	}
	return best;
}

/*
 * Every IOMMU needs its time to say that it is done. If all have their commands
 * before anybody waits for one of them, it is the same time.
 */
TEST_F(sva_multi, slowest_unit_not_sum)
{
	double took;

	if (sva_units(&self->s) < 2)
		SKIP(return, "needs two units");
	sva_late(&self->s, SVADEV_LATE_SYNC, SLOW_MS * SVA_MS);
	took = shortest_of_three(&self->s, self->buf);
	sva_on_time(&self->s);
	fprintf(stderr, "# %u units of %u ms: %.0f ms\n", sva_units(&self->s),
		SLOW_MS, took);
	EXPECT_LE(SLOW_MS, took);
	EXPECT_GT(SLOW_MS * 1.6, took);
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
