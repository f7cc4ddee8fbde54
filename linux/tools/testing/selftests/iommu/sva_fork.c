// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Several address spaces: fork with copy on write in both directions, and
 * processes that share a function and must not see each other.
 */
#include "../kselftest_harness.h"
#include "sva_utils.h"

#define NR_PAGES	8
#define LEN		(NR_PAGES * SVA_PAGE)

FIXTURE(sva_fork)
{
	struct sva s;
	char *buf;
};

FIXTURE_VARIANT(sva_fork)
{
	enum sva_mode mode;
};

FIXTURE_VARIANT_ADD(sva_fork, pri)
{
	.mode = SVA_PRI,
};

FIXTURE_VARIANT_ADD(sva_fork, ats)
{
	.mode = SVA_ATS,
};

FIXTURE_VARIANT_ADD(sva_fork, untranslated)
{
	.mode = SVA_UNTRANSLATED,
};

FIXTURE_SETUP(sva_fork)
{
	const char *why = sva_setup(&self->s, variant->mode);

	if (why)
		SKIP(return, "%s", why);
	self->buf = sva_pages(NR_PAGES, 0);
	ASSERT_NE(NULL, self->buf);
	ASSERT_TRUE(sva_open_all(&self->s));
	ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 1, LEN));
}

FIXTURE_TEARDOWN(sva_fork)
{
	sva_close_all(&self->s);
	EXPECT_CLEAN(&self->s);
	sva_teardown(&self->s);
}

/*
 * After fork every page is read-only for both. The parent's function had all
 * of them writable in its caches: what it writes now must not reach the child.
 */
TEST_F(sva_fork, parent_writes)
{
	struct sva_queue *q;
	struct sva_child c;
	pid_t pid;

	pid = SVA_CHANGE(&self->s, sva_child_new(&c));
	if (!pid) {
		if (!sva_hear(c.fd))
			_exit(10);
		_exit(!sva_all(self->buf, 1, LEN));
	}
	ASSERT_LT(0, pid);
	EXPECT_CLEAN(&self->s);
	for (q = self->s.q; q < self->s.end; q++) {
		if (sva_pages_come(&self->s)) {
			EXPECT_EQ(0, sva_fill(q, self->buf, 2, LEN));
			continue;
		}
		/* one page first by the function, then all by the CPU */
		EXPECT_TRUE(q != self->s.q ||
			    sva_is_fault(&self->s, sva_fill(q, self->buf, 2, 8)));
		memset(self->buf, 2, LEN);
		EXPECT_EQ(0, sva_fill(q, self->buf, 2, LEN));
	}
	EXPECT_CLEAN(&self->s);
	EXPECT_TRUE(sva_all(self->buf, 2, LEN));
	EXPECT_TRUE(sva_say(c.fd));
	EXPECT_EQ(0, sva_exit_code(pid));
}

/* The other way round: the parent's function does not see the child. */
TEST_F(sva_fork, child_writes)
{
	struct sva_queue *q;
	struct sva_child c;
	pid_t pid;

	pid = SVA_CHANGE(&self->s, sva_child_new(&c));
	if (!pid) {
		memset(self->buf, 3, LEN);
		sva_say(c.fd);
		_exit(!sva_hear(c.fd));
	}
	ASSERT_LT(0, pid);
	ASSERT_TRUE(sva_hear(c.fd));
	EXPECT_CLEAN(&self->s);
	for (q = self->s.q; q < self->s.end; q++)
		EXPECT_TRUE(sva_sees(q, self->buf, 1, LEN));
	EXPECT_TRUE(sva_say(c.fd));
	EXPECT_EQ(0, sva_exit_code(pid));
}

/* 0, or the number of the first thing that is wrong */
static int child_is_unbound(struct sva *s, char *buf)
{
	struct sva_queue *parents = &s->q[0];
	struct sva_queue q, rogue;
	uint64_t pasid;
	bool refused;

	/* no PASID comes with fork, and the parent's queue is not inherited */
	if (mmap(NULL, SVADEV_QPAGE_SIZE, PROT_READ, MAP_SHARED, parents->fd,
		 0) != MAP_FAILED)
		return 1;
	if (msync(parents->page, SVA_PAGE,
		  MS_ASYNC) != -1 || errno != ENOMEM)
		return 2;
	/* closing what was inherited does not unbind the parent */
	close(parents->fd);
	if (sva_open(&q, &s->dev[0]))
		return 3;
	pasid = sva_reg(&q, SVADEV_Q_PASID);
	memset(buf, 4, LEN);
	if (sva_fill(&q, buf, 5, LEN) || !sva_all(buf, 5, LEN))
		return 4;
	sva_close(&q);

	refused = sva_take(&rogue, &s->dev[0], pasid) &&
		  SVA_IS_REFUSED(s, &rogue, SVA_UNBOUND,
				 sva_fill(&rogue, buf, 6, LEN));
	sva_give_back(&rogue);
	return refused && sva_all(buf, 5, LEN) ? 0 : 5;
}

TEST_F(sva_fork, child_is_unbound)
{
	struct sva_queue *q;
	struct sva_child c;
	pid_t pid = sva_child_new(&c);

	if (!pid)
		_exit(child_is_unbound(&self->s, self->buf));
	ASSERT_LT(0, pid);
	EXPECT_EQ(0, sva_exit_code(pid));
	for (q = self->s.q; q < self->s.end; q++)
		EXPECT_TRUE(sva_sees(q, self->buf, 1, LEN));
}

/*
 * Two mms on the same functions, with the same addresses and other contents.
 * Each fills its pages through all functions, one after the other, and then
 * the parent takes its pages away: that must hurt nobody but itself.
 */
static int other_process(struct sva *s, char *buf, int sync, uint64_t pasid)
{
	struct sva_queue q[SVA_MAX_DEVS];
	unsigned int i;

	for (i = 0; i < s->nr; i++) {
		if (sva_open(&q[i], &s->dev[i]) ||
		    sva_reg(&q[i], SVADEV_Q_PASID) == pasid)
			return 1;
		memset(buf, 6, LEN);
		if (sva_fill(&q[i], buf, 7, LEN))
			return 2;
	}
	if (!sva_say(sync) || !sva_hear(sync))
		return 3;
	for (i = 0; i < s->nr; i++)
		if (!sva_sees(&q[i], buf, 7, LEN))
			return 4;
	for (i = 0; i < s->nr; i++)
		if (sva_fill(&q[i], buf, 8, LEN) || !sva_all(buf, 8, LEN))
			return 5;
	if (!sva_clean(s))
		return 6;
	return !sva_say(sync) || !sva_hear(sync);
}

TEST_F(sva_fork, two_processes)
{
	uint64_t pasid = sva_reg(&self->s.q[0], SVADEV_Q_PASID);
	struct sva_queue *q;
	struct sva_child c;
	pid_t pid = sva_child_new(&c);

	if (!pid)
		_exit(other_process(&self->s, self->buf, c.fd, pasid));
	ASSERT_LT(0, pid);
	ASSERT_TRUE(sva_hear(c.fd));
	for (q = self->s.q; q < self->s.end; q++)
		EXPECT_TRUE(sva_sees(q, self->buf, 1, LEN));
	ASSERT_EQ(0, SVA_CHANGE(&self->s, munmap(self->buf, LEN)));
	EXPECT_CLEAN(&self->s);
	for (q = self->s.q; q < self->s.end; q++)
		EXPECT_TRUE(sva_is_fault(&self->s, sva_fill(q, self->buf, 2, 8)));
	EXPECT_TRUE(sva_say(c.fd));
	ASSERT_TRUE(sva_hear(c.fd));
	for (q = self->s.q; q < self->s.end; q++)
		EXPECT_TRUE(sva_is_fault(&self->s, sva_fill(q, self->buf, 2, 8)));
	EXPECT_TRUE(sva_say(c.fd));
	EXPECT_EQ(0, sva_exit_code(pid));
}

/* How often the functions have asked for a translation */
static uint64_t requests(const struct sva *s)
{
	uint64_t n = 0;
	unsigned int i;

	for (i = 0; i < s->nr; i++)
		n += sva_read(s->dev[i].ctl, SVADEV_C_XLATE);
	return n;
}

static int has_all_in_its_caches(struct sva *s, char *buf, int sync)
{
	struct sva_queue q[SVA_MAX_DEVS];
	uint64_t before;
	unsigned int i;

	memset(buf, 6, LEN);
	for (i = 0; i < s->nr; i++)
		if (sva_open(&q[i], &s->dev[i]) || sva_fill(&q[i], buf, 7, LEN))
			return 1;
	if (!sva_say(sync) || !sva_hear(sync))
		return 2;
	before = requests(s);
	for (i = 0; i < s->nr; i++)
		if (!sva_sees(&q[i], buf, 7, LEN))
			return 3;
	return requests(s) == before ? 0 : 4;
}

/*
 * A fork takes all that the functions have cached of the parent. What they have
 * of another process is none of its business.
 */
TEST_F(sva_fork, spares_others)
{
	uint64_t untagged;
	struct sva_child c;
	pid_t pid, other;

	if (sva_untranslated(&self->s))
		SKIP(return, "nothing is cached by the function");
	other = sva_child_new(&c);
	if (!other)
		_exit(has_all_in_its_caches(&self->s, self->buf, c.fd));
	ASSERT_LT(0, other);
	ASSERT_TRUE(sva_hear(c.fd));

	memset(self->buf, 1, LEN);
	ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 1, LEN));
	untagged = sva_untagged(&self->s);
	pid = SVA_CHANGE(&self->s, fork());
	if (!pid)
		_exit(0);
	EXPECT_EQ(pid, waitpid(pid, NULL, 0));
	EXPECT_CLEAN(&self->s);
	EXPECT_EQ(untagged, sva_untagged(&self->s));
	EXPECT_TRUE(sva_say(c.fd));
	EXPECT_EQ(0, sva_exit_code(other));
}

TEST_HARNESS_MAIN
