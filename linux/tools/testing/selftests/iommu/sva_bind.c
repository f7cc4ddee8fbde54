// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Bind and unbind: one PASID for each mm, kept while anything is bound, and
 * refused from the moment when the last file is closed. And what a queue lets
 * its owner do.
 */
#include <poll.h>

#include "../kselftest_harness.h"
#include "sva_utils.h"

FIXTURE(sva_bind)
{
	struct sva s;
	char *buf;
};

FIXTURE_VARIANT(sva_bind)
{
	enum sva_mode mode;
};

FIXTURE_VARIANT_ADD(sva_bind, pri)
{
	.mode = SVA_PRI,
};

FIXTURE_VARIANT_ADD(sva_bind, ats)
{
	.mode = SVA_ATS,
};

FIXTURE_VARIANT_ADD(sva_bind, untranslated)
{
	.mode = SVA_UNTRANSLATED,
};

FIXTURE_SETUP(sva_bind)
{
	const char *why = sva_setup(&self->s, variant->mode);

	if (why)
		SKIP(return, "%s", why);
	self->buf = sva_pages(1, 1);
	ASSERT_NE(NULL, self->buf);
}

FIXTURE_TEARDOWN(sva_bind)
{
	EXPECT_CLEAN(&self->s);
	sva_teardown(&self->s);
}

/* Every queue of this mm has the same PASID, on whatever function. */
TEST_F(sva_bind, one_pasid)
{
	struct sva_queue q[2 * SVA_MAX_DEVS];
	unsigned int i, n = 2 * self->s.nr;
	uint64_t pasid = 0;

	for (i = 0; i < n; i++) {
		ASSERT_EQ(0, sva_open(&q[i], &self->s.dev[i / 2]));
		if (!i)
			pasid = sva_reg(&q[i], SVADEV_Q_PASID);
		EXPECT_EQ(pasid, sva_reg(&q[i], SVADEV_Q_PASID));
		EXPECT_TRUE(sva_sees(&q[i], self->buf, 1, SVA_PAGE));
	}
	EXPECT_NE(0, pasid);
	EXPECT_NE(SVADEV_PASID_NONE, pasid);

	for (i = 0; i < n; i++) {
		EXPECT_TRUE(sva_sees(&q[i], self->buf, 1, SVA_PAGE));
		sva_close(&q[i]);
	}
}

/* The mm keeps its PASID: threads may have it in a register. */
TEST_F(sva_bind, rebind_keeps_pasid)
{
	struct sva_queue q;
	uint64_t pasid = 0;
	unsigned int i;

	for (i = 0; i < 16; i++) {
		ASSERT_EQ(0, sva_open(&q, &self->s.dev[i % self->s.nr]));
		if (!i)
			pasid = sva_reg(&q, SVADEV_Q_PASID);
		EXPECT_EQ(pasid, sva_reg(&q, SVADEV_Q_PASID));
		EXPECT_TRUE(sva_sees(&q, self->buf, 1, SVA_PAGE));
		sva_close(&q);
	}
}

/*
 * Two files of one mm, then one, then none. The PASID must go with the last of
 * them, though the mm and the page are as alive as before. A queue that root
 * has taken does the asking, as the kernel would stop ours. SVADEV_DROP=config
 * leaves the PASID table entry in the cache of the IOMMU.
 */
TEST_F(sva_bind, dma_after_last_close)
{
	struct sva_queue q[2], rogue;
	unsigned int i;

	for (i = 0; i < self->s.nr; i++) {
		struct sva_dev *d = &self->s.dev[i];

		ASSERT_EQ(0, sva_open(&q[0], d));
		ASSERT_EQ(0, sva_open(&q[1], d));
		ASSERT_TRUE(sva_take(&rogue, d, sva_reg(&q[0], SVADEV_Q_PASID)));
		EXPECT_TRUE(sva_sees(&rogue, self->buf, 1, SVA_PAGE));

		sva_close(&q[0]);
		EXPECT_TRUE(sva_sees(&rogue, self->buf, 1, SVA_PAGE));
		ASSERT_TRUE(sva_cache(&self->s, &rogue, self->buf, 1, SVA_PAGE));

		munmap(q[1].page, SVADEV_QPAGE_SIZE);
		EXPECT_EQ(0, SVA_CHANGE(&self->s, close(q[1].fd)));
		EXPECT_CLEAN(&self->s);
		EXPECT_TRUE(SVA_IS_REFUSED(&self->s, &rogue, SVA_UNBOUND,
					   sva_fill(&rogue, self->buf, 2,
						    SVA_PAGE)));
		EXPECT_TRUE(sva_all(self->buf, 1, SVA_PAGE));
		sva_give_back(&rogue);
	}
}

/* The mm leaves one function: the others go on, that one is refused. */
TEST_F(sva_bind, unbind_one_of_many)
{
	struct sva_queue q[SVA_MAX_DEVS], rogue;
	unsigned int i, out;

	if (self->s.nr < 2)
		SKIP(return, "needs two functions");

	for (out = 0; out < self->s.nr; out++) {
		for (i = 0; i < self->s.nr; i++)
			ASSERT_EQ(0, sva_open(&q[i], &self->s.dev[i]));
		ASSERT_TRUE(sva_take(&rogue, q[out].dev,
				     sva_reg(&q[out], SVADEV_Q_PASID)));
		EXPECT_TRUE(sva_sees(&rogue, self->buf, 1, SVA_PAGE));
		sva_close(&q[out]);

		for (i = 0; i < self->s.nr; i++) {
			if (i == out)
				continue;
			EXPECT_TRUE(sva_sees(&q[i], self->buf, 1, SVA_PAGE));
			sva_close(&q[i]);
		}
		EXPECT_TRUE(SVA_IS_REFUSED(&self->s, &rogue, SVA_UNBOUND,
					   sva_fill(&rogue, self->buf, 2,
						    SVA_PAGE)));
		EXPECT_TRUE(sva_all(self->buf, 1, SVA_PAGE));
		sva_give_back(&rogue);
	}
}

/* A PASID that no mm has */
TEST_F(sva_bind, unknown_pasid)
{
	struct sva_queue q, rogue;

	ASSERT_EQ(0, sva_open(&q, &self->s.dev[0]));
	ASSERT_TRUE(sva_take(&rogue, q.dev, sva_reg(&q, SVADEV_Q_PASID) + 77));
	EXPECT_TRUE(SVA_IS_REFUSED(&self->s, &rogue, SVA_UNKNOWN,
				   sva_fill(&rogue, self->buf, 2, SVA_PAGE)));
	EXPECT_TRUE(sva_all(self->buf, 1, SVA_PAGE));
	EXPECT_TRUE(sva_sees(&q, self->buf, 1, SVA_PAGE));
	sva_give_back(&rogue);
	sva_close(&q);
}

TEST_F(sva_bind, all_queues)
{
	struct sva_dev *d = &self->s.dev[0];
	struct sva_queue q[256], more;
	unsigned int i, n = sva_instances_left(d);

	ASSERT_EQ(d->nr_queues, n);
	for (i = 0; i < n; i++)
		ASSERT_EQ(0, sva_open(&q[i], d));
	EXPECT_EQ(0, sva_instances_left(d));
	EXPECT_EQ(-EBUSY, sva_open(&more, d));

	sva_close(&q[0]);
	EXPECT_EQ(1, sva_instances_left(d));
	ASSERT_EQ(0, sva_open(&q[0], d));
	EXPECT_TRUE(sva_sees(&q[0], self->buf, 1, SVA_PAGE));
	for (i = 0; i < n; i++)
		sva_close(&q[i]);
	EXPECT_EQ(n, sva_instances_left(d));
}

static int map_errno(int fd, size_t len, int flags, off_t offset)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, flags, fd, offset);

	if (p == MAP_FAILED)
		return errno;
	munmap(p, len);
	return 0;
}

/* A queue's own page and nothing else */
TEST_F(sva_bind, mmap_limits)
{
	const size_t len = SVADEV_QPAGE_SIZE;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/dev/%s", self->s.dev[0].name);
	fd = open(path, O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_EQ(EINVAL, map_errno(fd, 2 * len, MAP_SHARED, 0));
	EXPECT_EQ(EINVAL, map_errno(fd, len + 1, MAP_SHARED, 0));
	/* nor a part, if mmap() knows parts of it */
	if (SVA_PAGE < len)
		EXPECT_EQ(EINVAL, map_errno(fd, len - SVA_PAGE, MAP_SHARED, 0));
	/* offsets are in pages of the CPU */
	EXPECT_EQ(EINVAL, map_errno(fd, len, MAP_SHARED, UACCE_QFRT_DUS * SVA_PAGE));
	EXPECT_EQ(EINVAL, map_errno(fd, len, MAP_SHARED, 2 * SVA_PAGE));
	EXPECT_EQ(EINVAL, map_errno(fd, len, MAP_PRIVATE, 0));
	EXPECT_EQ(0, map_errno(fd, len, MAP_SHARED, 0));
	/* the first mapping is gone, so the queue can be mapped again */
	EXPECT_EQ(0, map_errno(fd, len, MAP_SHARED, 0));
	close(fd);
}

/* A queue that is off does nothing, and comes back empty. */
TEST_F(sva_bind, stop_and_start)
{
	struct sva_queue q;

	ASSERT_EQ(0, sva_open(&q, &self->s.dev[0]));
	ASSERT_EQ(0, sva_hold(&q, SVADEV_OP_FILL, NULL, self->buf, SVA_PAGE, 2));
	EXPECT_EQ(0, ioctl(q.fd, UACCE_CMD_PUT_Q));
	EXPECT_EQ(SVADEV_STATE_DISABLED, sva_reg(&q, SVADEV_Q_STATE));

	sva_submit(&q, SVADEV_OP_FILL, 0, NULL, self->buf, SVA_PAGE, 3);
	EXPECT_EQ(SVADEV_STATE_DISABLED, sva_reg(&q, SVADEV_Q_STATE));
	EXPECT_TRUE(sva_all(self->buf, 1, SVA_PAGE));

	EXPECT_EQ(0, ioctl(q.fd, UACCE_CMD_START_Q));
	EXPECT_EQ(SVADEV_STATE_IDLE, sva_reg(&q, SVADEV_Q_STATE));
	EXPECT_EQ(0, sva_fill(&q, self->buf, 4, SVA_PAGE));
	EXPECT_TRUE(sva_all(self->buf, 4, SVA_PAGE));
	sva_close(&q);
}

/* The owner of a queue cannot say whose memory it works on. */
TEST_F(sva_bind, pasid_is_not_yours)
{
	struct sva_queue q;
	uint64_t pasid;

	ASSERT_EQ(0, sva_open(&q, &self->s.dev[0]));
	pasid = sva_reg(&q, SVADEV_Q_PASID);
	sva_write(q.page, SVADEV_Q_PASID, SVADEV_PASID_NONE);
	EXPECT_EQ(pasid, sva_reg(&q, SVADEV_Q_PASID));
	EXPECT_TRUE(sva_sees(&q, self->buf, 1, SVA_PAGE));
	sva_close(&q);
}

/* Readable from the interrupt at the end of an operation to the next one */
TEST_F(sva_bind, poll)
{
	struct pollfd pfd = { .events = POLLIN };
	struct sva_queue q;

	ASSERT_EQ(0, sva_open(&q, &self->s.dev[0]));
	pfd.fd = q.fd;
	EXPECT_EQ(0, poll(&pfd, 1, 0));
	ASSERT_EQ(0, sva_hold(&q, SVADEV_OP_SUM, self->buf, NULL, SVA_PAGE, 0));
	EXPECT_EQ(0, poll(&pfd, 1, 0));
	sva_write(q.page, SVADEV_Q_ABORT, 1);
	EXPECT_EQ(SVADEV_ERR_ABORTED, sva_wait(&q));
	EXPECT_EQ(1, poll(&pfd, 1, 0));

	/* 20 ms for each 4 KiB: poll sleeps, and an interrupt wakes it */
	sva_write(q.dev->ctl, SVADEV_STEP, SVADEV_PAGE_SIZE / 4 | 5000000ULL << 32);
	sva_submit(&q, SVADEV_OP_FILL, SVADEV_FLAG_IRQ, NULL, self->buf,
		   SVA_PAGE, 6);
	EXPECT_EQ(1, poll(&pfd, 1, SVA_TIMEOUT_S * 1000));
	EXPECT_EQ(POLLIN, pfd.revents);
	EXPECT_EQ(SVADEV_STATE_DONE, sva_reg(&q, SVADEV_Q_STATE));
	EXPECT_TRUE(sva_all(self->buf, 6, SVA_PAGE));
	sva_close(&q);
}

/*
 * The driver goes, with a queue open and an operation in hand. The file stays
 * open, of no use to anybody, and the function works again for the next driver.
 */
TEST_F(sva_bind, driver_unbind)
{
	struct sva_dev *d = &self->s.dev[0];
	struct sva_queue q, rogue;
	uint64_t pasid;

	ASSERT_EQ(0, sva_open(&q, d));
	pasid = sva_reg(&q, SVADEV_Q_PASID);
	ASSERT_EQ(0, sva_hold(&q, SVADEV_OP_FILL, NULL, self->buf, SVA_PAGE, 2));
	ASSERT_TRUE(sva_driver_write(d, "unbind"));
	EXPECT_EQ(-1, ioctl(q.fd, UACCE_CMD_START_Q));
	EXPECT_EQ(ENXIO, errno);
	EXPECT_EQ(ENXIO, map_errno(q.fd, SVADEV_QPAGE_SIZE, MAP_SHARED, 0));
	ASSERT_TRUE(sva_driver_write(d, "bind"));
	/* The driver has reset the function. */
	sva_set_mode(&self->s, self->s.mode);

	ASSERT_TRUE(sva_take(&rogue, d, pasid));
	EXPECT_TRUE(SVA_IS_REFUSED(&self->s, &rogue, SVA_UNBOUND,
				   sva_fill(&rogue, self->buf, 3, SVA_PAGE)));
	sva_give_back(&rogue);
	EXPECT_TRUE(sva_all(self->buf, 1, SVA_PAGE));
	sva_close(&q);

	/* it has a new name */
	sva_teardown(&self->s);
	ASSERT_EQ(NULL, sva_setup(&self->s, variant->mode));
	ASSERT_EQ(0, sva_open(&q, &self->s.dev[0]));
	EXPECT_TRUE(sva_sees(&q, self->buf, 1, SVA_PAGE));
	sva_close(&q);
}

#define REQUESTERS	2
#define REQUESTED	16	/* pages, again and again */
#define REQUESTS	(REQUESTED * SVA_PAGE / SVADEV_PAGE_SIZE)
#define ROUNDS		20	/* in which others waited for answers */

/* Page requests for all of @p; or writes to all of it, which is not there */
static void ask_for(struct sva *s, struct sva_queue *q, char *p, size_t len)
{
	if (s->mode == SVA_PRI)
		sva_submit(q, SVADEV_OP_PAGE_REQ, SVADEV_FLAG_WRITE, p, NULL, len, 0);
	else
		sva_submit(q, SVADEV_OP_FILL, 0, NULL, p, len, 1);
}

static bool has_come(struct sva *s, struct sva_queue *q)
{
	return !sva_wait(q) && (s->mode == SVA_STALL ||
				sva_reg(q, SVADEV_Q_RESULT) == REQUESTS);
}

/* Keeps page requests of its own on the way at all functions until it is told. */
static void requester(struct sva *s, struct sva_child *c, const bool *stop)
{
	char *p = sva_pages(REQUESTED, 1);
	struct sva_queue *q;

	if (!p || !sva_open_all(s) || !sva_say(c->fd))
		_exit(1);
	while (!__atomic_load_n(stop, __ATOMIC_RELAXED)) {
		if (s->mode == SVA_STALL)
			madvise(p, REQUESTED * SVA_PAGE, MADV_DONTNEED);
		for (q = s->q; q < s->end; q++)
			ask_for(s, q, p, REQUESTED * SVA_PAGE);
		for (q = s->q; q < s->end; q++)
			if (!has_come(s, q))
				_exit(2);
	}
	sva_close_all(s);
	_exit(0);
}

/* Requests are counted on, and all of those were made that have been answered. */
static uint64_t unanswered(struct sva *s)
{
	uint64_t n = 0, answered;
	unsigned int i;

	for (i = 0; i < s->nr; i++) {
		answered = sva_answers(&s->dev[i]);
		n += sva_requests(&s->dev[i]) - answered;
	}
	return n;
}

/*
 * A queue is closed while its page request is on the way, and with it those of
 * others, in the same ring: each of them is answered once, and well.
 */
TEST_F_TIMEOUT(sva_bind, unbind_while_others_request, 100)
{
	double end = sva_now() + SVA_LOAD_S;
	struct sva_child c[REQUESTERS];
	unsigned int i, n, rounds = 0;
	struct sva_queue q;
	bool *stop;
	char *p;

	if (!sva_pages_come(&self->s))
		SKIP(return, "needs page requests");
	stop = mmap(NULL, SVA_PAGE, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, stop);
	for (i = 0; i < REQUESTERS; i++) {
		if (!sva_child_new(&c[i]))
			requester(&self->s, &c[i], stop);
		ASSERT_LT(0, c[i].pid);
		ASSERT_TRUE(sva_hear(c[i].fd));
	}
	for (n = 0; rounds < ROUNDS && sva_now() < end; n++) {
		p = mmap(NULL, SVA_PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		ASSERT_NE(MAP_FAILED, p);
		ASSERT_EQ(0, sva_open(&q, &self->s.dev[n % self->s.nr]));
		ask_for(&self->s, &q, p, SVA_PAGE);
		rounds += unanswered(&self->s) > 1;
		sva_close(&q);
		ASSERT_EQ(0, munmap(p, SVA_PAGE));
	}
	__atomic_store_n(stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < REQUESTERS; i++) {
		EXPECT_EQ(0, sva_exit_code(c[i].pid));
		close(c[i].fd);
	}
	EXPECT_EQ(ROUNDS, rounds);
	EXPECT_EQ(0, unanswered(&self->s));
}

/* UACCE_DEV_SVA, which user space cannot use: uacce.h says BIT(0) */
#define FLAG_SVA	0x1

static bool has_sva(struct sva_dev *d)
{
	unsigned int flags = 0;
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/class/uacce/%s/flags", d->name);
	f = fopen(path, "r");
	if (f && fscanf(f, "%u", &flags) != 1)
		flags = 0;
	if (f)
		fclose(f);
	return flags & FLAG_SVA;
}

/* What says that it has SVA can be bound. */
TEST(sva_is_sva)
{
	unsigned int i, with = 0;
	const char *why;
	struct sva s;

	why = sva_find(&s);
	if (why)
		SKIP(return, "%s", why);
	for (i = 0; i < s.nr; i++) {
		if (!has_sva(&s.dev[i]))
			continue;
		with++;
		ASSERT_EQ(0, sva_open(&s.q[i], &s.dev[i]));
		sva_close(&s.q[i]);
	}
	if (!with)
		SKIP(return, "no function has SVA");
}

/* uacce would open a queue that is bound to nothing. The driver must not. */
TEST(no_sva_no_open)
{
	unsigned int i, without = 0;
	const char *why;
	struct sva s;

	why = sva_find(&s);
	if (why)
		SKIP(return, "%s", why);
	for (i = 0; i < s.nr; i++) {
		if (has_sva(&s.dev[i]))
			continue;
		without++;
		EXPECT_EQ(-EOPNOTSUPP, sva_open(&s.q[i], &s.dev[i]));
	}
	if (!without)
		SKIP(return, "every function has SVA");
}

TEST_HARNESS_MAIN
