// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A function that does not answer an invalidation. Its IOMMU reports a time-out
 * and drops the waits of everybody who was in its queue, so that all of them
 * have to repeat what they had asked for, and the dead one must be given up:
 * nobody else may notice more than the time.
 */
#include <pthread.h>
#include <sys/wait.h>

#include "../kselftest_harness.h"
#include "sva_utils.h"

FIXTURE(sva_timeout)
{
	struct sva s;
	char *buf;
	int log;
};

FIXTURE_SETUP(sva_timeout)
{
	const char *why = sva_setup(&self->s, SVA_ATS);

	if (why)
		SKIP(return, "%s", why);
	self->log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ASSERT_LE(0, self->log);
	self->buf = sva_pages(1, 1);
	ASSERT_NE(NULL, self->buf);
	ASSERT_TRUE(sva_open_all(&self->s));
}

FIXTURE_TEARDOWN(sva_timeout)
{
	unsigned int i;

	for (i = 0; i < self->s.nr; i++)
		sva_mute(&self->s.dev[i], 0);
	sva_close_all(&self->s);
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

/* Does a line of the log mean this function? By name, or by requester ID. */
static bool line_names(const char *line, const struct sva_dev *d)
{
	char name[2][32];
	size_t i, len;
	const char *p;

	snprintf(name[0], sizeof(name[0]), "SID %x", requester(d));
	snprintf(name[1], sizeof(name[1]), "requester %#06x", requester(d));
	for (i = 0; i < ARRAY_SIZE(name); i++) {
		len = strlen(name[i]);
		p = strstr(line, name[i]);
		if (p && !strchr("0123456789abcdef", p[len]))
			return true;
	}
	return false;
}

/* An IOTLB needs no answer from anybody, so that nothing of it can fail. */
#define NAMES_A_TAG	0x80000000u

/* All that came since the last time. Bit n: the n-th function is named */
static unsigned int names_in_log(int log, const struct sva *s)
{
	unsigned int i, named = 0;
	char line[2048];
	ssize_t len;

	while ((len = read(log, line, sizeof(line) - 1)) > 0 || errno == EPIPE) {
		if (len <= 0)
			continue;
		line[len] = 0;
		if (strstr(line, "invalidation of tag"))
			named |= NAMES_A_TAG;
		for (i = 0; i < s->nr; i++)
			if (line_names(line, &s->dev[i]))
				named |= 1U << i;
	}
	return named;
}

static void skip_log(int log)
{
	lseek(log, 0, SEEK_END);
}

/* --- one answer is missing --- */

TEST_F(sva_timeout, one_answer)
{
	struct sva_counts c;
	unsigned int i;

	for (i = 0; i < self->s.nr; i++) {
		struct sva_dev *d = &self->s.dev[i];

		memset(self->buf, 1, SVA_PAGE);
		ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 1, SVA_PAGE));
		skip_log(self->log);
		sva_mute(d, 1);
		ASSERT_EQ(0, SVA_COUNTED(&self->s, &c, madvise(self->buf, SVA_PAGE,
							       MADV_DONTNEED)));
		EXPECT_EQ(0, sva_read(d->ctl, SVADEV_MUTE));
		EXPECT_EQ(1, c.timeouts);
		EXPECT_CLEAN(&self->s);
		EXPECT_TRUE(sva_is_fault(&self->s, sva_fill(&self->s.q[i],
							    self->buf, 2, 8)));
		EXPECT_EQ(1U << i, names_in_log(self->log, &self->s));
	}
}

/* --- there never is an answer --- */

static bool kernel_has(const char *symbol)
{
	char line[256], name[128];
	bool found = false;
	FILE *f;

	f = fopen("/proc/kallsyms", "r");
	while (f && !found && fgets(line, sizeof(line), f))
		found = sscanf(line, "%*s %*c %127s", name) == 1 &&
			!strcmp(name, symbol);
	if (f)
		fclose(f);
	return found;
}

/* 6.12's VT-d repeats for ever, with interrupts off, as long as it is there. */
static const char *never_gives_up(void)
{
	return kernel_has("cache_tag_flush_range") ?
		"the driver does not give up a function that is there" : NULL;
}

#define NR_ROUNDS	20

static bool fills(struct sva_queue *q, char *p, int byte)
{
	int err = sva_fill(q, p, byte, SVA_PAGE);

	if (err)
		fprintf(stderr, "# %s: %s\n", q->dev->name, sva_error_string(err));
	return !err && sva_all(p, byte, SVA_PAGE);
}

static bool dontneed_is_seen(struct sva *s, struct sva_queue *q, char *p)
{
	memset(p, 2, SVA_PAGE);
	return fills(q, p, 3) && !madvise(p, SVA_PAGE, MADV_DONTNEED) &&
	       sva_is_fault(s, sva_fill(q, p, 4, SVA_PAGE));
}

/* Rounds that went well, at all functions but one */
static unsigned int rounds_without(struct sva *s, unsigned int dead, char *p,
				   unsigned int rounds)
{
	unsigned int n, i;

	for (n = 0; n < rounds; n++)
		for (i = 0; i < s->nr; i++)
			if (i != dead && !dontneed_is_seen(s, &s->q[i], p))
				return n;
	return rounds;
}

/*
 * A process that has nothing to do with the dead function, but its IOMMU. Works
 * until @stop is set; exits with 0 if all went well.
 */
static pid_t bystander(struct sva *s, unsigned int dead, const bool *stop)
{
	pid_t pid = fork();
	unsigned int i;
	int err = 0;
	char *p;

	if (pid)
		return pid;
	p = sva_pages(1, 1);
	for (i = 0; i < s->nr && !err; i++)
		if (i != dead)
			err = sva_open(&s->q[i], &s->dev[i]);
	if (err)
		fprintf(stderr, "# bind: %s\n", strerror(-err));
	while (!err && !__atomic_load_n(stop, __ATOMIC_RELAXED))
		err = rounds_without(s, dead, p, 1) != 1;
	_exit(!!err);
}

static uint64_t stale_without(struct sva *s, unsigned int dead)
{
	uint64_t pasid = sva_reg(&s->q[0], SVADEV_Q_PASID), stale = 0;
	unsigned int i;

	for (i = 0; i < s->nr; i++) {
		if (i == dead)
			continue;
		sva_write(s->dev[i].ctl, SVADEV_VERIFY, pasid);
		stale += sva_read(s->dev[i].ctl, SVADEV_VERIFY_STALE);
	}
	return stale;
}

static int exit_code(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

/*
 * One function after the other is dead for a while. Others of the same process
 * go on, and so do others of another process. The log has the name of the dead
 * one and no other. Then all is as it was before.
 */
TEST_F_TIMEOUT(sva_timeout, dead_function, 200)
{
	const char *why = never_gives_up();
	unsigned int dead, named;
	struct sva_counts c;
	bool *stop;
	pid_t pid;

	if (why)
		SKIP(return, "%s", why);
	stop = mmap(NULL, SVA_PAGE, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, stop);
	for (dead = 0; dead < self->s.nr; dead++) {
		struct sva_dev *d = &self->s.dev[dead];

		memset(self->buf, 1, SVA_PAGE);
		ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 1, SVA_PAGE));
		skip_log(self->log);
		sva_count(&self->s, &c);
		*stop = false;
		pid = bystander(&self->s, dead, stop);
		sva_mute(d, SVADEV_MUTE_ALL);
		EXPECT_EQ(NR_ROUNDS, rounds_without(&self->s, dead, self->buf,
						    NR_ROUNDS));
		__atomic_store_n(stop, true, __ATOMIC_RELAXED);
		EXPECT_EQ(0, exit_code(pid));
		EXPECT_EQ(0, stale_without(&self->s, dead));
		sva_count_since(&self->s, &c);
		named = names_in_log(self->log, &self->s);
		fprintf(stderr, "# %s dead: %llu time-outs, named: %#x\n", d->name,
			(unsigned long long)c.timeouts, named);
		EXPECT_LE(NR_ROUNDS, c.timeouts);
		EXPECT_EQ(1U << dead, named);

		/* what it has not heard of is gone with the next detach */
		sva_mute(d, 0);
		sva_close(&self->s.q[dead]);
		ASSERT_EQ(0, sva_open(&self->s.q[dead], d));
		EXPECT_CLEAN(&self->s);
		sva_count(&self->s, &c);
		EXPECT_TRUE(dontneed_is_seen(&self->s, &self->s.q[dead], self->buf));
		sva_count_since(&self->s, &c);
		EXPECT_EQ(0, c.timeouts);
	}
}

/* It is unbound while it is dead. That must end, too, and let nobody wait. */
TEST_F_TIMEOUT(sva_timeout, unbind_dead_function, 100)
{
	const char *why = never_gives_up();
	unsigned int i, last = self->s.nr - 1;
	struct sva_queue *q = &self->s.q[last];
	struct sva_queue rogue;

	if (why)
		SKIP(return, "%s", why);
	ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 1, SVA_PAGE));
	sva_take(&rogue, q->dev, sva_reg(q, SVADEV_Q_PASID));
	sva_mute(q->dev, SVADEV_MUTE_ALL);
	sva_close(q);
	for (i = 0; i < last; i++)
		EXPECT_TRUE(dontneed_is_seen(&self->s, &self->s.q[i], self->buf));
	sva_mute(q->dev, 0);
	sva_give_back(&rogue);		/* and what it has cached goes */
	ASSERT_EQ(0, sva_open(q, q->dev));
	EXPECT_TRUE(dontneed_is_seen(&self->s, q, self->buf));
	EXPECT_CLEAN(&self->s);
}

TEST_HARNESS_MAIN
