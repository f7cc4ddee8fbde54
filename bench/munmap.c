// SPDX-License-Identifier: GPL-2.0-only
/*
 * What mmap, touch and munmap cost a process without SVA
 *
 *	munmap <rounds>
 *
 * prints "bench: munmap,0,<pages>,<ns>" for each round, after rounds that warm up.
 * The program is the only one that runs, and pages come back to the free lists that
 * they were taken from; a round is long enough that the clock's resolution is nothing.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define WARM_UP	3
#define HUGE	512

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* A huge page has to start where one can be. */
static void *aligned(char *p, size_t align)
{
	return p + (-(uintptr_t)p & (align - 1));
}

static void turn(unsigned int pages)
{
	size_t size = pages * 4096ul, room = pages == HUGE ? 2 * size : size;
	char *map = mmap(NULL, room, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *p = map;
	unsigned int n;

	if (map == MAP_FAILED)
		die("mmap");
	if (pages == HUGE) {
		p = aligned(map, size);
		if (madvise(p, size, MADV_HUGEPAGE))
			die("madvise");
		*(volatile char *)p = 1;
	} else {
		for (n = 0; n < pages; n++)
			*(volatile char *)(p + n * 4096ul) = 1;
	}
	if (munmap(map, room))
		die("munmap");
}

static void measure(unsigned int pages, unsigned int turns, int rounds)
{
	uint64_t start;
	unsigned int n;
	int round;

	for (round = -WARM_UP; round < rounds; round++) {
		start = now();
		for (n = 0; n < turns; n++)
			turn(pages);
		if (round >= 0)
			printf("bench: munmap,0,%u,%llu\n", pages,
			       (unsigned long long)(now() - start) / turns);
	}
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 10;

	measure(1, 2000, rounds);
	measure(64, 100, rounds);
	measure(HUGE, 50, rounds);
	return 0;
}
