// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reclaim of pages that functions have in their caches, and what it costs.
 *
 * Reclaim defers the CPUs' TLB flushes when the mm runs on several CPUs, and
 * tells the IOMMUs of each page at once. Of each page: an invalidation of the
 * whole address space for every one of them would empty all caches N times.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <sched.h>
#include <sys/swap.h>

#include "../kselftest_harness.h"
#include "sva_utils.h"

#define ZRAM_CONTROL	"/sys/class/zram-control/"
#define SWAP_PAGES	2048
#define SWAP_LABEL	"sva_reclaim"
#define LABEL_AT	(1024 + 28)	/* in the header: see union swap_header */
/* Few enough that one flush for all of them would still be a range */
#define NR_PAGES	24

FIXTURE(sva_reclaim)
{
	struct sva s;
	char *buf;
	int zram;
	bool stop;
	struct sva_thread thread;
};

/* A file of the zram device in sysfs */
static bool zram_write(int zram, const char *file, const char *text)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/block/zram%d/%s", zram, file);
	return sva_write_file(path, text);
}

/* The header that mkswap(8) writes, version 1 */
static bool make_swap(const char *device)
{
	char *page = calloc(1, SVA_PAGE);
	uint32_t *info = (uint32_t *)(page + 1024);
	int fd = open(device, O_RDWR | O_CLOEXEC);
	bool ok = page && fd >= 0;

	if (ok) {
		info[0] = 1;
		info[1] = SWAP_PAGES - 1;
		memcpy(page + LABEL_AT, SWAP_LABEL, sizeof(SWAP_LABEL));
		memcpy(page + SVA_PAGE - 10, "SWAPSPACE2", 10);
		ok = pwrite(fd, page, SVA_PAGE, 0) == (ssize_t)SVA_PAGE && !fsync(fd);
	}
	if (fd >= 0)
		close(fd);
	free(page);
	return ok;
}

static void drop_swap(int zram)
{
	char text[32];

	snprintf(text, sizeof(text), "/dev/zram%d", zram);
	swapoff(text);
	zram_write(zram, "reset", "1");
	snprintf(text, sizeof(text), "%d", zram);
	sva_write_file(ZRAM_CONTROL "hot_remove", text);
}

/* That is, has it our label? */
static bool is_ours(int zram)
{
	char text[32], label[sizeof(SWAP_LABEL)] = "";
	int fd;

	snprintf(text, sizeof(text), "/dev/zram%d", zram);
	fd = open(text, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (pread(fd, label, sizeof(label), LABEL_AT) != sizeof(label))
		label[0] = 0;
	close(fd);
	return !memcmp(label, SWAP_LABEL, sizeof(label));
}

/* What a run has left that was killed; there is one at a time. */
static void drop_left(void)
{
	struct dirent *e;
	DIR *dir = opendir("/sys/block");
	int zram, found = -1;

	while (dir && found < 0 && (e = readdir(dir)))
		if (sscanf(e->d_name, "zram%d", &zram) == 1 && is_ours(zram))
			found = zram;
	if (dir)
		closedir(dir);
	if (found >= 0)
		drop_swap(found);
}

/* A device that was not there before, so that nobody's is overwritten; or -1 */
static int add_swap(void)
{
	FILE *f = fopen(ZRAM_CONTROL "hot_add", "r");
	char device[32], bytes[32];
	int zram = -1;

	if (f && fscanf(f, "%d", &zram) != 1)
		zram = -1;
	if (f)
		fclose(f);
	if (zram < 0)
		return -1;
	snprintf(device, sizeof(device), "/dev/zram%d", zram);
	snprintf(bytes, sizeof(bytes), "%lu", SWAP_PAGES * SVA_PAGE);
	if (zram_write(zram, "disksize", bytes) && make_swap(device) &&
	    !swapon(device, 0))
		return zram;
	drop_swap(zram);
	return -1;
}

static bool have_swap(void)
{
	char line[256];
	FILE *f = fopen("/proc/swaps", "r");
	int lines = 0;

	while (f && fgets(line, sizeof(line), f))
		lines++;
	if (f)
		fclose(f);
	return lines > 1;
}

/* Keeps the mm in use on a second CPU, as reclaim only then defers flushes. */
static void *run_elsewhere(void *arg)
{
	bool *stop = arg;

	while (!__atomic_load_n(stop, __ATOMIC_RELAXED))
		sched_yield();
	return NULL;
}

FIXTURE_SETUP(sva_reclaim)
{
	const char *why = sva_setup(&self->s, SVA_ATS);

	if (why)
		SKIP(return, "%s", why);
	if (sva_too_few_cpus(2))
		SKIP(return, "needs 2 CPUs");
	drop_left();
	self->buf = sva_pages(NR_PAGES, 1);
	ASSERT_NE(NULL, self->buf);
	ASSERT_TRUE(sva_open_all(&self->s));
	ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 2, NR_PAGES * SVA_PAGE));
	ASSERT_TRUE(sva_thread_start(&self->thread, 1, run_elsewhere, &self->stop));
	/* Nothing fails from here on: only then is there a teardown. */
	self->zram = have_swap() ? -1 : add_swap();
	if (!have_swap())
		SKIP(return, "no swap, and no zram to make one");
	usleep(50000);
}

FIXTURE_TEARDOWN(sva_reclaim)
{
	__atomic_store_n(&self->stop, true, __ATOMIC_RELAXED);
	sva_thread_end(&self->thread);
	sva_close_all(&self->s);
	if (self->zram >= 0)
		drop_swap(self->zram);
	EXPECT_CLEAN(&self->s);
	sva_teardown(&self->s);
}

static unsigned int swapped_out(const char *p)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry;
	unsigned int i, n = 0;

	for (i = 0; fd >= 0 && i < NR_PAGES; i++)
		if (pread(fd, &entry, 8, ((uintptr_t)p / SVA_PAGE + i) * 8) == 8)
			n += entry >> 62 & 1;
	if (fd >= 0)
		close(fd);
	return n;
}

static unsigned int page_out(struct sva *s, char *p, struct sva_counts *c)
{
	unsigned int n;

	if (SVA_COUNTED(s, c, madvise(p, NR_PAGES * SVA_PAGE, MADV_PAGEOUT)))
		return 0;
	n = swapped_out(p);
	fprintf(stderr, "# %u pages out: iotlb_range=%llu iotlb_tag=%llu", n,
		(unsigned long long)c->all.iotlb_range,
		(unsigned long long)c->all.iotlb_tag);
	fprintf(stderr, " atc_range=%llu atc_all=%llu sync=%llu\n",
		(unsigned long long)c->all.atc_range, (unsigned long long)c->all.atc_all,
		(unsigned long long)c->all.sync);
	return n;
}

/* The functions lose the pages, and find them again with what they held. */
TEST_F(sva_reclaim, is_seen)
{
	struct sva_counts c;
	unsigned int i;

	ASSERT_TRUE(sva_warm_up(&self->s, self->buf, 2, NR_PAGES * SVA_PAGE));
	ASSERT_LT(0, page_out(&self->s, self->buf, &c));
	ASSERT_CLEAN(&self->s);
	for (i = 0; i < self->s.nr; i++)
		EXPECT_TRUE(sva_is_fault(&self->s,
					 sva_fill(&self->s.q[i], self->buf, 3,
						  NR_PAGES * SVA_PAGE)));
	EXPECT_TRUE(sva_all(self->buf, 2, NR_PAGES * SVA_PAGE));
	for (i = 0; i < self->s.nr; i++)
		EXPECT_TRUE(sva_sees(&self->s.q[i], self->buf, 2,
				     NR_PAGES * SVA_PAGE));
	ASSERT_CLEAN(&self->s);
}

/*
 * A range for each page, and one more flush for the accessed bits that
 * MADV_PAGEOUT clears; nothing that goes beyond these pages. The base fails:
 * x86 passes (0, -1UL) for each page.
 */
TEST_F(sva_reclaim, ranges_only)
{
	unsigned int i, n, units = sva_units(&self->s);
	struct sva_counts c;

	n = page_out(&self->s, self->buf, &c);
	ASSERT_LT(0, n);
	for (i = 0; i < units; i++) {
		EXPECT_EQ(0, c.unit[i].iotlb_tag + c.unit[i].iotlb_all);
		EXPECT_EQ(0, c.unit[i].atc_all);
		EXPECT_LE(n, c.unit[i].iotlb_range);
		EXPECT_GE(n + 1, c.unit[i].iotlb_range);
		EXPECT_EQ(sva_functions_of(&self->s, i) * c.unit[i].iotlb_range,
			  c.unit[i].atc_range);
	}
}

TEST_HARNESS_MAIN
