// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Changes of the page table while functions hold translations of it. When the
 * system call is back, no IOMMU and no function may know the old state: not in
 * a cache (VERIFY), not in what they read, and not in what they may write.
 *
 * Data alone would be a weak witness: after MADV_DONTNEED the same frame often
 * comes back.
 */
#include "../kselftest_harness.h"
#include "sva_utils.h"

/* Below the 33 pages from which x86 flushes the whole address space */
#define NR_PAGES	16

FIXTURE(sva_map)
{
	struct sva s;
	char *buf;
};

FIXTURE_VARIANT(sva_map)
{
	enum sva_mode mode;
};

FIXTURE_VARIANT_ADD(sva_map, pri)
{
	.mode = SVA_PRI,
};

FIXTURE_VARIANT_ADD(sva_map, ats)
{
	.mode = SVA_ATS,
};

FIXTURE_VARIANT_ADD(sva_map, untranslated)
{
	.mode = SVA_UNTRANSLATED,
};

FIXTURE_SETUP(sva_map)
{
	const char *why = sva_setup(&self->s, variant->mode);

	if (why)
		SKIP(return, "%s", why);
	ASSERT_TRUE(sva_open_all(&self->s));
	self->buf = sva_pages(NR_PAGES, 0);
	ASSERT_NE(NULL, self->buf);
	ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 1, NR_PAGES * SVA_PAGE));
}

FIXTURE_TEARDOWN(sva_map)
{
	sva_close_all(&self->s);
	EXPECT_CLEAN(&self->s);
	sva_teardown(&self->s);
}

TEST_F(sva_map, munmap)
{
	char *gone = self->buf + 5 * SVA_PAGE;
	struct sva_queue *q;

	ASSERT_EQ(0, SVA_CHANGE(&self->s, munmap(gone, SVA_PAGE)));
	ASSERT_CLEAN(&self->s);
	for (q = self->s.q; q < self->s.end; q++) {
		EXPECT_TRUE(sva_is_fault(&self->s, sva_fill(q, gone, 2, SVA_PAGE)));
		EXPECT_TRUE(sva_faulted_at(q, gone));
		/* up to it, and no further */
		EXPECT_TRUE(sva_is_fault(&self->s,
					 sva_copy(q, self->buf + 8 * SVA_PAGE,
						  self->buf + 4 * SVA_PAGE,
						  3 * SVA_PAGE)));
		EXPECT_EQ(SVA_PAGE, sva_reg(q, SVADEV_Q_DONE));
		EXPECT_TRUE(sva_faulted_at(q, gone));
		/* its neighbours */
		EXPECT_TRUE(sva_sees(q, gone - SVA_PAGE, 1, SVA_PAGE));
		EXPECT_TRUE(sva_sees(q, gone + SVA_PAGE, 1, SVA_PAGE));
	}
}

TEST_F(sva_map, munmap_all)
{
	struct sva_queue *q;

	ASSERT_EQ(0, SVA_CHANGE(&self->s, munmap(self->buf, NR_PAGES * SVA_PAGE)));
	ASSERT_CLEAN(&self->s);
	for (q = self->s.q; q < self->s.end; q++)
		EXPECT_TRUE(sva_is_fault(&self->s,
					 sva_fill(q, self->buf, 2, SVA_PAGE)));
}

/* Translated before, accessed after: the translation must not be used. */
TEST_F(sva_map, munmap_held)
{
	struct sva_queue *q;

	for (q = self->s.q; q < self->s.end; q++)
		ASSERT_EQ(0, sva_hold(q, SVADEV_OP_FILL, NULL, self->buf,
				      4 * SVA_PAGE, 2));
	ASSERT_EQ(0, SVA_CHANGE(&self->s, munmap(self->buf + 2 * SVA_PAGE,
						 SVA_PAGE)));
	ASSERT_CLEAN(&self->s);
	for (q = self->s.q; q < self->s.end; q++) {
		EXPECT_TRUE(sva_is_fault(&self->s, sva_release(q)));
		EXPECT_EQ(2 * SVA_PAGE, sva_reg(q, SVADEV_Q_DONE));
	}
}

/* More than x86 cares to flush page by page: everything of the PASID goes */
TEST_F(sva_map, munmap_many)
{
	unsigned int n = 4 * NR_PAGES;
	char *p = sva_pages(n, 0);
	struct sva_queue *q;

	ASSERT_NE(NULL, p);
	ASSERT_TRUE(sva_warm_up(&self->s, p, 3, n * SVA_PAGE));
	ASSERT_EQ(0, SVA_CHANGE(&self->s, munmap(p, n * SVA_PAGE)));
	ASSERT_CLEAN(&self->s);
	for (q = self->s.q; q < self->s.end; q++) {
		EXPECT_TRUE(sva_is_fault(&self->s, sva_fill(q, p, 2, SVA_PAGE)));
		EXPECT_TRUE(sva_is_fault(&self->s,
					 sva_fill(q, p + (n - 1) * SVA_PAGE, 2,
						  SVA_PAGE)));
		EXPECT_TRUE(sva_sees(q, self->buf, 1, NR_PAGES * SVA_PAGE));
	}
}

/* Something else in its place */
TEST_F(sva_map, replace)
{
	struct sva_queue *q;
	void *p;

	p = SVA_CHANGE(&self->s, mmap(self->buf, NR_PAGES * SVA_PAGE,
				      PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED |
				      MAP_POPULATE, -1, 0));
	ASSERT_EQ(p, self->buf);
	ASSERT_CLEAN(&self->s);
	for (q = self->s.q; q < self->s.end; q++)
		EXPECT_TRUE(sva_sees(q, self->buf, 0, NR_PAGES * SVA_PAGE));
	ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 4, NR_PAGES * SVA_PAGE));
	EXPECT_TRUE(sva_all(self->buf, 4, NR_PAGES * SVA_PAGE));
}

TEST_F(sva_map, mprotect_read_only)
{
	struct sva_queue *q;

	ASSERT_EQ(0, SVA_CHANGE(&self->s, mprotect(self->buf, NR_PAGES * SVA_PAGE,
						   PROT_READ)));
	ASSERT_CLEAN(&self->s);
	for (q = self->s.q; q < self->s.end; q++) {
		EXPECT_TRUE(sva_is_fault(&self->s,
					 sva_fill(q, self->buf, 2, SVA_PAGE)));
		EXPECT_TRUE(sva_sees(q, self->buf, 1, NR_PAGES * SVA_PAGE));
	}
	EXPECT_TRUE(sva_all(self->buf, 1, NR_PAGES * SVA_PAGE));

	/* Nobody need be told that more is allowed now. A function can ask. */
	ASSERT_EQ(0, mprotect(self->buf, NR_PAGES * SVA_PAGE,
			      PROT_READ | PROT_WRITE));
	memset(self->buf, 1, NR_PAGES * SVA_PAGE);
	ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 5, NR_PAGES * SVA_PAGE));
	EXPECT_TRUE(sva_all(self->buf, 5, NR_PAGES * SVA_PAGE));
	ASSERT_CLEAN(&self->s);
}

TEST_F(sva_map, mprotect_none)
{
	struct sva_queue *q;
	uint64_t sum;

	ASSERT_EQ(0, SVA_CHANGE(&self->s, mprotect(self->buf, SVA_PAGE, PROT_NONE)));
	ASSERT_CLEAN(&self->s);
	for (q = self->s.q; q < self->s.end; q++)
		EXPECT_TRUE(sva_is_fault(&self->s,
					 sva_sum(q, self->buf, SVA_PAGE, &sum)));
	ASSERT_EQ(0, mprotect(self->buf, SVA_PAGE, PROT_READ));
	EXPECT_TRUE(sva_all(self->buf, 1, SVA_PAGE));
	for (q = self->s.q; q < self->s.end; q++)
		EXPECT_TRUE(sva_sees(q, self->buf, 1, SVA_PAGE));
}

/* The pages are empty now, for the functions as for the CPU. */
TEST_F(sva_map, dontneed)
{
	struct sva_queue *q;

	ASSERT_EQ(0, SVA_CHANGE(&self->s, madvise(self->buf, NR_PAGES * SVA_PAGE,
						  MADV_DONTNEED)));
	ASSERT_CLEAN(&self->s);
	if (!sva_pages_come(&self->s))
		EXPECT_TRUE(sva_all(self->buf, 0, NR_PAGES * SVA_PAGE));
	for (q = self->s.q; q < self->s.end; q++)
		EXPECT_TRUE(sva_sees(q, self->buf, 0, NR_PAGES * SVA_PAGE));
	memset(self->buf, 6, NR_PAGES * SVA_PAGE);
	for (q = self->s.q; q < self->s.end; q++)
		EXPECT_TRUE(sva_sees(q, self->buf, 6, NR_PAGES * SVA_PAGE));
	ASSERT_CLEAN(&self->s);
}

/* The same frames at another address */
TEST_F(sva_map, mremap)
{
	char *to = sva_pages(NR_PAGES, 0);
	struct sva_queue *q;
	void *p;

	ASSERT_NE(NULL, to);
	ASSERT_TRUE(sva_warm_up(&self->s, to, 7, NR_PAGES * SVA_PAGE));
	p = SVA_CHANGE(&self->s, mremap(self->buf, NR_PAGES * SVA_PAGE,
					NR_PAGES * SVA_PAGE,
					MREMAP_MAYMOVE | MREMAP_FIXED, to));
	ASSERT_EQ(p, to);
	ASSERT_CLEAN(&self->s);
	for (q = self->s.q; q < self->s.end; q++) {
		EXPECT_TRUE(sva_is_fault(&self->s,
					 sva_fill(q, self->buf, 2, SVA_PAGE)));
		EXPECT_TRUE(sva_sees(q, to, 1, NR_PAGES * SVA_PAGE));
	}
	ASSERT_TRUE(sva_warm_up(&self->s, to, 8, NR_PAGES * SVA_PAGE));
	EXPECT_TRUE(sva_all(to, 8, NR_PAGES * SVA_PAGE));
}

/* Shared memory whose owner makes it shorter */
TEST_F(sva_map, truncate)
{
	int fd = memfd_create("sva", 0);
	struct sva_queue *q;
	char *p;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, 4 * SVA_PAGE));
	p = mmap(NULL, 4 * SVA_PAGE, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_POPULATE, fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	memset(p, 0, 4 * SVA_PAGE);
	ASSERT_TRUE(sva_warm_up(&self->s, p, 1, 4 * SVA_PAGE));
	ASSERT_EQ(0, SVA_CHANGE(&self->s, ftruncate(fd, 2 * SVA_PAGE)));
	ASSERT_CLEAN(&self->s);
	for (q = self->s.q; q < self->s.end; q++) {
		EXPECT_TRUE(sva_is_fault(&self->s, sva_fill(q, p, 2, 4 * SVA_PAGE)));
		EXPECT_EQ(2 * SVA_PAGE, sva_reg(q, SVADEV_Q_DONE));
	}
	EXPECT_TRUE(sva_all(p, 2, 2 * SVA_PAGE));
	close(fd);
}

#define HUGE	"/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/"

/* How many faults have been served with one */
static long huge_pages(void)
{
	FILE *f = fopen(HUGE "stats/anon_fault_alloc", "r");
	long n = 0;

	if (f && fscanf(f, "%ld", &n) != 1)
		n = 0;
	if (f)
		fclose(f);
	return n;
}

/*
 * One entry of a page table is for 2 MiB, or where arm64 has larger pages, a contiguous
 * group is, of which nobody but us thinks.
 */
static bool make_huge(char *p, size_t len)
{
	long before = huge_pages();

	madvise(p, len, MADV_HUGEPAGE);
	if (SVA_PAGE > 4096)
		sva_write_file(HUGE "enabled", "madvise");
	memset(p, 9, len);
	if (SVA_PAGE > 4096)
		sva_write_file(HUGE "enabled", "never");
	return huge_pages() > before;
}

/* A hole in a huge page: what was one translation becomes many. */
TEST_F(sva_map, huge_page_split)
{
	const size_t huge = 2 << 20;
	struct sva_cached c;
	struct sva_queue *q;
	char *map, *p;

	map = mmap(NULL, 2 * huge, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, map);
	p = (char *)(((uintptr_t)map + huge - 1) & ~(huge - 1));
	if (!make_huge(p, huge))
		SKIP(return, "no huge page to be had");

	/* ATCs have pieces of it; what is in hand has the page, and two beside it. */
	for (q = self->s.q; q < self->s.end; q++) {
		ASSERT_TRUE(sva_sees(q, p, 9, 32 * SVA_PAGE));
		ASSERT_EQ(0, sva_hold(q, SVADEV_OP_FILL, NULL, p + 6 * SVA_PAGE,
				      3 * SVA_PAGE, 9));
		sva_count_cached(q->dev, sva_reg(q, SVADEV_Q_PASID), p, huge, &c);
		ASSERT_EQ(sva_untranslated(&self->s) ? 0 :
			  32 * SVA_PAGE / SVADEV_PAGE_SIZE, c.atc);
		ASSERT_EQ(1, c.iotlb);
	}
	ASSERT_EQ(0, SVA_CHANGE(&self->s, munmap(p + 7 * SVA_PAGE, SVA_PAGE)));
	ASSERT_CLEAN(&self->s);
	for (q = self->s.q; q < self->s.end; q++) {
		EXPECT_TRUE(sva_is_fault(&self->s, sva_release(q)));
		EXPECT_EQ(SVA_PAGE, sva_reg(q, SVADEV_Q_DONE));
		EXPECT_TRUE(sva_is_fault(&self->s,
					 sva_fill(q, p + 7 * SVA_PAGE, 2, SVA_PAGE)));
		EXPECT_TRUE(sva_sees(q, p, 9, 7 * SVA_PAGE));
		EXPECT_TRUE(sva_sees(q, p + 8 * SVA_PAGE, 9, 24 * SVA_PAGE));
	}
	munmap(map, 2 * huge);
	ASSERT_CLEAN(&self->s);
}

#define NR_TABLES	3

/* More than one page table, and a part of each of two others: all of them go. */
TEST_F(sva_map, munmap_tables)
{
	const size_t len = NR_TABLES * SVA_TABLE, part = 2 * SVA_PAGE;
	char *map, *p, *at[NR_TABLES + 2];
	struct sva_queue *q;
	unsigned int i;

	map = mmap(NULL, len + 2 * SVA_TABLE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, map);
	p = (char *)(((uintptr_t)map + SVA_TABLE - 1) & -SVA_TABLE) + SVA_TABLE - part;
	madvise(map, len + 2 * SVA_TABLE, MADV_NOHUGEPAGE);
	at[0] = p;
	for (i = 1; i < NR_TABLES + 1; i++)
		at[i] = p + part + (i - 1) * SVA_TABLE;
	at[i] = p + len - SVA_PAGE;
	for (i = 0; i < ARRAY_SIZE(at); i++)
		ASSERT_TRUE(at[i] && (at[i][0] = 1) &&
			    sva_warm_up(&self->s, at[i], i, SVA_PAGE));
	for (q = self->s.q; q < self->s.end; q++)
		ASSERT_EQ(0, sva_hold(q, SVADEV_OP_FILL, NULL, at[1], SVA_PAGE, 7));
	for (i = 0; i < ARRAY_SIZE(at); i++)
		ASSERT_TRUE(sva_all_cached(&self->s, at[i], SVA_PAGE));
	for (q = self->s.q; q < self->s.end; q++)
		ASSERT_EQ(NR_TABLES + 1,
			  sva_tables_cached(q, p + part - SVA_TABLE, len + SVA_TABLE));
	ASSERT_EQ(0, SVA_CHANGE(&self->s, munmap(p, len)));
	ASSERT_CLEAN(&self->s);
	for (q = self->s.q; q < self->s.end; q++) {
		EXPECT_TRUE(sva_is_fault(&self->s, sva_release(q)));
		for (i = 0; i < ARRAY_SIZE(at); i++)
			EXPECT_TRUE(sva_is_fault(&self->s,
						 sva_fill(q, at[i], 8, SVA_PAGE)));
	}
	munmap(map, len + 2 * SVA_TABLE);
}

/* Nobody else is in its page table, which goes with the page. */
TEST_F(sva_map, munmap_table)
{
	struct sva_queue *q;
	char *room, *p;

	room = mmap(NULL, 2 * SVA_TABLE, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, room);
	p = (char *)(((uintptr_t)room + SVA_TABLE - 1) & -SVA_TABLE);
	ASSERT_EQ(0, munmap(room, 2 * SVA_TABLE));
	ASSERT_EQ(p, mmap(p, SVA_PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
	memset(p, 1, SVA_PAGE);
	ASSERT_TRUE(sva_warm_up(&self->s, p, 1, SVA_PAGE));
	for (q = self->s.q; q < self->s.end; q++)
		ASSERT_EQ(1, sva_tables_cached(q, p, SVA_TABLE));

	ASSERT_EQ(0, SVA_CHANGE(&self->s, munmap(p, SVA_PAGE)));
	ASSERT_CLEAN(&self->s);
	for (q = self->s.q; q < self->s.end; q++)
		EXPECT_TRUE(sva_is_fault(&self->s, sva_fill(q, p, 2, SVA_PAGE)));
}

TEST_HARNESS_MAIN
