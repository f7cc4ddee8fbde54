// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A function writes to fresh memory until there is none: the OOM killer takes its
 * process, and nobody else.
 *
 * The memory is allocated by a kernel thread, for a process that may be dead and reaped
 * at that moment. Nobody else may be killed here, so that whoever looks for a victim
 * and finds none panics, and the machine is gone with the test.
 */
#include <dirent.h>
#include <signal.h>

#include "../kselftest_harness.h"
#include "sva_utils.h"

#define ROUNDS		1
#define MAX_MEMORY_KB	(700 << 10)	/* it takes too long to fill more */
#define RESERVE_KB	(24 << 10)	/* that the function has to fill itself */

static unsigned long meminfo(const char *name)
{
	char line[128];
	unsigned long kb = 0;
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)))
			kb = strtoul(line + strlen(name), NULL, 10);
	if (f)
		fclose(f);
	return kb;
}

/* Of everybody; what cannot be killed, as the kernel's own, does not matter. */
static void spare_all(void)
{
	DIR *dir = opendir("/proc");
	struct dirent *e;
	char path[300];

	while (dir && (e = readdir(dir))) {
		if (e->d_name[0] < '0' || e->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/oom_score_adj", e->d_name);
		sva_write_file(path, "-1000");
	}
	if (dir)
		closedir(dir);
}

/* Not by page requests, as far as it goes without an end: they are slow here. */
static void eat(struct sva_dev *d)
{
	size_t len = (size_t)meminfo("MemTotal:") << 10;
	struct sva_queue q;
	char *p, *to;

	sva_write_file("/proc/self/oom_score_adj", "0");
	if (sva_open(&q, d))
		_exit(2);
	p = mmap(NULL, 2 * len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		_exit(3);
	madvise(p, 2 * len, MADV_NOHUGEPAGE);
	for (to = p; meminfo("MemAvailable:") > RESERVE_KB; to += 1 << 20)
		memset(to, 1, 1 << 20);
	sva_submit(&q, SVADEV_OP_FILL, 0, NULL, to, len, 1);
	while (sva_wait(&q) == -ETIMEDOUT)
		;
	/* Neither done, nor told that there is no page */
	_exit(sva_reg(&q, SVADEV_Q_ERROR));
}

FIXTURE(sva_oom)
{
	struct sva s;
};

FIXTURE_SETUP(sva_oom)
{
	const char *why = sva_setup(&self->s, SVA_PRI);

	if (!why && meminfo("MemTotal:") > MAX_MEMORY_KB)
		why = "the machine has too much memory";
	if (why)
		SKIP(return, "%s", why);
	spare_all();
}

FIXTURE_TEARDOWN(sva_oom)
{
	EXPECT_CLEAN(&self->s);
	sva_teardown(&self->s);
}

TEST_F_TIMEOUT(sva_oom, nobody_else_dies, 300)
{
	unsigned long before = meminfo("MemAvailable:");
	double begin;
	char *p = sva_pages(1, 0);
	int i, status;
	pid_t pid;

	for (i = 0; i < ROUNDS; i++) {
		begin = sva_now();
		pid = fork();
		if (!pid)
			eat(&self->s.dev[0]);
		/* At once: the OOM killer then has no task to look at. */
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
		EXPECT_EQ(SIGKILL, status);
		TH_LOG("round %d: killed after %.1f s", i, sva_now() - begin);
	}
	/* No cache has room for what they touched, and they are dead. */
	ASSERT_TRUE(sva_queues_come_back(&self->s.dev[0], 10));
	self->s.evicted = sva_evicted(&self->s);
	/* Its memory is there again, and so is the function. */
	for (i = 0; i < 1000 && meminfo("MemAvailable:") < before / 4 * 3; i++)
		usleep(10000);
	EXPECT_LE(before / 4 * 3, meminfo("MemAvailable:"));
	ASSERT_TRUE(sva_open_all(&self->s));
	EXPECT_EQ(0, sva_fill(&self->s.q[0], p, 7, SVA_PAGE));
	EXPECT_TRUE(sva_all(p, 7, SVA_PAGE));
	sva_close_all(&self->s);
}

TEST_HARNESS_MAIN
