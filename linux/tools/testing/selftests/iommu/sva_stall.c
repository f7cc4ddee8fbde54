// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Accesses that an SMMUv3 has stalled: each of them is answered once, whatever
 * becomes of its process, its queue and its function meanwhile.
 *
 * The event of a stall is read from a queue by a thread of the kernel. That can be
 * kept from running here: it has one CPU, and a thread of the test with more priority
 * has the same. What was stalled by then stays so, and the kernel has not heard of it.
 */
#include <sched.h>
#include <signal.h>

#include "../kselftest_harness.h"
#include "sva_utils.h"

#define EVENT_CPU	2
#define NR_PAGES	64

/* Whoever does not wait for the kernel's thread is done by then. */
#define WAITS_US	400000

#define ANY_CPUS	"/proc/irq/default_smp_affinity"

static bool read_line(const char *path, char *line, size_t len)
{
	FILE *f = fopen(path, "r");
	bool ok = f && fgets(line, len, f);

	if (f)
		fclose(f);
	return ok;
}

/* --- the kernel's thread --- */

/* @file of /proc/irq/N is the form that @cpus has. */
static bool pin_event_threads(const char *file, const char *cpus)
{
	FILE *f = fopen("/proc/interrupts", "r");
	char line[512], path[64];
	unsigned int irq, n = 0;
	bool ok = true;

	while (f && fgets(line, sizeof(line), f)) {
		if (!strstr(line, "arm-smmu-v3-evtq") ||
		    sscanf(line, " %u:", &irq) != 1)
			continue;
		snprintf(path, sizeof(path), "/proc/irq/%u/%s", irq, file);
		ok &= sva_write_file(path, cpus);
		n++;
	}
	if (f)
		fclose(f);
	return ok && n;
}

/**
 * struct holder - has the CPU of the kernel's thread for itself
 * @thread: who has it
 * @has: it does
 * @stop: it is to give it back
 */
struct holder {
	struct sva_thread thread;
	bool has;
	bool stop;
};

/* Where real-time threads are throttled, the kernel's thread is as well. */
static void *hold_cpu(void *arg)
{
	struct sched_param param = { .sched_priority = 99 };
	struct holder *h = arg;

	if (sched_setscheduler(0, SCHED_FIFO, &param))
		return NULL;
	__atomic_store_n(&h->has, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&h->stop, __ATOMIC_RELAXED))
		;
	return NULL;
}

static bool hold_events(struct holder *h)
{
	double end = sva_now() + SVA_TIMEOUT_S;

	*h = (struct holder){};
	if (!sva_thread_start(&h->thread, EVENT_CPU, hold_cpu, h))
		return false;
	while (!__atomic_load_n(&h->has, __ATOMIC_ACQUIRE))
		if (sva_now() > end)
			return false;
	return true;
}

static bool let_events_go(struct holder *h)
{
	__atomic_store_n(&h->stop, true, __ATOMIC_RELAXED);
	return sva_thread_end(&h->thread);
}

/* --- tests --- */

FIXTURE(sva_stall)
{
	struct sva s;
	struct holder h;
	struct sva_thread thread;
	struct sva_queue q;
	struct sva_queue rogue;
	char cpus[32];		/* of interrupts that nobody has pinned */
	bool over;
	uint64_t left;
	char *buf;
};

FIXTURE_SETUP(sva_stall)
{
	const char *why = sva_setup(&self->s, SVA_PRI);

	if (!why)
		why = sva_lacks(&self->s, SVA_STALL);
	if (!why && sva_too_few_cpus(EVENT_CPU + 1))
		why = "needs three CPUs";
	if (why)
		SKIP(return, "%s", why);
	ASSERT_TRUE(read_line(ANY_CPUS, self->cpus, sizeof(self->cpus)));
	ASSERT_TRUE(pin_event_threads("smp_affinity_list", "2"));
	ASSERT_EQ(0, sva_stalled(&self->s));
	self->buf = sva_pages(NR_PAGES, 1);
	ASSERT_NE(NULL, self->buf);
}

static bool none_stalled(struct sva *s)
{
	double end = sva_now() + SVA_TIMEOUT_S;

	while (sva_stalled(s)) {
		if (sva_now() > end)
			return false;
		usleep(1000);
	}
	return true;
}

FIXTURE_TEARDOWN(sva_stall)
{
	let_events_go(&self->h);
	sva_thread_end(&self->thread);
	EXPECT_TRUE(none_stalled(&self->s));
	EXPECT_CLEAN(&self->s);
	EXPECT_TRUE(pin_event_threads("smp_affinity", self->cpus));
	sva_teardown(&self->s);
}

/* The pages are not there any more. */
static bool drop(char *p, unsigned int n)
{
	return !madvise(p, n * SVA_PAGE, MADV_DONTNEED);
}

/* An access to @p is stalled, and nobody has heard of it: with hold_events() */
static bool stall(struct sva *s, struct sva_queue *q, char *p)
{
	uint64_t before = sva_stalled(s);

	if (!drop(p, 1))
		return false;
	sva_submit(q, SVADEV_OP_FILL, 0, NULL, p, SVA_PAGE, 7);
	return !sva_wait_state(q, SVADEV_STATE_PAGE_REQ) &&
	       sva_stalled(s) == before + 1;
}

static uint64_t counted(struct sva *s, unsigned int counter)
{
	uint64_t n = 0;
	unsigned int i;

	for (i = 0; i < s->nr; i++)
		if (sva_first_of_unit(s, i))
			n += sva_counter(&s->dev[i], counter);
	return n;
}

/*
 * All functions at once, page by page, in which the tags of one are soon those of
 * another: as many answers as stalls.
 */
TEST_F(sva_stall, answered_once)
{
	uint64_t stalls, resumes;
	struct sva_queue *q;
	unsigned int i, p;
	char *buf[SVA_MAX_DEVS];

	ASSERT_TRUE(sva_open_all(&self->s));
	for (i = 0; i < self->s.nr; i++) {
		buf[i] = sva_pages(NR_PAGES, 1);
		ASSERT_NE(NULL, buf[i]);
		ASSERT_TRUE(drop(buf[i], NR_PAGES));
	}
	stalls = counted(&self->s, SVADEV_U_STALL);
	resumes = counted(&self->s, SVADEV_U_RESUME);
	for (p = 0; p < NR_PAGES; p++) {
		for (q = self->s.q; q < self->s.end; q++)
			sva_submit(q, SVADEV_OP_FILL, 0, NULL,
				   buf[q - self->s.q] + p * SVA_PAGE, SVA_PAGE, p);
		for (q = self->s.q; q < self->s.end; q++)
			ASSERT_EQ(0, sva_wait(q));
	}
	EXPECT_EQ(NR_PAGES * self->s.nr, counted(&self->s, SVADEV_U_STALL) - stalls);
	EXPECT_EQ(NR_PAGES * self->s.nr, counted(&self->s, SVADEV_U_RESUME) - resumes);
	EXPECT_EQ(self->s.wrong_answers, sva_wrong_answers(&self->s));
	for (i = 0; i < self->s.nr; i++)
		for (p = 0; p < NR_PAGES; p++)
			EXPECT_TRUE(sva_all(buf[i] + p * SVA_PAGE, p, SVA_PAGE));
	sva_close_all(&self->s);
}

/* What the process may not have is answered, too. */
TEST_F(sva_stall, refused)
{
	uint64_t stalls = counted(&self->s, SVADEV_U_STALL);
	char *hole = mmap(NULL, SVA_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	struct sva_queue *q;

	ASSERT_NE(MAP_FAILED, hole);
	ASSERT_TRUE(sva_open_all(&self->s));
	for (q = self->s.q; q < self->s.end; q++) {
		EXPECT_EQ(SVADEV_ERR_DMA, sva_fill(q, hole, 1, SVA_PAGE));
		EXPECT_TRUE(sva_faulted_at(q, hole));
	}
	EXPECT_EQ(self->s.nr, counted(&self->s, SVADEV_U_STALL) - stalls);
	sva_close_all(&self->s);
}

static void *unbind(void *arg)
{
	FIXTURE_DATA(sva_stall) *self = arg;

	sva_close(&self->q);
	self->left = sva_stalled(&self->s);
	__atomic_store_n(&self->over, true, __ATOMIC_RELEASE);
	return NULL;
}

static bool is_over(FIXTURE_DATA(sva_stall) *self)
{
	usleep(WAITS_US);
	return __atomic_load_n(&self->over, __ATOMIC_ACQUIRE);
}

/*
 * A stall of a PASID that is unbound, of which the driver of the function knows
 * nothing: when the unbind is over it was answered, as somebody else may have the PASID.
 */
TEST_F(sva_stall, unbind_waits)
{
	struct sva_dev *d = &self->s.dev[0];

	ASSERT_EQ(0, sva_open(&self->q, d));
	ASSERT_TRUE(sva_take(&self->rogue, d, sva_reg(&self->q, SVADEV_Q_PASID)));
	EXPECT_EQ(0, sva_fill(&self->rogue, self->buf, 2, SVA_PAGE));
	ASSERT_TRUE(hold_events(&self->h));
	ASSERT_TRUE(stall(&self->s, &self->rogue, self->buf));
	ASSERT_TRUE(sva_thread_start(&self->thread, 1, unbind, self));
	EXPECT_FALSE(is_over(self));
	EXPECT_EQ(1, sva_stalled(&self->s));
	EXPECT_TRUE(let_events_go(&self->h));
	EXPECT_TRUE(sva_thread_end(&self->thread));
	EXPECT_EQ(0, self->left);
	EXPECT_EQ(SVADEV_ERR_DMA, sva_wait(&self->rogue));
	EXPECT_EQ(0, sva_reg(&self->rogue, SVADEV_Q_DONE));
	sva_give_back(&self->rogue);
}

static void *do_reset(void *arg)
{
	FIXTURE_DATA(sva_stall) *self = arg;

	if (!sva_pci_write(self->q.dev, "reset", "1"))
		fprintf(stderr, "# no reset: %s\n", strerror(errno));
	return NULL;
}

/*
 * A reset of the function, which forgets its access. The SMMU still has it, and gets
 * an answer for it, which is no matter to what the function does by then.
 */
TEST_F(sva_stall, reset_meanwhile)
{
	ASSERT_EQ(0, sva_open(&self->q, &self->s.dev[0]));
	EXPECT_EQ(0, sva_fill(&self->q, self->buf, 2, SVA_PAGE));
	ASSERT_TRUE(hold_events(&self->h));
	ASSERT_TRUE(stall(&self->s, &self->q, self->buf));
	ASSERT_TRUE(sva_thread_start(&self->thread, 1, do_reset, self));
	EXPECT_TRUE(sva_thread_end(&self->thread));
	EXPECT_EQ(1, sva_stalled(&self->s));

	sva_set_mode(&self->s, self->s.mode);
	EXPECT_EQ(0, ioctl(self->q.fd, UACCE_CMD_PUT_Q));
	EXPECT_EQ(0, ioctl(self->q.fd, UACCE_CMD_START_Q));
	ASSERT_TRUE(stall(&self->s, &self->q, self->buf + SVA_PAGE));
	EXPECT_TRUE(let_events_go(&self->h));
	EXPECT_EQ(0, sva_wait(&self->q));
	EXPECT_TRUE(sva_all(self->buf + SVA_PAGE, 7, SVA_PAGE));
	EXPECT_TRUE(none_stalled(&self->s));
	sva_close(&self->q);
}

/* --- the end of a process --- */

enum death {
	EXIT,
	KILL,
	SEGV,
};

int *nowhere = (int *)8;

/* Its accesses are stalled; then it dies, on the parent's word. */
static void stall_and_die(struct sva *s, char *buf, int sync, enum death how)
{
	struct sva_queue *q;

	if (!sva_open_all(s) || !sva_say(sync) || !sva_hear(sync))
		_exit(3);
	for (q = s->q; q < s->end; q++)
		if (!stall(s, q, buf + (q - s->q) * SVA_PAGE))
			_exit(4);
	if (!sva_say(sync) || !sva_hear(sync))
		_exit(5);
	if (how == EXIT)
		_exit(0);
	if (how == SEGV) {
		signal(SIGSEGV, SIG_DFL);
		__atomic_store_n(nowhere, 1, __ATOMIC_RELAXED);
	}
	while (pause() < 0)
		;
}

static bool reaped(pid_t pid)
{
	double end = sva_now() + 2 * SVA_TIMEOUT_S;

	while (waitpid(pid, NULL, WNOHANG) != pid) {
		if (sva_now() > end)
			return false;
		usleep(1000);
	}
	return true;
}

static void dies(struct __test_metadata *_metadata, FIXTURE_DATA(sva_stall) *self,
		 enum death how)
{
	uint64_t bytes[SVA_MAX_DEVS];
	struct sva *s = &self->s;
	struct sva_child c;
	unsigned int i;

	if (!sva_child_new(&c))
		stall_and_die(s, self->buf, c.fd, how);
	ASSERT_LT(0, c.pid);
	ASSERT_TRUE(sva_hear(c.fd));
	ASSERT_TRUE(hold_events(&self->h));
	ASSERT_TRUE(sva_say(c.fd));
	ASSERT_TRUE(sva_hear(c.fd));
	ASSERT_EQ(s->nr, sva_stalled(s));
	for (i = 0; i < s->nr; i++)
		bytes[i] = sva_counter(&s->dev[i], SVADEV_C_BYTES);

	ASSERT_TRUE(sva_say(c.fd));
	if (how == KILL)
		ASSERT_EQ(0, kill(c.pid, SIGKILL));
	/* long enough for the mm to be gone; then the queues wait */
	usleep(WAITS_US);
	EXPECT_EQ(s->nr, sva_stalled(s));
	EXPECT_TRUE(let_events_go(&self->h));
	EXPECT_TRUE(reaped(c.pid));
	close(c.fd);
	EXPECT_TRUE(none_stalled(s));
	for (i = 0; i < s->nr; i++) {
		EXPECT_EQ(bytes[i], sva_counter(&s->dev[i], SVADEV_C_BYTES));
		EXPECT_EQ(s->dev[i].nr_queues, sva_instances_left(&s->dev[i]));
	}
}

TEST_F(sva_stall, exits)
{
	dies(_metadata, self, EXIT);
}

TEST_F(sva_stall, is_killed)
{
	dies(_metadata, self, KILL);
}

TEST_F(sva_stall, crashes)
{
	dies(_metadata, self, SEGV);
}

/* --- others that fault --- */

#define FLOODERS	3	/* queues of each function */
#define FLOOD_PAGES	8
#define FLOOD_ROUNDS	20
#define FLOOD_LIMIT_S	1.0

/* Faults without end, of pages that are not there */
static void flood(struct sva *s, int sync)
{
	struct sva_queue q[SVA_MAX_DEVS * FLOODERS];
	unsigned int i, n = 0;
	char *p = sva_pages(FLOOD_PAGES, 1);

	for (i = 0; p && i < s->nr * FLOODERS; i++, n++)
		if (sva_open(&q[i], &s->dev[i / FLOODERS]))
			_exit(1);
	if (!sva_say(sync))
		_exit(2);
	for (;;) {
		drop(p, FLOOD_PAGES);
		for (i = 0; i < n; i++)
			sva_submit(&q[i], SVADEV_OP_FILL, 0, NULL, p,
				   FLOOD_PAGES * SVA_PAGE, 1);
		for (i = 0; i < n; i++)
			if (sva_wait(&q[i]))
				_exit(3);
	}
}

/* Its own is over in time, though there always is an event of somebody else's. */
TEST_F_TIMEOUT(sva_stall, unbind_beside_flood, 100)
{
	struct sva_dev *d = &self->s.dev[self->s.nr - 1];
	double took, longest = 0;
	struct sva_child c[2];
	uint64_t stalls;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(c); i++) {
		if (!sva_child_new(&c[i]))
			flood(&self->s, c[i].fd);
		ASSERT_LT(0, c[i].pid);
		ASSERT_TRUE(sva_hear(c[i].fd));
	}
	stalls = counted(&self->s, SVADEV_U_STALL);
	for (i = 0; i < FLOOD_ROUNDS; i++) {
		ASSERT_EQ(0, sva_open(&self->q, d));
		ASSERT_TRUE(drop(self->buf, 1));
		ASSERT_EQ(0, sva_fill(&self->q, self->buf, i, SVA_PAGE));
		took = sva_now();
		sva_close(&self->q);
		took = sva_now() - took;
		longest = took > longest ? took : longest;
	}
	EXPECT_LT(10 * FLOOD_ROUNDS, counted(&self->s, SVADEV_U_STALL) - stalls);
	for (i = 0; i < ARRAY_SIZE(c); i++) {
		EXPECT_TRUE(sva_lives(c[i].pid));
		kill(c[i].pid, SIGKILL);
		EXPECT_TRUE(reaped(c[i].pid));
		close(c[i].fd);
	}
	TH_LOG("the longest unbind: %.3f s", longest);
	EXPECT_GT(FLOOD_LIMIT_S, longest);
}

TEST_HARNESS_MAIN
