// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reset of a function (FLR) while processes are bound: what they see of it, and
 * that they can go on. The kernel waits 100 ms after an FLR, which is time enough
 * to do things in the middle.
 */
#include <poll.h>
#include <pthread.h>

#include "../kselftest_harness.h"
#include "sva_utils.h"

#define NR_PAGES	4

struct resetter {
	struct sva_dev *dev;
	struct sva_thread thread;
	bool ok;
	bool over;
};

FIXTURE(sva_reset)
{
	struct sva s;
	char *buf;
	struct resetter r;
};

FIXTURE_SETUP(sva_reset)
{
	/* What functions have is not what matters here. */
	const char *why = sva_setup(&self->s, SVA_UNTRANSLATED);

	if (why)
		SKIP(return, "%s", why);
	if (!sva_lacks(&self->s, SVA_PRI))
		sva_set_mode(&self->s, SVA_PRI);
	self->buf = sva_pages(NR_PAGES, 1);
	ASSERT_NE(NULL, self->buf);
	ASSERT_TRUE(sva_open_all(&self->s));
	ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 1, NR_PAGES * SVA_PAGE));
}

FIXTURE_TEARDOWN(sva_reset)
{
	sva_thread_end(&self->r.thread);
	sva_close_all(&self->s);
	EXPECT_CLEAN(&self->s);
	sva_teardown(&self->s);
}

static bool reset_function(struct sva_dev *d)
{
	return sva_pci_write(d, "reset", "1");
}

static void *reset_thread(void *arg)
{
	struct resetter *r = arg;

	r->ok = reset_function(r->dev);
	__atomic_store_n(&r->over, true, __ATOMIC_RELEASE);
	return NULL;
}

static bool reset_start(struct resetter *r, struct sva_dev *d)
{
	if (r->thread.runs)
		return false;
	*r = (struct resetter){ .dev = d };
	return sva_thread_start(&r->thread, SVA_ANY_CPU, reset_thread, r);
}

static bool reset_over(struct resetter *r)
{
	return __atomic_load_n(&r->over, __ATOMIC_ACQUIRE);
}

static bool reset_end(struct resetter *r)
{
	return sva_thread_end(&r->thread) && r->ok;
}

/* Another queue of the same process: 0, or a negative errno */
static int try_open(struct sva_dev *d)
{
	struct sva_queue q;
	int err = sva_open(&q, d);

	if (!err)
		sva_close(&q);
	return err;
}

static bool reset_has_begun(struct resetter *r)
{
	while (!reset_over(r))
		if (try_open(r->dev) == -EBUSY)
			return true;
	return false;
}

static int start(struct sva_queue *q)
{
	return ioctl(q->fd, UACCE_CMD_START_Q) ? -errno : 0;
}

static int start_again(struct sva *s, struct sva_queue *q)
{
	/* A reset turns on everything. */
	sva_set_mode(s, s->mode);
	if (ioctl(q->fd, UACCE_CMD_PUT_Q))
		return -errno;
	return start(q);
}

/* Waits at most so long for an event that poll() reports. */
static bool event(struct sva_queue *q, int ms)
{
	struct pollfd p = { .fd = q->fd, .events = POLLIN };

	return poll(&p, 1, ms) == 1 && p.revents & POLLIN;
}

/* The queue is dead, and its file is not. */
TEST_F(sva_reset, start_again)
{
	struct sva_queue *q;
	uint64_t pasid;
	char *fresh;

	for (q = self->s.q; q < self->s.end; q++) {
		pasid = sva_reg(q, SVADEV_Q_PASID);
		ASSERT_TRUE(reset_function(q->dev));
		EXPECT_EQ(SVADEV_STATE_DISABLED, sva_reg(q, SVADEV_Q_STATE));
		EXPECT_TRUE(event(q, 0));

		EXPECT_EQ(-EINVAL, start(q));
		ASSERT_EQ(0, start_again(&self->s, q));
		EXPECT_FALSE(event(q, 0));
		EXPECT_EQ(pasid, sva_reg(q, SVADEV_Q_PASID));
		EXPECT_EQ(SVADEV_ERR_NONE, sva_fill(q, self->buf, 2, SVA_PAGE));
		EXPECT_TRUE(sva_all(self->buf, 2, SVA_PAGE));
		memset(self->buf, 1, SVA_PAGE);
		if (!sva_pages_come(&self->s))
			continue;
		/* Page requests are let in again, too. */
		fresh = mmap(NULL, SVA_PAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		ASSERT_NE(MAP_FAILED, fresh);
		EXPECT_EQ(SVADEV_ERR_NONE, sva_fill(q, fresh, 3, SVA_PAGE));
		EXPECT_TRUE(sva_all(fresh, 3, SVA_PAGE));
	}
}

/* A process that waits for the end of an operation does not wait for ever. */
TEST_F(sva_reset, wakes_up)
{
	struct sva_queue *q = self->s.q;

	ASSERT_EQ(0, sva_hold(q, SVADEV_OP_FILL, NULL, self->buf,
			      SVA_PAGE, 2));
	EXPECT_FALSE(event(q, 0));
	ASSERT_TRUE(reset_start(&self->r, q->dev));
	EXPECT_TRUE(event(q, 1000 * SVA_TIMEOUT_S));
	EXPECT_TRUE(reset_end(&self->r));
	EXPECT_EQ(SVADEV_STATE_DISABLED, sva_reg(q, SVADEV_Q_STATE));
	EXPECT_TRUE(sva_all(self->buf, 1, SVA_PAGE));
}

/* Nothing is opened or started in a reset, other functions do not care. */
TEST_F(sva_reset, busy)
{
	unsigned int opens = 0, starts = 0;
	struct sva_queue *q = self->s.q;
	struct sva_queue *other = self->s.end - 1;
	int err;

	ASSERT_TRUE(reset_start(&self->r, q->dev));
	while (!reset_over(&self->r)) {
		err = try_open(q->dev);
		EXPECT_TRUE(!err || err == -EBUSY)
			TH_LOG("open: %s", strerror(-err));
		opens += err == -EBUSY;

		ASSERT_EQ(0, ioctl(q->fd, UACCE_CMD_PUT_Q));
		err = start(q);
		EXPECT_TRUE(!err || err == -EBUSY)
			TH_LOG("start: %s", strerror(-err));
		starts += err == -EBUSY;

		if (other != q)
			EXPECT_EQ(0, try_open(other->dev));
	}
	EXPECT_TRUE(reset_end(&self->r));
	EXPECT_NE(0, opens);
	EXPECT_NE(0, starts);
	EXPECT_EQ(0, try_open(q->dev));
}

TEST_F(sva_reset, close_meanwhile)
{
	struct sva_dev *d = self->s.q->dev;
	bool meanwhile = false;
	int n;

	for (n = 0; n < 10 && !meanwhile; n++) {
		ASSERT_TRUE(reset_start(&self->r, d));
		EXPECT_TRUE(reset_has_begun(&self->r));
		sva_close_all(&self->s);
		meanwhile = !reset_over(&self->r);
		EXPECT_TRUE(reset_end(&self->r));
		ASSERT_TRUE(sva_open_all(&self->s));
	}
	EXPECT_TRUE(meanwhile);
	sva_set_mode(&self->s, self->s.mode);
	EXPECT_TRUE(sva_sees(self->s.q, self->buf, 1, SVA_PAGE));
}

TEST_F(sva_reset, unmap_meanwhile)
{
	struct sva_queue *q = self->s.q;

	ASSERT_TRUE(reset_start(&self->r, q->dev));
	EXPECT_TRUE(reset_has_begun(&self->r));
	EXPECT_EQ(0, munmap(self->buf, SVA_PAGE));
	EXPECT_TRUE(reset_end(&self->r));

	ASSERT_EQ(0, start_again(&self->s, q));
	EXPECT_TRUE(sva_sees(q, self->buf + SVA_PAGE, 1, SVA_PAGE));
	EXPECT_TRUE(sva_is_fault(&self->s, sva_fill(q, self->buf, 2, 8)));
	EXPECT_CLEAN(&self->s);
}

/* By a process that is not bound yet: 0, or an errno */
static int bind_of_another(struct sva_dev *d)
{
	pid_t pid = sva_fork();

	if (!pid)
		_exit(-try_open(d));
	return sva_exit_code(pid);
}

/* One that did not answer, and was fenced, works again with all that was bound. */
TEST_F(sva_reset, after_fence)
{
	struct sva_queue *q = self->s.q;
	struct sva_counts c;

	if (sva_lacks(&self->s, SVA_ATS))
		SKIP(return, "%s", sva_lacks(&self->s, SVA_ATS));
	if (sva_lacks(&self->s, SVA_PRI))
		sva_set_mode(&self->s, SVA_ATS);
	/*
	 * SMMUv3's driver goes on after an interrupt, which is CPU 0's, and waits with
	 * interrupts off.
	 */
	if (SVA_SMMU)
		sva_stay_on(1);
	ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 1, NR_PAGES * SVA_PAGE));
	sva_mute(q->dev, SVADEV_MUTE_ALL);
	ASSERT_EQ(0, munmap(self->buf, SVA_PAGE));
	EXPECT_EQ(SVADEV_ERR_REFUSED, sva_fill(q, self->buf + SVA_PAGE, 2, SVA_PAGE));
	EXPECT_EQ(EIO, bind_of_another(q->dev));

	ASSERT_TRUE(reset_function(q->dev));
	sva_mute(q->dev, 0);
	ASSERT_EQ(0, start_again(&self->s, q));
	EXPECT_EQ(0, bind_of_another(q->dev));
	EXPECT_TRUE(sva_sees(q, self->buf + SVA_PAGE, 1, SVA_PAGE));
	EXPECT_TRUE(sva_is_fault(&self->s, sva_fill(q, self->buf, 2, 8)));
	sva_count(&self->s, &c);
	ASSERT_EQ(0, munmap(self->buf + SVA_PAGE, SVA_PAGE));
	sva_count_since(&self->s, &c);
	EXPECT_EQ(0, c.all.timeouts);
	EXPECT_TRUE(sva_is_fault(&self->s, sva_fill(q, self->buf + SVA_PAGE, 2, 8)));
	EXPECT_CLEAN(&self->s);
}

/* Binds and unbinds all the time */
static pid_t binding_child(struct sva_dev *d, const bool *stop)
{
	unsigned int binds = 0;
	pid_t pid = sva_fork();
	int err = 0;

	if (pid)
		return pid;
	while (!__atomic_load_n(stop, __ATOMIC_RELAXED) && (!err || err == -EBUSY)) {
		err = try_open(d);
		binds += !err;
	}
	fprintf(stderr, "# %u binds\n", binds);
	_exit(!binds || (err && err != -EBUSY));
}

/* SVA_RESETS in the environment: how many */
static unsigned int nr_resets(void)
{
	const char *nr = getenv("SVA_RESETS");

	return nr ? atoi(nr) : 20;
}

TEST_F_TIMEOUT(sva_reset, beside_munmap_and_bind, 300)
{
	struct sva_queue *q = self->s.q;
	unsigned int n, nr = nr_resets();
	double start = sva_now();
	struct sva_counts c;
	bool *stop;
	pid_t pid;
	char *p;

	stop = mmap(NULL, SVA_PAGE, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, stop);
	pid = binding_child(q->dev, stop);
	ASSERT_LT(0, pid);
	sva_count(&self->s, &c);
	for (n = 0; n < nr; n++) {
		p = sva_pages(1, 1);
		ASSERT_NE(NULL, p);
		ASSERT_TRUE(sva_sees(q, p, 1, SVA_PAGE));
		ASSERT_TRUE(reset_start(&self->r, q->dev));
		usleep(n * 7919 % 150000);
		EXPECT_EQ(0, munmap(p, SVA_PAGE));
		ASSERT_TRUE(reset_end(&self->r));
		ASSERT_EQ(0, start_again(&self->s, q));
		EXPECT_TRUE(sva_is_fault(&self->s, sva_fill(q, p, 2, 8)));
	}
	__atomic_store_n(stop, true, __ATOMIC_RELAXED);
	EXPECT_EQ(0, sva_exit_code(pid));
	sva_count_since(&self->s, &c);
	EXPECT_EQ(0, c.all.timeouts);
	EXPECT_CLEAN(&self->s);
	fprintf(stderr, "# %u resets in %.1f s\n", nr, sva_now() - start);
}

TEST_HARNESS_MAIN
