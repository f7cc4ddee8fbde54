// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Functions that do not answer invalidations. Their IOMMU reports a time-out and
 * drops the waits of everybody in its queue, so that all have to repeat what they
 * asked for. A function that is named twice is fenced: the IOMMU blocks its
 * translated requests, nobody asks it any more, and it cannot be bound until it
 * is reset. Others must not notice more than the time.
 *
 * A fenced function that is mute keeps what it has cached. VERIFY calls that
 * stale, though the function gets nowhere with it: here it counts that accesses
 * are refused.
 */
#include <signal.h>

#include "../kselftest_harness.h"
#include "sva_utils.h"

#define PROMPT_S	20	/* nobody waits for anything, but emulation is slow */

FIXTURE(sva_timeout)
{
	struct sva s;
	char *buf;
	int log;
	struct sva_unmapper u[2];
};

FIXTURE_SETUP(sva_timeout)
{
	const char *why = sva_setup(&self->s, SVA_ATS);

	if (why)
		SKIP(return, "%s", why);
	self->log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ASSERT_LE(0, self->log);
	lseek(self->log, 0, SEEK_END);
	self->buf = sva_pages(1, 1);
	ASSERT_NE(NULL, self->buf);
	ASSERT_TRUE(sva_open_all(&self->s));
	ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 1, SVA_PAGE));
}

/* --- who can be bound --- */

/* What open() says to a process that is new to the function: 0 or an errno */
static int new_bind(struct sva_dev *d)
{
	struct sva_queue q;
	pid_t pid = sva_fork();

	if (!pid)
		_exit(-sva_open(&q, d));
	return sva_exit_code(pid);
}

/* All CPUs but the first: see sva_window.c for why functions are removed by one. */
static void other_cpus(const char *online)
{
	long n, nr = sysconf(_SC_NPROCESSORS_CONF);
	char path[64];

	for (n = 1; n < nr; n++) {
		snprintf(path, sizeof(path),
			 "/sys/devices/system/cpu/cpu%ld/online", n);
		sva_write_file(path, online);
	}
}

/* Nothing is left of a fence once the function has been removed. */
static bool bring_back(struct sva *s, struct sva_dev *d, char *p)
{
	struct sva_queue q;
	bool ok;

	other_cpus("0");
	ok = sva_remove_and_rescan(d);
	other_cpus("1");
	sva_set_mode(s, s->mode);
	if (!ok || sva_open(&q, d))
		return false;
	ok = sva_dontneed_is_seen(s, &q, p);
	sva_close(&q);
	return ok;
}

FIXTURE_TEARDOWN(sva_timeout)
{
	struct sva_dev *d;

	sva_on_time(&self->s);
	sva_unmap_end(&self->u[0]);
	sva_unmap_end(&self->u[1]);
	sva_close_all(&self->s);
	for (d = self->s.dev; d < self->s.dev + self->s.nr; d++) {
		sva_mute(d, 0);
		if (new_bind(d) == EIO)
			EXPECT_TRUE(bring_back(&self->s, d, self->buf));
	}
	EXPECT_CLEAN(&self->s);
	sva_teardown(&self->s);
	close(self->log);
}

/* --- the kernel's log --- */

static unsigned int requester(const struct sva_dev *d)
{
	unsigned int bus, slot, fn;

	if (sscanf(d->pci, "%*x:%x:%x.%x", &bus, &slot, &fn) != 3)
		return ~0u;
	return bus << 8 | slot << 3 | fn;
}

#define FENCED \
	"requester %#06x does not answer invalidations: its translated requests are blocked until it is reset"

/*
 * Since it was last asked, does the log say once what has happened to @dead and
 * what can be done, and that of no other function? NULL: of none at all.
 */
static bool log_says_fenced(int log, const struct sva *s,
			    const struct sva_dev *dead)
{
	unsigned int wanted = 0, other = 0;
	char line[2048], name[128] = "-";
	ssize_t len;

	if (dead)
		snprintf(name, sizeof(name), FENCED, requester(dead));
	while ((len = read(log, line, sizeof(line) - 1)) > 0 || errno == EPIPE) {
		if (len <= 0)
			continue;
		line[len] = 0;
		if (dead && strstr(line, name))
			wanted++;
		else if (strstr(line, "does not answer") ||
			 strstr(line, "invalidation of "))
			other++;
		else
			continue;
		if (wanted > !!dead || other)
			fprintf(stderr, "# log: %s", line);
	}
	return wanted == !!dead && !other;
}

/* --- what it costs --- */

struct cost {
	struct sva_counts c;
	double start;
};

static void cost_begin(struct sva *s, struct cost *cost)
{
	sva_count(s, &cost->c);
	cost->start = sva_now();
}

/* No time-out, and nothing that takes as long as many */
static bool cost_nothing(struct sva *s, struct cost *cost)
{
	double took = sva_now() - cost->start;

	sva_count_since(s, &cost->c);
	if (!cost->c.all.timeouts && took < PROMPT_S)
		return true;
	fprintf(stderr, "# %llu time-outs, %.1f s\n",
		(unsigned long long)cost->c.all.timeouts, took);
	return false;
}

/*
 * It takes two for each of @askers, that ask it at the same time, unless they share
 * them: one asker has to see two that are its own.
 *
 * A unit that does not say which function it was says as much as one that does, if
 * it has no other. If it has, it takes up to three.
 *
 * Units that it is not behind have none.
 */
static bool fenced_by_now(struct sva *s, struct sva_dev *d, struct cost *cost,
			  unsigned int askers)
{
	const struct sva_commands *c = &cost->c.unit[sva_unit_of(s, d)];
	unsigned long long n, most = 2 * askers;

	sva_count_since(s, &cost->c);
	n = c->timeouts;
	if (n != c->named && sva_functions_of(s, sva_unit_of(s, d)) > 1)
		most = 3 * askers;
	fprintf(stderr, "# fenced after %llu time-outs, %llu of them named\n", n,
		(unsigned long long)c->named);
	return n >= 2 && n <= most && n == cost->c.all.timeouts &&
	       (c->named == n || !c->named);
}

/* Does not answer from now on, and somebody has asked it for the first time */
static bool fence(struct sva *s, struct sva_queue *q, char *p)
{
	struct cost cost;
	int err;

	memset(p, 1, SVA_PAGE);
	if (sva_fill(q, p, 1, SVA_PAGE))
		return false;
	sva_mute(q->dev, SVADEV_MUTE_ALL);
	cost_begin(s, &cost);
	if (madvise(p, SVA_PAGE, MADV_DONTNEED) ||
	    !fenced_by_now(s, q->dev, &cost, 1))
		return false;
	err = sva_fill(q, p, 2, SVA_PAGE);
	if (err != SVADEV_ERR_REFUSED)
		fprintf(stderr, "# access of a fenced function: %s\n",
			sva_error_string(err));
	return err == SVADEV_ERR_REFUSED;
}

/* --- functions that answer, after all --- */

#define NR_LATE		4

/* Each time one answer is missing, but never two. */
TEST_F(sva_timeout, one_answer)
{
	struct sva_counts c;
	struct sva_queue *q;
	unsigned int n;

	for (q = self->s.q; q < self->s.end; q++) {
		for (n = 0; n < NR_LATE; n++) {
			memset(self->buf, 1, SVA_PAGE);
			ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 1, SVA_PAGE));
			sva_mute(q->dev, 1);
			ASSERT_EQ(0, SVA_COUNTED(&self->s, &c,
						 madvise(self->buf, SVA_PAGE,
							 MADV_DONTNEED)));
			EXPECT_EQ(0, sva_read(q->dev->ctl, SVADEV_MUTE));
			EXPECT_EQ(1, c.all.timeouts);
			EXPECT_CLEAN(&self->s);
			EXPECT_TRUE(sva_is_fault(&self->s, sva_fill(q, self->buf,
								    2, 8)));
		}
		/* Nor is the last close too much for it. */
		sva_mute(q->dev, 1);
		sva_count(&self->s, &c);
		sva_close(q);
		sva_count_since(&self->s, &c);
		EXPECT_EQ(1, c.all.timeouts);
		ASSERT_EQ(0, sva_open(q, q->dev));
		EXPECT_EQ(0, new_bind(q->dev));
	}
	EXPECT_TRUE(log_says_fenced(self->log, &self->s, NULL));
}

/* The function hears of it late, and then answers in time. */
TEST_F(sva_timeout, late)
{
	struct sva_counts c;
	struct sva_queue *q;

	for (q = self->s.q; q < self->s.end; q++) {
		memset(self->buf, 1, SVA_PAGE);
		ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 1, SVA_PAGE));
		sva_late_at(q->dev, SVADEV_INJECT_ATC, 60 * SVA_MS);
		ASSERT_EQ(0, SVA_COUNTED(&self->s, &c, madvise(self->buf, SVA_PAGE,
							       MADV_DONTNEED)));
		EXPECT_LE(1, c.all.late);
		EXPECT_EQ(0, c.all.timeouts);
		EXPECT_CLEAN(&self->s);
		EXPECT_TRUE(sva_is_fault(&self->s, sva_fill(q, self->buf, 2, 8)));
		sva_on_time(&self->s);
		EXPECT_EQ(0, new_bind(q->dev));
	}
	EXPECT_TRUE(log_says_fenced(self->log, &self->s, NULL));
}

/* --- no memory is given away that the function can still write to --- */

#define ALONE		SVA_TABLE

/* Room that shares no page table with others, so that nobody waits for its lock */
static char *alone(void)
{
	char *p = mmap(NULL, 2 * ALONE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	return (char *)(((uintptr_t)p + ALONE - 1) & -ALONE);
}

/* One page of memory, which is there for as long as it has one of two addresses */
static bool page_twice(char **p, char **other)
{
	int fd = memfd_create("sva_timeout", MFD_CLOEXEC);
	int prot = PROT_READ | PROT_WRITE;

	*p = alone();
	if (fd < 0 || !*p || ftruncate(fd, SVA_PAGE))
		return false;
	*p = mmap(*p, SVA_PAGE, prot, MAP_SHARED | MAP_FIXED, fd, 0);
	*other = mmap(NULL, SVA_PAGE, prot, MAP_SHARED, fd, 0);
	close(fd);
	return *p != MAP_FAILED && *other != MAP_FAILED;
}

/*
 * The function has translated what it is going to write to, and does not answer.
 * Two threads unmap, the second of them what is being written to; the IOMMU does
 * not come to block the function for as long as we want. Neither may return before
 * it is blocked.
 */
static void held_write(struct __test_metadata *_metadata,
		       struct sva *s, struct sva_unmapper *u, char *buf, int log,
		       bool together)
{
	struct sva_queue *q = s->end - 1;
	uint64_t late, refused;
	char *other, *p;
	struct cost cost;

	/* The test, and two that wait */
	if (sva_too_few_cpus(3))
		SKIP(return, "needs 3 CPUs");
	ASSERT_TRUE(page_twice(&p, &other));
	memset(p, 1, SVA_PAGE);
	ASSERT_EQ(0, sva_fill(q, buf, 1, SVA_PAGE));
	ASSERT_EQ(0, sva_hold(q, SVADEV_OP_FILL, NULL, p, SVA_PAGE, 2));
	refused = sva_counter(q->dev, SVADEV_U_REFUSED_ACCESS);
	late = sva_counter(q->dev, SVADEV_U_LATE);
	ASSERT_TRUE(sva_unmap_prepare(&u[0], s, buf, 1));
	ASSERT_TRUE(sva_unmap_prepare(&u[1], s, p, 2));
	if (together) {
		u[0].with = &u[1];
		u[1].with = &u[0];
	}
	sva_settle();
	cost_begin(s, &cost);

	sva_late_at(q->dev, SVADEV_INJECT_CONFIG, SVA_HELD);
	sva_mute(q->dev, SVADEV_MUTE_ALL);
	sva_unmap_go(&u[0]);
	if (!together)
		ASSERT_TRUE(sva_wait_late(q->dev, late));
	sva_unmap_go(&u[1]);
	ASSERT_TRUE(sva_wait_late(q->dev, late));
	EXPECT_TRUE(sva_unmap_waits(&u[0]));
	EXPECT_TRUE(sva_unmap_waits(&u[1]));
	/* One that did not wait has given the page away. */
	if (!sva_unmap_over(&u[1]))
		sva_on_time(s);
	while (!sva_unmap_over(&u[0]) && !sva_unmap_over(&u[1]))
		usleep(50);
	EXPECT_EQ(SVADEV_ERR_REFUSED, sva_release(q));
	EXPECT_TRUE(sva_all(other, 1, SVA_PAGE));
	EXPECT_EQ(refused + 1, sva_counter(q->dev, SVADEV_U_REFUSED_ACCESS));
	sva_on_time(s);
	EXPECT_TRUE(sva_unmap_end(&u[0]));
	EXPECT_TRUE(sva_unmap_end(&u[1]));

	EXPECT_TRUE(fenced_by_now(s, q->dev, &cost, 2));
	EXPECT_TRUE(log_says_fenced(log, s, q->dev));

	/* It is no more than ATS that it has lost. Where there are no page requests, it needs the page. */
	sva_write(q->dev->ctl, SVADEV_CTRL, SVADEV_CTRL_NO_ATS);
	memset(other, 1, SVA_PAGE);
	EXPECT_EQ(SVADEV_ERR_NONE, sva_fill(q, other, 3, SVA_PAGE));
	EXPECT_TRUE(sva_all(other, 3, SVA_PAGE));
}

TEST_F(sva_timeout, held_write_both_unmap)
{
	held_write(_metadata, &self->s, self->u, self->buf, self->log, true);
}

/* The second comes while the first waits for the IOMMU to block the function. */
TEST_F(sva_timeout, held_write_other_fences)
{
	held_write(_metadata, &self->s, self->u, self->buf, self->log, false);
}

/* --- 1,000 unmaps --- */

#define NR_UNMAPS	500		/* by each of two */
#define NR_PAGES_LOST	300		/* too many to be an accident */

/* With each of them goes a page table, too. */
static bool unmap(char *at, unsigned int n)
{
	while (n--) {
		if (mmap(at, SVA_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			 MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
			return false;
		*at = 1;
		if (munmap(at, SVA_PAGE))
			return false;
	}
	return true;
}

static char *unmap_begin(void)
{
	char *at = alone();

	/* At first there are surprises: memory that is shared after a fork. */
	if (!at || munmap(at, ALONE) || !unmap(at, 8))
		return NULL;
	return at;
}

static void unmapping_child(struct sva *s, struct sva_child *c)
{
	char *at;

	if (sva_child_new(c))
		return;
	at = unmap_begin();
	if (!at || !sva_open_all(s) || !unmap(at, 8) || !sva_say(c->fd) ||
	    !sva_hear(c->fd) || !unmap(at, NR_UNMAPS) || !sva_say(c->fd))
		_exit(1);
	sva_hear(c->fd);
	_exit(0);
}

static long vm_counter(const char *name)
{
	char line[128], found[64];
	long value, ret = -1;
	FILE *f;

	f = fopen("/proc/vmstat", "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %ld", found, &value) == 2 &&
		    !strcmp(found, name))
			ret = value;
	if (f)
		fclose(f);
	return ret;
}

/* Pages: free, of page tables, of the IOMMUs' page tables */
struct memory {
	long free, tables, iommu;
};

static void memory_now(struct memory *m)
{
	m->free = sva_free_pages(true);
	m->tables = vm_counter("nr_page_table_pages");
	m->iommu = vm_counter("nr_sec_page_table_pages");
}

/* What others leave, and what waits for a grace period, comes back soon. */
static bool memory_lost(const struct memory *before)
{
	double end = sva_now() + SVA_TIMEOUT_S;
	struct memory now;
	bool lost;

	do {
		memory_now(&now);
		lost = before->free - now.free >= NR_PAGES_LOST ||
		       now.tables - before->tables >= NR_PAGES_LOST ||
		       now.iommu - before->iommu >= NR_PAGES_LOST;
	} while (lost && sva_now() < end && !usleep(100000));
	fprintf(stderr, "# pages: free %ld, %ld; of tables %ld, %ld; of IOMMUs %ld, %ld\n",
		before->free, now.free, before->tables, now.tables, before->iommu,
		now.iommu);
	return lost;
}

static uint64_t asked(struct sva_dev *d)
{
	return sva_counter(d, SVADEV_C_INV_RANGE) +
	       sva_counter(d, SVADEV_C_INV_PASID);
}

/*
 * Two processes go on that were bound before. All others are asked as often as
 * without the first, and nothing is kept back.
 */
TEST_F_TIMEOUT(sva_timeout, thousand_unmaps, 120)
{
	struct sva_queue *dead = self->s.q;
	uint64_t before[SVA_MAX_DEVS];
	struct sva_counts few;
	struct memory memory;
	struct cost cost;
	struct sva_child c;
	unsigned int i, events;
	char *at;

	unmapping_child(&self->s, &c);
	ASSERT_LT(0, c.pid);
	ASSERT_TRUE(sva_hear(c.fd));
	at = unmap_begin();
	ASSERT_NE(NULL, at);
	ASSERT_TRUE(fence(&self->s, dead, self->buf));
	/* An unmap is one event, or one for the page and one for its table. */
	sva_count(&self->s, &few);
	ASSERT_TRUE(unmap(at, 8));
	sva_count_since(&self->s, &few);
	events = (few.unit[0].iotlb_range + few.unit[0].iotlb_tag) / 8;
	ASSERT_TRUE(events == 1 || events == 2);
	events *= 2 * NR_UNMAPS;

	memory_now(&memory);
	for (i = 0; i < self->s.nr; i++)
		before[i] = asked(&self->s.dev[i]);
	cost_begin(&self->s, &cost);
	ASSERT_TRUE(sva_say(c.fd));
	EXPECT_TRUE(unmap(at, NR_UNMAPS));
	ASSERT_TRUE(sva_hear(c.fd));
	sva_count_since(&self->s, &cost.c);
	for (i = 0; i < self->s.nr; i++)
		EXPECT_EQ(before[i] + (&self->s.dev[i] == dead->dev ? 0 :
				       events), asked(&self->s.dev[i]));
	EXPECT_EQ(0, cost.c.all.timeouts);
	for (i = 0; i < sva_units(&self->s); i++) {
		const struct sva_commands *u = &cost.c.unit[i];
		unsigned int alive = sva_functions_of(&self->s, i) -
				     (i == sva_unit_of(&self->s, dead->dev));

		EXPECT_EQ(events * alive, u->atc_range + u->atc_all);
		EXPECT_EQ(events, u->iotlb_range + u->iotlb_tag);
	}
	fprintf(stderr, "# %.1f s\n", sva_now() - cost.start);
	EXPECT_FALSE(memory_lost(&memory));

	ASSERT_TRUE(sva_say(c.fd));
	EXPECT_EQ(0, sva_exit_code(c.pid));
	for (i = 1; i < self->s.nr; i++)
		EXPECT_TRUE(sva_dontneed_is_seen(&self->s, &self->s.q[i], self->buf));
	EXPECT_TRUE(log_says_fenced(self->log, &self->s, dead->dev));
}

/* --- who is it? --- */

#define ENOUGH		20	/* rounds, of each */

/* Shared by all processes. Work is done by the first two, the third unmaps. */
struct load {
	bool stop;
	bool refused;
	unsigned int rounds[3];
};

static bool load_is_over(struct load *l)
{
	return __atomic_load_n(&l->stop, __ATOMIC_RELAXED);
}

static int load_round(struct load *l, struct sva *s, struct sva_queue *q,
		      char *p, bool dies)
{
	int err;

	memset(p, 2, SVA_PAGE);
	err = sva_fill(q, p, 3, SVA_PAGE);
	if (dies && err == SVADEV_ERR_REFUSED) {
		l->refused = true;
		usleep(1000);
		return madvise(p, SVA_PAGE, MADV_DONTNEED);
	}
	if (err || !sva_all(p, 3, SVA_PAGE) || madvise(p, SVA_PAGE, MADV_DONTNEED))
		return -1;
	err = sva_fill(q, p, 4, 8);
	return !(dies && err == SVADEV_ERR_REFUSED) && !sva_is_fault(s, err);
}

static pid_t load_worker(struct load *l, unsigned int id, struct sva *s,
			 struct sva_dev *d, bool dies)
{
	pid_t pid = sva_fork();
	struct sva_queue q;
	char *p;
	int err;

	if (pid)
		return pid;
	p = sva_pages(1, 1);
	err = !p || sva_open(&q, d);
	while (!err && !load_is_over(l)) {
		*p = 1;
		err = id == 2 ? madvise(p, SVA_PAGE, MADV_DONTNEED) :
			load_round(l, s, &q, p, dies);
		l->rounds[id]++;
	}
	_exit(!!err);
}

/* Until each has gone @more rounds, and @flag is set */
static bool load_goes_on(struct load *l, unsigned int more, const bool *flag)
{
	double end = sva_now() + SVA_LOAD_S;
	unsigned int until[3], i;
	bool all;

	for (i = 0; i < 3; i++)
		until[i] = __atomic_load_n(&l->rounds[i], __ATOMIC_RELAXED) + more;
	do {
		usleep(1000);
		all = !flag || __atomic_load_n(flag, __ATOMIC_RELAXED);
		for (i = 0; i < 3; i++)
			all &= __atomic_load_n(&l->rounds[i], __ATOMIC_RELAXED) >=
				until[i];
	} while (!all && sva_now() < end);
	return all;
}

/*
 * Two functions are at work for two processes, both behind one unit if there are
 * such. One of them becomes mute, and that one is fenced, also by a unit that
 * cannot say which it was; a third process unmaps all the time.
 */
static void one_of_two(struct __test_metadata *_metadata,
		       struct sva *s, char *buf, int log, unsigned int dead)
{
	struct sva_dev *d = &s->dev[dead], *alive = &s->dev[!dead];
	struct cost cost;
	struct load *l;
	pid_t pid[3];
	int i;

	if (s->nr < 2)
		SKIP(return, "needs two functions");
	l = mmap(NULL, SVA_PAGE, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, l);
	for (i = 0; i < 3; i++)
		pid[i] = load_worker(l, i, s, i ? alive : d, !i);
	EXPECT_TRUE(load_goes_on(l, ENOUGH, NULL));
	cost_begin(s, &cost);
	sva_mute(d, SVADEV_MUTE_ALL);
	EXPECT_TRUE(load_goes_on(l, ENOUGH, &l->refused));
	__atomic_store_n(&l->stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, sva_exit_code(pid[i]));
	fprintf(stderr, "# rounds %u %u %u\n", l->rounds[0], l->rounds[1],
		l->rounds[2]);
	EXPECT_TRUE(fenced_by_now(s, d, &cost, 1));
	EXPECT_EQ(EIO, new_bind(d));
	EXPECT_EQ(0, new_bind(alive));
	EXPECT_TRUE(sva_dontneed_is_seen(s, &s->q[!dead], buf));
	EXPECT_TRUE(log_says_fenced(log, s, d));
}

TEST_F_TIMEOUT(sva_timeout, first_of_two, 100)
{
	one_of_two(_metadata, &self->s, self->buf, self->log, 0);
}

TEST_F_TIMEOUT(sva_timeout, second_of_two, 100)
{
	one_of_two(_metadata, &self->s, self->buf, self->log, 1);
}

/* --- the end of those who are bound --- */

enum { CLOSES, EXITS, IS_KILLED, STAYS, NR_USERS };

/* Bound, and with something in the ATC */
static void user(struct sva_dev *d, struct sva_child *c, int how)
{
	struct sva_queue q;
	char *p;

	if (sva_child_new(c))
		return;
	p = sva_pages(1, 1);
	if (!p || sva_open(&q, d) || sva_fill(&q, p, 2, SVA_PAGE) ||
	    !sva_say(c->fd) || !sva_hear(c->fd))
		_exit(1);
	if (how == CLOSES)
		sva_close(&q);
	if (how == EXITS)
		_exit(0);
	_exit(!sva_say(c->fd) || !sva_hear(c->fd));
}

TEST_F_TIMEOUT(sva_timeout, ends, 100)
{
	struct sva_queue *dead = self->s.end - 1;
	struct sva_child c[NR_USERS];
	struct cost cost;
	int how, status;

	for (how = 0; how < NR_USERS; how++) {
		user(dead->dev, &c[how], how);
		ASSERT_LT(0, c[how].pid);
		ASSERT_TRUE(sva_hear(c[how].fd));
	}
	ASSERT_TRUE(fence(&self->s, dead, self->buf));
	cost_begin(&self->s, &cost);
	EXPECT_EQ(EIO, new_bind(dead->dev));
	EXPECT_TRUE(cost_nothing(&self->s, &cost));

	cost_begin(&self->s, &cost);
	ASSERT_TRUE(sva_say(c[CLOSES].fd));
	EXPECT_TRUE(sva_hear(c[CLOSES].fd));
	EXPECT_TRUE(cost_nothing(&self->s, &cost));

	cost_begin(&self->s, &cost);
	ASSERT_TRUE(sva_say(c[EXITS].fd));
	EXPECT_EQ(0, sva_exit_code(c[EXITS].pid));
	EXPECT_TRUE(cost_nothing(&self->s, &cost));

	cost_begin(&self->s, &cost);
	EXPECT_EQ(0, kill(c[IS_KILLED].pid, SIGKILL));
	EXPECT_EQ(c[IS_KILLED].pid, waitpid(c[IS_KILLED].pid, &status, 0));
	EXPECT_TRUE(cost_nothing(&self->s, &cost));

	cost_begin(&self->s, &cost);
	sva_close(--self->s.end);
	EXPECT_TRUE(cost_nothing(&self->s, &cost));

	/* With one that is open */
	cost_begin(&self->s, &cost);
	EXPECT_TRUE(sva_driver_write(dead->dev, "unbind"));
	EXPECT_TRUE(cost_nothing(&self->s, &cost));

	/* The driver resets nothing that the IOMMU knows of. */
	cost_begin(&self->s, &cost);
	sva_dev_unmap(dead->dev);
	EXPECT_TRUE(sva_driver_write(dead->dev, "bind"));
	ASSERT_TRUE(sva_find_again(dead->dev));
	EXPECT_EQ(EIO, new_bind(dead->dev));
	EXPECT_TRUE(cost_nothing(&self->s, &cost));

	EXPECT_TRUE(sva_say(c[CLOSES].fd));
	EXPECT_EQ(0, sva_exit_code(c[CLOSES].pid));
	EXPECT_TRUE(sva_say(c[STAYS].fd) && sva_hear(c[STAYS].fd) &&
		    sva_say(c[STAYS].fd));
	EXPECT_EQ(0, sva_exit_code(c[STAYS].pid));
	EXPECT_TRUE(log_says_fenced(self->log, &self->s, dead->dev));
}

/* --- mappings of the kernel --- */

/* The argument of DMA_MAP_BENCHMARK: see include/linux/map_benchmark.h */
struct dma_benchmark {
	uint64_t result[4];
	uint32_t threads;
	uint32_t seconds;
	int32_t node;
	uint32_t bits;
	uint32_t direction;
	uint32_t delay_ns;
	uint32_t pages;
	uint8_t more[76];
};

#define DMA_BENCHMARK	_IOWR('d', 1, struct dma_benchmark)

static bool other_driver(struct sva_dev *d, const char *driver)
{
	return sva_pci_write(d, "driver/unbind", d->pci) &&
	       sva_pci_write(d, "driver_override", driver) &&
	       sva_write_file("/sys/bus/pci/drivers_probe", d->pci);
}

static int dma_for_a_second(void)
{
	struct dma_benchmark b = {
		.threads = 2, .seconds = 1, .node = -1, .bits = 32, .pages = 16,
	};
	int fd = open("/sys/kernel/debug/dma_map_benchmark", O_RDWR | O_CLOEXEC);
	int ret = fd < 0 ? -errno : 0;

	if (!ret && ioctl(fd, DMA_BENCHMARK, &b))
		ret = -errno;
	if (fd >= 0)
		close(fd);
	return ret;
}

/*
 * The function is fenced by a flush for the DMA API: that of a thread whose queue of
 * mappings is full, or that of the timer, on each CPU.
 */
TEST_F_TIMEOUT(sva_timeout, dma_api, 100)
{
	struct sva_dev *d = self->s.end[-1].dev;
	struct memory memory;
	struct cost cost;

	sva_close(--self->s.end);
	ASSERT_TRUE(other_driver(d, "dma_map_benchmark"));
	EXPECT_EQ(0, dma_for_a_second());
	memory_now(&memory);
	cost_begin(&self->s, &cost);
	sva_mute(d, SVADEV_MUTE_ALL);
	EXPECT_EQ(0, dma_for_a_second());
	EXPECT_TRUE(fenced_by_now(&self->s, d, &cost, 4));
	cost_begin(&self->s, &cost);
	EXPECT_EQ(0, dma_for_a_second());
	EXPECT_TRUE(cost_nothing(&self->s, &cost));
	EXPECT_FALSE(memory_lost(&memory));
	EXPECT_TRUE(other_driver(d, "\n"));
	sva_dev_unmap(d);
	ASSERT_TRUE(sva_find_again(d));
	EXPECT_EQ(EIO, new_bind(d));
	EXPECT_TRUE(log_says_fenced(self->log, &self->s, d));
}

TEST_HARNESS_MAIN
