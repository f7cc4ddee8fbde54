// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Page requests, and accesses that must fail. Whatever a process asks of its
 * queue, an error is all that may come of it, and the queue works afterwards.
 */
#include "../kselftest_harness.h"
#include "sva_utils.h"

#define NR_PAGES	8

FIXTURE(sva_fault)
{
	struct sva s;
	char *buf;
};

FIXTURE_VARIANT(sva_fault)
{
	enum sva_mode mode;
};

FIXTURE_VARIANT_ADD(sva_fault, pri)
{
	.mode = SVA_PRI,
};

FIXTURE_VARIANT_ADD(sva_fault, ats)
{
	.mode = SVA_ATS,
};

FIXTURE_VARIANT_ADD(sva_fault, untranslated)
{
	.mode = SVA_UNTRANSLATED,
};

FIXTURE_SETUP(sva_fault)
{
	const char *why = sva_setup(&self->s, variant->mode);

	if (why)
		SKIP(return, "%s", why);
	ASSERT_TRUE(sva_open_all(&self->s));
	self->buf = sva_pages(NR_PAGES, 1);
	ASSERT_NE(NULL, self->buf);
	ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 1, NR_PAGES * SVA_PAGE));
}

FIXTURE_TEARDOWN(sva_fault)
{
	struct sva_queue *q;

	/* Whatever went wrong, the queues are as good as new. */
	for (q = self->s.q; q < self->s.end; q++) {
		EXPECT_EQ(0, sva_fill(q, self->buf, 99, SVA_PAGE));
		EXPECT_TRUE(sva_all(self->buf, 99, SVA_PAGE));
	}
	sva_close_all(&self->s);
	EXPECT_CLEAN(&self->s);
	sva_teardown(&self->s);
}

/* @n pages that nobody has touched */
static char *fresh(unsigned int n, int prot, int flags, int fd)
{
	char *p = mmap(NULL, n * SVA_PAGE, prot, flags, fd, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p, n * SVA_PAGE, MADV_NOHUGEPAGE);
	return p;
}

static char *fresh_anon(unsigned int n, int prot)
{
	return fresh(n, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

/* A page of a file */
static int memfd(int byte)
{
	int fd = memfd_create("sva", 0);
	char *page = malloc(SVA_PAGE);
	bool ok = page && fd >= 0;

	if (ok) {
		memset(page, byte, SVA_PAGE);
		ok = write(fd, page, SVA_PAGE) == (ssize_t)SVA_PAGE;
	}
	free(page);
	return ok ? fd : -1;
}

static bool file_holds(int fd, int byte)
{
	char *page = malloc(SVA_PAGE);
	bool ok = page && pread(fd, page, SVA_PAGE, 0) == (ssize_t)SVA_PAGE &&
		  sva_all(page, byte, SVA_PAGE);

	free(page);
	return ok;
}

/* One request for each page that is not there, and none for the second time */
TEST_F(sva_fault, untouched)
{
	struct sva_queue *q;

	for (q = self->s.q; q < self->s.end; q++) {
		uint64_t requests = sva_requests(q->dev);
		char *p = fresh_anon(NR_PAGES, PROT_READ | PROT_WRITE);
		int err;

		ASSERT_NE(NULL, p);
		err = sva_fill(q, p, 2, NR_PAGES * SVA_PAGE);
		requests = sva_requests(q->dev) - requests;
		if (!sva_pages_come(&self->s)) {
			EXPECT_TRUE(sva_is_fault(&self->s, err));
			EXPECT_TRUE(sva_faulted_at(q, p));
			EXPECT_EQ(0, requests);
			continue;
		}
		EXPECT_EQ(SVADEV_ERR_NONE, err);
		EXPECT_EQ(NR_PAGES, requests);
		EXPECT_TRUE(sva_all(p, 2, NR_PAGES * SVA_PAGE));
		EXPECT_TRUE(sva_sees(q, p, 2, NR_PAGES * SVA_PAGE));
		EXPECT_EQ(sva_requests(q->dev), sva_answers(q->dev));
	}
	ASSERT_CLEAN(&self->s);
}

/* Read first: that maps the zero page. Then the write must not reach it. */
TEST_F(sva_fault, zero_page)
{
	char *witness = fresh_anon(1, PROT_READ);
	struct sva_queue *q;

	if (!sva_pages_come(&self->s))
		SKIP(return, "needs page requests");

	for (q = self->s.q; q < self->s.end; q++) {
		char *p = fresh_anon(1, PROT_READ | PROT_WRITE);

		ASSERT_NE(NULL, p);
		EXPECT_TRUE(sva_sees(q, p, 0, SVA_PAGE));
		EXPECT_EQ(0, sva_fill(q, p, 3, SVA_PAGE));
		ASSERT_CLEAN(&self->s);
		EXPECT_TRUE(sva_all(p, 3, SVA_PAGE));
		EXPECT_TRUE(sva_sees(q, p, 3, SVA_PAGE));
		EXPECT_TRUE(sva_all(witness, 0, SVA_PAGE));
	}
}

/* A private mapping: the function's write is a copy, the file stays. */
TEST_F(sva_fault, private_file)
{
	int fd = memfd(4);
	struct sva_queue *q;

	ASSERT_LE(0, fd);
	if (!sva_pages_come(&self->s))
		SKIP(return, "needs page requests");

	for (q = self->s.q; q < self->s.end; q++) {
		char *p = fresh(1, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);

		ASSERT_NE(NULL, p);
		EXPECT_TRUE(sva_sees(q, p, 4, SVA_PAGE));
		EXPECT_EQ(0, sva_fill(q, p, 5, SVA_PAGE));
		ASSERT_CLEAN(&self->s);
		EXPECT_TRUE(sva_all(p, 5, SVA_PAGE));
		EXPECT_TRUE(sva_sees(q, p, 5, SVA_PAGE));
		EXPECT_TRUE(file_holds(fd, 4));
	}
	close(fd);
}

/* A shared one: the file gets it. */
TEST_F(sva_fault, shared_file)
{
	int fd = memfd(4);
	struct sva_queue *q;
	char *p;

	ASSERT_LE(0, fd);
	p = fresh(1, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	ASSERT_NE(NULL, p);
	if (!sva_pages_come(&self->s))
		memset(p, 4, SVA_PAGE);
	for (q = self->s.q; q < self->s.end; q++) {
		EXPECT_EQ(0, sva_fill(q, p, 6, SVA_PAGE));
		EXPECT_TRUE(file_holds(fd, 6));
	}
	close(fd);
}

/* What the process may not write, its function may not write. */
TEST_F(sva_fault, read_only)
{
	int fd = memfd(4);
	struct sva_queue *q;
	char *p;

	ASSERT_LE(0, fd);
	p = fresh(1, PROT_READ, MAP_SHARED | MAP_POPULATE, fd);
	ASSERT_NE(NULL, p);
	for (q = self->s.q; q < self->s.end; q++) {
		EXPECT_TRUE(sva_sees(q, p, 4, SVA_PAGE));
		EXPECT_TRUE(sva_is_fault(&self->s, sva_fill(q, p, 7, SVA_PAGE)));
		EXPECT_TRUE(sva_faulted_at(q, p));
		EXPECT_TRUE(sva_is_fault(&self->s,
					 sva_do(q, SVADEV_OP_ADD64, 0, NULL, p, 8, 1)));
		EXPECT_EQ(0, sva_reg(q, SVADEV_Q_DONE));
		EXPECT_TRUE(sva_sees(q, p, 4, SVA_PAGE));
	}
	EXPECT_TRUE(file_holds(fd, 4));
	close(fd);
}

/* Behind the end of a file: SIGBUS for a CPU, an error for a function */
TEST_F(sva_fault, beyond_file)
{
	int fd = memfd(4);
	struct sva_queue *q;
	char *p;

	ASSERT_LE(0, fd);
	p = fresh(2, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	ASSERT_NE(NULL, p);
	memset(p, 4, SVA_PAGE);
	for (q = self->s.q; q < self->s.end; q++) {
		EXPECT_TRUE(sva_is_fault(&self->s, sva_fill(q, p, 8, 2 * SVA_PAGE)));
		EXPECT_EQ(SVA_PAGE, sva_reg(q, SVADEV_Q_DONE));
		EXPECT_TRUE(sva_faulted_at(q, p + SVA_PAGE));
	}
	close(fd);
}

/* Neither written to nor read, and for no other reason than that it is not there */
static bool fails_at(struct sva *s, struct sva_queue *q, char *p)
{
	uint64_t sum;

	if (sva_is_fault(s, sva_fill(q, p, 1, 8)) && !sva_reg(q, SVADEV_Q_DONE) &&
	    sva_is_fault(s, sva_sum(q, p, 8, &sum)) && !sva_reg(q, SVADEV_Q_DONE))
		return true;
	fprintf(stderr, "# access to %p\n", p);
	return false;
}

/* Nothing there, the kernel's half, and no address at all */
TEST_F(sva_fault, bad_address)
{
	static const uint64_t bad[] = {
		0, 0x10, 0x7ffffffff000, 0x800000000000, 0x8000000000000000,
		0xffff800000000000, 0xffff888000000000, 0xffffffff81000000,
		0xfee00000, 0xfffffffffffffff0,
	};
	char *hole = fresh_anon(1, PROT_NONE);
	struct sva_queue *q;
	unsigned int i;

	ASSERT_NE(NULL, hole);
	for (q = self->s.q; q < self->s.end; q++) {
		EXPECT_TRUE(fails_at(&self->s, q, hole));
		for (i = 0; i < ARRAY_SIZE(bad); i++) {
			EXPECT_TRUE(fails_at(&self->s, q, (char *)bad[i]));
			EXPECT_EQ(0, sva_fill(q, self->buf, i, SVA_PAGE));
			EXPECT_TRUE(sva_all(self->buf, i, SVA_PAGE));
		}
	}
}

TEST_F(sva_fault, bad_length)
{
	static const uint64_t bad[] = {
		0, SVADEV_MAX_LEN + 1, 1ULL << 63, ~0ULL,
	};
	struct sva_queue *q;
	unsigned int i;

	for (q = self->s.q; q < self->s.end; q++) {
		for (i = 0; i < ARRAY_SIZE(bad); i++)
			EXPECT_EQ(SVADEV_ERR_LEN, sva_fill(q, self->buf, 2, bad[i]));
		/* wraps */
		EXPECT_EQ(SVADEV_ERR_LEN, sva_fill(q, (void *)~0xfffULL, 2, 0x1001));
		/* not aligned */
		EXPECT_EQ(SVADEV_ERR_LEN, sva_do(q, SVADEV_OP_ADD64, 0, NULL,
						 self->buf + 4, 8, 1));
		EXPECT_EQ(SVADEV_ERR_OP, sva_do(q, 99, 0, NULL, self->buf, 8, 1));
		EXPECT_EQ(SVADEV_ERR_OP, sva_do(q, SVADEV_OP_FILL, 1 << 20, NULL,
						self->buf, 8, 1));
	}
	EXPECT_TRUE(sva_all(self->buf, 1, NR_PAGES * SVA_PAGE));
}

/* Runs into a hole: what lies before it is done, and the register says so. */
TEST_F(sva_fault, length_into_hole)
{
	struct sva_queue *q;

	ASSERT_EQ(0, munmap(self->buf + 3 * SVA_PAGE, SVA_PAGE));
	for (q = self->s.q; q < self->s.end; q++) {
		EXPECT_TRUE(sva_is_fault(&self->s,
					 sva_fill(q, self->buf, 5, NR_PAGES * SVA_PAGE)));
		EXPECT_EQ(3 * SVA_PAGE, sva_reg(q, SVADEV_Q_DONE));
		EXPECT_TRUE(sva_faulted_at(q, self->buf + 3 * SVA_PAGE));
	}
	EXPECT_TRUE(sva_all(self->buf, 5, 3 * SVA_PAGE));
	EXPECT_TRUE(sva_all(self->buf + 4 * SVA_PAGE, 1, SVA_PAGE));
}

/* Requests for pages that are there already are answered as well. */
TEST_F(sva_fault, needless_requests)
{
	struct sva_queue *q;

	if (self->s.mode != SVA_PRI)
		SKIP(return, "needs page requests");
	for (q = self->s.q; q < self->s.end; q++) {
		EXPECT_EQ(0, sva_do(q, SVADEV_OP_PAGE_REQ, SVADEV_FLAG_WRITE,
				    self->buf, NULL, NR_PAGES * SVA_PAGE, 0));
		EXPECT_EQ(NR_PAGES * SVA_PAGE / SVADEV_PAGE_SIZE,
			  sva_reg(q, SVADEV_Q_RESULT));
	}
	EXPECT_TRUE(sva_all(self->buf, 1, NR_PAGES * SVA_PAGE));
}

/* A counter that CPU and functions add to at the same time */
TEST_F(sva_fault, atomic_add)
{
	uint64_t *counter = (uint64_t *)self->buf;
	unsigned int i, n = 200;
	struct sva_queue *q;

	__atomic_store_n(counter, 0, __ATOMIC_SEQ_CST);
	for (i = 0; i < n; i++) {
		for (q = self->s.q; q < self->s.end; q++)
			sva_submit(q, SVADEV_OP_ADD64, 0, NULL, counter, 8, 1);
		__atomic_fetch_add(counter, 1, __ATOMIC_SEQ_CST);
		for (q = self->s.q; q < self->s.end; q++)
			ASSERT_EQ(0, sva_wait(q));
	}
	EXPECT_EQ(n * (self->s.nr + 1), *counter);
}

TEST_HARNESS_MAIN
