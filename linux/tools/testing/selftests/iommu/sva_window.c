// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Attach and detach of one function while others unmap, with an IOMMU that is
 * late. What is a few microseconds between two of its commands becomes a window
 * in which there is time to look: the PASID table entry is clear and still
 * cached, the IOTLB is clean and the ATC is not, and so on. Who unmaps in a
 * window must wait for as long as anything can still be reached.
 *
 * A queue that root has taken works on in all windows, as a function would that
 * does not know that it is about to lose its PASID.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "../kselftest_harness.h"
#include "sva_utils.h"

#define WINDOW_NS	(60 * SVA_MS)
#define NR_PAGES	4

FIXTURE(sva_window)
{
	struct sva s;
	char *buf;
	int sync[2];
};

FIXTURE_VARIANT(sva_window)
{
	uint64_t kind;
};

FIXTURE_VARIANT_ADD(sva_window, config)
{
	.kind = SVADEV_INJECT_CONFIG,
};

FIXTURE_VARIANT_ADD(sva_window, iotlb)
{
	.kind = SVADEV_INJECT_IOTLB,
};

FIXTURE_VARIANT_ADD(sva_window, atc)
{
	.kind = SVADEV_INJECT_ATC,
};

FIXTURE_VARIANT_ADD(sva_window, sync)
{
	.kind = SVADEV_LATE_SYNC,
};

FIXTURE_SETUP(sva_window)
{
	const char *why = sva_setup(&self->s, SVA_ATS);

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, self->sync));
	self->buf = sva_pages(NR_PAGES, 1);
	ASSERT_NE(NULL, self->buf);
	ASSERT_TRUE(sva_open_all(&self->s));
}

FIXTURE_TEARDOWN(sva_window)
{
	sva_on_time(&self->s);
	sva_close_all(&self->s);
	EXPECT_CLEAN(&self->s);
	sva_teardown(&self->s);
}

/* --- nobody but us --- */

/* Late is not never: the system call returns when all is over. */
TEST_F(sva_window, unmap)
{
	struct sva_queue *q;
	double start;

	ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 1, SVA_PAGE));
	sva_late(&self->s, variant->kind, WINDOW_NS);
	start = sva_now();
	ASSERT_EQ(0, SVA_CHANGE(&self->s, munmap(self->buf, SVA_PAGE)));
	EXPECT_TRUE(variant->kind == SVADEV_INJECT_CONFIG ||
		    sva_now() - start >= WINDOW_NS / 1e9);
	EXPECT_CLEAN(&self->s);
	for (q = self->s.q; q < self->s.end; q++)
		EXPECT_TRUE(sva_is_fault(&self->s, sva_fill(q, self->buf, 2, 8)));
}

/* --- detach --- */

/*
 * The last file of the function is closed by a child: its CPU has another mm,
 * so that nobody who unmaps needs it, though its interrupts are off.
 */
static pid_t child_closes(struct sva_queue *q, int sync[2])
{
	pid_t pid = fork();
	char c;

	if (!pid) {
		close(sync[0]);
		if (read(sync[1], &c, 1) != 1)
			_exit(1);
		_exit(close(q->fd) != 0);
	}
	munmap(q->page, SVADEV_QPAGE_SIZE);
	close(q->fd);
	return pid;
}

/*
 * In the window. What can still be cached may be so once more; and what has
 * been unmapped must be out of reach at once.
 */
static bool unmap_is_seen(struct sva *s, struct sva_queue *rogue, char *p)
{
	int err;

	sva_do(rogue, SVADEV_OP_TOUCH, SVADEV_FLAG_WRITE, p, NULL, SVA_PAGE, 0);
	if (SVA_CHANGE(s, madvise(p, SVA_PAGE, MADV_DONTNEED)))
		return false;
	err = sva_fill(rogue, p, 2, SVA_PAGE);
	if (!err)
		fprintf(stderr, "# %s: writes to what is unmapped\n",
			rogue->dev->name);
	return err && sva_all(p, 0, SVA_PAGE);
}

static bool is_gone(struct sva_queue *rogue, char *p)
{
	return sva_is_refused(sva_fill(rogue, p, 2, SVA_PAGE)) &&
	       sva_all(p, 1, SVA_PAGE);
}

static int exit_code(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

TEST_F(sva_window, unmap_while_detached)
{
	struct sva_queue rogue;
	struct sva_queue *q;
	uint64_t late;
	pid_t pid;

	for (q = self->s.q; q < self->s.end; q++) {
		sva_take(&rogue, q->dev, sva_reg(q, SVADEV_Q_PASID));
		pid = child_closes(q, self->sync);
		ASSERT_LT(0, pid);
		memset(self->buf, 1, NR_PAGES * SVA_PAGE);
		ASSERT_EQ(0, sva_fill(&rogue, self->buf, 1, NR_PAGES * SVA_PAGE));

		sva_late_at(q->dev, variant->kind, WINDOW_NS);
		late = sva_counter(q->dev, SVADEV_U_LATE);
		ASSERT_EQ(1, write(self->sync[0], "x", 1));
		ASSERT_TRUE(sva_wait_late(q->dev, late));
		EXPECT_TRUE(unmap_is_seen(&self->s, &rogue, self->buf));
		EXPECT_EQ(0, exit_code(pid));
		sva_on_time(&self->s);

		EXPECT_CLEAN(&self->s);
		EXPECT_TRUE(is_gone(&rogue, self->buf + SVA_PAGE));
		sva_give_back(&rogue);
		ASSERT_EQ(0, sva_open(q, q->dev));
	}
}

/* --- attach --- */

struct unmapper {
	struct sva *s;
	char *p;
	int ret;
};

static void *unmapper(void *arg)
{
	struct unmapper *u = arg;

	u->ret = SVA_CHANGE(u->s, madvise(u->p, SVA_PAGE, MADV_DONTNEED));
	return NULL;
}

/* Only the file: mapping its page would wait for who unmaps. */
static int bind_only(struct sva_dev *d)
{
	char path[64];

	snprintf(path, sizeof(path), "/dev/%s", d->name);
	return open(path, O_RDWR | O_CLOEXEC);
}

/*
 * A function joins others behind the same IOMMU while one who unmaps waits for
 * that IOMMU. Who is waiting has not heard of the new one, and nobody tells its
 * ATC anything; so it must not find in the IOTLB what is about to go.
 */
TEST_F(sva_window, attach_while_unmapped)
{
	struct sva_queue *first, *joins;
	struct unmapper u = { .s = &self->s, .p = self->buf };
	struct sva_queue rogue;
	bool found = false;
	pthread_t thread;
	uint64_t late;
	int fd;

	if (variant->kind == SVADEV_INJECT_CONFIG)
		SKIP(return, "who unmaps changes no configuration");
	for (joins = self->s.q + 1; joins < self->s.end; joins++) {
		first = joins - 1;
		if (first->dev->unit != joins->dev->unit)
			continue;
		found = true;
		sva_take(&rogue, joins->dev, sva_reg(joins, SVADEV_Q_PASID));
		sva_close(joins);
		memset(self->buf, 1, SVA_PAGE);
		ASSERT_EQ(0, sva_fill(first, self->buf, 1, SVA_PAGE));

		sva_late_at(first->dev, variant->kind, WINDOW_NS);
		late = sva_counter(first->dev, SVADEV_U_LATE);
		ASSERT_EQ(0, pthread_create(&thread, NULL, unmapper, &u));
		ASSERT_TRUE(sva_wait_late(first->dev, late));
		fd = bind_only(joins->dev);
		EXPECT_LE(0, fd);
		sva_do(&rogue, SVADEV_OP_TOUCH, 0, self->buf, NULL, SVA_PAGE, 0);
		EXPECT_EQ(0, pthread_join(thread, NULL));
		sva_on_time(&self->s);

		EXPECT_EQ(0, u.ret);
		EXPECT_CLEAN(&self->s);
		EXPECT_TRUE(sva_is_fault(&self->s, sva_fill(&rogue, self->buf,
							    2, SVA_PAGE)));
		sva_give_back(&rogue);
		close(fd);
		ASSERT_EQ(0, sva_open(joins, joins->dev));
	}
	if (!found)
		SKIP(return, "needs two functions behind one IOMMU");
}

/* --- all at the same time --- */

#define NR_WORKERS	2
#define CHURN_NS	(SVA_MS / 4)
#define CHURN_S		2
#define ENOUGH		3	/* rounds, of each */
#define REMOVALS	3

/* Shared by all processes */
struct churn {
	bool stop;
	bool failed;
	unsigned int rounds[NR_WORKERS + 1];
};

static struct churn *churn_new(void)
{
	void *p = mmap(NULL, SVA_PAGE, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* New pages are written to, and what is unmapped is not, by any function. */
static bool churn_round(struct sva *s, char *p)
{
	struct sva_queue *q;

	for (q = s->q; q < s->end; q++) {
		memset(p, 3, SVA_PAGE);
		if (sva_fill(q, p, 4, SVA_PAGE) || !sva_all(p, 4, SVA_PAGE))
			return false;
	}
	if (madvise(p, SVA_PAGE, MADV_DONTNEED))
		return false;
	for (q = s->q; q < s->end; q++)
		if (!sva_is_fault(s, sva_fill(q, p, 5, 8)))
			return false;
	return true;
}

static void churn_pages(struct churn *ch, unsigned int id, struct sva *s, char *p)
{
	while (!__atomic_load_n(&ch->stop, __ATOMIC_RELAXED)) {
		if (!churn_round(s, p)) {
			__atomic_store_n(&ch->failed, true, __ATOMIC_RELAXED);
			break;
		}
		ch->rounds[id]++;
	}
}

/* Another mm, at the same functions */
static pid_t churn_worker(struct churn *ch, unsigned int id, struct sva *s)
{
	pid_t pid = fork();
	char *p;

	if (pid)
		return pid;
	p = sva_pages(1, 1);
	if (!p || !sva_open_all(s))
		_exit(1);
	churn_pages(ch, id, s, p);
	sva_close_all(s);
	_exit(0);
}

struct own {
	struct churn *ch;
	struct sva *s;
	char *p;
};

static void *own_pages(void *arg)
{
	struct own *own = arg;

	churn_pages(own->ch, NR_WORKERS, own->s, own->p);
	return NULL;
}

/* Bind and unbind one function of the thread's mm. Returns how often, or -1. */
static int come_and_go(struct churn *ch, struct sva_dev *d)
{
	double end = sva_now() + CHURN_S;
	struct sva_queue q;
	int n = 0;

	while (sva_now() < end && !__atomic_load_n(&ch->failed, __ATOMIC_RELAXED)) {
		if (sva_open(&q, d))
			return -1;
		sva_close(&q);
		n++;
	}
	return n;
}

/*
 * Two processes unmap, and so does a thread of ours, while the last function
 * comes and goes. Nobody waits for anybody, so that windows are where they are.
 */
TEST_F(sva_window, everybody)
{
	struct own own = { .s = &self->s, .p = self->buf };
	pid_t pid[NR_WORKERS];
	pthread_t thread;
	struct sva_dev *d;
	unsigned int i;
	int n;

	if (self->s.nr < 2)
		SKIP(return, "needs two functions");
	own.ch = churn_new();
	ASSERT_NE(NULL, own.ch);
	for (i = 0; i < NR_WORKERS; i++)
		pid[i] = churn_worker(own.ch, i, &self->s);
	sva_close(--self->s.end);
	d = self->s.end->dev;
	sva_late(&self->s, variant->kind, CHURN_NS);
	ASSERT_EQ(0, pthread_create(&thread, NULL, own_pages, &own));
	n = come_and_go(own.ch, d);
	__atomic_store_n(&own.ch->stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	for (i = 0; i < NR_WORKERS; i++)
		EXPECT_EQ(0, exit_code(pid[i]));
	sva_on_time(&self->s);

	EXPECT_CLEAN(&self->s);
	fprintf(stderr, "# bound %d times; rounds %u %u %u\n", n,
		own.ch->rounds[0], own.ch->rounds[1], own.ch->rounds[2]);
	EXPECT_FALSE(own.ch->failed);
	EXPECT_LE(ENOUGH, n);
	for (i = 0; i <= NR_WORKERS; i++)
		EXPECT_LE(ENOUGH, own.ch->rounds[i]);
	ASSERT_EQ(0, sva_open(self->s.end, d));
	self->s.end++;
}

/* --- a function that goes for good --- */

/* Back again as it was at boot, but for the choice of the test */
static bool remove_and_rescan(struct sva_dev *d)
{
	if (!sva_remove_and_rescan(d))
		return false;
	sva_write(d->ctl, SVADEV_CTRL, SVADEV_CTRL_NO_PRI);
	return true;
}

/* Bound, and with a translation in its ATC, when it goes */
static bool goes_and_comes(struct sva_dev *d, char *p)
{
	struct sva_queue q;
	bool ok;

	memset(p, 1, SVA_PAGE);
	if (sva_open(&q, d))
		return false;
	ok = !sva_fill(&q, p, 2, SVA_PAGE) && remove_and_rescan(d);
	sva_close(&q);
	return ok;
}

/*
 * A function is removed, and found again, while a thread of ours and another
 * process unmap. No invalidation may be under way to it when its ATS goes off:
 * it would not be answered.
 */
TEST_F(sva_window, removed)
{
	struct own own = { .s = &self->s, .p = self->buf + SVA_PAGE };
	struct sva_counts c;
	pthread_t thread;
	struct sva_dev *d;
	unsigned int n;
	pid_t pid;

	if (self->s.nr < 2)
		SKIP(return, "needs two functions");
	/* iotlb_to_section() of QEMU 10.0 looks up an old index in the new map. */
	if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
		SKIP(return, "QEMU can take no BAR away while another CPU uses one");
	own.ch = churn_new();
	ASSERT_NE(NULL, own.ch);
	sva_close(--self->s.end);
	d = self->s.end->dev;
	self->s.nr--;
	pid = churn_worker(own.ch, 0, &self->s);
	self->s.nr++;
	sva_count(&self->s, &c);
	sva_late(&self->s, variant->kind, CHURN_NS);
	ASSERT_EQ(0, pthread_create(&thread, NULL, own_pages, &own));
	for (n = 0; n < REMOVALS && !own.ch->failed; n++)
		EXPECT_TRUE(goes_and_comes(d, self->buf));
	__atomic_store_n(&own.ch->stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	EXPECT_EQ(0, exit_code(pid));
	sva_on_time(&self->s);

	EXPECT_CLEAN(&self->s);
	EXPECT_FALSE(own.ch->failed);
	EXPECT_LE(ENOUGH, own.ch->rounds[0]);
	EXPECT_LE(ENOUGH, own.ch->rounds[NR_WORKERS]);
	sva_count_since(&self->s, &c);
	EXPECT_EQ(0, c.timeouts);
	ASSERT_EQ(0, sva_open(self->s.end, d));
	self->s.end++;
}

TEST_HARNESS_MAIN
