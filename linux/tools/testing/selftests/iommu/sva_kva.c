// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Page tables of the kernel that are freed while a process is bound. A device
 * walks them when a user address leads there, so its IOMMU may have cached
 * entries that point to them, and has to be told before they are used again.
 *
 * A KUnit suite frees such tables on demand, if the kernel has it. What is seen
 * from here is whether the IOMMUs of a bound process hear of it.
 */
#include "../kselftest_harness.h"
#include "sva_utils.h"

#define SUITE	"/sys/kernel/debug/kunit/kernel_pgtable_live/"

FIXTURE(sva_kva)
{
	struct sva s;
	char *buf;
};

FIXTURE_SETUP(sva_kva)
{
	const char *why = sva_setup(&self->s, SVA_ATS);

	if (!why && access(SUITE "run", W_OK))
		why = "no KUnit suite kernel_pgtable_live in debugfs";
	if (why)
		SKIP(return, "%s", why);
	self->buf = sva_pages(1, 1);
	ASSERT_NE(NULL, self->buf);
	ASSERT_TRUE(sva_open_all(&self->s));
}

FIXTURE_TEARDOWN(sva_kva)
{
	sva_close_all(&self->s);
	EXPECT_CLEAN(&self->s);
	sva_teardown(&self->s);
}

/* Test cases that ran, and how many of them failed */
static unsigned int results(unsigned int *failed)
{
	FILE *f = fopen(SUITE "results", "r");
	unsigned int ran = 0, nr;
	char line[512];

	*failed = 0;
	while (f && fgets(line, sizeof(line), f)) {
		if (strstr(line, "# SKIP") || strncmp(line, "    ", 4))
			continue;
		if (sscanf(line, " ok %u", &nr) == 1)
			ran++;
		else if (sscanf(line, " not ok %u", &nr) == 1)
			(*failed)++;
	}
	if (f)
		fclose(f);
	return ran + *failed;
}

static bool run_suite(void)
{
	int fd = open(SUITE "run", O_WRONLY);
	bool ok = fd >= 0 && write(fd, "1", 1) == 1;

	if (fd >= 0)
		close(fd);
	return ok;
}

static bool same_tags(const struct sva_counts *c, unsigned int units)
{
	unsigned int i;

	for (i = 1; i < units; i++)
		if (c->unit[i].iotlb_tag != c->unit[0].iotlb_tag)
			return false;
	return true;
}

/* At least one invalidation at each IOMMU for each case that freed tables */
TEST_F_TIMEOUT(sva_kva, seen_by_every_unit, 120)
{
	unsigned int ran, failed, i, units = sva_units(&self->s);
	uint64_t untagged = sva_untagged(&self->s);
	struct sva_counts before, c;
	double end;

	for (i = 0; i < self->s.nr; i++)
		ASSERT_TRUE(sva_sees(&self->s.q[i], self->buf, 1, SVA_PAGE));
	sva_settle();
	sva_count(&self->s, &before);
	ASSERT_TRUE(run_suite());
	/* Soon each unit has been asked, and not just the first. */
	end = sva_now() + SVA_TIMEOUT_S;
	do {
		c = before;
		sva_settle();
		sva_count_since(&self->s, &c);
	} while (!same_tags(&c, units) && sva_now() < end);
	ran = results(&failed);
	EXPECT_EQ(0, failed);
	EXPECT_LT(0, ran);
	for (i = 0; i < units; i++) {
		fprintf(stderr, "# %u cases, unit %u: iotlb_range=%llu iotlb_tag=%llu\n",
			ran, i, (unsigned long long)c.unit[i].iotlb_range,
			(unsigned long long)c.unit[i].iotlb_tag);
		EXPECT_LE(ran, c.unit[i].iotlb_range + c.unit[i].iotlb_tag +
			       c.unit[i].iotlb_all);
		/* All are bound to the same mm. */
		EXPECT_EQ(c.unit[0].iotlb_tag, c.unit[i].iotlb_tag);
	}
	EXPECT_EQ(untagged, sva_untagged(&self->s));
	for (i = 0; i < self->s.nr; i++)
		EXPECT_TRUE(sva_sees(&self->s.q[i], self->buf, 1, SVA_PAGE));
}

/* Nobody is bound: nobody is told. */
TEST_F_TIMEOUT(sva_kva, unbound_is_left_alone, 120)
{
	struct sva_counts c;

	sva_close_all(&self->s);
	sva_settle();
	sva_count(&self->s, &c);
	ASSERT_TRUE(run_suite());
	sva_settle();
	sva_count_since(&self->s, &c);
	EXPECT_EQ(0, c.all.iotlb_range + c.all.iotlb_tag + c.all.iotlb_all);
	ASSERT_TRUE(sva_open_all(&self->s));
}

/* KERNEL_PGTABLE_DELAY_MS of the kernel, less what a timer may be early by */
#define DELAY_MS	90

/*
 * However often tables are freed, the IOMMUs hear of it once for each delay, and when
 * the suite asks: at most twice in a case, and when there are too many, which
 * one of them takes care of. Functions hear nothing.
 */
TEST_F_TIMEOUT(sva_kva, burst_costs_little, 120)
{
	unsigned int ran, failed, i, units = sva_units(&self->s);
	double seconds, flushes;
	struct sva_counts c;

	for (i = 0; i < self->s.nr; i++)
		ASSERT_TRUE(sva_sees(&self->s.q[i], self->buf, 1, SVA_PAGE));
	sva_settle();
	sva_count(&self->s, &c);
	seconds = sva_now();
	ASSERT_TRUE(run_suite());
	sva_settle();
	seconds = sva_now() - seconds;
	sva_count_since(&self->s, &c);
	ran = results(&failed);
	EXPECT_EQ(0, failed);
	EXPECT_LT(0, ran);
	flushes = seconds * 1000 / DELAY_MS + 2 * ran + 1;
	EXPECT_EQ(0, c.all.atc_range + c.all.atc_all);
	EXPECT_EQ(0, c.all.iotlb_range + c.all.iotlb_all);
	for (i = 0; i < units; i++) {
		fprintf(stderr, "# %u cases in %.2f s, unit %u: iotlb_tag=%llu (at most %.0f)\n",
			ran, seconds, i, (unsigned long long)c.unit[i].iotlb_tag,
			flushes);
		EXPECT_LT(0, c.unit[i].iotlb_tag);
		EXPECT_LE(c.unit[i].iotlb_tag, flushes);
	}
	for (i = 0; i < self->s.nr; i++)
		EXPECT_TRUE(sva_sees(&self->s.q[i], self->buf, 1, SVA_PAGE));
}

TEST_HARNESS_MAIN
