// SPDX-License-Identifier: GPL-2.0-only
/*
 * What changes of a page table cost a process, by the number of functions it is bound to
 *
 *	pages
 *
 * prints, for each number of functions and each kind of change,
 *
 *	bench: page-<what>,<functions>,<pages>,driver,<low>,<median>,<high>
 *	bench: page-<what>-commands,...
 *	bench: page-<what>-waits,...
 *
 * ns for each page, and invalidation commands and waits for all pages, over the rounds. The
 * functions do nothing: what is sent does not depend on what they have cached.
 */
#include "sva_utils.h"

#define PAGES		512
#define ROUNDS		9
#define WARM_UP		2

struct cost {
	uint64_t ns;
	uint64_t commands;
	uint64_t waits;
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void do_munmap(char *p)
{
	if (munmap(p, PAGES * SVA_PAGE))
		die("munmap");
}

static void do_mprotect(char *p)
{
	if (mprotect(p, PAGES * SVA_PAGE, PROT_READ))
		die("mprotect");
}

static void do_pageout(char *p)
{
	if (madvise(p, PAGES * SVA_PAGE, MADV_PAGEOUT))
		die("MADV_PAGEOUT");
}

/* The child of do_fork() has the pages, too, until the pipe is closed. */
static int stop[2] = { -1, -1 };

static void fork_ends(void)
{
	if (stop[0] < 0)
		return;
	close(stop[1]);
	wait(NULL);
	close(stop[0]);
	stop[0] = -1;
}

/* fork, and a write to each page, which gets the writer a copy */
static void do_fork(char *p)
{
	unsigned int n;
	char c;

	if (pipe(stop))
		die("pipe");
	switch (fork()) {
	case -1:
		die("fork");
	case 0:
		close(stop[1]);
		_exit(read(stop[0], &c, 1) != 0);
	}
	for (n = 0; n < PAGES; n++)
		*(volatile char *)(p + n * SVA_PAGE) = 2;
}

static struct cost cost_of(struct sva *s, char *p, void (*change)(char *p))
{
	struct sva_counts c;
	struct cost cost;
	uint64_t start;

	sva_count(s, &c);
	start = now();
	change(p);
	cost.ns = (now() - start) / PAGES;
	sva_count_since(s, &c);
	cost.commands = c.iotlb_range + c.iotlb_tag + c.iotlb_all + c.atc_range +
			c.atc_all + c.config;
	cost.waits = c.sync;
	return cost;
}

static int order(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void report(const char *what, const char *suffix, unsigned int nr, uint64_t *v)
{
	qsort(v, ROUNDS, sizeof(*v), order);
	printf("bench: page-%s%s,%u,%u,driver,%llu,%llu,%llu\n", what, suffix, nr, PAGES,
	       (unsigned long long)v[ROUNDS / 4], (unsigned long long)v[ROUNDS / 2],
	       (unsigned long long)v[ROUNDS - 1 - ROUNDS / 4]);
}

static void measure(struct sva *s, const char *what, unsigned int nr,
		    void (*change)(char *p))
{
	uint64_t ns[ROUNDS], commands[ROUNDS], waits[ROUNDS];
	struct cost cost;
	int round;
	char *p;

	for (round = -WARM_UP; round < ROUNDS; round++) {
		p = sva_pages(PAGES, 1);
		if (!p)
			die("mmap");
		cost = cost_of(s, p, change);
		fork_ends();
		munmap(p, PAGES * SVA_PAGE);
		if (round < 0)
			continue;
		ns[round] = cost.ns;
		commands[round] = cost.commands;
		waits[round] = cost.waits;
	}
	report(what, "", nr, ns);
	report(what, "-commands", nr, commands);
	report(what, "-waits", nr, waits);
}

int main(void)
{
	struct sva s;
	const char *why = sva_setup(&s, SVA_ATS);
	unsigned int nr;

	if (why) {
		fprintf(stderr, "pages: %s\n", why);
		return 1;
	}
	for (nr = 0; nr <= s.nr; nr++) {
		/* bound to the first @nr; what is counted is that of all units */
		if (nr && sva_open(&s.q[nr - 1], &s.dev[nr - 1]))
			die("open");
		measure(&s, "munmap", nr, do_munmap);
		measure(&s, "mprotect", nr, do_mprotect);
		measure(&s, "fork", nr, do_fork);
		measure(&s, "pageout", nr, do_pageout);
	}
	return 0;
}
